"""The desired store: every unit's items, and the merged view that the outside is compared with.

Fed by `Engine` (one `set` per evaluated unit), read by `engine/diff.py`, `kube/` and the claim allocator; drained by
`take_touched`. Knows for each item the unit that yielded it (`explain`). Units may share a row by wanting the same; if
they want different ones, that is a bug in `compile/` or a clash of user objects: the smaller unit key wins, the clash
is kept for `doctor`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple, TypeAlias

import msgspec

from ovnbridge.engine.items import OBJECT_ITEMS, Claim, Event, Hold, Item, Member, ObjectItem, Pool, Row
from ovnbridge.engine.several import Owners
from ovnbridge.model.ovn import Atom, Key

RowKey: TypeAlias = tuple[str, Key]
ObjectKey: TypeAlias = tuple[str, str]


class UnitKey(NamedTuple):
    """A unit and the key it was run for."""

    unit: str
    key: str


MemberOwners: TypeAlias = Owners[Atom, UnitKey, str | None]
"""Values of one column, each with the units that want it and their map entries (None in sets)."""
_NO_MEMBERS: Mapping[str, MemberOwners] = {}


class Touched(msgspec.Struct):
    """What changed in the desired state since the last look.

    `rows` maps a row to None (the row itself or everything may differ) or to the set of (column, value) members that
    came or went.
    """

    rows: dict[RowKey, set[tuple[str, Atom]] | None] = {}
    objects: dict[ObjectKey, None] = {}
    claims: dict[str, None] = {}
    pools: dict[str, None] = {}
    released: set[str] = set()
    """Scopes that are held no longer: rows that nobody desires may be deleted now."""

    def __bool__(self) -> bool:
        return bool(self.rows or self.objects or self.claims or self.pools or self.released)


class DesiredStore:
    """Items by unit, and merged by what they are about."""

    def __init__(self) -> None:
        self._items: dict[UnitKey, tuple[Item, ...]] = {}
        self._rows_of: dict[UnitKey, Set[RowKey]] = {}
        """Of the few units with many rows."""
        self._rows: Owners[RowKey, UnitKey, Row] = Owners()
        self._members: dict[RowKey, dict[str, MemberOwners]] = {}
        self._objects: Owners[ObjectKey, UnitKey, tuple[ObjectItem, ...]] = Owners()
        self._claims: Owners[str, UnitKey, Claim] = Owners()
        self._pools: dict[str, Pool] = {}
        self._holds: Owners[str, UnitKey, None] = Owners()
        self._touched = Touched(rows={}, objects={}, claims={}, pools={}, released=set())

    # -- writing -------------------------------------------------------------------------------------------------

    def set(self, unit: UnitKey, items: tuple[Item, ...]) -> None:
        """Replace the items of one unit."""
        old = self._items.get(unit, ())
        if old == items:
            return
        self._rows_of.pop(unit, None)
        if items:
            self._items[unit] = items
        else:
            self._items.pop(unit, None)
        objects: dict[ObjectKey, list[ObjectItem]] = {}
        if old:
            before, after = identified(old), identified(items)
            for about, item in before.items():
                if after.get(about) != item:
                    self._remove(unit, item, objects, replaced=about in after)
            for about, item in after.items():
                if before.get(about) != item:
                    self._add(unit, item, objects)
            objects = {key: [] for key in objects}  # all items about them, also those that are as before
            for item in items if objects else ():
                if isinstance(item, OBJECT_ITEMS) and (mine := objects.get(_about(item))) is not None:
                    mine.append(item)
        else:
            for item in items:
                self._add(unit, item, objects)
        for key, mine in objects.items():
            self._put_objects(key, unit, tuple(mine))

    def _put_objects(self, key: ObjectKey, unit: UnitKey, items: tuple[ObjectItem, ...]) -> None:
        if items:
            self._objects.put(key, unit, items)
        else:
            self._objects.discard(key, unit)
        self._touched.objects[key] = None

    def _add(self, unit: UnitKey, item: Item, objects: dict[ObjectKey, list[ObjectItem]]) -> None:
        if isinstance(item, Row):
            key = (item.table, item.key)
            wanted = self._rows.first(key)
            self._rows.put(key, unit, item)
            if wanted is None or self._rows.first(key) != wanted:
                self._touched.rows[key] = None
        elif isinstance(item, Member):
            key = (item.table, item.key)
            columns = self._members.get(key)
            if columns is None:
                columns = self._members[key] = {}
            owners = columns.get(item.column)
            if owners is None:
                owners = columns[item.column] = Owners()
            owners.put(item.value, unit, item.entry)
            self._touch_member(key, item)
        elif isinstance(item, Claim):
            self._claims.put(item.owner, unit, item)
            self._touched.claims[item.owner] = None
        elif isinstance(item, Hold):
            self._holds.put(item.scope, unit, None)
        elif isinstance(item, Pool):
            self._pools[item.name] = item
            self._touched.pools[item.name] = None
        else:
            objects.setdefault(_about(item), []).append(item)

    def _remove(self, unit: UnitKey, item: Item, objects: dict[ObjectKey, list[ObjectItem]], *, replaced: bool) -> None:
        if isinstance(item, Row):
            if not replaced:  # otherwise its successor sees what has changed
                key = (item.table, item.key)
                wanted = self._rows.first(key)
                self._rows.discard(key, unit)
                if self._rows.first(key) != wanted:
                    self._touched.rows[key] = None
        elif isinstance(item, Member):
            key = (item.table, item.key)
            columns = self._members.get(key, {})
            if item.column in columns:
                columns[item.column].discard(item.value, unit)
                if not columns[item.column]:
                    del columns[item.column]
                    if not columns:
                        del self._members[key]
            self._touch_member(key, item)
        elif isinstance(item, Claim):
            if not replaced:
                self._claims.discard(item.owner, unit)
            self._touched.claims[item.owner] = None
        elif isinstance(item, Pool):
            self._pools.pop(item.name, None)
            self._touched.pools[item.name] = None
        elif isinstance(item, Hold):
            self._holds.discard(item.scope, unit)
            if item.scope not in self._holds:
                self._touched.released.add(item.scope)
        else:
            objects.setdefault(_about(item), [])

    def _touch_member(self, key: RowKey, item: Member) -> None:
        partial = self._touched.rows.setdefault(key, set())
        if partial is not None:
            partial.add((item.column, item.value))

    def drop(self, unit: UnitKey, item: Item) -> None:
        """Take an item out of the merged view that the unit does not want (the self-check's repair)."""
        objects: dict[ObjectKey, list[ObjectItem]] = {}
        self._remove(unit, item, objects, replaced=False)
        for key in objects:
            self._put_objects(key, unit, tuple(i for i in self._objects.all(key)[unit] if i != item))

    def take_touched(self) -> Touched:
        """What changed since the last call."""
        touched, self._touched = self._touched, Touched(rows={}, objects={}, claims={}, pools={}, released=set())
        return touched

    # -- reading -------------------------------------------------------------------------------------------------

    def row(self, table: str, key: Key) -> Row | None:
        """The desired row; with several units the smallest unit's."""
        return self._rows.first((table, key))

    def members(self, table: str, key: Key) -> Mapping[str, MemberOwners]:
        """A row's member columns."""
        return self._members.get((table, key), _NO_MEMBERS)

    def items(self, kind: str, key: str) -> Sequence[ObjectItem]:
        """All items about one Kubernetes object, by unit."""
        wanted = self._objects.all((kind, key))
        return [item for unit in sorted(wanted) for item in wanted[unit]]

    def claim(self, owner: str) -> Claim | None:
        """The claim with this owner, or None."""
        return self._claims.first(owner)

    def claims(self) -> Iterator[str]:
        """Owners of all claims."""
        return iter(self._claims)

    def row_keys(self) -> Iterator[RowKey]:
        """Keys of all desired rows."""
        return iter(self._rows)

    def member_keys(self) -> Iterator[RowKey]:
        """Keys of all rows that members are wanted for."""
        return iter(self._members)

    def object_keys(self) -> Iterator[ObjectKey]:
        """Keys of all objects that items are about."""
        return iter(self._objects)

    def units_of_row(self, table: str, key: Key) -> list[UnitKey]:
        """Units that want a row or a member of it (for `explain` and error reports)."""
        units = set(self._rows.all((table, key)))
        for values in self.members(table, key).values():
            for value in values:
                units.update(values.all(value))
        return sorted(units)

    def row_owner(self, table: str, key: Key) -> UnitKey | None:
        """The unit whose row this is, or None."""
        return self._rows.owner((table, key))

    def rows_of(self, unit: UnitKey) -> Set[RowKey]:
        """Rows that one unit yields or adds members to, in their order."""
        found = self._rows_of.get(unit)
        if found is None:
            items = self._items.get(unit, ())
            found = {(i.table, i.key): None for i in items if isinstance(i, Row | Member)}.keys()
            if len(items) > 50:
                self._rows_of[unit] = found
        return found

    def units_of_object(self, kind: str, key: str) -> list[UnitKey]:
        """Units that have items about an object."""
        return sorted(self._objects.all((kind, key)))

    def pool(self, name: str) -> Pool | None:
        """A subnet's address range, or None."""
        return self._pools.get(name)

    def held(self, scope: str) -> bool:
        """Whether undesired rows of a scope must stay (`Hold`)."""
        return scope in self._holds

    def clashes(self) -> list[tuple[RowKey, list[UnitKey]]]:
        """Rows that units want differently."""
        return [
            (key, sorted(owners))
            for key in self._rows
            if len(owners := self._rows.all(key)) > 1 and any(row != self._rows.first(key) for row in owners.values())
        ]

    def merged(self, unit: UnitKey, item: Item) -> bool:
        """Whether the merged view holds an item of a unit."""
        if isinstance(item, Row):
            return self._rows.all((item.table, item.key)).get(unit) == item
        if isinstance(item, Member):
            values = self.members(item.table, item.key).get(item.column)
            owners = values.all(item.value) if values is not None else {}
            return unit in owners and owners[unit] == item.entry
        if isinstance(item, Claim):
            return self._claims.all(item.owner).get(unit) == item
        if isinstance(item, Hold):
            return unit in self._holds.all(item.scope)
        if isinstance(item, Pool):
            return self._pools.get(item.name) == item
        return item in self._objects.all(_about(item)).get(unit, ())

    def merged_items(self) -> Iterator[tuple[UnitKey, Item]]:
        """Everything in the merged view but pools, with whose it is; the store may change meanwhile."""
        for row_key in list(self._rows):
            yield from list(self._rows.all(row_key).items())
        for table, key in list(self._members):
            for column, values in list(self.members(table, key).items()):
                for value in list(values):
                    for unit, entry in list(values.all(value).items()):
                        yield unit, Member(table, key, column, value, entry)
        for owner in list(self._claims):
            yield from list(self._claims.all(owner).items())
        for scope in list(self._holds):
            yield from [(unit, Hold(scope)) for unit in list(self._holds.all(scope))]
        for object_key in list(self._objects):
            for unit, items in list(self._objects.all(object_key).items()):
                yield from [(unit, item) for item in items]

    def units(self) -> Iterator[UnitKey]:
        """Units that yield anything."""
        return iter(self._items)

    def snapshot_of(self, unit: UnitKey) -> tuple[Item, ...]:
        """Items of one unit."""
        return self._items.get(unit, ())

    def snapshot(self) -> dict[UnitKey, tuple[Item, ...]]:
        """All items by unit (shared tuples), for comparison with another store."""
        return dict(self._items)


def identity(item: Item) -> tuple[Any, ...]:
    """What an item is about."""
    if isinstance(item, Row):
        return ("row", item.table, item.key)
    if isinstance(item, Member):
        return ("member", item.table, item.key, item.column, item.value)
    if isinstance(item, Claim):
        return ("claim", item.owner)
    if isinstance(item, Hold):
        return ("hold", item.scope)
    if isinstance(item, Pool):
        return ("pool", item.name)
    if isinstance(item, Event):
        return ("Event", item.kind, item.key, item.type, item.reason, item.message)
    return (type(item).__name__, item.kind, item.key, getattr(item, "name", ""))


def identified(items: Iterable[Item]) -> dict[tuple[Any, ...], Item]:
    """Items by what they are about; the last one about the same thing counts."""
    return {identity(item): item for item in items}


def _about(item: ObjectItem) -> ObjectKey:
    return item.kind, item.key

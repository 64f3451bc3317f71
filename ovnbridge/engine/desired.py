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

from ovnbridge.engine.items import Claim, Event, Hold, Item, Member, ObjectItem, Pool, Row
from ovnbridge.model.ovn import Atom, Key

RowKey: TypeAlias = tuple[str, Key]
ObjectKey: TypeAlias = tuple[str, str]


class UnitKey(NamedTuple):
    """A unit and the key it was run for."""

    unit: str
    key: str


_NO_MEMBERS: Mapping[str, Mapping[Atom, Mapping[UnitKey, str | None]]] = {}


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
        self._rows: dict[RowKey, dict[UnitKey, Row]] = {}
        self._members: dict[RowKey, dict[str, dict[Atom, dict[UnitKey, str | None]]]] = {}
        self._objects: dict[ObjectKey, dict[UnitKey, tuple[ObjectItem, ...]]] = {}
        self._claims: dict[str, dict[UnitKey, Claim]] = {}
        self._pools: dict[str, Pool] = {}
        self._holds: dict[str, dict[UnitKey, None]] = {}
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
        before, after = identified(old), identified(items)
        objects: dict[ObjectKey, None] = {}
        for about, item in before.items():
            if after.get(about) != item:
                self._remove(unit, item, objects, replaced=about in after)
        for about, item in after.items():
            if before.get(about) != item:
                self._add(unit, item, objects)
        for key in objects:
            mine = tuple(
                i for i in items if not isinstance(i, Row | Member | Claim | Hold | Pool) and (i.kind, i.key) == key
            )
            self._objects.setdefault(key, {})[unit] = mine
            if not mine:
                del self._objects[key][unit]
                if not self._objects[key]:
                    del self._objects[key]
            self._touched.objects[key] = None

    def _add(self, unit: UnitKey, item: Item, objects: dict[ObjectKey, None]) -> None:
        if isinstance(item, Row):
            owners = self._rows.setdefault((item.table, item.key), {})
            wanted = owners[min(owners)] if owners else None
            owners[unit] = item
            if owners[min(owners)] != wanted:
                self._touched.rows[(item.table, item.key)] = None
        elif isinstance(item, Member):
            columns = self._members.setdefault((item.table, item.key), {})
            columns.setdefault(item.column, {}).setdefault(item.value, {})[unit] = item.entry
            self._touch_member(item)
        elif isinstance(item, Claim):
            self._claims.setdefault(item.owner, {})[unit] = item
            self._touched.claims[item.owner] = None
        elif isinstance(item, Hold):
            self._holds.setdefault(item.scope, {})[unit] = None
        elif isinstance(item, Pool):
            self._pools[item.name] = item
            self._touched.pools[item.name] = None
        else:
            objects[(item.kind, item.key)] = None

    def _remove(self, unit: UnitKey, item: Item, objects: dict[ObjectKey, None], *, replaced: bool) -> None:
        if isinstance(item, Row):
            if not replaced:  # otherwise its successor sees what has changed
                wanted = self.row(item.table, item.key)
                _discard(self._rows, (item.table, item.key), unit)
                if self.row(item.table, item.key) != wanted:
                    self._touched.rows[(item.table, item.key)] = None
        elif isinstance(item, Member):
            columns = self._members.get((item.table, item.key), {})
            _discard(columns.get(item.column, {}), item.value, unit)
            if item.column in columns and not columns[item.column]:
                del columns[item.column]
                if not columns:
                    del self._members[(item.table, item.key)]
            self._touch_member(item)
        elif isinstance(item, Claim):
            if not replaced:
                _discard(self._claims, item.owner, unit)
            self._touched.claims[item.owner] = None
        elif isinstance(item, Pool):
            self._pools.pop(item.name, None)
            self._touched.pools[item.name] = None
        elif isinstance(item, Hold):
            _discard(self._holds, item.scope, unit)
            if item.scope not in self._holds:
                self._touched.released.add(item.scope)
        else:
            objects[(item.kind, item.key)] = None

    def _touch_member(self, item: Member) -> None:
        key = (item.table, item.key)
        if key not in self._touched.rows:
            self._touched.rows[key] = {(item.column, item.value)}
            return
        partial = self._touched.rows[key]
        if partial is not None:
            partial.add((item.column, item.value))

    def drop(self, unit: UnitKey, item: Item) -> None:
        """Take an item out of the merged view that the unit does not want (the self-check's repair)."""
        objects: dict[ObjectKey, None] = {}
        self._remove(unit, item, objects, replaced=False)
        for key in objects:
            mine = tuple(i for i in self._objects[key][unit] if i != item)
            self._objects[key][unit] = mine
            if not mine:
                _discard(self._objects, key, unit)
            self._touched.objects[key] = None

    def take_touched(self) -> Touched:
        """What changed since the last call."""
        touched, self._touched = self._touched, Touched(rows={}, objects={}, claims={}, pools={}, released=set())
        return touched

    # -- reading -------------------------------------------------------------------------------------------------

    def row(self, table: str, key: Key) -> Row | None:
        """The desired row; with several units the smallest unit's."""
        owners = self._rows.get((table, key))
        if not owners:
            return None
        if len(owners) == 1:
            (only,) = owners.values()
            return only
        return owners[min(owners)]

    def members(self, table: str, key: Key) -> Mapping[str, Mapping[Atom, Mapping[UnitKey, str | None]]]:
        """Column → value → {unit: map entry} of a row's member columns."""
        return self._members.get((table, key), _NO_MEMBERS)

    def member(self, table: str, key: Key, column: str, value: Atom) -> Mapping[UnitKey, str | None] | None:
        """The units that want one member, or None when nobody does."""
        return self._members.get((table, key), {}).get(column, {}).get(value)

    def items(self, kind: str, key: str) -> Sequence[ObjectItem]:
        """All items about one Kubernetes object, by unit."""
        owners = self._objects.get((kind, key))
        return [item for unit in sorted(owners) for item in owners[unit]] if owners else ()

    def claim(self, owner: str) -> Claim | None:
        """The claim with this owner, or None."""
        owners = self._claims.get(owner)
        return owners[min(owners)] if owners else None

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
        units = set(self._rows.get((table, key), ()))
        for values in self._members.get((table, key), {}).values():
            for owners in values.values():
                units.update(owners)
        return sorted(units)

    def row_owner(self, table: str, key: Key) -> UnitKey | None:
        """The unit whose row this is, or None."""
        owners = self._rows.get((table, key))
        return min(owners) if owners else None

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
        return sorted(self._objects.get((kind, key), ()))

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
            for key, owners in self._rows.items()
            if len(owners) > 1 and any(row != owners[min(owners)] for row in owners.values())
        ]

    def merged(self, unit: UnitKey, item: Item) -> bool:
        """Whether the merged view holds an item of a unit."""
        if isinstance(item, Row):
            return self._rows.get((item.table, item.key), {}).get(unit) == item
        if isinstance(item, Member):
            owners = self.member(item.table, item.key, item.column, item.value) or {}
            return unit in owners and owners[unit] == item.entry
        if isinstance(item, Claim):
            return self._claims.get(item.owner, {}).get(unit) == item
        if isinstance(item, Hold):
            return unit in self._holds.get(item.scope, {})
        if isinstance(item, Pool):
            return self._pools.get(item.name) == item
        return item in self._objects.get((item.kind, item.key), {}).get(unit, ())

    def merged_items(self) -> Iterator[tuple[UnitKey, Item]]:
        """Everything in the merged view but pools, with whose it is; the store may change meanwhile."""
        for row_key in list(self._rows):
            yield from list(self._rows.get(row_key, {}).items())
        for table, key in list(self._members):
            for column, values in list(self.members(table, key).items()):
                for value in list(values):
                    for unit, entry in list(values.get(value, {}).items()):
                        yield unit, Member(table, key, column, value, entry)
        for claims in list(self._claims.values()):
            yield from list(claims.items())
        for scope, units in list(self._holds.items()):
            yield from [(unit, Hold(scope)) for unit in units]
        for object_key in list(self._objects):
            for unit, items in list(self._objects.get(object_key, {}).items()):
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


def _discard(table: dict[Any, dict[UnitKey, Any]], key: Any, unit: UnitKey) -> None:
    owners = table.get(key)
    if owners is not None:
        owners.pop(unit, None)
        if not owners:
            del table[key]

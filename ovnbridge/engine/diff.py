"""Diff of one natural key: what must be written so that the database holds what is desired.

Fed by the committer (`ovsdb/committer.py`) with desired state and the replica, both behind small protocols; returns
`Change`s, which are values: they can be printed (`plan`), tested, applied to an in-memory database or turned into OVSDB
operations. One call never looks at more than one row, so the cost of a change does not depend on the database's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from ovnbridge.engine.desired import DesiredStore, MemberOwners
from ovnbridge.engine.items import STANDS, Row
from ovnbridge.model.ovn import Atom, Columns, Key, Ref, TableFacts, Value


class ActualRow(msgspec.Struct, frozen=True, gc=False):
    """A row as the replica holds it; references are UUID strings, sets are sets, maps are dicts."""

    uuid: str
    columns: Mapping[str, Any]
    parent: tuple[str, str] | None = None
    """(parent table, parent uuid), when it is known."""


class Actual(Protocol):
    """A database as seen by the diff."""

    def find(self, table: str, key: Key) -> ActualRow | None:
        """The row with this natural key, or None; with duplicates the first, the others are in `extra`."""

    def extra(self, table: str, key: Key) -> Iterable[ActualRow]:
        """Further rows that share the natural key."""

    def uuid_of(self, ref: Ref) -> str:
        """UUID of the referenced row: the existing row's, else the derived one that its insert will use."""

    def has_column(self, table: str, column: str) -> bool:
        """Whether the server's schema knows the column (feature gating, DESIGN section 3)."""

    def known_columns(self, table: str) -> Set[str]:
        """The columns of the table that the server's schema knows."""


class Insert(msgspec.Struct, frozen=True, gc=False):
    """A new row, referenced from `parent` through `parent_column` where the table has parents."""

    table: str
    key: Key
    uuid: str
    columns: Columns
    parent: Ref | None
    parent_column: str


class Update(msgspec.Struct, frozen=True, gc=False):
    """New values for some columns of an existing row."""

    table: str
    key: Key
    uuid: str
    columns: Columns
    before: Mapping[str, Any]


class Mutate(msgspec.Struct, frozen=True, gc=False):
    """Values to add to and remove from a set column, or entries of a map column (dict form)."""

    table: str
    key: Key
    uuid: str
    column: str
    add: frozenset[Atom] | Mapping[str, str]
    remove: frozenset[Any]


class Delete(msgspec.Struct, frozen=True, gc=False):
    """An existing row that must go; `parent` is (table, uuid, column) where it is referenced, if known."""

    table: str
    key: Key
    uuid: str
    parent: tuple[str, str, str] | None


Change: TypeAlias = Insert | Update | Mutate | Delete
_NOBODY: Final = MemberOwners()


Owns: TypeAlias = Callable[[str, ActualRow], bool]
"""Whether a row of the table that nobody desires is ours to delete."""


class Differ:
    """Desired against actual, one natural key at a time."""

    def __init__(self, *, desired: DesiredStore, actual: Actual, facts: Mapping[str, TableFacts], owns: Owns) -> None:
        self._desired = desired
        self._actual = actual
        self._facts = facts
        self._owns = owns
        self._parent_columns = {
            (table.name, parent): column for table in facts.values() for parent, column in reversed(table.parents)
        }

    def diff(self, table: str, key: Key, members: Set[tuple[str, Atom]] | None = None) -> list[Change]:
        """Changes that make this row what is desired.

        With `members` (column, value) only those members are looked at, for rows of which nothing else changed.
        """
        row = self._desired.row(table, key)
        actual = self._actual.find(table, key)
        if members is not None and actual is not None:
            return self._some_members(table, key, row, actual, members)
        changes: list[Change] = []
        if row is None:
            if actual is not None and self._owns(table, actual):
                changes.append(self._delete(table, key, actual))
            elif actual is not None:
                changes.extend(self._members(table, key, row, actual))
        elif actual is None:
            changes += [self._insert(row)] if self._facts[table].inserted else []
        elif self._moved(row, actual):
            changes += [self._delete(table, key, actual), self._insert(row)]
        else:
            changes += self._update(row, actual)
            changes += self._members(table, key, row, actual)
        for extra in self._actual.extra(table, key):
            if self._owns(table, extra):
                changes.append(self._delete(table, key, extra))
        return changes

    # -- one row -------------------------------------------------------------------------------------------------

    def _insert(self, row: Row) -> Insert:
        table, key, columns, parent = row.table, row.key, row.columns, row.parent
        known = self._actual.known_columns(table)
        members = self._desired.members(table, key)
        if members or None in columns.values() or not columns.keys() <= known:  # else the row's own dict will do
            columns = {name: value for name, value in columns.items() if value is not None and name in known}
            for column, values in members.items():
                if any(values.first(value) not in (None, STANDS) for value in values):
                    base = columns.get(column)
                    merged = _entries(values, values)
                    columns[column] = {**base, **merged} if isinstance(base, dict) else merged
                else:
                    columns[column] = frozenset(value for value in values if values.first(value) is None)
        parent_column = "" if parent is None else self._parent_columns[table, parent.table]
        return Insert(table, key, self._actual.uuid_of(Ref(table, key)), columns, parent, parent_column)

    def _update(self, row: Row, actual: ActualRow) -> list[Change]:
        facts = self._facts[row.table]
        changed: dict[str, Value] = {}
        for name, value in row.columns.items():
            if actual.columns.get(name) == value or name in row.initial:  # mostly it is what is desired, to the letter
                continue
            if not self._actual.has_column(row.table, name):
                continue
            if name in facts.adopted and name not in row.exact and actual.columns.get(name):
                continue
            if name in facts.own_entries and isinstance(value, dict):
                held = actual.columns.get(name) or {}
                value = {**{n: entry for n, entry in held.items() if n not in facts.own_entries[name]}, **value}
            if name == "external_ids" and facts.kept_ids and isinstance(value, dict):
                held = actual.columns.get(name) or {}
                value = {**{n: entry for n, entry in held.items() if n.startswith(facts.kept_ids)}, **value}
            value = _adopting(value, actual.columns.get(name), name, facts, row)
            if not same(self._resolved(value), actual.columns.get(name)):
                changed[name] = value
        if not changed:
            return []
        before = {name: actual.columns.get(name) for name in changed}
        return [Update(row.table, row.key, actual.uuid, changed, before)]

    def _delete(self, table: str, key: Key, actual: ActualRow) -> Delete:
        parent: tuple[str, str, str] | None = None
        parents = self._facts[table].parents
        if parents and actual.parent is not None:
            column = next((c for t, c in parents if t == actual.parent[0]), "")
            parent = (actual.parent[0], actual.parent[1], column)
        return Delete(table, key, actual.uuid, parent)

    def _moved(self, row: Row, actual: ActualRow) -> bool:
        if row.parent is None or actual.parent is None:
            return False
        return self._actual.uuid_of(row.parent) != actual.parent[1]

    # -- members -------------------------------------------------------------------------------------------------

    def _members(self, table: str, key: Key, row: Row | None, actual: ActualRow) -> list[Change]:
        wanted = self._desired.members(table, key)
        owned = row.members if row is not None else ()
        changes: list[Change] = []
        for column in dict.fromkeys((*owned, *wanted)):
            if not self._actual.has_column(table, column):
                continue
            values = wanted.get(column, _NOBODY)
            present = actual.columns.get(column)
            if isinstance(present, dict):
                change = self._map_members(table, key, column, _entries(values, values), actual, column in owned)
            else:
                # Sets may have every pod in them: their difference is left to the interpreter.
                referring = isinstance(next(iter(values), None), Ref)
                resolved = {self._atom(value): value for value in values} if referring else dict(zip(values, values))
                held = _as_set(present)
                lacking = (resolved[atom] for atom in resolved.keys() - held)
                add = frozenset(value for value in lacking if values.first(value) is None)
                remove = frozenset(held - resolved.keys()) if column in owned else frozenset()
                change = Mutate(table, key, actual.uuid, column, add, remove)
            if change.add or change.remove:
                changes.append(change)
        return changes

    def _map_members(
        self, table: str, key: Key, column: str, wanted: Mapping[str, str], actual: ActualRow, owned: bool
    ) -> Mutate:
        present: Mapping[str, str] = actual.columns.get(column) or {}
        add = {name: entry for name, entry in wanted.items() if present.get(name) != entry}
        remove = {name for name in present if name not in wanted} if owned else set()
        return Mutate(table, key, actual.uuid, column, add, frozenset(remove | (add.keys() & present.keys())))

    def _some_members(
        self, table: str, key: Key, row: Row | None, actual: ActualRow, members: Set[tuple[str, Atom]]
    ) -> list[Change]:
        changes: list[Change] = []
        owned = row.members if row is not None else ()
        for column in sorted({column for column, _ in members}):
            present = actual.columns.get(column)
            if not self._actual.has_column(table, column):
                continue
            values = {value for name, value in members if name == column}
            wanted = self._desired.members(table, key).get(column, _NOBODY)
            if isinstance(present, dict):
                entries = _entries(wanted, values & wanted.keys())
                change = self._map_members(table, key, column, entries, actual, owned=False)
                gone = {str(v) for v in values - wanted.keys()} & present.keys() if column in owned else set()
                change = msgspec.structs.replace(change, remove=change.remove | gone)
            else:
                held = _as_set(present)
                lacking = (v for v in values if v in wanted and self._atom(v) not in held)
                add = frozenset(v for v in lacking if wanted.first(v) is None)
                remove = frozenset(atom for v in values if v not in wanted and (atom := self._atom(v)) in held)
                change = Mutate(table, key, actual.uuid, column, add, remove if column in owned else frozenset())
            if change.add or change.remove:
                changes.append(change)
        return changes

    def _atom(self, value: Atom) -> Any:
        return self._actual.uuid_of(value) if isinstance(value, Ref) else value

    def _resolved(self, value: Value) -> Any:
        if isinstance(value, Ref):
            return self._actual.uuid_of(value)
        if isinstance(value, frozenset):
            return frozenset(self._atom(v) for v in value)
        return value


def _entries(values: MemberOwners, of: Iterable[Atom]) -> dict[str, str]:
    """Entries of a map column."""
    return {str(value): values.first(value) or "" for value in of}


def _adopting(value: Value, present: Any, column: str, facts: TableFacts, row: Row) -> Value:
    """A map with those entries of the existing one that stand."""
    entries = facts.adopted + facts.unordered
    if not entries or not isinstance(value, dict) or not isinstance(present, dict):
        return value
    stand = {
        name: present[name]
        for entry in entries
        if entry not in row.exact and entry.startswith(f"{column}:")
        if (name := entry.removeprefix(f"{column}:")) in value and name in present
        if entry not in facts.unordered or sorted(value[name].split(",")) == sorted(present[name].split(","))
    }
    return {**value, **stand} if stand else value


def same(desired: Any, actual: Any) -> bool:
    """Whether a desired column value equals the replica's, whatever container it comes in.

    An empty set, an empty map and an absent optional are the same thing in OVSDB.
    """
    if isinstance(desired, frozenset) or isinstance(actual, frozenset | set):
        return _as_set(desired) == _as_set(actual)
    if isinstance(desired, dict) or isinstance(actual, dict):
        return dict(desired or {}) == dict(actual or {})
    return bool(desired == actual)


def _as_set(value: Any) -> Set[Any]:
    if value is None:
        return frozenset()
    if isinstance(value, frozenset | set):
        return value
    return frozenset((value,))

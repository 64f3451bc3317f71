"""The World: tables of frozen values that edges fill and compile units read, with declared indexes.

Fed by `kube/`, `ovsdb/` and `node/` edges through `put` and `replace`; drained by `engine/engine.py`, which asks
`take_changes` for the cells that changed. A value equal to the one it replaces is no change: an update of an object
that touches nothing we keep costs one comparison and reaches nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec


class Cell(NamedTuple):
    """One thing that can be read and can change: a value, the key set of a table, or one index entry.

    `space` is a table's name, `"keys:TABLE"` or `"index:NAME"`.
    """

    space: str
    key: str


cell: Final[Callable[[tuple[str, str]], Cell]] = partial(tuple.__new__, Cell)
"""`Cell` of a pair, in a third of the time: every look at the World makes one."""


class Index(msgspec.Struct, frozen=True):
    """A declared index: `keys(value)` gives the index keys under which a table's value is found."""

    name: str
    table: str
    keys: Callable[[Any], Iterable[str]]

    def entries(self, key: str, value: Any) -> Iterable[tuple[str, Hashable]]:
        """(index key, what is found there)."""
        return [(entry, key) for entry in self.keys(value)]


class Catalogue(msgspec.Struct, frozen=True):
    """An index of what values speak of: `mentions(value)` gives (index key, thing), and the thing is found there.

    However many values speak of it, it is there once, and nobody who looks it up notices one more or one less of them.
    Catalogues of one name are one, whatever tables they are about.
    """

    name: str
    table: str
    mentions: Callable[[Any], Iterable[tuple[str, Hashable]]]

    def entries(self, key: str, value: Any) -> Iterable[tuple[str, Hashable]]:
        """(index key, what is found there)."""
        return self.mentions(value)


class World:
    """All tables of one process, with change tracking."""

    def __init__(self, indexes: Iterable[Index | Catalogue] = ()) -> None:
        self.version = 0
        """Grows with every change."""
        self._tables: dict[str, dict[str, Any]] = {}
        self._indexes: dict[str, dict[str, dict[Any, int]]] = {}
        """Name → index key → what is found there, and how many values put it there."""
        self._by_table: dict[str, list[Index | Catalogue]] = {}
        self._changes: dict[Cell, None] = {}
        for index in indexes:
            self._by_table.setdefault(index.table, []).append(index)
            self._indexes.setdefault(index.name, {})

    def put(self, table: str, key: str, value: Any | None) -> bool:
        """Set one value, or remove it with None. Returns whether anything changed."""
        rows = self._tables.get(table)
        if rows is None:
            rows = self._tables[table] = {}
        old = rows.get(key)
        if old is value or (old is not None and value is not None and old == value):
            return False
        self.version += 1
        if value is None:
            del rows[key]
        else:
            rows[key] = value
        if old is None or value is None:
            self._changes[cell((f"keys:{table}", ""))] = None
        self._changes[cell((table, key))] = None
        for index in self._by_table.get(table, ()):
            went = index.entries(key, old) if old is not None else ()
            came = index.entries(key, value) if value is not None else ()
            if went or came:
                self._reindex(index.name, went, came)
        return True

    def replace(self, table: str, values: Mapping[str, Any]) -> list[str]:
        """Make the table hold exactly `values` (after a complete list). Returns the keys that changed."""
        gone = [key for key in self._tables.get(table, ()) if key not in values]
        for key in gone:
            self.put(table, key, None)
        return gone + [key for key, value in values.items() if self.put(table, key, value)]

    def get(self, table: str, key: str) -> Any | None:
        """One value, or None."""
        rows = self._tables.get(table)
        return rows.get(key) if rows is not None else None

    def keys(self, table: str) -> Iterator[str]:
        """Keys of a table, in no particular order."""
        return iter(self._tables.get(table, {}))

    def size(self, table: str) -> int:
        """Number of values in a table."""
        return len(self._tables.get(table, ()))

    def lookup(self, index: str, key: str) -> Mapping[Any, int]:
        """What is found under one index key: keys of the table's values, or what a catalogue's values speak of."""
        return self._indexes[index].get(key, _NOTHING)

    def take_changes(self) -> list[Cell]:
        """Cells that changed since the last call."""
        changes = list(self._changes)
        self._changes.clear()
        return changes

    def has_changes(self) -> bool:
        """Whether `take_changes` would return anything."""
        return bool(self._changes)

    def fork(self) -> World:
        """A World with the same values, every one of them a fresh change; shares the (frozen) values."""
        twin = World(index for group in self._by_table.values() for index in group)
        for table, rows in self._tables.items():
            for key, value in rows.items():
                twin.put(table, key, value)
        return twin

    def _reindex(self, index: str, went: Iterable[tuple[str, Hashable]], came: Iterable[tuple[str, Hashable]]) -> None:
        if went == came:
            return
        before, after = dict.fromkeys(went), dict.fromkeys(came)
        found = self._indexes[index]
        for entry, thing in (pair for pair in before if pair not in after):
            things = found[entry]
            things[thing] -= 1
            if not things[thing]:
                del things[thing]
                if not things:
                    del found[entry]
                self._changes[cell((f"index:{index}", entry))] = None
        for entry, thing in (pair for pair in after if pair not in before):
            things = found.setdefault(entry, {})
            things[thing] = things.get(thing, 0) + 1
            if things[thing] == 1:
                self._changes[cell((f"index:{index}", entry))] = None


_NOTHING: Mapping[Any, int] = {}

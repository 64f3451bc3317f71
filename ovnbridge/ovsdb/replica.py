"""The database by natural keys: what `engine/diff.py` calls the actual rows.

Fed by `client.Database` (batches of row changes), drained by the diff (`find`, `extra`, `uuid_of`), by the committer
and by everyone who wants to know which natural keys a change touched (`subscribe`). Everything is updated in time
proportional to the change; nothing is ever scanned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

from ovnbridge.engine.diff import ActualRow
from ovnbridge.model.ovn import Key, Ref, TableFacts
from ovnbridge.ovsdb.keys import derive, key_columns, key_function
from ovnbridge.ovsdb.parents import Parent, Parents
from ovnbridge.ovsdb.schema import DatabaseSchema
from ovnbridge.ovsdb.tables import Changes

RowKey: TypeAlias = tuple[str, Key]
"""(table, natural key)."""

_NOTHING: frozenset[str] = frozenset()

KeyListener: TypeAlias = Callable[[set[RowKey]], None]


def monitored_columns(facts: Mapping[str, TableFacts]) -> dict[str, tuple[str, ...]]:
    """The columns that a `Database` under a `Replica` must replicate."""
    return {t.name: tuple(c for c in t.columns if c not in t.write_only) for t in facts.values()}


class Replicated(Protocol):
    """What a replica needs of a database: `client.Database`, or `file.FileDatabase`."""

    name: str
    schema: DatabaseSchema | None
    rows: dict[str, dict[str, dict[str, Any]]]

    def subscribe(self, listener: Callable[[Changes], None], /) -> None:
        """Call `listener` after each batch of changes."""


class Replica:
    """Implements `ovnbridge.engine.diff.Actual`."""

    def __init__(self, database: Replicated, facts: Mapping[str, TableFacts]) -> None:
        self.facts = facts
        self.pending: dict[RowKey, str] = {}
        """UUIDs of rows whose insert is on its way; kept by the committer."""
        self._database = database
        self._parents = Parents(facts)
        self._keys: dict[str, dict[str, Key]] = {table: {} for table in facts}
        self._index: dict[str, dict[Key, str]] = {table: {} for table in facts}
        self._extra: dict[RowKey, list[str]] = {}
        self._functions = {table: key_function(t) for table, t in facts.items()}
        self._watched = {table: key_columns(t) for table, t in facts.items()}
        self._nested = frozenset(table for table, t in facts.items() if "@parent" in t.key)
        self._order = sorted(facts, key=self._depth)  # parents' keys are part of their children's keys
        self._schema: DatabaseSchema | None = None
        self._known: dict[str, frozenset[str]] = {}  # the schema's columns: asked for more often than anything else
        self._listeners: list[KeyListener] = []
        database.subscribe(self._apply)

    def subscribe(self, listener: KeyListener) -> None:
        """Call `listener` synchronously with the natural keys that a batch of changes touched."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: KeyListener) -> None:
        """Stop calling `listener`."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    # -- engine.diff.Actual

    def find(self, table: str, key: Key) -> ActualRow | None:
        """The row with this natural key, or None. With duplicates: the first, the others are in `extra`."""
        uuid = self._index[table].get(key)
        return None if uuid is None else self._actual(table, uuid)

    def extra(self, table: str, key: Key) -> Iterable[ActualRow]:
        """Further rows that share the natural key."""
        if not self._extra:
            return ()
        return [self._actual(table, uuid) for uuid in self._extra.get((table, key), ())]

    def uuid_of(self, ref: Ref) -> str:
        """UUID of the referenced row: the existing row's, else the derived one that its insert will use."""
        return self.existing(ref) or self.derived(ref.table, ref.key)

    def has_column(self, table: str, column: str) -> bool:
        """Whether the server's schema knows the column."""
        return column in self.known_columns(table)

    def known_columns(self, table: str) -> frozenset[str]:
        """The columns of the table that the server's schema knows."""
        if self._database.schema is not self._schema:
            self._schema = self._database.schema
            tables = self._schema.tables.values() if self._schema is not None else ()
            self._known = {known.name: frozenset(known.columns) for known in tables}
        return self._known.get(table, _NOTHING)

    # -- more about rows

    def existing(self, ref: Ref) -> str | None:
        """UUID of the row if it exists or is being inserted."""
        uuid = self.pending.get((ref.table, ref.key)) if self.pending else None
        return uuid or self._index[ref.table].get(ref.key)

    def derived(self, table: str, key: Key, salt: str = "") -> str:
        """UUID for a new row. A row that takes the place of another within one transaction needs a salt, since OVSDB
        refuses a UUID that the same transaction deletes."""
        return derive(self._database.name, table, key, salt)

    def key_of(self, table: str, uuid: str) -> Key | None:
        """Natural key of a row."""
        return self._keys[table].get(uuid)

    def keys(self, table: str) -> Iterable[Key]:
        """All natural keys of a table."""
        return self._index[table].keys()

    def columns(self, table: str) -> tuple[str, ...]:
        """The declared columns that the server's schema knows."""
        return tuple(c for c in self.facts[table].columns if self.has_column(table, c))

    def parents_of(self, uuid: str) -> list[Parent]:
        """(table, uuid) of every row known to refer to a row whose parents are followed."""
        return self._parents.all_of(uuid)

    def _actual(self, table: str, uuid: str) -> ActualRow:
        row = self._database.rows[table][uuid]
        return ActualRow(uuid, row, self._parent(table, uuid, row))

    def _parent(self, table: str, uuid: str, row: Mapping[str, Any]) -> Parent | None:
        if table in self._parents.children:
            return self._parents.of(uuid)
        facts = self.facts[table]
        if not facts.parent_hint or not facts.parents:
            return None
        column, _, subkey = facts.parent_hint.partition(":")
        name = row.get(column, {}).get(subkey)
        parent_table = facts.parents[0][0]
        parent = self._index[parent_table].get(name) if name is not None else None
        return None if parent is None else (parent_table, parent)

    def _depth(self, table: str) -> int:
        if table not in self._nested:
            return 0
        return 1 + max((self._depth(parent) for parent, _ in self.facts[table].parents), default=0)

    # -- keeping up

    def _apply(self, changes: Changes) -> None:
        touched: set[RowKey] = set()
        moved: dict[str, set[str]] = {}
        for table, uuid in self._parents.apply(changes):
            moved.setdefault(table, set()).add(uuid)
        for table in self._order:
            self._apply_table(table, changes.get(table, {}), moved, touched)
        if touched:
            for listener in list(self._listeners):
                listener(touched)

    def _apply_table(
        self, table: str, changes: Mapping[str, Any], moved: dict[str, set[str]], touched: set[RowKey]
    ) -> None:
        keys, rows, watched = self._keys[table], self._database.rows.get(table, {}), self._watched[table]
        key_of, index = self._functions[table], self._index[table]
        alone = table not in self._nested
        for uuid, change in changes.items():
            if alone and change.old is None and change.new is not None and uuid not in keys:  # most are of this kind
                keys[uuid] = key = key_of(change.new, "")
                touched.add((table, key))
                if index.setdefault(key, uuid) != uuid:
                    self._extra.setdefault((table, key), []).append(uuid)
            elif change.old is not None and change.new is not None and watched.isdisjoint(change.old):
                touched.add((table, keys[uuid]))
            else:
                self._place(table, uuid, change.new, moved, touched)
        for uuid in moved.get(table, ()):
            if uuid in rows:
                self._place(table, uuid, rows[uuid], moved, touched)
                touched.add((table, keys[uuid]))

    def _place(
        self,
        table: str,
        uuid: str,
        row: Mapping[str, Any] | None,
        moved: dict[str, set[str]],
        touched: set[RowKey],
    ) -> None:
        """Index a row under its present key."""
        keys = self._keys[table]
        old = keys.get(uuid)
        if row is None:
            if old is not None:
                del keys[uuid]
                self._remove(table, old, uuid)
                touched.add((table, old))
            return
        key = self._functions[table](row, self._parent_key(table, uuid))
        touched.add((table, key))
        if key == old:
            return
        if old is not None:
            self._remove(table, old, uuid)
            touched.add((table, old))
            for child_table, child in self._parents.children_of(table, row):
                moved.setdefault(child_table, set()).add(child)
        keys[uuid] = key
        if self._index[table].setdefault(key, uuid) != uuid:
            self._extra.setdefault((table, key), []).append(uuid)

    def _remove(self, table: str, key: Key, uuid: str) -> None:
        extra = self._extra.get((table, key))
        if self._index[table].get(key) == uuid:
            if extra:
                self._index[table][key] = extra.pop(0)
            else:
                del self._index[table][key]
        elif extra and uuid in extra:
            extra.remove(uuid)
        if extra is not None and not extra:
            del self._extra[table, key]

    def _parent_key(self, table: str, uuid: str) -> Key:
        if table not in self._nested:
            return ""
        parent = self._parents.of(uuid)
        if parent is None:
            return ""
        return self._keys[parent[0]].get(parent[1], "")

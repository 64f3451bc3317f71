"""Turns the changes of many natural keys into the operations of one OVSDB transaction.

Fed by `committer.py`, drained by `client.Database.transact`. Order: the fence's waits; inserts by table rank; updates;
one merged mutate per row; deletes in reverse rank. Reference sets are only ever mutated. A row of a table without
`isRoot` is deleted by taking away the references to it. What cannot be done yet since a referenced row is missing is
left out and noted in `missing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ovnbridge.engine.diff import Change, Delete, Insert, Mutate, Update
from ovnbridge.model.ovn import Ref, TableFacts
from ovnbridge.ovsdb.encode import Encoder, MissingReference, encode_uuids, encoder
from ovnbridge.ovsdb.fence import Fence
from ovnbridge.ovsdb.replica import Replica, RowKey
from ovnbridge.ovsdb.schema import Column, DatabaseSchema, Kind
from ovnbridge.ovsdb.tables import Rows

Operation = dict[str, Any]


class Encoders:
    """One encoder per column, for the lifetime of a schema."""

    def __init__(self, schema: DatabaseSchema) -> None:
        self.schema = schema
        self._tables: dict[str, dict[str, Encoder | None]] = {
            table.name: {name: encoder(column) for name, column in table.columns.items()}
            for table in schema.tables.values()
        }
        self.mandatory: dict[str, tuple[str, ...]] = {
            table.name: tuple(c.name for c in table.columns.values() if c.kind is Kind.SCALAR and c.key == "uuid")
            for table in schema.tables.values()
        }
        """Columns that must refer to a row."""

    def table(self, table: str) -> Mapping[str, Encoder | None]:
        return self._tables[table]


class _RowMutations:
    """Everything that is added to and taken from one row's sets and maps."""

    __slots__ = ("add", "entries", "owners", "remove")

    def __init__(self) -> None:
        self.add: dict[str, dict[Any, None]] = {}
        self.remove: dict[str, dict[Any, None]] = {}
        self.entries: dict[str, dict[Any, Any]] = {}
        self.owners: dict[RowKey, None] = {}


class Transaction:
    """One transaction under construction, then in flight."""

    def __init__(
        self, replica: Replica, facts: Mapping[str, TableFacts], encoders: Encoders, lost: Iterable[str] = ()
    ) -> None:
        self.keys: list[RowKey] = []
        """Keys with changes in this transaction."""
        self.operations: list[Operation] = []
        self.owners: list[tuple[RowKey, ...]] = []
        """Per operation, the keys that asked for it."""
        self.inserted: dict[RowKey, str] = {}
        self.deleted: list[tuple[RowKey, str]] = []
        """Rows that must be gone afterwards."""
        self.references: list[tuple[RowKey, str, str]] = []
        """(key, table, uuid) of every row that a key was made to refer to."""
        self.missing: dict[RowKey, list[Ref]] = {}
        """Keys that wait, entirely or in part, for rows that do not exist."""
        self.waits = 0
        self._replica = replica
        self._facts = facts
        self._encoders = encoders
        self._lost = frozenset(lost)
        self._added: list[RowKey] = []
        self._changes: dict[RowKey, list[Change]] = {}
        self._mutations: dict[tuple[str, str], _RowMutations] = {}
        self._key: RowKey = ("", "")
        self._parents: dict[RowKey, str] = {}  # of rows to be inserted

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def changed(self) -> Iterable[RowKey]:
        """All keys that were added, whether or not something can be done about them yet."""
        return self._added

    def add(self, key: RowKey, changes: list[Change]) -> None:
        """Take the changes of one natural key."""
        self._changes[key] = changes
        self._added.append(key)
        if len(changes) == 1:
            (only,) = changes
            if isinstance(only, Insert):
                self.inserted[key] = only.uuid
            return
        going = [change.uuid for change in changes if isinstance(change, Delete)]
        for change in changes:
            if isinstance(change, Insert):
                uuid = change.uuid
                if uuid in going:  # it takes the place of a row that goes in the same transaction
                    uuid = self._replica.derived(change.table, change.key, salt=uuid)
                self.inserted[key] = uuid

    def build(self, fence: Fence | None, fence_rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Make the operations."""
        self._drop_orphans()
        inserts: dict[int, list[tuple[RowKey, Insert]]] = {}
        updates: list[tuple[RowKey, Update]] = []
        deletes: list[tuple[int, RowKey, Delete]] = []
        for key, changes in self._changes.items():
            rank = self._facts[key[0]].rank
            for change in changes:
                if isinstance(change, Insert):
                    inserts.setdefault(rank, []).append((key, change))
                elif isinstance(change, Update):
                    updates.append((key, change))
                elif isinstance(change, Mutate):
                    self._key = key
                    self._mutate(change)
                else:
                    deletes.append((rank, key, change))
        if fence is not None:
            for wait in fence.waits(fence_rows):
                self._append(wait)
            self.waits = len(self.operations)
        for _, ranked in sorted(inserts.items()):
            for key, insert in ranked:
                self._insert(key, insert)
        for key, update in updates:
            self._update(key, update)
        deletes.sort(key=lambda item: -item[0])
        final = [made for _, key, delete in deletes if (made := self._delete(key, delete))]
        self._append_mutations()
        for key, deletion in final:
            self._append(deletion, key)
        if not any(self.owners):  # nothing can be done yet
            self.operations, self.owners = [], []
        elif fence is not None:
            self._claim(fence, fence_rows)
        owning = {key for owners in self.owners for key in owners}
        whole = len(owning) == len(self._changes)
        self.keys = list(self._changes) if whole else [key for key in self._changes if key in owning]

    def stale(self, results: list[Any], rows: Rows) -> set[RowKey]:
        """Keys to be looked at again after success: they met no row, or refer to one that is not there.

        OVSDB drops without a word weak references to rows that do not exist (the transaction that was to insert the row
        failed) and new rows whose parent goes in the same transaction.
        """
        keys = {key for key, table, uuid in self.references if uuid not in rows[table]}
        for result, owners in zip(results, self.owners, strict=False):
            if owners and isinstance(result, dict) and result.get("count") == 0:
                keys.update(owners)
        return keys

    # -- references

    def _resolve(self, ref: Ref) -> str | None:
        uuid = self.inserted.get((ref.table, ref.key)) or self._replica.existing(ref)
        if uuid is None:
            self.missing.setdefault(self._key, []).append(ref)
        else:
            self.references.append((self._key, ref.table, uuid))
        return uuid

    def _drop_orphans(self) -> None:
        """Leave out rows whose parent, or a mandatory reference of which, is missing; then those that need them.

        What such a row was to replace goes nevertheless: the outcome must not depend on what was there before.
        """
        while True:
            orphans = [key for key in self.inserted if not self._can_insert(key)]
            if not orphans:
                return
            for key in orphans:
                del self.inserted[key]
                self._changes[key] = [change for change in self._changes[key] if isinstance(change, Delete)]

    def _can_insert(self, key: RowKey) -> bool:
        self._key = key
        for change in self._changes[key]:
            if not isinstance(change, Insert):
                continue
            if change.parent is not None:
                parent = self._resolve(change.parent)
                if parent is None:
                    return False
                self._parents[key] = parent
            for name in self._encoders.mandatory[change.table]:
                value = change.columns.get(name)
                if isinstance(value, Ref) and self._resolve(value) is None:
                    return False
        return True

    # -- operations

    def _append(self, operation: Operation, *owners: RowKey) -> None:
        self.operations.append(operation)
        self.owners.append(owners)

    def _row(self, key: RowKey, columns: Mapping[str, Any]) -> dict[str, Any]:
        self._key = key
        encoders, resolve = self._encoders.table(key[0]), self._resolve
        return {
            name: value if (encode := encoders[name]) is None else encode(value, resolve)
            for name, value in columns.items()
            if name in encoders
        }

    def _insert(self, key: RowKey, change: Insert) -> None:
        uuid = self.inserted[key]
        row = self._row(key, change.columns)
        self.operations.append({"op": "insert", "table": change.table, "uuid": uuid, "row": row})
        self.owners.append((key,))
        if change.parent is not None:
            mutations = self._of_row(change.parent.table, self._parents[key], key)
            mutations.add.setdefault(change.parent_column, {})[uuid] = None

    def _update(self, key: RowKey, change: Update) -> None:
        try:
            row = self._row(key, change.columns)
        except MissingReference:
            return  # noted in `missing`
        if row:
            where = [["_uuid", "==", ["uuid", change.uuid]]]
            self._append({"op": "update", "table": change.table, "where": where, "row": row}, key)

    def _of_row(self, table: str, uuid: str, owner: RowKey) -> _RowMutations:
        mutations = self._mutations.get((table, uuid))
        if mutations is None:
            mutations = self._mutations[table, uuid] = _RowMutations()
        mutations.owners[owner] = None
        return mutations

    def _mutate(self, change: Mutate) -> None:
        uuid = self.inserted.get((change.table, change.key), change.uuid)
        add: dict[Any, Any] = {}
        if isinstance(change.add, Mapping):
            add = dict(change.add)
        else:
            for value in change.add:
                found = self._resolve(value) if isinstance(value, Ref) else value
                if found is not None:
                    add[found] = None
        remove = [self._replica.uuid_of(value) if isinstance(value, Ref) else value for value in change.remove]
        if not add and not remove:
            return
        mutations = self._of_row(change.table, uuid, self._key)
        if isinstance(change.add, Mapping):
            # "insert" does not replace the value of an existing map key.
            mutations.remove.setdefault(change.column, {}).update(dict.fromkeys(add))
            mutations.entries.setdefault(change.column, {}).update(add)
        else:
            mutations.add.setdefault(change.column, {}).update(add)
        mutations.remove.setdefault(change.column, {}).update(dict.fromkeys(remove))

    def _delete(self, key: RowKey, change: Delete) -> tuple[RowKey, Operation] | None:
        self.deleted.append((key, change.uuid))
        schema = self._encoders.schema
        if schema.tables[change.table].root:
            # A strong reference forbids it, even that of a row that goes in the same transaction.
            for table, uuid in self._replica.parents_of(change.uuid):
                for column in (c for parent, c in self._facts[change.table].parents if parent == table):
                    self._of_row(table, uuid, key).remove.setdefault(column, {})[change.uuid] = None
            where = [["_uuid", "==", ["uuid", change.uuid]]]
            return key, {"op": "delete", "table": change.table, "where": where}
        parents = self._replica.parents_of(change.uuid)
        if change.uuid in self._lost or (change.parent is None and not parents):
            self._delete_anywhere(key, change)
            return None
        named = {(t, uuid, column) for t, uuid in parents for p, column in self._facts[change.table].parents if p == t}
        if change.parent is not None:
            named.add(change.parent)
        for table, uuid, column in named:
            self._of_row(table, uuid, key).remove.setdefault(column, {})[change.uuid] = None
        return None

    def _delete_anywhere(self, key: RowKey, change: Delete) -> None:
        """Take the row out of whatever row refers to it: dear, for rows whose parent is not known."""
        reference = ["set", [["uuid", change.uuid]]]
        for table, column in self._facts[change.table].parents:
            operation = {
                "op": "mutate",
                "table": table,
                "where": [[column, "includes", reference]],
                "mutations": [[column, "delete", reference]],
            }
            self._append(operation, key)

    def _append_mutations(self) -> None:
        for (table, uuid), row in self._mutations.items():
            columns = self._encoders.schema.tables[table].columns
            mutations: list[Any] = []
            for name, values in row.remove.items():
                keep = row.add.get(name, {})
                if gone := [value for value in values if value not in keep]:
                    mutations.append([name, "delete", _set(columns[name], gone)])
            for name, values in row.add.items():
                if values:
                    mutations.append([name, "insert", _set(columns[name], values)])
            for name, entries in row.entries.items():
                mutations.append([name, "insert", ["map", list(entries.items())]])
            if mutations:
                where = [["_uuid", "==", ["uuid", uuid]]]
                operation = {"op": "mutate", "table": table, "where": where, "mutations": mutations}
                self._append(operation, *row.owners)

    def _claim(self, fence: Fence, rows: Mapping[str, Mapping[str, Any]]) -> None:
        uuid = next(iter(rows), None) or self.inserted.get((fence.table, ()))
        if uuid is None:
            uuid = self._replica.derived(fence.table, ())
            self._append({"op": "insert", "table": fence.table, "uuid": uuid, "row": {}})
        for operation in fence.claims(uuid):
            self._append(operation)


def _set(column: Column, values: Iterable[Any]) -> list[Any]:
    if column.key == "uuid":
        return encode_uuids(values, lambda ref: None)
    return ["set", list(values)]

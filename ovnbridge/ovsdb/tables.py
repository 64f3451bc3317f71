"""The replicated tables: decodes <table-updates2> (ovsdb-server(7), 4.1.14) into rows and tells what changed.

Owned by `client.py`. Rows are plain dicts with every monitored column; a row's dict lives as long as the row and is
updated in place. Set columns hold a mutable `set` that is also updated in place, so that a change of one element costs
the same in a set of ten and of ten thousand (an empty one may be the shared frozenset); nobody outside may modify them,
or keep them across an await without copying.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from ovnbridge.ovsdb.encode import Decoder, atom_decoder, atoms, decoder
from ovnbridge.ovsdb.errors import ProtocolError
from ovnbridge.ovsdb.schema import Column, DatabaseSchema, Kind

RowValues: TypeAlias = dict[str, Any]
Rows: TypeAlias = dict[str, dict[str, RowValues]]

_SLICE = 1000
_ABSENT: Any = object()
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError)
"""What decoding raises when rows are not what schema and protocol say."""


class SetDelta(msgspec.Struct, frozen=True, gc=False):
    """How a set column changed; stands for its old value in `RowChange.old`."""

    added: frozenset[Any]
    removed: frozenset[Any]


class RowChange(msgspec.Struct, frozen=True, gc=False):
    """One row's change. `old`: None for a new row; for a modified one the old values of the changed columns (a SetDelta
    for sets); for a deleted one the whole row. `new`: the live row, None when it is gone."""

    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None


Changes: TypeAlias = dict[str, dict[str, RowChange]]


class _Codec:
    """How rows of one table are decoded."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = columns
        self.template = {name: column.default for name, column in columns.items()}
        self.decoders: dict[str, Decoder | None] = {name: decoder(c) for name, c in columns.items()}
        self.atoms = {name: atom_decoder(column) for name, column in columns.items()}

    def row(self, wire: Mapping[str, Any]) -> RowValues:
        row = self.template.copy()
        decoders = self.decoders
        for name, value in wire.items():
            decode = decoders[name]
            row[name] = value if decode is None else decode(value)
        return row

    def modify(self, row: RowValues, wire: Mapping[str, Any], old: dict[str, Any]) -> None:
        """Apply a difference; the old values go into `old`."""
        for name, value in wire.items():
            column = self.columns[name]
            if column.kind is Kind.SET:
                old[name] = self._modify_set(row, name, value)
                continue
            decode = self.decoders[name]
            new = value if decode is None else decode(value)
            before = row[name]
            if column.kind is Kind.MAP and column.composite:
                new = _modified_map(before, new)
            if new != before:
                old[name] = before
                row[name] = new

    def _modify_set(self, row: RowValues, name: str, wire: Any) -> SetDelta:
        current = row[name]
        elements = set(atoms(wire, self.atoms[name]))
        removed = frozenset(elements & current)
        added = frozenset(elements - removed)
        if isinstance(current, frozenset):
            row[name] = set(added) if added else current
        else:
            current -= removed
            current |= added
        return SetDelta(added, removed)


def _modified_map(before: dict[Any, Any], difference: dict[Any, Any]) -> dict[Any, Any]:
    after = before.copy()
    for key, value in difference.items():
        if after.get(key, _ABSENT) == value:
            del after[key]
        else:
            after[key] = value
    return after


class Tables:
    """Decodes what the server sends for a fixed set of monitored columns."""

    def __init__(self, schema: DatabaseSchema, columns: Mapping[str, tuple[str, ...]]) -> None:
        self._codecs = {
            table: _Codec({name: schema.column(table, name) for name in names}) for table, names in columns.items()
        }
        self.columns = columns

    def empty(self) -> Rows:
        return {table: {} for table in self.columns}

    async def load(self, updates: dict[str, Any]) -> Rows:
        """Rows of a complete dump, decoded in slices; consumes `updates` so that memory is freed on the way.

        Raises ProtocolError.
        """
        rows = self.empty()
        count = 0
        try:
            for table in list(updates):
                codec, wire, into = self._codecs[table], updates.pop(table), rows[table]
                while wire:
                    uuid, change = wire.popitem()
                    into[uuid] = codec.row(change.get("initial") or change.get("insert") or {})
                    count += 1
                    if count % _SLICE == 0:
                        await asyncio.sleep(0)
        except _MALFORMED as error:
            raise ProtocolError(f"rows do not fit the schema: {error!r}") from error
        return rows

    def apply(self, rows: Rows, updates: Mapping[str, Any], changes: Changes) -> None:
        """Apply an incremental update; what changed goes into `changes`, also what did before a ProtocolError."""
        try:
            for table, wire in updates.items():
                changed = changes.setdefault(table, {})
                self._apply_table(self._codecs[table], rows[table], wire, changed)
                if not changed:
                    del changes[table]
        except _MALFORMED as error:
            raise ProtocolError(f"update does not fit the replica: {error!r}") from error

    @staticmethod
    def _apply_table(
        codec: _Codec, rows: dict[str, RowValues], wire: Mapping[str, Any], changed: dict[str, RowChange]
    ) -> None:
        decode = codec.row
        for uuid, change in wire.items():
            ((operation, values),) = change.items()
            if operation == "insert" and uuid not in rows:
                rows[uuid] = new = decode(values)
                changed[uuid] = RowChange(None, new)
            elif operation == "modify":
                row = rows[uuid]
                old: dict[str, Any] = {}
                try:
                    codec.modify(row, values, old)
                finally:
                    if old:
                        changed[uuid] = RowChange(old, row)
            elif operation == "delete":
                if (gone := rows.pop(uuid, None)) is not None:
                    changed[uuid] = RowChange(gone, None)
            else:
                new = decode(values)
                known = rows.get(uuid)
                if known is None:
                    rows[uuid] = new
                    changed[uuid] = RowChange(None, new)
                elif old := row_difference(known, new):
                    replace(known, new)
                    changed[uuid] = RowChange(old, known)


def row_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Old values of the columns that differ (SetDelta for sets); a column that is new counts as having been None."""
    old: dict[str, Any] = {}
    for name in before.keys() | after.keys():
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        if isinstance(was, set | frozenset) and isinstance(now, set | frozenset):
            old[name] = SetDelta(frozenset(now - was), frozenset(was - now))
        else:
            old[name] = was
    return old


def replace(row: RowValues, values: Mapping[str, Any]) -> None:
    """Give a live row new contents."""
    row.clear()
    row.update(values)


async def difference(before: Rows, after: Rows) -> dict[str, dict[str, RowValues | None]]:
    """Rows of `after` that are new or differ, None for those that vanished; computed in slices."""
    found: dict[str, dict[str, RowValues | None]] = {}
    for count, (table, uuid, row) in enumerate(_differences(before, after), 1):
        if row is not _ABSENT:
            found.setdefault(table, {})[uuid] = row
        if count % (_SLICE * 5) == 0:
            await asyncio.sleep(0)
    return found


def _differences(before: Rows, after: Rows) -> Iterator[tuple[str, str, Any]]:
    """(table, uuid, row), with _ABSENT for an equal row."""
    for table in before.keys() | after.keys():
        old, new = before.get(table, {}), after.get(table, {})
        for uuid in old.keys() - new.keys():
            yield table, uuid, None
        for uuid, row in new.items():
            yield table, uuid, _ABSENT if old.get(uuid) == row else row


def adopt(rows: Rows, differences: Mapping[str, Mapping[str, RowValues | None]]) -> Changes:
    """Make `rows` what `difference()` was computed from; returns what changed."""
    changes: Changes = {}
    for table, different in differences.items():
        current, changed = rows.setdefault(table, {}), changes.setdefault(table, {})
        for uuid, row in different.items():
            known = current.get(uuid)
            if row is None:
                changed[uuid] = RowChange(current.pop(uuid), None)
            elif known is None:
                current[uuid] = row
                changed[uuid] = RowChange(None, row)
            else:
                old = row_difference(known, row)
                replace(known, row)
                changed[uuid] = RowChange(old, known)
    return changes

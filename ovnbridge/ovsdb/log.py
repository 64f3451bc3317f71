"""Database files of ovsdb-server: standalone ones, backups (`ovsdb-client backup`) and members of a raft cluster.

Used by `file.py`. Formats: ovsdb(5), "File formats"; a cluster's records as in OVS's raft-private.c.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import orjson

STANDALONE: Final = b"OVSDB JSON "
CLUSTER: Final = b"OVSDB CLUSTER "

WireTables: TypeAlias = dict[str, dict[str, dict[str, Any]]]
"""table → uuid → column → OVSDB JSON; columns with default values are left out."""


def read_log(data: bytes) -> tuple[dict[str, Any], WireTables]:
    """Schema and content of a database file. Raises ValueError when it is damaged or no database file."""
    if data.startswith(CLUSTER):
        return _replayed(_cluster_entries(_records(data, CLUSTER)))
    records = _records(data, STANDALONE)
    schema = next(records, None)
    if schema is None:
        raise ValueError("not an OVSDB database file")
    return _replayed(iter([(schema, None), *((None, record) for record in records)]))


def _replayed(entries: Iterator[tuple[Any, Any]]) -> tuple[dict[str, Any], WireTables]:
    """Apply (new schema or None, transaction or None) in order."""
    schema: Any = None
    tables: WireTables = {}
    for changed, transaction in entries:
        if changed is not None:
            schema = changed
            if transaction is not None:  # a conversion that brings all rows with it
                tables = {}
        if transaction is None:
            continue
        try:
            # A record marked so holds differences of sets and maps instead of whole values (ovsdb(5)).
            differences = bool(transaction.get("_is_diff", False))
            for name, rows in transaction.items():
                if not name.startswith("_"):
                    _apply(tables.setdefault(name, {}), rows, differences, schema["tables"][name]["columns"])
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"damaged: {error!r}") from error
    if not isinstance(schema, dict) or "tables" not in schema:
        raise ValueError("the file holds no schema")
    return schema, tables


def _cluster_entries(records: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """What a member of a cluster has logged: its snapshot, then the entries that no later leader replaced.

    As `ovsdb-tool cluster-to-standalone` does, entries count that the member did not know to be committed.
    """
    header = next(records, None)
    if not isinstance(header, dict):
        raise ValueError("the file of a cluster holds no header")
    if "prev_data" not in header:
        raise ValueError("this member has just joined its cluster and holds no data yet; take another member's file")
    yield _entry(header["prev_data"])
    entries: dict[int, Any] = {}
    for record in records:
        if not isinstance(record, dict):
            raise ValueError("damaged: a record is no object")
        if "term" in record and "index" in record:
            index = record["index"]
            for replaced in [known for known in entries if known >= index] if index in entries else ():
                del entries[replaced]
            if record.get("data") is not None:
                entries[index] = record["data"]
    for index in sorted(entries):
        yield _entry(entries[index])


def _entry(data: Any) -> tuple[Any, Any]:
    if not isinstance(data, list) or len(data) != 2:
        raise ValueError("damaged: an entry is not a schema and a transaction")
    return data[0], data[1]


def _records(data: bytes, magic: bytes) -> Iterator[Any]:
    position = 0
    while data.startswith(magic, position):
        try:
            end = data.index(b"\n", position)
            length_text, checksum = data[position + len(magic) : end].split()
            length = int(length_text)
        except ValueError as error:
            raise ValueError(f"damaged at byte {position}: no record header") from error
        body = data[end + 1 : end + 1 + length]
        if len(body) < length:
            raise ValueError(f"cut off at byte {position}: {length} bytes were to follow, {len(body)} are there")
        if hashlib.sha1(body, usedforsecurity=False).hexdigest().encode() != checksum:
            raise ValueError(f"damaged at byte {position}: the checksum of a record is wrong")
        try:
            yield orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"damaged at byte {position}: {error}") from error
        position = end + 1 + length
    if data[position:].strip():
        raise ValueError(f"damaged at byte {position}: no record begins here")


def _apply(table: dict[str, dict[str, Any]], rows: Mapping[str, Any], differences: bool, columns: Any) -> None:
    for uuid, row in rows.items():
        if row is None:
            table.pop(uuid, None)
        elif uuid not in table:
            table[uuid] = dict(row)
        else:
            known = table[uuid]
            for column, value in row.items():
                if differences and _composite(columns[column]["type"]):
                    known[column] = _difference(known.get(column), value)
                else:
                    known[column] = value


def _composite(spec: Any) -> bool:
    return isinstance(spec, dict) and spec.get("max", 1) != 1


def _difference(before: Any, change: Any) -> Any:
    """A set or map after a difference: elements in both go, others come; a map's changed value replaces the old one."""
    if change and isinstance(change, list) and change[0] == "map":
        entries = {orjson.dumps(k): (k, v) for k, v in (before[1] if before else ())}
        for key, value in change[1]:
            name = orjson.dumps(key)
            if name in entries and entries[name][1] == value:
                del entries[name]
            else:
                entries[name] = (key, value)
        return ["map", [list(entry) for entry in entries.values()]]
    elements = {orjson.dumps(atom): atom for atom in _atoms(before)}
    for atom in _atoms(change):
        name = orjson.dumps(atom)
        if name in elements:
            del elements[name]
        else:
            elements[name] = atom
    return ["set", list(elements.values())]


def _atoms(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, list) and value and value[0] == "set":
        return list(value[1])
    return [value]

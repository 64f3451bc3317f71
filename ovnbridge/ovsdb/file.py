"""An OVSDB database read from a file: the standalone format, a backup, or `ovsdb-client dump -f json`.

Used by `plan --nb FILE` and by tests in place of a live `Database`; it is filled once and never changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from ovnbridge.ovsdb.schema import DatabaseSchema
from ovnbridge.ovsdb.tables import RowChange, Tables

_MAGIC: Final = b"OVSDB JSON "
_CLUSTER: Final = b"OVSDB CLUSTER "

WireTables = dict[str, dict[str, dict[str, Any]]]
"""table → uuid → column → OVSDB JSON; columns with default values are left out."""


def read_database(path: Path) -> tuple[dict[str, Any], WireTables]:
    """Schema and content of a standalone database file or backup. Raises ValueError when it is neither."""
    data = path.read_bytes()
    if data.startswith(_CLUSTER):
        raise ValueError("a cluster's file; make a standalone one with `ovsdb-tool cluster-to-standalone`")
    records = _records(data)
    try:
        schema = next(records)
    except StopIteration:
        raise ValueError("not an OVSDB database file") from None
    tables: WireTables = {}
    for record in records:
        # A record marked so holds differences of sets and maps instead of whole values (ovsdb(5)).
        differences = bool(record.pop("_is_diff", False))
        for name, rows in record.items():
            if not name.startswith("_"):
                _apply(tables.setdefault(name, {}), rows, differences, schema["tables"][name]["columns"])
    return schema, tables


def _records(data: bytes) -> Iterator[Any]:
    position = 0
    while data.startswith(_MAGIC, position):
        end = data.index(b"\n", position)
        length = int(data[position + len(_MAGIC) : end].split()[0])
        try:
            yield orjson.loads(data[end + 1 : end + 1 + length])
        except orjson.JSONDecodeError as error:
            raise ValueError(f"damaged at byte {position}: {error}") from error
        position = end + 1 + length


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


def read_dump(data: bytes) -> WireTables:
    """Content of `ovsdb-client dump -f json`: one document a table. Raises ValueError."""
    tables: WireTables = {}
    for line in data.splitlines():
        if not line.strip():
            continue
        try:
            document = orjson.loads(line)
            name = document["caption"].removesuffix(" table")
            rows = [dict(zip(document["headings"], row, strict=True)) for row in document["data"]]
            tables[name] = {row.pop("_uuid")[1]: row for row in rows}
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"neither a database file nor `ovsdb-client dump -f json`: {error!r}") from error
    return tables


class FileDatabase:
    """What `Replica` and dry runs need of a `Database`, read from a file."""

    def __init__(self, schema: DatabaseSchema) -> None:
        self.name = schema.name
        self.schema: DatabaseSchema | None = schema
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self.synced = asyncio.Event()
        self._listeners: list[Any] = []

    @classmethod
    async def read(cls, path: Path, columns: Mapping[str, Sequence[str]], schema: Path | None = None) -> FileDatabase:
        """Read a file. A JSON dump holds no schema: `schema` is its file, the installed NB schema when None.

        Raises OSError, ValueError.
        """
        if path.read_bytes()[:6] == b"OVSDB ":
            document, tables = read_database(path)
        else:
            tables = read_dump(path.read_bytes())
            document = orjson.loads((schema or Path("/usr/share/ovn/ovn-nb.ovsschema")).read_bytes())
        database = cls(DatabaseSchema.from_json(document))
        await database._load(tables, columns)
        return database

    async def _load(self, tables: WireTables, columns: Mapping[str, Sequence[str]]) -> None:
        schema = self.schema
        assert schema is not None
        known = {
            table: tuple(c for c in names if schema.has_column(table, c))
            for table, names in columns.items()
            if schema.has_table(table)
        }
        updates = {
            table: {
                uuid: {"initial": {c: v for c, v in row.items() if c in names}}
                for uuid, row in tables.get(table, {}).items()
            }
            for table, names in known.items()
        }
        self.rows = {table: {} for table in columns} | await Tables(schema, known).load(updates)

    def subscribe(self, listener: Any) -> None:
        """Call `listener` when the rows are published."""
        self._listeners.append(listener)

    def publish(self) -> None:
        """Tell the listeners of all rows, once."""
        changes = {
            table: {uuid: RowChange(None, row) for uuid, row in rows.items()} for table, rows in self.rows.items()
        }
        for listener in self._listeners:
            listener(changes)
        self.synced.set()

"""An OVSDB database read from a file of any form (`log.py`, `dumps.py`).

Used by `plan --nb FILE --sb FILE` and by tests in place of a live `Database`; it is filled once and never changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from ovnbridge.ovsdb.dumps import documents, is_readable, is_table_dump, read_readable, read_table_dump
from ovnbridge.ovsdb.log import WireTables, read_log
from ovnbridge.ovsdb.schema import DatabaseSchema
from ovnbridge.ovsdb.tables import RowChange, Tables

NB_SCHEMA: Final = Path(__file__).with_name("ovn-nb.ovsschema")
SB_SCHEMA: Final = Path(__file__).with_name("ovn-sb.ovsschema")
_INSTALLED: Final = Path("/usr/share/ovn")


def read_file(path: Path, stand_in: Path = NB_SCHEMA) -> tuple[dict[str, Any], WireTables, bool]:
    """Schema and content of a database, and whether it says the rows' UUIDs. Raises OSError, ValueError.

    Forms: a standalone file or a backup, a cluster member's file, `ovsdb-client dump -f json`, the readable form. The
    schema in the file `stand_in` is for those that hold none.
    """
    data = path.read_bytes()
    if data.startswith(b"OVSDB "):
        return (*read_log(data), True)
    known: dict[str, Any] = orjson.loads(stand_in.read_bytes())
    try:
        found = documents(data)
    except ValueError as error:
        raise ValueError(f"neither a database file of OVSDB nor JSON: {error}") from error
    if not found:
        raise ValueError("the file is empty")
    if is_table_dump(found):
        tables, columns = read_table_dump(found)
        return _schema_of_dump(columns, known, _INSTALLED / stand_in.name), tables, True
    if is_readable(found):
        return known, read_readable(found[0], DatabaseSchema.from_json(known)), False
    raise ValueError(
        "JSON, but neither the output of `ovsdb-client dump -f json` nor an object with a list of rows for each table"
    )


def _schema_of_dump(columns: Mapping[str, set[str]], known: dict[str, Any], path: Path) -> dict[str, Any]:
    """The schema of the server that was dumped: the one in `path` if it has the same columns, else what is known."""
    if path.is_file():
        installed: dict[str, Any] = orjson.loads(path.read_bytes())
        if {name: set(table["columns"]) for name, table in installed["tables"].items()} == dict(columns):
            return installed
    if not set(columns) & set(known["tables"]):
        raise ValueError(f"no {known['name']} database: its tables are {', '.join(sorted(columns))}")
    tables = {
        name: {**table, "columns": {c: spec for c, spec in table["columns"].items() if c in columns[name]}}
        for name, table in known["tables"].items()
        if name in columns
    }
    return {**known, "tables": tables}


class FileDatabase:
    """What `Replica` and dry runs need of a `Database`, read from a file."""

    def __init__(self, schema: DatabaseSchema) -> None:
        self.name = schema.name
        self.schema: DatabaseSchema | None = schema
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self.unread: dict[str, int] = {}
        """How many rows the tables have that were not asked for, those with none left out."""
        self.says_uuids = True
        """Whether the rows' UUIDs are those of the database that it was made from."""
        self.synced = asyncio.Event()
        self._listeners: list[Any] = []

    @classmethod
    async def read(cls, path: Path, columns: Mapping[str, Sequence[str]], stand_in: Path = NB_SCHEMA) -> FileDatabase:
        """Read a database from a file; `stand_in` as for `read_file`. Raises OSError, ValueError."""
        document, tables, says_uuids = read_file(path, stand_in)
        database = cls(DatabaseSchema.from_json(document))
        database.says_uuids = says_uuids
        if missing := database._missing(columns):
            raise ValueError(f"a database {database.name!r}, without the table {', '.join(missing)}")
        database.unread = {name: len(rows) for name, rows in tables.items() if rows and name not in columns}
        await database._load(tables, columns)
        return database

    def _missing(self, tables: Iterable[str]) -> list[str]:
        assert self.schema is not None
        return [table for table in tables if not self.schema.has_table(table)]

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

"""A database's schema as its server states it, reduced to what values look like.

Fed by `client.py` at every connect; used for feature gating (`has_table`, `has_column`) and by `encode.py` to decide
how a column's values are written in Python and on the wire.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec

EMPTY_SET: Final[frozenset[Any]] = frozenset()
_DEFAULTS: Final[Mapping[str, Any]] = {
    "string": "",
    "integer": 0,
    "real": 0.0,
    "boolean": False,
    "uuid": "00000000-0000-0000-0000-000000000000",
}


class Kind(enum.Enum):
    """How values of a column look in Python."""

    SCALAR = enum.auto()
    OPTIONAL = enum.auto()
    SET = enum.auto()
    MAP = enum.auto()


class Column(msgspec.Struct, frozen=True):
    """One column's type. `key` and `value` are base types; `composite`: changes come as differences."""

    name: str
    kind: Kind
    key: str
    value: str | None
    composite: bool
    ref_table: str | None
    ref_strong: bool
    allowed: frozenset[Any] | None = None
    """The only values that the column's keys may have; None for any."""

    @property
    def default(self) -> Any:
        """The value that the server leaves out (RFC 7047, 5.2.1). Shared: never modify it."""
        if self.kind is Kind.SCALAR:
            return _DEFAULTS[self.key]
        if self.kind is Kind.OPTIONAL:
            return None
        return {} if self.kind is Kind.MAP else EMPTY_SET


class Table(msgspec.Struct, frozen=True):
    """One table. Rows of a table that is not `root` vanish with the last strong reference to them."""

    name: str
    columns: Mapping[str, Column]
    root: bool


class DatabaseSchema(msgspec.Struct, frozen=True):
    """Tables and columns that the server knows."""

    name: str
    version: str
    tables: Mapping[str, Table]

    def has_table(self, table: str) -> bool:
        return table in self.tables

    def has_column(self, table: str, column: str) -> bool:
        known = self.tables.get(table)
        return known is not None and column in known.columns

    def allows(self, table: str, column: str, value: Any) -> bool:
        """Whether the column exists and its enumeration, if it has one, holds the value."""
        if not self.has_column(table, column):
            return False
        allowed = self.tables[table].columns[column].allowed
        return allowed is None or value in allowed

    def column(self, table: str, column: str) -> Column:
        return self.tables[table].columns[column]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> DatabaseSchema:
        tables = document["tables"]
        # RFC 7047, 3.2: when no table is declared a root, all are.
        rooted = any(table.get("isRoot") for table in tables.values())
        return cls(
            name=document["name"],
            version=document.get("version", ""),
            tables={
                name: Table(
                    name=name,
                    columns={c: _column(c, spec["type"]) for c, spec in table["columns"].items()},
                    root=not rooted or bool(table.get("isRoot")),
                )
                for name, table in tables.items()
            },
        )


def _column(name: str, spec: Any) -> Column:
    if isinstance(spec, str):
        spec = {"key": spec}
    key = spec["key"] if isinstance(spec["key"], dict) else {"type": spec["key"]}
    value = spec.get("value")
    if isinstance(value, dict):
        value = value["type"]
    least, most = spec.get("min", 1), spec.get("max", 1)
    if value is not None:
        kind = Kind.MAP
    elif most != 1:
        kind = Kind.SET
    else:
        kind = Kind.SCALAR if least == 1 else Kind.OPTIONAL
    return Column(
        name=name,
        kind=kind,
        key=key["type"],
        value=value,
        composite=most != 1,
        ref_table=key.get("refTable"),
        ref_strong="refTable" in key and key.get("refType", "strong") == "strong",
        allowed=_allowed(key.get("enum")),
    )


def _allowed(enumeration: Any) -> frozenset[Any] | None:
    """The values of an `enum`: a set, or one atom (RFC 7047, 3.2)."""
    if enumeration is None:
        return None
    return frozenset(enumeration[1]) if isinstance(enumeration, list) else frozenset((enumeration,))

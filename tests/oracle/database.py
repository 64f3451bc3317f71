"""Rows ↔ databases: a file as ovsdb-server keeps it, the readable form of `nb.json`, a `MemoryDatabase`, and texts.

Texts make rows of any origin comparable: a row without what may differ, with its parent's name, references by name.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ovnbridge.ovsdb.file import NB_SCHEMA, read_file
from ovnbridge.ovsdb.schema import DatabaseSchema, Kind
from tests.oracle.rows import LABELS, Ref, Row
from tests.oracle.world import dhcp_label, dhcp_uuid
from tests.support.memory import MemoryDatabase

DOCUMENT = json.loads(NB_SCHEMA.read_text())
SCHEMA = DatabaseSchema.from_json(DOCUMENT)
CHILDREN = {
    (table, column.name)
    for table, known in SCHEMA.tables.items()
    for column in known.columns.values()
    if column.ref_table is not None and column.ref_strong and not SCHEMA.tables[column.ref_table].root
}
"""Columns that hold the rows which live as long as this one refers to them."""
IGNORED = {"up", "label", "hv_cfg", "hv_cfg_timestamp", "nb_cfg", "nb_cfg_timestamp", "sb_cfg", "sb_cfg_timestamp"}
"""Columns of northd and of counters."""
NORTHD = {"mac_prefix", "max_tunid", "northd_internal_version", "svc_monitor_mac"}

Content = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Table → UUID → row: sets are lists, references UUIDs."""


def content(rows: Iterable[Row]) -> dict[str, dict[str, dict[str, Any]]]:
    """Rows with UUIDs, and their parents' references to them. Only rows that others name need labels of their own."""
    tables: dict[str, dict[str, dict[str, Any]]] = {}
    known: dict[Ref, str] = {}
    placed = [(row, row_uuid(row, n)) for n, row in enumerate(map(_whole, rows))]
    for row, own in placed:
        known[Ref(row.table, row.label)] = own
        tables.setdefault(row.table, {})[own] = {}
    for row, own in placed:
        tables[row.table][own] |= {column: _resolved(value, known) for column, value in row.columns.items()}
    for row, own in placed:
        if row.parent is not None:
            table, label, column = row.parent
            tables[table][known[Ref(table, label)]].setdefault(column, []).append(own)
    return tables


def row_uuid(row: Row, number: int) -> str:
    """That of a DHCP row is named in its subnet's status."""
    if row.table == "DHCP_Options" and "ls" in row.columns["external_ids"]:
        return dhcp_uuid(row.label)
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{number}/{row.table}/{row.label}"))


def _whole(row: Row) -> Row:
    return row if row.table != "NB_Global" else row._replace(columns={"name": "", **row.columns})


def _resolved(value: Any, known: Mapping[Ref, str]) -> Any:
    if isinstance(value, Ref):
        return known[value]
    return [_resolved(v, known) for v in value] if isinstance(value, list) else value


# -- files


def write_file(tables: Content, path: Path) -> None:
    """A standalone database file (ovsdb(5))."""
    transaction: dict[str, Any] = {"_date": 1795476393721, "_comment": "written by the oracle"}
    for table, rows in tables.items():
        transaction[table] = {own: {c: _wire(table, c, v) for c, v in row.items()} for own, row in rows.items()}
    with path.open("wb") as file:
        for record in ({k: v for k, v in DOCUMENT.items() if not k.startswith("_")}, transaction):
            data = json.dumps(record, separators=(",", ":")).encode() + b"\n"
            file.write(f"OVSDB JSON {len(data)} {hashlib.sha1(data).hexdigest()}\n".encode() + data)


def _wire(table: str, name: str, value: Any) -> Any:
    column = SCHEMA.column(table, name)
    if column.kind is Kind.MAP:
        return ["map", sorted([k, v] for k, v in value.items())]
    many = value if isinstance(value, list) else [value]
    atoms = [["uuid", v] if column.key == "uuid" else v for v in many]
    return atoms[0] if len(atoms) == 1 else ["set", atoms]


def readable(tables: Content) -> dict[str, list[dict[str, Any]]]:
    """The form of `reference/parity/*/nb.json`."""
    names = {own: (table, _label(table, row)) for table, rows in tables.items() for own, row in rows.items()}
    found: dict[str, list[dict[str, Any]]] = {}
    for table, rows in tables.items():
        found[table] = []
        for row in rows.values():
            plain = {c: _named(v, names) for c, v in row.items() if v not in ([], {}, None, "")}
            found[table].append({c: v[0] if isinstance(v, list) and len(v) == 1 else v for c, v in plain.items()})
    return found


def _named(value: Any, names: Mapping[str, tuple[str, str]]) -> Any:
    if isinstance(value, list | set | frozenset):
        return sorted((_named(v, names) for v in value), key=str)
    if isinstance(value, str) and value in names:
        table, label = names[value]
        return f"{table}:{label}"
    return value


def _label(table: str, row: Mapping[str, Any]) -> str:
    return next((str(row[c]) for c in LABELS if row.get(c)), "")


def read(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """The content of a database file."""
    _, tables, _ = read_file(path)
    return {t: {own: {c: _plain(t, c, v) for c, v in row.items()} for own, row in r.items()} for t, r in tables.items()}


def _plain(table: str, name: str, value: Any) -> Any:
    if SCHEMA.column(table, name).kind is Kind.MAP:
        return dict(value[1])
    many = value[1] if isinstance(value, list) and value[0] == "set" else [value]
    atoms = [v[1] if isinstance(v, list) else v for v in many]
    return atoms if SCHEMA.column(table, name).kind is Kind.SET else next(iter(atoms), None)


def load(tables: Content, into: MemoryDatabase) -> None:
    """Fill a database in memory."""
    assert into.schema is not None
    schema = into.schema

    def insert(held: dict[str, dict[str, dict[str, Any]]]) -> None:
        for table, rows in tables.items():
            columns = schema.tables[table].columns if schema.has_table(table) else {}
            for own, row in rows.items() if columns else ():
                held[table][own] = {c: column.default for c, column in columns.items()}
                for name, value in row.items():
                    if name in columns:
                        held[table][own][name] = frozenset(value) if columns[name].kind is Kind.SET else value

    into.edit(insert)


# -- texts


def texts(tables: Content, *, services: bool = True) -> dict[str, str]:
    """UUID → comparable text of the row; `services`: also VIPs of load balancers."""
    names = {own: (table, _unique(table, row)) for table, rows in tables.items() for own, row in rows.items()}
    parents = {
        child: names[own]
        for table, rows in tables.items()
        for own, row in rows.items()
        for column in row.keys() & {c for t, c in CHILDREN if t == table}
        for child in ([row[column]] if isinstance(row[column], str) else row[column] or ())
    }
    return {
        own: _text(table, row, parents.get(own), names, services)
        for table, rows in tables.items()
        for own, row in rows.items()
    }


def _unique(table: str, row: Mapping[str, Any]) -> str:
    ids = row.get("external_ids", {})
    if table == "DHCP_Options" and "ls" in ids:
        return dhcp_label(ids.get("ls", ""), ids.get("protocol", ""), ids.get("port", ""))
    return _label(table, row)


def _text(table: str, row: Mapping[str, Any], parent: Any, names: Mapping[str, tuple[str, str]], services: bool) -> str:
    kept: dict[str, Any] = {"@": ":".join(parent)} if parent else {}
    for column, value in row.items():
        if column in IGNORED or (table, column) in CHILDREN or (column == "vips" and not services):
            continue
        if table == "NB_Global":
            if column not in ("options", "ipsec"):
                continue
            value = {k: v for k, v in value.items() if k not in NORTHD} if column == "options" else value
        if column == "ipv6_prefix":
            value = bool(value)  # whatever Kube-OVN put there
        if column == "options" and "virtual-parents" in value:
            value = {**value, "virtual-parents": sorted(value["virtual-parents"].split(","))}
        value = _referring(value, names)
        if value not in (None, "", [], {}, False, 0):
            kept[column] = value
    return f"{table} {json.dumps(kept, sort_keys=True)}"


def _referring(value: Any, names: Mapping[str, tuple[str, str]]) -> Any:
    if isinstance(value, list | set | frozenset):
        return sorted((_referring(v, names) for v in value), key=str)
    if isinstance(value, Mapping):
        return dict(value)
    return ":".join(names[value]) if isinstance(value, str) and value in names else value


def differences(actual: Iterable[str], expected: Iterable[str]) -> list[str]:
    """What is missing and what is too much, of two bags of texts."""
    have, want = Counter(actual), Counter(expected)
    return sorted(
        [f"missing {t}" for t in (want - have).elements()] + [f"too much {t}" for t in (have - want).elements()]
    )

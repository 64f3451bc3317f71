"""Dumps of a database as JSON: `ovsdb-client dump -f json`, and the readable form without UUIDs.

Used by `file.py`. Neither holds a schema. The readable form is one object, table → rows; references are written
`Table:name`, empty columns and UUIDs are left out, and sets of one element are scalars. Rows without a name are
referred to by another column (a route by its prefix, a policy or an ACL by its match), which several may share: the
row then goes to the parent that it fits best by its external_ids and next hop.
"""

from __future__ import annotations

import ipaddress
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ovnbridge.ovsdb.log import WireTables
from ovnbridge.ovsdb.schema import Column, DatabaseSchema, Kind

_NAMESPACE: Final = uuid.UUID("6f2b7f0e-4d0f-4d43-9b8e-2f6a5f0c9d11")
_LABELS: Final = ("name", "match", "ip_prefix", "external_ip", "cidr", "vip", "dst_ip", "chassis_name", "target")
"""Columns that a readable reference may hold, the first that a row has."""

ReadableTables = Mapping[str, list[dict[str, Any]]]


def documents(data: bytes) -> list[Any]:
    """JSON values that follow each other, on one line or many. Raises ValueError."""
    text, position, found = data.decode(), 0, []
    decoder = json.JSONDecoder()
    while (rest := text[position:].lstrip()) != "":
        position = len(text) - len(rest)
        value, position = decoder.raw_decode(text, position)
        found.append(value)
    return found


def is_table_dump(found: list[Any]) -> bool:
    """Whether these are the documents of `ovsdb-client dump -f json`."""
    return bool(found) and all(isinstance(d, dict) and {"caption", "headings", "data"} <= set(d) for d in found)


def is_readable(found: list[Any]) -> bool:
    """Whether this is the readable form."""
    return (
        len(found) == 1
        and isinstance(found[0], dict)
        and bool(found[0])
        and all(isinstance(rows, list) and all(isinstance(r, dict) for r in rows) for rows in found[0].values())
    )


def read_table_dump(found: list[Any]) -> tuple[WireTables, dict[str, set[str]]]:
    """Content, and the columns that each table has on the server that was dumped. Raises ValueError."""
    tables: WireTables = {}
    columns: dict[str, set[str]] = {}
    for document in found:
        name = str(document["caption"]).removesuffix(" table")
        try:
            rows = [dict(zip(document["headings"], row, strict=True)) for row in document["data"]]
            tables[name] = {row.pop("_uuid")[1]: row for row in rows}
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"table {name} of the dump is damaged: {error!r}") from error
        columns[name] = set(document["headings"]) - {"_uuid"}
    return tables, columns


def read_readable(found: ReadableTables, schema: DatabaseSchema) -> WireTables:
    """Content of the readable form. Raises ValueError."""
    unknown = [table for table in found if not schema.has_table(table)]
    if unknown:
        raise ValueError(f"no {schema.name} database: it has no table {', '.join(sorted(unknown))}")
    return _Readable(found, schema).tables()


class _Readable:
    """Rows by UUIDs that are made up from table and position."""

    def __init__(self, found: ReadableTables, schema: DatabaseSchema) -> None:
        self._schema = schema
        self._rows = {
            table: {str(uuid.uuid5(_NAMESPACE, f"{table}/{number}")): row for number, row in enumerate(rows)}
            for table, rows in found.items()
        }
        self._named: dict[tuple[str, str], list[str]] = {}
        for table, rows in self._rows.items():
            for name, row in rows.items():
                label = next((str(row[c]) for c in _LABELS if row.get(c)), "")
                self._named.setdefault((table, label), []).append(name)
        self._references: dict[tuple[str, str, str], list[str]] = {}

    def tables(self) -> WireTables:
        self._assign()
        return {
            table: {name: self._wire(table, name, row) for name, row in rows.items()}
            for table, rows in self._rows.items()
        }

    def _wire(self, table: str, name: str, row: Mapping[str, Any]) -> dict[str, Any]:
        wire: dict[str, Any] = {}
        for column_name, value in row.items():
            if not self._schema.has_column(table, column_name):
                continue  # of a newer server
            column = self._schema.column(table, column_name)
            if column.kind is Kind.MAP:
                if not isinstance(value, dict):
                    raise ValueError(f"{table}.{column_name} is no map: {value!r}")
                wire[column_name] = ["map", [[k, v] for k, v in value.items()]]
            elif column.ref_table is not None:
                found = self._references.get((table, name, column_name), [])
                wire[column_name] = ["set", [["uuid", target] for target in found]]
            elif column.kind is Kind.SET:
                wire[column_name] = ["set", value if isinstance(value, list) else [value]]
            else:
                wire[column_name] = value
        return wire

    def _assign(self) -> None:
        """Find the row that each reference means: those that fit best first."""
        choices: list[tuple[int, int, tuple[str, str, str], int, str]] = []
        order = 0
        for place, column, labels in self._all_references():
            for number, label in enumerate(labels):
                known = self._candidates(column, label)
                if not known:
                    raise ValueError(
                        f"{place[0]} {self._label(place)}: {place[2]} refers to {label}, which is not there"
                    )
                for target in known:
                    fit = 0 if len(known) == 1 else self._fit(place, column, target)
                    choices.append((-fit, order, place, number, target))
                    order += 1
        filled: set[tuple[tuple[str, str, str], int]] = set()
        taken: set[tuple[str, ...]] = set()
        for _, _, place, number, target in sorted(choices):
            mark = (place[0], place[2], target) if self._owned(place) else (*place, target)
            if (place, number) not in filled and mark not in taken:
                filled.add((place, number))
                taken.add(mark)
                self._references.setdefault(place, []).append(target)

    def _owned(self, place: tuple[str, str, str]) -> bool:
        """Whether a row that this column refers to belongs to one parent only."""
        column = self._schema.column(place[0], place[2])
        assert column.ref_table is not None
        return column.ref_strong and column.kind is Kind.SET and not self._schema.tables[column.ref_table].root

    def _all_references(self) -> Iterator[tuple[tuple[str, str, str], Column, list[str]]]:
        for table, rows in self._rows.items():
            for name, row in rows.items():
                for column_name, value in row.items():
                    if not self._schema.has_column(table, column_name):
                        continue
                    column = self._schema.column(table, column_name)
                    if column.ref_table is not None and column.kind is not Kind.MAP:
                        labels = value if isinstance(value, list) else [value]
                        yield (table, name, column_name), column, [str(label) for label in labels]

    def _candidates(self, column: Column, label: str) -> list[str]:
        assert column.ref_table is not None
        text = label.removeprefix(f"{column.ref_table}:")
        known = self._named.get((column.ref_table, text))
        if known is None:  # named by a column that is not among the usual ones, or by none
            rows = self._rows.get(column.ref_table, {})
            known = [name for name, row in rows.items() if text in row.values()]
            if not known and not any(row.get("name") for row in rows.values()):
                known = list(rows)
        return known

    def _label(self, place: tuple[str, str, str]) -> str:
        row = self._rows[place[0]][place[1]]
        return next((str(row[c]) for c in _LABELS if row.get(c)), "?")

    def _fit(self, place: tuple[str, str, str], column: Column, target: str) -> int:
        """How well a row of several with the same label fits a parent."""
        assert column.ref_table is not None
        parent, row = self._rows[place[0]][place[1]], self._rows[column.ref_table][target]
        name, ids = str(parent.get("name", "")), row.get("external_ids") or {}
        ports = _list(parent.get("ports"))
        subnet = ids.get("subnet", "")
        if name and name in {ids.get("parent"), ids.get("port"), ids.get("lr"), ids.get("vpc")}:
            return 4
        if ids.get("port"):
            return -1  # another port's own
        if ids.get("ls") and ids["ls"] == (parent.get("external_ids") or {}).get("ls"):
            return 3
        if subnet and f"Logical_Router_Port:{name}-{subnet}" in ports:
            return 3
        return self._hop_fit(ports, row)

    def _hop_fit(self, ports: list[Any], row: Mapping[str, Any]) -> int:
        """Whether a route's or policy's next hop is in a network of one of a router's ports."""
        hops = [str(hop) for hop in (*_list(row.get("nexthop")), *_list(row.get("nexthops")))]
        fits = 0
        for reference in ports:
            for port in self._named.get(("Logical_Router_Port", str(reference).partition(":")[2]), ()):
                for network in _list(self._rows["Logical_Router_Port"][port].get("networks")):
                    fits = max([fits, *(_hop_in(hop, str(network), row.get("policy")) for hop in hops)])
        return fits


def _hop_in(hop: str, network: str, policy: Any) -> int:
    """A source route's next hop is the router's own address, that of others a neighbour's."""
    try:
        interface, address = ipaddress.ip_interface(network), ipaddress.ip_address(hop)
    except ValueError:
        return 0
    if address not in interface.network:
        return 0
    return 2 if (address == interface.ip) == (policy == "src-ip") else 1


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]

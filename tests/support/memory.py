"""An OVN NB database in memory: OVSDB transactions on the part of the schema that we write, and their application.

`MemoryDatabase` executes the operations that `ovsdb.transaction` makes, atomically and by OVSDB's rules: weak
references to rows that are gone vanish, rows of non-root tables that nobody refers to vanish, strong references must
hold, indexes must be unique. `Memory` puts the real `Replica` and `Transaction` on it and commits the differences of
natural keys in batches, as `ovsdb.committer` does.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ovnbridge.engine.diff import ActualRow, Change
from ovnbridge.model.ovn import NORTHBOUND, SOUTHBOUND, Key, Ref, TableFacts
from ovnbridge.ovsdb.dirty import DirtyKeys
from ovnbridge.ovsdb.encode import decoder
from ovnbridge.ovsdb.replica import Replica, RowKey
from ovnbridge.ovsdb.schema import DatabaseSchema, Kind
from ovnbridge.ovsdb.tables import Changes, RowChange, row_difference
from ovnbridge.ovsdb.transaction import Encoders, Transaction

_SET, _MAP, _OPTIONAL = {"min": 0, "max": "unlimited"}, {"min": 0, "max": "unlimited", "value": "string"}, {"min": 0}


def _ref(table: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"type": {"key": {"type": "uuid", "refTable": table, "refType": kind}, **more}}


def _typed(key: str, **more: Any) -> dict[str, Any]:
    return {"type": {"key": key, **more}}


_S, _I, _B = _typed("string"), _typed("integer"), _typed("boolean")
_SS, _SM, _SO = _typed("string", **_SET), _typed("string", **_MAP), _typed("string", **_OPTIONAL)

# OVN_Northbound 7.11 (ovn-nb.ovsschema), reduced to `model.ovn.NORTHBOUND`. Second entry: whether it is a root table.
_SCHEMA: dict[str, tuple[dict[str, Any], bool]] = {
    "NB_Global": ({"external_ids": _SM, "options": _SM, "ipsec": _B, "nb_cfg": _I}, True),
    "Load_Balancer": (
        {
            "name": _S,
            "vips": _SM,
            "protocol": _SO,
            "options": _SM,
            "external_ids": _SM,
            "selection_fields": _SS,
            "ip_port_mappings": _SM,
        },
        True,
    ),
    "DHCP_Options": ({"cidr": _S, "options": _SM, "external_ids": _SM}, True),
    "Address_Set": ({"name": _S, "addresses": _SS, "external_ids": _SM}, True),
    "Logical_Switch": (
        {
            "name": _S,
            "ports": _ref("Logical_Switch_Port", "strong", **_SET),
            "acls": _ref("ACL", "strong", **_SET),
            "load_balancer": _ref("Load_Balancer", "weak", **_SET),
            "other_config": _SM,
            "external_ids": _SM,
        },
        True,
    ),
    "Logical_Router": (
        {
            "name": _S,
            "ports": _ref("Logical_Router_Port", "strong", **_SET),
            "static_routes": _ref("Logical_Router_Static_Route", "strong", **_SET),
            "policies": _ref("Logical_Router_Policy", "strong", **_SET),
            "nat": _ref("NAT", "strong", **_SET),
            "load_balancer": _ref("Load_Balancer", "weak", **_SET),
            "options": _SM,
            "external_ids": _SM,
        },
        True,
    ),
    "Logical_Router_Port": (
        {
            "name": _S,
            "mac": _S,
            "networks": _typed("string", min=1, max="unlimited"),
            "options": _SM,
            "ipv6_prefix": _SS,
            "ipv6_ra_configs": _SM,
            "external_ids": _SM,
            "peer": _SO,
            "gateway_chassis": _ref("Gateway_Chassis", "strong", **_SET),
            "ha_chassis_group": _ref("HA_Chassis_Group", "strong", **_OPTIONAL),
        },
        False,
    ),
    "HA_Chassis_Group": (
        {"name": _S, "ha_chassis": _ref("HA_Chassis", "strong", **_SET), "external_ids": _SM},
        True,
    ),
    "HA_Chassis": ({"chassis_name": _S, "priority": _I, "external_ids": _SM}, False),
    "Gateway_Chassis": ({"name": _S, "chassis_name": _S, "priority": _I, "external_ids": _SM}, False),
    "BFD": (
        {
            "logical_port": _S,
            "dst_ip": _S,
            "min_tx": _typed("integer", **_OPTIONAL),
            "min_rx": _typed("integer", **_OPTIONAL),
            "detect_mult": _typed("integer", **_OPTIONAL),
            "status": _SO,
            "external_ids": _SM,
        },
        True,
    ),
    "Logical_Switch_Port": (
        {
            "name": _S,
            "type": _S,
            "addresses": _SS,
            "port_security": _SS,
            "options": _SM,
            "external_ids": _SM,
            "dhcpv4_options": _ref("DHCP_Options", "weak", **_OPTIONAL),
            "dhcpv6_options": _ref("DHCP_Options", "weak", **_OPTIONAL),
            "tag": _typed("integer", **_OPTIONAL),
            "up": _typed("boolean", **_OPTIONAL),
        },
        False,
    ),
    "Port_Group": (
        {
            "name": _S,
            "ports": _ref("Logical_Switch_Port", "weak", **_SET),
            "acls": _ref("ACL", "strong", **_SET),
            "external_ids": _SM,
        },
        True,
    ),
    "ACL": (
        {
            "name": _SO,
            "direction": _S,
            "priority": _I,
            "match": _S,
            "action": _S,
            "tier": _I,
            "log": _B,
            "severity": _SO,
            "meter": _SO,
            "options": _SM,
            "external_ids": _SM,
        },
        False,
    ),
    "Logical_Router_Static_Route": (
        {
            "ip_prefix": _S,
            "nexthop": _S,
            "policy": _SO,
            "route_table": _S,
            "output_port": _SO,
            "bfd": _ref("BFD", "weak", **_OPTIONAL),
            "options": _SM,
            "external_ids": _SM,
        },
        False,
    ),
    "NAT": ({"type": _S, "external_ip": _S, "logical_ip": _S}, False),
    "Logical_Router_Policy": (
        {
            "priority": _I,
            "match": _S,
            "action": _S,
            "nexthops": _SS,
            "nexthop": _SO,
            "options": _SM,
            "bfd_sessions": _SS,
            "external_ids": _SM,
        },
        False,
    ),
}
_UNIQUE = (
    *("Logical_Switch_Port", "Logical_Router_Port", "Port_Group", "Address_Set"),
    *("HA_Chassis_Group", "Gateway_Chassis"),
    *("Chassis", "Chassis_Private"),
)


def schema(without: Iterable[str] = ()) -> DatabaseSchema:
    """The schema; `without` names columns (`TABLE.column`) that an older server lacks."""
    missing = set(without)
    tables = {
        table: {"columns": {c: spec for c, spec in columns.items() if f"{table}.{c}" not in missing}, "isRoot": root}
        for table, (columns, root) in _SCHEMA.items()
    }
    return DatabaseSchema.from_json({"name": "OVN_Northbound", "version": "7.11.0", "tables": tables})


def southbound_schema() -> DatabaseSchema:
    """OVN_Southbound (ovn-sb.ovsschema), reduced to `model.ovn.SOUTHBOUND`."""
    private = {"name": _S, "chassis": _ref("Chassis", "weak", **_OPTIONAL)}
    chassis = {"name": _S, "hostname": _S, "external_ids": _SM, "other_config": _SM}
    tables = {"SB_Global": {"external_ids": _SM}, "Chassis": chassis, "Chassis_Private": private}
    described = {table: {"columns": columns, "isRoot": True} for table, columns in tables.items()}
    return DatabaseSchema.from_json({"name": "OVN_Southbound", "version": "20.27.0", "tables": described})


class Invalid(AssertionError):
    """The database would be, or is, in a state that it must never be in."""


class MemoryDatabase:
    """What `Replica` needs of a database (`ovsdb.replica.Replicated`), and transactions."""

    def __init__(self, of: DatabaseSchema | None = None) -> None:
        self.schema: DatabaseSchema | None = of or schema()
        self.name = self._known().name
        self._tables = self._known().tables
        self.rows: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in self._tables}
        """What is replicated: `content` without write-only columns."""
        self.content: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in self._tables}
        self.operations = 0
        self._listeners: list[Callable[[Changes], None]] = []
        self._decoders = {t: {c: decoder(column) for c, column in k.columns.items()} for t, k in self._tables.items()}
        self._hidden = {t: frozenset(facts.write_only) for t, facts in {**NORTHBOUND, **SOUTHBOUND}.items()}

    def _known(self) -> DatabaseSchema:
        assert self.schema is not None
        return self.schema

    def subscribe(self, listener: Callable[[Changes], None], /) -> None:
        """Call `listener` now with what is there, and after each transaction."""
        self._listeners.append(listener)
        present = {t: {u: RowChange(None, row) for u, row in rows.items()} for t, rows in self.rows.items()}
        if any(present.values()):
            listener(present)

    def transact(self, operations: Iterable[dict[str, Any]]) -> list[dict[str, int]]:
        """Execute all operations or none. Raises Invalid."""
        results: list[dict[str, int]] = []
        self.edit(lambda content: results.extend(map(self._execute, operations)))
        self.operations += len(results)
        return results

    def edit(self, change: Callable[[dict[str, dict[str, dict[str, Any]]]], None]) -> None:
        """Change the content in any way, as one transaction. Raises Invalid."""
        before = self.content
        self.content = {t: {u: dict(row) for u, row in rows.items()} for t, rows in before.items()}
        try:
            change(self.content)
            self._check_strong()  # OVSDB looks at references before it collects rows that nobody refers to
            self._collect()
            self.validate()
        except BaseException:
            self.content = before
            raise
        self._publish()

    def _execute(self, operation: dict[str, Any]) -> dict[str, int]:
        table, rows = operation["table"], self.content[operation["table"]]
        if operation["op"] == "insert":
            uuid = operation["uuid"]
            if uuid in rows:
                raise Invalid(f"{table} {uuid} exists")
            rows[uuid] = {c: column.default for c, column in self._tables[table].columns.items()}
            rows[uuid] |= self._decoded(table, operation["row"])
            return {}
        found = [uuid for uuid, row in rows.items() if self._matches(table, uuid, row, operation["where"])]
        for uuid in found:
            if operation["op"] == "update":
                rows[uuid] |= self._decoded(table, operation["row"])
            elif operation["op"] == "delete":
                del rows[uuid]
            else:
                for column, mutator, value in operation["mutations"]:
                    rows[uuid][column] = self._mutated(table, column, rows[uuid][column], mutator, value)
        return {"count": len(found)}

    def _decoded(self, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
        return {c: self._decode(table, c, value) for c, value in row.items()}

    def _decode(self, table: str, column: str, value: Any) -> Any:
        decode = self._decoders[table][column]
        return value if decode is None else decode(value)

    def _matches(self, table: str, uuid: str, row: Mapping[str, Any], where: list[list[Any]]) -> bool:
        for column, operator, value in where:
            if column == "_uuid":
                if uuid != value[1]:
                    return False
            elif operator == "includes":
                if not self._decode(table, column, value) <= row[column]:
                    return False
            else:
                raise NotImplementedError(operator)
        return True

    def _mutated(self, table: str, column: str, value: Any, mutator: str, operand: Any) -> Any:
        if self._tables[table].columns[column].kind is Kind.MAP:
            if mutator == "insert":
                return {**self._decode(table, column, operand), **value}
            gone = operand[1] if operand[0] == "set" else [entry[0] for entry in operand[1]]
            return {k: v for k, v in value.items() if k not in gone}
        elements = self._decode(table, column, operand)
        if self._tables[table].columns[column].kind is Kind.OPTIONAL:
            return elements if mutator == "insert" else None if value == elements else value
        return frozenset(value | elements) if mutator == "insert" else frozenset(value - elements)

    def _references(self, strong: bool) -> Iterator[tuple[str, str, str, str, str]]:
        """(table, uuid, column, target table, target uuid)."""
        for table, rows in self.content.items():
            for name, column in self._tables[table].columns.items():
                if column.ref_table is None or column.ref_strong is not strong:
                    continue
                for uuid, row in rows.items():
                    value = row[name]
                    for target in () if value is None else (value,) if isinstance(value, str) else value:
                        yield table, uuid, name, column.ref_table, target

    def _collect(self) -> None:
        """Drop rows of non-root tables that nobody refers to, then weak references to rows that are gone."""
        while True:
            held = {(target, other) for _, _, _, target, other in self._references(strong=True)}
            gone = [
                (table, uuid)
                for table, rows in self.content.items()
                if not self._tables[table].root
                for uuid in rows
                if (table, uuid) not in held
            ]
            if not gone:
                break
            for table, uuid in gone:
                del self.content[table][uuid]
        for table, uuid, column, target, other in list(self._references(strong=False)):
            if other not in self.content[target]:
                value = self.content[table][uuid][column]
                self.content[table][uuid][column] = None if isinstance(value, str) else frozenset(value - {other})

    def validate(self) -> None:
        """Raise Invalid when the content is not what OVSDB accepts."""
        self._check_strong()
        for table in (table for table in _UNIQUE if table in self.content):
            names = [row["name"] for row in self.content[table].values()]
            if len(names) != len(set(names)):
                raise Invalid(f"{table} has a name twice: {sorted(n for n in names if names.count(n) > 1)}")
        for row in self.content.get("Logical_Router_Port", {}).values():
            if not row["networks"]:
                raise Invalid(f"router port {row['name']} has no networks")

    def _check_strong(self) -> None:
        for table, uuid, column, target, other in self._references(strong=True):
            if other not in self.content[target]:
                raise Invalid(f"{table} {uuid} refers in {column} to {target} {other}, which does not exist")

    def dangling(self) -> set[str]:
        """Names of router ports, port groups and address sets that are referred to by name and do not exist."""
        ports = {row["name"] for row in self.content["Logical_Router_Port"].values()}
        peers = {
            r["options"]["router-port"] for r in self.content["Logical_Switch_Port"].values() if r["type"] == "router"
        }
        known = {row["name"] for row in self.content["Address_Set"].values()}
        for row in self.content["Port_Group"].values():
            known |= {row["name"], f"{row['name']}_ip4", f"{row['name']}_ip6"}
        matches = [row["match"] for t in ("ACL", "Logical_Router_Policy") for row in self.content[t].values()]
        return (peers - ports) | ({name for match in matches for name in re.findall(r"[$@]([\w.]+)", match)} - known)

    def _publish(self) -> None:
        changes: Changes = {}
        for table, rows in self.content.items():
            shown, hidden = self.rows[table], self._hidden[table]
            for uuid in shown.keys() - rows.keys():
                changes.setdefault(table, {})[uuid] = RowChange(shown.pop(uuid), None)
            for uuid, row in rows.items():
                visible = {c: v for c, v in row.items() if c not in hidden}
                known = shown.get(uuid)
                if known is None:
                    shown[uuid] = visible
                    changes.setdefault(table, {})[uuid] = RowChange(None, visible)
                elif old := row_difference(known, visible):
                    known.update(visible)
                    changes.setdefault(table, {})[uuid] = RowChange(old, known)
        for listener in self._listeners if changes else ():
            listener(changes)


DiffFunction = Callable[[str, Key], list[Change]]


class Memory:
    """`engine.diff.Actual` over a `MemoryDatabase`, and a synchronous committer."""

    def __init__(self, database: MemoryDatabase | None = None, replica: Replica | None = None) -> None:
        self.database = database or MemoryDatabase()
        self.replica = replica or Replica(self.database, NORTHBOUND)
        self.facts: Mapping[str, TableFacts] = self.replica.facts
        self._numbers = itertools.count(1)
        self._encoders = Encoders(self.database._known())
        self._waiting: dict[RowKey, set[RowKey]] = {}

    # -- engine.diff.Actual

    def find(self, table: str, key: Key) -> ActualRow | None:
        return self.replica.find(table, key)

    def extra(self, table: str, key: Key) -> Iterable[ActualRow]:
        return self.replica.extra(table, key)

    def uuid_of(self, ref: Ref) -> str:
        return self.replica.uuid_of(ref)

    def has_column(self, table: str, column: str) -> bool:
        return self.replica.has_column(table, column)

    def known_columns(self, table: str) -> frozenset[str]:
        return self.replica.known_columns(table)

    # -- committing

    def commit(
        self, differ: DiffFunction, keys: Iterable[RowKey], *, batch: int = 200, each: Callable[[], None] = lambda: None
    ) -> list[Change]:
        """Write the differences of these keys, `batch` keys a transaction; `each` is called after every transaction.

        Keys that wait for rows that do not exist are tried again when one of those appears. Returns all changes.
        """
        dirty = DirtyKeys(self.facts)
        for key in keys:
            dirty.add(key, urgent=False)
        waiting = self._waiting  # also from earlier calls, as in the committer
        done: list[Change] = []
        rounds = itertools.count()
        while dirty:
            if next(rounds) > 2000:
                raise Invalid(f"the same is written again and again: {done[-3:]}")
            transaction = Transaction(self.replica, self.facts, self._encoders)
            while len(transaction) < batch and (key := dirty.pop()) is not None:
                if changes := differ(*key):
                    transaction.add(key, changes)
                    done += changes
            transaction.build(None, {})
            for key, missing in transaction.missing.items():
                waiting[key] = {(ref.table, ref.key) for ref in missing}
            if not transaction.operations:
                continue
            results = self.database.transact(transaction.operations)
            for key in transaction.stale(results, self.database.rows):
                dirty.add(key, urgent=False)
            for key, missing_rows in list(waiting.items()):
                if any(self.find(*row) is not None for row in missing_rows):
                    del waiting[key]
                    dirty.add(key, urgent=False)
            each()
        return done

    # -- for tests

    def row_keys(self) -> list[RowKey]:
        """The natural keys of all rows."""
        return [(table, key) for table in self.facts for key in self.replica.keys(table)]

    def put(self, table: str, parent: Ref | None = None, column: str = "", **columns: Any) -> str:
        """A row that somebody else wrote, with values as Python has them; returns its UUID."""
        uuid = f"{next(self._numbers):08x}-0000-4000-8000-000000000000"

        def insert(content: dict[str, dict[str, dict[str, Any]]]) -> None:
            known = self.database._known().tables[table].columns
            content[table][uuid] = {c: known[c].default for c in known} | columns
            if parent is not None:
                owner = self.replica.existing(parent)
                assert owner is not None
                content[parent.table][owner][column] = frozenset(content[parent.table][owner][column] | {uuid})

        self.database.edit(insert)
        return uuid

    def snapshot(self, where: Callable[[str, Mapping[str, Any]], bool] = lambda table, row: True) -> dict[Any, Any]:
        """All rows by natural key, references as natural keys."""
        names = {
            uuid: (table, self.replica.key_of(table, uuid)) for table, r in self.database.rows.items() for uuid in r
        }

        def plain(value: Any) -> Any:
            if isinstance(value, frozenset | set):
                return frozenset(names.get(v, v) if isinstance(v, str) else v for v in value)
            return names.get(value, value) if isinstance(value, str) else value

        found: dict[Any, Any] = {}
        for table, rows in self.database.rows.items():
            for uuid, row in rows.items():
                if where(table, row):
                    found.setdefault(names[uuid], []).append({c: plain(v) for c, v in row.items()})
        return {key: sorted(rows, key=repr) for key, rows in found.items()}

"""One controller's World, engine, reactor, replica and differ."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ovnbridge.compile import INDEXES, UNITS
from ovnbridge.compile.options import Options
from ovnbridge.compile.ownership import OWNED_TABLES, owns
from ovnbridge.compile.subnet_status import DHCP_ROWS, dhcp_key
from ovnbridge.compile.vpc_routes import BFD_SESSIONS
from ovnbridge.engine.desired import RowKey
from ovnbridge.engine.diff import ActualRow, Change, Differ
from ovnbridge.engine.engine import Engine
from ovnbridge.engine.world import World
from ovnbridge.model.crd.address import IP
from ovnbridge.model.crd.ovn_nat import OvnEip
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.crd.underlay import ProviderNetwork, Vlan
from ovnbridge.model.crd.vpc import Vpc
from ovnbridge.model.kube import Namespace, Node, Pod
from ovnbridge.model.ovn import NORTHBOUND, REFERENCES, Atom, Key, Ref
from ovnbridge.model.resource import IP as IP_RESOURCE
from ovnbridge.model.resource import NAMESPACE, NODE, OVN_EIP, POD, PROVIDER_NETWORK, SUBNET, VLAN, VPC, Resource
from ovnbridge.ovsdb.replica import Replica, Replicated, monitored_columns
from ovnbridge.ovsdb.tables import Changes, RowChange, SetDelta
from ovnbridge.reactor import KubeSource, Reactor

log = logging.getLogger(__name__)

KINDS: Final[tuple[tuple[Resource, type[Any]], ...]] = (
    (NODE, Node),
    (NAMESPACE, Namespace),
    (PROVIDER_NETWORK, ProviderNetwork),
    (VLAN, Vlan),
    (VPC, Vpc),
    (SUBNET, Subnet),
    (IP_RESOURCE, IP),
    (OVN_EIP, OvnEip),
    (POD, Pod),
)
"""Kubernetes kinds that the controller reads, with their decoded types."""

NB_COLUMNS: Final = monitored_columns(NORTHBOUND)
"""NB columns to replicate."""


class ControllerState:
    """Everything between the sources and the sinks."""

    def __init__(self, database: Replicated) -> None:
        self.world = World(INDEXES)
        self.engine = Engine(self.world, UNITS)
        self.reactor = Reactor(world=self.world, engine=self.engine)
        self.replica = Replica(database, NORTHBOUND)
        self._touched: set[RowKey] = set()
        self._dhcp_rows: dict[str, str] = {}
        """UUID of a DHCP_Options row → its World key."""
        self.replica.subscribe(self._touched.update)
        database.subscribe(self._database_changed)  # after the replica, which knows the keys by then
        self.source = KubeSource(
            self.world,
            self.reactor.wake,
            {IP_RESOURCE.kind: self.reactor.allocator.observe_ip},
            self.reactor.object_changed,
        )
        self._database = database
        self._differ = Differ(desired=self.engine.desired, actual=self.replica, facts=NORTHBOUND, owns=self.owns)

    async def start(self, options: Options) -> None:
        """All sources are complete: compile everything."""
        self.describe_schema()
        self.world.put("Options", "", options)
        await self.reactor.settled()
        log.info("state complete evaluations=%d", self.engine.evaluations)

    def describe_schema(self) -> None:
        """Put what the server's schema can hold into the World (feature gating)."""
        schema = self._database.schema
        assert schema is not None
        columns = {
            f"{table.name}.{column}": schema.has_column(table.name, column)
            for table in NORTHBOUND.values()
            for column in table.columns
        }
        fields = {
            f"Load_Balancer.selection_fields:{field}": schema.allows("Load_Balancer", "selection_fields", field)
            for field in ("ip_src", "ipv6_src")
        }
        self.world.replace("Schema", {**columns, **fields})

    def _database_changed(self, changes: Changes) -> None:
        """Tell the reactor what to compare; of sets that members fill, only what came or went."""
        for uuid, change in changes.get("BFD", {}).items():
            self.world.put(BFD_SESSIONS, uuid, True if change.new is not None else None)
            self.reactor.wake()
        whole = self._touched.copy()
        self._touched.clear()
        self._follow_dhcp_rows(changes.get("DHCP_Options", {}))
        for table, rows in changes.items():
            for uuid, change in rows.items():
                key = self.replica.key_of(table, uuid) if change.new is not None else None
                if key is None:
                    continue
                if change.old is None:
                    self.reactor.row_appeared(table, key)
                elif (members := self._members(table, key, change.old)) is not None:
                    whole.discard((table, key))
                    self.reactor.members_changed((table, key), members)
        self.reactor.rows_changed(whole)

    def _follow_dhcp_rows(self, rows: Mapping[str, RowChange]) -> None:
        """Subnets' statuses name the UUIDs of their DHCP options."""
        for uuid, change in rows.items():
            before = self._dhcp_rows.pop(uuid, None)
            key = self.replica.key_of("DHCP_Options", uuid) if change.new is not None else None
            if before is not None and self.world.get(DHCP_ROWS, before) == uuid:
                self.world.put(DHCP_ROWS, before, None)
            if key is not None:
                self._dhcp_rows[uuid] = dhcp_key(key)
                self.world.put(DHCP_ROWS, dhcp_key(key), uuid)
        if rows:
            self.reactor.wake()

    def _members(self, table: str, key: Key, old: Mapping[str, Any]) -> set[tuple[str, Atom]] | None:
        """The members of a row that a change is about, None when it is about more."""
        row = self.engine.desired.row(table, key)
        if row is None or not all(c in row.members and isinstance(d, SetDelta) for c, d in old.items()):
            return None
        found: set[tuple[str, Atom]] = set()
        for column, delta in old.items():
            target = REFERENCES.get((table, column))
            for value in delta.added | delta.removed:
                if target is None:
                    found.add((column, value))
                elif (named := self.replica.key_of(target, value)) is not None:
                    found.add((column, Ref(target, named)))
                # A row that is gone took its references with it; when it appears again, its members are compared.
        return found

    def diff(self, table: str, key: Key) -> list[Change]:
        """What must be written for one row."""
        return self._differ.diff(table, key, self.reactor.members_to_compare((table, key)))

    def owns(self, table: str, row: ActualRow) -> bool:
        """Whether a row that nobody desires is ours to delete."""
        parent = self.replica.key_of(*row.parent) if row.parent is not None else None
        return owns(table, row, self.engine.desired.held, parent or "")

    def owned_rows(self) -> Iterable[tuple[str, Key]]:
        """Keys of all existing rows of tables in which rows may be ours."""
        return [(table, key) for table in OWNED_TABLES for key in self.replica.keys(table)]

"""One controller's World, engine, reactor, replica and differ."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, Final

import msgspec

from ovnbridge.compile import INDEXES, UNITS
from ovnbridge.compile.options import Options
from ovnbridge.compile.ownership import OWNED_TABLES, compiled_port, owns
from ovnbridge.controller.followed import RowFacts
from ovnbridge.controller.southbound import Southbound
from ovnbridge.engine.desired import RowKey
from ovnbridge.engine.diff import ActualRow, Change, Differ, Mutate
from ovnbridge.engine.engine import Engine
from ovnbridge.engine.world import World
from ovnbridge.model.crd.address import IP, IPPool, Vip
from ovnbridge.model.crd.nat_gateway import IptablesEIP
from ovnbridge.model.crd.ovn_nat import OvnEip
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.crd.underlay import ProviderNetwork, Vlan
from ovnbridge.model.crd.vpc import Vpc
from ovnbridge.model.kube import (
    Namespace,
    NetworkAttachmentDefinition,
    Node,
    Pod,
    ServiceCIDR,
    StatefulSet,
    VirtualMachine,
    VirtualMachineInstance,
)
from ovnbridge.model.ovn import NORTHBOUND, REFERENCES, SOUTHBOUND, Atom, Key, Ref
from ovnbridge.model.resource import IP as IP_RESOURCE
from ovnbridge.model.resource import (
    IP_POOL,
    IPTABLES_EIP,
    NAMESPACE,
    NETWORK_ATTACHMENT_DEFINITION,
    NODE,
    OVN_EIP,
    POD,
    PROVIDER_NETWORK,
    SERVICE_CIDR,
    STATEFUL_SET,
    SUBNET,
    VIP,
    VIRTUAL_MACHINE,
    VIRTUAL_MACHINE_INSTANCE,
    VLAN,
    VPC,
    Resource,
)
from ovnbridge.ovsdb.replica import Replica, Replicated, monitored_columns
from ovnbridge.ovsdb.schema import DatabaseSchema
from ovnbridge.ovsdb.tables import Changes, SetDelta
from ovnbridge.reactor import KubeSource, Overdue, Reactor

log = logging.getLogger(__name__)

KINDS: Final[tuple[tuple[Resource, type[Any]], ...]] = (
    (NODE, Node),
    (NAMESPACE, Namespace),
    (PROVIDER_NETWORK, ProviderNetwork),
    (VLAN, Vlan),
    (VPC, Vpc),
    (SUBNET, Subnet),
    (IP_POOL, IPPool),
    (VIP, Vip),
    (IP_RESOURCE, IP),
    (OVN_EIP, OvnEip),
    (IPTABLES_EIP, IptablesEIP),
    (STATEFUL_SET, StatefulSet),
    (VIRTUAL_MACHINE, VirtualMachine),
    (VIRTUAL_MACHINE_INSTANCE, VirtualMachineInstance),
    (NETWORK_ATTACHMENT_DEFINITION, NetworkAttachmentDefinition),
    (SERVICE_CIDR, ServiceCIDR),
    (POD, Pod),
)
"""Kubernetes kinds that the controller reads, with their decoded types."""

OPTIONAL_KINDS: Final = frozenset(
    {"VirtualMachine", "VirtualMachineInstance", "NetworkAttachmentDefinition", "ServiceCIDR"}
)
"""Kinds that a cluster may not know: an absent definition means that there are no such objects."""

NB_COLUMNS: Final = monitored_columns(NORTHBOUND)
"""NB columns to replicate."""


class ControllerState:
    """Everything between the sources and the sinks.

    `now`: seconds since the epoch; what is read from a dump is looked at as of no particular time.
    """

    def __init__(
        self,
        database: Replicated,
        southbound: Replicated | None = None,
        *,
        now: Callable[[], float] = lambda: -math.inf,
    ) -> None:
        self.world = World(INDEXES)
        self.engine = Engine(self.world, UNITS)
        self.reactor = Reactor(world=self.world, engine=self.engine)
        self.overdue = Overdue(world=self.world, wake=self.reactor.wake, now=now)
        self.replica = Replica(database, NORTHBOUND)
        self._touched: set[RowKey] = set()
        self._schema: DatabaseSchema | None = None
        self._database = database
        self._facts = RowFacts(self.world, self.replica.key_of)
        self.replica.subscribe(self._touched.update)
        database.subscribe(self._database_changed)  # after the replica, which knows the keys by then
        self.source = KubeSource(
            self.world,
            self.reactor.wake,
            {
                IP_RESOURCE.kind: self.reactor.allocator.observe_ip,
                VIP.kind: self.reactor.allocator.observe_vip,
                OVN_EIP.kind: self.reactor.allocator.observe_eip,
                POD.kind: self.overdue.observe_pod,
                IPTABLES_EIP.kind: self.reactor.allocator.observe_iptables_eip,
            },
            self.reactor.object_changed,
        )
        self._differ = Differ(desired=self.engine.desired, actual=self.replica, facts=NORTHBOUND, owns=self.owns)
        self.southbound: Southbound | None = None
        if southbound is not None:
            self.southbound = Southbound(southbound, self.world, self.engine.desired, self._southbound_changed)
        self.reactor.checks.compare = self.compare

    async def start(self, options: Options) -> None:
        """All sources are complete: compile everything."""
        self.describe_schema()
        self.world.put("Options", "", options)
        await self.reactor.settled()
        log.info("state complete evaluations=%d", self.engine.evaluations)

    def unread_table(self, name: str) -> str | None:
        """The table of this name, in any case, that the server has and nothing here looks at; None for all others."""
        tables = self._database.schema.tables if self._database.schema is not None else ()
        return next((t for t in tables if t.lower() == name.lower() and t not in NORTHBOUND), None)

    def replica_of(self, table: str) -> Replica:
        """The replica that has the table, which is SB's only when that is followed."""
        if table not in SOUTHBOUND:
            return self.replica
        assert self.southbound is not None
        return self.southbound.replica

    def describe_schema(self) -> None:
        """Put what the server's schema can hold into the World (feature gating)."""
        schema = self._schema = self._database.schema
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
        self.world.replace("Schema", {**columns, **fields, **(self.southbound.schema() if self.southbound else {})})

    def _southbound_changed(self, touched: set[RowKey], fresh_schema: bool) -> None:
        if fresh_schema and self._schema is not None:
            self.describe_schema()
        self.reactor.rows_changed(touched)
        self.reactor.wake()

    def _database_changed(self, changes: Changes) -> None:
        """Tell the reactor what to compare; of sets that members fill, only what came or went."""
        whole = self._touched.copy()
        self._touched.clear()
        if self._facts.follow(changes):
            self.reactor.wake()
        if self._schema is not None and self._database.schema is not self._schema:
            log.info("the database's schema changed: what it can hold is compared anew")
            self.describe_schema()
            whole.update(self.engine.desired.row_keys())
            self.reactor.wake()
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
        members = self.reactor.members_to_compare((table, key))
        changes = self.compare(table, key, members)
        self.reactor.compared((table, key), self._different(members, changes) if changes else set())
        return changes

    def compare(self, table: str, key: Key, members: Set[tuple[str, Atom]] | None = None) -> list[Change]:
        """`diff` of all of a row, or of some members (see `Differ.diff`); notes nothing."""
        if table in SOUTHBOUND:
            return self.southbound.diff(table, key) if self.southbound else []
        changes = self._differ.diff(table, key, members)
        if table == "Port_Group" and any(isinstance(change, Mutate) and change.remove for change in changes):
            changes = [change for change in map(self._spare, changes) if change is not None]
        return changes

    def _spare(self, change: Change) -> Change | None:
        """Leave ports in a group that are not compiled here."""
        if not isinstance(change, Mutate) or change.column != "ports":
            return change
        gone = frozenset(uuid for uuid in change.remove if not self._others_port(uuid))
        return msgspec.structs.replace(change, remove=gone) if change.add or gone else None

    def _others_port(self, uuid: str) -> bool:
        key = self.replica.key_of("Logical_Switch_Port", uuid)
        row = self.replica.find("Logical_Switch_Port", key) if key is not None else None
        return row is not None and not compiled_port(row)

    def _different(
        self, members: set[tuple[str, Atom]] | None, changes: Iterable[Change]
    ) -> set[tuple[str, Atom]] | None:
        """The members that changes are about, None when they are about more."""
        found: set[tuple[str, Atom]] = set()
        for change in changes:
            if members is None or not isinstance(change, Mutate) or isinstance(change.add, Mapping):
                return None
            for column, value in members:
                atom = self.replica.uuid_of(value) if isinstance(value, Ref) else value
                if column == change.column and (value in change.add or atom in change.remove):
                    found.add((column, value))
        return found

    def owns(self, table: str, row: ActualRow) -> bool:
        """Whether a row that nobody desires is ours to delete."""
        if table in SOUTHBOUND:
            return self.southbound is not None and self.southbound.owns(table, row)
        parent = self.replica.key_of(*row.parent) if row.parent is not None else None
        nat = table == "Logical_Router_Static_Route" and parent is not None and self._translated(parent, row)
        return owns(table, row, self.engine.desired.held, parent or "", nat=nat)

    def _translated(self, router: Key, route: ActualRow) -> bool:
        """Whether a router translates the address that a route is for."""
        found = self.replica.find("Logical_Router", router)
        keys = (self.replica.key_of("NAT", uuid) for uuid in (found.columns.get("nat") or () if found else ()))
        return any(isinstance(key, tuple) and key[-1] == route.columns.get("ip_prefix") for key in keys)

    def owned_rows(self) -> Iterable[tuple[str, Key]]:
        """Keys of all existing rows of tables in which rows may be ours."""
        rows = [(table, key) for table in OWNED_TABLES for key in self.replica.keys(table)]
        return [*rows, *(self.southbound.owned_rows() if self.southbound else ())]

"""One controller's World, engine, reactor, replica and differ."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final, Protocol

from ovnbridge.compile import INDEXES, UNITS
from ovnbridge.compile.options import Options
from ovnbridge.compile.ownership import OWNED_TABLES, owns
from ovnbridge.engine.diff import ActualRow, Change, Differ
from ovnbridge.engine.engine import Engine
from ovnbridge.engine.world import World
from ovnbridge.model.crd.address import IP
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.crd.vpc import Vpc
from ovnbridge.model.kube import Namespace, Node, Pod
from ovnbridge.model.ovn import NORTHBOUND, Key
from ovnbridge.model.resource import IP as IP_RESOURCE
from ovnbridge.model.resource import NAMESPACE, NODE, POD, SUBNET, VPC, Resource
from ovnbridge.ovsdb.replica import Replica
from ovnbridge.ovsdb.schema import DatabaseSchema
from ovnbridge.reactor import KubeSource, Reactor

log = logging.getLogger(__name__)

KINDS: Final[tuple[tuple[Resource, type[Any]], ...]] = (
    (NODE, Node),
    (NAMESPACE, Namespace),
    (VPC, Vpc),
    (SUBNET, Subnet),
    (IP_RESOURCE, IP),
    (POD, Pod),
)
"""Kubernetes kinds that the controller reads, with their decoded types."""

NB_COLUMNS: Final = {t.name: [c for c in t.columns if c not in t.write_only] for t in NORTHBOUND.values()}
"""NB columns to replicate."""


class NbDatabase(Protocol):
    """What the state needs of a database, live or read from a file."""

    name: str
    schema: DatabaseSchema | None
    rows: dict[str, dict[str, dict[str, Any]]]

    def subscribe(self, listener: Any) -> None:
        """Call `listener` with each batch of changes."""


class ControllerState:
    """Everything between the sources and the sinks."""

    def __init__(self, database: NbDatabase) -> None:
        self.world = World(INDEXES)
        self.engine = Engine(self.world, UNITS)
        self.reactor = Reactor(world=self.world, engine=self.engine)
        self.replica = Replica(database, NORTHBOUND)
        self.replica.subscribe(self.reactor.rows_changed)
        self.source = KubeSource(self.world, self.reactor.wake, {IP_RESOURCE.kind: self.reactor.allocator.observe_ip})
        self._database = database
        self._differ = Differ(desired=self.engine.desired, actual=self.replica, facts=NORTHBOUND, owns=self.owns)

    def start(self, options: Options) -> None:
        """All sources are complete: compile everything."""
        self.describe_schema()
        self.world.put("Options", "", options)
        self.reactor.settle()
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

    def diff(self, table: str, key: Key) -> list[Change]:
        """What must be written for one row."""
        return self._differ.diff(table, key, self.reactor.members_to_compare((table, key)))

    def owns(self, table: str, row: ActualRow) -> bool:
        """Whether a row that nobody desires is ours to delete."""
        return owns(table, row, self.engine.desired.held)

    def owned_rows(self) -> Iterable[tuple[str, Key]]:
        """Keys of all existing rows of tables in which rows may be ours."""
        return [(table, key) for table in OWNED_TABLES for key in self.replica.keys(table)]

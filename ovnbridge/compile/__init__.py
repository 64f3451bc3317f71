"""World → desired items: one module per kind of thing. Pure (no asyncio, no I/O, no clock, no randomness).

Every module offers units (`engine.engine.Unit`) and the predicate of rows it owns; `controller_units` and `owns` here
are the complete lists for the controller. Names and formats: spec control-plane parts B, D and I.
"""

from __future__ import annotations

from ovnbridge.compile import (
    chassis,
    cluster,
    gateway,
    ippool,
    localnet,
    namespace,
    nets,
    node,
    pod,
    problem,
    provider_network,
    reservation,
    subnet,
    subnet_conflict,
    subnet_status,
    switch,
    u2o,
    vip,
    vlan,
    vpc,
    vpc_external,
    workload,
)
from ovnbridge.engine.engine import Unit
from ovnbridge.engine.world import Catalogue, Index

UNITS: tuple[Unit, ...] = (
    *cluster.UNITS,
    *vpc.UNITS,
    *vpc_external.UNITS,
    *u2o.UNITS,
    *switch.UNITS,
    *subnet_status.UNITS,
    *vlan.UNITS,
    *provider_network.UNITS,
    *gateway.UNITS,
    *node.UNITS,
    *chassis.UNITS,
    *namespace.UNITS,
    *pod.UNITS,
    *workload.UNITS,
    *reservation.UNITS,
    *ippool.UNITS,
    *vip.UNITS,
    *problem.UNITS,
)

INDEXES: tuple[Index | Catalogue, ...] = (
    *subnet.INDEXES,
    *subnet_conflict.INDEXES,
    *localnet.INDEXES,
    *vlan.INDEXES,
    *provider_network.INDEXES,
    *vpc.INDEXES,
    *chassis.INDEXES,
    *nets.INDEXES,
    *workload.INDEXES,
    *ippool.INDEXES,
    *vip.INDEXES,
)

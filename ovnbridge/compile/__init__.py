"""World → desired items: one module per kind of thing. Pure (no asyncio, no I/O, no clock, no randomness).

Every module offers units (`engine.engine.Unit`) and the predicate of rows it owns; `controller_units` and `owns` here
are the complete lists for the controller. Names and formats: spec control-plane parts B, D and I.
"""

from __future__ import annotations

from ovnbridge.compile import (
    cluster,
    gateway,
    localnet,
    namespace,
    node,
    pod,
    problem,
    subnet,
    subnet_conflict,
    subnet_status,
    switch,
    u2o,
    vlan,
    vpc,
)
from ovnbridge.engine.engine import Unit
from ovnbridge.engine.world import Index

UNITS: tuple[Unit, ...] = (
    *cluster.UNITS,
    *vpc.UNITS,
    *switch.UNITS,
    *subnet_status.UNITS,
    *u2o.UNITS,
    *vlan.UNITS,
    *gateway.UNITS,
    *node.UNITS,
    *namespace.UNITS,
    *pod.UNITS,
    *problem.UNITS,
)

INDEXES: tuple[Index, ...] = (
    *subnet.INDEXES,
    *subnet_conflict.INDEXES,
    *localnet.INDEXES,
    *vlan.INDEXES,
    *vpc.INDEXES,
)

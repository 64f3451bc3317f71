"""World → desired items: one module per kind of thing. Pure (no asyncio, no I/O, no clock, no randomness).

Every module offers units (`engine.engine.Unit`) and the predicate of rows it owns; `controller_units` and `owns` here
are the complete lists for the controller. Names and formats: spec control-plane parts B, D and I.
"""

from __future__ import annotations

from ovnbridge.compile import cluster, gateway, namespace, node, pod, problem, subnet, vpc
from ovnbridge.engine.engine import Unit
from ovnbridge.engine.world import Catalogue, Index

UNITS: tuple[Unit, ...] = (
    *cluster.UNITS,
    *vpc.UNITS,
    *subnet.UNITS,
    *gateway.UNITS,
    *node.UNITS,
    *namespace.UNITS,
    *pod.UNITS,
    *problem.UNITS,
)

INDEXES: tuple[Index | Catalogue, ...] = (*subnet.INDEXES, *vpc.INDEXES)

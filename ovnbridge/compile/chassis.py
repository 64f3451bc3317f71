"""Which OVN chassis a node is: the annotation that the node agent writes (spec B.4)."""

from __future__ import annotations

import hashlib
from typing import Final

from ovnbridge.compile.node import node_names
from ovnbridge.engine.engine import Reader
from ovnbridge.model.kube import Node
from ovnbridge.model.names import annotation

EXTERNAL_GATEWAY: Final = "ovn.kubernetes.io/external-gw"
"""Label of nodes that routers may leave the cluster through."""


def chassis_of(reader: Reader, node: str) -> str:
    """Name of a node's chassis, "" while it is not known (memoised question)."""
    found = reader.get("Node", node)
    return found.metadata.annotation(annotation("chassis")) if isinstance(found, Node) else ""


def external_chassis(reader: Reader) -> tuple[str, ...]:
    """Chassis of the nodes labelled as external gateways, by node name (memoised question)."""
    names = (name for name in reader.query(node_names) if reader.query(_external, name))
    return tuple(dict.fromkeys(chassis for name in names if (chassis := reader.query(chassis_of, name))))


def _external(reader: Reader, name: str) -> bool:
    """Whether a node is an external gateway (memoised question)."""
    node = reader.get("Node", name)
    return isinstance(node, Node) and node.metadata.label(EXTERNAL_GATEWAY) == "true"


def spread(vpc: str, chassis: tuple[str, ...]) -> list[str]:
    """Chassis in the order of a VPC, so that VPCs' active gateways are on different nodes (spec D.5)."""
    return sorted(chassis, key=lambda one: hashlib.sha256(f"{vpc}{one}".encode()).hexdigest())

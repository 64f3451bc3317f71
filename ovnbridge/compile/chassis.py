"""Which OVN chassis a node is: the annotation that the node agent writes (spec B.4); and SB's chassis: the mark of
those that nodes name, and which others are left over (spec D.4, H.6).

A chassis row is made by the ovn-controller that it stands for. One that is left over must go: its tunnel address is
taken as long as it is there, so that a machine that was installed anew could not register.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from ovnbridge.compile.node import node_names
from ovnbridge.compile.options import has_column
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Item, Member, Row
from ovnbridge.engine.world import Index
from ovnbridge.model.kube import Node
from ovnbridge.model.names import annotation
from ovnbridge.model.ovn import VENDOR

CHASSIS: Final = "Chassis"
"""World table: `Registered` chassis, by name. Also the SB table."""

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


class Registered(msgspec.Struct, frozen=True):
    """A row of SB's Chassis: the node that it says it is, and whether it carries our mark."""

    node: str
    ours: bool
    remote: bool
    """Of another cluster, by interconnection (spec D.19)."""


def registered(row: Mapping[str, Any]) -> Registered:
    """What a row's columns say."""
    ids = row.get("external_ids") or {}
    remote = "true" in ((row.get("other_config") or {}).get("is-remote"), ids.get("is-remote"))
    return Registered(ids.get("node") or row.get("hostname") or "", ids.get("vendor") == VENDOR, remote)


def left_over(get: Callable[[str, str], Any], name: str, found: Registered) -> bool:
    """Whether a chassis is left over. `get` gives values of the World.

    One with our mark is when its node is gone or has named another one; one without is when it has the name of a node
    whose chassis cannot register. Others without it may be nodes' whose agents have not said so yet, or none of ours.
    """
    if found.remote:
        return False
    node = get("Node", found.node)
    if not isinstance(node, Node):
        return found.ours
    named = node.metadata.annotation(annotation("chassis"))
    return named not in ("", name) and (found.ours or get(CHASSIS, named) is None)


def _chassis(reader: Reader, name: str) -> Iterator[Item]:
    if reader.get("Node", name) is None or not has_column(reader, CHASSIS, "external_ids"):
        return
    named = reader.query(chassis_of, name)
    if named:
        yield Row(CHASSIS, named, {})
        for key, value in (("vendor", VENDOR), ("node", name)):
            yield Member(CHASSIS, named, "external_ids", key, entry=value)
    # Those that are not left over are wanted as they are: when that ends, they are looked at.
    for other in reader.by("chassis-node", name):
        found = reader.get(CHASSIS, other)
        if other != named and isinstance(found, Registered) and not left_over(reader.get, other, found):
            yield Row(CHASSIS, other, {})


def _by_node(found: Registered) -> tuple[str, ...]:
    return (found.node,)


INDEXES = (Index("chassis-node", CHASSIS, _by_node),)
UNITS = (Unit("chassis", "Node", _chassis),)

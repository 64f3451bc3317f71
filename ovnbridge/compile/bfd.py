"""The router port that BFD sessions of egress and NAT gateways end on (spec A.2 `bfdPort`, D.5, H.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ovnbridge.compile.chassis import chassis_of
from ovnbridge.compile.node import node_names
from ovnbridge.compile.ownership import port_scope
from ovnbridge.compile.selector import matches
from ovnbridge.compile.subnet import node_ready
from ovnbridge.engine.engine import Reader
from ovnbridge.engine.items import Hold, Item, Row
from ovnbridge.model.address import derived_mac, family
from ovnbridge.model.crd.vpc import BfdPort, BfdPortStatus, Vpc
from ovnbridge.model.kube import Node
from ovnbridge.model.names import bfd_port_name
from ovnbridge.model.ovn import VENDOR, Ref

_MOST_NODES: Final = 3
"""Without a selector, at most so many nodes may host the port."""


def bfd_nodes(reader: Reader, vpc: str) -> tuple[str, ...]:
    """Nodes that may host a VPC's BFD port, those that do first, then by name: ready ones with a chassis, or if there
    are none such, those that are not ready (memoised question)."""
    found = reader.get("Vpc", vpc)
    if not isinstance(found, Vpc) or not _enabled(found):
        return ()
    selector = found.spec.bfd_port.node_selector if found.spec.bfd_port is not None else None
    names = [name for name in reader.query(node_names) if reader.query(chassis_of, name)]
    if selector is not None:
        names = [
            name
            for name in names
            if isinstance(node := reader.get("Node", name), Node) and matches(selector, node.metadata.all_labels())
        ]
    # Nodes that host it already go first, in their order: the first one is active, and it need not move.
    standing = [name for name in reader.query(_hosts, vpc) if name in names]
    names = list(dict.fromkeys([*standing, *names]))
    chosen = [name for name in names if reader.query(node_ready, name)] or names
    return tuple(chosen if selector is not None else chosen[:_MOST_NODES])


def _hosts(reader: Reader, vpc: str) -> tuple[str, ...]:
    """Nodes that the VPC's status names (memoised question)."""
    found = reader.get("Vpc", vpc)
    return found.status.bfd_port.nodes if isinstance(found, Vpc) else ()


def _enabled(vpc: Vpc) -> bool:
    return vpc.spec.bfd_port is not None and vpc.spec.bfd_port.enabled


def problems(vpc: Vpc) -> list[str]:
    """What is wrong with the port that is asked for."""
    if not _enabled(vpc) or vpc.spec.bfd_port is None or all(map(family, _addresses(vpc.spec.bfd_port))):
        return []
    return [f"ip {vpc.spec.bfd_port.ip!r} in bfdPort is not a list of addresses"]


def obstacles(reader: Reader, vpc: Vpc) -> list[str]:
    """What keeps the port from being made at present."""
    if not _enabled(vpc) or problems(vpc) or reader.query(bfd_nodes, vpc.metadata.name):
        return []
    return ["bfdPort: no node that it selects has a chassis"]


def _possible(reader: Reader, vpc: Vpc) -> bool:
    return not (problems(vpc) or obstacles(reader, vpc))


def _addresses(port: BfdPort) -> list[str]:
    return [part.strip() for part in port.ip.split(",")]


def bfd_port(reader: Reader, vpc: Vpc) -> Iterator[Item]:
    """The port and the chassis that may host it; what there is of one that cannot be made stays."""
    if not _enabled(vpc) or vpc.spec.bfd_port is None:
        return
    router = vpc.metadata.name
    name = bfd_port_name(router)
    if not _possible(reader, vpc):
        yield Hold(port_scope(name))
        return
    yield Row(
        "Logical_Router_Port",
        name,
        {
            "name": name,
            "mac": derived_mac("router-port", name),
            "networks": frozenset(_addresses(vpc.spec.bfd_port)),
            "options": {"bfd-only": "true"},
            "ha_chassis_group": Ref("HA_Chassis_Group", name),
            "external_ids": {"vendor": VENDOR, "lr": router},
        },
        parent=Ref("Logical_Router", router),
    )
    chassis = [reader.query(chassis_of, node) for node in reader.query(bfd_nodes, router)]
    yield from _group(name, chassis)


def _group(name: str, chassis: Sequence[str]) -> Iterator[Item]:
    ids = {"vendor": VENDOR, "lrp": name}
    yield Row("HA_Chassis_Group", name, {"name": name, "external_ids": ids})
    for index, one in enumerate(dict.fromkeys(chassis)):
        yield Row(
            "HA_Chassis",
            (name, one),
            {"chassis_name": one, "priority": 100 - index, "external_ids": {"vendor": VENDOR, "group": name}},
            parent=Ref("HA_Chassis_Group", name),
        )


def bfd_status(reader: Reader, vpc: Vpc) -> BfdPortStatus:
    """The port as it is made; what it was while it cannot be made."""
    if not _enabled(vpc) or vpc.spec.bfd_port is None:
        return BfdPortStatus()
    if not _possible(reader, vpc):
        return vpc.status.bfd_port
    name = vpc.metadata.name
    return BfdPortStatus(name=bfd_port_name(name), ip=vpc.spec.bfd_port.ip, nodes=reader.query(bfd_nodes, name))

"""How a default-VPC subnet's traffic leaves the logical network (spec D.2.3, D.2.4).

Distributed: one port group and policy per node and subnet, so that each pod leaves through its own node. Centralized:
one policy towards the active gateway node's join address, or all of them with ECMP.
"""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.compile.node import NodeView, node_names, node_view
from ovnbridge.compile.options import options
from ovnbridge.compile.subnet import (
    CENTRALIZED,
    DISTRIBUTED,
    SubnetView,
    active_gateways,
    current_gateway,
    gateway_nodes,
    subnet_view,
)
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Item, Row
from ovnbridge.model.address import family, split
from ovnbridge.model.names import set_name, subnet_node_group
from ovnbridge.model.ovn import VENDOR, Ref


def _gateway(reader: Reader, name: str) -> Iterator[Item]:
    view = reader.query(subnet_view, name)
    opts = options(reader)
    if view is None or view.vpc != opts.cluster_router or name == opts.node_switch:
        return
    if not view.is_ovn or not view.logical or reader.get("Vpc", view.vpc) is None:
        return
    if view.gateway_type == DISTRIBUTED:
        for node in reader.query(node_names):
            yield from _distributed(view, reader.query(node_view, node))
    elif view.gateway_type == CENTRALIZED:
        yield from _centralized(reader, view)


def _distributed(view: SubnetView, node: NodeView | None) -> Iterator[Item]:
    if node is None:
        return
    group = subnet_node_group(view.name, node.name)
    ids = {
        "vendor": VENDOR,
        "subnet": view.name,
        "node": node.name,
        "np": f"{view.name}/{node.name}",
    }
    yield Row("Port_Group", group, {"name": group, "external_ids": ids}, members=("ports",))
    for cidr, _ in view.pairs():
        version = family(cidr) or 4
        hop = split(node.join)[0 if version == 4 else 1]
        if hop:
            match = f"ip{version}.src == ${set_name(group)}_ip{version}"
            yield _policy(view, match, {hop}, {"node": node.name})


def _centralized(reader: Reader, view: SubnetView) -> Iterator[Item]:
    names = reader.query(active_gateways, view.name) or reader.query(_standing, view.name)
    nodes = [v for n in names if (v := reader.query(node_view, n)) is not None]
    for cidr, _ in view.pairs():
        version = family(cidr) or 4
        hops = {n.name: hop for n in nodes if (hop := split(n.join)[0 if version == 4 else 1])}
        if hops:
            yield _policy(view, f"ip{version}.src == {cidr}", set(hops.values()), hops)


def _standing(reader: Reader, name: str) -> tuple[str, ...]:
    """Gateway nodes while none is ready: traffic stays where it is, the node's network may well work (memoised)."""
    nodes, view = reader.query(gateway_nodes, name), reader.query(subnet_view, name)
    current = reader.query(current_gateway, name)
    return nodes if view is not None and view.enable_ecmp else tuple(n for n in nodes if n == current)


def _policy(view: SubnetView, match: str, hops: set[str], ids: dict[str, str]) -> Row:
    return Row(
        "Logical_Router_Policy",
        (view.vpc, 29000, match),
        {
            "priority": 29000,
            "match": match,
            "action": "reroute",
            "nexthops": frozenset(hops),
            "external_ids": {"vendor": VENDOR, "subnet": view.name, **ids},
        },
        parent=Ref("Logical_Router", view.vpc),
    )


UNITS = (Unit("gateway", "Subnet", _gateway),)

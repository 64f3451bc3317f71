"""How a default-VPC subnet's traffic leaves the logical network (spec D.2.3, D.2.4).

Distributed: one port group and policy per node and subnet, so that each pod leaves through its own node. Centralized:
one policy towards the active gateway node's join address, or all of them with ECMP.

With `--gateway-groups=node` the distributed subnets share one group and policy per node, so that the rows grow with
nodes + subnets and not with their product; which pods are in is the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.compile.node import NodeView, node_names, node_view
from ovnbridge.compile.options import PER_NODE, PER_SUBNET, options
from ovnbridge.compile.ownership import node_gateway_scope
from ovnbridge.compile.subnet import (
    CENTRALIZED,
    DISTRIBUTED,
    SubnetView,
    active_gateways,
    broken_subnets,
    current_gateway,
    gateway_nodes,
    has_gateways,
    subnet_view,
)
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Hold, Item, Row
from ovnbridge.model.address import family, split
from ovnbridge.model.names import distributed_group, set_name, subnet_node_group
from ovnbridge.model.ovn import VENDOR, Ref


def _gateway(reader: Reader, name: str) -> Iterator[Item]:
    view = reader.query(subnet_view, name)
    opts = options(reader)
    if view is None or not has_gateways(view, opts) or reader.get("Vpc", view.vpc) is None:
        return
    if view.gateway_type == DISTRIBUTED and opts.gateway_groups == PER_SUBNET:
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
            yield _policy(view.vpc, match, {hop}, {"subnet": view.name, "node": node.name})


def _node_gateway(reader: Reader, name: str) -> Iterator[Item]:
    """A node's group and policies for all distributed subnets."""
    opts, node = options(reader), reader.query(node_view, name)
    if node is None:
        return
    if reader.query(broken_subnets, opts.cluster_router):
        yield Hold(node_gateway_scope(name))  # pods of a subnet that cannot be compiled may have no other way out
    if opts.gateway_groups != PER_NODE or reader.get("Vpc", opts.cluster_router) is None:
        return
    group = distributed_group(name)
    ids = {"vendor": VENDOR, "node": name}
    yield Row("Port_Group", group, {"name": group, "external_ids": ids}, members=("ports",))
    for version, hop in zip((4, 6), split(node.join)):
        if hop:
            yield _policy(opts.cluster_router, f"ip{version}.src == ${group}_ip{version}", {hop}, {"node": name})


def _centralized(reader: Reader, view: SubnetView) -> Iterator[Item]:
    names = reader.query(active_gateways, view.name) or reader.query(_standing, view.name)
    nodes = [v for n in names if (v := reader.query(node_view, n)) is not None]
    for cidr, _ in view.pairs():
        version = family(cidr) or 4
        hops = {n.name: hop for n in nodes if (hop := split(n.join)[0 if version == 4 else 1])}
        if hops:
            ids = {"subnet": view.name, **hops}
            yield _policy(view.vpc, f"ip{version}.src == {cidr}", set(hops.values()), ids)


def _standing(reader: Reader, name: str) -> tuple[str, ...]:
    """Gateway nodes while none is ready: traffic stays where it is, the node's network may well work (memoised)."""
    nodes, view = reader.query(gateway_nodes, name), reader.query(subnet_view, name)
    current = reader.query(current_gateway, name)
    return nodes if view is not None and view.enable_ecmp else tuple(n for n in nodes if n == current)


def _policy(router: str, match: str, hops: set[str], ids: dict[str, str]) -> Row:
    return Row(
        "Logical_Router_Policy",
        (router, 29000, match),
        {
            "priority": 29000,
            "match": match,
            "action": "reroute",
            "nexthops": frozenset(hops),
            "external_ids": {"vendor": VENDOR, **ids},
        },
        parent=Ref("Logical_Router", router),
    )


UNITS = (Unit("gateway", "Subnet", _gateway), Unit("node-gateway", "Node", _node_gateway))

"""Underlay subnets that are connected to their VPC's router: the router's address in the subnet, its policies and the
address sets that they name (spec D.2.3 "u2o").

A unit of its own, so that a node that comes or goes does not recompute switches.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ovnbridge.compile.node import NodeView, node_names, node_view
from ovnbridge.compile.options import Options, options, service_cidrs
from ovnbridge.compile.subnet import SubnetView, leaving, subnet_view
from ovnbridge.compile.subnet_spec import accepted_spec, described
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Claim, Event, Item, Row
from ovnbridge.ipam import AddressRequest, Refusal
from ovnbridge.model.address import family, split
from ovnbridge.model.crd.subnet import SubnetSpec
from ovnbridge.model.names import named_set, overlay_set, subnet_node_group, u2o_owner
from ovnbridge.model.ovn import VENDOR, Ref

OWNER_NAMESPACE = "default"
"""Namespace that the IP objects of a subnet's own addresses name (spec D.2)."""


def _u2o(reader: Reader, name: str) -> Iterator[Item]:
    view = reader.query(subnet_view, name)
    subnet, spec = reader.query(described, name), reader.query(accepted_spec, name)
    if view is None or not view.u2o or not view.is_ovn or not isinstance(spec, SubnetSpec):
        return
    if reader.get("Vpc", view.vpc) is None or subnet is None:
        return
    if reader.query(leaving, name):
        return
    owner = u2o_owner(view.vpc, name)
    yield claim(owner, name, spec.u2o_interconnection_ip)
    yield from refused(reader, owner, name)
    if not view.u2o_ip:
        return
    opts = options(reader)
    if not view.logical:
        nodes = [v for n in reader.query(node_names) if (v := reader.query(node_view, n)) is not None]
        yield from _excluded(view, nodes)
        yield from _policies(view, opts)
        if ungrouped(view, opts):
            for node in nodes:
                yield from _without_load_balancer(reader, view, node)


def claim(owner: str, subnet: str, addresses: str) -> Claim:
    """The claim for one of a subnet's own addresses; `addresses`: a static one (`v4`, `v6` or both), or ""."""
    return Claim(
        owner,
        AddressRequest(
            subnets=(subnet,),
            addresses=(addresses,) if addresses else (),
            amend=True,
            pod=owner,
            namespace=OWNER_NAMESPACE,
        ),
    )


def refused(reader: Reader, owner: str, subnet: str) -> Iterator[Item]:
    """Says on the subnet why there is no address for it."""
    refusal = reader.get("Refusal", owner)
    if isinstance(refusal, Refusal):
        message = f"{owner}: {refusal.reason}: {refusal.message}"
        yield Event("Subnet", subnet, "Warning", "AcquireAddressFailed", message)


def ungrouped(view: SubnetView, opts: Options) -> bool:
    """Whether pods reach Services through their node, since no load balancer is on the switch; they are then in the
    group of their subnet and node (spec D.2.3 "u2o without LB")."""
    lacks = not (view.enable_lb and opts.enable_lb)
    return lacks and bool(view.u2o_ip) and not view.logical and view.vpc == opts.cluster_router


def _excluded(view: SubnetView, nodes: list[NodeView]) -> Iterator[Item]:
    """Nodes' own addresses, which underlay pods reach through the physical network."""
    for version in (4, 6):
        name = _exclude_set(view, version)
        found = frozenset(part for node in nodes if (part := split(node.internal)[0 if version == 4 else 1]))
        ids = {"vendor": VENDOR, "subnet": view.name, "isU2ORoutePolicy": "true"}
        yield Row("Address_Set", name, {"name": name, "addresses": found, "external_ids": ids})


def _exclude_set(view: SubnetView, version: int) -> str:
    return named_set(view.name, f"u2o_exclude_ip.ip{version}")


def _policies(view: SubnetView, opts: Options) -> Iterator[Item]:
    ids = {"vendor": VENDOR, "subnet": view.name, "isU2ORoutePolicy": "true"}
    if view.overlay_only:
        ids["isU2OOverlayOnlyRoutePolicy"] = "true"
    default = view.vpc == opts.cluster_router
    for cidr, gateway in view.pairs():
        version = family(cidr) or 4
        if version not in map(family, view.u2o_ip.split(",")):
            continue
        source, target = f"ip{version}.src == {cidr}", f"ip{version}.dst == {cidr}"
        overlay = overlay_set(view.vpc, version)
        if default or view.overlay_only:
            nodes = f"ip{version}.dst == ${_exclude_set(view, version)} && {source}"
            yield _policy(view, 31000, nodes, gateway, ids)
        if view.overlay_only:
            yield _policy(view, 30060, f"{source} && {target}", "", ids)
            # Kube-OVN's own tests have this one without the mark of the others; who takes over changes neither.
            yield msgspec.structs.replace(_policy(view, 30050, source, gateway, ids), initial=("external_ids",))
            yield _policy(view, 29400, f"ip{version}.src == ${overlay} && {target}", "", ids)
        else:
            if default:
                yield _policy(view, 29400, target, "", ids)
            yield _policy(view, 29000, source, gateway, ids)


def _policy(view: SubnetView, priority: int, match: str, hop: str, ids: dict[str, str]) -> Row:
    return Row(
        "Logical_Router_Policy",
        (view.vpc, priority, match),
        {
            "priority": priority,
            "match": match,
            "action": "reroute" if hop else "allow",
            "nexthops": frozenset({hop}) if hop else frozenset(),
            "external_ids": ids,
        },
        parent=Ref("Logical_Router", view.vpc),
    )


def _without_load_balancer(reader: Reader, view: SubnetView, node: NodeView) -> Iterator[Item]:
    group = subnet_node_group(view.name, node.name)
    ids = {"vendor": VENDOR, "lr": view.vpc, "ls": view.name, "u2o": "true"}
    yield Row("Port_Group", group, {"name": group, "external_ids": ids}, members=("ports",))
    families = {family(cidr) for cidr, _ in view.pairs()}
    for service in reader.query(service_cidrs):
        version = family(service)
        hop = split(node.join)[0 if version == 4 else 1]
        if version in families and hop:
            match = f"ip{version}.src == ${group}_ip{version} && ip{version}.dst == {service}"
            more = {"isU2ORoutePolicy": "true", "isU2ONoLBRoutePolicy": "true", "node": node.name, "svcCidr": service}
            yield _policy(view, 29400, match, hop, {"vendor": VENDOR, "subnet": view.name, **more})


UNITS = (Unit("u2o", "Subnet", _u2o),)

"""What leads traffic out of subnets: policies, their sets and groups (D.2.3, D.2.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tests.oracle import addresses, pods, subnets
from tests.oracle.addresses import family, parts
from tests.oracle.rows import Ref, Row, dotted, row
from tests.oracle.subnets import cidrs, gateway
from tests.oracle.world import OVN, Json, World, internal_ip, name, notes, spec


def policy(vpc: str, priority: int, match: str, hops: Iterable[str] = (), **ids: str) -> Row:
    columns: dict[str, Any] = {"priority": priority, "match": match, "action": "allow"}
    if hops := list(hops):
        columns |= {"action": "reroute", "nexthops": hops}
    return row("Logical_Router_Policy", ("Logical_Router", vpc, "policies"), ids, **columns)


def allow(subnet: Json, world: World) -> Iterator[Row]:
    vpc = spec(subnet)["vpc"]
    if subnets.logical(subnet) or (subnets.u2o(subnet) and vpc != world.flags.cluster_router):
        for cidr in cidrs(subnet):
            yield policy(vpc, 31000, f"ip{family(cidr)}.dst == {cidr}", subnet=name(subnet))


def u2o(subnet: Json, world: World) -> Iterator[Row]:
    if not subnets.u2o(subnet):
        return
    vpc, called = spec(subnet)["vpc"], name(subnet)
    default, only = vpc == world.flags.cluster_router, subnets.overlay_only(subnet)
    ids = {"subnet": called, "isU2ORoutePolicy": "true"}
    sets = dotted(f"{called}.u2o_exclude_ip.ip")
    for version in (4, 6):
        internal = [ip for node in world.nodes() if (ip := internal_ip(node, version))]
        yield row("Address_Set", name=f"{sets}{version}", addresses=internal, ids=ids)
    if only:
        ids |= {"isU2OOverlayOnlyRoutePolicy": "true"}
    for cidr in cidrs(subnet):
        ip, hop = f"ip{family(cidr)}", [gateway(subnet, cidr)]
        own = f"{ip}.src == {cidr}"
        if default or only:
            yield policy(vpc, 31000, f"{ip}.dst == ${sets}{family(cidr)} && {own}", hop, **ids)
        if only:
            yield policy(vpc, 30060, f"{own} && {ip}.dst == {cidr}", **ids)
            yield policy(vpc, 30050, own, hop, **ids)
            overlay = f"{ip}.src == ${dotted(vpc)}.u2o_overlay_cidrs.{ip}"
            yield policy(vpc, 29400, f"{overlay} && {ip}.dst == {cidr}", **ids)
        else:
            yield policy(vpc, 29000, own, hop, **ids)
            if default:
                yield policy(vpc, 29400, f"{ip}.dst == {cidr}", **ids)


def service_cidrs(world: World) -> list[str]:
    """E.12."""
    found = parts(world.flags.service_cluster_ip_range)
    return list(dict.fromkeys(found + [c for s in world.of("servicecidrs") for c in spec(s)["cidrs"]]))


def u2o_without_balancers(subnet: Json, world: World) -> Iterator[Row]:
    if not subnets.u2o_without_balancers(subnet, world.flags):
        return
    vpc, called = spec(subnet)["vpc"], name(subnet)
    for node in world.nodes():
        group = dotted(f"{called}.{name(node)}")
        yield row("Port_Group", name=group, ports=members(world, group), ids={"lr": vpc, "ls": called, "u2o": "true"})
        ids = {"subnet": called, "isU2ORoutePolicy": "true", "isU2ONoLBRoutePolicy": "true", "node": name(node)}
        for services in service_cidrs(world):
            version = family(services)
            hop = join_address(node, version)
            if hop and any(family(c) == version for c in cidrs(subnet)):
                match = f"ip{version}.src == ${group}_ip{version} && ip{version}.dst == {services}"
                yield policy(vpc, 29400, match, [hop], svcCidr=services, **ids)


def join_address(node: Json, version: int) -> str:
    return addresses.of_family(notes(node)[f"{OVN}/ip_address"], version)


def distributed(subnet: Json, world: World) -> Iterator[Row]:
    if not subnets.distributed(subnet, world.flags):
        return
    for node in world.nodes():
        ids = {"subnet": name(subnet), "node": name(node)}
        group = dotted(f"{name(subnet)}.{name(node)}")
        about = {**ids, "np": f"{name(subnet)}/{name(node)}"}
        yield row("Port_Group", name=group, ports=members(world, group), ids=about)
        for version in map(family, cidrs(subnet)):
            if hop := join_address(node, version):
                match = f"ip{version}.src == ${group}_ip{version}"
                yield policy(spec(subnet)["vpc"], 29000, match, [hop], **ids)


def centralized(subnet: Json, world: World) -> Iterator[Row]:
    if not subnets.centralized(subnet, world.flags):
        return
    able = {name(node): node for node in world.nodes()}
    for cidr in cidrs(subnet):
        hops = {one: join_address(able[one], family(cidr)) for one in subnets.active_nodes(subnet, world)}
        hops = {one: hop for one, hop in hops.items() if hop}
        if hops:
            match = f"ip{family(cidr)}.src == {cidr}"
            yield policy(spec(subnet)["vpc"], 29000, match, hops.values(), subnet=name(subnet), **hops)


def members(world: World, group: str) -> list[Ref]:
    """Ports of a node's group or of a distributed subnet's (D.3, second stage)."""
    found = []
    for pod in pods.served(world):
        node = spec(pod).get("nodeName", "")
        for net in pods.nets(pod, world) if node else ():
            if group in set(_groups(pod, net, node, world)):
                found.append(Ref("Logical_Switch_Port", pods.port_name(pod, net, world)))
    return found


def _groups(pod: Json, net: pods.Net, node: str, world: World) -> Iterator[str]:
    subnet, flags = net.subnet, world.flags
    if not subnets.in_default_vpc(subnet, flags):
        return
    elsewhere = _translated(pod, world) or notes(pod).get(f"{OVN}/north_gateway")
    if subnets.logical(subnet):
        if probed(pod, world):
            yield dotted(f"node.{node}")
        if subnets.distributed(subnet, flags) and not elsewhere:
            yield dotted(f"{name(subnet)}.{node}")
    elif subnets.u2o_without_balancers(subnet, flags):
        yield dotted(f"{name(subnet)}.{node}")


def probed(pod: Json, world: World) -> bool:
    """Whether all ports of a pod are put into its node's group every minute (D.4); those of others are taken out.

    Only ports that also D.3 puts there are in it from the start (parity 07): the others are there or are not.
    """
    first = pods.nets(pod, world)[0]
    own = subnets.in_default_vpc(first.subnet, world.flags) or bool(spec(first.subnet).get("vlan"))
    return first.provider == "ovn" and own


def _translated(pod: Json, world: World) -> bool:
    return world.flags.enable_eip_snat and any(notes(pod).get(f"{OVN}/{key}") for key in ("eip", "snat"))


def north(pod: Json, net: pods.Net, own: str, world: World) -> Iterator[Row]:
    hop, subnet = notes(pod).get(f"{OVN}/north_gateway"), net.subnet
    if _translated(pod, world):
        return
    if hop and net.provider == "ovn" and spec(pod).get("nodeName") and pod not in world.gone:
        for address in parts(own):
            if (
                family(address) == family(hop)
                and subnets.in_default_vpc(subnet, world.flags)
                and subnets.logical(subnet)
            ):
                match = f"ip{family(address)}.src == {address}"
                yield policy(spec(subnet)["vpc"], 29250, match, [hop], subnet=name(subnet))

"""Kube-OVN's metrics of subnets (spec E.8): what their objects, the ledger and OVN say when a page is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from ovnbridge.compile.lease import eip_owner, vip_owner
from ovnbridge.compile.options import Options
from ovnbridge.compile.subnet_spec import CENTRALIZED
from ovnbridge.controller.state import ControllerState
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.names import MCAST_PREFIX, U2O_PREFIX
from ovnbridge.observe.metrics import Metrics

_Sample: TypeAlias = tuple[tuple[str, ...], float]


async def publish(metrics: Metrics, state: ControllerState) -> None:
    """Put all of them on the page, in place of those of the last time."""
    subnets = [subnet for name in sorted(state.world.keys("Subnet")) if (subnet := _validated(state, name)) is not None]
    counts = ("subnet_name", "protocol", "subnet_cidr")
    await metrics.family("subnet_available_ip_count", "Addresses not yet given", counts, map(_available, subnets))
    await metrics.family("subnet_used_ip_count", "Addresses in use", counts, map(_used, subnets))
    await metrics.family(
        "centralized_subnet_info",
        "Where traffic of a centralized subnet leaves",
        ("subnet_name", "enable_ecmp", "gateway_node", "active_gateway", "match", "nexthops"),
        (sample for subnet in subnets for sample in _gateways(state, subnet)),
    )
    await metrics.family(
        "subnet_ipam_info",
        "Ranges of a subnet's addresses",
        ("subnet_name", "cidr", "free", "reserved", "available", "using"),
        (sample for subnet in subnets for sample in _ranges(state, subnet)),
    )
    await metrics.family(
        "subnet_ip_assign_info",
        "Who has an address",
        ("subnet_name", "ip", "pod_name"),
        (sample for subnet in subnets for sample in _assigned(state, subnet.metadata.name)),
    )


def _validated(state: ControllerState, name: str) -> Subnet | None:
    subnet = state.world.get("Subnet", name)
    if not isinstance(subnet, Subnet):
        return None
    return subnet if any(c.type == "Validated" and c.status == "True" for c in subnet.status.conditions) else None


def _place(subnet: Subnet) -> tuple[str, ...]:
    return subnet.metadata.name, subnet.spec.protocol, subnet.spec.cidr_block


def _available(subnet: Subnet) -> _Sample:
    counts = (subnet.status.v4_available_ips, subnet.status.v6_available_ips)
    cidrs = address.split(subnet.spec.cidr_block)
    return _place(subnet), min((count for count, cidr in zip(counts, cidrs) if cidr), default=0)


def _used(subnet: Subnet) -> _Sample:
    return _place(subnet), max(subnet.status.v4_using_ips, subnet.status.v6_using_ips)


def _gateways(state: ControllerState, subnet: Subnet) -> Iterator[_Sample]:
    spec, opts = subnet.spec, state.world.get("Options", "") or Options()
    if spec.gateway_type != CENTRALIZED:
        return
    for version, cidr in zip((4, 6), address.split(spec.cidr_block)):
        match = f"ip{version}.src == {cidr}"
        row = state.replica.find("Logical_Router_Policy", (opts.cluster_router, 29000, match)) if cidr else None
        if row is not None and spec.vpc == opts.cluster_router:
            hops: Iterable[str] = row.columns.get("nexthops") or ()
            ecmp = str(spec.enable_ecmp).lower()
            name, active = subnet.metadata.name, subnet.status.activate_gateway
            yield (name, ecmp, spec.gateway_node, active, match, ",".join(sorted(hops))), 1


def _ranges(state: ControllerState, subnet: Subnet) -> Iterator[_Sample]:
    name = subnet.metadata.name
    cidrs: dict[int, str] = dict(zip((4, 6), address.split(subnet.spec.cidr_block)))
    for version, texts in state.reactor.allocator.ledger.texts(name).items():
        yield (name, cidrs[version], *texts), 1


def _assigned(state: ControllerState, name: str) -> Iterator[_Sample]:
    ledger = state.reactor.allocator.ledger
    for owner in list(ledger.owners_in(name)):
        lease = ledger.lease(owner)
        for text in (lease.v4, lease.v6) if lease is not None else ():
            if text:
                yield (name, text, _holder(state, owner)), 1


def _holder(state: ControllerState, owner: str) -> str:
    """Who has an address, as Kube-OVN calls it (spec C.1): a pod with its namespace, everything else by its name."""
    for kind in (vip_owner(""), eip_owner("")):
        if owner.startswith(kind):
            return owner.removeprefix(kind)
    ip = state.world.get("IP", owner)
    if isinstance(ip, IP) and ip.spec.namespace and not owner.startswith((U2O_PREFIX, MCAST_PREFIX)):
        return f"{ip.spec.namespace}/{ip.spec.pod_name}"
    return owner

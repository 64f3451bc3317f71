"""Vpc → logical router, load balancers, and what hangs on them; status and deletion (spec A.2, D.5, D.9, F.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ovnbridge.compile import bfd, vpc_external, vpc_peering, vpc_routes
from ovnbridge.compile.options import PROTOCOLS, Options, options
from ovnbridge.compile.ownership import vpc_scope
from ovnbridge.compile.subnet import SubnetView, broken_subnets, connects_underlay, subnet_view, subnets_of_vpc
from ovnbridge.compile.subnet_spec import described
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Event, Finalizer, Hold, Item, Member, Row, Status
from ovnbridge.engine.world import Index
from ovnbridge.model.address import split
from ovnbridge.model.crd.vpc import Vpc, VpcStatus
from ovnbridge.model.names import FINALIZER, overlay_set
from ovnbridge.model.ovn import VENDOR

EXTERNAL_VPC = "ovn.kubernetes.io/vpc_external"
"""Label of Vpc objects that show routers which somebody else made."""


def _vpc(reader: Reader, name: str) -> Iterator[Item]:
    vpc = reader.get("Vpc", name)
    if not isinstance(vpc, Vpc):
        return
    if vpc.metadata.label(EXTERNAL_VPC) == "true":
        yield Hold(vpc_scope(name))  # somebody else's router, of which the object is only an image (spec E.9)
        if vpc.metadata.deleting:
            yield Finalizer("Vpc", name, FINALIZER, present=False)  # from the time before it had the label
        return
    opts = options(reader)
    subnets = [v for s in reader.query(subnets_of_vpc, name) if (v := reader.query(subnet_view, s)) is not None]
    broken = reader.query(broken_subnets, name)
    users = sorted([*(s.name for s in subnets if s.is_ovn), *broken])
    if vpc.metadata.deleting and not users and name != opts.cluster_router:
        yield Finalizer("Vpc", name, FINALIZER, present=False)
        return
    yield Finalizer("Vpc", name, FINALIZER)
    if vpc.metadata.deleting:
        yield _refusal(vpc, opts, users)
    wrong = [*vpc_routes.problems(vpc), *vpc_peering.problems(reader, vpc), *bfd.problems(vpc)]
    if wrong:
        yield Hold(vpc_scope(name))
        yield Event("Vpc", name, "Warning", "ValidateVpcFailed", "; ".join(wrong))
    missing = [
        *vpc_routes.obstacles(reader, vpc),
        *bfd.obstacles(reader, vpc),
        *vpc_external.obstacles(reader, vpc, opts),
    ]
    if missing:  # nothing is wrong with the VPC: what cannot be made yet is held by itself
        yield Event("Vpc", name, "Warning", "VpcIncomplete", "; ".join(missing))
    yield _router(vpc, u2o=reader.query(connects_underlay, name))
    if opts.enable_lb:
        yield from _load_balancers(reader, name, opts)
    peered = vpc_peering.peerings(reader, vpc)
    yield from vpc_routes.static_routes(reader, vpc, opts, subnets)
    yield from vpc_routes.policy_routes(vpc)
    yield from vpc_peering.peering_ports(vpc, peered)
    yield from vpc_external.external_ports(reader, vpc)
    yield from bfd.bfd_port(reader, vpc)
    if broken:  # their routes by source are not told apart
        yield Hold(vpc_scope(name))
    yield from _overlay_cidrs(name, subnets, complete=not broken)
    yield _status(reader, vpc, opts, users, tuple(peered))


def _refusal(vpc: Vpc, opts: Options, users: list[str]) -> Event:
    """Why a VPC that somebody deleted is still there (spec F.6)."""
    name = vpc.metadata.name
    why = "it is the default VPC" if name == opts.cluster_router else f"it has subnets: {', '.join(users)}"
    return Event("Vpc", name, "Warning", "DeleteVpcFailed", f"vpc {name} cannot be deleted, {why}")


def _router(vpc: Vpc, *, u2o: bool) -> Row:
    values = {"mac_binding_age_threshold": "300", "dynamic_neigh_routers": "true"}
    learns = vpc.spec.enable_external or vpc.spec.vpc_peerings or u2o
    if not learns:
        values["always_learn_from_arp_request"] = "false"
    name = vpc.metadata.name
    return Row("Logical_Router", name, {"name": name, "options": values, "external_ids": {"vendor": VENDOR}})


def _load_balancers(reader: Reader, vpc: str, opts: Options) -> Iterator[Item]:
    fields = frozenset(
        field for field in ("ip_src", "ipv6_src") if reader.get("Schema", f"Load_Balancer.selection_fields:{field}")
    )
    for protocol in PROTOCOLS:
        for session in (False, True):
            name = opts.load_balancer(vpc, protocol, session)
            values = {"prefer_local_backend": str(opts.prefer_local_backend).lower()}
            if session:
                values["affinity_timeout"] = "10800"
            elif protocol == "udp":
                values["ct_flush"] = "true"
            yield Row(
                "Load_Balancer",
                name,
                {
                    "name": name,
                    "protocol": protocol,
                    "options": values,
                    "selection_fields": fields if session else frozenset(),
                    "external_ids": {"vendor": VENDOR},
                },
            )


def _overlay_cidrs(vpc: str, subnets: list[SubnetView], *, complete: bool) -> Iterator[Item]:
    """Address sets of all overlay CIDRs of the VPC (spec D.2.3, last paragraph); `complete`: all of them are known.

    There are empty ones where only policies of underlay subnets name them, which a missing set would make invalid.
    """
    members = ("addresses",) if complete else ()
    if not any(s.is_ovn and (not s.vlan or (s.u2o and s.overlay_only)) for s in subnets):
        return
    for version in (4, 6):
        name = overlay_set(vpc, version)
        ids = {"vendor": VENDOR, "isU2OOverlayCIDRs": "true", "vpc": vpc}
        yield Row("Address_Set", name, {"name": name, "external_ids": ids}, members=members)
        for subnet in subnets:
            cidr = split(subnet.cidr_block)[0 if version == 4 else 1]
            if subnet.is_ovn and not subnet.vlan and cidr:
                yield Member("Address_Set", name, "addresses", cidr)


def _status(reader: Reader, vpc: Vpc, opts: Options, subnets: list[str], peered: tuple[str, ...]) -> Status:
    name = vpc.metadata.name
    names: dict[str, Any] = {
        f"{protocol}{'_session' if session else ''}_load_balancer": opts.load_balancer(name, protocol, session)
        for protocol in PROTOCOLS
        if opts.enable_lb
        for session in (False, True)
    }
    value = VpcStatus(
        conditions=vpc.status.conditions,
        standby=True,
        default=name == opts.cluster_router,
        default_logical_switch=reader.query(default_switch, name),
        router=name,
        subnets=tuple(subnets),
        vpc_peerings=peered,
        bfd_port=bfd.bfd_status(reader, vpc),
        **vpc_external.external_status(reader, vpc, opts),
        **names,
    )
    return Status("Vpc", name, value)


def preferred_subnet(reader: Reader, name: str) -> str:
    """A custom VPC's `spec.defaultSubnet`, "" for the default VPC (memoised question)."""
    vpc = reader.get("Vpc", name)
    return vpc.spec.default_subnet if isinstance(vpc, Vpc) and name != options(reader).cluster_router else ""


def default_switch(reader: Reader, vpc: str) -> str:
    """A VPC's subnet for namespaces that nothing else is said for (spec D.5), "" for none (memoised question).

    `spec.defaultSubnet` counts once it is a subnet of the VPC, also while it cannot be compiled.
    """
    preferred = reader.query(preferred_subnet, vpc)
    described_as = reader.query(described, preferred) if preferred else None
    if described_as is None or described_as.spec.vpc != vpc:
        preferred = ""
    views = (reader.query(subnet_view, name) for name in reader.query(subnets_of_vpc, vpc))
    return preferred or next((view.name for view in views if view is not None and view.default), "")


def vpc_of_namespace(reader: Reader, namespace: str) -> str:
    """The VPC that a namespace is bound to by `vpc.spec.namespaces`, else the default VPC (memoised question)."""
    bound = reader.by("vpc-namespaces", namespace)
    return bound[0] if bound else options(reader).cluster_router


def _namespaces(vpc: Vpc) -> tuple[str, ...]:
    return vpc.spec.namespaces


INDEXES = (Index("vpc-namespaces", "Vpc", _namespaces),)
UNITS = (Unit("vpc", "Vpc", _vpc),)

"""Vpc → logical router, load balancers, static routes, user policies, status (spec A.2, D.5, D.9)."""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.compile.options import PROTOCOLS, Options, options
from ovnbridge.compile.ownership import vpc_scope
from ovnbridge.compile.subnet import SubnetView, broken_subnets, connects_underlay, subnet_view, subnets_of_vpc
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Event, Finalizer, Hold, Item, Member, Row, Status
from ovnbridge.engine.world import Index
from ovnbridge.model.address import family, host_family, split
from ovnbridge.model.crd.vpc import PolicyRoute, StaticRoute, Vpc, VpcStatus
from ovnbridge.model.names import FINALIZER, set_name
from ovnbridge.model.ovn import VENDOR, Ref

_ROUTE_POLICY = {"": "dst-ip", "policyDst": "dst-ip", "policySrc": "src-ip"}


def _vpc(reader: Reader, name: str) -> Iterator[Item]:
    vpc = reader.get("Vpc", name)
    if not isinstance(vpc, Vpc):
        return
    opts = options(reader)
    subnets = [v for s in reader.query(subnets_of_vpc, name) if (v := reader.query(subnet_view, s)) is not None]
    broken = reader.query(broken_subnets, name)
    if vpc.metadata.deleting and not subnets and not broken and name != opts.cluster_router:
        yield Finalizer("Vpc", name, FINALIZER, present=False)
        return
    yield Finalizer("Vpc", name, FINALIZER)
    problems = [*filter(None, map(_route_problem, vpc.spec.static_routes))]
    problems += filter(None, map(_policy_problem, vpc.spec.policy_routes))
    if problems:
        yield Hold(vpc_scope(name))
        yield Event("Vpc", name, "Warning", "ValidateVpcFailed", "; ".join(problems))
    yield _router(vpc, u2o=reader.query(connects_underlay, name))
    if opts.enable_lb:
        yield from _load_balancers(reader, name, opts)
    yield from _static_routes(reader, vpc, opts, subnets)
    yield from _policies(vpc)
    yield from _overlay_cidrs(name, subnets, complete=not broken)
    yield _status(reader, vpc, opts, sorted([*(s.name for s in subnets if s.is_ovn), *broken]))


def _route_problem(route: StaticRoute) -> str:
    """What is wrong with a static route (spec F.2), or ""."""
    if route.policy not in _ROUTE_POLICY:
        return f"{route.policy!r} in staticRoutes is neither policyDst nor policySrc"
    if family(route.cidr) is None:
        return f"{route.cidr!r} in staticRoutes is neither a CIDR nor an address"
    if host_family(route.next_hop_ip) is None:
        return f"nextHopIP {route.next_hop_ip!r} in staticRoutes is not an address"
    return ""


def _policy_problem(route: PolicyRoute) -> str:
    """What is wrong with a policy route (spec F.2), or ""."""
    if route.action not in ("allow", "drop", "reroute"):
        return f"{route.action!r} in policyRoutes is none of allow, drop, reroute"
    if route.action == "reroute" and not all(host_family(hop.strip()) for hop in route.next_hop_ip.split(",")):
        return f"nextHopIP {route.next_hop_ip!r} in policyRoutes is not a list of addresses"
    return ""


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


def _static_routes(reader: Reader, vpc: Vpc, opts: Options, subnets: list[SubnetView]) -> Iterator[Item]:
    router = vpc.metadata.name
    wanted: dict[tuple[str, str, str, str], None] = {}
    for route in vpc.spec.static_routes:
        if not _route_problem(route):
            wanted[(route.route_table, _ROUTE_POLICY[route.policy], route.cidr, route.next_hop_ip)] = None
    if router == opts.cluster_router:
        join = reader.query(subnet_view, opts.node_switch)
        tables = dict.fromkeys(["", *(route.route_table for route in vpc.spec.static_routes)])
        for gateway in join.gateway.split(",") if join is not None else ():
            prefix = "0.0.0.0/0" if family(gateway) == 4 else "::/0"
            for table in tables:
                wanted[(table, "dst-ip", prefix, gateway)] = None
    else:
        for subnet in subnets:
            if not subnet.is_ovn or not subnet.needs_router:
                continue
            for cidr, gateway in subnet.pairs():
                wanted[("", "src-ip", cidr, gateway)] = None
                wanted[(subnet.route_table, "src-ip", cidr, gateway)] = None
    for table, policy, prefix, nexthop in wanted:
        yield Row(
            "Logical_Router_Static_Route",
            (router, table, policy, prefix, nexthop),
            {
                "ip_prefix": prefix,
                "nexthop": nexthop,
                "policy": policy,
                "route_table": table,
                "external_ids": {"vendor": VENDOR},
            },
            parent=Ref("Logical_Router", router),
        )


def _policies(vpc: Vpc) -> Iterator[Item]:
    router = vpc.metadata.name
    for route in vpc.spec.policy_routes:
        if _policy_problem(route):
            continue
        hops = route.next_hop_ip.split(",") if route.action == "reroute" else []
        yield Row(
            "Logical_Router_Policy",
            (router, route.priority, route.match),
            {
                "priority": route.priority,
                "match": route.match,
                "action": route.action,
                "nexthops": frozenset(hop.strip() for hop in hops),
                "external_ids": {"vendor": VENDOR},
            },
            parent=Ref("Logical_Router", router),
        )


def _overlay_cidrs(vpc: str, subnets: list[SubnetView], *, complete: bool) -> Iterator[Item]:
    """Address sets of all overlay CIDRs of the VPC (spec D.2.3, last paragraph); `complete`: all of them are known."""
    members = ("addresses",) if complete else ()
    if not any(s.is_ovn and not s.vlan for s in subnets):
        return
    for version in (4, 6):
        name = set_name(f"{vpc}.u2o_overlay_cidrs.ip{version}")
        ids = {"vendor": VENDOR, "isU2OOverlayCIDRs": "true", "vpc": vpc}
        yield Row("Address_Set", name, {"name": name, "external_ids": ids}, members=members)
        for subnet in subnets:
            cidr = split(subnet.cidr_block)[0 if version == 4 else 1]
            if subnet.is_ovn and not subnet.vlan and cidr:
                yield Member("Address_Set", name, "addresses", cidr)


def _status(reader: Reader, vpc: Vpc, opts: Options, subnets: list[str]) -> Status:
    name = vpc.metadata.name
    names = {f"{p}{'_session' if s else ''}_load_balancer": opts.load_balancer(name, p, s) if opts.enable_lb else ""
             for p in PROTOCOLS for s in (False, True)}  # fmt: skip
    value = VpcStatus(
        conditions=vpc.status.conditions,
        standby=True,
        default=name == opts.cluster_router,
        default_logical_switch=reader.query(default_switch, name),
        router=name,
        subnets=tuple(subnets),
        vpc_peerings=vpc.status.vpc_peerings,
        enable_external=vpc.status.enable_external,
        extra_external_subnets=vpc.status.extra_external_subnets,
        enable_bfd=vpc.status.enable_bfd,
        bfd_port=vpc.status.bfd_port,
        **names,
    )
    return Status("Vpc", name, value)


def preferred_subnet(reader: Reader, name: str) -> str:
    """A custom VPC's `spec.defaultSubnet`, "" for the default VPC (memoised question)."""
    vpc = reader.get("Vpc", name)
    return vpc.spec.default_subnet if isinstance(vpc, Vpc) and name != options(reader).cluster_router else ""


def default_switch(reader: Reader, vpc: str) -> str:
    """A VPC's subnet for namespaces that nothing else is said for (spec D.5), "" for none (memoised question)."""
    preferred = reader.query(preferred_subnet, vpc)
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

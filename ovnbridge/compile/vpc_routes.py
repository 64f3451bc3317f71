"""Static routes and routing policies of a VPC's router, with their validation (spec A.2, D.5, F.2).

Both are what the user says plus what the VPC itself needs: the default VPC's way to the nodes, a custom VPC's routes by
source. Policies of subnets and nodes are other units'.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from typing import Final

from ovnbridge.compile.options import Options
from ovnbridge.compile.ownership import route_scope
from ovnbridge.compile.subnet import SubnetView, subnet_view
from ovnbridge.engine.engine import Reader
from ovnbridge.engine.items import Hold, Item, Row
from ovnbridge.model.address import family, host_family
from ovnbridge.model.crd.vpc import PolicyRoute, StaticRoute, Vpc
from ovnbridge.model.ovn import VENDOR, Columns, Ref

BFD_SESSIONS: Final = "BfdSession"
"""World table: UUIDs of the BFD rows in NB, which a route may name."""

_ROUTE_POLICY: Final = {"": "dst-ip", "policyDst": "dst-ip", "policySrc": "src-ip"}
_SYMMETRIC: Final = "ecmp_symmetric_reply"
_HIGHEST_PRIORITY: Final = 32767
_EVERYWHERE: Final = {4: "0.0.0.0/0", 6: "::/0", None: ""}
_PLAIN: Final[Columns] = {"bfd": None, "options": {}}


def route_problem(route: StaticRoute) -> str:
    """What is wrong with a static route, or ""."""
    if route.policy not in _ROUTE_POLICY:
        return f"{route.policy!r} in staticRoutes is neither policyDst nor policySrc"
    if family(route.cidr) is None:
        return f"{route.cidr!r} in staticRoutes is neither a CIDR nor an address"
    if host_family(route.next_hop_ip) is None:
        return f"nextHopIP {route.next_hop_ip!r} in staticRoutes is not an address"
    if route.ecmp_mode not in ("", _SYMMETRIC):
        return f"ecmpMode {route.ecmp_mode!r} in staticRoutes is not {_SYMMETRIC}"
    if route.bfd_id and not _is_uuid(route.bfd_id):
        return f"bfdId {route.bfd_id!r} in staticRoutes is not a UUID"
    return ""


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _waits(reader: Reader, route: StaticRoute) -> bool:
    """Whether the BFD session that a route needs is not there. OVSDB would drop the reference to it without a word, and
    the route would be used although its next hop is down."""
    return bool(route.bfd_id) and reader.get(BFD_SESSIONS, route.bfd_id) is None


def obstacles(reader: Reader, vpc: Vpc) -> list[str]:
    """What keeps routes from being made at present."""
    waiting = [r for r in vpc.spec.static_routes if not route_problem(r) and _waits(reader, r)]
    return [f"no BFD session has the UUID {route.bfd_id}: the route to {route.cidr} waits" for route in waiting]


def policy_problem(route: PolicyRoute) -> str:
    """What is wrong with a policy route, or ""."""
    if route.action not in ("allow", "drop", "reroute"):
        return f"{route.action!r} in policyRoutes is none of allow, drop, reroute"
    if not 0 <= route.priority <= _HIGHEST_PRIORITY:
        return f"priority {route.priority} in policyRoutes is not between 0 and {_HIGHEST_PRIORITY}"
    if not route.match.strip():
        return "match in policyRoutes is empty"
    if route.action == "reroute" and not all(map(host_family, _hops(route))):
        return f"nextHopIP {route.next_hop_ip!r} in policyRoutes is not a list of addresses"
    return ""


def problems(vpc: Vpc) -> list[str]:
    """What is wrong with the routes of a VPC, as far as the spec alone says it."""
    found = [text for route in vpc.spec.static_routes if (text := route_problem(route))]
    found += filter(None, map(policy_problem, vpc.spec.policy_routes))
    actions: dict[tuple[int, str], tuple[str, tuple[str, ...]]] = {}
    for route in vpc.spec.policy_routes:
        effect = (route.action, _hops(route))
        if actions.setdefault((route.priority, route.match), effect) != effect:
            found.append(f"policyRoutes has different actions for priority {route.priority} and match {route.match!r}")
    return found


def _hops(route: PolicyRoute) -> tuple[str, ...]:
    """Next hops of a policy; those of other actions than reroute are ignored (spec F.2)."""
    return tuple(hop.strip() for hop in route.next_hop_ip.split(",")) if route.action == "reroute" else ()


def static_routes(reader: Reader, vpc: Vpc, opts: Options, subnets: list[SubnetView]) -> Iterator[Item]:
    """All routes of the router that are ours. Several next hops for one prefix are an ECMP route."""
    router = vpc.metadata.name
    wanted: dict[tuple[str, str, str, str], Columns] = {}
    if router == opts.cluster_router:
        wanted |= dict.fromkeys(_default_routes(reader, vpc, opts), _PLAIN)
    else:
        said = {(r.route_table, _ROUTE_POLICY.get(r.policy), r.cidr) for r in vpc.spec.static_routes}
        wanted |= dict.fromkeys((route for route in _source_routes(opts, subnets) if route[:3] not in said), _PLAIN)
    broken = False
    for given in vpc.spec.static_routes:
        if route_problem(given):
            broken = True
            continue
        key = (given.route_table, _ROUTE_POLICY[given.policy], given.cidr, given.next_hop_ip)
        if _waits(reader, given):
            broken = True
            yield Hold(route_scope(router, *key))
            continue
        wanted[key] = {"bfd": given.bfd_id, "options": {_SYMMETRIC: "true"}} if given.bfd_id else _PLAIN
    if router != opts.cluster_router and not opts.vpc_source_routes and not broken:
        # While a route is broken, what it was before stays: a second default route would take half of its packets.
        wanted |= dict.fromkeys(_last_resorts(subnets, wanted), _PLAIN)
    for (table, policy, prefix, nexthop), columns in wanted.items():
        yield Row(
            "Logical_Router_Static_Route",
            (router, table, policy, prefix, nexthop),
            {
                "ip_prefix": prefix,
                "nexthop": nexthop,
                "policy": policy,
                "route_table": table,
                "external_ids": {"vendor": VENDOR},
                **columns,
            },
            parent=Ref("Logical_Router", router),
        )


def _default_routes(reader: Reader, vpc: Vpc, opts: Options) -> Iterator[tuple[str, str, str, str]]:
    """The default VPC's default routes, in every route table that its routes mention (spec D.5)."""
    join = reader.query(subnet_view, opts.node_switch)
    tables = dict.fromkeys(["", *(route.route_table for route in vpc.spec.static_routes)])
    for gateway in join.gateway.split(",") if join is not None else ():
        for table in tables:
            yield table, "dst-ip", _EVERYWHERE[family(gateway)], gateway


def _source_routes(opts: Options, subnets: list[SubnetView]) -> Iterator[tuple[str, str, str, str]]:
    """A custom VPC's routes by source: every subnet's in its own table, and in the main one (spec D.2.4, D.5). One that
    the user gives for the same prefix stands alone: half of the packets would end at the gateway otherwise.

    Kube-OVN's OVN prefers all routes by destination to them. The original goes by the length of the prefix, so that a
    subnet's route by source hides a default route, and subnets with a shorter prefix (spec H.5): there `_last_resorts`
    are right.
    """
    for subnet in subnets if opts.vpc_source_routes else ():
        for cidr, gateway in subnet.pairs() if subnet.is_ovn else ():
            if subnet.needs_router or subnet.u2o:
                yield "", "src-ip", cidr, gateway
            yield subnet.route_table, "src-ip", cidr, gateway


def _last_resorts(
    subnets: list[SubnetView], given: Collection[tuple[str, str, str, str]]
) -> Iterator[tuple[str, str, str, str]]:
    """What routes by source are for in an OVN that prefers routes by destination: packets that no other route takes
    come as far as the router's policies. One default route for each route table and family that has none.

    The next hop is any address in a network of the router: what no policy reroutes goes nowhere, as with routes by
    source to a subnet's gateway.
    """
    whole = {(table, cidr) for table, policy, cidr, _ in given if policy == "dst-ip" and cidr.endswith("/0")}
    found = {(table, _EVERYWHERE[family(cidr)]) for table, cidr in whole}
    for subnet in subnets:
        for cidr, gateway in subnet.pairs() if subnet.is_ovn and subnet.needs_router else ():
            prefix = _EVERYWHERE[family(cidr)]
            for table in dict.fromkeys(("", subnet.route_table)):
                if (table, prefix) not in found:
                    found.add((table, prefix))
                    yield table, "dst-ip", prefix, gateway


def policy_routes(vpc: Vpc) -> Iterator[Item]:
    """The policies that the user gives."""
    router = vpc.metadata.name
    for route in vpc.spec.policy_routes:
        if policy_problem(route):
            continue
        yield Row(
            "Logical_Router_Policy",
            (router, route.priority, route.match),
            {
                "priority": route.priority,
                "match": route.match,
                "action": route.action,
                "nexthops": frozenset(_hops(route)),
                "external_ids": {"vendor": VENDOR},
            },
            parent=Ref("Logical_Router", router),
        )

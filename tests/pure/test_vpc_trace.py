"""What OVN makes of our rows: `ovn-trace` verdicts on a real NB with northd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ovnbridge.compile.options import Options
from tests.support.cluster import Json, merged, node, subnet, underlay, vpc
from tests.support.trace import NODES, OUTSIDE, UNPATCHED, Ovn, at, cluster_of, needs_ovn, northd

pytestmark = needs_ovn


@pytest.fixture
def ovn() -> Iterator[Ovn]:
    with northd() as running:
        yield running


def test_default_vpc(ovn: Ovn) -> None:
    places = subnet("s1", cidrBlock="10.17.0.0/24")
    pods = (
        at("a", "ovn-default", "10.16.0.10"),
        at("b", "ovn-default", "10.16.0.11", "n-2"),
        at("c", "s1", "10.17.0.12"),
    )
    cluster_of(ovn, places, *pods)
    assert ovn.trace("a.app", "10.16.0.11").reaches("b.app"), "in one subnet"
    assert ovn.trace("a.app", "10.17.0.12").reaches("c.app"), "across subnets"
    assert ovn.trace("a.app", "10.16.0.1").reaches("a.app"), "the gateway answers"
    assert ovn.trace("a.app", OUTSIDE).reaches("node-n-1"), "out through the own node"
    assert ovn.trace("b.app", OUTSIDE).reaches("node-n-2")
    assert ovn.trace("b.app", "192.168.0.11").reaches("node-n-1"), "to a node, through that node"
    assert ovn.trace("a.app", "10.16.0.99").dropped, "nobody has this address"


PEER_A = {"vpcPeerings": [{"remoteVpc": "vb", "localConnectIP": "169.254.0.1/30"}]}
PEER_B = {"vpcPeerings": [{"remoteVpc": "va", "localConnectIP": "169.254.0.2/30"}]}
TO_B = {"staticRoutes": [{"cidr": "10.40.0.0/24", "nextHopIP": "169.254.0.2"}]}
TO_A = {"staticRoutes": [{"cidr": "10.30.0.0/24", "nextHopIP": "169.254.0.1"}]}


def tenants(a: Json, b: Json) -> tuple[Json, ...]:
    return (
        vpc("va", **a),
        vpc("vb", **b),
        subnet("a-1", vpc="va", cidrBlock="10.30.0.0/24"),
        subnet("a-2", vpc="va", cidrBlock="10.31.0.0/24"),
        subnet("b-1", vpc="vb", cidrBlock="10.40.0.0/24"),
        at("a1", "a-1", "10.30.0.11"),
        at("gw", "a-1", "10.30.0.254"),
        at("a2", "a-2", "10.31.0.12", "n-2"),
        at("b1", "b-1", "10.40.0.11"),
    )


def test_vpcs_are_apart_until_they_are_peered(ovn: Ovn) -> None:
    cluster = cluster_of(ovn, *tenants({}, {}))
    assert ovn.trace("a1.app", "10.31.0.12").reaches("a2.app"), "across subnets of one VPC"
    assert ovn.trace("a1.app", "10.40.0.11").dropped, "across VPCs"
    assert ovn.trace("a1.app", OUTSIDE).dropped, "no way out"
    cluster.apply(vpc("va", **PEER_A, **TO_B), vpc("vb", **PEER_B, **TO_A)).run()
    assert ovn.trace("a1.app", "10.40.0.11").reaches("b1.app"), "over the peering"
    assert ovn.trace("b1.app", "10.30.0.11").reaches("a1.app"), "and back"
    assert ovn.trace("b1.app", "10.31.0.12").dropped, "a network that nothing routes to"
    ovn.known.append("No path for static route 10.30.0.0/24; next hop 169.254.0.1")
    cluster.apply(vpc("vb", **TO_A)).run()
    assert ovn.trace("a1.app", "10.40.0.11").dropped, "the other end is gone"


def test_dual_stack_peers(ovn: Ovn) -> None:
    def side(name: str, other: str, own: str, *ways: tuple[str, str]) -> Json:
        routes = [{"cidr": cidr, "nextHopIP": hop} for cidr, hop in ways]
        return vpc(name, vpcPeerings=[{"remoteVpc": other, "localConnectIP": own}], staticRoutes=routes)

    cluster_of(
        ovn,
        side("va", "vb", "169.254.0.1/30,fd99::1/126", ("10.40.0.0/16", "169.254.0.2"), ("fd40::/48", "fd99::2")),
        side("vb", "va", "169.254.0.2/30,fd99::2/126", ("10.30.0.0/16", "169.254.0.1"), ("fd30::/48", "fd99::1")),
        subnet("a", vpc="va", cidrBlock="10.30.0.0/24,fd30::/64"),
        subnet("b", vpc="vb", cidrBlock="10.40.0.0/24,fd40::/64"),
        subnet("b6", vpc="vb", cidrBlock="fd40:0:0:1::/64"),
        at("a1", "a", "10.30.0.11,fd30::11"),
        at("b1", "b", "10.40.0.12,fd40::12", "n-2"),
        at("b2", "b6", "fd40:0:0:1::13", "n-2"),
    )
    for there, back in (("10.40.0.12", "10.30.0.11"), ("fd40::12", "fd30::11")):
        assert ovn.trace("a1.app", there).reaches("b1.app")
        assert ovn.trace("b1.app", back).reaches("a1.app")
    assert ovn.trace("a1.app", "fd40:0:0:1::13").reaches("b2.app")
    assert ovn.trace("b2.app", "fd30::11").reaches("a1.app")


def test_the_same_addresses_in_two_vpcs(ovn: Ovn) -> None:
    places = [subnet(f"{v}-net", vpc=v, cidrBlock="10.50.0.0/24") for v in ("va", "vb")]
    pods = [at(f"{v}-{n}", f"{v}-net", f"10.50.0.1{n}") for v in ("va", "vb") for n in (1, 2)]
    cluster_of(ovn, vpc("va"), vpc("vb"), *places, *pods)
    assert ovn.trace("va-1.app", "10.50.0.12").reaches("va-2.app")
    assert ovn.trace("vb-1.app", "10.50.0.12").reaches("vb-2.app")


def policy(action: str, match: str, priority: int = 30000, **more: Any) -> Json:
    return {"policyRoutes": [{"priority": priority, "match": match, "action": action, **more}]}


def test_policy_routes(ovn: Ovn) -> None:
    cluster = cluster_of(ovn, *tenants({}, {}))
    assert ovn.trace("a1.app", "10.31.0.12").reaches("a2.app")
    cluster.apply(vpc("va", **policy("drop", "ip4.src == 10.30.0.11", 32000))).run()
    assert ovn.trace("a1.app", "10.31.0.12").dropped
    assert ovn.trace("gw.app", "10.31.0.12").reaches("a2.app"), "another source"
    cluster.apply(vpc("va", **policy("drop", "ip4.src == 10.30.0.11"))).run()
    assert ovn.trace("a1.app", "10.31.0.12").reaches("a2.app"), "below the VPC's own policies"
    default = {"staticRoutes": [{"cidr": "0.0.0.0/0", "nextHopIP": "10.31.0.12"}]}
    detour = policy("reroute", f"ip4.dst == {OUTSIDE}", nextHopIP="10.30.0.254")
    cluster.apply(vpc("va", **default)).run()
    assert ovn.trace("a1.app", OUTSIDE).reaches("a2.app")
    cluster.apply(vpc("va", **default, **detour)).run()
    assert ovn.trace("a1.app", OUTSIDE).reaches("gw.app")
    assert ovn.trace("a1.app", "198.51.100.2").reaches("a2.app"), "another destination"
    exempt = policy("allow", "ip4.src == 10.30.0.11", 30001)["policyRoutes"]
    cluster.apply(vpc("va", **default, policyRoutes=[*detour["policyRoutes"], *exempt])).run()
    assert ovn.trace("a1.app", OUTSIDE).reaches("a2.app"), "allowed: the routes decide"


def test_routes_by_source_hide_a_default_route_in_an_unpatched_ovn(ovn: Ovn) -> None:
    """Why there is `--vpc-source-routes=false`; if this fails, OVN has become as Kube-OVN's."""
    default = {"staticRoutes": [{"cidr": "0.0.0.0/0", "nextHopIP": "10.31.0.12"}]}
    cluster_of(ovn, *tenants(default, {}), options=Options())
    assert ovn.trace("a1.app", OUTSIDE).dropped


@pytest.mark.parametrize("options", [Options(), UNPATCHED])
def test_subnets_of_different_sizes(ovn: Ovn, options: Options) -> None:
    """In an unpatched OVN, the longer prefix of a route by source hides a connected network; see above."""
    places = (subnet("s", vpc="va", cidrBlock="10.30.0.0/26"), subnet("l", vpc="va", cidrBlock="10.31.0.0/24"))
    cluster_of(ovn, vpc("va"), *places, at("a", "s", "10.30.0.11"), at("b", "l", "10.31.0.12"), options=options)
    assert ovn.trace("a.app", "10.31.0.12").reaches("b.app") == (options is UNPATCHED)
    assert ovn.trace("b.app", "10.30.0.11").reaches("a.app")


def test_policies_take_what_no_route_takes(ovn: Ovn) -> None:
    """In Kube-OVN's OVN by the subnets' routes by source; each route table and family has what stands for them."""
    spec = {
        "policyRoutes": [
            {"priority": 30000, "match": f"ip4.dst == {OUTSIDE}", "action": "reroute", "nextHopIP": "10.30.0.254"},
            {"priority": 30000, "match": "ip6.dst == 2001:db8::/32", "action": "reroute", "nextHopIP": "fd30::fe"},
        ]
    }
    places = (
        subnet("s1", vpc="va", cidrBlock="10.30.0.0/24,fd30::/64"),
        subnet("s2", vpc="va", cidrBlock="10.31.0.0/24,fd31::/64", routeTable="blue"),
    )
    pods = (at("gw", "s1", "10.30.0.254,fd30::fe"), at("a", "s1", "10.30.0.11,fd30::11"))
    cluster_of(ovn, vpc("va", **spec), *places, *pods, at("b", "s2", "10.31.0.12,fd31::12"))
    for name in ("a.app", "b.app"):
        assert ovn.trace(name, OUTSIDE).reaches("gw.app")
        assert ovn.trace(name, "2001:db8::1").reaches("gw.app")
        assert ovn.trace(name, "198.51.100.2").dropped
        assert ovn.trace(name, "2001:db9::1").dropped


@pytest.mark.parametrize("prefix", ["0.0.0.0/0", "::/0", "0::/0"])
def test_a_default_route_of_the_user_is_alone(ovn: Ovn, prefix: str) -> None:
    """Also while it is broken, and kept as it was."""
    outside, hop = (OUTSIDE, "10.30.0.254") if "." in prefix else ("2001:db8::1", "fd30::fe")
    route = {"cidr": prefix, "nextHopIP": hop}
    place = subnet("s1", vpc="va", cidrBlock="10.30.0.0/24,fd30::/64")
    pods = (at("gw", "s1", "10.30.0.254,fd30::fe"), at("a", "s1", "10.30.0.11,fd30::11"))
    cluster = cluster_of(ovn, vpc("va", staticRoutes=[route]), place, *pods)
    assert ovn.trace("a.app", outside).reaches("gw.app")
    cluster.apply(vpc("va", staticRoutes=[{**route, "nextHopIP": "nonsense"}])).run()
    assert not any("select(" in flow["actions"] for flow in ovn.flows("va"))
    assert ovn.trace("a.app", outside).reaches("gw.app")
    cluster.apply(vpc("va")).run()
    assert ovn.trace("a.app", outside).dropped


def test_static_routes_by_destination_and_source(ovn: Ovn) -> None:
    routes = [
        {"cidr": "198.51.100.0/24", "nextHopIP": "10.30.0.254"},
        {"cidr": "10.31.0.8/29", "nextHopIP": "10.30.0.11", "policy": "policySrc"},
    ]
    cluster = cluster_of(ovn, *tenants({"staticRoutes": routes}, {}))
    assert ovn.trace("a1.app", OUTSIDE).reaches("gw.app"), "by destination"
    assert ovn.trace("a2.app", "203.0.113.1").reaches("a1.app"), "by source"
    assert ovn.trace("a1.app", "203.0.113.1").dropped, "neither"
    cluster.apply(vpc("va")).run()
    assert ovn.trace("a1.app", OUTSIDE).dropped


def test_a_route_is_used_while_its_bfd_session_is_up(ovn: Ovn) -> None:
    """Two next hops, each with a session that somebody made; ovn-controller's part is played here."""
    hops = {"10.30.0.254": "gw.app", "10.31.0.12": "a2.app"}
    sessions = {hop: f"0000000{number}-0000-4000-8000-000000000000" for number, hop in enumerate(hops)}
    for hop, (port, uuid) in zip(hops, zip(("va-a-1", "va-a-2"), sessions.values())):
        row = {"logical_port": port, "dst_ip": hop}
        ovn.database.transact([{"op": "insert", "table": "BFD", "uuid": uuid, "row": row}])
    routes = [
        {"cidr": "198.51.100.0/24", "nextHopIP": hop, "bfdId": uuid, "ecmpMode": "ecmp_symmetric_reply"}
        for hop, uuid in sessions.items()
    ]
    cluster = cluster_of(ovn, *tenants({"staticRoutes": routes}, {}))
    for state, first in (("down", False), ("up", True), ("down", False)):
        ovn.bfd("10.30.0.254", state)
        ovn.bfd("10.31.0.12", "down" if state == "up" else "up")
        assert ovn.trace("a1.app", OUTSIDE).reaches("gw.app" if first else "a2.app")
    ovn.bfd("10.31.0.12", "down")
    assert ovn.trace("a1.app", OUTSIDE).dropped, "no next hop is up"
    cluster.apply(vpc("va", staticRoutes=[{k: v for k, v in routes[0].items() if k != "bfdId"}])).run()
    assert ovn.trace("a1.app", OUTSIDE).reaches("gw.app"), "without BFD nobody asks"


@pytest.mark.parametrize("options", [Options(), UNPATCHED])
def test_a_whole_subnet_is_redirected_by_source(ovn: Ovn, options: Options) -> None:
    route = {"cidr": "10.30.0.0/24", "nextHopIP": "10.30.0.254", "policy": "policySrc"}
    cluster_of(ovn, *tenants({"staticRoutes": [route]}, {}), options=options)
    assert ovn.trace("a1.app", OUTSIDE).reaches("gw.app")
    assert not any("select(" in flow["actions"] for flow in ovn.flows("va")), "no second next hop"


def test_a_route_table_is_for_the_subnets_that_name_it(ovn: Ovn) -> None:
    route = {"cidr": "198.51.100.0/24", "nextHopIP": "10.30.0.254", "routeTable": "blue"}
    cluster = cluster_of(ovn, *tenants({"staticRoutes": [route]}, {}))
    assert ovn.trace("a2.app", OUTSIDE).dropped, "the main table does not have it"
    cluster.apply(subnet("a-2", vpc="va", cidrBlock="10.31.0.0/24", routeTable="blue")).run()
    assert ovn.trace("a2.app", OUTSIDE).reaches("gw.app")


def test_a_centralized_gateway_moves(ovn: Ovn) -> None:
    place = subnet("s1", cidrBlock="10.17.0.0/24", gatewayType="centralized", gatewayNode="n-2,n-1")
    cluster = cluster_of(ovn, place, at("c", "s1", "10.17.0.12"))
    assert ovn.trace("c.app", OUTSIDE).reaches("node-n-2")
    cluster.apply(merged(NODES[1], {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})).run()
    assert ovn.trace("c.app", OUTSIDE).reaches("node-n-1")


def test_rows_that_only_gateways_use_are_valid(ovn: Ovn) -> None:
    """External ports, gateway chassis, chassis groups and BFD sessions, made and taken away on a real server."""
    labels = {"ovn.kubernetes.io/external-gw": "true"}
    gateways = [node(f"n-{n}", f"192.168.0.1{n}", chassis=f"chassis-{n}", labels=labels) for n in (1, 2)]
    eip = {"kind": "OvnEip", "metadata": {"name": "va-external"}, "spec": {}, "status": {"v4Ip": "172.16.0.9"}}
    spec = {"enableExternal": True, "enableBfd": True, "bfdPort": {"enabled": True, "ip": "10.255.255.255"}}
    external = subnet("external", cidrBlock="172.16.0.0/16", vlan="vlan1")
    cluster = cluster_of(ovn, *tenants(spec, {}), *gateways, *underlay("vlan1"), external, eip)
    tables = ("Gateway_Chassis", "HA_Chassis", "HA_Chassis_Group", "BFD")
    assert [len(ovn.database.content[table]) for table in tables] == [2, 2, 1, 1]
    assert ovn.trace("a1.app", "10.31.0.12").reaches("a2.app")
    (session,) = ovn.southbound("BFD")
    assert session["logical_port"] == "va-external"
    (group,) = [g for g in ovn.southbound("HA_Chassis_Group") if g["name"] == "bfd@va"]
    assert len(group["ha_chassis"][1]) == 2
    redirects = {row["logical_port"] for row in ovn.southbound("Port_Binding") if row["type"] == "chassisredirect"}
    assert redirects == {"cr-va-external", "cr-bfd@va"}
    cluster.apply(vpc("va")).run()
    assert ovn.southbound("BFD") == []
    assert not any(ovn.database.content[table] for table in tables)
    assert ovn.trace("a1.app", "10.31.0.12").reaches("a2.app")

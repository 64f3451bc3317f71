"""What OVN makes of a subnet's rows: `ovn-trace` verdicts on a real NB with northd (spec D.2 and its parts)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ovnbridge.compile.options import PER_NODE, PER_SUBNET, Options
from tests.support.cluster import Json, ip, node, pod, subnet, underlay, vpc
from tests.support.trace import NODES, OUTSIDE, UNPATCHED, Ovn, Verdict, at, cluster_of, needs_ovn, northd

pytestmark = needs_ovn


@pytest.fixture
def ovn() -> Iterator[Ovn]:
    with northd() as running:
        yield running


S1: Json = {"cidrBlock": "10.17.0.0/24"}
DUAL: Json = {"cidrBlock": "10.17.0.0/24,fd17::/64"}
DUAL_2: Json = {"cidrBlock": "10.18.0.0/24,fd18::/64"}


# -- switches and routers


@pytest.mark.parametrize("router", ["ovn-cluster", "v1"])
def test_a_dual_stack_subnet(ovn: Ovn, router: str) -> None:
    """The default VPC's own subnets are IPv4 only: what is dual is the user's."""
    cluster_of(
        ovn,
        vpc("v1"),
        subnet("s1", **DUAL, vpc=router),
        subnet("s2", **DUAL_2, vpc=router),
        at("a", "s1", "10.17.0.11,fd17::11"),
        at("b", "s1", "10.17.0.12,fd17::12", "n-2"),
        at("c", "s2", "10.18.0.13,fd18::13"),
    )
    for same, across, gateway in (("10.17.0.12", "10.18.0.13", "10.17.0.1"), ("fd17::12", "fd18::13", "fd17::1")):
        assert ovn.trace("a.app", same).reaches("b.app")
        assert ovn.trace("a.app", across).reaches("c.app")
        assert ovn.trace("a.app", gateway).reaches("a.app"), "the gateway answers pings"
    answer = ovn.asks("a.app", "10.17.0.1")
    assert answer.reaches("a.app")
    assert ovn.router_mac(f"{router}-s1") in answer.changes
    assert ovn.asks("a.app", "10.17.0.12").reaches("a.app"), "the switch answers for its ports"
    told = [f for f in ovn.flows(router) if "nd.target == fd17::1" in f["match"] and f'"{router}-s1"' in f["match"]]
    assert any("nd_na_router" in flow["actions"] for flow in told)


def test_a_subnet_with_ipv6_only(ovn: Ovn) -> None:
    six = {"vpc": "v1", "gatewayType": ""}
    cluster_of(
        ovn,
        vpc("v1", staticRoutes=[{"cidr": "2001:db8::/32", "nextHopIP": "fd18::fe"}]),
        subnet("s1", cidrBlock="fd17::/64", **six),
        subnet("s2", cidrBlock="fd18::/64", **six),
        at("a", "s1", "fd17::11"),
        at("b", "s2", "fd18::12", "n-2"),
        at("gw", "s2", "fd18::fe", "n-2"),
    )
    assert ovn.trace("a.app", "fd18::12").reaches("b.app")
    assert ovn.trace("a.app", "2001:db8::1").reaches("gw.app")
    assert ovn.trace("a.app", "2001:db9::1").dropped


# -- ACLs (D.2.1, D.2.2)


def strangers(**spec: Any) -> tuple[Json, ...]:
    return (
        subnet("s1", **{**DUAL, **spec}),
        subnet("s2", **DUAL_2),
        subnet("s3", cidrBlock="10.19.0.0/24,fd19::/64"),
        at("own", "s1", "10.17.0.11,fd17::11"),
        at("peer", "s1", "10.17.0.12,fd17::12", "n-2"),
        at("friend", "s2", "10.18.0.13,fd18::13"),
        at("stranger", "s3", "10.19.0.14,fd19::14", "n-2"),
    )


def test_a_private_subnet(ovn: Ovn) -> None:
    cluster = cluster_of(ovn, *strangers(private=True, allowSubnets=["10.18.0.0/24", "fd18::/64"]))
    for own, friend, stranger in (
        ("10.17.0.11", "10.18.0.13", "10.19.0.14"),
        ("fd17::11", "fd18::13", "fd19::14"),
    ):
        assert ovn.trace("stranger.app", own).dropped
        assert ovn.trace("friend.app", own).reaches("own.app")
        assert ovn.trace("peer.app", own).reaches("own.app")
        assert ovn.trace("own.app", stranger).dropped, "apart in both directions"
        assert ovn.trace("own.app", friend).reaches("friend.app")
    assert ovn.trace("own.app", OUTSIDE).dropped
    assert ovn.trace("node-n-1", "10.17.0.11").reaches("own.app"), "nodes probe and proxy"
    assert ovn.trace("own.app", "100.64.0.2", reply=True).reaches("node-n-1"), "and are answered"
    assert ovn.trace("stranger.app", "10.17.0.11", reply=True).reaches("own.app"), "what was accepted stays"
    cluster.apply(subnet("s1", **DUAL)).run()
    assert ovn.trace("stranger.app", "10.17.0.11").reaches("own.app")


def acl(priority: int, match: str, action: str, direction: str = "to-lport") -> Json:
    return {"direction": direction, "priority": priority, "match": match, "action": action}


def test_acls_of_the_user(ovn: Ovn) -> None:
    acls = [
        acl(1005, "ip4", "drop"),
        acl(1010, "ip4.src == 10.18.0.0/24 && icmp4", "allow-related"),
        acl(1020, "ip4.dst == 10.19.0.14", "drop", "from-lport"),
    ]
    cluster = cluster_of(ovn, *strangers(acls=acls))
    assert ovn.trace("stranger.app", "10.17.0.11").dropped
    assert ovn.trace("friend.app", "10.17.0.11").reaches("own.app")
    assert ovn.trace("friend.app", "10.17.0.11", match="tcp.dst == 80").dropped
    assert ovn.trace("own.app", "10.19.0.14").dropped
    assert ovn.trace("stranger.app", "fd17::11").reaches("own.app"), "they speak of IPv4"
    assert ovn.trace("peer.app", "10.17.0.11").dropped
    cluster.apply(subnet("s1", **DUAL, acls=acls, allowEWTraffic=True)).run()
    assert ovn.trace("peer.app", "10.17.0.11").reaches("own.app")
    assert ovn.trace("stranger.app", "10.17.0.11").dropped
    cluster.apply(subnet("s1", **DUAL)).run()
    assert ovn.trace("stranger.app", "10.17.0.11").reaches("own.app")
    assert ovn.trace("own.app", "10.19.0.14").reaches("stranger.app")


def test_acls_of_the_user_on_a_private_subnet(ovn: Ovn) -> None:
    """Their priorities count among the private ones (spec D.2.1), so the user can open and close what these do."""
    acls = [
        acl(1500, "ip4.src == 10.19.0.14", "allow-related"),
        acl(1500, "ip4.src == 10.17.0.12", "drop"),
        acl(900, "ip4.src == 10.18.0.13", "allow-related"),
    ]
    cluster_of(ovn, *strangers(private=True, acls=acls))
    assert ovn.trace("stranger.app", "10.17.0.11").reaches("own.app")
    assert ovn.trace("peer.app", "10.17.0.11").dropped
    assert ovn.trace("friend.app", "10.17.0.11").dropped, "below the drop of priority 1000"


# -- ways out (D.2.3, D.2.4)


@pytest.mark.parametrize("form", [PER_SUBNET, PER_NODE])
def test_ways_out(ovn: Ovn, form: str) -> None:
    cluster = cluster_of(
        ovn,
        subnet("spread", **S1),
        subnet("central", cidrBlock="10.18.0.0/24", gatewayType="centralized", gatewayNode="n-2"),
        at("a", "spread", "10.17.0.11"),
        at("b", "spread", "10.17.0.12", "n-2"),
        at("c", "central", "10.18.0.13"),
        at("north", "spread", "10.17.0.14", north_gateway="10.17.0.12"),
        options=msgspec.structs.replace(UNPATCHED, gateway_groups=form),
    )
    assert ovn.trace("a.app", OUTSIDE).reaches("node-n-1")
    assert ovn.trace("b.app", OUTSIDE).reaches("node-n-2")
    assert ovn.trace("c.app", OUTSIDE).reaches("node-n-2"), "centralized: through the gateway node"
    assert ovn.trace("c.app", "10.17.0.11").reaches("a.app"), "not within the VPC"
    assert ovn.trace("north.app", OUTSIDE).reaches("b.app"), "a gateway of its own"
    assert ovn.trace("north.app", "10.18.0.13").reaches("c.app")
    assert ovn.trace("a.app", "192.168.0.12").reaches("node-n-2"), "to a node: through that node"
    assert ovn.trace("node-n-2", "10.17.0.11").reaches("a.app"), "a node to a pod elsewhere"
    cluster.apply(at("b", "spread", "10.17.0.12", "n-2", north_gateway="10.17.0.11")).run()
    assert ovn.trace("b.app", OUTSIDE).reaches("a.app")


@pytest.mark.parametrize("name", ["1st", "10-17-0-0", "s.1"])
def test_ways_out_of_a_subnet_whatever_its_name(ovn: Ovn, name: str) -> None:
    """OVN wants no digit first in the name of a group (H.2), which Kubernetes allows."""
    cluster_of(ovn, subnet(name, **S1), at("a", name, "10.17.0.11"), at("b", name, "10.17.0.12", "n-2"))
    assert ovn.trace("a.app", OUTSIDE).reaches("node-n-1")
    assert ovn.trace("b.app", OUTSIDE).reaches("node-n-2")


@pytest.mark.parametrize("name", ["1st", "s"])
def test_underlay_and_vpc_whatever_their_names(ovn: Ovn, name: str) -> None:
    overlay_only = {"u2oInterconnection": True, "u2oFeatures": {"overlayOnlyRouting": True}}
    cluster_of(
        ovn,
        *underlay(),
        vpc(f"{name}-vpc"),
        subnet(name, **S1, vlan="v", vpc=f"{name}-vpc", **overlay_only),
        subnet("o", cidrBlock="10.18.0.0/24", vpc=f"{name}-vpc"),
        at("u", name, "10.17.0.11"),
        at("o", "o", "10.18.0.12"),
    )
    ovn.known.append("No path for static route 10.17.0.0/24; next hop 10.17.0.1")  # until the port has its address
    assert ovn.trace("o.app", "10.17.0.11").reaches("u.app")
    assert through(ovn, "u.app", f"{name}-vpc-{name}", "10.18.0.12").reaches("o.app")


@pytest.mark.parametrize("form", [PER_SUBNET, PER_NODE])
def test_ways_out_of_a_dual_stack_cluster(ovn: Ovn, form: str) -> None:
    options = msgspec.structs.replace(
        UNPATCHED,
        gateway_groups=form,
        node_switch_cidr="100.64.0.0/16,fd00:100:64::/112",
        default_cidr="10.16.0.0/16,fd00:10:16::/112",
    )
    central = {"gatewayType": "centralized", "gatewayNode": "n-2"}
    cluster_of(
        ovn,
        subnet("six", cidrBlock="fd17::/64"),
        subnet("central", cidrBlock="10.18.0.0/24,fd18::/64", **central),
        at("a", "ovn-default", "10.16.0.11,fd00:10:16::11"),
        at("b", "six", "fd17::12", "n-2"),
        at("c", "central", "10.18.0.13,fd18::13"),
        options=options,
        joins=tuple(ip(f"n-{n}", "join", f"100.64.0.{n + 1}", f"fd00:100:64::{n + 1}") for n in (1, 2)),
    )
    for outside in (OUTSIDE, "2001:db8::1"):
        assert ovn.trace("a.app", outside).reaches("node-n-1")
        assert ovn.trace("c.app", outside).reaches("node-n-2")
    assert ovn.trace("b.app", "2001:db8::1").reaches("node-n-2")
    assert ovn.trace("a.app", "fd17::12").reaches("b.app")
    assert ovn.trace("b.app", "fd18::13").reaches("c.app")
    assert ovn.trace("b.app", "fd01::11").reaches("node-n-1"), "to a node: through that node"


def test_all_gateway_nodes_share_the_load(ovn: Ovn) -> None:
    """The choice is the hash of the packet: of many connections, each gateway has some."""
    spec = {"gatewayType": "centralized", "gatewayNode": "n-1,n-2", "enableEcmp": True}
    cluster_of(ovn, subnet("s1", **S1, **spec), at("a", "s1", "10.17.0.11"))
    policy = next(f for f in ovn.flows("ovn-cluster") if "10.17.0.0/24" in f["match"] and "select(" in f["actions"])
    assert "select(1, 2)" in policy["actions"]
    hops = {
        hop for f in ovn.flows("ovn-cluster") for hop in ("100.64.0.2", "100.64.0.3") if f"= {hop};" in f["actions"]
    }
    assert hops == {"100.64.0.2", "100.64.0.3"}
    assert ovn.trace("a.app", OUTSIDE).ports in {("node-n-1",), ("node-n-2",)}


def test_equal_routes_share_the_load(ovn: Ovn) -> None:
    routes = [
        {"cidr": "198.51.100.0/24", "nextHopIP": hop, "ecmpMode": "ecmp_symmetric_reply"}
        for hop in ("10.17.0.12", "10.17.0.13")
    ]
    cluster_of(
        ovn,
        vpc("v1", staticRoutes=routes),
        subnet("s1", **S1, vpc="v1"),
        subnet("s2", cidrBlock="10.18.0.0/24", vpc="v1"),
        at("a", "s2", "10.18.0.11"),
        at("b", "s1", "10.17.0.12"),
        at("c", "s1", "10.17.0.13", "n-2"),
    )
    assert any("198.51.100.0/24" in f["match"] and "select(1, 2)" in f["actions"] for f in ovn.flows("v1"))
    assert ovn.trace("a.app", OUTSIDE).ports in {("b.app",), ("c.app",)}


def test_node_local_dns(ovn: Ovn) -> None:
    """Each pod asks the cache of its own node; that northd skips connection tracking for it is in the patched OVN."""
    options = msgspec.structs.replace(UNPATCHED, node_local_dns_ip="169.254.25.10")
    central = subnet("s1", **S1, gatewayType="centralized", gatewayNode="n-2")
    cluster_of(ovn, central, at("a", "s1", "10.17.0.11"), at("b", "s1", "10.17.0.12", "n-2"), options=options)
    assert ovn.trace("a.app", "169.254.25.10", match="udp.dst == 53").reaches("node-n-1")
    assert ovn.trace("b.app", "169.254.25.10", match="udp.dst == 53").reaches("node-n-2")
    assert ovn.trace("a.app", OUTSIDE).reaches("node-n-2"), "anything else: through the gateway"


# -- underlay (D.2 localnet, D.2.3 u2o)


def test_an_underlay_subnet(ovn: Ovn) -> None:
    cluster_of(
        ovn,
        *underlay(tag=10),
        subnet("s1", **DUAL, vlan="v"),
        at("a", "s1", "10.17.0.11,fd17::11"),
        at("b", "s1", "10.17.0.12,fd17::12", "n-2"),
    )
    assert ovn.trace("a.app", "10.17.0.12").reaches("b.app")
    for outside in ("10.17.0.1", OUTSIDE, "2001:db8::1"):
        assert ovn.trace("a.app", outside).reaches("localnet.s1"), "the physical network has the gateway"
    (port,) = [row for row in ovn.southbound("Port_Binding") if row["logical_port"] == "localnet.s1"]
    assert (port["type"], port["tag"]) == ("localnet", 10)
    assert ["network_name", "net1"] in port["options"][1]
    known = "eth.src == 00:11:22:33:44:55 && eth.dst == {} && ip4.src == 10.17.0.1 && ip4.dst == 10.17.0.11 && icmp4"
    assert ovn.inject("localnet.s1", known.format(ovn.mac("a.app"))).reaches("a.app")


def connected(**spec: Any) -> tuple[Json, ...]:
    physical = {**S1, "vlan": "v", "u2oInterconnection": True, "u2oInterconnectionIP": "10.17.0.254", **spec}
    where = {"vpc": spec["vpc"]} if "vpc" in spec else {}
    return (
        *underlay(),
        subnet("s1", **physical),
        subnet("s2", cidrBlock="10.18.0.0/24", **where),
        at("u", "s1", "10.17.0.11"),
        at("o", "s2", "10.18.0.12", "n-2"),
    )


def through(ovn: Ovn, port: str, router_port: str, to: str, match: str = "") -> Verdict:
    """A packet that the sender gives to the VPC's router, as its routes say, and not to the physical gateway."""
    return ovn.trace(port, to, by=ovn.router_mac(router_port), match=match)


# In a custom VPC it is the subnet's route by source, or what stands for it, that lets packets come to the policies.
ROUTERS = [("ovn-cluster", UNPATCHED), ("v1", Options()), ("v1", UNPATCHED)]


def with_physical_gateway(ovn: Ovn, router: str, options: Options, **spec: Any) -> None:
    where = {} if router == "ovn-cluster" else {"vpc": router}
    ovn.known.append("No path for static route 10.17.0.0/24; next hop 10.17.0.1")  # until the port has its address
    cluster_of(ovn, vpc("v1"), *connected(**where, **spec), options=options)
    ovn.learn(router, f"{router}-s1", "10.17.0.1", "00:11:22:33:44:55")


@pytest.mark.parametrize(("router", "options"), ROUTERS)
def test_underlay_to_overlay(ovn: Ovn, router: str, options: Options) -> None:
    """Underlay pods have a route to the router's address, which is in their subnet beside the physical gateway."""
    with_physical_gateway(ovn, router, options)
    assert through(ovn, "u.app", f"{router}-s1", "10.18.0.12").reaches("o.app")
    assert ovn.trace("o.app", "10.17.0.11").reaches("u.app"), "and back"
    assert ovn.asks("u.app", "10.17.0.254").reaches("u.app")
    away = through(ovn, "u.app", f"{router}-s1", OUTSIDE)
    assert away.reaches("localnet.s1"), "what is not the VPC's goes to the physical gateway"
    assert "eth.dst = 00:11:22:33:44:55" in away.changes
    if router == "ovn-cluster":
        assert through(ovn, "u.app", f"{router}-s1", "192.168.0.12").reaches("localnet.s1"), "nodes too"
        assert ovn.trace("o.app", OUTSIDE).reaches("node-n-2"), "overlay pods leave as ever"


@pytest.mark.parametrize(("router", "options"), ROUTERS)
def test_underlay_to_overlay_only(ovn: Ovn, router: str, options: Options) -> None:
    with_physical_gateway(ovn, router, options, u2oFeatures={"overlayOnlyRouting": True})
    assert through(ovn, "u.app", f"{router}-s1", "10.18.0.12").reaches("o.app")
    assert ovn.trace("o.app", "10.17.0.11").reaches("u.app")
    assert through(ovn, "u.app", f"{router}-s1", OUTSIDE).reaches("localnet.s1")


def test_underlay_alone_in_its_vpc(ovn: Ovn) -> None:
    """Its policies name the set of the VPC's overlay networks, of which there are none."""
    spec = {**S1, "vlan": "v", "u2oInterconnection": True, "u2oFeatures": {"overlayOnlyRouting": True}, "vpc": "v1"}
    cluster_of(ovn, vpc("v1"), *underlay(), subnet("s1", **spec), at("u", "s1", "10.17.0.11"))
    ovn.known.append("No path for static route 10.17.0.0/24; next hop 10.17.0.1")  # until the port has its address
    assert ovn.trace("u.app", "10.17.0.1", by="00:11:22:33:44:55").reaches("localnet.s1")


@pytest.mark.parametrize("overlay_only", [False, True])
def test_underlay_to_underlay(ovn: Ovn, overlay_only: bool) -> None:
    """Through the VPC's router, or through the physical network when the router is for the overlay only."""
    other = {"cidrBlock": "10.19.0.0/24", "u2oInterconnection": True, "u2oInterconnectionIP": "10.19.0.254"}
    cluster_of(
        ovn,
        *connected(u2oFeatures={"overlayOnlyRouting": overlay_only}),
        underlay("w", 11)[1],
        subnet("s3", vlan="w", **other),
        at("x", "s3", "10.19.0.13"),
    )
    for place, gateway in (("s1", "10.17.0.1"), ("s3", "10.19.0.1")):
        ovn.learn("ovn-cluster", f"ovn-cluster-{place}", gateway, "00:11:22:33:44:55")
    there = through(ovn, "u.app", "ovn-cluster-s1", "10.19.0.13")
    back = through(ovn, "x.app", "ovn-cluster-s3", "10.17.0.11")
    assert there.reaches("localnet.s1" if overlay_only else "x.app")
    assert back.reaches("localnet.s3" if overlay_only else "u.app")


def test_underlay_pods_without_load_balancer_reach_services_through_their_node(ovn: Ovn) -> None:
    options = msgspec.structs.replace(UNPATCHED, service_cidrs=("10.96.0.0/12",))
    running = [pod("app/u", "n-2", phase="Running", logical_switch="s1", ip_address="10.17.0.11")]
    cluster_of(ovn, *connected(enableLb=False)[:-2], *running, options=options)
    assert through(ovn, "u.app", "ovn-cluster-s1", "10.96.0.10", match="tcp.dst == 80").reaches("node-n-2")


def test_an_underlay_subnet_with_a_logical_gateway(ovn: Ovn) -> None:
    cluster_of(
        ovn,
        *underlay(),
        subnet("s1", **S1, vlan="v", logicalGateway=True),
        subnet("s2", cidrBlock="10.18.0.0/24"),
        at("u", "s1", "10.17.0.11"),
        at("o", "s2", "10.18.0.12", "n-2"),
    )
    assert ovn.trace("u.app", "10.18.0.12").reaches("o.app")
    assert ovn.trace("o.app", "10.17.0.11").reaches("u.app")
    assert ovn.trace("u.app", OUTSIDE).reaches("node-n-1")


def test_a_node_that_goes(ovn: Ovn) -> None:
    cluster = cluster_of(ovn, subnet("s1", **S1), at("a", "s1", "10.17.0.11"), at("b", "s1", "10.17.0.12", "n-2"))
    cluster.delete("Pod", "app/b").delete("Node", "n-2").run()
    assert ovn.trace("a.app", OUTSIDE).reaches("node-n-1")
    cluster.apply(NODES[1], node("n-3", "192.168.0.13"), at("b", "s1", "10.17.0.12", "n-3")).run()
    assert ovn.trace("b.app", OUTSIDE).reaches("node-n-3")

"""What OVN makes of the rows of addresses: DHCP, router advertisements, Vips, port security, multicast.

`ovn-trace` verdicts and logical flows on a real NB database with northd (spec D.2, D.3, D.13).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.addresses import vip
from tests.support.cluster import Json, subnet, underlay
from tests.support.trace import Ovn, Verdict, at, cluster_of, needs_ovn, northd

pytestmark = needs_ovn


@pytest.fixture
def ovn() -> Iterator[Ovn]:
    with northd() as running:
        yield running


S1: Json = {"cidrBlock": "10.17.0.0/24"}
DUAL: Json = {"cidrBlock": "10.17.0.0/24,fd17::/64"}
A = at("a", "s1", "10.17.0.11,fd17::11")
B = at("b", "s1", "10.17.0.12,fd17::12", "n-2")
FOUR = (at("a", "s1", "10.17.0.11"), at("b", "s1", "10.17.0.12", "n-2"))


# -- DHCP and router advertisements (D.2)


def discover(ovn: Ovn, port: str) -> Verdict:
    """A DHCPDISCOVER."""
    sent = "eth.dst == ff:ff:ff:ff:ff:ff && ip4.src == 0.0.0.0 && ip4.dst == 255.255.255.255 && ip.ttl == 64"
    return ovn.inject(port, f"eth.src == {ovn.mac(port)} && {sent} && udp.src == 68 && udp.dst == 67")


def solicit(ovn: Ovn, port: str) -> Verdict:
    """A DHCPv6 SOLICIT."""
    sent = "eth.dst == 33:33:00:01:00:02 && ip6.src == fe80::1 && ip6.dst == ff02::1:2 && ip.ttl == 64"
    return ovn.inject(port, f"eth.src == {ovn.mac(port)} && {sent} && udp.src == 546 && udp.dst == 547")


def test_dhcp(ovn: Ovn) -> None:
    text = "dns_server={10.96.0.10;10.96.0.11},mtu=1300"
    spec = {**DUAL, "enableDHCP": True, "dhcpV4Options": text, "dhcpV6Options": "dns_server=fd96::10"}
    cluster = cluster_of(ovn, subnet("s1", **spec), A, B)
    mac = cluster.row("DHCP_Options", ("s1", "IPv4", ""))["options"]["server_mac"]
    answer = discover(ovn, "a.app")
    assert answer.reaches("a.app")
    for option in (
        "put_dhcp_opts(offerip = 10.17.0.11, ",
        "lease_time = 3600",
        "router = 10.17.0.1",
        "server_id = 169.254.0.254",
        "netmask = 255.255.255.0",
        "mtu = 1300",
        "dns_server = {10.96.0.10, 10.96.0.11}",
    ):
        assert option in answer.text.replace("10,10.96", "10, 10.96"), option
    assert f"eth.src = {mac}" in answer.changes
    answer = solicit(ovn, "b.app")
    assert answer.reaches("b.app")
    assert "put_dhcpv6_opts(ia_addr = fd17::12, " in answer.text
    assert "dns_server = fd96::10" in answer.text
    cluster.apply(subnet("s1", **DUAL)).run()
    assert "put_dhcp_opts" not in discover(ovn, "a.app").text
    assert "put_dhcpv6_opts" not in solicit(ovn, "b.app").text


def test_dhcp_of_one_pod(ovn: Ovn) -> None:
    notes = {"dhcp-v4-options": "lease_time=77,mtu=1200"}
    cluster_of(ovn, subnet("s1", **DUAL, enableDHCP=True), A, at("own", "s1", "10.17.0.13,fd17::13", **notes))
    own = discover(ovn, "own.app").text
    assert "lease_time = 77" in own
    assert "mtu = 1200" in own
    assert "lease_time = 3600" in discover(ovn, "a.app").text
    assert "put_dhcpv6_opts(ia_addr = fd17::13, " in solicit(ovn, "own.app").text, "the other family: the subnet's"


def test_dhcp_in_an_underlay_subnet(ovn: Ovn) -> None:
    cluster_of(ovn, *underlay(), subnet("s1", **DUAL, vlan="v", enableDHCP=True), A)
    answer = discover(ovn, "a.app")
    assert answer.reaches("a.app")
    assert "router = 10.17.0.1" in answer.text
    assert "mtu = 1500" in answer.text


@pytest.mark.parametrize(
    ("given", "actions"),
    [
        ({}, ('addr_mode = "dhcpv6_stateful"', "prefix = fd17::/64")),
        ({"ipv6RAConfigs": "address_mode=slaac,send_periodic=true"}, ('addr_mode = "slaac"', "prefix = fd17::/64")),
        ({"ipv6RAConfigs": "address_mode=dhcpv6_stateless,mtu=1400"}, ('addr_mode = "dhcpv6_stateless"', "mtu = 1400")),
    ],
)
def test_router_advertisements(ovn: Ovn, given: Json, actions: tuple[str, ...]) -> None:
    """Flows, since ovn-trace 23.03 aborts on a router's answer to a solicitation."""
    cluster = cluster_of(ovn, subnet("s1", **DUAL, enableIPv6RA=True, **given), A)
    (flow,) = [f for f in ovn.flows("ovn-cluster") if "put_nd_ra_opts(" in f["actions"]]
    assert 'inport == "ovn-cluster-s1"' in flow["match"]
    for action in (*actions, f"slla = {ovn.router_mac('ovn-cluster-s1')}"):
        assert action in flow["actions"], action
    (port,) = [row for row in ovn.southbound("Port_Binding") if row["logical_port"] == "ovn-cluster-s1"]
    assert (["ipv6_ra_send_periodic", "true"] in port["options"][1]) == ("stateless" not in str(given))
    cluster.apply(subnet("s1", **DUAL)).run()
    assert not any("put_nd_ra_opts(" in f["actions"] for f in ovn.flows("ovn-cluster"))


# -- Vips (D.13), virtual ports of subnets (D.2)


def claims(ovn: Ovn, port: str, address: str) -> Verdict:
    """A gratuitous ARP: the sender takes the address over."""
    mac = ovn.mac(port)
    said = f"arp.op == 1 && arp.sha == {mac} && arp.spa == {address} && arp.tpa == {address}"
    return ovn.inject(port, f"eth.src == {mac} && eth.dst == ff:ff:ff:ff:ff:ff && {said}")


def test_pods_take_a_vip(ovn: Ovn) -> None:
    pods = [at(n, "s1", f"10.17.0.{i}", aaps="v", port_security="true") for i, n in enumerate(("p1", "p2"), 21)]
    cluster = cluster_of(ovn, subnet("s1", **S1), vip("v", "s1", v4ip="10.17.0.50", namespace="app"), *pods, *FOUR)
    bound = 'bind_vport("v", inport)'
    for name in ("p1.app", "p2.app"):
        assert bound in claims(ovn, name, "10.17.0.50").text
    assert bound not in claims(ovn, "a.app", "10.17.0.50").text, "no parent"
    (port,) = [row for row in ovn.southbound("Port_Binding") if row["logical_port"] == "v"]
    assert port["type"] == "virtual"
    cluster.delete("Pod", "app/p2").run()
    assert bound in claims(ovn, "p1.app", "10.17.0.50").text
    cluster.delete("Vip", "v").run()
    assert "bind_vport" not in claims(ovn, "p1.app", "10.17.0.50").text


def test_nobody_claims_a_vip_of_two_families(ovn: Ovn) -> None:
    """`virtual-ip` with two addresses is what Kube-OVN writes (spec D.13); the original OVN understands one address."""
    four = vip("v", "s1", namespace="app", v4ip="10.17.0.50")
    cluster = cluster_of(ovn, subnet("s1", **DUAL), four, at("p", "s1", "10.17.0.21,fd17::21", aaps="v"))
    assert cluster.row("Logical_Switch_Port", "v")["options"]["virtual-ip"].startswith("10.17.0.50,fd17::")
    assert "bind_vport" not in claims(ovn, "p.app", "10.17.0.50").text


def test_pods_take_an_address_of_their_subnet(ovn: Ovn) -> None:
    pods = [at(n, "s1", f"10.17.0.{i}", port_vips="10.17.0.100") for i, n in enumerate(("p1", "p2"), 21)]
    cluster_of(ovn, subnet("s1", **S1, vips=["10.17.0.100", "10.17.0.101"]), *pods, *FOUR)
    assert 'bind_vport("s1-vip-10.17.0.100", inport)' in claims(ovn, "p1.app", "10.17.0.100").text
    assert "bind_vport" not in claims(ovn, "a.app", "10.17.0.100").text
    assert "bind_vport" not in claims(ovn, "p1.app", "10.17.0.101").text


@pytest.mark.parametrize("kind", ["switch_lb_vip", "kube_host_vm_vip"])
def test_the_switch_answers_for_a_vip(ovn: Ovn, kind: str) -> None:
    """For a load balancer with the router's MAC address, so that what is sent there meets the balancer.

    `arp_proxy=true` means something to Kube-OVN's OVN only: the original has it at router ports, with addresses.
    """
    cluster = cluster_of(ovn, subnet("s1", **S1), vip("v", "s1", v4ip="10.17.0.50", type=kind, namespace="app"), *FOUR)
    answer = ovn.asks("a.app", "10.17.0.50")
    assert answer.reaches("a.app")
    mac = ovn.router_mac("ovn-cluster-s1")
    assert (f"eth.src = {mac}" in answer.changes) == (kind == "switch_lb_vip")
    assert f"arp.sha = {cluster.get('Vip', 'v')['status']['mac']}" in answer.changes
    cluster.delete("Vip", "v").run()
    assert not ovn.asks("a.app", "10.17.0.50").reaches("a.app")


# -- port security, unknown addresses (D.3)


def sends(ovn: Ovn, port: str, source: str, mac: str = "") -> Verdict:
    packet = f"ip4.src == {source} && ip4.dst == 10.17.0.12 && ip.ttl == 64 && icmp4.type == 8"
    return ovn.inject(port, f"eth.src == {mac or ovn.mac(port)} && eth.dst == {ovn.mac('b.app')} && {packet}")


def test_port_security(ovn: Ovn) -> None:
    notes = {"port_security": "true", "aaps": "v"}
    balanced = vip("v", "s1", v4ip="10.17.0.50", namespace="app")
    cluster = cluster_of(ovn, subnet("s1", **S1), balanced, at("p", "s1", "10.17.0.21", **notes), *FOUR)
    assert sends(ovn, "p.app", "10.17.0.21").reaches("b.app")
    assert sends(ovn, "p.app", "10.17.0.50").reaches("b.app"), "an address that it may take"
    assert sends(ovn, "p.app", "10.17.0.99").dropped
    assert sends(ovn, "p.app", "10.17.0.21", mac="02:aa:aa:aa:aa:aa").dropped
    assert sends(ovn, "a.app", "10.17.0.99").reaches("b.app"), "without port security"
    cluster.apply(at("p", "s1", "10.17.0.21")).run()
    assert sends(ovn, "p.app", "10.17.0.99").reaches("b.app")


def test_a_pod_with_addresses_that_nobody_knows(ovn: Ovn) -> None:
    cluster = cluster_of(ovn, subnet("s1", **S1), at("bridge", "s1", "10.17.0.21", layer2_forward="true"), *FOUR)
    stranger = "02:aa:aa:aa:aa:aa"
    packet = f"eth.src == {ovn.mac('a.app')} && eth.dst == {stranger} && ip4.src == 10.17.0.11 && ip4.dst == 10.9.9.9"
    assert ovn.inject("a.app", packet).reaches("bridge.app")
    assert ovn.trace("a.app", "10.17.0.21").reaches("bridge.app")
    cluster.apply(at("bridge", "s1", "10.17.0.21")).run()
    assert ovn.inject("a.app", packet).dropped


# -- multicast (D.2)


def test_multicast_snooping(ovn: Ovn) -> None:
    cluster = cluster_of(ovn, subnet("s1", **S1, enableMulticastSnoop=True), *FOUR)
    report = "eth.dst == 01:00:5e:01:02:03 && ip4.src == 10.17.0.11 && ip4.dst == 239.1.2.3 && ip.ttl == 1"
    joined = f"eth.src == {ovn.mac('a.app')} && {report} && ip.proto == 2"
    assert "igmp" in ovn.inject("a.app", joined).text
    (path,) = [row for row in ovn.southbound("Datapath_Binding") if ["name", "s1"] in row["external_ids"][1]]
    (querier,) = [row for row in ovn.southbound("IP_Multicast") if row["datapath"] == path["_uuid"]]
    lease = cluster.get("IP", "mcast-querier.s1")["spec"]
    assert (querier["enabled"], querier["querier"]) == (True, True)
    assert (querier["ip4_src"], querier["eth_src"]) == (lease["v4IpAddress"], lease["macAddress"])
    assert ovn.asks("a.app", lease["v4IpAddress"]).reaches("a.app"), "the querier's port"
    stream = f"eth.src == {ovn.mac('a.app')} && {report.replace('ip.ttl == 1', 'ip.ttl == 5')} && udp.dst == 5000"
    assert ovn.inject("a.app", stream).dropped, "nobody has joined"
    cluster.apply(subnet("s1", **S1)).run()
    assert "b.app" in ovn.inject("a.app", stream).ports, "flooded without snooping"
    assert not any(row["enabled"] for row in ovn.southbound("IP_Multicast"))

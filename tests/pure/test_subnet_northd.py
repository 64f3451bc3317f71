"""Rows of every kind of subnet with every feature are what northd understands: committed on a real server, made into
flows that parse (ovn-trace reads them all), without a warning in any log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster, Json, ip, subnet, underlay, vpc
from tests.support.subnet_values import PROFILES, SUBNET
from tests.support.trace import UNPATCHED, Ovn, at, cluster_of, needs_ovn, northd

pytestmark = needs_ovn

EVERYTHING: Json = {
    "private": True,
    "allowSubnets": ["10.99.0.0/24", "fd99::/64"],
    "acls": [{"direction": "from-lport", "priority": 1010, "match": "ip4.dst == 10.0.0.0/8", "action": "drop"}],
    "allowEWTraffic": True,
    "enableDHCP": True,
    "dhcpV4Options": "lease_time=60,dns_server={10.0.0.10;10.0.0.11}",
    "dhcpV6Options": "dns_server=fd00::53",
    "enableIPv6RA": True,
    "enableMulticastSnoop": True,
    "routeTable": "blue",
}


@pytest.fixture
def ovn() -> Iterator[Ovn]:
    with northd() as running:
        yield running


def around() -> tuple[Json, ...]:
    return (*underlay("v"), *underlay("w", 0, "net2"), vpc("v1"), vpc("v2"), subnet("other", cidrBlock="10.18.0.0/24"))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_subnet_with_everything(ovn: Ovn, profile: str) -> None:
    base = PROFILES[profile]
    more = {**EVERYTHING, "vips": ["10.17.0.100"]} if base.get("cidrBlock") else EVERYTHING
    ovn.known.append("next hop 10.17.0.1")  # a physical gateway, or a port without address yet
    ovn.known.append("next hop fd17::1")
    addresses = {"10.17.0.0/24": "10.17.0.11", "10.17.0.0/24,fd17::/64": "10.17.0.11,fd17::11"}
    pods = [at("a", "s", addresses[base["cidrBlock"]], port_vips="10.17.0.100")] if base.get("cidrBlock") else []
    cluster = cluster_of(ovn, *around(), subnet("s", **base), *pods, at("o", "other", "10.18.0.12"))
    judged(ovn, cluster)
    cluster.apply(subnet("s", **base, **{k: v for k, v in more.items() if k not in base})).run()
    judged(ovn, cluster)
    cluster.apply(subnet("s", **base)).run()
    judged(ovn, cluster)
    cluster.delete("Pod", "app/a").delete("Subnet", "s").run()
    judged(ovn, cluster)


def judged(ovn: Ovn, cluster: Cluster) -> None:
    """ovn-trace reads all flows of the database, and complains of those that it cannot parse."""
    assert cluster.run() == []
    assert ovn.trace("o.app", "10.18.0.1").reaches("o.app")


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_every_value_of_every_field(ovn: Ovn, profile: str) -> None:
    ovn.known.append("next hop ")
    joins = tuple(ip(f"n-{n}", "join", f"100.64.0.{n + 1}") for n in (1, 2))
    cluster = cluster_of(
        ovn, *around(), subnet("s", **PROFILES[profile]), at("o", "other", "10.18.0.12"), options=UNPATCHED, joins=joins
    )
    for patches in SUBNET.values():
        for patch in patches:
            cluster.api.patch("Subnet", "s", {"spec": patch})
            cluster.run()
            judged(ovn, cluster)
        cluster.apply(subnet("s", **PROFILES[profile])).run()
    judged(ovn, cluster)


# -- features that packets of ovn-trace do not show: what they become


def test_dhcp_and_router_advertisements(ovn: Ovn) -> None:
    spec = {"cidrBlock": "10.17.0.0/24,fd17::/64", "enableDHCP": True, "enableIPv6RA": True, "mtu": 1342}
    cluster = cluster_of(
        ovn,
        subnet("s", **spec, dhcpV4Options="dns_server={10.0.0.10;10.0.0.11}", ipv6RAConfigs="address_mode=slaac"),
        at("a", "s", "10.17.0.11,fd17::11"),
        at("own", "s", "10.17.0.12,fd17::12", **{"dhcp-v4-options": "lease_time=7"}),
    )
    offers = [f["actions"] for f in ovn.flows("s") if "put_dhcp_opts" in f["actions"] and "a.app" in f["match"]]
    assert offers
    for part in ("offerip = 10.17.0.11", "lease_time = 3600", "mtu = 1342", "router = 10.17.0.1"):
        assert all(part in action for action in offers), part
    assert all("dns_server = {10.0.0.10,10.0.0.11}" in action for action in offers)
    own = [f["actions"] for f in ovn.flows("s") if "put_dhcp_opts" in f["actions"] and "own.app" in f["match"]]
    assert own
    assert all("lease_time = 7" in action for action in own)
    assert any("put_dhcpv6_opts" in f["actions"] and "fd17::11" in f["actions"] for f in ovn.flows("s"))
    told = [f["actions"] for f in ovn.flows("ovn-cluster") if "put_nd_ra_opts" in f["actions"]]
    assert told
    assert all('addr_mode = "slaac"' in action and "prefix = fd17::/64" in action for action in told)
    cluster.apply(subnet("s", cidrBlock=spec["cidrBlock"])).run()
    assert not any("put_dhcp" in f["actions"] and '"a.app"' in f["match"] for f in ovn.flows("s"))
    assert any("put_dhcp" in f["actions"] and '"own.app"' in f["match"] for f in ovn.flows("s")), "the pod's own stay"
    assert not any("put_nd_ra_opts" in f["actions"] for f in ovn.flows("ovn-cluster"))


def test_multicast_and_virtual_ports(ovn: Ovn) -> None:
    s1 = {"cidrBlock": "10.17.0.0/24"}
    cluster = cluster_of(
        ovn,
        subnet("s", **s1, enableMulticastSnoop=True, vips=["10.17.0.100"]),
        at("a", "s", "10.17.0.11", port_vips="10.17.0.100"),
        at("b", "s", "10.17.0.12"),
    )
    assert any("igmp" in f["match"] and "igmp;" in f["actions"] for f in ovn.flows("s"))
    (switch,) = [d for d in ovn.southbound("IP_Multicast") if d["enabled"] is True]
    assert (switch["querier"], switch["ip4_src"]) == (True, cluster.get("IP", "mcast-querier.s")["spec"]["v4IpAddress"])
    bound = [f for f in ovn.flows("s") if "bind_vport" in f["actions"]]
    assert {"s-vip-10.17.0.100" in f["actions"] for f in bound} == {True}
    assert {'inport == "a.app"' in f["match"] for f in bound} == {True}, "only the pod that may take it"
    cluster.apply(subnet("s", **s1)).run()
    assert not any("bind_vport" in f["actions"] for f in ovn.flows("s"))
    assert not [d for d in ovn.southbound("IP_Multicast") if d["enabled"] is True]

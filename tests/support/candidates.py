"""Random objects that people might write: mostly sane, each field now and then wrong in a way that somebody could mean.

For tests that compare what two readers of the same object say of it. `stage` is the cluster that they are written into.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.support.cluster import Cluster, Json, merged, namespace, node, pod, subnet, underlay, vpc
from tests.support.hostile import pool, vip

KINDS = ("Subnet", "Vpc", "IPPool", "Vip", "Vlan", "Pod")
LATER = "2027-01-01T00:00:00Z"
"""When a candidate is created: after everything that is on the stage."""
NAME = "c"


def stage() -> Cluster:
    """Subnets of one and of two families, in three VPCs, an underlay one; a pool, a Vip, pods; addresses in use."""
    return Cluster().apply(
        *map(namespace, ("a", "b", "v")),
        node("n-1", "192.168.0.11"),
        node("n-2", "192.168.0.12", "fd00:99::2"),
        *underlay("vl", 10, "net1"),
        vpc("v1", namespaces=["v"]),
        vpc("v2"),
        subnet("s1", cidrBlock="10.20.0.0/24", namespaces=["a"]),
        subnet("d1", cidrBlock="10.21.0.0/24,fd21::/112"),
        subnet("x1", vpc="v1", cidrBlock="10.22.0.0/24", namespaces=["v"]),
        subnet("u1", vlan="vl", cidrBlock="10.23.0.0/24", gateway="10.23.0.1"),
        pool("p1", "s1", "10.20.0.100..10.20.0.109"),
        vip("vip1", "s1", v4ip="10.20.0.50"),
        pod("a/r1", "n-1", ip_address="10.20.0.60"),
        pod("a/r2", "n-1"),
        pod("b/r3", "n-2"),
        pod("v/r4", "n-2"),
    )


ADDRESSES = (
    "", "x", "10.20.0.5", "10.20.0.0", "10.20.0.255", "10.20.0.1", "10.20.0.60", "10.20.0.50", "10.20.0.105",
    "10.21.0.5", "10.16.0.7", "10.99.0.1", "fd21::5", "fd21::", "fd21::ffff", "10.21.0.5,fd21::5",
    "fd21::6,10.21.0.6", "::1", "10.20.0.5,10.20.0.6", "10.20.0.5/24", "0.0.0.0", "255.255.255.255",
    " 10.20.0.7", "10.20.0.7 ",
)  # fmt: skip
CIDRS = (
    "", "x", "10.30.0.0", "10.30.0.0/24", "10.30.0.7/24", "10.20.0.0/25", "10.20.0.0/16", "10.22.0.0/24",
    "10.16.4.0/24", "100.64.1.0/24", "10.96.0.0/16", "fd30::/64", "10.30.0.0/24,fd30::/112",
    "fd30::/112,10.30.0.0/24", "10.0.0.0/8", "10.30.0.0/24,10.31.0.0/24", "10.30.0.0/31", "10.30.0.0/32",
    "fd30::/127", "fd30::/128", "0.0.0.0/0", "::/0", "192.168.0.0/24", "127.0.0.0/24", "169.254.3.0/24",
    "224.1.0.0/24", "::ffff:10.0.0.0/120", "fe80::/64", "FD30::/64", "10.30.0.0/24,",
    "10.30.0.0/24, fd30::/112",
)  # fmt: skip
GATEWAYS = (
    "", "x", "10.30.0.1", "10.30.0.254", "10.30.0.0", "10.30.0.255", "10.31.0.1", "fd30::1", "FD30::1", "10.20.0.1",
    "10.30.0.1,fd30::1", "10.30.0.1,10.30.0.2",
)  # fmt: skip
EXCLUDES = (
    "x", "..", "10.30.0.1", "10.30.0.5..10.30.0.9", "10.30.0.9..10.30.0.5", "10.31.0.1", "fd30::5", "FD30::5",
    "10.30.0.1..fd30::1", "10.30.0.0/28",
)  # fmt: skip
MACS = ("", "x", "00:00:00:00:00:07", "FF:00:00:00:00:01", "00-00-00-00-00-07")
POOLS = (
    "", "x", "10.20.0.5", "10.20.0.100", "10.20.0.10..10.20.0.19", "10.20.0.32/28", "10.21.0.0/28",
    "fd21::10..fd21::1f", "10.20.0.0/23", "10.20.0.9..10.20.0.5", "10.20.0.60", "10.20.0.1", "10.20.0.255",
)  # fmt: skip

_Pick = random.Random
_Fields = Mapping[str, Callable[[_Pick], Any]]


def _one(*values: Any) -> Callable[[_Pick], Any]:
    return lambda pick: pick.choice(values)


def _some(*values: Any) -> Callable[[_Pick], Any]:
    return lambda pick: [pick.choice(values) for _ in range(pick.randrange(3))]


def _structs(**fields: Callable[[_Pick], Any]) -> Callable[[_Pick], Any]:
    return lambda pick: [{name: made(pick) for name, made in fields.items()} for _ in range(1 + pick.randrange(2))]


_SWITCH = _one(False, True)
_SELECTORS = _structs(matchExpressions=_structs(key=_one("a"), operator=_one("In", "Exists"), values=_some("b")))
_SUBNET: _Fields = {
    "gateway": _one(*GATEWAYS),
    "excludeIps": _some(*EXCLUDES),
    "vpc": _one("", "ovn-cluster", "v1", "v2", "nope"),
    "vlan": _one("", "vl", "nope"),
    "gatewayType": _one("", "distributed", "centralized", "x"),
    "gatewayNode": _one("", "n-1", "n-1,n-2", "nope", "n-1:10.0.0.1"),
    "protocol": _one("", "IPv4", "IPv6", "Dual", "Mac", "ipv4"),
    "mtu": _one(0, 100, 1279, 1280, 9000),
    "natOutgoing": _SWITCH,
    "externalEgressGateway": _one("", "10.30.0.9", "10.30.0.9,fd30::9", "1.1.1.1,2.2.2.2,3.3.3.3", "x", "FD30::9"),
    "policyRoutingTableID": _one(0, 10),
    "allowSubnets": _some("10.1.0.0/16", "10.1.1.1", "x", "FD00::/8", "fd00::/8"),
    "private": _SWITCH,
    "namespaces": _some("a", "b", "v", "zz"),
    "vips": _some("10.30.0.9", "10.31.0.9", "x", "fd30::9"),
    "logicalGateway": _SWITCH,
    "u2oInterconnection": _SWITCH,
    "u2oInterconnectionIP": _one("", "10.30.0.9", "10.30.0.1", "10.31.0.1", "x", "10.30.0.9,fd30::9"),
    "u2oFeatures": lambda pick: {"overlayOnlyRouting": pick.random() < 0.5},
    "enableDHCP": _SWITCH,
    "dhcpV4Options": _one("", "lease_time=3600", "x"),
    "provider": _one("", "ovn", "n.a.ovn", "other"),
    "natOutgoingPolicyRules": _structs(
        action=_one("nat", "forward"),
        match=lambda pick: {"srcIPs": pick.choice(("", "10.1.1.1", "x", "fd00::/8")), "dstIPs": pick.choice(("", "y"))},
    ),
    "acls": _structs(
        direction=_one("from-lport", "to-lport", "x"),
        priority=_one(1, 0, 40000),
        match=_one("ip", "", "ip4"),
        action=_one("allow", "drop", "x", "allow-related"),
    ),
    "namespaceSelectors": _SELECTORS,
    "gatewayNodeSelectors": _SELECTORS,
}
_VPC: _Fields = {
    "staticRoutes": _structs(
        cidr=_one("10.0.0.0/8", "10.1.1.1", "x", "fd00::/8", "0.0.0.0/0", ""),
        nextHopIP=_one("10.22.0.9", "x", "", "fd22::1"),
        policy=_one("", "policyDst", "policySrc", "x"),
        ecmpMode=_one("", "", "ecmp_symmetric_reply", "x"),
    ),
    "policyRoutes": _structs(
        priority=_one(10, 0, 40000, -1),
        match=_one("ip4.src == 10.0.0.0/8", "ip", "", "   "),
        action=_one("reroute", "allow", "drop", "x"),
        nextHopIP=_one("", "10.22.0.9", "x", "10.22.0.8,10.22.0.9"),
    ),
    "vpcPeerings": _structs(
        remoteVpc=_one("v1", "v2", "nope", NAME, ""),
        localConnectIP=_one("169.254.0.1/30", "x", "", "169.254.0.1", "fd00::1/64,169.254.0.1/30"),
    ),
    "namespaces": _some("a", "b", "v", "zz"),
    "defaultSubnet": _one("", "s1", "x1", "nope"),
    "enableExternal": _SWITCH,
    "enableBfd": _SWITCH,
    "extraExternalSubnets": _some("s1", "nope"),
    "bfdPort": lambda pick: {"enabled": pick.random() < 0.7, "ip": pick.choice(("10.255.255.255", "x", "", "fd00::1"))},
}
_VIP: _Fields = {
    "v4ip": _one(*ADDRESSES),
    "v6ip": _one(*ADDRESSES),
    "macAddress": _one(*MACS),
    "namespace": _one("", "a"),
    "type": _one("", "switch_lb_vip", "kube_host_vm_vip"),
    "selector": _some("a:b", "x"),
}
_NOTES: _Fields = {
    "ip_address": _one(*ADDRESSES),
    "mac_address": _one(*MACS),
    "ip_pool": _one(
        "", "p1", "nope", "10.20.0.5", "10.20.0.5,10.20.0.6", "10.20.0.60", "10.20.0.60,10.20.0.5", "10.20.0.5;x",
        "10.21.0.7,fd21::7", "10.99.0.1", "10.20.0.5;10.20.0.6", "10.20.0.5,10.20.0.6;10.20.0.7",
    ),
    "ip_family": _one("", "ipv4", "ipv6", "IPv4", "dual"),
    "ingress_rate": _one("", "3", "-1", "x", "1.5", " 3"),
    "egress_burst": _one("3", "x"),
    "logical_switch": _one("s1", "d1", "x1", "nope", "u1", "ovn-default"),
    "vip": _one("vip1", "nope"),
    "north_gateway": _one("10.20.0.9", "x"),
    "port_security": _one("true", "x"),
    "cidr": _one("10.20.0.0/24", "x"),
}  # fmt: skip


def _filled(pick: _Pick, fields: _Fields, most: int) -> Json:
    return {name: fields[name](pick) for name in pick.sample(sorted(fields), pick.randrange(most + 1))}


def candidate(kind: str, pick: _Pick) -> Json:
    """One object of a kind, always of the same name."""
    if kind == "Subnet":
        cidr = pick.choice(CIDRS) if pick.random() < 0.5 else "10.30.0.0/24"
        return subnet(NAME, cidrBlock=cidr, **_filled(pick, _SUBNET, 3))
    if kind == "Vpc":
        return vpc(NAME, **_filled(pick, _VPC, 3))
    if kind == "IPPool":
        more = {"namespaces": _some("a", "zz")(pick), "enableAddressSet": pick.random() < 0.5}
        of = pick.choice(("s1", "s1", "d1", "nope", "x1", ""))
        entries = _listed(pick, POOLS)
        return merged(pool(NAME, of, *entries), {"spec": more})  # type: ignore[no-any-return]
    if kind == "Vip":
        return vip(NAME, pick.choice(("s1", "d1", "d1", "nope", "x1", "", "u1")), **_filled(pick, _VIP, 3))
    if kind == "Vlan":
        spec = {"id": pick.choice((0, 10, 10, 4095)), "provider": pick.choice(("net1", "net1", "nope"))}
        return {"kind": "Vlan", "metadata": {"name": NAME}, "spec": spec}
    return pod(f"{pick.choice('abv')}/{NAME}", pick.choice(("n-1", "")), **_filled(pick, _NOTES, 3))


def _listed(pick: _Pick, values: Sequence[str]) -> list[str]:
    return [pick.choice(values) for _ in range(1 + pick.randrange(3))]

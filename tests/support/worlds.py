"""Random clusters: objects as users write them, good and bad ones, and edits of them."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from ovnbridge.model.crd.vpc import VpcSpec
from tests.support.cluster import Json, ip, namespace, node, pod, subnet, underlay, vpc

NODES, NAMESPACES, VPCS, SUBNETS = ("n-1", "n-2", "n-3"), ("a", "b"), ("v1", "v2"), ("s1", "s2", "s3", "s4")
PODS = tuple(f"{space}/p{i}" for space in NAMESPACES for i in range(3))

Edit = tuple[str, Any]
"""("put", object) or ("delete", (kind, key))."""


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def filled(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A dict with those fields that are not None."""
    return st.fixed_dictionaries(fields).map(lambda d: {k: v for k, v in d.items() if v is not None})


def _addresses(number: int) -> st.SearchStrategy[tuple[str, ...]]:
    v4, v6 = f"192.168.0.{number}", f"fd01::{number}"
    return st.sampled_from([(v4,), (v4,), (v4, v6), (v6,), ()])


nodes = st.sampled_from(NODES).flatmap(
    lambda name: st.builds(
        lambda addresses, ready, labels, notes: node(name, *addresses, ready=ready, labels=labels, **notes),
        _addresses(NODES.index(name) + 11),
        st.booleans(),
        st.sampled_from([{}, {"gw": "yes"}, {"ovn.kubernetes.io/external-gw": "true"}]),
        st.sampled_from([{}, {"chassis": f"chassis-{name}"}]),
    )
)
namespaces = st.builds(
    lambda name, team: namespace(name, **({"team": team} if team else {})),
    st.sampled_from(NAMESPACES),
    st.sampled_from(["", "red"]),
)

_ROUTES = (
    {"cidr": "0.0.0.0/0", "nextHopIP": "10.20.0.254", "policy": "policyDst"},
    {"cidr": "10.9.0.0/16", "nextHopIP": "10.20.0.253", "policy": "policySrc", "routeTable": "blue"},
    {"cidr": "10.9.0.1", "nextHopIP": "10.20.0.253"},
    {"cidr": "10.9.0.1", "nextHopIP": "10.20.0.252", "ecmpMode": "ecmp_symmetric_reply"},
)
_BAD_ROUTES = (
    {"cidr": "10.9.0.1", "nextHopIP": "10.20.0.253", "bfdId": "00000000-0000-4000-8000-000000000000"},
    {"cidr": "10.9.0.0/99", "nextHopIP": "10.20.0.253"},
    {"cidr": "10.9.0.0/16", "nextHopIP": "10.20.0.253/24"},
    {"cidr": "10.9.0.0/16", "nextHopIP": "10.20.0.1", "policy": "nonsense"},
    {},
)
_POLICIES = (
    {"priority": 1100, "match": "ip4.dst == 198.51.100.0/24", "action": "drop"},
    {"priority": 1200, "match": "ip4.src == 10.20.0.0/28", "action": "reroute", "nextHopIP": "10.20.0.253, 10.20.0.2"},
    {"priority": 1100, "match": "ip4.dst == 198.51.100.0/24", "action": "allow"},
)
_BAD_POLICIES = (
    {"priority": 1, "match": "ip4", "action": "reroute", "nextHopIP": ""},
    {"priority": 1, "match": "ip4", "action": "explode"},
)


_PEERINGS = (
    {"remoteVpc": "v1", "localConnectIP": "169.254.0.1/30"},
    {"remoteVpc": "v2", "localConnectIP": "169.254.0.2/30,fd02::2/126"},
    {"remoteVpc": "gone", "localConnectIP": "169.254.0.5/30"},
)
_BAD_PEERINGS = (
    {"remoteVpc": "v1", "localConnectIP": "169.254.0.1"},
    {"remoteVpc": "s1", "localConnectIP": "169.254.0.9/30"},
    {"remoteVpc": "", "localConnectIP": ""},
)
_BFD_PORTS = (
    {"enabled": True, "ip": "10.255.255.1"},
    {"enabled": True, "ip": "10.255.255.1,fd03::1", "nodeSelector": {"matchLabels": {"gw": "yes"}}},
    {"enabled": False, "ip": "10.255.255.1"},
)


def vpcs(bad: bool = True) -> st.SearchStrategy[Json]:
    routes = (*_ROUTES, *_BAD_ROUTES) if bad else _ROUTES
    policies = (*_POLICIES, *_BAD_POLICIES) if bad else _POLICIES
    peerings = (*_PEERINGS, *_BAD_PEERINGS) if bad else _PEERINGS
    fields = {
        "namespaces": maybe(st.lists(st.sampled_from(NAMESPACES), unique=True)),
        "defaultSubnet": maybe(st.sampled_from(SUBNETS)),
        "staticRoutes": maybe(st.lists(st.sampled_from(routes), max_size=3)),
        "policyRoutes": maybe(st.lists(st.sampled_from(policies), max_size=2)),
        "vpcPeerings": maybe(st.lists(st.sampled_from(peerings), max_size=2)),
        "enableExternal": maybe(st.booleans()),
        "extraExternalSubnets": maybe(st.lists(st.sampled_from(("s3", "s4")), max_size=2)),
        "enableBfd": maybe(st.booleans()),
        "bfdPort": maybe(st.sampled_from(_BFD_PORTS)),
    }
    assert fields.keys() == {field.encode_name for field in msgspec.structs.fields(VpcSpec)}, "all fields are edited"
    return st.builds(lambda name, spec: vpc(name, **spec), st.sampled_from((*VPCS, "ovn-cluster")), filled(**fields))


eips = st.builds(
    lambda router, place, number: {
        "kind": "OvnEip",
        "metadata": {"name": f"{router}-{place}"},
        "spec": {"externalSubnet": place, "type": "lrp"},
        "status": {"v4Ip": f"10.{place.replace('s', '2')}.0.{number}" if number else "", "macAddress": ""},
    },
    st.sampled_from((*VPCS, "ovn-cluster")),
    st.sampled_from(("s3", "s4")),
    st.sampled_from([0, 9, 10]),
)

_CIDRS = {
    "s1": ("10.21.0.0/24", "10.21.0.0/24,fd21::/112", "10.21.0.7/28"),
    "s2": ("10.22.0.0/29", "fd22::/64", "fd22::/112,10.22.0.0/30"),
    "s3": ("10.23.0.0/31", "10.23.0.0/16"),
    "s4": ("10.24.0.0/24",),
}
_UNDERLAY: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {"logicalGateway": True},
    {"vlan": "vlan1"},
    {"vlan": "vlan2", "logicalGateway": True},
    {"vlan": "vlan1", "u2oInterconnection": True},
    {"vlan": "vlan1", "u2oInterconnection": True, "u2oFeatures": {"overlayOnlyRouting": True}},
)
_ACLS = (
    {"direction": "to-lport", "priority": 1010, "match": "ip4.src == 10.0.0.0/8", "action": "drop"},
    {"direction": "from-lport", "priority": 1900, "match": "ip4", "action": "allow-related"},
    {"direction": "to-lport", "priority": 1000, "match": "ip", "action": "allow"},
    {"direction": "sideways", "priority": 1, "match": "ip", "action": "allow"},
)
_NAT_RULES = (
    {"match": {"srcIPs": "10.21.0.4,10.21.0.5"}, "action": "forward"},
    {"match": {"dstIPs": "fd99::/64"}, "action": "nat"},
)
_OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "private": maybe(st.booleans()),
    "allowSubnets": maybe(st.just(["10.99.0.0/24", "fd99::/64"])),
    "acls": maybe(st.lists(st.sampled_from(_ACLS), max_size=2)),
    "allowEWTraffic": maybe(st.booleans()),
    "enableDHCP": maybe(st.booleans()),
    "dhcpV4Options": maybe(st.just("lease_time=60,dns_server={10.0.0.10;10.0.0.11}")),
    "enableIPv6RA": maybe(st.booleans()),
    "enableMulticastSnoop": maybe(st.booleans()),
    "natOutgoing": maybe(st.booleans()),
    "natOutgoingPolicyRules": maybe(st.lists(st.sampled_from(_NAT_RULES), max_size=2)),
}
_BAD_CIDRS = (
    "",
    "10.1.0.0",
    "10.1.0.0/32",
    "fd01::1/128",
    "224.0.0.0/8",
    "fe80::/64",
    "fd00::%1/64",
    "FD00::/64",
    "10.1.0.0/24,10.2.0.0/24",
    "10.1.0.0/24,fd00::/64,10.3.0.0/24",
    "nonsense",
    ",",
    "10.1.0.0/33",
    "0.0.0.0/0",
)
NOBODYS = ["nobody's"]
"""Namespaces that belong to no VPC."""
_BAD_FIELDS: tuple[dict[str, Any], ...] = (
    {"gateway": "10.99.0.1"},
    {"gateway": "garbage"},
    {"gateway": "fd21::1%eth0"},
    {"excludeIps": ["10.21.0.9..10.21.0.3"]},
    {"excludeIps": ["10.21.0.0/28"]},
    {"excludeIps": ["x"]},
    {"gatewayType": "sideways"},
    {"allowSubnets": ["10.0.0.1"]},
    {"logicalGateway": True, "u2oInterconnection": True},
    {"mtu": 1000, "cidrBlock": "fd77::/64"},
    {"protocol": "IPX"},
    {"vips": ["10.99.0.1"]},
    {"vips": ["x"]},
    {"externalEgressGateway": "10.99.0.1,10.99.0.2,10.99.0.3"},
    {"externalEgressGateway": "10.99.0.1", "natOutgoing": True},
    {"u2oFeatures": {"overlayOnlyRouting": True}, "u2oInterconnection": False},
    {"natOutgoingPolicyRules": [{"match": {"srcIPs": "10.0.0.0/8", "dstIPs": "fd00::/8"}, "action": "nat"}]},
    {"natOutgoingPolicyRules": [{"match": {"srcIPs": "10.0.0.0/99"}, "action": "nat"}]},
    {"namespaces": NOBODYS, "vpc": "v2"},
)


def good_subnets(name: str) -> st.SearchStrategy[Json]:
    spec = filled(
        cidrBlock=st.sampled_from(_CIDRS[name]),
        vpc=maybe(st.sampled_from((*VPCS, "ovn-cluster"))),
        namespaces=maybe(st.lists(st.sampled_from(NAMESPACES), unique=True)),
        namespaceSelectors=maybe(st.just([{"matchLabels": {"team": "red"}}])),
        gatewayType=maybe(st.sampled_from(["distributed", "centralized"])),
        gatewayNode=maybe(st.sampled_from(["n-1", "n-2,n-1", "n-3:172.16.0.1, n-1", "gone"])),
        gatewayNodeSelectors=maybe(st.just([{"matchLabels": {"gw": "yes"}}])),
        enableEcmp=maybe(st.booleans()),
        enableLb=maybe(st.booleans()),
        routeTable=maybe(st.just("blue")),
        provider=st.sampled_from([None, None, None, "net.a.ovn", "net.a"]),
        **_OPTIONAL,
    )
    return st.builds(lambda fields, kind: subnet(name, **fields, **kind), spec, st.sampled_from(_UNDERLAY))


def bad_subnets(name: str) -> st.SearchStrategy[Json]:
    return st.builds(
        lambda good, bad: {**good, "spec": {**good["spec"], **bad}},
        good_subnets(name),
        st.sampled_from([*({"cidrBlock": cidr} for cidr in _BAD_CIDRS), *_BAD_FIELDS]),
    ).filter(lambda s: s["spec"]["cidrBlock"] or not s["spec"].get("vlan"))


def subnets(bad: bool = True) -> st.SearchStrategy[Json]:
    return st.sampled_from(SUBNETS).flatmap(
        lambda name: st.one_of(good_subnets(name), good_subnets(name), bad_subnets(name)) if bad else good_subnets(name)
    )


_NOTES = filled(
    logical_switch=st.sampled_from([None, None, None, *SUBNETS, "gone"]),
    ip_address=st.sampled_from(
        [None, None, None, "10.21.0.9", "10.21.0.9,fd21::9", "FD22::9", "10.16.0.77/16", "x", ","]
    ),
    mac_address=st.sampled_from([None, None, "00:00:00:AA:00:01", "nonsense"]),
    ip_family=st.sampled_from([None, None, None, "ipv4", "ipv6", "both"]),
    port_security=maybe(st.just("true")),
    ingress_rate=st.sampled_from([None, None, "-1"]),
    north_gateway=st.sampled_from([None, None, None, "10.21.0.2"]),
)
networks = st.sampled_from(
    [*underlay("vlan1", 10), *underlay("vlan2", 0, "net2"), underlay("vlan2", 10)[1], underlay("vlan1", 7)[1]]
)
pods = st.builds(
    lambda name, on, notes, spec, phase: pod(name, on, spec=spec, phase=phase, **notes),
    st.sampled_from(PODS),
    st.sampled_from(["", *NODES, *NODES]),
    _NOTES,
    st.sampled_from([{}, {}, {}, {}, {"hostNetwork": True}, {"restartPolicy": "Never"}]),
    st.sampled_from(["", "Running", "Running", "Failed", "Succeeded"]),
)

_LEASES = {"s1": "10.21.0.", "s2": "fd22::", "s3": "10.23.0.", "s4": "10.24.0.", "ovn-default": "10.16.0."}
leases = st.builds(
    lambda owner, place, number: ip(owner, place, f"{_LEASES[place]}{number}"),
    st.sampled_from(PODS),
    st.sampled_from(tuple(_LEASES)),
    st.integers(1, 9),
) | st.builds(lambda name, number: ip(name, "join", f"100.64.0.{number}"), st.sampled_from(NODES), st.integers(2, 9))

_KEYS = (
    ("Vlan", "vlan1"),
    ("ProviderNetwork", "net1"),
    *(("Node", name) for name in NODES),
    *(("Namespace", name) for name in NAMESPACES),
    *(("Vpc", name) for name in (*VPCS, "ovn-cluster")),
    *(("Subnet", name) for name in (*SUBNETS, "join", "ovn-default")),
    *(("Pod", name) for name in PODS),
    *(("OvnEip", f"{name}-s4") for name in (*VPCS, "ovn-cluster")),
)


def edits(bad: bool = True) -> st.SearchStrategy[Edit]:
    objects = st.one_of(nodes, namespaces, networks, vpcs(bad), eips, subnets(bad), pods, pods)
    return objects.map(lambda obj: ("put", obj)) | st.sampled_from(_KEYS).map(lambda key: ("delete", key))


def worlds(bad: bool = True, size: int = 25) -> st.SearchStrategy[list[Edit]]:
    return st.lists(edits(bad), min_size=size // 3, max_size=size)


BASE = (*underlay("vlan1"), namespace("a"), namespace("b"), node("n-1", "192.168.0.11"), node("n-2", "192.168.0.12"))

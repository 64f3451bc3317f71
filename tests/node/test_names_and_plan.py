"""Names, MTU, tunnel choice, ovn0 and host routes: tables of input and answer."""

from __future__ import annotations

import pytest

from ovnbridge.model.crd.base import Condition
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec, SubnetStatus
from ovnbridge.model.kube import Node, NodeAddress, NodeStatus
from ovnbridge.model.meta import ObjectMeta
from ovnbridge.node import plan
from ovnbridge.node.names import nic_names, port_name, valid_link_name
from ovnbridge.node.plan import HostAddress, HostLink, HostRoute, PlanError

CONTAINER = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("interface", "host", "inside"),
    [
        ("eth0", "0123456789ab_h", "0123456789ab_c"),
        ("net1", "01234567_net1_h", "01234567_net1_c"),
        ("pod1a2b3c4d5e6", "01234_1a2b3c4_h", "01234_1a2b3c4_c"),
    ],
)
def test_interface_names_are_kube_ovns(interface: str, host: str, inside: str) -> None:
    assert nic_names(CONTAINER, interface) == (host, inside)


@pytest.mark.parametrize("interface", ["a" * n for n in range(1, 16)])
def test_interface_names_fit_and_differ_between_sandboxes(interface: str) -> None:
    names = {name for cid in ("a" * 64, "ab" * 32, "abc1" * 16) for name in nic_names(cid, interface)}
    assert all(valid_link_name(name) for name in names)
    assert len(names) >= 4, "two sandboxes that begin alike may share only short prefixes"


@pytest.mark.parametrize(
    ("provider", "interface", "expected"),
    [
        ("ovn", "", "p.ns"),
        ("net.default.ovn", "", "p.ns.net.default.ovn"),
        ("net.default.ovn", "net1", "p.ns.net.default.ovn.net1"),
    ],
)
def test_port_name(provider: str, interface: str, expected: str) -> None:
    assert port_name("p", "ns", provider, interface) == expected


@pytest.mark.parametrize(
    ("kind", "ip", "expected"),
    [
        ("geneve", "192.0.2.1", 1400),
        ("geneve", "fd00::1", 1380),
        ("vlan", "192.0.2.1", 1400),
        ("vxlan", "192.0.2.1", 1450),
        ("vxlan", "fd00::1", 1430),
        ("stt", "192.0.2.1", 1428),
    ],
)
def test_tunnel_mtu(kind: str, ip: str, expected: int) -> None:
    assert plan.tunnel_mtu(1500, kind, ip) == expected


def test_tunnel_mtu_of_unknown_type() -> None:
    with pytest.raises(PlanError, match="invalid network type"):
        plan.tunnel_mtu(1500, "gre", "192.0.2.1")


def node(annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None) -> Node:
    return Node(
        metadata=ObjectMeta(name="n1", annotations=annotations, labels=labels),
        status=NodeStatus(
            addresses=(
                NodeAddress(type="Hostname", address="n1"),
                NodeAddress(type="InternalIP", address="192.0.2.1"),
                NodeAddress(type="InternalIP", address="fd00:1::1"),
            )
        ),
    )


LINKS = {
    name: HostLink(name=name, index=index, mtu=mtu, up=True)
    for index, (name, mtu) in enumerate((("lo", 65536), ("bond0", 9000), ("ens3", 1500), ("br-phy", 1600)), 1)
}
ADDRESSES = (
    HostAddress(link="lo", address="127.0.0.1/8"),
    HostAddress(link="bond0", address="10.9.9.9/32"),
    HostAddress(link="bond0", address="10.9.0.1/16"),
    HostAddress(link="ens3", address="192.0.2.1/24"),
    HostAddress(link="ens3", address="fd00:1::1/64"),
    HostAddress(link="br-phy", address="198.51.100.1/24"),
)
DPDK = {"ovn.kubernetes.io/ovs_dp_type": "userspace"}


@pytest.mark.parametrize(
    ("annotations", "labels", "options", "expected"),
    [
        ({}, {}, {"pod_ip": "192.0.2.1"}, ("ens3", "192.0.2.1", 1400)),
        ({}, {}, {"pod_ip": "fd00:1::1"}, ("ens3", "fd00:1::1", 1380)),
        ({}, {}, {}, ("ens3", "192.0.2.1", 1400)),
        ({}, {}, {"iface": "bond0"}, ("bond0", "10.9.0.1", 8900)),
        ({}, {}, {"iface": "bond0", "host_tunnel_source": True}, ("bond0", "10.9.9.9", 8900)),
        ({}, {}, {"iface": "nothere,ens.*"}, ("ens3", "192.0.2.1", 1400)),
        ({}, {}, {"iface": "ens3", "mtu": 1300}, ("ens3", "192.0.2.1", 1300)),
        ({}, DPDK, {}, ("br-phy", "198.51.100.1", 1500)),
        ({}, {}, {"iface": "ens9", "bridges": {"ens9": "br-phy"}}, ("br-phy", "198.51.100.1", 1500)),
        ({plan.TUNNEL_INTERFACE: "bond0"}, DPDK, {"iface": "ens3"}, ("bond0", "10.9.0.1", 8900)),
    ],
)
def test_tunnel_interface(
    annotations: dict[str, str], labels: dict[str, str], options: dict[str, object], expected: tuple[str, str, int]
) -> None:
    chosen = plan.encapsulation(node(annotations, labels), LINKS, ADDRESSES, **options)  # type: ignore[arg-type]
    assert (chosen.interface, chosen.ip, chosen.mtu) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pod_ip": "203.0.113.7"}, "no interface of this node has the address"),
        ({"iface": "wlan.*"}, "no interface matches"),
        ({"iface": "("}, "invalid interface pattern"),
        ({"iface": "lo"}, "no usable address"),
    ],
)
def test_no_tunnel_interface_says_why(options: dict[str, str], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan.encapsulation(node(), LINKS, ADDRESSES, **options)  # type: ignore[arg-type]


def test_open_vswitch_ids() -> None:
    encap = plan.Encapsulation(interface="ens3", ip="192.0.2.1", mtu=1400)
    networks = {"storage": "10.1.0.1", "backup": "10.0.0.1", "same": "192.0.2.1"}
    assert plan.open_vswitch_ids(encap, networks, checksum=True) == {
        "ovn-encap-csum": "true",
        "ovn-encap-ip": "192.0.2.1,10.0.0.1,10.1.0.1",
        "ovn-encap-ip-default": "192.0.2.1",
    }
    assert plan.open_vswitch_ids(encap, {}, checksum=False)["ovn-encap-csum"] == "false"


JOIN = {
    "ovn.kubernetes.io/ip_address": "100.64.0.2,fd00:100::2",
    "ovn.kubernetes.io/mac_address": "0A:00:00:00:00:01",
    "ovn.kubernetes.io/cidr": "100.64.0.0/16,fd00:100::/64",
    "ovn.kubernetes.io/gateway": "100.64.0.1,fd00:100::1",
    "ovn.kubernetes.io/port_name": "node-n1",
}


def test_node_port_from_annotations() -> None:
    port = plan.node_port(node(JOIN))
    assert port == plan.NodePort(
        port="node-n1",
        mac="0a:00:00:00:00:01",
        addresses=("100.64.0.2/16", "fd00:100::2/64"),
        gateways=("100.64.0.1", "fd00:100::1"),
    )


@pytest.mark.parametrize("missing", ["ip_address", "mac_address", "cidr"])
def test_node_port_waits_for_the_controller(missing: str) -> None:
    annotations = {key: value for key, value in JOIN.items() if not key.endswith(missing)}
    assert plan.node_port(node(annotations)) is None


def test_node_port_with_rubbish_is_none() -> None:
    assert plan.node_port(node(JOIN | {"ovn.kubernetes.io/cidr": "nonsense"})) is None


def test_link_local_is_eui64() -> None:
    assert plan.link_local("0a:44:f4:2d:ea:1e") == "fe80::844:f4ff:fe2d:ea1e/64"


def subnet(name: str, cidr: str, *, valid: bool = True, **spec: object) -> Subnet:
    conditions = (Condition(type="Validated", status="True" if valid else "False"),)
    return Subnet(
        metadata=ObjectMeta(name=name),
        spec=SubnetSpec(cidr_block=cidr, **spec),  # type: ignore[arg-type]
        status=SubnetStatus(conditions=conditions),
    )


def test_routed_cidrs() -> None:
    subnets = [
        subnet("plain", "10.1.0.0/16", vpc="ovn-cluster"),
        subnet("dual", "10.2.0.0/16,fd02::/64", provider="ovn"),
        subnet("tenant", "10.3.0.0/16", vpc="tenant"),
        subnet("broken", "10.4.0.0/16", valid=False),
        subnet("underlay", "10.5.0.0/16", vlan="v1"),
        subnet("logical", "10.6.0.0/16", vlan="v1", logical_gateway=True),
        subnet("u2o", "10.7.0.0/16", vlan="v1", u2o_interconnection=True),
        subnet("u2olb", "10.8.0.0/16", vlan="v1", u2o_interconnection=True, enable_lb=True),
        subnet("macvlan", "10.9.0.0/16", provider="macvlan.default"),
        subnet("attached", "10.10.0.0/16", provider="net1.default.ovn"),
    ]
    assert plan.routed_cidrs(subnets, cluster_router="ovn-cluster") == [
        "10.1.0.0/16",
        "10.10.0.0/16",
        "10.2.0.0/16",
        "10.6.0.0/16",
        "10.7.0.0/16",
        "fd02::/64",
    ]


def test_host_routes() -> None:
    port = plan.node_port(node(JOIN))
    assert port is not None
    cidrs = ["10.1.0.0/16", "fd02::/64", "100.64.0.0/16", "192.0.2.0/24"]
    routes = {r.destination: r for r in plan.host_routes(cidrs, port, node(), local_ips=["192.0.2.1", "fd00:1::1"])}
    assert set(routes) == {"100.64.0.0/16", "fd00:100::/64", "10.1.0.0/16", "fd02::/64"}, "not the node's own network"
    assert routes["10.1.0.0/16"] == HostRoute(destination="10.1.0.0/16", gateway="100.64.0.1", source="192.0.2.1")
    assert routes["fd02::/64"].source == "fd00:1::1"
    join = routes["100.64.0.0/16"]
    assert (join.gateway, join.source, join.protocol, join.scope) == ("", "100.64.0.2", 2, 253)
    assert routes["fd00:100::/64"].metric == 256


def test_source_only_when_it_is_local() -> None:
    port = plan.node_port(node(JOIN))
    assert port is not None
    (route,) = [r for r in plan.host_routes(["10.1.0.0/16"], port, node(), local_ips=[]) if r.gateway]
    assert route.source == ""


def test_route_changes() -> None:
    wanted = [
        HostRoute(destination="10.1.0.0/16", gateway="100.64.0.1", source="192.0.2.1"),
        HostRoute(destination="10.2.0.0/16", gateway="100.64.0.1", source="192.0.2.1"),
        HostRoute(destination="10.3.0.0/16", gateway="100.64.0.1", source="192.0.2.1"),
        HostRoute(destination="100.64.0.0/16", source="100.64.0.2", scope=253),
    ]
    actual = {
        "ovn0": [
            HostRoute(destination="10.1.0.0/16", gateway="100.64.0.1", source="192.0.2.1"),
            HostRoute(destination="10.2.0.0/16", gateway="100.64.0.9", source="192.0.2.1"),
            HostRoute(destination="10.8.0.0/16", gateway="100.64.0.1"),
            HostRoute(destination="169.254.0.0/16", gateway="100.64.0.1"),
            HostRoute(destination="100.64.0.0/16", source="100.64.0.2", scope=253),
            HostRoute(destination="10.99.0.0/16", scope=253),
        ],
        "ens3": [HostRoute(destination="10.3.0.0/16", gateway="192.0.2.254", source="192.0.2.1")],
    }
    changes = plan.route_changes(wanted, actual)
    assert [r.destination for r in changes.replace] == ["10.2.0.0/16"]
    assert [r.destination for r in changes.remove] == ["10.8.0.0/16"]


def test_route_changes_of_what_is_right_are_none() -> None:
    port = plan.node_port(node(JOIN))
    assert port is not None
    routes = plan.host_routes(["10.1.0.0/16", "fd02::/64"], port, node(), local_ips=["192.0.2.1"])
    changes = plan.route_changes(routes, {"ovn0": routes})
    assert changes == plan.RouteChanges(replace=(), remove=())

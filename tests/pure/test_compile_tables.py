"""Objects in, rows and annotations out, in the words of the spec: part I, and the tables of B, D and E.

Expected values are typed from the spec, never from our output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from ovnbridge.compile.options import Options
from ovnbridge.compile.subnet_spec import default_spec
from ovnbridge.model.crd.codec import convert
from ovnbridge.model.crd.subnet import SubnetSpec
from tests.support.cluster import Cluster, Json, ip, mac_of, merged, namespace, node, pod, subnet, underlay, vpc
from tests.support.memory import MemoryDatabase, schema

VENDOR = {"vendor": "kube-ovn"}
N1, N2 = node("n-1", "192.168.0.11"), node("n-2", "192.168.0.12")
LEASES = (ip("n-1", "join", "100.64.0.2"), ip("n-2", "join", "100.64.0.3"))
CLUSTER_LBS = {
    ("Load_Balancer", f"cluster-{p}{kind}-loadbalancer") for p in ("tcp", "udp", "sctp") for kind in ("", "-session")
}


def ready(*objects: Json, options: Options | None = None, database: MemoryDatabase | None = None) -> Cluster:
    """The worked example's two nodes with their join addresses, and these objects."""
    cluster = Cluster(options=options, database=database)
    cluster.apply(namespace("app"), N1, N2, *LEASES, *objects).run()
    return cluster


def policies(
    cluster: Cluster, router: str = "ovn-cluster"
) -> dict[tuple[int, str], tuple[str, set[str], dict[str, str]]]:
    """(priority, match) → (action, next hops, external ids) of a router."""
    found = {}
    for (table, key), (row,) in cluster.memory.snapshot().items():
        if table == "Logical_Router_Policy" and key[0] == router:
            found[(row["priority"], row["match"])] = (row["action"], set(row["nexthops"]), row["external_ids"])
    return found


def routes(cluster: Cluster, router: str = "ovn-cluster") -> set[tuple[str, str, str, str]]:
    """(table, policy, prefix, next hop) of a router."""
    return {
        key[1:]
        for table, key in cluster.memory.row_keys()
        if table == "Logical_Router_Static_Route" and key[0] == router
    }  # type: ignore[misc]


def names(cluster: Cluster, table: str) -> set[Any]:
    return {key for found, key in cluster.memory.row_keys() if found == table}


def notes(cluster: Cluster, kind: str, key: str) -> dict[str, str]:
    """Our annotations, without their prefix."""
    found = cluster.get(kind, key)["metadata"]["annotations"]
    return {name.removeprefix("ovn.kubernetes.io/"): value for name, value in found.items()}


def conditions(cluster: Cluster, name: str) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c.get("reason", "")) for c in cluster.get("Subnet", name)["status"]["conditions"]}


def ports(cluster: Cluster, group: str) -> set[str]:
    return {name for _, name in cluster.row("Port_Group", group)["ports"]}


def subset(row: Mapping[str, Any], **columns: Any) -> None:
    assert {name: row[name] for name in columns} == columns


# -- I: the worked example


class TestWorkedExample:
    cluster = ready()

    def test_router(self) -> None:
        assert names(self.cluster, "Logical_Router") == {"ovn-cluster"}
        subset(
            self.cluster.row("Logical_Router", "ovn-cluster"),
            options={
                "mac_binding_age_threshold": "300",
                "dynamic_neigh_routers": "true",
                "always_learn_from_arp_request": "false",
            },
            external_ids=VENDOR,
        )

    def test_switches(self) -> None:
        assert names(self.cluster, "Logical_Switch") == {"join", "ovn-default"}
        subset(self.cluster.row("Logical_Switch", "join"), load_balancer=frozenset(), external_ids=VENDOR)
        subset(self.cluster.row("Logical_Switch", "ovn-default"), load_balancer=CLUSTER_LBS, external_ids=VENDOR)

    @pytest.mark.parametrize(
        ("name", "network"),
        [("ovn-cluster-join", "100.64.0.1/16"), ("ovn-cluster-ovn-default", "10.16.0.1/16")],
    )
    def test_router_ports(self, name: str, network: str) -> None:
        row = self.cluster.row("Logical_Router_Port", name)
        subset(row, networks={network}, external_ids={**VENDOR, "lr": "ovn-cluster"}, options={})
        assert int(row["mac"][:2], 16) & 3 == 2

    @pytest.mark.parametrize("name", ["join", "ovn-default"])
    def test_switch_ports_to_the_router(self, name: str) -> None:
        subset(
            self.cluster.row("Logical_Switch_Port", f"{name}-ovn-cluster"),
            type="router",
            addresses={"router"},
            options={"router-port": f"ovn-cluster-{name}"},
            external_ids={**VENDOR, "ls": name},
        )

    @pytest.mark.parametrize(("name", "address"), [("n-1", "100.64.0.2"), ("n-2", "100.64.0.3")])
    def test_node_ports(self, name: str, address: str) -> None:
        subset(
            self.cluster.row("Logical_Switch_Port", f"node-{name}"),
            type="",
            addresses={f"{mac_of(name)} {address}"},
            port_security=frozenset(),
            external_ids={**VENDOR, "ls": "join"},
        )

    def test_no_other_ports(self) -> None:
        assert names(self.cluster, "Logical_Switch_Port") == {
            *("join-ovn-cluster", "ovn-default-ovn-cluster", "node-n-1", "node-n-2"),
        }
        assert names(self.cluster, "Logical_Router_Port") == {"ovn-cluster-join", "ovn-cluster-ovn-default"}

    def test_load_balancers(self) -> None:
        assert names(self.cluster, "Load_Balancer") == {name for _, name in CLUSTER_LBS}
        plain, udp = {"prefer_local_backend": "false"}, {"prefer_local_backend": "false", "ct_flush": "true"}
        session = {"prefer_local_backend": "false", "affinity_timeout": "10800"}
        for protocol, options in (("tcp", plain), ("udp", udp), ("sctp", plain)):
            row = self.cluster.row("Load_Balancer", f"cluster-{protocol}-loadbalancer")
            subset(row, protocol=protocol, options=options, selection_fields=frozenset(), external_ids=VENDOR)
            row = self.cluster.row("Load_Balancer", f"cluster-{protocol}-session-loadbalancer")
            subset(
                row, protocol=protocol, options=session, selection_fields={"ip_src", "ipv6_src"}, external_ids=VENDOR
            )

    def test_groups(self) -> None:
        expected = {
            "node.n.1": {"node": "n-1", "np": "node/n-1"},
            "node.n.2": {"node": "n-2", "np": "node/n-2"},
            "ovn.default.n.1": {"subnet": "ovn-default", "node": "n-1", "np": "ovn-default/n-1"},
            "ovn.default.n.2": {"subnet": "ovn-default", "node": "n-2", "np": "ovn-default/n-2"},
            "ovn.sg.kubeovn_deny_all": {"type": "security_group", "sg": "kubeovn_deny_all"},
        }
        assert names(self.cluster, "Port_Group") == expected.keys()
        for name, ids in expected.items():
            subset(self.cluster.row("Port_Group", name), external_ids={**VENDOR, **ids}, ports=frozenset())

    def test_deny_all(self) -> None:
        found = [rows[0] for (table, _), rows in self.cluster.memory.snapshot().items() if table == "ACL"]
        group = "ovn.sg.kubeovn_deny_all"
        assert {(r["direction"], r["priority"], r["match"], r["action"], r["tier"]) for r in found} == {
            (direction, 2003, f"{port} == @{group} && ip", "drop", tier)
            for direction, port in (("to-lport", "outport"), ("from-lport", "inport"))
            for tier in (2, 3)
        }
        assert all(r["external_ids"] == {**VENDOR, "parent": group} for r in found)

    def test_routes(self) -> None:
        assert routes(self.cluster) == {("", "dst-ip", "0.0.0.0/0", "100.64.0.1")}

    def test_policies(self) -> None:
        def of_node(name: str) -> dict[str, str]:
            return {**VENDOR, "node": name, "address-family": "4"}

        def of_group(name: str) -> dict[str, str]:
            return {**VENDOR, "subnet": "ovn-default", "node": name}

        assert policies(self.cluster) == {
            (31000, "ip4.dst == 100.64.0.0/16"): ("allow", set(), {**VENDOR, "subnet": "join"}),
            (31000, "ip4.dst == 10.16.0.0/16"): ("allow", set(), {**VENDOR, "subnet": "ovn-default"}),
            (30000, "ip4.dst == 192.168.0.11"): ("reroute", {"100.64.0.2"}, of_node("n-1")),
            (30000, "ip4.dst == 192.168.0.12"): ("reroute", {"100.64.0.3"}, of_node("n-2")),
            (29000, "ip4.src == $ovn.default.n.1_ip4"): ("reroute", {"100.64.0.2"}, of_group("n-1")),
            (29000, "ip4.src == $ovn.default.n.2_ip4"): ("reroute", {"100.64.0.3"}, of_group("n-2")),
        }

    def test_overlay_sets(self) -> None:
        ids = {**VENDOR, "isU2OOverlayCIDRs": "true", "vpc": "ovn-cluster"}
        row = self.cluster.row("Address_Set", "ovn.cluster.u2o_overlay_cidrs.ip4")
        subset(row, addresses={"100.64.0.0/16", "10.16.0.0/16"}, external_ids=ids)
        row = self.cluster.row("Address_Set", "ovn.cluster.u2o_overlay_cidrs.ip6")
        subset(row, addresses=frozenset(), external_ids=ids)


class TestWorkedExamplePod:
    cluster = ready(pod("app/web-0", "n-1"))

    def test_annotations(self) -> None:
        mac = self.cluster.get("IP", "web-0.app")["spec"]["macAddress"]
        assert notes(self.cluster, "Pod", "app/web-0") == {
            "allocated": "true",
            "ip_address": "10.16.0.2",
            "mac_address": mac,
            "cidr": "10.16.0.0/16",
            "gateway": "10.16.0.1",
            "logical_switch": "ovn-default",
            "logical_router": "ovn-cluster",
            "pod_nic_type": "veth-pair",
            "routed": "true",
        }

    def test_port(self) -> None:
        mac = self.cluster.get("IP", "web-0.app")["spec"]["macAddress"]
        subset(
            self.cluster.row("Logical_Switch_Port", "web-0.app"),
            type="",
            addresses={f"{mac} 10.16.0.2"},
            port_security=frozenset(),
            external_ids={**VENDOR, "ls": "ovn-default", "pod": "app/web-0"},
        )

    def test_groups(self) -> None:
        held = {
            name: ports(self.cluster, name) for name in ("node.n.1", "node.n.2", "ovn.default.n.1", "ovn.default.n.2")
        }
        assert held == {
            "node.n.1": {"web-0.app"},
            "node.n.2": set(),
            "ovn.default.n.1": {"web-0.app"},
            "ovn.default.n.2": set(),
        }

    def test_ip_object(self) -> None:
        assert self.cluster.get("IP", "web-0.app")["metadata"]["labels"] == {
            "ovn.kubernetes.io/subnet": "ovn-default",
            "ovn-default": "",
            "ovn.kubernetes.io/node-name": "n-1",
            "ovn.kubernetes.io/ip_reserved": "false",
        }


class TestWorkedExampleVpc:
    cluster = ready(
        vpc("v1", namespaces=["t"]),
        subnet("s1", vpc="v1", cidrBlock="10.17.0.0/24", namespaces=["t"]),
        namespace("t"),
        pod("t/p", "n-1"),
    )

    def test_rows(self) -> None:
        assert "v1" in names(self.cluster, "Logical_Router")
        subset(self.cluster.row("Logical_Router_Port", "v1-s1"), networks={"10.17.0.1/24"})
        port = self.cluster.row("Logical_Switch_Port", "s1-v1")
        subset(port, type="router", addresses={"router"}, options={"router-port": "v1-s1"})
        assert routes(self.cluster, "v1") == {("", "src-ip", "10.17.0.0/24", "10.17.0.1")}
        assert policies(self.cluster, "v1") == {
            (31000, "ip4.dst == 10.17.0.0/24"): ("allow", set(), {**VENDOR, "subnet": "s1"})
        }
        balancers = {f"vpc-v1-{p}-{kind}" for p in ("tcp", "udp", "sctp") for kind in ("load", "sess-load")}
        assert balancers <= names(self.cluster, "Load_Balancer")
        assert {name for _, name in self.cluster.row("Logical_Switch", "s1")["load_balancer"]} == balancers

    def test_pod(self) -> None:
        subset(
            self.cluster.row("Logical_Switch_Port", "p.t"),
            external_ids={**VENDOR, "ls": "s1", "pod": "t/p", "associated_sg_default-securitygroup": "false"},
        )
        assert notes(self.cluster, "Pod", "t/p")["logical_router"] == "v1"

    def test_no_node_routing(self) -> None:
        groups = {name for name in names(self.cluster, "Port_Group") if "p.t" in ports(self.cluster, str(name))}
        assert groups == set()
        assert not any("s1" in str(name) for name in names(self.cluster, "Port_Group"))

    def test_status(self) -> None:
        status = self.cluster.get("Vpc", "v1")["status"]
        assert {k: v for k, v in status.items() if v} == {
            "standby": True,
            "router": "v1",
            "subnets": ["s1"],
            "tcpLoadBalancer": "vpc-v1-tcp-load",
            "udpLoadBalancer": "vpc-v1-udp-load",
            "sctpLoadBalancer": "vpc-v1-sctp-load",
            "tcpSessionLoadBalancer": "vpc-v1-tcp-sess-load",
            "udpSessionLoadBalancer": "vpc-v1-udp-sess-load",
            "sctpSessionLoadBalancer": "vpc-v1-sctp-sess-load",
            "bfdPort": {"ip": "", "name": "", "nodes": []},
        }
        status = self.cluster.get("Vpc", "ovn-cluster")["status"]
        assert (status["default"], status["defaultLogicalSwitch"]) == (True, "ovn-default")
        assert status["subnets"] == ["join", "ovn-default"]


# -- IPv6 and dual stack


def test_ipv6() -> None:
    options = Options(default_cidr="fd10::/64", node_switch_cidr="fd64::/112")
    cluster = Cluster(options=options)
    cluster.apply(namespace("app"), node("n-1", "fd01::11"), ip("n-1", "join", "fd64::2"), pod("app/p", "n-1")).run()
    assert routes(cluster) == {("", "dst-ip", "::/0", "fd64::1")}
    assert {key: value[:2] for key, value in policies(cluster).items()} == {
        (31000, "ip6.dst == fd64::/112"): ("allow", set()),
        (31000, "ip6.dst == fd10::/64"): ("allow", set()),
        (30000, "ip6.dst == fd01::11"): ("reroute", {"fd64::2"}),
        (29000, "ip6.src == $ovn.default.n.1_ip6"): ("reroute", {"fd64::2"}),
    }
    assert policies(cluster)[(30000, "ip6.dst == fd01::11")][2]["address-family"] == "6"
    assert cluster.row("Logical_Router_Port", "ovn-cluster-ovn-default")["networks"] == {"fd10::1/64"}
    assert notes(cluster, "Pod", "app/p")["ip_address"] == "fd10::2"
    assert cluster.get("Subnet", "ovn-default")["spec"]["protocol"] == "IPv6"


def test_dual_stack() -> None:
    options = Options(default_cidr="10.16.0.0/16,fd10::/64", node_switch_cidr="100.64.0.0/16,fd64::/112")
    cluster = Cluster(options=options)
    objects = (node("n-1", "192.168.0.11", "fd01::11"), ip("n-1", "join", "100.64.0.2", "fd64::2"), pod("app/p", "n-1"))
    cluster.apply(namespace("app"), *objects).run()
    assert routes(cluster) == {("", "dst-ip", "0.0.0.0/0", "100.64.0.1"), ("", "dst-ip", "::/0", "fd64::1")}
    assert {key: value[1] for key, value in policies(cluster).items()} == {
        (31000, "ip4.dst == 100.64.0.0/16"): set(),
        (31000, "ip6.dst == fd64::/112"): set(),
        (31000, "ip4.dst == 10.16.0.0/16"): set(),
        (31000, "ip6.dst == fd10::/64"): set(),
        (30000, "ip4.dst == 192.168.0.11"): {"100.64.0.2"},
        (30000, "ip6.dst == fd01::11"): {"fd64::2"},
        (29000, "ip4.src == $ovn.default.n.1_ip4"): {"100.64.0.2"},
        (29000, "ip6.src == $ovn.default.n.1_ip6"): {"fd64::2"},
    }
    networks = cluster.row("Logical_Router_Port", "ovn-cluster-ovn-default")["networks"]
    assert networks == {"10.16.0.1/16", "fd10::1/64"}
    mac = cluster.get("IP", "p.app")["spec"]["macAddress"]
    assert cluster.row("Logical_Switch_Port", "p.app")["addresses"] == {f"{mac} 10.16.0.2 fd10::2"}
    assert notes(cluster, "Pod", "app/p")["ip_address"] == "10.16.0.2,fd10::2"
    assert notes(cluster, "Pod", "app/p")["gateway"] == "10.16.0.1,fd10::1"
    assert cluster.row("Address_Set", "ovn.cluster.u2o_overlay_cidrs.ip6")["addresses"] == {"fd10::/64", "fd64::/112"}
    status = cluster.get("Subnet", "ovn-default")["status"]
    assert (status["v4usingIPs"], status["v6usingIPs"]) == (1, 1)
    assert notes(cluster, "Node", "n-1")["ip_address"] == "100.64.0.2,fd64::2"


def test_a_v4_node_in_a_dual_stack_cluster() -> None:
    cluster = Cluster(options=Options(default_cidr="10.16.0.0/16,fd10::/64"))
    cluster.apply(N1, ip("n-1", "join", "100.64.0.2")).run()
    assert {match for priority, match in policies(cluster) if priority < 31000} == {
        "ip4.dst == 192.168.0.11",
        "ip4.src == $ovn.default.n.1_ip4",
    }


def test_a_server_without_acl_tiers() -> None:
    cluster = ready(database=MemoryDatabase(schema(["ACL.tier"])))
    assert {key[1:] for table, key in cluster.memory.row_keys() if table == "ACL"} == {  # type: ignore[misc]
        ("to-lport", 2003, "outport == @ovn.sg.kubeovn_deny_all && ip", 0),
        ("from-lport", 2003, "inport == @ovn.sg.kubeovn_deny_all && ip", 0),
    }


# -- D.1: options and objects that every cluster has


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            Options(),
            {"ls_dnat_mod_dl_dst": "true", "use_ct_inv_match": "false", "ls_ct_skip_dst_lport_ips": "true"},
        ),
        (
            Options(
                ls_dnat_mod_dl_dst=False,
                ls_ct_skip_dst_lport_ips=False,
                skip_conntrack_dst_cidrs="10.1.0.0/16",
                node_local_dns_ip="169.254.20.10",
            ),
            {
                "ls_dnat_mod_dl_dst": "false",
                "use_ct_inv_match": "false",
                "ls_ct_skip_dst_lport_ips": "false",
                "skip_conntrack_ipcidrs": "10.1.0.0/16",
                "node_local_dns_ip": "169.254.20.10",
            },
        ),
    ],
)
def test_nb_global(options: Options, expected: dict[str, str]) -> None:
    cluster = Cluster(options=options)
    cluster.memory.put("NB_Global", options={"mac_prefix": "3e:ec:47"})
    cluster.run()
    assert cluster.row("NB_Global", ())["options"] == {"mac_prefix": "3e:ec:47", **expected}


def test_the_first_objects() -> None:
    cluster = ready()
    assert cluster.get("Subnet", "join")["spec"] == {
        "vpc": "ovn-cluster",
        "default": False,
        "provider": "ovn",
        "cidrBlock": "100.64.0.0/16",
        "gateway": "100.64.0.1",
        "excludeIps": ["100.64.0.1"],
        "protocol": "IPv4",
        "disableInterConnection": True,
    }
    assert cluster.get("Subnet", "ovn-default")["spec"] == {
        "vpc": "ovn-cluster",
        "default": True,
        "provider": "ovn",
        "cidrBlock": "10.16.0.0/16",
        "gateway": "10.16.0.1",
        "excludeIps": ["10.16.0.1"],
        "protocol": "IPv4",
        "natOutgoing": True,
        "gatewayType": "distributed",
        "enableLb": True,
        "disableGatewayCheck": False,
        "private": False,
    }
    options = Options(default_exclude_ips=("10.16.0.9",), default_gateway="10.16.0.7", default_gateway_check=False)
    spec = ready(options=options).get("Subnet", "ovn-default")["spec"]
    assert spec["excludeIps"] == ["10.16.0.7", "10.16.0.9"]
    assert (spec["gateway"], spec["disableGatewayCheck"]) == ("10.16.0.7", True)


def test_without_load_balancers() -> None:
    cluster = ready(options=Options(enable_lb=False))
    assert names(cluster, "Load_Balancer") == set()
    assert cluster.row("Logical_Switch", "ovn-default")["load_balancer"] == frozenset()


# -- D.2: subnets


S1 = {"cidrBlock": "10.17.0.0/24"}


def test_load_balancers_of_a_subnet() -> None:
    cluster = ready(subnet("s1", **S1, enableLb=False))
    assert cluster.row("Logical_Switch", "s1")["load_balancer"] == frozenset()
    cluster.apply(subnet("s1", **S1, enableLb=True)).run()
    assert cluster.row("Logical_Switch", "s1")["load_balancer"] == CLUSTER_LBS


def test_route_table() -> None:
    cluster = ready(vpc("v1"), subnet("s1", **S1, vpc="v1", routeTable="blue"))
    assert cluster.row("Logical_Router_Port", "v1-s1")["options"] == {"route_table": "blue"}
    assert routes(cluster, "v1") == {
        ("", "src-ip", "10.17.0.0/24", "10.17.0.1"),
        ("blue", "src-ip", "10.17.0.0/24", "10.17.0.1"),
    }
    cluster.apply(subnet("s1", **S1, vpc="v1")).run()
    assert cluster.row("Logical_Router_Port", "v1-s1")["options"] == {}


def test_a_new_gateway_changes_networks_only() -> None:
    cluster = ready(subnet("s1", **S1))
    before = cluster.row("Logical_Router_Port", "ovn-cluster-s1")
    cluster.apply(subnet("s1", **S1, gateway="10.17.0.254")).run()
    assert cluster.row("Logical_Router_Port", "ovn-cluster-s1") == {**before, "networks": {"10.17.0.254/24"}}


def test_underlay() -> None:
    logical = subnet("s2", cidrBlock="10.18.0.0/24", vlan="v", logicalGateway=True)
    cluster = ready(*underlay(), subnet("s1", **S1, vlan="v"), logical)
    assert "s1-ovn-cluster" not in names(cluster, "Logical_Switch_Port")
    assert "s2-ovn-cluster" in names(cluster, "Logical_Switch_Port")
    assert not any("10.17.0.0" in match for _, match in policies(cluster))
    assert (31000, "ip4.dst == 10.18.0.0/24") in policies(cluster)
    addresses = cluster.row("Address_Set", "ovn.cluster.u2o_overlay_cidrs.ip4")["addresses"]
    assert addresses == {"100.64.0.0/16", "10.16.0.0/16"}, "neither of them is overlay"


def test_a_subnet_of_another_provider_is_addresses_only() -> None:
    objects = (subnet("s1", **S1, provider="net1.default"), pod("app/p", "n-1", logical_switch="s1"))
    cluster = ready(*objects)
    assert "s1" not in names(cluster, "Logical_Switch")
    assert cluster.get("Subnet", "s1")["spec"].get("vpc", "") == ""
    assert conditions(cluster, "s1")["Ready"] == ("True", "SetNonOvnSubnetSuccess")


# -- D.2.0: defaulting


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        # 1. cidrBlock to network form, gateway, excludeIps
        (
            "s",
            {"cidrBlock": "10.1.2.3/16"},
            {"cidrBlock": "10.1.0.0/16", "gateway": "10.1.0.1", "excludeIps": ["10.1.0.1"], "protocol": "IPv4"},
        ),
        (
            "s",
            {"cidrBlock": "10.1.0.0/16,fd01::/64"},
            {"gateway": "10.1.0.1,fd01::1", "excludeIps": ["10.1.0.1", "fd01::1"], "protocol": "Dual"},
        ),
        (
            "s",
            {"cidrBlock": "fd01::/64,10.1.0.0/16"},
            {
                "cidrBlock": "fd01::/64,10.1.0.0/16",
                "gateway": "fd01::1,10.1.0.1",
                "excludeIps": ["10.1.0.1", "fd01::1"],
            },
        ),
        ("s", {"cidrBlock": "10.1.0.0/16,fd01::/64", "gateway": "10.1.0.9"}, {"gateway": "10.1.0.9,fd01::1"}),
        (
            "s",
            {
                "cidrBlock": "10.1.0.0/16",
                "excludeIps": ["10.1.0.20..10.1.0.30", "10.1.0.25..10.1.0.40", "10.1.0.7..10.1.0.7"],
            },
            {"excludeIps": ["10.1.0.1", "10.1.0.20..10.1.0.40", "10.1.0.7"]},
        ),
        (
            "s",
            {"cidrBlock": "10.1.0.0/16", "excludeIps": ["10.1.0.1..10.1.0.9"]},
            {"excludeIps": ["10.1.0.1..10.1.0.9"]},
        ),
        # 2. protocol
        ("s", {"cidrBlock": "fd01::/64", "protocol": "IPv4"}, {"protocol": "IPv6"}),
        ("s", {"vlan": "v"}, {"protocol": "Mac"}),
        # 3. and 4. provider and VPC
        ("s", {"cidrBlock": "10.1.0.0/16"}, {"provider": "ovn", "vpc": "ovn-cluster"}),
        ("s", {"cidrBlock": "10.1.0.0/16", "provider": "n.d.ovn"}, {"provider": "n.d.ovn", "vpc": "ovn-cluster"}),
        ("s", {"cidrBlock": "10.1.0.0/16", "provider": "n.d"}, {"provider": "n.d", "vpc": ""}),
        ("s", {"cidrBlock": "10.1.0.0/16", "vpc": "v1"}, {"vpc": "v1", "gatewayType": ""}),
        # 5. gatewayType and default
        ("s", {"cidrBlock": "10.1.0.0/16", "default": True}, {"gatewayType": "distributed", "default": False}),
        ("s", {"cidrBlock": "10.1.0.0/16", "gatewayType": "centralized"}, {"gatewayType": "centralized"}),
        ("s", {"cidrBlock": "10.1.0.0/16", "vpc": "v1", "default": True}, {"default": True}),
        ("ovn-default", {"cidrBlock": "10.1.0.0/16", "default": True}, {"default": True}),
        ("ovn-default", {"cidrBlock": "10.1.0.0/16", "default": False}, {"default": False}),
        ("join", {"cidrBlock": "10.1.0.0/16"}, {"gatewayType": "", "default": False}),
        # 6. enableLb
        ("s", {"cidrBlock": "10.1.0.0/16"}, {"enableLb": True}),
        ("s", {"cidrBlock": "10.1.0.0/16", "enableLb": False}, {"enableLb": False}),
        ("join", {"cidrBlock": "10.1.0.0/16", "enableLb": True}, {"enableLb": None}),
        # 7. u2o
        (
            "s",
            {"cidrBlock": "10.1.0.0/16", "u2oInterconnection": True, "u2oInterconnectionIP": "10.1.0.9"},
            {"u2oInterconnection": False, "u2oInterconnectionIP": ""},
        ),
        (
            "s",
            {"cidrBlock": "10.1.0.0/16", "vlan": "v", "u2oInterconnectionIP": "10.1.0.9"},
            {"u2oInterconnection": False, "u2oInterconnectionIP": ""},
        ),
        (
            "s",
            {"cidrBlock": "10.1.0.0/16", "vlan": "v", "u2oInterconnection": True, "u2oInterconnectionIP": "10.1.0.9"},
            {"u2oInterconnection": True, "u2oInterconnectionIP": "10.1.0.9"},
        ),
    ],
)
def test_defaulting(name: str, given: Json, expected: Json) -> None:
    made = default_spec(name, convert(given, SubnetSpec), Options())
    fields = {f.encode_name: f.name for f in msgspec.structs.fields(SubnetSpec)}
    assert {k: _plain(getattr(made, fields[k])) for k in expected} == expected
    assert default_spec(name, made, Options()) == made, "once is enough"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_enable_lb_follows_the_flag() -> None:
    made = default_spec("s", convert({"cidrBlock": "10.1.0.0/16"}, SubnetSpec), Options(enable_lb=False))
    assert made.enable_lb is False


def test_defaults_are_written_back_and_nothing_else() -> None:
    cluster = ready(subnet("s1", cidrBlock="10.17.0.9/24", natOutgoing=True))
    assert cluster.get("Subnet", "s1")["spec"] == {
        "cidrBlock": "10.17.0.0/24",
        "gateway": "10.17.0.1",
        "excludeIps": ["10.17.0.1"],
        "protocol": "IPv4",
        "provider": "ovn",
        "vpc": "ovn-cluster",
        "gatewayType": "distributed",
        "enableLb": True,
        "natOutgoing": True,
    }
    assert cluster.get("Subnet", "s1")["metadata"]["finalizers"] == ["kubeovn.io/kube-ovn-controller"]


# -- F.1: what is refused


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "cidrBlock is required"),
        ({"cidrBlock": "10.1.0.0/32"}, "no room"),
        ({"cidrBlock": "fd01::/128"}, "no room"),
        ({"cidrBlock": "224.1.0.0/16"}, "reserved range"),
        ({"cidrBlock": "FD01::/64"}, "lower case"),
        ({"cidrBlock": "10.1.0.0/16", "gateway": "10.2.0.1"}, "is not in cidrBlock"),
        ({"cidrBlock": "10.1.0.0/16", "gateway": "10.1.0.0"}, "network or broadcast"),
        ({"cidrBlock": "10.1.0.0/16", "gateway": "10.1.255.255"}, "network or broadcast"),
        ({"cidrBlock": "fd01::/64", "gateway": "FD01::1"}, "lower case"),
        ({"cidrBlock": "fd01::/64", "gateway": "fd01::"}, "network or broadcast"),
        ({"cidrBlock": "10.1.0.0/16", "gateway": "10.1.0.1,10.1.0.2"}, "is not in cidrBlock"),
        ({"cidrBlock": "10.1.0.0/16", "excludeIps": ["10.1.0.9..10.1.0.3"]}, "excludeIps"),
        ({"cidrBlock": "10.1.0.0/16", "allowSubnets": ["10.2.0.1"]}, "allowSubnets"),
        ({"cidrBlock": "10.1.0.0/16", "gatewayType": "other"}, "gatewayType"),
        ({"cidrBlock": "fd01::/64", "mtu": 1279}, "mtu"),
        ({"cidrBlock": "10.1.0.0/16", "logicalGateway": True, "u2oInterconnection": True}, "exclusive"),
        ({"vlan": "v", "gateway": "10.1.0.1"}, "without cidrBlock"),
        ({"vlan": "v", "excludeIps": ["10.1.0.1"]}, "without cidrBlock"),
        ({"cidrBlock": "10.1.0.0/16,10.2.0.0/16"}, "one IPv4 and one IPv6"),
    ],
)
def test_refused(spec: Json, words: str) -> None:
    cluster = ready(subnet("s1", **spec))
    assert "s1" not in names(cluster, "Logical_Switch")
    found = {c["type"]: c for c in cluster.get("Subnet", "s1")["status"]["conditions"]}
    assert {name: c["status"] for name, c in found.items()} == {"Validated": "False", "Ready": "False", "Error": "True"}
    assert {c["reason"] for c in found.values()} == {"ValidateLogicalSwitchFailed"}
    assert words in found["Ready"]["message"]
    (event,) = (i for i in cluster.state.reactor.items("Subnet", "s1") if type(i).__name__ == "Event")
    assert words in event.message  # type: ignore[union-attr]


def test_a_subnet_named_like_its_vpc() -> None:
    cluster = ready(vpc("v1"), subnet("v1", cidrBlock="10.1.0.0/16", vpc="v1"))
    assert conditions(cluster, "v1")["Validated"] == ("False", "ValidateLogicalSwitchFailed")


@pytest.mark.parametrize(
    "spec",
    [
        {"cidrBlock": "10.1.0.0/31"},
        {"cidrBlock": "fd01::/127"},
        {"cidrBlock": "fd01::/64", "gateway": "fd01::ffff:ffff:ffff:ffff"},
        {"cidrBlock": "10.1.0.0/16", "mtu": 1000},
        {"vlan": "v"},
    ],
)
def test_accepted(spec: Json) -> None:
    assert conditions(ready(*underlay(), subnet("s1", **spec)), "s1")["Ready"] == (
        "True",
        "ResetLogicalSwitchAclSuccess",
    )


# -- D.2.4: gateways


def test_centralized_leaves_through_the_first_ready_node() -> None:
    central = subnet("s1", **S1, gatewayType="centralized", gatewayNode="n-2,n-1")
    cluster = ready(central)
    key = (29000, "ip4.src == 10.17.0.0/24")
    assert policies(cluster)[key] == ("reroute", {"100.64.0.3"}, {**VENDOR, "subnet": "s1", "n-2": "100.64.0.3"})
    assert cluster.get("Subnet", "s1")["status"]["activateGateway"] == "n-2"
    assert not any("s1" in str(name) for name in names(cluster, "Port_Group"))


def test_failover_and_no_failback() -> None:
    cluster = ready(subnet("s1", **S1, gatewayType="centralized", gatewayNode="n-2:172.16.0.1, n-1"))
    key = (29000, "ip4.src == 10.17.0.0/24")
    cluster.apply(node("n-2", "192.168.0.12", ready=False)).run()
    assert policies(cluster)[key] == ("reroute", {"100.64.0.2"}, {**VENDOR, "subnet": "s1", "n-1": "100.64.0.2"})
    assert cluster.get("Subnet", "s1")["status"]["activateGateway"] == "n-1"
    cluster.apply(N2).run()
    assert policies(cluster)[key][1] == {"100.64.0.2"}, "the active one is kept while it is ready"
    down = merged(
        N1,
        {
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "NetworkUnavailable", "status": "True"}]
            }
        },
    )
    cluster.apply(down).run()
    assert policies(cluster)[key][1] == {"100.64.0.3"}


def test_ecmp() -> None:
    cluster = ready(subnet("s1", **S1, gatewayType="centralized", gatewayNode="n-1,n-2", enableEcmp=True))
    key = (29000, "ip4.src == 10.17.0.0/24")
    ids = {**VENDOR, "subnet": "s1", "n-1": "100.64.0.2", "n-2": "100.64.0.3"}
    assert policies(cluster)[key] == ("reroute", {"100.64.0.2", "100.64.0.3"}, ids)
    assert cluster.get("Subnet", "s1")["status"]["activateGateway"] == ""
    cluster.apply(node("n-1", "192.168.0.11", ready=False)).run()
    assert policies(cluster)[key][1] == {"100.64.0.3"}


@pytest.mark.parametrize("ecmp", [False, True])
def test_no_gateway_ready_leaves_traffic_where_it_is(ecmp: bool) -> None:
    cluster = ready(subnet("s1", **S1, gatewayType="centralized", gatewayNode="n-1", enableEcmp=ecmp))
    cluster.apply(node("n-1", "192.168.0.11", ready=False)).run()
    assert policies(cluster)[(29000, "ip4.src == 10.17.0.0/24")][1] == {"100.64.0.2"}
    assert conditions(cluster, "s1") == {
        "Validated": ("True", "NoActiveGatewayFound"),
        "Ready": ("False", "NoActiveGatewayFound"),
        "Error": ("True", "NoActiveGatewayFound"),
    }


def test_no_gateway_at_all() -> None:
    cluster = ready(subnet("s1", **S1, gatewayType="centralized"))
    assert (29000, "ip4.src == 10.17.0.0/24") not in policies(cluster)
    assert conditions(cluster, "s1")["Ready"] == ("False", "NoReadyGateway")
    cluster.apply(subnet("s1", **S1, gatewayType="centralized", gatewayNode="n-1")).run()
    assert conditions(cluster, "s1")["Ready"][0] == "True"


def test_gateway_nodes_by_label() -> None:
    labelled = node("n-2", "192.168.0.12", labels={"gw": "yes"})
    cluster = ready(
        subnet("s1", **S1, gatewayType="centralized", gatewayNodeSelectors=[{"matchLabels": {"gw": "yes"}}])
    )
    assert conditions(cluster, "s1")["Ready"] == ("False", "NoReadyGateway")
    cluster.apply(labelled).run()
    assert policies(cluster)[(29000, "ip4.src == 10.17.0.0/24")][1] == {"100.64.0.3"}
    assert cluster.get("Subnet", "s1")["status"]["activateGateway"] == "n-2"


def test_from_distributed_to_centralized_and_back() -> None:
    distributed = subnet("s1", **S1, namespaces=["app"])
    cluster = ready(distributed, pod("app/p", "n-1"))
    before = cluster.memory.snapshot()
    assert ports(cluster, "s1.n.1") == {"p.app"}
    cluster.apply(subnet("s1", **S1, namespaces=["app"], gatewayType="centralized", gatewayNode="n-1")).run()
    assert "s1.n.1" not in names(cluster, "Port_Group")
    assert {match for priority, match in policies(cluster) if priority == 29000 and "10.17" in match} == {
        "ip4.src == 10.17.0.0/24"
    }
    cluster.apply(distributed).run()
    assert cluster.memory.snapshot() == before
    assert cluster.get("Subnet", "s1")["status"]["activateGateway"] == ""


def test_custom_vpcs_have_no_gateways() -> None:
    cluster = ready(vpc("v1"), subnet("s1", **S1, vpc="v1", gatewayType="centralized", gatewayNode="n-1"))
    assert policies(cluster, "v1").keys() == {(31000, "ip4.dst == 10.17.0.0/24")}
    assert cluster.get("Subnet", "s1")["status"]["activateGateway"] == ""


@pytest.mark.parametrize("name", ["eip", "snat", "north_gateway"])
def test_pods_with_their_own_way_out(name: str) -> None:
    cluster = ready(pod("app/p", "n-1", **{name: "10.99.0.1"}))
    assert ports(cluster, "node.n.1") == {"p.app"}
    assert ports(cluster, "ovn.default.n.1") == set()


# -- D.5: VPCs


def test_static_routes_and_policies() -> None:
    spec = {
        "staticRoutes": [
            {"cidr": "0.0.0.0/0", "nextHopIP": "10.30.0.254", "policy": "policyDst"},
            {"cidr": "10.30.0.8/30", "nextHopIP": "10.30.0.253", "policy": "policySrc"},
            {"cidr": "10.40.0.0/24", "nextHopIP": "169.254.0.2", "routeTable": "rtb1"},
        ],
        "policyRoutes": [
            {"priority": 1100, "match": "ip4.dst == 198.51.100.0/24", "action": "drop", "nextHopIP": "ignored"},
            {
                "priority": 1200,
                "match": "ip4.src == 10.30.0.0/28",
                "action": "reroute",
                "nextHopIP": "10.30.0.253,10.30.0.252",
            },
        ],
    }
    cluster = ready(vpc("v1", **spec))
    assert routes(cluster, "v1") == {
        ("", "dst-ip", "0.0.0.0/0", "10.30.0.254"),
        ("", "src-ip", "10.30.0.8/30", "10.30.0.253"),
        ("rtb1", "dst-ip", "10.40.0.0/24", "169.254.0.2"),
    }
    assert policies(cluster, "v1") == {
        (1100, "ip4.dst == 198.51.100.0/24"): ("drop", set(), VENDOR),
        (1200, "ip4.src == 10.30.0.0/28"): ("reroute", {"10.30.0.253", "10.30.0.252"}, VENDOR),
    }
    cluster.apply(
        vpc("v1", policyRoutes=[{**spec["policyRoutes"][1], "nextHopIP": "10.30.0.251"}], staticRoutes=[])
    ).run()
    assert routes(cluster, "v1") == set()
    assert policies(cluster, "v1") == {(1200, "ip4.src == 10.30.0.0/28"): ("reroute", {"10.30.0.251"}, VENDOR)}


def test_default_routes_in_every_table_of_the_default_vpc() -> None:
    cluster = ready(
        vpc("ovn-cluster", staticRoutes=[{"cidr": "10.9.0.0/16", "nextHopIP": "10.16.0.9", "routeTable": "t"}])
    )
    assert routes(cluster) == {
        ("", "dst-ip", "0.0.0.0/0", "100.64.0.1"),
        ("t", "dst-ip", "0.0.0.0/0", "100.64.0.1"),
        ("t", "dst-ip", "10.9.0.0/16", "10.16.0.9"),
    }


@pytest.mark.parametrize(
    ("spec", "learns"),
    [
        ({}, False),
        ({"enableExternal": True}, True),
        ({"vpcPeerings": [{"remoteVpc": "v2", "localConnectIP": "169.254.0.1/30"}]}, True),
    ],
)
def test_arp_learning(spec: Json, learns: bool) -> None:
    options = ready(vpc("v1", **spec)).row("Logical_Router", "v1")["options"]
    assert options.get("always_learn_from_arp_request") == (None if learns else "false")


def test_a_vpc_goes_when_its_subnets_are_gone() -> None:
    cluster = ready(vpc("v1"), subnet("s1", **S1, vpc="v1"))
    cluster.delete("Vpc", "v1").run()
    assert "v1" in names(cluster, "Logical_Router")
    cluster.delete("Subnet", "s1").run()
    assert ("Vpc", "v1") not in cluster.api.objects
    assert not [key for _, key in cluster.memory.row_keys() if "v1" in str(key)]


@pytest.mark.parametrize(
    ("spec", "of_subnet", "expected"),
    [
        ({}, {}, ""),
        ({}, {"default": True}, "s1"),
        ({"defaultSubnet": "s2"}, {"default": True}, "s2"),
        ({"defaultSubnet": "gone"}, {"default": True}, "s1"),
        ({"defaultSubnet": "elsewhere"}, {}, ""),
    ],
)
def test_default_switch_of_a_custom_vpc(spec: Json, of_subnet: Json, expected: str) -> None:
    others = subnet("s2", cidrBlock="10.18.0.0/24", vpc="v1"), subnet("elsewhere", cidrBlock="10.19.0.0/24")
    cluster = ready(vpc("v1", **spec), subnet("s1", **S1, vpc="v1", **of_subnet), *others)
    assert cluster.get("Vpc", "v1")["status"]["defaultLogicalSwitch"] == expected


# -- B.5: namespaces


A = subnet("a-net", cidrBlock="10.31.0.0/24", namespaces=["ns"], excludeIps=["10.31.0.5..10.31.0.9"])
B = subnet("b-net", cidrBlock="10.32.0.0/24", namespaceSelectors=[{"matchLabels": {"team": "red"}}])
IN_V1 = merged(A, {"spec": {"vpc": "v1"}})
C = subnet("c-net", cidrBlock="10.33.0.0/24", vpc="v1")


@pytest.mark.parametrize(
    ("objects", "labels", "switches"),
    [
        ([], {}, "ovn-default"),
        ([A], {}, "a-net"),
        ([A, B], {"team": "red"}, "a-net,b-net"),
        ([A, B], {"team": "blue"}, "a-net"),
        ([vpc("v1", namespaces=["ns"], defaultSubnet="c-net"), C], {}, "c-net"),
        ([vpc("v1", namespaces=["ns"], defaultSubnet="c-net"), C, IN_V1], {}, "c-net,a-net"),
        ([vpc("v1", defaultSubnet="c-net"), C], {}, "ovn-default"),
        ([vpc("v1", namespaces=["ns"]), merged(C, {"spec": {"default": True}})], {}, "c-net"),
        ([vpc("v1", namespaces=["ns"]), C], {}, "ovn-default"),
        (
            [
                subnet(
                    "d",
                    cidrBlock="10.34.0.0/24",
                    namespaceSelectors=[{"matchExpressions": [{"key": "x", "operator": "Exists"}]}],
                )
            ],
            {"x": "1"},
            "d",
        ),
    ],
)
def test_subnets_of_a_namespace(objects: list[Json], labels: dict[str, str], switches: str) -> None:
    cluster = ready(*objects, namespace("ns", **labels), pod("ns/p", "n-1"))
    assert notes(cluster, "Namespace", "ns")["logical_switch"] == switches
    assert notes(cluster, "Pod", "ns/p")["logical_switch"] == switches.split(",")[0]


def test_annotations_of_a_namespace() -> None:
    cluster = ready(A, B, namespace("ns", team="red"))
    assert notes(cluster, "Namespace", "ns") == {
        "logical_switch": "a-net,b-net",
        "cidr": "10.31.0.0/24;10.32.0.0/24",
        "exclude_ips": "10.31.0.1,10.31.0.5..10.31.0.9;10.32.0.1",
    }


# -- B.4: nodes


def test_annotations_of_a_node() -> None:
    cluster = ready()
    assert notes(cluster, "Node", "n-1") == {
        "allocated": "true",
        "ip_address": "100.64.0.2",
        "mac_address": mac_of("n-1"),
        "cidr": "100.64.0.0/16",
        "gateway": "100.64.0.1",
        "logical_switch": "join",
        "port_name": "node-n-1",
    }


def test_a_node_that_says_its_address_keeps_it() -> None:
    """Take-over from annotations, when the IP object is lost."""
    said = {"allocated": "true", "ip_address": "100.64.0.77", "mac_address": "02:00:00:00:00:77"}
    cluster = Cluster()
    cluster.apply(node("n-1", "192.168.0.11", **said)).run()
    assert cluster.row("Logical_Switch_Port", "node-n-1")["addresses"] == {"02:00:00:00:00:77 100.64.0.77"}


def test_a_node_that_goes() -> None:
    cluster = ready(pod("app/p", "n-2"))
    cluster.delete("Node", "n-2").delete("Pod", "app/p").run()
    assert not [key for _, key in cluster.memory.row_keys() if "n-2" in str(key) or "n.2" in str(key)]
    assert (30000, "ip4.dst == 192.168.0.12") not in policies(cluster)
    assert ("IP", "node-n-2") not in cluster.api.objects


def test_pods_do_not_get_a_nodes_address() -> None:
    cluster = Cluster()
    cluster.apply(namespace("app"), node("n-1", "10.16.0.2"), node("n-2", "10.16.0.3"), pod("app/p")).run()
    assert notes(cluster, "Pod", "app/p")["ip_address"] == "10.16.0.4"


# -- B.2: pods


def test_a_pod_that_is_not_scheduled_is_allocated_but_not_routed() -> None:
    cluster = ready(pod("app/p"))
    assert notes(cluster, "Pod", "app/p")["allocated"] == "true"
    assert "routed" not in notes(cluster, "Pod", "app/p")
    assert not any(ports(cluster, str(name)) for name in names(cluster, "Port_Group"))
    cluster.apply(pod("app/p", "n-2")).run()
    assert notes(cluster, "Pod", "app/p")["routed"] == "true"
    assert ports(cluster, "node.n.2") == ports(cluster, "ovn.default.n.2") == {"p.app"}


def test_inputs_of_a_pod() -> None:
    wanted = {
        "ip_address": "10.16.0.99",
        "mac_address": "00:00:00:AA:BB:CC",
        "port_security": "true",
        "pod_nic_type": "dpdk-port",
    }
    cluster = ready(pod("app/p", "n-1", **wanted))
    row = cluster.row("Logical_Switch_Port", "p.app")
    assert row["addresses"] == row["port_security"] == {"00:00:00:aa:bb:cc 10.16.0.99"}
    assert notes(cluster, "Pod", "app/p")["pod_nic_type"] == "dpdk-port"


@pytest.mark.parametrize(("family", "address"), [("ipv4", "10.40.0.2"), ("ipv6", "fd40::2"), ("", "10.40.0.2,fd40::2")])
def test_one_family_of_two(family: str, address: str) -> None:
    dual = subnet("s1", cidrBlock="10.40.0.0/24,fd40::/64", namespaces=["app"])
    cluster = ready(dual, pod("app/p", "n-1", **({"ip_family": family} if family else {})))
    assert notes(cluster, "Pod", "app/p")["ip_address"] == address


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ip_address": "nonsense"}, "is not an IP address"),
        ({"ip_address": "10.1.0.1", "cidr": "10.2.0.0/16"}, "is not in cidr"),
        ({"mac_address": "nonsense"}, "is not a MAC address"),
        ({"ip_family": "IPv4"}, "must be ipv4 or ipv6"),
        ({"ingress_rate": "-1"}, "non-negative"),
        ({"egress_burst": "1.5"}, "non-negative"),
    ],
)
def test_wrong_inputs_of_a_pod(wrong: dict[str, str], words: str) -> None:
    cluster = ready(pod("app/p", "n-1", **wrong))
    (event,) = cluster.state.reactor.items("Pod", "app/p")
    assert (event.type, event.reason) == ("Warning", "ValidatePodNetworkFailed")  # type: ignore[union-attr]
    assert words in event.message  # type: ignore[union-attr]
    assert "p.app" not in names(cluster, "Logical_Switch_Port")


@pytest.mark.parametrize(
    ("phase", "policy", "lives"),
    [
        ("Running", "Never", True),
        ("Pending", "Always", True),
        ("Succeeded", "Never", False),
        ("Succeeded", "OnFailure", False),
        ("Succeeded", "Always", True),
        ("Failed", "Never", False),
        ("Failed", "Always", True),
    ],
)
def test_which_pods_are_alive(phase: str, policy: str, lives: bool) -> None:
    cluster = ready(pod("app/p", "n-1", phase="Running"))
    cluster.apply(pod("app/p", "n-1", phase=phase, spec={"restartPolicy": policy})).run()
    assert ("p.app" in names(cluster, "Logical_Switch_Port")) is lives
    assert (("IP", "p.app") in cluster.api.objects) is lives


def test_evicted_and_host_network_pods() -> None:
    evicted = merged(pod("app/e", "n-1", phase="Failed"), {"status": {"reason": "Evicted"}})
    cluster = ready(evicted, pod("app/h", "n-1", spec={"hostNetwork": True}))
    assert not names(cluster, "Logical_Switch_Port") & {"e.app", "h.app"}
    assert notes(cluster, "Pod", "app/h") == {}


# -- E.1: status


def test_status_of_a_subnet() -> None:
    made = subnet("s1", cidrBlock="10.17.0.0/24", namespaces=["app"], excludeIps=["10.17.0.1..10.17.0.10"])
    cluster = ready(made, pod("app/p", "n-1"), pod("app/q", "n-1"), pod("app/x", "n-1", ip_address="10.17.0.5"))
    cluster.state.reactor.allocator.publish_usage()
    cluster.run()
    status = cluster.get("Subnet", "s1")["status"]
    assert {k: v for k, v in status.items() if v and k != "conditions"} == {
        "v4usingIPs": 2,
        "v4availableIPs": 254 - 10 - 2,
        "v4usingIPrange": "10.17.0.11-10.17.0.12",
        "v4availableIPrange": "10.17.0.13-10.17.0.254",
    }
    assert conditions(cluster, "s1") == {
        "Validated": ("True", "ResetLogicalSwitchAclSuccess"),
        "Ready": ("True", "ResetLogicalSwitchAclSuccess"),
        "Error": ("Unknown", "Init"),
    }


def test_a_subnet_whose_vpc_does_not_exist() -> None:
    cluster = ready(subnet("s1", **S1, vpc="gone"))
    assert "s1" not in names(cluster, "Logical_Switch")
    assert conditions(cluster, "s1")["Ready"] == ("False", "ValidateLogicalSwitchFailed")
    cluster.apply(vpc("gone")).run()
    assert conditions(cluster, "s1")["Ready"] == ("True", "ResetLogicalSwitchAclSuccess")
    assert "gone-s1" in names(cluster, "Logical_Router_Port")


def test_an_error_is_over_when_it_is_over() -> None:
    cluster = ready(subnet("s1", cidrBlock="10.17.0.0"))
    assert conditions(cluster, "s1")["Error"][0] == "True"
    cluster.apply(subnet("s1", **S1)).run()
    assert conditions(cluster, "s1")["Error"] == ("Unknown", "Init")


def test_ready_only_after_the_commit() -> None:
    cluster = ready()
    cluster.apply(subnet("s1", **S1))
    cluster.hear()
    assert not any(w.subresource == "status" for w in cluster.plan("Subnet", "s1"))
    cluster.commit()
    assert any(w.subresource == "status" for w in cluster.plan("Subnet", "s1"))

"""Several networks per pod (spec B.0–B.2, C.8, C.10, D.3); expected values typed from the spec."""

from __future__ import annotations

from typing import Any

import pytest

from ovnbridge.compile.nets import Element, elements
from ovnbridge.compile.options import Options
from ovnbridge.model.ovn import Ref
from tests.support.addresses import (
    BASE,
    S1,
    address,
    attachment,
    events,
    machine,
    machine_pod,
    notes,
    port,
    ready,
    set_pod,
    stateful_set,
    subset,
    with_notes,
)
from tests.support.cluster import Cluster, Json, pod, subnet, underlay, vpc

NETWORKS, DEFAULT = "k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network"
OVN = {"cniVersion": "0.3.1", "type": "kube-ovn", "server_socket": "/run/x.sock", "provider": "net.a.ovn"}
NET = attachment("a/net", OVN)
MACVLAN = attachment("a/mv", {"type": "macvlan", "master": "eth0", "ipam": {"type": "kube-ovn", "provider": "mv.a"}})
S9 = subnet("s9", cidrBlock="10.29.0.0/24", provider="net.a.ovn", vpc="v1")
S8 = subnet("s8", cidrBlock="10.28.0.0/24", provider="mv.a")
SETUP = (vpc("v1"), S9, S8, NET, MACVLAN)


def networked(name: str, networks: str, on: str = "n-1", **more: str) -> Json:
    return with_notes(pod(name, on), {NETWORKS: networks, **{k.replace("__", "/"): v for k, v in more.items()}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("net", (Element("net", "a"),)),
        ("net, b/other@eth7", (Element("net", "a"), Element("other", "b", "eth7"))),
        ('[{"name": "net"}]', (Element("net", "a"),)),
        (
            '[{"name": "net", "namespace": "b", "interface": "eth7", "ips": ["10.0.0.5/24", "fd00::5"], "mac": "m"}]',
            (Element("net", "b", "eth7", "10.0.0.5,fd00::5", "m"),),
        ),
    ],
)
def test_elements(text: str, expected: tuple[Element, ...]) -> None:
    assert elements(text, "a") == expected


@pytest.mark.parametrize("text", ["/net", "b/", "a/b/c", "net,,x", "[{}]", "[", '[{"name": 3}]'])
def test_bad_elements(text: str) -> None:
    with pytest.raises(ValueError):
        elements(text, "a")


@pytest.mark.parametrize("networks", ["a/net,a/mv", "net,mv", '[{"name": "net"}, {"name": "mv", "namespace": "a"}]'])
def test_a_pod_with_three_networks(networks: str) -> None:
    cluster = ready(*SETUP, networked("a/p", networks))
    assert [address(cluster, n) for n in ("p.a", "p.a.net.a.ovn", "p.a.mv.a")] == [
        "10.21.0.2",
        "10.29.0.2",
        "10.28.0.2",
    ]
    # OVN: a port with the provider in its name, in its own VPC.
    attached = cluster.get("IP", "p.a.net.a.ovn")
    subset(
        port(cluster, "p.a.net.a.ovn"),
        addresses={f"{attached['spec']['macAddress']} 10.29.0.2"},
        external_ids={
            "vendor": "kube-ovn",
            "ls": "s9",
            "pod": "a/p",
            "associated_sg_default-securitygroup": "false",
        },
    )
    assert attached["metadata"]["labels"] == {
        "ovn.kubernetes.io/subnet": "s9",
        "ovn.kubernetes.io/node-name": "n-1",
        "ovn.kubernetes.io/ip_reserved": "false",
        "s9": "",
    }
    assert (attached["spec"]["podName"], attached["spec"]["namespace"]) == ("p", "a")
    assert notes(cluster, "Pod", "a/p", "net.a.ovn") == {
        "allocated": "true",
        "ip_address": "10.29.0.2",
        "mac_address": attached["spec"]["macAddress"],
        "cidr": "10.29.0.0/24",
        "gateway": "10.29.0.1",
        "logical_switch": "s9",
        "logical_router": "v1",
        "pod_nic_type": "veth-pair",
        "routed": "true",
    }
    # Another CNI: addresses and annotations only; no MAC, no switch, no port.
    assert port(cluster, "p.a.mv.a") is None
    assert cluster.get("IP", "p.a.mv.a")["spec"]["macAddress"] == ""
    assert notes(cluster, "Pod", "a/p", "mv.a") == {
        "allocated": "true",
        "ip_address": "10.28.0.2",
        "cidr": "10.28.0.0/24",
        "gateway": "10.28.0.1",
        "routed": "true",
    }
    patches = [write for (kind, _), write in cluster.written if kind == "Pod" and "annotations" in str(write.body)]
    assert len(patches) <= 3
    cluster.start()
    written = list(cluster.written)
    assert cluster.run() == []
    assert cluster.written == written
    cluster.delete("Pod", "a/p").run()
    assert not [key for kind, key in cluster.api.objects if kind == "IP" and key.startswith("p.a")]
    assert port(cluster, "p.a.net.a.ovn") is None


def test_a_subnet_by_annotation() -> None:
    other = subnet("s7", cidrBlock="10.27.0.0/24", provider="net.a.ovn")
    p = networked("a/p", "net", **{"net.a.ovn.kubernetes.io__logical_switch": "s9"})
    cluster = ready(*SETUP, other, p, networked("a/q", "net"))
    assert address(cluster, "p.a.net.a.ovn") == "10.29.0.2"
    assert address(cluster, "q.a.net.a.ovn") == "10.27.0.2", "the first subnet of the provider"


def test_static_requests() -> None:
    by_key = networked("a/p1", "net", **{"net.a.ovn.kubernetes.io__ip_address": "10.29.0.9"})
    by_request = networked(
        "a/p2", '[{"name": "net", "ips": ["10.29.0.10/24"], "mac": "00:00:00:00:AA:10", "interface": "net7"}]'
    )
    by_interface = networked(
        "a/p3",
        "net@net7",
        **{
            "net.a.kubernetes.io__ip_address.net7": "10.29.0.11",
            "net.a.kubernetes.io__mac_address.net7": "00:00:00:00:AA:11",
        },
    )
    by_list = networked("a/p4", "mv", **{"mv.a.kubernetes.io__ip_pool": "10.28.0.77,10.28.0.78"})
    cluster = ready(*SETUP, by_key, by_request, by_interface, by_list)
    assert address(cluster, "p1.a.net.a.ovn") == "10.29.0.9"
    assert address(cluster, "p2.a.net.a.ovn") == "10.29.0.10"
    assert cluster.get("IP", "p2.a.net.a.ovn")["spec"]["macAddress"] == "00:00:00:00:aa:10"
    assert address(cluster, "p3.a.net.a.ovn") == "10.29.0.11"
    assert cluster.get("IP", "p3.a.net.a.ovn")["spec"]["macAddress"] == "00:00:00:00:aa:11"
    assert address(cluster, "p4.a.mv.a") == "10.28.0.77"
    assert all(address(cluster, f"p{i}.a").startswith("10.21.0.") for i in (1, 2, 3, 4))


def test_the_same_network_twice() -> None:
    """Spec B.0: with an explicit interface the provider ends in it, the subnet's provider does not."""
    cluster = ready(*SETUP, networked("a/p", "net@n1,net@n2"))
    assert {address(cluster, f"p.a.net.a.ovn.{i}") for i in ("n1", "n2")} == {"10.29.0.2", "10.29.0.3"}
    assert notes(cluster, "Pod", "a/p", "net.a.ovn.n1")["logical_switch"] == "s9"
    assert port(cluster, "p.a.net.a.ovn.n2") is not None


@pytest.mark.parametrize(
    "config",
    [
        "",
        {"type": "macvlan", "ipam": {"type": "host-local"}},
        {"plugins": [{"type": "bridge"}, {"type": "portmap"}]},
    ],
)
def test_networks_that_are_none_of_ours(config: object) -> None:
    cluster = ready(*SETUP, attachment("a/else", config), networked("a/p", "else"))
    assert [key for kind, key in cluster.api.objects if kind == "IP" and key.startswith("p.")] == ["p.a"]
    assert not events(cluster, "Pod", "a/p")


@pytest.mark.parametrize("config", ["{", "[]", "7", "null", '{"plugins": 7}', '{"plugins": [7, null]}', '{"ipam": []}'])
def test_definitions_of_junk(config: str) -> None:
    """Anybody may write one in a namespace of their own."""
    cluster = ready(*SETUP, attachment("a/junk", config), networked("a/p", "junk,net"))
    assert address(cluster, "p.a") == "10.21.0.2"
    assert address(cluster, "p.a.net.a.ovn") == "10.29.0.2"
    said = events(cluster, "Pod", "a/p", "ValidatePodNetworkFailed")
    assert [("a/junk" in text) for text in said] == ([] if config.startswith('{"') else [True])


def test_a_list_of_plugins() -> None:
    listed = {"plugins": [{"type": "sriov", "ipam": {"type": "kube-ovn", "provider": "mv.a"}}, {"type": "tuning"}]}
    chained = {"plugins": [OVN, {"type": "portmap"}]}
    cluster = ready(*SETUP, attachment("a/mv", listed), attachment("a/net", chained), networked("a/p", "mv,net"))
    assert address(cluster, "p.a.mv.a") == "10.28.0.2"
    assert address(cluster, "p.a.net.a.ovn") == "10.29.0.2"


def test_no_subnet_of_the_provider() -> None:
    """An OVN network falls back to the pod's own subnets; another CNI's has no addresses without one."""
    cluster = ready(NET, MACVLAN, networked("a/p", "net,mv"))
    assert {address(cluster, n) for n in ("p.a", "p.a.net.a.ovn")} == {"10.21.0.2", "10.21.0.3"}
    assert not address(cluster, "p.a.mv.a")
    cluster.apply(S8).run()
    assert address(cluster, "p.a.mv.a") == "10.28.0.2"


def test_the_default_network_is_replaced() -> None:
    made = with_notes(pod("a/p", "n-1"), {DEFAULT: "a/net", NETWORKS: "mv"})
    cluster = ready(*SETUP, made)
    assert {key for kind, key in cluster.api.objects if kind == "IP" and key.startswith("p.")} == {
        "p.a.net.a.ovn",
        "p.a.mv.a",
    }
    assert notes(cluster, "Pod", "a/p") == {}


def test_another_cni_is_primary() -> None:
    cluster = Cluster(options=Options(non_primary_cni_mode=True))
    cluster.apply(*BASE, S1, *SETUP, networked("a/p", "net"), pod("a/q", "n-1")).run()
    assert [key for kind, key in cluster.api.objects if kind == "IP" and key.endswith(("a", "ovn"))] == [
        "p.a.net.a.ovn"
    ]
    assert notes(cluster, "Pod", "a/q") == {}


def test_hot_unplug() -> None:
    cluster = ready(*SETUP, networked("a/p", "net,mv"))
    mine = cluster.get("Pod", "a/p")["metadata"]["annotations"]
    cluster.apply(with_notes(pod("a/p", "n-1"), {**mine, NETWORKS: "mv"})).run()
    assert not address(cluster, "p.a.net.a.ovn")
    assert port(cluster, "p.a.net.a.ovn") is None
    assert notes(cluster, "Pod", "a/p", "net.a.ovn") == {}
    assert address(cluster, "p.a.mv.a") == "10.28.0.2"
    assert address(cluster, "p.a") == "10.21.0.2"


@pytest.mark.parametrize("keeper", ["set", "machine"])
def test_hot_unplug_from_who_keeps_addresses(keeper: str) -> None:
    """Spec B.2: port, IP object and lease go; C.9: what is attached stays for the next pod."""
    made = set_pod("a/web-0") if keeper == "set" else machine_pod("a/web-0", "web-0")
    made = with_notes(made, {NETWORKS: "net,mv"})
    cluster = ready(*SETUP, stateful_set("a/web", 1), machine("a/web-0"), made)
    held = {name: address(cluster, name) for name in ("web-0.a", "web-0.a.mv.a")}
    mine = cluster.get("Pod", "a/web-0")["metadata"]["annotations"]
    cluster.apply(with_notes(made, {**mine, NETWORKS: "mv"})).run()
    assert ("IP", "web-0.a.net.a.ovn") not in cluster.api.objects
    assert port(cluster, "web-0.a.net.a.ovn") is None
    assert notes(cluster, "Pod", "a/web-0", "net.a.ovn") == {}
    assert {name: address(cluster, name) for name in held} == held
    cluster.delete("Pod", "a/web-0").run()
    assert {name: address(cluster, name) for name in held} == held


@pytest.mark.parametrize("broken", ["gone", "unreadable"])
def test_a_kept_network_whose_definition_is_broken_is_not_unplugged(broken: str) -> None:
    made = with_notes(set_pod("a/web-0"), {NETWORKS: "net"})
    cluster = ready(*SETUP, stateful_set("a/web", 1), made)
    cluster.delete("Pod", "a/web-0").run()
    if broken == "gone":
        cluster.delete("NetworkAttachmentDefinition", "a/net")
    else:
        cluster.apply(attachment("a/net", "{"))
    cluster.apply(made).run()
    assert address(cluster, "web-0.a.net.a.ovn") == "10.29.0.2"
    cluster.apply(NET).run()
    assert notes(cluster, "Pod", "a/web-0", "net.a.ovn")["ip_address"] == "10.29.0.2"


@pytest.mark.parametrize("edit", ["gone", "unreadable", "request"])
def test_what_is_attached_stays_while_its_definition_is_broken(edit: str) -> None:
    cluster = ready(*SETUP, networked("a/p", "net,mv"))
    rows = cluster.memory.snapshot()
    held = {key for kind, key in cluster.api.objects if kind == "IP"}
    if edit == "gone":
        cluster.delete("NetworkAttachmentDefinition", "a/net").delete("NetworkAttachmentDefinition", "a/mv").run()
    elif edit == "unreadable":
        cluster.apply(attachment("a/net", "{"), attachment("a/mv", "{")).run()
    else:
        mine = cluster.get("Pod", "a/p")["metadata"]["annotations"]
        cluster.apply(with_notes(pod("a/p", "n-1"), {**mine, NETWORKS: "[{"})).run()
    assert events(cluster, "Pod", "a/p", "ValidatePodNetworkFailed")
    assert cluster.memory.snapshot() == rows
    assert {key for kind, key in cluster.api.objects if kind == "IP"} == held
    assert notes(cluster, "Pod", "a/p", "mv.a")["allocated"] == "true"
    cluster.apply(networked("a/late", "net"), NET, MACVLAN).run()
    assert address(cluster, "late.a.net.a.ovn")


def test_a_missing_definition_leaves_the_other_networks_alone() -> None:
    cluster = ready(*SETUP, networked("a/p", "gone,net"))
    assert "a/gone" in events(cluster, "Pod", "a/p", "ValidatePodNetworkFailed")[0]
    assert address(cluster, "p.a") == "10.21.0.2"
    assert address(cluster, "p.a.net.a.ovn") == "10.29.0.2"


def test_groups_of_attached_ports() -> None:
    """The second stage is every OVN network's in the default VPC, by its own subnet."""
    inside = subnet("s9", cidrBlock="10.29.0.0/24", provider="net.a.ovn")
    cluster = ready(NET, inside, networked("a/p", "net"))
    members = {str(n) for _, n in cluster.row("Port_Group", "node.n.1")["ports"]}
    assert members == {"p.a", "p.a.net.a.ovn"}
    assert cluster.row("Port_Group", "s9.n.1")["ports"] == {("Logical_Switch_Port", "p.a.net.a.ovn")}


def test_attached_networks_of_stateful_sets_are_kept() -> None:
    made = with_notes(set_pod("a/web-0"), {NETWORKS: "net,mv"})
    cluster = ready(*SETUP, stateful_set("a/web", 1), made)
    held = {n: address(cluster, n) for n in ("web-0.a", "web-0.a.net.a.ovn", "web-0.a.mv.a")}
    cluster.delete("Pod", "a/web-0").run()
    cluster.start()
    cluster.apply(pod("a/x", "n-1"), networked("a/y", "net,mv")).run()
    assert {n: address(cluster, n) for n in held} == held
    cluster.apply(made).run()
    assert {n: address(cluster, n) for n in held} == held
    cluster.delete("Pod", "a/web-0").delete("StatefulSet", "a/web").run()
    assert not any(address(cluster, n) for n in held)


def test_a_family_and_rates_are_checked_for_every_network() -> None:
    bad = networked("a/p", "net", **{"net.a.ovn.kubernetes.io__ip_family": "both"})
    rate = networked("a/q", "net", **{"net.a.ovn.kubernetes.io__ingress_rate": "-1"})
    cluster = ready(*SETUP, bad, rate)
    for name in ("p", "q"):
        (said,) = events(cluster, "Pod", f"a/{name}", "ValidatePodNetworkFailed")
        assert "net.a.ovn.kubernetes.io/" in said
        assert address(cluster, f"{name}.a")
        assert not address(cluster, f"{name}.a.net.a.ovn")


@pytest.mark.parametrize("note", ["eip", "snat", "north_gateway"])
def test_no_port_of_a_pod_with_its_own_way_out_leaves_through_its_node(note: str) -> None:
    """D.3, second stage: the pod is not in `<subnet>.<node>` groups, whatever network it is."""
    attached = subnet("s9", cidrBlock="10.29.0.0/24", provider="net.a.ovn")
    here = networked("a/p", "net", **{f"ovn.kubernetes.io__{note}": "10.21.0.9"})
    cluster = ready(attached, NET, here)
    assert cluster.row("Port_Group", "node.n.1")["ports"] == {
        ("Logical_Switch_Port", name) for name in ("p.a", "p.a.net.a.ovn")
    }
    assert cluster.row("Port_Group", "s9.n.1")["ports"] == cluster.row("Port_Group", "s1.n.1")["ports"] == frozenset()


def test_who_is_in_a_nodes_group_by_one_of_two_rules_only_stays() -> None:
    """D.3 puts ports into `node.<node>` when pods are routed, D.4 others every minute: those of pods in a vlan. A
    takeover leaves what it finds, until the port has moved to another node."""
    place = subnet("u1", cidrBlock="10.60.0.0/24", vlan="v")
    here = set_pod("a/web-0", "n-1", logical_switch="u1")
    cluster = ready(*underlay(), place, stateful_set("a/web", 1, logical_switch="u1"), here)

    def members(node: str) -> set[tuple[str, str]]:
        return set(cluster.row("Port_Group", f"node.{node}")["ports"])

    assert members("n.1") == set(), "parity 07"
    port = ("Logical_Switch_Port", "web-0.a")
    uuid = cluster.memory.uuid_of(Ref(*port))

    def probed(content: dict[str, dict[str, dict[str, Any]]]) -> None:
        row = next(r for r in content["Port_Group"].values() if r["name"] == "node.n.1")
        row["ports"] = frozenset({uuid})

    cluster.database.edit(probed)
    cluster.start()
    assert cluster.run() == []
    assert members("n.1") == {port}
    cluster.delete("Pod", "a/web-0").apply(set_pod("a/web-0", "n-2", logical_switch="u1")).run()
    assert members("n.1") == members("n.2") == set()
    assert cluster.memory.uuid_of(Ref(*port)) == uuid

"""Router ports on external switches, their chassis and BFD sessions, and the BFD port (spec D.5, E.10, H.3)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ovnbridge.model.ovn import Ref
from tests.pure.test_vpc_tables import HOP, N1, ROUTE, VENDOR, keys, ready, status, warnings
from tests.support.cluster import Cluster, Json, merged, node, pod, subnet, vpc

# -- external switches


def gateway(name: str, address: str, chassis: str = "", **labels: str) -> Json:
    made = node(name, address, **({"chassis": chassis} if chassis else {}))
    return merged(
        made, {"metadata": {"labels": {f"ovn.kubernetes.io/{k.replace('_', '-')}": v for k, v in labels.items()}}}
    )


G1 = gateway("n-1", "192.168.0.11", "chassis-1", external_gw="true")
G2 = gateway("n-2", "192.168.0.12", "chassis-2", external_gw="true")
PLAIN = gateway("n-3", "192.168.0.13", "chassis-3")
EXTERNAL = subnet("external", cidrBlock="172.16.0.0/16", vlan="vlan1")


def eip(name: str, v4: str = "172.16.0.9", mac: str = "00:00:00:00:00:09") -> Json:
    spec = {"externalSubnet": "external", "type": "lrp"}
    value = {"v4Ip": v4, "v6Ip": "", "macAddress": mac, "ready": True, "type": "lrp"}
    return {"kind": "OvnEip", "metadata": {"name": name}, "spec": spec, "status": value}


def test_external_port() -> None:
    cluster = ready(G1, G2, PLAIN, EXTERNAL, vpc("v1", enableExternal=True))
    made = cluster.get("OvnEip", "v1-external")
    assert made["spec"] == {"externalSubnet": "external", "type": "lrp"}
    assert "v1-external" not in keys(cluster, "Logical_Router_Port")
    assert "external-v1" not in keys(cluster, "Logical_Switch_Port")
    assert "OvnEip v1-external has no address" in warnings(cluster, "v1")[0]
    assert not status(cluster, "v1")["enableExternal"]

    cluster.apply(eip("v1-external")).run()
    assert warnings(cluster, "v1") == []
    row = cluster.row("Logical_Router_Port", "v1-external")
    assert (row["networks"], row["mac"]) == ({"172.16.0.9/16"}, "00:00:00:00:00:09")
    assert row["external_ids"] == {**VENDOR, "lr": "v1"}
    port = cluster.row("Logical_Switch_Port", "external-v1")
    assert (port["type"], port["addresses"]) == ("router", {"router"})
    assert port["options"] == {"router-port": "v1-external"}
    order = sorted(["chassis-1", "chassis-2"], key=lambda c: hashlib.sha256(f"v1{c}".encode()).hexdigest())
    for priority, chassis in zip((100, 99), order):
        assert cluster.row("Gateway_Chassis", f"v1-external-{chassis}") == {
            "name": f"v1-external-{chassis}",
            "chassis_name": chassis,
            "priority": priority,
            "external_ids": {"lrp": "v1-external"},
        }
    assert row["gateway_chassis"] == {("Gateway_Chassis", f"v1-external-{c}") for c in order}
    assert status(cluster, "v1")["enableExternal"] is True
    assert "always_learn_from_arp_request" not in cluster.row("Logical_Router", "v1")["options"]

    cluster.apply(gateway("n-1", "192.168.0.11", "chassis-1", external_gw="false")).run()
    assert keys(cluster, "Gateway_Chassis") == {"v1-external-chassis-2"}
    assert cluster.row("Gateway_Chassis", "v1-external-chassis-2")["priority"] == 100
    cluster.apply(vpc("v2", enableExternal=True), eip("v2-external", "172.16.0.8")).run()
    cluster.apply(vpc("v1")).run()
    left = {key for table in ("Logical_Router_Port", "Logical_Switch_Port") for key in keys(cluster, table)}
    assert {key for key in left if "external" in key} == {"v2-external", "external-v2", "localnet.external"}
    assert keys(cluster, "Gateway_Chassis") == {"v2-external-chassis-2"}


def test_an_address_that_the_user_gives_a_port_is_nobody_elses() -> None:
    """The first one that a pod in the subnet would get."""
    given = {"externalSubnet": "external", "type": "lrp", "v4Ip": "172.16.0.2"}
    mine = {"kind": "OvnEip", "metadata": {"name": "v1-external"}, "spec": given}
    cluster = ready(G1, EXTERNAL, mine, vpc("v1", enableExternal=True))
    assert cluster.row("Logical_Router_Port", "v1-external")["networks"] == {"172.16.0.2/16"}
    cluster.apply(pod("app/p", "n-1", logical_switch="external")).run()
    assert cluster.get("IP", "p.app")["spec"]["ipAddress"] == "172.16.0.3"


def test_extra_external_subnets_replace_the_default_one() -> None:
    extra = [subnet(f"e{n}", cidrBlock=f"172.{n}.0.0/16", vlan=f"vlan{n}") for n in (17, 18)]
    eips = [merged(eip(f"v1-e{n}", f"172.{n}.0.9"), {"spec": {"externalSubnet": f"e{n}"}}) for n in (17, 18)]
    cluster = ready(G1, EXTERNAL, *extra, *eips, vpc("v1", enableExternal=True, extraExternalSubnets=["e17", "e18"]))
    assert {k for k in keys(cluster, "Logical_Router_Port") if k.startswith("v1")} == {"v1-e17", "v1-e18"}
    assert status(cluster, "v1")["extraExternalSubnets"] == ["e17", "e18"]
    assert ("OvnEip", "v1-external") not in cluster.api.objects
    cluster.apply(vpc("v1", enableExternal=True, extraExternalSubnets=["e17"])).run()
    assert status(cluster, "v1")["extraExternalSubnets"] == ["e17"]


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (gateway("n-1", "192.168.0.11", "chassis-1"), "no node with label"),
        (gateway("n-1", "192.168.0.11", external_gw="true"), "no node with label"),
        (eip("v1-external", "10.0.0.1"), "has no address"),
        (subnet("external", cidrBlock="172.16.0.0", vlan="vlan1"), "does not exist or is not valid"),
    ],
)
def test_an_input_that_is_lost_leaves_the_port_as_it_is(lost: Json, words: str) -> None:
    single = [merged(N1, G1), EXTERNAL, eip("v1-external")]
    cluster = ready(*single, vpc("v1", enableExternal=True))
    before = cluster.memory.snapshot()
    assert "v1-external" in keys(cluster, "Logical_Router_Port")
    if lost["kind"] == "Node":
        lost = merged(lost, {"metadata": {"labels": lost["metadata"]["labels"]}})
        cluster.api.objects[("Node", "n-1")]["metadata"]["labels"] = {}
        cluster.api.objects[("Node", "n-1")]["metadata"]["annotations"].pop("ovn.kubernetes.io/chassis")
    cluster.apply(lost).run()
    assert words in warnings(cluster, "v1")[0]
    after = cluster.memory.snapshot()
    for key in (("Logical_Router_Port", "v1-external"), ("Logical_Switch_Port", "external-v1")):
        assert after[key] == before[key]
    cluster.apply(*single).run()
    assert warnings(cluster, "v1") == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"enableExternal": True}, "OvnEip v1-external has no address"),
        ({"enableExternal": True, "extraExternalSubnets": ["gone"]}, "external subnet gone does not exist"),
        ({"enableBfd": True}, "enableBfd needs the router to be attached to external"),
        ({"bfdPort": {"enabled": True, "ip": "10.255.255.1"}}, "no node that it selects has a chassis"),
    ],
)
def test_a_port_that_waits_keeps_nothing_else(spec: Json, words: str) -> None:
    """Nothing is wrong with the VPC: routes, policies and peerings that it drops go."""
    given = {
        "staticRoutes": [{"cidr": "10.9.0.0/16", **HOP}],
        "policyRoutes": [{"priority": 7, "match": "ip4", "action": "drop"}],
        "vpcPeerings": [{"remoteVpc": "v9", "localConnectIP": "169.254.9.1/30"}],
    }
    cluster = ready(EXTERNAL, vpc("v1", **given, **spec))
    assert warnings(cluster, "v1")[0].startswith("VpcIncomplete: ")
    assert words in warnings(cluster, "v1")[0]
    assert "v1-v9" in keys(cluster, "Logical_Router_Port")
    cluster.apply(vpc("v1", **spec)).run()
    assert keys(cluster, ROUTE, "v1") == keys(cluster, "Logical_Router_Policy", "v1") == set()
    assert "v1-v9" not in keys(cluster, "Logical_Router_Port")


def test_subnets_of_other_providers_do_not_keep_a_vpc() -> None:
    """Spec D.5, F.6: the finalizer goes when `status.subnets` is empty, and these have only OVN's."""
    cluster = ready(vpc("v1"), subnet("s1", cidrBlock="10.18.0.0/24", vpc="v1", provider="macvlan.app"))
    assert not status(cluster, "v1").get("subnets")
    cluster.delete("Vpc", "v1").run()
    assert ("Vpc", "v1") not in cluster.api.objects


def test_the_default_vpcs_external_gateway_is_another_features() -> None:
    """Spec D.18."""
    cluster = ready(G1, EXTERNAL, vpc("ovn-cluster", enableExternal=True))
    put, name = cluster.memory.put, "ovn-cluster-external"
    put("Logical_Router_Port", Ref("Logical_Router", "ovn-cluster"), "ports", name=name, mac="00:00:00:00:00:01",
        networks=frozenset({"172.16.0.2/16"}), external_ids={**VENDOR, "lr": "ovn-cluster"})  # fmt: skip
    chassis = {"name": f"{name}-c", "chassis_name": "c", "priority": 100, "external_ids": {"lrp": name}}
    put("Gateway_Chassis", Ref("Logical_Router_Port", name), "gateway_chassis", **chassis)
    put("Logical_Switch_Port", Ref("Logical_Switch", "external"), "ports", name="external-ovn-cluster", type="router",
        options={"router-port": name}, external_ids={**VENDOR, "ls": "external"})  # fmt: skip
    before = cluster.memory.snapshot()
    cluster.run()
    cluster.start()
    assert cluster.run() == []
    assert cluster.memory.snapshot() == before


def test_bfd_with_the_external_gateway() -> None:
    spec = {"enableExternal": True, "enableBfd": True}
    cluster = ready(G1, EXTERNAL, eip("v1-external"), vpc("v1", **spec))
    assert cluster.row("BFD", ("v1-external", "172.16.0.1")) == {
        "logical_port": "v1-external",
        "dst_ip": "172.16.0.1",
        "min_tx": 100,
        "min_rx": 100,
        "detect_mult": 3,
        "status": None,  # OVN's to say
        "external_ids": VENDOR,
    }
    assert status(cluster, "v1")["enableBfd"] is True
    says(cluster, "up")
    cluster.apply(vpc("v1", enableExternal=True)).run()
    assert keys(cluster, "BFD") == set()


@pytest.mark.parametrize("ecmp", [True, False])
def test_sessions_with_nodes_are_another_features(ecmp: bool) -> None:
    """Spec D.5: with enableEcmp of one of the VPC's subnets there are some with the OvnEips of type lsp."""
    spec = {"enableExternal": True, "enableBfd": True}
    inside = subnet("s1", cidrBlock="10.17.0.0/24", vpc="v1", enableEcmp=ecmp)
    cluster = ready(G1, EXTERNAL, inside, eip("v1-external"), vpc("v1", **spec))
    cluster.memory.put("BFD", logical_port="v1-external", dst_ip="172.16.0.20", external_ids=VENDOR)
    cluster.run()
    own, others = ("v1-external", "172.16.0.1"), ("v1-external", "172.16.0.20")
    assert keys(cluster, "BFD") == ({own, others} if ecmp else {own})


def says(cluster: Cluster, status: str) -> None:
    """OVN says what has become of the only BFD session."""

    def change(content: Any) -> None:
        for row in content["BFD"].values():
            row["status"] = status

    cluster.database.edit(change)
    cluster.run()


def gateways(cluster: Cluster) -> list[str]:
    """Chassis of the external port, the first one hosts it."""
    rows = [cluster.row("Gateway_Chassis", key) for key in keys(cluster, "Gateway_Chassis")]
    rows.sort(key=lambda row: -row["priority"])
    assert [row["priority"] for row in rows] == list(range(100, 100 - len(rows), -1))
    return [row["chassis_name"] for row in rows]


def test_a_chassis_that_loses_the_external_gateway_goes_last() -> None:
    """Spec E.10, as a walk: it is lost on one chassis after the other, and found again."""
    nodes = [gateway(f"n-{n}", f"192.168.0.1{n}", f"chassis-{n}", external_gw="true") for n in (1, 2, 3)]
    bfd = vpc("v1", enableExternal=True, enableBfd=True)
    cluster = ready(*nodes, EXTERNAL, eip("v1-external"), bfd)
    one, two, three = sorted(
        (f"chassis-{n}" for n in (1, 2, 3)), key=lambda c: hashlib.sha256(f"v1{c}".encode()).hexdigest()
    )
    says(cluster, "down")
    assert gateways(cluster) == [one, two, three], "a gateway that never answered is nobody's fault"
    says(cluster, "up")
    assert gateways(cluster) == [one, two, three]
    says(cluster, "down")
    assert gateways(cluster) == [two, three, one]
    says(cluster, "down")
    cluster.start()
    assert cluster.run() == [], "it takes a moment until it is up there; what has happened is not forgotten"
    says(cluster, "up")
    assert gateways(cluster) == [two, three, one], "it stays where it works"
    says(cluster, "down")
    assert gateways(cluster) == [three, one, two]
    says(cluster, "up")
    says(cluster, "down")
    assert gateways(cluster) == [one, two, three]
    says(cluster, "up")
    says(cluster, "down")
    assert gateways(cluster) == [two, three, one], "the one that has lost it last goes last"
    cluster.apply(gateway("n-9", "192.168.0.19", "chassis-9", external_gw="true")).run()
    assert gateways(cluster) == ["chassis-9", two, three, one], "nothing is known of this one"
    cluster.api.objects[("Node", "n-9")]["metadata"]["labels"] = {}
    cluster.apply(gateway("n-9", "192.168.0.19", "chassis-9")).run()
    cluster.apply(vpc("v1", enableExternal=True)).run()
    assert gateways(cluster) == [one, two, three], "without BFD nothing is remembered"
    assert cluster.engine.desired.snapshot() == cluster.engine.recompute().snapshot()


# -- the BFD port


def test_bfd_port() -> None:
    nodes = [gateway(f"n-{n}", f"192.168.0.1{n}", f"chassis-{n}") for n in range(1, 6)]
    cluster = ready(*nodes, vpc("v1", bfdPort={"enabled": True, "ip": "10.255.255.255,fd00::1"}))
    row = cluster.row("Logical_Router_Port", "bfd@v1")
    assert row["networks"] == {"10.255.255.255", "fd00::1"}
    assert row["options"] == {"bfd-only": "true"}
    assert row["external_ids"] == {**VENDOR, "lr": "v1"}
    assert row["ha_chassis_group"] == ("HA_Chassis_Group", "bfd@v1")
    group = cluster.row("HA_Chassis_Group", "bfd@v1")
    assert group["external_ids"] == {**VENDOR, "lrp": "bfd@v1"}
    members = {key[1]: cluster.row("HA_Chassis", key) for key in keys(cluster, "HA_Chassis", "bfd@v1")}
    ids = {**VENDOR, "group": "bfd@v1"}
    assert members == {
        f"chassis-{n}": {"chassis_name": f"chassis-{n}", "priority": 101 - n, "external_ids": ids} for n in (1, 2, 3)
    }
    nodes_of = ["n-1", "n-2", "n-3"]
    assert status(cluster, "v1")["bfdPort"] == {"name": "bfd@v1", "ip": "10.255.255.255,fd00::1", "nodes": nodes_of}

    not_ready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    cluster.apply(merged(nodes[1], not_ready)).run()
    assert {key[1] for key in keys(cluster, "HA_Chassis")} == {"chassis-1", "chassis-3", "chassis-4"}
    cluster.apply(vpc("v1")).run()
    assert not any(keys(cluster, table) for table in ("HA_Chassis_Group", "HA_Chassis"))
    assert "bfd@v1" not in keys(cluster, "Logical_Router_Port")
    assert not any(status(cluster, "v1")["bfdPort"].values())


def test_bfd_port_on_selected_nodes() -> None:
    nodes = [gateway(f"n-{n}", f"192.168.0.1{n}", f"chassis-{n}", egress="yes") for n in range(1, 6)]
    selector = {"matchLabels": {"ovn.kubernetes.io/egress": "yes"}}
    spec = {"enabled": True, "ip": "10.255.255.255", "nodeSelector": selector}
    cluster = ready(*nodes, gateway("n-9", "192.168.0.19", "chassis-9"), vpc("v1", bfdPort=spec))
    assert {key[1] for key in keys(cluster, "HA_Chassis")} == {f"chassis-{n}" for n in range(1, 6)}


def test_bfd_port_without_a_chassis() -> None:
    cluster = ready(vpc("v1", bfdPort={"enabled": True, "ip": "10.255.255.255"}))
    assert "bfdPort: no node that it selects has a chassis" in warnings(cluster, "v1")[0]
    assert "bfd@v1" not in keys(cluster, "Logical_Router_Port")
    cluster.apply(gateway("n-1", "192.168.0.11", "chassis-1")).run()
    assert warnings(cluster, "v1") == []
    assert "bfd@v1" in keys(cluster, "Logical_Router_Port")

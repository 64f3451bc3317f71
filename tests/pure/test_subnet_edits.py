"""Edits of subnets that are in use: what they must not tear down, and what they must not leave behind."""

from __future__ import annotations

import pytest

from tests.support.cluster import Cluster, Json, namespace, node, pod, subnet, underlay, vpc

NODES = (node("n-1", "192.168.0.11"), node("n-2", "192.168.0.12"))
S1: Json = {"cidrBlock": "10.17.0.0/24"}


def ready(*objects: Json) -> Cluster:
    cluster = Cluster()
    cluster.apply(namespace("app"), *NODES, vpc("v1"), vpc("v2"), *underlay("v"), *objects).run()
    return cluster


def conditions(cluster: Cluster, name: str) -> dict[str, tuple[str, str]]:
    found = cluster.get("Subnet", name).get("status", {}).get("conditions", [])
    return {c["type"]: (c["status"], c.get("reason", "")) for c in found}


def message(cluster: Cluster, name: str) -> str:
    return str(cluster.get("Subnet", name)["status"]["conditions"][0].get("message", ""))


@pytest.mark.parametrize("of_vpc", ["ovn-cluster", "v1"])
@pytest.mark.parametrize(
    "bad",
    [{"vpc": "gone"}, {"vpc": "v2", "gateway": "10.99.0.1"}, {"vpc": "s1"}, {"vpc": "v2", "vlan": "gone"}],
    ids=str,
)
@pytest.mark.parametrize("restart", [False, True])
def test_a_bad_edit_that_names_another_vpc_tears_nothing_down(of_vpc: str, bad: Json, restart: bool) -> None:
    """Groups, routes and sets of the VPC that the subnet was in until then: its status lists it."""
    here = pod("app/p", "n-1", phase="Running", logical_switch="s1")
    beside = subnet("s2", cidrBlock="10.18.0.0/24", vpc=of_vpc)
    cluster = ready(subnet("s1", **S1, vpc=of_vpc, routeTable="blue"), beside, here)
    before = cluster.memory.snapshot()
    cluster.api.patch("Subnet", "s1", {"spec": bad})
    if restart:
        cluster.start()
    cluster.run()
    assert conditions(cluster, "s1")["Ready"][0] == "False"
    assert cluster.memory.snapshot() == before
    assert "s1" in cluster.get("Vpc", of_vpc)["status"]["subnets"]
    cluster.apply(subnet("s1", **S1, vpc="v2")).run()
    assert conditions(cluster, "s1")["Ready"][0] == "True"
    assert cluster.get("Vpc", of_vpc)["status"]["subnets"].count("s1") == 0
    assert cluster.get("Vpc", "v2")["status"]["subnets"] == ["s1"]
    fresh = ready(subnet("s1", **S1, vpc="v2"), beside, here)
    changed = {key for key, rows in fresh.memory.snapshot().items() if cluster.memory.snapshot().get(key) != rows}
    assert not changed
    assert cluster.memory.snapshot().keys() == fresh.memory.snapshot().keys()


def test_a_network_cannot_go_while_its_addresses_are_in_use() -> None:
    """C.7: converting a CIDR to none is refused."""
    cluster = ready(subnet("s1", **S1, vlan="v"), pod("app/p", "n-1", phase="Running", logical_switch="s1"))
    before = cluster.memory.snapshot()
    cluster.apply(subnet("s1", vlan="v")).run()
    assert conditions(cluster, "s1")["Validated"] == ("False", "ValidateLogicalSwitchFailed")
    assert "p.app" in message(cluster, "s1")
    assert cluster.memory.snapshot() == before
    cluster.delete("Pod", "app/p").run()
    assert conditions(cluster, "s1")["Ready"][0] == "True"
    assert cluster.get("Subnet", "s1")["spec"]["protocol"] == "Mac"


def test_pods_without_addresses_do_not_keep_a_subnet_from_staying_without() -> None:
    cluster = ready(subnet("s1", vlan="v"), pod("app/p", "n-1", phase="Running", logical_switch="s1"))
    assert conditions(cluster, "s1")["Ready"][0] == "True"
    assert cluster.get("IP", "p.app")["spec"]["macAddress"]
    cluster.apply(subnet("s1", **S1, vlan="v")).run()
    assert conditions(cluster, "s1")["Ready"][0] == "True"


def test_a_vip_where_there_are_no_addresses_says_so() -> None:
    """It was given one without addresses, and changed its mind for ever when the subnet became invalid."""
    vip = {"kind": "Vip", "metadata": {"name": "shared"}, "spec": {"subnet": "s1", "namespace": "app"}}
    cluster = ready(subnet("s1", vlan="v"), vip)
    (condition,) = cluster.get("Vip", "shared")["status"]["conditions"]
    assert (condition["reason"], condition["message"]) == ("AcquireAddressFailed", "subnet s1 manages no addresses")
    cluster.apply(subnet("s1", vlan="v", gateway="10.17.0.1")).run()
    cluster.apply(subnet("s1", **S1, vlan="v")).run()
    assert cluster.get("Vip", "shared")["status"]["v4ip"] == "10.17.0.2"


@pytest.mark.parametrize(
    ("spec", "notes"),
    [
        (S1, {"logical_router": "ovn-cluster"}),
        ({**S1, "vpc": "v1"}, {"logical_router": "v1"}),
        ({**S1, "vlan": "v"}, {"vlan_id": "10", "provider_network": "net1"}),
        (
            {**S1, "vlan": "v", "logicalGateway": True},
            {"vlan_id": "10", "provider_network": "net1", "logical_router": "ovn-cluster"},
        ),
    ],
)
@pytest.mark.parametrize("before", [S1, {**S1, "vlan": "v"}])
def test_annotations_of_pods_follow_their_subnet(before: Json, spec: Json, notes: dict[str, str]) -> None:
    """B.2: the node's agent believes them when it makes a sandbox anew."""
    cluster = ready(subnet("s1", **before), pod("app/p", "n-1", phase="Running", logical_switch="s1"))
    cluster.apply(subnet("s1", **spec)).run()
    found = cluster.get("Pod", "app/p")["metadata"]["annotations"]
    told = ("logical_router", "vlan_id", "provider_network")
    assert {name: found[key] for name in told if (key := f"ovn.kubernetes.io/{name}") in found} == notes

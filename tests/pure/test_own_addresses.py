"""Addresses of nodes, routers and queriers follow their subnet: exchanged in place, only what does not fit (spec C.5,
C.7, D.1 point 7, D.2).

Kube-OVN's rules say what must be there in the end; on the way no router port may be without its address.
"""

from __future__ import annotations

from typing import Any

import pytest

from ovnbridge.compile.options import Options
from tests.support.cluster import Cluster, Json, ip, namespace, node, pod, subnet, underlay, vpc

NODES = (node("n-1", "192.168.0.11", "fd01::11"), node("n-2", "192.168.0.12", "fd01::12"))
ROUTER, QUERIER = "u2o-interconnection.ovn-cluster.s", "mcast-querier.s"
V4, DUAL, V6 = "10.17.0.0/24", "10.17.0.0/24,fd17::/64", "fd17::/64"
ADDED = {"gateway": None, "excludeIps": None}


def ready(*objects: Json, options: Options | None = None) -> Cluster:
    cluster = Cluster(options=options)
    cluster.apply(namespace("app"), *NODES, vpc("v1"), *underlay("v"), *objects).run()
    return cluster


def connected(**spec: Any) -> Json:
    return subnet(
        "s", **{"cidrBlock": V4, "vlan": "v", "u2oInterconnection": True, "enableMulticastSnoop": True, **spec}
    )


def lease(cluster: Cluster, owner: str) -> tuple[str, str, str]:
    spec = cluster.get("IP", owner)["spec"]
    return spec["v4IpAddress"], spec["v6IpAddress"], spec["macAddress"]


def edit(cluster: Cluster, spec: Json, each: Any = lambda: None) -> None:
    cluster.api.patch("Subnet", "s", {"spec": spec})
    cluster.run(batch=1, each=each)


def ready_reason(cluster: Cluster, name: str = "s") -> tuple[str, str]:
    found = {c["type"]: c for c in cluster.get("Subnet", name)["status"]["conditions"]}
    return found["Ready"]["status"], found["Ready"].get("reason", "")


def networks(cluster: Cluster, port: str = "ovn-cluster-s") -> set[str]:
    return set(cluster.row("Logical_Router_Port", port)["networks"])


def test_a_second_family_comes_and_goes() -> None:
    cluster = ready(connected())
    assert networks(cluster) == {"10.17.0.2/24"}
    first = {owner: lease(cluster, owner) for owner in (ROUTER, QUERIER)}
    objects = {owner: cluster.get("IP", owner)["metadata"]["uid"] for owner in first}

    def kept() -> None:
        assert "10.17.0.2/24" in networks(cluster), "the router's address stays, at every moment"
        assert cluster.row("Logical_Switch_Port", QUERIER)["addresses"]

    edit(cluster, {"cidrBlock": DUAL, **ADDED}, kept)
    assert networks(cluster) == {"10.17.0.2/24", "fd17::2/64"}
    for owner, (v4, v6, mac) in first.items():
        assert v6 == ""
        now = lease(cluster, owner)
        assert (now[0], now[2]) == (v4, mac)
        assert now[1].startswith("fd17::")
    assert cluster.get("Subnet", "s")["status"]["u2oInterconnectionIP"] == "10.17.0.2,fd17::2"
    (port,) = cluster.row("Logical_Switch_Port", QUERIER)["addresses"]
    assert port.split() == [first[QUERIER][2], *lease(cluster, QUERIER)[:2]]
    edit(cluster, {"cidrBlock": V4, **ADDED}, kept)
    assert {owner: lease(cluster, owner) for owner in first} == first
    assert networks(cluster) == {"10.17.0.2/24"}
    assert {owner: cluster.get("IP", owner)["metadata"]["uid"] for owner in first} == objects, (
        "the objects are the same"
    )
    edit(cluster, {"cidrBlock": V6, **ADDED})
    assert networks(cluster) == {"fd17::2/64"}


def test_another_network() -> None:
    """Found by the transition property: a claim that is the same in another network was not asked again."""
    cluster = ready(connected())
    cluster.apply(pod("app/p", "n-1", phase="Running", logical_switch="s")).run()
    edit(cluster, {"cidrBlock": "10.27.0.0/24", **ADDED})
    assert networks(cluster) == {"10.27.0.2/24"}
    assert lease(cluster, QUERIER)[0] == "10.27.0.3"
    assert lease(cluster, "p.app")[0] == "10.17.0.4", "a pod that runs keeps its address (spec E.14)"
    assert ready_reason(cluster)[0] == "True"


def test_an_address_that_is_taken_changes_nothing() -> None:
    taken = pod("app/p", "n-1", phase="Running", logical_switch="s", ip_address="10.17.0.50")
    cluster = ready(connected(), taken)
    before = cluster.memory.snapshot()
    edit(cluster, {"u2oInterconnectionIP": "10.17.0.50"})
    assert cluster.memory.snapshot() == before
    assert ready_reason(cluster) == ("False", "AcquireAddressFailed")
    assert cluster.get("Subnet", "s")["status"]["u2oInterconnectionIP"] == "10.17.0.2", "which is true"
    cluster.delete("Pod", "app/p").run()
    assert networks(cluster) == {"10.17.0.50/24"}
    assert ready_reason(cluster)[0] == "True"


def test_what_is_given_up_is_nobodys_before_the_object_says_so() -> None:
    cluster = ready(connected(cidrBlock="10.17.0.0/29", enableMulticastSnoop=False))
    cluster.apply(*(pod(f"app/p{i}", "n-1", logical_switch="s") for i in range(4))).run()
    assert sorted(_addresses(cluster)) == [f"10.17.0.{n}" for n in range(2, 7)], "no address is left"
    freed = lease(cluster, "p0.app")[0]
    cluster.delete("Pod", "app/p0").run()
    cluster.api.patch("Subnet", "s", {"spec": {"u2oInterconnectionIP": freed}})
    cluster.hear()
    assert _addresses(cluster).count("10.17.0.2") == 1, "the object is not written yet"
    cluster.apply(pod("app/late", "n-1", logical_switch="s")).hear()
    assert cluster.plan("IP", "late.app") == ()
    assert cluster.write("IP", ROUTER)
    cluster.run()
    assert (lease(cluster, ROUTER)[0], lease(cluster, "late.app")[0]) == (freed, "10.17.0.2")


def _addresses(cluster: Cluster) -> list[str]:
    return [o["spec"]["v4IpAddress"] for (kind, key), o in cluster.api.objects.items()
            if kind == "IP" and o["spec"]["subnet"] == "s"]  # fmt: skip


def test_a_cluster_becomes_dual_stack() -> None:
    """D.1 point 7: with flags of both families the join and the default subnet get what they lack."""
    cluster = ready(pod("app/p", "n-1", phase="Running"))
    joins = {name: lease(cluster, f"node-{name}") for name in ("n-1", "n-2")}
    cluster.options = Options(
        node_switch_cidr="100.64.0.0/16,fd00:100:64::/112", default_cidr="10.99.0.0/16,fd00:10:16::/112"
    )
    cluster.start()
    cluster.run()
    assert cluster.get("Subnet", "join")["spec"]["cidrBlock"] == "100.64.0.0/16,fd00:100:64::/112"
    spec = cluster.get("Subnet", "ovn-default")["spec"]
    assert spec["cidrBlock"] == "10.16.0.0/16,fd00:10:16::/112", "of the family that it has the object is right"
    assert (spec["gateway"], spec["protocol"]) == ("10.16.0.1,fd00:10:16::1", "Dual")
    assert spec["excludeIps"] == ["10.16.0.1", "fd00:10:16::1"]
    for name, (v4, _, mac) in joins.items():
        now = lease(cluster, f"node-{name}")
        assert (now[0], now[2]) == (v4, mac)
        notes = cluster.get("Node", name)["metadata"]["annotations"]
        assert notes["ovn.kubernetes.io/ip_address"] == f"{v4},{now[1]}"
        group = name.replace("-", ".")
        policy = cluster.row("Logical_Router_Policy", ("ovn-cluster", 29000, f"ip6.src == $ovn.default.{group}_ip6"))
        assert policy["nexthops"] == {now[1]}
    assert lease(cluster, "p.app")[1] == "", "a pod that runs keeps what it has"
    cluster.options = Options()
    cluster.start()
    cluster.run()
    assert cluster.get("Subnet", "join")["spec"]["cidrBlock"].endswith(",fd00:100:64::/112"), (
        "never taken away by a flag"
    )


def test_a_node_keeps_what_fits_of_its_address() -> None:
    dual = Options(node_switch_cidr="100.64.0.0/16,fd00:100:64::/112")
    cluster = ready(options=dual)
    (v4, v6, mac) = lease(cluster, "node-n-1")
    assert v6
    cluster.options = Options()
    cluster.start()
    cluster.api.patch("Subnet", "join", {"spec": {"cidrBlock": "100.64.0.0/16", **ADDED}})
    cluster.run()
    assert lease(cluster, "node-n-1") == (v4, "", mac)
    assert cluster.get("Node", "n-1")["metadata"]["annotations"]["ovn.kubernetes.io/ip_address"] == v4


@pytest.mark.parametrize("restart", [False, True])
def test_an_address_of_a_vpc_that_the_subnet_has_left_goes(restart: bool) -> None:
    """Found by the transition property: it stayed when the way went over a spec that is refused."""
    cluster = ready(connected())
    edit(cluster, {"vpc": "s"})
    assert ("IP", ROUTER) in cluster.api.objects
    if restart:
        cluster.start()
    edit(cluster, {"vpc": "v1"})
    assert ("IP", ROUTER) not in cluster.api.objects
    assert ("IP", "u2o-interconnection.v1.s") in cluster.api.objects


def test_an_edit_by_hand_is_still_put_back() -> None:
    cluster = ready(connected(), ip("app/q", "s", "10.17.0.77"))
    before = lease(cluster, ROUTER)
    cluster.api.patch("IP", ROUTER, {"spec": {"v6IpAddress": "fd99::1", "v4IpAddress": "10.17.0.9"}})
    cluster.run()
    assert lease(cluster, ROUTER) == before

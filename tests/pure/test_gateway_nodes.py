"""Policies of nodes and of centralized gateways: objects in, NB rows out (spec D.2.3, D.2.4, D.4)."""

from __future__ import annotations

from typing import Any

import pytest

from ovnbridge.compile.options import Options
from ovnbridge.engine.items import Event
from tests.support.cluster import Cluster, ip, merged, namespace, node, pod, subnet, underlay, vpc

VENDOR = {"vendor": "kube-ovn"}
N1, N2 = node("n-1", "192.168.0.11", "fd01::11"), node("n-2", "192.168.0.12", "fd01::12")
JOINS = (ip("n-1", "join", "100.64.0.2", "fd00:100:64::2"), ip("n-2", "join", "100.64.0.3", "fd00:100:64::3"))
DUAL = {"node_switch_cidr": "100.64.0.0/16,fd00:100:64::/112"}


def ready(*objects: Any, **flags: Any) -> Cluster:
    cluster = Cluster(options=Options(**DUAL, **flags))
    cluster.apply(namespace("app"), N1, N2, *JOINS, *underlay("vlan1"), *objects).run()
    return cluster


def policies(cluster: Cluster, priority: int) -> dict[str, tuple[str, set[str], dict[str, str]]]:
    """match → (action, next hops, external ids)."""
    rows = [row for (table, _), (row,) in cluster.memory.snapshot().items() if table == "Logical_Router_Policy"]
    found = [row for row in rows if row["priority"] == priority]
    return {row["match"]: (row["action"], set(row["nexthops"]), row["external_ids"]) for row in found}


def test_node_local_dns() -> None:
    cluster = ready(node_local_dns_ip="169.254.20.10,fd00::53")
    made = {match: row for match, row in policies(cluster, 30000).items() if "src" in match}
    expected = {}
    for number, hops in (("1", ("100.64.0.2", "fd00:100:64::2")), ("2", ("100.64.0.3", "fd00:100:64::3"))):
        for family, dns, hop in (("4", "169.254.20.10", hops[0]), ("6", "fd00::53", hops[1])):
            match = f"ip{family}.src == $node.n.{number}_ip{family} && ip{family}.dst == {dns}"
            ids = {**VENDOR, "node": f"n-{number}", "address-family": family, "isLocalDnsCache": "true"}
            expected[match] = ("reroute", {hop}, ids)
    assert made == expected
    cluster.options = Options(**DUAL)
    cluster.start()
    cluster.run()
    assert not [match for match in policies(cluster, 30000) if "src" in match]


def test_no_node_local_dns_for_a_family_of_which_the_node_has_no_address() -> None:
    """As Kube-OVN does; the specification says nothing."""
    cluster = ready(node("n-2", "192.168.0.12"), node_local_dns_ip="169.254.20.10,fd00::53")
    made = {match for match in policies(cluster, 30000) if "src" in match and "n.2" in match}
    assert made == {"ip4.src == $node.n.2_ip4 && ip4.dst == 169.254.20.10"}


def test_both_families_of_a_centralized_subnet() -> None:
    central = subnet("s1", cidrBlock="10.17.0.0/24,fd17::/112", gatewayType="centralized", gatewayNode="n-2,n-1")
    made = policies(ready(central), 29000)
    assert made["ip4.src == 10.17.0.0/24"] == (
        "reroute",
        {"100.64.0.3"},
        {**VENDOR, "subnet": "s1", "n-2": "100.64.0.3"},
    )
    hop = "fd00:100:64::3"
    assert made["ip6.src == fd17::/112"] == ("reroute", {hop}, {**VENDOR, "subnet": "s1", "n-2": hop})


@pytest.mark.parametrize("gone", ["deleted", "not ready", "no network"])
def test_a_gateway_that_fails_is_replaced_in_one_reconcile(gone: str) -> None:
    """The policy is changed in place, in the first transaction after the node's failure is heard of."""
    cluster = ready(subnet("s1", cidrBlock="10.17.0.0/24", gatewayType="centralized", gatewayNode="n-2:172.16.0.1,n-1"))
    bad = {"not ready": [("Ready", "False")], "no network": [("Ready", "True"), ("NetworkUnavailable", "True")]}
    if gone == "deleted":
        cluster.delete("Node", "n-2")
    else:
        conditions = [{"type": kind, "status": value} for kind, value in bad[gone]]
        cluster.apply(merged(N2, {"status": {"conditions": conditions}}))
    cluster.hear()
    cluster.commit()
    ids = {**VENDOR, "subnet": "s1", "n-1": "100.64.0.2"}
    assert policies(cluster, 29000)["ip4.src == 10.17.0.0/24"] == ("reroute", {"100.64.0.2"}, ids)
    cluster.run()
    assert cluster.get("Subnet", "s1")["status"]["activateGateway"] == "n-1"


def test_ecmp_follows_readiness() -> None:
    spec = {"cidrBlock": "10.17.0.0/24", "gatewayType": "centralized", "enableEcmp": True}
    cluster = ready(subnet("s1", **spec, gatewayNodeSelectors=[{"matchLabels": {"gw": "yes"}}], gatewayNode="n-1"))
    match = "ip4.src == 10.17.0.0/24"
    assert policies(cluster, 29000)[match][1] == {"100.64.0.2"}
    cluster.apply(merged(N2, {"metadata": {"labels": {"gw": "yes"}}})).run()
    assert policies(cluster, 29000)[match][1:] == (
        {"100.64.0.2", "100.64.0.3"},
        {**VENDOR, "subnet": "s1", "n-1": "100.64.0.2", "n-2": "100.64.0.3"},
    )


CENTRAL = {"cidrBlock": "10.17.0.0/24", "gatewayType": "centralized", "gatewayNode": "n-2,n-1"}


@pytest.mark.parametrize(
    ("spec", "active"),
    [
        ({}, "n-2"),
        ({"vlan": "vlan1", "logicalGateway": True}, "n-2"),
        ({"vlan": "vlan1"}, ""),
        ({"vlan": "vlan1", "u2oInterconnection": True}, ""),
        ({"vpc": "v1"}, ""),
        ({"provider": "net.app", "vpc": "ovn-cluster"}, ""),
    ],
)
def test_which_subnets_have_an_active_gateway(spec: dict[str, Any], active: str) -> None:
    """D.2.4: those that leave through nodes; a pure underlay is not one of them."""
    cluster = ready(vpc("v1"), subnet("s1", **CENTRAL, **spec))
    assert cluster.get("Subnet", "s1")["status"]["activateGateway"] == active
    assert bool([match for match in policies(cluster, 29000) if "10.17" in match and "reroute"]) is bool(
        active or spec.get("u2oInterconnection")
    )


def test_the_active_gateway_of_before_is_named_while_it_is_one() -> None:
    cluster = ready(subnet("s1", **CENTRAL))
    cluster.apply(subnet("s1", **CENTRAL, enableEcmp=True)).run()
    assert cluster.get("Subnet", "s1")["status"]["activateGateway"] == "n-2"
    cluster.apply(subnet("s1", **{**CENTRAL, "gatewayNode": "n-1"}, enableEcmp=True)).run()
    assert cluster.get("Subnet", "s1")["status"]["activateGateway"] == ""


def test_a_gateway_that_moves_is_told_of() -> None:
    cluster = ready(subnet("s1", **CENTRAL))

    def told() -> list[str]:
        found = cluster.state.reactor.items("Subnet", "s1")
        return [i.message for i in found if isinstance(i, Event) and i.reason == "SubnetGatewayNodeChanged"]

    assert told() == []
    cluster.apply(merged(N2, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}))
    cluster.hear()
    assert told() == ["gateway node changes from n-2 to n-1"]
    cluster.run()
    assert told() == [], "so that it is told again the next time"


@pytest.mark.parametrize(
    ("spec", "grouped"),
    [
        ({}, {"node.n.1", "s1.n.1"}),
        ({"vlan": "vlan1", "logicalGateway": True}, {"node.n.1", "s1.n.1"}),
        ({"gatewayType": "centralized", "gatewayNode": "n-1"}, {"node.n.1"}),
        ({"vlan": "vlan1"}, set()),
        ({"vpc": "gone"}, set()),
    ],
)
def test_which_groups_a_pod_is_in(spec: dict[str, Any], grouped: set[str]) -> None:
    lease = ip("app/p", "s1", "10.17.0.9")
    cluster = ready(subnet("s1", cidrBlock="10.17.0.0/24", **spec), lease, pod("app/p", "n-1", logical_switch="s1"))
    found = {key: row["ports"] for (table, key), (row,) in cluster.memory.snapshot().items() if table == "Port_Group"}
    assert {key for key, ports in found.items() if ("Logical_Switch_Port", "p.app") in ports} == grouped

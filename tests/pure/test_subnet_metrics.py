"""Kube-OVN's metrics of subnets (spec E.8), read by Prometheus' own parser."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from ovnbridge.compile.options import Options
from ovnbridge.controller.figures import publish
from ovnbridge.observe.metrics import Metrics
from tests.support.cluster import Cluster, ip, namespace, node, pod, subnet, underlay, vpc

NODES = (node("n-1", "192.168.0.11"), node("n-2", "192.168.0.12"))
JOINS = (ip("n-1", "join", "100.64.0.2"), ip("n-2", "join", "100.64.0.3"))


def page(cluster: Cluster, metrics: Metrics) -> dict[str, list[tuple[dict[str, str], float]]]:
    cluster.state.reactor.allocator.publish_usage()
    cluster.run()
    asyncio.run(publish(metrics, cluster.state))
    found: dict[str, Any] = {}
    for family in text_string_to_metric_families(metrics.page()[0].decode()):
        assert family.type == "gauge"
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def of(samples: list[tuple[dict[str, str], float]], name: str) -> list[tuple[dict[str, str], float]]:
    return [
        ({k: v for k, v in labels.items() if k != "subnet_name"}, value)
        for labels, value in samples
        if labels["subnet_name"] == name
    ]


def test_counts_ranges_and_holders() -> None:
    vip = {"kind": "Vip", "metadata": {"name": "shared"}, "spec": {"subnet": "s", "namespace": "app"}}
    cluster = Cluster()
    dual = {"cidrBlock": "10.17.0.0/24,fd17::/112", "excludeIps": ["10.17.0.1..10.17.0.9"]}
    cluster.apply(namespace("app"), *NODES, *JOINS, subnet("s", **dual)).run()
    cluster.apply(pod("app/p", "n-1", phase="Running", logical_switch="s")).run()
    cluster.apply(vip, pod("app/q", "n-1", logical_switch="s")).run()
    cluster.delete("Pod", "app/q").run()
    metrics = Metrics()
    found = page(cluster, metrics)
    place = {"protocol": "Dual", "subnet_cidr": "10.17.0.0/24,fd17::/112"}
    assert of(found["subnet_used_ip_count"], "s") == [(place, 2)]
    assert of(found["subnet_available_ip_count"], "s") == [(place, 254 - 9 - 2)], "of the family that has less"
    ranges = {labels["cidr"]: labels for labels, _ in of(found["subnet_ipam_info"], "s")}
    assert ranges.keys() == {"10.17.0.0/24", "fd17::/112"}
    held = {
        o["spec"]["v4IpAddress"] for (kind, key), o in cluster.api.objects.items() if (kind, key) == ("IP", "p.app")
    }
    assert held == {"10.17.0.10"}
    v4 = ranges["10.17.0.0/24"]
    assert v4["reserved"] == "10.17.0.1-10.17.0.9"
    assert v4["using"] == "10.17.0.10-10.17.0.11"
    assert v4["free"] == "10.17.0.13-10.17.0.254", "10.17.0.12 was used, and comes last"
    assert v4["available"] == "10.17.0.12-10.17.0.254"
    holders = {(labels["ip"], labels["pod_name"]) for labels, _ in of(found["subnet_ip_assign_info"], "s")}
    assert holders == {("10.17.0.10", "app/p"), ("fd17::2", "app/p"), ("10.17.0.11", "shared"), ("fd17::3", "shared")}
    nodes = {(labels["ip"], labels["pod_name"]) for labels, _ in of(found["subnet_ip_assign_info"], "join")}
    assert nodes == {("100.64.0.2", "node-n-1"), ("100.64.0.3", "node-n-2")}
    cluster.delete("Pod", "app/p").run()
    again = page(cluster, metrics)
    assert "app/p" not in {labels["pod_name"] for labels, _ in again["subnet_ip_assign_info"]}, "what is gone is gone"
    assert of(again["subnet_used_ip_count"], "s") == [(place, 1)]


def test_gateways_of_centralized_subnets() -> None:
    central = {"gatewayType": "centralized", "gatewayNode": "n-2,n-1"}
    cluster = Cluster(options=Options())
    cluster.apply(
        namespace("app"), *NODES, *JOINS, vpc("v1"), *underlay(),
        subnet("one", cidrBlock="10.17.0.0/24", **central),
        subnet("many", cidrBlock="10.18.0.0/24", enableEcmp=True, **central),
        subnet("spread", cidrBlock="10.19.0.0/24"),
        subnet("tenant", cidrBlock="10.20.0.0/24", vpc="v1", **central),
        subnet("physical", cidrBlock="10.21.0.0/24", vlan="v", **central),
    ).run()  # fmt: skip
    found = {labels.pop("subnet_name"): labels for labels, _ in page(cluster, Metrics())["centralized_subnet_info"]}
    assert found == {
        "one": {"enable_ecmp": "false", "gateway_node": "n-2,n-1", "active_gateway": "n-2",
                "match": "ip4.src == 10.17.0.0/24", "nexthops": "100.64.0.3"},
        "many": {"enable_ecmp": "true", "gateway_node": "n-2,n-1", "active_gateway": "",
                 "match": "ip4.src == 10.18.0.0/24", "nexthops": "100.64.0.2,100.64.0.3"},
    }  # fmt: skip


def test_only_valid_subnets_and_any_name() -> None:
    cluster = Cluster()
    cluster.apply(subnet("bad", cidrBlock="10.17.0.0/33"), *underlay(), subnet("mac", vlan="v")).run()
    found = page(cluster, Metrics())
    names = {labels["subnet_name"] for labels, _ in found["subnet_available_ip_count"]}
    assert names == {"join", "ovn-default", "mac"}
    assert of(found["subnet_available_ip_count"], "mac") == [({"protocol": "Mac", "subnet_cidr": ""}, 0)]
    metrics = Metrics()
    odd = 'a"b\\c\nd'
    asyncio.run(metrics.family("odd", "Anything", ("what",), [((odd,), 1)]))
    ((family),) = text_string_to_metric_families(metrics.page()[0].decode())
    assert family.samples[0].labels == {"what": odd}

"""Pods are served in the order in which they came: the first of a burst does not wait for the last."""

from __future__ import annotations

import random

from tests.support.cluster import Cluster, namespace, node, pod

NAMES = [f"team/{number:02}" for number in range(30)]


def test_leases_rows_and_annotations_follow_the_order_of_creation() -> None:
    cluster = Cluster().apply(node("n1", "192.168.0.1"), namespace("team"))
    cluster.run()
    names = random.Random(1).sample(NAMES, len(NAMES))
    cluster.apply(*(pod(name, "n1") for name in names))
    cluster.hear()
    leases = [key for kind, key in cluster.touched.objects if kind == "IP"]
    assert leases == [f"{name.partition('/')[2]}.team" for name in names]
    cluster.touched.objects.clear()
    for lease in leases:
        assert cluster.write("IP", lease)
    cluster.hear()
    ports = [key for table, key in cluster.touched.rows if table == "Logical_Switch_Port"]
    assert [port for port in ports if port in leases] == leases
    assert [key for kind, key in cluster.touched.objects if kind == "Pod"] == names
    addresses = [cluster.get("IP", lease)["spec"]["v4IpAddress"] for lease in leases]
    assert addresses == sorted(addresses, key=lambda text: int(text.rpartition(".")[2]))


def test_a_pod_is_annotated_as_soon_as_its_own_lease_is_there() -> None:
    cluster = Cluster().apply(node("n1", "192.168.0.1"), namespace("team"))
    cluster.run()
    cluster.apply(pod("team/first", "n1"), pod("team/second", "n1"))
    cluster.hear()
    cluster.write("IP", "first.team")
    cluster.hear()
    assert cluster.write("Pod", "team/first")
    assert not cluster.write("Pod", "team/second")
    notes = cluster.get("Pod", "team/first")["metadata"]["annotations"]
    assert notes["ovn.kubernetes.io/ip_address"] == cluster.get("IP", "first.team")["spec"]["v4IpAddress"]

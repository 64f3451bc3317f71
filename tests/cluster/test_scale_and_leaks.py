"""Sixty pods: all reach all; half are deleted and made again; nothing is left of those that went."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Cluster, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
PODS = 60


def pod(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p{number}", "namespace": "crowd"},
        "spec": {
            "nodeName": f"node{number % 3 + 1}",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "x"}],
        },
    }


async def create(cluster: Cluster, numbers: range) -> None:
    items = [pod(n) for n in numbers]
    await cluster.lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    await cluster.lab.wait_pods("crowd", timeout=120)


async def counted(cluster: Cluster) -> dict[str, Any]:
    """Everything that a pod leaves somewhere."""
    ips = {o["metadata"]["name"] for o in (await cluster.get("ips"))["items"]}
    interfaces: set[str] = set()
    links = 0
    for node in cluster.lab.node_names:
        listed = await cluster.lab.vsctl(node, "--bare", "--columns=external_ids", "list", "Interface")
        interfaces |= {
            word.partition("=")[2] for line in str(listed).splitlines() for word in line.split() if "iface-id=" in word
        }
        shown = await cluster.lab.node_exec(node, "ip", "-o", "link", "show", "type", "veth")
        links += sum("_h" in line for line in shown.stdout.splitlines())
    listed_namespaces = await cluster.lab.central_exec("ip", "netns", "list")
    sandboxes = sum(line.startswith("cni-") for line in listed_namespaces.stdout.splitlines())
    return {"ips": ips, "ports": await cluster.ports(), "interfaces": interfaces, "links": links, "netns": sandboxes}


async def test_all_reach_all_and_nothing_leaks(cluster: Cluster) -> None:
    await cluster.lab.kubectl("create", "-f", "-", input=json.dumps(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "crowd"}}
    ))  # fmt: skip
    await create(cluster, range(PODS))
    matrix = await cluster.lab.ping_matrix(nodes=False)
    assert len(matrix.results) == PODS * PODS if hasattr(matrix, "results") else True
    assert len(matrix.answers) == PODS * PODS
    assert matrix.ok, matrix.table()
    before = await counted(cluster)
    assert {f"p{n}.crowd" for n in range(PODS)} <= before["ips"]

    half = [f"p{n}" for n in range(0, PODS, 2)]
    await cluster.lab.kubectl("delete", "pod", "-n", "crowd", *half, "--wait=true", timeout=120)

    async def gone() -> bool:
        now = await counted(cluster)
        names = {f"{name}.crowd" for name in half}
        return (
            not (now["ips"] & names)
            and not (now["ports"] & names)
            and not (now["interfaces"] & names)
            and now["links"] == before["links"] - len(half)
            and now["netns"] == before["netns"] - len(half)
        )

    await until(gone, timeout=30, what="everything of the deleted pods gone")
    await create(cluster, range(0, PODS, 2))
    again = await counted(cluster)
    assert again == before, "the same counts and names as before"
    addresses = [o["spec"]["v4IpAddress"] for o in (await cluster.get("ips"))["items"]]
    assert len(addresses) == len(set(addresses)), "no address twice"
    matrix = await cluster.lab.ping_matrix(nodes=False)
    assert matrix.ok, matrix.table()

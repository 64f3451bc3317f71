"""A gateway node that Kubernetes calls ready and whose data path is dead is no next hop, with ECMP and without.

The node's agent asks the join gateway through its own switch (spec node B4) and says NetworkUnavailable, which counts
as not ready (spec D.2.4); see docs/differences.md on Kube-OVN's pings.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Cluster, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CENTRAL = {"gatewayType": "centralized", "gatewayNode": "node2,node3"}


async def join(cluster: Cluster, node: str) -> str:
    notes = (await cluster.get("node", node))["metadata"]["annotations"]
    return str(notes["ovn.kubernetes.io/ip_address"])


async def states(cluster: Cluster, node: str) -> dict[str, str]:
    found: list[dict[str, Any]] = (await cluster.get("node", node))["status"]["conditions"]
    return {c["type"]: c["status"] for c in found}


async def test_a_dead_data_path(cluster: Cluster) -> None:
    subnets = [
        {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": name}, "spec": {**CENTRAL, **spec}}
        for name, spec in (
            ("one", {"cidrBlock": "10.71.0.0/24"}),
            ("many", {"cidrBlock": "10.72.0.0/24", "enableEcmp": True}),
        )
    ]
    await cluster.lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": subnets}))
    hops = {node: await join(cluster, node) for node in ("node2", "node3")}

    async def leaves(cidr: str, *nodes: str) -> bool:
        shown = await cluster.nb(
            "--bare", "--columns=nexthops", "find", "Logical_Router_Policy", f'match="ip4.src == {cidr}"'
        )
        return set(shown.replace(",", " ").split()) == {hops[node] for node in nodes}

    async def moved(*nodes: str) -> bool:
        return await leaves("10.71.0.0/24", nodes[-1]) and await leaves("10.72.0.0/24", *nodes)

    await until(lambda: leaves("10.71.0.0/24", "node2"), what="node2 is the gateway")
    await until(lambda: leaves("10.72.0.0/24", "node2", "node3"), what="both are")
    controller = cluster.lab.component("ovn-controller-node2")
    await controller.kill()

    async def ended() -> bool:
        return cluster.lab.component("ovn-controller-node2").pid is None

    await until(ended, what="ovn-controller ended")
    bridge = f"unix:{cluster.lab.remote.paths.node('node2')}/run/br-int.mgmt"
    await cluster.lab.node_exec("node2", "ovs-ofctl", "-OOpenFlow15", "del-flows", bridge)
    try:
        await until(lambda: moved("node3"), timeout=30, what="node3 alone is the gateway")
        found = await states(cluster, "node2")
        assert (found["Ready"], found["NetworkUnavailable"]) == ("True", "True"), "Kubernetes' own probes see nothing"
    finally:
        await controller.start()
    await until(lambda: leaves("10.72.0.0/24", "node2", "node3"), timeout=30, what="node2 is back")
    assert await leaves("10.71.0.0/24", "node3"), "the active one stays (spec D.2.4)"

"""Nodes that come anew, and go: their chassis in OVN SB (spec D.4, H.6), with packets."""

from __future__ import annotations

import json
import signal

import pytest
from conftest import Cluster, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARKED = {name: ("kube-ovn", name) for name in ("node1", "node2", "node3")}


async def chassis(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """Name → the mark and the node that it says."""
    shown = json.loads(await cluster.lab.sbctl("-f", "json", "--columns=name,external_ids", "list", "Chassis"))
    ids = {name: dict(external_ids[1]) for name, external_ids in shown["data"]}
    return {name: (found.get("vendor", ""), found.get("node", "")) for name, found in ids.items()}


async def private(cluster: Cluster) -> set[str]:
    return set((await cluster.lab.sbctl("--bare", "--columns=name", "list", "Chassis_Private")).split())


async def become(cluster: Cluster, wanted: dict[str, tuple[str, str]]) -> None:
    async def done() -> bool:
        return await chassis(cluster) == wanted and await private(cluster) == wanted.keys()

    await until(done, timeout=30, what=f"chassis {wanted}")


async def test_a_machine_that_is_installed_anew(cluster: Cluster) -> None:
    """It comes with another system-id and the same address, and the old chassis has the tunnel."""
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p{number}", "namespace": "default"},
            "spec": {"nodeName": f"node{number}", "containers": [{"name": "c", "image": "x"}]},
        }
        for number in (1, 3)
    ]
    await cluster.lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    made = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in await cluster.lab.wait_pods()}

    async def reached() -> bool:
        return bool((await cluster.lab.exec("p1", "ping", "-c1", "-W1", made["p3"], check=False)).returncode == 0)

    await until(reached, what="p1 → p3")
    await become(cluster, MARKED)
    controller = cluster.lab.component("ovn-controller-node3")
    await controller.kill(signal.SIGKILL)  # as a machine that is wiped: nothing says good-bye

    async def ended() -> bool:
        return controller.pid is None

    await until(ended, what="ovn-controller ended")
    await cluster.lab.vsctl("node3", "set", "Open_vSwitch", ".", "external_ids:system-id=anew")
    await controller.start()
    await become(cluster, {**{n: m for n, m in MARKED.items() if n != "node3"}, "anew": ("kube-ovn", "node3")})
    await until(reached, what="p1 → p3 on the new chassis")


async def test_a_node_that_is_deleted_and_comes_back(cluster: Cluster) -> None:
    """Also while SB does not answer, which keeps nothing else."""
    node, server = await cluster.get("node", "node2"), cluster.lab.component("sb")
    await server.kill(signal.SIGSTOP)
    try:
        await cluster.lab.kubectl("delete", "node", "node2", "--wait=false")
        body = {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "meanwhile"}}
        await cluster.lab.apply(json.dumps({**body, "spec": {"cidrBlock": "10.88.0.0/24"}}))

        async def written() -> bool:
            switches = (await cluster.nb("--bare", "--columns=name", "list", "Logical_Switch")).split()
            return "meanwhile" in switches and "node-node2" not in await cluster.ports()

        await until(written, what="NB as it should be while SB does not answer")
    finally:
        await server.kill(signal.SIGCONT)

    async def unmarked() -> bool:
        """Its machine runs on, so its ovn-controller registers again, unknown to us."""
        return (await chassis(cluster)).get("node2") == ("", "")

    await until(unmarked, timeout=30, what="the mark gone with the node")
    meta = {key: node["metadata"][key] for key in ("name", "labels")}
    await cluster.lab.apply(json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": meta}))

    async def marked() -> bool:
        return (await chassis(cluster)).get("node2") == MARKED["node2"]

    await until(marked, timeout=30, what="the mark back with the node")

"""A centralized gateway whose node fails, or is removed: its pods' pings go on within 5 s, in both families.

The node is not only said to be away: its agent, its ovn-controller and its switch are killed first.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from conftest import Cluster, until
from test_gateway_switch import tell
from test_restart_and_drift import leading

from ovnbridge.lab import Lab
from ovnbridge.lab.options import Network

pytestmark = pytest.mark.asyncio(loop_scope="module")

TARGETS = ("192.0.2.1", "2001:db8::1")
DAEMONS = ("cni", "ovn-controller", "vswitchd")
INTERVAL, ALLOWED = 0.1, 5.0


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["embedded", pytest.param("real", marks=pytest.mark.real_kubernetes)],
)
async def central(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """A pod on node1, whose subnet leaves through node2, else node3; these two have addresses for themselves alone."""
    network = Network(
        pods="10.16.0.0/16,fd00:10:16::/112",
        join="100.64.0.0/16,fd00:100:64::/112",
        services="10.96.0.0/12,fd00:10:96::/112",
    )
    async with Lab(nodes=3, kubernetes=request.param, network=network) as lab:
        cluster = Cluster(lab, counts_requests=request.param == "embedded")
        for node in ("node2", "node3"):
            for address in TARGETS:
                await lab.node_exec(node, "ip", "address", "add", address, "dev", "lo")
        spec = {
            "cidrBlock": "10.54.0.0/24,fd00:10:54::/112",
            "gatewayType": "centralized",
            "gatewayNode": "node2,node3",
        }
        await apply(
            cluster, {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "central"}, "spec": spec}
        )
        await until(lambda: active(cluster, "node2"), what="node2 is the gateway")
        meta = {"name": "c", "annotations": {"ovn.kubernetes.io/logical_switch": "central"}}
        spec = {"nodeName": "node1", "containers": [{"name": "c", "image": "x"}]}
        await apply(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        await lab.wait_pods("default")
        for address in TARGETS:
            await until(lambda address=address: answered(cluster, address), what=f"an answer from {address}")
        yield cluster


async def apply(cluster: Cluster, obj: dict[str, Any]) -> None:
    await cluster.lab.apply(json.dumps(obj))


async def active(cluster: Cluster, name: str) -> bool:
    return bool((await cluster.get("subnet", "central")).get("status", {}).get("activateGateway") == name)


async def answered(cluster: Cluster, address: str) -> bool:
    return bool((await cluster.lab.exec("c", "ping", "-c1", "-W1", address, check=False)).returncode == 0)


class Pings:
    """Pings of both families, and the longest time without an answer."""

    def __init__(self, cluster: Cluster) -> None:
        self._lab = cluster.lab
        self._running: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Pings:
        prefix = await self._lab.pod_prefix("c")
        for address in TARGETS:
            command = (*prefix, "ping", "-n", "-i", str(INTERVAL), address)
            self._running.append(await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE))
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._running:
            if process.returncode is None:
                tell(process, signal.SIGKILL)

    async def silences(self) -> list[float]:
        """Ends them; seconds of each."""
        found = []
        for process in self._running:
            tell(process, signal.SIGINT)
            output = (await process.communicate())[0].decode()
            numbers = [int(number) for number in re.findall(r"icmp_seq=(\d+) (?:ttl|hlim)", output)]
            sent = int(re.findall(r"(\d+) packets transmitted", output)[0])
            assert numbers, output
            # The last one may be on its way.
            lost = [
                after - before - 1 for before, after in itertools.pairwise([0, *numbers, max(sent, numbers[-1] + 1)])
            ]
            found.append(max(lost) * INTERVAL)
        return found


async def kill(cluster: Cluster, node: str) -> None:
    for daemon in DAEMONS:
        await cluster.lab.component(f"{daemon}-{node}").kill(signal.SIGKILL)


async def ready(cluster: Cluster, node: str, *, state: bool) -> None:
    """What the node lifecycle controller says when a kubelet is silent, or back."""
    status = "True" if state else "Unknown"
    condition = {"type": "Ready", "status": status, "reason": "NodeStatusUnknown", "message": "said by the test"}
    patch = json.dumps({"status": {"conditions": [condition]}})
    await cluster.lab.kubectl("patch", "node", node, "--subresource=status", "--type=strategic", "-p", patch)


async def gone_on(cluster: Cluster, pings: Pings, node: str) -> None:
    await until(lambda: active(cluster, node), what=f"{node} is the gateway")
    for address in TARGETS:
        await until(lambda address=address: answered(cluster, address), what=f"an answer from {address}")
    silences = await pings.silences()
    assert all(seconds < ALLOWED for seconds in silences), silences


async def test_the_node_fails(central: Cluster) -> None:
    async with Pings(central) as pings:
        await kill(central, "node2")
        await ready(central, "node2", state=False)
        await gone_on(central, pings, "node3")


async def test_it_comes_back_and_the_controller_restarts(central: Cluster) -> None:
    """The gateway stays where it is, and nobody loses a packet."""
    async with Pings(central) as pings:
        controller = central.lab.component("controller")
        await controller.kill(signal.SIGKILL)
        for daemon in reversed(DAEMONS):
            await central.lab.component(f"{daemon}-node2").start()
        await ready(central, "node2", state=True)

        async def ended() -> bool:
            return controller.pid is None

        await until(ended, what="controller ended")
        await controller.start()
        await leading(central)
        await central.quiet()
        assert await active(central, "node3")
        assert await pings.silences() == [0.0, 0.0]


async def test_the_node_is_removed(central: Cluster) -> None:
    async with Pings(central) as pings:
        await kill(central, "node3")
        await central.lab.kubectl("delete", "node", "node3", "--wait=false")
        await gone_on(central, pings, "node2")
    policies = await central.nb("lr-policy-list", "ovn-cluster")
    assert "node3" not in policies
    assert "node-node3" not in await central.ports()

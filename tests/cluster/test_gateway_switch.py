"""Distributed gateways change their form (`--gateway-groups`) in a running cluster without losing a packet."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from conftest import Cluster, until

from ovnbridge.lab.role_processes import controller

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACES = ("ovn-default", "other")


async def pods(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """One pod of each subnet on each node: name → (address, node)."""
    items: list[dict[str, object]] = [
        {
            "apiVersion": "kubeovn.io/v1",
            "kind": "Subnet",
            "metadata": {"name": "other"},
            "spec": {"cidrBlock": "10.77.0.0/24"},
        }
    ]
    for place in PLACES:
        for node in cluster.lab.node_names:
            notes = {"ovn.kubernetes.io/logical_switch": place}
            containers = [{"name": "c", "image": "x"}]
            meta = {"name": f"{place}-{node}", "namespace": "default", "annotations": notes}
            spec = {"nodeName": node, "containers": containers}
            items.append({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    await cluster.lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    await cluster.lab.wait_pods("default", timeout=60)
    found = (await cluster.get("pods", "-n", "default"))["items"]
    return {pod["metadata"]["name"]: (pod["status"]["podIP"], pod["spec"]["nodeName"]) for pod in found}


def tell(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """A signal for what nsenter runs; it may have forked."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in map(int, children or [process.pid]):
        os.kill(pid, number)


@asynccontextmanager
async def other_controller(cluster: Cluster, *flags: str) -> AsyncIterator[None]:
    """The lab's controller is replaced by one with more flags."""

    class Here:
        def enter(self, *command: str) -> tuple[str, ...]:
            return command

    lab = cluster.lab
    await lab.component("controller").kill(signal.SIGTERM)
    await until(lambda: _ended(cluster), what="controller ended")
    options = msgspec.structs.replace(lab.options, controller_args=(*lab.options.controller_args, *flags))
    component = controller(options, lab.remote.paths, Here())  # type: ignore[arg-type]
    environment = {**os.environ, **component._environment}
    with component.log.open("ab") as log:
        command = (*await lab.remote.in_machine("central"), *component.command)
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        tell(process, signal.SIGTERM)
        await process.wait()
        await lab.component("controller").start()


async def _ended(cluster: Cluster) -> bool:
    return cluster.lab.component("controller").pid is None


async def form(cluster: Cluster, *, per_node: bool) -> bool:
    """Whether all policies, and the groups, are of one form."""
    shown = await cluster.nb("lr-policy-list", "ovn-cluster") + await cluster.nb(
        "--bare", "--columns=name", "list", "Port_Group"
    )
    shared, own = "distributed_gateway." in shown, "ovn.default.node" in shown or "other.node" in shown
    return shared is per_node and own is not per_node


async def test_no_packet_is_lost(cluster: Cluster) -> None:
    lab, central = cluster.lab, cluster.lab.options.central_addresses[0]
    found = await pods(cluster)
    for address, node in found.values():
        number = cluster.lab.node_names.index(node) + 1
        await lab.central_exec("ip", "route", "add", address, "via", lab.options.node_addresses(number)[0])
    for pod in found:
        await lab.exec(pod, "ping", "-c", "1", "-W", "5", central)
    await until(lambda: form(cluster, per_node=False), what="Kube-OVN's form")
    pings = [
        await asyncio.create_subprocess_exec(
            *await lab.pod_prefix(pod), "ping", "-n", "-q", "-i", "0.02", central, stdout=asyncio.subprocess.PIPE
        )
        for pod in found
    ]
    async with other_controller(cluster, "--gateway-groups=node"):
        await until(lambda: form(cluster, per_node=True), timeout=60, what="a group for each node")
        await asyncio.sleep(0.5)  # packets through the new form alone
    await until(lambda: form(cluster, per_node=False), timeout=60, what="Kube-OVN's form again")
    await asyncio.sleep(0.5)
    for ping in pings:
        tell(ping, signal.SIGINT)
        output = (await ping.communicate())[0].decode()
        sent, received = map(int, re.findall(r"(\d+) packets transmitted, (\d+) received", output)[0])
        assert sent > 30
        # The last one may be on its way.
        assert received >= sent - 1, output[-400:]

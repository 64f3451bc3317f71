"""Two controllers on a real API server, by TLS, and a real NB: hand-over on an orderly stop, and a leader that slept.

Who writes to NB, and when, is seen on each one's way to it; what happens to objects is read from the API server.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from ovnbridge.kube.connection import Connection
from ovnbridge.lab.kubernetes import RealControlPlane, find_binaries
from ovnbridge.lab.kubernetes_configuration import API_SERVER, ETCD
from ovnbridge.model.resource import CUSTOM_RESOURCE_DEFINITION, IP, LEASE, NODE, POD
from tests.faults.candidates import Candidate
from tests.faults.nursery import ROOT
from tests.support.ovsdb import Server, directory, dump, eventually

pytestmark = [
    pytest.mark.real_kubernetes,
    pytest.mark.skipif(
        find_binaries(names=(ETCD, API_SERVER)) is None, reason="the real control plane is not built: run `make kube`"
    ),
]
PATIENCE = 90.0


class Field:
    """A real API server with our kinds and two nodes, and an NB."""

    def __init__(self, path: Path, plane: RealControlPlane, connection: Connection, nb: Server) -> None:
        self.directory = path
        self.plane = plane
        self.connection = connection
        self.nb = nb
        self.candidates: list[Candidate] = []

    async def candidate(self, name: str, lease: int) -> Candidate:
        found = Candidate(name, self.directory, self.nb.socket)
        await found.start(self.plane.kubeconfig(), lease=lease)
        self.candidates.append(found)
        return found

    async def pair(self, lease: int) -> tuple[Candidate, Candidate]:
        """A leader that has worked, and a warm standby."""
        first = await self.candidate("first", lease)
        await first.leading()
        await self.pod("before", "n1")
        await self.programmed("before")
        second = await self.candidate("second", lease)
        await second.ready()
        assert second.transactions == []
        return first, second

    async def pod(self, name: str, node: str) -> None:
        spec = {"nodeName": node, "containers": [{"name": "c", "image": "registry.example/none"}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
        await self.connection.create(POD, "default", body)

    async def programmed(self, name: str) -> None:
        """Wait until the pod has its port in NB, with the address that its annotations and its lease say."""

        async def done() -> bool:
            notes = (await self.connection.get(POD, "default", name))["metadata"].get("annotations", {})
            address = notes.get("ovn.kubernetes.io/ip_address")
            ports = {row["name"]: row["addresses"] for row in dump(self.nb.remote, "OVN_Northbound", PORTS)}
            return bool(address) and address in str(ports.get(f"{name}.default"))

        await until(done, f"{name} programmed")
        lease = await self.connection.get(IP, "", f"{name}.default")
        assert lease["spec"]["podName"] == name


PORTS = "Logical_Switch_Port"


async def until(condition: Callable[[], Any], what: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < ends, f"{what}: not within {PATIENCE:g} s"


@pytest_asyncio.fixture
async def field(tmp_path: Path) -> AsyncIterator[Field]:
    async with RealControlPlane(directory=tmp_path / "plane", controller_manager=False, scheduler=False) as plane:
        connection = await Connection.open(kubeconfig=str(plane.kubeconfig_path))
        for file in sorted((ROOT / "manifests/crds").glob("*.yaml")):
            await connection.create(CUSTOM_RESOURCE_DEFINITION, "", yaml.safe_load(file.read_text()))
        for number in (1, 2):
            body: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{number}"}}
            await connection.create(NODE, "", body)
            status = {"addresses": [{"type": "InternalIP", "address": f"172.20.0.{number}"}]}
            await connection.patch(NODE, "", f"n{number}", {"status": status}, subresource="status")
        with directory() as path:
            nb = Server.standalone(path)
            field = Field(path, plane, connection, nb)
            try:
                yield field
            finally:
                for candidate in field.candidates:
                    await candidate.stop()
                nb.kill()
                await connection.close()


async def test_an_orderly_stop_hands_over_at_once(field: Field) -> None:
    lease = 60
    first, second = await field.pair(lease)
    asked = time.monotonic()
    first.process.send_signal(signal.SIGTERM)
    await field.pod("after", "n2")
    await eventually(lambda: second.transactions, "a write of the successor", PATIENCE)
    print(f"\nhand-over on SIGTERM, real API server: {second.transactions[0] - asked:.2f} s")
    await field.programmed("after")
    assert await first.ended() == 0
    assert max(first.transactions) < second.transactions[0], "two wrote at the same time"
    assert second.transactions[0] - asked < lease / 3, "the lease was waited for"
    found = (await field.connection.get(LEASE, "kube-system", "kube-ovn-controller"))["spec"]
    assert (found["holderIdentity"], found["leaseTransitions"]) == ("second", 1)


async def test_a_leader_that_slept_through_its_lease_writes_nothing(field: Field) -> None:
    first, second = await field.pair(6)
    first.process.send_signal(signal.SIGSTOP)
    for number in range(5):
        await field.pod(f"during-{number}", "n2")  # the news wait in the sleeper's sockets
    for number in range(5):
        await field.programmed(f"during-{number}")
    await field.connection.delete(POD, "default", "during-0", grace=0)
    assert second.transactions
    before = {json.dumps(row, sort_keys=True) for row in dump(field.nb.remote, "OVN_Northbound", PORTS)}
    refused, woken = first.refused, time.monotonic()
    first.process.send_signal(signal.SIGCONT)
    assert await first.ended() == 3
    sent = [moment for moment in first.transactions if moment >= woken]
    assert len(sent) == first.refused - refused, "NB took a write of the sleeper"
    after = {json.dumps(row, sort_keys=True) for row in dump(field.nb.remote, "OVN_Northbound", PORTS)}
    assert after <= before, "a port has come, or changed"
    found = await field.connection.list(IP)
    held = [item["spec"]["v4IpAddress"] for item in found["items"]]
    assert len(held) == len(set(held))

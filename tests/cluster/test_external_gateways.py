"""Routers that leave the cluster through a vlan: BFD with their next hops and their gateway, with packets.

The lab's second network is the outside (`fabric` is a machine there); what the node agent would write for a provider
network is set by hand. The OvnEips have addresses that their user gives.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import pytest
import pytest_asyncio
from conftest import ROOT, Cluster, until
from test_gateway_switch import tell

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
FABRIC, NODE3, INSIDE, OUTSIDE = "172.31.0.254", "172.31.0.253", "10.71.0.0/24", "198.51.100.1"
PORT = "172.31.0.9"


def made(kind: str, name: str, **spec: Any) -> Json:
    return {"apiVersion": "kubeovn.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


async def apply(cluster: Cluster, *objects: Json) -> None:
    await cluster.lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def vpc(**spec: Any) -> Json:
    return made("Vpc", "v1", namespaces=["inside"], enableExternal=True, **spec)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside(cluster: Cluster) -> Cluster:
    """A VPC with a port on the outside, where two machines hold one address and know the way back."""
    lab = cluster.lab
    await lab.kubectl("label", "node", "node1", "node2", "ovn.kubernetes.io/external-gw=true")
    for node in lab.node_names:
        await lab.vsctl(node, "set", "Open_vSwitch", ".", "external_ids:ovn-bridge-mappings=net1:br-ex")
    for machine, address, link in (("fabric", FABRIC, "external"), ("node3", NODE3, "br-ex")):
        await lab.node_exec(machine, "ip", "address", "add", f"{address}/24", "dev", link)
        await lab.node_exec(machine, "ip", "address", "add", f"{OUTSIDE}/32", "dev", "lo")
        await lab.node_exec(machine, "ip", "route", "add", INSIDE, "via", PORT)
    await apply(
        cluster,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "inside"}},
        made("ProviderNetwork", "net1", defaultInterface="eth1"),
        made("Vlan", "v0", id=0, provider="net1"),
        made("Subnet", "external", cidrBlock="172.31.0.0/24", gateway=FABRIC, vlan="v0", excludeIps=[NODE3]),
        made("OvnEip", "v1-external", externalSubnet="external", type="lrp", v4Ip=PORT),
        vpc(),
        made("Subnet", "inside", cidrBlock=INSIDE, vpc="v1", namespaces=["inside"]),
    )

    async def bound() -> bool:
        notes = (await cluster.get("namespace", "inside"))["metadata"].get("annotations") or {}
        return notes.get("ovn.kubernetes.io/logical_switch") == "inside"

    await until(bound, what="the namespace bound")
    spec = {"nodeName": "node3", "containers": [{"name": "c", "image": "x"}]}
    await apply(
        cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c", "namespace": "inside"}, "spec": spec}
    )
    await lab.wait_pods("inside")
    return cluster


class Peer:
    """A machine outside that answers BFD at its address, as long as it runs."""

    def __init__(self, cluster: Cluster, machine: str, address: str) -> None:
        self.address = address
        self._lab = cluster.lab
        self._machine = machine
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        script = (ROOT / "tests/support/bfd_peer.py").read_text()
        prefix = await self._lab.remote.in_machine(self._machine)
        self._process = await asyncio.create_subprocess_exec(*prefix, sys.executable, "-c", script, self.address)

    async def stop(self) -> None:
        assert self._process is not None
        tell(self._process, signal.SIGKILL)
        await self._process.wait()

    async def serves(self, verb: str) -> None:
        """`add` or `del` the address that pods look for."""
        await self._lab.node_exec(self._machine, "ip", "address", verb, f"{OUTSIDE}/32", "dev", "lo")


async def status(cluster: Cluster, address: str) -> str:
    return (await cluster.nb("--bare", "--columns=status", "find", "BFD", f'dst_ip="{address}"')).strip()


async def becomes(cluster: Cluster, address: str, wanted: str) -> None:
    async def done() -> bool:
        return await status(cluster, address) == wanted

    await until(done, what=f"the session with {address} {wanted}")


async def answered(cluster: Cluster, count: int = 1) -> bool:
    done = await cluster.lab.exec(
        "c", "ping", f"-c{count}", "-i0.1", "-W1", OUTSIDE, namespace="inside", check=False, timeout=30
    )
    return f"{count} received" in done.stdout


async def test_a_static_route_is_used_while_its_session_is_up(outside: Cluster) -> None:
    """The machine that does not answer BFD has lost its address as well: who is sent there gets no answer."""
    sessions = {}
    for address in (FABRIC, NODE3):
        columns = ("logical_port=v1-external", f'dst_ip="{address}"', "min_tx=100", "min_rx=100", "detect_mult=3")
        sessions[address] = (await outside.nb("create", "BFD", *columns)).strip()
    routes = [
        {"cidr": "0.0.0.0/0", "nextHopIP": address, "policy": "policyDst", "bfdId": uuid}
        for address, uuid in sessions.items()
    ]
    await apply(outside, vpc(staticRoutes=routes))
    peers = Peer(outside, "fabric", FABRIC), Peer(outside, "node3", NODE3)
    for peer in peers:
        await peer.start()
    for peer in peers:
        await becomes(outside, peer.address, "up")
    await until(lambda: answered(outside), what="an answer from either")
    for peer in reversed(peers):
        await peer.stop()
        await peer.serves("del")
        await becomes(outside, peer.address, "down")
        await until(lambda: answered(outside, 5), what="every answer from the other one")
        await peer.serves("add")
        await peer.start()
        await becomes(outside, peer.address, "up")
    for peer in peers:
        await peer.stop()
        await becomes(outside, peer.address, "down")

    async def silent() -> bool:
        return not await answered(outside)

    await until(silent, what="no next hop is up, no way out")
    await apply(outside, vpc(staticRoutes=[]))
    await outside.nb("--all", "destroy", "BFD")


async def uuid_of_session(cluster: Cluster) -> str:
    return (await cluster.nb("--bare", "--columns=_uuid", "find", "BFD", f'dst_ip="{FABRIC}"')).strip()


async def first_chassis(cluster: Cluster) -> str:
    """The gateway chassis that is to host the external port."""
    shown = await cluster.nb("lrp-get-gateway-chassis", "v1-external")
    return shown.split()[0].removeprefix("v1-external-")


async def hosted(cluster: Cluster) -> str:
    """The chassis that does."""
    chassis = (
        await cluster.lab.sbctl("--bare", "--columns=chassis", "find", "Port_Binding", "logical_port=cr-v1-external")
    ).strip()
    return (await cluster.lab.sbctl("--bare", "--columns=name", "list", "Chassis", chassis)).strip() if chassis else ""


async def test_a_chassis_that_loses_the_gateway_gives_the_port_away(outside: Cluster) -> None:
    """Spec E.10. Its tunnels work, so that OVN itself would leave the port where it is."""
    lab, peer = outside.lab, Peer(outside, "fabric", FABRIC)
    await peer.start()
    bfd = vpc(enableBfd=True)
    await apply(outside, bfd)
    session = await until(lambda: uuid_of_session(outside), what="the session")
    # OVN asks the other end as long as a route needs the answer.
    bfd["spec"]["staticRoutes"] = [{"cidr": "0.0.0.0/0", "nextHopIP": FABRIC, "policy": "policyDst", "bfdId": session}]
    await apply(outside, bfd)
    await becomes(outside, FABRIC, "up")
    await until(lambda: answered(outside), what="the way out")
    before = await first_chassis(outside)
    assert await hosted(outside) == before
    await lab.node_exec(before, "ip", "link", "set", "eth1", "down")

    async def moved() -> bool:
        return await first_chassis(outside) != before and await hosted(outside) == await first_chassis(outside)

    await until(moved, what="the port elsewhere")
    await until(lambda: answered(outside, 5), what="the way out through the other chassis")
    await becomes(outside, FABRIC, "up")
    after = await first_chassis(outside)
    await lab.node_exec(before, "ip", "link", "set", "eth1", "up")
    controller = lab.component("controller")
    await controller.kill(signal.SIGKILL)
    await until(lambda: _ended(outside), what="controller ended")
    await controller.start()
    await outside.quiet()
    assert await first_chassis(outside) == after, "it stays where it works, also with another controller"
    await apply(outside, vpc(enableBfd=False))
    await until(lambda: _is(outside, before), what="the usual order without BFD")
    await peer.stop()


async def _ended(cluster: Cluster) -> bool:
    return cluster.lab.component("controller").pid is None


async def _is(cluster: Cluster, chassis: str) -> bool:
    return await first_chassis(cluster) == chassis

"""The doctor on a node: Open vSwitch, ovn-controller and the kernel against the node's pods.

`collect` reads (nothing is changed), `examine` is pure.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ovnbridge.compile.workload import alive
from ovnbridge.model.kube import Pod
from ovnbridge.model.names import annotation, port_name
from ovnbridge.model.ovn import VENDOR
from ovnbridge.node.names import INTEGRATION_BRIDGE, NODE_INTERFACE
from ovnbridge.node.ovs_rows import COLUMNS
from ovnbridge.operations.findings import Facts, Finding
from ovnbridge.ovsdb.client import Database

_SECONDS: Final = 10.0
_COLLECTED: Final = "the agent removes it within a minute"
_HOST_END: Final = re.compile(r"[0-9a-f]{4,12}(_.+)?_h")
"""Names of the host ends of pods' interfaces, made of the container's id (spec node A5)."""


class Port(msgspec.Struct, frozen=True):
    """An OVS interface that is a pod's: its iface-id, owner and sandbox."""

    name: str
    iface_id: str
    pod: str = ""
    netns: str = ""
    netns_exists: bool = True
    error: str = ""


class Link(msgspec.Struct, frozen=True):
    """A kernel network interface."""

    name: str
    mtu: int


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one node looks like. `controller` is what `ovn-appctl connection-status` answers, "" for no answer."""

    name: str
    switch: bool = True
    bridges: frozenset[str] = frozenset()
    ports: tuple[Port, ...] = ()
    attached: frozenset[str] = frozenset()
    """Names of all OVS interfaces."""
    links: Mapping[str, Link] = {}
    controller: str = "connected"


def _pods(facts: Facts, node: NodeFacts) -> Iterator[tuple[str, Pod]]:
    for key, pod in facts.all("Pod").items():
        here = isinstance(pod, Pod) and pod.spec.node_name == node.name and not pod.spec.host_network
        if here and alive(pod):
            yield key, pod


def switch(_: Facts, node: NodeFacts) -> Iterator[Finding]:
    """Open vSwitch answers and has br-int; ovn-controller is connected to SB."""
    if not node.switch:
        yield Finding("ovs-down", "error", (f"Node {node.name}",), "ovsdb-server does not answer", "start ovs-ovn")
        return
    if INTEGRATION_BRIDGE not in node.bridges:
        message = f"there is no bridge {INTEGRATION_BRIDGE}"
        yield Finding("no-integration-bridge", "error", (f"Node {node.name}",), message, "ovn-controller makes it")
    if node.controller != "connected":
        message = f"ovn-controller is {node.controller or 'not running'}"
        action = "see its log; ports of new pods stay down"
        yield Finding("ovn-controller-disconnected", "error", (f"Node {node.name}",), message, action)


def ports_without_pod(facts: Facts, node: NodeFacts) -> Iterator[Finding]:
    """OVS ports of pods that are not on this node any more, or whose sandbox is gone."""
    pods = {key for key, _ in _pods(facts, node)}
    for port in node.ports:
        where = (f"Interface {port.name}",)
        if port.pod not in pods:
            message = f"{port.iface_id} belongs to pod {port.pod}, which is not on this node"
            yield Finding("ovs-port-without-pod", "warning", where, message, _COLLECTED)
        elif not port.netns_exists:
            message = f"the network namespace {port.netns} of pod {port.pod} is gone"
            yield Finding("stale-netns", "warning", where, message, _COLLECTED)
        elif port.error:
            message = f"Open vSwitch says: {port.error}"
            yield Finding("ovs-port-error", "error", (*where, f"Pod {port.pod}"), message, "recreate the pod")


def pods_without_port(facts: Facts, node: NodeFacts) -> Iterator[Finding]:
    """Running pods of this node that no OVS port belongs to."""
    if not node.switch:
        return
    known = {port.iface_id for port in node.ports}
    for key, pod in _pods(facts, node):
        name = port_name(pod.metadata.name, pod.metadata.namespace)
        routed = pod.metadata.annotation(annotation("routed")) == "true"
        if pod.status.phase == "Running" and routed and name not in known:
            message = f"no OVS interface has the iface-id {name}"
            yield Finding("pod-without-ovs-port", "error", (f"Pod {key}",), message, "recreate the pod")


def stale_links(_: Facts, node: NodeFacts) -> Iterator[Finding]:
    """Host ends of pods' interfaces that no OVS port uses."""
    if not node.switch:
        return
    for name in sorted(node.links):
        if _HOST_END.fullmatch(name) and name not in node.attached:
            message = "the host end of a pod's interface is not in Open vSwitch"
            yield Finding("stale-veth", "warning", (f"Link {name}",), message, f"remove it: ip link del {name}")


def mtu(facts: Facts, node: NodeFacts) -> Iterator[Finding]:
    """Pods' interfaces have the MTU of their subnet, or else of ovn0."""
    by_name = {port_name(p.metadata.name, p.metadata.namespace): (key, p) for key, p in _pods(facts, node)}
    own = node.links.get(NODE_INTERFACE)
    for port in node.ports:
        link, found = node.links.get(port.name), by_name.get(port.iface_id)
        if link is None or found is None:
            continue
        key, pod = found
        name = pod.metadata.annotation(annotation("logical_switch"))
        subnet = facts.all("Subnet").get(name)
        if subnet is None or (subnet.spec.vlan and not subnet.spec.mtu):
            continue
        wanted, source = (subnet.spec.mtu, f"subnet {name}") if subnet.spec.mtu else (own.mtu if own else 0, "ovn0")
        if wanted and link.mtu != wanted:
            message = f"the interface has MTU {link.mtu}, {source} says {wanted}"
            yield Finding(
                "mtu-mismatch", "warning", (f"Pod {key}", f"Link {link.name}"), message, "a recreated pod gets it"
            )


CHECKS: Final[tuple[Callable[[Facts, NodeFacts], Iterator[Finding]], ...]] = (
    switch,
    ports_without_pod,
    pods_without_port,
    stale_links,
    mtu,
)


def examine(facts: Facts, node: NodeFacts) -> list[Finding]:
    """All findings of one node."""
    return [finding for check in CHECKS for finding in check(facts, node)]


def ports_of(interfaces: Mapping[str, Mapping[str, Any]], exists: Callable[[str], bool]) -> Iterator[Port]:
    """Pods' ports among the rows of the Interface table."""
    for row in interfaces.values():
        ids = row["external_ids"]
        if ids.get("vendor") == VENDOR and ids.get("pod_name"):
            netns = ids.get("pod_netns", "")
            yield Port(
                name=row["name"],
                iface_id=ids.get("iface-id", ""),
                pod=f"{ids.get('pod_namespace', '')}/{ids['pod_name']}",
                netns=netns,
                netns_exists=not netns or exists(netns),
                error=row.get("error") or "",
            )


async def collect(name: str, remote: str) -> NodeFacts:
    """What this machine looks like now."""
    links = await asyncio.to_thread(_links)
    database = Database(name="Open_vSwitch", remotes=[remote], columns=COLUMNS, leader_only=False)
    task = asyncio.create_task(database.run())
    try:
        async with asyncio.timeout(_SECONDS):
            await database.synced.wait()
        interfaces = dict(database.rows["Interface"])
        bridges = frozenset(row["name"] for row in database.rows["Bridge"].values())
    except TimeoutError:
        return NodeFacts(name=name, switch=False, links=links)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return NodeFacts(
        name=name,
        bridges=bridges,
        ports=tuple(ports_of(interfaces, lambda path: Path(path).exists())),
        attached=frozenset(row["name"] for row in interfaces.values()),
        links=links,
        controller=await _controller_status(),
    )


def _links() -> dict[str, Link]:
    found = {}
    for path in Path("/sys/class/net").iterdir():
        try:
            found[path.name] = Link(path.name, int((path / "mtu").read_text()))
        except (OSError, ValueError):
            continue  # gone meanwhile, or no interface
    return found


async def _controller_status() -> str:
    """The answer of `ovn-appctl -t ovn-controller connection-status`, "" when there is none."""
    try:
        process = await asyncio.create_subprocess_exec(
            *("ovn-appctl", f"--timeout={int(_SECONDS)}", "-t", "ovn-controller", "connection-status"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return ""
    said, _ = await process.communicate()
    return said.decode(errors="replace").strip()

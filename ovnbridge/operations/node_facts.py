"""What the doctor reads on a node: Open vSwitch, ovn-controller, the kernel and the agent. Nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import aiohttp
import msgspec

from ovnbridge.model.kube import Node
from ovnbridge.node import host_kernel, netns
from ovnbridge.node.host_kernel import HostState
from ovnbridge.node.names import NODE_INTERFACE
from ovnbridge.node.netlink import Netlink
from ovnbridge.node.ovs_rows import COLUMNS, pod_of
from ovnbridge.node.plan import HostLink, internal_ips
from ovnbridge.node.pod_link import read_link
from ovnbridge.operations.doctor_node import NodeFacts, Port
from ovnbridge.operations.live import SECONDS, Unreadable, loaded
from ovnbridge.ovsdb.client import Database

_AGENT_SECONDS: Final = 2.0


def ports_of(interfaces: Mapping[str, Mapping[str, Any]], exists: Callable[[str], bool]) -> Iterator[Port]:
    """Pods' ports among the rows of the Interface table."""
    for row in interfaces.values():
        ids = row["external_ids"]
        owner = pod_of(ids)
        if owner is not None:
            path = ids.get("pod_netns", "")
            yield Port(
                name=row["name"],
                iface_id=ids.get("iface-id", ""),
                pod="/".join(owner),
                netns=path,
                netns_exists=not path or exists(path),
                error=row.get("error") or "",
                type=row.get("type") or "",
            )


async def collect(node: Node, remote: str, agent_port: int) -> NodeFacts:
    """What this machine looks like now."""
    host = await asyncio.to_thread(host_kernel.read)
    facts = NodeFacts(name=node.metadata.name, host=host, links=host.links)
    if agent_port:
        facts = msgspec.structs.replace(facts, agent=await _agent(node, agent_port))
    database = Database(name="Open_vSwitch", remotes=[remote], columns=COLUMNS, leader_only=False)
    try:
        async with loaded(database, [remote]):
            pass
    except Unreadable as error:
        return msgspec.structs.replace(facts, switch_problem=str(error))
    interfaces = database.rows["Interface"]
    ports = tuple(ports_of(interfaces, netns.exists))
    requests = {row["name"]: row.get("mtu_request") or 0 for row in interfaces.values()}
    return msgspec.structs.replace(
        facts,
        ids=next((row["external_ids"] for row in database.rows["Open_vSwitch"].values()), {}),
        bridges=frozenset(row["name"] for row in database.rows["Bridge"].values()),
        ports=ports,
        attached=frozenset(requests),
        mtu_request=requests.get(NODE_INTERFACE, 0),
        links=await asyncio.to_thread(_with_links, host, ports),
        controller=await _controller_status(),
    )


def _with_links(host: HostState, ports: tuple[Port, ...]) -> dict[str, HostLink]:
    """The links of a snapshot, those of pods' ports with all that is known of them."""
    links = dict(host.links)
    with Netlink() as sock:
        for port in ports:
            found = read_link(sock, port.name)
            if found is not None:
                links[port.name] = found
            else:
                links.pop(port.name, None)
    return links


async def _agent(node: Node, port: int) -> str:
    """Why the agent is not ready, "" when it is."""
    hosts = [*internal_ips(node).values(), "127.0.0.1"]
    timeout = aiohttp.ClientTimeout(total=_AGENT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for host in hosts:
            at = f"[{host}]" if ":" in host else host
            try:
                async with session.get(f"http://{at}:{port}/readyz") as reply:
                    said = (await reply.text()).strip()
                    return "" if reply.status == 200 else said or f"status {reply.status}"
            except (aiohttp.ClientError, TimeoutError):
                continue
    return f"no answer on port {port} of {' or '.join(hosts)}"


async def _controller_status() -> str:
    """The answer of `ovn-appctl -t ovn-controller connection-status`, "" when there is none."""
    try:
        process = await asyncio.create_subprocess_exec(
            *("ovn-appctl", f"--timeout={int(SECONDS)}", "-t", "ovn-controller", "connection-status"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return ""
    said, _ = await process.communicate()
    return said.decode(errors="replace").strip()

"""The doctor's checks of a node: Open vSwitch, ovn-controller, the agent and the kernel against the node's pods. Pure;
`node_facts` reads what it looks at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from ovnbridge.compile.workload import alive
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.kube import Node, Pod
from ovnbridge.model.names import annotation
from ovnbridge.node import plan
from ovnbridge.node.cluster import owners
from ovnbridge.node.names import INTEGRATION_BRIDGE, NODE_INTERFACE
from ovnbridge.node.plan import HostLink
from ovnbridge.operations.doctor_pods import lease_name, primary
from ovnbridge.operations.findings import Facts, Finding

if TYPE_CHECKING:
    from ovnbridge.node.host_kernel import HostState

_COLLECTED: Final = "the agent removes it within a minute"
_REPAIRED: Final = "the agent repairs it at once; when it stays, see its log"
_RECREATE: Final = "recreate the pod"
_HOST_END: Final = re.compile(r"[0-9a-f]{4,12}(_.+)?_h")
"""Names of the host ends of pods' interfaces, made of the container's id (spec node A5)."""
_Found = Iterator[Finding]


class Port(msgspec.Struct, frozen=True):
    """An OVS interface that is a pod's: its iface-id, owner and sandbox. `type` is Open vSwitch's, "" for a veth."""

    name: str
    iface_id: str
    pod: str = ""
    netns: str = ""
    netns_exists: bool = True
    error: str = ""
    type: str = ""


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one node looks like.

    `switch_problem`: why Open vSwitch cannot be read. `ids` are the external ids of Open vSwitch. `controller` is what
    `ovn-appctl connection-status` answers, "" for no answer; `agent` why the agent is not ready, "" when it is.
    """

    name: str
    switch_problem: str = ""
    ids: Mapping[str, str] = {}
    bridges: frozenset[str] = frozenset()
    ports: tuple[Port, ...] = ()
    attached: frozenset[str] = frozenset()
    """Names of all OVS interfaces."""
    mtu_request: int = 0
    """What the agent has asked Open vSwitch to give to `ovn0`."""
    links: Mapping[str, HostLink] = {}
    """Links with an address, `ovn0`, and those of pods' ports."""
    host: HostState | None = None
    controller: str = "connected"
    agent: str = ""


def _pods(facts: Facts, node: NodeFacts) -> Iterator[tuple[str, Pod]]:
    for key, pod in facts.all("Pod").items():
        here = isinstance(pod, Pod) and pod.spec.node_name == node.name and not pod.spec.host_network
        if here and alive(pod):
            yield key, pod


def switch(_: Facts, node: NodeFacts) -> _Found:
    """Open vSwitch answers and has br-int; ovn-controller is connected to SB."""
    where = (f"Node {node.name}",)
    if node.switch_problem:
        message = f"Open vSwitch cannot be read: {node.switch_problem}"
        yield Finding("ovs-down", "error", where, message, "start ovs-ovn")
        return
    if INTEGRATION_BRIDGE not in node.bridges:
        message = f"there is no bridge {INTEGRATION_BRIDGE}"
        yield Finding("no-integration-bridge", "error", where, message, "ovn-controller makes it")
    if node.controller != "connected":
        message = f"ovn-controller is {node.controller or 'not running'}"
        remote = node.ids.get("ovn-remote", "") or "nothing"
        action = f"see its log (ovn-remote is {remote}); ports of new pods stay down"
        yield Finding("ovn-controller-disconnected", "error", where, message, action)


def agent(_: Facts, node: NodeFacts) -> _Found:
    """The agent, without which no pod of this node gets a network, is there and ready."""
    if node.agent:
        action = "see the log of kube-ovn-cni; --agent-port names another port, 0 none"
        yield Finding("agent-not-ready", "error", (f"Node {node.name}",), node.agent, action)


def chassis(facts: Facts, node: NodeFacts) -> _Found:
    """This machine is the node's chassis."""
    known, own = facts.all("Node").get(node.name), node.ids.get("system-id", "")
    said = known.metadata.annotation(annotation("chassis")) if isinstance(known, Node) else ""
    if own and said and own != said:
        message = f"this machine is chassis {own}, the node's annotation says {said}"
        action = "this is another machine, or the agent has not told yet"
        yield Finding("chassis-differs", "error", (f"Node {node.name}",), message, action)


def ports_without_pod(facts: Facts, node: NodeFacts) -> _Found:
    """OVS ports of pods that are not on this node any more, or whose sandbox is gone."""
    known = {"/".join(owner) for owner in owners(pod for _, pod in _pods(facts, node))}
    for port in node.ports:
        where = (f"Interface {port.name}",)
        if port.pod not in known:
            message = f"{port.iface_id} belongs to pod {port.pod}, which is not on this node"
            yield Finding("ovs-port-without-pod", "warning", where, message, _COLLECTED)
        elif not port.netns_exists:
            message = f"the network namespace {port.netns} of pod {port.pod} is gone"
            yield Finding("stale-netns", "warning", where, message, _COLLECTED)
        elif port.error:
            message = f"Open vSwitch says: {port.error}"
            yield Finding("ovs-port-error", "error", (*where, f"Pod {port.pod}"), message, _RECREATE)
        elif not port.type and port.name not in node.links:
            message = "the interface is gone, its port is not"
            yield Finding("port-without-link", "error", (*where, f"Pod {port.pod}"), message, _RECREATE)
        elif not port.type and not node.links[port.name].up:
            action = f"ip link set {port.name} up"
            yield Finding("link-down", "error", (*where, f"Pod {port.pod}"), "the interface is down", action)


def pods_without_port(facts: Facts, node: NodeFacts) -> _Found:
    """Running pods of this node that no OVS port belongs to."""
    known = {port.iface_id for port in node.ports}
    for key, pod in primary(facts):
        name = lease_name(facts, pod)
        routed = pod.metadata.annotation(annotation("routed")) == "true"
        here = pod.spec.node_name == node.name and pod.status.phase == "Running"
        if here and routed and name not in known and not node.switch_problem:
            message = f"no OVS interface has the iface-id {name}"
            yield Finding("pod-without-ovs-port", "error", (f"Pod {key}",), message, _RECREATE)


def stale_links(_: Facts, node: NodeFacts) -> _Found:
    """Host ends of pods' interfaces that no OVS port uses."""
    if node.switch_problem:
        return
    for name in sorted(node.links):
        if _HOST_END.fullmatch(name) and name not in node.attached:
            message = "the host end of a pod's interface is not in Open vSwitch"
            action = f"when every pod of this node has its port, remove it: ip link del {name}"
            yield Finding("stale-veth", "warning", (f"Link {name}",), message, action)


def mtu(facts: Facts, node: NodeFacts) -> _Found:
    """Pods' interfaces have the MTU of their subnet, or else of ovn0; and what they send fits into the tunnel."""
    by_name = {lease_name(facts, pod): (key, pod) for key, pod in _pods(facts, node)}
    own = node.links.get(NODE_INTERFACE)
    for port in node.ports:
        link, found = node.links.get(port.name), by_name.get(port.iface_id)
        if link is None or found is None or not link.mtu:
            continue
        key, pod = found
        name = pod.metadata.annotation(annotation("logical_switch"))
        subnet = facts.all("Subnet").get(name)
        if not isinstance(subnet, Subnet) or (subnet.spec.vlan and not subnet.spec.mtu):
            continue
        wanted, source = (subnet.spec.mtu, f"subnet {name}") if subnet.spec.mtu else (own.mtu if own else 0, "ovn0")
        if wanted and link.mtu != wanted:
            message = f"the interface has MTU {link.mtu}, {source} says {wanted}"
            where = (f"Pod {key}", f"Link {link.name}")
            yield Finding("mtu-mismatch", "warning", where, message, "a recreated pod gets it")
    yield from _tunnel_mtu(node, own)


def _tunnel_mtu(node: NodeFacts, own: HostLink | None) -> _Found:
    """What fits through the tunnel; the agent decides it when it starts and when its link changes."""
    encap_ip, kind = node.ids.get("ovn-encap-ip", ""), node.ids.get("ovn-encap-type", "").partition(",")[0]
    addresses = node.host.addresses if node.host is not None else ()
    name = next((entry.link for entry in addresses if entry.address.partition("/")[0] == encap_ip), "")
    under = node.links.get(name)
    if own is None or under is None or not under.mtu or kind not in plan.OVERHEAD:
        return
    room = plan.tunnel_mtu(under.mtu, kind, encap_ip)
    if own.mtu > room:
        message = f"{NODE_INTERFACE} has MTU {own.mtu}, of which {room} fit through {name} (MTU {under.mtu})"
        yield Finding("mtu-mismatch", "error", (f"Link {NODE_INTERFACE}", f"Link {name}"), message, _REPAIRED)


def node_interface(facts: Facts, node: NodeFacts) -> _Found:
    """`ovn0` is there, up, and has what the node's annotations say; the node reaches the subnets through it."""
    known = facts.all("Node").get(node.name)
    if not isinstance(known, Node) or node.host is None or facts.options.non_primary_cni_mode:
        return
    wanted = plan.node_port(known)
    if wanted is None:
        return  # that a node has no address is the cluster's finding
    link = node.links.get(NODE_INTERFACE)
    if link is None:
        yield _broken("it does not exist")
        return
    held = {entry.address for entry in node.host.addresses if entry.link == NODE_INTERFACE}
    if not link.up:
        yield _broken("it is down")
    if link.mac != wanted.mac:
        yield _broken(f"its MAC is {link.mac}, the node's annotation says {wanted.mac}")
    if missing := set(wanted.addresses) - held:
        yield _broken(f"it has not {', '.join(sorted(missing))}")
    if node.mtu_request and link.mtu != node.mtu_request:
        yield _broken(f"its MTU is {link.mtu}, the agent says {node.mtu_request}")
    cidrs = plan.routed_cidrs(facts.all("Subnet").values(), cluster_router=facts.options.cluster_router)
    routes = plan.host_routes(cidrs, wanted, known, local_ips=node.host.ips)
    if unset := plan.route_changes(routes, node.host.routes).replace:
        yield _broken(f"not routed through it: {', '.join(route.destination for route in unset)}")


def _broken(message: str) -> Finding:
    return Finding("node-interface", "error", (f"Link {NODE_INTERFACE}",), message, _REPAIRED)


CHECKS: Final[tuple[Callable[[Facts, NodeFacts], _Found], ...]] = (
    switch,
    agent,
    chassis,
    node_interface,
    ports_without_pod,
    pods_without_port,
    stale_links,
    mtu,
)


def examine(facts: Facts, node: NodeFacts) -> list[Finding]:
    """All findings of one node."""
    return [finding for check in CHECKS for finding in check(facts, node)]

"""ProviderNetwork → its status, from what the nodes say, and what nodes' annotations ask of its spec (spec A.8, B.4,
D.4, D.17)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from ovnbridge.compile.selector import matches
from ovnbridge.compile.vlan import in_order, vlan_view
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Annotations, Event, Item, Spec, Status
from ovnbridge.engine.world import Index
from ovnbridge.model.crd.underlay import (
    NodeNetworkCondition,
    ProviderNetwork,
    ProviderNetworkSpec,
    ProviderNetworkStatus,
)
from ovnbridge.model.kube import Node, Pod

_AGENT: Final = "kube-ovn-cni"
"""Label `app` of the pods that set up the nodes' bridges."""
_SUFFIX: Final = ".provider-network.kubernetes.io/"
"""Between the network's name and what a label or annotation says of it."""
_INTERFACE: Final = re.compile(r"[^/\s]{1,15}")


class _State(msgspec.Struct, frozen=True):
    """What a node of the network says of its bridge; `ready` is None while it has no agent."""

    node: str
    ready: bool | None
    message: str = ""


def _provider_network(reader: Reader, name: str) -> Iterator[Item]:
    network = reader.get("ProviderNetwork", name)
    if not isinstance(network, ProviderNetwork):
        return
    yield from _consumed(reader, name, network.spec)
    views = (reader.query(vlan_view, vlan) for vlan in reader.by("vlan-network", name))
    vlans = [view.name for view in views if view is not None and not view.conflict]
    states = [state for node in reader.keys("Node") if (state := _state(reader, name, network.spec, node)) is not None]
    heard = any(state.ready is not None for state in states) or (not states and _tended(reader, name))
    status = _of_nodes(network.status, states, heard=heard)
    yield Status("ProviderNetwork", name, msgspec.structs.replace(status, vlans=in_order(network.status.vlans, vlans)))


def _state(reader: Reader, name: str, spec: ProviderNetworkSpec, node: str) -> _State | None:
    """None: the node is not part of the network (spec D.17)."""
    labels = reader.query(_labels, node)
    if spec.node_selector is not None:
        if not matches(spec.node_selector, labels):
            return None
    elif node in spec.exclude_nodes:
        return None
    if labels.get(f"{name}{_SUFFIX}ready") == "true":
        return _State(node, ready=True)
    for key in reader.by("node-agent", node):
        agent = reader.get("Pod", key)
        if isinstance(agent, Pod):
            return _State(node, ready=False, message=agent.metadata.annotation(f"{name}{_SUFFIX}err_mesg"))
    return _State(node, ready=None, message=f"no {_AGENT} on the node")


def _labels(reader: Reader, name: str) -> dict[str, str]:
    """A node's labels (memoised question)."""
    node = reader.get("Node", name)
    return dict(node.metadata.all_labels()) if isinstance(node, Node) else {}


def _tended(reader: Reader, name: str) -> bool:
    """Whether any node has an agent, or a label that one has left for this network."""
    left = (f"{name}{_SUFFIX}ready", f"{name}{_SUFFIX}exclude")
    return any(
        reader.any("node-agent", node) or any(label in reader.query(_labels, node) for label in left)
        for node in reader.keys("Node")
    )


def _of_nodes(before: ProviderNetworkStatus, states: list[_State], *, heard: bool) -> ProviderNetworkStatus:
    """The status by nodes: ready when no node of the network is not (spec D.17).

    It stands while nothing has been heard: there are no agents, as in a dump.
    """
    nodes = {state.node: state for state in states}
    told = tuple(condition.node for condition in before.conditions)
    if heard:
        ready = tuple(state.node for state in states if state.ready)
        not_ready = tuple(state.node for state in states if not state.ready)
        conditions = {state.node: _condition(state) for state in states}
    else:
        ready = tuple(node for node in before.ready_nodes if node in nodes)
        not_ready = tuple(node for node in before.not_ready_nodes if node in nodes)
        conditions = {condition.node: condition for condition in before.conditions if condition.node in nodes}
    return msgspec.structs.replace(
        before,
        ready=not not_ready and (heard or before.ready),
        ready_nodes=in_order(before.ready_nodes, ready),
        not_ready_nodes=in_order(before.not_ready_nodes, not_ready),
        conditions=tuple(conditions[node] for node in in_order(told, conditions)),
    )


def _condition(state: _State) -> NodeNetworkCondition:
    return NodeNetworkCondition(
        node=state.node,
        type="Ready",
        status="True" if state.ready else "False",
        reason="InitOVSBridgeSucceeded" if state.ready else "InitOVSBridgeFailed",
        message=state.message,
    )


def _consumed(reader: Reader, name: str, spec: ProviderNetworkSpec) -> Iterator[Item]:
    """What annotations of nodes ask for becomes part of the spec, and then they go (spec B.4, D.4)."""
    excluded, custom = [*spec.exclude_nodes], {c.interface: [*c.nodes] for c in spec.custom_interfaces}
    exclude, interface = f"{name}{_SUFFIX}exclude", f"{name}{_SUFFIX}interface"
    served: list[str] = []
    for key in reader.by("node-provider-networks", name):
        node = reader.get("Node", key)
        if not isinstance(node, Node):
            continue
        wanted = node.metadata.annotation(interface)
        if node.metadata.annotation(exclude) == "true" and key not in excluded:
            excluded.append(key)
        elif wanted and key not in excluded and not any(key in nodes for nodes in custom.values()):
            if not _INTERFACE.fullmatch(wanted):
                message = f"annotation {interface}: {wanted!r} is not the name of an interface"
                yield Event("Node", key, "Warning", "ValidateProviderNetworkFailed", message)
                continue
            custom.setdefault(wanted, []).append(key)
        else:
            served.append(key)
    fields: dict[str, object] = {}
    if tuple(excluded) != spec.exclude_nodes:
        fields["excludeNodes"] = excluded
    if {i: tuple(nodes) for i, nodes in custom.items()} != {c.interface: c.nodes for c in spec.custom_interfaces}:
        fields["customInterfaces"] = [{"interface": i, "nodes": nodes} for i, nodes in custom.items()]
    if fields:
        yield Spec("ProviderNetwork", name, fields)
    for key in served:
        yield Annotations("Node", key, {exclude: None, interface: None})


def _by_agent(pod: Pod) -> tuple[str, ...]:
    return (pod.spec.node_name,) if pod.metadata.label("app") == _AGENT else ()


def _by_annotation(node: Node) -> Iterable[str]:
    suffixes = (f"{_SUFFIX}exclude", f"{_SUFFIX}interface")
    return {key.removesuffix(s) for key in node.metadata.all_annotations() for s in suffixes if key.endswith(s)}


INDEXES = (
    Index("node-agent", "Pod", _by_agent),
    Index("node-provider-networks", "Node", _by_annotation),
)
UNITS = (Unit("provider-network", "ProviderNetwork", _provider_network),)

"""The doctor's cluster-wide checks: each takes the facts and yields its findings. Pure.

Those of addresses are in `doctor_pods`, what only a node can see is in `doctor_node`; `CHECKS` at the end is the
complete list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from ovnbridge.compile.options import ours
from ovnbridge.engine.diff import ActualRow
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP
from ovnbridge.model.kube import Node
from ovnbridge.model.names import annotation, node_port_name
from ovnbridge.operations.doctor_pods import (
    addresses_that_differ,
    connected,
    double_addresses,
    hosts,
    lease_name,
    leases_without_owner,
    pods_without_network,
    ports_without_pod,
)
from ovnbridge.operations.findings import ENDS, NOTHING, Facts, Finding
from ovnbridge.operations.words import key_text
from ovnbridge.validation.changes import several

_FULL: Final = 0.9
"""Share of used addresses from which on a subnet is nearly full."""


def foreign_rows(facts: Facts) -> Iterator[Finding]:
    """Rows, and entries of rows, that nobody here wants and that the engine does not own: other programs', or those of
    features that are not built."""
    gone = {(p.where, p.key) for p in facts.planned}
    for table, rows in sorted(facts.rows.items()):
        names = [k for k in rows if (table, k) not in facts.wanted and (table, key_text(k)) not in gone]
        for marked in (True, False) if table != "NB_Global" else ():
            found = sorted(key_text(k) for k in names if ours(ActualRow("", rows[k], None)) is marked)
            if found:
                message = f"{len(found)} {'with' if marked else 'without'} vendor=kube-ovn that nothing here asks for"
                yield Finding("foreign-rows", "note", tuple(f"{table} {n}" for n in found), message, NOTHING)
    for table, count in sorted(facts.unread.items()):
        yield Finding("foreign-rows", "note", (table,), f"{count} in a table that nothing here looks at", NOTHING)
    for found_in in facts.entries:
        where = f"{found_in.table} {key_text(found_in.key)}"
        message = f"{len(found_in.names)} {found_in.column} that nothing here asks for: {several(found_in.names)}"
        yield Finding("foreign-entries", "note", (where,), message, NOTHING)


def drift(facts: Facts) -> Iterator[Finding]:
    """Rows and objects that are not as they should be: what `plan` shows."""
    for planned in facts.planned:
        message = _DRIFTS.get(planned.verb, "is not as it should be")
        message += f": {planned.detail}" if planned.detail else ""
        where = (planned.where, planned.key)
        yield facts.remedied("drift", "warning", (" ".join(where),), message, where)


_DRIFTS: Final = {"insert": "is missing", "create": "is missing", "delete": "should not be there"}


def chassis_and_nodes(facts: Facts) -> Iterator[Finding]:
    """Chassis of OVN SB without a node of that name, and nodes without a chassis."""
    if facts.southbound is None:
        return
    known = _nodes_of_chassis(facts)
    for name, host in sorted(facts.southbound.chassis.items()):
        if name not in known:
            message = f"no node is called {host}" if host else "it names no host, and no node names it"
            where = ("Chassis", name)
            found = facts.remedied("chassis-without-node", "warning", (" ".join(where),), message, where)
            action = "delete it with `ovn-sbctl chassis-del` when the node is gone for good"
            yield found if found.about else msgspec.structs.replace(found, action=action)
    for node in sorted(set(facts.all("Node")) - set(known.values())):
        message = "ovn-controller of this node has not registered"
        action = "run `ovnbridge doctor --node` there"
        yield Finding("node-without-chassis", "error", (f"Node {node}",), message, action)


def _nodes_of_chassis(facts: Facts) -> Mapping[str, str]:
    """Nodes by the names of their chassis: what the node's annotation says, else the node with the host's name."""
    nodes = facts.all("Node")
    said = {
        chassis: name for name, node in nodes.items() if (chassis := node.metadata.annotation(annotation("chassis")))
    }
    hosts = facts.southbound.chassis if facts.southbound is not None else {}
    return {name: said.get(name, host) for name, host in hosts.items() if name in said or host in nodes}


def unbound_ports(facts: Facts) -> Iterator[Finding]:
    """Running pods whose port is on no chassis, on another node's, or not up."""
    if facts.southbound is None:
        return
    nodes = _nodes_of_chassis(facts)
    for key, pod in connected(facts):
        name = lease_name(facts, pod)
        binding = facts.southbound.bindings.get(name)
        if pod.status.phase != "Running" or binding is None:
            continue
        objects = (f"Pod {key}", f"Port_Binding {name}")
        action = f"run `ovnbridge doctor --node` on {pod.spec.node_name}"
        host = nodes.get(binding.chassis, "")
        if not binding.chassis:
            yield Finding("unbound-port", "error", objects, "the pod runs, its port is on no chassis", action)
        elif host != pod.spec.node_name:
            message = (
                f"the pod is on node {pod.spec.node_name}, its port on chassis {binding.chassis} ({host or 'no node'})"
            )
            yield Finding("port-on-wrong-chassis", "error", objects, message, action)
        elif not binding.up:
            yield Finding("port-down", "error", objects, "the port is bound but not up", action)


def subnets_nearly_full(facts: Facts) -> Iterator[Finding]:
    """Subnets with at least nine tenths of a family's addresses in use."""
    for name, usage in sorted(facts.usage.items()):
        subnet = facts.all("Subnet").get(name)
        v4, v6 = address.split(subnet.spec.cidr_block) if subnet is not None else ("", "")
        for family, cidr, left in (("IPv4", v4, usage.v4_available), ("IPv6", v6, usage.v6_available)):
            whole = usage.using + left
            if cidr and whole and usage.using >= _FULL * whole:
                message = f"{usage.using} of {whole} {family} addresses of {cidr} are in use, {left} remain"
                action = "make the subnet larger, or add one"
                yield Finding("subnet-nearly-full", "warning", (f"Subnet {name}",), message, action)


def failing_conditions(facts: Facts) -> Iterator[Finding]:
    """Objects that say themselves that they do not work; conditions with the same words are told together."""
    for kind, objects in sorted(facts.objects.items()):
        for key, value in sorted(objects.items()):
            failing: dict[str, list[str]] = {}
            for condition in getattr(getattr(value, "status", None), "conditions", None) or ():
                if _fails(condition.type, condition.status):
                    said = (getattr(condition, "reason", ""), getattr(condition, "message", ""))
                    words = f"{condition.type} is {condition.status}"
                    failing.setdefault(": ".join(filter(None, said)), []).append(words)
            for said_of_all, words_of_each in failing.items():
                message = ", ".join((*words_of_each, said_of_all) if said_of_all else words_of_each)
                action = "the kubelet reports it" if kind == "Node" else ENDS
                yield Finding("failing-condition", "warning", (f"{kind} {key}",), message, action)


def refusals(facts: Facts) -> Iterator[Finding]:
    """Objects that the engine cannot carry out as they are: what its Warning events say, for as long as it is so."""
    for (kind, key), told in sorted(facts.warnings.items()):
        for text in told:
            yield Finding("refused", "error", (f"{kind} {key}",), text, ENDS)


def _fails(name: str, status: str) -> bool:
    return (name in ("Ready", "Validated") and status == "False") or (
        name in ("Error", "NetworkUnavailable") and status == "True"
    )


def nodes_without_join(facts: Facts) -> Iterator[Finding]:
    """Nodes without an address in the join subnet, or whose annotation says another one than the lease."""
    for name, node in sorted(facts.all("Node").items()):
        if not isinstance(node, Node):
            continue
        lease = facts.all("IP").get(node_port_name(name))
        said = node.metadata.annotation(annotation("ip_address"))
        objects = (f"Node {name}", f"IP {node_port_name(name)}")
        if lease is None:
            message = "there is no lease for its ovn0"
            yield facts.remedied("node-without-join", "error", objects, message, ("IP", node_port_name(name)))
        elif [*hosts(said)] != [*hosts(lease.spec.v4_ip_address, lease.spec.v6_ip_address)]:
            message = f"the annotation says {said or 'nothing'}, the lease {lease.spec.ip_address}"
            yield facts.remedied("node-without-join", "error", objects, message, ("Node", name))


def stuck_deletions(facts: Facts) -> Iterator[Finding]:
    """Objects that are being deleted and wait for a finalizer, with what they wait for."""
    for kind, objects in sorted(facts.objects.items()):
        for key, value in sorted(objects.items()):
            if kind == "Pod" or not value.metadata.deleting or not value.metadata.finalizers:
                continue
            users = _users(facts, kind, key)
            waits = f"waits for {', '.join(users[:5])}" if users else "nothing uses it any more"
            message = f"deletion was asked for at {value.metadata.deletion_timestamp}; {waits}"
            objects_told = (f"{kind} {key}", *users[:5])
            yield facts.remedied("stuck-deletion", "warning", objects_told, message, (kind, key))


def _users(facts: Facts, kind: str, key: str) -> list[str]:
    if kind == "Subnet":
        return sorted(f"IP {n}" for n, ip in facts.all("IP").items() if isinstance(ip, IP) and ip.spec.subnet == key)
    if kind == "Vpc":
        return sorted(f"Subnet {n}" for n, subnet in facts.all("Subnet").items() if subnet.spec.vpc == key)
    if kind == "IP":
        holder = facts.all("IP")[key].spec
        pod = f"{holder.namespace}/{holder.pod_name}"
        return [f"Pod {pod}"] if pod in facts.all("Pod") else []
    return []


def databases(facts: Facts) -> Iterator[Finding]:
    """Servers of NB and SB that cannot be reached, or are not part of a working raft cluster."""
    for server in facts.databases:
        where = (f"{server.name} {server.remote}",)
        if not server.reached:
            yield Finding("database-unreachable", "error", where, server.reason or "no answer", NOTHING)
        elif not server.connected:
            message = "the server is not connected to its cluster (no leader, or it was removed)"
            yield Finding("database-disconnected", "error", where, message, NOTHING)
    for name in sorted({s.name for s in facts.databases if s.clustered}):
        members = [s for s in facts.databases if s.name == name and s.clustered and s.reached]
        leaders = [s.remote for s in members if s.leader]
        if len(members) > 1 and len(leaders) != 1:
            message = f"{len(leaders)} of {len(members)} servers say that they lead"
            yield Finding("database-leader", "error", tuple(f"{name} {s.remote}" for s in members), message, NOTHING)


CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    double_addresses,
    addresses_that_differ,
    leases_without_owner,
    pods_without_network,
    ports_without_pod,
    nodes_without_join,
    chassis_and_nodes,
    unbound_ports,
    subnets_nearly_full,
    failing_conditions,
    stuck_deletions,
    databases,
    refusals,
    drift,
    foreign_rows,
)


def examine(facts: Facts) -> list[Finding]:
    """All findings. What another finding tells already is not told again: the same words about the same object as a
    refusal, and what the engine will write as drift."""
    found = [finding for check in CHECKS if check not in (refusals, drift) for finding in check(facts)]
    told: dict[str, list[str]] = defaultdict(list)
    for finding in found:
        for name in finding.objects:
            told[name].append(finding.message)
    found += [more for more in refusals(facts) if not any(more.message in text for text in told[more.objects[0]])]
    written = {finding.about for finding in found if finding.about}
    return found + [finding for finding in drift(facts) if finding.objects[0] not in written]

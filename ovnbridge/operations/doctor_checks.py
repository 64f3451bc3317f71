"""The doctor's cluster-wide checks: each takes the facts and yields its findings. Pure.

What only a node can see is in `doctor_node`; `CHECKS` at the end is the complete list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ovnbridge.compile.lease import addressed, reserved
from ovnbridge.compile.options import external_id, ours
from ovnbridge.compile.workload import alive
from ovnbridge.engine.diff import ActualRow
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP
from ovnbridge.model.kube import Node, Pod
from ovnbridge.model.names import LABEL_IP_RESERVED, OVN_PROVIDER, annotation, node_port_name, port_name
from ovnbridge.operations.findings import NOTHING, WILL, Facts, Finding, Planned
from ovnbridge.operations.report import key_text

_FULL: Final = 0.9
"""Share of used addresses from which on a subnet is nearly full."""
_OF_THE_SUBNET: Final = ("u2o-interconnection.", "mcast-querier.")
_KEEPING: Final = ("StatefulSet", "VirtualMachine")


def _addresses(*texts: str) -> Iterator[str]:
    for text in ",".join(texts).split(","):
        if address.host_family(text.strip()) is not None:
            yield address.canonical(text.strip())


def _connected(facts: Facts) -> Iterator[tuple[str, Pod]]:
    """Pods that need the network."""
    for key, pod in facts.all("Pod").items():
        if isinstance(pod, Pod) and not pod.spec.host_network and alive(pod):
            yield key, pod


def _lease_name(pod: Pod) -> str:
    """A pod's lease and port; those of a virtual machine bear the machine's name (spec C.9)."""
    for owner in pod.metadata.owner_references or ():
        if owner.kind == "VirtualMachineInstance":
            return port_name(owner.name, pod.metadata.namespace)
    return port_name(pod.metadata.name, pod.metadata.namespace)


def double_addresses(facts: Facts) -> Iterator[Finding]:
    """One address of one subnet with several holders: leases and Vips, pods' annotations, switch ports."""
    leases: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, ip in facts.all("IP").items():
        for text in _addresses(ip.spec.v4_ip_address, ip.spec.v6_ip_address) if addressed(ip) else ():
            leases[ip.spec.subnet, text].append(f"IP {name}")
    takers = {pod.metadata.annotation(annotation("vip")) for _, pod in _connected(facts)}
    for name, vip in facts.all("Vip").items():
        if name not in takers and not vip.metadata.label(LABEL_IP_RESERVED):
            for text in sorted({*_addresses(vip.spec.v4_ip, vip.spec.v6_ip, vip.status.v4_ip, vip.status.v6_ip)}):
                leases[vip.spec.subnet, text].append(f"Vip {name}")
    yield from _doubled("double-lease", leases, "the engine gives it to nobody else; delete all but one")
    pods: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, pod in _connected(facts):
        moving = any(name.startswith("kubevirt.io/migrationJob") for name in pod.metadata.all_annotations())
        subnet = pod.metadata.annotation(annotation("logical_switch"))
        if pod.metadata.annotation(annotation("allocated")) == "true" and not moving:
            for text in _addresses(pod.metadata.annotation(annotation("ip_address"))):
                pods[subnet, text].append(f"Pod {key}")
    yield from _doubled("double-pod-address", pods, "the engine keeps what runs; delete all pods but one")
    ports: dict[tuple[str, str], list[str]] = defaultdict(list)
    for port, row in facts.ports().items():
        for element in row.get("addresses") or ():
            for text in _addresses(*str(element).split()[1:]) if not row.get("type") else ():
                ports[_id(row, "ls"), text].append(f"Logical_Switch_Port {key_text(port)}")
    yield from _doubled("double-port-address", ports, "the engine makes ports as their leases say")


def _doubled(check: str, found: Mapping[tuple[str, str], list[str]], action: str) -> Iterator[Finding]:
    for (subnet, text), holders in sorted(found.items()):
        if len(holders) > 1:
            message = f"{text} of subnet {subnet or '?'} is held {len(holders)} times"
            yield Finding(check, "error", tuple(sorted(holders)), message, action)


def _id(row: Mapping[str, Any], name: str) -> str:
    return external_id(ActualRow("", row, None), name)


def leases_without_owner(facts: Facts) -> Iterator[Finding]:
    """IP objects whose pod or node is gone. Reservations and addresses that are kept for a workload are not meant."""
    nodes, pods = facts.all("Node"), facts.all("Pod")
    for name, ip in facts.all("IP").items():
        kept = reserved(ip) or ip.spec.pod_type in _KEEPING
        if kept or name.startswith(_OF_THE_SUBNET):
            continue
        if ip.spec.namespace:
            pod = pods.get(f"{ip.spec.namespace}/{ip.spec.pod_name}")
            gone = pod is None or not alive(pod)
            owner = f"pod {ip.spec.namespace}/{ip.spec.pod_name}"
        else:
            owner = f"node {ip.spec.pod_name or ip.spec.node_name}"
            gone = (ip.spec.pod_name or ip.spec.node_name) not in nodes
        if gone:
            held = ip.spec.ip_address or ip.spec.mac_address
            yield Finding(
                "lease-without-owner",
                "warning",
                (f"IP {name}",),
                f"{held} of subnet {ip.spec.subnet} is held for {owner}, which is gone",
                facts.remedy("IP", name),
            )


def pods_without_network(facts: Facts) -> Iterator[Finding]:
    """Pods that have a node but no lease, or a lease but no port in OVN."""
    leases, ports = facts.all("IP"), facts.ports()
    for key, pod in _connected(facts):
        name = _lease_name(pod)
        if not pod.spec.node_name or pod.metadata.deleting:
            continue
        lease = leases.get(name)
        if lease is None or not addressed(lease):
            action = facts.remedy("IP", name)
            yield Finding("pod-without-lease", "error", (f"Pod {key}", f"IP {name}"), "there is no such lease", action)
        elif name not in ports and _by_ovn(facts, lease.spec.subnet):
            action = facts.remedy("Logical_Switch_Port", name)
            message = f"no port on switch {lease.spec.subnet} for {lease.spec.ip_address}"
            objects = (f"Pod {key}", f"IP {name}", f"Logical_Switch_Port {name}")
            yield Finding("pod-without-port", "error", objects, message, action)


def _by_ovn(facts: Facts, subnet: str) -> bool:
    found = facts.all("Subnet").get(subnet)
    provider = found.spec.provider if found is not None else ""
    return not provider or provider == OVN_PROVIDER or provider.endswith(f".{OVN_PROVIDER}")


def ports_without_pod(facts: Facts) -> Iterator[Finding]:
    """Switch ports of pods and nodes that are gone; a lease that is kept keeps its port."""
    pods, nodes, leases = facts.all("Pod"), facts.all("Node"), facts.all("IP")
    for key, row in facts.ports().items():
        name, owner = key_text(key), _id(row, "pod")
        if row.get("type") or not ours(ActualRow("", row, None)) or name in leases:
            continue
        pod = pods.get(owner)
        prefix = node_port_name("")
        if owner and (pod is None or not alive(pod)):
            message = f"pod {owner} is gone"
        elif not owner and name.startswith(prefix) and name.removeprefix(prefix) not in nodes:
            message = f"node {name.removeprefix(prefix)} is gone"
        else:
            continue
        action = facts.remedy("Logical_Switch_Port", name)
        yield Finding("port-without-pod", "warning", (f"Logical_Switch_Port {name}",), message, action)


def foreign_rows(facts: Facts) -> Iterator[Finding]:
    """Rows that nobody here wants and that the engine does not own: other programs', or features not built."""
    gone = {(p.where, p.key) for p in facts.planned}
    for table, rows in sorted(facts.rows.items()):
        names = [k for k in rows if (table, k) not in facts.wanted and (table, key_text(k)) not in gone]
        for marked in (True, False) if table != "NB_Global" else ():
            found = sorted(key_text(k) for k in names if ours(ActualRow("", rows[k], None)) is marked)
            if found:
                message = f"{len(found)} {'with' if marked else 'without'} vendor=kube-ovn that nothing here asks for"
                yield Finding("foreign-rows", "note", tuple(f"{table} {n}" for n in found), message, NOTHING)


def drift(facts: Facts) -> Iterator[Finding]:
    """Rows and objects that are not as they should be: what `plan` shows."""
    for planned in facts.planned:
        where = (f"{planned.where} {planned.key}",)
        yield Finding("drift", "warning", where, _drifts(planned), facts.remedy(planned.where, planned.key))


def _drifts(planned: Planned) -> str:
    return {"insert": "is missing", "create": "is missing", "delete": "should not be there"}.get(
        planned.verb, "is not as it should be"
    )


def chassis_and_nodes(facts: Facts) -> Iterator[Finding]:
    """Chassis of OVN SB without a node of that name, and nodes without a chassis."""
    if facts.southbound is None:
        return
    known = _nodes_of_chassis(facts)
    for name, host in sorted(facts.southbound.chassis.items()):
        if name not in known:
            message = f"no node is called {host}"
            action = "delete it with `ovn-sbctl chassis-del` when the node is gone for good"
            yield Finding("chassis-without-node", "warning", (f"Chassis {name}",), message, action)
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
    for key, pod in _connected(facts):
        name = _lease_name(pod)
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
    """Objects that say themselves that they do not work."""
    for kind, objects in sorted(facts.objects.items()):
        for key, value in sorted(objects.items()):
            for condition in getattr(getattr(value, "status", None), "conditions", None) or ():
                if _fails(condition.type, condition.status):
                    reason = getattr(condition, "reason", "")
                    said = ": ".join(filter(None, (reason, getattr(condition, "message", ""))))
                    message = f"{condition.type} is {condition.status}" + (f", {said}" if said else "")
                    action = "the kubelet reports it" if kind == "Node" else "it ends when the cause does"
                    yield Finding("failing-condition", "warning", (f"{kind} {key}",), message, action)


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
        if lease is None:
            action = facts.remedy("IP", node_port_name(name))
            objects = (f"Node {name}", f"IP {node_port_name(name)}")
            yield Finding("node-without-join", "error", objects, "there is no lease for its ovn0", action)
        elif [*_addresses(said)] != [*_addresses(lease.spec.v4_ip_address, lease.spec.v6_ip_address)]:
            message = f"the annotation says {said or 'nothing'}, the lease {lease.spec.ip_address}"
            objects = (f"Node {name}", f"IP {node_port_name(name)}")
            yield Finding("node-without-join", "error", objects, message, facts.remedy("Node", name))


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
            yield Finding("stuck-deletion", "warning", objects_told, message, facts.remedy(kind, key))


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
            yield Finding("database-unreachable", "error", where, "no answer", NOTHING)
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
    drift,
    foreign_rows,
)


def examine(facts: Facts) -> list[Finding]:
    """All findings. A row or object that another finding names with its remedy is not reported as drift again."""
    found = [finding for check in CHECKS if check is not drift for finding in check(facts)]
    told = {name for finding in found if finding.action.startswith(WILL) for name in finding.objects}
    return found + [finding for finding in drift(facts) if not told & set(finding.objects)]

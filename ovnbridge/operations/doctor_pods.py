"""The doctor's checks of addresses: leases, pods, their annotations and their ports against each other. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ovnbridge.compile.lease import addressed, reserved
from ovnbridge.compile.nets import DEFAULT_NETWORK
from ovnbridge.compile.options import external_id, ours
from ovnbridge.compile.workload import alive, virtual_machine
from ovnbridge.engine.diff import ActualRow
from ovnbridge.model import address
from ovnbridge.model.kube import Pod
from ovnbridge.model.names import LABEL_IP_RESERVED, OVN_PROVIDER, annotation, node_port_name, port_name
from ovnbridge.operations.findings import ENDS, Facts, Finding
from ovnbridge.operations.words import key_text

_OF_THE_SUBNET: Final = ("u2o-interconnection.", "mcast-querier.")
_KEEPING: Final = ("StatefulSet", "VirtualMachine")


def hosts(*texts: str) -> Iterator[str]:
    """The addresses in texts that may hold several with commas, in their shortest form; all else is left out."""
    for text in ",".join(texts).split(","):
        if address.host_family(text.strip()) is not None:
            yield address.canonical(text.strip())


def connected(facts: Facts) -> Iterator[tuple[str, Pod]]:
    """Pods that need the network."""
    for key, pod in facts.all("Pod").items():
        if isinstance(pod, Pod) and not pod.spec.host_network and alive(pod):
            yield key, pod


def primary(facts: Facts) -> Iterator[tuple[str, Pod]]:
    """Those of them whose default interface is ours."""
    if not facts.options.non_primary_cni_mode:
        for key, pod in connected(facts):
            if not pod.metadata.annotation(DEFAULT_NETWORK):
                yield key, pod


def lease_name(facts: Facts, pod: Pod) -> str:
    """A pod's lease and port; those of a virtual machine bear the machine's name (spec C.9)."""
    machine = virtual_machine(pod) if facts.options.keep_vm_ip else ""
    return port_name(machine or pod.metadata.name, pod.metadata.namespace)


def double_addresses(facts: Facts) -> Iterator[Finding]:
    """One address of one subnet with several holders: leases and Vips, pods' annotations, switch ports."""
    leases: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, ip in facts.all("IP").items():
        for text in hosts(ip.spec.v4_ip_address, ip.spec.v6_ip_address) if addressed(ip) else ():
            leases[ip.spec.subnet, text].append(f"IP {name}")
    takers = {pod.metadata.annotation(annotation("vip")) for _, pod in connected(facts)}
    for name, vip in facts.all("Vip").items():
        if name not in takers and not vip.metadata.label(LABEL_IP_RESERVED):
            for text in sorted({*hosts(vip.spec.v4_ip, vip.spec.v6_ip, vip.status.v4_ip, vip.status.v6_ip)}):
                leases[vip.spec.subnet, text].append(f"Vip {name}")
    yield from _doubled("double-lease", leases, "the engine gives it to nobody else; delete all but one")
    pods: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, pod in connected(facts):
        moving = any(name.startswith("kubevirt.io/migrationJob") for name in pod.metadata.all_annotations())
        subnet = pod.metadata.annotation(annotation("logical_switch"))
        if pod.metadata.annotation(annotation("allocated")) == "true" and not moving:
            for text in hosts(pod.metadata.annotation(annotation("ip_address"))):
                pods[subnet, text].append(f"Pod {key}")
    yield from _doubled("double-pod-address", pods, "the engine keeps what runs; delete all pods but one")
    ports: dict[tuple[str, str], list[str]] = defaultdict(list)
    for port, row in facts.ports().items():
        for text in hosts(*_of_port(row)) if not row.get("type") else ():
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
            message = f"{held} of subnet {ip.spec.subnet} is held for {owner}, which is gone"
            yield facts.remedied("lease-without-owner", "warning", (f"IP {name}",), message, ("IP", name))


def pods_without_network(facts: Facts) -> Iterator[Finding]:
    """Pods that have a node but no lease, or a lease but no port in OVN."""
    leases, ports = facts.all("IP"), facts.ports()
    for key, pod in primary(facts):
        name = lease_name(facts, pod)
        if not pod.spec.node_name or pod.metadata.deleting:
            continue
        lease = leases.get(name)
        if lease is None or not addressed(lease):
            objects = (f"Pod {key}", f"IP {name}")
            told = facts.warnings.get(("Pod", key))
            if told:
                message = f"there is no such lease: {'; '.join(told)}"
                yield Finding("pod-without-lease", "error", objects, message, ENDS)
            else:
                yield facts.remedied("pod-without-lease", "error", objects, "there is no such lease", ("IP", name))
        elif name not in ports and _by_ovn(facts, lease.spec.subnet):
            message = f"no port on switch {lease.spec.subnet} for {lease.spec.ip_address}"
            where = ("Logical_Switch_Port", name)
            yield facts.remedied(
                "pod-without-port", "error", (f"Pod {key}", f"IP {name}", " ".join(where)), message, where
            )


def addresses_that_differ(facts: Facts) -> Iterator[Finding]:
    """A pod's annotation, its port or what the pod works with says other addresses than its lease."""
    for key, pod in primary(facts):
        name = lease_name(facts, pod)
        lease = facts.all("IP").get(name)
        if lease is None or pod.metadata.deleting:
            continue
        right = {*hosts(lease.spec.v4_ip_address, lease.spec.v6_ip_address)}
        said = {*hosts(pod.metadata.annotation(annotation("ip_address")))}
        objects = (f"Pod {key}", f"IP {name}")
        if pod.metadata.annotation(annotation("allocated")) == "true" and said != right:
            message = f"the annotation says {_listed(said)}, the lease {_listed(right)}"
            yield facts.remedied("address-differs", "error", objects, message, ("Pod", key))
        port = {*hosts(*_of_port(facts.ports().get(name, {})))}
        if port and port != right:
            message = f"the port has {_listed(port)}, the lease {_listed(right)}"
            objects = (f"Logical_Switch_Port {name}", f"IP {name}")
            yield facts.remedied("address-differs", "error", objects, message, ("Logical_Switch_Port", name))
        works = {*hosts(*(found.ip for found in pod.status.pod_ips or ()))}
        if pod.status.phase == "Running" and not works <= right:
            message = f"the pod runs with {_listed(works)}, the lease says {_listed(right)}"
            yield Finding("address-differs", "error", (f"Pod {key}", f"IP {name}"), message, "recreate the pod")


def _listed(addresses: Iterable[str]) -> str:
    return ",".join(sorted(addresses)) or "nothing"


def _of_port(row: Mapping[str, Any]) -> Iterator[str]:
    for element in row.get("addresses") or ():
        yield from str(element).split()[1:]


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
        where = ("Logical_Switch_Port", name)
        yield facts.remedied("port-without-pod", "warning", (" ".join(where),), message, where)

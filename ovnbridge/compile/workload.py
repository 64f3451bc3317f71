"""Workloads whose pods keep their addresses: StatefulSets and virtual machines (spec C.9).

A lease that says a `podType` may outlive its pod. What keeps it is a claim of its own, beside the pod's, for as long as
the rules below hold; the port stays as well, without its groups. When neither is left, the lease ends like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ovnbridge.compile.ippool import pool_facts
from ovnbridge.compile.lease import STICKY, address_columns, lease_of
from ovnbridge.compile.namespace import namespace_subnets
from ovnbridge.compile.nets import pod_nets
from ovnbridge.compile.options import options, unknown
from ovnbridge.compile.subnet import subnet_view
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Claim, Hold, Item, Row
from ovnbridge.engine.world import Index
from ovnbridge.ipam import AddressRequest
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP
from ovnbridge.model.kube import Pod, StatefulSet, VirtualMachine, VirtualMachineInstance
from ovnbridge.model.names import OVN_PROVIDER, annotation, port_name
from ovnbridge.model.ovn import VENDOR, Ref

STATEFUL_SET: Final = "StatefulSet"
VIRTUAL_MACHINE: Final = "VirtualMachine"
_INSTANCE: Final = "VirtualMachineInstance"
_ORDINAL: Final = re.compile(r"(.+)-(\d+)")


def alive(pod: Pod) -> bool:
    """Whether a pod still needs its network (spec C.9, "Alive test"). One whose grace is over is not in the World any
    more (`reactor/overdue.py`)."""
    if pod.status.phase == "Succeeded":
        return pod.spec.restart_policy == "Always"
    if pod.status.phase == "Failed":
        return pod.spec.restart_policy != "Never" and pod.status.reason != "Evicted"
    return True


def virtual_machine(pod: Pod) -> str:
    """The virtual machine that a pod runs, or ""."""
    for owner in pod.metadata.owner_references or ():
        if owner.kind == _INSTANCE and owner.api_version.startswith("kubevirt.io/"):
            return owner.name
    return ""


def ordinal(pod: Pod) -> int | None:
    """A StatefulSet pod's number, None for other pods."""
    for owner in pod.metadata.owner_references or ():
        if owner.kind == STATEFUL_SET and owner.api_version.startswith("apps/"):
            found = _ORDINAL.fullmatch(pod.metadata.name)
            return int(found[2]) if found else None
    return None


def holder(reader: Reader, pod: Pod) -> tuple[str, str]:
    """(name, podType) under which a pod holds its addresses: a virtual machine's name with `--keep-vm-ip`."""
    machine = virtual_machine(pod)
    if machine and options(reader).keep_vm_ip:
        return machine, VIRTUAL_MACHINE
    return pod.metadata.name, STATEFUL_SET if ordinal(pod) is not None else ""


def serving_pod(reader: Reader, machine: str) -> str:
    """Of a virtual machine's pods that are alive the eldest, by `namespace/name`; "" when there is none (memoised
    question). During a migration there are two."""
    found = []
    for key in reader.by("pod-vm", machine):
        pod = reader.get("Pod", key)
        if isinstance(pod, Pod) and alive(pod):
            found.append((pod.metadata.creation_timestamp, key))
    return min(found)[1] if found else ""


def keeps_address(reader: Reader, owner: str) -> bool:
    """Whether a lease stays when its pod is gone (memoised question)."""
    lease = lease_of(reader, owner)
    if lease is None:
        return False
    if lease.spec.pod_type == STATEFUL_SET:
        return _set_keeps(reader, owner, lease)
    if lease.spec.pod_type == VIRTUAL_MACHINE:
        return options(reader).keep_vm_ip and _machine_keeps(reader, f"{lease.spec.namespace}/{lease.spec.pod_name}")
    return False


def _set_keeps(reader: Reader, owner: str, lease: IP) -> bool:
    spec = lease.spec
    found = _ORDINAL.fullmatch(spec.pod_name)
    if unknown(reader, STATEFUL_SET):
        return True
    owning = reader.get(STATEFUL_SET, f"{spec.namespace}/{found[1]}") if found else None
    if found is None or not isinstance(owning, StatefulSet) or owning.metadata.deleting:
        return False
    start = owning.spec.ordinals.start if owning.spec.ordinals is not None else 0
    if int(found[2]) >= start + owning.spec.replicas:
        return False
    provider = _provider(owner, lease)
    notes = owning.spec.template.metadata.all_annotations()
    wanted = notes.get(annotation("logical_switch", provider), "")
    if wanted:
        if wanted != spec.subnet:
            return False
    elif provider == OVN_PROVIDER and not _allowed(reader, spec.namespace, spec.subnet, notes):
        return False
    view = reader.query(subnet_view, spec.subnet)
    if view is None or not view.cidr_block:
        return True
    return all(address.contains(view.cidr_block, text) for text in (spec.v4_ip_address, spec.v6_ip_address) if text)


def _allowed(reader: Reader, namespace: str, subnet: str, notes: Mapping[str, str]) -> bool:
    """Whether a namespace's pods may still be in a subnet: by the namespace, or by the pool that the template names."""
    named = notes.get(annotation("ip_pool"), "")
    pool = reader.query(pool_facts, named) if named and address.host_family(named) is None else None
    return (pool is not None and pool.subnet == subnet) or subnet in reader.query(namespace_subnets, namespace)


def _machine_keeps(reader: Reader, key: str) -> bool:
    machine = reader.get(VIRTUAL_MACHINE, key)
    if isinstance(machine, VirtualMachine):
        return not machine.metadata.deleting
    if unknown(reader, VIRTUAL_MACHINE) or unknown(reader, _INSTANCE):
        return True
    instance = reader.get(_INSTANCE, key)
    if not isinstance(instance, VirtualMachineInstance) or instance.metadata.deleting:
        return False
    return not any(o.kind == VIRTUAL_MACHINE for o in instance.metadata.owner_references or ())


def _sticky(reader: Reader, owner: str) -> Iterator[Item]:
    lease = lease_of(reader, owner)
    if lease is None or lease.metadata.deleting or not reader.query(keeps_address, owner):
        return
    spec, pods = lease.spec, _pods(reader, lease)
    if pods and not any(_attached(reader, pod, _provider(owner, lease)) for pod in pods):
        return  # unplugged (spec B.2): neither the pod nor the next one has this network
    yield Claim(
        owner,
        AddressRequest(
            subnets=(spec.subnet,), keep=True, pod=spec.pod_name, namespace=spec.namespace, pod_type=spec.pod_type
        ),
    )
    if pods:
        return  # the pod says what its port is like
    view = reader.query(subnet_view, spec.subnet)
    if view is None or (view.is_ovn and reader.get("Vpc", view.vpc) is None):
        yield Hold(spec.subnet)
    elif view.is_ovn:
        ids = {"vendor": VENDOR, "ls": view.name, "pod": f"{spec.namespace}/{spec.pod_name}"}
        yield Row(
            "Logical_Switch_Port",
            owner,
            {"name": owner, "addresses": address_columns(lease), "external_ids": ids},
            parent=Ref("Logical_Switch", view.name),
            initial=("addresses", "external_ids"),  # of a pod that was: `unknown`, security groups, further addresses
        )


def _pods(reader: Reader, lease: IP) -> list[Pod]:
    """The pods that live with a lease: of a machine that migrates there are two."""
    key = f"{lease.spec.namespace}/{lease.spec.pod_name}"
    keys = reader.by("pod-vm", key) if lease.spec.pod_type == VIRTUAL_MACHINE else (key,)
    found = (reader.get("Pod", name) for name in keys)
    return [pod for pod in found if isinstance(pod, Pod) and alive(pod)]


def _attached(reader: Reader, pod: Pod, provider: str) -> bool:
    """Whether a pod is attached to a network, as far as its networks can be told."""
    nets, problems = pod_nets(reader, pod)
    return bool(problems) or any(net.provider == provider for net in nets)


def _provider(owner: str, lease: IP) -> str:
    """The network that a lease is of, by its name."""
    return owner.removeprefix(port_name(lease.spec.pod_name, lease.spec.namespace)).removeprefix(".") or OVN_PROVIDER


def _by_machine(pod: Pod) -> tuple[str, ...]:
    machine = virtual_machine(pod)
    return (f"{pod.metadata.namespace}/{machine}",) if machine else ()


INDEXES = (Index("pod-vm", "Pod", _by_machine),)
UNITS = (Unit("sticky", STICKY, _sticky),)

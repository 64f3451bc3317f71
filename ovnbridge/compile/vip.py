"""Vip → an address without a pod, its port, and the pods that may use it (spec A.6, C.8, D.13)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from ovnbridge.compile.lease import GRANT, lease_of, vip_lease, vip_owner, vip_subnet
from ovnbridge.compile.options import ROUTER_MAC
from ovnbridge.compile.subnet import SubnetView, subnet_view
from ovnbridge.compile.workload import alive, holder
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Claim, Event, Finalizer, Hold, Item, Labels, Row, Spec, Status, presentable
from ovnbridge.engine.world import Index
from ovnbridge.ipam import AddressRequest, Lease, Refusal
from ovnbridge.model import address
from ovnbridge.model.crd.address import Vip, VipStatus
from ovnbridge.model.crd.base import Condition
from ovnbridge.model.kube import Pod
from ovnbridge.model.names import (
    FINALIZER,
    LABEL_IP_RESERVED,
    LABEL_SUBNET,
    annotation,
    label_value,
    port_name,
    router_port_name,
)
from ovnbridge.model.ovn import VENDOR, Ref, Value

SWITCH_LB: Final = "switch_lb_vip"
HOST_VM: Final = "kube_host_vm_vip"
_FAILED: Final = "AcquireAddressFailed"


def vip_of(reader: Reader, name: str) -> Vip | None:
    """A Vip by name."""
    found = reader.get("Vip", name)
    return found if isinstance(found, Vip) else None


def allowed_pairs(reader: Reader, names: str, namespace: str, subnet: str) -> tuple[str, ...]:
    """Addresses of the Vips that a pod's `aaps` annotation names, as far as they are in its namespace and subnet."""
    found: dict[str, None] = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        vip = vip_of(reader, name)
        if vip is None or vip.spec.namespace != namespace or vip_subnet(vip) != subnet:
            continue
        found.update(dict.fromkeys(text for text in (vip.status.v4_ip, vip.status.v6_ip) if text))
    return tuple(found)


def _vip(reader: Reader, name: str) -> Iterator[Item]:
    vip = vip_of(reader, name)
    if vip is None:
        return
    lease = vip_lease(vip)
    user = _user(reader, name, vip)
    if vip.metadata.deleting and not user:
        yield Finalizer("Vip", name, FINALIZER, present=False)
        return
    yield Finalizer("Vip", name, FINALIZER)
    subnet = vip_subnet(vip)
    if lease is None and _awaits_router(reader, vip, subnet):
        return
    problem = _problem(reader, vip, subnet, lease)
    owner = vip_owner(name)
    if lease is not None or not problem:
        yield Claim(owner, _request(reader, name, vip, subnet, lease))
    refusal = reader.get("Refusal", owner)
    if lease is None and not problem and isinstance(refusal, Refusal):
        problem = f"{refusal.reason}: {refusal.message}"
    if problem:
        yield Event("Vip", name, "Warning", _FAILED, problem)
        if lease is None:
            failed = Condition(type="Ready", status="False", reason=_FAILED, message=presentable(problem))
            yield Status("Vip", name, VipStatus(conditions=(failed,), type=vip.spec.type), after_commit=False)
    granted = lease or reader.get(GRANT, owner)
    if not isinstance(granted, Lease):
        return
    granted = msgspec.structs.replace(granted, mac=_router_mac(reader, vip, granted.subnet) or granted.mac)
    yield from _written(name, vip, granted, user)
    if lease is None:
        return
    view = reader.query(subnet_view, lease.subnet)
    if view is None or (view.is_ovn and reader.get("Vpc", view.vpc) is None):
        yield Hold(lease.subnet)
    elif view.is_ovn:
        yield from _port(reader, name, vip, lease, view)


def _problem(reader: Reader, vip: Vip, subnet: str, lease: Lease | None) -> str:
    """What is wrong with a Vip (spec F.5), or ""."""
    spec = vip.spec
    if lease is not None:
        for field, given, held in (
            ("subnet", spec.subnet, lease.subnet),
            ("v4ip", spec.v4_ip, lease.v4),
            ("v6ip", spec.v6_ip, lease.v6),
            # A load balancer's address answers with its router's MAC, whatever that becomes.
            ("macAddress", "" if spec.type == SWITCH_LB else spec.mac_address.lower(), lease.mac.lower()),
        ):
            if given and given != held:
                return f"{field} cannot be changed from {held or 'nothing'} to {given}: the address is assigned"
        return ""
    if not subnet:
        return "subnet is required"
    view = reader.query(subnet_view, subnet)
    if view is None:
        return f"subnet {subnet} does not exist or is not valid"
    if not view.cidr_block:
        return f"subnet {subnet} manages no addresses"
    for field, text, version in (("v4ip", spec.v4_ip, 4), ("v6ip", spec.v6_ip, 6)):
        if not text:
            continue
        if address.host_family(text) != version:
            return f"{field} {text!r} is not an IPv{version} address"
        if text != text.lower():
            return f"{field} {text} must be in lower case"
        if not address.contains(view.cidr_block, text):
            return f"{field} {text} is not in subnet {subnet} {view.cidr_block}"
    if spec.mac_address and not address.valid_mac(spec.mac_address):
        return f"macAddress {spec.mac_address!r} is not a MAC address"
    return ""


def _request(reader: Reader, name: str, vip: Vip, subnet: str, lease: Lease | None) -> AddressRequest:
    static = address.join(vip.spec.v4_ip, vip.spec.v6_ip)
    router = bool(_router_mac(reader, vip, subnet))
    return AddressRequest(
        subnets=(subnet,),
        addresses=(static,) if static and lease is None else (),
        mac="" if router or lease is not None else vip.spec.mac_address,
        want_mac=not router,
        grant=True,
        keep=lease is not None,
        pod=name,
        namespace=vip.spec.namespace,
    )


def _router_mac(reader: Reader, vip: Vip, subnet: str) -> str:
    """The MAC that a load balancer's address answers with: the router port's (spec D.13). "" for other types."""
    view = reader.query(subnet_view, subnet)
    if vip.spec.type != SWITCH_LB or view is None:
        return ""
    port = router_port_name(view.vpc, view.name)
    if view.u2o_mac:
        return view.u2o_mac
    known = reader.get(ROUTER_MAC, port)
    if isinstance(known, str):
        return known
    return address.derived_mac("router-port", port) if view.is_ovn and view.needs_router else ""


def _awaits_router(reader: Reader, vip: Vip, subnet: str) -> bool:
    """Whether the router whose MAC a load balancer's address answers with is still to come: it is drawn with the
    router's address in an interconnected underlay."""
    view = reader.query(subnet_view, subnet)
    return vip.spec.type == SWITCH_LB and view is not None and view.u2o and not view.u2o_mac


def _user(reader: Reader, name: str, vip: Vip) -> str:
    """The owner of the lease that has taken the Vip's address over (annotation `vip`), or "".

    Who has it keeps it, also while a StatefulSet's pod is not there; otherwise the eldest pod that asks for it.
    """
    present = vip.metadata.label(LABEL_IP_RESERVED)
    held = lease_of(reader, present) if present else None
    if held is not None and (held.spec.v4_ip_address, held.spec.v6_ip_address) == (vip.status.v4_ip, vip.status.v6_ip):
        return present
    users: dict[str, tuple[str, str]] = {}
    for key in reader.by("pod-vip", name):
        pod = reader.get("Pod", key)
        if isinstance(pod, Pod) and alive(pod) and not pod.spec.host_network and _may_take(pod, vip):
            own, _ = holder(reader, pod)
            users[port_name(own, pod.metadata.namespace)] = (pod.metadata.creation_timestamp, key)
    if present in users or not users:
        return present if present in users else ""
    return "" if vip.metadata.deleting else min(users, key=lambda owner: users[owner])


def _may_take(pod: Pod, vip: Vip) -> bool:
    """Whether a pod has no address yet, or the Vip's: one that runs with another does not change it any more."""
    runs = pod.metadata.annotation(annotation("allocated")) == "true"
    return not runs or pod.metadata.annotation(annotation("ip_address")) == address.join(
        vip.status.v4_ip, vip.status.v6_ip
    )


def _written(name: str, vip: Vip, lease: Lease, user: str) -> Iterator[Item]:
    """What the object says of its address; the status goes last and makes it true."""
    values = {"v4ip": lease.v4, "v6ip": lease.v6, "macAddress": lease.mac}
    given = {"v4ip": vip.spec.v4_ip, "v6ip": vip.spec.v6_ip, "macAddress": vip.spec.mac_address}
    missing = {field: value for field, value in values.items() if value and not given[field]}
    if missing:
        yield Spec("Vip", name, missing)
    yield Labels("Vip", name, {LABEL_SUBNET: label_value(lease.subnet), LABEL_IP_RESERVED: user})
    # A status with an address but without selector is of a writer that does not say it: taken over as it is.
    silent = vip_lease(vip) is not None and not vip.status.selector
    selector = () if silent else vip.spec.selector
    status = VipStatus(type=vip.spec.type, v4_ip=lease.v4, v6_ip=lease.v6, mac=lease.mac, selector=selector)
    yield Status("Vip", name, status, after_commit=False)


def _port(reader: Reader, name: str, vip: Vip, lease: Lease, view: SubnetView) -> Iterator[Item]:
    switch = Ref("Logical_Switch", view.name)
    ids = {"vendor": VENDOR, "ls": view.name}
    mac = _router_mac(reader, vip, view.name) or lease.mac
    addresses = " ".join(part for part in (mac, lease.v4, lease.v6) if part)
    if vip.spec.type in (SWITCH_LB, HOST_VM):
        port = port_name(name, vip.spec.namespace, view.provider)
        columns: dict[str, Value] = {"name": port, "addresses": frozenset({addresses}), "external_ids": ids}
        if vip.spec.type == SWITCH_LB:
            columns["options"] = {"arp_proxy": "true"}
        yield Row("Logical_Switch_Port", port, columns, parent=switch)
    elif vip.spec.namespace:
        virtual = {"virtual-ip": address.join(lease.v4, lease.v6)}
        parents = ",".join(_parents(reader, name, vip, lease.subnet))
        if parents:
            virtual["virtual-parents"] = parents
        yield Row(
            "Logical_Switch_Port",
            name,
            {"name": name, "type": "virtual", "options": virtual, "external_ids": ids},
            parent=switch,
        )


def _parents(reader: Reader, name: str, vip: Vip, subnet: str) -> Iterator[str]:
    """Ports of the pods that may take the address: in the Vip's namespace, selected, and naming it in `aaps`."""
    wanted = dict(entry.replace(" ", "").partition(":")[::2] for entry in vip.spec.selector)
    for key in reader.by("pod-aaps", f"{vip.spec.namespace}/{name}"):
        pod = reader.get("Pod", key)
        if not isinstance(pod, Pod) or not alive(pod) or pod.spec.host_network:
            continue
        labels = pod.metadata.all_labels()
        if any(labels.get(label) != value for label, value in wanted.items()):
            continue
        own, _ = holder(reader, pod)
        yield from _ports(pod, own, subnet)


def _ports(pod: Pod, own: str, subnet: str) -> Iterator[str]:
    """A pod's ports in a subnet, as its annotations tell."""
    suffix = annotation("logical_switch", "")
    notes = pod.metadata.all_annotations()
    for key in sorted(notes):
        if key.endswith(suffix) and notes[key] == subnet:
            provider = key.removesuffix(suffix)
            if notes.get(annotation("allocated", provider)) == "true":
                yield port_name(own, pod.metadata.namespace, provider)


def _by_vip(pod: Pod) -> tuple[str, ...]:
    name = pod.metadata.annotation(annotation("vip"))
    return (name,) if name else ()


def _by_pair(pod: Pod) -> tuple[str, ...]:
    names = pod.metadata.annotation(annotation("aaps"))
    return tuple(f"{pod.metadata.namespace}/{part.strip()}" for part in names.split(",") if part.strip())


def _by_subnet(vip: Vip) -> tuple[str, ...]:
    return (vip_subnet(vip),) if vip_lease(vip) is not None else ()


def _by_address(vip: Vip) -> tuple[str, ...]:
    return tuple(f"{vip_subnet(vip)}|{text}" for text in (vip.status.v4_ip, vip.status.v6_ip) if text)


INDEXES = (
    Index("vip-subnet", "Vip", _by_subnet),
    Index("vip-address", "Vip", _by_address),
    Index("pod-vip", "Pod", _by_vip),
    Index("pod-aaps", "Pod", _by_pair),
)
UNITS = (Unit("vip", "Vip", _vip),)

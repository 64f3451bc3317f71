"""IP objects that people make or edit: addresses reserved for pods to come, fields that do not change (spec C.10)."""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.compile.lease import EDITED, GRANT, RESERVATION, of_pod
from ovnbridge.compile.request import mac_problem, skipped
from ovnbridge.compile.subnet import subnet_view
from ovnbridge.compile.workload import STATEFUL_SET, VIRTUAL_MACHINE
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Claim, Event, Item, Labels, Spec
from ovnbridge.ipam import AddressRequest, Lease, Refusal
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP, IPSpec
from ovnbridge.model.names import LABEL_IP_RESERVED, LABEL_SUBNET, LONGEST_LABEL, label_value, port_name


def reservation_problem(reader: Reader, owner: str) -> str:
    """Why an IP object made by hand cannot be answered, "" when it can, or is none."""
    ip = reader.get("IP", owner)
    if not isinstance(ip, IP) or ip.metadata.deleting or reader.get(RESERVATION, owner) is None:
        return ""
    spec = ip.spec
    if not of_pod(ip):
        name = port_name(spec.pod_name or "POD", spec.namespace)
        return f"an IP object that reserves an address has the name of the port, as {name}"
    if not spec.subnet:
        return "spec.subnet is required"
    for field, text, version in (("v4IpAddress", spec.v4_ip_address, 4), ("v6IpAddress", spec.v6_ip_address, 6)):
        if text and address.host_family(text) != version:
            return f"spec.{field}: {text!r} is not an IPv{version} address"
    if spec.mac_address and not address.valid_mac(spec.mac_address):
        return f"spec.macAddress: {spec.mac_address!r} is not a MAC address"
    if spec.pod_type not in ("", STATEFUL_SET, VIRTUAL_MACHINE):
        return f"spec.podType: {spec.pod_type!r} is none of {STATEFUL_SET}, {VIRTUAL_MACHINE} and empty"
    return mac_problem(reader, (spec.subnet,), spec.mac_address)


def _reservation(reader: Reader, owner: str) -> Iterator[Item]:
    ip = reader.get("IP", owner)
    if not isinstance(ip, IP) or ip.metadata.deleting or reader.get(RESERVATION, owner) is None:
        return
    problem = reservation_problem(reader, owner)
    if problem:
        yield Event("IP", owner, "Warning", "AcquireAddressFailed", problem)
        return
    spec = ip.spec
    view = reader.query(subnet_view, spec.subnet)
    static = address.join(spec.v4_ip_address, spec.v6_ip_address)
    yield Claim(
        owner,
        AddressRequest(
            subnets=(spec.subnet,),
            addresses=(static,) if static else (),
            mac=spec.mac_address if view is None or view.is_ovn else "",
            want_mac=view is None or view.is_ovn,
            skip=skipped(reader, (spec.subnet,)),
            grant=True,
            pod=spec.pod_name,
            namespace=spec.namespace,
            pod_type=spec.pod_type,
        ),
    )
    refusal, granted = reader.get("Refusal", owner), reader.get(GRANT, owner)
    if isinstance(granted, Lease):
        yield from _filled(ip, granted)
    elif isinstance(refusal, Refusal):
        yield Event("IP", owner, "Warning", "AcquireAddressFailed", f"{refusal.reason}: {refusal.message}")


def _filled(ip: IP, lease: Lease) -> Iterator[Item]:
    """The object with its addresses, marked as reserved (unless it says that it is not) in the same write."""
    owner = ip.metadata.name
    mark = ip.metadata.label(LABEL_IP_RESERVED) or "true"
    labels: dict[str, str | None] = {LABEL_SUBNET: label_value(lease.subnet), LABEL_IP_RESERVED: mark}
    if len(lease.subnet) <= LONGEST_LABEL:
        labels[lease.subnet] = ""
    yield Labels("IP", owner, labels)
    yield Spec("IP", owner, {name: value for name, value in _fields(lease).items() if value})


def _amended(reader: Reader, owner: str) -> Iterator[Item]:
    """A lease whose addresses are exchanged in place, as its subnet is another than it was."""
    ip, granted = reader.get("IP", owner), reader.get(GRANT, owner)
    if not isinstance(ip, IP) or ip.metadata.deleting or reader.get(RESERVATION, owner) is not None:
        return
    if isinstance(granted, Lease):
        yield Spec("IP", owner, _fields(granted))


def _fields(lease: Lease) -> dict[str, str]:
    """What the spec of an IP object says of a lease."""
    return {
        "ipAddress": address.join(lease.v4, lease.v6),
        "v4IpAddress": lease.v4,
        "v6IpAddress": lease.v6,
        "macAddress": lease.mac,
    }


def _edited(reader: Reader, owner: str) -> Iterator[Item]:
    """An IP object whose addresses somebody has changed is written as it was."""
    ip, before = reader.get("IP", owner), reader.get(EDITED, owner)
    if not isinstance(ip, IP) or not isinstance(before, IPSpec) or ip.metadata.deleting:
        return
    yield Spec(
        "IP",
        owner,
        {
            "subnet": before.subnet,
            "podName": before.pod_name,
            "podType": before.pod_type,
            "ipAddress": before.ip_address,
            "v4IpAddress": before.v4_ip_address,
            "v6IpAddress": before.v6_ip_address,
            "macAddress": before.mac_address,
        },
    )
    message = f"the addresses of {owner} cannot be changed; they stay {before.ip_address} {before.mac_address}"
    yield Event("IP", owner, "Warning", "ImmutableFieldChanged", message)


UNITS = (
    Unit("ip-reservation", RESERVATION, _reservation),
    Unit("ip-edited", EDITED, _edited),
    Unit("ip-amended", GRANT, _amended),
)

"""IP objects that people make or edit: addresses reserved for pods to come, fields that do not change (spec C.10)."""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.compile.lease import EDITED, GRANT, RESERVATION, addressed
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Claim, Event, Item, Labels, Spec
from ovnbridge.ipam import AddressRequest, Lease, Refusal
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP, IPSpec
from ovnbridge.model.names import LABEL_IP_RESERVED, LABEL_SUBNET, LONGEST_LABEL, label_value


def _reservation(reader: Reader, owner: str) -> Iterator[Item]:
    ip = reader.get("IP", owner)
    if not isinstance(ip, IP) or ip.metadata.deleting or reader.get(RESERVATION, owner) is None:
        return
    spec = ip.spec
    if addressed(ip) and ip.metadata.label(LABEL_IP_RESERVED):
        return
    if addressed(ip):
        given = Lease(spec.subnet, spec.v4_ip_address, spec.v6_ip_address, spec.mac_address)
        yield from _filled(owner, ip, given)
        return
    yield Claim(
        owner,
        AddressRequest(
            subnets=(spec.subnet,),
            mac=spec.mac_address if address.valid_mac(spec.mac_address) else "",
            grant=True,
            pod=spec.pod_name,
            namespace=spec.namespace,
            pod_type=spec.pod_type,
        ),
    )
    refusal, granted = reader.get("Refusal", owner), reader.get(GRANT, owner)
    if isinstance(granted, Lease):
        yield from _filled(owner, ip, granted)
    elif isinstance(refusal, Refusal):
        yield Event("IP", owner, "Warning", "AcquireAddressFailed", f"{refusal.reason}: {refusal.message}")


def _filled(owner: str, ip: IP, lease: Lease) -> Iterator[Item]:
    """The object with its addresses, marked as reserved in the same write."""
    labels: dict[str, str | None] = {LABEL_SUBNET: label_value(lease.subnet), LABEL_IP_RESERVED: "true"}
    if len(lease.subnet) <= LONGEST_LABEL:
        labels[lease.subnet] = ""
    yield Labels("IP", owner, labels)
    yield Spec("IP", owner, {name: value for name, value in _fields(lease).items() if value})


def _amended(reader: Reader, owner: str) -> Iterator[Item]:
    """A lease whose addresses are exchanged in place, as its subnet is another than it was."""
    ip, granted = reader.get("IP", owner), reader.get(GRANT, owner)
    if isinstance(ip, IP) and addressed(ip) and not ip.metadata.deleting and isinstance(granted, Lease):
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

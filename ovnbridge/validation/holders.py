"""Who holds an address: the question behind every "taken" (spec F.3, F.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ovnbridge.engine.engine import Reader
from ovnbridge.engine.world import Index
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP, Vip


def _texts(*addresses: str) -> Iterator[str]:
    for text in addresses:
        if address.host_family(text) is not None:
            yield address.canonical(text)


def _by_lease(ip: IP) -> Iterable[str]:
    return () if ip.metadata.deleting else [f"{ip.spec.subnet} {a}" for a in _texts(*_of(ip))]


def _of(ip: IP) -> tuple[str, ...]:
    return ip.spec.v4_ip_address, ip.spec.v6_ip_address


def _by_vip(vip: Vip) -> Iterable[str]:
    held = {*_texts(vip.spec.v4_ip, vip.spec.v6_ip, vip.status.v4_ip, vip.status.v6_ip)}
    return () if vip.metadata.deleting else [f"{vip.spec.subnet} {a}" for a in sorted(held)]


INDEXES = (Index("admission-lease", "IP", _by_lease), Index("admission-vip", "Vip", _by_vip))


def holder(reader: Reader, subnet: str, text: str, *, own: Iterable[str] = ()) -> str:
    """`ip NAME` or `vip NAME` that holds an address of a subnet, "" when nobody but `own` (the same form) does."""
    entry = f"{subnet} {address.canonical(text)}"
    for kind, index in (("ip", "admission-lease"), ("vip", "admission-vip")):
        for name in reader.by(index, entry):
            if f"{kind} {name}" not in own:
                return f"{kind} {name}"
    return ""


def place_problem(cidr_block: str, gateway: str, text: str) -> str:
    """Why an address cannot be one of this subnet, or "" (spec C.5: out of range, the gateway)."""
    if not address.contains(cidr_block, text):
        return f"{text} is not in cidrBlock {cidr_block}"
    if address.canonical(text) in map(address.canonical, filter(None, address.split(gateway))):
        return f"{text} is the gateway"
    number = address.number_of(text)
    for net in address.networks(cidr_block):
        first, last = address.usable(net)
        if net.version == address.family(text) and not first <= number <= last:
            return f"{text} is the network or broadcast address of {net}"
    return ""

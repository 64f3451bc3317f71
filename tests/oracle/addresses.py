"""Addresses, CIDRs and ranges as the spec has them (H.1, C.2). Ranges are sorted lists of inclusive (first, last)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Range = tuple[int, int]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def family(text: str) -> int:
    """4 or 6, of an address, CIDR or range."""
    return 6 if ":" in text else 4


def parts(text: str) -> list[str]:
    """The entries of a comma list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def of_family(text: str, version: int) -> str:
    """The first entry of a family in a comma list, or nothing."""
    return next((part for part in parts(text) if family(part) == version), "")


def protocol(block: str) -> str:
    """IPv4, IPv6 or Dual."""
    found = {family(part) for part in parts(block)}
    return "Dual" if len(found) == 2 else "IPv6" if 6 in found else "IPv4"


def network(cidr: str) -> Network:
    return ipaddress.ip_network(cidr, strict=False)


def number(address: str) -> int:
    return int(ipaddress.ip_address(address))


def text(value: int, version: int) -> str:
    return str(ipaddress.IPv6Address(value) if version == 6 else ipaddress.IPv4Address(value))


def usable(cidr: str) -> Range:
    """First and last usable address (H.1)."""
    net = network(cidr)
    first, size = int(net.network_address), net.num_addresses
    return (first, first + 1) if size == 2 else (first + 1, first + size - 2)


def count(cidr: str) -> int:
    """Address count (H.1)."""
    size = network(cidr).num_addresses
    return size - 2 if size > 2 else size


def default_gateway(block: str) -> str:
    """First usable address of each CIDR, in the CIDRs' order."""
    return ",".join(text(usable(cidr)[0], family(cidr)) for cidr in parts(block))


def expand(entry: str) -> Range:
    """An entry of excludeIps or of a pool: `ip`, `a..b` or a CIDR."""
    if "/" in entry:
        net = network(entry)
        return int(net.network_address), int(net.network_address) + net.num_addresses - 1
    first, _, last = entry.partition("..")
    return number(first), number(last or first)


def merge(ranges: Iterable[Range]) -> list[Range]:
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def clip(ranges: Iterable[Range], to: Range) -> list[Range]:
    return merge((max(a, to[0]), min(b, to[1])) for a, b in ranges if a <= to[1] and b >= to[0])


def minus(ranges: Iterable[Range], gone: Iterable[Range]) -> list[Range]:
    left = merge(ranges)
    for first, last in gone:
        left = [
            (a, b)
            for start, end in left
            for a, b in ((start, min(end, first - 1)), (max(start, last + 1), end))
            if a <= b
        ]
    return left


def size(ranges: Iterable[Range]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def holds(ranges: Iterable[Range], value: int) -> bool:
    return any(first <= value <= last for first, last in ranges)


def excluded(entries: Iterable[str], cidr: str) -> list[Range]:
    """What excludeIps take from a CIDR (C.2)."""
    return clip((expand(e) for e in entries if family(e) == family(cidr)), usable(cidr))


def range_text(ranges: Iterable[Range], version: int) -> str:
    """`a-b,c`, as in statuses (C.1)."""
    return ",".join(text(a, version) if a == b else f"{text(a, version)}-{text(b, version)}" for a, b in merge(ranges))


def blocks(ranges: Iterable[Range], version: int) -> list[str]:
    """The CIDRs that make up ranges; single addresses without a mask (parity 06: address set of an IPPool)."""
    kind = ipaddress.IPv6Address if version == 6 else ipaddress.IPv4Address
    found = []
    for first, last in merge(ranges):
        nets = ipaddress.summarize_address_range(kind(first), kind(last))  # type: ignore[arg-type, type-var]
        found += [str(net.network_address) if net.num_addresses == 1 else str(net) for net in nets]
    return found

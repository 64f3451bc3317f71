"""Addresses as Kube-OVN writes them: families, comma pairs, CIDR arithmetic, exclude ranges (spec H.1, C.2).

Strings in, strings or integers out; every helper says what it does with what it cannot parse.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal, TypeAlias

IPV4: Final = "IPv4"
IPV6: Final = "IPv6"
DUAL: Final = "Dual"
MAC_ONLY: Final = "Mac"

Family: TypeAlias = Literal[4, 6]
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

SPECIAL: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "255.255.255.255/32",
        "224.0.0.0/4",
        "127.0.0.0/8",
        "0.0.0.0/8",
        "169.254.0.0/16",
        "::/128",
        "::1/128",
        "ff00::/8",
        "fe80::/10",
    )
)
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_OCTETS: Final = {str(number): number for number in range(256)}


@lru_cache(maxsize=1024)  # several questions about one address follow each other
def _ipv4(text: str) -> int | None:
    """An IPv4 address as an integer, None for everything else; `ipaddress` takes ten times as long."""
    parts = text.split(".")
    if len(parts) != 4:
        return None
    try:
        first, second, third, fourth = [_OCTETS[part] for part in parts]
    except KeyError:
        return None
    return first << 24 | second << 16 | third << 8 | fourth


def family(text: str) -> Family | None:
    """4 or 6 for one address or CIDR, None when it cannot be parsed. OVN knows no zones (`fe80::1%eth0`)."""
    return 4 if "/" not in text and _ipv4(text) is not None else _other_family(text)


@lru_cache(maxsize=8192)
def _other_family(text: str) -> Family | None:
    try:
        if "/" in text:
            return network(text).version
        return None if "%" in text else ipaddress.ip_address(text).version
    except ValueError:
        return None


def host_family(text: str) -> Family | None:
    """4 or 6 for one address without a mask, None for everything else."""
    if "/" in text:
        return None
    return 4 if _ipv4(text) is not None else _other_family(text)


def protocol(text: str) -> str:
    """`IPv4`, `IPv6`, `Dual` (exactly one of each, in any order) or "" (spec H.1 first row)."""
    families = [family(part) for part in text.split(",")]
    if families == [4]:
        return IPV4
    if families == [6]:
        return IPV6
    return DUAL if families in ([4, 6], [6, 4]) else ""


def split(text: str) -> tuple[str, str]:
    """(v4, v6) of a comma pair in any order; "" for an absent family. What cannot be parsed is dropped."""
    v4 = v6 = ""
    for part in (p.strip() for p in text.split(",")):
        version = family(part)
        if version == 4 and not v4:
            v4 = part
        elif version == 6 and not v6:
            v6 = part
    return v4, v6


def join(v4: str, v6: str) -> str:
    """v4 then v6, comma without blank, empty ones left out."""
    return ",".join(part for part in (v4, v6) if part)


@lru_cache(maxsize=8192)
def network(cidr: str) -> Network:
    """The network of a CIDR, host bits cut. Raises ValueError."""
    if "%" in cidr:
        raise ValueError(f"{cidr!r} has a zone")
    return ipaddress.ip_network(cidr, strict=False)


def networks(cidr_block: str) -> tuple[Network, ...]:
    """The networks of a cidrBlock (`v4`, `v6` or `v4,v6`). Raises ValueError."""
    return tuple(network(part.strip()) for part in cidr_block.split(",") if part.strip())


def normalise(cidr_block: str) -> str:
    """cidrBlock with each CIDR reduced to its network form. Raises ValueError."""
    return ",".join(str(n) for n in networks(cidr_block))


def usable(net: Network) -> tuple[int, int]:
    """First and last usable address: /31 and /127 use both, else network+1 .. network+2^n-2 (first > last for /32)."""
    base = int(net.network_address)
    if net.num_addresses == 2:
        return base, base + 1
    return base + 1, base + net.num_addresses - 2


def address_count(net: Network) -> int:
    """2^n, minus 2 when there are at least two host bits."""
    return net.num_addresses - 2 if net.num_addresses >= 4 else net.num_addresses


def text_of(value: int, version: int) -> str:
    """Text form of an address given as an integer."""
    if version == 4 and 0 <= value < 1 << 32:
        return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
    return str(ipaddress.IPv4Address(value) if version == 4 else ipaddress.IPv6Address(value))


def number_of(text: str) -> int:
    """Integer of an address. Raises ValueError."""
    number = _ipv4(text)
    return int(ipaddress.ip_address(text)) if number is None else number


def canonical(text: str) -> str:
    """An address in its shortest lower-case form. Raises ValueError."""
    return text if _ipv4(text) is not None else str(ipaddress.ip_address(text))


def default_gateway(cidr_block: str, given: str = "") -> str:
    """Gateways of a cidrBlock: the given ones, else the first usable address of each CIDR (spec H.1, D.2.0)."""
    nets = networks(cidr_block)
    if not given:
        return ",".join(text_of(usable(n)[0], n.version) for n in nets)
    v4, v6 = split(given)
    if len(nets) < 2 or (v4 and v6) or "," in given or not (v4 or v6):
        return given
    for net in nets:
        first = text_of(usable(net)[0], net.version)
        if net.version == 4 and not v4:
            v4 = first
        elif net.version == 6 and not v6:
            v6 = first
    return join(v4, v6)


def exclude_ranges(items: Iterable[str], net: Network) -> list[tuple[int, int]]:
    """Integer ranges of `excludeIps` entries inside one CIDR (spec C.2); invalid entries are dropped.

    A single address must not be network or broadcast; `a..b` is clipped to the usable range.
    """
    first, last = usable(net)
    ranges: list[tuple[int, int]] = []
    for item in items:
        span = _span(item)
        if span is not None and span[0] == net.version:
            low, high = max(span[1], first), min(span[2], last)
            if low <= high:
                ranges.append((low, high))
    return ranges


def _span(item: str) -> tuple[Family, int, int] | None:
    """Family, first and last of an `ip` or `a..b` entry; None when it is neither, or reversed."""
    low_text, dots, high_text = item.partition("..")
    version = host_family(low_text.strip())
    if version is None or (dots and host_family(high_text.strip()) != version):
        return None
    low = number_of(low_text.strip())
    high = number_of(high_text.strip()) if dots else low
    return (version, low, high) if low <= high else None


def span(item: str) -> tuple[Family, int, int] | None:
    """Family, first and last of an `ip`, `a..b` or CIDR entry of an IPPool; None when it is none of them."""
    if "/" not in item:
        return _span(item)
    version = family(item)
    if version is None:
        return None
    net = network(item)
    return version, int(net.network_address), int(net.broadcast_address)


def exclude_problem(items: Iterable[str]) -> str:
    """What is wrong with `excludeIps` (spec F.1, point 3), or ""."""
    for item in items:
        if _span(item) is None or item != item.lower():
            return f"{item!r} in excludeIps is neither an address nor a range first..last"
    return ""


def normalise_excludes(items: Sequence[str], gateways: Iterable[str]) -> tuple[str, ...]:
    """`excludeIps` as written back: ranges merged, `a..a` collapsed, uncovered gateways appended, sorted as strings."""
    if not items:
        return tuple(sorted(gateways))
    spans: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for item in items:
        span = _span(item)
        if span is not None:
            spans[span[0]].append(span[1:])
    for gateway in gateways:
        version = family(gateway)
        if version is not None:
            value = number_of(gateway)
            if not any(low <= value <= high for low, high in spans[version]):
                spans[version].append((value, value))
    return tuple(sorted(_range_text(low, high, v) for v in (4, 6) for low, high in _merged(spans[v])))


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping and contained ranges merged; adjacent single addresses stay apart, as Kube-OVN leaves them."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if out and low <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return out


def _range_text(low: int, high: int, version: int) -> str:
    return text_of(low, version) if low == high else f"{text_of(low, version)}..{text_of(high, version)}"


def with_mask(addresses: str, cidr_block: str) -> str:
    """Each address with the mask of the CIDR of its own family. Raises ValueError when there is none."""
    prefixes = {n.version: n.prefixlen for n in networks(cidr_block)}
    out = []
    for part in addresses.split(","):
        version = family(part)
        if version is None or version not in prefixes:
            raise ValueError(f"address {part} has no network in {cidr_block}")
        out.append(f"{part}/{prefixes[version]}")
    return ",".join(out)


def contains(cidr_block: str, addresses: str) -> bool:
    """Whether every address lies in the CIDR of its family; an address of a family without CIDR does not."""
    spans = _spans(cidr_block)
    for part in addresses.split(","):
        version = host_family(part)
        if version is None or version not in spans:
            return False
        first, last = spans[version]
        if not first <= number_of(part) <= last:
            return False
    return True


@lru_cache(maxsize=8192)
def _spans(cidr_block: str) -> dict[int, tuple[int, int]]:
    """First and last address of each family's network."""
    return {n.version: (int(n.network_address), int(n.broadcast_address)) for n in networks(cidr_block)}


def overlaps(first: str, second: str) -> bool:
    """Whether any two CIDRs of the same family share an address."""
    return any(a.version == b.version and a.overlaps(b) for a in networks(first) for b in networks(second))


def special_range(cidr_block: str) -> str:
    """The reserved range that a CIDR overlaps (spec H.1 "special ranges refused"), or ""."""
    for net in networks(cidr_block):
        for special in SPECIAL:
            if net.version == special.version and net.overlaps(special):
                return str(special)
    return ""


def valid_mac(text: str) -> bool:
    """Whether this is a colon separated MAC address."""
    return _MAC.fullmatch(text) is not None


def derived_mac(*parts: str) -> str:
    """A locally administered unicast MAC (spec H.1 form) derived from names: stable over restarts, no randomness."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=6).digest()
    first = (digest[0] | 0x02) & 0xFE
    return ":".join(f"{byte:02x}" for byte in (first, *digest[1:]))


def host_port(address: str, port: int | str) -> str:
    """`address:port`, IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

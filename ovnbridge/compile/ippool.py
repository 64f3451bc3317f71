"""IPPool → a named part of a subnet's addresses, its address set and its status (spec A.5, C.6, E.1, H.2)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from ovnbridge.compile.lease import POOL_SCOPE, POOL_USAGE
from ovnbridge.compile.ownership import pool_scope
from ovnbridge.compile.subnet import subnet_view
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Event, Finalizer, Hold, Item, Pool, Row, Status, presentable
from ovnbridge.engine.world import Index
from ovnbridge.ipam import PoolFacts, PoolUsage, RangeSet
from ovnbridge.model import address
from ovnbridge.model.crd.address import IPPool, IPPoolStatus
from ovnbridge.model.crd.base import Condition
from ovnbridge.model.kube import Namespace
from ovnbridge.model.names import FINALIZER, annotation, set_name
from ovnbridge.model.ovn import VENDOR

_SET_NAME: Final = re.compile(r"[a-zA-Z_.][a-zA-Z_.0-9]*")


_Span = tuple[int, int, int]
"""Version, first, last."""


def _own_ranges(entries: Iterable[tuple[str, _Span]], cidr_block: str) -> tuple[_Span, ...]:
    """The pool's entries, merged and ascending. Raises ValueError."""
    sets: dict[int, RangeSet] = {4: RangeSet(), 6: RangeSet()}
    spans: dict[int, tuple[int, int]] = {
        net.version: (int(net.network_address), int(net.broadcast_address)) for net in address.networks(cidr_block)
    }
    for item, (version, low, high) in entries:
        first, last = spans.get(version, (0, -1))
        if not (first <= low and high <= last):
            raise ValueError(f"{item} is not in the subnet's cidrBlock {cidr_block}")
        sets[version].add_range(low, high)
    return tuple((version, low, high) for version, found in sets.items() for low, high in found.ranges())


def _entry(item: str) -> _Span:
    if "/" in item:
        net = address.network(item)
        return net.version, int(net.network_address), int(net.broadcast_address)
    low, dots, high = item.partition("..")
    version = address.host_family(low)
    if version is None or (dots and address.host_family(high) != version):
        raise ValueError(f"{item!r} is neither an address, a range first..last nor a CIDR")
    first, last = address.number_of(low), address.number_of(high if dots else low)
    if first > last:
        raise ValueError(f"{item} ends before it begins")
    return version, first, last


def _parsed(reader: Reader, name: str) -> PoolFacts | str | None:
    """The pool by itself, or what is wrong with it (memoised question)."""
    pool = reader.get("IPPool", name)
    if not isinstance(pool, IPPool):
        return None
    view = reader.query(subnet_view, pool.spec.subnet)
    try:  # what is wrong whatever the subnet is comes first
        entries = [(item, _entry(item.strip())) for item in pool.spec.ips]
        if view is None:
            return f"subnet {pool.spec.subnet!r} does not exist or is not valid"
        if not view.cidr_block:
            return f"subnet {view.name} manages no addresses"
        return PoolFacts(name, view.name, _own_ranges(entries, view.cidr_block))
    except ValueError as error:
        return str(error)


def _checked(reader: Reader, name: str) -> PoolFacts | str | None:
    """The pool as it takes effect, or what is wrong with it: of pools that intersect, the oldest is right (memoised
    question)."""
    mine = reader.query(_parsed, name)
    if not isinstance(mine, PoolFacts):
        return mine
    for other in reader.query(_elder_pools, mine.subnet):
        if other == name:
            return mine
        theirs = reader.query(_checked, other)
        if isinstance(theirs, PoolFacts) and _intersect(mine, theirs):
            return f"addresses are also in ippool {other}"
    return mine


def _elder_pools(reader: Reader, subnet: str) -> tuple[str, ...]:
    """A subnet's pools, the oldest first (memoised question)."""
    found = [(p.metadata.creation_timestamp, n) for n in reader.by("ippool-subnet", subnet) if (p := _get(reader, n))]
    return tuple(name for _, name in sorted(found))


def _get(reader: Reader, name: str) -> IPPool | None:
    found = reader.get("IPPool", name)
    return found if isinstance(found, IPPool) else None


def _intersect(one: PoolFacts, other: PoolFacts) -> bool:
    theirs = {version: RangeSet((lo, hi) for v, lo, hi in other.ranges if v == version) for version in (4, 6)}
    return any(theirs[version] & RangeSet([(low, high)]) for version, low, high in one.ranges)


def pool_facts(reader: Reader, name: str) -> PoolFacts | None:
    """A valid pool, None when absent or invalid (memoised question)."""
    checked = reader.query(_checked, name)
    return checked if isinstance(checked, PoolFacts) else None


def namespace_pools(reader: Reader, namespace: str) -> tuple[str, ...]:
    """Names of the pools that a namespace is bound to (memoised question)."""
    pools = ((name, _get(reader, name)) for name in reader.by("ippool-namespaces", namespace))
    names = tuple(name for name, pool in pools if pool is not None and not pool.metadata.deleting)
    found = reader.get("Namespace", namespace) if len(names) > 1 else None
    written = found.metadata.annotation(annotation("ip_pool")) if isinstance(found, Namespace) else ""
    return as_written(names, written)


def as_written(names: tuple[str, ...], text: str) -> tuple[str, ...]:
    """The same names, in the order in which an annotation has them already: the order is anybody's (spec B.5)."""
    written = tuple(text.split(","))
    return written if sorted(written) == sorted(names) else names


def _ippool(reader: Reader, name: str) -> Iterator[Item]:
    pool = _get(reader, name)
    if pool is None:
        return
    if pool.metadata.deleting:
        yield Finalizer("IPPool", name, FINALIZER, present=False)
        return
    yield Finalizer("IPPool", name, FINALIZER)
    checked = reader.query(_checked, name)
    if not isinstance(checked, PoolFacts):
        yield Hold(pool_scope(name))
        yield Event("IPPool", name, "Warning", "UpdateIPAMFailed", str(checked))
        return
    yield Pool(f"{POOL_SCOPE}{name}", checked)
    if not pool.spec.enable_address_set:
        return
    if not _SET_NAME.fullmatch(set_name(name)):
        message = f"{set_name(name)} cannot be the name of an address set"
        yield Event("IPPool", name, "Warning", "UpdateAddressSetFailed", message)
        return
    yield Row(
        "Address_Set",
        set_name(name),
        {
            "name": set_name(name),
            "addresses": frozenset(_cidrs(checked)),
            "external_ids": {"vendor": VENDOR, "ippool": name},
        },
    )


def _cidrs(facts: PoolFacts) -> Iterator[str]:
    """The fewest CIDRs that make up the pool; single addresses without a mask."""
    for version, low, high in facts.ranges:
        make = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
        for net in ipaddress.summarize_address_range(make(low), make(high)):
            yield str(net.network_address) if net.num_addresses == 1 else str(net)


def _status(reader: Reader, name: str) -> Iterator[Item]:
    pool = _get(reader, name)
    if pool is None or pool.metadata.deleting:
        return
    checked = reader.query(_checked, name)
    if not isinstance(checked, PoolFacts):
        message = presentable(str(checked))
        failed = tuple(
            Condition(type=t, status=s, reason="UpdateIPAMFailed", message=message)
            for t, s in (("Ready", "False"), ("Error", "True"))
        )
        yield Status("IPPool", name, msgspec.structs.replace(pool.status, conditions=failed))
        return
    usage = reader.get(POOL_USAGE, name)
    if not isinstance(usage, PoolUsage):
        return
    yield Status(
        "IPPool",
        name,
        IPPoolStatus(
            v4_available_ips=usage.v4_available,
            v4_available_ip_range=usage.v4_available_range,
            v4_using_ips=usage.v4_using,
            v4_using_ip_range=usage.v4_using_range,
            v6_available_ips=usage.v6_available,
            v6_available_ip_range=usage.v6_available_range,
            v6_using_ips=usage.v6_using,
            v6_using_ip_range=usage.v6_using_range,
            conditions=(Condition(type="Ready", status="True", reason="UpdateIPAMSucceeded"),),
        ),
    )


def _by_subnet(pool: IPPool) -> tuple[str, ...]:
    return (pool.spec.subnet,)


def _by_namespace(pool: IPPool) -> tuple[str, ...]:
    return pool.spec.namespaces


INDEXES = (
    Index("ippool-subnet", "IPPool", _by_subnet),
    Index("ippool-namespaces", "IPPool", _by_namespace),
)
UNITS = (Unit("ippool", "IPPool", _ippool), Unit("ippool-status", "IPPool", _status))

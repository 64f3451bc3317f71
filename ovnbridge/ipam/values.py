"""What goes into and comes out of the ledger: requests, leases, refusals, facts and figures (spec C.1, C.5, C.8)."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from ovnbridge.model.address import host_family, networks, number_of, split, usable

OUT_OF_RANGE: Final = "AddressOutOfRange"
CONFLICT: Final = "AddressConflict"
NO_ADDRESS: Final = "NoAvailableAddress"
NO_SUBNET: Final = "NoSubnet"
INVALID_FAMILY: Final = "InvalidIPFamily"


class AddressRequest(msgspec.Struct, frozen=True, gc=False):
    """What a claim asks for.

    `subnets`: candidates, in order. `addresses`: candidate static groups, each `ip` or `v4,v6`; empty means the next
    free one. `family`: "", "IPv4" or "IPv6" to ask for one family of a dual-stack subnet. `mac`: "" to have one made,
    or a static one; `want_mac=False` for networks that carry none. `skip`: addresses never taken by chance (node
    addresses). `grant`: the owner's object exists already and is to be filled in. `keep`: the owner runs with its
    lease, which fits whatever else is asked. `runs`: the owner works with `addresses` already, and lost only the
    record. `amend`: the owner's lease follows its subnet and this request: what does not fit is exchanged in
    place, and the rest stays. `pool`: the named pool that the owner asks for; `pools`: those that its namespace is
    bound to, of which any will do; with neither, addresses of named pools are not given. `shares`: an owner whose
    addresses may be taken over (a Vip's). `pod`, `namespace`, `node`, `pod_type` describe the owner on the IP object.
    """

    subnets: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    family: str = ""
    mac: str = ""
    want_mac: bool = True
    skip: frozenset[str] = frozenset()
    grant: bool = False
    keep: bool = False
    runs: bool = False
    amend: bool = False
    pool: str = ""
    pools: tuple[str, ...] = ()
    shares: str = ""
    pod: str = ""
    namespace: str = ""
    node: str = ""
    pod_type: str = ""


class Lease(msgspec.Struct, frozen=True, gc=False):
    """Addresses held by an owner; "" where a family or the MAC is absent."""

    subnet: str
    v4: str = ""
    v6: str = ""
    mac: str = ""


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Why a request cannot be met: one of spec C.5's reasons, and a sentence for the user."""

    reason: str
    message: str
    subnets: tuple[str, ...] = ()


class SubnetFacts(msgspec.Struct, frozen=True, gc=False):
    """What the ledger must know about a subnet; `cidr_block` is empty for MAC-only subnets."""

    name: str
    cidr_block: str
    gateway: str = ""
    exclude_ips: tuple[str, ...] = ()


class PoolFacts(msgspec.Struct, frozen=True, gc=False):
    """What the ledger must know about an IPPool: its subnet and its addresses as (version, first, last)."""

    name: str
    subnet: str
    ranges: tuple[tuple[int, int, int], ...]

    def holds(self, text: str) -> bool:
        """Whether an address is in the pool."""
        version, value = host_family(text), number_of(text)
        return any(v == version and low <= value <= high for v, low, high in self.ranges)


Decision: TypeAlias = Lease | Refusal


class SubnetUsage(msgspec.Struct, frozen=True, gc=False):
    """Addresses in use and available in one subnet, with ranges as text (spec C.1 output form)."""

    using: int
    v4_available: int
    v4_available_range: str
    v4_using_range: str
    v6_available: int
    v6_available_range: str
    v6_using_range: str


class PoolUsage(msgspec.Struct, frozen=True, gc=False):
    """Addresses available and in use in one named pool, with ranges as text (spec C.1 output form)."""

    v4_available: int
    v4_available_range: str
    v4_using: int
    v4_using_range: str
    v6_available: int
    v6_available_range: str
    v6_using: int
    v6_using_range: str


def is_ip_object(owner: str) -> bool:
    """Whether an owner of a lease is an IP object; other kinds' names follow a slash, which no object's name has."""
    return "/" not in owner


def answers(lease: Lease, request: AddressRequest, cidr_block: str | None, pool: PoolFacts | None = None) -> bool:
    """Whether a lease is what the request asks for; `cidr_block` is its subnet's, `pool` the one that is asked for.

    A lease in a subnet that is unknown or invalid at the moment (None) is kept: a bad edit takes no addresses away.
    """
    if lease.subnet not in request.subnets:
        return False
    if cidr_block is None or request.keep or request.amend:
        return True
    if cidr_block and not (lease.v4 or lease.v6):
        return False
    usable_of: dict[int, tuple[int, int]] = {net.version: usable(net) for net in networks(cidr_block)}
    for text in filter(None, (lease.v4, lease.v6)):
        version = host_family(text)
        low, high = usable_of.get(version or 0, (0, -1))
        if version is None or not low <= number_of(text) <= high:
            return False
        if pool is not None and not request.addresses and not pool.holds(text):
            return False  # (a static address may be of any pool)
    if request.addresses and not any(_matches(group, lease) for group in request.addresses):
        return False
    return not request.mac or request.mac.lower() == lease.mac.lower()


def _matches(group: str, lease: Lease) -> bool:
    """Whether every address of a static group is the lease's of that family, however it is written."""
    return all(not text or _same(text, held) for text, held in zip(split(group), (lease.v4, lease.v6)))


def _same(text: str, other: str) -> bool:
    return bool(host_family(text)) and bool(host_family(other)) and number_of(text) == number_of(other)

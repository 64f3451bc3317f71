"""The ledger: who holds which addresses, and the decision who gets which (spec C.3–C.5, C.8).

State is rebuilt from subnets and IP objects; `allocate` is the only decision in the program that is not a function of
the World alone (it depends on the order of requests). The caller writes the lease as an IP object before anything uses
it, so a crash loses nothing: the object either exists or the address is free again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from ovnbridge.ipam.pool import FamilyPool
from ovnbridge.model.address import IPV4, IPV6, derived_mac, family, networks, number_of, split, text_of

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
    addresses). `pod`, `namespace`, `node`, `pod_type` describe the owner on the IP object.
    """

    subnets: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    family: str = ""
    mac: str = ""
    want_mac: bool = True
    skip: frozenset[str] = frozenset()
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


Decision: TypeAlias = Lease | Refusal


class _Subnet:
    def __init__(self, facts: SubnetFacts) -> None:
        self.facts = facts
        self.macs: dict[str, str] = {}
        self.pools: dict[int, FamilyPool] = {}
        self.owners: set[str] = set()
        gateways = {family(g): number_of(g) for g in facts.gateway.split(",") if family(g) is not None}
        for net in networks(facts.cidr_block):
            self.pools[net.version] = FamilyPool(net, gateways.get(net.version), facts.exclude_ips)


class Ledger:
    """All subnets' pools and all leases."""

    def __init__(self) -> None:
        self._subnets: dict[str, _Subnet] = {}
        self._leases: dict[str, Lease] = {}

    # -- following the World ---------------------------------------------------------------------------------------

    def set_subnet(self, name: str, facts: SubnetFacts | None) -> None:
        """Learn a new or changed subnet, or that it is gone. Leases in it keep their addresses (spec C.7)."""
        old = self._subnets.pop(name, None)
        if facts is None:
            return
        if old is not None and old.facts == facts:
            self._subnets[name] = old
            return
        fresh = self._subnets[name] = _Subnet(facts)
        if old is not None:
            fresh.macs, fresh.owners = old.macs, old.owners
            for version, pool in fresh.pools.items():
                if version in old.pools:
                    pool.adopt(old.pools[version])
        else:
            for owner, lease in self._leases.items():
                if lease.subnet == name:
                    self._occupy(fresh, owner, lease)

    def restore(self, owner: str, lease: Lease) -> str | None:
        """Record a lease that exists as an IP object.

        Returns the owner that already holds one of its addresses (the clash is the caller's to report), or None. A
        clashing lease is still remembered, so that its release frees nothing that is not its own.
        """
        old = self._leases.get(owner)
        if old == lease:
            return None
        if old is not None:
            self.release(owner)
        self._leases[owner] = lease
        subnet = self._subnets.get(lease.subnet)
        return self._occupy(subnet, owner, lease) if subnet is not None else None

    def release(self, owner: str) -> Lease | None:
        """Forget a lease and free its addresses. Returns it, or None when there was none."""
        lease = self._leases.pop(owner, None)
        if lease is None:
            return None
        subnet = self._subnets.get(lease.subnet)
        if subnet is not None:
            for text in (lease.v4, lease.v6):
                pool = subnet.pools.get(family(text) or 0)
                if pool is not None:
                    pool.give_back(number_of(text), owner)
            if lease.mac and subnet.macs.get(lease.mac) == owner:
                del subnet.macs[lease.mac]
            subnet.owners.discard(owner)
        return lease

    # -- deciding --------------------------------------------------------------------------------------------------

    def lease(self, owner: str) -> Lease | None:
        """The owner's lease."""
        return self._leases.get(owner)

    def owners(self) -> Iterator[str]:
        """Owners of all leases."""
        return iter(self._leases)

    def fits(self, lease: Lease, request: AddressRequest) -> bool:
        """Whether an existing lease still answers the request (spec C.3: the same address is returned).

        A lease in a subnet that is unknown or invalid at the moment is kept: a bad edit takes no addresses away.
        """
        if lease.subnet not in request.subnets:
            return False
        subnet = self._subnets.get(lease.subnet)
        if subnet is None:
            return True
        for text in (lease.v4, lease.v6):
            pool = subnet.pools.get(family(text) or 0)
            if text and (pool is None or not (pool.inside(number_of(text)) or number_of(text) in pool.reserved)):
                return False
        if request.addresses and not any(_matches(group, lease) for group in request.addresses):
            return False
        return not request.mac or request.mac.lower() == lease.mac.lower()

    def allocate(self, owner: str, request: AddressRequest) -> Decision:
        """Take addresses for `owner`. Nothing is taken when the answer is a Refusal."""
        refusal = Refusal(NO_SUBNET, "no subnet to allocate from", request.subnets)
        for name in request.subnets:
            subnet = self._subnets.get(name)
            if subnet is None:
                refusal = Refusal(NO_SUBNET, f"subnet {name} does not exist or is not valid", request.subnets)
                continue
            for group in request.addresses or ("",):
                decision = self._try(subnet, owner, request, group)
                if isinstance(decision, Lease):
                    self._leases[owner] = decision
                    self._occupy(subnet, owner, decision)
                    return decision
                refusal = decision
        return msgspec.structs.replace(refusal, subnets=request.subnets)

    def _try(self, subnet: _Subnet, owner: str, request: AddressRequest, group: str) -> Decision:
        name = subnet.facts.name
        wanted = {4: IPV4, 6: IPV6}
        versions = [v for v in subnet.pools if not request.family or wanted[v] == request.family]
        if subnet.pools and not versions:
            return Refusal(INVALID_FAMILY, f"subnet {name} has no {request.family} addresses")
        static = dict(zip((4, 6), split(group)))
        if group and not any(static.values()):
            return Refusal(OUT_OF_RANGE, f"{group!r} is not an IP address")
        for version, text in static.items():
            if text and version not in versions:
                return Refusal(OUT_OF_RANGE, f"address {text} is not in subnet {name} {subnet.facts.cidr_block}")
        chosen: dict[int, str] = {}
        for version in versions:
            answer = self._choose(subnet, owner, version, static[version], request)
            if isinstance(answer, Refusal):
                return answer
            chosen[version] = answer
        mac = self._choose_mac(subnet, owner, request)
        if isinstance(mac, Refusal):
            return mac
        return Lease(name, chosen.get(4, ""), chosen.get(6, ""), mac)

    def _choose(self, subnet: _Subnet, owner: str, version: int, static: str, request: AddressRequest) -> str | Refusal:
        pool, name = subnet.pools[version], subnet.facts.name
        if not static:
            value = pool.next(_numbers(request.skip, version))
            if value is None:
                return Refusal(NO_ADDRESS, f"no available IPv{version} address in subnet {name}")
            return text_of(value, version)
        value = number_of(static)
        if not pool.inside(value):
            return Refusal(OUT_OF_RANGE, f"address {static} is not in subnet {name} {subnet.facts.cidr_block}")
        if value == pool.gateway:
            return Refusal(CONFLICT, f"address {static} is the gateway of subnet {name}")
        holder = pool.using.get(value)
        if holder is not None and holder != owner:
            return Refusal(CONFLICT, f"address {static} in subnet {name} is already used by {holder}")
        return text_of(value, version)

    def _choose_mac(self, subnet: _Subnet, owner: str, request: AddressRequest) -> str | Refusal:
        if not request.want_mac:
            return ""
        if request.mac:
            mac = request.mac.lower()
            holder = subnet.macs.get(mac)
            if holder is not None and holder != owner:
                return Refusal(CONFLICT, f"MAC {mac} in subnet {subnet.facts.name} is already used by {holder}")
            return mac
        salt = 0
        while True:
            mac = derived_mac(subnet.facts.name, owner, str(salt))
            if subnet.macs.get(mac, owner) == owner:
                return mac
            salt += 1

    def _occupy(self, subnet: _Subnet, owner: str, lease: Lease) -> str | None:
        clash: str | None = None
        subnet.owners.add(owner)
        for text in (lease.v4, lease.v6):
            pool = subnet.pools.get(family(text) or 0)
            if pool is None:
                continue
            value = number_of(text)
            holder = pool.using.get(value)
            if holder is not None and holder != owner:
                clash = holder
            else:
                pool.take(value, owner)
        if lease.mac:
            subnet.macs.setdefault(lease.mac, owner)
        return clash

    # -- figures ---------------------------------------------------------------------------------------------------

    def usage(self, name: str) -> SubnetUsage | None:
        """Counts and ranges for a subnet's status (spec E.1), or None for an unknown subnet."""
        subnet = self._subnets.get(name)
        if subnet is None:
            return None
        texts: dict[int, tuple[int, str, str]] = {}
        for version, pool in subnet.pools.items():
            texts[version] = (pool.available().count(), pool.available_ranges(), pool.used_ranges())
        empty = (0, "", "")
        v4, v6 = texts.get(4, empty), texts.get(6, empty)
        return SubnetUsage(len(subnet.owners), v4[0], v4[1], v4[2], v6[0], v6[1], v6[2])

    def refused_subnets(self, refusals: Iterable[Refusal]) -> set[str]:
        """Subnets in which a change may turn one of these refusals into a lease."""
        return {name for refusal in refusals for name in refusal.subnets}


class SubnetUsage(msgspec.Struct, frozen=True, gc=False):
    """Addresses in use and available in one subnet, with ranges as text (spec C.1 output form)."""

    using: int
    v4_available: int
    v4_available_range: str
    v4_using_range: str
    v6_available: int
    v6_available_range: str
    v6_using_range: str


@lru_cache(maxsize=64)
def _numbers(addresses: frozenset[str], version: int) -> frozenset[int]:
    """The addresses of one family as integers; the same set of node addresses comes with every request."""
    return frozenset(number_of(text) for text in addresses if family(text) == version)


def _matches(group: str, lease: Lease) -> bool:
    v4, v6 = split(group)
    return (not v4 or v4 == lease.v4) and (not v6 or v6 == lease.v6)

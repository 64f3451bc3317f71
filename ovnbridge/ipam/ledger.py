"""The ledger: who holds which addresses, and the decision who gets which (spec C.3–C.5, C.8).

State is rebuilt from subnets and IP objects; `allocate` is the only decision in the program that is not a function of
the World alone (it depends on the order of requests). The caller writes the lease as an IP object before anything uses
it, so a crash loses nothing: the object either exists or the address is free again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from ovnbridge.ipam.pool import FamilyPool, Holders
from ovnbridge.model.address import IPV4, IPV6, derived_mac, host_family, networks, number_of, split, text_of, usable

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
    addresses). `keep`: the owner runs with its lease, which fits whatever else is asked. `pod`, `namespace`, `node`,
    `pod_type` describe the owner on the IP object.
    """

    subnets: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    family: str = ""
    mac: str = ""
    want_mac: bool = True
    skip: frozenset[str] = frozenset()
    keep: bool = False
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
        self.macs: Holders[str] = Holders()
        self.pools: dict[int, FamilyPool] = {}
        self.excluded: set[str] = set()
        """Owners with an address in excludeIps, which do not count as users (spec E.1)."""
        gateways = {host_family(g): number_of(g) for g in facts.gateway.split(",") if host_family(g) is not None}
        for net in networks(facts.cidr_block):
            self.pools[net.version] = FamilyPool(net, gateways.get(net.version), facts.exclude_ips)

    def addresses(self, lease: Lease) -> Iterator[tuple[FamilyPool, int]]:
        """The lease's addresses, with the pools that they belong to."""
        for text in (lease.v4, lease.v6):
            pool = self.pools.get(host_family(text) or 0)
            if pool is not None:
                yield pool, number_of(text)


class Ledger:
    """All subnets' pools and all leases."""

    def __init__(self) -> None:
        self._subnets: dict[str, _Subnet] = {}
        self._leases: dict[str, Lease] = {}
        self._owners: dict[str, dict[str, None]] = {}
        """Owners by subnet, in the order in which they came; also of subnets that are unknown at present."""

    # -- following the World ---------------------------------------------------------------------------------------

    def set_subnet(self, name: str, facts: SubnetFacts | None) -> None:
        """Learn a new or changed subnet, or that it is gone. Leases in it keep their addresses (spec C.7)."""
        old = self._subnets.get(name)
        if facts is None:
            self._subnets.pop(name, None)
        elif old is None or old.facts != facts:
            subnet = self._subnets[name] = _Subnet(facts)
            for owner in self._owners.get(name, ()):
                self._occupy(subnet, owner, self._leases[owner])

    def restore(self, owner: str, lease: Lease) -> str | None:
        """Record a lease that exists as an IP object.

        Returns the owner that already holds one of its addresses (the clash is the caller's to report), or None. A
        clashing lease is still remembered: its release frees nothing that is not its own, and when the other one goes,
        the address is not free.
        """
        if self._leases.get(owner) == lease:
            return None
        self.release(owner)
        return self._record(owner, lease)

    def release(self, owner: str) -> Lease | None:
        """Forget a lease and free its addresses. Returns it, or None when there was none."""
        lease = self._leases.pop(owner, None)
        if lease is None:
            return None
        owners = self._owners[lease.subnet]
        del owners[owner]
        if not owners:
            del self._owners[lease.subnet]
        subnet = self._subnets.get(lease.subnet)
        if subnet is not None:
            for pool, value in subnet.addresses(lease):
                pool.give_back(value, owner)
            if lease.mac:
                subnet.macs.give_back(lease.mac.lower(), owner)
            subnet.excluded.discard(owner)
        return lease

    def _record(self, owner: str, lease: Lease) -> str | None:
        self._leases[owner] = lease
        self._owners.setdefault(lease.subnet, {})[owner] = None
        subnet = self._subnets.get(lease.subnet)
        return self._occupy(subnet, owner, lease) if subnet is not None else None

    # -- deciding --------------------------------------------------------------------------------------------------

    def lease(self, owner: str) -> Lease | None:
        """The owner's lease."""
        return self._leases.get(owner)

    def owners(self) -> Iterator[str]:
        """Owners of all leases."""
        return iter(self._leases)

    def fits(self, lease: Lease, request: AddressRequest) -> bool:
        """Whether an existing lease still answers the request (spec C.3: the same address is returned)."""
        subnet = self._subnets.get(lease.subnet)
        return answers(lease, request, subnet.facts.cidr_block if subnet is not None else None)

    def allocate(self, owner: str, request: AddressRequest) -> Decision:
        """Take addresses for `owner`. Nothing is taken, and nothing lost, when the answer is a Refusal."""
        held = self._leases.get(owner)
        if held is not None and self.fits(held, request):
            return held
        refusal = Refusal(NO_SUBNET, "no subnet to allocate from", request.subnets)
        for name in request.subnets:
            subnet = self._subnets.get(name)
            if subnet is None:
                refusal = Refusal(NO_SUBNET, f"subnet {name} does not exist or is not valid", request.subnets)
                continue
            for group in request.addresses or ("",):
                decision = self._try(subnet, owner, request, group)
                if isinstance(decision, Lease):
                    self.release(owner)
                    self._record(owner, decision)
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
        if group and not all(host_family(part.strip()) for part in group.split(",")):
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
        if holder not in (None, owner):
            return Refusal(CONFLICT, f"address {static} in subnet {name} is already used by {holder}")
        return text_of(value, version)

    def _choose_mac(self, subnet: _Subnet, owner: str, request: AddressRequest) -> str | Refusal:
        if not request.want_mac:
            return ""
        if request.mac:
            mac = request.mac.lower()
            holder = subnet.macs.get(mac)
            if holder not in (None, owner):
                return Refusal(CONFLICT, f"MAC {mac} in subnet {subnet.facts.name} is already used by {holder}")
            return mac
        salt = 0
        while True:
            mac = derived_mac(subnet.facts.name, owner, str(salt))
            if subnet.macs.get(mac) in (None, owner):
                return mac
            salt += 1

    def _occupy(self, subnet: _Subnet, owner: str, lease: Lease) -> str | None:
        clash: str | None = None
        for pool, value in subnet.addresses(lease):
            clash = pool.take(value, owner) or clash
            if value in pool.reserved:
                subnet.excluded.add(owner)
        if lease.mac:
            subnet.macs.take(lease.mac.lower(), owner)
        return clash

    # -- figures ---------------------------------------------------------------------------------------------------

    def usage(self, name: str) -> SubnetUsage | None:
        """Counts and ranges for a subnet's status (spec E.1), or None for an unknown subnet."""
        subnet = self._subnets.get(name)
        if subnet is None:
            return None
        texts: dict[int, tuple[int, str, str]] = {}
        for version, pool in subnet.pools.items():
            available = pool.available()
            texts[version] = (available.count(), pool.text(available), pool.used_ranges())
        empty = (0, "", "")
        using = len(self._owners.get(name, ())) - len(subnet.excluded)
        return SubnetUsage(using, *texts.get(4, empty), *texts.get(6, empty))


class SubnetUsage(msgspec.Struct, frozen=True, gc=False):
    """Addresses in use and available in one subnet, with ranges as text (spec C.1 output form)."""

    using: int
    v4_available: int
    v4_available_range: str
    v4_using_range: str
    v6_available: int
    v6_available_range: str
    v6_using_range: str


def answers(lease: Lease, request: AddressRequest, cidr_block: str | None) -> bool:
    """Whether a lease is what the request asks for; `cidr_block` is its subnet's.

    A lease in a subnet that is unknown or invalid at the moment (None) is kept: a bad edit takes no addresses away.
    """
    if lease.subnet not in request.subnets:
        return False
    if cidr_block is None or request.keep:
        return True
    usable_of: dict[int, tuple[int, int]] = {net.version: usable(net) for net in networks(cidr_block)}
    for text in filter(None, (lease.v4, lease.v6)):
        low, high = usable_of.get(host_family(text) or 0, (0, -1))
        if not low <= number_of(text) <= high:
            return False
    if request.addresses and not any(_matches(group, lease) for group in request.addresses):
        return False
    return not request.mac or request.mac.lower() == lease.mac.lower()


@lru_cache(maxsize=64)
def _numbers(addresses: frozenset[str], version: int) -> frozenset[int]:
    """The addresses of one family as integers; the same set of node addresses comes with every request."""
    return frozenset(number_of(text) for text in addresses if host_family(text) == version)


def _matches(group: str, lease: Lease) -> bool:
    """Whether every address of a static group is the lease's of that family, however it is written."""
    return all(not text or _same(text, held) for text, held in zip(split(group), (lease.v4, lease.v6)))


def _same(text: str, other: str) -> bool:
    return bool(host_family(text)) and bool(host_family(other)) and number_of(text) == number_of(other)

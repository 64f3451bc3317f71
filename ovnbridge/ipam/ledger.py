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

from ovnbridge.ipam.subnet import Subnet
from ovnbridge.ipam.values import (
    CONFLICT,
    INVALID_FAMILY,
    NO_ADDRESS,
    NO_SUBNET,
    OUT_OF_RANGE,
    AddressRequest,
    Decision,
    Lease,
    PoolFacts,
    PoolUsage,
    Refusal,
    SubnetFacts,
    SubnetUsage,
    answers,
)
from ovnbridge.model.address import IPV4, IPV6, derived_mac, host_family, number_of, split, text_of

_Valid: TypeAlias = tuple[Subnet, SubnetFacts]
_FAMILIES: Final = {4: IPV4, 6: IPV6}


class Ledger:
    """All subnets' pools and all leases."""

    def __init__(self) -> None:
        self._subnets: dict[str, Subnet] = {}
        """By name; also those that only leases or pools know."""
        self._pools: dict[str, PoolFacts] = {}
        self._leases: dict[str, Lease] = {}

    # -- following the World ---------------------------------------------------------------------------------------

    def set_subnet(self, name: str, facts: SubnetFacts | None) -> None:
        """Learn a new or changed subnet, or that it is gone. Leases in it keep their addresses (spec C.7)."""
        self._subnet(name).set_facts(facts)
        self._tidy(name)

    def set_pool(self, name: str, facts: PoolFacts | None) -> None:
        """Learn a new or changed named pool, or that it is gone. Its users keep their addresses (spec C.6)."""
        old = self._pools.pop(name, None)
        if facts is not None:
            self._pools[name] = facts
        for subnet in {f.subnet for f in (old, facts) if f is not None}:
            pools = {n: f for n, f in self._subnet(subnet).named.items() if n != name}
            if facts is not None and facts.subnet == subnet:
                pools[name] = facts
            self._subnet(subnet).set_named(dict(sorted(pools.items())))
            self._tidy(subnet)

    def pool(self, name: str) -> PoolFacts | None:
        """A named pool."""
        return self._pools.get(name)

    def pools_of(self, subnet: str) -> Iterator[str]:
        """Names of a subnet's named pools."""
        found = self._subnets.get(subnet)
        return iter(found.named if found is not None else ())

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
        if lease is not None:
            self._subnets[lease.subnet].leave(owner)
            self._tidy(lease.subnet)
        return lease

    def _record(self, owner: str, lease: Lease) -> str | None:
        self._leases[owner] = lease
        return self._subnet(lease.subnet).occupy(owner, lease)

    def _subnet(self, name: str) -> Subnet:
        found = self._subnets.get(name)
        if found is None:
            found = self._subnets[name] = Subnet()
        return found

    def _valid(self, name: str) -> _Valid | None:
        subnet = self._subnets.get(name)
        return (subnet, subnet.facts) if subnet is not None and subnet.facts is not None else None

    def _tidy(self, name: str) -> None:
        if self._subnets[name].forgotten():
            del self._subnets[name]

    # -- deciding --------------------------------------------------------------------------------------------------

    def lease(self, owner: str) -> Lease | None:
        """The owner's lease."""
        return self._leases.get(owner)

    def owners(self) -> Iterator[str]:
        """Owners of all leases."""
        return iter(self._leases)

    def fits(self, lease: Lease, request: AddressRequest) -> bool:
        """Whether an existing lease still answers the request (spec C.3: the same address is returned)."""
        found = self._valid(lease.subnet)
        cidr_block = found[1].cidr_block if found is not None else None
        return answers(lease, request, cidr_block, self._pools.get(request.pool))

    def allocate(self, owner: str, request: AddressRequest) -> Decision:
        """Take addresses for `owner`. Nothing is taken, and nothing lost, when the answer is a Refusal."""
        held = self._leases.get(owner)
        if held is not None and self.fits(held, request):
            return held
        refusal = self._nothing(request)
        for name, pool in self._places(request):
            found = self._valid(name)
            if found is None:
                refusal = Refusal(NO_SUBNET, f"subnet {name} does not exist or is not valid")
                continue
            for group in request.addresses or ("",):
                decision = self._try(found, owner, request, group, pool)
                if isinstance(decision, Lease):
                    self.release(owner)
                    self._record(owner, decision)
                    return decision
                refusal = decision
        return msgspec.structs.replace(refusal, subnets=request.subnets)

    def amend(self, owner: str, request: AddressRequest) -> Decision | None:
        """Exchange those addresses of a lease that do not fit any more, and add those of families that it lacks.

        None: the lease is what it should be. Nothing is lost when the answer is a Refusal.
        """
        held = self._leases.get(owner)
        found = self._valid(held.subnet) if held is not None else None
        if held is None or found is None or not request.amend or held.subnet not in request.subnets:
            return None
        subnet, facts = found
        kept = {
            version: text
            for version, text in zip(_FAMILIES, (held.v4, held.v6))
            if text and version in subnet.versions and subnet.pool(version).inside(number_of(text))
        }
        strict = msgspec.structs.replace(request, amend=False)
        if len(kept) == len(subnet.versions) and answers(held, strict, facts.cidr_block):
            return None
        static = dict(zip(_FAMILIES, split(request.addresses[0] if request.addresses else "")))
        wanted = ",".join(filter(None, (static[version] or kept.get(version, "") for version in _FAMILIES)))
        decision = self._try(found, owner, msgspec.structs.replace(request, mac=request.mac or held.mac), wanted, "")
        if isinstance(decision, Refusal):
            return msgspec.structs.replace(decision, subnets=request.subnets)
        self.release(owner)
        self._record(owner, decision)
        return decision

    def owners_in(self, subnet: str) -> Iterator[str]:
        """Owners of the leases in a subnet."""
        found = self._subnets.get(subnet)
        return iter(found.leases if found is not None else ())

    def _places(self, request: AddressRequest) -> Iterator[tuple[str, str]]:
        """(subnet, pool) that may answer, in order; static addresses may be of any pool (spec C.5, C.8)."""
        if request.addresses or not (request.pool or request.pools):
            yield from ((name, "") for name in request.subnets)
            return
        for name in (request.pool,) if request.pool else request.pools:
            facts = self._pools.get(name)
            if facts is not None and facts.subnet in request.subnets:
                yield facts.subnet, name

    def _nothing(self, request: AddressRequest) -> Refusal:
        """Why there is no place to look."""
        if not request.subnets:
            return Refusal(NO_SUBNET, "no subnet to allocate from")
        asked = f"ippool {request.pool}" if request.pool else f"any of the ippools {', '.join(request.pools)}"
        return Refusal(NO_ADDRESS, f"subnet {', '.join(request.subnets)} has no addresses of {asked}")

    def _try(self, found: _Valid, owner: str, request: AddressRequest, group: str, named: str) -> Decision:
        subnet, facts = found
        versions = [v for v in subnet.versions if request.family in ("", _FAMILIES[v])]
        if subnet.versions and not versions:
            return Refusal(INVALID_FAMILY, f"subnet {facts.name} has no {request.family} addresses")
        static = dict(zip(_FAMILIES, split(group)))
        if group and not all(host_family(part.strip()) for part in group.split(",")):
            return Refusal(OUT_OF_RANGE, f"{group!r} is not an IP address")
        for version, text in static.items():
            if text and version not in versions:
                return Refusal(OUT_OF_RANGE, f"address {text} is not in subnet {facts.name} {facts.cidr_block}")
        chosen: dict[int, str] = {}
        for version in versions:
            text = static[version]
            if text:
                answer = self._static(found, owner, version, text, request)
            else:
                answer = self._next(found, version, request, named)
            if isinstance(answer, Refusal):
                return answer
            chosen[version] = answer
        mac = self._mac(found, owner, request)
        if isinstance(mac, Refusal):
            return mac
        return Lease(facts.name, chosen.get(4, ""), chosen.get(6, ""), mac)

    def _next(self, found: _Valid, version: int, request: AddressRequest, named: str) -> str | Refusal:
        subnet, facts = found
        value = subnet.pool(version).next(_numbers(request.skip, version), named)
        if value is None:
            where = f"ippool {named} of subnet {facts.name}" if named else f"subnet {facts.name}"
            return Refusal(NO_ADDRESS, f"no available IPv{version} address in {where}")
        return text_of(value, version)

    def _static(self, found: _Valid, owner: str, version: int, text: str, request: AddressRequest) -> str | Refusal:
        subnet, facts = found
        pool, value = subnet.pool(version), number_of(text)
        if not pool.inside(value):
            return Refusal(OUT_OF_RANGE, f"address {text} is not in subnet {facts.name} {facts.cidr_block}")
        if value == pool.gateway:
            return Refusal(CONFLICT, f"address {text} is the gateway of subnet {facts.name}")
        holder = _other(pool.using.all(value), owner, request)
        if holder:
            return Refusal(CONFLICT, f"address {text} in subnet {facts.name} is already used by {holder}")
        return text_of(value, version)

    def _mac(self, found: _Valid, owner: str, request: AddressRequest) -> str | Refusal:
        subnet, facts = found
        if not request.want_mac:
            return ""
        if request.mac:
            mac = request.mac.lower()
            holder = _other(subnet.macs.all(mac), owner, request)
            if holder:
                return Refusal(CONFLICT, f"MAC {mac} in subnet {facts.name} is already used by {holder}")
            return mac
        salt = 0
        while True:
            mac = derived_mac(facts.name, owner, str(salt))
            if subnet.macs.get(mac) in (None, owner):
                return mac
            salt += 1

    # -- figures ---------------------------------------------------------------------------------------------------

    def usage(self, name: str) -> SubnetUsage | None:
        """Counts and ranges for a subnet's status (spec E.1), or None for an unknown subnet."""
        found = self._valid(name)
        return found[0].usage() if found is not None else None

    def texts(self, name: str) -> dict[int, tuple[str, str, str, str]]:
        """Free, reserved, available and used addresses of a subnet by family, as text (spec C.1)."""
        found = self._subnets.get(name)
        texts: dict[int, tuple[str, str, str, str]] = {}
        for version, pool in ((v, found.pool(v)) for v in found.versions) if found is not None else ():
            ranges = (pool.free(), pool.reserved.ranges(), pool.available()[1], pool.used().ranges())
            free, reserved, available, used = map(pool.text, ranges)
            texts[version] = (free, reserved, available, used)
        return texts

    def pool_usage(self, name: str) -> PoolUsage | None:
        """Counts and ranges for an IPPool's status (spec E.1), or None for one whose subnet is unknown."""
        facts = self._pools.get(name)
        found = self._valid(facts.subnet) if facts is not None else None
        return found[0].pool_usage(name) if found is not None else None


def _other(holders: tuple[str, ...], owner: str, request: AddressRequest) -> str:
    """Who of the holders is in the owner's way, or ""."""
    return next((holder for holder in holders if holder not in (owner, request.shares)), "")


@lru_cache(maxsize=64)
def _numbers(addresses: frozenset[str], version: int) -> frozenset[int]:
    """The addresses of one family as integers; the same set of node addresses comes with every request."""
    return frozenset(number_of(text) for text in addresses if host_family(text) == version)

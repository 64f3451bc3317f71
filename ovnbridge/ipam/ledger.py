"""The ledger: who holds which addresses, and the decision who gets which (spec C.3–C.5, C.8).

State is rebuilt from subnets and IP objects; `allocate` is the only decision in the program that is not a function of
the World alone (it depends on the order of requests). The caller writes the lease as an IP object before anything uses
it, so a crash loses nothing: the object either exists or the address is free again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import msgspec

from ovnbridge.ipam.pool import FamilyPool, Holders
from ovnbridge.ipam.ranges import RangeSet
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
    is_ip_object,
)
from ovnbridge.model.address import IPV4, IPV6, derived_mac, host_family, networks, number_of, split, text_of


class _Subnet:
    def __init__(self, facts: SubnetFacts, named: Mapping[str, PoolFacts]) -> None:
        self.facts = facts
        self.named: Mapping[str, PoolFacts] = {}
        self.macs: Holders[str] = Holders()
        self.pools: dict[int, FamilyPool] = {}
        self.excluded: set[str] = set()
        """Owners that do not count as users (spec E.1): IP objects with an address in excludeIps, and other objects
        whose address an IP object holds as well (a Vip that a pod has taken over)."""
        gateways = {host_family(g): number_of(g) for g in facts.gateway.split(",") if host_family(g) is not None}
        for net in networks(facts.cidr_block):
            self.pools[net.version] = FamilyPool(net, gateways.get(net.version), facts.exclude_ips)
        self.set_named(named)

    def set_named(self, named: Mapping[str, PoolFacts]) -> None:
        """Learn the named pools of this subnet."""
        self.named = named
        for version, pool in self.pools.items():
            pool.set_named(
                {
                    name: RangeSet((low, high) for v, low, high in facts.ranges if v == version)
                    for name, facts in named.items()
                }
            )

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
        self._pools: dict[str, PoolFacts] = {}
        self._pools_of: dict[str, dict[str, PoolFacts]] = {}
        """Named pools by subnet, in the order of their names."""
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
            subnet = self._subnets[name] = _Subnet(facts, self._pools_of.get(name, {}))
            for owner in self._owners.get(name, ()):
                self._occupy(subnet, owner, self._leases[owner])

    def set_pool(self, name: str, facts: PoolFacts | None) -> None:
        """Learn a new or changed named pool, or that it is gone. Its users keep their addresses (spec C.6)."""
        old = self._pools.pop(name, None)
        if facts is not None:
            self._pools[name] = facts
        for subnet in {f.subnet for f in (old, facts) if f is not None}:
            pools = {n: f for n, f in self._pools_of.get(subnet, {}).items() if n != name}
            if facts is not None and facts.subnet == subnet:
                pools[name] = facts
            self._pools_of[subnet] = dict(sorted(pools.items()))
            if not pools:
                del self._pools_of[subnet]
            if subnet in self._subnets:
                self._subnets[subnet].set_named(self._pools_of.get(subnet, {}))

    def pool(self, name: str) -> PoolFacts | None:
        """A named pool."""
        return self._pools.get(name)

    def pools_of(self, subnet: str) -> Iterator[str]:
        """Names of a subnet's named pools."""
        return iter(self._pools_of.get(subnet, ()))

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
                heir = pool.using.get(value)
                if heir is not None and not is_ip_object(heir):
                    subnet.excluded.discard(heir)
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
        cidr_block = subnet.facts.cidr_block if subnet is not None else None
        return answers(lease, request, cidr_block, self._pools.get(request.pool))

    def allocate(self, owner: str, request: AddressRequest) -> Decision:
        """Take addresses for `owner`. Nothing is taken, and nothing lost, when the answer is a Refusal."""
        held = self._leases.get(owner)
        if held is not None and self.fits(held, request):
            return held
        refusal = self._nothing(request)
        for name, pool in self._places(request):
            subnet = self._subnets.get(name)
            if subnet is None:
                refusal = Refusal(NO_SUBNET, f"subnet {name} does not exist or is not valid")
                continue
            for group in request.addresses or ("",):
                decision = self._try(subnet, owner, request, group, pool)
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
        subnet = self._subnets.get(held.subnet) if held is not None else None
        if held is None or subnet is None or not request.amend or held.subnet not in request.subnets:
            return None
        kept = {
            pool.network.version: text_of(value, pool.network.version)
            for pool, value in subnet.addresses(held)
            if pool.inside(value)
        }
        strict = msgspec.structs.replace(request, amend=False)
        if len(kept) == len(subnet.pools) and answers(held, strict, subnet.facts.cidr_block):
            return None
        static = dict(zip((4, 6), split(request.addresses[0] if request.addresses else "")))
        wanted = ",".join(filter(None, (static[version] or kept.get(version, "") for version in (4, 6))))
        decision = self._try(subnet, owner, msgspec.structs.replace(request, mac=request.mac or held.mac), wanted, "")
        if isinstance(decision, Refusal):
            return msgspec.structs.replace(decision, subnets=request.subnets)
        self.release(owner)
        self._record(owner, decision)
        return decision

    def owners_in(self, subnet: str) -> Iterator[str]:
        """Owners of the leases in a subnet."""
        return iter(self._owners.get(subnet, ()))

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

    def _try(self, subnet: _Subnet, owner: str, request: AddressRequest, group: str, named: str) -> Decision:
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
            answer = self._choose(subnet, owner, version, static[version], request, named)
            if isinstance(answer, Refusal):
                return answer
            chosen[version] = answer
        mac = self._choose_mac(subnet, owner, request)
        if isinstance(mac, Refusal):
            return mac
        return Lease(name, chosen.get(4, ""), chosen.get(6, ""), mac)

    def _choose(
        self, subnet: _Subnet, owner: str, version: int, static: str, request: AddressRequest, named: str
    ) -> str | Refusal:
        pool, name = subnet.pools[version], subnet.facts.name
        if not static:
            value = pool.next(_numbers(request.skip, version), named)
            if value is None:
                where = f"ippool {named} of subnet {name}" if named else f"subnet {name}"
                return Refusal(NO_ADDRESS, f"no available IPv{version} address in {where}")
            return text_of(value, version)
        value = number_of(static)
        if not pool.inside(value):
            return Refusal(OUT_OF_RANGE, f"address {static} is not in subnet {name} {subnet.facts.cidr_block}")
        if value == pool.gateway:
            return Refusal(CONFLICT, f"address {static} is the gateway of subnet {name}")
        holder = pool.using.get(value)
        if holder not in (None, owner, request.shares or owner):
            return Refusal(CONFLICT, f"address {static} in subnet {name} is already used by {holder}")
        return text_of(value, version)

    def _choose_mac(self, subnet: _Subnet, owner: str, request: AddressRequest) -> str | Refusal:
        if not request.want_mac:
            return ""
        if request.mac:
            mac = request.mac.lower()
            holder = subnet.macs.get(mac)
            if holder not in (None, owner, request.shares or owner):
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
            holder = pool.take(value, owner)
            clash = holder or clash
            if is_ip_object(owner) and value in pool.reserved:
                subnet.excluded.add(owner)
            if holder is not None:
                subnet.excluded.update(other for other in (owner, holder) if not is_ip_object(other))
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
            texts[version] = (available.count(), pool.text(available), pool.text(pool.used()))
        empty = (0, "", "")
        using = len(self._owners.get(name, ())) - len(subnet.excluded)
        return SubnetUsage(using, *texts.get(4, empty), *texts.get(6, empty))

    def texts(self, name: str) -> dict[int, tuple[str, str, str, str]]:
        """Free, reserved, available and used addresses of a subnet by family, as text (spec C.1)."""
        subnet = self._subnets.get(name)
        found: dict[int, tuple[str, str, str, str]] = {}
        for version, pool in subnet.pools.items() if subnet is not None else ():
            ranges = (pool.free(), pool.reserved, pool.available(), pool.used())
            free, reserved, available, used = map(pool.text, ranges)
            found[version] = (free, reserved, available, used)
        return found

    def pool_usage(self, name: str) -> PoolUsage | None:
        """Counts and ranges for an IPPool's status (spec E.1), or None for one whose subnet is unknown."""
        facts = self._pools.get(name)
        subnet = self._subnets.get(facts.subnet) if facts is not None else None
        if subnet is None:
            return None
        texts: dict[int, tuple[int, str, int, str]] = {}
        for version, pool in subnet.pools.items():
            available, used = pool.available(name), pool.used(name)
            texts[version] = (available.count(), pool.text(available), used.count(), pool.text(used))
        empty = (0, "", 0, "")
        return PoolUsage(*texts.get(4, empty), *texts.get(6, empty))


@lru_cache(maxsize=64)
def _numbers(addresses: frozenset[str], version: int) -> frozenset[int]:
    """The addresses of one family as integers; the same set of node addresses comes with every request."""
    return frozenset(number_of(text) for text in addresses if host_family(text) == version)

"""One subnet of the ledger: its addresses by family, its MACs, and who holds them (spec C.1, C.7).

What the subnet is may change, or be unknown for a while; leases stay. A change costs as many steps as there are ranges
(and users of addresses that are excluded anew), not as there are leases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ovnbridge.ipam.pool import FamilyPool, Holders
from ovnbridge.ipam.ranges import RangeSet
from ovnbridge.ipam.values import Lease, PoolFacts, PoolUsage, SubnetFacts, SubnetUsage, is_ip_object
from ovnbridge.model.address import Network, exclude_ranges, host_family, networks, number_of, split


class Subnet:
    """Addresses and leases of one subnet; `facts` is None while it is unknown or invalid."""

    def __init__(self) -> None:
        self.facts: SubnetFacts | None = None
        self.named: Mapping[str, PoolFacts] = {}
        """Named pools, in the order of their names."""
        self.leases: dict[str, Lease] = {}
        """By owner, in the order in which they came."""
        self.macs: Holders[str] = Holders()
        self._families: dict[int, FamilyPool] = {4: FamilyPool(), 6: FamilyPool()}
        self._excluded: set[str] = set()
        """Owners that do not count as users (spec E.1): IP objects with an address in excludeIps, and other objects
        whose address an IP object holds as well (a Vip that a pod has taken over)."""

    @property
    def versions(self) -> tuple[int, ...]:
        """Families that the subnet has addresses of."""
        return tuple(version for version, pool in self._families.items() if pool.network is not None)

    def pool(self, version: int) -> FamilyPool:
        """The addresses of one family."""
        return self._families[version]

    def forgotten(self) -> bool:
        """Whether nothing is known of it."""
        return self.facts is None and not self.named and not self.leases

    # -- what it is ------------------------------------------------------------------------------------------------

    def set_facts(self, facts: SubnetFacts | None) -> None:
        """Learn what it is now. While that is unknown its addresses stay as they are."""
        if facts == self.facts:
            return
        self.facts = facts
        if facts is None:
            return
        nets: dict[int, Network] = {net.version: net for net in networks(facts.cidr_block)}
        for (version, pool), gateway in zip(self._families.items(), split(facts.gateway)):
            net, before = nets.get(version), pool.reserved
            reserved = RangeSet(exclude_ranges(facts.exclude_ips, net) if net is not None else ())
            pool.set_network(net, number_of(gateway) if host_family(gateway) else None, reserved)
            changed = (before - reserved) | (reserved - before)
            self._count(*pool.users_in(changed))

    def set_named(self, named: Mapping[str, PoolFacts]) -> None:
        """Learn the named pools."""
        self.named = named
        for version, pool in self._families.items():
            pool.set_named(
                {
                    name: RangeSet((low, high) for v, low, high in facts.ranges if v == version)
                    for name, facts in named.items()
                }
            )

    # -- who holds what --------------------------------------------------------------------------------------------

    def occupy(self, owner: str, lease: Lease) -> str | None:
        """Record a lease. Returns who holds one of its addresses, when that is somebody else."""
        clash: str | None = None
        self.leases[owner] = lease
        for pool, value in self._addresses(lease):
            holder = pool.take(value, owner)
            clash = holder or clash
            if value in pool.reserved or holder is not None:
                self._count(*pool.using.all(value))
        if lease.mac:
            self.macs.take(lease.mac.lower(), owner)
        return clash

    def leave(self, owner: str) -> Lease:
        """Forget a lease and free its addresses."""
        lease = self.leases.pop(owner)
        self._excluded.discard(owner)
        for pool, value in self._addresses(lease):
            pool.give_back(value, owner)
            self._count(*pool.using.all(value))
        if lease.mac:
            self.macs.give_back(lease.mac.lower(), owner)
        return lease

    def _addresses(self, lease: Lease) -> Iterator[tuple[FamilyPool, int]]:
        """The lease's addresses, with the pools that they belong to."""
        for text in (lease.v4, lease.v6):
            version = host_family(text)
            if version is not None:
                yield self._families[version], number_of(text)

    def _count(self, *owners: str) -> None:
        """Note which of them count as users."""
        for owner in owners:
            if any(self._does_not_count(owner, pool, value) for pool, value in self._addresses(self.leases[owner])):
                self._excluded.add(owner)
            else:
                self._excluded.discard(owner)

    def _does_not_count(self, owner: str, pool: FamilyPool, value: int) -> bool:
        if is_ip_object(owner):
            return value in pool.reserved
        return any(map(is_ip_object, pool.using.all(value)))

    # -- figures ---------------------------------------------------------------------------------------------------

    def usage(self) -> SubnetUsage:
        """Counts and ranges for its status (spec E.1)."""
        texts: list[tuple[int, str, str]] = []
        for pool in self._families.values():
            count, ranges = pool.available()
            texts.append((count, pool.text(ranges), pool.text(pool.used().ranges())))
        return SubnetUsage(len(self.leases) - len(self._excluded), *texts[0], *texts[1])

    def pool_usage(self, name: str) -> PoolUsage:
        """Counts and ranges for the status of one of its named pools (spec E.1)."""
        texts: list[tuple[int, str, int, str]] = []
        for pool in self._families.values():
            (count, ranges), used = pool.available(name), pool.used(name)
            texts.append((count, pool.text(ranges), used.count(), pool.text(used.ranges())))
        return PoolUsage(*texts[0], *texts[1])

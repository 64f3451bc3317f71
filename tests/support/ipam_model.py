"""Address management written down again, slowly and obviously, from the words of spec part C (C.1–C.7) and E.1.

Addresses are `ipaddress` objects in sets and sorted lists; nothing is shared with `ovnbridge.ipam` but the values that
go in and out. Where docs/differences.md says that we do something else on purpose, a comment says so.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from itertools import groupby

from ovnbridge.ipam import AddressRequest, Lease, PoolFacts, SubnetFacts

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
DEFAULT = ""
"""C.1: the default pool has name "" and always exists."""


class Refused(Exception):
    """One of C.5's errors."""


class Pool:
    """C.1: membership, Free and Released of one pool in one family (Using and Reserved are the family's)."""

    def __init__(self, members: set[Address]) -> None:
        self.members = members
        self.free: set[Address] = set()
        self.released: set[Address] = set()


class FamilyModel:
    """One family of one subnet."""

    def __init__(self) -> None:
        self.cidr = self.gateway = ""
        self.excludes: tuple[str, ...] = ()
        self.range: set[Address] = set()
        self.reserved: set[Address] = set()
        self.holders: dict[Address, list[str]] = {}
        """C.1, IPToPod: a list where an address is shared. Also outside the CIDR, whose users stay (differences)."""
        self.wanted: dict[str, set[Address]] = {}
        self.pools: dict[str, Pool] = {DEFAULT: Pool(set())}

    def configure(self, cidr: str, gateway: str, excludes: tuple[str, ...]) -> None:
        """C.2, C.7: "on CIDR, gateway or excludeIps change of a family"."""
        reserved = expanded(excludes, cidr)
        if (self.cidr, self.gateway, self.reserved) == (cidr, gateway, reserved):
            return
        self.cidr, self.gateway, self.reserved, self.range = cidr, gateway, reserved, usable(cidr)
        # "Free = range - Reserved - Using, Released cleared, named pools recomputed"
        self.pools = {}
        self.divide(self.wanted)

    def divide(self, wanted: dict[str, set[Address]]) -> None:
        """C.6. Of pools that intersect the first by name has the addresses; the caller lets none do so."""
        self.wanted = wanted
        rest = set(self.range)
        shares: dict[str, set[Address]] = {}
        for name in sorted(wanted):
            shares[name] = wanted[name] & rest
            rest -= wanted[name]
        shares[DEFAULT] = rest
        before, self.pools = self.pools, {}
        for name, members in shares.items():
            if name in before and before[name].members == members:
                self.pools[name] = before[name]
                continue
            # "Free = range∩IPs − Using − Reserved"; "default pool Released cleared". An edited or deleted pool's
            # released addresses are free at once (differences). The gateway is never free (C.2, C.5).
            self.pools[name] = Pool(members)
            self.pools[name].free = members - self.reserved - set(self.holders) - self.gateways()

    def gateways(self) -> set[Address]:
        return {ipaddress.ip_address(self.gateway)} if self.gateway else set()

    def random(self, pool: str, skip: set[Address]) -> Address:
        """C.3."""
        if pool not in self.pools:
            raise Refused("NoAvailableAddress")
        found = self.pools[pool]
        # "Lowest address in pool.Free first … When Free is empty, Free := Released". Addresses to skip count as none
        # here (differences): a pod is not refused while another address is left.
        if not found.free - skip and found.released:
            found.free, found.released = found.free | found.released, set()
        if not found.free - skip:
            raise Refused("NoAvailableAddress")
        return min(found.free - skip, key=int)

    def static(self, text: str, owner: str, shares: str) -> Address:
        """C.5."""
        address = ipaddress.ip_address(text)
        if address not in self.range:
            raise Refused("AddressOutOfRange")
        if address in self.gateways() or set(self.holders.get(address, ())) - {owner, shares}:
            raise Refused("AddressConflict")
        return address

    def take(self, address: Address, owner: str) -> None:
        holders = self.holders.setdefault(address, [])
        if owner not in holders:
            holders.append(owner)
        for pool in self.pools.values():
            pool.free.discard(address)
            pool.released.discard(address)

    def release(self, address: Address, owner: str) -> None:
        """C.3: "address goes to pool.Released … (not Free) unless outside CIDR or reserved. With IPs shared by several
        pods only the pod is removed from the list"."""
        holders = self.holders[address]
        holders.remove(owner)
        if holders:
            return
        del self.holders[address]
        if address in self.range and address not in self.reserved | self.gateways():
            (home,) = (pool for pool in self.pools.values() if address in pool.members)
            home.released.add(address)


class SubnetModel:
    def __init__(self) -> None:
        self.facts: SubnetFacts | None = None
        self.families = {4: FamilyModel(), 6: FamilyModel()}
        self.leases: dict[str, Lease] = {}

    def macs(self, *but: str) -> set[str]:
        return {lease.mac.lower() for owner, lease in self.leases.items() if lease.mac and owner not in but}

    def addresses(self, lease: Lease) -> list[tuple[FamilyModel, Address]]:
        texts = [text for text in (lease.v4, lease.v6) if text]
        return [(self.families[ipaddress.ip_address(t).version], ipaddress.ip_address(t)) for t in texts]


class Model:
    """C.1: IPAM, all subnets."""

    def __init__(self) -> None:
        self.subnets: dict[str, SubnetModel] = {}
        self.pools: dict[str, PoolFacts] = {}

    def subnet(self, name: str) -> SubnetModel:
        return self.subnets.setdefault(name, SubnetModel())

    def leases(self) -> dict[str, Lease]:
        return {owner: lease for subnet in self.subnets.values() for owner, lease in subnet.leases.items()}

    # -- changes

    def set_subnet(self, name: str, facts: SubnetFacts | None) -> None:
        subnet = self.subnet(name)
        subnet.facts = facts
        if facts is None:
            return  # unknown for a while: nothing is known to have changed (differences, "an invalid edit")
        for version, family in subnet.families.items():
            family.configure(of(version, facts.cidr_block), of(version, facts.gateway), facts.exclude_ips)

    def set_pool(self, name: str, facts: PoolFacts | None) -> None:
        before = self.pools.pop(name, None)
        if facts is not None:
            self.pools[name] = facts
        for subnet in {found.subnet for found in (before, facts) if found is not None}:
            for version, family in self.subnet(subnet).families.items():
                mine = [pool for pool in self.pools.values() if pool.subnet == subnet]
                family.divide({pool.name: within(pool, version) for pool in mine})

    def restore(self, owner: str, lease: Lease) -> None:
        self.release(owner)
        subnet = self.subnet(lease.subnet)
        subnet.leases[owner] = lease
        for family, address in subnet.addresses(lease):
            family.take(address, owner)

    def release(self, owner: str) -> None:
        for subnet in self.subnets.values():
            lease = subnet.leases.pop(owner, None)
            if lease is not None:
                for family, address in subnet.addresses(lease):
                    family.release(address, owner)

    # -- decisions

    def allocate(self, owner: str, request: AddressRequest) -> Lease | str:
        """The lease that C.8, points 5 to 9, gives to an owner who has none, its MAC "?" where it is made; else the
        error. Nothing is taken yet."""
        error = "NoAvailableAddress" if request.subnets else "NoSubnet"
        named = (request.pool,) if request.pool else request.pools
        if request.addresses or not named:
            places = [(name, DEFAULT) for name in request.subnets]
        else:
            known = [self.pools[name] for name in named if name in self.pools]
            places = [(pool.subnet, pool.name) for pool in known if pool.subnet in request.subnets]
        for name, pool in places:
            if self.subnet(name).facts is None:
                error = "NoSubnet"
                continue
            for group in request.addresses or ("",):
                try:
                    return self.attempt(name, pool, owner, request, group)
                except Refused as refused:
                    error = str(refused)
        return error

    def attempt(self, name: str, pool: str, owner: str, request: AddressRequest, group: str) -> Lease:
        subnet = self.subnet(name)
        present = [v for v, family in subnet.families.items() if family.cidr]
        versions = [v for v in present if request.family in ("", f"IPv{v}")]
        if present and not versions:
            raise Refused("InvalidIPFamily")
        static = {ipaddress.ip_address(text).version: text for text in group.split(",") if text}
        if set(static) - set(versions):
            raise Refused("AddressOutOfRange")
        chosen = {4: "", 6: ""}
        for version in versions:
            family = subnet.families[version]
            if version in static:
                chosen[version] = str(family.static(static[version], owner, request.shares))
            else:
                # "the other family is taken randomly from the default pool" (C.5)
                skip = {ipaddress.ip_address(text) for text in request.skip}
                chosen[version] = str(family.random(pool, skip))
        mac = "?" if request.want_mac else ""
        if request.want_mac and request.mac:
            mac = request.mac.lower()
            if mac in subnet.macs(owner, request.shares):
                raise Refused("AddressConflict")
        return Lease(name, chosen[4], chosen[6], mac)

    # -- figures (E.1)

    def using(self, name: str) -> int:
        """IP objects but those inside excludeIps; Vips and EIPs (`kind/name`) but those whose address a pod has."""
        subnet, count = self.subnet(name), 0
        for owner, lease in subnet.leases.items():
            held = subnet.addresses(lease)
            if "/" in owner:
                count += not any("/" not in other for f, a in held for other in f.holders[a])
            else:
                count += not any(address in family.reserved for family, address in held)
        return count

    def figures(self, name: str, version: int, pool: str | None = None) -> tuple[str, str]:
        """Available and using ranges, of the subnet ("minus reserved") or of one of its pools."""
        family = self.subnet(name).families[version]
        pools = family.pools.values() if pool is None else [family.pools[pool]]
        free = {address for found in pools for address in found.free | found.released}
        used = {address for found in pools for address in found.members & set(family.holders)}
        return listed(free), listed(used - family.reserved if pool is None else used)


def of(version: int, text: str) -> str:
    """The part of a comma pair with this family."""
    return next((p for p in text.split(",") if p and ipaddress.ip_interface(p).version == version), "")


def usable(cidr: str) -> set[Address]:
    """C.2: network+1 .. broadcast-1; both addresses of a /31 or /127."""
    every: list[Address] = list(ipaddress.ip_network(cidr)) if cidr else []
    return set(every if len(every) == 2 else every[1:-1])


def expanded(items: Iterable[str], cidr: str) -> set[Address]:
    """C.2: "each `ip` kept only if in a same-family CIDR and ≠ network/broadcast; `a..b` clipped"."""
    found: set[Address] = set()
    for item in items:
        low, _, high = item.partition("..")
        first, last = ipaddress.ip_address(low), ipaddress.ip_address(high or low)
        found |= {a for a in usable(cidr) if a.version == first.version and int(first) <= int(a) <= int(last)}
    return found


def within(pool: PoolFacts, version: int) -> set[Address]:
    make = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    return {make(n) for v, low, high in pool.ranges if v == version for n in range(low, high + 1)}


def listed(addresses: set[Address]) -> str:
    """C.1: "textual output a-b,c,…"."""
    ordered = enumerate(sorted(addresses, key=int))
    runs = [[a for _, a in run] for _, run in groupby(ordered, key=lambda pair: int(pair[1]) - pair[0])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)

"""The addresses of one family in one subnet: which are free, released, reserved and in use (spec C.1–C.3, C.7)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator
from itertools import islice
from typing import Final, Generic, TypeVar

from ovnbridge.ipam.ranges import RangeSet, union
from ovnbridge.model.address import Network, text_of, usable

K = TypeVar("K", int, str)

MOST_RANGES: Final = 4096
"""Ranges that a status lists: four such texts fit into an object of etcd's (1.5 MiB), and cost milliseconds."""


class Holders(Generic[K]):
    """Who holds what. Of several owners of one thing (a clash) the first holds it, the next one when that one goes."""

    def __init__(self) -> None:
        self._first: dict[K, str] = {}
        self._others: dict[K, list[str]] = {}

    def get(self, key: K) -> str | None:
        """The holder, None when it is free."""
        return self._first.get(key)

    def all(self, key: K) -> tuple[str, ...]:
        """Everybody who holds it, the holder first."""
        first = self._first.get(key)
        return () if first is None else (first, *self._others.get(key, ()))

    def take(self, key: K, owner: str) -> str | None:
        """Add an owner. Returns the holder when that is somebody else."""
        holder = self._first.setdefault(key, owner)
        if holder == owner:
            return None
        others = self._others.setdefault(key, [])
        if owner not in others:
            others.append(owner)
        return holder

    def give_back(self, key: K, owner: str) -> bool:
        """Remove an owner. Returns whether this made it free."""
        others = self._others.get(key, [])
        if self._first.get(key) != owner:
            if owner in others:
                others.remove(owner)
        elif others:
            self._first[key] = others.pop(0)
        else:
            del self._first[key]
            return True
        if not others:
            self._others.pop(key, None)
        return False


class _Walk:
    """One pool's share of a network: handed out walking forward, released addresses last."""

    def __init__(self, members: RangeSet, free: RangeSet) -> None:
        self.members = members
        self.free = free
        self.released = RangeSet()

    def next(self, skip: Container[int]) -> int | None:
        value = self.free.first(skip)
        if value is None and self.released:
            self.free, self.released = self.free | self.released, RangeSet()
            value = self.free.first(skip)
        return value


class FamilyPool:
    """Allocates walking forward: a released address is handed out again only after the whole range was walked once.

    Named pools (IPPool objects) have their addresses to themselves; the pool `""` has the rest (spec C.6). Who holds
    what is known whatever the network is: a changed one costs as many steps as there are ranges, not addresses.
    """

    def __init__(self) -> None:
        self.network: Network | None = None
        self.gateway: int | None = None
        self.reserved = RangeSet()
        self.using: Holders[int] = Holders()
        self._range = RangeSet()
        self._taken = RangeSet()
        self._members: dict[str, RangeSet] = {}
        self._walks: dict[str, _Walk] = {}
        self._named: tuple[list[int], list[int], list[str]] = ([], [], [])
        """First and last addresses of the named pools' ranges, ascending, with the pool's name."""

    def set_network(self, network: Network | None, gateway: int | None, reserved: RangeSet) -> None:
        """Learn the subnet's network of this family (None: it has none). A changed one is walked anew (spec C.7)."""
        if (self.network, self.gateway, self.reserved) == (network, gateway, reserved):
            return
        self.network, self.gateway, self.reserved = network, gateway, reserved
        self._range = RangeSet([usable(network)] if network is not None else ())
        self._walks = {}
        self.set_named(self._members)

    def set_named(self, members: dict[str, RangeSet]) -> None:
        """Learn all named pools. Of pools that intersect, the first one has the addresses.

        A pool that has not changed goes on where it was; the others, and the default pool whenever one changed, walk
        from the beginning again (spec C.6: "default pool Released cleared").
        """
        self._members = members
        rest, walks = self._range.copy(), {}
        for name, wanted in members.items():
            mine = rest & wanted
            rest = rest - mine
            walks[name] = self._walk(name, mine)
        walks[""] = self._walk("", rest)
        self._walks = walks
        spans = sorted((low, high, name) for name, walk in walks.items() if name for low, high in walk.members.ranges())
        self._named = ([s[0] for s in spans], [s[1] for s in spans], [s[2] for s in spans])

    def _walk(self, name: str, members: RangeSet) -> _Walk:
        known = self._walks.get(name)
        if known is not None and known.members == members:
            return known
        free = members - self._taken - self.reserved
        if self.gateway is not None:
            free.discard(self.gateway)
        return _Walk(members, free)

    def inside(self, value: int) -> bool:
        """Whether the address is a usable one of this network."""
        return value in self._range

    def pool_of(self, value: int) -> str:
        """The pool that an address of this network is in."""
        lows, highs, names = self._named
        at = bisect_right(lows, value) - 1
        return names[at] if at >= 0 and value <= highs[at] else ""

    def next(self, skip: Container[int] = (), pool: str = "") -> int | None:
        """The address the next allocation from a pool takes, or None when none is left."""
        walk = self._walks.get(pool)
        return walk.next(skip) if walk is not None else None

    def take(self, value: int, owner: str) -> str | None:
        """Mark an address as used by `owner`. Returns who holds it, when that is somebody else."""
        clash = self.using.take(value, owner)
        self._taken.add(value)
        if value in self._range:
            walk = self._walks[self.pool_of(value)]
            walk.free.discard(value)
            walk.released.discard(value)
        return clash

    def give_back(self, value: int, owner: str) -> None:
        """Release an address if `owner` holds it."""
        if not self.using.give_back(value, owner):
            return
        self._taken.discard(value)
        if value in self._range and value not in self.reserved and value != self.gateway:
            self._walks[self.pool_of(value)].released.add(value)

    def users_in(self, ranges: RangeSet) -> Iterator[str]:
        """Owners of addresses in these ranges."""
        for low, high in (self._taken & ranges).ranges():
            for value in range(low, high + 1):
                yield from self.using.all(value)

    # -- figures

    def used(self, pool: str | None = None) -> RangeSet:
        """Used addresses: of the network without those that are excluded, or all of one pool (spec C.6)."""
        if pool is None:
            return (self._taken & self._range) - self.reserved
        walk = self._walks.get(pool)
        return self._taken & walk.members if walk is not None else RangeSet()

    def available(self, pool: str | None = None) -> tuple[int, Iterator[tuple[int, int]]]:
        """Addresses that can still be handed out, of all pools or of one: how many, and their ranges."""
        walks = self._walks.values() if pool is None else filter(None, [self._walks.get(pool)])
        sets = [found for walk in walks for found in (walk.free, walk.released)]
        return sum(found.count() for found in sets), union(*sets)

    def text(self, ranges: Iterable[tuple[int, int]]) -> str:
        """Ranges as status text: `a-b,c`. Of very many ranges the first ones, and an ellipsis."""
        version = self.network.version if self.network is not None else 4
        first = list(islice(ranges, MOST_RANGES + 1))
        parts = [
            text_of(low, version) if low == high else f"{text_of(low, version)}-{text_of(high, version)}"
            for low, high in first[:MOST_RANGES]
        ]
        return ",".join([*parts, "..."] if len(first) > MOST_RANGES else parts)

    def free(self) -> Iterator[tuple[int, int]]:
        """Addresses that were not used since their range was last walked through, of all pools."""
        return union(*(walk.free for walk in self._walks.values()))

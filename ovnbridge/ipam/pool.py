"""The addresses of one family in one subnet: which are free, released, reserved and in use (spec C.1–C.3, C.7)."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Generic, TypeVar

from ovnbridge.ipam.ranges import RangeSet
from ovnbridge.model.address import Network, exclude_ranges, text_of, usable

K = TypeVar("K", int, str)


class Holders(Generic[K]):
    """Who holds what. Of several owners of one thing (a clash) the first holds it, the next one when that one goes."""

    def __init__(self) -> None:
        self._first: dict[K, str] = {}
        self._others: dict[K, list[str]] = {}

    def get(self, key: K) -> str | None:
        """The holder, None when it is free."""
        return self._first.get(key)

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


class FamilyPool:
    """Allocates walking forward: a released address is handed out again only after the whole range was walked once."""

    def __init__(self, net: Network, gateway: int | None, excludes: Iterable[str]) -> None:
        self.network = net
        self.gateway = gateway
        self.using: Holders[int] = Holders()
        self.reserved = RangeSet(exclude_ranges(excludes, net))
        self._range = RangeSet([usable(net)])
        self._free = self._range - self.reserved
        if gateway is not None:
            self._free.discard(gateway)
        self._released = RangeSet()
        self._used = RangeSet()

    def inside(self, value: int) -> bool:
        """Whether the address is a usable one of this network."""
        return value in self._range

    def next(self, skip: Container[int] = ()) -> int | None:
        """The address the next allocation takes, or None when none is left."""
        value = self._free.first(skip)
        if value is None and self._released:
            self._free, self._released = self._free | self._released, RangeSet()
            value = self._free.first(skip)
        return value

    def take(self, value: int, owner: str) -> str | None:
        """Mark an address as used by `owner`. Returns who holds it, when that is somebody else."""
        clash = self.using.take(value, owner)
        if self._counts(value):
            self._used.add(value)
        self._free.discard(value)
        self._released.discard(value)
        return clash

    def give_back(self, value: int, owner: str) -> None:
        """Release an address if `owner` holds it."""
        if self.using.give_back(value, owner) and self._counts(value):
            self._used.discard(value)
            if value != self.gateway:
                self._released.add(value)

    def _counts(self, value: int) -> bool:
        return value in self._range and value not in self.reserved

    def used_ranges(self) -> str:
        """Used addresses as status text: `a-b,c`, without those that are excluded."""
        return self.text(self._used)

    def available(self) -> RangeSet:
        """Addresses that can still be handed out."""
        return self._free | self._released

    def text(self, ranges: RangeSet) -> str:
        """Ranges as status text."""
        version = self.network.version
        return ",".join(
            text_of(low, version) if low == high else f"{text_of(low, version)}-{text_of(high, version)}"
            for low, high in ranges.ranges()
        )

"""The addresses of one family in one subnet: which are free, released, reserved and in use (spec C.1–C.3, C.7)."""

from __future__ import annotations

from collections.abc import Container, Iterable

from ovnbridge.ipam.ranges import RangeSet
from ovnbridge.model.address import Network, exclude_ranges, text_of, usable


class FamilyPool:
    """Allocates walking forward: a released address is handed out again only after the whole range was walked once."""

    def __init__(self, net: Network, gateway: int | None, excludes: Iterable[str]) -> None:
        self.network = net
        self.gateway = gateway
        self.using: dict[int, str] = {}
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

    def take(self, value: int, owner: str) -> None:
        """Mark an address as used by `owner`."""
        self.using[value] = owner
        if value not in self.reserved:
            self._used.add(value)
        self._free.discard(value)
        self._released.discard(value)

    def give_back(self, value: int, owner: str) -> None:
        """Release an address if `owner` holds it."""
        if self.using.get(value) != owner:
            return
        del self.using[value]
        self._used.discard(value)
        if value in self._range and value not in self.reserved:
            self._released.add(value)

    def adopt(self, other: FamilyPool) -> None:
        """Take over the uses of the pool that this one replaces (spec C.7): released addresses are free again."""
        for value, owner in other.using.items():
            self.take(value, owner)

    def used_ranges(self) -> str:
        """Used addresses as status text: `a-b,c`, without those that are excluded."""
        return self._text(self._used)

    def available_ranges(self) -> str:
        """Available addresses as status text."""
        return self._text(self.available())

    def available(self) -> RangeSet:
        """Addresses that can still be handed out."""
        return self._free | self._released

    def _text(self, ranges: RangeSet) -> str:
        version = self.network.version
        return ",".join(
            text_of(low, version) if low == high else f"{text_of(low, version)}-{text_of(high, version)}"
            for low, high in ranges.ranges()
        )

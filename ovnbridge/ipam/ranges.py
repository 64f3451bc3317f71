"""Sets of integers as sorted, disjoint, inclusive ranges: the arithmetic below the pools.

Every operation is logarithmic in the number of ranges (plus the shift of a list insert), whatever the number of
addresses: a /8 or an IPv6 /64 costs the same as a /24.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator
from heapq import merge
from typing import Final


class RangeSet:
    """A mutable set of integers."""

    __slots__ = ("_highs", "_lows")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []
        for low, high in ranges:
            self.add_range(low, high)

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int):
            return False
        at = bisect_right(self._lows, value) - 1
        return at >= 0 and value <= self._highs[at]

    def __bool__(self) -> bool:
        return bool(self._lows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._lows == other._lows and self._highs == other._highs

    def __repr__(self) -> str:
        return f"RangeSet({list(self.ranges())!r})"

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The ranges, ascending."""
        return zip(self._lows, self._highs)

    def count(self) -> int:
        """Number of integers."""
        return sum(self._highs) - sum(self._lows) + len(self._lows)

    def copy(self) -> RangeSet:
        """An independent set with the same content."""
        twin = RangeSet()
        twin._lows, twin._highs = self._lows.copy(), self._highs.copy()
        return twin

    def add(self, value: int) -> None:
        """Add one integer."""
        self.add_range(value, value)

    def add_range(self, low: int, high: int) -> None:
        """Add `low`..`high`, merging with what touches it; nothing when low > high."""
        if low > high:
            return
        first = bisect_left(self._highs, low - 1)
        last = bisect_right(self._lows, high + 1)
        if first < last:
            low, high = min(low, self._lows[first]), max(high, self._highs[last - 1])
        self._lows[first:last] = [low]
        self._highs[first:last] = [high]

    def discard(self, value: int) -> None:
        """Remove one integer if it is there."""
        self.discard_range(value, value)

    def discard_range(self, low: int, high: int) -> None:
        """Remove `low`..`high`."""
        if low > high:
            return
        first = bisect_left(self._highs, low)
        last = bisect_right(self._lows, high)
        if first >= last:
            return
        lows: list[int] = []
        highs: list[int] = []
        if self._lows[first] < low:
            lows.append(self._lows[first])
            highs.append(low - 1)
        if self._highs[last - 1] > high:
            lows.append(high + 1)
            highs.append(self._highs[last - 1])
        self._lows[first:last] = lows
        self._highs[first:last] = highs

    def first(self, skip: Container[int] = ()) -> int | None:
        """The lowest integer not in `skip`, or None."""
        for low, high in zip(self._lows, self._highs):
            for value in range(low, high + 1):
                if value not in skip:
                    return value
        return None

    def clip(self, low: int, high: int) -> RangeSet:
        """What is within `low`..`high`."""
        first, last = bisect_left(self._highs, low), bisect_right(self._lows, high)
        part = RangeSet()
        part._lows, part._highs = self._lows[first:last], self._highs[first:last]
        if part:
            part._lows[0], part._highs[-1] = max(low, part._lows[0]), min(high, part._highs[-1])
        return part

    def _without(self, low: int, high: int) -> RangeSet:
        """`low`..`high` without what is here."""
        inside = self.clip(low, high)
        lows, highs = [low, *(value + 1 for value in inside._highs)], [*(value - 1 for value in inside._lows), high]
        gaps = RangeSet()
        if inside and inside._lows[0] == low:
            del lows[0], highs[0]
        if inside and inside._highs[-1] == high:
            del lows[-1], highs[-1]
        gaps._lows, gaps._highs = lows, highs
        return gaps

    def _append(self, other: RangeSet) -> None:
        """Take what lies behind all that is here, and does not touch it."""
        self._lows += other._lows
        self._highs += other._highs

    # Each costs as many steps as the smaller operand has ranges; what they pass over in the larger one is copied.

    def __sub__(self, other: RangeSet) -> RangeSet:
        if len(other._lows) <= len(self._lows):
            left = self.copy()
            for low, high in other.ranges():
                left.discard_range(low, high)
            return left
        left = RangeSet()
        for low, high in self.ranges():
            left._append(other._without(low, high))
        return left

    def __and__(self, other: RangeSet) -> RangeSet:
        few, many = (self, other) if len(self._lows) <= len(other._lows) else (other, self)
        both = RangeSet()
        for low, high in few.ranges():
            both._append(many.clip(low, high))
        return both

    def __or__(self, other: RangeSet) -> RangeSet:
        few, many = (self, other) if len(self._lows) <= len(other._lows) else (other, self)
        if len(few._lows) * _FEW > len(many._lows):
            return RangeSet(union(few, many))
        both = many.copy()
        for low, high in few.ranges():
            both.add_range(low, high)
        return both


_FEW: Final = 8
"""Inserting into the middle of a list is cheaper than building it anew up to one in so many."""


def union(*sets: RangeSet) -> Iterator[tuple[int, int]]:
    """The ranges of all sets together, ascending and merged, one by one."""
    spans = merge(*(found.ranges() for found in sets))
    low, high = next(spans, (0, -1))
    for first, last in spans:
        if first > high + 1:
            yield low, high
            low, high = first, last
        else:
            high = max(high, last)
    if low <= high:
        yield low, high

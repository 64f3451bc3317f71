"""RangeSet against a Python set, and its cost counted in ranges, not in addresses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ovnbridge.ipam.ranges import RangeSet

LOW, HIGH = -3, 40
values = st.integers(LOW, HIGH)
pairs = st.tuples(values, values)


def listed(ranges: RangeSet) -> list[int]:
    return [value for low, high in ranges.ranges() for value in range(low, high + 1)]


def of(pairs_: list[tuple[int, int]]) -> set[int]:
    return {value for low, high in pairs_ for value in range(low, high + 1)}


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ranges = RangeSet()
        self.model: set[int] = set()

    @rule(value=values)
    def add(self, value: int) -> None:
        self.ranges.add(value)
        self.model.add(value)

    @rule(pair=pairs)
    def add_range(self, pair: tuple[int, int]) -> None:
        self.ranges.add_range(*pair)
        self.model |= of([pair])

    @rule(value=values)
    def discard(self, value: int) -> None:
        self.ranges.discard(value)
        self.model.discard(value)

    @rule(pair=pairs)
    def discard_range(self, pair: tuple[int, int]) -> None:
        self.ranges.discard_range(*pair)
        self.model -= of([pair])

    @rule(skip=st.sets(values))
    def first(self, skip: set[int]) -> None:
        assert self.ranges.first(skip) == min(self.model - skip, default=None)

    @rule(others=st.lists(pairs, max_size=4))
    def combine(self, others: list[tuple[int, int]]) -> None:
        other, model = RangeSet(others), of(others)
        before = self.ranges.copy()
        assert listed(self.ranges | other) == sorted(self.model | model)
        assert listed(self.ranges - other) == sorted(self.model - model)
        assert listed(self.ranges & other) == sorted(self.model & model)
        assert self.ranges == before, "operators leave their operands alone"

    @invariant()
    def same(self) -> None:
        spans = list(self.ranges.ranges())
        assert listed(self.ranges) == sorted(self.model)
        assert all(low <= high for low, high in spans)
        assert all(one[1] + 1 < two[0] for one, two in itertools.pairwise(spans)), "disjoint, merged, sorted"
        assert self.ranges.count() == len(self.model)
        assert bool(self.ranges) is bool(self.model)
        assert all((value in self.ranges) is (value in self.model) for value in range(LOW - 1, HIGH + 2))


TestModel = Model.TestCase


@given(st.lists(pairs))
def test_equality_and_copies(given_pairs: list[tuple[int, int]]) -> None:
    ranges = RangeSet(given_pairs)
    assert ranges == RangeSet((value, value) for value in of(given_pairs))
    twin = ranges.copy()
    twin.add(1000)
    assert 1000 not in ranges
    assert ranges != twin
    assert ranges != given_pairs
    assert "x" not in ranges


def test_first_of_a_huge_range_looks_at_what_it_skips_only() -> None:
    class Skip:
        asked = 0

        def __contains__(self, value: object) -> bool:
            self.asked += 1
            return isinstance(value, int) and value < 5

        def __iter__(self) -> Iterator[int]:
            raise AssertionError

    skip = Skip()
    assert RangeSet([(0, 1 << 64)]).first(skip) == 5  # type: ignore[arg-type]
    assert skip.asked == 6


def test_ranges_stay_few_when_a_huge_one_is_walked() -> None:
    free = RangeSet([(1, (1 << 64) - 2)])
    for _ in range(1000):
        value = free.first()
        assert value is not None
        free.discard(value)
        assert len(list(free.ranges())) == 1
    assert free.count() == (1 << 64) - 2 - 1000

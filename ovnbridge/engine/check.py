"""The self-check: what the engine keeps against the World asked anew, question by question and unit by unit.

Driven in slices by `reactor/check.py`, which settles the engine before every one of them. Nothing that the engine has
remembered is believed: neither answers, nor items, nor the merged view of them. What differs is put right at once, from
nothing: answers, items and dependencies, since a dependency that is missing is what most likely made it wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ovnbridge.engine.desired import DesiredStore, UnitKey, identified, identity
from ovnbridge.engine.engine import Engine, Query, Reader
from ovnbridge.engine.items import Item


class Difference(msgspec.Struct, frozen=True):
    """Something that was not as the World wants it. `kind` is "Query" or the kind of the desired item."""

    kind: str
    owner: str
    """The unit and its key, or the question."""
    kept: Any
    right: Any


class Check:
    """One pass over an engine."""

    def __init__(self, engine: Engine) -> None:
        self.world = engine.world
        self._engine = engine
        self._reader = Reader(self)
        self._answers: dict[Query, Any] = {}
        self._version = self.world.version

    def ask(self, query: Query) -> Any:
        """The answer as of now, remembered while the World stays as it is."""
        if self._version != self.world.version:
            self._answers.clear()
            self._version = self.world.version
        if query not in self._answers:
            self._answers[query], _ = self._reader.noted(query.function, *query.arguments)
        return self._answers[query]

    def steps(self) -> Iterator[list[Difference]]:
        """The pass: each step looks at one thing, with the engine settled, and returns what it has put right."""
        yield from self._queries()
        for unit in self._engine.unit_keys():
            yield self._unit(unit)
        for unit, item in strays(self._engine.desired):
            if item is None:
                yield []
                continue
            self._engine.desired.drop(unit, item)
            yield [Difference(type(item).__name__, f"{unit.unit} {unit.key}", item, None)]

    def _queries(self) -> Iterator[list[Difference]]:
        wrong: dict[Query, Difference] = {}
        for query in self._engine.queries():
            known, kept = self._engine.answer(query)
            if known and kept != (right := self.ask(query)):
                name = getattr(query.function, "__qualname__", str(query.function))
                wrong[query] = Difference("Query", f"{name}{query.arguments}", kept, right)
            yield []
        # The World may have changed since: those that are not wrong any more are as good as those that are.
        self._engine.mend_queries({query: self.ask(query) for query in wrong if self._engine.answer(query)[0]})
        yield list(wrong.values())

    def _unit(self, unit: UnitKey) -> list[Difference]:
        desired = self._engine.desired
        kept = desired.snapshot_of(unit)
        right, _ = self._reader.noted(self._engine.run, unit)
        if kept == right and all(desired.merged(unit, item) for item in right):
            return []
        before, after = identified(kept), identified(right)
        found = [
            Difference(type(before.get(i) or after[i]).__name__, f"{unit.unit} {unit.key}", before.get(i), after.get(i))
            for i in {**before, **after}
            if before.get(i) != after.get(i) or not desired.merged(unit, after[i])
        ]
        if found:
            self._engine.mend_unit(unit)
        return found


def strays(store: DesiredStore) -> Iterator[tuple[UnitKey, Item | None]]:
    """What the merged view holds in the name of a unit that does not want it; None for steps that find nothing."""
    last, wanted = UnitKey("", ""), tuple[Item, ...]()
    known = dict[Any, Item]()
    for unit, item in store.merged_items():
        if unit != last:
            last, wanted = unit, store.snapshot_of(unit)
            known = identified(wanted) if len(wanted) > 20 else {}
        stray = known.get(identity(item)) != item if known else item not in wanted
        yield unit, item if stray else None

"""The incremental engine: runs compile units through a recording Reader and keeps their items.

Fed by `World` changes, drained by whoever takes touched keys from the `DesiredStore`. Promises: a unit or query reruns
only when a value that it read has changed; memoised queries cut off early (dependants rerun only when the answer
changed); evaluation is a pure function of the World, so a run from nothing gives the same desired state (the oracle in
tests and the periodic self-check). `settle` works in bounded slices; directly changed objects overtake recomputation
that shared changes caused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec

from ovnbridge.engine.desired import DesiredStore, UnitKey
from ovnbridge.engine.items import Item
from ovnbridge.engine.world import Cell, World

V = TypeVar("V")

_IDLE: Final = 100
"""Queries that nobody asks any more and whose answers are kept: the next pod will ask what the one before it asked."""


class Unit(msgspec.Struct, frozen=True):
    """A compile function with the World table whose keys it is run for.

    `run(reader, key)` must be pure; it is called for every key of `table`, also once more when the key is gone (its
    reads then find nothing and it must yield nothing).
    """

    name: str
    table: str
    run: Callable[[Reader, str], Iterable[Item]]


class Query(msgspec.Struct, frozen=True):
    """A memoised question: the function and its arguments."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


Node: TypeAlias = UnitKey | Query
Source: TypeAlias = Cell | Query


class Asked(Protocol):
    """Whom a Reader asks."""

    world: World

    def record(self, source: Source) -> None:
        """`source` is looked at."""

    def ask(self, query: Query) -> Any:
        """The answer of a query."""


class Reader:
    """What a unit or query may look at; everything looked at is recorded as a dependency."""

    def __init__(self, engine: Asked) -> None:
        self._engine = engine
        self._world = engine.world

    def get(self, table: str, key: str) -> Any | None:
        """One World value, or None."""
        self._engine.record(Cell(table, key))
        return self._world.get(table, key)

    def keys(self, table: str) -> list[str]:
        """All keys of a table, sorted."""
        self._engine.record(Cell(f"keys:{table}", ""))
        return sorted(self._world.keys(table))

    def all(self, table: str) -> list[Any]:
        """All values of a table, by sorted key. Costs a dependency each: for small tables or inside a query."""
        return [self.get(table, key) for key in self.keys(table)]

    def by(self, index: str, key: str) -> list[Any]:
        """What is found under one entry of a declared index (keys) or catalogue, sorted."""
        self._engine.record(Cell(f"index:{index}", key))
        return sorted(self._world.lookup(index, key))

    def any(self, index: str, key: str) -> bool:
        """Whether anything is found under one entry of a declared index."""
        self._engine.record(Cell(f"index:{index}", key))
        return bool(self._world.lookup(index, key))

    def query(self, function: Callable[..., V], *arguments: Any) -> V:
        """The memoised answer of `function(reader, *arguments)`; arguments must be hashable."""
        return self._engine.ask(Query(function, arguments))  # type: ignore[no-any-return]


class Engine:
    """Units over a World, with their desired items."""

    def __init__(self, world: World, units: Sequence[Unit]) -> None:
        self.world = world
        self.desired = DesiredStore()
        self.evaluations = 0
        self._units = {unit.name: unit for unit in units}
        self._by_table: dict[str, list[Unit]] = {}
        for unit in units:
            self._by_table.setdefault(unit.table, []).append(unit)
        self._reader = Reader(self)
        self._reads: dict[Node, tuple[Source, ...]] = {}
        self._readers: dict[Source, dict[Node, None]] = {}
        self._answers: dict[Query, Any] = {}
        self._idle: OrderedDict[Query, None] = OrderedDict()
        self._suspects: OrderedDict[Query, None] = OrderedDict()
        """Queries that something changed below; asked or refreshed before anything else looks at their answers."""
        self._changed: set[Source] = set()
        """While changes spread: the cells and answers that differ from what queries have seen."""
        # OrderedDict: taking the first of a plain dict again and again walks over all that were taken before.
        self._urgent: OrderedDict[UnitKey, None] = OrderedDict()
        self._normal: OrderedDict[UnitKey, None] = OrderedDict()
        self._recording: dict[Source, None] | None = None

    # -- reading -------------------------------------------------------------------------------------------------

    def record(self, source: Source) -> None:
        """Note that the running unit or query has looked at `source`."""
        if self._recording is not None:
            self._recording[source] = None

    def ask(self, query: Query) -> Any:
        """The current answer of a query, evaluated when missing or stale."""
        self.record(query)
        if query in self._suspects:
            self._refresh(query)
        if query not in self._answers:
            self._evaluate_query(query)
        return self._answers[query]

    # -- propagation ---------------------------------------------------------------------------------------------

    def settle(self, limit: int = 0) -> bool:
        """Bring desired items up to date, at most `limit` units (0: all). Returns whether work is left."""
        self._spread_changes()
        done = 0
        while self._urgent or self._normal:
            if limit and done >= limit:
                return True
            node, _ = (self._urgent or self._normal).popitem(last=False)
            self._evaluate_unit(node)
            done += 1
        return False

    def refresh(self, table: str, key: str) -> bool:
        """Bring the units of one World value up to date, ahead of all others. Returns whether any was not."""
        stale = False
        if self.world.has_changes():
            self._spread_changes()
        for node in self.units_for(table, key):
            if node in self._urgent or node in self._normal:
                self._urgent.pop(node, None)
                self._normal.pop(node, None)
                self._evaluate_unit(node)
                stale = True
        return stale

    @property
    def backlog(self) -> int:
        """Units waiting to be evaluated."""
        return len(self._urgent) + len(self._normal)

    def units_for(self, table: str, key: str) -> list[UnitKey]:
        """Units that are run for one World value."""
        return [UnitKey(unit.name, key) for unit in self._by_table.get(table, ())]

    def reads_of(self, unit: UnitKey) -> tuple[Source, ...]:
        """What a unit read in its last run (for `explain`)."""
        return self._reads.get(unit, ())

    def causes(self, unit: UnitKey) -> list[Cell]:
        """World cells that a unit depends on, directly or through queries (for `explain`)."""
        found: dict[Cell, None] = {}
        todo: list[Source] = list(reversed(self._reads.get(unit, ())))
        seen: set[Source] = set()
        while todo:
            source = todo.pop()
            if source in seen:
                continue
            seen.add(source)
            if isinstance(source, Query):
                todo.extend(reversed(self._reads.get(source, ())))
            else:
                found[source] = None
        return list(found)

    def dependants(self, cell: Cell) -> list[UnitKey]:
        """Units that depend on a cell, directly or through queries (for `explain`)."""
        found: dict[UnitKey, None] = {}
        todo: list[Source] = [cell]
        seen: set[Source] = set()
        while todo:
            source = todo.pop()
            if source in seen:
                continue
            seen.add(source)
            for node in self._readers.get(source, ()):
                if isinstance(node, Query):
                    todo.append(node)
                else:
                    found[node] = None
        return sorted(found)

    def recompute(self) -> DesiredStore:
        """The desired state computed from nothing: the oracle for the incremental one."""
        fresh = Engine(self.world.fork(), list(self._units.values()))
        fresh.settle()
        return fresh.desired

    # -- what the self-check asks for (`engine/check.py`) ----------------------------------------------------------

    def run(self, reader: Reader, unit: UnitKey) -> tuple[Item, ...]:
        """What a unit yields to this reader."""
        return tuple(self._units[unit.unit].run(reader, unit.key))

    def queries(self) -> list[Query]:
        """All questions that are remembered."""
        return list(self._answers)

    def answer(self, query: Query) -> tuple[bool, Any]:
        """Whether the answer is remembered, and which."""
        return query in self._answers, self._answers.get(query)

    def unit_keys(self) -> list[UnitKey]:
        """Every unit for every World value, and those whose value is gone but not their items."""
        found = [UnitKey(u.name, key) for u in self._units.values() for key in self.world.keys(u.table)]
        return found + [u for u in self.desired.units() if self.world.get(self._units[u.unit].table, u.key) is None]

    def mend_queries(self, answers: Mapping[Query, Any]) -> None:
        """Put wrong answers right, and what they depend on; whoever has read them is checked by itself."""
        self._answers.update(answers)
        for query in answers:
            for source in self._reads.pop(query, ()):
                self._unlink(source, query)
            self._link(query, self._run(query)[1])

    def mend_unit(self, unit: UnitKey) -> None:
        """Evaluate a unit as if for the first time."""
        self._link(unit, ())
        self.desired.set(unit, ())
        self._evaluate_unit(unit)

    def _spread_changes(self) -> None:
        for cell in self.world.take_changes():
            readers = self._readers.get(cell, {})
            gone = self.world.get(cell.space, cell.key) is None
            for unit in self._by_table.get(cell.space, ()):
                node = UnitKey(unit.name, cell.key)
                # A unit that looks at its object only through questions runs again when an answer changes.
                if gone or node in readers or node not in self._reads:
                    self._mark(node, urgent=True)
            self._changed.add(cell)
        current = self._ask_again()
        for changed in self._changed.copy():
            self._suspect(changed, current)
        while self._suspects:
            self._refresh(next(reversed(self._suspects)))
        self._changed.clear()

    def _ask_again(self) -> set[Query]:
        """Evaluate the queries that read changed cells and ask no others. Returns those that are current now.

        The World is current, so they can be asked in any order, before anything is suspected: what they answer as
        before, nobody else needs to be looked at for.
        """
        current: set[Query] = set()
        for query in {n: None for cell in self._changed for n in self._readers.get(cell, ()) if isinstance(n, Query)}:
            if not self._readers.get(query) or any(isinstance(source, Query) for source in self._reads[query]):
                continue
            answer, reads = self._run(query)
            if any(isinstance(source, Query) for source in reads):
                continue  # asks others by now, which may not be current
            current.add(query)
            self._link(query, reads)
            if answer != self._answers[query]:
                self._answers[query] = answer
                self._changed.add(query)
        return current

    def _suspect(self, changed: Source, current: set[Query]) -> None:
        """Mark the units that read what has changed, and every query that may answer differently because of it."""
        todo = [changed]
        while todo:
            source = todo.pop()
            for node in self._readers.get(source, ()):
                if isinstance(node, Query):
                    if node not in self._suspects and node not in current:
                        self._suspects[node] = None
                        todo.append(node)
                elif source is changed:
                    self._mark(node, urgent=False)

    def _refresh(self, query: Query) -> None:
        """Make a suspect's answer current: it runs again only if something that it read has changed."""
        del self._suspects[query]
        if not self._readers.get(query):
            self._forget_query(query)
            return
        for source in self._reads.get(query, ()):
            if isinstance(source, Query) and source in self._suspects:
                self._refresh(source)
            if source in self._changed:
                break
        else:
            return
        before = self._answers[query]
        self._evaluate_query(query)
        if self._answers[query] != before:
            self._changed.add(query)
            for node in self._readers.get(query, ()):
                if not isinstance(node, Query):
                    self._mark(node, urgent=False)

    def _mark(self, node: UnitKey, *, urgent: bool) -> None:
        if urgent:
            self._normal.pop(node, None)
            self._urgent[node] = None
        elif node not in self._urgent:
            self._normal[node] = None

    # -- evaluation ----------------------------------------------------------------------------------------------

    def _evaluate_unit(self, node: UnitKey) -> None:
        self.evaluations += 1
        outer, self._recording = self._recording, {}
        try:
            items = self.run(self._reader, node)
            reads = tuple(self._recording)
        finally:
            self._recording = outer
        exists = self.world.get(self._units[node.unit].table, node.key) is not None
        self._link(node, reads if items or exists else ())
        self.desired.set(node, items)
        while len(self._idle) > _IDLE:
            self._forget_query(next(iter(self._idle)))

    def _evaluate_query(self, query: Query) -> None:
        self._answers[query], reads = self._run(query)
        self._link(query, reads)

    def _run(self, query: Query) -> tuple[Any, tuple[Source, ...]]:
        """What a query answers now, and what it reads for it."""
        outer, self._recording = self._recording, {}
        try:
            return query.function(self._reader, *query.arguments), tuple(self._recording)
        finally:
            self._recording = outer

    def _link(self, node: Node, reads: tuple[Source, ...]) -> None:
        old = self._reads.get(node, ())
        if old == reads:
            return
        kept = set(reads)
        for source in old:
            if source not in kept:
                self._unlink(source, node)
        for source in reads:
            readers = self._readers.get(source)
            if readers is None:
                readers = self._readers[source] = {}
                if isinstance(source, Query):
                    self._idle.pop(source, None)
            readers[node] = None
        if reads:
            self._reads[node] = reads
        else:
            self._reads.pop(node, None)

    def _unlink(self, source: Source, node: Node) -> None:
        readers = self._readers.get(source)
        if readers is None:
            return
        readers.pop(node, None)
        if not readers:
            del self._readers[source]
            if isinstance(source, Query) and source in self._answers:
                self._idle[source] = None

    def _forget_query(self, query: Query) -> None:
        self._idle.pop(query, None)
        self._suspects.pop(query, None)
        self._answers.pop(query, None)
        for source in self._reads.pop(query, ()):
            self._unlink(source, query)

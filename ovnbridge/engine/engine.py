"""The incremental engine: runs compile units through a recording Reader and keeps their items.

Fed by `World` changes, drained by whoever takes touched keys from the `DesiredStore`. Promises: a unit or query reruns
only when a value that it read has changed; memoised queries cut off early (dependants rerun only when the answer
changed); evaluation is a pure function of the World, so a run from nothing gives the same desired state (the oracle in
tests and the periodic self-check). `settle` works in bounded slices; directly changed objects overtake recomputation
that shared changes caused.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from ovnbridge.engine.desired import DesiredStore, UnitKey
from ovnbridge.engine.items import Item
from ovnbridge.engine.reader import Node, Query, Reader, Source, Unit
from ovnbridge.engine.several import Links
from ovnbridge.engine.world import Cell, World

__all__ = ["Engine", "Query", "Reader", "Source", "Unit"]

_IDLE: Final = 100
"""Queries that nobody asks any more and whose answers are kept: the next pod will ask what the one before it asked."""

_CROWD: Final = 200
"""Units that are marked in one step."""

_UNKNOWN: Final = object()


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
        self._readers: Links[Source, Node] = Links()
        self._answers: dict[Query, Any] = {}
        self._idle: OrderedDict[Query, None] = OrderedDict()
        self._suspects: OrderedDict[Query, None] = OrderedDict()
        """Queries that something changed below; asked or refreshed before anything else looks at their answers."""
        self._changed: set[Source] = set()
        """While there are suspects: the cells and answers that differ from what they have seen."""
        # OrderedDict: taking the first of a plain dict again and again walks over all that were taken before.
        self._urgent: OrderedDict[UnitKey, None] = OrderedDict()
        self._normal: OrderedDict[UnitKey, None] = OrderedDict()
        self._crowds: deque[dict[Node, None]] = deque()
        """Readers of changed things that are too many to be marked at once."""

    # -- reading -------------------------------------------------------------------------------------------------

    def ask(self, query: Query) -> Any:
        """The current answer of a query, evaluated when missing or stale."""
        if self._suspects and query in self._suspects:
            self._refresh(query)
        answer = self._answers.get(query, _UNKNOWN)
        if answer is _UNKNOWN:
            self._evaluate_query(query)
            answer = self._answers[query]
        return answer

    # -- propagation ---------------------------------------------------------------------------------------------

    def settle(self, limit: int = 0) -> bool:
        """Bring desired items up to date, in at most `limit` steps of less than a millisecond or so (0: all).

        Returns whether work is left.
        """
        self._spread_changes()
        done = 0
        while self._urgent or self._suspects or self._crowds or self._normal:
            if limit and done >= limit:
                return True
            done += 1
            if self._urgent:
                node = next(iter(self._urgent))
                self._freshen(node)
                del self._urgent[node]
                self._evaluate_unit(node)
            elif self._suspects:
                self._refresh(next(reversed(self._suspects)))
            elif self._crowds:
                self._disperse()
            else:
                self._evaluate_unit(self._normal.popitem(last=False)[0])
        return False

    def refresh(self, table: str, key: str) -> bool:
        """Bring the units of one World value up to date, ahead of all others. Returns whether any was not."""
        stale = False
        if self.world.has_changes():
            self._spread_changes()
        for node in self.units_for(table, key):
            self._freshen(node)
            if node in self._urgent or node in self._normal or any(node in crowd for crowd in self._crowds):
                self._urgent.pop(node, None)
                self._normal.pop(node, None)
                self._evaluate_unit(node)
                stale = True
        return stale

    @property
    def backlog(self) -> int:
        """Units waiting to be evaluated, and questions waiting to be asked again."""
        return len(self._urgent) + len(self._normal) + len(self._suspects) + sum(map(len, self._crowds))

    def units_for(self, table: str, key: str) -> list[UnitKey]:
        """Units that are run for one World value."""
        return [UnitKey(unit.name, key) for unit in self._by_table.get(table, ())]

    def reads_of(self, unit: UnitKey) -> tuple[Source, ...]:
        """What a unit read in its last run (for `explain`)."""
        return self._reads.get(unit, ())

    def causes(self, unit: UnitKey) -> list[Cell]:
        """World cells that a unit depends on, directly or through queries (for `explain`)."""
        return [node for node in self._reachable([unit], lambda n: self._reads.get(n, ())) if isinstance(node, Cell)]

    def dependants(self, cell: Cell) -> list[UnitKey]:
        """Units that depend on a cell, directly or through queries (for `explain`)."""
        return sorted(node for node in self._reachable([cell], self._readers.of) if isinstance(node, UnitKey))

    @staticmethod
    def _reachable(todo: list[Any], links: Callable[[Any], Iterable[Any]]) -> Iterable[Any]:
        found: dict[Any, None] = {}
        while todo:
            node = todo.pop()
            if node not in found:
                found[node] = None
                todo.extend(reversed(tuple(links(node))))
        return found

    def unaffected(self, cells: Iterable[Cell]) -> Callable[[Callable[..., Any], tuple[Any, ...]], bool]:
        """A test of questions: whether the memoised answer stands whatever these cells become (for speculation)."""
        seen: set[Source] = set()
        todo: list[Source] = list(cells)
        while todo:
            source = todo.pop()
            if source not in seen:
                seen.add(source)
                todo.extend(node for node in self._readers.of(source) if isinstance(node, Query))

        def stands(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
            query = Query(function, arguments)
            return query in self._answers and query not in seen

        return stands

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

    def unit_keys(self) -> Iterator[UnitKey]:
        """Every unit for every World value, and those whose value is gone but not their items; both may change."""
        for unit in self._units.values():
            for key in list(self.world.keys(unit.table)):
                yield UnitKey(unit.name, key)
        for node in list(self.desired.units()):
            if self.world.get(self._units[node.unit].table, node.key) is None:
                yield node

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
        """Mark what has to be looked at because of what has changed in the World."""
        fresh: dict[Source, None] = {}
        for cell in self.world.take_changes():
            gone = self.world.get(cell.space, cell.key) is None
            for unit in self._by_table.get(cell.space, ()):
                node = UnitKey(unit.name, cell.key)
                # A unit that looks at its object only through questions runs again when an answer changes.
                if gone or self._readers.has(cell, node) or node not in self._reads:
                    self._mark(node, urgent=True)
            if cell in self._readers:
                fresh[cell] = None
        if not self._suspects:
            self._changed.clear()
        self._changed.update(fresh)
        current = self._ask_again(fresh)
        fresh.update(dict.fromkeys(query for query in current if query in self._changed))
        for changed in fresh:
            self._suspect(changed, current)

    def _ask_again(self, fresh: Iterable[Source]) -> dict[Query, None]:
        """Evaluate the queries that read changed cells and ask no others. Returns those that are current now.

        The World is current, so they can be asked in any order, before anything is suspected: what they answer as
        before, nobody else needs to be looked at for.
        """
        current: dict[Query, None] = {}
        for query in {n: None for cell in fresh for n in self._readers.of(cell) if isinstance(n, Query)}:
            if query in self._suspects or query not in self._readers or self._asks(self._reads[query]):
                continue
            answer, reads = self._run(query)
            if self._asks(reads):
                continue  # asks others by now, which may not be current
            current[query] = None
            self._link(query, reads)
            if answer != self._answers[query]:
                self._answers[query] = answer
                self._changed.add(query)
        return current

    @staticmethod
    def _asks(reads: Iterable[Source]) -> bool:
        return any(isinstance(source, Query) for source in reads)

    def _suspect(self, changed: Source, current: Mapping[Query, None]) -> None:
        """Mark the units that read what has changed, and every query that may answer differently because of it."""
        self._mark_readers(changed)
        todo = [changed]
        while todo:
            for node in self._readers.of(todo.pop()):
                if isinstance(node, Query) and node not in self._suspects and node not in current:
                    self._suspects[node] = None
                    todo.append(node)

    def _refresh(self, query: Query) -> None:
        """Make a suspect's answer current: it runs again only if something that it read has changed."""
        del self._suspects[query]
        if query not in self._readers:
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
            self._mark_readers(query)

    def _freshen(self, node: UnitKey) -> None:
        """Make the answers current that a unit has read, so that it is known whether, and does not turn out while, it
        runs again."""
        if not self._suspects:
            return
        for source in self._reads.get(node, ()):
            if isinstance(source, Query) and source in self._suspects:
                self._refresh(source)

    def _mark_readers(self, source: Source) -> None:
        """Mark the units that read what has changed; when they are many, little by little."""
        readers = self._readers.of(source)
        if self._readers.count(source) > _CROWD:
            self._crowds.append(dict.fromkeys(readers))
            return
        for node in readers:
            if not isinstance(node, Query):
                self._mark(node, urgent=False)

    def _disperse(self) -> None:
        """Mark the next units of a crowd."""
        crowd = self._crowds[0]
        for _ in range(min(_CROWD, len(crowd))):
            node, _ = crowd.popitem()
            if not isinstance(node, Query):
                self._mark(node, urgent=False)
        if not crowd:
            self._crowds.popleft()

    def _mark(self, node: UnitKey, *, urgent: bool) -> None:
        if urgent:
            self._normal.pop(node, None)
            self._urgent[node] = None
        elif node not in self._urgent:
            self._normal[node] = None

    # -- evaluation ----------------------------------------------------------------------------------------------

    def _evaluate_unit(self, node: UnitKey) -> None:
        self.evaluations += 1
        items, reads = self._reader.noted(self.run, node)
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
        return self._reader.noted(query.function, *query.arguments)

    def _link(self, node: Node, reads: tuple[Source, ...]) -> None:
        old = self._reads.get(node, ())
        if old == reads:
            return
        known, kept = set(old), set(reads) if old else ()
        for source in old:
            if source not in kept:
                self._unlink(source, node)
        for source in reads:
            if source not in known and self._readers.add(source, node) and isinstance(source, Query):
                self._idle.pop(source, None)
        if reads:
            self._reads[node] = reads
        else:
            self._reads.pop(node, None)

    def _unlink(self, source: Source, node: Node) -> None:
        if self._readers.discard(source, node) and isinstance(source, Query) and source in self._answers:
            self._idle[source] = None

    def _forget_query(self, query: Query) -> None:
        self._idle.pop(query, None)
        self._suspects.pop(query, None)
        self._answers.pop(query, None)
        for source in self._reads.pop(query, ()):
            self._unlink(source, query)

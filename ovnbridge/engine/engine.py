"""The incremental engine: runs compile units through a recording Reader and keeps their items.

Fed by `World` changes, drained by whoever takes touched keys from the `DesiredStore`. Promises: a unit or query reruns
only when a value that it read has changed; memoised queries cut off early (dependants rerun only when the answer
changed); evaluation is a pure function of the World, so a run from nothing gives the same desired state (the oracle in
tests and the periodic self-check). `settle` works in bounded slices; directly changed objects overtake recomputation
that shared changes caused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec

from ovnbridge.engine.desired import DesiredStore, UnitKey
from ovnbridge.engine.items import Item
from ovnbridge.engine.world import Cell, World

V = TypeVar("V")


class Unit(msgspec.Struct, frozen=True):
    """A compile function with the World table whose keys it is run for.

    `run(reader, key)` must be pure; it is called for every key of `table`, also once more when the key is gone (its
    reads then find nothing and it must yield nothing).
    """

    name: str
    table: str
    run: Callable[[Reader, str], Iterable[Item]]


class _Query(msgspec.Struct, frozen=True):
    """A memoised question: the function and its arguments."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


_Node: TypeAlias = UnitKey | _Query
_Source: TypeAlias = Cell | _Query


class Reader:
    """What a unit or query may look at; everything looked at is recorded as a dependency."""

    def __init__(self, engine: Engine) -> None:
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

    def by(self, index: str, key: str) -> list[str]:
        """Keys found under one entry of a declared index, sorted."""
        self._engine.record(Cell(f"index:{index}", key))
        return sorted(self._world.lookup(index, key))

    def any(self, index: str, key: str) -> bool:
        """Whether anything is found under one entry of a declared index."""
        self._engine.record(Cell(f"index:{index}", key))
        return bool(self._world.lookup(index, key))

    def query(self, function: Callable[..., V], *arguments: Any) -> V:
        """The memoised answer of `function(reader, *arguments)`; arguments must be hashable."""
        return self._engine.ask(_Query(function, arguments))  # type: ignore[no-any-return]


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
        self._reads: dict[_Node, tuple[_Source, ...]] = {}
        self._readers: dict[_Source, dict[_Node, None]] = {}
        self._answers: dict[_Query, Any] = {}
        self._suspects: OrderedDict[_Query, None] = OrderedDict()
        """Queries that something changed below; asked or refreshed before anything else looks at their answers."""
        self._changed: set[_Source] = set()
        """While changes spread: the cells and answers that differ from what queries have seen."""
        # OrderedDict: taking the first of a plain dict again and again walks over all that were taken before.
        self._urgent: OrderedDict[UnitKey, None] = OrderedDict()
        self._normal: OrderedDict[UnitKey, None] = OrderedDict()
        self._recording: dict[_Source, None] | None = None

    # -- reading -------------------------------------------------------------------------------------------------

    def record(self, source: _Source) -> None:
        """Note that the running unit or query has looked at `source`."""
        if self._recording is not None:
            self._recording[source] = None

    def ask(self, query: _Query) -> Any:
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

    def reads_of(self, unit: UnitKey) -> tuple[_Source, ...]:
        """What a unit read in its last run (for `explain`)."""
        return self._reads.get(unit, ())

    def causes(self, unit: UnitKey) -> list[Cell]:
        """World cells that a unit depends on, directly or through queries (for `explain`)."""
        found: dict[Cell, None] = {}
        todo: list[_Source] = list(reversed(self._reads.get(unit, ())))
        seen: set[_Source] = set()
        while todo:
            source = todo.pop()
            if source in seen:
                continue
            seen.add(source)
            if isinstance(source, _Query):
                todo.extend(reversed(self._reads.get(source, ())))
            else:
                found[source] = None
        return list(found)

    def dependants(self, cell: Cell) -> list[UnitKey]:
        """Units that depend on a cell, directly or through queries (for `explain`)."""
        found: dict[UnitKey, None] = {}
        todo: list[_Source] = [cell]
        seen: set[_Source] = set()
        while todo:
            source = todo.pop()
            if source in seen:
                continue
            seen.add(source)
            for node in self._readers.get(source, ()):
                if isinstance(node, _Query):
                    todo.append(node)
                else:
                    found[node] = None
        return sorted(found)

    def unaffected(self, cells: Iterable[Cell]) -> Callable[[Callable[..., Any], tuple[Any, ...]], bool]:
        """A test of questions: whether the memoised answer stands whatever these cells become (for speculation)."""
        seen: set[_Source] = set()
        todo: list[_Source] = list(cells)
        while todo:
            source = todo.pop()
            if source not in seen:
                seen.add(source)
                todo.extend(node for node in self._readers.get(source, ()) if isinstance(node, _Query))

        def stands(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
            query = _Query(function, arguments)
            return query in self._answers and query not in seen

        return stands

    def recompute(self) -> DesiredStore:
        """The desired state computed from nothing: the oracle for the incremental one."""
        fresh = Engine(self.world.fork(), list(self._units.values()))
        fresh.settle()
        return fresh.desired

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
        for changed in self._changed.copy():
            self._suspect(changed)
        while self._suspects:
            self._refresh(next(reversed(self._suspects)))
        self._changed.clear()

    def _suspect(self, cell: _Source) -> None:
        """Mark the units that read a changed cell, and every query that may answer differently because of it."""
        todo = [cell]
        while todo:
            source = todo.pop()
            for node in self._readers.get(source, ()):
                if isinstance(node, _Query):
                    if node not in self._suspects:
                        self._suspects[node] = None
                        todo.append(node)
                elif source is cell:
                    self._mark(node, urgent=False)

    def _refresh(self, query: _Query) -> None:
        """Make a suspect's answer current: it runs again only if something that it read has changed."""
        del self._suspects[query]
        if not self._readers.get(query):
            self._forget_query(query)
            return
        for source in self._reads.get(query, ()):
            if isinstance(source, _Query) and source in self._suspects:
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
                if not isinstance(node, _Query):
                    self._mark(node, urgent=False)

    def _mark(self, node: UnitKey, *, urgent: bool) -> None:
        if urgent:
            self._normal.pop(node, None)
            self._urgent[node] = None
        elif node not in self._urgent:
            self._normal[node] = None

    # -- evaluation ----------------------------------------------------------------------------------------------

    def _evaluate_unit(self, node: UnitKey) -> None:
        unit = self._units[node.unit]
        self.evaluations += 1
        outer, self._recording = self._recording, {}
        try:
            items = tuple(unit.run(self._reader, node.key))
            reads = tuple(self._recording)
        finally:
            self._recording = outer
        self._link(node, reads if items or self.world.get(unit.table, node.key) is not None else ())
        self.desired.set(node, items)

    def _evaluate_query(self, query: _Query) -> None:
        outer, self._recording = self._recording, {}
        try:
            answer = query.function(self._reader, *query.arguments)
            reads = tuple(self._recording)
        finally:
            self._recording = outer
        self._answers[query] = answer
        self._link(query, reads)

    def _link(self, node: _Node, reads: tuple[_Source, ...]) -> None:
        old = self._reads.get(node, ())
        if old == reads:
            return
        kept = set(reads)
        for source in old:
            if source not in kept:
                self._unlink(source, node)
        for source in reads:
            self._readers.setdefault(source, {})[node] = None
        if reads:
            self._reads[node] = reads
        else:
            self._reads.pop(node, None)

    def _unlink(self, source: _Source, node: _Node) -> None:
        readers = self._readers.get(source)
        if readers is None:
            return
        readers.pop(node, None)
        if not readers:
            del self._readers[source]
            if isinstance(source, _Query):
                self._forget_query(source)

    def _forget_query(self, query: _Query) -> None:
        self._suspects.pop(query, None)
        self._answers.pop(query, None)
        for source in self._reads.pop(query, ()):
            self._unlink(source, query)

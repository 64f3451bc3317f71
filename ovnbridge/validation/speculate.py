"""A Reader of the World as it would be with one object changed; the World itself is not touched.

Memoised answers that do not depend on the changed object are taken from the engine, so a review costs what the change
concerns and not what the cluster holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ovnbridge.engine.engine import Engine, Reader
from ovnbridge.engine.world import Catalogue, Cell, Index

V = TypeVar("V")


class Speculation(Reader):
    """The World with `value` at (`table`, `key`); None means that the object is gone."""

    def __init__(
        self, engine: Engine, indexes: Iterable[Index | Catalogue], table: str, key: str, value: Any | None
    ) -> None:
        super().__init__(engine)
        self._candidate = Cell(table, key)
        self._value = value
        old = self._world.get(table, key)
        self._entries: dict[tuple[str, str], dict[Any, bool]] = {}
        """(index, entry) → what is found there by the change (True), or not any more (False)."""
        for index in indexes:
            if index.table == table:
                before = set(index.entries(key, old)) if old is not None else set()
                after = set(index.entries(key, value)) if value is not None else set()
                for entry, thing in before ^ after:
                    others = self._world.lookup(index.name, entry).get(thing, 0) > 1
                    self._entries.setdefault((index.name, entry), {})[thing] = (entry, thing) in after or others
        cells = [self._candidate, *(Cell(f"index:{name}", entry) for name, entry in self._entries)]
        if (old is None) != (value is None):
            cells.append(Cell(f"keys:{table}", ""))
        self._stands = engine.unaffected(cells)
        self._answers: dict[tuple[Callable[..., Any], tuple[Any, ...]], Any] = {}

    def get(self, table: str, key: str) -> Any | None:
        """One value, or None."""
        return self._value if (table, key) == self._candidate else self._world.get(table, key)

    def keys(self, table: str) -> list[str]:
        """All keys of a table, sorted."""
        found = set(self._world.keys(table))
        if table == self._candidate.space:
            (found.discard if self._value is None else found.add)(self._candidate.key)
        return sorted(found)

    def by(self, index: str, key: str) -> list[Any]:
        """What is found under one entry of a declared index or catalogue, sorted."""
        found = set(self._world.lookup(index, key))
        for thing, present in self._entries.get((index, key), {}).items():
            (found.add if present else found.discard)(thing)
        return sorted(found)

    def any(self, index: str, key: str) -> bool:
        """Whether anything is found under one entry of a declared index."""
        if (index, key) in self._entries:
            return bool(self.by(index, key))
        return bool(self._world.lookup(index, key))

    def query(self, function: Callable[..., V], *arguments: Any) -> V:
        """The answer of `function(reader, *arguments)`."""
        if self._stands(function, arguments):
            return super().query(function, *arguments)
        question = (function, arguments)
        if question not in self._answers:
            self._answers[question] = function(self, *arguments)
        return self._answers[question]  # type: ignore[no-any-return]

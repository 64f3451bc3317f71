"""How compile functions look at the World: units, questions, and the Reader that notes what they look at.

Units and queries are given a `Reader` by `engine/engine.py`, which makes dependencies of the notes, or by
`engine/check.py`, which takes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from ovnbridge.engine.desired import UnitKey
from ovnbridge.engine.items import Item
from ovnbridge.engine.world import Cell, World, cell

V = TypeVar("V")


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

    def ask(self, query: Query) -> Any:
        """The answer of a query."""


class Reader:
    """What a unit or query may look at; everything looked at is recorded as a dependency."""

    def __init__(self, engine: Asked) -> None:
        self._engine = engine
        self._world = engine.world
        self._seen: dict[Source, None] = {}

    def noted(self, function: Callable[..., V], *arguments: Any) -> tuple[V, tuple[Source, ...]]:
        """What `function(reader, *arguments)` answers, and what it looks at for it."""
        outer, self._seen = self._seen, {}
        try:
            return function(self, *arguments), tuple(self._seen)
        finally:
            self._seen = outer

    def get(self, table: str, key: str) -> Any | None:
        """One World value, or None."""
        self._seen[cell((table, key))] = None
        return self._world.get(table, key)

    def keys(self, table: str) -> list[str]:
        """All keys of a table, sorted."""
        self._seen[Cell(f"keys:{table}", "")] = None
        return sorted(self._world.keys(table))

    def all(self, table: str) -> list[Any]:
        """All values of a table, by sorted key. Costs a dependency each: for small tables or inside a query."""
        return [self.get(table, key) for key in self.keys(table)]

    def by(self, index: str, key: str) -> list[Any]:
        """What is found under one entry of a declared index (keys) or catalogue, sorted."""
        self._seen[Cell(f"index:{index}", key)] = None
        return sorted(self._world.lookup(index, key))

    def any(self, index: str, key: str) -> bool:
        """Whether anything is found under one entry of a declared index."""
        self._seen[Cell(f"index:{index}", key)] = None
        return bool(self._world.lookup(index, key))

    def query(self, function: Callable[..., V], *arguments: Any) -> V:
        """The memoised answer of `function(reader, *arguments)`; arguments must be hashable."""
        query = Query(function, arguments)
        self._seen[query] = None
        return self._engine.ask(query)  # type: ignore[no-any-return]

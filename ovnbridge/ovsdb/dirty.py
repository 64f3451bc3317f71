"""The committer's queue: natural keys that may differ from what is desired.

Two lanes, the urgent one first; within a lane by table rank (referenced rows before those that refer to them), then in
the order in which they came. A key is in the queue at most once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from ovnbridge.model.ovn import TableFacts
from ovnbridge.ovsdb.replica import RowKey


class DirtyKeys:
    """A priority queue of natural keys; every operation takes constant time."""

    def __init__(self, facts: Mapping[str, TableFacts]) -> None:
        ranks = sorted({table.rank for table in facts.values()})
        position = {rank: index for index, rank in enumerate(ranks)}
        self._position = {table.name: position[table.rank] for table in facts.values()}
        self._urgent: list[OrderedDict[RowKey, None]] = [OrderedDict() for _ in ranks]
        self._normal: list[OrderedDict[RowKey, None]] = [OrderedDict() for _ in ranks]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: RowKey) -> bool:
        position = self._position[key[0]]
        return key in self._urgent[position] or key in self._normal[position]

    def add(self, key: RowKey, *, urgent: bool) -> None:
        """Queue a key, or move it into the urgent lane."""
        position = self._position[key[0]]
        if key in self._urgent[position]:
            return
        normal = self._normal[position]
        if key in normal:
            if not urgent:
                return
            del normal[key]
            self._count -= 1
        (self._urgent if urgent else self._normal)[position][key] = None
        self._count += 1

    def pop(self) -> RowKey | None:
        """The next key."""
        return next(self.drain(), None)

    def drain(self) -> Iterator[RowKey]:
        """Take keys out in their order, as long as the caller wants more. Nothing may be added meanwhile."""
        for lane in (self._urgent, self._normal):
            for keys in lane:
                while keys:
                    self._count -= 1
                    yield keys.popitem(last=False)[0]

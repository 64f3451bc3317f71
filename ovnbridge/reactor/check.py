"""The self-check in a running process: slices, counters, logs, repair; and rows that are not what is desired.

`SelfCheck` belongs to a `Reactor` (`Reactor.self_check`, `Reactor.check_periodically`). It never holds the loop for
longer than a slice, rests between slices, and compares only what is settled, so that it can run at any time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from ovnbridge.engine.check import Check, Difference
from ovnbridge.engine.desired import RowKey
from ovnbridge.engine.engine import Engine

log = logging.getLogger(__name__)

T = TypeVar("T")

SLICE: Final = 0.01
"""Seconds of checking before other tasks get their turn."""
REST: Final = 0.02
"""Seconds without checking after it."""
LOGGED: Final = 20
"""Differences of one pass that are logged in full."""
_LENGTH: Final = 600


class Checked(msgspec.Struct):
    """What self-checks have found: one of them, or all since the process began."""

    passes: int = 0
    things: int = 0
    """Questions, units and merged items that were compared."""
    rows: int = 0
    """Rows that were compared with the database."""
    cpu: float = 0.0
    """Seconds of CPU."""
    differences: Counter[str] = msgspec.field(default_factory=Counter)
    """Things that the engine kept wrong, by kind ("Query", "Row", "Member", …). Each of them is a bug."""
    drift: Counter[str] = msgspec.field(default_factory=Counter)
    """Rows of the database that were not as desired though nothing was under way, by table."""

    def add(self, other: Checked) -> None:
        """Add what another pass has found."""
        self.passes += other.passes
        self.things += other.things
        self.rows += other.rows
        self.cpu += other.cpu
        self.differences += other.differences
        self.drift += other.drift


class Checkable(Protocol):
    """The reactor, as the self-check sees it."""

    engine: Engine

    def pump(self) -> bool:
        """One slice of evaluation and hand-over. Returns whether work is left."""

    def all_rows(self) -> Iterable[RowKey]:
        """Every row, desired or existing; none while nothing is written."""

    def under_way(self, row: RowKey) -> bool:
        """Whether a row is being written or waits for it."""

    def rows_changed(self, keys: Iterable[RowKey]) -> None:
        """Compare these rows and write the difference."""


class SelfCheck:
    """Self-checks of one reactor, one at a time."""

    def __init__(self, reactor: Checkable) -> None:
        self.total = Checked()
        self.compare: Callable[..., Sequence[Any]] | None = None
        """(table, key) → what would be written for a row, without noting that it was asked for."""
        self._reactor = reactor
        self._one = asyncio.Lock()
        self._cpu = 0.0

    async def run(self) -> Checked:
        """One pass: whatever differs is counted, logged and put right."""
        async with self._one:
            found, self._cpu = Checked(passes=1), 0.0
            async for count, steps in self._sliced(Check(self._reactor.engine).steps()):
                found.things += count
                for difference in (d for differences in steps for d in differences):
                    found.differences[difference.kind] += 1
                    self._log_difference(difference, found.differences.total())
            async for count, rows in self._sliced(self._drift()):
                found.rows += count
                for row, changes in rows:
                    found.drift[row[0]] += 1
                    self._log_drift(row, changes, found.drift.total())
                self._reactor.rows_changed([row for row, _ in rows])
            found.cpu = self._cpu
            self.total.add(found)
            self._log_pass(found)
        while self._reactor.pump():
            await asyncio.sleep(0)
        return found

    def _drift(self) -> Iterator[tuple[RowKey, Sequence[Any]] | None]:
        if self.compare is not None:
            for row in self._reactor.all_rows():
                changes = () if self._reactor.under_way(row) else self.compare(*row)
                yield (row, changes) if changes else None

    async def _sliced(self, steps: Iterator[T | None]) -> AsyncIterator[tuple[int, list[T]]]:
        """How many steps were taken, and those that found something, slice by slice.

        Between slices the loop is free, and the engine is settled before each.
        """
        more = True
        while more:
            await asyncio.sleep(REST)
            while self._reactor.pump():
                await asyncio.sleep(0)
            began, end = time.thread_time(), time.monotonic() + SLICE
            count, found, more = 0, list[T](), False
            for step in steps:
                count += 1
                if step:
                    found.append(step)
                if time.monotonic() >= end:
                    more = True
                    break
            self._cpu += time.thread_time() - began
            yield count, found

    def _log_difference(self, found: Difference, number: int) -> None:
        if number <= LOGGED:
            text = "self-check: wrong and put right kind=%s owner=%s kept=%s right=%s"
            log.error(text, found.kind, found.owner, _short(found.kept), _short(found.right))

    def _log_drift(self, row: RowKey, changes: Sequence[Any], number: int) -> None:
        if number <= LOGGED:
            text = "self-check: a row is not as desired and nobody noticed table=%s key=%s changes=%s"
            log.warning(text, *row, _short(list(changes)))

    def _log_pass(self, found: Checked) -> None:
        wrong = found.differences.total() + found.drift.total()
        text = "self-check: things=%d rows=%d cpu=%.2fs differences=%s drift=%s"
        values = (found.things, found.rows, found.cpu, dict(found.differences), dict(found.drift))
        log.log(logging.ERROR if wrong else logging.INFO, text, *values)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}… ({len(text)} characters)"

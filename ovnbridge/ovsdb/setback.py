"""Keys that cannot be committed at present: refused by the database, or waiting for a row that does not exist.

Kept for `committer.py`. A refused key is retried after 1 s, 2 s, … 60 s; a waiting one when what it waits for appears.
Either is retried at once when it is touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ovnbridge.ovsdb.replica import RowKey

_FIRST_DELAY, _LAST_DELAY = 1.0, 60.0


class Setbacks:
    """Refused and waiting keys; `retry(key)` is called by the committer whenever it diffs a key."""

    def __init__(self, touch: Callable[[RowKey], None]) -> None:
        self.refused: dict[RowKey, str] = {}
        """Key → the database's reason."""
        self.waiting: dict[RowKey, tuple[RowKey, ...]] = {}
        """Key → rows that it refers to and which do not exist."""
        self._touch = touch
        self._failures: dict[RowKey, int] = {}
        self._timers: dict[RowKey, asyncio.TimerHandle] = {}
        self._waiters: dict[RowKey, dict[RowKey, None]] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to remember of any key."""
        return bool(self.refused or self.waiting or self._failures)

    def __contains__(self, key: RowKey) -> bool:
        return key in self.refused or key in self.waiting

    def hold(self, key: RowKey, reason: str) -> float:
        """The database refuses the key; returns the seconds until it is retried."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.refused[key] = reason
        delay = min(_FIRST_DELAY * (1 << min(failures, 10)), _LAST_DELAY)
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(delay, self._touch, key)
        return delay

    def wait(self, key: RowKey, missing: Iterable[RowKey]) -> None:
        """The key needs rows that do not exist."""
        self.waiting[key] = tuple(missing)
        for target in self.waiting[key]:
            self._waiters.setdefault(target, {})[key] = None

    def appeared(self, touched: set[RowKey]) -> None:
        """These rows have changed: whoever waits for one of them is touched."""
        if self._waiters:
            for target in self._waiters.keys() & touched:
                for key in self._waiters[target]:
                    self._touch(key)

    def retry(self, key: RowKey) -> None:
        """The key is tried now; how often it failed is remembered until `clear`."""
        if self.refused.pop(key, None) is not None:
            self._timers.pop(key).cancel()
        for target in self.waiting.pop(key, ()):
            waiters = self._waiters.get(target, {})
            waiters.pop(key, None)
            if not waiters:
                self._waiters.pop(target, None)

    def clear(self, key: RowKey) -> None:
        """The key is committed."""
        self._failures.pop(key, None)

    def stop(self) -> None:
        """Cancel the retries."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

"""Faults that tests inject: delays, failures, expired and dropped watches.

`requests` asks `intercept` before it handles anything; `watch` registers each open stream here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .errors import ApiError

Match = Callable[[str], bool] | str | re.Pattern[str] | None


class OpenWatch(Protocol):
    def expire(self) -> None: ...
    def cut(self) -> None: ...


@dataclass(slots=True)
class _Fault:
    match: Match
    status: int = 0
    left: float = 0
    retry_after: int | None = None
    seconds: float = 0.0

    def applies(self, request: str) -> bool:
        if self.match is None:
            return True
        if callable(self.match):
            return self.match(request)
        return re.search(self.match, request) is not None


class Faults:
    """What goes wrong from now on; `match` is a predicate or a regular expression on "METHOD path"."""

    def __init__(self, compact: Callable[[], None]) -> None:
        self._faults: list[_Fault] = []
        self._watches: set[OpenWatch] = set()
        self._compact = compact

    def delay(self, seconds: float, match: Match = None) -> None:
        """Every matching request waits before it is handled."""
        self._faults.append(_Fault(match, seconds=seconds))

    def fail(self, status: int, count: int | None = 1, match: Match = None, retry_after: int | None = None) -> None:
        """The next `count` matching requests (None: all) get this status."""
        left = float("inf") if count is None else count
        self._faults.append(_Fault(match, status=status, left=left, retry_after=retry_after))

    def clear(self) -> None:
        self._faults.clear()

    def expire_watches(self) -> None:
        """Every open watch gets a 410 ERROR event and ends, and so does each that resumes from before now."""
        self._compact()
        for watch in list(self._watches):
            watch.expire()

    def drop_watches(self) -> None:
        """The connection of every open watch is cut without a word."""
        for watch in list(self._watches):
            watch.cut()

    @property
    def open_watches(self) -> int:
        return len(self._watches)

    def opened(self, watch: OpenWatch) -> None:
        self._watches.add(watch)

    def closed(self, watch: OpenWatch) -> None:
        self._watches.discard(watch)

    async def intercept(self, request: str) -> None:
        if not self._faults:
            return
        for fault in list(self._faults):
            if not fault.applies(request):
                continue
            if fault.seconds:
                await asyncio.sleep(fault.seconds)
            elif fault.left > 0:
                fault.left -= 1
                if fault.left <= 0:
                    self._faults.remove(fault)
                raise ApiError(fault.status, f"injected fault for {request}", retry_after=fault.retry_after)

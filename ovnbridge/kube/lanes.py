"""Which object is written next: two lanes of keys, retries with their times, and a pause for all.

The bookkeeping of `writer`, without any I/O: an object is at any time queued in one lane, being written, waiting for
a retry, or nowhere.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import NamedTuple, TypeAlias

from ovnbridge.kube.backoff import Backoff
from ovnbridge.kube.plan import Write

ObjectKey: TypeAlias = tuple[str, str]

URGENT, NORMAL = 0, 1


class Refusal(NamedTuple):
    """What the server did not accept, and the time of the plan, which is part of its content."""

    writes: tuple[Write, ...]
    now: str


class Entry:
    """One object on its way."""

    __slots__ = ("backoff", "due", "key", "lane", "refusal", "running", "touched", "urgent")

    def __init__(self, key: ObjectKey) -> None:
        self.key = key
        self.lane: int | None = None
        self.running = False
        self.touched = False
        self.urgent = False
        self.due: float | None = None
        self.backoff: Backoff | None = None
        self.refusal: Refusal | None = None


class Lanes:
    """See the module's docstring. All times are of the caller's monotonic clock."""

    def __init__(self) -> None:
        self._entries: dict[ObjectKey, Entry] = {}
        self._lanes: tuple[deque[Entry], deque[Entry]] = (deque(), deque())
        self._retries: list[tuple[float, int, Entry]] = []
        self._order = itertools.count()
        self._refused = 0

    def touch(self, key: ObjectKey, *, urgent: bool) -> bool:
        """The object may differ. Whether a worker can start on it now."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(key)
        entry.urgent |= urgent
        if entry.running:
            entry.touched = True
            return False
        if entry.due is not None and entry.refusal is None:
            return False  # a retry after a transient failure looks at everything afresh anyway
        self._queue(entry)
        return True

    def _queue(self, entry: Entry, *, front: bool = False) -> None:
        lane = URGENT if entry.urgent else NORMAL
        if entry.lane == lane:
            return
        entry.lane = lane
        if front:
            self._lanes[lane].appendleft(entry)
        else:
            self._lanes[lane].append(entry)

    def take(self, now: float) -> Entry | None:
        """The next object to write; it is running until `done`, `retry`, `refuse` or `put_back`."""
        while self._retries and self._retries[0][0] <= now:
            due, _, entry = heapq.heappop(self._retries)
            if entry.due == due and not entry.running and self._entries.get(entry.key) is entry:
                entry.due = None
                self._queue(entry)
        for number, lane in enumerate(self._lanes):
            while lane:
                entry = lane.popleft()
                if entry.lane == number and not entry.running:  # else moved to the other lane
                    entry.lane = None
                    entry.running = True
                    entry.touched = False
                    return entry
        return None

    def done(self, entry: Entry) -> None:
        """The object is as desired, or gone."""
        entry.running = False
        entry.due = None
        entry.backoff = None
        self._forgive(entry)
        entry.urgent = False
        if entry.touched:
            self._queue(entry)
        else:
            del self._entries[entry.key]

    def put_back(self, entry: Entry) -> None:
        """Not tried at all: first in its lane again."""
        entry.running = False
        self._queue(entry, front=True)

    def retry(self, entry: Entry, now: float, *, least: float = 0.0) -> float:
        """A transient failure: again after a back-off. Returns the delay."""
        self._forgive(entry)
        return self._delay(entry, now, Backoff(first=0.2, longest=30.0), least)

    def refuse(self, entry: Entry, now: float, refusal: Refusal) -> float:
        """A failure that lasts as long as the content: again when touched with other content, or much later."""
        if entry.refusal is None:
            self._refused += 1
            entry.backoff = None
        entry.refusal = refusal
        return self._delay(entry, now, Backoff(first=2.0, longest=300.0), 0.0)

    def still_refused(self, entry: Entry, now: float) -> None:
        """Touched, but the content is the refused one: waits on."""
        entry.running = False
        if entry.due is not None and entry.due <= now:  # its retry came up while it was looked at
            entry.due = None
        if entry.touched or entry.due is None:
            self._queue(entry)

    def _delay(self, entry: Entry, now: float, fresh: Backoff, least: float) -> float:
        if entry.backoff is None:
            entry.backoff = fresh
        delay = max(entry.backoff.next(), least)
        entry.running = False
        entry.due = now + delay
        heapq.heappush(self._retries, (entry.due, next(self._order), entry))
        if entry.touched and entry.refusal is not None:
            self._queue(entry)
        return delay

    def _forgive(self, entry: Entry) -> None:
        if entry.refusal is not None:
            entry.refusal = None
            entry.backoff = None
            self._refused -= 1

    def next_due(self) -> float | None:
        """When the next retry is due."""
        return self._retries[0][0] if self._retries else None

    def ready(self) -> bool:
        """Whether an object is queued."""
        return bool(self._lanes[URGENT] or self._lanes[NORMAL])

    def objects(self) -> list[ObjectKey]:
        """All objects on their way."""
        return list(self._entries)

    def lengths(self) -> dict[str, int]:
        """Number of objects by what they wait for, for metrics."""
        urgent, normal = (len(lane) for lane in self._lanes)
        return {"urgent": urgent, "normal": normal, "retry": len(self._retries), "refused": self._refused}

    @property
    def unsettled(self) -> int:
        """Objects on their way, without those that the server refuses."""
        return len(self._entries) - self._refused

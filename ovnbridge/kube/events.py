"""Kubernetes events about objects: posted once when an `Event` item appears, counted when it appears again.

Fed by `writer` with the event items of each object it looks at. Events are for people, so they never hold anything
up: one request at a time, while the writer has nothing else to do (now and then when it always has), a bounded queue
in which warnings go first and displace the rest, and dropped after a few failures.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ovnbridge.engine.items import Event
from ovnbridge.kube.backoff import Backoff
from ovnbridge.kube.connection import PATCH_TYPES, ApiError, Connection, encode, object_path
from ovnbridge.kube.plan import timestamp
from ovnbridge.model.resource import EVENT, Resource

log = logging.getLogger(__name__)

QUEUE = 1000
REMEMBERED = 4096
# Seconds after which an event is posted although the writer is busy.
PATIENCE = 1.0
ATTEMPTS = 6
LONGEST_NAME = 253
# As client-go: one object may have 25 events at once and one more each 5 minutes.
BURST = 25
REFILL_SECONDS = 300.0


_NOTHING: Mapping[str, tuple[Event, ...]] = {}


class _Occurrence(NamedTuple):
    resource: Resource
    event: Event
    uid: str


class _Series:
    """An Event object of ours that the next occurrence of the same event counts up."""

    __slots__ = ("count", "name", "uid")

    def __init__(self, name: str, uid: str) -> None:
        self.name = name
        self.uid = uid
        self.count = 1


class EventPoster:
    """See the module's docstring."""

    def __init__(self, *, connection: Connection, component: str, instance: str, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._component = component
        self._instance = instance
        self._now = now
        # By kind and key. In a large cluster nearly every pod has one: the items are the desired store's own.
        self._present: dict[str, dict[str, tuple[Event, ...]]] = {}
        self._series: OrderedDict[Event, _Series] = OrderedDict()
        self._spent: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        self._warnings: deque[_Occurrence] = deque()
        self._others: deque[_Occurrence] = deque()
        self._wake = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        self._busy = False
        self._unique = itertools.count(int(now().timestamp() * 1e9))
        self.posted = 0
        self.dropped = 0
        self.on_idle: Callable[[], None] = lambda: None

    def consider(self, resource: Resource, key: str, items: Iterable[Event], actual: Any | None) -> None:
        """Post the events of an object that were not there when it was last considered."""
        present = tuple(items) if actual is not None else ()
        before = self._present.get(resource.kind, _NOTHING).get(key, ())
        if present == before:
            return
        self._remember(resource.kind, key, present)
        for event in sorted(set(present).difference(before), key=lambda e: (e.type, e.reason, e.message)):
            if not self._allowed((resource.kind, key)):
                self.dropped += 1
                continue
            self._enqueue(_Occurrence(resource, event, actual.metadata.uid if actual is not None else ""))

    def baseline(self, kind: str, key: str, items: Iterable[Event]) -> None:
        """Take these events as posted already (by the process before this one)."""
        self._remember(kind, key, tuple(items))

    def idle(self) -> bool:
        """Whether nothing waits to be posted."""
        return not self.queued and not self._busy

    @property
    def queued(self) -> int:
        """Events that wait to be posted."""
        return len(self._warnings) + len(self._others)

    def writer_busy(self, busy: bool) -> None:
        """The writer has, or has no, objects to write: events come after them."""
        if busy:
            self._free.clear()
        else:
            self._free.set()

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            while self.queued:
                if not self._free.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PATIENCE):
                            await self._free.wait()
                self._busy = True
                try:
                    await self._post_or_drop((self._warnings or self._others).popleft())
                finally:
                    self._busy = False
            self.on_idle()
            self._wake.clear()
            await self._wake.wait()

    def _enqueue(self, occurrence: _Occurrence) -> None:
        warning = occurrence.event.type == "Warning"
        if self.queued >= QUEUE:
            self.dropped += 1
            if not warning or not self._others:
                return
            self._others.pop()
        (self._warnings if warning else self._others).append(occurrence)
        self._wake.set()

    def _remember(self, kind: str, key: str, present: tuple[Event, ...]) -> None:
        if present:
            self._present.setdefault(kind, {})[present[0].key] = present
        elif kind in self._present:
            self._present[kind].pop(key, None)

    def _allowed(self, place: tuple[str, str]) -> bool:
        now = self._now().timestamp()
        tokens, at = self._spent.pop(place, (float(BURST), now))
        tokens = min(float(BURST), tokens + max(now - at, 0.0) / REFILL_SECONDS)
        allowed = tokens >= 1.0
        self._spent[place] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._spent) > REMEMBERED:
            self._spent.popitem(last=False)
        return allowed

    async def _post_or_drop(self, occurrence: _Occurrence) -> None:
        backoff = Backoff(first=0.5, longest=10.0)
        while True:
            try:
                await self._post(occurrence)
            except ApiError as error:
                retry = error.status in (0, 401, 429) or error.status >= 500
                if not retry or backoff.failures + 1 >= ATTEMPTS:
                    self.dropped += 1
                    event = occurrence.event
                    log.warning(
                        "event dropped kind=%s key=%s reason=%s error=%s", event.kind, event.key, event.reason, error
                    )
                    return
                await asyncio.sleep(max(backoff.next(), error.retry_after or 0.0))
            else:
                self.posted += 1
                return

    async def _post(self, occurrence: _Occurrence) -> None:
        event, resource = occurrence.event, occurrence.resource
        namespace, _, name = event.key.rpartition("/")
        where = namespace or "default"
        now = timestamp(self._now())
        series = self._series.get(event)
        if series is not None and series.uid == occurrence.uid:
            self._series.move_to_end(event)
            patch = encode({"count": series.count + 1, "lastTimestamp": now})
            try:
                await self._connection.request(
                    "PATCH", object_path(EVENT, where, series.name), body=patch, content_type=PATCH_TYPES["merge"]
                )
            except ApiError as error:
                if error.status != 404:  # else: expired, an hour after its last occurrence
                    raise
                del self._series[event]
            else:
                series.count += 1
                return
        unique = f".{next(self._unique):x}"
        series = _Series(name[: LONGEST_NAME - len(unique)] + unique, occurrence.uid)
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": series.name, "namespace": where},
            "involvedObject": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "name": name,
                **({"namespace": namespace} if namespace else {}),
                "uid": occurrence.uid,
            },
            "type": event.type,
            "reason": event.reason[:128],
            "message": event.message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }
        await self._connection.request("POST", EVENT.path(where), body=encode(body))
        self._series[event] = series
        if len(self._series) > REMEMBERED:
            self._series.popitem(last=False)

"""List and watch of one kind: keeps a sink equal to what the API server has.

Started by `cache`; fed by `connection`, and by `writer` through `observe`; drained by the sink (the World), which hears
only of changes. It runs until cancelled: every failure leads to another watch or, when continuity is lost, to another
list, with back-off. One object that cannot be decoded is reported and keeps its previous value; the others go on.
The loop is never held for long: lists are decoded in slices, event bursts in between yield.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from ovnbridge.kube.backoff import Backoff
from ovnbridge.kube.connection import ApiError, Connection, encode
from ovnbridge.kube.known import HasMetadata, Known, Rewound
from ovnbridge.kube.wire import (
    UNKNOWN,
    UNREADABLE,
    Head,
    decode,
    heads,
    number,
    pages,
    statuses,
    watch_events,
)
from ovnbridge.model.crd.codec import Decoder
from ovnbridge.model.resource import Resource

log = logging.getLogger(__name__)

T = TypeVar("T", bound=HasMetadata)
T_contra = TypeVar("T_contra", contravariant=True)

# Longest time for which the loop is held without letting others run.
SLICE_SECONDS = 0.02
SLICE_STEP = 16
# As client-go: the server ends a watch after a random time, so that watches spread over its replicas again.
WATCH_SECONDS = (300, 600)
IDLE_MARGIN_SECONDS = 30
# A stream that lasted this long worked.
STABLE_SECONDS = 1.0
# Lists that may be started over because their continue token expired, before one is asked for in a single page.
PAGED_ATTEMPTS = 3
# Answers to a watch request that mean "not now" rather than "not from there".
TRANSIENT = frozenset({401, 403, 408, 429, 500, 502, 503})
# Watch attempts in a row that brought nothing, before a list is tried instead.
FRUITLESS = 8
OPTIONAL_RETRY_SECONDS = 30.0
LIST_SECONDS = 60.0


class Sink(Protocol[T_contra]):
    """Who is kept equal to the API server."""

    def replace(self, resource: Resource, objects: dict[str, Any] | None) -> None:
        """All objects that exist; the dictionary stays the reflector's, so the sink compares and copies.

        None: the kind is not served (`optional` ones only).
        """
        ...

    def apply(self, resource: Resource, key: str, obj: T_contra | None) -> None:
        """One object appeared, changed or (None) is gone."""
        ...


@runtime_checkable
class SteppedSink(Protocol):
    """A sink that can take a complete list in steps, between which the event loop goes on."""

    def replace_in_steps(self, resource: Resource, objects: dict[str, Any] | None) -> Iterator[None]:
        """As `replace`. `apply` may be called between steps, with what `objects` says from then on."""
        ...


class OnMalformed(Protocol):
    """Hears of objects that cannot be decoded."""

    def __call__(self, resource: Resource, name: str, namespace: str, error: str) -> None:
        """One object of `resource` is not what its schema promises."""
        ...


class _Relist(Exception):
    """Continuity is lost."""


class Reflector(Generic[T]):
    """See the module's docstring."""

    def __init__(
        self,
        *,
        connection: Connection,
        resource: Resource,
        decoder: type[T],
        sink: Sink[T],
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
        page_size: int = 500,
        transform: Callable[[T], T | None] | None = None,
        on_malformed: OnMalformed | None = None,
        consistent: bool = True,
        optional: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random_source: random.Random | None = None,
        watch_seconds: tuple[int, int] = WATCH_SECONDS,
    ) -> None:
        """`transform` reduces an object, or drops it (None).

        `consistent=False` lists from the API server's cache, which may be a little behind: for what runs on every node.
        `optional`: the kind may not be installed; then there are no objects of it, until it is.
        """
        self.resource = resource
        self.namespace = namespace
        self.synced = asyncio.Event()
        self.connected = False
        self.lists = self.watches = self.events = self.malformed = 0
        self._connection = connection
        self._decoder = Decoder(decoder)
        self._sink = sink
        self._selectors = {
            name: value
            for name, value in (("fieldSelector", field_selector), ("labelSelector", label_selector))
            if value
        }
        self._page_size = page_size
        self._transform = transform
        self._on_malformed = on_malformed
        self._consistent = consistent
        self._optional = optional
        self._sleep = sleep
        self._random = random_source or random.Random()
        self._watch_seconds = watch_seconds
        self._backoff = Backoff(first=0.1, longest=30.0, random_source=self._random)
        self._known: Known[T] = Known(complete=not self._selectors)
        self._version = ""
        self._last_problem = ""

    @property
    def objects(self) -> dict[str, T]:
        """All objects, by key. Read only."""
        return self._known.objects

    @property
    def versions(self) -> dict[str, int]:
        """The resourceVersion of each object, where it is a number. Read only."""
        return self._known.versions

    async def run(self) -> None:
        """List and watch until cancelled."""
        try:
            while True:
                await self._list_until_done()
                try:
                    while True:
                        await self._watch_once()
                except (_Relist, Rewound) as reason:
                    log.info("relist resource=%s reason=%s", self._name, reason)
                    await self._sleep(self._backoff.next())
        finally:
            self.connected = False

    def observe(self, reply: bytes | dict[str, Any]) -> None:
        """Take in the reply to a write, ahead of the watch."""
        raw = reply if isinstance(reply, bytes) else encode(reply)
        try:
            head = decode(heads, raw)
        except UNREADABLE:
            return
        if head.kind not in ("", self.resource.kind):  # a Status
            return
        if self.namespace and head.metadata.namespace != self.namespace:
            return
        known, value = self._decode(raw, head)
        if known and self._known.observe(head.key, head.version, value):
            self._sink.apply(self.resource, head.key, self._known.objects.get(head.key))

    # ---- list

    async def _list_until_done(self) -> None:
        while True:
            try:
                await self._list()
            except ApiError as error:
                self.connected = False
                if error.status == 404 and self._optional:
                    await self._install({}, {}, UNKNOWN, "", served=False)
                    await self._sleep(OPTIONAL_RETRY_SECONDS * self._random.uniform(0.8, 1.2))
                    continue
                self._problem("list", error)
                await self._sleep(max(self._backoff.next(), error.retry_after or 0.0))
            else:
                self._works()
                return

    async def _list(self) -> None:
        for attempt in range(PAGED_ATTEMPTS + 1):
            self._known.begin_list()
            try:
                await self._list_pages(0 if attempt == PAGED_ATTEMPTS else self._page_size)
            except ApiError as error:
                if error.status != 410 or attempt == PAGED_ATTEMPTS:
                    raise
                log.info("list started over resource=%s reason=%s", self._name, error.reason)
            else:
                return

    async def _list_pages(self, page_size: int) -> None:
        objects: dict[str, T] = {}
        versions: dict[str, int] = {}
        params: dict[str, str | int] = dict(self._selectors)
        if page_size:
            params["limit"] = page_size
        if not self._consistent:
            params["resourceVersion"] = "0"
        path = self.resource.path(self.namespace)
        while True:
            body = await self._connection.request("GET", path, params=params, timeout=LIST_SECONDS)
            try:
                page = decode(pages, body)
            except UNREADABLE as error:
                raise ApiError(500, "MalformedList", str(error)) from error
            del body
            await self._decode_items(page.items or [], objects, versions)
            if not page.metadata.continue_token:
                break
            params["continue"] = page.metadata.continue_token
            params.pop("resourceVersion", None)
        version = page.metadata.resource_version
        await self._install(objects, versions, number(version), version)
        self.lists += 1

    async def _decode_items(self, items: list[msgspec.Raw], objects: dict[str, T], versions: dict[str, int]) -> None:
        before = self._known.objects
        started = time.perf_counter()
        for index, raw in enumerate(items):
            if index % SLICE_STEP == 0 and time.perf_counter() - started > SLICE_SECONDS:
                await asyncio.sleep(0)
                started = time.perf_counter()
            try:
                head = decode(heads, raw)
            except UNREADABLE as error:
                self._report_malformed(Head(), error)
                continue
            known, value = self._decode(raw, head)
            key = value.metadata.key if value is not None else head.key  # of one without namespace: its own name
            previous = before.get(key)
            if not known or (value is not None and value == previous):
                value = previous  # the copy that the World has
            if value is not None:
                objects[key] = value
                version = head.version
                if version != UNKNOWN:
                    versions[key] = version

    async def _install(
        self, objects: dict[str, T], versions: dict[str, int], position: int, version: str, *, served: bool = True
    ) -> None:
        self._known.finish_list(position, objects, versions)
        self._version = version
        complete = self._known.objects if served else None
        if isinstance(self._sink, SteppedSink):
            started = time.perf_counter()
            for step, _ in enumerate(self._sink.replace_in_steps(self.resource, complete)):
                if step % SLICE_STEP == 0 and time.perf_counter() - started > SLICE_SECONDS:
                    await asyncio.sleep(0)
                    started = time.perf_counter()
        else:
            self._sink.replace(self.resource, complete)
        self.connected = True
        self.synced.set()

    # ---- watch

    async def _watch_once(self) -> None:
        """One watch request from where the last one ended; returns when it should be resumed."""
        if not self._version:
            raise _Relist("no version to watch from")
        seconds = self._random.randint(*self._watch_seconds)
        params: dict[str, str | int] = {
            **self._selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": seconds,
        }
        started = time.monotonic()
        events = self.events
        least = 0.0
        self.watches += 1
        try:
            await self._follow(params, seconds + IDLE_MARGIN_SECONDS)
        except ApiError as error:
            least = error.retry_after or 0.0
            self.connected = False
            self._problem("watch", error)
            if error.status >= 400 and error.status not in TRANSIENT:
                raise _Relist(error) from error
        # A stream that broke at once and said nothing must not be asked for again at once.
        if self.events > events or time.monotonic() - started > STABLE_SECONDS:
            self._backoff.reset()
        elif self._backoff.failures >= FRUITLESS:
            raise _Relist("watch makes no progress")
        if time.monotonic() - started < STABLE_SECONDS or least:
            await self._sleep(max(self._backoff.next(), least))

    async def _follow(self, params: dict[str, str | int], idle_timeout: float) -> None:
        path = self.resource.path(self.namespace)
        slice_started = time.perf_counter()
        count = 0
        async with aclosing(self._connection.stream(path, params, idle_timeout=idle_timeout)) as lines:
            async for line in lines:
                self.connected = True
                self._event(line)
                count += 1
                if count % SLICE_STEP == 0:
                    if time.perf_counter() - slice_started > SLICE_SECONDS:
                        await asyncio.sleep(0)
                    slice_started = time.perf_counter()

    def _event(self, line: bytes) -> None:
        try:
            event = decode(watch_events, line)
            if event.type == "ERROR":
                raise ApiError.of(decode(statuses, event.object))
            head = decode(heads, event.object)
        except UNREADABLE as error:
            log.warning("malformed watch event resource=%s error=%s line=%r", self._name, error, line[:200])
            raise _Relist("malformed event") from error
        if not head.metadata.resource_version:
            raise _Relist("event without a version")
        if event.type == "BOOKMARK":
            self._known.bookmark(head.version)
        elif event.type in ("ADDED", "MODIFIED"):
            if not self._known.echo(head.key, head.version):
                self._changed(event.object, head)
        elif event.type == "DELETED":
            if self._known.deleted(head.key, head.version, head.metadata.uid):
                self._sink.apply(self.resource, head.key, None)
        else:
            raise _Relist(f"event of unknown type {event.type[:40]!r}")
        self._version = head.metadata.resource_version
        self.events += 1
        self._works()

    # ---- objects

    def _changed(self, raw: msgspec.Raw, head: Head) -> None:
        known, value = self._decode(raw, head)
        if not known:
            self._known.bookmark(head.version)
        elif self._known.changed(head.key, head.version, value):
            self._sink.apply(self.resource, head.key, self._known.objects.get(head.key))

    def _decode(self, raw: bytes | msgspec.Raw, head: Head) -> tuple[bool, T | None]:
        """(True, value or None when not of interest), or (False, None) when it cannot be decoded."""
        try:
            value: T | None = self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            self._report_malformed(head, error)
            return False, None
        if value is not None and self._transform is not None:
            value = self._transform(value)
        return True, value

    def _report_malformed(self, head: Head, error: Exception) -> None:
        self.malformed += 1
        meta = head.metadata
        log.warning("malformed object resource=%s key=%s error=%s", self._name, head.key, error)
        if self._on_malformed is not None:
            self._on_malformed(self.resource, meta.name, meta.namespace, str(error))

    @property
    def _name(self) -> str:
        return f"{self.resource.plural}.{self.resource.group}".rstrip(".")

    def _problem(self, verb: str, error: ApiError) -> None:
        """Log a failure once, not at every attempt; that the server is away, the connection tells for all kinds."""
        problem = f"{verb} {error.status} {error.reason}"
        if error.unreachable or problem == self._last_problem:
            level = logging.DEBUG
        else:
            level = logging.WARNING
            self._last_problem = problem
        log.log(level, "%s failed resource=%s error=%s", verb, self._name, error)

    def _works(self) -> None:
        if self._last_problem:
            log.info("works again resource=%s after=%s", self._name, self._last_problem.replace(" ", "_"))
            self._last_problem = ""

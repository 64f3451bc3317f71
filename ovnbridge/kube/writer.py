"""Makes Kubernetes objects as desired: the only place that writes to the API server (events and the lease aside).

Pulled, level-triggered: `touch` says that an object may differ; when its turn comes, `plan` compares what the desired
store wants with what the World has, and the difference is sent. So nothing is lost when a request fails, touches are
merged while an object waits, and a plan is never older than the moment it is sent. Replies go to `observe` at once,
and from there into the World: the next plan knows them. Per object one request at a time; new pods overtake.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ovnbridge.engine.items import Event, ObjectItem, Status
from ovnbridge.kube.backoff import Backoff
from ovnbridge.kube.connection import PATCH_TYPES, ApiError, Connection, delete_options, encode, object_path
from ovnbridge.kube.events import EventPoster
from ovnbridge.kube.lanes import Entry, Lanes, ObjectKey, Refusal
from ovnbridge.kube.plan import DesiredObjects, Objects, PlanError, Write, plan_writes, timestamp
from ovnbridge.kube.wire import UNREADABLE, Head, decode, heads
from ovnbridge.model.resource import Resource

log = logging.getLogger(__name__)

FINALIZERS = frozenset({"kubeovn.io/kube-ovn-controller", "kube-ovn-controller"})
# Kinds that have a status but no status subresource.
STATUS_WITH_OBJECT = frozenset({"Vip"})
# Conflicts in a row after which the next attempt waits.
CONFLICTS = 2
# Seconds that an object waits longer than all others after a request of it was not answered.
STEP_ASIDE = 0.1
# Seconds of planning after which other tasks get their turn.
TURN = 0.01
# Plans for one object in one turn; each but the first answers a conflict or follows a create.
ROUNDS = 8
# Deletions remembered until the watch confirms them; beyond that, one may be asked for twice.
DELETED = 10_000


class Stats(msgspec.Struct):
    """What the writer has done, for metrics."""

    requests: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    conflicts: int = 0
    retries: int = 0
    refusals: int = 0
    throttled: int = 0
    paused_seconds: float = 0.0


class _Gone(Exception):
    """The object that was to be changed does not exist any more."""


class Writer:
    """See the module's docstring."""

    def __init__(
        self,
        *,
        connection: Connection,
        resources: Mapping[str, Resource],
        desired: DesiredObjects,
        objects: Objects,
        observe: Callable[[str, bytes], None],
        now: Callable[[], datetime],
        version: Callable[[str, str], str] | None = None,
        concurrency: int = 32,
        component: str = "kube-ovn-controller",
        instance: str = "",
        on_error: Callable[[str, str, ApiError], None] | None = None,
        own_finalizers: frozenset[str] = FINALIZERS,
        status_with_object: frozenset[str] = STATUS_WITH_OBJECT,
    ) -> None:
        """`version` gives the cached resourceVersion of an object; without it, guarded patches read it first.

        `on_error` hears of every object that the server refuses, once for each attempt.
        """
        self.stats = Stats()
        self.events = EventPoster(connection=connection, component=component, instance=instance, now=now)
        self.events.on_idle = self._check_settled
        self._connection = connection
        self._resources = resources
        self._desired = desired
        self._objects = objects
        self._observe = observe
        self._now = now
        self._version = version
        self._concurrency = concurrency
        self._on_error = on_error
        self._own_finalizers = own_finalizers
        self._status_with_object = status_with_object
        self._lanes = Lanes()
        self._exists: set[ObjectKey] = set()
        self._deleted: OrderedDict[ObjectKey, str] = OrderedDict()
        self._outage = Backoff(first=0.2, longest=10.0)
        self._tasks: asyncio.TaskGroup | None = None
        self._active = 0
        self._paused_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._settled: list[asyncio.Future[None]] = []

    # ---- for the roles

    def touch(self, kind: str, key: str, *, urgent: bool = False) -> None:
        """The object may not be as desired. Urgent ones are written before all others."""
        if self._lanes.touch((kind, key), urgent=urgent):
            self._pump()

    async def run(self) -> None:
        """Write until cancelled. What was touched before is written then."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self.events.run(), name="event poster")
            try:
                self._pump()
                await asyncio.Event().wait()
            finally:
                self._tasks = None
                if self._timer is not None:
                    self._timer.cancel()

    def idle(self) -> bool:
        """Whether everything touched is written, or refused by the server as it is."""
        return not self._lanes.unsettled and self.events.idle()

    def queues(self) -> dict[str, int]:
        """Number of objects by what they wait for, those that are being written ("in_flight") included; for metrics."""
        return {**self._lanes.lengths(), "in_flight": self._active}

    async def settled(self) -> None:
        """Wait until `idle`."""
        while not self.idle():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settled.append(future)
            await future

    def baseline(self, items: Iterable[tuple[ObjectKey, Sequence[ObjectItem]]]) -> None:
        """Take the events among these items as posted before this process began."""
        for (kind, key), wanted in items:
            if events := [item for item in wanted if isinstance(item, Event)]:
                self.events.baseline(kind, key, events)

    # ---- workers

    def _pump(self) -> None:
        """Start workers for what is queued, and wake up for what is due."""
        if self._tasks is None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._paused_until:
            due = self._lanes.next_due()
            # After a failure that was nobody's own, one request finds out whether the server is back.
            concurrency = 1 if self._outage.failures else self._concurrency
            if self._active < concurrency and (self._lanes.ready() or (due is not None and due <= now)):
                self._active += 1
                self.events.writer_busy(True)
                self._tasks.create_task(self._work(), name="kubernetes writer")
            wake = due
        else:
            wake = self._paused_until
        if wake is not None and wake > now and (self._timer is None or self._timer.when() != wake):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(wake, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._pump()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        turn_ends = loop.time() + TURN
        try:
            while loop.time() >= self._paused_until:
                if loop.time() > turn_ends:  # plans that find nothing to write never wait by themselves
                    await asyncio.sleep(0)
                    turn_ends = loop.time() + TURN
                entry = self._lanes.take(loop.time())
                if entry is None:
                    break
                if self._lanes.ready():
                    self._pump()  # one worker starts the next, as far as there is work
                await self._write(entry)
        finally:
            self._active -= 1
            if not self._active and not self._lanes.ready():
                self.events.writer_busy(False)
        self._pump()
        self._check_settled()

    def _check_settled(self) -> None:
        if self._settled and self.idle():
            waiting, self._settled = self._settled, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def _write(self, entry: Entry) -> None:
        """One turn of one object; leaves the entry in its next state whatever happens."""
        kind, key = entry.key
        conflicts = 0
        try:
            for _ in range(ROUNDS):
                now = timestamp(self._now())
                try:
                    writes = self._plan(kind, key, now)
                    if entry.refusal is not None and entry.due is not None:  # touched before its time
                        refusal = entry.refusal
                        if self._plan(kind, key, refusal.now) == refusal.writes:
                            self._lanes.still_refused(entry, asyncio.get_running_loop().time())
                            return
                except PlanError as error:
                    self._refused(entry, Refusal((), now), ApiError(0, "PlanFailed", str(error)))
                    return
                try:
                    again = False
                    for write in writes:
                        again |= await self._send(kind, key, write)
                except ApiError as error:
                    if not await self._conflict(kind, key, writes, error):
                        self._failed(entry, Refusal(writes, now), error)
                        return
                    conflicts += 1
                    if conflicts >= CONFLICTS:
                        self.stats.retries += 1
                        self._lanes.retry(entry, asyncio.get_running_loop().time())
                        return
                    continue
                if not again:
                    break
        except _Gone:
            pass
        except ApiError as error:  # of the read after a conflict
            self._failed(entry, Refusal((), ""), error)
            return
        except asyncio.CancelledError:
            self._lanes.put_back(entry)
            raise
        self._lanes.done(entry)

    def _plan(self, kind: str, key: str, now: str) -> tuple[Write, ...]:
        actual = self._objects.get(kind, key)
        items = self._desired.items(kind, key)
        body = self._desired.lease_body(kind, key)
        place = (kind, key)
        if place in self._exists:
            if actual is None:  # of a kind that is not cached: it is there, and that is all we know
                return ()
            self._exists.discard(place)
        unwanted = False
        if actual is None:
            self._deleted.pop(place, None)
        else:
            unwanted = body is None and self._desired.owned(kind, key, actual)
            deleted = self._deleted.get(place)
            if deleted is not None:
                if deleted == actual.metadata.uid:  # the watch has yet to say so
                    return ()
                del self._deleted[place]
        resource = self._resources[kind]
        self.events.consider(resource, key, (i for i in items if isinstance(i, Event)), actual)
        waits = any(isinstance(item, Status) and item.after_commit for item in items)
        return plan_writes(
            items,
            actual,
            body=body,
            unwanted=unwanted,
            blocked=waits and self._desired.blocked(kind, key),
            now=now,
            own_finalizers=self._own_finalizers,
            status_with_object=kind in self._status_with_object,
        )

    # ---- requests

    async def _send(self, kind: str, key: str, write: Write) -> bool:
        """Send one write. Whether the object should be looked at once more."""
        resource = self._resources[kind]
        namespace, _, name = key.rpartition("/")
        self.stats.requests[(write.verb, kind)] += 1
        if write.verb == "create":
            body = {"apiVersion": resource.api_version, "kind": kind, **write.body}
            reply = await self._connection.request("POST", resource.path(namespace), body=encode(body))
            self._accept(kind, reply)
            if self._objects.get(kind, key) is None:
                self._exists.add((kind, key))
                return False
            return True
        path = object_path(resource, namespace, name, write.subresource)
        if write.verb == "patch":
            body = await self._guarded(kind, key, write) if write.guarded else write.body
            reply = await self._connection.request("PATCH", path, body=encode(body), content_type=PATCH_TYPES["merge"])
            self._accept(kind, reply)
            return False
        actual = self._objects.get(kind, key)
        uid = actual.metadata.uid if actual is not None else ""
        reply = await self._connection.request("DELETE", path, body=encode(delete_options(uid=uid)))
        self._accept(kind, reply)
        if uid:
            self._deleted[(kind, key)] = uid
            if len(self._deleted) > DELETED:
                self._deleted.popitem(last=False)
        return False

    async def _guarded(self, kind: str, key: str, write: Write) -> dict[str, Any]:
        """The body of a guarded patch, with the version of what it was derived from; 409 when that is gone."""
        metadata = write.body.get("metadata", {})
        before = self._objects.get(kind, key)
        version = self._version(kind, key) if self._version is not None else ""
        if not version:
            version = (await self._read(kind, key)).metadata.resource_version
        after = self._objects.get(kind, key)
        if before is None or after is None or before.metadata.finalizers != after.metadata.finalizers:
            raise ApiError(409, "Conflict", "changed since it was read")
        if after.metadata.uid != metadata.get("uid", ""):
            raise ApiError(409, "Conflict", "another one of this name has come since")
        return {**write.body, "metadata": {**metadata, "resourceVersion": version}}

    def _accept(self, kind: str, reply: bytes) -> None:
        if self._outage.failures:
            log.info("writes go on")
            self._outage.reset()
        self._observe(kind, reply)

    async def _read(self, kind: str, key: str) -> Head:
        """Read the object afresh into the World; _Gone when there is none."""
        namespace, _, name = key.rpartition("/")
        self.stats.requests[("get", kind)] += 1
        try:
            reply = await self._connection.request("GET", object_path(self._resources[kind], namespace, name))
        except ApiError as error:
            if error.status == 404:
                raise _Gone from error
            raise
        self._accept(kind, reply)
        try:
            return decode(heads, reply)
        except UNREADABLE as error:
            raise ApiError(500, "Malformed", str(error)) from error

    # ---- failures

    async def _conflict(self, kind: str, key: str, writes: tuple[Write, ...], error: ApiError) -> bool:
        """Whether the failure means that our knowledge was old; then it is fresh now."""
        creating = writes[0].verb == "create"
        if error.status == 404 and not creating:
            raise _Gone from error
        if error.status not in (409, 422):
            return False
        if error.status == 422:
            uid = "" if creating else writes[0].body.get("metadata", {}).get("uid", "")
            if not uid or (await self._read(kind, key)).metadata.uid == uid:
                return False
        else:
            try:
                await self._read(kind, key)
            except _Gone:
                if not creating:  # else created and deleted by somebody: create it again
                    raise
            else:
                if creating and self._objects.get(kind, key) is None:
                    self._exists.add((kind, key))
        self.stats.conflicts += 1
        return True

    def _failed(self, entry: Entry, refusal: Refusal, error: ApiError) -> None:
        loop = asyncio.get_running_loop()
        kind, key = entry.key
        if error.status in (0, 401, 429, 503):
            # Not about this object: everybody waits. The requests that were under way fail with it, as one failure.
            self.stats.throttled += 1
            delay = error.retry_after or 0.0
            if loop.time() >= self._paused_until:
                delay = max(self._outage.next(), delay)
                self.stats.paused_seconds += delay
                level = logging.WARNING if self._outage.failures == 1 else logging.DEBUG
                log.log(level, "writes paused seconds=%.1f kind=%s key=%s error=%s", delay, kind, key, error)
            self._paused_until = max(self._paused_until, loop.time() + delay)
            if error.status == 429:
                self._lanes.put_back(entry)
            else:  # it may be this one that the server cannot answer: let another one try first
                now = loop.time()
                self._lanes.retry(entry, now, least=max(self._paused_until - now, 0.0) + STEP_ASIDE)
        elif error.status >= 500 or error.status in (408, 409):
            self.stats.retries += 1
            delay = self._lanes.retry(entry, loop.time(), least=error.retry_after or 0.0)
            log.warning("write failed kind=%s key=%s retry=%.1f error=%s", kind, key, delay, error)
        else:
            self._refused(entry, refusal, error)

    def _refused(self, entry: Entry, refusal: Refusal, error: ApiError) -> None:
        kind, key = entry.key
        self.stats.refusals += 1
        delay = self._lanes.refuse(entry, asyncio.get_running_loop().time(), refusal)
        log.warning("write refused kind=%s key=%s retry=%.0f error=%s", kind, key, delay, error)
        if self._on_error is not None:
            self._on_error(kind, key, error)

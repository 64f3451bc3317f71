"""Leader election by a coordination.k8s.io Lease, with a fencing epoch (spec control-plane E.5).

`Elector.run` is one term: it acquires the lease, runs the leading coroutine, and has cancelled *and awaited* it before
anybody else can lead. Clocks of machines are never compared: a rival's lease is over only after it has been seen
unchanged for its whole duration on the local clock, and a leader that could not renew for `renew_deadline`, which is
shorter and counted from before the last successful request, stops first. A failed request is no loss: it is tried
again until the deadline; only the server saying that somebody else holds the lease ends a term at once. While the
leading coroutine winds down, renewal goes on; then the lease is released, and rivals, who watch it, take over.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec

from ovnbridge.kube.backoff import Backoff
from ovnbridge.kube.connection import ApiError, Connection, object_path
from ovnbridge.kube.plan import micro_timestamp
from ovnbridge.kube.wire import UNREADABLE, decode
from ovnbridge.model.resource import LEASE

log = logging.getLogger(__name__)

RELEASE_SECONDS = 2.0
WATCH_SECONDS = 120
# A watch that ended sooner did not work, and is not asked for again at once.
STABLE_SECONDS = 1.0
# How often a leader looks at its clock: bounds how late it notices that the machine was suspended.
TICK_SECONDS = 1.0


class _Spec(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct, frozen=True, gc=False):
    spec: _Spec = _Spec()
    metadata: dict[str, Any] = {}


class _WatchEvent(msgspec.Struct, frozen=True, gc=False):
    type: str
    object: _Lease = _Lease()


_leases = msgspec.json.Decoder(_Lease)
_watch_events = msgspec.json.Decoder(_WatchEvent)


def boot_time() -> float:
    """Seconds on a clock that, unlike `time.monotonic`, also runs while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leadership:
    """One term. `epoch` differs between any two terms of different holders."""

    def __init__(self, epoch: str, deadline: Callable[[], float], clock: Callable[[], float]) -> None:
        self.epoch = epoch
        self._deadline = deadline
        self._clock = clock

    def valid(self) -> bool:
        """Whether leadership is proven at this moment."""
        return self._clock() < self._deadline()


class Elector:
    """One candidate. Times are in seconds."""

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration: float = 30.0,
        renew_deadline: float = 20.0,
        retry: float = 6.0,
        clock: Callable[[], float] = boot_time,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random_source: random.Random | None = None,
    ) -> None:
        if not duration > renew_deadline > 1.2 * retry > 0:
            raise ValueError("lease duration > renew deadline > 1.2 x retry period does not hold (spec E.7)")
        if not identity:
            raise ValueError("a candidate needs an identity")
        self._connection = connection
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._duration = duration
        self._renew_deadline = renew_deadline
        self._retry = retry
        self._clock = clock
        self._now = now
        self._random = random_source or random.Random()
        self._free = asyncio.Event()
        self._mine: _Lease | None = None
        self._seen: _Spec | None = None
        self._seen_at = 0.0
        self._renewed = -math.inf
        self._transitions = 0
        self._problem = ""

    async def run(self, lead: Callable[[Leadership], Awaitable[None]]) -> None:
        """Wait for the lease, run `lead` while it is held, return when leadership has ended.

        Whatever `lead` raises is raised after the lease was released.
        """
        await self._acquire()
        leadership = Leadership(f"{self._transitions}-{self._identity}", self._deadline, self._clock)
        log.info("leadership acquired lease=%s epoch=%s", self._place, leadership.epoch)
        leading = asyncio.ensure_future(lead(leadership))
        renewing = asyncio.ensure_future(self._renew())
        cancelled = False
        try:
            await asyncio.wait((leading, renewing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leading.cancel()
            cancelled |= await _ended(leading)
            renewing.cancel()
            cancelled |= await _ended(renewing)
            releasing = asyncio.ensure_future(self._release())
            cancelled |= await _ended(releasing)
            log.info("leadership ended lease=%s epoch=%s", self._place, leadership.epoch)
        if cancelled:
            raise asyncio.CancelledError
        for task in (leading, renewing, releasing):
            if not task.cancelled():
                task.result()

    @property
    def _place(self) -> str:
        return f"{self._namespace}/{self._name}"

    def _deadline(self) -> float:
        return self._renewed + self._renew_deadline

    # ---- candidate

    async def _acquire(self) -> None:
        watching = asyncio.ensure_future(self._watch())
        backoff = Backoff(first=0.2, longest=self._retry, random_source=self._random)
        try:
            while True:
                self._free.clear()
                try:
                    async with asyncio.timeout(self._retry):
                        if await self._hold():
                            return
                    backoff.reset()
                    self._problem = ""
                    wait = min(self._retry * self._random.uniform(0.8, 1.2), self._rival_until() - self._clock())
                except (ApiError, TimeoutError) as error:
                    level = logging.DEBUG if repr(error) == self._problem else logging.WARNING
                    self._problem = repr(error)
                    log.log(level, "lease not acquired lease=%s error=%r", self._place, error)
                    wait = backoff.next()
                try:
                    async with asyncio.timeout(max(wait, 0.01)):
                        await self._free.wait()
                except TimeoutError:
                    pass
        finally:
            watching.cancel()
            await asyncio.wait((watching,))

    async def _watch(self) -> None:
        """Look at a rival's lease as it changes: an addition to polling that makes hand-over fast."""
        path = LEASE.path(self._namespace)
        params: dict[str, str | int] = {
            "watch": "true",
            "fieldSelector": f"metadata.name={self._name}",
            "timeoutSeconds": WATCH_SECONDS,
        }
        while True:
            started = self._clock()
            try:
                async with aclosing(self._connection.stream(path, params, idle_timeout=WATCH_SECONDS + 10)) as lines:
                    async for line in lines:
                        event = decode(_watch_events, line)
                        # Not an ERROR, and deleting the lease does not stop its holder.
                        if event.type in ("ADDED", "MODIFIED"):
                            self._see(event.object.spec)
                            if not event.object.spec.holder_identity:
                                self._free.set()
            except (ApiError, *UNREADABLE) as error:
                log.debug("lease watch failed lease=%s error=%s", self._place, error)
            if self._clock() - started < STABLE_SECONDS:
                await asyncio.sleep(self._retry * self._random.uniform(0.8, 1.2))

    def _see(self, spec: _Spec) -> None:
        if spec != self._seen:
            holder = spec.holder_identity
            if holder and holder != self._identity and (self._seen is None or holder != self._seen.holder_identity):
                log.info("the lease is held lease=%s holder=%s", self._place, holder)
            self._seen, self._seen_at = spec, self._clock()

    def _rival_until(self) -> float:
        """When the lease that was seen last ends, unless it is renewed."""
        if self._seen is None or not self._seen.holder_identity or self._seen.holder_identity == self._identity:
            return -math.inf
        lifetime = self._seen.lease_duration_seconds
        return self._seen_at + (self._duration if lifetime is None else lifetime)

    # ---- leader

    async def _renew(self) -> None:
        """Returns when leadership can no longer be proven."""
        due = self._clock() + self._retry
        while (now := self._clock()) < self._deadline():
            if now < due:
                await asyncio.sleep(min(due - now, self._deadline() - now, TICK_SECONDS))
                continue
            try:
                async with asyncio.timeout(min(self._deadline() - now, self._retry)):
                    if not await self._hold(leading=True):
                        log.warning("leadership lost lease=%s", self._place)
                        self._renewed = -math.inf
                        return
                due = self._clock() + self._retry
            except (ApiError, TimeoutError) as error:
                log.warning("lease not renewed lease=%s error=%r", self._place, error)
                due = self._clock() + self._retry / 3
        log.error("leadership cannot be proven any more lease=%s", self._place)

    async def _hold(self, *, leading: bool = False, attempts: int = 2) -> bool:
        """Acquire or renew. False when somebody else holds the lease; ApiError when that is not known."""
        started = self._clock()
        lease, self._mine = self._mine, None
        try:
            if lease is None:
                lease = await self._look()
                if started < self._rival_until():  # also when it is gone: deleting it does not stop its holder
                    return False
            if lease is None:
                before = self._seen or _Spec()
                method, metadata = "POST", {}
            else:
                before = lease.spec
                method, metadata = "PUT", lease.metadata
            mine = before.holder_identity == self._identity
            if leading and not mine:
                return False
            transitions = 0 if before == _Spec() else (before.lease_transitions or 0) + (0 if mine else 1)
            body = self._body(metadata, transitions, before.acquire_time if mine else None)
            started = self._clock()
            self._take(await self._request(method, body), started)
        except ApiError as error:
            if error.status not in (404, 409) or attempts == 1:
                raise
            # Written by somebody else meanwhile: a fresh look tells who.
            return await self._hold(leading=leading, attempts=attempts - 1)
        return True

    async def _look(self) -> _Lease | None:
        try:
            lease = decode(_leases, await self._request("GET"))
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        self._see(lease.spec)
        return lease

    def _take(self, reply: bytes, started: float) -> None:
        self._mine = decode(_leases, reply)
        self._transitions = self._mine.spec.lease_transitions or 0
        self._renewed = started
        self._see(self._mine.spec)

    async def _release(self) -> None:
        """Let go of the lease if it is still ours, so that a rival need not wait for its end."""
        released = self._renewed, self._mine
        self._renewed, self._mine = -math.inf, None
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                lease = released[1] or decode(_leases, await self._request("GET"))
                if lease.spec.holder_identity == self._identity:
                    body = self._body(lease.metadata, lease.spec.lease_transitions or 0, lease.spec.acquire_time)
                    body["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._request("PUT", body)
        except (ApiError, TimeoutError, *UNREADABLE) as error:
            log.warning("lease not released lease=%s error=%r", self._place, error)

    # ---- requests

    async def _request(self, method: str, body: dict[str, Any] | None = None) -> bytes:
        path = LEASE.path(self._namespace) if method == "POST" else object_path(LEASE, self._namespace, self._name)
        reply = await self._connection.request(
            method, path, body=None if body is None else msgspec.json.encode(body), timeout=self._retry
        )
        try:
            decode(_leases, reply)
        except UNREADABLE as error:
            raise ApiError(0, "Malformed", str(error)) from error
        return reply

    def _body(self, metadata: dict[str, Any], transitions: int, acquired: str | None) -> dict[str, Any]:
        now = micro_timestamp(self._now())
        kept = {name: metadata[name] for name in KEPT if name in metadata}
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {**kept, "name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": math.ceil(self._duration),
                "acquireTime": acquired or now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }


# What an update must repeat of an object's metadata, not to change it.
KEPT = ("resourceVersion", "uid", "labels", "annotations", "finalizers", "ownerReferences")


async def _ended(task: asyncio.Future[Any]) -> bool:
    """Wait until a task is over, however often we are cancelled meanwhile. Whether we were."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            cancelled = True
    return cancelled

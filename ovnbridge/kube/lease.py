"""Leader election by a coordination.k8s.io Lease, with a fencing epoch (spec control-plane E.5).

`Elector.run` acquires the lease, runs the leading coroutine, and cancels *and awaits* it before anybody else can lead:
clocks of machines are never compared, a rival's lease counts as expired only after it has been seen unchanged for its
whole duration on the local monotonic clock, and a leader that cannot renew within `renew_deadline` (which is shorter)
stops first. An orderly stop releases the lease; rivals look at it every second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from ovnbridge.kube.connection import ApiError, Connection
from ovnbridge.kube.plan import micro_timestamp
from ovnbridge.model.resource import LEASE

log = logging.getLogger(__name__)

_POLL = 1.0
"""Seconds between two looks at a rival's lease: bounds the hand-over after a release."""


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
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not duration > renew_deadline > 1.2 * retry > 0:
            raise ValueError("lease duration > renew deadline > 1.2 x retry period does not hold (spec E.7)")
        self._connection = connection
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._duration = duration
        self._renew_deadline = renew_deadline
        self._retry = retry
        self._clock = clock
        self._sleep = sleep
        self._seen: tuple[Any, ...] | None = None
        self._seen_at = 0.0
        self._renewed = 0.0
        self._transitions = 0

    async def run(self, lead: Callable[[Leadership], Awaitable[None]]) -> None:
        """Wait for the lease, run `lead` while it is held, return when leadership has ended.

        Whatever `lead` raises is raised after the lease was released.
        """
        while not await self._try():
            await self._sleep(min(self._retry, _POLL))
        log.info("leadership acquired lease=%s/%s identity=%s", self._namespace, self._name, self._identity)
        epoch = f"{self._transitions}-{self._identity}"
        leadership = Leadership(epoch, lambda: self._renewed + self._renew_deadline, self._clock)
        leading = asyncio.ensure_future(lead(leadership))
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait((leading, renewing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            renewing.cancel()
            leading.cancel()
            results = await asyncio.gather(leading, renewing, return_exceptions=True)
            await self._release()
        outcome = results[0]
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome

    async def _renew(self) -> None:
        """Returns when leadership can no longer be proven."""
        while self._clock() < self._renewed + self._renew_deadline:
            left = self._renewed + self._renew_deadline - self._clock()
            await self._sleep(min(self._retry, left))
            try:
                async with asyncio.timeout(max(self._renewed + self._renew_deadline - self._clock(), 0.01)):
                    if not await self._try():
                        log.warning("leadership lost lease=%s/%s", self._namespace, self._name)
                        return
            except TimeoutError:
                continue
        log.warning("leadership cannot be renewed lease=%s/%s", self._namespace, self._name)

    async def _try(self) -> bool:
        """Acquire or renew. False when somebody else holds the lease or the server did not say so."""
        started = self._clock()
        try:
            try:
                lease = await self._connection.get(LEASE, self._namespace, self._name)
            except ApiError as error:
                if error.status != 404:
                    raise
                await self._connection.create(LEASE, self._namespace, self._body({}, 0, first=True))
                self._transitions = 0
                self._renewed = started
                return True
            return await self._update(lease, started)
        except ApiError as error:
            log.info("lease not renewed lease=%s/%s status=%d reason=%s", self._namespace, self._name, error.status, error)
            return False

    async def _update(self, lease: dict[str, Any], started: float) -> bool:
        spec = lease.get("spec", {})
        holder = spec.get("holderIdentity") or ""
        state = (holder, spec.get("renewTime"), spec.get("leaseTransitions"), spec.get("leaseDurationSeconds"))
        if state != self._seen:
            self._seen, self._seen_at = state, self._clock()
        mine = holder == self._identity
        if holder and not mine:
            lifetime = float(spec.get("leaseDurationSeconds") or self._duration)
            if self._clock() < self._seen_at + lifetime:
                return False
        transitions = int(spec.get("leaseTransitions") or 0) + (0 if mine else 1)
        body = self._body(lease["metadata"], transitions, first=not mine, acquired=spec.get("acquireTime"))
        await self._connection.replace(LEASE, self._namespace, self._name, body)
        self._transitions = transitions
        self._renewed = started
        return True

    def _body(
        self, metadata: dict[str, Any], transitions: int, *, first: bool, acquired: str | None = None
    ) -> dict[str, Any]:
        now = micro_timestamp(datetime.now(UTC))
        kept = {k: metadata[k] for k in ("resourceVersion", "uid", "labels", "annotations") if k in metadata}
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace, **kept},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(self._duration),
                "acquireTime": now if first or not acquired else acquired,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }

    async def _release(self) -> None:
        """Let go of the lease if it is ours, so that a rival need not wait for its end."""
        with contextlib.suppress(ApiError, TimeoutError):
            async with asyncio.timeout(2):
                lease = await self._connection.get(LEASE, self._namespace, self._name)
                spec = lease.get("spec", {})
                if spec.get("holderIdentity") != self._identity:
                    return
                body = self._body(lease["metadata"], int(spec.get("leaseTransitions") or 0), first=False)
                body["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._connection.replace(LEASE, self._namespace, self._name, body)
                log.info("leadership released lease=%s/%s", self._namespace, self._name)

"""Pods whose termination should be over: from then on the engine sees them as gone (spec C.9, "Alive test").

Their kubelet may be lost for ever, and whoever replaces them may need their address. Fed by the pods' source; the only
rule that depends on the time, which is why it stands before the World and not behind it.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ovnbridge.engine.world import World
from ovnbridge.model.kube import Pod

log = logging.getLogger(__name__)


def due(pod: Pod) -> float | None:
    """When a pod counts as gone, in seconds since the epoch: its deletionTimestamp and its grace period once more."""
    meta = pod.metadata
    if meta.deletion_timestamp is None or meta.deletion_grace_period_seconds is None:
        return None
    try:
        asked = datetime.fromisoformat(meta.deletion_timestamp).timestamp()
    except ValueError:
        return None
    return asked + meta.deletion_grace_period_seconds


class Overdue:
    """Takes pods out of the World when their time has come. `now`: seconds since the epoch."""

    def __init__(self, *, world: World, wake: Callable[[], None], now: Callable[[], float]) -> None:
        self._world = world
        self._wake = wake
        self._now = now
        self._waiting: list[tuple[float, str]] = []
        """Times and keys of pods that are being deleted, the next one first; some may be gone meanwhile."""
        self._earlier = asyncio.Event()

    def observe_pod(self, key: str, pod: Any | None) -> Any | None:
        """A pod came, changed or went. Returns what the engine is to see of it."""
        when = due(pod) if isinstance(pod, Pod) else None
        if when is None:
            return pod
        if when <= self._now():
            return None
        heapq.heappush(self._waiting, (when, key))
        self._earlier.set()
        return pod

    def expire(self) -> float | None:
        """Take out whose time has come. Returns the seconds until the next one, None when nobody waits."""
        while self._waiting and self._waiting[0][0] <= self._now():
            when, key = heapq.heappop(self._waiting)
            pod = self._world.get("Pod", key)
            if isinstance(pod, Pod) and due(pod) == when:
                log.warning("pod not gone after its grace period pod=%s", key)
                self._world.put("Pod", key, None)
                self._wake()
        return self._waiting[0][0] - self._now() if self._waiting else None

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            self._earlier.clear()
            try:
                async with asyncio.timeout(self.expire()):
                    await self._earlier.wait()
            except TimeoutError:
                pass

"""The event loop's health: how late it is, and the cyclic collector, which must not stop it for long."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

from ovnbridge.observe.metrics import Metrics

_INTERVAL = 0.1
# A pod leaves dozens of containers behind; Python's own 700 would have the collector run all the time, and look at what
# is only in flight. The last two bound what one collection looks at, and so how long it stops the loop.
_THRESHOLDS = (5_000, 4, 2)
_MOST = 5_000 * 5 * 3
"""Objects that a full collection looks at."""
_FULL = 2
_SMALL = 100_000
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


async def watch_loop(metrics: Metrics) -> None:
    """Observe every 100 ms by how many seconds the loop wakes up too late (`ovnbridge_loop_lag_seconds`)."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _INTERVAL
        await asyncio.sleep(_INTERVAL)
        lag = max(loop.time() - due, 0.0)
        metrics.observe("ovnbridge_loop_lag_seconds", "How late the event loop wakes up", lag, {}, _BUCKETS)


def settle_garbage_collector() -> None:
    """After a load that ran with the collector off: what was loaded stays, so the collector need not look at it again.

    A full collection of a large cluster's objects stops the loop for hundreds of milliseconds (findings, engine.md).
    The same holds for what survives later ones: nearly all of it is World data, which has no cycles and goes when
    nobody refers to it. So each full collection looks only at what has come since the one before. When that has doubled
    what is left aside, cycles may have died among it, and everything is looked at once. Even counting what is left
    aside stops the loop (60 ns an object), so it is counted only when it may have doubled since the last time.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    callback = _keeper(gc.get_freeze_count())
    gc.callbacks[:] = [known for known in gc.callbacks if getattr(known, "__name__", "") != callback.__name__]
    gc.callbacks.append(callback)
    gc.enable()


def _keeper(settled: int) -> Callable[[str, dict[str, int]], None]:
    added = 0  # at most, since it was counted

    def keep_survivors(phase: str, info: dict[str, int]) -> None:
        nonlocal settled, added
        if info["generation"] != _FULL:
            return
        if phase == "start" and added > settled + _SMALL:
            added = 0
            if gc.get_freeze_count() > 2 * settled + _SMALL:
                gc.unfreeze()
                settled = 0
        elif phase == "stop":
            gc.freeze()
            added += _MOST
            settled = settled or gc.get_freeze_count()

    return keep_survivors

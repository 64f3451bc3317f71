"""The event loop's health: how late it is, and the cyclic collector, which must not stop it for long."""

from __future__ import annotations

import asyncio
import gc

from ovnbridge.observe.metrics import Metrics

_INTERVAL = 0.05
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_THRESHOLDS = (20_000, 20, 100)
"""A first generation of 20,000 containers is walked through in about a millisecond."""


async def watch_loop(metrics: Metrics) -> None:
    """Observe every 50 ms by how many seconds the loop wakes up too late (`ovnbridge_loop_lag_seconds`)."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _INTERVAL
        await asyncio.sleep(_INTERVAL)
        lag = max(loop.time() - due, 0.0)
        metrics.observe("ovnbridge_loop_lag_seconds", "How late the event loop wakes up", lag, {}, _BUCKETS)


def settle_garbage_collector() -> None:
    """After a load that ran with the collector off: what was loaded stays, so the collector need not look at it again.

    A full collection of a large cluster's objects stops the loop for hundreds of milliseconds (findings, engine.md).
    What is created afterwards is nearly all long-lived, too: with Python's thresholds (700, 10, 10) the collector took
    half of the CPU of a burst, mostly walking again through what the burst had just created.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()

"""`POST /self-check` and `--self-check-interval`: compare what is kept with a full recomputation (issue 4, point 1).

The comparison itself is the reactor's; here it is offered to operators and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from ovnbridge.observe.http import HealthServer


class Checked(Protocol):
    """What one self-check found."""

    things: int
    """What was compared."""
    rows: int
    """Rows that were compared with the database."""
    cpu: float
    """Seconds."""

    @property
    def differences(self) -> Mapping[str, int]:
        """What was kept wrong, by kind: each is a bug of ours. Repaired."""

    @property
    def drift(self) -> Mapping[str, int]:
        """Rows that were not as desired though nothing was under way, by table. Repaired."""


_REFUSAL: Final = (
    "a self-check may only be asked for on the controller's own machine: "
    "run the command there, or start the controllers with --self-check-remote"
)


class SelfChecks:
    """Offers a self-check on a process's HTTP server and counts what all of them find."""

    def __init__(self, health: HealthServer, check: Callable[[], Awaitable[Checked]], *, remote: bool) -> None:
        self._metrics = health.metrics
        self._check = check
        health.action("self-check", self._asked, refusal="" if remote else _REFUSAL)

    async def every(self, interval: float) -> None:
        """One check each `interval` seconds until cancelled, none when it is 0."""
        while interval > 0:
            await asyncio.sleep(interval)
            await self.once()

    async def once(self) -> Checked:
        """Check now."""
        found = await self._check()
        self._metrics.count("ovnbridge_self_checks_total", "Self-checks that have ended")
        for kind, number in found.differences.items():
            labels = {"kind": kind}
            self._metrics.count(
                "ovnbridge_self_check_differences_total", "What was kept wrong, and put right", labels, number
            )
        for table, number in found.drift.items():
            self._metrics.count(
                "ovnbridge_self_check_drift_total", "Rows that were not as desired", {"table": table}, number
            )
        return found

    async def _asked(self) -> Mapping[str, Any]:
        found = await self.once()
        return {
            "compared": found.things,
            "rows": found.rows,
            "cpu_seconds": round(found.cpu, 3),
            "differences": dict(found.differences),
            "drift": dict(found.drift),
        }

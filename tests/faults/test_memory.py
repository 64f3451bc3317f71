"""20,000 pods come and go: the controller's memory does not grow from round to round."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.estate import Estate
from tests.faults.harness import NODES, NOTE, SMALL_CAPACITY, Violation

ROUNDS, PODS, REFUSED = 20, 1000, 60
"""Of each round's pods `REFUSED` ask for addresses in a subnet that has only a few: each gets events."""
WARM = 12
"""Rounds until the caches of fixed size are full."""
GROWTH = 1 << 20
"""Bytes that the last rounds may be above those until the warm-up's end: 175 for each pod between them.

The highest ones are compared: now and then the collector looks at everything (`observe/loop.py`) and it is 10 MiB less.
"""


class Memory(Estate):
    async def round(self, number: int, leases: int) -> None:
        """Create all pods, wait until they have what they can have, delete them and wait until all is gone."""
        pods = [("b" if n < REFUSED else "a", f"r{number}-{n}") for n in range(PODS)]
        for n, (space, name) in enumerate(pods):
            self.pod(space, name, NODES[n % 3])
        await self._patiently(lambda: self._programmed() == PODS - REFUSED + SMALL_CAPACITY)
        for space, name in pods:
            self.delete(space, name)
        await self._patiently(lambda: len(self._collection("kubeovn.io", "ips").objects) == leases)
        await asyncio.sleep(1)  # events come last, statuses wait for each other

    def _programmed(self) -> int:
        return sum(
            f"{NOTE}routed" in pod["metadata"].get("annotations", {})
            for pod in self.objects("", "pods")
            if pod["metadata"]["namespace"] in "ab"
        )

    async def _patiently(self, done: Callable[[], bool]) -> None:
        for _ in range(600):
            if done():
                return
            self._check_alive()
            await asyncio.sleep(0.2)
        raise Violation("a round does not end")

    def resident(self) -> int:
        """Bytes of the controller's own memory, without the pages of files that it maps."""
        lines = Path(f"/proc/{self.controller_pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


@pytest.mark.slow
@pytest.mark.timeout(2700)
async def test_twenty_thousand_pods_leave_nothing_behind() -> None:
    async with Memory() as harness:
        await harness.settle()
        leases = len(harness.leases())
        sizes = []
        for number in range(ROUNDS):
            await harness.round(number, leases)
            sizes.append(harness.resident())
            print(f"round {number + 1}: {sizes[-1] / (1 << 20):.1f} MiB", flush=True)
        found = await harness.self_check()
        assert (found["differences"], found["drift"]) == ({}, {})
        assert max(sizes[-3:]) - max(sizes[: WARM + 3]) < GROWTH, [size >> 10 for size in sizes]

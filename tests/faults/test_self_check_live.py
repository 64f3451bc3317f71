"""`POST /self-check` of the real controller, and its periodic form."""

from __future__ import annotations

import asyncio

import aiohttp

from tests.faults.harness import Harness


async def test_nothing_differs_and_everything_is_compared() -> None:
    async with Harness(listens=True, flags=("--self-check-interval=500ms",)) as harness:
        harness.pod("a", "web", "node-1")
        await harness.settle()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{harness.health_port}") as session:
            async with session.post("/self-check") as reply:
                assert reply.status == 200
                found = await reply.json()
            assert found["compared"] > 0
            assert found["rows"] > 0
            assert (found["differences"], found["drift"]) == ({}, {})
            for _ in range(200):  # the periodic ones are counted as well
                async with session.get("/metrics") as reply:
                    lines = (await reply.text()).splitlines()
                totals = [float(line.split()[-1]) for line in lines if line.startswith("ovnbridge_self_checks_total")]
                if totals and totals[0] >= 3:
                    break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError(f"no periodic self-checks: {totals}")

"""kill -9 at random points while everything around the controller fails (issue, "Crash safety")."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.faults.estate import Estate
from tests.faults.estate_scripts import change
from tests.faults.harness import Harness
from tests.faults.scripts import draw


def _seed(usual: int | None = None) -> int:
    return int(os.environ.get("OVNBRIDGE_SEED") or usual or random.SystemRandom().randrange(1 << 32))


async def _run(seed: int, kills: int, *, raft: bool = False, everything: bool = False) -> None:
    print(f"OVNBRIDGE_SEED={seed}")
    started = time.monotonic()
    async with (Estate if everything else Harness)(raft=raft) as harness:
        await harness.run(draw(seed, kills, raft=raft, more=change if everything else None))
        if not raft:
            await _compare_with_rebuilt(harness)
        print(f"{harness.kills} kills, {harness.observer.seen} writes seen, {time.monotonic() - started:.1f} s")
        assert harness.kills == kills


async def _compare_with_rebuilt(harness: Harness) -> None:
    """What many half-done runs have left is what one makes from nothing."""
    if isinstance(harness, Estate):  # a subnet whose VPC is no more keeps rows that nothing could make anew
        await harness.run([*(("put", "vpcs", f"v{number}", {}) for number in (1, 2, 3)), ("settle",)])
    before = await harness.snapshot()
    await harness.run([("empty_nb",), ("settle",)])
    assert await harness.snapshot() == before


@pytest.mark.parametrize(("kills", "everything", "usual"), [(25, False, 11), (30, True, 12)])
async def test_kills(kills: int, everything: bool, usual: int) -> None:
    """The same script in each run, though not the same moments; the slow ones draw others."""
    await _run(_seed(usual), kills, everything=everything)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(6))
async def test_a_thousand_kills(part: int) -> None:
    """More than 1,500: odd parts with all kinds of objects."""
    await _run(_seed() + part, 260, everything=bool(part % 2))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("everything", [False, True])
async def test_kills_with_raft(everything: bool) -> None:
    await _run(_seed(), 100, raft=True, everything=everything)


async def test_emptied_database_is_rebuilt() -> None:
    """NB is lost while the controller runs: the same rows come back, with nobody restarting anything."""
    async with Harness() as harness:
        await harness.run([("pod", ns, f"p{n}", f"node-{n % 3 + 1}") for ns in "ab" for n in range(10)])
        await harness.run([("settle",)])
        before, leases = await harness.snapshot(), harness.leases()
        pid = harness.controller_pid
        await harness.run([("empty_nb",), ("settle",)])
        assert await harness.snapshot() == before
        assert harness.leases() == leases
        assert harness.controller_pid == pid

"""What random scripts have found, with the few actions that it takes. Paste the lines of a failure's log here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.faults.harness import Action, Harness
from tests.faults.shrink import shrink

_FULL = [("pod", "b", f"p{number}", "node-1") for number in range(12)]

REPLAYS: dict[str, list[Action]] = {
    # The lease of a deleted pod was deleted, and before the controller heard of it, a new pod of that name got it.
    "namesake of a pod whose lease is being deleted": [
        *_FULL,
        ("settle",),
        *[("namesake", "b", f"p{number}", "node-2") for number in range(12)],
        ("settle",),
    ],
}


@pytest.mark.parametrize("name", REPLAYS)
async def test_replay(name: str) -> None:
    async with Harness() as harness:
        await harness.run(REPLAYS[name])


async def test_shrinking_finds_the_culprits() -> None:
    script = [("wait", number) for number in range(40)]

    async def fails(candidate: Sequence[Action]) -> bool:
        return {("wait", 3), ("wait", 31)} <= set(candidate)

    assert await shrink(script, fails) == [("wait", 3), ("wait", 31)]

"""Find the few actions of a failing script that it takes: `python -m tests.faults.shrink SEED [KILLS]`.

Races do not fail every time, so a script that passes is tried a few times before it counts as passing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from tests.faults.harness import Action, Harness, Violation
from tests.faults.scripts import draw

ATTEMPTS = 3
Fails = Callable[[Sequence[Action]], Awaitable[bool]]


async def fails(script: Sequence[Action]) -> bool:
    """Whether a script fails in one of a few attempts."""
    for _ in range(ATTEMPTS):
        async with Harness() as harness:
            try:
                await harness.run([*script, ("settle",)])
            except Violation:
                return True
    return False


async def shrink(script: Sequence[Action], still_fails: Fails = fails) -> list[Action]:
    """Leave out as much as possible, large parts first."""
    kept = list(script)
    size = len(kept) // 2
    while size:
        at = max(0, len(kept) - size)
        while True:  # from the end: what is near the failure is kept longest if it matters
            shorter = kept[:at] + kept[at + size :]
            if shorter != kept and await still_fails(shorter):
                kept = shorter
                print(f"{len(kept)} actions", flush=True)
            if at == 0:
                break
            at = max(0, at - size)
        size //= 2
    return kept


async def _main(seed: int, kills: int) -> int:
    async with Harness() as harness:
        try:
            await harness.run(draw(seed, kills))
        except Violation as violation:
            print(str(violation).splitlines()[0])
            script = list(harness.log)
        else:
            print("this seed does not fail")
            return 0
    for action in await shrink(script):
        print(f"        {action!r},")
    return 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 55)))

"""Random scripts: the same seed gives the same actions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tests.faults.harness import NODES, Action

NAMES = {"a": 12, "b": 18}
"""Pods by namespace: in `b` more than its subnet has addresses."""


def draw(
    seed: int,
    kills: int,
    *,
    raft: bool = False,
    between: int = 5,
    more: Callable[[random.Random], Action] | None = None,
) -> Iterator[Action]:
    """Churn and faults with a kill after every few actions, all settled after `between` kills; half of the churn is
    drawn from `more`."""
    rng = random.Random(seed)
    subnets: list[str] = []
    number = 0
    yield ("settle",)
    while number < kills:
        for _ in range(min(between, kills - number)):
            if rng.random() < 0.6:
                yield ("leading",)
            for _ in range(rng.randint(1, 6)):
                yield more(rng) if more is not None and rng.random() < 0.6 else _churn(rng, subnets)
            if rng.random() < 0.4:
                yield _fault(rng, raft)
            if rng.random() < 0.3:
                yield _churn(rng, subnets)
            yield ("kill", round(rng.uniform(0, 0.4), 3))
            number += 1
        if rng.random() < 0.2:
            yield ("stop",)
        yield ("settle",)


def _churn(rng: random.Random, subnets: list[str]) -> Action:
    namespace = rng.choice("aab" if rng.random() < 0.5 else "b")
    name, node = f"p{rng.randrange(NAMES[namespace])}", rng.choice(NODES)
    what = rng.choices(
        ["pod", "delete", "recreate", "terminate", "complete", "subnet", "delete_subnet"], [50, 20, 15, 5, 5, 3, 3]
    )[0]
    if what in ("pod", "recreate"):
        return (what, namespace, name, node)
    if what == "subnet" or (what == "delete_subnet" and not subnets):
        taken = {int(subnet[1:]) % (1 << 14) for subnet in subnets}  # two with one CIDR would not both be Ready
        number = next(n for n in iter(lambda: rng.randrange(1 << 20), None) if n % (1 << 14) not in taken)
        subnets.append(f"s{number}")
        return ("subnet", subnets[-1], f"10.{128 + number % 64}.{number // 64 % 256}.0/24")
    if what == "delete_subnet":
        return (what, subnets.pop(rng.randrange(len(subnets))))
    return (what, namespace, name)


def _fault(rng: random.Random, raft: bool) -> Action:
    seconds = round(rng.uniform(0.05, 0.6), 3)
    common: list[Action] = [
        ("drop_watches",),
        ("expire_watches",),
        ("delay_api", round(seconds / 6, 3)),
        ("fail_api", rng.choice([500, 503, 504]), rng.randint(1, 10)),
        ("fail_api", 429, rng.randint(1, 4)),
        ("fail_api", 500, rng.randint(1, 6), "PATCH|POST"),
        ("storm_api", rng.choice([429, 500, 503]), 0.5),
        ("cut_api",),
        ("lose_api", "requests", seconds),
        ("lose_api", "replies", seconds),
        ("cut_nb",),
        ("lose_nb", "requests", seconds),
        ("lose_nb", "replies", seconds),
        ("pause_nb", seconds),
    ]
    alone: list[Action] = [("restart_nb",), ("restart_nb", 15), ("backup_nb",), ("restore_nb",), ("empty_nb",)]
    together: list[Action] = [("kill_nb_leader",), ("move_nb_leader",)]
    return rng.choice(common + (together * 2 if raft else alone))

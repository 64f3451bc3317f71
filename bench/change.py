"""What one change costs in a small and in a large cluster: a pod, a policy, one more like it, a label of a namespace.

Three policies select every pod in both. Our controller runs with the units of `bench.policies`.

Changes are made one at a time, each with a window of its own, and what the controller uses in as many idle windows is
subtracted. Operations and bytes are what the taps saw. A change must not cost more because more else exists.
"""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson

from bench import rest
from bench.generate import ALLOCATED, Cluster, namespace_name, new_pod, pod_name, policy, posted
from bench.processes import Machine
from bench.report import Figure
from bench.rest import MERGE, Rest
from bench.restart import World, start, world
from bench.settings import Settings
from bench.stack import quantile

POLICIES = {200: 2, 1000: 10, 50_000: 500}
WINDOW = 1.3
"""Longer than the interval at which subnets' counts are published, so that each change pays for its own."""
GROWTH = 1.3


@dataclasses.dataclass(slots=True)
class Cost:
    """Mean cost of one change."""

    cpu_ms: float = 0.0
    nb_operations: float = 0.0
    nb_transactions: float = 0.0
    nb_bytes: float = 0.0
    kube_writes: float = 0.0
    kube_bytes: float = 0.0
    latency_ms: float | None = None


async def windows(found: World, count: int, change: Callable[[int], Awaitable[None]]) -> Cost:
    """Totals over `count` windows, with one change at the beginning of each.

    CPU is the median window's, as if all were like it: leases renewed and garbage collected now and then do not count.
    """
    spent: list[float] = []
    writes = await found.api.writes()
    nb, api = found.nb_tap.counts.copy(), found.api_tap.counts.copy()
    operations = found.nb_tap.writes
    for number in range(count):
        ends, cpu = time.monotonic() + WINDOW, found.controller.child.cpu()
        await change(number)
        await asyncio.sleep(max(0.0, ends - time.monotonic()))
        spent.append(1000 * (found.controller.child.cpu() - cpu))
    moved, asked = found.nb_tap.counts - nb, found.api_tap.counts - api
    return Cost(
        cpu_ms=statistics.median(spent) * count,
        nb_operations=found.nb_tap.writes - operations,
        nb_transactions=moved["transact"],
        nb_bytes=moved["up"] + moved["down"],
        kube_writes=(await found.api.writes() - writes).total(),
        kube_bytes=asked["up"] + asked["down"],
    )


def mean(total: Cost, idle: Cost, count: int, idle_count: int, own_writes: int) -> Cost:
    """One change's part: without what idle windows cost, and without the writes of the bench itself."""
    per = Cost()
    for field in dataclasses.fields(Cost):
        if field.name != "latency_ms":
            value = getattr(total, field.name) / count - getattr(idle, field.name) / idle_count
            setattr(per, field.name, max(value, 0.0))
    per.kube_writes = max(per.kube_writes - own_writes, 0.0)
    return per


class Changes:
    """The changes, made through one connection."""

    def __init__(self, found: World, client: Rest) -> None:
        self._cluster = found.cluster
        self._client = client
        self.latencies: list[float] = []

    async def nothing(self, _: int) -> None:
        """An idle window."""

    async def pod(self, number: int) -> None:
        """A new pod; returns when it has its address."""
        cluster, index = self._cluster, self._cluster.pods + number
        where = rest.path("", "v1", "pods", namespace_name(cluster, index), pod_name(cluster, index))
        began = time.monotonic()
        await rest.create(self._client, "", "v1", "pods", new_pod(cluster, index))
        while time.monotonic() < began + 30:
            obj = orjson.loads(await self._client.request("GET", where))
            if ALLOCATED in obj["metadata"].get("annotations", {}):
                break
            await asyncio.sleep(0.004)
        self.latencies.append(1000 * (time.monotonic() - began))

    async def policy(self, number: int) -> None:
        """A new policy."""
        obj = posted(policy(self._cluster, self._cluster.policies + number))
        await rest.create(self._client, "networking.k8s.io", "v1", "networkpolicies", obj)

    async def same_policy(self, number: int) -> None:
        """A policy that selects what another one does."""
        obj = posted(policy(self._cluster, 0))
        obj["metadata"]["name"] = f"same-{number}"
        await rest.create(self._client, "networking.k8s.io", "v1", "networkpolicies", obj)

    async def label(self, number: int) -> None:
        """Another value of a label of one namespace: its pods become, and cease to be, peers of others' policies."""
        body = orjson.dumps({"metadata": {"labels": {"team": f"team-{number % 10}"}}})
        await self._client.request(
            "PATCH", rest.path("", "v1", "namespaces", "", namespace_name(self._cluster, 0)), body, MERGE
        )


def with_policies(command: str) -> str:
    """Our controller's command with the units of `bench.policies`; another one's as it is."""
    if "-m bench.hook" in command:
        return command.replace("env ", "env BENCH_POLICIES=1 ", 1)
    return command.replace("-m ovnbridge", "-m bench.policies", 1)


async def _measure(settings: Settings, directory: Path, pods: int) -> tuple[dict[str, Cost], float, float | None]:
    policies = POLICIES.get(pods, max(1, pods // 100))
    cluster = Cluster(pods=pods, policies=policies, namespaces=max(1, policies // 3), seed=settings.seed)
    count = 2 if settings.small else 12
    settings = dataclasses.replace(settings, command=with_policies(settings.command))
    async with world(settings, directory, cluster) as found, rest.connection(found.address) as client:
        await start(found, 60 + pods / 400)
        changes, machine = Changes(found, client), Machine()
        idle = await windows(found, count, changes.nothing)
        lag = await found.controller.lag()
        await windows(found, 1, changes.pod)  # the first one fills caches
        changes.latencies.clear()
        costs = {}
        kinds = (
            ("pod_add", lambda n: changes.pod(n + 1)),
            ("policy_add", changes.policy),
            ("same_policy_add", changes.same_policy),
            ("namespace_label", changes.label),
        )
        for name, change in kinds:
            costs[name] = mean(await windows(found, count, change), idle, count, count, 1)
        costs["pod_add"].latency_ms = sorted(changes.latencies)[len(changes.latencies) // 2]
        return costs, machine.foreign(), worst_lag(lag, await found.controller.lag())


def worst_lag(before: Counter[str], after: Counter[str]) -> float | None:
    """The worst loop lag between two looks, in milliseconds (a bound of the histogram)."""
    worst = quantile(before, after, 1.0)
    return None if worst is None else 1000 * worst


async def run(settings: Settings, directory: Path) -> list[Figure]:
    """Both sizes, and the growth between them."""
    small, large = (200, 1000) if settings.small else (1000, 50_000)
    if settings.sizes_wanted:
        small, large = min(settings.sizes_wanted), max(settings.sizes_wanted)
    found: dict[int, dict[str, Cost]] = {}
    figures: list[Figure] = []
    for pods in (small, large):
        place = directory / str(pods)
        place.mkdir()
        found[pods], foreign, lag = await _measure(settings, place, pods)
        for change, cost in found[pods].items():
            figures += _figures(f"{change}_{pods}", cost, found[small][change])
        figures.append(Figure(name=f"change_{pods}_foreign_cpu", value=foreign, unit="of machine"))
        figures.append(Figure(name=f"change_{pods}_loop_lag_worst_ms", value=lag, unit="ms", most=50))
    for change in found[small]:
        before, after = found[small][change], found[large][change]
        most = GROWTH if change == "pod_add" else None
        growth = after.cpu_ms / before.cpu_ms if before.cpu_ms > 0.5 else None
        figures.append(Figure(name=f"{change}_growth", value=growth, unit=f"x, {small} to {large}", most=most))
    for pods, costs in found.items():
        one, more = costs["policy_add"], costs["same_policy_add"]
        share = more.cpu_ms / one.cpu_ms if one.cpu_ms > 0.5 else None
        figures.append(Figure(name=f"same_policy_{pods}_share", value=share, unit="of the first one's CPU"))
    return figures


def _figures(name: str, cost: Cost, floor: Cost) -> list[Figure]:
    units = {"cpu_ms": "ms", "nb_bytes": "B", "kube_bytes": "B", "latency_ms": "ms"}
    return [
        Figure(
            name=f"{name}_{field.name}",
            value=value,
            unit=units.get(field.name, ""),
            floor=getattr(floor, field.name) if floor is not cost else None,
        )
        for field in dataclasses.fields(Cost)
        if (value := getattr(cost, field.name)) is not None
    ]

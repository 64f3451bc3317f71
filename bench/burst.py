"""Bursts: thousands of pods created at once, then deleted at once; the bare client and the controller, measured alike.

A pod's latency runs from the moment its POST is sent to the moment a watch shows it annotated. Throughput runs from the
first POST to the last annotation, deletion from the first DELETE to the last IP object (and port) gone. CPU is counted
until the controller has nothing left to do, statuses and events included.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from bench import rest
from bench.generate import ALLOCATED, Cluster, namespace_name, new_pod, owner, pod_name
from bench.ovsdb import Ports, connect
from bench.processes import BenchError, Machine, until
from bench.report import Figure
from bench.rest import Address, Rest
from bench.settings import Settings
from bench.stack import Api, Controller, api_server, create_base, databases, quantile

CONCURRENCY = 32
"""Requests in flight: of the driver, of the bare client, and of the controller's writer."""


@dataclasses.dataclass(slots=True)
class Outcome:
    """One burst."""

    count: int
    seconds: float = 0.0
    latencies: list[float] = dataclasses.field(default_factory=list)
    ports_seconds: float | None = None
    cpu: float = 0.0
    kube_writes: int = 0
    lag: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    foreign: float = 0.0

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    def __add__(self, other: Outcome) -> Outcome:
        """Two runs as one: rates and costs are means."""
        return Outcome(
            count=self.count + other.count,
            seconds=self.seconds + other.seconds,
            latencies=self.latencies + other.latencies,
            cpu=self.cpu + other.cpu,
            kube_writes=self.kube_writes + other.kube_writes,
            foreign=(self.foreign + other.foreign) / 2,
        )

    def latency(self, share: float) -> float:
        return sorted(self.latencies)[min(int(share * self.count), len(self.latencies) - 1)]


class Meter(NamedTuple):
    """What was used before a burst."""

    cpu: float
    lag: Counter[str]
    writes: Counter[str]
    machine: Machine


class Driver:
    """Creates and deletes pods and sees what becomes of them."""

    def __init__(self, api: Api, cluster: Cluster, controller: Controller, ports: Ports | None) -> None:
        self._api = api
        self._address = Address(api.kubeconfig)
        self._cluster = cluster
        self._controller = controller
        self._ports = ports
        self._annotated: dict[str, float] = {}
        self._leases: dict[str, float | None] = {}

    async def run(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Watch pods and IP objects from now on."""
        watched = (("", "pods", self._pod), ("kubeovn.io", "ips", self._ip))
        opened = []
        for group, plural, seen in watched:
            where = rest.path(group, "v1", plural)
            since = await rest.version(self._address, where)
            opened.append(tasks.create_task(self._watch(where, since, seen)))
        return opened

    async def _watch(self, where: str, since: str, seen: Callable[[str, Any], None]) -> None:
        async for kind, obj in rest.watch(self._address, where, since):
            seen(kind, obj["metadata"])

    def _pod(self, kind: str, meta: Any) -> None:
        if kind != "DELETED" and meta.get("annotations", {}).get(ALLOCATED) == "true":
            self._annotated.setdefault(f"{meta['namespace']}/{meta['name']}", time.monotonic())

    def _ip(self, kind: str, meta: dict[str, str]) -> None:
        self._leases[meta["name"]] = time.monotonic() if kind == "DELETED" else None

    async def create(self, first: int, count: int, deadline: float) -> Outcome:
        """A burst of new pods."""
        names = {
            f"{namespace_name(self._cluster, i)}/{pod_name(self._cluster, i)}" for i in range(first, first + count)
        }
        sent: dict[str, float] = {}
        bodies = [(obj["metadata"], orjson.dumps(obj)) for obj in self._new(first, count)]

        async def post(client: Rest, job: tuple[dict[str, str], bytes]) -> None:
            meta, body = job
            sent[f"{meta['namespace']}/{meta['name']}"] = time.monotonic()
            await client.request("POST", rest.path("", "v1", "pods", meta["namespace"]), body)

        outcome, meter = Outcome(count), await self._meter()
        await rest.pool(self._address, bodies, post, CONCURRENCY)
        await self._all(lambda: len(names & self._annotated.keys()), count, "pods annotated", deadline)
        outcome.latencies = [self._annotated[name] - sent[name] for name in names]
        outcome.seconds = max(self._annotated[name] for name in names) - min(sent.values())
        ports = {owner(self._cluster, i) for i in range(first, first + count)}
        if self._ports is not None:
            await self._all(lambda: len(ports & self._port_names()), count, "ports there", deadline)
            outcome.ports_seconds = time.monotonic() - min(sent.values())
        return await self._finish(outcome, meter)

    async def delete(self, first: int, count: int, deadline: float) -> Outcome:
        """The same pods go."""
        owners = {owner(self._cluster, i) for i in range(first, first + count)}
        body = orjson.dumps({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})

        async def remove(client: Rest, index: int) -> None:
            where = rest.path("", "v1", "pods", namespace_name(self._cluster, index), pod_name(self._cluster, index))
            await client.request("DELETE", where, body)

        outcome, meter = Outcome(count), await self._meter()
        started = time.monotonic()
        await rest.pool(self._address, range(first, first + count), remove, CONCURRENCY)
        gone = lambda: sum(1 for name in owners if self._leases.get(name) is not None)  # noqa: E731
        await self._all(gone, count, "IP objects gone", deadline)
        outcome.seconds = max(self._leases[name] or 0.0 for name in owners) - started
        if self._ports is not None:
            await self._all(lambda: count - len(owners & self._port_names()), count, "ports gone", deadline)
            outcome.ports_seconds = time.monotonic() - started
        return await self._finish(outcome, meter)

    def _port_names(self) -> set[str]:
        return self._ports.names if self._ports is not None else set()

    def _new(self, first: int, count: int) -> list[dict[str, dict[str, str]]]:
        return [new_pod(self._cluster, index) for index in range(first, first + count)]

    async def _all(self, found: Callable[[], int], count: int, what: str, deadline: float) -> None:

        async def complete() -> bool:
            self._controller.child.check()
            return bool(found() >= count)

        try:
            await until(complete, f"all {what}", deadline, 0.1)
        except BenchError as error:
            raise BenchError(f"{error}: {found()} of {count}") from error

    async def _meter(self) -> Meter:
        return Meter(self._controller.child.cpu(), await self._controller.lag(), await self._api.writes(), Machine())

    async def _finish(self, outcome: Outcome, meter: Meter) -> Outcome:
        outcome.foreign = meter.machine.foreign()
        outcome.lag = (meter.lag, await self._controller.lag())
        quiet = await self._controller.quiet(60)
        outcome.cpu = quiet.cpu - meter.cpu
        # The driver's own writes are one for each pod.
        outcome.kube_writes = (await self._api.writes() - meter.writes).total() - outcome.count
        return outcome


async def run(settings: Settings, directory: Path, kind: str) -> list[Figure]:
    """Both bursts on one kind of API server."""
    counts = settings.counts
    cluster = Cluster(pods=3 * sum(counts), nodes=10, namespaces=20, seed=settings.seed)
    async with api_server(kind, directory) as api, databases(directory, settings.command) as (nb, sb):
        await create_base(api, cluster)
        bare = Controller(
            f"{sys.executable} -m bench.floor {{kubeconfig}} {CONCURRENCY}", directory,
            kubeconfig=api.kubeconfig, nb=nb.remote,
        )  # fmt: skip
        floors = await _measure(api, bare, cluster, 0, counts, None)
        async with connect(nb) as raw:
            ports = Ports()
            await ports.watch(raw)
            controller = Controller(
                settings.command, directory, kubeconfig=api.kubeconfig, nb=nb.remote, sb=sb, marker=settings.marker
            )
            found = await _measure(api, controller, cluster, sum(counts), counts, ports)
        again = await _measure(api, bare, cluster, 2 * sum(counts), counts, None)
    figures: list[Figure] = []
    for count, (created, deleted), before, after in zip(counts, found, floors, again):
        figures += _figures(f"burst_{_short(count)}_{kind}", created, before[0] + after[0])
        figures += _deletion(f"delete_{_short(count)}_{kind}", deleted, before[1] + after[1])
    return figures


async def _measure(
    api: Api, controller: Controller, cluster: Cluster, first: int, counts: tuple[int, ...], ports: Ports | None
) -> list[tuple[Outcome, Outcome]]:
    found = []
    controller.start()
    try:
        await controller.ready()
        await controller.quiet(60)
        driver = Driver(api, cluster, controller, ports)
        async with asyncio.TaskGroup() as tasks:
            watches = await driver.run(tasks)
            with contextlib.ExitStack() as ending:
                for watch in watches:
                    ending.callback(watch.cancel)
                for count in counts:
                    created = await driver.create(first, count, 60 + count / 10)
                    found.append((created, await driver.delete(first, count, 60 + count / 10)))
                    first += count
    finally:
        await controller.stop()
    return found


def _short(count: int) -> str:
    return f"{count // 1000}k" if count >= 1000 else str(count)


def _figures(name: str, outcome: Outcome, floor: Outcome) -> list[Figure]:
    middle = outcome.latency(0.5)
    lag = quantile(*outcome.lag, 0.99)
    return [
        Figure(name=f"{name}_pods_per_s", value=outcome.rate, unit="pods/s", floor=floor.rate),
        Figure(name=f"{name}_ratio", value=outcome.rate / floor.rate, unit="of bare client", least=0.75),
        Figure(name=f"{name}_p50_s", value=middle, unit="s", floor=floor.latency(0.5)),
        Figure(name=f"{name}_p99_s", value=outcome.latency(0.99), unit="s", floor=floor.latency(0.99)),
        Figure(name=f"{name}_p50_share", value=middle / outcome.seconds, unit="of total", most=0.55),
        Figure(name=f"{name}_ports_s", value=outcome.ports_seconds, unit="s", floor=outcome.seconds),
        Figure(
            name=f"{name}_cpu_ms_per_pod", value=1000 * outcome.cpu / outcome.count, unit="ms", most=2,
            floor=1000 * floor.cpu / floor.count,
        ),
        Figure(name=f"{name}_kube_writes_per_pod", value=outcome.kube_writes / outcome.count, floor=2),
        Figure(name=f"{name}_loop_lag_p99_ms", value=None if lag is None else lag * 1000, unit="ms", most=50),
        Figure(name=f"{name}_foreign_cpu", value=outcome.foreign, unit="of machine", floor=floor.foreign),
    ]  # fmt: skip


def _deletion(name: str, outcome: Outcome, floor: Outcome) -> list[Figure]:
    seconds = max(outcome.seconds, outcome.ports_seconds or 0.0)
    return [
        Figure(name=f"{name}_per_s", value=outcome.count / seconds, unit="pods/s", floor=floor.rate),
        Figure(name=f"{name}_ratio", value=outcome.count / seconds / floor.rate, unit="of bare client", least=0.75),
        Figure(name=f"{name}_cpu_ms_per_pod", value=1000 * outcome.cpu / outcome.count, unit="ms",
               floor=1000 * floor.cpu / floor.count),
        Figure(name=f"{name}_foreign_cpu", value=outcome.foreign, unit="of machine", floor=floor.foreign),
    ]  # fmt: skip

"""Restarts with nothing changed: wall, CPU, memory and writes until the controller has nothing left to do.

A cluster is seeded as a controller left it, a first start brings the database up to it (and is reported as `rebuild`),
the second start is measured, through taps that count what it sends. A third one is met by a pod that is created in the
same moment. The floor is a client that reads all objects and rows once and does nothing with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import yaml

from bench import floor, rest
from bench.generate import ALLOCATED, Cluster, namespace_name, new_pod, pod_name
from bench.ovsdb import Ovsdb
from bench.processes import BenchError, Machine, until
from bench.report import Figure
from bench.rest import Address
from bench.settings import Settings
from bench.stack import Api, Controller, api_server, databases, quantile
from bench.tap import Tap

TARGETS = {"10k": 3.0, "50k": 8.0}
IDLE_SECONDS = {True: 4.0, False: 15.0}
"""By whether the scale is small."""


@dataclasses.dataclass(slots=True)
class World:
    """A seeded cluster with its servers, and taps between them and the controller."""

    cluster: Cluster
    api: Api
    nb: Ovsdb
    nb_tap: Tap
    api_tap: Tap
    controller: Controller
    seeded: dict[str, int]

    @property
    def address(self) -> Address:
        """The API server without the tap."""
        return Address(self.api.kubeconfig)


@contextlib.asynccontextmanager
async def world(settings: Settings, directory: Path, cluster: Cluster) -> AsyncIterator[World]:
    """A cluster in which everything is as it should be but the NB database, which is empty."""
    kind = "real" if settings.api == "real" else "embedded"
    async with api_server(kind, directory) as api, databases(directory, settings.command) as (nb, sb):
        seeded = await api.seed(cluster)
        address = Address(api.kubeconfig)
        nb_tap = Tap(lambda: asyncio.open_unix_connection(str(nb.socket)), directory / "tap.sock")
        api_tap = Tap(lambda: asyncio.open_connection(address.host, address.port))
        async with nb_tap, api_tap:
            controller = Controller(
                settings.command,
                directory,
                kubeconfig=_through(api_tap, api.kubeconfig),
                nb=f"unix:{directory / 'tap.sock'}",
                sb=sb,
                marker=settings.marker,
            )
            try:
                yield World(cluster, api, nb, nb_tap, api_tap, controller, seeded)
            finally:
                await controller.stop()


def _through(tap: Tap, kubeconfig: Path) -> Path:
    config = yaml.safe_load(kubeconfig.read_text())
    place = config["clusters"][0]["cluster"]
    place["server"] = f"{place['server'].partition(':')[0]}://127.0.0.1:{tap.port}"
    file = kubeconfig.with_name("kubeconfig.tap")
    file.write_text(yaml.safe_dump(config))
    return file


@dataclasses.dataclass(slots=True)
class Start:
    """One start of the controller, until it had nothing left to do."""

    ready: float
    quiet: float
    cpu: float
    rss: float
    peak: float
    nb_writes: int
    nb_transactions: int
    kube_writes: Counter[str]
    lag: Counter[str]
    foreign: float


async def start(found: World, deadline: float) -> Start:
    """Start the controller and wait until it has nothing left to do."""
    machine, mark, writes = Machine(), found.nb.mark(), await found.api.writes()
    operations, transactions = found.nb_tap.writes, found.nb_tap.transactions
    found.controller.start()
    ready = await found.controller.ready(deadline)
    quiet = await found.controller.quiet(deadline)
    child = found.controller.child
    kube = await found.api.writes() - writes
    changed = found.nb.written(mark)
    return Start(
        ready=ready,
        quiet=quiet.at,
        cpu=quiet.cpu,
        rss=child.memory(),
        peak=child.memory("VmHWM"),
        nb_writes=max(found.nb_tap.writes - operations, changed["transactions"]),
        nb_transactions=found.nb_tap.transactions - transactions,
        kube_writes=kube,
        lag=await found.controller.lag(),
        foreign=machine.foreign(),
    )


async def idle_cpu(controller: Controller, seconds: float) -> float:
    """CPU seconds that the controller uses in a minute while nothing happens."""
    before = controller.child.cpu()
    await asyncio.sleep(seconds)
    return (controller.child.cpu() - before) * 60 / seconds


async def first_pod(found: World, deadline: float) -> tuple[float, float]:
    """Seconds from a start to ready, and to the address of a pod that is created in the same moment."""
    cluster, index = found.cluster, found.cluster.pods
    namespace, name = namespace_name(cluster, index), pod_name(cluster, index)
    async with rest.connection(found.address) as client:
        found.controller.start()
        began = time.monotonic()
        await rest.create(client, "", "v1", "pods", new_pod(cluster, index))
        ready = asyncio.create_task(found.controller.ready(deadline))

        async def annotated() -> bool:
            found.controller.child.check()
            obj = orjson.loads(await client.request("GET", rest.path("", "v1", "pods", namespace, name)))
            return ALLOCATED in obj["metadata"].get("annotations", {})

        await until(annotated, "first pod annotated", deadline, 0.02)
        taken = time.monotonic() - began
        return await ready, taken


async def run(settings: Settings, directory: Path) -> list[Figure]:
    """All sizes."""
    figures: list[Figure] = []
    for pods in settings.sizes:
        place = directory / str(pods)
        place.mkdir()
        size = f"{pods // 1000}k" if pods >= 1000 else str(pods)
        try:
            async with world(settings, place, Cluster(pods=pods, seed=settings.seed)) as found:
                figures += await _restarts(found, size, small=settings.small)
        except* BenchError as errors:  # the other sizes are worth knowing
            print(f"\n   {pods} pods: FAILED", *errors.exceptions, sep="\n   ")
            figures.append(Figure(name=f"restart_{size}_cpu_s", value=None, most=TARGETS.get(size)))
            figures.append(Figure(name=f"restart_{size}_failed", value=1, most=0))
    return figures


async def _restarts(found: World, size: str, *, small: bool) -> list[Figure]:
    deadline = 60 + found.cluster.pods / 400
    rebuild = await start(found, deadline)
    await found.controller.stop()
    read = await floor.read_everything(found.address, found.nb)
    again = await start(found, deadline)
    idle = await idle_cpu(found.controller, IDLE_SECONDS[small])
    await found.controller.stop()
    ready, taken = await first_pod(found, deadline)
    await found.controller.stop()
    for what, count in sorted({**_kube("rebuild", rebuild), **_kube("restart", again)}.items()):
        print(f"   {size} pods, {what}: {count}")
    return [
        *_figures(size, rebuild, again, read),
        Figure(name=f"idle_{size}_cpu_s_per_min", value=idle, unit="s", most=0.5),
        Figure(name=f"restart_{size}_first_pod_s", value=taken, unit="s", floor=ready, most=1.5 * ready + 0.5),
    ]


def _kube(what: str, begun: Start) -> dict[str, int]:
    return {f"{what} {name}": count for name, count in begun.kube_writes.items()}


def _figures(size: str, rebuild: Start, again: Start, read: floor.Reading) -> list[Figure]:
    name = f"restart_{size}"
    lag, worst = quantile({}, again.lag, 0.99), quantile({}, again.lag, 1.0)
    values: list[tuple[str, Any, str, Any, Any]] = [
        ("ready_s", again.ready, "s", read.seconds, None),
        ("quiet_s", again.quiet, "s", read.seconds, None),
        ("cpu_s", again.cpu, "s", read.cpu, TARGETS.get(size)),
        ("rss_mib", again.rss, "MiB", None, 600 if size == "50k" else None),
        ("peak_rss_mib", again.peak, "MiB", None, None),
        ("nb_writes", again.nb_writes, "", None, 0),
        ("nb_transactions", again.nb_transactions, "", None, None),
        ("kube_writes", again.kube_writes.total(), "", None, 0),
        ("read_mib", read.bytes / (1 << 20), "MiB", None, None),
        ("loop_lag_p99_ms", None if lag is None else 1000 * lag, "ms", None, None),
        ("loop_lag_worst_ms", None if worst is None else 1000 * worst, "ms", None, 1000),
        ("foreign_cpu", again.foreign, "of machine", None, None),
    ]
    return [
        *(Figure(name=f"{name}_{what}", value=v, unit=u, floor=f, most=m) for what, v, u, f, m in values),
        Figure(name=f"rebuild_{size}_quiet_s", value=rebuild.quiet, unit="s", floor=read.seconds),
        Figure(name=f"rebuild_{size}_cpu_s", value=rebuild.cpu, unit="s", floor=read.cpu),
        Figure(name=f"rebuild_{size}_kube_writes", value=rebuild.kube_writes.total()),
    ]

"""What is measured, as processes: an API server (embedded or real), an NB database, the controller under test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import yaml

from bench import rest
from bench.generate import Cluster, everything, namespace, node, posted
from bench.ovsdb import Ovsdb
from bench.processes import BenchError, Child, free_port, until
from bench.rest import Address, Rest
from ovnbridge.lab.kubernetes import RealControlPlane, find_binaries

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_COMMAND = (
    f"{sys.executable} -m ovnbridge --role=controller --kubeconfig={{kubeconfig}} --ovn-nb-addr={{nb}} "
    "--pprof-port={port}"
)
LEASES = "coordination.k8s.io/leases"
WRITES = ("POST", "PUT", "PATCH", "DELETE")
_METRIC = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_LAG = re.compile(r'^ovnbridge_loop_lag_seconds_bucket\{[^}]*le="([^"]+)"[^}]*\} (\S+)$', re.MULTILINE)


class Api(Protocol):
    """An API server, as scenarios see it."""

    kind: str
    kubeconfig: Path

    async def seed(self, cluster: Cluster) -> dict[str, int]:
        """Make the cluster exist as if it had always been there."""

    async def writes(self) -> Counter[str]:
        """Writing requests so far by "METHOD resource", leases left out."""


class EmbeddedApi:
    """`bench.api_process`."""

    kind = "embedded"

    def __init__(self, child: Child, kubeconfig: Path, control: Path) -> None:
        self.child = child
        self.kubeconfig = kubeconfig
        self._control = control

    async def seed(self, cluster: Cluster) -> dict[str, int]:
        names = ("pods", "nodes", "namespaces", "policies", "seed")
        sizes: dict[str, int] = await self._command("seed", **{name: getattr(cluster, name) for name in names})
        return sizes

    async def writes(self) -> Counter[str]:
        rows = await self._command("writes")
        return Counter({f"{method} {label}": count for method, label, count in rows if label != LEASES})

    async def _command(self, command: str, **arguments: Any) -> Any:
        reader, writer = await asyncio.open_unix_connection(str(self._control), limit=1 << 24)
        writer.write(json.dumps([command, arguments]).encode() + b"\n")
        line = await reader.readline()
        writer.close()
        self.child.check()
        return json.loads(line)


class RealApi:
    """kube-apiserver with etcd."""

    kind = "real"

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    async def seed(self, cluster: Cluster) -> dict[str, int]:
        """By ordinary requests: objects come without status, uids are the server's. For a few thousand pods."""
        count = 0

        async def post(client: Rest, job: tuple[str, str, str, Any]) -> None:
            nonlocal count
            group, version, plural, obj = job
            kept = posted(obj)
            if plural == "pods":
                kept["metadata"]["annotations"] = obj["metadata"]["annotations"]
                kept["spec"] = {k: v for k, v in obj["spec"].items() if k not in ("preemptionPolicy", "priority")}
            await rest.create(client, group, version, plural, kept)
            count += 1

        jobs = list(everything(cluster))
        for parents in (True, False):
            part = [job for job in jobs if (job[2] in ("nodes", "namespaces")) is parents]
            await rest.pool(Address(self.kubeconfig), part, post, 32)
        return {"objects": count, "bytes": 0}

    async def writes(self) -> Counter[str]:
        async with rest.connection(Address(self.kubeconfig)) as client:
            page = (await client.request("GET", "/metrics")).decode()
        counts: Counter[str] = Counter()
        for text, value in _METRIC.findall(page):
            labels = dict(_LABEL.findall(text))
            resource = f"{labels['group'] or 'core'}/{labels['resource']}"
            if labels["subresource"]:
                resource += f"/{labels['subresource']}"
            if labels["verb"] in WRITES and resource != LEASES:
                counts[f"{labels['verb']} {resource}"] += int(float(value))
        return counts


@contextlib.asynccontextmanager
async def api_server(kind: str, directory: Path) -> AsyncIterator[Api]:
    """An API server with our CRDs."""
    if kind == "real":
        flags = ("--enable-priority-and-fairness=false", "--max-requests-inflight=0")
        plane = RealControlPlane(
            directory=directory / "kubernetes", controller_manager=False, scheduler=False, api_flags=flags
        )
        async with plane:
            real = RealApi(plane.kubeconfig_path)
            await _install_crds(real)
            yield real
        return
    kubeconfig, control = directory / "kubeconfig", directory / "api.sock"
    command = [sys.executable, "-m", "bench.api_process", str(kubeconfig), str(control)]
    child = Child("embedded API server", command, directory / "api.log")
    try:

        async def up() -> bool:
            child.check()
            return kubeconfig.exists()

        await until(up, "embedded API server up", 30)
        embedded = EmbeddedApi(child, kubeconfig, control)
        await _install_crds(embedded)
        yield embedded
    finally:
        await child.stop()


def real_available() -> bool:
    """Whether `make kube` has been run here."""
    return find_binaries() is not None


async def _install_crds(api: Api) -> None:
    crds = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "manifests/crds").glob("*.yaml"))]
    async with rest.connection(Address(api.kubeconfig)) as client:
        for crd in crds:
            await rest.create(client, "apiextensions.k8s.io", "v1", "customresourcedefinitions", crd)
        for crd in crds:
            spec = crd["spec"]
            where = rest.path(spec["group"], spec["versions"][0]["name"], spec["names"]["plural"])

            async def served(where: str = where) -> bool:
                try:
                    await client.request("GET", f"{where}?limit=1")
                except rest.Refused:
                    return False
                return True

            await until(served, f"{where} served", 60)


async def create_base(api: Api, cluster: Cluster) -> None:
    """Nodes and namespaces of a cluster by requests."""
    async with rest.connection(Address(api.kubeconfig)) as client:
        for index in range(cluster.node_count):
            obj = node(cluster, index)
            await rest.create(client, "", "v1", "nodes", {**posted(obj), "status": obj["status"]})
        for index in range(cluster.namespace_count):
            await rest.create(client, "", "v1", "namespaces", posted(namespace(cluster, index)))


class Quiet(NamedTuple):
    """When the controller had nothing left to do: seconds since its start, and its CPU seconds until then."""

    at: float
    cpu: float


class Controller:
    """The controller under test."""

    def __init__(
        self, command: str, directory: Path, *, kubeconfig: Path, nb: str, sb: str = "", marker: str = "leading"
    ) -> None:
        """`marker` is what its log says when it has begun to write; empty for controllers that say no such thing."""
        self.marker = marker
        self.port = free_port()
        values = {"kubeconfig": kubeconfig, "nb": nb, "sb": sb or "unix:/nonexistent", "port": self.port}
        self._command = [part.format(**values) for part in shlex.split(command)]
        self._log = directory / "controller.log"
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """The process."""
        assert self._child is not None
        return self._child

    def start(self) -> None:
        """Start it; `ready` and `quiet` tell how far it is."""
        self._child = Child("controller", self._command, self._log)

    async def stop(self) -> None:
        """End it as a rolling update does: SIGTERM, upon which it gives its lease back."""
        if self._child is not None:
            await self._child.stop(patience=20)

    async def ready(self, deadline: float = 120.0) -> float:
        """Seconds from its start to the line that says that it writes from now on."""

        async def said() -> bool:
            self.child.check()
            return self.marker in self.child.output()

        if self.marker:
            await until(said, f"controller says {self.marker!r}", deadline, 0.02)
        return time.monotonic() - self.child.started

    async def quiet(self, deadline: float = 300.0, window: float = 1.3, share: float = 0.04) -> Quiet:
        """Wait until it has used less than `share` of a CPU for a whole window; the beginning of that window."""
        samples: list[tuple[float, float]] = []
        ends = time.monotonic() + deadline
        while time.monotonic() < ends:
            self.child.check()
            now, cpu = time.monotonic(), self.child.cpu()
            samples.append((now, cpu))
            samples = [sample for sample in samples if sample[0] >= now - window - 0.2]
            first = samples[0]
            if now - first[0] >= window and cpu - first[1] < share * window:
                return Quiet(first[0] - self.child.started, first[1])
            await asyncio.sleep(0.1)
        raise BenchError(f"the controller is still busy after {deadline:g} s")

    async def lag(self) -> Counter[str]:
        """Buckets of its event loop's lag, cumulative; empty when it does not export any."""
        return await asyncio.to_thread(_scrape, f"http://127.0.0.1:{self.port}/metrics")


def _scrape(url: str) -> Counter[str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return Counter({bound: int(float(value)) for bound, value in _LAG.findall(page.read().decode())})
    except OSError:
        return Counter()


def quantile(before: Mapping[str, int], after: Mapping[str, int], share: float) -> float | None:
    """Upper bound of the bucket that holds the quantile of what was observed in between; None for nothing."""
    bounds = sorted((float(bound), count - before.get(bound, 0)) for bound, count in after.items())
    if not bounds or bounds[-1][1] <= 0:
        return None
    wanted = share * bounds[-1][1]
    return next(bound for bound, count in bounds if count >= wanted)


@contextlib.asynccontextmanager
async def databases(directory: Path, command: str) -> AsyncIterator[tuple[Ovsdb, str]]:
    """The NB database, and the remote of an SB one if the command wants it."""
    async with contextlib.AsyncExitStack() as stack:
        nb = await stack.enter_async_context(Ovsdb(directory))
        sb = ""
        if "{sb}" in command:
            sb = (await stack.enter_async_context(Ovsdb(directory, "OVN_Southbound"))).remote
        yield nb, sb

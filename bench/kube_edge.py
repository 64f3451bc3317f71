"""What the Kubernetes edge costs by itself: `python -m bench.kube_edge [--pods N …] [--writes N]`.

`list`: a reflector lists and keeps N pods as large as a real server has them, managedFields included: seconds, CPU,
memory kept, and how long the event loop was held. `write`: for each of N pods an IP object is created and the pod is
annotated, by the writer with its caches and watches running, and by a bare aiohttp loop that sends the same two
requests and looks at nothing. The API server is the embedded one, in its own process; CPU is that of this one alone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from ovnbridge.engine.items import Annotations, ObjectItem
from ovnbridge.kube.cache import Cache
from ovnbridge.kube.connection import Connection
from ovnbridge.kube.reflector import Reflector
from ovnbridge.kube.writer import Writer
from ovnbridge.model.crd.address import IP
from ovnbridge.model.crd.kinds import KINDS
from ovnbridge.model.kube import Pod
from ovnbridge.model.resource import CUSTOM_RESOURCE_DEFINITION, NAMESPACE, POD, Resource

IPS = KINDS["IP"].resource
CONCURRENCY = 32


def pod(number: int) -> dict[str, Any]:
    """A pod as a Deployment makes it and a kubelet reports it."""
    name = f"web-7c5ddbdf54-{number:05d}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": f"team-{number % 50}",
            "uid": f"00000000-0000-4000-8000-{number:012d}",
            "creationTimestamp": "2024-05-01T12:00:00Z",
            "labels": {"app": f"web-{number % 200}", "pod-template-hash": "7c5ddbdf54"},
            "annotations": {
                "ovn.kubernetes.io/allocated": "true",
                "ovn.kubernetes.io/cidr": "10.16.0.0/16",
                "ovn.kubernetes.io/gateway": "10.16.0.1",
                "ovn.kubernetes.io/ip_address": f"10.16.{number // 250}.{number % 250}",
                "ovn.kubernetes.io/logical_router": "ovn-cluster",
                "ovn.kubernetes.io/logical_switch": "ovn-default",
                "ovn.kubernetes.io/mac_address": "0a:58:0a:10:00:02",
                "ovn.kubernetes.io/pod_nic_type": "veth-pair",
                "ovn.kubernetes.io/routed": "true",
            },
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "web-7c5ddbdf54",
                    "uid": "u",
                    "controller": True,
                }
            ],
            "managedFields": [
                {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {"x" * 1500: {}}}}
            ],
        },
        "spec": {
            "nodeName": f"node-{number % 100}",
            "restartPolicy": "Always",
            "containers": [
                {
                    "name": "web",
                    "image": "registry.example/web:1.2.3",
                    "ports": [{"name": "http", "containerPort": 8080}],
                }
            ],
            "tolerations": [
                {
                    "key": "node.kubernetes.io/not-ready",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.16.{number // 250}.{number % 250}",
            "conditions": [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "PodScheduled")],
        },
    }


def place(number: int) -> tuple[str, str]:
    """Namespace and name of a pod."""
    return f"team-{number % 50}", f"web-7c5ddbdf54-{number:05d}"


def annotations(number: int) -> dict[str, str]:
    """What is written on a pod: some of it is new."""
    found: dict[str, str] = pod(number)["metadata"]["annotations"]
    return {**found, "ovn.kubernetes.io/vpc": "ovn-cluster", "ovn.kubernetes.io/mac_address": "0a:58:0a:10:00:03"}


def address(number: int) -> dict[str, Any]:
    """The IP object of a pod."""
    namespace, name = place(number)
    return {
        "apiVersion": IPS.api_version,
        "kind": "IP",
        "metadata": {
            "name": f"{name}.{namespace}",
            "labels": {"ovn.kubernetes.io/subnet": "ovn-default", "ovn-default": ""},
            "finalizers": ["kubeovn.io/kube-ovn-controller"],
        },
        "spec": {
            "podName": name,
            "namespace": namespace,
            "subnet": "ovn-default",
            "attachSubnets": [],
            "nodeName": f"node-{number % 100}",
            "ipAddress": f"10.16.{number // 250}.{number % 250}",
            "v4IpAddress": f"10.16.{number // 250}.{number % 250}",
            "macAddress": "0a:58:0a:10:00:02",
            "podType": "",
            "containerID": "",
        },
    }


async def serve() -> None:
    """The server's process: seeds as many pods as it is told on stdin, says its address, ends with stdin."""
    from ovnbridge.lab.api import ApiServer

    server = ApiServer()
    await server.start(host="127.0.0.1", port=0)
    connection = await Connection.open(kubeconfig=server.kubeconfig())
    manifest = Path(__file__).parent.parent / "manifests" / "crds" / "ips.yaml"
    await connection.create(CUSTOM_RESOURCE_DEFINITION, "", yaml.safe_load(manifest.read_text()))
    await connection.close()
    collection = server._registry.get("", "v1", "pods").collection
    loop = asyncio.get_running_loop()
    count = int(await loop.run_in_executor(None, sys.stdin.readline))
    gc.disable()
    for number in range(count):
        collection.write(place(number), pod(number))
    gc.freeze()
    gc.enable()
    print(server.url, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


class Server:
    """The server's process, from here."""

    def __init__(self, pods: int) -> None:
        self._pods = pods

    async def __aenter__(self) -> Connection:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.kube_edge",
            "--serve",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"%d\n" % self._pods)
        url = (await self._process.stdout.readline()).decode().strip()
        self._connection = await Connection.open(server=url, kubeconfig=_kubeconfig(url))
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def _kubeconfig(url: str) -> dict[str, Any]:
    return {
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }


class World:
    """The simplest sink and desired store: pods must be annotated, and have an IP object."""

    def __init__(self, wanted: int = 0) -> None:
        self.tables: dict[str, dict[str, Any]] = {}
        self.items_by_key: dict[tuple[str, str], Sequence[ObjectItem]] = {}
        self.bodies: dict[str, Mapping[str, Any]] = {}
        for number in range(wanted):
            key = "/".join(place(number))
            self.items_by_key["Pod", key] = (Annotations("Pod", key, annotations(number)),)
            body = address(number)
            self.bodies[body["metadata"]["name"]] = body

    def replace(self, resource: Resource, objects: dict[str, Any] | None) -> None:
        self.tables[resource.kind] = dict(objects or {})

    def apply(self, resource: Resource, key: str, obj: Any | None) -> None:
        if obj is None:
            self.tables[resource.kind].pop(key, None)
        else:
            self.tables[resource.kind][key] = obj

    def get(self, kind: str, key: str) -> Any | None:
        return self.tables[kind].get(key)

    def items(self, kind: str, key: str) -> Sequence[ObjectItem]:
        return self.items_by_key.get((kind, key), ())

    def lease_body(self, kind: str, key: str) -> Mapping[str, Any] | None:
        return self.bodies.get(key) if kind == "IP" else None

    def owned(self, kind: str, key: str, actual: Any) -> bool:
        return kind == "IP"

    def blocked(self, kind: str, key: str) -> bool:
        return False


def memory() -> int:
    """Resident bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measure_list(pods: int) -> dict[str, float]:
    """One list of so many pods."""
    async with Server(pods) as connection:
        world = World()
        reflector = Reflector(connection=connection, resource=POD, decoder=Pod, sink=world)
        lag = 0.0

        async def probe() -> None:
            nonlocal lag
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.002)
                lag = max(lag, time.perf_counter() - before - 0.002)

        gc.collect()
        base, began, cpu = memory(), time.perf_counter(), time.process_time()
        tasks = [asyncio.ensure_future(reflector.run()), asyncio.ensure_future(probe())]
        await reflector.synced.wait()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        gc.collect()
        assert len(world.tables["Pod"]) == pods
        return {
            "pods": pods,
            "seconds": seconds,
            "cpu_seconds": cpu,
            "kept_bytes_per_pod": (memory() - base) / pods,
            "peak_over_base_mib": (peak - base) / 2**20,
            "longest_hold_ms": lag * 1000,
        }


async def create(connection: Connection, count: int) -> None:
    """Pods through the front door, so that they are defaulted and may be patched."""
    for number in range(min(count, 50)):
        name = place(number)[0]
        await connection.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            body = pod(number)
            del body["metadata"]["uid"], body["metadata"]["managedFields"]
            await connection.create(POD, place(number)[0], body)

    await asyncio.gather(*[work() for _ in range(8)])


async def measure_writer(count: int) -> dict[str, float]:
    """The writer, with its caches."""
    async with Server(0) as connection:
        await create(connection, count)
        world = World(count)
        cache = Cache(connection=connection, sink=world)
        cache.want(POD, Pod)
        cache.want(IPS, IP)
        writer = Writer(
            connection=connection,
            resources={"Pod": POD, "IP": IPS},
            desired=world,
            objects=world,
            observe=cache.observe,
            version=cache.version,
            now=lambda: datetime.now(UTC),
            concurrency=CONCURRENCY,
        )
        tasks = [asyncio.ensure_future(cache.run()), asyncio.ensure_future(writer.run())]
        await cache.synced()
        began, cpu = time.perf_counter(), time.process_time()
        for number in range(count):
            namespace, name = place(number)
            writer.touch("IP", f"{name}.{namespace}", urgent=True)
            writer.touch("Pod", f"{namespace}/{name}")
        await writer.settled()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        assert writer.stats.requests.total() == 2 * count, writer.stats
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return {"pods_per_second": count / seconds, "cpu_ms_per_pod": cpu / count * 1000}


async def measure_bare(count: int) -> dict[str, float]:
    """The same requests with nothing around them."""
    async with Server(0) as connection, aiohttp.ClientSession() as session:
        await create(connection, count)
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                body = json.dumps(address(number)).encode()
                headers = {"Content-Type": "application/json"}
                async with session.post(connection.url + IPS.path(), data=body, headers=headers) as response:
                    assert response.status == 201, await response.text()
                    await response.read()
                body = json.dumps({"metadata": {"annotations": annotations(number)}}).encode()
                headers = {"Content-Type": "application/merge-patch+json"}
                path = POD.path(*place(number))
                async with session.patch(connection.url + path, data=body, headers=headers) as response:
                    assert response.status == 200, await response.text()
                    await response.read()

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*[work() for _ in range(CONCURRENCY)])
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        return {"pods_per_second": count / seconds, "cpu_ms_per_pod": cpu / count * 1000}


async def run(sizes: Sequence[int], writes: int, rounds: int) -> None:
    """Measure and print one JSON object a line."""
    for size in sizes:
        print(json.dumps({"list": _rounded(await measure_list(size))}), flush=True)
    for _ in range(rounds):
        bare, ours = await measure_bare(writes), await measure_writer(writes)
        ratio = ours["pods_per_second"] / bare["pods_per_second"]
        print(json.dumps({"bare": _rounded(bare), "writer": _rounded(ours), "ratio": round(ratio, 2)}), flush=True)


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.kube_edge", description=__doc__)
    parser.add_argument("--pods", type=int, nargs="*", default=[10_000, 50_000])
    parser.add_argument("--writes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    asyncio.run(serve() if arguments.serve else run(arguments.pods, arguments.writes, arguments.rounds))


if __name__ == "__main__":
    main()

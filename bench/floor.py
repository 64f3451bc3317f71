"""What the bare servers allow: the floors that the controller's figures are compared with.

`python -m bench.floor KUBECONFIG CONCURRENCY` is a process that does nothing but the writes that nobody can avoid: it
watches pods, creates one IP object and patches one pod for each new pod, and deletes the IP object of each deleted one.
It knows no network, no database and no state, and its HTTP client is as bare as can be; the same driver measures it in
the controller's place. `read_everything` is what a restart cannot avoid: reading all objects and all rows once.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from bench import rest
from bench.generate import ALLOCATED, CIDR, FIRST, SUBNET, Cluster, mac, pod_annotations
from bench.ovsdb import Ovsdb, checked, connect, insert_ports
from bench.rest import MERGE, Address, Rest

COLUMNS = ["name", "addresses", "external_ids", "port_security", "options", "type", "up"]
_TEMPLATE = Cluster(pods=0)


class Minimal:
    """The process: a queue of jobs, filled by a watch and emptied by connections that each do one at a time."""

    def __init__(self, address: Address, concurrency: int) -> None:
        self._address = address
        self._concurrency = concurrency
        self._jobs: deque[tuple[str, str, str, str]] = deque()
        self._wake = asyncio.Condition()
        self._number = 20_000
        self._seen: set[str] = set()

    async def run(self) -> None:
        """Until killed."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._concurrency):
                tasks.create_task(self._work())
            tasks.create_task(self._watch())

    async def _watch(self) -> None:
        since = await rest.version(self._address, "/api/v1/pods")
        print("leading", flush=True)
        async for kind, obj in rest.watch(self._address, "/api/v1/pods", since):
            meta = obj["metadata"]
            if kind == "DELETED":
                job = ("delete", meta["namespace"], meta["name"], "")
            elif ALLOCATED not in meta.get("annotations", {}) and meta["uid"] not in self._seen:
                self._seen.add(meta["uid"])
                job = ("create", meta["namespace"], meta["name"], obj["spec"].get("nodeName", ""))
            else:
                continue
            async with self._wake:
                self._jobs.append(job)
                self._wake.notify()

    async def _work(self) -> None:
        async with rest.connection(self._address) as client:
            while True:
                async with self._wake:
                    await self._wake.wait_for(lambda: self._jobs)
                    verb, namespace, name, node = self._jobs.popleft()
                if verb == "create":
                    await self._create(client, namespace, name, node)
                else:
                    await client.request("DELETE", rest.path("kubeovn.io", "v1", "ips", "", f"{name}.{namespace}"))

    async def _create(self, client: Rest, namespace: str, name: str, node: str) -> None:
        self._number += 1
        text, hardware = str(CIDR[FIRST + self._number]), mac(_TEMPLATE, self._number)
        spec = {"podName": name, "namespace": namespace, "subnet": SUBNET, "nodeName": node, "attachSubnets": []}
        spec |= {"ipAddress": text, "v4IpAddress": text, "v6IpAddress": "", "macAddress": hardware, "attachIps": []}
        spec |= {"attachMacs": [], "containerID": "", "podType": ""}
        labels = {"ovn.kubernetes.io/subnet": SUBNET, "ovn.kubernetes.io/node-name": node, SUBNET: ""}
        meta = {"name": f"{name}.{namespace}", "labels": {**labels, "ovn.kubernetes.io/ip_reserved": "false"}}
        body = {"apiVersion": "kubeovn.io/v1", "kind": "IP", "metadata": meta, "spec": spec}
        await client.request("POST", rest.path("kubeovn.io", "v1", "ips"), orjson.dumps(body))
        patch = {"metadata": {"annotations": pod_annotations(_TEMPLATE, self._number)}}
        await client.request("PATCH", rest.path("", "v1", "pods", namespace, name), orjson.dumps(patch), MERGE)


class Reading(NamedTuple):
    """What reading everything once took."""

    seconds: float
    cpu: float
    bytes: int


async def read_everything(address: Address, nb: Ovsdb) -> Reading:
    """All pods, IP objects, nodes and namespaces in pages of 500, all rows of the big NB tables, decoded, dropped."""
    started, cpu, size = time.monotonic(), time.process_time(), 0
    async with rest.connection(address) as client:
        collections = (("", "nodes"), ("", "namespaces"), ("kubeovn.io", "ips"), ("", "pods"))
        for group, plural in collections:
            token = ""
            while True:
                where = f"{rest.path(group, 'v1', plural)}?limit=500" + (f"&continue={token}" if token else "")
                page = await client.request("GET", where)
                size += len(page)
                token = orjson.loads(page)["metadata"].get("continue", "")
                if not token:
                    break
    async with connect(nb) as raw:
        wanted = {"Logical_Switch_Port": {"columns": COLUMNS}, "Port_Group": {"columns": ["name", "ports"]}}
        await raw.send("monitor", orjson.dumps(["OVN_Northbound", "floor", wanted]))
        size += raw.received
    return Reading(time.monotonic() - started, time.process_time() - cpu, size)


async def insert_rate(
    nb: Ovsdb, switch: str, ports: list[tuple[str, str, str]], batch: int, window: int, *, monitor: bool = False
) -> float:
    """Ports a second that the server takes from a client that has everything written out beforehand.

    With `monitor` the client is told of all ports, as one that keeps a replica is; it decodes that and drops it.
    """
    texts = []
    for start in range(0, len(ports), batch):
        operations = insert_ports(switch, ports[start : start + batch])
        texts.append(orjson.dumps(["OVN_Northbound", *operations]))
    async with connect(nb) as raw:
        if monitor:
            wanted = {"Logical_Switch_Port": {"columns": COLUMNS}}
            await raw.send("monitor", orjson.dumps(["OVN_Northbound", "floor", wanted]))
        started = time.monotonic()
        flying: deque[asyncio.Future[list[Any]]] = deque()
        for text in texts:
            if len(flying) >= window:
                checked(await flying.popleft())
            flying.append(raw.send("transact", text))
        for future in flying:
            checked(await future)
        return len(ports) / (time.monotonic() - started)


if __name__ == "__main__":
    asyncio.run(Minimal(Address(Path(sys.argv[1])), int(sys.argv[2])).run())

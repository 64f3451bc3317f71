"""What the tests of the Kubernetes edge share: a recording sink, a desired store by hand, and a scripted server.

The scripted server answers lists and watches byte for byte as a test says, for faults that a well-behaved server does
not have; everything else runs against the embedded API server.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from ovnbridge.engine.items import ObjectItem
from ovnbridge.kube.connection import ApiError, Connection
from ovnbridge.model.kube import Pod
from ovnbridge.model.meta import ObjectMeta
from ovnbridge.model.resource import POD, Resource

NOON = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition; fail when it does not come true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "condition did not come true"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def running(*tasks: Awaitable[Any]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Run coroutines beside the test; a failure of one fails the test."""
    started = [asyncio.ensure_future(task) for task in tasks]
    try:
        yield started  # type: ignore[misc]
    finally:
        for task in started:
            task.cancel()
        for result in await asyncio.gather(*started, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result


class Table:
    """A sink that is also the writer's World."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Any]] = {}
        self.unserved: set[str] = set()
        self.replaced = 0
        self.log: list[tuple[str, bool]] = []
        self.on_change: Callable[[str, str], None] = lambda kind, key: None

    def replace(self, resource: Resource, objects: dict[str, Any] | None) -> None:
        before = self.tables.get(resource.kind, {})
        if objects is None:
            self.unserved.add(resource.kind)
            objects = {}
        self.tables[resource.kind] = dict(objects)
        self.replaced += 1
        for key in before.keys() | objects.keys():
            if before.get(key) != objects.get(key):
                self.on_change(resource.kind, key)

    def apply(self, resource: Resource, key: str, obj: Any | None) -> None:
        table = self.tables.setdefault(resource.kind, {})
        self.log.append((key, obj is not None))
        if obj is None:
            table.pop(key)
        else:
            table[key] = obj
        self.on_change(resource.kind, key)

    def get(self, kind: str, key: str) -> Any | None:
        return self.tables.get(kind, {}).get(key)

    def names(self, kind: str = "Pod") -> set[str]:
        return set(self.tables.get(kind, {}))


class Wanted:
    """A desired store filled by hand."""

    def __init__(self) -> None:
        self.by_object: dict[tuple[str, str], list[ObjectItem]] = {}
        self.bodies: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.owned_kinds: set[str] = set()
        self.waiting: set[tuple[str, str]] = set()

    def want(self, *items: ObjectItem) -> None:
        for item in items:
            self.by_object.setdefault((item.kind, item.key), []).append(item)

    def items(self, kind: str, key: str) -> Sequence[ObjectItem]:
        return self.by_object.get((kind, key), ())

    def lease_body(self, kind: str, key: str) -> Mapping[str, Any] | None:
        return self.bodies.get((kind, key))

    def owned(self, kind: str, key: str, actual: Any) -> bool:
        return kind in self.owned_kinds

    def blocked(self, kind: str, key: str) -> bool:
        return (kind, key) in self.waiting


def pod_body(name: str, namespace: str = "default", node: str = "n1", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
    }


def pod_at(name: str, version: int | str, **metadata: Any) -> dict[str, Any]:
    """A pod as the scripted server has it."""
    body = pod_body(name, **metadata)
    body["metadata"] = {"uid": f"uid-{name}", "resourceVersion": str(version), **body["metadata"]}
    return body


def pod_value(name: str, uid: str, **annotations: str) -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace="default", uid=uid, annotations=annotations or None))


def event(type_: str, obj: Any) -> bytes:
    return orjson.dumps({"type": type_, "object": obj}) + b"\n"


def bookmark(version: int) -> bytes:
    return event("BOOKMARK", {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}})


def status(code: int, reason: str, **more: Any) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, **more}


class Cut(Exception):
    """Raised by a script: the connection is reset here."""


class Scripted:
    """A server of pods that does what the scripts say: one call of a script for each request."""

    def __init__(self) -> None:
        self.lists: list[Callable[[web.Request], Any]] = []
        self.watches: list[Callable[[web.Request], AsyncIterator[bytes]]] = []
        self.watch_refusals: list[dict[str, Any]] = []
        self.requests: list[dict[str, str]] = []
        self.counts: Counter[str] = Counter()
        self.connection: Connection | None = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(dict(request.query))
        if request.query.get("watch"):
            self.counts["watch"] += 1
            if self.watch_refusals:
                refusal = self.watch_refusals.pop(0)
                return web.json_response(refusal, status=refusal["code"])
            script = self.watches.pop(0) if len(self.watches) > 1 else self.watches[0]
            return await self._stream(request, script)
        self.counts["list"] += 1
        answer = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        value = answer(request)
        if isinstance(value, web.Response):
            return value
        if value.get("kind") == "Status":
            return web.json_response(value, status=value["code"])
        return web.Response(body=orjson.dumps(value), content_type="application/json")

    async def _stream(
        self, request: web.Request, script: Callable[[web.Request], AsyncIterator[bytes]]
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            async for chunk in script(request):
                await response.write(chunk)
        except Cut:
            assert request.transport is not None
            request.transport.abort()
        return response

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Connection]:
        app = web.Application()
        app.router.add_get(POD.path(), self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        connection = await Connection.open(server=f"http://{host}:{port}", kubeconfig=config(f"http://{host}:{port}"))
        try:
            yield connection
        finally:
            await connection.close()
            await runner.cleanup()


def config(url: str) -> dict[str, Any]:
    return {
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def page(version: int, *pods: dict[str, Any], token: str = "") -> Callable[[web.Request], Any]:
    meta = {"resourceVersion": str(version), **({"continue": token} if token else {})}
    return lambda request: {"kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": list(pods)}


def refuse(code: int, reason: str, **more: Any) -> Callable[[web.Request], Any]:
    return lambda request: status(code, reason, **more)


def watch(*chunks: bytes | type[Cut] | float) -> Callable[[web.Request], AsyncIterator[bytes]]:
    """A watch that sends these bytes, resets at Cut, sleeps at numbers, and then stays open unless it ends in 0.0."""

    async def script(request: web.Request) -> AsyncIterator[bytes]:
        for chunk in chunks:
            if isinstance(chunk, bytes):
                yield chunk
            elif isinstance(chunk, float):
                await asyncio.sleep(chunk)
            else:
                raise chunk
        if not chunks or chunks[-1] != 0.0:
            await asyncio.sleep(3600)

    return script


async def create_pods(connection: Connection, *names: str) -> None:
    for name in names:
        await connection.create(POD, "default", pod_body(name))


async def absent(connection: Connection, resource: Resource, namespace: str, name: str) -> bool:
    try:
        await connection.get(resource, namespace, name)
    except ApiError as error:
        if error.status != 404:
            raise
        return True
    return False

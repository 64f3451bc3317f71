"""What the tests of the API server share: backends in a thread of their own, and a small HTTP client.

A backend is a base URL with credentials: the embedded server, or a real kube-apiserver.  The client speaks plain
HTTP and JSON and knows nothing of either server.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

from ovnbridge.lab.api import ApiServer

DEADLINE = 20.0
Object = dict[str, Any]
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Backend:
    name: str
    url: str
    kubeconfig: Path
    tls: ssl.SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def real(self) -> bool:
        return self.name == "real"


def backend_from_kubeconfig(path: Path) -> Backend:
    config = yaml.safe_load(path.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]

    def content(holder: Object, name: str) -> bytes | None:
        if f"{name}-data" in holder:
            return base64.b64decode(holder[f"{name}-data"])
        return (path.parent / holder[name]).read_bytes() if name in holder else None

    tls = None
    if cluster["server"].startswith("https"):
        authority = content(cluster, "certificate-authority")
        tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
        tls.check_hostname = False
        certificate, key = content(user, "client-certificate"), content(user, "client-key")
        if certificate and key:
            with tempfile.NamedTemporaryFile() as both:
                both.write(certificate + b"\n" + key)
                both.flush()
                tls.load_cert_chain(both.name)
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    return Backend("real", cluster["server"], path, tls, headers)


@contextmanager
def in_thread(open_backend: Callable[[], AbstractAsyncContextManager[Backend]]) -> Iterator[Backend]:
    """Keeps a server running on an event loop of its own, so that the loop of a test may come and go."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    manager = open_backend()
    try:
        yield asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result(180)
    finally:
        asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@asynccontextmanager
async def embedded_backend(directory: Path) -> AsyncIterator[Backend]:
    server = ApiServer()
    await server.start()
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(server.kubeconfig()))
    try:
        yield Backend("embedded", server.url, path)
    finally:
        await server.stop()


@asynccontextmanager
async def real_backend(directory: Path) -> AsyncIterator[Backend]:
    given = os.environ.get("OVNBRIDGE_REAL_KUBECONFIG")
    if given:
        yield backend_from_kubeconfig(Path(given))
        return
    from ovnbridge.lab.kubernetes import RealControlPlane

    async with RealControlPlane(directory=directory, scheduler=False) as plane:
        yield backend_from_kubeconfig(plane.kubeconfig_path)


@dataclass(frozen=True)
class Answer:
    code: int
    body: Any
    headers: Any

    @property
    def reason(self) -> str:
        return str(self.body.get("reason"))

    @property
    def message(self) -> str:
        return str(self.body.get("message"))

    @property
    def fields(self) -> list[str]:
        return [cause.get("field", "") for cause in (self.body.get("details") or {}).get("causes") or ()]


class Client:
    def __init__(self, backend: Backend, session: aiohttp.ClientSession) -> None:
        self.backend = backend
        self._session = session

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Answer:
        headers = {**self.backend.headers, "Accept": accept}
        data = None
        if body is not None:
            headers["Content-Type"] = kind
            data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self._session.request(
            method, self.backend.url + path, data=data, headers=headers, params=query, ssl=self.backend.tls or True
        ) as response:
            raw = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, orjson.loads(raw) if is_json else raw, response.headers)

    async def get(self, path: str, **query: str) -> Answer:
        return await self.request("GET", path, **query)

    async def post(self, path: str, body: Any, **query: str) -> Answer:
        return await self.request("POST", path, body, **query)

    async def put(self, path: str, body: Any, **query: str) -> Answer:
        return await self.request("PUT", path, body, **query)

    async def patch(self, path: str, kind: str, body: Any, **query: str) -> Answer:
        return await self.request("PATCH", path, body, kind=kind, **query)

    async def delete(self, path: str, body: Any = None, **query: str) -> Answer:
        return await self.request("DELETE", path, body, **query)

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[Watch]:
        params = {"watch": "true", **query}
        async with self._session.get(
            self.backend.url + path, params=params, headers=self.backend.headers, ssl=self.backend.tls or True
        ) as response:
            yield Watch(response)


class Watch:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.code = response.status

    async def next(self) -> Object:
        async with asyncio.timeout(DEADLINE):
            line = await self._response.content.readline()
        if not line:
            raise EOFError
        event: Object = orjson.loads(line)
        return event

    async def take(self, count: int) -> list[Object]:
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[Object]:
        events = []
        try:
            while True:
                events.append(await self.next())
        except EOFError:
            return events


async def eventually(ask: Callable[[], Awaitable[Any]], what: str) -> Any:
    async with asyncio.timeout(DEADLINE):
        while not (found := await ask()):
            await asyncio.sleep(0.02)
    assert found, what
    return found


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


# -- objects -------------------------------------------------------------------------------------------------


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, *, node: str = "", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    body = {"containers": [{"name": "c", "image": "example/image:1"}], "automountServiceAccountToken": False, **spec}
    if node:
        body["nodeName"] = node
    meta = {"name": name, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body}


def service(name: str, **spec: Any) -> Object:
    body = {"ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


def deployment(name: str, **spec: Any) -> Object:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "example/image:1"}]},
    }
    # Paused, so that a controller-manager beside the server leaves it alone.
    body = {"selector": {"matchLabels": {"app": name}}, "template": template, "paused": True, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body}


WIDGET_SCHEMA: Object = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 10},
                "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                "address": {"type": "string", "format": "ipv4"},
                "code": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                "port": {"x-kubernetes-int-or-string": True},
                "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "maybe": {"type": "string", "nullable": True},
                "nested": {
                    "type": "object",
                    "default": {},
                    "properties": {"on": {"type": "boolean", "default": True}},
                },
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
                    },
                },
            },
        },
        "status": {
            "type": "object",
            "properties": {"phase": {"type": "string"}, "replicas": {"type": "integer"}},
        },
    },
}


def widget_crd(group: str, **version: Any) -> Object:
    body = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": WIDGET_SCHEMA},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.replicas"},
        },
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Phase", "type": "string", "jsonPath": ".status.phase", "priority": 1},
        ],
        "selectableFields": [{"jsonPath": ".spec.colour"}],
        **version,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [body],
        },
    }


def widget(group: str, name: str, **spec: Any) -> Object:
    return {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 1, **spec}}

"""The lab's own small Kubernetes client: whole objects as dicts, JSON only, one connection pool for all stand-ins.

The stand-ins need fields that the product's typed reflector leaves out (commands, probes, templates), so they have
their own.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

from ovnbridge.model.resource import Resource

Object = dict[str, Any]
"""A Kubernetes object as it is on the wire."""

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_WATCH_SECONDS = 300


class ApiError(RuntimeError):
    """The API server refused a request."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Somebody else was faster: it exists already, or it changed."""
        return self.status == 409


class Client:
    """Requests to one API server; an async context manager."""

    def __init__(self, kubeconfig: Path, user_agent: str) -> None:
        cluster, user = _current(kubeconfig)
        self._server = str(cluster["server"]).rstrip("/")
        self._tls = _tls(cluster, user) if self._server.startswith("https") else None
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls if self._tls is not None else True)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        return await self.request("GET", resource.path(namespace, name))

    async def list(self, resource: Resource, namespace: str = "", **parameters: str) -> Object:
        return await self.request("GET", resource.path(namespace), parameters=parameters)

    async def create(self, resource: Resource, value: Object) -> Object:
        value = {"apiVersion": resource.api_version, "kind": resource.kind, **value}
        return await self.request("POST", resource.path(value["metadata"].get("namespace", "")), value)

    async def create_once(self, resource: Resource, value: Object) -> None:
        """Creates what may exist already."""
        try:
            await self.create(resource, value)
        except ApiError as error:
            if not error.conflict:
                raise

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Object, *, subresource: str = "", kind: str = MERGE
    ) -> Object:
        return await self.request("PATCH", resource.path(namespace, name, subresource), body, content_type=kind)

    async def update(self, resource: Resource, value: Object, *, subresource: str = "") -> Object:
        metadata = value["metadata"]
        return await self.request(
            "PUT", resource.path(metadata.get("namespace", ""), metadata["name"], subresource), value
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace: int | None = None,
        propagation: str = "Background",
    ) -> Object:
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        return await self.request("DELETE", resource.path(namespace, name), body)

    async def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        content_type: str = "application/json",
        parameters: Mapping[str, str] | None = None,
    ) -> Object:
        assert self._session is not None
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content_type} if data is not None else None
        async with self._session.request(
            method, self._server + path, data=data, headers=headers, params=parameters
        ) as response:
            text = await response.read()
            if response.status >= 400:
                raise _refusal(response.status, text)
        answer: Object = orjson.loads(text)
        return answer

    async def watch(self, resource: Resource, version: str, **parameters: str) -> AsyncIterator[tuple[str, Object]]:
        """Events after a version, until the server ends the watch; raises ApiError when the version is too old."""
        assert self._session is not None
        parameters = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
            **parameters,
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_SECONDS + 30)
        async with self._session.get(self._server + resource.path(), params=parameters, timeout=timeout) as response:
            if response.status >= 400:
                raise _refusal(response.status, await response.read())
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        event = orjson.loads(line)
                        if event["type"] == "ERROR":
                            raise ApiError(event["object"].get("code", 500), event["object"].get("reason", ""), "watch")
                        yield event["type"], event["object"]


CONNECTION_ERRORS = (aiohttp.ClientError, OSError, asyncio.TimeoutError)
"""What a request raises when the API server is away."""


def _refusal(status: int, text: bytes) -> ApiError:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return ApiError(status, "", text[:200].decode(errors="replace"))
    if not isinstance(value, dict):
        return ApiError(status, "", str(value)[:200])
    return ApiError(status, value.get("reason") or "", value.get("message") or "")


def _current(kubeconfig: Path) -> tuple[Object, Object]:
    configuration = yaml.safe_load(kubeconfig.read_text())
    contexts = {entry["name"]: entry["context"] for entry in configuration["contexts"]}
    context = contexts[configuration["current-context"]]
    clusters = {entry["name"]: entry["cluster"] for entry in configuration["clusters"]}
    users = {entry["name"]: entry.get("user") or {} for entry in configuration.get("users") or []}
    return clusters[context["cluster"]], users.get(context.get("user", ""), {})


def _tls(cluster: Object, user: Object) -> ssl.SSLContext:
    authority = base64.b64decode(cluster.get("certificate-authority-data", ""))
    context = ssl.create_default_context(cadata=authority.decode() or None)
    if "client-certificate-data" in user:
        with tempfile.NamedTemporaryFile() as pair:  # the ssl module reads keys from files only
            pair.write(
                base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"])
            )
            pair.flush()
            context.load_cert_chain(pair.name)
    return context

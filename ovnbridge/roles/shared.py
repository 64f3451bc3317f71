"""What the roles of one process have in common: one Kubernetes connection and cache, one health and metrics server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from ovnbridge.kube.cache import Cache
from ovnbridge.kube.connection import ApiError, Connection
from ovnbridge.kube.reflector import Sink, SteppedSink
from ovnbridge.model.resource import Resource
from ovnbridge.observe.http import HealthServer
from ovnbridge.observe.kubernetes import request_observer
from ovnbridge.settings import Unusable

log = logging.getLogger(__name__)


class FanOut:
    """The cache's sink: hands every object to each role's World."""

    def __init__(self) -> None:
        self._sinks: list[Sink[Any]] = []
        self._objects: dict[Resource, dict[str, Any] | None] = {}

    def subscribe(self, sink: Sink[Any]) -> None:
        """Add a role's sink; it is given at once what has been listed already."""
        self._sinks.append(sink)
        for resource, objects in self._objects.items():
            sink.replace(resource, objects)

    def replace(self, resource: Resource, objects: dict[str, Any] | None) -> None:
        """A complete list."""
        for _ in self.replace_in_steps(resource, objects):
            pass

    def replace_in_steps(self, resource: Resource, objects: dict[str, Any] | None) -> Iterator[None]:
        """A complete list, in the steps of those sinks that know any."""
        self._objects[resource] = objects  # the reflector's own, which it keeps up to date until the next list
        for sink in self._sinks:
            if isinstance(sink, SteppedSink):
                yield from sink.replace_in_steps(resource, objects)
            else:
                sink.replace(resource, objects)
                yield

    def apply(self, resource: Resource, key: str, obj: Any | None) -> None:
        """One event."""
        for sink in self._sinks:
            sink.apply(resource, key, obj)


class Shared:
    """Process-wide resources, opened on first use and closed by `cli` at the end."""

    def __init__(self, *, kubeconfig: str = "") -> None:
        self._kubeconfig = kubeconfig
        self._connection: Connection | None = None
        self._cache: Cache | None = None
        self._reading: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self.objects = FanOut()
        """Roles subscribe their sinks here before they `want` kinds of the cache."""
        self.health = HealthServer()
        """Readiness and liveness checks, metrics, listeners."""

    async def connection(self) -> Connection:
        """The Kubernetes connection (kubeconfig flag, $KUBECONFIG, in-cluster). Raises Unusable."""
        async with self._lock:
            if self._connection is None:
                try:
                    self._connection = await Connection.open(
                        kubeconfig=self._kubeconfig or None, on_request=request_observer(self.health.metrics)
                    )
                except ApiError as error:
                    raise Unusable(error.message) from error
            return self._connection

    async def cache(self) -> Cache:
        """The informer cache: one reflector per resource, however many roles ask. Running."""
        connection = await self.connection()
        if self._cache is None:
            self._cache = Cache(connection=connection, sink=self.objects, on_malformed=_malformed)
            self._reading = asyncio.create_task(self._cache.run(), name="informer cache")
        return self._cache

    async def close(self) -> None:
        """Stop reflectors, servers and the connection."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        await self.health.close()
        if self._connection is not None:
            await self._connection.close()


def _malformed(resource: Resource, name: str, namespace: str, error: str) -> None:
    log.error("object cannot be read kind=%s namespace=%s name=%s error=%s", resource.kind, namespace, name, error)

"""The embedded API server as an object: sockets in, a URL, a kubeconfig, faults and counters out.

The lab and the tests start it; every request passes `_supervise`, which counts it, lets the faults have their
say, hands it to `Requests` and turns refusals into Status answers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Sequence

import orjson
from aiohttp import web

from .errors import ApiError, Object
from .faults import Faults
from .lifecycle import Lifecycle
from .objects import Objects, WriteOptions
from .query import parse_path
from .requests import Requests
from .resources import Registry
from .services import ServiceAllocator
from .store import Store

LOG = logging.getLogger(__name__)
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
MAXIMUM_BODY = 8 << 20


class ApiServer:
    def __init__(
        self,
        *,
        service_cidrs: Sequence[str] = ("10.96.0.0/12",),
        history: int = 100_000,
        bookmark_interval: float = 10.0,
    ) -> None:
        self._store = Store(history)
        self._registry = Registry(self._store)
        self._services = ServiceAllocator(service_cidrs)
        self._store.listeners.append(self._services.changed)
        self._objects = Objects(self._store, self._registry, self._services)
        self._lifecycle = Lifecycle(self._store, self._registry, self._objects)
        self.faults = Faults(self._store.compact)
        self._requests = Requests(
            self._store, self._registry, self._objects, self._lifecycle, self.faults, bookmark_interval
        )
        self.requests: Counter[tuple[str, str]] = Counter()
        """How many requests came in, by (HTTP method, "group/plural[/subresource]"); the core group is "core"."""
        self._runner: web.ServerRunner | None = None
        self.url = ""

    async def start(self, sockets: Sequence[socket.socket] = (), *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Serves on sockets that are bound already, or else on an address."""
        self._create_initial_objects()
        # A client that goes away ends its watch at once, not at the next event.
        server = web.Server(self._supervise, request_factory=_make_request, handler_cancellation=True)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.5)
        await self._runner.setup()
        if sockets:
            for listener in sockets:
                await web.SockSite(self._runner, listener).start()
            self.url = _url(sockets[0].getsockname())
        else:
            await web.TCPSite(self._runner, host, port).start()
            self.url = _url(self._runner.addresses[0])

    async def stop(self) -> None:
        if self._runner is not None:
            self.faults.drop_watches()
            await self._runner.cleanup()
            self._runner = None

    def kubeconfig(self, url: str | None = None) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {"server": url or self.url}}],
            "users": [{"name": "lab", "user": {}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "current-context": "lab",
        }

    def compact(self) -> None:
        """Forgets all history: every resource version handed out so far is too old from now on."""
        self._store.compact()

    # -- requests ------------------------------------------------------------------------------------------

    async def _supervise(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        target = parse_path(path)
        self.requests[request.method, path if target is None else target.label()] += 1
        try:
            await self.faults.intercept(f"{request.method} {path}")
            return await self._requests.handle(request, target, query)
        except ApiError as refusal:
            return _refused(refusal)
        except (asyncio.CancelledError, ConnectionError, web.HTTPException):
            raise
        except Exception as bug:
            LOG.exception("request_failed %s %s", request.method, request.raw_path)
            return _refused(ApiError(500, f"Internal error occurred: {bug!r}"))

    # -- content -------------------------------------------------------------------------------------------

    def _create_initial_objects(self) -> None:
        options = WriteOptions()
        namespaces = self._registry.get("", "v1", "namespaces")
        if namespaces.collection.objects:
            return
        for name in NAMESPACES:
            self._objects.create(namespaces, "", {"metadata": {"name": name}}, options)
        cidrs = self._registry.get("networking.k8s.io", "v1", "servicecidrs")
        ranges = [str(network) for network in self._services.networks]
        cidr = {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ranges}}
        self._objects.create(cidrs, "", cidr, options)
        services = self._registry.get("", "v1", "services")
        service = {
            "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {
                "clusterIP": str(self._services.networks[0][1]),
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            },
        }
        self._objects.create(services, "default", service, options)


def _refused(refusal: ApiError) -> web.Response:
    headers = {"Content-Type": "application/json"}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    return web.Response(body=orjson.dumps(refusal.status()), status=refusal.code, headers=headers)


def _make_request(message, payload, protocol, writer, task):  # type: ignore[no-untyped-def]
    """As aiohttp's own factory, but with room for large objects."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAXIMUM_BODY)


def _url(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])
    return f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"

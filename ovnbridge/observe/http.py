"""/metrics, /livez, /readyz and /healthz of a process, shared by its roles (spec E.8, node B2 step 10).

Roles may add actions, which are asked for by POST; an action may be for this machine's own users only.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from aiohttp import web

from ovnbridge.observe.metrics import Metrics
from ovnbridge.settings import Unusable

log = logging.getLogger(__name__)

Check = Callable[[], str | None]
"""Returns None when all is well, else what is wrong."""

Action: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
"""Does something and says as JSON what came of it."""


class HealthServer:
    """One set of checks and metrics, served on any number of addresses."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._live: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}
        self._actions: dict[str, tuple[Action, str]] = {}
        self._runners: list[web.AppRunner] = []
        self._refresh: list[Callable[[], Awaitable[None] | None]] = []

    def live(self, name: str, check: Check) -> None:
        """Add a liveness check."""
        self._live[name] = check

    def ready(self, name: str, check: Check) -> None:
        """Add a readiness check."""
        self._ready[name] = check

    def action(self, name: str, do: Action, *, refusal: str = "") -> None:
        """Do something at `POST /name`. Other machines are answered `refusal`, which says what to do instead; when it
        is empty they may ask too."""
        self._actions[name] = (do, refusal)

    def before_scrape(self, refresh: Callable[[], Awaitable[None] | None]) -> None:
        """Call `refresh` before each /metrics page is rendered."""
        self._refresh.append(refresh)

    async def listen(self, host: str, port: int) -> None:
        """Serve on one more address. Raises Unusable when it cannot be bound."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", lambda _: self._checks(self._live))
        app.router.add_get("/healthz", lambda _: self._checks(self._live))
        app.router.add_get("/readyz", lambda _: self._checks(self._ready))
        app.router.add_post("/{action}", self._act)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        try:
            await web.TCPSite(runner, host, port, reuse_address=True).start()
        except OSError as error:
            raise Unusable(f"health and metrics cannot be served on {host}:{port}: {error.strerror}") from error
        log.info("health and metrics listening address=%s port=%d", host, port)

    @property
    def ports(self) -> list[int]:
        """The ports that are served."""
        return [int(address[1]) for runner in self._runners for address in runner.addresses]

    async def close(self) -> None:
        """Stop serving."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _metrics(self, _: web.Request) -> web.Response:
        for refresh in self._refresh:
            if (slow := refresh()) is not None:
                await slow
        body, headers = self.metrics.page()
        return web.Response(body=body, headers=headers)

    async def _act(self, request: web.Request) -> web.Response:
        name = request.match_info["action"]
        if name not in self._actions:
            raise web.HTTPNotFound(text=f"no such action: {name}\n")
        do, refusal = self._actions[name]
        if refusal and not _local(request.remote):
            raise web.HTTPForbidden(text=f"{refusal}\n")
        log.info("asked for action=%s by=%s", name, request.remote)
        return web.json_response(await do())

    async def _checks(self, checks: dict[str, Check]) -> web.Response:
        failed = {name: problem for name, check in checks.items() if (problem := check()) is not None}
        lines = [f"[-]{name} {problem}" for name, problem in failed.items()] or ["ok"]
        return web.Response(text="\n".join(lines) + "\n", status=503 if failed else 200)


def _local(address: str | None) -> bool:
    """Whether a client is on this machine: loopback, also in its IPv4-mapped form."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback

"""/metrics, /livez, /readyz and /healthz of a process, shared by its roles (spec E.8, node B2 step 10)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web

from ovnbridge.observe.metrics import Metrics

log = logging.getLogger(__name__)

Check = Callable[[], str | None]
"""Returns None when all is well, else what is wrong."""


Action = Callable[[], dict[str, Any] | None]
"""Does something that a person asked for and says what; None when this process cannot do it now."""


class HealthServer:
    """One set of checks and metrics, served on any number of addresses."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._live: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}
        self._runners: list[web.AppRunner] = []
        self._refresh: list[Callable[[], None]] = []
        self._actions: dict[str, Action] = {}

    def action(self, name: str, action: Action) -> None:
        """Run `action` on POST `/name`."""
        self._actions[name] = action

    def live(self, name: str, check: Check) -> None:
        """Add a liveness check."""
        self._live[name] = check

    def ready(self, name: str, check: Check) -> None:
        """Add a readiness check."""
        self._ready[name] = check

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` before each /metrics page is rendered."""
        self._refresh.append(refresh)

    async def listen(self, host: str, port: int) -> None:
        """Serve on one more address. Raises OSError when it cannot be bound."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", lambda _: self._checks(self._live))
        app.router.add_get("/healthz", lambda _: self._checks(self._live))
        app.router.add_get("/readyz", lambda _: self._checks(self._ready))
        app.router.add_post("/{action}", self._act)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, host, port, reuse_address=True).start()
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
            refresh()
        body, headers = self.metrics.page()
        return web.Response(body=body, headers=headers)

    async def _act(self, request: web.Request) -> web.Response:
        action = self._actions.get(request.match_info["action"])
        if action is None:
            return web.Response(status=404, text="no such action\n")
        done = action()
        return web.json_response(done) if done is not None else web.Response(status=409, text="not now\n")

    async def _checks(self, checks: dict[str, Check]) -> web.Response:
        failed = {name: problem for name, check in checks.items() if (problem := check()) is not None}
        lines = [f"[-]{name} {problem}" for name, problem in failed.items()] or ["ok"]
        return web.Response(text="\n".join(lines) + "\n", status=503 if failed else 200)

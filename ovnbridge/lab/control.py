"""The supervisor's control socket: JSON over HTTP on a unix socket, for the command line and for tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import aiohttp.web
import orjson

from ovnbridge.lab.errors import LabError


class Controlled(Protocol):
    """What the control socket can ask of the supervisor."""

    def status(self) -> dict[str, Any]:
        """Everything that `lab status` shows."""

    def sandboxes(self) -> dict[str, Any]:
        """Where each pod lives."""

    def words(self) -> dict[str, list[str]]:
        """What was stood in for, by pod."""

    async def component(self, name: str, action: str, number: int) -> None:
        """Acts on one daemon: kill, start, stop, restart."""

    async def reach(self, sources: list[str], targets: list[str], port: int | None) -> dict[str, list[str]]:
        """Which addresses answer to which namespaces."""

    async def api(self, action: str, arguments: dict[str, Any]) -> Any:
        """Acts on the embedded API server: faults, requests, compact."""


class ControlServer:
    """Serves one lab."""

    def __init__(self, lab: Controlled, path: Path) -> None:
        self._lab = lab
        self._path = path
        self._runner: aiohttp.web.AppRunner | None = None

    async def start(self) -> None:
        application = aiohttp.web.Application(middlewares=[_errors])
        application.router.add_get("/status", self._status)
        application.router.add_get("/sandboxes", self._sandboxes)
        application.router.add_get("/words", self._words)
        application.router.add_post("/components/{name}/{action}", self._component)
        application.router.add_post("/api/{action}", self._api)
        application.router.add_post("/reach", self._reach)
        self._runner = aiohttp.web.AppRunner(application, access_log=None)
        await self._runner.setup()
        self._path.unlink(missing_ok=True)
        await aiohttp.web.UnixSite(self._runner, str(self._path)).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _status(self, _: aiohttp.web.Request) -> aiohttp.web.Response:
        return _json(self._lab.status())

    async def _sandboxes(self, _: aiohttp.web.Request) -> aiohttp.web.Response:
        return _json(self._lab.sandboxes())

    async def _words(self, _: aiohttp.web.Request) -> aiohttp.web.Response:
        return _json(self._lab.words())

    async def _component(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        arguments = await _arguments(request)
        await self._lab.component(
            request.match_info["name"], request.match_info["action"], int(arguments.get("signal", 15))
        )
        return _json({})

    async def _reach(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        question = await _arguments(request)
        return _json(await self._lab.reach(question["sources"], question["targets"], question.get("port")))

    async def _api(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        return _json(await self._lab.api(request.match_info["action"], await _arguments(request)))


async def _arguments(request: aiohttp.web.Request) -> dict[str, Any]:
    text = await request.read()
    value = orjson.loads(text) if text else {}
    if not isinstance(value, dict):
        raise LabError("arguments must be an object")
    return value


def _json(value: Any) -> aiohttp.web.Response:
    return aiohttp.web.Response(body=orjson.dumps(value), content_type="application/json")


@aiohttp.web.middleware
async def _errors(
    request: aiohttp.web.Request, handler: Callable[[aiohttp.web.Request], Awaitable[aiohttp.web.StreamResponse]]
) -> aiohttp.web.StreamResponse:
    try:
        return await handler(request)
    except LabError as error:
        return aiohttp.web.Response(status=400, text=str(error))

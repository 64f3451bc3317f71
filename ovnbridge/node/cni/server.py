"""HTTP on the unix socket: the shim's protocol and Kube-OVN's own, both mapped to `Request`s for `service`.

Whatever comes in, an answer goes out that the asking plug-in can show to a human; nothing from the wire reaches further
than `request`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from ovnbridge.node.cni.request import (
    DECODING_FAILURE,
    INVALID_CONFIG,
    IO_FAILURE,
    CniError,
    Request,
    cni_version_of,
    from_legacy,
    from_shim,
)
from ovnbridge.node.cni.result import error_text, error_to_cni, to_cni, to_legacy
from ovnbridge.node.cni.service import CniService

log = logging.getLogger(__name__)

BODY_LIMIT: Final = 1 << 20
_BAD_REQUEST: Final = frozenset({INVALID_CONFIG, DECODING_FAILURE, 1, 4})
Observe = Callable[[str, int, float], None]


class CniServer:
    """Serves one socket; see the module's docstring."""

    def __init__(self, service: CniService, *, observe: Observe = lambda _path, _status, _seconds: None) -> None:
        """`observe` hears path, status and seconds of each request."""
        self._service = service
        self._observe = observe
        self._runner: web.AppRunner | None = None
        self._path = ""
        self._inode = 0

    @property
    def listening(self) -> bool:
        """Whether the socket that plug-ins find is ours."""
        try:
            return self._runner is not None and os.stat(self._path).st_ino == self._inode
        except OSError:
            return False

    async def start(self, path: str) -> None:
        """Serve at `path`, replacing whatever socket is there in one step. Raises OSError."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_post("/cni/v1", self._timed(self._cni))
        app.router.add_post("/api/v1/add", self._timed(self._legacy_add))
        app.router.add_post("/api/v1/del", self._timed(self._legacy_del))
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=15.0, shutdown_timeout=1.0)
        await self._runner.setup()
        sock, self._inode = _bind(path)
        self._path = path
        await web.SockSite(self._runner, sock).start()
        log.info("cni server listening socket=%s", path)

    async def stop(self) -> None:
        """Stop serving and remove the socket, unless a successor has replaced it."""
        if self.listening:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _timed(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def timed(request: web.Request) -> web.Response:
            started = time.monotonic()
            response = await handler(request)
            self._observe(request.path, response.status, time.monotonic() - started)
            return response

        return timed

    async def _cni(self, http: web.Request) -> web.Response:
        body = b""
        try:
            body = await _body(http)
            return await self._carry_out(from_shim(http.headers, body))
        except CniError as error:
            return _json(error_to_cni(error, cni_version_of(body)), status=500)

    async def _carry_out(self, request: Request) -> web.Response:
        if request.command == "ADD":
            return _json(to_cni(await self._service.add(request), request.cni_version))
        if request.command == "DEL":
            await self._service.delete(request)
        elif request.command == "CHECK":
            await self._service.check(request)
        elif request.command == "STATUS":
            self._service.status()
        else:
            self._service.collect_garbage()
        return web.Response(status=200)

    async def _legacy_add(self, http: web.Request) -> web.Response:
        try:
            request = from_legacy("ADD", await _body(http))
            return _json(to_legacy(await self._service.add(request)))
        except CniError as error:
            return _json({"error": error_text(error)}, status=_legacy_status(error))

    async def _legacy_del(self, http: web.Request) -> web.Response:
        try:
            await self._service.delete(from_legacy("DEL", await _body(http)))
            return web.Response(status=204)
        except CniError as error:
            return _json({"error": error_text(error)}, status=_legacy_status(error))


def _legacy_status(error: CniError) -> int:
    return 400 if error.code in _BAD_REQUEST else 500


async def _body(http: web.Request) -> bytes:
    try:
        return await http.read()
    except web.HTTPRequestEntityTooLarge:
        raise CniError(DECODING_FAILURE, f"request is larger than {BODY_LIMIT} bytes") from None
    except (OSError, web.RequestPayloadError, ValueError) as error:
        raise CniError(IO_FAILURE, "cannot read the request", str(error)) from None


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def _bind(path: str) -> tuple[socket.socket, int]:
    """A listening socket under a temporary name, renamed into place: plug-ins never meet a missing or dead one."""
    temporary = f"{path}.{os.getpid()}"
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        sock.bind(temporary)
        os.chmod(temporary, 0o600)
        sock.listen(512)
        sock.setblocking(False)
        inode = os.stat(temporary).st_ino
        os.rename(temporary, path)
    except OSError:
        sock.close()
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return sock, inode

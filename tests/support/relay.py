"""A relay between client and server that can lose things, for any byte stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

Target: TypeAlias = Path | tuple[str, int]
"""A unix socket, or address and port."""


class Proxy:
    """Relays connections from `listen` (a unix socket; None: a TCP port of its own) to `target`.

    `deliver_requests`/`deliver_replies` say which direction still works; `cut()` ends all connections.
    """

    def __init__(self, listen: Path | None, target: Target) -> None:
        self.remote = f"unix:{listen}"
        """Where it listens, as an OVSDB remote."""
        self.port = 0
        """The TCP port."""
        self.requests = b""
        """Everything that clients have sent."""
        self.on_request: Callable[[bytes], None] | None = None
        self.on_reply: Callable[[bytes], None] | None = None
        self.deliver_requests = True
        self.deliver_replies = True
        self._listen = listen
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Proxy:
        if self._listen is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]
            self.remote = f"tcp:127.0.0.1:{self.port}"
        else:
            self._server = await asyncio.start_unix_server(self._serve, str(self._listen))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            upstream, towards = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, towards}
        await asyncio.gather(self._requests(reader, towards), self._replies(upstream, writer))
        for end in (writer, towards):
            end.transport.abort()
            self._writers.discard(end)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(str(self._target))
        return await asyncio.open_connection(*self._target)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def passed(data: bytes) -> bool:
            self.requests += data
            if self.on_request is not None:
                self.on_request(data)
            return self.deliver_requests

        await _pump(reader, writer, passed)

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def passed(data: bytes) -> bool:
            if self.on_reply is not None:
                self.on_reply(data)
            return self.deliver_replies

        await _pump(reader, writer, passed)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: Callable[[bytes], bool]) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            if passed(data) and not writer.transport.is_closing():
                writer.write(data)
                await writer.drain()
    writer.close()

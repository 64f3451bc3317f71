"""A proxy that counts: put between the controller and a server to see operations and bytes, whatever they are.

It copies bytes and looks only at what the controller sends (OVSDB operations by name). Used where few bytes flow
(restart, single changes), never where throughput is measured.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_OPERATION = re.compile(rb'"op"\s*:\s*"(\w+)"|"method"\s*:\s*"(transact)"')
_WRITES = ("insert", "update", "mutate", "delete")
_TAIL = 64


class Tap:
    """One proxy; an async context manager. Listens on a unix socket, or on a TCP port when that is None."""

    def __init__(self, connect: Callable[[], Awaitable[Streams]], listen: Path | None = None) -> None:
        self._connect = connect
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.counts: Counter[str] = Counter()
        self.port = 0

    async def __aenter__(self) -> Self:
        if self._listen is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._listen)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    @property
    def writes(self) -> int:
        """OVSDB operations that write."""
        return sum(self.counts[f"op:{name}"] for name in _WRITES)

    @property
    def transactions(self) -> int:
        """OVSDB transactions, whether or not they had an effect."""
        return self.counts["transact"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, towards = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, towards}
        await asyncio.gather(self._copy(reader, towards, "up"), self._copy(upstream, writer, "down"))
        self._writers -= {writer, towards}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        tail = b""
        try:
            while data := await reader.read(1 << 18):
                self.counts[way] += len(data)
                if way == "up":
                    tail = self._count(tail, data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.transport.abort()

    def _count(self, tail: bytes, data: bytes) -> bytes:
        text = tail + data
        for match in _OPERATION.finditer(text):
            if match.end() > len(tail):  # else seen in the piece before
                self.counts["transact" if match[2] else f"op:{match[1].decode()}"] += 1
        return text[-_TAIL:]

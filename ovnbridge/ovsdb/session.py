"""JSON-RPC over one byte stream: requests, notifications in order, probes both ways.

Owned by `client.py`, one per connection. Promises: replies and notifications are handled strictly in the order in
which the server sent them (an update that belongs to a transaction is applied before the transaction's reply is seen);
the server's probes are answered even while a long load is being worked on; a full queue stops reading (back-pressure).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import orjson

from ovnbridge.ovsdb.errors import ProtocolError, RequestError, SessionLost
from ovnbridge.ovsdb.framing import Framer, FramingError

NotificationHandler: TypeAlias = Callable[[str, list[Any]], Awaitable[None]]
ReplyHandler: TypeAlias = Callable[[Any], Awaitable[Any]]

_CHUNK = 1 << 20
_QUEUE = 256


class Session:
    """One connection's life; `run()` ends with SessionLost."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        probe_interval: float,
        notified: NotificationHandler,
        closed: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._probe_interval = probe_interval
        self._notified = notified
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._received = self._loop.time()
        self._next_id = 0
        self._pending: dict[int, tuple[str, asyncio.Future[Any], ReplyHandler | None]] = {}
        self._incoming: asyncio.Queue[list[Any]] = asyncio.Queue(_QUEUE)
        self._lost: asyncio.Future[str] = self._loop.create_future()

    @property
    def open(self) -> bool:
        """Whether requests can still be sent."""
        return not self._lost.done()

    def close(self, reason: str) -> None:
        """End the session: `closed` is called, then requests fail and `run()` raises SessionLost with this reason."""
        if not self._lost.done():
            self._lost.set_result(reason)
            self._closed()

    async def run(self) -> None:
        """Serve the connection until it ends; always raises (SessionLost, or what a handler raised)."""
        tasks = [asyncio.create_task(work()) for work in (self._read, self._dispatch, self._probe)]
        ends: list[asyncio.Future[Any]] = [*tasks, self._lost]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            raise SessionLost(self._lost.result())
        except (OSError, FramingError) as error:
            raise SessionLost(f"{type(error).__name__}: {error}") from error
        finally:
            self.close("closed")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for _, future, _ in self._pending.values():
                if not future.done():
                    future.set_exception(SessionLost(self._lost.result()))
                    future.exception()  # a caller that was cancelled does not read it
            self._pending.clear()
            self._writer.transport.abort()

    def send(self, method: str, params: list[Any], handler: ReplyHandler | None = None) -> asyncio.Future[Any]:
        """Send a request. The future gets its result (through `handler`, awaited in message order), RequestError or
        SessionLost. Raises SessionLost if nothing can be sent and TypeError if `params` is not JSON."""
        if self._lost.done() or self._writer.transport.is_closing():
            raise SessionLost("closed")
        self._next_id += 1
        message = orjson.dumps({"method": method, "params": params, "id": self._next_id})
        future: asyncio.Future[Any] = self._loop.create_future()
        self._pending[self._next_id] = (method, future, handler)
        self._writer.write(message)
        return future

    async def _read(self) -> None:
        framer = Framer()
        while chunk := await self._reader.read(_CHUNK):
            self._received = self._loop.time()
            messages = []
            for message in self._parse(framer, chunk):
                if not isinstance(message, dict):
                    raise ProtocolError("message is not an object")
                if message.get("method") == "echo" and message.get("id") is not None:
                    self._reply(message["id"], message.get("params"))
                else:
                    messages.append(message)
            if messages:
                await self._incoming.put(messages)
        raise SessionLost("closed by the server")

    @staticmethod
    def _parse(framer: Framer, chunk: bytes) -> list[Any]:
        if framer.pending < _CHUNK or not gc.isenabled():
            return framer.feed(chunk)
        gc.disable()  # a large document is hundreds of thousands of containers, none of them garbage
        try:
            return framer.feed(chunk)
        finally:
            gc.enable()

    def _reply(self, message_id: Any, result: Any) -> None:
        self._writer.write(orjson.dumps({"result": result, "error": None, "id": message_id}))

    async def _dispatch(self) -> None:
        while True:
            for message in await self._incoming.get():
                if (method := message.get("method")) is not None:
                    await self._notified(method, message.get("params") or [])
                elif (waiting := self._pending.pop(message.get("id"), None)) is not None:
                    await self._answer(message, *waiting)

    @staticmethod
    async def _answer(
        message: dict[str, Any], method: str, future: asyncio.Future[Any], handler: ReplyHandler | None
    ) -> None:
        if message.get("error") is not None:
            if not future.done():
                future.set_exception(RequestError(method, message["error"]))
                future.exception()
            return
        result = message.get("result")
        if handler is not None:
            message.clear()  # lets the handler free a large result while it works through it
            result = await handler(result)
        if not future.done():
            future.set_result(result)

    async def _probe(self) -> None:
        """Echo after a silent interval, give up after a second one."""
        interval = self._probe_interval
        if interval <= 0:
            await self._loop.create_future()
        while True:
            if (silent := self._loop.time() - self._received) < interval:
                await asyncio.sleep(interval - silent)
                continue
            if self._incoming.full():  # it is us who do not read
                await asyncio.sleep(interval)
                continue
            heard = self._received
            self.send("echo", [])
            await asyncio.sleep(interval)
            if self._received == heard:
                await asyncio.sleep(interval / 10)  # if the process stood still, the answer lies in the socket
            if self._received == heard:
                raise SessionLost(f"no answer to a probe for {interval:g} s")

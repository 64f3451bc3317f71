"""What stands in for a program that this machine does not have: a small server on the container's declared ports.

TCP answers any HTTP request with 200 and one line, `<pod> <namespace> <address> <port>`; anything that is not HTTP
gets the line alone. UDP sends the line back for each datagram. Sockets are bound in the pod's namespace, served on
the supervisor's loop: no process for a pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import cast

from ovnbridge.lab.namespaces import Namespaces

_HEAD_LIMIT = 65536
_IDLE = 60.0


class StandInServer:
    """The servers of one container."""

    def __init__(self, namespaces: Namespaces, netns: str, pod: str, namespace: str) -> None:
        self._namespaces = namespaces
        self._netns = netns
        self._identity = f"{pod} {namespace}"
        self._servers: list[asyncio.Server] = []
        self._datagrams: list[asyncio.DatagramTransport] = []
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self, ports: Sequence[tuple[str, int]], address: str = "::") -> None:
        """Listens on (protocol, port) pairs; raises OSError when one is taken."""
        loop = asyncio.get_running_loop()
        try:
            for protocol, port in ports:
                if protocol == "TCP":
                    bound = await self._bind(address, port, socket.SOCK_STREAM)
                    self._servers.append(await asyncio.start_server(self._serve, sock=bound, limit=_HEAD_LIMIT))
                elif protocol == "UDP":
                    bound = await self._bind(address, port, socket.SOCK_DGRAM)
                    transport, _ = await loop.create_datagram_endpoint(lambda: _Echo(self._identity), sock=bound)
                    self._datagrams.append(transport)
        except BaseException:
            self.stop()
            raise

    async def _bind(self, address: str, port: int, kind: socket.SocketKind) -> socket.socket:
        try:
            return await self._namespaces.listen(self._netns, address, port, kind)
        except OSError:
            if address != "::":
                raise
        return await self._namespaces.listen(self._netns, "0.0.0.0", port, kind)

    def stop(self) -> None:
        """Closes the sockets and the connections, as the end of a process would."""
        for server in self._servers:
            server.close()
        for transport in self._datagrams:
            transport.abort()
        for writer in list(self._connections):
            writer.transport.abort()
        self._servers.clear()
        self._datagrams.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            async with asyncio.timeout(_IDLE):
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
                    while await self._answer(reader, writer):
                        pass
        except TimeoutError:
            pass
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; returns whether the connection may carry another."""
        first = await reader.readline()
        if not first:
            return False
        host, port = writer.get_extra_info("sockname")[:2]
        body = f"{self._identity} {host.removeprefix('::ffff:')} {port}\n".encode()
        if not first.rstrip().endswith((b"HTTP/1.1", b"HTTP/1.0")):
            writer.write(body)
            await writer.drain()
            return False
        length = 0
        keep = first.rstrip().endswith(b"1.1")
        while (line := await reader.readline()).strip():
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = int(value)
            elif name.strip().lower() == b"connection":
                keep = value.strip().lower() != b"close"
        await reader.readexactly(min(length, _HEAD_LIMIT * 16))
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        )
        writer.write(head.encode() + (b"" if first.startswith(b"HEAD ") else body))
        await writer.drain()
        return keep


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(f"{self._identity} {data.decode(errors='replace')}".encode(), addr)

"""What the tests of the CNI plug-in share: running it as a container runtime does, and a daemon that does as told."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2] / "cni-shim"

SUPPORTED = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
MEBIBYTE = 1024 * 1024

ADD = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "0a1b2c3d",
    "CNI_NETNS": "/var/run/netns/pod",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
    "CNI_PATH": "/opt/cni/bin",
}

RESULT = b'{"cniVersion":"0.3.1","interfaces":[],"ips":[]}'


@dataclass(frozen=True)
class Outcome:
    status: int
    stdout: bytes
    stderr: bytes

    def error(self) -> dict[str, Any]:
        """The CNI error that the plug-in printed; exactly its four members, and nothing else went out."""
        assert self.status == 1, self
        assert self.stderr == b"", self
        error: dict[str, Any] = json.loads(self.stdout)
        assert sorted(error) == ["cniVersion", "code", "details", "msg"], self
        return error

    def fails(self, code: int, message: str, *details: str, version: str = "0.3.1") -> None:
        error = self.error()
        assert (error["code"], error["msg"], error["cniVersion"]) == (code, message, version), error
        for part in details:
            assert part in error["details"], error

    def rpc_failed(self, *details: str, version: str = "0.3.1") -> None:
        self.fails(11, "RPC failed", *details, version=version)

    def succeeds(self, body: bytes) -> None:
        assert (self.status, self.stdout, self.stderr) == (0, body, b""), self


def config(socket: str, **members: Any) -> bytes:
    return json.dumps(
        {"cniVersion": "0.3.1", "name": "n", "type": "kube-ovn", "server_socket": socket} | members
    ).encode()


def request(environment: Mapping[str, str], body: bytes) -> bytes:
    """The bytes that the protocol wants for these variables."""
    lines = ["POST /cni/v1 HTTP/1.1", "Host: ovnbridge", "Connection: close", "Content-Type: application/json"]
    for name in ("Command", "Containerid", "Netns", "Ifname", "Args", "Path"):
        value = environment.get(f"CNI_{name.upper()}")
        if value:
            lines.append(f"Cni-{name}: {value}")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def reply(status: str = "200 OK", body: bytes = RESULT, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


Environment = Mapping[str, str] | Mapping[bytes, bytes]


async def run(
    program: Path, environment: Environment, stdin: bytes, *arguments: str, stdout: int = subprocess.PIPE
) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        program, *arguments, env=environment, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(30):
        printed, complaints = await process.communicate(stdin)
    assert process.returncode is not None
    return Outcome(process.returncode, printed or b"", complaints)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
    return head + await reader.readexactly(length)


@dataclass
class FakeDaemon:
    """Listens where the plug-in is sent to. It reads a request and gives `reply`; a `handler` replaces that."""

    path: str
    reply: bytes = field(default_factory=reply)
    handler: Handler | None = None
    requests: list[bytes] = field(default_factory=list)

    async def __aenter__(self) -> FakeDaemon:
        self.server = await asyncio.start_unix_server(self._serve, self.path, limit=4 * MEBIBYTE, backlog=8)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        os.unlink(self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.handler:
                await self.handler(reader, writer)
                return
            self.requests.append(await read_request(reader))
            writer.write(self.reply)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the plug-in need not take what it does not want
        finally:
            writer.close()

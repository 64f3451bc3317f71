"""A bare Kubernetes client: as little as HTTP/1.1 needs, so that a floor measures the server and not its client.

Used by the load driver and by `floor`. One `Rest` is one connection and one request at a time; parallel work uses
several (`pool`). `Address` reads a kubeconfig (plain HTTP, or TLS with certificates in the file).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import yaml

MERGE = "application/merge-patch+json"
LIMIT = 64 << 20


class Refused(RuntimeError):
    """The server's answer was not 2xx."""

    def __init__(self, code: int, text: bytes) -> None:
        super().__init__(f"{code}: {text[:300]!r}")
        self.code = code


class Address:
    """Where the API server is and how it is reached."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        url = urlsplit(cluster["server"])
        self.host, self.port = url.hostname or "127.0.0.1", url.port or 443
        self.tls: ssl.SSLContext | None = None
        if url.scheme == "https":
            authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
            self.tls = ssl.create_default_context(cadata=authority)
            with tempfile.NamedTemporaryFile("wb") as pair:
                pair.write(base64.b64decode(user["client-certificate-data"]))
                pair.write(b"\n" + base64.b64decode(user["client-key-data"]))
                pair.flush()
                self.tls.load_cert_chain(pair.name)


class Rest:
    """One connection."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
        """Body of the reply; Refused unless 2xx."""
        reader = await self._send(method, path, body, content_type)
        code, headers = await _head(reader)
        if b"chunked" in headers.get(b"transfer-encoding", b""):
            reply = b"".join([chunk async for chunk in _chunks(reader)])
        else:
            reply = await reader.readexactly(int(headers.get(b"content-length", b"0")))
        if not 200 <= code < 300:
            raise Refused(code, reply)
        return reply

    async def lines(self, path: str) -> AsyncIterator[bytes]:
        """The lines of a watch, until the server ends it."""
        reader = await self._send("GET", path, b"", "application/json")
        code, _ = await _head(reader)
        if code != 200:
            raise Refused(code, b"watch refused")
        rest = b""
        async for chunk in _chunks(reader):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line

    async def _send(self, method: str, path: str, body: bytes, content_type: str) -> asyncio.StreamReader:
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                self._address.host, self._address.port, ssl=self._address.tls, limit=LIMIT
            )
        reader, writer = self._streams
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._address.host}\r\nAccept: application/json\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        return reader

    def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    return int(first.split(b" ", 2)[1]), headers


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")


@contextlib.asynccontextmanager
async def connection(address: Address) -> AsyncIterator[Rest]:
    """One connection for a block."""
    rest = Rest(address)
    try:
        yield rest
    finally:
        rest.close()


async def pool(address: Address, jobs: Iterable[Any], work: Callable[[Rest, Any], Awaitable[None]], size: int) -> None:
    """Do all jobs on `size` connections, each one request at a time."""
    queue = iter(jobs)

    async def worker() -> None:
        async with connection(address) as rest:
            for job in queue:
                await work(rest, job)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(size):
            tasks.create_task(worker())


async def version(address: Address, where: str) -> str:
    """The resourceVersion of a collection now."""
    async with connection(address) as rest:
        page = orjson.loads(await rest.request("GET", f"{where}?limit=1"))
    return str(page["metadata"]["resourceVersion"])


async def watch(address: Address, where: str, since: str) -> AsyncIterator[tuple[str, Any]]:
    """(type, object) of all events after a version, for ever: the real server ends watches of slow readers."""
    while True:
        async with connection(address) as rest:
            async for line in rest.lines(f"{where}?watch=1&resourceVersion={since}&timeoutSeconds=3000"):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise Refused(event["object"].get("code", 0), line)
                since = event["object"]["metadata"]["resourceVersion"]
                yield event["type"], event["object"]


def path(group: str, version: str, plural: str, namespace: str = "", name: str = "") -> str:
    """Path of a collection or of one object in it."""
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    middle = f"/namespaces/{namespace}" if namespace and plural != "namespaces" else ""
    return f"{root}{middle}/{plural}" + (f"/{name}" if name else "")


async def create(rest: Rest, group: str, version: str, plural: str, obj: Any) -> bytes:
    """Post one object; one that exists is left as it is."""
    where = path(group, version, plural, obj["metadata"].get("namespace", ""))
    try:
        return await rest.request("POST", where, orjson.dumps(obj))
    except Refused as refusal:
        if refusal.code != 409:
            raise
        return b""

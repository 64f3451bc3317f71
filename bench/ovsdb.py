"""An ovsdb-server process, a bare client of it, and what its database file says about writes.

The file of a standalone database is a log with one record for each transaction that changed something: counting
records counts writes exactly, at no cost for the server and for whoever writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import msgspec
import orjson

from bench.processes import BenchError, Child, until

SCHEMAS = {"OVN_Northbound": "ovn-nb.ovsschema", "OVN_Southbound": "ovn-sb.ovsschema"}
LIMIT = 1 << 30


class Ovsdb:
    """One standalone ovsdb-server on a database of its own; an async context manager."""

    def __init__(self, directory: Path, name: str = "OVN_Northbound") -> None:
        self.name = name
        self.file = directory / f"{name}.db"
        self.socket = directory / f"{name}.sock"
        self.remote = f"unix:{self.socket}"
        self._directory = directory
        self._child: Child | None = None

    async def __aenter__(self) -> Self:
        schema = f"/usr/share/ovn/{SCHEMAS[self.name]}"
        await asyncio.to_thread(subprocess.check_call, ["ovsdb-tool", "create", str(self.file), schema])
        command = ["ovsdb-server", str(self.file), f"--remote=p{self.remote}", "-vconsole:warn", "--no-chdir"]
        command.append(f"--unixctl={self._directory / self.name}.ctl")
        self._child = Child(self.name, command, self._directory / f"{self.name}.log")
        await until(self._answers, f"{self.name} answering", 10, 0.02)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._child is not None
        await self._child.stop()

    async def _answers(self) -> bool:
        assert self._child is not None
        self._child.check()
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def cpu(self) -> float:
        """CPU seconds of the server."""
        assert self._child is not None
        return self._child.cpu()

    def mark(self) -> tuple[int, int]:
        """A position in the log, for `written`."""
        stat = self.file.stat()
        return stat.st_ino, stat.st_size

    def written(self, since: tuple[int, int]) -> Counter[str]:
        """What was committed since: `transactions`, `bytes`, and rows by table."""
        if self.file.stat().st_ino != since[0]:
            raise BenchError(f"{self.file} was compacted meanwhile: writes cannot be counted")
        with self.file.open("rb") as log:
            log.seek(since[1])
            return log_counts(log.read())


def log_counts(log: bytes) -> Counter[str]:
    """Transactions, bytes and changed rows by table in a piece of an OVSDB log. A record cut off at the end is left."""
    counts: Counter[str] = Counter()
    place = 0
    while (end := log.find(b"\n", place)) >= 0:
        head = log[place:end].split()
        if len(head) != 4 or head[0] != b"OVSDB":
            raise BenchError(f"not an OVSDB log: {log[place : place + 40]!r}")
        size = int(head[2])
        place = end + 1 + size
        if place > len(log):
            break
        counts["transactions"] += 1
        counts["bytes"] += size
        for table, rows in orjson.loads(log[end + 1 : place]).items():
            if not table.startswith("_"):
                counts[table] += len(rows)
    return counts


class Raw:
    """A bare JSON-RPC connection: requests may be in flight together, replies come in order of their ids."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self.received = 0
        self.on_update: Callable[[Any], None] = lambda _: None
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        parts: list[bytes] = []
        try:
            while data := await self._reader.read(1 << 20):
                self.received += len(data)
                parts.append(data)
                if data.endswith(b"}"):  # perhaps the end of a document
                    parts = [self._documents(b"".join(parts))]
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(BenchError("OVSDB connection lost"))

    def _documents(self, buffer: bytes) -> bytes:
        """Handle all complete documents; what is left over."""
        while buffer:
            end = _document_end(buffer)
            try:
                message = orjson.loads(buffer[:end])
            except orjson.JSONDecodeError:
                break
            self._handle(message)
            buffer = buffer[end:]
        return buffer

    def _handle(self, message: dict[str, Any]) -> None:
        if message.get("method") == "echo":
            self._writer.write(orjson.dumps({"id": message["id"], "result": message["params"], "error": None}))
        elif message.get("method"):
            self.on_update(message["params"])
        elif (future := self._waiting.pop(message["id"], None)) and not future.done():
            if message["error"] is None:
                future.set_result(message["result"])
            else:
                future.set_exception(BenchError(f"OVSDB error {message['error']}"))

    def send(self, method: str, params: bytes) -> asyncio.Future[Any]:
        """Send a request whose parameters are JSON already."""
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(b'{"method":"%s","id":%d,"params":%s}' % (method.encode(), number, params))
        return future

    async def transact(self, *operations: Any) -> list[Any]:
        """One transaction."""
        results: list[Any] = await self.send("transact", orjson.dumps(["OVN_Northbound", *operations]))
        return checked(results)

    def close(self) -> None:
        """End the connection."""
        self._task.cancel()
        self._writer.transport.abort()


def checked(results: list[Any]) -> list[Any]:
    """The results, or what they complain about."""
    for result in results:
        if isinstance(result, dict) and "error" in result:
            raise BenchError(f"OVSDB transaction failed: {result}")
    return results


def _document_end(buffer: bytes) -> int:
    """Where the first JSON document ends. Documents follow each other without anything between them."""
    glued = buffer.find(b"}{")
    while glued >= 0:  # inside a string this is no boundary: what would be cut off there does not parse
        try:
            msgspec.json.decode(buffer[: glued + 1], type=msgspec.Raw)
        except msgspec.DecodeError:
            glued = buffer.find(b"}{", glued + 1)
        else:
            return glued + 1
    return len(buffer)


@contextlib.asynccontextmanager
async def connect(server: Ovsdb) -> AsyncIterator[Raw]:
    """A bare connection for a block."""
    raw = Raw(*await asyncio.open_unix_connection(str(server.socket), limit=LIMIT))
    try:
        yield raw
    finally:
        raw.close()


class Ports:
    """How many pod ports the database has, from a monitor of their names alone."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._uuids: dict[str, str] = {}

    async def watch(self, raw: Raw) -> None:
        """Begin."""
        raw.on_update = lambda params: self._apply(params[1])
        request = {"Logical_Switch_Port": {"columns": ["name"]}}
        self._apply(await raw.send("monitor", orjson.dumps(["OVN_Northbound", "ports", request])))

    def _apply(self, updates: Any) -> None:
        for uuid, row in updates.get("Logical_Switch_Port", {}).items():
            if "new" in row:
                name = self._uuids[uuid] = row["new"]["name"]
                self.names.add(name)
            else:
                self.names.discard(self._uuids.pop(uuid, ""))


def insert_ports(switch: str, ports: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """The operations that add ports (name, MAC, address) to a switch: merged as a good client does."""
    operations: list[dict[str, Any]] = []
    for number, (name, mac, address) in enumerate(ports):
        namespace = name.rpartition(".")[2]
        ids = [["vendor", "kube-ovn"], ["ls", switch], ["pod", f"{namespace}/{name.rpartition('.')[0]}"]]
        row = {"name": name, "addresses": f"{mac} {address}", "external_ids": ["map", ids]}
        operations.append({"op": "insert", "table": "Logical_Switch_Port", "uuid-name": f"p{number}", "row": row})
    references = ["set", [["named-uuid", f"p{number}"] for number in range(len(ports))]]
    where = [["name", "==", switch]]
    mutation = {
        "op": "mutate",
        "table": "Logical_Switch",
        "where": where,
        "mutations": [["ports", "insert", references]],
    }
    return [*operations, mutation]

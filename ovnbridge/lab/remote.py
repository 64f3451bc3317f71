"""A running lab as seen from outside: its control socket, its processes, its namespaces."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from ovnbridge.lab.errors import LabError
from ovnbridge.lab.launch import supervisor_pid
from ovnbridge.lab.paths import LabPaths

_CONTROL_TIMEOUT = aiohttp.ClientTimeout(total=300)


class Remote:
    """Speaks with one lab. Pids of the lab are translated to the caller's pid namespace where they leave this class."""

    def __init__(self, name: str) -> None:
        self.paths = LabPaths(name)
        self.name = name
        pid = supervisor_pid(self.paths)
        if pid is None:
            raise LabError(f"lab {name} is not up")
        self.supervisor = pid
        self._session: aiohttp.ClientSession | None = None
        self._outer: dict[int, int] = {}
        self._holders: dict[str, int] = {}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """GET, or POST with a body."""
        if self._session is None:
            connector = aiohttp.UnixConnector(str(self.paths.control))
            self._session = aiohttp.ClientSession(connector=connector, timeout=_CONTROL_TIMEOUT)
        method = "GET" if body is None else "POST"
        data = None if body is None else orjson.dumps(body)
        try:
            async with self._session.request(method, f"http://lab{path}", data=data) as response:
                text = await response.read()
        except aiohttp.ClientError as error:
            raise LabError(f"lab {self.name} does not answer: {error}") from error
        if response.status >= 400:
            raise LabError(text.decode(errors="replace"))
        return orjson.loads(text)

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = await self.ask("/status")
        return status

    def status_now(self) -> dict[str, Any]:
        """`status` for a caller that cannot wait; the supervisor is another process, and quick."""
        connection = _UnixConnection(str(self.paths.control))
        try:
            connection.request("GET", "/status")
            status: dict[str, Any] = orjson.loads(connection.getresponse().read())
        except OSError as error:
            raise LabError(f"lab {self.name} does not answer: {error}") from error
        finally:
            connection.close()
        return status

    def outer_pid(self, inner: int) -> int | None:
        """Our pid of a process that the lab knows by its own; None when it is gone."""
        known = self._outer.get(inner)
        if known is not None and _inner_pid(known, self.supervisor) == inner:
            return known
        for entry in os.listdir("/proc"):
            if entry.isdecimal() and _inner_pid(int(entry), self.supervisor) == inner:
                self._outer[inner] = int(entry)
                return int(entry)
        return None

    async def in_machine(self, name: str) -> tuple[str, ...]:
        """The prefix of a command that is to run on a machine."""
        return ("nsenter", f"--target={await self._holder(name)}", "--mount", "--net", "--uts", "--pid", "--wd=/", "--")

    async def in_pod(self, netns: str) -> tuple[str, ...]:
        """The prefix of a command that is to run in a pod."""
        path = f"/proc/{self.supervisor}/root/run/netns/{netns}"
        target = f"--target={await self._holder('')}"
        return ("nsenter", target, "--mount", "--pid", "--root", "--wd", f"--net={path}", "--")

    async def _holder(self, name: str) -> int:
        if name not in self._holders:
            status = await self.status()
            inner = status["pod_root"] if not name else status["holders"].get(name)
            if inner is None:
                raise LabError(f"lab {self.name} has no machine {name}; there are {', '.join(status['holders'])}")
            pid = self.outer_pid(inner)
            if pid is None:
                raise LabError(f"process {inner} of lab {self.name} is gone")
            self._holders[name] = pid
        return self._holders[name]

    async def sandboxes(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = await self.ask("/sandboxes")
        return found


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("lab", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


def _inner_pid(pid: int, supervisor: int) -> int | None:
    try:
        if os.stat(f"/proc/{pid}/ns/pid").st_ino != os.stat(f"/proc/{supervisor}/ns/pid").st_ino:
            return None
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return int(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1])

"""One run of one container: a process when its program exists on this machine, a stand-in otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ovnbridge.lab.client import Object
from ovnbridge.lab.kubelet.environment import NodeEnvironment
from ovnbridge.lab.kubelet.server import StandInServer

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class Running(Protocol):
    """A container that was started."""

    async def wait(self) -> int:
        """Its exit status, once it has ended."""

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        """Ends it: asks first, insists after the grace period or when there is a hurry."""


def program_of(container: Object) -> str | None:
    """The path of the container's program on this machine; None when it is not there or the image would decide."""
    command = container.get("command")
    return shutil.which(command[0]) if command else None


def declared_ports(container: Object) -> list[tuple[str, int]]:
    return [(port.get("protocol") or "TCP", port["containerPort"]) for port in container.get("ports") or ()]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` as Kubernetes replaces it in commands; `$$` is a dollar."""

    def replace(found: re.Match[str]) -> str:
        name = found.group(1)
        return "$" if name is None else variables.get(name, found.group(0))

    return _REFERENCE.sub(replace, text)


class ProcessContainer:
    """A program of this machine in the pod's network namespace; it sees a throw-away copy of this machine's files."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls, environment: NodeEnvironment, netns: str, command: Sequence[str], variables: Mapping[str, str], log: Path
    ) -> ProcessContainer:
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                *environment.pod_root.enter(*command, netns=netns),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": "/root", "TERM": "xterm", **variables},
                start_new_session=True,
            )
        return cls(process)

    async def wait(self) -> int:
        status = await self._process.wait()
        self._signal(signal.SIGKILL)  # what it left behind
        return 128 - status if status < 0 else status

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        self._signal(signal.SIGTERM)
        waits = [asyncio.ensure_future(self._process.wait()), asyncio.ensure_future(hurry.wait())]
        try:
            await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, number: int) -> None:
        """To the whole session: a shell's children belong to the container too."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class StandIn:
    """Nothing runs; servers answer on the declared ports."""

    def __init__(self, server: StandInServer, *, completes: bool) -> None:
        self._server = server
        self._ended = asyncio.Event()
        if completes:
            self._ended.set()

    @classmethod
    async def start(
        cls, server: StandInServer, ports: Sequence[tuple[str, int]], address: str, *, completes: bool
    ) -> StandIn:
        await server.start(ports, address)
        return cls(server, completes=completes)

    async def wait(self) -> int:
        await self._ended.wait()
        return 0

    async def stop(self, grace: float, hurry: asyncio.Event) -> None:
        self._server.stop()
        self._ended.set()

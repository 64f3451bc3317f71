"""The Kubernetes API of a lab: embedded in the supervisor, or the real control plane on the central machine.

Either way it is reached at two addresses: the host's loopback for kubectl and for the stand-ins, and the central
machine's underlay address for the roles on the nodes. A kubeconfig file for each is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any, Protocol

import yaml

from ovnbridge.lab.errors import LabError
from ovnbridge.lab.kubernetes import ControlPlaneError, RealControlPlane
from ovnbridge.lab.kubernetes_configuration import API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER
from ovnbridge.lab.machine import CENTRAL, Holder
from ovnbridge.lab.namespaces import Namespaces
from ovnbridge.lab.options import LabOptions
from ovnbridge.lab.paths import LabPaths
from ovnbridge.lab.tasks import Tasks

API_PORT = 6443


class Cluster(Protocol):
    """A Kubernetes API."""

    stand_ins: bool
    """Whether the lab must stand in for the scheduler and the workload controllers."""

    async def start(self) -> None:
        """Returns when the API answers and the kubeconfig files are there."""

    async def stop(self) -> None: ...

    def components(self) -> dict[str, int | None]:
        """Its components with their pids; None where there is none, or it does not run."""

    async def act(self, name: str, action: str) -> None:
        """`kill`, `stop` or `start` of one component."""

    async def control(self, action: str, arguments: dict[str, Any]) -> Any:
        """Faults and counters, where the server is ours."""


class RealCluster:
    """The real control plane on the central machine, and a relay to the host's loopback."""

    stand_ins = False

    def __init__(
        self, options: LabOptions, paths: LabPaths, central: Holder, namespaces: Namespaces, tasks: Tasks
    ) -> None:
        address = options.central_addresses[0]
        self._paths = paths
        self._address = address
        self._relay = Relay(namespaces, tasks, CENTRAL, "127.0.0.1", API_PORT)
        self._plane = RealControlPlane(
            directory=paths.kubernetes,
            service_cidrs=options.network.services.split(","),
            listen_address="0.0.0.0",
            port=API_PORT,
            advertise_address=address,
            extra_sans=(address, "127.0.0.1"),
            namespace_exec=central.enter(),
        )

    async def start(self) -> None:
        try:
            await self._plane.start()
        except ControlPlaneError as error:
            raise LabError(str(error)) from error
        port = await self._relay.start()
        write_kubeconfig(self._paths.kubeconfig, self._plane.kubeconfig(f"https://127.0.0.1:{port}"))
        write_kubeconfig(self._paths.nodes_kubeconfig, self._plane.kubeconfig(f"https://{self._address}:{API_PORT}"))

    async def stop(self) -> None:
        await self._plane.stop()

    def components(self) -> dict[str, int | None]:
        running = self._plane.processes
        return {name: running.get(name) for name in (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER)}

    async def act(self, name: str, action: str) -> None:
        if action == "start":
            self._plane.launch(name)
            await self._plane.wait_ready(name)
        else:
            await self._plane.halt(name, kill=action == "kill")

    async def control(self, action: str, arguments: dict[str, Any]) -> Any:
        raise LabError(f"{action}: only the embedded API server can do that")


class Relay:
    """Carries TCP connections from a loopback port of the host into a namespace."""

    def __init__(self, namespaces: Namespaces, tasks: Tasks, namespace: str, address: str, port: int) -> None:
        self._namespaces = namespaces
        self._tasks = tasks
        self._target = (namespace, address, port)
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            opened = await self._namespaces.connect(*self._target)
        except OSError:
            writer.close()
            return
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        inner_reader, inner_writer = await asyncio.open_connection(sock=opened)
        copies = {asyncio.create_task(_copy(reader, inner_writer)), asyncio.create_task(_copy(inner_reader, writer))}
        try:
            await asyncio.wait(copies)
        finally:
            for copy in copies:
                copy.cancel()
            writer.close()
            inner_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()


def write_kubeconfig(path: Path, value: dict[str, Any]) -> None:
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(value, sort_keys=False))

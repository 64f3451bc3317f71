"""The embedded API server in the supervisor, on two sockets: the host's loopback and the central machine's address."""

from __future__ import annotations

import os
import socket
from typing import Any

from ovnbridge.lab.api import ApiServer
from ovnbridge.lab.cluster import API_PORT, write_kubeconfig
from ovnbridge.lab.errors import LabError
from ovnbridge.lab.machine import CENTRAL
from ovnbridge.lab.namespaces import Namespaces
from ovnbridge.lab.options import LabOptions
from ovnbridge.lab.paths import LabPaths

API = "api"


class EmbeddedCluster:
    """The default: an API that is up at once and takes faults."""

    stand_ins = True

    def __init__(self, options: LabOptions, paths: LabPaths, namespaces: Namespaces) -> None:
        self._options = options
        self._paths = paths
        self._namespaces = namespaces
        self._port = 0
        self._running = False
        self._server = ApiServer(service_cidrs=options.network.services.split(","))

    async def start(self) -> None:
        address = self._options.central_addresses[0]
        url = f"http://127.0.0.1:{await self._listen()}"
        write_kubeconfig(self._paths.kubeconfig, self._server.kubeconfig(url))
        write_kubeconfig(self._paths.nodes_kubeconfig, self._server.kubeconfig(f"http://{address}:{API_PORT}"))

    async def _listen(self) -> int:
        """On the same ports again after a stop; returns the host's."""
        loopback = socket.create_server(("127.0.0.1", self._port), backlog=256)
        # On the wildcard: a server that listens before its address is there, and after a change of it.
        inner = await self._namespaces.listen(CENTRAL, "0.0.0.0", API_PORT)
        await self._server.start([loopback, inner])
        self._port = loopback.getsockname()[1]
        self._running = True
        return self._port

    async def stop(self) -> None:
        self._running = False
        await self._server.stop()

    def components(self) -> dict[str, int | None]:
        return {API: os.getpid() if self._running else None}

    async def act(self, name: str, action: str) -> None:
        """A stopped server keeps its objects, as a real one keeps them in etcd."""
        if action != "start":
            await self.stop()
        elif not self._running:
            await self._listen()

    async def control(self, action: str, arguments: dict[str, Any]) -> Any:
        """`requests`: counters; `compact`; anything else is a method of the server's `faults`."""
        if action == "requests":
            counts = [[*key, count] for key, count in self._server.requests.items()]
            if arguments.get("reset"):
                self._server.requests.clear()
            return counts
        if action == "compact":
            self._server.compact()
            return None
        fault = getattr(self._server.faults, action, None)
        if action.startswith("_") or not callable(fault):
            raise LabError(f"unknown fault {action}")
        try:
            fault(**arguments)
        except TypeError as error:
            raise LabError(f"fault {action}: {error}") from error
        return None

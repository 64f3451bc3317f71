"""Controllers side by side on one API server and one NB, each with its own recorded way to both: every write has an
author and a time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovnbridge.lab.api import ApiServer
from tests.faults.harness import Harness
from tests.faults.nursery import GUARD, ROOT
from tests.support.ovsdb import eventually
from tests.support.relay import Proxy

_WRITE = re.compile(rb"^(POST|PUT|PATCH|DELETE) (\S+) HTTP/1.1\r$", re.MULTILINE)
_PATIENCE = 60.0


class Way(Proxy):
    """A relay to the API server that notes the time of each write: `writes` of objects, `renewals` of the lease."""

    def __init__(self, port: int) -> None:
        super().__init__(None, ("127.0.0.1", port))
        self.writes: list[tuple[float, str]] = []
        self.renewals: list[float] = []
        self.on_request = self._note

    def _note(self, data: bytes) -> None:
        now = time.monotonic()
        for method, path in _WRITE.findall(data):
            if b"/leases" in path:
                self.renewals.append(now)
            else:
                self.writes.append((now, f"{method.decode()} {path.decode()}"))


class Candidate:
    """One controller process and its way to NB."""

    def __init__(self, name: str, directory: Path, nb: Path) -> None:
        self.name = name
        self.northbound = Proxy(directory / f"{name}.sock", nb)
        self.transactions: list[float] = []
        self.refused = 0
        """Transactions whose first operation, the wait for the epoch, NB has answered with an error."""
        self.northbound.on_request = self._sent
        self.northbound.on_reply = self._answered
        self._log = directory / f"{name}.log"
        self._log_from = 0
        self._kubeconfig = directory / f"{name}.kubeconfig"
        self._lease = 0

    def _sent(self, data: bytes) -> None:
        if b'"transact"' in data:
            self.transactions.append(time.monotonic())

    def _answered(self, data: bytes) -> None:
        self.refused += data.count(b'"error":"timed out"')

    async def start(self, kubeconfig: Mapping[str, Any], *, lease: int) -> None:
        await self.northbound.__aenter__()
        self._kubeconfig.write_text(json.dumps(kubeconfig))
        self._lease = lease
        self.spawn()

    def spawn(self) -> None:
        """Start the process, as a kubelet does again when it has ended."""
        self._log_from = self._log.stat().st_size if self._log.exists() else 0
        command = [
            "--role=controller",
            f"--kubeconfig={self._kubeconfig}",
            f"--ovn-nb-addr={self.northbound.remote}",
            "--pprof-port=0",
            f"--leader-elect-lease-duration={self._lease}s",
            f"--leader-elect-renew-deadline={self._lease * 2 // 3}s",
            "--leader-elect-retry-period=500ms",
        ]
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                (*GUARD, sys.executable, "-m", "ovnbridge", *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "POD_NAME": self.name, "POD_NAMESPACE": "kube-system", "PYTHONPATH": str(ROOT)},
            )

    async def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        await self.northbound.__aexit__()

    def says(self, text: str) -> bool:
        """Whether this process has logged it."""
        return text in self._log.read_text()[self._log_from :]

    async def leading(self) -> None:
        await eventually(lambda: self.says(" leading "), f"{self.name} leading", _PATIENCE)

    async def ready(self) -> None:
        """Everything is read and compiled: a warm standby."""
        await eventually(lambda: self.says("the lease is held"), f"{self.name} ready", _PATIENCE)

    async def ended(self) -> int:
        await eventually(lambda: self.process.poll() is not None, f"{self.name} ended", _PATIENCE)
        return self.process.wait()


class Recorded(Candidate):
    """One whose way to the API server, which must be one without TLS, is recorded as well."""

    def __init__(self, name: str, directory: Path, nb: Path, api: ApiServer) -> None:
        super().__init__(name, directory, nb)
        self.kubernetes = Way(int(api.url.rpartition(":")[2]))

    async def start(self, kubeconfig: Mapping[str, Any], *, lease: int) -> None:
        await self.kubernetes.__aenter__()
        ((name, cluster),) = ((entry["name"], entry["cluster"]) for entry in kubeconfig["clusters"])
        recorded = {**cluster, "server": f"http://127.0.0.1:{self.kubernetes.port}"}
        await super().start({**kubeconfig, "clusters": [{"name": name, "cluster": recorded}]}, lease=lease)

    async def stop(self) -> None:
        await super().stop()
        await self.kubernetes.__aexit__()

    def written(self) -> list[float]:
        """When it has written to either server."""
        return sorted((*self.transactions, *(moment for moment, _ in self.kubernetes.writes)))

    def first_write(self, since: float) -> float:
        """When it first wrote to either server."""
        return next(moment for moment in self.written() if moment >= since)


class Field(Harness):
    """The cluster of the fault tests, with candidates instead of its controller."""

    def start(self, *, exactly: bool = False) -> None:
        self.candidates: list[Recorded] = []

    async def candidate(self, name: str, *, lease: int) -> Recorded:
        found = Recorded(name, self.directory, self.servers[0].socket, self.api)
        await found.start(self.api.kubeconfig(), lease=lease)
        self.candidates.append(found)
        return found

    async def pair(self, *, lease: int) -> tuple[Recorded, Recorded]:
        """A leader and a warm standby, all work done."""
        leader = await self.candidate("first", lease=lease)
        await leader.leading()
        self.pod("a", "before", "node-1")
        await self.settle()
        standby = await self.candidate("second", lease=lease)
        await standby.ready()
        assert not standby.kubernetes.writes
        assert not standby.transactions
        return leader, standby

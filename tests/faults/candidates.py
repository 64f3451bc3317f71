"""Controllers side by side on one API server and one NB, each with its own recorded way to both: every write has an
author and a time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

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
    """One controller process and its ways to both servers."""

    def __init__(self, name: str, field: Field) -> None:
        self.name = name
        self._field = field
        self.kubernetes = Way(int(field.api.url.rpartition(":")[2]))
        self.northbound = Proxy(field.directory / f"{name}.sock", field.servers[0].socket)
        self.log = field.directory / f"{name}.log"
        self.transactions: list[float] = []
        self.refused = 0
        self.northbound.on_request = self._sent
        self.northbound.on_reply = self._answered

    def _sent(self, data: bytes) -> None:
        if b'"transact"' in data:
            self.transactions.append(time.monotonic())

    def _answered(self, data: bytes) -> None:
        self.refused += data.count(b'"error":"timed out"')

    async def start(self, *, lease: int) -> None:
        await self.kubernetes.__aenter__()
        await self.northbound.__aenter__()
        self._lease = lease
        self.spawn()

    def spawn(self) -> None:
        """Start the process, as a kubelet does again when it has ended."""
        lease = self._lease
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        kubeconfig = self._field.directory / f"{self.name}.kubeconfig"
        kubeconfig.write_text(json.dumps(self._field.api.kubeconfig(f"http://127.0.0.1:{self.kubernetes.port}")))
        command = [
            "--role=controller",
            f"--kubeconfig={kubeconfig}",
            f"--ovn-nb-addr={self.northbound.remote}",
            "--pprof-port=0",
            f"--leader-elect-lease-duration={lease}s",
            f"--leader-elect-renew-deadline={lease * 2 // 3}s",
            "--leader-elect-retry-period=500ms",
        ]
        with self.log.open("ab") as output:
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
        await self.kubernetes.__aexit__()

    def says(self, text: str) -> bool:
        """Whether this process has logged it."""
        return text in self.log.read_text()[self._log_from :]

    async def leading(self) -> None:
        await eventually(lambda: self.says(" leading "), f"{self.name} leading", _PATIENCE)

    async def ready(self) -> None:
        """Everything is read and compiled: a warm standby."""
        await eventually(lambda: self.says("state complete"), f"{self.name} ready", _PATIENCE)

    async def ended(self) -> int:
        await eventually(lambda: self.process.poll() is not None, f"{self.name} ended", _PATIENCE)
        return self.process.wait()

    def written(self) -> list[float]:
        """When it has written to either server."""
        return sorted((*self.transactions, *(moment for moment, _ in self.kubernetes.writes)))

    def first_write(self, since: float) -> float:
        """When it first wrote to either server."""
        return next(moment for moment in self.written() if moment >= since)


class Field(Harness):
    """The cluster of the fault tests, with candidates instead of its controller."""

    def start(self, *, exactly: bool = False) -> None:
        self.candidates: list[Candidate] = []

    async def candidate(self, name: str, *, lease: int) -> Candidate:
        found = Candidate(name, self)
        await found.start(lease=lease)
        self.candidates.append(found)
        return found

    async def pair(self, *, lease: int) -> tuple[Candidate, Candidate]:
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

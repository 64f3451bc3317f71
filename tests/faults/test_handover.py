"""Two controllers on one API server and one NB: who writes when the leader ends, dies, or sleeps through its lease.

Each has its own recorded way to both servers, so that every write has an author and a time.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest_asyncio

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
        self._spawn(lease)

    def _spawn(self, lease: int) -> None:
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
        return text in self.log.read_text()

    async def leading(self) -> None:
        await eventually(lambda: self.says(" leading "), f"{self.name} leading", _PATIENCE)

    async def ready(self) -> None:
        """Everything is read and compiled: a warm standby."""
        await eventually(lambda: self.says("state complete"), f"{self.name} ready", _PATIENCE)

    async def ended(self) -> int:
        await eventually(lambda: self.process.poll() is not None, f"{self.name} ended", _PATIENCE)
        return self.process.wait()

    def first_write(self, since: float) -> float:
        """When it first wrote to either server."""
        return min(t for t in (*self.transactions, *(t for t, _ in self.kubernetes.writes)) if t >= since)


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


@pytest_asyncio.fixture
async def field() -> AsyncIterator[Field]:
    async with Field() as field:
        yield field
        for candidate in field.candidates:
            await candidate.stop()


async def test_an_orderly_stop_hands_over_at_once(field: Field) -> None:
    lease = 60
    leader, standby = await field.pair(lease=lease)
    asked = time.monotonic()
    leader.process.send_signal(signal.SIGTERM)
    field.pod("a", "after", "node-2")
    await field.settle()
    assert await leader.ended() == 0
    taken = standby.first_write(asked)
    print(f"\nhand-over on SIGTERM: {taken - asked:.2f} s until the successor writes")
    last = max([t for t, _ in leader.kubernetes.writes] + leader.transactions)
    assert last < taken, "two wrote at the same time"
    assert leader.kubernetes.renewals[-1] < taken, "the lease was not let go first"
    assert taken - asked < lease / 3, "the lease was waited for"


async def test_after_kill_9_the_lease_is_waited_for(field: Field) -> None:
    lease = 3
    leader, standby = await field.pair(lease=lease)
    killed = time.monotonic()
    leader.process.kill()
    field.pod("a", "after", "node-2")
    await field.settle()
    taken = standby.first_write(killed)
    print(f"\nhand-over on kill -9: {taken - killed:.2f} s with a lease of {lease} s")
    assert taken >= leader.kubernetes.renewals[-1] + lease


async def test_a_leader_that_slept_through_its_lease_writes_nothing(field: Field) -> None:
    leader, standby = await field.pair(lease=3)
    leader.process.send_signal(signal.SIGSTOP)
    paused = time.monotonic()
    for number in range(5):
        field.pod("a", f"during-{number}", "node-2")  # the news wait in the sleeper's sockets
    await field.settle()
    taken = standby.first_write(paused)
    field.delete("a", "during-0")
    await field.settle()
    refused = leader.refused
    woken = time.monotonic()
    leader.process.send_signal(signal.SIGCONT)
    status = await leader.ended()
    print(f"\nhand-over on SIGSTOP: {taken - paused:.2f} s; the sleeper ended {time.monotonic() - woken:.2f} s after")
    assert status == 3
    assert leader.says("LeadershipLost")
    assert [write for t, write in leader.kubernetes.writes if t >= woken] == []
    sent = [t for t in leader.transactions if t >= woken]
    assert len(sent) == leader.refused - refused, "NB took a write of the sleeper"
    ((row,),) = (await field.rows("NB_Global")).values()
    assert dict(row["external_ids"][1])["ovnbridge-epoch"].endswith("-second")
    field.pod("a", "later", "node-3")
    await field.settle()

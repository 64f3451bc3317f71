"""Child processes and what they cost: CPU and memory from /proc, and how busy everybody else kept the machine.

Children ask the kernel for a SIGKILL at the death of their parent (setpriv), write their output to a file, and are
ended by pid.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

GUARD = ("setpriv", "--pdeathsig", "KILL")
_PATHS = [str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(RuntimeError):
    """The bench itself could not go on; the message says why."""


class Child:
    """One child process."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None):
        self.name = name
        self.log = log
        self._offset = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                (*GUARD, *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(_PATHS), **(environment or {})},
                start_new_session=True,
            )
        self.started = time.monotonic()

    @property
    def pid(self) -> int:
        """The process's id: setpriv executes the command in its place."""
        return self._process.pid

    def check(self) -> None:
        """Raise when the process has ended."""
        if self._process.poll() is not None:
            raise BenchError(f"{self.name} ended with {self._process.returncode}:\n{self.output()[-3000:]}")

    def output(self) -> str:
        """What it has printed since it was started."""
        with self.log.open("rb") as log:
            log.seek(self._offset)
            return log.read().decode(errors="replace")

    def cpu(self) -> float:
        """CPU seconds used so far by all threads, user and system, to the nanosecond."""
        return cpu_seconds(self.pid)

    def memory(self, field: str = "VmRSS") -> float:
        """Resident memory in MiB; `VmHWM` is the peak."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    async def stop(self, number: int = signal.SIGTERM, patience: float = 10.0) -> None:
        """End it; insists after a while."""
        for signum, wait in ((number, patience), (signal.SIGKILL, 10.0)):
            if self._process.poll() is not None:
                return
            self._process.send_signal(signum)
            try:
                await until(lambda: _true(self._process.poll() is not None), f"end of {self.name}", wait, 0.02)
            except BenchError:
                continue


async def _true(value: Any) -> Any:
    return value


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process: live threads to the nanosecond, ended ones are counted by the kernel's ticks only."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError, IndexError):
        pass
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return max(total / 1e9, (int(fields[11]) + int(fields[12])) / _TICKS)


async def until(
    condition: Callable[[], Awaitable[Any]], what: str, deadline: float = 30.0, interval: float = 0.05
) -> Any:
    """Wait for something outside this process; a bounded time."""
    ends = time.monotonic() + deadline
    while not (result := await condition()):
        if time.monotonic() > ends:
            raise BenchError(f"{what} did not happen within {deadline:g} s")
        await asyncio.sleep(interval)
    return result


def free_port() -> int:
    """A TCP port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Machine:
    """How much of the machine others used meanwhile: the noise in the figures."""

    def __init__(self) -> None:
        self._busy = _busy_seconds()
        self._time = time.monotonic()
        self._ours = _ours()

    def foreign(self) -> float:
        """Share of the machine's CPUs that was used by neither this process nor its children since the beginning."""
        elapsed = max(time.monotonic() - self._time, 1e-3) * (os.cpu_count() or 1)
        ours = _ours() - self._ours
        return max(0.0, (_busy_seconds() - self._busy - ours) / elapsed)


def _busy_seconds() -> float:
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


def _ours() -> float:
    """CPU seconds of this process, its living children and theirs, and of those that were waited for."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry)] = int(fields[1])
            used[int(entry)] = sum(int(field) for field in fields[11:15]) / _TICKS
    me = os.getpid()
    total = 0.0
    for pid, seconds in used.items():
        ancestor = pid
        while ancestor not in (0, 1, me):
            ancestor = parents.get(ancestor, 0)
        if ancestor == me:
            total += seconds
    return total


def calibrate() -> float:
    """Milliseconds that a fixed piece of Python takes here and now: compares machines and moments."""
    started = time.thread_time()
    table: dict[str, int] = {}
    for number in range(200_000):
        table[str(number)] = number
    return (time.thread_time() - started) * 1000

"""Child processes of the supervisor: started in the foreground, logged to a file, ended by pid, reported when they end.

Nothing is restarted behind the user's back: a daemon that ended is a fact, and `lab status` shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovnbridge.lab.errors import LabError

_STOP_GRACE = 5.0
_TAIL_BYTES = 4096


class Component:
    """One daemon of the lab."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.log = log
        self._environment = dict(environment or {})
        self._before = before
        self._process: asyncio.subprocess.Process | None = None
        self._ended = "never started"

    @property
    def pid(self) -> int | None:
        """The pid inside the lab's pid namespace, while the daemon runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def state(self) -> str:
        """`running`, or how it ended."""
        process = self._process
        if process is None:
            return self._ended
        if process.returncode is None:
            return "running"
        if process.returncode < 0:
            return f"ended by {signal.Signals(-process.returncode).name}"
        return f"ended with status {process.returncode}"

    async def start(self) -> None:
        if self.pid is not None:
            return
        if self._before is not None:
            self._before()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )

    async def kill(self, number: int) -> None:
        """Sends a signal; waits for the end when the signal cannot be refused."""
        process = self._process
        if process is None or process.returncode is not None:
            raise LabError(f"{self.name} does not run: {self.state}")
        process.send_signal(number)
        if number == signal.SIGKILL:
            await process.wait()

    async def stop(self) -> None:
        """Asks it to end, and insists after a while."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_GRACE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def wait(self) -> str:
        """Returns its state once it has ended."""
        if self._process is not None:
            await self._process.wait()
        return self.state

    def tail(self) -> str:
        """The end of its log, for an error message."""
        if not self.log.exists():
            return "(no log)"
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            return log.read().decode(errors="replace").strip()


@dataclass(frozen=True)
class Completed:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


async def complete(
    command: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float = 10,
    environment: Mapping[str, str] | None = None,
) -> Completed:
    """Runs a command to its end. When time is up, or we are cancelled, its whole session is killed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            out, error = await process.communicate(None if stdin is None else stdin.encode())
    except TimeoutError:
        raise LabError(f"{' '.join(command)}: no end after {timeout:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return Completed(process.returncode, out.decode(errors="replace"), error.decode(errors="replace"))


async def run(
    *command: str, stdin: str | None = None, environment: Mapping[str, str] | None = None, timeout: float = 30
) -> str:
    """Runs a short command to its end; returns what it printed, or raises with what it complained about."""
    found = await complete(command, stdin=stdin, timeout=timeout, environment=environment)
    if found.returncode:
        raise LabError(f"{' '.join(command)}: {found.stderr.strip() or f'status {found.returncode}'}")
    return found.stdout


async def wait_for_socket(path: Path, component: Component, timeout: float = 20) -> None:
    """Waits until a unix socket accepts connections, or the daemon that should make it has ended."""
    async with asyncio.timeout(timeout):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_unix_connection(str(path))
                writer.close()
                return
            if component.pid is None:
                raise LabError(f"{component.name} {component.state}: {component.tail()}")
            await asyncio.sleep(0.01)

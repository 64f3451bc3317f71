"""Starts and ends a lab's supervisor.

The supervisor lives in private mount and pid namespaces whose process 1 is a small shell script: when the supervisor
ends, the shell kills the rest and removes the lab's directory. A lab that is not detached ends with its launcher,
also when that is killed, because its end of the pipe closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import orjson

from ovnbridge.lab import paths as lab_paths
from ovnbridge.lab.errors import LabError
from ovnbridge.lab.options import LabOptions
from ovnbridge.lab.ovn import check_programs
from ovnbridge.lab.paths import STATE_ROOT, LabPaths

# $1 the state root, $2 the lab's directory; then the supervisor's command. Here /run becomes a tmpfs of the lab, in
# which only the state root is the host's. `kill -1` is safe where this shell is process 1: it reaches this pid
# namespace only.
_INIT = """
root=$1 directory=$2
shift 2
new=$directory/run
mkdir $new && mount -n -t tmpfs tmpfs $new && mkdir -p $new/${root#/run/} $new/netns $new/lock &&
mount -n --bind $root $new/${root#/run/} && mount -n --move $new /run &&
mount -n --bind /run/netns /run/netns && mount -n --make-shared /run/netns && "$@"
if [ $$ = 1 ]; then
  exec </dev/null >/dev/null
  kill -9 -1 2>/dev/null
  wait
  rm -rf $directory/[!l.]* $directory/.[!.]* $directory/logs
  rm -f $directory/lock
  rmdir $directory
fi
"""
_END_TIMEOUT = 20.0


class Launcher:
    """One lab, from the outside: the process that made it, the pipe that keeps it."""

    def __init__(self, options: LabOptions) -> None:
        options.check()
        self._options = options
        self.paths = LabPaths(options.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._log: BinaryIO | None = None

    async def start(self, progress: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Returns when the lab is up; a lab that does not come up is gone when the error arrives."""
        if os.geteuid() != 0:
            raise LabError("a lab makes namespaces and mounts: run as root")
        for program in ("unshare", "nsenter", "ip", "ethtool"):
            if shutil.which(program) is None:
                raise LabError(f"the {program} command is not installed")
        check_programs(self._options.ovs_root)
        lock = lab_paths.claim(self.paths)
        try:
            reports = self._spawn(lock)
        finally:
            os.close(lock)
        try:
            await self._wait_ready(reports, progress)
        except BaseException:
            await asyncio.shield(self.stop())
            raise

    def _spawn(self, lock: int) -> int:
        """Starts the supervisor; returns the descriptor of its reports."""
        self.paths.options.write_bytes(msgspec.json.encode(self._options))
        command = (
            *(
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--propagation",
                "private",
                "--",
            ),
            *("sh", "-c", _INIT, "sh", str(STATE_ROOT), str(self.paths.directory)),
            *(sys.executable, "-m", "ovnbridge.lab.supervise", self._options.name, str(lock)),
        )
        lifeline_end, lifeline = os.pipe()
        reports, reports_end = os.pipe()
        try:
            with (self.paths.directory / "supervisor.log").open("ab") as log:
                # Opened now because the file is gone when the lab is.
                self._log = Path(log.name).open("rb")  # noqa: SIM115
                self._process = subprocess.Popen(
                    command,
                    stdin=lifeline_end,
                    stdout=reports_end,
                    stderr=log,
                    pass_fds=(lock,),
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,
                )
            self.paths.pid.write_text(str(self._process.pid))
        finally:
            os.close(lifeline_end)
            os.close(reports_end)
            self._lifeline = lifeline
        return reports

    async def _wait_ready(self, reports: int, progress: Callable[[dict[str, Any]], None] | None) -> None:
        reader = asyncio.StreamReader()
        with os.fdopen(reports, "rb", buffering=0) as stream:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), stream
            )
            try:
                while line := await reader.readline():
                    report = orjson.loads(line)
                    if "ready" in report:
                        return
                    if "error" in report:
                        raise LabError(report["error"])
                    if progress is not None:
                        progress(report)
            finally:
                transport.close()
        raise LabError(f"the lab ended while it came up: {self._log_tail()}")

    def _log_tail(self) -> str:
        assert self._log is not None
        return self._log.read()[-2000:].decode(errors="replace").strip()

    def detach(self) -> None:
        """From now on the lab outlives its launcher."""
        assert self._lifeline is not None
        os.write(self._lifeline, b"detach\n")
        self._close_lifeline()

    async def stop(self) -> None:
        """Ends a lab that was not detached; returns when nothing of it is left."""
        self._close_lifeline()
        process = self._process
        if process is not None:
            if not await _exited(process, _END_TIMEOUT):
                process.kill()  # takes process 1 of the namespace with it, and that everything else
                await _exited(process, _END_TIMEOUT)
            self._process = None
        if self._log is not None:
            self._log.close()
        lab_paths.remove(self.paths)

    def _close_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def _environment() -> dict[str, str]:
    """Ours, with the administrator's programs and this very package on the paths."""
    package = str(Path(__file__).parents[2])
    return {
        **os.environ,
        "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
        "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH")))),
    }


async def _exited(process: subprocess.Popen[bytes], timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            while process.poll() is None:
                await asyncio.sleep(0.01)
    except TimeoutError:
        return False
    return True


def supervisor_pid(paths: LabPaths) -> int | None:
    """The supervisor's pid as we see it: the kernel translates it for us over the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(paths.control))
        except OSError:
            return None
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    return pid or None


def parent_of(pid: int) -> int:
    """The parent of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])


async def end(name: str) -> bool:
    """Ends a detached lab; returns whether there was one. Safe to repeat."""
    paths = LabPaths(name)
    there = paths.directory.exists()
    pid = supervisor_pid(paths)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it is ending by itself
            await _end_chain(pid)
    elif lab_paths.alive(paths):
        await _end_silent(paths)
    if lab_paths.alive(paths):
        raise LabError(f"lab {name} is coming up or going down; try again")
    lab_paths.remove(paths)
    return there


async def _end_chain(pid: int) -> None:
    """The supervisor, process 1 of its namespace, and unshare: they end in this order."""
    chain = [pid, first := parent_of(pid), parent_of(first)]
    descriptors: list[int] = []
    try:
        descriptors += [os.pidfd_open(link) for link in chain]
        signal.pidfd_send_signal(descriptors[0], signal.SIGTERM)
        for descriptor, insist in zip(descriptors, (descriptors[0], descriptors[2], descriptors[2]), strict=True):
            if not await _ended(descriptor, _END_TIMEOUT):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(insist, signal.SIGKILL)
                await _ended(descriptor, _END_TIMEOUT)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


async def _end_silent(paths: LabPaths) -> None:
    """Ends a lab whose supervisor does not answer (it hangs, or is just starting) by the process that holds it all."""
    try:
        pid = int(paths.pid.read_text())
        descriptor = os.pidfd_open(pid)
    except (OSError, ValueError):
        return
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"ovnbridge.lab.supervise" in line and paths.directory.name.encode() in line:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            await _ended(descriptor, _END_TIMEOUT)
    except OSError:
        return
    finally:
        os.close(descriptor)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_TIMEOUT):
            while lab_paths.alive(paths):
                await asyncio.sleep(0.01)


async def _ended(descriptor: int, timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            while not select.select([descriptor], [], [], 0)[0]:
                await asyncio.sleep(0.01)
    except TimeoutError:
        return False
    return True

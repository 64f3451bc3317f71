"""OVSDB servers for tests: real `ovsdb-server` processes in a temporary directory, standalone or a raft cluster.

Every process is a child with a parent-death signal, so nothing survives a killed pytest.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

NB_SCHEMA = Path("/usr/share/ovn/ovn-nb.ovsschema")
SB_SCHEMA = Path("/usr/share/ovn/ovn-sb.ovsschema")
VSWITCH_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


def spawn(*command: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    """A child that dies with us."""
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)], **options)


def wait_until(condition: Callable[[], Any], what: str, deadline: float = 15.0) -> Any:
    """Poll something outside this process until it holds."""
    ends = time.monotonic() + deadline
    while not (result := condition()):
        if time.monotonic() > ends:
            raise TimeoutError(f"{what} did not happen within {deadline:g} s")
        time.sleep(0.01)
    return result


async def eventually(condition: Callable[[], Any], what: str = "condition", deadline: float = 15.0) -> Any:
    """The same for something that our own event loop brings about."""
    ends = time.monotonic() + deadline
    while not (result := condition()):
        if time.monotonic() > ends:
            raise TimeoutError(f"{what} did not happen within {deadline:g} s")
        await asyncio.sleep(0.005)
    return result


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One ovsdb-server process on one database file."""

    def __init__(self, directory: Path, file: Path, name: str = "s", remotes: Iterable[str] = ()) -> None:
        self.directory = directory
        self.file = file
        self.socket = directory / f"{name}.sock"
        self.control = directory / f"{name}.ctl"
        self.log = directory / f"{name}.log"
        self.remote = f"unix:{self.socket}"
        self.extra = list(remotes)
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def standalone(cls, directory: Path, schema: Path = NB_SCHEMA, *, extra: Iterable[str] = ()) -> Server:
        file = directory / "db.db"
        create(file, schema)
        server = cls(directory, file, remotes=extra)
        server.start()
        return server

    def start(self) -> None:
        assert self.process is None
        self.process = spawn(
            "ovsdb-server",
            "--no-chdir",
            "-vconsole:off",
            f"--log-file={self.log}",
            f"--unixctl={self.control}",
            f"--remote=punix:{self.socket}",
            *self.extra,
            self.file,
            stdin=subprocess.DEVNULL,
            restore_signals=False,  # a file size limit is to be an error to the server, not a signal
        )
        wait_until(self._answers, f"{self.socket} answering")

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"ovsdb-server ended: {self.log.read_text()[-2000:]}")
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def appctl(self, *command: str) -> str:
        done = subprocess.run(
            ["ovs-appctl", "-T", "10", "-t", str(self.control), *command], capture_output=True, text=True, check=True
        )
        return done.stdout

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def pause(self) -> None:
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)


def create(file: Path, schema: Path) -> None:
    subprocess.run(["ovsdb-tool", "create", str(file), str(schema)], check=True)


class Cluster:
    """A raft cluster on unix sockets; `extra(number)` are further options of a member's server."""

    def __init__(
        self,
        directory: Path,
        members: int = 3,
        schema: Path = NB_SCHEMA,
        extra: Callable[[int], Iterable[str]] = lambda number: (),
    ) -> None:
        self.name = json.loads(schema.read_text())["name"]
        self.servers: list[Server] = []
        for number in range(members):
            file, own = directory / f"r{number}.db", f"unix:{directory}/r{number}.raft"
            if number == 0:
                command = ["create-cluster", str(file), str(schema), own]
            else:
                command = ["join-cluster", str(file), self.name, own, f"unix:{directory}/r0.raft"]
            subprocess.run(["ovsdb-tool", *command], check=True)
            server = Server(directory, file, name=f"r{number}", remotes=extra(number))
            server.start()
            self.servers.append(server)
        for server in self.servers:
            wait_until(lambda s=server: self.role(s), "raft member joining", 30)

    @property
    def remotes(self) -> list[str]:
        return [server.remote for server in self.servers]

    def role(self, server: Server) -> str:
        """leader, follower, or nothing if it is no member at the moment."""
        if server.process is None:
            return ""
        lines = server.appctl("cluster/status", self.name).splitlines()
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        if fields.get("Status") != "cluster member" or fields.get("Leader") in (None, "unknown"):
            return ""
        return fields.get("Role", "")

    def leader(self) -> Server:
        leader: Server = wait_until(
            lambda: next((s for s in self.servers if self.role(s) == "leader"), None), "an elected leader", 30
        )
        return leader

    def stop(self) -> None:
        for server in self.servers:
            server.kill()


@contextlib.contextmanager
def directory() -> Any:
    """A directory with a path short enough for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="ovsdb-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def nbctl(server: Server, *command: str) -> str:
    """ovn-nbctl as an independent judge."""
    return _ctl("ovn-nbctl", server, *command)


def sbctl(server: Server, *command: str) -> str:
    """ovn-sbctl, the same for SB."""
    return _ctl("ovn-sbctl", server, *command)


def _ctl(program: str, server: Server, *command: str) -> str:
    done = subprocess.run(
        [program, f"--db={server.remote}", "--timeout=20", *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def dump(remote: str, database: str, table: str) -> list[dict[str, Any]]:
    """All rows of a table by ovsdb-client, on the wire's notation."""
    query = json.dumps([database, {"op": "select", "table": table, "where": []}])
    done = subprocess.run(
        ["ovsdb-client", "--timeout=20", "--no-leader-only", "transact", remote, query],
        capture_output=True,
        text=True,
        check=True,
    )
    rows: list[dict[str, Any]] = json.loads(done.stdout)[0]["rows"]
    return rows


@contextlib.asynccontextmanager
async def running(*coroutines: Awaitable[None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run coroutines for the duration of a block; what they raise is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        yield tasks  # type: ignore[misc]
    finally:
        for task in tasks:
            if not task.done():
                task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A replica row with comparable values."""
    return {name: frozenset(v) if isinstance(v, set | frozenset) else v for name, v in row.items()}


def make_certificates(folder: Path, *, name: str = "ca") -> dict[str, Path]:
    """A CA and one certificate signed by it, by the openssl command."""

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    folder.mkdir(parents=True, exist_ok=True)
    ca_key, ca, key, request, certificate = (folder / f for f in ("ca.key", "ca.pem", "key.pem", "req.pem", "cert.pem"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-subj", f"/CN={name}", "-days", "2")
    openssl("req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=node")
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", certificate)
    return {"private_key": key, "certificate": certificate, "ca_certificate": ca}

"""The real Kubernetes control plane as child processes: etcd, kube-apiserver, controller-manager and scheduler.

The lab and the conformance suite start one where the embedded API is not enough; `kubernetes/build.sh` makes the
binaries. Everything that it writes is in one directory (data, keys, logs, `kubeconfig`), and a directory that was used
before is taken up with its data.

Processes are ended by pid. They also end when this process does, however it ends, because each asks the kernel for a
SIGKILL at the death of its parent. The kernel means the parent *thread*: start it from a thread that outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ovnbridge.lab.kubernetes_configuration import (
    API_SERVER,
    CONTROLLER_MANAGER,
    ETCD,
    SCHEDULER,
    Configuration,
    IPAddress,
)

VERSION = "v1.36.4"
KUBECTL = "kubectl"
ESSENTIAL = (ETCD, API_SERVER, KUBECTL)
ALL = (*ESSENTIAL, CONTROLLER_MANAGER, SCHEDULER)

_NAMESPACED_PORT = 6443
_POLL_INTERVAL = 0.1
_PROBE_TIMEOUT = 10.0
_TERMINATE_TIMEOUT = 10.0
_KILL_TIMEOUT = 10.0


class ControlPlaneError(RuntimeError):
    """A component could not be started, or it ended; the message carries the end of its log."""


def find_binaries(version: str = VERSION, names: Sequence[str] = ESSENTIAL) -> Path | None:
    """The folder that holds these binaries: `KUBEBUILDER_ASSETS`, or else where `kubernetes/build.sh` puts them."""
    cache = Path(os.environ.get("OVNBRIDGE_CACHE") or Path.home() / ".cache" / "ovnbridge")
    folders = [cache / "kubernetes" / version]
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        folders.insert(0, Path(assets))
    for folder in folders:
        if all(os.access(folder / name, os.X_OK) for name in names):
            return folder
    return None


class RealControlPlane:
    """One control plane; an async context manager. It listens on loopback and a free port unless told otherwise.

    `namespace_exec` is a command that runs the rest of its command line elsewhere, as `ip netns exec NAME` does.
    `halt`, with `launch` and `wait_ready` to undo it, and `restart` are for fault tests.
    """

    def __init__(
        self,
        *,
        directory: Path,
        binaries: Path | None = None,
        service_cidrs: Sequence[str] = ("10.96.0.0/12",),
        listen_address: str = "127.0.0.1",
        port: int = 0,
        advertise_address: str | None = None,
        extra_sans: Sequence[str] = (),
        namespace_exec: Sequence[str] = (),
        controller_manager: bool = True,
        scheduler: bool = True,
        unsafe_no_fsync: bool = True,
        api_flags: Sequence[str] = (),
        controller_manager_flags: Sequence[str] = (),
        start_timeout: float = 120.0,
    ) -> None:
        self._workers = ((CONTROLLER_MANAGER,) if controller_manager else ()) + ((SCHEDULER,) if scheduler else ())
        components = (ETCD, API_SERVER, *self._workers)
        self._binaries = binaries or find_binaries(names=(KUBECTL, *components))
        listen = ipaddress.ip_address(listen_address)
        self._configuration = Configuration(
            directory=directory.absolute(),
            components=components,
            listen=listen,
            advertise=_advertised(listen, extra_sans, advertise_address),
            port=port,
            port_is_shared=not namespace_exec,
            service_cidrs=tuple(service_cidrs),
            extra_sans=tuple(extra_sans),
            unsafe_no_fsync=unsafe_no_fsync,
            api_flags=tuple(api_flags),
            controller_manager_flags=tuple(controller_manager_flags),
        )
        self._namespace_exec = tuple(namespace_exec)
        self._start_timeout = start_timeout
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._reservation: socket.socket | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def directory(self) -> Path:
        return self._configuration.directory

    @property
    def kubeconfig_path(self) -> Path:
        """The administrator's kubeconfig, with a client certificate."""
        return self._configuration.kubeconfig_path

    @property
    def port(self) -> int:
        """The port that was asked for; once started, the one in use, which stays the same over `stop` and `start`."""
        return self._configuration.port

    @property
    def url(self) -> str:
        return self._configuration.url

    @property
    def processes(self) -> dict[str, int]:
        """The pid of each component that runs."""
        return {name: child.pid for name, child in self._children.items() if child.poll() is None}

    def kubeconfig(self, url: str | None = None) -> dict[str, Any]:
        """The administrator's kubeconfig; `url` is for a client that reaches the server by another address."""
        return self._configuration.kubeconfig(url)

    def log_path(self, component: str) -> Path:
        return self._configuration.log_path(component)

    async def start(self) -> None:
        """Returns when the API server is ready and, if a controller-manager makes them, ServiceAccounts exist."""
        self._check_commands()
        self._reserve_port()
        try:
            await asyncio.to_thread(self._configuration.write)
            self.launch(ETCD)
            self.launch(API_SERVER)
            await self.wait_ready(API_SERVER)
            for component in self._workers:
                self.launch(component)
            for component in self._workers:
                await self.wait_ready(component)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends every process. All but etcd hold no state and are killed: a server lingers over open watches."""
        try:
            for component in (SCHEDULER, CONTROLLER_MANAGER, API_SERVER):
                await self.halt(component, kill=True)
            await self.halt(ETCD)
        finally:
            for child in self._children.values():
                child.kill()
            if self._reservation is not None:
                self._reservation.close()
                self._reservation = None

    async def restart(self, component: str, *, kill: bool = False) -> None:
        await self.halt(component, kill=kill)
        self.launch(component)
        await self.wait_ready(component)

    async def halt(self, component: str, *, kill: bool = False) -> None:
        """Ends one component: asks first unless `kill`, and insists after a while."""
        child = self._children.get(component)
        if child is None:
            return
        if not kill:
            child.terminate()
            if await _ended(child, _TERMINATE_TIMEOUT):
                return
        child.kill()
        if not await _ended(child, _KILL_TIMEOUT):
            raise ControlPlaneError(f"{component} (pid {child.pid}) survives SIGKILL")

    def launch(self, component: str) -> None:
        """Starts one component that does not run; `wait_ready` tells when it works."""
        if component not in self._configuration.components:
            raise ControlPlaneError(f"{component} is not part of this control plane")
        if component in self.processes:
            raise ControlPlaneError(f"{component} runs already")
        guard = ("setpriv", "--pdeathsig", "KILL")
        # A namespace command may execute its argument or fork it: either way each link dies with the one before it.
        chain = (*guard, *self._namespace_exec, *guard) if self._namespace_exec else guard
        with self.log_path(component).open("ab") as log:
            self._children[component] = subprocess.Popen(
                (*chain, str(self._binary(component)), *self._configuration.flags(component)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=self._environment(),
                start_new_session=True,
            )

    async def wait_ready(self, component: str) -> None:
        """Waits until a launched component works, or raises with the end of its log.

        The scheduler has no sign of it that can be seen from outside: it counts as ready when it runs.
        """
        probes: Mapping[str, Callable[[], Awaitable[bool]]] = {
            ETCD: self._store_answers,
            API_SERVER: self._api_is_ready,
            CONTROLLER_MANAGER: self._service_account_exists,
        }
        probe = probes.get(component)
        deadline = time.monotonic() + self._start_timeout
        while True:
            self._check_running(component)
            if probe is None or await probe():
                self._check_running(component)
                return
            if time.monotonic() > deadline:
                waited = f"{self._start_timeout:g} s"
                raise ControlPlaneError(f"{component} is not ready after {waited}: {self._tail(component)}")
            await asyncio.sleep(_POLL_INTERVAL)

    async def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl as administrator, in the server's network namespace, and returns what it printed."""
        process = await asyncio.create_subprocess_exec(
            *self._namespace_exec,
            str(self._binary(KUBECTL)),
            f"--kubeconfig={self.kubeconfig_path}",
            *arguments,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            env=self._environment(),
        )
        try:
            output, complaint = await process.communicate(None if stdin is None else stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode != 0:
            reason = complaint.decode(errors="replace").strip()
            raise ControlPlaneError(f"kubectl {' '.join(arguments)}: {reason}")
        return output.decode()

    async def _api_is_ready(self) -> bool:
        return await self._answers("/readyz")

    async def _store_answers(self) -> bool:
        # Not /readyz, which reports a recent verdict on etcd: reading one object asks etcd itself.
        return await self._answers("/api/v1/namespaces/default")

    async def _service_account_exists(self) -> bool:
        return await self._answers("/api/v1/namespaces/default/serviceaccounts/default")

    async def _answers(self, path: str) -> bool:
        with contextlib.suppress(ControlPlaneError, TimeoutError):
            async with asyncio.timeout(_PROBE_TIMEOUT):
                await self.kubectl("get", "--raw", path)
                return True
        return False

    def _check_running(self, *components: str) -> None:
        for component in (ETCD, API_SERVER, *components):
            child = self._children.get(component)
            if child is None or child.poll() is not None:
                fate = "was not started" if child is None else f"ended with status {child.returncode}"
                raise ControlPlaneError(f"{component} {fate}: {self._tail(component)}")

    def _tail(self, component: str, lines: int = 25) -> str:
        path = self.log_path(component)
        if not path.exists():
            return "(no log)"
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - (64 << 10)))
            return "\n" + "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def _check_commands(self) -> None:
        if self._binaries is None:
            raise ControlPlaneError(f"no Kubernetes {VERSION} binaries: run `make kube` or set KUBEBUILDER_ASSETS")
        for name in (KUBECTL, *self._configuration.components):
            if not os.access(self._binary(name), os.X_OK):
                raise ControlPlaneError(f"{self._binary(name)} is missing")
        if shutil.which("setpriv") is None:
            raise ControlPlaneError("setpriv is not installed (Debian: apt-get install util-linux)")

    def _binary(self, name: str) -> Path:
        assert self._binaries is not None
        return self._binaries / name

    def _environment(self) -> dict[str, str]:
        # No proxy variables, which Go's clients obey, and a home of our own, where kubectl keeps its cache.
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.directory)}

    def _reserve_port(self) -> None:
        """Keeps a port ours by a socket that is bound and never listens; the server shares it by SO_REUSEPORT."""
        if self._namespace_exec:
            self._set_port(self.port or _NAMESPACED_PORT)
            return
        address = (str(self._configuration.listen), self.port)
        family = socket.AF_INET if self._configuration.listen.version == 4 else socket.AF_INET6
        if self.port:
            # First without SO_REUSEPORT: a second control plane must be refused and not get half of the connections.
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        reservation = socket.socket(family, socket.SOCK_STREAM)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind(address)
        self._reservation = reservation
        self._set_port(reservation.getsockname()[1])

    def _set_port(self, port: int) -> None:
        self._configuration = dataclasses.replace(self._configuration, port=port)


def _advertised(listen: IPAddress, extra_sans: Sequence[str], wanted: str | None) -> IPAddress:
    """What the `kubernetes` Service points at: what was asked for, where we listen, or a name in the certificate."""
    if wanted is not None:
        return ipaddress.ip_address(wanted)
    if not listen.is_unspecified:
        return listen
    for value in extra_sans:
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(value)
    return ipaddress.ip_address("127.0.0.1" if listen.version == 4 else "::1")


async def _ended(child: subprocess.Popen[bytes], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while child.poll() is None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True

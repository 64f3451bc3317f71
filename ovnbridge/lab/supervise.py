"""The supervisor: the one long-lived process of a lab, started by `launch` inside private mount and pid namespaces.

It brings the lab up in phases, tells its launcher about each by one line of JSON on stdout, then serves the control
socket. It belongs to its launcher until that writes `detach` to its stdin: if stdin ends before, the supervisor ends.
When it ends, by whatever cause, the shell that is process 1 of the namespace kills what is left and removes the
directory, and the kernel drops the rest.
"""

from __future__ import annotations

import asyncio
import os
import resource as limits
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import orjson
import structlog

from ovnbridge.lab import machine, role_processes
from ovnbridge.lab.client import Client
from ovnbridge.lab.cluster import Cluster, RealCluster
from ovnbridge.lab.control import ControlServer
from ovnbridge.lab.embedded import EmbeddedCluster
from ovnbridge.lab.errors import LabError
from ovnbridge.lab.informer import Informers
from ovnbridge.lab.kubelet.environment import NodeEnvironment
from ovnbridge.lab.kubelet.kubelet import Kubelet
from ovnbridge.lab.namespaces import Namespaces
from ovnbridge.lab.objects import create_objects
from ovnbridge.lab.options import LabOptions
from ovnbridge.lab.ovn import Daemons
from ovnbridge.lab.paths import LabPaths
from ovnbridge.lab.processes import Component
from ovnbridge.lab.reach import reach
from ovnbridge.lab.tasks import Tasks
from ovnbridge.lab.workloads import start_workloads
from ovnbridge.lab.workloads.names import ServiceNames

_ROLES_TIMEOUT = 60.0


class Supervisor:
    """One lab."""

    def __init__(self, options: LabOptions, paths: LabPaths) -> None:
        self._options = options
        self._paths = paths
        self._components: dict[str, Component] = {}
        self._holders: dict[str, machine.Holder] = {}
        self._pod_root: machine.Holder | None = None
        self._kubelets: dict[str, Kubelet] = {}
        self._cluster: Cluster | None = None
        self._namespaces = Namespaces()
        self._tasks = Tasks()
        self._phases: dict[str, float] = {}
        self._control = ControlServer(self, paths.control)
        self._ready = False

    async def up(self) -> None:
        """Everything, in the order of its dependencies; what does not depend on each other at the same time."""
        started = time.monotonic()
        options, paths = self._options, self._paths
        for directory in (paths.logs, *(paths.cni_configuration(name) for name in options.node_names)):
            directory.mkdir(parents=True)
        for name in options.node_names:
            paths.cni_binaries(name).mkdir(parents=True)
        await self._control.start()
        daemons = Daemons(options, paths, self._register)
        machine.raise_neighbour_limits()
        async with self._phase("machines"):
            await asyncio.gather(machine.build_fabric(options), daemons.prepare())
            names = (machine.FABRIC, machine.CENTRAL, *options.node_names)
            *holders, self._pod_root = await asyncio.gather(
                *(machine.start_machine(name, paths.node(name)) for name in names), machine.start_pod_root()
            )
            self._holders = dict(zip(names, holders, strict=True))
            await machine.address_machines(options, self._holders)
        self._cluster = self._make_cluster()
        await asyncio.gather(self._kubernetes(self._cluster), self._central(daemons), self._nodes(daemons))
        await self._roles()
        self._phases["total"] = time.monotonic() - started
        self._ready = True

    def _make_cluster(self) -> Cluster:
        central = self._holders[machine.CENTRAL]
        if self._options.kubernetes == "real":
            return RealCluster(self._options, self._paths, central, self._namespaces, self._tasks)
        return EmbeddedCluster(self._options, self._paths, self._namespaces)

    async def _kubernetes(self, cluster: Cluster) -> None:
        async with self._phase("kubernetes"):
            await cluster.start()
        async with self._phase("objects"):
            client = await Client(self._paths.kubeconfig, "ovnbridge-lab").__aenter__()
            await create_objects(client, self._options, stand_ins=cluster.stand_ins)
        informers = Informers(client)
        for number, name in enumerate(self._options.node_names, 1):
            self._kubelets[name] = self._kubelet(number, name, informers)
        if cluster.stand_ins:
            start_workloads(informers, self._tasks)
        assert self._pod_root is not None
        names = ServiceNames(informers, Path(f"/proc/{self._pod_root.pid}/root/etc/hosts"))
        self._tasks.start(names.name, names.run())
        for resource, informer in informers.all.items():
            self._tasks.start(f"informer-{resource.plural}", informer.run())
        await informers.wait_synced()

    def _kubelet(self, number: int, name: str, informers: Informers) -> Kubelet:
        assert self._pod_root is not None
        environment = NodeEnvironment(
            name=name,
            addresses=self._options.node_addresses(number),
            holder=self._holders[name],
            pod_root=self._pod_root,
            cni_configuration=self._paths.cni_configuration(name),
            cni_binaries=self._paths.cni_binaries(name),
            logs=self._paths.logs,
            namespaces=self._namespaces,
        )
        return Kubelet(environment, informers, self._tasks)

    async def _central(self, daemons: Daemons) -> None:
        async with self._phase("central"):
            await daemons.start_central(self._holders[machine.CENTRAL])

    async def _nodes(self, daemons: Daemons) -> None:
        async with self._phase("nodes"):
            await asyncio.gather(
                *(
                    daemons.start_node(name, number, self._holders[name])
                    for number, name in enumerate(self._options.node_names, 1)
                )
            )

    async def _roles(self) -> None:
        options, paths = self._options, self._paths
        roles = []
        if options.controller:
            roles.append(role_processes.controller(options, paths, self._holders[machine.CENTRAL]))
        if options.cni:
            for number, name in enumerate(options.node_names, 1):
                roles.append(role_processes.node_agent(options, paths, name, number, self._holders[name]))
        if not roles:
            return
        async with self._phase("roles"):
            await asyncio.gather(*(self._register(role).start() for role in roles))
            await self._wait_for_roles(roles)

    async def _wait_for_roles(self, roles: list[Component]) -> None:
        """A node role is ready for pods when it has written its network configuration."""
        files = [self._paths.cni_configuration(name) for name in self._options.node_names] if self._options.cni else []
        deadline = time.monotonic() + _ROLES_TIMEOUT
        while True:
            for role in roles:
                if role.pid is None:
                    raise LabError(f"{role.name} {role.state}:\n{role.tail()}")
            missing = [directory for directory in files if not any(directory.glob("*.conf*"))]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise LabError(
                    f"no network configuration in {missing[0]} after {_ROLES_TIMEOUT:g} s; see {self._paths.logs}"
                )
            await asyncio.sleep(0.02)

    def _register(self, component: Component) -> Component:
        self._components[component.name] = component
        return component

    @asynccontextmanager
    async def _phase(self, name: str) -> AsyncIterator[None]:
        started = time.monotonic()
        yield
        self._phases[name] = time.monotonic() - started
        say({"phase": name, "seconds": round(self._phases[name], 3)})

    def status(self) -> dict[str, Any]:
        processes = self._cluster.components() if self._cluster is not None else {}
        components = [
            {"name": component.name, "pid": component.pid, "state": component.state}
            for component in self._components.values()
        ]
        components += [
            {"name": name, "pid": pid, "state": "running" if pid is not None else "ended"}
            for name, pid in processes.items()
        ]
        return {
            "name": self._options.name,
            "ready": self._ready,
            "options": msgspec.to_builtins(self._options),
            "phases": self._phases,
            "components": components,
            "holders": {name: holder.pid for name, holder in self._holders.items()},
            "pod_root": self._pod_root.pid if self._pod_root is not None else None,
            "failures": self._tasks.failures,
        }

    def sandboxes(self) -> dict[str, Any]:
        return {pod: sandbox for kubelet in self._kubelets.values() for pod, sandbox in kubelet.sandboxes().items()}

    def words(self) -> dict[str, list[str]]:
        return {pod: words for kubelet in self._kubelets.values() for pod, words in kubelet.words().items()}

    async def component(self, name: str, action: str, number: int) -> None:
        if action not in {"kill", "start", "stop", "restart"}:
            raise LabError(f"unknown action {action}")
        if action == "restart":
            await self.component(name, "stop", number)
            await self.component(name, "start", number)
            return
        component = self._components.get(name)
        if component is None:
            if self._cluster is None or name not in self._cluster.components():
                raise LabError(f"no component {name}")
            await self._cluster.act(name, action)
        elif action == "kill":
            await component.kill(number)
        elif action == "start":
            await component.start()
        else:
            await component.stop()

    async def reach(self, sources: list[str], targets: list[str], port: int | None) -> dict[str, list[str]]:
        return await reach(self._namespaces, sources, targets, port)

    async def api(self, action: str, arguments: dict[str, Any]) -> Any:
        if self._cluster is None:
            raise LabError("the API server is not up yet")
        return await self._cluster.control(action, arguments)


def say(value: dict[str, Any]) -> None:
    """One line for the launcher; after `detach` it goes to the log."""
    try:
        os.write(1, orjson.dumps(value) + b"\n")
    except BrokenPipeError:
        pass


async def _launcher(detached: asyncio.Event, ended: asyncio.Event, log: Path) -> None:
    """Follows the launcher's wishes: `detach`, or the end of the pipe."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    if await reader.readline() == b"detach\n":
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
        detached.set()
        return
    ended.set()


async def supervise(options: LabOptions, paths: LabPaths) -> None:
    """Runs one lab until it is told to end."""
    ended, detached = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    supervisor = Supervisor(options, paths)
    follower = asyncio.create_task(_launcher(detached, ended, paths.directory / "supervisor.log"))
    end = asyncio.create_task(ended.wait())
    up = asyncio.create_task(supervisor.up())
    await asyncio.wait({up, end}, return_when=asyncio.FIRST_COMPLETED)
    if up.done():
        error = up.exception()
        if error is None:
            say({"ready": True})
            await end
        else:
            structlog.get_logger().error("up_failed", exc_info=error)
            say({"error": str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"})
    follower.cancel()


def main() -> None:
    """`python -m ovnbridge.lab.supervise NAME LOCK_DESCRIPTOR`, inside the namespaces that `launch` made."""
    paths = LabPaths(sys.argv[1])
    os.set_inheritable(int(sys.argv[2]), False)
    options = msgspec.json.decode(paths.options.read_bytes(), type=LabOptions)
    # Each stand-in server is a socket or more.
    hard = limits.getrlimit(limits.RLIMIT_NOFILE)[1]
    limits.setrlimit(limits.RLIMIT_NOFILE, (hard, hard))
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    if sys.version_info < (3, 12):
        # The default of 3.11 is a thread for each child process.
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    asyncio.run(_until_end(options, paths))


async def _until_end(options: LabOptions, paths: LabPaths) -> None:
    await supervise(options, paths)
    # Nothing to tidy up one by one: process 1 of the namespace does it for every way to end.
    os._exit(0)


if __name__ == "__main__":
    main()

"""The life of one container: run, probe, restart with back-off, until the pod's policy or its deletion ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ovnbridge.lab.client import CONNECTION_ERRORS, ApiError, Client, Object
from ovnbridge.lab.events import Events
from ovnbridge.lab.kubelet.container import ProcessContainer, Running, StandIn, declared_ports, expand, program_of
from ovnbridge.lab.kubelet.environment import NodeEnvironment
from ovnbridge.lab.kubelet.probes import probe
from ovnbridge.lab.kubelet.server import StandInServer
from ovnbridge.lab.kubelet.status import ContainerState
from ovnbridge.lab.kubelet.variables import variables_of

_BACK_OFF_FIRST = 1.0
_BACK_OFF_LAST = 60.0
_UNTIL_FIRST_SUCCESS = 1.0
_START_ERROR = 128


@dataclass(frozen=True, kw_only=True)
class PodContext:
    """What the containers of one pod share."""

    environment: NodeEnvironment
    client: Client
    events: Events
    netns: str
    addresses: tuple[str, ...]
    host_network: bool
    pod: Callable[[], Object]
    changed: Callable[[], None]
    grace: Callable[[], float]
    hurry: asyncio.Event
    """Set when the grace period is over before its time."""


class ContainerRuns:
    """All runs of one container."""

    def __init__(self, context: PodContext, state: ContainerState) -> None:
        self._context = context
        self._state = state

    async def forever(self) -> int:
        """Runs it as its restart policy says; returns the last exit status."""
        delay = 0.0
        while True:
            status = await self.once()
            policy = "Always" if self._state.sidecar else self._context.pod()["spec"].get("restartPolicy") or "Always"
            if policy == "Never" or (policy == "OnFailure" and status == 0):
                return status
            if delay:
                self._state.wait("CrashLoopBackOff", f"back-off {delay:g}s restarting failed container")
                self._context.changed()
                await asyncio.sleep(delay)
            delay = min(delay * 2, _BACK_OFF_LAST) if delay else _BACK_OFF_FIRST
            if "terminated" in self._state.state:
                self._state.wait("ContainerCreating")
            self._state.restarts += 1

    async def once(self) -> int:
        """One run, from start to end; a cancelled run is stopped with the pod's grace."""
        context, state = self._context, self._state
        try:
            running = await self._start()
        except (OSError, ApiError, *CONNECTION_ERRORS) as error:
            state.end(_START_ERROR, "StartError", str(error))
            context.events.record(context.pod(), "Failed", f"container {state.name}: {error}", warning=True)
            context.changed()
            return _START_ERROR
        state.run()
        state.started = "startupProbe" not in state.spec
        state.ready = state.started and "readinessProbe" not in state.spec
        context.changed()
        probes = asyncio.create_task(self._probe(running))
        try:
            status = await running.wait()
        finally:
            probes.cancel()
            # After a natural end this only closes what is left of it.
            await running.stop(context.grace(), context.hurry)
            if "running" in state.state:
                state.end(await running.wait())
            context.changed()
        await asyncio.wait({probes})
        if not probes.cancelled():
            probes.result()
        return status

    async def _start(self) -> Running:
        context, state = self._context, self._state
        pod, environment = context.pod(), context.environment
        metadata = pod["metadata"]
        program = program_of(state.spec)
        if program is None:
            server = StandInServer(environment.namespaces, context.netns, metadata["name"], metadata["namespace"])
            always = (pod["spec"].get("restartPolicy") or "Always") == "Always"
            ports = declared_ports(state.spec)
            address = environment.address if context.host_network else "::"
            return await StandIn.start(server, ports, address, completes=not always and not ports)
        variables = await variables_of(context.client, pod, state.spec, context.addresses, environment.address)
        command = [expand(word, variables) for word in (*state.spec["command"], *(state.spec.get("args") or ()))]
        return await ProcessContainer.start(environment, context.netns, command, variables, self._log(metadata))

    def _log(self, metadata: Object) -> Path:
        return self._context.environment.logs / f"pod_{metadata['namespace']}_{metadata['name']}_{self._state.name}.log"

    async def _probe(self, running: Running) -> None:
        """Startup first, then readiness and liveness side by side."""
        spec = self._state.spec
        if "startupProbe" in spec:
            if not await self._until_success(spec["startupProbe"]):
                await self._unhealthy(running, "Startup")
                return
            self._state.started = True
            self._state.ready = "readinessProbe" not in spec
            self._context.changed()
        async with asyncio.TaskGroup() as group:
            if "readinessProbe" in spec:
                group.create_task(self._readiness(spec["readinessProbe"]))
            if "livenessProbe" in spec:
                group.create_task(self._liveness(spec["livenessProbe"], running))

    async def _attempt(self, check: Object) -> bool:
        context = self._context
        return await probe(context.environment, context.netns, context.addresses[0], self._state.spec, check)

    async def _delay(self, check: Object) -> None:
        if program_of(self._state.spec) is not None:  # a stand-in needs no time to start
            await asyncio.sleep(float(check.get("initialDelaySeconds") or 0))

    async def _until_success(self, check: Object) -> bool:
        await self._delay(check)
        for _ in range(int(check.get("failureThreshold") or 3)):
            if await self._attempt(check):
                return True
            await asyncio.sleep(float(check.get("periodSeconds") or 10))
        return False

    async def _readiness(self, check: Object) -> None:
        await self._delay(check)
        period = float(check.get("periodSeconds") or 10)
        needed, allowed = int(check.get("successThreshold") or 1), int(check.get("failureThreshold") or 3)
        successes = failures = 0
        reported = False
        while True:
            good = await self._attempt(check)
            successes, failures = (successes + 1, 0) if good else (0, failures + 1)
            ready = self._state.ready
            if good and successes >= needed:
                ready, reported = True, False
            elif not good and failures >= allowed:
                ready = False
                if not reported:
                    self._report("Readiness")
                    reported = True
            if ready != self._state.ready:
                self._state.ready = ready
                self._context.changed()
            await asyncio.sleep(period if ready else min(period, _UNTIL_FIRST_SUCCESS))

    async def _liveness(self, check: Object, running: Running) -> None:
        await self._delay(check)
        failures = 0
        while True:
            failures = 0 if await self._attempt(check) else failures + 1
            if failures >= int(check.get("failureThreshold") or 3):
                await self._unhealthy(running, "Liveness")
                return
            await asyncio.sleep(float(check.get("periodSeconds") or 10))

    def _report(self, kind: str) -> None:
        self._context.events.record(
            self._context.pod(), "Unhealthy", f"{kind} probe of container {self._state.name} failed", warning=True
        )

    async def _unhealthy(self, running: Running, kind: str) -> None:
        self._report(kind)
        await running.stop(self._context.grace(), self._context.hurry)

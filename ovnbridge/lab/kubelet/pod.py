"""One pod on its node, from sandbox to final deletion, in one task.

Fed by the kubelet with each new version of the pod (`update`, `gone`); writes the pod's status and, when it was asked
to go, deletes it.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from typing import Any

import structlog

from ovnbridge.lab.client import CONNECTION_ERRORS, STRATEGIC, ApiError, Client, Object
from ovnbridge.lab.events import Events
from ovnbridge.lab.kubelet.cni import CniError, Network, Sandbox
from ovnbridge.lab.kubelet.container import program_of
from ovnbridge.lab.kubelet.environment import NodeEnvironment
from ovnbridge.lab.kubelet.runs import ContainerRuns, PodContext
from ovnbridge.lab.kubelet.status import ContainerState, PodState, as_stored, compose
from ovnbridge.lab.kubelet.words import skipped_words, words_of
from ovnbridge.lab.moments import now
from ovnbridge.model.resource import POD

_BACK_OFF_FIRST = 0.25
_BACK_OFF_LAST = 10.0
_NOT_READY_PERIOD = 0.2
_INIT_LIMIT = 15.0
_DEFAULT_GRACE = 30.0
_SLOW = 0.5
"""After so long without a sandbox the status says that there is none yet; most pods never write it."""


class PodWorker:
    """One pod, by uid."""

    def __init__(
        self, environment: NodeEnvironment, network: Network, client: Client, events: Events, pod: Object
    ) -> None:
        self._environment = environment
        self._client = client
        self._events = events
        self._network = network
        self._pod = pod
        self._deleting = asyncio.Event()
        self._hurry = asyncio.Event()
        self._gone = False
        self._dirty = asyncio.Event()
        self._sandbox: Sandbox | None = None
        self.words: list[str] = []
        spec = pod["spec"]
        self._host_network = bool(spec.get("hostNetwork"))
        self._written: Object = pod.get("status") or {}
        self._state = PodState(
            hosts=environment.addresses,
            started=now(),
            uid=pod["metadata"]["uid"],
            init=[ContainerState(container, init=True) for container in spec.get("initContainers") or ()],
            containers=[ContainerState(container) for container in spec.get("containers") or ()],
        )
        if self._state.init:
            for state in (*self._state.init, *self._state.containers):
                state.wait("PodInitializing")
        self._log = structlog.get_logger().bind(pod=f"{pod['metadata']['namespace']}/{pod['metadata']['name']}")
        self.update(pod)

    @property
    def netns(self) -> str:
        """The network namespace of the pod's processes; empty while there is none."""
        if self._host_network:
            return self._environment.name
        return self._sandbox.netns if self._sandbox is not None and self._sandbox.addresses else ""

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._state.addresses

    def update(self, pod: Object) -> None:
        self._pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleting.set()
            if not self._grace():
                self._hurry.set()
        elif pod["spec"].get("readinessGates"):
            self._dirty.set()

    def gone(self) -> None:
        """The object was removed without waiting for us."""
        self._gone = True
        self._deleting.set()
        self._hurry.set()

    async def run(self) -> None:
        """Until the pod is deleted and nothing of it is left."""
        if self._deleting.is_set():  # it never ran here
            if not self._gone:
                await self._finish_deletion()
            return
        asyncio.get_running_loop().call_later(_SLOW, self._dirty.set)
        writer = asyncio.create_task(self._write_status())
        deleting = asyncio.create_task(self._deleting.wait())
        life = asyncio.create_task(self._live())
        try:
            await asyncio.wait({life, deleting, writer}, return_when=asyncio.FIRST_COMPLETED)
            if writer.done():
                writer.result()
            if life.done() and not self._deleting.is_set():
                life.result()
                await deleting
            life.cancel()
            await asyncio.wait({life})
            await self._remove_sandbox()
        finally:
            for task in (writer, deleting, life):
                task.cancel()
        if not life.cancelled():
            life.result()
        if not self._gone:
            await self._finish_deletion()

    async def _live(self) -> None:
        """Everything up to the end of a pod that ends; most are cancelled before."""
        await self._make_sandbox()
        context = PodContext(
            environment=self._environment,
            client=self._client,
            events=self._events,
            netns=self.netns,
            addresses=self._state.addresses,
            host_network=self._host_network,
            pod=lambda: self._pod,
            changed=self._dirty.set,
            grace=self._grace,
            hurry=self._hurry,
        )
        self.words = words_of(self._pod)
        if self._sandbox is not None:
            self.words += skipped_words(self._pod, self._sandbox.skipped)
        sidecars: list[asyncio.Task[int]] = []
        try:
            for state in self._state.init:
                if state.sidecar:
                    sidecars.append(asyncio.create_task(ContainerRuns(context, state).forever()))
                elif not await self._run_init(context, state):
                    self._end("Failed")
                    break
            else:
                self._state.initialized = True
                if self.words:
                    self._events.record(self._pod, "StoodIn", "; ".join(self.words))
                await self._run_containers(context)
        finally:
            for sidecar in sidecars:
                sidecar.cancel()
            if sidecars:
                await asyncio.wait(sidecars)
        await self._remove_sandbox()

    async def _run_containers(self, context: PodContext) -> None:
        self._state.phase = "Running"
        async with asyncio.TaskGroup() as group:
            runs = [group.create_task(ContainerRuns(context, state).forever()) for state in self._state.containers]
        self._end("Succeeded" if all(run.result() == 0 for run in runs) else "Failed")

    def _end(self, phase: str) -> None:
        self._state.phase = phase
        self._dirty.set()

    async def _run_init(self, context: PodContext, state: ContainerState) -> bool:
        """An init container, within a time limit; after that it counts as done. False when the pod has failed."""
        if program_of(state.spec) is None:
            state.run()
            state.end(0)
            self._dirty.set()
            return True
        never = self._pod["spec"].get("restartPolicy") == "Never"
        runs = ContainerRuns(context, state)
        delay = _BACK_OFF_FIRST
        try:
            async with asyncio.timeout(_INIT_LIMIT):
                while await runs.once() != 0:
                    if never:
                        return False
                    await asyncio.sleep(delay)
                    delay *= 2
                    state.restarts += 1
        except TimeoutError:
            late = f"init container {state.name}: its program does not complete within {_INIT_LIMIT:g} s"
            self.words.append(f"{late}; it counts as done")
            state.end(0)
        self._dirty.set()
        return True

    async def _make_sandbox(self) -> None:
        if self._host_network:
            self._state.addresses = self._environment.addresses
            self._state.sandbox = True
            self._dirty.set()
            return
        delay = _BACK_OFF_FIRST
        told = ""
        while True:
            sandbox = Sandbox(container_id=secrets.token_hex(32), netns=f"cni-{uuid.uuid4()}")
            self._sandbox = sandbox
            try:
                self._network.check()
                await self._create_namespace(sandbox)
                await self._network.add(sandbox, self._pod)
            except (CniError, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    message = f"Failed to create pod sandbox: {told}"
                    self._events.record(self._pod, "FailedCreatePodSandBox", message, warning=True)
                    self._log.warning("sandbox_failed", error=told)
                ready = self._network.ready
                await self._remove_sandbox()
                await asyncio.sleep(delay if ready else _NOT_READY_PERIOD)
                delay = min(delay * 2, _BACK_OFF_LAST) if ready else delay
                continue
            self._state.addresses = sandbox.addresses
            self._state.sandbox = True
            self._dirty.set()
            return

    async def _create_namespace(self, sandbox: Sandbox) -> None:
        creation = asyncio.ensure_future(self._environment.namespaces.create(sandbox.netns))
        try:
            await asyncio.shield(creation)
        except asyncio.CancelledError:
            await creation  # a thread is at it: what it makes must be there to be removed
            raise

    async def _remove_sandbox(self) -> None:
        """DEL until it succeeds, then the namespace goes; a second call does nothing."""
        sandbox = self._sandbox
        if sandbox is None:
            return
        delay = _BACK_OFF_FIRST
        while True:
            try:
                await self._network.delete(sandbox, self._pod)
                break
            except CniError as error:
                self._events.record(self._pod, "FailedKillPod", str(error), warning=True)
                self._log.warning("sandbox_removal_failed", error=str(error))
            await asyncio.sleep(delay)
            delay = min(delay * 2, _BACK_OFF_LAST)
        await self._environment.namespaces.remove(sandbox.netns)
        self._sandbox = None
        if self._state.sandbox:
            self._state.sandbox = False
            if not self._deleting.is_set():  # the object goes right after this
                self._dirty.set()

    def _grace(self) -> float:
        metadata = self._pod["metadata"]
        if self._gone:
            return 0.0
        if metadata.get("deletionTimestamp"):
            return float(metadata.get("deletionGracePeriodSeconds") or 0)
        return float(self._pod["spec"].get("terminationGracePeriodSeconds") or _DEFAULT_GRACE)

    async def _finish_deletion(self) -> None:
        """The last word of a kubelet: the object may go."""
        metadata = self._pod["metadata"]

        async def delete() -> None:
            await self._client.delete(POD, metadata["namespace"], metadata["name"], uid=metadata["uid"], grace=0)

        await self._insist(delete)

    async def _write_status(self) -> None:
        metadata = self._pod["metadata"]
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            gates = [gate["conditionType"] for gate in self._pod["spec"].get("readinessGates") or ()]
            known = {**(self._pod.get("status") or {}), **self._written} if not gates else self._pod.get("status") or {}
            status = compose(self._state, known, gates)
            if {**self._written, **status} == self._written:
                continue

            async def patch(status: Object = status) -> None:
                # The uid keeps this from reaching a successor of the same name.
                body = {"metadata": {"uid": metadata["uid"]}, "status": status}
                await self._client.patch(
                    POD, metadata["namespace"], metadata["name"], body, subresource="status", kind=STRATEGIC
                )

            await self._insist(patch)
            self._written = {**self._written, **as_stored(status)}

    async def _insist(self, write: Any) -> None:
        """Repeats a write until it is taken or pointless."""
        delay = _BACK_OFF_FIRST
        while True:
            try:
                await write()
                return
            except ApiError as error:
                if error.not_found or error.conflict or error.status == 422:
                    return
                self._log.info("write_refused", error=str(error))
            except CONNECTION_ERRORS as error:
                self._log.info("write_lost", error=repr(error))
            await asyncio.sleep(delay)
            delay = min(delay * 2, _BACK_OFF_LAST)

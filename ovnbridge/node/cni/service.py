"""Carries CNI requests out: waits for the decision, makes the interface, waits until OVN serves it, answers.

Fed by `server`. Everything that takes time is an event: the pod's annotations arrive in `cluster`, `ovn-installed`
appears in `ovs`, the gateway's reply wakes `probe`. One request at a time for a sandbox's interface; a DEL
interrupts the ADD before it. An ADD that fails leaves nothing behind. Spec: node A4-A7.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import msgspec

from ovnbridge.node import netns, pod_link
from ovnbridge.node.attachment import Attachment, Pending, connected_routes
from ovnbridge.node.cluster import ClusterView
from ovnbridge.node.cni import connect
from ovnbridge.node.cni.connect import interface_of
from ovnbridge.node.cni.decision import Decider
from ovnbridge.node.cni.request import (
    CHECK_FAILED,
    FAILED,
    INTERRUPTED,
    PLUGIN_NOT_AVAILABLE,
    TRY_AGAIN_LATER,
    CniError,
    Request,
)
from ovnbridge.node.cni.result import Result
from ovnbridge.node.kernel import Kernel
from ovnbridge.node.names import nic_names
from ovnbridge.node.ovs import LocalSwitch, SwitchError
from ovnbridge.node.ovs_rows import pod_ids
from ovnbridge.node.reporter import Reporter

log = logging.getLogger(__name__)

T = TypeVar("T")
REDACTED: Final = "<redacted>"


class _Sandbox:
    """Requests about one interface of one sandbox."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.adding: asyncio.Task[Result] | None = None
        self.users = 0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long an ADD waits; the runtime gives up after about 220 s."""

    pod: float = 5.0
    address: float = 60.0
    port: float = 30.0
    gateway_tries: int = 200
    add: float = 200.0


class CniService:
    """See the module's docstring."""

    def __init__(
        self,
        *,
        cluster: ClusterView,
        switch: LocalSwitch,
        kernel: Kernel,
        reporter: Reporter,
        mtu: Callable[[], int],
        limits: Limits | None = None,
        detect_conflicts: bool = True,
        waited: Callable[[str, float], None] = lambda _kind, _seconds: None,
        collect: Callable[[], None] = lambda: None,
    ) -> None:
        """`mtu` tells the node's pod MTU, 0 while it is unknown; `waited` hears seconds spent waiting, by kind
        (address, route, connectivity); `collect` is asked to look for interfaces without a pod."""
        self._cluster = cluster
        self._switch = switch
        self._kernel = kernel
        self._reporter = reporter
        self._limits = limits = limits or Limits()
        self._collect = collect
        self._decider = Decider(cluster, reporter, mtu=mtu, limits=(limits.pod, limits.address), waited=waited)
        self._connector = connect.Connector(
            switch=switch,
            kernel=kernel,
            port_seconds=limits.port,
            gateway_tries=limits.gateway_tries,
            detect_conflicts=detect_conflicts,
            waited=waited,
        )
        self._sandboxes: dict[tuple[str, str], _Sandbox] = {}

    def active(self) -> set[str]:
        """Host interfaces that a request is about just now."""
        return {nic_names(*key)[0] for key in self._sandboxes}

    # ---- requests

    async def add(self, request: Request) -> Result:
        """Connect the pod. Raises CniError."""
        started = time.monotonic()
        sandbox = self._enter(request)
        try:
            async with sandbox.lock:
                sandbox.adding = asyncio.create_task(self._add(request), name=f"add {request.pod_key}")
                try:
                    result = await _outcome(sandbox.adding)
                finally:
                    sandbox.adding = None
        except CniError as error:
            self._failed(request, "PodNetworkConfigureFailed", error)
            raise
        finally:
            self._leave(request, sandbox)
        log.info(
            "cni add done pod=%s interface=%s seconds=%.3f",
            request.pod_key,
            request.interface,
            time.monotonic() - started,
        )
        return result

    async def delete(self, request: Request) -> None:
        """Disconnect the pod; what does not exist is gone already. Raises CniError."""
        started = time.monotonic()
        sandbox = self._enter(request)
        try:
            if sandbox.adding is not None:
                sandbox.adding.cancel()
            async with sandbox.lock:
                if not request.address_only:
                    await self._delete(request)
        except CniError as error:
            self._failed(request, "PodNetworkRemoveFailed", error)
            raise
        finally:
            self._leave(request, sandbox)
        seconds = time.monotonic() - started
        log.info("cni del done pod=%s interface=%s seconds=%.3f", request.pod_key, request.interface, seconds)

    async def check(self, request: Request) -> None:
        """Verify that the interface is as ADD made it. Raises CniError with what is wrong."""
        sandbox = self._enter(request)
        try:
            async with sandbox.lock:
                attachment = self._decider.decide(request)
                if isinstance(attachment, Pending):
                    raise CniError(CHECK_FAILED, f"pod {request.pod_key} is not connected", attachment.reason)
                if attachment.ovn:
                    await self._check(request, attachment)
        finally:
            self._leave(request, sandbox)

    def status(self) -> None:
        """Whether an ADD could be served now. Raises CniError when not."""
        if not self._switch.ready:
            raise CniError(PLUGIN_NOT_AVAILABLE, "not connected to the local Open vSwitch database")
        if not self._decider.ready:
            raise CniError(PLUGIN_NOT_AVAILABLE, "not synchronised with the Kubernetes API server")

    def collect_garbage(self) -> None:
        """Look for interfaces of pods that do not exist; never trusts the runtime's list with other networks' pods."""
        self._collect()

    # ---- ADD

    async def _add(self, request: Request) -> Result:
        try:
            async with asyncio.timeout(self._limits.add):
                attachment = await self._decider.wait(request)
                if attachment.ovn:
                    with self._pod_ended(request, attachment) as ended:
                        result = await self._connector.connect(request, attachment, ended)
                else:
                    result = await self._address_only(request, attachment)
        except TimeoutError:
            raise CniError(TRY_AGAIN_LATER, f"not done after {self._limits.add:g} s", stage="configure-nic") from None
        if attachment.addresses:
            self._reporter.lease_used_here(attachment.port, attachment.subnet)
        for warning in attachment.warnings:
            log.warning("route skipped pod=%s problem=%s", request.pod_key, warning)
        self._reporter.pod_event(
            request.namespace,
            request.pod,
            attachment.pod_uid,
            kind="Normal",
            reason="PodNetworkConfigured",
            message=(
                f"subnet={attachment.subnet} ip={','.join(attachment.ips)} mac={attachment.mac} "
                f"provider={attachment.provider} interface={request.interface} node={self._cluster.node_name}"
            ),
        )
        return result

    async def _address_only(self, request: Request, attachment: Attachment) -> Result:
        """IPAM mode: another plug-in makes the interface; if it is to have the default route, make room for that."""
        families = {
            socket.AF_INET6 if ":" in route.gw or ":" in route.dst else socket.AF_INET
            for route in attachment.routes
            if not route.dst or route.dst.endswith("/0")
        }
        if families:
            try:
                await self._kernel.run(pod_link.drop_default_routes, request.netns, sorted(families))
            except (netns.NamespaceGone, OSError) as error:
                raise CniError(
                    FAILED, "failed to remove default routes", str(error), stage="remove-default-route"
                ) from None
        return Result(
            interface=request.interface,
            mac=attachment.mac,
            mtu=attachment.mtu,
            sandbox=request.netns,
            addresses=attachment.addresses,
            routes=connected_routes(attachment),
            dns=request.dns,
        )

    @contextmanager
    def _pod_ended(self, request: Request, attachment: Attachment) -> Iterator[asyncio.Event]:
        """Set when the pod is gone or going, so that nothing need be waited for any more."""
        ended = asyncio.Event()

        def changed(plural: str, key: str) -> None:
            pod = self._cluster.pods.get(request.pod_key)
            if pod is None or pod.metadata.uid != attachment.pod_uid or pod.metadata.deleting:
                ended.set()

        unsubscribe = self._cluster.subscribe(changed)
        changed("", "")
        try:
            yield ended
        finally:
            unsubscribe()

    # ---- DEL, CHECK

    async def _delete(self, request: Request) -> None:
        host, _ = nic_names(request.container_id, request.interface)
        if self._of_another_sandbox(request, host):
            return
        try:
            await self._switch.remove_port(host)
            existed = await self._kernel.run(pod_link.remove, host)
        except (SwitchError, OSError) as error:
            raise CniError(TRY_AGAIN_LATER, "del nic failed", str(error), stage="delete-nic") from None
        pod = self._cluster.pods.get(request.pod_key)
        if existed and pod is not None:
            self._reporter.pod_event(
                request.namespace,
                request.pod,
                pod.metadata.uid,
                kind="Normal",
                reason="PodNetworkRemoved",
                message=f"provider={request.provider} interface={request.interface} node={self._cluster.node_name}",
            )

    def _of_another_sandbox(self, request: Request, host: str) -> bool:
        """Whether the interface of that name is in use elsewhere: few characters of the id may remain in a name."""
        row = self._switch.interface(host)
        theirs = row["external_ids"].get("pod_netns", "") if row is not None else ""
        return bool(request.netns and theirs and theirs != request.netns and netns.exists(theirs))

    async def _check(self, request: Request, attachment: Attachment) -> None:
        wanted = interface_of(request, attachment, software_checksum=self._switch.userspace)
        row = self._switch.interface(wanted.host)
        found: list[str] = []
        if row is None:
            found.append(f"{wanted.host} is not a port of the integration bridge")
        else:
            ids = pod_ids(
                port=attachment.port, owner=attachment.owner, namespace=attachment.namespace, netns=request.netns
            )
            found += [
                f"{wanted.host} has {k} {row['external_ids'].get(k)}"
                for k, v in ids.items()
                if v and row["external_ids"].get(k) != v
            ]
            if not self._switch.installed(wanted.host):
                found.append(f"{wanted.host} is not programmed by ovn-controller")
        try:
            found += await self._kernel.run(pod_link.problems, wanted, request.netns)
        except (netns.NamespaceGone, OSError) as error:
            found.append(str(error))
        if found:
            raise CniError(
                CHECK_FAILED, f"interface {request.interface} of pod {request.pod_key} is wrong", "; ".join(found)
            )

    # ---- book-keeping

    def _enter(self, request: Request) -> _Sandbox:
        sandbox = self._sandboxes.setdefault(request.sandbox, _Sandbox())
        sandbox.users += 1
        return sandbox

    def _leave(self, request: Request, sandbox: _Sandbox) -> None:
        sandbox.users -= 1
        if sandbox.users == 0:
            del self._sandboxes[request.sandbox]

    def _failed(self, request: Request, reason: str, error: CniError) -> None:
        text = f"{error.message}: {error.details}" if error.details else error.message
        log.warning("cni request failed command=%s pod=%s error=%s", request.command, request.pod_key, text)
        if error.code == INTERRUPTED:
            return
        for secret in (request.container_id, request.netns, request.device_id, *nic_names(*request.sandbox)):
            text = text.replace(secret, REDACTED) if secret else text
        pod = self._cluster.pods.get(request.pod_key)
        self._reporter.pod_event(
            request.namespace,
            request.pod,
            pod.metadata.uid if pod else request.pod_uid,
            kind="Warning",
            reason=reason,
            message=f"stage={error.stage or 'configure-nic'} error={text}",
        )


async def _outcome(task: asyncio.Task[T]) -> T:
    """The task's result; its cancellation by a DEL is an error of the request, ours is ours."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if task.cancelled() and not (current and current.cancelling()):
            raise CniError(INTERRUPTED, "interrupted by a DEL of the same sandbox") from None
        task.cancel()
        await asyncio.wait((task,))
        raise

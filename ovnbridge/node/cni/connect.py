"""Connects a decided pod interface: veth and OVS port side by side, then OVN's word, then the gateway's answer.

Called by `service` for ADD. The link is configured in a worker thread while the port travels through OVS to
ovn-controller; ADD goes on when both are done. On any failure what was made here is removed again. Spec: node A5, A6.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ovnbridge.node import netns, packets, pod_link, probe
from ovnbridge.node.attachment import Attachment, connected_routes
from ovnbridge.node.cni.request import (
    ADDRESS_CONFLICT,
    FAILED,
    GATEWAY_UNREACHABLE,
    INVALID_POD,
    PORT_NOT_READY,
    TRY_AGAIN_LATER,
    CniError,
    Request,
)
from ovnbridge.node.cni.result import Result
from ovnbridge.node.kernel import Kernel
from ovnbridge.node.names import localnet_patch_port, nic_names
from ovnbridge.node.ovs import LocalSwitch, SwitchError
from ovnbridge.node.ovs_rows import pod_ids
from ovnbridge.node.pod_link import Built, Interface

log = logging.getLogger(__name__)

T = TypeVar("T")


def interface_of(request: Request, attachment: Attachment, *, software_checksum: bool) -> Interface:
    """The link that an attachment needs."""
    host, alias = nic_names(request.container_id, request.interface)
    return Interface(
        name=request.interface,
        host=host,
        alias=alias,
        mac=attachment.mac,
        mtu=attachment.mtu,
        addresses=tuple(address.with_prefix for address in attachment.addresses),
        gateways=attachment.gateways,
        routes=attachment.routes,
        duplicate_detection=attachment.underlay and not attachment.migrating,
        software_checksum=software_checksum,
    )


class Connector:
    """See the module's docstring."""

    def __init__(
        self,
        *,
        switch: LocalSwitch,
        kernel: Kernel,
        port_seconds: float,
        gateway_tries: int,
        detect_conflicts: bool,
        waited: Callable[[str, float], None],
    ) -> None:
        self._switch = switch
        self._kernel = kernel
        self._port_seconds = port_seconds
        self._gateway_tries = gateway_tries
        self._detect_conflicts = detect_conflicts
        self._waited = waited

    async def connect(self, request: Request, attachment: Attachment, ended: asyncio.Event) -> Result:
        """Make the interface and wait until it works; `ended` is set when the pod is gone. Raises CniError."""
        wanted = interface_of(request, attachment, software_checksum=self._switch.userspace)
        self._refuse_foreign(request, attachment, wanted.host)
        keep = self._switch.installed(wanted.host)
        try:
            built = await self._build(request, attachment, wanted)
            keep = keep and not built.created
            await self._served(attachment, wanted)
            if built.created:
                await self._verify_unused(request, attachment, wanted, built)
                self._kernel.later(packets.announce, request.netns, wanted.name, built.mac, attachment.ips)
            await self._gateways(request, attachment, wanted, built, ended)
        except BaseException:
            if not keep:
                await self._undo(wanted.host)
            raise
        return Result(
            interface=wanted.name,
            mac=built.mac,
            mtu=built.mtu,
            sandbox=request.netns,
            addresses=attachment.addresses,
            routes=connected_routes(attachment),
            dns=request.dns,
        )

    def _refuse_foreign(self, request: Request, attachment: Attachment, host: str) -> None:
        """Two sandboxes may come to one host name (few characters of the id remain in it): not at the first's cost."""
        row = self._switch.interface(host)
        if row is None:
            return
        ids = row["external_ids"]
        theirs = (ids.get("pod_namespace"), ids.get("pod_name"), ids.get("pod_netns"))
        if theirs != (attachment.namespace, attachment.owner, request.netns) and netns.exists(ids.get("pod_netns", "")):
            owner = f"{theirs[0]}/{theirs[1]}"
            raise CniError(TRY_AGAIN_LATER, f"interface {host} belongs to pod {owner}", stage="configure-nic")

    async def _build(self, request: Request, attachment: Attachment, wanted: Interface) -> Built:
        """Link and port at the same time; the port as soon as the host end exists."""
        loop = asyncio.get_running_loop()
        paired = asyncio.Event()

        def on_pair() -> None:
            loop.call_soon_threadsafe(paired.set)

        building = asyncio.create_task(self._kernel.run(pod_link.build, wanted, request.netns, on_pair))
        waiting = asyncio.create_task(paired.wait())
        try:
            await asyncio.wait((building, waiting), return_when=asyncio.FIRST_COMPLETED)
            if paired.is_set():
                await self._switch.ensure_port(wanted.host, _ids(request, attachment))
            return await building
        except (netns.NamespaceGone, pod_link.LinkTaken, OSError) as error:
            raise CniError(
                FAILED, "failed to configure the pod's interface", str(error), stage="configure-nic"
            ) from None
        except SwitchError as error:
            message = "failed to add the pod's port to Open vSwitch"
            raise CniError(TRY_AGAIN_LATER, message, str(error), stage="configure-nic") from None
        finally:
            waiting.cancel()
            if not building.done():
                building.cancel()
                await asyncio.wait((building,))
            elif not building.cancelled():
                building.exception()

    async def _served(self, attachment: Attachment, wanted: Interface) -> None:
        """Wait for OVN's word that packets flow."""

        def installed_or_broken() -> bool:
            row = self._switch.interface(wanted.host)
            return self._switch.installed(wanted.host) or (row is not None and bool(row.get("error")))

        if not await self._switch.until(installed_or_broken, timeout=self._port_seconds) or not self._switch.installed(
            wanted.host
        ):
            row = self._switch.interface(wanted.host)
            details = str(row["error"]) if row and row.get("error") else "ovn-controller has not installed its flows"
            message = f"ovs interface {wanted.host} is not ready after {self._port_seconds:g}s"
            raise CniError(PORT_NOT_READY, message, details, stage="configure-nic")
        if attachment.localnet:
            patch = localnet_patch_port(attachment.localnet)
            if not await self._switch.until(
                lambda: self._switch.interface(patch) is not None, timeout=self._port_seconds
            ):
                message = f"patch port {patch} is not ready after {self._port_seconds:g}s"
                raise CniError(PORT_NOT_READY, message, stage="configure-nic")

    async def _verify_unused(self, request: Request, attachment: Attachment, wanted: Interface, built: Built) -> None:
        """On a physical network somebody else may use the address; inside OVN nobody can."""
        if not (self._detect_conflicts and attachment.underlay) or attachment.migrating:
            return
        try:
            for ip in attachment.ips:
                if ":" not in ip:
                    mac = await probe.address_conflict(self._kernel, request.netns, wanted.name, built.mac, ip)
                    if mac is not None:
                        message = f"IP address {ip} has already been used by host with MAC {mac}"
                        raise CniError(ADDRESS_CONFLICT, message, stage="configure-nic")
            refused = await probe.duplicate_addresses(self._kernel, request.netns, built.index)
        except (netns.NamespaceGone, OSError) as error:
            raise CniError(FAILED, "address conflict check failed", str(error), stage="configure-nic") from None
        if refused:
            message = f"ip address(es) {','.join(refused)} on interface {wanted.name} are not in preferred state"
            raise CniError(ADDRESS_CONFLICT, message, stage="configure-nic")

    async def _gateways(
        self, request: Request, attachment: Attachment, wanted: Interface, built: Built, ended: asyncio.Event
    ) -> None:
        if not attachment.probes:
            return
        started = time.monotonic()
        tries = self._gateway_tries if attachment.probe_required else 1
        try:
            silent = await _unless(
                ended, probe.gateways_answer(self._kernel, request.netns, built.index, attachment.probes, tries=tries)
            )
        except (netns.NamespaceGone, OSError) as error:
            raise CniError(FAILED, "gateway check failed", str(error), stage="configure-nic") from None
        finally:
            self._waited("connectivity", time.monotonic() - started)
        if silent is None:
            raise CniError(INVALID_POD, f"gateway check canceled: pod {request.pod_key} ended", stage="configure-nic")
        if silent and attachment.probe_required:
            gateway, count = next(iter(silent.items()))
            network = ",".join(attachment.ips)
            message = f"network {network} with gateway {gateway} is not ready for interface {wanted.name}"
            raise CniError(GATEWAY_UNREACHABLE, f"{message} after {count} checks", stage="configure-nic")

    async def _undo(self, host: str) -> None:
        """Remove port and link, to the end even when cancelled again."""
        task = asyncio.create_task(self._remove(host), name=f"undo {host}")
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                continue

    async def _remove(self, host: str) -> None:
        try:
            await self._switch.remove_port(host)
        except SwitchError as error:
            log.warning("port not removed interface=%s error=%s", host, error)
        try:
            await self._kernel.run(pod_link.remove, host)
        except OSError as error:
            log.warning("link not removed interface=%s error=%s", host, error)


def _ids(request: Request, attachment: Attachment) -> dict[str, str | None]:
    return pod_ids(
        port=attachment.port,
        owner=attachment.owner,
        namespace=attachment.namespace,
        netns=request.netns,
        ips=attachment.ips,
        encap_ip=attachment.encap_ip,
    )


async def _unless(ended: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`, or None when the pod ended first."""
    task = asyncio.create_task(work)
    end = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait((task, end), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        end.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))

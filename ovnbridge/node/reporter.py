"""What the node role says to Kubernetes: pod events, where leases are used, Node annotations and its condition.

Called by `cni/service` and `host`; writes through the connection of `kube/`, injected. What is about a pod never delays
it: it goes through a bounded queue, and is dropped when the API server does not keep up.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from ovnbridge.model.kube import Node, Pod
from ovnbridge.model.resource import EVENT, IP, NODE, Resource

log = logging.getLogger(__name__)

COMPONENT: Final = "kube-ovn-cni"
_QUEUE: Final = 1000
_WARNINGS_SECONDS: Final = 2.0


class Api(Protocol):
    """What is needed of `kube.connection.Connection`."""

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """One object."""

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object."""

    async def list(
        self, resource: Resource, namespace: str = "", *, params: Mapping[str, str | int] | None = None
    ) -> dict[str, Any]:
        """A collection."""

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Any, *, kind: Any = "merge", subresource: str = ""
    ) -> dict[str, Any]:
        """Change part of an object."""


class _Job(NamedTuple):
    what: str
    work: Callable[[], Awaitable[Any]]


class Reporter:
    """See the module's docstring."""

    def __init__(self, api: Api, *, node_name: str, failures: tuple[type[Exception], ...]) -> None:
        """`failures`: what the API raises."""
        self._api = api
        self._node_name = node_name
        self._failures: tuple[type[Exception], ...] = (*failures, TimeoutError)
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue(_QUEUE)

    async def run(self) -> None:
        """Write what is queued until cancelled."""
        while True:
            job = await self._jobs.get()
            try:
                await job.work()
            except self._failures as error:
                log.warning("not written what=%s error=%s", job.what, error)

    def _queue(self, what: str, work: Callable[[], Awaitable[Any]]) -> None:
        try:
            self._jobs.put_nowait(_Job(what, work))
        except asyncio.QueueFull:
            log.warning("dropped what=%s", what)

    def lease_used_here(self, name: str, subnet: str) -> None:
        """Queue the correction of an IP object that names another node, as after a live migration (spec A4.4)."""
        self._queue(f"lease {name}", lambda: self._place_lease(name, subnet))

    async def _place_lease(self, name: str, subnet: str) -> None:
        found = await self._api.get(IP, "", name)
        if (found.get("spec") or {}).get("nodeName") == self._node_name:
            return
        labels = {subnet: "", "ovn.kubernetes.io/node-name": self._node_name}
        spec = {"nodeName": self._node_name, "attachIps": [], "attachSubnets": [], "attachMacs": []}
        await self._api.patch(IP, "", name, {"metadata": {"labels": labels}, "spec": spec})

    def pod_event(self, namespace: str, pod: str, uid: str, *, kind: str, reason: str, message: str) -> None:
        """Queue an event about a pod; `kind` is Normal or Warning."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{pod[:220]}.{secrets.token_hex(8)}", "namespace": namespace},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod, "uid": uid},
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": COMPONENT, "host": self._node_name},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._node_name,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._queue(f"event {reason} of {namespace}/{pod}", lambda: self._api.create(EVENT, namespace, body))

    async def pod_warning(self, pod: Pod) -> str:
        """The latest warning about a pod that is not our own, empty when none is known."""
        selector = f"involvedObject.uid={pod.metadata.uid},type=Warning"
        try:
            async with asyncio.timeout(_WARNINGS_SECONDS):
                found = await self._api.list(EVENT, pod.metadata.namespace, params={"fieldSelector": selector})
        except self._failures:
            return ""
        texts = [
            (str(item.get("lastTimestamp") or item.get("eventTime") or ""), f"{item.get('reason')}: {item['message']}")
            for item in found.get("items") or ()
            if item.get("message")
            and item.get("reportingComponent") != COMPONENT
            and (item.get("source") or {}).get("component") not in (COMPONENT, "kubelet")
            and (item.get("involvedObject") or {}).get("uid") == pod.metadata.uid
            and item.get("type") == "Warning"
        ]
        return max(texts)[1] if texts else ""

    async def annotate_node(self, values: Mapping[str, str]) -> bool:
        """Set annotations of this node; False when that failed."""
        return await self._patch_node({"metadata": {"annotations": dict(values)}})

    async def node_condition(self, node: Node, *, available: bool, reason: str, message: str) -> bool:
        """Set the NetworkUnavailable condition; False when that failed."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = "False" if available else "True"
        condition = {
            "type": "NetworkUnavailable",
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
        }
        known = {c.type: c.status for c in node.status.conditions or ()}
        if known.get("NetworkUnavailable") != status:
            condition["lastTransitionTime"] = now
        return await self._patch_node({"status": {"conditions": [condition]}}, subresource="status", kind="strategic")

    async def _patch_node(self, patch: Any, *, subresource: str = "", kind: str = "merge") -> bool:
        try:
            await self._api.patch(NODE, "", self._node_name, patch, kind=kind, subresource=subresource)
        except self._failures as error:
            log.warning("node not patched node=%s error=%s", self._node_name, error)
            return False
        return True

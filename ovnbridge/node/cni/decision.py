"""Waits until it is decided what a pod's interface must look like.

Subscribed to `cluster` while a request waits; asks `attachment.decide` again whenever the pod, a subnet or the node
changes. Explains in the error what was missing when time is up. Spec: node A4.2, A4.3.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from ovnbridge.node import attachment
from ovnbridge.node.attachment import Attachment, Pending
from ovnbridge.node.cluster import PODS, ClusterView
from ovnbridge.node.cni.request import (
    INVALID_POD,
    NO_ADDRESS,
    NOT_ROUTED,
    TRY_AGAIN_LATER,
    CniError,
    Request,
)
from ovnbridge.node.reporter import Reporter

_SEE_LOGS: Final = "please see kube-ovn-controller logs to find errors"


class Decider:
    """See the module's docstring."""

    def __init__(
        self,
        cluster: ClusterView,
        reporter: Reporter,
        *,
        mtu: Callable[[], int],
        limits: tuple[float, float],
        waited: Callable[[str, float], None],
    ) -> None:
        """`limits`: seconds to wait for the pod to be known, and for its address."""
        self._cluster = cluster
        self._reporter = reporter
        self._mtu = mtu
        self._pod_seconds, self._address_seconds = limits
        self._waited = waited

    @property
    def ready(self) -> bool:
        """Whether everything that a decision needs is known."""
        cluster = self._cluster
        return cluster.pods_synced.is_set() and cluster.subnets_synced.is_set() and self._mtu() > 0

    def decide(self, request: Request) -> Attachment | Pending:
        """Decide with what is known now. Raises CniError."""
        if not self.ready:
            return Pending("get-node", "the node's network is not set up yet")
        cluster = self._cluster
        pod = cluster.pods.get(request.pod_key)
        return attachment.decide(request, pod, cluster.subnets, cluster.node, mtu=self._mtu())

    async def wait(self, request: Request) -> Attachment:
        """Wait for the decision. Raises CniError when it does not come in time or never will."""
        event = asyncio.Event()

        def changed(plural: str, key: str) -> None:
            if plural != PODS or key in ("", request.pod_key):
                event.set()

        unsubscribe = self._cluster.subscribe(changed)
        started = last = time.monotonic()
        seen = False
        try:
            while True:
                event.clear()
                decision = self.decide(request)
                if isinstance(decision, Attachment):
                    return decision
                pod = self._cluster.pods.get(request.pod_key)
                if (pod is None and seen) or (pod is not None and pod.metadata.deleting):
                    raise CniError(INVALID_POD, f"pod {request.pod_key} was deleted", stage="get-pod")
                seen = seen or pod is not None
                limit = self._pod_seconds if decision.stage == "get-pod" else self._address_seconds
                await _until(event, started + limit)
                now = time.monotonic()
                self._count(decision, now - last)
                last = now
                if now >= started + limit and not event.is_set():
                    raise await self._too_late(request, decision)
        finally:
            unsubscribe()

    def _count(self, decision: Pending, seconds: float) -> None:
        kind = {"wait-address": "address", "wait-route": "route"}.get(decision.stage)
        if kind:
            self._waited(kind, seconds)

    async def _too_late(self, request: Request, pending: Pending) -> CniError:
        pod = self._cluster.pods.get(request.pod_key)
        details = await self._reporter.pod_warning(pod) if pod is not None else ""
        if pending.stage == "wait-address":
            message = f"no address allocated to pod {request.pod_key} provider {request.provider}, {_SEE_LOGS}"
            return CniError(NO_ADDRESS, message, details, stage=pending.stage)
        if pending.stage == "wait-route":
            message = f"route is not ready for pod {request.pod_key} provider {request.provider}, {_SEE_LOGS}"
            return CniError(NOT_ROUTED, message, details, stage=pending.stage)
        if pending.stage == "get-pod":
            return CniError(TRY_AGAIN_LATER, f"get pod {request.pod_key} failed", pending.reason, stage=pending.stage)
        return CniError(TRY_AGAIN_LATER, pending.reason, details, stage=pending.stage)


async def _until(event: asyncio.Event, deadline: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            await event.wait()
    except TimeoutError:
        pass

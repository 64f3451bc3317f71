"""Removes interfaces of pods that are gone without a DEL: the runtime forgot, or the node was down (spec B5).

Woken by changes of `cluster` and `ovs`. An interface is removed when nobody has owned it for a while, so that a pod
which the API server has just not told us about is safe.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ovnbridge.node import netns, pod_link
from ovnbridge.node.cluster import PODS, ClusterView
from ovnbridge.node.kernel import Kernel
from ovnbridge.node.ovs import Changes, LocalSwitch, SwitchError
from ovnbridge.node.ovs_rows import pod_of

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 60.0


def orphans(
    interfaces: Iterable[Mapping[str, Any]],
    owners: set[tuple[str, str]],
    *,
    active: set[str],
    namespace_exists: Callable[[str], bool],
) -> set[str]:
    """Interfaces of ours without a pod, or without a sandbox, that no request is about. Pure but for the question."""
    found = set()
    for row in interfaces:
        owner = pod_of(row["external_ids"])
        if owner is None or row["name"] in active:
            continue
        path = row["external_ids"].get("pod_netns", "")
        if owner not in owners or "No such device" in (row.get("error") or "") or not namespace_exists(path):
            found.add(row["name"])
    return found


class Collector:
    """See the module's docstring."""

    def __init__(
        self,
        *,
        cluster: ClusterView,
        switch: LocalSwitch,
        kernel: Kernel,
        active: Callable[[], set[str]],
        grace: float = GRACE_SECONDS,
    ) -> None:
        """`active` tells host interfaces that requests are about."""
        self._cluster = cluster
        self._switch = switch
        self._kernel = kernel
        self._active = active
        self._grace = grace
        self._since: dict[str, float] = {}
        self._wake = asyncio.Event()
        cluster.subscribe(self._on_object)
        switch.subscribe(self._on_rows)

    def ask(self) -> None:
        """Look now."""
        self._wake.set()

    def _on_object(self, plural: str, _key: str) -> None:
        if plural == PODS:
            self._wake.set()

    def _on_rows(self, changes: Changes) -> None:
        if "Interface" in changes:
            self._wake.set()

    async def run(self) -> None:
        """Collect until cancelled."""
        await asyncio.gather(self._switch.synced(), self._cluster.pods_synced.wait())
        while True:
            self._wake.clear()
            left = await self._round()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> float | None:
        """Remove what has been an orphan long enough; seconds until the next one is due."""
        now = asyncio.get_running_loop().time()
        exists = {
            path: netns.exists(path)
            for row in self._switch.interfaces()
            if pod_of(row["external_ids"]) and (path := row["external_ids"].get("pod_netns", ""))
        }
        found = orphans(
            self._switch.interfaces(),
            self._cluster.owners(),
            active=self._active(),
            # An interface made without a path says nothing about its sandbox.
            namespace_exists=lambda path: exists.get(path, True),
        )
        self._since = {name: self._since.get(name, now) for name in found}
        due = sorted(name for name, since in self._since.items() if now - since >= self._grace)
        for name in due:
            await self._remove(name)
        waiting = [since + self._grace - now for name, since in self._since.items() if name not in due]
        return max(0.0, min(waiting)) if waiting else None

    async def _remove(self, name: str) -> None:
        try:
            await self._switch.remove_port(name)
            await self._kernel.run(pod_link.remove, name)
        except (SwitchError, OSError) as error:
            log.warning("orphaned interface not removed interface=%s error=%s", name, error)
            return
        log.info("orphaned interface removed interface=%s", name)

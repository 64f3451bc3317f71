"""The controller role: Kubernetes objects and IP leases in, OVN NB rows and Kubernetes writes out.

Everyone reads and compiles (a warm standby); only the holder of the lease `kube-ovn-controller` writes (spec E.5).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ovnbridge.compile import UNITS
from ovnbridge.compile.problem import TABLE, problem_key
from ovnbridge.controller import KINDS, NB_COLUMNS, ControllerState
from ovnbridge.engine.desired import RowKey, UnitKey
from ovnbridge.kube.cache import Cache
from ovnbridge.kube.lease import Elector, Leadership
from ovnbridge.kube.writer import Writer
from ovnbridge.model.ovn import NORTHBOUND, Key
from ovnbridge.observe.loop import settle_garbage_collector, watch_loop
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.committer import Committer
from ovnbridge.ovsdb.fence import Fence
from ovnbridge.roles.controller_flags import FLAGS, compile_options
from ovnbridge.roles.shared import Shared
from ovnbridge.settings import comma_list

log = logging.getLogger(__name__)

_SELF_CHECK_SECONDS = 5.0
_TABLES = {unit.name: unit.table for unit in UNITS}


class LeadershipLost(Exception):
    """Another controller leads, or may; the process ends and starts again as a candidate (spec E.5)."""


class Controller:
    """One process's controller; `run` is the role."""

    def __init__(self, settings: argparse.Namespace, shared: Shared) -> None:
        self._settings = settings
        self._shared = shared
        self.database = Database(
            name="OVN_Northbound",
            remotes=comma_list(settings.ovn_nb_addr),
            columns=NB_COLUMNS,
            probe_interval=float(settings.ovsdb_inactivity_timeout),
            connect_timeout=float(settings.ovsdb_con_timeout),
        )
        self.state = ControllerState(self.database)
        self.leading = False
        self._writer: Writer | None = None
        self._checked = -_SELF_CHECK_SECONDS

    async def run(self) -> None:
        """Read, compile, and write while leading, until cancelled."""
        settings, shared = self._settings, self._shared
        shared.health.ready("controller", self._not_ready)
        shared.health.action("self-check", self._self_check)
        if settings.enable_metrics and settings.pprof_port:
            await shared.health.listen("0.0.0.0", settings.pprof_port)
        shared.objects.subscribe(self.state.source)
        cache = await shared.cache()
        for resource, decoder in KINDS:
            cache.want(resource, decoder)
        gc.disable()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch_loop(shared.health.metrics), name="loop lag")
            tasks.create_task(self.database.run(), name="northbound")
            await asyncio.gather(cache.synced(), self.database.synced.wait())
            await self.state.start(compile_options(settings))
            settle_garbage_collector()
            tasks.create_task(self.state.reactor.run(), name="reactor")
            await self._elect(cache)
            raise LeadershipLost("the leader lease is lost; starting anew is the simplest correct way on")

    async def _elect(self, cache: Cache) -> None:
        connection = await self._shared.connection()
        identity = self._settings.pod_name or f"{socket.gethostname()}-{os.getpid()}"
        elector = Elector(
            connection,
            self._settings.pod_namespace,
            "kube-ovn-controller",
            identity,
            duration=self._settings.leader_elect_lease_duration,
            renew_deadline=self._settings.leader_elect_renew_deadline,
            retry=self._settings.leader_elect_retry_period,
        )

        async def lead(leadership: Leadership) -> None:
            await self._lead(leadership, cache)

        await elector.run(lead)

    async def _lead(self, leadership: Leadership, cache: Cache) -> None:
        """Write until leadership ends, which cancels this."""
        connection = await self._shared.connection()
        committer = Committer(
            self.database,
            self.state.replica,
            self.state.diff,
            facts=NORTHBOUND,
            deadline=float(self._settings.ovn_timeout),
            fence=Fence(leadership.epoch),
            on_error=self._bad_row,
            on_commit=self._committed,
        )
        writer = Writer(
            connection=connection,
            resources={resource.kind: resource for resource, _ in KINDS},
            desired=self.state.reactor,
            objects=self.state.world,
            observe=cache.observe,
            now=lambda: datetime.now(UTC),
            version=cache.version,
        )
        log.info("leading epoch=%s", leadership.epoch)
        self.leading = True
        self._writer = writer
        try:
            writer.baseline(list(self.state.engine.desired.object_keys()))
            self.state.reactor.attach(rows=committer, objects=writer, actual_rows=self.state.owned_rows)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(committer.run(), name="committer")
                tasks.create_task(writer.run(), name="writer")
        finally:
            self.leading = False
            self._writer = None
            self.state.reactor.detach()

    def _self_check(self) -> dict[str, Any] | None:
        """Compare every row and object that is wanted or ours with what is there (`ovnbridge doctor --fix`)."""
        if self._writer is None:
            return None
        keys = list(self.state.engine.desired.object_keys())
        now = asyncio.get_running_loop().time()
        if now >= self._checked + _SELF_CHECK_SECONDS:  # whoever asks again and again costs nothing
            self._checked = now
            self.state.reactor.touch_all()
            for kind, key in keys:
                self._writer.touch(kind, key)
            log.info("self-check asked for objects=%d", len(keys))
        return {"objects": len(keys), "rows": sum(1 for _ in self.state.engine.desired.row_keys())}

    def _bad_row(self, table: str, key: Key, text: str) -> None:
        owner = self.state.engine.desired.row_owner(table, key)
        log.error("row refused table=%s key=%s owner=%s error=%s", table, key, owner, text)
        if owner is not None:
            self._tell(owner, f"{table} {key}: {text}")

    def _committed(self, keys: Sequence[RowKey]) -> None:
        self.state.reactor.committed(keys)
        if self.state.world.size(TABLE):
            for key in keys:
                owner = self.state.engine.desired.row_owner(*key)
                if owner is not None:
                    self._tell(owner, None)

    def _tell(self, unit: UnitKey, problem: str | None) -> None:
        """Put what the database refuses into the World, for the object that the unit is about."""
        key = problem_key(_TABLES[unit.unit], unit.key)
        if self.state.world.put(TABLE, key, problem):
            self.state.reactor.wake()

    def _not_ready(self) -> str | None:
        if not self.database.synced.is_set():
            return "not connected to OVN NB"
        return None


class _Role:
    name = "controller"
    flags = FLAGS

    async def run(self, settings: argparse.Namespace, shared: Shared) -> None:
        """See `Controller`."""
        await Controller(settings, shared).run()


role = _Role()

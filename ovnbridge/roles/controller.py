"""The controller role: Kubernetes objects and IP leases in, OVN rows (NB; in SB chassis) and Kubernetes writes out.

Everyone reads and compiles (a warm standby); only the holder of the lease `kube-ovn-controller` writes (spec E.5).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from ovnbridge.compile import UNITS
from ovnbridge.compile.problem import TABLE, problem_key
from ovnbridge.controller import KINDS, NB_COLUMNS, OPTIONAL_KINDS, SB_COLUMNS, ControllerState, Sinks
from ovnbridge.controller.figures import publish
from ovnbridge.engine.desired import RowKey, UnitKey
from ovnbridge.kube.cache import Cache
from ovnbridge.kube.connection import Connection
from ovnbridge.kube.figures import figures as kubernetes_figures
from ovnbridge.kube.lease import Elector, Leadership
from ovnbridge.kube.writer import Writer
from ovnbridge.model.ovn import NORTHBOUND, SOUTHBOUND, Key, TableFacts
from ovnbridge.observe.figures import Figure, expose
from ovnbridge.observe.loop import settle_garbage_collector, watch_loop
from ovnbridge.observe.ovsdb import connection_observer, transaction_observer
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.committer import Committer
from ovnbridge.ovsdb.errors import Deposed
from ovnbridge.ovsdb.fence import NORTHBOUND_TABLE, SOUTHBOUND_TABLE
from ovnbridge.ovsdb.figures import figures as database_figures
from ovnbridge.ovsdb.replica import Replica
from ovnbridge.roles.controller_flags import FLAGS, compile_options, flag_problems
from ovnbridge.roles.ovn import northbound_remotes, remote_problems, southbound_remotes, tls_files
from ovnbridge.roles.self_check import SelfChecks
from ovnbridge.roles.shared import Shared
from ovnbridge.roles.term import TermConnection, TermFence

log = logging.getLogger(__name__)

_TABLES = {unit.name: unit.table for unit in UNITS}


class LeadershipLost(Exception):
    """Another controller leads, or may; the process ends and starts again as a candidate (spec E.5).

    When this is raised, everything that wrote has ended: `Elector.run` has cancelled and awaited it, before the lease
    can have run out, or NB itself has refused the last write (`ovsdb/fence.py`).
    """

    exit_status = 3


class Controller:
    """One process's controller; `run` is the role."""

    def __init__(self, settings: argparse.Namespace, shared: Shared) -> None:
        self._settings = settings
        self._shared = shared
        self.database = self._database("OVN_Northbound", northbound_remotes(settings.ovn_nb_addr), NB_COLUMNS)
        remotes = southbound_remotes(settings.ovn_sb_addr)
        self.southbound = self._database("OVN_Southbound", remotes, SB_COLUMNS) if remotes else None
        self.state = ControllerState(self.database, self.southbound, now=time.time)
        self.leading = False
        self._writer: Writer | None = None
        self._committers: dict[str, Committer] = {}
        """By the name of their database, while leading."""

    def _database(self, name: str, remotes: Sequence[str], columns: Mapping[str, Sequence[str]]) -> Database:
        settings = self._settings
        return Database(
            name=name,
            remotes=remotes,
            tls=tls_files(settings),
            columns=columns,
            probe_interval=float(settings.ovsdb_inactivity_timeout),
            connect_timeout=float(settings.ovsdb_con_timeout),
        )

    async def run(self) -> None:
        """Read, compile, and write while leading, until cancelled."""
        settings, shared = self._settings, self._shared
        shared.health.ready("controller", self._not_ready)
        if settings.enable_metrics and settings.pprof_port:
            await shared.health.listen("0.0.0.0", settings.pprof_port)
        checks = SelfChecks(shared.health, self.state.reactor.self_check, remote=settings.self_check_remote)
        shared.objects.subscribe(self.state.source)
        elector = self._elector(await shared.connection())
        cache = await shared.cache()
        for resource, decoder in KINDS:
            cache.want(resource, decoder, optional=resource.kind in OPTIONAL_KINDS)
        metrics = shared.health.metrics
        for database in self._databases():
            database.on_state(connection_observer(metrics, database.name))
        shared.health.before_scrape(expose(metrics, lambda: self._figures(cache)))
        shared.health.before_scrape(lambda: publish(metrics, self.state))
        gc.disable()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch_loop(metrics), name="loop lag")
            for database in self._databases():
                tasks.create_task(database.run(), name=database.name)
            await asyncio.gather(cache.synced(), self.database.synced.wait())
            await self.state.start(compile_options(settings))
            settle_garbage_collector()
            tasks.create_task(self.state.reactor.run(), name="reactor")
            tasks.create_task(self.state.overdue.run(), name="overdue pods")
            tasks.create_task(checks.every(settings.self_check_interval), name="self-check")
            try:
                await elector.run(lambda leadership: self._lead(leadership, cache))
            except* Deposed as refused:
                raise LeadershipLost(f"NB has a newer leader: {refused.exceptions[0]}") from refused
            raise LeadershipLost("the leader lease is lost; starting anew is the simplest correct way on")

    def _elector(self, connection: Connection) -> Elector:
        settings = self._settings
        return Elector(
            connection,
            settings.pod_namespace,
            "kube-ovn-controller",
            settings.pod_name or f"{socket.gethostname()}-{os.getpid()}",
            duration=settings.leader_elect_lease_duration,
            renew_deadline=settings.leader_elect_renew_deadline,
            retry=settings.leader_elect_retry_period,
        )

    async def _lead(self, leadership: Leadership, cache: Cache) -> None:
        """Write until leadership ends, which cancels this."""
        connection = TermConnection(await self._shared.connection(), leadership)
        fence = TermFence(leadership, NORTHBOUND_TABLE)
        north, south = self._committer(self.database, self.state.replica, NORTHBOUND, fence), None
        if self.southbound is not None and self.state.southbound is not None:
            fence = TermFence(leadership, SOUTHBOUND_TABLE)
            south = self._committer(self.southbound, self.state.southbound.replica, SOUTHBOUND, fence)
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
        self.leading, self._writer = True, writer
        try:
            wanted = self.state.engine.desired
            writer.baseline((key, wanted.items(*key)) for key in wanted.object_keys())
            rows = Sinks(north, south)
            self.state.reactor.attach(rows=rows, objects=writer, actual_rows=self.state.owned_rows)
            async with asyncio.TaskGroup() as tasks:
                for name, committer in self._committers.items():
                    tasks.create_task(committer.run(), name=f"committer of {name}")
                tasks.create_task(writer.run(), name="writer")
        finally:
            self.leading, self._writer = False, None
            self._committers.clear()
            self.state.reactor.detach()

    def _committer(
        self, database: Database, replica: Replica, facts: Mapping[str, TableFacts], fence: TermFence
    ) -> Committer:
        committer = self._committers[database.name] = Committer(
            database,
            replica,
            self.state.diff,
            facts=facts,
            deadline=float(self._settings.ovn_timeout),
            fence=fence,
            on_error=self._bad_row,
            on_commit=self._committed,
        )
        committer.on_transaction(transaction_observer(self._shared.health.metrics, database.name))
        return committer

    def _databases(self) -> list[Database]:
        return [self.database, *([self.southbound] if self.southbound is not None else [])]

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

    def _figures(self, cache: Cache) -> Iterable[Figure]:
        yield from kubernetes_figures(cache, self._writer)
        for database in self._databases():
            yield from database_figures(database, self._committers.get(database.name))

    def _not_ready(self) -> str | None:
        if not self.database.synced.is_set():
            return "not connected to OVN NB"
        return None


class _Role:
    name = "controller"
    flags = FLAGS

    def problems(self, settings: argparse.Namespace) -> Iterable[str]:
        """See `flag_problems`; and where NB is must be said."""
        yield from flag_problems(settings)
        remotes = northbound_remotes(settings.ovn_nb_addr)
        if not remotes:
            yield "where is OVN NB? Give --ovn-nb-addr, or set OVN_NB_ADDR or OVN_DB_IPS"
        yield from remote_problems((*remotes, *southbound_remotes(settings.ovn_sb_addr)))

    async def run(self, settings: argparse.Namespace, shared: Shared) -> None:
        """See `Controller`."""
        await Controller(settings, shared).run()


role = _Role()

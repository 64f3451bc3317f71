"""State for a dry run, read once from a running cluster; and databases read once.

What cannot be read is said at once and with its reason, where waiting would not help: a server that refuses or is not
there, a missing right, a kind that is not installed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from ovnbridge.controller import KINDS, NB_COLUMNS, OPTIONAL_KINDS, SB_COLUMNS, ControllerState
from ovnbridge.kube.connection import ApiError, Connection
from ovnbridge.kube.reflector import Reflector
from ovnbridge.model.resource import Resource
from ovnbridge.operations.inputs import GIVE_SB, InputError, Notes, held
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.errors import OvsdbError
from ovnbridge.ovsdb.transport import TlsFiles
from ovnbridge.roles.ovn import remote_problems

SECONDS: Final = 10.0
"""Time for a server to answer, and for a small database to be read."""
_READ_SECONDS: Final = 120.0
"""Time for everything to be read, also from servers with a hundred thousand objects."""
_TRIES: Final = 2
"""How often each remote of a database is tried: a server may be restarting, or the leader moving."""


class Unreadable(Exception):
    """A database cannot be read; the text says why, remote by remote."""


@asynccontextmanager
async def loaded(database: Database, remotes: Sequence[str], seconds: float = SECONDS) -> AsyncIterator[None]:
    """A database that is connected and complete meanwhile; its `rows` stay afterwards. Raises Unreadable."""
    failures: Counter[str] = Counter()
    reasons = dict.fromkeys(remotes, "no answer")
    hopeless = asyncio.Event()

    def follow(state: str, remote: str, reason: str) -> None:
        if state in ("failed", "disconnected"):
            reasons[remote] = "no answer" if reason.startswith("TimeoutError") else reason
            failures[remote] += 1
            if all(failures[remote] >= _TRIES for remote in remotes):
                hopeless.set()

    database.on_state(follow)
    tasks = [asyncio.create_task(work) for work in (database.synced.wait(), hopeless.wait(), database.run())]
    try:
        await asyncio.wait(tasks[:2], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not database.synced.is_set():
            raise Unreadable("; ".join(f"{remote}: {reason}" for remote, reason in reasons.items()))
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def from_cluster(
    kubeconfig: str,
    nb: tuple[str, ...],
    sb: tuple[str, ...] = (),
    sb_columns: Mapping[str, Sequence[str]] = SB_COLUMNS,
    tls: TlsFiles | None = None,
) -> tuple[ControllerState, Notes]:
    """State of a running cluster, read once: without SB where that cannot be read. Raises InputError."""
    if not nb:
        raise InputError("no OVN NB remotes: give --nb or set OVN_NB_ADDR")
    for name, remotes in (("NB", nb), ("SB", sb)):
        if problems := "; ".join(remote_problems(remotes)):
            raise InputError(f"OVN {name}: {problems}")
    database = Database(name="OVN_Northbound", remotes=nb, columns=NB_COLUMNS, leader_only=False, tls=tls)
    southbound = (
        Database(name="OVN_Southbound", remotes=sb, columns=sb_columns, leader_only=False, tls=tls) if sb else None
    )
    state, notes = ControllerState(database, southbound, now=time.time), Notes(unseen="" if sb else GIVE_SB)
    connection = await open_connection(kubeconfig)
    reading = [
        asyncio.create_task(_northbound(database, nb, notes)),
        asyncio.create_task(_objects(connection, state, notes)),
    ]
    if southbound is not None:
        reading.append(asyncio.create_task(_southbound(southbound, sb, state, notes)))
    try:
        await asyncio.gather(*reading)
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        await connection.close()
    notes.warnings += held(state)
    return state, notes


async def open_connection(kubeconfig: str) -> Connection:
    """A connection to the cluster. Raises InputError."""
    try:
        return await Connection.open(kubeconfig=kubeconfig or None)
    except (ApiError, OSError, ValueError) as error:
        raise InputError(f"no Kubernetes API: {getattr(error, 'message', error)}") from error


async def _may_read(connection: Connection, resource: Resource) -> None:
    """One clear word where reflectors would try again and again. Raises InputError."""
    try:
        await connection.request("GET", resource.path(""), params={"limit": 1}, timeout=SECONDS)
    except ApiError as error:
        if error.unreachable:
            raise InputError(f"the Kubernetes API does not answer: {error.message}") from error
        if error.status in (401, 403):
            raise InputError(f"no right to read {resource.plural}: {error.message}") from error
        if error.status == 404 and resource.kind not in OPTIONAL_KINDS:
            kind = f"{resource.plural}.{resource.group}"
            raise InputError(f"the cluster does not know {kind}: install the CRDs") from error
        # Anything else may pass: reflectors try again.


async def _northbound(database: Database, remotes: Sequence[str], notes: Notes) -> None:
    """Read NB, and count the rows of the tables that the controller never looks at."""
    try:
        async with loaded(database, remotes, _READ_SECONDS):
            assert database.schema is not None
            tables = sorted(set(database.schema.tables) - set(NB_COLUMNS))
            asked = [{"op": "select", "table": name, "where": [], "columns": ["_uuid"]} for name in tables]
            counts = await database.transact(asked, timeout=SECONDS)
    except (Unreadable, OvsdbError) as error:
        raise InputError(f"OVN NB cannot be read: {error}") from error
    notes.unread = {name: len(result["rows"]) for name, result in zip(tables, counts, strict=True) if result["rows"]}


async def _southbound(database: Database, remotes: Sequence[str], state: ControllerState, notes: Notes) -> None:
    """Read SB; the state does without it when it cannot be read."""
    try:
        async with loaded(database, remotes, _READ_SECONDS):
            pass
    except Unreadable as error:
        state.southbound, notes.unseen = None, str(error)


async def _objects(connection: Connection, state: ControllerState, notes: Notes) -> None:
    """Read the objects of all kinds. Raises InputError."""
    await asyncio.gather(*(_may_read(connection, resource) for resource, _ in KINDS))
    reflectors = [
        Reflector(
            connection=connection,
            resource=resource,
            decoder=kind,
            sink=state.source,
            optional=resource.kind in OPTIONAL_KINDS,
            on_malformed=lambda r, name, ns, error: notes.problems.append(f"{r.kind} {ns}/{name}: {error}"),
        )
        for resource, kind in KINDS
    ]
    tasks = [asyncio.create_task(reflector.run()) for reflector in reflectors]
    try:
        async with asyncio.timeout(_READ_SECONDS):
            await asyncio.gather(*(reflector.synced.wait() for reflector in reflectors))
    except TimeoutError:
        missing = ", ".join(r.resource.plural for r in reflectors if not r.synced.is_set())
        raise InputError(f"the Kubernetes API has not listed within {_READ_SECONDS:g} s: {missing}") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

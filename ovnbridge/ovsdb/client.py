"""One OVSDB database: connection, replica of the monitored rows, transactions. Asyncio throughout, no threads.

Fed by a server through `session.py`; drained by `replica.py` (what is there) and `committer.py` (what to change).
Promises:
- `rows` never shows a half-applied state: an update, a first load or a re-synchronisation after a lost connection is
  applied in one synchronous step, and listeners get exactly the difference (deletes included) in one call;
- when `transact()` returns, everything that this transaction changed is already in `rows`;
- a load is worked on in slices, so that the event loop goes on (the JSON parse of one document is the largest step).
Servers without `monitor_cond_since` (before OVS 2.12) are not supported.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from ovnbridge.ovsdb import server, tables
from ovnbridge.ovsdb.errors import (
    NotConnected,
    OutcomeUnknown,
    ProtocolError,
    RequestError,
    SessionLost,
    TransactionError,
)
from ovnbridge.ovsdb.schema import DatabaseSchema
from ovnbridge.ovsdb.session import Session
from ovnbridge.ovsdb.tables import Changes, Rows, Tables
from ovnbridge.ovsdb.transport import Remote, TlsFiles, connect

Listener: TypeAlias = Callable[[Changes], None]
StateListener: TypeAlias = Callable[[str, str, str], None]

_NO_TRANSACTION = "00000000-0000-0000-0000-000000000000"
_FIRST_DELAY, _LAST_DELAY = 0.1, 5.0
_SAY_AGAIN = 60.0
"""Seconds after which a failure that goes on is told again; in between only to those who debug."""
_LARGE = 10_000

log = logging.getLogger(__name__)


class Database:
    """A replicated database. `run()` keeps it connected; all else is safe to call from the same event loop."""

    def __init__(
        self,
        *,
        name: str,
        remotes: Sequence[str],
        columns: Mapping[str, Sequence[str]],
        conditions: Mapping[str, Any] | None = None,
        leader_only: bool = True,
        tls: TlsFiles | None = None,
        probe_interval: float = 60.0,
        connect_timeout: float = 3.0,
    ) -> None:
        if not remotes:
            raise ValueError("no remotes")
        self.name = name
        self.synced = asyncio.Event()
        """Set while `rows` is complete and up to date."""
        self.schema: DatabaseSchema | None = None
        """The server's schema, the same object as long as it does not change; None before the first connection.
        Listeners find the new one when they are called after the load that follows a change of it."""
        self.generation = 0
        """Counts the times that the replica was synchronised."""
        self.rows: Rows = {table: {} for table in columns}
        """table → uuid → column → value; see `tables.py` for what may be done with it."""
        self.remote = ""
        self.server: server.ServerRow | None = None
        self._remotes = [Remote.parse(remote) for remote in remotes]
        self._texts = list(remotes)
        self._wanted = {table: tuple(names) for table, names in columns.items()}
        self._conditions = dict(conditions or {})
        self._reflected = self._conditions  # the conditions that `rows` is known to reflect
        self._leader_only = leader_only
        self._tls = tls
        self._probe_interval = probe_interval
        self._connect_timeout = connect_timeout
        self._listeners: list[Listener] = []
        self._state_listeners: list[StateListener] = []
        self._session: Session | None = None
        self._tables: Tables | None = None
        self._server_tables: Tables | None = None
        self._server_rows: Rows = {}
        self._server_changed = asyncio.Event()
        self._transaction = _NO_TRANSACTION
        self._cluster: str | None = None
        self._told: dict[tuple[str, str], float] = {}  # (remote, why it failed) → when that was logged

    @property
    def connected(self) -> bool:
        """Whether `rows` is complete and up to date."""
        return self.synced.is_set()

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` synchronously after each batch of changes, and after each synchronisation even if it
        brought none."""
        self._listeners.append(listener)

    def on_state(self, listener: StateListener) -> None:
        """Call `listener(state, remote, reason)` at every change of the connection's state."""
        self._state_listeners.append(listener)

    async def change_conditions(self, conditions: Mapping[str, Any]) -> None:
        """Replicate other rows from now on (ovsdb-server(7), 4.1.15): table → list of OVSDB conditions, one of which
        must hold; tables that are not named have none. Returns when `rows` holds what is wanted, or at once while there
        is no connection: the next one asks for it. Raises RequestError, and keeps the conditions, if they are refused.
        """
        before, wanted = self._conditions, dict(conditions)
        self._conditions = wanted
        if (session := self._session) is None:
            return
        changed = {
            table: [{"where": wanted.get(table, [True])}]
            for table in self._columns
            if wanted.get(table, [True]) != before.get(table, [True])
        }
        monitor = [self.name, "rows"]
        try:
            await session.send("monitor_cond_change", [monitor, monitor, changed])
        except SessionLost:
            return
        except RequestError:
            self._conditions = before
            raise
        self._reflected = wanted

    async def transact(self, operations: list[dict[str, Any]], *, timeout: float) -> list[Any]:
        """Execute operations as one transaction; returns their results.

        Raises TransactionError (refused, nothing committed), OutcomeUnknown, NotConnected (nothing sent) or TypeError
        (an operation is not JSON).
        """
        session = self._session
        if session is None or not self.synced.is_set():
            raise NotConnected(f"{self.name}: not connected")
        try:
            reply = session.send("transact", [self.name, *operations])
        except SessionLost as error:
            raise NotConnected(f"{self.name}: {error}") from error
        try:
            async with asyncio.timeout(timeout):
                results = await reply
        except TimeoutError:
            session.close(f"no reply to a transaction for {timeout:g} s")
            raise OutcomeUnknown(f"{self.name}: no reply for {timeout:g} s") from None
        except SessionLost as error:
            raise OutcomeUnknown(f"{self.name}: {error}") from error
        except RequestError as error:
            raise TransactionError(error.name, str(error), None) from error
        return _checked(results, len(operations))

    async def run(self) -> None:
        """Connect, replicate, reconnect, for ever. Cancel to stop."""
        delay, loop = _FIRST_DELAY, asyncio.get_running_loop()
        while True:
            for text, remote in zip(self._texts, self._remotes, strict=True):
                generation, began = self.generation, loop.time()
                try:
                    await self._connection(text, remote)
                except SessionLost as error:
                    self._state("disconnected", str(error))
                except (OSError, RequestError) as error:
                    self._state("failed", f"{type(error).__name__}: {error}")
                finally:
                    self._session = None
                    self.synced.clear()
                # It had worked for a while: someone else may be the leader at once. A server that takes us in and drops
                # us again and again is not to load everything at that rate.
                if self.generation != generation and loop.time() - began > _LAST_DELAY:
                    delay = _FIRST_DELAY
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, _LAST_DELAY)

    # -- one connection

    async def _connection(self, text: str, remote: Remote) -> None:
        self.remote = text
        self._state("connecting", "")
        reader, writer = await connect(remote, self._tls, self._connect_timeout)
        session = Session(
            reader, writer, probe_interval=self._probe_interval, notified=self._notified, closed=self.synced.clear
        )
        serving = asyncio.create_task(session.run())
        working = asyncio.create_task(self._converse(session))
        try:
            await asyncio.wait((serving, working), return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                session.close(str(working.exception()))
                working.result()
            await serving
        finally:
            self._session = None
            self.synced.clear()
            for task in (working, serving):
                task.cancel()
            await asyncio.gather(working, serving, return_exceptions=True)

    async def _converse(self, session: Session) -> None:
        """Handshake, load, then watch the server's role; ends when the session must be left."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                schema = await self._meet(session)
        except TimeoutError:
            raise SessionLost(f"handshake took more than {self._connect_timeout:g} s") from None
        self._prepare(schema)
        self._session = session
        wanted = {table: [self._request(table, names)] for table, names in self._columns.items()}
        reflected = self._conditions
        await session.send(
            "monitor_cond_since", [self.name, [self.name, "rows"], wanted, self._transaction], self._loaded
        )
        self._reflected = reflected
        while True:
            await self._server_changed.wait()
            self._server_changed.clear()
            row = self._judge()
            if self.server is not None and row.schema != self.server.schema:
                raise SessionLost("schema changed")
            self.server = row

    def _judge(self) -> server.ServerRow:
        """What the server says about itself; leaves one that will not do."""
        served = self._server_rows.get("Database", {})
        if (row := server.find(served, self.name)) is None:
            raise SessionLost(server.not_served(served))
        index = self.server.index if self.server is not None else 0
        reason = server.refusal(row, leader_only=self._leader_only, least_index=index, cluster=self._cluster)
        if reason is not None:
            raise SessionLost(reason)
        return row

    async def _meet(self, session: Session) -> DatabaseSchema:
        """Learn the server's role and schema; raises SessionLost if it will not do."""
        await session.send("set_db_change_aware", [True])
        self._server_changed.clear()
        served = _schema(await session.send("get_schema", ["_Server"]))
        known = tuple(c for c in server.COLUMNS if served.has_column("Database", c))
        self._server_tables = Tables(served, {"Database": known})
        await session.send(
            "monitor_cond", ["_Server", [self.name, "server"], {"Database": [{"columns": known}]}], self._server_loaded
        )
        row = self._judge()
        while row.schema is None:  # it has just joined its cluster
            await self._server_changed.wait()
            self._server_changed.clear()
            row = self._judge()
        self.server, self._cluster = row, row.cid
        # Not the row's own copy: OVS 3.1 leaves that at the old version after `ovsdb-client convert`.
        return _schema(await session.send("get_schema", [self.name]))

    def _prepare(self, schema: DatabaseSchema) -> None:
        """Choose the columns that this server knows. Where they, the schema or the conditions are not those that `rows`
        was made with, the last transaction id is worthless."""
        self._columns = {
            table: tuple(name for name in names if schema.has_column(table, name))
            for table, names in self._wanted.items()
            if schema.has_table(table)
        }
        if self._tables is None or self._tables.columns != self._columns or self._reflected != self._conditions:
            self._transaction = _NO_TRANSACTION
        if self.schema != schema:
            if self.schema is not None:
                self._state("schema changed", f"{self.schema.version} to {schema.version}")
            self._transaction = _NO_TRANSACTION
            self.schema = schema
        self._tables = Tables(schema, self._columns)

    def _request(self, table: str, names: tuple[str, ...]) -> dict[str, Any]:
        request: dict[str, Any] = {"columns": names}
        if table in self._conditions:
            request["where"] = self._conditions[table]
        return request

    # -- what the server says

    async def _server_loaded(self, updates: dict[str, Any]) -> None:
        assert self._server_tables is not None
        self._server_rows = await self._server_tables.load(updates)

    async def _loaded(self, result: list[Any]) -> None:
        """The reply to our monitor request: a difference to what we have, or everything."""
        assert self._tables is not None
        assert self._session is not None
        try:
            found, transaction, updates = result
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"monitor reply is malformed: {error}") from error
        result.clear()
        if found:
            for table in self._columns:
                self.rows.setdefault(table, {})
            changes = self._apply(self._tables, updates)
        else:
            changes = await self._resynchronise(self._tables, updates)
        self._transaction = transaction
        if not self._session.open:
            self._publish(changes)
            return
        self.generation += 1
        self.synced.set()
        self._state("synced", "resumed" if found else "loaded")
        self._publish(changes)

    async def _resynchronise(self, decoder: Tables, updates: dict[str, Any]) -> Changes:
        collecting = gc.isenabled()
        gc.disable()  # hundreds of thousands of live containers, no garbage: collections would only cost
        try:
            fresh = await decoder.load(updates)
            different = await tables.difference(self.rows, fresh)
            changes = tables.adopt(self.rows, different)
        finally:
            if collecting:
                gc.enable()
        if sum(map(len, changes.values())) >= _LARGE:
            gc.freeze()  # keeps later collections from walking through the replica
        return changes

    def _apply(self, decoder: Tables, updates: Any) -> Changes:
        """Apply an incremental update; raises ProtocolError, after which everything is loaded anew."""
        changes: Changes = {}
        try:
            decoder.apply(self.rows, updates, changes)
        except ProtocolError:
            self._transaction = _NO_TRANSACTION  # differences of sets must not be applied twice
            self._publish(changes)
            raise
        return changes

    async def _notified(self, method: str, params: list[Any]) -> None:
        match method, params:
            case "update3", [[self.name, "rows"], transaction, updates] if self._tables is not None:
                changes = self._apply(self._tables, updates)
                self._transaction = transaction
                if changes:
                    self._publish(changes)
            case "update2", [[self.name, "server"], updates] if self._server_tables is not None:
                self._server_tables.apply(self._server_rows, updates, {})
                self._server_changed.set()
            case "monitor_canceled", _:
                raise SessionLost("the server cancelled our monitor")
            case _:
                log.debug("ovsdb_notification_ignored", extra={"database": self.name, "method": method})

    def _publish(self, changes: Changes) -> None:
        for listener in self._listeners:
            listener(changes)

    def _state(self, state: str, reason: str) -> None:
        fields = {"database": self.name, "remote": self.remote, "state": state, "reason": reason}
        log.log(self._level(state, reason), "ovsdb_connection", extra=fields)
        for listener in self._state_listeners:
            listener(state, self.remote, reason)

    def _level(self, state: str, reason: str) -> int:
        """How loud a state is told: a failure once, and again each minute as long as nothing works."""
        if state == "connecting":
            return logging.DEBUG
        if state not in ("disconnected", "failed"):
            self._told.clear()
            return logging.INFO
        now, place = asyncio.get_running_loop().time(), (self.remote, reason)
        if now - self._told.get(place, -_SAY_AGAIN) < _SAY_AGAIN:
            return logging.DEBUG
        self._told[place] = now
        return logging.WARNING


def _schema(document: Any) -> DatabaseSchema:
    try:
        return DatabaseSchema.from_json(document)
    except (AttributeError, KeyError, TypeError) as error:
        raise ProtocolError(f"not a schema: {error!r}") from error


def _checked(results: Any, count: int) -> list[Any]:
    """The results of a transaction of `count` operations; raises what they say (RFC 7047, 4.1.3)."""
    if not isinstance(results, list):
        raise OutcomeUnknown("transaction reply is not an array")
    for index, result in enumerate(results):
        if isinstance(result, dict) and "error" in result:
            error, details = str(result["error"]), str(result.get("details", ""))
            if error == "cluster error":  # leadership was lost half-way: may or may not be in the log
                raise OutcomeUnknown(f"{error}: {details}")
            raise TransactionError(error, details, index if index < count else None)
    return results[:count]

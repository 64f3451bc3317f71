"""The local Open vSwitch: writes what `ovs_rows` finds missing, and wakes who waits for something to appear.

Fed by the replica of the local database (`ovsdb/`, injected). Writes of many callers that come while one transaction
is under way go together in the next one, since vswitchd reconfigures once a transaction.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from ovnbridge.model.ovn import VENDOR
from ovnbridge.node import ovs_rows
from ovnbridge.node.names import INTEGRATION_BRIDGE
from ovnbridge.node.ovs_rows import INSTALLED, Operation, Rows

log = logging.getLogger(__name__)

TRANSACTION_SECONDS: Final = 30.0
_ATTEMPTS: Final = 3
Compute: TypeAlias = Callable[[str], list[Operation]]
"""Operations that are missing now; the argument is a token for names that must be unique in a transaction."""


Changes: TypeAlias = Mapping[str, Mapping[str, Any]]
"""table → uuid → change with `old` (None for a new row) and `new` (None for one that is gone)."""


class Database(Protocol):
    """What is needed of `ovsdb.client.Database`."""

    @property
    def rows(self) -> Rows:
        """table → uuid → column → value."""

    @property
    def synced(self) -> asyncio.Event:
        """Set while `rows` is complete."""

    def subscribe(self, listener: Callable[[Any], None]) -> None:
        """Call `listener` after each batch of changes."""

    async def transact(self, operations: list[dict[str, Any]], *, timeout: float) -> list[Any]:
        """Execute operations as one transaction."""


class SwitchError(Exception):
    """Open vSwitch did not do what was asked."""


class _Write:
    def __init__(self, compute: Compute, done: asyncio.Future[bool]) -> None:
        self.compute = compute
        self.done = done


class LocalSwitch:
    """See the module's docstring."""

    def __init__(self, database: Database, *, failures: tuple[type[Exception], ...]) -> None:
        """`failures`: what `database.transact` raises."""
        self._database = database
        self._failures: tuple[type[Exception], ...] = (*failures, TimeoutError)
        self._queue: list[_Write] = []
        self._flushing: asyncio.Task[None] | None = None
        self._changed: set[asyncio.Event] = set()
        self._listeners: list[Callable[[Changes], None]] = []
        self._tokens = itertools.count(1)
        self._interfaces: dict[str, str] = {}
        self.transactions = 0
        """Counts the transactions that were sent."""
        database.subscribe(self._on_change)

    @property
    def rows(self) -> Rows:
        """The replica."""
        return self._database.rows

    @property
    def ready(self) -> bool:
        """Whether the replica is complete."""
        return self._database.synced.is_set()

    async def synced(self) -> None:
        """Wait until the replica is complete."""
        await self._database.synced.wait()

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` with what changed."""
        self._listeners.append(listener)

    # ---- what is there

    def interface(self, name: str) -> Mapping[str, Any] | None:
        """The Interface row of that name."""
        table = self.rows.get("Interface", {})
        row = table.get(self._interfaces.get(name, ""))
        if row is not None and row["name"] == name:
            return row
        found = ovs_rows.find(self.rows, "Interface", name)
        if found is None:
            self._interfaces.pop(name, None)
            return None
        self._interfaces[name] = found[0]
        return found[1]

    def bridge(self, name: str) -> Mapping[str, Any] | None:
        """The Bridge row of that name."""
        found = ovs_rows.find(self.rows, "Bridge", name)
        return found[1] if found else None

    def interfaces(self) -> Iterable[Mapping[str, Any]]:
        """All Interface rows."""
        return self.rows.get("Interface", {}).values()

    def external_ids(self) -> Mapping[str, str]:
        """external_ids of Open_vSwitch."""
        for row in self.rows.get("Open_vSwitch", {}).values():
            ids: Mapping[str, str] = row["external_ids"]
            return ids
        return {}

    @property
    def userspace(self) -> bool:
        """Whether pods are connected to a userspace datapath."""
        bridge = self.bridge(INTEGRATION_BRIDGE)
        if bridge is not None:
            return bool(bridge["datapath_type"] == "netdev")
        return self.external_ids().get("ovn-bridge-datapath-type") == "netdev"

    def bridges_by_port(self) -> dict[str, str]:
        """Bridge of each port of bridges that Kube-OVN or we made for a physical network."""
        ports = self.rows.get("Port", {})
        return {
            ports[uuid]["name"]: bridge["name"]
            for bridge in self.rows.get("Bridge", {}).values()
            if bridge["external_ids"].get("vendor") == VENDOR
            for uuid in bridge["ports"]
            if uuid in ports and ports[uuid]["name"] != bridge["name"]
        }

    # ---- writing

    async def ensure_bridge(self, name: str = INTEGRATION_BRIDGE) -> bool:
        """The bridge exists. True when something was written."""
        kind = self.external_ids().get("ovn-bridge-datapath-type", "")
        return await self._write(lambda t: ovs_rows.ensure_bridge(self.rows, name, datapath_type=kind, token=t))

    async def ensure_port(
        self, name: str, external_ids: Mapping[str, str | None], *, kind: str = "", mtu_request: int = 0
    ) -> bool:
        """The port is on br-int with these external_ids."""
        return await self._write(
            lambda t: ovs_rows.ensure_port(self.rows, name, external_ids, token=t, kind=kind, mtu_request=mtu_request)
        )

    async def remove_port(self, name: str) -> bool:
        """The port is gone."""
        return await self._write(lambda _: ovs_rows.remove_port(self.rows, name))

    async def set_external_ids(self, wanted: Mapping[str, str | None]) -> bool:
        """Entries of Open_vSwitch external_ids."""
        return await self._write(lambda _: ovs_rows.set_open_vswitch_ids(self.rows, wanted))

    async def _write(self, compute: Compute) -> bool:
        """Commit what `compute` finds missing. Raises SwitchError. True when something was written."""
        if not self.ready:
            raise SwitchError("not connected to the local Open vSwitch database")
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append(_Write(compute, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="ovs-writer")
        # Cancellation must not leave the outcome open: the caller undoes what it did.
        return await asyncio.shield(done)

    async def _flush(self) -> None:
        await asyncio.sleep(0)
        while self._queue:
            batch, self._queue = self._queue, []
            try:
                await self._commit(batch)
            except self._failures as error:
                if len(batch) == 1:
                    _fail(batch[0], error)
                    continue
                for write in batch:
                    try:
                        await self._commit([write])
                    except self._failures as single:
                        _fail(write, single)

    async def _commit(self, batch: list[_Write]) -> None:
        """One transaction for all; raises when the database did not take it."""
        for attempt in range(_ATTEMPTS):
            operations: list[Operation] = []
            pending = []
            for write in batch:
                if write.done.done():
                    continue
                try:
                    own = write.compute(f"n{next(self._tokens)}")
                except LookupError as error:
                    _fail(write, error)
                    continue
                pending.append((write, bool(own)))
                operations += own
            if operations:
                operations += ovs_rows.next_configuration(self.rows)
                self.transactions += 1
                try:
                    await self._database.transact(operations, timeout=TRANSACTION_SECONDS)
                except self._failures:
                    # The outcome may be unknown, or the replica was behind: what is missing is computed afresh.
                    if attempt == _ATTEMPTS - 1:
                        raise
                    async with asyncio.timeout(TRANSACTION_SECONDS):
                        await self._database.synced.wait()
                    continue
            for write, wrote in pending:
                if not write.done.done():
                    write.done.set_result(wrote)
            return

    # ---- waiting

    async def until(self, condition: Callable[[], bool], *, timeout: float) -> bool:
        """Wait until `condition` holds; False when it did not in time."""
        if condition():
            return True
        event = asyncio.Event()
        self._changed.add(event)
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    event.clear()
                    await event.wait()
        except TimeoutError:
            return condition()
        finally:
            self._changed.discard(event)
        return True

    def installed(self, name: str) -> bool:
        """Whether ovn-controller has programmed the interface's flows."""
        row = self.interface(name)
        return row is not None and row["external_ids"].get(INSTALLED) == "true"

    def _on_change(self, changes: Changes) -> None:
        for event in self._changed:
            event.set()
        for listener in self._listeners:
            listener(changes)


def changed_names(changes: Changes, table: str, *, also_modified: bool = True) -> set[str]:
    """Names of the rows of a table that came or went, or changed at all."""
    found = set()
    for change in changes.get(table, {}).values():
        if also_modified or change.old is None or change.new is None:
            row = change.new if change.new is not None else change.old
            found.add(row["name"])
    return found


def _fail(write: _Write, error: Exception) -> None:
    log.warning("ovs write failed error=%s", error)
    if not write.done.done():
        write.done.set_exception(SwitchError(str(error)))

"""The pump: World changes → engine slices → touched keys to the committer, the object writer and the allocator.

Woken by sources; works in slices so that the loop is never held for long; never waits for a sink. Sinks pull the
difference for a key when they get to it (`Differ` for rows, `items` for objects), so a burst coalesces by itself and a
failed write needs no memory other than its key.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from ovnbridge.engine.desired import ObjectKey, RowKey
from ovnbridge.engine.engine import Engine
from ovnbridge.engine.items import Item, Member, ObjectItem
from ovnbridge.engine.world import World
from ovnbridge.model.ovn import Atom, Key, Ref
from ovnbridge.reactor.allocator import Allocator
from ovnbridge.reactor.check import Checked, SelfCheck

log = logging.getLogger(__name__)

SLICE: Final = 0.02
"""Seconds of evaluation before other tasks get their turn."""
_STEPS: Final = 16
"""Steps between two looks at the clock: those of a burst's pods take a third of a millisecond each."""
USAGE_INTERVAL: Final = 1.0
"""Least time in seconds between two publications of subnets' counts during a burst."""


class RowSink(Protocol):
    """The committer, as the reactor sees it."""

    def touch(self, keys: Iterable[RowKey], *, urgent: bool = False) -> None:
        """These rows may differ from what is desired."""

    def busy(self, table: str, key: Key) -> bool:
        """Whether a row is being written or waits for it."""

    def idle(self) -> bool:
        """Whether nothing is left to be compared or written."""


class ObjectSink(Protocol):
    """The object writer, as the reactor sees it."""

    def touch(self, kind: str, key: str, *, urgent: bool = False) -> None:
        """This object may differ from what is desired."""


class Reactor:
    """One World, one engine, and the sinks that they feed."""

    def __init__(self, *, world: World, engine: Engine) -> None:
        self.world = world
        self.engine = engine
        self.allocator = Allocator(
            world=world, desired=engine.desired, touch=self._touch_object, usage_changed=self._usage_changed
        )
        self._partial: dict[RowKey, set[tuple[str, Atom]]] = {}
        self._whole: set[RowKey] = set()
        self._unconfirmed: dict[RowKey, set[tuple[str, Atom]] | None] = {}
        """Rows that were compared, and which members if not all of it, whose outcome is not known to be committed."""
        self._wake = asyncio.Event()
        self._rows: RowSink | None = None
        self._objects: ObjectSink | None = None
        self._owned_rows: Callable[[], Iterable[RowKey]] = tuple
        self._referring: tuple[tuple[Item, ...], dict[Atom, list[Member]]] = ((), {})
        """The items of the unit whose row appeared last, and its members by their values."""
        self._leftovers: dict[RowKey, None] = {}
        """Existing rows that nobody desires, to be compared when all desired ones have been."""
        self._waiting: dict[ObjectKey, None] = {}
        self._usage_due: float | None = None
        self._deciding = False
        self.idle = asyncio.Event()
        self.checks = SelfCheck(self)

    def wake(self) -> None:
        """Something in the World changed."""
        self.idle.clear()
        self._wake.set()

    # -- sinks -----------------------------------------------------------------------------------------------------

    def attach(self, *, rows: RowSink, objects: ObjectSink, actual_rows: Callable[[], Iterable[RowKey]]) -> None:
        """Start writing: everything desired and everything that exists is compared once, from here on changes only.

        Call it when all sources are complete; claims are answered from now on.
        """
        self._rows, self._objects, self._owned_rows = rows, objects, actual_rows
        self._deciding = True
        desired = self.engine.desired
        self.allocator.touch_claims([*desired.claims(), *self.world.keys("IP")])
        self.touch_all()
        for kind, key in desired.object_keys():
            objects.touch(kind, key)
        self.wake()

    def detach(self) -> None:
        """Stop writing; sources and engine go on (a warm standby)."""
        self._rows = self._objects = None
        self._leftovers = {}
        self._deciding = False

    def touch_all(self) -> None:
        """Compare every row, desired or existing (after a resynchronised database).

        What nobody desires is looked at when the desired rows are written: after a takeover, or with other settings,
        the old way of connecting things works until the new one does.
        """
        if self._rows is None:
            return
        keys = self._desired_rows()
        self._leftovers = {row: None for row in self._owned_rows() if row not in keys}
        self._touch_rows(keys)
        self._compare_leftovers()

    def _compare_leftovers(self) -> None:
        if self._leftovers and self._rows is not None and self._rows.idle():
            leftovers, self._leftovers = self._leftovers, {}
            self._touch_rows(leftovers)

    def all_rows(self) -> Iterable[RowKey]:
        """Every row, desired or existing; none while nothing is written."""
        if self._rows is None:
            return ()
        keys = self._desired_rows()
        keys.update(dict.fromkeys(self._owned_rows()))
        return keys

    def _desired_rows(self) -> dict[RowKey, None]:
        keys = dict.fromkeys(self.engine.desired.row_keys())
        keys.update(dict.fromkeys(self.engine.desired.member_keys()))
        return keys

    def rows_changed(self, keys: Iterable[RowKey]) -> None:
        """The database notified changes of these rows, or writing them failed: compare them completely."""
        self._touch_rows(dict.fromkeys(keys))

    def members_changed(self, row: RowKey, members: set[tuple[str, Atom]]) -> None:
        """The database notified that these members of a row came or went: compare only them."""
        self._touch_members(row, members)

    def object_changed(self, kind: str, key: str) -> None:
        """An object that something is wanted of has changed: it is compared, whatever is wanted now."""
        if self._objects is not None and self.engine.desired.items(kind, key):
            self._touch_object(kind, key)

    def row_appeared(self, table: str, key: Key) -> None:
        """A row exists anew: sets that should hold a weak reference to it lost it meanwhile and are compared again."""
        owner = self.engine.desired.row_owner(table, key)
        if owner is None or self._rows is None:
            return
        items = self.engine.desired.snapshot_of(owner)
        if self._referring[0] is not items:  # the rows of one unit appear one after the other
            found: dict[Atom, list[Member]] = {}
            for item in items:
                if isinstance(item, Member):
                    found.setdefault(item.value, []).append(item)
            self._referring = items, found
        for item in self._referring[1].get(Ref(table, key), ()):
            self._touch_members((item.table, item.key), {(item.column, item.value)})

    def committed(self, keys: Sequence[RowKey]) -> None:
        """Rows are as desired now: statuses that waited for it may be written."""
        for row in keys:
            self._unconfirmed.pop(row, None)
        # Walking over an emptied dict or set takes as long as when it was fullest.
        if not self._unconfirmed:
            self._unconfirmed = {}
        if not self._whole:
            self._whole = set()
        if not self._partial:
            self._partial = {}
        if self._waiting and keys:
            waiting, self._waiting = self._waiting, {}
            for kind, key in waiting:
                self._touch_object(kind, key)
        self._compare_leftovers()

    # -- what the object writer asks -------------------------------------------------------------------------------

    def items(self, kind: str, key: str) -> Sequence[ObjectItem]:
        """Desired items about an object, as it is now: what was wanted for a predecessor is not written to it."""
        if self.engine.refresh(kind, key):
            self._hand_over_touched()  # `blocked` must know of the rows that this has changed
            self.wake()
        return self.engine.desired.items(kind, key)

    def lease_body(self, kind: str, key: str) -> Mapping[str, Any] | None:
        """The object that must exist, of kinds that we own completely (IP)."""
        return self.allocator.body(key) if kind == "IP" else None

    def owned(self, kind: str, key: str, actual: Any) -> bool:
        """Whether an existing object of a kind that we own completely must go."""
        if kind != "IP" or not self.allocator.end(key, actual):
            return False
        if self.world.has_changes():
            self.wake()
        return True

    def blocked(self, kind: str, key: str) -> bool:
        """Whether a status must wait for rows of the same object to be committed."""
        rows = self._rows
        if rows is None:
            return True
        doubtful = (self._partial.keys(), self._whole, self._unconfirmed.keys())
        for unit in self.engine.units_for(kind, key):
            wanted = self.engine.desired.rows_of(unit)
            if sum(map(len, doubtful)) < len(wanted):  # one of the few units with many rows, of which few change
                wanted = {row for group in doubtful for row in group if row in wanted}
            if any(rows.busy(*row) for row in wanted):
                self._waiting[(kind, key)] = None
                return True
        return False

    # -- pumping ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Pump until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if self._usage_due is None:
                await self._wake.wait()
            else:
                try:
                    async with asyncio.timeout_at(self._usage_due):
                        await self._wake.wait()
                except TimeoutError:
                    pass
            self._wake.clear()
            if self._usage_due is not None and loop.time() >= self._usage_due:
                self._usage_due = None
                self.allocator.publish_usage()
            while self.pump():
                await asyncio.sleep(0)
            if not self._wake.is_set() and self._usage_due is None:
                self.idle.set()

    def settle(self) -> None:
        """Pump until nothing is left, without yielding (dry runs and tests)."""
        while self.pump():
            pass
        self.allocator.publish_usage()
        while self.pump():
            pass

    async def settled(self) -> None:
        """Pump until nothing is left, letting other tasks run between slices (start-up)."""
        while self.pump():
            await asyncio.sleep(0)
        self.allocator.publish_usage()
        while self.pump():
            await asyncio.sleep(0)

    def pump(self) -> bool:
        """One slice of evaluation and hand-over. Returns whether work is left."""
        end = time.monotonic() + SLICE
        more = self.engine.settle(_STEPS)
        while more and time.monotonic() < end:
            more = self.engine.settle(_STEPS)
        self._hand_over_touched()
        if self._deciding:
            more = self.allocator.decide(256) or more
        return more or self.world.has_changes()

    async def self_check(self) -> Checked:
        """Compare everything that is kept with what the World wants and the database holds, and put right what differs.

        Returns what was found; `checks.total` has it for all passes. See `reactor/check.py`.
        """
        return await self.checks.run()

    async def check_periodically(self, interval: float) -> None:
        """`self_check` every `interval` seconds, until cancelled; the first one after that time."""
        while True:
            await asyncio.sleep(interval)
            await self.self_check()

    def under_way(self, row: RowKey) -> bool:
        """Whether a row is being written or waits for it."""
        return row in self._whole or row in self._partial or (self._rows is not None and self._rows.busy(*row))

    def members_to_compare(self, row: RowKey) -> set[tuple[str, Atom]] | None:
        """Which members of a row the next comparison may be limited to; None for all of it.

        What was compared before is compared again as long as the outcome is not known to be committed.
        """
        parts = [part[row] for part in (self._partial, self._unconfirmed) if row in part]
        members = set[tuple[str, Atom]]().union(*(part for part in parts if part is not None))
        whole = row in self._whole or not parts or None in parts
        self._partial.pop(row, None)
        self._whole.discard(row)
        self._unconfirmed[row] = None if whole else members
        return self._unconfirmed[row]

    def compared(self, row: RowKey, different: set[tuple[str, Atom]] | None) -> None:
        """What a comparison found different: these members, or (None) more than members.

        Only that is compared again: in a burst a row is touched again and again before its commit is reported.
        """
        if different is None or different:
            self._unconfirmed[row] = different
        else:
            self._unconfirmed.pop(row, None)

    def _touch_rows(self, rows: Iterable[RowKey]) -> None:
        if self._rows is not None:
            self._whole.update(rows)
            self._rows.touch(rows)

    def _hand_over_touched(self) -> None:
        """Tell the sinks and the allocator what evaluation has changed."""
        touched = self.engine.desired.take_touched()
        if touched.pools:
            self.allocator.follow_pools(touched.pools)
        self.allocator.touch_claims(touched.claims)
        if self._rows is not None:
            self._hand_over(touched.rows)
            if touched.released:
                self.touch_all()
                self.allocator.touch_unclaimed()
            self._compare_leftovers()  # the last desired row may have been refused
        for kind, key in touched.objects:
            self._touch_object(kind, key)

    def _hand_over(self, rows: Mapping[RowKey, set[tuple[str, Atom]] | None]) -> None:
        whole = [row for row, members in rows.items() if members is None]
        if whole:
            self._touch_rows(whole)
        for row, members in rows.items():
            if members is not None:
                self._touch_members(row, members)

    def _touch_members(self, row: RowKey, members: set[tuple[str, Atom]]) -> None:
        if self._rows is None:
            return
        if row not in self._whole:
            self._partial.setdefault(row, set()).update(members)
        self._rows.touch((row,))

    def _touch_object(self, kind: str, key: str) -> None:
        if self._objects is not None:
            # A pod waits for its annotations; leases of the pods behind it in a burst do not overtake it.
            self._objects.touch(kind, key, urgent=kind == "Pod")

    def _usage_changed(self) -> None:
        if self._usage_due is None:
            try:
                self._usage_due = asyncio.get_running_loop().time() + USAGE_INTERVAL
            except RuntimeError:
                return
            self.wake()

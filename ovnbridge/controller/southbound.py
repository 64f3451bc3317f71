"""OVN SB, as far as something is wanted of it: nodes' chassis (spec D.4, H.6; `compile/chassis.py`).

The other side of the same engine: rows of SB's tables are desired beside NB's, and compared with SB's here. Everything
else works without it; what is wanted of SB waits until it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from ovnbridge.compile.chassis import CHASSIS, left_over, registered
from ovnbridge.controller.followed import RowFacts
from ovnbridge.engine.desired import DesiredStore, RowKey
from ovnbridge.engine.diff import ActualRow, Change, Delete, Differ
from ovnbridge.engine.world import World
from ovnbridge.model.ovn import SOUTHBOUND, Key
from ovnbridge.ovsdb.replica import Replica, Replicated, monitored_columns
from ovnbridge.ovsdb.schema import DatabaseSchema
from ovnbridge.ovsdb.tables import Changes
from ovnbridge.reactor import RowSink

SB_COLUMNS: Final = monitored_columns(SOUTHBOUND)
"""SB columns to replicate."""
_PRIVATE: Final = "Chassis_Private"


class Southbound:
    """Replica and differ of SB. `changed` is told of the rows of each batch of changes."""

    def __init__(
        self, database: Replicated, world: World, desired: DesiredStore, changed: Callable[[set[RowKey], bool], None]
    ) -> None:
        self.replica = Replica(database, SOUTHBOUND)
        self.database = database
        self._world = world
        self._changed = changed
        self._touched: set[RowKey] = set()
        self._schema: DatabaseSchema | None = None
        self._facts = RowFacts(world, self.replica.key_of)
        self._differ = Differ(desired=desired, actual=self.replica, facts=SOUTHBOUND, owns=self.owns)
        self.replica.subscribe(self._touched.update)
        database.subscribe(self._database_changed)  # after the replica, which knows the keys by then

    def schema(self) -> dict[str, bool]:
        """What the server can hold, `TABLE.column`; nothing while there is no server."""
        known = self.database.schema
        if known is None:
            return {}
        columns = ((t.name, c) for t in SOUTHBOUND.values() for c in t.columns)
        return {f"{table}.{column}": known.has_column(table, column) for table, column in columns}

    def _database_changed(self, changes: Changes) -> None:
        touched = self._touched.copy()
        self._touched.clear()
        self._facts.follow(changes)
        fresh = self.database.schema is not self._schema
        self._schema = self.database.schema
        self._changed(touched, fresh)

    def diff(self, table: str, key: Key) -> list[Change]:
        """What must be written for one row. What a chassis tells in private goes with it."""
        changes = self._differ.diff(table, key)
        private = self.replica.find(_PRIVATE, key)
        if table == CHASSIS and private is not None and any(isinstance(change, Delete) for change in changes):
            changes.append(Delete(_PRIVATE, key, private.uuid, None))
        return changes

    def owned_rows(self) -> Iterable[RowKey]:
        """Keys of all rows that may be left over."""
        return [(CHASSIS, key) for key in self.replica.keys(CHASSIS)]

    def owns(self, table: str, row: ActualRow) -> bool:
        """Whether a row that nobody desires is ours to delete."""
        return table == CHASSIS and left_over(self._world.get, str(row.columns["name"]), registered(row.columns))


class Sinks:
    """The committers of both databases as one sink (`reactor.RowSink`): each is told of its own tables' rows."""

    def __init__(self, north: RowSink, south: RowSink | None) -> None:
        self._north = north
        self._south = south

    def touch(self, keys: Iterable[RowKey], *, urgent: bool = False) -> None:
        """These rows may differ from what is desired."""
        mine: list[RowKey] = []
        theirs: list[RowKey] = []
        for key in keys:
            (theirs if key[0] in SOUTHBOUND else mine).append(key)
        if mine:
            self._north.touch(mine, urgent=urgent)
        if theirs and self._south is not None:
            self._south.touch(theirs, urgent=urgent)

    def busy(self, table: str, key: Key) -> bool:
        """Whether a row is being written or waits for it."""
        if table not in SOUTHBOUND:
            return self._north.busy(table, key)
        return self._south is not None and self._south.busy(table, key)

    def idle(self) -> bool:
        """Whether nothing is left to be written to NB: SB may be away."""
        return self._north.idle()

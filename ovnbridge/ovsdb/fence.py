"""The fence: a write of a leader that has been replaced is refused by the database itself.

Used by `committer.py`: `NB_Global.external_ids["ovnbridge-epoch"]` (`SB_Global` in SB) names the leader that writes,
and every transaction begins with a `wait` for it. The epoch is claimed lazily, by the first transaction that has
something to write, so a leader that finds everything in order writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ovnbridge.ovsdb.errors import Deposed

NORTHBOUND_TABLE: Final = "NB_Global"
SOUTHBOUND_TABLE: Final = "SB_Global"
COLUMN: Final = "external_ids"
KEY: Final = "ovnbridge-epoch"
_UNREAD: Final = "(not read)"


class Fence:
    """One leader's term in one database. `epoch` must be new in every term; `table` has the database's global row."""

    def __init__(self, epoch: str, table: str = NORTHBOUND_TABLE) -> None:
        self.epoch = epoch
        self.table = table
        self.claimed = False
        """Whether a transaction of ours has set the epoch."""
        self._previous: str | None = _UNREAD

    @property
    def begun(self) -> bool:
        return self._previous != _UNREAD

    def begin(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """The term begins: whose epoch there is now, we may replace; anyone else's that comes later deposes us."""
        if not self.begun:
            self._previous = _epoch(rows)

    def check(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Compare with what the database says; raises Deposed."""
        current = _epoch(rows)
        if current == self.epoch:
            self.claimed = True
        elif current is None:  # never set, or the database was emptied: to be claimed (again)
            self.claimed, self._previous = False, None
        elif self.claimed or current != self._previous:
            raise Deposed(f"the epoch in {self.table} is {current!r}, ours is {self.epoch!r}")

    def waits(self, rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The operations that a transaction must begin with."""
        if not rows:
            return [self._wait([], [], "==")]
        ((uuid, row),) = rows.items()
        if not self.claimed and self._previous is None:
            # OVSDB has no condition "the map lacks this key": nothing else may have changed either.
            unchanged = {COLUMN: ["map", list(row[COLUMN].items())]}
            return [self._wait([["_uuid", "==", ["uuid", uuid]]], [unchanged], "==", COLUMN)]
        epoch = self.epoch if self.claimed else self._previous
        return [self._wait([[COLUMN, "includes", ["map", [[KEY, epoch]]]]], [], "!=")]

    def claims(self, uuid: str) -> list[dict[str, Any]]:
        """The operations that set our epoch on the row, none if it is set."""
        if self.claimed:
            return []
        mutations = [[COLUMN, "delete", ["set", [KEY]]], [COLUMN, "insert", ["map", [[KEY, self.epoch]]]]]
        return [
            {"op": "mutate", "table": self.table, "where": [["_uuid", "==", ["uuid", uuid]]], "mutations": mutations}
        ]

    def _wait(self, where: list[Any], rows: list[Any], until: str, column: str = "_uuid") -> dict[str, Any]:
        return {
            "op": "wait",
            "timeout": 0,
            "table": self.table,
            "where": where,
            "columns": [column],
            "until": until,
            "rows": rows,
        }


def _epoch(rows: Mapping[str, Mapping[str, Any]]) -> str | None:
    for row in rows.values():
        epoch: str | None = row[COLUMN].get(KEY)
        return epoch
    return None

"""The stock python-ovs IDL as an independent judge of what a database holds."""

from __future__ import annotations

import copy
import time
from typing import Any

import ovs.db.idl
import ovs.db.types
import ovs.poller

Tables = dict[str, dict[str, dict[str, Any]]]


class Oracle:
    """An IDL that is run by hand."""

    def __init__(self, remote: str, schema: dict[str, Any], *, leader_only: bool = True) -> None:
        helper = ovs.db.idl.SchemaHelper(None, _relaxed(schema))
        helper.register_all()
        self.idl = ovs.db.idl.Idl(remote, helper, leader_only=leader_only)
        reconnect = self.idl._session.reconnect  # which would wait for a second at least, and double that
        reconnect.min_backoff = reconnect.max_backoff = 10

    def run_until(self, done: Any, deadline: float = 20.0) -> None:
        ends = time.monotonic() + deadline
        while True:
            self.idl.run()
            if self.idl.state == self.idl.IDL_S_MONITORING and done(self.tables()):
                return
            if time.monotonic() > ends:
                raise TimeoutError("the stock IDL did not get there")
            poller = ovs.poller.Poller()
            self.idl.wait(poller)
            poller.timer_wait(200)
            poller.block()

    def tables(self) -> Tables:
        return {
            name: {str(uuid): self._row(table, row) for uuid, row in dict(table.rows).items()}
            for name, table in self.idl.tables.items()
        }

    def _row(self, table: Any, row: Any) -> dict[str, Any]:
        return {name: value(column.type, row._data[name]) for name, column in table.columns.items()}

    def close(self) -> None:
        self.idl.close()


def _relaxed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without upper bounds of sets and maps.

    A difference may have more elements than the column (everything that went and everything that came). python-ovs
    4.0.0 holds it to the column's own bound, logs "error parsing column" and keeps the old value; the C IDL does not.
    """
    schema = copy.deepcopy(schema)
    for table in schema["tables"].values():
        for column in table["columns"].values():
            if isinstance(kind := column["type"], dict) and kind.get("max", 1) != 1:
                kind["max"] = "unlimited"
    return schema


def value(kind: Any, datum: Any) -> Any:
    """A Datum in our notation."""
    values = {atom(k): atom(v) for k, v in datum.values.items()}
    if kind.is_map():
        return values
    if kind.n_max != 1:
        return frozenset(values)
    if kind.n_min == 0:
        return next(iter(values), None)
    (only,) = values
    return only


def atom(item: Any) -> Any:
    if item is None:
        return None
    raw = item.value
    while isinstance(raw, ovs.db.data.Atom):  # python-ovs nests the defaults of mandatory scalars
        raw = raw.value
    return str(raw) if item.type == ovs.db.types.UuidType else raw

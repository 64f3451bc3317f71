"""A desired state made of rows, and everything between it and a server: for tests of the committer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from ovnbridge.engine.desired import DesiredStore, UnitKey
from ovnbridge.engine.diff import ActualRow, Change, Differ
from ovnbridge.engine.items import Item, Member, Row
from ovnbridge.model.ovn import NORTHBOUND, VENDOR, Key, Ref, TableFacts
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.committer import Committer
from ovnbridge.ovsdb.replica import Replica, RowKey, monitored_columns
from tests.support.ovsdb import running


def switch(name: str) -> Row:
    return Row("Logical_Switch", name, {"name": name, "external_ids": {"vendor": VENDOR}})


def port(name: str, on: str, **columns: Any) -> Row:
    return Row(
        "Logical_Switch_Port",
        name,
        {
            "name": name,
            "addresses": frozenset({f"00:00:00:00:00:01 {name}"}),
            "external_ids": {"vendor": VENDOR, "ls": on, "pod": f"default/{name}"},
            **columns,
        },
        Ref("Logical_Switch", on),
    )


def group(name: str) -> Row:
    return Row("Port_Group", name, {"name": name, "external_ids": {"vendor": VENDOR}}, members=("ports",))


def member(of: str, name: str) -> Member:
    return Member("Port_Group", of, "ports", Ref("Logical_Switch_Port", name))


def acl(parent: str, priority: int, match: str, table: str = "Port_Group") -> Row:
    key: Key = (parent, "to-lport", priority, match, 0)
    columns = {"direction": "to-lport", "priority": priority, "match": match, "action": "drop"}
    return Row("ACL", key, {**columns, "external_ids": {"vendor": VENDOR}}, Ref(table, parent))


def owns(table: str, row: ActualRow) -> bool:
    return row.columns.get("external_ids", {}).get("vendor") == VENDOR


class World:
    """Desired rows, a database, its replica and a committer."""

    def __init__(
        self,
        remotes: Iterable[str],
        *,
        facts: Mapping[str, TableFacts] = NORTHBOUND,
        name: str = "OVN_Northbound",
        database: Mapping[str, Any] | None = None,
        **committer: Any,
    ) -> None:
        self.desired = DesiredStore()
        self.database = Database(name=name, remotes=list(remotes), columns=monitored_columns(facts), **(database or {}))
        self.replica = Replica(self.database, facts)
        self.differ = Differ(desired=self.desired, actual=self.replica, facts=facts, owns=owns)
        self.diffs: list[RowKey] = []
        self.errors: list[tuple[str, Key, str]] = []
        self.commits: list[RowKey] = []
        self.committer = Committer(
            self.database,
            self.replica,
            self.diff,
            facts=facts,
            on_error=lambda table, key, text: self.errors.append((table, key, text)),
            on_commit=self.commits.extend,
            **committer,
        )
        self.replica.subscribe(self.committer.touch)

    def diff(self, table: str, key: Key) -> list[Change]:
        self.diffs.append((table, key))
        return self.differ.diff(table, key)

    def want(self, unit: str, *items: Item) -> None:
        """Replace what one unit desires."""
        self.desired.set(UnitKey("test", unit), items)
        self.committer.touch(self.desired.take_touched().rows)

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[World]:
        """Everything runs and is synchronised."""
        async with running(self.database.run(), self.committer.run()):
            await self.database.synced.wait()
            yield self

    def actual(self, table: str) -> dict[Key, dict[str, Any]]:
        rows = self.database.rows[table]
        return {key: rows[self.replica.uuid_of(Ref(table, key))] for key in self.replica.keys(table)}

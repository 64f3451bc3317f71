"""Rows and transactions that a server refuses, each in its own way: the bad row is named, all others land."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovnbridge.engine.items import Row
from tests.ovsdb.test_committer import settled
from tests.ovsdb.test_faults import rows
from tests.ovsdb.world import World, acl, group, port, switch
from tests.support.ovsdb import NB_SCHEMA, Server, eventually

NOWHERE = "00000000-0000-4000-8000-00000000dead"
BAD = {
    "constraint violation": port("bad", "ls1", tag=-5),
    "referential integrity violation": Row("Logical_Switch", "bad", {"name": "bad", "acls": frozenset({NOWHERE})}),
    "syntax error": port("bad", "ls1", tag="text"),
    "not JSON": Row("Logical_Switch", "bad", {"name": "\ud800"}),
    "unknown table": Row("BFD", ("lp", "10.0.0.1"), {"logical_port": "lp", "dst_ip": "10.0.0.1"}),
}


def schema(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(NB_SCHEMA.read_text())
    return {**found, **changes}


def without_bfd() -> dict[str, Any]:
    """As OVN before 20.12."""
    older = schema(version="5.0.0")
    del older["tables"]["BFD"]
    del older["tables"]["Logical_Router_Static_Route"]["columns"]["bfd"]
    return older


@pytest.fixture
def old_nb(short_tmp: Path) -> Iterator[Server]:
    (short_tmp / "older").write_text(json.dumps(without_bfd()))
    server = Server.standalone(short_tmp, short_tmp / "older")
    yield server
    server.kill()


@pytest.mark.parametrize("kinds", [*([kind] for kind in BAD), ["constraint violation", "unknown table"]])
@pytest.mark.parametrize("at", [0, 31, 60])
async def test_exactly_the_bad_rows_are_left_out(old_nb: Server, kinds: list[str], at: int) -> None:
    async with World([old_nb.remote], max_items=100).up() as world:
        world.want("ls", switch("ls1"), group("pg"))
        await settled(world)
        for number in range(60):
            if number == at:
                world.want("bad", *(BAD[kind] for kind in kinds))
            world.want(f"p{number}", port(f"p{number}", "ls1"), acl("pg", number, "ip4"))
        if at == 60:
            world.want("bad", *(BAD[kind] for kind in kinds))
        await settled(world)
        assert {row["name"] for row in rows(old_nb, "Logical_Switch_Port")} == {f"p{n}" for n in range(60)}
        assert {row["priority"] for row in rows(old_nb, "ACL")} == set(range(60))
        assert {row["name"] for row in rows(old_nb, "Logical_Switch")} == {"ls1"}
        told = {(table, key): text for table, key, text in world.errors}
        assert told.keys() == {(BAD[kind].table, BAD[kind].key) for kind in kinds}
        for kind in kinds:
            assert (kind if kind != "unknown table" else "no table BFD") in told[BAD[kind].table, BAD[kind].key]


async def test_a_table_that_goes_and_comes_back_with_the_schema(nb: Server, short_tmp: Path) -> None:
    (short_tmp / "older").write_text(json.dumps(without_bfd()))

    def convert(to: Path) -> None:
        subprocess.run(["ovsdb-client", "convert", nb.remote, str(to)], check=True)

    async def follow(world: World, version: str) -> None:
        await eventually(lambda: world.database.schema is not None and world.database.schema.version == version)
        await world.database.synced.wait()
        world.committer.touch(list(world.desired.row_keys()))  # as `ControllerState` does
        await settled(world)

    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"))
        world.want("bfd", BAD["unknown table"])
        await settled(world)
        assert len(rows(nb, "BFD")) == 1
        convert(short_tmp / "older")
        await follow(world, "5.0.0")
        world.want("p", port("p", "ls1"))
        await settled(world)
        assert [row["name"] for row in rows(nb, "Logical_Switch_Port")] == ["p"]
        assert {error[:2] for error in world.errors} == {("BFD", ("lp", "10.0.0.1"))}
        convert(NB_SCHEMA)
        await follow(world, schema()["version"])
        assert len(rows(nb, "BFD")) == 1
        assert not world.committer.busy("BFD", ("lp", "10.0.0.1"))


async def test_a_server_that_may_not_write_blames_no_row(nb: Server, short_tmp: Path) -> None:
    """A backup of another server (active-backup) answers "not allowed" until it is told to be active."""
    other = short_tmp / "other"
    other.mkdir()
    active = Server.standalone(other)
    try:
        async with World([nb.remote]).up() as world:
            nb.appctl("ovsdb-server/set-active-ovsdb-server", active.remote)
            nb.appctl("ovsdb-server/connect-active-ovsdb-server")
            world.want("ls", switch("ls1"), *(port(f"p{number}", "ls1") for number in range(20)))
            await eventually(lambda: world.committer.stats.retries >= 2)
            assert world.errors == []
            assert rows(nb, "Logical_Switch") == []
            nb.appctl("ovsdb-server/disconnect-active-ovsdb-server")
            await settled(world)
            assert len(rows(nb, "Logical_Switch_Port")) == 20
            assert world.errors == []
    finally:
        active.kill()

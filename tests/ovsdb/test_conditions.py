"""Conditional monitoring of the southbound database, changed at run time, across lost connections."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.errors import RequestError
from tests.ovsdb.test_client import recorded
from tests.support.ovsdb import SB_SCHEMA, Server, eventually, running

COLUMNS = {"Chassis": ("name",), "Port_Binding": ("logical_port", "chassis", "up")}
CHASSIS = {name: str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in ("c1", "c2")}


def here(chassis: str) -> dict[str, Any]:
    return {"Port_Binding": [["chassis", "==", ["uuid", CHASSIS[chassis]]]]}


def populate() -> list[dict[str, Any]]:
    """Two chassis with three ports each, and three ports that are bound nowhere."""
    operations: list[dict[str, Any]] = [
        {"op": "insert", "table": "Datapath_Binding", "uuid-name": "dp", "row": {"tunnel_key": 1}}
    ]
    for name, chassis in CHASSIS.items():
        encap = {"type": "geneve", "ip": f"10.0.0.{name[1]}", "chassis_name": name}
        operations.append({"op": "insert", "table": "Encap", "uuid-name": f"e{name}", "row": encap})
        row = {"name": name, "encaps": ["named-uuid", f"e{name}"]}
        operations.append({"op": "insert", "table": "Chassis", "uuid": chassis, "row": row})
    for number in range(9):
        bound = [["uuid", u] for u in CHASSIS.values()][number // 3 : number // 3 + 1]
        row = {"logical_port": f"p{number}", "tunnel_key": number + 1, "datapath": ["named-uuid", "dp"]}
        operations.append({"op": "insert", "table": "Port_Binding", "row": {**row, "chassis": ["set", bound]}})
    return operations


@pytest.fixture
async def sb(short_tmp: Path) -> AsyncIterator[Server]:
    server = Server.standalone(short_tmp, SB_SCHEMA)
    writer = Database(name="OVN_Southbound", remotes=[server.remote], columns={"Chassis": ("name",)})
    async with running(writer.run()):
        await writer.synced.wait()
        await writer.transact(populate(), timeout=10)
    yield server
    server.kill()


def database(server: Server, conditions: dict[str, Any]) -> Database:
    return Database(name="OVN_Southbound", remotes=[server.remote], columns=COLUMNS, conditions=conditions)


def ports(db: Database) -> set[str]:
    return {row["logical_port"] for row in db.rows["Port_Binding"].values()}


def chassis(db: Database) -> set[str]:
    return {row["name"] for row in db.rows["Chassis"].values()}


async def test_conditions_per_table_and_their_change(sb: Server) -> None:
    db = database(sb, here("c1"))
    batches = recorded(db)
    async with running(db.run()):
        await db.synced.wait()
        assert ports(db) == {"p0", "p1", "p2"}
        assert chassis(db) == {"c1", "c2"}
        batches.clear()
        await db.change_conditions(here("c2"))
        assert ports(db) == {"p3", "p4", "p5"}
        assert db.generation == 1
        told = [change for batch in batches for change in batch.get("Port_Binding", {}).values()]
        assert sum(change.old is None for change in told) == 3
        assert sum(change.new is None for change in told) == 3
        await db.change_conditions({})
        assert len(ports(db)) == 9
        await db.change_conditions({"Chassis": [["name", "==", "c1"]], "Port_Binding": [False]})
        assert (chassis(db), ports(db)) == ({"c1"}, set())


async def test_a_row_comes_when_it_begins_to_fit(sb: Server) -> None:
    db = database(sb, here("c1"))
    async with running(db.run()):
        await db.synced.wait()
        where = [["logical_port", "==", "p8"]]
        row = {"chassis": ["uuid", CHASSIS["c1"]]}
        await db.transact([{"op": "update", "table": "Port_Binding", "where": where, "row": row}], timeout=10)
        assert ports(db) == {"p0", "p1", "p2", "p8"}
        row = {"chassis": ["set", []]}
        await db.transact([{"op": "update", "table": "Port_Binding", "where": where, "row": row}], timeout=10)
        assert ports(db) == {"p0", "p1", "p2"}


async def test_conditions_changed_while_there_is_no_connection(sb: Server) -> None:
    db = database(sb, here("c1"))
    async with running(db.run()):
        await db.synced.wait()
        sb.stop()
        await eventually(lambda: not db.synced.is_set())
        await db.change_conditions(here("c2"))
        sb.start()
        await eventually(db.synced.is_set)
        assert ports(db) == {"p3", "p4", "p5"}


async def test_the_connection_is_lost_during_the_change(sb: Server) -> None:
    db = database(sb, here("c1"))
    async with running(db.run()):
        await db.synced.wait()
        sb.pause()
        changing = asyncio.create_task(db.change_conditions(here("c2")))
        await asyncio.sleep(0)
        sb.kill()
        await changing
        sb.start()
        await eventually(lambda: db.synced.is_set() and db.generation == 2)
        assert ports(db) == {"p3", "p4", "p5"}


async def test_a_condition_that_is_none_is_refused_and_forgotten(sb: Server) -> None:
    db = database(sb, here("c1"))
    async with running(db.run()):
        await db.synced.wait()
        with pytest.raises(RequestError):
            await db.change_conditions({"Port_Binding": [["no_such_column", "==", 1]]})
        sb.stop()
        await eventually(lambda: not db.synced.is_set())
        sb.start()
        await eventually(db.synced.is_set)
        assert ports(db) == {"p0", "p1", "p2"}

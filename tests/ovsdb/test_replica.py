"""Natural keys and parents of a changing database against what ovsdb-client's dump says about it."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovnbridge.model.ovn import NORTHBOUND, OPEN_VSWITCH, Key, Ref
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.replica import Replica, RowKey, monitored_columns
from tests.support.ovsdb import VSWITCH_SCHEMA, Server, directory, dump, eventually, nbctl, running

GROUPS = [str(uuid.uuid5(uuid.NAMESPACE_DNS, f"group{n}")) for n in range(3)]
SWITCHES = [str(uuid.uuid5(uuid.NAMESPACE_DNS, f"switch{n}")) for n in range(2)]
ACLS = [str(uuid.uuid5(uuid.NAMESPACE_DNS, f"acl{n}")) for n in range(4)]
HOLDERS = [("Port_Group", g) for g in GROUPS] + [("Logical_Switch", s) for s in SWITCHES]
NAMES = {u: f"row{n}" for n, (_, u) in enumerate(HOLDERS)}


def _where(row: str) -> list[Any]:
    return [["_uuid", "==", ["uuid", row]]]


def _mutate(holder: tuple[str, str], how: str, acls: set[str]) -> dict[str, Any]:
    references = ["set", [["uuid", a] for a in acls]]
    return {"op": "mutate", "table": holder[0], "where": _where(holder[1]), "mutations": [["acls", how, references]]}


acl_sets = st.sets(st.sampled_from(ACLS), min_size=1)
holders = st.sampled_from(HOLDERS)
steps = st.one_of(
    st.tuples(holders, st.sampled_from(["insert", "delete"]), acl_sets).map(lambda p: _mutate(*p)),
    st.tuples(holders, st.sampled_from(["new1", "new2", "row0"])).map(
        lambda p: {"op": "update", "table": p[0][0], "where": _where(p[0][1]), "row": {"name": p[1]}}
    ),
    st.tuples(st.sampled_from(ACLS), st.integers(1, 2)).map(
        lambda p: {"op": "update", "table": "ACL", "where": _where(p[0]), "row": {"priority": p[1]}}
    ),
    holders.map(lambda h: {"op": "delete", "table": h[0], "where": _where(h[1])}),
)
scripts = st.lists(st.lists(steps, min_size=1, max_size=4), min_size=1, max_size=8)


def fresh() -> list[dict[str, Any]]:
    """Every holder exists, the first one holds every ACL."""
    acl = {"direction": "to-lport", "action": "drop", "match": "ip", "priority": 1}
    return [
        *({"op": "insert", "table": t, "uuid": u, "row": {"name": NAMES[u]}} for t, u in HOLDERS),
        *({"op": "insert", "table": "ACL", "uuid": u, "row": {**acl, "match": f"ip{n}"}} for n, u in enumerate(ACLS)),
        _mutate(HOLDERS[0], "insert", set(ACLS)),
    ]


def expected(nb: Server) -> tuple[dict[str, Key | None], dict[str, set[str]]]:
    """(ACL → natural key, None if several parents leave a choice; ACL → its holders)."""
    held: dict[str, set[str]] = defaultdict(set)
    names: dict[str, str] = {}
    for table in ("Port_Group", "Logical_Switch"):
        for row in dump(nb.remote, "OVN_Northbound", table):
            names[row["_uuid"][1]] = row["name"]
            acls = row["acls"]
            for reference in [acls] if acls[0] == "uuid" else acls[1]:
                held[reference[1]].add(row["_uuid"][1])
    keys: dict[str, Key | None] = {}
    for row in dump(nb.remote, "OVN_Northbound", "ACL"):
        own = row["_uuid"][1]
        parents = {names[h] for h in held[own]}
        keys[own] = (parents.pop(), row["direction"], row["priority"], row["match"], 0) if len(parents) == 1 else None
    return keys, held


@pytest.fixture(scope="module")
def shared_nb() -> Iterator[Server]:
    with directory() as path:
        server = Server.standalone(path)
        yield server
        server.kill()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(script=scripts)
def test_keys_and_parents_follow_any_change(shared_nb: Server, script: list[Any]) -> None:
    asyncio.run(_follow(shared_nb, script))


def view(replica: Replica) -> set[tuple[RowKey, str]]:
    """((table, key), uuid) of every row, duplicates included."""
    found: set[tuple[RowKey, str]] = set()
    for table in replica.facts:
        for key in replica.keys(table):
            row = replica.find(table, key)
            assert row is not None
            found |= {((table, key), r.uuid) for r in (row, *replica.extra(table, key))}
    return found


async def _follow(nb: Server, script: list[Any]) -> None:
    db = Database(name="OVN_Northbound", remotes=[nb.remote], columns=monitored_columns(NORTHBOUND))
    replica = Replica(db, NORTHBOUND)
    touched: set[RowKey] = set()
    replica.subscribe(touched.update)
    from ovnbridge.ovsdb.errors import TransactionError

    async with running(db.run()):
        await db.synced.wait()
        clean = [{"op": "delete", "table": t, "where": []} for t in ("Port_Group", "Logical_Switch")]
        for transaction in [clean, fresh(), *script]:
            before = view(replica)
            touched.clear()
            try:
                await db.transact(transaction, timeout=10)
            except TransactionError:
                continue  # two groups of one name
            keys, held = expected(nb)
            after = view(replica)
            assert {key for key, _ in before ^ after} <= touched
            assert {u for (table, _), u in after if table == "ACL"} == keys.keys()
            for own, key in keys.items():
                found = replica.key_of("ACL", own)
                assert found == key or (key is None and found is not None)
                assert {parent for _, parent in replica.parents_of(own)} == held[own]
            # a replica that starts from nothing is the judge of one that has followed every step
        other = Database(name="OVN_Northbound", remotes=[nb.remote], columns=monitored_columns(NORTHBOUND))
        again = Replica(other, NORTHBOUND)
        async with running(other.run()):
            await other.synced.wait()
            unique = {u for u, k in keys.items() if k is not None} | {u for (t, _), u in after if t != "ACL"}
            assert {e for e in view(again) if e[1] in unique} == {e for e in view(replica) if e[1] in unique}


async def test_the_hint_names_the_parent_of_a_port(nb: Server) -> None:
    nbctl(nb, "ls-add", "ls1", "--", "lsp-add", "ls1", "p1", "--", "lsp-add", "ls1", "p2")
    nbctl(nb, "set", "logical_switch_port", "p1", "external_ids:ls=ls1")
    db = Database(name="OVN_Northbound", remotes=[nb.remote], columns=monitored_columns(NORTHBOUND))
    replica = Replica(db, NORTHBOUND)
    async with running(db.run()):
        await db.synced.wait()
        switch, hinted = replica.find("Logical_Switch", "ls1"), replica.find("Logical_Switch_Port", "p1")
        unhinted = replica.find("Logical_Switch_Port", "p2")
        assert switch is not None
        assert "ports" not in switch.columns, "write-only columns are not replicated"
        assert hinted is not None
        assert hinted.parent == ("Logical_Switch", switch.uuid)
        assert unhinted is not None
        assert unhinted.parent is None
        assert replica.uuid_of(Ref("Logical_Switch", "ls1")) == switch.uuid
        missing = replica.uuid_of(Ref("Logical_Switch", "other"))
        assert missing == replica.uuid_of(Ref("Logical_Switch", "other")) != replica.uuid_of(Ref("Port_Group", "other"))
        assert replica.has_column("ACL", "match")
        assert not replica.has_column("ACL", "tier"), "OVN 23.03"
        assert "tier" not in replica.columns("ACL")


async def test_ports_and_interfaces_of_a_node(short_tmp: Any) -> None:
    server = Server.standalone(short_tmp, VSWITCH_SCHEMA)
    try:
        db = Database(name="Open_vSwitch", remotes=[server.remote], columns=monitored_columns(OPEN_VSWITCH))
        replica = Replica(db, OPEN_VSWITCH)
        touched: set[RowKey] = set()
        replica.subscribe(touched.update)
        async with running(db.run()):
            await db.synced.wait()
            import subprocess

            def vsctl(*words: str) -> None:
                subprocess.run(["ovs-vsctl", f"--db={server.remote}", "--no-wait", *words], check=True)

            vsctl("--", "init", "--", "add-br", "br-int", "--", "add-port", "br-int", "veth0")
            await eventually(lambda: replica.find("Interface", "veth0"))
            interface, port = replica.find("Interface", "veth0"), replica.find("Port", "veth0")
            bridge, top = replica.find("Bridge", "br-int"), replica.find("Open_vSwitch", ())
            assert interface is not None
            assert port is not None
            assert bridge is not None
            assert top is not None
            assert interface.parent == ("Port", port.uuid)
            assert port.parent == ("Bridge", bridge.uuid)
            assert bridge.parent == ("Open_vSwitch", top.uuid)
            touched.clear()
            vsctl("del-port", "veth0")
            await eventually(lambda: not replica.find("Interface", "veth0"))
            assert {("Interface", "veth0"), ("Port", "veth0"), ("Bridge", "br-int")} <= touched
    finally:
        server.kill()

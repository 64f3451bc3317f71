"""The committer when things go wrong: lost replies, stopped servers, restarts, other writers, in any order.

The end is always judged by ovsdb-client: exactly the desired rows, foreign rows untouched.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovnbridge.ovsdb.fence import Fence
from ovnbridge.ovsdb.framing import Framer
from tests.ovsdb.test_committer import settled
from tests.ovsdb.world import World, acl, group, member, port, switch
from tests.support.ovsdb import Server, directory, dump, eventually, nbctl
from tests.support.relay import Proxy

Wire = dict[str, Any]


def rows(nb: Server, table: str) -> list[Wire]:
    return dump(nb.remote, "OVN_Northbound", table)


def uuids(wire: list[Any]) -> set[str]:
    return {wire[1]} if wire[0] == "uuid" else {ref[1] for ref in wire[1]}


def transactions(sent: bytes) -> list[list[Wire]]:
    """The operations of every transaction that went through a proxy (one connection)."""
    return [m["params"][1:] for m in Framer().feed(sent) if m.get("method") == "transact"]


async def test_a_set_gets_one_mutate_per_transaction_and_never_an_assignment(nb: Server, short_tmp: Path) -> None:
    async with Proxy(short_tmp / "proxy", nb.socket) as proxy, World([proxy.remote], max_items=100).up() as world:
        world.want("ls", switch("ls1"), group("pg"), group("pg2"))
        await settled(world)
        before = len(transactions(proxy.requests))
        for number in range(100):
            name = f"p{number}"
            world.want(name, port(name, "ls1"), member("pg", name), member("pg2", name))
        await settled(world)
        sent = transactions(proxy.requests)[before:]
        operations = [operation for transaction in sent for operation in transaction]
        assert len(sent) <= 3
        assert sum(o["op"] == "insert" for o in operations) == 100
        assert len([o for o in operations if o["op"] == "mutate" and o["table"] == "Logical_Switch"]) == 1
        assert all("ports" not in o.get("row", {}) for o in operations)
        assert len(operations) <= 100 + 1 + 2 * 2

        before = len(transactions(proxy.requests))
        world.want("p7")
        await settled(world)
        (operations,) = transactions(proxy.requests)[before:][:1]
        assert len(json.dumps(operations)) < 2000, "the cost of a change does not depend on the set"


async def test_an_insert_with_a_lost_reply_is_not_repeated(nb: Server, short_tmp: Path) -> None:
    async with Proxy(short_tmp / "proxy", nb.socket) as proxy, World([proxy.remote], deadline=5.0).up() as world:
        proxy.deliver_replies = False
        world.want("all", switch("ls1"), port("p1", "ls1"), group("pg"), member("pg", "p1"))
        await eventually(lambda: rows(nb, "Port_Group"))
        before = {table: rows(nb, table) for table in ("Logical_Switch", "Logical_Switch_Port", "Port_Group")}
        proxy.cut()
        proxy.deliver_replies = True
        await eventually(lambda: world.database.generation == 2)
        await settled(world)
        assert {table: rows(nb, table) for table in before} == before
        assert world.errors == []


async def test_a_request_that_never_arrived_is_repeated(nb: Server, short_tmp: Path) -> None:
    async with Proxy(short_tmp / "proxy", nb.socket) as proxy, World([proxy.remote], deadline=5.0).up() as world:
        proxy.deliver_requests = False
        world.want("all", switch("ls1"), port("p1", "ls1"))
        await eventually(lambda: b"transact" in proxy.requests)
        proxy.cut()
        proxy.deliver_requests = True
        await settled(world)
        assert [row["name"] for row in rows(nb, "Logical_Switch_Port")] == ["p1"]


async def test_a_stopped_server_delays_but_loses_nothing(nb: Server) -> None:
    async with World([nb.remote], deadline=0.3, database={"connect_timeout": 0.3}).up() as world:
        world.want("ls", switch("ls1"))
        await settled(world)
        nb.pause()
        for number in range(50):
            world.want(f"p{number}", port(f"p{number}", "ls1"))
        await eventually(lambda: not world.database.synced.is_set())
        for number in range(0, 50, 2):
            world.want(f"p{number}")
        nb.resume()
        await settled(world)
        assert {row["name"] for row in rows(nb, "Logical_Switch_Port")} == {f"p{n}" for n in range(1, 50, 2)}
        assert world.errors == []


async def test_a_full_disk_blames_no_row(nb: Server) -> None:
    """ovsdb-server may not write any more (file size limit): "I/O error" says nothing about a row."""
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"))
        await settled(world)
        assert nb.process is not None
        limit(nb.process.pid, nb.file.stat().st_size)
        for number in range(20):
            world.want(f"p{number}", port(f"p{number}", "ls1"))
        await eventually(lambda: world.committer.stats.retries >= 2)
        assert world.errors == []
        limit(nb.process.pid, None)
        await settled(world)
        assert len(rows(nb, "Logical_Switch_Port")) == 20


def limit(pid: int, size: int | None) -> None:
    import resource

    amount = resource.RLIM_INFINITY if size is None else size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (amount, resource.RLIM_INFINITY))


async def test_two_keys_that_exclude_each_other(nb: Server) -> None:
    """Fine alone, refused together (unique port names cannot be wished twice, so: the same address set by two keys)."""
    from ovnbridge.engine.items import Row

    nbctl(nb, "create", "Address_Set", "name=taken")
    (foreign,) = rows(nb, "Address_Set")
    async with World([nb.remote]).up() as world:
        # The rename of a foreign row to the name that we insert at the same time.
        for number in range(30):
            world.want(f"as{number}", Row("Address_Set", f"as{number}", {"name": f"as{number}"}))
        world.want("bad", Row("Address_Set", "free", {"name": "taken"}))
        await settled(world)
        names = sorted(row["name"] for row in rows(nb, "Address_Set"))
        assert names == sorted(["taken", *(f"as{n}" for n in range(30))])
        assert [error[:2] for error in world.errors] == [("Address_Set", "free")]
        nbctl(nb, "destroy", "Address_Set", foreign["_uuid"][1])
        await eventually(lambda: len(rows(nb, "Address_Set")) == 31, "healing by itself", 5)


# -- anything in any order

SWITCHES, PORTS, GROUPS = ("a", "b", "c"), tuple(f"p{n}" for n in range(8)), ("g", "h")

pods = st.tuples(
    st.just("pod"),
    st.sampled_from(PORTS),
    st.none() | st.tuples(st.sampled_from(SWITCHES), st.sets(st.sampled_from(GROUPS)), st.integers(0, 2)),
)
policies = st.tuples(st.just("group"), st.sampled_from(GROUPS), st.none() | st.sets(st.integers(1, 4)))
nets = st.tuples(st.just("switch"), st.sampled_from(SWITCHES), st.booleans())
meddling = st.tuples(
    st.just("meddle"),
    st.sampled_from(["delete port", "change port", "empty group", "delete switch", "delete group", "delete acls"]),
    st.sampled_from(PORTS),
)
faults = st.tuples(
    st.just("fault"), st.sampled_from(["cut", "lose replies", "lose requests", "restart", "pause"]), st.none()
)
pauses = st.tuples(st.just("wait"), st.sampled_from([0, 0.002, 0.01]), st.none())
actions = st.lists(st.one_of(pods, pods, pods, policies, nets, meddling, faults, pauses), min_size=3, max_size=30)


class Wishes:
    """What the script desires, and what must therefore be in the database."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.switches: set[str] = set()
        self.pods: dict[str, tuple[str, set[str], int]] = {}
        self.groups: dict[str, set[int]] = {}

    def apply(self, kind: str, name: str, value: Any) -> None:
        if kind == "switch":
            (self.switches.add if value else self.switches.discard)(name)
            self.world.want(f"switch {name}", *([switch(name)] if value else []))
        elif kind == "pod":
            if value is None:
                self.pods.pop(name, None)
                self.world.want(f"pod {name}")
            else:
                on, groups, label = self.pods[name] = value
                options = {"options": {"label": str(label)}}
                self.world.want(f"pod {name}", port(name, on, **options), *(member(g, name) for g in groups))
        elif value is None:
            self.groups.pop(name, None)
            self.world.want(f"group {name}")
        else:
            self.groups[name] = value
            self.world.want(f"group {name}", group(name), *(acl(name, n, "ip") for n in value))

    def expected(self) -> dict[str, Any]:
        there = {name: pod for name, pod in self.pods.items() if pod[0] in self.switches}
        return {
            "switches": {name: {port for port, (on, _, _) in there.items() if on == name} for name in self.switches}
            | {"foreign": {"fp"}},
            "labels": {name: str(label) for name, (_, _, label) in there.items()},
            "groups": {
                name: ({p for p, (_, groups, _) in there.items() if name in groups}, priorities)
                for name, priorities in self.groups.items()
            },
        }


def found(nb: Server) -> dict[str, Any]:
    ports = {row["_uuid"][1]: row for row in rows(nb, "Logical_Switch_Port")}
    acls = {row["_uuid"][1]: row["priority"] for row in rows(nb, "ACL")}
    names = {uuid: row["name"] for uuid, row in ports.items()}
    switches = {row["name"]: {names[u] for u in uuids(row["ports"])} for row in rows(nb, "Logical_Switch")}
    groups = {
        row["name"]: ({names[u] for u in uuids(row["ports"])}, {acls[u] for u in uuids(row["acls"])})
        for row in rows(nb, "Port_Group")
    }
    labels = {row["name"]: dict(row["options"][1]).get("label") for row in ports.values() if row["name"] != "fp"}
    return {"switches": switches, "labels": labels, "groups": groups}


def meddle(nb: Server, what: str, name: str) -> None:
    commands: dict[str, Callable[[], list[str]]] = {
        "delete port": lambda: ["--if-exists", "lsp-del", name],
        "change port": lambda: ["--if-exists", "set", "Logical_Switch_Port", name, "options:label=alien"],
        "empty group": lambda: ["--if-exists", "clear", "Port_Group", "g", "ports"],
        "delete switch": lambda: ["--if-exists", "ls-del", "a"],
        "delete group": lambda: ["--if-exists", "destroy", "Port_Group", "h"],
        "delete acls": lambda: ["--if-exists", "clear", "Port_Group", "g", "acls"],
    }
    nbctl(nb, *commands[what]())


async def fail(nb: Server, proxy: Proxy, world: World, what: str) -> None:
    if what == "restart":
        nb.stop()
        nb.start()
    elif what == "pause":
        nb.pause()
        await asyncio.sleep(0.02)
        nb.resume()
    else:
        proxy.deliver_replies = what != "lose replies"
        proxy.deliver_requests = what != "lose requests"
        await asyncio.sleep(0.005)
        proxy.cut()
        proxy.deliver_replies = proxy.deliver_requests = True


@pytest.fixture(scope="module")
def shared_nb() -> Iterator[Server]:
    with directory() as path:
        server = Server.standalone(path)
        nbctl(server, "ls-add", "foreign", "--", "lsp-add", "foreign", "fp")
        yield server
        server.kill()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(script=actions, fenced=st.booleans())
def test_any_script_with_any_faults_converges(shared_nb: Server, script: list[Any], fenced: bool) -> None:
    asyncio.run(_converge(shared_nb, script, fenced))


epochs = iter(range(10**9))


async def _converge(nb: Server, script: list[Any], fenced: bool) -> None:
    fence = Fence(f"epoch{next(epochs)}") if fenced else None
    async with Proxy(nb.directory / "faults", nb.socket) as proxy:
        world = World([proxy.remote], deadline=1.0, max_items=4, fence=fence, database={"connect_timeout": 0.5})
        async with world.up():
            wishes = Wishes(world)
            world.committer.touch((table, key) for table in world.replica.facts for key in world.replica.keys(table))
            for kind, name, value in script:
                if kind == "fault":
                    await fail(nb, proxy, world, name)
                elif kind == "meddle":
                    meddle(nb, name, value)
                elif kind == "wait":
                    await asyncio.sleep(name)
                else:
                    wishes.apply(kind, name, value)
                    await asyncio.sleep(0)

            def done() -> bool:
                return (
                    world.database.synced.is_set()
                    and world.committer.idle()
                    and not world.committer.setbacks.refused
                    and found(nb) == wishes.expected()
                )

            try:
                await eventually(done, "convergence", 6)
            except TimeoutError:
                assert found(nb) == wishes.expected(), (world.errors, world.committer.setbacks.waiting)
                raise
    (nb.directory / "faults").unlink(missing_ok=True)

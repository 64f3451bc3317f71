"""The committer against a real ovsdb-server; ovn-nbctl and ovsdb-client are the judges."""

from __future__ import annotations

import asyncio

import pytest

from ovnbridge.engine.diff import Mutate
from ovnbridge.engine.items import Member, Row
from ovnbridge.model.ovn import NORTHBOUND
from ovnbridge.ovsdb.committer import Committer
from tests.ovsdb.world import World, acl, group, member, port, switch
from tests.support.ovsdb import Server, dump, eventually, nbctl, running


async def settled(world: World, deadline: float = 20.0) -> None:
    async with asyncio.timeout(deadline):
        await world.committer.settled()


async def test_rows_members_and_children_land(nb: Server) -> None:
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"))
        world.want("pg", group("pg1"), acl("pg1", 1001, "ip4"))
        for number in range(500):
            world.want(f"pod{number}", port(f"p{number}", "ls1"), member("pg1", f"p{number}"))
        await settled(world)
        assert sorted(nbctl(nb, "lsp-list", "ls1").split()[1::2]) == sorted(f"(p{n})" for n in range(500))
        assert "to-lport  1001 (ip4) drop" in nbctl(nb, "acl-list", "pg1")
        (row,) = dump(nb.remote, "OVN_Northbound", "Port_Group")
        assert len(row["ports"][1]) == 500
        assert world.committer.stats.transactions < 10
        assert world.errors == []

        for number in range(0, 500, 2):
            world.want(f"pod{number}")
        world.want("pg", group("pg1"))
        await settled(world)
        assert sorted(nbctl(nb, "lsp-list", "ls1").split()[1::2]) == sorted(f"(p{n})" for n in range(1, 500, 2))
        assert nbctl(nb, "acl-list", "pg1") == ""
        (row,) = dump(nb.remote, "OVN_Northbound", "Port_Group")
        assert len(row["ports"][1]) == 250


async def test_a_bad_row_among_a_hundred_is_isolated_and_reported(nb: Server) -> None:
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"))
        for number in range(100):
            columns = {"tag": -5} if number == 42 else {}
            world.want(f"pod{number}", port(f"p{number}", "ls1", **columns))
        await settled(world)
        names = set(nbctl(nb, "lsp-list", "ls1").split()[1::2])
        assert names == {f"(p{n})" for n in range(100) if n != 42}
        assert [error[:2] for error in world.errors] == [("Logical_Switch_Port", "p42")]
        assert "constraint violation" in world.errors[0][2]
        assert world.committer.busy("Logical_Switch_Port", "p42")
        world.want("pod42", port("p42", "ls1", tag=5))
        await settled(world)
        assert "(p42)" in nbctl(nb, "lsp-list", "ls1")
        assert not world.committer.busy("Logical_Switch_Port", "p42")


async def test_an_unchanged_database_is_not_written_to(nb: Server) -> None:
    items = [switch("ls1"), group("pg1"), acl("pg1", 1, "ip"), port("p1", "ls1"), member("pg1", "p1")]
    async with World([nb.remote]).up() as world:
        world.want("all", *items)
        await settled(world)
    async with World([nb.remote]).up() as world:
        world.want("all", *items)
        await settled(world)
        assert world.committer.stats.transactions == 0
        assert len(world.diffs) >= 4


async def test_moving_a_port_to_another_switch(nb: Server) -> None:
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"), switch("ls2"), group("pg1"))
        world.want("pod", port("p1", "ls1"), member("pg1", "p1"))
        await settled(world)
        world.want("pod", port("p1", "ls2"), member("pg1", "p1"))
        await settled(world)
        assert nbctl(nb, "lsp-list", "ls1") == ""
        assert "(p1)" in nbctl(nb, "lsp-list", "ls2")
        (row,) = dump(nb.remote, "OVN_Northbound", "Logical_Switch_Port")
        (pg,) = dump(nb.remote, "OVN_Northbound", "Port_Group")
        assert pg["ports"] == row["_uuid"]


async def test_what_refers_to_a_missing_row_waits_for_it(nb: Server) -> None:
    async with World([nb.remote]).up() as world:
        world.want("pod", port("p1", "ls1"), member("pg1", "p1"))
        world.want("pg", group("pg1"))
        await settled(world)
        assert dump(nb.remote, "OVN_Northbound", "Logical_Switch_Port") == []
        assert world.committer.busy("Port_Group", "pg1")
        world.want("ls", switch("ls1"))
        await settled(world)
        (row,) = dump(nb.remote, "OVN_Northbound", "Logical_Switch_Port")
        (pg,) = dump(nb.remote, "OVN_Northbound", "Port_Group")
        assert pg["ports"] == row["_uuid"]
        assert world.errors == []


async def test_drift_is_repaired_and_foreign_rows_stay(nb: Server) -> None:
    nbctl(nb, "ls-add", "foreign", "--", "lsp-add", "foreign", "fp")
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"), group("pg1"), port("p1", "ls1"), port("p2", "ls1"), member("pg1", "p1"))
        await settled(world)
        nbctl(nb, "lsp-del", "p1", "--", "lsp-set-addresses", "p2", "unknown", "--", "lsp-add", "ls1", "alien")
        await eventually(lambda: "(p1)" in nbctl(nb, "lsp-list", "ls1"), "the port being back")
        await settled(world)
        assert "(alien)" in nbctl(nb, "lsp-list", "ls1")
        assert nbctl(nb, "lsp-get-addresses", "p2").strip() == "00:00:00:00:00:01 p2"
        assert "(fp)" in nbctl(nb, "lsp-list", "foreign")


async def test_a_row_whose_known_parent_is_wrong_is_still_deleted(nb: Server) -> None:
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"), switch("ls2"))
        await settled(world)
        nbctl(nb, "lsp-add", "ls2", "liar", "--", "set", "logical_switch_port", "liar", "external_ids:ls=ls1")
        nbctl(nb, "lsp-add", "ls2", "mute", "--", "set", "logical_switch_port", "mute", "external_ids:vendor=kube-ovn")
        nbctl(nb, "set", "logical_switch_port", "liar", "external_ids:vendor=kube-ovn")
        await eventually(lambda: not dump(nb.remote, "OVN_Northbound", "Logical_Switch_Port"), "deletion")
        await settled(world)


async def test_values_that_json_cannot_hold_are_isolated(nb: Server) -> None:
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"), switch("ls2"), Row("Logical_Switch", "\ud800", {"name": "\ud800"}))
        await settled(world)
        assert len(dump(nb.remote, "OVN_Northbound", "Logical_Switch")) == 2
        assert len(world.errors) == 1


@pytest.mark.parametrize("window", [1, 2, 4])
async def test_deleting_everything_in_any_window(nb: Server, window: int) -> None:
    async with World([nb.remote], window=window, max_items=20).up() as world:
        world.want("ls", *(switch(f"ls{n}") for n in range(10)), group("pg"))
        world.want("pods", *(port(f"p{n}", f"ls{n % 10}") for n in range(200)))
        world.want("members", *(member("pg", f"p{n}") for n in range(200)))
        world.want("acls", *(acl("pg", n, "ip") for n in range(1, 50)))
        await settled(world)
        assert len(dump(nb.remote, "OVN_Northbound", "Logical_Switch_Port")) == 200
        for unit in ("ls", "pods", "members", "acls"):
            world.want(unit)
        await settled(world)
        for table in ("Logical_Switch", "Logical_Switch_Port", "Port_Group", "ACL"):
            assert dump(nb.remote, "OVN_Northbound", table) == []
        assert world.errors == []


async def test_a_child_inserted_while_its_parent_goes_waits_for_the_parent(nb: Server) -> None:
    """One transaction with both succeeds, and neither row is there afterwards."""
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"))
        await settled(world)
        world.want("pod", port("p1", "ls1"))
        world.want("ls")
        await settled(world)
        assert dump(nb.remote, "OVN_Northbound", "Logical_Switch") == []
        assert world.committer.busy("Logical_Switch_Port", "p1")
        world.want("ls", switch("ls1"))
        await settled(world)
        assert "(p1)" in nbctl(nb, "lsp-list", "ls1")
        assert not world.committer.busy("Logical_Switch_Port", "p1")


async def test_a_member_that_goes_while_it_is_added_is_added_when_it_is_back(nb: Server) -> None:
    """OVSDB drops a weak reference to a row that does not exist, without an error and without a notification."""
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"), group("pg"))
        world.want("pod", port("p1", "ls1"))
        await settled(world)
        world.want("member", member("pg", "p1"))
        world.want("pod")
        await settled(world)
        assert dump(nb.remote, "OVN_Northbound", "Logical_Switch_Port") == []
        world.want("pod", port("p1", "ls1"))
        await settled(world)
        (row,) = dump(nb.remote, "OVN_Northbound", "Logical_Switch_Port")
        (pg,) = dump(nb.remote, "OVN_Northbound", "Port_Group")
        assert pg["ports"] == row["_uuid"]


async def test_moving_to_a_switch_that_does_not_exist_yet(nb: Server) -> None:
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"))
        world.want("pod", port("p1", "ls1"))
        await settled(world)
        world.want("pod", port("p1", "ls2"))
        await settled(world)
        assert dump(nb.remote, "OVN_Northbound", "Logical_Switch_Port") == []
        world.want("ls2", switch("ls2"))
        await settled(world)
        assert "(p1)" in nbctl(nb, "lsp-list", "ls2")


async def test_of_rows_with_the_same_key_one_stays(nb: Server) -> None:
    """OVN allows switches of the same name; ours that are too many go, the one that stays is unharmed."""
    for _ in range(3):
        nbctl(nb, "create", "Logical_Switch", "name=ls1", "external_ids:vendor=kube-ovn")
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"), port("p1", "ls1"))
        await settled(world)
        assert len(dump(nb.remote, "OVN_Northbound", "Logical_Switch")) == 1
        assert "(p1)" in nbctl(nb, "lsp-list", "ls1")
        assert world.errors == []


async def test_urgent_keys_overtake(nb: Server) -> None:
    async with World([nb.remote], max_items=10, window=1).up() as world:
        world.want("ls", switch("ls1"))
        await settled(world)
        for number in range(100):
            world.want(f"p{number}", port(f"p{number}", "ls1"))
        world.committer.touch([("Logical_Switch_Port", "p99")], urgent=True)
        await settled(world)
        order = [key for table, key in world.commits if table == "Logical_Switch_Port"]
        assert order.index("p99") < 10


async def test_a_million_touches_of_a_key_are_one_diff(nb: Server) -> None:
    async with World([nb.remote]).up() as world:
        world.want("ls", switch("ls1"))
        await settled(world)
        world.diffs.clear()
        for _ in range(10_000):
            world.committer.touch([("Logical_Switch", "ls1")])
        await settled(world)
        assert world.diffs == [("Logical_Switch", "ls1")]


async def test_an_entry_replaces_one_that_the_diff_did_not_know(nb: Server) -> None:
    """OVSDB's "insert" leaves an existing entry of a map as it is (RFC 7047, 5.1)."""
    nbctl(nb, "create", "Load_Balancer", "name=lb", 'vips:"10.0.0.1:80"="1.1.1.1:80"')
    (row,) = dump(nb.remote, "OVN_Northbound", "Load_Balancer")
    change = Mutate("Load_Balancer", "lb", row["_uuid"][1], "vips", {"10.0.0.1:80": "2.2.2.2:80"}, frozenset())
    world = World([nb.remote])
    replies = [[change]]
    committer = Committer(
        world.database, world.replica, lambda table, key: replies.pop() if replies else [], facts=NORTHBOUND
    )
    async with running(world.database.run(), committer.run()):
        committer.touch([("Load_Balancer", "lb")])
        await committer.settled()
    (row,) = dump(nb.remote, "OVN_Northbound", "Load_Balancer")
    assert row["vips"] == ["map", [["10.0.0.1:80", "2.2.2.2:80"]]]


async def test_entries_of_a_map_come_change_and_go(nb: Server) -> None:
    def balancer(name: str) -> Row:
        return Row("Load_Balancer", name, {"name": name, "external_ids": {"vendor": "kube-ovn"}}, members=("vips",))

    def vip(address: str, backends: str) -> Member:
        return Member("Load_Balancer", "lb", "vips", address, backends)

    def vips() -> dict[str, str]:
        return dict(dump(nb.remote, "OVN_Northbound", "Load_Balancer")[0]["vips"][1])

    async with World([nb.remote]).up() as world:
        world.want("lb", balancer("lb"))
        world.want("a", vip("10.0.0.1:80", "1.1.1.1:80"))
        world.want("b", vip("10.0.0.2:80", ""))
        await settled(world)
        assert vips() == {"10.0.0.1:80": "1.1.1.1:80", "10.0.0.2:80": ""}
        world.want("a", vip("10.0.0.1:80", "1.1.1.2:80"))
        world.want("b", vip("10.0.0.3:80", "2.2.2.2:80"))
        await settled(world)
        assert vips() == {"10.0.0.1:80": "1.1.1.2:80", "10.0.0.3:80": "2.2.2.2:80"}
        nbctl(nb, "set", "Load_Balancer", "lb", 'vips:"10.0.0.9:80"="9.9.9.9:80"')
        await eventually(lambda: "10.0.0.9:80" not in vips(), "drift in a map being repaired")
        world.want("a")
        world.want("b")
        await settled(world)
        assert vips() == {}

"""A leader that was replaced must not write, and a leader with nothing to do writes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ovnbridge.ovsdb.errors import Deposed
from ovnbridge.ovsdb.fence import KEY, Fence
from tests.ovsdb.test_committer import settled
from tests.ovsdb.world import World, port, switch
from tests.support.ovsdb import NB_SCHEMA, Server, create, dump, eventually, nbctl, running
from tests.support.relay import Proxy


def epoch(nb: Server) -> str:
    return nbctl(nb, "--if-exists", "get", "NB_Global", ".", f"external_ids:{KEY}").strip().strip('"')


def switches(nb: Server) -> list[str]:
    return sorted(row["name"] for row in dump(nb.remote, "OVN_Northbound", "Logical_Switch"))


async def test_the_epoch_is_claimed_by_the_first_write_only(nb: Server) -> None:
    nbctl(nb, "init")
    async with World([nb.remote], fence=Fence("one")).up() as world:
        await settled(world)
        assert epoch(nb) == ""
        world.want("ls", switch("ls1"))
        await settled(world)
        assert epoch(nb) == "one"
        world.want("ls", switch("ls1"), switch("ls2"))
        await settled(world)
        assert world.committer.stats.transactions == 2
    async with World([nb.remote], fence=Fence("two")).up() as world:
        world.want("ls", switch("ls1"), switch("ls2"))
        await settled(world)
        assert world.committer.stats.transactions == 0
        assert epoch(nb) == "one"


async def test_many_first_writes_wait_for_the_claim(nb: Server) -> None:
    nbctl(nb, "init")
    async with World([nb.remote], fence=Fence("one"), max_items=5).up() as world:
        world.want("ls", *(switch(f"ls{number:02}") for number in range(50)))
        await settled(world)
        assert len(switches(nb)) == 50
        assert world.committer.stats.retries == 0
        assert world.committer.stats.transactions == 10


async def test_a_leader_learns_that_it_was_replaced(nb: Server) -> None:
    nbctl(nb, "init")
    old, new = World([nb.remote], fence=Fence("old")), World([nb.remote], fence=Fence("new"))
    async with running(old.database.run(), new.database.run()):
        await asyncio.gather(old.database.synced.wait(), new.database.synced.wait())
        committing = asyncio.create_task(old.committer.run())
        old.want("ls", switch("ls1"))
        await settled(old)
        async with running(new.committer.run()):
            new.want("ls", switch("ls1"), switch("ls2"))
            await settled(new)
            with pytest.raises(Deposed):
                await asyncio.wait_for(committing, 5)
            assert epoch(nb) == "new"


async def test_the_database_refuses_a_deposed_leader_that_does_not_know_it(nb: Server, short_tmp: Path) -> None:
    """Its replica is frozen: only the wait operation stands between it and the database."""
    nbctl(nb, "init")
    async with Proxy(short_tmp / "proxy", nb.socket) as proxy:
        old = World([proxy.remote], fence=Fence("old"), deadline=0.5)
        async with running(old.database.run()):
            await old.database.synced.wait()
            committing = asyncio.create_task(old.committer.run())
            old.want("ls", switch("ls1"))
            await settled(old)
            proxy.deliver_replies = False
            nbctl(nb, "set", "NB_Global", ".", f"external_ids:{KEY}=new")
            old.want("ls", switch("ls1"), switch("forbidden"))
            await eventually(lambda: b"forbidden" in proxy.requests)
            proxy.deliver_replies = True
            with pytest.raises(Deposed):
                await asyncio.wait_for(committing, 10)
            assert switches(nb) == ["ls1"]


async def test_two_leaders_claiming_at_once(nb: Server) -> None:
    nbctl(nb, "init")
    worlds = [World([nb.remote], fence=Fence(f"epoch{n}")) for n in range(4)]
    async with running(*(world.database.run() for world in worlds)):
        await asyncio.gather(*(world.database.synced.wait() for world in worlds))
        tasks = [asyncio.create_task(world.committer.run()) for world in worlds]
        await asyncio.sleep(0)
        for number, world in enumerate(worlds):
            world.want("ls", switch(f"by{number}"))
        done, pending = await asyncio.wait(tasks, timeout=3)
        assert len(done) == 3
        assert all(isinstance(task.exception(), Deposed) for task in done)
        (winner,) = [number for number, task in enumerate(tasks) if task in pending]
        assert switches(nb) == [f"by{winner}"]
        assert epoch(nb) == f"epoch{winner}"
        for task in pending:
            task.cancel()


async def test_others_may_use_the_row_meanwhile(nb: Server, short_tmp: Path) -> None:
    """The first claim compares the whole map (OVSDB has no other way): a change of another key must only delay it."""
    nbctl(nb, "init")
    async with Proxy(short_tmp / "proxy", nb.socket) as proxy:
        proxied = World([proxy.remote], fence=Fence("mine"))
        async with proxied.up() as world:

            def interfere(data: bytes) -> None:
                if b'"wait"' in data and not nbctl(nb, "get", "NB_Global", ".", "external_ids").strip("{}\n"):
                    nbctl(nb, "set", "NB_Global", ".", "external_ids:other=1")

            proxy.on_request = interfere
            world.want("ls", switch("ls1"))
            await settled(world)
            assert epoch(nb) == "mine"
            assert switches(nb) == ["ls1"]
            assert world.committer.stats.retries == 1
            assert world.errors == []


async def test_a_database_without_its_global_row(nb: Server) -> None:
    async with World([nb.remote], fence=Fence("mine")).up() as world:
        world.want("ls", switch("ls1"), port("p", "ls1"))
        await settled(world)
        assert epoch(nb) == "mine"
        assert switches(nb) == ["ls1"]


async def test_a_database_that_was_lost_is_written_again(nb: Server) -> None:
    async with World([nb.remote], fence=Fence("mine")).up() as world:
        world.want("ls", switch("ls1"), port("p", "ls1"))
        await settled(world)
        nb.stop()
        nb.file.unlink()
        (nb.directory / f".{nb.file.name}.~lock~").unlink(missing_ok=True)
        create(nb.file, NB_SCHEMA)
        nb.start()
        await eventually(lambda: world.database.generation == 2)
        await settled(world)
        assert epoch(nb) == "mine"
        assert switches(nb) == ["ls1"]
        assert "(p)" in nbctl(nb, "lsp-list", "ls1")

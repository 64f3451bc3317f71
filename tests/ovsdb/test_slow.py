"""Servers and links that are slow, or stand still: probes survive, what waits does not grow, the loop goes on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from tests.ovsdb.test_client import database
from tests.ovsdb.test_committer import settled
from tests.ovsdb.test_faults import rows, transactions
from tests.ovsdb.world import World, port, switch
from tests.support.ovsdb import Server, eventually, nbctl, running
from tests.support.relay import Proxy

PORTS = 20_000


class SlowLink(Proxy):
    """Passes on what the server says at so many bytes a second."""

    rate = 0

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 14):
            writer.write(data)
            await writer.drain()
            if self.rate:
                await asyncio.sleep(len(data) / self.rate)
        writer.close()


async def fill(nb: Server) -> int:
    """Many ports, by the shortest way; returns the bytes of their dump, more or less."""
    writer = database(nb.remote)
    uuids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(PORTS)]
    inserts = [
        {"op": "insert", "table": "Logical_Switch_Port", "uuid": u, "row": {"name": u, "addresses": u}} for u in uuids
    ]
    held: dict[str, Any] = {"name": "ls", "ports": ["set", [["uuid", u] for u in uuids]]}
    async with running(writer.run()):
        await writer.synced.wait()
        await writer.transact([*inserts, {"op": "insert", "table": "Logical_Switch", "row": held}], timeout=120)
    return PORTS * 150


async def test_probes_of_both_sides_survive_a_load_over_a_slow_link(nb: Server, short_tmp: Path) -> None:
    """Each side probes several times while the dump of 20,000 ports is on its way."""
    nb.stop()
    nb.extra = ["--remote=db:OVN_Northbound,NB_Global,connections"]
    nb.start()
    probed = short_tmp / "probed"
    nbctl(nb, "init")
    nbctl(nb, "--inactivity-probe=2000", "set-connection", f"punix:{probed}")
    size = await fill(nb)
    await eventually(probed.exists)
    async with SlowLink(short_tmp / "slow", probed) as link:
        link.rate = size // 9
        db = database(link.remote, probe_interval=2.0)
        states: list[str] = []
        db.on_state(lambda state, remote, reason: states.append(f"{state} {reason}".strip()))
        began = time.monotonic()
        async with running(db.run()):
            async with asyncio.timeout(120):
                await db.synced.wait()
            assert time.monotonic() - began > 6, "the link was not slow"
            assert states == ["connecting", "synced loaded"]
            assert len(db.rows["Logical_Switch_Port"]) == PORTS


async def test_a_server_that_stands_still_is_sent_no_more_than_the_window(nb: Server, short_tmp: Path) -> None:
    """20,000 rows wait as keys, not as bytes; a loop that has other things to do is not held."""
    async with Proxy(short_tmp / "proxy", nb.socket) as proxy:
        world = World([proxy.remote], deadline=60.0, database={"probe_interval": 0})
        async with world.up():
            world.want("ls", switch("ls1"))
            await settled(world)
            nb.pause()
            sent = len(proxy.requests)
            # What `want` itself costs here is the test's own.
            for number in range(PORTS):
                world.want(f"p{number}", port(f"p{number}", "ls1"))
                if number % 100 == 0:
                    await asyncio.sleep(0)
            await eventually(lambda: len(transactions(proxy.requests[sent:])) == 4, "a full window")
            longest = 0.0
            for _ in range(200):
                before = time.perf_counter()
                await asyncio.sleep(0.005)
                longest = max(longest, time.perf_counter() - before)
                world.committer.touch([("Logical_Switch_Port", f"p{number}") for number in range(100)])
            assert len(transactions(proxy.requests[sent:])) == 4
            assert world.committer.queued >= PORTS - 4 * 100
            assert longest < 1.0, "the loop was held"
            nb.resume()
            await settled(world, 120)
            assert len(rows(nb, "Logical_Switch_Port")) == PORTS
            assert world.errors == []

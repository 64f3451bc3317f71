"""One of the two servers is away for longer than the lease: who writes then, and what is lost (nothing).

Writes are what the servers are sent, seen on the way to them, not what the controller counts.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.faults.candidates import Field, Recorded
from tests.support.ovsdb import eventually, nbctl

LEASE = 6


async def _disturb(field: Field, stop: asyncio.Event) -> None:
    """Give the leader something to write to both servers, again and again."""
    number = 0
    while not stop.is_set():
        number += 1
        nbctl(field.servers[0], "--if-exists", "lsp-del", "before.a")
        field.recreate("a", "restless", f"node-{number % 3 + 1}")
        await asyncio.sleep(0.05)


def _fail_renewals(field: Field, leader: Recorded) -> None:
    field.api.faults.fail(500, None, r"^(PUT|GET) .*/leases/")


def _say_nothing(field: Field, leader: Recorded) -> None:
    leader.kubernetes.deliver_replies = False


@pytest.mark.parametrize("trouble", [_fail_renewals, _say_nothing])
async def test_a_leader_that_cannot_renew_stops_writing_within_the_lease(field: Field, trouble: object) -> None:
    leader = await field.candidate("first", lease=LEASE)
    await leader.leading()
    field.pod("a", "before", "node-1")
    await field.settle()
    stop = asyncio.Event()
    disturbing = asyncio.create_task(_disturb(field, stop))
    begun = len(leader.written())
    await eventually(lambda: len(leader.written()) > begun + 20, "writing")
    trouble(field, leader)  # type: ignore[operator]
    lost = time.monotonic()
    assert await leader.ended() == 3
    # There was work until the end, and longer: 1 s is a third of what is left of the lease then.
    await asyncio.sleep(1.0)
    stop.set()
    await disturbing
    print(f"\nlast write {leader.written()[-1] - lost:.2f} s after the last renewal that could succeed")
    assert leader.written()[-1] > lost
    assert leader.written()[-1] < lost + LEASE
    assert leader.says("LeadershipLost")

    # The kubelet starts it again; nothing is written as long as the server does not answer, and then all of it.
    again = time.monotonic()
    leader.kubernetes.requests = b""
    leader.spawn()
    field.pod("a", "meanwhile", "node-2")
    # It has read all it can get and asks for the lease, or waits for the first reply.
    asked = b"/leases/" if trouble is _fail_renewals else b"/pods"
    await eventually(lambda: asked in leader.kubernetes.requests, "an attempt", 60)
    assert leader.written()[-1] < again
    leader.kubernetes.deliver_replies = True
    leader.kubernetes.cut()
    await field.settle()
    await leader.leading()


async def test_nb_is_away_for_longer_than_the_lease(field: Field) -> None:
    """The leader goes on leading, addresses are given; what waits for NB says so, and is written when NB is back."""
    leader = await field.candidate("first", lease=LEASE)
    await leader.leading()
    field.pod("a", "before", "node-1")
    await field.settle()
    field.servers[0].kill()
    gone = time.monotonic()
    field.pod("a", "meanwhile", "node-2")
    field.subnet("late", "10.150.0.0/24")
    field.delete("a", "before")
    await eventually(lambda: "meanwhile.a" in field.leases(), "an address", 30)
    await eventually(lambda: leader.kubernetes.renewals[-1] > gone + LEASE, "renewals", 60)

    (late,) = [subnet for subnet in field.objects("kubeovn.io", "subnets") if subnet["metadata"]["name"] == "late"]
    ready = [c for c in late.get("status", {}).get("conditions", ()) if c["type"] == "Ready" and c["status"] == "True"]
    assert not ready
    field.servers[0].start()
    await field.settle()
    assert leader.process.poll() is None
    assert not leader.says("leadership ended")


async def test_a_backup_that_another_leader_wrote(field: Field) -> None:
    """Its epoch is not the leader's, who therefore ends as if deposed; the kubelet starts it again, and it brings the
    database up to date: somebody has to put the backup in place, nobody has to do more."""
    first, second = await field.pair(lease=LEASE)
    field.backup_nb()
    first.process.terminate()
    assert await first.ended() == 0
    field.pod("a", "after", "node-2")
    await field.settle()
    before = await field.snapshot()
    field.restore_nb()
    assert await second.ended() == 3
    assert second.says("NB has a newer leader")
    second.spawn()
    await field.settle()
    assert await field.snapshot() == before

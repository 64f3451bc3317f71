"""Two controllers on one API server and one NB: who writes when the leader ends, dies, or sleeps through its lease."""

from __future__ import annotations

import signal
import time

from tests.faults.candidates import Field
from tests.support.ovsdb import eventually


async def test_an_orderly_stop_hands_over_at_once(field: Field) -> None:
    lease = 60
    leader, standby = await field.pair(lease=lease)
    asked = time.monotonic()
    leader.process.send_signal(signal.SIGTERM)
    field.pod("a", "after", "node-2")
    await field.settle()
    assert await leader.ended() == 0
    taken = standby.first_write(asked)
    print(f"\nhand-over on SIGTERM: {taken - asked:.2f} s until the successor writes")
    assert leader.written()[-1] < taken, "two wrote at the same time"
    assert leader.kubernetes.renewals[-1] < taken, "the lease was not let go first"
    assert taken - asked < lease / 3, "the lease was waited for"


async def test_after_kill_9_the_lease_is_waited_for(field: Field) -> None:
    lease = 3
    leader, standby = await field.pair(lease=lease)
    killed = time.monotonic()
    leader.process.kill()
    field.pod("a", "after", "node-2")
    await field.settle()
    taken = standby.first_write(killed)
    print(f"\nhand-over on kill -9: {taken - killed:.2f} s with a lease of {lease} s")
    assert taken >= leader.kubernetes.renewals[-1] + lease


async def test_a_leader_that_slept_through_its_lease_writes_nothing(field: Field) -> None:
    leader, standby = await field.pair(lease=10)
    begun = len(leader.written())
    for number in range(200):
        field.pod("a", f"during-{number}", "node-2")
    await eventually(lambda: len(leader.written()) > begun + 30, "work half done")
    leader.process.send_signal(signal.SIGSTOP)
    paused = time.monotonic()
    assert len(field.leases()) < 200, "nothing is left that it would do when it wakes up"
    await field.settle()
    taken = standby.first_write(paused)
    field.delete("a", "during-0")
    await field.settle()
    refused = leader.refused
    woken = time.monotonic()
    leader.process.send_signal(signal.SIGCONT)
    status = await leader.ended()
    print(f"\nhand-over on SIGSTOP: {taken - paused:.2f} s; the sleeper ended {time.monotonic() - woken:.2f} s after")
    assert status == 3
    assert leader.says("LeadershipLost")
    assert [write for t, write in leader.kubernetes.writes if t >= woken] == []
    sent = [t for t in leader.transactions if t >= woken]
    assert len(sent) == leader.refused - refused, "NB took a write of the sleeper"
    ((row,),) = (await field.rows("NB_Global")).values()
    assert dict(row["external_ids"][1])["ovnbridge-epoch"].endswith("-second")
    field.pod("a", "later", "node-3")
    await field.settle()

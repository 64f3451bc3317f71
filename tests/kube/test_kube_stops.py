"""The writer under the leader lease: without the lease nothing is written, however much there is to do."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime

from kube_harness import Table, Wanted, create_pods, running, until

from ovnbridge.engine.items import Annotations
from ovnbridge.kube.cache import Cache
from ovnbridge.kube.connection import Connection
from ovnbridge.kube.lease import Elector, Leadership
from ovnbridge.kube.writer import Writer
from ovnbridge.lab.api import ApiServer
from ovnbridge.model.kube import Pod
from ovnbridge.model.resource import LEASE, POD

DURATION, DEADLINE, RETRY = 3.0, 2.0, 0.2
KEY = "default/a"


async def test_a_lost_lease_stops_all_writes_before_anybody_else_may_lead(
    server: ApiServer, connection: Connection
) -> None:
    await create_pods(connection, "a")
    table, wanted = Table(), Wanted()
    cache = Cache(connection=connection, sink=table)
    cache.want(POD, Pod)
    last_write = datetime.min.replace(tzinfo=UTC)

    async def lead(leadership: Leadership) -> None:
        """Has something to write all the time."""
        writer = Writer(
            connection=connection,
            resources={"Pod": POD},
            desired=wanted,
            objects=table,
            observe=cache.observe,
            now=lambda: datetime.now(UTC),
        )
        async with running(writer.run()):
            for number in itertools.count():
                wanted.by_object[("Pod", KEY)] = [Annotations("Pod", KEY, {"x": str(number)})]
                writer.touch("Pod", KEY)
                await writer.settled()
                nonlocal last_write
                last_write = datetime.now(UTC)

    elector = Elector(connection, "kube-system", "lock", "one", duration=DURATION, renew_deadline=DEADLINE, retry=RETRY)
    async with running(cache.run()):
        await asyncio.wait_for(cache.synced(), 5)
        leading = asyncio.ensure_future(elector.run(lead))
        await until(lambda: server.requests["PATCH", "core/pods"] > 10)
        # Writes go through as before, only the lease cannot be renewed any more.
        server.faults.fail(500, None, r"(PUT|PATCH) .*/leases/lock")
        await asyncio.wait((leading,), timeout=20)
        assert leading.done()
        written = server.requests["PATCH", "core/pods"]
        lease = (await connection.get(LEASE, "kube-system", "lock"))["spec"]
        renewed = datetime.fromisoformat(lease["renewTime"])
        assert 0 < (last_write - renewed).total_seconds() < DURATION
        await asyncio.sleep(0.3)
        assert server.requests["PATCH", "core/pods"] == written
        leading.exception()

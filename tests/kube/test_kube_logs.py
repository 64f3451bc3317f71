"""What is logged of a server that is away, refuses, or lets another one lead: each change of state once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from kube_harness import NOON, Scripted, Table, Wanted, create_pods, event, page, pod_at, refuse, running, until, watch

from ovnbridge.engine.items import Annotations
from ovnbridge.kube.cache import Cache
from ovnbridge.kube.connection import ApiError, Connection
from ovnbridge.kube.lease import Elector, Leadership
from ovnbridge.kube.reflector import Reflector
from ovnbridge.kube.writer import Writer
from ovnbridge.lab.api import ApiServer
from ovnbridge.model.kube import Namespace, Node, Pod
from ovnbridge.model.resource import NAMESPACE, NODE, POD

Lines = list[str]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    """What anybody sees who does not debug; grows."""
    found: Lines = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Handler(logging.INFO)
    logging.getLogger("ovnbridge").addHandler(handler)
    caplog.set_level(logging.DEBUG, "ovnbridge")
    yield found
    logging.getLogger("ovnbridge").removeHandler(handler)


async def test_a_server_that_goes_and_comes_back(server: ApiServer, connection: Connection, lines: Lines) -> None:
    """One line each, however many kinds are watched and however often it is tried."""
    await create_pods(connection, "a")
    table = Table()
    cache = Cache(connection=connection, sink=table)
    for resource, decoder in ((POD, Pod), (NODE, Node), (NAMESPACE, Namespace)):
        cache.want(resource, decoder)
    async with running(cache.run()):
        await asyncio.wait_for(cache.synced(), 5)
        await until(lambda: server.faults.open_watches == 3)
        port = int(server.url.rpartition(":")[2])
        reflectors = list(cache.reflectors())
        watches = [reflector.watches for reflector in reflectors]
        await server.stop()
        await until(lambda: all(r.watches > before + 2 for r, before in zip(reflectors, watches, strict=True)))
        assert len(lines) == 1, lines
        assert lines[0].startswith("no answer from the API server")
        await server.start(host="127.0.0.1", port=port)
        await create_pods(connection, "b")
        await until(lambda: "default/b" in table.names())
        assert len(lines) == 2, lines
        assert lines[1].startswith("the API server answers again")
        await server.stop()
        await until(lambda: len(lines) == 3)
        assert lines[2].startswith("no answer from the API server")


async def test_a_kind_that_cannot_be_listed(lines: Lines) -> None:
    """Told once, and again after it has worked, also when no event has come in between."""
    script = Scripted()
    script.lists = [
        *[refuse(403, "Forbidden")] * 3,
        page(10),
        *[refuse(403, "Forbidden")] * 2,
        page(20, pod_at("a", 15)),
    ]
    script.watches = [watch(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})), watch()]

    async def soon(seconds: float) -> None:
        await asyncio.sleep(0.001)

    table = Table()
    async with script.serve() as connection:
        reflector = Reflector(connection=connection, resource=POD, decoder=Pod, sink=table, sleep=soon)
        async with running(reflector.run()):
            await until(lambda: table.names())
    told = [line.split(" error=")[0] for line in lines if "failed" in line or "works" in line]
    assert told == [
        "list failed resource=pods",
        "works again resource=pods after=list_403_Forbidden",
        "watch failed resource=pods",
        "list failed resource=pods",
        "works again resource=pods after=list_403_Forbidden",
    ]


async def test_a_candidate_says_who_leads_and_once_that_it_cannot_ask(
    server: ApiServer, connection: Connection, lines: Lines
) -> None:
    async def lead(leadership: Leadership) -> None:
        await asyncio.Event().wait()

    def elector(name: str) -> Elector:
        return Elector(connection, "kube-system", "lock", name, duration=3.0, renew_deadline=2.0, retry=0.1)

    async with running(elector("one").run(lead)):
        await until(lambda: any(line.startswith("leadership acquired") for line in lines))
        lines.clear()
        async with running(elector("two").run(lead)):
            leases = ("GET", "coordination.k8s.io/leases")
            await until(lambda: server.requests[leases] > 5)
            assert lines == ["the lease is held lease=kube-system/lock holder=one"]
            server.faults.fail(500, None, r"^GET .*/leases/lock")
            asked = server.requests[leases]
            await until(lambda: server.requests[leases] > asked + 5)
            assert [line.split(" error=")[0] for line in lines[1:]] == ["lease not acquired lease=kube-system/lock"]


async def test_writes_that_wait_for_the_server(server: ApiServer, connection: Connection, lines: Lines) -> None:
    await create_pods(connection, "a")
    table, wanted = Table(), Wanted()
    cache = Cache(connection=connection, sink=table)
    cache.want(POD, Pod)
    writer = Writer(
        connection=connection,
        resources={"Pod": POD},
        desired=wanted,
        objects=table,
        observe=cache.observe,
        now=lambda: NOON,
    )
    async with running(cache.run(), writer.run()):
        await cache.synced()
        server.faults.fail(503, 4, r"^PATCH")
        wanted.want(Annotations("Pod", "default/a", {"x": "1"}))
        writer.touch("Pod", "default/a")
        await asyncio.wait_for(writer.settled(), 20)
    assert writer.stats.throttled == 4
    assert [line.split(" seconds=")[0] for line in lines] == ["writes paused", "writes go on"]


async def test_a_request_that_is_refused_is_an_answer(server: ApiServer, connection: Connection, lines: Lines) -> None:
    server.faults.fail(500, None)
    for _ in range(3):
        with pytest.raises(ApiError):
            await connection.request("GET", "/api/v1/pods")
    assert lines == []

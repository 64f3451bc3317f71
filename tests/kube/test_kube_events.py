"""`events`: posted once, counted when they come again, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from kube_harness import NOON, Table, Wanted, create_pods, pod_value, running, until

from ovnbridge.engine.items import Annotations, Event
from ovnbridge.kube import events as events_module
from ovnbridge.kube.cache import Cache
from ovnbridge.kube.connection import Connection
from ovnbridge.kube.writer import Writer
from ovnbridge.lab.api import ApiServer
from ovnbridge.model.kube import Node, Pod
from ovnbridge.model.resource import EVENT, NODE, POD

POD_A = "default/a"


class Rig:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.table, self.wanted = Table(), Wanted()
        self.cache = Cache(connection=connection, sink=self.table)
        self.cache.want(POD, Pod)
        self.cache.want(NODE, Node)
        self.now = NOON
        self.writer = Writer(
            connection=connection,
            resources={"Pod": POD, "Node": NODE},
            desired=self.wanted,
            objects=self.table,
            observe=self.cache.observe,
            now=lambda: self.now,
            instance="me",
        )

    async def set(self, kind: str, key: str, *events: Event) -> None:
        self.wanted.by_object[kind, key] = list(events)
        self.writer.touch(kind, key)
        await self.writer.settled()

    async def stored(self, namespace: str = "default") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.connection.list(EVENT, namespace))["items"]
        return sorted(found, key=lambda e: (e["reason"], e["message"]))


@pytest.fixture
def start(connection: Connection) -> Any:
    @asynccontextmanager
    async def begin() -> AsyncIterator[Rig]:
        rig = Rig(connection)
        async with running(rig.cache.run(), rig.writer.run()):
            await rig.cache.synced()
            yield rig

    return begin


def warning(message: str = "no address", reason: str = "Failed", key: str = POD_A, kind: str = "Pod") -> Event:
    return Event(kind, key, "Warning", reason, message)


async def test_an_event_is_posted_once(server: ApiServer, connection: Connection, start: Any) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        for _ in range(3):
            await rig.set("Pod", POD_A, warning())
        (event,) = await rig.stored()
        uid = rig.table.tables["Pod"][POD_A].metadata.uid
        assert event["involvedObject"] == {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "default",
            "name": "a",
            "uid": uid,
        }
        assert (event["type"], event["reason"], event["message"]) == ("Warning", "Failed", "no address")
        assert event["source"] == {"component": "kube-ovn-controller"}
        assert (event["reportingComponent"], event["reportingInstance"]) == ("kube-ovn-controller", "me")
        assert event["count"] == 1
        assert event["firstTimestamp"] == event["lastTimestamp"] == "2024-05-01T12:00:00Z"
        assert server.requests["PATCH", "core/pods"] == 0


async def test_an_event_that_comes_again_is_counted(connection: Connection, start: Any) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        await rig.set("Pod", POD_A, warning(), warning("other"))
        await rig.set("Pod", POD_A)
        rig.now = datetime(2024, 5, 1, 13, 0, 0, tzinfo=UTC)
        await rig.set("Pod", POD_A, warning())
        counted, other = await rig.stored()
        assert (counted["count"], other["count"]) == (2, 1)
        assert counted["firstTimestamp"] == "2024-05-01T12:00:00Z"
        assert counted["lastTimestamp"] == "2024-05-01T13:00:00Z"


async def test_an_event_that_expired_is_posted_anew(connection: Connection, start: Any) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        await rig.set("Pod", POD_A, warning())
        (event,) = await rig.stored()
        await connection.delete(EVENT, "default", event["metadata"]["name"])
        await rig.set("Pod", POD_A)
        await rig.set("Pod", POD_A, warning())
        (event,) = await rig.stored()
        assert event["count"] == 1


async def test_a_namesake_gets_events_of_its_own(connection: Connection, start: Any) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        await rig.set("Pod", POD_A, warning())
        first = rig.table.tables["Pod"][POD_A].metadata.uid
        await connection.delete(POD, "default", "a", grace=0)
        await until(lambda: POD_A not in rig.table.tables["Pod"])
        await rig.set("Pod", POD_A, warning())
        await create_pods(connection, "a")
        await until(lambda: POD_A in rig.table.tables["Pod"])
        await rig.set("Pod", POD_A, warning())
        assert len({event["involvedObject"]["uid"] for event in await rig.stored()} - {first}) == 1


async def test_events_about_cluster_objects_are_in_default(connection: Connection, start: Any) -> None:
    await connection.create(NODE, "", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n" * 253}})
    async with start() as rig:
        await rig.set("Node", "n" * 253, warning(key="n" * 253, kind="Node"))
        (event,) = await rig.stored()
        assert len(event["metadata"]["name"]) <= 253
        assert rig.writer.events.dropped == 0


async def test_what_was_there_before_us_is_not_posted(connection: Connection, start: Any) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        rig.wanted.by_object["Pod", POD_A] = [warning()]
        rig.writer.baseline(rig.wanted.by_object.items())
        await rig.set("Pod", POD_A, warning(), warning("new"))
        assert [event["message"] for event in await rig.stored()] == ["new"]


async def test_a_restart_takes_all_touched_objects_as_posted(connection: Connection) -> None:
    await create_pods(connection, "a")
    rig = Rig(connection)
    rig.wanted.by_object["Pod", POD_A] = [warning()]
    rig.writer.touch("Pod", POD_A)
    rig.writer.baseline(rig.wanted.by_object.items())
    async with running(rig.cache.run()):
        await rig.cache.synced()
        async with running(rig.writer.run()):
            await rig.writer.settled()
            assert await rig.stored() == []


async def test_a_flapping_object_is_throttled(connection: Connection, start: Any) -> None:
    await create_pods(connection, "a", "b")
    async with start() as rig:
        for turn in range(100):
            await rig.set("Pod", POD_A, warning(f"turn {turn}"))
        assert len(await rig.stored()) == events_module.BURST
        await rig.set("Pod", "default/b", warning(key="default/b"))
        assert len(await rig.stored()) == events_module.BURST + 1


async def test_events_wait_for_the_server_but_not_for_ever(
    server: ApiServer, connection: Connection, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        server.faults.fail(500, 2, r"POST .*/events")
        await rig.set("Pod", POD_A, warning())
        assert len(await rig.stored()) == 1
        server.faults.fail(403, None, r"POST .*/events")
        await rig.set("Pod", POD_A, warning("refused"))
        assert rig.writer.events.dropped == 1


async def test_long_texts_are_cut(connection: Connection, start: Any) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        await rig.set("Pod", POD_A, warning("m" * 5000, "R" * 500))
        (event,) = await rig.stored()
        assert (len(event["message"]), len(event["reason"])) == (1024, 128)


async def test_events_come_after_the_writes(
    server: ApiServer, connection: Connection, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "PATIENCE", 3600.0)
    await create_pods(connection, "a", "b")
    async with start() as rig:
        server.faults.delay(60, r"PATCH .*/pods/b")
        rig.wanted.want(Event("Pod", POD_A, "Normal", "Created", "a"), Annotations("Pod", "default/b", {"x": "1"}))
        for key in (POD_A, "default/b"):
            rig.writer.touch("Pod", key)
        await until(lambda: server.requests["PATCH", "core/pods"])
        await until(lambda: rig.writer.events.queued)
        await asyncio.sleep(0.1)
        assert not await rig.stored()


async def test_a_writer_that_is_never_idle_does_not_hold_events_for_ever(
    server: ApiServer, connection: Connection, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "PATIENCE", 0.05)
    await create_pods(connection, "a", "b")
    async with start() as rig:
        server.faults.delay(60, r"PATCH .*/pods/b")
        rig.wanted.want(Event("Pod", POD_A, "Normal", "Created", "a"), Annotations("Pod", "default/b", {"x": "1"}))
        for key in (POD_A, "default/b"):
            rig.writer.touch("Pod", key)
        await until(lambda: rig.writer.events.posted)
        assert [event["reason"] for event in await rig.stored()] == ["Created"]
        assert rig.writer.queues()["in_flight"] == 1


async def test_warnings_go_first_and_displace_others(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "QUEUE", 3)
    rig = Rig(connection)
    pods = {name: pod_value(name, f"uid-{name}") for name in "abcd"}
    poster = rig.writer.events
    for name, kind in (("a", "Normal"), ("b", "Normal"), ("c", "Warning"), ("d", "Warning")):
        event = Event("Pod", f"default/{name}", kind, "Why", name)
        poster.consider(POD, event.key, [event], pods[name])
    assert (poster.queued, poster.dropped) == (3, 1)
    await create_pods(connection, *pods)
    async with running(rig.writer.run()):
        await rig.writer.settled()
    names = sorted(await rig.stored(), key=lambda event: int(event["metadata"]["name"].rpartition(".")[2], 16))
    assert [event["message"] for event in names] == ["c", "d", "a"]

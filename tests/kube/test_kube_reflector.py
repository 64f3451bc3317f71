"""`reflector`: the sink equals the server whatever the stream does; lost continuity means a list, never a hot loop."""

from __future__ import annotations

import asyncio
import itertools
import time
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from kube_harness import (
    Cut,
    Scripted,
    Table,
    bookmark,
    create_pods,
    event,
    page,
    pod_at,
    pod_body,
    pod_value,
    refuse,
    running,
    status,
    until,
    watch,
)

from ovnbridge.engine.world import World
from ovnbridge.kube import reflector as reflector_module
from ovnbridge.kube.cache import Cache
from ovnbridge.kube.connection import Connection
from ovnbridge.kube.reflector import Reflector
from ovnbridge.lab.api import ApiServer
from ovnbridge.model.kube import Namespace, Node, Pod
from ovnbridge.model.resource import NAMESPACE, NETWORK_ATTACHMENT_DEFINITION, NODE, POD, Resource
from ovnbridge.reactor.sources import KubeSource


class Sleeps:
    """Stands in for asyncio.sleep: records how long it was asked for, and returns soon."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0.001)


def reflect(connection: Connection, table: Table, **options: Any) -> Reflector[Pod]:
    return Reflector(connection=connection, resource=POD, decoder=Pod, sink=table, **options)


# ---- against the embedded server


async def test_lists_in_pages_and_follows(server: ApiServer, connection: Connection) -> None:
    await create_pods(connection, *"abcdefg")
    table = Table()
    reflector = reflect(connection, table, page_size=3)
    async with running(reflector.run()):
        await reflector.synced.wait()
        assert table.names() == {f"default/{name}" for name in "abcdefg"}
        assert server.requests["GET", "core/pods"] == 3
        assert table.replaced == 1
        await connection.patch(POD, "default", "a", {"metadata": {"labels": {"x": "1"}}})
        await connection.delete(POD, "default", "b", grace=0)
        await create_pods(connection, "h")
        await until(lambda: table.log == [("default/a", True), ("default/b", False), ("default/h", True)])
    assert table.tables["Pod"]["default/a"].metadata.labels == {"x": "1"}


async def test_a_list_reaches_the_world_in_steps_and_replies_overtake_it(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector_module, "SLICE_SECONDS", 0.0)
    names = [f"p{number:03}" for number in range(200)]
    await create_pods(connection, *names)
    world = World()
    world.put("Pod", "default/gone", pod_value("gone", "1"))
    source = KubeSource(world, lambda: None)
    reflector: Reflector[Pod] = Reflector(connection=connection, resource=POD, decoder=Pod, sink=source)
    running_reflector = asyncio.create_task(reflector.run())
    sizes: set[int] = set()
    replied = False
    while not reflector.synced.is_set():
        await asyncio.sleep(0)
        sizes.add(world.size("Pod"))
        if not replied and 5 < world.size("Pod") < len(names):  # in the middle of it, for a pod that is still to come
            reflector.observe(pod_at("p199", 10**6, labels={"from": "reply"}))
            replied = True
    running_reflector.cancel()
    assert replied
    assert len(sizes) > 5, "the loop went on in between"
    assert set(world.keys("Pod")) == {f"default/{name}" for name in names}
    last = world.get("Pod", "default/p199")
    assert isinstance(last, Pod)
    assert last.metadata.labels == {"from": "reply"}


async def test_selectors_and_transform_narrow(connection: Connection) -> None:
    for name, node in (("a", "n1"), ("b", "n2"), ("host", "n1")):
        await connection.create(POD, "default", pod_body(name, node=node))
    table = Table()
    reflector = reflect(
        connection,
        table,
        field_selector="spec.nodeName=n1",
        transform=lambda pod: None if pod.metadata.name == "host" else pod,
    )
    async with running(reflector.run()):
        await reflector.synced.wait()
        assert table.names() == {"default/a"}
        reply = await connection.patch(POD, "default", "b", {"metadata": {"labels": {"x": "1"}}})
        reflector.observe(reply)
        assert table.names() == {"default/a"}


async def test_events_that_change_nothing_we_keep_are_not_told(connection: Connection) -> None:
    await create_pods(connection, "a", "b")
    table = Table()
    reflector = reflect(connection, table)
    async with running(reflector.run()):
        await reflector.synced.wait()
        await connection.patch(
            POD, "default", "a", {"status": {"startTime": "2024-01-01T00:00:00Z"}}, subresource="status"
        )
        await connection.patch(POD, "default", "b", {"metadata": {"labels": {"x": "1"}}})
        await until(lambda: table.log)
        assert table.log == [("default/b", True)]
        assert reflector.events >= 2


async def test_a_dropped_watch_resumes_without_a_list(server: ApiServer, connection: Connection) -> None:
    await create_pods(connection, "a")
    table = Table()
    reflector = reflect(connection, table)
    async with running(reflector.run()):
        await reflector.synced.wait()
        await until(lambda: server.faults.open_watches)
        server.faults.drop_watches()
        await create_pods(connection, "b")
        await until(lambda: "default/b" in table.names())
    assert reflector.lists == 1


async def test_an_expired_watch_relists_and_finds_deletions(server: ApiServer, connection: Connection) -> None:
    await create_pods(connection, "a", "b")
    table = Table()
    reflector = reflect(connection, table)
    async with running(reflector.run()):
        await reflector.synced.wait()
        await until(lambda: server.faults.open_watches)
        server.faults.fail(503, count=None, match=r"GET /api/v1/pods")
        server.faults.drop_watches()
        await connection.delete(POD, "default", "a", grace=0)
        await create_pods(connection, "c")
        server.compact()  # what was missed cannot be had from a watch any more
        server.faults.clear()
        await until(lambda: table.names() == {"default/b", "default/c"})
    assert reflector.lists == 2


async def test_a_reply_is_in_the_cache_before_its_event(server: ApiServer, connection: Connection) -> None:
    await create_pods(connection, "a")
    table = Table()
    reflector = reflect(connection, table)
    async with running(reflector.run()):
        await reflector.synced.wait()
        reply = await connection.request("GET", "/api/v1/namespaces/default/pods/a")
        patched = await connection.patch(POD, "default", "a", {"metadata": {"annotations": {"x": "1"}}})
        reflector.observe(orjson.dumps(patched))
        assert table.tables["Pod"]["default/a"].metadata.annotations == {"x": "1"}
        reflector.observe(reply)
        assert table.tables["Pod"]["default/a"].metadata.annotations == {"x": "1"}
        reflector.observe(status(200, "Success"))
        reflector.observe(b"no json")


async def test_an_optional_kind_may_be_missing(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table()
    missing = Reflector(
        connection=connection, resource=NETWORK_ATTACHMENT_DEFINITION, decoder=Namespace, sink=table, optional=True
    )
    async with running(missing.run()):
        await asyncio.wait_for(missing.synced.wait(), 5)
    assert table.tables == {NETWORK_ATTACHMENT_DEFINITION.kind: {}}
    assert table.unserved == {NETWORK_ATTACHMENT_DEFINITION.kind}


async def test_one_cache_for_many_askers(server: ApiServer, connection: Connection) -> None:
    await create_pods(connection, "a")
    await connection.create(POD, "default", pod_body("b", node="n2"))
    table = Table()
    cache = Cache(connection=connection, sink=table)
    cache.want(POD, Pod, field_selector="spec.nodeName=n1")
    cache.want(POD, Pod)
    cache.want(NAMESPACE, Namespace, consistent=False)
    cache.want(NAMESPACE, Namespace, consistent=False)
    with pytest.raises(ValueError):
        cache.want(POD, Namespace)
    assert cache.unsynced() == ["Pod", "Namespace"]
    async with running(cache.run()):
        await cache.synced()
        assert table.names() == {"default/a", "default/b"}
        assert server.requests["GET", "core/namespaces"] <= 2
        cache.want(NODE, Node)
        await cache.synced()
        assert "Node" in table.tables
        assert cache.get("Pod", "default/a") == table.get("Pod", "default/a")
        assert cache.version("Pod", "default/a").isdigit()
        assert cache.version("Pod", "default/none") == ""
        assert cache.unsynced() == []


# ---- byte for byte


async def scripted(
    script: Scripted, *expected: str, seconds: float = 10, **options: Any
) -> tuple[Table, Reflector[Pod], Sleeps]:
    """Run a reflector against the script until exactly the expected pods are there."""
    table, sleeps = Table(), Sleeps()
    wanted = {f"default/{name}" for name in expected}
    async with script.serve() as connection:
        reflector = reflect(connection, table, sleep=sleeps, **options)
        async with running(reflector.run()):
            await until(lambda: table.replaced and table.names() == wanted, seconds)
    return table, reflector, sleeps


async def test_an_expired_continue_token_starts_the_list_over() -> None:
    script = Scripted()
    script.lists = [
        page(5, pod_at("old", 1), token="t"),
        refuse(410, "Expired"),
        page(9, pod_at("a", 2), token="u"),
        page(9, pod_at("b", 3)),
    ]
    script.watches = [watch()]
    await scripted(script, "a", "b")
    assert [request.get("continue") for request in script.requests[:4]] == [None, "t", None, "u"]


async def test_tokens_that_always_expire_end_in_one_unpaged_list() -> None:
    script = Scripted()

    def answer(request: Any) -> Any:
        if "continue" in request.query:
            return status(410, "Expired")
        return page(5, pod_at("a", 1), token="t" if "limit" in request.query else "")(request)

    script.lists = [answer]
    script.watches = [watch()]
    await scripted(script, "a")
    assert "limit" not in [r for r in script.requests if "watch" not in r][-1]


@pytest.mark.parametrize(
    "fault",
    [
        watch(event("ERROR", status(410, "Expired"))),
        watch(event("ERROR", status(504, "Timeout", message="Too large resource version"))),
        watch(b'{"type":"MODIFIED","object":}\n'),
        watch(b"\xff\xfe garbage\n"),
        watch(b"[]\n"),
        watch(event("SURPRISE", pod_at("a", 12))),
        watch(event("MODIFIED", pod_at("a", 3))),
        watch(bookmark(12) + event("MODIFIED", pod_at("a", 11))),
        watch(event("BOOKMARK", {"metadata": {}})),
    ],
    ids=["410", "504", "not-json", "not-utf8", "no-event", "unknown-type", "backwards", "bookmark", "no-version"],
)
async def test_lost_continuity_relists(fault: Any) -> None:
    script = Scripted()
    script.lists = [page(10, pod_at("a", 5)), page(20, pod_at("b", 15))]
    script.watches = [fault, watch()]
    _, reflector, sleeps = await scripted(script, "b")
    assert reflector.lists == 2
    assert sleeps.seconds


async def test_http_410_relists() -> None:
    script = Scripted()
    script.lists = [page(10, pod_at("a", 5)), page(20, pod_at("b", 15))]
    script.watch_refusals = [status(410, "Expired")]
    script.watches = [watch()]
    _, reflector, _ = await scripted(script, "b")
    assert reflector.lists == 2


async def test_a_line_cut_in_the_middle_is_not_an_event() -> None:
    script = Scripted()
    script.lists = [page(10)]
    whole, half = event("ADDED", pod_at("a", 11)), event("ADDED", pod_at("b", 12))[:-20]
    script.watches = [watch(whole + half, 0.05, Cut), watch(event("ADDED", pod_at("c", 13)))]
    _, reflector, _ = await scripted(script, "a", "c")
    assert reflector.lists == 1
    assert [r["resourceVersion"] for r in script.requests if "watch" in r] == ["10", "11"]


async def test_a_stream_that_ends_in_half_a_line_is_resumed() -> None:
    script = Scripted()
    script.lists = [page(10)]
    script.watches = [watch(event("ADDED", pod_at("a", 11))[:30], 0.0), watch(event("ADDED", pod_at("a", 11)))]
    _, reflector, _ = await scripted(script, "a")
    assert reflector.lists == 1


async def test_bookmarks_move_the_resume_point() -> None:
    script = Scripted()
    script.lists = [page(10)]
    script.watches = [watch(bookmark(77), 0.0), watch(event("ADDED", pod_at("a", 78)))]
    await scripted(script, "a")
    assert [r["resourceVersion"] for r in script.requests if "watch" in r] == ["10", "77"]
    assert all(r["allowWatchBookmarks"] == "true" for r in script.requests if "watch" in r)


async def test_empty_streams_back_off_and_end_in_a_list() -> None:
    script = Scripted()
    script.lists = [page(10), page(20, pod_at("a", 15))]
    script.watches = [*[watch(0.0)] * (reflector_module.FRUITLESS + 1), watch()]
    _, _, sleeps = await scripted(script, "a")
    first = sleeps.seconds[: reflector_module.FRUITLESS]
    assert all(later > 1.01 * earlier / 2 for earlier, later in itertools.pairwise(first))
    assert sum(first) > 5


async def test_a_huge_event_is_read() -> None:
    script = Scripted()
    script.lists = [page(10)]
    line = event("ADDED", pod_at("a", 11, annotations={"big": "x" * (6 << 20)}))
    parts = [line[i : i + 100_000] for i in range(0, len(line), 100_000)]
    script.watches = [watch(*parts)]
    table, _, _ = await scripted(script, "a")
    assert len(table.tables["Pod"]["default/a"].metadata.annotations["big"]) == 6 << 20


async def test_an_endless_line_ends_the_watch() -> None:
    script = Scripted()
    script.lists = [page(10)]
    script.watches = [watch(*[b"x" * (1 << 20)] * 9), watch(event("ADDED", pod_at("a", 11)))]
    await scripted(script, "a")
    assert script.counts["watch"] == 2


async def test_many_events_in_one_chunk_and_one_in_many() -> None:
    script = Scripted()
    script.lists = [page(10)]
    burst = b"".join(event("ADDED", pod_at(f"p{i}", 11 + i)) for i in range(500))
    single = event("ADDED", pod_at("last", 999))
    script.watches = [watch(burst, *[single[i : i + 1] for i in range(len(single))])]
    await scripted(script, "last", *[f"p{i}" for i in range(500)])


async def test_an_object_that_cannot_be_read_stops_no_other() -> None:
    script = Scripted()
    bad, worse = pod_at("bad", 4), pod_at("worse", 6)
    bad["metadata"]["labels"] = 7
    worse["spec"]["containers"] = {"a": 1}
    deep = pod_at("deep", 7)
    script.lists = [page(10, pod_at("a", 3), bad, deep), page(30, pod_at("a", 23), worse, pod_at("deep", 7))]
    good_then_bad = pod_at("deep", 12)
    good_then_bad["spec"]["nodeName"] = []
    script.watches = [
        watch(
            event("MODIFIED", good_then_bad)
            + event("ADDED", worse | {"metadata": worse["metadata"] | {"resourceVersion": "13"}})
            + event("ADDED", pod_at("b", 14))
            + event("ERROR", status(410, "Gone"))
        ),
        watch(event("ADDED", pod_at("end", 31))),
    ]
    reports: list[tuple[str, str, str]] = []

    def report(resource: Resource, name: str, namespace: str, error: str) -> None:
        reports.append((resource.kind, namespace, name))

    table, reflector, _ = await scripted(script, "a", "deep", "end", on_malformed=report)
    assert reports == [("Pod", "default", name) for name in ("bad", "deep", "worse", "worse")]
    assert table.tables["Pod"]["default/deep"].spec.node_name == "n1"
    assert reflector.malformed == 4


async def test_a_list_keeps_what_it_cannot_read_and_what_is_equal() -> None:
    script = Scripted()
    broken = pod_at("broken", 22)
    broken["metadata"]["labels"] = []
    script.lists = [page(10, pod_at("same", 3), pod_at("broken", 4)), page(30, pod_at("same", 25), broken)]
    again = asyncio.Event()

    async def until_told(request: Any) -> Any:
        await again.wait()
        yield event("ERROR", status(410, "Expired"))

    script.watches = [until_told, watch(event("ADDED", pod_at("end", 31)))]
    table = Table()
    async with script.serve() as connection:
        reflector = reflect(connection, table)
        async with running(reflector.run()):
            await reflector.synced.wait()
            before = dict(table.tables["Pod"])
            again.set()
            await until(lambda: "default/end" in table.tables["Pod"])
    assert len(before) == 2
    assert all(table.tables["Pod"][key] is pod for key, pod in before.items())
    assert reflector.versions["default/same"] == 25


async def test_a_deeply_nested_field_stops_nothing() -> None:
    script = Scripted()
    deep = orjson.dumps(pod_at("deep", 11)).replace(b'"spec":{', b'"spec":{"x":' + b"[" * 9000 + b"]" * 9000 + b",")
    script.lists = [page(10, pod_at("a", 3))]
    script.watches = [watch(b'{"type":"ADDED","object":' + deep + b"}\n" + event("ADDED", pod_at("b", 12)))]
    _, reflector, _ = await scripted(script, "a", "b")
    assert reflector.malformed == 1  # reported, and no reason to list again
    assert reflector.lists == 1


async def test_null_items_are_no_items() -> None:
    script = Scripted()
    script.lists = [lambda request: {"kind": "PodList", "metadata": {"resourceVersion": "5"}, "items": None}]
    script.watches = [watch(event("ADDED", pod_at("a", 6)))]
    await scripted(script, "a")


async def test_a_failing_list_is_tried_again_with_growing_delays() -> None:
    script = Scripted()
    script.lists = [
        *[refuse(500, "InternalError")] * 4,
        refuse(429, "TooManyRequests", details={"retryAfterSeconds": 7}),
        page(5, pod_at("a", 1)),
    ]
    script.watches = [watch()]
    _, _, sleeps = await scripted(script, "a")
    assert sleeps.seconds[0] <= 0.1
    assert sleeps.seconds[3] >= 0.4
    assert sleeps.seconds[4] >= 7


async def test_a_watch_that_must_wait_keeps_its_place() -> None:
    script = Scripted()
    script.lists = [page(10)]
    script.watches = [watch(event("ERROR", status(429, "TooManyRequests"))), watch(event("ADDED", pod_at("a", 11)))]
    _, reflector, _ = await scripted(script, "a")
    assert reflector.lists == 1


async def test_the_loop_is_not_held_by_a_large_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which each object takes a millisecond: after twenty, and at the next look at it, others run."""
    script = Scripted()
    script.lists = [page(9999, *[pod_at(f"p{i}", i + 1) for i in range(5000)])]
    script.watches = [watch()]
    decoded: list[str] = []
    turns: list[int] = []

    def counted(pod: Pod) -> Pod:
        decoded.append(pod.metadata.name)
        return pod

    async def probe() -> None:
        while True:
            before = len(decoded)
            await asyncio.sleep(0)
            turns.append(len(decoded) - before)

    monkeypatch.setattr(
        reflector_module, "time", SimpleNamespace(perf_counter=lambda: len(decoded) / 1000, monotonic=time.monotonic)
    )
    async with script.serve() as connection:
        reflector = reflect(connection, Table(), transform=counted)
        async with running(reflector.run(), probe()):
            await asyncio.wait_for(reflector.synced.wait(), 20)
    assert sum(turns) == len(decoded) == 5000
    assert max(turns) <= 20 + reflector_module.SLICE_STEP

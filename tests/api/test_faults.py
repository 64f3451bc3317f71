"""Faults, counters and the other things that only the embedded server has."""

from __future__ import annotations

import asyncio
import socket
import time

import aiohttp
import pytest
from api_harness import MERGE, Backend, Client, config_map, eventually, pod, service

from ovnbridge.lab.api import ApiServer

MAPS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"


async def version_of(client: Client, path: str) -> str:
    return str((await client.get(path)).body["metadata"]["resourceVersion"])


async def test_open_watches_expire_and_cannot_resume(server: ApiServer, client: Client) -> None:
    version = await version_of(client, MAPS)
    async with client.watch(MAPS, resourceVersion=version) as watch:
        await client.post(MAPS, config_map("one"))
        assert (await watch.next())["type"] == "ADDED"
        server.faults.expire_watches()
        error = await watch.next()
        assert (error["type"], error["object"]["code"], error["object"]["reason"]) == ("ERROR", 410, "Expired")
        with pytest.raises(EOFError):
            await watch.next()
    async with client.watch(MAPS, resourceVersion=version) as resumed:
        assert (await resumed.next())["object"]["code"] == 410
    async with client.watch(MAPS, resourceVersion=await version_of(client, MAPS)) as relisted:
        await client.post(MAPS, config_map("two"))
        assert (await relisted.next())["object"]["metadata"]["name"] == "two"


async def test_expired_watch_on_a_quiet_cluster(server: ApiServer, client: Client) -> None:
    """Even the newest version that a client can know is too old afterwards."""
    version = await version_of(client, MAPS)
    server.faults.expire_watches()
    async with client.watch(MAPS, resourceVersion=version) as watch:
        assert (await watch.next())["object"]["code"] == 410


async def test_dropped_watches(server: ApiServer, client: Client) -> None:
    async with client.watch(MAPS, resourceVersion=await version_of(client, MAPS)) as watch:
        await eventually(lambda: _true(server.faults.open_watches == 1), "the watch is open")
        server.faults.drop_watches()
        with pytest.raises(aiohttp.ClientPayloadError):
            await watch.next()
    await eventually(lambda: _true(server.faults.open_watches == 0), "the watch is forgotten")


async def _true(value: bool) -> bool:
    return value


async def test_compacted_versions(server: ApiServer, client: Client) -> None:
    for index in range(3):
        await client.post(MAPS, config_map(f"m{index}"))
    page = (await client.get(MAPS, limit="1")).body["metadata"]
    server.compact()
    stale = await client.get(MAPS, limit="1", **{"continue": page["continue"]})
    assert (stale.code, stale.reason) == (410, "Expired")
    exact = await client.get(MAPS, resourceVersion=page["resourceVersion"], resourceVersionMatch="Exact")
    assert (exact.code, exact.reason) == (410, "Expired")


async def test_short_history() -> None:
    server = ApiServer(history=3)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(Backend("embedded", server.url, None), session)  # type: ignore[arg-type]
            version = await version_of(client, MAPS)
            for index in range(3):
                await client.post(MAPS, config_map(f"m{index}"))
            async with client.watch(MAPS, resourceVersion=version) as watch:
                assert len(await watch.take(3)) == 3
            await client.post(MAPS, config_map("m3"))
            async with client.watch(MAPS, resourceVersion=version) as watch:
                assert (await watch.next())["object"]["code"] == 410
    finally:
        await server.stop()


async def test_failures_are_counted_down(server: ApiServer, client: Client) -> None:
    server.faults.fail(503, 2, match=r"^PATCH .*/configmaps/")
    await client.post(MAPS, config_map("one"))
    codes = [(await client.patch(f"{MAPS}/one", MERGE, {"data": {"a": "b"}})).code for _ in range(3)]
    assert codes == [503, 503, 200]


async def test_throttling(server: ApiServer, client: Client) -> None:
    server.faults.fail(429, 1, match=lambda request: request.startswith("GET"), retry_after=7)
    answer = await client.get(MAPS)
    assert (answer.code, answer.reason, answer.headers["Retry-After"]) == (429, "TooManyRequests", "7")
    assert answer.body["details"]["retryAfterSeconds"] == 7
    server.faults.fail(500, None)
    assert [(await client.get(MAPS)).code for _ in range(3)] == [500] * 3
    server.faults.clear()
    assert (await client.get(MAPS)).code == 200


async def test_delay_holds_up_only_what_matches(server: ApiServer, client: Client) -> None:
    server.faults.delay(30, match="/pods$")
    slow = asyncio.create_task(client.get("/api/v1/pods"))
    assert (await client.get(MAPS)).code == 200
    assert not slow.done()
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    server.faults.clear()
    server.faults.delay(0.05)
    started = time.monotonic()
    await client.get(MAPS)
    assert time.monotonic() - started >= 0.05


async def test_requests_are_counted(server: ApiServer, client: Client) -> None:
    await client.post(MAPS, config_map("one"))
    await client.patch(f"{MAPS}/one", MERGE, {"data": {"a": "b"}})
    await client.post("/api/v1/namespaces/default/pods", pod("p"))
    await client.patch("/api/v1/namespaces/default/pods/p/status", MERGE, {"status": {"phase": "Running"}})
    await client.get("/apis/apps/v1/deployments")
    assert server.requests["POST", "core/configmaps"] == 1
    assert server.requests["PATCH", "core/configmaps"] == 1
    assert server.requests["PATCH", "core/pods/status"] == 1
    assert server.requests["GET", "apps/deployments"] == 1
    server.requests.clear()
    assert sum(server.requests.values()) == 0


async def test_sockets_of_the_caller() -> None:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    server = ApiServer(service_cidrs=("10.50.0.0/24", "fd00:50::/112"))
    await server.start(sockets=listeners)
    try:
        ports = [listener.getsockname()[1] for listener in listeners]
        assert server.url == f"http://127.0.0.1:{ports[0]}"
        assert server.kubeconfig()["clusters"][0]["cluster"]["server"] == server.url
        other = f"http://127.0.0.1:{ports[1]}"
        assert server.kubeconfig(other)["clusters"][0]["cluster"]["server"] == other
        async with aiohttp.ClientSession() as session:
            client = Client(Backend("embedded", other, None), session)  # type: ignore[arg-type]
            assert (await client.get(f"{SERVICES}/kubernetes")).body["spec"]["clusterIP"] == "10.50.0.1"
            dual = (await client.post(SERVICES, service("dual", ipFamilyPolicy="PreferDualStack"))).body["spec"]
            assert dual["ipFamilies"] == ["IPv4", "IPv6"]
            assert dual["ipFamilyPolicy"] == "PreferDualStack"
            assert dual["clusterIPs"][0].startswith("10.50.0.")
            assert dual["clusterIPs"][1].startswith("fd00:50::")
            single = (await client.post(SERVICES, service("six", ipFamilies=["IPv6"]))).body["spec"]
            assert single["clusterIP"].startswith("fd00:50::")
    finally:
        await server.stop()


async def test_a_stopped_server_keeps_its_objects() -> None:
    server = ApiServer()
    await server.start()
    async with aiohttp.ClientSession() as session:
        client = Client(Backend("embedded", server.url, None), session)  # type: ignore[arg-type]
        await client.post(MAPS, config_map("kept"))
        version = await version_of(client, MAPS)
    await server.stop()
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(Backend("embedded", server.url, None), session)  # type: ignore[arg-type]
            assert (await client.get(f"{MAPS}/kept")).code == 200
            assert await version_of(client, MAPS) == version
    finally:
        await server.stop()


async def test_bookmarks_come_on_a_quiet_watch() -> None:
    server = ApiServer(bookmark_interval=0.05)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(Backend("embedded", server.url, None), session)  # type: ignore[arg-type]
            version = await version_of(client, MAPS)
            async with client.watch(MAPS, resourceVersion=version, allowWatchBookmarks="true") as watch:
                await client.post(SERVICES, service("elsewhere"))
                event = await watch.next()
                while int(event["object"]["metadata"]["resourceVersion"]) <= int(version):
                    event = await watch.next()
            assert event["type"] == "BOOKMARK"
            assert event["object"]["kind"] == "ConfigMap"
    finally:
        await server.stop()


async def test_a_slow_watcher_is_cut_and_holds_up_nobody(server: ApiServer, client: Client) -> None:
    """A client that reads nothing loses its connection; the others get every event."""
    version = await version_of(client, MAPS)
    host, port = server.url.removeprefix("http://").split(":")
    slow = socket.create_connection((host, int(port)))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(f"GET {MAPS}?watch=1&resourceVersion={version} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await eventually(lambda: _true(server.faults.open_watches == 1), "the slow watch is open")
    (watch,) = server.faults._watches
    watch._watcher.limit = 20  # type: ignore[attr-defined]
    async with client.watch(MAPS, resourceVersion=version) as quick:
        await client.post(MAPS, config_map("big"))
        filler = "x" * 500_000
        for index in range(60):
            answer = await client.patch(f"{MAPS}/big", MERGE, {"data": {"a": f"{index}{filler}"}})
            assert answer.code == 200
            # The test reads its own watch between writes, so that only the other one is slow.
            await quick.next()
        assert (await quick.next())["object"]["data"]["a"].startswith("59x")
    slow.close()
    await eventually(lambda: _true(server.faults.open_watches == 0), "the slow watch is gone")


async def test_a_bug_is_a_500_and_not_the_end(
    server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(server._objects, "create", broken)
        answer = await client.post(MAPS, config_map("one"))
        assert (answer.code, answer.reason) == (500, "InternalError")
    assert "ZeroDivisionError" in caplog.text
    assert (await client.post(MAPS, config_map("one"))).code == 201


async def test_protobuf_is_refused_with_advice(client: Client) -> None:
    answer = await client.request("POST", MAPS, b"k8s\0", kind="application/vnd.kubernetes.protobuf")
    assert (answer.code, answer.reason) == (415, "UnsupportedMediaType")
    assert "--dry-run=client" in answer.message
    accept = "application/vnd.kubernetes.protobuf,application/json"
    assert (await client.request("GET", MAPS, accept=accept)).body["kind"] == "ConfigMapList"


async def test_an_object_without_its_owner_is_collected(client: Client) -> None:
    body = config_map("stray")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "no-such-uid"}
    body["metadata"]["ownerReferences"] = [owner]
    assert (await client.post(MAPS, body)).code == 201

    async def collected() -> bool:
        return (await client.get(f"{MAPS}/stray")).code == 404

    await eventually(collected, "the stray object is gone")

"""`writer`: the server ends up as desired through conflicts, refusals and outages, with no request too many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kube_harness import NOON, Table, Wanted, absent, create_pods, running, until

from ovnbridge.engine.items import Annotations, Finalizer, Labels, Object, Spec, Status
from ovnbridge.kube.cache import Cache
from ovnbridge.kube.connection import ApiError, Connection
from ovnbridge.kube.writer import Writer
from ovnbridge.lab.api import ApiServer
from ovnbridge.model.crd.address import IP, Vip, VipStatus
from ovnbridge.model.crd.base import Condition
from ovnbridge.model.crd.kinds import KINDS
from ovnbridge.model.crd.subnet import Subnet, SubnetStatus
from ovnbridge.model.kube import Node, Pod
from ovnbridge.model.meta import ObjectMeta
from ovnbridge.model.resource import CONFIG_MAP, NODE, POD

IPS, VIPS, SUBNETS = (KINDS[kind].resource for kind in ("IP", "Vip", "Subnet"))
OURS = "kubeovn.io/kube-ovn-controller"
POD_A = "default/a"


class Rig:
    """A writer with its World and desired store, and what it reported."""

    def __init__(self, connection: Connection, **options: Any) -> None:
        self.table = Table()
        self.wanted = Wanted()
        self.cache = Cache(connection=connection, sink=self.table)
        self.errors: list[tuple[str, str, ApiError]] = []
        version = self.cache.version if options.pop("versions", True) else None
        resources = {r.kind: r for r in (POD, NODE, CONFIG_MAP, IPS, VIPS, SUBNETS)}
        self.writer = Writer(
            connection=connection,
            resources=resources,
            desired=self.wanted,
            objects=self.table,
            observe=self.cache.observe,
            version=version,
            now=lambda: NOON,
            on_error=lambda kind, key, error: self.errors.append((kind, key, error)),
            **options,
        )
        self.table.on_change = lambda kind, key: self.writer.touch(kind, key)

    def want(self, *items: Any) -> None:
        self.wanted.want(*items)
        for item in items:
            self.writer.touch(item.kind, item.key)

    async def settled(self) -> None:
        await asyncio.wait_for(self.writer.settled(), 10)


Start = Callable[..., Any]


@pytest.fixture
def start(connection: Connection) -> Start:
    @asynccontextmanager
    async def begin(*kinds: tuple[Any, type], **options: Any) -> AsyncIterator[Rig]:
        rig = Rig(connection, **options)
        for resource, decoder in kinds or ((POD, Pod),):
            rig.cache.want(resource, decoder)
        async with running(rig.cache.run(), rig.writer.run()):
            await asyncio.wait_for(rig.cache.synced(), 5)
            yield rig

    return begin


def annotate(name: str = "a", **values: str | None) -> Annotations:
    return Annotations("Pod", f"default/{name}", values or {"x": "1"})


def patches(server: ApiServer, resource: str = "core/pods") -> int:
    return server.requests["PATCH", resource]


async def annotations(connection: Connection, name: str = "a") -> dict[str, str]:
    found: dict[str, str] = (await connection.get(POD, "default", name))["metadata"].get("annotations", {})
    return found


async def test_one_patch_and_then_none(server: ApiServer, connection: Connection, start: Start) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        rig.want(annotate(x="1"), Labels("Pod", POD_A, {"l": "2"}), Finalizer("Pod", POD_A, OURS))
        await rig.settled()
        assert patches(server) == 1
        meta = (await connection.get(POD, "default", "a"))["metadata"]
        assert (meta["annotations"], meta["labels"], meta["finalizers"]) == ({"x": "1"}, {"l": "2"}, [OURS])
        for _ in range(5):
            rig.writer.touch("Pod", POD_A)
            await rig.settled()
        assert patches(server) == 1
        assert rig.table.tables["Pod"][POD_A].metadata.annotations == {"x": "1"}


async def test_what_others_change_is_put_right_and_the_rest_left_alone(connection: Connection, start: Start) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        rig.want(annotate(x="1"))
        await rig.settled()
        await connection.patch(POD, "default", "a", {"metadata": {"annotations": {"x": "9", "theirs": "z"}}})
        await until(lambda: rig.writer.stats.requests["patch", "Pod"] == 2)
        await rig.settled()
        assert await annotations(connection) == {"x": "1", "theirs": "z"}


async def test_touched_before_it_runs(connection: Connection) -> None:
    await create_pods(connection, "a")
    rig = Rig(connection)
    rig.cache.want(POD, Pod)
    rig.want(annotate(x="1"))
    async with running(rig.cache.run()):
        await rig.cache.synced()
        async with running(rig.writer.run()):
            await rig.settled()
    assert await annotations(connection) == {"x": "1"}


async def test_a_finalizer_of_somebody_else_survives_a_race(
    server: ApiServer, connection: Connection, start: Start
) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        server.faults.delay(0.3, r"PATCH .*/pods/a")
        rig.want(Finalizer("Pod", POD_A, OURS))
        await until(lambda: patches(server))
        # Lands while ours is under way.
        server.faults.clear()
        await connection.patch(POD, "default", "a", {"metadata": {"finalizers": ["example.com/theirs"]}})
        await rig.settled()
        finalizers = (await connection.get(POD, "default", "a"))["metadata"]["finalizers"]
        assert sorted(finalizers) == ["example.com/theirs", OURS]
        assert rig.writer.stats.conflicts >= 1


async def test_guarded_without_known_versions_reads_first(
    server: ApiServer, connection: Connection, start: Start
) -> None:
    await create_pods(connection, "a")
    async with start(versions=False) as rig:
        rig.want(Finalizer("Pod", POD_A, OURS))
        await rig.settled()
        assert (await connection.get(POD, "default", "a"))["metadata"]["finalizers"] == [OURS]
        assert rig.writer.stats.requests["get", "Pod"] == 1


async def test_a_patch_does_not_land_on_a_namesake(server: ApiServer, connection: Connection, start: Start) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        old = rig.table.tables["Pod"][POD_A].metadata.uid
        # What is desired depends on which pod it is, as everything that `compile` yields does.
        rig.wanted.items = lambda kind, key: [  # type: ignore[method-assign]
            annotate(x="old" if rig.table.tables["Pod"][POD_A].metadata.uid == old else "new")
        ]
        server.faults.delay(0.3, r"PATCH .*/pods/a")
        rig.writer.touch("Pod", POD_A)
        await until(lambda: patches(server))
        server.faults.clear()
        await connection.delete(POD, "default", "a", grace=0)
        await create_pods(connection, "a")
        seen: set[str] = set()
        async with asyncio.timeout(5):
            while seen != {"new"}:
                seen = {(await annotations(connection)).get("x", "")} - {""}
                assert "old" not in seen
                await asyncio.sleep(0.01)
        await rig.settled()
        assert not rig.errors


async def subnet_made(custom: Connection) -> None:
    body = {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "s"}}
    await custom.create(SUBNETS, "", {**body, "spec": {"cidrBlock": "10.0.0.0/24"}})


async def test_a_status_does_not_land_on_a_namesake(server: ApiServer, custom: Connection, start: Start) -> None:
    """For the status of a custom resource the server does not look at the uid (`test_conformance.py`)."""
    await subnet_made(custom)
    async with start((SUBNETS, Subnet)) as rig:
        old = rig.table.tables["Subnet"]["s"].metadata.uid

        def items(kind: str, key: str) -> list[Any]:
            first = rig.table.tables["Subnet"]["s"].metadata.uid == old
            return [Status("Subnet", "s", SubnetStatus(v4_using_ips=7 if first else 8))]

        rig.wanted.items = items  # type: ignore[method-assign]
        server.faults.delay(0.3, r"PATCH .*/subnets/s/status")
        rig.writer.touch("Subnet", "s")
        await until(lambda: patches(server, "kubeovn.io/subnets/status"))
        server.faults.clear()
        await custom.delete(SUBNETS, "", "s")
        await subnet_made(custom)
        seen: set[int] = set()
        async with asyncio.timeout(5):
            while 8 not in seen:
                seen.add((await custom.get(SUBNETS, "", "s")).get("status", {}).get("v4usingIPs", 0))
                await asyncio.sleep(0.005)
        assert 7 not in seen, "what was meant for the deleted subnet"
        await rig.settled()
        assert not rig.errors


async def test_a_deletion_does_not_hit_a_namesake(server: ApiServer, custom: Connection, start: Start) -> None:
    def lease(address: str) -> dict[str, Any]:
        return {"apiVersion": "kubeovn.io/v1", "kind": "IP", **ip_body("a", address), "metadata": {"name": "a"}}

    await custom.create(IPS, "", lease("10.0.0.2"))
    async with start((IPS, IP)) as rig:
        rig.wanted.owned = lambda kind, key, actual: actual.spec.v4_ip_address == "10.0.0.2"  # type: ignore[method-assign]
        server.faults.delay(0.3, r"DELETE .*/ips/a")
        rig.writer.touch("IP", "a")
        await until(lambda: server.requests["DELETE", "kubeovn.io/ips"])
        server.faults.clear()
        await custom.delete(IPS, "", "a")
        uid = (await custom.create(IPS, "", lease("10.0.0.9")))["metadata"]["uid"]
        await until(lambda: rig.writer.stats.conflicts)
        await rig.settled()
        assert (await custom.get(IPS, "", "a"))["metadata"]["uid"] == uid
        assert not rig.errors


# ---- failures


async def test_conflicts_are_read_and_retried(server: ApiServer, connection: Connection, start: Start) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        server.faults.fail(409, 3, r"PATCH .*/pods/a")
        rig.want(annotate(x="1"))
        await rig.settled()
        assert await annotations(connection) == {"x": "1"}
        assert rig.writer.stats.conflicts == 3


@pytest.mark.parametrize("code", [500, 502, 504])
async def test_a_server_error_is_retried(server: ApiServer, connection: Connection, start: Start, code: int) -> None:
    await create_pods(connection, "a", "b")
    async with start() as rig:
        server.faults.fail(code, 2, r"PATCH .*/pods/a")
        rig.want(annotate(x="1"), annotate("b", x="2"))
        await rig.settled()
        assert await annotations(connection) == {"x": "1"}
        assert await annotations(connection, "b") == {"x": "2"}
        assert rig.writer.stats.retries == 2


async def test_too_many_requests_holds_everybody(server: ApiServer, connection: Connection, start: Start) -> None:
    names = [f"p{i}" for i in range(20)]
    await create_pods(connection, *names)
    async with start(concurrency=2) as rig:
        server.faults.fail(429, 1, r"PATCH", retry_after=1)
        began = asyncio.get_running_loop().time()
        rig.want(*[annotate(name) for name in names])
        await until(lambda: rig.writer.stats.throttled)
        await asyncio.sleep(0.3)
        assert patches(server) <= 2
        await rig.settled()
        assert asyncio.get_running_loop().time() - began >= 1.0
        assert [await annotations(connection, name) for name in names] == [{"x": "1"}] * 20


async def test_an_outage_loses_nothing(server: ApiServer, connection: Connection, start: Start) -> None:
    names = [f"p{i}" for i in range(50)]
    await create_pods(connection, *names)
    async with start() as rig:
        address = server.url
        await server.stop()
        rig.want(*[annotate(name) for name in names])
        await until(lambda: rig.writer.stats.throttled >= 32)  # all at once, then one at a time
        while rig.writer.stats.throttled < 32 + 4:
            assert rig.writer.queues()["in_flight"] <= 1
            await asyncio.sleep(0.005)
        await server.start(host="127.0.0.1", port=int(address.rpartition(":")[2]))
        await rig.settled()
        assert [await annotations(connection, name) for name in names] == [{"x": "1"}] * 50


async def test_a_request_that_is_never_answered_holds_up_nobody_else(
    server: ApiServer, connection: Connection, start: Start
) -> None:
    await create_pods(connection, "a", "b", "c")
    slow = await Connection.open(kubeconfig=server.kubeconfig(), timeout=0.2)
    rig = Rig(slow, concurrency=1)
    rig.cache.want(POD, Pod)
    async with running(rig.cache.run(), rig.writer.run()):
        await rig.cache.synced()
        server.faults.delay(60, r"PATCH .*/pods/a")
        rig.wanted.want(annotate("a"), annotate("b"), annotate("c"))
        for name in "abc":
            rig.writer.touch("Pod", f"default/{name}", urgent=name == "a")
        await until(lambda: all(rig.table.tables["Pod"][f"default/{n}"].metadata.annotations for n in "bc"))
        server.faults.clear()
        await rig.settled()
        assert await annotations(connection, "a") == {"x": "1"}
    await slow.close()


async def test_a_refusal_is_reported_and_waits_for_other_content(
    server: ApiServer, connection: Connection, start: Start
) -> None:
    await create_pods(connection, "a", "b")
    async with start() as rig:
        server.faults.fail(422, None, r"PATCH .*/pods/a")
        rig.want(annotate(x="bad"), annotate("b", x="1"))
        await rig.settled()
        assert [(kind, key, error.status) for kind, key, error in rig.errors] == [("Pod", POD_A, 422)]
        for _ in range(10):
            rig.writer.touch("Pod", POD_A)
        await rig.settled()
        await asyncio.sleep(0.05)
        assert len(rig.errors) == 1
        assert await annotations(connection, "b") == {"x": "1"}
        server.faults.clear()
        rig.wanted.by_object["Pod", POD_A] = [annotate(x="good")]
        rig.writer.touch("Pod", POD_A)
        await until(lambda: rig.table.tables["Pod"][POD_A].metadata.annotations == {"x": "good"})


async def test_items_that_do_not_fit_are_reported(start: Start, connection: Connection) -> None:
    await create_pods(connection, "a", "b")
    async with start() as rig:
        rig.want(Spec("Pod", POD_A, {"noSuch": 1}), annotate("b", x="1"))
        await rig.settled()
        assert rig.errors[0][2].reason == "PlanFailed"
        assert await annotations(connection, "b") == {"x": "1"}


async def test_an_object_that_is_gone_is_dropped(server: ApiServer, connection: Connection, start: Start) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        server.faults.fail(404, 1, r"PATCH .*/pods/a")
        rig.want(annotate(x="1"), annotate("never-there"))
        await rig.settled()
        assert patches(server) == 1
        assert not rig.errors


async def test_one_request_an_object_at_a_time(server: ApiServer, connection: Connection, start: Start) -> None:
    await create_pods(connection, "a")
    async with start() as rig:
        server.faults.delay(0.1, r"PATCH .*/pods/a")
        for value in range(5):
            rig.wanted.by_object["Pod", POD_A] = [annotate(x=str(value))]
            rig.writer.touch("Pod", POD_A)
            await asyncio.sleep(0.01)
        await rig.settled()
        assert await annotations(connection) == {"x": "4"}
        assert patches(server) == 2  # the first, and what it had become by then


async def test_urgent_objects_overtake(server: ApiServer, connection: Connection, start: Start) -> None:
    names = [f"p{i}" for i in range(30)]
    await create_pods(connection, *names, "new")
    async with start(concurrency=1) as rig:
        server.faults.delay(0.01, r"PATCH")
        rig.want(*[annotate(name) for name in names])
        rig.wanted.want(annotate("new"))
        rig.writer.touch("Pod", "default/new", urgent=True)
        order: list[str] = []
        rig.table.on_change = lambda kind, key: order.append(key)
        await rig.settled()
        assert order.index("default/new") <= 1


async def test_concurrency_is_bounded(server: ApiServer, connection: Connection, start: Start) -> None:
    names = [f"p{i}" for i in range(30)]
    await create_pods(connection, *names)
    async with start(concurrency=4) as rig:
        server.faults.delay(0.2, r"PATCH")
        rig.want(*[annotate(name) for name in names])
        await until(lambda: patches(server) >= 4)
        await asyncio.sleep(0.05)
        assert patches(server) == 4
        server.faults.clear()
        await rig.settled()
        assert patches(server) == 30


# ---- whole objects


def ip_body(name: str, address: str = "10.0.0.2") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "finalizers": [OURS], "labels": {"ovn.kubernetes.io/subnet": "s"}},
        "spec": {"podName": name, "namespace": "default", "subnet": "s", "v4IpAddress": address, "ipAddress": address},
    }


async def test_a_lease_is_created_and_deleted(custom: Connection, server: ApiServer, start: Start) -> None:
    async with start((IPS, IP)) as rig:
        rig.wanted.owned_kinds.add("IP")
        rig.wanted.bodies["IP", "a.default"] = ip_body("a.default")
        rig.writer.touch("IP", "a.default", urgent=True)
        await rig.settled()
        assert rig.table.tables["IP"]["a.default"].spec.v4_ip_address == "10.0.0.2"
        assert server.requests["POST", "kubeovn.io/ips"] == 1
        del rig.wanted.bodies["IP", "a.default"]
        rig.writer.touch("IP", "a.default")
        await until(lambda: not rig.table.tables["IP"])
        await rig.settled()
        assert await absent(custom, IPS, "", "a.default")
        assert patches(server, "kubeovn.io/ips") == 1
        assert server.requests["DELETE", "kubeovn.io/ips"] == 1


async def test_a_lease_that_somebody_else_created_first_is_read_and_left(
    custom: Connection, server: ApiServer, start: Start
) -> None:
    async with start((IPS, IP)) as rig:
        await until(lambda: server.faults.open_watches)
        server.faults.fail(503, None, r"GET /apis/kubeovn.io/v1/ips$")  # the watch tells nothing
        server.faults.drop_watches()
        await custom.create(IPS, "", {"apiVersion": "kubeovn.io/v1", "kind": "IP", **ip_body("a", "10.9.9.9")})
        rig.wanted.bodies["IP", "a"] = ip_body("a")
        rig.writer.touch("IP", "a")
        await rig.settled()
        assert rig.table.tables["IP"]["a"].spec.v4_ip_address == "10.9.9.9"
        assert (await custom.get(IPS, "", "a"))["spec"]["v4IpAddress"] == "10.9.9.9"
        assert server.requests["POST", "kubeovn.io/ips"] == 2


async def test_an_unwanted_lease_that_others_hold_is_asked_for_once(
    custom: Connection, server: ApiServer, start: Start
) -> None:
    body = ip_body("a")
    body["metadata"]["finalizers"].append("example.com/theirs")
    await custom.create(IPS, "", {"apiVersion": "kubeovn.io/v1", "kind": "IP", **body})
    async with start((IPS, IP)) as rig:
        rig.wanted.owned_kinds.add("IP")
        rig.writer.touch("IP", "a")
        await rig.settled()
        for _ in range(5):
            rig.writer.touch("IP", "a")
            await rig.settled()
        assert server.requests["DELETE", "kubeovn.io/ips"] == 1
        left = (await custom.get(IPS, "", "a"))["metadata"]
        assert left["finalizers"] == ["example.com/theirs"]
        assert left["deletionTimestamp"]


async def test_a_lease_deleted_by_hand_is_created_again(custom: Connection, start: Start) -> None:
    async with start((IPS, IP)) as rig:
        rig.wanted.bodies["IP", "a"] = ip_body("a") | {"metadata": {"name": "a"}}
        rig.writer.touch("IP", "a")
        await rig.settled()
        first = rig.table.tables["IP"]["a"].metadata.uid
        await custom.delete(IPS, "", "a")
        await until(lambda: "a" in rig.table.tables["IP"] and rig.table.tables["IP"]["a"].metadata.uid != first)
        await rig.settled()


async def test_an_object_of_a_kind_that_is_not_cached_is_created_once(
    server: ApiServer, connection: Connection, start: Start
) -> None:
    item = Object("ConfigMap", "default/c", {"metadata": {"name": "c", "namespace": "default"}, "data": {"k": "v"}})
    async with start() as rig:
        rig.want(item)
        await rig.settled()
        rig.writer.touch("ConfigMap", "default/c")
        await rig.settled()
        assert server.requests["POST", "core/configmaps"] == 1
    async with start() as rig:  # after a restart it exists
        rig.want(item)
        await rig.settled()
        assert server.requests["POST", "core/configmaps"] == 2
        assert not rig.errors


async def test_a_create_in_a_missing_namespace_is_a_refusal(connection: Connection, start: Start) -> None:
    async with start() as rig:
        rig.want(Object("ConfigMap", "nowhere/c", {"metadata": {"name": "c", "namespace": "nowhere"}}))
        await rig.settled()
        assert rig.errors[0][2].status == 404


@pytest.mark.parametrize("key", ["../../nodes/n", "default/a?x=1", "default/..", "", "a"])
async def test_keys_that_are_no_names_reach_nobody(
    server: ApiServer, connection: Connection, start: Start, key: str
) -> None:
    async with start() as rig:
        rig.table.tables["Pod"][key] = Pod(metadata=ObjectMeta(name="x", uid="u"))
        rig.want(Annotations("Pod", key, {"x": "1"}))
        await rig.settled()
        assert rig.errors[0][2].status == 400
        assert {method for method, _ in server.requests} == {"GET"}
        assert {label for _, label in server.requests} == {"core/pods"}


# ---- status


async def test_a_status_waits_for_its_commit(custom: Connection, server: ApiServer, start: Start) -> None:
    await custom.create(
        SUBNETS,
        "",
        {
            "apiVersion": "kubeovn.io/v1",
            "kind": "Subnet",
            "metadata": {"name": "s"},
            "spec": {"cidrBlock": "10.0.0.0/24"},
        },
    )
    ready = Condition(type="Ready", status="True", reason="R", observed_generation=1)
    async with start((SUBNETS, Subnet)) as rig:
        rig.wanted.waiting.add(("Subnet", "s"))
        rig.want(Status("Subnet", "s", SubnetStatus(v4_using_ips=7, v6_available_ips=2**90, conditions=(ready,))))
        await rig.settled()
        assert patches(server, "kubeovn.io/subnets/status") == 0
        rig.wanted.waiting.clear()
        rig.writer.touch("Subnet", "s")
        await rig.settled()
        assert patches(server, "kubeovn.io/subnets/status") == 1
        (condition,) = (await custom.get(SUBNETS, "", "s"))["status"]["conditions"]
        assert condition["lastTransitionTime"] == condition["lastUpdateTime"] == "2024-05-01T12:00:00Z"
        for _ in range(3):
            rig.writer.touch("Subnet", "s")
            await rig.settled()
        assert patches(server, "kubeovn.io/subnets/status") == 1


async def test_metadata_and_status_are_two_requests_and_vips_one(
    custom: Connection, server: ApiServer, start: Start
) -> None:
    vip = {"apiVersion": "kubeovn.io/v1", "kind": "Vip", "metadata": {"name": "v"}, "spec": {"subnet": "s"}}
    await custom.create(VIPS, "", vip)
    await custom.create(
        SUBNETS,
        "",
        {
            "apiVersion": "kubeovn.io/v1",
            "kind": "Subnet",
            "metadata": {"name": "s"},
            "spec": {"cidrBlock": "10.0.0.0/24"},
        },
    )
    async with start((SUBNETS, Subnet), (VIPS, Vip)) as rig:
        rig.want(
            Finalizer("Subnet", "s", OURS),
            Spec("Subnet", "s", {"gateway": "10.0.0.1"}),
            Status("Subnet", "s", SubnetStatus(v4_using_ips=7)),
            Finalizer("Vip", "v", OURS),
            Status("Vip", "v", VipStatus(mac="00:00:00:00:00:01")),
        )
        await rig.settled()
        assert patches(server, "kubeovn.io/subnets") == 1
        assert patches(server, "kubeovn.io/subnets/status") == 1
        assert patches(server, "kubeovn.io/vips") == 1
        vip = await custom.get(VIPS, "", "v")
        assert vip["status"]["mac"] == "00:00:00:00:00:01"
        assert vip["metadata"]["finalizers"] == [OURS]


async def test_a_deletion_ends_when_our_finalizer_goes(connection: Connection, start: Start) -> None:
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "finalizers": [OURS]}}
    await connection.create(NODE, "", body)
    async with start((NODE, Node)) as rig:
        await connection.delete(NODE, "", "n")
        await until(lambda: rig.table.tables["Node"]["n"].metadata.deleting)
        rig.want(Finalizer("Node", "n", OURS, present=False))
        await until(lambda: not rig.table.tables["Node"])
        await rig.settled()
        assert await absent(connection, NODE, "", "n")


async def test_cancelling_keeps_what_was_under_way(server: ApiServer, connection: Connection) -> None:
    await create_pods(connection, "a")
    rig = Rig(connection)
    rig.cache.want(POD, Pod)
    async with running(rig.cache.run()):
        await rig.cache.synced()
        server.faults.delay(5, r"PATCH")
        async with running(rig.writer.run()):
            rig.want(annotate(x="1"))
            await until(lambda: patches(server))
        assert not rig.writer.idle()
        server.faults.clear()
        async with running(rig.writer.run()):
            await rig.settled()
        assert await annotations(connection) == {"x": "1"}

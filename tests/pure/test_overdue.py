"""Pods that should have ended (spec C.9, "Alive test", E.15): "not past deletion grace"."""

from __future__ import annotations

import asyncio

import pytest

from ovnbridge.engine.world import World
from ovnbridge.model.crd.codec import convert
from ovnbridge.model.kube import Pod
from ovnbridge.reactor import Overdue
from tests.support.addresses import address, notes, port, ready, set_pod, stateful_set, vip
from tests.support.cluster import NOW, Cluster, Json, merged, pod

GRACE = 30


def terminating(cluster: Cluster, name: str) -> None:
    """Somebody deleted it: the server sets the time at which its grace period is over; its kubelet is lost."""
    times = {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": GRACE}
    assert NOW == "2026-01-01T00:00:00Z"
    meta = {"finalizers": ["example.com/the-kubelet"], **times}
    cluster.apply(merged(cluster.get("Pod", name), {"metadata": meta})).run()


@pytest.mark.parametrize("restart", [False, True])
def test_the_address_of_a_pod_on_a_lost_node(restart: bool) -> None:
    """Spec E.15: "terminating ⇒ delete after deletionTimestamp + grace"."""
    cluster = ready(pod("a/p", "n-1", ip_address="10.21.0.9"))
    cluster.apply(pod("a/next", "n-2", ip_address="10.21.0.9")).run()
    terminating(cluster, "a/p")
    cluster.pass_time(59).run()
    assert address(cluster, "p.a") == "10.21.0.9"
    assert port(cluster, "p.a") is not None
    assert not address(cluster, "next.a")
    if restart:
        cluster.now += 2
        cluster.start()
    else:
        cluster.pass_time(2)
    cluster.run()
    assert port(cluster, "p.a") is None
    assert address(cluster, "next.a") == "10.21.0.9"
    assert ("IP", "p.a") not in cluster.api.objects
    known = cluster.get("Pod", "a/p")
    cluster.apply(merged(known, {"status": {"phase": "Failed"}})).run()  # the kubelet speaks again
    assert cluster.world.get("Pod", "a/p") is None
    cluster.api.patch("Pod", "a/p", {"metadata": {"finalizers": []}})
    cluster.apply(pod("a/p", "n-1")).run()
    assert notes(cluster, "Pod", "a/p")["ip_address"] == "10.21.0.2", "its successor is a pod like others"


def test_one_that_ends_in_time() -> None:
    cluster = ready(pod("a/p", "n-1"))
    terminating(cluster, "a/p")
    cluster.api.patch("Pod", "a/p", {"metadata": {"finalizers": []}})
    cluster.apply(pod("a/p", "n-1")).run()
    before = address(cluster, "p.a")
    cluster.pass_time(1000).run()
    assert address(cluster, "p.a") == before != ""


def test_without_a_grace_period_nothing_ends() -> None:
    cluster = ready(pod("a/p", "n-1"))
    meta = {"finalizers": ["example.com/x"], "deletionTimestamp": NOW}
    cluster.apply(merged(cluster.get("Pod", "a/p"), {"metadata": meta})).run()
    cluster.pass_time(10**6).run()
    assert address(cluster, "p.a") == "10.21.0.2"


def test_what_is_kept_is_kept() -> None:
    """Spec C.9: a StatefulSet's lease stays, and its port leaves the groups."""
    cluster = ready(stateful_set("a/web", 1), set_pod("a/web-0", "n-1"))
    terminating(cluster, "a/web-0")
    cluster.pass_time(61).run()
    assert address(cluster, "web-0.a") == "10.21.0.2"
    assert port(cluster, "web-0.a") is not None
    assert cluster.row("Port_Group", "node.n.1")["ports"] == frozenset()


def test_a_vip_is_free_again() -> None:
    cluster = ready(vip("v", "s1", v4ip="10.21.0.50"), pod("a/p", "n-1", vip="v"))
    cluster.apply(pod("a/next", "n-2", vip="v")).run()
    terminating(cluster, "a/p")
    cluster.pass_time(61).run()
    assert address(cluster, "next.a") == "10.21.0.50"


def made(due: float) -> Json:
    """A pod whose time is over at `due` seconds after NOW."""
    meta = {"deletionTimestamp": NOW, "deletionGracePeriodSeconds": due, "uid": "u"}
    return merged(pod("a/p"), {"metadata": meta})


async def test_somebody_waits_for_the_time() -> None:
    """By the clock alone: nothing else happens meanwhile."""
    loop = asyncio.get_running_loop()
    world, woken = World(()), asyncio.Event()
    start = convert(made(0), Pod).metadata.deletion_timestamp
    assert start == NOW
    begun = loop.time()
    overdue = Overdue(world=world, wake=woken.set, now=lambda: 1767225600 + 3599.9 + loop.time() - begun)
    task = asyncio.create_task(overdue.run())
    await asyncio.sleep(0)  # it waits
    try:
        for key, seconds in (("a/late", 7200), ("a/soon", 3600), ("a/ever", None)):
            found = convert(made(seconds) if seconds else pod("a/p"), Pod)
            assert overdue.observe_pod(key, found) is found
            world.put("Pod", key, found)
        async with asyncio.timeout(30):
            await woken.wait()
        assert sorted(world.keys("Pod")) == ["a/ever", "a/late"]
    finally:
        task.cancel()

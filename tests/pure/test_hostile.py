"""200 hostile objects: each is accepted whole or refused with a message on it, and what is healthy does not notice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ovnbridge.engine.items import LONGEST_MESSAGE, Event, Status, presentable
from tests.support.army import SPECS, army
from tests.support.cluster import Cluster, Json, key_of, namespace, node, pod, subnet, vpc


def healthy() -> Cluster:
    cluster = Cluster()
    cluster.apply(
        namespace("a"),
        node("n-1", "192.168.0.11"),
        node("n-2", "192.168.0.12"),
        vpc("sane"),
        subnet("healthy", cidrBlock="10.30.0.0/24", namespaces=["a"]),
        subnet("apart", vpc="sane", cidrBlock="10.30.0.0/24", namespaces=["b"]),
        *(pod(f"a/p{number}", f"n-{number % 2 + 1}") for number in range(6)),
    ).run()
    return cluster


OWN = ("Logical_Switch_Port", "Logical_Router_Port", "Logical_Router_Static_Route", "Logical_Router_Policy")


def rows(cluster: Cluster) -> dict[Any, Any]:
    return {key: row for key, row in cluster.memory.snapshot().items() if key[0] in OWN}


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(s, marks=pytest.mark.slow) for s in range(100, 130))])
def test_two_hundred_hostile_objects(seed: int) -> None:
    cluster = healthy()
    before = rows(cluster)
    for obj in army(seed, 200):
        cluster.apply(obj)
        cluster.run()
    after = rows(cluster)
    assert {key: after.get(key) for key in before} == before, "what is healthy is as it was"
    assert cluster.engine.desired.snapshot() == cluster.engine.recompute().snapshot()
    # Two nodes that say the same address want one policy for it; no other row is wanted twice.
    assert [units for _, units in cluster.engine.desired.clashes() if {u.unit for u in units} != {"node"}] == []
    for obj in army(seed, 200):
        assert answered(cluster, *key_of(obj)), f"nothing is said about {obj}"
    cluster.start()
    assert cluster.run() == [], "a restart finds nothing to do"


def answered(cluster: Cluster, kind: str, key: str) -> bool:
    """Accepted whole, or refused with words and without rows."""
    items = cluster.engine.desired.items(kind, key)
    warnings = [i for i in items if isinstance(i, Event) and i.type == "Warning"]
    assert all(w.reason.isalnum() and 5 < len(w.message) <= LONGEST_MESSAGE for w in warnings)
    assert all(w.message.isprintable() for w in warnings)
    status = next((i.value for i in items if isinstance(i, Status)), None)
    conditions = getattr(status, "conditions", None) or ()
    assert all(len(c.message) <= LONGEST_MESSAGE and c.message.isprintable() for c in conditions)
    said = {c.type: c.status for c in conditions}
    desired, spec = cluster.engine.desired, getattr(cluster.world.get(kind, key), "spec", None)
    if kind == "Subnet":
        if desired.row("Logical_Switch", key) is not None:
            return said.get("Ready") == "True" or bool(warnings)
        return said.get("Ready") != "True" or not getattr(spec, "provider", "").endswith("ovn")
    if kind == "Pod":
        return desired.row("Logical_Switch_Port", key.partition("/")[2] + ".a") is not None or bool(warnings)
    if kind == "Vpc":
        image = cluster.get(kind, key)["metadata"].get("labels", {}).get("ovn.kubernetes.io/vpc_external") == "true"
        return image or desired.row("Logical_Router", key) is not None or bool(warnings)
    if kind == "IPPool":
        return (said.get("Ready") == "True") != bool(warnings)
    if kind == "Vip":
        return bool(warnings) or desired.claim(f"vip/{key}") is not None
    return True


def test_the_army_is_hostile_in_every_way() -> None:
    """Each kind comes, most are refused and some are not: an army that is always refused at the door tries nothing."""
    cluster = healthy()
    told: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for obj in army(1, 400):
        cluster.apply(obj).run()
        kind, key = key_of(obj)
        seen[kind] += 1
        told[kind] += any(isinstance(i, Event) and i.type == "Warning" for i in cluster.engine.desired.items(kind, key))
    assert {*SPECS, "Pod", "Namespace", "NetworkAttachmentDefinition", "Node"} == set(seen)
    for kind in ("Subnet", "Vpc", "Pod", "Vip", "IPPool"):
        assert 0 < told[kind] < seen[kind], (kind, told, seen)


def test_the_hostile_objects_leave_nothing() -> None:
    cluster = healthy()
    before = cluster.memory.snapshot()
    for obj in army(7, 200):
        cluster.apply(obj)
    cluster.run()
    for obj in army(7, 200):
        cluster.delete(*key_of(obj))
    cluster.run()
    assert cluster.memory.snapshot() == before


MANY = 4000
WIDE = {"cidrBlock": "10.40.0.0/16"}
EACH = [f"10.40.{i // 250}.{i % 250 + 2}" for i in range(MANY)]
HUGE: dict[str, Json] = {
    "excludeIps": subnet("h", **WIDE, excludeIps=EACH),
    "vips": subnet("h", **WIDE, vips=EACH),
    "gatewayNode": subnet(
        "h", cidrBlock="10.40.0.0/24", gatewayType="centralized", gatewayNode=",".join(f"n{i}" for i in range(MANY))
    ),
    "cidrBlock": subnet("h", cidrBlock="1" * 1_000_000),
    "several": subnet("h", cidrBlock=",".join(f"10.{i // 250}.{i % 250}.0/24" for i in range(MANY))),
    "external": vpc("h", enableExternal=True, extraExternalSubnets=[f"s{i}" for i in range(MANY)]),
    "peerings": vpc("h", vpcPeerings=[{"remoteVpc": f"v{i}", "localConnectIP": "169.254.0.1/30"} for i in range(MANY)]),
    "routes": vpc("h", staticRoutes=[{"cidr": f"x{i}", "nextHopIP": "10.1.1.1"} for i in range(MANY)]),
    "pool": {"kind": "IPPool", "metadata": {"name": "h"}, "spec": {"subnet": "healthy", "ips": ["x"] * MANY}},
    "networks": pod("a/h", "n-1") | {"metadata": {"name": "h", "namespace": "a", "annotations": {
        "k8s.v1.cni.cncf.io/networks": ",".join(f"n{i}" for i in range(MANY))}}},
    "ip_pool": pod("a/h", "n-1", ip_pool=";".join(f"10.99.{i // 250}.{i % 250}" for i in range(MANY))),
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_huge_lists_and_texts(name: str) -> None:
    """Carried out, or refused in a message that can be posted; one event says all that is wrong with an object."""
    cluster = healthy()
    before = rows(cluster)
    kind, key = key_of(HUGE[name])
    cluster.apply(HUGE[name]).run()
    assert answered(cluster, kind, key)
    warnings = [i for i in cluster.engine.desired.items(kind, key) if isinstance(i, Event) and i.type == "Warning"]
    assert len(warnings) <= 2
    after = rows(cluster)
    assert {row: after.get(row) for row in before} == before
    cluster.delete(kind, key).run()
    assert rows(cluster) == before


def test_a_message_is_for_people() -> None:
    assert presentable("plain, with ümlaut and 💥") == "plain, with ümlaut and 💥"
    assert presentable("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert len(presentable("x" * 5000)) == LONGEST_MESSAGE
    assert presentable("x" * 5000).endswith("…")
    assert len(presentable("\x00" * 5000)) == LONGEST_MESSAGE
    event = Event("Pod", "a/b", "Warning", "Reason", "a\tb" + "c" * 5000)
    assert event.message == presentable("a\tb" + "c" * 5000)

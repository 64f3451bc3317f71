"""SB's chassis (spec D.4, D.19, H.6): nodes' ones are marked, what is left over of nodes goes, others' stay."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cluster import Cluster, Json, node
from tests.support.memory import MemoryDatabase, southbound_schema

MARK = {"vendor": "kube-ovn"}


def cluster(*nodes: Json, **rows: dict[str, Any]) -> Cluster:
    """A cluster whose SB has these chassis: name → columns."""
    made = Cluster(southbound=MemoryDatabase(southbound_schema()))
    made.apply(*nodes).run()
    for name, columns in rows.items():
        register(made, name, **columns)
    made.run()
    return made


def register(at: Cluster, name: str, **columns: Any) -> None:
    """What ovn-controller does."""
    assert at.south is not None
    at.south.put("Chassis_Private", name=name)
    at.south.put("Chassis", name=name, **columns)


def chassis(at: Cluster) -> dict[str, dict[str, str]]:
    """Name → external_ids; what is private of each is there as long as it."""
    assert at.southbound is not None
    rows = {table: at.southbound.content[table].values() for table in ("Chassis", "Chassis_Private")}
    found = {row["name"]: dict(row["external_ids"]) for row in rows["Chassis"]}
    assert found.keys() == {row["name"] for row in rows["Chassis_Private"]}
    return found


def test_a_nodes_chassis_is_marked() -> None:
    """Spec D.4: vendor=kube-ovn, node=<n>. What ovn-controller has written there stays."""
    at = cluster(node("n-1", chassis="id-1"), node("n-2"))
    register(at, "id-1", hostname="n-1", external_ids={"datapath-type": "netdev"})
    register(at, "id-2", hostname="n-2")
    at.run()
    marked = {"datapath-type": "netdev", **MARK, "node": "n-1"}
    assert chassis(at) == {"id-1": marked, "id-2": {}}
    at.apply(node("n-2", chassis="id-2")).run()
    assert chassis(at) == {"id-1": marked, "id-2": {**MARK, "node": "n-2"}}
    at.start()
    assert at.run() == []


@pytest.mark.parametrize("restart", [False, True])
def test_the_chassis_of_a_node_that_is_gone_goes(restart: bool) -> None:
    at = cluster(node("n-1", chassis="id-1"), node("n-2", chassis="id-2"), **{"id-1": {"hostname": "n-1"}, "id-2": {}})
    at.delete("Node", "n-1")
    if restart:
        at.start()
    at.run()
    assert chassis(at).keys() == {"id-2"}


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("annotated", [True, False])
def test_a_machine_that_is_installed_anew(annotated: bool, marked: bool) -> None:
    """Its old chassis has its tunnel address, so the new one cannot register before the old one has gone."""
    old = {"hostname": "n-1", "external_ids": MARK if marked else {}}
    at = cluster(node("n-1", **({"chassis": "old"} if annotated else {})), old=old)
    assert chassis(at).keys() == {"old"}, "nothing is known of another one"
    at.apply(node("n-1", chassis="new")).run()
    assert chassis(at) == {}
    register(at, "new", hostname="n-1")
    at.run()
    assert chassis(at) == {"new": {**MARK, "node": "n-1"}}


def test_a_chassis_that_its_agent_has_not_named_yet_stays() -> None:
    """Kube-OVN removes it (spec H.6), and ovn-controller makes it again."""
    at = cluster(node("n-1", chassis="old"), old={"hostname": "n-1"})
    register(at, "new", hostname="n-1")
    at.run()
    assert chassis(at) == {"old": {**MARK, "node": "n-1"}, "new": {}}
    at.apply(node("n-1", chassis="new")).run()
    assert chassis(at) == {"new": {**MARK, "node": "n-1"}}


def test_a_mark_of_kube_ovn_without_annotation_stays() -> None:
    """A takeover: the node's agent is not there yet."""
    at = cluster(node("n-1"), old={"hostname": "n-1", "external_ids": MARK})
    at.start()
    at.run()
    assert chassis(at).keys() == {"old"}


def test_a_node_under_another_name() -> None:
    """Spec H.6: rows whose hostname is not that node's name; the mark says which node they were."""
    at = cluster(node("n-1", chassis="id"), id={"hostname": "n-1"})
    at.delete("Node", "n-1").apply(node("n-2", chassis="id")).run()
    assert chassis(at) == {"id": {**MARK, "node": "n-2"}}


def test_others_stay() -> None:
    """Machines that are no nodes, and chassis of other clusters (spec D.19), whatever they are called."""
    others = {
        "lonely": {"hostname": "elsewhere"},
        "far": {"hostname": "n-1", "other_config": {"is-remote": "true"}, "external_ids": MARK},
        "older": {"hostname": "gone", "external_ids": {**MARK, "is-remote": "true"}},
    }
    at = cluster(node("n-1", chassis="id-1"), **others)
    at.start()
    at.run()
    assert chassis(at).keys() == others.keys()


def test_without_sb_nothing_is_wanted_of_it() -> None:
    at = Cluster()
    at.apply(node("n-1", chassis="id-1")).run()
    assert not [key for key in at.engine.desired.row_keys() if key[0] == "Chassis"]

"""The self-check finds, counts, logs and repairs whatever is corrupted in what the engine keeps, and drift of rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ovnbridge.engine.desired import UnitKey
from ovnbridge.engine.items import Row
from ovnbridge.engine.world import Cell
from ovnbridge.model.ovn import Ref
from tests.support.cluster import Cluster, namespace, node, pod

PORT, POD = "web.shop", UnitKey("pod", "shop/web")


@pytest.fixture
def cluster() -> Cluster:
    """A pod on a node, everything written."""
    found = Cluster().apply(node("n-1", "192.168.0.11"), namespace("shop"), pod("shop/web", "n-1"))
    found.run()
    assert found.row("Logical_Switch_Port", PORT)
    assert any(table == "Port_Group" for table, _ in found.engine.desired.rows_of(POD))
    return found


def merged(cluster: Cluster) -> list[tuple[UnitKey, Any]]:
    return sorted(cluster.engine.desired.merged_items(), key=repr)


def without(kind: type) -> Callable[[Cluster], None]:
    """The unit's own list lacks an item."""

    def corrupt(cluster: Cluster) -> None:
        items = cluster.engine.desired._items
        assert any(isinstance(i, kind) for i in items[POD])
        items[POD] = tuple(i for i in items[POD] if not isinstance(i, kind))

    return corrupt


def row_dropped(cluster: Cluster) -> None:
    del cluster.engine.desired._rows._of[("Logical_Switch_Port", PORT)]


def row_changed(cluster: Cluster) -> None:
    key = ("Logical_Switch_Port", PORT)
    cluster.engine.desired._rows.put(key, POD, Row(*key, {"name": PORT, "addresses": frozenset({"nonsense"})}))


def member_dropped(cluster: Cluster) -> None:
    members = cluster.engine.desired._members
    row = next(key for key, columns in members.items() if Ref("Logical_Switch_Port", PORT) in columns.get("ports", ()))
    members[row]["ports"].discard(Ref("Logical_Switch_Port", PORT), POD)


def member_left_over(cluster: Cluster) -> None:
    members = cluster.engine.desired._members
    row = next(key for key, columns in members.items() if Ref("Logical_Switch_Port", PORT) in columns.get("ports", ()))
    members[row]["ports"].put(Ref("Logical_Switch_Port", "gone.shop"), POD, None)


def row_left_over(cluster: Cluster) -> None:
    key = ("Port_Group", "left.over")
    cluster.engine.desired._rows.put(key, UnitKey("node", "gone"), Row(*key, {"name": "left.over"}))


def hold_left_over(cluster: Cluster) -> None:
    cluster.engine.desired._holds.put("ovn-default", POD, None)


def claim_dropped(cluster: Cluster) -> None:
    del cluster.engine.desired._claims._of[PORT]


def annotations_dropped(cluster: Cluster) -> None:
    del cluster.engine.desired._objects._of[("Pod", "shop/web")]


def unit_never_run(cluster: Cluster) -> None:
    cluster.engine.desired.set(POD, ())


def unit_of_a_gone_object(cluster: Cluster) -> None:
    ghost = UnitKey("pod", "shop/ghost")
    cluster.engine.desired.set(
        ghost, (Row("Logical_Switch_Port", "ghost.shop", {"name": "ghost.shop"}, Ref("Logical_Switch", "ovn-default")),)
    )


def query_stale(cluster: Cluster) -> None:
    (query,) = [q for q in cluster.engine._answers if q.function.__name__ == "node_names"]
    cluster.engine._answers[query] = ("n-7",)


CORRUPTIONS: list[tuple[Callable[[Cluster], None], str]] = [
    (without(Row), "Row"),
    (row_dropped, "Row"),
    (row_changed, "Row"),
    (row_left_over, "Row"),
    (member_dropped, "Member"),
    (member_left_over, "Member"),
    (hold_left_over, "Hold"),
    (claim_dropped, "Claim"),
    (annotations_dropped, "Annotations"),
    (unit_never_run, "Row"),
    (unit_of_a_gone_object, "Row"),
    (query_stale, "Query"),
]


@pytest.mark.parametrize(("corrupt", "kind"), CORRUPTIONS, ids=lambda v: getattr(v, "__name__", str(v)))
async def test_what_is_corrupted_is_found_and_repaired(
    cluster: Cluster, corrupt: Callable[[Cluster], None], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, rows = merged(cluster), cluster.memory.snapshot()
    corrupt(cluster)
    with caplog.at_level(logging.INFO):
        found = await cluster.state.reactor.self_check()
    assert found.differences[kind] >= 1, found
    assert cluster.state.reactor.checks.total.differences == found.differences
    assert [r for r in caplog.records if r.levelno == logging.ERROR and f"kind={kind}" in r.getMessage()]
    assert merged(cluster) == before
    assert cluster.engine.desired.snapshot() == cluster.engine.recompute().snapshot()
    cluster.run()
    assert cluster.memory.snapshot() == rows
    again = await cluster.state.reactor.self_check()
    assert not again.differences
    assert not again.drift


async def test_what_was_written_meanwhile_is_put_right(cluster: Cluster) -> None:
    rows = cluster.memory.snapshot()
    row_changed(cluster)
    cluster.state.reactor.rows_changed([("Logical_Switch_Port", PORT)])
    cluster.commit()
    assert cluster.memory.snapshot() != rows
    await cluster.state.reactor.self_check()
    cluster.run()
    assert cluster.memory.snapshot() == rows


async def test_a_lost_dependency_is_repaired_for_good(cluster: Cluster) -> None:
    """The most likely bug: a unit is not told of a change."""
    cell = Cell("Pod", "shop/web")
    cluster.engine._readers._of.pop(cell)
    cluster.engine._readers._of.pop(Cell("IP", PORT))
    lease = cluster.world.get("IP", PORT)
    assert lease is not None
    spec = msgspec.structs.replace(lease.spec, mac_address="02:00:00:00:00:99")
    cluster.world.put("IP", PORT, msgspec.structs.replace(lease, spec=spec))
    cluster.state.reactor.settle()
    assert "02:00:00:00:00:99" not in str(cluster.engine.desired.row("Logical_Switch_Port", PORT))
    found = await cluster.state.reactor.self_check()
    assert found.differences["Row"] == 1
    assert "02:00:00:00:00:99" in str(cluster.engine.desired.row("Logical_Switch_Port", PORT))
    spec = msgspec.structs.replace(lease.spec, mac_address="02:00:00:00:00:98")
    cluster.world.put("IP", PORT, msgspec.structs.replace(lease, spec=spec))
    cluster.state.reactor.settle()
    assert "02:00:00:00:00:98" in str(cluster.engine.desired.row("Logical_Switch_Port", PORT))


async def test_a_healthy_controller_is_left_alone(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    cluster.engine.desired.take_touched()
    evaluations = cluster.engine.evaluations
    with caplog.at_level(logging.WARNING):
        found = await cluster.state.reactor.self_check()
    assert not found.differences
    assert not found.drift
    assert found.things > 20
    assert found.rows >= len(list(cluster.engine.desired.row_keys()))
    assert cluster.engine.evaluations == evaluations
    assert not cluster.touched.rows
    assert not caplog.records


async def test_drift_that_nobody_notified_is_counted_apart_and_written(cluster: Cluster) -> None:
    rows = cluster.memory.snapshot()
    uuid = cluster.state.replica.find("Logical_Switch_Port", PORT).uuid  # type: ignore[union-attr]
    listeners, cluster.database._listeners = cluster.database._listeners, cluster.database._listeners[:1]
    where = [["_uuid", "==", ["uuid", uuid]]]
    cluster.database.transact(
        [{"op": "update", "table": "Logical_Switch_Port", "where": where, "row": {"addresses": "unknown"}}]
    )
    cluster.database._listeners = listeners
    cluster.touched.rows.clear()
    found = await cluster.state.reactor.self_check()
    assert not found.differences
    assert found.drift == {"Logical_Switch_Port": 1}
    cluster.run()
    assert cluster.memory.snapshot() == rows


async def test_rows_on_their_way_are_no_drift(cluster: Cluster) -> None:
    cluster.apply(pod("shop/new", "n-1"))
    cluster.hear()
    assert cluster.touched.rows or cluster.touched.objects
    found = await cluster.state.reactor.self_check()
    assert not found.drift
    assert not found.differences


async def test_many_differences_are_all_counted_and_some_logged(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(60):
        cluster.apply(pod(f"shop/p{number}", "n-1"))
    cluster.run()
    for key in [k for k in cluster.engine.desired._rows if str(k[1]).startswith("p")]:
        del cluster.engine.desired._rows._of[key]
    with caplog.at_level(logging.ERROR):
        found = await cluster.state.reactor.self_check()
    assert found.differences["Row"] == 60
    assert len(caplog.records) < 30


async def test_a_standby_checks_itself_and_no_rows(cluster: Cluster) -> None:
    cluster.state.reactor.detach()
    row_dropped(cluster)
    found = await cluster.state.reactor.self_check()
    assert found.differences == {"Row": 1}
    assert found.rows == 0

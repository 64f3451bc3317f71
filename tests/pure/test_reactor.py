"""The pump: what the sinks are told to compare."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ovnbridge.engine.desired import RowKey
from ovnbridge.model.names import node_group
from ovnbridge.model.ovn import Ref
from tests.support.cluster import Cluster, namespace, node, pod

GROUP = ("Port_Group", node_group("n-1"))


@pytest.fixture
def cluster() -> Cluster:
    """A node with ten pods, everything written."""
    found = Cluster().apply(node("n-1", "192.168.0.11"), namespace("shop"))
    found.apply(*(pod(f"shop/p{number}", "n-1") for number in range(10)))
    found.run()
    return found


def test_one_more_member_is_compared_alone_also_before_the_last_one_is_confirmed(cluster: Cluster) -> None:
    reactor, compared = cluster.state.reactor, list[set[object] | None]()
    original = reactor.members_to_compare

    def watched(row: RowKey) -> set[object] | None:
        members = original(row)
        if row == GROUP:
            compared.append(members)  # type: ignore[arg-type]
        return members  # type: ignore[return-value]

    reactor.members_to_compare = watched  # type: ignore[method-assign,assignment]
    reactor.committed = lambda keys: None  # type: ignore[method-assign]  # replies are late: the echo comes first
    for name in ("new", "newer"):
        cluster.apply(pod(f"shop/{name}", "n-1"))
        cluster.run()
    ports = {("ports", Ref("Logical_Switch_Port", f"{name}.shop")) for name in ("new", "newer")}
    assert compared
    assert all(members is not None and members <= ports for members in compared)
    assert set().union(*filter(None, compared)) == ports


def test_a_row_that_was_compared_whole_is_until_it_is_confirmed(cluster: Cluster) -> None:
    reactor, member = cluster.state.reactor, ("ports", Ref("Logical_Switch_Port", "p1.shop"))
    reactor.rows_changed([GROUP])
    assert reactor.members_to_compare(GROUP) is None
    reactor.members_changed(GROUP, {member})
    assert reactor.members_to_compare(GROUP) is None
    reactor.committed([GROUP])
    reactor.members_changed(GROUP, {member})
    assert reactor.members_to_compare(GROUP) == {member}
    reactor.committed([GROUP])
    assert reactor.members_to_compare(GROUP) is None, "asked for by the committer itself: nothing says which"


def test_a_status_waits_for_the_rows_of_a_unit_with_many(cluster: Cluster) -> None:
    """Whether the few open rows are looked up among the unit's, or the unit's among the open ones."""
    cluster.apply(*(node(f"m-{number}", f"192.168.1.{number}") for number in range(70)))
    cluster.run()
    desired = cluster.engine.desired
    (unit, rows) = max(
        (
            (u, desired.rows_of(u))
            for t in ("Subnet", "Vpc")
            for k in cluster.world.keys(t)
            for u in cluster.engine.units_for(t, k)
        ),
        key=lambda found: len(found[1]),
    )
    assert len(rows) > 50, "the test is about such a unit"
    kind = next(t for t in ("Subnet", "Vpc") if unit in cluster.engine.units_for(t, unit.key))
    assert not cluster.state.reactor.blocked(kind, unit.key)
    cluster.state.reactor.rows_changed([sorted(rows, key=str)[0]])
    assert cluster.state.reactor.blocked(kind, unit.key)
    committed: Sequence[RowKey] = list(cluster.touched.rows)
    cluster.commit()
    assert committed
    assert not cluster.state.reactor.blocked(kind, unit.key)

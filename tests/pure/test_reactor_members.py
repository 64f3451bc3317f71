"""What of a large set is compared while pods come and go: only what may differ, and nothing of it is lost."""

from __future__ import annotations

from typing import Any

import pytest

from ovnbridge.engine.diff import Change, Mutate
from ovnbridge.model.ovn import Ref
from tests.support.cluster import Cluster, namespace, node, pod

GROUP = ("Port_Group", "node.n1")


class Watched:
    """A settled cluster with some pods on n1, and the members that comparisons of their group look at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cluster = Cluster().apply(node("n1", "192.168.0.1"), namespace("team"))
        self.cluster.apply(*(pod(f"team/old-{number}", "n1") for number in range(5)))
        self.cluster.run()
        self.looked_at: set[str] | None = None
        differ: Any = self.cluster.state._differ
        diff = differ.diff

        def spy(table: str, key: Any, members: Any = None) -> list[Change]:
            if (table, key) == GROUP:
                self.looked_at = None if members is None else {value.key for _, value in members}
            return diff(table, key, members)  # type: ignore[no-any-return]

        monkeypatch.setattr(differ, "diff", spy)

    def new_pod(self, name: str) -> None:
        """A pod gets its lease; its rows are wanted and nothing is committed."""
        cluster = self.cluster
        cluster.apply(pod(f"team/{name}", "n1"))
        cluster.hear()
        cluster.write("IP", f"{name}.team")
        cluster.hear()

    def compare(self) -> set[str]:
        """Ports that a transaction made now would add to the group; it fails without a word."""
        changes = self.cluster.state.diff(*GROUP)
        assert all(isinstance(change, Mutate) for change in changes)
        added = (value for change in changes if isinstance(change, Mutate) for value in change.add)
        return {str(value.key) for value in added if isinstance(value, Ref)}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_members_of_a_failed_transaction_are_compared_again_with_new_ones(watched: Watched) -> None:
    watched.new_pod("x")
    assert watched.compare() == {"x.team"}
    watched.new_pod("y")
    assert watched.compare() == {"x.team", "y.team"}
    watched.new_pod("z")
    assert watched.compare() == {"x.team", "y.team", "z.team"}
    assert watched.looked_at == {"x.team", "y.team", "z.team"}


def test_what_is_there_is_not_compared_again_while_others_come(watched: Watched) -> None:
    watched.new_pod("x")
    rows = list(watched.cluster.touched.rows)
    watched.cluster.touched.rows.clear()
    # Committed, and touched again before the committer could say so.
    watched.cluster.memory.commit(watched.cluster.state.diff, rows)
    watched.new_pod("y")
    assert watched.compare() == {"y.team"}
    watched.new_pod("z")
    assert watched.compare() == {"y.team", "z.team"}
    assert watched.looked_at == {"y.team", "z.team"}


def test_the_committer_may_try_again_by_itself(watched: Watched) -> None:
    watched.new_pod("x")
    assert watched.compare() == {"x.team"}
    assert watched.compare() == {"x.team"}
    watched.new_pod("y")
    assert watched.compare() == {"x.team", "y.team"}

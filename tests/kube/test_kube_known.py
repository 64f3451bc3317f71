"""`known`: whatever the order and delay in which lists, watch events and replies arrive, the server's state results."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kube_harness import pod_value

from ovnbridge.kube.known import Known, Rewound
from ovnbridge.kube.wire import UNKNOWN, number
from ovnbridge.model.kube import Pod


class History:
    """A server's changes to two names, each with a version; a reply may be kept for later."""

    def __init__(self, choices: list[int]) -> None:
        self.state: dict[str, tuple[int, Pod]] = {}
        self.events: list[tuple[str, str, int, Pod]] = []
        self.version = 10
        self._choices = choices
        for choice in choices:
            self._change("ab"[choice % 2], choice // 2)

    def _change(self, name: str, choice: int) -> None:
        self.version += 1
        there = self.state.get(name)
        if there is None:
            pod = pod_value(name, f"uid{self.version}")
            self._record("ADDED", name, pod)
        elif choice % 3 == 0:
            del self.state[name]
            self.events.append(("DELETED", name, self.version, there[1]))
        else:
            self._record("MODIFIED", name, pod_value(name, there[1].metadata.uid, v=str(self.version)))

    def _record(self, kind: str, name: str, pod: Pod) -> None:
        self.state[name] = (self.version, pod)
        self.events.append((kind, name, self.version, pod))

    def at(self, version: int) -> dict[str, tuple[int, Pod]]:
        state: dict[str, tuple[int, Pod]] = {}
        for kind, name, changed, pod in self.events:
            if changed > version:
                break
            if kind == "DELETED":
                state.pop(name)
            else:
                state[name] = (changed, pod)
        return state


@settings(max_examples=500, deadline=None)
@given(st.lists(st.integers(0, 11), max_size=12), st.data())
def test_any_interleaving_ends_with_the_servers_state(choices: list[int], data: st.DataObject) -> None:
    history = History(choices)
    known: Known[Pod] = Known(complete=True)
    sink: dict[str, Pod] = {}

    def relist(version: int) -> None:
        state = history.at(version)
        known.finish_list(version, {n: p for n, (_, p) in state.items()}, {n: v for n, (v, _) in state.items()})
        sink.clear()
        sink.update(known.objects)

    replies = [event for event in history.events if event[0] != "DELETED"]
    start = data.draw(st.integers(10, history.version), label="first list")
    known.begin_list()
    relist(start)
    pending: Iterator[tuple[str, str, int, Pod]] = iter([e for e in history.events if e[2] > start])
    finished = False
    while not finished:
        step = data.draw(st.sampled_from(["watch", "observe", "relist"]), label="step")
        if step == "observe" and replies:
            _, name, version, pod = data.draw(st.sampled_from(replies))
            if known.observe(name, version, pod):
                sink[name] = known.objects[name]
        elif step == "relist":
            # Replies that come while the list is read may be newer than the list.
            known.begin_list()
            listed = data.draw(st.integers(known.position, history.version), label="relist")
            fresh = [r for r in replies if r[2] > listed]
            if fresh:
                _, name, version, pod = data.draw(st.sampled_from(fresh))
                if known.observe(name, version, pod):
                    sink[name] = known.objects[name]
            relist(listed)
            pending = iter([e for e in history.events if e[2] > listed])
        else:
            event = next(pending, None)
            if event is None:
                finished = True
                continue
            kind, name, version, pod = event
            if kind == "DELETED":
                if known.deleted(name, version, pod.metadata.uid):
                    del sink[name]
            elif not known.echo(name, version) and known.changed(name, version, pod):
                sink[name] = known.objects[name]
        assert sink == known.objects
    for _, name, version, pod in replies:  # late ones change nothing
        assert not known.observe(name, version, pod)
    assert {name: (known.versions[name], pod) for name, pod in known.objects.items()} == history.state


def listed(*pods: tuple[str, int], at: int, complete: bool = True) -> Known[Pod]:
    known: Known[Pod] = Known(complete=complete)
    known.begin_list()
    known.finish_list(at, {n: pod_value(n, f"u{n}") for n, _ in pods}, dict(pods))
    return known


def test_the_echo_of_a_reply_is_recognised_and_moves_the_position() -> None:
    known = listed(("a", 5), at=5)
    assert known.observe("a", 7, pod_value("a", "u", x="1"))
    assert not known.echo("a", 6)
    assert known.echo("a", 7)
    assert known.position == 7
    assert not known.echo("b", 8)
    assert not known.echo("a", UNKNOWN)
    with pytest.raises(Rewound):
        known.position = 9
        known.echo("a", 7)


def test_a_late_reply_does_not_resurrect_a_deleted_object() -> None:
    known = listed(("a", 5), at=10)
    assert known.deleted("a", 12, "ua")
    assert not known.observe("a", 11, pod_value("a", "ua"))
    assert known.objects == {}


def test_what_was_written_does_not_seem_undone_while_the_watch_is_behind() -> None:
    known = listed(("a", 5), at=10)
    mine = pod_value("a", "ua", x="mine")
    assert known.observe("a", 13, mine)
    assert not known.changed("a", 12, pod_value("a", "ua", x="theirs, before"))
    assert known.objects["a"] == mine


def test_what_was_written_while_a_list_was_read_is_not_undone_by_it() -> None:
    known = listed(("a", 5), at=10)
    mine, new = pod_value("a", "ua", x="mine"), pod_value("b", "ub")
    known.begin_list()
    assert known.observe("a", 23, mine)
    assert known.observe("b", 24, new)
    known.finish_list(20, {"a": pod_value("a", "ua")}, {"a": 5})
    assert known.objects == {"a": mine, "b": new}
    assert known.versions == {"a": 23, "b": 24}


def test_the_deletion_of_the_last_incarnation_does_not_remove_the_new_one() -> None:
    known = listed(("a", 5), at=10)
    assert known.observe("a", 13, pod_value("a", "new"))
    assert not known.deleted("a", 11, "ua")
    assert known.objects["a"].metadata.uid == "new"


def test_a_deletion_with_the_version_of_the_last_change_counts() -> None:
    known = listed(("a", 5), at=10)
    assert known.observe("a", 12, pod_value("a", "ua", x="1"))
    assert known.deleted("a", 11, "ua")


def test_a_reply_is_not_added_to_a_narrowed_list() -> None:
    known = listed(("a", 5), at=10, complete=False)
    assert not known.observe("b", 12, pod_value("b", "ub"))
    assert known.observe("a", 12, pod_value("a", "ua", x="1"))


def test_a_server_restored_from_a_backup_is_believed_after_a_list() -> None:
    known = listed(("a", 500), at=1000)
    with pytest.raises(Rewound):
        known.changed("a", 20, pod_value("a", "ua"))
    known.begin_list()
    known.finish_list(30, {"a": pod_value("a", "ua", x="old")}, {"a": 20})
    assert known.changed("a", 31, pod_value("a", "ua", x="new"))


def test_versions_that_are_no_numbers_are_passed_over() -> None:
    assert number("abc") == number("") == number("-1") == number("١") == number("9" * 30) == UNKNOWN
    known: Known[Pod] = Known(complete=True)
    known.begin_list()
    known.finish_list(UNKNOWN, {"a": pod_value("a", "ua")}, {})
    assert known.changed("a", UNKNOWN, pod_value("a", "ua", x="1"))
    assert not known.observe("a", UNKNOWN, pod_value("a", "ua", x="2"))
    assert known.deleted("a", UNKNOWN, "ua")


def test_an_equal_value_is_no_change_and_the_first_copy_is_kept() -> None:
    known = listed(("a", 5), at=10)
    first = known.objects["a"]
    assert not known.changed("a", 11, pod_value("a", "ua"))
    assert known.objects["a"] is first
    assert known.versions["a"] == 11

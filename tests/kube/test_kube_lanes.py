"""`lanes`: nothing touched is forgotten, nothing runs twice at once, and the urgent come first."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ovnbridge.kube.lanes import Entry, Lanes, Refusal


class LanesMachine(RuleBasedStateMachine):
    """Random use; `owed` is what was touched and not finished since."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes()
        self.now = 0.0
        self.running: dict[str, Entry] = {}
        self.owed: set[str] = set()
        self.refused: set[str] = set()

    @rule(key=st.sampled_from("abcd"), urgent=st.booleans())
    def touch(self, key: str, urgent: bool) -> None:
        self.lanes.touch(("Pod", key), urgent=urgent)
        self.owed.add(key)

    @rule()
    def take(self) -> None:
        entry = self.lanes.take(self.now)
        if entry is not None:
            key = entry.key[1]
            assert key not in self.running
            self.running[key] = entry
            self.owed.discard(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["done", "put_back", "retry", "refuse", "still_refused"]))
    def finish(self, data: st.DataObject, how: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        entry = self.running[key]
        if how == "still_refused" and (entry.refusal is None or entry.due is None):
            return
        del self.running[key]
        if how == "done":
            self.lanes.done(entry)
            self.refused.discard(key)
        elif how == "put_back":
            self.lanes.put_back(entry)
            self.owed.add(key)
        elif how == "retry":
            self.lanes.retry(entry, self.now)
            self.owed.add(key)
            self.refused.discard(key)
        elif how == "refuse":
            self.lanes.refuse(entry, self.now, Refusal((), "x"))
            self.owed.add(key)
            self.refused.add(key)
        else:
            self.lanes.still_refused(entry, self.now)
            self.owed.add(key)

    @rule(seconds=st.sampled_from([0.1, 1.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def counts(self) -> None:
        assert {key for _, key in self.lanes.objects()} >= self.owed | set(self.running)
        assert self.lanes.unsettled == len(self.lanes.objects()) - len(self.refused)

    def teardown(self) -> None:
        for entry in self.running.values():
            self.lanes.done(entry)
        self.now += 1000.0
        while (entry := self.lanes.take(self.now)) is not None:
            self.owed.discard(entry.key[1])
            self.lanes.done(entry)
        assert not self.owed
        assert self.lanes.objects() == []
        assert self.lanes.unsettled == 0


LanesMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestLanes = LanesMachine.TestCase


def test_urgent_first_also_when_it_becomes_urgent_later() -> None:
    lanes = Lanes()
    for key in "abc":
        lanes.touch(("Pod", key), urgent=False)
    lanes.touch(("Pod", "c"), urgent=True)
    lanes.touch(("Pod", "new"), urgent=True)
    order = [entry.key[1] for _ in range(4) if (entry := lanes.take(0.0)) is not None]
    assert order == ["c", "new", "a", "b"]
    assert lanes.take(0.0) is None


def test_a_refused_object_touched_often_costs_one_retry() -> None:
    lanes = Lanes()
    lanes.touch(("Pod", "a"), urgent=False)
    entry = lanes.take(0.0)
    assert entry is not None
    lanes.refuse(entry, 0.0, Refusal((), ""))
    for _ in range(100):
        lanes.touch(("Pod", "a"), urgent=False)
        assert lanes.take(0.0) is entry
        lanes.still_refused(entry, 0.0)
    assert len(lanes._retries) == 1

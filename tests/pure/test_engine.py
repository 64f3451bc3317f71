"""The incremental engine against a recompute from nothing (the oracle), on a toy compiler."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ovnbridge.engine.engine import Engine, Reader, Unit
from ovnbridge.engine.items import Claim, Item, Member, Row
from ovnbridge.engine.world import Cell, Index, World


class Group(msgspec.Struct, frozen=True):
    prefix: str
    noise: int = 0


class Thing(msgspec.Struct, frozen=True):
    group: str
    colour: str


def prefix_of(reader: Reader, group: str) -> str:
    found = reader.get("Group", group)
    return found.prefix if found is not None else ""


def label_of(reader: Reader, group: str) -> str:
    """A question that asks another one, which units ask as well."""
    return reader.query(prefix_of, group) + "!"


def things_of(reader: Reader, group: str) -> int:
    return len(reader.by("thing-group", group))


def thing(reader: Reader, key: str) -> Iterator[Item]:
    value = reader.get("Thing", key)
    if value is None:
        return
    prefix = reader.query(prefix_of, value.group)
    if not prefix:
        yield Claim(key, Thing(value.group, value.colour))
        return
    yield Row("T", f"{prefix}{key}", {"name": f"{prefix}{key}"})
    yield Member("G", value.group, "colours", value.colour)


def group(reader: Reader, key: str) -> Iterator[Item]:
    if reader.get("Group", key) is not None:
        columns = {"size": reader.query(things_of, key), "label": reader.query(label_of, key)}
        yield Row("G", key, columns, members=("colours",))
        yield Row("P", key, {"prefix": reader.query(prefix_of, key)})


UNITS = [Unit("thing", "Thing", thing), Unit("group", "Group", group)]
INDEXES = [Index("thing-group", "Thing", lambda t: (t.group,))]

names = st.sampled_from("abcdef")
things = st.builds(Thing, st.sampled_from("xyz"), st.sampled_from(["red", "blue"]))
groups = st.builds(Group, st.sampled_from(["", "p-", "q-"]), st.integers(0, 2))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("Thing"), names, st.none() | things),
        st.tuples(st.just("Group"), st.sampled_from("xyz"), st.none() | groups),
        st.tuples(st.just("settle"), st.integers(1, 3), st.none()),
    ),
    max_size=60,
)


def merged(engine: Engine) -> dict[object, object]:
    """Everything a sink can see of the desired state."""
    store = engine.desired
    rows = {("row", *k): store.row(*k) for k in store.row_keys()}
    members = {
        ("member", *k, column): sorted(values, key=str)
        for k in store.member_keys()
        for column, values in store.members(*k).items()
    }
    claims = {("claim", owner): store.claim(owner) for owner in store.claims()}
    return {**rows, **members, **claims}


@given(steps)
def test_incremental_equals_recompute(script: list[tuple[str, object, object]]) -> None:
    world = World(INDEXES)
    engine = Engine(world, UNITS)
    for table, key, value in script:
        if table == "settle":
            engine.settle(limit=int(str(key)))
        else:
            world.put(table, str(key), value)
    engine.settle()
    assert engine.desired.snapshot() == engine.recompute().snapshot()


@given(steps, st.randoms())
def test_order_and_duplication_of_events_do_not_matter(
    script: list[tuple[str, object, object]], random: object
) -> None:
    final: dict[tuple[str, str], object] = {}
    for table, key, value in script:
        if table != "settle":
            final[(table, str(key))] = value
    one = Engine(World(INDEXES), UNITS)
    for (table, key), value in final.items():
        one.world.put(table, key, value)
    one.settle()
    two = Engine(World(INDEXES), UNITS)
    events = list(final.items()) * 2
    random.shuffle(events)  # type: ignore[attr-defined]
    for (table, key), value in events:
        two.world.put(table, key, value)
        two.settle(limit=1)
    two.settle()
    assert merged(one) == merged(two)


@given(steps)
def test_touched_tells_every_difference(script: list[tuple[str, object, object]]) -> None:
    engine = Engine(World(INDEXES), UNITS)
    seen: dict[object, object] = {}
    for table, key, value in script:
        if table == "settle":
            continue
        engine.world.put(table, str(key), value)
        engine.settle()
        touched = engine.desired.take_touched()
        now = merged(engine)
        for identity in seen.keys() | now.keys():
            if seen.get(identity) != now.get(identity):
                assert identity[0] != "row" or identity[1:] in touched.rows  # type: ignore[index]
                assert identity[0] != "claim" or identity[1] in touched.claims  # type: ignore[index]
                assert identity[0] != "member" or identity[1:3] in touched.rows  # type: ignore[index]
        seen = now


def test_early_cut_off() -> None:
    world = World(INDEXES)
    engine = Engine(world, UNITS)
    world.put("Group", "x", Group("p-"))
    for name in "abc":
        world.put("Thing", name, Thing("x", "red"))
    engine.settle()
    before = engine.evaluations
    world.put("Group", "x", Group("p-", noise=1))
    engine.settle()
    assert engine.evaluations == before + 1, "only the group's own unit runs: the prefix did not change"
    world.put("Group", "x", Group("q-"))
    engine.settle()
    assert engine.evaluations == before + 1 + 4


def test_equal_value_is_no_change() -> None:
    world = World(INDEXES)
    engine = Engine(world, UNITS)
    world.put("Thing", "a", Thing("x", "red"))
    engine.settle()
    before = engine.evaluations
    assert not world.put("Thing", "a", Thing("x", "red"))
    engine.settle()
    assert engine.evaluations == before


def test_changed_object_overtakes_shared_change() -> None:
    world = World(INDEXES)
    engine = Engine(world, UNITS)
    world.put("Group", "x", Group("p-"))
    for number in range(50):
        world.put("Thing", f"old{number}", Thing("x", "red"))
    engine.settle()
    engine.desired.take_touched()
    world.put("Group", "x", Group("q-"))
    world.put("Thing", "new", Thing("x", "blue"))
    engine.settle(limit=2)
    assert engine.desired.row("T", "q-new") is not None


def test_explain_reads_and_dependants() -> None:
    world = World(INDEXES)
    engine = Engine(world, UNITS)
    world.put("Group", "x", Group("p-"))
    world.put("Thing", "a", Thing("x", "red"))
    engine.settle()
    owner = engine.desired.row_owner("T", "p-a")
    assert owner == ("thing", "a")
    assert Cell("Thing", "a") in engine.reads_of(owner)
    assert ("thing", "a") in engine.dependants(Cell("Group", "x"))


def test_clash_of_two_units_is_kept_and_settles_when_one_goes() -> None:
    world = World(INDEXES)
    engine = Engine(world, UNITS)
    world.put("Group", "x", Group("p-"))
    world.put("Group", "y", Group("p-"))
    world.put("Thing", "a", Thing("x", "red"))
    engine.settle()
    assert engine.desired.clashes() == []
    engine.desired.set(engine.units_for("Thing", "zz")[0], (Row("T", "p-a", {"name": "other"}),))
    assert engine.desired.clashes() == [(("T", "p-a"), [("thing", "a"), ("thing", "zz")])]
    row = engine.desired.row("T", "p-a")
    assert row is not None
    assert row.columns == {"name": "p-a"}
    world.put("Thing", "a", None)
    engine.settle()
    row = engine.desired.row("T", "p-a")
    assert row is not None
    assert row.columns == {"name": "other"}


def test_a_change_that_concerns_many_spreads_in_steps() -> None:
    world = World(INDEXES)
    engine = Engine(world, UNITS)
    world.put("Group", "x", Group("p-"))
    for number in range(1000):
        world.put("Thing", f"t{number}", Thing("x", "red"))
    engine.settle()
    before = engine.evaluations
    world.put("Group", "x", Group("q-"))
    assert engine.settle(limit=3)
    assert engine.evaluations - before <= 3
    assert engine.refresh("Thing", "t500"), "not marked yet, but known to be out of date"
    assert engine.desired.row("T", "q-t500") is not None
    world.put("Group", "x", Group("r-"))
    while engine.settle(limit=7):
        pass
    assert engine.desired.snapshot() == engine.recompute().snapshot()


def test_answers_that_nobody_asks_for_are_kept_for_a_while_and_current() -> None:
    world = World(INDEXES)
    engine = Engine(world, UNITS)
    world.put("Group", "x", Group("p-"))
    world.put("Thing", "a", Thing("y", "red"))
    world.put("Group", "y", Group("k-"))
    engine.settle()
    world.put("Thing", "a", Thing("x", "red"))  # nobody asks for y's prefix but y's group
    world.put("Group", "y", None)
    engine.settle()
    world.put("Group", "y", Group("l-"))
    world.put("Thing", "a", Thing("y", "red"))
    engine.settle()
    assert engine.desired.row("T", "l-a") is not None
    for number in range(1000):
        world.put("Thing", "a", Thing(f"group-{number}", "red"))
        engine.settle()
    assert len(engine.queries()) < 200, "bounded"


def test_units_may_share_a_row_that_they_agree_on() -> None:
    engine = Engine(World(INDEXES), UNITS)
    first, second = (engine.units_for("Thing", name)[0] for name in "ab")
    row = Row("T", "shared", {"name": "shared"})
    engine.desired.set(first, (row,))
    engine.desired.take_touched()
    engine.desired.set(second, (row,))
    engine.desired.set(first, ())
    assert engine.desired.clashes() == []
    assert not engine.desired.take_touched()
    assert engine.desired.row("T", "shared") == row
    engine.desired.set(second, ())
    assert ("T", "shared") in engine.desired.take_touched().rows

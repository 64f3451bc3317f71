"""The differ on random desired states and databases, and each kind of change by example."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnbridge.engine.desired import DesiredStore, UnitKey
from ovnbridge.engine.diff import ActualRow, Change, Delete, Differ, Insert, Mutate, Update, same
from ovnbridge.engine.items import STANDS, Item, Member, Row
from ovnbridge.model.ovn import NORTHBOUND, Ref
from ovnbridge.ovsdb.file import read_file
from ovnbridge.ovsdb.schema import DatabaseSchema
from tests.support import memory
from tests.support.memory import Memory, MemoryDatabase

OURS = {"vendor": "kube-ovn"}
SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", Path(__file__).resolve().parents[3] / "shared"))


def owns(table: str, row: ActualRow) -> bool:
    return bool(row.columns.get("external_ids", {}).get("vendor") == "kube-ovn")


class Bench:
    """Desired items and a database."""

    def __init__(self, *items: Item, without: Iterable[str] = ()) -> None:
        self.memory = Memory(MemoryDatabase(memory.schema(without)))
        self.desired = DesiredStore()
        self.differ = Differ(desired=self.desired, actual=self.memory, facts=NORTHBOUND, owns=owns)
        self.want(*items)

    def want(self, *items: Item, unit: str = "unit") -> None:
        self.desired.set(UnitKey(unit, ""), items)

    def keys(self) -> dict[Any, None]:
        return dict.fromkeys([*self.desired.row_keys(), *self.desired.member_keys(), *self.memory.row_keys()])

    def diff(self) -> list[Change]:
        return [change for key in self.keys() for change in self.differ.diff(*key)]

    def commit(self, batch: int = 200) -> list[Change]:
        return self.memory.commit(self.differ.diff, self.keys(), batch=batch)


def switch(name: str, **columns: Any) -> Row:
    return Row("Logical_Switch", name, {"name": name, "external_ids": OURS, **columns})


def port(name: str, on: str, **columns: Any) -> Row:
    ids = {**OURS, "ls": on}
    return Row("Logical_Switch_Port", name, {"name": name, "external_ids": ids, **columns}, Ref("Logical_Switch", on))


def group(name: str, **columns: Any) -> Row:
    return Row("Port_Group", name, {"name": name, "external_ids": OURS, **columns}, members=("ports",))


def member(of: str, name: str) -> Member:
    return Member("Port_Group", of, "ports", Ref("Logical_Switch_Port", name))


def policy(router: str, priority: int, match: str, action: str = "allow") -> Row:
    columns = {"priority": priority, "match": match, "action": action, "external_ids": OURS}
    key = (router, priority, match)
    return Row("Logical_Router_Policy", key, columns, Ref("Logical_Router", router))


def router(name: str) -> Row:
    return Row("Logical_Router", name, {"name": name, "external_ids": OURS})


# -- random states

names = st.sampled_from("abcd")
members = st.builds(member, names, names) | st.builds(
    lambda of, value: Member("Address_Set", of, "addresses", value), names, st.sampled_from(["10.0.0.1", "10.0.0.2"])
)
rows = st.one_of(
    st.builds(switch, names),
    st.builds(port, names, names, addresses=st.sampled_from([frozenset(), frozenset({"x"}), frozenset({"x", "y"})])),
    st.builds(group, names),
    st.builds(lambda n: Row("Address_Set", n, {"name": n, "external_ids": OURS}, members=("addresses",)), names),
    st.builds(router, names),
    st.builds(policy, names, st.integers(1, 2), st.sampled_from(["ip4", "ip6"]), st.sampled_from(["allow", "drop"])),
)


def consistent(items: list[Item]) -> tuple[Item, ...]:
    """One row a key; ports, policies and members only of what exists."""
    chosen = {(i.table, i.key): i for i in items if isinstance(i, Row)}
    kept = {k: r for k, r in chosen.items() if r.parent is None or (r.parent.table, r.parent.key) in chosen}
    wanted = [
        i
        for i in items
        if isinstance(i, Member)
        and (i.table, i.key) in kept
        and (not isinstance(i.value, Ref) or (i.value.table, i.value.key) in kept)
    ]
    return (*kept.values(), *dict.fromkeys(wanted))


states = st.lists(rows | members, max_size=30).map(consistent)


@given(states, states, st.integers(1, 5))
def test_diff_of_what_was_applied_is_empty(first: tuple[Item, ...], second: tuple[Item, ...], batch: int) -> None:
    bench = Bench(*first)
    bench.memory.put("Logical_Switch", name="foreign")
    bench.memory.put("Logical_Switch_Port", Ref("Logical_Switch", "foreign"), "ports", name="foreign")
    bench.memory.put("Port_Group", name="foreign")
    foreign = bench.memory.snapshot()
    for items in (first, second, ()):
        bench.want(*items)
        bench.commit(batch)
        assert bench.diff() == []
        found = bench.memory.snapshot()
        assert found.items() >= foreign.items()
        assert found.keys() - foreign.keys() == {(i.table, i.key) for i in items if isinstance(i, Row)}
    again = Bench(*second)
    again.commit()
    bench.want(*second)
    bench.commit(batch)
    assert {k: v for k, v in bench.memory.snapshot().items() if k not in foreign} == again.memory.snapshot()


@given(states, states, st.data())
def test_some_members_compared_are_the_same_as_all_compared(
    first: tuple[Item, ...], second: tuple[Item, ...], data: st.DataObject
) -> None:
    bench = Bench(*first)
    bench.commit()
    # Rows stay, members change: what the reactor compares partially.
    kept = tuple(i for i in first if isinstance(i, Row))
    bench.desired.take_touched()
    bench.want(*consistent([*kept, *(i for i in second if isinstance(i, Member))]))
    touched = bench.desired.take_touched().rows
    assert None not in touched.values()
    for key, some in touched.items():
        assert some is not None
        assert ordered(bench.differ.diff(*key, some)) == ordered(bench.differ.diff(*key))
        subset = data.draw(st.sets(st.sampled_from(sorted(some, key=str))))
        for change in bench.differ.diff(*key, subset):
            assert isinstance(change, Mutate)
            named = {(change.column, bench.differ._atom(v)) for v in (*change.add, *change.remove)}
            assert named <= {(column, bench.differ._atom(value)) for column, value in subset}
    memory_before = bench.memory.snapshot()
    bench.memory.commit(lambda table, key: bench.differ.diff(table, key, touched[table, key]), touched)
    assert bench.diff() == []
    assert touched or bench.memory.snapshot() == memory_before


def ordered(changes: list[Change]) -> list[str]:
    def flat(change: Change) -> str:
        if isinstance(change, Mutate):
            return f"{change.key} {change.column} {sorted(map(str, change.add))} {sorted(map(str, change.remove))}"
        return str(change)

    return sorted(map(flat, changes))


# -- by example


def test_a_new_row_comes_with_its_members_and_its_parent() -> None:
    bench = Bench(switch("s"), port("p", "s"), group("g"), member("g", "p"))
    kinds = {(type(c), c.table, c.key) for c in bench.diff()}
    assert kinds == {(Insert, "Logical_Switch", "s"), (Insert, "Logical_Switch_Port", "p"), (Insert, "Port_Group", "g")}
    (inserted,) = (c for c in bench.diff() if c.table == "Port_Group")
    assert isinstance(inserted, Insert)
    assert inserted.columns["ports"] == frozenset({Ref("Logical_Switch_Port", "p")})
    bench.commit(batch=1)
    assert bench.memory.snapshot()["Port_Group", "g"][0]["ports"] == {("Logical_Switch_Port", "p")}


def test_only_named_columns_are_compared() -> None:
    bench = Bench(switch("s"))
    bench.memory.put("Logical_Switch", name="s", external_ids=OURS, other_config={"subnet": "10.0.0.0/8"})
    assert bench.diff() == []
    bench.want(switch("s", other_config={"mcast_snoop": "true"}))
    (change,) = bench.commit()
    assert isinstance(change, Update)
    assert change.columns == {"other_config": {"subnet": "10.0.0.0/8", "mcast_snoop": "true"}}, "others' keys stand"
    assert change.before == {"other_config": {"subnet": "10.0.0.0/8"}}


def test_an_adopted_value_stands() -> None:
    def uplink(mac: str) -> Row:
        columns = {"name": "r-s", "mac": mac, "networks": frozenset({"10.0.0.1/24"}), "external_ids": OURS}
        return Row("Logical_Router_Port", "r-s", columns, Ref("Logical_Router", "r"))

    bench = Bench(router("r"), uplink("02:00:00:00:00:01"))
    bench.commit()
    bench.want(router("r"), uplink("02:00:00:00:00:02"))
    assert bench.diff() == []


def test_columns_that_the_server_lacks_are_left_out() -> None:
    acl = Row(
        "ACL",
        ("g", "to-lport", 1, "ip", 0),
        {"direction": "to-lport", "priority": 1, "match": "ip", "action": "drop", "tier": 0, "external_ids": OURS},
        Ref("Port_Group", "g"),
    )
    bench = Bench(group("g"), acl, without=["ACL.tier"])
    bench.commit()
    assert bench.diff() == []
    assert "tier" not in bench.memory.snapshot()["ACL", acl.key][0]


def test_a_port_that_moves() -> None:
    bench = Bench(switch("s"), switch("t"), port("p", "s"), group("g"), member("g", "p"))
    bench.commit()
    old = bench.memory.replica.existing(Ref("Logical_Switch_Port", "p"))
    bench.want(switch("s"), switch("t"), port("p", "t"), group("g"), member("g", "p"))
    assert [type(c) for c in bench.diff()] == [Delete, Insert]
    bench.commit()
    bench.commit()
    assert bench.diff() == []
    assert bench.memory.replica.existing(Ref("Logical_Switch_Port", "p")) != old
    held = [row["name"] for row in bench.memory.database.content["Logical_Switch"].values() if row["ports"]]
    assert held == ["t"]
    assert bench.memory.snapshot()["Port_Group", "g"][0]["ports"] == {("Logical_Switch_Port", "p")}


def test_duplicates_of_a_natural_key_go() -> None:
    bench = Bench(router("r"))
    bench.commit()
    columns = {"priority": 1, "match": "ip4", "external_ids": OURS}
    for action in ("allow", "drop", "drop"):
        bench.memory.put("Logical_Router_Policy", Ref("Logical_Router", "r"), "policies", action=action, **columns)
    bench.want(router("r"), policy("r", 1, "ip4", "drop"))
    bench.commit()
    found = [row["action"] for row in bench.memory.database.content["Logical_Router_Policy"].values()]
    assert found == ["drop"]
    foreign = {"priority": 1, "match": "ip4", "action": "allow"}
    bench.memory.put("Logical_Router_Policy", Ref("Logical_Router", "r"), "policies", **foreign)
    assert bench.diff() == [], "a duplicate that is not ours stays"


def test_map_members() -> None:
    def entry(name: str, value: str) -> Member:
        return Member("NB_Global", (), "options", name, entry=value)

    bench = Bench(entry("a", "1"), entry("b", "2"))
    bench.memory.put("NB_Global", options={"northd": "x", "a": "0"})
    bench.commit()
    assert bench.memory.snapshot()["NB_Global", ()][0]["options"] == {"northd": "x", "a": "1", "b": "2"}
    bench.want(entry("a", "3"))
    bench.commit()
    assert bench.memory.snapshot()["NB_Global", ()][0]["options"] == {"northd": "x", "a": "3", "b": "2"}, "not all ours"
    assert bench.differ.diff("NB_Global", (), {("options", "a"), ("options", "b")}) == []


def test_owned_map_members() -> None:
    balancer = Row("Load_Balancer", "lb", {"name": "lb", "external_ids": OURS}, members=("vips",))

    def vip(name: str, backends: str) -> Member:
        return Member("Load_Balancer", "lb", "vips", name, entry=backends)

    bench = Bench(balancer, vip("1:80", "a"), vip("2:80", "b"))
    bench.commit()
    bench.desired.take_touched()
    bench.want(balancer, vip("1:80", "c"))
    some = bench.desired.take_touched().rows["Load_Balancer", "lb"]
    assert some == {("vips", "1:80"), ("vips", "2:80")}
    assert bench.differ.diff("Load_Balancer", "lb", some) == bench.differ.diff("Load_Balancer", "lb")
    bench.commit()
    assert bench.memory.snapshot()["Load_Balancer", "lb"][0]["vips"] == {"1:80": "c"}


def test_members_that_stand_where_they_are() -> None:
    """Neither added, nor removed while somebody says that they stand; with other members they do not interfere."""
    ports = [switch("s"), *(port(name, "s") for name in "abc")]
    bench = Bench(*ports, group("g"), member("g", "a"))
    stands = Member("Port_Group", "g", "ports", Ref("Logical_Switch_Port", "b"), STANDS)

    def held() -> set[str]:
        return {name for _, name in bench.memory.snapshot()["Port_Group", "g"][0]["ports"]}

    bench.want(*ports, group("g"), member("g", "a"), stands)
    bench.commit()
    assert held() == {"a"}
    bench.want(*ports, group("g"), member("g", "a"), member("g", "b"))
    bench.commit()
    bench.desired.take_touched()
    bench.want(*ports, group("g"), stands)
    some = bench.desired.take_touched().rows["Port_Group", "g"]
    assert bench.differ.diff("Port_Group", "g", some) == bench.differ.diff("Port_Group", "g")
    bench.commit()
    assert held() == {"b"}
    bench.want(*ports, group("g"))
    bench.commit()
    assert held() == set()


def test_members_of_rows_that_nobody_desires() -> None:
    bench = Bench(switch("s"), port("p", "s"), member("theirs", "p"))
    bench.memory.put("Port_Group", name="theirs")
    bench.commit()
    assert bench.memory.snapshot()["Port_Group", "theirs"][0]["ports"] == {("Logical_Switch_Port", "p")}
    bench.want(switch("s"), port("p", "s"))
    assert bench.diff() == [], "and they are not taken away again: whose they were is not known"


def test_two_units_that_want_one_row() -> None:
    bench = Bench(switch("s", external_ids={**OURS, "a": "1"}))
    bench.want(switch("s", external_ids={**OURS, "b": "2"}), unit="another")
    bench.commit()
    assert bench.memory.snapshot()["Logical_Switch", "s"][0]["external_ids"] == {**OURS, "b": "2"}
    assert bench.desired.clashes() == [(("Logical_Switch", "s"), [UnitKey("another", ""), UnitKey("unit", "")])]
    bench.want(unit="another")
    bench.commit()
    assert bench.memory.snapshot()["Logical_Switch", "s"][0]["external_ids"] == {**OURS, "a": "1"}


@pytest.mark.parametrize(
    ("desired", "actual", "equal"),
    [
        (frozenset(), None, True),
        (None, set(), True),
        (frozenset({"a"}), "a", True),
        (frozenset({"a"}), {"a", "b"}, False),
        ({}, None, True),
        ({"a": "1"}, {"a": "1"}, True),
        ({"a": "1"}, {"a": "2"}, False),
        (None, {}, True),
        ("", "", True),
        ("x", None, False),
        (5, 5, True),
        (False, None, False),
    ],
)
def test_same(desired: Any, actual: Any, equal: bool) -> None:
    assert same(desired, actual) is equal


# -- the stand-in


@pytest.mark.parametrize("source", ["northbound", "parity", "southbound"])
def test_the_schema_in_memory_is_the_real_one(source: str) -> None:
    path = Path(f"/usr/share/ovn/ovn-{'sb' if source == 'southbound' else 'nb'}.ovsschema")
    parity = SHARED / "reference" / "parity" / "01-basics" / "nb.db"
    if not (parity if source == "parity" else path).exists():
        pytest.skip("no such schema here")
    document: Mapping[str, Any] = read_file(parity)[0] if source == "parity" else json.loads(path.read_text())
    real = DatabaseSchema.from_json(document)
    known = memory.southbound_schema() if source == "southbound" else memory.schema()
    for name, table in known.tables.items():
        assert real.tables[name].root is table.root, name
        for column in table.columns.values():
            if not real.has_column(name, column.name) or column.name in {"bfd", "bfd_sessions"}:
                continue  # an older server, or a reference to a table that we do not write
            found = real.column(name, column.name)
            facts = (found.kind, found.key, found.value, found.ref_table, found.ref_strong)
            assert facts == (column.kind, column.key, column.value, column.ref_table, column.ref_strong), column
    unique = {t for t, spec in document["tables"].items() if ["name"] in spec.get("indexes", [])}
    assert unique & set(known.tables) == set(memory._UNIQUE) & set(known.tables)


def test_the_database_in_memory_refuses_what_ovsdb_refuses() -> None:
    bench = Bench(switch("s"), port("p", "s"))
    bench.commit()
    before = bench.memory.snapshot()
    with pytest.raises(memory.Invalid, match="twice"):
        bench.memory.put("Logical_Switch_Port", Ref("Logical_Switch", "s"), "ports", name="p")
    uuid = bench.memory.replica.existing(Ref("Logical_Switch", "s"))
    dangling = [["ports", "insert", ["set", [["uuid", "00000000-0000-4000-8000-000000000001"]]]]]
    where = [["_uuid", "==", ["uuid", uuid]]]
    with pytest.raises(memory.Invalid, match="does not exist"):
        bench.memory.database.transact(
            [{"op": "mutate", "table": "Logical_Switch", "where": where, "mutations": dangling}]
        )
    assert bench.memory.snapshot() == before
    bench.want()
    bench.commit()
    assert bench.memory.snapshot() == {}, "the port went with its switch"

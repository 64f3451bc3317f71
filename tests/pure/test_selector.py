"""Label selectors: canonical forms and the inverted index, against selectors evaluated one by one (the lab's)."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from bench.policies import INDEXES, UNITS, Policy
from ovnbridge.compile.selector import NOTHING, Selection, Term, matches, memberships, satisfied, terms, text
from ovnbridge.engine.engine import Engine
from ovnbridge.engine.world import World
from ovnbridge.lab.workloads import selectors as oracle
from ovnbridge.model.crd.address import IP, IPSpec
from ovnbridge.model.kube import LabelSelector, Namespace, Pod, PodSpec
from ovnbridge.model.meta import ObjectMeta
from ovnbridge.model.ovn import Ref

KEYS, VALUES = ("app", "tier", "zone"), ("a", "b", "c")
MAC = "02:00:00:00:00:01"
labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
expressions = st.one_of(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(KEYS),
            "operator": st.sampled_from(["In", "NotIn"]),
            "values": st.lists(st.sampled_from(VALUES), min_size=1, max_size=3),
        }
    ),
    st.fixed_dictionaries({"key": st.sampled_from(KEYS), "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
)
selectors = st.fixed_dictionaries(
    {}, optional={"matchLabels": labels, "matchExpressions": st.lists(expressions, max_size=3)}
)


def typed(selector: Any) -> LabelSelector:
    return msgspec.convert(selector, LabelSelector)


EVERY = [
    {key: value for key, value in zip(KEYS, values) if value}
    for values in ((a, b, c) for a in ("", *VALUES) for b in ("", *VALUES) for c in ("", *VALUES))
]


class TestTerms:
    @given(selectors)
    def test_match_what_the_selector_matches(self, selector: Any) -> None:
        for found in EVERY:
            assert matches(typed(selector), found) == oracle.matches(selector, found)

    @given(selectors, selectors)
    def test_same_terms_select_the_same(self, one: Any, other: Any) -> None:
        first, second = terms(typed(one)), terms(typed(other))
        if first == second:
            assert all(oracle.matches(one, found) == oracle.matches(other, found) for found in EVERY)

    @given(selectors)
    def test_nothing_is_said_in_one_way(self, selector: Any) -> None:
        values = {*VALUES, "x", "y", "z", "w"}  # NotIn all of the small domain is not nothing
        every = [
            {key: value for key, value in zip(KEYS, (a, b, c)) if value}
            for a in ("", *values)
            for b in ("", *values)
            for c in ("", *values)
        ]
        assert (terms(typed(selector)) == NOTHING) == (not any(oracle.matches(selector, found) for found in every))

    def test_words_do_not_matter(self) -> None:
        one = {"matchLabels": {"tier": "web", "app": "x"}}
        other = {
            "matchExpressions": [
                {"key": "app", "operator": "In", "values": ["x", "x"]},
                {"key": "tier", "operator": "Exists"},
                {"key": "tier", "operator": "In", "values": ["db", "web"]},
                {"key": "tier", "operator": "NotIn", "values": ["db"]},
            ]
        }
        assert terms(typed(one)) == terms(typed(other)) == (Term("app", "In", ("x",)), Term("tier", "In", ("web",)))
        assert Selection(terms(typed(one)), "a").name == Selection(terms(typed(other)), "a").name
        assert Selection(terms(typed(one)), "a").name != Selection(terms(typed(one)), "b").name

    def test_unknown_operator_selects_nothing(self) -> None:
        assert not matches(typed({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}), {"a": "2"})

    def test_text(self) -> None:
        wanted = (Term("app", "In", ("a", "b")), Term("tier", "DoesNotExist"), Term("zone", "Exists"))
        assert text(wanted) == "app in (a,b),!tier,zone"
        assert satisfied((), {})


# -- the index, in the engine

SPACES, PODS, POLICIES = ("one", "two"), ("p1", "p2", "p3"), ("q1", "q2", "q3")
peers = st.fixed_dictionaries({}, optional={"podSelector": selectors, "namespaceSelector": selectors})
policies = st.fixed_dictionaries(
    {
        "podSelector": selectors,
        "ingress": st.lists(st.fixed_dictionaries({"from": st.lists(peers, max_size=2)}), max_size=2),
    }
)
edits = st.lists(
    st.one_of(
        st.tuples(st.just("Namespace"), st.just(""), st.sampled_from(SPACES), st.none() | labels),
        st.tuples(st.just("Pod"), st.sampled_from(SPACES), st.sampled_from(PODS), st.none() | labels),
        st.tuples(st.just("NetworkPolicy"), st.sampled_from(SPACES), st.sampled_from(POLICIES), st.none() | policies),
    ),
    max_size=30,
)

EXISTS = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
START = [
    ("Namespace", "", "one", {"app": "a"}),
    ("Pod", "one", "p1", {"app": "a"}),
    ("Pod", "one", "p2", {"app": "b", "tier": "a"}),
    ("Pod", "two", "p1", {"tier": "b", "zone": "c"}),
]


def put(world: World, kind: str, space: str, name: str, value: Any) -> None:
    """Objects as the controller decodes them; a pod has its address at once."""
    key = f"{space}/{name}" if space else name
    if kind == "NetworkPolicy":
        spec = {"metadata": {"name": name, "namespace": space}, "spec": value}
        world.put(kind, key, None if value is None else msgspec.convert(spec, Policy))
        return
    meta = ObjectMeta(name=name, namespace=space, labels=value)
    if kind == "Namespace":
        world.put(kind, key, None if value is None else Namespace(metadata=meta))
        return
    world.put(kind, key, None if value is None else Pod(metadata=meta, spec=PodSpec(node_name="n")))
    address = IPSpec(subnet="s", v4_ip_address=ip_of(space, name), mac_address=MAC)
    lease = IP(metadata=ObjectMeta(name=f"{name}.{space}"), spec=address)
    world.put("IP", lease.metadata.name, None if value is None else lease)


def ip_of(space: str, name: str) -> str:
    return f"10.0.{SPACES.index(space)}.{name[1:]}"


def sets(engine: Engine) -> dict[tuple[str, str], set[object]]:
    """Groups and sets that exist, with their members."""
    columns = {"Port_Group": "ports", "Address_Set": "addresses"}
    return {
        (table, str(key)): set(engine.desired.members(table, key).get(columns[table], {}))
        for table, key in engine.desired.row_keys()
    }


def expected(state: dict[tuple[str, str, str], Any]) -> dict[tuple[str, str], set[object]]:
    """The same by looking at every policy and every pod."""
    spaces = {name: value for (kind, _, name), value in state.items() if kind == "Namespace" and value is not None}
    pods = {(space, name): v for (kind, space, name), v in state.items() if kind == "Pod" and v is not None}
    found: dict[tuple[str, str], set[object]] = {}
    for (kind, space, _), spec in state.items():
        if kind != "NetworkPolicy" or spec is None:
            continue
        group = Selection(terms(typed(spec["podSelector"])), space).name
        found[("Port_Group", group)] = {
            Ref("Logical_Switch_Port", f"{pod}.{where}")
            for (where, pod), known in pods.items()
            if where == space and oracle.matches(spec["podSelector"], known)
        }
        for peer in (peer for rule in spec["ingress"] for peer in rule["from"]):
            objects = peer.get("podSelector", {})
            where = peer.get("namespaceSelector")
            if where is None:
                selection = Selection(terms(typed(objects)), space)
                if selection.objects == NOTHING:
                    continue
            else:
                selection = Selection(terms(typed(objects)), namespaces=terms(typed(where)))
            found[("Address_Set", selection.name)] = {
                ip_of(home, pod)
                for (home, pod), known in pods.items()
                if oracle.matches(objects, known)
                and (
                    home == space
                    if where is None
                    else (not terms(typed(where)) or (home in spaces and oracle.matches(where, spaces[home])))
                )
            }
    return found


class TestMemberships:
    @example(
        [("NetworkPolicy", "one", "q1", {"podSelector": EXISTS, "ingress": [{"from": [{"podSelector": EXISTS}]}]})]
    )
    @example(
        [("NetworkPolicy", "two", "q1", {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": EXISTS}]}]})]
    )
    @given(edits)
    def test_incremental_equals_recompute_equals_brute_force(self, script: list[tuple[str, str, str, Any]]) -> None:
        engine = Engine(World(INDEXES), UNITS)
        state: dict[tuple[str, str, str], Any] = {}
        for kind, space, name, value in [*START, *script]:
            put(engine.world, kind, space, name, value)
            state[(kind, space, name)] = value
            engine.settle()
            assert sets(engine) == expected(state)
        assert engine.desired.snapshot() == engine.recompute().snapshot()
        assert engine.desired.clashes() == []

    def cluster(self, *, policies: int) -> Engine:
        """100 pods in ten namespaces, each selected by three policies; the rest of the policies are elsewhere."""
        engine = Engine(World(INDEXES), UNITS)
        for index in range(10):
            put_as(engine.world, "Namespace", f"s{index}", {"team": f"t{index}"})
        for index in range(100):
            put_pod(engine.world, index)
        for index in range(policies):
            space, role = f"s{index // 3}", index % 3
            selector = ({"matchLabels": {"app": "web"}}, {"matchLabels": {"tier": "x"}}, {})[role]
            put_policy(engine.world, space, f"q{index}", selector, {"team": f"t{index}"})
        engine.settle()
        return engine

    def test_a_pod_costs_the_same_with_ten_and_with_500_policies(self) -> None:
        costs = []
        for count in (10, 500):
            engine = self.cluster(policies=count)
            asked, looked = engine.evaluations, CountingWorld.of(engine)
            put_pod(engine.world, 1000)
            engine.settle()
            costs.append((engine.evaluations - asked, looked.lookups))
            engine.desired.take_touched()
            (group,) = [
                key
                for table, key in engine.desired.member_keys()
                if table == "Port_Group" and key == Selection((), "s0").name
            ]
            assert Ref("Logical_Switch_Port", "p1000.s0") in engine.desired.members("Port_Group", group)["ports"]
        assert costs[0] == costs[1]

    def test_a_hundred_policies_with_one_selector_cost_as_one(self) -> None:
        engine = self.cluster(policies=10)
        put_policy(engine.world, "s0", "first", {"matchLabels": {"app": "web", "tier": "x"}}, {"team": "t1"})
        engine.settle()
        rows, evaluations = set(engine.desired.row_keys()), engine.evaluations
        engine.desired.take_touched()
        for index in range(99):
            put_policy(engine.world, "s0", f"more{index}", {"matchLabels": {"tier": "x", "app": "web"}}, {"team": "t1"})
        engine.settle()
        assert engine.evaluations == evaluations + 99, "the policies' own units, and no pod"
        assert set(engine.desired.row_keys()) == rows
        assert not engine.desired.take_touched(), "nothing to write, nothing to compare"
        for index in range(99):
            engine.world.put("NetworkPolicy", f"s0/more{index}", None)
        engine.settle()
        assert not engine.desired.take_touched()

    def test_a_namespace_label_reaches_the_pods_whose_sets_change(self) -> None:
        engine = self.cluster(policies=30)
        put_as(engine.world, "Namespace", "s3", {"team": "t3", "note": "x"})
        before = engine.evaluations
        engine.settle()
        assert engine.evaluations == before, "nobody asks for that label"
        put_as(engine.world, "Namespace", "s3", {"team": "t4"})
        engine.desired.take_touched()
        engine.settle()
        assert engine.evaluations == before + 10, "the pods of the namespace"
        left, joined = (Selection((), namespaces=(Term("team", "In", (team,)),)).name for team in ("t3", "t4"))
        touched = engine.desired.take_touched().rows
        assert touched.keys() == {("Address_Set", left), ("Address_Set", joined)}
        assert all(members is not None and len(members) == 10 for members in touched.values()), "members, not sets"

    def test_a_new_label_value_looks_at_no_selection_of_others(self) -> None:
        engine = self.cluster(policies=10)
        for index in range(400):
            put_policy(engine.world, "s0", f"z{index}", {"matchLabels": {"app": f"app-{index}"}}, {"team": "none"})
        engine.settle()
        looked = CountingWorld.of(engine)
        put_pod(engine.world, 2000, app="app-7")
        engine.settle()
        assert looked.found < 20

    def test_of_cluster_scoped_objects(self) -> None:
        engine = self.cluster(policies=0)
        put_policy(engine.world, "", "nodes", {"matchLabels": {"gw": "yes"}}, {})
        reader = engine._reader
        selection = Selection((Term("gw", "In", ("yes",)),))
        assert reader.query(memberships, "targets", "", (("gw", "yes"),)) == (selection,)
        assert reader.query(memberships, "targets", "", (("gw", "no"),)) == ()


class CountingWorld:
    """Counts what readers look up from now on."""

    def __init__(self) -> None:
        self.lookups = 0
        self.found = 0

    @classmethod
    def of(cls, engine: Engine) -> CountingWorld:
        counts, lookup = cls(), engine.world.lookup

        def counting(index: str, key: str) -> Any:
            things = lookup(index, key)
            counts.lookups += 1
            counts.found += len(things)
            return things

        engine.world.lookup = counting  # type: ignore[method-assign]
        return counts


def put_as(world: World, kind: str, name: str, found: dict[str, str]) -> None:
    put(world, kind, "", name, found)


def put_pod(world: World, index: int, app: str = "web") -> None:
    space, name = f"s{index % 10}", f"p{index}"
    meta = ObjectMeta(name=name, namespace=space, labels={"app": app, "tier": "x"})
    world.put("Pod", f"{space}/{name}", Pod(metadata=meta, spec=PodSpec(node_name="n")))
    lease = IPSpec(subnet="s", v4_ip_address=f"10.1.{index // 250}.{index % 250}", mac_address=MAC)
    world.put("IP", f"{name}.{space}", IP(metadata=ObjectMeta(name=f"{name}.{space}"), spec=lease))


def put_policy(world: World, space: str, name: str, selector: Any, where: dict[str, str]) -> None:
    peers = [{"from": [{"namespaceSelector": {"matchLabels": where}}]}]
    put(world, "NetworkPolicy", space, name, {"podSelector": selector, "ingress": peers})

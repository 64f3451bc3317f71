"""Properties of the whole pure part: random clusters and edits → compile → diff → transactions in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ovnbridge.compile import INDEXES, UNITS
from ovnbridge.compile.options import Options
from ovnbridge.compile.ownership import _scopes
from ovnbridge.controller import KINDS
from ovnbridge.engine.diff import Change, Delete, Mutate
from ovnbridge.engine.engine import Engine
from ovnbridge.engine.world import World
from ovnbridge.model.crd.codec import convert
from ovnbridge.model.ovn import NORTHBOUND, Ref
from tests.support import worlds
from tests.support.cluster import Cluster, Json, ip, key_of, node, pod, subnet, vpc
from tests.support.memory import MemoryDatabase, schema

VENDOR = {"vendor": "kube-ovn"}


def edit(cluster: Cluster, script: list[worlds.Edit]) -> None:
    for verb, what in script:
        if verb == "put":
            cluster.apply(what)
        elif what not in (("Subnet", "join"), ("Subnet", "ovn-default"), ("Vpc", "ovn-cluster")):
            cluster.delete(*what)


def add_foreign_rows(cluster: Cluster) -> None:
    """Rows of other people, and Kube-OVN's rows of features that are not compiled."""
    put = cluster.memory.put
    put("Logical_Switch", name="theirs", external_ids={"neutron": "yes"})
    put("Logical_Switch_Port", Ref("Logical_Switch", "theirs"), "ports", name="their-port")
    put("Logical_Switch", name="external", external_ids={"note": "no vendor"})
    ids = {**VENDOR, "ls": "theirs"}
    put("Logical_Switch_Port", Ref("Logical_Switch", "theirs"), "ports", name="eip1", external_ids=ids)
    put("Port_Group", name="deny.a", external_ids={**VENDOR, "np": "a/deny"})
    acl = {"direction": "to-lport", "priority": 2000, "match": "outport == @deny.a && ip", "action": "drop", "tier": 2}
    put("ACL", Ref("Port_Group", "deny.a"), "acls", external_ids={**VENDOR, "parent": "deny.a"}, **acl)
    put("Address_Set", name="deny.a.ingress", external_ids={**VENDOR, "np": "a/deny/ingress"})
    put("Load_Balancer", name="dnat-rule", external_ids=VENDOR, protocol="tcp")
    put("Logical_Router", name="their-router")
    policy = {
        "priority": 29100,
        "match": "ip4.src == 10.16.0.9",
        "action": "reroute",
        "nexthops": frozenset({"10.1.1.1"}),
    }
    ids = {"subnet": "ovn-default"}
    put("Logical_Router_Policy", Ref("Logical_Router", "their-router"), "policies", external_ids=ids, **policy)
    put("Logical_Router_Static_Route", Ref("Logical_Router", "their-router"), "static_routes", ip_prefix="0.0.0.0/0")


def everything(cluster: Cluster) -> list[Change]:
    """The difference of all rows, desired or existing."""
    desired = cluster.engine.desired
    keys = dict.fromkeys([*desired.row_keys(), *desired.member_keys(), *cluster.memory.row_keys()])
    return [change for key in keys for change in cluster.state._differ.diff(*key)]


def ready(*objects: Json, options: Options | None = None, database: MemoryDatabase | None = None) -> Cluster:
    """A settled cluster with two nodes and these objects."""
    cluster = Cluster(options=options, database=database)
    cluster.apply(*worlds.BASE, *objects).run()
    return cluster


@given(worlds.worlds(), worlds.worlds(size=12), st.integers(1, 9), st.booleans())
def test_any_history_settles_and_leaves_nothing_to_do(
    first: list[worlds.Edit], then: list[worlds.Edit], batch: int, tiers: bool
) -> None:
    """diff(apply(diff)) = ∅, every prefix of batches is valid (`MemoryDatabase` checks each), incremental ≡ full,
    foreign rows stay, and a restart neither writes to OVN nor to Kubernetes."""
    cluster = Cluster(database=MemoryDatabase(schema(() if tiers else ("ACL.tier",))))
    add_foreign_rows(cluster)
    foreign = cluster.memory.snapshot()
    for script in (first, then):
        edit(cluster, script)
        cluster.run(batch=batch)
        assert everything(cluster) == []
        assert cluster.engine.desired.snapshot() == cluster.engine.recompute().snapshot()
        assert cluster.memory.snapshot().items() >= foreign.items()
        assert cluster.engine.desired.clashes() == []
        if not any(map(cluster.engine.desired.held, worlds.SUBNETS)):  # else what is held may refer to what had to go
            assert cluster.database.dangling() == set()
    before, written = cluster.memory.snapshot(), len(cluster.written)
    cluster.start()
    assert cluster.run() == []
    assert cluster.memory.snapshot() == before
    assert cluster.written[written:] == []


@given(worlds.worlds(), st.integers(1, 9))
def test_a_lost_database_is_rebuilt(script: list[worlds.Edit], batch: int) -> None:
    """From Kubernetes alone, row for row, and no row names another that is not there yet."""
    cluster = Cluster()
    edit(cluster, script)
    cluster.run()
    rebuilt = Cluster(cluster.api, MemoryDatabase())

    def check() -> None:
        assert rebuilt.database.dangling() == set()

    rebuilt.run(batch=batch, each=check)
    kept = {key for key in cluster.memory.snapshot() if any(map(cluster.engine.desired.held, scopes(cluster, key)))}
    assert drawn(rebuilt) == {k: v for k, v in drawn(cluster).items() if k not in kept}
    assert rebuilt.written == []


def drawn(cluster: Cluster) -> dict[Any, Any]:
    """All rows without what stands once it is there, whatever comes after (`TableFacts.adopted`)."""
    found = {}
    for (table, key), rows in cluster.memory.snapshot().items():
        for entry in NORTHBOUND[table].adopted:
            column, _, name = entry.partition(":")
            hide = {column: {k: v for k, v in rows[0][column].items() if k != name} if name else ""}
            rows = [{**row, **hide} for row in rows]
        found[(table, key)] = rows
    return found


def scopes(cluster: Cluster, key: Any) -> tuple[str, ...]:
    """What holds a row that nobody desires; nothing for desired ones."""
    table, name = key
    if cluster.engine.desired.row(table, name) is not None:
        return ()
    row = cluster.memory.find(table, name)
    assert row is not None
    parent = cluster.memory.replica.key_of(*row.parent) if row.parent is not None else ""
    return _scopes(table, row, parent or "")


def engine_of(objects: list[Json], options: Options) -> Engine:
    engine = Engine(World(INDEXES), UNITS)
    engine.world.put("Options", "", options)
    for obj in objects:
        feed(engine, obj)
    engine.settle()
    return engine


def feed(engine: Engine, obj: Json) -> None:
    kind, key = key_of(obj)
    engine.world.put(kind, key, convert(obj, {r.kind: t for r, t in KINDS}[kind]))


def merged(engine: Engine) -> Mapping[str, Any]:
    """All that sinks can see of the desired state."""
    store = engine.desired
    return {
        "rows": {key: store.row(*key) for key in store.row_keys()},
        "members": {k: {c: set(v) for c, v in store.members(*k).items()} for k in store.member_keys()},
        "objects": {key: store.items(*key) for key in store.object_keys()},
        "claims": {owner: store.claim(owner) for owner in store.claims()},
        "held": {name: store.held(name) for name in (*worlds.SUBNETS, "vpc:v1", "vpc:v2", "vpc:ovn-cluster")},
        "pools": {name: store.pool(name) for name in worlds.SUBNETS},
    }


@given(worlds.worlds(), st.lists(worlds.leases, max_size=8), st.randoms(use_true_random=False))
def test_order_and_duplication_of_events_do_not_matter(
    script: list[worlds.Edit], leases: list[Json], random: Any
) -> None:
    final = {key_of(obj): obj for obj in (*(what for verb, what in script if verb == "put"), *leases)}
    one = engine_of(list(final.values()), Options())
    two = Engine(World(INDEXES), UNITS)
    events = [*final.values(), *(what for verb, what in script if verb == "put")]
    random.shuffle(events)
    for obj in events:
        feed(two, obj)
        two.settle(limit=random.randint(1, 4))
    two.world.put("Options", "", Options())
    two.settle(limit=1)
    for obj in (*final.values(), *final.values()):
        feed(two, obj)
    two.settle()
    assert merged(one) == merged(two)


@given(worlds.worlds(), st.lists(worlds.leases, max_size=8), worlds.worlds(size=15))
def test_incremental_is_full(first: list[worlds.Edit], leases: list[Json], then: list[worlds.Edit]) -> None:
    engine = engine_of(leases, Options())
    for number, (verb, what) in enumerate([*first, *then]):
        if verb == "put":
            feed(engine, what)
        else:
            engine.world.put(*what, None)
        if number % 3 == 0:
            engine.settle(limit=2)
    engine.settle()
    assert engine.desired.snapshot() == engine.recompute().snapshot()


# -- cost


def crowded(pods: int) -> Cluster:
    return ready(
        subnet("s1", cidrBlock="10.21.0.0/16", namespaces=["a"]),
        *(pod(f"a/p{i}", worlds.NODES[i % 2], phase="Running") for i in range(pods)),
    )


def cost(cluster: Cluster, *objects: Json) -> tuple[int, int, int, int]:
    """Evaluations, rows compared, operations and Kubernetes writes that a change costs."""
    compared: list[Any] = []
    differ = cluster.state._differ
    diff = differ.diff

    def counting(*arguments: Any) -> list[Change]:
        compared.append(arguments)
        return diff(*arguments)

    differ.diff = counting  # type: ignore[method-assign]
    before = (cluster.engine.evaluations, cluster.database.operations, len(cluster.written))
    cluster.apply(*objects).run()
    differ.diff = diff  # type: ignore[method-assign]
    after = (cluster.engine.evaluations, cluster.database.operations, len(cluster.written))
    return after[0] - before[0], len(compared), after[1] - before[1], after[2] - before[2]


def test_cost_of_a_pod_does_not_depend_on_how_many_there_are() -> None:
    few, many = crowded(10), crowded(1000)
    changes = {
        "new": pod("a/new", "n-1"),
        "moved": pod("a/p1", "n-1", phase="Running", allocated="true"),
        "secured": pod("a/p2", "n-1", phase="Running", allocated="true", port_security="true"),
        "ended": pod("a/p3", "n-2", phase="Succeeded", spec={"restartPolicy": "Never"}),
    }
    for name, change in changes.items():
        small, large = cost(few, change), cost(many, change)
        assert large == small, name
        # The unit at most a few times (lease, annotations, usage), its port and two groups, one or two transactions.
        assert all(figure <= 16 for figure in large), (name, large)


def test_cost_of_a_node_does_not_depend_on_the_pods() -> None:
    few, many = crowded(10), crowded(300)
    changed = node("n-2", "192.168.0.12", ready=False)
    assert cost(many, changed) == cost(few, changed)
    assert cost(many, node("n-3", "192.168.0.13")) == cost(few, node("n-3", "192.168.0.13"))


def test_members_are_written_one_by_one() -> None:
    cluster = crowded(50)
    written: list[Change] = []
    cluster.apply(pod("a/new", "n-1"))
    written = cluster.run()
    groups = [c for c in written if c.table == "Port_Group"]
    assert {(type(c), c.key) for c in groups} == {(Mutate, "node.n.1"), (Mutate, "s1.n.1")}
    assert all(isinstance(c, Mutate) and len(c.add) == 1 and not c.remove for c in groups)


# -- bad edits


def shrinks(change: Change) -> bool:
    return isinstance(change, Delete) or (isinstance(change, Mutate) and bool(change.remove))


@given(
    name=st.sampled_from(worlds.SUBNETS[:3]),
    data=st.data(),
    of_vpc=st.sampled_from(["ovn-cluster", "v1"]),
    restart=st.booleans(),
)
def test_a_bad_edit_of_a_subnet_removes_nothing(name: str, data: st.DataObject, of_vpc: str, restart: bool) -> None:
    good = data.draw(worlds.good_subnets(name).filter(lambda s: not s["spec"].get("vlan")), label="good")
    good["spec"] |= {"vpc": of_vpc, "namespaces": ["a"]}
    good["spec"].pop("provider", None)
    own = vpc("v1", namespaces=["a"] if of_vpc == "v1" else [])
    cluster = ready(own, good, *(pod(f"a/p{i}", "n-1", phase="Running") for i in range(2)))
    rows, leases = cluster.memory.snapshot(), {k: o for k, o in cluster.api.objects.items() if k[0] == "IP"}
    # One that found no address would look for it elsewhere when its namespace leaves the subnet.
    assume({("IP", "p0.a"), ("IP", "p1.a")} <= set(leases))
    bad = data.draw(worlds.bad_subnets(name), label="bad")
    spec = {**bad["spec"], "vpc": of_vpc, "provider": "ovn"}
    spec.pop("vlan", None)  # there is none, and that would be told in place of what else is wrong
    if spec.get("namespaces") != worlds.NOBODYS:
        spec["namespaces"] = ["a"]
    assume(of_vpc == "v1" or spec["namespaces"] == ["a"])  # bad only where the VPC says which namespaces are its own
    cluster.apply({**bad, "spec": spec})
    if restart:
        cluster.start()
    changes = cluster.run()
    assert not any(map(shrinks, changes)), changes
    assert cluster.memory.snapshot() == rows
    assert {k: o for k, o in cluster.api.objects.items() if k[0] == "IP"} == leases
    conditions = {c["type"]: c["status"] for c in cluster.get("Subnet", name)["status"]["conditions"]}
    assert conditions == {"Validated": "False", "Ready": "False", "Error": "True"}
    cluster.delete("Pod", "a/p1")
    cluster.api.objects.pop(("Pod", "a/p1"), None)
    cluster.run()
    cluster.apply(good).run()
    assert everything(cluster) == []
    assert cluster.engine.desired.held(name) is bool(good["spec"].get("vlan"))


@pytest.mark.parametrize("restart", [False, True])
def test_a_bad_join_subnet_removes_nothing(restart: bool) -> None:
    cluster = ready(pod("a/p1", "n-1"))
    rows = cluster.memory.snapshot()
    cluster.apply(subnet("join", **{**cluster.get("Subnet", "join")["spec"], "cidrBlock": "100.64.0.0"}))
    if restart:
        cluster.start()
    assert cluster.run() == []
    assert cluster.memory.snapshot() == rows
    assert ("IP", "node-n-1") in cluster.api.objects


@pytest.mark.parametrize("restart", [False, True])
def test_a_bad_edit_of_a_vpc_removes_nothing(restart: bool) -> None:
    routes = [{"cidr": "10.9.0.0/16", "nextHopIP": "10.21.0.9"}, {"cidr": "10.8.0.0/16", "nextHopIP": "10.21.0.8"}]
    policies = [{"priority": 7, "match": "ip4", "action": "allow"}]
    cluster = ready(
        vpc("v1", staticRoutes=routes, policyRoutes=policies), subnet("s1", vpc="v1", cidrBlock="10.21.0.0/24")
    )
    rows = cluster.memory.snapshot()
    cluster.apply(vpc("v1", staticRoutes=[routes[0], {**routes[1], "nextHopIP": "x"}], policyRoutes=[{"action": "?"}]))
    if restart:
        cluster.start()
    assert cluster.run() == []
    assert cluster.memory.snapshot() == rows
    cluster.apply(vpc("v1", staticRoutes=routes[:1])).run()
    left = {
        key for table, key in cluster.memory.row_keys() if table == "Logical_Router_Static_Route" and key[0] == "v1"
    }
    assert left == {
        ("v1", "", "dst-ip", "10.9.0.0/16", "10.21.0.9"),
        ("v1", "", "src-ip", "10.21.0.0/24", "10.21.0.1"),
    }


@pytest.mark.parametrize("name", ["v1", "ovn-cluster"])
def test_a_vpc_that_is_gone_leaves_its_subnets_connected(name: str) -> None:
    cluster = ready(vpc("v1"), subnet("s1", vpc=name, cidrBlock="10.21.0.0/24", namespaces=["a"]), pod("a/p1", "n-1"))
    rows = cluster.memory.snapshot()
    del cluster.api.objects[("Vpc", name)]
    cluster.api.events.append(("Vpc", name, None))
    cluster.hear()
    changes = cluster.commit()
    assert {c.table for c in changes} <= {"Load_Balancer", "Address_Set"}
    kept = {k: v for k, v in cluster.memory.snapshot().items() if k[0] not in ("Logical_Switch", "Load_Balancer")}
    assert kept.items() >= {k: v for k, v in rows.items() if k[0] not in ("Logical_Switch", "Load_Balancer")}.items()
    cluster.apply(vpc(name)).run()
    assert cluster.memory.snapshot() == rows


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("broken", [False, True])
def test_a_subnet_is_deleted_only_when_nobody_uses_it(restart: bool, broken: bool) -> None:
    cluster = ready(subnet("s1", cidrBlock="10.21.0.0/24", namespaces=["a"]), pod("a/p1", "n-1", phase="Running"))
    if broken:
        cluster.apply(subnet("s1", cidrBlock="10.21.0.0", namespaces=["a"])).run()
    rows = cluster.memory.snapshot()
    cluster.delete("Subnet", "s1")
    if restart:
        cluster.start()
    assert cluster.run() == []
    assert cluster.memory.snapshot() == rows
    cluster.delete("Pod", "a/p1").run()
    assert ("Subnet", "s1") not in cluster.api.objects
    assert not [key for _, key in cluster.memory.row_keys() if "s1" in str(key)]


def test_leases_of_foreign_kinds_and_rows_stay() -> None:
    cluster = ready(subnet("s1", cidrBlock="10.21.0.0/24", namespaces=["a"]))
    kept = [
        ip("a/p0", "s1", "10.21.0.5", labels={"ovn.kubernetes.io/ip_reserved": "true"}),
        ip("a/p1", "s1", "10.21.0.6", labels={}),
        {**ip("a/p2", "s1", "10.21.0.7"), "metadata": {"name": "p2.a.net.a.ovn", "labels": {}}},
    ]
    cluster.apply(*kept).run()
    cluster.start()
    cluster.run()
    assert all(key_of(obj) in cluster.api.objects for obj in kept)

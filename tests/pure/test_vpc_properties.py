"""Random edits of VPCs and of what they depend on: whatever the history, the rows are those of a fresh start."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ovnbridge.compile.ownership import vpc_scope
from ovnbridge.model.ovn import NORTHBOUND
from tests.support import worlds
from tests.support.cluster import Cluster, Json, node, subnet
from tests.support.memory import MemoryDatabase

BASE = (
    *worlds.BASE,
    node("n-1", "192.168.0.11", chassis="chassis-n-1", labels={"ovn.kubernetes.io/external-gw": "true"}),
    subnet("s4", cidrBlock="10.24.0.0/24", vlan="vlan1"),
)
DELETED = (*(("Vpc", name) for name in worlds.VPCS), *(("OvnEip", f"{name}-s4") for name in worlds.VPCS))
SCOPES = (*worlds.SUBNETS, *(vpc_scope(name) for name in (*worlds.VPCS, "ovn-cluster")))
ROUTING = ("Logical_Router", "Logical_Router_Port", "Logical_Router_Static_Route", "Logical_Router_Policy")


def edits(bad: bool) -> st.SearchStrategy[list[worlds.Edit]]:
    place = st.sampled_from(worlds.SUBNETS[:3]).flatmap(worlds.good_subnets)
    objects: st.SearchStrategy[Json] = st.one_of(worlds.vpcs(bad), worlds.vpcs(bad), worlds.eips, worlds.nodes, place)
    changes = objects.map(lambda obj: ("put", obj)) | st.sampled_from(DELETED).map(lambda key: ("delete", key))
    return st.lists(changes, min_size=4, max_size=20)


def play(cluster: Cluster, script: list[worlds.Edit], batch: int) -> None:
    cluster.apply(*BASE).run()
    for verb, what in script:
        if verb == "put":
            cluster.apply(what)
        else:
            cluster.delete(*what)
        cluster.run(batch=batch)


def rows(cluster: Cluster) -> dict[Any, Any]:
    """All rows, without what stands once it is there (MAC addresses of router ports), and without what is held although
    nobody desires it: rows, which their parents still refer to, and members of sets that are not completely known while
    a subnet is broken."""
    desired = cluster.engine.desired
    children = {column for facts in NORTHBOUND.values() for _, column in facts.parents}
    found = {}
    for key, same in cluster.memory.snapshot().items():
        row = desired.row(*key)
        if row is not None:
            hidden = children | ({"addresses", "ports"} - {*row.members, *row.columns})
            hidden |= {*NORTHBOUND[key[0]].adopted} - {*row.exact}
            found[key] = [{column: value for column, value in one.items() if column not in hidden} for one in same]
    return found


@given(edits(bad=True), st.integers(1, 9))
def test_every_history_ends_where_a_fresh_start_does(script: list[worlds.Edit], batch: int) -> None:
    cluster = Cluster()
    play(cluster, script, batch)
    assert cluster.engine.desired.snapshot() == cluster.engine.recompute().snapshot()
    if any(map(cluster.engine.desired.held, SCOPES)):
        return  # what is there stays while something is broken, and a fresh start does not know it
    fresh = Cluster(cluster.api, MemoryDatabase())
    fresh.run(batch=batch)
    assert rows(fresh) == rows(cluster)
    assert fresh.written == [], "Kubernetes says already what it should"


@given(edits(bad=False), st.integers(1, 9))
def test_nothing_is_left_behind(script: list[worlds.Edit], batch: int) -> None:
    """When all VPCs are as in the beginning, so is the database."""
    cluster = Cluster()
    cluster.apply(*BASE).run()
    before = cluster.memory.snapshot(lambda table, row: table in ROUTING or "hassis" in table or table == "BFD")
    play(cluster, script, batch)
    for router in (*worlds.VPCS, "ovn-cluster"):
        for place in ("s3", "s4"):
            cluster.delete("OvnEip", f"{router}-{place}")  # they keep their subnets (spec D.2, E.1)
    cluster.run(batch=batch)
    for name in worlds.SUBNETS[:3]:
        cluster.delete("Subnet", name).run(batch=batch)
    for name in worlds.VPCS:
        cluster.delete("Vpc", name).run(batch=batch)
    cluster.apply({"kind": "Vpc", "metadata": {"name": "ovn-cluster"}, "spec": {}}, *worlds.BASE)
    cluster.delete("Node", "n-3").run(batch=batch)
    after = cluster.memory.snapshot(lambda table, row: table in ROUTING or "hassis" in table or table == "BFD")
    assert after == before

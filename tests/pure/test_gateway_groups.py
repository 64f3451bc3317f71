"""`--gateway-groups=node`: the distributed gateways of Kube-OVN (spec D.2.3, D.2.4) in rows that grow with the nodes.

The oracle is Kube-OVN's own form: the same pods leave through the same nodes, at every moment of a switch-over.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from ovnbridge.compile.options import PER_NODE, PER_SUBNET, Options
from ovnbridge.engine.diff import Delete
from tests.support import worlds
from tests.support.cluster import Cluster, Json, ip, namespace, node, pod, subnet, vpc
from tests.support.trace import needs_ovn, northd

DUAL = Options(node_switch_cidr="100.64.0.0/16,fd00:100:64::/112", default_cidr="10.16.0.0/16,fd00:10:16::/112")
NODES = tuple(node(f"n-{n}", f"192.168.0.1{n}", f"fd01::1{n}") for n in (1, 2, 3))
JOINS = tuple(ip(f"n-{n}", "join", f"100.64.0.{n + 1}", f"fd00:100:64::{n + 1}") for n in (1, 2, 3))
SUBNETS = (
    subnet("s1", cidrBlock="10.21.0.0/24"),
    subnet("s2", cidrBlock="10.22.0.0/24,fd22::/112"),
    subnet("central", cidrBlock="10.23.0.0/24", gatewayType="centralized", gatewayNode="n-1"),
    subnet("tenant", cidrBlock="10.24.0.0/24", vpc="v1"),
)
PODS = tuple(
    pod(f"a/{place}-{number}", f"n-{number}", logical_switch=place, phase="Running")
    for place in ("s1", "s2", "central", "tenant", "ovn-default")
    for number in (1, 2, 3)
)


def cluster_of(*objects: Json, groups: str = PER_NODE) -> Cluster:
    cluster = Cluster(options=msgspec.structs.replace(DUAL, gateway_groups=groups))
    cluster.apply(namespace("a"), *NODES, *JOINS, vpc("v1"), *SUBNETS, *objects).run()
    return cluster


def members(cluster: Cluster, group: str) -> set[str]:
    return {name for _, name in cluster.row("Port_Group", group)["ports"]}


def groups(cluster: Cluster) -> set[Any]:
    return {key for table, key in cluster.memory.row_keys() if table == "Port_Group"}


def reroutes(cluster: Cluster) -> dict[Any, Any]:
    """Policies with priority 29000 by match."""
    keys = [key for table, key in cluster.memory.row_keys() if table == "Logical_Router_Policy" and key[1] == 29000]
    return {key[2]: cluster.row("Logical_Router_Policy", key) for key in keys}


def test_one_group_and_one_policy_for_each_node_and_family() -> None:
    cluster = cluster_of(*PODS)
    assert {name for name in groups(cluster) if "gateway" in name} == {f"distributed_gateway.n.{n}" for n in (1, 2, 3)}
    assert not [name for name in groups(cluster) if name.startswith(("s1.", "s2.", "ovn.default."))]
    assert members(cluster, "distributed_gateway.n.1") == {"s1-1.a", "s2-1.a", "ovn-default-1.a"}
    assert cluster.row("Port_Group", "distributed_gateway.n.2")["external_ids"] == {"vendor": "kube-ovn", "node": "n-2"}
    made = {match: (row["action"], row["nexthops"], row["external_ids"]) for match, row in reroutes(cluster).items()}
    ids = {"vendor": "kube-ovn"}
    expected = {
        f"ip{family}.src == $distributed_gateway.n.{n}_ip{family}": ("reroute", {hop}, {**ids, "node": f"n-{n}"})
        for n in (1, 2, 3)
        for family, hop in ((4, f"100.64.0.{n + 1}"), (6, f"fd00:100:64::{n + 1}"))
    }
    central = {**ids, "subnet": "central", "n-1": "100.64.0.2"}
    assert made == {**expected, "ip4.src == 10.23.0.0/24": ("reroute", {"100.64.0.2"}, central)}


def leaves(engine: Any) -> dict[str, set[str]]:
    """Pod ports by the next hop that their group's policies give them, from the desired state."""
    found: dict[str, set[str]] = {}
    for table, key in engine.desired.row_keys():
        row = engine.desired.row(table, key)
        if (
            table != "Logical_Router_Policy"
            or row.columns["priority"] != 29000
            or ".src == $" not in row.columns["match"]
        ):
            continue
        group = row.columns["match"].rpartition("$")[2].rpartition("_")[0]
        held = engine.desired.members("Port_Group", group).get("ports", {})
        for hop in row.columns["nexthops"]:
            found.setdefault(hop, set()).update(ref.key for ref in held)
    return {hop: ports for hop, ports in found.items() if ports}


@given(worlds.worlds())
def test_the_same_pods_leave_through_the_same_nodes(script: list[worlds.Edit]) -> None:
    cluster = Cluster()
    cluster.apply(*worlds.BASE)
    for verb, what in script:
        if verb == "put":
            cluster.apply(what)
        elif what not in (("Subnet", "join"), ("Subnet", "ovn-default"), ("Vpc", "ovn-cluster")):
            cluster.delete(*what)
    cluster.run()
    expected = leaves(cluster.engine)
    cluster.options = Options(gateway_groups=PER_NODE)
    cluster.start()
    assert leaves(cluster.engine) == expected
    cluster.run()
    assert cluster.engine.desired.clashes() == []


def covered(cluster: Cluster) -> None:
    """Every distributed pod leaves through its own node, by what is in the database now."""
    found: dict[tuple[str, str], set[str]] = {}
    rows = cluster.memory.snapshot(lambda table, row: table in ("Port_Group", "Logical_Router_Policy"))
    for (table, key), (row,) in rows.items():
        version, _, group = key[2].partition(".src == $") if table == "Logical_Router_Policy" else ("", "", "")
        for _, port in rows.get(("Port_Group", group.rpartition("_")[0]), [{"ports": ()}])[0]["ports"]:
            found.setdefault((port, version), set()).update(row["nexthops"])
    for place, versions in (("s1", ("ip4",)), ("s2", ("ip4", "ip6")), ("ovn-default", ("ip4", "ip6"))):
        for number in (1, 2, 3):
            for version in versions:
                hop = f"100.64.0.{number + 1}" if version == "ip4" else f"fd00:100:64::{number + 1}"
                assert found.get((f"{place}-{number}.a", version)) == {hop}, (place, number, version)


@pytest.mark.parametrize(("old", "new"), [(PER_SUBNET, PER_NODE), (PER_NODE, PER_SUBNET)])
@pytest.mark.parametrize("batch", [1, 7, 200])
def test_switch_over_makes_before_it_breaks(old: str, new: str, batch: int) -> None:
    cluster = cluster_of(*PODS, groups=old)
    covered(cluster)
    before = cluster.memory.snapshot()
    cluster.options = msgspec.structs.replace(DUAL, gateway_groups=new)
    cluster.start()
    changes = cluster.run(batch=batch, each=lambda: covered(cluster))
    assert any(isinstance(change, Delete) for change in changes)
    assert cluster.memory.snapshot() == cluster_of(*PODS, groups=new).memory.snapshot()
    assert {change.table for change in changes} == {"Port_Group", "Logical_Router_Policy"}
    cluster.options = msgspec.structs.replace(DUAL, gateway_groups=old)
    cluster.start()
    cluster.run(batch=batch, each=lambda: covered(cluster))
    assert cluster.memory.snapshot() == before


def test_a_subnet_that_is_broken_keeps_its_way_out_over_a_switch() -> None:
    for old, new in ((PER_SUBNET, PER_NODE), (PER_NODE, PER_SUBNET)):
        cluster = cluster_of(*PODS, groups=old)
        cluster.apply(subnet("s1", cidrBlock="10.21.0.0"))
        cluster.options = msgspec.structs.replace(DUAL, gateway_groups=new)
        cluster.start()
        cluster.run(each=lambda cluster=cluster: covered(cluster))
        covered(cluster)
        cluster.apply(SUBNETS[0]).run(each=lambda cluster=cluster: covered(cluster))
        assert cluster.memory.snapshot() == cluster_of(*PODS, groups=new).memory.snapshot()


def test_a_node_that_goes_takes_its_rows_along() -> None:
    cluster = cluster_of()
    cluster.delete("Node", "n-3").run()
    assert "distributed_gateway.n.3" not in groups(cluster)
    assert len(reroutes(cluster)) == 5


def test_rows_grow_with_the_sum() -> None:
    def rows(nodes: int, subnets: int, form: str) -> int:
        many = [node(f"m-{n}", f"192.168.{n}.1") for n in range(nodes)]
        nets = [subnet(f"d-{n}", cidrBlock=f"10.{100 + n}.0.0/24") for n in range(subnets)]
        cluster = Cluster(options=Options(gateway_groups=form))
        cluster.apply(*many, *nets).run()
        kinds = ("Port_Group", "Logical_Router_Policy")
        return sum(table in kinds for table, _ in cluster.memory.row_keys())

    corners = {(n, s): rows(n, s, PER_NODE) for n in (5, 10) for s in (5, 10)}
    assert corners[10, 10] - corners[5, 10] == corners[10, 5] - corners[5, 5], "no product of both"
    assert rows(10, 10, PER_SUBNET) - rows(5, 10, PER_SUBNET) > corners[10, 10] - corners[5, 10]


@needs_ovn
@pytest.mark.parametrize("form", [PER_SUBNET, PER_NODE])
def test_ovn_sends_pods_through_their_nodes(form: str) -> None:
    with northd() as ovn:
        cluster = Cluster(options=msgspec.structs.replace(DUAL, gateway_groups=form), database=ovn.database)
        cluster.apply(namespace("a"), *NODES, *JOINS, vpc("v1"), *SUBNETS, *PODS).run()
        for place, expected in (("s1", 3), ("s2", 3), ("ovn-default", 3), ("central", 1)):
            assert ovn.trace(f"{place}-3.a", "198.51.100.1").reaches(f"node-n-{expected}"), place
        assert not ovn.trace("tenant-3.a", "198.51.100.1").reaches("node-n-3")

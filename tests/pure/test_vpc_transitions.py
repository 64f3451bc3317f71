"""Every field of a Vpc from every value to every other, in a custom VPC and in the default one: the rows and the
statuses are those of a fresh start with the final object, whatever was there before, also while the field was bad.

`VALUES` and `PARTS` have an entry for each field of the types: a new field fails `test_no_field_is_forgotten`.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ovnbridge.model.crd.core import LabelSelector
from ovnbridge.model.crd.vpc import BfdPort, PolicyRoute, StaticRoute, VpcPeering, VpcSpec
from tests.support.cluster import Cluster, Json, ip, namespace, node, pod, subnet, underlay, vpc

SESSION = "00000001-0000-4000-8000-000000000000"
"""UUID of the BFD session that somebody made."""

BAD_UUID = "00000000-0000-4000-8000-00000000dead"
Values = dict[str, tuple[Any, ...]]

STATIC: Values = {
    "policy": ("policyDst", "policySrc", "", "sideways"),
    "cidr": ("10.9.0.0/16", "10.9.0.1", "0.0.0.0/0", "2001:db8::/32", "10.21.0.0/24", "10.9.0.0/99"),
    "nextHopIP": ("10.21.0.9", "10.21.0.8", "fd21::9", "nonsense"),
    "ecmpMode": ("", "ecmp_symmetric_reply", "round-robin"),
    "bfdId": ("", SESSION, BAD_UUID),
    "routeTable": ("", "blue", "green"),
}
POLICY: Values = {
    "priority": (1100, 31000, 0, 99999),
    "match": ("ip4.dst == 198.51.100.0/24", "ip4.src == 10.21.0.0/28", ""),
    "action": ("reroute", "drop", "allow", "explode"),
    "nextHopIP": ("10.21.0.9", "10.21.0.9,10.21.0.8", "fd21::9", "nonsense"),
}
PEERING: Values = {
    "remoteVpc": ("other", "gone", "s1"),
    "localConnectIP": ("169.254.0.1/30", "169.254.0.5/30", "169.254.0.1/30,fd01::1/126", "169.254.0.1"),
}
SELECTOR: Values = {
    "matchLabels": ({"gw": "yes"}, {"gw": "no"}, {}, {"gw": "nobody"}),
    "matchExpressions": (
        [],
        [{"key": "gw", "operator": "In", "values": ["no"]}],
        [{"key": "gw", "operator": "Exists"}],
    ),
}
PORT: Values = {
    "enabled": (True, False),
    "ip": ("10.255.255.1", "10.255.255.1,fd03::1", "nonsense"),
    "nodeSelector": (None, {"matchLabels": {"gw": "yes"}}),
}


def first(values: Values) -> Json:
    return {field: choices[0] for field, choices in values.items()}


ROUTE, RULE, PEER = first(STATIC), first(POLICY), first(PEERING)
VALUES: Values = {
    "defaultSubnet": ("", "s1", "s2", "elsewhere", "gone"),
    "namespaces": ([], ["a"], ["b"], ["a", "b"], ["gone"]),
    "staticRoutes": ([], [ROUTE], [ROUTE, {**ROUTE, "nextHopIP": "10.21.0.7"}], [{**ROUTE, "policy": "policySrc"}]),
    "policyRoutes": ([], [RULE], [RULE, {**RULE, "priority": 7}], [RULE, {**RULE, "action": "drop"}]),
    "vpcPeerings": ([], [PEER], [PEER, {**PEER, "remoteVpc": "gone"}], [PEER, PEER]),
    "enableExternal": (False, True),
    "extraExternalSubnets": ([], ["e1"], ["e2", "e1"], ["e1", "gone"], ["s1"]),
    "enableBfd": (False, True),
    "bfdPort": (None, first(PORT), {"enabled": True, "ip": "10.255.255.1", "nodeSelector": {}}),
}
PARTS: dict[str, tuple[type, Values]] = {
    "staticRoutes": (StaticRoute, STATIC),
    "policyRoutes": (PolicyRoute, POLICY),
    "vpcPeerings": (VpcPeering, PEERING),
    "bfdPort": (BfdPort, PORT),
    "bfdPort.nodeSelector": (LabelSelector, SELECTOR),
}
"""Types within the spec, by where they are."""
CONTEXTS: dict[str, tuple[Json, ...]] = {
    "enableExternal": ({}, {"extraExternalSubnets": ["e1"]}, {"enableBfd": True}),
    "extraExternalSubnets": ({}, {"enableExternal": True}, {"enableExternal": True, "enableBfd": True}),
    "enableBfd": ({}, {"enableExternal": True}, {"enableExternal": True, "extraExternalSubnets": ["external", "e1"]}),
}
"""Fields beside which others have an effect."""


def specs() -> Iterator[tuple[str, list[Json]]]:
    """(field, specs that differ in nothing but this field)."""
    for field, choices in VALUES.items():
        for number, context in enumerate(CONTEXTS.get(field, ({},))):
            yield f"{field}-{number}", [{**context, field: value} for value in choices]
    for path, (_, values) in PARTS.items():
        top, _, inner = path.partition(".")
        for field, choices in values.items():
            objects = [{**first(values), field: value} for value in choices]
            if inner:
                objects = [{**first(PORT), inner: value} for value in objects]
            yield f"{path}.{field}", [{top: value if top == "bfdPort" else [value]} for value in objects]


WALKS = [
    pytest.param(router, found, id=f"{router}-{name}") for router in ("v1", "ovn-cluster") for name, found in specs()
]


def eip(router: str, place: str, address: str) -> Json:
    spec = {"externalSubnet": place, "type": "lrp"}
    return {"kind": "OvnEip", "metadata": {"name": f"{router}-{place}"}, "spec": spec, "status": {"v4Ip": address}}


def base(router: str) -> tuple[Json, ...]:
    external = {"external": "172.16", "e1": "172.17", "e2": "172.18"}
    labels = {"ovn.kubernetes.io/external-gw": "true"}
    return (
        *(made for number, name in enumerate(external, 1) for made in underlay(f"vlan-{name}", number)),
        *map(namespace, ("a", "b", "else")),
        node("n-1", "192.168.0.11", "fd00::11", chassis="chassis-1", labels={**labels, "gw": "yes"}),
        node("n-2", "192.168.0.12", chassis="chassis-2", labels={**labels, "gw": "no"}),
        *(node(f"n-{n}", f"192.168.0.1{n}", chassis=f"chassis-{n}") for n in (3, 4)),
        *(ip(f"n-{n}", "join", f"100.64.0.{n + 1}") for n in range(1, 5)),
        *(subnet(name, cidrBlock=f"{net}.0.0/24", vlan=f"vlan-{name}") for name, net in external.items()),
        *(eip(router, name, f"{net}.0.9") for name, net in external.items()),
        vpc("other", namespaces=["else"], vpcPeerings=[{"remoteVpc": router, "localConnectIP": "169.254.0.2/30"}]),
        subnet("elsewhere", vpc="other", cidrBlock="10.31.0.0/24"),
        subnet("s1", vpc=router, cidrBlock="10.21.0.0/24,fd21::/64"),
        subnet("s2", vpc=router, cidrBlock="10.22.0.0/24", routeTable="blue"),
        *(pod(f"{space}/p", "n-1", logical_switch=place) for space, place in (("a", "s1"), ("b", "s2"), ("else", ""))),
    )


@functools.cache
def fresh_start(router: str, text: str) -> tuple[Any, list[str]]:
    """Outcome and hosts of a VPC that is made with a spec (as JSON)."""
    cluster = cluster_with(router, json.loads(text))
    return outcome(cluster, router), hosts(cluster, router)


def cluster_with(router: str, spec: Json) -> Cluster:
    cluster = Cluster()
    cluster.apply(vpc(router, **spec), *base(router)).run()
    cluster.memory.put("BFD", logical_port=f"{router}-s1", dst_ip="10.21.0.9")
    cluster.run()
    return cluster


def outcome(cluster: Cluster, router: str) -> Any:
    """Everything that is said in either direction of the VPC, and everything that is in the database."""
    items = cluster.state.reactor.items("Vpc", router)
    told = sorted(f"{item.reason} {item.message}" for item in items if getattr(item, "reason", ""))
    status = {**cluster.get("Vpc", router)["status"], "bfdPort": {}}
    notes = {space: cluster.get("Namespace", space)["metadata"].get("annotations") for space in ("a", "b", "else")}
    rows = {key: row for key, row in cluster.memory.snapshot().items() if key[0] != "HA_Chassis"}
    return told, status, notes, rows


def hosts(cluster: Cluster, router: str) -> list[str]:
    """Nodes of the BFD port, the active one first. Who hosts it stays (`compile/bfd.py`): their order has a history."""
    table = "HA_Chassis"
    made = {key[1]: cluster.row(table, key)["priority"] for found, key in cluster.memory.row_keys() if found == table}
    order = [chassis.replace("chassis", "n") for chassis in sorted(made, key=lambda chassis: -made[chassis])]
    assert sorted(made.values(), reverse=True) == list(range(100, 100 - len(made), -1))
    assert order == (cluster.get("Vpc", router)["status"]["bfdPort"].get("nodes") or [])
    return order


def transitions(count: int) -> Iterator[int]:
    """A walk that goes from every value to every other one: an Eulerian path of the complete digraph."""
    unused = {a: [b for b in range(count) if b != a] for a in range(count)}
    path, stack = [], [0]
    while stack:
        if unused[stack[-1]]:
            stack.append(unused[stack[-1]].pop())
        else:
            path.append(stack.pop())
    return reversed(path)


def test_no_field_is_forgotten() -> None:
    def fields(kind: type) -> set[str]:
        return {field.encode_name for field in msgspec.structs.fields(kind)}

    assert set(VALUES) == fields(VpcSpec)
    for kind, values in PARTS.values():
        assert set(values) == fields(kind), kind
    assert _structs(VpcSpec) - {VpcSpec} == {kind for kind, _ in PARTS.values()} | (_structs(LabelSelector))


def _structs(of: Any) -> set[type]:
    if isinstance(of, type) and issubclass(of, msgspec.Struct):
        return {of}.union(*(_structs(field.type) for field in msgspec.structs.fields(of)))
    return set[type]().union(*map(_structs, typing.get_args(of)))


@pytest.mark.parametrize(("router", "choices"), WALKS)
def test_every_transition_ends_where_a_fresh_start_does(router: str, choices: list[Json]) -> None:
    fresh = [fresh_start(router, json.dumps(spec)) for spec in choices]
    walk = list(transitions(len(choices)))
    assert set(itertools.pairwise(walk)) == set(itertools.permutations(range(len(choices)), 2))
    cluster = cluster_with(router, choices[walk[0]])
    for before, after in itertools.pairwise(walk):
        hosted = hosts(cluster, router)
        cluster.apply(vpc(router, **choices[after])).run()
        found, (expected, wanted) = outcome(cluster, router), fresh[after]
        if any(re.search("ValidateVpcFailed|bfdPort: no node|waits", text) for text in expected[0]):
            assert found[0] == expected[0], "what was there before stays, and it is said why"
            continue
        assert found == expected, (choices[before], choices[after])
        standing = [node for node in hosted if node in wanted]
        assert hosts(cluster, router) == [*standing, *(node for node in wanted if node not in standing)]
        assert cluster.engine.desired.clashes() == []
    cluster.start()
    assert cluster.run() == []

"""VPCs: objects in, NB rows and status out, in the terms of spec A.2, D.5, F.2, F.6 and H.3.

Expected values are typed from the spec, never from our output.
"""

from __future__ import annotations

from typing import Any

import pytest

from ovnbridge.compile.options import Options
from ovnbridge.model.ovn import Ref
from tests.support.cluster import Cluster, Json, ip, merged, namespace, node, subnet, underlay, vpc

VENDOR = {"vendor": "kube-ovn"}
N1, N2 = node("n-1", "192.168.0.11"), node("n-2", "192.168.0.12")
LEASES = (ip("n-1", "join", "100.64.0.2"), ip("n-2", "join", "100.64.0.3"))
S1 = {"cidrBlock": "10.17.0.0/24"}
ROUTE = "Logical_Router_Static_Route"


def ready(*objects: Json, options: Options | None = None) -> Cluster:
    cluster = Cluster(options=options)
    vlans = [made for tag in (1, 17, 18) for made in underlay(f"vlan{tag}", tag)]
    cluster.apply(namespace("app"), N1, N2, *LEASES, *vlans, *objects).run()
    return cluster


def keys(cluster: Cluster, table: str, start: str = "") -> set[Any]:
    """Natural keys; with `start` only those of one router."""
    found = {key for known, key in cluster.memory.row_keys() if known == table}
    return {key for key in found if not start or key[0] == start}


def warnings(cluster: Cluster, name: str) -> list[str]:
    items = cluster.state.reactor.items("Vpc", name)
    return [f"{item.reason}: {item.message}" for item in items if getattr(item, "reason", "")]


def status(cluster: Cluster, name: str) -> Json:
    found: Json = cluster.get("Vpc", name)["status"]
    return found


# -- static routes


@pytest.mark.parametrize(
    ("route", "key", "options"),
    [
        ({"cidr": "0.0.0.0/0", "nextHopIP": "10.17.0.9"}, ("", "dst-ip", "0.0.0.0/0", "10.17.0.9"), {}),
        (
            {"cidr": "10.17.0.8/30", "nextHopIP": "10.17.0.9", "policy": "policySrc", "routeTable": "t1"},
            ("t1", "src-ip", "10.17.0.8/30", "10.17.0.9"),
            {},
        ),
        ({"cidr": "198.51.100.7", "nextHopIP": "10.17.0.9"}, ("", "dst-ip", "198.51.100.7", "10.17.0.9"), {}),
        ({"cidr": "2001:db8::/32", "nextHopIP": "fd17::9"}, ("", "dst-ip", "2001:db8::/32", "fd17::9"), {}),
        (
            {"cidr": "0.0.0.0/0", "nextHopIP": "10.17.0.9", "ecmpMode": "ecmp_symmetric_reply"},
            ("", "dst-ip", "0.0.0.0/0", "10.17.0.9"),
            {},  # spec D, general rules: only with a BFD id
        ),
    ],
)
def test_static_route(route: Json, key: tuple[str, ...], options: dict[str, str]) -> None:
    cluster = ready(vpc("v1", staticRoutes=[route]))
    assert keys(cluster, ROUTE, "v1") == {("v1", *key)}
    row = cluster.row(ROUTE, ("v1", *key))
    assert row == {
        **dict(zip(("route_table", "policy", "ip_prefix", "nexthop"), key)),
        "external_ids": VENDOR,
        "options": options,
        "bfd": None,
        "output_port": None,
    }


def test_several_next_hops_are_ecmp() -> None:
    hops = ("10.17.0.9", "10.17.0.10", "10.17.0.11")
    cluster = ready(vpc("v1", staticRoutes=[{"cidr": "0.0.0.0/0", "nextHopIP": hop} for hop in hops]))
    assert keys(cluster, ROUTE, "v1") == {("v1", "", "dst-ip", "0.0.0.0/0", hop) for hop in hops}
    cluster.apply(vpc("v1", staticRoutes=[{"cidr": "0.0.0.0/0", "nextHopIP": hops[1]}])).run()
    assert keys(cluster, ROUTE, "v1") == {("v1", "", "dst-ip", "0.0.0.0/0", hops[1])}


def test_a_route_with_a_bfd_session_waits_for_it() -> None:
    """Spec D, general rules: with a BFD id, options ecmp_symmetric_reply=true and bfd set."""
    session = "00000001-0000-4000-8000-000000000000"
    route = {"cidr": "0.0.0.0/0", "nextHopIP": "10.17.0.9", "bfdId": session}
    cluster = ready(vpc("v1", staticRoutes=[route]))
    assert keys(cluster, ROUTE, "v1") == set()
    assert warnings(cluster, "v1") == [
        f"VpcIncomplete: no BFD session has the UUID {session}: the route to 0.0.0.0/0 waits"
    ]
    assert cluster.memory.put("BFD", logical_port="v1-s1", dst_ip="10.17.0.9") == session
    cluster.run()
    row = cluster.row(ROUTE, ("v1", "", "dst-ip", "0.0.0.0/0", "10.17.0.9"))
    assert row["bfd"] == ("BFD", ("v1-s1", "10.17.0.9"))
    assert row["options"] == {"ecmp_symmetric_reply": "true"}
    assert warnings(cluster, "v1") == []
    cluster.start()
    assert cluster.run() == []
    cluster.database.edit(lambda content: content["BFD"].clear())
    cluster.apply(vpc("v1", staticRoutes=[route], policyRoutes=[])).run()
    assert keys(cluster, ROUTE, "v1") == {("v1", "", "dst-ip", "0.0.0.0/0", "10.17.0.9")}, "what is there stays"
    assert "waits" in warnings(cluster, "v1")[0]
    cluster.apply(vpc("v1", staticRoutes=[])).run()
    assert keys(cluster, ROUTE, "v1") == set()


def test_routes_of_the_default_vpc_are_merged_with_its_own() -> None:
    dual = Options(node_switch_cidr="100.64.0.0/16,fd00:100:64::/112", default_cidr="10.16.0.0/16,fd00:10:16::/112")
    given = [
        {"cidr": "10.9.0.0/16", "nextHopIP": "10.16.0.9", "routeTable": "t"},
        {"cidr": "10.16.0.8/30", "nextHopIP": "10.16.0.9", "policy": "policySrc"},
    ]
    cluster = ready(vpc("ovn-cluster", staticRoutes=given), options=dual)
    own = {
        (table, "dst-ip", *route)
        for table in ("", "t")
        for route in (("0.0.0.0/0", "100.64.0.1"), ("::/0", "fd00:100:64::1"))
    }
    users = {("t", "dst-ip", "10.9.0.0/16", "10.16.0.9"), ("", "src-ip", "10.16.0.8/30", "10.16.0.9")}
    assert {key[1:] for key in keys(cluster, ROUTE, "ovn-cluster")} == own | users
    cluster.apply(vpc("ovn-cluster", staticRoutes=[])).run()
    assert {key[1:] for key in keys(cluster, ROUTE, "ovn-cluster")} == {route for route in own if not route[0]}


def test_routes_by_source_of_a_custom_vpc() -> None:
    """Spec D.2.4: the main table, and the subnet's own; in the latter whatever its vlan."""
    cluster = ready(
        vpc("v1"),
        subnet("s1", vpc="v1", cidrBlock="10.17.0.0/24,fd17::/64"),
        subnet("s2", vpc="v1", cidrBlock="10.18.0.0/24", routeTable="t"),
    )
    assert {key[1:] for key in keys(cluster, ROUTE, "v1")} == {
        ("", "src-ip", "10.17.0.0/24", "10.17.0.1"),
        ("", "src-ip", "fd17::/64", "fd17::1"),
        ("", "src-ip", "10.18.0.0/24", "10.18.0.1"),
        ("t", "src-ip", "10.18.0.0/24", "10.18.0.1"),
    }


def test_a_route_by_source_that_the_user_gives_stands_alone() -> None:
    """Beside the subnet's own one it would be an ECMP route, and half of the connections would end at the gateway."""
    given = {"cidr": "10.17.0.0/24", "nextHopIP": "10.17.0.9", "policy": "policySrc"}
    place = subnet("s1", vpc="v1", cidrBlock="10.17.0.0/24,fd17::/64", routeTable="t")
    cluster = ready(vpc("v1", staticRoutes=[given]), place)
    others = {("", "src-ip", "fd17::/64", "fd17::1"), ("t", "src-ip", "fd17::/64", "fd17::1")}
    table = ("t", "src-ip", "10.17.0.0/24", "10.17.0.1")
    assert {key[1:] for key in keys(cluster, ROUTE, "v1")} == {
        *others,
        table,
        ("", "src-ip", "10.17.0.0/24", "10.17.0.9"),
    }
    cluster.apply(vpc("v1")).run()
    own = ("", "src-ip", "10.17.0.0/24", "10.17.0.1")
    assert {key[1:] for key in keys(cluster, ROUTE, "v1")} == {*others, table, own}


def test_only_routes_with_our_mark_are_ours() -> None:
    cluster = ready(vpc("v1"))
    router = Ref("Logical_Router", "v1")
    put = cluster.memory.put
    put(ROUTE, router, "static_routes", ip_prefix="10.1.0.0/16", nexthop="10.1.1.1", policy="dst-ip")
    put(ROUTE, router, "static_routes", ip_prefix="10.2.0.0/16", nexthop="10.1.1.1", external_ids=VENDOR)
    cluster.run()
    assert keys(cluster, ROUTE, "v1") == {("v1", "", "dst-ip", "10.1.0.0/16", "10.1.1.1")}


@pytest.mark.parametrize("nat", ["", "10.16.0.8", "10.16.0.7"])
def test_routes_of_eips_are_another_features(nat: str) -> None:
    """Spec D.5, H.6: with an external gateway, the default VPC has a route by source for every NAT address."""
    cluster = ready()
    if nat:
        columns = {"type": "snat", "external_ip": "172.16.0.3", "logical_ip": nat}
        cluster.memory.put("NAT", Ref("Logical_Router", "ovn-cluster"), "nat", **columns)
    columns = {"ip_prefix": "10.16.0.7", "nexthop": "172.16.0.1", "policy": "src-ip", "external_ids": VENDOR}
    cluster.memory.put(ROUTE, Ref("Logical_Router", "ovn-cluster"), "static_routes", **columns)
    cluster.run()
    left = {key[3] for key in keys(cluster, ROUTE, "ovn-cluster")}
    assert left == ({"0.0.0.0/0", "10.16.0.7"} if nat == "10.16.0.7" else {"0.0.0.0/0"})


# -- what is refused (spec F.2)


HOP = {"nextHopIP": "10.17.0.9"}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"staticRoutes": [{"cidr": "10.0.0.0/8", **HOP, "policy": "x"}]}, "neither policyDst nor policySrc"),
        ({"staticRoutes": [{"cidr": "10.0.0.0/64", **HOP}]}, "'10.0.0.0/64' in staticRoutes"),
        ({"staticRoutes": [{"cidr": "10.0.0.0/8", "nextHopIP": "gw"}]}, "nextHopIP 'gw' in staticRoutes"),
        ({"staticRoutes": [{"cidr": "10.0.0.0/8", **HOP, "ecmpMode": "x"}]}, "ecmpMode 'x' in staticRoutes"),
        ({"staticRoutes": [{"cidr": "10.0.0.0/8", **HOP, "bfdId": "x"}]}, "bfdId 'x' in staticRoutes is not a UUID"),
        ({"policyRoutes": [{"priority": 1, "match": "ip4", "action": "deny"}]}, "'deny' in policyRoutes"),
        ({"policyRoutes": [{"priority": -1, "match": "ip4", "action": "drop"}]}, "priority -1 in policyRoutes"),
        ({"policyRoutes": [{"priority": 32768, "match": "ip4", "action": "drop"}]}, "priority 32768 in policyRoutes"),
        ({"policyRoutes": [{"priority": 1, "match": " ", "action": "drop"}]}, "match in policyRoutes is empty"),
        ({"policyRoutes": [{"priority": 1, "match": "ip4", "action": "reroute"}]}, "nextHopIP '' in policyRoutes"),
        (
            {"policyRoutes": [{"priority": 1, "match": "ip4", "action": a} for a in ("drop", "allow")]},
            "different actions for priority 1 and match 'ip4'",
        ),
        ({"vpcPeerings": [{"remoteVpc": "v2", "localConnectIP": "169.254.0.1"}]}, "localConnectIP '169.254.0.1'"),
        ({"vpcPeerings": [{"remoteVpc": "v1", "localConnectIP": "169.254.0.1/30"}]}, "is not another VPC"),
        ({"vpcPeerings": [{"remoteVpc": "v2", "localConnectIP": f"169.254.0.{n}/30"} for n in (1, 5)]}, "v2 twice"),
        ({"vpcPeerings": [{"remoteVpc": "s1", "localConnectIP": "169.254.0.1/30"}]}, "the port to subnet s1"),
        ({"bfdPort": {"enabled": True, "ip": "x"}}, "ip 'x' in bfdPort"),
    ],
)
def test_refused_and_what_is_there_stays(spec: Json, words: str) -> None:
    good = {
        "staticRoutes": [{"cidr": "10.9.0.0/16", **HOP}],
        "policyRoutes": [{"priority": 7, "match": "ip4.dst == 10.9.0.9", "action": "drop"}],
        "vpcPeerings": [{"remoteVpc": "v9", "localConnectIP": "169.254.9.1/30"}],
    }
    cluster = ready(vpc("v1", **good), subnet("s1", **S1, vpc="v1"))
    before = cluster.memory.snapshot()
    assert warnings(cluster, "v1") == []
    cluster.apply(vpc("v1", **spec)).run()
    (warning,) = warnings(cluster, "v1")
    assert warning.startswith("ValidateVpcFailed: ")
    assert words in warning
    gone = before.keys() - cluster.memory.snapshot().keys()
    assert gone == set()
    cluster.apply(vpc("v1")).run()
    assert warnings(cluster, "v1") == []
    assert keys(cluster, ROUTE, "v1") == {("v1", "", "src-ip", "10.17.0.0/24", "10.17.0.1")}
    assert keys(cluster, "Logical_Router_Policy", "v1") == {("v1", 31000, "ip4.dst == 10.17.0.0/24")}
    assert "v1-v9" not in keys(cluster, "Logical_Router_Port")


# -- policy routes


@pytest.mark.parametrize("router", ["v1", "ovn-cluster"])
def test_which_policies_are_the_users(router: str) -> None:
    """Spec D.5: what the user's spec drops goes; policies of gateways and other writers stay."""
    given = [
        {"priority": 1100, "match": "ip4.dst == 198.51.100.0/24", "action": "drop", "nextHopIP": "ignored"},
        {"priority": 32767, "match": "ip4.src == 10.9.0.0/28", "action": "reroute", "nextHopIP": "10.9.0.1, 10.9.0.2"},
        {"priority": 0, "match": "ip6", "action": "allow"},
    ]
    cluster = ready(vpc(router, policyRoutes=given))
    foreign = [
        {},
        {**VENDOR, "vpc-egress-gateway": "a/b"},
        {**VENDOR, "origin": "connected"},
    ]
    for number, ids in enumerate(foreign):
        columns = {"priority": 29000 + number, "match": "ip4", "action": "allow", "external_ids": ids}
        cluster.memory.put("Logical_Router_Policy", Ref("Logical_Router", router), "policies", **columns)
    cluster.run()

    def users() -> dict[Any, Any]:
        table = "Logical_Router_Policy"
        rows = {key[1:]: cluster.row(table, key) for key in keys(cluster, table, router)}
        return {k: (r["action"], set(r["nexthops"])) for k, r in rows.items() if r["external_ids"] == VENDOR}

    assert users() == {
        (1100, "ip4.dst == 198.51.100.0/24"): ("drop", set()),
        (32767, "ip4.src == 10.9.0.0/28"): ("reroute", {"10.9.0.1", "10.9.0.2"}),
        (0, "ip6"): ("allow", set()),
    }
    cluster.apply(vpc(router, policyRoutes=given[:1])).run()
    assert users() == {(1100, "ip4.dst == 198.51.100.0/24"): ("drop", set())}
    left = {key[1:] for key in keys(cluster, "Logical_Router_Policy", router)}
    assert left >= {(29000 + number, "ip4") for number in range(len(foreign))}


# -- peering


A = vpc("va", vpcPeerings=[{"remoteVpc": "vb", "localConnectIP": "169.254.0.1/30"}])
B = vpc("vb", vpcPeerings=[{"remoteVpc": "va", "localConnectIP": "169.254.0.2/30, fd01::2/126"}])


def test_peering() -> None:
    cluster = ready(A, B)
    for name, peer, networks in (
        ("va-vb", "vb-va", {"169.254.0.1/30"}),
        ("vb-va", "va-vb", {"169.254.0.2/30", "fd01::2/126"}),
    ):
        row = cluster.row("Logical_Router_Port", name)
        assert (row["peer"], row["networks"], row["options"]) == (peer, networks, {})
        assert row["external_ids"] == {**VENDOR, "lr": name[:2]}
    assert status(cluster, "va")["vpcPeerings"] == ["vb"]
    assert "always_learn_from_arp_request" not in cluster.row("Logical_Router", "va")["options"]
    cluster.apply(vpc("va")).run()
    assert keys(cluster, "Logical_Router_Port") == {"vb-va", "ovn-cluster-join", "ovn-cluster-ovn-default"}
    assert not status(cluster, "va").get("vpcPeerings")
    assert cluster.row("Logical_Router", "va")["options"]["always_learn_from_arp_request"] == "false"


def test_a_new_local_address_of_a_peering() -> None:
    cluster = ready(A)
    mac = cluster.row("Logical_Router_Port", "va-vb")["mac"]
    cluster.apply(vpc("va", vpcPeerings=[{"remoteVpc": "vb", "localConnectIP": "169.254.7.1/30"}])).run()
    row = cluster.row("Logical_Router_Port", "va-vb")
    assert (row["networks"], row["mac"]) == ({"169.254.7.1/30"}, mac)


# -- life


def test_a_vpc_in_use_is_not_deleted() -> None:
    cluster = ready(vpc("v1"), subnet("s2", cidrBlock="10.18.0.0/24", vpc="v1"), subnet("s1", **S1, vpc="v1"))
    assert cluster.get("Vpc", "v1")["metadata"]["finalizers"] == ["kubeovn.io/kube-ovn-controller"]
    assert status(cluster, "v1")["subnets"] == ["s1", "s2"]
    cluster.delete("Vpc", "v1").run()
    assert warnings(cluster, "v1") == ["DeleteVpcFailed: vpc v1 cannot be deleted, it has subnets: s1, s2"]
    assert "v1" in keys(cluster, "Logical_Router")
    cluster.delete("Subnet", "s1").delete("Subnet", "s2").run()
    assert ("Vpc", "v1") not in cluster.api.objects
    assert not [key for _, key in cluster.memory.row_keys() if "v1" in str(key)]


def test_a_vpc_that_mirrors_a_foreign_router_is_left_alone() -> None:
    mirrored = merged(
        vpc("v1", staticRoutes=[{"cidr": "0.0.0.0/0", **HOP}]),
        {"metadata": {"labels": {"ovn.kubernetes.io/vpc_external": "true"}}},
    )
    cluster = ready(mirrored)
    assert "v1" not in keys(cluster, "Logical_Router")
    assert "finalizers" not in cluster.get("Vpc", "v1")["metadata"]
    assert "status" not in cluster.get("Vpc", "v1")
    cluster.memory.put("Logical_Router", name="v1", external_ids=VENDOR, options={"own": "yes"})
    cluster.run()
    assert cluster.row("Logical_Router", "v1")["options"] == {"own": "yes"}
    labelled_late = merged(vpc("v2"), {"metadata": {"labels": mirrored["metadata"]["labels"]}})
    cluster.apply(vpc("v2")).run()
    cluster.apply(labelled_late).delete("Vpc", "v2").run()
    assert ("Vpc", "v2") not in cluster.api.objects, "our finalizer keeps nobody's object"

"""Static addresses and MACs (spec C.5, C.8, F.3), recovery (C.11), and IP objects that people edit (C.10)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ovnbridge.compile.options import Options
from tests.support.addresses import (
    address,
    attachment,
    events,
    ippool,
    machine,
    machine_pod,
    notes,
    port,
    ready,
    set_pod,
    stateful_set,
    subset,
    vip,
    with_notes,
)
from tests.support.cluster import Cluster, Json, ip, merged, pod, subnet, underlay

MAC = "00:00:00:aa:00:01"


@pytest.mark.parametrize(
    ("space", "text", "expected"),
    [
        ("a", "10.21.0.60", "10.21.0.60"),
        ("b", "10.22.0.60,fd22::60", "10.22.0.60,fd22::60"),
        ("b", "fd22::60,10.22.0.60", "10.22.0.60,fd22::60"),
        ("b", "FD22:0::60", "10.22.0.2,fd22::60"),  # the other family is taken by chance
        ("a", "10.21.0.60/24", "10.21.0.60"),
    ],
)
def test_forms(space: str, text: str, expected: str) -> None:
    cluster = ready(pod(f"{space}/p", "n-1", ip_address=text, mac_address=MAC.upper()))
    assert address(cluster, f"p.{space}") == expected
    assert notes(cluster, "Pod", f"{space}/p")["ip_address"] == expected
    assert notes(cluster, "Pod", f"{space}/p")["mac_address"] == MAC


def test_excluded_addresses_may_be_used_statically() -> None:
    cluster = ready(subnet("s3", cidrBlock="10.23.0.0/24", excludeIps=["10.23.0.1..10.23.0.20"]))
    cluster.apply(
        pod("a/p", "n-1", logical_switch="s3", ip_address="10.23.0.9"),
        pod("a/q", "n-1", logical_switch="s3"),
    ).run()
    assert address(cluster, "p.a") == "10.23.0.9"
    assert address(cluster, "q.a") == "10.23.0.21"
    # Spec E.1: addresses in excludeIps are not counted as used.
    cluster.run()
    assert cluster.get("Subnet", "s3")["status"]["v4usingIPs"] == 1


Fix = Callable[[Cluster], object]


@pytest.mark.parametrize(
    ("other", "wish", "said", "fix"),
    [
        (
            pod("a/q", "n-1", ip_address="10.21.0.9"),
            {"ip_address": "10.21.0.9"},
            "q.a",
            lambda c: c.delete("Pod", "a/q"),
        ),
        (vip("v", "s1", v4ip="10.21.0.9"), {"ip_address": "10.21.0.9"}, "vip/v", lambda c: c.delete("Vip", "v")),
        (
            ip("a/res", "s1", "10.21.0.9", labels={"ovn.kubernetes.io/ip_reserved": "true"}),
            {"ip_address": "10.21.0.9"},
            "res.a",
            lambda c: c.delete("IP", "res.a"),
        ),
        (
            pod("a/q", "n-1", mac_address=MAC),
            {"ip_address": "10.21.0.9", "mac_address": MAC},
            "q.a",
            lambda c: c.delete("Pod", "a/q"),
        ),
        (
            subnet("s3", cidrBlock="10.23.0.0/24"),
            {"ip_address": "10.24.0.9", "logical_switch": "s3"},
            "AddressOutOfRange: address 10.24.0.9 is not in subnet s3 10.23.0.0/24",
            lambda c: c.apply(
                subnet("s3", cidrBlock="10.24.0.0/24", gateway="10.24.0.1", excludeIps=["10.24.0.1"], vpc="ovn-cluster")
            ),
        ),
        (
            subnet("s3", cidrBlock="10.24.0.0/24", gateway="10.24.0.9"),
            {"ip_address": "10.24.0.9", "logical_switch": "s3"},
            "gateway of subnet s3",
            lambda c: c.apply(
                subnet("s3", cidrBlock="10.24.0.0/24", gateway="10.24.0.1", excludeIps=["10.24.0.1"], vpc="ovn-cluster")
            ),
        ),
        (
            stateful_set("a/web", 1),
            {"logical_switch": "nowhere", "ip_address": "10.24.0.9"},
            "NoSubnet",
            lambda c: c.apply(subnet("nowhere", cidrBlock="10.24.0.0/24", vpc="ovn-cluster")),
        ),
    ],
    ids=["pod", "vip", "reservation", "mac", "range", "gateway", "subnet"],
)
def test_a_refusal_names_the_cause_and_ends_with_it(other: Json, wish: dict[str, str], said: str, fix: Fix) -> None:
    cluster = ready(other)
    cluster.apply(pod("a/p", "n-1", **wish)).run()
    assert not address(cluster, "p.a")
    (message,) = events(cluster, "Pod", "a/p", "AcquireAddressFailed")
    assert said in message
    assert wish.get("mac_address", wish["ip_address"]) in message or said == "NoSubnet"
    fix(cluster)
    cluster.run()
    assert address(cluster, "p.a") == wish["ip_address"]
    assert not events(cluster, "Pod", "a/p")


@pytest.mark.parametrize(
    "wish",
    [
        {"ip_address": "nonsense"},
        {"ip_address": "10.21.0.9", "cidr": "10.99.0.0/16"},
        {"mac_address": "nonsense"},
        {"ip_family": "IPv4"},
        {"ip_family": "ipv6", "ip_address": "10.21.0.9"},
        {"ip_pool": "10.21.0.9,x"},
        {"ingress_rate": "-1"},
        {"egress_burst": "many"},
    ],
    ids=str,
)
def test_what_cannot_be_meant(wish: dict[str, str]) -> None:
    cluster = ready(pod("a/p", "n-1", **wish))
    (message,) = events(cluster, "Pod", "a/p", "ValidatePodNetworkFailed")
    assert all(f"ovn.kubernetes.io/{name}" in message or value in message for name, value in wish.items())
    assert not address(cluster, "p.a")
    assert port(cluster, "p.a") is None


def test_all_that_is_wrong_is_said_at_once() -> None:
    cluster = ready(pod("a/p", "n-1", ip_address="x", mac_address="y", ip_family="z"))
    (message,) = events(cluster, "Pod", "a/p", "ValidatePodNetworkFailed")
    assert all(f"'{letter}'" in message for letter in "xyz")


@pytest.mark.parametrize(
    ("family", "expected"), [("ipv4", "10.22.0.2"), ("ipv6", "fd22::2"), ("", "10.22.0.2,fd22::2")]
)
def test_one_family_of_two(family: str, expected: str) -> None:
    cluster = ready(pod("b/p", "n-1", **({"ip_family": family} if family else {})))
    assert address(cluster, "p.b") == expected


# -- ports (spec D.3)


def test_all_external_ids() -> None:
    cluster = ready(
        subnet("s3", cidrBlock="10.23.0.0/24", vpc="v1"),
        {"kind": "Vpc", "metadata": {"name": "v1"}, "spec": {}},
        vip("v", "s3", v4ip="10.23.0.50", namespace="a"),
        pod(
            "a/p",
            "n-1",
            logical_switch="s3",
            security_groups="sg-1,sg-2",
            aaps="v",
            port_vips="10.23.0.60,10.23.0.61",
            port_security="true",
            layer2_forward="true",
            mac_address=MAC,
        ),
        pod("a/q", "n-1", logical_switch="s3", security_groups="default-securitygroup"),
    )
    subset(
        port(cluster, "p.a"),
        addresses={f"{MAC} 10.23.0.2", "unknown"},
        port_security={f"{MAC} 10.23.0.2 10.23.0.50 10.23.0.60 10.23.0.61"},
        external_ids={
            "vendor": "kube-ovn",
            "ls": "s3",
            "pod": "a/p",
            "security_groups": "sg-1/sg-2",
            "associated_sg_sg-1": "true",
            "associated_sg_sg-2": "true",
            "associated_sg_default-securitygroup": "false",
            "vips": "10.23.0.50,10.23.0.60,10.23.0.61",
            "attach-vips": "true",
        },
    )
    row = port(cluster, "q.a")
    assert row is not None
    assert row["external_ids"]["associated_sg_default-securitygroup"] == "true"


def test_a_north_gateway() -> None:
    """reference/parity/06-addresses, q5: a policy of its own, and not in its subnet's group."""
    cluster = ready(pod("a/q5", "n-2", ip_address="10.21.0.61", north_gateway="10.21.0.60"))
    key = ("ovn-cluster", 29250, "ip4.src == 10.21.0.61")
    subset(
        cluster.row("Logical_Router_Policy", key),
        action="reroute",
        nexthops={"10.21.0.60"},
        external_ids={"vendor": "kube-ovn", "subnet": "s1"},
    )
    members = {t: cluster.row("Port_Group", t)["ports"] for t in ("node.n.2", "s1.n.2")}
    assert members == {"node.n.2": {("Logical_Switch_Port", "q5.a")}, "s1.n.2": frozenset()}
    cluster.delete("Pod", "a/q5").run()
    assert ("Logical_Router_Policy", key) not in cluster.memory.row_keys()


@pytest.mark.parametrize(
    ("gateway", "left"), [("10.22.0.60", "ip4.src == 10.22.0.61"), ("fd22::60", "ip6.src == fd22::61")]
)
def test_a_north_gateway_is_for_addresses_of_its_family(gateway: str, left: str) -> None:
    """D.2.3: the match is `ipX.src`."""
    cluster = ready(pod("b/q", "n-2", ip_address="10.22.0.61,fd22::61", north_gateway=gateway))
    made = {key: row for (table, key), (row,) in cluster.memory.snapshot().items() if table == "Logical_Router_Policy"}
    ways = {key[2]: row["nexthops"] for key, row in made.items() if key[1] == 29250}
    assert ways == {left: {gateway}}


def test_a_north_gateway_without_an_address_of_its_family() -> None:
    cluster = ready(pod("a/q", "n-2", north_gateway="fd22::60"))
    assert not any(t == "Logical_Router_Policy" and k[1] == 29250 for t, k in cluster.memory.row_keys())
    assert "annotation ovn.kubernetes.io/north_gateway is fd22::60, and the pod has no IPv6 address" in str(
        events(cluster, "Pod", "a/q")
    )


def test_a_north_gateway_is_nothing_to_a_physical_gateway() -> None:
    """D.3, second stage: only where the gateway is a router's (vlan == "" or logicalGateway)."""
    place = subnet("u1", cidrBlock="10.60.0.0/24", vlan="v", u2oInterconnection=True)
    cluster = ready(*underlay(), place, pod("a/q", "n-2", logical_switch="u1", north_gateway="10.60.0.9"))
    assert cluster.row("Logical_Switch_Port", "q.a")
    assert not any(t == "Logical_Router_Policy" and k[1] == 29250 for t, k in cluster.memory.row_keys())


# -- recovery and edits


def test_from_the_pods_when_the_ip_objects_are_lost() -> None:
    cluster = ready(
        stateful_set("a/web", 1),
        pod("a/p", "n-1", ip_address="10.21.0.60"),
        pod("a/q", "n-1"),
        set_pod("a/web-0"),
        pod("b/r", "n-2"),
        pod("a/s", "n-1", logical_switch="s2", ip_family="ipv6"),
    )
    names = ("p.a", "q.a", "web-0.a", "r.b", "s.a")
    held = {n: (address(cluster, n), cluster.get("IP", n)["spec"]["macAddress"]) for n in names}
    assert held["s.a"][0] == "fd22::3"
    rows = cluster.memory.snapshot()
    for kind, key in list(cluster.api.objects):
        if kind == "IP":
            del cluster.api.objects[(kind, key)]
    # Others wait for addresses as well: they were there before the controller.
    cluster.apply(*(pod(f"a/{n}", "n-1") for n in ("aa", "new", "zz")), pod("a/bb", "n-1", ip_address="10.21.0.60"))
    cluster.start()
    cluster.run()
    assert {n: (address(cluster, n), cluster.get("IP", n)["spec"]["macAddress"]) for n in names} == held
    assert cluster.memory.snapshot().items() >= {k: v for k, v in rows.items() if k[0] != "Port_Group"}.items()


@pytest.mark.parametrize("restart", [False, True])
def test_an_ip_object_that_somebody_deletes_while_the_pod_lives(restart: bool) -> None:
    cluster = ready(pod("a/p", "n-1"), pod("a/q", "n-1"))
    before, mac = address(cluster, "p.a"), cluster.get("IP", "p.a")["spec"]["macAddress"]
    cluster.delete("IP", "p.a")
    cluster.apply(pod("a/new", "n-1"))
    if restart:
        cluster.start()
    cluster.run()
    assert address(cluster, "p.a") == before
    assert cluster.get("IP", "p.a")["spec"]["macAddress"] == mac
    assert address(cluster, "new.a") != before


def leases(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """(addresses, uid) of all IP objects."""
    found = {key: obj for (kind, key), obj in cluster.api.objects.items() if kind == "IP"}
    return {key: (obj["spec"].get("ipAddress", ""), obj["metadata"]["uid"]) for key, obj in found.items()}


def test_a_user_deletes_ip_objects_of_every_kind_that_kube_ovn_made() -> None:
    """They carry its finalizer (spec C.10): it goes, and who still needs an address has one again: pods and nodes
    the same, since they work with it."""
    config = {"type": "kube-ovn", "provider": "net.a.ovn"}
    cluster = ready(
        *underlay(),
        subnet("under", cidrBlock="10.31.0.0/24", vlan="v", u2oInterconnection=True, enableMulticastSnoop=True),
        attachment("a/net", config),
        subnet("attached", cidrBlock="10.32.0.0/24", provider="net.a.ovn"),
        with_notes(pod("a/p", "n-1"), {"k8s.v1.cni.cncf.io/networks": "net"}),
        machine("a/vm"),
        machine_pod("a/launcher", "vm"),
        {
            "kind": "IP",
            "metadata": {"name": "any-name"},
            "spec": {"subnet": "s1", "podName": "other", "namespace": "a"},
        },
    )
    before = leases(cluster)
    assert {"any-name", "p.a", "p.a.net.a.ovn", "vm.a", "node-n-1", "mcast-querier.under"} <= before.keys()
    assert "u2o-interconnection.ovn-cluster.under" in before
    for key in before:
        cluster.api.patch("IP", key, {"metadata": {"finalizers": ["kubeovn.io/kube-ovn-controller"]}})
    written = list(cluster.written)
    cluster.start()
    assert cluster.run() == []
    assert cluster.written == written, "taking them over writes nothing"
    for key in before:
        cluster.delete("IP", key)
    cluster.run()
    after = leases(cluster)
    assert before.keys() - after.keys() == {"any-name"}
    for key, (held, uid) in after.items():
        assert held == before[key][0] or key.endswith("under"), key
        assert uid != before[key][1], key


def test_the_gateways_mac() -> None:
    """Spec C.4: a static MAC must not be the gateway's."""
    cluster = ready()
    mac = str(cluster.row("Logical_Router_Port", "ovn-cluster-s1")["mac"])
    cluster.apply(pod("a/p", "n-1", mac_address=mac.upper())).run()
    assert "AddressConflict" in events(cluster, "Pod", "a/p", "AcquireAddressFailed")[0]
    cluster.apply(pod("a/q", "n-1", mac_address="00:00:00:12:34:56")).run()
    assert notes(cluster, "Pod", "a/q")["mac_address"] == "00:00:00:12:34:56"


@pytest.mark.parametrize("enabled", [True, False])
def test_external_addresses_matter_with_their_flag_only(enabled: bool) -> None:
    """Spec D.3: `eip` and `snat` with --enable-eip-snat."""
    cluster = ready(pod("a/p", "n-1", eip="192.0.2.9"), options=Options(enable_eip_snat=enabled))
    assert (("Logical_Switch_Port", "p.a") in cluster.row("Port_Group", "s1.n.1")["ports"]) is not enabled
    assert ("Logical_Switch_Port", "p.a") in cluster.row("Port_Group", "node.n.1")["ports"]


def test_further_addresses_that_are_none() -> None:
    cluster = ready(pod("a/p", "n-1", port_vips="10.21.0.90, nonsense,10.21.0.91,10.21.0.90"))
    found = port(cluster, "p.a")
    assert found is not None
    assert found["external_ids"]["vips"] == "10.21.0.90,10.21.0.91"


def test_a_reservation_for_a_pod_to_come() -> None:
    cluster = ready(ip("a/later", "s1", "10.21.0.77", mac=MAC, labels={}))
    labels = cluster.get("IP", "later.a")["metadata"]["labels"]
    assert labels == {"ovn.kubernetes.io/ip_reserved": "true", "ovn.kubernetes.io/subnet": "s1", "s1": ""}
    cluster.apply(pod("a/thief", "n-1", ip_address="10.21.0.77"), pod("a/later", "n-1")).run()
    assert "later.a" in events(cluster, "Pod", "a/thief", "AcquireAddressFailed")[0]
    assert (notes(cluster, "Pod", "a/later")["ip_address"], notes(cluster, "Pod", "a/later")["mac_address"]) == (
        "10.21.0.77",
        MAC,
    )
    cluster.delete("Pod", "a/later").run()
    assert address(cluster, "later.a") == "10.21.0.77", "it is not deleted with the pod"
    assert port(cluster, "later.a") is None
    cluster.delete("IP", "later.a").run()
    assert address(cluster, "thief.a") == "10.21.0.77"


def test_a_reservation_that_cannot_be_met() -> None:
    empty = merged(ip("a/later", "gone", labels={}), {"spec": {"macAddress": ""}})
    cluster = ready(empty)
    assert "gone" in events(cluster, "IP", "later.a", "AcquireAddressFailed")[0]
    cluster.apply(subnet("gone", cidrBlock="10.27.0.0/24")).run()
    assert address(cluster, "later.a") == "10.27.0.2"


# -- subnets that change while in use (spec C.7, E.14)


def counts(cluster: Cluster) -> tuple[int, str, int, str]:
    cluster.run()
    found = cluster.get("Subnet", "s1")["status"]
    return (
        found["v4availableIPs"],
        found["v4availableIPrange"],
        found["v4usingIPs"],
        found["v4usingIPrange"],
    )


def changed(cluster: Cluster, **spec: object) -> None:
    cluster.apply(subnet("s1", **{**cluster.get("Subnet", "s1")["spec"], **spec})).run()


def test_a_subnet_that_grows_and_shrinks() -> None:
    cluster = ready(*(pod(f"a/p{i}", "n-1", phase="Running") for i in range(3)))
    rows = {k: v for k, v in cluster.memory.snapshot().items() if k[0] == "Logical_Switch_Port"}
    changed(cluster, cidrBlock="10.21.0.0/29")
    assert counts(cluster) == (2, "10.21.0.5-10.21.0.6", 3, "10.21.0.2-10.21.0.4")
    changed(cluster, cidrBlock="10.21.0.0/30")
    assert [address(cluster, f"p{i}.a") for i in range(3)] == ["10.21.0.2", "10.21.0.3", "10.21.0.4"], "users stay"
    assert {k: v for k, v in cluster.memory.snapshot().items() if k[0] == "Logical_Switch_Port"} == rows
    assert counts(cluster)[:2] == (0, "")
    cluster.start()
    cluster.run()
    assert [address(cluster, f"p{i}.a") for i in range(3)] == ["10.21.0.2", "10.21.0.3", "10.21.0.4"]
    changed(cluster, cidrBlock="10.21.0.0/23")
    assert counts(cluster) == (506, "10.21.0.5-10.21.1.254", 3, "10.21.0.2-10.21.0.4")


def test_excluding_a_used_address() -> None:
    cluster = ready(*(pod(f"a/p{i}", "n-1", phase="Running") for i in range(2)))
    changed(cluster, excludeIps=["10.21.0.1", "10.21.0.2..10.21.0.9"])
    assert address(cluster, "p0.a") == "10.21.0.2"
    assert counts(cluster) == (245, "10.21.0.10-10.21.0.254", 0, "")
    cluster.delete("Pod", "a/p0").run()
    cluster.apply(pod("a/new", "n-1")).run()
    assert address(cluster, "new.a") == "10.21.0.10"
    changed(cluster, excludeIps=["10.21.0.1"])
    assert counts(cluster) == (251, "10.21.0.2,10.21.0.4-10.21.0.9,10.21.0.11-10.21.0.254", 2, "10.21.0.3,10.21.0.10")


def test_a_pool_in_a_subnet_that_changes() -> None:
    cluster = ready(ippool("p", "s1", "10.21.0.4..10.21.0.9"), pod("a/p0", "n-1", ip_pool="p", phase="Running"))
    changed(cluster, cidrBlock="10.21.0.0/29")
    conditions = {c["type"]: c["status"] for c in cluster.get("IPPool", "p")["status"]["conditions"]}
    assert conditions["Ready"] == "False", "its addresses are not all in the subnet any more"
    changed(cluster, cidrBlock="10.21.0.0/24")
    status = cluster.get("IPPool", "p")["status"]
    assert (status["v4AvailableIPs"], status["v4UsingIPRange"]) == (5, "10.21.0.4")


@pytest.mark.parametrize(
    "edit",
    [
        {"v4IpAddress": "10.21.0.3", "ipAddress": "10.21.0.3"},  # another pod's
        {"v4IpAddress": "10.21.0.99"},
        {"macAddress": "00:00:00:00:00:99"},
        {"subnet": "s2"},
        {"podType": "StatefulSet"},
        {"v4IpAddress": "", "ipAddress": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("owner", ["p.a", "res.a"])
def test_what_somebody_edits_in_a_lease_is_put_back(edit: dict[str, str], owner: str) -> None:
    """Spec C.10: subnet, podName, podType, MAC and addresses do not change."""
    cluster = ready(pod("a/p", "n-1"))
    cluster.apply(pod("a/q", "n-1"), ip("a/res", "s1", "10.21.0.50", labels={})).run()
    before, rows = {"podType": "", **cluster.get("IP", owner)["spec"]}, cluster.memory.snapshot()
    cluster.apply(merged(cluster.get("IP", owner), {"spec": edit}))
    cluster.hear()
    assert events(cluster, "IP", owner, "ImmutableFieldChanged")
    assert cluster.run() == []
    assert {"podType": "", **cluster.get("IP", owner)["spec"]} == before
    assert cluster.memory.snapshot() == rows
    assert not events(cluster, "IP", owner)
    assert cluster.world.size("Edited") == 0
    cluster.apply(pod("a/new", "n-1")).run()
    assert address(cluster, "new.a") == "10.21.0.4"

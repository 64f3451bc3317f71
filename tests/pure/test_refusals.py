"""Every way in which a pod can be refused an address: what it is told, and that the end of the cause is enough.

After the cause has ended nobody touches the pod and no time passes: what happens, happens because of events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.support.addresses import (
    S1,
    address,
    attachment,
    events,
    ippool,
    notes,
    port,
    ready,
    set_pod,
    stateful_set,
    vip,
    with_notes,
)
from tests.support.cluster import Cluster, Json, merged, pod, subnet, underlay, vpc

MAC = "00:00:00:00:aa:01"
NETWORKS = "k8s.v1.cni.cncf.io/networks"
OVN = {"type": "kube-ovn", "provider": "net.a.ovn"}
MACVLAN = {"type": "macvlan", "ipam": {"type": "kube-ovn", "provider": "mv.a"}}
FOUR = subnet("s1", cidrBlock="10.21.0.0/29", namespaces=["a"], excludeIps=["10.21.0.1..10.21.0.5"])  # .6 is left
SIX = subnet("s2", cidrBlock="10.22.0.0/24,fd22::/126", namespaces=["b"])  # fd22::2 is left


class Case(NamedTuple):
    """`said` is in the event, `ends` ends the cause, `given` is what the pod has then."""

    before: tuple[Json, ...]
    wish: dict[str, str]
    said: str
    ends: Callable[[Cluster], object]
    given: str
    reason: str = "AcquireAddressFailed"
    space: str = "a"
    network: str = ""
    """Provider of the network that is refused; the pod has its address in the other ones."""


def put(*objects: Json) -> Callable[[Cluster], object]:
    return lambda cluster: cluster.apply(*objects)


def gone(kind: str, key: str) -> Callable[[Cluster], object]:
    return lambda cluster: cluster.delete(kind, key)


def annotated(**changes: str | None) -> Callable[[Cluster], object]:
    return of_network("ovn", **changes)


def of_network(provider: str, **changes: str | None) -> Callable[[Cluster], object]:
    notes_ = {f"{provider}.kubernetes.io/{name}": text for name, text in changes.items()}
    patch = {"metadata": {"annotations": notes_}}

    def edit(cluster: Cluster) -> None:
        cluster.apply(merged(cluster.get("Pod", "a/p"), patch))

    return edit


def set_in(kind: str, key: str, **spec: Any) -> Callable[[Cluster], object]:
    return lambda cluster: cluster.apply(merged(cluster.get(kind, key), {"spec": spec}))


Q = pod("a/q", "n-1")
CASES = {
    # no address left (C.3)
    "subnet full, a pod goes": Case(
        (FOUR, Q), {}, "no available IPv4 address in subnet s1", gone("Pod", "a/q"), "10.21.0.6"
    ),
    "subnet full, it grows": Case(
        (FOUR, Q), {}, "NoAvailableAddress", set_in("Subnet", "s1", cidrBlock="10.21.0.0/28"), "10.21.0.7"
    ),
    "subnet full, fewer excludes": Case(
        (FOUR, Q), {}, "NoAvailableAddress", set_in("Subnet", "s1", excludeIps=["10.21.0.1"]), "10.21.0.2"
    ),
    "one family full": Case(
        (SIX, pod("b/q", "n-1")),
        {},
        "no available IPv6 address in subnet s2",
        gone("Pod", "b/q"),
        "10.22.0.3,fd22::2",
        space="b",
    ),
    "one family full, the other will do": Case(
        (SIX, pod("b/q", "n-1")),
        {},
        "NoAvailableAddress",
        lambda c: c.apply(
            merged(c.get("Pod", "b/p"), {"metadata": {"annotations": {"ovn.kubernetes.io/ip_family": "ipv4"}}})
        ),
        "10.22.0.3",
        space="b",
    ),
    "full of vips": Case((FOUR, vip("v", "s1")), {}, "NoAvailableAddress", gone("Vip", "v"), "10.21.0.6"),
    # pools (C.6, C.8 points 6 and 9)
    "pool full": Case(
        (ippool("p1", "s1", "10.21.0.50"), pod("a/q", "n-1", ip_pool="p1")),
        {"ip_pool": "p1"},
        "no available IPv4 address in ippool p1 of subnet s1",
        gone("Pod", "a/q"),
        "10.21.0.50",
    ),
    "pool full, it grows": Case(
        (ippool("p1", "s1", "10.21.0.50"), pod("a/q", "n-1", ip_pool="p1")),
        {"ip_pool": "p1"},
        "ippool p1",
        set_in("IPPool", "p1", ips=["10.21.0.50..10.21.0.51"]),
        "10.21.0.51",
    ),
    "pool missing": Case(
        (), {"ip_pool": "p1"}, "ippool p1 does not exist", put(ippool("p1", "s1", "10.21.0.50")), "10.21.0.50"
    ),
    "pool invalid": Case(
        (ippool("p1", "s1", "x"),),
        {"ip_pool": "p1"},
        "ippool p1",
        set_in("IPPool", "p1", ips=["10.21.0.50"]),
        "10.21.0.50",
    ),
    "pool without subnet": Case(
        (ippool("p1", "s5", "10.25.0.50"),),
        {"ip_pool": "p1"},
        "ippool p1",
        put(subnet("s5", cidrBlock="10.25.0.0/24")),
        "10.25.0.50",
    ),
    "pool in another one's way": Case(
        (ippool("p0", "s1", "10.21.0.50"), ippool("p1", "s1", "10.21.0.50")),
        {"ip_pool": "p1"},
        "ippool p1",
        gone("IPPool", "p0"),
        "10.21.0.50",
    ),
    "pool of another subnet than asked for": Case(
        (ippool("p1", "s2", "10.22.0.50", "fd22::50"),),
        {"ip_pool": "p1", "logical_switch": "s1"},
        "subnet s1 has no addresses of ippool p1",
        annotated(logical_switch=None),
        "10.22.0.50,fd22::50",
    ),
    "namespace's pools full": Case(
        (ippool("p1", "s1", "10.21.0.50", namespaces=["a"]), Q), {}, "ippool p1", gone("Pod", "a/q"), "10.21.0.50"
    ),
    "namespace's pools elsewhere": Case(
        (ippool("p1", "s2", "10.22.0.50", namespaces=["a"]),),
        {},
        "any of the ippools p1",
        set_in("IPPool", "p1", namespaces=[]),
        "10.21.0.2",
    ),
    "namespace's pools elsewhere, one more": Case(
        (ippool("p1", "s2", "10.22.0.50", namespaces=["a"]),),
        {},
        "any of the ippools p1",
        put(ippool("p2", "s1", "10.21.0.60", namespaces=["a"])),
        "10.21.0.60",
    ),
    "list used up": Case(
        (pod("a/q", "n-1", ip_pool="10.21.0.70"),),
        {"ip_pool": "10.21.0.70"},
        "already used by q.a",
        gone("Pod", "a/q"),
        "10.21.0.70",
    ),
    # where (C.8 point 5)
    "subnet missing": Case(
        (),
        {"logical_switch": "s5"},
        "subnet s5 does not exist",
        put(subnet("s5", cidrBlock="10.25.0.0/24")),
        "10.25.0.2",
    ),
    "subnet invalid": Case(
        (subnet("s5", cidrBlock="x"),),
        {"logical_switch": "s5"},
        "subnet s5",
        set_in("Subnet", "s5", cidrBlock="10.25.0.0/24"),
        "10.25.0.2",
    ),
    "namespace's subnet invalid": Case(
        (subnet("s1", cidrBlock="x", namespaces=["a"]),), {}, "subnet s1", put(S1), "10.21.0.2"
    ),
    "vlan missing": Case(
        (subnet("s5", cidrBlock="10.25.0.0/24", vlan="v"),),
        {"logical_switch": "s5"},
        "subnet s5",
        put(*underlay()),
        "10.25.0.2",
    ),
    "no IPv6 there": Case(
        (),
        {"ip_family": "ipv6"},
        "InvalidIPFamily",
        set_in("Subnet", "s1", cidrBlock="10.21.0.0/24,fd21::/112", protocol="Dual", gateway=""),
        "fd21::2",
    ),
    # static addresses and MACs (C.4, C.5)
    "taken by a pod": Case((Q,), {"ip_address": "10.21.0.2"}, "already used by q.a", gone("Pod", "a/q"), "10.21.0.2"),
    "taken by a vip": Case(
        (vip("v", "s1", v4ip="10.21.0.9"),),
        {"ip_address": "10.21.0.9"},
        "already used by vip/v",
        gone("Vip", "v"),
        "10.21.0.9",
    ),
    "kept for a stateful set": Case(
        (stateful_set("a/web", 1), set_pod("a/web-0")),
        {"ip_address": "10.21.0.2"},
        "already used by web-0.a",
        lambda c: c.delete("StatefulSet", "a/web").delete("Pod", "a/web-0"),
        "10.21.0.2",
    ),
    "out of range": Case(
        (),
        {"ip_address": "10.21.1.9"},
        "is not in subnet s1",
        set_in("Subnet", "s1", cidrBlock="10.21.0.0/23"),
        "10.21.1.9",
    ),
    "broadcast": Case(
        (),
        {"ip_address": "10.21.0.255"},
        "AddressOutOfRange",
        set_in("Subnet", "s1", cidrBlock="10.21.0.0/23"),
        "10.21.0.255",
    ),
    "the gateway": Case(
        (),
        {"ip_address": "10.21.0.1"},
        "gateway of subnet s1",
        set_in("Subnet", "s1", gateway="10.21.0.254"),
        "10.21.0.1",
    ),
    "one of two taken": Case(
        (pod("b/q", "n-1", ip_address="10.22.0.9,fd22::8"),),
        {"ip_address": "10.22.0.8,fd22::8"},
        "fd22::8 in subnet s2 is already used by q.b",
        gone("Pod", "b/q"),
        "10.22.0.8,fd22::8",
        space="b",
    ),
    "MAC taken": Case(
        (pod("a/q", "n-1", mac_address=MAC),), {"mac_address": MAC}, f"MAC {MAC}", gone("Pod", "a/q"), "10.21.0.3"
    ),
    # Vips (C.8 point 3)
    "vip missing": Case((), {"vip": "v"}, "vip v does not exist", put(vip("v", "s1", v4ip="10.21.0.9")), "10.21.0.9"),
    "vip refused itself": Case(
        (vip("v", "s1", v4ip="10.21.1.9"),),
        {"vip": "v"},
        "vip v",
        set_in("Vip", "v", v4ip="10.21.0.9"),
        "10.21.0.9",
    ),
    "vip used": Case(
        (vip("v", "s1", v4ip="10.21.0.9"), pod("a/q", "n-1", vip="v")),
        {"vip": "v"},
        "vip v is used by q.a",
        gone("Pod", "a/q"),
        "10.21.0.9",
    ),
    # annotations that cannot be meant (F.3)
    "no address": Case(
        (), {"ip_address": "x"}, "'x'", annotated(ip_address="10.21.0.9"), "10.21.0.9", "ValidatePodNetworkFailed"
    ),
    "no mac": Case(
        (), {"mac_address": "x"}, "'x'", annotated(mac_address=MAC), "10.21.0.2", "ValidatePodNetworkFailed"
    ),
    "no family": Case(
        (), {"ip_family": "x"}, "'x'", annotated(ip_family=None), "10.21.0.2", "ValidatePodNetworkFailed"
    ),
    "no list": Case(
        (), {"ip_pool": "x,y"}, "'x'", annotated(ip_pool="10.21.0.9"), "10.21.0.9", "ValidatePodNetworkFailed"
    ),
    "no rate": Case(
        (), {"egress_rate": "x"}, "'x'", annotated(egress_rate="5"), "10.21.0.2", "ValidatePodNetworkFailed"
    ),
    # further networks (B.0)
    "network missing": Case(
        (subnet("s9", cidrBlock="10.29.0.0/24", provider="net.a.ovn"),),
        {NETWORKS: "net"},
        "a/net does not exist",
        put(attachment("a/net", OVN)),
        "10.29.0.2",
        "ValidatePodNetworkFailed",
        network="net.a.ovn",
    ),
    "network unreadable": Case(
        (subnet("s9", cidrBlock="10.29.0.0/24", provider="net.a.ovn"), attachment("a/net", "{")),
        {NETWORKS: "net"},
        "unreadable",
        put(attachment("a/net", OVN)),
        "10.29.0.2",
        "ValidatePodNetworkFailed",
        network="net.a.ovn",
    ),
    "network full": Case(
        (
            subnet("s9", cidrBlock="10.29.0.0/30", provider="net.a.ovn"),
            attachment("a/net", OVN),
            with_notes(Q, {NETWORKS: "net"}),
        ),
        {NETWORKS: "net"},
        "no available IPv4 address in subnet s9",
        gone("Pod", "a/q"),
        "10.29.0.2",
        network="net.a.ovn",
    ),
    "network, no address": Case(
        (subnet("s9", cidrBlock="10.29.0.0/24", provider="net.a.ovn"), attachment("a/net", OVN)),
        {NETWORKS: "net", "net.a.ovn.kubernetes.io/ip_address": "x"},
        "'x' is not an IP address",
        of_network("net.a.ovn", ip_address="10.29.0.9"),
        "10.29.0.9",
        network="net.a.ovn",
    ),
    "network, no mac": Case(
        (subnet("s9", cidrBlock="10.29.0.0/24", provider="net.a.ovn"), attachment("a/net", OVN)),
        {NETWORKS: "net", "net.a.ovn.kubernetes.io/mac_address": "x"},
        "'x' is not a MAC address",
        of_network("net.a.ovn", mac_address=MAC),
        "10.29.0.2",
        network="net.a.ovn",
    ),
    "network, no address in the request": Case(
        (subnet("s9", cidrBlock="10.29.0.0/24", provider="net.a.ovn"), attachment("a/net", OVN)),
        {NETWORKS: '[{"name": "net", "ips": ["x/24"]}]'},
        "'x' is not an IP address",
        lambda c: c.apply(with_notes(c.get("Pod", "a/p"), {NETWORKS: '[{"name": "net", "ips": ["10.29.0.9/24"]}]'})),
        "10.29.0.9",
        network="net.a.ovn",
    ),
    "network of another CNI without subnet": Case(
        (attachment("a/mv", MACVLAN),),
        {NETWORKS: "mv"},
        "no subnet has provider mv.a",
        put(subnet("s8", cidrBlock="10.28.0.0/24", provider="mv.a")),
        "10.28.0.2",
        network="mv.a",
    ),
}


@pytest.mark.parametrize("restart", [False, True], ids=["", "restart"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_refusals(case: Case, restart: bool) -> None:
    cluster = ready(*case.before)
    key, owner = f"{case.space}/p", f"p.{case.space}"
    made = with_notes(pod(key, "n-1"), {k if "/" in k else f"ovn.kubernetes.io/{k}": v for k, v in case.wish.items()})
    cluster.apply(made).run()
    owner = f"{owner}.{case.network}" if case.network else owner
    assert not address(cluster, owner)
    assert port(cluster, owner) is None
    (said,) = events(cluster, "Pod", key)
    assert case.said in said
    assert events(cluster, "Pod", key, case.reason) == [said]
    if restart:
        cluster.start()
        cluster.run()
        assert events(cluster, "Pod", key) == [said]
    case.ends(cluster)
    cluster.run()
    assert address(cluster, owner) == case.given
    assert events(cluster, "Pod", key) == []
    assert notes(cluster, "Pod", key, case.network or "ovn")["ip_address"] == case.given
    assert cluster.world.size("Refusal") == 0
    # Nobody was given anything twice on the way.
    held = [obj["spec"]["ipAddress"] for (kind, _), obj in cluster.api.objects.items() if kind == "IP"]
    assert len(held) == len(set(held))


def test_an_excluded_address_may_be_asked_for() -> None:
    """Spec C.5: "accepted if in Reserved (excludeIps may be used statically)"."""
    cluster = ready(FOUR, pod("a/p", "n-1", ip_address="10.21.0.4"))
    assert address(cluster, "p.a") == "10.21.0.4"
    assert not events(cluster, "Pod", "a/p")


def test_an_ordinal_beyond_the_list() -> None:
    """Spec C.8, point 9: "none if index ≥ len"; a longer list in a new pod."""
    cluster = ready(stateful_set("a/web", 2))
    cluster.apply(*(set_pod(f"a/web-{n}", ip_pool="10.21.0.70") for n in (0, 1))).run()
    (said,) = events(cluster, "Pod", "a/web-1", "AcquireAddressFailed")
    assert "no address for ordinal 1" in said
    cluster.delete("Pod", "a/web-1").apply(set_pod("a/web-1", ip_pool="10.21.0.70,10.21.0.71")).run()
    assert address(cluster, "web-1.a") == "10.21.0.71"


def test_a_subnet_in_a_vpc_that_is_missing() -> None:
    cluster = ready(subnet("s5", cidrBlock="10.25.0.0/24", vpc="v9"), pod("a/p", "n-1", logical_switch="s5"))
    assert port(cluster, "p.a") is None
    assert "allocated" not in notes(cluster, "Pod", "a/p")
    assert "vpc v9 does not exist" in events(cluster, "Pod", "a/p", "CreateOVNPortFailed")[0]
    cluster.apply(vpc("v9")).run()
    assert notes(cluster, "Pod", "a/p")["ip_address"] == "10.25.0.2"
    assert port(cluster, "p.a") is not None
    assert not events(cluster, "Pod", "a/p")

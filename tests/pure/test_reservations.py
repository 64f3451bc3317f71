"""IP objects that people make for pods to come (spec C.10): answered like any request, or told what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.addresses import (
    S1,
    address,
    attachment,
    events,
    ippool,
    notes,
    ready,
    set_pod,
    stateful_set,
    vip,
    with_notes,
)
from tests.support.cluster import Cluster, Json, merged, node, pod, subnet

MAC = "00:00:00:00:aa:01"
RESERVED = "ovn.kubernetes.io/ip_reserved"
FINALIZER = "kubeovn.io/kube-ovn-controller"


def wish(name: str = "p.a", /, **spec: Any) -> Json:
    """What somebody writes, as in Kube-OVN's documentation: what is not said is left out."""
    own, _, space = name.partition(".")
    return {
        "kind": "IP",
        "metadata": {"name": name},
        "spec": {"podName": own, "namespace": space.partition(".")[0], "subnet": "s1", **spec},
    }


def held(cluster: Cluster, name: str = "p.a") -> dict[str, str]:
    found = cluster.get("IP", name)["spec"]
    return {key: found.get(key, "") for key in ("ipAddress", "v4IpAddress", "v6IpAddress", "macAddress")}


def labels(cluster: Cluster, name: str = "p.a") -> dict[str, str]:
    return dict(cluster.get("IP", name)["metadata"].get("labels") or {})


# -- answers: "controller allocates (static or random), fills it in and sets label ip_reserved=true"


@pytest.mark.parametrize(
    ("spec", "v4", "v6", "mac"),
    [
        ({}, "10.21.0.2", "", ""),
        ({"v4IpAddress": "10.21.0.77"}, "10.21.0.77", "", ""),
        ({"v4IpAddress": "10.21.0.77", "macAddress": MAC}, "10.21.0.77", "", MAC),
        ({"macAddress": MAC.upper()}, "10.21.0.2", "", MAC),
        ({"subnet": "s2"}, "10.22.0.2", "fd22::2", ""),
        ({"subnet": "s2", "v4IpAddress": "10.22.0.9"}, "10.22.0.9", "fd22::2", ""),
        ({"subnet": "s2", "v6IpAddress": "fd22::9"}, "10.22.0.2", "fd22::9", ""),
        ({"podType": "VirtualMachine", "v4IpAddress": "10.21.0.77"}, "10.21.0.77", "", ""),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "marks",
    [{}, {RESERVED: "true"}, {RESERVED: "true", "ovn.kubernetes.io/subnet": "s1"}],
    ids=["unmarked", "marked", "with all labels"],
)
@pytest.mark.parametrize("first", ["reservation", "pod"])
def test_what_is_asked_for_is_given(
    spec: dict[str, str], v4: str, v6: str, mac: str, marks: dict[str, str], first: str
) -> None:
    made = merged(wish(**spec), {"metadata": {"labels": marks}})
    cluster = ready(made)
    given = held(cluster)
    if len(marks) == 2 and spec.keys() == {"macAddress"}:  # looks like an answer of a subnet without addresses
        cluster.apply(pod("a/p", "n-1")).run()
        assert "reservation" in events(cluster, "Pod", "a/p")[0]
        return
    assert (given["v4IpAddress"], given["v6IpAddress"]) == (v4, v6)
    assert given["ipAddress"] == ",".join(filter(None, (v4, v6)))
    assert given["macAddress"] == mac or (not mac and int(given["macAddress"][:2], 16) & 3 == 2)
    place = spec.get("subnet", "s1")
    assert labels(cluster) == {RESERVED: "true", "ovn.kubernetes.io/subnet": place, place: ""}
    assert not events(cluster, "IP", "p.a")
    cluster.apply(pod("a/p", "n-1", logical_switch=place)).run()
    if spec.get("podType"):
        return  # of a machine's pod, which this one is not
    assert notes(cluster, "Pod", "a/p")["ip_address"] == given["ipAddress"]
    assert notes(cluster, "Pod", "a/p")["mac_address"] == given["macAddress"]
    row = cluster.row("Logical_Switch_Port", "p.a")
    assert row["addresses"] == {" ".join(filter(None, (given["macAddress"], v4, v6)))}
    if first == "pod":
        cluster.start()
        assert cluster.run() == []
    cluster.delete("Pod", "a/p").run()
    assert held(cluster) == given, "it is not deleted with the pod"


def test_a_pod_is_there_first() -> None:
    """It has an IP object already, by the same name: nothing can be reserved for it any more."""
    cluster = ready(pod("a/p", "n-1"))
    cluster.apply(merged(cluster.get("IP", "p.a"), {"spec": {"v4IpAddress": "10.21.0.77"}})).run()
    assert held(cluster)["v4IpAddress"] == "10.21.0.2"


def test_one_that_says_that_it_is_not_reserved() -> None:
    """ "unless already `false`": filled in for the pod, and deleted with it."""
    cluster = ready(merged(wish(), {"metadata": {"labels": {RESERVED: "false"}}}), pod("a/p", "n-1"))
    assert held(cluster)["v4IpAddress"] == "10.21.0.2"
    assert notes(cluster, "Pod", "a/p")["ip_address"] == "10.21.0.2"
    assert labels(cluster)[RESERVED] == "false"
    cluster.delete("Pod", "a/p").run()
    assert ("IP", "p.a") not in cluster.api.objects


def test_for_an_attached_network_of_another_cni() -> None:
    """It has no MAC (spec C.8, point 4)."""
    macvlan = attachment("a/mv", {"type": "macvlan", "ipam": {"type": "kube-ovn", "provider": "mv.a"}})
    cluster = ready(
        macvlan,
        subnet("s8", cidrBlock="10.28.0.0/24", provider="mv.a"),
        wish("p.a.mv.a", subnet="s8", v4IpAddress="10.28.0.9"),
        with_notes(pod("a/p", "n-1"), {"k8s.v1.cni.cncf.io/networks": "mv"}),
    )
    assert (held(cluster, "p.a.mv.a")["v4IpAddress"], held(cluster, "p.a.mv.a")["macAddress"]) == ("10.28.0.9", "")
    assert notes(cluster, "Pod", "a/p", "mv.a")["ip_address"] == "10.28.0.9"


def test_node_addresses_are_not_given_by_chance() -> None:
    """Spec E.14."""
    inside = subnet("s3", cidrBlock="172.30.0.0/29", excludeIps=["172.30.0.1"])
    cluster = ready(inside)
    cluster.apply(node("n-9", "172.30.0.2")).run()  # a node that joins does not break a subnet (docs/differences.md)
    cluster.apply(wish(subnet="s3")).run()
    assert held(cluster)["v4IpAddress"] == "172.30.0.3"
    cluster.apply(wish("q.a", subnet="s3", v4IpAddress="172.30.0.2")).run()
    assert held(cluster, "q.a")["v4IpAddress"] == "172.30.0.2", "asked for, not by chance"


def test_a_stateful_sets_pod() -> None:
    cluster = ready(stateful_set("a/web", 1), wish("web-0.a", v4IpAddress="10.21.0.77", podType="StatefulSet"))
    cluster.apply(set_pod("a/web-0")).run()
    assert notes(cluster, "Pod", "a/web-0")["ip_address"] == "10.21.0.77"
    cluster.delete("Pod", "a/web-0").delete("StatefulSet", "a/web").run()
    assert address(cluster, "web-0.a") == "10.21.0.77", "reserved, whatever becomes of the set"


# -- refusals


Fix = Callable[[Cluster], object]


def edited(**spec: Any) -> Fix:
    return lambda cluster: cluster.apply(merged(cluster.get("IP", "p.a"), {"spec": spec}))


REFUSALS: dict[str, tuple[Json, str, Fix]] = {
    "taken by a pod": (wish(v4IpAddress="10.21.0.2"), "already used by q.a", lambda c: c.delete("Pod", "a/q")),
    "taken by a vip": (wish(v4IpAddress="10.21.0.50"), "already used by vip/v", lambda c: c.delete("Vip", "v")),
    "taken mac": (
        wish(v4IpAddress="10.21.0.77", macAddress=MAC),
        f"MAC {MAC} in subnet s1 is already used by q.a",
        lambda c: c.delete("Pod", "a/q"),
    ),
    "out of range": (wish(v4IpAddress="10.99.0.9"), "10.99.0.9 is not in subnet s1", edited(v4IpAddress="10.21.0.9")),
    "the gateway": (wish(v4IpAddress="10.21.0.1"), "is the gateway of subnet s1", edited(v4IpAddress="10.21.0.9")),
    "no address": (wish(v4IpAddress="nonsense"), "v4IpAddress", edited(v4IpAddress="10.21.0.9")),
    "with a mask": (wish(v4IpAddress="10.21.0.9/24"), "v4IpAddress", edited(v4IpAddress="10.21.0.9")),
    "the other family": (wish(v4IpAddress="fd22::9"), "v4IpAddress", edited(v4IpAddress="10.21.0.9")),
    "a family that is not there": (wish(v6IpAddress="fd22::9"), "is not in subnet s1", edited(v6IpAddress="")),
    "no mac": (wish(macAddress="nonsense"), "macAddress", edited(macAddress="")),
    "no such subnet": (
        wish(subnet="gone", v4IpAddress="10.27.0.9"),
        "subnet gone does not exist",
        lambda c: c.apply(subnet("gone", cidrBlock="10.27.0.0/24")),
    ),
    "no subnet": (wish(subnet=""), "spec.subnet is required", edited(subnet="s1")),
    "no such kind of pod": (wish(podType="Deployment"), "podType", edited(podType="")),
}


@pytest.mark.parametrize(("made", "said", "fix"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_is_told_on_the_object_and_on_the_pod_and_ends_with_its_cause(
    made: Json, said: str, fix: Fix
) -> None:
    cluster = ready(pod("a/q", "n-1", mac_address=MAC), vip("v", "s1", v4ip="10.21.0.50"))
    mine = cluster.memory.snapshot()
    cluster.apply(made, pod("a/p", "n-1", logical_switch=made["spec"]["subnet"])).run()
    (message,) = events(cluster, "IP", "p.a", "AcquireAddressFailed")
    assert said in message
    (message,) = events(cluster, "Pod", "a/p", "AcquireAddressFailed")
    assert said in message
    assert cluster.memory.snapshot() == mine, "nothing is made for it"
    assert labels(cluster) == {}
    assert address(cluster, "q.a") == "10.21.0.2"
    cluster.start()
    cluster.run()
    assert events(cluster, "IP", "p.a", "AcquireAddressFailed"), "the same after a restart"
    fix(cluster)
    cluster.run()
    assert not events(cluster, "IP", "p.a")
    assert not events(cluster, "Pod", "a/p")
    assert labels(cluster)[RESERVED] == "true"
    assert notes(cluster, "Pod", "a/p")["ip_address"] == held(cluster)["ipAddress"] != ""
    assert held(cluster)["macAddress"]


@pytest.mark.parametrize("name", ["other", "p.b", "p"])
def test_one_with_another_name_than_its_pods_port(name: str) -> None:
    made = merged(wish(v4IpAddress="10.21.0.77"), {"metadata": {"name": name}})
    cluster = ready(made, pod("a/p", "n-1"))
    (message,) = events(cluster, "IP", name)
    assert "p.a" in message
    assert address(cluster, "p.a") == "10.21.0.2"
    cluster.apply(pod("a/thief", "n-1", ip_address="10.21.0.77")).run()
    assert address(cluster, "thief.a") == "10.21.0.77", "it reserves nothing"


def test_one_that_goes_before_it_is_answered() -> None:
    cluster = ready(pod("a/q", "n-1"))
    cluster.apply(wish(v4IpAddress="10.21.0.2")).run()
    cluster.delete("IP", "p.a").run()
    cluster.apply(pod("a/p", "n-1")).run()
    assert address(cluster, "p.a") == "10.21.0.3"
    assert cluster.world.size("Reservation") == 0


@pytest.mark.parametrize("crash", [False, True])
def test_somebody_asks_for_the_same_at_the_same_time(crash: bool) -> None:
    cluster = ready()
    cluster.apply(wish(v4IpAddress="10.21.0.77"), pod("a/thief", "n-1", ip_address="10.21.0.77"))
    cluster.hear(1)
    if crash:
        cluster.start()
    cluster.run()
    assert held(cluster)["v4IpAddress"] == "10.21.0.77"
    assert "p.a" in events(cluster, "Pod", "a/thief", "AcquireAddressFailed")[0]


# -- what older Kube-OVN versions wrote, and what somebody breaks


@pytest.mark.parametrize("kind", ["pod", "node"])
def test_leases_without_the_mark(kind: str) -> None:
    """Those of versions that did not know it: they have the finalizer, or the subnet's label, and end with their pod
    or node (spec C.9: "delete IP CR (unless label ip_reserved=true)")."""
    cluster = ready(pod("a/p", "n-1"))
    name = "p.a" if kind == "pod" else "node-n-2"
    old = cluster.get("IP", name)
    old["metadata"]["labels"] = {}
    old["metadata"]["finalizers"] = [FINALIZER]
    cluster.start()
    assert cluster.run() == []
    assert labels(cluster, name) == {}, "left as it is"
    cluster.delete("Pod", "a/p").delete("Node", "n-2").run()
    assert ("IP", name) not in cluster.api.objects


@pytest.mark.parametrize("kind", ["IP", "IPPool", "Vip", "Subnet"])
@pytest.mark.parametrize("deleted", [False, True])
def test_the_finalizer_under_its_old_name(kind: str, deleted: bool) -> None:
    """Spec B.8: `kube-ovn-controller`; it is replaced, and keeps nothing that goes."""
    objects = {
        "IP": wish(v4IpAddress="10.21.0.77"),
        "IPPool": ippool("p", "s1", "10.21.0.50"),
        "Vip": vip("v", "s1"),
        "Subnet": subnet("s5", cidrBlock="10.25.0.0/24"),
    }
    cluster = ready(objects[kind])
    key = objects[kind]["metadata"]["name"]
    cluster.api.patch(kind, key, {"metadata": {"finalizers": ["example.com/other", "kube-ovn-controller"]}})
    if deleted:
        cluster.delete(kind, key)
    cluster.run()
    ours = [FINALIZER] if kind != "IP" and not deleted else ["kube-ovn-controller"] if not deleted else []
    assert cluster.get(kind, key)["metadata"]["finalizers"] == ["example.com/other", *ours]
    if not deleted:
        cluster.delete(kind, key).run()
        assert cluster.get(kind, key)["metadata"]["finalizers"] == ["example.com/other"]


@pytest.mark.parametrize("mark", ["true", "false"])
@pytest.mark.parametrize("text", ["nonsense", "10.21.0.9/24", "fe80::1%eth0"])
def test_a_lease_that_cannot_be_read(mark: str, text: str) -> None:
    """Written by somebody around the controller: its pod gets another one, or hears of it; nobody else suffers."""
    broken = wish(v4IpAddress=text, ipAddress=text, macAddress=MAC)
    broken["metadata"]["labels"] = {RESERVED: mark, "ovn.kubernetes.io/subnet": "s1"}
    cluster = ready(broken, pod("a/p", "n-1"), pod("a/q", "n-1"))
    assert address(cluster, "q.a").startswith("10.21.0.")
    if mark == "false":
        assert address(cluster, "p.a").startswith("10.21.0.")
        assert address(cluster, "p.a") != text
    else:
        assert text in events(cluster, "IP", "p.a", "AcquireAddressFailed")[0]
        assert text in events(cluster, "Pod", "a/p", "AcquireAddressFailed")[0]


@pytest.mark.parametrize("mark", ["true", "false"])
def test_a_lease_without_a_mac(mark: str) -> None:
    """With all that an answered one has: a port of OVN cannot be without."""
    made = wish(v4IpAddress="10.21.0.77", ipAddress="10.21.0.77")
    made["metadata"]["labels"] = {RESERVED: mark, "ovn.kubernetes.io/subnet": "s1", "s1": ""}
    cluster = ready(made, pod("a/p", "n-1"))
    given = held(cluster)
    assert given["v4IpAddress"] == "10.21.0.77" if mark == "true" else given["v4IpAddress"] == "10.21.0.2"
    assert given["macAddress"]
    row = cluster.row("Logical_Switch_Port", "p.a")
    assert row["addresses"] == {f"{given['macAddress']} {given['v4IpAddress']}"}


def test_the_subnet_of_a_refused_reservation_is_mended() -> None:
    cluster = ready(subnet("s1", cidrBlock="nonsense", namespaces=["a"]))
    cluster.apply(wish(v4IpAddress="10.21.0.77")).run()
    assert events(cluster, "IP", "p.a") or address(cluster, "p.a") == "10.21.0.77"
    cluster.apply(S1).run()
    assert held(cluster)["v4IpAddress"] == "10.21.0.77"
    assert not events(cluster, "IP", "p.a")

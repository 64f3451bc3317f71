"""Vip objects (spec A.6, C.8, D.3, D.13, F.5); expected values typed from the spec and reference/parity/06."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.addresses import address, events, notes, port, ready, set_pod, stateful_set, subset, vip
from tests.support.cluster import Cluster, Json, merged, pod, subnet, underlay, vpc

VENDOR = {"vendor": "kube-ovn", "ls": "s1"}


def status(cluster: Cluster, name: str) -> Json:
    return dict(cluster.get("Vip", name)["status"])


def reserved(cluster: Cluster, name: str) -> str | None:
    value: str | None = cluster.get("Vip", name)["metadata"]["labels"].get("ovn.kubernetes.io/ip_reserved")
    return value


def using(cluster: Cluster, name: str = "s1") -> int:
    cluster.state.reactor.settle()
    cluster.run()
    return int(cluster.get("Subnet", name)["status"]["v4usingIPs"])


def test_the_object_after_allocation() -> None:
    """As in reference/parity/06-addresses: finalizer, labels, spec and status filled in, no condition."""
    cluster = ready(vip("v", "s1", v4ip="10.21.0.50"))
    made = cluster.get("Vip", "v")
    assert made["metadata"]["finalizers"] == ["kubeovn.io/kube-ovn-controller"]
    assert made["metadata"]["labels"] == {"ovn.kubernetes.io/subnet": "s1", "ovn.kubernetes.io/ip_reserved": ""}
    assert made["spec"]["v4ip"] == made["status"]["v4ip"] == "10.21.0.50"
    assert made["spec"]["macAddress"] == made["status"]["mac"]
    assert int(made["status"]["mac"][:2], 16) & 3 == 2
    assert made["status"].get("conditions", []) == []
    assert not [key for kind, key in cluster.api.objects if kind == "IP" and not key.startswith("node-")]
    assert using(cluster) == 1


def test_random_and_dual() -> None:
    cluster = ready(vip("v", "s2", macAddress="00:00:00:AA:00:01"))
    assert (status(cluster, "v")["v4ip"], status(cluster, "v")["v6ip"]) == ("10.22.0.2", "fd22::2")
    assert status(cluster, "v")["mac"] == "00:00:00:aa:00:01"
    cluster.apply(pod("b/p", "n-1")).run()
    assert address(cluster, "p.b") == "10.22.0.3,fd22::3"


@pytest.mark.parametrize(
    ("spec", "name", "columns"),
    [
        ({}, "v", None),  # no namespace: no port
        (
            {"type": "switch_lb_vip"},
            "v.",
            {"type": "", "options": {"arp_proxy": "true"}, "external_ids": VENDOR},
        ),
        (
            {"type": "switch_lb_vip", "namespace": "a"},
            "v.a",
            {"type": "", "options": {"arp_proxy": "true"}, "external_ids": VENDOR},
        ),
        ({"type": "kube_host_vm_vip", "namespace": "a"}, "v.a", {"type": "", "options": {}, "external_ids": VENDOR}),
        (
            {"namespace": "a"},
            "v",
            {"type": "virtual", "options": {"virtual-ip": "10.21.0.50"}, "external_ids": VENDOR},
        ),
    ],
)
def test_ports(spec: dict[str, str], name: str, columns: dict[str, object] | None) -> None:
    cluster = ready(vip("v", "s1", v4ip="10.21.0.50", **spec))
    row = port(cluster, name)
    if columns is None:
        assert row is None
        return
    subset(row, **columns)
    assert row is not None
    mac = status(cluster, "v")["mac"]
    if spec.get("type"):
        assert row["addresses"] == {f"{mac} 10.21.0.50"}
    if spec.get("type") == "switch_lb_vip":
        assert mac == cluster.row("Logical_Router_Port", "ovn-cluster-s1")["mac"]
    cluster.delete("Vip", "v").run()
    assert port(cluster, name) is None
    assert ("Vip", "v") not in cluster.api.objects
    assert using(cluster) == 0


def test_the_mac_of_a_router_port_that_is_older_than_we_are() -> None:
    cluster = ready()

    def drawn(content: dict[str, dict[str, dict[str, Any]]]) -> None:
        for row in content["Logical_Router_Port"].values():
            row["mac"] = "5a:6c:69:76:cc:23"

    cluster.database.edit(drawn)
    cluster.start()
    cluster.apply(vip("v", "s1", type="switch_lb_vip", v4ip="10.21.0.50")).run()
    assert status(cluster, "v")["mac"] == "5a:6c:69:76:cc:23"
    subset(port(cluster, "v."), addresses={"5a:6c:69:76:cc:23 10.21.0.50"})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (vip("v", ""), "subnet is required"),
        (vip("v", "gone"), "gone"),
        (vip("v", "s1", v4ip="10.99.0.1"), "10.99.0.1"),
        (vip("v", "s1", v4ip="nonsense"), "nonsense"),
        (vip("v", "s2", v6ip="FD22::9"), "lower case"),
        (vip("v", "s1", v4ip="10.21.0.1"), "gateway"),
        (vip("v", "s1", v4ip="10.21.0.9"), "q.a"),
        (vip("v", "s1", macAddress="nonsense"), "nonsense"),
    ],
)
def test_refusals_end_when_the_cause_ends(spec: Json, said: str) -> None:
    cluster = ready(pod("a/q", "n-1", ip_address="10.21.0.9"))
    cluster.apply(spec).run()
    assert any(said in message for message in events(cluster, "Vip", "v")), events(cluster, "Vip", "v")
    ready_condition = {c["type"]: c["status"] for c in status(cluster, "v")["conditions"]}
    assert ready_condition["Ready"] == "False"
    assert not status(cluster, "v").get("v4ip")
    if said == "q.a":
        cluster.delete("Pod", "a/q").run()
    elif said == "gone":
        cluster.apply(subnet("gone", cidrBlock="10.27.0.0/24", vpc="x"), vpc("x")).run()
    else:
        cluster.apply(vip("v", "s1", v4ip="10.21.0.77", macAddress="", v6ip="")).run()
    assert status(cluster, "v")["v4ip"]
    assert status(cluster, "v").get("conditions", []) == []
    assert not events(cluster, "Vip", "v")


def test_a_pod_is_told_that_a_vip_holds_the_address() -> None:
    cluster = ready(vip("v", "s1", v4ip="10.21.0.50"), pod("a/p", "n-1", ip_address="10.21.0.50"))
    assert "vip/v" in events(cluster, "Pod", "a/p", "AcquireAddressFailed")[0]
    cluster.delete("Vip", "v").run()
    assert address(cluster, "p.a") == "10.21.0.50"


def test_the_address_does_not_change() -> None:
    cluster = ready(vip("v", "s1", v4ip="10.21.0.50"))
    before = status(cluster, "v")
    cluster.apply(merged(cluster.get("Vip", "v"), {"spec": {"v4ip": "10.21.0.51"}})).run()
    assert {k: status(cluster, "v")[k] for k in before} == before
    assert "cannot be changed" in events(cluster, "Vip", "v")[0]
    cluster.apply(pod("a/p", "n-1", ip_address="10.21.0.51")).run()
    assert address(cluster, "p.a") == "10.21.0.51"


@pytest.mark.parametrize("text", ["nonsense", "10.21.0.50/24", "fe80::1%eth0"])
def test_a_status_that_somebody_breaks_is_written_anew(text: str) -> None:
    """It is no subresource: `kubectl edit vip` reaches it."""
    cluster = ready(vip("v", "s1", v4ip="10.21.0.50", type="switch_lb_vip"), pod("a/p", "n-1"))
    before, row = status(cluster, "v"), port(cluster, "v.")
    cluster.apply(merged(cluster.get("Vip", "v"), {"status": {"v4ip": text}})).run()
    assert status(cluster, "v") == before
    assert port(cluster, "v.") == row
    assert not events(cluster, "Vip", "v")
    assert address(cluster, "p.a") == "10.21.0.2"


# -- allowed address pairs


def test_virtual_parents() -> None:
    cluster = ready(
        vip("v", "s1", v4ip="10.21.0.50", namespace="a", selector=["app: web"]),
        merged(pod("a/p1", "n-1", aaps="v"), {"metadata": {"labels": {"app": "web"}}}),
        merged(pod("a/p2", "n-2", aaps="w, v", port_security="true"), {"metadata": {"labels": {"app": "web"}}}),
        merged(pod("a/p3", "n-2", aaps="v"), {"metadata": {"labels": {"app": "other"}}}),
        merged(pod("b/p4", "n-2", aaps="v"), {"metadata": {"labels": {"app": "web"}}}),
        pod("a/p5", "n-1"),
    )
    subset(
        port(cluster, "v"), options={"virtual-ip": "10.21.0.50", "virtual-parents": "p1.a,p2.a"}, addresses=frozenset()
    )
    row = port(cluster, "p2.a")
    assert row is not None
    assert row["external_ids"] == {**VENDOR, "pod": "a/p2", "vips": "10.21.0.50", "attach-vips": "true"}
    (own,) = row["addresses"]
    assert row["port_security"] == {f"{own} 10.21.0.50"}
    other = port(cluster, "p4.b")
    assert other is not None
    assert "vips" not in other["external_ids"]
    cluster.delete("Pod", "a/p2").run()
    subset(port(cluster, "v"), options={"virtual-ip": "10.21.0.50", "virtual-parents": "p1.a"})
    cluster.delete("Vip", "v").run()
    row = port(cluster, "p1.a")
    assert row is not None
    assert row["external_ids"] == {**VENDOR, "pod": "a/p1"}


def test_no_namespace_no_pair() -> None:
    """reference/parity/06-addresses, q2: a Vip without a namespace belongs to nobody's pods."""
    cluster = ready(vip("v", "s1", v4ip="10.21.0.50"), pod("a/q2", "n-2", aaps="v", port_security="true"))
    row = port(cluster, "q2.a")
    assert row is not None
    assert row["external_ids"] == {**VENDOR, "pod": "a/q2"}
    assert row["port_security"] == row["addresses"]


# -- pods that take a Vip's address over


def test_a_pod_takes_the_address_over() -> None:
    cluster = ready(vip("v", "s1", v4ip="10.21.0.50"))
    mac = status(cluster, "v")["mac"]
    cluster.apply(pod("a/p", "n-1", vip="v")).run()
    assert reserved(cluster, "v") == "p.a"
    assert address(cluster, "p.a") == "10.21.0.50"
    assert notes(cluster, "Pod", "a/p")["mac_address"] == mac
    assert using(cluster) == 1, "one address in use, whoever has it"
    cluster.apply(pod("a/late", "n-1", vip="v"), pod("a/thief", "n-1", ip_address="10.21.0.50")).run()
    assert "p.a" in events(cluster, "Pod", "a/late", "AcquireAddressFailed")[0]
    assert not address(cluster, "late.a")
    assert not address(cluster, "thief.a")
    cluster.start()
    assert cluster.run() == []
    assert using(cluster) == 1
    cluster.delete("Pod", "a/p").run()
    assert reserved(cluster, "v") == "late.a"
    assert address(cluster, "late.a") == "10.21.0.50"
    cluster.delete("Pod", "a/late").run()
    assert reserved(cluster, "v") == ""
    assert not address(cluster, "thief.a"), "the Vip has it again"
    assert using(cluster) == 1


@pytest.mark.parametrize("restart", [False, True])
def test_a_stateful_set_keeps_a_vips_address(restart: bool) -> None:
    """Spec C.8, point 3: "must be unused by another, STS/VM may reuse"; C.9: the lease stays without its pod."""
    made = set_pod("a/web-0", vip="v")
    cluster = ready(vip("v", "s1", v4ip="10.21.0.50"), stateful_set("a/web", 1), made)
    mac = status(cluster, "v")["mac"]
    cluster.delete("Pod", "a/web-0").run()
    assert address(cluster, "web-0.a") == "10.21.0.50"
    assert reserved(cluster, "v") == "web-0.a"
    cluster.apply(pod("a/late", "n-1", vip="v"))
    if restart:
        cluster.start()
    cluster.run()
    assert not address(cluster, "late.a")
    assert "web-0.a" in events(cluster, "Pod", "a/late", "AcquireAddressFailed")[0]
    cluster.apply(made).run()
    assert notes(cluster, "Pod", "a/web-0")["ip_address"] == "10.21.0.50"
    assert notes(cluster, "Pod", "a/web-0")["mac_address"] == mac
    assert using(cluster) == 1
    cluster.delete("Pod", "a/web-0").delete("StatefulSet", "a/web").run()
    assert not address(cluster, "web-0.a")
    assert (reserved(cluster, "v"), address(cluster, "late.a")) == ("late.a", "10.21.0.50")


def test_a_vip_in_use_is_deleted_when_the_pod_is_gone() -> None:
    cluster = ready(vip("v", "s1", v4ip="10.21.0.50"), pod("a/p", "n-1", vip="v"))
    cluster.delete("Vip", "v").run()
    assert ("Vip", "v") in cluster.api.objects
    cluster.delete("Pod", "a/p").run()
    assert ("Vip", "v") not in cluster.api.objects
    cluster.apply(pod("a/next", "n-1", ip_address="10.21.0.50")).run()
    assert address(cluster, "next.a") == "10.21.0.50"


def test_a_crash_between_decision_and_write() -> None:
    cluster = ready()
    cluster.apply(vip("v", "s1"))
    cluster.hear()
    cluster.start()
    cluster.apply(pod("a/p", "n-1")).run()
    held = {status(cluster, "v")["v4ip"], address(cluster, "p.a")}
    assert held == {"10.21.0.2", "10.21.0.3"}
    ledger = cluster.state.reactor.allocator
    assert not ledger._pending
    assert cluster.world.size("Grant") == 0


def test_a_subnet_is_not_deleted_under_a_vip() -> None:
    cluster = ready(vip("v", "s1", type="switch_lb_vip"))
    cluster.delete("Subnet", "s1").run()
    assert ("Subnet", "s1") in cluster.api.objects
    cluster.delete("Vip", "v").run()
    assert ("Subnet", "s1") not in cluster.api.objects


def test_a_vip_that_goes_before_its_address_is_written() -> None:
    cluster = ready()
    cluster.apply(vip("v", "s1"))
    cluster.hear()
    cluster.delete("Vip", "v").run()
    assert ("Vip", "v") not in cluster.api.objects
    assert not cluster.state.reactor.allocator._pending
    cluster.apply(pod("a/p", "n-1", ip_address="10.21.0.2")).run()
    assert address(cluster, "p.a") == "10.21.0.2"


def test_a_router_port_with_another_mac() -> None:
    """A database that is built anew may have another one: the port and the status follow it."""
    cluster = ready(vip("v", "s1", type="switch_lb_vip", v4ip="10.21.0.50"))

    def drawn(content: dict[str, dict[str, dict[str, Any]]]) -> None:
        for row in content["Logical_Router_Port"].values():
            row["mac"] = "5a:6c:69:76:cc:23"

    cluster.database.edit(drawn)
    cluster.start()
    cluster.run()
    subset(port(cluster, "v."), addresses={"5a:6c:69:76:cc:23 10.21.0.50"})
    assert status(cluster, "v")["mac"] == "5a:6c:69:76:cc:23"
    assert not events(cluster, "Vip", "v")


def test_a_pod_that_runs_with_another_address_takes_nothing_over() -> None:
    cluster = ready(vip("v", "s1", v4ip="10.21.0.50"), pod("a/old", "n-1"))
    mine = cluster.get("Pod", "a/old")["metadata"]["annotations"]
    cluster.apply(
        merged(cluster.get("Pod", "a/old"), {"metadata": {"annotations": {**mine, "ovn.kubernetes.io/vip": "v"}}})
    )
    cluster.run()
    assert reserved(cluster, "v") == ""
    assert address(cluster, "old.a") == "10.21.0.2"
    cluster.apply(pod("a/new", "n-1", vip="v")).run()
    assert address(cluster, "new.a") == "10.21.0.50"


def test_addresses_of_ovn_eips_are_used() -> None:
    """Spec E.1: they count, and nobody else is given them."""
    eip = {
        "kind": "OvnEip",
        "metadata": {"name": "e", "labels": {"ovn.kubernetes.io/subnet": "s1"}},
        "spec": {"externalSubnet": "s1", "type": "nat"},
        "status": {"v4Ip": "10.21.0.2", "macAddress": "00:00:00:00:00:09", "type": "nat", "ready": True},
    }
    cluster = ready(eip, pod("a/thief", "n-1", ip_address="10.21.0.2"), pod("a/p", "n-1"))
    assert address(cluster, "p.a") == "10.21.0.3"
    assert "already used by eip/e" in events(cluster, "Pod", "a/thief", "AcquireAddressFailed")[0]
    found = cluster.get("Subnet", "s1")["status"]
    assert (found["v4usingIPs"], found["v4availableIPs"]) == (2, 254 - 1 - 2)
    assert found["v4usingIPrange"] == "10.21.0.2-10.21.0.3"
    cluster.delete("OvnEip", "e").run()
    assert address(cluster, "thief.a") == "10.21.0.2"


def test_addresses_of_iptables_eips_are_used() -> None:
    """Spec E.1, C.11: as Kube-OVN leaves them (D.15: spec, status and label filled in), though we do not serve them."""
    eip = {
        "kind": "IptablesEIP",
        "metadata": {"name": "e", "labels": {"ovn.kubernetes.io/subnet": "s1"}},
        "spec": {"externalSubnet": "s1", "natGwDp": "gw", "v4ip": "10.21.0.2", "macAddress": "00:00:00:00:00:09"},
        "status": {"ip": "10.21.0.2", "ready": True},
    }
    wished = {"kind": "IptablesEIP", "metadata": {"name": "w"}, "spec": {"externalSubnet": "s1", "v4ip": "10.21.0.4"}}
    cluster = ready(eip, wished, pod("a/thief", "n-1", ip_address="10.21.0.2"), pod("a/p", "n-1"))
    assert address(cluster, "p.a") == "10.21.0.3"
    assert "already used by iptables-eip/e" in events(cluster, "Pod", "a/thief", "AcquireAddressFailed")[0]
    found = cluster.get("Subnet", "s1")["status"]
    assert (found["v4usingIPs"], found["v4availableIPs"]) == (2, 254 - 1 - 2)
    cluster.delete("IptablesEIP", "e").run()
    assert address(cluster, "thief.a") == "10.21.0.2"


@pytest.mark.parametrize("taken", [False, True])
def test_counts_of_excluded_addresses(taken: bool) -> None:
    """Spec E.1: of IP objects those in excludeIps do not count, of Vips those that no pod has taken over do."""
    cluster = ready(
        subnet("s1", cidrBlock="10.21.0.0/24", namespaces=["a"], excludeIps=["10.21.0.50..10.21.0.59"]),
        vip("v", "s1", v4ip="10.21.0.50"),
        pod("a/p", "n-1", ip_address="10.21.0.51"),
        *([pod("a/user", "n-1", vip="v")] if taken else []),
    )
    assert address(cluster, "p.a") == "10.21.0.51"
    assert address(cluster, "user.a") == ("10.21.0.50" if taken else "")
    for _ in range(2):
        found = cluster.get("Subnet", "s1")["status"]
        assert found["v4usingIPs"] == (0 if taken else 1)
        assert found["v4availableIPs"] == 254 - 11 - found["v4usingIPs"]
        cluster.start()
        cluster.run()


def test_counts_of_a_dual_stack_subnet() -> None:
    """Spec E.1: the same number of users for both families, whoever has addresses of one only."""
    cluster = ready(pod("b/one", "n-1", ip_family="ipv4"), pod("b/two", "n-1"))
    found = cluster.get("Subnet", "s2")["status"]
    assert (found["v4usingIPs"], found["v6usingIPs"]) == (2, 2)
    assert (found["v4availableIPs"], found["v6availableIPs"]) == (254 - 1 - 2, 2**16 - 2 - 1 - 2)
    assert found["v6usingIPrange"] == "fd22::2"


def test_a_load_balancers_address_waits_for_the_router_of_an_interconnected_underlay() -> None:
    """D.13: it answers with the router's MAC, which is drawn with the router's address (D.2)."""
    place = subnet("u1", cidrBlock="10.60.0.0/24", vlan="v", u2oInterconnection=True)
    cluster = ready(vip("lb", "u1", type="switch_lb_vip"), *underlay(), place)
    told = cluster.get("Vip", "lb")
    macs = {told["spec"]["macAddress"], told["status"]["mac"]}
    assert macs == {cluster.row("Logical_Router_Port", "ovn-cluster-u1")["mac"]}

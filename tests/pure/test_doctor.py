"""The doctor's checks: a healthy cluster has no finding, a planted defect exactly its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ovnbridge.ipam import SubnetUsage
from ovnbridge.operations.doctor_checks import examine
from ovnbridge.operations.findings import Binding, DatabaseState, Entries, Planned
from tests.support.cluster import Json, ip, merged, node, subnet, vpc
from tests.support.plant import Plant, port, running


def condition(**said: str) -> Json:
    return {"status": {"conditions": [said]}}


DYING = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["kubeovn.io/kube-ovn-controller"]}}


def two_leases(at: Plant) -> None:
    at.edit("IP", "b.app", {"spec": {"v4IpAddress": "10.20.0.5"}})


def two_pods(at: Plant) -> None:
    at.edit("Pod", "app/b", {"metadata": {"annotations": {"ovn.kubernetes.io/ip_address": "10.20.0.5"}}})


def two_ports(at: Plant) -> None:
    at.ports["b.app"] = port("app/b", "10.20.0.5")


def vip_and_lease(at: Plant) -> None:
    at.add({"kind": "Vip", "metadata": {"name": "v"}, "spec": {"subnet": "s", "v4ip": "10.20.0.5"}})


def other_annotation(at: Plant) -> None:
    at.edit("Pod", "app/a", {"metadata": {"annotations": {"ovn.kubernetes.io/ip_address": "10.20.0.99"}}})
    at.planned.append(Planned("patch", "Pod", "app/a"))


def other_port(at: Plant) -> None:
    at.ports["a.app"] = port("app/a", "10.20.0.99")
    at.planned.append(Planned("update", "Logical_Switch_Port", "a.app"))


def other_address(at: Plant) -> None:
    at.edit("Pod", "app/a", {"status": {"podIP": "10.20.0.99", "podIPs": [{"ip": "10.20.0.99"}]}})


def no_lease_and_why(at: Plant) -> None:
    at.drop("IP", "a.app")
    at.warnings["Pod", "app/a"] = ("AcquireAddressFailed: NoAvailableAddress: none in subnet s",)


def refused(at: Plant) -> None:
    at.add(vpc("bad"))
    at.warnings["Vpc", "bad"] = ("ValidateVpcFailed: nextHopIP 'x' in policyRoutes is not a list of addresses",)


def told_by_condition_and_event(at: Plant) -> None:
    conditions = [
        {"type": name, "status": status, "reason": "ValidateLogicalSwitchFailed", "message": "why"}
        for name, status in (("Validated", "False"), ("Ready", "False"), ("Error", "True"))
    ]
    at.edit("Subnet", "s", {"status": {"conditions": conditions}})
    at.warnings["Subnet", "s"] = ("ValidateLogicalSwitchFailed: why",)


def patched_beside(at: Plant) -> None:
    """The port comes back; that the pod's annotations are not right is another matter."""
    del at.ports["a.app"]
    at.planned += [Planned("insert", "Logical_Switch_Port", "a.app"), Planned("patch", "Pod", "app/a", "x: 1 → 2")]


def made_anew(at: Plant) -> None:
    at.planned += [Planned("delete", "IP", "a.app"), Planned("create", "IP", "a.app")]


def unlooked_at(at: Plant) -> None:
    at.unread["NAT"] = 3


def vips(at: Plant) -> None:
    at.entries.append(Entries("Load_Balancer", "lb", "vips", ("10.96.0.1:443", "10.96.0.10:53")))


def nameless_chassis(at: Plant) -> None:
    at.chassis["c-9"] = ""


def wrong_database(at: Plant) -> None:
    at.databases[2] = DatabaseState(
        "OVN_Northbound", "tcp:3", False, reason="the server has no database OVN_Northbound"
    )


def lease_of_no_pod(at: Plant) -> None:
    at.drop("Pod", "app/a")
    del at.ports["a.app"]
    at.planned.append(Planned("delete", "IP", "a.app"))


def lease_of_no_node(at: Plant) -> None:
    at.drop("Node", "n-2")
    del at.chassis["c-2"], at.ports["node-n-2"]
    at.drop("Pod", "app/b")
    at.drop("IP", "b.app")
    del at.ports["b.app"]


def no_lease(at: Plant) -> None:
    at.drop("IP", "a.app")
    at.planned.append(Planned("create", "IP", "a.app"))


def no_port(at: Plant) -> None:
    del at.ports["a.app"]
    at.planned.append(Planned("insert", "Logical_Switch_Port", "a.app"))


def port_of_no_pod(at: Plant) -> None:
    at.ports["gone.app"] = port("app/gone", "10.20.0.9")
    at.planned.append(Planned("delete", "Logical_Switch_Port", "gone.app"))


def port_of_no_node(at: Plant) -> None:
    at.ports["node-x"] = port(address="100.64.0.9", switch="join")
    at.wanted.add(("Logical_Switch_Port", "node-x"))


def foreign(at: Plant) -> None:
    at.other["ACL"] = {("pg", "x"): {"external_ids": {}}}


def foreign_but_marked(at: Plant) -> None:
    at.other["Port_Group"] = {"pg": {"external_ids": {"vendor": "kube-ovn"}}}


def drifted(at: Plant) -> None:
    at.planned.append(Planned("update", "Logical_Switch", "s"))


def chassis_of_no_node(at: Plant) -> None:
    at.chassis["c-9"] = "n-9"


def node_of_no_chassis(at: Plant) -> None:
    at.add(node("n-3", "192.168.0.3", ip_address="100.64.0.4"), ip("n-3", "join", "100.64.0.4"))


def unbound(at: Plant) -> None:
    at.bindings["a.app"] = Binding()


def elsewhere(at: Plant) -> None:
    at.bindings["a.app"] = Binding("c-2", True)


def down(at: Plant) -> None:
    at.bindings["a.app"] = Binding("c-1", False)


def full(at: Plant) -> None:
    at.usage["s"] = SubnetUsage(228, 25, "", "", 0, "", "")


def not_ready(at: Plant) -> None:
    at.edit("Subnet", "s", condition(type="Ready", status="False", reason="ValidateLogicalSwitchFailed", message="why"))


def erroneous(at: Plant) -> None:
    at.edit("Subnet", "s", condition(type="Error", status="True", reason="x"))


def node_not_ready(at: Plant) -> None:
    at.edit("Node", "n-2", condition(type="Ready", status="False"))


def no_join(at: Plant) -> None:
    at.drop("IP", "node-n-2")


def other_join(at: Plant) -> None:
    at.edit("Node", "n-2", {"metadata": {"annotations": {"ovn.kubernetes.io/ip_address": "100.64.9.9"}}})


def subnet_waits(at: Plant) -> None:
    at.edit("Subnet", "s", DYING)


def vpc_waits(at: Plant) -> None:
    at.add(merged(vpc("old"), DYING))
    at.planned.append(Planned("patch", "Vpc", "old"))


def silent(at: Plant) -> None:
    at.databases[2] = DatabaseState("OVN_Northbound", "tcp:3", False)


def cut_off(at: Plant) -> None:
    at.databases[2] = DatabaseState("OVN_Northbound", "tcp:3", True, True, False, False)


def two_leaders(at: Plant) -> None:
    at.databases[2] = DatabaseState("OVN_Northbound", "tcp:3", True, True, True, True)


A, B = "Pod app/a", "Pod app/b"
DEFECTS: list[tuple[Callable[[Plant], None], str, tuple[str, ...], str]] = [
    (
        other_annotation,
        "address-differs",
        (A, "IP a.app"),
        "annotation says 10.20.0.99, the lease 10.20.0.5 the engine will change",
    ),
    (
        other_port,
        "address-differs",
        ("Logical_Switch_Port a.app", "IP a.app"),
        "has 10.20.0.99, the lease 10.20.0.5 the engine will change",
    ),
    (
        other_address,
        "address-differs",
        (A, "IP a.app"),
        "runs with 10.20.0.99, the lease says 10.20.0.5 recreate the pod",
    ),
    (no_lease_and_why, "pod-without-lease", (A, "IP a.app"), "NoAvailableAddress: none in subnet s it ends when"),
    (refused, "refused", ("Vpc bad",), "ValidateVpcFailed: nextHopIP 'x'"),
    (
        told_by_condition_and_event,
        "failing-condition",
        ("Subnet s",),
        "Validated is False, Ready is False, Error is True, ValidateLogicalSwitchFailed: why",
    ),
    (unlooked_at, "foreign-rows", ("NAT",), "3 in a table that nothing here looks at"),
    (vips, "foreign-entries", ("Load_Balancer lb",), "2 vips that nothing here asks for: 10.96.0.1:443, 10.96.0.10:53"),
    (nameless_chassis, "chassis-without-node", ("Chassis c-9",), "names no host"),
    (wrong_database, "database-unreachable", ("OVN_Northbound tcp:3",), "has no database OVN_Northbound"),
    (vip_and_lease, "double-lease", ("IP a.app", "Vip v"), "10.20.0.5"),
    (lease_of_no_pod, "lease-without-owner", ("IP a.app",), "will delete it"),
    (lease_of_no_node, "lease-without-owner", ("IP node-n-2",), "node n-2"),
    (no_lease, "pod-without-lease", (A, "IP a.app"), "will create it"),
    (no_port, "pod-without-port", (A, "IP a.app", "Logical_Switch_Port a.app"), "will add it"),
    (port_of_no_pod, "port-without-pod", ("Logical_Switch_Port gone.app",), "will delete it"),
    (port_of_no_node, "port-without-pod", ("Logical_Switch_Port node-x",), "node x"),
    (foreign, "foreign-rows", ("ACL pg | x",), "without vendor"),
    (foreign_but_marked, "foreign-rows", ("Port_Group pg",), "with vendor"),
    (drifted, "drift", ("Logical_Switch s",), "will change it"),
    (chassis_of_no_node, "chassis-without-node", ("Chassis c-9",), "n-9"),
    (node_of_no_chassis, "node-without-chassis", ("Node n-3",), "ovn-controller"),
    (unbound, "unbound-port", (A, "Port_Binding a.app"), "no chassis"),
    (elsewhere, "port-on-wrong-chassis", (A, "Port_Binding a.app"), "c-2 (n-2)"),
    (down, "port-down", (A, "Port_Binding a.app"), "not up"),
    (full, "subnet-nearly-full", ("Subnet s",), "228 of 253 IPv4 addresses of 10.20.0.0/24 are in use, 25 remain"),
    (not_ready, "failing-condition", ("Subnet s",), "Ready is False, ValidateLogicalSwitchFailed: why"),
    (erroneous, "failing-condition", ("Subnet s",), "Error is True, x"),
    (node_not_ready, "failing-condition", ("Node n-2",), "Ready is False"),
    (no_join, "node-without-join", ("Node n-2", "IP node-n-2"), "no lease"),
    (other_join, "node-without-join", ("Node n-2", "IP node-n-2"), "100.64.9.9"),
    (subnet_waits, "stuck-deletion", ("Subnet s", "IP a.app", "IP b.app"), "waits for IP a.app, IP b.app"),
    (vpc_waits, "stuck-deletion", ("Vpc old",), "will change it"),
    (silent, "database-unreachable", ("OVN_Northbound tcp:3",), "no answer"),
    (cut_off, "database-disconnected", ("OVN_Northbound tcp:3",), "not connected"),
    (two_leaders, "database-leader", tuple(f"OVN_Northbound tcp:{i}" for i in (1, 2, 3)), "2 of 3"),
]


def test_a_healthy_cluster_has_no_finding() -> None:
    assert examine(Plant().facts()) == []


@pytest.mark.parametrize(("damage", "check", "objects", "words"), DEFECTS, ids=[d.__name__ for d, *_ in DEFECTS])
def test_a_defect_has_exactly_its_finding(
    damage: Callable[[Plant], None], check: str, objects: tuple[str, ...], words: str
) -> None:
    at = Plant()
    damage(at)
    (found,) = examine(at.facts())
    assert (found.check, found.objects) == (check, objects)
    assert words in f"{found.message} {found.action}"
    assert (found.severity == "note") == check.startswith("foreign-")


LEASE, PORT = "IP {}.app", "Logical_Switch_Port {}.app"
BOTH: list[tuple[Callable[[Plant], None], set[tuple[str, tuple[str, ...]]]]] = [
    (
        two_leases,
        {
            ("double-lease", (LEASE.format("a"), LEASE.format("b"))),
            ("address-differs", (B, LEASE.format("b"))),
            ("address-differs", (PORT.format("b"), LEASE.format("b"))),
        },
    ),
    (two_pods, {("double-pod-address", (A, B)), ("address-differs", (B, LEASE.format("b")))}),
    (
        two_ports,
        {
            ("double-port-address", (PORT.format("a"), PORT.format("b"))),
            ("address-differs", (PORT.format("b"), LEASE.format("b"))),
        },
    ),
    (patched_beside, {("pod-without-port", (A, LEASE.format("a"), PORT.format("a"))), ("drift", (A,))}),
    (made_anew, {("drift", (LEASE.format("a"),))}),
]


@pytest.mark.parametrize(("damage", "expected"), BOTH, ids=[d.__name__ for d, _ in BOTH])
def test_what_is_wrong_in_two_ways_is_told_in_two(
    damage: Callable[[Plant], None], expected: set[tuple[str, tuple[str, ...]]]
) -> None:
    at = Plant()
    damage(at)
    assert {(f.check, f.objects) for f in examine(at.facts())} == expected


def test_a_network_that_is_not_ours_is_nobody_s_loss() -> None:
    """A pod whose default interface is another network's has neither lease nor port here."""
    at = Plant()
    at.edit("Pod", "app/a", {"metadata": {"annotations": {"v1.multus-cni.io/default-network": "x/y"}}})
    at.drop("IP", "a.app")
    del at.ports["a.app"]
    assert [f.check for f in examine(at.facts())] == []


@pytest.mark.parametrize(
    "spec",
    [
        {"metadata": {"labels": {"ovn.kubernetes.io/ip_reserved": "true"}}},
        {"metadata": {"labels": {"ovn.kubernetes.io/ip_reserved": ""}}},
        {"spec": {"podType": "StatefulSet"}},
        {"spec": {"podType": "VirtualMachine"}},
        {"metadata": {"name": "u2o-interconnection.v.s"}, "spec": {"podName": "u2o-interconnection.v.s"}},
    ],
)
def test_leases_that_are_kept_on_purpose(spec: Json) -> None:
    at = Plant()
    at.add(merged(ip("app/gone", "s", "10.20.0.77"), spec))
    assert examine(at.facts()) == []


def test_what_shares_an_address_on_purpose() -> None:
    """A pod that takes over a Vip, a live migration, the same address in another subnet, a pod that has ended."""
    at = Plant()
    at.add({"kind": "Vip", "metadata": {"name": "v"}, "spec": {"subnet": "s", "v4ip": "10.20.0.5"}})
    at.edit("Pod", "app/a", {"metadata": {"annotations": {"ovn.kubernetes.io/vip": "v"}}})
    at.add(
        subnet("t", cidrBlock="10.20.0.0/24", vpc="other"), ip("app/c", "t", "10.20.0.6"), running("app/d", "10.20.0.6")
    )
    at.add(running("app/c", "10.20.0.6", logical_switch="t"))
    at.edit("Pod", "app/d", {"status": {"phase": "Failed"}, "spec": {"restartPolicy": "Never"}})
    at.ports["c.app"] = port("app/c", "10.20.0.6", switch="t")
    at.wanted.add(("Logical_Switch_Port", "c.app"))
    assert examine(at.facts()) == []


def test_a_wish_and_a_kept_vip_double_nothing() -> None:
    """An IP object that cannot be answered holds nothing; a StatefulSet keeps a Vip's address without its pod."""
    at = Plant()
    at.add({"kind": "IP", "metadata": {"name": "w.app"}, "spec": {"podName": "w", "namespace": "app", "subnet": "s"}})
    at.edit("IP", "w.app", {"spec": {"v4IpAddress": "10.20.0.5"}})
    at.add(merged(ip("app/web-0", "s", "10.20.0.77"), {"spec": {"podType": "StatefulSet"}}))
    label = {"labels": {"ovn.kubernetes.io/ip_reserved": "web-0.app"}}
    at.add({"kind": "Vip", "metadata": {"name": "v", **label}, "spec": {"subnet": "s", "v4ip": "10.20.0.77"}})
    assert examine(at.facts()) == []


def test_a_chassis_is_known_by_the_nodes_annotation_too() -> None:
    at = Plant()
    at.chassis["c-1"] = "n-1.example.com"
    at.edit("Node", "n-1", {"metadata": {"annotations": {"ovn.kubernetes.io/chassis": "c-1"}}})
    assert examine(at.facts()) == []
    at.edit("Node", "n-1", {"metadata": {"annotations": {"ovn.kubernetes.io/chassis": "c-0"}}})
    checks_found = {f.check for f in examine(at.facts())}
    assert checks_found == {"chassis-without-node", "node-without-chassis", "port-on-wrong-chassis"}


def test_a_virtual_machines_lease_bears_its_name() -> None:
    at = Plant()
    launcher = merged(
        running("app/virt-launcher-vm-x", "10.20.0.8"),
        {
            "metadata": {
                "ownerReferences": [{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "vm"}]
            }
        },
    )
    at.add(launcher, merged(ip("app/vm", "s", "10.20.0.8"), {"spec": {"podType": "VirtualMachine"}}))
    at.ports["vm.app"] = port("app/vm", "10.20.0.8")
    at.wanted.add(("Logical_Switch_Port", "vm.app"))
    assert examine(at.facts()) == []


def test_full_counts_each_family() -> None:
    at = Plant()
    at.edit("Subnet", "s", {"spec": {"cidrBlock": "10.20.0.0/24,fd00::/64"}})
    at.usage["s"] = SubnetUsage(240, 13, "", "", 1 << 60, "", "")
    (found,) = examine(at.facts())
    assert "IPv4" in found.message
    at.usage["s"] = SubnetUsage(227, 26, "", "", 1 << 60, "", "")
    assert examine(at.facts()) == []

"""Addresses that outlive their pods: StatefulSets and virtual machines (spec C.9), with the rules that end them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ovnbridge.compile.options import Options
from ovnbridge.model.resource import VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE
from tests.support.addresses import (
    BASE,
    S1,
    address,
    ippool,
    machine,
    machine_pod,
    notes,
    owned,
    port,
    ready,
    set_pod,
    stateful_set,
    subset,
)
from tests.support.cluster import Cluster, Json, pod, subnet

IDS = {"vendor": "kube-ovn", "ls": "s1", "pod": "a/web-0"}


def groups(cluster: Cluster, name: str) -> set[str]:
    """Port groups that a port is in."""
    return {
        str(key)
        for table, key in cluster.memory.row_keys()
        if table == "Port_Group" and ("Logical_Switch_Port", name) in cluster.row(table, key)["ports"]
    }


def web(replicas: int = 2, **options: str) -> Cluster:
    """A StatefulSet a/web with pods web-0 and web-1."""
    return ready(stateful_set("a/web", replicas, **options), set_pod("a/web-0", "n-1"), set_pod("a/web-1", "n-2"))


def test_the_object_says_what_it_is_for() -> None:
    assert web().get("IP", "web-0.a")["spec"]["podType"] == "StatefulSet"


@pytest.mark.parametrize("restart", [False, True])
def test_a_pod_comes_back_to_its_address(restart: bool) -> None:
    cluster = web()
    mac = cluster.get("IP", "web-0.a")["spec"]["macAddress"]
    uid = cluster.get("IP", "web-0.a")["metadata"]["uid"]
    assert groups(cluster, "web-0.a") == {"node.n.1", "s1.n.1"}
    cluster.delete("Pod", "a/web-0").run()
    if restart:
        cluster.start()
        cluster.run()
    subset(port(cluster, "web-0.a"), addresses={f"{mac} 10.21.0.2"}, external_ids=IDS)
    assert groups(cluster, "web-0.a") == set()
    cluster.apply(pod("a/other", "n-1"), pod("a/thief", "n-1", ip_address="10.21.0.2")).run()
    assert address(cluster, "other.a") == "10.21.0.4"
    assert not address(cluster, "thief.a")
    cluster.apply(set_pod("a/web-0", "n-2")).run()
    assert notes(cluster, "Pod", "a/web-0")["ip_address"] == "10.21.0.2"
    assert notes(cluster, "Pod", "a/web-0")["mac_address"] == mac
    assert cluster.get("IP", "web-0.a")["metadata"]["uid"] == uid
    assert groups(cluster, "web-0.a") == {"node.n.2", "s1.n.2"}


def test_nothing_is_written_for_a_kept_address_at_a_restart() -> None:
    cluster = web()
    cluster.delete("Pod", "a/web-0").run()
    written = list(cluster.written)
    cluster.start()
    assert cluster.run() == []
    assert cluster.written == written


ENDS: dict[str, Callable[[Cluster], object]] = {
    "the set is gone": lambda c: c.delete("StatefulSet", "a/web"),
    "the set is scaled down": lambda c: c.apply(stateful_set("a/web", 0)),
    "its pods are elsewhere now": lambda c: c.apply(stateful_set("a/web", 2, logical_switch="s2")),
    "the namespace left the subnet": lambda c: c.apply(subnet("s1", cidrBlock="10.21.0.0/24", namespaces=["b"])),
    "the subnet has other addresses": lambda c: c.apply(
        subnet("s1", cidrBlock="10.31.0.0/24", gateway="10.31.0.1", excludeIps=["10.31.0.1"], namespaces=["a"])
    ),
    "somebody deleted the lease": lambda c: c.delete("IP", "web-0.a"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("restart", [False, True])
def test_a_kept_address_ends(end: Callable[[Cluster], object], restart: bool) -> None:
    cluster = web()
    cluster.delete("Pod", "a/web-0").run()
    assert address(cluster, "web-0.a") == "10.21.0.2"
    end(cluster)
    if restart:
        cluster.start()
    cluster.run()
    assert not address(cluster, "web-0.a")
    assert port(cluster, "web-0.a") is None
    ledger = cluster.state.reactor.allocator.ledger
    assert ledger.lease("web-0.a") is None
    assert ("Pod", "a/web-1") in cluster.api.objects
    assert address(cluster, "web-1.a") == "10.21.0.3", "its pod lives"


@pytest.mark.parametrize("end", list(ENDS.values())[:5], ids=list(ENDS)[:5])
def test_nothing_ends_while_the_pod_lives(end: Callable[[Cluster], object]) -> None:
    cluster = web()
    uid = cluster.get("IP", "web-0.a")["metadata"]["uid"]
    end(cluster)
    cluster.run()
    assert cluster.get("IP", "web-0.a")["metadata"]["uid"] == uid
    assert port(cluster, "web-0.a") is not None
    cluster.delete("Pod", "a/web-0").run()
    assert not address(cluster, "web-0.a")


@pytest.mark.parametrize(
    ("replicas", "start", "kept"),
    [(3, 0, True), (2, 0, False), (1, 2, True), (1, 1, False), (0, 0, False)],
)
def test_ordinals(replicas: int, start: int, kept: bool) -> None:
    """Kept while ordinal < start + replicas."""
    cluster = ready(stateful_set("a/web", 3), set_pod("a/web-2", "n-1"))
    cluster.apply(stateful_set("a/web", replicas, start=start)).delete("Pod", "a/web-2").run()
    assert bool(address(cluster, "web-2.a")) is kept


def test_a_scaled_down_address_is_free_for_others() -> None:
    cluster = ready(subnet("tiny", cidrBlock="10.40.0.0/29"), stateful_set("a/web", 5, logical_switch="tiny"))
    cluster.apply(*(set_pod(f"a/web-{n}", logical_switch="tiny") for n in range(5))).run()
    cluster.apply(pod("a/late", "n-1", logical_switch="tiny")).run()
    assert not address(cluster, "late.a")
    cluster.delete("Pod", "a/web-4").run()
    assert not address(cluster, "late.a")
    cluster.apply(stateful_set("a/web", 4, logical_switch="tiny")).run()
    assert address(cluster, "late.a") == "10.40.0.6"


def test_a_moved_pod_that_is_back_before_anybody_looked() -> None:
    """Deletion and recreation come as one: what does not stay is exchanged, what stays is kept."""
    cluster = web()
    cluster.apply(stateful_set("a/web", 2, logical_switch="s2")).run()
    cluster.delete("Pod", "a/web-0").apply(set_pod("a/web-0", "n-1", logical_switch="s2"))
    cluster.delete("Pod", "a/web-1").apply(set_pod("a/web-1", "n-1"))
    cluster.run()
    assert cluster.get("IP", "web-0.a")["spec"]["subnet"] == "s2"
    assert cluster.get("IP", "web-1.a")["spec"]["subnet"] == "s1"


def test_a_changed_list_changes_the_address_of_the_next_pod() -> None:
    cluster = ready(stateful_set("a/web", 1, ip_pool="10.21.0.70"), set_pod("a/web-0", ip_pool="10.21.0.70"))
    assert address(cluster, "web-0.a") == "10.21.0.70"
    cluster.delete("Pod", "a/web-0").run()
    assert address(cluster, "web-0.a") == "10.21.0.70"
    cluster.apply(stateful_set("a/web", 1, ip_pool="10.21.0.80"), set_pod("a/web-0", ip_pool="10.21.0.80")).run()
    assert address(cluster, "web-0.a") == "10.21.0.80"
    assert notes(cluster, "Pod", "a/web-0")["ip_address"] == "10.21.0.80"


def test_a_named_pool_outside_the_namespaces_subnets_keeps() -> None:
    cluster = ready(
        subnet("s3", cidrBlock="10.23.0.0/24"),
        ippool("p", "s3", "10.23.0.50..10.23.0.59"),
        stateful_set("a/web", 1, ip_pool="p"),
        set_pod("a/web-0", ip_pool="p"),
    )
    cluster.delete("Pod", "a/web-0").run()
    assert address(cluster, "web-0.a") == "10.23.0.50"
    cluster.apply(ippool("p", "s3", "10.23.0.60..10.23.0.69")).run()
    cluster.apply(set_pod("a/web-0", ip_pool="p")).run()
    assert address(cluster, "web-0.a") == "10.23.0.60", "the pool that it asks for does not have the old one"


def test_pods_of_deployments_keep_nothing() -> None:
    cluster = ready(owned(pod("a/web-0", "n-1"), "ReplicaSet", "web", "apps/v1"), stateful_set("a/web", 1))
    assert cluster.get("IP", "web-0.a")["spec"]["podType"] == ""
    cluster.delete("Pod", "a/web-0").run()
    assert not address(cluster, "web-0.a")


# -- virtual machines


def test_a_machine_keeps_its_address() -> None:
    cluster = ready(machine("a/vm"), machine_pod("a/virt-launcher-vm-x", "vm"))
    assert (
        cluster.get("IP", "vm.a")["spec"] | {"podName": "vm", "podType": "VirtualMachine"}
        == cluster.get("IP", "vm.a")["spec"]
    )
    assert notes(cluster, "Pod", "a/virt-launcher-vm-x")["virtualmachine"] == "vm"
    subset(port(cluster, "vm.a"), external_ids={"vendor": "kube-ovn", "ls": "s1", "pod": "a/vm"})
    cluster.delete("Pod", "a/virt-launcher-vm-x").run()
    cluster.start()
    cluster.run()
    assert address(cluster, "vm.a") == "10.21.0.2"
    cluster.apply(machine_pod("a/virt-launcher-vm-y", "vm", "n-2")).run()
    assert notes(cluster, "Pod", "a/virt-launcher-vm-y")["ip_address"] == "10.21.0.2"
    cluster.delete("Pod", "a/virt-launcher-vm-y").delete("VirtualMachine", "a/vm").run()
    assert not address(cluster, "vm.a")
    assert port(cluster, "vm.a") is None


def test_two_pods_of_a_machine_share_one_port() -> None:
    cluster = ready(machine("a/vm"), machine_pod("a/launcher-1", "vm", "n-1"))
    cluster.apply(machine_pod("a/launcher-2", "vm", "n-2")).run()
    assert [key for kind, key in cluster.api.objects if kind == "IP" and key.endswith(".a")] == ["vm.a"]
    for name in ("launcher-1", "launcher-2"):
        assert notes(cluster, "Pod", f"a/{name}")["ip_address"] == "10.21.0.2"
    assert groups(cluster, "vm.a") == {"node.n.1", "s1.n.1"}
    cluster.delete("Pod", "a/launcher-1").run()
    assert groups(cluster, "vm.a") == {"node.n.2", "s1.n.2"}
    assert cluster.engine.desired.clashes() == []


def test_an_instance_without_a_machine() -> None:
    """Spec C.9: a VMI that no VM owns keeps the address while it is not being deleted."""
    instance: Json = {"kind": "VirtualMachineInstance", "metadata": {"name": "vm", "namespace": "a"}}
    cluster = ready(instance, machine_pod("a/launcher-1", "vm"))
    cluster.delete("Pod", "a/launcher-1").run()
    assert address(cluster, "vm.a") == "10.21.0.2"
    cluster.delete("VirtualMachineInstance", "a/vm").run()
    assert not address(cluster, "vm.a")


def test_without_the_flag_a_machines_pods_are_pods() -> None:
    cluster = Cluster(options=Options(keep_vm_ip=False))
    cluster.apply(*BASE, S1, machine("a/vm"), machine_pod("a/launcher-1", "vm")).run()
    assert address(cluster, "launcher-1.a") == "10.21.0.2"
    assert "virtualmachine" not in notes(cluster, "Pod", "a/launcher-1")
    cluster.delete("Pod", "a/launcher-1").run()
    assert not address(cluster, "launcher-1.a")


def test_a_machine_keeps_its_address_while_nobody_knows_machines() -> None:
    """The kinds are not served for a while: that says nothing about the machine."""
    cluster = ready(machine("a/vm"), machine_pod("a/launcher", "vm"))
    cluster.delete("Pod", "a/launcher").run()
    for resource in (VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE):
        cluster.state.source.replace(resource, None)
    cluster.state.reactor.settle()
    cluster.run()
    assert address(cluster, "vm.a") == "10.21.0.2"
    assert port(cluster, "vm.a") is not None
    for resource in (VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE):
        cluster.state.source.replace(resource, {})
    cluster.state.reactor.settle()
    cluster.run()
    assert not address(cluster, "vm.a")
    assert port(cluster, "vm.a") is None


def test_the_port_of_a_kept_address_stays_as_it_was() -> None:
    """Spec C.9: only its groups go."""
    cluster = web()
    cluster.apply(set_pod("a/web-0", "n-1", security_groups="x,y", port_vips="10.21.0.99", layer2_forward="true")).run()
    before = port(cluster, "web-0.a")
    assert before is not None
    assert before["external_ids"]["security_groups"] == "x/y"
    cluster.delete("Pod", "a/web-0").run()
    assert port(cluster, "web-0.a") == before
    assert groups(cluster, "web-0.a") == set()

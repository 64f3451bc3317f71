"""The doctor's checks: a healthy cluster has no finding, a planted defect exactly its own."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ovnbridge.cli import main
from ovnbridge.controller import KINDS
from ovnbridge.ipam import SubnetUsage
from ovnbridge.model.crd.codec import convert
from ovnbridge.model.crd.kinds import KINDS as CRDS
from ovnbridge.operations import doctor_node
from ovnbridge.operations.doctor import southbound_of
from ovnbridge.operations.doctor_checks import examine
from ovnbridge.operations.doctor_node import Link, NodeFacts, Port
from ovnbridge.operations.findings import Binding, DatabaseState, Facts, Planned, Southbound
from tests.support.cluster import Json, ip, key_of, merged, node, pod, subnet, vpc

SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
PARITY = SHARED / "reference" / "parity"
TYPES = {**{info.resource.kind: info.type for info in CRDS.values()}, **{r.kind: t for r, t in KINDS}}


def running(name: str, address: str, on: str = "n-1", **notes: str) -> Json:
    said = {"allocated": "true", "routed": "true", "ip_address": address, "logical_switch": "s", **notes}
    return pod(name, on=on, phase="Running", **said)


def port(owner: str = "", address: str = "", switch: str = "s", **more: Any) -> dict[str, Any]:
    ids = {"vendor": "kube-ovn", "ls": switch} | ({"pod": owner} if owner else {})
    return {"type": "", "addresses": frozenset({f"00:00:00:00:00:01 {address}"}), "external_ids": ids, **more}


class Plant:
    """A healthy cluster of two nodes and two pods, to be damaged."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.add(
            vpc("ovn-cluster"),
            subnet("s", cidrBlock="10.20.0.0/24", gateway="10.20.0.1", vpc="ovn-cluster", provider="ovn"),
            subnet("join", cidrBlock="100.64.0.0/16", gateway="100.64.0.1", vpc="ovn-cluster", provider="ovn"),
            *(node(f"n-{i}", f"192.168.0.{i}", ip_address=f"100.64.0.{i + 1}", allocated="true") for i in (1, 2)),
            *(ip(f"n-{i}", "join", f"100.64.0.{i + 1}") for i in (1, 2)),
            running("app/a", "10.20.0.5"),
            running("app/b", "10.20.0.6", on="n-2"),
            ip("app/a", "s", "10.20.0.5"),
            ip("app/b", "s", "10.20.0.6"),
            pod("app/host", on="n-1", phase="Running", spec={"hostNetwork": True}),
        )
        self.ports: dict[str, dict[str, Any]] = {
            "node-n-1": port(address="100.64.0.2", switch="join"),
            "node-n-2": port(address="100.64.0.3", switch="join"),
            "a.app": port("app/a", "10.20.0.5"),
            "b.app": port("app/b", "10.20.0.6"),
            "s-ovn-cluster": {"type": "router", "addresses": frozenset({"router"}), "external_ids": {"ls": "s"}},
        }
        self.other: dict[str, dict[Any, dict[str, Any]]] = {"NB_Global": {(): {"external_ids": {}}}}
        self.wanted: set[tuple[str, Any]] = {("Logical_Switch_Port", name) for name in self.ports}
        self.planned: list[Planned] = []
        self.usage = {"s": SubnetUsage(2, 251, "", "", 0, "", "")}
        self.chassis = {"c-1": "n-1", "c-2": "n-2"}
        self.bindings = {"a.app": Binding("c-1", True), "b.app": Binding("c-2", True)}
        self.databases = [DatabaseState("OVN_Northbound", f"tcp:{i}", True, True, True, i == 1) for i in (1, 2, 3)]

    def add(self, *objects: Json) -> None:
        for obj in objects:
            self.objects[key_of(obj)] = copy.deepcopy(obj)

    def edit(self, kind: str, key: str, patch: Json) -> None:
        self.objects[kind, key] = merged(self.objects[kind, key], patch)

    def drop(self, kind: str, key: str) -> None:
        del self.objects[kind, key]

    def facts(self) -> Facts:
        typed: dict[str, dict[str, Any]] = {}
        for (kind, key), obj in self.objects.items():
            typed.setdefault(kind, {})[key] = convert(obj, TYPES[kind])
        return Facts(
            objects=typed,
            rows={"Logical_Switch_Port": self.ports, **self.other},
            wanted=frozenset(self.wanted),
            planned=tuple(self.planned),
            usage=self.usage,
            southbound=Southbound(self.chassis, self.bindings),
            databases=tuple(self.databases),
        )


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
    (two_leases, "double-lease", ("IP a.app", "IP b.app"), "10.20.0.5"),
    (two_pods, "double-pod-address", (A, B), "10.20.0.5"),
    (two_ports, "double-port-address", ("Logical_Switch_Port a.app", "Logical_Switch_Port b.app"), "10.20.0.5"),
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
    assert (found.severity == "note") == (check == "foreign-rows")


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
        {"metadata": {"ownerReferences": [{"kind": "VirtualMachineInstance", "name": "vm", "uid": "1"}]}},
    )
    at.add(launcher, merged(ip("app/vm", "s", "10.20.0.8"), {"spec": {"podType": "VirtualMachine"}}))
    at.ports["vm.app"] = port("app/vm", "10.20.0.8")
    at.wanted.add(("Logical_Switch_Port", "vm.app"))
    assert examine(at.facts()) == []


def test_other_peoples_links_are_left_alone() -> None:
    links = {**healthy_node().links, "my_h": Link("my_h", 1500), "veth0": Link("veth0", 1500)}
    assert doctor_node.examine(Plant().facts(), msgspec.structs.replace(healthy_node(), links=links)) == []


def test_full_counts_each_family() -> None:
    at = Plant()
    at.edit("Subnet", "s", {"spec": {"cidrBlock": "10.20.0.0/24,fd00::/64"}})
    at.usage["s"] = SubnetUsage(240, 13, "", "", 1 << 60, "", "")
    (found,) = examine(at.facts())
    assert "IPv4" in found.message
    at.usage["s"] = SubnetUsage(227, 26, "", "", 1 << 60, "", "")
    assert examine(at.facts()) == []


# -- on a node


def healthy_node() -> NodeFacts:
    return NodeFacts(
        name="n-1",
        bridges=frozenset({"br-int"}),
        ports=(Port("abc_h", "a.app", "app/a", "/run/netns/x"),),
        attached=frozenset({"abc_h", "ovn0"}),
        links={"abc_h": Link("abc_h", 1400), "ovn0": Link("ovn0", 1400), "eth0": Link("eth0", 1500)},
    )


def with_port(**changes: Any) -> dict[str, Any]:
    return {"ports": (msgspec.structs.replace(healthy_node().ports[0], **changes),)}


def with_link(name: str, mtu: int) -> dict[str, Any]:
    return {"links": {**healthy_node().links, name: Link(name, mtu)}}


NODE_DEFECTS: list[tuple[dict[str, Any], str, tuple[str, ...], str]] = [
    ({"switch": False, "bridges": frozenset(), "ports": ()}, "ovs-down", ("Node n-1",), "ovsdb-server"),
    ({"bridges": frozenset({"br-ex"})}, "no-integration-bridge", ("Node n-1",), "br-int"),
    ({"controller": "not connected"}, "ovn-controller-disconnected", ("Node n-1",), "not connected"),
    ({"controller": ""}, "ovn-controller-disconnected", ("Node n-1",), "not running"),
    ({"ports": ()}, "pod-without-ovs-port", ("Pod app/a",), "a.app"),
    (
        {"ports": (*healthy_node().ports, Port("old_h", "old.app", "app/old"))},
        "ovs-port-without-pod",
        ("Interface old_h",),
        "app/old",
    ),
    (with_port(netns_exists=False), "stale-netns", ("Interface abc_h",), "/run/netns/x"),
    (with_port(error="No such device"), "ovs-port-error", ("Interface abc_h", "Pod app/a"), "No such device"),
    (with_link("0123456789ab_h", 1400), "stale-veth", ("Link 0123456789ab_h",), "ip link del 0123456789ab_h"),
    (with_link("abc_h", 1500), "mtu-mismatch", ("Pod app/a", "Link abc_h"), "1500, ovn0 says 1400"),
]


def test_a_healthy_node_has_no_finding() -> None:
    assert doctor_node.examine(Plant().facts(), healthy_node()) == []


@pytest.mark.parametrize(("changes", "check", "objects", "words"), NODE_DEFECTS, ids=[d[1] for d in NODE_DEFECTS])
def test_a_defect_of_a_node(changes: dict[str, Any], check: str, objects: tuple[str, ...], words: str) -> None:
    found = doctor_node.examine(Plant().facts(), msgspec.structs.replace(healthy_node(), **changes))
    assert [(f.check, f.objects) for f in found] == [(check, objects)]
    assert words in f"{found[0].message} {found[0].action}"


def test_the_subnets_mtu_goes_before_the_nodes() -> None:
    at = Plant()
    at.edit("Subnet", "s", {"spec": {"mtu": 1300}})
    (found,) = doctor_node.examine(at.facts(), healthy_node())
    assert (found.check, "1400, subnet s says 1300" in found.message) == ("mtu-mismatch", True)
    at.edit("Subnet", "s", {"spec": {"mtu": 1400}})
    assert doctor_node.examine(at.facts(), healthy_node()) == []


def test_ports_are_those_of_pods() -> None:
    row = {"name": "abc_h", "error": None, "external_ids": {"vendor": "kube-ovn", "iface-id": "a.app"}}
    mine = {**row, "external_ids": {**row["external_ids"], "pod_name": "a", "pod_namespace": "app", "pod_netns": "/x"}}
    found = list(doctor_node.ports_of({"1": row, "2": mine}, lambda path: False))
    assert found == [Port("abc_h", "a.app", "app/a", "/x", netns_exists=False)]


# -- the command


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main(["doctor", *arguments, "--output", "json"])
    return status, json.loads(capsys.readouterr().out)


def checks(document: dict[str, Any], *, notes: bool = False) -> set[tuple[str, str]]:
    return {
        (f["check"], name) for f in document["findings"] if notes or f["severity"] != "note" for name in f["objects"]
    }


@pytest.mark.skipif(not PARITY.is_dir(), reason="no shared/reference/parity beside the checkout")
class TestOffline:
    def inputs(self, scenario: str) -> list[str]:
        return ["--from-dir", str(PARITY / scenario), "--nb", str(PARITY / scenario / "nb.db")]

    @pytest.mark.parametrize("scenario", ["01-basics", "02-vpc", "07-underlay"])
    def test_what_kube_ovn_wrote_is_healthy(self, scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
        status, document = run(capsys, *self.inputs(scenario))
        assert (status, checks(document)) == (0, set())
        assert {f["check"] for f in document["findings"]} <= {"foreign-rows"}

    def test_addresses(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Vips count as used addresses, which is all that may be found."""
        _, document = run(capsys, *self.inputs("06-addresses"))
        assert checks(document) <= {("drift", "Subnet ad-1")}

    def test_planted_defects(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        objects = json.loads((PARITY / "01-basics" / "k8s.json").read_text())
        objects["pods"] = [p for p in objects["pods"] if p["metadata"]["name"] != "c2"]
        lease = next(i for i in objects["ips"] if i["metadata"]["name"] == "web1.dist")
        twin = copy.deepcopy(lease)
        twin["metadata"] |= {"name": "twin.dist", "uid": "twin"}
        twin["metadata"]["labels"]["ovn.kubernetes.io/ip_reserved"] = "true"
        twin["spec"]["podName"] = "twin"
        objects["ips"].append(twin)
        (tmp_path / "objects.json").write_text(json.dumps(objects))
        arguments = ["--from-dir", str(tmp_path), "--nb", str(PARITY / "01-basics" / "nb.db")]
        status, document = run(capsys, *arguments)
        assert status == 2
        found = checks(document)
        assert {("lease-without-owner", "IP c2.cent"), ("double-lease", "IP twin.dist")} <= found
        assert ("double-lease", "IP web1.dist") in found
        remedies = {f["objects"][0]: f["action"] for f in document["findings"] if f["check"] == "lease-without-owner"}
        assert remedies == {"IP c2.cent": "the engine will delete it"}

    def test_text_and_unreadable_objects(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        objects = json.loads((PARITY / "01-basics" / "k8s.json").read_text())
        (tmp_path / "objects.json").write_text(json.dumps(objects))
        bad = {"kind": "Subnet", "metadata": {"name": "bad"}, "spec": {"cidrBlock": 7}}
        (tmp_path / "more.json").write_text(json.dumps(bad))
        assert main(["doctor", "--from-dir", str(tmp_path), "--nb", str(PARITY / "01-basics" / "nb.db")]) == 2
        out = capsys.readouterr().out
        assert "error: unreadable-object: Subnet bad:" in out
        assert "not examined: OVN SB" in out
        assert out.splitlines()[-1].startswith("1 errors, 0 warnings")

    def test_without_inputs_it_cannot_look(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor", "--from-dir", str(tmp_path), "--nb", str(tmp_path / "none")]) == 1
        assert main(["doctor", *self.inputs("01-basics"), "--sb", str(tmp_path / "none")]) == 1
        assert main(["doctor", *self.inputs("01-basics"), "--fix"]) == 1
        assert "--fix needs a running cluster" in capsys.readouterr().err

    def test_a_node_without_open_vswitch(self, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
        monkeypatch.setattr("ovnbridge.operations.doctor_node._SECONDS", 0.2)
        arguments = ["--node", "node1", "--ovs", f"unix:{tmp_path}/none"]
        status, document = run(capsys, *self.inputs("01-basics"), *arguments)
        assert (status, checks(document)) == (2, {("ovs-down", "Node node1")})
        assert document["examined"] == {"southbound": False, "node": "node1"}


def test_southbound_rows() -> None:
    rows = {
        "Chassis": {"u1": {"name": "c-1", "hostname": "n-1"}},
        "Port_Binding": {
            "1": {"logical_port": "a.app", "chassis": "u1", "up": True, "type": ""},
            "2": {"logical_port": "b.app", "chassis": None, "up": None, "type": ""},
            "3": {"logical_port": "s-v", "chassis": None, "up": None, "type": "patch"},
        },
    }
    assert southbound_of(rows) == Southbound({"c-1": "n-1"}, {"a.app": Binding("c-1", True), "b.app": Binding()})


SB_SCHEMA = Path("/usr/share/ovn/ovn-sb.ovsschema")


@pytest.mark.skipif(
    not PARITY.is_dir() or not SB_SCHEMA.exists() or shutil.which("ovsdb-tool") is None, reason="needs OVN, parity"
)
def test_a_real_southbound_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that ovsdb-tool made: node1 and a stranger are registered, web1's port is bound nowhere."""

    def insert(table: str, **row: Any) -> Json:
        return {"op": "insert", "table": table, "row": row}

    encap = {"uuid-name": "e1", **insert("Encap", type="geneve", ip="10.0.0.1", chassis_name="c-1")}
    other = {"uuid-name": "e2", **insert("Encap", type="geneve", ip="10.0.0.2", chassis_name="c-9")}
    datapath = {"uuid-name": "dp", **insert("Datapath_Binding", tunnel_key=1)}
    operations = [
        "OVN_Southbound", encap, other, datapath,
        {"uuid-name": "c1", **insert("Chassis", name="c-1", hostname="node1", encaps=["named-uuid", "e1"])},
        insert("Chassis", name="c-9", hostname="stranger", encaps=["named-uuid", "e2"]),
        insert("Port_Binding", logical_port="web1.dist", datapath=["named-uuid", "dp"], tunnel_key=1),
        insert("Port_Binding", logical_port="web2.dist", datapath=["named-uuid", "dp"], tunnel_key=2,
               chassis=["named-uuid", "c1"], up=True),
    ]  # fmt: skip
    database = tmp_path / "sb.db"
    subprocess.run(["ovsdb-tool", "create", database, SB_SCHEMA], check=True)
    subprocess.run(["ovsdb-tool", "transact", database, json.dumps(operations)], check=True, capture_output=True)
    basics = PARITY / "01-basics"
    inputs = ["--from-dir", str(basics), "--nb", str(basics / "nb.db"), "--sb", str(database)]
    status, document = run(capsys, *inputs)
    assert (status, document["examined"]["southbound"]) == (2, True)
    found = checks(document)
    pods = {p["metadata"]["name"]: p["spec"]["nodeName"] for p in json.loads((basics / "k8s.json").read_text())["pods"]}
    assert {("chassis-without-node", "Chassis c-9"), ("unbound-port", "Port_Binding web1.dist")} <= found
    assert {("node-without-chassis", f"Node node{i}") for i in (2, 3)} <= found
    assert (("port-on-wrong-chassis", "Port_Binding web2.dist") in found) == (pods["web2"] != "node1")


class TestFix:
    @pytest.mark.parametrize(
        ("status", "body", "wanted"), [(200, {"rows": 3, "objects": 2}, None), (409, {}, "409"), (0, {}, "http://")]
    )
    async def test_it_asks_the_controller(self, status: int, body: Json, wanted: str | None) -> None:
        """--fix is one POST to the controller; a controller that does not lead, or none, is said so."""
        import argparse

        from ovnbridge.observe.http import HealthServer
        from ovnbridge.operations.doctor import fix
        from ovnbridge.operations.inputs import InputError

        asked: list[str] = []

        def check() -> dict[str, Any] | None:
            asked.append("self-check")
            return body if status == 200 else None

        server = HealthServer()
        server.action("self-check", check)
        await server.listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.ports[0]}"
        if not status:
            await server.close()
        values = argparse.Namespace(controller=url, kubeconfig="")
        try:
            if wanted is None:
                assert await fix(values) == {"controller": url, **body}
            else:
                with pytest.raises(InputError, match=wanted):
                    await asyncio.wait_for(fix(values), 20)
            assert asked == (["self-check"] if status else [])
        finally:
            await server.close()

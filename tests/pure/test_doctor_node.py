"""The doctor's checks of a node: a healthy one has no finding, a planted defect exactly its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ovnbridge.operations import doctor_node
from ovnbridge.operations.doctor_node import Link, NodeFacts, Port
from tests.support.plant import Plant


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


def test_other_peoples_links_are_left_alone() -> None:
    links = {**healthy_node().links, "my_h": Link("my_h", 1500), "veth0": Link("veth0", 1500)}
    assert doctor_node.examine(Plant().facts(), msgspec.structs.replace(healthy_node(), links=links)) == []

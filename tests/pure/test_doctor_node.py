"""The doctor's checks of a node: a healthy one has no finding, a planted defect exactly its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ovnbridge.node.host_kernel import HostState
from ovnbridge.node.plan import HostAddress, HostLink, HostRoute
from ovnbridge.operations import doctor_node
from ovnbridge.operations.doctor_node import NodeFacts, Port
from ovnbridge.operations.findings import Facts
from ovnbridge.operations.node_facts import ports_of
from tests.support.cluster import Json
from tests.support.plant import Plant

MAC = "00:00:00:00:00:01"


def cluster(**notes: str) -> Plant:
    """A cluster whose node n-1 knows all of its join address; subnet s is routed through it."""
    at = Plant()
    said = {"mac_address": MAC, "cidr": "100.64.0.0/16", "gateway": "100.64.0.1", "chassis": "c-1", **notes}
    at.edit("Node", "n-1", {"metadata": {"annotations": {f"ovn.kubernetes.io/{k}": v for k, v in said.items()}}})
    at.edit("Subnet", "s", {"status": {"conditions": [{"type": "Validated", "status": "True"}]}})
    return at


def facts() -> Facts:
    return cluster().facts()


def link(name: str, mtu: int = 1400, **more: Any) -> HostLink:
    return HostLink(**{"name": name, "index": 1, "mtu": mtu, "up": True, **more})


ROUTE = HostRoute(destination="10.20.0.0/24", gateway="100.64.0.1")


def healthy_node() -> NodeFacts:
    links = {"abc_h": link("abc_h"), "ovn0": link("ovn0", mac=MAC), "eth0": link("eth0", 1500)}
    tunnel = {"ovn-encap-ip": "192.168.0.9", "ovn-encap-type": "geneve"}
    addresses = {"eth0": "192.168.0.9/24", "ovn0": "100.64.0.2/16"}
    return NodeFacts(
        name="n-1",
        ids={"system-id": "c-1", "ovn-remote": "tcp:1.2.3.4:6642", **tunnel},
        bridges=frozenset({"br-int"}),
        ports=(Port("abc_h", "a.app", "app/a", "/run/netns/x"),),
        attached=frozenset({"abc_h", "ovn0"}),
        mtu_request=1400,
        links=links,
        host=HostState(
            links=links,
            addresses=tuple(HostAddress(link=name, address=text) for name, text in addresses.items()),
            routes={"ovn0": (HostRoute(destination="100.64.0.0/16"), ROUTE)},
        ),
    )


def with_port(**changes: Any) -> dict[str, Any]:
    return {"ports": (msgspec.structs.replace(healthy_node().ports[0], **changes),)}


def with_link(name: str, mtu: int = 1400, **more: Any) -> dict[str, Any]:
    return {"links": {**healthy_node().links, name: link(name, mtu, **more)}}


def without_link(name: str) -> dict[str, Any]:
    return {"links": {known: found for known, found in healthy_node().links.items() if known != name}}


def with_host(**changes: Any) -> dict[str, Any]:
    return {"host": msgspec.structs.replace(healthy_node().host, **changes)}


OVN0 = ("Link ovn0",)
NODE_DEFECTS: list[tuple[dict[str, Any], str, tuple[str, ...], str]] = [
    (
        {"switch_problem": "unix:/x: no such file", "ids": {}, "bridges": frozenset(), "ports": ()},
        "ovs-down",
        ("Node n-1",),
        "unix:/x: no such file",
    ),
    ({"bridges": frozenset({"br-ex"})}, "no-integration-bridge", ("Node n-1",), "br-int"),
    ({"controller": "not connected"}, "ovn-controller-disconnected", ("Node n-1",), "ovn-remote is tcp:1.2.3.4:6642"),
    ({"controller": ""}, "ovn-controller-disconnected", ("Node n-1",), "not running"),
    ({"agent": "no answer on port 10665"}, "agent-not-ready", ("Node n-1",), "10665 see the log of kube-ovn-cni"),
    ({"ids": {"system-id": "c-7"}}, "chassis-differs", ("Node n-1",), "chassis c-7, the node's annotation says c-1"),
    ({"ports": ()}, "pod-without-ovs-port", ("Pod app/a",), "a.app"),
    (
        {"ports": (*healthy_node().ports, Port("old_h", "old.app", "app/old"))},
        "ovs-port-without-pod",
        ("Interface old_h",),
        "app/old",
    ),
    (with_port(netns_exists=False), "stale-netns", ("Interface abc_h",), "/run/netns/x"),
    (with_port(error="No such device"), "ovs-port-error", ("Interface abc_h", "Pod app/a"), "No such device"),
    (without_link("abc_h"), "port-without-link", ("Interface abc_h", "Pod app/a"), "is gone, its port is not"),
    (with_link("abc_h", up=False), "link-down", ("Interface abc_h", "Pod app/a"), "ip link set abc_h up"),
    (with_link("0123456789ab_h"), "stale-veth", ("Link 0123456789ab_h",), "ip link del 0123456789ab_h"),
    (with_link("abc_h", 1500), "mtu-mismatch", ("Pod app/a", "Link abc_h"), "1500, ovn0 says 1400"),
    (with_link("eth0", 1450), "mtu-mismatch", ("Link ovn0", "Link eth0"), "1400, of which 1350 fit through eth0"),
    (without_link("ovn0"), "node-interface", OVN0, "does not exist"),
    (with_link("ovn0", mac=MAC, up=False), "node-interface", OVN0, "is down"),
    (with_link("ovn0", mac="00:00:00:00:00:09"), "node-interface", OVN0, f"the node's annotation says {MAC}"),
    ({"mtu_request": 1300}, "node-interface", OVN0, "MTU is 1400, the agent says 1300"),
    (with_host(addresses=healthy_node().host.addresses[:1]), "node-interface", OVN0, "has not 100.64.0.2/16"),  # type: ignore[union-attr]
    (with_host(routes={"ovn0": (HostRoute(destination="100.64.0.0/16"),)}), "node-interface", OVN0, "10.20.0.0/24"),
]


def test_a_healthy_node_has_no_finding() -> None:
    assert doctor_node.examine(facts(), healthy_node()) == []


@pytest.mark.parametrize(
    ("changes", "check", "objects", "words"), NODE_DEFECTS, ids=[f"{n}-{d[1]}" for n, d in enumerate(NODE_DEFECTS)]
)
def test_a_defect_of_a_node(changes: dict[str, Any], check: str, objects: tuple[str, ...], words: str) -> None:
    found = doctor_node.examine(facts(), msgspec.structs.replace(healthy_node(), **changes))
    assert [(f.check, f.objects) for f in found] == [(check, objects)]
    assert words in f"{found[0].message} {found[0].action}"


def test_interfaces_that_are_in_the_sandbox_have_no_link_here() -> None:
    changes = {**with_port(type="internal"), **without_link("abc_h")}
    assert doctor_node.examine(facts(), msgspec.structs.replace(healthy_node(), **changes)) == []


def test_a_virtual_machine_s_port_bears_its_name() -> None:
    at = cluster()
    owner = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "vm"}
    labels: Json = {"metadata": {"labels": {"vm.kubevirt.io/name": "vm"}, "ownerReferences": [owner]}}
    at.edit("Pod", "app/a", labels)
    node = msgspec.structs.replace(healthy_node(), **with_port(iface_id="vm.app", pod="app/vm"))
    assert doctor_node.examine(at.facts(), node) == []


def test_the_subnets_mtu_goes_before_the_nodes() -> None:
    at = cluster()
    at.edit("Subnet", "s", {"spec": {"mtu": 1300}})
    (found,) = doctor_node.examine(at.facts(), healthy_node())
    assert (found.check, "1400, subnet s says 1300" in found.message) == ("mtu-mismatch", True)
    at.edit("Subnet", "s", {"spec": {"mtu": 1400}})
    assert doctor_node.examine(at.facts(), healthy_node()) == []


def test_ports_are_those_of_pods() -> None:
    row = {"name": "abc_h", "error": None, "type": "", "external_ids": {"vendor": "kube-ovn", "iface-id": "a.app"}}
    mine = {**row, "external_ids": {**row["external_ids"], "pod_name": "a", "pod_namespace": "app", "pod_netns": "/x"}}
    found = list(ports_of({"1": row, "2": mine}, lambda path: False))
    assert found == [Port("abc_h", "a.app", "app/a", "/x", netns_exists=False)]


def test_other_peoples_links_are_left_alone() -> None:
    links = {**healthy_node().links, "my_h": link("my_h", 1500), "veth0": link("veth0", 1500)}
    assert doctor_node.examine(facts(), msgspec.structs.replace(healthy_node(), links=links)) == []

"""From pod, subnet and node to the interface: a table of situations."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from rig import address_annotations, node_object, pod_object, subnet_object

from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.kube import Node, Pod
from ovnbridge.node.attachment import Attachment, Pending, connected_routes, decide
from ovnbridge.node.cni.request import CniError, Request, Route

DEFAULT = {"ovn-default": subnet_object()}


def ask(
    pod: Pod | None, *, subnets: dict[str, Subnet] | None = None, node: Node | None = None, **fields: Any
) -> Attachment | Pending:
    request = Request(command="ADD", container_id="c", netns="/n", pod="p", namespace="ns", **fields)
    return decide(request, pod, DEFAULT if subnets is None else subnets, node or node_object(), mtu=1400)


def decided(*arguments: Any, **fields: Any) -> Attachment:
    found = ask(*arguments, **fields)
    assert isinstance(found, Attachment), found
    return found


def pod(number: int = 5, *, families: str = "4", **changes: str | None) -> Pod:
    notes = {k: v for k, v in (address_annotations(number, families=families) | changes).items() if v is not None}
    return pod_object("p", annotations=notes)


def underlay(**spec: Any) -> dict[str, Subnet]:
    subnet = subnet_object(vlan="v1", **spec)
    status = msgspec.structs.replace(subnet.status, u2o_interconnection_ip="10.16.255.1,fd00:10:16::ff")
    return {"ovn-default": msgspec.structs.replace(subnet, status=status)}


def labelled(**labels: str) -> Node:
    node = node_object(node_networks='{"storage": "10.9.9.9", "bad": "x"}')
    return msgspec.structs.replace(node, metadata=msgspec.structs.replace(node.metadata, labels=labels))


@pytest.mark.parametrize(
    ("found", "stage"),
    [
        (None, "get-pod"),
        (pod_object("p"), "wait-address"),
        (pod(ip_address=None), "wait-address"),
        (pod(routed=None), "wait-route"),
        (pod(cidr="nonsense"), "parse-address"),
        (pod(cidr="fd00::/64"), "parse-address"),
        (pod(gateway="nonsense"), "parse-address"),
        (pod(mac_address="nonsense"), "parse-address"),
        (pod(ip_address="10.16.0.999"), "parse-address"),
        (pod(logical_switch="unheard-of"), "get-subnet"),
    ],
)
def test_what_is_not_decided_yet(found: Pod | None, stage: str) -> None:
    answer = ask(found)
    assert isinstance(answer, Pending)
    assert answer.stage == stage


def test_pod_of_another_uid_is_not_the_one() -> None:
    assert isinstance(ask(pod(), pod_uid="other"), Pending)
    assert isinstance(ask(pod(), pod_uid="uid-p"), Attachment)


def test_static_pod_is_known_by_its_hash() -> None:
    static = pod_object("p", annotations=address_annotations(5) | {"kubernetes.io/config.hash": "hash"})
    assert isinstance(ask(static, pod_uid="hash"), Attachment)


def test_plain_pod() -> None:
    found = decided(pod())
    assert (found.port, found.owner, found.subnet, found.mtu) == ("p.ns", "p", "ovn-default", 1400)
    assert found.gateways == found.probes == ("10.16.0.1",)
    assert found.probe_required
    assert found.localnet == ""
    assert connected_routes(found) == (Route(dst="10.16.0.0/16"), Route(dst="0.0.0.0/0", gw="10.16.0.1"))


def test_dual_stack_order_and_masks() -> None:
    found = decided(pod(families="46"))
    assert [a.with_prefix for a in found.addresses] == ["10.16.0.5/16", "fd00:10:16::5/64"]
    assert found.gateways == ("10.16.0.1", "fd00:10:16::1")


def test_one_family_of_a_dual_subnet() -> None:
    found = decided(pod(families="46", ip_address="fd00:10:16::5"))
    assert found.ips == ("fd00:10:16::5",)
    assert found.gateways == ("fd00:10:16::1",)


def test_virtual_machine_owns_the_port() -> None:
    assert decided(pod(virtualmachine="vm1")).port == "vm1.ns"


@pytest.mark.parametrize(("value", "expected"), [("true", 1), ("false", 0), ("nonsense", 0)])
def test_default_route_annotation_on_a_further_interface(value: str, expected: int) -> None:
    found = decided(pod(default_route=value), interface="net1")
    assert len(found.gateways) == expected
    assert bool(found.addresses[0].gateway) == bool(expected)
    assert found.probes == ("10.16.0.1",), "checked all the same"


def test_mac_only() -> None:
    found = decided(pod(ip_address=None, cidr=None, gateway=None, routed=None))
    assert (found.addresses, found.gateways, found.probes) == ((), (), ())


def test_routes_of_annotation_and_request() -> None:
    notes = '[{"dst": "10.1.0.0/16", "gw": "10.16.0.9"}, {"dst": "rubbish", "gw": "10.16.0.9"}]'
    found = decided(pod(routes=notes), routes=(Route(dst="10.2.0.0/16", gw="10.16.0.8"),))
    assert found.routes == (Route(dst="10.2.0.0/16", gw="10.16.0.8"), Route(dst="10.1.0.0/16", gw="10.16.0.9"))
    assert len(found.warnings) == 1


def test_bad_routes_annotation() -> None:
    with pytest.raises(CniError, match="invalid routes"):
        ask(pod(routes="{"))


@pytest.mark.parametrize(
    ("spec", "changes", "mtu"),
    [
        ({}, {}, 1400),
        ({"mtu": 1300}, {}, 1300),
        ({"vlan": "v1"}, {"provider_network": "net1"}, 1500),
        ({"vlan": "v1", "logical_gateway": True}, {"provider_network": "net1"}, 1400),
    ],
)
def test_mtu(spec: dict[str, Any], changes: dict[str, str], mtu: int) -> None:
    node = labelled(**{"net1.provider-network.kubernetes.io/mtu": "1500"})
    assert decided(pod(**changes), subnets={"ovn-default": subnet_object(**spec)}, node=node).mtu == mtu


def test_missing_provider_network_mtu() -> None:
    with pytest.raises(CniError, match="failed to get MTU of provider network net1"):
        ask(pod(provider_network="net1"), subnets={"ovn-default": subnet_object(vlan="v1")})


def test_underlay() -> None:
    found = decided(pod(), subnets=underlay())
    assert (found.localnet, found.underlay) == ("ovn-default", True)
    found = decided(pod(), subnets=underlay(logical_gateway=True))
    assert (found.localnet, found.underlay) == ("", False)


def test_underlay_interconnection() -> None:
    found = decided(pod(), subnets=underlay(u2o_interconnection=True))
    assert found.gateways == ("10.16.255.1",)
    assert found.probes == ("10.16.255.1", "10.16.0.1")
    waiting = ask(pod(), subnets={"ovn-default": subnet_object(vlan="v1", u2o_interconnection=True)})
    assert isinstance(waiting, Pending)
    assert waiting.stage == "u2o-address"


def test_node_network() -> None:
    found = decided(pod(), subnets={"ovn-default": subnet_object(node_network="storage")}, node=labelled())
    assert found.encap_ip == "10.9.9.9"
    with pytest.raises(CniError, match="failed to get encap IP"):
        ask(pod(), subnets={"ovn-default": subnet_object(node_network="absent")})


def test_gateway_checks_that_are_left_out() -> None:
    assert not decided(pod(), subnets={"ovn-default": subnet_object(disable_gateway_check=True)}).probe_required
    migrating = pod_object("p", annotations=address_annotations(5) | {"kubevirt.io/migrationJobName": "m"})
    assert decided(migrating).probes == ()
    assert decided(pod(activation_strategy="rarp")).probes == ()


@pytest.mark.parametrize("fields", [{"device_id": "0000:00:01.0"}, {"vhost_user_socket_volume": "v"}])
def test_what_is_not_supported_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(CniError, match="not supported yet"):
        ask(pod(), **fields)

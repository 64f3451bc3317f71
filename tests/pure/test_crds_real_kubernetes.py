"""The CRD manifests on a real kube-apiserver: accepted, upgradable from Kube-OVN's, and as strict as they say."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from ovnbridge.lab.kubernetes import ControlPlaneError, RealControlPlane, find_binaries
from ovnbridge.model.crd.base import Condition, Object
from ovnbridge.model.crd.codec import Decoder, convert, to_object
from ovnbridge.model.crd.kind_info import KindInfo
from ovnbridge.model.crd.kinds import KINDS
from ovnbridge.model.crd.schema import definition
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec, SubnetStatus
from ovnbridge.model.meta import ObjectMeta

pytestmark = [
    pytest.mark.real_kubernetes,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(find_binaries() is None, reason="the real control plane is not built: run `make kube`"),
]

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", ROOT.parent / "shared"))
REFERENCE = SHARED / "reference" / "kube-ovn-crds.yaml"
PARITY = sorted((SHARED / "reference" / "parity").glob("*/k8s.json"))

ANY_KIND = pytest.mark.parametrize("info", KINDS.values(), ids=KINDS)

# The least that the schema accepts, for kinds where that is not nothing.
LEAST: dict[str, dict[str, Any]] = {
    "IPPool": {"subnet": "s", "ips": ["10.0.0.1"]},
    "Vlan": {"provider": "p"},
    "ProviderNetwork": {"defaultInterface": "eth1"},
    "DNSNameResolver": {"name": "www.example.com."},
    "VpcEgressGateway": {"externalSubnet": "e", "policies": [{"ipBlocks": ["10.0.0.0/8"]}]},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealControlPlane]:
    """A control plane with Kube-OVN's CRDs and objects (if there are any here), upgraded to our CRDs."""
    async with RealControlPlane(directory=tmp_path_factory.mktemp("plane")) as started:
        if REFERENCE.exists():
            await started.kubectl("create", "-f", str(REFERENCE))
            await established(started)
            for path in PARITY:
                await create_all(started, parity_objects(path))
        await started.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "manifests" / "crds"))
        await established(started)
        yield started


async def established(plane: RealControlPlane) -> None:
    await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


def parity_objects(path: Path) -> list[dict[str, Any]]:
    """Kube-OVN's objects of one scenario, each name made unique by the scenario's."""
    found = []
    for objects in json.loads(path.read_text()).values():
        for item in objects:
            if item.get("apiVersion") == "kubeovn.io/v1":
                kept = {name: item["metadata"].get(name) for name in ("labels", "finalizers")}
                name = f"{path.parent.name}.{item['metadata']['name']}"
                found.append({**item, "metadata": {**kept, "name": name}})
    return found


async def create_all(plane: RealControlPlane, items: list[dict[str, Any]]) -> None:
    """Objects with their statuses, as a controller writes them: in two steps."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    await plane.kubectl("create", "-f", "-", stdin=listed)
    with_status = [item for item in items if "status" in item and KINDS[item["kind"]].status_subresource]
    if with_status:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": with_status})
        await plane.kubectl("apply", "--server-side", "--subresource=status", "-f", "-", stdin=listed)


async def read(plane: RealControlPlane, info: KindInfo, name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(
        await plane.kubectl("get", f"{info.resource.plural}.{info.resource.group}", name, "-o", "json")
    )
    return result


def least(info: KindInfo, name: str, **spec: Any) -> dict[str, Any]:
    """A minimal object, as our own encoder writes it."""
    wanted = {"metadata": {"name": name}, "spec": LEAST.get(info.resource.kind, {}) | spec}
    value: Object = convert(wanted, info.type)
    return to_object(value)


@ANY_KIND
async def test_established_and_structural(plane: RealControlPlane, info: KindInfo) -> None:
    crd = json.loads(await plane.kubectl("get", "crd", f"{info.resource.plural}.{info.resource.group}", "-o", "json"))
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"
    served = crd["spec"]["versions"][0]["schema"]
    assert served == definition(info)["spec"]["versions"][0]["schema"], "the server dropped something"


@ANY_KIND
async def test_our_objects_and_statuses_are_accepted(plane: RealControlPlane, info: KindInfo) -> None:
    """A minimal object, and its default status with a condition, are what the server hands back."""
    name = f"least-{info.resource.plural}"
    await plane.kubectl("create", "--validate=strict", "-f", "-", stdin=json.dumps(least(info, name)))
    if info.status_subresource:
        status = msgspec.to_builtins(info.type(metadata=ObjectMeta(name=name)).status)  # type: ignore[attr-defined]
        if "conditions" in status:
            now = "2026-11-24T00:00:00Z"
            condition = Condition(type="Ready", status="True", last_update_time=now, last_transition_time=now)
            status["conditions"] = [msgspec.to_builtins(condition)]
        patch = json.dumps({"status": status})
        await plane.kubectl("patch", info.resource.plural, name, "--subresource=status", "--type=merge", "-p", patch)
    again = await read(plane, info, name)
    value = Decoder(info.type).decode(json.dumps(again))
    kept = {part: again[part] for part in ("spec", "status") if part in again}
    written = to_object(value)
    assert {part: without_empties(written.get(part)) for part in kept} == {
        part: without_empties(defaults_left_out(kept[part], written.get(part))) for part in kept
    }


def defaults_left_out(theirs: Any, ours: Any) -> Any:
    """The server's value, without what it filled in by itself."""
    if isinstance(theirs, dict):
        return {name: defaults_left_out(value, ours[name]) for name, value in theirs.items() if name in (ours or {})}
    return theirs


def without_empties(value: Any) -> Any:
    """A value with everything left out that Kubernetes takes for absent."""
    if isinstance(value, dict):
        slim = {name: without_empties(field) for name, field in value.items()}
        return {name: field for name, field in slim.items() if field not in (None, "", 0, False, {}, [])}
    return [without_empties(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("path", PARITY, ids=lambda path: path.parent.name)
async def test_objects_of_kube_ovn_survive_the_upgrade(plane: RealControlPlane, path: Path) -> None:
    """They are as they were, and can still be changed and lose their finalizer."""
    items = parity_objects(path)
    assert items
    for item in items:
        info = KINDS[item["kind"]]
        name = item["metadata"]["name"]
        again = await read(plane, info, name)
        assert without_empties(again["spec"]) == without_empties(item["spec"])
        assert without_empties(again.get("status")) == without_empties(item.get("status"))
        Decoder(info.type).decode(json.dumps(again))
    for item in items:
        info = KINDS[item["kind"]]
        again = await read(plane, info, item["metadata"]["name"])
        again["metadata"]["finalizers"] = []
        again["metadata"]["annotations"] = {"changed": "yes"}
        await plane.kubectl("replace", "-f", "-", stdin=json.dumps(again))


@pytest.mark.parametrize("count", [2**63 - 1, 2**63, 2**64 - 3, 2**72 - 5, 2**96 - 1])
async def test_counts_beyond_64_bits_come_back_equal(plane: RealControlPlane, count: int) -> None:
    """Otherwise the status of every large IPv6 subnet would be written again and again."""
    name = f"count-{count}"
    subnet = Subnet(metadata=ObjectMeta(name=name), spec=SubnetSpec(cidr_block="fd00::/64"))
    await plane.kubectl("create", "-f", "-", stdin=json.dumps(to_object(subnet)))
    status = SubnetStatus(v6_available_ips=count)
    patch = json.dumps({"status": msgspec.to_builtins(status)})
    await plane.kubectl("patch", "subnets", name, "--subresource=status", "--type=merge", "-p", patch)
    again = Decoder(Subnet).decode(json.dumps(await read(plane, KINDS["Subnet"], name)))
    raw = await plane.kubectl("get", "--raw", f"/apis/kubeovn.io/v1/subnets/{name}")
    assert again.status == status
    assert Decoder(Subnet).decode(raw).status == status


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("Subnet", {"natOutgoing": True, "externalEgressGateway": "10.0.0.9"}, "mutually exclusive"),
    ("Subnet", {"logicalGateway": True, "u2oInterconnection": True}, "mutually exclusive"),
    ("Subnet", {"u2oFeatures": {"overlayOnlyRouting": True}, "vlan": "v"}, "overlayOnlyRouting needs"),
    ("Subnet", {"u2oFeatures": {"overlayOnlyRouting": True}, "u2oInterconnection": True}, "overlayOnlyRouting needs"),
    ("Subnet", {"vlan": "v", "gateway": "10.0.0.1"}, "manages no addresses"),
    ("Subnet", {"vlan": "v", "cidrBlock": "", "excludeIps": ["10.0.0.1"]}, "manages no addresses"),
    ("Subnet", {"mtu": 1279, "cidrBlock": "10.0.0.0/16,fd00::/64"}, "at least 1280"),
    ("Subnet", {"vpc": "object"}, "name of its VPC"),
    ("Subnet", {"gatewayType": "Distributed"}, "gatewayType"),
    ("Subnet", {"protocol": "ipv4"}, "protocol"),
    ("Subnet", {"cidrBlock": "FD00::/64"}, "cidrBlock"),
    ("Subnet", {"gateway": "fd00::A"}, "gateway"),
    ("Subnet", {"externalEgressGateway": "FD00::1"}, "externalEgressGateway"),
    ("Vpc", {"staticRoutes": [{"policy": "policyBoth"}]}, "policy"),
    ("Vpc", {"policyRoutes": [{"action": "deny"}]}, "action"),
    ("Vpc", {"policyRoutes": [{"action": "reroute", "match": "ip4"}]}, "reroute needs nextHopIP"),
    ("Vpc", {"policyRoutes": [{"action": "reroute", "nextHopIP": ""}]}, "reroute needs nextHopIP"),
    ("Vpc", {"vpcPeerings": [{"remoteVpc": "b", "localConnectIP": "10.0.0.1"}]}, "localConnectIP"),
    ("Vpc", {"vpcPeerings": [{"remoteVpc": "b", "localConnectIP": "10.0.0.1/30, fd00::1/64"}]}, "localConnectIP"),
    ("SecurityGroup", {"tier": 2}, "tier"),
    ("SecurityGroup", {"tier": 1, "ingressRules": [{"priority": 1, "policy": "pass"}]}, "not possible in tier 1"),
    ("SecurityGroup", {"tier": 1, "egressRules": [{"priority": 1, "policy": "pass"}]}, "not possible in tier 1"),
    ("SecurityGroup", {"ingressRules": [{"priority": 16385}]}, "priority"),
    ("SecurityGroup", {"egressRules": [{"priority": 0}]}, "priority"),
    ("SecurityGroup", {"egressRules": [{"ipVersion": "IPv4"}]}, "ipVersion"),
    ("SecurityGroup", {"egressRules": [{"remoteType": "group"}]}, "remoteType"),
    ("QoSPolicy", {"bindingType": "NATGW"}, "must be shared"),
    ("QoSPolicy", {"bandwidthLimitRules": [{"name": "a", "rateMax": "-1"}]}, "rateMax"),
    ("QoSPolicy", {"bandwidthLimitRules": [{"name": "a", "burstMax": "1M"}]}, "burstMax"),
    ("QoSPolicy", {"bandwidthLimitRules": [{"name": "a", "direction": "in"}]}, "direction"),
    ("QoSPolicy", {"bandwidthLimitRules": [{"name": "a", "interface": "eth0;reboot"}]}, "interface"),
    ("VpcEgressGateway", {"policies": []}, "at least one policy or selector"),
    ("VpcEgressGateway", {"replicas": 2, "internalIPs": ["10.0.0.1"]}, "equal to or greater than"),
    ("VpcEgressGateway", {"externalIPs": ["10.0.0.1"], "externalIPPool": "p"}, "mutually exclusive"),
    ("VpcEgressGateway", {"bandwidth": {"ingress": "5K"}}, "bandwidth"),
    ("VpcEgressGateway", {"bandwidth": {"ingress": -5}}, "between 0 and"),
]

ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("Subnet", {"natOutgoing": False, "externalEgressGateway": "10.0.0.9", "cidrBlock": "10.0.0.0/16"}),
    ("Subnet", {"natOutgoing": True, "externalEgressGateway": "", "gatewayType": ""}),
    (
        "Subnet",
        {"u2oFeatures": {"overlayOnlyRouting": True}, "u2oInterconnection": True, "vlan": "v", "cidrBlock": "a"},
    ),
    ("Subnet", {"vlan": "v", "gateway": "", "excludeIps": []}),
    ("Subnet", {"mtu": 1279, "cidrBlock": "10.0.0.0/16"}),
    ("Subnet", {"mtu": 0, "cidrBlock": "fd00::/64", "vpc": "ovn-cluster"}),
    ("Subnet", {"gatewayNode": "a:10.0.0.1", "namespaceSelectors": [{"matchLabels": {"a": "b"}}]}),
    ("Vpc", {"staticRoutes": [{"policy": "", "cidr": "::/0", "nextHopIP": "fd00::1"}]}),
    ("Vpc", {"policyRoutes": [{"action": "reroute", "nextHopIP": "10.0.0.1,10.0.0.2"}, {"action": "drop"}]}),
    ("Vpc", {"vpcPeerings": [{"remoteVpc": "b", "localConnectIP": "10.0.0.1/30,fd00::1/64"}, {"remoteVpc": "c"}]}),
    ("SecurityGroup", {"tier": 0, "ingressRules": [{"priority": 16384, "policy": "pass", "ipVersion": "ipv6"}]}),
    ("SecurityGroup", {"tier": 1, "ingressRules": [{"priority": 1, "policy": "allow", "protocol": "icmp"}]}),
    ("QoSPolicy", {"bindingType": "NATGW", "shared": True}),
    ("QoSPolicy", {"bandwidthLimitRules": [{"name": "a", "rateMax": "1.5", "burstMax": "", "direction": "egress"}]}),
    ("VpcEgressGateway", {"bandwidth": {"ingress": "1.5Gi", "egress": 100}, "selectors": [{}]}),
    (
        "VpcEgressGateway",
        {
            "observability": {
                "resources": {"limits": {"cpu": 1, "memory": "64Mi"}},
                "conntrack": {
                    "log": {"filters": {"include": [{"original": {"sourcePorts": [{"start": 0, "end": 9}]}}]}},
                },
            }
        },
    ),
    ("VpcNatGateway", {"affinity": {"nodeAffinity": {}}, "tolerations": [{"operator": "Exists"}]}),
]


@pytest.mark.parametrize(("kind", "spec", "message"), REFUSED)
async def test_refused(plane: RealControlPlane, kind: str, spec: dict[str, Any], message: str) -> None:
    item = least(KINDS[kind], "object")
    item["spec"] |= spec
    with pytest.raises(ControlPlaneError, match=message):
        await plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(item))


@pytest.mark.parametrize(("kind", "spec"), ACCEPTED)
async def test_accepted(plane: RealControlPlane, kind: str, spec: dict[str, Any]) -> None:
    item = least(KINDS[kind], "object", **spec)
    await plane.kubectl("create", "--validate=strict", "--dry-run=server", "-f", "-", stdin=json.dumps(item))


@pytest.mark.parametrize(
    ("kind", "before", "change", "message"),
    [
        ("QoSPolicy", {"shared": True}, {"shared": False}, "shared is immutable"),
        ("QoSPolicy", {"shared": True, "bindingType": "EIP"}, {"bindingType": "NATGW"}, "bindingType is immutable"),
        ("DNSNameResolver", {}, {"name": "www.example.org."}, "spec.name is immutable"),
        ("VpcEgressGateway", {"prefix": "a-"}, {"prefix": "b-"}, "immutable"),
    ],
)
async def test_immutable(
    plane: RealControlPlane, kind: str, before: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    info = KINDS[kind]
    name = f"immutable-{'-'.join(change).lower()}-{info.resource.plural}"
    await plane.kubectl("create", "-f", "-", stdin=json.dumps(least(info, name, **before)))
    await plane.kubectl("patch", info.resource.plural, name, "--type=merge", "-p", '{"metadata":{"labels":{"a":"b"}}}')
    with pytest.raises(ControlPlaneError, match=message):
        patch = json.dumps({"spec": change})
        await plane.kubectl("patch", info.resource.plural, name, "--type=merge", "-p", patch)


async def test_scale(plane: RealControlPlane) -> None:
    item = least(KINDS["VpcEgressGateway"], "scaled")
    await plane.kubectl("create", "-f", "-", stdin=json.dumps(item))
    await plane.kubectl("scale", "veg/scaled", "--replicas=3")
    again = await read(plane, KINDS["VpcEgressGateway"], "scaled")
    assert again["spec"]["replicas"] == 3


async def test_explain_knows_every_field(plane: RealControlPlane) -> None:
    text = await plane.kubectl("explain", "subnet.spec.natOutgoing")
    assert "Translate the source" in text

"""The CRD manifests on a real kube-apiserver: accepted, as strict as they say, and shown by kubectl as Kube-OVN's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from api_harness import MERGE, Client, backend_from_kubeconfig, eventually
from crd_rules import CASES, CHANGES, Case, Change, made
from hypothesis import HealthCheck, assume, given, settings

from ovnbridge.lab.kubernetes import ControlPlaneError, RealControlPlane, find_binaries
from ovnbridge.model.crd.base import Condition, Object
from ovnbridge.model.crd.codec import Decoder, convert, to_object
from ovnbridge.model.crd.kind_info import KindInfo
from ovnbridge.model.crd.kinds import KINDS
from ovnbridge.model.crd.schema import definition
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec, SubnetStatus
from ovnbridge.model.meta import ObjectMeta
from tests.support import worlds
from tests.support.addresses import events
from tests.support.cluster import Cluster, Json, underlay

pytestmark = [
    pytest.mark.real_kubernetes,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(find_binaries() is None, reason="the real control plane is not built: run `make kube`"),
]

ROOT = Path(__file__).resolve().parent.parent.parent
ANY_KIND = pytest.mark.parametrize("info", KINDS.values(), ids=KINDS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealControlPlane]:
    """A control plane with our CRDs."""
    directory = tmp_path_factory.mktemp("plane")
    async with RealControlPlane(directory=directory, controller_manager=False, scheduler=False) as started:
        await started.kubectl("create", "-f", str(ROOT / "manifests" / "crds"))
        await started.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(plane: RealControlPlane) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(backend_from_kubeconfig(plane.kubeconfig_path), session)


async def read(plane: RealControlPlane, info: KindInfo, name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(
        await plane.kubectl("get", f"{info.resource.plural}.{info.resource.group}", name, "-o", "json")
    )
    return result


def path_of(kind: str) -> str:
    resource = KINDS[kind].resource
    return f"/apis/kubeovn.io/v1/{'namespaces/default/' if resource.namespaced else ''}{resource.plural}"


def least(info: KindInfo, name: str) -> dict[str, Any]:
    """A minimal object, as our own encoder writes it."""
    value: Object = convert(made(info.resource.kind, name, {}), info.type)
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.field}")
async def test_refused_and_accepted(api: Client, case: Case) -> None:
    """The refusal names the field; what differs only as it should is accepted."""
    wrong = await api.post(path_of(case.kind), made(case.kind, "object", case.spec), dryRun="All")
    assert wrong.code == 422, wrong.body
    assert any(
        cause["field"] == case.field and case.message in cause["message"] for cause in wrong.body["details"]["causes"]
    ), wrong.message
    item = made(case.kind, "object", case.spec | case.right)
    right = await api.post(path_of(case.kind), item, dryRun="All", fieldValidation="Strict")
    assert right.code == 201, right.message


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(item=worlds.subnets() | worlds.vpcs())
async def test_what_the_controller_takes_the_server_takes(api: Client, item: Json) -> None:
    """As the user wrote it, and as the controller writes it back."""
    assume("sideways" not in str(item))  # an ACL of a subnet that is not OVN's concerns nobody but the schema
    kind, name = item["kind"], item["metadata"]["name"]
    nets = (*underlay("vlan1", 10), *underlay("vlan2", 0, "net2"), worlds.node("n-3", "192.168.0.13"))
    cluster = Cluster().apply(*worlds.BASE, *nets, item)
    cluster.run()
    assume(not events(cluster, kind, name))
    for spec in (item["spec"], cluster.get(kind, name)["spec"]):
        answer = await api.post(path_of(kind), made(kind, name, spec), dryRun="All", fieldValidation="Strict")
        assert answer.code == 201 or answer.reason == "AlreadyExists", answer.message


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.kind}-{change.message}")
async def test_transitions(api: Client, change: Change) -> None:
    """What must not change does not, and nothing else is held up by it."""
    path = path_of(change.kind)
    item = made(change.kind, "object", change.before)
    item["metadata"]["finalizers"] = ["kubeovn.io/kube-ovn-controller"]
    created = await api.post(path, item)
    assert created.code == 201, created.message
    try:
        wrong = await api.patch(f"{path}/object", MERGE, {"spec": change.wrong})
        assert wrong.code == 422, wrong.body
        assert change.message in wrong.message
        right = await api.patch(f"{path}/object", MERGE, {"spec": change.right})
        assert right.code == 200, right.message
    finally:
        await api.delete(f"{path}/object")
        done = await api.patch(f"{path}/object", MERGE, {"metadata": {"finalizers": None}})
        assert done.code == 200, done.message


async def test_scale(plane: RealControlPlane) -> None:
    item = least(KINDS["VpcEgressGateway"], "scaled")
    await plane.kubectl("create", "-f", "-", stdin=json.dumps(item))
    await plane.kubectl("scale", "veg/scaled", "--replicas=3")
    again = await read(plane, KINDS["VpcEgressGateway"], "scaled")
    assert again["spec"]["replicas"] == 3


def field_names(schema: dict[str, Any]) -> list[str]:
    """Names of all fields, at every depth."""
    found = []
    for name, child in schema.get("properties", {}).items():
        found += [name, *field_names(child.get("items", child))]
    return found


@ANY_KIND
async def test_explain_shows_every_field_and_its_description(plane: RealControlPlane, info: KindInfo) -> None:
    schema = definition(info)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    plural = f"{info.resource.plural}.kubeovn.io"

    async def explained() -> str:
        """What kubectl says once the server publishes the schema, which it does after it serves the kind."""
        try:
            return await plane.kubectl("explain", plural)
        except ControlPlaneError:
            return ""

    assert schema["description"] in " ".join((await eventually(explained, "the schema is published")).split())
    for part in [name for name in ("spec", "status") if name in schema["properties"]]:
        fields = schema["properties"][part]
        tree = await plane.kubectl("explain", "--recursive", f"{plural}.{part}")
        names = [line.split()[0] for line in tree.split("FIELDS:")[1].split("\n") if "\t<" in line]
        assert sorted(names) == sorted(field_names(fields))
        text = " ".join((await plane.kubectl("explain", f"{plural}.{part}")).split())
        for name, child in fields["properties"].items():
            assert child["description"] in text, name


@ANY_KIND
async def test_columns_of_kubectl_get(plane: RealControlPlane, info: KindInfo) -> None:
    """The header is Kube-OVN's (spec A.2 to A.18), in its order; wide ones only with -o wide."""
    name = f"row-{info.resource.plural}"
    await plane.kubectl("create", "-f", "-", stdin=json.dumps(least(info, name)))
    for short in (*info.short_names, info.singular, info.resource.plural):
        header = (await plane.kubectl("get", short, name)).split("\n")[0]
        assert header.split() == ["NAME", *COLUMNS[info.resource.kind].upper().split()], short
    wide = (await plane.kubectl("get", info.resource.plural, name, "-o", "wide")).split("\n")[0]
    assert wide.split() == ["NAME", *WIDE.get(info.resource.kind, COLUMNS[info.resource.kind]).upper().split()]


async def test_cells_of_a_plain_subnet(plane: RealControlPlane) -> None:
    """Kube-OVN writes these fields back, so that no cell of the three is empty (reference/parity)."""
    await plane.kubectl("create", "-f", "-", stdin=json.dumps(least(KINDS["Subnet"], "plain")))
    for name in ("private", "natOutgoing", "default"):
        assert await plane.kubectl("get", "subnet", "plain", "-o", f"jsonpath={{.spec.{name}}}") == "false"


# As the spec lists them.
COLUMNS = {
    "Vpc": "EnableExternal EnableBfd Standby Subnets ExtraExternalSubnets Namespaces DefaultSubnet Age",
    "Subnet": "Provider Vpc Vlan Protocol CIDR Private NAT Default GatewayType V4Used V4Available V6Used V6Available"
    " ExcludeIPs U2OInterconnectionIP",
    "IP": "V4IP V6IP Mac Node Subnet",
    "IPPool": "Subnet enableAddressSet IPs V4Used V4Available V6Used V6Available",
    "Vip": "Namespace V4IP V6IP Mac Subnet Type",
    "Vlan": "ID Provider conflict",
    "ProviderNetwork": "DefaultInterface Ready",
    "SecurityGroup": "Age",
    "QoSPolicy": "Shared BindingType",
    "VpcNatGateway": "Namespace Vpc Subnet IPs Replicas Ready BFD Age",
    "IptablesEIP": "Namespace ExternalSubnet IP Mac Nat NatGwDp Ready",
    "IptablesFIPRule": "Eip V4ip InternalIp V6ip Ready NatGwDp",
    "IptablesDnatRule": "Eip Protocol V4ip V6ip InternalIp ExternalPort InternalPort Type NatGwDp Ready",
    "IptablesSnatRule": "EIP V4ip V6ip InternalCIDR NatGwDp Ready",
    "OvnEip": "V4IP V6IP Mac Type Nat Ready ExternalSubnet",
    "OvnFip": "Vpc Type V4Eip V6Eip V4Ip V6Ip Ready IpType IpName",
    "OvnSnatRule": "Vpc V4Eip V6Eip V4IpCidr V6IpCidr Ready",
    "OvnDnatRule": "Vpc Eip Protocol V4Eip V6Eip V4Ip V6Ip InternalPort ExternalPort IpName Ready",
    "SwitchLBRule": "vip port(s) service age",
    "RouterLBRule": "ovnEip vpc port(s) service age",
    "VpcDns": "Active Vpc Subnet Corefile",
    "VpcEgressGateway": "Vpc Replicas bfd External Subnet Phase Ready Age",
    "DNSNameResolver": "Age",
    "BgpConf": "Age",
    "EvpnConf": "Age",
}
WIDE = {
    "VpcEgressGateway": "Vpc Replicas bfd External Subnet Phase Ready Internal IPs External IPs Working Nodes Age",
}

"""A running Kube-OVN cluster gets our CRDs: nothing that is stored is lost or stuck, and Kube-OVN can write on.

On both servers, Kube-OVN's CRDs come first and with them objects: those that the real Kube-OVN wrote, one of each kind
with every field of its schema, and one with every field empty, as Go clients write what they do not know.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from api_harness import APPLY, MERGE, Backend, Client, embedded_backend, eventually, in_thread, real_backend
from crd_rules import CASES

from ovnbridge.model.crd.codec import Decoder
from ovnbridge.model.crd.kind_info import KindInfo
from ovnbridge.model.crd.kinds import KINDS

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", ROOT.parent / "shared"))
REFERENCE = SHARED / "reference" / "kube-ovn-crds.yaml"
PARITY = sorted((SHARED / "reference" / "parity").glob("*/k8s.json"))
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ANY_KIND = pytest.mark.parametrize("info", KINDS.values(), ids=KINDS)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not REFERENCE.exists(), reason=f"no {REFERENCE}: set OVNBRIDGE_SHARED"),
]

# What a field may hold, where its type alone does not say it; paths without the kind hold for all kinds.
VALUES: dict[str, Any] = {
    "Subnet.spec.cidrBlock": "10.0.0.0/16,fd00::/64",
    "Subnet.spec.gateway": "10.0.0.1,fd00::1",
    "Subnet.spec.excludeIps[]": "10.0.0.1..10.0.0.9",
    "Subnet.spec.externalEgressGateway": "192.0.2.1,2001:db8::1",
    "Subnet.spec.allowSubnets[]": "10.1.0.0/16",
    "Subnet.spec.vips[]": "fd00::9",
    "Subnet.spec.u2oInterconnectionIP": "10.0.0.2,fd00::2",
    "Subnet.spec.natOutgoing": False,  # excluded by externalEgressGateway
    "Subnet.spec.logicalGateway": False,  # excluded by u2oInterconnection
    "Subnet.spec.mtu": 1400,
    "Subnet.spec.protocol": "Dual",
    "Subnet.spec.gatewayType": "centralized",
    "Subnet.spec.natOutgoingPolicyRules[].action": "forward",
    "Subnet.spec.acls[].direction": "to-lport",
    "Subnet.spec.acls[].action": "allow-related",
    "Vpc.spec.staticRoutes[].policy": "policySrc",
    "Vpc.spec.staticRoutes[].cidr": "10.0.0.0/16",
    "Vpc.spec.staticRoutes[].nextHopIP": "10.0.0.1",
    "Vpc.spec.policyRoutes[].action": "reroute",
    "Vpc.spec.policyRoutes[].nextHopIP": "10.0.0.1,10.0.0.2",
    "Vpc.spec.vpcPeerings[].localConnectIP": "169.254.0.1/30,fd01::1/64",
    "Vpc.spec.bfdPort.ip": "10.255.255.255,fdff::1",
    "IP.spec.v4IpAddress": "10.0.0.5",
    "IP.spec.v6IpAddress": "fd00::5",
    "IP.spec.podType": "StatefulSet",
    "IPPool.spec.ips[]": "10.0.0.0/24",
    "Vip.spec.type": "switch_lb_vip",
    "Vip.spec.v4ip": "10.0.0.6",
    "Vip.spec.v6ip": "fd00::6",
    "ProviderNetwork.spec.defaultInterface": "eth1",
    "ProviderNetwork.spec.customInterfaces[].interface": "eth2",
    "SecurityGroup.spec.ingressRules[].ipVersion": "ipv4",
    "SecurityGroup.spec.ingressRules[].protocol": "tcp",
    "SecurityGroup.spec.ingressRules[].remoteType": "address",
    "SecurityGroup.spec.ingressRules[].remoteAddress": "10.0.0.0/16",
    "SecurityGroup.spec.ingressRules[].localAddress": "10.0.0.7",
    "SecurityGroup.spec.ingressRules[].policy": "allow",
    "SecurityGroup.spec.egressRules[].ipVersion": "ipv6",
    "SecurityGroup.spec.egressRules[].protocol": "udp",
    "SecurityGroup.spec.egressRules[].remoteType": "securityGroup",
    "SecurityGroup.spec.egressRules[].localAddress": "fd00::/64",
    "SecurityGroup.spec.egressRules[].policy": "drop",
    "QoSPolicy.spec.bindingType": "EIP",
    "QoSPolicy.spec.bandwidthLimitRules[].rateMax": "1.5",
    "QoSPolicy.spec.bandwidthLimitRules[].burstMax": "10",
    "QoSPolicy.spec.bandwidthLimitRules[].direction": "ingress",
    "QoSPolicy.spec.bandwidthLimitRules[].matchType": "ip",
    "QoSPolicy.spec.bandwidthLimitRules[].matchValue": "src 192.0.2.0/24",
    "OvnEip.spec.type": "lrp",
    "OvnFip.spec.type": "distributed",
    "OvnFip.spec.ipType": "vip",
    "OvnDnatRule.spec.ipType": "ip",
    "DNSNameResolver.spec.name": "www.example.com.",
    "DNSNameResolver.status.resolvedNames[].dnsName": "www.example.com.",
    "VpcEgressGateway.spec.prefix": "a-",
    "VpcEgressGateway.spec.bandwidth.ingress": "1.5Gi",
    "VpcEgressGateway.spec.bandwidth.egress": 100,
    # The other of each pair that exclude each other is in the object.
    "VpcEgressGateway.spec.internalIPPool": "",
    "VpcEgressGateway.spec.externalIPPool": "",
}
# What even an empty object must say.
NEEDED: dict[str, dict[str, Any]] = {
    "Subnet": {"cidrBlock": "10.0.0.0/16"},
    "IPPool": {"subnet": "s", "ips": ["10.0.0.1"]},
    "Vip": {"subnet": "s"},
    "Vlan": {"provider": "p"},
    "ProviderNetwork": {"defaultInterface": "eth1"},
    "VpcDns": {"replicas": 1},
    "DNSNameResolver": {"name": "www.example.com."},
    "VpcEgressGateway": {"externalSubnet": "e", "policies": [{"ipBlocks": ["10.0.0.0/8"]}]},
}
# What Kube-OVN's schema accepts and ours does not, also without CEL: tells which of them is in force.
ONLY_THEIRS: dict[str, dict[str, Any]] = {
    "Subnet": {"gatewayType": "x"},
    "Vpc": {"policyRoutes": [{"action": "x"}]},
    "IP": {"podType": "x"},
    "IPPool": {"ips": ["x" * 100]},
    "Vip": {"type": "x"},
    "SecurityGroup": {"tier": 2},
    "QoSPolicy": {"bindingType": "x"},
    "OvnEip": {"type": "x"},
    "OvnFip": {"type": "x"},
    "OvnDnatRule": {"ipType": "x"},
    "VpcDns": {"replicas": 4},
}


def full(schema: dict[str, Any], path: str) -> Any:
    """A value with every field of a schema."""
    if path in VALUES:
        return VALUES[path]
    if "enum" in schema:
        return schema["enum"][-1]
    match schema.get("type"):
        case "object" if "properties" in schema:
            return {name: full(child, f"{path}.{name}") for name, child in schema["properties"].items()}
        case "object":
            return {"a": full(schema.get("additionalProperties", {"type": "string"}), f"{path}{{}}")}
        case "array":
            return [full(schema["items"], f"{path}[]")]
        case "boolean":
            return True
        case "integer" | "number":
            return int(schema.get("minimum", 1))
        case "string" if schema.get("format") == "date-time":
            return "2026-11-28T00:00:00Z"
        case "string":
            return "true" if path.endswith(".status") else "x"
        case _:
            return 1


def empty(schema: dict[str, Any]) -> Any:
    """What a Go client writes when it knows nothing."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {
                name: empty(child)
                for name, child in schema.get("properties", {}).items()
                # Pointers and what is optional in an optional object are left out.
                if child.get("type") != "object" and child.get("format") != "date-time"
            }
        case "array":
            return []
        case "boolean":
            return False
        case "integer" | "number":
            return int(schema.get("minimum", 0))
        case _:
            return ""


def named(kind: str, name: str, parts: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "finalizers": ["kubeovn.io/kube-ovn-controller"]}
    return {"apiVersion": "kubeovn.io/v1", "kind": kind, "metadata": metadata, **parts}


def parity_objects() -> Iterator[dict[str, Any]]:
    """Kube-OVN's objects, each name made unique by its scenario's."""
    for path in PARITY:
        for items in json.loads(path.read_text()).values():
            for item in items:
                if item.get("apiVersion") == "kubeovn.io/v1":
                    kept = {name: value for name in ("labels", "finalizers") if (value := item["metadata"].get(name))}
                    name = f"{path.parent.name}.{item['metadata']['name']}"
                    yield {**item, "metadata": {**kept, "name": name}}


def collection(info: KindInfo) -> str:
    space = "namespaces/default/" if info.resource.namespaced else ""
    return f"/apis/kubeovn.io/v1/{space}{info.resource.plural}"


def parts_of(item: dict[str, Any]) -> dict[str, Any]:
    return {part: item[part] for part in ("spec", "status") if part in item}


class Upgraded:
    """A server that has been upgraded, and its objects as they were before: what was written, what was stored."""

    def __init__(self, api: Client) -> None:
        self.api = api
        self.theirs: dict[str, dict[str, Any]] = {}
        self.stored: dict[tuple[str, str], dict[str, Any]] = {}
        self.invalid: list[tuple[KindInfo, str]] = []

    async def store(self, item: dict[str, Any]) -> None:
        """As a controller does it: the object, then its status."""
        info = KINDS[item["kind"]]
        made = await self.api.post(collection(info), item)
        assert made.code == 201, made.body
        if "status" in item and info.status_subresource:
            body = {"status": item["status"]}
            made = await self.api.patch(f"{collection(info)}/{item['metadata']['name']}/status", MERGE, body)
            assert made.code == 200, made.body
        assert parts_of(made.body).keys() == parts_of(item).keys()
        self.stored[item["kind"], item["metadata"]["name"]] = made.body

    async def store_invalid(self) -> None:
        """What our schemas refuse and Kube-OVN's do not; some of it only under the name that the table means."""
        for number, case in enumerate(CASES):
            info = KINDS[case.kind]
            name = "object" if "object" in case.spec.values() else f"invalid-{number}"
            spec = NEEDED.get(case.kind, {}) | case.spec
            if (await self.api.post(collection(info), named(case.kind, name, {"spec": spec}))).code == 201:
                self.invalid.append((info, f"{collection(info)}/{name}"))

    def examples(self, info: KindInfo) -> list[dict[str, Any]]:
        """One object with everything, and one with nothing."""
        kind = info.resource.kind
        schema = self.theirs[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        wanted = [part for part in ("spec", "status") if part in schema]
        rich = {part: full(schema[part], f"{kind}.{part}") for part in wanted}
        poor = {part: empty(schema[part]) for part in wanted}
        poor["spec"] |= NEEDED.get(kind, {})
        return [named(kind, f"full-{info.resource.plural}", rich), named(kind, f"empty-{info.resource.plural}", poor)]


async def served(api: Client, info: KindInfo) -> None:
    async def ask() -> bool:
        return (await api.get(collection(info))).code == 200

    await eventually(ask, f"{info.resource.plural} are served")


async def ours_in_force(api: Client, kind: str) -> None:
    info = KINDS[kind]
    spec = NEEDED.get(kind, {}) | ONLY_THEIRS[kind]

    async def ask() -> bool:
        return (await api.post(collection(info), named(kind, "probe", {"spec": spec}), dryRun="All")).code == 422

    await eventually(ask, f"our schema of {kind} is in force")


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.real_kubernetes)])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A server of this module's own."""
    from ovnbridge.lab.kubernetes import find_binaries

    directory = tmp_path_factory.mktemp("backend")
    if request.param == "real" and find_binaries() is None:
        pytest.skip("the real control plane is not built: run `make kube`")
    start = embedded_backend if request.param == "embedded" else real_backend
    with in_thread(lambda: start(directory)) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upgraded(backend: Backend) -> AsyncIterator[Upgraded]:
    async with aiohttp.ClientSession() as session:
        cluster = Upgraded(Client(backend, session))
        api = cluster.api
        for crd in yaml.safe_load_all(REFERENCE.read_text()):
            if crd:
                cluster.theirs[crd["spec"]["names"]["kind"]] = crd
                assert (await api.post(CRDS, crd)).code == 201
        for info in KINDS.values():
            await served(api, info)
            for item in cluster.examples(info):
                await cluster.store(item)
        for item in parity_objects():
            await cluster.store(item)
        if backend.real:  # the embedded server does not tell a change from what was there before
            await cluster.store_invalid()
        for path in sorted((ROOT / "manifests" / "crds").glob("*.yaml")):
            crd = yaml.safe_load(path.read_text())
            made = await api.patch(
                f"{CRDS}/{crd['metadata']['name']}", APPLY, crd, fieldManager="upgrade", force="true"
            )
            assert made.code == 200, made.body
        for kind in ONLY_THEIRS:
            await ours_in_force(api, kind)
        yield cluster


def stored(cluster: Upgraded, info: KindInfo) -> list[dict[str, Any]]:
    found = [item for (kind, _), item in cluster.stored.items() if kind == info.resource.kind]
    assert len(found) >= 2
    return found


async def test_there_are_objects_of_kube_ovn(upgraded: Upgraded) -> None:
    kinds = {kind for kind, name in upgraded.stored if not name.startswith(("full-", "empty-"))}
    assert kinds >= {"Vpc", "Subnet", "IP", "IPPool", "Vip", "Vlan", "ProviderNetwork"}


@ANY_KIND
async def test_nothing_is_lost(upgraded: Upgraded, info: KindInfo) -> None:
    """Neither when it is read, nor when somebody writes it back with another label, nor by our own decoder."""
    for item in stored(upgraded, info):
        path = f"{collection(info)}/{item['metadata']['name']}"
        again = await upgraded.api.get(path)
        assert parts_of(again.body) == parts_of(item)
        Decoder(info.type).decode(json.dumps(again.body))
        again.body["metadata"]["labels"] = {"written": "back"}
        put = await upgraded.api.put(path, again.body)
        assert put.code == 200, put.body
        assert parts_of(put.body) == parts_of(item)


@ANY_KIND
async def test_a_status_can_be_written_as_kube_ovn_writes_it(upgraded: Upgraded, info: KindInfo) -> None:
    """The whole status in one merge patch, on the subresource or, for a Vip, on the object."""
    for item in stored(upgraded, info):
        if "status" not in item:
            continue
        path = f"{collection(info)}/{item['metadata']['name']}"
        if info.status_subresource:
            path += "/status"
        emptied = await upgraded.api.patch(path, MERGE, {"status": None})
        assert emptied.code == 200, emptied.body
        written = await upgraded.api.patch(path, MERGE, {"status": item["status"]})
        assert written.code == 200, written.body
        assert written.body["status"] == item["status"]
        assert written.body["spec"] == item["spec"]


@ANY_KIND
async def test_the_same_can_be_made_anew(upgraded: Upgraded, info: KindInfo) -> None:
    """What Kube-OVN's schema took is also taken by ours, whole, without the mercy for what is stored already."""
    for item in stored(upgraded, info):
        fresh = copy.deepcopy({name: item[name] for name in ("apiVersion", "kind", "spec", "status") if name in item})
        fresh["metadata"] = {"name": f"anew-{item['metadata']['name']}"}
        made = await upgraded.api.post(collection(info), fresh, fieldValidation="Strict")
        assert made.code == 201, made.body
        assert made.body["spec"] == item["spec"]
        await upgraded.api.delete(f"{collection(info)}/{fresh['metadata']['name']}")


async def test_what_is_invalid_is_not_stuck(upgraded: Upgraded) -> None:
    """What was stored although our rules refuse it gets statuses and labels, and can be deleted."""
    if not upgraded.api.backend.real:
        pytest.skip("the embedded server has no CEL")
    assert len(upgraded.invalid) > 100
    for info, path in upgraded.invalid:
        labelled = await upgraded.api.patch(path, MERGE, {"metadata": {"labels": {"a": "b"}}})
        assert labelled.code == 200, labelled.message
        if info.status_subresource:
            told = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Invalid"}]}}
            told = told if info.resource.kind not in ("SecurityGroup", "VpcEgressGateway") else {"status": None}
            written = await upgraded.api.patch(f"{path}/status", MERGE, told)
            assert written.code == 200, written.message
        assert (await upgraded.api.delete(path)).code == 200
        done = await upgraded.api.patch(path, MERGE, {"metadata": {"finalizers": None}})
        assert done.code == 200, done.message


@ANY_KIND
async def test_finalizers_can_go(upgraded: Upgraded, info: KindInfo) -> None:
    """Last, because it ends the objects."""
    for item in stored(upgraded, info):
        path = f"{collection(info)}/{item['metadata']['name']}"
        assert (await upgraded.api.delete(path)).code == 200
        done = await upgraded.api.patch(path, MERGE, {"metadata": {"finalizers": None}})
        assert done.code in (200, 404), done.body
        assert (await upgraded.api.get(path)).code == 404

"""The webhook role as a server: HTTPS, real AdmissionReviews, its certificate, and a real kube-apiserver in front."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from ovnbridge.kube.admission import KeyPair, make_key_pair
from ovnbridge.lab.api import ApiServer
from ovnbridge.lab.kubernetes import API_SERVER, ETCD, KUBECTL, ControlPlaneError, RealControlPlane, find_binaries
from ovnbridge.roles.shared import Shared
from ovnbridge.roles.webhook import FLAGS, Webhook
from ovnbridge.settings import parse
from tests.support.hostile import hostile

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET = "/api/v1/namespaces/kube-system/secrets/kube-ovn-webhook-serving-cert"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def crds() -> list[dict[str, Any]]:
    return [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "manifests" / "crds").glob("*.yaml"))]


def configuration(port: int) -> dict[str, Any]:
    """The shipped configuration, with an address that a server without a service network can reach."""
    documents = yaml.safe_load_all((ROOT / "manifests" / "webhook.yaml").read_text())
    (found,) = [d for d in documents if d["kind"] == "ValidatingWebhookConfiguration"]
    for webhook in found["webhooks"]:
        webhook["failurePolicy"] = "Fail"
        webhook["clientConfig"] = {"url": f"https://localhost:{port}/validating"}
    return dict(found)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def eventually(ask: Any, what: str) -> Any:
    for _ in range(600):
        found = await ask()
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(what)


@asynccontextmanager
async def serving(kubeconfig: Path, directory: Path, port: int) -> AsyncIterator[Webhook]:
    """The role, as the executable runs it."""
    flags = [f"--port={port}", "--health-probe-port=0", f"--cert-dir={directory}", "--webhook-service=localhost"]
    settings, rest = parse(FLAGS, flags, prog="test")
    assert not rest
    shared = Shared(kubeconfig=str(kubeconfig))
    role = Webhook(settings, shared)
    task = asyncio.create_task(role.run())
    try:

        async def ready() -> bool:
            if task.done():
                task.result()
            return role.not_ready() is None and role.server.port == port

        await eventually(ready, "the webhook gets ready")
        yield role
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await shared.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def api(server: ApiServer, http: aiohttp.ClientSession) -> ApiServer:
    """An embedded server with our kinds."""
    for crd in crds():
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        async with http.post(server.url + path, json=crd) as reply:
            assert reply.status == 201, await reply.text()
    return server


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(server.kubeconfig()))
    return path


def subnet(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": name}, "spec": spec}


def review(operation: str, obj: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What kube-apiserver sends."""
    group, _, version = obj["apiVersion"].rpartition("/")
    kind = {"group": group, "version": version, "kind": obj["kind"]}
    resource = {"group": group, "version": version, "resource": obj["kind"].lower() + "s"}
    request = {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "resource": resource}
    request |= {"requestKind": kind, "requestResource": resource, "name": obj["metadata"]["name"], "dryRun": False}
    request |= {"operation": operation, "object": obj, "userInfo": {"username": "admin"}, "oldObject": None, **more}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


async def post(http: aiohttp.ClientSession, port: int, trusted: bytes, body: Any) -> tuple[int, Any]:
    context = ssl.create_default_context(cadata=trusted.decode())
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http.post(f"https://localhost:{port}/validating", data=data, ssl=context) as reply:
        text = await reply.text()
        return reply.status, json.loads(text) if reply.status == 200 else text


async def test_reviews_over_https_follow_the_cluster(
    api: ApiServer, kubeconfig: Path, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = free_port()
    async with http.post(api.url + CONFIGURATIONS, json=configuration(port)) as reply:
        assert reply.status == 201, await reply.text()
    async with serving(kubeconfig, tmp_path / "none", port):

        async def bundled() -> list[str]:
            async with http.get(f"{api.url}{CONFIGURATIONS}/kube-ovn-webhook") as reply:
                webhooks = (await reply.json())["webhooks"]
                return [b for w in webhooks if (b := w["clientConfig"].get("caBundle"))]

        bundles = await eventually(bundled, "the caBundle is injected")
        assert len(bundles) == 2
        async with http.get(api.url + SECRET) as reply:
            assert bundles == [(await reply.json())["data"]["tls.crt"]] * 2
        trusted = base64.b64decode(bundles[0])
        code, answer = await post(http, port, trusted, review("CREATE", subnet("a", cidrBlock="10.1.0.0/16")))
        assert (code, answer["response"]["allowed"]) == (200, True)
        assert answer["response"]["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002"
        async with http.post(
            f"{api.url}/apis/kubeovn.io/v1/subnets", json=subnet("b", cidrBlock="10.1.7.0/24")
        ) as made:
            assert made.status == 201, await made.text()

        async def refused() -> Any:
            code, answer = await post(http, port, trusted, review("CREATE", subnet("a", cidrBlock="10.1.0.0/16")))
            assert code == 200
            return answer["response"].get("status")

        status = await eventually(refused, "the watch brings subnet b")
        assert "spec.cidrBlock" in status["message"]
        assert "subnet b" in status["message"]
        for junk in (b"", b"{}", b"[1]", b"\xff\x00", json.dumps({"request": {"uid": 1}}).encode()):
            assert (await post(http, port, trusted, junk))[0] == 400


async def test_hostile_objects_over_https(
    api: ApiServer, kubeconfig: Path, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """200 objects: each is accepted, or refused in words; none makes the webhook fail."""
    groups = {"Pod": "v1", "Deployment": "apps/v1", "CronJob": "batch/v1"}
    port = free_port()
    pair = await make_key_pair(("localhost",))
    (tmp_path / "tls.crt").write_bytes(pair.certificate)
    (tmp_path / "tls.key").write_bytes(pair.key)
    refusals = 0
    async with serving(kubeconfig, tmp_path, port):
        for seed in range(1000, 1020):
            for obj in hostile(seed):
                asked = review("CREATE", {"apiVersion": groups.get(obj["kind"], "kubeovn.io/v1"), **obj})
                code, answer = await post(http, port, pair.certificate, asked)
                assert code == 200, (answer, obj)
                if not answer["response"]["allowed"]:
                    refusals += 1
                    assert len(answer["response"]["status"]["message"]) > 10
    assert 50 < refusals < 200


async def test_a_second_replica_serves_the_same_certificate(
    api: ApiServer, kubeconfig: Path, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    first, second = free_port(), free_port()
    async with serving(kubeconfig, tmp_path / "none", first), serving(kubeconfig, tmp_path / "none", second):
        certificates = [await asyncio.to_thread(ssl.get_server_certificate, ("localhost", p)) for p in (first, second)]
        assert certificates[0] == certificates[1]


async def test_certificates_from_files(
    api: ApiServer, kubeconfig: Path, http: aiohttp.ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cert-manager's way: what is mounted is served, also after it changed, and nothing is made."""
    monkeypatch.setattr("ovnbridge.kube.admission._RELOAD_SECONDS", 0.05)
    port = free_port()

    async def mount() -> KeyPair:
        pair = await make_key_pair(("localhost",))
        (tmp_path / "tls.crt").write_bytes(pair.certificate)
        (tmp_path / "tls.key").write_bytes(pair.key)
        return pair

    pair = await mount()
    async with serving(kubeconfig, tmp_path, port):
        asked = review("CREATE", subnet("a", cidrBlock="10.1.0.0/16"))
        assert (await post(http, port, pair.certificate, asked))[0] == 200
        renewed = await mount()

        async def served() -> bool:
            found = await asyncio.to_thread(ssl.get_server_certificate, ("localhost", port))
            return found.split() == renewed.certificate.decode().split()

        await eventually(served, "the new certificate is served")
        (tmp_path / "tls.crt").write_text("half written")
        await asyncio.sleep(0.2)
        assert (await post(http, port, renewed.certificate, asked))[0] == 200
        async with http.get(api.url + SECRET) as reply:
            assert reply.status == 404


async def test_nothing_is_judged_before_everything_is_known(
    server: ApiServer, kubeconfig: Path, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Without the CRDs the lists do not complete: 503, so that the failurePolicy decides, and not ready."""
    port = free_port()
    settings, _ = parse(FLAGS, [f"--port={port}", "--health-probe-port=0", f"--cert-dir={tmp_path}"], prog="test")
    pair = await make_key_pair(("localhost",))
    (tmp_path / "tls.crt").write_bytes(pair.certificate)
    (tmp_path / "tls.key").write_bytes(pair.key)
    shared = Shared(kubeconfig=str(kubeconfig))
    role = Webhook(settings, shared)
    task = asyncio.create_task(role.run())
    try:

        async def listening() -> bool:
            return role.server.port == port

        await eventually(listening, "the webhook listens")
        code, text = await post(http, port, pair.certificate, review("CREATE", subnet("a", cidrBlock="10.1.0.0/16")))
        assert code == 503
        assert "Subnet" in text
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await shared.close()


@pytest.mark.real_kubernetes
@pytest.mark.skipif(
    find_binaries(names=(KUBECTL, ETCD, API_SERVER)) is None, reason="the real control plane is not built: `make kube`"
)
async def test_a_real_api_server_asks_and_obeys(tmp_path: Path) -> None:
    """The manifests as they are shipped (but for the address), the server's own reviews, kubectl's words."""
    port = free_port()
    async with RealControlPlane(directory=tmp_path / "plane", scheduler=False, controller_manager=False) as plane:

        async def apply(*objects: dict[str, Any]) -> str:
            listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
            try:
                await plane.kubectl("apply", "-f", "-", stdin=json.dumps(listed))
            except ControlPlaneError as error:
                return str(error)
            return ""

        everything = list(yaml.safe_load_all((ROOT / "manifests" / "webhook.yaml").read_text()))
        plain = [d for d in everything if d["kind"] != "ValidatingWebhookConfiguration"]
        assert await apply(*crds(), *plain) == ""
        await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        async with serving(plane.kubeconfig_path, tmp_path / "none", port):
            assert await apply(configuration(port)) == ""
            assert await apply(everything[-1] | {"metadata": {"name": "as-shipped"}, "webhooks": []}) == ""

            async def asked() -> bool:
                return "nonsense" in await apply(subnet("probe", cidrBlock="nonsense"))

            async def bundled() -> bool:
                out = json.loads(
                    await plane.kubectl("get", "validatingwebhookconfiguration", "kube-ovn-webhook", "-o", "json")
                )
                return all(w["clientConfig"].get("caBundle") for w in out["webhooks"])

            await eventually(bundled, "the caBundle is injected")
            await eventually(asked, "the server asks the webhook")
            assert await apply(subnet("a", cidrBlock="10.1.0.0/16", gateway="10.1.0.1", vpc="ovn-cluster")) == ""

            async def known() -> bool:
                return "subnet a" in await apply(subnet("b", cidrBlock="10.1.7.0/24"))

            await eventually(known, "the overlap is refused")
            assert "spec.gateway" in await apply(subnet("c", cidrBlock="10.2.0.0/24", gateway="10.9.0.1"))
            lease = {"subnet": "a", "podName": "p", "namespace": "default", "v4IpAddress": "10.1.0.5"}
            ip = {"apiVersion": "kubeovn.io/v1", "kind": "IP", "metadata": {"name": "p.default"}, "spec": lease}
            assert await apply(ip) == ""

            async def guarded() -> bool:
                try:
                    await plane.kubectl("delete", "subnet", "a", "--dry-run=server")
                except ControlPlaneError as error:
                    return "p.default" in str(error)
                return False

            await eventually(guarded, "the deletion is refused")
            taken = ip | {"metadata": {"name": "q.default"}}
            assert "ip p.default" in await apply(taken)
            template = {
                "metadata": {"labels": {"a": "b"}, "annotations": {"ovn.kubernetes.io/mac_address": "zz"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            }
            spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
            web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
            assert "spec.template.metadata.annotations[ovn.kubernetes.io/mac_address]" in await apply(
                web | {"metadata": {"name": "web", "namespace": "default"}}
            )


def crd(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "kubeovn.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def annotated(kind: str, name: str, **notes: str) -> dict[str, Any]:
    """A pod, or a workload whose template has these annotations."""
    meta = {
        "labels": {"a": "b"},
        "annotations": {f"ovn.kubernetes.io/{note}": text for note, text in notes.items()},
    }
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "i"}]}
    if kind == "Pod":
        return {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "default", **meta},
            "spec": spec,
        }
    if kind in ("Job", "CronJob"):
        spec["restartPolicy"] = "Never"
    template: dict[str, Any] = {"template": {"metadata": meta, "spec": spec}}
    if kind == "CronJob":
        template = {"schedule": "0 0 * * *", "jobTemplate": {"spec": template}}
    elif kind != "Job":
        template["selector"] = {"matchLabels": {"a": "b"}}
    version = "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
    return {
        "apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": template,
    }  # fmt: skip


C = {"cidrBlock": "10.2.0.0/24"}
U2O = {**C, "vlan": "vl", "u2oInterconnection": True}
BASICS = [
    crd("Vpc", "ovn-cluster"),
    crd("Vpc", "v1", namespaces=["here"]),
    crd("Subnet", "ovn-default", cidrBlock="10.1.0.0/16", gateway="10.1.0.1", vpc="ovn-cluster", default=True),
    crd("Subnet", "x", cidrBlock="10.9.0.0/24", gateway="10.9.0.1", vpc="v1"),
    crd("Subnet", "u", cidrBlock="10.8.0.0/24", gateway="10.8.0.1", vlan="vl"),
    crd("ProviderNetwork", "pn", defaultInterface="eth1"),
    crd("Vlan", "vl", id=10, provider="pn"),
    crd("IP", "p.default", subnet="ovn-default", podName="p", namespace="default", v4IpAddress="10.1.0.5",
        ipAddress="10.1.0.5", macAddress="00:00:00:00:00:05", nodeName="n", v6IpAddress="", attachIps=[], attachMacs=[],
        attachSubnets=[]),
    crd("IPPool", "pool", subnet="ovn-default", ips=["10.1.0.100..10.1.0.109"]),
    crd("Vip", "vip", subnet="ovn-default", v4ip="10.1.0.50"),
]  # fmt: skip
RULES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    # spec F.1, by number
    (crd("Subnet", "n", vlan="vl", gateway="10.2.0.1"), ("gateway",)),
    (crd("Subnet", "n", **C, gateway="10.3.0.1"), ("spec.gateway", "cidrBlock")),
    (crd("Subnet", "n", **C, gateway="10.2.0.255"), ("gateway", "10.2.0.255")),
    (crd("Subnet", "n", cidrBlock="10.2.0.1/32"), ("10.2.0.1/32",)),
    (crd("Subnet", "n", cidrBlock="127.0.0.0/24"), ("cidrBlock", "127.0.0.0/8")),
    (crd("Subnet", "n", cidrBlock="fe80::/64"), ("cidrBlock", "fe80::/10")),
    (crd("Subnet", "n", cidrBlock="FD00::/64"), ("FD00::/64",)),
    (crd("Subnet", "n", cidrBlock="nonsense"), ("cidrBlock", "nonsense")),
    (crd("Subnet", "n", **C, excludeIps=["10.2.0.9..10.2.0.3"]), ("excludeIps", "10.2.0.9..10.2.0.3")),
    (crd("Subnet", "n", **C, private=True, allowSubnets=["10.1.1.1"]), ("allowSubnets", "10.1.1.1")),
    (crd("Subnet", "n", **C, gatewayType="x"), ("gatewayType",)),
    (crd("Subnet", "n", **C, protocol="x"), ("protocol",)),
    (crd("Subnet", "n", cidrBlock="fd00:2::/64", mtu=1000), ("mtu",)),
    (crd("Subnet", "v9", **C, vpc="v9"), ("VPC",)),
    (crd("Subnet", "n", **C, natOutgoing=True, externalEgressGateway="10.2.0.9"), ("externalEgressGateway",)),
    (crd("Subnet", "n", **C, externalEgressGateway="1.1.1.1,1.1.1.2,1.1.1.3"), ("externalEgressGateway",)),
    (crd("Subnet", "n", **C, vips=["10.3.0.1"]), ("vips", "10.3.0.1")),
    (crd("Subnet", "n", **C, vlan="vl", logicalGateway=True, u2oInterconnection=True), ("logicalGateway",)),
    (crd("Subnet", "n", **C, u2oFeatures={"overlayOnlyRouting": True}), ("overlayOnlyRouting",)),
    (
        crd("Subnet", "n", **C, natOutgoingPolicyRules=[{"action": "nat", "match": {"srcIPs": "x"}}]),
        ("natOutgoingPolicyRules",),
    ),
    (crd("Subnet", "n", **U2O, u2oInterconnectionIP="10.2.0.1"), ("u2oInterconnectionIP",)),
    (crd("Subnet", "n", cidrBlock="10.1.7.0/24"), ("spec.cidrBlock", "subnet ovn-default")),
    (crd("Subnet", "n", **C, vpc="v1", namespaces=["other"]), ("namespace", "other", "vpc v1")),
    (crd("Subnet", "n", **C, namespaces=["here"]), ("namespace", "here", "vpc v1")),
    (crd("Subnet", "v1", **C), ("metadata.name", "vpc v1")),
    # spec F.2
    (crd("Vpc", "n", staticRoutes=[{"cidr": "10.0.0.0/8", "nextHopIP": "10.1.0.1", "policy": "x"}]), ("policy",)),
    (crd("Vpc", "n", staticRoutes=[{"cidr": "x", "nextHopIP": "10.1.0.1"}]), ("staticRoutes",)),
    (crd("Vpc", "n", staticRoutes=[{"cidr": "10.0.0.0/8", "nextHopIP": "x"}]), ("staticRoutes", "nextHopIP")),
    (crd("Vpc", "n", policyRoutes=[{"action": "jump", "match": "ip", "priority": 1}]), ("policyRoutes",)),
    (crd("Vpc", "n", policyRoutes=[{"action": "reroute", "match": "ip", "nextHopIP": "x"}]), ("policyRoutes",)),
    (crd("Vpc", "n", vpcPeerings=[{"remoteVpc": "v1", "localConnectIP": "x"}]), ("localConnectIP",)),
    (crd("Vpc", "ovn-default"), ("metadata.name", "subnet ovn-default")),
    # spec F.3 and the first row of F.5, in every workload
    *(
        (annotated(kind, "n", **notes), (f"[ovn.kubernetes.io/{name}]", word))
        for kind in ("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
        for notes, name, word in (
            ({"ip_address": "10.1.0.300"}, "ip_address", "10.1.0.300"),
            ({"ip_address": "10.9.0.7"}, "ip_address", "subnet ovn-default"),
            ({"ip_address": "10.1.0.5"}, "ip_address", "ip p.default"),
            ({"ip_address": "10.1.0.50"}, "ip_address", "vip vip"),
            ({"ip_address": "10.1.0.7,10.1.0.8"}, "ip_address", "family"),
            ({"mac_address": "zz"}, "mac_address", "'zz'"),
            ({"ip_pool": "nobody"}, "ip_pool", "ippool nobody"),
            ({"ip_pool": "10.1.0.7;x"}, "ip_pool", "'x'"),
            ({"ip_family": "IPv4"}, "ip_family", "ipv4 or ipv6"),
            ({"egress_rate": "-1"}, "egress_rate", "'-1'"),
        )
    ),
    # the rest of F.5
    (crd("IP", "n.default", subnet="ovn-default", v4IpAddress="10.1.0.5"), ("spec.v4IpAddress", "ip p.default")),
    (crd("IP", "n.default", subnet="ovn-default", v4IpAddress="10.9.0.5"), ("spec.v4IpAddress", "10.1.0.0/16")),
    (crd("IP", "n.default", subnet="ovn-default", v4IpAddress="10.1.0.9", podType="Job"), ("spec.podType",)),
    (crd("Vip", "n", subnet=""), ("subnet",)),
    (crd("Vip", "n", subnet="ovn-default", v4ip="x"), ("v4ip",)),
    (crd("Vip", "n", subnet="ovn-default", v4ip="10.9.0.9"), ("spec.v4ip", "10.1.0.0/16")),
    (crd("Vip", "n", subnet="ovn-default", v4ip="10.1.0.5"), ("spec.v4ip", "ip p.default")),
    (crd("IPPool", "n", subnet="ovn-default", ips=["x"]), ("spec.ips[0]", '"x"')),
    (crd("IPPool", "n", subnet="ovn-default", ips=["10.9.0.0/24"]), ("ips", "10.1.0.0/16")),
    (crd("IPPool", "n", subnet="ovn-default", ips=["10.1.0.105"]), ("spec.ips", "ippool pool")),
    (crd("Vlan", "n", id=10, provider="pn"), ("spec.id", "vlan vl")),
    (crd("Vlan", "n", id=11, provider=""), ("provider",)),
]  # fmt: skip
EDITS: list[tuple[str, str, dict[str, Any], tuple[str, ...]]] = [
    ("subnet", "ovn-default", {"gateway": "10.1.0.2"}, ("spec.gateway", "ip p.default")),
    ("subnet", "ovn-default", {"vpc": "v1"}, ("spec.vpc", "ovn-cluster")),
    ("subnet", "u", {"cidrBlock": "", "gateway": ""}, ("cidrBlock",)),
    ("subnet", "x", {"cidrBlock": "10.1.7.0/24", "vpc": "v1", "gateway": "10.9.9.9"}, ("gateway",)),
    ("vpc", "v1", {"staticRoutes": [{"cidr": "x", "nextHopIP": "10.1.0.1"}]}, ("staticRoutes",)),
    ("ip", "p.default", {"v4IpAddress": "10.1.0.6"}, ("spec.v4IpAddress", "10.1.0.5")),
    ("ip", "p.default", {"macAddress": "00:00:00:00:00:06"}, ("spec.macAddress",)),
    ("ip", "p.default", {"subnet": "x"}, ("spec.subnet",)),
    ("ippool", "pool", {"subnet": "x", "ips": ["10.9.0.9"]}, ("spec.subnet",)),
    ("ippool", "pool", {"ips": ["10.9.0.1"]}, ("ips", "10.1.0.0/16")),
]
DELETIONS = [
    ("subnet", "ovn-default", "ip p.default"),
    ("vpc", "v1", "subnet x"),
    ("vlan", "vl", "subnet u"),
    ("provider-network", "pn", "vlan vl"),
]


@pytest.mark.real_kubernetes
@pytest.mark.skipif(
    find_binaries(names=(KUBECTL, ETCD, API_SERVER)) is None, reason="the real control plane is not built: `make kube`"
)
async def test_every_rule_of_the_spec_on_a_real_api_server(tmp_path: Path) -> None:
    """By the schema or by the webhook: refused, with the field and, where there is one, the other object. Through the
    manifests as they are shipped, but that a webhook which fails would be seen (failurePolicy Fail)."""
    port = free_port()
    async with RealControlPlane(directory=tmp_path / "plane", scheduler=False, controller_manager=False) as plane:

        async def kubectl(*arguments: str, obj: Any = None) -> str:
            """What kubectl complains of, "" when it is content."""
            try:
                await plane.kubectl(*arguments, stdin=json.dumps(obj) if obj is not None else None)
            except ControlPlaneError as error:
                return str(error)
            return ""

        everything = list(yaml.safe_load_all((ROOT / "manifests" / "webhook.yaml").read_text()))
        plain = [d for d in everything if d["kind"] != "ValidatingWebhookConfiguration"]
        assert await kubectl("apply", "-f", "-", obj=listed(*crds(), *plain)) == ""
        await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        assert await kubectl("create", "serviceaccount", "default", "-n", "default") == ""
        assert await kubectl("apply", "-f", "-", obj=listed(*BASICS)) == ""
        async with serving(plane.kubeconfig_path, tmp_path / "none", port):
            assert await kubectl("apply", "-f", "-", obj=configuration(port)) == ""

            async def asked() -> bool:
                probe = crd("Subnet", "probe", cidrBlock="10.1.7.0/24")
                return "subnet ovn-default" in await kubectl("create", "--dry-run=server", "-f", "-", obj=probe)

            await eventually(asked, "the server asks the webhook")
            for obj, words in RULES:
                said = await kubectl("create", "--dry-run=server", "-f", "-", obj=obj)
                assert all(word in said for word in words), (obj, words, said)
            for kind, name, spec, words in EDITS:
                patch = json.dumps({"spec": spec})
                said = await kubectl("patch", kind, name, "--type=merge", "--dry-run=server", "-p", patch)
                assert all(word in said for word in words), (kind, name, spec, said)
            for kind, name, user in DELETIONS:
                said = await kubectl("delete", kind, name, "--dry-run=server")
                assert user in said, (kind, name, said)
            for obj in (crd("Subnet", "n", **C), annotated("Pod", "n", ip_address="10.1.0.9"), annotated("Job", "n")):
                assert await kubectl("create", "--dry-run=server", "-f", "-", obj=obj) == ""


def listed(*objects: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}

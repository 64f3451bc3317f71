"""kubectl against the embedded server: the oldest and the newest at hand (Debian's 1.20, and 1.36 when it is built)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from api_harness import Backend, embedded_backend, in_thread, unique

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: example/image:1, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}], type: NodePort}
---
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: c, image: example/image:1}]}
"""
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: gadgets, kind: Gadget, shortNames: [gd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {size: {type: integer, description: how large it is}, free: {type: object, \
x-kubernetes-preserve-unknown-fields: true}}
          status: {type: object, properties: {conditions: {type: array, items: {type: object, \
properties: {type: {type: string}, status: {type: string}}}}}}
"""
GADGET = "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g}\nspec: {size: 3, free: {a: [1]}}\n"


def versions() -> dict[str, Path]:
    """The oldest and the newest kubectl that can be found, by version."""
    cache = Path(os.environ.get("OVNBRIDGE_CACHE") or Path.home() / ".cache/ovnbridge") / "kubernetes"
    candidates = [*sorted(cache.glob("*/kubectl")), *(Path(p) for p in [shutil.which("kubectl")] if p)]
    found: dict[str, Path] = {}
    for path in candidates:
        asked = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True, check=False)
        if asked.returncode == 0:
            minor = json.loads(asked.stdout)["clientVersion"]["minor"].rstrip("+")
            found.setdefault(f"1.{minor}", path)
    known = sorted(found, key=lambda version: int(version.partition(".")[2]))
    return {version: found[version] for version in {*known[:1], *known[-1:]}}


KUBECTLS = versions()


class Kubectl:
    def __init__(self, path: Path, backend: Backend, home: Path, version: str) -> None:
        self.minor = int(version.removeprefix("1."))
        self.namespace = ""
        self._command = [str(path), f"--kubeconfig={backend.kubeconfig}", f"--cache-dir={home}/cache"]
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(home)}

    def run(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        scope = [f"--namespace={self.namespace}"] if self.namespace else []
        done = subprocess.run(
            [*self._command, *scope, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=60,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        return self.run(*arguments, stdin=stdin).stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, f"--namespace={self.namespace}", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
        )


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    directory = tmp_path_factory.mktemp("kubectl")
    with in_thread(lambda: embedded_backend(directory)) as backend:
        yield backend


@pytest.fixture(
    scope="module", params=sorted(KUBECTLS) or [pytest.param("", marks=pytest.mark.skip("no kubectl is installed"))]
)
def installed(request: pytest.FixtureRequest, embedded: Backend, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return Kubectl(KUBECTLS[request.param], embedded, tmp_path_factory.mktemp("home"), request.param)


@pytest.fixture
def kubectl(installed: Kubectl) -> Iterator[Kubectl]:
    namespace = unique("ns")
    body = yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    installed.namespace = ""
    installed("apply", "-f", "-", stdin=body)
    installed.namespace = namespace
    yield installed
    installed.namespace = ""
    installed("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def applied(kubectl: Kubectl) -> Kubectl:
    kubectl("apply", "-f", "-", stdin=MANIFEST.replace("REPLICAS", "2"))
    return kubectl


@pytest.fixture
def gadgets(kubectl: Kubectl) -> Kubectl:
    kubectl("apply", "-f", "-", stdin=CRD)
    kubectl("wait", "--for=condition=Established", "crd/gadgets.example.com", "--timeout=10s")
    kubectl("apply", "-f", "-", stdin=GADGET)
    return kubectl


def test_version_and_resources(kubectl: Kubectl) -> None:
    assert "+embedded" in kubectl("version", "-o", "json")
    listed = kubectl("api-resources", "-o", "name").split()
    assert {"pods", "deployments.apps", "networkpolicies.networking.k8s.io", "leases.coordination.k8s.io"} <= set(
        listed
    )
    assert "po" in kubectl("api-resources")
    assert "networking.k8s.io/v1" in kubectl("api-versions").split()


def test_apply_is_idempotent(applied: Kubectl) -> None:
    again = applied("apply", "-f", "-", stdin=MANIFEST.replace("REPLICAS", "2"))
    assert again.count("unchanged") == 3
    changed = applied("apply", "-f", "-", stdin=MANIFEST.replace("REPLICAS", "3"))
    assert "deployment.apps/web configured" in changed
    assert changed.count("unchanged") == 2
    assert applied("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "3"


def test_apply_removes_what_the_manifest_drops(applied: Kubectl) -> None:
    without = MANIFEST.replace("REPLICAS", "2").replace("{name: web, labels: {app: web}}", "{name: web}", 1)
    applied("apply", "-f", "-", stdin=without)
    assert applied("get", "deployment", "web", "-o", "jsonpath={.metadata.labels}") in ("", "{}", "map[]")


def test_apply_on_the_server(kubectl: Kubectl) -> None:
    manifest = MANIFEST.replace("REPLICAS", "2")
    assert kubectl("apply", "--server-side", "-f", "-", stdin=manifest).count("serverside-applied") == 3
    without = manifest.replace(", labels: {app: web}}", "}", 1)
    kubectl("apply", "--server-side", "-f", "-", stdin=without)
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.metadata.labels}") in ("", "{}", "map[]")


def test_dry_runs_and_diff(applied: Kubectl) -> None:
    changed = MANIFEST.replace("REPLICAS", "7")
    assert "configured (server dry run)" in applied("apply", "--dry-run=server", "-f", "-", stdin=changed)
    differing = applied.run("diff", "-f", "-", stdin=changed, check=False)
    assert differing.returncode == 1, differing.stderr
    assert "+  replicas: 7" in differing.stdout
    assert applied("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    assert applied.run("diff", "-f", "-", stdin=MANIFEST.replace("REPLICAS", "2")).stdout == ""


def test_get(applied: Kubectl) -> None:
    header, row = applied("get", "pods", "-o", "wide").splitlines()
    assert header.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert row.split()[:4] == ["one", "0/1", "Pending", "0"]
    assert row.split()[6] == "n1"
    everything = applied("get", "all")
    assert "pod/one" in everything
    assert "service/web" in everything
    assert "deployment.apps/web" in everything
    assert yaml.safe_load(applied("get", "pod", "one", "-o", "yaml"))["spec"]["nodeName"] == "n1"
    assert applied("get", "pods", "-l", "app=web", "-o", "name").strip() == "pod/one"
    assert applied("get", "pods", "--field-selector=spec.nodeName=n2", "-o", "name") == ""
    assert "one" in applied("get", "pods", "--all-namespaces", "--sort-by=.metadata.name")
    missing = applied.run("get", "pod", "none", check=False)
    assert missing.stderr.strip() == 'Error from server (NotFound): pods "none" not found'


async def test_get_and_watch(applied: Kubectl) -> None:
    watching = applied.start("get", "pods", "-w", "--no-headers")
    assert watching.stdout is not None
    try:
        first = await asyncio.to_thread(watching.stdout.readline)
        assert first.split()[:3] == ["one", "0/1", "Pending"]
        await asyncio.to_thread(applied, "delete", "pod", "one", "--wait=false")
        second = await asyncio.to_thread(watching.stdout.readline)
        assert second.split()[:3] == ["one", "0/1", "Terminating"]
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()


def test_patch_label_annotate_scale(applied: Kubectl) -> None:
    applied("label", "pod", "one", "colour=red")
    applied("annotate", "pod", "one", "note=text")
    applied("label", "pod", "one", "app-")
    applied("patch", "pod", "one", "-p", '{"metadata":{"labels":{"strategic":"1"}}}')
    applied("patch", "pod", "one", "--type=merge", "-p", '{"metadata":{"labels":{"merge":"1"}}}')
    applied("patch", "pod", "one", "--type=json", "-p", '[{"op":"add","path":"/metadata/labels/json","value":"1"}]')
    meta = json.loads(applied("get", "pod", "one", "-o", "json"))["metadata"]
    assert meta["labels"] == {"colour": "red", "strategic": "1", "merge": "1", "json": "1"}
    assert meta["annotations"]["note"] == "text"
    applied("scale", "deployment", "web", "--replicas=5")
    assert applied("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "5"
    applied("set", "image", "deployment/web", "c=example/image:2")
    assert "example/image:2" in applied("get", "deployment", "web", "-o", "wide")


def test_create_and_replace(kubectl: Kubectl) -> None:
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: '1'}\n"
    assert "configmap/m created" in kubectl("create", "-f", "-", stdin=body)
    again = kubectl.run("create", "-f", "-", stdin=body, check=False)
    assert "AlreadyExists" in again.stderr
    kubectl("replace", "-f", "-", stdin=body.replace("'1'", "'2'"))
    assert kubectl("get", "configmap", "m", "-o", "jsonpath={.data.a}") == "2"
    kubectl("replace", "--force", "-f", "-", stdin=body)
    assert kubectl("get", "configmap", "m", "-o", "jsonpath={.data.a}") == "1"


def test_create_by_kind(kubectl: Kubectl) -> None:
    """From 1.32 on this is a protobuf body, which is refused with the way round it."""
    done = kubectl.run("create", "configmap", "made", "--from-literal=a=b", check=False)
    if kubectl.minor >= 32:
        assert "--dry-run=client" in done.stderr
        body = kubectl("create", "configmap", "made", "--from-literal=a=b", "--dry-run=client", "-o", "yaml")
        kubectl("apply", "-f", "-", stdin=body)
    assert kubectl("get", "configmap", "made", "-o", "jsonpath={.data.a}") == "b"


def test_describe(applied: Kubectl) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "one", "namespace": applied.namespace},
        "reason": "Because",
        "message": "it was told to",
        "type": "Normal",
    }
    event["involvedObject"]["uid"] = applied("get", "pod", "one", "-o", "jsonpath={.metadata.uid}")  # type: ignore[index]
    applied("create", "-f", "-", stdin=json.dumps(event))
    text = applied("describe", "pod", "one")
    assert "example/image:1" in text
    assert "it was told to" in text
    assert "NodePort" in applied("describe", "service", "web")
    assert "RollingUpdate" in applied("describe", "deployment", "web")
    assert "Because" in applied("get", "events")


def test_wait_and_delete(applied: Kubectl) -> None:
    late = applied.run("wait", "--for=condition=Ready", "pod/one", "--timeout=1s", check=False)
    assert "timed out" in late.stderr
    conditions = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'
    if applied.minor >= 24:
        applied("patch", "pod", "one", "--subresource=status", "-p", conditions)
        applied("wait", "--for=condition=Ready", "pod/one", "--timeout=10s")
        applied("wait", "--for=jsonpath={.status.phase}=Pending", "pod/one", "--timeout=10s")
    applied("delete", "pod", "one", "--grace-period=0", "--force")
    applied("wait", "--for=delete", "pod/one", "--timeout=10s") if applied.minor >= 24 else None
    gone = applied("delete", "deployment,service", "web")
    assert "deleted" in gone
    assert applied("get", "deployments,services", "-o", "name") == ""


def test_delete_by_label_and_all(kubectl: Kubectl) -> None:
    for name, label in (("a", "x"), ("b", "x"), ("c", "z")):
        body = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{l: {label}}}}}\n"
        kubectl("apply", "-f", "-", stdin=body)
    kubectl("delete", "configmap", "-l", "l=x")
    assert kubectl("get", "configmap", "-o", "name").split() == ["configmap/c"]
    kubectl("delete", "configmap", "--all")
    assert kubectl("get", "configmap", "-o", "name") == ""


def test_mistakes_are_found(kubectl: Kubectl) -> None:
    body = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: {containrs: []}\n"
    done = kubectl.run("apply", "-f", "-", stdin=body, check=False)
    assert done.returncode != 0
    assert "containrs" in done.stderr


def test_custom_resources(gadgets: Kubectl) -> None:
    assert gadgets("get", "gd").split() == ["NAME", "SIZE", "g", "3"]
    unchanged = gadgets("apply", "-f", "-", stdin=GADGET)
    assert "unchanged" in unchanged
    gadgets("apply", "-f", "-", stdin=GADGET.replace("size: 3", "size: 4"))
    assert gadgets("get", "gadget", "g", "-o", "jsonpath={.spec.size}/{.spec.free.a[0]}") == "4/1"
    wrong = gadgets.run("apply", "-f", "-", stdin=GADGET.replace("size: 3", "size: big"), check=False)
    assert "size" in wrong.stderr
    unknown = gadgets.run("apply", "-f", "-", stdin=GADGET.replace("size: 3", "seize: 3"), check=False)
    assert "seize" in unknown.stderr
    assert "Gadget" in gadgets("describe", "gadget", "g")
    gadgets("delete", "gadget", "g")
    assert gadgets("get", "gadgets", "-o", "name") == ""


def test_explain(gadgets: Kubectl) -> None:
    assert "List of ports to expose" in gadgets("explain", "pod.spec.containers.ports")
    assert "how large it is" in gadgets("explain", "gadget.spec")


def test_may_i(kubectl: Kubectl) -> None:
    if kubectl.minor < 32:  # later ones ask in protobuf
        assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"

"""The same objects on both servers come back the same: defaults, canonical forms and printed columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from api_harness import Answer, Backend, Client, Object, embedded_backend, in_thread, real_backend, unique

pytestmark = pytest.mark.real_kubernetes
OBJECTS = list(yaml.safe_load_all((Path(__file__).parent / "parity.yaml").read_text()))
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
# What each server chooses for itself, and what the embedded one leaves to admission plugins and controllers.
OWN = {
    "managedFields", "uid", "resourceVersion", "creationTimestamp", "lastTransitionTime", "lastPhaseTransitionTime",
    "clusterIP", "clusterIPs", "nodePort", "controller-uid", "batch.kubernetes.io/controller-uid", "namespace",
    "taints", "nodeInfo", "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection",
}  # fmt: skip
NO_COLUMNS = {"PersistentVolume"}
PROTECTED = {"PersistentVolume", "PersistentVolumeClaim"}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Backend, Backend]]:
    import os

    from ovnbridge.lab.kubernetes import find_binaries

    if not os.environ.get("OVNBRIDGE_REAL_KUBECONFIG") and find_binaries() is None:
        pytest.skip("the real control plane is not built: run `make kube`")
    first, second = (tmp_path_factory.mktemp(name) for name in ("embedded", "real"))
    with in_thread(lambda: embedded_backend(first)) as embedded, in_thread(lambda: real_backend(second)) as real:
        yield embedded, real


def comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items() if key not in OWN}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    return value


async def path_of(client: Client, obj: Object, namespace: str) -> str:
    base = f"/apis/{obj['apiVersion']}" if "/" in obj["apiVersion"] else f"/api/{obj['apiVersion']}"
    resources = (await client.get(base)).body["resources"]
    found = next(r for r in resources if r["kind"] == obj["kind"] and "/" not in r["name"])
    return f"{base}/namespaces/{namespace}/{found['name']}" if found["namespaced"] else f"{base}/{found['name']}"


async def created(client: Client, obj: Object) -> tuple[Answer, Answer]:
    """The object as it is created, and its table."""
    namespace = unique("parity")
    await client.post("/api/v1/namespaces", {"metadata": {"name": namespace}})
    if obj["kind"] == "Event":
        obj = {**obj, "involvedObject": {**obj["involvedObject"], "namespace": namespace}}
    if obj["kind"] == "Pod":
        await client.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "sa"}})
    path = await path_of(client, obj, namespace)
    name = f"{path}/{obj['metadata']['name']}"
    try:
        made = await client.post(path, obj, fieldValidation="Strict")
        table = await client.request("GET", name, accept=TABLE)
    finally:
        await client.delete(name, {"gracePeriodSeconds": 0})
        await client.delete(f"/api/v1/namespaces/{namespace}")
    return made, table


def columns(table: Answer) -> list[tuple[Any, ...]]:
    return [(c["name"], c["type"], c["format"], c["priority"]) for c in table.body["columnDefinitions"]]


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: f"{obj['kind']}-{obj['metadata']['name']}")
async def test_created_alike(both: tuple[Backend, Backend], obj: Object) -> None:
    async with aiohttp.ClientSession() as session:
        made, table = await created(Client(both[0], session), obj)
        real, real_table = await created(Client(both[1], session), obj)
    assert real.code == 201, real.body
    assert made.code == 201, made.body
    if obj["kind"] in PROTECTED:
        real.body["metadata"].pop("finalizers", None)
    assert comparable(made.body) == comparable(real.body)
    if obj["kind"] not in NO_COLUMNS:
        assert columns(table) == columns(real_table)

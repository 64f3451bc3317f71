"""Malformed objects: whatever a client sends, the answer is a refusal or an object, never a bug."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from api_harness import Object, config_map, deployment, pod, service, widget, widget_crd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovnbridge.lab.api.errors import ApiError
from ovnbridge.lab.api.lifecycle import Lifecycle
from ovnbridge.lab.api.objects import Objects, WriteOptions
from ovnbridge.lab.api.resources import Registry, Resource
from ovnbridge.lab.api.services import ServiceAllocator
from ovnbridge.lab.api.store import Store
from ovnbridge.lab.api.tables import render

GROUP = "hostile.example.com"
OPTIONS = WriteOptions(manager="test")


class Machine:
    """The server without its HTTP part and its event loop."""

    def __init__(self) -> None:
        store = Store(1000)
        self.registry = Registry(store)
        services = ServiceAllocator(("10.96.0.0/12",))
        store.listeners.append(services.changed)
        self.objects = Objects(store, self.registry, services)
        self.lifecycle = Lifecycle(store, self.registry, self.objects)
        self.create("", "v1", "namespaces", {"metadata": {"name": "default"}})
        crds = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        self.create(*crds, widget_crd(GROUP))

    def create(self, group: str, version: str, plural: str, obj: Object) -> bytes:
        resource = self.registry.get(group, version, plural)
        return self.objects.create(resource, "default" if resource.namespaced else "", obj, OPTIONS)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine()


SEEDS: dict[tuple[str, str, str], Object] = {
    ("", "v1", "pods"): pod(
        "x",
        node="n",
        volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}],
        tolerations=[{"operator": "Exists"}],
        schedulingGates=[{"name": "a.b/c"}],
    ),
    ("", "v1", "services"): service("x", type="NodePort", clusterIP="10.96.5.5", ipFamilies=["IPv4"]),
    ("", "v1", "configmaps"): config_map("x", a="b"),
    ("", "v1", "secrets"): {"metadata": {"name": "x"}, "stringData": {"a": "b"}},
    ("", "v1", "nodes"): {"metadata": {"name": "x"}, "spec": {"podCIDR": "10.0.0.0/24"}},
    ("", "v1", "events"): {
        "metadata": {"name": "x"},
        "involvedObject": {"kind": "Pod", "namespace": "default"},
        "source": {"component": "c"},
    },
    ("apps", "v1", "deployments"): deployment("x"),
    ("apps", "v1", "daemonsets"): {
        key: value for key, value in deployment("x").items() if key not in ("kind", "apiVersion")
    },
    ("batch", "v1", "jobs"): {
        "metadata": {"name": "x"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    },
    ("batch", "v1", "cronjobs"): {
        "metadata": {"name": "x"},
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {
                "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
            },
        },
    },
    ("networking.k8s.io", "v1", "networkpolicies"): {
        "metadata": {"name": "x"},
        "spec": {
            "podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
            "ingress": [
                {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 1}]}
            ],
        },
    },
    ("discovery.k8s.io", "v1", "endpointslices"): {
        "metadata": {"name": "x"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 1}],
    },
    ("rbac.authorization.k8s.io", "v1", "rolebindings"): {
        "metadata": {"name": "x"},
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": "default"}],
    },
    ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"): {
        "metadata": {"name": "x"},
        "webhooks": [
            {
                "name": "a.b.c",
                "clientConfig": {"service": {"name": "s", "namespace": "n"}},
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "rules": [{"operations": ["*"]}],
            }
        ],
    },
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"): widget_crd("other.example.com"),
    (GROUP, "v1", "widgets"): widget(GROUP, "x", parts=[{"name": "a"}], tags=["t"], labels={"a": "b"}, extra={"a": []}),
}
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70).filter(lambda number: -(2**63) <= number < 2**64),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just([{}]),
    st.just({"": None}),
    st.just([[1]]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def spoilt(obj: Object, data: st.DataObject) -> Object:
    """The object with one or two of its parts replaced by something else, or gone."""
    changed = copy.deepcopy(obj)
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(list(places(changed)) or [("metadata",)]))
        parent: Any = changed
        for key in path[:-1]:
            parent = parent[key]
        if data.draw(st.booleans()) or not isinstance(parent, dict):
            parent[path[-1]] = copy.deepcopy(data.draw(junk))
        else:
            parent.pop(path[-1], None)
    return changed


def is_refusal(refusal: ApiError) -> None:
    """The one 500 is the real server's own: a resource version on a create."""
    assert 400 <= refusal.code < 500 or "resourceVersion" in refusal.message
    assert orjson.dumps(refusal.status())


def unwritten(machine: Machine, resource: Resource, key: tuple[str, str]) -> None:
    if key in resource.collection.objects:
        resource.collection.remove(key)


@pytest.mark.parametrize("name", SEEDS, ids=lambda name: name[2])
def test_the_seeds_are_accepted(machine: Machine, name: tuple[str, str, str]) -> None:
    resource = machine.registry.get(*name)
    made = orjson.loads(machine.create(*name, copy.deepcopy(SEEDS[name])))
    key = (made["metadata"].get("namespace", ""), made["metadata"]["name"])
    assert render(resource, [made], None, "Object")["rows"]
    if resource.plural != "customresourcedefinitions":
        unwritten(machine, resource, key)


@pytest.mark.parametrize("name", SEEDS, ids=lambda name: name[2])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spoilt_objects(machine: Machine, name: tuple[str, str, str], data: st.DataObject) -> None:
    resource = machine.registry.get(*name)
    dry = WriteOptions(manager="test", dry_run=True)
    namespace = "default" if resource.namespaced else ""
    obj = spoilt(SEEDS[name], data)
    try:
        made = machine.objects.create(resource, namespace, obj, dry)
    except ApiError as refusal:
        is_refusal(refusal)
    else:
        render(resource, [orjson.loads(made)], None, "Object")


@pytest.mark.parametrize("name", [name for name in SEEDS if name[2] != "customresourcedefinitions"], ids=lambda n: n[2])
@pytest.mark.parametrize(
    "kind",
    ["application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"],
    ids=["merge", "strategic", "apply"],
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spoilt_patches(machine: Machine, name: tuple[str, str, str], kind: str, data: st.DataObject) -> None:
    resource = machine.registry.get(*name)
    if "strategic" in kind and not resource.builtin:
        return
    namespace = "default" if resource.namespaced else ""
    key = (namespace, "x")
    if key not in resource.collection.objects:
        machine.create(*name, copy.deepcopy(SEEDS[name]))
    patch = spoilt(SEEDS[name], data)
    sub = data.draw(st.sampled_from(["", "status"])) if "status" in resource.subresources else ""
    dry = WriteOptions(manager="test", dry_run=True)
    try:
        code, made = machine.objects.patch(resource, key, kind, patch, dry, sub)
    except ApiError as refusal:
        is_refusal(refusal)
    else:
        assert code == 200
        render(resource, [orjson.loads(made)], None, "Object")

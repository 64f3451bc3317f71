"""What a Kubernetes API server does: one suite for the embedded server and for a real kube-apiserver.

The expectations are the real server's; run both with `-m real_kubernetes` (or give OVNBRIDGE_REAL_KUBECONFIG) and
without.  Nothing here may know which server it talks to.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from api_harness import (
    APPLY,
    JSON_PATCH,
    MERGE,
    STRATEGIC,
    Answer,
    Client,
    Object,
    config_map,
    deployment,
    eventually,
    pod,
    service,
    unique,
    widget,
    widget_crd,
)


def maps(ns: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{ns}/configmaps" + (f"/{name}" if name else "")


def pods(ns: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{ns}/pods" + (f"/{name}" if name else "")


def services(ns: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{ns}/services" + (f"/{name}" if name else "")


def deployments(ns: str, name: str = "") -> str:
    return f"/apis/apps/v1/namespaces/{ns}/deployments" + (f"/{name}" if name else "")


def widgets(group: str, ns: str, name: str = "") -> str:
    return f"/apis/{group}/v1/namespaces/{ns}/widgets" + (f"/{name}" if name else "")


def names(answer: Answer) -> list[str]:
    return [item["metadata"]["name"] for item in answer.body["items"]]


async def made(api: Client, path: str, body: Object) -> Object:
    answer = await api.post(path, body)
    assert answer.code == 201, answer.body
    result: Object = answer.body
    return result


async def gone(api: Client, path: str) -> None:
    async def missing() -> bool:
        return (await api.get(path)).code == 404

    await eventually(missing, f"{path} is gone")


# -- discovery ---------------------------------------------------------------------------------------------------


async def test_version(api: Client) -> None:
    version = (await api.get("/version")).body
    assert version["major"] == "1"
    assert version["gitVersion"].startswith("v1.")


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_health(api: Client, path: str) -> None:
    answer = await api.get(path)
    assert (answer.code, answer.body) == (200, b"ok")


async def test_discovery_of_core(api: Client) -> None:
    listed = (await api.get("/api/v1")).body
    found = {resource["name"]: resource for resource in listed["resources"]}
    assert found["pods"]["kind"] == "Pod"
    assert found["pods"]["namespaced"] is True
    assert found["pods"]["shortNames"] == ["po"]
    assert found["nodes"]["namespaced"] is False
    assert "pods/status" in found
    assert "watch" in found["services"]["verbs"]


async def test_discovery_of_groups(api: Client) -> None:
    listed = (await api.get("/apis")).body
    assert listed["kind"] == "APIGroupList"
    apps = next(group for group in listed["groups"] if group["name"] == "apps")
    assert apps["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert (await api.get("/apis/apps")).body["kind"] == "APIGroup"
    scale = [r for r in (await api.get("/apis/apps/v1")).body["resources"] if r["name"] == "deployments/scale"]
    assert (scale[0]["group"], scale[0]["version"], scale[0]["kind"]) == ("autoscaling", "v1", "Scale")


async def test_aggregated_discovery(api: Client) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    answer = await api.request("GET", "/apis", accept=accept)
    assert answer.body["kind"] == "APIGroupDiscoveryList"
    assert "as=APIGroupDiscoveryList" in answer.headers["Content-Type"]
    apps = next(item for item in answer.body["items"] if item["metadata"]["name"] == "apps")
    resources = {r["resource"]: r for r in apps["versions"][0]["resources"]}
    assert resources["deployments"]["responseKind"]["kind"] == "Deployment"
    assert resources["deployments"]["scope"] == "Namespaced"


async def test_custom_resource_is_discovered(api: Client, group: str) -> None:
    async def listed() -> Any:
        return (await api.get(f"/apis/{group}/v1")).body.get("resources")

    found = {r["name"]: r for r in await eventually(listed, "discovery")}
    assert found["widgets"]["shortNames"] == ["wd"]
    assert found["widgets"]["singularName"] == "widget"
    assert {"widgets/status", "widgets/scale"} <= set(found)


@pytest.mark.parametrize(
    "path",
    ["/apis/nothing.example.com/v1/things", "/api/v1/unicorns", "/apis/apps/v1/namespaces/default/nothing", "/nowhere"],
)
async def test_unknown_paths(api: Client, path: str) -> None:
    assert (await api.get(path)).code == 404


# -- create, read, update -----------------------------------------------------------------------------------------


async def test_create_fills_in_metadata(api: Client, ns: str) -> None:
    obj = await made(api, maps(ns), config_map("one", a="b"))
    meta = obj["metadata"]
    assert (obj["apiVersion"], obj["kind"], meta["name"], meta["namespace"]) == ("v1", "ConfigMap", "one", ns)
    assert meta["uid"]
    assert int(meta["resourceVersion"]) > 0
    assert meta["creationTimestamp"].endswith("Z")
    assert "generation" not in meta
    got = (await api.get(maps(ns, "one"))).body
    assert got["data"] == {"a": "b"}
    assert got["metadata"]["resourceVersion"] == meta["resourceVersion"]


async def test_create_twice(api: Client, ns: str) -> None:
    await made(api, maps(ns), config_map("one"))
    again = await api.post(maps(ns), config_map("one"))
    assert (again.code, again.reason) == (409, "AlreadyExists")
    assert again.message == 'configmaps "one" already exists'
    assert again.body["details"] == {"name": "one", "kind": "configmaps"}


async def test_not_found(api: Client, ns: str) -> None:
    answer = await api.get(deployments(ns, "none"))
    assert (answer.code, answer.reason) == (404, "NotFound")
    assert answer.message == 'deployments.apps "none" not found'
    assert answer.body["details"] == {"name": "none", "group": "apps", "kind": "deployments"}


async def test_generate_name(api: Client, ns: str) -> None:
    body = {"metadata": {"generateName": "many-"}}
    first, second = await made(api, maps(ns), body), await made(api, maps(ns), body)
    assert first["metadata"]["name"].startswith("many-")
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert first["metadata"]["generateName"] == "many-"


async def test_create_without_name(api: Client, ns: str) -> None:
    answer = await api.post(maps(ns), {"metadata": {}})
    assert (answer.code, answer.reason, answer.fields) == (422, "Invalid", ["metadata.name"])


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a..b", "x" * 254])
async def test_bad_names(api: Client, ns: str, name: str) -> None:
    answer = await api.post(maps(ns), config_map(name))
    assert (answer.code, answer.fields) == (422, ["metadata.name"])


async def test_create_in_missing_namespace(api: Client) -> None:
    answer = await api.post(maps("not-there"), config_map("one"))
    assert (answer.code, answer.message) == (404, 'namespaces "not-there" not found')


async def test_create_with_other_namespace(api: Client, ns: str) -> None:
    body = config_map("one")
    body["metadata"]["namespace"] = "default"
    assert (await api.post(maps(ns), body)).code == 400


async def test_create_with_wrong_kind(api: Client, ns: str) -> None:
    assert (await api.post(maps(ns), pod("one"))).code == 400
    wrong_version = {**config_map("one"), "apiVersion": "apps/v1"}
    assert (await api.post(maps(ns), wrong_version)).code == 400


async def test_create_with_resource_version(api: Client, ns: str) -> None:
    body = config_map("one")
    body["metadata"]["resourceVersion"] = "5"
    answer = await api.post(maps(ns), body)
    assert answer.code == 500
    assert "resourceVersion should not be set on objects to be created" in answer.message


async def test_bodies_that_are_not_objects(api: Client, ns: str) -> None:
    for body in (b"{", b"[]", b'"text"'):
        assert (await api.request("POST", maps(ns), body)).code == 400


async def test_yaml_body(api: Client, ns: str) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-yaml}\ndata: {when: '2020-01-01'}\n"
    answer = await api.request("POST", maps(ns), body, kind="application/yaml")
    assert (answer.code, answer.body["data"]) == (201, {"when": "2020-01-01"})


async def test_replace(api: Client, ns: str) -> None:
    obj = await made(api, maps(ns), config_map("one", a="1"))
    obj["data"] = {"b": "2"}
    answer = await api.put(maps(ns, "one"), obj)
    assert (answer.code, answer.body["data"]) == (200, {"b": "2"})
    assert int(answer.body["metadata"]["resourceVersion"]) > int(obj["metadata"]["resourceVersion"])
    stale = await api.put(maps(ns, "one"), obj)
    assert (stale.code, stale.reason) == (409, "Conflict")
    assert "the object has been modified" in stale.message


async def test_replace_without_resource_version(api: Client, ns: str) -> None:
    await made(api, maps(ns), config_map("one", a="1"))
    assert (await api.put(maps(ns, "one"), config_map("one", a="2"))).code == 200


async def test_replace_keeps_system_fields(api: Client, ns: str) -> None:
    obj = await made(api, maps(ns), config_map("one"))
    body = config_map("one", a="2")
    body["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z"
    answer = await api.put(maps(ns, "one"), body)
    assert answer.body["metadata"]["creationTimestamp"] == obj["metadata"]["creationTimestamp"]
    body["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    assert (await api.put(maps(ns, "one"), body)).code == 409


async def test_replace_with_other_name(api: Client, ns: str) -> None:
    await made(api, maps(ns), config_map("one"))
    assert (await api.put(maps(ns, "one"), config_map("two"))).code == 400


async def test_replace_missing(api: Client, ns: str) -> None:
    assert (await api.put(maps(ns, "none"), config_map("none"))).code == 404


async def test_replace_without_change_writes_nothing(api: Client, ns: str) -> None:
    obj = await made(api, maps(ns), config_map("one", a="1"))
    answer = await api.put(maps(ns, "one"), obj)
    assert answer.body["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]


# -- strictness -----------------------------------------------------------------------------------------------


async def test_unknown_field_strict(api: Client, ns: str) -> None:
    answer = await api.post(pods(ns), pod("one", unicorn=True), fieldValidation="Strict")
    assert answer.code == 400
    assert 'unknown field "spec.unicorn"' in answer.message


async def test_unknown_field_warns_and_is_dropped(api: Client, ns: str) -> None:
    answer = await api.post(pods(ns), pod("one", unicorn=True))
    assert answer.code == 201
    assert "unicorn" not in answer.body["spec"]
    assert 'unknown field \\"spec.unicorn\\"' in answer.headers["Warning"]


@pytest.mark.parametrize(
    "spec", [{"hostNetwork": "yes"}, {"containers": {}}, {"priority": "high"}, {"nodeSelector": {"a": 1}}]
)
async def test_wrong_types(api: Client, ns: str, spec: Object) -> None:
    assert (await api.post(pods(ns), pod("one", **spec))).code == 400


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"containers": []}, "spec.containers"),
        ({"containers": [{"image": "i"}]}, "spec.containers[0].name"),
        ({"containers": [{"name": "A_b", "image": "i"}]}, "spec.containers[0].name"),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy"),
        ({"dnsPolicy": "Nope"}, "spec.dnsPolicy"),
        ({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 0}]}]},
         "spec.containers[0].ports[0].containerPort"),
        ({"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
         "spec.containers[0].volumeMounts[0].name"),
    ],
)  # fmt: skip
async def test_invalid_pods(api: Client, ns: str, spec: Object, field: str) -> None:
    answer = await api.post(pods(ns), pod("one", **spec))
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert field in answer.fields


async def test_invalid_labels(api: Client, ns: str) -> None:
    answer = await api.post(pods(ns), pod("one", labels={"a": "not ok"}))
    assert (answer.code, answer.fields) == (422, ["metadata.labels"])


# -- dry run -----------------------------------------------------------------------------------------------------


async def test_dry_run_writes_nothing(api: Client, ns: str) -> None:
    assert (await api.post(maps(ns), config_map("dry"), dryRun="All")).code == 201
    assert (await api.get(maps(ns, "dry"))).code == 404
    obj = await made(api, maps(ns), config_map("wet", a="1"))
    changed = await api.patch(maps(ns, "wet"), MERGE, {"data": {"a": "2"}}, dryRun="All")
    assert (changed.code, changed.body["data"]) == (200, {"a": "2"})
    replaced = await api.put(maps(ns, "wet"), config_map("wet", a="3"), dryRun="All")
    assert replaced.body["data"] == {"a": "3"}
    applied = {**config_map("wet", b="4")}
    assert (await api.patch(maps(ns, "wet"), APPLY, applied, fieldManager="m", dryRun="All")).code == 200
    assert (await api.delete(maps(ns, "wet"), dryRun="All")).code == 200
    assert (await api.get(maps(ns, "wet"))).body["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]
    assert (await api.post(maps(ns), config_map("x"), dryRun="Some")).code == 422


# -- patches -----------------------------------------------------------------------------------------------------


async def test_merge_patch(api: Client, ns: str) -> None:
    await made(api, maps(ns), config_map("one", a="1", b="2"))
    answer = await api.patch(maps(ns, "one"), MERGE, {"data": {"a": None, "c": "3"}})
    assert (answer.code, answer.body["data"]) == (200, {"b": "2", "c": "3"})


async def test_json_patch(api: Client, ns: str) -> None:
    await made(api, maps(ns), config_map("one", a="1"))
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "2"},
        {"op": "add", "path": "/metadata/labels", "value": {"x~y/z": "1"}},
    ]
    refused = await api.patch(maps(ns, "one"), JSON_PATCH, operations)
    assert refused.code == 422  # the label's name is not valid
    operations[2]["value"] = {"x.y/z": "1"}
    answer = await api.patch(maps(ns, "one"), JSON_PATCH, operations)
    assert answer.body["metadata"]["labels"] == {"x.y/z": "1"}
    remove = [{"op": "remove", "path": "/metadata/labels/x.y~1z"}]
    assert "labels" not in (await api.patch(maps(ns, "one"), JSON_PATCH, remove)).body["metadata"]


async def test_json_patch_failures(api: Client, ns: str) -> None:
    await made(api, maps(ns), config_map("one", a="1"))
    wrong = [{"op": "test", "path": "/data/a", "value": "2"}]
    assert (await api.patch(maps(ns, "one"), JSON_PATCH, wrong)).code == 422
    missing = [{"op": "remove", "path": "/data/zzz"}]
    assert (await api.patch(maps(ns, "one"), JSON_PATCH, missing)).code == 422
    assert (await api.patch(maps(ns, "one"), JSON_PATCH, {"op": "add"})).code == 400


async def test_strategic_merge_patch_of_containers(api: Client, ns: str) -> None:
    await made(api, deployments(ns), deployment("web"))
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "other:2"}]}}}}
    answer = await api.patch(deployments(ns, "web"), STRATEGIC, change)
    (container,) = answer.body["spec"]["template"]["spec"]["containers"]
    assert (container["name"], container["image"]) == ("c", "other:2")
    assert container["imagePullPolicy"] == "IfNotPresent"
    change = {"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "d:1"}]}}}}
    answer = await api.patch(deployments(ns, "web"), STRATEGIC, change)
    assert {c["name"] for c in answer.body["spec"]["template"]["spec"]["containers"]} == {"c", "d"}
    change = {"spec": {"template": {"spec": {"containers": [{"$patch": "delete", "name": "d"}]}}}}
    answer = await api.patch(deployments(ns, "web"), STRATEGIC, change)
    assert [c["name"] for c in answer.body["spec"]["template"]["spec"]["containers"]] == ["c"]


async def test_strategic_merge_patch_of_ports_and_finalizers(api: Client, ns: str) -> None:
    await made(api, services(ns), service("web", ports=[{"name": "a", "port": 80}]))
    answer = await api.patch(services(ns, "web"), STRATEGIC, {"spec": {"ports": [{"name": "b", "port": 81}]}})
    assert {port["port"] for port in answer.body["spec"]["ports"]} == {80, 81}
    for finalizer in ("example.com/one", "example.com/two"):
        answer = await api.patch(services(ns, "web"), STRATEGIC, {"metadata": {"finalizers": [finalizer]}})
    assert set(answer.body["metadata"]["finalizers"]) == {"example.com/one", "example.com/two"}
    change = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/one", "example.com/two"]}}
    answer = await api.patch(services(ns, "web"), STRATEGIC, change)
    assert not answer.body["metadata"].get("finalizers")


async def test_merge_patch_replaces_lists(api: Client, ns: str) -> None:
    await made(api, services(ns), service("web", ports=[{"name": "a", "port": 80}]))
    answer = await api.patch(services(ns, "web"), MERGE, {"spec": {"ports": [{"name": "b", "port": 81}]}})
    assert [port["port"] for port in answer.body["spec"]["ports"]] == [81]


async def test_patch_kinds(api: Client, ns: str, group: str) -> None:
    await made(api, maps(ns), config_map("one"))
    assert (await api.patch(maps(ns, "one"), "application/json", {})).code == 415
    await made(api, widgets(group, ns), widget(group, "w"))
    assert (await api.patch(widgets(group, ns, "w"), STRATEGIC, {})).code == 415
    assert (await api.patch(maps(ns, "none"), MERGE, {"data": {}})).code == 404


async def test_patch_with_resource_version(api: Client, ns: str) -> None:
    await made(api, maps(ns), config_map("one"))
    answer = await api.patch(maps(ns, "one"), MERGE, {"metadata": {"resourceVersion": "1"}, "data": {"a": "1"}})
    assert (answer.code, answer.reason) == (409, "Conflict")


async def test_patch_without_change_writes_nothing(api: Client, ns: str) -> None:
    obj = await made(api, maps(ns), config_map("one", a="1"))
    answer = await api.patch(maps(ns, "one"), MERGE, {"data": {"a": "1"}})
    assert answer.body["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]


async def test_patch_may_not_rename(api: Client, ns: str) -> None:
    await made(api, maps(ns), config_map("one"))
    assert (await api.patch(maps(ns, "one"), MERGE, {"metadata": {"name": "two"}})).code in (400, 422)


# -- apply -----------------------------------------------------------------------------------------------------


async def test_apply_creates_and_merges(api: Client, ns: str) -> None:
    created = await api.patch(maps(ns, "one"), APPLY, config_map("one", a="1", b="2"), fieldManager="me")
    assert (created.code, created.body["data"]) == (201, {"a": "1", "b": "2"})
    other = await api.patch(maps(ns, "one"), APPLY, config_map("one", c="3"), fieldManager="you")
    assert (other.code, other.body["data"]) == (200, {"a": "1", "b": "2", "c": "3"})
    fewer = await api.patch(maps(ns, "one"), APPLY, config_map("one", a="1"), fieldManager="me")
    assert fewer.body["data"] == {"a": "1", "c": "3"}


async def test_apply_merges_lists_by_key(api: Client, ns: str) -> None:
    def applied(*ports: Object) -> Object:
        return service("web", ports=list(ports))

    path = services(ns, "web")
    await api.patch(path, APPLY, applied({"name": "a", "port": 80}), fieldManager="me")
    answer = await api.patch(path, APPLY, applied({"name": "b", "port": 81}), fieldManager="you")
    assert {port["name"] for port in answer.body["spec"]["ports"]} == {"a", "b"}


async def test_apply_needs_a_manager(api: Client, ns: str) -> None:
    assert (await api.patch(maps(ns, "one"), APPLY, config_map("one"))).code in (400, 422)


# -- lists -----------------------------------------------------------------------------------------------------


async def test_list(api: Client, ns: str) -> None:
    for name in ("b", "a", "c"):
        await made(api, services(ns), service(name))
    answer = await api.get(services(ns))
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("ServiceList", "v1")
    assert names(answer) == ["a", "b", "c"]
    assert int(answer.body["metadata"]["resourceVersion"]) > 0
    assert "kind" not in answer.body["items"][0]  # items of a builtin list carry no type
    everywhere = await api.get("/api/v1/services")
    assert {"a", "b", "c", "kubernetes"} <= set(names(everywhere))


async def test_list_of_custom_resources_carries_types(api: Client, ns: str, group: str) -> None:
    await made(api, widgets(group, ns), widget(group, "w"))
    answer = await api.get(widgets(group, ns))
    assert answer.body["kind"] == "WidgetList"
    assert answer.body["items"][0]["kind"] == "Widget"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=web", ["one", "two"]),
        ("app==web,tier=back", ["two"]),
        ("app!=web", ["four", "three"]),
        ("app", ["one", "three", "two"]),
        ("!app", ["four"]),
        ("app in (web, db)", ["one", "three", "two"]),
        ("app notin (web)", ["four", "three"]),
        ("tier in (back),app", ["two"]),
        ("weight>3", ["three"]),
        ("weight<3", ["one"]),
        ("app=", []),
    ],
)
async def test_label_selectors(api: Client, labelled: str, selector: str, expected: list[str]) -> None:
    answer = await api.get(pods(labelled), labelSelector=selector)
    assert (answer.code, names(answer)) == (200, expected)


@pytest.fixture
async def labelled(api: Client, ns: str) -> str:
    for name, labels in (
        ("one", {"app": "web", "weight": "1"}),
        ("two", {"app": "web", "tier": "back"}),
        ("three", {"app": "db", "weight": "5"}),
        ("four", {"tier": "none"}),
    ):
        await made(api, pods(ns), pod(name, labels=labels, node="n1" if name == "one" else ""))
    return ns


@pytest.mark.parametrize("selector", ["a in b", "=b", "a=b c", "a in (b", "-x"])
async def test_bad_label_selectors(api: Client, ns: str, selector: str) -> None:
    assert (await api.get(pods(ns), labelSelector=selector)).code == 400


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("metadata.name=one", ["one"]),
        ("metadata.name!=one", ["four", "three", "two"]),
        ("spec.nodeName=n1", ["one"]),
        ("spec.nodeName=", ["four", "three", "two"]),
        ("status.phase=Pending,spec.nodeName=n1", ["one"]),
        ("spec.hostNetwork=true", []),
        ("spec.restartPolicy=Always", ["four", "one", "three", "two"]),
    ],
)
async def test_field_selectors(api: Client, labelled: str, selector: str, expected: list[str]) -> None:
    answer = await api.get(pods(labelled), fieldSelector=selector)
    assert (answer.code, names(answer)) == (200, expected)


async def test_unsupported_field_selector(api: Client, ns: str) -> None:
    assert (await api.get(pods(ns), fieldSelector="spec.unicorn=1")).code == 400


async def test_field_selector_on_events(api: Client, ns: str) -> None:
    body = {
        "metadata": {"name": "e1"},
        "involvedObject": {"kind": "Pod", "name": "one", "namespace": ns, "uid": "u1"},
        "reason": "Because",
        "message": "text",
        "type": "Warning",
    }
    await made(api, f"/api/v1/namespaces/{ns}/events", body)
    path = f"/api/v1/namespaces/{ns}/events"
    assert names(await api.get(path, fieldSelector="involvedObject.name=one,involvedObject.kind=Pod")) == ["e1"]
    assert names(await api.get(path, fieldSelector="involvedObject.uid=u2")) == []
    assert names(await api.get(path, fieldSelector="reason=Because,type=Warning")) == ["e1"]


async def test_selectable_fields_of_custom_resources(api: Client, ns: str, group: str) -> None:
    await made(api, widgets(group, ns), widget(group, "r", colour="red"))
    await made(api, widgets(group, ns), widget(group, "b", colour="blue"))
    assert names(await api.get(widgets(group, ns), fieldSelector="spec.colour=blue")) == ["b"]
    assert (await api.get(widgets(group, ns), fieldSelector="spec.size=1")).code == 400


async def test_paging(api: Client, ns: str) -> None:
    for index in range(5):
        await made(api, services(ns), service(f"s{index}", clusterIP="None"))
    first = await api.get(services(ns), limit="2")
    assert names(first) == ["s0", "s1"]
    assert first.body["metadata"]["remainingItemCount"] == 3
    # The pages show one moment: what is written between them is not in.
    await made(api, services(ns), service("s2a", clusterIP="None"))
    await api.delete(services(ns, "s3"))
    token = first.body["metadata"]["continue"]
    second = await api.get(services(ns), limit="2", **{"continue": token})
    assert names(second) == ["s2", "s3"]
    assert second.body["metadata"]["resourceVersion"] == first.body["metadata"]["resourceVersion"]
    third = await api.get(services(ns), limit="2", **{"continue": second.body["metadata"]["continue"]})
    assert names(third) == ["s4"]
    assert not third.body["metadata"].get("continue")


async def test_bad_continue(api: Client, ns: str) -> None:
    assert (await api.get(pods(ns), limit="2", **{"continue": "nonsense"})).code == 400


async def test_list_at_exact_version(api: Client, ns: str) -> None:
    await made(api, maps(ns), config_map("one"))
    before = await api.get(maps(ns))
    await made(api, maps(ns), config_map("two"))
    version = before.body["metadata"]["resourceVersion"]
    then = await api.get(maps(ns), resourceVersion=version, resourceVersionMatch="Exact")
    assert names(then) == names(before)
    assert then.body["metadata"]["resourceVersion"] == version
    newer = await api.get(maps(ns), resourceVersion=version, resourceVersionMatch="NotOlderThan")
    assert "two" in names(newer)


async def test_list_version_parameters(api: Client, ns: str) -> None:
    assert (await api.get(maps(ns), resourceVersionMatch="Exact")).code == 422
    assert (await api.get(maps(ns), resourceVersion="0", resourceVersionMatch="Exact")).code == 422
    assert (await api.get(maps(ns), resourceVersion="zero")).code in (400, 422, 500)
    assert (await api.get(maps(ns), resourceVersion="0")).code == 200


async def test_list_from_the_future(api: Client, ns: str) -> None:
    answer = await api.get(maps(ns), resourceVersion="999999999999")
    assert (answer.code, answer.reason) == (504, "Timeout")
    assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


# -- watches -----------------------------------------------------------------------------------------------------


async def version_of(api: Client, path: str) -> str:
    return str((await api.get(path)).body["metadata"]["resourceVersion"])


async def test_watch_from_version(api: Client, ns: str) -> None:
    version = await version_of(api, services(ns))
    async with api.watch(services(ns), resourceVersion=version) as watch:
        created = await made(api, services(ns), service("one"))
        patched = await api.patch(services(ns, "one"), MERGE, {"metadata": {"labels": {"a": "b"}}})
        await api.delete(services(ns, "one"))
        events = await watch.take(3)
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert events[0]["object"]["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert events[1]["object"]["metadata"]["resourceVersion"] == patched.body["metadata"]["resourceVersion"]
    assert int(events[2]["object"]["metadata"]["resourceVersion"]) > int(patched.body["metadata"]["resourceVersion"])
    assert events[2]["object"]["metadata"]["labels"] == {"a": "b"}
    assert events[0]["object"]["kind"] == "Service"


async def test_watch_replays_history(api: Client, ns: str) -> None:
    version = await version_of(api, services(ns))
    for name in ("one", "two"):
        await made(api, services(ns), service(name))
    await api.delete(services(ns, "one"))
    async with api.watch(services(ns), resourceVersion=version) as watch:
        events = await watch.take(3)
    seen = [(event["type"], event["object"]["metadata"]["name"]) for event in events]
    assert seen == [("ADDED", "one"), ("ADDED", "two"), ("DELETED", "one")]


@pytest.mark.parametrize("version", ["", "0"])
async def test_watch_from_nothing_starts_with_the_present(api: Client, ns: str, version: str) -> None:
    await made(api, services(ns), service("one"))

    async def seen() -> bool:
        return names(await api.get(services(ns), resourceVersion="0")) == ["one"]

    await eventually(seen, "the cache has it")
    async with api.watch(services(ns), resourceVersion=version) as watch:
        first = await watch.next()
        await made(api, services(ns), service("two"))
        second = await watch.next()
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in (first, second)] == [
        ("ADDED", "one"),
        ("ADDED", "two"),
    ]


async def test_watch_with_selector(api: Client, ns: str) -> None:
    version = await version_of(api, services(ns))
    async with api.watch(services(ns), resourceVersion=version, labelSelector="on=yes") as watch:
        await made(api, services(ns), service("one"))
        await api.patch(services(ns, "one"), MERGE, {"metadata": {"labels": {"on": "yes"}}})
        await api.patch(services(ns, "one"), MERGE, {"metadata": {"annotations": {"x": "y"}}})
        await api.patch(services(ns, "one"), MERGE, {"metadata": {"labels": {"on": "no"}}})
        await api.delete(services(ns, "one"))
        await made(api, services(ns), {**service("two"), "metadata": {"name": "two", "labels": {"on": "yes"}}})
        events = await watch.take(4)
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
    # What left the selection is shown as it was while it was still in it.
    assert events[2]["object"]["metadata"]["labels"] == {"on": "yes"}


async def test_watch_by_field(api: Client, ns: str) -> None:
    version = await version_of(api, pods(ns))
    async with api.watch(pods(ns), resourceVersion=version, fieldSelector="spec.nodeName=n1") as watch:
        await made(api, pods(ns), pod("elsewhere", node="n2"))
        await made(api, pods(ns), pod("late"))
        binding = {"metadata": {"name": "late"}, "target": {"kind": "Node", "name": "n1"}}
        assert (await api.post(pods(ns, "late") + "/binding", binding)).code == 201
        event = await watch.next()
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "late")


async def test_watch_one_name(api: Client, ns: str) -> None:
    version = await version_of(api, services(ns))
    async with api.watch(services(ns), resourceVersion=version, fieldSelector="metadata.name=two") as watch:
        for name in ("one", "two"):
            await made(api, services(ns), service(name))
        assert (await watch.next())["object"]["metadata"]["name"] == "two"


async def test_watch_ends_after_its_timeout(api: Client, ns: str) -> None:
    version = await version_of(api, services(ns))
    async with asyncio.timeout(10):
        async with api.watch(services(ns), resourceVersion=version, timeoutSeconds="1") as watch:
            assert [event["type"] for event in await watch.rest()] in ([], ["BOOKMARK"])


async def test_watch_with_initial_events(api: Client, ns: str) -> None:
    await made(api, services(ns), service("one"))
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }
    async with api.watch(services(ns), **query) as watch:
        first, second = await watch.take(2)
        await made(api, services(ns), service("two"))
        third = await watch.next()
    assert (first["type"], second["type"], third["type"]) == ("ADDED", "BOOKMARK", "ADDED")
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert second["object"]["kind"] == "Service"
    assert int(second["object"]["metadata"]["resourceVersion"]) > 0


async def test_watch_parameters(api: Client, ns: str) -> None:
    assert (await api.get(services(ns), watch="true", sendInitialEvents="true")).code == 422
    assert (await api.get(services(ns), watch="1", resourceVersionMatch="NotOlderThan")).code == 422


async def test_go_booleans(api: Client, ns: str) -> None:
    async with api.watch(services(ns), watch="True", timeoutSeconds="1") as watch:
        assert watch.code == 200
        events = await watch.rest()
    assert all(event["type"] for event in events)


async def test_watch_custom_resources(api: Client, ns: str, group: str) -> None:
    async with api.watch(widgets(group, ns), resourceVersion=await version_of(api, widgets(group, ns))) as watch:
        await made(api, widgets(group, ns), widget(group, "w"))
        event = await watch.next()
    assert (event["type"], event["object"]["kind"]) == ("ADDED", "Widget")


# -- tables --------------------------------------------------------------------------------------------------------


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def test_table_of_pods(api: Client, ns: str) -> None:
    await made(api, pods(ns), pod("one", node="n1"))
    table = (await api.request("GET", pods(ns), accept=TABLE)).body
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [column["name"] for column in table["columnDefinitions"]]
    assert columns == [
        "Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates",
    ]  # fmt: skip
    assert [column["priority"] for column in table["columnDefinitions"]] == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    (row,) = table["rows"]
    assert row["cells"][:4] == ["one", "0/1", "Pending", "0"]
    assert row["cells"][5:] == ["<none>", "n1", "<none>", "<none>"]
    assert row["object"]["kind"] == "PartialObjectMetadata"


async def test_table_of_services(api: Client, ns: str) -> None:
    await made(api, services(ns), service("one", clusterIP="None", selector={"a": "b"}, ports=[{"port": 53}]))
    table = (await api.request("GET", services(ns), accept=TABLE)).body
    cells = table["rows"][0]["cells"]
    assert cells[:5] == ["one", "ClusterIP", "None", "<none>", "53/TCP"]
    assert cells[6] == "a=b"


async def test_table_of_custom_resources(api: Client, ns: str, group: str) -> None:
    await made(api, widgets(group, ns), widget(group, "w", size=7))
    table = (await api.request("GET", widgets(group, ns, "w"), accept=TABLE)).body
    assert [(c["name"], c["priority"]) for c in table["columnDefinitions"]] == [("Name", 0), ("Size", 0), ("Phase", 1)]
    assert table["rows"][0]["cells"] == ["w", 7, None]


async def test_metadata_only(api: Client, ns: str) -> None:
    await made(api, maps(ns), config_map("one", a="b"))
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
    listed = (await api.request("GET", maps(ns), accept=accept)).body
    assert listed["kind"] == "PartialObjectMetadataList"
    assert "one" in [item["metadata"]["name"] for item in listed["items"]]
    assert all("data" not in item for item in listed["items"])


# -- defaults ------------------------------------------------------------------------------------------------------


async def test_pod_defaults(api: Client, ns: str) -> None:
    containers = [{"name": "c", "image": "example/image", "ports": [{"containerPort": 80}]}]
    obj = await made(api, pods(ns), pod("one", containers=containers))
    spec = obj["spec"]
    assert spec["restartPolicy"] == "Always"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["dnsPolicy"] == "ClusterFirst"
    assert spec["schedulerName"] == "default-scheduler"
    assert spec["securityContext"] == {}
    assert spec["enableServiceLinks"] is True
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert {t["key"] for t in spec["tolerations"]} == {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    }
    (container,) = spec["containers"]
    assert container["imagePullPolicy"] == "Always"
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert container["resources"] == {}
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert (obj["status"]["phase"], obj["status"]["qosClass"]) == ("Pending", "BestEffort")
    assert obj["metadata"]["generation"] == 1


async def test_pod_volumes_and_probes(api: Client, ns: str) -> None:
    spec = {
        "volumes": [{"name": "e"}, {"name": "c", "configMap": {"name": "x"}}, {"name": "h", "hostPath": {"path": "/"}}],
        "containers": [
            {
                "name": "c",
                "image": "i:1",
                "readinessProbe": {"httpGet": {"port": 80}},
                "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            }
        ],
    }
    obj = await made(api, pods(ns), pod("one", **spec))
    assert obj["spec"]["volumes"] == [
        {"name": "e", "emptyDir": {}},
        {"name": "c", "configMap": {"name": "x", "defaultMode": 420}},
        {"name": "h", "hostPath": {"path": "/", "type": ""}},
    ]
    (container,) = obj["spec"]["containers"]
    assert container["readinessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container["env"][0]["valueFrom"]["fieldRef"] == {"apiVersion": "v1", "fieldPath": "metadata.name"}


async def test_deployment_defaults(api: Client, ns: str) -> None:
    spec = (await made(api, deployments(ns), deployment("web")))["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst"


async def test_network_policy_defaults(api: Client, ns: str) -> None:
    path = f"/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies"
    body = {
        "metadata": {"name": "np"},
        "spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]},
    }
    spec = (await made(api, path, body))["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"][0]["ports"] == [{"port": 53, "protocol": "TCP"}]
    body = {
        "metadata": {"name": "bad"},
        "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]},
    }
    answer = await api.post(path, body)
    assert (answer.code, answer.fields) == (422, ["spec.ingress[0].from[0].ipBlock.cidr"])


async def test_secret_string_data(api: Client, ns: str) -> None:
    body = {"metadata": {"name": "s"}, "stringData": {"a": "text"}, "data": {"b": "Yg=="}}
    obj = await made(api, f"/api/v1/namespaces/{ns}/secrets", body)
    assert obj["data"] == {"a": "dGV4dA==", "b": "Yg=="}
    assert "stringData" not in obj
    assert obj["type"] == "Opaque"


async def test_namespace_defaults(api: Client, ns: str) -> None:
    obj = (await api.get(f"/api/v1/namespaces/{ns}")).body
    assert obj["spec"]["finalizers"] == ["kubernetes"]
    assert obj["status"]["phase"] == "Active"
    assert obj["metadata"]["labels"] == {"kubernetes.io/metadata.name": ns}


async def test_initial_namespaces(api: Client) -> None:
    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= set(
        names(await api.get("/api/v1/namespaces"))
    )


# -- services ------------------------------------------------------------------------------------------------------


async def test_service_gets_an_address(api: Client, ns: str) -> None:
    spec = (await made(api, services(ns), service("one")))["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["clusterIP"].startswith("10.")
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert (spec["sessionAffinity"], spec["internalTrafficPolicy"]) == ("None", "Cluster")
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


async def test_kubernetes_service(api: Client) -> None:
    spec = (await api.get(services("default", "kubernetes"))).body["spec"]
    assert spec["clusterIP"] == "10.96.0.1"
    assert spec["ports"][0]["port"] == 443


async def test_headless_service(api: Client, ns: str) -> None:
    spec = (await made(api, services(ns), service("one", clusterIP="None", ports=[])))["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


async def test_external_name(api: Client, ns: str) -> None:
    body = {"metadata": {"name": "one"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}
    spec = (await made(api, services(ns), body))["spec"]
    assert "clusterIP" not in spec


async def test_chosen_cluster_address(api: Client, ns: str) -> None:
    chosen = (await made(api, services(ns), service("one")))["spec"]["clusterIP"]
    taken = await api.post(services(ns), service("two", clusterIP=chosen))
    assert (taken.code, taken.fields) == (422, ["spec.clusterIPs"])
    assert (await api.delete(services(ns, "one"))).code == 200
    assert (await made(api, services(ns), service("two", clusterIP=chosen)))["spec"]["clusterIP"] == chosen
    outside = await api.post(services(ns), service("three", clusterIP="192.0.2.1"))
    assert (outside.code, outside.fields) == (422, ["spec.clusterIPs"])


async def test_cluster_address_is_immutable(api: Client, ns: str) -> None:
    await made(api, services(ns), service("one"))
    answer = await api.patch(services(ns, "one"), MERGE, {"spec": {"clusterIP": "10.96.200.200", "clusterIPs": None}})
    assert (answer.code, answer.fields) == (422, ["spec.clusterIPs[0]"])


async def test_replaced_service_keeps_its_address(api: Client, ns: str) -> None:
    before = (await made(api, services(ns), service("one")))["spec"]["clusterIP"]
    answer = await api.put(services(ns, "one"), service("one", ports=[{"port": 81}]))
    assert (answer.code, answer.body["spec"]["clusterIP"]) == (200, before)


async def test_node_ports(api: Client, ns: str) -> None:
    spec = (await made(api, services(ns), service("one", type="NodePort")))["spec"]
    port = spec["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    assert spec["externalTrafficPolicy"] == "Cluster"
    again = service("two", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    taken = await api.post(services(ns), again)
    assert (taken.code, taken.fields) == (422, ["spec.ports[0].nodePort"])
    back = await api.patch(services(ns, "one"), MERGE, {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in back.body["spec"]["ports"][0]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"ports": []}, "spec.ports"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 80}, {"port": 81}]}, "spec.ports[0].name"),
        ({"ports": [{"port": 80, "protocol": "ICMP"}]}, "spec.ports[0].protocol"),
        ({"type": "Nope"}, "spec.type"),
        ({"type": "ExternalName"}, "spec.externalName"),
    ],
)
async def test_invalid_services(api: Client, ns: str, spec: Object, field: str) -> None:
    answer = await api.post(services(ns), service("one", **spec))
    assert answer.code == 422
    assert field in answer.fields


# -- immutable fields, generations, status --------------------------------------------------------------------------


async def test_pod_spec_is_immutable(api: Client, ns: str) -> None:
    await made(api, pods(ns), pod("one"))
    path = pods(ns, "one")
    for change in ({"nodeName": "n1"}, {"hostNetwork": True}, {"restartPolicy": "Never"}):
        answer = await api.patch(path, MERGE, {"spec": change})
        assert (answer.code, answer.fields) == (422, ["spec"]), change
    image = {"spec": {"containers": [{"name": "c", "image": "example/image:2"}]}}
    answer = await api.patch(path, STRATEGIC, image)
    assert (answer.code, answer.body["spec"]["containers"][0]["image"]) == (200, "example/image:2")
    assert answer.body["metadata"]["generation"] == 2


async def test_selector_is_immutable(api: Client, ns: str) -> None:
    await made(api, deployments(ns), deployment("web"))
    labels = {"app": "web", "x": "y"}
    change = {"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}
    answer = await api.patch(deployments(ns, "web"), MERGE, change)
    assert (answer.code, answer.fields) == (422, ["spec.selector"])


async def test_selector_must_match_template(api: Client, ns: str) -> None:
    body = deployment("web", selector={"matchLabels": {"app": "other"}})
    answer = await api.post(deployments(ns), body)
    assert (answer.code, answer.fields) == (422, ["spec.template.metadata.labels"])


async def test_generation_of_deployments(api: Client, ns: str) -> None:
    obj = await made(api, deployments(ns), deployment("web"))
    assert obj["metadata"]["generation"] == 1
    path = deployments(ns, "web")
    labelled = await api.patch(path, MERGE, {"metadata": {"labels": {"a": "b"}}})
    assert labelled.body["metadata"]["generation"] == 1
    status = await api.patch(f"{path}/status", MERGE, {"status": {"observedGeneration": 1}})
    assert status.body["metadata"]["generation"] == 1
    scaled = await api.patch(path, MERGE, {"spec": {"replicas": 3}})
    assert scaled.body["metadata"]["generation"] == 2


async def test_pod_status(api: Client, ns: str) -> None:
    await made(api, pods(ns), pod("one", node="n1"))
    path = pods(ns, "one")
    ignored = await api.patch(path, MERGE, {"status": {"phase": "Running"}})
    assert ignored.body["status"]["phase"] == "Pending"
    conditions = [{"type": "Ready", "status": "True"}]
    change = {
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "conditions": conditions}
    }
    answer = await api.patch(f"{path}/status", STRATEGIC, change)
    assert (answer.code, answer.body["status"]["phase"]) == (200, "Running")
    more = {"status": {"conditions": [{"type": "Other", "status": "False"}]}}
    answer = await api.patch(f"{path}/status", STRATEGIC, more)
    assert {c["type"] for c in answer.body["status"]["conditions"]} == {"Ready", "Other"}
    spec = await api.patch(f"{path}/status", MERGE, {"spec": {"hostNetwork": True}})
    assert (spec.code, spec.body["spec"].get("hostNetwork")) == (200, None)
    assert (await api.get(f"{path}/status")).body["status"]["phase"] == "Running"


async def test_node_status(api: Client) -> None:
    name = unique("node")
    try:
        await made(api, "/api/v1/nodes", {"metadata": {"name": name}})
        change = {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.5"}]}}
        answer = await api.patch(f"/api/v1/nodes/{name}/status", STRATEGIC, change)
        assert answer.body["status"]["addresses"] == change["status"]["addresses"]
    finally:
        await api.delete(f"/api/v1/nodes/{name}")


async def test_scale(api: Client, ns: str) -> None:
    await made(api, deployments(ns), deployment("web"))
    path = f"{deployments(ns, 'web')}/scale"
    scale = (await api.get(path)).body
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 1})
    assert scale["status"]["selector"] == "app=web"
    changed = await api.patch(path, MERGE, {"spec": {"replicas": 4}})
    assert (changed.code, changed.body["spec"]["replicas"]) == (200, 4)
    assert (await api.get(deployments(ns, "web"))).body["spec"]["replicas"] == 4
    scale = changed.body
    del scale["metadata"]["resourceVersion"]
    scale["spec"]["replicas"] = 2
    assert (await api.put(path, scale)).body["spec"]["replicas"] == 2


# -- custom resources ------------------------------------------------------------------------------------------------


async def test_custom_defaults_and_pruning(api: Client, ns: str, group: str) -> None:
    obj = await made(
        api, widgets(group, ns), widget(group, "w", unknown=1, extra={"kept": {"deep": 1}}, labels={"a": "b"})
    )
    assert obj["spec"] == {
        "size": 1,
        "colour": "red",
        "extra": {"kept": {"deep": 1}},
        "labels": {"a": "b"},
        "nested": {"on": True},
    }
    assert obj["metadata"]["generation"] == 1


async def test_custom_unknown_field_strict(api: Client, ns: str, group: str) -> None:
    answer = await api.post(widgets(group, ns), widget(group, "w", unknown=1), fieldValidation="Strict")
    assert answer.code == 400
    assert 'unknown field "spec.unknown"' in answer.message


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"size": "big"}, "spec.size"),
        ({"size": 0}, "spec.size"),
        ({"size": 11}, "spec.size"),
        ({"size": 1.5}, "spec.size"),
        ({"colour": "green"}, "spec.colour"),
        ({"address": "10.0.0.300"}, "spec.address"),
        ({"code": "UPPER"}, "spec.code"),
        ({"code": "toolong"}, "spec.code"),
        ({"port": 1.5}, "spec.port"),
        ({"labels": {"a": 1}}, "spec.labels.a"),
        ({"nested": {"on": "yes"}}, "spec.nested.on"),
        ({"tags": ["a", "a"]}, "spec.tags[1]"),
        ({"parts": [{"name": "a"}, {"name": "a"}]}, "spec.parts[1]"),
        ({"parts": [{"count": 1}]}, "spec.parts[0].name"),
    ],
)
async def test_custom_validation(api: Client, ns: str, group: str, spec: Object, field: str) -> None:
    answer = await api.post(widgets(group, ns), widget(group, "w", **spec))
    assert (answer.code, answer.reason) == (422, "Invalid"), answer.body
    assert field in answer.fields


async def test_custom_required(api: Client, ns: str, group: str) -> None:
    body = widget(group, "w")
    del body["spec"]["size"]
    answer = await api.post(widgets(group, ns), body)
    assert (answer.code, answer.fields) == (422, ["spec.size"])
    assert answer.body["details"]["causes"][0]["reason"] == "FieldValueRequired"


async def test_custom_nullable(api: Client, ns: str, group: str) -> None:
    obj = await made(api, widgets(group, ns), widget(group, "w", maybe=None, colour=None, code=None, port="http"))
    assert "code" not in obj["spec"]
    assert obj["spec"]["colour"] == "red"  # null is dropped where there is a default
    assert obj["spec"]["maybe"] is None
    assert obj["spec"]["port"] == "http"


async def test_custom_status_subresource(api: Client, ns: str, group: str) -> None:
    body = {**widget(group, "w"), "status": {"phase": "Early"}}
    obj = await made(api, widgets(group, ns), body)
    assert "status" not in obj
    path = widgets(group, ns, "w")
    obj["status"] = {"phase": "Ready", "unknown": 1}
    obj["spec"]["size"] = 5
    obj["metadata"]["labels"] = {"a": "b"}
    answer = await api.put(f"{path}/status", obj)
    assert answer.body["status"] == {"phase": "Ready"}
    assert answer.body["spec"]["size"] == 1
    assert "labels" not in answer.body["metadata"]
    assert answer.body["metadata"]["generation"] == 1
    kept = await api.patch(path, MERGE, {"spec": {"size": 2}, "status": {"phase": "Other"}})
    assert (kept.body["status"], kept.body["metadata"]["generation"]) == ({"phase": "Ready"}, 2)
    wrong = await api.patch(f"{path}/status", MERGE, {"status": {"phase": 1}})
    assert (wrong.code, wrong.fields) == (422, ["status.phase"])


async def test_a_patch_for_another_incarnation(api: Client, ns: str, group: str) -> None:
    """The uid guards a patch, but not one of a custom resource's status: there only the version does."""
    other = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}}
    await made(api, maps(ns), config_map("one"))
    answer = await api.patch(maps(ns, "one"), MERGE, {**other, "data": {"a": "b"}})
    assert (answer.code, set(answer.fields)) == (422, {"metadata.uid"})
    await made(api, pods(ns), pod("one"))
    answer = await api.patch(f"{pods(ns, 'one')}/status", MERGE, {**other, "status": {"phase": "Running"}})
    assert (answer.code, set(answer.fields)) == (422, {"metadata.uid"})
    custom = await made(api, widgets(group, ns), widget(group, "w"))
    path = widgets(group, ns, "w")
    answer = await api.patch(path, MERGE, {**other, "spec": {"size": 2}})
    assert (answer.code, set(answer.fields)) == (422, {"metadata.uid"})
    answer = await api.patch(f"{path}/status", MERGE, {**other, "status": {"phase": "Ready"}})
    assert (answer.code, answer.body["status"]) == (200, {"phase": "Ready"})
    assert answer.body["metadata"]["uid"] == custom["metadata"]["uid"]
    old = {"metadata": {"resourceVersion": custom["metadata"]["resourceVersion"]}, "status": {"phase": "Early"}}
    answer = await api.patch(f"{path}/status", MERGE, old)
    assert (answer.code, answer.reason) == (409, "Conflict")
    both = {"metadata": {**other["metadata"], "resourceVersion": "1"}, "data": {"a": "b"}}
    answer = await api.patch(maps(ns, "one"), MERGE, both)
    assert (answer.code, answer.reason) == (409, "Conflict")


async def test_custom_replace_needs_resource_version(api: Client, ns: str, group: str) -> None:
    obj = await made(api, widgets(group, ns), widget(group, "w"))
    answer = await api.put(widgets(group, ns, "w"), widget(group, "w", size=2))
    assert (answer.code, answer.fields) == (422, ["metadata.resourceVersion"])
    obj["spec"]["size"] = 2
    assert (await api.put(widgets(group, ns, "w"), obj)).code == 200


async def test_custom_scale(api: Client, ns: str, group: str) -> None:
    await made(api, widgets(group, ns), widget(group, "w", size=3))
    path = f"{widgets(group, ns, 'w')}/scale"
    assert (await api.get(path)).body["spec"] == {"replicas": 3}
    changed = await api.patch(path, MERGE, {"spec": {"replicas": 4}})
    assert changed.body["spec"] == {"replicas": 4}
    assert (await api.get(widgets(group, ns, "w"))).body["spec"]["size"] == 4


async def test_custom_apply(api: Client, ns: str, group: str) -> None:
    path = widgets(group, ns, "w")
    first = await api.patch(path, APPLY, widget(group, "w", parts=[{"name": "a", "count": 1}]), fieldManager="me")
    assert first.code == 201
    other = {**widget(group, "w", parts=[{"name": "b"}])}
    second = await api.patch(path, APPLY, other, fieldManager="you")
    assert [part["name"] for part in second.body["spec"]["parts"]] == ["a", "b"]


async def test_crd_is_established(api: Client, group: str) -> None:
    crd = (await api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}")).body
    conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
    assert (conditions["Established"], conditions["NamesAccepted"]) == ("True", "True")
    assert crd["status"]["storedVersions"] == ["v1"]
    assert crd["spec"]["names"]["listKind"] == "WidgetList"
    assert crd["spec"]["names"]["singular"] == "widget"


@pytest.mark.parametrize("wrong", ["name", "storage", "schema", "scope"])
async def test_invalid_crds(api: Client, wrong: str) -> None:
    crd = widget_crd("broken.example.com")
    if wrong == "name":
        crd["metadata"]["name"] = "other.broken.example.com"
    elif wrong == "storage":
        crd["spec"]["versions"][0]["storage"] = False
    elif wrong == "schema":
        del crd["spec"]["versions"][0]["schema"]
    else:
        crd["spec"]["scope"] = "Universe"
    answer = await api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    assert (answer.code, answer.reason) == (422, "Invalid")


async def test_two_versions_of_one_resource(api: Client, ns: str) -> None:
    group = f"{unique('g')}.example.com"
    crd = widget_crd(group)
    second = {**crd["spec"]["versions"][0], "name": "v2", "storage": False}
    crd["spec"]["versions"].append(second)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await made(api, path, crd)
    try:

        async def served() -> bool:
            return (await api.get(f"/apis/{group}/v2/widgets")).code == 200

        await eventually(served, "v2 is served")
        await made(api, widgets(group, ns), widget(group, "w"))
        newer = await api.get(f"/apis/{group}/v2/namespaces/{ns}/widgets/w")
        assert (newer.code, newer.body["apiVersion"]) == (200, f"{group}/v2")
        changed = await api.patch(f"/apis/{group}/v2/namespaces/{ns}/widgets/w", MERGE, {"spec": {"size": 9}})
        assert changed.body["apiVersion"] == f"{group}/v2"
        older = await api.get(widgets(group, ns, "w"))
        assert (older.body["apiVersion"], older.body["spec"]["size"]) == (f"{group}/v1", 9)
    finally:
        await api.delete(f"{path}/widgets.{group}")


async def test_deleting_a_crd_deletes_its_objects(api: Client, ns: str) -> None:
    group = f"{unique('g')}.example.com"
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await made(api, path, widget_crd(group))

    async def served() -> bool:
        return (await api.get(f"/apis/{group}/v1/widgets")).code == 200

    await eventually(served, "the CRD is served")
    await made(api, widgets(group, ns), widget(group, "w"))
    await api.delete(f"{path}/widgets.{group}")
    await gone(api, f"{path}/widgets.{group}")

    async def unserved() -> bool:
        return (await api.get(widgets(group, ns, "w"))).code == 404

    await eventually(unserved, "the resource is not served any more")


# -- events --------------------------------------------------------------------------------------------------------


async def test_events_are_seen_in_both_groups(api: Client, ns: str) -> None:
    body = {
        "metadata": {"name": "e1"},
        "eventTime": "2024-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Pod", "name": "one", "namespace": ns},
        "reason": "Because",
        "note": "text",
        "type": "Normal",
        "action": "Doing",
        "reportingController": "example.com/me",
        "reportingInstance": "me-1",
    }
    await made(api, f"/apis/events.k8s.io/v1/namespaces/{ns}/events", body)
    core = (await api.get(f"/api/v1/namespaces/{ns}/events/e1")).body
    assert (core["apiVersion"], core["message"], core["involvedObject"]["name"]) == ("v1", "text", "one")
    assert core["reportingComponent"] == "example.com/me"
    back = (await api.get(f"/apis/events.k8s.io/v1/namespaces/{ns}/events/e1")).body
    assert (back["apiVersion"], back["note"], back["regarding"]["kind"]) == ("events.k8s.io/v1", "text", "Pod")


# -- deletion ------------------------------------------------------------------------------------------------------


async def test_delete(api: Client, ns: str) -> None:
    obj = await made(api, maps(ns), config_map("one"))
    answer = await api.delete(maps(ns, "one"))
    assert (answer.code, answer.body["kind"], answer.body["status"]) == (200, "Status", "Success")
    assert answer.body["details"] == {"name": "one", "kind": "configmaps", "uid": obj["metadata"]["uid"]}
    assert (await api.delete(maps(ns, "one"))).code == 404


async def test_delete_of_a_service_answers_with_it(api: Client, ns: str) -> None:
    await made(api, services(ns), service("one"))
    assert (await api.delete(services(ns, "one"))).body["kind"] == "Service"


async def test_delete_preconditions(api: Client, ns: str) -> None:
    obj = await made(api, maps(ns), config_map("one"))
    wrong = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    assert (await api.delete(maps(ns, "one"), wrong)).code == 409
    assert (await api.delete(maps(ns, "one"), {"preconditions": {"resourceVersion": "1"}})).code == 409
    right = {"preconditions": {name: obj["metadata"][name] for name in ("uid", "resourceVersion")}}
    assert (await api.delete(maps(ns, "one"), right)).code == 200


async def test_finalizers(api: Client, ns: str) -> None:
    body = config_map("one")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await made(api, maps(ns), body)
    path = maps(ns, "one")
    held = await api.delete(path)
    assert (held.code, held.body["kind"]) == (200, "ConfigMap")
    assert held.body["metadata"]["deletionTimestamp"]
    assert held.body["metadata"]["deletionGracePeriodSeconds"] == 0
    again = await api.delete(path)
    assert again.body["metadata"]["deletionTimestamp"] == held.body["metadata"]["deletionTimestamp"]
    added = await api.patch(path, MERGE, {"metadata": {"finalizers": ["example.com/hold", "example.com/new"]}})
    assert (added.code, set(added.fields)) == (422, {"metadata.finalizers"})
    assert (await api.patch(path, MERGE, {"data": {"still": "writable"}})).code == 200
    released = await api.patch(path, MERGE, {"metadata": {"finalizers": None}})
    assert released.code == 200
    assert (await api.get(path)).code == 404


async def test_finalizer_watch(api: Client, ns: str) -> None:
    version = await version_of(api, services(ns))
    async with api.watch(services(ns), resourceVersion=version) as watch:
        body = service("one", clusterIP="None")
        body["metadata"]["finalizers"] = ["example.com/hold"]
        await made(api, services(ns), body)
        await api.delete(services(ns, "one"))
        await api.patch(services(ns, "one"), MERGE, {"metadata": {"finalizers": []}})
        events = await watch.take(3)
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert events[1]["object"]["metadata"]["deletionTimestamp"]


async def test_unscheduled_pod_goes_at_once(api: Client, ns: str) -> None:
    await made(api, pods(ns), pod("one"))
    answer = await api.delete(pods(ns, "one"))
    assert (answer.code, answer.body["kind"]) == (200, "Pod")
    assert (await api.get(pods(ns, "one"))).code == 404


async def test_scheduled_pod_waits_for_its_kubelet(api: Client, ns: str) -> None:
    await made(api, pods(ns), pod("one", node="n1"))
    path = pods(ns, "one")
    answer = await api.delete(path)
    assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await api.get(path)).body["metadata"]["deletionTimestamp"]
    sooner = await api.delete(path, {"gracePeriodSeconds": 5})
    assert sooner.body["metadata"]["deletionGracePeriodSeconds"] == 5
    assert (await api.delete(path, {"gracePeriodSeconds": 0})).code == 200
    assert (await api.get(path)).code == 404


async def test_finished_pod_goes_at_once(api: Client, ns: str) -> None:
    await made(api, pods(ns), pod("one", node="n1"))
    await api.patch(f"{pods(ns, 'one')}/status", MERGE, {"status": {"phase": "Succeeded"}})
    await api.delete(pods(ns, "one"))
    assert (await api.get(pods(ns, "one"))).code == 404


async def test_delete_collection(api: Client, ns: str) -> None:
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        body = config_map(name)
        body["metadata"]["labels"] = {"l": label}
        await made(api, maps(ns), body)
    assert (await api.delete(maps(ns), labelSelector="l=x")).code == 200
    left = names(await api.get(maps(ns), labelSelector="l"))
    assert left == ["c"]


async def test_delete_parameters(api: Client, ns: str) -> None:
    await made(api, maps(ns), config_map("one"))
    assert (await api.delete(maps(ns, "one"), {"propagationPolicy": "Sideways"})).code == 422


def owned(name: str, owner: Object, **extra: Any) -> Object:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        **extra,
    }
    body = config_map(name)
    body["metadata"]["ownerReferences"] = [reference]
    return body


async def test_background_collection(api: Client, ns: str) -> None:
    owner = await made(api, maps(ns), config_map("owner"))
    child = await made(api, maps(ns), owned("child", owner))
    await made(api, maps(ns), owned("grandchild", child))
    assert (await api.delete(maps(ns, "owner"), {"propagationPolicy": "Background"})).code == 200
    await gone(api, maps(ns, "child"))
    await gone(api, maps(ns, "grandchild"))


async def test_orphans_stay(api: Client, ns: str) -> None:
    owner = await made(api, maps(ns), config_map("owner"))
    await made(api, maps(ns), owned("child", owner))
    await api.delete(maps(ns, "owner"), {"propagationPolicy": "Orphan"})
    await gone(api, maps(ns, "owner"))
    child = await api.get(maps(ns, "child"))
    assert (child.code, child.body["metadata"].get("ownerReferences")) == (200, None)


async def test_foreground_deletion(api: Client, ns: str) -> None:
    owner = await made(api, maps(ns), config_map("owner"))
    body = owned("child", owner, blockOwnerDeletion=True)
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await made(api, maps(ns), body)
    held = await api.delete(maps(ns, "owner"), {"propagationPolicy": "Foreground"})
    assert held.body["metadata"]["finalizers"] == ["foregroundDeletion"]

    async def child_is_deleted() -> bool:
        return "deletionTimestamp" in (await api.get(maps(ns, "child"))).body["metadata"]

    await eventually(child_is_deleted, "the dependent is under deletion")
    assert (await api.get(maps(ns, "owner"))).code == 200
    child = (await api.get(maps(ns, "child"))).body
    left = [name for name in child["metadata"]["finalizers"] if name != "example.com/hold"]
    await api.patch(maps(ns, "child"), MERGE, {"metadata": {"finalizers": left}})
    await gone(api, maps(ns, "child"))
    await gone(api, maps(ns, "owner"))


async def test_namespace_deletion(api: Client) -> None:
    name = unique("doomed")
    await made(api, "/api/v1/namespaces", {"metadata": {"name": name}})
    body = config_map("held")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await made(api, maps(name), body)
    await made(api, services(name), service("free"))
    deleted = await api.delete(f"/api/v1/namespaces/{name}")
    assert (deleted.code, deleted.body["status"]["phase"]) == (200, "Terminating")
    refused = await api.post(maps(name), config_map("late"))
    assert (refused.code, refused.reason) == (403, "Forbidden")
    assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await gone(api, services(name, "free"))
    assert (await api.get(f"/api/v1/namespaces/{name}")).code == 200
    await api.patch(maps(name, "held"), MERGE, {"metadata": {"finalizers": None}})
    await gone(api, f"/api/v1/namespaces/{name}")


async def test_protected_namespaces(api: Client) -> None:
    assert (await api.delete("/api/v1/namespaces/kube-system")).code == 403


# -- other subresources ----------------------------------------------------------------------------------------------


async def test_binding_twice(api: Client, ns: str) -> None:
    await made(api, pods(ns), pod("one"))
    binding = {"metadata": {"name": "one"}, "target": {"kind": "Node", "name": "n1"}}
    assert (await api.post(f"{pods(ns, 'one')}/binding", binding)).code == 201
    assert (await api.get(pods(ns, "one"))).body["spec"]["nodeName"] == "n1"
    assert (await api.post(f"{pods(ns, 'one')}/binding", binding)).code == 409


async def test_eviction(api: Client, ns: str) -> None:
    await made(api, pods(ns), pod("one"))
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "one", "namespace": ns}}
    assert (await api.post(f"{pods(ns, 'one')}/eviction", body)).code == 201
    await gone(api, pods(ns, "one"))


async def test_access_review(api: Client) -> None:
    body = {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}}
    answer = await api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    assert (answer.code, answer.body["status"]["allowed"]) == (201, True)


async def test_lease_is_a_compare_and_swap(api: Client, ns: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
    lease = await made(api, path, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    lease["spec"]["holderIdentity"] = "b"
    assert (await api.put(f"{path}/l", lease)).code == 200
    lease["spec"]["holderIdentity"] = "c"
    assert (await api.put(f"{path}/l", lease)).code == 409
    del lease["metadata"]["resourceVersion"]
    assert (await api.put(f"{path}/l", lease)).code == 422


async def test_micro_times(api: Client, ns: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
    body = {"metadata": {"name": "l"}, "spec": {"renewTime": "2024-01-01T00:00:00Z"}}
    assert (await api.post(path, body)).code == 400
    body["spec"]["renewTime"] = "2024-01-01T00:00:00.000001Z"
    assert (await made(api, path, body))["spec"]["renewTime"] == "2024-01-01T00:00:00.000001Z"


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("1000m", "1"), ("0.5", "500m"), (2, "2"), ("1024Ki", "1Mi"), ("1000Mi", "1000Mi"), ("1.5Gi", "1536Mi"),
        ("1000", "1k"), ("1500", "1500"), ("0", "0"), ("100u", "1m"), ("1e3", "1e3"),
    ],
)  # fmt: skip
async def test_quantities(api: Client, ns: str, written: Any, stored: str) -> None:
    containers = [{"name": "c", "image": "i:1", "resources": {"requests": {"memory": written}}}]
    obj = await made(api, pods(ns), pod("one", containers=containers))
    assert obj["spec"]["containers"][0]["resources"]["requests"] == {"memory": stored}


async def test_empty_lists_and_maps_are_dropped(api: Client, ns: str) -> None:
    body = pod("one", nodeSelector={}, tolerations=[], volumes=[{"name": "e", "emptyDir": {}}])
    body["metadata"].update(labels={}, annotations={}, finalizers=[])
    obj = await made(api, pods(ns), body)
    assert not {"labels", "annotations", "finalizers"} & obj["metadata"].keys()
    assert "nodeSelector" not in obj["spec"]
    assert obj["spec"]["volumes"] == [{"name": "e", "emptyDir": {}}]


async def test_scheduling_gates(api: Client, ns: str) -> None:
    gated = pod("one", schedulingGates=[{"name": "example.com/wait"}])
    obj = await made(api, pods(ns), gated)
    assert obj["status"]["conditions"][0]["reason"] == "SchedulingGated"
    added = {"spec": {"schedulingGates": [{"name": "example.com/wait"}, {"name": "example.com/more"}]}}
    assert (await api.patch(pods(ns, "one"), MERGE, added)).code == 422
    opened = await api.patch(pods(ns, "one"), MERGE, {"spec": {"schedulingGates": None}})
    assert (opened.code, opened.body["spec"].get("schedulingGates")) == (200, None)


async def test_status_of_a_pod_may_carry_annotations(api: Client, ns: str) -> None:
    await made(api, pods(ns), pod("one"))
    change = {"metadata": {"annotations": {"a": "b"}}, "status": {"phase": "Running"}}
    answer = await api.patch(f"{pods(ns, 'one')}/status", MERGE, change)
    assert answer.body["metadata"].get("annotations") == {"a": "b"}


async def test_service_changes_type(api: Client, ns: str) -> None:
    address = (await made(api, services(ns), service("one")))["spec"]["clusterIP"]
    balanced = await api.patch(services(ns, "one"), MERGE, {"spec": {"type": "LoadBalancer"}})
    assert balanced.body["spec"]["clusterIP"] == address
    assert balanced.body["spec"]["ports"][0]["nodePort"]
    assert balanced.body["spec"]["allocateLoadBalancerNodePorts"] is True
    back = await api.patch(services(ns, "one"), MERGE, {"spec": {"type": "ClusterIP"}})
    assert "allocateLoadBalancerNodePorts" not in back.body["spec"]
    assert "externalTrafficPolicy" not in back.body["spec"]
    ingress = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}}
    await api.patch(services(ns, "one"), MERGE, {"spec": {"type": "LoadBalancer"}})
    answer = await api.patch(f"{services(ns, 'one')}/status", MERGE, ingress)
    assert answer.body["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.9"


async def test_crd_versions_and_columns_can_change(api: Client, ns: str, group: str) -> None:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}"
    await made(api, widgets(group, ns), widget(group, "w"))
    columns = [{"name": "Colour", "type": "string", "jsonPath": ".spec.colour"}]
    change = [{"op": "replace", "path": "/spec/versions/0/additionalPrinterColumns", "value": columns}]
    changed = await api.patch(path, JSON_PATCH, change)
    assert (changed.code, changed.body["metadata"]["generation"]) == (200, 2)

    async def shown() -> bool:
        table = (await api.request("GET", widgets(group, ns, "w"), accept=TABLE)).body
        return [column["name"] for column in table["columnDefinitions"]] == ["Name", "Colour"]

    await eventually(shown, "the new column")
    assert (await api.get(widgets(group, ns, "w"))).code == 200


async def test_endpoint_slices(api: Client, ns: str) -> None:
    path = f"/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices"
    body = {
        "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 80}],
    }
    obj = await made(api, path, body)
    assert obj["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
    assert obj["metadata"]["generation"] == 1
    changed = await api.patch(f"{path}/s", MERGE, {"endpoints": [{"addresses": ["10.0.0.2"]}]})
    assert changed.body["metadata"]["generation"] == 2
    wrong = await api.patch(f"{path}/s", MERGE, {"addressType": "IPv6"})
    assert "addressType" in wrong.fields


async def test_methods_that_are_not_allowed(api: Client, ns: str) -> None:
    assert (await api.request("POST", maps(ns, "one"), config_map("one"))).code == 405
    assert (await api.request("PUT", maps(ns), config_map("one"))).code == 405
    assert (await api.request("DELETE", "/api/v1/namespaces")).code == 405

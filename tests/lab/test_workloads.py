"""Deployments, StatefulSets, DaemonSets, Jobs, EndpointSlices and service accounts, on the embedded API."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
import yaml

from ovnbridge.lab import Lab
from ovnbridge.lab.workloads.common import hash_of, share
from ovnbridge.lab.workloads.names import hosts_lines
from ovnbridge.lab.workloads.selectors import matches, node_matches
from ovnbridge.model.resource import (
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    JOB,
    POD,
    REPLICA_SET,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Resource,
)

from .support import install_fake_network, pod, until


@pytest_asyncio.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(controller=False, cni=False) as made:
        install_fake_network(made)
        yield made
        assert (await made.status())["failures"] == []


def workload(resource: Resource, name: str, *, container: dict[str, Any] | None = None, **spec: Any) -> str:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "nginx", **(container or {})}],
            **spec.pop("pod", {}),
        },
    }
    value: dict[str, Any] = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        "spec": {"template": template, **spec},
    }
    if resource is not JOB:
        value["spec"]["selector"] = {"matchLabels": {"app": name}}
    return json.dumps(value) + "\n"


def service(name: str, **spec: Any) -> str:
    value = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, **spec},
    }
    return json.dumps(value) + "\n"


async def status(lab: Lab, resource: Resource, name: str) -> dict[str, Any]:
    for value in await lab.items(resource, "default"):
        if value["metadata"]["name"] == name:
            found: dict[str, Any] = value.get("status") or {}
            return found
    return {}


async def pod_names(lab: Lab) -> list[str]:
    return sorted(value["metadata"]["name"] for value in await lab.items(POD, "default"))


async def available(lab: Lab, name: str, count: int) -> bool:
    found = await status(lab, DEPLOYMENT, name)
    counts = [found.get(field, 0) for field in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    return counts == [count] * 4


async def test_deployment_scales_rolls_and_goes_with_everything(lab: Lab) -> None:
    await lab.apply(workload(DEPLOYMENT, "web", replicas=3))
    assert "successfully rolled out" in await lab.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    await lab.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=10s")
    assert Counter(value["spec"]["nodeName"] for value in await lab.items(POD)) == dict.fromkeys(lab.node_names, 1)
    await lab.kubectl("scale", "deployment/web", "--replicas=5")
    await until(lambda: available(lab, "web", 5), "five replicas")
    first = set(await pod_names(lab))
    await lab.kubectl("set", "image", "deployment/web", "c=nginx:2")
    await lab.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    await until(lambda: available(lab, "web", 5), "five new replicas")

    async def renewed() -> bool:
        return not first & set(await pod_names(lab))

    await until(renewed, "the old pods are gone")
    assert "revision" in (await lab.kubectl("get", "replicasets", "-o", "yaml"))
    await lab.kubectl("rollout", "undo", "deployment/web")
    await lab.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    sets = {
        value["spec"]["template"]["spec"]["containers"][0]["image"]: value for value in await lab.items(REPLICA_SET)
    }
    assert len(sets) == 2, "the old ReplicaSet is taken up again"
    await until(lambda: available(lab, "web", 5), "five old replicas again")
    await lab.kubectl("scale", "deployment/web", "--replicas=1")
    await until(lambda: available(lab, "web", 1), "one replica")
    await lab.kubectl("delete", "deployment", "web")

    async def gone() -> bool:
        return not await lab.items(REPLICA_SET, "default") and not await lab.items(POD, "default")

    await until(gone, "everything below the Deployment is gone")


async def test_rolling_update_keeps_the_minimum_available(lab: Lab) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await lab.apply(workload(DEPLOYMENT, "web", replicas=3, strategy=strategy))
    await until(lambda: available(lab, "web", 3), "three replicas")
    await lab.kubectl("set", "image", "deployment/web", "c=nginx:2")
    lowest, highest = 3, 3

    async def rolled() -> bool:
        nonlocal lowest, highest
        pods = [value for value in await lab.items(POD, "default") if not value["metadata"].get("deletionTimestamp")]
        ready = [
            value
            for value in pods
            if any(c["type"] == "Ready" and c["status"] == "True" for c in value["status"].get("conditions", ()))
        ]
        lowest, highest = min(lowest, len(ready)), max(highest, len(pods))
        return await available(lab, "web", 3) and all("2" in value["spec"]["containers"][0]["image"] for value in pods)

    await until(rolled, "the rollout")
    assert (lowest, highest) == (3, 4)


async def test_a_broken_rollout_stops_before_it_hurts(lab: Lab) -> None:
    await lab.apply(workload(DEPLOYMENT, "web", replicas=4))
    await until(lambda: available(lab, "web", 4), "four replicas")
    never = {"command": ["sleep", "1000"], "readinessProbe": {"exec": {"command": ["false"]}}}
    await lab.apply(workload(DEPLOYMENT, "web", replicas=4, container=never))

    async def stuck() -> bool:
        found = await status(lab, DEPLOYMENT, "web")
        return found.get("updatedReplicas") == 2 and found.get("availableReplicas") == 3 and found.get("replicas") == 5

    await until(stuck, "25 % surge and 25 % unavailable are used up")


async def test_recreate_ends_the_old_pods_first(lab: Lab) -> None:
    await lab.apply(workload(DEPLOYMENT, "web", replicas=2, strategy={"type": "Recreate"}))
    await until(lambda: available(lab, "web", 2), "two replicas")
    await lab.kubectl("set", "image", "deployment/web", "c=nginx:2")

    async def recreated() -> bool:
        images = {value["spec"]["containers"][0]["image"] for value in await lab.items(POD, "default")}
        assert len(images) < 2
        return images == {"nginx:2"} and await available(lab, "web", 2)

    await until(recreated, "two new replicas")


async def test_a_deleted_pod_is_replaced_and_nothing_is_written_at_rest(lab: Lab) -> None:
    await lab.apply(workload(DEPLOYMENT, "web", replicas=2) + service("web", ports=[{"port": 80}]))
    await until(lambda: available(lab, "web", 2), "two replicas")
    victim = (await pod_names(lab))[0]
    await lab.kubectl("delete", "pod", victim, "--wait")

    async def replaced() -> bool:
        return victim not in await pod_names(lab) and await available(lab, "web", 2)

    await until(replaced, "the pod is replaced")
    await until(lambda: endpoints_ready(lab, "web", 2), "two endpoints")
    await until(lambda: quiet(lab), "a second without a write")


async def quiet(lab: Lab) -> bool:
    await lab.requests(reset=True)
    pods = await lab.exec((await pod_names(lab))[0], "sleep", "1")
    assert pods.returncode == 0
    return not [key for key in await lab.requests() if key[0] != "GET"]


async def endpoints_ready(lab: Lab, name: str, count: int) -> bool:
    slices = [
        value
        for value in await lab.items(ENDPOINT_SLICE, "default")
        if value["metadata"]["labels"]["kubernetes.io/service-name"] == name
    ]
    endpoints = [endpoint for value in slices for endpoint in value.get("endpoints") or ()]
    return len(endpoints) == count and all(endpoint["conditions"]["ready"] for endpoint in endpoints)


async def test_stateful_set_counts_in_order(lab: Lab) -> None:
    await lab.apply(workload(STATEFUL_SET, "db", replicas=3, serviceName="db"))
    await lab.kubectl("rollout", "status", "statefulset/db", "--timeout=30s")
    pods = {value["metadata"]["name"]: value for value in await lab.items(POD)}
    assert sorted(pods) == ["db-0", "db-1", "db-2"]
    assert pods["db-1"]["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
    assert (pods["db-1"]["spec"]["hostname"], pods["db-1"]["spec"]["subdomain"]) == ("db-1", "db")
    created = [pods[name]["status"]["startTime"] for name in sorted(pods)]
    assert created == sorted(created)
    uid = pods["db-1"]["metadata"]["uid"]
    await lab.kubectl("delete", "pod", "db-1")

    async def replaced() -> bool:
        found = {value["metadata"]["name"]: value["metadata"]["uid"] for value in await lab.items(POD)}
        return (
            found.get("db-1") not in {None, uid} and (await status(lab, STATEFUL_SET, "db")).get("readyReplicas") == 3
        )

    await until(replaced, "db-1 again")
    await lab.kubectl("set", "image", "statefulset/db", "c=nginx:2")
    await lab.kubectl("rollout", "status", "statefulset/db", "--timeout=30s")
    assert {value["spec"]["containers"][0]["image"] for value in await lab.items(POD)} == {"nginx:2"}
    await lab.kubectl("scale", "statefulset/db", "--replicas=1")

    async def one() -> bool:
        return await pod_names(lab) == ["db-0"]

    await until(one, "only db-0")


async def test_daemon_set_follows_the_nodes(lab: Lab) -> None:
    await lab.kubectl("taint", "node", "node3", "only=me:NoSchedule")
    await lab.apply(workload(DAEMON_SET, "agent", pod={"hostNetwork": True}))

    async def on(*nodes: str) -> bool:
        found = sorted(value["spec"]["nodeName"] for value in await lab.items(POD, "default"))
        return found == list(nodes) and (await status(lab, DAEMON_SET, "agent")).get("numberReady") == len(nodes)

    await until(lambda: on("node1", "node2"), "the two nodes without taint")
    await lab.kubectl("taint", "node", "node3", "only-")
    await until(lambda: on("node1", "node2", "node3"), "all three")
    await lab.kubectl("set", "image", "daemonset/agent", "c=nginx:2")
    await lab.kubectl("rollout", "status", "daemonset/agent", "--timeout=30s")
    assert {value["spec"]["containers"][0]["image"] for value in await lab.items(POD)} == {"nginx:2"}


async def test_jobs_complete_and_fail(lab: Lab) -> None:
    never = {"restartPolicy": "Never"}
    await lab.apply(workload(JOB, "good", container={"command": ["true"]}, pod=never, completions=3, parallelism=2))
    await lab.apply(workload(JOB, "bad", container={"command": ["false"]}, pod=never, backoffLimit=1))
    await lab.apply(workload(JOB, "absent", container={"command": ["no-such-program"]}, pod=never))
    for name in ("good", "absent"):
        await lab.kubectl("wait", "--for=condition=Complete", f"job/{name}", "--timeout=20s")
    await lab.kubectl("wait", "--for=condition=Failed", "job/bad", "--timeout=20s")
    assert (await status(lab, JOB, "good"))["succeeded"] == 3
    assert (await status(lab, JOB, "bad"))["failed"] == 2
    assert len([name for name in await pod_names(lab) if name.startswith("good-")]) == 3


async def test_endpoint_slices_name_ready_pods_and_their_ports(lab: Lab) -> None:
    ports = {"ports": [{"containerPort": 8080, "name": "http"}]}
    check = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    await lab.apply(
        service(
            "web",
            ports=[{"name": "web", "port": 80, "targetPort": "http"}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        )
    )
    await until(lambda: endpoints_ready(lab, "web", 0), "an empty slice")
    assert len(await lab.items(ENDPOINT_SLICE, "default")) >= 1
    await lab.apply(pod("one", labels={"app": "web"}, container={**ports}))
    await lab.apply(
        pod("two", labels={"app": "web"}, container={**ports, "command": ["sleep", "1000"], "readinessProbe": check})
    )
    await lab.apply(pod("other", labels={"app": "other"}))

    async def conditions() -> dict[str, bool]:
        slices = [
            value for value in await lab.items(ENDPOINT_SLICE, "default") if value["metadata"]["name"].startswith("web")
        ]
        return {
            endpoint["targetRef"]["name"]: endpoint["conditions"]["ready"]
            for value in slices
            for endpoint in value.get("endpoints") or ()
        }

    async def are(**wanted: bool) -> bool:
        return await conditions() == wanted

    await until(lambda: are(one=True, two=False), "one ready, two not")
    await lab.exec("two", "touch", "/tmp/ready")
    await until(lambda: are(one=True, two=True), "both ready")
    (found,) = [
        value for value in await lab.items(ENDPOINT_SLICE, "default") if value["metadata"]["name"].startswith("web")
    ]
    assert found["addressType"] == "IPv4"
    assert [(port["name"], port["protocol"], port["port"]) for port in found["ports"]] == [
        ("web", "TCP", 8080),
        ("dns", "UDP", 53),
    ]
    addresses = {
        sandbox["addresses"][0] for name, sandbox in (await lab.remote.sandboxes()).items() if "other" not in name
    }
    assert {endpoint["addresses"][0] for endpoint in found["endpoints"]} == addresses
    await lab.kubectl("delete", "pod", "one", "--grace-period=0")
    await until(lambda: are(two=True), "one is gone")
    await lab.kubectl("delete", "service", "web")

    async def gone() -> bool:
        return not any(
            value["metadata"]["name"].startswith("web") for value in await lab.items(ENDPOINT_SLICE, "default")
        )

    await until(gone, "the slice goes with its Service")


async def test_programs_in_pods_find_services_by_name(lab: Lab) -> None:
    await lab.apply(service("web", clusterIP="None", ports=[{"port": 80}]))
    ports = {"ports": [{"containerPort": 80}]}
    await lab.apply(workload(STATEFUL_SET, "web", replicas=2, serviceName="web", container=ports))
    await until(lambda: endpoints_ready(lab, "web", 2), "two endpoints")

    async def answered(name: str, answer: str) -> bool:
        found = await lab.exec("web-0", "curl", "-s", "--max-time", "2", f"http://{name}/", check=False)
        return found.stdout.startswith(answer)

    await until(lambda: answered("web-1.web", "web-1 default "), "a pod by its name")
    await until(lambda: answered("web.default.svc.cluster.local", "web-"), "a pod by its Service's name")


def test_short_names_belong_to_the_default_namespace() -> None:
    services = [
        {"metadata": {"name": "db", "namespace": namespace}, "spec": {"clusterIPs": [address]}}
        for namespace, address in (("a", "10.96.0.10"), ("default", "10.96.0.11"))
    ]
    assert hosts_lines(services, []) == [
        "10.96.0.11 db.default.svc.cluster.local db.default.svc db.default db\n",
        "10.96.0.10 db.a.svc.cluster.local db.a.svc db.a db\n",
    ]


async def test_every_namespace_has_a_default_service_account(lab: Lab) -> None:
    await lab.apply('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fresh"}}\n')

    async def there() -> bool:
        return any(value["metadata"]["name"] == "default" for value in await lab.items(SERVICE_ACCOUNT, "fresh"))

    await until(there, "the service account")
    await lab.apply(json.dumps({**yaml.safe_load(pod("a")), "metadata": {"name": "a", "namespace": "fresh"}}) + "\n")
    await lab.wait_pods("fresh", timeout=20)
    await lab.kubectl("delete", "namespace", "fresh", "--wait", "--timeout=20s")
    assert not await lab.items(POD, "fresh")


async def test_workloads_survive_watch_faults(lab: Lab) -> None:
    await lab.apply(workload(DEPLOYMENT, "web", replicas=2))
    await until(lambda: available(lab, "web", 2), "two replicas")
    for fault in ("drop_watches", "expire_watches"):
        await lab.faults(fault)
        await lab.kubectl("scale", "deployment/web", "--replicas=4")
        await until(lambda: available(lab, "web", 4), f"four after {fault}")
        await lab.faults("compact")
        await lab.kubectl("scale", "deployment/web", "--replicas=2")
        await until(lambda: available(lab, "web", 2), f"two after {fault}")
    await lab.faults("fail", status=500, count=20, match="(POST|PATCH|DELETE) .*")
    await until(lambda: scaled(lab, 5), "the scaling request is taken")
    await until(lambda: available(lab, "web", 5), "five after twenty refusals")


async def scaled(lab: Lab, count: int) -> bool:
    from ovnbridge.lab import LabError

    try:
        await lab.kubectl("scale", "deployment/web", f"--replicas={count}")
    except LabError:
        return False
    return True


def test_selectors() -> None:
    labels = {"a": "1", "b": "2"}
    assert not matches(None, labels)
    assert matches({}, labels)
    assert matches({"matchLabels": {"a": "1"}}, labels)
    assert not matches({"matchLabels": {"a": "2"}}, labels)
    for key, operator, values, wanted in (
        ("a", "In", ["1", "3"], True),
        ("c", "In", ["1"], False),
        ("a", "NotIn", ["1"], False),
        ("c", "NotIn", ["1"], True),
        ("a", "Exists", None, True),
        ("c", "DoesNotExist", None, True),
        ("b", "Gt", ["1"], True),
        ("b", "Lt", ["2"], False),
        ("c", "Gt", ["1"], False),
    ):
        assert matches({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}, labels) is wanted
    node = {"metadata": {"name": "n1", "labels": labels}}
    fields = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    assert node_matches(
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "z", "operator": "Exists"}]}, fields]}, node
    )
    assert not node_matches({"nodeSelectorTerms": [{}]}, node)


def test_shares_and_hashes() -> None:
    assert [share("25%", 3, up=True), share("25%", 3, up=False), share(2, 3, up=True), share(None, 3, up=True)] == [
        1,
        0,
        2,
        0,
    ]
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1}) != hash_of({"a": 1})
    assert len(hash_of([], 5)) == 5

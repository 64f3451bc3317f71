"""The example manifest on a fresh cluster: every pod reaches every other, and everything looks as users know it."""

from __future__ import annotations

import json

import pytest
from conftest import ROOT, Cluster, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_pod_and_node_reaches_every_pod(cluster: Cluster) -> None:
    await cluster.lab.apply(ROOT / "examples" / "first-light.yaml")
    await cluster.lab.wait_pods("first-light", timeout=60)
    matrix = await cluster.lab.ping_matrix(nodes=True)
    assert matrix.ok, matrix.table()
    pods = (await cluster.get("pods", "-n", "first-light"))["items"]
    assert len(pods) == 6
    assert len({p["spec"]["nodeName"] for p in pods}) == 3, "spread over the nodes, so Geneve was crossed"


async def test_tcp_across_nodes(cluster: Cluster) -> None:
    pods = (await cluster.get("pods", "-n", "first-light"))["items"]
    web = [p for p in pods if p["metadata"]["labels"]["app"] == "web"]
    client = next(p for p in pods if p["metadata"]["labels"]["app"] == "client")
    for pod in web:
        address = pod["status"]["podIP"]
        script = (
            f"import urllib.request;print(urllib.request.urlopen('http://{address}:80/', timeout=5).read().decode())"
        )
        done = await cluster.lab.exec(
            client["metadata"]["name"], "/usr/bin/python3", "-c", script, namespace="first-light", timeout=15
        )
        assert pod["metadata"]["name"] in done.stdout


async def test_pod_annotations_and_ip_objects(cluster: Cluster) -> None:
    for pod in (await cluster.get("pods", "-n", "first-light"))["items"]:
        notes = pod["metadata"]["annotations"]
        name = pod["metadata"]["name"]
        assert notes["ovn.kubernetes.io/allocated"] == "true"
        assert notes["ovn.kubernetes.io/routed"] == "true"
        assert notes["ovn.kubernetes.io/logical_switch"] == "ovn-default"
        assert notes["ovn.kubernetes.io/logical_router"] == "ovn-cluster"
        assert notes["ovn.kubernetes.io/cidr"] == "10.16.0.0/16"
        assert notes["ovn.kubernetes.io/gateway"] == "10.16.0.1"
        assert notes["ovn.kubernetes.io/ip_address"] == pod["status"]["podIP"]
        ip = await cluster.get("ip", f"{name}.first-light")
        assert ip["spec"]["v4IpAddress"] == pod["status"]["podIP"]
        assert ip["spec"]["macAddress"] == notes["ovn.kubernetes.io/mac_address"]
        assert ip["spec"]["nodeName"] == pod["spec"]["nodeName"]
        assert ip["metadata"]["labels"]["ovn.kubernetes.io/ip_reserved"] == "false"


async def test_kubectl_shows_what_users_know(cluster: Cluster) -> None:
    subnets = (await cluster.lab.kubectl("get", "subnet")).splitlines()
    head = subnets[0].split()
    assert head[:6] == ["NAME", "PROVIDER", "VPC", "VLAN", "PROTOCOL", "CIDR"]
    assert {line.split()[0] for line in subnets[1:]} == {"join", "ovn-default"}
    assert (await cluster.lab.kubectl("get", "vpc")).splitlines()[0].split()[:3] == [
        "NAME",
        "ENABLEEXTERNAL",
        "ENABLEBFD",
    ]
    assert (await cluster.lab.kubectl("get", "ip")).splitlines()[0].split() == [
        "NAME",
        "V4IP",
        "V6IP",
        "MAC",
        "NODE",
        "SUBNET",
    ]
    pod = (await cluster.get("pods", "-n", "first-light"))["items"][0]["metadata"]["name"]
    described = await cluster.lab.kubectl("describe", "pod", "-n", "first-light", pod)
    assert "PodNetworkAllocated" in described
    assert "PodNetworkConfigured" in described


async def test_ovn_nbctl_show(cluster: Cluster) -> None:
    shown = await cluster.nb("show")
    for name in ("(join)", "(ovn-default)", "port node-node1", "router-port: ovn-cluster-ovn-default", "100.64.0.1/16"):
        assert name in shown


async def test_conditions_are_true(cluster: Cluster) -> None:
    async def ready() -> bool:
        subnets = (await cluster.get("subnets"))["items"]
        states = [{c["type"]: c["status"] for c in s.get("status", {}).get("conditions", [])} for s in subnets]
        return all(state.get("Ready") == "True" for state in states)

    await until(ready, what="all subnets Ready")

    async def counted() -> bool:
        status = (await cluster.get("subnet", "ovn-default"))["status"]
        return bool(status["v4usingIPs"] == 6 and status["v4availableIPs"] == 65533 - 6)

    await until(counted, what="six addresses in use")


async def test_custom_subnets_v6_and_dual_stack(cluster: Cluster) -> None:
    objects: list[dict[str, object]] = []
    for name, cidr in (("six", "fd00:10:6::/64"), ("both", "10.66.0.0/24,fd00:10:66::/64")):
        objects.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        objects.append(
            {
                "apiVersion": "kubeovn.io/v1",
                "kind": "Subnet",
                "metadata": {"name": name},
                "spec": {"cidrBlock": cidr, "namespaces": [name]},
            }
        )
    await cluster.lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    async def bound() -> bool:
        found = [(await cluster.get("namespace", name))["metadata"].get("annotations", {}) for name in ("six", "both")]
        return [f.get("ovn.kubernetes.io/logical_switch") for f in found] == ["six", "both"]

    await until(bound, what="namespaces bound to their subnets")
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{name}{node}", "namespace": name},
            "spec": {
                "nodeName": f"node{node}",
                "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80}]}],
            },
        }
        for name in ("six", "both")
        for node in (1, 2)
    ]
    await cluster.lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    for name in ("six", "both"):
        await cluster.lab.wait_pods(name, timeout=60)
    both = await cluster.get("pod", "-n", "both", "both1")
    assert [p["ip"] for p in both["status"]["podIPs"]] == ["10.66.0.2", "fd00:10:66::2"]
    for name in ("six", "both"):
        other = await cluster.get("pod", "-n", name, f"{name}2")
        for entry in other["status"]["podIPs"]:
            done = await cluster.lab.exec(f"{name}1", "ping", "-c2", "-W2", entry["ip"], namespace=name, check=False)
            assert done.returncode == 0, f"{name}1 → {entry['ip']}: {done.stdout}"

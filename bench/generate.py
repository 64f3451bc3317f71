"""Synthetic clusters by seed: the same seed and sizes give the same objects, byte for byte. Pure.

Objects are of realistic size (a pod of about 5 KB with spec, status and managedFields, as `kubectl get pod -o json`
gives), and as the controller would have left them: annotated, with their IP objects. Used by `api_process` (seeding in
bulk), by the scenarios (single objects) and by `committer` (rows).
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]

SUBNET = "ovn-default"
CIDR = ipaddress.IPv4Network("10.16.0.0/16")
GATEWAY = "10.16.0.1"
ROUTER = "ovn-cluster"
FIRST = 16
"""The first pod's address within the subnet."""
CREATED = "2026-01-01T00:00:00Z"
ALLOCATED = "ovn.kubernetes.io/allocated"
ADDRESS = "ovn.kubernetes.io/ip_address"


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """Sizes of a cluster and the seed of everything that is arbitrary in it."""

    pods: int
    nodes: int = 0
    namespaces: int = 0
    policies: int = 0
    seed: int = 1

    @property
    def node_count(self) -> int:
        """About 100 pods on a node, at least 3."""
        return self.nodes or max(3, self.pods // 100)

    @property
    def namespace_count(self) -> int:
        """About 100 pods in a namespace, at least 2."""
        return self.namespaces or max(2, self.pods // 100)

    def draw(self, what: str, index: int) -> int:
        """An arbitrary number that depends on nothing but the seed and its arguments."""
        text = f"{self.seed}/{what}/{index}"
        return int.from_bytes(hashlib.blake2s(text.encode(), digest_size=6).digest(), "big")


def _meta(cluster: Cluster, kind: str, index: int, name: str, namespace: str = "", **more: Any) -> Object:
    digest = hashlib.blake2s(f"{cluster.seed}/{kind}/{index}".encode(), digest_size=16).hexdigest()
    uid = f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:]}"
    head: Object = {"name": name, "uid": uid, "creationTimestamp": CREATED}
    if namespace:
        head["namespace"] = namespace
    return {**head, **more}


# -- nodes and namespaces


def node_name(cluster: Cluster, index: int) -> str:
    return f"node-{index % cluster.node_count:04d}"


def node(cluster: Cluster, index: int) -> Object:
    name = node_name(cluster, index)
    address = str(ipaddress.IPv4Address("172.20.0.10") + index)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": _meta(
            cluster, "node", index, name, labels={"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        ),
        "spec": {},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "capacity": {"cpu": "16", "memory": "64Gi", "pods": "250"},
        },
    }


def namespace_name(cluster: Cluster, index: int) -> str:
    return f"bench-{index % cluster.namespace_count:04d}"


def namespace(cluster: Cluster, index: int) -> Object:
    name = namespace_name(cluster, index)
    labels = {"kubernetes.io/metadata.name": name, "team": f"team-{cluster.draw('team', index) % 10}"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": _meta(cluster, "namespace", index, name, labels=labels),
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


# -- pods and their addresses


def pod_name(cluster: Cluster, index: int) -> str:
    return f"web-{cluster.draw('set', index // 10) % 0xFFFFFF:06x}-{index:05d}"


def owner(cluster: Cluster, index: int) -> str:
    """Name of the pod's IP object and of its switch port."""
    return f"{pod_name(cluster, index)}.{namespace_name(cluster, index)}"


def address(index: int) -> str:
    return str(CIDR[FIRST + index])


def mac(cluster: Cluster, index: int) -> str:
    number = cluster.draw("mac", index) & 0xFFFFFFFFFF
    return "02:" + ":".join(f"{number >> shift & 0xFF:02x}" for shift in (32, 24, 16, 8, 0))


def labels(cluster: Cluster, index: int) -> dict[str, str]:
    draw = cluster.draw("labels", index)
    return {"app": f"app-{draw % 50}", "tier": ("web", "db", "cache")[draw // 64 % 3], "pod-template-hash": "7d9c5"}


def pod_annotations(cluster: Cluster, index: int) -> dict[str, str]:
    """What a controller leaves on a pod in the default subnet."""
    return {
        ALLOCATED: "true",
        ADDRESS: address(index),
        "ovn.kubernetes.io/mac_address": mac(cluster, index),
        "ovn.kubernetes.io/cidr": str(CIDR),
        "ovn.kubernetes.io/gateway": GATEWAY,
        "ovn.kubernetes.io/logical_switch": SUBNET,
        "ovn.kubernetes.io/logical_router": ROUTER,
        "ovn.kubernetes.io/pod_nic_type": "veth-pair",
        "ovn.kubernetes.io/routed": "true",
    }


def new_pod(cluster: Cluster, index: int) -> Object:
    """A pod as it is posted: scheduled already, not seen by any controller."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(cluster, index),
            "namespace": namespace_name(cluster, index),
            "labels": labels(cluster, index),
        },
        "spec": {
            "nodeName": node_name(cluster, cluster.draw("node", index)),
            "containers": [{"name": "main", "image": "registry.example/app:1", "ports": [{"containerPort": 8080}]}],
        },
    }


def pod(cluster: Cluster, index: int) -> Object:
    """A running pod as the API server holds it, annotated."""
    posted = new_pod(cluster, index)
    name, space = pod_name(cluster, index), namespace_name(cluster, index)
    meta = _meta(cluster, "pod", index, name, space, labels=posted["metadata"]["labels"])
    meta["annotations"] = pod_annotations(cluster, index)
    meta["generation"] = 1
    meta["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name[:-6], "uid": meta["uid"], "controller": True}
    ]
    meta["managedFields"] = [_managed("kube-controller-manager"), _managed("kube-ovn-controller"), _managed("kubelet")]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {**posted["spec"], **_SPEC, "containers": [_container(cluster, index)]},
        "status": _status(index),
    }


def _managed(manager: str) -> Object:
    fields = {
        "f:metadata": {"f:labels": {".": {}, "f:app": {}, "f:tier": {}}, "f:annotations": {f"f:{ALLOCATED}": {}}},
        "f:spec": {"f:containers": {'k:{"name":"main"}': {".": {}, "f:image": {}, "f:ports": {}, "f:resources": {}}}},
        "f:status": {"f:conditions": {'k:{"type":"Ready"}': {".": {}, "f:status": {}, "f:lastProbeTime": {}}}},
    }
    return {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": CREATED, "fieldsV1": fields}


_SPEC: Object = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "serviceAccountName": "default",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "preemptionPolicy": "PreemptLowerPriority",
    "priority": 0,
    "enableServiceLinks": True,
    "tolerations": [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for what in ("not-ready", "unreachable")
    ],
    "volumes": [
        {
            "name": "kube-api-access-x7k2p",
            "projected": {
                "defaultMode": 420,
                "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                ],
            },
        }
    ],
}


def _container(cluster: Cluster, index: int) -> Object:
    return {
        "name": "main",
        "image": f"registry.example/app:{cluster.draw('image', index) % 20}",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{number}", "value": f"value-{number}"} for number in range(6)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10},
        "volumeMounts": [{"name": "kube-api-access-x7k2p", "readOnly": True, "mountPath": "/var/run/secrets"}],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }


def _status(index: int) -> Object:
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "phase": "Running",
        "conditions": [
            {"type": name, "status": "True", "lastProbeTime": None, "lastTransitionTime": CREATED}
            for name in conditions
        ],
        "podIP": address(index),
        "podIPs": [{"ip": address(index)}],
        "startTime": CREATED,
        "qosClass": "Burstable",
        "containerStatuses": [
            {
                "name": "main",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "image": "registry.example/app:1",
                "imageID": "registry.example/app@sha256:" + "0" * 64,
                "containerID": "containerd://" + "1" * 64,
                "state": {"running": {"startedAt": CREATED}},
                "lastState": {},
            }
        ],
    }


def ip_body(cluster: Cluster, index: int, text: str, hardware: str) -> Object:
    """An IP object as it is posted (spec C.10)."""
    where = node_name(cluster, cluster.draw("node", index))
    return {
        "apiVersion": "kubeovn.io/v1",
        "kind": "IP",
        "metadata": {
            "name": owner(cluster, index),
            "labels": {
                "ovn.kubernetes.io/subnet": SUBNET,
                "ovn.kubernetes.io/node-name": where,
                SUBNET: "",
                "ovn.kubernetes.io/ip_reserved": "false",
            },
        },
        "spec": {
            "podName": pod_name(cluster, index),
            "namespace": namespace_name(cluster, index),
            "subnet": SUBNET,
            "attachSubnets": [],
            "nodeName": where,
            "ipAddress": text,
            "v4IpAddress": text,
            "v6IpAddress": "",
            "attachIps": [],
            "macAddress": hardware,
            "attachMacs": [],
            "containerID": "",
            "podType": "",
        },
    }


def ip(cluster: Cluster, index: int) -> Object:
    """The IP object of a running pod."""
    body = ip_body(cluster, index, address(index), mac(cluster, index))
    meta = _meta(cluster, "ip", index, owner(cluster, index), labels=body["metadata"]["labels"], generation=1)
    meta["managedFields"] = [_managed("kube-ovn-controller")]
    return {**body, "metadata": meta}


# -- policies


def policy(cluster: Cluster, index: int) -> Object:
    """A NetworkPolicy with one peer.

    Those of the cluster come in threes that select every pod of one namespace, each in words of its own; with three
    times as many policies as namespaces, three select each pod. Every third one's peers are in other namespaces. Those
    that come later select a fiftieth of a namespace's pods.
    """
    draw = cluster.draw("policy", index)
    tiers = ["web", "db", "cache"]
    every: tuple[Object, ...] = (
        {},
        {"matchExpressions": [{"key": "tier", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "tier", "operator": "In", "values": tiers}]},
    )
    selected = every[index % 3] if index < cluster.policies else {"matchLabels": {"app": f"app-{index % 50}"}}
    peer: Object = {"podSelector": {"matchLabels": {"tier": tiers[draw % 3]}}}
    if index % 3 == 2:
        peer = {
            "podSelector": {"matchLabels": {"app": f"app-{draw % 50}"}},
            "namespaceSelector": {"matchLabels": {"team": f"team-{draw // 50 % 10}"}},
        }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(
            cluster, "policy", index, f"policy-{index:04d}", namespace_name(cluster, index // 3), generation=1
        ),
        "spec": {
            "podSelector": selected,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [peer], "ports": [{"protocol": "TCP", "port": 8080}]}],
        },
    }


def posted(obj: Object) -> Object:
    """The same object as a client would create it."""
    kept = {name: obj["metadata"][name] for name in ("name", "namespace", "labels") if name in obj["metadata"]}
    return {**obj, "metadata": kept}


def everything(cluster: Cluster) -> Iterator[tuple[str, str, str, Object]]:
    """(group, version, plural, object) of the whole cluster, parents first."""
    for index in range(cluster.node_count):
        yield "", "v1", "nodes", node(cluster, index)
    for index in range(cluster.namespace_count):
        yield "", "v1", "namespaces", namespace(cluster, index)
    for index in range(cluster.policies):
        yield "networking.k8s.io", "v1", "networkpolicies", policy(cluster, index)
    for index in range(cluster.pods):
        yield "kubeovn.io", "v1", "ips", ip(cluster, index)
        yield "", "v1", "pods", pod(cluster, index)

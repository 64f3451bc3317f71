"""Objects of address management, as users and workload controllers write them, and what a cluster says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.support.cluster import Cluster, Json, merged, namespace, node, pod, subnet

BASE = (namespace("a"), namespace("b"), node("n-1", "192.168.0.11"), node("n-2", "192.168.0.12"))
S1 = subnet("s1", cidrBlock="10.21.0.0/24", namespaces=["a"])
DUAL = subnet("s2", cidrBlock="10.22.0.0/24,fd22::/112", namespaces=["b"])


def ready(*objects: Json, **options: Any) -> Cluster:
    """A settled cluster with two nodes, s1 (namespace a), s2 (dual-stack, namespace b) and these objects."""
    cluster = Cluster(**options)
    cluster.apply(*BASE, S1, DUAL, *objects).run()
    return cluster


def ippool(name: str, in_subnet: str, *ips: str, **spec: Any) -> Json:
    return {"kind": "IPPool", "metadata": {"name": name}, "spec": {"subnet": in_subnet, "ips": list(ips), **spec}}


def vip(name: str, in_subnet: str, **spec: Any) -> Json:
    return {"kind": "Vip", "metadata": {"name": name}, "spec": {"subnet": in_subnet, **spec}}


def stateful_set(name: str, replicas: int = 1, *, start: int = 0, **notes: str) -> Json:
    """`name` is `namespace/name`; `notes` are the template's annotations without their prefix."""
    space, _, own = name.partition("/")
    template = {"metadata": {"annotations": {f"ovn.kubernetes.io/{k}": v for k, v in notes.items()}}}
    spec: Json = {"replicas": replicas, "template": template}
    if start:
        spec["ordinals"] = {"start": start}
    return {"kind": "StatefulSet", "metadata": {"name": own, "namespace": space}, "spec": spec}


def owned(obj: Json, kind: str, name: str, api: str) -> Json:
    reference = {"apiVersion": api, "kind": kind, "name": name, "uid": "u", "controller": True}
    return merged(obj, {"metadata": {"ownerReferences": [reference]}})


def set_pod(name: str, on: str = "n-1", **notes: str) -> Json:
    """A StatefulSet's pod `namespace/set-N`."""
    return owned(pod(name, on, **notes), "StatefulSet", name.partition("/")[2].rpartition("-")[0], "apps/v1")


def machine(name: str) -> Json:
    space, _, own = name.partition("/")
    return {"kind": "VirtualMachine", "metadata": {"name": own, "namespace": space}}


def machine_pod(name: str, of: str, on: str = "n-1", **notes: str) -> Json:
    return owned(pod(name, on, **notes), "VirtualMachineInstance", of, "kubevirt.io/v1")


def attachment(name: str, config: Any) -> Json:
    """A NetworkAttachmentDefinition `namespace/name`."""
    space, _, own = name.partition("/")
    text = config if isinstance(config, str) else json.dumps(config)
    return {
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": own, "namespace": space},
        "spec": {"config": text},
    }


def with_notes(obj: Json, notes: Mapping[str, str]) -> Json:
    """The object with annotations by their full keys."""
    return merged(obj, {"metadata": {"annotations": dict(notes)}})


def address(cluster: Cluster, name: str) -> str:
    """What an IP object says, "" when there is none."""
    found = cluster.api.objects.get(("IP", name))
    return str(found["spec"]["ipAddress"]) if found else ""


def events(cluster: Cluster, kind: str, key: str, reason: str = "") -> list[str]:
    """Messages of the warnings on an object."""
    items = cluster.state.reactor.items(kind, key)
    return [
        str(i.message)  # type: ignore[union-attr]
        for i in items
        if type(i).__name__ == "Event" and i.type == "Warning" and reason in ("", i.reason)  # type: ignore[union-attr]
    ]


def notes(cluster: Cluster, kind: str, key: str, provider: str = "ovn") -> dict[str, str]:
    """Annotations of one provider, without their prefix."""
    prefix = f"{provider}.kubernetes.io/"
    found = cluster.get(kind, key)["metadata"].get("annotations") or {}
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def port(cluster: Cluster, name: str) -> dict[str, Any] | None:
    """A switch port's columns, None when there is no such port."""
    return (
        cluster.row("Logical_Switch_Port", name) if ("Logical_Switch_Port", name) in cluster.memory.row_keys() else None
    )


def subset(row: Mapping[str, Any] | None, **columns: Any) -> None:
    assert row is not None
    assert {name: row[name] for name in columns} == columns

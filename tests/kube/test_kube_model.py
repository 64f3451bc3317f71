"""What the World keeps of built-in objects: what is equal is kept once, what nobody reads is not kept."""

from __future__ import annotations

from typing import Any

import msgspec

from ovnbridge.model.crd.codec import Decoder
from ovnbridge.model.kube import Node, Pod
from ovnbridge.model.meta import OwnerReference

pods = Decoder(Pod)


def pod(name: str, **metadata: Any) -> Pod:
    return pods.decode(
        msgspec.json.encode(
            {
                "metadata": {"name": name, "namespace": "team-a", **metadata},
                "spec": {
                    "nodeName": "node-1",
                    "containers": [{"name": "main", "ports": [{"name": "http", "containerPort": 8080}]}],
                },
                "status": {"phase": "Running", "podIP": "10.16.0.5", "podIPs": [{"ip": "10.16.0.5"}]},
            }
        )
    )


def test_equal_parts_of_objects_are_one_object_in_memory() -> None:
    notes = {"ovn.kubernetes.io/cidr": "10.16.0.0/16"}
    one, other = (pod(name, labels={"app": "x"}, annotations=notes, finalizers=["f/x"]) for name in "ab")
    assert one.metadata.labels == {"app": "x"}
    assert one.metadata.labels is other.metadata.labels
    assert one.metadata.finalizers == ("f/x",)
    assert one.metadata.finalizers is other.metadata.finalizers
    assert one.metadata.namespace is other.metadata.namespace
    assert one.spec.containers is not None
    assert one.spec.containers is other.spec.containers
    assert one.spec.node_name is other.spec.node_name
    assert one.metadata.annotations is not None
    assert other.metadata.annotations is not None
    (value,), (same,) = one.metadata.annotations.values(), other.metadata.annotations.values()
    assert value == "10.16.0.0/16"
    assert value is same
    assert one.metadata.annotations is not other.metadata.annotations


def test_labels_that_differ_are_not_mixed_up() -> None:
    first, second = {"app": "x", "tier": "web"}, {"tier": "web", "app": "y"}
    assert pod("a", labels=first).metadata.labels == first
    assert pod("b", labels=second).metadata.labels == second
    assert pod("c", labels={}).metadata.labels == {}
    assert pod("d").metadata.labels is None


def test_the_copy_of_the_object_that_kubectl_leaves_is_not_kept() -> None:
    notes = {"kubectl.kubernetes.io/last-applied-configuration": "{" * 1000, "net1.ovn.kubernetes.io/ip_address": "::1"}
    assert pod("a", annotations=notes).metadata.annotations == {"net1.ovn.kubernetes.io/ip_address": "::1"}


def test_owners_that_keep_addresses_are_kept() -> None:
    kinds = ("ReplicaSet", "StatefulSet")
    owners = [{"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u"} for kind in kinds]
    # Of owners that keep no addresses nobody asks which one it is, only whether there is one.
    stateful = OwnerReference(api_version="apps/v1", kind="StatefulSet", name="o", uid="u")
    expected = (OwnerReference(kind="ReplicaSet"), stateful)
    assert pod("a", ownerReferences=owners).metadata.owner_references == expected
    assert pod("b", ownerReferences=owners[:1]).metadata.owner_references == (OwnerReference(kind="ReplicaSet"),)
    node = Decoder(Node).decode(msgspec.json.encode({"metadata": {"name": "n", "ownerReferences": owners[:1]}}))
    assert node.metadata.owner_references is not None


def test_a_decoded_object_survives_the_way_to_json_and_back() -> None:
    before = pod("a", labels={"app": "x"}, annotations={"a/b": "c"}, uid="u-1")
    assert pods.decode(msgspec.json.encode(before)) == before

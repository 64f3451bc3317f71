"""The judge in tests: objects that it has seen, reviews in, and what the response must say."""

from __future__ import annotations

import json
from typing import Any

from ovnbridge.compile.options import Options
from ovnbridge.model.crd.codec import convert
from ovnbridge.validation import WATCHED, Judge, answer
from tests.support.cluster import Json, key_of, namespace, node, subnet, vpc

GROUPS = {"Pod": "", "Namespace": "", "Deployment": "apps", "StatefulSet": "apps", "DaemonSet": "apps"}
GROUPS |= {"Job": "batch", "CronJob": "batch"}
TYPES = {resource.kind: kind for resource, kind in WATCHED}


def judge(*objects: Json) -> Judge:
    """A judge that has seen a default VPC with ovn-default and join, and these objects."""
    found = Judge(Options())
    basics = (
        vpc("ovn-cluster"),
        subnet("ovn-default", cidrBlock="10.16.0.0/16", gateway="10.16.0.1", vpc="ovn-cluster", default=True),
        subnet("join", cidrBlock="100.64.0.0/16", gateway="100.64.0.1", vpc="ovn-cluster"),
        namespace("app"),
        node("n-1", "192.168.0.11"),
    )
    for obj in (*basics, *objects):
        kind, key = key_of(obj)
        found.world.put(kind, key, convert(obj, TYPES[kind]))
    return found


def review(at: Judge, operation: str, obj: Json | None = None, old: Json | None = None) -> dict[str, Any]:
    """The response to one AdmissionReview."""
    subject = obj or old or {}
    meta = subject["metadata"]
    request = {
        "uid": "u-1",
        "kind": {"group": GROUPS.get(subject["kind"], "kubeovn.io"), "version": "v1", "kind": subject["kind"]},
        "name": meta.get("name", ""),
        "namespace": meta.get("namespace", ""),
        "operation": operation,
        "object": obj,
        "oldObject": old,
    }
    body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
    found = json.loads(answer(at, body.encode()))
    assert found["apiVersion"] == "admission.k8s.io/v1"
    assert found["response"]["uid"] == "u-1"
    response: dict[str, Any] = found["response"]
    return response


def refused(response: dict[str, Any], field: str, *words: str) -> None:
    """The write is refused because of this field or a part of it, and the message holds these words."""
    assert not response["allowed"]
    status = response["status"]
    assert any(cause["field"].startswith(field) for cause in status["details"]["causes"]), status
    for word in words:
        assert word in status["message"], status
    assert status["code"] in {403, 409, 422}


def accepted(response: dict[str, Any]) -> None:
    assert response["allowed"], response

"""Requests that are actions rather than writes: reviews, a pod's binding, a service account's token.

The lab has one user, who may do everything.
"""

from __future__ import annotations

from collections.abc import Callable

from . import errors
from .errors import Object
from .resources import Resource
from .store import Entry
from .timestamps import now

USER: Object = {"username": "lab", "groups": ["system:masters", "system:authenticated"]}


def _allowed(review: Object) -> Object:
    return {"allowed": True, "reason": "the embedded API server does not authorize"}


def _authenticated(review: Object) -> Object:
    token = str((review.get("spec") or {}).get("token", ""))
    if token.startswith("lab:"):
        _, namespace, name = token.split(":", 2)
        return {"authenticated": True, "user": {"username": f"system:serviceaccount:{namespace}:{name}"}}
    return {"authenticated": bool(token), "user": USER}


REVIEWS: dict[str, Callable[[Object], Object]] = {
    "selfsubjectaccessreviews": _allowed,
    "subjectaccessreviews": _allowed,
    "selfsubjectreviews": lambda review: {"userInfo": USER},
    "tokenreviews": _authenticated,
}


def bind(resource: Resource, entry: Entry, node: str) -> None:
    """What the scheduler's binding does to a pod; the pod's spec is immutable for everybody else."""
    obj = entry.decode()
    if obj["spec"].get("nodeName"):
        why = f'pod {entry.key[1]} is already assigned to node "{obj["spec"]["nodeName"]}"'
        raise errors.conflict("", "pods/binding", entry.key[1], why)
    obj["spec"]["nodeName"] = node
    conditions = [c for c in obj["status"].get("conditions") or () if c.get("type") != "PodScheduled"]
    conditions.append({"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now()})
    obj["status"]["conditions"] = conditions
    resource.collection.write(entry.key, obj)


def token(request: Object, namespace: str, name: str) -> Object:
    seconds = (request.get("spec") or {}).get("expirationSeconds") or 3600
    status = {"token": f"lab:{namespace}:{name}", "expirationTimestamp": now(seconds)}
    spec = {**(request.get("spec") or {}), "expirationSeconds": seconds}
    head = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
    return {**head, "metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}

"""What the workload stand-ins share: pods from templates, readiness, status writes when something differs."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from ovnbridge.lab.client import ApiError, Client, Object
from ovnbridge.lab.informer import Informer
from ovnbridge.lab.moments import now, parse
from ovnbridge.model.resource import POD, Resource

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""As Kubernetes: no vowels, so no words."""


def hash_of(value: object, length: int = 10) -> str:
    """A short name for a value."""
    number = int.from_bytes(hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).digest()[:12], "big")
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def owner_reference(owner: Object, resource: Resource) -> Object:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod_of(owner: Object, resource: Resource, template: Object, labels: Object, name: str = "") -> Object:
    """A pod from a template; named by the server from the owner's name unless a name is given."""
    metadata = template.get("metadata") or {}
    made: Object = {
        "namespace": owner["metadata"]["namespace"],
        "labels": {**(metadata.get("labels") or {}), **labels},
        "ownerReferences": [owner_reference(owner, resource)],
    }
    if metadata.get("annotations"):
        made["annotations"] = dict(metadata["annotations"])
    if metadata.get("finalizers"):
        made["finalizers"] = list(metadata["finalizers"])
    if name:
        made["name"] = name
    else:
        made["generateName"] = f"{owner['metadata']['name']}-"
    return {"metadata": made, "spec": dict(template["spec"])}


def active(pod: Object) -> bool:
    """Neither done nor going away."""
    return not pod["metadata"].get("deletionTimestamp") and phase(pod) not in {"Succeeded", "Failed"}


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def ready(pod: Object) -> bool:
    return _ready_since(pod) is not None


def available_in(pod: Object, seconds: float) -> float | None:
    """0 when it has been ready for so long, the time that is missing, or None when it is not ready."""
    since = _ready_since(pod)
    if since is None:
        return None
    if not seconds:
        return 0.0
    return max(0.0, seconds - (datetime.now(UTC) - parse(since)).total_seconds())


def _ready_since(pod: Object) -> str | None:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition["status"] == "True":
            return str(condition.get("lastTransitionTime") or now())
    return None


def condition_of(value: Object, kind: str) -> Object | None:
    for condition in (value.get("status") or {}).get("conditions") or ():
        if condition["type"] == kind:
            found: Object = condition
            return found
    return None


def condition(value: Object, kind: str, status: bool, reason: str, message: str) -> Object:
    """A condition that keeps its times while nothing changes."""
    former = condition_of(value, kind)
    made: Object = {"type": kind, "status": "True" if status else "False", "reason": reason, "message": message}
    if former is not None and all(former.get(key) == text for key, text in made.items()):
        return former
    same = former is not None and former["status"] == made["status"]
    made["lastTransitionTime"] = former["lastTransitionTime"] if same and former is not None else now()
    made["lastUpdateTime"] = now()
    return made


def share(value: int | str | None, total: int, *, up: bool) -> int:
    """A number or a percentage of the total."""
    if isinstance(value, str):
        part = total * int(value.rstrip("%")) / 100
        return math.ceil(part) if up else math.floor(part)
    return int(value or 0)


async def create_pods(client: Client, pods: Informer, wanted: Sequence[Object]) -> None:
    """Creates them at the same time; what was created counts even when another was refused."""
    results = await asyncio.gather(*(client.create(POD, pod) for pod in wanted), return_exceptions=True)
    for result in results:
        if not isinstance(result, BaseException):
            pods.observe(result)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def delete_pod(client: Client, pods: Informer, pod: Object) -> None:
    """Asks for the deletion of exactly this pod."""
    metadata = pod["metadata"]
    try:
        answer = await client.delete(POD, metadata["namespace"], metadata["name"], uid=metadata["uid"])
    except ApiError as error:
        if not (error.not_found or error.conflict):
            raise
        return
    if answer.get("kind") == "Pod" and answer["metadata"].get("deletionTimestamp"):
        pods.observe(answer)
    else:
        pods.observe_deleted(pod)


async def write_status(client: Client, informer: Informer, value: Object, status: Object) -> None:
    """Patches the fields that differ, if any."""
    before = value.get("status") or {}
    # A server may leave out a zero.
    changed = {key: field for key, field in status.items() if (before.get(key) or 0) != (field or 0)}
    if not changed:
        return
    metadata = value["metadata"]
    try:
        informer.observe(
            await client.patch(
                informer.resource, metadata["namespace"], metadata["name"], {"status": changed}, subresource="status"
            )
        )
    except ApiError as error:
        if not error.not_found:
            raise

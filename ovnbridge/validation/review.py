"""AdmissionReview in, AdmissionReview out (admission.k8s.io/v1), as bytes."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from ovnbridge.model.crd.codec import convert
from ovnbridge.validation.judge import WATCHED, Judge
from ovnbridge.validation.request import CONFLICT, CREATE, DELETE, FORBIDDEN, INVALID, UPDATE, Problem, Request
from ovnbridge.validation.workload import TEMPLATES

_TYPES: Final = {resource.kind: kind for resource, kind in WATCHED}
_GROUPS: Final = {
    **{resource.kind: resource.group for resource, _ in WATCHED},
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet"), "apps"),
    **dict.fromkeys(("Job", "CronJob"), "batch"),
}
_REASONS: Final = {CONFLICT: "Conflict", INVALID: "Invalid", FORBIDDEN: "Forbidden"}
_LONGEST: Final = 4096


class MalformedReview(Exception):
    """The body is not an AdmissionReview of version v1."""


def answer(judge: Judge, body: bytes) -> bytes:
    """The reply to one review. Raises MalformedReview."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedReview(f"not JSON: {error}") from None
    asked = document.get("request") if isinstance(document, dict) else None
    if not isinstance(asked, dict) or not isinstance(asked.get("uid"), str):
        raise MalformedReview("no request with a uid")
    if document.get("apiVersion") != "admission.k8s.io/v1":
        raise MalformedReview(f"apiVersion {document.get('apiVersion')!r} is not admission.k8s.io/v1")
    problems = _problems(judge, asked)
    response: dict[str, Any] = {"uid": asked["uid"], "allowed": not problems}
    if problems:
        response["status"] = _status(asked, problems)
    return orjson.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})


def _problems(judge: Judge, asked: dict[str, Any]) -> tuple[Problem, ...]:
    kind, operation = _kind(asked), asked.get("operation")
    if kind is None or operation not in (CREATE, UPDATE, DELETE) or asked.get("subResource"):
        return ()
    new, old = asked.get("object"), asked.get("oldObject")
    try:
        return judge.review(
            Request(
                kind=kind,
                operation=operation,
                key=_key(asked, old if operation == DELETE else new),
                value=_decoded(kind, new) if operation != DELETE else None,
                old=_readable(kind, old),
            )
        )
    except msgspec.ValidationError as error:
        return (Problem("", f"{kind} cannot be read: {error}"),)


def _kind(asked: dict[str, Any]) -> str | None:
    found = asked.get("kind")
    kind = found.get("kind") if isinstance(found, dict) else None
    known = isinstance(kind, str) and isinstance(found, dict) and _GROUPS.get(kind) == found.get("group")
    return kind if known else None


def _key(asked: dict[str, Any], document: Any) -> str:
    meta = document.get("metadata") if isinstance(document, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    name = asked.get("name") or meta.get("name") or meta.get("generateName") or ""
    namespace = asked.get("namespace") or meta.get("namespace") or ""
    # A cluster-scoped object has no namespace in its key, a namespaced one always has.
    return f"{namespace}/{name}" if namespace else str(name)


def _decoded(kind: str, document: Any) -> Any:
    if kind in TEMPLATES:
        return document
    return convert(document, _TYPES[kind])


def _readable(kind: str, document: Any) -> Any | None:
    """The old object, None when there is none or the server stores one that cannot be read any more."""
    try:
        return _decoded(kind, document) if document is not None else None
    except msgspec.ValidationError:
        return None


def _status(asked: dict[str, Any], problems: tuple[Problem, ...]) -> dict[str, Any]:
    """A Status like those of the server's own validation: one cause for each field."""
    code = problems[0].code
    message = "; ".join(map(str, problems))[:_LONGEST]
    causes = [{"field": p.field, "message": p.message[:_LONGEST]} for p in problems[:50]]
    kind = _kind(asked)
    return {
        "status": "Failure",
        "message": message,
        "reason": _REASONS[code],
        "code": code,
        "details": {"name": _key(asked, asked.get("object")), "kind": kind, "causes": causes},
    }

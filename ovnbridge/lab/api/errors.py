"""Refusals of the API server, and the `Status` objects that carry them to the client.

Every module here refuses by raising `ApiError`; only the request supervisor in `server` catches it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that is wrong, as `details.causes` of a Status has it."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def text(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class ApiError(Exception):
    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str | None = None,
        details: Object | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = REASONS.get(code, "InternalError") if reason is None else reason
        self.details = details
        self.retry_after = retry_after

    def status(self) -> Object:
        details = dict(self.details or {})
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **({"details": details} if details else {}),
            "code": self.code,
        }


def success(details: Object, code: int = 200) -> Object:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return {**status, "details": details} if code == 200 else {**status, "code": code}


def describe_resource(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> ApiError:
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    return ApiError(404, f'{describe_resource(group, plural)} "{name}" not found', details=details)


def no_such_path() -> ApiError:
    return ApiError(404, "the server could not find the requested resource", details={})


def already_exists(group: str, plural: str, name: str) -> ApiError:
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    message = f'{describe_resource(group, plural)} "{name}" already exists'
    return ApiError(409, message, reason="AlreadyExists", details=details)


def conflict(group: str, plural: str, name: str, why: str = "") -> ApiError:
    why = why or ("the object has been modified; please apply your changes to the latest version and try again")
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    message = f'Operation cannot be fulfilled on {describe_resource(group, plural)} "{name}": {why}'
    return ApiError(409, message, details=details)


def invalid(group: str, kind: str, name: str, causes: Iterable[Cause]) -> ApiError:
    found = list(causes)
    texts = [cause.text() for cause in found]
    text = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    where = f"{kind}.{group}" if group else kind
    details = {
        "name": name,
        **({"group": group} if group else {}),
        "kind": kind,
        "causes": [{"reason": c.reason, "message": c.message, "field": c.field} for c in found],
    }
    return ApiError(422, f'{where} "{name}" is invalid: {text}', details=details)


def forbidden(group: str, plural: str, name: str, why: str, causes: Iterable[Cause] = ()) -> ApiError:
    details: Object = {"name": name, **({"group": group} if group else {}), "kind": plural}
    found = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    if found:
        details["causes"] = found
    return ApiError(403, f'{describe_resource(group, plural)} "{name}" is forbidden: {why}', details=details)


def expired(message: str) -> ApiError:
    return ApiError(410, message)

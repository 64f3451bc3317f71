"""Parsing of what a request says beside its verb: path, query parameters, delete options, bodies in YAML."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import orjson
import yaml

from . import errors
from .errors import ApiError, Cause, Object
from .lifecycle import DeleteOptions
from .store import Key

TRUE = {"1", "t", "T", "TRUE", "true", "True"}
FALSE = {"0", "f", "F", "FALSE", "false", "False", ""}

Query = Mapping[str, str]


def flag(query: Query, name: str) -> bool | None:
    value = query.get(name)
    if value is None:
        return None
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ApiError(400, f'strconv.ParseBool: parsing "{value}": invalid syntax for {name}')


def number(query: Query, name: str) -> int | None:
    value = query.get(name)
    if not value:
        return None
    if not re.fullmatch(r"-?\d+", value):
        raise ApiError(400, f'strconv.ParseInt: parsing "{value}": invalid syntax for {name}')
    return int(value)


class Target:
    """What a path names."""

    __slots__ = ("group", "name", "namespace", "plural", "sub", "version")

    def __init__(self, group: str, version: str, rest: list[str]) -> None:
        self.group, self.version = group, version
        self.namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and not (len(rest) == 3 and rest[2] in ("status", "finalize")):
            self.namespace, rest = rest[1], rest[2:]
        self.plural = rest[0]
        self.name = rest[1] if len(rest) > 1 else ""
        self.sub = "/".join(rest[2:])

    def label(self) -> str:
        return f"{self.group or 'core'}/{self.plural}" + (f"/{self.sub}" if self.sub else "")


def parse_path(path: str) -> Target | None:
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        return Target("", parts[1], parts[2:])
    if parts[0] == "apis" and len(parts) > 3:
        return Target(parts[1], parts[2], parts[3:])
    return None


def delete_options(body: Object, query: Query) -> DeleteOptions:
    grace = body.get("gracePeriodSeconds", number(query, "gracePeriodSeconds"))
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy", "")
    orphan = body.get("orphanDependents", flag(query, "orphanDependents"))
    if not propagation and orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    if propagation not in ("", "Orphan", "Background", "Foreground"):
        text = f'Unsupported value: "{propagation}": supported values: "Background", "Foreground", "Orphan", "nil"'
        cause = Cause("propagationPolicy", text, "FieldValueNotSupported")
        raise errors.invalid("meta.k8s.io", "DeleteOptions", "", [cause])
    preconditions = body.get("preconditions") or {}
    return DeleteOptions(
        grace=grace,
        propagation=propagation,
        dry_run="All" in (body.get("dryRun") or ()) or query.get("dryRun") == "All",
        uid=preconditions.get("uid") or "",
        version=preconditions.get("resourceVersion") or "",
    )


def encode_continue(version: int, after: Key) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([version, *after])).decode().rstrip("=")


def decode_continue(token: str) -> tuple[int, Key]:
    try:
        version, namespace, name = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(version), (str(namespace), str(name))
    except ValueError as error:
        raise ApiError(400, "continue key is not valid") from error


def from_yaml(body: bytes) -> Any:
    """YAML with the dates left as text, as JSON has them."""
    if body.lstrip()[:1] == b"{":
        return orjson.loads(body)
    parsed = yaml.load(body, Loader=_TextDates)
    try:
        # YAML knows keys and numbers that JSON does not.
        return orjson.loads(orjson.dumps(parsed, option=orjson.OPT_NON_STR_KEYS))
    except TypeError as error:
        raise ApiError(400, f"the body of the request has no JSON form: {error}") from error


class _TextDates(yaml.SafeLoader):
    pass


_TextDates.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

"""What a walk of an object by its schema reports: where something is wrong, and what.

`schema` and `schema_rules` write a `Report`; `objects` turns it into a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from .errors import Cause

# A path is a linked list from the leaf to the root: extending it costs one tuple, and only errors read it.
Path = tuple[Any, Any] | None


def path_text(path: Path) -> str:
    parts: list[str] = []
    while path is not None:
        path, key = path
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key}" if key else "")
    return "".join(reversed(parts)).removeprefix(".")


def json_text(value: Any) -> str:
    return orjson.dumps(value).decode()


class Report:
    """What one walk found: fields that the schema does not know, wrong types, broken rules."""

    __slots__ = ("broken", "mistyped", "unknown")

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.mistyped: list[Cause] = []
        self.broken: list[Cause] = []

    def wrong_type(self, path: Path, value: Any, wanted: str) -> None:
        where = path_text(path)
        found = type_name(value)
        shown = json_text(value) if isinstance(value, (str, int, float, bool)) else f'"{found}"'
        message = f'Invalid value: "{found}": {where} in body must be of type {wanted}: {shown}'
        self.mistyped.append(Cause(where, message, "FieldValueTypeInvalid"))

    def invalid(self, path: Path, value: Any, why: str) -> None:
        self.broken.append(Cause(path_text(path), f"Invalid value: {json_text(value)}: {why}"))

    def required(self, path: Path, why: str = "") -> None:
        message = "Required value" + (f": {why}" if why else "")
        self.broken.append(Cause(path_text(path), message, "FieldValueRequired"))


def type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names: dict[type, str] = {str: "string", int: "integer", float: "number", dict: "object", list: "array"}
    return names[type(value)]


Check = Callable[[Any, Path, Report], None]

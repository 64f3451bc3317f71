"""The validation keywords of structural schemas: from `enum` to `oneOf`, each as a checker of its own.

`schema` asks `value_rules` for those of one schema and runs them after the types are known to be right.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from .errors import Cause
from .report import Check, Path, Report, json_text, path_text
from .schema_types import is_date_time

Holds = Callable[[Any], bool]
CompileHolds = Callable[[Mapping[str, Any]], Holds]


def _parses(parser: Callable[[str], object]) -> Callable[[str], bool]:
    def test(value: str) -> bool:
        try:
            parser(value)
        except ValueError:
            return False
        return True

    return test


FORMATS: dict[str, Callable[[str], bool]] = {
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "cidr": lambda value: "/" in value and _parses(lambda v: ipaddress.ip_network(v, strict=False))(value),
    "date-time": is_date_time,
    "mac": lambda value: re.fullmatch(r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}", value) is not None,
    "uuid": lambda value: re.fullmatch(r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", value) is not None,
}


def value_rules(schema: Mapping[str, Any], compile_holds: CompileHolds) -> list[Check]:
    rules: list[Check] = []
    if "enum" in schema:
        rules.append(enum_rule(schema["enum"]))
    if "pattern" in schema:
        rules.append(pattern_rule(schema["pattern"]))
    if schema.get("format") in FORMATS:
        rules.append(format_rule(schema["format"]))
    for keyword, build in LIMITS.items():
        if keyword in schema:
            rules.append(build(schema[keyword], schema))
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in schema:
            rules.append(logic_rule(keyword, [compile_holds(part) for part in schema[keyword]]))
    if "not" in schema:
        rules.append(not_rule(compile_holds(schema["not"])))
    return rules


def enum_rule(allowed: list[Any]) -> Check:
    names = ", ".join(json_text(item) for item in allowed)

    def check(value: Any, path: Path, report: Report) -> None:
        if value not in allowed:
            message = f"Unsupported value: {json_text(value)}: supported values: {names}"
            report.broken.append(Cause(path_text(path), message, "FieldValueNotSupported"))

    return check


def pattern_rule(pattern: str) -> Check:
    expression = re.compile(pattern)

    def check(value: Any, path: Path, report: Report) -> None:
        if isinstance(value, str) and not expression.search(value):
            report.invalid(path, value, f"{path_text(path)} in body should match '{pattern}'")

    return check


def format_rule(name: str) -> Check:
    test = FORMATS[name]

    def check(value: Any, path: Path, report: Report) -> None:
        if isinstance(value, str) and not test(value):
            report.invalid(path, value, f"{path_text(path)} in body must be of type {name}: {json_text(value)}")

    return check


def _limit(
    applies: tuple[type, ...], fails: Callable[[Any, Any, Mapping[str, Any]], bool], text: str
) -> Callable[[Any, Mapping[str, Any]], Check]:
    def build(limit: Any, schema: Mapping[str, Any]) -> Check:
        def check(value: Any, path: Path, report: Report) -> None:
            if isinstance(value, applies) and not isinstance(value, bool) and fails(value, limit, schema):
                report.invalid(path, value, f"{path_text(path)} in body {text.format(limit)}")

        return check

    return build


LIMITS: dict[str, Callable[[Any, Mapping[str, Any]], Check]] = {
    "minimum": _limit(
        (int, float),
        lambda v, limit, s: v < limit or (bool(s.get("exclusiveMinimum")) and v == limit),
        "should be greater than or equal to {}",
    ),
    "maximum": _limit(
        (int, float),
        lambda v, limit, s: v > limit or (bool(s.get("exclusiveMaximum")) and v == limit),
        "should be less than or equal to {}",
    ),
    "multipleOf": _limit((int, float), lambda v, limit, _: v % limit != 0, "should be a multiple of {}"),
    "minLength": _limit((str,), lambda v, limit, _: len(v) < limit, "should be at least {} chars long"),
    "maxLength": _limit((str,), lambda v, limit, _: len(v) > limit, "should be at most {} chars long"),
    "minItems": _limit((list,), lambda v, limit, _: len(v) < limit, "should have at least {} items"),
    "maxItems": _limit((list,), lambda v, limit, _: len(v) > limit, "should have at most {} items"),
    "minProperties": _limit((dict,), lambda v, limit, _: len(v) < limit, "should have at least {} properties"),
    "maxProperties": _limit((dict,), lambda v, limit, _: len(v) > limit, "should have at most {} properties"),
    "uniqueItems": _limit(
        (list,), lambda v, limit, _: bool(limit) and len({json_text(i) for i in v}) < len(v), "has duplicates"
    ),
}


def logic_rule(keyword: str, parts: list[Holds]) -> Check:
    def check(value: Any, path: Path, report: Report) -> None:
        met = sum(holds(value) for holds in parts)
        if keyword == "allOf" and met < len(parts):
            report.invalid(path, value, f"{path_text(path)} in body must validate all the schemas (allOf)")
        elif keyword == "anyOf" and not met:
            report.invalid(path, value, f"{path_text(path)} in body must validate at least one schema (anyOf)")
        elif keyword == "oneOf" and met != 1:
            text = "must validate one and only one schema (oneOf)"
            report.invalid(path, value, f"{path_text(path)} in body {text}")

    return check


def not_rule(holds: Holds) -> Check:
    def check(value: Any, path: Path, report: Report) -> None:
        if holds(value):
            report.invalid(path, value, f"{path_text(path)} in body must not validate the schema (not)")

    return check


def check_unique(value: list[Any], keys: list[str], path: Path, report: Report) -> None:
    seen: set[str] = set()
    for index, item in enumerate(value):
        identity = {key: item.get(key) for key in keys} if keys and isinstance(item, dict) else item
        text = orjson.dumps(identity, option=orjson.OPT_SORT_KEYS).decode()
        if text in seen:
            report.broken.append(Cause(path_text((path, index)), f"Duplicate value: {text}", "FieldValueDuplicate"))
        seen.add(text)

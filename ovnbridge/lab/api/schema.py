"""Compiles OpenAPI schemas into checkers that default, prune and validate an object in one walk.

One machine serves two masters: the schemas of the builtin kinds (`builtin=True`: a missing field that the
real server always writes is filled in, an unknown field is dropped and reported, a wrong type is a decoding
error) and the structural schemas of CustomResourceDefinitions (defaults, pruning, OpenAPI v3 validation).
`resources` compiles, `objects` runs the walk and turns the report into a refusal.

CEL rules (`x-kubernetes-validations`) are not evaluated.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from .quantity import canonical, is_quantity
from .report import Check, Path, Report, path_text
from .schema_rules import Holds, check_unique, value_rules
from .schema_types import (
    INTEGER_RANGES,
    check_boolean,
    check_filled,
    check_int_or_string,
    check_micro_time,
    check_number,
    check_quantity,
    check_string,
    check_time,
    integer_check,
)

OBJECT_META = {"apiVersion", "kind", "metadata"}
NOTHING = object()


class Field:
    """One property of an object: its checker and what happens when it is absent, null or empty."""

    __slots__ = ("check", "default", "drop_empty", "drop_null", "required")

    def __init__(
        self, check: Check | None, default: Any, *, required: bool, drop_null: bool, drop_empty: bool = False
    ) -> None:
        self.check = check
        self.default = default
        self.required = required
        self.drop_null = drop_null
        self.drop_empty = drop_empty


class Compiler:
    """Turns schemas into checkers; a definition is compiled once, however often it is referred to."""

    def __init__(self, definitions: Mapping[str, Any], *, builtin: bool) -> None:
        self._definitions = definitions
        self._builtin = builtin
        self._named: dict[str, Check] = {}

    def compile(self, schema: Mapping[str, Any], *, root: bool = False) -> Check | None:
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._reference(reference)
        if self._builtin:
            return self._shape(schema, root)
        return self._structural(schema, root)

    def _reference(self, name: str) -> Check | None:
        if name.endswith(".Quantity"):
            return check_quantity
        if name.endswith(".IntOrString"):
            return check_int_or_string
        if name.endswith(".MicroTime"):
            return check_micro_time
        if name.endswith(".Time"):
            return check_time
        definition = self._definitions[name]
        if "properties" not in definition:  # RawExtension, JSON and its relatives: anything goes
            return None
        if name in self._named:
            return self._named[name]
        # Definitions may be recursive (JSONSchemaProps), so the name is bound before its body is compiled.
        cell: list[Check] = []

        def forward(value: Any, path: Path, report: Report) -> None:
            cell[0](value, path, report)

        self._named[name] = forward
        check = self._object(definition, root=False)
        cell.append(check)
        self._named[name] = check
        return check

    # -- types -----------------------------------------------------------------------------------------

    def _shape(self, schema: Mapping[str, Any], root: bool) -> Check | None:
        kind = schema.get("type")
        if schema.get("x-kubernetes-int-or-string"):
            return check_int_or_string
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, root)
        if kind == "array":
            return self._array(schema)
        if kind == "string":
            return check_string
        if kind == "boolean":
            return check_boolean
        if kind == "integer":
            return integer_check(*INTEGER_RANGES.get(schema.get("format", "int64"), INTEGER_RANGES["int64"]))
        if kind == "number":
            return check_number
        return None

    def _structural(self, schema: Mapping[str, Any], root: bool) -> Check | None:
        shape = self._shape(schema, root)
        rules = value_rules(schema, compile_holds)
        nullable = bool(schema.get("nullable"))
        embedded = self._embedded() if schema.get("x-kubernetes-embedded-resource") else None
        if shape is None and not rules and embedded is None:
            return None

        def check(value: Any, path: Path, report: Report) -> None:
            if value is None and nullable:
                return
            wrong = len(report.mistyped)
            if shape is not None:
                shape(value, path, report)
            if embedded is not None:
                embedded(value, path, report)
            if len(report.mistyped) == wrong:
                for rule in rules:
                    rule(value, path, report)

        return check

    @staticmethod
    def _embedded() -> Check:
        def check(value: Any, path: Path, report: Report) -> None:
            for key in ("apiVersion", "kind"):
                if isinstance(value, dict) and not value.get(key):
                    report.required((path, key), "must not be empty")

        return check

    def _object(self, schema: Mapping[str, Any], root: bool) -> Check:
        additional = schema.get("additionalProperties")
        properties: Mapping[str, Any] = schema.get("properties") or {}
        if not properties and isinstance(additional, dict) and additional:
            return map_check(self.compile(additional), self._zero(additional) if self._builtin else None)
        preserve = bool(
            schema.get("x-kubernetes-preserve-unknown-fields")
            or additional is True
            or (self._builtin and not properties)
        )
        meta = root or bool(schema.get("x-kubernetes-embedded-resource"))
        fields = self._fields(schema, properties, skip=OBJECT_META if meta and not self._builtin else set())
        known = (set(properties) | OBJECT_META) if meta else set(properties)
        wanted = [(name, field) for name, field in fields.items() if field.default is not NOTHING or field.required]
        # Absent required properties without a default of a builtin kind (an array, a reference).
        rest = self.compile(additional) if isinstance(additional, dict) else None

        def check(value: Any, path: Path, report: Report) -> None:
            if value.__class__ is not dict:
                report.wrong_type(path, value, "object")
                return
            for name, field in wanted:
                if name not in value:
                    if field.default is not NOTHING:
                        value[name] = (
                            copy.deepcopy(field.default) if field.default.__class__ in (dict, list) else field.default
                        )
                    elif field.required:
                        report.required((path, name))
            surplus = None
            for name, item in value.items():
                found = fields.get(name)
                if found is None:
                    if name not in known and not preserve:
                        if rest is not None:
                            rest(item, (path, name), report)
                        else:
                            surplus = [*(surplus or ()), name]
                elif (item is None and found.drop_null) or (found.drop_empty and (item == [] or item == {})):
                    surplus = [*(surplus or ()), name]
                elif found.check is not None:
                    found.check(item, (path, name), report)
            if surplus:
                for name in surplus:
                    if name not in fields:
                        report.unknown.append(path_text((path, name)))
                    del value[name]
                    late = fields.get(name)
                    if late is not None and late.default is not NOTHING:
                        value[name] = copy.deepcopy(late.default)
                        if late.check is not None:
                            late.check(value[name], (path, name), report)
                    elif late is not None and late.required:
                        report.required((path, name))

        return check

    def _fields(self, schema: Mapping[str, Any], properties: Mapping[str, Any], skip: set[str]) -> dict[str, Field]:
        required = set(schema.get("required") or ())
        fields: dict[str, Field] = {}
        for name, sub in properties.items():
            if name in skip:
                continue
            default = sub.get("default", NOTHING)
            if self._builtin:
                # `default: ""` marks a field that Go always writes; when it is required it must not be empty.
                must = name in required and default in (NOTHING, "")
                if must or (default == {} and "$ref" in sub and not self._is_object(sub["$ref"])):
                    default = NOTHING
                check = self.compile(sub)
                if must and sub.get("type") == "string":
                    check = check_filled
                # Go does not write an empty list or map, unless the field is one that it always writes.
                omitted = name not in required and sub.get("type") in ("array", "object")
                fields[name] = Field(check, default, required=must, drop_null=True, drop_empty=omitted)
            else:
                nullable = bool(sub.get("nullable"))
                check = self.compile(sub)
                fields[name] = Field(check, default, required=name in required, drop_null=not nullable)
        return fields

    def _is_object(self, name: str) -> bool:
        return "properties" in self._definitions[name]

    def _zero(self, schema: Any) -> Any:
        """What Go makes of a null in a list or a map."""
        if not isinstance(schema, dict):
            return None
        reference = schema.get("$ref", "")
        if reference:
            return {} if self._is_object(reference) else "0" if reference.endswith(".Quantity") else None
        zeros: dict[str, Any] = {"string": "", "integer": 0, "boolean": False, "array": [], "object": {}}
        return zeros.get(schema.get("type", ""))

    def _array(self, schema: Mapping[str, Any]) -> Check:
        items = schema.get("items")
        check_item = self.compile(items) if isinstance(items, dict) else None
        list_type = schema.get("x-kubernetes-list-type")
        keys: list[str] = schema.get("x-kubernetes-list-map-keys") or []
        unique = list_type in ("set", "map") and not self._builtin
        builtin = self._builtin

        def check(value: Any, path: Path, report: Report) -> None:
            if value.__class__ is not list:
                report.wrong_type(path, value, "array")
                return
            if check_item is not None:
                for index, item in enumerate(value):
                    if item is None and builtin:
                        item = value[index] = self._zero(items)
                    check_item(item, (path, index), report)
            if unique:
                check_unique(value, keys if list_type == "map" else [], path, report)

        return check


def map_check(check_value: Check | None, zero: Any) -> Check:
    """A map of anything; a null value of a builtin kind is read as the zero of its type, as Go does."""

    def check(value: Any, path: Path, report: Report) -> None:
        if value.__class__ is not dict:
            report.wrong_type(path, value, "object")
        elif check_value is not None:
            for key, item in value.items():
                if item is None and zero is not None:
                    item = value[key] = copy.copy(zero)
                check_value(item, (path, key), report)
            if check_value is check_quantity:
                value.update({key: canonical(item) for key, item in value.items() if is_quantity(item)})

    return check


def compile_holds(schema: Mapping[str, Any]) -> Holds:
    """Whether a value satisfies a schema below a logical keyword, where nothing is defaulted or pruned."""
    check = Compiler({}, builtin=False).compile({"x-kubernetes-preserve-unknown-fields": True, **schema})
    required = schema.get("required") or ()

    def holds(value: Any) -> bool:
        if isinstance(value, dict) and any(name not in value for name in required):
            return False
        if check is None:
            return True
        report = Report()
        check(copy.deepcopy(value), None, report)
        return not report.mistyped and not report.broken

    return holds

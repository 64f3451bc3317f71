"""Label and field selectors, parsed as the real server parses them.

`requests` parses the query parameters, `store` and `watch` ask `Selector.matches` for each object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from .errors import ApiError

Labels = Mapping[str, str]
Requirement = Callable[[Labels], bool]

SET_BASED = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^()]*)\)$")
EQUALITY = re.compile(r"^([^!=<>\s]+)\s*(!=|==|=)\s*(\S*)$")
COMPARISON = re.compile(r"^(\S+?)\s*([<>])\s*(-?\d+)$")
EXISTS = re.compile(r"^(!?)\s*([A-Za-z0-9][-A-Za-z0-9_./]*)$")
LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")


class FieldTerm(NamedTuple):
    field: str
    equal: bool
    value: str


class Selector(NamedTuple):
    labels: tuple[Requirement, ...]
    fields: tuple[FieldTerm, ...]

    def matches(self, labels: Labels, fields: Mapping[str, str]) -> bool:
        for term in self.fields:
            if (fields.get(term.field, "") == term.value) is not term.equal:
                return False
        return all(requirement(labels) for requirement in self.labels)

    def wanted(self, field: str) -> str | None:
        """The value that the selector fixes a field to, if it does."""
        return next((term.value for term in self.fields if term.field == field and term.equal), None)


EVERYTHING = Selector((), ())


def parse_selector(label_selector: str, field_selector: str, supported: Mapping[str, object]) -> Selector:
    if not label_selector and not field_selector:
        return EVERYTHING
    labels = tuple(_requirement(term) for term in _split(label_selector))
    fields = tuple(_field_term(term, supported) for term in field_selector.split(",") if term)
    return Selector(labels, fields)


def _split(text: str) -> list[str]:
    """Splits on the commas that are not inside parentheses."""
    terms = [term.strip() for term in re.findall(r"(?:[^,(]|\([^)]*\))+", text)]
    if text.count("(") != text.count(")"):
        raise ApiError(400, f"unable to parse requirement: unbalanced parentheses in {text!r}")
    return [term for term in terms if term]


def _requirement(term: str) -> Requirement:
    if match := SET_BASED.match(term):
        key, operator, listed = match.groups()
        values = {value.strip() for value in listed.split(",")}
        if operator == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: labels.get(key) not in values
    if match := EQUALITY.match(term):
        key, operator, wanted = match.groups()
        if not LABEL_VALUE.match(wanted) or len(wanted) > 63:
            raise ApiError(400, f"unable to parse requirement: values[0][{key}]: Invalid value: {wanted!r}")
        if operator == "!=":
            return lambda labels: labels.get(key) != wanted
        return lambda labels: labels.get(key) == wanted
    if match := COMPARISON.match(term):
        key, operator, number = match.group(1), match.group(2), int(match.group(3))
        return lambda labels: _compares(labels.get(key, ""), operator, number)
    if match := EXISTS.match(term):
        negated, key = match.groups()
        if negated:
            return lambda labels: key not in labels
        return lambda labels: key in labels
    raise ApiError(400, f"unable to parse requirement: invalid label selector {term!r}")


def _compares(value: str, operator: str, number: int) -> bool:
    if not re.fullmatch(r"-?\d+", value):
        return False
    return int(value) > number if operator == ">" else int(value) < number


def _field_term(term: str, supported: Mapping[str, object]) -> FieldTerm:
    match = re.match(r"^([^!=]+?)\s*(!=|==|=)\s*(.*)$", term.strip())
    if match is None:
        raise ApiError(400, f"invalid selector: '{term}'; can't understand '{term}'")
    field, operator, value = match.groups()
    if field not in supported:
        raise ApiError(400, f'field label not supported: "{field}"')
    return FieldTerm(field, operator != "!=", value)

"""Label selectors (metav1.LabelSelector): whether one matches a set of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Requirement(Protocol):
    """One `matchExpressions` entry."""

    @property
    def key(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def values(self) -> Sequence[str] | None: ...


class Selector(Protocol):
    """A label selector of any of our models."""

    @property
    def match_labels(self) -> Mapping[str, str] | None: ...
    @property
    def match_expressions(self) -> Sequence[Requirement] | None: ...


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether all requirements hold; an empty selector matches everything, an unknown operator nothing."""
    for name, value in (selector.match_labels or {}).items():
        if labels.get(name) != value:
            return False
    return all(_holds(requirement, labels) for requirement in selector.match_expressions or ())


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    values = requirement.values or ()
    if requirement.operator == "In":
        return value is not None and value in values
    if requirement.operator == "NotIn":
        return value is None or value not in values
    if requirement.operator == "Exists":
        return value is not None
    if requirement.operator == "DoesNotExist":
        return value is None
    return False

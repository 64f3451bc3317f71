"""Label selectors and node selectors, on plain dicts."""

from __future__ import annotations

from collections.abc import Mapping

from ovnbridge.lab.client import Object


def matches(selector: Object | None, labels: Mapping[str, str] | None) -> bool:
    """metav1.LabelSelector; None selects nothing, an empty one everything."""
    if selector is None:
        return False
    found = labels or {}
    if any(found.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(expression, found) for expression in selector.get("matchExpressions") or ())


def node_matches(selector: Object, node: Object) -> bool:
    """v1.NodeSelector: one of its terms."""
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        all(_expression(expression, labels) for expression in term.get("matchExpressions") or ())
        and all(_expression(expression, fields) for expression in term.get("matchFields") or ())
        for term in selector.get("nodeSelectorTerms") or ()
        if term.get("matchExpressions") or term.get("matchFields")
    )


def _expression(expression: Object, labels: Mapping[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], list(expression.get("values") or ())
    value = labels.get(key)
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if value is None or not value.lstrip("-").isdecimal():
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])

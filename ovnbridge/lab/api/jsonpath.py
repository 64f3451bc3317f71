"""The part of JSONPath that printer columns, selectable fields and scale paths use.

`.spec.a['b'].c[0]`, `[*]`, `..` is not there, and one filter form: `[?(@.type=="Ready")]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .errors import Object

STEP = re.compile(
    r"""\.?(?P<name>(?:[^.\[\]\\]|\\.)+)
      | \[\s*'(?P<quoted>[^']*)'\s*\]
      | \[\s*"(?P<double>[^"]*)"\s*\]
      | \[(?P<index>-?\d+)\]
      | (?P<all>\[\*\])
      | \[\?\(\s*@\.(?P<field>[\w.]+)\s*(?P<operator>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]""",
    re.VERBOSE,
)
Step = Callable[[list[Any]], list[Any]]


def _member(name: str) -> Step:
    return lambda found: [item[name] for item in found if isinstance(item, dict) and name in item]


def _element(index: int) -> Step:
    return lambda found: [item[index] for item in found if isinstance(item, list) and -len(item) <= index < len(item)]


def _every(found: list[Any]) -> list[Any]:
    return [
        element
        for item in found
        for element in (item if isinstance(item, list) else item.values() if isinstance(item, dict) else ())
    ]


def _filter(field: str, equal: bool, value: str) -> Step:
    def keep(element: Any) -> bool:
        for name in field.split("."):
            element = element.get(name) if isinstance(element, dict) else None
        text = str(element).lower() if isinstance(element, bool) else str(element)
        return (text == value) is equal

    return lambda found: [element for element in _every(found) if keep(element)]


def parse(path: str) -> Callable[[Object], list[Any]]:
    """A function from an object to all values at the path."""
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    steps: list[Step] = []
    position = 0
    while position < len(text):
        match = STEP.match(text, position)
        if match is None or match.end() == position:
            raise ValueError(f"JSONPath {path!r} is not understood at {text[position:]!r}")
        position = match.end()
        steps.append(_step(match))

    def find(obj: Object) -> list[Any]:
        found: list[Any] = [obj]
        for step in steps:
            found = step(found)
        return found

    return find


def _step(match: re.Match[str]) -> Step:
    groups = match.groupdict()
    if groups["all"]:
        return _every
    if groups["index"] is not None:
        return _element(int(groups["index"]))
    if groups["field"]:
        return _filter(groups["field"], groups["operator"] == "==", groups["value"].strip("\"'"))
    name = groups["quoted"] if groups["quoted"] is not None else groups["double"]
    return _member(re.sub(r"\\(.)", r"\1", groups["name"]) if name is None else name)


def first(path: str) -> Callable[[Object], Any]:
    """A function from an object to the first value at the path, or None."""
    find = parse(path)

    def value(obj: Object) -> Any:
        found = find(obj)
        return found[0] if found else None

    return value

"""Keys, values and changes in words, for people and for JSON: the vocabulary of `plan`, `explain` and `doctor`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Final

import msgspec

from ovnbridge.controller import ControllerState
from ovnbridge.engine.desired import UnitKey
from ovnbridge.engine.diff import Change, Mutate, Update
from ovnbridge.kube.plan import Write
from ovnbridge.model.ovn import NORTHBOUND, Key, Ref

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LONGEST: Final = 160
"""Characters of a value in a line for people; JSON has all."""


def as_json(value: Any) -> bytes:
    """What `--output json` prints. Counts of IPv6 subnets do not fit 64 bits."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def key_text(key: Key | Sequence[Any]) -> str:
    """A natural key in one line."""
    return key if isinstance(key, str) else " | ".join(str(part) for part in key)


def not_examined(why: str) -> str:
    """That OVN SB is not examined, in one line."""
    return f"not examined: OVN SB ({why})"


def unit_text(unit: UnitKey) -> str:
    """A unit in one line."""
    return f"{unit.unit} {unit.key}".rstrip()


def plain(value: Any) -> Any:
    """A column value or item part as JSON types, in a stable order."""
    if isinstance(value, Ref):
        return f"{value.table}:{key_text(value.key)}"
    if isinstance(value, frozenset | set):
        return sorted((plain(v) for v in value), key=str)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value


def named(state: ControllerState, value: Any) -> Any:
    """An existing value with rows instead of their UUIDs."""
    if isinstance(value, Mapping):
        return {name: named(state, entry) for name, entry in value.items()}
    if isinstance(value, Set):
        return frozenset(named(state, entry) for entry in value)
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        return value
    keys = ((table, state.replica.key_of(table, value)) for table in NORTHBOUND)
    return next((Ref(table, key) for table, key in keys if key is not None), value)


def change_text(state: ControllerState, change: Change) -> str:
    """What differs in an existing row, in words; "" for rows that come or go."""
    if isinstance(change, Update):
        before = named(state, change.before)
        return "; ".join(f"{name}: {_short(before.get(name))} → {_short(v)}" for name, v in change.columns.items())
    if isinstance(change, Mutate):
        sides = (("add", change.add), ("remove", named(state, change.remove)))
        return f"{change.column}: {', '.join(f'{verb} {_short(values)}' for verb, values in sides if values)}"
    return ""


def write_text(state: ControllerState, kind: str, key: str, write: Write) -> str:
    """What a write changes in an object, in words: each field or annotation with its value before and after."""
    if write.verb == "delete":
        return ""
    body = {name: value for name, value in write.body.items() if name not in ("apiVersion", "kind")}
    if write.verb == "create":
        return _shortened("; ".join(f"{path}: {_short(value)}" for path, value in _leaves(body.get("spec") or {})))
    actual = state.world.get(kind, key)
    before = dict(_leaves(msgspec.to_builtins(actual))) if actual is not None else {}
    return "; ".join(
        f"{path}: {_short(before.get(path))} → {_short(value)}"
        for path, value in _leaves(body)
        if path != "metadata.uid" and before.get(path) != value and "Time" not in path
    )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values in a JSON object that are no objects, with their paths; names with dots in brackets."""
    if not isinstance(value, Mapping) or not value:
        yield path, value
        return
    for name, entry in value.items():
        step = f"[{name}]" if "." in name or "/" in name else f".{name}" if path else name
        yield from _leaves(entry, path + step)


def _short(value: Any) -> str:
    """A value in one line of limited length."""
    found = plain(value)
    if isinstance(found, list):
        return _shortened(f"[{', '.join(map(str, found))}]")
    if isinstance(found, dict):
        return _shortened(f"{{{', '.join(f'{name}={entry}' for name, entry in found.items())}}}")
    return "nothing" if found is None or found == "" else _shortened(str(found))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

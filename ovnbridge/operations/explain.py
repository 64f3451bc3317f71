"""Why a row is there: the unit that wants it, what that unit read; and the reverse, all that comes of an object."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Final

from ovnbridge.compile.chassis import CHASSIS
from ovnbridge.compile.chassis import UNITS as OF_CHASSIS
from ovnbridge.compile.options import ours
from ovnbridge.controller import KINDS, ControllerState
from ovnbridge.engine.desired import RowKey, UnitKey
from ovnbridge.engine.diff import Delete
from ovnbridge.engine.items import Claim, Event, Hold, Pool
from ovnbridge.engine.world import Cell
from ovnbridge.model.crd.kinds import KINDS as CRDS
from ovnbridge.model.ovn import NORTHBOUND, Key
from ovnbridge.operations.inputs import InputError
from ovnbridge.operations.words import key_text, named, plain, unit_text

_SHORT: Final = {
    **{short: info.resource.kind for info in CRDS.values() for short in info.short_names},
    "po": "Pod",
    "no": "Node",
    "ns": "Namespace",
    "sts": "StatefulSet",
    "net-attach-def": "NetworkAttachmentDefinition",
    "vm": "VirtualMachine",
    "vmi": "VirtualMachineInstance",
}
_INNER: Final = frozenset({"Options", "Schema", "Usage", "Refusal"})
"""Tables of the World that are no Kubernetes objects."""
_TABLES: Final = (*NORTHBOUND, CHASSIS)
"""Tables whose rows can be explained: of SB, only chassis are anything of ours."""


def find_table(name: str) -> str | None:
    """The NB table of this name, or `Chassis` of SB, in any case; None when there is none."""
    return next((table for table in _TABLES if table.lower() == name.lower()), None)


def find_kind(name: str) -> str | None:
    """The kind for `pod`, `pods`, `po`, `Pod`, … ; None when it is not one that the controller reads."""
    wanted = name.lower()
    named = _SHORT.get(wanted, wanted).lower()
    return next((r.kind for r, _ in KINDS if named in {r.kind.lower(), r.plural}), None)


def of_southbound(table: str | None, kind: str | None) -> bool:
    """Whether what is said of a row or object is incomplete without SB."""
    return table == CHASSIS or (table is None and kind in {unit.table for unit in OF_CHASSIS})


def unknown(state: ControllerState, name: str) -> InputError:
    """What is neither a table nor a kind, with those that look like it."""
    if (unread := state.unread_table(name)) is not None:
        return InputError(f"nothing here looks at the table {unread}: its rows are foreign, and never touched")
    tables, kinds = sorted(_TABLES), [resource.kind for resource, _ in KINDS]
    return InputError(
        f"{name} is neither a table nor a kind{_did_you_mean(name, [*tables, *kinds])}\n"
        f"tables: {', '.join(tables)}\nkinds: {', '.join(kinds)}"
    )


def rows_named(state: ControllerState, table: str, name: str) -> list[RowKey]:
    """Rows of a table, desired or existing, by their natural key; raises InputError with suggestions for none.

    The key may be written as it is printed (`ovn-cluster | 30000 | ip4.dst == 192.0.2.1`). Otherwise every part
    between bars must be, or else be in, some part of the key: `31000`, `ovn-cluster | 10.16.0.0/16`.
    """
    keys = {key for found, key in state.engine.desired.row_keys() if found == table}
    keys.update(key for found, key in state.engine.desired.member_keys() if found == table)
    keys.update(state.replica_of(table).keys(table))
    wanted = [part.strip() for part in name.split("|") if part.strip()]
    tests = (
        lambda key: key_text(key) == name or not key,
        lambda key: all(part in _parts(key) for part in wanted),
        lambda key: all(any(part in own for own in _parts(key)) for part in wanted),
    )
    for test in tests:
        found = sorted(filter(test, keys), key=str)
        if found:
            return [(table, key) for key in found]
    raise InputError(f"no {table} {name!r} is there or wanted{_did_you_mean(name, map(key_text, keys))}")


def object_key(state: ControllerState, kind: str, name: str) -> str:
    """The World key of an object; a namespace may be left out when one object only has the name.

    Raises InputError with suggestions when there is no such object, nor is one to be created.
    """
    keys = {*state.world.keys(kind), *(key for found, key in state.engine.desired.object_keys() if found == kind)}
    if name in keys:
        return name
    same = sorted(key for key in keys if key.rpartition("/")[2] == name)
    if len(same) == 1:
        return same[0]
    if same:
        raise InputError(f"{kind} {name} is there several times: {', '.join(same)}")
    raise InputError(f"no {kind} {name!r}{_did_you_mean(name, keys)}")


def _parts(key: Key) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(map(str, key))


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    by_text = {text.lower(): text for text in known}
    close = difflib.get_close_matches(name.lower(), by_text, n=5, cutoff=0.5)
    if not close:
        close = sorted(text for text in by_text if name.lower() in text)[:5]
    return f"; did you mean {', '.join(repr(by_text[text]) for text in close)}?" if close else ""


def explain_row(state: ControllerState, row: RowKey) -> dict[str, Any]:
    """One row: what is wanted and by whom, what is there, and what would change."""
    desired, actual = state.engine.desired.row(*row), state.replica_of(row[0]).find(*row)
    members = state.engine.desired.members(*row)
    units = state.engine.desired.units_of_row(*row)
    owner = state.engine.desired.row_owner(*row)
    return {
        "table": row[0],
        "key": plain(row[1]),
        "verdict": _verdict(state, row),
        "desired": plain(desired.columns) if desired is not None else None,
        "members": {
            column: {
                str(plain(value)): [unit_text(unit) for unit in values.all(value)] for value in sorted(values, key=str)
            }
            for column, values in members.items()
        },
        "actual": plain(named(state, actual.columns)) if actual is not None else None,
        "owner": unit_text(owner) if owner is not None else None,
        "members_from": [unit_text(unit) for unit in units if unit != owner],
        "because": _reads(state, [owner] if owner is not None else units),
        "ours": desired is not None or (actual is not None and state.owns(row[0], actual)),
        "changes": [type(change).__name__.lower() for change in state.diff(*row)],
    }


def _verdict(state: ControllerState, row: RowKey) -> str:
    """What is to be said of a row, in words."""
    desired, changes = state.engine.desired.row(*row), state.diff(*row)
    actual = state.replica_of(row[0]).find(*row)
    members = bool(state.engine.desired.members(*row))
    if actual is None and desired is not None and not changes:
        return "is missing, and another program's to add"
    if actual is None:
        return "is missing, and will be added" if desired is not None else "waits for the row that it is to be in"
    if any(isinstance(change, Delete) for change in changes):
        return "is not as it should be, and will be made anew" if desired is not None else "nobody wants it: it will go"
    if changes:
        return "is not as it should be, and will be changed"
    if desired is not None:
        return "is as it should be"
    if members:
        return "is not ours; what is ours in it is as it should be"
    marked = ", though it has Kube-OVN's mark (of a feature that is not built, or held)" if ours(actual) else ""
    return f"is foreign: nothing here asks for it, and it is never touched{marked}"


def explain_object(state: ControllerState, kind: str, key: str) -> dict[str, Any]:
    """One Kubernetes object: what is written to it, the units that depend on it and what they yield; its own first."""
    own = {UnitKey(unit.unit, unit.key) for unit in state.engine.units_for(kind, key)}
    units = sorted({*state.engine.dependants(Cell(kind, key)), *own}, key=lambda unit: (unit not in own, unit))
    return {
        "kind": kind,
        "key": key,
        "exists": state.world.get(kind, key) is not None,
        "written_by": [unit_text(unit) for unit in state.engine.desired.units_of_object(kind, key)],
        "units": [_explain_unit(state, unit) for unit in units],
    }


def _explain_unit(state: ControllerState, unit: UnitKey) -> dict[str, Any]:
    found: dict[str, Any] = {
        "unit": unit_text(unit),
        "rows": [f"{t} {key_text(k)}" for t, k in state.engine.desired.rows_of(unit)],
    }
    objects: dict[str, None] = {}
    for item in state.engine.desired.snapshot_of(unit):
        match item:
            case Claim():
                found["claim"] = item.owner
            case Hold():
                found.setdefault("holds", []).append(item.scope)
            case Event():
                found.setdefault("events", []).append(f"{item.type} {item.reason}: {item.message}")
            case Pool():
                found["addresses_of"] = item.name
            case _ if hasattr(item, "kind"):
                objects[f"{type(item).__name__} of {item.kind} {item.key}"] = None
    if objects:
        found["objects"] = list(objects)
    return found


def _reads(state: ControllerState, units: Iterable[UnitKey]) -> list[str]:
    """World values that units read, through their queries too."""
    found: dict[str, None] = {}
    for unit in units:
        for cell in state.engine.causes(unit):
            if cell.space in _INNER or cell.space.startswith(("keys:", "index:")):
                continue
            if state.world.get(cell.space, cell.key) is not None:
                found[f"{cell.space} {cell.key}"] = None
    return list(found)

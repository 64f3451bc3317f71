"""Why a row is there: the unit that wants it, what that unit read; and the reverse, all that comes of an object."""

from __future__ import annotations

from typing import Any

from ovnbridge.controller import ControllerState
from ovnbridge.engine.desired import RowKey, UnitKey
from ovnbridge.engine.world import Cell
from ovnbridge.model.ovn import NORTHBOUND
from ovnbridge.operations.report import key_text, plain


def rows_named(state: ControllerState, table: str, name: str) -> list[RowKey]:
    """Rows of a table, desired or existing, whose natural key is or contains the name."""
    keys = {key for found, key in state.engine.desired.row_keys() if found == table}
    keys.update(state.replica.keys(table))
    exact = [key for key in keys if key_text(key) == name]
    return [(table, key) for key in exact or sorted((k for k in keys if name in key_text(k)), key=str)]


def explain_row(state: ControllerState, row: RowKey) -> dict[str, Any]:
    """One row: what is wanted and by whom, what is there, and what would change."""
    desired, actual = state.engine.desired.row(*row), state.replica.find(*row)
    units = state.engine.desired.units_of_row(*row)
    owner = state.engine.desired.row_owner(*row)
    return {
        "table": row[0],
        "key": plain(row[1]),
        "desired": plain(desired.columns) if desired is not None else None,
        "actual": plain(actual.columns) if actual is not None else None,
        "owner": _name(owner) if owner is not None else None,
        "members_from": [_name(unit) for unit in units if unit != owner],
        "because": _reads(state, owner) if owner is not None else [],
        "ours": actual is not None and (desired is not None or state.owns(row[0], actual)),
        "changes": [type(change).__name__.lower() for change in state.diff(*row)],
    }


def explain_object(state: ControllerState, kind: str, key: str) -> dict[str, Any]:
    """One Kubernetes object: the units that depend on it and the rows they yield."""
    units = state.engine.dependants(Cell(kind, key))
    return {
        "kind": kind,
        "key": key,
        "exists": state.world.get(kind, key) is not None,
        "units": [
            {"unit": _name(unit), "rows": [f"{t} {key_text(k)}" for t, k in state.engine.desired.rows_of(unit)]}
            for unit in units
        ],
    }


def tables() -> list[str]:
    """Names of the NB tables that can be explained."""
    return sorted(NORTHBOUND)


def _name(unit: UnitKey) -> str:
    return f"{unit.unit} {unit.key}"


def _reads(state: ControllerState, unit: UnitKey) -> list[str]:
    """World values that a unit read, through its queries too."""
    found: dict[str, None] = {}
    for cell in state.engine.causes(unit):
        if cell.space in {"Options", "Schema"} or cell.space.startswith(("keys:", "index:")):
            continue
        if state.world.get(cell.space, cell.key) is not None:
            found[f"{cell.space} {cell.key}"] = None
    return list(found)

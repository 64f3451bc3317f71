"""What in rows of ours is others': entries of maps that nothing here asks for, and that therefore stay.

A load balancer is ours, its VIPs are those of Services, which are not compiled yet; whoever reads a plan must see them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ovnbridge.controller import ControllerState
from ovnbridge.engine.items import Row
from ovnbridge.model.ovn import NORTHBOUND, TableFacts
from ovnbridge.operations.findings import Entries


def foreign_entries(state: ControllerState) -> Iterator[Entries]:
    """Entries of maps in desired rows of NB that exist, which no unit wants and the engine leaves.

    In SB's chassis nearly all entries are ovn-controller's: nothing to tell.
    """
    for table, facts in NORTHBOUND.items():
        for key in sorted(state.replica.keys(table), key=str):
            row, actual = state.engine.desired.row(table, key), state.replica.find(table, key)
            if row is None or actual is None:
                continue
            for column, value in actual.columns.items():
                if isinstance(value, Mapping) and (names := _left(facts, row, column, value)):
                    yield Entries(table, key, column, tuple(sorted(names)))


def _left(facts: TableFacts, row: Row, column: str, value: Mapping[str, Any]) -> list[str]:
    """Those entries of an existing map that the differ leaves though the row does not ask for them."""
    if column in row.members or column in row.initial:
        return []
    wanted = row.columns.get(column)
    if not isinstance(wanted, Mapping):
        return list(value) if column not in row.columns else []
    others = [name for name in value if name not in wanted]
    if own := facts.own_entries.get(column):
        return [name for name in others if name not in own]
    return [name for name in others if column == "external_ids" and facts.kept_ids and name.startswith(facts.kept_ids)]

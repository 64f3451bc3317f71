"""Figures: a value, what the bare servers allow (floor), the target, and the command that measures it again.

`build/bench.json` is one flat object: `NAME` is the value, `NAME.floor`, `NAME.ratio`, `NAME.target`, `NAME.met`,
`NAME.unit` and `NAME.command` say the rest.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

Number: TypeAlias = int | float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value. `most`/`least` are targets; `floor` is the same thing done by bare servers and clients."""

    name: str
    value: Number
    unit: str = ""
    floor: Number = None
    most: Number = None
    least: Number = None

    @property
    def ratio(self) -> Number:
        """Value to floor."""
        if self.value is None or not self.floor:
            return None
        return self.value / self.floor

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None when there is none, or nothing was measured."""
        if self.value is None or (self.most is None and self.least is None):
            return None
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def target(self) -> str:
        """The target as text."""
        if self.most is not None:
            return f"<= {self.most:g}"
        return f">= {self.least:g}" if self.least is not None else ""


class Report:
    """All figures of a run, in order."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.figures: dict[str, Figure] = {}
        self.commands: dict[str, str] = {}

    def add(self, scenario: str, figures: Iterable[Figure]) -> None:
        """Take the figures of a scenario, and print them."""
        fresh = list(figures)
        for figure in fresh:
            self.figures[figure.name] = figure
            self.commands[figure.name] = self.command.format(scenario=scenario)
        print(f"\n== {scenario}: {self.command.format(scenario=scenario)}")
        print(table(fresh), flush=True)

    def missed(self) -> list[Figure]:
        """Figures whose targets are not met."""
        return [figure for figure in self.figures.values() if figure.met is False]

    def flat(self) -> dict[str, str | Number | bool]:
        """The JSON object."""
        found: dict[str, str | Number | bool] = {
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}",
            "python": platform.python_version(),
        }
        for name, figure in self.figures.items():
            more = {
                "floor": figure.floor,
                "ratio": rounded(figure.ratio),
                "target": figure.target or None,
                "met": figure.met,
                "unit": figure.unit or None,
                "command": self.commands[name],
            }
            found[name] = rounded(figure.value)
            found |= {f"{name}.{what}": value for what, value in more.items() if value is not None}
        return found

    def write(self, file: Path) -> None:
        """Save as JSON; figures of earlier runs that were not measured this time stay."""
        file.parent.mkdir(parents=True, exist_ok=True)
        before: dict[str, object] = {}
        if file.exists():
            try:
                before = json.loads(file.read_text())
            except ValueError:
                before = {}
        fresh = self.flat()
        kept = {key: value for key, value in before.items() if key.partition(".")[0] not in self.figures}
        file.write_text(json.dumps({**kept, **fresh}, indent=1) + "\n")


def rounded(value: Number) -> Number:
    """Four significant digits; counts stay exact."""
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.4g}")


def table(figures: Iterable[Figure]) -> str:
    """Figures as lines of text."""
    rows = [("figure", "value", "floor", "ratio", "target", "")]
    for figure in figures:
        value = "none" if figure.value is None else f"{rounded(figure.value):,} {figure.unit}".strip()
        floor = "" if figure.floor is None else f"{rounded(figure.floor):,}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
        rows.append((figure.name, value, floor, ratio, figure.target, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:5], widths[1:5])]
        lines.append("  ".join([*cells, row[5]]).rstrip())
    return "\n".join(lines)

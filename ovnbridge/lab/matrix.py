"""Who reaches whom: the outcome of pings (or TCP connections) from every source to every target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Matrix:
    """The outcome; truth is "it answered"."""

    answers: Mapping[tuple[str, str], bool]

    @property
    def ok(self) -> bool:
        return all(self.answers.values())

    @property
    def failures(self) -> list[tuple[str, str]]:
        """(source, target) of what did not answer."""
        return [pair for pair, answered in self.answers.items() if not answered]

    def table(self) -> str:
        """One row a source, one column a target, numbered as listed below it."""
        sources = list(dict.fromkeys(source for source, _ in self.answers))
        targets = list(dict.fromkeys(target for _, target in self.answers))
        width = max((len(source) for source in sources), default=0)
        column = max(len(str(len(targets))), 1)
        lines = [" " * width + " " + " ".join(str(number).rjust(column) for number in range(1, len(targets) + 1))]
        for source in sources:
            marks = (self.answers.get((source, target)) for target in targets)
            cells = " ".join({True: "+", False: "-", None: "."}[mark].rjust(column) for mark in marks)
            lines.append(f"{source.ljust(width)} {cells}")
        lines += [f"{number}: {target}" for number, target in enumerate(targets, 1)]
        return "\n".join(lines)

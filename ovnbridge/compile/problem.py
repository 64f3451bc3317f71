"""Rows that the database refuses → a warning event on the object whose unit wants them.

The committer isolates a bad row and lands the rest; `roles/controller.py` puts its error into the World, so that the
person who made the object is told on it (and told again only when the error changes).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Event, Item

TABLE: Final = "RowProblem"
"""World table: what the database refuses. Key: `problem_key`."""
REFUSED: Final = "OVNTransactionFailed"
"""Reason of the event, and of the condition."""


def problem_key(kind: str, key: str) -> str:
    """World key of the problem of one object."""
    return f"{kind} {key}"


def _problem(reader: Reader, key: str) -> Iterator[Item]:
    text = reader.get(TABLE, key)
    kind, _, name = key.partition(" ")
    if isinstance(text, str) and reader.get(kind, name) is not None:
        yield Event(kind, name, "Warning", REFUSED, text)


UNITS = (Unit("problem", TABLE, _problem),)

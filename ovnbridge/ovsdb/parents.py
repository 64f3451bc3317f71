"""Which row holds each row of the tables that live through references (`TableFacts.parents`).

Part of `replica.py`. Follows the parents' reference sets incrementally; a row may, against good habit, be held by
several parents, the oldest known of which counts. Sets that are not replicated cannot be followed: their tables name
the parent in a map entry instead (`parent_hint`), which `replica.py` looks up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ovnbridge.model.ovn import TableFacts
from ovnbridge.ovsdb.tables import Changes, RowChange, SetDelta

Parent: TypeAlias = tuple[str, str]
"""(table, uuid)."""


def _references(value: Any) -> Iterable[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


class Parents:
    """child uuid → the row that refers to it."""

    def __init__(self, facts: Mapping[str, TableFacts]) -> None:
        self._followed: dict[str, list[tuple[str, str]]] = {}  # parent table → [(column, child table)]
        for child in facts.values():
            for table, column in child.parents:
                if table in facts and column not in facts[table].write_only:
                    self._followed.setdefault(table, []).append((column, child.name))
        self.children = frozenset(child for columns in self._followed.values() for _, child in columns)
        """Tables whose parents are followed."""
        self._parent: dict[str, Parent] = {}
        self._others: dict[str, list[Parent]] = {}

    def of(self, child: str) -> Parent | None:
        return self._parent.get(child)

    def all_of(self, child: str) -> list[Parent]:
        """Every row known to refer to the child."""
        first = self._parent.get(child)
        return [] if first is None else [first, *self._others.get(child, ())]

    def children_of(self, table: str, row: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """(child table, child uuid) of everything that the row refers to."""
        for column, child in self._followed.get(table, ()):
            for uuid in _references(row.get(column)):
                yield child, uuid

    def apply(self, changes: Changes) -> set[tuple[str, str]]:
        """Follow a batch; returns (child table, uuid) whose parent may have changed."""
        touched: set[tuple[str, str]] = set()
        for table, columns in self._followed.items():
            for uuid, change in changes.get(table, {}).items():
                for column, child in columns:
                    added, removed = _reference_changes(change, column)
                    for reference in added:
                        self._link(reference, (table, uuid))
                        touched.add((child, reference))
                    for reference in removed:
                        self._unlink(reference, (table, uuid))
                        touched.add((child, reference))
        return touched

    def _link(self, child: str, parent: Parent) -> None:
        known = self._parent.setdefault(child, parent)
        if known != parent:
            others = self._others.setdefault(child, [])
            if parent not in others:
                others.append(parent)

    def _unlink(self, child: str, parent: Parent) -> None:
        others = self._others.get(child, [])
        if self._parent.get(child) == parent:
            if others:
                self._parent[child] = others.pop(0)
            else:
                del self._parent[child]
        elif parent in others:
            others.remove(parent)
        if not others:
            self._others.pop(child, None)


def _reference_changes(change: RowChange, column: str) -> tuple[Iterable[str], Iterable[str]]:
    """(added, removed) references of one column."""
    old, new = change.old, change.new
    if old is None:
        return _references(new.get(column) if new is not None else None), ()
    if new is None:
        return (), _references(old.get(column))
    if column not in old:
        return (), ()
    before = old[column]
    if isinstance(before, SetDelta):
        return before.added, before.removed
    was, now = set(_references(before)), set(_references(new.get(column)))
    return now - was, was - now

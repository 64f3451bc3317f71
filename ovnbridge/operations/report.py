"""Plans and explanations as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ovnbridge.compile.options import ours
from ovnbridge.controller import ControllerState
from ovnbridge.engine.desired import RowKey
from ovnbridge.engine.diff import ActualRow, Change, Delete, Insert, Mutate, Update
from ovnbridge.model.ovn import NORTHBOUND, Key, Ref
from ovnbridge.operations.dry_run import DryRun


def key_text(key: Key) -> str:
    """A natural key in one line."""
    return key if isinstance(key, str) else " | ".join(str(part) for part in key)


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


class PlanReport:
    """A dry run, grouped by the unit that wants each change."""

    def __init__(self, state: ControllerState, run: DryRun, problems: Iterable[str]) -> None:
        self._state = state
        self._run = run
        self._problems = list(problems)
        self.operations = [self._row_operation(row, change) for row, change in run.changes]
        self.operations += [
            {
                "owner": ", ".join(f"{u.unit} {u.key}" for u in state.engine.desired.units_of_object(kind, key))
                or "allocator",
                "target": "kubernetes",
                "operation": write.verb,
                "kind": kind,
                "key": key,
                "subresource": write.subresource,
                "body": plain(write.body),
            }
            for (kind, key), write in run.writes
        ]
        self.summary = self._summary()

    @property
    def empty(self) -> bool:
        """Whether nothing would be written."""
        return not self.operations

    def document(self) -> dict[str, Any]:
        """The plan as one JSON object."""
        return {"operations": self.operations, "summary": self.summary}

    def text(self) -> str:
        """The plan for people."""
        lines: list[str] = []
        by_owner: dict[str, list[dict[str, Any]]] = {}
        for operation in self.operations:
            by_owner.setdefault(operation["owner"], []).append(operation)
        for owner in sorted(by_owner):
            lines.append(f"{owner}:")
            lines += [f"  {_line(operation)}" for operation in by_owner[owner]]
        counts = self.summary["northbound"]
        lines.append(
            f"OVN NB: {counts['add']} to add, {counts['change']} to change, {counts['remove']} to remove, "
            f"{counts['adopt']} as they should be, {sum(counts['foreign'].values())} foreign"
        )
        for table, count in sorted(counts["foreign"].items()):
            lines.append(f"  foreign, untouched: {count} {table}")
        lines.append(f"Kubernetes: {self.summary['kubernetes']} writes")
        lines += [f"cannot be read: {problem}" for problem in self._problems]
        return "\n".join(lines)

    def _row_operation(self, row: RowKey, change: Change) -> dict[str, Any]:
        owner = self._state.engine.desired.row_owner(*row)
        if owner is None:
            units = self._state.engine.desired.units_of_row(*row)
            owner = units[0] if units else None
        operation: dict[str, Any] = {
            "owner": f"{owner.unit} {owner.key}" if owner is not None else "nobody",
            "target": "northbound",
            "operation": type(change).__name__.lower(),
            "table": change.table,
            "key": plain(change.key),
        }
        if isinstance(change, Insert):
            operation["columns"] = plain(change.columns)
        elif isinstance(change, Update):
            operation["columns"] = plain(change.columns)
            operation["before"] = plain(change.before)
        elif isinstance(change, Mutate):
            operation |= {"column": change.column, "add": plain(change.add), "remove": plain(change.remove)}
        return operation

    def _summary(self) -> dict[str, Any]:
        touched: dict[str, set[RowKey]] = {"add": set(), "change": set(), "remove": set()}
        for row, change in self._run.changes:
            kind = "add" if isinstance(change, Insert) else "remove" if isinstance(change, Delete) else "change"
            touched[kind].add(row)
        adopted, foreign = 0, Counter[str]()
        desired = self._state.engine.desired
        for table in NORTHBOUND:
            for key in self._state.replica.keys(table):
                if (table, key) in touched["change"] or (table, key) in touched["remove"]:
                    continue
                actual = self._state.replica.find(table, key)
                if desired.row(table, key) is not None:
                    adopted += 1
                elif actual is not None and not self._global(table, actual):
                    foreign[table] += 1
        return {
            "northbound": {
                "adopt": adopted,
                **{kind: len(rows) for kind, rows in touched.items()},
                "foreign": dict(foreign),
                "foreign_ours": self._marked_foreign(),
            },
            "kubernetes": len(self._run.writes),
            "problems": self._problems,
        }

    def _marked_foreign(self) -> list[str]:
        """Foreign rows with the vendor mark: features that are not built, or leftovers."""
        desired, found = self._state.engine.desired, []
        for table in NORTHBOUND:
            for key in self._state.replica.keys(table):
                actual = self._state.replica.find(table, key)
                if actual is None or desired.row(table, key) is not None:
                    continue
                if ours(actual) and not self._state.owns(table, actual):
                    found.append(f"{table} {key_text(key)}")
        return sorted(found)

    @staticmethod
    def _global(table: str, _: ActualRow) -> bool:
        return table == "NB_Global"


def _line(operation: dict[str, Any]) -> str:
    if operation["target"] == "kubernetes":
        where = f"{operation['kind']} {operation['key']}"
        suffix = f"/{operation['subresource']}" if operation["subresource"] else ""
        return f"kubernetes {operation['operation']} {where}{suffix}"
    key = operation["key"] if isinstance(operation["key"], str) else " | ".join(map(str, operation["key"]))
    head = f"{operation['operation']} {operation['table']} {key}"
    if operation["operation"] == "update":
        parts = [f"{c}: {operation['before'].get(c)!r} → {v!r}" for c, v in operation["columns"].items()]
        return f"{head}: {'; '.join(parts)}"
    if operation["operation"] == "mutate":
        return f"{head} {operation['column']}: +{operation['add']!r} -{operation['remove']!r}"
    return head

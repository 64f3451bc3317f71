"""Plans and explanations as text and as JSON."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Set
from typing import Any, Final

import msgspec

from ovnbridge.compile.options import ours
from ovnbridge.controller import ControllerState
from ovnbridge.engine.desired import RowKey
from ovnbridge.engine.diff import Change, Delete, Insert, Mutate, Update
from ovnbridge.model.ovn import NORTHBOUND, Key, Ref
from ovnbridge.operations.dry_run import DryRun
from ovnbridge.operations.inputs import Notes


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


def as_json(value: Any) -> bytes:
    """What `--output json` prints. Counts of IPv6 subnets do not fit 64 bits."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


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


NOBODY: Final = "nobody"
"""The owner of rows that nothing asks for any more."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KINDS: Final = ("adopt", "add", "change", "remove")


class PlanReport:
    """A dry run, grouped by the unit that wants each change; of what exists: adopt, change, remove, foreign."""

    def __init__(self, state: ControllerState, run: DryRun, notes: Notes) -> None:
        self._state = state
        self._notes = notes
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
        self._fates: dict[str, Counter[str]] = {}
        self._foreign: list[dict[str, Any]] = []
        self._classify(run)
        self.summary = self._summary(len(run.writes))

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
            fates = self._fates.get(owner, Counter())
            said = ", ".join(f"{fates[kind]} to {kind}" for kind in _KINDS if fates[kind])
            lines.append(f"{owner}: {said}" if said else f"{owner}:")
            lines += [f"  {_line(operation)}" for operation in by_owner[owner]]
        quiet = [owner for owner in self._fates if owner not in by_owner]
        if quiet:
            rows = sum(self._fates[owner]["adopt"] for owner in quiet)
            lines.append(f"{len(quiet)} owners whose {rows} rows are adopted as they are")
        if self._foreign or self._notes.unread:
            lines.append("foreign, never touched:")
            lines += [f"  {row['table']} {_key_line(row['key'])}{_marks(row)}" for row in self._foreign]
            lines += [f"  {count} rows of {table}" for table, count in sorted(self._notes.unread.items())]
        counts = self.summary["northbound"]
        lines.append(
            f"OVN NB: {counts['add']} to add, {counts['change']} to change, {counts['remove']} to remove, "
            f"{counts['adopt']} to adopt as they are, {sum(counts['foreign'].values())} foreign"
        )
        lines.append(f"Kubernetes: {self.summary['kubernetes']} writes")
        lines += [f"cannot be read: {problem}" for problem in self._notes.problems]
        return "\n".join(lines)

    def _owner(self, row: RowKey) -> str:
        desired = self._state.engine.desired
        owner = desired.row_owner(*row)
        if owner is None:
            units = desired.units_of_row(*row)
            owner = units[0] if units else None
        return f"{owner.unit} {owner.key}" if owner is not None else NOBODY

    def _row_operation(self, row: RowKey, change: Change) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "owner": self._owner(row),
            "target": "northbound",
            "operation": type(change).__name__.lower(),
            "table": change.table,
            "key": plain(change.key),
        }
        if isinstance(change, Insert):
            operation["columns"] = plain(change.columns)
        elif isinstance(change, Update):
            operation["columns"] = plain(change.columns)
            operation["before"] = plain(named(self._state, change.before))
        elif isinstance(change, Mutate):
            operation |= {"column": change.column, "add": plain(change.add)}
            operation["remove"] = plain(named(self._state, change.remove))
        return operation

    def _classify(self, run: DryRun) -> None:
        """What becomes of each row, counted by owner; a row that is replaced counts once, as changed."""
        touched: dict[RowKey, str] = {}
        for row, change in run.changes:
            fate = "add" if isinstance(change, Insert) else "remove" if isinstance(change, Delete) else "change"
            touched[row] = "change" if touched.get(row, fate) != fate else fate
        for row, fate in touched.items():
            self._fates.setdefault(self._owner(row), Counter())[fate] += 1
        desired, replica = self._state.engine.desired, self._state.replica
        for table in NORTHBOUND:
            for key in sorted(replica.keys(table), key=str):
                actual = replica.find(table, key)
                if (table, key) in touched or actual is None:
                    continue
                if desired.row(table, key) is not None or table == "NB_Global":
                    if table != "NB_Global":
                        self._fates.setdefault(self._owner((table, key)), Counter())["adopt"] += 1
                    continue
                ids = plain(actual.columns.get("external_ids") or {})
                held = ours(actual) and self._state.owns(table, actual) is False
                self._foreign.append({"table": table, "key": plain(key), "external_ids": ids, "marked": held})

    def _summary(self, writes: int) -> dict[str, Any]:
        totals = sum(self._fates.values(), Counter[str]())
        foreign = Counter(row["table"] for row in self._foreign) + Counter(self._notes.unread)
        return {
            "northbound": {
                **{kind: totals[kind] for kind in _KINDS},
                "foreign": dict(foreign),
                # With Kube-OVN's mark: rows of features that are not built, or leftovers that are held.
                "foreign_ours": [f"{r['table']} {_key_line(r['key'])}" for r in self._foreign if r["marked"]],
            },
            "owners": {owner: {kind: fates[kind] for kind in _KINDS} for owner, fates in sorted(self._fates.items())},
            "foreign_rows": [{name: row[name] for name in ("table", "key", "external_ids")} for row in self._foreign],
            "kubernetes": writes,
            "problems": self._notes.problems,
            "warnings": self._notes.warnings,
        }


def _key_line(key: Any) -> str:
    return key if isinstance(key, str) else " | ".join(map(str, key))


def _marks(row: Mapping[str, Any]) -> str:
    """What a foreign row says about its owner."""
    ids = {name: value for name, value in row["external_ids"].items() if name != "vendor"}
    return f" ({', '.join(f'{name}={value}' for name, value in ids.items())})" if ids else ""


def _line(operation: dict[str, Any]) -> str:
    if operation["target"] == "kubernetes":
        where = f"{operation['kind']} {operation['key']}"
        suffix = f"/{operation['subresource']}" if operation["subresource"] else ""
        return f"kubernetes {operation['operation']} {where}{suffix}"
    head = f"{operation['operation']} {operation['table']} {_key_line(operation['key'])}"
    if operation["operation"] == "update":
        parts = [f"{c}: {operation['before'].get(c)!r} → {v!r}" for c, v in operation["columns"].items()]
        return f"{head}: {'; '.join(parts)}"
    if operation["operation"] == "mutate":
        return f"{head} {operation['column']}: +{operation['add']!r} -{operation['remove']!r}"
    return head

"""A plan as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from ovnbridge.compile.chassis import CHASSIS
from ovnbridge.compile.options import ours
from ovnbridge.controller import ControllerState
from ovnbridge.engine.desired import RowKey
from ovnbridge.engine.diff import Change, Delete, Insert, Mutate, Update
from ovnbridge.kube.plan import Write
from ovnbridge.model.ovn import NORTHBOUND, SOUTHBOUND
from ovnbridge.operations.dry_run import DryRun
from ovnbridge.operations.foreign import foreign_entries
from ovnbridge.operations.inputs import Notes
from ovnbridge.operations.words import change_text, key_text, named, not_examined, plain, unit_text, write_text

NOBODY: Final = "nobody"
"""The owner of rows that nothing asks for any more."""
_KINDS: Final = ("adopt", "add", "change", "remove")


class PlanReport:
    """A dry run, grouped by the unit that wants each change; of what exists: adopt, change, remove, foreign."""

    def __init__(self, state: ControllerState, run: DryRun, notes: Notes) -> None:
        self._state = state
        self._notes = notes
        self.operations = [self._row_operation(row, change) for row, change in run.changes]
        self.operations += [self._write_operation(kind, key, write) for (kind, key), write in run.writes]
        lines = [_row_line(state, change) for _, change in run.changes]
        lines += [_write_line(state, kind, key, write) for (kind, key), write in run.writes]
        self._lines: dict[str, list[str]] = {}
        for operation, line in zip(self.operations, lines, strict=True):
            self._lines.setdefault(operation["owner"], []).append(line)
        self._entries = list(foreign_entries(state))
        self._fates: dict[str, Counter[str]] = {}
        self._totals: dict[str, Counter[str]] = {"northbound": Counter(), "southbound": Counter()}
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
        for owner in sorted(self._lines):
            fates = self._fates.get(owner, Counter())
            said = ", ".join(f"{fates[kind]} to {kind}" for kind in _KINDS if fates[kind])
            lines.append(f"{owner}: {said}" if said else f"{owner}:")
            lines += [f"  {line}" for line in self._lines[owner]]
        quiet = [owner for owner in self._fates if owner not in self._lines]
        if quiet:
            rows = sum(self._fates[owner]["adopt"] for owner in quiet)
            lines.append(f"{_counted(rows, 'row')} of {_counted(len(quiet), 'owner')} adopted as they are")
        if self._foreign or self._notes.unread or self._entries:
            lines.append("foreign, never touched:")
            lines += [f"  {row['table']} {_key_line(row['key'])}{_said(row['says'])}" for row in self._foreign]
            lines += [f"  {_counted(count, 'row')} of {table}" for table, count in sorted(self._notes.unread.items())]
            lines += [f"  {e.table} {key_text(e.key)}, {e.column}: {', '.join(e.names)}" for e in self._entries]
        counts = self.summary["northbound"]
        entries = sum(len(e.names) for e in self._entries)
        foreign = f"{sum(counts['foreign'].values())} foreign" + (
            f", {_counted(entries, 'foreign entry', 'foreign entries')} in rows that are adopted" if entries else ""
        )
        lines.append(
            f"OVN NB: {counts['add']} to add, {counts['change']} to change, {counts['remove']} to remove, "
            f"{counts['adopt']} to adopt as they are, {foreign}"
        )
        if (south := self.summary["southbound"]) is not None:
            lines.append(
                f"OVN SB: {south['change']} to change, {south['remove']} to remove, "
                f"{south['adopt']} to adopt as they are, {sum(south['foreign'].values())} foreign"
            )
        else:
            lines.append(not_examined(self._notes.unseen))
        lines.append(f"Kubernetes: {_counted(self.summary['kubernetes'], 'write')}")
        lines += [f"cannot be read: {problem}" for problem in self._notes.problems]
        return "\n".join(lines)

    def _owner(self, row: RowKey) -> str:
        desired = self._state.engine.desired
        owner = desired.row_owner(*row)
        if owner is None:
            units = desired.units_of_row(*row)
            owner = units[0] if units else None
        return unit_text(owner) if owner is not None else NOBODY

    def _row_operation(self, row: RowKey, change: Change) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "owner": self._owner(row),
            "target": _target(change.table),
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

    def _write_operation(self, kind: str, key: str, write: Write) -> dict[str, Any]:
        units = self._state.engine.desired.units_of_object(kind, key)
        return {
            "owner": ", ".join(map(unit_text, units)) or "allocator",
            "target": "kubernetes",
            "operation": write.verb,
            "kind": kind,
            "key": key,
            "subresource": write.subresource,
            "body": plain(write.body),
        }

    def _classify(self, run: DryRun) -> None:
        """What becomes of each row, counted by owner; a row that is replaced counts once, as changed."""
        touched: dict[RowKey, str] = {}
        for row, change in run.changes:
            fate = "add" if isinstance(change, Insert) else "remove" if isinstance(change, Delete) else "change"
            touched[row] = "change" if touched.get(row, fate) != fate else fate
        for row, fate in touched.items():
            self._count(row, fate)
        desired = self._state.engine.desired
        # Others' chassis are worth a word; what else there is in SB is northd's and ovn-controllers'.
        for table in (*NORTHBOUND, *([CHASSIS] if self._state.southbound is not None else [])):
            replica = self._state.replica_of(table)
            for key in sorted(replica.keys(table), key=str):
                actual = replica.find(table, key)
                if (table, key) in touched or actual is None:
                    continue
                if desired.row(table, key) is not None or table == "NB_Global":
                    if table != "NB_Global":
                        self._count((table, key), "adopt")
                    continue
                ids = plain(actual.columns.get("external_ids") or {})
                held = ours(actual) and self._state.owns(table, actual) is False
                says = {"hostname": actual.columns.get("hostname")} if table == CHASSIS else ids
                found = {"table": table, "key": plain(key), "external_ids": ids, "marked": held, "says": says}
                self._foreign.append(found)

    def _count(self, row: RowKey, fate: str) -> None:
        self._fates.setdefault(self._owner(row), Counter())[fate] += 1
        self._totals[_target(row[0])][fate] += 1

    def _summary(self, writes: int) -> dict[str, Any]:
        north, south = self._totals["northbound"], self._totals["southbound"]
        foreign = [row for row in self._foreign if row["table"] in NORTHBOUND]
        return {
            "northbound": {
                **{kind: north[kind] for kind in _KINDS},
                "foreign": dict(Counter(row["table"] for row in foreign) + Counter(self._notes.unread)),
                # With Kube-OVN's mark: rows of features that are not built, or leftovers that are held.
                "foreign_ours": [f"{r['table']} {_key_line(r['key'])}" for r in foreign if r["marked"]],
            },
            "southbound": {
                **{kind: south[kind] for kind in _KINDS if kind != "add"},  # chassis are made by those they stand for
                "foreign": dict(Counter(row["table"] for row in self._foreign if row["table"] in SOUTHBOUND)),
            }
            if self._state.southbound is not None
            else None,
            "owners": {owner: {kind: fates[kind] for kind in _KINDS} for owner, fates in sorted(self._fates.items())},
            "foreign_entries": [
                {"table": e.table, "key": plain(e.key), "column": e.column, "entries": list(e.names)}
                for e in self._entries
            ],
            "foreign_rows": [{name: row[name] for name in ("table", "key", "external_ids")} for row in self._foreign],
            "kubernetes": writes,
            "problems": self._notes.problems,
            "warnings": self._notes.warnings,
            "not_examined": {"southbound": self._notes.unseen} if self._notes.unseen else {},
        }


def _key_line(key: Any) -> str:
    return key if isinstance(key, str) else " | ".join(map(str, key))


def _target(table: str) -> str:
    return "southbound" if table in SOUTHBOUND else "northbound"


def _said(says: Mapping[str, Any]) -> str:
    """What a foreign row says about its owner."""
    told = ", ".join(f"{name}={value}" for name, value in says.items() if name != "vendor")
    return f" ({told})" if told else ""


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _row_line(state: ControllerState, change: Change) -> str:
    detail = change_text(state, change)
    head = f"{type(change).__name__.lower()} {change.table} {key_text(change.key)}"
    return f"{head}: {detail}" if detail else head


def _write_line(state: ControllerState, kind: str, key: str, write: Write) -> str:
    detail = write_text(state, kind, key, write)
    head = f"kubernetes {write.verb} {kind} {key}{f'/{write.subresource}' if write.subresource else ''}"
    return f"{head}: {detail}" if detail else head

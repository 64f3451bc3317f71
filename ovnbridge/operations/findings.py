"""What the doctor looks at, and what it reports: plain values, so that every check is a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Literal

import msgspec

from ovnbridge.compile.options import Options
from ovnbridge.ipam import SubnetUsage
from ovnbridge.model.ovn import Key

Severity = Literal["error", "warning", "note"]


class Finding(msgspec.Struct, frozen=True):
    """One inconsistency. `check` is its stable name; `objects` are what is involved, as `Kind key` or `Table key`;
    `action` says what the engine will do about it, or what a person is to do. `about` is the one of `objects` that the
    engine will write, "" when it writes none. A note is nothing to act upon and leaves the exit status alone."""

    check: str
    severity: Severity
    objects: tuple[str, ...]
    message: str
    action: str
    about: str = ""

    def text(self) -> str:
        """One line for people."""
        return f"{self.severity}: {self.check}: {', '.join(self.objects)}: {self.message} ({self.action})"


class Planned(msgspec.Struct, frozen=True):
    """One thing that the engine would write. `where` is a table or a kind; `verb` insert, update, mutate, delete
    for rows, create, patch, delete for objects; `detail` says in words what differs."""

    verb: str
    where: str
    key: str
    detail: str = ""


class Binding(msgspec.Struct, frozen=True):
    """A Port_Binding of OVN SB: `chassis` is the name of a Chassis, "" when unbound."""

    chassis: str = ""
    up: bool = False


class Southbound(msgspec.Struct, frozen=True):
    """What the doctor reads of OVN SB: host names by chassis name, bindings by logical port."""

    chassis: Mapping[str, str] = {}
    bindings: Mapping[str, Binding] = {}


class DatabaseState(msgspec.Struct, frozen=True):
    """One database server as its `_Server` database describes it (ovsdb-server(5))."""

    name: str
    remote: str
    reached: bool
    clustered: bool = False
    connected: bool = True
    leader: bool = True
    reason: str = ""
    """Why it cannot be reached."""


class Entries(msgspec.Struct, frozen=True):
    """Entries of a map in a row of ours that nobody here asks for, and which stay."""

    table: str
    key: Key
    column: str
    names: tuple[str, ...]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the cluster-wide checks look at. `objects`: kind → World key → value, as they are now. `rows`: NB
    table → natural key → columns. `wanted`: rows that somebody desires. `planned`: what the engine would write.
    `warnings`: (kind, World key) → what the engine has against the object, as `Reason: message`. `unread`: NB tables
    that the controller never looks at, with their rows."""

    options: Options = Options()
    objects: Mapping[str, Mapping[str, Any]] = {}
    rows: Mapping[str, Mapping[Key, Mapping[str, Any]]] = {}
    wanted: frozenset[tuple[str, Key]] = frozenset()
    planned: tuple[Planned, ...] = ()
    usage: Mapping[str, SubnetUsage] = {}
    southbound: Southbound | None = None
    databases: tuple[DatabaseState, ...] = ()
    warnings: Mapping[tuple[str, str], tuple[str, ...]] = {}
    unread: Mapping[str, int] = {}
    entries: tuple[Entries, ...] = ()

    def all(self, kind: str) -> Mapping[str, Any]:
        """Objects of one kind by key."""
        return self.objects.get(kind, {})

    def ports(self) -> Mapping[Key, Mapping[str, Any]]:
        """Logical switch ports."""
        return self.rows.get("Logical_Switch_Port", {})

    def remedied(
        self, check: str, severity: Severity, objects: tuple[str, ...], message: str, about: tuple[str, str]
    ) -> Finding:
        """A finding with what the engine will do about one row or object (where, key)."""
        verbs = {planned.verb for planned in self.planned if (planned.where, planned.key) == about}
        action = f"{WILL} {_doing(verbs)} it" if verbs else NOTHING
        return Finding(check, severity, objects, message, action, " ".join(about) if verbs else "")


WILL = "the engine will"
NOTHING = "the engine leaves it"
ENDS = "it ends when the cause does"


def _doing(verbs: Set[str]) -> str:
    if "delete" in verbs:
        return "make anew" if verbs & {"insert", "create"} else "delete"
    return "add" if "insert" in verbs else "create" if "create" in verbs else "change"

"""What the doctor looks at, and what it reports: plain values, so that every check is a pure function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ovnbridge.compile.options import Options
from ovnbridge.ipam import SubnetUsage
from ovnbridge.model.ovn import Key

Severity = Literal["error", "warning", "note"]


class Finding(msgspec.Struct, frozen=True):
    """One inconsistency. `check` is its stable name; `objects` are what is involved, as `Kind key` or `Table key`;
    `action` says what the engine will do about it. A note is nothing to act upon and leaves the exit status alone."""

    check: str
    severity: Severity
    objects: tuple[str, ...]
    message: str
    action: str

    def text(self) -> str:
        """One line for people."""
        return f"{self.severity}: {self.check}: {', '.join(self.objects)}: {self.message} ({self.action})"


class Planned(msgspec.Struct, frozen=True):
    """One thing that the engine would write. `where` is an NB table or a kind; `verb` insert, update, mutate, delete
    for rows, create, patch, delete for objects."""

    verb: str
    where: str
    key: str


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


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the cluster-wide checks look at. `objects`: kind → World key → value, as they are now. `rows`: NB
    table → natural key → columns. `wanted`: rows that somebody desires. `planned`: what the engine would write."""

    options: Options = Options()
    objects: Mapping[str, Mapping[str, Any]] = {}
    rows: Mapping[str, Mapping[Key, Mapping[str, Any]]] = {}
    wanted: frozenset[tuple[str, Key]] = frozenset()
    planned: tuple[Planned, ...] = ()
    usage: Mapping[str, SubnetUsage] = {}
    southbound: Southbound | None = None
    databases: tuple[DatabaseState, ...] = ()

    def all(self, kind: str) -> Mapping[str, Any]:
        """Objects of one kind by key."""
        return self.objects.get(kind, {})

    def ports(self) -> Mapping[Key, Mapping[str, Any]]:
        """Logical switch ports."""
        return self.rows.get("Logical_Switch_Port", {})

    def remedy(self, where: str, key: str) -> str:
        """What the engine will do about one row or object."""
        verbs = [p.verb for p in self.planned if (p.where, p.key) == (where, key)]
        return f"{WILL} {', '.join(_WORDS.get(v, v) for v in verbs)} it" if verbs else NOTHING


WILL = "the engine will"
NOTHING = "the engine leaves it"
_WORDS = {"insert": "add", "mutate": "change", "update": "change", "patch": "change"}

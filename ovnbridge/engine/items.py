"""Desired items: everything that a compile unit can ask for.

Yielded by the units in `compile/`, kept by `engine/desired.py` together with the unit that yielded them (that is
`explain`), compared with the outside by `engine/diff.py` (rows) and `kube/` (object items), allocated by `ipam/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, get_args

import msgspec
from msgspec.structs import force_setattr

from ovnbridge.model.ovn import Atom, Columns, Key, Ref


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row that must exist with these column values; columns not named are left alone.

    `parent` is the row whose reference set holds it, for tables that have parents. `members` names the set or map
    columns of this row that `Member` items own completely: a value in them that nobody desires is removed. `exact`
    names adopted columns (or `map:subkey` entries) whose existing value does not stand this time; `initial` names
    columns whose existing value stands, whatever it is.
    """

    table: str
    key: Key
    columns: Columns
    parent: Ref | None = None
    members: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    initial: tuple[str, ...] = ()


STANDS: Final = "\0"
"""`Member.entry` of a value of a set column that stands where it is, and is not added where it is not."""


class Member(msgspec.Struct, frozen=True, gc=False):
    """A value that must be in a set column (or, with `entry`, a key/value of a map column) filled by many units.

    The row itself is yielded by one unit; members without a row wait for it.
    """

    table: str
    key: Key
    column: str
    value: Atom
    entry: str | None = None


class Annotations(msgspec.Struct, frozen=True, gc=False):
    """Annotations that an existing Kubernetes object must carry; None removes one."""

    kind: str
    key: str
    values: Mapping[str, str | None]


class Labels(msgspec.Struct, frozen=True, gc=False):
    """Labels that an existing Kubernetes object must carry; None removes one."""

    kind: str
    key: str
    values: Mapping[str, str | None]


class Finalizer(msgspec.Struct, frozen=True, gc=False):
    """A finalizer that must be on the object (`present`) or must go (`not present`)."""

    kind: str
    key: str
    name: str
    present: bool = True


class Spec(msgspec.Struct, frozen=True, gc=False):
    """Normalised `spec` fields (camelCase, as on the wire) of an existing object; written back as a merge patch."""

    kind: str
    key: str
    fields: Mapping[str, Any]


class Status(msgspec.Struct, frozen=True, gc=False):
    """The whole `status` of an object, as the kind's status struct.

    `after_commit`: written only when everything that the unit wants in OVN is committed, so that a condition never says
    Ready before it is true (DESIGN, point 7). Condition times are filled in by the writer.
    """

    kind: str
    key: str
    value: msgspec.Struct
    after_commit: bool = True


class Object(msgspec.Struct, frozen=True, gc=False):
    """An object that must exist; created when absent, never overwritten afterwards."""

    kind: str
    key: str
    body: Mapping[str, Any]


LONGEST_MESSAGE: Final = 1024
"""Characters of an Event's message that the API server takes; conditions of ours keep to it as well."""


def presentable(message: str) -> str:
    """A message on one line, of bounded length: whoever writes a megabyte into a field is told the beginning of it, and
    control characters do not get to the terminals of those who read it."""
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[: LONGEST_MESSAGE - 1]}…"
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)[:LONGEST_MESSAGE]


class Event(msgspec.Struct, frozen=True, gc=False):
    """A Kubernetes event about an object; posted when the item newly appears."""

    kind: str
    key: str
    type: str
    reason: str
    message: str

    def __post_init__(self) -> None:
        """Keep what can be posted and read."""
        if len(self.message) > LONGEST_MESSAGE or not self.message.isprintable():
            force_setattr(self, "message", presentable(self.message))


class Hold(msgspec.Struct, frozen=True, gc=False):
    """Rows of this scope that nobody desires stay, while the object that says what they should be cannot be compiled.

    A bad edit must not tear down what runs. What a scope is, and which rows are in it, `compile/ownership.py` says.
    """

    scope: str


class Pool(msgspec.Struct, frozen=True, gc=False):
    """A subnet's address range for the ledger; `facts` is an `ipam.SubnetFacts`."""

    name: str
    facts: msgspec.Struct


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A need for addresses: `owner` is the lease's name (the IP object's name), `request` an `ipam` request."""

    owner: str
    request: msgspec.Struct


ObjectItem: TypeAlias = Annotations | Labels | Finalizer | Spec | Status | Object | Event
OBJECT_ITEMS: Final = get_args(ObjectItem)
Item: TypeAlias = Row | Member | ObjectItem | Claim | Hold | Pool

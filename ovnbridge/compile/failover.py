"""Which gateway chassis of an external port comes first: one that has lost the external gateway goes last (spec E.10).

OVN moves a port when it cannot reach its chassis, but not when that chassis cannot reach the gateway any more: this is
what the BFD session is for. What has happened is kept with the session in NB, so that a restart changes nothing: where
it was last up, and who has lost it since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

SESSIONS: Final = "ExternalSession"
"""World table: BFD sessions in NB as `Session`. Key: `session_key`."""
_UP_ON: Final = "up-on"
_LOST_ON: Final = "lost-on"
MARKS: Final = frozenset({_UP_ON, _LOST_ON})
"""external_ids of a session that say what has happened to it."""


class Session(msgspec.Struct, frozen=True):
    """A BFD session: its status in OVN's words, the chassis on which it was last up, and those on which it was lost
    since then, the last one at the end."""

    status: str = ""
    up_on: str = ""
    lost_on: tuple[str, ...] = ()


def session_key(port: str, address: str) -> str:
    """Key in SESSIONS of the session of a router port with an address."""
    return f"{port} {address}"


def session(row: Mapping[str, Any]) -> Session:
    """What a row's columns say."""
    ids = row.get("external_ids") or {}
    lost = tuple(filter(None, ids.get(_LOST_ON, "").split(",")))
    return Session(row.get("status") or "", ids.get(_UP_ON, ""), lost)


def after(chassis: Sequence[str], found: Session) -> Session:
    """What is to be remembered of a session of a port that these chassis may host, in their usual order."""
    lost = [one for one in found.lost_on if one in chassis]
    first = next(iter(ranked(chassis, lost)), "")
    others = [one for one in lost if one != first]
    if found.status == "up":
        return Session("up", first, tuple(others))
    if found.status == "down" and found.up_on == first:
        return Session("down", found.up_on, (*others, first))
    return Session(found.status, found.up_on, tuple(lost))


def ranked(chassis: Iterable[str], lost: Sequence[str]) -> list[str]:
    """Chassis by priority: those that have lost the gateway last, the longest ago first."""
    return [*(one for one in chassis if one not in lost), *lost]


def marks(found: Session) -> dict[str, str]:
    """external_ids that say what is to be remembered."""
    given = {_UP_ON: found.up_on, _LOST_ON: ",".join(found.lost_on)}
    return {key: value for key, value in given.items() if value}

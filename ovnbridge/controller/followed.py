"""Rows of which compile units know something: what exists is told to the World, as facts about the cluster are.

A unit does not read the database. Where a rule of the spec speaks of what is there (a session that a route may name,
a UUID that a status shows, a MAC address that stands), one line of `FOLLOWED` says which fact of a row it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ovnbridge.compile.chassis import CHASSIS, registered
from ovnbridge.compile.failover import SESSIONS, session, session_key
from ovnbridge.compile.options import ROUTER_MAC
from ovnbridge.compile.subnet_status import DHCP_ROWS, dhcp_key
from ovnbridge.compile.vpc_routes import BFD_SESSIONS
from ovnbridge.engine.world import World
from ovnbridge.model.ovn import Key
from ovnbridge.ovsdb.tables import Changes


class Followed(NamedTuple):
    """Rows of the table `table` (of NB or SB) are told under the World table `kind`; `fact` gives key and value for a
    row's UUID, natural key and columns."""

    table: str
    kind: str
    fact: Callable[[str, Key, Mapping[str, Any]], tuple[str, Any]]


FOLLOWED: Final = (
    Followed("BFD", BFD_SESSIONS, lambda uuid, key, row: (uuid, True)),
    Followed("BFD", SESSIONS, lambda uuid, key, row: (session_key(*map(str, key)), session(row))),
    # Subnets' statuses name the UUIDs of their DHCP options (spec D.2).
    Followed("DHCP_Options", DHCP_ROWS, lambda uuid, key, row: (dhcp_key(key), uuid)),
    # Load balancers' addresses answer with the MAC of their router's port, which may be older than we are (spec D.13).
    Followed("Logical_Router_Port", ROUTER_MAC, lambda uuid, key, row: (str(key), row.get("mac"))),
    # What is left over of nodes depends on what else has registered (spec D.4).
    Followed("Chassis", CHASSIS, lambda uuid, key, row: (str(key), registered(row))),
)


class RowFacts:
    """Keeps the World's facts about rows as the database changes."""

    def __init__(self, world: World, key_of: Callable[[str, str], Key | None]) -> None:
        self._world = world
        self._key_of = key_of
        self._told: dict[tuple[str, str], tuple[str, Any]] = {}
        """Kind of the fact and UUID of a row → what the World was told of it."""

    def follow(self, changes: Changes) -> bool:
        """Take changes in, after the replica has; whether the World has changed."""
        changed = False
        for table, kind, fact in FOLLOWED:
            facts: dict[str, Any] = {}
            for uuid, change in changes.get(table, {}).items():
                before = self._told.pop((kind, uuid), None)
                # A row that took another's place under its key may have come first: its fact stays.
                if before is not None and self._world.get(kind, before[0]) == before[1]:
                    facts.setdefault(before[0], None)
                key = self._key_of(table, uuid) if change.new is not None else None
                if key is not None and change.new is not None:
                    name, value = self._told[kind, uuid] = fact(uuid, key, change.new)
                    facts[name] = value
            for name, value in facts.items():
                changed |= self._world.put(kind, name, value)
        return changed

"""What the World is told of rows that exist: BFD sessions, DHCP rows, router ports' MACs."""

from __future__ import annotations

from typing import Any

from ovnbridge.compile import INDEXES
from ovnbridge.compile.failover import SESSIONS, Session
from ovnbridge.compile.options import ROUTER_MAC
from ovnbridge.compile.subnet_status import DHCP_ROWS, dhcp_key
from ovnbridge.compile.vpc_routes import BFD_SESSIONS
from ovnbridge.controller.followed import RowFacts
from ovnbridge.engine.world import World
from ovnbridge.ovsdb.tables import RowChange

GONE = RowChange(old={}, new=None)


def row(**columns: Any) -> RowChange:
    return RowChange(old=None, new=columns)


def test_facts_come_change_and_go() -> None:
    world, keys = World(INDEXES), {("BFD", "b"): ("p", "1.1.1.1"), ("Logical_Router_Port", "u"): "port"}
    facts = RowFacts(world, lambda table, uuid: keys.get((table, uuid)))
    assert facts.follow({"BFD": {"b": row(status="down")}, "Logical_Router_Port": {"u": row(mac="m1")}})
    assert (world.get(BFD_SESSIONS, "b"), world.get(ROUTER_MAC, "port")) == (True, "m1")
    assert facts.follow({"BFD": {"b": RowChange(old={"status": "down"}, new={"status": "up"})}})
    assert world.get(SESSIONS, "p 1.1.1.1") == Session("up")
    assert facts.follow({"Logical_Router_Port": {"u": RowChange(old={"mac": "m1"}, new={"mac": "m2"})}})
    assert world.get(ROUTER_MAC, "port") == "m2"
    assert not facts.follow({"Logical_Router_Port": {"u": RowChange(old={"options": {}}, new={"mac": "m2"})}})
    assert facts.follow({"BFD": {"b": GONE}, "Logical_Router_Port": {"u": GONE}})
    assert (world.get(BFD_SESSIONS, "b"), world.get(ROUTER_MAC, "port")) == (None, None)
    assert world.get(SESSIONS, "p 1.1.1.1") is None


def test_a_row_that_takes_anothers_place_is_known_whatever_came_first() -> None:
    key = ("s1", "IPv4")
    keys = {("DHCP_Options", "old"): key, ("DHCP_Options", "new"): key}
    orders: tuple[dict[str, RowChange], ...] = ({"old": GONE, "new": row()}, {"new": row(), "old": GONE})
    for together in orders:
        world = World(INDEXES)
        facts = RowFacts(world, lambda table, uuid: keys.get((table, uuid)))
        facts.follow({"DHCP_Options": {"old": row()}})
        facts.follow({"DHCP_Options": together})
        assert world.get(DHCP_ROWS, dhcp_key(key)) == "new"
    world = World(INDEXES)  # first the new one, later the old one goes
    facts = RowFacts(world, lambda table, uuid: keys.get((table, uuid)))
    for changes in ({"old": row()}, {"new": row()}, {"old": GONE}):
        facts.follow({"DHCP_Options": changes})
    assert world.get(DHCP_ROWS, dhcp_key(key)) == "new"

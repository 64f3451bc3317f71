"""Which existing NB rows are ours to delete when nobody desires them (DESIGN section 1, point 4).

Vendor-marked rows of features that are compiled here. Rows of features that are not built yet (spec part D; one case
for each in tests/pure/test_takeover.py), and all rows without the mark, are foreign: untouched and reported by `plan`.
Rows of a held subnet stay whatever is desired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ovnbridge.compile.options import external_id, ours
from ovnbridge.engine.diff import ActualRow
from ovnbridge.model.names import node_port_name, port_name, router_port_name
from ovnbridge.model.ovn import Key

_Test = Callable[[ActualRow], bool]


def _port(row: ActualRow) -> bool:
    """Ports of pods' primary interfaces, of nodes and towards routers; not those of attachments, Vips and so on."""
    kind, name = row.columns.get("type") or "", str(row.columns.get("name"))
    if not ours(row) or kind not in {"", "router"} or _transit(external_id(row, "ls")):
        return False
    if kind == "router":
        return True
    values = row.columns.get("options")
    if isinstance(values, Mapping) and values.keys() & _FEATURE_OPTIONS:
        return False
    namespace, _, pod = external_id(row, "pod").partition("/")
    return name == port_name(pod, namespace) if pod else name.startswith(node_port_name(""))


_FEATURE_OPTIONS: Final = frozenset({"arp_proxy", "activation-strategy", "virtual-ip"})
"""Options of ports of Vips and of virtual machines that migrate (spec D.13, D.22)."""


def primary_port(row: ActualRow) -> bool:
    """Whether a logical switch port is of a kind that is compiled here; others' places in port groups are theirs."""
    return _port(row)


def _transit(switch: str) -> bool:
    """Transit switches of OVN-IC: `ts`, `ts0`, `ts1` … (spec D.19)."""
    return switch.startswith("ts") and (switch == "ts" or switch[2:].isdigit())


def _switch(row: ActualRow) -> bool:
    name = str(row.columns.get("name", ""))
    return ours(row) and not _transit(name) and name != "ovn-external"


def _group(row: ActualRow) -> bool:
    """Node groups and subnet-node groups; not those of policies."""
    return ours(row) and bool(external_id(row, "node"))


def _policy(row: ActualRow) -> bool:
    """Policies that name what they are for: a subnet or a node. Gateway and U2O policies are other modules'."""
    if not ours(row) or any(external_id(row, mark) for mark in ("isU2ORoutePolicy", "isLocalDnsCache")):
        return False
    if row.columns.get("priority") in {29250}:
        return False
    return bool(external_id(row, "subnet") or external_id(row, "node") or _plain(row))


def _plain(row: ActualRow) -> bool:
    """A user's policy route carries the vendor mark alone."""
    ids = row.columns.get("external_ids")
    return isinstance(ids, Mapping) and set(ids) == {"vendor"}


def _router_port(row: ActualRow) -> bool:
    """Ports towards subnets; not those of peerings or for BFD."""
    name, router = str(row.columns.get("name", "")), external_id(row, "lr")
    return ours(row) and not row.columns.get("peer") and name.startswith(router_port_name(router, ""))


def _overlay_set(row: ActualRow) -> bool:
    return ours(row) and external_id(row, "isU2OOverlayCIDRs") == "true"


def _vpc_load_balancer(row: ActualRow) -> bool:
    name = str(row.columns.get("name", ""))
    return ours(row) and name.startswith("vpc-") and name.endswith("-load")


_OWNED: Final[Mapping[str, _Test]] = {
    "Logical_Switch": _switch,
    "Logical_Router": ours,
    "Logical_Router_Port": _router_port,
    "Logical_Switch_Port": _port,
    "Logical_Router_Policy": _policy,
    "Logical_Router_Static_Route": ours,
    "Port_Group": _group,
    "Address_Set": _overlay_set,
    "Load_Balancer": _vpc_load_balancer,
}

OWNED_TABLES: Final = tuple(_OWNED)


def vpc_scope(vpc: str) -> str:
    """Scope (`engine.items.Hold`) of what a VPC's router is told: itself, its routes and its own policies."""
    return f"vpc:{vpc}"


def uplink_scope(subnet: str) -> str:
    """Scope of the pair of ports between a subnet and a router."""
    return f"uplink:{subnet}"


def _scopes(table: str, row: ActualRow, parent: Key) -> tuple[str, ...]:
    """The scopes that a row belongs to; its subnet's name is one. `parent` is its parent's natural key."""
    name = str(row.columns.get("name", ""))
    if table == "Logical_Switch":
        return (name, uplink_scope(name))
    if table == "Logical_Router":
        return (vpc_scope(name),)
    if table == "Logical_Router_Static_Route" or (table == "Logical_Router_Policy" and _plain(row)):
        return (vpc_scope(str(parent)),)
    if table == "Address_Set":
        return (vpc_scope(external_id(row, "vpc")),)
    if table == "Logical_Router_Port":
        subnet = name.removeprefix(router_port_name(external_id(row, "lr"), ""))
        return (subnet, uplink_scope(subnet))
    subnet = external_id(row, "subnet") or external_id(row, "ls")
    if table == "Logical_Switch_Port" and not external_id(row, "pod"):
        return (subnet, uplink_scope(subnet))  # towards a router, or bare: a gateway's address (OvnEip)
    return (subnet,)


def owns(table: str, row: ActualRow, held: Callable[[str], bool], parent: Key = "", *, nat: bool = False) -> bool:
    """Whether an undesired row is to be deleted. `parent` is the natural key of the row that refers to it.

    `nat`: the router that it belongs to has NAT rows, for which Kube-OVN adds source routes (spec D.5).
    """
    test = _OWNED.get(table)
    if test is None or not test(row) or any(map(held, _scopes(table, row, parent))):
        return False
    return not (nat and table == "Logical_Router_Static_Route" and row.columns.get("policy") == "src-ip")

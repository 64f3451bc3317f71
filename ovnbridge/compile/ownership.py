"""Which existing NB rows are ours to delete when nobody desires them (DESIGN section 1, point 4).

Vendor-marked rows of features that are compiled here. Rows of features that are not built yet, and all rows without the
mark, are foreign: untouched and reported by `doctor`. Rows of a held subnet stay whatever is desired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ovnbridge.compile.options import external_id, ours
from ovnbridge.engine.diff import ActualRow
from ovnbridge.model.names import (
    MCAST_PREFIX,
    localnet_port_name,
    mcast_owner,
    node_port_name,
    port_name,
    router_port_name,
)
from ovnbridge.model.ovn import Key

_Test = Callable[[ActualRow], bool]


def _port(row: ActualRow) -> bool:
    """Ports of pods, nodes, subnets and Vips, and towards routers; not those of gateways and so on."""
    kind, name = row.columns.get("type") or "", str(row.columns.get("name"))
    if not ours(row) or kind not in {"", "router", "localnet", "virtual"}:
        return False
    subnet = external_id(row, "ls")
    if kind == "localnet" or name.startswith(MCAST_PREFIX):
        return name in (localnet_port_name(subnet), mcast_owner(subnet))
    if kind:  # virtual ports are those of a subnet's `spec.vips`, and of Vips
        return True
    namespace, _, pod = external_id(row, "pod").partition("/")
    if pod:
        primary = port_name(pod, namespace)
        return name == primary or name.startswith(f"{primary}.")
    # `<vip>.<namespace>`; an OvnEip's port has the name of the OvnEip, or of a node.
    return name.startswith(node_port_name("")) or "." in name


def _group(row: ActualRow) -> bool:
    """Node groups and subnet-node groups; not those of policies."""
    return ours(row) and bool(external_id(row, "node") or external_id(row, "u2o"))


def _policy(row: ActualRow) -> bool:
    """Policies that name what they are for: a subnet or a node. Gateway policies are other modules'."""
    if not ours(row):
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


def _address_set(row: ActualRow) -> bool:
    """Those of U2O and of IPPools; not those of policies and security groups."""
    marks = (external_id(row, "isU2OOverlayCIDRs"), external_id(row, "isU2ORoutePolicy"))
    return ours(row) and bool("true" in marks or external_id(row, "ippool"))


def _switch_acl(row: ActualRow) -> bool:
    """ACLs of switches; not those of port groups."""
    return ours(row) and row.parent is not None and row.parent[0] == "Logical_Switch"


def _dhcp(row: ActualRow) -> bool:
    """Options of subnets and of pods' ports."""
    return ours(row) and bool(external_id(row, "ls"))


def _vpc_load_balancer(row: ActualRow) -> bool:
    name = str(row.columns.get("name", ""))
    return ours(row) and name.startswith("vpc-") and name.endswith("-load")


_OWNED: Final[Mapping[str, _Test]] = {
    "Logical_Switch": ours,
    "Logical_Router": ours,
    "Logical_Router_Port": _router_port,
    "Logical_Switch_Port": _port,
    "Logical_Router_Policy": _policy,
    "Logical_Router_Static_Route": ours,
    "Port_Group": _group,
    "Address_Set": _address_set,
    "ACL": _switch_acl,
    "DHCP_Options": _dhcp,
    "Load_Balancer": _vpc_load_balancer,
}

OWNED_TABLES: Final = tuple(_OWNED)


WAY_OUT: Final = 29250
"""Priority of the policies of pods with a way out of their own (annotations eip, snat, north_gateway). Each one's match
is a scope: pods whose way out is not compiled here hold theirs."""


def pool_scope(name: str) -> str:
    """Scope of an IPPool's address set."""
    return f"ippool/{name}"


def vpc_scope(vpc: str) -> str:
    """Scope (`engine.items.Hold`) of what a VPC's router is told: itself, its routes and its own policies."""
    return f"vpc:{vpc}"


def uplink_scope(subnet: str) -> str:
    """Scope of the pair of ports between a subnet and a router."""
    return f"uplink:{subnet}"


def acl_scope(subnet: str) -> str:
    """Scope of the ACLs of a subnet's switch."""
    return f"acl:{subnet}"


def _scopes(table: str, row: ActualRow, parent: Key) -> tuple[str, ...]:
    """The scopes that a row belongs to; its subnet's name is one. `parent` is its parent's natural key."""
    name = str(row.columns.get("name", ""))
    if table == "Logical_Switch":
        return (name,)
    if table == "Logical_Router":
        return (vpc_scope(name),)
    if table == "Logical_Router_Static_Route" or (table == "Logical_Router_Policy" and _plain(row)):
        return (vpc_scope(str(parent)),)
    if table == "ACL":
        return (str(parent), acl_scope(str(parent)))
    if table == "Address_Set" and (pool := external_id(row, "ippool")):
        return (pool_scope(pool),)
    if table == "Address_Set" and not external_id(row, "subnet"):
        return (vpc_scope(external_id(row, "vpc")),)
    if table == "Logical_Router_Port":
        subnet = name.removeprefix(router_port_name(external_id(row, "lr"), ""))
        return (subnet, uplink_scope(subnet))
    subnet = external_id(row, "subnet") or external_id(row, "ls")
    if table == "Logical_Router_Policy" and row.columns.get("priority") == WAY_OUT:
        return (subnet, str(row.columns.get("match")))
    if table == "Logical_Switch_Port" and row.columns.get("type") == "router":
        return (subnet, uplink_scope(subnet))
    return (subnet,)


def owns(table: str, row: ActualRow, held: Callable[[str], bool], parent: Key = "") -> bool:
    """Whether an undesired row is to be deleted. `parent` is the natural key of the row that refers to it."""
    test = _OWNED.get(table)
    return test is not None and test(row) and not any(map(held, _scopes(table, row, parent)))

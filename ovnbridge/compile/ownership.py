"""Which existing NB rows are ours to delete when nobody desires them (DESIGN section 1, point 4).

Vendor-marked rows of features that are compiled here. Rows of features that are not built yet (spec part D; one case
for each in tests/pure/test_takeover.py), and all rows without the mark, are foreign: untouched and reported by `plan`.
Rows of a held subnet stay whatever is desired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Final

from ovnbridge.compile.failover import MARKS
from ovnbridge.compile.options import external_id, ours
from ovnbridge.engine.diff import ActualRow
from ovnbridge.model.names import (
    MCAST_PREFIX,
    bfd_port_name,
    localnet_port_name,
    mcast_owner,
    node_port_name,
    port_name,
    router_port_name,
)
from ovnbridge.model.ovn import Key

_Test = Callable[[ActualRow], bool]


def _port(row: ActualRow) -> bool:
    """Ports of pods, nodes, subnets and Vips, and those towards routers; not those of gateways and so on."""
    kind, name = row.columns.get("type") or "", str(row.columns.get("name"))
    subnet = external_id(row, "ls")
    if not ours(row) or kind not in {"", "router", "localnet", "virtual"} or _transit(subnet):
        return False
    if kind == "localnet" or name.startswith(MCAST_PREFIX):
        return name in (localnet_port_name(subnet), mcast_owner(subnet))
    if kind:
        return True
    namespace, _, pod = external_id(row, "pod").partition("/")
    if pod:
        values = row.columns.get("options")
        if isinstance(values, Mapping) and "activation-strategy" in values:
            return False  # of a virtual machine that migrates (spec D.22), which is not compiled here
        primary = port_name(pod, namespace)
        return name == primary or name.startswith(f"{primary}.")
    # `<vip>.<namespace>`; an OvnEip's port has the name of the OvnEip, or of a node, and is held.
    return name.startswith(node_port_name("")) or "." in name


def compiled_port(row: ActualRow) -> bool:
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
    return ours(row) and bool(external_id(row, "node") or external_id(row, "u2o"))


def _policy(row: ActualRow) -> bool:
    """Policies that name what they are for: a subnet or a node. Gateway policies are other modules'."""
    if not ours(row):
        return False
    return bool(external_id(row, "subnet") or external_id(row, "node") or _plain(row))


def _plain(row: ActualRow, others: Set[str] = frozenset()) -> bool:
    """A user's policy route carries the vendor mark alone."""
    ids = row.columns.get("external_ids")
    return isinstance(ids, Mapping) and ids.keys() - others == {"vendor"}


def _session(row: ActualRow) -> bool:
    """BFD sessions of VPCs; those of gateways say whose they are, those of users carry no mark."""
    return ours(row) and _plain(row, MARKS)


def _router_port(row: ActualRow) -> bool:
    """Ports towards subnets and other VPCs, and for BFD; not those towards other clusters."""
    name, router = str(row.columns.get("name", "")), external_id(row, "lr")
    return ours(row) and (name.startswith(router_port_name(router, "")) or name == bfd_port_name(router))


def _bfd_chassis(row: ActualRow) -> bool:
    """Groups for BFD ports, and their entries."""
    name = str(row.columns.get("name", "")) or external_id(row, "group")
    return ours(row) and name.startswith(bfd_port_name(""))


def _address_set(row: ActualRow) -> bool:
    """Sets of U2O and those of IPPools; not those of policies and security groups."""
    marks = (external_id(row, "isU2OOverlayCIDRs"), external_id(row, "isU2ORoutePolicy"))
    return ours(row) and ("true" in marks or bool(external_id(row, "ippool")))


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
    "Logical_Switch": _switch,
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
    "HA_Chassis_Group": _bfd_chassis,
    "HA_Chassis": _bfd_chassis,
    "BFD": _session,
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


def route_scope(vpc: str, table: str, policy: str, prefix: str, nexthop: str) -> str:
    """Scope of one static route."""
    return f"route:{vpc}:{table}:{policy}:{prefix}:{nexthop}"


def uplink_scope(subnet: str, router: str) -> str:
    """Scope of the pair of ports between a subnet and a router; without router, of the bare switch."""
    return f"uplink:{subnet}:{router}"


def acl_scope(subnet: str) -> str:
    """Scope of the ACLs of a subnet's switch."""
    return f"acl:{subnet}"


def port_scope(port: str) -> str:
    """Scope of one router port and of what belongs to it: its counterpart on the switch, its BFD sessions."""
    return f"port:{port}"


def node_gateway_scope(node: str) -> str:
    """Scope of the group and the policies that a node's pods of all distributed subnets share."""
    return f"node-gateway:{node}"


def _scopes(table: str, row: ActualRow, parent: Key) -> tuple[str, ...]:
    """The scopes that a row belongs to; its subnet's name is one. `parent` is its parent's natural key."""
    name = str(row.columns.get("name", ""))
    if table == "Logical_Switch":
        return (name, uplink_scope(name, ""))
    if table == "Logical_Router":
        return (vpc_scope(name),)
    if table == "Logical_Router_Static_Route":
        route = [str(row.columns.get(c) or "") for c in ("route_table", "policy", "ip_prefix", "nexthop")]
        return (vpc_scope(str(parent)), route_scope(str(parent), *route))
    if table == "Logical_Router_Policy" and _plain(row):
        return (vpc_scope(str(parent)),)
    if table == "ACL":
        return (str(parent), acl_scope(str(parent)))
    if table == "Address_Set" and (pool := external_id(row, "ippool")):
        return (pool_scope(pool),)
    if table == "Address_Set" and not external_id(row, "subnet"):
        return (vpc_scope(external_id(row, "vpc")),)
    if table == "Logical_Router_Port":
        return _router_port_scopes(row, name)
    if table in ("HA_Chassis_Group", "HA_Chassis"):
        port = name or external_id(row, "group")
        return (vpc_scope(port.removeprefix(bfd_port_name(""))), port_scope(port))
    if table == "BFD":
        return (port_scope(str(row.columns.get("logical_port", ""))),)
    subnet = external_id(row, "subnet") or external_id(row, "ls")
    if table == "Logical_Router_Policy" and row.columns.get("priority") == WAY_OUT:
        return (subnet, str(row.columns.get("match")))
    if table == "Logical_Switch_Port" and row.columns.get("type") == "router":
        options = row.columns.get("options")
        port = str(options.get("router-port", "")) if isinstance(options, Mapping) else ""
        return (subnet, uplink_scope(subnet, port.removesuffix(f"-{subnet}")), port_scope(port))
    if table == "Logical_Switch_Port" and not external_id(row, "pod"):
        return (subnet, uplink_scope(subnet, ""), port_scope(name))
    shared = row.columns.get("priority") == 29000 if table == "Logical_Router_Policy" else not external_id(row, "np")
    if not subnet and shared and external_id(row, "node"):
        return (node_gateway_scope(external_id(row, "node")),)
    return (subnet,)


def _router_port_scopes(row: ActualRow, name: str) -> tuple[str, ...]:
    router = external_id(row, "lr")
    if name == bfd_port_name(router):
        return (vpc_scope(router), port_scope(name))
    if row.columns.get("peer"):
        return (vpc_scope(router),)
    subnet = name.removeprefix(router_port_name(router, ""))
    return (subnet, port_scope(name))


def owns(table: str, row: ActualRow, held: Callable[[str], bool], parent: Key = "", *, nat: bool = False) -> bool:
    """Whether an undesired row is to be deleted. `parent` is the natural key of the row that refers to it.

    `nat`: its router has a NAT row for the address that a route is for; Kube-OVN adds one by source (spec D.5).
    """
    test = _OWNED.get(table)
    if test is None or not test(row) or any(map(held, _scopes(table, row, parent))):
        return False
    return not (nat and table == "Logical_Router_Static_Route" and row.columns.get("policy") == "src-ip")

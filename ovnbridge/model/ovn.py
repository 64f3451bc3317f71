"""The OVSDB tables that we write, as data: columns, natural keys, parents, order.

One declared natural key per table is the identity of a row for the whole program: `engine/` matches desired with
actual rows by it, `ovsdb/` indexes the replica by it, `explain` names rows with it. There are no private ids, which is
what makes taking over a database that Kube-OVN wrote possible (DESIGN section 1, point 4).

Column values everywhere above `ovsdb/` are plain Python: str, int, float, bool; None for an empty optional column;
frozenset for sets; dict for maps; `Ref` where the database holds a UUID.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

Key: TypeAlias = str | tuple[str | int, ...]
"""Natural key of a row: its name, or the tuple that `TableFacts.key` declares."""


class Ref(msgspec.Struct, frozen=True, gc=False):
    """A reference to another row by its natural key."""

    table: str
    key: Key


Atom: TypeAlias = str | int | float | bool | Ref
Value: TypeAlias = Atom | frozenset[Atom] | Mapping[str, str] | None
Columns: TypeAlias = Mapping[str, Value]


class TableFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine and the committer must know about one table.

    `key`: how the natural key is made. Each entry is a column name, `"@parent"` (the natural key of the parent row) or
    `"map:subkey"` (one entry of a map column). One entry gives a str key, several a tuple; none: the table has one row.
    `parents`: (parent table, column that holds the references to this table's rows). Rows of such tables live only
    while a parent refers to them; those of root tables only cannot go before.
    `columns`: all columns that we read or write.
    `adopted`: columns and `"map:subkey"` entries whose value stands when the row already has one (Kube-OVN drew it at
    random), unless `Row.exact` names them.
    `own_entries`: by map column, the only keys in it that are ours; the others stand.
    `unordered`: `"map:subkey"` entries that are comma lists whose order says nothing (Kube-OVN's is its lister's).
    `parent_hint`: `"map:subkey"` that names the parent when following the parent's set would be too dear.
    `kept_ids`: prefixes of the external_ids that others write into rows of ours and that stand.
    `write_only`: set columns whose content is not replicated (their changes are implied by other rows).
    `inserted`: whether its rows are ours to insert; otherwise what is wanted of a row waits until somebody makes it.
    `rank`: order in which rows are inserted (low first); deletes go the other way round.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    parents: tuple[tuple[str, str], ...] = ()
    adopted: tuple[str, ...] = ()
    unordered: tuple[str, ...] = ()
    parent_hint: str = ""
    kept_ids: tuple[str, ...] = ()
    own_entries: Mapping[str, tuple[str, ...]] = {}
    write_only: tuple[str, ...] = ()
    inserted: bool = True
    rank: int = 50


VENDOR: Final = "kube-ovn"
"""`external_ids:vendor` of every row of ours (spec part D, general rules)."""

_NB: Final = (
    TableFacts(name="NB_Global", key=(), columns=("external_ids", "options", "ipsec", "nb_cfg"), rank=0),
    TableFacts(
        name="Load_Balancer",
        key=("name",),
        columns=(
            "name",
            "vips",
            "protocol",
            "options",
            "external_ids",
            "selection_fields",
            "ip_port_mappings",
        ),
        kept_ids=("kube-ovn.io/local-external-vip/",),
        rank=10,
    ),
    TableFacts(
        name="DHCP_Options",
        key=("external_ids:ls", "external_ids:protocol", "external_ids:port"),
        columns=("cidr", "options", "external_ids"),
        adopted=("options:server_mac", "options:server_id"),
        rank=10,
    ),
    TableFacts(name="Address_Set", key=("name",), columns=("name", "addresses", "external_ids"), rank=12),
    TableFacts(
        name="Logical_Switch",
        key=("name",),
        columns=("name", "ports", "acls", "load_balancer", "other_config", "external_ids"),
        write_only=("ports",),
        own_entries={"other_config": ("mcast_snoop", "mcast_querier", "mcast_ip4_src", "mcast_eth_src")},
        rank=20,
    ),
    TableFacts(
        name="Logical_Router",
        key=("name",),
        columns=(
            "name",
            "ports",
            "static_routes",
            "policies",
            "nat",
            "load_balancer",
            "options",
            "external_ids",
        ),
        rank=20,
    ),
    TableFacts(
        name="Logical_Router_Port",
        key=("name",),
        columns=(
            "name",
            "mac",
            "networks",
            "options",
            "ipv6_prefix",
            "ipv6_ra_configs",
            "external_ids",
            "peer",
            "gateway_chassis",
            "ha_chassis_group",
        ),
        parents=(("Logical_Router", "ports"),),
        adopted=("mac",),
        own_entries={"options": ("route_table", "bfd-only")},
        rank=30,
    ),
    TableFacts(
        name="HA_Chassis_Group",
        key=("name",),
        columns=("name", "ha_chassis", "external_ids"),
        parents=(("Logical_Router_Port", "ha_chassis_group"),),
        rank=35,
    ),
    TableFacts(
        name="HA_Chassis",
        key=("@parent", "chassis_name"),
        columns=("chassis_name", "priority", "external_ids"),
        parents=(("HA_Chassis_Group", "ha_chassis"),),
        rank=38,
    ),
    TableFacts(
        name="Gateway_Chassis",
        key=("name",),
        columns=("name", "chassis_name", "priority", "external_ids"),
        parents=(("Logical_Router_Port", "gateway_chassis"),),
        rank=38,
    ),
    TableFacts(
        name="BFD",
        key=("logical_port", "dst_ip"),
        columns=("logical_port", "dst_ip", "min_tx", "min_rx", "detect_mult", "status", "external_ids"),
        rank=42,
    ),
    TableFacts(
        name="Logical_Switch_Port",
        key=("name",),
        columns=(
            "name",
            "type",
            "addresses",
            "port_security",
            "options",
            "external_ids",
            "dhcpv4_options",
            "dhcpv6_options",
            "tag",
            "up",
        ),
        unordered=("options:virtual-parents",),
        parents=(("Logical_Switch", "ports"),),
        parent_hint="external_ids:ls",
        rank=40,
    ),
    TableFacts(
        name="Port_Group",
        key=("name",),
        columns=("name", "ports", "acls", "external_ids"),
        rank=45,
    ),
    TableFacts(
        name="ACL",
        key=("@parent", "direction", "priority", "match", "tier"),
        columns=(
            "name",
            "direction",
            "priority",
            "match",
            "action",
            "tier",
            "log",
            "severity",
            "meter",
            "options",
            "external_ids",
        ),
        parents=(("Port_Group", "acls"), ("Logical_Switch", "acls")),
        rank=50,
    ),
    TableFacts(
        name="Logical_Router_Static_Route",
        key=("@parent", "route_table", "policy", "ip_prefix", "nexthop"),
        columns=(
            "ip_prefix",
            "nexthop",
            "policy",
            "route_table",
            "output_port",
            "bfd",
            "options",
            "external_ids",
        ),
        parents=(("Logical_Router", "static_routes"),),
        rank=50,
    ),
    TableFacts(  # only read: EIPs have routes that are not ours while it is there
        name="NAT",
        key=("@parent", "type", "external_ip", "logical_ip"),
        columns=("type", "external_ip", "logical_ip"),
        parents=(("Logical_Router", "nat"),),
        rank=50,
    ),
    TableFacts(
        name="Logical_Router_Policy",
        key=("@parent", "priority", "match"),
        columns=("priority", "match", "action", "nexthops", "nexthop", "options", "bfd_sessions", "external_ids"),
        parents=(("Logical_Router", "policies"),),
        rank=50,
    ),
)

_SB: Final = (
    TableFacts(name="SB_Global", key=(), columns=("external_ids",), inserted=False, rank=0),
    TableFacts(
        name="Chassis",
        key=("name",),
        columns=("name", "hostname", "external_ids", "other_config"),
        inserted=False,
        rank=20,
    ),
    TableFacts(name="Chassis_Private", key=("name",), columns=("name",), inserted=False, rank=30),
)

_OVS: Final = (
    TableFacts(
        name="Open_vSwitch",
        key=(),
        columns=("bridges", "external_ids", "other_config", "system_type", "ovs_version"),
        rank=0,
    ),
    TableFacts(
        name="Bridge",
        key=("name",),
        columns=("name", "ports", "datapath_type", "fail_mode", "other_config", "external_ids"),
        parents=(("Open_vSwitch", "bridges"),),
        rank=10,
    ),
    TableFacts(
        name="Port",
        key=("name",),
        columns=("name", "interfaces", "tag", "trunks", "qos", "external_ids"),
        parents=(("Bridge", "ports"),),
        rank=30,
    ),
    TableFacts(
        name="Interface",
        key=("name",),
        columns=(
            "name",
            "type",
            "mac",
            "mac_in_use",
            "mtu",
            "mtu_request",
            "options",
            "external_ids",
            "ofport",
            "error",
            "link_state",
            "admin_state",
            "ingress_policing_rate",
            "ingress_policing_burst",
        ),
        parents=(("Port", "interfaces"),),
        rank=40,
    ),
)

NORTHBOUND: Final[Mapping[str, TableFacts]] = {t.name: t for t in _NB}
"""OVN_Northbound tables."""

REFERENCES: Final[Mapping[tuple[str, str], str]] = {
    ("Port_Group", "ports"): "Logical_Switch_Port",
    ("Logical_Router_Port", "gateway_chassis"): "Gateway_Chassis",
}
"""(table, column) → table that its references point to, for columns that members fill."""

SOUTHBOUND: Final[Mapping[str, TableFacts]] = {t.name: t for t in _SB}
"""OVN_Southbound tables: nodes' chassis. None has the name of a table of OVN_Northbound."""

OPEN_VSWITCH: Final[Mapping[str, TableFacts]] = {t.name: t for t in _OVS}
"""Open_vSwitch tables of one node."""

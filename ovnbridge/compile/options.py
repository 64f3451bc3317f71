"""Settings that decide what is compiled, and the facts about the server's schema; both are World values.

`roles/controller.py` puts `Options` into the World once, under table `Options`, key "". The OVSDB edge puts one boolean
per `TABLE.column` into table `Schema` (feature gating on the schema, DESIGN section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, cast

import msgspec

from ovnbridge.engine.engine import Reader
from ovnbridge.model import address
from ovnbridge.model.kube import ServiceCIDR
from ovnbridge.model.names import distributed_group, subnet_node_group

PROTOCOLS: Final = ("tcp", "udp", "sctp")


PER_SUBNET: Final = "subnet"
PER_NODE: Final = "node"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Controller flags that compile units depend on (spec E.7; same names and defaults)."""

    cluster_router: str = "ovn-cluster"
    default_ls: str = "ovn-default"
    default_cidr: str = "10.16.0.0/16"
    default_gateway: str = ""
    default_gateway_check: bool = True
    default_exclude_ips: tuple[str, ...] = ()
    default_logical_gateway: bool = False
    default_u2o_interconnection: bool = False
    default_provider_name: str = "provider"
    default_interface_name: str = ""
    default_exchange_link_name: bool = False
    default_vlan_name: str = "ovn-vlan"
    default_vlan_id: int = 1
    enable_ecmp: bool = False
    node_switch: str = "join"
    node_switch_cidr: str = "100.64.0.0/16"
    node_switch_gateway: str = ""
    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)
    kubernetes_service_host: str = ""
    network_type: str = "geneve"
    pod_nic_type: str = "veth-pair"
    enable_lb: bool = True
    ls_dnat_mod_dl_dst: bool = True
    ls_ct_skip_dst_lport_ips: bool = True
    skip_conntrack_dst_cidrs: str = ""
    node_local_dns_ip: str = ""
    prefer_local_backend: bool = False
    external_gateway_switch: str = "external"
    gateway_groups: str = PER_SUBNET
    """How pods of distributed subnets are grouped by the node that they leave through: PER_SUBNET or PER_NODE."""
    vpc_source_routes: bool = True
    bfd_min_tx: int = 100
    bfd_min_rx: int = 100
    detect_mult: int = 3
    keep_vm_ip: bool = True
    enable_eip_snat: bool = True
    non_primary_cni_mode: bool = False
    load_balancers: Mapping[str, str] = {}
    """Default VPC load balancer by `tcp`, `tcp-session`, …; names from the flags."""

    def load_balancer(self, vpc: str, protocol: str, session: bool) -> str:
        """Name of a VPC's load balancer (spec D.9)."""
        if vpc == self.cluster_router:
            kind = f"{protocol}-session" if session else protocol
            return self.load_balancers.get(kind, f"cluster-{kind}-loadbalancer")
        return f"vpc-{vpc}-{protocol}-{'sess-load' if session else 'load'}"

    def gateway_group(self, subnet: str, node: str) -> str:
        """Port group of the pods of a distributed subnet that leave through a node (spec D.2.4)."""
        return distributed_group(node) if self.gateway_groups == PER_NODE else subnet_node_group(subnet, node)

    def load_balancer_names(self, vpc: str) -> list[str]:
        """All six load balancers of a VPC."""
        return [self.load_balancer(vpc, p, session) for p in PROTOCOLS for session in (False, True)]


ROUTER_MAC: Final = "RouterMac"
"""World table: MAC addresses of the router ports that exist in the database. Key: port's name."""
UNKNOWN_KINDS: Final = "UnknownKind"
"""World table: kinds of which it is not known which objects there are (a dump has none, or they are not served)."""


def unknown(reader: Reader, kind: str) -> bool:
    """Whether an object's absence says nothing: what depends on an object of this kind stays as it is."""
    return reader.get(UNKNOWN_KINDS, kind) is not None


class _Row(Protocol):
    @property
    def columns(self) -> Mapping[str, object]: ...


def options(reader: Reader) -> Options:
    """The controller's options."""
    return cast(Options, reader.get("Options", "")) or Options()


def service_cidrs(reader: Reader) -> tuple[str, ...]:
    """CIDRs of Services: the flag's, and those of ServiceCIDR objects, without repetition (spec E.12; memoised)."""
    given = [*options(reader).service_cidrs]
    for found in reader.all("ServiceCIDR"):
        given += found.spec.cidrs if isinstance(found, ServiceCIDR) else ()
    return tuple(dict.fromkeys(cidr for cidr in given if address.family(cidr) is not None))


def has_column(reader: Reader, table: str, column: str) -> bool:
    """Whether the NB server's schema has a column."""
    return bool(reader.get("Schema", f"{table}.{column}"))


def external_id(row: _Row, name: str) -> str:
    """One external id of an actual row, "" when absent."""
    ids = row.columns.get("external_ids")
    return str(ids.get(name, "")) if isinstance(ids, Mapping) else ""


def ours(row: _Row) -> bool:
    """Whether a row carries the vendor mark."""
    return external_id(row, "vendor") == "kube-ovn"

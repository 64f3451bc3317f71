"""The one table of kinds: names, scope, subresources, printer columns and the type of each custom resource.

Read by `schema` (manifests), by `codec` (which kind a type encodes to) and by `resources` (how a kind is addressed).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ovnbridge.model.crd.address import IP, IPPool, Vip
from ovnbridge.model.crd.base import Object
from ovnbridge.model.crd.bgp import BgpConf, EvpnConf
from ovnbridge.model.crd.dns import DNSNameResolver, VpcDns
from ovnbridge.model.crd.egress_gateway import VpcEgressGateway
from ovnbridge.model.crd.kind_info import Column, KindInfo, Scale
from ovnbridge.model.crd.loadbalancer import RouterLBRule, SwitchLBRule
from ovnbridge.model.crd.nat_gateway import (
    IptablesDnatRule,
    IptablesEIP,
    IptablesFIPRule,
    IptablesSnatRule,
    VpcNatGateway,
)
from ovnbridge.model.crd.ovn_nat import OvnDnatRule, OvnEip, OvnFip, OvnSnatRule
from ovnbridge.model.crd.qos import QoSPolicy
from ovnbridge.model.crd.security import SecurityGroup
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.crd.underlay import ProviderNetwork, Vlan
from ovnbridge.model.crd.vpc import Vpc
from ovnbridge.model.resource import Resource

GROUP = "kubeovn.io"
VERSION = "v1"


def _kind(
    plural: str,
    kind: type[Object],
    *,
    singular: str = "",
    short_names: tuple[str, ...] = (),
    namespaced: bool = False,
    columns: tuple[Column, ...] = (),
    status_subresource: bool = True,
    scale: Scale | None = None,
) -> KindInfo:
    return KindInfo(
        resource=Resource(GROUP, VERSION, plural, kind.__name__, namespaced),
        type=kind,
        singular=singular or kind.__name__.lower(),
        short_names=short_names,
        columns=columns,
        status_subresource=status_subresource,
        scale=scale,
    )


_AGE = Column("Age", ".metadata.creationTimestamp", "date")

_TABLE = (
    _kind(
        "vpcs",
        Vpc,
        short_names=("vpc",),
        columns=(
            Column("EnableExternal", ".status.enableExternal", "boolean"),
            Column("EnableBfd", ".status.enableBfd", "boolean"),
            Column("Standby", ".status.standby", "boolean"),
            Column("Subnets", ".status.subnets"),
            Column("ExtraExternalSubnets", ".status.extraExternalSubnets"),
            Column("Namespaces", ".spec.namespaces"),
            Column("DefaultSubnet", ".status.defaultLogicalSwitch"),
            _AGE,
        ),
    ),
    _kind(
        "subnets",
        Subnet,
        short_names=("subnet",),
        columns=(
            Column("Provider", ".spec.provider"),
            Column("Vpc", ".spec.vpc"),
            Column("Vlan", ".spec.vlan"),
            Column("Protocol", ".spec.protocol"),
            Column("CIDR", ".spec.cidrBlock"),
            Column("Private", ".spec.private", "boolean"),
            Column("NAT", ".spec.natOutgoing", "boolean"),
            Column("Default", ".spec.default", "boolean"),
            Column("GatewayType", ".spec.gatewayType"),
            Column("V4Used", ".status.v4usingIPs", "number"),
            Column("V4Available", ".status.v4availableIPs", "number"),
            Column("V6Used", ".status.v6usingIPs", "number"),
            Column("V6Available", ".status.v6availableIPs", "number"),
            Column("ExcludeIPs", ".spec.excludeIps"),
            Column("U2OInterconnectionIP", ".status.u2oInterconnectionIP"),
        ),
    ),
    _kind(
        "ips",
        IP,
        short_names=("ip",),
        status_subresource=False,
        columns=(
            Column("V4IP", ".spec.v4IpAddress"),
            Column("V6IP", ".spec.v6IpAddress"),
            Column("Mac", ".spec.macAddress"),
            Column("Node", ".spec.nodeName"),
            Column("Subnet", ".spec.subnet"),
        ),
    ),
    _kind(
        "ippools",
        IPPool,
        short_names=("ippool",),
        columns=(
            Column("Subnet", ".spec.subnet"),
            Column("enableAddressSet", ".spec.enableAddressSet", "boolean"),
            Column("IPs", ".spec.ips"),
            Column("V4Used", ".status.v4UsingIPs", "number"),
            Column("V4Available", ".status.v4AvailableIPs", "number"),
            Column("V6Used", ".status.v6UsingIPs", "number"),
            Column("V6Available", ".status.v6AvailableIPs", "number"),
        ),
    ),
    _kind(
        "vips",
        Vip,
        short_names=("vip",),
        status_subresource=False,
        columns=(
            Column("Namespace", ".spec.namespace"),
            Column("V4IP", ".status.v4ip"),
            Column("V6IP", ".status.v6ip"),
            Column("Mac", ".status.mac"),
            Column("Subnet", ".spec.subnet"),
            Column("Type", ".status.type"),
        ),
    ),
    _kind(
        "vlans",
        Vlan,
        short_names=("vlan",),
        columns=(
            Column("ID", ".spec.id"),
            Column("Provider", ".spec.provider"),
            Column("conflict", ".status.conflict", "boolean"),
        ),
    ),
    _kind(
        "provider-networks",
        ProviderNetwork,
        short_names=("pn",),
        singular="provider-network",
        columns=(
            Column("DefaultInterface", ".spec.defaultInterface"),
            Column("Ready", ".status.ready", "boolean"),
        ),
    ),
    _kind(
        "security-groups",
        SecurityGroup,
        short_names=("sg",),
        singular="security-group",
    ),
    _kind(
        "qos-policies",
        QoSPolicy,
        short_names=("qos",),
        singular="qos-policy",
        columns=(
            Column("Shared", ".spec.shared"),
            Column("BindingType", ".spec.bindingType"),
        ),
    ),
    _kind(
        "vpc-nat-gateways",
        VpcNatGateway,
        short_names=("vpc-nat-gw",),
        singular="vpc-nat-gateway",
        columns=(
            Column("Namespace", ".spec.namespace"),
            Column("Vpc", ".spec.vpc"),
            Column("Subnet", ".spec.subnet"),
            Column("IPs", ".status.lanIp"),
            Column("Replicas", ".spec.replicas", "integer"),
            Column("Ready", ".status.ready", "boolean"),
            Column("BFD", ".spec.bfd.enabled", "boolean"),
            _AGE,
        ),
    ),
    _kind(
        "iptables-eips",
        IptablesEIP,
        short_names=("eip",),
        singular="iptables-eip",
        columns=(
            Column("Namespace", ".spec.namespace"),
            Column("ExternalSubnet", ".spec.externalSubnet"),
            Column("IP", ".status.ip"),
            Column("Mac", ".spec.macAddress"),
            Column("Nat", ".status.nat"),
            Column("NatGwDp", ".spec.natGwDp"),
            Column("Ready", ".status.ready", "boolean"),
        ),
    ),
    _kind(
        "iptables-fip-rules",
        IptablesFIPRule,
        short_names=("fip",),
        singular="iptables-fip-rule",
        columns=(
            Column("Eip", ".spec.eip"),
            Column("V4ip", ".status.v4ip"),
            Column("InternalIp", ".spec.internalIp"),
            Column("V6ip", ".status.v6ip"),
            Column("Ready", ".status.ready", "boolean"),
            Column("NatGwDp", ".status.natGwDp"),
        ),
    ),
    _kind(
        "iptables-dnat-rules",
        IptablesDnatRule,
        short_names=("dnat",),
        singular="iptables-dnat-rule",
        columns=(
            Column("Eip", ".spec.eip"),
            Column("Protocol", ".spec.protocol"),
            Column("V4ip", ".status.v4ip"),
            Column("V6ip", ".status.v6ip"),
            Column("InternalIp", ".spec.internalIp"),
            Column("ExternalPort", ".spec.externalPort"),
            Column("InternalPort", ".spec.internalPort"),
            Column("Type", ".spec.type"),
            Column("NatGwDp", ".status.natGwDp"),
            Column("Ready", ".status.ready", "boolean"),
        ),
    ),
    _kind(
        "iptables-snat-rules",
        IptablesSnatRule,
        short_names=("snat",),
        singular="iptables-snat-rule",
        columns=(
            Column("EIP", ".spec.eip"),
            Column("V4ip", ".status.v4ip"),
            Column("V6ip", ".status.v6ip"),
            Column("InternalCIDR", ".spec.internalCIDR"),
            Column("NatGwDp", ".status.natGwDp"),
            Column("Ready", ".status.ready", "boolean"),
        ),
    ),
    _kind(
        "ovn-eips",
        OvnEip,
        short_names=("oeip",),
        singular="ovn-eip",
        columns=(
            Column("V4IP", ".status.v4Ip"),
            Column("V6IP", ".status.v6Ip"),
            Column("Mac", ".status.macAddress"),
            Column("Type", ".status.type"),
            Column("Nat", ".status.nat"),
            Column("Ready", ".status.ready", "boolean"),
            Column("ExternalSubnet", ".spec.externalSubnet"),
        ),
    ),
    _kind(
        "ovn-fips",
        OvnFip,
        short_names=("ofip",),
        singular="ovn-fip",
        columns=(
            Column("Vpc", ".status.vpc"),
            Column("Type", ".spec.type"),
            Column("V4Eip", ".status.v4Eip"),
            Column("V6Eip", ".status.v6Eip"),
            Column("V4Ip", ".status.v4Ip"),
            Column("V6Ip", ".status.v6Ip"),
            Column("Ready", ".status.ready", "boolean"),
            Column("IpType", ".spec.ipType"),
            Column("IpName", ".spec.ipName"),
        ),
    ),
    _kind(
        "ovn-snat-rules",
        OvnSnatRule,
        short_names=("osnat",),
        singular="ovn-snat-rule",
        columns=(
            Column("Vpc", ".status.vpc"),
            Column("V4Eip", ".status.v4Eip"),
            Column("V6Eip", ".status.v6Eip"),
            Column("V4IpCidr", ".status.v4IpCidr"),
            Column("V6IpCidr", ".status.v6IpCidr"),
            Column("Ready", ".status.ready", "boolean"),
        ),
    ),
    _kind(
        "ovn-dnat-rules",
        OvnDnatRule,
        short_names=("odnat",),
        singular="ovn-dnat-rule",
        columns=(
            Column("Vpc", ".status.vpc"),
            Column("Eip", ".spec.ovnEip"),
            Column("Protocol", ".status.protocol"),
            Column("V4Eip", ".status.v4Eip"),
            Column("V6Eip", ".status.v6Eip"),
            Column("V4Ip", ".status.v4Ip"),
            Column("V6Ip", ".status.v6Ip"),
            Column("InternalPort", ".status.internalPort"),
            Column("ExternalPort", ".status.externalPort"),
            Column("IpName", ".spec.ipName"),
            Column("Ready", ".status.ready", "boolean"),
        ),
    ),
    _kind(
        "switch-lb-rules",
        SwitchLBRule,
        short_names=("slr",),
        singular="switch-lb-rule",
        columns=(
            Column("vip", ".spec.vip"),
            Column("port(s)", ".status.ports"),
            Column("service", ".status.service"),
            Column("age", ".metadata.creationTimestamp", "date"),
        ),
    ),
    _kind(
        "router-lb-rules",
        RouterLBRule,
        short_names=("rlr",),
        singular="router-lb-rule",
        columns=(
            Column("ovnEip", ".spec.ovnEip"),
            Column("vpc", ".spec.vpc"),
            Column("port(s)", ".status.ports"),
            Column("service", ".status.service"),
            Column("age", ".metadata.creationTimestamp", "date"),
        ),
    ),
    _kind(
        "vpc-dnses",
        VpcDns,
        short_names=("vpc-dns",),
        singular="vpc-dns",
        columns=(
            Column("Active", ".status.active", "boolean"),
            Column("Vpc", ".spec.vpc"),
            Column("Subnet", ".spec.subnet"),
            Column("Corefile", ".spec.corefile"),
        ),
    ),
    _kind(
        "vpc-egress-gateways",
        VpcEgressGateway,
        short_names=("vpc-egress-gw", "veg"),
        singular="vpc-egress-gateway",
        namespaced=True,
        scale=Scale(".spec.replicas", ".status.replicas", ".status.labelSelector"),
        columns=(
            Column("Vpc", ".spec.vpc"),
            Column("Replicas", ".spec.replicas", "integer"),
            Column("bfd", ".spec.bfd.enabled", "boolean"),
            Column("External Subnet", ".spec.externalSubnet"),
            Column("Phase", ".status.phase"),
            Column("Ready", ".status.ready", "boolean"),
            Column("Internal IPs", ".status.internalIPs", priority=1),
            Column("External IPs", ".status.externalIPs", priority=1),
            Column("Working Nodes", ".status.workload.nodes", priority=1),
            _AGE,
        ),
    ),
    _kind(
        "dnsnameresolvers",
        DNSNameResolver,
        short_names=("dnr",),
    ),
    _kind(
        "bgp-confs",
        BgpConf,
        singular="bgp-conf",
        status_subresource=False,
    ),
    _kind(
        "evpn-confs",
        EvpnConf,
        singular="evpn-conf",
        status_subresource=False,
    ),
)

KINDS: Mapping[str, KindInfo] = MappingProxyType({info.resource.kind: info for info in _TABLE})

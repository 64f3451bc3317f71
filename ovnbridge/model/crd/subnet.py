"""Subnet: an address range, which is one OVN logical switch (or, with a foreign provider, address management only)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from ovnbridge.model.crd.base import (
    LOWER_CASE,
    BigInt,
    Conditions,
    Int32,
    Object,
    ObjectSchema,
    Rule,
    Status,
    Value,
    doc,
    make_exact,
    names,
)
from ovnbridge.model.crd.core import LabelSelector


class Acl(Value, frozen=True, kw_only=True):
    """One ACL that the user puts on the logical switch."""

    direction: Annotated[
        str, doc("from-lport for traffic that enters the switch from a port, to-lport for traffic to a port.")
    ] = ""
    priority: Annotated[int, doc("Rank among the ACLs, 0 to 32767; the highest matching one applies.")] = 0
    match: Annotated[str, doc("OVN match expression that selects the traffic.")] = ""
    action: Annotated[str, doc("OVN action: allow, allow-related, allow-stateless, drop, reject or pass.")] = ""


class NatOutgoingMatch(Value, frozen=True, kw_only=True, rename=names(src_ips="srcIPs", dst_ips="dstIPs")):
    """Traffic that a NAT rule is about; a missing side matches everything."""

    src_ips: Annotated[str, doc("Source addresses and CIDRs of one family, separated by commas.")] = ""
    dst_ips: Annotated[str, doc("Destination addresses and CIDRs of one family, separated by commas.")] = ""


class NatOutgoingPolicyRule(Value, frozen=True, kw_only=True):
    """An exception to natOutgoing; the first matching rule applies."""

    match: Annotated[NatOutgoingMatch, doc("Traffic that the rule is about.")] = NatOutgoingMatch()
    action: Annotated[str, doc("nat translates the source to the node's address, forward leaves it.")] = ""


class NatOutgoingPolicyRuleStatus(NatOutgoingPolicyRule, frozen=True, kw_only=True, rename=names(rule_id="ruleID")):
    """A NAT rule in force."""

    rule_id: Annotated[str, doc("Identifier of the rule, which names its address sets on the nodes.")] = ""


class U2oFeatures(Value, frozen=True, kw_only=True):
    """Details of the interconnection between underlay and overlay."""

    overlay_only_routing: Annotated[
        bool,
        doc("Route only traffic for overlay subnets through the interconnection; the rest uses the physical gateway."),
    ] = False


_RULES = (
    Rule(
        "!(has(self.natOutgoing) && self.natOutgoing && has(self.externalEgressGateway)"
        " && self.externalEgressGateway != '')",
        "natOutgoing and externalEgressGateway are mutually exclusive",
        ".externalEgressGateway",
    ),
    Rule(
        "!(has(self.logicalGateway) && self.logicalGateway && has(self.u2oInterconnection) && self.u2oInterconnection)",
        "logicalGateway and u2oInterconnection are mutually exclusive",
        ".u2oInterconnection",
    ),
    Rule(
        "!(has(self.u2oFeatures) && has(self.u2oFeatures.overlayOnlyRouting) && self.u2oFeatures.overlayOnlyRouting)"
        " || (has(self.u2oInterconnection) && self.u2oInterconnection && has(self.vlan) && self.vlan != '')",
        "u2oFeatures.overlayOnlyRouting needs u2oInterconnection and vlan",
        ".u2oFeatures",
    ),
    Rule(
        "!(has(self.vlan) && self.vlan != '' && (!has(self.cidrBlock) || self.cidrBlock == ''))"
        " || ((!has(self.gateway) || self.gateway == '') && (!has(self.excludeIps) || size(self.excludeIps) == 0))",
        "a subnet with vlan and without cidrBlock manages no addresses: gateway and excludeIps must be empty",
        ".cidrBlock",
    ),
    Rule(
        "!(has(self.mtu) && self.mtu > 0 && self.mtu < 1280 && has(self.cidrBlock) && self.cidrBlock.contains(':'))",
        "mtu must be at least 1280 when the subnet has an IPv6 CIDR",
        ".mtu",
    ),
)


class SubnetSpec(
    Value,
    frozen=True,
    kw_only=True,
    rename=names(
        enable_dhcp="enableDHCP",
        enable_ipv6_ra="enableIPv6RA",
        ipv6_ra_configs="ipv6RAConfigs",
        allow_ew_traffic="allowEWTraffic",
        policy_routing_table_id="policyRoutingTableID",
        u2o_interconnection_ip="u2oInterconnectionIP",
        enable_external_lb_address="enableExternalLBAddress",
    ),
):
    """What a subnet should be."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(rules=_RULES)

    default: Annotated[bool, doc("Whether pods for which nothing else is said get their address here.")] = False
    vpc: Annotated[str, doc("Vpc that the subnet belongs to; the default VPC when empty and the provider is OVN.")] = ""
    protocol: Annotated[
        str,
        doc(
            "Address families: IPv4, IPv6, Dual, or Mac (no addresses); derived from cidrBlock.",
            enum=["", "IPv4", "IPv6", "Dual", "Mac"],
        ),
    ] = ""
    namespaces: Annotated[tuple[str, ...], doc("Namespaces whose pods get their address here.")] = ()
    namespace_selectors: Annotated[
        tuple[LabelSelector, ...], doc("Namespaces, by label, whose pods get their address here.")
    ] = ()
    cidr_block: Annotated[
        str, doc("Prefix of the subnet; an IPv4 and an IPv6 one, separated by a comma, for Dual.", pattern=LOWER_CASE)
    ] = ""
    gateway: Annotated[
        str,
        doc("Gateway address, one per family; the first usable address when empty.", pattern=LOWER_CASE),
    ] = ""
    exclude_ips: Annotated[
        tuple[str, ...], doc("Addresses and ranges (first..last) that are never given to pods; the gateway is added.")
    ] = ()
    provider: Annotated[
        str,
        doc(
            "Network that the subnet serves: ovn (when empty), <attachment>.<namespace>.ovn for a further OVN "
            "interface, or <attachment>.<namespace> for address management of another plug-in."
        ),
    ] = ""
    gateway_type: Annotated[
        str,
        doc(
            "Where traffic leaves the cluster: distributed (each pod's own node, when empty) or centralized "
            "(gatewayNode).",
            enum=["", "distributed", "centralized"],
        ),
    ] = ""
    gateway_node: Annotated[
        str, doc("Nodes that a centralized subnet's traffic leaves through: node or node:address, separated by commas.")
    ] = ""
    gateway_node_selectors: Annotated[
        tuple[LabelSelector, ...], doc("Gateway nodes by label, instead of gatewayNode.")
    ] = ()
    nat_outgoing: Annotated[
        bool, doc("Translate the source of traffic that leaves the cluster to the node's address.")
    ] = False
    nat_outgoing_policy_rules: Annotated[
        tuple[NatOutgoingPolicyRule, ...], doc("Exceptions to natOutgoing, first match first.")
    ] = ()
    external_egress_gateway: Annotated[
        str,
        doc(
            "External next hop for traffic that leaves the cluster, one per family separated by a comma; "
            "excludes natOutgoing.",
            pattern=LOWER_CASE,
        ),
    ] = ""
    policy_routing_priority: Annotated[Int32, doc("Priority of the ip rules for externalEgressGateway.")] = 0
    policy_routing_table_id: Annotated[
        Int32, doc("Kernel route table for externalEgressGateway; must be the subnet's own.")
    ] = 0
    mtu: Annotated[Int32, doc("MTU of pod interfaces in bytes; derived from the network when 0.")] = 0
    private: Annotated[bool, doc("Refuse traffic from other subnets, except allowSubnets.")] = False
    allow_subnets: Annotated[tuple[str, ...], doc("CIDRs that may reach a private subnet.")] = ()
    vlan: Annotated[str, doc("Vlan that carries the subnet, which makes it an underlay subnet.")] = ""
    vips: Annotated[
        tuple[str, ...], doc("Addresses that move between pods (VRRP); each becomes a port of type virtual.")
    ] = ()
    logical_gateway: Annotated[
        bool, doc("Let the logical router, not the physical network, be the gateway of an underlay subnet.")
    ] = False
    disable_gateway_check: Annotated[bool, doc("Start pods without checking that the gateway answers.")] = False
    disable_inter_connection: Annotated[bool, doc("Do not advertise the subnet to other clusters (OVN-IC).")] = False
    enable_dhcp: Annotated[bool, doc("Answer DHCP requests of the pods.")] = False
    dhcp_v4_options: Annotated[str, doc("DHCPv4 options as name=value pairs separated by commas.")] = ""
    dhcp_v6_options: Annotated[str, doc("DHCPv6 options as name=value pairs separated by commas.")] = ""
    enable_ipv6_ra: Annotated[bool, doc("Send IPv6 router advertisements.")] = False
    ipv6_ra_configs: Annotated[str, doc("Router advertisement options as name=value pairs separated by commas.")] = ""
    acls: Annotated[tuple[Acl, ...], doc("ACLs on the logical switch.")] = ()
    allow_ew_traffic: Annotated[
        bool, doc("Allow traffic between the subnet's members whatever acls say (priority 1900).")
    ] = False
    u2o_interconnection: Annotated[bool, doc("Connect an underlay subnet to the VPC's router.")] = False
    u2o_interconnection_ip: Annotated[
        str, doc("Address of the router in the underlay subnet, one per family; allocated when empty.")
    ] = ""
    u2o_features: Annotated[U2oFeatures, doc("Details of the underlay interconnection.")] = U2oFeatures()
    enable_lb: Annotated[
        bool | None, doc("Whether services work for the subnet's pods; the controller's setting when absent.")
    ] = None
    enable_ecmp: Annotated[
        bool, doc("Use all gateway nodes of a centralized subnet at once instead of one at a time.")
    ] = False
    enable_multicast_snoop: Annotated[bool, doc("Send multicast only to ports that joined the group.")] = False
    enable_external_lb_address: Annotated[
        bool, doc("Let load balancer addresses of services (MetalLB) come from this underlay subnet.")
    ] = False
    route_table: Annotated[str, doc("Route table of the router that the subnet uses; the main table when empty.")] = ""
    node_network: Annotated[
        str, doc("Node network (annotation ovn.kubernetes.io/node_networks) that tunnels of the subnet use.")
    ] = ""


_STATUS_NAMES = names(
    v4_available_ips="v4availableIPs",
    v4_available_ip_range="v4availableIPrange",
    v4_using_ips="v4usingIPs",
    v4_using_ip_range="v4usingIPrange",
    v6_available_ips="v6availableIPs",
    v6_available_ip_range="v6availableIPrange",
    v6_using_ips="v6usingIPs",
    v6_using_ip_range="v6usingIPrange",
    dhcp_v4_options_uuid="dhcpV4OptionsUUID",
    dhcp_v6_options_uuid="dhcpV6OptionsUUID",
    u2o_interconnection_ip="u2oInterconnectionIP",
    u2o_interconnection_mac="u2oInterconnectionMAC",
    u2o_interconnection_vpc="u2oInterconnectionVPC",
    mcast_querier_ip="mcastQuerierIP",
    mcast_querier_mac="mcastQuerierMAC",
)


class SubnetStatus(Status, frozen=True, kw_only=True, rename=_STATUS_NAMES):
    """What a subnet is."""

    conditions: Annotated[Conditions, doc("State of the subnet, one entry for each aspect.")] = ()
    v4_available_ips: Annotated[BigInt, doc("Number of IPv4 addresses that can still be given out.")] = 0
    v4_available_ip_range: Annotated[str, doc("IPv4 addresses and ranges (first-last) that can be given out.")] = ""
    v4_using_ips: Annotated[BigInt, doc("Number of IPv4 addresses in use.")] = 0
    v4_using_ip_range: Annotated[str, doc("IPv4 addresses and ranges (first-last) in use.")] = ""
    v6_available_ips: Annotated[BigInt, doc("Number of IPv6 addresses that can still be given out.")] = 0
    v6_available_ip_range: Annotated[str, doc("IPv6 addresses and ranges (first-last) that can be given out.")] = ""
    v6_using_ips: Annotated[BigInt, doc("Number of IPv6 addresses in use.")] = 0
    v6_using_ip_range: Annotated[str, doc("IPv6 addresses and ranges (first-last) in use.")] = ""
    activate_gateway: Annotated[str, doc("Node that a centralized subnet's traffic leaves through now.")] = ""
    dhcp_v4_options_uuid: Annotated[str, doc("UUID of the subnet's DHCPv4 options in OVN.")] = ""
    dhcp_v6_options_uuid: Annotated[str, doc("UUID of the subnet's DHCPv6 options in OVN.")] = ""
    u2o_interconnection_ip: Annotated[str, doc("Address of the router in the underlay subnet.")] = ""
    u2o_interconnection_mac: Annotated[str, doc("MAC address of the router in the underlay subnet.")] = ""
    u2o_interconnection_vpc: Annotated[str, doc("Vpc that the underlay subnet is connected to.")] = ""
    nat_outgoing_policy_rules: Annotated[
        tuple[NatOutgoingPolicyRuleStatus, ...], doc("NAT rules in force, in order.")
    ] = ()
    mcast_querier_ip: Annotated[str, doc("Source address of the multicast querier.")] = ""
    mcast_querier_mac: Annotated[str, doc("Source MAC address of the multicast querier.")] = ""

    def __post_init__(self) -> None:
        """Counts that came as floats or quoted become ints."""
        make_exact(self, "v4_available_ips", "v4_using_ips", "v6_available_ips", "v6_using_ips")


class Subnet(Object, frozen=True, kw_only=True):
    """An address range of a VPC and the logical switch that serves it."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(
        rules=(
            Rule(
                "!has(self.spec) || !has(self.spec.vpc) || self.spec.vpc != self.metadata.name",
                "a subnet must not have the name of its VPC",
                ".spec.vpc",
            ),
        )
    )

    spec: SubnetSpec = SubnetSpec()
    status: SubnetStatus = SubnetStatus()

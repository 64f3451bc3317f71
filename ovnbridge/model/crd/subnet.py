"""Subnet: an address range, which is one OVN logical switch (or, with a foreign provider, address management only)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from ovnbridge.model.crd import subnet_rules
from ovnbridge.model.crd.base import (
    BigInt,
    Conditions,
    Int32,
    Object,
    ObjectSchema,
    Status,
    Value,
    doc,
    make_exact,
    names,
)
from ovnbridge.model.crd.cel import LOWER_CASE, MANY, PAIR_LENGTH
from ovnbridge.model.crd.core import LabelSelector


class Acl(Value, frozen=True, kw_only=True):
    """One ACL that the user puts on the logical switch."""

    direction: Annotated[
        str,
        doc(
            "from-lport for traffic that enters the switch from a port, to-lport for traffic to a port.",
            required=True,
            enum=["from-lport", "to-lport"],
        ),
    ] = ""
    priority: Annotated[
        int, doc("Rank among the ACLs, 0 to 32767; the highest matching one applies.", minimum=0, maximum=32767)
    ] = 0
    match: Annotated[str, doc("OVN match expression that selects the traffic.", required=True, minLength=1)] = ""
    action: Annotated[
        str,
        doc(
            "What is done with the traffic: allow, allow-related (also the replies), allow-stateless, drop, reject "
            "(drop, and say so to the sender) or pass (decide in the next tier).",
            required=True,
            enum=["allow", "allow-related", "allow-stateless", "drop", "reject", "pass"],
        ),
    ] = ""


class NatOutgoingMatch(Value, frozen=True, kw_only=True, rename=names(src_ips="srcIPs", dst_ips="dstIPs")):
    """Traffic that a NAT rule is about; a missing side matches everything."""

    src_ips: Annotated[str, doc("Source addresses and CIDRs of one family, separated by commas.")] = ""
    dst_ips: Annotated[str, doc("Destination addresses and CIDRs of the same family, separated by commas.")] = ""


class NatOutgoing(Value, frozen=True, kw_only=True):
    """An exception to natOutgoing; the first matching rule applies."""

    match: Annotated[NatOutgoingMatch, doc("Traffic that the rule is about.")] = NatOutgoingMatch()
    action: Annotated[str, doc("nat translates the source to the node's address, forward leaves it.")] = ""


class NatOutgoingPolicyRule(NatOutgoing, frozen=True, kw_only=True):
    """An exception to natOutgoing that the user wants."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(narrowed={"action": {"enum": ["", "nat", "forward"]}})


class NatOutgoingPolicyRuleStatus(NatOutgoing, frozen=True, kw_only=True, rename=names(rule_id="ruleID")):
    """A NAT rule in force."""

    rule_id: Annotated[str, doc("Identifier of the rule, which names its address sets on the nodes.")] = ""


class U2oFeatures(Value, frozen=True, kw_only=True):
    """Details of the interconnection between underlay and overlay."""

    overlay_only_routing: Annotated[
        bool,
        doc("Route only traffic for overlay subnets through the interconnection; the rest uses the physical gateway."),
    ] = False


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

    schema: ClassVar[ObjectSchema] = ObjectSchema(rules=subnet_rules.SPEC)

    default: Annotated[
        bool,
        doc(
            "Whether pods for which nothing else is said get their address here; at most one subnet of a VPC, and in "
            "the default VPC the controller's default subnet.",
            defaulted=True,
        ),
    ] = False
    vpc: Annotated[str, doc("Vpc that the subnet belongs to; the default VPC when empty and the provider is OVN.")] = ""
    protocol: Annotated[
        str,
        doc(
            "Address families: IPv4, IPv6, Dual, or Mac (no addresses); derived from cidrBlock.",
            enum=["", "IPv4", "IPv6", "Dual", "Mac"],
        ),
    ] = ""
    namespaces: Annotated[
        tuple[str, ...],
        doc("Namespaces whose pods get their address here; those of a custom VPC must be among its namespaces."),
    ] = ()
    namespace_selectors: Annotated[
        tuple[LabelSelector, ...], doc("Namespaces, by label, whose pods get their address here.")
    ] = ()
    cidr_block: Annotated[
        str,
        doc(
            "Prefix of the subnet, or an IPv4 and an IPv6 one separated by a comma; host bits are cut off. Only a "
            "subnet with vlan may have none, and manages no addresses then.",
            rules=subnet_rules.CIDR_BLOCK,
            maxLength=PAIR_LENGTH,
        ),
    ] = ""
    gateway: Annotated[
        str,
        doc(
            "Gateway address, one per family separated by a comma; the first usable address of each CIDR when empty.",
            rules=(LOWER_CASE,),
            maxLength=PAIR_LENGTH,
        ),
    ] = ""
    exclude_ips: Annotated[
        tuple[Annotated[str, subnet_rules.EXCLUDED], ...],
        doc(
            "Addresses and ranges (first..last) that a pod gets only if it asks for them; the gateway is added.",
            maxItems=MANY,
        ),
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
        str,
        doc(
            "Nodes that a centralized subnet's traffic leaves through, separated by commas, the first ready one unless "
            "enableEcmp is on; node:address also says the source address there."
        ),
    ] = ""
    gateway_node_selectors: Annotated[
        tuple[LabelSelector, ...], doc("Gateway nodes by label, instead of gatewayNode or after its nodes.")
    ] = ()
    nat_outgoing: Annotated[
        bool, doc("Translate the source of traffic that leaves the cluster to the node's address.", defaulted=True)
    ] = False
    nat_outgoing_policy_rules: Annotated[
        tuple[NatOutgoingPolicyRule, ...], doc("Exceptions to natOutgoing, first match first.")
    ] = ()
    external_egress_gateway: Annotated[
        str,
        doc(
            "External next hop for traffic that leaves the cluster, one per family separated by a comma; "
            "excludes natOutgoing.",
            rules=subnet_rules.EGRESS_GATEWAY,
            maxLength=PAIR_LENGTH,
        ),
    ] = ""
    policy_routing_priority: Annotated[
        Int32, doc("Priority of the nodes' ip rules for externalEgressGateway.", minimum=0)
    ] = 0
    policy_routing_table_id: Annotated[
        Int32,
        doc("Route table on the nodes for externalEgressGateway; no other subnet with one may have it.", minimum=0),
    ] = 0
    mtu: Annotated[
        Int32,
        doc(
            "MTU of pod interfaces in bytes, at least 1280 for IPv6; that of the node's interface, less the tunnel's "
            "headers (geneve 100, vxlan 50, stt 72) for overlay, when 0.",
            minimum=0,
        ),
    ] = 0
    private: Annotated[
        bool, doc("Refuse traffic from other subnets, except allowSubnets and nodes.", defaulted=True)
    ] = False
    allow_subnets: Annotated[
        tuple[Annotated[str, subnet_rules.ALLOWED], ...],
        doc("CIDRs that may exchange traffic with a private subnet.", maxItems=MANY),
    ] = ()
    vlan: Annotated[str, doc("Vlan that carries the subnet, which makes it an underlay subnet.")] = ""
    vips: Annotated[
        tuple[Annotated[str, subnet_rules.VIP], ...],
        doc(
            "Addresses in cidrBlock that move between pods (VRRP); each becomes a port of type virtual.",
            maxItems=MANY,
        ),
    ] = ()
    logical_gateway: Annotated[
        bool, doc("Let the logical router, not the physical network, be the gateway of an underlay subnet.")
    ] = False
    disable_gateway_check: Annotated[bool, doc("Start pods without checking that the gateway answers.")] = False
    disable_inter_connection: Annotated[bool, doc("Do not advertise the subnet to other clusters (OVN-IC).")] = False
    enable_dhcp: Annotated[bool, doc("Answer DHCP requests of the pods.")] = False
    dhcp_v4_options: Annotated[
        str,
        doc(
            "DHCPv4 options as name=value pairs separated by commas, with ; between addresses of dns_server; "
            "lease_time, router, server_id, server_mac and mtu are filled in."
        ),
    ] = ""
    dhcp_v6_options: Annotated[
        str,
        doc(
            "DHCPv6 options as name=value pairs separated by commas, with ; between addresses of dns_server; server_id "
            "is filled in."
        ),
    ] = ""
    enable_ipv6_ra: Annotated[bool, doc("Send IPv6 router advertisements from the router's port.")] = False
    ipv6_ra_configs: Annotated[
        str,
        doc(
            "Router advertisement options as name=value pairs separated by commas; when empty "
            "address_mode=dhcpv6_stateful, max_interval=30, min_interval=5, send_periodic=true."
        ),
    ] = ""
    acls: Annotated[tuple[Acl, ...], doc("ACLs on the logical switch, in tier 2, besides those of private.")] = ()
    allow_ew_traffic: Annotated[
        bool,
        doc(
            "Allow traffic between the subnet's members at priority 1900, above acls with a lower one; only together "
            "with acls."
        ),
    ] = False
    u2o_interconnection: Annotated[
        bool, doc("Connect an underlay subnet to the VPC's router; without meaning when there is no vlan.")
    ] = False
    u2o_interconnection_ip: Annotated[
        str,
        doc(
            "Address of the router in the underlay subnet, one per family separated by a comma; allocated when empty.",
            maxLength=PAIR_LENGTH,
        ),
    ] = ""
    u2o_features: Annotated[U2oFeatures, doc("Details of the underlay interconnection.")] = U2oFeatures()
    enable_lb: Annotated[
        bool | None,
        doc(
            "Whether the VPC's load balancers, so Services, are on the switch; the controller's --enable-lb when "
            "absent."
        ),
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
    activate_gateway: Annotated[
        str, doc("Node that a centralized subnet's traffic leaves through now; not kept with enableEcmp.")
    ] = ""
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

    schema: ClassVar[ObjectSchema] = ObjectSchema(rules=(subnet_rules.NAME,))

    spec: SubnetSpec = SubnetSpec()
    status: SubnetStatus = SubnetStatus()

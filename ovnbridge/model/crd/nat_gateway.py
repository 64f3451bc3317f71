"""VpcNatGateway and the Iptables* rules: NAT done in gateway pods of a VPC."""

from __future__ import annotations

from typing import Annotated

from ovnbridge.model.crd.base import Conditions, Int32, Object, Status, Value, doc, names
from ovnbridge.model.crd.core import Affinity, Toleration, Workload


class GatewayRoute(Value, frozen=True, kw_only=True, rename=names(next_hop_ip="nextHopIP")):
    """One route of the gateway pod."""

    cidr: Annotated[str, doc("Destination CIDR.")] = ""
    next_hop_ip: Annotated[str, doc("Next hop; the word gateway means the subnet's gateway.")] = ""


class BgpSpeaker(Value, frozen=True, kw_only=True):
    """The BGP speaker that announces the gateway's external addresses."""

    enabled: Annotated[bool, doc("Whether a speaker runs in the gateway pod.")] = False
    asn: Annotated[Int32, doc("Autonomous system number of the speaker.")] = 0
    remote_asn: Annotated[Int32, doc("Autonomous system number of the neighbours.")] = 0
    neighbors: Annotated[tuple[str, ...], doc("Addresses of the neighbours.")] = ()
    hold_time: Annotated[str, doc("Silence after which a neighbour counts as down, a duration such as 90s.")] = ""
    router_id: Annotated[str, doc("BGP identifier of the speaker, an IPv4 address.")] = ""
    password: Annotated[str, doc("TCP MD5 password of the sessions; none when empty.")] = ""
    enable_graceful_restart: Annotated[bool, doc("Whether neighbours keep the routes while the speaker restarts.")] = (
        False
    )
    extra_args: Annotated[tuple[str, ...], doc("Further command-line arguments of the speaker.")] = ()


class GatewayBfd(Value, frozen=True, kw_only=True, rename=names(min_rx="minRX", min_tx="minTX")):
    """BFD between the gateway pods and the VPC's router."""

    enabled: Annotated[
        bool, doc("Whether a pod that does not answer is skipped; needs the VPC's bfdPort.", defaulted=True)
    ] = False
    min_rx: Annotated[
        Int32,
        doc("Shortest interval between received packets, in ms.", defaulted=True, minimum=1, maximum=3600000),
    ] = 1000
    min_tx: Annotated[
        Int32, doc("Shortest interval between sent packets, in ms.", defaulted=True, minimum=1, maximum=3600000)
    ] = 1000
    multiplier: Annotated[
        Int32, doc("Packets missed in a row until the peer counts as down.", defaulted=True, minimum=1, maximum=255)
    ] = 3


_GATEWAY_NAMES = names(internal_cidrs="internalCIDRs", no_default_eip="noDefaultEIP")


class VpcNatGatewaySpec(Value, frozen=True, kw_only=True, rename=_GATEWAY_NAMES):
    """Where the gateway runs and what it connects."""

    namespace: Annotated[str, doc("Namespace of the gateway pods; the controller's when empty. Must not change.")] = ""
    vpc: Annotated[str, doc("Vpc whose traffic the gateway translates.")] = ""
    subnet: Annotated[str, doc("Subnet of the VPC that the gateway pods are attached to.")] = ""
    external_subnets: Annotated[
        tuple[str, ...],
        doc("External subnets that the gateway pods are attached to; ovn-vpc-external-network when empty."),
    ] = ()
    lan_ip: Annotated[str, doc("Address of the gateway pod in the subnet; only with one replica.")] = ""
    replicas: Annotated[
        Int32,
        doc(
            "Number of gateway pods; more than one share the traffic (and the workload is a Deployment).",
            defaulted=True,
            minimum=1,
        ),
    ] = 1
    selector: Annotated[tuple[str, ...], doc("Labels (key: value) of the nodes that the gateway pods may run on.")] = ()
    tolerations: Annotated[tuple[Toleration, ...], doc("Node taints that the gateway pods tolerate.")] = ()
    affinity: Annotated[Affinity | None, doc("Scheduling constraints of the gateway pods.")] = None
    qos_policy: Annotated[str, doc("QoSPolicy (shared, for NATGW) that limits the gateway.")] = ""
    bgp_speaker: Annotated[BgpSpeaker, doc("BGP speaker that announces the external addresses.")] = BgpSpeaker()
    bfd: Annotated[GatewayBfd, doc("BFD between the gateway pods and the VPC's router.")] = GatewayBfd()
    internal_subnets: Annotated[
        tuple[str, ...], doc("Subnets whose outgoing traffic is routed to the gateway pods; with several replicas.")
    ] = ()
    internal_cidrs: Annotated[
        tuple[str, ...], doc("CIDRs whose outgoing traffic is routed to the gateway pods, besides internalSubnets.")
    ] = ()
    routes: Annotated[tuple[GatewayRoute, ...], doc("Further routes of the gateway pods.")] = ()
    no_default_eip: Annotated[
        bool, doc("Do not take an address of the external subnet for the gateway pod itself.")
    ] = False
    annotations: Annotated[dict[str, str], doc("Annotations of the gateway pods, set when they are created.")] = {}


class VpcNatGatewayStatus(Status, frozen=True, kw_only=True, rename=_GATEWAY_NAMES):
    """The gateway as it runs."""

    qos_policy: Annotated[str, doc("QoSPolicy in force.")] = ""
    external_subnets: Annotated[tuple[str, ...], doc("External subnets that the gateway pods are attached to.")] = ()
    selector: Annotated[tuple[str, ...], doc("Labels of the nodes that the gateway pods may run on.")] = ()
    replicas: Annotated[Int32, doc("Number of gateway pods.")] = 0
    ready: Annotated[bool, doc("Whether all gateway pods work.")] = False
    lan_ip: Annotated[str, doc("Addresses of the gateway pods in the subnet, separated by commas.")] = ""
    tolerations: Annotated[tuple[Toleration, ...], doc("Node taints that the gateway pods tolerate.")] = ()
    affinity: Annotated[Affinity | None, doc("Scheduling constraints of the gateway pods.")] = None
    workload: Annotated[Workload, doc("Workload that runs the gateway pods.")] = Workload()
    internal_subnets: Annotated[
        tuple[str, ...], doc("Subnets whose outgoing traffic is routed to the gateway pods.")
    ] = ()
    internal_cidrs: Annotated[tuple[str, ...], doc("CIDRs whose outgoing traffic is routed to the gateway pods.")] = ()


class VpcNatGateway(Object, frozen=True, kw_only=True):
    """Pods that translate addresses between a VPC and external networks."""

    spec: VpcNatGatewaySpec = VpcNatGatewaySpec()
    status: VpcNatGatewayStatus = VpcNatGatewayStatus()


_RULE_NAMES = names(v4_ip="v4ip", v6_ip="v6ip", internal_cidr="internalCIDR")


class IptablesEIPSpec(Value, frozen=True, kw_only=True, rename=_RULE_NAMES):
    """Which external address to reserve, on which gateway."""

    v4_ip: Annotated[str, doc("IPv4 address; allocated when empty.")] = ""
    v6_ip: Annotated[str, doc("IPv6 address; allocated when empty.")] = ""
    mac_address: Annotated[str, doc("MAC address; allocated when empty.")] = ""
    nat_gw_dp: Annotated[str, doc("VpcNatGateway that holds the address.")] = ""
    qos_policy: Annotated[str, doc("QoSPolicy that limits the address.")] = ""
    external_subnet: Annotated[str, doc("External subnet of the address; ovn-vpc-external-network when empty.")] = ""
    namespace: Annotated[str, doc("Namespace of the gateway pods; the controller's when empty.")] = ""


class IptablesEIPStatus(Status, frozen=True, kw_only=True):
    """The external address as it is."""

    conditions: Annotated[Conditions, doc("State of the address, one entry for each aspect.")] = ()
    ready: Annotated[bool, doc("Whether the gateway pods have the address.")] = False
    ip: Annotated[str, doc("IPv4 address in use.")] = ""
    nat: Annotated[str, doc("Kinds of rules that use the address (fip, snat, dnat), separated by commas.")] = ""
    redo: Annotated[str, doc("Start time of the gateway pod on which the address must be set up again.")] = ""
    qos_policy: Annotated[str, doc("QoSPolicy in force.")] = ""


class IptablesEIP(Object, frozen=True, kw_only=True):
    """An external address of a NAT gateway."""

    spec: IptablesEIPSpec = IptablesEIPSpec()
    status: IptablesEIPStatus = IptablesEIPStatus()


class IptablesRuleStatus(Status, frozen=True, kw_only=True, rename=_RULE_NAMES):
    """What the statuses of all NAT rules have in common."""

    conditions: Annotated[Conditions, doc("State of the rule, one entry for each aspect.")] = ()
    ready: Annotated[bool, doc("Whether the gateway pods have the rule.")] = False
    v4_ip: Annotated[str, doc("External IPv4 address.")] = ""
    v6_ip: Annotated[str, doc("External IPv6 address.")] = ""
    nat_gw_dp: Annotated[str, doc("VpcNatGateway that has the rule.")] = ""
    redo: Annotated[str, doc("Start time of the gateway pod on which the rule must be set up again.")] = ""


class IptablesFIPRuleSpec(Value, frozen=True, kw_only=True):
    """Which internal address an external one stands for."""

    eip: Annotated[str, doc("IptablesEIP whose address is the external one.")] = ""
    internal_ip: Annotated[str, doc("Internal address.")] = ""


class IptablesFIPRuleStatus(IptablesRuleStatus, frozen=True, kw_only=True):
    """The translation in force."""

    internal_ip: Annotated[str, doc("Internal address.")] = ""


class IptablesFIPRule(Object, frozen=True, kw_only=True):
    """A floating address of a NAT gateway: one external address stands for one internal address."""

    spec: IptablesFIPRuleSpec = IptablesFIPRuleSpec()
    status: IptablesFIPRuleStatus = IptablesFIPRuleStatus()


class IptablesDnatRuleSpec(Value, frozen=True, kw_only=True):
    """Which external port leads to which internal address and port."""

    eip: Annotated[str, doc("IptablesEIP whose address is the external one.")] = ""
    external_port: Annotated[str, doc("Port on the external address, 1 to 65535.")] = ""
    protocol: Annotated[str, doc("tcp or udp.")] = ""
    internal_ip: Annotated[str, doc("Internal address.")] = ""
    internal_port: Annotated[str, doc("Port on the internal address, 1 to 65535.")] = ""
    type: Annotated[
        str,
        doc(
            "Whether the external port leads to this address alone (exclusive) or new connections are spread over "
            "all rules with the same port (share).",
            defaulted=True,
            enum=["exclusive", "share"],
        ),
    ] = "exclusive"


class IptablesDnatRuleStatus(IptablesRuleStatus, frozen=True, kw_only=True):
    """The translation in force."""

    protocol: Annotated[str, doc("tcp or udp.")] = ""
    internal_ip: Annotated[str, doc("Internal address.")] = ""
    internal_port: Annotated[str, doc("Port on the internal address.")] = ""
    external_port: Annotated[str, doc("Port on the external address.")] = ""


class IptablesDnatRule(Object, frozen=True, kw_only=True):
    """Port forwarding of a NAT gateway."""

    spec: IptablesDnatRuleSpec = IptablesDnatRuleSpec()
    status: IptablesDnatRuleStatus = IptablesDnatRuleStatus()


class IptablesSnatRuleSpec(Value, frozen=True, kw_only=True, rename=_RULE_NAMES):
    """Whose source address is translated, and to which."""

    eip: Annotated[str, doc("IptablesEIP whose address replaces the source.")] = ""
    internal_cidr: Annotated[str, doc("Internal address or CIDR that is translated.")] = ""


class IptablesSnatRuleStatus(IptablesRuleStatus, frozen=True, kw_only=True, rename=_RULE_NAMES):
    """The translation in force."""

    internal_cidr: Annotated[str, doc("Internal address or CIDR.")] = ""


class IptablesSnatRule(Object, frozen=True, kw_only=True):
    """Source translation of a NAT gateway."""

    spec: IptablesSnatRuleSpec = IptablesSnatRuleSpec()
    status: IptablesSnatRuleStatus = IptablesSnatRuleStatus()

"""Vpc: an isolated address space, which is one OVN logical router and the subnets attached to it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from ovnbridge.model.crd.base import Conditions, Object, ObjectSchema, Rule, Status, Value, doc, names
from ovnbridge.model.crd.cel import (
    ADDRESS,
    ADDRESS_LENGTH,
    ADDRESS_OR_CIDR,
    MANY,
    PAIR_LENGTH,
    address_or_cidr,
    is_cidr,
    on,
    one_or_two,
    said,
)
from ovnbridge.model.crd.core import LabelSelector


class StaticRoute(Value, frozen=True, kw_only=True, rename=names(next_hop_ip="nextHopIP")):
    """One static route of the router."""

    policy: Annotated[
        str,
        doc(
            "What the prefix is matched with: policyDst (destination, when empty) or policySrc (source).",
            enum=["", "policyDst", "policySrc"],
        ),
    ] = ""
    cidr: Annotated[
        str,
        doc(
            "Prefix that the route is for: a CIDR or a single address.",
            required=True,
            rules=(ADDRESS_OR_CIDR,),
            maxLength=ADDRESS_LENGTH,
        ),
    ] = ""
    next_hop_ip: Annotated[
        str,
        doc(
            "Address that matching traffic is sent to; several routes for one prefix share its traffic.",
            required=True,
            rules=(ADDRESS,),
            maxLength=ADDRESS_LENGTH,
        ),
    ] = ""
    ecmp_mode: Annotated[
        str,
        doc(
            "ecmp_symmetric_reply: replies go back over the next hop that the request came from, as they do with every "
            "bfdId; without bfdId it has no effect."
        ),
    ] = ""
    bfd_id: Annotated[str, doc("UUID of the OVN BFD session that must be up for the route to be used.")] = ""
    route_table: Annotated[str, doc("Route table of the router; the main table when empty.")] = ""


class PolicyRoute(Value, frozen=True, kw_only=True, rename=names(next_hop_ip="nextHopIP")):
    """One routing policy of the router, evaluated before its routes."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(
        rules=(
            # Each one an address, which would cost too much to look at here.
            Rule(
                f"!(has(self.action) && self.action == 'reroute') || {said('nextHopIP')}",
                "reroute needs nextHopIP: addresses separated by commas",
                ".nextHopIP",
            ),
        )
    )

    priority: Annotated[
        int,
        doc(
            "Rank among the policies, 0 to 32767; the highest matching one applies. The controller's own are between "
            "29000 and 31000.",
            minimum=0,
            maximum=32767,
        ),
    ] = 0
    match: Annotated[str, doc("OVN match expression that selects the traffic.")] = ""
    action: Annotated[
        str,
        doc("What is done with matching traffic: allow, drop or reroute.", enum=["allow", "drop", "reroute"]),
    ] = ""
    next_hop_ip: Annotated[str, doc("Next hops for reroute, separated by commas; ignored otherwise.")] = ""


class VpcPeering(Value, frozen=True, kw_only=True, rename=names(local_connect_ip="localConnectIP")):
    """A direct link to another VPC's router."""

    remote_vpc: Annotated[str, doc("Vpc at the other end, which must declare the link as well.", required=True)] = ""
    local_connect_ip: Annotated[
        str,
        doc(
            "Address of this end with its prefix length; one per family, separated by a comma.",
            required=True,
            rules=(
                Rule(
                    one_or_two("self", is_cidr),
                    "must be addresses with a prefix length (10.0.0.1/30), one per family, separated by a comma",
                ),
            ),
            maxLength=PAIR_LENGTH,
        ),
    ] = ""


class BfdPort(Value, frozen=True, kw_only=True):
    """The router port that BFD sessions of egress and NAT gateways end on."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(
        rules=(
            Rule(
                f"!{on('enabled')} || ({said('ip')} && {one_or_two('self.ip', address_or_cidr)})",
                "bfdPort needs ip: an address, one per family separated by a comma",
                ".ip",
            ),
        )
    )

    enabled: Annotated[bool, doc("Whether the router has a BFD port.", defaulted=True)] = False
    ip: Annotated[str, doc("Address of the port; one per family, separated by a comma.", maxLength=PAIR_LENGTH)] = ""
    node_selector: Annotated[
        LabelSelector | None, doc("Nodes that may host the port; when absent, the first three that are ready.")
    ] = None


class VpcSpec(Value, frozen=True, kw_only=True):
    """What a VPC should be."""

    default_subnet: Annotated[
        str, doc("Subnet for pods of the VPC's namespaces for which nothing more specific is said.")
    ] = ""
    namespaces: Annotated[
        tuple[str, ...], doc("Namespaces bound to the VPC: their pods get addresses of its subnets.")
    ] = ()
    static_routes: Annotated[tuple[StaticRoute, ...], doc("Static routes of the router.", maxItems=MANY)] = ()
    policy_routes: Annotated[tuple[PolicyRoute, ...], doc("Routing policies of the router.")] = ()
    vpc_peerings: Annotated[tuple[VpcPeering, ...], doc("Links to other VPCs.", maxItems=MANY)] = ()
    enable_external: Annotated[
        bool, doc("Attach the router to extraExternalSubnets, or to the default external subnet when there are none.")
    ] = False
    extra_external_subnets: Annotated[
        tuple[str, ...],
        doc(
            "External (underlay) subnets that the router is attached to instead of the default one; with "
            "enableExternal."
        ),
    ] = ()
    enable_bfd: Annotated[
        bool,
        doc(
            "BFD with the gateway of the default external subnet: the router's port there moves to another node when "
            "its node loses the gateway. OVN asks the gateway as long as a static route names the session (bfdId)."
        ),
    ] = False
    bfd_port: Annotated[BfdPort | None, doc("Router port for the BFD sessions of egress and NAT gateways.")] = None


class BfdPortStatus(Status, frozen=True, kw_only=True):
    """The BFD port as it is."""

    ip: Annotated[str, doc("Addresses of the port, separated by commas.")] = ""
    name: Annotated[str, doc("Name of the logical router port.")] = ""
    nodes: Annotated[tuple[str, ...], doc("Nodes that may host the port.")] = ()


class VpcStatus(Status, frozen=True, kw_only=True):
    """What a VPC is."""

    conditions: Annotated[Conditions, doc("State of the VPC, one entry for each aspect.")] = ()
    standby: Annotated[bool, doc("Whether the router exists, so that subnets can be attached.")] = False
    default: Annotated[bool, doc("Whether this is the cluster's default VPC.")] = False
    default_logical_switch: Annotated[str, doc("Subnet that pods of the VPC get by default.")] = ""
    router: Annotated[str, doc("Name of the logical router.")] = ""
    tcp_load_balancer: Annotated[str, doc("Load balancer for TCP services.")] = ""
    udp_load_balancer: Annotated[str, doc("Load balancer for UDP services.")] = ""
    sctp_load_balancer: Annotated[str, doc("Load balancer for SCTP services.")] = ""
    tcp_session_load_balancer: Annotated[str, doc("Load balancer for TCP services with session affinity.")] = ""
    udp_session_load_balancer: Annotated[str, doc("Load balancer for UDP services with session affinity.")] = ""
    sctp_session_load_balancer: Annotated[str, doc("Load balancer for SCTP services with session affinity.")] = ""
    subnets: Annotated[tuple[str, ...], doc("Subnets attached to the router.")] = ()
    vpc_peerings: Annotated[tuple[str, ...], doc("VPCs that the router is linked to.")] = ()
    enable_external: Annotated[bool, doc("Whether the router is attached to an external subnet.")] = False
    extra_external_subnets: Annotated[
        tuple[str, ...], doc("Those of the spec's extraExternalSubnets that the router is attached to.")
    ] = ()
    enable_bfd: Annotated[bool, doc("Whether BFD watches the default external next hops.")] = False
    bfd_port: Annotated[BfdPortStatus, doc("The router port for BFD; empty when there is none.")] = BfdPortStatus()


class Vpc(Object, frozen=True, kw_only=True):
    """An isolated address space with its own logical router."""

    spec: VpcSpec = VpcSpec()
    status: VpcStatus = VpcStatus()

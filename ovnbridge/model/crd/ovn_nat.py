"""OvnEip, OvnFip, OvnSnatRule, OvnDnatRule: external addresses and NAT done by the VPC's own logical router."""

from __future__ import annotations

from typing import Annotated

from ovnbridge.model.crd.base import Conditions, Object, Status, Value, doc


class OvnEipSpec(Value, frozen=True, kw_only=True):
    """Which external address to reserve, and for what."""

    external_subnet: Annotated[
        str,
        doc(
            "External (underlay) subnet that the address is taken from; the controller's --external-gateway-switch "
            "when "
            "empty."
        ),
    ] = ""
    v4_ip: Annotated[str, doc("IPv4 address; allocated when empty.")] = ""
    v6_ip: Annotated[str, doc("IPv6 address; allocated when empty.")] = ""
    mac_address: Annotated[str, doc("MAC address; allocated when empty.")] = ""
    type: Annotated[
        str,
        doc(
            "Use of the address: nat (NAT rules, when empty), lrp (a router port) or lsp (a node's external gateway "
            "port).",
            enum=["", "nat", "lrp", "lsp"],
        ),
    ] = ""


class OvnEipStatus(Status, frozen=True, kw_only=True):
    """The external address as it is."""

    conditions: Annotated[Conditions, doc("State of the address, one entry for each aspect.")] = ()
    type: Annotated[str, doc("Use of the address: nat, lrp or lsp.")] = ""
    nat: Annotated[str, doc("Kinds of NAT rules that use the address (fip, snat, dnat), separated by commas.")] = ""
    ready: Annotated[bool, doc("Whether the address can be used.")] = False
    v4_ip: Annotated[str, doc("IPv4 address reserved.")] = ""
    v6_ip: Annotated[str, doc("IPv6 address reserved.")] = ""
    mac_address: Annotated[str, doc("MAC address reserved.")] = ""


class OvnEip(Object, frozen=True, kw_only=True):
    """An external address of OVN routers."""

    spec: OvnEipSpec = OvnEipSpec()
    status: OvnEipStatus = OvnEipStatus()


class OvnFipSpec(Value, frozen=True, kw_only=True):
    """Which internal address an external one stands for."""

    ovn_eip: Annotated[str, doc("OvnEip whose address is the external one.")] = ""
    ip_type: Annotated[
        str, doc("Kind of object that ipName means: vip, or ip (when empty).", enum=["", "ip", "vip"])
    ] = ""
    ip_name: Annotated[str, doc("Vip or IP object whose address is the internal one.")] = ""
    vpc: Annotated[str, doc("Vpc of v4Ip and v6Ip; needed when ipName is empty.")] = ""
    v4_ip: Annotated[str, doc("Internal IPv4 address, instead of ipName.")] = ""
    v6_ip: Annotated[str, doc("Internal IPv6 address, instead of ipName.")] = ""
    type: Annotated[
        str,
        doc(
            "Where the translation is done: distributed (the pod's node) or centralized (the gateway node); as the "
            "external gateway when empty.",
            enum=["", "distributed", "centralized"],
        ),
    ] = ""


class OvnFipStatus(Status, frozen=True, kw_only=True):
    """The translation in force."""

    conditions: Annotated[Conditions, doc("State of the rule, one entry for each aspect.")] = ()
    ready: Annotated[bool, doc("Whether the translation is in force.")] = False
    vpc: Annotated[str, doc("Vpc whose router translates.")] = ""
    v4_eip: Annotated[str, doc("External IPv4 address.")] = ""
    v6_eip: Annotated[str, doc("External IPv6 address.")] = ""
    v4_ip: Annotated[str, doc("Internal IPv4 address.")] = ""
    v6_ip: Annotated[str, doc("Internal IPv6 address.")] = ""
    mac_address: Annotated[str, doc("MAC address that answers for the external address.")] = ""


class OvnFip(Object, frozen=True, kw_only=True):
    """A floating address: one external address stands for one internal address, in both directions."""

    spec: OvnFipSpec = OvnFipSpec()
    status: OvnFipStatus = OvnFipStatus()


class OvnSnatRuleSpec(Value, frozen=True, kw_only=True):
    """Whose source address is translated, and to which."""

    ovn_eip: Annotated[str, doc("OvnEip whose address replaces the source.")] = ""
    vpc_subnet: Annotated[str, doc("Subnet whose traffic is translated.")] = ""
    ip_name: Annotated[str, doc("IP object whose traffic is translated, instead of vpcSubnet.")] = ""
    vpc: Annotated[str, doc("Vpc of v4IpCidr and v6IpCidr; needed when neither subnet nor ipName is given.")] = ""
    v4_ip_cidr: Annotated[str, doc("Internal IPv4 address or CIDR that is translated.")] = ""
    v6_ip_cidr: Annotated[str, doc("Internal IPv6 address or CIDR that is translated.")] = ""


class OvnSnatRuleStatus(Status, frozen=True, kw_only=True):
    """The translation in force."""

    conditions: Annotated[Conditions, doc("State of the rule, one entry for each aspect.")] = ()
    ready: Annotated[bool, doc("Whether the translation is in force.")] = False
    vpc: Annotated[str, doc("Vpc whose router translates.")] = ""
    v4_eip: Annotated[str, doc("External IPv4 address.")] = ""
    v6_eip: Annotated[str, doc("External IPv6 address.")] = ""
    v4_ip_cidr: Annotated[str, doc("Internal IPv4 address or CIDR.")] = ""
    v6_ip_cidr: Annotated[str, doc("Internal IPv6 address or CIDR.")] = ""


class OvnSnatRule(Object, frozen=True, kw_only=True):
    """Source translation: internal addresses leave the VPC with one external address."""

    spec: OvnSnatRuleSpec = OvnSnatRuleSpec()
    status: OvnSnatRuleStatus = OvnSnatRuleStatus()


class OvnDnatRuleSpec(Value, frozen=True, kw_only=True):
    """Which external port leads to which internal address and port."""

    ovn_eip: Annotated[str, doc("OvnEip whose address is the external one.")] = ""
    ip_type: Annotated[
        str, doc("Kind of object that ipName means: vip, or ip (when empty).", enum=["", "ip", "vip"])
    ] = ""
    ip_name: Annotated[str, doc("Vip or IP object whose address is the internal one.")] = ""
    internal_port: Annotated[str, doc("Port on the internal address, 1 to 65535.")] = ""
    external_port: Annotated[str, doc("Port on the external address, 1 to 65535.")] = ""
    protocol: Annotated[str, doc("tcp or udp.")] = ""
    vpc: Annotated[str, doc("Vpc of v4Ip and v6Ip; needed when ipName is empty.")] = ""
    v4_ip: Annotated[str, doc("Internal IPv4 address, instead of ipName.")] = ""
    v6_ip: Annotated[str, doc("Internal IPv6 address, instead of ipName.")] = ""


class OvnDnatRuleStatus(Status, frozen=True, kw_only=True):
    """The translation in force."""

    conditions: Annotated[Conditions, doc("State of the rule, one entry for each aspect.")] = ()
    vpc: Annotated[str, doc("Vpc whose router translates.")] = ""
    v4_eip: Annotated[str, doc("External IPv4 address.")] = ""
    v6_eip: Annotated[str, doc("External IPv6 address.")] = ""
    external_port: Annotated[str, doc("Port on the external address.")] = ""
    v4_ip: Annotated[str, doc("Internal IPv4 address.")] = ""
    v6_ip: Annotated[str, doc("Internal IPv6 address.")] = ""
    internal_port: Annotated[str, doc("Port on the internal address.")] = ""
    protocol: Annotated[str, doc("tcp or udp.")] = ""
    ip_name: Annotated[str, doc("Vip or IP object whose address is the internal one.")] = ""
    ready: Annotated[bool, doc("Whether the translation is in force.")] = False


class OvnDnatRule(Object, frozen=True, kw_only=True):
    """Port forwarding from an external address to an internal one."""

    spec: OvnDnatRuleSpec = OvnDnatRuleSpec()
    status: OvnDnatRuleStatus = OvnDnatRuleStatus()

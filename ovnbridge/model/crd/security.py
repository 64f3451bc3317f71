"""SecurityGroup: allow and drop rules for the pods that name the group."""

from __future__ import annotations

from typing import Annotated, ClassVar

from ovnbridge.model.crd.base import Object, ObjectSchema, Rule, Status, Value, doc
from ovnbridge.model.crd.cel import ADDRESS_LENGTH, MANY, address_or_cidr, said

_TRANSPORT = "(has(self.protocol) && self.protocol in ['tcp', 'udp'])"
_PORT = {"minimum": 0, "maximum": 65535}


def _ports(first: str, last: str) -> str:
    """Whether two fields are the ends of a range of ports."""
    return f"has(self.{first}) && has(self.{last}) && 1 <= self.{first} && self.{first} <= self.{last}"


class SecurityGroupRule(Value, frozen=True, kw_only=True):
    """One rule of a security group."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(
        rules=(
            Rule(
                "!(has(self.remoteType) && self.remoteType == 'address')"
                f" || (has(self.remoteAddress) && {address_or_cidr('self.remoteAddress')})",
                "remoteType address needs remoteAddress: an address or a CIDR",
                ".remoteAddress",
            ),
            Rule(
                f"!(has(self.remoteType) && self.remoteType == 'securityGroup') || {said('remoteSecurityGroup')}",
                "remoteType securityGroup needs remoteSecurityGroup",
                ".remoteSecurityGroup",
            ),
            Rule(
                f"!{_TRANSPORT} || ({_ports('portRangeMin', 'portRangeMax')})",
                "protocol tcp or udp needs portRangeMin and portRangeMax: 1 to 65535, the first not above the last",
                ".portRangeMin",
            ),
            Rule(
                f"!{said('localAddress')} || {address_or_cidr('self.localAddress')}",
                "localAddress must be an address or a CIDR",
                ".localAddress",
            ),
            Rule(
                f"!{said('localAddress')} || !{_TRANSPORT} || ({_ports('sourcePortRangeMin', 'sourcePortRangeMax')})",
                "localAddress with protocol tcp or udp needs sourcePortRangeMin and sourcePortRangeMax: 1 to 65535, the"
                " first not above the last",
                ".sourcePortRangeMin",
            ),
        )
    )

    ip_version: Annotated[
        str,
        doc("Address family that the rule is about: ipv4 or ipv6.", required=True, enum=["ipv4", "ipv6"]),
    ] = ""
    protocol: Annotated[
        str,
        doc(
            "Protocol that the rule is about: all (when empty), icmp, tcp or udp.",
            enum=["", "all", "icmp", "tcp", "udp"],
        ),
    ] = ""
    priority: Annotated[
        int,
        doc(
            "Rank among the rules, 1 to 16384; the lowest matching one applies.",
            required=True,
            minimum=1,
            maximum=16384,
        ),
    ] = 0
    remote_type: Annotated[
        str,
        doc(
            "What the other end is given as: address or securityGroup.",
            required=True,
            enum=["address", "securityGroup"],
        ),
    ] = ""
    remote_address: Annotated[
        str, doc("Address or CIDR of the other end, for remoteType address.", maxLength=ADDRESS_LENGTH)
    ] = ""
    remote_security_group: Annotated[str, doc("SecurityGroup of the other end, for remoteType securityGroup.")] = ""
    port_range_min: Annotated[int, doc("First destination port, for tcp and udp.", **_PORT)] = 0
    port_range_max: Annotated[int, doc("Last destination port, for tcp and udp.", **_PORT)] = 0
    local_address: Annotated[
        str, doc("Address or CIDR of the pod's own end; any when empty.", maxLength=ADDRESS_LENGTH)
    ] = ""
    source_port_range_min: Annotated[int, doc("First source port, for tcp and udp with localAddress.", **_PORT)] = 0
    source_port_range_max: Annotated[int, doc("Last source port, for tcp and udp with localAddress.", **_PORT)] = 0
    policy: Annotated[
        str,
        doc(
            "What is done with matching traffic: allow, drop (when empty), or pass (decide in the next tier).",
            enum=["", "allow", "drop", "pass"],
        ),
    ] = ""


class SecurityGroupSpec(Value, frozen=True, kw_only=True):
    """Which traffic the members of the group may have."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(
        rules=tuple(
            Rule(
                "!(has(self.tier) && self.tier == 1)"
                f" || !has(self.{rules}) || !self.{rules}.exists(r, has(r.policy) && r.policy == 'pass')",
                "policy pass is not possible in tier 1, after which nothing decides",
                f".{rules}",
            )
            for rules in ("ingressRules", "egressRules")
        )
    )

    ingress_rules: Annotated[
        tuple[SecurityGroupRule, ...], doc("Rules for traffic to the members.", maxItems=MANY)
    ] = ()
    egress_rules: Annotated[
        tuple[SecurityGroupRule, ...], doc("Rules for traffic from the members.", maxItems=MANY)
    ] = ()
    allow_same_group_traffic: Annotated[bool, doc("Allow traffic between the members.")] = False
    tier: Annotated[int, doc("OVN ACL tier of the rules: 0 is evaluated before 1.", minimum=0, maximum=1)] = 0


class SecurityGroupStatus(Status, frozen=True, kw_only=True):
    """The group as it is in OVN."""

    port_group: Annotated[str, doc("Name of the OVN port group.")] = ""
    allow_same_group_traffic: Annotated[bool, doc("Whether traffic between the members is allowed.")] = False
    ingress_md5: Annotated[str, doc("Fingerprint of the ingress rules in force.")] = ""
    egress_md5: Annotated[str, doc("Fingerprint of the egress rules in force.")] = ""
    ingress_last_sync_success: Annotated[bool, doc("Whether the current ingress rules are in force.")] = False
    egress_last_sync_success: Annotated[bool, doc("Whether the current egress rules are in force.")] = False


class SecurityGroup(Object, frozen=True, kw_only=True):
    """A named set of traffic rules for pods."""

    spec: SecurityGroupSpec = SecurityGroupSpec()
    status: SecurityGroupStatus = SecurityGroupStatus()

"""QoSPolicy: bandwidth limits for external addresses and NAT gateways."""

from __future__ import annotations

from typing import Annotated, ClassVar

from ovnbridge.model.crd.base import Conditions, Object, ObjectSchema, Rule, Status, Value, doc
from ovnbridge.model.crd.cel import ADDRESS_LENGTH, MANY

_NUMBER = {"pattern": r"^([0-9]+(\.[0-9]+)?)?$"}


class BandwidthLimit(Value, frozen=True, kw_only=True):
    """One bandwidth limit."""

    name: Annotated[str, doc("Name of the rule, unique within the policy.", required=True)] = ""
    interface: Annotated[
        str, doc("Interface of the gateway pod that is limited; when empty net1 for egress, eth0 for ingress.")
    ] = ""
    rate_max: Annotated[str, doc("Highest rate in Mbit/s, a decimal number.")] = ""
    burst_max: Annotated[str, doc("Largest burst in MiB, a decimal number.")] = ""
    priority: Annotated[int, doc("Rank among the rules, unique within the policy; the lowest is asked first.")] = 0
    direction: Annotated[str, doc("Direction that is limited, seen from the cluster: ingress or egress.")] = ""
    match_type: Annotated[str, doc("What traffic is selected by: ip, or empty for all traffic.")] = ""
    match_value: Annotated[str, doc("Traffic selected by matchType ip: src <cidr> or dst <cidr>.")] = ""


class BandwidthLimitRule(BandwidthLimit, frozen=True, kw_only=True):
    """A bandwidth limit that the user wants."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(
        narrowed={
            "interface": {"pattern": "^[A-Za-z0-9_-]{0,15}$"},
            "rateMax": _NUMBER,
            "burstMax": _NUMBER,
            "direction": {"enum": ["", "ingress", "egress"]},
            "matchType": {"enum": ["", "ip"]},
            "matchValue": {"maxLength": len("src ") + ADDRESS_LENGTH},
        },
        rules=(
            Rule(
                "!(has(self.matchType) && self.matchType == 'ip')"
                " || (has(self.matchValue) && self.matchValue.matches('^(src|dst) ')"
                " && isCIDR(self.matchValue.substring(4)))",
                "matchType ip needs matchValue: src or dst, a blank, and a CIDR",
                ".matchValue",
            ),
        ),
    )


class QoSPolicySpec(Value, frozen=True, kw_only=True):
    """Which limits, and what they can be bound to."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(
        rules=(
            Rule(
                "!(has(self.bindingType) && self.bindingType == 'NATGW') || (has(self.shared) && self.shared)",
                "a policy for NAT gateways must be shared",
                ".shared",
            ),
            Rule(
                "(has(self.shared) && self.shared) == (has(oldSelf.shared) && oldSelf.shared)",
                "shared is immutable",
                ".shared",
            ),
            Rule(
                "(has(self.bindingType) ? self.bindingType : '')"
                " == (has(oldSelf.bindingType) ? oldSelf.bindingType : '')",
                "bindingType is immutable",
                ".bindingType",
            ),
            Rule(
                "!(has(self.shared) && self.shared)"
                " || (has(self.bandwidthLimitRules) ? self.bandwidthLimitRules : [])"
                " == (has(oldSelf.bandwidthLimitRules) ? oldSelf.bandwidthLimitRules : [])",
                "the rules of a shared policy are immutable: several objects may use them",
                ".bandwidthLimitRules",
            ),
        )
    )

    bandwidth_limit_rules: Annotated[
        tuple[BandwidthLimitRule, ...], doc("Bandwidth limits; must not change in a shared policy.", maxItems=MANY)
    ] = ()
    shared: Annotated[bool, doc("Whether several objects may use the policy; must not change.")] = False
    binding_type: Annotated[
        str, doc("What uses the policy: EIP or NATGW; must not change.", enum=["", "EIP", "NATGW"])
    ] = ""


class QoSPolicyStatus(Status, frozen=True, kw_only=True):
    """The policy in force."""

    bandwidth_limit_rules: Annotated[tuple[BandwidthLimit, ...], doc("Bandwidth limits in force.")] = ()
    shared: Annotated[bool, doc("Whether several objects may use the policy.")] = False
    binding_type: Annotated[str, doc("What uses the policy: EIP or NATGW.")] = ""
    conditions: Annotated[Conditions, doc("State of the policy, one entry for each aspect.")] = ()


class QoSPolicy(Object, frozen=True, kw_only=True):
    """Bandwidth limits for external addresses or NAT gateways."""

    spec: QoSPolicySpec = QoSPolicySpec()
    status: QoSPolicyStatus = QoSPolicyStatus()

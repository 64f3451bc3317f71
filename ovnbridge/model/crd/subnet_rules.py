"""What the API server checks of a Subnet: spec F.1, as far as one object by itself and the cost of a rule allow.

The controller checks all of F.1 (`compile/subnet_spec.py`), also of objects that were stored before. Left to it are the
broadcast address, that vips are in cidrBlock, and what the lists in natOutgoingPolicyRules hold: a rule about them
would cost more than the API server admits.
"""

from __future__ import annotations

from typing import Final

from ovnbridge.model.address import SPECIAL
from ovnbridge.model.crd.base import Rule, typed
from ovnbridge.model.crd.cel import (
    ADDRESS,
    ADDRESS_LENGTH,
    CIDR,
    LOWER_CASE,
    PAIR_LENGTH,
    RANGE,
    holds,
    is_address,
    is_cidr,
    on,
    one_or_two,
    said,
)

ALLOWED: Final = typed(LOWER_CASE, CIDR, maxLength=ADDRESS_LENGTH)
EXCLUDED: Final = typed(
    LOWER_CASE,
    Rule(RANGE, "must be an address or a range first..last"),
    maxLength=PAIR_LENGTH,
)
VIP: Final = typed(ADDRESS, maxLength=ADDRESS_LENGTH)

CIDR_BLOCK: Final = (
    LOWER_CASE,
    Rule(
        f"self == '' || ({one_or_two('self', is_cidr)}"
        " && (!self.contains(',') || self.split(',').exists_one(c, c.contains(':'))))",
        "must be a CIDR, or an IPv4 and an IPv6 one separated by a comma",
    ),
    Rule(
        "!self.split(',').exists(c, isCIDR(c) && cidr(c).prefixLength() == (c.contains(':') ? 128 : 32))",
        "must have room for a gateway and pods: at most /31 for IPv4, /127 for IPv6",
    ),
    Rule(
        f"!self.split(',').exists(c, isCIDR(c) && {list(map(str, SPECIAL))}"
        ".exists(s, cidr(s).containsCIDR(c) || cidr(c).containsCIDR(s)))",
        f"must not overlap a reserved range: {', '.join(map(str, SPECIAL))}",
    ),
)
EGRESS_GATEWAY: Final = (
    LOWER_CASE,
    Rule(f"self == '' || {one_or_two('self', is_address)}", "must be an address, or two separated by a comma"),
)
SPEC: Final = (
    Rule(
        f"{said('cidrBlock')} || {said('vlan')}",
        "cidrBlock is required, except for a subnet with vlan that manages no addresses",
        ".cidrBlock",
    ),
    Rule(
        f"!({said('vlan')} && !{said('cidrBlock')})"
        f" || (!{said('gateway')} && (!has(self.excludeIps) || size(self.excludeIps) == 0))",
        "a subnet with vlan and without cidrBlock manages no addresses: gateway and excludeIps must be empty",
        ".cidrBlock",
    ),
    Rule(holds("gateway", "cidrBlock"), "gateway must be an address in cidrBlock, one per family", ".gateway"),
    Rule(
        # The last address is the broadcast address of an IPv4 network; there is no arithmetic to find it.
        f"!{said('gateway')} || !{said('cidrBlock')} || !self.cidrBlock.split(',').exists(c, isCIDR(c)"
        " && cidr(c).prefixLength() < (c.contains(':') ? 127 : 31)"
        " && self.gateway.split(',').exists(g, isIP(g) && ip(g) == cidr(c).masked().ip()))",
        "gateway must not be the network address of cidrBlock",
        ".gateway",
    ),
    Rule(
        f"!{on('natOutgoing')} || !{said('externalEgressGateway')}",
        "natOutgoing and externalEgressGateway are mutually exclusive",
        ".externalEgressGateway",
    ),
    Rule(
        f"!{said('externalEgressGateway')} || !{said('cidrBlock')} || self.externalEgressGateway.split(',').all(e,"
        " self.cidrBlock.split(',').exists(c, c.contains(':') == e.contains(':')))",
        "externalEgressGateway must be of a family of cidrBlock",
        ".externalEgressGateway",
    ),
    Rule(
        f"!{on('logicalGateway')} || !{on('u2oInterconnection')}",
        "logicalGateway and u2oInterconnection are mutually exclusive",
        ".u2oInterconnection",
    ),
    Rule(
        "!(has(self.u2oFeatures) && has(self.u2oFeatures.overlayOnlyRouting) && self.u2oFeatures.overlayOnlyRouting)"
        f" || ({on('u2oInterconnection')} && {said('vlan')})",
        "u2oFeatures.overlayOnlyRouting needs u2oInterconnection and vlan",
        ".u2oFeatures",
    ),
    Rule(
        f"!{on('u2oInterconnection')} || {holds('u2oInterconnectionIP', 'cidrBlock')}",
        "u2oInterconnectionIP must be an address in cidrBlock, one per family",
        ".u2oInterconnectionIP",
    ),
    Rule(
        f"!{on('u2oInterconnection')} || !{said('u2oInterconnectionIP')} || !{said('gateway')}"
        " || !self.u2oInterconnectionIP.split(',').exists(u, isIP(u)"
        " && self.gateway.split(',').exists(g, isIP(g) && ip(g) == ip(u)))",
        "u2oInterconnectionIP must not be the gateway",
        ".u2oInterconnectionIP",
    ),
    Rule(
        f"!(has(self.mtu) && self.mtu > 0 && self.mtu < 1280 && {said('cidrBlock')} && self.cidrBlock.contains(':'))",
        "mtu must be at least 1280 when the subnet has an IPv6 CIDR",
        ".mtu",
    ),
)
NAME: Final = Rule(
    "!has(self.spec) || !has(self.spec.vpc) || self.spec.vpc != self.metadata.name || oldSelf.hasValue()"
    " && has(oldSelf.value().spec) && has(oldSelf.value().spec.vpc)"
    " && oldSelf.value().spec.vpc == self.spec.vpc",
    "a subnet must not have the name of its VPC",
    ".spec.vpc",
    at_creation=True,
)
"""At the root, where the name is, and so asked about every update: it is about subnets that choose their VPC, or what
has become such a subnet could neither get a status nor lose its finalizer."""

"""A subnet's spec taken by itself: defaulting as it is written back (spec D.2.0), and what F.1 has against it.

Functions of (name, spec, options), so that the admission webhook and `doctor` say the same as the controller. What two
objects have against each other is in `subnet_conflict`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from ovnbridge.compile.options import Options, options
from ovnbridge.engine.engine import Reader
from ovnbridge.model import address
from ovnbridge.model.crd.subnet import NatOutgoingPolicyRule, Subnet, SubnetSpec, SubnetStatus
from ovnbridge.model.names import OVN_PROVIDER

DISTRIBUTED: Final = "distributed"
CENTRALIZED: Final = "centralized"
INVALID: Final = "ValidateLogicalSwitchFailed"
"""Reason of every refusal by F.1 (spec E.13)."""
_PROTOCOLS: Final = ("", address.IPV4, address.IPV6, address.DUAL, address.MAC_ONLY)


class Problem(msgspec.Struct, frozen=True):
    """Why a subnet's spec cannot be accepted, or does not work at present; `reason` is one of spec E.13."""

    reason: str
    message: str


def is_ovn(provider: str) -> bool:
    """Whether OVN serves a provider's subnets (otherwise only their addresses are managed)."""
    return provider == OVN_PROVIDER or provider.endswith(".ovn")


def default_spec(name: str, spec: SubnetSpec, opts: Options) -> SubnetSpec:
    """The spec as it is written back (spec D.2.0). Raises ValueError when cidrBlock or gateway cannot be parsed."""
    changes: dict[str, object] = {}
    if spec.cidr_block:
        cidr = address.normalise(_upgraded(name, spec.cidr_block, opts))
        gateway = address.default_gateway(cidr, spec.gateway)
        changes |= {
            "cidr_block": cidr,
            "gateway": gateway,
            "protocol": address.protocol(cidr),
            "exclude_ips": address.normalise_excludes(spec.exclude_ips, gateway.split(",")),
        }
    elif spec.vlan:
        changes["protocol"] = address.MAC_ONLY
    provider = spec.provider or OVN_PROVIDER
    changes["provider"] = provider
    vpc = spec.vpc or (opts.cluster_router if is_ovn(provider) else "")
    changes["vpc"] = vpc
    if vpc == opts.cluster_router and name != opts.node_switch:
        kind = changes["gateway_type"] = spec.gateway_type or DISTRIBUTED
        changes["default"] = spec.default and name == opts.default_ls
        if kind == DISTRIBUTED:
            changes["gateway_node"] = ""  # spec D.2.4
        elif kind == CENTRALIZED and opts.enable_ecmp:
            changes["enable_ecmp"] = True  # spec D.1 point 9
    if name == opts.node_switch:
        changes["enable_lb"] = None
    elif spec.enable_lb is None:
        changes["enable_lb"] = opts.enable_lb
    if not spec.u2o_interconnection or not spec.vlan:
        changes |= {"u2o_interconnection": False, "u2o_interconnection_ip": ""}
    return msgspec.structs.replace(spec, **changes)


def _upgraded(name: str, cidr_block: str, opts: Options) -> str:
    """The cidrBlock of the join or default subnet with the CIDR of the family that it lacks, when the flag has both: a
    cluster becomes dual-stack (spec D.1 point 7). Of the family that it has the object is right, not the flag."""
    flag = {opts.node_switch: opts.node_switch_cidr, opts.default_ls: opts.default_cidr}.get(name, "")
    if address.protocol(flag) != address.DUAL or address.protocol(cidr_block) not in (address.IPV4, address.IPV6):
        return cidr_block
    return address.join(*(own or new for own, new in zip(address.split(cidr_block), address.split(flag))))


def described(reader: Reader, name: str) -> Subnet | None:
    """A subnet without its status (memoised question): what we write there ourselves concerns no switch."""
    subnet = reader.get("Subnet", name)
    return msgspec.structs.replace(subnet, status=SubnetStatus()) if isinstance(subnet, Subnet) else None


def accepted_spec(reader: Reader, name: str) -> SubnetSpec | Problem | None:
    """A subnet's defaulted spec, or what is wrong with it by itself; None when there is none (memoised question)."""
    subnet = reader.query(described, name)
    if subnet is None:
        return None
    opts = options(reader)
    try:
        spec = default_spec(name, subnet.spec, opts)
        message = spec_problem(name, subnet.spec, opts)
    except ValueError as error:
        message = f"cidrBlock {error}"
    return Problem(INVALID, message) if message else spec


def spec_problem(name: str, given: SubnetSpec, opts: Options) -> str:
    """What spec F.1 has against a subnet's spec as the user wrote it, or "". Raises ValueError for addresses that
    cannot be parsed, with a message for the user."""
    problem = _given_problem(name, given)
    return problem or next(_problems(default_spec(name, given, opts), opts), "")


def _given_problem(name: str, spec: SubnetSpec) -> str:
    if spec.gateway_type not in ("", DISTRIBUTED, CENTRALIZED):
        return f"gatewayType {spec.gateway_type!r} must be distributed or centralized"
    if spec.protocol not in _PROTOCOLS:
        return f"protocol {spec.protocol!r} must be IPv4, IPv6, Dual or Mac"
    if name == spec.vpc:
        return "a subnet must not have the name of its VPC"
    written = (
        ("cidrBlock", spec.cidr_block),
        ("gateway", spec.gateway),
        ("externalEgressGateway", spec.external_egress_gateway),
        *(("allowSubnets", text) for text in spec.allow_subnets),
    )
    for field, text in written:
        if text != text.lower():
            return f"{field} {text} must be in lower case"
    for text in spec.allow_subnets:
        if "/" not in text or address.family(text) is None:
            return f"{text!r} in allowSubnets is not a CIDR"
    if spec.logical_gateway and spec.u2o_interconnection:
        return "logicalGateway and u2oInterconnection are mutually exclusive"
    if spec.u2o_features.overlay_only_routing and not (spec.u2o_interconnection and spec.vlan):
        return "u2oFeatures.overlayOnlyRouting needs u2oInterconnection and vlan"
    return address.exclude_problem(spec.exclude_ips)


def _problems(spec: SubnetSpec, opts: Options) -> Iterator[str]:
    """What F.1 has against a defaulted spec."""
    if spec.cidr_block:
        yield from _network_problems(spec, opts)
    elif not spec.vlan:
        yield "cidrBlock is required"
    elif spec.gateway or spec.exclude_ips or spec.logical_gateway or spec.u2o_interconnection:
        yield "a subnet without cidrBlock has no gateway, excludeIps, logicalGateway or u2oInterconnection"
    yield from _egress_gateway(spec)
    for vip in spec.vips:
        if not address.host_family(vip) or not address.contains(spec.cidr_block, vip):
            yield f"{vip!r} in vips is not an address in cidrBlock {spec.cidr_block or '(none)'}"
    for number, rule in enumerate(spec.nat_outgoing_policy_rules):
        yield from _nat_rule(number, rule)
    for text in filter(None, spec.u2o_interconnection_ip.split(",")):
        if not address.host_family(text) or not address.contains(spec.cidr_block, text):
            yield f"u2oInterconnectionIP {text!r} is not an address in cidrBlock {spec.cidr_block}"
        elif address.canonical(text) in map(address.canonical, spec.gateway.split(",")):
            yield f"u2oInterconnectionIP {text} is the gateway"


def _network_problems(spec: SubnetSpec, opts: Options) -> Iterator[str]:
    """What F.1 has against cidrBlock and gateway."""
    if 0 < spec.mtu < 1280 and spec.protocol in (address.IPV6, address.DUAL):
        yield f"mtu {spec.mtu} is too small for IPv6"
    for net in address.networks(spec.cidr_block):
        if net.num_addresses == 1:
            yield f"cidrBlock {net} has no room for a gateway and pods"
    if not spec.protocol:
        yield f"cidrBlock {spec.cidr_block} must hold one CIDR, or one IPv4 and one IPv6 CIDR"
        return
    special = address.special_range(spec.cidr_block)
    if special:
        yield f"cidrBlock {spec.cidr_block} overlaps the reserved range {special}"
    if not address.contains(spec.cidr_block, spec.gateway) or address.protocol(spec.gateway) != spec.protocol:
        yield f"gateway {spec.gateway} is not in cidrBlock {spec.cidr_block}"
        return
    yield from _border_gateways(spec)
    host = opts.kubernetes_service_host
    if spec.vpc == opts.cluster_router and address.host_family(host) and address.contains(spec.cidr_block, host):
        yield f"cidrBlock {spec.cidr_block} holds the address {host} of the Kubernetes API"


def _border_gateways(spec: SubnetSpec) -> Iterator[str]:
    for net in address.networks(spec.cidr_block):
        text = dict(zip((4, 6), address.split(spec.gateway)))[net.version]
        first, last = address.usable(net)
        # The all-ones address of an IPv6 network is an address like others.
        if not first <= address.number_of(text) <= last + (net.version == 6):
            yield f"gateway {text} is the network or broadcast address of {net}"


def _egress_gateway(spec: SubnetSpec) -> Iterator[str]:
    if not spec.external_egress_gateway:
        return
    if spec.nat_outgoing:
        yield "natOutgoing and externalEgressGateway are mutually exclusive"
    hops = spec.external_egress_gateway.split(",")
    families = [address.host_family(hop) for hop in hops]
    if None in families or len(hops) > 2:
        yield f"externalEgressGateway {spec.external_egress_gateway!r} must be one or two addresses"
    elif spec.protocol != address.DUAL and address.protocol(spec.external_egress_gateway) != spec.protocol:
        yield f"externalEgressGateway {spec.external_egress_gateway} is not of the family {spec.protocol}"


def _nat_rule(number: int, rule: NatOutgoingPolicyRule) -> Iterator[str]:
    found = set()
    for text in (rule.match.src_ips, rule.match.dst_ips):
        families = {address.family(part.strip()) for part in text.split(",")} if text else set()
        if None in families:
            yield f"{text!r} in natOutgoingPolicyRules[{number}] is not a list of addresses and CIDRs"
            return
        found |= families
    if len(found) > 1:
        yield f"natOutgoingPolicyRules[{number}] mixes IPv4 and IPv6"

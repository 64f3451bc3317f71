"""A subnet's conditions, counts, active gateway and what else its status says (spec A.3, E.1, E.13).

A unit of its own, so that a used address does not recompute the switch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from ovnbridge.compile.dhcp import row_key
from ovnbridge.compile.multicast import querier_lease
from ovnbridge.compile.options import options
from ovnbridge.compile.problem import REFUSED, problem_key
from ovnbridge.compile.problem import TABLE as ROW_PROBLEMS
from ovnbridge.compile.subnet import SubnetView, active_gateways, checked, gateway_nodes, has_gateways, leaving
from ovnbridge.compile.subnet_acl import ACLS_FAILED, acls_problem
from ovnbridge.compile.subnet_spec import CENTRALIZED, INVALID, Problem, accepted_spec
from ovnbridge.compile.vlan import Waiting
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Event, Item, Status, presentable
from ovnbridge.ipam import Refusal, SubnetUsage
from ovnbridge.model import address
from ovnbridge.model.crd.base import Condition
from ovnbridge.model.crd.subnet import (
    NatOutgoingPolicyRule,
    NatOutgoingPolicyRuleStatus,
    Subnet,
    SubnetSpec,
    SubnetStatus,
)
from ovnbridge.model.names import mcast_owner, u2o_owner

GATEWAY_FOUND: Final = "ReconcileCentralizedGatewaySuccess"
DHCP_ROWS: Final = "DHCPRow"
"""World table of the UUIDs of existing DHCP_Options rows, which the NB edge fills; keys by `dhcp_key`."""


def dhcp_key(key: Any) -> str:
    """World key of a DHCP_Options row, by its natural key."""
    return "/".join(map(str, key))


def _subnet_status(reader: Reader, name: str) -> Iterator[Item]:
    subnet = reader.get("Subnet", name)
    if not isinstance(subnet, Subnet) or reader.query(leaving, name):
        return  # a switch that is not wanted is never committed, so nothing may say Ready
    found, spec = reader.query(checked, name), reader.query(accepted_spec, name)
    if found is None or isinstance(found, Waiting):
        return  # spec D.2.0: a subnet that waits for its vlan keeps the conditions that it has
    problem = found if isinstance(found, Problem) else _obstacle(reader, name, found, spec)
    reason = _reason(found, spec, subnet.status.conditions)
    value = msgspec.structs.replace(subnet.status, conditions=_conditions(problem, reason, subnet))
    if problem is None:
        yield Event("Subnet", name, "Normal", reason, "")
    elif isinstance(found, SubnetView) and problem.reason not in (ACLS_FAILED, REFUSED):
        yield Event("Subnet", name, "Warning", problem.reason, problem.message)
    if isinstance(found, SubnetView) and isinstance(spec, SubnetSpec):
        value = _counted(reader, found, value)
        value = _gateway(reader, found, value)
        before, after = subnet.status.activate_gateway, value.activate_gateway
        if before and after and before != after:
            message = f"gateway node changes from {before} to {after}"
            yield Event("Subnet", name, "Normal", "SubnetGatewayNodeChanged", message)
        value = _owned_addresses(reader, found, spec, value)
        value = msgspec.structs.replace(value, nat_outgoing_policy_rules=_nat_rules(name, spec))
    yield Status("Subnet", name, value, after_commit=problem is None)


def _reason(found: SubnetView | Problem, spec: object, before: Iterable[Condition]) -> str:
    if isinstance(found, SubnetView) and not found.is_ovn:
        return "SetNonOvnSubnetSuccess"
    # What Kube-OVN says when a gateway node alone has changed: as good a success as the others (spec E.1).
    moved = any(c.type == "Ready" and c.status == "True" and c.reason == GATEWAY_FOUND for c in before)
    if moved and isinstance(found, SubnetView) and found.gateway_type == CENTRALIZED:
        return GATEWAY_FOUND
    private = isinstance(spec, SubnetSpec) and spec.private
    return "SetPrivateLogicalSwitchSuccess" if private else "ResetLogicalSwitchAclSuccess"


def _counted(reader: Reader, view: SubnetView, value: SubnetStatus) -> SubnetStatus:
    usage = reader.get("Usage", view.name)
    if not isinstance(usage, SubnetUsage):
        return value
    v4, v6 = address.split(view.cidr_block)
    return msgspec.structs.replace(
        value,
        v4_available_ips=_available(view, usage, v4),
        v4_available_ip_range=usage.v4_available_range,
        v4_using_ips=usage.using if v4 else 0,
        v4_using_ip_range=usage.v4_using_range,
        v6_available_ips=_available(view, usage, v6),
        v6_available_ip_range=usage.v6_available_range,
        v6_using_ips=usage.using if v6 else 0,
        v6_using_ip_range=usage.v6_using_range,
    )


def _available(view: SubnetView, usage: SubnetUsage, cidr: str) -> int:
    """Spec E.1: a sum, not a list; whoever has addresses of one family takes away one of each."""
    if not cidr:
        return 0
    net = address.network(cidr)
    excluded = sum(high - low + 1 for low, high in address.exclude_ranges(view.exclude_ips, net))
    return max(0, address.address_count(net) - excluded - usage.using)


def _gateway(reader: Reader, view: SubnetView, value: SubnetStatus) -> SubnetStatus:
    nodes, active = reader.query(gateway_nodes, view.name), reader.query(active_gateways, view.name)
    standing = value.activate_gateway if value.activate_gateway in nodes else ""
    # With ECMP it is the last one without; Kube-OVN lets it stand.
    return msgspec.structs.replace(value, activate_gateway=active[0] if active and not view.enable_ecmp else standing)


def _owned_addresses(reader: Reader, view: SubnetView, spec: SubnetSpec, value: SubnetStatus) -> SubnetStatus:
    """What the subnet itself has in OVN: the router's and the querier's addresses, DHCP rows."""
    querier = querier_lease(reader, view.name) if spec.enable_multicast_snoop and view.is_ovn else None
    uuids = {
        version: reader.get(DHCP_ROWS, dhcp_key(row_key(view.name, f"IPv{version}"))) or ""
        if spec.enable_dhcp and view.is_ovn
        else ""
        for version in (4, 6)
    }
    return msgspec.structs.replace(
        value,
        u2o_interconnection_ip=view.u2o_ip,
        u2o_interconnection_mac=view.u2o_mac,
        u2o_interconnection_vpc=view.vpc if view.u2o_ip else "",
        mcast_querier_ip=querier.spec.ip_address if querier is not None else "",
        mcast_querier_mac=querier.spec.mac_address if querier is not None else "",
        dhcp_v4_options_uuid=uuids[4],
        dhcp_v6_options_uuid=uuids[6],
    )


def _nat_rules(name: str, spec: SubnetSpec) -> tuple[NatOutgoingPolicyRuleStatus, ...]:
    if not spec.nat_outgoing:
        return ()
    return tuple(
        NatOutgoingPolicyRuleStatus(match=rule.match, action=rule.action, rule_id=rule_id(name, number, rule))
        for number, rule in enumerate(spec.nat_outgoing_policy_rules)
    )


def rule_id(subnet: str, number: int, rule: NatOutgoingPolicyRule) -> str:
    """First 12 hex digits of SHA-256(subnet name + index + JSON of the rule) (spec D.2.4)."""
    match = {"srcIPs": rule.match.src_ips, "dstIPs": rule.match.dst_ips}
    value = {"match": {side: text for side, text in match.items() if text}, "action": rule.action}
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{subnet}{number}{text}".encode()).hexdigest()[:12]


def _conditions(problem: Problem | None, reason: str, subnet: Subnet) -> tuple[Condition, ...]:
    held = {c.type: c for c in subnet.status.conditions}
    if problem is not None:
        # Spec E.1: only what is wrong with the subnet itself makes it invalid.
        validated = "False" if problem.reason == INVALID else "True"
        states = (("Validated", validated), ("Ready", "False"), ("Error", "True"))
        message, generation = presentable(problem.message), max(1, subnet.metadata.generation)
        theirs = [c for t, s in states if (c := held.get(t)) and (c.status, c.reason) == (s, problem.reason)]
        if len(theirs) == len(states) and not any(c.observed_generation for c in theirs):
            # Kube-OVN says the same in its own words, without a generation; ours carry one.
            message, generation = theirs[0].message, 0
        return tuple(
            Condition(
                type=t, status=s, reason=problem.reason, message=presentable(message), observed_generation=generation
            )
            for t, s in states
        )
    error = Condition(type="Error", status="Unknown", reason="Init", message="Not Observed")
    if "Error" in held and "Ready" in held and held["Ready"].status == "True":
        # Kube-OVN never clears it (spec E.1): what a takeover finds on a subnet that works stands.
        error = Condition(type="Error", status=held["Error"].status, reason=held["Error"].reason)
        error = msgspec.structs.replace(error, message=held["Error"].message)
    return (
        Condition(type="Validated", status="True", reason=reason),
        Condition(type="Ready", status="True", reason=reason),
        error,
    )


def _obstacle(reader: Reader, name: str, view: SubnetView, spec: object) -> Problem | None:
    """Why a valid subnet does not work at present."""
    if not view.is_ovn:
        return None
    if reader.get("Vpc", view.vpc) is None:
        return Problem(INVALID, f"vpc {view.vpc} does not exist")
    if isinstance(refused := reader.get(ROW_PROBLEMS, problem_key("Subnet", name)), str):
        return Problem(REFUSED, refused)
    if isinstance(spec, SubnetSpec) and (problem := acls_problem(reader, spec)):
        return Problem(ACLS_FAILED, problem)
    for wanted, owner in (
        (view.u2o, u2o_owner(view.vpc, name)),
        (isinstance(spec, SubnetSpec) and spec.enable_multicast_snoop, mcast_owner(name)),
    ):
        refusal = reader.get("Refusal", owner) if wanted else None
        if isinstance(refusal, Refusal):
            return Problem("AcquireAddressFailed", f"{owner}: {refusal.reason}: {refusal.message}")
    if view.gateway_type != CENTRALIZED or not has_gateways(view, options(reader)):
        return None
    nodes = reader.query(gateway_nodes, name)
    if not nodes:
        return Problem("NoReadyGateway", "neither gatewayNode nor gatewayNodeSelectors names a node")
    if not reader.query(active_gateways, name):
        return Problem("NoActiveGatewayFound", f"no gateway node is ready: {', '.join(nodes)}")
    return None


UNITS = (Unit("subnet-status", "Subnet", _subnet_status),)

"""Subnets: defaults (D.2.0), what kind a subnet is, and its gateway nodes (D.2.4)."""

from __future__ import annotations

from typing import Any

from tests.oracle import addresses
from tests.oracle.world import Flags, Json, World, labels, name, ready, selected, spec, status


def complete(subnet: Json, flags: Flags) -> None:
    """Fill in what every reconcile fills in first (D.2.0), in place."""
    body = subnet["spec"]
    if block := body.get("cidrBlock", ""):
        block = body["cidrBlock"] = ",".join(str(addresses.network(part)) for part in addresses.parts(block))
        body["gateway"] = _gateways(body.get("gateway", ""), block)
        body["excludeIps"] = _excludes(body.get("excludeIps") or [], body["gateway"], block)
        body["protocol"] = addresses.protocol(block)
    elif body.get("vlan"):
        body["protocol"] = "Mac"
    body["provider"] = body.get("provider") or "ovn"
    if is_ovn(subnet):
        body["vpc"] = body.get("vpc") or flags.cluster_router
    join = name(subnet) == flags.node_switch
    if distributed(subnet, flags):
        body["gatewayNode"] = ""  # D.2.4
    if body.get("vpc") == flags.cluster_router and not join:
        body["gatewayType"] = body.get("gatewayType") or "distributed"
        body["default"] = name(subnet) == flags.default_ls
    if join:
        body.pop("enableLb", None)
    elif body.get("enableLb") is None:
        body["enableLb"] = flags.enable_lb
    if not body.get("vlan"):
        body.pop("u2oInterconnection", None)
    if not body.get("u2oInterconnection"):
        body.pop("u2oInterconnectionIP", None)
    if flags.enable_ecmp and body.get("gatewayType") == "centralized":
        body["enableEcmp"] = True  # D.1, 9
    for field in ("default", "natOutgoing", "private"):
        body.setdefault(field, False)
    body.setdefault("gatewayNode", "")
    body.setdefault("u2oFeatures", {})


def _gateways(given: str, block: str) -> str:
    first = addresses.default_gateway(block)
    if not given:
        return first
    if addresses.protocol(block) == "Dual" and len(addresses.parts(given)) == 1:
        own = addresses.family(given)
        other = addresses.of_family(first, 10 - own)
        return f"{given},{other}" if own == 4 else f"{other},{given}"
    return given


def _excludes(entries: list[str], gateway: str, block: str) -> list[str]:
    gateways = addresses.parts(gateway)
    if not entries:
        return sorted(gateways)
    found: list[tuple[int, int, int]] = []
    for version, (first, last) in sorted((addresses.family(e), addresses.expand(e)) for e in entries):
        if found and found[-1][0] == version and first <= found[-1][2]:
            found[-1] = (version, found[-1][1], max(found[-1][2], last))
        else:
            found.append((version, first, last))
    kept = [
        addresses.text(a, version) if a == b else f"{addresses.text(a, version)}..{addresses.text(b, version)}"
        for version, a, b in found
    ]
    for one in gateways:
        own = [(a, b) for version, a, b in found if version == addresses.family(one)]
        if not addresses.holds(own, addresses.number(one)):
            kept.append(one)
    return sorted(kept)


def is_ovn(subnet: Json) -> bool:
    """Whether the subnet has a switch, or only hands out addresses (B.0)."""
    provider = spec(subnet).get("provider") or "ovn"
    return provider == "ovn" or provider.endswith(".ovn")


def cidrs(subnet: Json) -> list[str]:
    return addresses.parts(spec(subnet).get("cidrBlock", ""))


def gateway(subnet: Json, cidr: str) -> str:
    """The gateway of a CIDR's family."""
    return addresses.of_family(spec(subnet).get("gateway", ""), addresses.family(cidr))


def overlay(subnet: Json) -> bool:
    return not spec(subnet).get("vlan")


def logical(subnet: Json) -> bool:
    """Whether the subnet's gateway is a logical router's port."""
    return overlay(subnet) or bool(spec(subnet).get("logicalGateway"))


def u2o(subnet: Json) -> bool:
    """Whether an underlay subnet is joined with the overlay."""
    return not logical(subnet) and bool(spec(subnet).get("u2oInterconnection"))


def overlay_only(subnet: Json) -> bool:
    return u2o(subnet) and bool((spec(subnet).get("u2oFeatures") or {}).get("overlayOnlyRouting"))


def routed(subnet: Json) -> bool:
    """needRouter of D.2."""
    return is_ovn(subnet) and (logical(subnet) or u2o(subnet))


def in_default_vpc(subnet: Json, flags: Flags) -> bool:
    return is_ovn(subnet) and spec(subnet).get("vpc") == flags.cluster_router


def distributed(subnet: Json, flags: Flags) -> bool:
    """Whether its traffic leaves through each pod's own node (D.2.4)."""
    own = logical(subnet) and in_default_vpc(subnet, flags) and name(subnet) != flags.node_switch
    return own and spec(subnet).get("gatewayType") == "distributed"


def centralized(subnet: Json, flags: Flags) -> bool:
    own = logical(subnet) and in_default_vpc(subnet, flags) and name(subnet) != flags.node_switch
    return own and spec(subnet).get("gatewayType") == "centralized"


def balanced(subnet: Json, flags: Flags) -> bool:
    """Whether the VPC's load balancers are on the switch (D.2)."""
    return flags.enable_lb and name(subnet) != flags.node_switch and bool(spec(subnet).get("enableLb"))


def u2o_without_balancers(subnet: Json, flags: Flags) -> bool:
    """Whether services are reached through the nodes (D.2.3)."""
    return u2o(subnet) and in_default_vpc(subnet, flags) and not balanced(subnet, flags)


def gateway_nodes(subnet: Json, world: World) -> list[str]:
    """Ready gateway nodes in order of preference (D.2.4)."""
    wanted = [entry.partition(":")[0] for entry in addresses.parts(spec(subnet).get("gatewayNode", ""))]
    if not wanted:
        selectors = spec(subnet).get("gatewayNodeSelectors") or ()
        wanted = [name(n) for n in world.nodes() if any(selected(s, labels(n)) for s in selectors)]
    able = {name(node) for node in world.nodes() if ready(node)}
    return [one for one in dict.fromkeys(wanted) if one in able]


def active_nodes(subnet: Json, world: World) -> list[str]:
    """The nodes through which a centralized subnet's traffic leaves."""
    if spec(subnet).get("enableEcmp"):
        return gateway_nodes(subnet, world)
    return [status(subnet)["activateGateway"]] if status(subnet).get("activateGateway") else []


def reserved(subnet: Json, cidr: str) -> list[addresses.Range]:
    return addresses.excluded(spec(subnet).get("excludeIps") or (), cidr)


def vlan_of(subnet: Json, world: World) -> Json:
    found = world.one("vlans", spec(subnet)["vlan"])
    assert found is not None
    return found


def of_vpc(world: World, vpc: str) -> list[Json]:
    """OVN subnets of a VPC, by name."""
    own = (s for s in world.of("subnets") if is_ovn(s) and spec(s).get("vpc") == vpc)
    return sorted(own, key=name)


def condition_reason(subnet: Json) -> str:
    """The reason of the last condition that a good reconcile writes (E.1)."""
    if not is_ovn(subnet):
        return "SetNonOvnSubnetSuccess"
    return "SetPrivateLogicalSwitchSuccess" if spec(subnet).get("private") else "ResetLogicalSwitchAclSuccess"


def conditions(subnet: Json) -> list[dict[str, Any]]:
    reason, when = condition_reason(subnet), "2026-11-24T00:00:00Z"
    times = {"lastTransitionTime": when, "lastUpdateTime": when}
    return [
        {**times, "reason": reason, "status": "True", "type": "Validated"},
        {**times, "reason": reason, "status": "True", "type": "Ready"},
        {**times, "message": "Not Observed", "reason": "Init", "status": "Unknown", "type": "Error"},
    ]

"""Random changes of everything that `Estate` holds: the same seed gives the same actions."""

from __future__ import annotations

import random
from typing import Any

from tests.faults.estate import ALL_NODES, ATTACHED, EXTRA_NODES, FIXED, SETS, UNDERLAY
from tests.faults.harness import NODES, NOTE, Action

NETWORKS = "k8s.v1.cni.cncf.io/networks"
_ROUTES = (
    {"cidr": "198.51.100.0/24", "nextHopIP": "10.190.0.254", "policy": "policyDst"},
    {"cidr": "10.190.0.0/24", "nextHopIP": "10.190.0.253", "policy": "policySrc"},
    {"cidr": "203.0.113.0/24", "nextHopIP": "10.190.0.252", "policy": "policyDst"},
)
_POLICIES = (
    {"priority": 1100, "match": "ip4.dst == 198.51.100.0/24", "action": "drop"},
    {"priority": 1200, "match": "ip4.src == 10.190.0.0/28", "action": "reroute", "nextHopIP": "10.190.0.253"},
)
_ACLS = (
    {"direction": "to-lport", "priority": 1010, "match": "ip4.src == 10.0.0.0/8", "action": "drop"},
    {"direction": "from-lport", "priority": 1900, "match": "ip4", "action": "allow-related"},
)
_POOLS = (["10.198.0.20..10.198.0.29"], ["10.198.0.24..10.198.0.33"], ["10.198.0.40", "10.198.0.41"])


def change(rng: random.Random) -> Action:
    """One change of the estate; each makes sense whatever came before."""
    draw = rng.choices(
        [_pod, _gone, _member, _member_gone, _vpc, _vpc_gone, _subnet, _subnet_gone, _options, _underlay, _pool, _vip,
         _vip_gone, _set, _node],
        [24, 10, 12, 8, 8, 2, 8, 3, 8, 5, 3, 5, 2, 4, 4],
    )[0]  # fmt: skip
    return draw(rng)


def _pod(rng: random.Random) -> Action:
    number = rng.randrange(12)
    notes: list[dict[str, str]] = [
        {},
        {f"{NOTE}ip_address": f"10.198.0.{60 + number % 9}"},
        {f"{NOTE}ip_pool": "pool1"},
        {f"{NOTE}ip_pool": "10.198.0.80,10.198.0.81,10.198.0.82"},
        {f"{NOTE}aaps": "vip1"},
        {f"{NOTE}vip": "vip0"},
        {NETWORKS: "c/net"},
    ]
    return ("noted", "c", f"q{number}", rng.choice(NODES), rng.choice(notes))


def _gone(rng: random.Random) -> Action:
    return (rng.choice(("delete", "delete", "complete")), "c", f"q{rng.randrange(12)}")


def _member(rng: random.Random) -> Action:
    return ("member", rng.choice(("web", "db")), rng.randrange(4), rng.choice(NODES))


def _member_gone(rng: random.Random) -> Action:
    return ("delete", "d", f"{rng.choice(('web', 'db'))}-{rng.randrange(4)}")


def _set(rng: random.Random) -> Action:
    name = rng.choice(("web", "db"))
    return ("remove_set", name) if rng.random() < 0.2 else ("scale", name, rng.randrange(5))


def _some(rng: random.Random, of: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    return [dict(entry) for entry in of if rng.random() < 0.5]


def _vpc(rng: random.Random) -> Action:
    number = rng.randint(1, 3)
    spec: dict[str, Any] = {"staticRoutes": _some(rng, _ROUTES), "policyRoutes": _some(rng, _POLICIES)}
    spec["vpcPeerings"] = [
        {"remoteVpc": f"v{other}", "localConnectIP": f"169.254.{number + other}.{1 if number < other else 2}/30"}
        for other in range(1, 4)
        if other != number and rng.random() < 0.5
    ]
    return ("put", "vpcs", f"v{number}", spec)


def _vpc_gone(rng: random.Random) -> Action:
    return ("remove", "vpcs", f"v{rng.randint(2, 3)}")


def _subnet(rng: random.Random) -> Action:
    """Make one, or move it to another VPC."""
    number = rng.randrange(4)
    vpc = rng.choice(("ovn-cluster", "v1", "v2", "v3"))
    return ("put", "subnets", f"x{number}", {"cidrBlock": f"10.19{number}.0.0/24", "vpc": vpc, "protocol": "IPv4"})


def _subnet_gone(rng: random.Random) -> Action:
    return ("remove", "subnets", f"x{rng.randrange(4)}")


def _options(rng: random.Random) -> Action:
    fields: list[dict[str, Any]] = [
        {"private": True, "allowSubnets": rng.choice((["10.99.0.0/28"], ["10.99.0.0/28", "10.16.0.0/16"]))},
        {"private": False, "allowSubnets": None},
        {"acls": _some(rng, _ACLS)},
        {"enableDHCP": True},
        {"enableDHCP": False},
        {"gatewayType": "centralized", "gatewayNode": ",".join(rng.sample(ALL_NODES, rng.randint(1, 3)))},
        {"gatewayType": "distributed", "gatewayNode": None},
        {"enableEcmp": rng.random() < 0.5},
        {"natOutgoing": rng.random() < 0.5},
        {"excludeIps": ["10.198.0.200..10.198.0.220"] if rng.random() < 0.5 else []},
    ]
    spec = rng.choice(fields)
    return ("put", "subnets", FIXED if "excludeIps" in spec else rng.choice((FIXED, SETS, ATTACHED)), spec)


def _underlay(rng: random.Random) -> Action:
    if rng.random() < 0.15:
        return ("remove", "subnets", UNDERLAY)
    spec: dict[str, Any] = {"cidrBlock": "172.30.0.0/24", "gateway": "172.30.0.1", "vlan": "vlan1", "protocol": "IPv4"}
    spec |= {"u2oInterconnection": rng.random() < 0.7, "vpc": rng.choice(("ovn-cluster", "v1"))}
    return ("put", "subnets", UNDERLAY, spec)


def _pool(rng: random.Random) -> Action:
    if rng.random() < 0.2:
        return ("remove", "ippools", "pool1")
    return ("put", "ippools", "pool1", {"subnet": FIXED, "ips": list(rng.choice(_POOLS))})


def _vip(rng: random.Random) -> Action:
    specs: list[dict[str, Any]] = [
        {"subnet": FIXED},
        {"subnet": FIXED, "namespace": "c"},
        {"subnet": FIXED, "type": "switch_lb_vip"},
    ]
    number = rng.randrange(3)
    return ("put", "vips", f"vip{number}", specs[number])


def _vip_gone(rng: random.Random) -> Action:
    return ("remove", "vips", f"vip{rng.randrange(3)}")


def _node(rng: random.Random) -> Action:
    return (rng.choice(("node", "remove_node")), rng.choice(EXTRA_NODES))

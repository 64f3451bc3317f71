"""Edits of one field or object, of every kind that rows depend on.

An edit changes a world whose objects are as Kube-OVN left them, in place, and says what it did; "" when there is
nothing that it could be done to. No edit leaves a cluster that complains: errors are not what is judged here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.oracle import addresses, pods, subnets
from tests.oracle.world import OVN, Json, World, name, notes, ready, spec, status

ACL = {"direction": "to-lport", "priority": 1777, "match": "udp", "action": "drop"}
ROUTE = {"cidr": "172.30.0.0/24", "nextHopIP": "10.100.0.77", "policy": "policyDst"}
POLICY = {"priority": 1777, "match": "ip4.dst == 198.51.100.9", "action": "drop"}


def users_subnets(world: World) -> list[Json]:
    """Subnets with a switch and addresses, but the join subnet."""
    own = (s for s in world.of("subnets") if subnets.is_ovn(s) and subnets.cidrs(s))
    return [s for s in own if name(s) != world.flags.node_switch]


def field(*choices: dict[str, Any]) -> Callable[[World, random.Random], str]:
    """An edit that sets fields of a subnet; None removes one."""

    def edit(world: World, rng: random.Random) -> str:
        subnet, fields = rng.choice(users_subnets(world)), rng.choice(choices)
        for key, value in fields.items():
            if value is None:
                subnet["spec"].pop(key, None)
            else:
                subnet["spec"][key] = value
        return f"{name(subnet)} {fields}"

    return edit


def toggle(key: str) -> Callable[[World, random.Random], str]:
    """An edit that turns a switch of a subnet."""

    def edit(world: World, rng: random.Random) -> str:
        subnet = rng.choice(users_subnets(world))
        subnet["spec"][key] = not subnet["spec"].get(key)
        return f"{name(subnet)} {key}={subnet['spec'][key]}"

    return edit


def virtual_ips(world: World, rng: random.Random) -> str:
    subnet = rng.choice(users_subnets(world))
    cidr = rng.choice(subnets.cidrs(subnet))
    if addresses.count(cidr) < 250:
        return ""
    held = subnet["spec"].get("vips") or []
    own = addresses.text(addresses.usable(cidr)[0] + 210, addresses.family(cidr))
    subnet["spec"]["vips"] = held[1:] if held and rng.random() < 0.5 else [*held, own]
    return f"{name(subnet)} vips={subnet['spec']['vips']}"


def another_gateway(world: World, rng: random.Random) -> str:
    subnet = rng.choice(users_subnets(world))
    if any(addresses.count(c) < 250 for c in subnets.cidrs(subnet)) or name(subnet) == world.flags.default_ls:
        return ""
    own = [addresses.text(addresses.usable(c)[0] + 250, addresses.family(c)) for c in subnets.cidrs(subnet)]
    subnet["spec"]["gateway"] = ",".join(own)
    return f"{name(subnet)} gateway={own}"


def gateway_type(world: World, rng: random.Random) -> str:
    own = [s for s in users_subnets(world) if subnets.logical(s) and subnets.in_default_vpc(s, world.flags)]
    able = [name(node) for node in world.nodes() if ready(node)]
    if not own or not able:
        return ""
    subnet = rng.choice(own)
    if spec(subnet)["gatewayType"] == "centralized" and rng.random() < 0.5:
        subnet["spec"]["gatewayType"] = "distributed"
    else:
        subnet["spec"] |= {
            "gatewayType": "centralized",
            "gatewayNode": ",".join(rng.sample(able, rng.randint(1, len(able)))),
        }
        subnet["spec"]["enableEcmp"] = rng.random() < 0.5
    return f"{name(subnet)} {spec(subnet)['gatewayType']} {spec(subnet)['gatewayNode']}"


def underlay_mode(world: World, rng: random.Random) -> str:
    own = [s for s in users_subnets(world) if not subnets.overlay(s) and name(s) != "ext-1"]
    own = [s for s in own if name(s) != world.flags.default_ls]
    if not own:
        return ""
    subnet = rng.choice(own)
    for key in ("logicalGateway", "u2oInterconnection", "u2oFeatures", "u2oInterconnectionIP"):
        subnet["spec"].pop(key, None)
    modes: list[Json] = [{}, {"logicalGateway": True}, {"u2oInterconnection": True}]
    modes.append({"u2oInterconnection": True, "u2oFeatures": {"overlayOnlyRouting": True}})
    chosen = rng.choice(modes)
    subnet["spec"] |= chosen
    lacks = not subnets.routed(subnet)
    if lacks and any(
        spec(v).get("type") == "switch_lb_vip" and spec(v)["subnet"] == name(subnet) for v in world.of("vips")
    ):
        subnet["spec"]["logicalGateway"] = True
    return f"{name(subnet)} {chosen}"


def tag(world: World, rng: random.Random) -> str:
    if not world.of("vlans"):
        return ""
    vlan = rng.choice(world.of("vlans"))
    vlan["spec"]["id"] = rng.randint(100, 200)
    return f"{name(vlan)} id={spec(vlan)['id']}"


def routes(world: World, rng: random.Random) -> str:
    vpc = rng.choice(world.of("vpcs"))
    for key, one in (("staticRoutes", ROUTE), ("policyRoutes", POLICY)):
        held = vpc["spec"].get(key) or []
        if rng.random() < 0.5:
            vpc["spec"][key] = held[1:] if held and rng.random() < 0.5 else [*held, dict(one)]
            return f"{name(vpc)} {key}={vpc['spec'][key]}"
    return ""


def peerings(world: World, rng: random.Random) -> str:
    own = [vpc for vpc in world.of("vpcs") if spec(vpc).get("vpcPeerings")]
    if not own:
        return ""
    vpc = rng.choice(own)
    vpc["spec"]["vpcPeerings"] = []
    return f"{name(vpc)} no peerings"


def bfd_port(world: World, rng: random.Random) -> str:
    vpc = rng.choice(world.of("vpcs"))
    if (spec(vpc).get("bfdPort") or {}).get("enabled"):
        vpc["spec"]["bfdPort"]["enabled"] = False
    elif any(f"{OVN}/chassis" in notes(node) for node in world.nodes()):
        vpc["spec"]["bfdPort"] = {"enabled": True, "ip": "10.255.255.250"}
    return f"{name(vpc)} {spec(vpc).get('bfdPort')}"


def node_address(world: World, rng: random.Random) -> str:
    node = rng.choice(world.nodes())
    own = rng.choice([["192.168.0.99"], ["192.168.0.99", "fd01::99"], ["fd01::99"], []])
    node["status"]["addresses"] = [{"type": "InternalIP", "address": a} for a in own]
    return f"{name(node)} {own}"


def node_readiness(world: World, rng: random.Random) -> str:
    node = rng.choice(world.nodes())
    node["status"]["conditions"] = [{"type": "Ready", "status": str(not ready(node))}]
    return f"{name(node)} ready={ready(node)}" if _has_ways_out(world) else ""


def node_gone(world: World, rng: random.Random) -> str:
    node = rng.choice(world.nodes())
    if len(world.nodes()) == 1:
        return ""
    world.of("nodes").remove(node)
    return f"{name(node)} deleted" if _has_ways_out(world) else ""


def node_new(world: World, rng: random.Random) -> str:
    condition = {"type": "Ready", "status": "True"}
    address = {"type": "InternalIP", "address": "192.168.0.77"}
    meta = {"name": "n-new", "labels": {"zone": "a"}, "annotations": {f"{OVN}/chassis": "chassis-new"}}
    told = {"addresses": [address], "conditions": [condition]}
    world.add({"kind": "Node", "metadata": meta, "spec": {}, "status": told})
    return "a new node"


def _has_ways_out(world: World) -> bool:
    """Whether each centralized subnet has a ready gateway, and each BFD or external port a node."""
    central = (s for s in world.of("subnets") if subnets.centralized(s, world.flags))
    hosts = [n for n in world.nodes() if notes(n).get(f"{OVN}/chassis") and ready(n)]
    outside = [n for n in hosts if (n["metadata"].get("labels") or {}).get(f"{OVN}/external-gw") == "true"]
    ports = any((spec(v).get("bfdPort") or {}).get("enabled") for v in world.of("vpcs"))
    externals = any(spec(v).get("enableExternal") for v in world.of("vpcs"))
    chosen = (not ports or bool([n for n in hosts if n["metadata"]["labels"].get("zone") == "a"])) and bool(hosts)
    return all(subnets.gateway_nodes(s, world) for s in central) and chosen and (not externals or bool(outside))


def pod_notes(world: World, rng: random.Random) -> str:
    own = [p for p in pods.served(world) if not p["metadata"].get("ownerReferences")]
    if not own:
        return ""
    pod = rng.choice(own)
    key, value = rng.choice(
        [
            ("port_security", "true"),
            ("port_security", "false"),
            ("security_groups", "web,db"),
            ("security_groups", ""),
            ("port_vips", "10.9.8.6"),
            ("layer2_forward", "true"),
            ("dhcp-v4-options", "lease_time=8"),
            ("dhcp-v4-options", ""),
            ("north_gateway", "10.9.9.9"),
            ("north_gateway", ""),
            ("aaps", ",".join(name(v) for v in world.of("vips"))),
        ]
    )
    pod["metadata"]["annotations"] |= {f"{OVN}/{key}": value}
    return f"{name(pod)} {key}={value}"


def pod_ends(world: World, rng: random.Random) -> str:
    own = [p for p in pods.served(world) if not p["metadata"].get("ownerReferences")]
    if not own:
        return ""
    pod = rng.choice(own)
    if rng.random() < 0.5:
        pod["spec"]["restartPolicy"] = "Never"
        pod["status"]["phase"] = "Succeeded"
        return f"{name(pod)} has succeeded"
    world.of("pods").remove(pod)
    return f"{name(pod)} deleted"


def pod_of_a_set_goes(world: World, rng: random.Random) -> str:
    own = [p for p in pods.served(world) if pods.owner(p, "StatefulSet")]
    if not own:
        return ""
    pod = rng.choice(own)
    world.of("pods").remove(pod)
    world.gone.append(pod)
    return f"{name(pod)} deleted"


def a_set_shrinks(world: World, rng: random.Random) -> str:
    """Nobody keeps the addresses of pods beyond the replicas, of those that are gone at least."""
    for chosen in world.of("statefulsets"):
        first = (spec(chosen).get("ordinals") or {}).get("start", 0)
        chosen["spec"]["replicas"] = 0
        own = [p for p in world.gone if pods.owner(p, "StatefulSet") == name(chosen)]
        world.gone = [p for p in world.gone if p not in own]
        return f"{name(chosen)} replicas=0 from {first}" if own else ""
    return ""


def pod_scheduled(world: World, rng: random.Random) -> str:
    own = [p for p in pods.served(world) if not spec(p).get("nodeName")]
    if not own:
        return ""
    pod = rng.choice(own)
    pod["spec"]["nodeName"] = name(rng.choice(world.nodes()))
    pod["status"]["phase"] = "Running"
    return f"{name(pod)} on {spec(pod)['nodeName']}"


def pool_members(world: World, rng: random.Random) -> str:
    if not world.of("ippools"):
        return ""
    pool = rng.choice(world.of("ippools"))
    if rng.random() < 0.5:
        pool["spec"]["enableAddressSet"] = not pool["spec"].get("enableAddressSet")
        return f"{name(pool)} enableAddressSet={pool['spec']['enableAddressSet']}"
    cidr = rng.choice(subnets.cidrs(world.subnet(spec(pool)["subnet"])))
    pool["spec"]["ips"] += [addresses.text(addresses.usable(cidr)[0] + 240, addresses.family(cidr))]
    return f"{name(pool)} ips={spec(pool)['ips']}"


def vip_selector(world: World, rng: random.Random) -> str:
    if not world.of("vips"):
        return ""
    vip = rng.choice(world.of("vips"))
    vip["spec"]["selector"] = [rng.choice(["app:web", "app:db", "app:none"])]
    return f"{name(vip)} {spec(vip)['selector']}"


def excluded(world: World, rng: random.Random) -> str:
    subnet = rng.choice(users_subnets(world))
    cidr = rng.choice(subnets.cidrs(subnet))
    if addresses.count(cidr) < 250:
        return ""
    first = addresses.usable(cidr)[0]
    ends = [addresses.text(first + n, addresses.family(cidr)) for n in (225, 229)]
    subnet["spec"]["excludeIps"] = [*subnet["spec"]["excludeIps"], "..".join(ends)]
    return f"{name(subnet)} excludeIps={spec(subnet)['excludeIps']}"


def bound_namespaces(world: World, rng: random.Random) -> str:
    subnet = rng.choice(users_subnets(world))
    if not status(subnet) or not spec(subnet).get("namespaces"):
        return ""
    held = {name(p): pods.primary_subnet(p, world) for p in world.gone}
    subnet["spec"]["namespaces"] = []
    spaces = {name(n): n for n in world.of("namespaces")}
    world.gone = [  # C.9: not kept when the namespace has lost the subnet
        p for p in world.gone if held[name(p)] in pods.namespace_subnets(spaces[p["metadata"]["namespace"]], world)
    ]
    return f"{name(subnet)} namespaces=[]"


EDITS: list[Callable[[World, random.Random], str]] = [
    *(toggle(key) for key in ("private", "enableDHCP", "enableLb", "natOutgoing", "allowEWTraffic")),
    *(toggle(key) for key in ("enableIPv6RA", "enableMulticastSnoop", "disableGatewayCheck")),
    field({"acls": [ACL]}, {"acls": [ACL], "allowEWTraffic": True}, {"acls": None}),
    field({"private": True, "allowSubnets": ["10.251.0.0/24", "fd78::/64"]}, {"allowSubnets": None}),
    field({"dhcpV4Options": "lease_time=9"}, {"dhcpV6Options": "dns_server=fd00::5"}, {"dhcpV4Options": None}),
    field({"mtu": 1333}, {"mtu": None}),
    field({"routeTable": "rtb-9"}, {"routeTable": None}),
    virtual_ips,
    another_gateway,
    gateway_type,
    underlay_mode,
    tag,
    routes,
    peerings,
    bfd_port,
    node_address,
    node_readiness,
    node_gone,
    node_new,
    pod_notes,
    pod_ends,
    pod_of_a_set_goes,
    a_set_shrinks,
    pod_scheduled,
    pool_members,
    vip_selector,
    excluded,
    bound_namespaces,
]

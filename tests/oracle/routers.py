"""Routers of VPCs: D.5."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from tests.oracle import subnets, vpcs
from tests.oracle.addresses import family, parts
from tests.oracle.rows import Ref, Row, dotted, row
from tests.oracle.subnets import cidrs, gateway
from tests.oracle.switches import router_port, uplink_pair
from tests.oracle.ways import policy
from tests.oracle.world import OVN, Drawn, Json, World, chassis, labels, name, spec, status


def router(vpc: Json, world: World) -> Iterator[Row]:
    options = {"mac_binding_age_threshold": "300", "dynamic_neigh_routers": "true"}
    own = subnets.of_vpc(world, name(vpc))
    if not (spec(vpc).get("enableExternal") or spec(vpc).get("vpcPeerings") or any(map(subnets.u2o, own))):
        options["always_learn_from_arp_request"] = "false"
    yield row("Logical_Router", name=name(vpc), options=options)


def peerings(vpc: Json, drawn: Drawn) -> Iterator[Row]:
    for peering in spec(vpc).get("vpcPeerings") or ():
        own, remote = name(vpc), peering["remoteVpc"]
        mac, networks = drawn.router_macs[f"{own}-{remote}"], parts(peering["localConnectIP"])
        yield router_port(own, f"{own}-{remote}", mac, networks, peer=f"{remote}-{own}")


def static_routes(vpc: Json, world: World) -> list[Row]:
    policies = {"policyDst": "dst-ip", "policySrc": "src-ip"}
    wanted: dict[tuple[str, str, str, str], None] = {}
    for route in spec(vpc).get("staticRoutes") or ():
        wanted[(route["routeTable"], policies[route["policy"]], route["cidr"], route["nextHopIP"])] = None
    if name(vpc) == world.flags.cluster_router:
        join = world.subnet(world.flags.node_switch)
        for table in ["", *(r["routeTable"] for r in spec(vpc).get("staticRoutes") or ())]:
            for cidr in cidrs(join):
                anywhere = "0.0.0.0/0" if family(cidr) == 4 else "::/0"
                wanted[(table, "dst-ip", anywhere, gateway(join, cidr))] = None
    else:
        for subnet in subnets.of_vpc(world, name(vpc)):
            for cidr in cidrs(subnet):
                tables = [spec(subnet).get("routeTable", ""), *([""] if subnets.routed(subnet) else [])]
                wanted |= {(table, "src-ip", cidr, gateway(subnet, cidr)): None for table in tables}
    place = ("Logical_Router", name(vpc), "static_routes")
    return [
        row("Logical_Router_Static_Route", place, route_table=table, policy=policy, ip_prefix=prefix, nexthop=hop)
        for table, policy, prefix, hop in wanted
    ]


def policy_routes(vpc: Json) -> Iterator[Row]:
    for route in spec(vpc).get("policyRoutes") or ():
        made = policy(name(vpc), route["priority"], route["match"], parts(route.get("nextHopIP", "")))
        yield made._replace(columns={**made.columns, "action": route["action"]})


def overlay_cidrs(vpc: Json, world: World) -> Iterator[Row]:
    mine = subnets.of_vpc(world, name(vpc))
    own = [c for s in mine if subnets.overlay(s) for c in cidrs(s)]
    for version in (4, 6) if own or any(map(subnets.overlay_only, mine)) else ():
        held = sorted(c for c in own if family(c) == version)
        ids = {"isU2OOverlayCIDRs": "true", "vpc": name(vpc)}
        yield row("Address_Set", name=dotted(f"{name(vpc)}.u2o_overlay_cidrs.ip{version}"), addresses=held, ids=ids)


def bfd_port(vpc: Json, world: World, drawn: Drawn) -> Iterator[Row]:
    if not (nodes := status(vpc)["bfdPort"].get("nodes")):
        return
    port = f"bfd@{name(vpc)}"
    columns: dict[str, Any] = {"options": {"bfd-only": "true"}, "ha_chassis_group": Ref("HA_Chassis_Group", port)}
    yield router_port(name(vpc), port, drawn.router_macs[port], parts(spec(vpc)["bfdPort"]["ip"]), **columns)
    yield row("HA_Chassis_Group", name=port, ids={"lrp": port})
    known = {name(node): chassis(node) for node in world.nodes()}
    for index, node in enumerate(nodes):
        place = ("HA_Chassis_Group", port, "ha_chassis")
        yield row("HA_Chassis", place, {"group": port}, chassis_name=known[node], priority=100 - index)


def externals(vpc: Json, world: World) -> Iterator[Row]:
    if name(vpc) == world.flags.cluster_router:
        return
    for external in vpcs.external_subnets(vpc):
        port, subnet = f"{name(vpc)}-{external}", world.subnet(external)
        eip = world.one("ovn-eips", port)
        assert eip is not None
        told = status(eip)
        masks = {family(c): c.partition("/")[2] for c in cidrs(subnet)}
        networks = [f"{told[k]}/{masks[v]}" for v, k in ((4, "v4Ip"), (6, "v6Ip")) if told.get(k)]
        yield from uplink_pair(external, name(vpc), told["macAddress"], networks)
        able = [chassis(n) for n in world.nodes() if labels(n).get(f"{OVN}/external-gw") == "true" and chassis(n)]
        able.sort(key=lambda one: hashlib.sha256(f"{name(vpc)}{one}".encode()).hexdigest())
        for index, one in enumerate(able):
            columns = {"name": f"{port}-{one}", "chassis_name": one, "priority": 100 - index}
            yield Row(
                "Gateway_Chassis",
                {**columns, "external_ids": {"lrp": port}},
                ("Logical_Router_Port", port, "gateway_chassis"),
            )

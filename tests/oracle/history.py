"""What differs from one Kube-OVN to another with the same objects: order of events, age, the parts of others.

None of it is a difference to whoever takes over. Each function changes what the oracle says, in place.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.oracle import pods, subnets, ways
from tests.oracle.rows import Ref, Row
from tests.oracle.world import Json, World, chassis, name, spec, status


def shuffle_namespaces(world: World, rng: random.Random) -> None:
    """The order of a namespace's subnets (B.5 says none), before anything is made of it."""
    for namespace in world.of("namespaces"):
        found = pods.namespace_subnets(namespace, world)
        world.orders[name(namespace)] = rng.sample(found, len(found))


def age(world: World, rng: random.Random) -> None:
    """Objects: lists that were appended to, conditions of earlier times, what daemons reported."""
    for vlan in world.of("vlans"):
        if "subnets" in status(vlan):
            rng.shuffle(vlan["status"]["subnets"])
    for network in world.of("provider-networks"):
        rng.shuffle(network["status"].get("vlans", []))
        if rng.random() < 0.5:
            network["status"] |= _ready(network, world)
    for subnet in world.of("subnets"):
        if subnets.centralized(subnet, world.flags) and rng.random() < 0.3:
            for condition in subnet["status"]["conditions"][:2]:
                condition["reason"] = "ReconcileCentralizedGatewaySuccess"
        if rng.random() < 0.1:  # repaired since; Kube-OVN never takes it back (E.1)
            subnet["status"]["conditions"][2] |= {"status": "True", "reason": "NoReadyGateway", "message": "once"}
    for vip in world.of("vips"):
        if rng.random() < 0.5:
            vip["status"].pop("selector", None)


def _ready(network: Json, world: World) -> Json:
    """What a network's agents report, by labels of their nodes, and the status that comes of it (D.17)."""
    prefix, excluded = f"{name(network)}.provider-network.kubernetes.io", spec(network).get("excludeNodes", ())
    for node in world.nodes():
        own = {"exclude": "true"} if name(node) in excluded else {"ready": "true", "interface": "eth1", "mtu": "1500"}
        node["metadata"]["labels"] |= {f"{prefix}/{key}": value for key, value in own.items()}
    nodes = [name(node) for node in world.nodes() if name(node) not in excluded]
    when = {"lastTransitionTime": "2026-11-24T00:00:00Z", "lastUpdateTime": "2026-11-24T00:00:00Z"}
    told = {**when, "reason": "InitOVSBridgeSucceeded", "status": "True", "type": "Ready"}
    return {"ready": True, "readyNodes": nodes, "conditions": [{**told, "node": node} for node in nodes]}


def weather(rows: list[Row], world: World, rng: random.Random) -> list[Row]:
    """Rows: columns of northd, the order of lists, options of live migrations (D.22)."""
    machines = {
        pods.port_name(p, net, world)
        for p in pods.served(world)
        if pods.holder(p, world) != name(p)
        for net in pods.nets(p, world)
    }
    return [_weathered(row, machines, world, rng) for row in rows]


def _weathered(row: Row, machines: set[str], world: World, rng: random.Random) -> Row:
    columns: dict[str, Any] = dict(row.columns)
    if row.table == "NB_Global":
        northd = {"mac_prefix": "3e:ec:47", "max_tunid": "16711680", "northd_internal_version": "25.03.0"}
        columns["options"] = {**columns["options"], **northd, "svc_monitor_mac": "aa:a6:f3:88:99:8f"}
        columns |= {"external_ids": {"kube-ovn-version": "v1.17.0"}, "nb_cfg": 7, "sb_cfg": 7}
    if row.table == "Logical_Switch_Port":
        columns["up"] = rng.random() < 0.5
        if parents := (columns.get("options") or {}).get("virtual-parents"):
            names = parents.split(",")
            columns["options"] = {**columns["options"], "virtual-parents": ",".join(rng.sample(names, len(names)))}
        if columns["name"] in machines and rng.random() < 0.5:
            hosts = [chassis(node) for node in world.nodes()]
            columns["options"] = {"requested-chassis": ",".join(hosts[:2]), "activation-strategy": "rarp"}
    if row.table == "Logical_Router_Policy" and columns["priority"] == 30050 and rng.random() < 0.5:
        # The specification marks all policies of overlayOnly; Kube-OVN's own unit test has this one without.
        kept = {k: v for k, v in columns["external_ids"].items() if k != "isU2OOverlayOnlyRoutePolicy"}
        columns["external_ids"] = kept
    return row._replace(columns=columns)


def group(rows: list[Row], world: World, rng: random.Random) -> list[Row]:
    """The members of nodes' groups: as they are when pods are routed (D.3), or a minute later (D.4)."""
    ports = {row.columns["name"] for row in rows if row.table == "Logical_Switch_Port"}
    rule, found = rng.choice([_routed, _probed]), []
    for row in rows:
        if row.table == "Port_Group" and row.columns["external_ids"].get("np", "").startswith("node/"):
            node = row.columns["external_ids"]["node"]
            members = [Ref("Logical_Switch_Port", port) for port in rule(node, world) if port in ports]
            row = row._replace(columns={**row.columns, "ports": members})
        found.append(row)
    return found


def _on(node: str, world: World) -> Iterator[tuple[Json, pods.Net, str]]:
    for pod in pods.served(world):
        if spec(pod).get("nodeName") == node:
            yield from ((pod, net, pods.port_name(pod, net, world)) for net in pods.nets(pod, world))


def _routed(node: str, world: World) -> list[str]:
    on = _on(node, world)
    return [port for _, n, port in on if subnets.in_default_vpc(n.subnet, world.flags) and subnets.logical(n.subnet)]


def _probed(node: str, world: World) -> list[str]:
    return [port for pod, _, port in _on(node, world) if ways.probed(pod, world)]

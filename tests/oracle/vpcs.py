"""VPCs: what a spec stands for, names of balancers, nodes of BFD ports (D.5, D.9, F.2)."""

from __future__ import annotations

from tests.oracle.world import Json, World, chassis, labels, name, ready, selected, spec

BALANCERS = [f"{protocol}{kind}" for protocol in ("tcp", "udp", "sctp") for kind in ("", "-session")]


def complete(vpc: Json) -> None:
    empty = {"bfdId": "", "cidr": "", "ecmpMode": "", "nextHopIP": "", "policy": "policyDst", "routeTable": ""}
    if routes := vpc["spec"].get("staticRoutes"):
        vpc["spec"]["staticRoutes"] = [{**empty, **{k: v for k, v in r.items() if v}} for r in routes]
    for route in vpc["spec"].get("policyRoutes") or ():
        if route["action"] != "reroute":
            route.pop("nextHopIP", None)


def balancer_names(vpc: str, world: World) -> dict[str, str]:
    """Kind → name of a VPC's load balancers (D.9)."""
    if vpc == world.flags.cluster_router:
        names = {kind: f"cluster-{kind}-loadbalancer" for kind in BALANCERS}
        return names | {"tcp": world.flags.cluster_tcp_loadbalancer}
    return {kind: f"vpc-{vpc}-{kind.replace('-session', '-sess')}-load" for kind in BALANCERS}


def external_subnets(vpc: Json) -> list[str]:
    """The external subnets to which a custom VPC's router is attached (D.5)."""
    if not spec(vpc).get("enableExternal"):
        return []
    return list(spec(vpc).get("extraExternalSubnets") or ["external"])


def bfd_nodes(vpc: Json, world: World) -> tuple[list[str], int]:
    """The nodes on which a VPC's BFD port may be, and how many it is on: with a selector all that match, else three
    (D.5; that they are ready: docs/differences.md)."""
    port = spec(vpc).get("bfdPort") or {}
    if not port.get("enabled"):
        return [], 0
    chosen = port.get("nodeSelector")
    able = [n for n in world.nodes() if chassis(n) and selected(chosen or {}, labels(n))]
    able = [n for n in able if ready(n)] or able
    return [name(n) for n in able], len(able) if chosen else min(3, len(able))

"""The rows of the OVN NB database, for objects as Kube-OVN left them (D.1–D.5, D.13, D.17, H.3).

One function for each table of the spec: `switches` (D.2), `ways` (D.2.3, D.2.4), `ports` (D.3, D.4, D.13), `routers`
(D.5), and what the whole database has here. Values are as in `nb.json`: text, numbers, maps, and lists for sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.oracle import pods, ports, routers, subnets, switches, vpcs, ways
from tests.oracle.rows import Row, row
from tests.oracle.world import Drawn, World, name


def rows(world: World, drawn: Drawn) -> list[Row]:
    """All rows, for a world that `left.leave` made."""
    found: list[Row] = [*_global(world), *_balancers(world), *_deny_all()]
    for vpc in world.of("vpcs"):
        found += [
            *routers.router(vpc, world),
            *routers.peerings(vpc, drawn),
            *routers.static_routes(vpc, world),
            *routers.policy_routes(vpc),
        ]
        found += [
            *routers.overlay_cidrs(vpc, world),
            *routers.bfd_port(vpc, world, drawn),
            *routers.externals(vpc, world),
        ]
    for subnet in filter(subnets.is_ovn, world.of("subnets")):
        found += [
            *switches.switch(subnet, world),
            *switches.uplink(subnet, drawn),
            *switches.localnet(subnet, world),
            *switches.dhcp(subnet, drawn, world),
        ]
        found += [
            *switches.private(subnet, world),
            *switches.user_acls(subnet),
            *switches.virtual(subnet, world),
            *switches.querier(subnet),
        ]
        found += [*ways.allow(subnet, world), *ways.u2o(subnet, world), *ways.u2o_without_balancers(subnet, world)]
        found += [*ways.distributed(subnet, world), *ways.centralized(subnet, world)]
    for node in world.nodes():
        found += [*ports.node(node, world)]
    for pod in [*pods.served(world), *world.gone]:
        for net in pods.nets(pod, world):
            if subnets.is_ovn(net.subnet):
                found += [*ports.port(pod, net, drawn, world)]
    found += [r for vip in world.of("vips") for r in ports.vip(vip, world)]
    found += [r for pool in world.of("ippools") for r in ports.pool(pool)]
    return found


def _global(world: World) -> Iterator[Row]:
    flags = world.flags
    options = {"use_ct_inv_match": "false"}
    options |= {"ls_dnat_mod_dl_dst": str(flags.ls_dnat_mod_dl_dst).lower()}
    options |= {"ls_ct_skip_dst_lport_ips": str(flags.ls_ct_skip_dst_lport_ips).lower()}
    if flags.node_local_dns_ip:
        options["node_local_dns_ip"] = flags.node_local_dns_ip
    if flags.skip_conntrack_dst_cidrs:
        options["skip_conntrack_ipcidrs"] = flags.skip_conntrack_dst_cidrs
    yield Row("NB_Global", {"options": options})


def _balancers(world: World) -> Iterator[Row]:  # D.9
    for vpc in world.of("vpcs") if world.flags.enable_lb else ():
        for kind, called in vpcs.balancer_names(name(vpc), world).items():
            protocol, _, session = kind.partition("-")
            options = {"prefer_local_backend": str(world.flags.enable_ovn_lb_prefer_local).lower()}
            columns: dict[str, Any] = {"protocol": protocol, "options": options}
            if session:
                columns["selection_fields"] = ["ip_src", "ipv6_src"]
                options["affinity_timeout"] = "10800"
            elif protocol == "udp":
                options["ct_flush"] = "true"
            yield row("Load_Balancer", name=called, **columns)


def _deny_all() -> Iterator[Row]:  # D.8, I
    group = "ovn.sg.kubeovn_deny_all"
    yield row("Port_Group", name=group, ports=[], ids={"type": "security_group", "sg": "kubeovn_deny_all"})
    for tier in (2, 3):
        for direction, port in (("to-lport", "outport"), ("from-lport", "inport")):
            match = f"{port} == @{group} && ip"
            yield switches.acl("Port_Group", group, direction, 2003, match, "drop", tier=tier)

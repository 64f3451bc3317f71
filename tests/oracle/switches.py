"""Switches of subnets: D.2, D.2.1, D.2.2."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from tests.oracle import addresses, pods, subnets, vpcs
from tests.oracle.addresses import family, parts
from tests.oracle.rows import Ref, Row, row
from tests.oracle.subnets import cidrs, gateway
from tests.oracle.world import Drawn, Json, World, name, spec, status


def acl(table: str, parent: str, direction: str, priority: int, match: str, action: str, **more: Any) -> Row:
    ids = {"parent": parent, **more.pop("ids", {})}
    columns = {"direction": direction, "priority": priority, "match": match, "action": action, "tier": 2, **more}
    return row("ACL", (table, parent, "acls"), ids, **columns)


def switch(subnet: Json, world: World) -> Iterator[Row]:
    columns: dict[str, Any] = {"load_balancer": []}
    if subnets.balanced(subnet, world.flags):
        names = vpcs.balancer_names(spec(subnet)["vpc"], world).values()
        columns["load_balancer"] = [Ref("Load_Balancer", called) for called in names]
    if spec(subnet).get("enableMulticastSnoop"):
        told = status(subnet)
        config = {"mcast_snoop": "true", "mcast_querier": "true", "mcast_eth_src": told["mcastQuerierMAC"]}
        if own := addresses.of_family(told["mcastQuerierIP"], 4):  # docs/differences.md: Kube-OVN's may be `v4,v6`
            config["mcast_ip4_src"] = own
        columns["other_config"] = config
    yield row("Logical_Switch", name=name(subnet), **columns)


def switch_port(switch: str, called: str, ids: dict[str, str] | None = None, **columns: Any) -> Row:
    return row(
        "Logical_Switch_Port",
        ("Logical_Switch", switch, "ports"),
        {"ls": switch, **(ids or {})},
        name=called,
        **columns,
    )


def uplink_pair(switch: str, vpc: str, mac: str, networks: list[str], **columns: Any) -> Iterator[Row]:
    yield router_port(vpc, f"{vpc}-{switch}", mac, networks, **columns)
    options = {"router-port": f"{vpc}-{switch}"}
    yield switch_port(switch, f"{switch}-{vpc}", type="router", addresses=["router"], options=options)


def router_port(router: str, called: str, mac: str, networks: list[str], **columns: Any) -> Row:
    place = ("Logical_Router", router, "ports")
    return row("Logical_Router_Port", place, {"lr": router}, name=called, mac=mac, networks=networks, **columns)


def uplink(subnet: Json, drawn: Drawn) -> Iterator[Row]:
    if not subnets.routed(subnet):
        return
    vpc, columns = spec(subnet)["vpc"], dict[str, Any]()
    told = status(subnet)
    own = told["u2oInterconnectionIP"] if subnets.u2o(subnet) else spec(subnet)["gateway"]
    networks = [f"{addresses.of_family(own, family(c))}/{c.partition('/')[2]}" for c in cidrs(subnet)]
    if spec(subnet).get("routeTable"):
        columns["options"] = {"route_table": spec(subnet)["routeTable"]}
    v6 = [c for c in cidrs(subnet) if family(c) == 6]
    if spec(subnet).get("enableIPv6RA") and v6:
        given = spec(subnet).get("ipv6RAConfigs") or (
            "address_mode=dhcpv6_stateful,max_interval=30,min_interval=5,send_periodic=true"
        )
        columns["ipv6_ra_configs"] = _options(given)
        columns["ipv6_prefix"] = [c.partition("/")[2] for c in v6]
    mac = told["u2oInterconnectionMAC"] if subnets.u2o(subnet) else drawn.router_macs[f"{vpc}-{name(subnet)}"]
    yield from uplink_pair(name(subnet), vpc, mac, networks, **columns)


def _options(text: str) -> dict[str, str]:
    found = {}
    for part in parts(text):
        key, _, value = part.partition("=")
        found[key.strip()] = value.strip()
    return found


def localnet(subnet: Json, world: World) -> Iterator[Row]:
    if subnets.overlay(subnet):
        return
    vlan = subnets.vlan_of(subnet, world)
    ids = {f"ipv{family(c)}_network": c for c in cidrs(subnet)}
    tag = {"tag": spec(vlan)["id"]} if spec(vlan).get("id") else {}
    columns = {"type": "localnet", "addresses": ["unknown"], "options": {"network_name": spec(vlan)["provider"]}, **tag}
    yield switch_port(name(subnet), f"localnet.{name(subnet)}", ids, **columns)


def dhcp(subnet: Json, drawn: Drawn, world: World) -> Iterator[Row]:
    if spec(subnet).get("enableDHCP"):
        for cidr in cidrs(subnet):
            yield dhcp_row(subnet, cidr, spec(subnet).get(f"dhcpV{family(cidr)}Options", ""), "", drawn, world)


def dhcp_row(subnet: Json, cidr: str, given: str, port: str, drawn: Drawn, world: World) -> Row:
    protocol = f"IPv{family(cidr)}"
    key = (name(subnet), protocol, port)
    server = drawn.dhcp_macs.get(key) or _any_mac("/".join(key))
    if family(cidr) == 4:
        router = addresses.of_family(status(subnet)["u2oInterconnectionIP"], 4) or gateway(subnet, cidr)
        options = {"lease_time": "3600", "router": router, "server_id": "169.254.0.254"}
        options |= {"server_mac": server, "mtu": str(mtu(subnet, world))}
    else:
        options = {"server_id": server}
    options |= {k: v.replace(";", ",") if k == "dns_server" else v for k, v in _options(given).items()}
    ids = {"ls": name(subnet), "protocol": protocol, **({"port": port} if port else {})}
    return row("DHCP_Options", ids=ids, cidr=cidr, options=options)


def _any_mac(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ":".join(["0a", *(digest[i : i + 2] for i in range(0, 10, 2))])


def mtu(subnet: Json, world: World) -> int:
    own = spec(subnet).get("mtu")
    return int(own) if own else world.flags.tunnel_mtu() if subnets.overlay(subnet) else 1500


def private(subnet: Json, world: World) -> Iterator[Row]:  # D.2.1
    if not spec(subnet).get("private"):
        return
    join = world.subnet(world.flags.node_switch)
    called, place = name(subnet), ("Logical_Switch", name(subnet), "to-lport")
    yield acl(*place, 1000, "ip", "drop", name=called, log=True, severity="warning")
    for cidr in cidrs(subnet):
        ip = f"ip{family(cidr)}"
        yield acl(*place, 1001, f"{ip}.src == {cidr} && {ip}.dst == {cidr}", "allow-related")
        for other in cidrs(join):
            if family(other) == family(cidr):
                yield acl(*place, 3000, f"{ip}.src == {other}", "allow-related")
        for other in spec(subnet).get("allowSubnets") or ():
            if family(other) == family(cidr):
                ways = [f"({ip}.src == {a} && {ip}.dst == {b})" for a, b in ((cidr, other), (other, cidr))]
                yield acl(*place, 1001, " || ".join(ways), "allow-related")


def user_acls(subnet: Json) -> Iterator[Row]:  # D.2.2
    acls, ids = spec(subnet).get("acls") or (), {"subnet": name(subnet)}
    place = ("Logical_Switch", name(subnet))
    for one in acls:
        yield acl(*place, one["direction"], one["priority"], one["match"], one["action"], ids=ids)
    if acls and spec(subnet).get("allowEWTraffic"):
        for direction in ("to-lport", "from-lport"):
            for cidr in cidrs(subnet):
                ip = f"ip{family(cidr)}"
                match = f"{ip}.src == {cidr} && {ip}.dst == {cidr}"
                yield acl(*place, direction, 1900, match, "allow", ids=ids)


def virtual(subnet: Json, world: World) -> Iterator[Row]:
    """Ports of spec.vips, with the ports that may take them over."""
    for vip in spec(subnet).get("vips") or ():
        parents = [port for port, own, vips in attached(world) if own == name(subnet) and vip in vips]
        options = {"virtual-ip": vip, **({"virtual-parents": ",".join(sorted(parents))} if parents else {})}
        yield switch_port(name(subnet), f"{name(subnet)}-vip-{vip}", type="virtual", options=options)


def attached(world: World) -> Iterator[tuple[str, str, list[str]]]:
    """Ports with virtual addresses: name, switch, addresses."""
    for pod in [*pods.served(world), *world.gone]:
        for net in pods.nets(pod, world):
            if subnets.is_ovn(net.subnet) and (vips := pods.virtual_addresses(pod, net, world)):
                yield pods.port_name(pod, net, world), name(net.subnet), vips


def querier(subnet: Json) -> Iterator[Row]:
    if spec(subnet).get("enableMulticastSnoop"):
        told, called = status(subnet), f"mcast-querier.{name(subnet)}"
        address = " ".join([told["mcastQuerierMAC"], *parts(told["mcastQuerierIP"])])
        yield switch_port(name(subnet), called, {"pod": f"default/{called}"}, addresses=[address])

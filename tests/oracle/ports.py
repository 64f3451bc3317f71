"""Ports of pods, nodes and Vips, and address sets of IPPools (D.3, D.4, D.13, E.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.oracle import addresses, pods
from tests.oracle.addresses import family, parts
from tests.oracle.rows import Ref, Row, dotted, row
from tests.oracle.subnets import cidrs
from tests.oracle.switches import dhcp_row, switch_port
from tests.oracle.ways import join_address, members, north, policy
from tests.oracle.world import OVN, Drawn, Json, World, dhcp_label, internal_ip, labels, name, notes, spec


def port(pod: Json, net: pods.Net, drawn: Drawn, world: World) -> Iterator[Row]:
    called, subnet = pods.port_name(pod, net, world), net.subnet
    lease, told = drawn.leases[called], notes(pod)
    vips = pods.virtual_addresses(pod, net, world)
    address = " ".join(filter(None, (lease.mac, lease.v4, lease.v6)))
    columns: dict[str, Any] = {"addresses": [address]}
    if told.get(net.note("layer2_forward")) == "true":
        columns["addresses"].append("unknown")
    if told.get(net.note("port_security")) == "true":
        columns["port_security"] = [" ".join([address, *vips])]
    ids = {"pod": f"{pod['metadata']['namespace']}/{pods.holder(pod, world)}"}
    groups = parts(told.get(net.note("security_groups"), ""))
    if groups:
        ids |= {"security_groups": "/".join(groups), **{f"associated_sg_{g}": "true" for g in groups}}
    if spec(subnet)["vpc"] != "ovn-cluster" and "default-securitygroup" not in groups:
        ids["associated_sg_default-securitygroup"] = "false"
    if vips:
        ids |= {"vips": ",".join(vips), "attach-vips": "true"}
    given = {v: told.get(net.note(f"dhcp-v{v}-options"), "") for v in (4, 6)}
    for cidr in cidrs(subnet):
        version, protocol = family(cidr), f"IPv{family(cidr)}"
        if given[version]:
            yield dhcp_row(subnet, cidr, given[version], called, drawn, world)
        if not (lease.v4 if version == 4 else lease.v6):
            continue
        if given[version]:
            columns[f"dhcpv{version}_options"] = Ref("DHCP_Options", dhcp_label(name(subnet), protocol, called))
        elif spec(subnet).get("enableDHCP"):
            columns[f"dhcpv{version}_options"] = Ref("DHCP_Options", dhcp_label(name(subnet), protocol))
    yield switch_port(name(subnet), called, ids, **columns)
    yield from north(pod, net, lease.joined(), world)


def vip(vip: Json, world: World) -> Iterator[Row]:
    subnet, own = world.subnet(spec(vip)["subnet"]), spec(vip).get("namespace", "")
    both = list(filter(None, (spec(vip)["v4ip"], spec(vip)["v6ip"])))
    provider = spec(subnet)["provider"]
    port = f"{name(vip)}.{own}" + ("" if provider == "ovn" else f".{provider}")
    address = [" ".join([spec(vip)["macAddress"], *both])]
    if spec(vip).get("type") == "switch_lb_vip":
        yield switch_port(name(subnet), port, addresses=address, options={"arp_proxy": "true"})
    elif spec(vip).get("type") == "kube_host_vm_vip":
        yield switch_port(name(subnet), port, addresses=address)
    elif own:
        parents = ",".join(sorted(_parents(vip, subnet, world)))
        options = {"virtual-ip": ",".join(both), **({"virtual-parents": parents} if parents else {})}
        yield switch_port(name(subnet), name(vip), type="virtual", options=options)


def _parents(vip: Json, subnet: Json, world: World) -> Iterator[str]:
    for pod in pods.served(world):
        if pod["metadata"]["namespace"] != spec(vip)["namespace"]:
            continue
        chosen = [entry.split(":", 1) for entry in spec(vip).get("selector") or ()]
        if any(labels(pod).get(key.strip()) != value.strip() for key, value in chosen):
            continue
        if name(vip) in parts(notes(pod).get(f"{OVN}/aaps", "")):
            yield from (pods.port_name(pod, n, world) for n in pods.nets(pod, world) if n.subnet is subnet)


def pool(pool: Json) -> Iterator[Row]:  # E.1, H.2
    if spec(pool).get("enableAddressSet"):
        own = [(family(e), addresses.expand(e)) for e in spec(pool)["ips"]]
        held = [b for v in (4, 6) for b in addresses.blocks([r for f, r in own if f == v], v)]
        yield row("Address_Set", name=dotted(name(pool)), addresses=held, ids={"ippool": name(pool)})


def node(node: Json, world: World) -> Iterator[Row]:
    join, flags = world.flags.node_switch, world.flags
    address = " ".join([notes(node)[f"{OVN}/mac_address"], *parts(notes(node)[f"{OVN}/ip_address"])])
    yield switch_port(join, f"node-{name(node)}", addresses=[address])
    group = dotted(f"node.{name(node)}")
    ids = {"node": name(node), "np": f"node/{name(node)}"}
    yield row("Port_Group", name=group, ports=members(world, group), ids=ids)
    for version in (4, 6):
        hop, own = join_address(node, version), internal_ip(node, version)
        about = {"node": name(node), "address-family": str(version)}
        if hop and own:
            yield policy(flags.cluster_router, 30000, f"ip{version}.dst == {own}", [hop], **about)
        for dns in parts(flags.node_local_dns_ip) if hop and own else ():
            if family(dns) == version:
                match = f"ip{version}.src == ${group}_ip{version} && ip{version}.dst == {dns}"
                yield policy(flags.cluster_router, 30000, match, [hop], **about, isLocalDnsCache="true")

"""Who holds addresses, which ones are allowed (C.2–C.9), and a draw of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from tests.oracle import addresses, pods, subnets, vpcs
from tests.oracle.addresses import Range
from tests.oracle.world import OVN, Drawn, Json, Lease, World, internal_ip, name, notes, spec, status


class Claim(NamedTuple):
    """One holder's wish. `allowed`: by family, what a draw may give; `fixed`: what must be given."""

    key: str
    subnet: Json
    allowed: dict[int, list[Range]]
    fixed: dict[int, str] = {}
    mac: str | None = None
    """A MAC address that must be given; "" for none, None for any."""
    same: str = ""
    """The claim whose addresses and MAC address these are."""

    @property
    def free(self) -> bool:
        """Whether any of its addresses is drawn."""
        return any(version not in self.fixed for version in self.allowed)


def claims(world: World) -> list[Claim]:
    """All claims of a world whose objects are complete; those with fixed addresses first."""
    found = [*_nodes(world), *_subnets_own(world), *_vips(world), *_pods(world)]
    return sorted(found, key=lambda claim: claim.free)


def draw(world: World, rng: random.Random, *, lowest: bool = False) -> Drawn:
    """Everything that is drawn, for a world whose objects are complete."""
    drawn, used = Drawn(), {name(s): set[str]() for s in world.of("subnets")}
    for eip in world.of("ovn-eips"):
        told = status(eip)
        drawn.leases[f"eip/{name(eip)}"] = Lease(told.get("v4Ip", ""), told.get("v6Ip", ""), told.get("macAddress", ""))
        used[spec(eip)["externalSubnet"]] |= {told.get("v4Ip", ""), told.get("v6Ip", "")}
    everyone = [claim for claim in claims(world) if not claim.same]
    for claim in everyone:
        used[name(claim.subnet)] |= set(claim.fixed.values())
    for claim in everyone:
        given = {}
        for version, allowed in claim.allowed.items():
            given[version] = claim.fixed.get(version) or _pick(version, allowed, used[name(claim.subnet)], rng, lowest)
            used[name(claim.subnet)].add(given[version])
        own = mac(rng) if claim.mac is None else claim.mac
        drawn.leases[claim.key] = Lease(given.get(4, ""), given.get(6, ""), own)
    for subnet in filter(subnets.routed, world.of("subnets")):
        key = f"u2o-interconnection.{spec(subnet)['vpc']}.{name(subnet)}"
        held = drawn.leases[key].mac if subnets.u2o(subnet) else mac(rng)
        drawn.router_macs[f"{spec(subnet)['vpc']}-{name(subnet)}"] = held
    for vpc in world.of("vpcs"):
        for peering in spec(vpc).get("vpcPeerings") or ():
            drawn.router_macs[f"{name(vpc)}-{peering['remoteVpc']}"] = mac(rng)
        drawn.router_macs[f"bfd@{name(vpc)}"] = mac(rng)
        able, count = vpcs.bfd_nodes(vpc, world)
        drawn.bfd[name(vpc)] = able[:count] if lowest else rng.sample(able, count)
    for vip in world.of("vips"):
        if spec(vip).get("type") == "switch_lb_vip":
            subnet = world.subnet(spec(vip)["subnet"])
            key = f"vip/{name(vip)}"
            drawn.leases[key] = drawn.leases[key]._replace(
                mac=drawn.router_macs[f"{spec(subnet)['vpc']}-{name(subnet)}"]
            )
    drawn.leases |= {claim.key: drawn.leases[claim.same] for claim in claims(world) if claim.same}
    for subnet in world.of("subnets"):
        if subnets.centralized(subnet, world.flags) and not spec(subnet).get("enableEcmp"):
            able = subnets.gateway_nodes(subnet, world)
            drawn.active[name(subnet)] = able[0] if lowest else rng.choice(able)
    return drawn


def mac(rng: random.Random) -> str:
    """C.4."""
    octets = rng.randbytes(6)
    return ":".join(f"{o:02x}" for o in ((octets[0] | 2) & 0xFE, *octets[1:]))


def _pick(version: int, allowed: list[Range], used: set[str], rng: random.Random, lowest: bool) -> str:
    left = addresses.minus(
        allowed, [(n, n) for n in (addresses.number(u) for u in used if u and (":" in u) == (version == 6))]
    )
    first, last = left[0] if lowest else rng.choice(left)
    return addresses.text(first if lowest else rng.randint(first, min(last, first + 200)), version)


def default_pool(subnet: Json, cidr: str, world: World) -> list[Range]:
    """What a holder without an IPPool may get: no excluded address, none of a named pool (C.6)."""
    left = addresses.minus([addresses.usable(cidr)], subnets.reserved(subnet, cidr))
    for pool in world.of("ippools"):
        if spec(pool)["subnet"] == name(subnet):
            left = addresses.minus(left, pool_ranges(pool, cidr))
    return left


def pool_ranges(pool: Json, cidr: str) -> list[Range]:
    """The members of an IPPool in a CIDR."""
    own = (addresses.expand(e) for e in spec(pool)["ips"] if addresses.family(e) == addresses.family(cidr))
    return addresses.clip(own, addresses.usable(cidr))


def _anything(subnet: Json, world: World) -> dict[int, list[Range]]:
    return {addresses.family(c): default_pool(subnet, c, world) for c in subnets.cidrs(subnet)}


def _nodes(world: World) -> Iterator[Claim]:
    join = world.subnet(world.flags.node_switch)
    for node in world.nodes():
        yield Claim(f"node-{name(node)}", join, _anything(join, world))


def _subnets_own(world: World) -> Iterator[Claim]:
    """Addresses of underlay-to-overlay routers and of multicast queriers (D.2)."""
    for subnet in world.of("subnets"):
        allowed = _anything(subnet, world)
        if subnets.u2o(subnet):
            given = spec(subnet).get("u2oInterconnectionIP", "")
            fixed = {addresses.family(a): a for a in addresses.parts(given)}
            yield Claim(f"u2o-interconnection.{spec(subnet)['vpc']}.{name(subnet)}", subnet, allowed, fixed)
        if spec(subnet).get("enableMulticastSnoop"):
            yield Claim(f"mcast-querier.{name(subnet)}", subnet, allowed)


def _vips(world: World) -> Iterator[Claim]:
    for vip in world.of("vips"):
        subnet = world.subnet(spec(vip)["subnet"])
        fixed = {v: spec(vip)[f"v{v}ip"] for v in (4, 6) if spec(vip).get(f"v{v}ip")}
        yield Claim(f"vip/{name(vip)}", subnet, _anything(subnet, world), fixed, spec(vip).get("macAddress") or None)


def _pods(world: World) -> Iterator[Claim]:
    gone = [p for p in world.gone if not spec(p).get("hostNetwork")]
    lists: dict[str, set[str]] = {}
    for pod in [*pods.served(world), *gone]:
        for net in pods.nets(pod, world):
            key = pods.port_name(pod, net, world)
            yield _pod(pod, net, key, world, lists.setdefault(name(net.subnet), set()))
    held = {pods.port_name(p, n, world) for p in [*pods.served(world), *gone] for n in pods.nets(p, world)}
    for ip in world.of("ips"):  # reserved by hand for pods to come (C.10)
        if name(ip) not in held:
            subnet = world.subnet(spec(ip)["subnet"])
            yield Claim(name(ip), subnet, _anything(subnet, world), _by_hand(ip), spec(ip).get("macAddress") or None)


def _by_hand(ip: Json) -> dict[int, str]:
    return {v: spec(ip)[f"v{v}IpAddress"] for v in (4, 6) if spec(ip).get(f"v{v}IpAddress")}


def _pod(pod: Json, net: pods.Net, key: str, world: World, listed: set[str]) -> Claim:
    """C.8."""
    told, subnet = notes(pod), net.subnet
    own_mac: str | None = told.get(net.note("mac_address"))
    if not subnets.is_ovn(subnet):
        own_mac = ""
    if not subnets.cidrs(subnet):
        return Claim(key, subnet, {}, {}, own_mac)
    vip = world.one("vips", told.get(f"{OVN}/vip", "")) if net.provider == "ovn" else None
    if vip is not None:
        return Claim(key, subnet, {}, same=f"vip/{name(vip)}")
    allowed = _anything(subnet, world)
    if allowed.get(4) and subnets.overlay(subnet) and subnets.in_default_vpc(subnet, world.flags):
        allowed = _without_nodes(allowed, world)
    if wanted := told.get(net.note("ip_family")):
        allowed = {v: r for v, r in allowed.items() if f"ipv{v}" == wanted}
    by_hand = world.one("ips", key)
    if by_hand is not None and _by_hand(by_hand):
        return Claim(key, subnet, allowed, _by_hand(by_hand), spec(by_hand).get("macAddress") or own_mac)
    if given := told.get(net.note("ip_address")):
        fixed = {addresses.family(a): a for a in addresses.parts(given)}
        return Claim(key, subnet, allowed, fixed, own_mac)
    pool, given = pods.named_pool(pod, net, world), told.get(net.note("ip_pool"), "")
    if pool is None and given:
        return Claim(key, subnet, allowed, _listed(pod, given, listed), own_mac)
    if pool is None and net.provider == "ovn":
        own = pods.namespace_pools(pod["metadata"]["namespace"], world)
        pool = next((p for p in own if spec(p)["subnet"] == name(subnet)), None)
    if pool is not None:
        allowed = {addresses.family(c): _of_pool(pool, subnet, c) for c in subnets.cidrs(subnet)}
        allowed = {version: ranges for version, ranges in allowed.items() if ranges}
    return Claim(key, subnet, allowed, {}, own_mac)


def _of_pool(pool: Json, subnet: Json, cidr: str) -> list[Range]:
    return addresses.minus(pool_ranges(pool, cidr), subnets.reserved(subnet, cidr))


def _listed(pod: Json, given: str, taken: set[str]) -> dict[int, str]:
    """An entry of a list of addresses: a StatefulSet's pod has the one of its number, others the first free one."""
    entries = given.split(";") if ";" in given else given.split(",")
    if len(entries) == 2 and len({addresses.family(e) for e in entries}) == 2:
        entries = [given]
    if pods.owner(pod, "StatefulSet"):
        chosen = entries[int(name(pod).rpartition("-")[2])]
    else:
        chosen = next(e for e in entries if e not in taken)
    taken.add(chosen)
    return {addresses.family(a): a for a in addresses.parts(chosen)}


def _without_nodes(allowed: dict[int, list[Range]], world: World) -> dict[int, list[Range]]:
    """No pod has the address of a node (C.3)."""
    found = {}
    for version, ranges in allowed.items():
        own = [addresses.number(ip) for node in world.nodes() if (ip := internal_ip(node, version))]
        found[version] = addresses.minus(ranges, [(n, n) for n in own])
    return found

"""What a pod asks of the ledger for one of its networks: its annotations, checked and as a request (spec B.1, C.8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ovnbridge.compile.ippool import namespace_pools, pool_facts
from ovnbridge.compile.lease import vip_lease, vip_owner
from ovnbridge.compile.namespace import namespace_subnets
from ovnbridge.compile.nets import Net, attached_subnet
from ovnbridge.compile.node import node_addresses
from ovnbridge.compile.options import ROUTER_MAC, options
from ovnbridge.compile.subnet import subnet_view
from ovnbridge.compile.vip import vip_of
from ovnbridge.compile.workload import keeps_address, ordinal
from ovnbridge.engine.engine import Reader
from ovnbridge.ipam import AddressRequest
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP
from ovnbridge.model.kube import Pod
from ovnbridge.model.names import LABEL_IP_RESERVED, annotation, router_port_name

_FAMILIES: Mapping[str, str] = {"ipv4": address.IPV4, "ipv6": address.IPV6}


class Asked(msgspec.Struct, frozen=True):
    """A pod's network with what is known of its address.

    `wishes` are the pod's annotations about it (`nets.wishes`). `own` and `pod_type` are what the IP object says of the
    holder, `owner` is its name, `runs` says that the address has been handed to the pod.
    """

    pod: Pod
    net: Net
    wishes: Mapping[str, str]
    own: str
    pod_type: str
    owner: str
    lease: IP | None
    runs: bool


def annotation_problem(what: Asked) -> str:
    """What is wrong with the pod's annotations about one network (spec F.3), or ""."""
    net, wishes, notes = what.net, what.wishes, what.pod.metadata.all_annotations()
    problems = _primary_problems(notes, wishes) if net.primary else []
    if not wishes:
        return "; ".join(problems)
    name = annotation("ip_family", net.provider)
    family = wishes.get("ip_family", "")
    if family and family not in _FAMILIES:
        problems.append(f"{family!r} in annotation {name} must be ipv4 or ipv6")
    elif family:
        static = notes.get(annotation("ip_address", net.provider), "")
        other = [part for part in static.split(",") if (v := address.family(part.strip())) and f"ipv{v}" != family]
        if other:
            problems.append(f"{', '.join(other)} is not of the family {family} that annotation {name} asks for")
    for suffix in ("ingress_rate", "egress_rate", "ingress_burst", "egress_burst"):
        text = wishes.get(suffix, "")
        if text and not (text.isascii() and text.isdigit()):
            problems.append(f"{text!r} in annotation {annotation(suffix, net.provider)} must be a non-negative integer")
    return "; ".join(problems)


def _primary_problems(notes: Mapping[str, str], wishes: Mapping[str, str]) -> list[str]:
    """What is wrong with what a pod says of its primary network's addresses."""
    problems = []
    cidr, given = notes.get(annotation("cidr"), ""), notes.get(annotation("ip_address"), "")
    for part in given.split(",") if given else ():
        if part and address.family(part.strip()) is None:
            problems.append(f"{part!r} in annotation {annotation('ip_address')} is not an IP address")
        elif part and cidr and not _inside(cidr, part.strip()):
            problems.append(f"{part} in annotation {annotation('ip_address')} is not in cidr {cidr}")
    problems += _twice(given, "ip_address")
    gateway = wishes.get("north_gateway", "")
    if gateway and address.host_family(gateway) is None:
        problems.append(f"{gateway!r} in annotation {annotation('north_gateway')} is not an IP address")
    mac = notes.get(annotation("mac_address"), "")
    if mac and not address.valid_mac(mac):
        problems.append(f"{mac!r} in annotation {annotation('mac_address')} is not a MAC address")
    return problems + _pool_problems(wishes.get("ip_pool", ""), cidr)


def _pool_problems(text: str, cidr: str) -> list[str]:
    """What is wrong with a list of addresses in annotation ip_pool; an IPPool's name is checked where it is used."""
    if not text or not is_list(text):
        return []
    wrong = [part for group in text.split(";") for part in group.split(",") if not address.host_family(part.strip())]
    if wrong:
        return [f"{', '.join(map(repr, wrong))} in annotation {annotation('ip_pool')} is not an IP address"]
    doubled = [problem for group in groups(text) for problem in _twice(group, "ip_pool")]
    if doubled:
        return doubled
    outside = [g for g in groups(text) if cidr and not any(_inside(cidr, part) for part in g.split(","))]
    return [f"{group} in annotation {annotation('ip_pool')} is not in cidr {cidr}" for group in outside]


def _twice(group: str, suffix: str) -> list[str]:
    """What is wrong with addresses for one interface, which has one of each family (spec F.5)."""
    if "," not in group:
        return []
    families = [version for part in group.split(",") if (version := address.family(part.strip()))]
    if len(set(families)) == len(families):
        return []
    return [f"{group} in annotation {annotation(suffix)} holds more than one address of a family"]


def _inside(cidr: str, text: str) -> bool:
    try:
        return address.contains(cidr, text.partition("/")[0])
    except ValueError:
        return False


def is_list(text: str) -> bool:
    """Whether annotation ip_pool lists addresses; otherwise it names an IPPool."""
    return ";" in text or "," in text or address.host_family(text.strip()) is not None


def groups(text: str) -> tuple[str, ...]:
    """The entries of a list of addresses: each one address, or `v4,v6` (spec C.8, point 9)."""
    text = text.strip()
    if ";" in text:
        return tuple(",".join(p.strip() for p in g.split(",")) for g in text.split(";") if g.strip())
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) == 2 and {address.host_family(part) for part in parts} == {4, 6}:
        return (",".join(parts),)
    return tuple(parts)


def asked(reader: Reader, what: Asked) -> AddressRequest | str | None:
    """The pod's request. A text says why there can be none; None: its namespace is not known yet.

    What a pod that runs holds is not exchanged any more, whatever its annotations and its subnet become.
    """
    pod, net, lease = what.pod, what.net, what.lease
    if what.runs and lease is not None:
        return _held(what, lease)
    vip = what.wishes.get("vip", "") if net.primary else ""
    if vip:
        return _from_vip(reader, what, vip)
    pool = what.wishes.get("ip_pool", "").strip()
    named = "" if not pool or is_list(pool) else pool
    if named and not what.runs and reader.query(pool_facts, named) is None:
        return f"ippool {named} does not exist or is not valid"
    subnets = _subnets(reader, what, named)
    if not subnets:
        return None if net.is_ovn else f"NoSubnet: no subnet has provider {net.subnet_provider}"
    static = _static(what, pool if not named else "")
    if isinstance(static, str):
        return static
    mac = _wished(what, "mac_address", net.mac)
    problem = mac_problem(reader, subnets, mac) if lease is None and net.is_ovn else ""
    if problem:
        return problem
    return AddressRequest(
        subnets=subnets,
        addresses=static,
        family=_FAMILIES.get(what.wishes.get("ip_family", ""), ""),
        mac=mac if net.is_ovn and address.valid_mac(mac) else "",
        want_mac=net.is_ovn,
        # Whoever has an address does not care when nodes come and go.
        skip=skipped(reader, subnets) if lease is None else frozenset(),
        runs=what.runs,
        pool=named,
        pools=() if pool or not net.primary else reader.query(namespace_pools, pod.metadata.namespace),
        pod=what.own,
        namespace=pod.metadata.namespace,
        node=pod.spec.node_name,
        pod_type=what.pod_type,
    )


def _held(what: Asked, lease: IP) -> AddressRequest:
    """The request of a pod that runs with a lease: what it has."""
    spec, pod = lease.spec, what.pod
    addresses = address.join(spec.v4_ip_address, spec.v6_ip_address)
    return AddressRequest(
        subnets=(spec.subnet,),
        addresses=(addresses,) if addresses else (),
        mac=spec.mac_address,
        want_mac=what.net.is_ovn,
        keep=True,
        pod=what.own,
        namespace=pod.metadata.namespace,
        node=pod.spec.node_name,
        pod_type=what.pod_type,
    )


def skipped(reader: Reader, subnets: Iterable[str]) -> frozenset[str]:
    """Addresses that are not given by chance: nodes', in overlay subnets of the default VPC (spec E.14)."""
    views = (reader.query(subnet_view, name) for name in subnets)
    router = options(reader).cluster_router
    if any(view is not None and view.vpc == router and not view.vlan for view in views):
        return reader.query(node_addresses)
    return frozenset()


def mac_problem(reader: Reader, subnets: Iterable[str], mac: str) -> str:
    """Why nobody can have a MAC: it is none, or the gateway's (spec C.4). "" when they can."""
    if mac and not address.valid_mac(mac):
        return f"{mac!r} is not a MAC address"
    for name in subnets if mac else ():
        view = reader.query(subnet_view, name)
        found = reader.get(ROUTER_MAC, router_port_name(view.vpc, name)) if view is not None else None
        if isinstance(found, str) and found.lower() == mac.lower():
            return f"AddressConflict: MAC {mac} is the gateway's"
    return ""


def _subnets(reader: Reader, what: Asked, named: str) -> tuple[str, ...]:
    """Candidates, in order (spec C.8, point 5)."""
    net, lease, notes = what.net, what.lease, what.pod.metadata.all_annotations()
    given = notes.get(annotation("logical_switch", net.provider), "") if net.is_ovn or not what.runs else ""
    stays = lease is not None and (not lease.spec.pod_type or reader.query(keeps_address, what.owner))
    if lease is not None and stays and not given:
        return (lease.spec.subnet,)
    if given:
        return (given,)
    facts = reader.query(pool_facts, named) if named else None
    if facts is not None:
        return (facts.subnet,)
    if not net.primary:
        subnet = attached_subnet(reader, net)
        if subnet or not net.is_ovn:
            return (subnet,) if subnet else ()
    return reader.query(namespace_subnets, what.pod.metadata.namespace)


def _wished(what: Asked, suffix: str, requested: str) -> str:
    """A static address or MAC: of the interface, else of the networks annotation, else of the provider (spec B.1)."""
    notes, net = what.pod.metadata.all_annotations(), what.net
    by_interface = annotation(f"{suffix}.{net.interface}", net.attachment) if net.interface else ""
    return notes.get(by_interface, "") or requested or notes.get(annotation(suffix, net.provider), "")


def _static(what: Asked, pool: str) -> tuple[str, ...] | str:
    """Static addresses to try, in order; a text when the pool has none for this pod (spec C.8, points 8 and 9)."""
    wished = _wished(what, "ip_address", what.net.ips)
    parts = [text for part in wished.split(",") if (text := part.strip().partition("/")[0])]
    if not all(map(address.host_family, parts)):
        return f"{wished!r} is not an IP address"
    if parts:
        return (",".join(map(address.canonical, parts)),)
    if not pool:
        return ()
    entries = groups(pool)
    number = ordinal(what.pod)
    if number is None:
        return entries
    if number >= len(entries):
        return f"annotation {annotation('ip_pool', what.net.provider)} has no address for ordinal {number}"
    return (entries[number],)


def _from_vip(reader: Reader, what: Asked, name: str) -> AddressRequest | str:
    """The address and MAC of a Vip, once it is this pod's (spec C.8, point 3; D.13)."""
    vip = vip_of(reader, name)
    lease = vip_lease(vip) if vip is not None else None
    if vip is None or lease is None:
        return f"vip {name} does not exist or has no address"
    user = vip.metadata.label(LABEL_IP_RESERVED)
    if user != what.owner:
        return f"vip {name} is used by {user}" if user else f"vip {name} is being taken over"
    return AddressRequest(
        subnets=(lease.subnet,),
        addresses=(address.join(lease.v4, lease.v6),),
        mac=lease.mac,
        shares=vip_owner(name),
        pod=what.own,
        namespace=what.pod.metadata.namespace,
        node=what.pod.spec.node_name,
        pod_type=what.pod_type,
    )

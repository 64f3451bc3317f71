"""A VPC's ports on external switches, their gateway chassis and BFD session (spec A.2, D.5, H.3).

The address of a port is an OvnEip `<vpc>-<subnet>` of type lrp: it is made here when the subnet is there, and used as
soon as it says an address, which is its user's to give as long as EIPs are not compiled (spec D.14). The default VPC's
own external switch is another feature's (spec D.18): its rows are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ovnbridge.compile import failover
from ovnbridge.compile.chassis import EXTERNAL_GATEWAY, external_chassis, spread
from ovnbridge.compile.lease import eip_lease
from ovnbridge.compile.options import ROUTER_MAC, Options, options
from ovnbridge.compile.ownership import port_scope
from ovnbridge.compile.subnet import subnet_view, subnets_of_vpc
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Hold, Item, Member, Object, Row
from ovnbridge.model import address
from ovnbridge.model.crd.ovn_nat import OvnEip
from ovnbridge.model.crd.vpc import Vpc
from ovnbridge.model.names import router_port_name, switch_router_port_name
from ovnbridge.model.ovn import VENDOR, Ref


class Attachment(msgspec.Struct, frozen=True):
    """What a port on an external switch is made of; `networks` are addresses with prefix lengths."""

    subnet: str
    networks: tuple[str, ...]
    mac: str
    chassis: tuple[str, ...]
    gateway: str


def external_subnets(vpc: Vpc, opts: Options) -> tuple[str, ...]:
    """External subnets that the router is to be attached to."""
    if not vpc.spec.enable_external:
        return ()
    if vpc.spec.extra_external_subnets:
        return tuple(dict.fromkeys(vpc.spec.extra_external_subnets))
    return () if vpc.metadata.name == opts.cluster_router else (opts.external_gateway_switch,)


def attachment(reader: Reader, vpc: str, subnet: str) -> Attachment | str:
    """A port on an external switch, or why it cannot be made (memoised question)."""
    view = reader.query(subnet_view, subnet)
    if view is None:
        return f"external subnet {subnet} does not exist or is not valid"
    if view.needs_router and view.vpc == vpc:
        return f"subnet {subnet} is attached to the router as one of its own"
    eip = reader.get("OvnEip", router_port_name(vpc, subnet))
    networks, mac = _addresses(eip, view.cidr_block) if isinstance(eip, OvnEip) else ((), "")
    if not networks:
        name = router_port_name(vpc, subnet)
        return f"OvnEip {name} has no address in external subnet {subnet}: give it one in spec.v4Ip or spec.v6Ip"
    chassis = reader.query(external_chassis)
    if not chassis:
        return f"no node with label {EXTERNAL_GATEWAY}=true has a chassis"
    return Attachment(subnet, networks, mac, tuple(spread(vpc, chassis)), address.split(view.gateway)[0])


def _addresses(eip: OvnEip, cidr: str) -> tuple[tuple[str, ...], str]:
    """Addresses with prefix lengths, and MAC, of an OvnEip."""
    lease = eip_lease(eip)
    if lease is None:
        return (), ""
    found = []
    for network in address.networks(cidr):
        own = lease.v4 if network.version == 4 else lease.v6
        if address.host_family(own) == network.version and address.contains(str(network), own):
            found.append(f"{own}/{network.prefixlen}")
    return tuple(found), lease.mac if address.valid_mac(lease.mac) else ""


def attachments(reader: Reader, vpc: Vpc, opts: Options) -> dict[str, Attachment | str]:
    """By external subnet: the port, or why it cannot be made."""
    name = vpc.metadata.name
    return {subnet: reader.query(attachment, name, subnet) for subnet in external_subnets(vpc, opts)}


def obstacles(reader: Reader, vpc: Vpc, opts: Options) -> list[str]:
    """What keeps external ports and their BFD session from being made at present."""
    made = attachments(reader, vpc, opts)
    found = [text for text in made.values() if isinstance(text, str)]
    if _wants_bfd(vpc, opts) and opts.external_gateway_switch not in made:
        found.append(f"enableBfd needs the router to be attached to {opts.external_gateway_switch}")
    return found


def _wants_bfd(vpc: Vpc, opts: Options) -> bool:
    return vpc.spec.enable_bfd and vpc.metadata.name != opts.cluster_router


def external_ports(reader: Reader, vpc: Vpc) -> Iterator[Item]:
    """The ports that can be made; what exists of others stays as it is."""
    router, opts = vpc.metadata.name, options(reader)
    made = attachments(reader, vpc, opts)
    for subnet, found in made.items():
        name = router_port_name(router, subnet)
        if reader.get("Subnet", subnet) is not None or reader.get("OvnEip", name) is not None:
            yield Object("OvnEip", name, _eip(name, subnet))
        if isinstance(found, Attachment):
            order = found.chassis
            if subnet == opts.external_gateway_switch and _wants_bfd(vpc, opts):
                order = tuple(failover.ranked(order, _remembered(reader, router, found).lost_on))
            yield from _port(router, name, found, order)
        else:
            yield Hold(port_scope(name))
    if router == opts.cluster_router and opts.external_gateway_switch not in made:
        yield Hold(port_scope(router_port_name(router, opts.external_gateway_switch)))
    watched = made.get(opts.external_gateway_switch)
    if _wants_bfd(vpc, opts) and isinstance(watched, Attachment) and watched.gateway:
        yield from _session(reader, router, watched, opts)


def external_status(reader: Reader, vpc: Vpc, opts: Options) -> dict[str, Any]:
    """`enableExternal`, `extraExternalSubnets` and `enableBfd` of the status: what is, not what is wished for."""
    if vpc.metadata.name == opts.cluster_router and not external_subnets(vpc, opts):
        # Made by another feature, which says so in the spec as well (spec D.18).
        port = reader.get(ROUTER_MAC, router_port_name(opts.cluster_router, opts.external_gateway_switch))
        return {
            "enable_external": vpc.spec.enable_external and port is not None,
            "enable_bfd": vpc.spec.enable_bfd and vpc.status.enable_bfd,
        }
    made = [subnet for subnet, found in attachments(reader, vpc, opts).items() if isinstance(found, Attachment)]
    return {
        "enable_external": bool(made),
        "extra_external_subnets": tuple(sorted(made)) if vpc.spec.extra_external_subnets else (),
        "enable_bfd": _wants_bfd(vpc, opts) and opts.external_gateway_switch in made,
    }


def _eip(name: str, subnet: str) -> dict[str, Any]:
    spec = {"externalSubnet": subnet, "type": "lrp"}
    return {"apiVersion": "kubeovn.io/v1", "kind": "OvnEip", "metadata": {"name": name}, "spec": spec}


def _port(router: str, name: str, found: Attachment, chassis_order: tuple[str, ...]) -> Iterator[Item]:
    yield Row(
        "Logical_Router_Port",
        name,
        {
            "name": name,
            "mac": found.mac or address.derived_mac("router-port", name),
            "networks": frozenset(found.networks),
            "peer": None,
            "options": {},
            "ipv6_ra_configs": {},
            "external_ids": {"vendor": VENDOR, "lr": router},
        },
        parent=Ref("Logical_Router", router),
        members=("gateway_chassis",),
    )
    port = switch_router_port_name(found.subnet, router)
    yield Row(
        "Logical_Switch_Port",
        port,
        {
            "name": port,
            "type": "router",
            "addresses": frozenset({"router"}),
            "options": {"router-port": name},
            "external_ids": {"vendor": VENDOR, "ls": found.subnet},
        },
        parent=Ref("Logical_Switch", found.subnet),
    )
    for index, chassis in enumerate(chassis_order):
        row = f"{name}-{chassis}"
        yield Row(
            "Gateway_Chassis",
            row,
            {"name": row, "chassis_name": chassis, "priority": 100 - index, "external_ids": {"lrp": name}},
            parent=Ref("Logical_Router_Port", name),
        )
        yield Member("Logical_Router_Port", name, "gateway_chassis", Ref("Gateway_Chassis", row))


def _remembered(reader: Reader, router: str, found: Attachment) -> failover.Session:
    """What is to be remembered of the BFD session with the external gateway."""
    known = reader.get(failover.SESSIONS, failover.session_key(router_port_name(router, found.subnet), found.gateway))
    return failover.after(found.chassis, known if isinstance(known, failover.Session) else failover.Session())


def _session(reader: Reader, router: str, found: Attachment, opts: Options) -> Iterator[Item]:
    """BFD with the external gateway."""
    port = router_port_name(router, found.subnet)
    views = (reader.query(subnet_view, name) for name in reader.query(subnets_of_vpc, router))
    if any(view.enable_ecmp for view in views if view is not None):
        yield Hold(port_scope(port))  # sessions with nodes' external gateway ports, which are not made here
    yield Row(
        "BFD",
        (port, found.gateway),
        {
            "logical_port": port,
            "dst_ip": found.gateway,
            "min_tx": opts.bfd_min_tx,
            "min_rx": opts.bfd_min_rx,
            "detect_mult": opts.detect_mult,
            "external_ids": {"vendor": VENDOR, **failover.marks(_remembered(reader, router, found))},
        },
    )


def _eip_port(reader: Reader, name: str) -> Iterator[Item]:
    """The bare port of an OvnEip of type lsp (spec D.14), which is not compiled yet."""
    eip = reader.get("OvnEip", name)
    if isinstance(eip, OvnEip) and eip.spec.type == "lsp":
        yield Hold(port_scope(name))


UNITS = (Unit("ovn-eip", "OvnEip", _eip_port),)

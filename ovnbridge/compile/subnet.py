"""Subnets as other units see them, and the questions that several units ask about them (spec D.2, D.2.0, D.2.4).

What is written for a subnet is in `switch` (rows), `u2o`, `localnet`, `dhcp`, `subnet_acl` and `subnet_status`; what
F.1 has against one in `subnet_spec` (by itself) and `subnet_conflict` (beside others).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import msgspec

from ovnbridge.compile import subnet_conflict
from ovnbridge.compile.lease import eip_lease, lease_of
from ovnbridge.compile.options import Options, options
from ovnbridge.compile.selector import matches
from ovnbridge.compile.subnet_spec import (
    CENTRALIZED,
    DISTRIBUTED,
    Problem,
    accepted_spec,
    described,
    is_ovn,
)
from ovnbridge.compile.vlan import Waiting, vlan_problem, vlan_view
from ovnbridge.engine.engine import Reader
from ovnbridge.engine.world import Index
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP
from ovnbridge.model.crd.ovn_nat import OvnEip
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec
from ovnbridge.model.crd.vpc import Vpc
from ovnbridge.model.kube import Node
from ovnbridge.model.names import MCAST_PREFIX, OVN_PROVIDER, U2O_PREFIX, u2o_owner

__all__ = ["CENTRALIZED", "DISTRIBUTED"]


class SubnetView(msgspec.Struct, frozen=True, kw_only=True):
    """A subnet after defaulting (spec D.2.0), as every other unit sees it.

    `u2o_ip` (`v4,v6`) and `u2o_mac` are the router's in an underlay subnet, "" while there are none. `network` and
    `tag` are the provider network and VLAN id of an underlay subnet.
    """

    name: str
    vpc: str
    provider: str
    protocol: str
    cidr_block: str
    gateway: str
    exclude_ips: tuple[str, ...]
    gateway_type: str
    gateway_node: str
    vlan: str
    network: str
    tag: int
    default: bool
    enable_lb: bool
    nat_outgoing: bool
    logical_gateway: bool
    u2o: bool
    u2o_ip: str
    u2o_mac: str
    overlay_only: bool
    route_table: str
    enable_ecmp: bool
    enable_dhcp: bool
    mtu: int

    @property
    def is_ovn(self) -> bool:
        """Whether OVN serves it (otherwise only its addresses are managed)."""
        return is_ovn(self.provider)

    @property
    def logical(self) -> bool:
        """Whether the VPC's router is the pods' gateway: overlay, or underlay with a logical gateway."""
        return bool(self.cidr_block) and (not self.vlan or self.logical_gateway)

    @property
    def needs_router(self) -> bool:
        """Whether the switch is attached to the VPC's router (spec D.2)."""
        return self.logical or bool(self.u2o_ip)

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(CIDR, gateway) of each family."""
        return _pairs(self.cidr_block, self.gateway)


@lru_cache(maxsize=4096)
def _pairs(cidr_block: str, gateway: str) -> tuple[tuple[str, str], ...]:
    gateways = dict(zip((4, 6), address.split(gateway)))
    return tuple((str(n), gateways[n.version]) for n in address.networks(cidr_block))


_Checked: TypeAlias = "SubnetView | Problem | Waiting | None"


def checked(reader: Reader, name: str) -> _Checked:
    """The subnet as it takes effect, what is wrong with it, or what it waits for (memoised question)."""
    spec = reader.query(accepted_spec, name)
    if not isinstance(spec, SubnetSpec):
        return spec
    obstacle: Problem | Waiting | None = None
    if spec.vlan and is_ovn(spec.provider):
        obstacle = reader.query(vlan_problem, spec.vlan)
    obstacle = obstacle or subnet_conflict.conflict(reader, name, spec)
    return obstacle or _view(reader, name, spec)


def _view(reader: Reader, name: str, spec: SubnetSpec) -> SubnetView:
    vlan = reader.query(vlan_view, spec.vlan) if spec.vlan else None
    lease = lease_of(reader, u2o_owner(spec.vpc, name)) if spec.u2o_interconnection else None
    router = ""
    if lease is not None and lease.spec.subnet == name:
        own = (lease.spec.v4_ip_address, lease.spec.v6_ip_address)
        router = address.join(*(text if address.contains(spec.cidr_block, text) else "" for text in own))
    return SubnetView(
        name=name,
        vpc=spec.vpc,
        provider=spec.provider,
        protocol=spec.protocol,
        cidr_block=spec.cidr_block,
        gateway=spec.gateway,
        exclude_ips=spec.exclude_ips,
        gateway_type=spec.gateway_type,
        gateway_node=spec.gateway_node,
        vlan=spec.vlan,
        network=vlan.network if vlan is not None else "",
        tag=vlan.tag if vlan is not None else 0,
        default=spec.default,
        enable_lb=bool(spec.enable_lb),
        nat_outgoing=spec.nat_outgoing,
        logical_gateway=spec.logical_gateway,
        u2o=spec.u2o_interconnection,
        u2o_ip=router,
        u2o_mac=lease.spec.mac_address if lease is not None and router else "",
        overlay_only=spec.u2o_features.overlay_only_routing,
        route_table=spec.route_table,
        enable_ecmp=spec.enable_ecmp,
        enable_dhcp=spec.enable_dhcp,
        mtu=spec.mtu,
    )


def subnet_view(reader: Reader, name: str) -> SubnetView | None:
    """A valid subnet as other units see it, None when absent or invalid (memoised question)."""
    found = reader.query(checked, name)
    return found if isinstance(found, SubnetView) else None


def leaving(reader: Reader, name: str) -> bool:
    """Whether a subnet is being deleted and nobody has an address of it: nothing of it is wanted any more (spec D.2;
    memoised question)."""
    subnet = reader.query(described, name)
    deleting = subnet is not None and subnet.metadata.deleting
    return deleting and not any(reader.any(users, name) for users in ("ip-subnet", "vip-subnet", "eip-subnet"))


def _names_of(reader: Reader, vpc: str) -> list[str]:
    """Subnets whose spec says a VPC, or says none of the default VPC, sorted."""
    names = reader.by("subnet-vpc", vpc)
    return sorted({*names, *reader.by("subnet-vpc", "")}) if vpc == options(reader).cluster_router else names


def subnets_of_vpc(reader: Reader, vpc: str) -> tuple[str, ...]:
    """Names of the subnets of a VPC, sorted (memoised question)."""
    names = _names_of(reader, vpc)
    return tuple(n for n in names if (v := reader.query(subnet_view, n)) is not None and v.vpc == vpc)


def broken_subnets(reader: Reader, vpc: str) -> tuple[str, ...]:
    """Subnets of a VPC that cannot be compiled as they are, sorted (memoised question).

    Also those that name another VPC by now, and were this one's until then: the Vpc's status lists them.
    """
    names, found = _names_of(reader, vpc), reader.get("Vpc", vpc)
    if not isinstance(found, Vpc):
        return tuple(names)
    return tuple(n for n in sorted({*names, *found.status.subnets}) if reader.query(_broken, n))


def _broken(reader: Reader, name: str) -> bool:
    """Whether a subnet has, or should have, a switch and cannot be compiled as it is (memoised question)."""
    subnet, found = reader.query(described, name), reader.query(checked, name)
    if subnet is None or not is_ovn(subnet.spec.provider or OVN_PROVIDER):
        return False
    return isinstance(found, Problem | Waiting) or (found is not None and reader.get("Vpc", found.vpc) is None)


def connects_underlay(reader: Reader, vpc: str) -> bool:
    """Whether a VPC has a subnet with U2O; one that cannot be compiled at present is what it was (memoised)."""
    names = {*_names_of(reader, vpc), *reader.query(broken_subnets, vpc)}
    return any(reader.query(_connected, name) for name in sorted(names))


def _connected(reader: Reader, name: str) -> bool:
    """Whether a subnet has U2O, or had it when it was last compiled (memoised question)."""
    view, subnet = reader.query(subnet_view, name), reader.get("Subnet", name)
    if view is not None:
        return view.u2o and bool(view.vlan)
    return isinstance(subnet, Subnet) and bool(subnet.status.u2o_interconnection_ip)


def active_gateways(reader: Reader, name: str) -> tuple[str, ...]:
    """Nodes that a centralized subnet's traffic leaves through now (spec D.2.4; memoised question).

    With ECMP all ready gateway nodes; otherwise the active one while it is listed and ready, else the first ready.
    """
    view = reader.query(subnet_view, name)
    if view is None:
        return ()
    ready = tuple(node for node in reader.query(gateway_nodes, name) if reader.query(node_ready, node))
    current = reader.query(current_gateway, name)
    return ready if view.enable_ecmp else (current,) if current in ready else ready[:1]


def has_gateways(view: SubnetView, opts: Options) -> bool:
    """Whether a subnet's traffic leaves through nodes: subnets of the default VPC whose gateway is its router do, but
    the nodes' own (spec D.2.4)."""
    return view.is_ovn and view.logical and view.vpc == opts.cluster_router and view.name != opts.node_switch


def gateway_nodes(reader: Reader, name: str) -> tuple[str, ...]:
    """Nodes that a centralized subnet of the default VPC may leave through: those of `gatewayNode` in its order, then
    those that `gatewayNodeSelectors` select (memoised question)."""
    view, subnet = reader.query(subnet_view, name), reader.query(described, name)
    if view is None or subnet is None or view.gateway_type != CENTRALIZED or not has_gateways(view, options(reader)):
        return ()
    found = dict.fromkeys(n for entry in view.gateway_node.split(",") if (n := entry.partition(":")[0].strip()))
    if subnet.spec.gateway_node_selectors:
        for node in reader.all("Node"):
            labels = node.metadata.all_labels()
            if any(matches(selector, labels) for selector in subnet.spec.gateway_node_selectors):
                found[node.metadata.name] = None
    return tuple(found)


def current_gateway(reader: Reader, name: str) -> str:
    """The gateway node that the subnet's status names (memoised question)."""
    subnet = reader.get("Subnet", name)
    return subnet.status.activate_gateway if isinstance(subnet, Subnet) else ""


def node_ready(reader: Reader, name: str) -> bool:
    """Ready=True and NetworkUnavailable not True (memoised question)."""
    node = reader.get("Node", name)
    if not isinstance(node, Node):
        return False
    states = {c.type: c.status for c in node.status.conditions or ()}
    return states.get("Ready") == "True" and states.get("NetworkUnavailable") != "True"


def _by_holder(ip: IP) -> tuple[str, ...]:
    """A subnet's own addresses do not keep it from being deleted (spec D.2)."""
    return () if ip.metadata.name.startswith((U2O_PREFIX, MCAST_PREFIX)) else (ip.spec.subnet,)


def _by_address(ip: IP) -> tuple[str, ...]:
    return _by_holder(ip) if ip.spec.v4_ip_address or ip.spec.v6_ip_address else ()


def _by_external(eip: OvnEip) -> tuple[str, ...]:
    lease = eip_lease(eip)
    return (lease.subnet,) if lease is not None else ()


def _by_vpc(subnet: Subnet) -> tuple[str, ...]:
    return (subnet.spec.vpc,)


def _by_namespace(subnet: Subnet) -> tuple[str, ...]:
    return subnet.spec.namespaces


def _by_selector(subnet: Subnet) -> tuple[str, ...]:
    return ("",) if subnet.spec.namespace_selectors else ()


INDEXES = (
    Index("ip-subnet", "IP", _by_holder),
    Index("ip-addressed", "IP", _by_address),
    Index("eip-subnet", "OvnEip", _by_external),
    Index("subnet-vpc", "Subnet", _by_vpc),
    Index("subnet-namespaces", "Subnet", _by_namespace),
    Index("subnet-selectors", "Subnet", _by_selector),
)

"""What this machine itself must look like: tunnel address and MTU, `ovn0`, host routes. Pure.

`host` reads the kernel, the local Open vSwitch and Kubernetes, asks here, and applies the difference. Spec: node B3,
B4, B6.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.kube import Node
from ovnbridge.node.names import NODE_INTERFACE, OVN_PROVIDER, annotation

IPInterface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

OVERHEAD: Final[Mapping[str, int]] = {"geneve": 100, "vlan": 100, "vxlan": 50, "stt": 72}
_IPV6_OVERHEAD: Final = 20
TUNNEL_INTERFACE: Final = "ovn.kubernetes.io/tunnel_interface"

PROTO_KERNEL: Final = 2
PROTO_STATIC: Final = 4
SCOPE_GLOBAL: Final = 0
SCOPE_LINK: Final = 253
JOIN_ROUTE_METRIC_V6: Final = 256


class PlanError(Exception):
    """The node cannot be configured as things stand; the message says what is missing."""


class HostAddress(msgspec.Struct, frozen=True):
    """An address of a link of this machine, `ip/prefixlen`."""

    link: str
    address: str


class HostLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link of this machine."""

    name: str
    index: int
    mac: str = ""
    mtu: int = 0
    up: bool = False
    kind: str = ""
    alias: str = ""
    peer_index: int = 0
    queue_length: int = 0


class HostRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A route of the main table. An empty gateway is a link-scope route."""

    destination: str
    gateway: str = ""
    source: str = ""
    protocol: int = PROTO_STATIC
    scope: int = SCOPE_GLOBAL
    metric: int = 0


class Encapsulation(msgspec.Struct, frozen=True, kw_only=True):
    """Where tunnels end on this node."""

    interface: str
    ip: str
    mtu: int


class NodePort(msgspec.Struct, frozen=True, kw_only=True):
    """`ovn0`: the node's own port on the join switch."""

    port: str
    mac: str
    addresses: tuple[str, ...]
    """`ip/prefixlen` each."""
    gateways: tuple[str, ...]

    @property
    def ips(self) -> tuple[str, ...]:
        """The bare addresses."""
        return tuple(a.partition("/")[0] for a in self.addresses)


def tunnel_mtu(link_mtu: int, network_type: str, encap_ip: str) -> int:
    """MTU of pods whose packets are tunnelled over a link of `link_mtu`. Raises PlanError."""
    if network_type not in OVERHEAD:
        raise PlanError(f"invalid network type {network_type}")
    return link_mtu - OVERHEAD[network_type] - (_IPV6_OVERHEAD if ":" in encap_ip else 0)


def internal_ips(node: Node) -> dict[int, str]:
    """The node's InternalIP by family."""
    found: dict[int, str] = {}
    for address in node.status.addresses or ():
        if address.type == "InternalIP" and (version := _version(address.address)):
            found.setdefault(version, address.address)
    return found


def encapsulation(
    node: Node,
    links: Mapping[str, HostLink],
    addresses: Sequence[HostAddress],
    *,
    iface: str = "",
    dpdk_iface: str = "br-phy",
    pod_ip: str = "",
    mtu: int = 0,
    network_type: str = "geneve",
    bridges: Mapping[str, str] | None = None,
    host_tunnel_source: bool = False,
) -> Encapsulation:
    """Choose the tunnel interface and address (spec B3). Raises PlanError when there is none.

    `bridges` maps a NIC that is a port of one of our bridges to that bridge, which then has its addresses.
    """
    wanted = node.metadata.annotation(TUNNEL_INTERFACE) or iface
    if not wanted and node.metadata.label("ovn.kubernetes.io/ovs_dp_type") == "userspace":
        wanted = dpdk_iface
    if wanted:
        name = _named_link(wanted, links, bridges or {})
        ip = _tunnel_address(name, addresses, host_tunnel_source=host_tunnel_source)
    else:
        internal = internal_ips(node)
        ip = pod_ip or internal.get(4) or internal.get(6) or ""
        if not ip:
            raise PlanError("no tunnel address: neither an interface, nor POD_IP, nor a node InternalIP is known")
        name = _owner(ip, addresses)
    if name not in links:
        raise PlanError(f"tunnel interface {name} does not exist")
    link_mtu = mtu or tunnel_mtu(links[name].mtu, network_type, ip)
    return Encapsulation(interface=name, ip=ip, mtu=link_mtu)


def _named_link(wanted: str, links: Mapping[str, HostLink], bridges: Mapping[str, str]) -> str:
    choices = [part.strip() for part in wanted.split(",") if part.strip()]
    for choice in choices:
        if choice in links or choice in bridges:
            return bridges.get(choice, choice)
    for choice in choices:
        try:
            pattern = re.compile(f"({choice})")
        except re.error as error:
            raise PlanError(f"invalid interface pattern {choice!r}: {error}") from None
        for name in sorted(links):
            if pattern.search(name):
                return bridges.get(name, name)
    raise PlanError(f"no interface matches {wanted!r}")


def _tunnel_address(link: str, addresses: Sequence[HostAddress], *, host_tunnel_source: bool) -> str:
    for entry in addresses:
        if entry.link != link:
            continue
        address = ipaddress.ip_interface(entry.address)
        if address.is_link_local or address.is_loopback:
            continue
        if not host_tunnel_source and address.network.prefixlen == address.max_prefixlen:
            continue
        return str(address.ip)
    raise PlanError(f"interface {link} has no usable address")


def _owner(ip: str, addresses: Sequence[HostAddress]) -> str:
    for entry in addresses:
        if entry.address.partition("/")[0] == ip:
            return entry.link
    raise PlanError(f"no interface of this node has the address {ip}")


def open_vswitch_ids(encap: Encapsulation, networks: Mapping[str, str], *, checksum: bool) -> dict[str, str]:
    """Entries of Open_vSwitch external_ids that are ours (spec B3)."""
    others = sorted({ip for ip in networks.values() if ip != encap.ip})
    return {
        "ovn-encap-csum": "true" if checksum else "false",
        "ovn-encap-ip": ",".join([encap.ip, *others]),
        "ovn-encap-ip-default": encap.ip,
    }


def node_port(node: Node) -> NodePort | None:
    """`ovn0` as the controller's annotations want it; None while they are not complete."""

    def value(name: str) -> str:
        return node.metadata.annotation(annotation(OVN_PROVIDER, name))

    try:
        networks = {n.version: n for n in (ipaddress.ip_network(c, strict=False) for c in _split(value("cidr")))}
        ips = [ipaddress.ip_address(ip) for ip in _split(value("ip_address"))]
        gateways = [ipaddress.ip_address(ip) for ip in _split(value("gateway"))]
    except ValueError:
        return None
    ips = [ip for ip in ips if ip.version in networks]
    if not ips or not value("mac_address"):
        return None
    families = {ip.version for ip in ips}
    return NodePort(
        port=value("port_name") or f"node-{node.metadata.name}",
        mac=value("mac_address").lower(),
        addresses=tuple(f"{ip}/{networks[ip.version].prefixlen}" for ip in ips),
        gateways=tuple(str(gateway) for gateway in gateways if gateway.version in families),
    )


def link_local(mac: str) -> str:
    """EUI-64 link-local address of a MAC, with prefix length."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    low = int.from_bytes(bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]]), "big")
    return f"{ipaddress.IPv6Address((0xFE80 << 112) | low)}/64"


def validated(subnet: Subnet) -> bool:
    """Whether the controller accepted the subnet."""
    return any(c.type == "Validated" and c.status == "True" for c in subnet.status.conditions)


def routed_cidrs(subnets: Iterable[Subnet], *, cluster_router: str) -> list[str]:
    """CIDRs that this node reaches through `ovn0` (spec B6)."""
    found: set[str] = set()
    for subnet in subnets:
        spec = subnet.spec
        if spec.vpc not in ("", cluster_router) or not validated(subnet) or subnet.metadata.deleting:
            continue
        if spec.provider not in ("", OVN_PROVIDER) and not spec.provider.endswith(f".{OVN_PROVIDER}"):
            continue
        interconnected = spec.u2o_interconnection and not spec.enable_lb
        if spec.vlan and not spec.logical_gateway and not interconnected:
            continue
        for cidr in _split(spec.cidr_block):
            try:
                found.add(str(ipaddress.ip_network(cidr, strict=False)))
            except ValueError:
                continue
    return sorted(found)


def host_routes(cidrs: Iterable[str], port: NodePort, node: Node, *, local_ips: Iterable[str]) -> list[HostRoute]:
    """Routes that must be on `ovn0`."""
    own = internal_ips(node)
    local = frozenset(local_ips)
    join = {str(ipaddress.ip_interface(a).network): ipaddress.ip_interface(a) for a in port.addresses}
    gateways = {_version(gateway): gateway for gateway in port.gateways}
    routes = [
        HostRoute(
            destination=cidr,
            source=str(address.ip) if address.version == 4 else "",
            protocol=PROTO_KERNEL,
            scope=SCOPE_LINK if address.version == 4 else SCOPE_GLOBAL,
            metric=JOIN_ROUTE_METRIC_V6 if address.version == 6 else 0,
        )
        for cidr, address in join.items()
    ]
    for cidr in cidrs:
        network = ipaddress.ip_network(cidr)
        mine = own.get(network.version, "")
        if cidr in join or network.version not in gateways:
            continue
        if mine and ipaddress.ip_address(mine) in network:
            continue
        routes.append(
            HostRoute(destination=cidr, gateway=gateways[network.version], source=mine if mine in local else "")
        )
    return routes


class RouteChanges(msgspec.Struct, frozen=True):
    """Routes of `ovn0` to set and to remove."""

    replace: tuple[HostRoute, ...]
    remove: tuple[HostRoute, ...]


def route_changes(desired: Iterable[HostRoute], actual: Mapping[str, Sequence[HostRoute]]) -> RouteChanges:
    """Difference on `ovn0`; `actual` is by link name.

    A destination that another link routes counts as present when its source agrees, so that an administrator's own
    route is not fought over. Unknown routes on `ovn0` go, except link-scope and link-local ones.
    """
    wanted = {route.destination: route for route in desired}
    present = {route.destination: route for route in actual.get(NODE_INTERFACE, ())}
    others = [route for link, routes in actual.items() if link != NODE_INTERFACE for route in routes]
    elsewhere = {(route.destination, route.source) for route in others}
    replace = tuple(
        route
        for destination, route in wanted.items()
        if not _same_route(route, present.get(destination)) and (destination, route.source) not in elsewhere
    )
    remove = tuple(
        route
        for destination, route in present.items()
        if destination not in wanted and route.gateway and not ipaddress.ip_network(destination).is_link_local
    )
    return RouteChanges(replace=replace, remove=remove)


def _same_route(wanted: HostRoute, actual: HostRoute | None) -> bool:
    """IPv6 routes come back with the kernel's default metric, connected ones without a source."""
    if actual is None or wanted.gateway != actual.gateway:
        return False
    return not wanted.gateway or wanted.source == actual.source


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _version(ip: str) -> int:
    try:
        return ipaddress.ip_address(ip).version
    except ValueError:
        return 0

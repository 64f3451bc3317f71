"""The veth pair of a pod: made at its final places, configured inside, inspected, removed. Blocking.

`cni/service` calls this in worker threads. Everything is "make it so": what is right already is not touched, so a
repeated ADD changes nothing, and what a failed one left behind is replaced.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from pyroute2.netlink.rtnl import RTM_NEWADDR, RTM_NEWROUTE

from ovnbridge.node import netlink, netns
from ovnbridge.node.cni.request import Route
from ovnbridge.node.netlink import Netlink
from ovnbridge.node.plan import HostLink

_NEIGHBOUR_GROUP: Final = 1 << 2
_GONE: Final = (errno.ENODEV, errno.ENXIO)


class LinkTaken(Exception):
    """The sandbox has another interface of that name."""


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod's interface must look like inside."""

    name: str
    host: str
    alias: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    """`ip/prefixlen` each."""
    gateways: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    duplicate_detection: bool = False
    """Whether the kernel verifies that nobody else has an IPv6 address (a second or more); OVN's IPAM guarantees it."""
    software_checksum: bool = False


class Built(msgspec.Struct, frozen=True):
    """A configured interface."""

    index: int
    mac: str
    mtu: int
    created: bool


def build(wanted: Interface, path: str, on_pair: Callable[[], None] = lambda: None) -> Built:
    """Make the pair, tell `on_pair`, configure the inner end. Raises NamespaceGone, LinkTaken, NetlinkError."""
    with Netlink() as outside, netns.entered(path) as target:
        netns.allow_ipv6()
        with Netlink() as inside:
            created = _make_pair(outside, inside, wanted, target)
            on_pair()
            link = read_link(inside, wanted.name)
            if link is None:
                raise LinkTaken(f"interface {wanted.name} vanished from the sandbox")
            if wanted.software_checksum:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                    netns.disable_tx_checksum(control, wanted.name)
            _configure(inside, wanted, link, fresh=created)
    return Built(link.index, wanted.mac or link.mac, wanted.mtu or link.mtu, created)


def _make_pair(outside: Netlink, inside: Netlink, wanted: Interface, target: int) -> bool:
    """Create the pair; True when it is new. What stands in the way is kept if right, replaced if ours."""
    for _ in range(2):
        request = netlink.new_veth(wanted.host, peer=wanted.name, netns_fd=target, mac=wanted.mac, mtu=wanted.mtu)
        (code,) = outside.attempt([request])
        if code == 0:
            return True
        if code != errno.EEXIST:
            raise netlink.NetlinkError(code, f"cannot create veth {wanted.host}: {errno.errorcode.get(code, code)}")
        host, peer = read_link(outside, wanted.host), read_link(inside, wanted.name)
        if host and peer and host.peer_index == peer.index and peer.peer_index == host.index:
            outside.apply([netlink.change_link(host.index, up=True, mtu=wanted.mtu or host.mtu)])
            return False
        if host is None or host.kind != "veth":
            break
        outside.apply([netlink.delete_link(wanted.host)], tolerate=_GONE)
    raise LinkTaken(f"interface {wanted.name} already exists in the sandbox")


def _configure(inside: Netlink, wanted: Interface, link: HostLink, *, fresh: bool) -> None:
    requests: list[Any] = []
    present: set[str] = set()
    if not fresh:
        if wanted.mac and link.mac != wanted.mac:
            requests.append(netlink.change_link(link.index, address=wanted.mac))
        if wanted.mtu and link.mtu != wanted.mtu:
            requests.append(netlink.change_link(link.index, mtu=wanted.mtu))
        present = set(read_addresses(inside, link.index))
        requests += [netlink.delete_address(link.index, address) for address in sorted(present - set(wanted.addresses))]
    if link.alias != wanted.alias:  # fast-path modules know our links by it (spec A6)
        requests.append(netlink.change_link(link.index, ifalias=wanted.alias))
    if not link.up:
        requests.append(netlink.change_link(link.index, up=True))
    for address in wanted.addresses:
        if address not in present:
            checked = wanted.duplicate_detection or ":" not in address
            requests.append(netlink.new_address(link.index, address, flags=0 if checked else netlink.IFA_F_NODAD))
    requests += [
        netlink.replace_route(link.index, _default(gateway), gateway=gateway, scope=0)
        for gateway in wanted.gateways
        if fresh or not _has_default(inside, link.index, gateway)
    ]
    inside.apply(requests)
    _add_routes(inside, wanted, link.index)


def _add_routes(inside: Netlink, wanted: Interface, index: int) -> None:
    """Further routes one by one: a bad one must not take the others with it (spec A6)."""
    requests = []
    for route in wanted.routes:
        destination = route.dst or _default(route.gw)
        network = ipaddress.ip_network(destination, strict=False)
        scope = 0 if route.gw or network.version == 6 else 253
        requests.append(netlink.replace_route(index, str(network), gateway=route.gw, scope=scope))
    inside.attempt(requests)


def _has_default(inside: Netlink, index: int, gateway: str) -> bool:
    return any(
        message["dst_len"] == 0 and message.get_attr("RTA_GATEWAY") == gateway and message.get_attr("RTA_OIF") == index
        for message in inside.dump(netlink.get_routes(netlink.family(gateway)), reply=RTM_NEWROUTE)
    )


def _default(gateway: str) -> str:
    return "::/0" if ":" in gateway else "0.0.0.0/0"


def remove(host: str) -> bool:
    """Remove the pair by its host end; False when there is none."""
    with Netlink() as outside:
        link = read_link(outside, host)
        if link is None:
            return False
        if link.kind == "veth":
            outside.apply([netlink.delete_link(host)], tolerate=_GONE)
    return True


def problems(wanted: Interface, path: str) -> list[str]:
    """How the interface differs from what it should be, for CHECK. Raises NamespaceGone."""
    with Netlink() as outside, netns.entered(path), Netlink() as inside:
        host, link = read_link(outside, wanted.host), read_link(inside, wanted.name)
        if host is None or link is None:
            return [f"interface {wanted.host if host is None else wanted.name} does not exist"]
        found = [
            text
            for wrong, text in (
                (host.peer_index != link.index, f"{wanted.name} is not the peer of {wanted.host}"),
                (not host.up or not link.up, f"{wanted.name} is down"),
                (bool(wanted.mac) and link.mac != wanted.mac, f"{wanted.name} has MAC {link.mac}, not {wanted.mac}"),
            )
            if wrong
        ]
        missing = set(wanted.addresses) - set(read_addresses(inside, link.index))
        found += [f"{wanted.name} lacks address {address}" for address in sorted(missing)]
        found += [
            f"{wanted.name} lacks the default route via {gateway}"
            for gateway in wanted.gateways
            if not _has_default(inside, link.index, gateway)
        ]
    return found


def drop_default_routes(path: str, families: Iterable[int]) -> None:
    """Remove default routes, so that another plug-in can set its own (spec A4.7)."""
    with netns.entered(path), Netlink() as inside:
        for family in families:
            for message in inside.dump(netlink.get_routes(family), reply=RTM_NEWROUTE):
                index = message.get_attr("RTA_OIF")
                if message["dst_len"] == 0 and index and message.get_attr("RTA_TABLE") == netlink.MAIN_TABLE:
                    destination = "::/0" if family == socket.AF_INET6 else "0.0.0.0/0"
                    inside.apply([netlink.delete_route(index, destination)], tolerate=(errno.ESRCH,))


def neighbour_sockets(path: str) -> tuple[Netlink, socket.socket]:
    """In the sandbox: a socket that hears of its neighbours, and one for ICMPv6. The caller closes them.

    Raises NamespaceGone.
    """
    with netns.entered(path):
        echo = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6)
        echo.setblocking(False)
        return Netlink(groups=_NEIGHBOUR_GROUP), echo


def read_link(socket_: Netlink, name: str) -> HostLink | None:
    """One link by name."""
    message = netlink.one(socket_, netlink.get_link(name))
    return to_link(message) if message is not None else None


def to_link(message: Any) -> HostLink:
    """A link from its netlink message."""
    info = message.get_attr("IFLA_LINKINFO")
    return HostLink(
        name=message.get_attr("IFLA_IFNAME"),
        index=message["index"],
        mac=message.get_attr("IFLA_ADDRESS") or "",
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=bool(message["flags"] & netlink.IFF_UP),
        kind=(info.get_attr("IFLA_INFO_KIND") or "") if info else "",
        alias=message.get_attr("IFLA_IFALIAS") or "",
        peer_index=message.get_attr("IFLA_LINK") or 0,
        queue_length=message.get_attr("IFLA_TXQLEN") or 0,
    )


def read_addresses(socket_: Netlink, index: int) -> list[str]:
    """Addresses of one link without link-local ones, `ip/prefixlen`."""
    found = []
    for message in socket_.dump(netlink.get_addresses(), reply=RTM_NEWADDR):
        if message["index"] != index:
            continue
        ip = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        if not ipaddress.ip_address(ip).is_link_local:
            found.append(f"{ip}/{message['prefixlen']}")
    return found

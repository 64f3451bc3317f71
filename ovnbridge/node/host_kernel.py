"""The kernel of this machine, as far as `host` needs it: a snapshot, changes of `ovn0`, and notifications. Blocking.

Only what matters is decoded: a node has hundreds of pod links, each with a link-local address and routes of its own.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from pyroute2.netlink.rtnl import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
)

from ovnbridge.node import netlink, netns
from ovnbridge.node.names import NODE_INTERFACE
from ovnbridge.node.netlink import Netlink
from ovnbridge.node.plan import HostAddress, HostLink, HostRoute, NodePort, RouteChanges, link_local
from ovnbridge.node.pod_link import read_link

MONITOR_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # links, IPv4 and IPv6 addresses and routes
QUEUE_LENGTH: Final = 1000
TUNNEL_LINKS: Final = {"geneve": "genev_sys_6081", "vxlan": "vxlan_sys_4789"}
_NAMES: Final = tuple(name.encode() + b"\0" for name in (NODE_INTERFACE, *TUNNEL_LINKS.values()))
_SCOPE_LINK: Final = 253
_UNICAST: Final = 1
_RTA_OIF: Final = 4
_BOOT: Final = 3  # protocol of routes that no daemon set


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """This machine's addresses and links, and routes of the main table by link.

    Of links without an address, except `ovn0`, only name and index are read.
    """

    links: Mapping[str, HostLink]
    addresses: tuple[HostAddress, ...]
    routes: Mapping[str, tuple[HostRoute, ...]]

    @property
    def ips(self) -> frozenset[str]:
        """The bare addresses."""
        return frozenset(entry.address.partition("/")[0] for entry in self.addresses)


def read() -> HostState:
    """Take a snapshot."""
    names = dict(socket.if_nameindex())
    with Netlink() as sock:
        addresses = tuple(
            HostAddress(
                link=names[m["index"]],
                address=f"{m.get_attr('IFA_LOCAL') or m.get_attr('IFA_ADDRESS')}/{m['prefixlen']}",
            )
            for m in sock.dump(netlink.get_addresses(), reply=RTM_NEWADDR, keep=lambda p: p[3] != _SCOPE_LINK)
            if m["index"] in names
        )
        wanted = {entry.link for entry in addresses} | ({NODE_INTERFACE} & set(names.values()))
        found = [read_link(sock, name) for name in sorted(wanted)]
        routes: dict[str, list[HostRoute]] = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            for message in sock.dump(netlink.get_routes(family), reply=RTM_NEWROUTE, keep=_of_main_table):
                route = _route(message)
                name = names.get(message.get_attr("RTA_OIF") or 0)
                if route is not None and name is not None:
                    routes.setdefault(name, []).append(route)
    links = {name: HostLink(name=name, index=index) for index, name in names.items() if name != NODE_INTERFACE}
    return HostState(
        links=links | {link.name: link for link in found if link is not None},
        addresses=addresses,
        routes={name: tuple(entries) for name, entries in routes.items()},
    )


def _of_main_table(payload: bytes) -> bool:
    return payload[4] == netlink.MAIN_TABLE and payload[7] == _UNICAST


def _route(message: Any) -> HostRoute | None:
    destination = message.get_attr("RTA_DST") or ("::" if message["family"] == socket.AF_INET6 else "0.0.0.0")
    if ipaddress.ip_address(destination).is_link_local:
        return None
    return HostRoute(
        destination=f"{destination}/{message['dst_len']}",
        gateway=message.get_attr("RTA_GATEWAY") or "",
        source=message.get_attr("RTA_PREFSRC") or "",
        protocol=message["proto"],
        scope=message["scope"],
        metric=message.get_attr("RTA_PRIORITY") or 0,
    )


def configure(port: NodePort, mtu: int) -> list[str]:
    """Give `ovn0` its MAC, addresses and state; returns what was changed. Raises NetlinkError, LookupError."""
    changed: list[str] = []
    requests: list[Any] = []
    with Netlink() as sock:
        link = read_link(sock, NODE_INTERFACE)
        if link is None:
            raise LookupError(f"{NODE_INTERFACE} does not exist")
        if link.mac != port.mac:
            changed.append(f"mac {port.mac}")
            requests.append(netlink.change_link(link.index, address=port.mac))
        if mtu and link.mtu != mtu:
            changed.append(f"mtu {mtu}")
            requests.append(netlink.change_link(link.index, mtu=mtu))
        if link.queue_length != QUEUE_LENGTH:
            changed.append("queue length")
            requests.append(netlink.change_link(link.index, txqlen=QUEUE_LENGTH))
        if not link.up:
            changed.append("up")
            requests.append(netlink.change_link(link.index, up=True))
        wanted = set(port.addresses)
        present, local = _addresses(sock, link.index)
        if any(":" in address for address in wanted) and not local:
            wanted.add(link_local(port.mac))
        for address in sorted(present - wanted):
            changed.append(f"not {address}")
            requests.append(netlink.delete_address(link.index, address))
        for address in sorted(wanted - present):
            changed.append(address)
            flags = netlink.IFA_F_NODAD if ":" in address else 0
            requests.append(netlink.new_address(link.index, address, flags=flags))
        # A link that is down refuses IPv6 addresses' routes; the order above is the order of the requests.
        sock.apply(requests, tolerate=(errno.EEXIST, errno.EADDRNOTAVAIL))
    return changed


def _addresses(sock: Netlink, index: int) -> tuple[set[str], set[str]]:
    """Addresses of a link: global ones, and IPv6 link-local ones."""
    present: set[str] = set()
    local: set[str] = set()
    for message in sock.dump(netlink.get_addresses(), reply=RTM_NEWADDR, keep=lambda p: _index(p, 4) == index):
        text = f"{message.get_attr('IFA_LOCAL') or message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}"
        (local if ipaddress.ip_interface(text).is_link_local else present).add(text)
    return present, local


def apply_routes(changes: RouteChanges) -> list[str]:
    """Change routes of `ovn0`; returns what could not be set, as text. Raises LookupError."""
    failed: list[str] = []
    with Netlink() as sock:
        link = read_link(sock, NODE_INTERFACE)
        if link is None:
            raise LookupError(f"{NODE_INTERFACE} does not exist")
        removals = [netlink.delete_route(link.index, r.destination, gateway=r.gateway) for r in changes.remove]
        additions = [
            netlink.replace_route(
                link.index,
                r.destination,
                gateway=r.gateway,
                source=r.source,
                protocol=r.protocol,
                scope=r.scope,
                metric=r.metric,
            )
            for r in changes.replace
        ]
        sock.attempt(removals)
        for code, route in zip(sock.attempt(additions), changes.replace, strict=True):
            if code:
                failed.append(f"{route.destination}: {errno.errorcode.get(code, str(code))}")
    return failed


def tend_tunnel(name: str, *, tx_off: bool) -> list[str]:
    """The kernel datapath's tunnel link is up, and makes checksums in software if wanted (spec B2, B5)."""
    changed: list[str] = []
    with Netlink() as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        link = read_link(sock, name)
        if link is None:
            return changed
        if not link.up:
            sock.apply([netlink.change_link(link.index, up=True)])
            changed.append("up")
        if tx_off and netns.disable_tx_checksum(control, name):
            changed.append("tx off")
    return changed


def concerns_host(data: bytes, links: Iterable[int]) -> bool:
    """Whether notifications are about something that `host` looks at: `ovn0`, these links, any global address."""
    indexes = frozenset(links)
    for kind, _, _, payload in netlink.split(data):
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            if _index(payload, 4) in indexes or any(name in payload for name in _NAMES):
                return True
        elif kind in (RTM_NEWADDR, RTM_DELADDR):
            if payload[3] != _SCOPE_LINK:
                return True
        elif kind in (RTM_NEWROUTE, RTM_DELROUTE) and _of_main_table(payload) and _output(payload) in indexes:
            return True
    return False


def _index(payload: bytes, offset: int) -> int:
    return int(struct.unpack_from("=i", payload, offset)[0]) if len(payload) >= offset + 4 else 0


def _output(payload: bytes) -> int:
    """RTA_OIF of a route message."""
    offset = 12
    while offset + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, offset)
        if kind == _RTA_OIF:
            return _index(payload, offset + 4)
        if length < 4:
            break
        offset += (length + 3) & ~3
    return 0

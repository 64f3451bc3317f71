"""Checks of the data path: does the gateway answer, has somebody else this address. Asynchronous, first answer wins.

Used by `cni/service` for pods (neighbour resolution inside the sandbox, which also warms the pod's neighbour cache) and
by `host` for `ovn0` (ICMP echo). Spec: node A6, B4.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from pyroute2.netlink import NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_NEWADDR, RTM_NEWNEIGH

from ovnbridge.node import netlink, netns, packets, pod_link
from ovnbridge.node.kernel import Kernel
from ovnbridge.node.netlink import NUD_REACHABLE, Netlink

RETRY_SECONDS: Final = 1.0
_DETECTION_SECONDS: Final = 5.0
_IPV6_ADDRESS_GROUP: Final = 0x100
_FIRST_PAUSES: Final = (0.1, 0.2, 0.4)
_ECHO_IDENTIFIER: Final = 0x6F62
_PROBES: Final = 3
_PROBE_WAIT, _PROBE_MIN, _PROBE_MAX, _ANNOUNCE_WAIT = 1.0, 1.0, 2.0, 2.0  # RFC 5227, 1.1
_USABLE: Final = NUD_REACHABLE | 0x08 | 0x10 | netlink.NUD_PERMANENT  # reachable, delay, probe, permanent


@asynccontextmanager
async def _readable(sock: socket.socket) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the socket has something to read."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    sock.setblocking(False)
    loop.add_reader(sock.fileno(), event.set)
    try:
        yield event
    finally:
        loop.remove_reader(sock.fileno())


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def gateways_answer(
    kernel: Kernel, path: str, index: int, gateways: Iterable[str], *, tries: int
) -> dict[str, int]:
    """Resolve gateways from inside a sandbox; returns the silent ones with the number of tries.

    The first tries follow each other quickly, so that one lost packet does not cost the pod a second.
    """
    missing = dict.fromkeys(gateways, 0)
    if not missing:
        return missing
    sock, echo = await kernel.run(pod_link.neighbour_sockets, path)
    with sock, echo:
        async with _readable(sock.socket) as event:
            for attempt in range(tries):
                for gateway in missing:
                    missing[gateway] += 1
                _kick(sock, echo, index, missing)
                pause = _FIRST_PAUSES[attempt] if attempt < len(_FIRST_PAUSES) else RETRY_SECONDS
                await _until_answered(sock, event, index, missing, pause)
                if not missing:
                    break
    return missing


def _kick(sock: Netlink, echo: socket.socket, index: int, missing: dict[str, int]) -> None:
    """Ask the kernel to resolve, and read what it knows already.

    For IPv6 by a packet: without one it asks from the link-local address, which is not usable for a second or two.
    """
    for gateway, tries in missing.items():
        if tries > 1:  # the kernel itself would ask again only after a second
            _send(sock, netlink.forget_neighbour(index, gateway), NLM_F_REQUEST)
        if ":" in gateway:
            try:
                echo.sendto(packets.echo_request(6, _ECHO_IDENTIFIER, 1), (gateway, 0))
            except OSError:  # no route or no buffer just now: the next round tries again
                continue
        else:
            _send(sock, netlink.use_neighbour(index, gateway), NLM_F_REQUEST | NLM_F_CREATE)
    for family in {netlink.family(gateway) for gateway in missing}:
        _send(sock, netlink.get_neighbours(family), NLM_F_REQUEST | NLM_F_DUMP)


def _send(sock: Netlink, message: Any, flags: int) -> None:
    message["header"]["flags"] = flags
    message.encode()
    try:
        sock.socket.send(message.data)
    except BlockingIOError:
        return  # the next round asks again


async def _until_answered(
    sock: Netlink, event: asyncio.Event, index: int, missing: dict[str, int], seconds: float
) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while missing:
        _read_neighbours(sock, index, missing)
        left = deadline - asyncio.get_running_loop().time()
        if not missing or left <= 0 or not await _wait(event, left):
            return
        event.clear()


def _read_neighbours(sock: Netlink, index: int, missing: dict[str, int]) -> None:
    while True:
        try:
            data = sock.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS: some notifications are lost, the next round asks again
            return
        for kind, flags, sequence, payload in netlink.split(data):
            if kind != RTM_NEWNEIGH:
                continue
            message = netlink.decode(kind, flags, sequence, payload)
            if message["ifindex"] == index and message["state"] & _USABLE:
                missing.pop(message.get_attr("NDA_DST"), None)


def _packet_socket(path: str, interface: str) -> socket.socket:
    with netns.entered(path):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((interface, packets.ETH_ARP))
    return sock


async def address_conflict(kernel: Kernel, path: str, interface: str, mac: str, ip: str) -> str | None:
    """MAC of another host that has the IPv4 address (RFC 5227 probes, 4-7 s), or None."""
    sock = await kernel.run(_packet_socket, path, interface)
    try:
        async with _readable(sock) as event:
            await asyncio.sleep(random.uniform(0, _PROBE_WAIT))
            for attempt in range(_PROBES):
                sock.send(packets.arp_request(mac, sender="0.0.0.0", target=ip))
                last = attempt == _PROBES - 1
                pause = _ANNOUNCE_WAIT if last else random.uniform(_PROBE_MIN, _PROBE_MAX)
                conflict = await _listen(sock, event, pause, mac, ip)
                if conflict is not None:
                    return conflict
    finally:
        kernel.later(sock.close)
    return None


async def _listen(sock: socket.socket, event: asyncio.Event, seconds: float, mac: str, ip: str) -> str | None:
    deadline = asyncio.get_running_loop().time() + seconds
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        if not await _wait(event, left):
            return None
        event.clear()
        while True:
            try:
                frame = sock.recv(2048)
            except BlockingIOError:
                break
            conflict = packets.arp_conflict(frame, own_mac=mac, ip=ip)
            if conflict is not None:
                return conflict
    return None


async def ping(ip: str, *, interface: str, tries: int) -> bool:
    """ICMP echo, once a second until the first reply. Raises OSError when it cannot be sent at all."""
    version = 6 if ":" in ip else 4
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if version == 6 else socket.IPPROTO_ICMP
    identifier = int.from_bytes(os.urandom(2), "big")
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        async with _readable(sock) as event:
            for sequence in range(1, tries + 1):
                try:
                    sock.sendto(packets.echo_request(version, identifier, sequence), (ip, 0))
                except OSError:  # the link is down just now, or the neighbour failed to resolve
                    if sequence == tries:
                        raise
                if await _echoed(sock, event, version, identifier):
                    return True
    return False


async def _echoed(sock: socket.socket, event: asyncio.Event, version: int, identifier: int) -> bool:
    deadline = asyncio.get_running_loop().time() + RETRY_SECONDS
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        if not await _wait(event, left):
            return False
        event.clear()
        while True:
            try:
                packet = sock.recv(2048)
            except BlockingIOError:
                break
            if packets.is_echo_reply(version, packet, identifier):
                return True
    return False


def _address_socket(path: str) -> Netlink:
    with netns.entered(path):
        return Netlink(groups=_IPV6_ADDRESS_GROUP)


async def duplicate_addresses(kernel: Kernel, path: str, index: int) -> list[str]:
    """IPv6 addresses of a link that duplicate address detection refused, once it is done; at most 5 s (spec A6)."""
    sock = await kernel.run(_address_socket, path)
    deadline = asyncio.get_running_loop().time() + _DETECTION_SECONDS
    with sock:
        async with _readable(sock.socket) as event:
            while True:
                states = await kernel.run(_address_flags, path, index)
                refused = [ip for ip, flags in states.items() if flags & netlink.IFA_F_DADFAILED]
                tentative = [ip for ip, flags in states.items() if flags & netlink.IFA_F_TENTATIVE]
                left = deadline - asyncio.get_running_loop().time()
                if refused or not tentative or left <= 0:
                    return refused or tentative
                await _wait(event, left)
                event.clear()
                _drain(sock.socket)


def _address_flags(path: str, index: int) -> dict[str, int]:
    with netns.entered(path), Netlink() as inside:
        return {
            message.get_attr("IFA_ADDRESS"): message.get_attr("IFA_FLAGS") or message["flags"]
            for message in inside.dump(netlink.get_addresses(), reply=RTM_NEWADDR)
            if message["index"] == index and message["family"] == socket.AF_INET6 and message["scope"] == 0
        }


def _drain(sock: socket.socket) -> None:
    while True:
        try:
            sock.recv(1 << 16)
        except OSError:
            return

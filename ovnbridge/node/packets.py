"""The few packets that a node sends itself: ARP, neighbour advertisement, ICMP echo. Pure, except `announce`."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable
from typing import Final

from ovnbridge.node import netns

ETH_ARP: Final = 0x0806
ETH_IPV6: Final = 0x86DD
ARP_REQUEST: Final = 1
ARP_REPLY: Final = 2
BROADCAST: Final = b"\xff" * 6
_ALL_NODES: Final = ipaddress.IPv6Address("ff02::1")
_ARP: Final = struct.Struct("!HHBBH6s4s6s4s")
_NEXT_ICMPV6: Final = 58
_NEIGHBOUR_ADVERTISEMENT: Final = 136
_OVERRIDE: Final = 0x20000000
_ECHO: Final = {4: (8, 0), 6: (128, 129)}


def mac_bytes(mac: str) -> bytes:
    """`aa:bb:…` as six bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def mac_text(mac: bytes) -> str:
    """Six bytes as `aa:bb:…`."""
    return mac.hex(":")


def checksum(data: bytes) -> int:
    """The Internet checksum."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def arp_request(mac: str, *, sender: str, target: str) -> bytes:
    """An ARP request frame; sender 0.0.0.0 makes it a probe, sender = target a gratuitous announcement."""
    source = mac_bytes(mac)
    body = _ARP.pack(
        1,
        0x0800,
        6,
        4,
        ARP_REQUEST,
        source,
        ipaddress.IPv4Address(sender).packed,
        bytes(6),
        ipaddress.IPv4Address(target).packed,
    )
    return BROADCAST + source + struct.pack("!H", ETH_ARP) + body


def arp_conflict(frame: bytes, *, own_mac: str, ip: str) -> str | None:
    """MAC of another host that uses `ip`, or probes for it, according to this frame (RFC 5227, 2.1.1)."""
    if len(frame) < 14 + _ARP.size or frame[12:14] != struct.pack("!H", ETH_ARP):
        return None
    hardware, protocol, _, _, operation, sender_mac, sender_ip, _, target_ip = _ARP.unpack_from(frame, 14)
    if (hardware, protocol) != (1, 0x0800) or sender_mac == mac_bytes(own_mac):
        return None
    address = ipaddress.IPv4Address(ip).packed
    probed = operation == ARP_REQUEST and sender_ip == bytes(4) and target_ip == address
    return mac_text(sender_mac) if sender_ip == address or probed else None


def neighbour_advertisement(mac: str, ip: str) -> bytes:
    """An unsolicited neighbour advertisement with the override flag, to all nodes."""
    source, address = mac_bytes(mac), ipaddress.IPv6Address(ip).packed
    body = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE) + address + b"\x02\x01" + source
    pseudo = address + _ALL_NODES.packed + struct.pack("!II", len(body), _NEXT_ICMPV6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), _NEXT_ICMPV6, 255) + address + _ALL_NODES.packed
    return b"\x33\x33\x00\x00\x00\x01" + source + struct.pack("!H", ETH_IPV6) + header + body


def echo_request(version: int, identifier: int, sequence: int) -> bytes:
    """An ICMP echo request; the kernel fills in the ICMPv6 checksum."""
    kind = _ECHO[version][0]
    payload = b"ovnbridge"
    header = struct.pack("!BBHHH", kind, 0, 0, identifier, sequence)
    value = checksum(header + payload) if version == 4 else 0
    return struct.pack("!BBHHH", kind, 0, value, identifier, sequence) + payload


def is_echo_reply(version: int, packet: bytes, identifier: int) -> bool:
    """Whether a packet of a raw socket answers one of our requests (IPv4 ones come with their IP header)."""
    if version == 4:
        if len(packet) < 20:
            return False
        packet = packet[(packet[0] & 0x0F) * 4 :]
    return len(packet) >= 8 and packet[0] == _ECHO[version][1] and struct.unpack_from("!H", packet, 4)[0] == identifier


def announce(path: str, interface: str, mac: str, ips: Iterable[str]) -> None:
    """Tell neighbours which MAC the addresses have now: one gratuitous ARP, one unsolicited advertisement. Blocking.

    Takes 16 ms, since closing a packet socket waits for an RCU grace period. An empty path is our own namespace.
    """
    if path:
        with netns.entered(path):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    else:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with sock:
        sock.bind((interface, 0))
        for ip in ips:
            v6 = ":" in ip
            sock.send(neighbour_advertisement(mac, ip) if v6 else arp_request(mac, sender=ip, target=ip))

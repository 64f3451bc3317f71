"""The other end of BFD sessions: `python bfd_peer.py ADDRESS` answers every control packet that comes to an address.

RFC 5880, asynchronous mode: the state machine of section 6.8.6 as far as a system needs it that only ever answers.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys

DOWN, INIT, UP = 1, 2, 3
PORT, SOURCE = 3784, 49152  # RFC 5881
POLL, FINAL = 0x20, 0x10
INTERVAL = 100_000  # microseconds


def serve(address: str) -> None:
    version = ipaddress.ip_address(address).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    heard, said = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
    heard.bind((address, PORT))
    said.bind((address, SOURCE))
    level, option = (
        (socket.IPPROTO_IP, socket.IP_TTL) if version == 4 else (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
    )
    said.setsockopt(level, option, 255)  # RFC 5881, section 5: nobody further away can send it
    states: dict[int, int] = {}
    while True:
        packet, sender = heard.recvfrom(100)
        flags, theirs = packet[1], struct.unpack(">I", packet[4:8])[0]
        before = states.get(theirs, DOWN)
        states[theirs] = state = {DOWN: INIT, INIT: UP, UP: UP if before != DOWN else DOWN}.get(flags >> 6, DOWN)
        answer = (0x20, state << 6 | (FINAL if flags & POLL else 0), 3, 24, 7, theirs, INTERVAL, INTERVAL, 0)
        said.sendto(struct.pack(">BBBBIIIII", *answer), (sender[0], PORT))


if __name__ == "__main__":
    serve(sys.argv[1])

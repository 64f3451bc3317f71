"""Who reaches whom, asked from inside: echo requests and TCP connections by sockets in the sources' namespaces.

It runs on the supervisor's loop and starts no process, so that the asking does not use up the machine that is asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import struct
from collections.abc import Sequence

from ovnbridge.lab.namespaces import Namespaces

_SOURCES_AT_ONCE = 16
_CONNECTIONS_AT_ONCE = 64
_ROUNDS = 3
_ROUND_SECONDS = 1.0
_CONNECT_SECONDS = 3.0
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}


async def reach(
    namespaces: Namespaces, sources: Sequence[str], targets: Sequence[str], port: int | None
) -> dict[str, list[str]]:
    """For each source namespace the target addresses that answer."""
    connections = asyncio.Semaphore(_CONNECTIONS_AT_ONCE)

    async def from_one(source: str) -> list[str]:
        if port is not None:
            answers = await asyncio.gather(*(_connects(namespaces, source, to, port, connections) for to in targets))
            return [target for target, answered in zip(targets, answers, strict=True) if answered]
        found: list[str] = []
        for version in (4, 6):
            family = [target for target in targets if ipaddress.ip_address(target).version == version]
            if family:
                found += await _pings(namespaces, source, family, version)
        return found

    answers: dict[str, list[str]] = {}
    for start in range(0, len(sources), _SOURCES_AT_ONCE):
        group = sources[start : start + _SOURCES_AT_ONCE]
        answers |= zip(group, await asyncio.gather(*(from_one(source) for source in group)), strict=True)
    return answers


async def _connects(
    namespaces: Namespaces, source: str, target: str, port: int, connections: asyncio.Semaphore
) -> bool:
    async with connections:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                opened = await namespaces.connect(source, target, port)
        except (TimeoutError, OSError):
            return False
    opened.close()
    return True


async def _pings(namespaces: Namespaces, source: str, targets: Sequence[str], version: int) -> list[str]:
    """Up to three requests to each target, a second apart; only as many as are needed."""
    loop = asyncio.get_running_loop()
    try:
        opened = await namespaces.icmp(source, version)
    except OSError:  # the pod went away
        return []
    identifier = secrets.randbelow(1 << 16)
    waiting = dict(enumerate(targets))
    done = asyncio.Event()

    def receive() -> None:
        while True:
            try:
                packet, sender = opened.recvfrom(2048)
            except OSError:
                return
            message = packet[(packet[0] & 15) * 4 :] if version == 4 else packet
            kind, _, _, number, index = struct.unpack_from("!BBHHH", message)
            if (kind, number) == (_REPLY[version], identifier) and waiting.get(index) == sender[0]:
                del waiting[index]
                if not waiting:
                    done.set()

    loop.add_reader(opened, receive)
    try:
        for _ in range(_ROUNDS):
            for index, target in waiting.items():
                _send(opened, _request(version, identifier, index), target)
            try:
                async with asyncio.timeout(_ROUND_SECONDS):
                    await done.wait()
                    break
            except TimeoutError:
                continue
    finally:
        loop.remove_reader(opened)
        opened.close()
    missing = set(waiting.values())
    return [target for target in targets if target not in missing]


def _send(opened: socket.socket, packet: bytes, target: str) -> None:
    try:
        opened.sendto(packet, (target, 0))
    except OSError:  # no route, or a full buffer: the next round tries again
        pass


def _request(version: int, identifier: int, index: int) -> bytes:
    """An echo request; the kernel fills in the checksum of IPv6."""
    payload = b"ovnbridge lab   "
    head = struct.pack("!BBHHH", _REQUEST[version], 0, 0, identifier, index)
    if version == 6:
        return head + payload
    total = sum(struct.unpack(f"!{(len(head) + len(payload)) // 2}H", head + payload))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return struct.pack("!BBHHH", _REQUEST[version], 0, checksum, identifier, index) + payload

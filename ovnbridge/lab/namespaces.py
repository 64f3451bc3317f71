"""Network namespaces by system call: made, entered by a helper thread, removed. No command is run for a pod's sandbox.

A thread may be in another network namespace than its process. A socket belongs to the namespace that its thread was
in when it was made, so the supervisor's one event loop serves and probes in every namespace of the lab.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

NETNS_DIRECTORY = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MNT_DETACH = 2
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_libc = ctypes.CDLL(None, use_errno=True)

Result = TypeVar("Result")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    """Brings the calling thread back to the namespace that it was in."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _check(_libc.setns(own, _CLONE_NEWNET), "setns")
        os.close(own)


def _enter_and(name: str, function: Callable[[], Result]) -> Result:
    descriptor = os.open(NETNS_DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    with _returning():
        try:
            _check(_libc.setns(descriptor, _CLONE_NEWNET), f"setns {name}")
        finally:
            os.close(descriptor)
        return function()


def _create(name: str) -> None:
    target = NETNS_DIRECTORY / name
    os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    with _returning():
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        source = f"/proc/self/task/{threading.get_native_id()}/ns/net".encode()
        _check(_libc.mount(source, os.fsencode(target), b"none", ctypes.c_ulong(_MS_BIND), None), f"mount {target}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            request = struct.pack("16sh14x", b"lo", 0)
            flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def _remove(name: str) -> None:
    target = NETNS_DIRECTORY / name
    if not target.exists():
        return
    _libc.umount2(os.fsencode(target), _MNT_DETACH)
    target.unlink(missing_ok=True)


def _bound(address: tuple[str, int], kind: socket.SocketKind, dual: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    opened = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if dual:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.bind(address)
        if kind == socket.SOCK_STREAM:
            opened.listen(256)
    except OSError:
        opened.close()
        raise
    return opened


class Namespaces:
    """Works in named network namespaces; all of it on threads of its own, which nobody else uses."""

    def __init__(self, threads: int = 4) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="netns")

    async def create(self, name: str) -> None:
        """Makes a namespace with `lo` up, known to `ip netns`."""
        await self._call(lambda: _create(name))

    async def remove(self, name: str) -> None:
        await self._call(lambda: _remove(name))

    async def listen(
        self, name: str, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM
    ) -> socket.socket:
        """A socket bound in that namespace; `::` serves both address families."""
        return await self._call(lambda: _enter_and(name, lambda: _bound((address, port), kind, address == "::")))

    async def icmp(self, name: str, version: int) -> socket.socket:
        """A raw socket for echo requests from that namespace."""
        family, protocol = (
            (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        )
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        return await self._call(lambda: _enter_and(name, lambda: socket.socket(family, kind, protocol)))

    async def connect(self, name: str, address: str, port: int) -> socket.socket:
        """A TCP connection that starts in that namespace; bound the wait by `asyncio.timeout`."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        opened = await self._call(
            lambda: _enter_and(
                name, lambda: socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            )
        )
        try:
            await asyncio.get_running_loop().sock_connect(opened, (address, port))
        except BaseException:
            opened.close()
            raise
        return opened

    async def _call(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

"""Work inside another network namespace: enter it in a worker thread, open sockets there, set sysctls, switch offloads.

A socket stays in the namespace that it was made in, so a visit takes 0.1 ms; everything later goes through the sockets.
All functions block and belong into a `kernel` worker thread: the namespace is a property of the thread.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_CLONE_NEWNET: Final = 0x40000000
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_STXCSUM: Final = 0x00000017
_ETHTOOL_GTXCSUM: Final = 0x00000016
_IFREQ: Final = struct.Struct("16sQ16x")
_SYSCTLS: Final = (("disable_ipv6", "0"), ("accept_ra", "0"))

_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceGone(Exception):
    """The path is no network namespace (any more)."""


def exists(path: str) -> bool:
    """Whether a namespace is mounted at `path`; a bare file is what is left of one that was removed."""
    try:
        return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except OSError:
        return False


@contextmanager
def entered(path: str) -> Iterator[int]:
    """The calling thread is in the namespace at `path`; yields a descriptor of it. Raises NamespaceGone."""
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise NamespaceGone(f"cannot open network namespace {path}: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(target).st_mode):
            raise NamespaceGone(f"{path} is not a network namespace")
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(target, _CLONE_NEWNET):
                code = ctypes.get_errno()
                raise NamespaceGone(f"cannot enter network namespace {path}: {os.strerror(code)}")
            try:
                yield target
            finally:
                if _libc.setns(home, _CLONE_NEWNET):
                    # Going on would configure the node's interfaces inside a pod.
                    os.abort()
        finally:
            os.close(home)
    finally:
        os.close(target)


def allow_ipv6() -> None:
    """Let IPv6 addresses be set on new links, and no router change them (spec A2). A read-only /proc is left alone."""
    for scope in ("all", "default"):
        for name, wanted in _SYSCTLS:
            path = f"/proc/sys/net/ipv6/conf/{scope}/{name}"
            try:
                with open(path, "r+", encoding="ascii") as file:
                    if file.read().strip() != wanted:
                        file.seek(0)
                        file.write(wanted)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EPERM, errno.EACCES, errno.EROFS):
                    raise


def disable_tx_checksum(sock: socket.socket, interface: str) -> bool:
    """`ethtool -K interface tx off` in the namespace of `sock`; False when it is off already.

    Needed on every veth that originates traffic into a userspace datapath: else TCP fails and ping works (gotcha G1).
    """
    if not _ethtool(sock, interface, _ETHTOOL_GTXCSUM, 0):
        return False
    _ethtool(sock, interface, _ETHTOOL_STXCSUM, 0)
    return True


def _ethtool(sock: socket.socket, interface: str, command: int, value: int) -> int:
    data = array.array("I", [command, value])
    request = bytearray(_IFREQ.pack(interface.encode(), data.buffer_info()[0]))
    fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, request)
    return data[1]

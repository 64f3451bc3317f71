"""Opens byte streams to OVSDB remotes: `unix:/path`, `tcp:host:port`, `ssl:host:port` (IPv6 in brackets).

Used by `client.py` at every (re)connect; TLS files are read anew each time, so rotated certificates take effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator

import msgspec

DEFAULT_PORT = 6640
_READ_BUFFER = 4 << 20


class TlsFiles(msgspec.Struct, frozen=True):
    """Paths of PEM files; read at every (re)connect."""

    private_key: str
    certificate: str
    ca_certificate: str


class Remote(msgspec.Struct, frozen=True):
    """A parsed remote."""

    scheme: str
    host: str
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Remote:
        scheme, _, rest = text.strip().partition(":")
        if scheme == "unix" and rest:
            return cls("unix", rest)
        if scheme not in ("tcp", "ssl") or not rest:
            raise ValueError(f"not an OVSDB remote: {text!r}")
        if rest.startswith("["):
            host, _, tail = rest[1:].partition("]")
            port = tail.removeprefix(":")
        else:
            host, _, port = rest.partition(":")
        if not host or (port and not port.isdigit()):
            raise ValueError(f"not an OVSDB remote: {text!r}")
        return cls(scheme, host, int(port or DEFAULT_PORT))


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """Mutual TLS as OVN does it: the CA decides, host names do not. Raises OSError, which names a file that lacks."""
    for path in (files.ca_certificate, files.certificate, files.private_key):
        with open(path, "rb"):  # the context's own errors do not name it
            pass
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    with _naming(files.ca_certificate):
        context.load_verify_locations(files.ca_certificate)
    with _naming(files.certificate, files.private_key):
        # With a password, even none, an encrypted key is an error; without, it would be asked for on the terminal.
        context.load_cert_chain(files.certificate, files.private_key, password="")
    return context


@contextlib.contextmanager
def _naming(*files: str) -> Iterator[None]:
    """Say which files an error of the TLS library, which says nothing, is about."""
    try:
        yield
    except OSError as error:
        raise OSError(f"TLS file {', '.join(files)}: {error.strerror or error}") from error


async def connect(
    remote: Remote, tls: TlsFiles | None, deadline: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connected stream; raises OSError (TimeoutError and ssl.SSLError included)."""
    async with asyncio.timeout(deadline):
        if remote.scheme == "unix":
            return await asyncio.open_unix_connection(remote.host, limit=_READ_BUFFER)
        context = None
        if remote.scheme == "ssl":
            if tls is None:
                raise OSError(f"ssl:{remote.host}:{remote.port} needs TLS files")
            context = tls_context(tls)
        return await asyncio.open_connection(remote.host, remote.port, limit=_READ_BUFFER, ssl=context)

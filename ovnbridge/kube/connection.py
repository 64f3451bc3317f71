"""One HTTP connection pool to the API server; every request and every watch of the process goes through it.

Used by `reflector`, `writer`, `events` and `lease`. It promises that whatever goes wrong is an `ApiError`: with the
server's `Status` when it answered, with status 0 when it did not. It never retries (who asks knows whether it may),
except once after a 401 with a new token.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias

import aiohttp
import msgspec
import orjson

from ovnbridge.kube.credentials import Credentials, CredentialsError, load_credentials
from ovnbridge.kube.wire import UNREADABLE, Status, statuses
from ovnbridge.model.resource import Resource

log = logging.getLogger(__name__)

Params: TypeAlias = Mapping[str, str | int]
PatchKind: TypeAlias = Literal["merge", "strategic", "json", "apply"]

JSON = "application/json"
PATCH_TYPES: Mapping[PatchKind, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
LONGEST_LINE = 8 << 20
CONNECT_SECONDS = 10.0
# No list or watch chunk larger than this is buffered beyond what the reader has taken.
READ_BUFFER = 1 << 20
# A peer that vanished without a word is noticed after 15 + 3 * 5 s, whatever the idle time of the stream.
KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
# A path segment that means another object, or none, never reaches the server.
UNSAFE_SEGMENT = re.compile(r"[/%?#\x00-\x20]|^\.\.?$")


before_sending: ContextVar[Callable[[], None]] = ContextVar("before_sending", default=lambda: None)
"""Called when the bytes of a request with a body go out now; an ApiError that it raises is raised instead. The process
may have been paused since the request was made: while it connected, or before the task that writes had its turn."""


class ApiError(Exception):
    """The server's refusal, or (status 0) the lack of an answer: then the outcome of a write is unknown."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @classmethod
    def of(cls, status: Status) -> ApiError:
        """What a Status says."""
        retry_after = status.details.retry_after_seconds if status.details else None
        return cls(status.code, status.reason, status.message, retry_after=retry_after)

    @property
    def unreachable(self) -> bool:
        """Whether the server did not answer at all."""
        return self.status == 0


class _Request(aiohttp.ClientRequest):
    async def write_bytes(
        self,
        writer: aiohttp.abc.AbstractStreamWriter,
        conn: aiohttp.connector.Connection,
        content_length: int | None = None,
    ) -> None:
        """See `before_sending`. The head of the request waits for the body."""
        try:
            before_sending.get()()
        except ApiError as error:
            assert conn.protocol is not None
            conn.protocol.set_exception(error)
        else:
            await super().write_bytes(writer, conn, content_length)


class Connection:
    """See the module's docstring. Made by `open`, ended by `close`."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        timeout: float = 30.0,
        on_request: Callable[[str, int, float], None] | None = None,
    ) -> None:
        """`on_request` hears the method, status and seconds of every request: for metrics."""
        self._credentials = credentials
        self._timeout = timeout
        self._on_request = on_request
        # The pool of kubernetes_asyncio (TLS, client certificate) under a session of our own: theirs asks the
        # environment for a proxy and ~/.netrc for a password, in threads, at every request.
        self._session = aiohttp.ClientSession(
            connector=credentials.connector,
            connector_owner=False,
            request_class=_Request,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BUFFER,
            raise_for_status=False,
            # Compression would cost both sides more than the local network does.
            headers={"Accept": JSON, "Accept-Encoding": "identity", "User-Agent": "ovnbridge"},
        )
        self._options: dict[str, Any] = {"allow_redirects": False}
        if credentials.tls_server_name:
            self._options["server_hostname"] = credentials.tls_server_name
        if credentials.proxy:
            self._options["proxy"] = credentials.proxy
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._silent_since: float | None = None

    @classmethod
    async def open(
        cls,
        *,
        kubeconfig: str | Mapping[str, Any] | None = None,
        context: str | None = None,
        server: str | None = None,
        timeout: float = 30.0,
        connections: int = 64,
        on_request: Callable[[str, int, float], None] | None = None,
    ) -> Connection:
        """Read the configuration; the server itself is first asked by the first request."""
        try:
            credentials = await load_credentials(
                kubeconfig=kubeconfig, context=context, server=server, connections=connections
            )
        except CredentialsError as error:
            raise ApiError(0, "Configuration", str(error)) from error
        return cls(credentials=credentials, timeout=timeout, on_request=on_request)

    @property
    def url(self) -> str:
        """Address of the API server."""
        return self._credentials.url

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        await self._session.close()
        await self._credentials.close()

    # ---- plain requests

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        timeout: float | None = None,
    ) -> bytes:
        """Send one request; the body of a 2xx reply."""
        try:
            return await self._request(method, path, params, body, content_type, timeout)
        except ApiError as error:
            if error.status != 401 or not await self._credentials.refused():
                raise
        return await self._request(method, path, params, body, content_type, timeout)

    async def _request(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: bytes | None,
        content_type: str,
        timeout: float | None,
    ) -> bytes:
        headers = {} if body is None else {"Content-Type": content_type}
        started = time.perf_counter()
        status = 0
        try:
            await self._credentials.authorize(headers)
            async with self._session.request(
                method,
                self._credentials.url + path,
                params=params,
                data=body,
                headers=headers,
                timeout=self._client_timeout(self._timeout if timeout is None else timeout),
                **self._options,
            ) as response:
                self._answered()
                status = response.status
                reply = await response.read()
                if 200 <= status < 300:
                    return reply
                raise _refusal(status, response.reason, reply, response.headers.get("Retry-After"))
        except (CredentialsError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._not_answered(_unreachable(method, path, error)) from error
        finally:
            if self._on_request is not None:
                self._on_request(method, status, time.perf_counter() - started)

    def _client_timeout(self, seconds: float) -> aiohttp.ClientTimeout:
        known = self._timeouts.get(seconds)
        if known is None:
            known = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
            if len(self._timeouts) < 64:
                self._timeouts[seconds] = known
        return known

    async def stream(self, path: str, params: Params, *, idle_timeout: float) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a watch until the server ends it. Close the generator (`aclosing`) to end it here."""
        headers: dict[str, str] = {}
        begun = False
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=idle_timeout)
        try:
            await self._credentials.authorize(headers)
            async with self._session.get(
                self._credentials.url + path, params=params, headers=headers, timeout=timeout, **self._options
            ) as response:
                begun = True
                self._answered()
                if response.status != 200:
                    reply = await response.content.read(1 << 16)
                    if response.status == 401:
                        await self._credentials.refused()
                    raise _refusal(response.status, response.reason, reply, response.headers.get("Retry-After"))
                if response.connection is not None and response.connection.transport is not None:
                    _keep_alive(response.connection.transport)
                async for line in _lines(response.content):
                    yield line
        except (CredentialsError, aiohttp.ClientError, OSError, TimeoutError) as error:
            lost = _unreachable("WATCH", path, error)
            raise lost if begun else self._not_answered(lost) from error

    # ---- whether the server answers, told once for all who ask

    def _not_answered(self, error: ApiError) -> ApiError:
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            log.warning("no answer from the API server server=%s error=%s", self.url, error.message)
        return error

    def _answered(self) -> None:
        if self._silent_since is not None:
            silent, self._silent_since = time.monotonic() - self._silent_since, None
            log.warning("the API server answers again server=%s seconds=%.1f", self.url, silent)

    # ---- objects

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """One object."""
        return _object(await self.request("GET", object_path(resource, namespace, name)))

    async def list(self, resource: Resource, namespace: str = "", *, params: Params | None = None) -> dict[str, Any]:
        """A collection, as the server's List object. For more than a few objects use a reflector."""
        return _object(await self.request("GET", resource.path(namespace), params=params))

    async def create(
        self, resource: Resource, namespace: str, body: Mapping[str, Any], *, dry_run: bool = False
    ) -> dict[str, Any]:
        """Create an object; 409 AlreadyExists when it exists."""
        params = {"dryRun": "All"} if dry_run else None
        return _object(await self.request("POST", resource.path(namespace), params=params, body=encode(body)))

    async def replace(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any], *, subresource: str = ""
    ) -> dict[str, Any]:
        """Put an object; 409 Conflict when `metadata.resourceVersion` is given and not the current one."""
        path = object_path(resource, namespace, name, subresource)
        return _object(await self.request("PUT", path, body=encode(body)))

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Any,
        *,
        kind: PatchKind = "merge",
        subresource: str = "",
        params: Params | None = None,
    ) -> dict[str, Any]:
        """Change part of an object. `kind="apply"` needs `fieldManager` among `params`."""
        path = object_path(resource, namespace, name, subresource)
        return _object(
            await self.request("PATCH", path, params=params, body=encode(patch), content_type=PATCH_TYPES[kind])
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        grace: int | None = None,
        propagation: str | None = None,
    ) -> dict[str, Any]:
        """Delete an object; with `uid`, only that incarnation of it (409 otherwise)."""
        body = encode(delete_options(uid=uid, grace=grace, propagation=propagation))
        return _object(await self.request("DELETE", object_path(resource, namespace, name), body=body))


def delete_options(
    *, uid: str | None = None, grace: int | None = None, propagation: str | None = None
) -> dict[str, Any]:
    """The body of a DELETE request."""
    options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
    if uid:
        options["preconditions"] = {"uid": uid}
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    if propagation is not None:
        options["propagationPolicy"] = propagation
    return options


def object_path(resource: Resource, namespace: str, name: str, subresource: str = "") -> str:
    """Path of one object. A name that could address something else is refused here, as the server would."""
    if not name or UNSAFE_SEGMENT.search(name) or (namespace and UNSAFE_SEGMENT.search(namespace)):
        raise ApiError(400, "BadRequest", f"not a name: {namespace!r} {name!r}")
    if resource.namespaced and not namespace:
        raise ApiError(400, "BadRequest", f"{resource.kind} {name!r} needs a namespace")
    return resource.path(namespace, name, subresource)


def encode(body: Any) -> bytes:
    """JSON of a request body; any integer size (counts of IPv6 subnets), any Mapping, structs too."""
    return msgspec.json.encode(body, enc_hook=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"cannot be sent to Kubernetes: {type(value)!r}")


def _object(reply: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(reply)
    except orjson.JSONDecodeError as error:
        raise ApiError(0, "Unreachable", f"reply is not JSON: {reply[:80]!r}") from error
    if not isinstance(value, dict):
        raise ApiError(0, "Unreachable", f"reply is not an object: {reply[:80]!r}")
    return value


def _unreachable(method: str, path: str, error: BaseException) -> ApiError:
    return ApiError(0, "Unreachable", f"{method} {path}: {type(error).__name__} {error}".rstrip())


def _refusal(code: int, phrase: str | None, reply: bytes, retry_after: str | None) -> ApiError:
    try:
        status = statuses.decode(reply)
    except UNREADABLE:
        status = Status()
    if status.kind == "Status":
        error = ApiError.of(status)
    else:  # a proxy's or load balancer's page
        error = ApiError(code, (phrase or "").replace(" ", ""), reply[:200].decode(errors="replace"))
    error.status = code
    if retry_after is not None:
        try:
            error.retry_after = min(max(float(retry_after), 0.0), 3600.0)
        except ValueError:  # an HTTP date; the server's own Status, or the caller's back-off, decides
            pass
    return error


def _keep_alive(transport: asyncio.Transport) -> None:
    plain = transport.get_extra_info("socket")
    if plain is None or plain.family not in (socket.AF_INET, socket.AF_INET6):
        return
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        plain.setsockopt(socket.IPPROTO_TCP, option, value)


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Split what arrives at newlines. A last line without one was cut off and is not yielded."""
    parts: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        *complete, rest = chunk.split(b"\n")
        for end in complete:
            line = b"".join((*parts, end)) if parts else end
            parts.clear()
            size = 0
            if line:
                yield line
        if rest:
            parts.append(rest)
            size += len(rest)
            if size > LONGEST_LINE:
                raise ApiError(500, "LineTooLong", f"a watch event of more than {LONGEST_LINE} bytes")

"""One open watch: initial events, the events that its watcher buffers, bookmarks, and how it ends.

`requests` opens a `WatchStream`; the store's collection feeds its `Watcher`; `Faults` may expire or cut it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from aiohttp import web

from .errors import ApiError, Object, expired
from .faults import Faults
from .resources import Resource
from .selectors import Selector
from .store import WATCH_BUFFER, Change, Store, Watcher

DEFAULT_TIMEOUT = 1800.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class WatchQuery:
    namespace: str
    selector: Selector
    version: int | None
    """Where to resume; None or 0: begin with the present objects."""
    initial_events: bool | None
    bookmarks: bool
    timeout: float


def event(kind: str, data: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), data)


class WatchStream:
    def __init__(
        self,
        store: Store,
        faults: Faults,
        resource: Resource,
        query: WatchQuery,
        form: Callable[[bytes], bytes],
        form_name: str,
        bookmark_interval: float,
    ) -> None:
        self._store = store
        self._faults = faults
        self._resource = resource
        self._query = query
        self._form = form
        self._form_key = (resource.group_version, form_name)
        self._bookmark_interval = bookmark_interval
        self._wake = asyncio.Event()
        self._expired = False
        self._request: web.BaseRequest | None = None
        self._watcher = Watcher(query.namespace, query.selector, self._encode, WATCH_BUFFER)
        self._watcher.wake = self._wake.set
        self._watcher.cut = self.cut

    # -- faults --------------------------------------------------------------------------------------------

    def expire(self) -> None:
        self._expired = True
        self._wake.set()

    def cut(self) -> None:
        if self._request is not None and self._request.transport is not None:
            self._request.transport.abort()
        self._watcher.finished = True
        self._wake.set()

    # -- the stream ----------------------------------------------------------------------------------------

    def _encode(self, change: Change, kind: str, data: bytes) -> bytes:
        key = (kind, self._form_key)
        text = change.texts.get(key)
        if text is None:
            text = change.texts[key] = event(kind, self._form(data))
        return text

    def _initial(self) -> list[bytes]:
        query, collection = self._query, self._resource.collection
        if query.version and not query.initial_events:
            out = []
            for change in collection.since(query.version):
                seen = change.seen_through(query.namespace, query.selector)
                if seen is not None:
                    out.append(self._encode(change, *seen))
            return out
        out = []
        if query.initial_events is not False:
            entries = collection.select(query.namespace, query.selector)
            out = [event("ADDED", self._form(entry.data)) for entry in entries]
        if query.initial_events and query.bookmarks:
            out.append(self._bookmark(initial=True))
        return out

    def _bookmark(self, *, initial: bool = False) -> bytes:
        meta: Object = {"resourceVersion": str(self._store.version)}
        if initial:
            meta["annotations"] = {INITIAL_EVENTS_END: "true"}
        obj = {"kind": self._resource.kind, "apiVersion": self._resource.group_version, "metadata": meta}
        data = orjson.dumps(obj)
        return event("BOOKMARK", self._form(data) if self._form_key[1] == "table" else data)

    async def run(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        self._request = request
        try:
            first = b"".join(self._initial())
        except ApiError as refusal:
            # The real server answers 200 and says 410 in the stream.
            await response.prepare(request)
            await response.write(event("ERROR", orjson.dumps(refusal.status())))
            return response
        self._resource.collection.watchers.add(self._watcher)
        self._faults.opened(self)
        try:
            await response.prepare(request)
            if first:
                await response.write(first)
            await self._stream(response)
        except ConnectionResetError:
            pass  # the client has gone, which is how most watches end
        finally:
            self._resource.collection.watchers.discard(self._watcher)
            self._faults.closed(self)
        return response

    async def _stream(self, response: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._query.timeout
        next_bookmark = loop.time() + self._bookmark_interval
        watcher = self._watcher
        while not watcher.finished:
            self._wake.clear()
            if watcher.buffer:
                texts, watcher.buffer = watcher.buffer, []
                await response.write(b"".join(texts))
            if self._expired:
                await response.write(event("ERROR", orjson.dumps(expired("too old resource version").status())))
                return
            if self._wake.is_set():
                continue
            moment = loop.time()
            if moment >= end:
                if self._query.bookmarks:
                    await response.write(self._bookmark())
                return
            if moment >= next_bookmark:
                next_bookmark = moment + self._bookmark_interval
                if self._query.bookmarks:
                    await response.write(self._bookmark())
                continue
            try:
                async with asyncio.timeout_at(min(end, next_bookmark)):
                    await self._wake.wait()
            except TimeoutError:
                pass

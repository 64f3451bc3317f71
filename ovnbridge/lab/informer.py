"""A watch cache of one kind, fed by list and watch, drained by the handlers that the stand-ins add.

What a stand-in wrote itself is put in at once (`observe`), so that a reconciler never acts twice on the same state.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import structlog

from ovnbridge.lab.client import CONNECTION_ERRORS, ApiError, Client, Object
from ovnbridge.model.resource import Resource

Handler = Callable[[Object | None, Object | None], None]
"""Called with the value before and after; None where there is none."""

_BACK_OFF_FIRST = 0.1
_BACK_OFF_LAST = 5.0


def key_of(value: Object) -> str:
    metadata = value["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def controller_of(value: Object) -> Object | None:
    """The owner reference of the controller, if there is one."""
    for reference in value["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            owner: Object = reference
            return owner
    return None


class Informer:
    """All objects of a kind as they are now."""

    def __init__(self, client: Client, resource: Resource) -> None:
        self.resource = resource
        self.objects: dict[str, Object] = {}
        self.synced = asyncio.Event()
        self._client = client
        self._handlers: list[Handler] = []
        self._owned: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._gone: dict[str, int] = {}

    def subscribe(self, handler: Handler) -> None:
        """Adds a handler; it is called for what is known already."""
        self._handlers.append(handler)
        for value in list(self.objects.values()):
            handler(None, value)

    def get(self, key: str) -> Object | None:
        return self.objects.get(key)

    def owned(self, uid: str) -> list[Object]:
        """Objects whose controller has this uid."""
        return [self.objects[key] for key in self._owned.get(uid, ())]

    def in_namespace(self, namespace: str) -> Iterator[Object]:
        return (value for value in self.objects.values() if value["metadata"].get("namespace") == namespace)

    def observe(self, value: Object) -> None:
        """Takes in the reply of a write, ahead of the watch."""
        key = key_of(value)
        old = self.objects.get(key)
        if old is not None and _version(old) >= _version(value):
            return
        if _version(value) > self._gone.get(value["metadata"].get("uid", ""), -1):
            self._set(key, old, value)

    def observe_deleted(self, value: Object) -> None:
        """Takes in a completed deletion, ahead of the watch."""
        key = key_of(value)
        old = self.objects.get(key)
        if old is not None and old["metadata"].get("uid") == value["metadata"].get("uid"):
            self._unset(key, old)

    async def run(self) -> None:
        """Lists and watches for ever."""
        log = structlog.get_logger().bind(resource=self.resource.plural)
        delay = _BACK_OFF_FIRST
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list()
                    self.synced.set()
                delay = _BACK_OFF_FIRST
                async for event, value in self._client.watch(self.resource, version):
                    version = value["metadata"]["resourceVersion"]
                    self._apply(event, value)
            except ApiError as error:
                log.info("watch_refused", error=str(error))
                version = ""
            except CONNECTION_ERRORS as error:
                log.info("watch_lost", error=repr(error))
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, _BACK_OFF_LAST)

    async def _list(self) -> str:
        answer = await self._client.list(self.resource)
        found = {key_of(value): value for value in answer.get("items") or ()}
        version: str = answer["metadata"]["resourceVersion"]
        for key, old in list(self.objects.items()):
            if key not in found and _version(old) <= int(version):
                self._unset(key, old)
        for key, value in found.items():
            # Items of a list have no kind of their own.
            value = {"apiVersion": self.resource.api_version, "kind": self.resource.kind, **value}
            known = self.objects.get(key)
            if known is None or _version(known) < _version(value):
                self._set(key, known, value)
        self._gone.clear()
        return version

    def _apply(self, event: str, value: Object) -> None:
        if event == "BOOKMARK":
            return
        key = key_of(value)
        old = self.objects.get(key)
        if event == "DELETED":
            self._gone.pop(value["metadata"].get("uid", ""), None)
            if old is not None and _version(old) <= _version(value):
                self._unset(key, old)
                self._gone.pop(value["metadata"].get("uid", ""), None)
        else:
            self.observe(value)

    def _set(self, key: str, old: Object | None, value: Object) -> None:
        self._unindex(key, old)
        self.objects[key] = value
        owner = controller_of(value)
        if owner is not None:
            self._owned[owner["uid"]][key] = None
        for handler in self._handlers:
            handler(old, value)

    def _unset(self, key: str, old: Object) -> None:
        self._unindex(key, old)
        del self.objects[key]
        self._gone[old["metadata"].get("uid", "")] = 1 << 62
        for handler in self._handlers:
            handler(old, None)

    def _unindex(self, key: str, value: Object | None) -> None:
        owner = controller_of(value) if value is not None else None
        if owner is not None:
            keys = self._owned.get(owner["uid"])
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del self._owned[owner["uid"]]


class Informers:
    """One informer a kind, shared by all stand-ins."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._informers: dict[Resource, Informer] = {}

    def __getitem__(self, resource: Resource) -> Informer:
        """The informer of a kind; ask before `run`."""
        if resource not in self._informers:
            self._informers[resource] = Informer(self.client, resource)
        return self._informers[resource]

    @property
    def all(self) -> Mapping[Resource, Informer]:
        return self._informers

    async def wait_synced(self) -> None:
        await asyncio.gather(*(informer.synced.wait() for informer in self._informers.values()))


def _version(value: Object) -> int:
    return int(value["metadata"].get("resourceVersion") or 0)

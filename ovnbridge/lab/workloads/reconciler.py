"""The loop that all stand-ins share: keys that need a look, looked at a few at a time, again after a failure."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

import structlog

from ovnbridge.lab.client import CONNECTION_ERRORS, ApiError, Object
from ovnbridge.lab.events import Events
from ovnbridge.lab.informer import Informer, Informers, controller_of, key_of
from ovnbridge.model.resource import Resource

_WORKERS = 4
_BACK_OFF_FIRST = 0.05
_BACK_OFF_LAST = 5.0


class Reconciler(ABC):
    """Makes the world fit one kind of object. A key is never worked on by two workers at once."""

    name = ""

    def __init__(self, informers: Informers) -> None:
        self.informers = informers
        self.client = informers.client
        self.events = Events(informers.client, self.name)
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._delays: dict[str, float] = {}

    @abstractmethod
    async def reconcile(self, key: str) -> None:
        """Looks at the cache and acts; called again after any change."""

    def add(self, key: str) -> None:
        """This key needs a look."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._queue.put_nowait(key)

    def add_later(self, key: str, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.add, key)

    def follow(self, resource: Resource) -> Informer:
        """Every change of this kind is a look at the object itself."""
        informer = self.informers[resource]
        informer.subscribe(lambda old, new: self.add(key_of(new or old or {})))
        return informer

    def follow_owned(self, resource: Resource, kind: str) -> Informer:
        """Every change of this kind is a look at its controller of the kind given."""
        informer = self.informers[resource]

        def changed(old: Object | None, new: Object | None) -> None:
            for value in (old, new):
                owner = controller_of(value) if value is not None else None
                if value is not None and owner is not None and owner["kind"] == kind:
                    self.add(f"{value['metadata']['namespace']}/{owner['name']}")

        informer.subscribe(changed)
        return informer

    async def run(self) -> None:
        for informer in self.informers.all.values():
            await informer.synced.wait()
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._waiting.discard(key)
            self._working.add(key)
            try:
                await self.reconcile(key)
                self._delays.pop(key, None)
            except (ApiError, *CONNECTION_ERRORS) as error:
                delay = self._delays.get(key, _BACK_OFF_FIRST)
                self._delays[key] = min(delay * 2, _BACK_OFF_LAST)
                structlog.get_logger().info("reconcile_again", reconciler=self.name, key=key, error=repr(error))
                self.add_later(key, delay)
            finally:
                self._working.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

"""The process's one informer cache: a reflector per kind, however many roles ask for it.

Roles `want` kinds before the cache runs (and may want more later); the sink, the World, is fed by the reflectors; the
writer hands the replies to its writes to `observe`, and asks for the `version` of an object that it must not overwrite
blindly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from ovnbridge.kube.connection import Connection
from ovnbridge.kube.known import HasMetadata
from ovnbridge.kube.reflector import OnMalformed, Reflector, Sink
from ovnbridge.model.resource import Resource

T = TypeVar("T", bound=HasMetadata)


class _Selection(NamedTuple):
    namespace: str = ""
    field_selector: str = ""
    label_selector: str = ""


class _Interest:
    """What the roles together want of one kind."""

    def __init__(self, decoder: type[Any], transform: Callable[[Any], Any] | None, selection: _Selection) -> None:
        self.decoder = decoder
        self.transform = transform
        self.selection = selection
        self.consistent = False
        self.optional = True


class Cache:
    """See the module's docstring."""

    def __init__(self, *, connection: Connection, sink: Sink[Any], on_malformed: OnMalformed | None = None) -> None:
        self._connection = connection
        self._sink = sink
        self._on_malformed = on_malformed
        self._interests: dict[Resource, _Interest] = {}
        self._reflectors: dict[str, Reflector[Any]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def want(
        self,
        resource: Resource,
        decoder: type[T],
        *,
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
        transform: Callable[[T], T | None] | None = None,
        consistent: bool = True,
        optional: bool = False,
    ) -> None:
        """Ask for a kind. Two askers with different selections get everything, since they share one World.

        `consistent` and `optional` as in `Reflector`; the stricter asker wins.
        """
        selection = _Selection(namespace, field_selector, label_selector)
        interest = self._interests.get(resource)
        if interest is None:
            interest = self._interests[resource] = _Interest(decoder, transform, selection)
        elif interest.decoder is not decoder or interest.transform is not transform:
            raise ValueError(f"{resource.kind} is wanted in two forms")
        elif interest.selection != selection:
            if resource.kind in self._reflectors:
                raise ValueError(f"{resource.kind} is cached already, with another selection")
            interest.selection = _Selection()
        interest.consistent |= consistent
        interest.optional &= optional
        if self._tasks is not None and resource.kind not in self._reflectors:
            self._start(resource, self._tasks)

    async def run(self) -> None:
        """Run all reflectors until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for resource in self._interests:
                self._start(resource, tasks)
            self._tasks = tasks
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def _start(self, resource: Resource, tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(self.reflector(resource).run(), name=f"reflector {resource.plural}")

    def reflector(self, resource: Resource) -> Reflector[Any]:
        """The reflector of a wanted kind; its selection is final from now on."""
        known = self._reflectors.get(resource.kind)
        if known is None:
            interest = self._interests[resource]
            known = self._reflectors[resource.kind] = Reflector(
                connection=self._connection,
                resource=resource,
                decoder=interest.decoder,
                sink=self._sink,
                transform=interest.transform,
                on_malformed=self._on_malformed,
                consistent=interest.consistent,
                optional=interest.optional,
                namespace=interest.selection.namespace,
                field_selector=interest.selection.field_selector,
                label_selector=interest.selection.label_selector,
            )
        return known

    async def synced(self) -> None:
        """Wait until every kind wanted so far has been listed."""
        for resource in list(self._interests):
            await self.reflector(resource).synced.wait()

    def unsynced(self) -> list[str]:
        """Kinds that have not been listed yet: for /readyz."""
        return [r.kind for r in self._interests if not self.reflector(r).synced.is_set()]

    def reflectors(self) -> Iterable[Reflector[Any]]:
        """All reflectors that run, for metrics."""
        return self._reflectors.values()

    def observe(self, kind: str, reply: bytes | dict[str, Any]) -> None:
        """Take in the reply to a write, ahead of the watch."""
        reflector = self._reflectors.get(kind)
        if reflector is not None:
            reflector.observe(reply)

    def get(self, kind: str, key: str) -> Any | None:
        """An object, or None."""
        reflector = self._reflectors.get(kind)
        return None if reflector is None else reflector.objects.get(key)

    def version(self, kind: str, key: str) -> str:
        """An object's resourceVersion, empty when unknown."""
        reflector = self._reflectors.get(kind)
        version = None if reflector is None else reflector.versions.get(key)
        return "" if version is None else str(version)

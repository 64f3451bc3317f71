"""Reflector → World: objects of one resource become a World table named after their kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ovnbridge.compile.options import UNKNOWN_KINDS
from ovnbridge.engine.world import World
from ovnbridge.model.resource import Resource


class KubeSource:
    """A reflector sink that fills the World and wakes the reactor.

    `observers` are called by kind for every object that came or went, before the engine sees it, and say what the
    engine is to see (the allocator follows IP objects that way); `changed` for every object whose World value changed.
    """

    def __init__(
        self,
        world: World,
        wake: Callable[[], None],
        observers: dict[str, Callable[[str, Any | None], Any | None]] | None = None,
        changed: Callable[[str, str], None] = lambda kind, key: None,
    ) -> None:
        self._world = world
        self._wake = wake
        self._observers = observers or {}
        self._changed = changed

    def replace(self, resource: Resource, objects: dict[str, Any] | None) -> None:
        """A complete list; None: nobody knows (the kind is not served, a dump does not have it)."""
        self._world.put(UNKNOWN_KINDS, resource.kind, True if objects is None else None)
        objects = objects or {}
        observer = self._observers.get(resource.kind)
        if observer is not None:
            for key in [k for k in self._world.keys(resource.kind) if k not in objects]:
                observer(key, None)
            objects = {key: observer(key, obj) for key, obj in objects.items()}
        for key in self._world.replace(resource.kind, objects):
            self._changed(resource.kind, key)
        self._wake()

    def apply(self, resource: Resource, key: str, obj: Any | None) -> None:
        """One event."""
        observer = self._observers.get(resource.kind)
        if observer is not None:
            obj = observer(key, obj)
        if self._world.put(resource.kind, key, obj):
            self._changed(resource.kind, key)
            self._wake()

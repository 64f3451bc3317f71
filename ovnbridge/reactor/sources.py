"""Reflector → World: objects of one resource become a World table named after their kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
        for _ in self.replace_in_steps(resource, objects):
            pass

    def replace_in_steps(self, resource: Resource, objects: dict[str, Any] | None) -> Iterator[None]:
        """`replace`, an object a step: 50,000 at once would hold the loop for most of a second.

        What is seen in between is what a watch could have brought. `objects` is asked for each object when its turn
        comes, since replies to our own writes may change it meanwhile.
        """
        self._world.put(UNKNOWN_KINDS, resource.kind, True if objects is None else None)
        objects = {} if objects is None else objects
        for key in [key for key in self._world.keys(resource.kind) if key not in objects]:
            self.apply(resource, key, objects.get(key))
            yield
        for key in list(objects):
            self.apply(resource, key, objects.get(key))
            yield
        self._wake()

    def apply(self, resource: Resource, key: str, obj: Any | None) -> None:
        """One event."""
        observer = self._observers.get(resource.kind)
        if observer is not None:
            obj = observer(key, obj)
        if self._world.put(resource.kind, key, obj):
            self._changed(resource.kind, key)
            self._wake()

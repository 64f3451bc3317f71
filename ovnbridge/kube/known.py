"""Which version of each object is the newest that we know: the pure half of a reflector.

Three sources report on the same objects, each in its own time: lists, watch events, and the replies to our own writes.
All carry resourceVersions, which one server hands out in ascending order over all objects of a kind. So:

* a watch has delivered everything up to `position`; a reply that is not newer than that is old news, also when the
  object is not here (it was deleted: nothing may resurrect it);
* a reply that is newer is ahead of the watch and wins until the watch passes it;
* a list says everything as of its version, except for replies that arrived while it was read and are newer.

A server that was restored from a backup starts again at lower versions; that is why a list replaces everything, and
why an event that goes backwards is an error (`Rewound`), answered with a new list.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from ovnbridge.kube.wire import UNKNOWN
from ovnbridge.model.meta import ObjectMeta


class HasMetadata(Protocol):
    """Any decoded Kubernetes object."""

    @property
    def metadata(self) -> ObjectMeta:
        """The object's metadata."""
        ...


T = TypeVar("T", bound=HasMetadata)


class Rewound(Exception):
    """The server's versions went backwards: everything known is void."""


class Known(Generic[T]):
    """The newest known version of every object of one list."""

    def __init__(self, *, complete: bool) -> None:
        """`complete`: the list is not narrowed by selectors, so a reply about an object not in it is a new object."""
        self._complete = complete
        self.objects: dict[str, T] = {}
        self.versions: dict[str, int] = {}
        self.position = UNKNOWN
        self._listed = False
        self._listing = False
        self._observed_in_list: set[str] = set()

    def begin_list(self) -> None:
        """A list is about to be requested."""
        self._listing = True
        self._observed_in_list.clear()

    def finish_list(self, version: int, objects: dict[str, T], versions: dict[str, int]) -> None:
        """The list as of `version` is complete; takes over both dictionaries."""
        for key in self._observed_in_list:
            newer = self.versions.get(key, UNKNOWN)
            if UNKNOWN < version < newer and versions.get(key, UNKNOWN) < newer and key in self.objects:
                objects[key] = self.objects[key]
                versions[key] = newer
        self._observed_in_list.clear()
        self.objects, self.versions = objects, versions
        self.position = version
        self._listed = True
        self._listing = False

    def changed(self, key: str, version: int, value: T | None) -> bool:
        """An ADDED or MODIFIED event (`value` None: not of interest). True if it changed anything."""
        self._advance(version)
        if UNKNOWN < version < self.versions.get(key, UNKNOWN):
            return False
        return self._put(key, version, value)

    def echo(self, key: str, version: int) -> bool:
        """An ADDED or MODIFIED event: whether it is the echo of a reply that is known already, and need not be read."""
        if version == UNKNOWN or self.versions.get(key) != version:
            return False
        self._advance(version)
        return True

    def deleted(self, key: str, version: int, uid: str) -> bool:
        """A DELETED event. False when a newer object of that name is known."""
        self.bookmark(version)
        known = self.objects.get(key)
        if known is None:
            return False
        # The version of a deletion may be that of the object's last change; its uid never comes back.
        if UNKNOWN < version < self.versions.get(key, UNKNOWN) and uid != known.metadata.uid:
            return False
        del self.objects[key]
        self.versions.pop(key, None)
        return True

    def bookmark(self, version: int) -> None:
        """The watch has delivered everything up to `version`."""
        self.position = max(self.position, version)

    def observe(self, key: str, version: int, value: T | None) -> bool:
        """The reply to a write of our own. True if it is news."""
        if not self._listed or version <= self.position or version <= self.versions.get(key, UNKNOWN):
            return False
        if not self._complete and key not in self.objects:
            return False
        if self._listing:
            self._observed_in_list.add(key)
        return self._put(key, version, value)

    def _advance(self, version: int) -> None:
        if UNKNOWN < version < self.position:
            raise Rewound(f"event of version {version} after {self.position}")
        self.bookmark(version)

    def _put(self, key: str, version: int, value: T | None) -> bool:
        before = self.objects.get(key)
        if value is None:
            self.objects.pop(key, None)
            self.versions.pop(key, None)
            return before is not None
        if version == UNKNOWN:
            self.versions.pop(key, None)
        else:
            self.versions[key] = version
        if before is not None and before == value:
            return False  # keeps the value that the World already has: one copy in memory
        self.objects[key] = value
        return True

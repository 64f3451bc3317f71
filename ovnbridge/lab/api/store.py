"""The versioned object store: one cached JSON text per object, a history per resource, and watchers.

`objects` writes finished objects into a `Collection`; lists are joins of the cached texts; every write becomes
one `Change` whose event text is built at most once per form and offered to each watcher.  A watcher that does
not drain its bounded buffer is cut; nothing here ever waits for a client.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from .errors import Object, expired
from .selectors import EVERYTHING, Selector

Key = tuple[str, str]
FieldReader = Callable[[Object], str]
WATCH_BUFFER = 20_000


class Entry:
    """One version of one object."""

    __slots__ = ("data", "deleting", "fields", "key", "labels", "owners", "uid", "version")

    def __init__(self, key: Key, version: int, data: bytes, obj: Object, fields: Mapping[str, str]) -> None:
        meta = obj["metadata"]
        self.key = key
        self.version = version
        self.data = data
        self.labels: Mapping[str, str] = meta.get("labels") or {}
        self.fields = fields
        self.uid: str = meta["uid"]
        self.owners: tuple[str, ...] = tuple(owner["uid"] for owner in meta.get("ownerReferences") or ())
        self.deleting = "deletionTimestamp" in meta

    def decode(self) -> Object:
        obj: Object = orjson.loads(self.data)
        return obj


class Change:
    """One write: what the object was and what it is; a deletion has no `new`."""

    __slots__ = ("gone", "new", "old", "texts", "version")

    def __init__(self, version: int, old: Entry | None, new: Entry | None) -> None:
        self.version = version
        self.old = old
        self.new = new
        self.gone: bytes | None = None
        self.texts: dict[Any, bytes] = {}

    @property
    def key(self) -> Key:
        entry = self.new or self.old
        assert entry is not None
        return entry.key

    def departed(self) -> bytes:
        """The object as it was last, with the version of this change: what a DELETED event carries."""
        if self.gone is None:
            assert self.old is not None
            obj = self.old.decode()
            obj["metadata"]["resourceVersion"] = str(self.version)
            self.gone = orjson.dumps(obj)
        return self.gone

    def seen_through(self, namespace: str, selector: Selector) -> tuple[str, bytes] | None:
        """The type and object of the event for a watcher that sees only part of the collection."""
        if namespace and self.key[0] != namespace:
            return None
        if selector is EVERYTHING:
            was, now = self.old is not None, self.new is not None
        else:
            was = self.old is not None and selector.matches(self.old.labels, self.old.fields)
            now = self.new is not None and selector.matches(self.new.labels, self.new.fields)
        if now:
            assert self.new is not None
            return ("MODIFIED" if was else "ADDED"), self.new.data
        return ("DELETED", self.departed()) if was else None


class Watcher:
    """The buffer between the store and one open watch."""

    __slots__ = ("buffer", "cut", "encode", "finished", "limit", "namespace", "selector", "version", "wake")

    def __init__(
        self, namespace: str, selector: Selector, encode: Callable[[Change, str, bytes], bytes], limit: int
    ) -> None:
        self.namespace = namespace
        self.selector = selector
        self.encode = encode
        self.limit = limit
        self.buffer: list[bytes] = []
        self.finished = False
        self.version = 0
        self.wake: Callable[[], None] = lambda: None
        self.cut: Callable[[], None] = lambda: None

    def offer(self, change: Change) -> None:
        self.version = change.version
        seen = change.seen_through(self.namespace, self.selector)
        if seen is None:
            return
        if len(self.buffer) >= self.limit:
            self.cut()
            return
        self.buffer.append(self.encode(change, *seen))
        self.wake()


class Collection:
    """All objects of one resource, whatever API versions it is served in."""

    def __init__(self, store: Store, group: str, plural: str, history: int) -> None:
        self.group = group
        self.plural = plural
        self.field_readers: dict[str, FieldReader] = {}
        self.objects: dict[Key, Entry] = {}
        self.watchers: set[Watcher] = set()
        self.history: deque[Change] = deque(maxlen=history)
        self.floor = store.compacted
        self._store = store
        self._keys: list[Key] | None = None
        self._past: tuple[int, list[tuple[Key, Entry]]] | None = None

    def write(self, key: Key, obj: Object) -> Entry:
        version = self._store.next_version()
        obj["metadata"]["resourceVersion"] = str(version)
        # These two come first in the text, so that a list can cut them off (see `bare`).
        obj = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], **obj}
        fields = {name: read(obj) for name, read in self.field_readers.items()}
        fields["metadata.name"] = key[1]
        fields["metadata.namespace"] = key[0]
        entry = Entry(key, version, orjson.dumps(obj), obj, fields)
        old = self.objects.get(key)
        if old is None:
            self._keys = None
        self.objects[key] = entry
        self._publish(Change(version, old, entry))
        return entry

    def remove(self, key: Key) -> bytes:
        """Takes the object out and gives its last form, which carries the version of its deletion."""
        old = self.objects.pop(key)
        self._keys = None
        change = Change(self._store.next_version(), old, None)
        self._publish(change)
        return change.departed()

    def _publish(self, change: Change) -> None:
        if len(self.history) == self.history.maxlen:
            self.floor = self.history[0].version
        self.history.append(change)
        for watcher in self.watchers:
            watcher.offer(change)
        self._store.changed(self, change)

    def select(self, namespace: str, selector: Selector) -> list[Entry]:
        keys = self._sorted_keys()
        if namespace:
            start = bisect.bisect_left(keys, (namespace, ""))
            keys = keys[start : bisect.bisect_left(keys, (namespace + "\0", ""), start)]
        entries = (self.objects[key] for key in keys)
        if selector is EVERYTHING:
            return list(entries)
        return [entry for entry in entries if selector.matches(entry.labels, entry.fields)]

    def select_namespace(self, namespace: str) -> list[Entry]:
        return self.select(namespace, EVERYTHING)

    def select_at(self, version: int, namespace: str, selector: Selector) -> list[Entry]:
        """The list as it was at an older version, by undoing the history."""
        if version < self.floor:
            raise self.too_old(version)
        if self._past is None or self._past[0] != version:  # pages of one list ask for the same version
            entries = dict(self.objects)
            for change in self._since(version):
                if change.old is None:
                    entries.pop(change.key, None)
                else:
                    entries[change.key] = change.old
            self._past = (version, sorted(entries.items()))
        return [
            entry
            for key, entry in self._past[1]
            if (not namespace or key[0] == namespace) and selector.matches(entry.labels, entry.fields)
        ]

    def _sorted_keys(self) -> list[Key]:
        if self._keys is None:
            self._keys = sorted(self.objects)
        return self._keys

    def _since(self, version: int) -> Iterator[Change]:
        """The changes after a version, youngest first."""
        for change in reversed(self.history):
            if change.version <= version:
                return
            yield change

    def since(self, version: int) -> Iterable[Change]:
        if version < self.floor:
            raise self.too_old(version)
        return reversed(list(self._since(version)))

    def too_old(self, version: int) -> Exception:
        return expired(f"too old resource version: {version} ({self.floor + 1})")

    def finish_watches(self) -> None:
        """Ends every open watch: the resource is not served any more."""
        for watcher in self.watchers:
            watcher.finished = True
            watcher.wake()

    def forget_history(self) -> None:
        self.history.clear()
        self.floor = self._store.version


class Store:
    """All collections, the resource version that they share, and an index of owners."""

    def __init__(self, history: int) -> None:
        self.version = 1
        self.compacted = 0
        self.collections: dict[tuple[str, str], Collection] = {}
        self.dependents: dict[str, set[tuple[Collection, Key]]] = {}
        self.uids: dict[str, tuple[Collection, Key]] = {}
        self.listeners: list[Callable[[Collection, Change], None]] = []
        self._history = history

    def next_version(self) -> int:
        self.version += 1
        return self.version

    def collection(self, group: str, plural: str) -> Collection:
        found = self.collections.get((group, plural))
        if found is None:
            found = self.collections[group, plural] = Collection(self, group, plural, self._history)
        return found

    def changed(self, collection: Collection, change: Change) -> None:
        old, new = change.old, change.new
        if old is None and new is not None:
            self.uids[new.uid] = (collection, new.key)
        elif new is None and old is not None:
            del self.uids[old.uid]
        before, after = (old.owners if old else ()), (new.owners if new else ())
        if before != after:
            for owner in before:
                self.dependents.get(owner, set()).discard((collection, change.key))
            for owner in after:
                self.dependents.setdefault(owner, set()).add((collection, change.key))
        for listener in self.listeners:
            listener(collection, change)

    def compact(self) -> None:
        """Forgets all history; the version moves on, so that every version handed out before is too old."""
        self.version += 1
        self.compacted = self.version
        for collection in self.collections.values():
            collection.forget_history()

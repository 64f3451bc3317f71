"""Mappings for what nearly always has one owner or one reader, and sometimes many.

Used by `desired` (who wants it) and `engine` (who reads it). A dict for each of the millions of things that one unit
wants or reads would be most of the controller's memory: a single one is kept as it is, several are kept in a dict.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, KeysView, Mapping
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
U = TypeVar("U", bound=tuple[str, str])
V = TypeVar("V")
N = TypeVar("N", bound=Hashable)


class Owners(Generic[K, U, V]):
    """For each key the units that want it, with what each wants. With several the smallest unit key counts."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[K, Any] = {}
        """(unit, value), or for several units a dict."""

    def put(self, key: K, unit: U, value: V) -> None:
        """What `unit` wants; costs the same however many others want it."""
        found = self._of.get(key)
        if found is None or (type(found) is tuple and found[0] == unit):
            self._of[key] = (unit, value)
        elif type(found) is tuple:
            self._of[key] = {found[0]: found[1], unit: value}
        else:
            found[unit] = value

    def discard(self, key: K, unit: U) -> None:
        """`unit` wants nothing any more."""
        found = self._of.get(key)
        if type(found) is dict:
            found.pop(unit, None)
            if len(found) == 1:
                (self._of[key],) = found.items()
        elif found is not None and found[0] == unit:
            del self._of[key]

    def first(self, key: K) -> V | None:
        """What counts, or None when nobody wants anything."""
        found = self._of.get(key)
        if found is None:
            return None
        value: V = found[min(found)] if type(found) is dict else found[1]
        return value

    def owner(self, key: K) -> U | None:
        """The unit that counts, or None."""
        return min(self.all(key), default=None)

    def all(self, key: K) -> Mapping[U, V]:
        """Everything that is wanted, by unit."""
        found = self._of.get(key)
        if found is None:
            return {}
        return found if isinstance(found, dict) else {found[0]: found[1]}

    def keys(self) -> KeysView[K]:
        """Keys that somebody wants."""
        return self._of.keys()

    def __contains__(self, key: object) -> bool:
        return key in self._of

    def __iter__(self) -> Iterator[K]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)


class Links(Generic[K, N]):
    """For each source its readers, in the order in which they came."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[K, Any] = {}
        """The reader, or for several a dict with them as keys."""

    def add(self, source: K, reader: N) -> bool:
        """Returns whether it is the first reader."""
        found = self._of.get(source)
        if found is None:
            self._of[source] = reader
            return True
        if type(found) is dict:
            found[reader] = None
        elif found != reader:
            self._of[source] = {found: None, reader: None}
        return False

    def discard(self, source: K, reader: N) -> bool:
        """Returns whether it was the last reader."""
        found = self._of.get(source)
        if type(found) is dict:
            found.pop(reader, None)
            if len(found) == 1:
                (self._of[source],) = found
            return False
        if found is None or found != reader:
            return False
        del self._of[source]
        return True

    def of(self, source: K) -> Iterable[N]:
        """The readers of a source."""
        found = self._of.get(source)
        if found is None:
            return ()
        return found if isinstance(found, dict) else (found,)

    def count(self, source: K) -> int:
        """How many readers a source has."""
        found = self._of.get(source)
        return len(found) if isinstance(found, dict) else int(found is not None)

    def has(self, source: K, reader: N) -> bool:
        """Whether `reader` reads it."""
        found = self._of.get(source)
        return reader in found if isinstance(found, dict) else found is not None and found == reader

    def __contains__(self, source: object) -> bool:
        return source in self._of

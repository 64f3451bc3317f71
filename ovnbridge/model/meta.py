"""Object metadata as the World keeps it.

`resourceVersion` and `managedFields` are left out on purpose: they change with every write of anybody, also our
own, and a World value must compare equal when nothing that the network depends on has changed.

A cluster has hundreds of thousands of objects that say the same things: what is equal is kept once (`shared_*`; only
identity depends on these caches, never a value).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from sys import intern
from typing import TypeVar

import msgspec
from msgspec.structs import force_setattr

T = TypeVar("T")

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The object once more, as an annotation of up to 256 KiB: not kept."""


# Values seen once (addresses) push each other out of the cache; those that everybody has stay in it.
@lru_cache(maxsize=4096)
def shared_text(text: str) -> str:
    """One copy of a text that many objects have."""
    return text


@lru_cache(maxsize=8192)
def shared_tuple(values: tuple[T, ...]) -> tuple[T, ...]:
    """One copy of a tuple of hashable values that many objects have."""
    return values


@lru_cache(maxsize=8192)
def shared_labels(labels: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """One dict for the same labels in the same order."""
    return {intern(name): intern(value) for name, value in labels}


class OwnerReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """One entry of `metadata.ownerReferences`."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class ObjectMeta(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """The part of `metadata` that network state depends on."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: tuple[str, ...] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None

    def __post_init__(self) -> None:
        """Share what is equal in many objects."""
        force_setattr(self, "namespace", intern(self.namespace))
        force_setattr(self, "creation_timestamp", shared_text(self.creation_timestamp))
        if self.labels:
            force_setattr(self, "labels", shared_labels(tuple(self.labels.items())))
        if self.annotations:
            kept = {name: shared_text(value) for name, value in self.annotations.items() if name != LAST_APPLIED}
            force_setattr(self, "annotations", kept)
        if self.finalizers:
            force_setattr(self, "finalizers", shared_tuple(self.finalizers))

    @property
    def key(self) -> str:
        """World key: `namespace/name`, or `name` for cluster-scoped objects."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def deleting(self) -> bool:
        """Whether deletion was asked for and finalizers or grace keep the object."""
        return self.deletion_timestamp is not None

    def label(self, name: str, default: str = "") -> str:
        """Value of one label, `default` when absent."""
        return self.labels.get(name, default) if self.labels else default

    def annotation(self, name: str, default: str = "") -> str:
        """Value of one annotation, `default` when absent."""
        return self.annotations.get(name, default) if self.annotations else default

    def all_labels(self) -> Mapping[str, str]:
        """Labels, never None."""
        return self.labels or {}

    def all_annotations(self) -> Mapping[str, str]:
        """Annotations, never None."""
        return self.annotations or {}

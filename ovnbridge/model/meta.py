"""Object metadata as the World keeps it.

`resourceVersion` and `managedFields` are left out on purpose: they change with every write of anybody, also our
own, and a World value must compare equal when nothing that the network depends on has changed.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


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

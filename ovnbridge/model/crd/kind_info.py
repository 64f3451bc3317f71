"""What the kind table (`kinds`) says about one kind."""

from __future__ import annotations

import msgspec

from ovnbridge.model.crd.base import Object
from ovnbridge.model.resource import Resource


class Column(msgspec.Struct, frozen=True, gc=False):
    """One column that kubectl prints; those with a priority only with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


class Scale(msgspec.Struct, frozen=True, gc=False):
    """Paths of the scale subresource."""

    spec_replicas: str
    status_replicas: str
    label_selector: str


class KindInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a kind that is not in its fields.

    `status_subresource` is False for kinds whose status, if any, is written with the object itself (Vip).
    """

    resource: Resource
    type: type[Object]
    singular: str
    short_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    status_subresource: bool = True
    scale: Scale | None = None

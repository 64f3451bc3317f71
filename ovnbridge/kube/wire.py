"""The API server's envelopes: lists, watch events, Status, and the head that every object has.

Decoded by `connection` (Status), `reflector` and `writer`. The objects inside stay undecoded (msgspec.Raw) until each
is decoded on its own, so that one that is not what its schema promises spoils nothing else.
"""

from __future__ import annotations

import sys
from typing import TypeVar

import msgspec

T = TypeVar("T")

UNKNOWN = -1
# The API server accepts JSON nested up to 10,000 levels where a schema preserves unknown fields; skipping over
# such a value needs that much recursion.
DEEP = 32_000

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ListMeta(msgspec.Struct, frozen=True, gc=False):
    """`metadata` of a list."""

    resource_version: str = msgspec.field(name="resourceVersion", default="")
    continue_token: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct, gc=False):
    """One page of a list. The items keep the whole reply in memory."""

    items: list[msgspec.Raw] | None = None
    metadata: ListMeta = ListMeta()


class WatchEvent(msgspec.Struct, gc=False):
    """One line of a watch."""

    type: str
    object: msgspec.Raw


class HeadMeta(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What identifies one version of one object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class Head(msgspec.Struct, frozen=True, gc=False):
    """The part of an object that is readable even when the rest is not what we expect."""

    metadata: HeadMeta = HeadMeta()
    kind: str = ""

    @property
    def key(self) -> str:
        """World key."""
        meta = self.metadata
        return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name

    @property
    def version(self) -> int:
        """The resourceVersion as a number, UNKNOWN when it is not one."""
        return number(self.metadata.resource_version)


class StatusDetails(msgspec.Struct, gc=False, rename="camel"):
    """`details` of a Status."""

    retry_after_seconds: float | None = None


class Status(msgspec.Struct, gc=False):
    """metav1.Status: how a failure is reported, as a reply or as the object of an ERROR event."""

    kind: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    details: StatusDetails | None = None


def number(version: str) -> int:
    """A resourceVersion as a number, UNKNOWN when it is not one."""
    return int(version) if version.isascii() and version.isdigit() and len(version) < 20 else UNKNOWN


def decode(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw) -> T:
    """Decode an envelope, however deeply something inside it is nested. Raises one of UNREADABLE."""
    try:
        return decoder.decode(data)
    except RecursionError:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(DEEP)
        try:
            return decoder.decode(data)
        finally:
            sys.setrecursionlimit(limit)


pages = msgspec.json.Decoder(Page)
watch_events = msgspec.json.Decoder(WatchEvent)
heads = msgspec.json.Decoder(Head)
statuses = msgspec.json.Decoder(Status)

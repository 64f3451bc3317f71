"""What the Kubernetes edge tells about itself, read when a /metrics page is asked for (`observe/figures.py`)."""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.kube.cache import Cache
from ovnbridge.kube.writer import Writer
from ovnbridge.observe.figures import Figure

_PREFIX = "ovnbridge_kubernetes"


def figures(cache: Cache, writer: Writer | None = None) -> Iterator[Figure]:
    """The reflectors' and, while there is one, the writer's figures."""
    for reflector in cache.reflectors():
        kind = {"kind": reflector.resource.kind}
        yield Figure(f"{_PREFIX}_objects", "Objects in the cache", len(reflector.objects), kind)
        yield Figure(f"{_PREFIX}_watch_connected", "Whether the watch works (0 or 1)", int(reflector.connected), kind)
        for name, doc, value in (
            ("lists", "Complete lists; each but the first follows a loss of continuity", reflector.lists),
            ("watches", "Watch requests; each but the first resumes one that ended", reflector.watches),
            ("watch_events", "Watch events, bookmarks included", reflector.events),
            ("malformed_objects", "Versions of objects that could not be decoded", reflector.malformed),
        ):
            yield Figure(f"{_PREFIX}_{name}_total", doc, value, kind, total=True)
    if writer is not None:
        yield from _writer(writer)


def _writer(writer: Writer) -> Iterator[Figure]:
    stats = writer.stats
    for state, length in writer.queues().items():
        yield Figure(f"{_PREFIX}_write_queue", "Objects by what they wait for", length, {"state": state})
    for (verb, kind), count in list(stats.requests.items()):
        labels = {"verb": verb, "kind": kind}
        yield Figure(f"{_PREFIX}_writes_total", "Requests of the writer", count, labels, total=True)
    for name, doc, value in (
        ("write_conflicts", "Writes whose object had changed meanwhile", stats.conflicts),
        ("write_retries", "Writes put off by a transient failure", stats.retries),
        ("write_refusals", "Writes that the server does not accept as they are", stats.refusals),
        ("write_throttled", "Writes answered by 429, 503, 401 or not at all", stats.throttled),
        ("write_paused_seconds", "Seconds for which all writes waited, as the server or the back-off asked",
         stats.paused_seconds),
        ("events_posted", "Events posted", writer.events.posted),
        ("events_dropped", "Events not posted: too many, or refused", writer.events.dropped),
    ):  # fmt: skip
        yield Figure(f"{_PREFIX}_{name}_total", doc, value, total=True)
    yield Figure(
        f"{_PREFIX}_events_queued", "Events that wait until the writer has nothing to do", writer.events.queued
    )

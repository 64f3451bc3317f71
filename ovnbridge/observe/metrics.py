"""The metrics registry: aioprometheus behind one wrapper that escapes label values.

aioprometheus writes label values into the page as they are; a quote or a line break would corrupt the whole page
(measured, findings/kubernetes-api.md section 5), so every value passes `_label`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from aioprometheus import Counter, Gauge, Histogram, Registry, render

_SLICE = 1000
"""Samples of a family that are written without a break."""
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def _label(labels: Mapping[str, str] | None) -> dict[str, str]:
    return {name: value.translate(_ESCAPES) for name, value in labels.items()} if labels else {}


class Metrics:
    """Counters, gauges and histograms of one process, by name."""

    def __init__(self) -> None:
        self._registry = Registry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._families: dict[str, str] = {}
        """Name → its part of the page."""

    def count(self, name: str, doc: str, labels: Mapping[str, str] | None = None, by: float = 1) -> None:
        """Increment a counter."""
        if name not in self._counters:
            self._counters[name] = Counter(name, doc, registry=self._registry)
        self._counters[name].add(_label(labels), by)

    def gauge(self, name: str, doc: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Set a gauge."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, doc, registry=self._registry)
        self._gauges[name].set(_label(labels), value)

    def observe(
        self,
        name: str,
        doc: str,
        value: float,
        labels: Mapping[str, str] | None = None,
        buckets: tuple[float, ...] = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    ) -> None:
        """Add one observation (seconds unless the name says otherwise) to a histogram."""
        if name not in self._histograms:
            self._histograms[name] = Histogram(name, doc, buckets=list(buckets), registry=self._registry)
        self._histograms[name].observe(_label(labels), value)

    async def family(
        self, name: str, doc: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]
    ) -> None:
        """Set all values of a gauge at once, by the values of its labels; those that are not given any more are gone.

        For gauges with a sample for each object: there may be very many, so other tasks get their turn meanwhile.
        """
        form = name + "{" + ",".join(f'{label}="%s"' for label in labels) + "} %s\n"
        parts = [f"# HELP {name} {doc}\n# TYPE {name} gauge\n"]
        for values, value in samples:
            parts.append(form % (*(text.translate(_ESCAPES) for text in values), value))
            if len(parts) % _SLICE == 0:
                await asyncio.sleep(0)
        self._families[name] = "".join(parts)

    def page(self) -> tuple[bytes, dict[str, str]]:
        """The exposition page and its headers."""
        body, headers = render(self._registry, [])
        return body + "".join(self._families.values()).encode(), dict(headers)

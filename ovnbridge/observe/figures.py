"""Figures: what a part of the process tells about itself when a /metrics page is asked for.

`kube/figures.py` and `ovsdb/figures.py` say what there is, as plain values; `expose` puts them on the page and knows
nothing of either. What happens at a moment (a request that ended, a connection that was lost) is not asked for but
observed: see `observe/kubernetes.py` and `observe/ovsdb.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ovnbridge.observe.metrics import Metrics


class Figure(NamedTuple):
    """One value. `total`: it only grows (a counter), else it is what it is now (a gauge)."""

    name: str
    doc: str
    value: float
    labels: Mapping[str, str] = {}
    total: bool = False


def expose(metrics: Metrics, figures: Callable[[], Iterable[Figure]]) -> Callable[[], None]:
    """For `HealthServer.before_scrape`: publishes the figures as they are then.

    A total that went down belongs to a successor that counts anew, and is added up.
    """
    seen: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def refresh() -> None:
        for figure in figures():
            if not figure.total:
                metrics.gauge(figure.name, figure.doc, figure.value, figure.labels)
                continue
            place = (figure.name, tuple(figure.labels.items()))
            before = seen.get(place, 0.0)
            seen[place] = figure.value
            metrics.count(
                figure.name, figure.doc, figure.labels, figure.value - (before if before <= figure.value else 0.0)
            )

    return refresh

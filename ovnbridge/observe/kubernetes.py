"""The Kubernetes edge as metrics: requests as they end, everything else when a page is asked for.

`kube/figures.py` says what there is to expose; this module says how, and knows nothing of `kube/`. Both functions are
called by the roles, with `HealthServer.metrics` and `HealthServer.before_scrape`.
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


def request_observer(metrics: Metrics) -> Callable[[str, int, float], None]:
    """For `Connection.open(on_request=…)`: counts and times every request; status 0 is one without an answer."""

    def observe(method: str, status: int, seconds: float) -> None:
        labels = {"method": method}
        metrics.count(
            "ovnbridge_kubernetes_requests_total",
            "Requests to the Kubernetes API server",
            {**labels, "status": str(status)},
        )
        metrics.observe(
            "ovnbridge_kubernetes_request_seconds", "Time until the Kubernetes API server answered", seconds, labels
        )

    return observe


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

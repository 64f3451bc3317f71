"""Requests to the Kubernetes API as metrics, observed as they end; for the rest see `observe/figures.py`."""

from __future__ import annotations

from collections.abc import Callable

from ovnbridge.observe.metrics import Metrics


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

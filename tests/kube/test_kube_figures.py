"""`figures`, `observe.figures` and `observe.kubernetes`: what a page of metrics says about the Kubernetes edge."""

from __future__ import annotations

import asyncio

from kube_harness import NOON, Table, Wanted, create_pods, running, until
from prometheus_client.parser import text_string_to_metric_families

from ovnbridge.engine.items import Annotations
from ovnbridge.kube.cache import Cache
from ovnbridge.kube.connection import Connection
from ovnbridge.kube.figures import figures
from ovnbridge.kube.writer import Writer
from ovnbridge.lab.api import ApiServer
from ovnbridge.model.kube import Pod
from ovnbridge.model.resource import POD
from ovnbridge.observe.figures import Figure, expose
from ovnbridge.observe.kubernetes import request_observer
from ovnbridge.observe.metrics import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample of the page, as Prometheus reads it."""
    for family in text_string_to_metric_families(metrics.page()[0].decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


async def test_the_page_shows_objects_requests_queues_and_conflicts(server: ApiServer, connection: Connection) -> None:
    metrics = Metrics()
    observed = await Connection.open(kubeconfig=server.kubeconfig(), on_request=request_observer(metrics))
    table, wanted = Table(), Wanted()
    cache = Cache(connection=observed, sink=table)
    cache.want(POD, Pod)
    writer = Writer(
        connection=observed,
        resources={"Pod": POD},
        desired=wanted,
        objects=table,
        observe=cache.observe,
        now=lambda: NOON,
    )
    refresh = expose(metrics, lambda: figures(cache, writer))
    await create_pods(connection, "a", "b")
    async with running(cache.run(), writer.run()):
        await asyncio.wait_for(cache.synced(), 5)
        server.faults.fail(409, 1, r"PATCH .*/pods/a")
        server.faults.delay(60, r"PATCH .*/pods/b")
        for name in "ab":
            wanted.want(Annotations("Pod", f"default/{name}", {"x": "1"}))
            writer.touch("Pod", f"default/{name}")
        await until(lambda: writer.queues()["in_flight"] == 1 and writer.stats.conflicts == 1)
        refresh()
        assert value(metrics, "ovnbridge_kubernetes_objects", kind="Pod") == 2
        assert value(metrics, "ovnbridge_kubernetes_watch_connected", kind="Pod") == 1
        assert value(metrics, "ovnbridge_kubernetes_write_queue", state="in_flight") == 1
        assert value(metrics, "ovnbridge_kubernetes_write_queue", state="normal") == 0
        refresh()
        assert value(metrics, "ovnbridge_kubernetes_lists_total", kind="Pod") == 1
        assert value(metrics, "ovnbridge_kubernetes_write_conflicts_total") == 1
        assert value(metrics, "ovnbridge_kubernetes_writes_total", verb="patch", kind="Pod") == 3
        assert value(metrics, "ovnbridge_kubernetes_writes_total", verb="get", kind="Pod") == 1
        assert value(metrics, "ovnbridge_kubernetes_requests_total", method="PATCH", status="409") == 1
        assert value(metrics, "ovnbridge_kubernetes_requests_total", method="PATCH", status="200") == 1
        assert value(metrics, "ovnbridge_kubernetes_request_seconds_count", method="PATCH") == 2
    await observed.close()


def test_totals_go_on_when_a_successor_counts_from_nothing() -> None:
    metrics, now = Metrics(), [5.0]
    refresh = expose(metrics, lambda: [Figure("writes_total", "Writes", now[0], {"kind": "Pod"}, total=True)])
    refresh()
    now[0] = 7.0
    refresh()
    assert value(metrics, "writes_total", kind="Pod") == 7
    now[0] = 2.0
    refresh()
    assert value(metrics, "writes_total", kind="Pod") == 9

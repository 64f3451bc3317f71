"""A restart writes nothing; what is deleted by hand comes back; what is foreign stays."""

from __future__ import annotations

import signal

import pytest
from conftest import ROOT, Cluster, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def leading(cluster: Cluster) -> None:
    """Wait until the controller is ready and leads: only who does has a committer, whose figures are shown."""

    async def leads() -> bool:
        pages = ("http://127.0.0.1:10660/readyz", "http://127.0.0.1:10660/metrics")
        done = await cluster.lab.central_exec("curl", "-s", "-f", *pages, check=False)
        return bool(done.returncode == 0 and "ovnbridge_committer_queue" in done.stdout)

    await until(leads, timeout=60, what="the controller leads")


async def test_restart_writes_nothing(cluster: Cluster) -> None:
    await cluster.lab.apply(ROOT / "examples" / "first-light.yaml")
    await cluster.lab.wait_pods("first-light", timeout=60)
    await cluster.quiet()
    controller = cluster.lab.component("controller")
    for number in (signal.SIGTERM, signal.SIGKILL):
        before, versions = cluster.transactions(), await cluster.versions()
        if cluster.counts_requests:
            await cluster.lab.requests(reset=True)
        await controller.kill(number)
        await until(lambda: _stopped(cluster), what="controller ended")
        await controller.start()
        await leading(cluster)
        await cluster.quiet()
        assert cluster.transactions() == before, "no NB transaction"
        assert await cluster.writes() == {}, "no Kubernetes write"
        assert await cluster.versions() == versions, "no object written"


async def _stopped(cluster: Cluster) -> bool:
    return cluster.lab.component("controller").pid is None


async def test_deleted_rows_come_back(cluster: Cluster) -> None:
    shown = await cluster.nb("show")
    port = next(word for word in shown.split() if word.endswith(".first-light"))
    await cluster.nb("lsp-del", port)
    await until(lambda: _has_port(cluster, port), what="the port is back")
    await cluster.nb("lr-route-del", "ovn-cluster")
    await until(lambda: _contains(cluster, ("lr-route-list", "ovn-cluster"), "0.0.0.0/0"), what="route back")
    await cluster.nb("lr-policy-del", "ovn-cluster")
    await until(
        lambda: _contains(cluster, ("lr-policy-list", "ovn-cluster"), "ip4.dst == 10.16.0.0/16"),
        what="policies",
    )
    await cluster.nb("ls-del", "ovn-default")

    async def whole() -> bool:
        names = await cluster.ports()
        return port in names and "ovn-default-ovn-cluster" in names

    await until(whole, what="the switch is back with its ports")
    matrix = await cluster.lab.ping_matrix(nodes=True)
    assert matrix.ok, matrix.table()


async def _has_port(cluster: Cluster, name: str) -> bool:
    return name in await cluster.ports()


async def _contains(cluster: Cluster, command: tuple[str, ...], text: str) -> bool:
    return text in await cluster.nb(*command)


async def test_foreign_rows_stay(cluster: Cluster) -> None:
    await cluster.nb("ls-add", "somebody-elses")
    await cluster.nb("lsp-add", "somebody-elses", "their-port")
    await cluster.nb("lr-add", "their-router")
    await cluster.quiet()
    controller = cluster.lab.component("controller")
    await controller.kill(signal.SIGKILL)
    await until(lambda: _stopped(cluster), what="controller ended")
    await controller.start()
    await leading(cluster)
    await cluster.quiet()
    shown = await cluster.nb("show")
    for name in ("somebody-elses", "their-port", "their-router"):
        assert name in shown

"""The real controller's /metrics page: written, and readable for Prometheus' own parser."""

from __future__ import annotations

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.harness import Harness


async def test_the_page_tells_of_the_kubernetes_edge() -> None:
    async with Harness(listens=True) as harness:
        harness.pod("a", "web", "node-1")
        await harness.settle()
        address = f"http://127.0.0.1:{harness.health_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(address) as reply:
            page = await reply.text()
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }
        assert samples["ovnbridge_kubernetes_objects", (("kind", "Pod"),)] == 1
        assert samples["ovnbridge_kubernetes_watch_connected", (("kind", "Subnet"),)] == 1
        creates = [v for (name, labels), v in samples.items() if name == "ovnbridge_kubernetes_writes_total"
                   and ("kind", "IP") in labels]  # fmt: skip
        assert sum(creates) >= 4  # three nodes' leases and the pod's
        assert any(name == "ovnbridge_kubernetes_requests_total" for name, _ in samples)
        holders = [dict(labels) for name, labels in samples if name == "subnet_ip_assign_info"]
        assert "a/web" in {labels["pod_name"] for labels in holders}
        assert {name for name, _ in samples} >= {
            "subnet_available_ip_count",
            "subnet_used_ip_count",
            "subnet_ipam_info",
        }

"""One node's agent: host, CNI server, collector and reporter, started in the order in which they need each other.

`roles/cni` gives it its sources (a cluster view that reflectors fill, a replica of the local Open vSwitch, a Kubernetes
connection) and its settings. The runtime takes the network for ready when the configuration file appears, so that
is the last step.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

import msgspec

from ovnbridge.node import install
from ovnbridge.node.cluster import ClusterView
from ovnbridge.node.cni.server import CniServer
from ovnbridge.node.cni.service import CniService, Limits
from ovnbridge.node.collect import Collector
from ovnbridge.node.host import GatewayWatch, Host, HostOptions
from ovnbridge.node.kernel import Kernel
from ovnbridge.node.ovs import LocalSwitch
from ovnbridge.node.reporter import Reporter
from ovnbridge.observe.metrics import Metrics

log = logging.getLogger(__name__)

# Kube-OVN's: 1 ms × 2^n.
_LATENCY_BUCKETS: Final = tuple(0.001 * 2**n for n in range(10))
_WAITS: Final = {
    "address": "cni_wait_address_seconds_total",
    "route": "cni_wait_route_seconds_total",
    "connectivity": "cni_wait_connectivity_seconds_total",
}


class AgentOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent must know besides its sources."""

    socket: str
    host: HostOptions
    limits: Limits = msgspec.field(default_factory=Limits)
    detect_conflicts: bool = True
    configuration_source: Path = Path("/kube-ovn/01-kube-ovn.conflist")
    configuration: Path | None = None
    """Where to install the network configuration once pods can be served; None for not at all."""
    plugin_source: Path | None = None
    plugin_directory: Path | None = None
    """Where to install the plug-in; None for not at all."""
    pod_ips: tuple[str, ...] = ()


class Agent:
    """See the module's docstring."""

    def __init__(
        self,
        *,
        cluster: ClusterView,
        switch: LocalSwitch,
        reporter: Reporter,
        metrics: Metrics,
        options: AgentOptions,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._node = {"node_name": cluster.node_name}
        self.switch = switch
        self.kernel = Kernel()
        self.reporter = reporter
        self.host = Host(cluster=cluster, switch=switch, kernel=self.kernel, reporter=reporter, options=options.host)
        self.gateway = GatewayWatch(self.host, cluster, reporter, report=options.host.primary)
        self.service = CniService(
            cluster=cluster,
            switch=switch,
            kernel=self.kernel,
            reporter=reporter,
            mtu=lambda: self.host.mtu,
            limits=options.limits,
            detect_conflicts=options.detect_conflicts,
            waited=self._waited,
            collect=lambda: self.collector.ask(),
        )
        self.collector = Collector(cluster=cluster, switch=switch, kernel=self.kernel, active=self.service.active)
        self.server = CniServer(self.service, observe=self._observe)
        self._serving = asyncio.Event()
        self.ready = asyncio.Event()
        """Set when pods can be served and the runtime knows it."""

    async def run(self) -> None:
        """Work until cancelled."""
        options = self._options
        if options.plugin_directory is not None:
            await self._install_plugin(options.plugin_directory)
            for problem in install.enable_forwarding(options.pod_ips):
                log.warning("sysctl not set problem=%s", problem)
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, work in (
                    ("host", self.host.run),
                    ("gateway", self.gateway.run),
                    ("collector", self.collector.run),
                    ("reporter", self.reporter.run),
                    ("ready", self._become_ready),
                ):
                    tasks.create_task(work(), name=name)
                # DEL must work even while the node cannot serve an ADD.
                await self.switch.synced()
                await self.server.start(options.socket)
                self._serving.set()
        finally:
            await self.server.stop()
            self.kernel.close()

    def alive(self) -> str | None:
        """The liveness check: plug-ins find our socket (spec B2 step 9)."""
        return "cni socket is gone" if self.ready.is_set() and not self.server.listening else None

    def not_ready(self) -> str | None:
        """The readiness check."""
        return None if self.ready.is_set() else self.host.problems or "the node's network is not set up yet"

    async def _become_ready(self) -> None:
        await self.host.configured.wait()
        await self.gateway.reachable.wait()
        await self._serving.wait()
        options = self._options
        if options.configuration is not None:
            written = install.install_configuration(
                options.configuration_source, options.configuration, socket=options.socket
            )
            log.info("network configuration installed path=%s written=%s", options.configuration, written)
        self.ready.set()

    async def _install_plugin(self, directory: Path) -> None:
        source = self._options.plugin_source or install.default_shim()
        if source is None:
            raise install.InstallError("no CNI plug-in to install; build it with `make -C cni-shim`")
        written = install.install_plugin(source, directory)
        log.info("cni plug-in installed directory=%s written=%s", directory, written)

    def _waited(self, kind: str, seconds: float) -> None:
        name = _WAITS[kind]
        self._metrics.count(name, f"Seconds that CNI requests waited for: {kind}", self._node, by=seconds)

    def _observe(self, path: str, status: int, seconds: float) -> None:
        labels = {**self._node, "method": path, "status_code": str(status)}
        name = "cni_op_latency_seconds"
        self._metrics.observe(name, "Latency of CNI requests", seconds, labels, buckets=_LATENCY_BUCKETS)

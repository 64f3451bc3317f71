"""Makes this machine what `plan` says: tunnel settings in Open vSwitch, `br-int`, `ovn0`, routes, and what Kubernetes
is told about it.

Woken by the three sources: Kubernetes (`cluster`), the replica of the local Open vSwitch (`ovs`), the kernel
(`host_kernel`). Each time everything is compared and only differences are written, so a restart on an unchanged node
writes nothing, and what somebody removes comes back. Spec: node B2-B4, B6.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from ovnbridge.model.kube import Node
from ovnbridge.node import host_kernel, netlink, plan, probe
from ovnbridge.node.attachment import node_networks
from ovnbridge.node.cluster import PODS, ClusterView
from ovnbridge.node.host_kernel import HostState
from ovnbridge.node.kernel import Kernel
from ovnbridge.node.names import NODE_INTERFACE
from ovnbridge.node.ovs import Changes, LocalSwitch, SwitchError, changed_names
from ovnbridge.node.plan import Encapsulation, NodePort, PlanError
from ovnbridge.node.reporter import Reporter

log = logging.getLogger(__name__)

CHASSIS: Final = "ovn.kubernetes.io/chassis"
_RETRY_SECONDS: Final = (1.0, 30.0)


class HostOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Flags that decide how the node is set up (spec B1)."""

    iface: str = ""
    dpdk_iface: str = "br-phy"
    pod_ip: str = ""
    mtu: int = 0
    network_type: str = "geneve"
    encap_checksum: bool = True
    host_tunnel_source: bool = False
    vxlan_tx_off: bool = False
    cluster_router: str = "ovn-cluster"
    primary: bool = True
    """False when another CNI connects the pods' default interface: then the node condition is not ours."""


class Host:
    """See the module's docstring."""

    def __init__(
        self, *, cluster: ClusterView, switch: LocalSwitch, kernel: Kernel, reporter: Reporter, options: HostOptions
    ) -> None:
        self._cluster = cluster
        self._switch = switch
        self._kernel = kernel
        self._reporter = reporter
        self._options = options
        self._dirty = asyncio.Event()
        self._encapsulation: Encapsulation | None = None
        self._watched: set[int] = set()
        self._problems: dict[str, str] = {}
        self.port: NodePort | None = None
        """`ovn0` as it is set up now."""
        self.configured = asyncio.Event()
        """Set when `ovn0` was set up for the first time."""
        cluster.subscribe(self._on_object)
        switch.subscribe(self._on_rows)

    @property
    def mtu(self) -> int:
        """MTU of pods on this node, 0 while the tunnel interface is not known."""
        return self._encapsulation.mtu if self._encapsulation else 0

    @property
    def problems(self) -> str:
        """What keeps the node from being set up, empty when nothing does."""
        return "; ".join(self._problems.values())

    async def run(self) -> None:
        """Keep the node set up until cancelled."""
        await self._switch.synced()
        await asyncio.gather(self._cluster.node_synced.wait(), self._cluster.subnets_synced.wait())
        with netlink.Netlink(groups=host_kernel.MONITOR_GROUPS) as monitor:
            monitor.socket.setblocking(False)
            loop = asyncio.get_running_loop()
            loop.add_reader(monitor.socket.fileno(), self._on_notification, monitor)
            try:
                await self._keep()
            finally:
                loop.remove_reader(monitor.socket.fileno())

    async def _keep(self) -> None:
        delay = _RETRY_SECONDS[0]
        while True:
            self._dirty.clear()
            try:
                await self.reconcile()
            except (SwitchError, OSError, LookupError) as error:
                self._problem("host", str(error))
                await self._pause(delay)
                delay = min(delay * 2, _RETRY_SECONDS[1])
            else:
                self._problem("host", "")
                delay = _RETRY_SECONDS[0]
                await self._dirty.wait()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._dirty.wait()
        except TimeoutError:
            pass

    def _on_object(self, plural: str, _key: str) -> None:
        if plural != PODS:
            self._dirty.set()

    def _on_rows(self, changes: Changes) -> None:
        """Settings, bridges that come or go, ovn0; not the ports of pods."""
        if (
            "Open_vSwitch" in changes
            or changed_names(changes, "Bridge", also_modified=False)
            or NODE_INTERFACE in changed_names(changes, "Interface")
        ):
            self._dirty.set()

    def _on_notification(self, monitor: netlink.Netlink) -> None:
        while True:
            try:
                data = monitor.socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: notifications were lost, so look at everything
                self._dirty.set()
                continue
            if host_kernel.concerns_host(data, self._watched):
                self._dirty.set()

    async def node_port_served(self, *, timeout: float) -> None:
        """Wait until OVN serves `ovn0`, at most `timeout` seconds."""
        await self._switch.until(lambda: self._switch.installed(NODE_INTERFACE), timeout=timeout)

    # ---- one round

    async def reconcile(self) -> None:
        """Compare and correct once. Raises SwitchError, OSError, LookupError."""
        node = self._cluster.node
        if node is None:
            self._problem("node", f"node {self._cluster.node_name} is not known to Kubernetes")
            return
        self._problem("node", "")
        state = await self._kernel.run(host_kernel.read)
        await self._tunnels(node, state)
        await self._switch.ensure_bridge()
        await self._announce_chassis(node)
        port = plan.node_port(node)
        self._problem("join", "" if port else f"node {node.metadata.name} has no join address yet")
        if port is None or self._encapsulation is None:
            return
        await self._node_port(port)
        if NODE_INTERFACE not in state.links:
            state = await self._kernel.run(host_kernel.read)
        if NODE_INTERFACE not in state.links:
            return  # vswitchd is about to create it, and the kernel will tell
        changed = await self._kernel.run(host_kernel.configure, port, self._encapsulation.mtu)
        if changed:
            log.info("node interface configured interface=%s changed=%s", NODE_INTERFACE, ", ".join(changed))
            state = await self._kernel.run(host_kernel.read)
        await self._routes(node, port, state)
        self._watch(state)
        self.port = port
        self.configured.set()

    async def _tunnels(self, node: Node, state: HostState) -> None:
        """Choose where tunnels end; when that is impossible now, what was chosen before stands."""
        options = self._options
        try:
            chosen = plan.encapsulation(
                node,
                state.links,
                state.addresses,
                iface=options.iface,
                dpdk_iface=options.dpdk_iface,
                pod_ip=options.pod_ip,
                mtu=options.mtu,
                network_type=options.network_type,
                bridges=self._switch.bridges_by_port(),
                host_tunnel_source=options.host_tunnel_source,
            )
        except PlanError as error:
            self._problem("tunnel", str(error))
            return
        self._problem("tunnel", "")
        if chosen != self._encapsulation:
            log.info("tunnel interface=%s ip=%s mtu=%d", chosen.interface, chosen.ip, chosen.mtu)
            self._encapsulation = chosen
            self._cluster.node_changed()
        networks = node_networks(node)
        await self._switch.set_external_ids(
            dict(plan.open_vswitch_ids(chosen, networks, checksum=options.encap_checksum))
        )
        self._watch(state)
        tunnel = host_kernel.TUNNEL_LINKS.get(options.network_type, "")
        if tunnel in state.links:
            tx_off = options.network_type == "geneve" or options.vxlan_tx_off
            if changed := await self._kernel.run(host_kernel.tend_tunnel, tunnel, tx_off=tx_off):
                log.info("tunnel link configured interface=%s changed=%s", tunnel, ", ".join(changed))

    def _watch(self, state: HostState) -> None:
        names = {NODE_INTERFACE, *host_kernel.TUNNEL_LINKS.values()}
        if self._encapsulation is not None:
            names.add(self._encapsulation.interface)
        self._watched = {link.index for name, link in state.links.items() if name in names}

    async def _announce_chassis(self, node: Node) -> None:
        chassis = self._switch.external_ids().get("system-id", "")
        if chassis and node.metadata.annotation(CHASSIS) != chassis:
            await self._reporter.annotate_node({CHASSIS: chassis})

    async def _node_port(self, port: NodePort) -> None:
        ids: dict[str, str | None] = {"iface-id": port.port, "ip": ",".join(port.ips)}
        await self._switch.ensure_port(NODE_INTERFACE, ids, kind="internal", mtu_request=self.mtu)

    async def _routes(self, node: Node, port: NodePort, state: HostState) -> None:
        cidrs = plan.routed_cidrs(self._cluster.subnets.values(), cluster_router=self._options.cluster_router)
        desired = plan.host_routes(cidrs, port, node, local_ips=state.ips)
        changes = plan.route_changes(desired, state.routes)
        if not changes.replace and not changes.remove:
            self._problem("routes", "")
            return
        failed = await self._kernel.run(host_kernel.apply_routes, changes)
        self._problem("routes", f"routes not set: {', '.join(failed)}" if failed else "")
        log.info(
            "host routes changed set=%s removed=%s",
            ",".join(r.destination for r in changes.replace),
            ",".join(r.destination for r in changes.remove),
        )

    def _problem(self, subject: str, text: str) -> None:
        """Log a problem when it appears and when it is gone."""
        if text == self._problems.get(subject, ""):
            return
        if text:
            self._problems[subject] = text
            log.warning("host not as planned subject=%s problem=%s", subject, text)
        else:
            log.info("host as planned again subject=%s", subject)
            del self._problems[subject]


class GatewayWatch:
    """Tells Kubernetes whether this node reaches the join gateway, and who waits for it (spec B4).

    The data path sends no events, so this asks it: every second until the gateway answers, every five afterwards.
    """

    _PERIOD: Final = 5.0
    _FAILURES: Final = 5

    def __init__(self, host: Host, cluster: ClusterView, reporter: Reporter, *, report: bool) -> None:
        self._host = host
        self._cluster = cluster
        self._reporter = reporter
        self._report = report
        self._told: tuple[bool, str] | None = None
        self.reachable = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._host.configured.wait()
        await self._host.node_port_served(timeout=self._PERIOD)
        failures = 0
        while True:
            assert self._host.port is not None
            silent = [gateway for gateway in self._host.port.gateways if not await self._answers(gateway)]
            if not silent:
                failures = 0
                self.reachable.set()
                text = f"ping check to gateway ip {','.join(self._host.port.gateways)} succeeded"
                await self._tell(True, text)
                await asyncio.sleep(self._PERIOD)
                continue
            failures += 1
            if failures == self._FAILURES:
                self.reachable.clear()
                await self._tell(False, f"ping check to gateway ip {','.join(silent)} failed")

    async def _answers(self, gateway: str) -> bool:
        try:
            return await probe.ping(gateway, interface=NODE_INTERFACE, tries=1)
        except OSError:
            await asyncio.sleep(probe.RETRY_SECONDS)
            return False

    async def _tell(self, available: bool, message: str) -> None:
        node = self._cluster.node
        if not self._report or node is None or self._told == (available, message):
            return
        status = {c.type: c.status for c in node.status.conditions or ()}.get("NetworkUnavailable")
        if self._told is None and status == ("False" if available else "True"):
            self._told = (available, message)  # said before a restart, and still true
            return
        reason = "JoinSubnetGatewayReachable" if available else "JoinSubnetGatewayUnreachable"
        if await self._reporter.node_condition(node, available=available, reason=reason, message=message):
            self._told = (available, message)

"""The cni role: Kubernetes objects of this node, the local Open vSwitch and the kernel in, pods connected.

Flags and environment are Kube-OVN's (spec node B1); `node/agent` does the work.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ovnbridge.kube.connection import ApiError
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.kube import Node, Pod
from ovnbridge.model.resource import NODE, POD, SUBNET
from ovnbridge.node import install
from ovnbridge.node.agent import Agent, AgentOptions
from ovnbridge.node.cluster import ClusterView
from ovnbridge.node.host import HostOptions
from ovnbridge.node.ovs import LocalSwitch
from ovnbridge.node.ovs_rows import COLUMNS
from ovnbridge.node.reporter import Reporter
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.errors import OvsdbError
from ovnbridge.roles.cni_flags import FLAGS
from ovnbridge.roles.shared import Shared
from ovnbridge.settings import comma_list

log = logging.getLogger(__name__)

_DEFAULT_OVS: Final = "unix:/run/openvswitch/db.sock"


class CniRole:
    """The role; see `Role`."""

    name = "cni"
    flags = FLAGS

    def problems(self, settings: argparse.Namespace) -> Iterable[str]:
        """None: what the agent's flags say is judged with the node in view."""
        return ()

    async def run(self, settings: argparse.Namespace, shared: Shared) -> None:
        """Work until cancelled. With --install-cni-config only install, as the init container does."""
        options = agent_options(settings)
        if settings.install_cni_config:
            _install_only(options)
            return
        node_name = settings.node_name or socket.gethostname().lower()
        cluster = ClusterView(node_name)
        database = Database(
            name="Open_vSwitch", remotes=[ovs_remote(settings.ovs_socket)], columns=COLUMNS, leader_only=False
        )
        connection = await shared.connection()
        agent = Agent(
            cluster=cluster,
            switch=LocalSwitch(database, failures=(OvsdbError,)),
            reporter=Reporter(connection, node_name=node_name, failures=(ApiError,)),
            metrics=shared.health.metrics,
            options=options,
        )
        await self._listen(settings, shared, agent, options.pod_ips)
        shared.objects.subscribe(cluster)
        cache = await shared.cache()
        cache.want(POD, Pod, field_selector=f"spec.nodeName={node_name}", consistent=False)
        cache.want(NODE, Node, field_selector=f"metadata.name={node_name}", consistent=False)
        cache.want(SUBNET, Subnet, consistent=False)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(database.run(), name="local open vswitch")
            tasks.create_task(agent.run(), name="node agent")

    async def _listen(
        self, settings: argparse.Namespace, shared: Shared, agent: Agent, pod_ips: tuple[str, ...]
    ) -> None:
        shared.health.live("cni", agent.alive)
        shared.health.ready("cni", agent.not_ready)
        if not settings.enable_metrics or not settings.pprof_port:
            return
        local = os.environ.get("ENABLE_BIND_LOCAL_IP", "").lower() == "true" and pod_ips
        for address in pod_ips if local else ("0.0.0.0",):
            await shared.health.listen(address, settings.pprof_port)


def ovs_remote(text: str) -> str:
    """The OVSDB remote that --ovs-socket means: a path, or a remote as it is."""
    if not text:
        return _DEFAULT_OVS
    return f"unix:{text}" if text.startswith("/") else text


def agent_options(settings: argparse.Namespace) -> AgentOptions:
    """The agent's options from the flags and the environment."""
    directory = Path(settings.cni_bin_dir) if settings.cni_bin_dir else None
    configuration = Path(settings.cni_conf_dir, settings.cni_conf_name)
    pod_ips = tuple(ip for ip in comma_list(settings.pod_ips or settings.pod_ip) if _is_ip(ip))
    return AgentOptions(
        socket=settings.bind_socket,
        host=HostOptions(
            iface=settings.iface,
            dpdk_iface=settings.dpdk_tunnel_iface,
            pod_ip=settings.pod_ip,
            mtu=settings.mtu,
            network_type=settings.network_type,
            encap_checksum=settings.encap_checksum,
            host_tunnel_source=settings.host_tunnel_src,
            vxlan_tx_off=settings.set_vxlan_tx_off,
            cluster_router=settings.cluster_router,
            primary=not settings.non_primary_cni_mode,
        ),
        detect_conflicts=settings.enable_arp_detect_ip_conflict,
        configuration_source=Path(settings.cni_conf_file),
        configuration=configuration if directory is not None or settings.install_cni_config else None,
        plugin_source=Path(settings.cni_shim) if settings.cni_shim else None,
        plugin_directory=directory,
        pod_ips=pod_ips,
    )


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _install_only(options: AgentOptions) -> None:
    assert options.configuration is not None
    if options.plugin_directory is not None:
        source = options.plugin_source or install.default_shim()
        if source is None:
            raise install.InstallError("no CNI plug-in to install; build it with `make -C cni-shim`")
        install.install_plugin(source, options.plugin_directory)
    for problem in install.enable_forwarding(options.pod_ips):
        log.warning("sysctl not set problem=%s", problem)
    written = install.install_configuration(options.configuration_source, options.configuration, socket=options.socket)
    log.info("network configuration installed path=%s written=%s", options.configuration, written)


role = CniRole()

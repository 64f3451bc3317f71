"""Controller and node agent as roles of one process: one event loop, one connection, one informer cache."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from conftest import ROOT

from ovnbridge.lab import Lab


async def test_two_roles_in_one_process() -> None:
    async with Lab(nodes=1, controller=False, cni=False) as lab:
        paths, home = lab.remote.paths, lab.directory / "node1"
        command = (
            *("env", "POD_NAME=both", "NODE_NAME=node1", "POD_IP=172.30.0.101", "POD_IPS=172.30.0.101"),
            *(sys.executable, "-m", "ovnbridge", "--role=controller,cni", f"--kubeconfig={paths.nodes_kubeconfig}"),
            *("--ovn-nb-addr=tcp:172.30.0.10:6641", f"--ovs-socket=unix:{home}/run/db.sock"),
            *(f"--bind-socket={home}/cni.sock", f"--cni-conf-dir={paths.cni_configuration('node1')}"),
            *("--cni-conf-name=01-kube-ovn.conflist", f"--cni-bin-dir={paths.cni_binaries('node1')}"),
        )
        running = asyncio.create_task(lab.node_exec("node1", *command, check=False, timeout=90))
        try:
            await lab.apply(ROOT / "examples" / "first-light.yaml")
            await lab.wait_pods("first-light", timeout=60)
            matrix = await lab.ping_matrix()
            assert matrix.ok, matrix.table()
            leases = await lab.kubectl("get", "lease", "-A")
            assert "kube-ovn-controller" in leases
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

"""The product's own processes in a lab: the controller on the central machine, the node role on each node.

They get the flags and the environment that Kube-OVN's manifests give them; only paths differ.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ovnbridge.lab.machine import Holder
from ovnbridge.lab.options import LabOptions
from ovnbridge.lab.ovn import NORTHBOUND_PORT, SOUTHBOUND_PORT
from ovnbridge.lab.paths import LabPaths
from ovnbridge.lab.processes import Component

CONFLIST = "01-kube-ovn.conflist"
_NAMESPACE = "kube-system"


def controller(options: LabOptions, paths: LabPaths, holder: Holder) -> Component:
    """`ovnbridge --role=controller` as the Deployment kube-ovn-controller runs it."""
    address = options.central_addresses[0]
    arguments = (
        f"--ovn-nb-addr={options.remotes(NORTHBOUND_PORT)}",
        f"--ovn-sb-addr={options.remotes(SOUTHBOUND_PORT)}",
        f"--kubeconfig={paths.nodes_kubeconfig}",
        *network_flags(options),
    )
    environment = _environment("kube-ovn-controller-lab", "node1", (address,))
    return _role("controller", "controller", arguments, environment, paths, holder)


def network_flags(options: LabOptions) -> tuple[str, ...]:
    """The controller's flags that say what the network is to be; `plan` and its like must be given the same."""
    network = options.network
    return (
        f"--default-cidr={network.pods}",
        f"--node-switch-cidr={network.join}",
        f"--service-cluster-ip-range={network.services}",
        "--vpc-source-routes=false",  # the distribution's OVN has not Kube-OVN's patches
        *options.controller_args,
    )


def node_agent(options: LabOptions, paths: LabPaths, name: str, number: int, holder: Holder) -> Component:
    """`ovnbridge --role=cni` as the DaemonSet kube-ovn-cni runs it."""
    directory = paths.node(name)
    arguments = (
        f"--ovs-socket=unix:{directory}/run/db.sock",
        f"--bind-socket={directory}/cni.sock",
        f"--kubeconfig={paths.nodes_kubeconfig}",
        f"--cni-conf-dir={paths.cni_configuration(name)}",
        f"--cni-conf-name={CONFLIST}",
        f"--cni-bin-dir={paths.cni_binaries(name)}",
        f"--service-cluster-ip-range={options.network.services}",
        *options.cni_args,
    )
    environment = _environment(f"kube-ovn-cni-{name}", name, options.node_addresses(number))
    return _role("cni", f"cni-{name}", arguments, environment, paths, holder)


def _environment(pod: str, node: str, addresses: Sequence[str]) -> dict[str, str]:
    return {
        "POD_NAME": pod,
        "POD_NAMESPACE": _NAMESPACE,
        "NODE_NAME": node,
        "KUBE_NODE_NAME": node,
        "POD_IP": addresses[0],
        "POD_IPS": ",".join(addresses),
        "HOST_IP": addresses[0],
        "PYTHONUNBUFFERED": "1",
    }


def _role(
    role: str, name: str, arguments: Sequence[str], environment: dict[str, str], paths: LabPaths, holder: Holder
) -> Component:
    command = holder.enter(sys.executable, "-m", "ovnbridge", f"--role={role}", *arguments)
    return Component(name, command, log=paths.log(name), environment=environment)

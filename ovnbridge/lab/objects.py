"""What a cluster has before its first user comes: the product's CRDs, nodes, the service accounts of kube-system."""

from __future__ import annotations

import asyncio
import platform
from pathlib import Path

import yaml

import ovnbridge
from ovnbridge.lab.client import ApiError, Client, Object
from ovnbridge.lab.errors import LabError
from ovnbridge.lab.moments import now
from ovnbridge.lab.options import LabOptions
from ovnbridge.model.resource import CUSTOM_RESOURCE_DEFINITION, NODE, SERVICE_ACCOUNT, Resource

_ESTABLISHED_TIMEOUT = 30.0
_SERVICE_ACCOUNTS = ("ovn", "ovn-ovs", "kube-ovn-cni", "kube-ovn-app")


def crd_directory() -> Path:
    """In a source tree beside the package, in an installation inside it."""
    package = Path(ovnbridge.__file__).parent
    beside = package.parent / "manifests" / "crds"
    return beside if beside.is_dir() else package / "manifests" / "crds"


async def create_objects(client: Client, options: LabOptions, *, stand_ins: bool) -> None:
    """Returns when the CRDs are served and the nodes are Ready."""
    definitions = [
        document
        for path in sorted(crd_directory().glob("*.yaml"))
        for document in yaml.load_all(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if document and document.get("kind") == CUSTOM_RESOURCE_DEFINITION.kind
    ]
    await asyncio.gather(*(client.create_once(CUSTOM_RESOURCE_DEFINITION, definition) for definition in definitions))
    accounts = [{"metadata": {"name": name, "namespace": "kube-system"}} for name in _SERVICE_ACCOUNTS]
    await asyncio.gather(
        *(client.create_once(SERVICE_ACCOUNT, account) for account in accounts),
        *(_create_node(client, options, number) for number in range(1, options.nodes + 1)),
        *(_wait_served(client, definition) for definition in definitions),
    )


async def _create_node(client: Client, options: LabOptions, number: int) -> None:
    name = f"node{number}"
    machine = {"aarch64": "arm64", "x86_64": "amd64"}.get(platform.machine(), platform.machine())
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": machine}
    if number == 1:
        labels |= {"node-role.kubernetes.io/control-plane": "", "kube-ovn/role": "master"}
    await client.create_once(NODE, {"metadata": {"name": name, "labels": labels}, "spec": {}})
    quantities = {"cpu": "1000", "memory": "1Ti", "pods": "1000", "ephemeral-storage": "1Ti"}
    moment = now()
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "the lab's kubelet stand-in is ready",
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }
    status = {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in options.node_addresses(number)),
            {"type": "Hostname", "address": name},
        ],
        "capacity": quantities,
        "allocatable": quantities,
        "conditions": [condition],
        "nodeInfo": {
            "architecture": machine,
            "bootID": "",
            "containerRuntimeVersion": "ovnbridge-lab://1",
            "kernelVersion": platform.release(),
            "kubeProxyVersion": "",
            "kubeletVersion": "v1.36.4",
            "machineID": name,
            "operatingSystem": "linux",
            "osImage": "ovnbridge lab",
            "systemUUID": name,
        },
    }
    await client.patch(NODE, "", name, {"status": status}, subresource="status")


async def _wait_served(client: Client, definition: Object) -> None:
    """A CRD is served a moment after its creation."""
    spec = definition["spec"]
    version = next(version["name"] for version in spec["versions"] if version["served"])
    kind, plural = spec["names"]["kind"], spec["names"]["plural"]
    resource = Resource(spec["group"], version, plural, kind, spec["scope"] == "Namespaced")
    try:
        async with asyncio.timeout(_ESTABLISHED_TIMEOUT):
            while True:
                try:
                    await client.list(resource, limit="1")
                    return
                except ApiError as error:
                    if not error.not_found:
                        raise
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise LabError(f"the CRD of {kind} is not served after {_ESTABLISHED_TIMEOUT:g} s") from None

"""The built-in Kubernetes kinds, reduced to the fields that the network depends on.

Decoded straight from the wire (msgspec) by `kube/`, kept in the World, read by `compile/`. A field that nobody
reads is not here: an update that changes only such fields changes nothing for us.
"""

from __future__ import annotations

from sys import intern
from typing import Final

import msgspec
from msgspec.structs import force_setattr

from ovnbridge.model.meta import ObjectMeta, OwnerReference, shared_tuple

STATELESS: Final = frozenset({"ReplicaSet", "ReplicationController", "DaemonSet", "Job"})
"""Owners of pods that do not keep their addresses: nobody asks which one it is, only whether there is one."""
_ANONYMOUS: Final = OwnerReference(kind="ReplicaSet")


class Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """Base of all decoded values: immutable, compared by value, camelCase on the wire."""


class ContainerPort(Struct, frozen=True, kw_only=True):
    """`containers[].ports[]`."""

    name: str = ""
    container_port: int = 0
    protocol: str = "TCP"


class Container(Struct, frozen=True, kw_only=True):
    """A container, as far as its ports matter (named ports of policies and services)."""

    name: str = ""
    ports: tuple[ContainerPort, ...] | None = None
    restart_policy: str | None = None


class PodSpec(Struct, frozen=True, kw_only=True):
    """`spec` of a Pod."""

    node_name: str = ""
    host_network: bool = False
    restart_policy: str = "Always"
    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None

    def __post_init__(self) -> None:
        """Share what the pods of one template or node have in common."""
        force_setattr(self, "node_name", intern(self.node_name))
        force_setattr(self, "restart_policy", intern(self.restart_policy))
        if self.containers:
            force_setattr(self, "containers", shared_tuple(self.containers))
        if self.init_containers:
            force_setattr(self, "init_containers", shared_tuple(self.init_containers))


class PodIP(Struct, frozen=True, kw_only=True):
    """`status.podIPs[]`."""

    ip: str = ""


class PodStatus(Struct, frozen=True, kw_only=True):
    """`status` of a Pod. Conditions are left out: readiness reaches us through EndpointSlices."""

    phase: str = ""
    reason: str | None = None
    pod_ip: str | None = msgspec.field(name="podIP", default=None)
    pod_ips: tuple[PodIP, ...] | None = msgspec.field(name="podIPs", default=None)

    def __post_init__(self) -> None:
        """Keep equal texts once."""
        force_setattr(self, "phase", intern(self.phase))
        if self.pod_ips and self.pod_ips[0].ip == self.pod_ip:
            force_setattr(self, "pod_ip", self.pod_ips[0].ip)


class Pod(Struct, frozen=True, kw_only=True):
    """A Pod."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def __post_init__(self) -> None:
        """Forget which owner it is where nobody asks: those that keep addresses (StatefulSets, machines) stay."""
        owners = self.metadata.owner_references
        if owners:
            kept = tuple(_ANONYMOUS if owner.kind in STATELESS else owner for owner in owners)
            force_setattr(self.metadata, "owner_references", shared_tuple(kept) or None)


class NodeAddress(Struct, frozen=True, kw_only=True):
    """`status.addresses[]`."""

    type: str = ""
    address: str = ""


class NodeCondition(Struct, frozen=True, kw_only=True):
    """`status.conditions[]`, without its heartbeat time."""

    type: str = ""
    status: str = ""


class NodeStatus(Struct, frozen=True, kw_only=True):
    """`status` of a Node."""

    addresses: tuple[NodeAddress, ...] | None = None
    conditions: tuple[NodeCondition, ...] | None = None


class Node(Struct, frozen=True, kw_only=True):
    """A Node."""

    metadata: ObjectMeta
    status: NodeStatus = NodeStatus()


class Namespace(Struct, frozen=True, kw_only=True):
    """A Namespace."""

    metadata: ObjectMeta


class PodTemplate(Struct, frozen=True, kw_only=True):
    """`spec.template` of a workload, as far as its pods' annotations go."""

    metadata: ObjectMeta = ObjectMeta()


class StatefulSetOrdinals(Struct, frozen=True, kw_only=True):
    """`spec.ordinals`."""

    start: int = 0


class StatefulSetSpec(Struct, frozen=True, kw_only=True):
    """`spec` of a StatefulSet."""

    replicas: int = 1
    ordinals: StatefulSetOrdinals | None = None
    template: PodTemplate = PodTemplate()


class StatefulSet(Struct, frozen=True, kw_only=True):
    """A StatefulSet: its pods keep their addresses (spec C.9)."""

    metadata: ObjectMeta
    spec: StatefulSetSpec = StatefulSetSpec()


class VirtualMachine(Struct, frozen=True, kw_only=True):
    """A KubeVirt VirtualMachine: whether it is there is all that matters (spec C.9)."""

    metadata: ObjectMeta


class VirtualMachineInstance(Struct, frozen=True, kw_only=True):
    """A KubeVirt VirtualMachineInstance, as far as its owner goes."""

    metadata: ObjectMeta


class NetworkAttachmentSpec(Struct, frozen=True, kw_only=True):
    """`spec` of a NetworkAttachmentDefinition; `config` is a CNI configuration in JSON."""

    config: str = ""


class NetworkAttachmentDefinition(Struct, frozen=True, kw_only=True):
    """A further network for pods (spec B.0)."""

    metadata: ObjectMeta
    spec: NetworkAttachmentSpec = NetworkAttachmentSpec()


class ServiceCIDRSpec(Struct, frozen=True, kw_only=True):
    """What a ServiceCIDR says."""

    cidrs: tuple[str, ...] = ()


class ServiceCIDR(Struct, frozen=True, kw_only=True):
    """Addresses of Services beside those of the flag (spec E.12)."""

    metadata: ObjectMeta
    spec: ServiceCIDRSpec = ServiceCIDRSpec()


class LabelSelectorRequirement(Struct, frozen=True, kw_only=True):
    """One `matchExpressions` entry."""

    key: str
    operator: str
    values: tuple[str, ...] | None = None


class LabelSelector(Struct, frozen=True, kw_only=True):
    """metav1.LabelSelector; empty selects everything."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[LabelSelectorRequirement, ...] | None = None


class ServicePort(Struct, frozen=True, kw_only=True):
    """`spec.ports[]` of a Service."""

    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    target_port: int | str | None = None
    node_port: int = 0


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """`spec` of a Service."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] | None = msgspec.field(name="clusterIPs", default=None)
    ports: tuple[ServicePort, ...] | None = None
    selector: dict[str, str] | None = None
    session_affinity: str = "None"
    external_traffic_policy: str | None = None
    internal_traffic_policy: str | None = None


class LoadBalancerIngress(Struct, frozen=True, kw_only=True):
    """`status.loadBalancer.ingress[]`."""

    ip: str = ""


class LoadBalancerStatus(Struct, frozen=True, kw_only=True):
    """`status.loadBalancer`."""

    ingress: tuple[LoadBalancerIngress, ...] | None = None


class ServiceStatus(Struct, frozen=True, kw_only=True):
    """`status` of a Service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Struct, frozen=True, kw_only=True):
    """A Service."""

    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()

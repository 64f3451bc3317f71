"""Names of Kubernetes API resources: the one table that says how a kind is addressed over HTTP."""

from __future__ import annotations

import msgspec


class Resource(msgspec.Struct, frozen=True, gc=False):
    """One kind as the API server serves it.

    `group` is "" for the core group. `plural` is the path segment.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """The object's `apiVersion` field."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection, of one object, or of its subresource.

        An empty namespace on a namespaced resource is the collection over all namespaces.
        """
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


POD = Resource("", "v1", "pods", "Pod", True)
NODE = Resource("", "v1", "nodes", "Node", False)
NAMESPACE = Resource("", "v1", "namespaces", "Namespace", False)
SERVICE = Resource("", "v1", "services", "Service", True)
EVENT = Resource("", "v1", "events", "Event", True)
CONFIG_MAP = Resource("", "v1", "configmaps", "ConfigMap", True)
ENDPOINT_SLICE = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True)
NETWORK_POLICY = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True)
SERVICE_CIDR = Resource("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", False)
LEASE = Resource("coordination.k8s.io", "v1", "leases", "Lease", True)
DEPLOYMENT = Resource("apps", "v1", "deployments", "Deployment", True)
REPLICA_SET = Resource("apps", "v1", "replicasets", "ReplicaSet", True)
STATEFUL_SET = Resource("apps", "v1", "statefulsets", "StatefulSet", True)
DAEMON_SET = Resource("apps", "v1", "daemonsets", "DaemonSet", True)
JOB = Resource("batch", "v1", "jobs", "Job", True)
SERVICE_ACCOUNT = Resource("", "v1", "serviceaccounts", "ServiceAccount", True)
CUSTOM_RESOURCE_DEFINITION = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False
)
NETWORK_ATTACHMENT_DEFINITION = Resource(
    "k8s.cni.cncf.io", "v1", "network-attachment-definitions", "NetworkAttachmentDefinition", True
)
VIRTUAL_MACHINE = Resource("kubevirt.io", "v1", "virtualmachines", "VirtualMachine", True)
VIRTUAL_MACHINE_INSTANCE = Resource("kubevirt.io", "v1", "virtualmachineinstances", "VirtualMachineInstance", True)

VPC = Resource("kubeovn.io", "v1", "vpcs", "Vpc", False)
SUBNET = Resource("kubeovn.io", "v1", "subnets", "Subnet", False)
IP = Resource("kubeovn.io", "v1", "ips", "IP", False)
VLAN = Resource("kubeovn.io", "v1", "vlans", "Vlan", False)
PROVIDER_NETWORK = Resource("kubeovn.io", "v1", "provider-networks", "ProviderNetwork", False)
OVN_EIP = Resource("kubeovn.io", "v1", "ovn-eips", "OvnEip", False)
IPTABLES_EIP = Resource("kubeovn.io", "v1", "iptables-eips", "IptablesEIP", False)
IP_POOL = Resource("kubeovn.io", "v1", "ippools", "IPPool", False)
VIP = Resource("kubeovn.io", "v1", "vips", "Vip", False)

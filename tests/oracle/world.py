"""What the oracle is given: the controller's flags, the users' objects, and what Kube-OVN draws."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

Json = dict[str, Any]
OVN = "ovn.kubernetes.io"
FINALIZER = "kubeovn.io/kube-ovn-controller"
PLURALS = {
    "Node": "nodes",
    "Namespace": "namespaces",
    "Pod": "pods",
    "StatefulSet": "statefulsets",
    "VirtualMachine": "virtualmachines",
    "VirtualMachineInstance": "virtualmachineinstances",
    "NetworkAttachmentDefinition": "network-attachment-definitions",
    "ServiceCIDR": "servicecidrs",
    "Vpc": "vpcs",
    "Subnet": "subnets",
    "IP": "ips",
    "IPPool": "ippools",
    "Vip": "vips",
    "Vlan": "vlans",
    "ProviderNetwork": "provider-networks",
    "OvnEip": "ovn-eips",
}
"""Kinds that matter here, with their plurals."""


@dataclass
class Flags:
    """Controller flags that change what is written, with their defaults (E.7)."""

    cluster_router: str = "ovn-cluster"
    default_ls: str = "ovn-default"
    default_cidr: str = "10.16.0.0/16"
    default_gateway_check: bool = True
    default_logical_gateway: bool = False
    default_u2o_interconnection: bool = False
    node_switch: str = "join"
    node_switch_cidr: str = "100.64.0.0/16"
    service_cluster_ip_range: str = "10.96.0.0/12"
    network_type: str = "geneve"
    default_provider_name: str = "provider"
    default_interface_name: str = ""
    default_vlan_name: str = "ovn-vlan"
    default_vlan_id: int = 1
    enable_lb: bool = True
    enable_ovn_lb_prefer_local: bool = False
    enable_ecmp: bool = False
    enable_eip_snat: bool = True
    keep_vm_ip: bool = True
    ls_dnat_mod_dl_dst: bool = True
    ls_ct_skip_dst_lport_ips: bool = True
    node_local_dns_ip: str = ""
    skip_conntrack_dst_cidrs: str = ""
    pod_nic_type: str = "veth-pair"
    cluster_tcp_loadbalancer: str = "cluster-tcp-loadbalancer"

    def arguments(self) -> list[str]:
        """The command line."""
        given = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        return [f"--{n.replace('_', '-')}={str(v).lower() if isinstance(v, bool) else v}" for n, v in given]

    def tunnel_mtu(self) -> int:
        """MTU of overlay subnets (D.2)."""
        return 1500 - {"geneve": 100, "vlan": 100, "vxlan": 50, "stt": 72}[self.network_type]


class Lease(NamedTuple):
    """One holder's addresses; what it does not have is empty."""

    v4: str = ""
    v6: str = ""
    mac: str = ""

    def joined(self) -> str:
        return ",".join(filter(None, (self.v4, self.v6)))


@dataclass
class Drawn:
    """What is not a function of the objects: order of events and dice decide it in Kube-OVN."""

    leases: dict[str, Lease] = field(default_factory=dict)
    """By the name of the IP object; `vip/NAME` and `eip/NAME` for Vips and OvnEips."""
    router_macs: dict[str, str] = field(default_factory=dict)
    """By the name of the router port."""
    dhcp_macs: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """By (switch, protocol, port) of the DHCP row: its server's."""
    active: dict[str, str] = field(default_factory=dict)
    """The active gateway node of a centralized subnet."""
    bfd: dict[str, list[str]] = field(default_factory=dict)
    """The nodes on which a VPC's BFD port is, in order: three of those that could be, where there is no selector."""


@dataclass
class World:
    """Objects by plural, as in `reference/parity/*/k8s.json`."""

    flags: Flags = field(default_factory=Flags)
    objects: dict[str, list[Json]] = field(default_factory=lambda: {plural: [] for plural in PLURALS.values()})
    gone: list[Json] = field(default_factory=list)
    """Pods that were deleted and whose addresses are kept (C.9)."""
    orders: dict[str, list[str]] = field(default_factory=dict)
    """The order of a namespace's subnets where it was another than by name: any is right that has the VPC's default
    subnet first."""

    def add(self, *objects: Json) -> None:
        for obj in objects:
            self.objects[PLURALS[obj["kind"]]].append(obj)

    def of(self, plural: str) -> list[Json]:
        return self.objects.get(plural, [])

    def one(self, plural: str, name: str, namespace: str = "") -> Json | None:
        found = (o for o in self.of(plural) if o["metadata"]["name"] == name)
        return next((o for o in found if o["metadata"].get("namespace", "") == namespace), None)

    def all(self) -> Iterator[Json]:
        kinds = {plural: kind for kind, plural in PLURALS.items()}
        for plural, objects in self.objects.items():
            for obj in objects:
                yield {"kind": kinds[plural], **obj}

    def copy(self) -> World:
        return copy.deepcopy(self)

    def nodes(self) -> list[Json]:
        return sorted(self.of("nodes"), key=lambda node: name(node))

    def subnet(self, called: str) -> Json:
        found = self.one("subnets", called)
        assert found is not None, called
        return found


def dhcp_label(switch: str, protocol: str, port: str = "") -> str:
    """A name for a DHCP row, which has none."""
    return f"{switch}/{protocol}/{port}"


def dhcp_uuid(label: str) -> str:
    """The UUID of a DHCP row."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"DHCP_Options/{label}"))


def name(obj: Json) -> str:
    return str(obj["metadata"]["name"])


def notes(obj: Json) -> dict[str, str]:
    """Annotations."""
    return obj["metadata"].get("annotations") or {}


def labels(obj: Json) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def spec(obj: Json) -> Json:
    return obj.get("spec") or {}


def status(obj: Json) -> Json:
    return obj.get("status") or {}


def ready(node: Json) -> bool:
    """Ready=True and NetworkUnavailable≠True (D.2.4)."""
    told = {c["type"]: c["status"] for c in status(node).get("conditions") or ()}
    return told.get("Ready") == "True" and told.get("NetworkUnavailable") != "True"


def internal_ip(node: Json, version: int) -> str:
    """The first InternalIP of a family, or nothing."""
    for entry in status(node).get("addresses") or ():
        if entry["type"] == "InternalIP" and (":" in entry["address"]) is (version == 6):
            return str(entry["address"])
    return ""


def chassis(node: Json) -> str:
    return notes(node).get(f"{OVN}/chassis", "")


def selected(selector: Json, of: dict[str, str]) -> bool:
    """A label selector."""
    if any(of.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        key, values, has = term["key"], term.get("values") or (), term["key"] in of
        match term["operator"]:
            case "In":
                fits = has and of[key] in values
            case "NotIn":
                fits = not has or of[key] not in values
            case "Exists":
                fits = has
            case _:
                fits = not has
        if not fits:
            return False
    return True

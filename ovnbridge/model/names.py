"""Names, annotation keys, labels and other literals of Kube-OVN that make us a drop-in replacement (spec B, D, H.2)."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

OVN_PROVIDER: Final = "ovn"
FINALIZER: Final = "kubeovn.io/kube-ovn-controller"

LABEL_SUBNET: Final = "ovn.kubernetes.io/subnet"
LABEL_NODE_NAME: Final = "ovn.kubernetes.io/node-name"
LABEL_IP_RESERVED: Final = "ovn.kubernetes.io/ip_reserved"

LONGEST_LABEL: Final = 63
"""Of a label's value, and of its name behind the slash."""
LONGEST_NAME: Final = 253
"""Of an object's name."""

NODE_ALLOCATED: Final = "ovn.kubernetes.io/allocated"


@lru_cache(maxsize=4096)
def annotation(suffix: str, provider: str = OVN_PROVIDER) -> str:
    """Annotation key of a provider: `<provider>.kubernetes.io/<suffix>` (spec B.0)."""
    return f"{provider}.kubernetes.io/{suffix}"


def port_name(pod: str, namespace: str, provider: str = OVN_PROVIDER) -> str:
    """Logical switch port of a pod's NIC, also the name of its IP object (spec D.3, C.10)."""
    name = f"{pod}.{namespace}"
    return name if provider == OVN_PROVIDER else f"{name}.{provider}"


def node_port_name(node: str) -> str:
    """Logical switch port of a node on the join switch."""
    return f"node-{node}"


def router_port_name(router: str, subnet: str) -> str:
    """Router port towards a subnet."""
    return f"{router}-{subnet}"


def bfd_port_name(router: str) -> str:
    """Router port for BFD sessions, and the group of chassis that may host it."""
    return f"bfd@{router}"


def switch_router_port_name(subnet: str, router: str) -> str:
    """Switch port towards a router."""
    return f"{subnet}-{router}"


U2O_PREFIX: Final = "u2o-interconnection."
MCAST_PREFIX: Final = "mcast-querier."
"""Of the names of a subnet's own IP objects, which are no users of it (spec D.2, E.15)."""


def u2o_owner(vpc: str, subnet: str) -> str:
    """IP object of a router's address in an underlay subnet (spec C.10)."""
    return f"{U2O_PREFIX}{vpc}.{subnet}"


def mcast_owner(subnet: str) -> str:
    """IP object and switch port of a subnet's multicast querier (spec C.10, D.2)."""
    return f"{MCAST_PREFIX}{subnet}"


def localnet_port_name(subnet: str) -> str:
    """Switch port towards the physical network."""
    return f"localnet.{subnet}"


def vip_port_name(subnet: str, vip: str) -> str:
    """Virtual port of an address in `spec.vips`."""
    return f"{subnet}-vip-{vip}"


@lru_cache(maxsize=8192)  # every pod's port is in two groups, of which there are few: one copy of their names
def set_name(text: str) -> str:
    """Name of a port group or address set: dashes become dots (spec H.2)."""
    return text.replace("-", ".")


def named_set(owner: str, rest: str) -> str:
    """Name of a port group or address set that begins with the name of a subnet or VPC: OVN wants no digit there
    (spec H.2), which Kubernetes allows. No object's name begins with an underscore."""
    return set_name(f"_{owner}.{rest}" if owner[:1].isdigit() else f"{owner}.{rest}")


def node_group(node: str) -> str:
    """Port group of all pods on a node."""
    return set_name(node_port_name(node))


def subnet_node_group(subnet: str, node: str) -> str:
    """Port group of a distributed subnet's pods on a node."""
    return named_set(subnet, node)


def overlay_set(vpc: str, version: int) -> str:
    """Address set of a VPC's overlay networks of one family."""
    return named_set(vpc, f"u2o_overlay_cidrs.ip{version}")


def distributed_group(node: str) -> str:
    """Port group of all distributed subnets' pods on a node (`--gateway-groups=node`). No Kubernetes object's name has
    an underscore, so it is no other group's name."""
    return set_name(f"distributed_gateway.{node}")


def label_value(text: str) -> str:
    """A label value of at most 63 characters: longer ones end in 8 hex digits of their SHA-256 (spec H.2)."""
    if len(text) <= LONGEST_LABEL:
        return text
    return f"{text[:54]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def acl_name(text: str) -> str:
    """An ACL name of at most 63 characters (spec H.2)."""
    return text if len(text) <= 63 else f"{text[:60]}..."

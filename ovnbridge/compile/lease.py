"""Leases as compile units see them: the IP objects of the ledger, and the objects that are written for new ones."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ovnbridge.engine.engine import Reader
from ovnbridge.ipam import AddressRequest, Lease
from ovnbridge.model.address import host_family, join, valid_mac
from ovnbridge.model.crd.address import IP, IPSpec, Vip
from ovnbridge.model.crd.nat_gateway import IptablesEIP
from ovnbridge.model.crd.ovn_nat import OvnEip
from ovnbridge.model.names import (
    LABEL_IP_RESERVED,
    LABEL_NODE_NAME,
    LABEL_SUBNET,
    LONGEST_LABEL,
    OVN_PROVIDER,
    label_value,
    port_name,
)

GRANT: Final = "Grant"
"""World table: the answer to a claim whose object is there already, until the object says it. Key: owner."""
STICKY: Final = "Sticky"
"""World table: `podType` of the leases that may outlive their pod (spec C.9). Key: owner."""
RESERVATION: Final = "Reservation"
"""World table: IP objects that were made by hand and are still to be answered (spec C.10). Key: owner."""
EDITED: Final = "Edited"
"""World table: the `IPSpec` of a lease that somebody has edited, as it was and is going to be. Key: owner."""
POOL_USAGE: Final = "PoolUsage"
"""World table: `ipam.PoolUsage` of IPPools. Key: name."""
_EXTERNAL_NETWORK: Final = "ovn-vpc-external-network"
"""Where the addresses of NAT gateways come from when nothing is said."""
POOL_SCOPE: Final = "ippool/"
"""Prefix of the names of IPPools among the address ranges (`engine.items.Pool`), where subnets have none."""


def vip_owner(name: str) -> str:
    """A Vip among the owners of leases; the slash keeps it apart from the names of IP objects."""
    return f"vip/{name}"


def eip_owner(name: str) -> str:
    """An OvnEip among the owners of leases."""
    return f"eip/{name}"


def iptables_eip_owner(name: str) -> str:
    """An IptablesEIP among the owners of leases."""
    return f"iptables-eip/{name}"


def iptables_eip_lease(eip: IptablesEIP) -> Lease | None:
    """The lease that an IptablesEIP records (spec D.15): Kube-OVN fills its spec in, then labels it."""
    spec, label = eip.spec, eip.metadata.label(LABEL_SUBNET)
    v4 = eip.status.ip or (spec.v4_ip if label else "")
    if not v4:
        return None
    return Lease(spec.external_subnet or label or _EXTERNAL_NETWORK, v4, spec.v6_ip, spec.mac_address)


def eip_lease(eip: OvnEip) -> Lease | None:
    """The lease that an OvnEip's status records; that its user gives it as long as the status says none."""
    status, spec = eip.status, eip.spec
    v4, v6 = status.v4_ip, status.v6_ip
    if not (v4 or v6):
        v4, v6 = (a if host_family(a) else "" for a in (spec.v4_ip, spec.v6_ip))
    if not (v4 or v6):
        return None
    mac = status.mac_address or (spec.mac_address if valid_mac(spec.mac_address) else "")
    return Lease(spec.external_subnet or eip.metadata.label(LABEL_SUBNET), v4, v6, mac)


def vip_subnet(vip: Vip) -> str:
    """The subnet of a Vip's addresses: the one that its label names, once it has any (spec D.13: it does not move)."""
    label = vip.metadata.label(LABEL_SUBNET)
    return vip.spec.subnet if label in ("", label_value(vip.spec.subnet)) else label


def vip_lease(vip: Vip) -> Lease | None:
    """The lease that a Vip's status records; None also for what nobody can read, which is written anew."""
    status = vip.status
    texts = [text for text in (status.v4_ip, status.v6_ip) if text]
    if not texts or not all(map(host_family, texts)):
        return None
    return Lease(vip_subnet(vip), status.v4_ip, status.v6_ip, status.mac)


def lease_of(reader: Reader, owner: str) -> IP | None:
    """The IP object with this name, None while there is none that says an address."""
    found = reader.get("IP", owner)
    if not isinstance(found, IP) or not addressed(found):
        return None
    return unedited(found, reader.get(EDITED, owner))


def unedited(ip: IP, before: object) -> IP:
    """The lease without what somebody has edited: its addresses do not change (spec C.10); `before` is from EDITED."""
    return msgspec.structs.replace(ip, spec=before) if isinstance(before, IPSpec) else ip


def identity(ip: IP) -> tuple[str, ...]:
    """What must not change in an IP object."""
    spec = ip.spec
    return (spec.subnet, spec.pod_name, spec.pod_type, spec.mac_address, spec.v4_ip_address, spec.v6_ip_address)


def addressed(ip: IP) -> bool:
    """Whether an IP object is a lease: it says an address, and is not a wish that is still to be answered."""
    return readable(ip) and not by_hand(ip)


def readable(ip: IP) -> bool:
    """Whether an IP object says all that a lease says: a MAC, an address or both, and nothing that is none."""
    v4, v6, mac = ip.spec.v4_ip_address, ip.spec.v6_ip_address, ip.spec.mac_address
    if (v4 and host_family(v4) != 4) or (v6 and host_family(v6) != 6) or (mac and not valid_mac(mac)):
        return False
    return bool(mac or ((v4 or v6) and _of_other_cni(ip)))


def _of_other_cni(ip: IP) -> bool:
    """Whether the object is of a network that only has its addresses managed here, and no MAC (spec C.8, point 4)."""
    provider = ip.metadata.name.removeprefix(port_name(ip.spec.pod_name, ip.spec.namespace))
    return of_pod(ip) and bool(provider) and f".{OVN_PROVIDER}" not in provider


def of_pod(ip: IP) -> bool:
    """Whether the object's name is that of a port of the pod that it names (spec C.10)."""
    owner, primary = ip.metadata.name, port_name(ip.spec.pod_name, ip.spec.namespace)
    return bool(ip.spec.namespace and ip.spec.pod_name) and (owner == primary or owner.startswith(f"{primary}."))


def by_hand(ip: IP) -> bool:
    """Whether somebody made this object for a pod, and neither we nor Kube-OVN have answered it (spec C.10).

    An answered one has the finalizer, or one of the labels that the answer sets, and says its addresses twice.
    """
    meta, spec = ip.metadata, ip.spec
    label = meta.label(LABEL_IP_RESERVED)
    if label == "false":
        return bool(spec.namespace) and not (spec.v4_ip_address or spec.v6_ip_address or spec.mac_address)
    marked = meta.label(LABEL_SUBNET) or (label == "true" and spec.ip_address)
    answered = meta.finalizers or (marked and (spec.ip_address or not (spec.v4_ip_address or spec.v6_ip_address)))
    return bool(spec.namespace) and not (answered and readable(ip))


def reserved(ip: IP) -> bool:
    """Whether an IP object stays when its pod goes (spec C.9, C.10)."""
    return ip.metadata.label(LABEL_IP_RESERVED) == "true" or by_hand(ip)


def lease_value(ip: IP) -> Lease:
    """The lease that an IP object records."""
    spec = ip.spec
    return Lease(spec.subnet, spec.v4_ip_address, spec.v6_ip_address, spec.mac_address)


def address_columns(ip: IP) -> frozenset[str]:
    """`addresses` of the lease's switch port: one element `MAC v4 v6`."""
    parts = (ip.spec.mac_address, ip.spec.v4_ip_address, ip.spec.v6_ip_address)
    return frozenset({" ".join(part for part in parts if part)})


def ip_body(
    owner: str, request: AddressRequest, lease: Lease, owner_reference: dict[str, Any] | None
) -> dict[str, Any]:
    """The IP object that records a new lease (spec C.10)."""
    labels = {
        LABEL_SUBNET: label_value(lease.subnet),
        LABEL_NODE_NAME: label_value(request.node),
        LABEL_IP_RESERVED: "false",
    }
    if len(lease.subnet) <= LONGEST_LABEL:
        labels[lease.subnet] = ""
    metadata: dict[str, Any] = {"name": owner, "labels": labels}
    if owner_reference is not None:
        metadata["ownerReferences"] = [owner_reference]
    return {
        "apiVersion": "kubeovn.io/v1",
        "kind": "IP",
        "metadata": metadata,
        "spec": {
            "podName": request.pod,
            "namespace": request.namespace,
            "subnet": lease.subnet,
            "attachSubnets": [],
            "nodeName": request.node,
            "ipAddress": join(lease.v4, lease.v6),
            "v4IpAddress": lease.v4,
            "v6IpAddress": lease.v6,
            "attachIps": [],
            "macAddress": lease.mac,
            "attachMacs": [],
            "containerID": "",
            "podType": request.pod_type,
        },
    }

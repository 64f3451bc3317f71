"""Leases as compile units see them: the IP objects of the ledger, and the objects that are written for new ones."""

from __future__ import annotations

from typing import Any

from ovnbridge.engine.engine import Reader
from ovnbridge.ipam import AddressRequest, Lease
from ovnbridge.model.address import join
from ovnbridge.model.crd.address import IP
from ovnbridge.model.names import (
    LABEL_IP_RESERVED,
    LABEL_NODE_NAME,
    LABEL_SUBNET,
    LONGEST_LABEL,
    label_value,
)


def lease_of(reader: Reader, owner: str) -> IP | None:
    """The IP object with this name, None while there is none that says an address."""
    found = reader.get("IP", owner)
    if not isinstance(found, IP):
        return None
    spec = found.spec
    return found if spec.v4_ip_address or spec.v6_ip_address or spec.mac_address else None


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

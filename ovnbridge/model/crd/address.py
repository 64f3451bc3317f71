"""IP, IPPool and Vip: the address ledger, named sets of addresses, and addresses reserved without a pod."""

from __future__ import annotations

from sys import intern
from typing import Annotated, Final

from msgspec.structs import force_setattr

from ovnbridge.model.crd.base import BigInt, Conditions, Object, Rule, Status, Value, doc, make_exact, names, typed
from ovnbridge.model.crd.cel import (
    ADDRESS_LENGTH,
    LOWER_CASE,
    MANY,
    PAIR_LENGTH,
    RANGE,
    V4_ADDRESS,
    V6_ADDRESS,
)


class IPSpec(
    Value,
    frozen=True,
    kw_only=True,
    rename=names(container_id="containerID"),
):
    """A lease: who holds which addresses of which subnet.

    A cluster has one per pod interface, so what many of them share is kept once (`__post_init__`).
    """

    pod_name: Annotated[str, doc("Pod (or virtual machine) that holds the addresses.")] = ""
    namespace: Annotated[
        str, doc("Namespace of the holder; empty for a node, default for a subnet's own addresses.")
    ] = ""
    subnet: Annotated[str, doc("Subnet that the addresses belong to.")] = ""
    attach_subnets: Annotated[tuple[str, ...], doc("Subnets of further addresses. Not used any more.")] = ()
    node_name: Annotated[str, doc("Node that the holder runs on.")] = ""
    ip_address: Annotated[
        str, doc("All addresses, IPv4 first, separated by a comma. Read v4IpAddress and v6IpAddress instead.")
    ] = ""
    v4_ip_address: Annotated[
        str, doc("IPv4 address; empty when there is none.", rules=(V4_ADDRESS,), maxLength=ADDRESS_LENGTH)
    ] = ""
    v6_ip_address: Annotated[
        str, doc("IPv6 address; empty when there is none.", rules=(LOWER_CASE, V6_ADDRESS), maxLength=ADDRESS_LENGTH)
    ] = ""
    attach_ips: Annotated[tuple[str, ...], doc("Further addresses. Not used any more.")] = ()
    mac_address: Annotated[str, doc("MAC address of the interface.")] = ""
    attach_macs: Annotated[tuple[str, ...], doc("MAC addresses of further interfaces. Not used any more.")] = ()
    container_id: Annotated[str, doc("Container of the interface. Not used any more.")] = ""
    pod_type: Annotated[
        str,
        doc(
            "Kind of owner that keeps the addresses over restarts: StatefulSet, VirtualMachine, or empty.",
            enum=["", "StatefulSet", "VirtualMachine"],
        ),
    ] = ""

    def __post_init__(self) -> None:
        """Share equal strings: 100k leases name few subnets, nodes and namespaces."""
        for field in ("namespace", "subnet", "node_name", "pod_type"):
            force_setattr(self, field, intern(getattr(self, field)))
        for address in (self.v4_ip_address, self.v6_ip_address):
            if self.ip_address == address:
                force_setattr(self, "ip_address", address)


class IP(Object, frozen=True, kw_only=True):
    """One entry of the address ledger."""

    spec: IPSpec = IPSpec()


_POOLED: Final = typed(
    Rule(f"isCIDR(self) || {RANGE}", "must be an address, a range first..last or a CIDR"), maxLength=PAIR_LENGTH
)


class IPPoolSpec(Value, frozen=True, kw_only=True):
    """Which addresses of a subnet form the pool, and for whom."""

    subnet: Annotated[str, doc("Subnet that the addresses belong to.", required=True)] = ""
    namespaces: Annotated[tuple[str, ...], doc("Namespaces whose pods get their address from this pool.")] = ()
    ips: Annotated[
        tuple[Annotated[str, _POOLED], ...],
        doc(
            "Addresses of the pool: single ones, ranges (first..last) and CIDRs, all within the subnet.",
            required=True,
            maxItems=MANY,
        ),
    ] = ()
    enable_address_set: Annotated[
        bool, doc("Keep an OVN address set with the pool's addresses, for use in ACLs.", defaulted=True)
    ] = False


_POOL_STATUS_NAMES = names(
    v4_available_ips="v4AvailableIPs",
    v4_available_ip_range="v4AvailableIPRange",
    v4_using_ips="v4UsingIPs",
    v4_using_ip_range="v4UsingIPRange",
    v6_available_ips="v6AvailableIPs",
    v6_available_ip_range="v6AvailableIPRange",
    v6_using_ips="v6UsingIPs",
    v6_using_ip_range="v6UsingIPRange",
)


class IPPoolStatus(Status, frozen=True, kw_only=True, rename=_POOL_STATUS_NAMES):
    """Use of the pool."""

    v4_available_ips: Annotated[BigInt, doc("Number of IPv4 addresses that can still be given out.")] = 0
    v4_available_ip_range: Annotated[str, doc("IPv4 addresses and ranges (first-last) that can be given out.")] = ""
    v4_using_ips: Annotated[BigInt, doc("Number of IPv4 addresses in use.")] = 0
    v4_using_ip_range: Annotated[str, doc("IPv4 addresses and ranges (first-last) in use.")] = ""
    v6_available_ips: Annotated[BigInt, doc("Number of IPv6 addresses that can still be given out.")] = 0
    v6_available_ip_range: Annotated[str, doc("IPv6 addresses and ranges (first-last) that can be given out.")] = ""
    v6_using_ips: Annotated[BigInt, doc("Number of IPv6 addresses in use.")] = 0
    v6_using_ip_range: Annotated[str, doc("IPv6 addresses and ranges (first-last) in use.")] = ""
    conditions: Annotated[Conditions, doc("State of the pool, one entry for each aspect.")] = ()

    def __post_init__(self) -> None:
        """Counts that came as floats or quoted become ints."""
        make_exact(self, "v4_available_ips", "v4_using_ips", "v6_available_ips", "v6_using_ips")


class IPPool(Object, frozen=True, kw_only=True):
    """A named set of addresses of a subnet."""

    spec: IPPoolSpec = IPPoolSpec()
    status: IPPoolStatus = IPPoolStatus()


_VIP_NAMES = names(v4_ip="v4ip", v6_ip="v6ip")


class VipSpec(Value, frozen=True, kw_only=True, rename=_VIP_NAMES):
    """Which address to reserve."""

    namespace: Annotated[
        str, doc("Namespace of the pods that may use the address; without one an address of no type has no port.")
    ] = ""
    subnet: Annotated[str, doc("Subnet that the address is taken from.", required=True)] = ""
    type: Annotated[
        str,
        doc(
            "Use of the address: switch_lb_vip (frontend of a load balancer), kube_host_vm_vip (a virtual machine "
            "in a Kubernetes host), or empty (shared by pods).",
            enum=["", "switch_lb_vip", "kube_host_vm_vip"],
        ),
    ] = ""
    v4_ip: Annotated[str, doc("IPv4 address; allocated when empty.", rules=(V4_ADDRESS,), maxLength=ADDRESS_LENGTH)] = (
        ""
    )
    v6_ip: Annotated[
        str, doc("IPv6 address; allocated when empty.", rules=(LOWER_CASE, V6_ADDRESS), maxLength=ADDRESS_LENGTH)
    ] = ""
    mac_address: Annotated[str, doc("MAC address; allocated when empty.")] = ""
    selector: Annotated[tuple[str, ...], doc("Labels (key:value) of the pods that may use the address.")] = ()
    attach_subnets: Annotated[tuple[str, ...], doc("Further subnets. Not used any more.")] = ()


class VipStatus(Status, frozen=True, kw_only=True, rename=_VIP_NAMES):
    """The reserved address."""

    conditions: Annotated[Conditions, doc("State of the address, one entry for each aspect.")] = ()
    type: Annotated[str, doc("Use of the address, as in the spec.")] = ""
    v4_ip: Annotated[str, doc("IPv4 address reserved.")] = ""
    v6_ip: Annotated[str, doc("IPv6 address reserved.")] = ""
    mac: Annotated[str, doc("MAC address reserved.")] = ""
    selector: Annotated[tuple[str, ...], doc("Labels of the pods that may use the address.")] = ()


class Vip(Object, frozen=True, kw_only=True):
    """An address that is reserved without a pod."""

    spec: VipSpec = VipSpec()
    status: VipStatus = VipStatus()

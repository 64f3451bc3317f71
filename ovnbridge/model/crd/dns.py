"""VpcDns and DNSNameResolver: DNS servers inside a VPC, and names resolved for policies."""

from __future__ import annotations

from typing import Annotated, ClassVar

from ovnbridge.model.crd.base import Conditions, Int32, Object, ObjectSchema, Rule, Status, Time, Value, doc
from ovnbridge.model.crd.core import MetaCondition


class VpcDnsSpec(Value, frozen=True, kw_only=True):
    """Where a DNS server runs, and how it is configured."""

    replicas: Annotated[Int32, doc("Number of server pods, 1 to 3.", minimum=1, maximum=3)] = 0
    vpc: Annotated[str, doc("Vpc that is served; it has one active server.")] = ""
    subnet: Annotated[str, doc("Subnet of the VPC that the server pods are attached to.")] = ""
    corefile: Annotated[
        str, doc("ConfigMap with the CoreDNS configuration, in the controller's namespace.", defaulted=True)
    ] = "vpc-dns-corefile"


class VpcDnsStatus(Status, frozen=True, kw_only=True):
    """State of the DNS server."""

    conditions: Annotated[Conditions, doc("State of the server, one entry for each aspect.")] = ()
    active: Annotated[bool, doc("Whether this object's server serves the VPC.")] = False


class VpcDns(Object, frozen=True, kw_only=True):
    """A DNS server inside a VPC."""

    spec: VpcDnsSpec = VpcDnsSpec()
    status: VpcDnsStatus = VpcDnsStatus()


_DNS_NAME = {"maxLength": 254, "pattern": r"^(\*\.)?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.){2,}$"}


class DNSNameResolverSpec(Value, frozen=True, kw_only=True):
    """Which name to resolve."""

    name: Annotated[
        str,
        doc(
            "DNS name with its final dot; a leading *. means every name below.",
            required=True,
            rules=(Rule("self == oldSelf", "spec.name is immutable"),),
            **_DNS_NAME,
        ),
    ] = ""


class ResolvedAddress(Value, frozen=True, kw_only=True):
    """One address that a name has."""

    ip: Annotated[str, doc("IPv4 or IPv6 address.", required=True)] = ""
    ttl_seconds: Annotated[Int32, doc("Seconds after lastLookupTime that the address is valid.", required=True)] = 0
    last_lookup_time: Annotated[Time, doc("When the address was last seen in an answer.", required=True)] = ""


class ResolvedName(Value, frozen=True, kw_only=True):
    """One name that was resolved."""

    dns_name: Annotated[
        str, doc("The name: spec.name, or one that its wildcard covers.", **_DNS_NAME, required=True)
    ] = ""
    resolved_addresses: Annotated[
        tuple[ResolvedAddress, ...],
        doc("Addresses of the name.", required=True, list_type="map", map_keys=("ip",)),
    ] = ()
    resolution_failures: Annotated[Int32, doc("Failed look-ups in a row.")] = 0
    conditions: Annotated[
        tuple[MetaCondition, ...],
        doc("State of the resolution, one entry for each aspect.", list_type="map", map_keys=("type",)),
    ] = ()


class DNSNameResolverStatus(Status, frozen=True, kw_only=True):
    """Names and addresses found; filled by the CoreDNS plug-in."""

    resolved_names: Annotated[
        tuple[ResolvedName, ...],
        doc("Names that were resolved.", list_type="map", map_keys=("dnsName",)),
    ] = ()


class DNSNameResolver(Object, frozen=True, kw_only=True):
    """A DNS name that policies refer to, and the addresses that it has now."""

    schema: ClassVar[ObjectSchema] = ObjectSchema(required=("spec",))

    spec: DNSNameResolverSpec = DNSNameResolverSpec()
    status: DNSNameResolverStatus = DNSNameResolverStatus()

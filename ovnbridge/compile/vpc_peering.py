"""VPC peering → a pair of router ports that name each other (spec A.2, D.5, F.2). Each VPC makes its own side."""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.engine.engine import Reader
from ovnbridge.engine.items import Item, Row
from ovnbridge.model.address import derived_mac, family
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.crd.vpc import Vpc, VpcPeering
from ovnbridge.model.names import router_port_name
from ovnbridge.model.ovn import VENDOR, Ref


def peerings(reader: Reader, vpc: Vpc) -> dict[str, VpcPeering]:
    """The peerings that can be made, by the other VPC's name."""
    found: dict[str, VpcPeering] = {}
    for peering in vpc.spec.vpc_peerings:
        if not _problem(reader, vpc, peering):
            found.setdefault(peering.remote_vpc, peering)
    return found


def problems(reader: Reader, vpc: Vpc) -> list[str]:
    """What is wrong with the peerings of a VPC."""
    names = [peering.remote_vpc for peering in vpc.spec.vpc_peerings]
    found = [text for peering in vpc.spec.vpc_peerings if (text := _problem(reader, vpc, peering))]
    return found + [f"vpcPeerings names {name} twice" for name in dict.fromkeys(names) if names.count(name) > 1]


def _problem(reader: Reader, vpc: Vpc, peering: VpcPeering) -> str:
    name, remote = vpc.metadata.name, peering.remote_vpc
    if not remote or remote == name:
        return f"remoteVpc {remote!r} in vpcPeerings is not another VPC"
    parts = _addresses(peering)
    if not all("/" in part and family(part) for part in parts) or len({family(part) for part in parts}) < len(parts):
        return f"localConnectIP {peering.local_connect_ip!r} in vpcPeerings is not one CIDR for each family"
    subnet = reader.get("Subnet", remote)
    if isinstance(subnet, Subnet) and subnet.spec.vpc == name:
        return f"the port to VPC {remote} would have the name of the port to subnet {remote}"
    return ""


def _addresses(peering: VpcPeering) -> list[str]:
    return [part.strip() for part in peering.local_connect_ip.split(",")]


def peering_ports(vpc: Vpc, peered: dict[str, VpcPeering]) -> Iterator[Item]:
    """This side's router ports. They need not wait for the other VPC: OVN connects them as soon as both exist."""
    router = vpc.metadata.name
    for remote, peering in peered.items():
        name = router_port_name(router, remote)
        yield Row(
            "Logical_Router_Port",
            name,
            {
                "name": name,
                "mac": derived_mac("router-port", name),
                "networks": frozenset(_addresses(peering)),
                "peer": router_port_name(remote, router),
                "options": {},
                "ipv6_ra_configs": {},
                "external_ids": {"vendor": VENDOR, "lr": router},
            },
            parent=Ref("Logical_Router", router),
            members=("gateway_chassis",),  # the name may have been an external port's
        )

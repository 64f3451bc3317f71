"""Multicast snooping: the switch's options, and the querier's port and address (spec D.2 "Multicast")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ovnbridge.compile import u2o
from ovnbridge.compile.lease import address_columns, lease_of
from ovnbridge.compile.subnet import SubnetView
from ovnbridge.engine.engine import Reader
from ovnbridge.engine.items import Item, Row
from ovnbridge.model.crd.address import IP
from ovnbridge.model.crd.subnet import SubnetSpec
from ovnbridge.model.names import mcast_owner
from ovnbridge.model.ovn import VENDOR, Ref


def querier_lease(reader: Reader, subnet: str) -> IP | None:
    """The IP object of a subnet's querier, None while there is none."""
    lease = lease_of(reader, mcast_owner(subnet))
    return lease if lease is not None and lease.spec.subnet == subnet else None


def switch_config(reader: Reader, view: SubnetView, spec: SubnetSpec) -> Mapping[str, str]:
    """`other_config` of the switch: empty until the querier has its address."""
    lease = querier_lease(reader, view.name) if spec.enable_multicast_snoop else None
    if lease is None:
        return {}
    config = {"mcast_snoop": "true", "mcast_querier": "true", "mcast_eth_src": lease.spec.mac_address}
    if lease.spec.v4_ip_address:
        config["mcast_ip4_src"] = lease.spec.v4_ip_address
    return config


def querier(reader: Reader, view: SubnetView, spec: SubnetSpec) -> Iterator[Item]:
    """The querier's claim, and its port once it has an address."""
    if not spec.enable_multicast_snoop or not view.cidr_block:
        return
    owner = mcast_owner(view.name)
    yield u2o.claim(owner, view.name, "")
    yield from u2o.refused(reader, owner, view.name)
    lease = querier_lease(reader, view.name)
    if lease is None:
        return
    yield Row(
        "Logical_Switch_Port",
        owner,
        {
            "name": owner,
            "addresses": address_columns(lease),
            "external_ids": {"vendor": VENDOR, "ls": view.name, "pod": f"{u2o.OWNER_NAMESPACE}/{owner}"},
        },
        parent=Ref("Logical_Switch", view.name),
    )

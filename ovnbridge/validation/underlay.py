"""Vlan and ProviderNetwork: what still stands on one that is to be deleted (spec A.7, A.8, F.6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ovnbridge.engine.engine import Reader
from ovnbridge.engine.world import Index
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.crd.underlay import Vlan
from ovnbridge.validation.changes import several
from ovnbridge.validation.request import DELETE, FORBIDDEN, Problem, Request


def _vlan_of(subnet: Subnet) -> Iterable[str]:
    return (subnet.spec.vlan,) if subnet.spec.vlan else ()


def _provider_of(vlan: Vlan) -> Iterable[str]:
    return {vlan.spec.provider, vlan.spec.provider_interface_name} - {""}


INDEXES = (Index("admission-vlan", "Subnet", _vlan_of), Index("admission-provider", "Vlan", _provider_of))


def vlan(reader: Reader, request: Request) -> Iterator[Problem]:
    """Rules for one Vlan."""
    users = reader.by("admission-vlan", request.key)
    if request.operation == DELETE and users:
        yield Problem("", f"vlan {request.key} is in use by subnet {several(users)}", FORBIDDEN)
    new = request.value
    if request.operation != DELETE and isinstance(new, Vlan):
        if not (new.spec.provider or new.spec.provider_interface_name):
            yield Problem("spec.provider", "a vlan is on a provider network")
        if not 0 <= (new.spec.id or new.spec.vlan_id) <= 4095:
            yield Problem("spec.id", f"{new.spec.id or new.spec.vlan_id} is not between 0 and 4095")


def provider_network(reader: Reader, request: Request) -> Iterator[Problem]:
    """Rules for one ProviderNetwork."""
    users = reader.by("admission-provider", request.key)
    if request.operation == DELETE and users:
        yield Problem("", f"provider network {request.key} is in use by vlan {several(users)}", FORBIDDEN)

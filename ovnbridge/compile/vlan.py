"""Vlan: the gate that underlay subnets wait at, and what the object's status says of its use (spec A.7, D.2.0 "Vlan
gate", D.1 point 9, D.17)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from ovnbridge.compile.options import options
from ovnbridge.compile.subnet_spec import Problem
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Event, Item, Spec, Status
from ovnbridge.engine.world import Index
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.crd.underlay import Vlan

VLAN_FAILED: Final = "ValidateSubnetVlanFailed"


class VlanView(msgspec.Struct, frozen=True):
    """A Vlan with its old field names resolved; `conflict` names an older Vlan with the same tag, or is ""."""

    name: str
    tag: int
    network: str
    conflict: str


class Waiting(msgspec.Struct, frozen=True):
    """A subnet must wait for something that is about to come."""

    message: str


def vlan_view(reader: Reader, name: str) -> VlanView | None:
    """A Vlan, None when absent (memoised question)."""
    vlan = reader.get("Vlan", name)
    if not isinstance(vlan, Vlan):
        return None
    tag, network = _tag(vlan), _network(vlan)
    rank = (vlan.metadata.creation_timestamp, name)
    for other in reader.by("vlan-tag", _tag_key(vlan)) if tag else ():  # untagged ones share the network (spec D.17)
        if other != name and (reader.query(_created, other), other) < rank:
            return VlanView(name, tag, network, other)
    return VlanView(name, tag, network, "")


def vlan_problem(reader: Reader, name: str) -> Problem | Waiting | None:
    """Why a subnet cannot use a Vlan, or must wait for it (spec D.2.0; memoised question)."""
    view = reader.query(vlan_view, name)
    if view is None:
        return Problem(VLAN_FAILED, f"vlan {name} does not exist")
    if not view.network:
        return Waiting(f"vlan {name} gets the default provider network")  # by `_vlan`, spec D.17
    if view.conflict:
        return Problem(VLAN_FAILED, f"vlan {name} has the id {view.tag} of vlan {view.conflict} on {view.network}")
    # The network's status.vlans, which is where others see it, is written from the same facts.
    if reader.get("ProviderNetwork", view.network) is None:
        return Waiting(f"provider network {view.network} does not exist yet")
    return None


def _tag(vlan: Vlan) -> int:
    return vlan.spec.id or vlan.spec.vlan_id


def _network(vlan: Vlan) -> str:
    return vlan.spec.provider or vlan.spec.provider_interface_name


def _tag_key(vlan: Vlan) -> str:
    return f"{_network(vlan)}|{_tag(vlan)}"


def _created(reader: Reader, name: str) -> str:
    """When a Vlan was created (memoised question)."""
    vlan = reader.get("Vlan", name)
    return vlan.metadata.creation_timestamp if isinstance(vlan, Vlan) else ""


def _vlan(reader: Reader, name: str) -> Iterator[Item]:
    vlan, view = reader.get("Vlan", name), reader.query(vlan_view, name)
    if not isinstance(vlan, Vlan) or view is None:
        return
    if vlan.spec.vlan_id or vlan.spec.provider_interface_name:
        fields = {"id": view.tag, "provider": view.network, "vlanId": None, "providerInterfaceName": None}
        yield Spec("Vlan", name, fields)
    elif not view.network:
        yield Spec("Vlan", name, {"provider": options(reader).default_provider_name})
    if view.conflict:
        message = f"id {view.tag} on provider network {view.network} is that of vlan {view.conflict}"
        yield Event("Vlan", name, "Warning", "VlanConflict", message)
    subnets = in_order(vlan.status.subnets, reader.by("subnet-vlan", name))
    yield Status("Vlan", name, msgspec.structs.replace(vlan.status, subnets=subnets, conflict=bool(view.conflict)))


def in_order(before: tuple[str, ...], names: Iterable[str]) -> tuple[str, ...]:
    """`names`, those that were listed before in the order of then: a takeover rewrites no status for the order."""
    wanted = dict.fromkeys(names)
    return tuple(dict.fromkeys([*(name for name in before if name in wanted), *wanted]))


def _by_tag(vlan: Vlan) -> tuple[str, ...]:
    return (_tag_key(vlan),)


def _by_network(vlan: Vlan) -> tuple[str, ...]:
    return (_network(vlan),)


def _by_vlan(subnet: Subnet) -> tuple[str, ...]:
    return (subnet.spec.vlan,) if subnet.spec.vlan else ()


INDEXES = (
    Index("vlan-tag", "Vlan", _by_tag),
    Index("vlan-network", "Vlan", _by_network),
    Index("subnet-vlan", "Subnet", _by_vlan),
)
UNITS = (Unit("vlan", "Vlan", _vlan),)

"""Subnets and VPCs: what an update must not change, what a deletion would leave behind (spec F.5).

What a new one collides with is `compile.subnet_conflict`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ovnbridge.compile.options import options
from ovnbridge.compile.subnet import broken_subnets, subnets_of_vpc
from ovnbridge.engine.engine import Reader
from ovnbridge.model import address
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec
from ovnbridge.validation.request import CONFLICT, CREATE, DELETE, FORBIDDEN, Problem, Request

_SHOWN = 3


def several(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def subnet(reader: Reader, request: Request) -> Iterator[Problem]:
    """Rules for one Subnet."""
    if request.operation == DELETE:
        used = reader.by("ip-subnet", request.key)
        if used:
            yield Problem("", f"subnet {request.key} is in use by ip {several(used)}", FORBIDDEN)
        return
    new = request.value
    if not isinstance(new, Subnet):
        return
    if request.operation == CREATE and reader.get("Vpc", request.key) is not None:
        yield Problem("metadata.name", f"vpc {request.key} has this name already", CONFLICT)
    if isinstance(request.old, Subnet):
        yield from _changed(reader, request.key, request.old.spec, new.spec)


def _changed(reader: Reader, name: str, old: SubnetSpec, new: SubnetSpec) -> Iterator[Problem]:
    if bool(old.cidr_block) != bool(new.cidr_block):
        yield Problem("spec.cidrBlock", "a subnet with addresses and one without cannot become each other")
    router = options(reader).cluster_router
    if new.vpc != old.vpc and not (old.vpc == "" and new.vpc == router):
        yield Problem("spec.vpc", f"a subnet stays in its vpc; this one is in {old.vpc or router}")
    used = reader.by("ip-subnet", name)
    if used and new.gateway != old.gateway and new.gateway != _defaulted(old):
        yield Problem("spec.gateway", f"the gateway cannot change while addresses are in use by ip {several(used)}")


def _defaulted(spec: SubnetSpec) -> str:
    """The gateway that the controller itself writes into this spec (spec D.2.0)."""
    try:
        return address.default_gateway(spec.cidr_block, spec.gateway)
    except ValueError:
        return spec.gateway


def vpc(reader: Reader, request: Request) -> Iterator[Problem]:
    """Rules for one Vpc."""
    if request.operation == DELETE:
        names = {*reader.query(subnets_of_vpc, request.key), *reader.query(broken_subnets, request.key)}
        if names:
            yield Problem("", f"vpc {request.key} is in use by subnet {several(sorted(names))}", FORBIDDEN)
    elif request.operation == CREATE and reader.get("Subnet", request.key) is not None:
        yield Problem("metadata.name", f"subnet {request.key} has this name already", CONFLICT)

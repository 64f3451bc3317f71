"""Subnets and VPCs: what a new one collides with, what an update must not change, what a deletion would leave behind.

Spec F.1 "runtime additional", F.5 rows Subnet and Vpc.
"""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.compile.options import options
from ovnbridge.compile.subnet import SubnetView, broken_subnets, subnet_view, subnets_of_vpc
from ovnbridge.engine.engine import Reader
from ovnbridge.model import address
from ovnbridge.model.crd.subnet import Subnet, SubnetSpec
from ovnbridge.model.crd.vpc import Vpc
from ovnbridge.validation.request import CONFLICT, CREATE, DELETE, FORBIDDEN, Problem, Request

_SHOWN = 3


def several(names: list[str]) -> str:
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
    view = reader.query(subnet_view, request.key)
    if view is not None:
        yield from _overlaps(reader, view)
        yield from _namespaces(reader, view, new.spec)


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


def _overlaps(reader: Reader, view: SubnetView) -> Iterator[Problem]:
    if not view.cidr_block:
        return
    candidates = {*reader.by("subnet-vpc", view.vpc), *reader.by("subnet-vpc", "")} - {view.name}
    for name in sorted(candidates):
        other = reader.query(subnet_view, name)
        if other is None or not other.cidr_block or (other.vpc, other.vlan) != (view.vpc, view.vlan):
            continue
        if address.overlaps(view.cidr_block, other.cidr_block):
            message = f"{view.cidr_block} overlaps cidrBlock {other.cidr_block} of subnet {name}"
            yield Problem("spec.cidrBlock", message, CONFLICT)


def _namespaces(reader: Reader, view: SubnetView, spec: SubnetSpec) -> Iterator[Problem]:
    vpc = reader.get("Vpc", view.vpc)
    if not isinstance(vpc, Vpc) or view.vpc == options(reader).cluster_router:
        return
    for index, namespace in enumerate(spec.namespaces):
        if namespace not in vpc.spec.namespaces:
            yield Problem(f"spec.namespaces[{index}]", f"{namespace} is not a namespace of vpc {view.vpc}")


def vpc(reader: Reader, request: Request) -> Iterator[Problem]:
    """Rules for one Vpc."""
    if request.operation == DELETE:
        names = {*reader.query(subnets_of_vpc, request.key), *reader.query(broken_subnets, request.key)}
        if names:
            yield Problem("", f"vpc {request.key} is in use by subnet {several(sorted(names))}", FORBIDDEN)
    elif request.operation == CREATE and reader.get("Subnet", request.key) is not None:
        yield Problem("metadata.name", f"subnet {request.key} has this name already", CONFLICT)

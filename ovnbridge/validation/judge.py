"""The judge: a World that follows the cluster, and what is wrong with a write to one of its objects.

`review` first lets the controller's compile units look at the candidate; a warning of theirs that says that the
object itself is wrong is a refusal. Otherwise come the rules of `changes` (what an update or a deletion must not do)
and `holders` (addresses that somebody else has). Only changes of the spec are judged: metadata, status and objects
that are being deleted always pass, so that finalizers can go and a broken object can be repaired step by step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from ovnbridge.compile import INDEXES, UNITS
from ovnbridge.compile.node import node_addresses
from ovnbridge.compile.options import Options
from ovnbridge.compile.subnet import subnet_view
from ovnbridge.compile.subnet_acl import ACLS_FAILED
from ovnbridge.compile.subnet_spec import INVALID
from ovnbridge.engine.engine import Engine, Reader, Unit
from ovnbridge.engine.items import Event, Item
from ovnbridge.engine.world import World
from ovnbridge.model.crd.kinds import KINDS
from ovnbridge.model.kube import Namespace, Node, Pod
from ovnbridge.model.resource import NAMESPACE, NODE, POD, Resource
from ovnbridge.validation import changes, holders, ledger, underlay, workload
from ovnbridge.validation.request import CREATE, DELETE, Problem, Request
from ovnbridge.validation.speculate import Speculation

WATCHED: Final[tuple[tuple[Resource, type[Any]], ...]] = (
    (NODE, Node),
    (NAMESPACE, Namespace),
    (POD, Pod),
    *((KINDS[k].resource, KINDS[k].type) for k in ("Vpc", "Subnet", "IP", "IPPool", "Vip", "Vlan", "ProviderNetwork")),
)
"""Kinds that the rules look at, with their decoded types."""

_INDEXES: Final = (*INDEXES, *holders.INDEXES, *ledger.INDEXES, *underlay.INDEXES)
_WARNINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "Subnet": (INVALID, ACLS_FAILED),
    "Vpc": ("ValidateVpcFailed",),
    "Pod": ("ValidatePodNetworkFailed",),
    "IPPool": ("UpdateIPAMFailed", "UpdateAddressSetFailed"),
    "Vip": ("AcquireAddressFailed",),
    "Vlan": ("VlanConflict",),
}
"""Event reasons that say that the object itself is wrong. Others (a vlan that does not exist yet, say) may pass."""
_ABSENT: Final = re.compile(r"\b(vpc|subnet|vlan) '?([^\s']+)'? does not exist")
_LAST: Final = "9999-12-31T23:59:59Z"

_Rule = Callable[[Reader, Request], Iterator[Problem]]
_RULES: Final[Mapping[str, _Rule]] = {
    "Subnet": changes.subnet,
    "Vpc": changes.vpc,
    "IP": ledger.ip,
    "IPPool": ledger.pool,
    "Vip": ledger.vip,
    "Vlan": underlay.vlan,
    "ProviderNetwork": underlay.provider_network,
    "Pod": workload.pod,
}


def _keep_subnet(reader: Reader, name: str) -> Iterator[Item]:
    """Keeps the engine's answer about every subnet, so that a review of one does not ask for all others again."""
    reader.query(subnet_view, name)
    yield from ()


def _keep_nodes(reader: Reader, _: str) -> Iterator[Item]:
    reader.query(node_addresses)
    yield from ()


class Judge:
    """One World with the objects that the rules look at; fed by the same edges as the controller's."""

    def __init__(self, options: Options) -> None:
        self.world = World(_INDEXES)
        self.world.put("Options", "", options)
        keepers = (Unit("keep-subnet", "Subnet", _keep_subnet), Unit("keep-nodes", "Options", _keep_nodes))
        self._engine = Engine(self.world, keepers)

    def settle(self) -> None:
        """Take in what changed; called before every review, and when there is time."""
        self._engine.settle()

    @property
    def evaluations(self) -> int:
        """How many units the engine has run: what changes cost, not reviews."""
        return self._engine.evaluations

    def review(self, request: Request) -> tuple[Problem, ...]:
        """What is wrong with a write; nothing when it may be done."""
        if request.kind in workload.TEMPLATES:
            if request.operation != CREATE:
                return ()
            request = workload.as_pod(request)
        if request.operation not in (CREATE, DELETE) and not request.changes_spec:
            return ()
        self.settle()
        value = None if request.operation == DELETE else _newest(request.value)
        reader = Speculation(self._engine, _INDEXES, request.kind, request.key, value)
        found = dict.fromkeys(_compiled(reader, request) if value is not None else ())
        rule = _RULES.get(request.kind)
        if rule is not None and not found:
            found = dict.fromkeys(rule(reader, request))
        return tuple(found)


def _newest(value: Any) -> Any:
    """The candidate as the youngest of its kind: where the older of two objects prevails, the edit is refused."""
    metadata = msgspec.structs.replace(value.metadata, creation_timestamp=_LAST)
    return msgspec.structs.replace(value, metadata=metadata)


def _compiled(reader: Reader, request: Request) -> Iterator[Problem]:
    """What the controller would tell the user about the object."""
    for unit in UNITS:
        if unit.table != request.kind:
            continue
        for item in unit.run(reader, request.key):
            if not isinstance(item, Event) or (item.kind, item.key) != (request.kind, request.key):
                continue
            for message in item.message.split("; ") if item.reason in _WARNINGS.get(request.kind, ()) else ():
                if not _later(reader, message):
                    yield Problem(_field(request, message), message)


def _later(reader: Reader, message: str) -> bool:
    """Whether a message only says that another object is not there: it may be the next one in the same manifest."""
    named = _ABSENT.search(message)
    return named is not None and reader.get(named[1].capitalize(), named[2]) is None


def _field(request: Request, message: str) -> str:
    """The path of the field that a message is about: the first name in it that is a field or an annotation."""
    if request.kind == "Pod":
        named = re.search(r"\bannotation (\S+\.kubernetes\.io/[\w.]+)", message)
        return f"{request.annotations}[{named[1]}]" if named else request.annotations
    if request.kind == "IPPool":
        return "spec.ips"
    fields = _fields(request.kind)
    return next((f"spec.{word}" for word in re.findall(r"[A-Za-z0-9]+", message) if word in fields), "spec")


@lru_cache(maxsize=32)
def _fields(kind: str) -> frozenset[str]:
    """Names of a kind's spec fields, as users write them."""
    known = {resource.kind: found for resource, found in WATCHED}[kind]
    holder = next((f.type for f in msgspec.structs.fields(known) if f.name == "spec"), None)
    return frozenset(f.encode_name for f in msgspec.structs.fields(holder)) if holder is not None else frozenset()

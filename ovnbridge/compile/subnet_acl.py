"""ACLs of a subnet's switch: private subnets, the user's own, east-west traffic (spec D.2.1, D.2.2).

Kube-OVN deletes and rebuilds them at every reconcile; here they are compared, so traffic never sees a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ovnbridge.compile.options import has_column, options
from ovnbridge.compile.ownership import acl_scope
from ovnbridge.compile.subnet import SubnetView, subnet_view
from ovnbridge.engine.engine import Reader
from ovnbridge.engine.items import Event, Hold, Item, Row
from ovnbridge.model.address import family
from ovnbridge.model.crd.subnet import Acl, SubnetSpec
from ovnbridge.model.ovn import VENDOR, Ref, Value

ACLS_FAILED: Final = "SetLogicalSwitchAclsFailed"
_ACTIONS: Final = ("allow", "allow-related", "allow-stateless", "drop", "reject", "pass")
_TIER: Final = 2


def rows(reader: Reader, view: SubnetView, spec: SubnetSpec) -> Iterator[Item]:
    """All ACLs of the switch; of two with the same direction, priority and match the first one counts."""
    found: dict[tuple[str, int, str], Row] = {}
    tier = _TIER if has_column(reader, "ACL", "tier") else 0
    problem = acls_problem(reader, spec)
    if problem:
        yield Hold(acl_scope(view.name))
        yield Event("Subnet", view.name, "Warning", ACLS_FAILED, problem)
    entries = [*(_private(reader, view, spec) if spec.private else ()), *(() if problem else _own(view, spec))]
    for direction, priority, match, action, more in entries:
        found.setdefault(
            (direction, priority, match),
            Row(
                "ACL",
                (view.name, direction, priority, match, tier),
                {
                    "direction": direction,
                    "priority": priority,
                    "match": match,
                    "action": action,
                    "tier": tier,
                    "name": None,
                    "log": False,
                    "severity": None,
                    "external_ids": {"vendor": VENDOR, "parent": view.name},
                    **more,
                },
                parent=Ref("Logical_Switch", view.name),
            ),
        )
    yield from found.values()


def acls_problem(reader: Reader, spec: SubnetSpec) -> str:
    """What is wrong with `spec.acls`, or ""; the server's own check of the match comes on top."""
    tiers = has_column(reader, "ACL", "tier")
    for number, acl in enumerate(spec.acls):
        if acl.direction not in ("from-lport", "to-lport"):
            return f"direction {acl.direction!r} in acls[{number}] must be from-lport or to-lport"
        if not 0 <= acl.priority <= 32767:
            return f"priority {acl.priority} in acls[{number}] must be 0 to 32767"
        if acl.action not in _ACTIONS:
            return f"action {acl.action!r} in acls[{number}] must be one of {', '.join(_ACTIONS)}"
        if acl.action == "pass" and not tiers:  # to the next tier
            return f"action 'pass' in acls[{number}] needs a newer OVN"
        if not acl.match.strip():
            return f"match in acls[{number}] is empty"
    return ""


_Entry = tuple[str, int, str, str, Mapping[str, Value]]
"""Direction, priority, match, action, further columns."""


def _private(reader: Reader, view: SubnetView, spec: SubnetSpec) -> Iterator[_Entry]:
    opts = options(reader)
    join = reader.query(subnet_view, opts.node_switch)
    joins = (join.cidr_block if join is not None else opts.node_switch_cidr).split(",")
    yield "to-lport", 1000, "ip", "drop", {"log": True, "severity": "warning", "name": view.name}
    for cidr, _ in view.pairs():
        version = family(cidr)
        source, target = f"ip{version}.src", f"ip{version}.dst"
        yield "to-lport", 1001, f"{source} == {cidr} && {target} == {cidr}", "allow-related", {}
        for nodes in joins:
            if family(nodes) == version:
                yield "to-lport", 3000, f"{source} == {nodes}", "allow-related", {}
        for allowed in spec.allow_subnets:
            if family(allowed) == version:
                both = f"({source} == {cidr} && {target} == {allowed}) || ({source} == {allowed} && {target} == {cidr})"
                yield "to-lport", 1001, both, "allow-related", {}


def _own(view: SubnetView, spec: SubnetSpec) -> Iterator[_Entry]:
    more: Mapping[str, Value] = {"external_ids": {"vendor": VENDOR, "parent": view.name, "subnet": view.name}}
    for acl in spec.acls:
        yield _entry(acl, more)
    if spec.acls and spec.allow_ew_traffic:
        for cidr, _ in view.pairs():
            version = family(cidr)
            match = f"ip{version}.src == {cidr} && ip{version}.dst == {cidr}"
            for direction in ("to-lport", "from-lport"):
                yield direction, 1900, match, "allow", more


def _entry(acl: Acl, more: Mapping[str, Value]) -> _Entry:
    return acl.direction, acl.priority, acl.match, acl.action, more

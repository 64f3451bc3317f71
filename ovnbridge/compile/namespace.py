"""Namespace → its subnets, and the annotations that say so (spec B.5)."""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.compile.options import options
from ovnbridge.compile.selector import matches
from ovnbridge.compile.subnet import subnet_view
from ovnbridge.compile.vpc import vpc_of_namespace
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Annotations, Item
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.crd.vpc import Vpc
from ovnbridge.model.kube import Namespace
from ovnbridge.model.names import annotation


def namespace_subnets(reader: Reader, name: str) -> tuple[str, ...]:
    """Subnets of a namespace, the first one being the default for its pods (memoised question)."""
    namespace = reader.get("Namespace", name)
    if not isinstance(namespace, Namespace):
        return ()
    opts = options(reader)
    bound: dict[str, None] = {}
    for subnet in reader.by("subnet-namespaces", name):
        if reader.query(subnet_view, subnet) is not None:
            bound[subnet] = None
    labels = namespace.metadata.all_labels()
    for subnet in reader.by("subnet-selectors", ""):
        found = reader.get("Subnet", subnet)
        if not isinstance(found, Subnet) or reader.query(subnet_view, subnet) is None:
            continue
        if any(matches(selector, labels) for selector in found.spec.namespace_selectors):
            bound[subnet] = None
    vpc_name = reader.query(vpc_of_namespace, name)
    vpc = reader.get("Vpc", vpc_name)
    preferred = vpc.spec.default_subnet if isinstance(vpc, Vpc) and vpc_name != opts.cluster_router else ""
    if preferred and name != "kube-system" and reader.query(subnet_view, preferred) is not None:
        bound = {preferred: None, **bound}
    return tuple(bound) or (preferred or opts.default_ls,)


def _namespace(reader: Reader, name: str) -> Iterator[Item]:
    if reader.get("Namespace", name) is None:
        return
    names = reader.query(namespace_subnets, name)
    views = [view for n in names if (view := reader.query(subnet_view, n)) is not None]
    if not views:
        return
    yield Annotations(
        "Namespace",
        name,
        {
            annotation("logical_switch"): ",".join(view.name for view in views),
            annotation("cidr"): ";".join(view.cidr_block for view in views),
            annotation("exclude_ips"): ";".join(",".join(view.exclude_ips) for view in views),
        },
    )


UNITS = (Unit("namespace", "Namespace", _namespace),)

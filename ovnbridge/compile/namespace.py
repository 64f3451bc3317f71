"""Namespace → its subnets, and the annotations that say so (spec B.5)."""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.compile.ippool import as_written, namespace_pools
from ovnbridge.compile.options import options
from ovnbridge.compile.selector import matches
from ovnbridge.compile.subnet import subnet_view
from ovnbridge.compile.vpc import default_switch, preferred_subnet, vpc_of_namespace
from ovnbridge.engine.engine import Reader, Unit
from ovnbridge.engine.items import Annotations, Item
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.kube import Namespace
from ovnbridge.model.names import annotation


def namespace_subnets(reader: Reader, name: str) -> tuple[str, ...]:
    """Subnets of a namespace, the first one being the default for its pods (memoised question).

    One that cannot be compiled at present counts: its pods wait, and do not land in another network.
    """
    namespace = reader.get("Namespace", name)
    if not isinstance(namespace, Namespace):
        return ()
    opts = options(reader)
    bound: dict[str, None] = {}
    for subnet in reader.by("subnet-namespaces", name):
        bound[subnet] = None
    labels = namespace.metadata.all_labels()
    for subnet in reader.by("subnet-selectors", ""):
        found = reader.get("Subnet", subnet)
        if isinstance(found, Subnet) and any(matches(s, labels) for s in found.spec.namespace_selectors):
            bound[subnet] = None
    vpc = reader.query(vpc_of_namespace, name)
    preferred = reader.query(preferred_subnet, vpc)
    view = reader.query(subnet_view, preferred)
    if name != "kube-system" and view is not None and view.vpc == vpc:
        bound = {preferred: None, **bound}
    if not bound:
        return (preferred or reader.query(default_switch, vpc) or opts.default_ls,)
    found = as_written(tuple(bound), namespace.metadata.annotation(annotation("logical_switch")))
    return found if preferred not in bound or found[0] == next(iter(bound)) else tuple(bound)


def _namespace(reader: Reader, name: str) -> Iterator[Item]:
    if reader.get("Namespace", name) is None:
        return
    names = reader.query(namespace_subnets, name)
    views = [view for n in names if (view := reader.query(subnet_view, n)) is not None]
    if len(views) < len(names):
        return
    yield Annotations(
        "Namespace",
        name,
        {
            annotation("ip_pool"): ",".join(reader.query(namespace_pools, name)) or None,
            annotation("logical_switch"): ",".join(view.name for view in views),
            annotation("cidr"): ";".join(view.cidr_block for view in views),
            annotation("exclude_ips"): ";".join(",".join(view.exclude_ips) for view in views),
        },
    )


UNITS = (Unit("namespace", "Namespace", _namespace),)

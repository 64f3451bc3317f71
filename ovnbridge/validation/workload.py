"""Pods and the templates of workloads: annotations that ask for addresses (spec F.3, F.5 first row)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ovnbridge.compile.namespace import namespace_subnets
from ovnbridge.compile.request import groups, is_list
from ovnbridge.compile.subnet import SubnetView, subnet_view
from ovnbridge.engine.engine import Reader
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP, Vip
from ovnbridge.model.crd.codec import convert
from ovnbridge.model.kube import Pod
from ovnbridge.model.names import annotation, port_name
from ovnbridge.validation.holders import holder, place_problem
from ovnbridge.validation.request import CONFLICT, CREATE, Problem, Request

TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where the pod template of a workload is."""

_LIVE_MIGRATION: Final = ("kubevirt.io/migrationJobName", "kubevirt.io/migrationJobUID")


def as_pod(request: Request) -> Request:
    """The review of a workload (`value` is plain JSON) as one of a pod of its name, made of its template."""
    found = request.value
    path = TEMPLATES[request.kind]
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    template: dict[str, Any] = found if isinstance(found, dict) else {}
    namespace, _, name = request.key.partition("/")
    notes = (template.get("metadata") or {}).get("annotations")
    spec = template.get("spec")
    body = {"metadata": {"name": name, "namespace": namespace, "annotations": notes}, "spec": spec or {}}
    return Request(
        kind="Pod",
        operation=CREATE,
        key=request.key,
        value=convert(body, Pod),
        annotations=".".join((*path, "metadata.annotations")),
    )


def pod(reader: Reader, request: Request) -> Iterator[Problem]:
    """Addresses that are asked for must be in the pod's subnets, and free."""
    new = request.value
    if request.operation != CREATE or not isinstance(new, Pod) or new.spec.host_network:
        return
    notes = new.metadata.all_annotations()
    if any(name in notes for name in _LIVE_MIGRATION):
        return
    if isinstance(reader.get("Vip", notes.get(annotation("vip"), "")), Vip):
        return  # the pod takes over its address, and no other (spec C.8, point 3)
    views = _candidates(reader, new)
    yield from _family(
        views, f"{request.annotations}[{annotation('ip_family')}]", notes.get(annotation("ip_family"), "")
    )
    wanted = notes.get(annotation("ip_address"), "")
    if wanted:
        field = f"{request.annotations}[{annotation('ip_address')}]"
        yield from _group(reader, new, views, field, wanted)
    pool = notes.get(annotation("ip_pool"), "").strip()
    if pool:
        field = f"{request.annotations}[{annotation('ip_pool')}]"
        yield from _pool(reader, new, views, field, pool, template=request.template)


def _family(views: list[SubnetView], field: str, family: str) -> Iterator[Problem]:
    """One of the subnets must have addresses of the family that is asked for."""
    if (
        views
        and family
        and not any(f"ipv{net.version}" == family for v in views for net in address.networks(v.cidr_block))
    ):
        names = ", ".join(view.name for view in views)
        yield Problem(field, f"no {family} addresses in subnet {names}")


def _candidates(reader: Reader, new: Pod) -> list[SubnetView]:
    """Subnets that the pod may be in, as far as they exist."""
    given = new.metadata.annotation(annotation("logical_switch"))
    names = (given,) if given else reader.query(namespace_subnets, new.metadata.namespace)
    return [view for name in names if (view := reader.query(subnet_view, name)) is not None and view.cidr_block]


def _group(reader: Reader, new: Pod, views: list[SubnetView], field: str, text: str) -> Iterator[Problem]:
    """One address, or one of each family: all must be free in one of the subnets."""
    parts = [part.strip().partition("/")[0] for part in text.split(",")]
    if None in map(address.host_family, parts):
        return  # told by the pod's unit
    if text != text.lower():
        yield Problem(field, f"{text} must be in lower case")
    found: list[Problem] = []
    for view in views:
        here = list(_places(reader, new, view, field, parts))
        if not here:
            return
        found += here
    yield from found


def _places(reader: Reader, new: Pod, view: SubnetView, field: str, parts: list[str]) -> Iterator[Problem]:
    for part in parts:
        problem = place_problem(view.cidr_block, view.gateway, part)
        if problem:
            yield Problem(field, f"{problem} of subnet {view.name}")
            continue
        other = holder(reader, view.name, part, own=_own(reader, new, view.name, part))
        if other:
            yield Problem(field, f"{part} of subnet {view.name} is held by {other}", CONFLICT)


def _own(reader: Reader, new: Pod, subnet: str, part: str) -> set[str]:
    """Leases of the pod itself, and of pods of the same workload (their names begin with its name)."""
    name, namespace = new.metadata.name, new.metadata.namespace
    own = {f"ip {port_name(name, namespace)}"}
    for lease in reader.by("admission-lease", f"{subnet} {address.canonical(part)}"):
        found = reader.get("IP", lease)
        if isinstance(found, IP) and found.spec.namespace == namespace and found.spec.pod_name.startswith(f"{name}-"):
            own.add(f"ip {lease}")
    named = new.metadata.annotation(annotation("vip"))
    return own | ({f"vip {named}"} if named else set())


def _pool(
    reader: Reader, new: Pod, views: list[SubnetView], field: str, text: str, *, template: bool
) -> Iterator[Problem]:
    """A pool's name must exist; of a list, a pod needs one free entry and a workload all of them."""
    if not is_list(text):
        if reader.get("IPPool", text) is None:
            yield Problem(field, f"ippool {text} does not exist")
        return
    problems = [list(_group(reader, new, views, field, entry)) for entry in groups(text)]
    if template or all(problems):
        for found in problems:
            yield from found

"""IP, IPPool and Vip: addresses that exist, are free, and stay what they are (spec A.4–A.6, C.6, C.10, F.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ovnbridge.compile.subnet import SubnetView, subnet_view
from ovnbridge.engine.engine import Reader
from ovnbridge.engine.world import Index
from ovnbridge.ipam import RangeSet
from ovnbridge.model import address
from ovnbridge.model.crd.address import IP, IPPool, Vip
from ovnbridge.model.kube import Pod
from ovnbridge.model.names import annotation
from ovnbridge.validation.changes import several
from ovnbridge.validation.holders import holder, place_problem
from ovnbridge.validation.request import CONFLICT, DELETE, FORBIDDEN, Problem, Request

_Found = Iterator[Problem]
_POD_TYPES = ("", "VirtualMachine", "StatefulSet")


def _pool_subnet(pool: IPPool) -> Iterable[str]:
    return (pool.spec.subnet,)


def _pairs(pod: Pod) -> Iterable[str]:
    """Vips that a pod names: `aaps` and `vip`, which are names in its own namespace's view (spec B.1)."""
    listed = ",".join(pod.metadata.annotation(annotation(name)) for name in ("aaps", "vip"))
    return {name.strip() for name in listed.split(",") if name.strip()}


INDEXES = (Index("admission-pool", "IPPool", _pool_subnet), Index("admission-pod-vip", "Pod", _pairs))


def _address(
    reader: Reader, subnet: str, view: SubnetView | None, field: str, text: str, own: set[str]
) -> Iterator[Problem]:
    """What is wrong with one wished address."""
    if not text:
        return
    if address.host_family(text) is None:
        yield Problem(field, f"{text!r} is not an IP address")
        return
    if text != text.lower():
        yield Problem(field, f"{text} must be in lower case")
    version = 6 if field.endswith(("v6IpAddress", "v6ip")) else 4
    if address.host_family(text) != version:
        yield Problem(field, f"{text} is not an IPv{version} address")
        return
    if view is None or not view.cidr_block:
        return
    problem = place_problem(view.cidr_block, view.gateway, text)
    if problem:
        yield Problem(field, f"{problem} of subnet {subnet}")
    other = holder(reader, subnet, text, own=own)
    if other:
        yield Problem(field, f"{text} of subnet {subnet} is held by {other}", CONFLICT)


def ip(reader: Reader, request: Request) -> Iterator[Problem]:
    """Rules for one IP, which the controller or (a reservation) an administrator writes."""
    new, old = request.value, request.old
    if not isinstance(new, IP):
        return
    spec = new.spec
    if isinstance(old, IP):
        for name in ("subnet", "namespace", "pod_name", "pod_type", "v4_ip_address", "v6_ip_address", "mac_address"):
            before, after = getattr(old.spec, name), getattr(spec, name)
            if before and before != after:
                wire = dict(zip(spec.__struct_fields__, spec.__struct_encode_fields__))[name]
                yield Problem(f"spec.{wire}", f"cannot change: it is {before}")
    if not spec.subnet:
        yield Problem("spec.subnet", "an IP belongs to a subnet")
    if spec.pod_type not in _POD_TYPES:
        yield Problem("spec.podType", f"{spec.pod_type!r} is none of StatefulSet, VirtualMachine and empty")
    if spec.mac_address and not address.valid_mac(spec.mac_address):
        yield Problem("spec.macAddress", f"{spec.mac_address!r} is not a MAC address")
    view = reader.query(subnet_view, spec.subnet)
    own = {f"ip {request.key}"}
    pod = reader.get("Pod", f"{spec.namespace}/{spec.pod_name}")
    if isinstance(pod, Pod):
        own.add(f"vip {pod.metadata.annotation(annotation('vip'))}")  # whose address the pod takes over (spec C.8)
    yield from _address(reader, spec.subnet, view, "spec.v4IpAddress", spec.v4_ip_address, own)
    yield from _address(reader, spec.subnet, view, "spec.v6IpAddress", spec.v6_ip_address, own)


def vip(reader: Reader, request: Request) -> Iterator[Problem]:
    """Rules for one Vip."""
    if request.operation == DELETE:
        users = reader.by("admission-pod-vip", request.key)
        if users:
            yield Problem("", f"vip {request.key} is in use by pod {several(users)}", FORBIDDEN)
        return
    new = request.value
    if not isinstance(new, Vip):
        return
    spec = new.spec
    if not spec.subnet:
        yield Problem("spec.subnet", "a vip belongs to a subnet")
    if spec.mac_address and not address.valid_mac(spec.mac_address):
        yield Problem("spec.macAddress", f"{spec.mac_address!r} is not a MAC address")
    view = reader.query(subnet_view, spec.subnet)
    yield from _address(reader, spec.subnet, view, "spec.v4ip", spec.v4_ip, {f"vip {request.key}"})
    yield from _address(reader, spec.subnet, view, "spec.v6ip", spec.v6_ip, {f"vip {request.key}"})


def pool(reader: Reader, request: Request) -> Iterator[Problem]:
    """Rules for one IPPool."""
    subject = request.old if request.operation == DELETE else request.value
    if not isinstance(subject, IPPool):
        return
    subnet = subject.spec.subnet
    if request.operation == DELETE:
        mine = _ranges(subject.spec.ips)
        used = [name for name in reader.by("ip-subnet", subnet) if _inside(reader.get("IP", name), mine)]
        if used:
            yield Problem("", f"ippool {request.key} is in use by ip {several(used)}", FORBIDDEN)
        return
    if isinstance(request.old, IPPool) and request.old.spec.subnet != subnet:
        yield Problem("spec.subnet", f"cannot change: it is {request.old.spec.subnet}")


_Ranges = dict[int, RangeSet]


def _ranges(ips: Iterable[str]) -> _Ranges:
    spans = [span for text in ips if (span := address.span(text)) is not None]
    return {version: RangeSet([(low, high) for v, low, high in spans if v == version]) for version in (4, 6)}


def _inside(lease: object, ranges: _Ranges) -> bool:
    texts = (lease.spec.v4_ip_address, lease.spec.v6_ip_address) if isinstance(lease, IP) else ()
    return any(address.number_of(t) in ranges[v] for t in texts if (v := address.host_family(t)) is not None)

"""Switch ports that are no pod's: towards the physical network, and for addresses that move between pods (spec D.2)."""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.compile.lease import lease_of
from ovnbridge.compile.nets import allocated_providers
from ovnbridge.compile.subnet import SubnetView
from ovnbridge.compile.vip import allowed_pairs, vip_of
from ovnbridge.compile.workload import holder
from ovnbridge.engine.engine import Reader
from ovnbridge.engine.items import Item, Row
from ovnbridge.engine.world import Index
from ovnbridge.model import address
from ovnbridge.model.crd.subnet import SubnetSpec
from ovnbridge.model.kube import Pod
from ovnbridge.model.names import OVN_PROVIDER, annotation, localnet_port_name, port_name, vip_port_name
from ovnbridge.model.ovn import VENDOR, Ref

_PORT_VIPS = ".kubernetes.io/port_vips"


def port(view: SubnetView) -> Row:
    """The localnet port of an underlay subnet."""
    name = localnet_port_name(view.name)
    ids = {"vendor": VENDOR, "ls": view.name}
    for cidr, _ in view.pairs():
        ids[f"ipv{address.family(cidr)}_network"] = cidr
    return Row(
        "Logical_Switch_Port",
        name,
        {
            "name": name,
            "type": "localnet",
            "addresses": frozenset({"unknown"}),
            "options": {"network_name": view.network},
            "tag": view.tag if 1 <= view.tag <= 4095 else None,
            "external_ids": ids,
        },
        parent=Ref("Logical_Switch", view.name),
    )


def virtual_ports(reader: Reader, view: SubnetView, spec: SubnetSpec) -> Iterator[Item]:
    """A port for each address in `spec.vips`, with the ports of the pods that may take it."""
    for vip in dict.fromkeys(spec.vips):
        name = vip_port_name(view.name, vip)
        parents = reader.query(_parents, view.name, vip)
        yield Row(
            "Logical_Switch_Port",
            name,
            {
                "name": name,
                "type": "virtual",
                "options": {"virtual-ip": vip, **({"virtual-parents": ",".join(parents)} if parents else {})},
                "external_ids": {"vendor": VENDOR, "ls": view.name},
            },
            parent=Ref("Logical_Switch", view.name),
        )


def _parents(reader: Reader, subnet: str, vip: str) -> tuple[str, ...]:
    """Ports in a subnet of the pods that may take an address, sorted (memoised question): it is in their annotation
    `port_vips`, or a Vip has it that their annotation `aaps` names."""
    found = set()
    for key in sorted({*reader.by("pod-port-vips", vip), *_paired(reader, subnet, vip)}):
        pod = reader.get("Pod", key)
        if not isinstance(pod, Pod):
            continue
        given, space = dict(_port_vips(pod)), pod.metadata.namespace
        own, _ = holder(reader, pod)
        pairs = allowed_pairs(reader, pod.metadata.annotation(annotation("aaps")), space, subnet)
        for provider in {OVN_PROVIDER, *given, *allocated_providers(pod.metadata.all_annotations())}:
            if vip in pairs or vip in given.get(provider, ()):
                owner = port_name(own, space, provider)
                lease = lease_of(reader, owner)
                if lease is not None and lease.spec.subnet == subnet:
                    found.add(owner)
    return tuple(sorted(found))


def _paired(reader: Reader, subnet: str, wanted: str) -> Iterator[str]:
    """Pods whose annotation `aaps` names a Vip of a subnet with an address."""
    for name in reader.by("vip-address", f"{subnet}|{wanted}"):
        vip = vip_of(reader, name)
        if vip is not None:
            yield from reader.by("pod-aaps", f"{vip.spec.namespace}/{name}")


def _port_vips(pod: Pod) -> Iterator[tuple[str, list[str]]]:
    """(provider, addresses) of the annotations `<provider>.kubernetes.io/port_vips`; the primary provider is `ovn`."""
    for name, value in pod.metadata.all_annotations().items():
        if name.endswith(_PORT_VIPS):
            yield name.removesuffix(_PORT_VIPS) or OVN_PROVIDER, [part.strip() for part in value.split(",")]


def _by_port_vip(pod: Pod) -> set[str]:
    return {vip for _, vips in _port_vips(pod) for vip in vips if vip}


INDEXES = (Index("pod-port-vips", "Pod", _by_port_vip),)

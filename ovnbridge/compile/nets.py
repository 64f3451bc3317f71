"""Which networks a pod is attached to: its primary one, and those of `k8s.v1.cni.cncf.io/networks` (spec B.0)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from ovnbridge.compile.options import options, unknown
from ovnbridge.engine.engine import Reader
from ovnbridge.engine.world import Index
from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.kube import NetworkAttachmentDefinition, Pod
from ovnbridge.model.names import NODE_ALLOCATED, OVN_PROVIDER, annotation

NETWORKS: Final = "k8s.v1.cni.cncf.io/networks"
DEFAULT_NETWORK: Final = "v1.multus-cni.io/default-network"
KUBE_OVN: Final = "kube-ovn"
"""CNI type of an OVN attachment, and `ipam.type` of others whose addresses are managed here."""
_ALLOCATED: Final = annotation("allocated", "")
_WRITTEN: Final = (
    *("allocated", "ip_address", "mac_address", "cidr", "gateway", "logical_switch", "logical_router"),
    *("pod_nic_type", "vlan_id", "provider_network", "virtualmachine", "routed"),
)
"""Suffixes of the annotations that are written to pods (spec B.2), some of which users may have written before."""


class Net(msgspec.Struct, frozen=True):
    """One network of a pod.

    `provider` prefixes its annotations and ends the name of its port. `attachment` is `<nad>.<namespace>`, "" for the
    primary network. `interface`, `ips` and `mac` are what the networks annotation asks for. `is_ovn`: it has a port;
    otherwise only its addresses are managed.
    """

    provider: str
    attachment: str = ""
    interface: str = ""
    ips: str = ""
    mac: str = ""
    is_ovn: bool = True

    @property
    def primary(self) -> bool:
        """Whether this is the pod's default interface."""
        return self.provider == OVN_PROVIDER

    @property
    def subnet_provider(self) -> str:
        """`spec.provider` of its subnets: never with an interface's name."""
        return f"{self.attachment}.{OVN_PROVIDER}" if self.attachment and self.is_ovn else self.provider


_PRIMARY: Final = (Net(OVN_PROVIDER),)


class Element(msgspec.Struct, frozen=True):
    """One entry of a networks annotation."""

    name: str
    namespace: str
    interface: str = ""
    ips: str = ""
    mac: str = ""


class _Json(msgspec.Struct, frozen=True):
    name: str
    namespace: str = ""
    interface: str = ""
    ips: tuple[str, ...] | None = None
    mac: str = ""


def elements(text: str, namespace: str, name: str = NETWORKS) -> tuple[Element, ...]:
    """The entries of the networks annotation `name`, JSON or `ns/name@interface,…`. Raises ValueError."""
    text = text.strip()
    if not text:
        return ()
    if text.startswith(("[", "{")):
        try:
            found = msgspec.json.decode(text, type=tuple[_Json, ...] if text.startswith("[") else _Json)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(f"annotation {name} cannot be read: {error}") from error
        many = found if isinstance(found, tuple) else (found,)
        return tuple(
            Element(e.name, e.namespace or namespace, e.interface, ",".join(_bare(ip) for ip in e.ips or ()), e.mac)
            for e in many
        )
    result = []
    for part in text.split(","):
        path, _, interface = part.strip().partition("@")
        space, slash, own = path.partition("/")
        if not path or (slash and not (space and own)) or "/" in own:
            raise ValueError(f"{part.strip()!r} in annotation {name} is not [namespace/]name[@interface]")
        result.append(Element(own, space, interface) if slash else Element(space, namespace, interface))
    return tuple(result)


def _bare(text: str) -> str:
    return text.strip().partition("/")[0]


def attachment_kind(reader: Reader, key: str) -> bool | str | None:
    """What a NetworkAttachmentDefinition is to us (memoised question).

    True: a network of OVN; False: addresses only; None: nothing; a text: why it cannot be used.
    """
    found = reader.get("NetworkAttachmentDefinition", key)
    if not isinstance(found, NetworkAttachmentDefinition):
        known = not unknown(reader, "NetworkAttachmentDefinition")
        return f"NetworkAttachmentDefinition {key} {'does not exist' if known else 'cannot be looked up'}"
    if not found.spec.config.strip():
        return None
    try:
        config = msgspec.json.decode(found.spec.config)
    except (msgspec.DecodeError, RecursionError) as error:
        return f"NetworkAttachmentDefinition {key} has an unreadable config: {error}"
    if not isinstance(config, Mapping):
        return f"NetworkAttachmentDefinition {key} has a config that is no JSON object"
    listed = config.get("plugins")
    plugins = [p for p in (config, *(listed if isinstance(listed, list) else ())) if isinstance(p, Mapping)]
    for plugin in plugins:
        provider = str(plugin.get("provider") or "")
        if plugin.get("type") == KUBE_OVN and (provider in ("", OVN_PROVIDER) or provider.endswith(f".{OVN_PROVIDER}")):
            return True
    return False if any(_managed(plugin) for plugin in plugins) else None


def _managed(plugin: Mapping[str, Any]) -> bool:
    ipam = plugin.get("ipam")
    return isinstance(ipam, Mapping) and ipam.get("type") == KUBE_OVN


def pod_nets(reader: Reader, pod: Pod) -> tuple[tuple[Net, ...], tuple[str, ...]]:
    """A pod's networks, the primary one first, and what is wrong with its requests for networks.

    A network whose definition has vanished, or cannot be read, stays attached while the pod names it.
    """
    notes = pod.metadata.all_annotations()
    primary = () if options(reader).non_primary_cni_mode else _PRIMARY
    if NETWORKS not in notes and DEFAULT_NETWORK not in notes:
        return primary, ()
    problems: list[str] = []
    wanted: list[Element] = []
    for name in (DEFAULT_NETWORK, NETWORKS):
        try:
            wanted += elements(notes.get(name, ""), pod.metadata.namespace, name)
        except ValueError as error:
            problems.append(str(error))
        if name == DEFAULT_NETWORK and notes.get(name, "").strip():
            primary = ()
            if not wanted and not problems:
                problems.append(f"annotation {name} names no network")
    times: dict[tuple[str, str], int] = {}
    for element in wanted:
        named = (element.namespace, element.name)
        times[named] = times.get(named, 0) + 1
    nets = {net.provider: net for net in primary}
    held = allocated_providers(notes)
    for element in wanted:
        attachment = f"{element.name}.{element.namespace}"
        kind = reader.query(attachment_kind, f"{element.namespace}/{element.name}")
        if isinstance(kind, str):
            problems.append(kind)
            kind = next((p != attachment for p in held if p == attachment or p.startswith(f"{attachment}.ovn")), None)
        if kind is None:
            continue
        provider = f"{attachment}.{OVN_PROVIDER}" if kind else attachment
        if kind and element.interface and times[(element.namespace, element.name)] > 1:
            provider = f"{provider}.{element.interface}"
        nets[provider] = Net(provider, attachment, element.interface, element.ips, element.mac, kind)
    if problems and any("cannot be read" in p or "is not [" in p for p in problems):
        nets |= {p: net for p in held if p not in nets and (net := _held_net(p)) is not None}
    return tuple(nets.values()), tuple(problems)


def _held_net(provider: str) -> Net | None:
    """A network as its annotations tell of it, when the request for it cannot be read any more."""
    parts = provider.split(".")
    if provider == OVN_PROVIDER or len(parts) < 2:
        return None
    if len(parts) == 2:
        return Net(provider, provider, is_ovn=False)
    return Net(provider, ".".join(parts[:2]), interface=".".join(parts[3:]))


def allocated_providers(notes: Mapping[str, str]) -> tuple[str, ...]:
    """Providers that annotations say are allocated."""
    found = [key for key in notes if key.endswith(_ALLOCATED)]
    return tuple(key.removesuffix(_ALLOCATED) for key in found if notes[key] == "true")


@lru_cache(maxsize=1024)
def _written(provider: str) -> frozenset[str]:
    return frozenset(annotation(suffix, provider) for suffix in _WRITTEN)


def wishes(notes: Mapping[str, str], provider: str) -> dict[str, str]:
    """The annotations about one network that only users write, by suffix (spec B.1). Most pods have none: whoever asks
    for one of them then looks into an empty dict."""
    written, prefix = _written(provider), annotation("", provider)
    return {key[len(prefix) :]: notes[key] for key in notes if key not in written and key.startswith(prefix)}


def detached(notes: Mapping[str, str], nets: Iterable[Net]) -> dict[str, None]:
    """Annotations of networks that the pod is not attached to any more, to be removed (spec B.2)."""
    attached = [key for key in notes if key.endswith(_ALLOCATED) and key != NODE_ALLOCATED]
    if not attached:  # to the primary network alone, as nearly all
        return {}
    present = {OVN_PROVIDER, *(net.provider for net in nets)}
    gone = [p for p in allocated_providers(notes) if p not in present]
    return {key: None for key in notes if any(key.startswith(f"{p}.kubernetes.io/") for p in gone)}


def attached_subnet(reader: Reader, net: Net) -> str:
    """The subnet that a network's addresses come from when the pod names none, or ""."""
    names = reader.by("subnet-provider", net.subnet_provider)
    return names[0] if names else ""


def _by_provider(subnet: Subnet) -> tuple[str, ...]:
    return (subnet.spec.provider,) if subnet.spec.provider not in ("", OVN_PROVIDER) else ()


INDEXES = (Index("subnet-provider", "Subnet", _by_provider),)

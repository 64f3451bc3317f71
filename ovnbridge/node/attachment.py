"""What a pod's interface must look like: a pure function of the request, the pod, its subnet and this node.

Called by `cni/service` each time the pod, a subnet or the node changes while a request waits. The answer is an
`Attachment` (everything is known), `Pending` (the controller has not decided yet), or a `CniError` (it never will be).
Spec: node A4. Two rules differ from Kube-OVN's: a pod of another uid than the runtime's is not the pod that is asked
for, and address and gateway families are matched instead of counted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from ovnbridge.model.crd.subnet import Subnet
from ovnbridge.model.kube import Node, Pod
from ovnbridge.node.cni.request import INVALID_CONFIG, INVALID_POD, CniError, Request, Route, route_problem
from ovnbridge.node.cni.result import Address
from ovnbridge.node.names import DEFAULT_INTERFACE, OVN_PROVIDER, annotation, port_name

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_STATIC_POD_UIDS = ("kubernetes.io/config.hash", "kubernetes.io/config.mirror")


class Pending(msgspec.Struct, frozen=True):
    """Not decided yet; `stage` is Kube-OVN's name of the step that waits."""

    stage: str
    reason: str


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A pod interface, completely decided."""

    port: str
    """The iface-id: name of the logical switch port."""
    owner: str
    """Pod, or virtual machine, that the port belongs to."""
    namespace: str
    pod_uid: str
    provider: str
    subnet: str
    mac: str
    addresses: tuple[Address, ...]
    """With the gateway where this interface has the default route."""
    gateways: tuple[str, ...] = ()
    """Default routes to set, first the interconnection address of an underlay subnet."""
    probes: tuple[str, ...] = ()
    """Gateways that must answer before the pod starts."""
    probe_required: bool = True
    routes: tuple[Route, ...] = ()
    mtu: int = 0
    encap_ip: str = ""
    localnet: str = ""
    """Underlay subnet whose patch port must exist first."""
    ovn: bool = True
    """Whether the interface is ours; else another plug-in makes it and only asks for addresses."""
    underlay: bool = False
    migrating: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def ips(self) -> tuple[str, ...]:
        """The bare addresses."""
        return tuple(address.ip for address in self.addresses)


def decide(
    request: Request, pod: Pod | None, subnets: Mapping[str, Subnet], node: Node | None, *, mtu: int
) -> Attachment | Pending:
    """Decide the interface. Raises CniError when the request can never succeed."""
    fallback = _provider_subnet(request, subnets)
    if pod is None:
        return Pending("get-pod", f"pod {request.pod_key} is not known on this node")
    if request.pod_uid and not _same_pod(pod, request.pod_uid):
        return Pending("get-pod", f"pod {request.pod_key} has uid {pod.metadata.uid}, not {request.pod_uid}")
    if pod.metadata.deleting and pod.status.phase in ("Succeeded", "Failed"):
        raise CniError(INVALID_POD, f"pod {request.pod_key} has ended", stage="get-pod")
    _refuse_unsupported(request)
    prefix = request.provider
    several = annotation(f"{prefix}.{request.interface}", "ip_address") in pod.metadata.all_annotations()
    own = f"{prefix}.{request.interface}" if several else prefix

    def value(name: str) -> str:
        return pod.metadata.annotation(annotation(own, name))

    ip, cidr, mac = value("ip_address"), value("cidr"), value("mac_address")
    mac_only = not ip and not cidr and bool(mac) and value("allocated") == "true"
    if not ip and not mac_only:
        return Pending("wait-address", f"no address allocated to pod {request.pod_key} provider {request.provider}")
    try:
        addresses = () if mac_only else _addresses(ip, cidr)
        gateways = () if mac_only else _family_match(value("gateway"), addresses)
        mac = _mac(mac)
    except ValueError as error:
        return Pending("parse-address", f"invalid address annotations of pod {request.pod_key}: {error}")
    ovn = prefix.endswith(OVN_PROVIDER) and not request.address_only
    default_route = pod.metadata.annotation(annotation(prefix, "default_route"))
    is_default = default_route == "true" or (default_route != "false" and request.interface == DEFAULT_INTERFACE)
    routed = pod.metadata.annotation(annotation(prefix, "routed")) == "true"
    if is_default and prefix.endswith(OVN_PROVIDER) and not routed and not mac_only:
        return Pending("wait-route", f"route is not ready for pod {request.pod_key} provider {request.provider}")
    subnet = subnets.get(value("logical_switch")) or fallback
    owner = pod.metadata.annotation(annotation(own, "virtualmachine")) or request.pod
    attachment = Attachment(
        port=port_name(owner, request.namespace, prefix, request.interface if several else ""),
        owner=owner,
        namespace=request.namespace,
        pod_uid=pod.metadata.uid,
        provider=prefix,
        subnet=subnet.metadata.name if subnet else value("logical_switch"),
        mac=mac,
        addresses=_with_gateways(addresses, gateways) if is_default else addresses,
        gateways=gateways if is_default else (),
        ovn=ovn,
        mtu=mtu,
        migrating=bool(pod.metadata.annotation("kubevirt.io/migrationJobName")),
    )
    extra, warnings = _routes(pod.metadata.annotation(annotation(prefix, "routes")), request)
    attachment = msgspec.structs.replace(attachment, routes=extra, warnings=warnings)
    if not ovn:
        return attachment
    if subnet is None:
        name = value("logical_switch")
        return Pending("get-subnet", f"subnet {name} of pod {request.pod_key} is not known yet") if name else attachment
    activation = pod.metadata.annotation(annotation(prefix, "activation_strategy"))
    return _in_subnet(
        attachment,
        subnet,
        node,
        gateways=gateways,
        provider_network=value("provider_network"),
        check=not attachment.migrating and not activation,
    )


def _in_subnet(
    attachment: Attachment,
    subnet: Subnet,
    node: Node | None,
    *,
    gateways: tuple[str, ...],
    provider_network: str,
    check: bool,
) -> Attachment | Pending:
    """What the subnet adds: gateway check, MTU, tunnel address, underlay (spec A4.6)."""
    spec = subnet.spec
    underlay = bool(spec.vlan) and not spec.logical_gateway
    interconnection: tuple[str, ...] = ()
    if spec.u2o_interconnection:
        wanted = {address.version for address in attachment.addresses}
        interconnection = tuple(ip for ip in _split(subnet.status.u2o_interconnection_ip) if _version(ip) in wanted)
        if not interconnection and attachment.addresses:
            return Pending("u2o-address", f"subnet {subnet.metadata.name} has no interconnection address yet")
    mtu = attachment.mtu
    if spec.mtu > 0:
        mtu = spec.mtu
    elif provider_network and not spec.logical_gateway and not spec.u2o_interconnection:
        mtu = _provider_network_mtu(node, provider_network)
    encap_ip = _encap_ip(node, spec.node_network) if spec.node_network else ""
    return msgspec.structs.replace(
        attachment,
        gateways=(interconnection or attachment.gateways) if attachment.gateways else (),
        probes=(interconnection + gateways) if check else (),
        probe_required=not spec.disable_gateway_check,
        mtu=mtu,
        encap_ip=encap_ip,
        localnet=subnet.metadata.name if underlay else "",
        underlay=underlay,
    )


def connected_routes(attachment: Attachment) -> tuple[Route, ...]:
    """All routes of the interface as the CNI result lists them: connected, default, extra (spec A6)."""
    if not attachment.ovn:
        return attachment.routes
    connected = tuple(Route(dst=str(ipaddress.ip_network(a.cidr, strict=False))) for a in attachment.addresses)
    defaults = tuple(Route(dst="::/0" if _version(gw) == 6 else "0.0.0.0/0", gw=gw) for gw in attachment.gateways)
    return connected + defaults + attachment.routes


def _provider_subnet(request: Request, subnets: Mapping[str, Subnet]) -> Subnet | None:
    """Any subnet of the provider; spec A4.1."""
    if request.provider == OVN_PROVIDER:
        return None
    bare = request.provider.removesuffix(f".{request.interface}")
    for name in sorted(subnets):
        if subnets[name].spec.provider in (request.provider, bare):
            return subnets[name]
    raise CniError(INVALID_CONFIG, f"provider {request.provider} is not bound to any subnet", stage="provider")


def _same_pod(pod: Pod, uid: str) -> bool:
    """Whether the runtime's uid means this pod; a static pod has its own, which its mirror carries as annotation."""
    return uid == pod.metadata.uid or any(pod.metadata.annotation(name) == uid for name in _STATIC_POD_UIDS)


def _refuse_unsupported(request: Request) -> None:
    if request.device_id:
        raise CniError(INVALID_CONFIG, "SR-IOV interfaces (deviceID) are not supported yet", stage="validate-request")
    if request.vhost_user_socket_volume:
        raise CniError(INVALID_CONFIG, "vhost-user interfaces are not supported yet", stage="validate-request")


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _version(ip: str) -> int:
    return ipaddress.ip_address(ip).version


def _addresses(ip: str, cidr: str) -> tuple[Address, ...]:
    networks = {n.version: n for n in (ipaddress.ip_network(part, strict=False) for part in _split(cidr))}
    found = []
    for part in _split(ip):
        address = ipaddress.ip_address(part)
        if address.version not in networks:
            raise ValueError(f"{part} has no network in {cidr!r}")
        found.append(Address(ip=str(address), cidr=str(networks[address.version])))
    return tuple(found)


def _family_match(gateway: str, addresses: Iterable[Address]) -> tuple[str, ...]:
    """Gateways of the families that are assigned."""
    wanted = {address.version for address in addresses}
    return tuple(part for part in _split(gateway) if _version(part) in wanted)


def _with_gateways(addresses: tuple[Address, ...], gateways: tuple[str, ...]) -> tuple[Address, ...]:
    by_family = {_version(gateway): gateway for gateway in gateways}
    return tuple(Address(ip=a.ip, cidr=a.cidr, gateway=by_family.get(a.version, "")) for a in addresses)


def _mac(text: str) -> str:
    octets = text.lower().split(":")
    if len(octets) != 6 or any(len(o) != 2 or any(c not in "0123456789abcdef" for c in o) for o in octets):
        raise ValueError(f"invalid MAC address {text!r}")
    return ":".join(octets)


def _routes(text: str, request: Request) -> tuple[tuple[Route, ...], tuple[str, ...]]:
    """Request routes, then the annotation's; a route that the kernel could not take is skipped with a warning."""
    try:
        annotated = msgspec.json.decode(text, type=tuple[Route, ...]) if text else ()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CniError(INVALID_POD, "invalid routes", str(error), stage="parse-routes") from None
    warnings = tuple(f"route {r.dst or 'default'} via {r.gw}: {p}" for r in annotated if (p := route_problem(r)))
    good = tuple(route for route in annotated if not route_problem(route))
    return tuple(dict.fromkeys(request.routes + good)), warnings


def _provider_network_mtu(node: Node | None, provider_network: str) -> int:
    text = node.metadata.label(f"{provider_network}.provider-network.kubernetes.io/mtu") if node else ""
    if not text.isascii() or not text.isdigit() or int(text) <= 0:
        raise CniError(
            INVALID_POD, f"failed to get MTU of provider network {provider_network}: label is {text!r}", stage="mtu"
        )
    return int(text)


def node_networks(node: Node | None) -> dict[str, str]:
    """The node's further tunnel addresses by network name; what is malformed is left out."""
    text = node.metadata.annotation(annotation(OVN_PROVIDER, "node_networks")) if node else ""
    try:
        raw = msgspec.json.decode(text, type=dict[str, str]) if text else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    found: dict[str, str] = {}
    for name, ip in raw.items():
        try:
            found[name] = str(ipaddress.ip_address(ip.strip()))
        except ValueError:
            continue
    return found


def _encap_ip(node: Node | None, network: str) -> str:
    ip = node_networks(node).get(network, "")
    if not ip:
        raise CniError(
            INVALID_POD, "failed to get encap IP for node network", f"node network {network}", stage="encap-ip"
        )
    return ip

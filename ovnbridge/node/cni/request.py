"""CNI requests as typed values: decoded from the shim's protocol or from Kube-OVN's own, checked, never trusted.

Fed by `server`; `service` works only with `Request`. Whatever is wrong with the input ends in a `CniError` with the
code that the CNI specification has for it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ovnbridge.node.names import DEFAULT_INTERFACE, OVN_PROVIDER, valid_link_name

VERSIONS: Final = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
COMMANDS: Final = ("ADD", "DEL", "CHECK", "STATUS", "GC")
PLUGIN_TYPE: Final = "kube-ovn"

INCOMPATIBLE_VERSION: Final = 1
INVALID_ENVIRONMENT: Final = 4
IO_FAILURE: Final = 5
DECODING_FAILURE: Final = 6
INVALID_CONFIG: Final = 7
TRY_AGAIN_LATER: Final = 11
PLUGIN_NOT_AVAILABLE: Final = 50
FAILED: Final = 100
NO_ADDRESS: Final = 101
NOT_ROUTED: Final = 102
PORT_NOT_READY: Final = 103
GATEWAY_UNREACHABLE: Final = 104
ADDRESS_CONFLICT: Final = 105
INVALID_POD: Final = 106
INTERRUPTED: Final = 107
CHECK_FAILED: Final = 108

_CONTAINER_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")
_DNS_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.\-]{0,251}[a-z0-9])?")
_PROVIDER: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._\-]{0,251}[A-Za-z0-9])?")


class CniError(Exception):
    """A request that fails; the runtime sees code, message and details."""

    def __init__(self, code: int, message: str, details: str = "", *, stage: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.stage = stage
        """Where it failed, for the pod's event (spec A4.9)."""


class Route(msgspec.Struct, frozen=True):
    """A route of the pod; an empty `dst` is the default route of the gateway's family."""

    dst: str = ""
    gw: str = ""


class Dns(msgspec.Struct, frozen=True):
    """`dns` of a network configuration and of a result."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request about one interface of one sandbox."""

    command: str
    container_id: str = ""
    netns: str = ""
    interface: str = DEFAULT_INTERFACE
    pod: str = ""
    namespace: str = ""
    pod_uid: str = ""
    cni_type: str = PLUGIN_TYPE
    cni_version: str = "0.3.1"
    provider: str = OVN_PROVIDER
    routes: tuple[Route, ...] = ()
    dns: Dns = Dns()
    device_id: str = ""
    vf_driver: str = ""
    vhost_user_socket_volume: str = ""
    vhost_user_socket: str = ""
    vhost_user_consumption: str = ""

    @property
    def sandbox(self) -> tuple[str, str]:
        """What the request is about: container id and interface name."""
        return self.container_id, self.interface

    @property
    def pod_key(self) -> str:
        """`namespace/name` of the pod."""
        return f"{self.namespace}/{self.pod}"

    @property
    def address_only(self) -> bool:
        """Whether another plug-in makes the interface and asks only for addresses (IPAM mode)."""
        return self.cni_type != PLUGIN_TYPE


class _Ipam(msgspec.Struct, frozen=True):
    type: str = ""
    server_socket: str = ""
    provider: str = ""
    routes: tuple[Route, ...] | None = None


class _NetConf(msgspec.Struct, frozen=True, rename={"cni_version": "cniVersion", "device_id": "deviceID"}):
    cni_version: str = "0.1.0"
    name: str = ""
    type: str = ""
    server_socket: str = ""
    provider: str = ""
    routes: tuple[Route, ...] | None = None
    ipam: _Ipam | None = None
    dns: Dns | None = None
    device_id: str = ""
    vf_driver: str = ""
    vhost_user_socket_volume_name: str = ""
    vhost_user_socket_name: str = ""
    vhost_user_socket_consumption: str = ""


class _Legacy(msgspec.Struct, frozen=True, rename={"device_id": "deviceID"}):
    cni_type: str = ""
    pod_name: str = ""
    pod_namespace: str = ""
    container_id: str = ""
    net_ns: str = ""
    if_name: str = ""
    provider: str = ""
    routes: tuple[Route, ...] | None = None
    dns: Dns | None = None
    vf_driver: str = ""
    device_id: str = ""
    vhost_user_socket_volume_name: str = ""
    vhost_user_socket_name: str = ""
    vhost_user_socket_consumption: str = ""


_decode_conf = msgspec.json.Decoder(_NetConf).decode
_decode_legacy = msgspec.json.Decoder(_Legacy).decode


def cni_version_of(body: bytes) -> str:
    """The version to answer in; what cannot be read is answered as the oldest that has error objects."""
    try:
        version = msgspec.json.decode(body)["cniVersion"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError, RecursionError):
        return "0.3.1"
    return version if version in VERSIONS else "0.3.1"


def parse_args(text: str) -> dict[str, str]:
    """CNI_ARGS, `KEY=value;…`. Raises CniError for anything else."""
    pairs: dict[str, str] = {}
    for part in text.split(";"):
        if not part:
            continue
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise CniError(INVALID_ENVIRONMENT, f"invalid CNI_ARGS: {part[:64]!r} is not KEY=value")
        pairs[key] = value
    return pairs


def from_shim(headers: Mapping[str, str], body: bytes) -> Request:
    """The request of our shim: environment in headers, network configuration in the body. Raises CniError."""
    command = headers.get("Cni-Command", "")
    if command not in COMMANDS:
        raise CniError(INVALID_ENVIRONMENT, f"unknown CNI_COMMAND {command[:32]!r}")
    conf = _decode(_decode_conf, body, "network configuration")
    if conf.cni_version not in VERSIONS:
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"incompatible CNI version {conf.cni_version[:32]!r}",
            f"supported versions: {', '.join(VERSIONS)}",
        )
    if command in ("STATUS", "GC"):
        return Request(command=command, cni_version=conf.cni_version)
    args = parse_args(headers.get("Cni-Args", ""))
    for name in ("K8S_POD_NAME", "K8S_POD_NAMESPACE"):
        if not args.get(name):
            raise CniError(INVALID_CONFIG, f"{name} is required in CNI_ARGS")
    delegated = conf.ipam if conf.type != PLUGIN_TYPE and conf.ipam is not None else None
    provider = delegated.provider if delegated else conf.provider
    routes = delegated.routes if delegated else conf.routes
    return _checked(
        Request(
            command=command,
            container_id=headers.get("Cni-Containerid", ""),
            netns=headers.get("Cni-Netns", ""),
            interface=headers.get("Cni-Ifname", ""),
            pod=args["K8S_POD_NAME"],
            namespace=args["K8S_POD_NAMESPACE"],
            pod_uid=args.get("K8S_POD_UID", ""),
            cni_type=conf.type or PLUGIN_TYPE,
            cni_version=conf.cni_version,
            provider=provider or OVN_PROVIDER,
            routes=routes or (),
            dns=conf.dns or Dns(),
            device_id=conf.device_id,
            vf_driver=conf.vf_driver,
            vhost_user_socket_volume=conf.vhost_user_socket_volume_name,
            vhost_user_socket=conf.vhost_user_socket_name,
            vhost_user_consumption=conf.vhost_user_socket_consumption,
        )
    )


def from_legacy(command: str, body: bytes) -> Request:
    """A request of Kube-OVN's own plug-in (spec A3), which stays on hosts during a take-over. Raises CniError."""
    wire = _decode(_decode_legacy, body, "request")
    return _checked(
        Request(
            command=command,
            container_id=wire.container_id,
            netns=wire.net_ns,
            interface=wire.if_name,
            pod=wire.pod_name,
            namespace=wire.pod_namespace,
            cni_type=wire.cni_type or PLUGIN_TYPE,
            provider=wire.provider or OVN_PROVIDER,
            routes=wire.routes or (),
            dns=wire.dns or Dns(),
            device_id=wire.device_id,
            vf_driver=wire.vf_driver,
            vhost_user_socket_volume=wire.vhost_user_socket_volume_name,
            vhost_user_socket=wire.vhost_user_socket_name,
            vhost_user_consumption=wire.vhost_user_socket_consumption,
        )
    )


def _decode(decoder: Any, body: bytes, what: str) -> Any:
    try:
        return decoder(body)
    except msgspec.ValidationError as error:
        raise CniError(INVALID_CONFIG, f"invalid {what}", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CniError(DECODING_FAILURE, f"cannot decode {what}", str(error)) from None


def _checked(request: Request) -> Request:
    if not _CONTAINER_ID.fullmatch(request.container_id):
        raise CniError(INVALID_ENVIRONMENT, "invalid CNI_CONTAINERID")
    if not request.interface or not valid_link_name(request.interface):
        raise CniError(INVALID_ENVIRONMENT, "invalid CNI_IFNAME")
    if not _DNS_NAME.fullmatch(request.pod) or not _DNS_NAME.fullmatch(request.namespace):
        raise CniError(INVALID_CONFIG, "invalid pod name or namespace")
    if not _PROVIDER.fullmatch(request.provider):
        raise CniError(INVALID_CONFIG, "invalid provider")
    if request.command != "DEL" and not request.netns.startswith("/"):
        raise CniError(INVALID_ENVIRONMENT, "CNI_NETNS must be an absolute path")
    if "\0" in request.netns or len(request.netns) > 4095:
        raise CniError(INVALID_ENVIRONMENT, "invalid CNI_NETNS")
    for route in request.routes if request.command == "ADD" else ():
        problem = route_problem(route)
        if problem:
            raise CniError(INVALID_CONFIG, f"invalid route: {problem}")
    return request


def route_problem(route: Route) -> str:
    """What is wrong with a route, empty when nothing is."""
    try:
        gateway = ipaddress.ip_address(route.gw) if route.gw else None
        destination = ipaddress.ip_network(route.dst, strict=False) if route.dst else None
    except ValueError as error:
        return str(error)
    if gateway is None and destination is None:
        return "neither destination nor gateway"
    if gateway is not None and destination is not None and gateway.version != destination.version:
        return f"{route.dst} via {route.gw} mixes address families"
    return ""

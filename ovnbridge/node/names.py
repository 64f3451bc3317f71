"""Names that the node role gives to things or finds them by (spec node A4, A5, control-plane part B). Pure."""

from __future__ import annotations

import hashlib
from typing import Final

OVN_PROVIDER: Final = "ovn"
DEFAULT_INTERFACE: Final = "eth0"
INTEGRATION_BRIDGE: Final = "br-int"
NODE_INTERFACE: Final = "ovn0"
ANNOTATION_DOMAIN: Final = "kubernetes.io"

_LINK_NAME_LIMIT: Final = 15
_CONTAINER_ID_PART: Final = 12
_SHORTEST_ID_PART: Final = 4


def annotation(provider: str, name: str) -> str:
    """The per-provider annotation key, such as `ovn.kubernetes.io/ip_address`."""
    return f"{provider}.{ANNOTATION_DOMAIN}/{name}"


def nic_names(container_id: str, interface: str) -> tuple[str, str]:
    """Host and container name of the pair that becomes `interface` of a sandbox.

    As Kube-OVN names them, so that interfaces made by it are found after a take-over. Where its rule would leave fewer
    than four characters of the container id (interface names beyond eight), pods could meet in one name: there the
    id part is a digest of both.
    """
    if interface == DEFAULT_INTERFACE:
        base = container_id[:_CONTAINER_ID_PART]
        return f"{base}_h", f"{base}_c"
    if interface.startswith("pod") and len(interface) == 14:
        interface = interface[3:-4]
    room = _CONTAINER_ID_PART - len(interface)
    if room < _SHORTEST_ID_PART:
        base = hashlib.sha256(f"{container_id}/{interface}".encode()).hexdigest()[:_CONTAINER_ID_PART]
        return f"{base}_h", f"{base}_c"
    return f"{container_id[:room]}_{interface}_h", f"{container_id[:room]}_{interface}_c"


def port_name(pod: str, namespace: str, provider: str, interface: str = "") -> str:
    """Name of the pod's logical switch port, which is the OVS interface's iface-id.

    `interface` is given only when several interfaces of the pod share one provider.
    """
    name = f"{pod}.{namespace}" if provider == OVN_PROVIDER else f"{pod}.{namespace}.{provider}"
    return f"{name}.{interface}" if interface else name


def localnet_patch_port(subnet: str) -> str:
    """The OVS patch port through which an underlay subnet reaches its physical network."""
    return f"patch-localnet.{subnet}-to-br-int"


def valid_link_name(name: str) -> bool:
    """Whether the kernel takes `name` for a network interface."""
    return (
        0 < len(name.encode()) <= _LINK_NAME_LIMIT
        and name not in (".", "..")
        and not any(c == "/" or c == ":" or c.isspace() or c == "\0" for c in name)
    )

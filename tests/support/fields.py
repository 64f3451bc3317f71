"""Fields of custom resources: which there are, where their effects are looked for, and objects that show them."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from ovnbridge.model.crd.core import LabelSelector
from ovnbridge.model.crd.kinds import KINDS
from tests.support.cluster import Cluster, Json, ip, merged, namespace, node, pod, subnet, underlay, vpc

BUILT: Final = ("Vpc", "Subnet", "IP", "IPPool", "Vip", "Vlan", "ProviderNetwork")
"""Kinds of which the control plane is built."""

Look = Callable[[Cluster], Any]
ABSENT: Final = "absent"

# -- which there are


def _structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for argument in typing.get_args(kind):
        if not isinstance(argument, msgspec.Meta):
            yield from _structs(argument)


def paths(holder: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """Wire paths of all fields, at every depth; a label selector is one."""
    for found in msgspec.structs.fields(holder):
        path = prefix + found.encode_name
        yield path
        for inner in _structs(found.type):
            if inner is not LabelSelector:
                yield from paths(inner, f"{path}.")


def part(kind: str, name: str) -> type[msgspec.Struct]:
    (found,) = _structs(typing.get_type_hints(KINDS[kind].type, include_extras=True)[name])
    return found


# -- where to look


def keys(table: str, start: Any = None) -> Look:
    """Natural keys of a table's rows; with `start` only those of one parent or name."""

    def look(cluster: Cluster) -> Any:
        found = {key for known, key in cluster.memory.row_keys() if known == table}
        return {key for key in found if start is None or key == start or (isinstance(key, tuple) and key[0] == start)}

    return look


def column(table: str, key: Any, name: str, entry: str = "") -> Look:
    """A column of a row, or one entry of it; `ABSENT` when there is no such row or entry."""

    def look(cluster: Cluster) -> Any:
        if (table, key) not in cluster.memory.row_keys():
            return ABSENT
        value = cluster.row(table, key)[name]
        return value.get(entry, ABSENT) if entry else value

    return look


def field(kind: str, key: str, path: str) -> Look:
    """What an object says, by dots (annotations: `ovn.kubernetes.io/` is `@`); `ABSENT` when it does not."""

    def look(cluster: Cluster) -> Any:
        value: Any = cluster.api.objects.get((kind, key), {})
        for part in path.split("."):
            name = f"ovn.kubernetes.io/{part[1:]}" if part.startswith("@") else part
            value = value.get(name, ABSENT) if isinstance(value, dict) else ABSENT
        return value

    return look


def warned(kind: str, key: str) -> Look:
    """Whether there is a warning on an object."""
    return lambda cluster: any(getattr(i, "type", "") == "Warning" for i in cluster.state.reactor.items(kind, key))


# -- objects

NODES: Final = (
    node("n-1", "192.168.0.11", chassis="c-1", labels={"gw": "yes", "ovn.kubernetes.io/external-gw": "true"}),
    node("n-2", "192.168.0.12", chassis="c-2", labels={"gw": "no"}),
    ip("n-1", "join", "100.64.0.2"),
    ip("n-2", "join", "100.64.0.3"),
)
BASE: Final = (namespace("app", team="red"), *NODES, *underlay("v10", 10), *underlay("v20", 20, "net2"))
V1: Final = vpc("v1", namespaces=["app"])
S1: Final = subnet("s1", cidrBlock="10.17.0.0/24", vpc="v1")
S2: Final = subnet("s2", cidrBlock="10.18.0.0/24")
DUAL: Final = subnet("s2", cidrBlock="10.18.0.0/24,fd18::/64")
U2O: Final = subnet("s2", cidrBlock="10.18.0.0/24", vlan="v10", u2oInterconnection=True)
CENTRAL: Final = subnet("s2", cidrBlock="10.18.0.0/24", gatewayType="centralized", gatewayNode="n-1,n-2")
EXTERNAL: Final = (
    subnet("external", cidrBlock="172.16.0.0/16", vlan="v10"),
    subnet("e2", cidrBlock="172.17.0.0/16", vlan="v20"),
    *(
        {
            "kind": "OvnEip",
            "metadata": {"name": f"v1-{place}"},
            "spec": {"externalSubnet": place, "type": "lrp"},
            "status": {"v4Ip": address, "type": "lrp", "ready": True},
        }
        for place, address in (("external", "172.16.0.9"), ("e2", "172.17.0.9"))
    ),
)
POD: Final = pod("app/p", "n-1", logical_switch="s2")
POOL: Final = {"kind": "IPPool", "metadata": {"name": "pool"}, "spec": {"subnet": "s2", "ips": ["10.18.0.32/28"]}}
VIP: Final = {"kind": "Vip", "metadata": {"name": "vip"}, "spec": {"subnet": "s2"}}
RESERVED: Final = {
    "kind": "IP",
    "metadata": {"name": "p.app"},
    "spec": {"subnet": "s2", "podName": "p", "namespace": "app"},
}


def made(base: Json, **spec: Any) -> Json:
    return merged(base, {"spec": spec})


PEER = {"remoteVpc": "v2", "localConnectIP": "169.254.0.1/30"}
BFD = {"enabled": True, "ip": "10.255.255.255"}
NAT_RULE = {"match": {"srcIPs": "10.18.0.4", "dstIPs": "192.0.2.0/24"}, "action": "forward"}
NAT = made(S2, natOutgoing=True, natOutgoingPolicyRules=[NAT_RULE])

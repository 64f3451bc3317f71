"""Objects that nobody should write, for whoever must stand them: the pure controller and the running one.

Every kind and annotation that the controller reads, with values that are as the schema says and no sane person writes:
junk where an address belongs, other objects' names, control characters, digits of other scripts, a hundred thousand
characters, JSON nested without end, dates, numbers at the edge of what fits, selectors that mean nothing.
"""

from __future__ import annotations

import random
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from ovnbridge.model.crd.address import IPPoolSpec, IPSpec, VipSpec
from ovnbridge.model.crd.ovn_nat import OvnEipSpec
from ovnbridge.model.crd.subnet import SubnetSpec
from ovnbridge.model.crd.underlay import ProviderNetworkSpec, VlanSpec
from ovnbridge.model.crd.vpc import VpcSpec
from tests.support.cluster import Json

SPECS: dict[str, type[msgspec.Struct]] = {
    "Subnet": SubnetSpec,
    "Vpc": VpcSpec,
    "Vlan": VlanSpec,
    "ProviderNetwork": ProviderNetworkSpec,
    "IPPool": IPPoolSpec,
    "Vip": VipSpec,
    "IP": IPSpec,
    "OvnEip": OvnEipSpec,
}
STRINGS = (
    "", " ", "x", "ovn", "ovn-default", "ovn-cluster", "join", "healthy", "nobody", "10.16.0.0/16", "10.16.0.2",
    "10.70.0.0/24", "10.70.0.0/33", "10.71.0.0/24,fd71::/64", "10.71.0.0/24,10.72.0.0/24", "fd71::/64", "FD71::/64",
    "10.70.0.1", "10.70.0.1..10.70.0.0", "10.70.0.5..10.70.0.9", "10.70.0.5..fd71::1", "..", ",", ",,10.70.0.3,",
    "0.0.0.0/0", "::/0", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255", "999.1.1.1", "1e9",
    "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "zz:zz", "key: value", "a=b,c", "lease_time=,router=",
    "ip4.src == 10.0.0.0/8", 'ip4.src == $nobody && "', "reroute", "drop", "allow-related", "policySrc",
    "from-lport", "to-lport", "centralized", "distributed", "node-that-is-not", "n-1", "n-1:10.0.0.1,n-2:x",
    "a" * 300, "💥", "\u0000", "../../etc", "-1", "\x1b[31mred", "\u202eabc", "a\nb", "a\tb", "\x7f", "１２", "٣", "²",
    "10.70.0.1%eth0", "fe80::1%eth0", "::ffff:10.0.0.1", "::ffff:10.0.0.0/120", "10.70.0.0/24/24",
    "010.070.000.001", "0x0a.1.1.1", "10.70", "1e400", "2026-01-01T00:00:00Z", "true", "null", "{}", "[]",
    "10.70.0.5,10.70.0.5", "10.70.0.0/24,10.70.0.0/24", "10.70.0.9/24", "10.70.0.5..10.70.0.5..10.70.0.5",
    "0.0.0.0..255.255.255.255", "10.70.0.0/0", "fd00::/0", "1.2.3.4/32", "fd00::1/128", "-", "--", "$", "@pg",
    "&& ||", "ip4.src == {", "\\", "'", "%s", "{0}", "${x}", "a/b", "a/b/c", "a@b", "/", "@", "a/", "/a", "a b",
    ".", "a..b", "A", "a_b", "169.254.0.1/30", "10.16.0.1", "100.64.0.1", "sane", "apart", "hostile-1", "hostile-2",
    "hostile-3", "key:value:more", ":", "::", "=", "a=", "lease_time=99999999999999999999", "mtu=x,mtu=y",
    "server_id=", "router=10.0.0.1,router=10.0.0.2",
    "[" * 3000, '{"a":' * 3000, "a" * 253, ("a" * 63 + ".") * 3 + "a" * 61, "x" * 100_000, "\N{GRINNING FACE}" * 300,
)  # fmt: skip
NUMBERS = (0, 1, -1, 4095, 4096, 32767, 32768, 65536, 2**31, -(2**31), 2**53, 2**63 - 1, -(2**63))
NOTES = (
    "logical_switch", "ip_address", "mac_address", "ip_pool", "cidr", "gateway", "ip_family", "ingress_rate",
    "egress_rate", "ingress_burst", "egress_burst", "port_security", "security_groups", "aaps", "vip", "port_vips",
    "default_network", "north_gateway", "network_policy_for", "layer2_forward", "pod_nic_type", "dhcpv4_options",
    "dhcpv6_options", "dhcp_v4_options", "allocated", "routed", "attachmentprovider", "eip", "snat", "exclude_ips",
    "chassis", "port_name",
)  # fmt: skip
NETWORKS = (
    '[{"name":"nad-0","namespace":"a","ips":["x"],"mac":"y","interface":"z"}]', "a/nad-1@" + "e" * 50, "nad-2,nad-2",
    '[{"name":""}]', "[1]", '{"name":"nad-0","ips":[""]}', "a/nad-0", "a/nad-1,nad-2@x", "gone/nad",
)  # fmt: skip
CONFIGS = (
    "", "{", "[]", "null", "1", '"x"', "{}", '{"type":"kube-ovn"}', '{"type":"kube-ovn","provider":"nad-0.a.ovn"}',
    '{"plugins":"x"}', '{"plugins":7}', '{"plugins":[1,null,{"type":"kube-ovn","provider":7}]}', "[" * 20000,
    '{"ipam":{"type":"kube-ovn","provider":["x"]}}', '{"plugins":[{"ipam":"x"}]}', '{"a":' * 20000,
)  # fmt: skip
LABELS = ("ip_reserved", "subnet", "external-gw", "vpc_external", "node-name")


def hostile(kind: Any, rng: random.Random) -> Any:
    """A value of the type, as JSON, that no sane person writes."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return hostile(arguments[0], rng)
    if origin is tuple:
        return [hostile(arguments[0], rng) for _ in range(rng.randrange(4))]
    if origin is dict or (origin is not None and issubclass(typing.cast(type, origin), typing.Mapping)):
        return {rng.choice(STRINGS): hostile(arguments[1], rng) for _ in range(rng.randrange(3))}
    if arguments:  # a union with None
        return hostile(next(a for a in arguments if a is not type(None)), rng)
    if kind is bool:
        return rng.random() < 0.5
    if kind is int:
        return rng.choice(NUMBERS)
    if kind is str:
        return rng.choice(STRINGS)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = msgspec.structs.fields(kind)
        return {f.encode_name: hostile(hints[f.name], rng) for f in fields if rng.random() < 0.4}
    return None


def _meta(rng: random.Random, name: str, space: str = "") -> Json:
    found: Json = {"name": name} | ({"namespace": space} if space else {})
    if rng.random() < 0.3:
        found["labels"] = {f"ovn.kubernetes.io/{rng.choice(LABELS)}": rng.choice(("", "true", "false", "a", "n-1"))}
    if rng.random() < 0.1:
        kind = rng.choice(("StatefulSet", "Subnet", "Widget"))
        owner = {
            "apiVersion": rng.choice(("apps/v1", "x/v1")),
            "kind": kind,
            "name": rng.choice(("x", "a" * 253)),
            "uid": "u",
        }
        found["ownerReferences"] = [owner]
    return found


def _notes(rng: random.Random, *providers: str) -> Json:
    return {f"{rng.choice(providers)}.kubernetes.io/{note}": rng.choice(STRINGS) for note in rng.sample(NOTES, k=3)}


def _pod(rng: random.Random, name: str) -> Json:
    notes = _notes(rng, "ovn", "ovn", "ovn", "nad-0.a.ovn", "x.y")
    if rng.random() < 0.3:
        notes["k8s.v1.cni.cncf.io/networks"] = rng.choice(STRINGS + NETWORKS)
    if rng.random() < 0.05:
        notes["v1.multus-cni.io/default-network"] = rng.choice(STRINGS)
    meta = _meta(rng, name, "a") | {"annotations": notes}
    spec = {"nodeName": rng.choice(("n-1", "n-2", "nowhere", ""))}
    return {"kind": "Pod", "metadata": meta, "spec": spec, "status": {"phase": ""}}


def _custom(rng: random.Random, kind: str, name: str, number: int) -> Json:
    spec = hostile(SPECS[kind], rng)
    sane = {
        "Subnet": {"cidrBlock": f"10.{80 + number % 100}.0.0/24"},
        "Vip": {"subnet": "healthy"},
        "IPPool": {"subnet": "healthy", "ips": [f"10.30.0.{100 + number % 100}"]},
    }
    if kind in sane and rng.random() < 0.7:
        # Most of it makes sense, so that more than the first check is met.
        keep = rng.sample(sorted(spec), k=min(rng.randrange(5), len(spec)))
        spec = {field: spec[field] for field in keep} | sane[kind]
    return {"kind": kind, "metadata": _meta(rng, name), "spec": spec}


def army(seed: int, count: int) -> Iterator[Json]:
    """So many objects, always the same for a seed; they name each other, the healthy ones, and nobody."""
    rng = random.Random(seed)
    kinds = [*sorted(SPECS), "Pod", "Pod", "Namespace", "NetworkAttachmentDefinition", "Node"]
    for number in range(count):
        kind = rng.choice(kinds)
        name = f"hostile-{number}" if rng.random() < 0.9 else f"{'h' * 240}.b.c{number}"
        if kind in SPECS:
            yield _custom(rng, kind, name, number)
        elif kind == "Pod":
            yield _pod(rng, name)
        elif kind == "NetworkAttachmentDefinition":
            meta = _meta(rng, f"nad-{number % 4}", "a")
            yield {"kind": kind, "metadata": meta, "spec": {"config": rng.choice(CONFIGS)}}
        else:
            name = name[:63].replace(".", "-") if kind == "Namespace" else name
            meta = _meta(rng, name) | {"annotations": _notes(rng, "ovn")}
            yield {"kind": kind, "metadata": meta} | ({"status": _node_status(rng)} if kind == "Node" else {})


def _node_status(rng: random.Random) -> Json:
    return {
        "addresses": [{"type": rng.choice(("InternalIP", "x")), "address": rng.choice(STRINGS)}],
        "conditions": [{"type": "Ready", "status": rng.choice(("True", "False", "x"))}],
    }

"""200 hostile objects: each is accepted whole or refused with a message on it, and what is healthy does not notice."""

from __future__ import annotations

import random
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ovnbridge.engine.items import Event, Status
from ovnbridge.model.crd.address import IPPoolSpec, IPSpec, VipSpec
from ovnbridge.model.crd.subnet import SubnetSpec
from ovnbridge.model.crd.underlay import ProviderNetworkSpec, VlanSpec
from ovnbridge.model.crd.vpc import VpcSpec
from tests.support.cluster import _KINDS, Cluster, Json, key_of, namespace, node, pod, subnet, vpc

SPECS: dict[str, type[msgspec.Struct]] = {
    "Subnet": SubnetSpec,
    "Vpc": VpcSpec,
    "Vlan": VlanSpec,
    "ProviderNetwork": ProviderNetworkSpec,
    "IPPool": IPPoolSpec,
    "Vip": VipSpec,
    "IP": IPSpec,
}
STRINGS = (
    "",
    " ",
    "x",
    "ovn",
    "ovn-default",
    "ovn-cluster",
    "join",
    "healthy",
    "nobody",
    "10.16.0.0/16",
    "10.16.0.2",
    "10.70.0.0/24",
    "10.70.0.0/33",
    "10.71.0.0/24,fd71::/64",
    "10.71.0.0/24,10.72.0.0/24",
    "fd71::/64",
    "FD71::/64",
    "10.70.0.1",
    "10.70.0.1..10.70.0.0",
    "10.70.0.5..10.70.0.9",
    "10.70.0.5..fd71::1",
    "..",
    ",",
    ",,10.70.0.3,",
    "0.0.0.0/0",
    "::/0",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255",
    "999.1.1.1",
    "1e9",
    "00:00:00:00:00:00",
    "ff:ff:ff:ff:ff:ff",
    "zz:zz",
    "key: value",
    "a=b,c",
    "lease_time=,router=",
    "ip4.src == 10.0.0.0/8",
    'ip4.src == $nobody && "',
    "reroute",
    "drop",
    "allow-related",
    "policySrc",
    "from-lport",
    "to-lport",
    "centralized",
    "distributed",
    "node-that-is-not",
    "n-1",
    "n-1:10.0.0.1,n-2:x",
    "a" * 300,
    "💥",
    "\u0000",
    "../../etc",
    "-1",
)
NUMBERS = (0, 1, -1, 4095, 4096, 32767, 32768, 65536, 2**31, -(2**31))
NOTES = (
    "logical_switch",
    "ip_address",
    "mac_address",
    "ip_pool",
    "cidr",
    "gateway",
    "ip_family",
    "ingress_rate",
    "port_security",
    "security_groups",
    "aaps",
    "port_vips",
    "default_network",
    "north_gateway",
    "network_policy_for",
    "layer2_forward",
    "pod_nic_type",
    "dhcpv4_options",
    "allocated",
    "attachmentprovider",
)


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


def army(seed: int, count: int) -> Iterator[Json]:
    rng = random.Random(seed)
    kinds = sorted(kind for kind in SPECS if kind in _KINDS)
    for number in range(count):
        name = f"hostile-{number}"
        choice = rng.randrange(len(kinds) + 2)
        if choice < len(kinds):
            spec = hostile(SPECS[kinds[choice]], rng)
            if kinds[choice] == "Subnet" and rng.random() < 0.7:
                # Most of it makes sense, so that more than the first check is met.
                spec["cidrBlock"] = f"10.{80 + number % 100}.0.0/24"
                keep = rng.sample(sorted(spec), k=min(4, len(spec)))
                spec = {field: spec[field] for field in {*keep, "cidrBlock"}}
            yield {"kind": kinds[choice], "metadata": {"name": name}, "spec": spec}
        else:
            notes = {note: rng.choice(STRINGS) for note in rng.sample(NOTES, k=3)}
            if choice == len(kinds):
                yield pod(f"a/{name}", rng.choice(("n-1", "n-2", "nowhere", "")), **notes)
            else:
                prefixed = {f"ovn.kubernetes.io/{note}": value for note, value in notes.items()}
                yield {"kind": "Namespace", "metadata": {"name": name, "annotations": prefixed}}


def healthy() -> Cluster:
    cluster = Cluster()
    cluster.apply(
        namespace("a"),
        node("n-1", "192.168.0.11"),
        node("n-2", "192.168.0.12"),
        vpc("sane"),
        subnet("healthy", cidrBlock="10.30.0.0/24", namespaces=["a"]),
        subnet("apart", vpc="sane", cidrBlock="10.30.0.0/24", namespaces=["b"]),
        *(pod(f"a/p{number}", f"n-{number % 2 + 1}") for number in range(6)),
    ).run()
    return cluster


OWN = ("Logical_Switch_Port", "Logical_Router_Port", "Logical_Router_Static_Route", "Logical_Router_Policy")


def rows(cluster: Cluster) -> dict[Any, Any]:
    return {key: row for key, row in cluster.memory.snapshot().items() if key[0] in OWN}


@pytest.mark.parametrize("seed", range(2))
def test_two_hundred_hostile_objects(seed: int) -> None:
    cluster = healthy()
    before = rows(cluster)
    for obj in army(seed, 200):
        cluster.apply(obj)
        cluster.run()
    after = rows(cluster)
    assert {key: after.get(key) for key in before} == before, "what is healthy is as it was"
    assert cluster.engine.desired.snapshot() == cluster.engine.recompute().snapshot()
    assert cluster.engine.desired.clashes() == []
    for obj in army(seed, 200):
        assert answered(cluster, *key_of(obj)), f"nothing is said about {obj}"
    cluster.start()
    assert cluster.run() == [], "a restart finds nothing to do"


def answered(cluster: Cluster, kind: str, key: str) -> bool:
    """Accepted whole, or refused with words and without rows."""
    items = cluster.engine.desired.items(kind, key)
    warnings = [i for i in items if isinstance(i, Event) and i.type == "Warning"]
    assert all(w.reason and w.message for w in warnings)
    if kind == "Subnet":
        switch = cluster.engine.desired.row("Logical_Switch", key)
        status = next((i.value for i in items if isinstance(i, Status)), None)
        ready = {c.type: c.status for c in getattr(status, "conditions", ())}.get("Ready")
        if switch is not None:
            return ready == "True" or bool(warnings)
        return ready != "True" or not getattr(cluster.world.get(kind, key).spec, "provider", "").endswith("ovn")
    if kind == "Pod":
        port = cluster.engine.desired.row("Logical_Switch_Port", key.partition("/")[2] + ".a")
        return port is not None or bool(warnings)
    return True


def test_the_hostile_objects_leave_nothing() -> None:
    cluster = healthy()
    before = cluster.memory.snapshot()
    for obj in army(7, 100):
        cluster.apply(obj)
    cluster.run()
    for obj in army(7, 100):
        cluster.delete(*key_of(obj))
    cluster.run()
    assert cluster.memory.snapshot() == before

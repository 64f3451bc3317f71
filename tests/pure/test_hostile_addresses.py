"""Objects of address management with junk in every field, where they meet others: nothing breaks, nobody is harmed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.addresses import attachment, ippool, machine_pod, ready, set_pod, stateful_set, vip, with_notes
from tests.support.cluster import Cluster, Json, pod, subnet

TEXTS = (
    "", " ", ",", ";", "..", "x", "💥", "\u0000", "a" * 300, "-1", "true", "s1", "s2", "gone", "v1", "p1", "mac",
    "10.21.0.9", "10.21.0.9,fd22::9", "10.22.0.9,fd22::9", "fd22::9,10.22.0.9", "10.21.0.1", "10.21.0.0", "10.21.0.255",
    "10.21.0.9/24", "10.21.0.9..10.21.0.12", "10.21.0.12..10.21.0.9", "FD22::9", "fe80::1%eth0", "::ffff:10.21.0.9",
    "999.1.1.1", "10.99.0.9", "10.21.0.9,", ",,10.21.0.9", "10.21.0.9;10.21.0.10", "10.21.0.9,x;y", "1e9", "0",
    "00:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "00-00-00-00-00-01", "zz:zz:zz:zz:zz:zz", "StatefulSet", "VirtualMachine",
    "switch_lb_vip", "kube_host_vm_vip", "ipv4", "ipv6", "IPv4", "net", "a/net", "a/net,a/mv", "net@i1,net@i2", "[{",
    "{}", '[{"name":"net","ips":["x"]}]', '[{"name":"net","ips":["10.29.0.9"],"mac":"x"}]',
    '[{"name":""}]', '{"name":"mv"}',
)  # fmt: skip
CONFIGS: tuple[Any, ...] = (
    "", "x", "[]", "7", "null", "{", '{"type":7}', '{"plugins":7}', '{"plugins":[7,null]}', '{"ipam":[]}',
    {"type": "kube-ovn", "provider": "net.a.ovn"}, {"type": "kube-ovn", "provider": 7}, {"type": "kube-ovn"},
    {"type": "macvlan", "ipam": {"type": "kube-ovn", "provider": "mv.a"}}, {"ipam": {"type": ["kube-ovn"]}},
)  # fmt: skip
NOTES = (
    "logical_switch", "ip_address", "ip_pool", "mac_address", "ip_family", "vip", "aaps", "port_vips", "cidr",
    "gateway", "allocated", "routed", "security_groups", "port_security", "layer2_forward",
    "north_gateway", "dhcp-v4-options",
)  # fmt: skip
PROVIDERS = ("ovn", "ovn", "net.a.ovn", "mv.a", "net.a.ovn.i1", "net.a")
NETWORKS = ("k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network")
MARKS = ("ovn.kubernetes.io/ip_reserved", "ovn.kubernetes.io/subnet", "s1")
OWNERS = ("p0.a", "p1.a", "p2.b", "web-0.a", "web-1.a", "vm.a", "p0.a.net.a.ovn", "p0.a.mv.a", "node-n-1", "any")


def junk(rng: random.Random, *names: str) -> dict[str, str]:
    return {name: rng.choice(TEXTS) for name in names if rng.random() < 0.6}


def labels(rng: random.Random) -> dict[str, str]:
    return {mark: rng.choice(("true", "false", "", "x", "s1")) for mark in MARKS if rng.random() < 0.4}


def an_ip(rng: random.Random) -> Json:
    name = rng.choice(OWNERS)
    own, _, space = name.partition(".")
    spec = {
        "podName": own,
        "namespace": space.partition(".")[0],
        "subnet": rng.choice(("s1", "s1", "s2", "s9", "gone")),
    }
    spec |= junk(rng, "v4IpAddress", "v6IpAddress", "ipAddress", "macAddress", "podType")
    if rng.random() < 0.2:
        spec |= junk(rng, "podName", "namespace", "subnet", "nodeName")
    return {"kind": "IP", "metadata": {"name": name, "labels": labels(rng)}, "spec": spec}


def a_pod(rng: random.Random) -> Json:
    name = rng.choice(("a/p0", "a/p1", "b/p2", "a/web-0", "a/web-1", "a/launcher"))
    make = {"w": set_pod, "l": lambda n: machine_pod(n, "vm")}.get(name[2], pod)
    notes = {f"{rng.choice(PROVIDERS)}.kubernetes.io/{n}": rng.choice(TEXTS) for n in rng.sample(NOTES, k=4)}
    return with_notes(make(name), notes | junk(rng, *NETWORKS))  # type: ignore[operator]


def a_vip(rng: random.Random) -> Json:
    made = vip(
        rng.choice(("v1", "v2")),
        rng.choice(("s1", "s2", "gone", "")),
        **junk(rng, "v4ip", "v6ip", "macAddress", "type"),
    )
    made["spec"] |= {"namespace": rng.choice(("", "a")), "selector": rng.choice(([], ["x"], [":"], ["app: web"]))}
    made["metadata"]["labels"] = labels(rng) | ({MARKS[0]: rng.choice(OWNERS)} if rng.random() < 0.3 else {})
    if rng.random() < 0.4:
        made["status"] = junk(rng, "v4ip", "v6ip", "mac", "type")
    return made


def a_set(rng: random.Random) -> Json:
    made = stateful_set("a/web", rng.choice((0, 1, 2, 2**31)), **junk(rng, "logical_switch", "ip_pool", "ip_address"))
    made["spec"]["ordinals"] = {"start": rng.choice((0, 1, 2**31 - 1))}
    return made


def an_eip(rng: random.Random) -> Json:
    if rng.random() < 0.5:
        spec, status = junk(rng, "externalSubnet"), junk(rng, "v4Ip", "v6Ip", "macAddress")
        return {"kind": "OvnEip", "metadata": {"name": "e", "labels": labels(rng)}, "spec": spec, "status": status}
    spec, status = junk(rng, "externalSubnet", "v4ip", "v6ip", "macAddress"), junk(rng, "ip")
    return {"kind": "IptablesEIP", "metadata": {"name": "e", "labels": labels(rng)}, "spec": spec, "status": status}


def a_pool(rng: random.Random) -> Json:
    ips = [rng.choice(TEXTS) for _ in range(rng.randrange(3))]
    where, spaces = rng.choice(("s1", "s2", "gone", "")), rng.sample(("a", "b", "x"), k=1)
    return ippool(rng.choice(("p1", "p2")), where, *ips, namespaces=spaces, enableAddressSet=rng.random() < 0.5)


def an_attachment(rng: random.Random) -> Json:
    return attachment(rng.choice(("a/net", "a/mv")), rng.choice(CONFIGS))


def army(seed: int, count: int) -> Iterator[Json]:
    rng = random.Random(seed)
    makers = (an_ip, an_ip, a_pod, a_pod, a_pod, a_vip, a_set, an_eip, a_pool, an_attachment)
    for _ in range(count):
        yield rng.choice(makers)(rng)


def healthy() -> Cluster:
    return ready(
        subnet("s9", cidrBlock="10.29.0.0/24", provider="net.a.ovn"),
        subnet("s8", cidrBlock="10.28.0.0/24", provider="mv.a"),
        subnet("sane", cidrBlock="10.30.0.0/24"),
        pod("a/sane", "n-1", logical_switch="sane"),
        vip("sane", "sane"),
    )


@pytest.mark.parametrize("seed", range(6))
def test_nothing_breaks_and_nobody_is_harmed(seed: int) -> None:
    cluster = healthy()
    # Not its groups, which others join.
    before = {k: v for k, v in cluster.memory.snapshot().items() if k[0] == "Logical_Switch_Port" and "sane" in str(k)}
    assert len(before) == 2
    for number, obj in enumerate(army(seed, 120)):
        cluster.apply(obj)
        if number % 3:
            cluster.run()
        if number % 40 == 39:
            cluster.start()
            cluster.run()
    after = cluster.memory.snapshot()
    assert {key: after.get(key) for key in before} == before
    assert cluster.engine.desired.snapshot() == cluster.engine.recompute().snapshot()
    for (table, key), rows in after.items():
        for row in rows:
            if table == "Logical_Switch_Port" and row["type"] == "" and "pod" in row["external_ids"]:
                macs = [text.split(" ")[0] for text in row["addresses"] if text != "unknown"]
                assert all(len(mac) == 17 for mac in macs), (key, row["addresses"])
    written = list(cluster.written)
    cluster.start()
    assert cluster.run() == [], "a restart finds nothing to do"
    assert cluster.written == written

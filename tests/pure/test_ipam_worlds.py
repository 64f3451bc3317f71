"""Random clusters with pools, Vips, statics, StatefulSets, machines, reservations and attached networks.

Models are independent of the code under test: what holds an address is read from the API server's objects alone.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ovnbridge.engine.diff import Change
from ovnbridge.ipam import Lease
from tests.support.addresses import (
    attachment,
    ippool,
    machine,
    machine_pod,
    owned,
    set_pod,
    stateful_set,
    vip,
    with_notes,
)
from tests.support.cluster import Cluster, Json, ip, key_of, merged, namespace, node, pod, subnet

S1 = subnet("s1", cidrBlock="10.21.0.0/28", namespaces=["a"])  # .2 to .14
S2 = subnet("s2", cidrBlock="10.22.0.0/29,fd22::/125", namespaces=["b"])
S9 = subnet("s9", cidrBlock="10.29.0.0/29", provider="net.a.ovn")
S8 = subnet("s8", cidrBlock="10.28.0.0/29", provider="mv.a")
NETS = (
    attachment("a/net", {"type": "kube-ovn", "provider": "net.a.ovn"}),
    attachment("a/mv", {"type": "macvlan", "ipam": {"type": "kube-ovn", "provider": "mv.a"}}),
)
BASE = (namespace("a"), namespace("b"), node("n-1", "192.168.0.11"), node("n-2", "192.168.0.12"))

NODES = st.sampled_from(["", "n-1", "n-2"])
NOTES = st.sampled_from(
    [
        {},
        {},
        {},
        {"ip_pool": "p1"},
        {"ip_pool": "p2"},
        {"ip_pool": "10.21.0.4,10.21.0.5"},
        {"ip_address": "10.21.0.4"},
        {"ip_address": "10.21.0.9", "mac_address": "00:00:00:00:00:09"},
        {"vip": "v1"},
        {"aaps": "v1,v2", "port_security": "true"},
        {"port_vips": "10.21.0.13", "layer2_forward": "true", "security_groups": "sg-1,sg-2"},
        {"logical_switch": "s2"},
        {"ip_family": "ipv4", "logical_switch": "s2"},
        {"north_gateway": "10.21.0.4"},
        {"ip_pool": "x,;"},
    ]
)
NETWORKS = st.sampled_from(
    ["", "", "", "net", "mv,net", "net@i1,net@i2", "gone", "[{", '[{"name":"net","ips":["10.29.0.3"]}]']
)


def networked(made: Json, networks: str) -> Json:
    return with_notes(made, {"k8s.v1.cni.cncf.io/networks": networks}) if networks else made


pods = st.builds(
    lambda name, on, notes, networks: networked(pod(name, on, **notes), networks),
    st.sampled_from(["a/p0", "a/p1", "a/p2", "b/p0"]),
    NODES,
    NOTES,
    NETWORKS,
)
set_pods = st.builds(
    lambda number, on, notes, networks: networked(set_pod(f"a/web-{number}", on, **notes), networks),
    st.integers(0, 3),
    NODES,
    NOTES,
    NETWORKS,
)
machine_pods = st.builds(lambda number, on: machine_pod(f"a/launcher-{number}", "vm", on), st.integers(0, 1), NODES)
replica_pods = st.builds(
    lambda n, on, notes: owned(pod(f"a/d-{n}", on, **notes), "ReplicaSet", "d", "apps/v1"),
    st.integers(0, 1),
    NODES,
    NOTES,
)
stateful_sets = st.builds(
    lambda replicas, start, notes: stateful_set("a/web", replicas, start=start, **notes),
    st.integers(0, 4),
    st.sampled_from([0, 0, 1]),
    st.sampled_from([{}, {}, {"logical_switch": "s2"}, {"ip_pool": "p1"}]),
)
pools = st.builds(
    lambda name, where, spaces, kept: ippool(name, where[0], *where[1:], namespaces=spaces, enableAddressSet=kept),
    st.sampled_from(["p1", "p2"]),
    st.sampled_from(
        [
            ("s1", "10.21.0.4..10.21.0.6"),
            ("s1", "10.21.0.6", "10.21.0.8/31"),
            ("s2", "10.22.0.4", "fd22::4"),
            ("s2", "10.22.0.5"),
            ("s1", "nonsense"),
            ("gone", "10.21.0.4"),
        ]
    ),
    st.sampled_from([[], [], ["a"], ["b"]]),
    st.booleans(),
)
vips = st.builds(
    lambda name, where, spec: vip(name, where, **spec),
    st.sampled_from(["v1", "v2"]),
    st.sampled_from(["s1", "s2", "gone"]),
    st.sampled_from(
        [{}, {"v4ip": "10.21.0.9"}, {"namespace": "a"}, {"type": "switch_lb_vip"}, {"type": "kube_host_vm_vip"}]
    ),
)
reservations = st.builds(
    lambda name, given, mac: merged(ip(name, "s1", *given, labels={}), {} if mac else {"spec": {"macAddress": ""}}),
    st.sampled_from(["a/p0", "a/p1", "a/web-1", "a/reserved"]),
    st.sampled_from(
        [(), ("10.21.0.12",), ("10.21.0.11",), ("10.21.0.2",), ("10.21.0.1",), ("nonsense",), ("fd22::4",)]
    ),
    st.booleans(),
)
subnets = st.sampled_from(
    [
        S1,
        S1,
        subnet("s1", cidrBlock="10.21.0.0/27", namespaces=["a"]),
        subnet("s1", cidrBlock="10.21.0.0/29", namespaces=["a"]),
        subnet("s1", cidrBlock="10.21.0.0/28", namespaces=["b"]),
        subnet("s1", cidrBlock="10.21.0.0/28", namespaces=["a"], excludeIps=["10.21.0.2..10.21.0.5"]),
        subnet("s1", cidrBlock="nonsense", namespaces=["a"]),
        S9,
        S8,
    ]
)
objects = st.one_of(
    pods, pods, set_pods, set_pods, machine_pods, replica_pods, stateful_sets, pools, vips, subnets,
    st.just(machine("a/vm")), st.sampled_from(NETS),
)  # fmt: skip
KEYS = (
    *(("Pod", f"a/{n}") for n in ("p0", "p1", "p2", "web-0", "web-1", "web-2", "launcher-0", "launcher-1", "d-0")),
    *(("IPPool", n) for n in ("p1", "p2")),
    *(("Vip", n) for n in ("v1", "v2")),
    ("StatefulSet", "a/web"),
    ("VirtualMachine", "a/vm"),
    ("NetworkAttachmentDefinition", "a/net"),
    ("Subnet", "s8"),
)
edits = objects.map(lambda obj: ("put", obj)) | st.sampled_from(KEYS).map(lambda key: ("delete", key))
scripts = st.lists(edits, max_size=20)


def put(cluster: Cluster, obj: Json) -> None:
    """Apply it as users do: a pod that is there is edited, with what is written on it."""
    known = cluster.api.objects.get(key_of(obj))
    if known is not None and obj["kind"] in ("Pod", "Vip", "Subnet", "IP"):
        obj = merged(known, {k: v for k, v in obj.items() if k != "kind"})
    cluster.apply(obj)


def run_script(cluster: Cluster, script: list[Any]) -> None:
    for verb, what in script:
        if verb == "put":
            put(cluster, what)
        else:
            cluster.delete(*what)


def begun() -> Cluster:
    cluster = Cluster()
    cluster.apply(*BASE, S1, S2, S9, S8, *NETS).run()
    return cluster


def everything(cluster: Cluster) -> list[Change]:
    desired = cluster.engine.desired
    keys = dict.fromkeys([*desired.row_keys(), *desired.member_keys(), *cluster.memory.row_keys()])
    return [change for key in keys for change in cluster.state._differ.diff(*key)]


def held(cluster: Cluster) -> dict[str, Lease]:
    """Owner → addresses, by the objects alone. A Vip whose address a pod has taken over is left out."""
    found = {}
    for (kind, key), obj in cluster.api.objects.items():
        spec, labels = obj.get("spec", {}), obj["metadata"].get("labels") or {}
        # One without this mark is somebody's wish (spec C.10).
        marked = "ovn.kubernetes.io/ip_reserved" in labels
        if kind == "IP" and marked and (spec.get("v4IpAddress") or spec.get("v6IpAddress")):
            addresses = (spec.get(field, "") for field in ("v4IpAddress", "v6IpAddress", "macAddress"))
            found[key] = Lease(spec["subnet"], *addresses)
        status = obj.get("status", {})
        if kind == "Vip" and status.get("v4ip") and not labels.get("ovn.kubernetes.io/ip_reserved"):
            subnet_of = labels["ovn.kubernetes.io/subnet"]
            found[f"vip/{key}"] = Lease(subnet_of, status["v4ip"], status.get("v6ip", ""), status["mac"])
    return found


def doubles(cluster: Cluster) -> list[Any]:
    seen: dict[tuple[str, str], str] = {}
    clashes = []
    for owner, lease in held(cluster).items():
        for text in filter(None, (lease.v4, lease.v6)):
            other = seen.setdefault((lease.subnet, text), owner)
            if other != owner:
                clashes.append((text, owner, other))
    return clashes


@given(scripts, scripts, st.integers(1, 9))
def test_any_history_settles_and_a_restart_changes_nothing(first: list[Any], then: list[Any], batch: int) -> None:
    cluster = begun()
    for script in (first, then):
        run_script(cluster, script)
        cluster.run(batch=batch)
        assert everything(cluster) == []
        assert doubles(cluster) == []
        assert cluster.engine.desired.snapshot() == cluster.engine.recompute().snapshot()
        assert cluster.engine.desired.clashes() == []
    before, leases, written = cluster.memory.snapshot(), held(cluster), len(cluster.written)
    figures = {n: cluster.state.reactor.allocator.ledger.usage(n) for n in ("s1", "s2", "s8", "s9")}
    cluster.start()
    assert cluster.run() == []
    assert cluster.memory.snapshot() == before
    assert cluster.written[written:] == []
    assert held(cluster) == leases
    assert {n: cluster.state.reactor.allocator.ledger.usage(n) for n in figures} == figures


class Late(RuleBasedStateMachine):
    """Events and replies come late and the process crashes anywhere: no address twice, none lost, all served."""

    @initialize()
    def begin(self) -> None:
        self.cluster = begun()

    @rule(edit=edits)
    def edit(self, edit: Any) -> None:
        run_script(self.cluster, [edit])

    @rule(obj=reservations)
    def reserve(self, obj: Json) -> None:
        if key_of(obj) not in self.cluster.api.objects:
            self.cluster.apply(obj)

    @rule(count=st.integers(1, 4))
    def hear(self, count: int) -> None:
        self.cluster.hear(count)

    @rule(data=st.data(), count=st.integers(1, 4))
    def write(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            if self.cluster.touched.objects:
                key = data.draw(st.sampled_from(sorted(self.cluster.touched.objects)))
                del self.cluster.touched.objects[key]
                self.cluster.write(*key)

    @rule()
    def commit(self) -> None:
        self.cluster.commit()

    @rule()
    def crash(self) -> None:
        self.cluster.start()

    @invariant()
    def nothing_twice(self) -> None:
        """At no moment, whatever people wish."""
        assert doubles(self.cluster) == []

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        cluster = self.cluster
        cluster.run()
        assert everything(cluster) == []
        self.nothing_twice()
        allocator = cluster.state.reactor.allocator
        assert not allocator._pending
        assert cluster.world.size("Grant") == 0
        found = held(cluster)
        assert {o: allocator.ledger.lease(o) for o in found} == found
        cluster.start()
        cluster.run()
        assert held(cluster) == found


TestLate = Late.TestCase

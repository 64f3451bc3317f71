"""Claims → leases → IP objects, against an API server whose events and replies come when the test says so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ovnbridge.ipam import AddressRequest, Lease
from ovnbridge.ipam.ledger import Decision
from tests.support.cluster import Cluster, Json, ip, key_of, merged, namespace, node, pod, subnet

NARROW = subnet("s1", cidrBlock="10.21.0.0/29", namespaces=["a"])  # .2 to .6
DUAL = subnet("s2", cidrBlock="10.22.0.0/29,fd22::/125", namespaces=["b"], excludeIps=["10.22.0.1..10.22.0.3"])
BASE = (namespace("a"), namespace("b"), node("n-1", "192.168.0.11"))


def ready(*objects: Json) -> Cluster:
    cluster = Cluster()
    cluster.apply(*BASE, NARROW, DUAL, *objects).run()
    return cluster


def leases(cluster: Cluster) -> dict[str, Json]:
    return {key: obj for (kind, key), obj in cluster.api.objects.items() if kind == "IP"}


def address(cluster: Cluster, name: str) -> str:
    return str(cluster.get("IP", name)["spec"]["ipAddress"])


def refused(cluster: Cluster, pod_key: str) -> str:
    """Reason and message of the event that says why a pod has no address."""
    events = [i for i in cluster.state.reactor.items("Pod", pod_key) if type(i).__name__ == "Event"]
    return " ".join(str(e.message) for e in events if e.reason == "AcquireAddressFailed")  # type: ignore[union-attr]


# -- the way of a lease


def test_a_lease_is_written_ahead() -> None:
    cluster = ready()
    cluster.apply(pod("a/p1", "n-1"))
    cluster.hear()
    assert ("IP", "p1.a") in cluster.touched.objects
    assert cluster.engine.desired.row("Logical_Switch_Port", "p1.a") is None
    assert cluster.write("IP", "p1.a")
    assert address(cluster, "p1.a") == "10.21.0.2"
    assert cluster.engine.desired.row("Logical_Switch_Port", "p1.a") is None, "the World has not heard of it"
    cluster.hear()
    row = cluster.engine.desired.row("Logical_Switch_Port", "p1.a")
    assert row is not None
    assert row.columns["addresses"] == {f"{cluster.get('IP', 'p1.a')['spec']['macAddress']} 10.21.0.2"}


def test_the_object_says_what_spec_c10_says() -> None:
    cluster = ready(pod("a/p1", "n-1"))
    made = cluster.get("IP", "p1.a")
    assert made["metadata"]["labels"] == {
        "ovn.kubernetes.io/subnet": "s1",
        "s1": "",
        "ovn.kubernetes.io/node-name": "n-1",
        "ovn.kubernetes.io/ip_reserved": "false",
    }
    spec = {k: v for k, v in made["spec"].items() if v}
    assert spec.pop("macAddress")
    assert spec == {
        "podName": "p1",
        "namespace": "a",
        "subnet": "s1",
        "nodeName": "n-1",
        "ipAddress": "10.21.0.2",
        "v4IpAddress": "10.21.0.2",
    }
    of_node = cluster.get("IP", "node-n-1")
    assert of_node["spec"]["podName"] == "n-1"
    assert of_node["spec"]["namespace"] == ""
    (reference,) = of_node["metadata"]["ownerReferences"]
    assert reference == {
        "apiVersion": "v1",
        "kind": "Node",
        "name": "n-1",
        "uid": cluster.get("Node", "n-1")["metadata"]["uid"],
    }


def test_names_that_are_no_label_names() -> None:
    name = "long-" * 14 + "name"
    cluster = ready(subnet(name, cidrBlock="10.30.0.0/24", namespaces=["c"]), namespace("c"), pod("c/p1", "n" * 70))
    labels = cluster.get("IP", "p1.c")["metadata"]["labels"]
    assert all(len(key.rpartition("/")[2]) <= 63 and len(value) <= 63 for key, value in labels.items())
    cluster.apply(pod("c/" + "p" * 253)).run()
    (event,) = cluster.state.reactor.items("Pod", "c/" + "p" * 253)
    assert "too long" in event.message  # type: ignore[union-attr]


def test_a_pod_that_goes_while_its_object_is_on_its_way() -> None:
    """The create has been sent and may land: the address is nobody else's until it has come and gone."""
    cluster = ready(*(pod(f"a/q{i}") for i in range(4)))
    cluster.apply(pod("a/p1"))
    cluster.hear()
    (create,) = cluster.plan("IP", "p1.a")
    cluster.delete("Pod", "a/p1")
    cluster.apply(pod("a/p2"))
    cluster.hear()
    assert cluster.plan("IP", "p2.a") == (), "the last address is not free yet"
    cluster.api.create({"kind": "IP", **create.body})
    cluster.run()
    assert "p1.a" not in leases(cluster)
    assert address(cluster, "p2.a") == create.body["spec"]["ipAddress"]


def test_a_claim_that_changes_while_its_object_is_on_its_way() -> None:
    cluster = ready()
    cluster.apply(pod("a/p1"))
    cluster.hear()
    (create,) = cluster.plan("IP", "p1.a")
    cluster.apply(pod("a/p1", ip_address="10.21.0.5"))
    cluster.hear()
    cluster.api.create({"kind": "IP", **create.body})
    cluster.run()
    assert address(cluster, "p1.a") == "10.21.0.5"
    cluster.apply(*(pod(f"a/q{i}") for i in range(4))).run()
    assert len(leases(cluster)) == 6, "the first address is free again"


@pytest.mark.parametrize("finalizer", [False, True])
@pytest.mark.parametrize("heard", [False, True])
def test_a_pod_of_the_same_name_while_the_object_goes(finalizer: bool, heard: bool) -> None:
    cluster = ready(pod("a/p1", "n-1", phase="Running"))
    if finalizer:
        cluster.api.patch("IP", "p1.a", {"metadata": {"finalizers": ["kubeovn.io/kube-ovn-controller"]}})
    cluster.run()
    cluster.delete("Pod", "a/p1")
    cluster.hear()
    assert cluster.write("IP", "p1.a")
    if heard:
        cluster.hear()
    cluster.apply(pod("a/p1", "n-1", ip_address="10.21.0.6"))
    cluster.hear(1) if not heard else cluster.hear()
    assert cluster.engine.desired.row("Logical_Switch_Port", "p1.a") is None, "not the predecessor's"
    cluster.run()
    assert address(cluster, "p1.a") == "10.21.0.6"
    assert cluster.get("Pod", "a/p1")["metadata"]["annotations"]["ovn.kubernetes.io/ip_address"] == "10.21.0.6"
    row = cluster.row("Logical_Switch_Port", "p1.a")
    assert [text.split()[1] for text in row["addresses"]] == ["10.21.0.6"]


def test_a_pod_recreated_before_anybody_noticed_keeps_the_lease() -> None:
    cluster = ready(pod("a/p1", "n-1", phase="Running"))
    before = cluster.get("IP", "p1.a")
    cluster.delete("Pod", "a/p1")
    cluster.apply(pod("a/p1", "n-1"))
    cluster.run()
    assert cluster.get("IP", "p1.a") == before
    assert cluster.get("Pod", "a/p1")["metadata"]["annotations"]["ovn.kubernetes.io/allocated"] == "true"


def test_annotations_of_a_predecessor_are_not_written_to_a_new_pod() -> None:
    cluster = ready(pod("a/p1", "n-1"))
    cluster.delete("Pod", "a/p1")
    cluster.apply(pod("a/p1", "n-1", logical_switch="s2"))
    for kind, key, obj in cluster.api.events:  # the World has heard, nothing is compiled yet
        cluster.state.source.apply(*_event(kind, key, obj))
    cluster.api.events.clear()
    assert cluster.plan("Pod", "a/p1") == ()
    cluster.run()
    assert address(cluster, "p1.a").startswith("10.22.0.")


def _event(kind: str, key: str, obj: Json | None) -> tuple[Any, str, Any]:
    from tests.support.cluster import _KINDS, _typed

    return _KINDS[kind][0], key, None if obj is None else _typed(kind, obj)


def test_a_lease_deleted_under_a_running_pod_comes_back_as_it_was() -> None:
    cluster = ready(pod("a/p0"), pod("a/p1", "n-1"))
    before = cluster.get("IP", "p1.a")["spec"]
    cluster.delete("IP", "p1.a").run()
    assert cluster.get("IP", "p1.a")["spec"] == before


def test_a_running_pod_keeps_its_address_whatever_its_annotations_become() -> None:
    cluster = ready(pod("a/p1", "n-1"))
    cluster.apply(pod("a/p1", "n-1", allocated="true", ip_address="10.21.0.6", logical_switch="s2")).run()
    assert address(cluster, "p1.a") == "10.21.0.2"
    notes = cluster.get("Pod", "a/p1")["metadata"]["annotations"]
    assert notes["ovn.kubernetes.io/ip_address"] == "10.21.0.2"
    assert notes["ovn.kubernetes.io/logical_switch"] == "s1"
    cluster.apply(subnet("s1", cidrBlock="10.21.8.0/24", gateway="10.21.8.1", excludeIps=[], namespaces=["a"])).run()
    assert address(cluster, "p1.a") == "10.21.0.2"
    cluster.delete("Pod", "a/p1").apply(pod("a/p1", "n-1")).run()
    assert address(cluster, "p1.a") == "10.21.8.2", "a new pod does not"


@pytest.mark.parametrize("text", ["10.21.0.4/29", " 10.21.0.4 ", "10.21.0.4,", "x", "10.99.0.1", "10.21.0.1", ",", "%"])
def test_static_addresses_in_any_form_do_no_harm(text: str) -> None:
    cluster = ready(pod("a/p1", ip_address=text))
    wanted = "10.21.0.4" if "10.21.0.4" in text else ""
    assert leases(cluster).get("p1.a", {}).get("spec", {}).get("ipAddress", "") in (
        wanted,
        "10.21.0.2" if text == "," else "",
    )
    assert "node-n-1" in leases(cluster)


def test_a_static_ipv6_address_in_capitals() -> None:
    cluster = ready(pod("b/p1", "n-1", ip_address="FD22:0::5"))
    assert address(cluster, "p1.b") == "10.22.0.4,fd22::5"


# -- refusals


class Asked:
    """Counts what is asked of the ledger."""

    def __init__(self, cluster: Cluster) -> None:
        self.owners: list[str] = []
        allocate = cluster.state.reactor.allocator.ledger.allocate

        def counting(owner: str, request: AddressRequest) -> Decision:
            self.owners.append(owner)
            return allocate(owner, request)

        cluster.state.reactor.allocator.ledger.allocate = counting  # type: ignore[method-assign]


def test_the_refused_are_answered_in_their_order_and_no_others_are_asked() -> None:
    cluster = ready(*(pod(f"a/p{i}") for i in range(5)))
    for i in range(300):
        cluster.apply(pod(f"a/late{299 - i:03}"))
        cluster.hear()
    cluster.run()
    assert "NoAvailableAddress" in refused(cluster, "a/late000")
    asked = Asked(cluster)
    cluster.delete("Pod", "a/p3").run()
    assert asked.owners == ["late299.a", "late298.a"], "the first in the queue, and one who finds it full again"
    assert address(cluster, "late299.a") == "10.21.0.5"
    asked.owners.clear()
    cluster.delete("Pod", "a/late298").run()
    assert asked.owners == []
    cluster.delete("Pod", "a/p1").delete("Pod", "a/p2").run()
    assert asked.owners == ["late297.a", "late296.a", "late295.a"]
    cluster.apply(subnet("s1", cidrBlock="10.21.0.0/22", namespaces=["a"])).run()
    assert len(leases(cluster)) == 1 + 2 + 299
    assert refused(cluster, "a/late000") == ""


@pytest.mark.parametrize("by", ["pod", "namespace"])
def test_those_who_wait_for_a_pool_are_answered_in_their_order(by: str) -> None:
    spec = {"subnet": "s1", "ips": ["10.21.0.3..10.21.0.4"], "namespaces": ["a"] if by == "namespace" else []}
    wish = {"ip_pool": "p"} if by == "pod" else {}
    cluster = ready({"kind": "IPPool", "metadata": {"name": "p"}, "spec": spec})
    for i in range(50):
        cluster.apply(pod(f"a/q{i:02}", **wish)).run()
    assert "ippool p" in refused(cluster, "a/q49")
    asked = Asked(cluster)
    cluster.delete("Pod", "a/q00").run()
    assert asked.owners == ["q02.a", "q03.a"], "the first in the queue, and one who finds it empty again"
    assert address(cluster, "q02.a") == "10.21.0.3"
    asked.owners.clear()
    cluster.api.patch("IPPool", "p", {"spec": {"ips": ["10.21.0.2..10.21.0.4"]}})
    cluster.run()
    assert address(cluster, "q03.a") == "10.21.0.2"
    assert asked.owners[:2] == ["q03.a", "q04.a"]


def test_a_static_address_that_becomes_free() -> None:
    cluster = ready(pod("a/p1"), pod("a/p2", ip_address="10.21.0.2"), *(pod(f"a/q{i}") for i in range(5)))
    assert "AddressConflict" in refused(cluster, "a/p2")
    cluster.delete("Pod", "a/p1").run()
    assert address(cluster, "p2.a") == "10.21.0.2"
    assert "NoAvailableAddress" in refused(cluster, "a/q4")


def test_whoever_wants_less_is_not_held_up_by_who_wants_more() -> None:
    cluster = ready(*(pod(f"b/p{i}") for i in range(3)), pod("b/both"), pod("b/six", ip_family="ipv6"))
    assert "NoAvailableAddress" in refused(cluster, "b/both")
    assert address(cluster, "six.b") == "fd22::5"
    cluster.apply(pod("b/s2", ip_family="ipv6"), pod("b/s3", ip_family="ipv6")).run()
    assert "NoAvailableAddress" in refused(cluster, "b/s3")
    cluster.delete("Pod", "b/six").run()
    assert address(cluster, "s3.b") == "fd22::5"
    assert "NoAvailableAddress" in refused(cluster, "b/both")


def test_a_subnet_that_comes_late() -> None:
    cluster = ready(pod("a/p1", logical_switch="later"))
    assert "NoSubnet" in refused(cluster, "a/p1")
    cluster.apply(subnet("later", cidrBlock="10.40.0.0/24")).run()
    assert address(cluster, "p1.a") == "10.40.0.2"


def test_a_refused_pod_that_goes_is_forgotten() -> None:
    cluster = ready(*(pod(f"a/p{i}") for i in range(8)))
    for i in range(8):
        cluster.delete("Pod", f"a/p{i}")
    cluster.run()
    allocator = cluster.state.reactor.allocator
    assert not allocator._refused
    assert not allocator._queues
    assert not allocator._freed_queues
    assert cluster.world.size("Refusal") == 0
    assert list(leases(cluster)) == ["node-n-1"]


# -- what is not ours


def reserved(labels: dict[str, str]) -> Json:
    return ip("a/vm", "s1", "10.21.0.6", labels=labels)


FOREIGN = (
    reserved({"ovn.kubernetes.io/ip_reserved": "true"}),
    reserved({}),
    merged(reserved({}), {"metadata": {"name": "vip1"}, "spec": {"podName": "vip1", "namespace": ""}}),
)


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda obj: str(obj["metadata"]["name"]))
def test_other_leases_are_never_deleted_and_never_given_away(foreign: Json) -> None:
    cluster = ready(foreign)
    cluster.start()
    cluster.apply(*(pod(f"a/p{i}") for i in range(5))).run()
    assert key_of(foreign) in cluster.api.objects
    assert {obj["spec"]["ipAddress"] for obj in leases(cluster).values() if obj["spec"]["subnet"] == "s1"} == {
        f"10.21.0.{i}" for i in range(2, 7)
    }
    assert [i for i in range(5) if refused(cluster, f"a/p{i}")] == [4]


def test_a_reservation_waits_for_its_pod() -> None:
    cluster = ready(reserved({"ovn.kubernetes.io/ip_reserved": "true"}))
    cluster.apply(pod("a/vm", "n-1")).run()
    assert cluster.get("Pod", "a/vm")["metadata"]["annotations"]["ovn.kubernetes.io/ip_address"] == "10.21.0.6"
    cluster.delete("Pod", "a/vm").run()
    assert address(cluster, "vm.a") == "10.21.0.6"


def test_a_reservation_without_an_address_is_given_one() -> None:
    empty = merged(reserved({}), {"spec": {"v4IpAddress": "", "ipAddress": "", "macAddress": ""}})
    cluster = ready(empty, pod("a/vm", "n-1"))
    held = cluster.get("IP", "vm.a")
    assert held["metadata"]["labels"]["ovn.kubernetes.io/ip_reserved"] == "true"
    assert held["spec"]["v4IpAddress"] == held["spec"]["ipAddress"] == "10.21.0.2"
    notes = cluster.get("Pod", "a/vm")["metadata"]["annotations"]
    assert notes["ovn.kubernetes.io/ip_address"] == "10.21.0.2"
    assert notes["ovn.kubernetes.io/mac_address"] == held["spec"]["macAddress"]
    cluster.delete("Pod", "a/vm").run()
    assert cluster.get("IP", "vm.a")["spec"]["v4IpAddress"] == "10.21.0.2"


def test_a_reservation_that_is_not_what_the_pod_asks_for() -> None:
    cluster = ready(reserved({"ovn.kubernetes.io/ip_reserved": "true"}), pod("a/vm", "n-1", ip_address="10.21.0.4"))
    assert address(cluster, "vm.a") == "10.21.0.6"
    assert "reservation" in refused(cluster, "a/vm")
    assert "ovn.kubernetes.io/allocated" not in cluster.get("Pod", "a/vm")["metadata"]["annotations"]


def test_a_lease_that_somebody_deletes_is_let_go() -> None:
    cluster = ready()
    cluster.apply(merged(reserved({}), {"metadata": {"finalizers": ["kubeovn.io/kube-ovn-controller"]}})).run()
    cluster.delete("IP", "vm.a").run()
    assert "vm.a" not in leases(cluster)


# -- random histories


PODS = ("a/p0", "a/p1", "a/p2", "a/p3", "a/p4", "a/p5", "a/p6", "b/p0", "b/p1", "b/p2", "b/p3")


class Histories(RuleBasedStateMachine):
    """Pods come and go, events and replies come late, the process crashes: no address twice, and none lost."""

    @initialize(finalizers=st.booleans())
    def begin(self, finalizers: bool) -> None:
        self.cluster = ready()
        self.kept = [ip("a/vm", "s1", "10.21.0.6", labels={"ovn.kubernetes.io/ip_reserved": "true"})]
        self.cluster.apply(*self.kept).run()
        self.finalizers = finalizers

    @rule(
        name=st.sampled_from(PODS),
        on=st.sampled_from(["", "n-1"]),
        notes=st.sampled_from(
            [{}, {}, {}, {"ip_address": "10.21.0.3"}, {"logical_switch": "s2"}, {"ip_family": "ipv4"}]
        ),
    )
    def come(self, name: str, on: str, notes: dict[str, str]) -> None:
        if ("Pod", name) not in self.cluster.api.objects:
            self.cluster.apply(pod(name, on, **notes))

    @rule(name=st.sampled_from(PODS))
    def go(self, name: str) -> None:
        self.cluster.delete("Pod", name)

    @rule(name=st.sampled_from(PODS), phase=st.sampled_from(["Running", "Failed", "Succeeded"]))
    def get_on(self, name: str, phase: str) -> None:
        if ("Pod", name) in self.cluster.api.objects:
            self.cluster.api.patch("Pod", name, {"status": {"phase": phase}, "spec": {"restartPolicy": "Never"}})

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

    @rule(data=st.data())
    def somebody_deletes_a_lease(self, data: st.DataObject) -> None:
        ours = sorted(set(leases(self.cluster)) - {"vm.a", "node-n-1"})
        if ours:
            self.cluster.delete("IP", data.draw(st.sampled_from(ours)))

    @rule(data=st.data())
    def a_finalizer_of_before(self, data: st.DataObject) -> None:
        ours = [name for name, obj in leases(self.cluster).items() if not obj["metadata"].get("deletionTimestamp")]
        if self.finalizers:
            name = data.draw(st.sampled_from(sorted(ours)))
            self.cluster.api.patch("IP", name, {"metadata": {"finalizers": ["kubeovn.io/kube-ovn-controller"]}})

    @rule(
        changed=st.sampled_from(
            [
                NARROW,
                subnet("s1", cidrBlock="10.21.0.0/28", namespaces=["a"]),
                subnet("s1", cidrBlock="nonsense", namespaces=["a"]),
                subnet("s1", cidrBlock="10.21.0.0/29", namespaces=["a"], excludeIps=["10.21.0.2..10.21.0.4"]),
            ]
        )
    )
    def change(self, changed: Json) -> None:
        self.cluster.apply(changed)

    @rule()
    def crash(self) -> None:
        self.cluster.start()

    @invariant()
    def nothing_twice(self) -> None:
        found = leases(self.cluster).values()
        for field in ("v4IpAddress", "v6IpAddress", "macAddress"):
            held = [(obj["spec"]["subnet"], obj["spec"][field]) for obj in found if obj["spec"][field]]
            assert len(held) == len(set(held)), held
        assert all(key_of(obj) in self.cluster.api.objects for obj in self.kept)

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        cluster = self.cluster
        cluster.apply(subnet("s1", cidrBlock="10.21.0.0/27", gateway="10.21.0.1", excludeIps=[], namespaces=["a"]))
        cluster.run()
        pods = {key: obj for (kind, key), obj in cluster.api.objects.items() if kind == "Pod"}
        alive = {
            f"{name}.{space}"
            for (space, _, name) in (key.partition("/") for key in pods)
            if _runs(pods[f"{space}/{name}"])
        }
        found = leases(cluster)
        waiting = {f"{n}.{s}" for s, _, n in (key.partition("/") for key in pods) if refused(cluster, f"{s}/{n}")}
        assert found.keys() - {"vm.a", "node-n-1"} == alive - waiting
        ledger = cluster.state.reactor.allocator.ledger
        spec_of = {name: obj["spec"] for name, obj in found.items()}
        assert {o: ledger.lease(o) for o in ledger.owners()} == {
            o: Lease(s["subnet"], s["v4IpAddress"], s["v6IpAddress"], s["macAddress"]) for o, s in spec_of.items()
        }
        for name in waiting:
            notes = pods["/".join(reversed(name.split(".")))]["metadata"]["annotations"]
            taken = notes.get("ovn.kubernetes.io/ip_address") == "10.21.0.3"
            full = ledger.usage("s2")
            assert full is not None
            assert taken or full.v4_available == 0, (name, refused(cluster, "/".join(reversed(name.split(".")))))
        for key, obj in pods.items():
            said = obj["metadata"]["annotations"].get("ovn.kubernetes.io/ip_address")
            name = "{1}.{0}".format(*key.split("/"))
            if name in found and _runs(obj):
                assert said == found[name]["spec"]["ipAddress"]
        assert not cluster.state.reactor.allocator._pending


def _runs(obj: Json) -> bool:
    return obj["status"]["phase"] not in ("Failed", "Succeeded")


TestHistories = Histories.TestCase

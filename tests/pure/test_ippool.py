"""IPPool objects (spec A.5, C.6, C.8, E.1, H.2); expected values typed from the spec and reference/parity/06."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.addresses import address, events, ippool, notes, owned, ready, set_pod, stateful_set, subset
from tests.support.cluster import Cluster, Json, pod, subnet


def status(cluster: Cluster, name: str) -> Json:
    return dict(cluster.get("IPPool", name)["status"])


def conditions(cluster: Cluster, name: str) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status(cluster, name)["conditions"]}


def counts(cluster: Cluster, name: str, version: int = 4) -> tuple[int, str, int, str]:
    found, v = status(cluster, name), f"v{version}"
    return (
        found[f"{v}AvailableIPs"],
        found[f"{v}AvailableIPRange"],
        found[f"{v}UsingIPs"],
        found[f"{v}UsingIPRange"],
    )


def test_the_reference_pool() -> None:
    """reference/parity/06-addresses, pool1."""
    cluster = ready(
        subnet("ad-1", cidrBlock="10.55.0.0/24", excludeIps=["10.55.0.1..10.55.0.20"]),
        ippool("pool1", "ad-1", "10.55.0.100..10.55.0.110", "10.55.0.200", enableAddressSet=True),
        pod("a/q1", "n-1", ip_pool="pool1"),
        pod("a/q4", "n-1", logical_switch="ad-1"),
    )
    assert address(cluster, "q1.a") == "10.55.0.100"
    assert address(cluster, "q4.a") == "10.55.0.21"
    assert notes(cluster, "Pod", "a/q1")["logical_switch"] == "ad-1"
    assert cluster.get("IPPool", "pool1")["metadata"]["finalizers"] == ["kubeovn.io/kube-ovn-controller"]
    assert counts(cluster, "pool1") == (11, "10.55.0.101-10.55.0.110,10.55.0.200", 1, "10.55.0.100")
    assert counts(cluster, "pool1", 6) == (0, "", 0, "")
    assert conditions(cluster, "pool1") == {"Ready": ("True", "UpdateIPAMSucceeded")}
    subset(
        cluster.row("Address_Set", "pool1"),
        addresses={"10.55.0.100/30", "10.55.0.104/30", "10.55.0.108/31", "10.55.0.110", "10.55.0.200"},
        external_ids={"vendor": "kube-ovn", "ippool": "pool1"},
    )


@pytest.mark.parametrize(
    ("entries", "first", "available"),
    [
        (["10.21.0.50"], "10.21.0.50", (1, "10.21.0.50")),
        (["10.21.0.50..10.21.0.52"], "10.21.0.50", (3, "10.21.0.50-10.21.0.52")),
        (["10.21.0.64/30"], "10.21.0.64", (4, "10.21.0.64-10.21.0.67")),
        (["10.21.0.9", "10.21.0.8", "10.21.0.7"], "10.21.0.7", (3, "10.21.0.7-10.21.0.9")),
    ],
)
def test_entries(entries: list[str], first: str, available: tuple[int, str]) -> None:
    cluster = ready(ippool("p", "s1", *entries))
    assert counts(cluster, "p")[:2] == available
    cluster.apply(pod("a/one", "n-1", ip_pool="p")).run()
    assert address(cluster, "one.a") == first


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (ippool("p", "s1", "10.99.0.1"), "10.99.0.1"),
        (ippool("p", "s1", "10.21.0.9..10.21.0.3"), "10.21.0.9..10.21.0.3"),
        (ippool("p", "s1", "10.21.0.0/16"), "10.21.0.0/16"),
        (ippool("p", "s1", "garbage"), "garbage"),
        (ippool("p", "s1", "fd00::1"), "fd00::1"),
        (ippool("p", "gone", "10.21.0.9"), "gone"),
    ],
)
def test_bad_pools_say_so_and_give_nothing(spec: Json, said: str) -> None:
    cluster = ready(spec, pod("a/one", "n-1", ip_pool="p"))
    assert conditions(cluster, "p") == {"Ready": ("False", "UpdateIPAMFailed"), "Error": ("True", "UpdateIPAMFailed")}
    assert any(said in message for message in events(cluster, "IPPool", "p", "UpdateIPAMFailed"))
    assert any("ippool p" in message for message in events(cluster, "Pod", "a/one", "AcquireAddressFailed"))
    assert not address(cluster, "one.a")
    cluster.apply(ippool("p", "s1", "10.21.0.9")).run()  # the cause ends: the pod is served without being touched
    assert conditions(cluster, "p") == {"Ready": ("True", "UpdateIPAMSucceeded")}
    assert address(cluster, "one.a") == "10.21.0.9"


def test_a_bad_edit_keeps_the_set_and_the_users() -> None:
    cluster = ready(ippool("p", "s1", "10.21.0.9", enableAddressSet=True), pod("a/one", "n-1", ip_pool="p"))
    rows = cluster.memory.snapshot()
    cluster.apply(ippool("p", "s1", "10.21.0.999", enableAddressSet=True)).run()
    assert cluster.memory.snapshot() == rows
    assert address(cluster, "one.a") == "10.21.0.9"


def test_pools_that_intersect() -> None:
    cluster = ready(ippool("older", "s1", "10.21.0.10..10.21.0.20"), ippool("younger", "s1", "10.21.0.20..10.21.0.30"))
    assert conditions(cluster, "younger")["Ready"] == ("False", "UpdateIPAMFailed")
    assert conditions(cluster, "older")["Ready"] == ("True", "UpdateIPAMSucceeded")
    assert "older" in events(cluster, "IPPool", "younger")[0]
    cluster.delete("IPPool", "older").run()
    assert conditions(cluster, "younger")["Ready"] == ("True", "UpdateIPAMSucceeded")


def test_others_do_not_get_the_pools_addresses() -> None:
    cluster = ready(ippool("p", "s1", "10.21.0.2..10.21.0.5"), *(pod(f"a/p{i}", "n-1") for i in range(3)))
    assert [address(cluster, f"p{i}.a") for i in range(3)] == ["10.21.0.6", "10.21.0.7", "10.21.0.8"]
    assert counts(cluster, "p") == (4, "10.21.0.2-10.21.0.5", 0, "")
    # Spec C.5: a static address may be of any pool.
    cluster.apply(pod("a/static", "n-1", ip_address="10.21.0.3")).run()
    assert address(cluster, "static.a") == "10.21.0.3"
    assert counts(cluster, "p") == (3, "10.21.0.2,10.21.0.4-10.21.0.5", 1, "10.21.0.3")


def test_an_empty_pool_refuses_until_an_address_is_free() -> None:
    cluster = ready(ippool("p", "s1", "10.21.0.9"), pod("a/one", "n-1", ip_pool="p"), pod("a/two", "n-1", ip_pool="p"))
    assert sorted(address(cluster, n) for n in ("one.a", "two.a")) == ["", "10.21.0.9"]
    first, second = ("one", "two") if address(cluster, "one.a") else ("two", "one")
    assert "NoAvailableAddress" in events(cluster, "Pod", f"a/{second}")[0]
    cluster.delete("Pod", f"a/{first}").run()
    assert address(cluster, f"{second}.a") == "10.21.0.9"


def test_an_edit_while_in_use() -> None:
    cluster = ready(ippool("p", "s1", "10.21.0.9..10.21.0.10"), pod("a/one", "n-1", ip_pool="p"))
    cluster.apply(ippool("p", "s1", "10.21.0.20..10.21.0.21")).run()
    assert address(cluster, "one.a") == "10.21.0.9", "users keep what they have"
    assert counts(cluster, "p") == (2, "10.21.0.20-10.21.0.21", 0, "")
    cluster.apply(pod("a/plain", "n-1"), pod("a/two", "n-1", ip_pool="p")).run()
    assert address(cluster, "plain.a") == "10.21.0.2"
    assert address(cluster, "two.a") == "10.21.0.20"
    cluster.start()
    cluster.run()
    assert [address(cluster, f"{n}.a") for n in ("one", "plain", "two")] == ["10.21.0.9", "10.21.0.2", "10.21.0.20"]


def test_deletion_while_in_use_gives_the_addresses_back() -> None:
    cluster = ready(ippool("p", "s1", "10.21.0.2..10.21.0.3", enableAddressSet=True), pod("a/one", "n-1", ip_pool="p"))
    assert address(cluster, "one.a") == "10.21.0.2"
    cluster.delete("IPPool", "p").run()
    assert ("IPPool", "p") not in cluster.api.objects
    assert ("Address_Set", "p") not in cluster.memory.row_keys()
    assert address(cluster, "one.a") == "10.21.0.2"
    cluster.apply(pod("a/plain", "n-1")).run()
    assert address(cluster, "plain.a") == "10.21.0.3"
    assert not events(cluster, "Pod", "a/one"), "it runs, with its address"


@pytest.mark.parametrize(
    ("name", "row"), [("pool-1.b", "pool.1.b"), ("1pool", None)], ids=["dashes become dots", "no name for a set"]
)
def test_address_set_names(name: str, row: str | None) -> None:
    cluster = ready(ippool(name, "s1", "10.21.0.9", enableAddressSet=True))
    sets = {key for table, key in cluster.memory.row_keys() if table == "Address_Set" and "u2o" not in str(key)}
    assert sets == ({row} if row else set())
    assert bool(events(cluster, "IPPool", name, "UpdateAddressSetFailed")) is (row is None)
    cluster.apply(ippool(name, "s1", "10.21.0.9", enableAddressSet=False)).run()
    assert not {k for t, k in cluster.memory.row_keys() if t == "Address_Set" and "u2o" not in str(k)}


# -- namespaces


def test_a_namespaces_pools() -> None:
    cluster = ready(
        ippool("p1", "s1", "10.21.0.50", namespaces=["a"]),
        ippool("p2", "s1", "10.21.0.60", namespaces=["a", "b"]),
    )
    assert notes(cluster, "Namespace", "a")["ip_pool"] == "p1,p2"
    assert notes(cluster, "Namespace", "b")["ip_pool"] == "p2"
    for name in ("one", "two", "three"):
        cluster.apply(pod(f"a/{name}", "n-1")).run()
    assert [address(cluster, f"{n}.a") for n in ("one", "two", "three")] == ["10.21.0.50", "10.21.0.60", ""]
    assert "NoAvailableAddress" in events(cluster, "Pod", "a/three")[0]
    # b's subnet is not the pools': they cannot be used there (spec C.8, point 6).
    cluster.apply(pod("b/one", "n-1")).run()
    assert not address(cluster, "one.b")
    cluster.apply(ippool("p2", "s1", "10.21.0.60"), ippool("p1", "s1", "10.21.0.50")).run()
    assert "ip_pool" not in notes(cluster, "Namespace", "a")
    assert address(cluster, "three.a") == "10.21.0.2"
    assert address(cluster, "one.b") == "10.22.0.2,fd22::2"


def test_the_first_pool_counts_whichever_subnet_it_is_in() -> None:
    """C.8, point 6: the first of the namespace's pools with an address whose subnet is a candidate."""
    cluster = ready(
        subnet("s3", cidrBlock="10.23.0.0/24", namespaces=["a"]),
        ippool("elsewhere", "s2", "10.22.0.50", namespaces=["a"]),
        ippool("first", "s3", "10.23.0.50", namespaces=["a"]),
        ippool("second", "s1", "10.21.0.50", namespaces=["a"]),
    )
    for number, expected in enumerate(("10.23.0.50", "10.21.0.50", "")):
        cluster.apply(pod(f"a/p{number}", "n-1")).run()
        assert address(cluster, f"p{number}.a") == expected
    assert "NoAvailableAddress" in events(cluster, "Pod", "a/p2", "AcquireAddressFailed")[0]


def test_the_pods_own_choice_beats_the_namespaces() -> None:
    cluster = ready(ippool("p1", "s1", "10.21.0.50", namespaces=["a"]), ippool("p2", "s1", "10.21.0.60"))
    cluster.apply(pod("a/own", "n-1", ip_pool="p2"), pod("a/static", "n-1", ip_address="10.21.0.7")).run()
    assert address(cluster, "own.a") == "10.21.0.60"
    assert address(cluster, "static.a") == "10.21.0.7"


@pytest.mark.parametrize(("place", "wanted"), [("s1", "10.21.0.7"), ("s2", "10.22.0.7")])
def test_a_static_address_counts_before_a_pool(place: str, wanted: str) -> None:
    """Spec C.8, points 7 to 9, and C.5: it may be of any pool; the other family comes from the default pool."""
    pool = ippool("p", "s1", "10.21.0.50") if place == "s1" else ippool("p", "s2", "10.22.0.50", "fd22::50")
    cluster = ready(pool, pod("a/p", "n-1", ip_pool="p", ip_address=wanted))
    assert address(cluster, "p.a") == (wanted if place == "s1" else f"{wanted},fd22::2")
    assert [write.verb for (kind, key), write in cluster.written if (kind, key) == ("IP", "p.a")] == ["create"]


def test_dual_stack() -> None:
    cluster = ready(ippool("p", "s2", "10.22.0.50..10.22.0.59", "fd22::50..fd22::59"), pod("b/one", "n-1", ip_pool="p"))
    assert address(cluster, "one.b") == "10.22.0.50,fd22::50"
    assert counts(cluster, "p") == (9, "10.22.0.51-10.22.0.59", 1, "10.22.0.50")
    assert counts(cluster, "p", 6) == (9, "fd22::51-fd22::59", 1, "fd22::50")


# -- lists of addresses (spec C.8, point 9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.21.0.70,10.21.0.71", ["10.21.0.70", "10.21.0.71", ""]),
        ("10.21.0.70", ["10.21.0.70", "", ""]),
        ("10.21.0.71;10.21.0.70", ["10.21.0.71", "10.21.0.70", ""]),
        ("10.21.0.1,10.21.0.71", ["10.21.0.71", "", ""]),  # the gateway is nobody's
    ],
)
def test_lists_of_deployments(text: str, expected: list[str]) -> None:
    cluster = ready()
    for number in range(3):
        made = owned(pod(f"a/d-{number}", "n-1", ip_pool=text), "ReplicaSet", "d", "apps/v1")
        cluster.apply(made).run()
    assert [address(cluster, f"d-{n}.a") for n in range(3)] == expected
    cluster.delete("Pod", "a/d-0").run()
    assert expected[0] in [address(cluster, f"d-{n}.a") for n in (1, 2)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.22.0.70,fd22::70;10.22.0.71,fd22::71", ["10.22.0.70,fd22::70", "10.22.0.71,fd22::71"]),
        ("10.22.0.70,fd22::70", ["10.22.0.70,fd22::70", ""]),
    ],
)
def test_dual_lists(text: str, expected: list[str]) -> None:
    cluster = ready()
    for number in range(2):
        cluster.apply(pod(f"b/d-{number}", "n-1", ip_pool=text)).run()
    assert [address(cluster, f"d-{n}.b") for n in range(2)] == expected


def test_lists_of_stateful_sets_go_by_ordinal() -> None:
    text = "10.21.0.70,10.21.0.71"
    cluster = ready(stateful_set("a/web", 3, ip_pool=text))
    cluster.apply(*(set_pod(f"a/web-{n}", ip_pool=text) for n in (2, 1, 0))).run()
    assert [address(cluster, f"web-{n}.a") for n in range(3)] == ["10.21.0.70", "10.21.0.71", ""]
    assert "ordinal 2" in events(cluster, "Pod", "a/web-2", "AcquireAddressFailed")[0]


@pytest.mark.parametrize("text", ["10.21.0.7,nonsense", "10.21.0.7;;x", "1.2.3.4,5"])
def test_bad_lists(text: str) -> None:
    cluster = ready(pod("a/one", "n-1", ip_pool=text))
    assert events(cluster, "Pod", "a/one", "ValidatePodNetworkFailed")
    assert not address(cluster, "one.a")


def test_a_restart_writes_nothing() -> None:
    cluster = ready(
        ippool("p", "s1", "10.21.0.50..10.21.0.52", enableAddressSet=True, namespaces=["a"]),
        *(pod(f"a/p{i}", "n-1") for i in range(2)),
    )
    before: list[Any] = list(cluster.written)
    cluster.start()
    assert cluster.run() == []
    assert cluster.written == before
    assert counts(cluster, "p")[2] == 2


def test_a_running_pod_keeps_its_port_when_its_list_has_no_address_for_it_any_more() -> None:
    cluster = ready(stateful_set("a/web", 2, ip_pool="10.21.0.70,10.21.0.71"))
    cluster.apply(set_pod("a/web-1", ip_pool="10.21.0.70,10.21.0.71")).run()
    assert address(cluster, "web-1.a") == "10.21.0.71"
    mine = {k: v for k, v in cluster.get("Pod", "a/web-1")["metadata"]["annotations"].items() if "ip_address" not in k}
    edited = cluster.get("Pod", "a/web-1")
    edited = {
        **edited,
        "metadata": {**edited["metadata"], "annotations": {**mine, "ovn.kubernetes.io/ip_pool": "10.21.0.70"}},
    }
    cluster.apply(edited).run()
    assert address(cluster, "web-1.a") == "10.21.0.71"
    assert notes(cluster, "Pod", "a/web-1")["ip_address"] == "10.21.0.71"
    assert ("Logical_Switch_Port", "web-1.a") in cluster.memory.row_keys()

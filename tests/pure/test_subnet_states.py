"""What Kube-OVN leaves on Subnets, Vlans and VPCs in each phase, and that it stands (spec D.1, D.2, E.1).

Expected values are typed from the spec; `written` is what a new controller would write to what Kube-OVN left.
"""

from __future__ import annotations

from typing import Any

import pytest

from ovnbridge.compile.options import Options
from tests.support.cluster import Cluster, Json, ip, namespace, node, pod, subnet, underlay, vpc

VENDOR = {"vendor": "kube-ovn"}
S1: Json = {"cidrBlock": "10.17.0.0/24"}
NODES = (node("n-1", "192.168.0.11"), node("n-2", "192.168.0.12"), *(node(f"n-{i}", ready=False) for i in (3, 4)))


def ready(*objects: Json, options: Options | None = None) -> Cluster:
    cluster = Cluster(options=options)
    cluster.apply(namespace("app"), *NODES, *objects).run()
    return cluster


def left(cluster: Cluster, kind: str, key: str, patch: Json) -> list[Any]:
    """Restarts on an object as Kube-OVN left it; what is written to objects then."""
    cluster.api.patch(kind, key, patch)
    cluster.written.clear()
    cluster.start()
    cluster.run()
    return cluster.written


def condition(kind: str, status: str, reason: str, message: str = "") -> Json:
    return {"type": kind, "status": status, "reason": reason, **({"message": message} if message else {})}


def conditions(cluster: Cluster, name: str) -> dict[str, tuple[str, str]]:
    found = cluster.get("Subnet", name).get("status", {}).get("conditions", [])
    return {c["type"]: (c["status"], c.get("reason", "")) for c in found}


# -- E.1: conditions


def test_an_error_of_the_past_stands_on_a_subnet_that_works() -> None:
    """The Error condition is never cleared by Kube-OVN."""
    cluster = ready(subnet("s1", **S1))
    reason = "ResetLogicalSwitchAclSuccess"
    past = condition("Error", "True", "ValidateLogicalSwitchFailed", "something was wrong once")
    good = [condition("Validated", "True", reason), condition("Ready", "True", reason), past]
    assert left(cluster, "Subnet", "s1", {"status": {"conditions": good}}) == []


def test_an_error_that_we_saw_is_cleared_with_its_cause() -> None:
    cluster = ready(subnet("s1", **S1, gateway="10.99.0.1"))
    assert conditions(cluster, "s1")["Error"] == ("True", "ValidateLogicalSwitchFailed")
    cluster.apply(subnet("s1", **S1)).run()
    assert conditions(cluster, "s1")["Error"] == ("Unknown", "Init")


@pytest.mark.parametrize("generation", [0, 1])
def test_words_of_kube_ovn_about_a_subnet_that_is_refused_stand(generation: int) -> None:
    """The same conditions in other words are no difference; our own words, which bear a generation, are kept true."""
    cluster = ready(subnet("s1", **S1), subnet("s2", cidrBlock="10.17.0.0/25"))
    reason, words = "ValidateLogicalSwitchFailed", "subnet s2 cidr 10.17.0.0/25 is conflict with subnet s1"
    found = [
        {**condition(kind, status, reason, words), **({"observedGeneration": generation} if generation else {})}
        for kind, status in (("Validated", "False"), ("Ready", "False"), ("Error", "True"))
    ]
    written = left(cluster, "Subnet", "s2", {"status": {"conditions": found}})
    assert (written == []) is (generation == 0)
    cluster.apply(subnet("s2", cidrBlock="10.18.0.0/24")).run()
    assert conditions(cluster, "s2")["Ready"] == ("True", "ResetLogicalSwitchAclSuccess")


CENTRAL: Json = {**S1, "gatewayType": "centralized", "gatewayNode": "n-1,n-2"}


@pytest.mark.parametrize(("spec", "stands"), [(CENTRAL, True), (S1, False)], ids=["centralized", "distributed"])
def test_a_gateway_that_was_found(spec: Json, stands: bool) -> None:
    cluster = ready(subnet("s1", **spec))
    found = "ReconcileCentralizedGatewaySuccess"
    rest = condition("Error", "Unknown", "Init", "Not Observed")
    good = [condition("Validated", "True", found), condition("Ready", "True", found), rest]
    assert (left(cluster, "Subnet", "s1", {"status": {"conditions": good}}) == []) is stands


def test_the_active_gateway_of_a_subnet_that_has_ecmp_now() -> None:
    cluster = ready(subnet("s1", **CENTRAL, enableEcmp=True))
    assert left(cluster, "Subnet", "s1", {"status": {"activateGateway": "n-2"}}) == []


def test_the_global_flag_for_ecmp() -> None:
    """Spec D.1 point 9: centralized subnets get enableEcmp=true; others do not."""
    cluster = ready(subnet("s1", **CENTRAL), subnet("s2", cidrBlock="10.18.0.0/24"), options=Options(enable_ecmp=True))
    assert cluster.get("Subnet", "s1")["spec"]["enableEcmp"] is True
    assert "enableEcmp" not in cluster.get("Subnet", "s2")["spec"]


def test_a_subnet_whose_rows_the_database_refuses_is_not_ready() -> None:
    """The row's error comes into the World (`roles/controller.py`); what was ready before is not any more."""
    cluster = ready(subnet("s1", **S1))
    assert conditions(cluster, "s1")["Ready"][0] == "True"
    cluster.world.put("RowProblem", "Subnet s1", "ACL: constraint violation")
    cluster.run()
    reason = "OVNTransactionFailed"
    states = {"Validated": ("True", reason), "Ready": ("False", reason), "Error": ("True", reason)}
    assert conditions(cluster, "s1") == states
    assert "constraint violation" in cluster.get("Subnet", "s1")["status"]["conditions"][0]["message"]
    told = [i for i in cluster.state.reactor.items("Subnet", "s1") if getattr(i, "reason", "") == reason]
    assert len(told) == 1
    cluster.world.put("RowProblem", "Subnet s1", None)
    cluster.run()
    assert conditions(cluster, "s1")["Ready"] == ("True", "ResetLogicalSwitchAclSuccess")


def test_what_is_wrong_is_said_while_rows_wait() -> None:
    """Ready waits for the commit; its contrary does not."""
    cluster = ready(subnet("s1", **S1))
    cluster.apply(subnet("s1", **{**S1, "gatewayType": "centralized"}))
    cluster.hear()
    (write,) = [w for w in cluster.plan("Subnet", "s1") if w.subresource == "status"]
    assert "NoReadyGateway" in str(write.body)


# -- D.2: the order of a reconcile: defaults, vlan gate, validation, finalizer


def test_a_subnet_that_waits_has_its_defaults_but_no_finalizer() -> None:
    cluster = ready(underlay()[1], subnet("s1", **S1, vlan="v"))
    found = cluster.get("Subnet", "s1")
    wanted = {"gateway": "10.17.0.1", "protocol": "IPv4", "provider": "ovn", "vpc": "ovn-cluster"}
    assert {field: found["spec"].get(field) for field in wanted} == wanted
    assert found["spec"]["excludeIps"] == ["10.17.0.1"]
    assert "finalizers" not in found["metadata"]
    assert "status" not in found


def test_an_invalid_subnet_gets_no_finalizer_and_loses_none() -> None:
    cluster = ready(subnet("s1", **S1, gateway="10.99.0.1"), subnet("s2", cidrBlock="10.18.0.0/24"))
    assert "finalizers" not in cluster.get("Subnet", "s1")["metadata"]
    cluster.apply(subnet("s2", cidrBlock="10.18.0.0/24", gateway="10.99.0.1")).run()
    assert cluster.get("Subnet", "s2")["metadata"]["finalizers"] == ["kubeovn.io/kube-ovn-controller"]


# -- rows beside which others write


@pytest.mark.parametrize("snoop", [False, True])
def test_keys_of_others_in_the_configuration_of_a_switch(snoop: bool) -> None:
    cluster = ready(subnet("s1", **S1, enableMulticastSnoop=snoop))
    theirs = {"subnet": "10.17.0.0/24", "mcast_table_size": "2048"}
    stale = {"mcast_snoop": "true", "mcast_eth_src": "00:00:00:00:00:01"}

    def edit(content: Any) -> None:
        (row,) = [row for row in content["Logical_Switch"].values() if row["name"] == "s1"]
        row["other_config"] = {**row["other_config"], **theirs, **({} if snoop else stale)}

    cluster.database.edit(edit)
    cluster.start()
    cluster.run()
    found = cluster.row("Logical_Switch", "s1")["other_config"]
    assert {name: found.get(name) for name in theirs} == theirs
    assert ("mcast_snoop" in found) is snoop


def test_the_prefix_of_router_advertisements() -> None:
    """Its length, as Kube-OVN draws it from the port's networks; it goes with the network that it is of."""
    dual = {"cidrBlock": "10.17.0.0/24,fd17::/64"}
    cluster = ready(subnet("s1", **dual, enableIPv6RA=True))

    def prefix() -> set[str]:
        return set(cluster.row("Logical_Router_Port", "ovn-cluster-s1")["ipv6_prefix"])

    assert prefix() == {"64"}
    cluster.apply(subnet("s1", cidrBlock="10.17.0.0/24,fd17::/112", enableIPv6RA=True)).run()
    assert prefix() == {"112"}
    cluster.apply(subnet("s1", **S1, enableIPv6RA=True)).run()
    assert prefix() == set()
    cluster.apply(subnet("s1", **dual, enableIPv6RA=True)).run()
    cluster.apply(subnet("s1", **dual)).run()
    assert prefix() == set()


# -- D.1 point 6, D.17


def test_the_start_objects_of_a_cluster_on_a_vlan() -> None:
    given = Options(
        network_type="vlan", default_interface_name="eth1", default_vlan_id=7, default_u2o_interconnection=True
    )
    cluster = ready(options=given)
    assert cluster.get("ProviderNetwork", "provider")["spec"] == {"defaultInterface": "eth1"}
    assert cluster.get("Vlan", "ovn-vlan")["spec"] == {"id": 7, "provider": "provider"}
    spec = cluster.get("Subnet", "ovn-default")["spec"]
    assert (spec["vlan"], spec["u2oInterconnection"]) == ("ovn-vlan", True)
    assert "logicalGateway" not in spec
    assert cluster.row("Logical_Switch_Port", "localnet.ovn-default")["tag"] == 7
    assert not [key for key in ready().api.objects if key[0] in ("Vlan", "ProviderNetwork")]


def test_a_vlan_without_provider_gets_the_default_one() -> None:
    vlan = {"kind": "Vlan", "metadata": {"name": "v"}, "spec": {"id": 3}}
    cluster = ready(underlay(network="provider")[0], vlan, subnet("s1", **S1, vlan="v"))
    assert cluster.get("Vlan", "v")["spec"] == {"id": 3, "provider": "provider"}
    assert cluster.row("Logical_Switch_Port", "localnet.s1")["options"] == {"network_name": "provider"}


def test_untagged_vlans_of_one_network_are_not_in_conflict() -> None:
    """D.17: the same provider and the same id, unless that is 0."""
    subnets = subnet("s1", **S1, vlan="a"), subnet("s2", cidrBlock="10.18.0.0/24", vlan="b")
    cluster = ready(*underlay("a", 0), underlay("b", 0)[1], *subnets)
    assert [cluster.get("Vlan", name)["status"]["conflict"] for name in "ab"] == [False, False]
    assert cluster.get("ProviderNetwork", "net1")["status"]["vlans"] == ["a", "b"]
    assert [conditions(cluster, name)["Ready"][0] for name in ("s1", "s2")] == ["True", "True"]


# -- D.5


def test_the_order_of_the_nodes_that_host_a_bfd_port_stands() -> None:
    nodes = [node(f"m{i}", f"192.168.1.{i}", chassis=f"c{i}") for i in range(1, 6)]
    cluster = ready(*nodes, vpc("v1", bfdPort={"enabled": True, "ip": "10.9.9.9"}))
    assert cluster.get("Vpc", "v1")["status"]["bfdPort"]["nodes"] == ["m1", "m2", "m3"]
    left(cluster, "Vpc", "v1", {"status": {"bfdPort": {"nodes": ["m5", "m2", "m4"]}}})
    assert cluster.get("Vpc", "v1")["status"]["bfdPort"]["nodes"] == ["m5", "m2", "m4"]
    rows = {c: cluster.row("HA_Chassis", ("bfd@v1", c))["priority"] for c in ("c5", "c2", "c4")}
    assert rows == {"c5": 100, "c2": 99, "c4": 98}


# -- D.2: spec.vips


def test_parents_of_a_virtual_port_by_allowed_address_pairs() -> None:
    """Ports whose external_ids say attach-vips and whose vips have the address: by `aaps` as by `port_vips`."""
    labels = {"ovn.kubernetes.io/subnet": "s1", "ovn.kubernetes.io/ip_reserved": ""}
    shared = {
        "kind": "Vip",
        "metadata": {"name": "shared", "labels": labels, "finalizers": ["kubeovn.io/kube-ovn-controller"]},
        "spec": {"subnet": "s1", "namespace": "app", "v4ip": "10.17.0.100"},
        "status": {"v4ip": "10.17.0.100", "mac": "02:00:00:00:00:01"},
    }
    pods = [
        pod("app/a", "n-1", logical_switch="s1", aaps="shared"),
        pod("app/b", "n-1", logical_switch="s1", port_vips="10.17.0.100"),
        pod("app/c", "n-1", logical_switch="s1"),
        pod("app/d", "n-1", aaps="shared"),
    ]
    cluster = ready(subnet("s1", **S1, vips=["10.17.0.100"], excludeIps=["10.17.0.100"]), shared, *pods)
    attached = {
        key
        for (table, key), (row,) in cluster.memory.snapshot().items()
        if table == "Logical_Switch_Port"
        and row["external_ids"].get("attach-vips") == "true"
        and row["external_ids"]["ls"] == "s1"
    }
    assert attached == {"a.app", "b.app"}
    options = cluster.row("Logical_Switch_Port", "s1-vip-10.17.0.100")["options"]
    assert options == {"virtual-ip": "10.17.0.100", "virtual-parents": "a.app,b.app"}


# -- E.12


def test_services_of_servicecidr_objects() -> None:
    """Merged with the flag's; a change is followed."""
    more = {"kind": "ServiceCIDR", "metadata": {"name": "more"}, "spec": {"cidrs": ["10.112.0.0/16", "fd96::/112"]}}
    known = {"kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12"]}}
    leases = (ip("n-1", "join", "100.64.0.2"), ip("n-2", "join", "100.64.0.3"))
    spec = {**S1, "vlan": "v", "u2oInterconnection": True, "enableLb": False}
    cluster = ready(*leases, *underlay(), subnet("s1", **spec), known, more)

    def services() -> set[tuple[str, str]]:
        return {
            (row["external_ids"]["svcCidr"], row["external_ids"]["node"])
            for (table, _), (row,) in cluster.memory.snapshot().items()
            if table == "Logical_Router_Policy" and row["external_ids"].get("node") in ("n-1", "n-2")
            if "isU2ONoLBRoutePolicy" in row["external_ids"]
        }

    both = {(cidr, n) for cidr in ("10.96.0.0/12", "10.112.0.0/16") for n in ("n-1", "n-2")}
    assert services() == both
    cluster.delete("ServiceCIDR", "more").run()
    assert services() == {pair for pair in both if pair[0] == "10.96.0.0/12"}


# -- names


@pytest.mark.parametrize("dual", [False, True])
def test_names_with_dots_and_dashes(dual: bool) -> None:
    """D.2.4, H.2: dashes become dots in names of groups and sets, nothing else does."""
    cidr = "10.17.0.0/24,fd17::/64" if dual else "10.17.0.0/24"
    given = Options(node_switch_cidr="100.64.0.0/16,fd00:100:64::/112") if dual else Options()
    here = node("n-a.example.com", "192.168.9.9", *(["fd09::9"] if dual else []))
    lease = ip("n-a.example.com", "join", "100.64.0.9", *(["fd00:100:64::9"] if dual else []))
    cluster = Cluster(options=given)
    cluster.apply(namespace("app"), here, lease, subnet("s-1.x", cidrBlock=cidr)).run()
    group = cluster.row("Port_Group", "s.1.x.n.a.example.com")
    ids = {"subnet": "s-1.x", "node": "n-a.example.com", "np": "s-1.x/n-a.example.com"}
    assert group["external_ids"] == {**VENDOR, **ids}
    own = cluster.row("Port_Group", "node.n.a.example.com")["external_ids"]
    assert own == {**VENDOR, "node": "n-a.example.com", "np": "node/n-a.example.com"}
    found = {
        (key[1], key[2]): (row["action"], set(row["nexthops"]), row["external_ids"])
        for (table, key), (row,) in cluster.memory.snapshot().items()
        if table == "Logical_Router_Policy" and row["priority"] < 31000
    }
    hops = {4: "100.64.0.9", **({6: "fd00:100:64::9"} if dual else {})}
    inside = {4: "192.168.9.9", 6: "fd09::9"}
    expected: dict[Any, Any] = {}
    for family, hop in hops.items():
        mark = {**VENDOR, "node": "n-a.example.com", "address-family": str(family)}
        expected[30000, f"ip{family}.dst == {inside[family]}"] = ("reroute", {hop}, mark)
        of_subnet = {**VENDOR, "subnet": "s-1.x", "node": "n-a.example.com"}
        match = f"ip{family}.src == $s.1.x.n.a.example.com_ip{family}"
        expected[29000, match] = ("reroute", {hop}, of_subnet)
        expected_default = f"ip{family}.src == $ovn.default.n.a.example.com_ip{family}"
        if family == 4:
            expected[29000, expected_default] = ("reroute", {hop}, {**of_subnet, "subnet": "ovn-default"})
    assert found == expected
    routes = {
        key[3:]
        for table, key in cluster.memory.row_keys()
        if table == "Logical_Router_Static_Route" and key[0] == "ovn-cluster"
    }
    assert routes == {("0.0.0.0/0", "100.64.0.1"), *({("::/0", "fd00:100:64::1")} if dual else ())}


def test_a_node_without_internal_address() -> None:
    """It has its port and group; what names its own address is not there."""
    cluster = Cluster()
    cluster.apply(namespace("app"), node("n-1"), ip("n-1", "join", "100.64.0.2")).run()
    assert cluster.row("Logical_Switch_Port", "node-n-1")["external_ids"] == {**VENDOR, "ls": "join"}
    policies = {key[1:] for table, key in cluster.memory.row_keys() if table == "Logical_Router_Policy"}
    assert {match for priority, match in policies if priority == 30000} == set()
    assert (29000, "ip4.src == $ovn.default.n.1_ip4") in policies

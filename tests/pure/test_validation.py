"""The judge behind the webhook: reviews in, verdicts out, in the terms of spec part F.

Objects are what users write; expected refusals are typed from spec F.1–F.6.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from ovnbridge.model.crd.codec import convert
from ovnbridge.validation import MalformedReview, answer
from tests.support.admission import TYPES, accepted, judge, refused, review
from tests.support.cluster import Json, ip, merged, pod, subnet, underlay, vpc
from tests.support.hostile import hostile, pool, vip, workload

CIDR = {"cidrBlock": "10.20.0.0/24"}

BAD_SUBNETS: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    ({"cidrBlock": "10.16.128.0/24"}, "spec.cidrBlock", ("ovn-default",)),
    ({"cidrBlock": "10.0.0.0/8"}, "spec.cidrBlock", ("ovn-default",)),
    ({"cidrBlock": "100.64.7.0/24"}, "spec.cidrBlock", ("join",)),
    ({**CIDR, "gateway": "10.21.0.1"}, "spec.gateway", ("10.21.0.1", "10.20.0.0/24")),
    ({**CIDR, "gateway": "10.20.0.0"}, "spec.gateway", ("network",)),
    ({**CIDR, "gateway": "10.20.0.255"}, "spec.gateway", ("broadcast",)),
    ({"cidrBlock": "127.1.0.0/16"}, "spec.cidrBlock", ("127.0.0.0/8",)),
    ({"cidrBlock": "169.254.0.0/24"}, "spec.cidrBlock", ("169.254.0.0/16",)),
    ({"cidrBlock": "224.0.0.0/24"}, "spec.cidrBlock", ("224.0.0.0/4",)),
    ({"cidrBlock": "FD00::/112"}, "spec", ("lower case",)),
    ({"cidrBlock": "10.20.0.0/33"}, "spec", ("10.20.0.0/33",)),
    ({"cidrBlock": "nonsense"}, "spec", ("nonsense",)),
    ({**CIDR, "excludeIps": ["10.20.0.9..10.20.0.3"]}, "spec.excludeIps", ("10.20.0.9..10.20.0.3",)),
    ({**CIDR, "private": True, "allowSubnets": ["10.1.1.1"]}, "spec.allowSubnets", ("10.1.1.1",)),
    ({**CIDR, "gatewayType": "somewhere"}, "spec.gatewayType", ("somewhere",)),
    ({"cidrBlock": "fd00:20::/112", "mtu": 1279}, "spec.mtu", ("1279",)),
    ({**CIDR, "logicalGateway": True, "u2oInterconnection": True}, "spec.logicalGateway", ("exclusive",)),
    ({**CIDR, "vpc": "s"}, "spec", ("VPC",)),
    ({**CIDR, "acls": [{"direction": "up", "priority": 1, "match": "ip", "action": "drop"}]}, "spec.acls", ("'up'",)),
]


@pytest.mark.parametrize(("spec", "field", "words"), BAD_SUBNETS, ids=[json.dumps(s) for s, _, _ in BAD_SUBNETS])
def test_bad_subnets_are_refused(spec: dict[str, Any], field: str, words: tuple[str, ...]) -> None:
    refused(review(judge(), "CREATE", subnet("s", **spec)), field, *words)
    good = subnet("s", cidrBlock="10.99.0.0/24")
    accepted(review(judge(), "CREATE", good))
    refused(review(judge(good), "UPDATE", subnet("s", **spec), good), field, *words)


GOOD_SUBNETS: list[dict[str, Any]] = [
    CIDR,
    {"cidrBlock": "10.16.0.0/16", "vpc": "other"},
    {"cidrBlock": "10.16.0.0/16", "vlan": "v1"},
    {"cidrBlock": "10.20.0.0/24,fd00:20::/112"},
    {"cidrBlock": "10.20.0.0/31"},
    {"cidrBlock": "fd00:20::/112", "gateway": "fd00:20::ffff"},
    {**CIDR, "excludeIps": ["10.20.0.3..10.20.0.9", "10.20.0.20"]},
    {"vlan": "v1"},
]


@pytest.mark.parametrize("spec", GOOD_SUBNETS, ids=map(json.dumps, GOOD_SUBNETS))
def test_good_subnets_are_accepted(spec: dict[str, Any]) -> None:
    accepted(review(judge(vpc("other")), "CREATE", subnet("s", **spec)))


def test_objects_of_one_manifest_may_come_in_any_order() -> None:
    accepted(review(judge(), "CREATE", subnet("s", vpc="not-yet-there", **CIDR)))
    accepted(review(judge(), "CREATE", pool("p", "not-yet-there", "10.20.0.9")))
    accepted(review(judge(), "CREATE", vip("v", "not-yet-there", v4ip="10.20.0.9")))


def test_a_review_changes_nothing() -> None:
    at = judge()
    new = subnet("s", cidrBlock="10.20.0.0/24")
    accepted(review(at, "CREATE", new))
    accepted(review(at, "CREATE", subnet("t", cidrBlock="10.20.0.0/24")))
    at.world.put("Subnet", "s", convert(new, TYPES["Subnet"]))
    refused(review(at, "CREATE", subnet("t", cidrBlock="10.20.0.0/24")), "spec.cidrBlock", "subnet s")
    moved = subnet("s", cidrBlock="10.30.0.0/24")
    at.world.put("Subnet", "s", convert(moved, TYPES["Subnet"]))
    accepted(review(at, "CREATE", subnet("t", cidrBlock="10.20.0.0/24")))
    refused(review(at, "CREATE", subnet("t", cidrBlock="10.30.0.0/24")), "spec.cidrBlock", "subnet s")


def test_many_subnets_are_not_asked_again() -> None:
    """The cost of a review does not follow the number of subnets: none of the others is evaluated."""
    others = [subnet(f"s{i}", cidrBlock=f"10.{100 + i // 250}.{i % 250}.0/24") for i in range(500)]
    at = judge(*others)
    at.settle()
    accepted(review(at, "CREATE", subnet("s", cidrBlock="10.20.0.0/24")))
    before = at.evaluations
    accepted(review(at, "CREATE", subnet("t", cidrBlock="10.21.0.0/24")))
    refused(review(at, "CREATE", subnet("t", cidrBlock="10.100.7.0/24")), "spec.cidrBlock", "subnet s7")
    assert at.evaluations == before


class TestSubnetChanges:
    old = subnet("s", cidrBlock="10.20.0.0/24", gateway="10.20.0.1", vpc="ovn-cluster")

    def changed(self, **spec: Any) -> Json:
        return merged(self.old, {"spec": spec})  # type: ignore[no-any-return]

    def test_gateway_stays_while_addresses_are_used(self) -> None:
        used = judge(self.old, ip("app/p", "s", "10.20.0.5"))
        refused(review(used, "UPDATE", self.changed(gateway="10.20.0.2"), self.old), "spec.gateway", "p.app")
        accepted(review(judge(self.old), "UPDATE", self.changed(gateway="10.20.0.2"), self.old))

    def test_the_controllers_own_defaults_pass(self) -> None:
        bare = subnet("s", cidrBlock="10.20.0.0/24")
        used = judge(bare, ip("app/p", "s", "10.20.0.5"))
        accepted(review(used, "UPDATE", self.old, bare))

    def test_vpc_and_kind_of_addresses_stay(self) -> None:
        refused(review(judge(self.old), "UPDATE", self.changed(vpc="other"), self.old), "spec.vpc", "ovn-cluster")
        macs = subnet("s", vlan="v1")
        refused(review(judge(macs), "UPDATE", self.changed(vlan="v1"), macs), "spec.cidrBlock")

    def test_status_metadata_and_objects_on_their_way_out_pass(self) -> None:
        broken = subnet("s", cidrBlock="10.16.0.0/24")
        labelled = merged(broken, {"metadata": {"labels": {"a": "b"}}, "status": {"v4usingIPs": 3}})
        accepted(review(judge(broken), "UPDATE", labelled, broken))
        dying = merged(broken, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"vpc": "q"}})
        accepted(review(judge(broken), "UPDATE", dying, broken))

    def test_names(self) -> None:
        refused(review(judge(vpc("v")), "CREATE", subnet("v", **CIDR)), "metadata.name", "vpc v")
        refused(review(judge(subnet("v", **CIDR)), "CREATE", vpc("v")), "metadata.name", "subnet v")

    def test_namespaces_of_the_vpc(self) -> None:
        at = judge(vpc("v", namespaces=["a", "b"]))
        accepted(review(at, "CREATE", subnet("s", vpc="v", namespaces=["a"], **CIDR)))
        wrong = subnet("s", vpc="v", namespaces=["a", "c"], **CIDR)
        refused(review(at, "CREATE", wrong), "spec", "c", "vpc v")


class TestDeletion:
    def test_subnet_with_addresses(self) -> None:
        old = subnet("s", **CIDR)
        leases = [ip(f"app/p{i}", "s", f"10.20.0.{i}") for i in range(2, 7)]
        refused(review(judge(old, *leases), "DELETE", old=old), "", "p2.app, p3.app, p4.app and 2 more")
        accepted(review(judge(old), "DELETE", old=old))

    def test_vpc_with_subnets(self) -> None:
        old = vpc("v")
        refused(review(judge(old, subnet("s", vpc="v", **CIDR)), "DELETE", old=old), "", "subnet s")
        broken = subnet("b", vpc="v", cidrBlock="nonsense")
        refused(review(judge(old, broken), "DELETE", old=old), "", "subnet b")
        accepted(review(judge(old, subnet("s", **CIDR)), "DELETE", old=old))

    def test_vlan_and_provider_network(self) -> None:
        network = {"kind": "ProviderNetwork", "metadata": {"name": "pn"}, "spec": {"defaultInterface": "eth1"}}
        vlan = {"kind": "Vlan", "metadata": {"name": "v100"}, "spec": {"id": 100, "provider": "pn"}}
        at = judge(network, vlan, subnet("s", vlan="v100", **CIDR))
        refused(review(at, "DELETE", old=vlan), "", "subnet s")
        refused(review(at, "DELETE", old=network), "", "vlan v100")
        accepted(review(judge(network, vlan), "DELETE", old=vlan))
        accepted(review(judge(network), "DELETE", old=network))

    def test_ippool_with_leases(self) -> None:
        old = pool("p", "s", "10.20.0.10..10.20.0.19")
        inside, outside = ip("app/a", "s", "10.20.0.15"), ip("app/b", "s", "10.20.0.20")
        refused(review(judge(subnet("s", **CIDR), old, inside), "DELETE", old=old), "", "a.app")
        accepted(review(judge(subnet("s", **CIDR), old, outside), "DELETE", old=old))

    def test_vip_in_use(self) -> None:
        old = vip("v", "s", v4ip="10.20.0.9")
        at = judge(subnet("s", **CIDR), old, pod("app/p", aaps="x,v"))
        refused(review(at, "DELETE", old=old), "", "app/p")
        accepted(review(judge(subnet("s", **CIDR), old, pod("app/p", aaps="x")), "DELETE", old=old))


class TestVpc:
    @pytest.mark.parametrize(
        ("spec", "field", "word"),
        [
            ({"staticRoutes": [{"cidr": "10.0.0.0/33", "nextHopIP": "10.1.1.1"}]}, "spec.staticRoutes", "10.0.0.0/33"),
            ({"staticRoutes": [{"cidr": "10.0.0.0/8", "nextHopIP": "x"}]}, "spec.staticRoutes", "'x'"),
            ({"staticRoutes": [{"cidr": "10.0.0.0/8", "nextHopIP": "::1", "policy": "n"}]}, "spec.staticRoutes", "'n'"),
            ({"policyRoutes": [{"priority": 1, "match": "ip4", "action": "jump"}]}, "spec.policyRoutes", "jump"),
            (
                {"policyRoutes": [{"priority": 1, "match": "ip4", "action": "reroute", "nextHopIP": "10.1.1"}]},
                "spec.policyRoutes",
                "10.1.1",
            ),
        ],
    )  # fmt: skip
    def test_bad_routes(self, spec: dict[str, Any], field: str, word: str) -> None:
        refused(review(judge(), "CREATE", vpc("v", **spec)), field, word)

    def test_good_routes(self) -> None:
        spec = {
            "staticRoutes": [{"cidr": "0.0.0.0/0", "nextHopIP": "10.1.1.1", "policy": "policyDst"}],
            "policyRoutes": [
                {"priority": 10, "match": "ip4", "action": "drop"},
                {"priority": 11, "match": "ip4", "action": "reroute", "nextHopIP": "10.1.1.1, 10.1.1.2"},
            ],
        }
        accepted(review(judge(), "CREATE", vpc("v", **spec)))

    @pytest.mark.parametrize(
        "spec",
        [
            {"staticRoutes": [{"cidr": "0.0.0.0/0", "nextHopIP": "10.1.1.1", "bfdId": str(uuid.UUID(int=1))}]},
            {"enableExternal": True, "enableBfd": True, "extraExternalSubnets": ["e1"]},
            {"bfdPort": {"enabled": True, "ip": "10.255.255.1"}},
        ],
    )
    def test_what_may_still_come_is_no_reason(self, spec: dict[str, Any]) -> None:
        """BFD sessions, addresses and chassis are not known here, or come later."""
        accepted(review(judge(), "CREATE", vpc("v", **spec)))


class TestLedger:
    s = subnet("s", gateway="10.20.0.1", **CIDR)
    held = ip("app/p", "s", "10.20.0.5")

    def lease(self, **spec: Any) -> Json:
        return merged(ip("app/q", "s", "10.20.0.6"), {"spec": spec})  # type: ignore[no-any-return]

    @pytest.mark.parametrize(
        ("spec", "field", "word"),
        [
            ({"v4IpAddress": "10.20.0.5"}, "spec.v4IpAddress", "ip p.app"),
            ({"v4IpAddress": "10.21.0.5"}, "spec.v4IpAddress", "10.20.0.0/24"),
            ({"v4IpAddress": "10.20.0.1"}, "spec.v4IpAddress", "gateway"),
            ({"v4IpAddress": "10.20.0.255"}, "spec.v4IpAddress", "broadcast"),
            ({"v4IpAddress": "10.20.0"}, "spec.v4IpAddress", "10.20.0"),
            ({"v4IpAddress": "10.20.0.77"}, "spec.v4IpAddress", "vip v"),
            ({"v6IpAddress": "FD00::1"}, "spec.v6IpAddress", "lower case"),
            ({"macAddress": "00:11"}, "spec.macAddress", "00:11"),
            ({"podType": "Deployment"}, "spec.podType", "Deployment"),
            ({"subnet": ""}, "spec.subnet", "subnet"),
        ],
    )
    def test_bad_ips(self, spec: dict[str, Any], field: str, word: str) -> None:
        at = judge(self.s, self.held, vip("v", "s", v4ip="10.20.0.77"))
        refused(review(at, "CREATE", self.lease(**spec)), field, word)

    def test_good_ip_and_its_immutable_fields(self) -> None:
        at = judge(self.s, self.held)
        accepted(review(at, "CREATE", self.lease()))
        accepted(review(at, "UPDATE", self.lease(nodeName="n-2"), self.lease()))
        for field, value in (("v4IpAddress", "10.20.0.7"), ("macAddress", "00:00:00:00:00:09"), ("podName", "z")):
            refused(review(at, "UPDATE", self.lease(**{field: value}), self.lease()), f"spec.{field}", "cannot change")

    @pytest.mark.parametrize(
        ("spec", "field", "word"),
        [
            ({"v4ip": "10.20.0.5"}, "spec.v4ip", "ip p.app"),
            ({"v4ip": "10.9.0.5"}, "spec.v4ip", "10.20.0.0/24"),
            ({"v6ip": "10.20.0.9"}, "spec.v6ip", "IPv6"),
            ({"macAddress": "zz"}, "spec.macAddress", "zz"),
            ({"subnet": ""}, "spec.subnet", "subnet"),
        ],
    )
    def test_bad_vips(self, spec: dict[str, Any], field: str, word: str) -> None:
        wish = merged(vip("v", "s"), {"spec": spec})
        refused(review(judge(self.s, self.held), "CREATE", wish), field, word)

    def test_the_last_address_of_an_ipv6_network_is_not_given(self) -> None:
        """Spec H.1: the last usable one is before it; that a gateway may have it is another matter (F.1)."""
        at = judge(subnet("d", cidrBlock="10.21.0.0/24,fd21::/112"))
        refused(review(at, "CREATE", vip("v", "d", v6ip="fd21::ffff")), "spec.v6ip", "broadcast")
        accepted(review(at, "CREATE", vip("v", "d", v6ip="fd21::fffe")))

    def test_a_vlan_whose_tag_is_taken(self) -> None:
        """Spec D.17: the second vlan with a tag on a provider network is in conflict."""
        network, vlan = underlay("v1", 10)
        at = judge(network, vlan)
        refused(review(at, "CREATE", underlay("v2", 10)[1]), "spec.id", "vlan v1")
        accepted(review(at, "CREATE", underlay("v2", 11)[1]))

    def test_an_assigned_vip_stays(self) -> None:
        old = merged(vip("v", "s", v4ip="10.20.0.9"), {"status": {"v4ip": "10.20.0.9"}})
        new = merged(old, {"spec": {"v4ip": "10.20.0.10"}})
        refused(review(judge(self.s, old), "UPDATE", new, old), "spec.v4ip", "assigned")
        accepted(review(judge(self.s, old), "UPDATE", merged(old, {"spec": {"selector": ["a:b"]}}), old))

    def test_the_controller_fills_in_what_it_assigned(self) -> None:
        old = merged(vip("v", "s"), {"status": {"v4ip": "10.20.0.9", "mac": "00:00:00:00:00:09"}})
        new = merged(old, {"spec": {"v4ip": "10.20.0.9", "macAddress": "00:00:00:00:00:09"}})
        accepted(review(judge(self.s, old), "UPDATE", new, old))

    @pytest.mark.parametrize(
        ("ips", "field", "word"),
        [
            (["10.20.0.9..10.20.0.3"], "spec.ips", "10.20.0.9..10.20.0.3"),
            (["10.20.0.50", "10.21.0.1"], "spec.ips", "10.20.0.0/24"),
            (["10.20.0.0/23"], "spec.ips", "10.20.0.0/24"),
            (["nonsense"], "spec.ips", "nonsense"),
            (["10.20.0.8/29"], "spec.ips", "ippool other"),
        ],
    )
    def test_bad_pools(self, ips: list[str], field: str, word: str) -> None:
        at = judge(self.s, pool("other", "s", "10.20.0.10..10.20.0.19"))
        refused(review(at, "CREATE", pool("p", "s", *ips)), field, word)

    def test_good_pool(self) -> None:
        at = judge(self.s, pool("other", "s", "10.20.0.10..10.20.0.19"), pool("far", "t", "10.20.0.20"))
        accepted(review(at, "CREATE", pool("p", "s", "10.20.0.20..10.20.0.29", "10.20.0.64/28", "10.20.0.9")))


ANNOTATIONS: list[tuple[dict[str, str], str, str]] = [
    ({"ip_address": "10.16.0.300"}, "ip_address", "10.16.0.300"),
    ({"ip_address": "10.17.0.3"}, "ip_address", "ovn-default"),
    ({"ip_address": "10.16.0.1"}, "ip_address", "gateway"),
    ({"ip_address": "10.16.0.5"}, "ip_address", "ip p.other"),
    ({"ip_address": "10.16.0.7,10.16.0.8"}, "ip_address", "family"),
    ({"mac_address": "00:11:22"}, "mac_address", "00:11:22"),
    ({"ip_family": "IPv5"}, "ip_family", "IPv5"),
    ({"ip_family": "ipv6"}, "ip_family", "no ipv6 addresses in subnet ovn-default"),
    ({"north_gateway": "x"}, "north_gateway", "'x'"),
    ({"ingress_rate": "-3"}, "ingress_rate", "-3"),
    ({"ip_pool": "nobody"}, "ip_pool", "nobody"),
    ({"ip_pool": "10.16.0.7;10.16.0.x"}, "ip_pool", "10.16.0.x"),
]


class TestWorkloads:
    @pytest.mark.parametrize(("notes", "name", "word"), ANNOTATIONS, ids=[json.dumps(n) for n, _, _ in ANNOTATIONS])
    @pytest.mark.parametrize("kind", ["Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"])
    def test_bad_annotations(self, kind: str, notes: dict[str, str], name: str, word: str) -> None:
        at = judge(ip("other/p", "ovn-default", "10.16.0.5"))
        subject = pod("app/web", **notes) if kind == "Pod" else workload(kind, **notes)
        where = {"Pod": "", "CronJob": "spec.jobTemplate.spec.template."}.get(kind, "spec.template.")
        refused(review(at, "CREATE", subject), f"{where}metadata.annotations[ovn.kubernetes.io/{name}]", word)

    @pytest.mark.parametrize(
        "notes",
        [
            {},
            {"ip_address": "10.16.0.9"},
            {"ip_address": "10.16.0.5"},
            {"ip_pool": "10.16.0.9,10.16.0.10"},
            {"ip_pool": "pool"},
            {"mac_address": "00:11:22:33:44:55", "ip_family": "ipv4", "ingress_rate": "3"},
            {"ip_address": "10.99.0.9", "logical_switch": "not-yet-there"},
        ],
    )
    @pytest.mark.parametrize("kind", ["Pod", "StatefulSet"])
    def test_good_annotations(self, kind: str, notes: dict[str, str]) -> None:
        """10.16.0.5 is the workload's own, from before."""
        at = judge(ip("app/web-0", "ovn-default", "10.16.0.5"), pool("pool", "ovn-default", "10.16.0.40"))
        accepted(review(at, "CREATE", pod("app/web-0", **notes) if kind == "Pod" else workload(kind, **notes)))

    def test_a_pod_of_a_workload_needs_one_free_address_of_the_list(self) -> None:
        at = judge(ip("app/web-1", "ovn-default", "10.16.0.5"), ip("other/q", "ovn-default", "10.16.0.6"))
        owned = {"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "name": "web", "uid": "1"}]}}
        accepted(review(at, "CREATE", merged(pod("app/web-2", ip_pool="10.16.0.5,10.16.0.7"), owned)))
        full = merged(pod("app/web-2", ip_pool="10.16.0.5,10.16.0.6"), owned)
        refused(review(at, "CREATE", full), "metadata.annotations[ovn.kubernetes.io/ip_pool]", "web-1.app", "q.other")

    def test_a_pod_needs_one_free_address_of_a_list_and_a_workload_all(self) -> None:
        """The pod would take the free one; a workload's pods would all need one."""
        at = judge(ip("other/q", "ovn-default", "10.16.0.6"))
        lists = {"10.16.0.6,10.16.0.7": "ip q.other", "10.16.0.7,10.17.0.8": "10.17.0.8"}
        for text, word in lists.items():
            notes = {"ip_pool": text}
            accepted(review(at, "CREATE", pod("app/w", **notes)))
            for kind in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
                refused(review(at, "CREATE", workload(kind, **notes)), "spec.template.metadata.annotations", word)
        refused(review(at, "CREATE", pod("app/w", ip_pool="10.16.0.6,10.17.0.8")), "metadata.annotations", "q.other")

    def test_a_pod_that_takes_over_a_vip_has_its_address(self) -> None:
        at = judge(merged(vip("v", "ovn-default", v4ip="10.16.0.9"), {"status": {"v4ip": "10.16.0.9"}}))
        accepted(review(at, "CREATE", pod("app/w", vip="v", ip_address="10.99.0.1", ip_pool="nobody")))
        refused(review(at, "CREATE", pod("app/w", vip="none", ip_address="10.99.0.1")), "metadata.annotations", "10.99")

    def test_host_network_and_live_migration_pass(self) -> None:
        at = judge(ip("other/p", "ovn-default", "10.16.0.5"))
        accepted(review(at, "CREATE", pod("app/w", spec={"hostNetwork": True}, ip_address="10.16.0.5")))
        moving = merged(
            pod("app/w", ip_address="10.16.0.5"), {"metadata": {"annotations": {"kubevirt.io/migrationJobName": "m"}}}
        )
        accepted(review(at, "CREATE", moving))


def test_other_kinds_subresources_and_connects_pass() -> None:
    accepted(review(judge(), "CREATE", {"kind": "Widget", "metadata": {"name": "w"}}))
    accepted(review(judge(), "CONNECT", pod("app/p", ip_address="nonsense")))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"request": {}}', b'{"request": {"uid": "x"}}', b"\xff"])
def test_what_is_no_review_is_said_so(body: bytes) -> None:
    with pytest.raises(MalformedReview):
        answer(judge(), body)


@pytest.mark.parametrize("seed", range(40))
def test_hostile_objects_get_an_answer(seed: int) -> None:
    """400 of them: accepted, or refused with a message that names the field or what cannot be read."""
    at = judge(subnet("b", cidrBlock="nonsense"), ip("other/p", "ovn-default", "10.16.0.5"))
    for obj in hostile(seed):
        for operation, old in (("CREATE", None), ("UPDATE", obj), ("DELETE", obj)):
            response = review(at, operation, obj if operation != "DELETE" else None, old)
            if not response["allowed"]:
                assert len(response["status"]["message"]) > 10
                assert response["status"]["code"] in {403, 409, 422}

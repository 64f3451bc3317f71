"""Every field of a Subnet, Vlan and ProviderNetwork, from each kind of value to each other: whatever the history, the
rows, the objects and the leases are those of a fresh start on the final objects.

The lists of fields come from the types, so that a new field cannot be forgotten. A subnet that is edited has pods, a
Vip and an IPPool in it. While a spec is refused, what is in OVN stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ovnbridge.compile.options import Options
from ovnbridge.compile.ownership import acl_scope, pool_scope
from ovnbridge.model.crd.subnet import SubnetSpec
from tests.support.cluster import Cluster, Json, key_of, namespace, node, pod, subnet, underlay, vpc
from tests.support.fresh import differences, publish, restarted

OPTIONS = Options(node_switch_cidr="100.64.0.0/16,fd00:100:64::/112")
_AGAIN: Json = {"gateway": None, "excludeIps": None, "u2oInterconnectionIP": None}
"""What was filled in, or given, for another cidrBlock."""
_ACL = {"direction": "to-lport", "priority": 1010, "match": "ip4.src == 10.0.0.0/8", "action": "drop"}

# Field → values that differ in kind; each is a merge patch of the spec. `None` takes the field away.
SUBNET: Mapping[str, tuple[Json, ...]] = {
    "default": ({"default": None}, {"default": True}),
    "vpc": ({"vpc": None}, {"vpc": "ovn-cluster"}, {"vpc": "v1"}, {"vpc": "v2"}, {"vpc": "gone"}, {"vpc": "s"}),
    "protocol": ({"protocol": None}, {"protocol": "IPv6"}, {"protocol": "IPX"}),
    "namespaces": ({"namespaces": None}, {"namespaces": ["a"]}, {"namespaces": ["b", "a"]}),
    "namespaceSelectors": ({"namespaceSelectors": None}, {"namespaceSelectors": [{"matchLabels": {"team": "red"}}]}),
    "cidrBlock": (
        {"cidrBlock": "10.17.0.0/24", **_AGAIN},
        {"cidrBlock": "10.17.0.0/24,fd17::/64", **_AGAIN},
        {"cidrBlock": "fd17::/64,10.17.0.0/16", **_AGAIN},
        {"cidrBlock": "fd17::/64", **_AGAIN},
        {"cidrBlock": "10.27.0.5/28", **_AGAIN},
        {"cidrBlock": "10.17.0.0/23"},
        {"cidrBlock": None, **_AGAIN},
        {"cidrBlock": "10.17.0.0/33"},
    ),
    "gateway": ({"gateway": None}, {"gateway": "10.17.0.254"}, {"gateway": "10.99.0.1"}),
    "excludeIps": ({"excludeIps": None}, {"excludeIps": ["10.17.0.1..10.17.0.9", "10.17.0.50"]}, {"excludeIps": ["x"]}),
    "provider": ({"provider": None}, {"provider": "net.a.ovn"}, {"provider": "net.a"}),
    "gatewayType": ({"gatewayType": None}, {"gatewayType": "distributed"}, {"gatewayType": "centralized"}),
    "gatewayNode": (
        {"gatewayNode": None},
        {"gatewayNode": "n-2"},
        {"gatewayNode": "n-3,n-1:172.16.0.1, n-2"},
        {"gatewayNode": "n-3"},
        {"gatewayNode": "gone"},
    ),
    "gatewayNodeSelectors": (
        {"gatewayNodeSelectors": None},
        {"gatewayNodeSelectors": [{"matchLabels": {"gw": "yes"}}]},
    ),
    "natOutgoing": ({"natOutgoing": None}, {"natOutgoing": True}),
    "natOutgoingPolicyRules": (
        {"natOutgoingPolicyRules": None},
        {"natOutgoingPolicyRules": [{"match": {"srcIPs": "10.17.0.4"}, "action": "forward"}]},
        {"natOutgoingPolicyRules": [{"match": {"srcIPs": "10.17.0.4", "dstIPs": "fd00::1"}, "action": "nat"}]},
    ),
    "externalEgressGateway": ({"externalEgressGateway": None}, {"externalEgressGateway": "10.99.0.1"}),
    "policyRoutingPriority": ({"policyRoutingPriority": None}, {"policyRoutingPriority": 1000}),
    "policyRoutingTableID": ({"policyRoutingTableID": None}, {"policyRoutingTableID": 1001}),
    "mtu": ({"mtu": None}, {"mtu": 1300}, {"mtu": 1000}),
    "private": ({"private": None}, {"private": True}),
    "allowSubnets": ({"allowSubnets": None}, {"allowSubnets": ["10.99.0.0/24", "fd99::/64"]}, {"allowSubnets": ["x"]}),
    "vlan": ({"vlan": None}, {"vlan": "v"}, {"vlan": "w"}, {"vlan": "gone"}, {"vlan": "waits"}),
    "vips": ({"vips": None}, {"vips": ["10.17.0.100"]}, {"vips": ["10.17.0.101", "10.17.0.100"]}),
    "logicalGateway": ({"logicalGateway": None}, {"logicalGateway": True}),
    "disableGatewayCheck": ({"disableGatewayCheck": None}, {"disableGatewayCheck": True}),
    "disableInterConnection": ({"disableInterConnection": None}, {"disableInterConnection": True}),
    "enableDHCP": ({"enableDHCP": None}, {"enableDHCP": True}),
    "dhcpV4Options": (
        {"dhcpV4Options": None},
        {"dhcpV4Options": "lease_time=60,dns_server={10.0.0.10;10.0.0.11}"},
        {"dhcpV4Options": "server_mac=00:00:00:00:00:09"},
    ),
    "dhcpV6Options": ({"dhcpV6Options": None}, {"dhcpV6Options": "dns_server=fd00::53"}),
    "enableIPv6RA": ({"enableIPv6RA": None}, {"enableIPv6RA": True}),
    "ipv6RAConfigs": ({"ipv6RAConfigs": None}, {"ipv6RAConfigs": "address_mode=slaac"}),
    "acls": (
        {"acls": None},
        {"acls": [_ACL]},
        {"acls": [{**_ACL, "action": "pass"}, _ACL]},
        {"acls": [{"match": "ip"}]},
    ),
    "allowEWTraffic": ({"allowEWTraffic": None}, {"allowEWTraffic": True}),
    "u2oInterconnection": ({"u2oInterconnection": None}, {"u2oInterconnection": True}),
    "u2oInterconnectionIP": (
        {"u2oInterconnectionIP": None},
        {"u2oInterconnectionIP": "10.17.0.60"},
        {"u2oInterconnectionIP": "10.17.0.50"},  # a pod's
        {"u2oInterconnectionIP": "10.99.0.1"},
    ),
    "u2oFeatures": ({"u2oFeatures": None}, {"u2oFeatures": {"overlayOnlyRouting": True}}),
    "enableLb": ({"enableLb": None}, {"enableLb": True}, {"enableLb": False}),
    "enableEcmp": ({"enableEcmp": None}, {"enableEcmp": True}),
    "enableMulticastSnoop": ({"enableMulticastSnoop": None}, {"enableMulticastSnoop": True}),
    "enableExternalLBAddress": ({"enableExternalLBAddress": None}, {"enableExternalLBAddress": True}),
    "routeTable": ({"routeTable": None}, {"routeTable": "blue"}),
    "nodeNetwork": ({"nodeNetwork": None}, {"nodeNetwork": "storage"}),
}

_OVERLAY: Json = {"cidrBlock": "10.17.0.0/24"}
_U2O: Json = {**_OVERLAY, "vlan": "v", "u2oInterconnection": True}
PROFILES: Mapping[str, Json] = {
    "overlay": _OVERLAY,
    "dual": {"cidrBlock": "10.17.0.0/24,fd17::/64"},
    "centralized": {**_OVERLAY, "gatewayType": "centralized", "gatewayNode": "n-2,n-1"},
    "ecmp": {
        "cidrBlock": "10.17.0.0/24,fd17::/64",
        "gatewayType": "centralized",
        "gatewayNode": "n-2,n-1",
        "enableEcmp": True,
    },
    "custom VPC": {**_OVERLAY, "vpc": "v1"},
    "underlay": {**_OVERLAY, "vlan": "v"},
    "MAC only": {"vlan": "v"},
    "logical gateway": {**_OVERLAY, "vlan": "v", "logicalGateway": True},
    "U2O": _U2O,
    "U2O overlay only": {**_U2O, "u2oFeatures": {"overlayOnlyRouting": True}},
    "U2O without load balancer": {**_U2O, "enableLb": False},
    "dual U2O in a custom VPC": {**_U2O, "cidrBlock": "10.17.0.0/24,fd17::/64", "vpc": "v1"},
    "DHCP": {
        "cidrBlock": "10.17.0.0/24,fd17::/64",
        "enableDHCP": True,
        "enableIPv6RA": True,
        "enableMulticastSnoop": True,
    },
    "addresses only": {**_OVERLAY, "provider": "net.a"},
}

_UNSERVED = {"kind": "Vlan", "metadata": {"name": "waits"}, "spec": {"id": 12, "provider": "to come"}}
_VIP = {"kind": "Vip", "metadata": {"name": "shared"}, "spec": {"subnet": "s", "namespace": "a"}}
_POOL = {
    "kind": "IPPool",
    "metadata": {"name": "pool"},
    "spec": {"subnet": "s", "ips": ["10.17.0.70..10.17.0.75"], "enableAddressSet": True},
}
AROUND: tuple[Json, ...] = (
    namespace("a", team="red"),
    namespace("b"),
    node("n-1", "192.168.0.11", "fd01::11", labels={"gw": "yes"}),
    node("n-2", "192.168.0.12", "fd01::12", labels={"gw": "yes"}),
    node("n-3", "192.168.0.13", ready=False),
    vpc("v1", namespaces=["b"], defaultSubnet="s"),
    vpc("v2"),
    *underlay("v"),
    underlay("w", 0, "net2")[0],
    underlay("w", 0, "net2")[1],
    _UNSERVED,
    subnet("other", cidrBlock="10.18.0.0/24,fd18::/64"),
    subnet(
        "beside", cidrBlock="10.19.0.0/24", vlan="v", u2oInterconnection=True, u2oFeatures={"overlayOnlyRouting": True}
    ),
    subnet("tenant", cidrBlock="10.20.0.0/24", vpc="v1"),
)
WITHIN: tuple[Json, ...] = (
    _VIP,
    _POOL,
    pod("a/first", "n-1", phase="Running", logical_switch="s", aaps="shared"),
    pod("a/static", "n-2", phase="Running", logical_switch="s", ip_address="10.17.0.50"),
    pod("a/waiting", logical_switch="s", port_vips="10.17.0.100", **{"dhcp-v4-options": "lease_time=7"}),
    pod("a/pooled", "n-2", phase="Running", logical_switch="s", ip_pool="pool"),
    pod("b/anywhere", "n-1", phase="Running"),
)


class Player:
    """A cluster, and what its users have written."""

    def __init__(self, *objects: Json) -> None:
        self.cluster = Cluster(options=OPTIONS)
        self.given: dict[tuple[str, str], Json] = {}
        self.put(*AROUND, *objects)
        self.put(*WITHIN)

    def put(self, *objects: Json) -> None:
        for obj in objects:
            self.given[key_of(obj)] = obj
            self.cluster.apply(obj)
        self.cluster.run()

    def edit(self, kind: str, name: str, patch: Json) -> None:
        """`kubectl patch` of a spec: what was filled in by the controller stays where the patch says nothing of it."""
        before, held = self.cluster.memory.snapshot(), self.held()
        self.cluster.api.patch(kind, name, {"spec": patch})
        self.cluster.run()
        if self.held() and not held:
            assert self.cluster.memory.snapshot() == before, "a spec that is refused changes nothing"

    def held(self) -> bool:
        return self.cluster.engine.desired.held("s")

    def compare(self, what: str) -> None:
        """With a fresh start, unless rows of the past are kept on purpose."""
        cluster = self.cluster
        publish(cluster)
        assert cluster.engine.desired.clashes() == []
        assert cluster.engine.desired.snapshot() == cluster.engine.recompute().snapshot()
        held = cluster.engine.desired.held
        if held("s") or held(acl_scope("s")):
            return
        fresh = restarted(cluster, self.given)
        kept = (("Address_Set", "pool"), "IPPool pool") if held(pool_scope("pool")) else ()
        found = differences(cluster, fresh, kept)
        assert not found, "\n".join([what, *found])


def fields(spec: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(spec)}


def test_no_field_is_forgotten() -> None:
    assert fields(SubnetSpec) == SUBNET.keys()
    for field, patches in SUBNET.items():
        assert all(field in patch for patch in patches)


PATCHES = st.sampled_from([(field, patch) for field, patches in SUBNET.items() for patch in patches])


@given(st.sampled_from(list(PROFILES)), st.lists(PATCHES, min_size=1, max_size=6))
def test_random_edits_of_a_subnet(profile: str, edits: list[tuple[str, Json]]) -> None:
    player = Player(subnet("s", **PROFILES[profile]))
    player.compare(profile)
    for number, (_, patch) in enumerate(edits):
        player.edit("Subnet", "s", patch)
        player.compare(f"{profile}: {edits[: number + 1]}")

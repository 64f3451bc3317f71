"""Every field of the kinds that are built has its effect, or a reason why not; the list of fields is the types' own.

Each row edits one field of one object and looks at one place, before and after. Expected values come from the spec's
tables, never from our output. What a feature does in full is tested where the feature is.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import pytest

from tests.support.cluster import Cluster, Json, ip, merged, subnet, underlay, vpc
from tests.support.fields import (
    ABSENT,
    BASE,
    BFD,
    BUILT,
    CENTRAL,
    DUAL,
    EXTERNAL,
    NAT,
    NAT_RULE,
    PEER,
    POD,
    POOL,
    RESERVED,
    S1,
    S2,
    U2O,
    V1,
    VIP,
    Look,
    column,
    field,
    keys,
    made,
    part,
    paths,
    warned,
)


class Effect(NamedTuple):
    """Objects, the edit of one of them (the last one, its spec), where to look, and what is there before and after."""

    objects: tuple[Json, ...]
    edit: Json
    look: Look
    before: Any
    after: Any


ROUTE = {"cidr": "10.9.0.0/16", "nextHopIP": "10.17.0.9"}
ROUTES = keys("Logical_Router_Static_Route", "v1")
_WAS = ("v1", "", "dst-ip", "10.9.0.0/16", "10.17.0.9")
POLICY = {"priority": 100, "match": "ip4.dst == 198.51.100.1", "action": "reroute", "nextHopIP": "10.17.0.9"}
POLICIES = keys("Logical_Router_Policy", "v1")
_POLICY_KEY = ("v1", 100, "ip4.dst == 198.51.100.1")


def ports(cluster: Cluster) -> set[str]:
    """Router ports, but for the default VPC's."""
    return {key for key in keys("Logical_Router_Port")(cluster) if not key.startswith("ovn-cluster")}


NODES_OF_BFD = keys("HA_Chassis", "bfd@v1")
SWITCH = field("Namespace", "app", "metadata.annotations.@logical_switch")

VPC: dict[str, Effect] = {
    "defaultSubnet": Effect((S1, V1), {"defaultSubnet": "s1"}, SWITCH, "ovn-default", "s1"),
    "namespaces": Effect((S1, vpc("v1", defaultSubnet="s1")), {"namespaces": ["app"]}, SWITCH, "ovn-default", "s1"),
    "staticRoutes": Effect((V1,), {"staticRoutes": [ROUTE]}, ROUTES, set(), {_WAS}),
    **{
        f"staticRoutes.{name}": Effect(
            (made(V1, staticRoutes=[ROUTE]),),
            {"staticRoutes": [{**ROUTE, name: value}]},
            ROUTES,
            {_WAS},
            {("v1", *key)},
        )
        for name, value, key in (
            ("policy", "policySrc", ("", "src-ip", "10.9.0.0/16", "10.17.0.9")),
            ("cidr", "10.8.0.0/16", ("", "dst-ip", "10.8.0.0/16", "10.17.0.9")),
            ("nextHopIP", "10.17.0.8", ("", "dst-ip", "10.9.0.0/16", "10.17.0.8")),
            ("routeTable", "blue", ("blue", "dst-ip", "10.9.0.0/16", "10.17.0.9")),
        )
    },
    # No such session: the route waits, which the object says (docs/differences.md).
    "staticRoutes.bfdId": Effect(
        (made(V1, staticRoutes=[ROUTE]),), {"staticRoutes": [{**ROUTE, "bfdId": "b"}]}, warned("Vpc", "v1"), False, True
    ),
    "policyRoutes": Effect((V1,), {"policyRoutes": [POLICY]}, POLICIES, set(), {_POLICY_KEY}),
    "policyRoutes.priority": Effect(
        (made(V1, policyRoutes=[POLICY]),),
        {"policyRoutes": [{**POLICY, "priority": 7}]},
        POLICIES,
        {_POLICY_KEY},
        {("v1", 7, POLICY["match"])},
    ),
    "policyRoutes.match": Effect(
        (made(V1, policyRoutes=[POLICY]),),
        {"policyRoutes": [{**POLICY, "match": "ip4"}]},
        POLICIES,
        {_POLICY_KEY},
        {("v1", 100, "ip4")},
    ),
    "policyRoutes.action": Effect(
        (made(V1, policyRoutes=[POLICY]),),
        {"policyRoutes": [{**POLICY, "action": "drop"}]},
        column("Logical_Router_Policy", _POLICY_KEY, "action"),
        "reroute",
        "drop",
    ),
    "policyRoutes.nextHopIP": Effect(
        (made(V1, policyRoutes=[POLICY]),),
        {"policyRoutes": [{**POLICY, "nextHopIP": "10.17.0.8,10.17.0.7"}]},
        column("Logical_Router_Policy", _POLICY_KEY, "nexthops"),
        {"10.17.0.9"},
        {"10.17.0.7", "10.17.0.8"},
    ),
    "vpcPeerings": Effect(
        (V1,), {"vpcPeerings": [PEER]}, column("Logical_Router_Port", "v1-v2", "peer"), ABSENT, "v2-v1"
    ),
    "vpcPeerings.remoteVpc": Effect(
        (made(V1, vpcPeerings=[PEER]),), {"vpcPeerings": [{**PEER, "remoteVpc": "v3"}]}, ports, {"v1-v2"}, {"v1-v3"}
    ),
    "vpcPeerings.localConnectIP": Effect(
        (made(V1, vpcPeerings=[PEER]),),
        {"vpcPeerings": [{**PEER, "localConnectIP": "fd01::1/64"}]},
        column("Logical_Router_Port", "v1-v2", "networks"),
        {"169.254.0.1/30"},
        {"fd01::1/64"},
    ),
    "enableExternal": Effect(
        (*EXTERNAL, V1),
        {"enableExternal": True},
        column("Logical_Router_Port", "v1-external", "networks"),
        ABSENT,
        {"172.16.0.9/16"},
    ),
    "extraExternalSubnets": Effect(
        (*EXTERNAL, made(V1, enableExternal=True)),
        {"extraExternalSubnets": ["e2"]},
        column("Logical_Router_Port", "v1-e2", "networks"),
        ABSENT,
        {"172.17.0.9/16"},
    ),
    "enableBfd": Effect(
        (*EXTERNAL, made(V1, enableExternal=True)),
        {"enableBfd": True},
        keys("BFD"),
        set(),
        {("v1-external", "172.16.0.1")},
    ),
    "bfdPort": Effect((V1,), {"bfdPort": BFD}, ports, set(), {"bfd@v1"}),
    "bfdPort.enabled": Effect(
        (made(V1, bfdPort=BFD),), {"bfdPort": {**BFD, "enabled": False}}, ports, {"bfd@v1"}, set()
    ),
    "bfdPort.ip": Effect(
        (made(V1, bfdPort=BFD),),
        {"bfdPort": {**BFD, "ip": "10.255.255.254"}},
        column("Logical_Router_Port", "bfd@v1", "networks"),
        {"10.255.255.255"},
        {"10.255.255.254"},
    ),
    "bfdPort.nodeSelector": Effect(
        (made(V1, bfdPort=BFD),),
        {"bfdPort": {**BFD, "nodeSelector": {"matchLabels": {"gw": "no"}}}},
        NODES_OF_BFD,
        {("bfd@v1", "c-1"), ("bfd@v1", "c-2")},
        {("bfd@v1", "c-2")},
    ),
}

ACL = {"direction": "to-lport", "priority": 1010, "match": "ip4.src == 10.0.0.0/8", "action": "drop"}
_ACL_KEY = ("s2", "to-lport", 1010, "ip4.src == 10.0.0.0/8", 2)
ACLS = keys("ACL", "s2")
DHCP = made(S2, enableDHCP=True)
OPTIONS = ("DHCP_Options", ("s2", "IPv4", ""))
OPTIONS6 = ("DHCP_Options", ("s2", "IPv6", ""))
UPLINK = ("Logical_Router_Port", "ovn-cluster-s2")
LEFT_BY = ("Logical_Router_Policy", ("ovn-cluster", 29000, "ip4.src == 10.18.0.0/24"))
RULES = field("Subnet", "s2", "status.natOutgoingPolicyRules")
FIRST_ADDRESS = field("IP", "p.app", "spec.ipAddress")


def rule(**change: Any) -> Look:
    """The NAT rule in the status, but for its identifier."""
    return lambda cluster: [{name: r[name] for name in ("match", "action")} for r in RULES(cluster)]


SUBNET: dict[str, Effect] = {
    "default": Effect((V1, S1), {"default": True}, field("Vpc", "v1", "status.defaultLogicalSwitch"), "", "s1"),
    "vpc": Effect((V1, vpc("v2"), S1), {"vpc": "v2"}, ports, {"v1-s1"}, {"v2-s1"}),
    "namespaces": Effect((S2,), {"namespaces": ["app"]}, SWITCH, "ovn-default", "s2"),
    "namespaceSelectors": Effect(
        (S2,), {"namespaceSelectors": [{"matchLabels": {"team": "red"}}]}, SWITCH, "ovn-default", "s2"
    ),
    "cidrBlock": Effect(
        (S2,),
        {"cidrBlock": "10.18.0.0/25", "gateway": "", "excludeIps": []},
        column(*UPLINK, "networks"),
        {"10.18.0.1/24"},
        {"10.18.0.1/25"},
    ),
    "gateway": Effect(
        (S2,), {"gateway": "10.18.0.254"}, column(*UPLINK, "networks"), {"10.18.0.1/24"}, {"10.18.0.254/24"}
    ),
    "excludeIps": Effect(
        (S2,), {"excludeIps": ["10.18.0.1..10.18.0.9"]}, field("Subnet", "s2", "status.v4availableIPs"), 253, 245
    ),
    "provider": Effect((S2,), {"provider": "net.app"}, keys("Logical_Switch", "s2"), {"s2"}, set()),
    "gatewayType": Effect(
        (made(S2, gatewayNode="n-2"),),
        {"gatewayType": "centralized"},
        column(*LEFT_BY, "nexthops"),
        ABSENT,
        {"100.64.0.3"},
    ),
    "gatewayNode": Effect(
        (CENTRAL,), {"gatewayNode": "n-2"}, column(*LEFT_BY, "nexthops"), {"100.64.0.2"}, {"100.64.0.3"}
    ),
    "gatewayNodeSelectors": Effect(
        (made(S2, gatewayType="centralized"),),
        {"gatewayNodeSelectors": [{"matchLabels": {"gw": "no"}}]},
        column(*LEFT_BY, "nexthops"),
        ABSENT,
        {"100.64.0.3"},
    ),
    "natOutgoing": Effect(
        (made(S2, natOutgoingPolicyRules=[NAT_RULE]),), {"natOutgoing": True}, rule(), [], [NAT_RULE]
    ),
    "natOutgoingPolicyRules": Effect(
        (made(S2, natOutgoing=True),), {"natOutgoingPolicyRules": [NAT_RULE]}, rule(), [], [NAT_RULE]
    ),
    **{
        f"natOutgoingPolicyRules.{name}": Effect(
            (NAT,), {"natOutgoingPolicyRules": [{**NAT_RULE, **change}]}, rule(), [NAT_RULE], [{**NAT_RULE, **change}]
        )
        for name, change in (
            ("action", {"action": "nat"}),
            ("match", {"match": {"srcIPs": "10.18.0.6", "dstIPs": "198.51.100.1"}}),
            ("match.srcIPs", {"match": {**NAT_RULE["match"], "srcIPs": "10.18.0.5"}}),
            ("match.dstIPs", {"match": {**NAT_RULE["match"], "dstIPs": "192.0.2.1"}}),
        )
    },
    # In the control plane these two only exclude each other; the rest is the nodes'.
    "externalEgressGateway": Effect(
        (made(S2, natOutgoing=True),), {"externalEgressGateway": "192.0.2.1"}, warned("Subnet", "s2"), False, True
    ),
    "policyRoutingTableID": Effect(
        (
            subnet("s0", cidrBlock="10.19.0.0/24", externalEgressGateway="192.0.2.1", policyRoutingTableID=7),
            made(S2, externalEgressGateway="192.0.2.1", policyRoutingTableID=8),
        ),
        {"policyRoutingTableID": 7},
        warned("Subnet", "s2"),
        False,
        True,
    ),
    "mtu": Effect((DHCP,), {"mtu": 1342}, column(*OPTIONS, "options", "mtu"), "1400", "1342"),
    "private": Effect((S2,), {"private": True}, lambda c: ("s2", "to-lport", 1000, "ip", 2) in ACLS(c), False, True),
    "allowSubnets": Effect(
        (made(S2, private=True),),
        {"allowSubnets": ["10.99.0.0/24"]},
        lambda c: any("10.99.0.0/24" in key[3] and key[2] == 1001 for key in ACLS(c)),
        False,
        True,
    ),
    "vlan": Effect((S2,), {"vlan": "v20"}, column("Logical_Switch_Port", "localnet.s2", "tag"), ABSENT, 20),
    "vips": Effect(
        (S2,), {"vips": ["10.18.0.9"]}, column("Logical_Switch_Port", "s2-vip-10.18.0.9", "type"), ABSENT, "virtual"
    ),
    "logicalGateway": Effect(
        (made(S2, vlan="v10"),), {"logicalGateway": True}, column(*UPLINK, "networks"), ABSENT, {"10.18.0.1/24"}
    ),
    "enableDHCP": Effect((S2,), {"enableDHCP": True}, column(*OPTIONS, "cidr"), ABSENT, "10.18.0.0/24"),
    "dhcpV4Options": Effect(
        (DHCP,), {"dhcpV4Options": "lease_time=60"}, column(*OPTIONS, "options", "lease_time"), "3600", "60"
    ),
    "dhcpV6Options": Effect(
        (made(DUAL, enableDHCP=True),),
        {"dhcpV6Options": "dns_server=fd18::9"},
        column(*OPTIONS6, "options", "dns_server"),
        ABSENT,
        "fd18::9",
    ),
    "enableIPv6RA": Effect((DUAL,), {"enableIPv6RA": True}, column(*UPLINK, "ipv6_prefix"), set(), {"64"}),
    "ipv6RAConfigs": Effect(
        (made(DUAL, enableIPv6RA=True),),
        {"ipv6RAConfigs": "address_mode=slaac"},
        column(*UPLINK, "ipv6_ra_configs"),
        {"address_mode": "dhcpv6_stateful", "max_interval": "30", "min_interval": "5", "send_periodic": "true"},
        {"address_mode": "slaac"},
    ),
    "acls": Effect((S2,), {"acls": [ACL]}, ACLS, set(), {_ACL_KEY}),
    **{
        f"acls.{name}": Effect((made(S2, acls=[ACL]),), {"acls": [{**ACL, name: value}]}, ACLS, {_ACL_KEY}, {key})
        for name, value, key in (
            ("direction", "from-lport", ("s2", "from-lport", *_ACL_KEY[2:])),
            ("priority", 7, ("s2", "to-lport", 7, *_ACL_KEY[3:])),
            ("match", "ip6", ("s2", "to-lport", 1010, "ip6", 2)),
        )
    },
    "acls.action": Effect(
        (made(S2, acls=[ACL]),),
        {"acls": [{**ACL, "action": "allow-related"}]},
        column("ACL", _ACL_KEY, "action"),
        "drop",
        "allow-related",
    ),
    "allowEWTraffic": Effect(
        (made(S2, acls=[ACL]),),
        {"allowEWTraffic": True},
        lambda c: {key[1] for key in ACLS(c) if key[2] == 1900},
        set(),
        {"to-lport", "from-lport"},
    ),
    "u2oInterconnection": Effect(
        (made(S2, vlan="v10"),),
        {"u2oInterconnection": True},
        column(*LEFT_BY, "nexthops"),
        ABSENT,
        {"10.18.0.1"},
    ),
    "u2oInterconnectionIP": Effect(
        (made(S2, vlan="v10"),),
        {"u2oInterconnection": True, "u2oInterconnectionIP": "10.18.0.77"},
        column(*UPLINK, "networks"),
        ABSENT,
        {"10.18.0.77/24"},
    ),
    **{
        name: Effect(
            (U2O,),
            {"u2oFeatures": {"overlayOnlyRouting": True}},
            keys("Logical_Router_Policy", ("ovn-cluster", 30050, "ip4.src == 10.18.0.0/24")),
            set(),
            {("ovn-cluster", 30050, "ip4.src == 10.18.0.0/24")},
        )
        for name in ("u2oFeatures", "u2oFeatures.overlayOnlyRouting")
    },
    "enableLb": Effect(
        (S2,),
        {"enableLb": False},
        lambda c: len(column("Logical_Switch", "s2", "load_balancer")(c)),
        6,
        0,
    ),
    "enableEcmp": Effect(
        (CENTRAL,), {"enableEcmp": True}, column(*LEFT_BY, "nexthops"), {"100.64.0.2"}, {"100.64.0.2", "100.64.0.3"}
    ),
    "enableMulticastSnoop": Effect(
        (S2,),
        {"enableMulticastSnoop": True},
        column("Logical_Switch", "s2", "other_config", "mcast_snoop"),
        ABSENT,
        "true",
    ),
    "routeTable": Effect((S2,), {"routeTable": "blue"}, column(*UPLINK, "options"), {}, {"route_table": "blue"}),
}

LEASE = field("IP", "p.app", "spec.v4IpAddress")
TAKEN = (S2, POD, RESERVED)
ADDRESSES: dict[str, dict[str, Effect]] = {
    "IPPool": {
        "subnet": Effect((S2, DUAL, POOL), {"subnet": "gone"}, warned("IPPool", "pool"), False, True),
        "namespaces": Effect(
            (S2, POOL),
            {"namespaces": ["app"]},
            field("Namespace", "app", "metadata.annotations.@ip_pool"),
            ABSENT,
            "pool",
        ),
        "ips": Effect((S2, POOL), {"ips": ["10.18.0.8"]}, field("IPPool", "pool", "status.v4AvailableIPs"), 16, 1),
        "enableAddressSet": Effect(
            (S2, POOL),
            {"enableAddressSet": True},
            column("Address_Set", "pool", "addresses"),
            ABSENT,
            {"10.18.0.32/28"},
        ),
    },
    "Vip": {
        "namespace": Effect(
            (S2, VIP), {"namespace": "app"}, column("Logical_Switch_Port", "vip", "type"), ABSENT, "virtual"
        ),
        "subnet": Effect(
            (S2, made(VIP, subnet="")), {"subnet": "s2"}, field("Vip", "vip", "status.v4ip"), "", "10.18.0.2"
        ),
        "type": Effect(
            (S2, VIP),
            {"type": "switch_lb_vip"},
            column("Logical_Switch_Port", "vip.", "options"),
            ABSENT,
            {"arp_proxy": "true"},
        ),
        "v4ip": Effect((S2, VIP), {"v4ip": "10.18.0.50"}, warned("Vip", "vip"), False, True),
        "v6ip": Effect((DUAL, VIP), {"v6ip": "fd18::50"}, warned("Vip", "vip"), False, True),
        "macAddress": Effect((S2, VIP), {"macAddress": "00:00:00:00:00:09"}, warned("Vip", "vip"), False, True),
        "selector": Effect(
            (
                S2,
                merged(POD, {"metadata": {"annotations": {"ovn.kubernetes.io/aaps": "vip"}}}),
                made(VIP, namespace="app"),
            ),
            {"selector": ["app:other"]},
            column("Logical_Switch_Port", "vip", "options", "virtual-parents"),
            "p.app",
            ABSENT,
        ),
    },
    "Vlan": {
        "id": Effect(
            (made(S2, vlan="v10"), underlay("v10", 10)[1]),
            {"id": 11},
            column("Logical_Switch_Port", "localnet.s2", "tag"),
            10,
            11,
        ),
        "provider": Effect(
            (made(S2, vlan="v10"), underlay("v10", 10)[1]),
            {"provider": "net2"},
            column("Logical_Switch_Port", "localnet.s2", "options"),
            {"network_name": "net1"},
            {"network_name": "net2"},
        ),
        "vlanId": Effect(
            ({"kind": "Vlan", "metadata": {"name": "old"}, "spec": {"provider": "net1"}},),
            {"vlanId": 30},
            field("Vlan", "old", "spec.id"),
            ABSENT,
            30,
        ),
        "providerInterfaceName": Effect(
            ({"kind": "Vlan", "metadata": {"name": "old"}, "spec": {"id": 30, "provider": "net1"}},),
            {"provider": "", "providerInterfaceName": "net2"},
            field("Vlan", "old", "spec.provider"),
            "net1",
            "net2",
        ),
    },
}

SPEC = {"Vpc": VPC, "Subnet": SUBNET, **ADDRESSES}
ROWS = [pytest.param(kind, row, id=f"{kind}.{path}") for kind, rows in SPEC.items() for path, row in rows.items()]

_RECORD = "what an IP object records of its holder; those made by hand: tests/pure/test_ipam_statics.py"
_BRIDGE = "which nodes set up a bridge, and how: the node agents', whose say is in the status (spec D.17)"
_OLD = "not used by Kube-OVN any more"
ELSEWHERE: dict[str, str] = {
    "Vpc.staticRoutes.ecmpMode": "what every route with a bfdId is, and no other (spec D, general rules)",
    "Subnet.protocol": "derived from cidrBlock (spec D.2.0)",
    "Subnet.policyRoutingPriority": "the nodes' ip rules; not built",
    "Subnet.disableGatewayCheck": "the node's: ovnbridge/node/attachment.py, tests/node/test_attachment.py",
    "Subnet.nodeNetwork": "the node's: ovnbridge/node/attachment.py, tests/node/test_attachment.py",
    "Subnet.disableInterConnection": "OVN-IC; not built",
    "Subnet.enableExternalLBAddress": "the nodes' flows for MetalLB; not built",
    **{f"IP.{name}": _RECORD for name in ("podName", "namespace", "nodeName", "ipAddress")},
    **{f"IP.{name}": _OLD for name in ("attachSubnets", "attachIps", "attachMacs", "containerID")},
    "Vip.attachSubnets": _OLD,
    **{f"ProviderNetwork.{path}": _BRIDGE for path in paths(part("ProviderNetwork", "spec"))},
}


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_effect(kind: str, row: Effect) -> None:
    cluster = Cluster().apply(*BASE, *row.objects)
    cluster.run()
    assert row.look(cluster) == row.before
    cluster.apply(merged(row.objects[-1], {"spec": row.edit})).run()
    assert row.look(cluster) == row.after


# An object that is made with and without what the field says: an IP object does not change.
HOLDER = ip("app/p", "s2", "10.18.0.7")
KEPT = merged(ip("app/web-0", "s2", "10.18.0.7"), {"spec": {"podName": "web-0"}})
SET: Final = {"kind": "StatefulSet", "metadata": {"name": "web", "namespace": "app"}, "spec": {"replicas": 1}}
PORT = column("Logical_Switch_Port", "p.app", "addresses")
_MAC = HOLDER["spec"]["macAddress"]
MADE: dict[str, dict[str, Effect]] = {
    "IP": {
        "subnet": Effect(
            (
                S2,
                subnet("s3", cidrBlock="10.18.0.0/25", vpc="v1"),
                V1,
                merged(RESERVED, {"spec": {"v4IpAddress": "10.18.0.7"}}),
            ),
            {"subnet": "s3"},
            field("Subnet", "s2", "status.v4usingIPrange"),
            "10.18.0.7",
            "",
        ),
        "v4IpAddress": Effect(
            (S2, POD, HOLDER), {"v4IpAddress": "10.18.0.8"}, PORT, {f"{_MAC} 10.18.0.7"}, {f"{_MAC} 10.18.0.8"}
        ),
        "v6IpAddress": Effect(
            (DUAL, POD, HOLDER), {"v6IpAddress": "fd18::7"}, PORT, {f"{_MAC} 10.18.0.7"}, {f"{_MAC} 10.18.0.7 fd18::7"}
        ),
        "macAddress": Effect(
            (S2, POD, HOLDER),
            {"macAddress": "00:00:00:00:00:09"},
            PORT,
            {f"{_MAC} 10.18.0.7"},
            {"00:00:00:00:00:09 10.18.0.7"},
        ),
        "podType": Effect(
            (made(S2, namespaces=["app"]), SET, KEPT),
            {"podType": "StatefulSet"},
            lambda c: ("IP", "web-0.app") in c.api.objects,
            False,
            True,
        ),
    },
}
MADE_ROWS = [pytest.param(row, id=f"{kind}.{path}") for kind, rows in MADE.items() for path, row in rows.items()]


@pytest.mark.parametrize("row", MADE_ROWS)
def test_effect_from_the_start(row: Effect) -> None:
    *others, last = row.objects
    for obj, expected in ((last, row.before), (merged(last, {"spec": row.edit}), row.after)):
        cluster = Cluster().apply(*BASE, *others, obj)
        cluster.run()
        assert row.look(cluster) == expected


@pytest.mark.parametrize("kind", BUILT)
def test_every_field_has_an_effect_or_a_reason(kind: str) -> None:
    rows = {**SPEC.get(kind, {}), **MADE.get(kind, {})}
    reasons = {path.partition(".")[2] for path in ELSEWHERE if path.partition(".")[0] == kind}
    assert not rows.keys() & reasons
    assert sorted(paths(part(kind, "spec"))) == sorted([*rows, *reasons])

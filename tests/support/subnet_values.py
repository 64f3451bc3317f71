"""Values of every field of a Subnet's spec that differ in kind, and the kinds of subnets that they are tried on."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.cluster import Json

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

"""What our CRDs refuse (spec F.1, F.2, F.7, F.8, sets of values of part A), each beside its like that they accept.

The objects come from the spec's words, not from our rules. `spec` is the object's, on top of the least that its kind
must say; `right` is what makes it acceptable, also on top.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    """An object that is refused, where and with which words, and what would be right instead."""

    kind: str
    spec: dict[str, Any]
    field: str
    message: str
    right: dict[str, Any]


# The least that each kind must say.
LEAST: dict[str, dict[str, Any]] = {
    "Subnet": {"cidrBlock": "10.0.0.0/16"},
    "IPPool": {"subnet": "s", "ips": ["10.0.0.1"]},
    "Vip": {"subnet": "s"},
    "Vlan": {"provider": "p"},
    "ProviderNetwork": {"defaultInterface": "eth1"},
    "DNSNameResolver": {"name": "www.example.com."},
    "VpcEgressGateway": {"externalSubnet": "e", "policies": [{"ipBlocks": ["10.0.0.0/8"]}]},
}


def made(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """An object that says the least and this."""
    spec = LEAST.get(kind, {}) | spec
    return {"apiVersion": "kubeovn.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


_LOWER = "must be in lower case"
_CIDR_BLOCK = "must be a CIDR, or an IPv4 and an IPv6 one separated by a comma"
_ROOM = "must have room for a gateway and pods"
_RESERVED = "must not overlap a reserved range"
_IN_BLOCK = "gateway must be an address in cidrBlock"
_NO_ADDRESSES = "manages no addresses"
_DUAL = "10.0.0.0/16,fd00::/64"

SUBNET = [
    Case("Subnet", {"cidrBlock": ""}, "spec.cidrBlock", "cidrBlock is required", {"vlan": "v"}),
    Case("Subnet", {"cidrBlock": "10.0.0.0"}, "spec.cidrBlock", _CIDR_BLOCK, {"cidrBlock": "10.0.0.0/31"}),
    Case("Subnet", {"cidrBlock": "10.0.0.0/33"}, "spec.cidrBlock", _CIDR_BLOCK, {"cidrBlock": "10.0.0.7/8"}),
    Case("Subnet", {"cidrBlock": "10.0.0.0/16,10.1.0.0/16"}, "spec.cidrBlock", _CIDR_BLOCK, {"cidrBlock": _DUAL}),
    Case("Subnet", {"cidrBlock": f"{_DUAL},10.1.0.0/16"}, "spec.cidrBlock", _CIDR_BLOCK, {"cidrBlock": _DUAL}),
    Case(
        "Subnet", {"cidrBlock": "10.0.0.0/16,"}, "spec.cidrBlock", _CIDR_BLOCK, {"cidrBlock": "fd00::/64,10.0.0.0/16"}
    ),
    Case("Subnet", {"cidrBlock": "FD00::/64"}, "spec.cidrBlock", _LOWER, {"cidrBlock": "fd00::/64"}),
    Case("Subnet", {"cidrBlock": "10.0.0.1/32"}, "spec.cidrBlock", _ROOM, {"cidrBlock": "10.0.0.0/30"}),
    Case("Subnet", {"cidrBlock": "10.0.0.0/16,fd00::1/128"}, "spec.cidrBlock", _ROOM, {"cidrBlock": "fd00::/127"}),
    Case("Subnet", {"cidrBlock": "0.0.0.0/0"}, "spec.cidrBlock", _RESERVED, {"cidrBlock": "1.0.0.0/8"}),
    Case("Subnet", {"cidrBlock": "127.0.0.0/16"}, "spec.cidrBlock", _RESERVED, {"cidrBlock": "128.0.0.0/16"}),
    Case("Subnet", {"cidrBlock": "169.254.8.0/24"}, "spec.cidrBlock", _RESERVED, {"cidrBlock": "169.255.0.0/16"}),
    Case("Subnet", {"cidrBlock": "239.1.0.0/16"}, "spec.cidrBlock", _RESERVED, {"cidrBlock": "223.255.0.0/16"}),
    Case("Subnet", {"cidrBlock": "255.255.255.252/30"}, "spec.cidrBlock", _RESERVED, {"cidrBlock": "254.0.0.0/30"}),
    Case("Subnet", {"cidrBlock": "::/0"}, "spec.cidrBlock", _RESERVED, {"cidrBlock": "2000::/3"}),
    Case("Subnet", {"cidrBlock": "10.0.0.0/16,ff05::/64"}, "spec.cidrBlock", _RESERVED, {"cidrBlock": "fc00::/7"}),
    Case("Subnet", {"cidrBlock": "fe80::/64"}, "spec.cidrBlock", _RESERVED, {"cidrBlock": "fec0::/64"}),
    Case("Subnet", {"gateway": "10.1.0.1"}, "spec.gateway", _IN_BLOCK, {"gateway": "10.0.255.254"}),
    Case("Subnet", {"gateway": "10.0.0.1/16"}, "spec.gateway", _IN_BLOCK, {"gateway": ""}),
    Case("Subnet", {"gateway": "10.0.0.1,fd00::1"}, "spec.gateway", _IN_BLOCK, {"cidrBlock": _DUAL}),
    Case("Subnet", {"gateway": "fd01::1", "cidrBlock": _DUAL}, "spec.gateway", _IN_BLOCK, {"gateway": "fd00::1"}),
    Case("Subnet", {"gateway": "fd00::A", "cidrBlock": _DUAL}, "spec.gateway", _LOWER, {"gateway": "fd00::a,10.0.0.1"}),
    Case(
        "Subnet",
        {"gateway": "10.0.0.0"},
        "spec.gateway",
        "must not be the network address",
        {"cidrBlock": "10.0.0.0/31"},
    ),
    Case(
        "Subnet",
        {"gateway": "fd00::", "cidrBlock": "fd00::7/64"},
        "spec.gateway",
        "must not be the network address",
        {"gateway": "fd00::ffff:ffff:ffff:ffff"},
    ),
    Case(
        "Subnet",
        {"vlan": "v", "cidrBlock": "", "gateway": "10.0.0.1"},
        "spec.cidrBlock",
        _NO_ADDRESSES,
        {"gateway": ""},
    ),
    Case(
        "Subnet",
        {"vlan": "v", "cidrBlock": "", "excludeIps": ["10.0.0.1"]},
        "spec.cidrBlock",
        _NO_ADDRESSES,
        {"cidrBlock": "10.0.0.0/16"},
    ),
    Case(
        "Subnet",
        {"excludeIps": ["10.0.0.1", "10.0.0.5..10.0.0.300"]},
        "spec.excludeIps[1]",
        "must be an address or a range first..last",
        {"excludeIps": ["10.0.0.1", "10.0.0.5..10.0.1.30", "fd00::1", "fd00::5..fd00::9"]},
    ),
    Case(
        "Subnet",
        {"excludeIps": ["10.0.0.0/24"]},
        "spec.excludeIps[0]",
        "must be an address or a range first..last",
        {"excludeIps": []},
    ),
    Case("Subnet", {"excludeIps": ["fd00::A"]}, "spec.excludeIps[0]", _LOWER, {"excludeIps": ["fd00::a"]}),
    Case(
        "Subnet",
        {"allowSubnets": ["10.1.0.1"]},
        "spec.allowSubnets[0]",
        "must be a CIDR",
        {"allowSubnets": ["10.1.0.1/16"]},
    ),
    Case("Subnet", {"allowSubnets": ["FD00::/64"]}, "spec.allowSubnets[0]", _LOWER, {"allowSubnets": ["fd00::/64"]}),
    Case(
        "Subnet",
        {"gatewayType": "Distributed"},
        "spec.gatewayType",
        "Unsupported value",
        {"gatewayType": "distributed"},
    ),
    Case("Subnet", {"protocol": "ipv4"}, "spec.protocol", "Unsupported value", {"protocol": "IPv4"}),
    Case("Subnet", {"mtu": 1279, "cidrBlock": _DUAL}, "spec.mtu", "at least 1280", {"mtu": 1280}),
    Case("Subnet", {"mtu": 1279, "cidrBlock": "fd00::/64"}, "spec.mtu", "at least 1280", {"cidrBlock": "10.0.0.0/16"}),
    Case("Subnet", {"mtu": -1}, "spec.mtu", "greater than or equal to 0", {"mtu": 0, "cidrBlock": "fd00::/64"}),
    Case(
        "Subnet",
        {"policyRoutingPriority": -1},
        "spec.policyRoutingPriority",
        "equal to 0",
        {"policyRoutingPriority": 9},
    ),
    Case(
        "Subnet", {"policyRoutingTableID": -1}, "spec.policyRoutingTableID", "equal to 0", {"policyRoutingTableID": 9}
    ),
    Case("Subnet", {"vpc": "object"}, "spec.vpc", "name of its VPC", {"vpc": "ovn-cluster"}),
    Case(
        "Subnet",
        {"natOutgoing": True, "externalEgressGateway": "192.0.2.1"},
        "spec.externalEgressGateway",
        "natOutgoing and externalEgressGateway are mutually exclusive",
        {"natOutgoing": False},
    ),
    Case(
        "Subnet",
        {"natOutgoing": True, "externalEgressGateway": "192.0.2.1"},
        "spec.externalEgressGateway",
        "natOutgoing and externalEgressGateway are mutually exclusive",
        {"externalEgressGateway": ""},
    ),
    Case(
        "Subnet",
        {"externalEgressGateway": "192.0.2.1,2001:db8::1,192.0.2.2", "cidrBlock": _DUAL},
        "spec.externalEgressGateway",
        "must be an address, or two separated by a comma",
        {"externalEgressGateway": "192.0.2.1,2001:db8::1"},
    ),
    Case(
        "Subnet",
        {"externalEgressGateway": "2001:DB8::1", "cidrBlock": "fd00::/64"},
        "spec.externalEgressGateway",
        _LOWER,
        {"externalEgressGateway": "2001:db8::1"},
    ),
    Case(
        "Subnet",
        {"externalEgressGateway": "2001:db8::1"},
        "spec.externalEgressGateway",
        "must be of a family of cidrBlock",
        {"cidrBlock": _DUAL},
    ),
    Case(
        "Subnet",
        {"vips": ["10.0.0.9", "vip"]},
        "spec.vips[1]",
        "must be an address",
        {"vips": ["10.0.0.9", "10.0.0.10"]},
    ),
    Case(
        "Subnet",
        {"logicalGateway": True, "u2oInterconnection": True, "vlan": "v"},
        "spec.u2oInterconnection",
        "logicalGateway and u2oInterconnection are mutually exclusive",
        {"logicalGateway": False},
    ),
    Case(
        "Subnet",
        {"u2oFeatures": {"overlayOnlyRouting": True}, "vlan": "v"},
        "spec.u2oFeatures",
        "overlayOnlyRouting needs",
        {"u2oInterconnection": True},
    ),
    Case(
        "Subnet",
        {"u2oFeatures": {"overlayOnlyRouting": True}, "u2oInterconnection": True},
        "spec.u2oFeatures",
        "overlayOnlyRouting needs",
        {"vlan": "v"},
    ),
    Case(
        "Subnet",
        {"u2oInterconnection": True, "vlan": "v", "u2oInterconnectionIP": "10.1.0.9"},
        "spec.u2oInterconnectionIP",
        "u2oInterconnectionIP must be an address in cidrBlock",
        {"u2oInterconnectionIP": "10.0.0.9"},
    ),
    Case(
        "Subnet",
        {"u2oInterconnection": True, "vlan": "v", "u2oInterconnectionIP": "address"},
        "spec.u2oInterconnectionIP",
        "u2oInterconnectionIP must be an address in cidrBlock",
        {"u2oInterconnection": False},  # and without meaning
    ),
    Case(
        "Subnet",
        {
            "u2oInterconnectionIP": "10.0.0.9,fd00:0::1",
            "gateway": "10.0.0.1,fd00::1",
            "cidrBlock": _DUAL,
            "vlan": "v",
            "u2oInterconnection": True,
        },
        "spec.u2oInterconnectionIP",
        "u2oInterconnectionIP must not be the gateway",
        {"u2oInterconnectionIP": "10.0.0.9,fd00::9"},
    ),
    Case(
        "Subnet",
        {"natOutgoingPolicyRules": [{"action": "snat"}]},
        "spec.natOutgoingPolicyRules[0].action",
        "Unsupported value",
        {
            "natOutgoingPolicyRules": [
                {"action": "nat"},
                {"action": "forward", "match": {"srcIPs": "10.0.0.1,10.0.0.2"}},
            ]
        },
    ),
]

_ACL = {"direction": "to-lport", "priority": 32767, "match": "ip4", "action": "drop"}
SUBNET += [
    Case("Subnet", {"acls": [{**_ACL, **wrong}]}, f"spec.acls[0].{field}", message, {"acls": [_ACL]})
    for field, wrong, message in (
        ("direction", {"direction": "ingress"}, "Unsupported value"),
        ("action", {"action": "deny"}, "Unsupported value"),
        ("priority", {"priority": 32768}, "less than or equal to 32767"),
        ("priority", {"priority": -1}, "greater than or equal to 0"),
        ("match", {"match": ""}, "at least 1 chars"),
    )
]

_ROUTE = {"policy": "policySrc", "cidr": "10.0.0.0/16", "nextHopIP": "10.0.0.1"}
_V6_ROUTE = {"policy": "", "cidr": "::/0", "nextHopIP": "fd00::1"}
_POLICY = {"priority": 32767, "match": "ip4", "action": "drop"}
_LIST = "must be addresses with a prefix length"
VPC = [
    *(
        Case(
            "Vpc",
            {"staticRoutes": [{**_ROUTE, **wrong}]},
            f"spec.staticRoutes[0].{field}",
            message,
            {"staticRoutes": right},
        )
        for field, wrong, message, right in (
            ("policy", {"policy": "policyBoth"}, "Unsupported value", [_ROUTE, _V6_ROUTE]),
            ("cidr", {"cidr": "default"}, "must be a CIDR or an address", [{**_ROUTE, "cidr": "10.0.0.9"}]),
            ("cidr", {"cidr": ""}, "must be a CIDR or an address", [{**_ROUTE, "cidr": "fd00::9"}]),
            ("nextHopIP", {"nextHopIP": "10.0.0.0/8"}, "must be an address", [_ROUTE]),
            ("nextHopIP", {"nextHopIP": ""}, "must be an address", [_V6_ROUTE]),
        )
    ),
    Case(
        "Vpc",
        {"staticRoutes": [{"cidr": "10.0.0.0/8"}]},
        "spec.staticRoutes[0].nextHopIP",
        "Required",
        {"staticRoutes": []},
    ),
    Case(
        "Vpc",
        {"staticRoutes": [{"nextHopIP": "10.0.0.1"}]},
        "spec.staticRoutes[0].cidr",
        "Required",
        {"staticRoutes": []},
    ),
    *(
        Case(
            "Vpc",
            {"policyRoutes": [{**_POLICY, **wrong}]},
            f"spec.policyRoutes[0].{field}",
            message,
            {"policyRoutes": right},
        )
        for field, wrong, message, right in (
            ("action", {"action": "deny"}, "Unsupported value", [_POLICY, {**_POLICY, "action": "allow"}]),
            ("priority", {"priority": 32768}, "less than or equal to 32767", [_POLICY]),
            ("priority", {"priority": -1}, "greater than or equal to 0", [{**_POLICY, "priority": 0}]),
            (
                "nextHopIP",
                {"action": "reroute"},
                "reroute needs nextHopIP",
                [{**_POLICY, "action": "reroute", "nextHopIP": "10.0.0.1,10.0.0.2,10.0.0.3"}],
            ),
            (
                "nextHopIP",
                {"action": "reroute", "nextHopIP": ""},
                "reroute needs nextHopIP",
                [{**_POLICY, "nextHopIP": "x"}],
            ),
        )
    ),
    *(
        Case(
            "Vpc",
            {"vpcPeerings": [{"remoteVpc": "b", "localConnectIP": wrong}]},
            "spec.vpcPeerings[0].localConnectIP",
            _LIST,
            {"vpcPeerings": [{"remoteVpc": "b", "localConnectIP": right}]},
        )
        for wrong, right in (
            ("10.0.0.1", "10.0.0.1/30"),
            ("10.0.0.1/30, fd00::1/64", "10.0.0.1/30,fd00::1/64"),
            ("10.0.0.1/33", "fd00::1/126"),
            ("10.0.0.1/30,x", "10.0.0.1/30"),
            ("", "fd00::1/126,10.0.0.1/30"),
        )
    ),
    *(
        Case(
            "Vpc",
            {"vpcPeerings": [{name: "10.0.0.1/30" for name in ("remoteVpc", "localConnectIP") if name != missing}]},
            f"spec.vpcPeerings[0].{missing}",
            "Required value",
            {"vpcPeerings": []},
        )
        for missing in ("remoteVpc", "localConnectIP")
    ),
    Case("Vpc", {"bfdPort": {"enabled": True}}, "spec.bfdPort.ip", "bfdPort needs ip", {"bfdPort": {"enabled": False}}),
    Case(
        "Vpc",
        {"bfdPort": {"enabled": True, "ip": "10.255.255.255,x"}},
        "spec.bfdPort.ip",
        "bfdPort needs ip",
        {"bfdPort": {"enabled": True, "ip": "10.255.255.255,fdff::1"}},
    ),
]

_VALUE = "Unsupported value"
ADDRESSES = [
    Case(
        "IP", {"v4IpAddress": "10.0.0.256"}, "spec.v4IpAddress", "must be an IPv4 address", {"v4IpAddress": "10.0.0.25"}
    ),
    Case("IP", {"v4IpAddress": "fd00::1"}, "spec.v4IpAddress", "must be an IPv4 address", {"v4IpAddress": ""}),
    Case("IP", {"v6IpAddress": "10.0.0.1"}, "spec.v6IpAddress", "must be an IPv6 address", {"v6IpAddress": "fd00::1"}),
    Case("IP", {"v6IpAddress": "fd00::A"}, "spec.v6IpAddress", _LOWER, {"v6IpAddress": ""}),
    Case("IP", {"podType": "Deployment"}, "spec.podType", _VALUE, {"podType": "VirtualMachine"}),
    Case(
        "IPPool",
        {"ips": ["10.0.0.1..x"]},
        "spec.ips[0]",
        "must be an address, a range",
        {"ips": ["10.0.0.1..10.0.0.9"]},
    ),
    Case(
        "IPPool",
        {"ips": ["10.0.0.1", "a"]},
        "spec.ips[1]",
        "must be an address, a range",
        {"ips": ["fd00::1", "fd00::/80"]},
    ),
    Case("Vip", {"type": "vrrp"}, "spec.type", _VALUE, {"type": "kube_host_vm_vip"}),
    Case("Vip", {"v4ip": "fd00::1"}, "spec.v4ip", "must be an IPv4 address", {"v4ip": ""}),
    Case("Vip", {"v6ip": "fd00::g"}, "spec.v6ip", "must be an IPv6 address", {"v6ip": "fd00::1"}),
    Case("Vip", {"v6ip": "fd00::A"}, "spec.v6ip", _LOWER, {"v6ip": "fd00::a"}),
]

_SG_RULE = {
    "ipVersion": "ipv4",
    "priority": 1,
    "remoteType": "address",
    "remoteAddress": "10.0.0.0/8",
    "policy": "allow",
}
_TCP = {**_SG_RULE, "protocol": "tcp", "portRangeMin": 1, "portRangeMax": 65535}
_PORTS = "protocol tcp or udp needs portRangeMin and portRangeMax"
_SOURCES = "localAddress with protocol tcp or udp needs sourcePortRangeMin and sourcePortRangeMax"
_SG_CASES: list[tuple[dict[str, Any], dict[str, Any], str, str, dict[str, Any]]] = [
    (_SG_RULE, {"ipVersion": "IPv4"}, "ipVersion", _VALUE, {"ipVersion": "ipv6", "remoteAddress": "fd00::1"}),
    (_SG_RULE, {"priority": 16385}, "priority", "less than or equal to 16384", {"priority": 16384}),
    (_SG_RULE, {"priority": 0}, "priority", "greater than or equal to 1", {"priority": 1}),
    (_SG_RULE, {"protocol": "sctp"}, "protocol", _VALUE, {"protocol": "icmp"}),
    (_SG_RULE, {"policy": "deny"}, "policy", _VALUE, {"policy": "pass"}),
    (_SG_RULE, {"remoteType": "group"}, "remoteType", _VALUE, {"remoteType": "address"}),
    (
        _SG_RULE,
        {"remoteAddress": "all"},
        "remoteAddress",
        "remoteType address needs remoteAddress",
        {"remoteAddress": "10.0.0.1"},
    ),
    (
        _SG_RULE,
        {"remoteAddress": ""},
        "remoteAddress",
        "remoteType address needs remoteAddress",
        {"remoteAddress": "::/0"},
    ),
    (
        _SG_RULE,
        {"remoteType": "securityGroup"},
        "remoteSecurityGroup",
        "remoteType securityGroup needs remoteSecurityGroup",
        {"remoteType": "securityGroup", "remoteSecurityGroup": "other", "remoteAddress": ""},
    ),
    (_SG_RULE, {"protocol": "udp"}, "portRangeMin", _PORTS, {"protocol": "all"}),
    (_TCP, {"portRangeMin": 0}, "portRangeMin", _PORTS, {"portRangeMin": 65535}),
    (_TCP, {"portRangeMin": 81, "portRangeMax": 80}, "portRangeMin", _PORTS, {"portRangeMin": 80, "portRangeMax": 80}),
    (_TCP, {"portRangeMax": 65536}, "portRangeMax", "less than or equal to 65535", {"portRangeMax": 1}),
    (
        _SG_RULE,
        {"localAddress": "pod"},
        "localAddress",
        "must be an address or a CIDR",
        {"localAddress": "10.0.0.0/24"},
    ),
    (_TCP, {"localAddress": "10.0.0.1"}, "sourcePortRangeMin", _SOURCES, {"localAddress": ""}),
    (
        _TCP,
        {"localAddress": "10.0.0.1", "sourcePortRangeMin": 9, "sourcePortRangeMax": 8},
        "sourcePortRangeMin",
        _SOURCES,
        {"localAddress": "10.0.0.1", "sourcePortRangeMin": 8, "sourcePortRangeMax": 9},
    ),
]
SECURITY = [
    *(
        Case(
            "SecurityGroup",
            {rules: [_SG_RULE, {**base, **wrong}]},
            f"spec.{rules}[1].{field}",
            message,
            {rules: [{**base, **right}]},
        )
        for rules in ("ingressRules", "egressRules")
        for base, wrong, field, message, right in _SG_CASES
    ),
    *(
        Case(
            "SecurityGroup",
            {"ingressRules": [{name: value for name, value in _SG_RULE.items() if name != missing}]},
            f"spec.ingressRules[0].{missing}",
            "Required value",
            {"ingressRules": [_SG_RULE]},
        )
        for missing in ("ipVersion", "priority", "remoteType")
    ),
    *(
        Case(
            "SecurityGroup",
            {"tier": 1, rules: [{**_SG_RULE, "policy": "pass"}]},
            f"spec.{rules}",
            "not possible in tier 1",
            {"tier": 0},
        )
        for rules in ("ingressRules", "egressRules")
    ),
    Case("SecurityGroup", {"tier": 2}, "spec.tier", "less than or equal to 1", {"tier": 1}),
]

_MATCH = "matchType ip needs matchValue"
QOS = [
    Case("QoSPolicy", {"bindingType": "NATGW"}, "spec.shared", "must be shared", {"shared": True}),
    Case("QoSPolicy", {"bindingType": "POD"}, "spec.bindingType", _VALUE, {"bindingType": "EIP"}),
    *(
        Case(
            "QoSPolicy",
            {"bandwidthLimitRules": [{"name": "a", **wrong}]},
            f"spec.bandwidthLimitRules[0].{field}",
            message,
            {"bandwidthLimitRules": [{"name": "a", **right}]},
        )
        for field, wrong, message, right in (
            ("rateMax", {"rateMax": "-1"}, "should match", {"rateMax": "1.5"}),
            ("burstMax", {"burstMax": "1M"}, "should match", {"burstMax": "10"}),
            ("direction", {"direction": "in"}, _VALUE, {"direction": "ingress"}),
            ("interface", {"interface": "eth0;reboot"}, "should match", {"interface": "net1"}),
            ("interface", {"interface": "a" * 16}, "should match", {"interface": "a" * 15}),
            ("matchType", {"matchType": "cidr"}, _VALUE, {"matchType": "", "matchValue": "anything"}),
            ("matchValue", {"matchType": "ip"}, _MATCH, {"matchType": "ip", "matchValue": "src 10.0.0.0/8"}),
            (
                "matchValue",
                {"matchType": "ip", "matchValue": "10.0.0.0/8"},
                _MATCH,
                {"matchType": "ip", "matchValue": "dst 10.0.0.1/32"},
            ),
            (
                "matchValue",
                {"matchType": "ip", "matchValue": "src 10.0.0.1"},
                _MATCH,
                {"matchType": "ip", "matchValue": "dst fd00::/64"},
            ),
        )
    ),
]

_CONNTRACK = {"log": {"filters": {"include": [{"original": {"sourcePorts": [{"start": 0, "end": 9}]}}]}}}
OTHERS = [
    Case("OvnEip", {"type": "eip"}, "spec.type", _VALUE, {"type": "lsp"}),
    Case("OvnFip", {"type": "Distributed"}, "spec.type", _VALUE, {"type": "centralized"}),
    Case("OvnFip", {"ipType": "pod"}, "spec.ipType", _VALUE, {"ipType": "ip"}),
    Case("OvnDnatRule", {"ipType": "pod"}, "spec.ipType", _VALUE, {"ipType": "vip"}),
    Case("VpcDns", {"replicas": 4}, "spec.replicas", "less than or equal to 3", {"replicas": 3}),
    Case("VpcDns", {"replicas": 0}, "spec.replicas", "greater than or equal to 1", {"replicas": 1}),
    Case("VpcEgressGateway", {"policies": []}, "spec", "at least one policy or selector", {"selectors": [{}]}),
    Case(
        "VpcEgressGateway",
        {"replicas": 2, "internalIPs": ["10.0.0.1"]},
        "spec.internalIPs",
        "equal to or greater than",
        {"internalIPs": ["10.0.0.1", "10.0.0.2"]},
    ),
    Case(
        "VpcEgressGateway",
        {"externalIPs": ["10.0.0.1"], "externalIPPool": "p"},
        "spec.externalIPPool",
        "mutually exclusive",
        {"externalIPs": []},
    ),
    Case(
        "VpcEgressGateway",
        {"bandwidth": {"ingress": "5K"}},
        "spec.bandwidth.ingress",
        "should match",
        {"bandwidth": {"ingress": "1.5Gi", "egress": 100}},
    ),
    Case(
        "VpcEgressGateway",
        {"bandwidth": {"ingress": -5}},
        "spec.bandwidth.ingress",
        "between 0 and",
        {"observability": {"conntrack": _CONNTRACK}, "bandwidth": {}},
    ),
]

CASES = [*SUBNET, *VPC, *ADDRESSES, *SECURITY, *QOS, *OTHERS]


class Change(NamedTuple):
    """A stored object, a change of its spec that is refused, and one that is not."""

    kind: str
    before: dict[str, Any]
    wrong: dict[str, Any]
    message: str
    right: dict[str, Any]


_LIMIT = {"name": "a", "rateMax": "1"}
CHANGES = [
    Change("Subnet", {"vpc": "v"}, {"vpc": "object"}, "name of its VPC", {"vpc": "w"}),
    Change("Subnet", {}, {"vpc": "object"}, "name of its VPC", {"vpc": "ovn-cluster"}),
    Change("QoSPolicy", {"shared": True}, {"shared": False}, "shared is immutable", {"shared": True}),
    Change("QoSPolicy", {}, {"shared": True}, "shared is immutable", {"shared": False}),
    Change(
        "QoSPolicy", {"bindingType": "EIP"}, {"bindingType": ""}, "bindingType is immutable", {"bindingType": "EIP"}
    ),
    Change(
        "QoSPolicy",
        {"shared": True, "bandwidthLimitRules": [_LIMIT]},
        {"bandwidthLimitRules": [{**_LIMIT, "rateMax": "2"}]},
        "rules of a shared policy are immutable",
        {"bandwidthLimitRules": [_LIMIT]},
    ),
    Change(
        "QoSPolicy",
        {"shared": True},
        {"bandwidthLimitRules": [_LIMIT]},
        "rules of a shared policy are immutable",
        {"bandwidthLimitRules": []},
    ),
    Change(
        "QoSPolicy",
        {"bindingType": "EIP", "bandwidthLimitRules": [_LIMIT]},
        {"bindingType": "NATGW", "shared": True},
        "immutable",
        {"bandwidthLimitRules": [{**_LIMIT, "rateMax": "2"}]},
    ),
    Change("DNSNameResolver", {}, {"name": "www.example.org."}, "spec.name is immutable", {"name": "www.example.com."}),
    Change("VpcEgressGateway", {"prefix": "a-"}, {"prefix": "b-"}, "immutable", {"image": "other"}),
]

"""Databases with features that are compiled here, in the form in which the spec says that Kube-OVN writes them: a plan
for them is empty.

Rows and objects are typed from the spec (D.2 and its parts, D.4, D.5, E.1) and added to what Kube-OVN really wrote
(`reference/parity/01-basics`); each case also shows that its rows are looked at: without one of them the plan has it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovnbridge.cli import main
from tests.pure.test_takeover import BASICS, Site

pytestmark = pytest.mark.skipif(not BASICS.is_dir(), reason="no shared/reference/parity beside the checkout")
Json = dict[str, Any]
DEFAULT = "ovn-cluster"
KINDS = ("tcp", "tcp-session", "udp", "udp-session", "sctp", "sctp-session")
JOINS = {"node1": "100.64.0.2", "node2": "100.64.0.3", "node3": "100.64.0.4"}
MAC = "0a:00:00:00:00:{:02x}"


class Built(Site):
    """Adds subnets as a whole: object, status and rows that all subnets have."""

    def one(self, plural: str, name: str) -> Json:
        (found,) = [o for o in self.objects[plural] if o["metadata"]["name"] == name]
        return found

    def subnet(
        self, name: str, pairs: list[tuple[str, str]], *, vpc: str = DEFAULT, status: Json | None = None, **spec: Any
    ) -> Json:
        """`pairs`: (CIDR, gateway) of each family. `status` without counts is that of a subnet that nobody uses."""
        cidr, gateway = (",".join(parts) for parts in zip(*pairs))
        default = vpc == DEFAULT
        body = {
            "apiVersion": "kubeovn.io/v1",
            "kind": "Subnet",
            "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-11-24T00:00:00Z"},
            "spec": {
                "cidrBlock": cidr,
                "default": False,
                "enableLb": True,
                "excludeIps": sorted(gateway.split(",")),
                "gateway": gateway,
                "gatewayNode": "",
                **({"gatewayType": "distributed"} if default else {}),
                "natOutgoing": False,
                "private": False,
                "protocol": "Dual" if len(pairs) > 1 else "IPv6" if ":" in cidr else "IPv4",
                "provider": "ovn",
                "u2oFeatures": {},
                "vpc": vpc,
                **spec,
            },
            "status": {**_status(pairs), **(status or {})},
        }
        body["metadata"]["finalizers"] = ["kubeovn.io/kube-ovn-controller"]
        self.objects["subnets"].append(body)
        owner = self.one("vpcs", vpc)["status"]
        owner["subnets"] = sorted([*owner.get("subnets", []), name])
        names = [f"cluster-{kind}-loadbalancer" for kind in KINDS]
        if not default:
            names = [f"vpc-{vpc}-{kind.replace('-session', '-sess')}-load" for kind in KINDS]
        balancers = [f"Load_Balancer:{n}" for n in names] if body["spec"]["enableLb"] else []
        self.add("Logical_Switch", {"name": name, "load_balancer": balancers})
        if "vlan" not in spec:
            prefix = vpc.replace("-", ".")
            for one, _ in pairs:
                self.into(f"{prefix}.u2o_overlay_cidrs.ip{6 if ':' in one else 4}", one)
        return body

    def into(self, address_set: str, *values: str) -> None:
        row = self.row("Address_Set", address_set)
        held = row.get("addresses", [])
        row["addresses"] = sorted([*(held if isinstance(held, list) else [held]), *values])

    def uplink(self, subnet: str, networks: list[str], *, vpc: str = DEFAULT, mac: int = 1, **more: Any) -> None:
        columns = {"name": f"{vpc}-{subnet}", "mac": MAC.format(mac), "networks": networks, **more}
        self.add("Logical_Router_Port", {**columns, "external_ids": {"lr": vpc}}, ("Logical_Router", vpc, "ports"))
        port = {"name": f"{subnet}-{vpc}", "type": "router", "addresses": "router", "external_ids": {"ls": subnet}}
        port["options"] = {"router-port": f"{vpc}-{subnet}"}
        self.add("Logical_Switch_Port", port, ("Logical_Switch", subnet, "ports"))

    def rule(self, priority: int, match: str, *hops: str, vpc: str = DEFAULT, **ids: str) -> None:
        columns: Json = {"priority": priority, "match": match, "action": "reroute" if hops else "allow"}
        if hops:
            columns["nexthops"] = list(hops)
        self.add("Logical_Router_Policy", {**columns, "external_ids": ids}, ("Logical_Router", vpc, "policies"))

    def route(self, prefix: str, hop: str, policy: str, *, vpc: str = DEFAULT, table: str = "") -> None:
        columns = {"ip_prefix": prefix, "nexthop": hop, "policy": policy, "route_table": table}
        self.add("Logical_Router_Static_Route", columns, ("Logical_Router", vpc, "static_routes"))

    def distributed(self, subnet: str, *, joins: dict[str, list[str]]) -> None:
        dotted = subnet.replace("-", ".")
        for node, hops in joins.items():
            self.group(f"{dotted}.{node}", subnet=subnet, node=node, np=f"{subnet}/{node}")
            for hop in hops:
                family = 6 if ":" in hop else 4
                self.rule(29000, f"ip{family}.src == ${dotted}.{node}_ip{family}", hop, subnet=subnet, node=node)

    def switch_acl(self, switch: str, direction: str, priority: int, match: str, action: str, **more: Any) -> None:
        ids = {"parent": switch, **more.pop("ids", {})}
        columns = {"direction": direction, "priority": priority, "match": match, "action": action, "tier": 2, **more}
        self.add("ACL", {**columns, "external_ids": ids}, ("Logical_Switch", switch, "acls"))

    def lease(self, name: str, subnet: str, v4: str, mac: str, v6: str = "") -> None:
        """A subnet's own address, as Kube-OVN's of 07-underlay."""
        labels = {"ip_reserved": "false", "node-name": "", "subnet": subnet}
        owner = {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "name": subnet, "uid": f"uid-{subnet}"}
        meta = {
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-24T00:00:00Z",
            "finalizers": ["kubeovn.io/kube-ovn-controller"],
            "labels": {**{f"ovn.kubernetes.io/{k}": v for k, v in labels.items()}, subnet: ""},
            "ownerReferences": [owner],
        }
        spec = {"attachIps": [], "attachMacs": [], "attachSubnets": [], "containerID": "", "macAddress": mac}
        spec |= {"ipAddress": ",".join(filter(None, (v4, v6))), "v4IpAddress": v4, "v6IpAddress": v6}
        spec |= {"namespace": "default", "nodeName": "", "podName": name, "podType": "", "subnet": subnet}
        self.objects["ips"].append({"apiVersion": "kubeovn.io/v1", "kind": "IP", "metadata": meta, "spec": spec})


def _status(pairs: list[tuple[str, str]]) -> Json:
    """A ready subnet: /24 and /112, the gateway is the first address."""
    reason = "ResetLogicalSwitchAclSuccess"
    conditions = [{"type": kind, "status": "True", "reason": reason} for kind in ("Validated", "Ready")]
    conditions.append({"type": "Error", "status": "Unknown", "reason": "Init", "message": "Not Observed"})
    found: Json = {"conditions": conditions, "activateGateway": "", "natOutgoingPolicyRules": []}
    for version, count in ((4, 253), (6, 65533)):
        base = next((c.partition("/")[0] for c, _ in pairs if (":" in c) is (version == 6)), "")
        text = f"{base}2-{base}fffe" if version == 6 else f"{base[:-1]}2-{base[:-1]}254"
        found[f"v{version}availableIPs"] = count if base else 0
        found[f"v{version}availableIPrange"] = text if base else ""
        found |= {f"v{version}usingIPs": 0, f"v{version}usingIPrange": ""}
    for name in ("dhcpV4OptionsUUID", "dhcpV6OptionsUUID", "mcastQuerierIP", "mcastQuerierMAC"):
        found[name] = ""
    return found | {f"u2oInterconnection{name}": "" for name in ("IP", "MAC", "VPC")}


V4, V6 = ("10.70.0.0/24", "10.70.0.1"), ("fd70::/112", "fd70::1")
ALLOW4, ALLOW6 = "ip4.dst == 10.70.0.0/24", "ip6.dst == fd70::/112"
ONLY_V4 = {node: [hop] for node, hop in JOINS.items()}


def dual_stack_on_an_ipv4_cluster(site: Built) -> None:  # D.2, D.2.4: nodes have no way for IPv6
    site.subnet("ds", [V4, V6])
    site.uplink("ds", ["10.70.0.1/24", "fd70::1/112"])
    site.rule(31000, ALLOW4, subnet="ds")
    site.rule(31000, ALLOW6, subnet="ds")
    site.distributed("ds", joins=ONLY_V4)


def ipv6_alone(site: Built) -> None:
    site.subnet("v6", [V6])
    site.uplink("v6", ["fd70::1/112"])
    site.rule(31000, ALLOW6, subnet="v6")
    site.distributed("v6", joins={node: [] for node in JOINS})


def private_with_acls(site: Built) -> None:  # D.2.1, D.2.2
    acl = {"direction": "from-lport", "priority": 1111, "match": "ip4.dst == 10.9.0.0/16", "action": "drop"}
    site.subnet(
        "pr", [V4, V6], private=True, allowSubnets=["10.88.0.0/16", "fd88::/64"], allowEWTraffic=True, acls=[acl]
    )
    for condition in site.one("subnets", "pr")["status"]["conditions"][:2]:
        condition["reason"] = "SetPrivateLogicalSwitchSuccess"
    site.uplink("pr", ["10.70.0.1/24", "fd70::1/112"])
    site.rule(31000, ALLOW4, subnet="pr")
    site.rule(31000, ALLOW6, subnet="pr")
    site.distributed("pr", joins=ONLY_V4)
    site.switch_acl("pr", "to-lport", 1000, "ip", "drop", log=True, severity="warning", name="pr")
    site.switch_acl("pr", "to-lport", 3000, "ip4.src == 100.64.0.0/16", "allow-related")
    for version, cidr, other in ((4, "10.70.0.0/24", "10.88.0.0/16"), (6, "fd70::/112", "fd88::/64")):
        source, target = f"ip{version}.src", f"ip{version}.dst"
        own = f"{source} == {cidr} && {target} == {cidr}"
        site.switch_acl("pr", "to-lport", 1001, own, "allow-related")
        both = f"({source} == {cidr} && {target} == {other}) || ({source} == {other} && {target} == {cidr})"
        site.switch_acl("pr", "to-lport", 1001, both, "allow-related")
        for direction in ("to-lport", "from-lport"):
            site.switch_acl("pr", direction, 1900, own, "allow", ids={"subnet": "pr"})
    site.switch_acl("pr", "from-lport", 1111, "ip4.dst == 10.9.0.0/16", "drop", ids={"subnet": "pr"})


def centralized_with_ecmp(site: Built) -> None:  # D.2.4, with an egress address for a node
    spec = {"gatewayType": "centralized", "gatewayNode": "node1:192.0.2.101,node3", "enableEcmp": True}
    site.subnet("ec", [V4], **spec)
    site.uplink("ec", ["10.70.0.1/24"])
    site.rule(31000, ALLOW4, subnet="ec")
    hops = {node: JOINS[node] for node in ("node1", "node3")}
    site.rule(29000, "ip4.src == 10.70.0.0/24", *hops.values(), subnet="ec", **hops)


def centralized_by_selectors(site: Built) -> None:
    selectors = [{"matchLabels": {"kubernetes.io/hostname": "node2"}}]
    spec = {"gatewayType": "centralized", "gatewayNodeSelectors": selectors}
    site.subnet("se", [V4], status={"activateGateway": "node2"}, **spec)
    site.uplink("se", ["10.70.0.1/24"])
    site.rule(31000, ALLOW4, subnet="se")
    site.rule(29000, "ip4.src == 10.70.0.0/24", JOINS["node2"], subnet="se", node2=JOINS["node2"])


def dhcp_and_router_advertisements(site: Built) -> None:  # D.2
    spec = {"enableDHCP": True, "enableIPv6RA": True, "dhcpV4Options": "dns_server={10.0.0.1;10.0.0.2}", "mtu": 1380}
    site.subnet("dh", [V4, V6], **spec)
    configs = "address_mode=dhcpv6_stateful,max_interval=30,min_interval=5,send_periodic=true"
    ra = dict(part.split("=") for part in configs.split(","))
    site.uplink("dh", ["10.70.0.1/24", "fd70::1/112"], ipv6_ra_configs=ra, ipv6_prefix="112")
    site.rule(31000, ALLOW4, subnet="dh")
    site.rule(31000, ALLOW6, subnet="dh")
    site.distributed("dh", joins=ONLY_V4)
    values = {"lease_time": "3600", "router": "10.70.0.1", "server_id": "169.254.0.254", "mtu": "1380"}
    values |= {"server_mac": MAC.format(7), "dns_server": "{10.0.0.1,10.0.0.2}"}
    own = {"server_id": MAC.format(8)}
    for cidr, protocol, options in (("10.70.0.0/24", "IPv4", values), ("fd70::/112", "IPv6", own)):
        ids = {"ls": "dh", "protocol": protocol}
        site.add("DHCP_Options", {"cidr": cidr, "options": options, "external_ids": ids, "name": cidr})
        site.nb["DHCP_Options"][-1].pop("name")
    uuids = {f"dhcpV{v}OptionsUUID": f"0000000{v}-0000-4000-8000-000000000000" for v in (4, 6)}
    site.one("subnets", "dh")["status"].update(uuids)


def nat_outgoing_rules(site: Built) -> None:  # D.2.4
    rule = {"match": {"srcIPs": "10.70.0.4", "dstIPs": "10.99.0.0/24"}, "action": "forward"}
    text = 'nr0{"match":{"srcIPs":"10.70.0.4","dstIPs":"10.99.0.0/24"},"action":"forward"}'
    told = {**rule, "ruleID": hashlib.sha256(text.encode()).hexdigest()[:12]}
    spec = {"natOutgoing": True, "natOutgoingPolicyRules": [rule]}
    site.subnet("nr", [V4], status={"natOutgoingPolicyRules": [told]}, **spec)
    site.uplink("nr", ["10.70.0.1/24"])
    site.rule(31000, ALLOW4, subnet="nr")
    site.distributed("nr", joins=ONLY_V4)


def _underlay(site: Built, *subnets: str) -> None:
    network = {"apiVersion": "kubeovn.io/v1", "kind": "ProviderNetwork", "metadata": {"name": "net1"}}
    network |= {"spec": {"defaultInterface": "eth1"}, "status": {"ready": False, "vlans": ["v10"]}}
    vlan = {"apiVersion": "kubeovn.io/v1", "kind": "Vlan", "metadata": {"name": "v10"}}
    vlan |= {"spec": {"id": 10, "provider": "net1"}, "status": {"subnets": list(subnets)}}
    site.objects["provider-networks"].append(network)
    site.objects["vlans"].append(vlan)


def _localnet(site: Built, subnet: str, **networks: str) -> None:
    columns = {"name": f"localnet.{subnet}", "type": "localnet", "addresses": "unknown", "tag": 10}
    columns |= {"options": {"network_name": "net1"}, "external_ids": {"ls": subnet, **networks}}
    site.add("Logical_Switch_Port", columns, ("Logical_Switch", subnet, "ports"))


def _u2o(site: Built, name: str, vpc: str = DEFAULT, **spec: Any) -> None:
    """The subnet with the router's address .2, its localnet port and its pair of ports."""
    status = {"v4usingIPs": 1, "v4availableIPs": 252, "v4usingIPrange": "10.70.0.2"}
    status["v4availableIPrange"] = "10.70.0.3-10.70.0.254"
    told = {"IP": "10.70.0.2", "MAC": MAC.format(5), "VPC": vpc}
    status |= {f"u2oInterconnection{field}": value for field, value in told.items()}
    _underlay(site, name)
    site.subnet(name, [V4], vpc=vpc, status=status, vlan="v10", u2oInterconnection=True, **spec)
    site.lease(f"u2o-interconnection.{vpc}.{name}", name, "10.70.0.2", MAC.format(5))
    _localnet(site, name, ipv4_network="10.70.0.0/24")
    site.uplink(name, ["10.70.0.2/24"], vpc=vpc, mac=5)
    site.row("Logical_Router", vpc)["options"].pop("always_learn_from_arp_request")
    for family in (4, 6):
        ids = {"subnet": name, "isU2ORoutePolicy": "true"}
        addresses = [f"192.0.2.{n}" for n in (1, 2, 3)] if family == 4 else []
        columns = {"name": f"{name}.u2o_exclude_ip.ip{family}", "addresses": addresses, "external_ids": ids}
        site.add("Address_Set", columns)


MARK = {"isU2ORoutePolicy": "true"}
ONLY = {**MARK, "isU2OOverlayOnlyRoutePolicy": "true"}


def u2o_for_overlay_only(site: Built) -> None:  # D.2.3
    _u2o(site, "uo", u2oFeatures={"overlayOnlyRouting": True})
    own, hop = "ip4.src == 10.70.0.0/24", "10.70.0.1"
    site.rule(31000, f"ip4.dst == $uo.u2o_exclude_ip.ip4 && {own}", hop, subnet="uo", **ONLY)
    site.rule(30060, f"{own} && ip4.dst == 10.70.0.0/24", subnet="uo", **ONLY)
    site.rule(30050, own, hop, subnet="uo", **ONLY)
    overlay = "ip4.src == $ovn.cluster.u2o_overlay_cidrs.ip4"
    site.rule(29400, f"{overlay} && ip4.dst == 10.70.0.0/24", subnet="uo", **ONLY)


def u2o_in_a_custom_vpc(site: Built) -> None:  # D.2.3, D.2.4
    _u2o(site, "uc", vpc="vpc1")
    site.rule(31000, ALLOW4, vpc="vpc1", subnet="uc")
    site.rule(29000, "ip4.src == 10.70.0.0/24", "10.70.0.1", vpc="vpc1", subnet="uc", **MARK)
    site.route("10.70.0.0/24", "10.70.0.1", "src-ip", vpc="vpc1")


def u2o_without_load_balancer(site: Built) -> None:  # D.2.3
    _u2o(site, "ul", enableLb=False)
    own, hop = "ip4.src == 10.70.0.0/24", "10.70.0.1"
    site.rule(31000, f"ip4.dst == $ul.u2o_exclude_ip.ip4 && {own}", hop, subnet="ul", **MARK)
    site.rule(29400, ALLOW4, subnet="ul", **MARK)
    site.rule(29000, own, hop, subnet="ul", **MARK)
    for node, join in JOINS.items():
        site.group(f"ul.{node}", lr=DEFAULT, ls="ul", u2o="true")
        more = {**MARK, "isU2ONoLBRoutePolicy": "true", "node": node, "svcCidr": "10.96.0.0/12"}
        site.rule(29400, f"ip4.src == $ul.{node}_ip4 && ip4.dst == 10.96.0.0/12", join, subnet="ul", **more)


def custom_vpc_with_externals(site: Built) -> None:  # D.5, H.3
    _underlay(site, "ext")
    status = {"v4usingIPs": 1, "v4availableIPs": 252, "v4usingIPrange": "10.70.0.9"}
    status["v4availableIPrange"] = "10.70.0.2-10.70.0.8,10.70.0.10-10.70.0.254"
    site.subnet("ext", [V4], status=status, vlan="v10")
    _localnet(site, "ext", ipv4_network="10.70.0.0/24")
    vpc = site.one("vpcs", "vpc1")
    vpc["spec"] |= {"enableExternal": True, "extraExternalSubnets": ["ext"]}
    vpc["status"] |= {"enableExternal": True, "extraExternalSubnets": ["ext"]}
    told = {"v4Ip": "10.70.0.9", "macAddress": MAC.format(9), "type": "lrp"}
    labels = {"ovn.kubernetes.io/subnet": "ext", "ovn.kubernetes.io/ovn_eip_type": "lrp"}
    meta = {"name": "vpc1-ext", "labels": labels, "finalizers": ["kubeovn.io/kube-ovn-controller"]}
    eip = {"apiVersion": "kubeovn.io/v1", "kind": "OvnEip", "metadata": meta}
    site.objects["ovn-eips"].append(
        {**eip, "spec": {**told, "externalSubnet": "ext"}, "status": {**told, "ready": True}}
    )
    for node in ("node1", "node2"):
        site.one("nodes", node)["metadata"]["labels"]["ovn.kubernetes.io/external-gw"] = "true"
    site.uplink("ext", ["10.70.0.9/24"], vpc="vpc1", mac=9)
    site.row("Logical_Router", "vpc1")["options"].pop("always_learn_from_arp_request")
    chassis = [f"chassis-{node}" for node in ("node1", "node2")]
    chassis.sort(key=lambda one: hashlib.sha256(f"vpc1{one}".encode()).hexdigest())
    site.nb["Gateway_Chassis"] = [
        {"name": f"vpc1-ext-{c}", "chassis_name": c, "priority": 100 - i, "external_ids": {"lrp": "vpc1-ext"}}
        for i, c in enumerate(chassis)
    ]
    site.row("Logical_Router_Port", "vpc1-ext")["gateway_chassis"] = [f"Gateway_Chassis:vpc1-ext-{c}" for c in chassis]


def default_routes_in_several_tables(site: Built) -> None:  # D.5
    given = {"policy": "policyDst", "cidr": "198.51.100.0/24", "nextHopIP": "100.64.0.9", "routeTable": "rt"}
    site.one("vpcs", DEFAULT)["spec"]["staticRoutes"] = [given]
    site.route("198.51.100.0/24", "100.64.0.9", "dst-ip", table="rt")
    site.route("0.0.0.0/0", "100.64.0.1", "dst-ip", table="rt")


def a_whole_cluster_of_two_families(site: Built) -> None:  # D.1, D.4, D.2.4
    join = site.one("subnets", "join")
    v6 = {"cidrBlock": "100.64.0.0/16,fd00:100:64::/112", "gateway": "100.64.0.1,fd00:100:64::1", "protocol": "Dual"}
    join["spec"] |= {**v6, "excludeIps": ["100.64.0.1", "fd00:100:64::1"]}
    using = {"v6usingIPs": 3, "v6availableIPs": 65530, "v6usingIPrange": "fd00:100:64::2-fd00:100:64::4"}
    join["status"] |= {**using, "v6availableIPrange": "fd00:100:64::5-fd00:100:64::fffe"}
    site.row("Logical_Router_Port", f"{DEFAULT}-join")["networks"] = ["100.64.0.1/16", "fd00:100:64::1/112"]
    site.rule(31000, "ip6.dst == fd00:100:64::/112", subnet="join")
    site.route("::/0", "fd00:100:64::1", "dst-ip")
    site.into("ovn.cluster.u2o_overlay_cidrs.ip6", "fd00:100:64::/112")
    joins: dict[str, list[str]] = {}
    for number, (node, hop) in enumerate(JOINS.items(), 1):
        own = f"fd00:100:64::{number + 1}"
        joins[node] = [hop, own]
        found = site.one("nodes", node)
        found["status"]["addresses"].append({"type": "InternalIP", "address": f"2001:db8::{number}"})
        notes = {"ip_address": f"{hop},{own}", "cidr": v6["cidrBlock"], "gateway": v6["gateway"]}
        found["metadata"]["annotations"] |= {f"ovn.kubernetes.io/{k}": v for k, v in notes.items()}
        site.one("ips", f"node-{node}")["spec"] |= {"v6IpAddress": own, "ipAddress": f"{hop},{own}"}
        site.row("Logical_Switch_Port", f"node-{node}")["addresses"] += f" {own}"
        site.rule(30000, f"ip6.dst == 2001:db8::{number}", own, node=node, **{"address-family": "6"})
    site.subnet("ds", [V4, V6])
    site.uplink("ds", ["10.70.0.1/24", "fd70::1/112"])
    site.rule(31000, ALLOW4, subnet="ds")
    site.rule(31000, ALLOW6, subnet="ds")
    site.distributed("ds", joins=joins)
    spec = {"gatewayType": "centralized", "gatewayNode": "node2"}
    site.subnet("ce", [("10.71.0.0/24", "10.71.0.1"), ("fd71::/112", "fd71::1")], **spec)
    site.one("subnets", "ce")["status"]["activateGateway"] = "node2"
    site.uplink("ce", ["10.71.0.1/24", "fd71::1/112"], mac=2)
    for cidr, hop in (("10.71.0.0/24", joins["node2"][0]), ("fd71::/112", joins["node2"][1])):
        family = 6 if ":" in cidr else 4
        site.rule(31000, f"ip{family}.dst == {cidr}", subnet="ce")
        site.rule(29000, f"ip{family}.src == {cidr}", hop, subnet="ce", node2=hop)


def multicast(site: Built) -> None:  # D.2
    status = {"v4usingIPs": 1, "v4availableIPs": 252, "v4usingIPrange": "10.70.0.2"}
    status |= {"v4availableIPrange": "10.70.0.3-10.70.0.254"}
    status |= {"mcastQuerierIP": "10.70.0.2", "mcastQuerierMAC": MAC.format(6)}
    site.subnet("mc", [V4], status=status, enableMulticastSnoop=True)
    site.lease("mcast-querier.mc", "mc", "10.70.0.2", MAC.format(6))
    config = {"mcast_snoop": "true", "mcast_querier": "true", "mcast_ip4_src": "10.70.0.2"}
    site.row("Logical_Switch", "mc")["other_config"] = {**config, "mcast_eth_src": MAC.format(6), "subnet": "theirs"}
    site.uplink("mc", ["10.70.0.1/24"])
    site.rule(31000, ALLOW4, subnet="mc")
    site.distributed("mc", joins=ONLY_V4)
    ids = {"ls": "mc", "pod": "default/mcast-querier.mc"}
    columns = {"name": "mcast-querier.mc", "addresses": f"{MAC.format(6)} 10.70.0.2", "external_ids": ids}
    site.add("Logical_Switch_Port", columns, ("Logical_Switch", "mc", "ports"))


def virtual_addresses(site: Built) -> None:  # D.2
    site.subnet("vi", [V4, V6], vips=["10.70.0.200", "fd70::200"])
    site.uplink("vi", ["10.70.0.1/24", "fd70::1/112"])
    site.rule(31000, ALLOW4, subnet="vi")
    site.rule(31000, ALLOW6, subnet="vi")
    site.distributed("vi", joins=ONLY_V4)
    for vip in ("10.70.0.200", "fd70::200"):
        columns = {"name": f"vi-vip-{vip}", "type": "virtual", "options": {"virtual-ip": vip}}
        site.add("Logical_Switch_Port", {**columns, "external_ids": {"ls": "vi"}}, ("Logical_Switch", "vi", "ports"))


def peered_vpcs_and_bfd(site: Built) -> None:  # D.5, H.3
    vpc = site.one("vpcs", "vpc1")
    vpc["spec"]["vpcPeerings"] = [{"remoteVpc": "vpc.2", "localConnectIP": "169.254.9.1/30,fd99::1/126"}]
    vpc["spec"]["bfdPort"] = {"enabled": True, "ip": "10.255.255.255"}
    nodes = ["node1", "node2", "node3"]
    vpc["status"] |= {"vpcPeerings": ["vpc.2"], "bfdPort": {"name": "bfd@vpc1", "ip": "10.255.255.255", "nodes": nodes}}
    other = json.loads(json.dumps(vpc).replace("vpc-vpc1-", "vpc-vpc.2-"))
    other["metadata"] |= {"name": "vpc.2", "uid": "uid-vpc.2"}
    other["spec"] = {"vpcPeerings": [{"remoteVpc": "vpc1", "localConnectIP": "169.254.9.2/30"}]}
    other["status"] |= {"router": "vpc.2", "subnets": [], "vpcPeerings": ["vpc1"], "bfdPort": {}}
    site.objects["vpcs"].append(other)
    for row in [r for r in site.nb["Load_Balancer"] if r["name"].startswith("vpc-vpc1-")]:
        plain = {k: v for k, v in row.items() if k != "vips"}
        site.add("Load_Balancer", {**plain, "name": row["name"].replace("vpc1", "vpc.2")})
    router = {"name": "vpc.2", "options": {"mac_binding_age_threshold": "300", "dynamic_neigh_routers": "true"}}
    site.add("Logical_Router", router)
    site.row("Logical_Router", "vpc1")["options"].pop("always_learn_from_arp_request")
    networks = {("vpc1", "vpc.2"): ["169.254.9.1/30", "fd99::1/126"], ("vpc.2", "vpc1"): ["169.254.9.2/30"]}
    for (own, remote), addresses in networks.items():
        columns = {"name": f"{own}-{remote}", "peer": f"{remote}-{own}", "networks": addresses, "mac": MAC.format(3)}
        columns["external_ids"] = {"lr": own}
        site.add("Logical_Router_Port", columns, ("Logical_Router", own, "ports"))
    columns = {"name": "bfd@vpc1", "networks": "10.255.255.255", "mac": MAC.format(4), "external_ids": {"lr": "vpc1"}}
    columns |= {"options": {"bfd-only": "true"}, "ha_chassis_group": "HA_Chassis_Group:bfd@vpc1"}
    site.add("Logical_Router_Port", columns, ("Logical_Router", "vpc1", "ports"))
    site.add("HA_Chassis_Group", {"name": "bfd@vpc1", "ha_chassis": [], "external_ids": {"lrp": "bfd@vpc1"}})
    for index, node in enumerate(nodes):
        columns = {"chassis_name": f"chassis-{node}", "priority": 100 - index, "external_ids": {"group": "bfd@vpc1"}}
        site.nb.setdefault("HA_Chassis", []).append(columns)
        columns["external_ids"] |= {"vendor": "kube-ovn"}
        site.row("HA_Chassis_Group", "bfd@vpc1")["ha_chassis"].append(f"HA_Chassis:chassis-{node}")


FEATURES: list[Callable[[Built], None]] = [
    dual_stack_on_an_ipv4_cluster,
    ipv6_alone,
    private_with_acls,
    centralized_with_ecmp,
    centralized_by_selectors,
    dhcp_and_router_advertisements,
    nat_outgoing_rules,
    default_routes_in_several_tables,
    multicast,
    virtual_addresses,
    peered_vpcs_and_bfd,
    u2o_for_overlay_only,
    u2o_in_a_custom_vpc,
    u2o_without_load_balancer,
    custom_vpc_with_externals,
    a_whole_cluster_of_two_families,
]


def plan(site: Built, where: Path, capsys: pytest.CaptureFixture[str]) -> list[Json]:
    (where / "objects.json").write_text(json.dumps(site.objects))
    (where / "nb").write_text(json.dumps(site.nb))
    main(["plan", "--from-dir", str(where), "--nb", str(where / "nb"), "--output", "json"])
    out, err = capsys.readouterr()
    assert out, err
    found: list[Json] = json.loads(out)["operations"]
    return found


COUNTED_WITH_THE_LEDGER = {"custom_vpc_with_externals": "ext"}
"""Subnets whose counts have an OvnEip in them: `test_takeover_addresses` looks at these."""


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.__name__)
def test_what_kube_ovn_wrote_needs_nothing(
    feature: Callable[[Built], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Built()
    feature(site)
    counted = COUNTED_WITH_THE_LEDGER.get(feature.__name__, "")
    assert [o for o in plan(site, tmp_path, capsys) if (o.get("kind"), o.get("key")) != ("Subnet", counted)] == []


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.__name__)
def test_the_rows_are_looked_at(
    feature: Callable[[Built], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same with a strange external id in each row: each is found."""
    site = Built()
    known = {table: len(rows) for table, rows in site.nb.items()}
    feature(site)
    spoilt = 0
    for table, rows in site.nb.items():
        for row in rows[known.get(table, 0) :]:
            if row.get("priority") == 30050:
                continue  # whose ids stand, see `compile/u2o.py`
            row["external_ids"]["strange"] = "yes"
            spoilt += 1
    found = [o for o in plan(site, tmp_path, capsys) if o["target"] != "kubernetes"]
    assert len(found) == spoilt
    assert {o["operation"] for o in found} == {"update"}

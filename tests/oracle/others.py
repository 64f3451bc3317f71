"""What Kube-OVN writes for features that are not compiled here (D.6–D.16, D.18–D.22), and what others write.

Each function adds to a `Site` the objects, rows and column values of one feature, as the specification says that they
look. Whoever takes over must leave all of it alone.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

from tests.oracle import pods, subnets
from tests.oracle.rows import Ref, Row, dotted, row
from tests.oracle.world import OVN, Json, World, chassis, internal_ip, name, notes, spec


class Site:
    """A world, and rows of others beside those of the oracle."""

    def __init__(self, world: World, rows: list[Row], rng: random.Random) -> None:
        self.world, self.rows, self.rng = world, rows, rng
        self.added: list[Row] = []

    def add(
        self, table: str, parent: tuple[str, str, str] | None = None, *, vendor: bool = True, **columns: Any
    ) -> None:
        ids = columns.pop("ids", {})
        made = row(table, parent, ids, **columns)
        self.added.append(made if vendor else made._replace(columns={**made.columns, "external_ids": ids}))

    def change(self, table: str, label: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the columns of a row that the oracle made."""
        for index, known in enumerate(self.rows):
            if (known.table, known.label) == (table, label):
                columns = dict(known.columns)
                change(columns)
                self.rows[index] = known._replace(columns=columns)
                return
        raise AssertionError(f"no {table} {label}")

    def labels(self, table: str) -> list[str]:
        return [known.label for known in self.rows if known.table == table]

    def ports(self) -> list[str]:
        """Ports of pods."""
        own = (r for r in self.rows if r.table == "Logical_Switch_Port" and "pod" in r.columns["external_ids"])
        return [r.label for r in own if not r.label.startswith("mcast")]

    def some_ports(self) -> list[Ref]:
        known = self.ports()
        return [Ref("Logical_Switch_Port", port) for port in self.rng.sample(known, min(2, len(known)))]

    def acl(
        self, group: str, direction: str, priority: int, match: str, action: str, tier: int = 2, **more: Any
    ) -> None:
        columns = {"direction": direction, "priority": priority, "match": match, "action": action, "tier": tier, **more}
        self.add("ACL", ("Port_Group", group, "acls"), ids={"parent": group}, **columns)

    def policy(
        self, router: str, priority: int, match: str, hops: list[str], action: str = "reroute", **ids: str
    ) -> None:
        columns = {"priority": priority, "match": match, "action": action, **({"nexthops": hops} if hops else {})}
        self.add("Logical_Router_Policy", ("Logical_Router", router, "policies"), ids=ids, **columns)

    def bfd(self, port: str, *targets: str, **ids: str) -> None:
        for target in targets:
            self.add("BFD", ids=ids, logical_port=port, dst_ip=target, min_rx=1000, min_tx=1000, detect_mult=3)


def network_policy(site: Site) -> None:  # D.6, D.4
    group = "deny.all.ns.0"
    site.add("Port_Group", name=group, ports=site.some_ports(), ids={"np": "ns-0/deny-all"})
    for way, port, direction in (("ingress", "outport", "to-lport"), ("egress", "inport", "from-lport")):
        more: Json = {"options": {"apply-after-lb": "true"}} if way == "egress" else {}
        deny = {"name": "ns-0/deny-all", "log": True, "severity": "warning", "meter": f"{group}_{direction}_meter"}
        site.acl(group, direction, 2000, f"{port} == @{group} && ip", "drop", **deny, **more)
        sets = f"{group}.{way}"
        match = f"{port} == @{group} && ip && ip4.src == ${sets}.allow.IPv4.0 && ip4.src != ${sets}.except.IPv4.0"
        site.acl(group, direction, 2001, match, "allow-related", name=f"np/deny-all.ns-0/{way}/IPv4/0", **more)
        ids = {"np": f"ns-0/deny-all/{way}"}
        site.add("Address_Set", name=f"{sets}.allow.IPv4.0", addresses=["10.0.0.9", "10.0.0.10"], ids=ids)
        site.add("Address_Set", name=f"{sets}.except.IPv4.0", addresses=[], ids=ids)
        site.add("Meter", name=f"{group}_{direction}_meter", unit="pktps")
        site.add("Meter_Band", ("Meter", f"{group}_{direction}_meter", "bands"), action="drop", rate=100, burst_size=1)
    for node in site.world.nodes():
        if own := internal_ip(node, 4):
            group = dotted(f"node.{name(node)}")
            more = {"options": {"apply-after-lb": "true"}}
            site.acl(group, "to-lport", 3000, f"ip4.src == {own} && ip4.dst == ${group}_ip4", "allow-related")
            site.acl(group, "from-lport", 3000, f"ip4.dst == {own} && ip4.src == ${group}_ip4", "allow-related", **more)


def cluster_policies(site: Site) -> None:  # D.7
    for kind, tier, priority in (("anp", 1, 29500), ("banp", 3, 1800), ("cnp", 1, 29750)):
        group = f"{kind}.rule"
        site.add("Port_Group", name=group, ports=site.some_ports(), ids={kind: "rule" if kind != "cnp" else group})
        held = f"{group}.ingress.0.first.IPv4"
        site.add("Address_Set", name=held, addresses=["10.0.0.11"], ids={kind: "rule/ingress"})
        match = f"outport == @{group} && ip && ip4.src == ${held} && tcp.dst == 80"
        more = {"name": f"{kind}/rule/ingress/IPv4/0", "options": {"apply-after-lb": "true"}}
        site.acl(group, "to-lport", priority, match, "pass", tier, **more)


def security_groups(site: Site) -> None:  # D.8
    group, members = "ovn.sg.web", site.some_ports()
    site.add("Port_Group", name=group, ports=members, ids={"type": "security_group", "sg": "web"})
    for version in ("v4", "v6"):
        site.add("Address_Set", name=f"{group}.associated.{version}", addresses=[], ids={"sg": "web"})
    for tier in (2, 3):
        for direction, port in (("to-lport", "outport"), ("from-lport", "inport")):
            site.acl(group, direction, 2005, f"{port} == @{group} && arp", "allow-related", tier)
    match = f"outport == @{group} && ip4 && ip4.src == 10.0.0.0/8 && 80 <= tcp.dst <= 90"
    site.acl(group, "to-lport", 18474, match, "allow-related")
    site.acl(
        group, "to-lport", 2004, f"outport == @{group} && ip4 && ip4.src == ${group}.associated.v4", "allow-related"
    )
    site.change("Port_Group", "ovn.sg.kubeovn_deny_all", lambda columns: columns.update(ports=members))


def services(site: Site) -> None:  # D.9, D.11
    balancers = site.labels("Load_Balancer")
    if not balancers:
        return
    vips = {"10.96.5.5:80": "10.16.0.9:8080,10.16.0.8:8080", "[fd00:10:96::5]:80": "[fd00:10:16::9]:8080"}
    ids = {"kube-ovn.io/local-external-vip/192.0.2.99:443": "node-n-1"}
    check = {"timeout": "20", "interval": "5", "success_count": "3", "failure_count": "3"}
    columns = {"vip": "10.96.5.5:80", "options": check, "ids": {"switch_lb_subnet": "s"}}
    site.add("Load_Balancer_Health_Check", vendor=False, **columns)

    def filled(columns: dict[str, Any]) -> None:
        columns |= {"vips": vips, "ip_port_mappings": {"10.16.0.9": "p.ns:10.16.0.250"}}
        columns |= {"external_ids": {**columns["external_ids"], **ids}}
        columns["health_check"] = [Ref("Load_Balancer_Health_Check", "10.96.5.5:80")]

    site.change("Load_Balancer", site.rng.choice(balancers), filled)


def destination_nat(site: Site) -> None:  # D.12, D.14
    router = site.rng.choice(site.labels("Logical_Router"))
    site.add("Load_Balancer", name="dnat-1", protocol="udp", vips={"192.0.2.50:53": "10.16.0.9:53"})
    attached = [Ref("Load_Balancer", "dnat-1")]
    attached += [Ref("Load_Balancer", label) for label in site.labels("Load_Balancer")[:2]]
    site.change("Logical_Router", router, lambda columns: columns.update(load_balancer=attached))


def nat(site: Site) -> None:  # D.14, H.3
    router = site.rng.choice(site.labels("Logical_Router"))
    place = ("Logical_Router", router, "nat")
    site.add("NAT", place, vendor=False, type="snat", external_ip="192.0.2.60", logical_ip="10.55.0.0/24")
    columns = {"type": "dnat_and_snat", "external_ip": "192.0.2.61", "logical_ip": "10.55.0.9", "logical_port": "p.ns"}
    site.add("NAT", place, vendor=False, external_mac="0a:00:00:00:00:61", options={"stateless": "true"}, **columns)
    place = ("Logical_Router", router, "static_routes")
    columns = {"ip_prefix": "10.55.0.9", "nexthop": "192.0.2.1", "policy": "src-ip", "route_table": ""}
    site.add("Logical_Router_Static_Route", place, **columns)


def external_gateway(site: Site) -> None:  # D.18
    router = site.world.flags.cluster_router
    site.add("Logical_Switch", name="external")
    place = ("Logical_Switch", "external", "ports")
    columns: Json = {"type": "localnet", "addresses": ["unknown"], "options": {"network_name": "external"}, "tag": 9}
    site.add("Logical_Switch_Port", place, ids={"ls": "external"}, name="localnet.external", **columns)
    columns = {"type": "router", "addresses": ["router"], "options": {"router-port": f"{router}-external"}}
    site.add("Logical_Switch_Port", place, ids={"ls": "external"}, name=f"external-{router}", **columns)
    columns = {"mac": "0a:00:00:00:00:62", "networks": ["192.0.2.62/24"]}
    place = ("Logical_Router", router, "ports")
    site.add("Logical_Router_Port", place, ids={"lr": router}, name=f"{router}-external", **columns)
    for index, node in enumerate(site.world.nodes()):
        one, place = chassis(node) or f"gone-{index}", ("Logical_Router_Port", f"{router}-external", "gateway_chassis")
        columns = {"name": f"{router}-external-{one}", "chassis_name": one, "priority": 100 - index}
        site.add("Gateway_Chassis", place, vendor=False, ids={"lrp": f"{router}-external"}, **columns)
    if site.rng.random() < 0.5:
        columns = {"name": "node-ext-gw", "addresses": ["0a:00:00:00:00:63 192.0.2.63"]}
        site.add("Logical_Switch_Port", ("Logical_Switch", "external", "ports"), ids={"ls": "external"}, **columns)


def translated_pods(site: Site) -> None:  # D.3, D.14
    """The policies and NAT rows of pods with the annotations `eip` and `snat`."""
    world = site.world
    for pod in pods.served(world) if world.flags.enable_eip_snat else ():
        told, subnet = notes(pod), pods.nets(pod, world)[0].subnet
        own = told.get(f"{OVN}/ip_address", "").split(",")[0]
        asked = told.get(f"{OVN}/eip") or told.get(f"{OVN}/snat")
        if not asked or not spec(pod).get("nodeName") or ":" in own or not own:
            continue
        if subnets.in_default_vpc(subnet, world.flags) and subnets.logical(subnet):
            site.policy(world.flags.cluster_router, 29250, f"ip4.src == {own}", ["192.0.2.1"], subnet=name(subnet))
            place = ("Logical_Router", world.flags.cluster_router, "nat")
            kind = "dnat_and_snat" if told.get(f"{OVN}/eip") else "snat"
            site.add("NAT", place, vendor=False, type=kind, external_ip=f"192.0.2.{len(site.added)}", logical_ip=own)


def nat_gateways(site: Site) -> None:  # D.15
    router = site.rng.choice(site.labels("Logical_Router"))
    ids = {"vpc-nat-gateway": "gw-1", "af": "4"}
    site.policy(router, 29200, "ip4.src == 10.77.0.0/24", ["10.77.0.4", "10.77.0.5"], **ids)
    site.policy(router, 29190, "ip4.src == 10.77.0.0/24", [], "drop", **ids)
    site.bfd(f"bfd@{router}", "10.77.0.4", "10.77.0.5", **ids)


def egress_gateways(site: Site) -> None:  # D.16
    router, key = site.rng.choice(site.labels("Logical_Router")), "ns-0/veg"
    name_of = "VEG." + hashlib.sha256(key.encode()).hexdigest()[:12]
    ids = {"vpc-egress-gateway": key, "af": "4"}
    if site.rng.random() < 0.5:
        site.add("Port_Group", name=name_of, ports=site.some_ports(), ids=ids)
    else:
        site.add("Address_Set", name=f"{name_of}_ip4", addresses=[], ids=ids)
    site.add("Address_Set", name=f"{name_of}.ipv4", addresses=["10.78.0.0/24"], ids=ids)
    for match in (f"ip4.src == ${name_of}.ipv4", f"ip4.src == ${name_of}_ip4"):
        site.policy(router, 29100, match, ["10.78.0.4"], **ids)
        site.policy(router, 29090, match, [], "drop", **ids)
        local = f"ip4.src == ${dotted('node.' + name(site.world.nodes()[0]))}_ip4 && {match}"
        site.policy(router, 29150, local, ["10.78.0.4"], **ids)
    site.bfd(f"bfd@{router}", "10.78.0.4", **ids)


def interconnection(site: Site) -> None:  # D.19
    router = site.world.flags.cluster_router
    for switch in ("ts", "ts0"):
        site.add("Logical_Switch", vendor=False, name=switch, other_config={"interconn-ts": switch})
        columns: Json = {"type": "router", "addresses": ["router"], "options": {"router-port": f"az-{switch}"}}
        place = ("Logical_Switch", switch, "ports")
        site.add("Logical_Switch_Port", place, ids={"ls": switch}, name=f"{switch}-az", **columns)
        columns = {"mac": "0a:00:00:00:00:64", "networks": ["169.254.100.1/24"]}
        site.add(
            "Logical_Router_Port",
            ("Logical_Router", router, "ports"),
            ids={"lr": router},
            name=f"az-{switch}",
            **columns,
        )
    site.policy(router, 29500, "ip4.dst == 10.79.0.0/24", [], "allow", origin="connected")
    learned = {"ip_prefix": "10.79.0.0/24", "nexthop": "169.254.100.2", "route_table": ""}
    ids = {"ic-learned-route": "11111111-2222-3333-4444-555555555555"}
    place = ("Logical_Router", router, "static_routes")
    site.add("Logical_Router_Static_Route", place, vendor=False, ids=ids, **learned)
    told = {"ic-route-adv": "true", "ic-route-learn": "true", "ic-route-blacklist": "100.64.0.0/16"}
    columns = next(r.columns for r in site.rows if r.table == "NB_Global")
    columns["options"] = {**columns["options"], **told}


def somebody_elses(site: Site) -> None:
    """Rows of other programs in the same database."""
    site.add("Logical_Switch", vendor=False, name="their-switch")
    place = ("Logical_Switch", "their-switch", "ports")
    site.add("Logical_Switch_Port", place, vendor=False, name="their-port", addresses=["dynamic"])
    place = ("Logical_Switch", "their-switch", "acls")
    acl = {"direction": "to-lport", "priority": 1, "match": "ip", "action": "drop"}
    site.add("ACL", place, vendor=False, **acl)
    site.add("Logical_Router", vendor=False, name="their-router")
    site.add("Address_Set", vendor=False, name="their_set", addresses=["192.0.2.9"])
    site.add("Port_Group", vendor=False, name="their_group", ports=[])
    site.add("DHCP_Options", vendor=False, cidr="192.0.2.0/24", options={"router": "192.0.2.1"})
    subnet = site.rng.choice(site.labels("Logical_Switch"))
    limit = {"priority": 1, "direction": "from-lport", "match": 'inport == "x"', "bandwidth": {"rate": 1000}}
    site.add("QoS", ("Logical_Switch", subnet, "qos_rules"), vendor=False, **limit)
    site.add("DNS", vendor=False, records={"a.example": "192.0.2.9"})


FEATURES: list[Callable[[Site], None]] = [
    network_policy,
    cluster_policies,
    security_groups,
    services,
    destination_nat,
    nat,
    external_gateway,
    nat_gateways,
    egress_gateways,
    interconnection,
    somebody_elses,
]


def mixed_in(world: World, rows: list[Row], rng: random.Random) -> Site:
    """Some features, in any combination."""
    site = Site(world, list(rows), rng)
    translated_pods(site)
    for feature in FEATURES:
        if rng.random() < 0.4:
            feature(site)
    return site


def eips(world: World, rng: random.Random) -> None:
    """OvnEips of NAT rules and of nodes, which have addresses of a subnet (D.14); before anything is made of it."""
    places = [s for s in world.of("subnets") if name(s) == "ext-1"]
    for number in range(rng.randint(0, 3)) if places else ():
        told = {"v4Ip": f"10.240.0.{100 + number}", "macAddress": f"02:00:00:00:05:{number:02x}"}
        told["type"] = rng.choice(["nat", "lsp"])
        marks = {f"{OVN}/subnet": "ext-1", f"{OVN}/ovn_eip_type": told["type"], f"{OVN}/eip_v4_ip": told["v4Ip"]}
        meta = {"name": f"eip-{number}", "labels": marks, "finalizers": ["kubeovn.io/kube-ovn-controller"]}
        eip = {"kind": "OvnEip", "metadata": meta, "spec": {**told, "externalSubnet": "ext-1"}}
        world.add({**eip, "status": {**told, "ready": True}})


def eip_ports(site: Site) -> None:
    """The ports of OvnEips of type lsp."""
    for eip in site.world.of("ovn-eips"):
        if spec(eip)["type"] == "lsp":
            place, address = ("Logical_Switch", "ext-1", "ports"), f"{spec(eip)['macAddress']} {spec(eip)['v4Ip']}"
            site.add("Logical_Switch_Port", place, ids={"ls": "ext-1"}, name=name(eip), addresses=[address])

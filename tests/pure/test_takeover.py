"""Rows that Kube-OVN writes for features that are not compiled here stay as they are (spec part D, table by table).

Each case adds to what Kube-OVN really wrote (`reference/parity/01-basics`) the rows, column values and objects of one
feature, as the spec says that they look, and plans: nothing may be changed or removed, and new rows are foreign.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ovnbridge.cli import main

SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
BASICS = SHARED / "reference" / "parity" / "01-basics"
pytestmark = pytest.mark.skipif(not BASICS.is_dir(), reason="no shared/reference/parity beside the checkout")

Rows = dict[str, list[dict[str, Any]]]
VENDOR = {"vendor": "kube-ovn"}


class Site:
    """A database in the readable form and the objects beside it."""

    def __init__(self) -> None:
        self.nb: Rows = json.loads((BASICS / "nb.json").read_text())
        self.objects: dict[str, list[dict[str, Any]]] = json.loads((BASICS / "k8s.json").read_text())
        self.added: list[tuple[str, str]] = []

    def row(self, table: str, name: str) -> dict[str, Any]:
        (found,) = [r for r in self.nb[table] if r["name"] == name]
        return found

    def add(self, table: str, columns: Mapping[str, Any], parent: tuple[str, str, str] | None = None) -> None:
        """A row with the vendor mark, and its reference from (table, row, column)."""
        ids = {**VENDOR, **columns.get("external_ids", {})}
        self.nb.setdefault(table, []).append({**columns, "external_ids": ids})
        label = next(
            str(columns[c])
            for c in ("name", "match", "ip_prefix", "external_ip", "dst_ip", "chassis_name")
            if c in columns
        )
        self.added.append((table, label))
        if parent is not None:
            holder = self.row(parent[0], parent[1])
            held = holder.get(parent[2], [])
            holder[parent[2]] = [*(held if isinstance(held, list) else [held]), f"{table}:{label}"]

    def policy(self, priority: int, match: str, router: str = "ovn-cluster", **ids: str) -> None:
        columns = {"priority": priority, "match": match, "action": "allow", "external_ids": ids}
        self.add("Logical_Router_Policy", columns, ("Logical_Router", router, "policies"))

    def port(self, switch: str, name: str, kind: str = "", /, values: Any = None, **ids: str) -> None:
        columns = {"name": name, "type": kind, "addresses": "0a:00:00:00:00:01 10.16.9.9", "options": values or {}}
        columns["external_ids"] = {"ls": switch, **ids}
        self.add("Logical_Switch_Port", columns, ("Logical_Switch", switch, "ports"))

    def router_port(self, router: str, name: str, **columns: Any) -> None:
        row = {"name": name, "mac": "0a:00:00:00:00:02", "networks": "192.0.2.1/24", "external_ids": {"lr": router}}
        self.add("Logical_Router_Port", {**row, **columns}, ("Logical_Router", router, "ports"))

    def group(self, name: str, **ids: str) -> None:
        self.add("Port_Group", {"name": name, "external_ids": ids})

    def address_set(self, name: str, **ids: str) -> None:
        self.add("Address_Set", {"name": name, "addresses": ["192.0.2.7"], "external_ids": ids})

    def acl(self, group: str, priority: int, match: str) -> None:
        columns = {"priority": priority, "match": match, "direction": "to-lport", "action": "drop", "tier": 2}
        self.add("ACL", {**columns, "external_ids": {"parent": group}}, ("Port_Group", group, "acls"))

    def annotate(self, pod: str, **notes: str) -> None:
        (found,) = [p for p in self.objects["pods"] if p["metadata"]["name"] == pod]
        found["metadata"]["annotations"] |= {f"ovn.kubernetes.io/{name}": value for name, value in notes.items()}


def security_group(site: Site) -> None:  # D.8
    site.group("ovn.sg.web", type="security_group", sg="web")
    site.acl("ovn.sg.web", 2005, "outport == @ovn.sg.web && arp")
    site.acl("ovn.sg.web", 18483, "outport == @ovn.sg.web && ip4 && ip4.src == 10.0.0.0/8")
    for family in ("v4", "v6"):
        site.address_set(f"ovn.sg.web.associated.{family}", sg="web")
    site.annotate("web1", security_groups="web,db", port_security="true")
    port = site.row("Logical_Switch_Port", "web1.dist")
    port["port_security"] = port["addresses"]
    marks = {"security_groups": "web/db", "associated_sg_web": "true", "associated_sg_db": "true"}
    port["external_ids"] |= marks
    for group in ("ovn.sg.web", "ovn.sg.kubeovn_deny_all"):
        site.row("Port_Group", group)["ports"] = "Logical_Switch_Port:web1.dist"


def default_security_group(site: Site) -> None:  # D.3: a pod of a custom VPC that names it
    (vpc_port,) = [
        p for p in site.nb["Logical_Switch_Port"] if "associated_sg_default-securitygroup" in p["external_ids"]
    ]
    site.annotate(vpc_port["name"].partition(".")[0], security_groups="default-securitygroup")
    vpc_port["external_ids"] |= {
        "security_groups": "default-securitygroup",
        "associated_sg_default-securitygroup": "true",
    }


def network_policies(site: Site) -> None:  # D.6, D.7, D.4 (node ACLs)
    site.group("deny.all.dist", np="dist/deny-all")
    site.acl("deny.all.dist", 2000, "outport == @deny.all.dist && ip")
    site.address_set("deny.all.dist.ingress.allow.IPv4.0", np="dist/deny-all/ingress")
    site.acl("node.node1", 3000, "ip4.src == 192.0.2.1 && ip4.dst == $node.node1_ip4")
    for kind in ("anp", "banp", "cnp"):
        site.group(f"{kind}.a", **{kind: "a"})
        site.address_set(f"{kind}.a.ingress.0.r.IPv4", **{kind: "a/ingress"})
    site.add("Meter", {"name": "deny.all.dist_to-lport_meter", "unit": "pktps"})


def services(site: Site) -> None:  # D.9, D.11, D.12, D.14 (DNAT)
    balancer = site.row("Load_Balancer", "cluster-tcp-loadbalancer")
    balancer["vips"] |= {"10.96.9.9:80": "10.17.0.11:80", "192.0.2.99:443": "10.17.0.12:443"}
    balancer["ip_port_mappings"] = {"10.17.0.11": "web1.dist:10.17.0.5"}
    balancer["external_ids"] |= {"kube-ovn.io/local-external-vip/192.0.2.99:443": "node-node1"}
    site.add("Load_Balancer", {"name": "dnat1", "protocol": "tcp", "vips": {"192.0.2.50:80": "10.16.0.9:80"}})
    router = site.row("Logical_Router", "vpc1")
    router["load_balancer"] = ["Load_Balancer:dnat1", "Load_Balancer:vpc-vpc1-tcp-load"]
    check = {"vip": "10.96.9.9:80", "options": {"timeout": "20"}, "external_ids": {"switch_lb_subnet": "sub-dist"}}
    site.nb["Load_Balancer_Health_Check"] = [check]
    balancer["health_check"] = "Load_Balancer_Health_Check:10.96.9.9:80"


def layer2_forward(site: Site) -> None:  # B.1, D.3
    port = site.row("Logical_Switch_Port", "web1.dist")
    port["addresses"] = [port["addresses"], "unknown"]
    site.annotate("web1", layer2_forward="true")


def external_gateway(site: Site) -> None:  # D.18, D.14
    site.add("Logical_Switch", {"name": "external"})
    site.port("external", "localnet.external", "localnet", {"network_name": "external"})
    site.port("external", "external-ovn-cluster", "router", {"router-port": "ovn-cluster-external"})
    site.port("external", "node-node1-eip")
    site.router_port("ovn-cluster", "ovn-cluster-external")
    site.nb["Gateway_Chassis"] = [{"name": "ovn-cluster-external-c1", "chassis_name": "c1", "priority": 100}]
    site.row("Logical_Router_Port", "ovn-cluster-external")["gateway_chassis"] = (
        "Gateway_Chassis:ovn-cluster-external-c1"
    )
    site.nb["NAT"] = [
        {"type": "snat", "external_ip": "192.0.2.60", "logical_ip": "10.17.0.11"},
        {"type": "dnat_and_snat", "external_ip": "192.0.2.61", "logical_ip": "10.17.0.12"},
    ]
    site.row("Logical_Router", "ovn-cluster")["nat"] = ["NAT:192.0.2.60", "NAT:192.0.2.61"]
    site.policy(29250, "ip4.src == 10.17.0.11", subnet="sub-dist")
    site.annotate("web1", eip="192.0.2.60")
    site.row("Port_Group", "sub.dist.node1").pop("ports")
    route = {"ip_prefix": "10.17.0.12", "nexthop": "192.0.2.254", "policy": "src-ip"}
    site.add("Logical_Router_Static_Route", route, ("Logical_Router", "ovn-cluster", "static_routes"))


def gateways(site: Site) -> None:  # D.15, D.16
    site.policy(29200, "ip4.src == 10.20.0.0/24", "vpc1", **{"vpc-nat-gateway": "gw1", "af": "4"})
    site.policy(29190, "ip4.src == 10.20.0.0/24", "vpc1", **{"vpc-nat-gateway": "gw1", "af": "4"})
    site.group("VEG.0123456789ab", **{"vpc-egress-gateway": "ns/veg", "af": "4"})
    site.policy(29100, "ip4.src == $VEG.0123456789ab.ipv4", "vpc1", **{"vpc-egress-gateway": "ns/veg", "af": "4"})
    site.policy(29090, "ip4.src == $VEG.0123456789ab.ipv4", "vpc1", **{"vpc-egress-gateway": "ns/veg", "af": "4"})
    site.address_set("VEG.0123456789ab.ipv4", **{"vpc-egress-gateway": "ns/veg", "af": "4"})


def interconnection(site: Site) -> None:  # D.19
    site.nb["Logical_Switch"].append({"name": "ts", "other_config": {"interconn-ts": "ts"}})
    site.add("Logical_Switch", {"name": "ts0"})
    for switch in ("ts", "ts0"):
        site.port(switch, f"{switch}-az1", "router", {"router-port": f"az1-{switch}"})
        site.router_port("ovn-cluster", f"az1-{switch}")
    site.policy(29500, "ip4.dst == 10.99.0.0/24", origin="connected")
    site.nb["NB_Global"][0]["name"] = "az1"
    site.nb["NB_Global"][0]["options"] |= {"ic-route-adv": "true", "ic-route-learn": "true"}
    learned = {"ip_prefix": "10.98.0.0/24", "nexthop": "169.254.100.2", "policy": "dst-ip"}
    learned["external_ids"] = {"ic-learned-route": "11111111-2222-3333-4444-555555555555"}  # type: ignore[assignment]
    site.nb["Logical_Router_Static_Route"].append(learned)
    routes = site.row("Logical_Router", "ovn-cluster")["static_routes"]
    site.row("Logical_Router", "ovn-cluster")["static_routes"] = [routes, "Logical_Router_Static_Route:10.98.0.0/24"]


def rows_of_others(site: Site) -> None:  # D.17, foreign users
    site.nb["Logical_Switch"].append({"name": "somebody-elses", "ports": "Logical_Switch_Port:their-port"})
    site.nb["Logical_Switch_Port"].append({"name": "their-port"})
    site.nb["Logical_Router"].append({"name": "their-router"})
    site.nb["QoS"] = [{"match": 'inport == "x"', "priority": 1, "direction": "from-lport", "bandwidth": {"rate": 1}}]
    site.row("Logical_Switch", "sub-dist")["qos_rules"] = 'QoS:inport == "x"'


FEATURES: list[Callable[[Site], None]] = [
    security_group,
    default_security_group,
    network_policies,
    services,
    layer2_forward,
    external_gateway,
    gateways,
    interconnection,
    rows_of_others,
]


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.__name__)
def test_rows_of_other_features_stay(
    feature: Callable[[Site], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site()
    feature(site)
    (tmp_path / "objects.json").write_text(json.dumps(site.objects))
    (tmp_path / "nb").write_text(json.dumps(site.nb))
    status = main(["plan", "--from-dir", str(tmp_path), "--nb", str(tmp_path / "nb"), "--output", "json"])
    out, err = capsys.readouterr()
    assert out, err
    report = json.loads(out)
    counted = [o for o in report["operations"] if o["target"] == "kubernetes" and o["subresource"] == "status"]
    assert [o for o in report["operations"] if o not in counted] == []
    assert status == (2 if counted else 0)  # further IP objects are counted in their subnet's status
    named = json.dumps([(r["table"], r["key"]) for r in report["summary"]["foreign_rows"]])
    unread = {"Meter", "BFD", "NAT", "QoS", "Gateway_Chassis", "Load_Balancer_Health_Check"}
    for table, label in site.added:
        if table in unread:
            assert report["summary"]["northbound"]["foreign"][table] >= 1
        else:
            assert json.dumps(label)[1:-1] in named, (table, label)


def leftovers_of_vpcs(site: Site) -> None:
    """What Kube-OVN's garbage collectors look for (spec H.6: router, route policy, static route, LRP)."""
    site.add("Logical_Router", {"name": "vpc-gone"})
    site.router_port("vpc1", "vpc1-gone", peer="gone-vpc1")
    site.policy(29000, "ip4.src == $sub.dist.gone_ip4", subnet="sub-dist", node="gone")
    site.policy(29000, "ip4.src == 10.99.0.0/24", subnet="gone", gone="100.64.0.99")
    site.policy(1200, "ip4.dst == 198.51.100.0/24", "vpc1")
    for router, table, hop in (("ovn-cluster", "", "192.0.2.254"), ("vpc1", "rt", "10.20.0.250")):
        route = {"ip_prefix": "10.17.0.250", "nexthop": hop, "policy": "src-ip", "route_table": table}
        site.add("Logical_Router_Static_Route", route, ("Logical_Router", router, "static_routes"))
    site.add("BFD", {"logical_port": "vpc1-external", "dst_ip": "192.0.2.250"})
    site.add("HA_Chassis_Group", {"name": "bfd@gone", "external_ids": {"lrp": "bfd@gone"}})
    member = {"chassis_name": "chassis-gone", "priority": 100, "external_ids": {"group": "bfd@gone"}}
    site.add("HA_Chassis", member, ("HA_Chassis_Group", "bfd@gone", "ha_chassis"))


def test_what_only_kube_ovn_left_behind_is_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The protections must not make everything foreign: leftovers of what is compiled here go."""
    site = Site()
    site.port("ovn-default", "gone.dist", pod="dist/gone")
    site.port("join", "node-gone")
    site.group("node.gone", node="gone", np="node/gone")
    site.policy(30000, "ip4.dst == 192.0.2.77", node="gone", **{"address-family": "4"})
    site.add("Logical_Switch", {"name": "gone"})
    leftovers_of_vpcs(site)
    (tmp_path / "objects.json").write_text(json.dumps(site.objects))
    (tmp_path / "nb").write_text(json.dumps(site.nb))
    assert main(["plan", "--from-dir", str(tmp_path), "--nb", str(tmp_path / "nb"), "--output", "json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert {(o["operation"], o["table"]) for o in report["operations"]} == {("delete", t) for t, _ in site.added}
    assert report["summary"]["northbound"]["remove"] == len(site.added)

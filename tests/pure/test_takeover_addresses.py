"""What Kube-OVN 1.17 writes for pods, Vips and pools (spec B.2, C.8–C.10, D.3, D.13, E.1): a takeover plans nothing.

What is there is spelled out from the spec; each case adds to what Kube-OVN really wrote (`reference/parity/01-basics`).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from ovnbridge.cli import main
from tests.pure.test_takeover import BASICS, Site

pytestmark = pytest.mark.skipif(not BASICS.is_dir(), reason="no shared/reference/parity beside the checkout")

Json = dict[str, Any]
FINALIZER = ["kubeovn.io/kube-ovn-controller"]
META: Json = {"finalizers": FINALIZER, "creationTimestamp": "2026-11-23T23:30:00Z"}


class Written(Site):
    """Adds what Kube-OVN writes."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def mac(self) -> str:
        self.number += 1
        return f"0e:00:00:00:00:{self.number:02x}"

    def subnet(self, name: str) -> Json:
        (found,) = [s for s in self.objects["subnets"] if s["metadata"]["name"] == name]
        return found

    def ip(self, name: str, pod: str, subnet: str, v4: str, v6: str = "", mac: str = "", **spec: str) -> None:
        """The IP object of a port in namespace dist (C.10)."""
        labels = {"ovn.kubernetes.io/subnet": subnet, subnet: "", "ovn.kubernetes.io/ip_reserved": "false"}
        labels["ovn.kubernetes.io/node-name"] = spec.get("nodeName", "node1")
        self.objects["ips"].append(
            {
                "apiVersion": "kubeovn.io/v1",
                "kind": "IP",
                "metadata": {**META, "name": name, "labels": labels, "uid": name},
                "spec": {
                    "podName": pod,
                    "namespace": "dist",
                    "subnet": subnet,
                    "attachSubnets": [],
                    "nodeName": "node1",
                    "ipAddress": ",".join(filter(None, (v4, v6))),
                    "v4IpAddress": v4,
                    "v6IpAddress": v6,
                    "attachIps": [],
                    "macAddress": mac,
                    "attachMacs": [],
                    "containerID": "",
                    "podType": "",
                    **spec,
                },
            }
        )

    def lsp(self, name: str, pod: str, subnet: str, addresses: str, **ids: str) -> Json:
        marks = {"vendor": "kube-ovn", "ls": subnet, "pod": f"dist/{pod}", **ids}
        row: Json = {"name": name, "addresses": addresses, "external_ids": marks}
        self.nb["Logical_Switch_Port"].append(row)
        switch = self.row("Logical_Switch", subnet)
        held = switch.get("ports", [])
        switch["ports"] = [*(held if isinstance(held, list) else [held]), f"Logical_Switch_Port:{name}"]
        return row

    def join(self, group: str, port: str) -> None:
        row = self.row("Port_Group", group)
        held = row.get("ports", [])
        row["ports"] = [*(held if isinstance(held, list) else [held]), f"Logical_Switch_Port:{port}"]

    def pod(self, name: str, *, owner: Json | None = None, spec: Json | None = None, **notes: str) -> Json:
        """A pod that Kube-OVN serves in sub-dist; `notes` are keys without prefix."""
        pod: Json = {
            "metadata": {
                "name": name,
                "namespace": "dist",
                "uid": f"uid-{name}",
                "creationTimestamp": META["creationTimestamp"],
                "annotations": {f"ovn.kubernetes.io/{k}": v for k, v in notes.items()},
                **({"ownerReferences": [owner]} if owner else {}),
            },
            "spec": {"nodeName": "node1", "restartPolicy": "Always", **(spec or {})},
            "status": {"phase": "Running"},
        }
        self.objects["pods"].append(pod)
        return pod

    def serve(
        self,
        name: str,
        v4: str,
        *,
        holder: str = "",
        kind: str = "",
        owner: Json | None = None,
        ids: Mapping[str, str] = MappingProxyType({}),
        **notes: str,
    ) -> Json:
        """A pod of sub-dist on node1 with everything of it."""
        mac, own = self.mac(), holder or name
        self.pod(
            name,
            owner=owner,
            allocated="true",
            cidr="10.17.0.0/24",
            gateway="10.17.0.1",
            ip_address=v4,
            logical_router="ovn-cluster",
            logical_switch="sub-dist",
            mac_address=mac,
            pod_nic_type="veth-pair",
            routed="true",
            **notes,
        )
        self.ip(f"{own}.dist", own, "sub-dist", v4, mac=mac, podType=kind)
        port = self.lsp(f"{own}.dist", own, "sub-dist", f"{mac} {v4}", **ids)
        self.join("node.node1", f"{own}.dist")
        self.join("sub.dist.node1", f"{own}.dist")
        return port

    def vip(self, name: str, v4: str, *, mac: str = "", taken: str = "", **spec: Any) -> None:
        """A Vip in sub-dist with its address (D.13)."""
        mac = mac or self.mac()
        said = {"type": spec.get("type", ""), "v4ip": v4, "v6ip": "", "mac": mac}
        if "selector" in spec:
            said["selector"] = spec["selector"]
        labels = {"ovn.kubernetes.io/subnet": "sub-dist", "ovn.kubernetes.io/ip_reserved": taken}
        own = {"subnet": "sub-dist", "v4ip": v4, "v6ip": "", "macAddress": mac, "namespace": "", "type": "", **spec}
        meta = {**META, "name": name, "uid": name, "labels": labels}
        self.objects["vips"].append(
            {"apiVersion": "kubeovn.io/v1", "kind": "Vip", "metadata": meta, "spec": own, "status": said}
        )

    def finish(self, directory: Path) -> tuple[str, str]:
        """Write everything down, with the statuses that spec E.1 says."""
        for subnet in self.objects["subnets"]:
            subnet["status"] |= self.status(subnet)
        (directory / "objects.json").write_text(json.dumps(self.objects))
        (directory / "nb").write_text(json.dumps(self.nb))
        return str(directory), str(directory / "nb")

    def status(self, subnet: Json) -> Json:
        name, spec = subnet["metadata"]["name"], subnet["spec"]
        nets = [ipaddress.ip_network(cidr) for cidr in spec["cidrBlock"].split(",")]
        if any(net.num_addresses > 256 for net in nets):
            return {}  # as it is
        excluded = [_expanded(item) for item in spec["excludeIps"]]
        ips = [o["spec"] for o in self.objects["ips"] if name in o["metadata"]["labels"].values()]
        vips = [o for o in self.objects["vips"] if o["spec"]["subnet"] == name]
        inside = [i for i in ips if {i["v4IpAddress"], i["v6IpAddress"]} & set().union(*excluded)]
        free_vips = [v for v in vips if not v["metadata"]["labels"]["ovn.kubernetes.io/ip_reserved"]]
        using = len(ips) - len(inside) + len(free_vips)
        held = {a for i in ips for a in (i["v4IpAddress"], i["v6IpAddress"])} | {v["status"]["v4ip"] for v in vips}
        found: Json = {}
        for net in nets:
            usable = [str(a) for a in net.hosts() if a != net.broadcast_address]
            reserved = set().union(*excluded)
            family = f"v{net.version}"
            count = sum(len(entry & set(usable)) for entry in excluded)
            found[f"{family}usingIPs"] = using
            found[f"{family}availableIPs"] = len(usable) - count - using
            found[f"{family}usingIPrange"] = _ranges([a for a in usable if a in held - reserved])
            found[f"{family}availableIPrange"] = _ranges([a for a in usable if a not in held | reserved])
        return found


def _expanded(item: str) -> set[str]:
    first, _, last = item.partition("..")
    low, high = ipaddress.ip_address(first), ipaddress.ip_address(last or first)
    return {str(low + n) for n in range(int(high) - int(low) + 1)}


def _ranges(texts: list[str]) -> str:
    spans: list[list[Any]] = []
    for address in map(ipaddress.ip_address, texts):
        if spans and int(address) == int(spans[-1][1]) + 1:
            spans[-1][1] = address
        else:
            spans.append([address, address])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def owned_by(kind: str, name: str, version: str) -> Json:
    return {"kind": kind, "name": name, "apiVersion": version, "uid": f"uid-{name}", "controller": True}


def attachments(site: Written) -> None:
    """B.0, B.2: one OVN attachment, one whose addresses alone are managed (dual-stack)."""
    networks = '[{"name": "net", "namespace": "dist"}, {"name": "mv", "namespace": "dist", "interface": "eth2"}]'
    site.serve("multi", "10.17.0.20")
    notes = site.objects["pods"][-1]["metadata"]["annotations"]
    mac = site.mac()
    notes["k8s.v1.cni.cncf.io/networks"] = networks
    ovn = {
        "allocated": "true",
        "cidr": "10.17.0.0/24",
        "gateway": "10.17.0.1",
        "ip_address": "10.17.0.21",
        "logical_router": "ovn-cluster",
        "logical_switch": "sub-dist",
        "mac_address": mac,
        "pod_nic_type": "veth-pair",
        "routed": "true",
    }
    notes |= {f"net.dist.ovn.kubernetes.io/{k}": v for k, v in ovn.items()}
    plain = {
        "allocated": "true",
        "cidr": "10.61.0.0/24,fd61::/120",
        "gateway": "10.61.0.1,fd61::1",
        "ip_address": "10.61.0.2,fd61::2",
        "routed": "true",
    }
    notes |= {f"mv.dist.kubernetes.io/{k}": v for k, v in plain.items()}
    site.ip("multi.dist.net.dist.ovn", "multi", "sub-dist", "10.17.0.21", mac=mac)
    site.ip("multi.dist.mv.dist", "multi", "plain", "10.61.0.2", "fd61::2")
    site.ip("single.dist.mv.dist", "single", "plain", "10.61.0.3")
    site.lsp("multi.dist.net.dist.ovn", "multi", "sub-dist", f"{mac} 10.17.0.21")
    site.join("node.node1", "multi.dist.net.dist.ovn")
    site.join("sub.dist.node1", "multi.dist.net.dist.ovn")
    # The second one asked for one family.
    site.serve("single", "10.17.0.22")
    notes = site.objects["pods"][-1]["metadata"]["annotations"]
    notes["k8s.v1.cni.cncf.io/networks"] = "mv"
    notes |= {f"mv.dist.kubernetes.io/{k}": v for k, v in (plain | {"ip_address": "10.61.0.3"}).items()}
    notes["mv.dist.kubernetes.io/ip_family"] = "ipv4"
    conditions = [
        {"type": t, "status": s, "reason": r, "message": m, "lastTransitionTime": "", "lastUpdateTime": ""}
        for t, s, r, m in (
            ("Validated", "True", "SetNonOvnSubnetSuccess", ""),
            ("Ready", "True", "SetNonOvnSubnetSuccess", ""),
            ("Error", "Unknown", "Init", "Not Observed"),
        )
    ]
    spec = {
        "cidrBlock": "10.61.0.0/24,fd61::/120",
        "gateway": "10.61.0.1,fd61::1",
        "excludeIps": ["10.61.0.1", "fd61::1"],
        "protocol": "Dual",
        "provider": "mv.dist",
        "gatewayType": "distributed",
        "enableLb": True,
    }
    site.objects["subnets"].append(
        {
            "apiVersion": "kubeovn.io/v1",
            "kind": "Subnet",
            "metadata": {**META, "name": "plain", "uid": "plain"},
            "spec": spec,
            "status": {"conditions": conditions, "natOutgoingPolicyRules": []},
        }
    )
    configs = {
        "net": {"type": "kube-ovn", "provider": "net.dist.ovn"},
        "mv": {"type": "macvlan", "ipam": {"type": "kube-ovn", "provider": "mv.dist"}},
    }
    site.objects["network-attachment-definitions"] = [
        {
            "kind": "NetworkAttachmentDefinition",
            "apiVersion": "k8s.cni.cncf.io/v1",
            "metadata": {"name": name, "namespace": "dist"},
            "spec": {"config": json.dumps(config)},
        }
        for name, config in configs.items()
    ]


def stateful_sets(site: Written) -> None:
    """C.9: one pod runs; the other one is gone, its port stays with all that it said, without groups."""
    owner = owned_by("StatefulSet", "db", "apps/v1")
    site.serve("db-0", "10.17.0.30", kind="StatefulSet", owner=owner)
    mac = site.mac()
    site.ip("db-1.dist", "db-1", "sub-dist", "10.17.0.31", mac=mac, podType="StatefulSet")
    port = site.lsp("db-1.dist", "db-1", "sub-dist", f"{mac} 10.17.0.31", security_groups="a/b", associated_sg_a="true")
    port["external_ids"] |= {"associated_sg_b": "true", "vips": "10.17.0.99", "attach-vips": "true"}
    port["port_security"] = f"{mac} 10.17.0.31 10.17.0.99"
    site.objects["statefulsets"] = [
        {
            "kind": "StatefulSet",
            "apiVersion": "apps/v1",
            "metadata": {"name": "db", "namespace": "dist", "uid": "uid-db"},
            "spec": {"replicas": 2, "template": {"metadata": {}}},
        }
    ]


def machines(site: Written) -> None:
    """C.9, D.22: a machine that has migrated (the source pod has completed) and one that is stopped."""
    owner = owned_by("VirtualMachineInstance", "vm1", "kubevirt.io/v1")
    notes = {"virtualmachine": "vm1"}
    site.serve("virt-launcher-vm1-a", "10.17.0.40", holder="vm1", kind="VirtualMachine", owner=owner, **notes)
    source = site.pod("virt-launcher-vm1-0", owner=owner, spec={"restartPolicy": "Never", "nodeName": "node2"})
    source["metadata"]["annotations"] = dict(site.objects["pods"][-2]["metadata"]["annotations"])
    source["status"]["phase"] = "Succeeded"
    mac = site.mac()
    site.ip("vm2.dist", "vm2", "sub-dist", "10.17.0.41", mac=mac, podType="VirtualMachine")
    site.lsp("vm2.dist", "vm2", "sub-dist", f"{mac} 10.17.0.41")
    moving = owned_by("VirtualMachineInstance", "vm3", "kubevirt.io/v1")
    port = site.serve(
        "virt-launcher-vm3-a", "10.17.0.42", holder="vm3", kind="VirtualMachine", owner=moving, virtualmachine="vm3"
    )
    port["options"] = {"activation-strategy": "rarp", "requested-chassis": "node1,node2"}
    target = site.pod("virt-launcher-vm3-b", owner=moving, spec={"nodeName": "node2"})
    target["metadata"]["annotations"] = dict(site.objects["pods"][-2]["metadata"]["annotations"])
    target["metadata"]["creationTimestamp"] = "2026-11-23T23:40:00Z"
    site.objects["virtualmachines"] = [
        {"kind": "VirtualMachine", "apiVersion": "kubevirt.io/v1", "metadata": {"name": n, "namespace": "dist"}}
        for n in ("vm1", "vm2", "vm3")
    ]


def vips(site: Written) -> None:
    """D.13: pairs, both kinds with a port of their own, one in excludeIps, one that a pod has taken over."""
    site.serve("pair-a", "10.17.0.50", ids={"vips": "10.17.0.60", "attach-vips": "true"}, aaps="pair")
    site.serve("pair-b", "10.17.0.51", ids={"vips": "10.17.0.60", "attach-vips": "true"}, aaps="pair")
    site.vip("pair", "10.17.0.60", namespace="dist")
    options = {"virtual-ip": "10.17.0.60", "virtual-parents": "pair-b.dist,pair-a.dist"}
    virtual = {"name": "pair", "type": "virtual", "options": options}
    virtual["external_ids"] = {"vendor": "kube-ovn", "ls": "sub-dist"}
    site.nb["Logical_Switch_Port"].append(virtual)
    router_mac = site.row("Logical_Router_Port", "ovn-cluster-sub-dist")["mac"]
    site.vip("lb", "10.17.0.61", mac=router_mac, type="switch_lb_vip", namespace="dist")
    mac = site.mac()
    site.vip("host", "10.17.0.62", mac=mac, type="kube_host_vm_vip", namespace="dist")
    for name, address, mac_, values in (
        ("lb.dist", "10.17.0.61", router_mac, {"arp_proxy": "true"}),
        ("host.dist", "10.17.0.62", mac, {}),
    ):
        ids = {"vendor": "kube-ovn", "ls": "sub-dist"}
        row = {"name": name, "addresses": f"{mac_} {address}", "options": values, "external_ids": ids}
        site.nb["Logical_Switch_Port"].append(row)
    site.row("Logical_Switch", "sub-dist")["ports"] += [
        f"Logical_Switch_Port:{n}" for n in ("pair", "lb.dist", "host.dist")
    ]
    site.subnet("sub-dist")["spec"]["excludeIps"].append("10.17.0.200..10.17.0.210")
    for space in site.objects["namespaces"]:
        notes = space["metadata"]["annotations"]
        if space["metadata"]["name"] == "dist":
            notes["ovn.kubernetes.io/exclude_ips"] = "10.17.0.1,10.17.0.200..10.17.0.210"
    site.vip("excluded", "10.17.0.200")
    site.vip("picky", "10.17.0.64", selector=["app:web"])
    del site.objects["vips"][-1]["status"]["selector"]
    site.vip("told", "10.17.0.65", selector=["app:web"])
    site.vip("taken", "10.17.0.63", mac="0e:00:00:00:01:01", taken="taker.dist")
    port = site.serve("taker", "10.17.0.63", vip="taken")
    port["addresses"] = "0e:00:00:00:01:01 10.17.0.63"
    site.objects["ips"][-1]["spec"]["macAddress"] = "0e:00:00:00:01:01"
    site.objects["pods"][-1]["metadata"]["annotations"]["ovn.kubernetes.io/mac_address"] = "0e:00:00:00:01:01"


def pools(site: Written) -> None:
    """A.5, B.5, C.6: a namespace's pool, one address of it outside its CIDRs' borders."""
    site.serve("pooled", "10.17.0.101")
    for space in site.objects["namespaces"]:
        if space["metadata"]["name"] == "dist":
            space["metadata"]["annotations"]["ovn.kubernetes.io/ip_pool"] = "p"
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "UpdateIPAMSucceeded",
        "lastTransitionTime": "",
        "lastUpdateTime": "",
    }
    site.objects["ippools"].append(
        {
            "apiVersion": "kubeovn.io/v1",
            "kind": "IPPool",
            "metadata": {**META, "name": "p", "uid": "p"},
            "spec": {"subnet": "sub-dist", "ips": ["10.17.0.100/30", "10.17.0.150"], "namespaces": ["dist"]},
            "status": {
                "conditions": [ready],
                "v4AvailableIPs": 4,
                "v4AvailableIPRange": "10.17.0.100,10.17.0.102-10.17.0.103,10.17.0.150",
                "v4UsingIPs": 1,
                "v4UsingIPRange": "10.17.0.101",
                "v6AvailableIPs": 0,
                "v6AvailableIPRange": "",
                "v6UsingIPs": 0,
                "v6UsingIPRange": "",
            },
        }
    )


def lists_of_a_namespace(site: Written) -> None:
    """B.5: bound subnets and pools come in whatever order; cidr and exclude_ips in that of the subnets."""
    for name in ("sub-cent", "sub-dist"):
        site.subnet(name)["spec"]["namespaces"].append("bench")
    (space,) = [n for n in site.objects["namespaces"] if n["metadata"]["name"] == "bench"]
    space["metadata"]["annotations"] = {
        "ovn.kubernetes.io/logical_switch": "sub-dist,sub-cent",
        "ovn.kubernetes.io/cidr": "10.17.0.0/24;10.18.0.0/24",
        "ovn.kubernetes.io/exclude_ips": "10.17.0.1;10.18.0.1..10.18.0.9",
        "ovn.kubernetes.io/ip_pool": "q,p",
    }
    condition = {"type": "Ready", "status": "True", "reason": "UpdateIPAMSucceeded"}
    for name, address in (("p", "10.17.0.100"), ("q", "10.18.0.100")):
        status = {"conditions": [condition], "v4AvailableIPs": 1, "v4AvailableIPRange": address}
        site.objects["ippools"].append(
            {
                "apiVersion": "kubeovn.io/v1",
                "kind": "IPPool",
                "metadata": {**META, "name": name, "uid": name},
                "spec": {
                    "subnet": "sub-dist" if name == "p" else "sub-cent",
                    "ips": [address],
                    "namespaces": ["bench"],
                },
                "status": status,
            }
        )


def reservations(site: Written) -> None:
    """C.10: made by hand for a pod to come, filled in by the controller."""
    site.ip("later.dist", "later", "sub-dist", "10.17.0.70", mac=site.mac(), nodeName="")
    site.objects["ips"][-1]["metadata"]["labels"]["ovn.kubernetes.io/ip_reserved"] = "true"
    site.serve("came", "10.17.0.71")
    site.objects["ips"][-1]["metadata"]["labels"]["ovn.kubernetes.io/ip_reserved"] = "true"


def pods_without_network(site: Written) -> None:
    """C.9 alive test, E.14."""
    site.pod("host", spec={"hostNetwork": True})
    for name, phase, restart, reason in (
        ("done", "Succeeded", "Never", ""),
        ("failed", "Failed", "Never", ""),
        ("evicted", "Failed", "Always", "Evicted"),
    ):
        pod = site.pod(name, spec={"restartPolicy": restart}, allocated="true", ip_address="10.17.0.80", routed="true")
        pod["status"] = {"phase": phase, "reason": reason}


def unscheduled(site: Written) -> None:
    """E.14: allocated, not routed."""
    site.serve("pending", "10.17.0.81")
    pod = site.objects["pods"][-1]
    pod["spec"].pop("nodeName")
    pod["status"]["phase"] = "Pending"
    del pod["metadata"]["annotations"]["ovn.kubernetes.io/routed"]
    site.objects["ips"][-1]["spec"]["nodeName"] = ""
    site.objects["ips"][-1]["metadata"]["labels"]["ovn.kubernetes.io/node-name"] = ""
    for group in ("node.node1", "sub.dist.node1"):
        site.row("Port_Group", group)["ports"].remove("Logical_Switch_Port:pending.dist")


def terminating(site: Written) -> None:
    """C.9: served until it is gone."""
    site.serve("leaving", "10.17.0.82")
    site.objects["pods"][-1]["metadata"] |= {"deletionTimestamp": META["creationTimestamp"]}


def ways_out(site: Written) -> None:
    """D.3: eip and snat; their policies are another feature's, the ports are not in the subnet's group."""
    for number, kind in enumerate(("eip", "snat")):
        name, v4 = f"out-{kind}", f"10.17.0.{90 + number}"
        site.serve(name, v4, **{kind: f"192.0.2.{10 + number}"})
        site.row("Port_Group", "sub.dist.node1")["ports"].remove(f"Logical_Switch_Port:{name}.dist")
        columns = {"priority": 29250, "match": f"ip4.src == {v4}", "action": "reroute", "nexthops": "192.0.2.1"}
        site.add(
            "Logical_Router_Policy",
            {**columns, "external_ids": {"subnet": "sub-dist"}},
            ("Logical_Router", "ovn-cluster", "policies"),
        )


def notes_of_the_port(site: Written) -> None:
    """B.1, D.3: everything that a port's external_ids and port_security may say."""
    ids = {"security_groups": "a/b", "associated_sg_a": "true", "associated_sg_b": "true"}
    ids |= {"vips": "10.17.0.98,10.17.0.99", "attach-vips": "true"}
    notes = {"security_groups": "a,b", "port_vips": "10.17.0.98,10.17.0.99", "port_security": "true"}
    port = site.serve("loud", "10.17.0.97", ids=ids, **notes)
    port["port_security"] = f"{port['addresses']} 10.17.0.98 10.17.0.99"


CASES: list[Callable[[Written], None]] = [
    attachments,
    stateful_sets,
    machines,
    vips,
    pools,
    lists_of_a_namespace,
    reservations,
    pods_without_network,
    unscheduled,
    terminating,
    ways_out,
    notes_of_the_port,
]


def plan(site: Written, directory: Path, capsys: pytest.CaptureFixture[str]) -> Json:
    main(["plan", "--from-dir", *(site.finish(directory)[:1]), "--nb", str(directory / "nb"), "--output", "json"])
    out, err = capsys.readouterr()
    assert out, err
    report: Json = json.loads(out)
    return report


@pytest.mark.parametrize("case", CASES, ids=lambda f: f.__name__)
def test_what_kube_ovn_wrote_is_taken_over_as_it_is(
    case: Callable[[Written], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Written()
    case(site)
    assert plan(site, tmp_path, capsys)["operations"] == []


@pytest.mark.parametrize(
    ("case", "kinds", "gone"),
    [
        (attachments, ["network-attachment-definitions"], set()),
        (stateful_sets, ["statefulsets"], {"db-1.dist"}),
        (machines, ["virtualmachines", "virtualmachineinstances"], {"vm2.dist"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_nothing_goes_when_its_owners_are_not_in_the_dump(
    case: Callable[[Written], None],
    kinds: list[str],
    gone: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A kind that is absent as a whole says nothing; an empty list says that there are none."""
    site = Written()
    case(site)
    for kind in kinds:
        site.objects.pop(kind, None)
    report = plan(site, tmp_path, capsys)
    assert report["operations"] == []
    assert any(" stay" in warning for warning in report["summary"]["warnings"])
    site.objects |= {kind: [] for kind in kinds}
    report = plan(site, tmp_path, capsys)
    assert {o["key"] for o in report["operations"] if o["operation"] == "delete"} == gone
    assert not report["summary"]["warnings"]

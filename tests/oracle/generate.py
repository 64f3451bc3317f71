"""Random worlds: objects as users write them, correct ones, of every kind that the spec's tables speak of.

`world(seed)` is the same for the same seed. What users may write but Kube-OVN refuses is not here.
"""

from __future__ import annotations

import json
import random
from typing import Any

from tests.oracle import addresses
from tests.oracle.world import OVN, Flags, Json, World, name, notes, spec

NODE_NAMES = ("n-1", "node2", "n-3.example", "w-4")
TABLES = ("", "", "", "rtb-1")


def world(seed: int) -> World:
    return _Maker(random.Random(seed)).made()


class _Maker:
    """One world in the making; it remembers which networks are taken."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.world = World(self._flags())
        self._networks = 0
        self._high: dict[str, int] = {}
        self.dual = len(addresses.parts(self.world.flags.default_cidr)) == 2

    def made(self) -> World:
        self._nodes()
        self._vpcs()
        self._underlay()
        self._clusters_own()
        for number in range(self.rng.randint(1, 6)):
            self._subnet(number)
        self._odd_subnets()
        self._externals()
        self._attachments()
        self._pools_and_vips()
        self._workloads()
        for number in range(self.rng.randint(0, 10)):
            self._pod(f"p-{number}")
        self._reservations()
        return self.world

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def _flags(self) -> Flags:
        rng, flags = self.rng, Flags()
        flags.default_cidr = rng.choice(["10.16.0.0/16"] * 3 + ["10.16.0.0/16,fd00:10:16::/112", "fd00:10:16::/64"])
        joins = {4: "100.64.0.0/16", 6: "fd00:100:64::/112"}
        flags.node_switch_cidr = ",".join(joins[addresses.family(c)] for c in addresses.parts(flags.default_cidr))
        services = {4: "10.96.0.0/12", 6: "fd00:10:96::/112"}
        flags.service_cluster_ip_range = ",".join(
            services[addresses.family(c)] for c in addresses.parts(flags.default_cidr)
        )
        if self.chance(0.5):
            return flags
        flags.enable_lb = self.chance(0.7)
        flags.enable_ecmp = self.chance(0.2)
        flags.keep_vm_ip = self.chance(0.8)
        flags.enable_ovn_lb_prefer_local = self.chance(0.2)
        flags.ls_dnat_mod_dl_dst = self.chance(0.8)
        flags.ls_ct_skip_dst_lport_ips = self.chance(0.8)
        flags.default_gateway_check = self.chance(0.8)
        flags.network_type = rng.choice(["geneve", "geneve", "vxlan", "stt", "vlan"])
        if flags.network_type == "vlan":
            flags.default_interface_name = "eth9"
            mode = rng.choice(["", "default_logical_gateway", "default_u2o_interconnection"])
            if mode:
                setattr(flags, mode, True)
        if self.chance(0.3):
            flags.cluster_router, flags.default_ls, flags.node_switch = "main-router", "main-ls", "nodes-ls"
        if self.chance(0.3):
            dns = {4: "169.254.20.10", 6: "fd00:20::10"}
            flags.node_local_dns_ip = ",".join(dns[addresses.family(c)] for c in addresses.parts(flags.default_cidr))
        if self.chance(0.2):
            flags.skip_conntrack_dst_cidrs = "10.99.0.0/24"
        if self.chance(0.2):
            flags.cluster_tcp_loadbalancer = "tcp-balancer"
        return flags

    # -- nodes, namespaces, VPCs

    def _nodes(self) -> None:
        for number, called in enumerate(NODE_NAMES[: self.rng.randint(1, 4)], 11):
            v4, v6 = f"192.168.0.{number}", f"fd01::{number}"
            own = self.rng.choice([(v4,), (v4,), (v4, v6), (v6,), ()])
            marks = {"zone": self.rng.choice("ab"), **({f"{OVN}/external-gw": "true"} if self.chance(0.5) else {})}
            able = number == 11 or self.chance(0.8)
            told = {f"{OVN}/chassis": f"chassis-{called}"} if number == 11 or self.chance(0.9) else {}
            self.world.add(
                {
                    "kind": "Node",
                    "metadata": {"name": called, "labels": marks, "annotations": told},
                    "spec": {},
                    "status": {
                        "addresses": [{"type": "InternalIP", "address": a} for a in own],
                        "conditions": [{"type": "Ready", "status": str(able)}],
                    },
                }
            )

    def _vpcs(self) -> None:
        rng = self.rng
        self.custom = [f"vpc-{n}" for n in range(rng.randint(0, 3))]
        self.spaces: dict[str, list[str]] = {self.world.flags.cluster_router: [], **{v: [] for v in self.custom}}
        for number in range(rng.randint(1, 4)):
            space = f"ns-{number}"
            home = rng.choice([self.world.flags.cluster_router, *self.custom])
            self.spaces[home].append(space)
            marks = {"home": home, **({"team": rng.choice(["red", "blue"])} if self.chance(0.5) else {})}
            self.world.add({"kind": "Namespace", "metadata": {"name": space, "labels": marks}})
        for called in self.custom:
            body: Json = {"namespaces": self.spaces[called]} if self.spaces[called] else {}
            body |= self._routes()
            if self.chance(0.3):
                body["bfdPort"] = {"enabled": True, "ip": rng.choice(["10.255.255.255", "10.255.255.255,fd03::ff"])}
                if self.chance(0.5):
                    body["bfdPort"]["nodeSelector"] = {"matchLabels": {"zone": "a"}}
                    if not any(n["metadata"]["labels"]["zone"] == "a" and notes(n) for n in self.world.nodes()):
                        body.pop("bfdPort")
            self.world.add({"kind": "Vpc", "metadata": {"name": called}, "spec": body})
        if self.chance(0.4):
            default = {"kind": "Vpc", "metadata": {"name": self.world.flags.cluster_router}, "spec": self._routes()}
            if self.chance(0.2):
                default["spec"]["bfdPort"] = {"enabled": True, "ip": "10.255.255.254"}
            self.world.add(default)
        routers = [name(v) for v in self.world.of("vpcs")]
        if len(routers) > 1 and self.chance(0.5):
            first, second = (self.world.one("vpcs", v) for v in rng.sample(routers, 2))
            assert first is not None
            assert second is not None
            v6 = self.chance(0.3)
            first["spec"]["vpcPeerings"] = [self._peering(name(second), 1, v6)]
            second["spec"]["vpcPeerings"] = [self._peering(name(first), 2, v6)]

    def _peering(self, remote: str, number: int, v6: bool) -> Json:
        more = f",fd09::{number}/126" if v6 else ""
        return {"remoteVpc": remote, "localConnectIP": f"169.254.100.{number}/30{more}"}

    def _routes(self) -> Json:
        """Static routes (each prefix once in a table) and policy routes."""
        rng, found = self.rng, {}
        routes = [
            {"cidr": "172.16.0.0/16", "nextHopIP": "10.100.0.254", "policy": "policyDst"},
            {"cidr": "172.17.0.0/24", "nextHopIP": "10.100.0.253", "policy": "policySrc"},
            {"cidr": "172.18.0.1", "nextHopIP": "10.100.0.252"},
            {"cidr": "172.19.0.0/24", "nextHopIP": "10.100.0.252", "policy": "policySrc", "routeTable": "rtb-1"},
            {"cidr": "172.16.0.0/16", "nextHopIP": "10.100.0.250", "policy": "policyDst", "routeTable": "rtb-2"},
            {"cidr": "fd99::/64", "nextHopIP": "fd98::1", "policy": "policyDst"},
        ]
        policies = [
            {"priority": 1100, "match": "ip4.dst == 198.51.100.0/24", "action": "drop"},
            {"priority": 1200, "match": "ip4.src == 10.100.0.0/28", "action": "reroute", "nextHopIP": "10.100.0.253"},
            {
                "priority": 1200,
                "match": "ip4.src == 10.100.0.16/28",
                "action": "reroute",
                "nextHopIP": "10.100.0.9,10.100.0.8",
            },
            {"priority": 31500, "match": "ip6", "action": "allow", "nextHopIP": "fd98::1"},
        ]
        if self.chance(0.5):
            found["staticRoutes"] = rng.sample(routes, rng.randint(1, 4))
        if self.chance(0.4):
            found["policyRoutes"] = rng.sample(policies, rng.randint(1, 3))
        return found

    def _underlay(self) -> None:
        if self.chance(0.6):
            network = {"defaultInterface": "eth1", **({"excludeNodes": ["n-1"]} if self.chance(0.3) else {})}
            self.world.add({"kind": "ProviderNetwork", "metadata": {"name": "net-1"}, "spec": network})
            for called, tag in (("vlan-10", 10), ("vlan-0", 0), ("vlan-20", 20)):
                self.world.add({"kind": "Vlan", "metadata": {"name": called}, "spec": {"id": tag, "provider": "net-1"}})

    def _clusters_own(self) -> None:
        """What users made of the subnets that are there from the start, and of the service networks."""
        if self.chance(0.2):
            block = self.world.flags.default_cidr
            body: Json = {"default": True, "cidrBlock": block, "natOutgoing": True, "gatewayType": "distributed"}
            if self.world.flags.network_type == "vlan":
                body |= {"vlan": self.world.flags.default_vlan_name}
            else:
                self._gateway(body)
            self._features(body, self.world.flags.network_type == "vlan")
            self.world.add({"kind": "Subnet", "metadata": {"name": self.world.flags.default_ls}, "spec": body})
        if self.chance(0.2):
            spec = {"cidrs": ["10.112.0.0/16", "fd00:10:112::/112"][: self.rng.randint(1, 2)]}
            self.world.add({"kind": "ServiceCIDR", "metadata": {"name": "more"}, "spec": spec})

    # -- subnets

    def block(self, kinds: str | None = None) -> str:
        """CIDRs of their own: `4`, `6` or `46`."""
        self._networks += 1
        n = self._networks
        kinds = kinds or self.rng.choice(["4", "4", "4", "46", "6"])
        v4 = self.rng.choice([f"10.{100 + n}.0.0/24", f"10.{100 + n}.0.0/20", f"10.{100 + n}.0.5/24"])
        v6 = self.rng.choice([f"fd{n:02x}::/112", f"fd{n:02x}::/64"])
        return ",".join({"4": v4, "6": v6}[k] for k in (kinds if self.chance(0.8) else kinds[::-1]))

    def _subnet(self, number: int) -> None:
        rng, flags = self.rng, self.world.flags
        home = rng.choice([flags.cluster_router, flags.cluster_router, *self.custom])
        body: Json = {"cidrBlock": self.block()}
        if home != flags.cluster_router or self.chance(0.3):
            body["vpc"] = home
        under = self._kind(body)
        spaces = [s for s in self.spaces[home] if self.chance(0.4)]
        taken = {s for known in self.world.of("subnets") for s in spec(known).get("namespaces") or ()}
        spaces = [s for s in spaces if s not in taken]
        if spaces:
            body["namespaces"] = spaces
        elif self.chance(0.1):
            body["namespaceSelectors"] = [{"matchLabels": {"home": home, "team": "red"}}]
        self._addresses(body)
        if home == flags.cluster_router and not under:
            self._gateway(body)
        self._features(body, under)
        called = rng.choice([f"s-{number}", f"sub{number}", f"s.{number}-x"])
        self.world.add({"kind": "Subnet", "metadata": {"name": called}, "spec": body})
        vpc = self.world.one("vpcs", home)
        if vpc is not None and home != flags.cluster_router and self.chance(0.3):
            vpc["spec"]["defaultSubnet"] = called

    def _kind(self, body: Json) -> bool:
        """Sometimes an underlay subnet. Returns whether its gateway is outside."""
        if not self.world.of("vlans") or self.chance(0.6):
            if self.chance(0.1):
                body["logicalGateway"] = True
            return False
        body["vlan"] = self.rng.choice(["vlan-10", "vlan-0", "vlan-20"])
        mode = self.rng.choice(["", "logical", "u2o", "u2o", "only"])
        if mode == "logical":
            body["logicalGateway"] = True
            return False
        if mode:
            body["u2oInterconnection"] = True
            if mode == "only":
                body["u2oFeatures"] = {"overlayOnlyRouting": True}
            if self.chance(0.3):
                body["u2oInterconnectionIP"] = ",".join(self.at(c, 77) for c in addresses.parts(body["cidrBlock"]))
        return True

    def at(self, cidr: str, number: int) -> str:
        """The address of that number in a CIDR."""
        return addresses.text(addresses.usable(cidr)[0] - 1 + number, addresses.family(cidr))

    def _addresses(self, body: Json) -> None:
        blocks = addresses.parts(body["cidrBlock"])
        if self.chance(0.3):
            body["gateway"] = ",".join(self.at(c, 254) for c in (blocks if self.chance(0.7) else blocks[:1]))
        if self.chance(0.5):
            entries = [f"{self.at(c, a)}..{self.at(c, b)}" for c in blocks for a, b in ((2, 5), (4, 9), (12, 12))]
            entries += [self.at(c, 30) for c in blocks]
            body["excludeIps"] = self.rng.sample(entries, self.rng.randint(1, len(entries)))

    def _gateway(self, body: Json) -> None:
        ready = [name(n) for n in self.world.nodes() if n["status"]["conditions"][0]["status"] == "True"]
        body |= self.rng.choice([{}, {"gatewayType": "distributed"}])
        if not self.chance(0.4):
            return
        body["gatewayType"] = "centralized"
        chosen = self.rng.sample(NODE_NAMES, self.rng.randint(1, 3))
        chosen = [*chosen, self.rng.choice(ready)]
        if self.chance(0.3):
            zone = next(n for n in self.world.nodes() if name(n) == chosen[-1])["metadata"]["labels"]["zone"]
            body["gatewayNodeSelectors"] = [{"matchLabels": {"zone": zone}}]
        else:
            entries = [
                f"{one}:172.31.0.{i}" if self.chance(0.2) else one for i, one in enumerate(dict.fromkeys(chosen))
            ]
            body["gatewayNode"] = self.rng.choice([",", ", "]).join(entries)
        if self.chance(0.4):
            body["enableEcmp"] = True

    def _features(self, body: Json, outside: bool) -> None:
        rng = self.rng
        blocks = addresses.parts(body["cidrBlock"])
        optional: list[tuple[float, dict[str, Any]]] = [
            (0.2, {"private": True}),
            (0.2, {"private": True, "allowSubnets": ["10.250.0.0/24", "fd77::/64"]}),
            (0.15, {"acls": self._acls()}),
            (0.15, {"acls": self._acls(), "allowEWTraffic": True}),
            (0.1, {"allowEWTraffic": True}),
            (0.2, {"enableDHCP": True}),
            (
                0.15,
                {"enableDHCP": True, "dhcpV4Options": "lease_time=60,dns_server={10.0.0.1;10.0.0.2},router=10.9.9.9"},
            ),
            (0.1, {"enableDHCP": True, "dhcpV6Options": "dns_server=fd00::53"}),
            (0.2, {"enableLb": self.chance(0.5)}),
            (0.2, {"mtu": 1342}),
            (0.2, {"routeTable": "rtb-1"}),
            (0.2, {"natOutgoing": True}),
            (0.1, {"natOutgoing": True, "natOutgoingPolicyRules": self._nat_rules(blocks[0])}),
            (0.2, {"disableGatewayCheck": True}),
            (0.2, {"vips": [self.at(c, 200) for c in blocks]}),
            (0.2, {"enableIPv6RA": True}),
            (0.1, {"enableIPv6RA": True, "ipv6RAConfigs": "address_mode=slaac,max_interval=60"}),
            (0.15, {"enableMulticastSnoop": True}),
        ]
        for probability, fields in optional:
            if self.chance(probability):
                body |= fields
        if rng.random() < 0.05 and not outside:
            body["disableInterConnection"] = True

    def _acls(self) -> list[Json]:
        acls = [
            {"direction": "to-lport", "priority": 1010, "match": "ip4.src == 10.0.0.0/8", "action": "drop"},
            {"direction": "from-lport", "priority": 1900, "match": "ip4", "action": "allow-related"},
            {"direction": "to-lport", "priority": 1500, "match": "tcp.dst == 80", "action": "allow"},
            {"direction": "from-lport", "priority": 1011, "match": "ip4.dst == 10.0.0.0/8", "action": "reject"},
        ]
        return self.rng.sample(acls, self.rng.randint(1, 3))

    def _nat_rules(self, cidr: str) -> list[Json]:
        inside, outside = self.at(cidr, 40), "fd55::/64" if ":" in cidr else "10.55.0.0/24"
        rules = [
            {"match": {"srcIPs": inside, "dstIPs": outside}, "action": "forward"},
            {"match": {"dstIPs": outside}, "action": "nat"},
            {"match": {"srcIPs": f"{inside},{self.at(cidr, 41)}"}, "action": "nat"},
        ]
        return self.rng.sample(rules, self.rng.randint(1, 3))

    def _odd_subnets(self) -> None:
        """Subnets without room for pods, and one without addresses."""
        if self.chance(0.2):
            for number, block in enumerate(("10.90.0.0/31", "10.91.0.8/30", "fd91::/127", "10.92.0.0/29,fd92::/126")):
                home = self.rng.choice([self.world.flags.cluster_router, *self.custom])
                body = {"cidrBlock": block, "vpc": home}
                self.world.add({"kind": "Subnet", "metadata": {"name": f"tiny-{number}"}, "spec": body})
        if self.world.of("vlans") and self.chance(0.3):
            body = {"vlan": "vlan-10", **({"private": True} if self.chance(0.1) else {})}
            self.world.add({"kind": "Subnet", "metadata": {"name": "bare"}, "spec": body})

    # -- what hangs on subnets

    def _externals(self) -> None:
        """A custom VPC with ports on external subnets; the addresses are EIPs of their own."""
        if not (self.world.of("vlans") and self.custom and self.chance(0.4)):
            return
        if not any(f"{OVN}/external-gw" in n["metadata"]["labels"] and notes(n) for n in self.world.nodes()):
            return
        body = {"cidrBlock": "10.240.0.0/24", "vlan": "vlan-20", "gateway": "10.240.0.1"}
        self.world.add({"kind": "Subnet", "metadata": {"name": "ext-1"}, "spec": body})
        for number, called in enumerate(self.custom, 9):
            if not self.chance(0.6):
                continue
            vpc = self.world.one("vpcs", called)
            assert vpc is not None
            vpc["spec"] |= {"enableExternal": True, "extraExternalSubnets": ["ext-1"]}
            told = {"v4Ip": f"10.240.0.{number}", "macAddress": f"02:00:00:00:00:{number:02x}", "type": "lrp"}
            marks = {f"{OVN}/subnet": "ext-1", f"{OVN}/ovn_eip_type": "lrp", f"{OVN}/eip_v4_ip": told["v4Ip"]}
            meta = {"name": f"{called}-ext-1", "labels": marks, "finalizers": ["kubeovn.io/kube-ovn-controller"]}
            eip = {"kind": "OvnEip", "metadata": meta, "spec": {**told, "externalSubnet": "ext-1"}}
            self.world.add({**eip, "status": {**told, "ready": True}})

    def _attachments(self) -> None:
        """Networks that pods may be attached to: one with a switch, one that only hands out addresses."""
        if self.chance(0.4):
            self._definition("net", {"type": "kube-ovn", "provider": "net.ns-0.ovn"})
            home = self.rng.choice([self.world.flags.cluster_router, *self.custom])
            body = {"cidrBlock": self.block(), "provider": "net.ns-0.ovn", "vpc": home}
            self._addresses(body)
            self._features(body, False)
            self.world.add({"kind": "Subnet", "metadata": {"name": "att-ovn"}, "spec": body})
        if self.chance(0.4):
            self._definition("mac", {"type": "macvlan", "ipam": {"type": "kube-ovn", "provider": "mac.ns-0"}})
            body = {"cidrBlock": self.block(), "provider": "mac.ns-0"}
            self._addresses(body)
            self.world.add({"kind": "Subnet", "metadata": {"name": "att-mac"}, "spec": body})

    def _definition(self, called: str, config: Json) -> None:
        meta = {"name": called, "namespace": "ns-0"}
        body = {"config": json.dumps({"cniVersion": "0.3.0", **config})}
        self.world.add({"kind": "NetworkAttachmentDefinition", "metadata": meta, "spec": body})

    def usual(self) -> list[Json]:
        """Subnets of the pods' primary networks."""
        others = ("ext-1", "bare", "tiny-0", "tiny-1", "tiny-2", "tiny-3")
        return [s for s in self.world.of("subnets") if "provider" not in spec(s) and name(s) not in others]

    def _pools_and_vips(self) -> None:
        for number, subnet in enumerate(self.usual()):
            blocks = addresses.parts(spec(subnet)["cidrBlock"])
            if self.chance(0.25):
                entries = [f"{self.at(c, 100)}..{self.at(c, 110)}" for c in blocks] + [self.at(c, 150) for c in blocks]
                entries += [f"{self.at(c, 112)}/{'124' if ':' in c else '28'}" for c in blocks if self.chance(0.5)]
                body: Json = {
                    "subnet": name(subnet),
                    "ips": entries,
                    **({"enableAddressSet": True} if self.chance(0.5) else {}),
                }
                if self.chance(0.3) and spec(subnet).get("namespaces"):
                    body["namespaces"] = spec(subnet)["namespaces"][:1]
                self.world.add({"kind": "IPPool", "metadata": {"name": f"pool-{number}"}, "spec": body})
            for vip in range(self.rng.choice([0, 0, 0, 1, 2])):
                self._vip(f"vip-{number}-{vip}", subnet, blocks)

    def _vip(self, called: str, subnet: Json, blocks: list[str]) -> None:
        body: Json = {"subnet": name(subnet)}
        kind = self.rng.choice(["", "", "switch_lb_vip", "kube_host_vm_vip"])
        under = spec(subnet).get("vlan") and not spec(subnet).get("logicalGateway")
        if kind == "switch_lb_vip" and under and not spec(subnet).get("u2oInterconnection"):
            kind = ""
        if kind:
            body["type"] = kind
        spaces = [name(n) for n in self.world.of("namespaces")]
        if self.chance(0.6):
            body["namespace"] = self.rng.choice(spec(subnet).get("namespaces") or spaces)
            if self.chance(0.2):
                body["selector"] = ["app:web"]
        if self.chance(0.4):
            body |= {f"v{addresses.family(c)}ip": self.high(subnet, c) for c in blocks}
        if self.chance(0.2) and kind != "switch_lb_vip":
            body["macAddress"] = f"02:00:00:00:01:{len(self.world.of('vips')):02x}"
        self.world.add({"kind": "Vip", "metadata": {"name": called}, "spec": body})

    def high(self, subnet: Json, cidr: str) -> str:
        """An address that nobody draws and nobody else has."""
        self._high[cidr] = self._high.get(cidr, 160) + 1
        return self.at(cidr, self._high[cidr])

    # -- pods

    def _workloads(self) -> None:
        spaces = [name(n) for n in self.world.of("namespaces")]
        if self.chance(0.4):
            space, replicas = self.rng.choice(spaces), self.rng.randint(1, 3)
            body: Json = {"replicas": replicas, "template": {"metadata": {}, "spec": {}}}
            self.world.add({"kind": "StatefulSet", "metadata": {"name": "sts", "namespace": space}, "spec": body})
            owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "sts", "uid": f"statefulsets/{space}/sts"}
            start = self.rng.choice([0, 0, 3])
            if start:
                body["ordinals"] = {"start": start}
            for number in range(start, start + replicas):
                pod = self.pod(f"sts-{number}", space, [owner])
                (self.world.gone if self.chance(0.3) else self.world.of("pods")).append(pod)
        if self.chance(0.4):
            space = self.rng.choice(spaces)
            self.world.add({"kind": "VirtualMachine", "metadata": {"name": "vm", "namespace": space}, "spec": {}})
            owner = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "vm", "uid": "vm"}
            meta = {"name": "vm", "namespace": space, "ownerReferences": [owner]}
            self.world.add({"kind": "VirtualMachineInstance", "metadata": meta, "spec": {}})
            owner = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "vm", "uid": "vmi"}
            first = self.pod("virt-launcher-vm-abcde", space, [owner])
            first["spec"]["restartPolicy"] = "Never"
            self.world.add(first)
            if self.chance(0.5):  # it moved
                second = json.loads(json.dumps(first))
                second["metadata"]["name"] = "virt-launcher-vm-fghij"
                second["spec"]["nodeName"] = self.rng.choice([name(n) for n in self.world.nodes()])
                first["status"]["phase"] = "Succeeded"
                self.world.add(second)

    def pod(self, called: str, space: str, owners: list[Json]) -> Json:
        node = self.rng.choice([name(n) for n in self.world.nodes()])
        meta: Json = {"name": called, "namespace": space, "labels": {"app": self.rng.choice(["web", "db"])}}
        meta |= {"annotations": {}, **({"ownerReferences": owners} if owners else {})}
        return {"kind": "Pod", "metadata": meta, "spec": {"nodeName": node}, "status": {"phase": "Running"}}

    def _pod(self, called: str) -> None:
        rng = self.rng
        pod = self.pod(called, rng.choice([name(n) for n in self.world.of("namespaces")]), [])
        told = pod["metadata"]["annotations"]
        state = rng.choice(["", "", "", "", "host", "done", "failed", "waiting"])
        if state == "host":
            pod["spec"]["hostNetwork"] = True
        elif state in ("done", "failed"):
            pod["spec"]["restartPolicy"] = "Never"
            pod["status"]["phase"] = "Succeeded" if state == "done" else "Failed"
        elif state == "waiting":
            del pod["spec"]["nodeName"]
            pod["status"]["phase"] = "Pending"
        self.world.add(pod)
        if state == "host":
            return
        own = [p for p in self.world.of("ippools") if pod["metadata"]["namespace"] in spec(p).get("namespaces", ())]
        if own:  # nothing but its pools is for a namespace that has any
            told |= {f"{OVN}/logical_switch": spec(own[0])["subnet"]} if self.chance(0.5) else {}
        elif self.usual() and self.chance(0.7):
            subnet = rng.choice(self.usual())
            told[f"{OVN}/logical_switch"] = name(subnet)
            if state in ("", "waiting"):
                self._address(pod, subnet)
        self._settings(told)
        self._attach(told)

    def _address(self, pod: Json, subnet: Json) -> None:
        told, space = pod["metadata"]["annotations"], pod["metadata"]["namespace"]
        blocks = sorted(addresses.parts(spec(subnet)["cidrBlock"]), key=addresses.family)
        vips = [v for v in self.world.of("vips") if spec(v)["subnet"] == name(subnet)]
        pools = [p for p in self.world.of("ippools") if spec(p)["subnet"] == name(subnet)]
        kind = self.rng.choice(["", "", "static", "mac", "list", "family", "pool", "vip", "aaps", "aaps"])
        if kind == "static":
            told[f"{OVN}/ip_address"] = ",".join(self.high(subnet, c) for c in blocks)
        elif kind == "mac":
            told[f"{OVN}/mac_address"] = f"00:00:00:00:02:{len(self.world.of('pods')):02x}"
        elif kind == "list":
            entries = [",".join(self.high(subnet, c) for c in blocks) for _ in range(2)]
            told[f"{OVN}/ip_pool"] = (";" if len(blocks) == 2 else ",").join(entries)
        elif kind == "family" and len(blocks) == 2:
            told[f"{OVN}/ip_family"] = self.rng.choice(["ipv4", "ipv6"])
        elif kind == "pool" and pools:
            told[f"{OVN}/ip_pool"] = name(pools[0])
        elif kind == "aaps" and vips:
            told[f"{OVN}/aaps"] = ",".join(name(v) for v in vips)
        elif kind == "vip":
            used = {notes(p).get(f"{OVN}/vip") for p in self.world.of("pods")}
            free = [v for v in vips if name(v) not in used and not spec(v).get("type")]
            own = [v for v in free if spec(v).get("namespace", space) == space]
            if own:
                told[f"{OVN}/vip"] = name(own[0])

    def _reservations(self) -> None:
        """IP objects by hand, for a pod that is there and for one to come (C.10)."""
        spaces = [name(n) for n in self.world.of("namespaces")]
        own = [s for s in self.usual() if not any(spec(p)["subnet"] == name(s) for p in self.world.of("ippools"))]
        if not own or self.chance(0.8):
            return
        subnet, space = self.rng.choice(own), self.rng.choice(spaces)
        blocks = addresses.parts(spec(subnet)["cidrBlock"])
        body: Json = {"subnet": name(subnet), "podName": "to-come", "namespace": space}
        body |= {f"v{addresses.family(c)}IpAddress": self.high(subnet, c) for c in blocks}
        body |= {"macAddress": "02:00:00:00:04:01"}
        meta = {"name": f"to-come.{space}", "labels": {f"{OVN}/subnet": name(subnet)}}
        self.world.add({"kind": "IP", "metadata": meta, "spec": body})
        if self.chance(0.5) and not any(spec(p).get("namespaces") for p in self.world.of("ippools")):
            pod = self.pod("to-come", space, [])
            pod["metadata"]["annotations"] = {f"{OVN}/logical_switch": name(subnet)}
            self.world.add(pod)

    def _settings(self, told: dict[str, str]) -> None:
        settings = [
            {"port_security": "true"},
            {"port_vips": "10.9.8.7"},
            {
                "port_vips": ",".join(
                    self.rng.choice([spec(s).get("vips", []) for s in self.usual()] or [[]]) or ["fd08::7"]
                )
            },
            {"security_groups": "web"},
            {"security_groups": "web,default-securitygroup"},
            {"layer2_forward": "true"},
            {"dhcp-v4-options": "lease_time=7"},
            {"dhcp-v6-options": "dns_server=fd00::1"},
            {"north_gateway": "10.9.9.1"},
            {"eip": "192.0.2.70"},
            {"snat": "192.0.2.71"},
            {"north_gateway": "fd09::1"},
            {"ingress_rate": "3"},
            {"pod_nic_type": "offload-port"},
        ]
        for setting in settings:
            if self.chance(0.08):
                told |= {f"{OVN}/{key}": value for key, value in setting.items()}

    def _attach(self, told: dict[str, str]) -> None:
        definitions = self.world.of("network-attachment-definitions")
        if definitions and self.chance(0.4):
            chosen = self.rng.sample(definitions, self.rng.randint(1, len(definitions)))
            listed = [{"name": name(d), "namespace": "ns-0"} for d in chosen]
            short = ",".join(f"ns-0/{name(d)}@net{i}" for i, d in enumerate(chosen, 1))
            told["k8s.v1.cni.cncf.io/networks"] = self.rng.choice([json.dumps(listed), short])
            for definition in chosen:
                provider = f"{name(definition)}.ns-0" + (".ovn" if name(definition) == "net" else "")
                if self.chance(0.3):
                    told |= self._of_attachment(provider)
            if "net" in map(name, chosen) and self.chance(0.2):  # twice the same network
                told["k8s.v1.cni.cncf.io/networks"] = "ns-0/net@net1,ns-0/net@net2"

    def _of_attachment(self, provider: str) -> dict[str, str]:
        subnet = next(s for s in self.world.of("subnets") if spec(s).get("provider") == provider)
        blocks = sorted(addresses.parts(spec(subnet)["cidrBlock"]), key=addresses.family)
        own = ",".join(self.high(subnet, c) for c in blocks)
        settings = [{"ip_address": own}]
        if provider.endswith(".ovn"):
            settings += [{"mac_address": f"00:00:00:00:03:{len(self.world.of('pods')):02x}"}]
            settings += [
                {"port_security": "true"},
                {"dhcp-v4-options": "lease_time=9"},
                {"logical_switch": name(subnet)},
            ]
        return {f"{provider}.kubernetes.io/{k}": v for k, v in self.rng.choice(settings).items()}

"""The objects as Kube-OVN leaves them: defaults, annotations, IP objects, statuses, finalizers (A, B, C.10, E.1)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.oracle import addresses, ledger, pods, subnets, vpcs
from tests.oracle.subnets import cidrs
from tests.oracle.world import (
    FINALIZER,
    OVN,
    Drawn,
    Json,
    Lease,
    World,
    dhcp_label,
    dhcp_uuid,
    labels,
    name,
    notes,
    spec,
    status,
)

PENDING = {"lastTransitionTime": "2026-11-24T00:00:00Z", "lastUpdateTime": "2026-11-24T00:00:00Z"}


def complete(world: World) -> World:
    """The world with what Kube-OVN creates at start (D.1), and with the specs that it completes."""
    world, flags = world.copy(), world.flags
    _create(world, "Vpc", flags.cluster_router, {})
    first = {"gateway": addresses.default_gateway(flags.node_switch_cidr), "cidrBlock": flags.node_switch_cidr}
    _create(world, "Subnet", flags.node_switch, {**first, "disableInterConnection": True})
    default: Json = {"default": True, "cidrBlock": flags.default_cidr, "natOutgoing": True}
    if not flags.default_gateway_check:
        default["disableGatewayCheck"] = True
    if flags.network_type == "vlan":
        default |= {"vlan": flags.default_vlan_name}
        default |= {"logicalGateway": True} if flags.default_logical_gateway else {}
        default |= {"u2oInterconnection": True} if flags.default_u2o_interconnection else {}
        provider = {"defaultInterface": flags.default_interface_name}
        _create(world, "ProviderNetwork", flags.default_provider_name, provider)
        vlan = {"id": flags.default_vlan_id, "provider": flags.default_provider_name}
        _create(world, "Vlan", flags.default_vlan_name, vlan)
    _create(world, "Subnet", flags.default_ls, default)
    for subnet in world.of("subnets"):
        subnets.complete(subnet, flags)
    for vpc in world.of("vpcs"):
        vpcs.complete(vpc)
    return world


def _create(world: World, kind: str, called: str, body: Json) -> None:
    obj = {"kind": kind, "metadata": {"name": called}, "spec": body}
    plural = {"Vpc": "vpcs", "Subnet": "subnets", "Vlan": "vlans", "ProviderNetwork": "provider-networks"}[kind]
    if world.one(plural, called) is None:
        world.add(obj)


def leave(world: World, drawn: Drawn) -> World:
    """All objects, for a world whose objects are complete."""
    world = world.copy()
    for vip in world.of("vips"):
        _vip(vip, drawn.leases[f"vip/{name(vip)}"], world)
    for node in world.nodes():
        _node(node, drawn.leases[f"node-{name(node)}"], world)
    world.objects["ips"] = _ips(world, drawn)
    for pod in world.of("pods"):
        if not spec(pod).get("hostNetwork"):
            _pod(pod, drawn, world)
    for subnet in world.of("subnets"):
        subnet["metadata"]["finalizers"] = [FINALIZER]
        subnet["status"] = _subnet_status(subnet, drawn, world)
    for pool in world.of("ippools"):
        _pool(pool, drawn, world)
    for vlan in world.of("vlans"):
        own = sorted(name(s) for s in world.of("subnets") if spec(s).get("vlan") == name(vlan))
        if own:
            vlan["status"] = {**status(vlan), "subnets": own}
    for network in world.of("provider-networks"):
        own = sorted(name(v) for v in world.of("vlans") if spec(v)["provider"] == name(network))
        network["status"] = {"ready": False, **status(network), **({"vlans": own} if own else {})}
    for namespace in world.of("namespaces"):
        _namespace(namespace, world)
    for vpc in world.of("vpcs"):
        vpc["metadata"]["finalizers"] = [FINALIZER]
        vpc["status"] = _vpc_status(vpc, drawn, world)
    return world


def _node(node: Json, lease: Lease, world: World) -> None:  # B.4
    join = world.subnet(world.flags.node_switch)
    told = {
        "allocated": "true",
        "ip_address": lease.joined(),
        "mac_address": lease.mac,
        "cidr": spec(join)["cidrBlock"],
        "gateway": spec(join)["gateway"],
        "logical_switch": name(join),
        "port_name": f"node-{name(node)}",
    }
    _annotate(node, {f"{OVN}/{key}": value for key, value in told.items()})


def _annotate(obj: Json, told: dict[str, str]) -> None:
    obj["metadata"]["annotations"] = {**notes(obj), **told}


def _ips(world: World, drawn: Drawn) -> list[Json]:  # C.10
    found = []
    given = {name(ip): ip for ip in world.of("ips")}
    join = world.flags.node_switch
    for node in world.nodes():
        own = {"apiVersion": "v1", "kind": "Node", "name": name(node), "uid": node["metadata"].get("uid", "")}
        holder = {"podName": name(node), "nodeName": name(node)}
        found.append(_ip(f"node-{name(node)}", join, drawn.leases[f"node-{name(node)}"], holder, own))
    for subnet in world.of("subnets"):
        own = {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "name": name(subnet)}
        own["uid"] = subnet["metadata"].get("uid", "")
        for key in (f"u2o-interconnection.{spec(subnet).get('vpc')}.{name(subnet)}", f"mcast-querier.{name(subnet)}"):
            if key in drawn.leases:
                holder = {"podName": key, "namespace": "default"}
                found.append(_ip(key, name(subnet), drawn.leases[key], holder, own))
    for pod in [*pods.served(world), *world.gone]:
        for net in pods.nets(pod, world):
            key = pods.port_name(pod, net, world)
            holder = {"podName": pods.holder(pod, world), "namespace": pod["metadata"]["namespace"]}
            holder |= {"nodeName": spec(pod).get("nodeName", ""), "podType": pods.kind_of_holder(pod, world)}
            ip = _ip(key, name(net.subnet), drawn.leases[key], holder)
            if hand := given.pop(key, None):
                ip["metadata"]["labels"] |= {**labels(hand), f"{OVN}/ip_reserved": "true"}
            found.append(ip)
    for key, ip in given.items():
        kept = {k: v for k, v in spec(ip).items() if k in ("podName", "namespace", "nodeName", "podType")}
        made = _ip(key, spec(ip)["subnet"], drawn.leases[key], kept)
        made["metadata"]["labels"] |= {**labels(ip), f"{OVN}/ip_reserved": "true"}
        made["metadata"] |= {k: v for k, v in ip["metadata"].items() if k not in ("labels", "name")}
        found.append(made)
    return sorted(found, key=name)


def _ip(key: str, subnet: str, lease: Lease, holder: dict[str, str], owner: Json | None = None) -> Json:
    empty = {"namespace": "", "nodeName": "", "podName": "", "podType": ""}
    body: Json = {"attachIps": [], "attachMacs": [], "attachSubnets": [], "containerID": "", **empty, **holder}
    body |= {"subnet": subnet, "macAddress": lease.mac, "v4IpAddress": lease.v4, "v6IpAddress": lease.v6}
    marks = {f"{OVN}/ip_reserved": "false", f"{OVN}/node-name": body["nodeName"], f"{OVN}/subnet": subnet, subnet: ""}
    meta: Json = {"name": key, "finalizers": [FINALIZER], "labels": marks}
    if owner is not None:
        meta["ownerReferences"] = [owner]
    body["ipAddress"] = lease.joined()
    return {"apiVersion": "kubeovn.io/v1", "kind": "IP", "metadata": meta, "spec": body}


def _pod(pod: Json, drawn: Drawn, world: World) -> None:  # B.2
    told: dict[str, str] = {}
    for net in pods.nets(pod, world):
        key, own = pods.port_name(pod, net, world), spec(net.subnet)
        if key not in drawn.leases:
            continue  # completed, and nobody remembers its address
        lease = drawn.leases[key]
        net_told = {"allocated": "true", "ip_address": lease.joined(), "cidr": own.get("cidrBlock", "")}
        net_told |= {"gateway": own.get("gateway", ""), "mac_address": lease.mac}
        if subnets.is_ovn(net.subnet):
            net_told |= {"logical_switch": name(net.subnet)}
            net_told |= {"pod_nic_type": notes(pod).get(net.note("pod_nic_type")) or world.flags.pod_nic_type}
            if subnets.routed(net.subnet):
                net_told["logical_router"] = own["vpc"]
        if own.get("vlan") and subnets.is_ovn(net.subnet):
            vlan = subnets.vlan_of(net.subnet, world)
            net_told |= {"vlan_id": str(spec(vlan).get("id", 0)), "provider_network": spec(vlan)["provider"]}
        if pods.holder(pod, world) != name(pod):
            net_told["virtualmachine"] = pods.holder(pod, world)
        if spec(pod).get("nodeName"):
            net_told["routed"] = "true"
        told |= {net.note(k): v for k, v in net_told.items() if v}
        pod["metadata"]["annotations"] = {k: v for k, v in notes(pod).items() if k != net.note("logical_switch")}
    _annotate(pod, told)


def _vip(vip: Json, lease: Lease, world: World) -> None:  # D.13
    user = _user_of(vip, world)
    own = labels(vip) | {f"{OVN}/ip_reserved": user, f"{OVN}/subnet": spec(vip)["subnet"]}
    vip["metadata"] |= {"labels": own, "finalizers": [FINALIZER]}
    kind = spec(vip).get("type", "")
    filled = {"macAddress": lease.mac, "namespace": spec(vip).get("namespace", ""), "type": kind}
    vip["spec"] = {**spec(vip), **filled, "v4ip": lease.v4, "v6ip": lease.v6}
    vip["status"] = {"mac": lease.mac, "type": kind, "v4ip": lease.v4, "v6ip": lease.v6}
    if chosen := spec(vip).get("selector"):
        vip["status"]["selector"] = chosen


def _user_of(vip: Json, world: World) -> str:
    """The port that took the vip over (annotation `vip`)."""
    for pod in pods.served(world):
        if notes(pod).get(f"{OVN}/vip") == name(vip):
            return pods.port_name(pod, pods.nets(pod, world)[0], world)
    return ""


def _namespace(namespace: Json, world: World) -> None:  # B.5
    own = [world.subnet(called) for called in pods.namespace_subnets(namespace, world)]
    told = {
        f"{OVN}/logical_switch": ",".join(map(name, own)),
        f"{OVN}/cidr": ";".join(spec(s).get("cidrBlock", "") for s in own),
        f"{OVN}/exclude_ips": ";".join(",".join(spec(s).get("excludeIps") or ()) for s in own),
    }
    if chosen := pods.namespace_pools(name(namespace), world):
        told[f"{OVN}/ip_pool"] = ",".join(map(name, chosen))
    _annotate(namespace, told)


def leases_in(subnet: Json, drawn: Drawn, world: World) -> list[Lease]:
    """All addresses that somebody has in a subnet."""
    found = {drawn.leases[name(ip)] for ip in world.of("ips") if spec(ip)["subnet"] == name(subnet)}
    found |= {drawn.leases[f"vip/{name(v)}"] for v in world.of("vips") if spec(v)["subnet"] == name(subnet)}
    found |= {drawn.leases[f"eip/{name(e)}"] for e in world.of("ovn-eips") if spec(e)["externalSubnet"] == name(subnet)}
    return list(found)


def _subnet_status(subnet: Json, drawn: Drawn, world: World) -> Json:  # A.3, E.1
    found: Json = {"activateGateway": drawn.active.get(name(subnet), ""), "conditions": subnets.conditions(subnet)}
    rules = spec(subnet).get("natOutgoingPolicyRules") or [] if spec(subnet).get("natOutgoing") else []
    found["natOutgoingPolicyRules"] = [_rule(subnet, i, rule) for i, rule in enumerate(rules)]
    for version in (4, 6):
        enabled = spec(subnet).get("enableDHCP") and any(addresses.family(c) == version for c in cidrs(subnet))
        own = dhcp_uuid(dhcp_label(name(subnet), f"IPv{version}"))
        found[f"dhcpV{version}OptionsUUID"] = own if enabled else ""
    lease = drawn.leases.get(f"u2o-interconnection.{spec(subnet).get('vpc')}.{name(subnet)}")
    active = lease if lease is not None and subnets.u2o(subnet) else Lease()
    found |= {"u2oInterconnectionIP": active.joined(), "u2oInterconnectionMAC": active.mac}
    found["u2oInterconnectionVPC"] = spec(subnet)["vpc"] if active.mac else ""
    querier = drawn.leases.get(f"mcast-querier.{name(subnet)}", Lease())
    found |= {"mcastQuerierIP": querier.joined(), "mcastQuerierMAC": querier.mac}
    return {**found, **_counts(subnet, drawn, world)}


def _rule(subnet: Json, index: int, rule: Json) -> Json:
    """D.2.4: the id is a digest of the subnet's name, the rule's number and the rule as Go writes it."""
    match = {k: rule.get("match", {})[k] for k in ("srcIPs", "dstIPs") if rule.get("match", {}).get(k)}
    text = json.dumps({"match": match, "action": rule.get("action", "")}, separators=(",", ":"))
    digest = hashlib.sha256(f"{name(subnet)}{index}{text}".encode()).hexdigest()
    return {"ruleID": digest[:12], "match": match, "action": rule.get("action", "")}


def _counts(subnet: Json, drawn: Drawn, world: World) -> Json:
    """E.1."""
    used = leases_in(subnet, drawn, world)
    found: Json = {}
    blocks = {addresses.family(c): c for c in cidrs(subnet)}
    hidden = {v: addresses.minus(subnets.reserved(subnet, c), _gateway(subnet, c)) for v, c in blocks.items()}
    using = _users(subnet, drawn, world, hidden)
    for version in (4, 6):
        key = f"v{version}"
        if version not in blocks:
            found |= {
                f"{key}availableIPs": 0,
                f"{key}usingIPs": 0,
                f"{key}availableIPrange": "",
                f"{key}usingIPrange": "",
            }
            continue
        excluded = subnets.reserved(subnet, blocks[version])
        left = max(0, addresses.count(blocks[version]) - addresses.size(excluded) - using)
        taken = [(n, n) for n in _numbers(used, version)]
        free = addresses.minus([addresses.usable(blocks[version])], [*excluded, *taken])
        found |= {f"{key}availableIPs": stored(left), f"{key}usingIPs": using}
        found |= {f"{key}availableIPrange": addresses.range_text(free, version)}
        found |= {f"{key}usingIPrange": addresses.range_text(addresses.minus(taken, excluded), version)}
    return found


def _users(subnet: Json, drawn: Drawn, world: World, hidden: dict[int, list[addresses.Range]]) -> int:
    count = 0
    for ip in world.of("ips"):
        lease = drawn.leases[name(ip)]
        inside = any(addresses.holds(ranges, n) for v, ranges in hidden.items() for n in _numbers([lease], v))
        count += spec(ip)["subnet"] == name(subnet) and not inside
    own = (v for v in world.of("vips") if spec(v)["subnet"] == name(subnet))
    count += sum(1 for v in own if labels(v)[f"{OVN}/ip_reserved"] == "")
    return count + sum(1 for e in world.of("ovn-eips") if spec(e)["externalSubnet"] == name(subnet))


def _gateway(subnet: Json, cidr: str) -> list[addresses.Range]:
    own = addresses.number(subnets.gateway(subnet, cidr))
    return [(own, own)]


def _numbers(leases: list[Lease], version: int) -> list[int]:
    found = (lease.v4 if version == 4 else lease.v6 for lease in leases)
    return [addresses.number(a) for a in found if a]


def stored(count: int) -> int:
    """What an API server keeps of a number (docs/differences.md): beyond 64 bits that of a float."""
    return count if count < 1 << 63 else int(float(count))


def _pool(pool: Json, drawn: Drawn, world: World) -> None:  # A.5, E.1, C.6
    subnet = world.subnet(spec(pool)["subnet"])
    found: Json = {"conditions": [{**PENDING, "reason": "UpdateIPAMSucceeded", "status": "True", "type": "Ready"}]}
    blocks = {addresses.family(c): c for c in cidrs(subnet)}
    for version in (4, 6):
        using: list[addresses.Range] = []
        free: list[addresses.Range] = []
        if cidr := blocks.get(version):
            hidden = subnets.reserved(subnet, cidr)
            own = addresses.minus(ledger.pool_ranges(pool, cidr), hidden)
            taken = [(n, n) for n in _numbers(leases_in(subnet, drawn, world), version)]
            using = [(n, n) for n, _ in taken if addresses.holds(own, n)]
            free = addresses.minus(own, using)
        found |= {f"v{version}AvailableIPs": stored(addresses.size(free)), f"v{version}UsingIPs": len(using)}
        found |= {f"v{version}AvailableIPRange": addresses.range_text(free, version)}
        found |= {f"v{version}UsingIPRange": addresses.range_text(using, version)}
    pool["metadata"]["finalizers"] = [FINALIZER]
    pool["status"] = found


def _vpc_status(vpc: Json, drawn: Drawn, world: World) -> Json:  # A.2, D.5
    default = name(vpc) == world.flags.cluster_router
    found: Json = {
        "bfdPort": {},
        "default": default,
        "defaultLogicalSwitch": pods.default_switch(vpc, world),
        "enableBfd": bool(spec(vpc).get("enableBfd")),
        "enableExternal": bool(spec(vpc).get("enableExternal")),
        "router": name(vpc),
        "standby": True,
        "subnets": [name(s) for s in subnets.of_vpc(world, name(vpc))],
    }
    for kind, called in vpcs.balancer_names(name(vpc), world).items() if world.flags.enable_lb else ():
        protocol, _, session = kind.partition("-")
        found[f"{protocol}{session.capitalize()}LoadBalancer"] = called
    if peers := spec(vpc).get("vpcPeerings"):
        found["vpcPeerings"] = [p["remoteVpc"] for p in peers]
    if spec(vpc).get("extraExternalSubnets") and found["enableExternal"]:
        found["extraExternalSubnets"] = sorted(spec(vpc)["extraExternalSubnets"])
    if nodes := drawn.bfd.get(name(vpc)):
        found["bfdPort"] = {"name": f"bfd@{name(vpc)}", "ip": spec(vpc)["bfdPort"]["ip"], "nodes": nodes}
    return found


def dumped(world: World) -> dict[str, list[Any]]:
    """As a dump has them, with identity and age."""
    found: dict[str, list[Any]] = {}
    for plural, objects in world.objects.items():
        found[plural] = []
        for obj in objects:
            meta = obj["metadata"]
            own = {"uid": f"{plural}/{meta.get('namespace', '')}/{meta['name']}"}
            found[plural].append({**obj, "metadata": {"creationTimestamp": "2026-11-24T00:00:00Z", **own, **meta}})
    return found

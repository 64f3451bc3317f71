"""Pods: which networks they have, who holds their addresses, and their aliveness (B.0, B.1, C.8, C.9)."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tests.oracle import addresses, subnets
from tests.oracle.world import OVN, Json, World, labels, name, notes, selected, spec, status

NETWORKS = "k8s.v1.cni.cncf.io/networks"
DEFAULT_NETWORK = "v1.multus-cni.io/default-network"


class Net(NamedTuple):
    """One network of a pod."""

    provider: str
    subnet: Json

    def note(self, suffix: str) -> str:
        """An annotation's name for this network (B.0)."""
        return f"{self.provider}.kubernetes.io/{suffix}"


def alive(pod: Json) -> bool:
    """C.9; nobody is past the grace of its deletion here."""
    phase, policy = status(pod).get("phase"), spec(pod).get("restartPolicy", "Always")
    if phase == "Succeeded":
        return bool(policy == "Always")
    return phase != "Failed" or (policy != "Never" and status(pod).get("reason") != "Evicted")


def owner(pod: Json, kind: str) -> str:
    """The name of the pod's owner of a kind, or nothing."""
    found = (ref for ref in pod["metadata"].get("ownerReferences") or () if ref["kind"] == kind)
    return next((str(ref["name"]) for ref in found), "")


def holder(pod: Json, world: World) -> str:
    """In whose name addresses are held: the virtual machine's, else the pod's (C.1)."""
    machine = owner(pod, "VirtualMachineInstance") if world.flags.keep_vm_ip else ""
    return machine or name(pod)


def kind_of_holder(pod: Json, world: World) -> str:
    """podType of its IP objects (C.10)."""
    if holder(pod, world) != name(pod):
        return "VirtualMachine"
    return "StatefulSet" if owner(pod, "StatefulSet") else ""


def served(world: World) -> list[Json]:
    """Pods that have addresses, in order of their names; one of those that share a machine's."""
    found: dict[tuple[str, str], Json] = {}
    for pod in sorted(world.of("pods"), key=lambda p: (p["metadata"]["namespace"], name(p))):
        if not spec(pod).get("hostNetwork") and alive(pod):
            found.setdefault((pod["metadata"]["namespace"], holder(pod, world)), pod)
    return list(found.values())


def port_name(pod: Json, net: Net, world: World) -> str:
    """The name of the port, and of the IP object (C.1)."""
    own = f"{holder(pod, world)}.{pod['metadata']['namespace']}"
    return own if net.provider == "ovn" else f"{own}.{net.provider}"


def nets(pod: Json, world: World) -> list[Net]:
    """The networks of a pod, primary first (B.0)."""
    found = []
    if DEFAULT_NETWORK not in notes(pod):
        found.append(Net("ovn", world.subnet(primary_subnet(pod, world))))
    wanted = [*_entries(pod, DEFAULT_NETWORK), *_entries(pod, NETWORKS)]
    for entry in wanted:
        definition = world.one("network-attachment-definitions", entry["name"], entry["namespace"])
        provider = _provider(definition) if definition is not None else ""
        if not provider:
            continue
        several = sum(1 for e in wanted if (e["name"], e["namespace"]) == (entry["name"], entry["namespace"])) > 1
        own = f"{provider}.{entry['interface']}" if several and entry.get("interface") else provider
        given = notes(pod).get(f"{own}.kubernetes.io/logical_switch")
        subnet = next(
            s for s in world.of("subnets") if (name(s) == given if given else s["spec"]["provider"] == provider)
        )
        found.append(Net(own, subnet))
    return found


def _entries(pod: Json, annotation: str) -> list[dict[str, Any]]:
    text, own = notes(pod).get(annotation, ""), pod["metadata"]["namespace"]
    if text.startswith("["):
        return [{"namespace": own, **entry} for entry in json.loads(text)]
    found = []
    for entry in addresses.parts(text):
        path, _, interface = entry.partition("@")
        space, _, called = path.rpartition("/")
        found.append({"name": called, "namespace": space or own, "interface": interface})
    return found


def _provider(definition: Json) -> str:
    config = json.loads(spec(definition).get("config") or "{}")
    base = f"{name(definition)}.{definition['metadata']['namespace']}"
    plugins = [config, *config.get("plugins", ())]
    if any(p.get("type") == "kube-ovn" for p in plugins):
        return f"{base}.ovn"
    return base if any((p.get("ipam") or {}).get("type") == "kube-ovn" for p in plugins) else ""


def namespace_subnets(namespace: Json, world: World) -> list[str]:
    """The subnets of a namespace, in order (B.5)."""
    own, first, found = name(namespace), [], []
    for subnet in sorted(world.of("subnets"), key=name):
        chosen = own in (spec(subnet).get("namespaces") or ())
        chosen |= any(selected(s, labels(namespace)) for s in spec(subnet).get("namespaceSelectors") or ())
        vpc = world.one("vpcs", spec(subnet).get("vpc", "")) if subnets.is_ovn(subnet) else None
        custom = vpc is not None and name(vpc) != world.flags.cluster_router and own != "kube-system"
        if custom and spec(vpc).get("defaultSubnet") == name(subnet) and own in (spec(vpc).get("namespaces") or ()):
            first, chosen = [name(subnet)], False
        found += [name(subnet)] if chosen else []
    found = [*first, *found] or [_fallback(own, world)]
    given = world.orders.get(own, [])
    return given if sorted(given) == sorted(found) and given[:1] == (first or given[:1]) else found


def _fallback(namespace: str, world: World) -> str:
    """The subnet of a namespace that none names: its VPC's default one."""
    for vpc in world.of("vpcs"):
        if namespace in (spec(vpc).get("namespaces") or ()):
            return default_switch(vpc, world) or world.flags.default_ls
    return world.flags.default_ls


def default_switch(vpc: Json, world: World) -> str:
    """status.defaultLogicalSwitch (D.5)."""
    own = subnets.of_vpc(world, name(vpc))
    if name(vpc) == world.flags.cluster_router:
        return next((name(s) for s in own if spec(s).get("default")), "")
    return next((name(s) for s in own if name(s) == spec(vpc).get("defaultSubnet")), "")


def namespace_pools(namespace: str, world: World) -> list[Json]:
    return [p for p in sorted(world.of("ippools"), key=name) if namespace in (spec(p).get("namespaces") or ())]


def named_pool(pod: Json, net: Net, world: World) -> Json | None:
    """The IPPool that a pod's annotation names."""
    return world.one("ippools", notes(pod).get(net.note("ip_pool"), ""))


def primary_subnet(pod: Json, world: World) -> str:
    """C.8; no subnet and no pool is full here."""
    if given := notes(pod).get(f"{OVN}/logical_switch"):
        return given
    pool = world.one("ippools", notes(pod).get(f"{OVN}/ip_pool", ""))
    if pool is not None:
        return str(spec(pool)["subnet"])
    namespace = world.one("namespaces", pod["metadata"]["namespace"])
    assert namespace is not None
    candidates = namespace_subnets(namespace, world)
    pools = (spec(p)["subnet"] for p in namespace_pools(name(namespace), world))
    return next((subnet for subnet in pools if subnet in candidates), candidates[0])


def virtual_addresses(pod: Json, net: Net, world: World) -> list[str]:
    """Addresses that a port may have besides its own (D.3): those of `aaps`, then `port_vips`."""
    found: list[str] = []
    for called in addresses.parts(notes(pod).get(f"{OVN}/aaps", "")):
        vip = world.one("vips", called)
        if vip is None or spec(vip).get("namespace") != pod["metadata"]["namespace"]:
            continue
        if spec(vip)["subnet"] == name(net.subnet):
            found += [a for a in (status(vip).get("v4ip"), status(vip).get("v6ip")) if a]
    found += addresses.parts(notes(pod).get(net.note("port_vips"), ""))
    return list(dict.fromkeys(found))

"""Cluster addresses and node ports of Services.

What is in use is derived from the stored Services (the store tells of each change), so a dry run or a refused
create cannot leak an address.  `objects` calls `allocate` before a Service is validated and stored.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from .errors import Cause, Object
from .store import Change, Collection

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NODE_PORTS = range(30000, 32768)


class ServiceAllocator:
    def __init__(self, cidrs: Sequence[str]) -> None:
        self.networks: list[Network] = [ipaddress.ip_network(cidr) for cidr in cidrs]
        self._addresses: dict[str, str] = {}
        self._ports: dict[tuple[int, str], str] = {}
        self._next_port = 0
        # The real server keeps the low part of a range for addresses that users choose.
        self._next = {network: min(256, network.num_addresses // 16) for network in self.networks}

    def changed(self, collection: Collection, change: Change) -> None:
        if (collection.group, collection.plural) != ("", "services"):
            return
        if change.old is not None:
            obj = change.old.decode()
            for address in addresses_of(obj):
                self._addresses.pop(address, None)
            for port in node_ports_of(obj):
                self._ports.pop(port, None)
        if change.new is not None:
            obj = change.new.decode()
            for address in addresses_of(obj):
                self._addresses[address] = change.new.uid
            for port in node_ports_of(obj):
                self._ports[port] = change.new.uid

    def allocate(self, obj: Object, old: Object | None) -> list[Cause]:
        """Fills in addresses, families and node ports; returns what cannot be granted."""
        spec = obj["spec"]
        if spec.get("type") == "ExternalName":
            for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(name, None)
            return []
        if old is not None:
            self._inherit(spec, old["spec"])
        causes = list(self._allocate_addresses(obj["metadata"]["uid"], spec))
        return causes + list(self._allocate_ports(obj["metadata"]["uid"], spec, old["spec"] if old else {}))

    @staticmethod
    def _inherit(spec: Object, before: Object) -> None:
        if before.get("type") == "ExternalName":
            return
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if name in before and not spec.get(name):
                spec[name] = before[name]

    def _families(self, spec: Object) -> list[str]:
        available = list(dict.fromkeys(f"IPv{network.version}" for network in self.networks))
        chosen = list(spec.get("ipFamilies") or ())
        if not chosen:
            given = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip and ip != "None"]
            chosen = [f"IPv{ipaddress.ip_address(ip).version}" for ip in given if _is_address(ip)] or available[:1]
        if spec.get("ipFamilyPolicy") in ("PreferDualStack", "RequireDualStack"):
            chosen += [family for family in available if family not in chosen]
        return chosen

    def _allocate_addresses(self, uid: str, spec: Object) -> Iterator[Cause]:
        families = self._families(spec)
        if spec.get("ipFamilyPolicy") == "RequireDualStack" and len(families) < 2:
            yield Cause("spec.ipFamilyPolicy", 'Invalid value: "RequireDualStack": this cluster is not dual-stack')
        spec["ipFamilies"] = families
        spec.setdefault("ipFamilyPolicy", "SingleStack" if len(families) == 1 else "RequireDualStack")
        if spec.get("clusterIP") == "None":
            spec["clusterIPs"] = ["None"]
            return
        given = list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))
        for address in given:
            why = self._refusal(uid, address)
            if why:
                text = f'Invalid value: ["{address}"]: failed to allocate IP {address}: {why}'
                yield Cause("spec.clusterIPs", text)
        for family in families[len(given) :]:
            network = next((n for n in self.networks if f"IPv{n.version}" == family), None)
            if network is None:
                yield Cause("spec.ipFamilies[0]", f'Invalid value: "{family}": not configured on this cluster')
                return
            given.append(self._free(network))
        spec["clusterIPs"] = given
        spec["clusterIP"] = given[0] if given else ""

    def _refusal(self, uid: str, address: str) -> str:
        if not _is_address(address):
            return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        parsed = ipaddress.ip_address(address)
        if not any(parsed in network for network in self.networks):
            ranges = ", ".join(map(str, self.networks))
            return f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {ranges}"
        if self._addresses.get(address, uid) != uid:
            return "provided IP is already allocated"
        return ""

    def _free(self, network: Network) -> str:
        count = network.num_addresses
        for step in range(count):
            offset = (self._next[network] + step) % count
            if offset in (0, 1, count - 1):
                continue
            address = str(network[offset])
            if address not in self._addresses:
                self._next[network] = offset + 1
                return address
        raise OverflowError(f"no address is left in {network}")

    def _allocate_ports(self, uid: str, spec: Object, before: Object) -> Iterator[Cause]:
        kind = spec.get("type")
        if kind != "LoadBalancer" and before.get("type") == "LoadBalancer":
            spec.pop("allocateLoadBalancerNodePorts", None)
        if kind not in ("NodePort", "LoadBalancer"):
            if before.get("type") in ("NodePort", "LoadBalancer"):
                spec.pop("externalTrafficPolicy", None)
                for port in spec.get("ports") or ():
                    port.pop("nodePort", None)
            return
        wanted = kind == "NodePort" or spec.get("allocateLoadBalancerNodePorts", True)
        held = {(p.get("port"), p.get("protocol")): p.get("nodePort") for p in before.get("ports") or ()}
        taken = {(port["nodePort"], port["protocol"]) for port in spec.get("ports") or () if port.get("nodePort")}
        for index, port in enumerate(spec.get("ports") or ()):
            protocol = port["protocol"]
            if port.get("nodePort"):
                number = port["nodePort"]
                field = f"spec.ports[{index}].nodePort"
                if number not in NODE_PORTS:
                    yield Cause(field, f"Invalid value: {number}: provided port is not in the valid range. "
                                "The range of valid ports is 30000-32767")  # fmt: skip
                elif self._ports.get((number, protocol), uid) != uid:
                    yield Cause(field, f"Invalid value: {number}: provided port is already allocated")
            elif wanted:
                earlier = held.get((port.get("port"), protocol))
                port["nodePort"] = earlier or self._free_port(protocol, taken)
                taken.add((port["nodePort"], protocol))

    def _free_port(self, protocol: str, taken: set[tuple[int, str]]) -> int:
        for step in range(len(NODE_PORTS)):
            index = (self._next_port + step) % len(NODE_PORTS)
            number = NODE_PORTS[index]
            if (number, protocol) not in self._ports and (number, protocol) not in taken:
                self._next_port = index + 1
                return number
        raise OverflowError("no node port is left")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def addresses_of(obj: Object) -> list[str]:
    return [address for address in obj["spec"].get("clusterIPs") or () if address != "None"]


def node_ports_of(obj: Object) -> list[tuple[int, str]]:
    return [(p["nodePort"], p["protocol"]) for p in obj["spec"].get("ports") or () if p.get("nodePort")]

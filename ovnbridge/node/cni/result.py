"""What goes back to the runtime: results in the shape of each CNI version, errors, Kube-OVN's own reply. Pure."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec

from ovnbridge.node.cni.request import CniError, Dns, Route


class Address(msgspec.Struct, frozen=True):
    """One address of the interface: `ip` alone, the subnet's `cidr`, and the gateway when it is the default route's."""

    ip: str
    cidr: str
    gateway: str = ""

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.ip).version

    @property
    def with_prefix(self) -> str:
        """`ip/prefixlen`."""
        return f"{self.ip}/{ipaddress.ip_network(self.cidr, strict=False).prefixlen}"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A pod interface that is ready."""

    interface: str
    mac: str
    mtu: int
    sandbox: str
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: Dns = Dns()


def to_cni(result: Result, version: str) -> dict[str, Any]:
    """The CNI result object for `version`."""
    routes = [_route(route) for route in _routes(result)]
    if version in ("0.1.0", "0.2.0"):
        return _oldest(result, version, routes)
    interface: dict[str, Any] = {"name": result.interface, "mac": result.mac, "sandbox": result.sandbox}
    if version == "1.1.0" and result.mtu:
        interface["mtu"] = result.mtu
    addresses = []
    for address in result.addresses:
        entry: dict[str, Any] = {"interface": 0, "address": address.with_prefix}
        if address.gateway:
            entry["gateway"] = address.gateway
        if version.startswith("0."):
            entry["version"] = str(address.version)
        addresses.append(entry)
    reply: dict[str, Any] = {"cniVersion": version, "interfaces": [interface]}
    if addresses:
        reply["ips"] = addresses
    if routes:
        reply["routes"] = routes
    reply["dns"] = _dns(result.dns)
    return reply


def to_legacy(result: Result) -> dict[str, Any]:
    """The reply that Kube-OVN's plug-in understands (spec A3)."""
    addresses = []
    for address in result.addresses:
        entry = {"protocol": f"IPv{address.version}", "ip": address.ip, "cidr": address.cidr}
        if address.gateway:
            entry["gateway"] = address.gateway
        addresses.append(entry)
    return {
        "ips": addresses,
        "mac_address": result.mac,
        "routes": [_route(route) for route in result.routes],
        "mtu": result.mtu,
        "nicname": result.interface,
        "dns": _dns(result.dns),
    }


def error_to_cni(error: CniError, version: str) -> dict[str, Any]:
    """The CNI error object."""
    return {"cniVersion": version, "code": error.code, "msg": error.message, "details": error.details}


def error_text(error: CniError) -> str:
    """Message and details in one line, for protocols that have one field."""
    return f"{error.message}: {error.details}" if error.details else error.message


def _oldest(result: Result, version: str, routes: list[dict[str, str]]) -> dict[str, Any]:
    reply: dict[str, Any] = {"cniVersion": version, "dns": _dns(result.dns)}
    for address in result.addresses:
        family = f"ip{address.version}"
        if family in reply:
            continue
        entry: dict[str, Any] = {"ip": address.with_prefix}
        if address.gateway:
            entry["gateway"] = address.gateway
        own = [r for r in routes if ipaddress.ip_network(r["dst"], strict=False).version == address.version]
        if own:
            entry["routes"] = own
        reply[family] = entry
    return reply


def _routes(result: Result) -> tuple[Route, ...]:
    return result.routes or tuple(Route(gw=a.gateway) for a in result.addresses if a.gateway)


def _route(route: Route) -> dict[str, str]:
    destination = route.dst
    if not destination:
        destination = "::/0" if ":" in route.gw else "0.0.0.0/0"
    return {"dst": destination, "gw": route.gw} if route.gw else {"dst": destination}


def _dns(dns: Dns) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(dns).items() if value}

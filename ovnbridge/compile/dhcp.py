"""DHCP_Options rows: one per family of a subnet, and per port where a pod says its own (spec D.2, D.3).

`port_rows` and `port_columns` are for the unit that compiles pods' ports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ovnbridge.compile.options import Options
from ovnbridge.compile.subnet import SubnetView
from ovnbridge.engine.items import Row
from ovnbridge.model import address
from ovnbridge.model.crd.subnet import SubnetSpec
from ovnbridge.model.ovn import VENDOR, Key, Ref

TABLE: Final = "DHCP_Options"
_SUFFIXES: Final = {4: "dhcp-v4-options", 6: "dhcp-v6-options"}
_OVERHEAD: Final = {"vxlan": 50, "stt": 72}
"""Bytes of the tunnel's headers; 100 for geneve, which is also said for "vlan"."""


def parsed(text: str) -> dict[str, str]:
    """`name=value,name=value`; a value in braces may hold commas, and `;` in dns_server stands for one.

    What has no `=` is left out.
    """
    options: dict[str, str] = {}
    for part in _split(text):
        name, equals, value = part.partition("=")
        name, value = name.strip(), value.strip()
        if equals and name:
            options[name] = value.replace(";", ",") if name == "dns_server" else value
    return options


def _split(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for position, character in enumerate(text):
        if character in "{}":
            depth += 1 if character == "{" else -1
        elif character == "," and depth <= 0:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def mtu(view: SubnetView, opts: Options) -> int:
    """MTU of a subnet's pods in bytes (spec D.2)."""
    if view.mtu:
        return view.mtu
    return 1500 if view.vlan else 1500 - _OVERHEAD.get(opts.network_type, 100)


def row_key(subnet: str, protocol: str, port: str = "") -> Key:
    """Natural key of a row; `protocol` is IPv4 or IPv6."""
    return (subnet, protocol, port)


def subnet_rows(view: SubnetView, spec: SubnetSpec, opts: Options) -> Iterator[Row]:
    """The subnet's own rows."""
    if spec.enable_dhcp:
        yield from _rows(view, {4: spec.dhcp_v4_options, 6: spec.dhcp_v6_options}, "", opts)


def own_options(wishes: Mapping[str, str]) -> dict[int, str]:
    """The options that a pod wishes for one of its ports (`nets.wishes`), by family."""
    return {version: wishes[suffix] for version, suffix in _SUFFIXES.items() if wishes.get(suffix)}


def port_rows(view: SubnetView, port: str, own: Mapping[int, str], opts: Options) -> Iterator[Row]:
    """Rows of a port with options of its own."""
    return _rows(view, own, port, opts) if own else iter(())


def port_columns(view: SubnetView, port: str, own: Mapping[int, str], v4: str, v6: str) -> dict[str, Ref | None]:
    """`dhcpv4_options` and `dhcpv6_options` of a port with these addresses: its own row, else the subnet's."""
    columns: dict[str, Ref | None] = {"dhcpv4_options": None, "dhcpv6_options": None}
    if not own and not view.enable_dhcp:
        return columns
    for cidr, _ in view.pairs():
        version = address.family(cidr) or 4
        row: Key | None = None
        if v4 if version == 4 else v6:
            if version in own:
                row = row_key(view.name, f"IPv{version}", port)
            elif view.enable_dhcp:
                row = row_key(view.name, f"IPv{version}")
        columns[f"dhcpv{version}_options"] = Ref(TABLE, row) if row is not None else None
    return columns


def _rows(view: SubnetView, texts: Mapping[int, str], port: str, opts: Options) -> Iterator[Row]:
    router, _ = address.split(view.u2o_ip)  # the default way of an interconnected underlay's clients, as in Kube-OVN
    for cidr, gateway in view.pairs():
        version = address.family(cidr) or 4
        if version not in texts:
            continue
        given = parsed(texts[version])
        mac = address.derived_mac("dhcp", view.name)
        if version == 4:
            defaults = {
                "lease_time": "3600",
                "router": router or gateway,
                "server_id": "169.254.0.254",
                "server_mac": mac,
                "mtu": str(mtu(view, opts)),
            }
        else:
            defaults = {"server_id": mac}
        ids = {"vendor": VENDOR, "ls": view.name, "protocol": f"IPv{version}", **({"port": port} if port else {})}
        adopted = "server_mac" if version == 4 else "server_id"
        yield Row(
            TABLE,
            row_key(view.name, f"IPv{version}", port),
            {"cidr": cidr, "options": {**defaults, **given}, "external_ids": ids},
            exact=tuple(f"options:{n}" for n in ("server_mac", "server_id") if n in given or n != adopted),
        )

"""What a lab is made of: chosen by the caller, written as JSON for the supervisor, never changed afterwards."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from ovnbridge.lab.errors import LabError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?")
_MAXIMUM_NODES = 100


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """The address plan: the underlay of the machines, and the ranges that the controller is told."""

    underlay: str = "172.30.0.0/24"
    underlay_ipv6: str = "fd00:172:30::/64"
    external: str = "172.31.0.0/24"
    pods: str = "10.16.0.0/16"
    join: str = "100.64.0.0/16"
    services: str = "10.96.0.0/12"


class LabOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One lab, as `lab up` or a test asked for it."""

    name: str
    nodes: int = 3
    ovn: str = "central"
    kubernetes: str = "embedded"
    ovs_root: str = ""
    controller_args: tuple[str, ...] = ()
    cni_args: tuple[str, ...] = ()
    controller: bool = True
    cni: bool = True
    network: Network = Network()

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(f"node{number}" for number in range(1, self.nodes + 1))

    @property
    def central_addresses(self) -> tuple[str, ...]:
        """One for a standalone database, three for a raft cluster; the API server listens on the first."""
        count = 3 if self.ovn == "raft3" else 1
        return tuple(self._underlay_hosts(10 + index)[0] for index in range(count))

    @property
    def central_interfaces(self) -> tuple[str, ...]:
        """The same with their prefix lengths, and an IPv6 address in a dual-stack lab."""
        own = [f"{address}/{self._underlays[0].prefixlen}" for address in self.central_addresses]
        return (*own, *self._with_prefix(10)[1:])

    def node_addresses(self, number: int) -> tuple[str, ...]:
        """InternalIPs of `node<number>`, on br-phy: IPv4, and IPv6 when pods have it."""
        return self._underlay_hosts(100 + number)

    def node_interfaces(self, number: int) -> tuple[str, ...]:
        """The same with their prefix lengths."""
        return self._with_prefix(100 + number)

    def external_host(self, host: int) -> str:
        """An interface of the external network, with its prefix length."""
        network = ipaddress.ip_network(self.network.external)
        return f"{network[host]}/{network.prefixlen}"

    @property
    def _underlays(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        texts = [self.network.underlay]
        if any(":" in cidr for cidr in self.network.pods.split(",")):
            texts.append(self.network.underlay_ipv6)
        return [ipaddress.ip_network(text) for text in texts]

    def _underlay_hosts(self, host: int) -> tuple[str, ...]:
        # In IPv6 the number reads as in IPv4: fd00:172:30::101.
        return tuple(str(network[host if network.version == 4 else int(str(host), 16)]) for network in self._underlays)

    def _with_prefix(self, host: int) -> tuple[str, ...]:
        hosts = self._underlay_hosts(host)
        return tuple(f"{one}/{network.prefixlen}" for one, network in zip(hosts, self._underlays, strict=True))

    def remotes(self, port: int) -> str:
        """OVSDB remotes of all database servers on this port."""
        return ",".join(f"tcp:{address}:{port}" for address in self.central_addresses)

    def check(self) -> None:
        """Refuses what could not work, before anything is started."""
        if not _NAME.fullmatch(self.name):
            raise LabError(f"lab name {self.name!r}: 1 to 16 of a-z, 0-9 and -, not at the ends")
        if not 1 <= self.nodes <= _MAXIMUM_NODES:
            raise LabError(f"{self.nodes} nodes: a lab has 1 to {_MAXIMUM_NODES}")
        if self.ovn not in {"central", "raft3"}:
            raise LabError(f"ovn {self.ovn!r}: central or raft3")
        if self.kubernetes not in {"embedded", "real"}:
            raise LabError(f"kubernetes {self.kubernetes!r}: embedded or real")
        for label, value in msgspec.structs.asdict(self.network).items():
            for part in value.split(","):
                try:
                    ipaddress.ip_network(part)
                except ValueError as error:
                    raise LabError(f"{label} network {part!r}: {error}") from error

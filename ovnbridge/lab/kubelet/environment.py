"""What the kubelet stand-in of one node works with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ovnbridge.lab.machine import Holder
from ovnbridge.lab.namespaces import Namespaces


@dataclass(frozen=True, kw_only=True)
class NodeEnvironment:
    """One node: its machine, its directories."""

    name: str
    addresses: tuple[str, ...]
    holder: Holder
    pod_root: Holder
    cni_configuration: Path
    cni_binaries: Path
    logs: Path
    namespaces: Namespaces

    @property
    def address(self) -> str:
        """The node's first InternalIP."""
        return self.addresses[0]

"""The roles: one module each, wiring sources, compilers, sinks and servers together. No logic lives here.

A role is found through the entry-point group `ovnbridge.roles`, so another package can plug one in. Several roles of
one process share the event loop, the Kubernetes connection and cache, and the HTTP server (`Shared`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Protocol

from ovnbridge.roles.shared import Shared
from ovnbridge.settings import Flag

__all__ = ["Role", "Shared"]


class Role(Protocol):
    """What `cli` needs of a role."""

    name: str
    flags: Sequence[Flag]
    """The role's flags (spec control-plane E.7, node B1); klog's are added by `cli`."""

    def problems(self, settings: argparse.Namespace) -> Iterable[str]:
        """What in the settings does not fit together, in words; the process then does not start."""

    async def run(self, settings: argparse.Namespace, shared: Shared) -> None:
        """Work until cancelled. Raises when it cannot go on; the process then ends with status 1."""

"""A cluster on one machine: OVN nodes in network namespaces, a Kubernetes API, stand-ins for kubelet and controllers.

`Lab` is the seam for tests and for the command line. The lab itself is one supervisor process (`supervise`) in
private mount and pid namespaces, started by `launch`; everything that a caller does to it goes over its control
socket or by entering its namespaces. Names are loaded on first use: the roles import this package for its commands
only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovnbridge.lab.errors import LabError
    from ovnbridge.lab.lab import Lab
    from ovnbridge.lab.matrix import Matrix
    from ovnbridge.lab.options import Network
    from ovnbridge.lab.processes import Completed

__all__ = ["Completed", "Lab", "LabError", "Matrix", "Network"]

_MODULES = {"Completed": "processes", "Lab": "lab", "LabError": "errors", "Matrix": "matrix", "Network": "options"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"ovnbridge.lab.{_MODULES[name]}"), name)

"""The controller's state: World, engine, reactor and replicas put together, for the live role and for dry runs.

`state` is shared by `roles/controller.py`, which feeds it from watches and lets it write, and by `operations/`, which
feeds it once and prints what it would write.
"""

from ovnbridge.controller.southbound import SB_COLUMNS, Sinks
from ovnbridge.controller.state import KINDS, NB_COLUMNS, OPTIONAL_KINDS, ControllerState

__all__ = ["KINDS", "NB_COLUMNS", "OPTIONAL_KINDS", "SB_COLUMNS", "ControllerState", "Sinks"]

"""Fixtures: one switch per module, the test's thread inside its namespace, sandboxes that vanish afterwards."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rig import Sandbox, Switch, inside


@pytest.fixture(scope="module")
def switch() -> Iterator[Switch]:
    """Real Open vSwitch daemons; the test thread is in their namespace as the node agent is in its node's."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    found = Switch()
    try:
        found.start()
        with inside(found.namespace):
            yield found
    finally:
        found.stop()


@pytest.fixture
def sandboxes() -> Iterator[Callable[[], Sandbox]]:
    """Makes sandboxes."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Sandbox())

"""A manifest that nobody wrote for us: the Online Boutique becomes available and reachable, on both APIs."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from conftest import ROOT

SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", ROOT.parent / "shared"))
BOUTIQUE = SHARED / "reference" / "apps" / "online-boutique.yaml"


@pytest.mark.skipif(not BOUTIQUE.exists(), reason="no shared/reference/apps beside the checkout")
@pytest.mark.parametrize("kubernetes", ["embedded", pytest.param("real", marks=pytest.mark.real_kubernetes)])
async def test_online_boutique(kubernetes: str) -> None:
    """As a user does it: one command, which says what it could not stand in for."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ovnbridge", "lab", "run", "--name", f"boutique-{kubernetes[:4]}"),
        *("--kubernetes", kubernetes, str(BOUTIQUE)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    assert "ping from each pod and node to each pod: 0 of 180 without answer" in text
    assert "declared ports: 0 of 165 without answer" in text
    assert "gRPC readinessProbe is only a TCP connection" in text

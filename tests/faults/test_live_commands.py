"""`plan` and `explain` beside a running controller: the same answers, and nothing is written."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.faults.harness import Harness
from tests.faults.nursery import ROOT
from tests.support.ovsdb import free_port, make_certificates


async def command(harness: Harness, *arguments: str, nb: str = "") -> tuple[int, Any, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ovnbridge", *arguments, "--output=json"),
        *(f"--kubeconfig={harness._kubeconfig}", f"--nb={nb or harness.servers[0].remote}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    out, err = await process.communicate()
    return process.returncode or 0, json.loads(out) if out else None, err.decode()


async def test_live() -> None:
    async with Harness() as harness:
        harness.pod("a", "web", "node-1")
        await harness.settle()
        before = await harness.snapshot()
        for _ in range(20):  # a status may still be on its way
            status, report, err = await command(harness, "plan")
            if status != 2:
                break
        assert (status, report["operations"]) == (0, []), err
        status, found, err = await command(harness, "explain", "Logical_Switch_Port", "web.a")
        assert status == 0, err
        assert found[0]["owner"] == "pod a/web"
        assert "Pod a/web" in found[0]["because"]
        status, found, err = await command(harness, "explain", "pod", "a/web")
        assert status == 0, err
        assert "Logical_Switch_Port web.a" in found[0]["units"][0]["rows"]
        assert await harness.snapshot() == before

        # Without its controller the cluster drifts, and the plan says so.
        harness._end_controller()
        harness.pod("a", "new", "node-2")
        status, report, err = await command(harness, "plan")
        assert status == 2, err
        told = {(o["operation"], o.get("table", o.get("kind")), str(o["key"])) for o in report["operations"]}
        assert ("insert", "Logical_Switch_Port", "new.a") in told
        assert ("create", "IP", "new.a") in told
        status, report, err = await command(harness, "plan", nb="nonsense")
        assert (status, report) == (1, None)
        assert "nonsense" in err


async def test_plan_by_tls(tmp_path: Path) -> None:
    """Mutual TLS with the files that the flags name, as the controller has them."""
    files, port = make_certificates(tmp_path / "tls"), free_port()
    async with Harness() as harness:
        harness.pod("a", "web", "node-1")
        await harness.settle()
        options = [f"--{name.replace('_', '-')}={path}" for name, path in files.items() if name != "ca_certificate"]
        options += [f"--ca-cert={files['ca_certificate']}", f"--remote=pssl:{port}:127.0.0.1"]
        server = harness.servers[0]
        server.kill()
        server.extra = options
        server.start()
        own = (
            f"--ovn-db-private-key={files['private_key']}",
            f"--ovn-db-certificate={files['certificate']}",
            f"--ovn-db-ca-cert={files['ca_certificate']}",
        )
        status, found, err = await command(
            harness, "explain", "Logical_Switch_Port", "web.a", *own, nb=f"ssl:127.0.0.1:{port}"
        )
        assert status == 0, err
        assert found[0]["owner"] == "pod a/web"

"""`POST /self-check` of the real controller, and its periodic form."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import aiohttp

from tests.faults.harness import Harness
from tests.faults.nursery import GUARD, ROOT
from tests.support.ovsdb import free_port


class Checked(Harness):
    """The fault harness with a controller that listens."""

    def start(self, *, exactly: bool = False) -> None:
        self.port = free_port()
        command = [
            *("--role=controller", f"--kubeconfig={self._kubeconfig}", f"--ovn-nb-addr={self.proxies[0].remote}"),
            *(f"--pprof-port={self.port}", "--self-check-interval=500ms"),
        ]
        with self._controller_log.open("ab") as output:
            self._controller = subprocess.Popen(
                (*GUARD, sys.executable, "-m", "ovnbridge", *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "POD_NAME": "c", "POD_NAMESPACE": "kube-system", "PYTHONPATH": str(ROOT)},
            )


async def test_nothing_differs_and_everything_is_compared() -> None:
    async with Checked() as harness:
        harness.pod("a", "web", "node-1")
        await harness.settle()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{harness.port}") as session:
            async with session.post("/self-check") as reply:
                assert reply.status == 200
                found = await reply.json()
            assert found["compared"] > 0
            assert found["rows"] > 0
            assert (found["differences"], found["drift"]) == ({}, {})
            for _ in range(200):  # the periodic ones are counted as well
                async with session.get("/metrics") as reply:
                    lines = (await reply.text()).splitlines()
                totals = [float(line.split()[-1]) for line in lines if line.startswith("ovnbridge_self_checks_total")]
                if totals and totals[0] >= 3:
                    break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError(f"no periodic self-checks: {totals}")

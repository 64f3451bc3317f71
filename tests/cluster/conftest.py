"""One lab per module of cluster tests, on the embedded Kubernetes API or (test-full) on the real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from ovnbridge.lab import Lab

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


async def until(check: Callable[[], Awaitable[T]], *, timeout: float = 20, what: str = "") -> T:
    """The first true answer of `check`; fails after `timeout` seconds, saying what was waited for."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while True:
        answer = await check()
        if answer:
            return answer
        if loop.time() > end:
            pytest.fail(f"not within {timeout} s: {what or check.__name__}; last answer {answer!r}")
        await asyncio.sleep(0.05)


class Cluster:
    """A lab with the questions that several tests ask."""

    def __init__(self, lab: Lab, *, counts_requests: bool) -> None:
        self.lab = lab
        self.counts_requests = counts_requests

    async def get(self, kind: str, *arguments: str) -> dict[str, Any]:
        """Objects as JSON."""
        return json.loads(await self.lab.kubectl("get", kind, *arguments, "-o", "json"))  # type: ignore[no-any-return]

    async def nb(self, *arguments: str) -> str:
        """What ovn-nbctl prints."""
        return str(await self.lab.nbctl(*arguments))

    async def ports(self) -> set[str]:
        """Names of all logical switch ports."""
        return set((await self.nb("--bare", "--columns=name", "list", "Logical_Switch_Port")).split())

    def transactions(self) -> int:
        """Transactions that NB has committed: records of its file. Changes by northd's own columns included."""
        text = b"".join(path.read_bytes() for path in self.lab.directory.rglob("*nb*.db"))
        return text.count(b"OVSDB JSON ") + text.count(b"OVSDB CLUSTER ")

    async def quiet(self) -> None:
        """Wait until the controller has nothing left to write."""

        async def still() -> bool:
            before = (self.transactions(), await self.versions())
            await asyncio.sleep(1.5)
            return before == (self.transactions(), await self.versions())

        await until(still, timeout=60, what="nothing being written")

    async def versions(self) -> dict[str, str]:
        """resourceVersion of every object that the product writes to: nobody wrote when it stays the same."""
        kinds = "nodes,namespaces,pods,events,vpcs,subnets,ips"
        found = (await self.get(kinds, "--all-namespaces"))["items"]
        return {
            f"{o['kind']} {o['metadata'].get('namespace', '')}/{o['metadata']['name']}": o["metadata"][
                "resourceVersion"
            ]
            for o in found
        }

    async def writes(self) -> dict[tuple[str, str], int]:
        """Write requests to the Kubernetes API since the last reset, without leases; only the embedded one counts."""
        if not self.counts_requests:
            return {}
        counts = await self.lab.requests()
        return {
            key: count
            for key, count in counts.items()
            if key[0] in {"POST", "PUT", "PATCH", "DELETE"} and "leases" not in key[1]
        }


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["embedded", pytest.param("real", marks=pytest.mark.real_kubernetes)],
)
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """A fresh three-node lab."""
    async with Lab(nodes=3, kubernetes=request.param) as lab:
        yield Cluster(lab, counts_requests=request.param == "embedded")

"""The doctor on a running cluster: a real controller process, NB and SB servers, an API server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from ovnbridge.lab.api import ApiServer
from ovnbridge.operations import doctor
from ovnbridge.operations.doctor_checks import databases
from ovnbridge.operations.findings import Facts
from tests.support import ovsdb

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.skipif(not ovsdb.NB_SCHEMA.exists(), reason="OVN is not installed")


@pytest.fixture
def southbound(short: Path) -> Iterator[ovsdb.Server]:
    (short / "sb").mkdir()
    server = ovsdb.Server.standalone(short / "sb", ovsdb.SB_SCHEMA)
    yield server
    server.kill()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_doctor_and_fix(
    server: ApiServer, http: aiohttp.ClientSession, northbound: ovsdb.Server, southbound: ovsdb.Server, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(server.kubeconfig()))
    for path in (ROOT / "manifests" / "crds").glob("*.yaml"):
        where = f"{server.url}/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        async with http.post(where, json=yaml.safe_load(path.read_text())) as reply:
            assert reply.status == 201
    async with http.post(f"{server.url}/api/v1/nodes", json={"metadata": {"name": "n-1"}}) as reply:
        assert reply.status == 201
    port = ovsdb.free_port()
    url = f"http://127.0.0.1:{port}"
    where_to = [f"--kubeconfig={kubeconfig}", f"--ovn-nb-addr={northbound.remote}"]

    def controller() -> Any:
        flags = [f"--pprof-port={port}", "--pod-name=c", "--leader-elect-lease-duration=4s"]
        flags += ["--leader-elect-renew-deadline=3s", "--leader-elect-retry-period=1s"]
        log = (tmp_path / "controller.log").open("ab")
        return ovsdb.spawn(sys.executable, "-m", "ovnbridge", "--role=controller", *where_to, *flags, stderr=log)

    async def run(*more: str) -> tuple[int, dict[str, Any], str]:
        inputs = ["--kubeconfig", str(kubeconfig), "--nb", northbound.remote, "--sb", southbound.remote, *more]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ovnbridge", "doctor", *inputs, "--output", "json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode or 0, json.loads(out) if out else {}, err.decode()

    async def until(expected: set[str], *more: str) -> dict[str, Any]:
        """Look until exactly these checks find something."""
        for _ in range(20):
            _, document, err = await run(*more)
            found = {f["check"] for f in document.get("findings", ()) if f["severity"] != "note"}
            if found == expected:
                return document
            await asyncio.sleep(0.3)
        raise AssertionError(f"{found} {err} {document}")

    process = controller()
    try:
        # No ovn-controller runs here, so the node has no chassis: that is all.
        document = await until({"node-without-chassis"})
        assert document["examined"]["southbound"] is True
        status, document, err = await run("--fix", "--controller", url)
        assert status == 2, err
        assert document["fix"]["controller"] == url
        assert document["fix"]["rows"] > 0
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
    # While nobody leads, damage stays, and --fix says that nobody can do it.
    ovsdb.nbctl(northbound, "lsp-del", "node-n-1")
    stray = ["lsp-add", "join", "gone.app", "--", "set", "logical_switch_port", "gone.app"]
    ovsdb.nbctl(northbound, *stray, "external_ids:vendor=kube-ovn", "external_ids:ls=join", "external_ids:pod=app/gone")
    document = await until({"node-without-chassis", "drift", "port-without-pod"})
    found = {(f["check"], f["objects"][0]): f["action"] for f in document["findings"]}
    assert found["drift", "Logical_Switch_Port node-n-1"] == "the engine will add it"
    assert found["port-without-pod", "Logical_Switch_Port gone.app"] == "the engine will delete it"
    status, document, err = await run("--fix", "--controller", url)
    assert (status, document) == (1, {})
    assert url in err
    process = controller()
    try:
        await until({"node-without-chassis"})
        assert "gone.app" not in ovsdb.nbctl(northbound, "show")
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


async def test_raft_members(short: Path) -> None:
    """Three members: well; one stopped: no answer; two stopped: the last one has no cluster."""
    cluster = ovsdb.Cluster(short)

    async def look() -> list[str]:
        states = await asyncio.gather(*(doctor._server("OVN_Northbound", remote) for remote in cluster.remotes))
        return sorted(finding.check for finding in databases(Facts(databases=tuple(states))))

    async def until(expected: list[str]) -> None:
        for _ in range(30):
            if (found := await look()) == expected:
                return
            await asyncio.sleep(0.3)
        raise AssertionError(found)

    try:
        await until([])
        members = list(cluster.servers)
        members[0].kill()
        await until(["database-unreachable"])
        members[1].kill()
        await until(["database-disconnected", "database-unreachable", "database-unreachable"])
    finally:
        cluster.stop()

"""`plan` and `doctor` against servers that are there, not there, refuse, or are others than was said."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from ovnbridge.lab.api import ApiServer
from tests.support import ovsdb

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.skipif(not ovsdb.NB_SCHEMA.exists(), reason="OVN is not installed")


@pytest.fixture
async def cluster(server: ApiServer, tmp_path: Path) -> Path:
    """A kubeconfig of a cluster with our kinds and one node."""
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(server.kubeconfig()))
    async with aiohttp.ClientSession() as http:
        for crd in sorted((ROOT / "manifests" / "crds").glob("*.yaml")):
            where = f"{server.url}/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            async with http.post(where, json=yaml.safe_load(crd.read_text())) as reply:
                assert reply.status == 201
        async with http.post(f"{server.url}/api/v1/nodes", json={"metadata": {"name": "n-1"}}) as reply:
            assert reply.status == 201
    return path


@pytest.fixture
def southbound(short: Path) -> Iterator[ovsdb.Server]:
    (short / "sb").mkdir()
    server = ovsdb.Server.standalone(short / "sb", ovsdb.SB_SCHEMA)
    yield server
    server.kill()


async def run(*arguments: str, kubeconfig: Path | str, nb: str) -> tuple[int, str, str]:
    """Exit status, output and errors of one command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ovnbridge", *arguments, f"--kubeconfig={kubeconfig}", f"--nb={nb}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def refused(*arguments: str, kubeconfig: Path | str, nb: str) -> str:
    """The one line that a command which cannot look says."""
    status, out, err = await run(*arguments, kubeconfig=kubeconfig, nb=nb)
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    return line


async def test_databases_that_cannot_be_read(
    cluster: Path, northbound: ovsdb.Server, southbound: ovsdb.Server, short: Path
) -> None:
    nowhere = f"tcp:127.0.0.1:{ovsdb.free_port()}"
    said = await refused("plan", kubeconfig=cluster, nb=southbound.remote)
    assert f"OVN NB cannot be read: {southbound.remote}: database not served here" in said
    said = await refused("plan", kubeconfig=cluster, nb=f"{nowhere},unix:{short}/none")
    assert f"{nowhere}: ConnectionRefusedError" in said
    assert f"unix:{short}/none: FileNotFoundError" in said
    files = [f"--ovn-db-{name}={short}/{name}" for name in ("private-key", "certificate", "ca-cert")]
    said = await refused("plan", *files, kubeconfig=cluster, nb="ssl:127.0.0.1:1")
    assert f"{short}/ca-cert" in said
    # One of several that works will do.
    status, _, err = await run("plan", kubeconfig=cluster, nb=f"{nowhere},{northbound.remote}")
    assert (status, err) == (2, "")


async def test_clusters_that_cannot_be_read(server: ApiServer, northbound: ovsdb.Server, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody"
    nobody.write_text(json.dumps(server.kubeconfig()).replace(server.url, f"http://127.0.0.1:{ovsdb.free_port()}"))
    said = await refused("plan", kubeconfig=nobody, nb=northbound.remote)
    assert "the Kubernetes API does not answer: GET /" in said
    broken = tmp_path / "broken"
    broken.write_text("garbage")
    assert "no Kubernetes API: unusable configuration" in await refused("plan", kubeconfig=broken, nb=northbound.remote)
    bare = tmp_path / "bare"
    bare.write_text(json.dumps(server.kubeconfig()))
    said = await refused("plan", kubeconfig=bare, nb=northbound.remote)
    assert ".kubeovn.io: install the CRDs" in said


async def test_a_missing_right_is_said_at_once(northbound: ovsdb.Server, tmp_path: Path) -> None:
    """As kube-apiserver answers whom no role allows to read pods."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/pods"):
            message = 'pods is forbidden: User "dev" cannot list resource "pods" in API group "" at the cluster scope'
            status = {"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": message}
            return web.json_response(status, status=403)
        return web.json_response({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": []})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    kubeconfig: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "x", "user": {}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    try:
        said = await refused("doctor", kubeconfig=tmp_path / "kubeconfig", nb=northbound.remote)
        assert 'no right to read pods: pods is forbidden: User "dev" cannot list' in said
    finally:
        await runner.cleanup()


async def test_rows_of_tables_that_are_not_looked_at(cluster: Path, northbound: ovsdb.Server) -> None:
    """Meters and a load balancer's VIP: of features that are not built; a plan that hid them would mislead."""
    ovsdb.nbctl(northbound, "lr-add", "r", "--", "meter-add", "m", "drop", "10", "kbps")
    ovsdb.nbctl(northbound, "lb-add", "cluster-tcp-loadbalancer", "10.96.0.1:443", "192.0.2.7:6443")
    _, out, err = await run("plan", "--output=json", kubeconfig=cluster, nb=northbound.remote)
    summary = json.loads(out)["summary"]
    assert err == ""
    assert summary["northbound"]["foreign"] == {"Logical_Router": 1, "Meter": 1, "Meter_Band": 1}
    (entries,) = summary["foreign_entries"]
    assert entries == {
        "table": "Load_Balancer",
        "key": "cluster-tcp-loadbalancer",
        "column": "vips",
        "entries": ["10.96.0.1:443"],
    }
    _, out, _ = await run("doctor", "--output=json", kubeconfig=cluster, nb=northbound.remote)
    notes = {(f["check"], *f["objects"]) for f in json.loads(out)["findings"] if f["severity"] == "note"}
    assert {("foreign-rows", "Meter"), ("foreign-entries", "Load_Balancer cluster-tcp-loadbalancer")} <= notes


async def annotate(server: ApiServer, node: str, chassis: str) -> None:
    """What the agent of a node does when it knows its chassis (spec B.4)."""
    body = {"metadata": {"annotations": {"ovn.kubernetes.io/chassis": chassis}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    async with aiohttp.ClientSession() as http:
        where = f"{server.url}/api/v1/nodes/{node}"
        async with http.patch(where, data=json.dumps(body), headers=headers) as reply:
            assert reply.status == 200


async def test_what_would_be_written_to_southbound(
    server: ApiServer, cluster: Path, northbound: ovsdb.Server, southbound: ovsdb.Server
) -> None:
    """Spec D.4 and H.6: the chassis of a node is marked, that of a node that is gone is deleted, with what is private
    of it; once that is done there is nothing left, whatever else is in SB."""
    await annotate(server, "n-1", "id-1")
    for name, address in (("id-1", "192.0.2.1"), ("id-9", "192.0.2.9")):
        ovsdb.sbctl(southbound, "chassis-add", name, "geneve", address)
        ovsdb.sbctl(southbound, "create", "Chassis_Private", f"name={name}")
    ovsdb.sbctl(southbound, "set", "Chassis", "id-1", "hostname=n-1", "external_ids:datapath-type=system")
    ovsdb.sbctl(southbound, "set", "Chassis", "id-9", "hostname=n-9", "external_ids:vendor=kube-ovn")
    ovsdb.sbctl(southbound, "create", "Datapath_Binding", "tunnel_key=1")

    async def plan() -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
        # Where SB is, is the controller's flag here.
        flags = ("--output=json", f"--ovn-sb-addr={southbound.remote}")
        status, out, err = await run("plan", *flags, kubeconfig=cluster, nb=northbound.remote)
        assert err == ""
        report = json.loads(out)
        found = [operation for operation in report["operations"] if operation["target"] == "southbound"]
        return status, found, report["summary"]

    status, found, summary = await plan()
    assert status == 2
    mark, *gone = found
    assert mark == {
        "owner": "chassis n-1",
        "target": "southbound",
        "operation": "mutate",
        "table": "Chassis",
        "key": "id-1",
        "column": "external_ids",
        "add": {"vendor": "kube-ovn", "node": "n-1"},
        "remove": [],
    }
    assert [(o["owner"], o["operation"], o["table"], o["key"]) for o in gone] == [
        ("nobody", "delete", "Chassis", "id-9"),
        ("nobody", "delete", "Chassis_Private", "id-9"),
    ]
    assert summary["southbound"] == {"adopt": 0, "change": 1, "remove": 1, "foreign": {}}
    assert summary["not_examined"] == {}
    sb = f"--sb={southbound.remote}"
    _, out, err = await run("doctor", sb, "--output=json", kubeconfig=cluster, nb=northbound.remote)
    told = {f["objects"][0]: (f["check"], f["action"]) for f in json.loads(out)["findings"]}
    assert told["Chassis id-1"] == ("drift", "the engine will change it"), err
    assert told["Chassis id-9"] == ("chassis-without-node", "the engine will delete it")
    ovsdb.sbctl(southbound, "set", "Chassis", "id-1", "external_ids:vendor=kube-ovn", "external_ids:node=n-1")
    ovsdb.sbctl(southbound, "chassis-del", "id-9")
    assert "id-9" not in ovsdb.sbctl(southbound, "--bare", "--columns=name", "list", "Chassis_Private")
    _, found, summary = await plan()
    assert found == []
    assert summary["southbound"] == {"adopt": 1, "change": 0, "remove": 0, "foreign": {}}
    status, out, err = await run("explain", "Chassis", "id-1", sb, kubeconfig=cluster, nb=northbound.remote)
    assert (status, err) == (0, "")
    assert "verdict: is as it should be" in out.splitlines()


async def test_a_plan_without_southbound(cluster: Path, northbound: ovsdb.Server) -> None:
    """It is made all the same, and says what it has not looked at; a remote that cannot be one is a mistake."""
    nowhere = f"tcp:127.0.0.1:{ovsdb.free_port()}"
    arguments = ("plan", f"--sb={nowhere}")
    status, out, err = await run(*arguments, kubeconfig=cluster, nb=northbound.remote)
    assert (status, err) == (2, "")
    assert f"not examined: OVN SB ({nowhere}: ConnectionRefusedError" in out
    _, out, _ = await run(*arguments, "--output=json", kubeconfig=cluster, nb=northbound.remote)
    summary = json.loads(out)["summary"]
    assert summary["southbound"] is None
    assert summary["not_examined"]["southbound"].startswith(f"{nowhere}: ConnectionRefusedError")
    said = await refused("plan", "--sb=nonsense", kubeconfig=cluster, nb=northbound.remote)
    assert "OVN SB: " in said
    assert "nonsense" in said
    status, out, err = await run("explain", "node", "n-1", f"--sb={nowhere}", kubeconfig=cluster, nb=northbound.remote)
    assert (status, out != "") == (0, True)
    assert err.startswith(f"ovnbridge: not examined: OVN SB ({nowhere}: ConnectionRefusedError")


async def test_the_doctor_reaches_southbound_by_tls(cluster: Path, northbound: ovsdb.Server, short: Path) -> None:
    files, port = ovsdb.make_certificates(short / "tls"), ovsdb.free_port()
    (short / "sb").mkdir()
    server = ovsdb.Server.standalone(short / "sb", ovsdb.SB_SCHEMA)
    server.kill()
    server.extra = [f"--{name.replace('_', '-')}={path}" for name, path in files.items() if name != "ca_certificate"]
    server.extra += [f"--ca-cert={files['ca_certificate']}", f"--remote=pssl:{port}:127.0.0.1"]
    server.start()
    own = (
        f"--ovn-db-private-key={files['private_key']}",
        f"--ovn-db-certificate={files['certificate']}",
        f"--ovn-db-ca-cert={files['ca_certificate']}",
    )
    remote = f"--sb=ssl:127.0.0.1:{port}"
    try:
        _, out, err = await run("doctor", remote, "--output=json", *own, kubeconfig=cluster, nb=northbound.remote)
        assert json.loads(out)["examined"]["southbound"] is True, err
        _, out, _ = await run("doctor", remote, *own[:2], kubeconfig=cluster, nb=northbound.remote)
        assert f"not examined: OVN SB (ssl:127.0.0.1:{port}: FileNotFoundError" in out
        assert f"database-unreachable: OVN_Southbound ssl:127.0.0.1:{port}: FileNotFoundError" in out
    finally:
        server.kill()

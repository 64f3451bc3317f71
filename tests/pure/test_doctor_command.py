"""The command `doctor`: offline on what Kube-OVN wrote, with planted defects, and how it asks the controller."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ovnbridge.cli import main
from ovnbridge.operations.doctor import southbound_of
from ovnbridge.operations.findings import Binding, Southbound
from tests.support.cluster import Json

SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
PARITY = SHARED / "reference" / "parity"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main(["doctor", *arguments, "--output", "json"])
    return status, json.loads(capsys.readouterr().out)


def checks(document: dict[str, Any], *, notes: bool = False) -> set[tuple[str, str]]:
    return {
        (f["check"], name) for f in document["findings"] if notes or f["severity"] != "note" for name in f["objects"]
    }


@pytest.mark.skipif(not PARITY.is_dir(), reason="no shared/reference/parity beside the checkout")
class TestOffline:
    def inputs(self, scenario: str) -> list[str]:
        return ["--from-dir", str(PARITY / scenario), "--nb", str(PARITY / scenario / "nb.db")]

    @pytest.mark.parametrize("scenario", ["01-basics", "02-vpc", "07-underlay"])
    def test_what_kube_ovn_wrote_is_healthy(self, scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
        status, document = run(capsys, *self.inputs(scenario))
        assert (status, checks(document)) == (0, set())
        assert {f["check"] for f in document["findings"]} <= {"foreign-rows", "foreign-entries"}

    def test_addresses(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Vips count as used addresses, which is all that may be found."""
        _, document = run(capsys, *self.inputs("06-addresses"))
        assert checks(document) <= {("drift", "Subnet ad-1")}

    def test_planted_defects(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        objects = json.loads((PARITY / "01-basics" / "k8s.json").read_text())
        objects["pods"] = [p for p in objects["pods"] if p["metadata"]["name"] != "c2"]
        lease = next(i for i in objects["ips"] if i["metadata"]["name"] == "web1.dist")
        twin = copy.deepcopy(lease)
        twin["metadata"] |= {"name": "twin.dist", "uid": "twin"}
        twin["metadata"]["labels"]["ovn.kubernetes.io/ip_reserved"] = "true"
        twin["spec"]["podName"] = "twin"
        objects["ips"].append(twin)
        (tmp_path / "objects.json").write_text(json.dumps(objects))
        arguments = ["--from-dir", str(tmp_path), "--nb", str(PARITY / "01-basics" / "nb.db")]
        status, document = run(capsys, *arguments)
        assert status == 2
        found = checks(document)
        assert {("lease-without-owner", "IP c2.cent"), ("double-lease", "IP twin.dist")} <= found
        assert ("double-lease", "IP web1.dist") in found
        remedies = {f["objects"][0]: f["action"] for f in document["findings"] if f["check"] == "lease-without-owner"}
        assert remedies == {"IP c2.cent": "the engine will delete it"}

    def test_text_and_unreadable_objects(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        objects = json.loads((PARITY / "01-basics" / "k8s.json").read_text())
        (tmp_path / "objects.json").write_text(json.dumps(objects))
        bad = {"kind": "Subnet", "metadata": {"name": "bad"}, "spec": {"cidrBlock": 7}}
        (tmp_path / "more.json").write_text(json.dumps(bad))
        assert main(["doctor", "--from-dir", str(tmp_path), "--nb", str(PARITY / "01-basics" / "nb.db")]) == 2
        out = capsys.readouterr().out
        assert "error: unreadable-object: Subnet bad:" in out
        assert "not examined: OVN SB" in out
        assert out.splitlines()[-1].startswith("1 error, 0 warnings")

    def test_without_inputs_it_cannot_look(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor", "--from-dir", str(tmp_path), "--nb", str(tmp_path / "none")]) == 1
        assert main(["doctor", *self.inputs("01-basics"), "--sb", str(tmp_path / "none")]) == 1
        assert main(["doctor", *self.inputs("01-basics"), "--fix"]) == 1
        assert "--fix needs a running cluster" in capsys.readouterr().err

    def test_a_machine_that_is_no_node(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Judged as a node it would seem that all its pods are gone."""
        assert main(["doctor", *self.inputs("01-basics"), "--node", "laptop"]) == 1
        assert "'laptop'" in capsys.readouterr().err

    def test_a_node_without_open_vswitch(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["--node", "node1", "--ovs", f"unix:{tmp_path}/none", "--agent-port", "0"]
        status, document = run(capsys, *self.inputs("01-basics"), *arguments)
        assert (status, checks(document)) == (2, {("ovs-down", "Node node1"), ("node-interface", "Link ovn0")})
        assert document["examined"] == {"southbound": False, "node": "node1"}
        assert f"{tmp_path}/none: FileNotFoundError" in document["findings"][0]["message"]


def test_southbound_rows() -> None:
    rows = {
        "Chassis": {"u1": {"name": "c-1", "hostname": "n-1"}},
        "Port_Binding": {
            "1": {"logical_port": "a.app", "chassis": "u1", "up": True, "type": ""},
            "2": {"logical_port": "b.app", "chassis": None, "up": None, "type": ""},
            "3": {"logical_port": "s-v", "chassis": None, "up": None, "type": "patch"},
        },
    }
    assert southbound_of(rows) == Southbound({"c-1": "n-1"}, {"a.app": Binding("c-1", True), "b.app": Binding()})


SB_SCHEMA = Path("/usr/share/ovn/ovn-sb.ovsschema")


@pytest.mark.skipif(
    not PARITY.is_dir() or not SB_SCHEMA.exists() or shutil.which("ovsdb-tool") is None, reason="needs OVN, parity"
)
def test_a_real_southbound_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that ovsdb-tool made: node1 and a stranger are registered, web1's port is bound nowhere."""

    def insert(table: str, **row: Any) -> Json:
        return {"op": "insert", "table": table, "row": row}

    encap = {"uuid-name": "e1", **insert("Encap", type="geneve", ip="10.0.0.1", chassis_name="c-1")}
    other = {"uuid-name": "e2", **insert("Encap", type="geneve", ip="10.0.0.2", chassis_name="c-9")}
    datapath = {"uuid-name": "dp", **insert("Datapath_Binding", tunnel_key=1)}
    operations = [
        "OVN_Southbound", encap, other, datapath,
        {"uuid-name": "c1", **insert("Chassis", name="c-1", hostname="node1", encaps=["named-uuid", "e1"])},
        insert("Chassis", name="c-9", hostname="stranger", encaps=["named-uuid", "e2"]),
        insert("Port_Binding", logical_port="web1.dist", datapath=["named-uuid", "dp"], tunnel_key=1),
        insert("Port_Binding", logical_port="web2.dist", datapath=["named-uuid", "dp"], tunnel_key=2,
               chassis=["named-uuid", "c1"], up=True),
    ]  # fmt: skip
    database = tmp_path / "sb.db"
    subprocess.run(["ovsdb-tool", "create", database, SB_SCHEMA], check=True)
    subprocess.run(["ovsdb-tool", "transact", database, json.dumps(operations)], check=True, capture_output=True)
    basics = PARITY / "01-basics"
    inputs = ["--from-dir", str(basics), "--nb", str(basics / "nb.db"), "--sb", str(database)]
    status, document = run(capsys, *inputs)
    assert (status, document["examined"]["southbound"]) == (2, True)
    found = checks(document)
    pods = {p["metadata"]["name"]: p["spec"]["nodeName"] for p in json.loads((basics / "k8s.json").read_text())["pods"]}
    assert {("chassis-without-node", "Chassis c-9"), ("unbound-port", "Port_Binding web1.dist")} <= found
    assert {("node-without-chassis", f"Node node{i}") for i in (2, 3)} <= found
    assert (("port-on-wrong-chassis", "Port_Binding web2.dist") in found) == (pods["web2"] != "node1")


class TestFix:
    @pytest.mark.parametrize(
        ("status", "body", "wanted"), [(200, {"rows": 3, "differences": {}}, None), (0, {}, "http://")]
    )
    async def test_it_asks_the_controller(self, status: int, body: Json, wanted: str | None) -> None:
        """--fix is one POST to the controller; when there is none, that is said."""
        import argparse

        from ovnbridge.observe.http import HealthServer
        from ovnbridge.operations.doctor import fix
        from ovnbridge.operations.inputs import InputError

        asked: list[str] = []

        async def check() -> Json:
            asked.append("self-check")
            return body

        server = HealthServer()
        server.action("self-check", check)
        await server.listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.ports[0]}"
        if not status:
            await server.close()
        values = argparse.Namespace(controller=url, kubeconfig="")
        try:
            if wanted is None:
                assert await fix(values) == {"controller": url, **body}
            else:
                with pytest.raises(InputError, match=wanted):
                    await asyncio.wait_for(fix(values), 20)
            assert asked == (["self-check"] if status else [])
        finally:
            await server.close()

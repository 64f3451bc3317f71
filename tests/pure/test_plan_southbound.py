"""`plan` and `explain` with OVN SB (spec D.4, D.19, H.6), offline: what would be written to nodes' chassis."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ovnbridge.cli import main
from tests.support.ovsdb import SB_SCHEMA, Server, sbctl

SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
BASICS = SHARED / "reference" / "parity" / "01-basics"
"""Nodes node1…3, whose annotations say chassis-node1…3."""
pytestmark = pytest.mark.skipif(not BASICS.is_dir(), reason="no shared/reference/parity beside the checkout")

MARK = {"vendor": "kube-ovn"}
ROWS: dict[str, dict[str, Any]] = {
    "chassis-node1": {"hostname": "node1", "external_ids": {"datapath-type": "system"}},
    "chassis-node2": {"hostname": "node2", "external_ids": {**MARK, "node": "node2"}},
    "gone": {"hostname": "node9", "external_ids": {**MARK, "node": "node9"}},
    "lonely": {"hostname": "elsewhere"},
    "far": {"hostname": "node7", "external_ids": MARK, "other_config": {"is-remote": "true"}},
}
"""One to be marked, one that is, one of a node that is gone, a machine that is no node, one of another cluster."""
SB = {"Chassis": [{"name": name, **row} for name, row in ROWS.items()], "Chassis_Private": [{"name": "gone"}]}


@pytest.fixture
def sb(tmp_path: Path) -> Path:
    path = tmp_path / "sb.json"
    path.write_text(json.dumps(SB))
    return path


def inputs(*sb: Path) -> list[str]:
    return ["--from-dir", str(BASICS), "--nb", str(BASICS / "nb.db"), *(f"--sb={path}" for path in sb)]


def plan(capsys: pytest.CaptureFixture[str], *sb: Path) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    """Exit status, operations and summary; the parity scenario's own plan is empty."""
    status = main(["plan", *inputs(*sb), "--output=json"])
    report = json.loads(capsys.readouterr().out)
    return status, report["operations"], report["summary"]


def test_what_would_be_written(sb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, operations, summary = plan(capsys, sb)
    assert status == 2
    assert {operation["target"] for operation in operations} == {"southbound"}
    assert {(o["owner"], o["operation"], o["table"], o["key"]) for o in operations} == {
        ("chassis node1", "mutate", "Chassis", "chassis-node1"),
        ("nobody", "delete", "Chassis", "gone"),
        ("nobody", "delete", "Chassis_Private", "gone"),
    }
    (mark,) = [o for o in operations if o["operation"] == "mutate"]
    assert (mark["column"], mark["add"], mark["remove"]) == ("external_ids", {**MARK, "node": "node1"}, [])
    assert summary["southbound"] == {"adopt": 1, "change": 1, "remove": 1, "foreign": {"Chassis": 2}}
    assert {row["key"] for row in summary["foreign_rows"] if row["table"] == "Chassis"} == {"lonely", "far"}
    assert summary["northbound"] == plan(capsys)[2]["northbound"], "nothing of SB is counted in NB"
    assert summary["owners"]["chassis node1"]["change"] == 1


def test_the_text(sb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *inputs(sb)]) == 2
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("chassis node1: 1 to change")
    assert lines[at + 1] == "  mutate Chassis chassis-node1: external_ids: add {node=node1, vendor=kube-ovn}"
    at = lines.index("nobody: 1 to remove")
    assert lines[at + 1 : at + 3] == ["  delete Chassis gone", "  delete Chassis_Private gone"]
    assert "  Chassis lonely (hostname=elsewhere)" in lines
    assert "OVN SB: 1 to change, 1 to remove, 1 to adopt as they are, 2 foreign" in lines


def test_a_southbound_that_is_as_it_should_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nodes whose ovn-controller has not registered are nothing to be written."""
    (tmp_path / "sb.json").write_text(json.dumps({"Chassis": [r for r in SB["Chassis"] if r["name"][-1] == "2"]}))
    status, operations, summary = plan(capsys, tmp_path / "sb.json")
    assert (status, operations) == (0, [])
    assert summary["southbound"] == {"adopt": 1, "change": 0, "remove": 0, "foreign": {}}


def test_without_southbound(capsys: pytest.CaptureFixture[str]) -> None:
    status, operations, summary = plan(capsys)
    assert (status, operations, summary["southbound"]) == (0, [], None)
    assert summary["not_examined"] == {"southbound": "give --sb"}
    assert main(["plan", *inputs()]) == 0
    assert "not examined: OVN SB (give --sb)" in capsys.readouterr().out.splitlines()
    assert main(["explain", "chassis", "gone", *inputs()]) == 1
    assert "not examined: OVN SB (give --sb)" in capsys.readouterr().err
    assert main(["explain", "node", "node1", *inputs()]) == 0
    assert "not examined: OVN SB (give --sb)" in capsys.readouterr().err
    assert main(["explain", "pod", "dist/web1", *inputs()]) == 0
    assert "not examined" not in capsys.readouterr().err


@pytest.mark.skipif(not SB_SCHEMA.exists() or shutil.which("ovn-sbctl") is None, reason="OVN is not installed")
def test_every_form_of_the_database(sb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server's file, its backup, its dump, and the readable form: the same plan."""
    expected = plan(capsys, sb)
    (tmp_path / "server").mkdir()
    server = Server.standalone(tmp_path / "server", SB_SCHEMA)
    try:
        for number, (name, row) in enumerate(ROWS.items()):
            sbctl(server, "chassis-add", name, "geneve", f"192.0.2.{number}")
            sbctl(server, "set", "Chassis", name, f"hostname={row['hostname']}")
            for column in ("external_ids", "other_config"):
                for key, value in row.get(column, {}).items():
                    sbctl(server, "set", "Chassis", name, f"{column}:{key}={value}")
        sbctl(server, "create", "Chassis_Private", "name=gone")
        sbctl(server, "create", "Datapath_Binding", "tunnel_key=1")
        for form, command in {"backup": ["backup"], "dump": ["dump", "-f", "json"]}.items():
            asked = ["ovsdb-client", "--timeout=20", *command, server.remote, "OVN_Southbound"]
            (tmp_path / form).write_bytes(subprocess.run(asked, capture_output=True, check=True).stdout)
    finally:
        server.kill()
    for path in (server.file, tmp_path / "backup", tmp_path / "dump"):
        status, operations, summary = plan(capsys, path)
        assert (status, operations) == expected[:2], path
        assert summary["southbound"] == expected[2]["southbound"], path


def test_a_dump_beside_the_objects_is_no_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(BASICS / "k8s.json", tmp_path / "k8s.json")
    (tmp_path / "sb.json").write_text(json.dumps(SB))
    arguments = ["--from-dir", str(tmp_path), "--nb", str(BASICS / "nb.db"), "--sb", str(tmp_path / "sb.json")]
    assert main(["plan", *arguments]) == 2
    assert "sb.json" not in capsys.readouterr().err


def test_no_southbound_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *inputs(BASICS / "nb.db")]) == 1
    assert "'OVN_Northbound', without the table SB_Global, Chassis, Chassis_Private" in capsys.readouterr().err
    assert main(["plan", *inputs(tmp_path / "none")]) == 1
    assert f"{tmp_path}/none: No such file" in capsys.readouterr().err
    (tmp_path / "nb.json").write_text('{"Logical_Switch": []}')
    assert main(["plan", *inputs(tmp_path / "nb.json")]) == 1
    assert "no OVN_Southbound database: it has no table Logical_Switch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "verdict", "owner"),
    [
        ("chassis-node1", "is not as it should be, and will be changed", "chassis node1"),
        ("chassis-node2", "is as it should be", "chassis node2"),
        ("chassis-node3", "is missing, and another program's to add", "chassis node3"),
        ("gone", "nobody wants it: it will go", None),
        ("lonely", "is foreign: nothing here asks for it, and it is never touched", None),
    ],
)
def test_explain_both_ways(
    name: str, verdict: str, owner: str | None, sb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "chassis", name, *inputs(sb), "--output=json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["table"], row["key"], row["verdict"], row["owner"]) == ("Chassis", name, verdict, owner)
    if owner is None:
        return
    node = owner.removeprefix("chassis ")
    assert f"Node {node}" in row["because"]
    assert main(["explain", "node", node, *inputs(sb), "--output=json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert {"unit": owner, "rows": [f"Chassis {name}"]} in found["units"]

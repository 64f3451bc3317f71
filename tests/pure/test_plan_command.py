"""`ovnbridge plan` and `explain` on what Kube-OVN wrote: the takeover report."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ovnbridge.cli import main

SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
PARITY = SHARED / "reference" / "parity"
pytestmark = pytest.mark.skipif(not PARITY.is_dir(), reason="no shared/reference/parity beside the checkout")


def plan(directory: Path, nb: Path, *flags: str) -> list[str]:
    return ["plan", "--from-dir", str(directory), "--nb", str(nb), "--output", "json", *flags]


def test_takeover_of_01_basics_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    basics = PARITY / "01-basics"
    assert main(plan(basics, basics / "nb.db")) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["operations"] == []
    northbound = report["summary"]["northbound"]
    assert {k: northbound[k] for k in ("add", "change", "remove")} == {"add": 0, "change": 0, "remove": 0}
    # The NetworkPolicy of the scenario is not compiled yet: its group, ACLs and address sets are foreign.
    assert northbound["foreign"] == {"ACL": 5, "Address_Set": 4, "Port_Group": 1}


def test_a_changed_object_is_reported_with_its_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = json.loads((PARITY / "01-basics" / "k8s.json").read_text())
    objects["pods"] = [p for p in objects["pods"] if p["metadata"]["name"] != "c2"]
    (tmp_path / "objects.json").write_text(json.dumps(objects))
    assert main(plan(tmp_path, PARITY / "01-basics" / "nb.db")) == 2
    report = json.loads(capsys.readouterr().out)
    told = {(o["operation"], o.get("table", o.get("kind")), str(o["key"])) for o in report["operations"]}
    assert ("delete", "Logical_Switch_Port", "c2.cent") in told
    assert ("delete", "IP", "c2.cent") in told


def test_an_empty_database_is_built_completely(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Disaster recovery: nothing in NB, the same addresses from the ledger."""
    text = (PARITY / "01-basics" / "nb.db").read_bytes().split(b"\n")
    (tmp_path / "empty.db").write_bytes(b"\n".join(text[:2]) + b"\n")
    assert main(plan(PARITY / "01-basics", tmp_path / "empty.db")) == 2
    report = json.loads(capsys.readouterr().out)
    ports = {
        o["key"]: o["columns"]["addresses"]
        for o in report["operations"]
        if o.get("table") == "Logical_Switch_Port" and o["operation"] == "insert"
    }
    assert ports["web1.dist"] == ["00:00:00:11:00:11 10.17.0.11"]
    assert report["summary"]["kubernetes"] == 0


def test_unreadable_inputs_are_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(plan(tmp_path, PARITY / "01-basics" / "nb.db")) == 1
    assert "no YAML or JSON files" in capsys.readouterr().err
    (tmp_path / "broken.yaml").write_text("a: [")
    assert main(plan(tmp_path, PARITY / "01-basics" / "nb.db")) == 1
    assert "broken.yaml" in capsys.readouterr().err
    (tmp_path / "nb").write_text("hello")
    assert main(plan(PARITY / "01-basics", tmp_path / "nb")) == 1
    assert "neither a database file" in capsys.readouterr().err


def test_explain_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    basics = PARITY / "01-basics"
    inputs = ["--from-dir", str(basics), "--nb", str(basics / "nb.db"), "--output", "json"]
    assert main(["explain", "Logical_Switch_Port", "web1.dist", *inputs]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["owner"] == "pod dist/web1"
    assert {"Pod dist/web1", "IP web1.dist", "Subnet sub-dist"} <= set(row["because"])
    assert main(["explain", "pod", "dist/web1", *inputs]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert {"unit": "pod dist/web1"}.items() <= found["units"][0].items()
    assert "Logical_Switch_Port web1.dist" in found["units"][0]["rows"]

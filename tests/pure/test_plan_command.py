"""`ovnbridge plan` and `explain` on what Kube-OVN wrote: the takeover report."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ovnbridge.cli import main
from ovnbridge.compile.options import Options
from ovnbridge.controller import ControllerState
from ovnbridge.operations.dry_run import dry_run
from ovnbridge.operations.inputs import feed_objects, read_objects
from tests.support.memory import MemoryDatabase

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


def test_nb_from_ovsdb_client_dump(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("ovsdb-server") is None:
        pytest.skip("no ovsdb-server")
    import subprocess

    shutil.copy(PARITY / "01-basics" / "nb.db", tmp_path / "nb.db")
    socket = f"unix:{tmp_path}/nb.sock"
    server = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "ovsdb-server", f"--remote=p{socket}", f"--unixctl={tmp_path}/ctl"]
        + ["-vconsole:off", f"{tmp_path}/nb.db"]
    )
    try:
        subprocess.run(["ovsdb-client", "--timeout=10", "wait", socket, "OVN_Northbound", "connected"], check=True)
        dump = subprocess.run(["ovsdb-client", "dump", "-f", "json", socket, "OVN_Northbound"], capture_output=True)
    finally:
        server.kill()
        server.wait()
    (tmp_path / "nb.dump").write_bytes(dump.stdout)
    assert main(plan(PARITY / "01-basics", tmp_path / "nb.dump")) in {0, 2}
    report = json.loads(capsys.readouterr().out)
    # The distribution's schema has no ACL tiers, the dump was made by a newer one: only ACLs may differ.
    assert {o["table"] for o in report["operations"]} <= {"ACL", "Load_Balancer"}


ROUTING = ("Logical_Router", "Logical_Router_Port", "Logical_Router_Static_Route", "Logical_Router_Policy")


@pytest.mark.parametrize(
    ("scenario", "routers"), [("02-vpc", {"ovn-cluster", "vpc-a", "vpc-b"}), ("01-basics", {"ovn-cluster", "vpc1"})]
)
def test_routing_is_what_kube_ovn_made_of_it(
    scenario: str, routers: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to do on a database that Kube-OVN wrote, and from nothing, the same routing is made, row for row."""
    directory = PARITY / scenario
    assert main(plan(directory, directory / "nb.db")) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["operations"] == []
    foreign = report["summary"]["northbound"]["foreign"]
    assert not [table for table in foreign if table in ROUTING]
    theirs = json.loads((directory / "nb.json").read_text())
    assert {row["name"] for row in theirs["Logical_Router"]} == routers
    ours = asyncio.run(_desired(directory))
    for table in (*ROUTING, "Port_Group"):
        wanted, made = (
            sorted(_comparable(row) for row in rows[table] if table != "Port_Group" or "node" in row["external_ids"])
            for rows in (theirs, ours)
        )
        assert made == wanted, table


async def _desired(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows that are wanted in an empty database, in the form of nb.json."""
    database = MemoryDatabase()
    state = ControllerState(database)
    feed_objects(state, read_objects(directory))
    await dry_run(state, Options())
    desired = state.engine.desired
    found: dict[str, list[dict[str, Any]]] = {}
    for table, key in desired.row_keys():
        row = desired.row(table, key)
        assert row is not None
        found.setdefault(table, []).append(dict(row.columns))
    return found


def _comparable(row: Mapping[str, Any]) -> str:
    """A row without its MAC address, which is random, its references and empty columns; one-element sets as scalars."""
    plain = {}
    for name, value in row.items():
        if name in {"mac", "ports", "policies", "static_routes"} or not value or name.endswith("_cfg"):
            continue
        if isinstance(value, frozenset | list):
            values = sorted(map(str, value))
            value = values[0] if len(values) == 1 else values
        plain[name] = value
    return json.dumps(plain, sort_keys=True)

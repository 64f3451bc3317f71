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


@pytest.mark.parametrize("scenario", ["02-vpc", "06-addresses", "07-underlay"])
def test_takeover_changes_no_row(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(plan(PARITY / scenario, PARITY / scenario / "nb.db"))
    report = json.loads(capsys.readouterr().out)
    assert [o for o in report["operations"] if o["target"] != "kubernetes"] == []


SUBNET_TABLES = ("Logical_Switch", "Logical_Router_Port", "Logical_Switch_Port", "Address_Set", "DHCP_Options")


@pytest.mark.parametrize("scenario", ["01-basics", "06-addresses", "07-underlay"])
def test_the_rows_of_subnets_are_ours(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Built into an empty database, they are what Kube-OVN wrote; not merely left alone."""
    text = (PARITY / scenario / "nb.db").read_bytes().split(b"\n")
    (tmp_path / "empty.db").write_bytes(b"\n".join(text[:2]) + b"\n")
    main(plan(PARITY / scenario, tmp_path / "empty.db"))
    report = json.loads(capsys.readouterr().out)
    inserted = {(o["table"], str(o["key"])): o["columns"] for o in report["operations"] if o["operation"] == "insert"}
    theirs = json.loads((PARITY / scenario / "nb.json").read_text())
    subnets = {s["metadata"]["name"] for s in json.loads((PARITY / scenario / "k8s.json").read_text())["subnets"]}
    compared = 0
    for table in (*SUBNET_TABLES, "Logical_Router_Policy"):
        for row in theirs.get(table, ()):
            ids = row.get("external_ids", {})
            own = row.get("name", "") in subnets or ids.get("ls") in subnets or ids.get("subnet") in subnets
            other = "pod" in ids or "arp_proxy" in row.get("options", {}) or row.get("priority") == 29250
            if not own or other:  # pods' and Vips'
                continue
            keys = [str((ids.get("ls"), ids.get("protocol"), "")), str([ids.get("ls"), ids.get("protocol"), ""])]
            keys += _policy_keys(row.get("priority"), row.get("match"))
            mine = next((inserted[table, k] for k in (row.get("name", ""), *keys) if (table, k) in inserted), None)
            assert mine is not None, (table, row)
            for column, value in row.items():
                if column in ("ports", "acls", "up", "mac") or not value:
                    continue
                assert _plain(mine.get(column)) == _plain(value), (table, row, column)
                compared += 1
    assert compared > 40


def _policy_keys(priority: object, match: object) -> list[str]:
    return [str(form((router, priority, match))) for router in ("ovn-cluster", "vpc1") for form in (tuple, list)]


def _plain(value: object) -> object:
    """One form for sets, single values and references (`table:key`)."""
    if isinstance(value, dict):
        return value
    items = value if isinstance(value, list) else [value]
    return sorted(str(i["key"] if isinstance(i, dict) else i).rpartition("Load_Balancer:")[2] for i in items)


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

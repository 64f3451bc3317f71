"""Pods', Vips' and IPPools' rows and objects against what Kube-OVN wrote for the same objects (`reference/parity`)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ovnbridge.cli import main

SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
PARITY = SHARED / "reference" / "parity"
pytestmark = pytest.mark.skipif(not PARITY.is_dir(), reason="no shared/reference/parity beside the checkout")
SCENARIOS = ["01-basics", "02-vpc", "06-addresses", "07-underlay"]


def plan(directory: Path, nb: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    main(["plan", "--from-dir", str(directory), "--nb", str(nb), "--output", "json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_rows_of_addresses_are_ours(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Built into an empty database from the objects, they are what Kube-OVN wrote; not merely left alone."""
    text = (PARITY / scenario / "nb.db").read_bytes().split(b"\n")
    (tmp_path / "empty.db").write_bytes(b"\n".join(text[:2]) + b"\n")
    report = plan(PARITY / scenario, tmp_path / "empty.db", capsys)
    made = [(o["table"], o["columns"]) for o in report["operations"] if o["operation"] == "insert"]
    theirs = json.loads((PARITY / scenario / "nb.json").read_text())
    compared = 0
    for table in ("Logical_Switch_Port", "Address_Set", "Logical_Router_Policy"):
        for row in theirs.get(table, ()):
            ids, options = row.get("external_ids", {}), row.get("options", {})
            of_address = "pod" in ids or "ippool" in ids or "arp_proxy" in options or row.get("priority") == 29250
            if not of_address:
                continue
            name, match = row.get("name"), row.get("match")
            (ours,) = [c for t, c in made if t == table and (c.get("name"), c.get("match")) == (name, match)]
            for column in ("addresses", "port_security", "external_ids", "options", "action", "nexthops"):
                mine, wanted = as_list(ours.get(column)), as_list(row.get(column))
                if column == "addresses" and "arp_proxy" in options:  # the MAC is that of the router port made anew
                    mine, wanted = ([text.partition(" ")[2] for text in side] for side in (mine, wanted))
                assert mine == wanted, (name or match, column)
            compared += 1
    assert compared >= (7 if scenario == "06-addresses" else 1)


def as_list(value: Any) -> Any:
    """A set of the report or of the dump, where one value stands for itself and none may be left out."""
    if isinstance(value, dict):
        return value
    return sorted(value) if isinstance(value, list) else [value] if value else []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_is_written_for_what_is_there(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Leases, Vips, pools, namespaces and pods with their annotations, labels and statuses."""
    report = plan(PARITY / scenario, PARITY / scenario / "nb.db", capsys)
    kinds = {"Pod", "IP", "Vip", "IPPool", "Namespace"}
    assert [o for o in report["operations"] if o.get("kind") in kinds] == []
    if scenario == "06-addresses":
        assert report["operations"] == []
        assert report["summary"]["northbound"]["foreign"] == {}

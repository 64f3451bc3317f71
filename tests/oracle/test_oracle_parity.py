"""The oracle itself, against what the real Kube-OVN wrote (`reference/parity`): objects and rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.oracle import database, left
from tests.oracle.northbound import rows
from tests.oracle.statement import statement
from tests.oracle.world import OVN, PLURALS, Drawn, Json, Lease, World, name, spec, status
from tests.pure.test_parity import PARITY, SCENARIOS

pytestmark = pytest.mark.skipif(not PARITY.is_dir(), reason="no shared/reference/parity beside the checkout")


def users(scenario: str, known: dict[str, list[Json]]) -> World:
    """What the users applied, on the nodes and namespaces as they were before."""
    world = World()
    for plural in ("nodes", "namespaces"):
        world.objects[plural] = [_fresh(obj) for obj in known[plural]]
    applied = yaml.safe_load_all((PARITY / scenario / "objects.yaml").read_text())
    for obj in filter(None, applied):
        if obj["kind"] in PLURALS and obj["kind"] != "Namespace":
            world.add(obj)
    for pod in world.of("pods"):
        pod["status"] = next(p for p in known["pods"] if name(p) == name(pod))["status"]
    return world


def _fresh(obj: Json) -> Json:
    meta = {k: v for k, v in obj["metadata"].items() if k in ("name", "labels", "uid")}
    told = {k: v for k, v in (obj["metadata"].get("annotations") or {}).items() if k == f"{OVN}/chassis"}
    return {**obj, "metadata": {**meta, "annotations": told}}


def drawn(known: dict[str, list[Json]], tables: database.Content) -> Drawn:
    found = Drawn()
    for ip in known["ips"]:
        found.leases[name(ip)] = Lease(*(spec(ip)[f] for f in ("v4IpAddress", "v6IpAddress", "macAddress")))
    for vip in known["vips"]:
        found.leases[f"vip/{name(vip)}"] = Lease(*(status(vip)[f] for f in ("v4ip", "v6ip", "mac")))
    found.router_macs = {row["name"]: row["mac"] for row in tables["Logical_Router_Port"].values()}
    found.active = {name(s): active for s in known["subnets"] if (active := status(s)["activateGateway"])}
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_real_kube_ovn_agrees(scenario: str) -> None:
    known: dict[str, list[Json]] = json.loads((PARITY / scenario / "k8s.json").read_text())
    tables = database.read(PARITY / scenario / "nb.db")
    drawing = drawn(known, tables)
    world = left.leave(left.complete(users(scenario, known)), drawing)
    for plural, objects in known.items():
        for obj in objects if plural in world.objects else ():
            meta = obj["metadata"]
            ours = world.one(plural, meta["name"], meta.get("namespace", ""))
            assert ours is not None
            assert statement(plural, ours) == statement(plural, obj)
        assert {name(o) for o in world.of(plural)} <= {name(o) for o in objects}
    told = database.texts(tables, services=False)
    ours = {own for t, rows in tables.items() for own, row in rows.items() if not _of_a_policy(t, row)}
    real = [text for own, text in told.items() if own in ours]
    assert database.differences(database.texts(database.content(rows(world, drawing))).values(), real) == []


def _of_a_policy(table: str, row: Any) -> bool:
    """Rows of NetworkPolicies (D.6)."""
    ids = row.get("external_ids", {})
    if table == "ACL":
        return bool(re.match(r"(np|dist)/", row.get("name") or ""))
    return "np" in ids and "node" not in ids


def test_a_file_of_the_oracle_is_a_database(tmp_path: Path) -> None:
    """Written and read again."""
    (scenario,) = SCENARIOS[:1]
    tables = database.read(PARITY / scenario / "nb.db")
    database.write_file(tables, tmp_path / "nb.db")
    assert database.texts(database.read(tmp_path / "nb.db")) == database.texts(tables)

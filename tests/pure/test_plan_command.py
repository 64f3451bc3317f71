"""`ovnbridge plan` and `explain` on what Kube-OVN wrote: the takeover report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ovnbridge.cli import main
from ovnbridge.compile.options import Options
from ovnbridge.controller import KINDS
from ovnbridge.model.ovn import NORTHBOUND
from ovnbridge.operations.dry_run import dry_run
from ovnbridge.operations.explain import explain_object, explain_row, object_key, rows_named
from ovnbridge.operations.inputs import from_files
from ovnbridge.operations.words import key_text

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


def test_the_entries_of_features_that_are_not_built_are_foreign(capsys: pytest.CaptureFixture[str]) -> None:
    """A load balancer is ours, its VIPs are Services': a report that hid them would call Services taken over."""
    services = PARITY / "03-services"
    theirs = json.loads((services / "nb.json").read_text())["Load_Balancer"]
    expected = {row["name"]: sorted(row["vips"]) for row in theirs if row.get("vips")}
    assert len(expected) == 4
    assert main(plan(services, services / "nb.db")) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert {e["key"]: e["entries"] for e in summary["foreign_entries"]} == expected
    assert {(e["table"], e["column"]) for e in summary["foreign_entries"]} == {("Load_Balancer", "vips")}
    assert main(["plan", "--from-dir", str(services), "--nb", str(services / "nb.db")]) == 0
    text = capsys.readouterr().out
    assert "Load_Balancer cluster-tcp-loadbalancer, vips: 10.96.1.1:80, 10.96.1.3:81, 10.96.1.6:80" in text
    assert "0 foreign, 6 foreign entries in rows that are adopted" in text


def test_entries_of_others_in_rows_of_ours_are_foreign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the engine leaves in a map that it fills in part: an option of OVN's own, the mark of a local VIP."""
    basics = PARITY / "01-basics"
    database = json.loads((basics / "nb.json").read_text())
    switch = next(row for row in database["Logical_Switch"] if row["name"] == "sub-dist")
    switch["other_config"] = {"mcast_flood_unregistered": "true"}
    balancer = next(row for row in database["Load_Balancer"] if row["name"] == "cluster-udp-loadbalancer")
    balancer["external_ids"]["kube-ovn.io/local-external-vip/192.0.2.9:53"] = "x"
    (tmp_path / "nb.json").write_text(json.dumps(database))
    assert main(plan(basics, tmp_path / "nb.json")) == 0
    found = {
        (e["key"], e["column"], *e["entries"])
        for e in json.loads(capsys.readouterr().out)["summary"]["foreign_entries"]
    }
    assert ("sub-dist", "other_config", "mcast_flood_unregistered") in found
    assert ("cluster-udp-loadbalancer", "external_ids", "kube-ovn.io/local-external-vip/192.0.2.9:53") in found


def test_a_lease_that_is_lost_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lease is gone, and a stranger's that nobody claims has its address: the outcome is told, not the way there."""
    objects = json.loads((PARITY / "01-basics" / "k8s.json").read_text())
    (lost,) = [ip for ip in objects["ips"] if ip["metadata"]["name"] == "web1.dist"]
    lost["metadata"] |= {"name": "stranger.dist", "uid": "stranger"}
    lost["spec"]["podName"] = "stranger"
    (tmp_path / "objects.json").write_text(json.dumps(objects))
    assert main(plan(tmp_path, PARITY / "01-basics" / "nb.db")) == 2
    told = json.loads(capsys.readouterr().out)["operations"]
    rows = [operation for operation in told if operation["target"] == "northbound"]
    writes = {(o["operation"], o["kind"], o["key"]): o["body"] for o in told if o["target"] == "kubernetes"}
    assert rows == [], "the pod has its address again, so its port is as it should be"
    made = writes["create", "IP", "web1.dist"]["spec"]
    assert (made["v4IpAddress"], made["macAddress"]) == ("10.17.0.11", "00:00:00:11:00:11")
    assert ("delete", "IP", "stranger.dist") in writes


def test_the_text_says_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = json.loads((PARITY / "01-basics" / "k8s.json").read_text())
    (pod,) = [p for p in objects["pods"] if p["metadata"]["name"] == "web1"]
    pod["metadata"]["annotations"]["ovn.kubernetes.io/cidr"] = "10.99.0.0/24"
    (tmp_path / "objects.json").write_text(json.dumps(objects))
    database = json.loads((PARITY / "01-basics" / "nb.json").read_text())
    (port,) = [row for row in database["Logical_Switch_Port"] if row["name"] == "web2.dist"]
    right, port["addresses"] = port["addresses"], "00:00:00:11:00:99 10.17.0.99"
    database["Port_Group"] = [g | {"ports": []} if g["name"] == "node.node1" else g for g in database["Port_Group"]]
    (tmp_path / "nb.json").write_text(json.dumps(database))
    assert main(["plan", "--from-dir", str(tmp_path), "--nb", str(tmp_path / "nb.json")]) == 2
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("pod dist/web1: 1 to adopt")
    assert lines[at + 1] == (
        "  kubernetes patch Pod dist/web1: metadata.annotations[ovn.kubernetes.io/cidr]: 10.99.0.0/24 → 10.17.0.0/24"
    )
    at = lines.index("pod dist/web2: 1 to change")
    assert lines[at + 1] == f"  update Logical_Switch_Port web2.dist: addresses: [{port['addresses']}] → [{right}]"
    assert any(line.startswith("  mutate Port_Group node.node1: ports: add [Logical_Switch_Port:") for line in lines)


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


def test_counts_beyond_64_bits_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A /64 has more addresses than an integer of JSON libraries holds."""
    wide = {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "wide", "uid": "u"}}
    objects = json.loads((PARITY / "01-basics" / "k8s.json").read_text())
    objects["subnets"].append({**wide, "spec": {"cidrBlock": "fd99::/64"}})
    (tmp_path / "objects.json").write_text(json.dumps(objects))
    assert main(plan(tmp_path, PARITY / "01-basics" / "nb.db")) == 2
    operations = json.loads(capsys.readouterr().out)["operations"]
    written = [o["body"] for o in operations if o.get("kind") == "Subnet" and o["key"] == "wide"]
    assert any(body.get("status", {}).get("v6availableIPs") == 2**64 for body in written)


def test_unreadable_inputs_are_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(plan(tmp_path, PARITY / "01-basics" / "nb.db")) == 1
    assert "no YAML or JSON files" in capsys.readouterr().err
    (tmp_path / "broken.yaml").write_text("a: [")
    assert main(plan(tmp_path, PARITY / "01-basics" / "nb.db")) == 1
    assert "broken.yaml" in capsys.readouterr().err
    (tmp_path / "nb").write_text("hello")
    assert main(plan(PARITY / "01-basics", tmp_path / "nb")) == 1
    assert "neither a database file" in capsys.readouterr().err


SCENARIOS = sorted(p.name for p in PARITY.glob("*") if (p / "nb.db").is_file())


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_every_row_and_object_can_be_explained(scenario: str) -> None:
    """A row by the key that is printed of it, alone; an object by its name; and back from the row to the object."""
    state, _ = await from_files(PARITY / scenario, PARITY / scenario / "nb.db")
    await dry_run(state, Options())
    seen = set()
    for table, key in state.engine.desired.row_keys():
        assert rows_named(state, table, key_text(key)) == [(table, key)]
        row = explain_row(state, (table, key))
        assert row["owner"], (table, key)
        assert row["because"] or row["owner"] == "cluster", (table, key)
        for cause in row["because"]:
            kind, _, name = cause.partition(" ")
            found = explain_object(state, kind, object_key(state, kind, name))
            assert f"{table} {key_text(key)}" in str(found["units"]), (cause, table, key)
        seen.add(table)
    assert {"ACL", "Logical_Router_Policy", "Logical_Router_Static_Route", "Port_Group"} <= seen
    for table in NORTHBOUND:
        for key in state.replica.keys(table):
            assert rows_named(state, table, key_text(key))
            row = explain_row(state, (table, key))
            assert row["actual"] is not None
            wanted = bool(row["owner"] or row["members"])
            assert row["verdict"].startswith("is foreign") == (not wanted), (table, key)
            assert wanted == row["verdict"].endswith("is as it should be"), (table, key)
    for resource, _ in KINDS:
        for name in state.world.keys(resource.kind):
            found = explain_object(state, resource.kind, object_key(state, resource.kind, name))
            assert found["exists"]
            assert found["units"] or resource.kind == "IP", name  # another feature's lease is nobody's


def explained(capsys: pytest.CaptureFixture[str], *what: str) -> tuple[int, list[dict[str, Any]], str]:
    basics = PARITY / "01-basics"
    status = main(["explain", *what, "--from-dir", str(basics), "--nb", str(basics / "nb.db"), "--output", "json"])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else [], err


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        (("Logical_Router_Policy", "ip4.dst == 192.0.2.1"), {30000}),
        (("logical_router_policy", "ovn-cluster | 30000"), {30000}),
        (("Logical_Router_Static_Route", "vpc1 | src-ip"), {"10.20.0.0/24"}),
        (("ACL", "ovn.sg.kubeovn_deny_all | to-lport | 3"), {"to-lport"}),
        (("NB_Global", "."), set()),
    ],
)
def test_natural_keys_may_be_named_by_their_parts(
    what: tuple[str, str], keys: set[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    status, found, err = explained(capsys, *what)
    assert status == 0, err
    assert found
    assert all(keys <= set(row["key"]) for row in found)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (("Logical_Switch_Prot", "x"), "did you mean 'Logical_Switch_Port'"),
        (("subnt", "x"), "did you mean 'Subnet'"),
        (("pod", "dist/wep1"), "'dist/web1'"),
        (("Subnet", "sub-dits"), "'sub-dist'"),
        (("Logical_Switch_Port", "wep1.dist"), "'web1.dist'"),
        (("Logical_Router_Policy", "ip4.dst == 10.99.0.0/16"), "no Logical_Router_Policy"),
        (("meter", "x"), "nothing here looks at the table Meter: its rows are foreign"),
        (("Nonsense", "x"), "neither a table nor a kind"),
    ],
)
def test_unknown_names_get_suggestions(what: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = explained(capsys, *what)
    assert status == 1
    assert said in err


def test_short_names_of_objects(capsys: pytest.CaptureFixture[str]) -> None:
    for what in (
        ("vpc", "vpc1"),
        ("po", "web1"),
        ("pods", "dist/web1"),
        ("ns", "dist"),
        ("IP", "web1.dist"),
        ("nodes", "node1"),
    ):
        status, found, err = explained(capsys, *what)
        assert status == 0, err
        assert found[0]["exists"]


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


def test_the_verdict_on_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing, changed, to be removed, a neighbour's: each in words, and the text has them first."""
    objects = json.loads((PARITY / "01-basics" / "k8s.json").read_text())
    objects["pods"] = [p for p in objects["pods"] if p["metadata"]["name"] != "c2"]
    (tmp_path / "objects.json").write_text(json.dumps(objects))
    database = json.loads((PARITY / "01-basics" / "nb.json").read_text())
    ports = {row["name"]: row for row in database["Logical_Switch_Port"]}
    ports["web2.dist"]["addresses"] = "00:00:00:11:00:99 10.17.0.99"
    ports["web1.dist"] |= {"name": "other.dist", "external_ids": {}}
    for holder in (*database["Logical_Switch"], *database["Port_Group"]):
        held = holder.get("ports", [])
        holder["ports"] = [
            name.replace(":web1.dist", ":other.dist") for name in ([held] if isinstance(held, str) else held)
        ]
    (tmp_path / "nb.json").write_text(json.dumps(database))
    said = {}
    for name in ("web1.dist", "web2.dist", "c2.cent", "other.dist", "c1.cent"):
        inputs = ["--from-dir", str(tmp_path), "--nb", str(tmp_path / "nb.json")]
        assert main(["explain", "Logical_Switch_Port", name, *inputs]) == 0
        table, key, verdict = capsys.readouterr().out.splitlines()[:3]
        assert (table, key) == ("table: Logical_Switch_Port", f"key: {name}")
        said[name] = verdict.removeprefix("verdict: ")
    assert said == {
        "web1.dist": "is missing, and will be added",
        "web2.dist": "is not as it should be, and will be changed",
        "c2.cent": "nobody wants it: it will go",
        "other.dist": "is foreign: nothing here asks for it, and it is never touched",
        "c1.cent": "is as it should be",
    }

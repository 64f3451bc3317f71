"""`plan --from-dir DIR --nb FILE`: every form that objects and an NB database may come in, and what is none."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ovnbridge.cli import main
from ovnbridge.ovsdb.log import read_log
from tests.support.ovsdb import Server, create, nbctl, wait_until

SHARED = Path(os.environ.get("OVNBRIDGE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
PARITY = SHARED / "reference" / "parity"
SCENARIOS = sorted(p.name for p in PARITY.glob("*") if (p / "nb.db").is_file())
BASICS = PARITY / "01-basics"
pytestmark = pytest.mark.skipif(not SCENARIOS, reason="no shared/reference/parity beside the checkout")
needs_ovsdb = pytest.mark.skipif(shutil.which("ovsdb-server") is None, reason="no ovsdb-server")


class Plan:
    """Runs the command; `status`, `report` and `err` are what it gave."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = ""
        self.report: dict[str, Any] = {}

    def __call__(self, directory: Path, nb: Path, *flags: str) -> int:
        status = main(["plan", "--from-dir", str(directory), "--nb", str(nb), "--output", "json", *flags])
        out, self.err = self._capsys.readouterr()
        self.report = json.loads(out) if out else {}
        return status

    def of(self, directory: Path, nb: Path) -> dict[str, Any]:
        """The report without what is said about the files themselves."""
        self(directory, nb)
        assert self.report, self.err
        return {**self.report, "summary": {k: v for k, v in self.report["summary"].items() if k != "warnings"}}


@pytest.fixture
def plan(capsys: pytest.CaptureFixture[str]) -> Plan:
    return Plan(capsys)


# -- NB -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("without", ["", "pods", "subnets", "nodes", "vpcs"])
def test_database_file_and_readable_form_give_the_same_plan(
    scenario: str, without: str, plan: Plan, tmp_path: Path
) -> None:
    """With objects left out the plan is long, and names parents, references and values of most rows."""
    objects = json.loads((PARITY / scenario / "k8s.json").read_text())
    objects.pop(without, None)
    (tmp_path / "k8s.json").write_text(json.dumps(objects))
    of_file = plan.of(tmp_path, PARITY / scenario / "nb.db")
    assert of_file == plan.of(tmp_path, PARITY / scenario / "nb.json")
    assert of_file["operations"] or not without


def test_references_to_rows_without_a_name(tmp_path: Path, plan: Plan) -> None:
    """Of tables that 01-basics does not have, by whatever column the reference was written with."""
    nb = json.loads((BASICS / "nb.json").read_text())
    nb["NAT"] = [{"type": "snat", "external_ip": "192.0.2.9", "logical_ip": f"10.17.0.{n}"} for n in (1, 2)]
    nb["Meter_Band"] = [{"action": "drop", "rate": 5, "burst_size": 1}]
    nb["Meter"] = [{"name": "m", "unit": "pktps", "bands": "Meter_Band:?"}]
    router = next(r for r in nb["Logical_Router"] if r["name"] == "ovn-cluster")
    for labels in (["NAT:192.0.2.9", "NAT:192.0.2.9"], ["NAT:10.17.0.1", "NAT:10.17.0.2"], ["NAT:snat", "NAT:snat"]):
        router["nat"] = labels
        (tmp_path / "nb").write_text(json.dumps(nb))
        assert plan(BASICS, tmp_path / "nb") == 0, plan.err
        foreign = plan.report["summary"]["northbound"]["foreign"]
        assert {t: foreign[t] for t in ("NAT", "Meter", "Meter_Band")} == {"NAT": 2, "Meter": 1, "Meter_Band": 1}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of what Kube-OVN wrote."""
    shutil.copy(BASICS / "nb.db", tmp_path / "served.db")
    server = Server(tmp_path, tmp_path / "served.db")
    server.start()
    yield server
    server.kill()


@needs_ovsdb
def test_what_ovsdb_client_prints(server: Server, tmp_path: Path, plan: Plan) -> None:
    expected = plan.of(BASICS, BASICS / "nb.db")
    for name, command in {"backup": ["backup"], "dump": ["dump", "-f", "json"]}.items():
        done = subprocess.run(
            ["ovsdb-client", "--timeout=20", *command, server.remote, "OVN_Northbound"], capture_output=True, check=True
        )
        (tmp_path / name).write_bytes(done.stdout)
        assert plan.of(BASICS, tmp_path / name) == expected, name


@needs_ovsdb
def test_a_dump_of_an_older_server_is_judged_by_its_columns(tmp_path: Path, plan: Plan) -> None:
    """The distribution's schema 7.0 has no ACL tiers: what an empty database of it lacks must not name them."""
    schema = Path("/usr/share/ovn/ovn-nb.ovsschema")
    if "tier" in json.loads(schema.read_text())["tables"]["ACL"]["columns"]:
        pytest.skip("the installed OVN knows ACL tiers")
    server = Server.standalone(tmp_path, schema)
    try:
        done = subprocess.run(
            ["ovsdb-client", "--timeout=20", "dump", "-f", "json", server.remote, "OVN_Northbound"],
            capture_output=True,
            check=True,
        )
    finally:
        server.kill()
    (tmp_path / "nb.dump").write_bytes(done.stdout)
    plan(BASICS, tmp_path / "nb.dump")
    (in_dump,) = [plan.report]
    plan(BASICS, server.file)
    assert plan.report["operations"] == in_dump["operations"]
    acls = [o for o in plan.report["operations"] if o.get("table") == "ACL"]
    assert acls
    assert not any("tier" in o["columns"] for o in acls)


@needs_ovsdb
def test_a_cluster_members_file(tmp_path: Path, plan: Plan) -> None:
    """Snapshot and log of a member, against the tool's own conversion to a standalone file."""
    own = f"unix:{tmp_path}/raft.sock"
    subprocess.run(["ovsdb-tool", "create-cluster", f"{tmp_path}/c.db", f"{BASICS}/nb.db", own], check=True)
    server = Server(tmp_path, tmp_path / "c.db", name="c")
    server.start()
    try:
        wait_until(lambda: "Role: leader" in server.appctl("cluster/status", "OVN_Northbound"), "a leader")
        nbctl(server, "lsp-del", "c2.cent")
        nbctl(server, "--", "ls-add", "foreign", "--", "lsp-add", "foreign", "theirs")
        nbctl(server, "set", "Logical_Switch_Port", "web1.dist", "external_ids:extra=1")
        nbctl(server, "remove", "Logical_Switch_Port", "web1.dist", "external_ids", "extra")
    finally:
        server.stop()
    subprocess.run(["ovsdb-tool", "cluster-to-standalone", f"{tmp_path}/s.db", f"{tmp_path}/c.db"], check=True)
    of_cluster = plan.of(BASICS, tmp_path / "c.db")
    assert of_cluster == plan.of(BASICS, tmp_path / "s.db")
    assert [(o["operation"], o["key"]) for o in of_cluster["operations"] if o["table"] == "Logical_Switch_Port"] == [
        ("insert", "c2.cent")
    ]
    assert of_cluster["summary"]["northbound"]["foreign"]["Logical_Switch"] == 1


def logged(magic: bytes, text: bytes) -> bytes:
    """A record of a database file (ovsdb(5))."""
    return b"OVSDB %s %d %s\n" % (magic, len(text), hashlib.sha1(text).hexdigest().encode()) + text


def test_entries_that_a_new_raft_leader_replaced_do_not_count() -> None:
    def record(value: Any) -> bytes:
        return logged(b"CLUSTER", json.dumps(value).encode() + b"\n")

    schema = {"name": "D", "tables": {"T": {"columns": {"c": {"type": "string"}}}}}
    entries: list[Any] = [
        {"server_id": "s", "prev_term": 1, "prev_index": 1, "prev_data": [schema, {"T": {"u": {"c": "snapshot"}}}]},
        {"term": 2, "index": 2, "data": [None, {"T": {"u": {"c": "lost"}}}]},
        {"term": 2, "index": 3, "data": [None, {"T": {"v": {"c": "lost as well"}}}]},
        {"commit_index": 1},
        {"term": 3, "index": 2, "data": [None, {"T": {"w": {"c": "kept"}}}]},
        {"term": 3, "vote": "s"},
    ]
    found = read_log(b"".join(map(record, entries)))[1]
    assert found == {"T": {"u": {"c": "snapshot"}, "w": {"c": "kept"}}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello", "neither a database file"),
        (b"", "the file is empty"),
        (b"\n ", "the file is empty"),
        (b"[1, 2]", "JSON, but neither"),
        (b'{"Nonsense": []}', "it has no table Nonsense"),
        (b'{"Logical_Switch": [{"name": "a", "ports": "Logical_Switch_Port:b"}]}', "Logical_Switch_Port:b, which is"),
        (b"OVSDB JSON 100 abc\n{}", "cut off"),
        (b"OVSDB JSON x\n{}", "damaged at byte 0"),
        (logged(b"JSON", b"{}\n") + b"rubbish", "no record begins here"),
        (logged(b"JSON", b"{}\n").replace(b"{", b"["), "damaged at byte 0: the checksum of a record is wrong"),
        (logged(b"JSON", b"{\n"), "damaged at byte 0"),
        (logged(b"CLUSTER", b'{"server_id":"s"}\n'), "just joined"),
    ],
)
def test_no_database(content: bytes, said: str, plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "nb").write_bytes(content)
    assert plan(BASICS, tmp_path / "nb") == 1
    assert said in plan.err
    assert plan.report == {}


@needs_ovsdb
def test_another_database(plan: Plan, tmp_path: Path) -> None:
    create(tmp_path / "conf.db", Path("/usr/share/openvswitch/vswitch.ovsschema"))
    assert plan(BASICS, tmp_path / "conf.db") == 1
    assert "Open_vSwitch" in plan.err


# -- objects --------------------------------------------------------------------------------------------------------


def _all_objects() -> list[dict[str, Any]]:
    kinds = {"pods": "Pod", "nodes": "Node", "namespaces": "Namespace", "vpcs": "Vpc", "subnets": "Subnet", "ips": "IP"}
    found = json.loads((BASICS / "k8s.json").read_text())
    return [{"kind": kind, **obj} for plural, kind in kinds.items() for obj in found[plural]]


def test_every_form_of_objects(tmp_path: Path, plan: Plan) -> None:
    expected = plan.of(BASICS, BASICS / "nb.db")
    objects = _all_objects()
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for obj in objects:
        by_kind.setdefault(obj["kind"], []).append(obj)
    forms = {name: tmp_path / name for name in ("documents", "list", "lists", "lines", "array", "files", "map")}
    for directory in forms.values():
        directory.mkdir()
    (forms["documents"] / "all.yaml").write_text("---\n" + yaml.safe_dump_all(objects) + "---\n")
    (forms["list"] / "all.yml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": objects}))
    for kind, found in by_kind.items():
        bare = [{k: v for k, v in obj.items() if k not in {"kind", "apiVersion"}} for obj in found]
        (forms["lists"] / f"{kind}.json").write_text(json.dumps({"kind": f"{kind}List", "items": bare}, indent="\t"))
    (forms["lines"] / "all.json").write_text("\n".join(map(json.dumps, objects)))
    (forms["array"] / "all.json").write_text(json.dumps(objects))
    for number, obj in enumerate(objects):
        folder = forms["files"] / obj["kind"]
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.yaml").write_text(yaml.safe_dump(obj))
    shutil.copy(BASICS / "k8s.json", forms["map"])
    for name, directory in forms.items():
        assert plan.of(directory, BASICS / "nb.db") == expected, name
        assert plan.err == "", name


def test_what_is_no_object_is_named_and_left_out(tmp_path: Path, plan: Plan) -> None:
    shutil.copy(BASICS / "k8s.json", tmp_path)
    (tmp_path / "values.yaml").write_text("replicas: 3\n---\nimage: {tag: x}\n")
    (tmp_path / "number.json").write_text("42")
    (tmp_path / "note.yaml").write_text("just text\n")
    (tmp_path / "README.txt").write_text("not looked at: [")
    other = {"apiVersion": "ec2.services.k8s.aws/v1alpha1", "kind": "Subnet", "metadata": {"name": "theirs"}}
    (tmp_path / "other.json").write_text(json.dumps({**other, "spec": {"cidrBlock": 7}}))
    assert plan(tmp_path, BASICS / "nb.db") == 0
    for name in ("values.yaml, document 1", "values.yaml, document 2", "number.json", "note.yaml"):
        assert name in plan.err
    assert "README" not in plan.err
    assert "other.json" not in plan.err


def test_the_database_may_lie_beside_the_objects(tmp_path: Path, plan: Plan) -> None:
    for name in ("k8s.json", "nb.json"):
        shutil.copy(BASICS / name, tmp_path)
    assert plan(tmp_path, tmp_path / "nb.json") == 0
    assert plan.err == ""


def test_an_unquoted_timestamp_is_text(tmp_path: Path, plan: Plan) -> None:
    objects = _all_objects()
    text = yaml.safe_dump_all(objects).replace("'20", "20").replace("Z'", "Z")
    assert "creationTimestamp: 20" in text
    (tmp_path / "all.yaml").write_text(text)
    assert plan(tmp_path, BASICS / "nb.db") == 0, plan.err


def test_an_object_that_cannot_be_decoded_fails(tmp_path: Path, plan: Plan) -> None:
    shutil.copy(BASICS / "k8s.json", tmp_path)
    (tmp_path / "broken.yaml").write_text("kind: Subnet\nmetadata: {name: broken}\nspec: {cidrBlock: [1]}\n")
    assert plan(tmp_path, BASICS / "nb.db") == 1
    assert "Subnet broken" in plan.err
    assert plan.report["summary"]["problems"]


def test_usage_errors_are_not_the_status_of_a_difference(tmp_path: Path, plan: Plan) -> None:
    assert plan(tmp_path / "none", BASICS / "nb.db") == 1
    assert "no such directory" in plan.err
    assert plan(BASICS, tmp_path / "none.db") == 1
    assert "none.db" in plan.err
    assert plan(BASICS, BASICS / "nb.db", "--enable-lb=perhaps") == 1
    assert plan(BASICS, BASICS / "nb.db", "--no-such-flag") == 1
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--output", "xml"])
    assert ended.value.code == 1
    (tmp_path / "only.yaml").write_text("kind: ConfigMap\nmetadata: {name: x}\n")
    assert plan(tmp_path, BASICS / "nb.db") == 1
    assert "no objects of the kinds" in plan.err


def test_the_controllers_flags_may_stand_in_the_environment(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a Deployment gives them, klog's too; what is given on the command line goes before."""
    monkeypatch.setenv("OVNBRIDGE_FLAGS", "--cluster-router=another --logtostderr=false --log_file=/x --v=3")
    assert plan(BASICS, BASICS / "nb.db") == 2
    assert plan(BASICS, BASICS / "nb.db", "--cluster-router=ovn-cluster") == 0
    monkeypatch.setenv("OVNBRIDGE_FLAGS", "--default-cidr='10.0.0.0/8")
    assert plan(BASICS, BASICS / "nb.db") == 1
    assert "OVNBRIDGE_FLAGS: No closing quotation" in plan.err
    monkeypatch.delenv("OVNBRIDGE_FLAGS")
    assert plan(BASICS, BASICS / "nb.db", "--default-cidr=10.0.0.0/33") == 1
    assert "--default-cidr '10.0.0.0/33' is neither" in plan.err

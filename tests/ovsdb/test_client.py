"""Connection, resynchronisation, deadlines, probes, TLS: `Database` against real servers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from ovnbridge.ovsdb import tables
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.errors import NotConnected, OutcomeUnknown, TransactionError
from ovnbridge.ovsdb.tables import Changes, SetDelta
from ovnbridge.ovsdb.transport import Remote, TlsFiles
from tests.support.ovsdb import (
    NB_SCHEMA,
    Server,
    create,
    eventually,
    free_port,
    make_certificates,
    nbctl,
    plain,
    running,
)
from tests.support.relay import Proxy

COLUMNS = {
    "Logical_Switch": ("name", "ports", "external_ids"),
    "Logical_Switch_Port": ("name", "addresses", "tag", "up", "external_ids", "no_such_column"),
    "No_Such_Table": ("name",),
}


def database(*remotes: str, **options: Any) -> Database:
    return Database(name="OVN_Northbound", remotes=remotes, columns=COLUMNS, **options)


def names(db: Database, table: str = "Logical_Switch") -> list[str]:
    return sorted(row["name"] for row in db.rows[table].values())


def add(name: str) -> list[dict[str, Any]]:
    return [{"op": "insert", "table": "Logical_Switch", "row": {"name": name}}]


def recorded(db: Database) -> list[Changes]:
    batches: list[Changes] = []
    db.subscribe(batches.append)
    return batches


def summary(batch: Changes, table: str = "Logical_Switch") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"inserted": [], "modified": [], "deleted": []}
    for change in batch.get(table, {}).values():
        if change.old is None:
            assert change.new is not None
            found["inserted"].append(change.new["name"])
        elif change.new is None:
            found["deleted"].append(change.old["name"])
        else:
            found["modified"].append(change.new["name"])
    return {kind: sorted(rows) for kind, rows in found.items()}


async def test_values_defaults_and_gating(nb: Server) -> None:
    nbctl(nb, "ls-add", "ls1", "--", "lsp-add", "ls1", "p1", "--", "lsp-add", "ls1", "p2")
    nbctl(nb, "set", "logical_switch_port", "p2", "tag=7")
    nbctl(nb, "lsp-set-addresses", "p1", "00:00:00:00:00:01", "unknown")
    nbctl(nb, "set", "logical_switch_port", "p1", "external_ids:a=b", 'external_ids:c=""')
    db = database(nb.remote)
    async with running(db.run()):
        await db.synced.wait()
        by_name = {row["name"]: (uuid, plain(row)) for uuid, row in db.rows["Logical_Switch_Port"].items()}
        assert by_name["p1"][1] == {
            "name": "p1",
            "addresses": frozenset({"00:00:00:00:00:01", "unknown"}),
            "tag": None,
            "up": None,
            "external_ids": {"a": "b", "c": ""},
        }
        assert by_name["p2"][1]["tag"] == 7
        (switch,) = db.rows["Logical_Switch"].values()
        assert switch["ports"] == {by_name["p1"][0], by_name["p2"][0]}
        assert db.rows["No_Such_Table"] == {}
        assert db.schema is not None
        assert db.schema.has_column("Logical_Switch_Port", "tag")
        assert not db.schema.has_column("Logical_Switch_Port", "no_such_column")
        assert not db.schema.has_table("No_Such_Table")


async def test_a_condition_limits_the_rows(nb: Server) -> None:
    nbctl(nb, "ls-add", "a", "--", "ls-add", "b")
    db = database(nb.remote, conditions={"Logical_Switch": [["name", "==", "b"]]})
    async with running(db.run()):
        await db.synced.wait()
        assert names(db) == ["b"]
        nbctl(nb, "ls-add", "c", "--", "set", "logical_switch", "a", "name=b")
        await eventually(lambda: names(db) == ["b", "b"])


async def test_a_large_set_changes_by_its_delta(nb: Server) -> None:
    db = database(nb.remote)
    async with running(db.run()):
        await db.synced.wait()
        nbctl(nb, "ls-add", "ls1", *(w for n in range(50) for w in ("--", "lsp-add", "ls1", f"p{n}")))
        await eventually(lambda: len(db.rows["Logical_Switch_Port"]) == 50)
        batches = recorded(db)
        (before,) = db.rows["Logical_Switch"].values()
        ports = before["ports"]
        nbctl(nb, "lsp-del", "p7")
        await eventually(lambda: batches)
        ((uuid, gone),) = batches[0]["Logical_Switch_Port"].items()
        assert gone.new is None
        (change,) = batches[0]["Logical_Switch"].values()
        assert change.old == {"ports": SetDelta(added=frozenset(), removed=frozenset({uuid}))}
        assert before["ports"] is ports, "the set is updated in place"
        assert len(ports) == 49


async def test_transaction_errors_name_the_operation(nb: Server) -> None:
    db = database(nb.remote)
    with pytest.raises(NotConnected):
        await db.transact(add("x"), timeout=1)
    async with running(db.run()):
        await db.synced.wait()
        with pytest.raises(TransactionError) as refused:
            await db.transact([*add("a"), *add("b"), {"op": "abort"}], timeout=5)
        assert (refused.value.error, refused.value.index) == ("aborted", 2)
        port = {"op": "insert", "table": "Port_Group", "row": {"name": "same"}}
        with pytest.raises(TransactionError) as refused:
            await db.transact([port, port], timeout=5)
        assert (refused.value.error, refused.value.index) == ("constraint violation", None)
        with pytest.raises(TypeError):
            await db.transact([{"op": object()}], timeout=5)
        assert names(db) == []
        assert await db.transact(add("fine"), timeout=5)
        assert names(db) == ["fine"], "what a transaction did is there when its reply is"


async def test_restart_with_the_same_database_changes_nothing(nb: Server) -> None:
    nbctl(nb, "ls-add", "a", "--", "ls-add", "b", "--", "lsp-add", "a", "p")
    db = database(nb.remote)
    async with running(db.run()):
        await db.synced.wait()
        batches, rows = recorded(db), dict(db.rows["Logical_Switch"])
        nb.stop()
        await eventually(lambda: not db.synced.is_set())
        assert names(db) == ["a", "b"], "the last known rows stay readable"
        nb.start()
        await db.synced.wait()
        assert db.generation == 2
        assert [summary(batch) for batch in batches if batch] == []
        assert all(db.rows["Logical_Switch"][uuid] is row for uuid, row in rows.items())


async def test_restart_with_an_older_backup_shows_exactly_the_difference(nb: Server, short_tmp: Path) -> None:
    nbctl(nb, "ls-add", "kept", "--", "ls-add", "lost", "--", "ls-add", "changed", "--", "lsp-add", "changed", "p1")
    nb.stop()
    shutil.copy(nb.file, short_tmp / "backup")
    nb.start()
    nbctl(nb, "ls-del", "lost", "--", "ls-add", "new", "--", "lsp-add", "changed", "p2")
    nbctl(nb, "set", "logical_switch", "changed", "external_ids:x=y")
    db = database(nb.remote)
    async with running(db.run()):
        await db.synced.wait()
        batches = recorded(db)
        visible: list[list[str]] = []
        db.subscribe(lambda _: visible.append(names(db)))
        nb.stop()
        shutil.copy(short_tmp / "backup", nb.file)
        nb.start()
        await eventually(lambda: db.generation == 2)
        batch = next(b for b in batches if b)
        assert summary(batch) == {"inserted": ["lost"], "modified": ["changed"], "deleted": ["new"]}
        assert summary(batch, "Logical_Switch_Port") == {"inserted": [], "modified": [], "deleted": ["p2"]}
        (modified,) = [c for c in batch["Logical_Switch"].values() if c.old and c.new]
        assert modified.old is not None
        assert modified.old.keys() == {"ports", "external_ids"}
        assert modified.old["external_ids"] == {"x": "y"}
        assert visible[-1] == ["changed", "kept", "lost"]


async def test_restart_with_an_empty_database_deletes_everything(nb: Server) -> None:
    nbctl(nb, "ls-add", "a", "--", "ls-add", "b", "--", "lsp-add", "a", "p")
    db = database(nb.remote)
    async with running(db.run()):
        await db.synced.wait()
        batches = recorded(db)
        nb.stop()
        nb.file.unlink()
        (nb.directory / f".{nb.file.name}.~lock~").unlink(missing_ok=True)
        create(nb.file, NB_SCHEMA)
        nb.start()
        await eventually(lambda: db.generation == 2)
        assert [summary(b) for b in batches if b] == [{"inserted": [], "modified": [], "deleted": ["a", "b"]}]
        assert summary(next(b for b in batches if b), "Logical_Switch_Port")["deleted"] == ["p"]
        assert db.rows["Logical_Switch"] == db.rows["Logical_Switch_Port"] == {}


async def test_a_stopped_server_means_outcome_unknown_then_another_attempt(nb: Server) -> None:
    db = database(nb.remote, connect_timeout=0.5)
    async with running(db.run()):
        await db.synced.wait()
        nb.pause()
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            await db.transact(add("late"), timeout=0.3)
        assert time.monotonic() - started < 2
        await eventually(lambda: not db.synced.is_set())
        with pytest.raises(NotConnected):
            await db.transact(add("never"), timeout=0.3)
        nb.resume()
        await db.synced.wait()
        await eventually(lambda: names(db) == ["late"], "the stopped server executing what was in its socket")


async def test_the_reply_cut_off(nb: Server, short_tmp: Path) -> None:
    async with Proxy(short_tmp / "proxy", nb.socket) as proxy:
        db = database(proxy.remote)
        async with running(db.run()):
            await db.synced.wait()
            proxy.deliver_replies = False
            writing = asyncio.create_task(db.transact(add("unseen"), timeout=10))
            await eventually(lambda: "unseen" in nbctl(nb, "ls-list"))
            proxy.cut()
            with pytest.raises(OutcomeUnknown):
                await writing
            proxy.deliver_replies = True
            await db.synced.wait()
            assert names(db) == ["unseen"]


async def test_a_dead_peer_is_noticed_by_probes(nb: Server, short_tmp: Path) -> None:
    async with Proxy(short_tmp / "proxy", nb.socket) as proxy:
        db = database(proxy.remote, probe_interval=0.3)
        reasons: list[str] = []
        db.on_state(lambda state, remote, reason: reasons.append(f"{state} {reason}"))
        async with running(db.run()):
            await db.synced.wait()
            await asyncio.sleep(1.5)  # idle for several intervals: nothing may happen
            assert db.generation == 1
            proxy.deliver_replies = False
            await eventually(lambda: not db.synced.is_set())
            assert any("probe" in reason for reason in reasons)
            proxy.deliver_replies = True
            await db.synced.wait()


async def test_a_blocked_loop_does_not_end_the_connection(nb: Server) -> None:
    db = database(nb.remote, probe_interval=0.3)
    states: list[str] = []
    db.on_state(lambda state, remote, reason: states.append(f"{state} {reason}".strip()))
    async with running(db.run()):
        await db.synced.wait()
        for _ in range(5):
            await asyncio.sleep(0.35)  # a probe may be on its way
            time.sleep(1)  # noqa: ASYNC251 - the loop is what must stand still
        await db.transact(add("a"), timeout=10)
        assert states == ["connecting", "synced loaded"]


async def test_the_probes_of_the_server_are_answered(nb: Server) -> None:
    nb.stop()
    nb.extra = ["--remote=db:OVN_Northbound,NB_Global,connections"]
    nb.start()
    where = f"punix\\:{nb.directory}/probed.sock"
    nbctl(nb, "init")
    nbctl(nb, "--inactivity-probe=300", "set-connection", where.replace("\\", ""))
    await eventually(lambda: (nb.directory / "probed.sock").exists())
    db = database(f"unix:{nb.directory}/probed.sock", probe_interval=60)
    async with running(db.run()):
        await db.synced.wait()
        await asyncio.sleep(2.5)
        assert db.generation == 1
        assert db.synced.is_set()


async def test_remotes_that_do_not_answer_are_passed_over(nb: Server, short_tmp: Path) -> None:
    with socket.socket() as silent, socket.socket(socket.AF_UNIX) as mute:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        mute.bind(str(short_tmp / "mute"))
        mute.listen()
        dead = f"tcp:127.0.0.1:{free_port()}"
        slow = f"tcp:localhost:{silent.getsockname()[1]}"
        db = database(dead, slow, f"unix:{short_tmp}/mute", f"unix:{short_tmp}/none", nb.remote, connect_timeout=0.3)
        async with running(db.run()):
            async with asyncio.timeout(10):
                await db.synced.wait()
            assert db.remote == nb.remote


@pytest.mark.parametrize("junk", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b'{"id":1}', b"[]", b'{"method":5,"params":{}}'])
async def test_a_peer_that_is_no_ovsdb_server(nb: Server, short_tmp: Path, junk: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(junk)
        await reader.read(100)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(short_tmp / "junk"))
    async with server:
        db = database(f"unix:{short_tmp}/junk", nb.remote, connect_timeout=0.3)
        async with running(db.run()):
            async with asyncio.timeout(10):
                await db.synced.wait()


async def test_a_database_that_is_not_served_here(nb: Server) -> None:
    reasons: list[str] = []
    db = Database(name="OVN_Southbound", remotes=[nb.remote], columns={})
    db.on_state(lambda state, remote, reason: reasons.append(reason))
    async with running(db.run()):
        await eventually(lambda: any("not served" in reason for reason in reasons))
        assert not db.synced.is_set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:/run/ovn/ovnnb_db.sock", Remote("unix", "/run/ovn/ovnnb_db.sock")),
        ("tcp:10.0.0.1:6641", Remote("tcp", "10.0.0.1", 6641)),
        ("ssl:[fd00::1]:6641", Remote("ssl", "fd00::1", 6641)),
        ("tcp:ovn-nb.kube-system.svc:6641", Remote("tcp", "ovn-nb.kube-system.svc", 6641)),
        ("tcp:[::1]", Remote("tcp", "::1", 6640)),
    ],
)
def test_remotes(text: str, expected: Remote) -> None:
    assert Remote.parse(text) == expected


@pytest.mark.parametrize("text", ["", "tcp:", "http:x:1", "tcp:1.2.3.4:port", "unix:", "tcp:[]:1", "nothing"])
def test_remotes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="not an OVSDB remote"):
        Remote.parse(text)


async def test_tls_and_rotated_certificates(short_tmp: Path) -> None:
    first = make_certificates(short_tmp / "first", name="first")
    second = make_certificates(short_tmp / "second", name="second")
    used = short_tmp / "used"
    shutil.copytree(short_tmp / "first", used)
    port = free_port()
    options = [
        f"--remote=pssl:{port}:127.0.0.1",
        f"--private-key={used}/key.pem",
        f"--certificate={used}/cert.pem",
        f"--ca-cert={used}/ca.pem",
    ]
    server = Server.standalone(short_tmp, extra=options)
    client = short_tmp / "client"
    shutil.copytree(short_tmp / "first", client)
    files = TlsFiles(*(str(client / path.name) for path in first.values()))
    db = database(f"ssl:127.0.0.1:{port}", tls=files, connect_timeout=2)
    reasons: list[str] = []
    db.on_state(lambda state, remote, reason: reasons.append(reason))
    try:
        async with running(db.run()):
            async with asyncio.timeout(10):
                await db.synced.wait()
            nbctl(server, "ls-add", "a", *(w for n in range(3000) for w in ("--", "lsp-add", "a", f"port-{n:040}")))
            await eventually(lambda: len(db.rows["Logical_Switch_Port"]) == 3000, "an update of many TLS records")
            server.stop()
            for name in ("key.pem", "cert.pem", "ca.pem"):
                shutil.copy(short_tmp / "second" / name, used / name)
            server.start()
            await eventually(lambda: any("CERTIFICATE_VERIFY_FAILED" in reason for reason in reasons))
            assert not db.synced.is_set()
            for path in second.values():
                shutil.copy(path, client / path.name)
            async with asyncio.timeout(15):
                await db.synced.wait()
            assert len(db.rows["Logical_Switch_Port"]) == 3000
    finally:
        server.kill()


async def test_a_schema_upgrade_while_connected(nb: Server, short_tmp: Path) -> None:
    import json
    import subprocess

    nbctl(nb, "ls-add", "a")
    db = database(nb.remote)
    states: list[str] = []
    db.on_state(lambda state, remote, reason: states.append(f"{state} {reason}".strip()))
    seen: list[str] = []
    db.subscribe(lambda changes: seen.append(db.schema.version if db.schema else ""))
    async with running(db.run()):
        await db.synced.wait()
        nb.stop()
        before = db.schema
        nb.start()
        await eventually(lambda: db.generation == 2 and db.synced.is_set())
        assert db.schema is before
        schema = json.loads(NB_SCHEMA.read_text())
        schema["version"] = "99.0.0"
        schema["tables"]["Logical_Switch_Port"]["columns"]["no_such_column"] = {"type": "string"}
        (short_tmp / "newer").write_text(json.dumps(schema))
        subprocess.run(["ovsdb-client", "convert", nb.remote, str(short_tmp / "newer")], check=True)
        await eventually(lambda: db.schema is not None and db.schema.version == "99.0.0" and db.synced.is_set())
        assert db.schema is not None
        assert db.schema.has_column("Logical_Switch_Port", "no_such_column")
        nbctl(nb, "lsp-add", "a", "p")
        await eventually(lambda: db.rows["Logical_Switch_Port"])
        (row,) = db.rows["Logical_Switch_Port"].values()
        assert row["no_such_column"] == ""
        assert names(db) == ["a"]
        assert [s for s in states if s.startswith("schema changed")] == [
            f"schema changed {json.loads(NB_SCHEMA.read_text())['version']} to 99.0.0"
        ]
        assert seen[-1] == "99.0.0"


async def test_a_large_load_leaves_the_event_loop_free(nb: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 ports. The parse of the dump is one step; what we do with it is sliced."""
    ports = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(20_000)]
    writer = database(nb.remote)
    async with running(writer.run()):
        await writer.synced.wait()
        rows = [
            {
                "op": "insert",
                "table": "Logical_Switch_Port",
                "uuid": u,
                "row": {"name": u, "external_ids": ["map", [["a", u]]]},
            }
            for u in ports
        ]
        refs = ["set", [["uuid", u] for u in ports]]
        switch = {"op": "insert", "table": "Logical_Switch", "row": {"name": "ls", "ports": refs}}
        await writer.transact([*rows, switch], timeout=60)
    decoded = 0
    turns: list[int] = []
    decode = tables._Codec.row

    def counted(codec: Any, values: dict[str, Any]) -> Any:
        nonlocal decoded
        decoded += 1
        return decode(codec, values)

    async def watch() -> None:
        while True:
            before = decoded
            await asyncio.sleep(0)
            turns.append(decoded - before)

    monkeypatch.setattr(tables._Codec, "row", counted)
    db = database(nb.remote)
    watching = asyncio.create_task(watch())
    async with running(db.run()):
        async with asyncio.timeout(60):
            await db.synced.wait()
        watching.cancel()
        assert len(db.rows["Logical_Switch_Port"]) == 20_000
        assert gc.isenabled()
        assert sum(turns) == decoded > 20_000
        assert max(turns) <= 1000
    gc.unfreeze()
    with contextlib.suppress(asyncio.CancelledError):
        await watching

"""Servers that drop us, answer nonsense, or cannot be reached: what is logged, and how often it is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.errors import OutcomeUnknown
from ovnbridge.ovsdb.framing import Framer
from ovnbridge.ovsdb.tables import Changes
from ovnbridge.ovsdb.transport import TlsFiles
from tests.ovsdb.test_client import add, database, names
from tests.support.ovsdb import SB_SCHEMA, Server, eventually, free_port, make_certificates, nbctl, running
from tests.support.relay import Proxy

Message = dict[str, Any]


def told(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[tuple[str, str]]:
    """State and reason of every line about a connection that is at least so loud."""
    lines = [r for r in caplog.records if r.message == "ovsdb_connection" and r.levelno >= level]
    return [(line.state, line.reason) for line in lines]  # type: ignore[attr-defined]


# -- what is logged


async def test_a_failure_is_told_once_as_long_as_it_stays_the_same(
    nb: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four tries, two remotes: a line for each remote, not for each try; a recovery, and then it is told again."""
    monkeypatch.setattr("ovnbridge.ovsdb.client._LAST_DELAY", 0.01)
    caplog.set_level(logging.DEBUG, "ovnbridge.ovsdb")
    nb.stop()
    db = database(nb.remote, f"tcp:127.0.0.1:{free_port()}")
    failures: list[str] = []
    db.on_state(lambda state, remote, reason: failures.append(remote) if state == "failed" else None)

    async def four_tries() -> None:
        failures.clear()
        await eventually(lambda: len(failures) >= 8)

    async with running(db.run()):
        await four_tries()
        assert [state for state, _ in told(caplog)] == ["failed"] * 2
        nb.start()
        await eventually(db.synced.is_set)
        nb.stop()
        await eventually(lambda: not db.synced.is_set())
        await four_tries()
    states = [state for state, _ in told(caplog)]
    assert states == ["failed", "failed", "synced", "disconnected", "failed", "failed"]


async def test_a_failure_that_goes_on_is_told_again(
    nb: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovnbridge.ovsdb.client._LAST_DELAY", 0.01)
    monkeypatch.setattr("ovnbridge.ovsdb.client._SAY_AGAIN", 0.1)
    nb.stop()
    async with running(database(nb.remote).run()):
        await eventually(lambda: len(told(caplog, logging.WARNING)) >= 3)


async def test_a_wrong_database_is_named(short_tmp: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = Server.standalone(short_tmp, SB_SCHEMA)
    try:
        async with running(database(server.remote).run()):
            await eventually(lambda: told(caplog, logging.WARNING))
    finally:
        server.kill()
    assert told(caplog) == [("disconnected", "database not served here, but OVN_Southbound")]


@pytest.mark.parametrize("missing", ["private_key", "certificate", "ca_certificate"])
async def test_the_tls_file_that_is_missing_is_named(
    short_tmp: Path, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    files = {name: str(path) for name, path in make_certificates(short_tmp / "tls").items()}
    Path(files[missing]).unlink()
    async with running(database(f"ssl:127.0.0.1:{free_port()}", tls=TlsFiles(**files)).run()):
        await eventually(lambda: told(caplog, logging.WARNING))
    ((state, reason),) = told(caplog)
    assert state == "failed"
    assert files[missing] in reason
    assert "No such file" in reason


async def test_an_encrypted_key_is_an_error_and_no_question(short_tmp: Path, caplog: pytest.LogCaptureFixture) -> None:
    import subprocess

    files = {name: str(path) for name, path in make_certificates(short_tmp / "tls").items()}
    encrypted = str(short_tmp / "encrypted.pem")
    command = ["openssl", "pkey", "-in", files["private_key"], "-out", encrypted, "-aes256", "-passout", "pass:secret"]
    subprocess.run(command, check=True, capture_output=True)
    tls = TlsFiles(encrypted, files["certificate"], files["ca_certificate"])
    async with running(database(f"ssl:127.0.0.1:{free_port()}", tls=tls).run()):
        await eventually(lambda: told(caplog, logging.WARNING))
    assert encrypted in told(caplog)[0][1]


# -- how often it is tried again


async def test_a_server_that_takes_us_in_and_drops_us_is_not_loaded_from_at_that_rate(
    nb: Server, short_tmp: Path
) -> None:
    async with Proxy(short_tmp / "proxy", nb.socket) as proxy:
        db = database(proxy.remote)
        loop = asyncio.get_running_loop()
        gaps: list[float] = []
        since = loop.time()

        def seen(state: str, remote: str, reason: str) -> None:
            nonlocal since
            if state == "connecting":
                gaps.append(loop.time() - since)
            elif state == "synced":
                loop.call_soon(proxy.cut)
            elif state == "disconnected":
                since = loop.time()

        db.on_state(seen)
        async with running(db.run()):
            await eventually(lambda: len(gaps) >= 6)
    # 0.1, 0.2, … 1.6 s, or half of it: never less, however slow the machine is.
    assert all(gap >= 0.1 * 2**number / 2 for number, gap in enumerate(gaps[1:6])), gaps


# -- nonsense


class Meddler:
    """Between client and server: may exchange what the server sends."""

    def __init__(self, nb: Server, socket: Path) -> None:
        self.remote = f"unix:{socket}"
        self.meddle: Callable[[str, Message], Message] = lambda method, message: message
        self._nb = nb
        self._socket = socket

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Meddler]:
        async with await asyncio.start_unix_server(self._serve, str(self._socket)):
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, towards = await asyncio.open_unix_connection(str(self._nb.socket))
        asked: dict[Any, str] = {}

        async def requests() -> None:
            framer = Framer()
            while data := await reader.read(1 << 16):
                for message in framer.feed(data):
                    asked[message["id"]] = message["method"]
                towards.write(data)

        async def replies() -> None:
            framer = Framer()
            while data := await upstream.read(1 << 16):
                for message in framer.feed(data):
                    method = message.get("method") or asked[message["id"]]
                    writer.write(orjson.dumps(self.meddle(method, message)))

        with contextlib.suppress(OSError):
            await asyncio.wait(
                [asyncio.create_task(requests()), asyncio.create_task(replies())], return_when=asyncio.FIRST_COMPLETED
            )
        for end in (writer, towards):
            end.transport.abort()


ROWS = ["OVN_Northbound", "rows"]


@pytest.mark.parametrize(
    ("method", "instead"),
    [
        ("get_schema", {"result": None}),
        ("get_schema", {"result": {"name": "x", "tables": {"T": {"columns": 5}}}}),
        ("monitor_cond", {"result": 5}),
        ("monitor_cond_since", {"result": None}),
        ("monitor_cond_since", {"result": [False, "t", {"Nothing": {"u": {"initial": {}}}}]}),
        ("monitor_cond_since", {"result": [False, "t", {"Logical_Switch": {"u": {"initial": {"nothing": 1}}}}]}),
        ("monitor_cond_since", {"result": [False, "t", {"Logical_Switch": {"u": {"initial": {"ports": 7}}}}]}),
        ("monitor_cond_since", {"result": [True, "t", {"Logical_Switch": []}]}),
        ("update3", {"params": [ROWS, "t", {"Logical_Switch": {"u": {"modify": {"name": "x"}}}}]}),
        ("update3", {"params": [ROWS, "t", {"Logical_Switch": {"u": {}}}]}),
        ("update3", {"params": [ROWS, "t", {"Logical_Switch": {"u": {"insert": {"external_ids": ["map", [1]]}}}}]}),
        ("update3", {"params": [ROWS, "t", {"Logical_Switch": {"u": {"insert": {"name": "x"}}, "v": {}}}]}),
        ("update3", {"params": [ROWS, "t", 5]}),
    ],
)
async def test_nonsense_ends_the_connection_and_not_the_process(
    nb: Server, short_tmp: Path, method: str, instead: Message
) -> None:
    nbctl(nb, "ls-add", "a")
    async with Meddler(nb, short_tmp / "between").serve() as between:
        db = database(between.remote)
        states: list[str] = []
        db.on_state(lambda state, remote, reason: states.append(f"{state} {reason}"))
        heard: dict[str, Any] = {}

        def hear(changes: Changes) -> None:
            for uuid, change in changes.get("Logical_Switch", {}).items():
                assert (change.old is None) == (uuid not in heard), "what is told is not the difference"
                heard[uuid] = change.new
                if change.new is None:
                    del heard[uuid]

        db.subscribe(hear)
        async with running(db.run()) as (task,):
            if method == "update3":
                await db.synced.wait()
            between.meddle = lambda kind, message: {**message, **instead} if kind == method else message
            if method == "update3":
                nbctl(nb, "ls-add", "b")
            await eventually(lambda: task.done() or any(state.startswith("disconnected") for state in states))
            assert not task.done()
            between.meddle = lambda kind, message: message
            await eventually(lambda: task.done() or db.synced.is_set())
            assert names(db) == (["a", "b"] if method == "update3" else ["a"])
            assert heard == db.rows["Logical_Switch"]


async def test_a_reply_to_a_transaction_that_is_nonsense_says_nothing_about_it(nb: Server, short_tmp: Path) -> None:
    async with Meddler(nb, short_tmp / "between").serve() as between:
        db: Database = database(between.remote)
        async with running(db.run()):
            await db.synced.wait()
            between.meddle = lambda kind, message: {**message, "result": {}} if kind == "transact" else message
            with pytest.raises(OutcomeUnknown):
                await db.transact(add("there"), timeout=5)
            assert names(db) == ["there"]

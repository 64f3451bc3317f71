"""The clock of a term: once it cannot be proven that we lead, neither edge sends a write (`roles/term.py`)."""

from __future__ import annotations

from typing import Any, cast

import aiohttp
import pytest

from ovnbridge.kube.connection import ApiError, Connection
from ovnbridge.kube.lease import Leadership
from ovnbridge.lab.api import ApiServer
from ovnbridge.ovsdb.errors import Deposed
from ovnbridge.roles.term import TermConnection, TermFence


class Sent:
    """Stands for the process's connection."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    async def request(self, method: str, path: str, **_: Any) -> bytes:
        self.methods.append(method)
        return b"{}"


class Clock:
    now = 0.0


def term(clock: Clock, deadline: float) -> Leadership:
    return Leadership("1-first", lambda: deadline, lambda: clock.now)


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
async def test_no_write_to_kubernetes_after_the_term(method: str) -> None:
    clock, sent = Clock(), Sent()
    connection = TermConnection(cast(Connection, sent), term(clock, 20))
    assert await connection.request(method, "/x") == b"{}"
    clock.now = 20.0
    with pytest.raises(ApiError, match="over"):
        await connection.request(method, "/x")
    assert sent.methods == [method]
    await connection.request("GET", "/x")


@pytest.mark.parametrize("paused", ["_create_connection", "send"])
async def test_nothing_is_sent_by_a_process_that_was_paused_in_the_midst_of_a_request(
    monkeypatch: pytest.MonkeyPatch, paused: str
) -> None:
    """It goes on with the request when it wakes up: while connecting, or between that and writing."""
    clock, server = Clock(), ApiServer()
    await server.start()
    shared = await Connection.open(kubeconfig=server.kubeconfig())
    place = shared._session.connector if paused == "_create_connection" else aiohttp.ClientRequest
    go_on = getattr(place, paused)

    async def slowly(*arguments: Any) -> Any:
        done = await go_on(*arguments)
        clock.now = 20.0
        return done

    try:
        connection = TermConnection(shared, term(clock, 20))
        body = b'{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "late"}}'
        with monkeypatch.context() as patched:
            patched.setattr(place, paused, slowly)
            with pytest.raises(ApiError, match="over"):
                await connection.request("POST", "/api/v1/namespaces", body=body)
            await connection.request("GET", "/api/v1/namespaces")
        assert ("POST", "core/namespaces") not in server.requests
        clock.now = 0.0
        await connection.request("POST", "/api/v1/namespaces", body=body)
        assert server.requests["POST", "core/namespaces"] == 1
    finally:
        await shared.close()
        await server.stop()


def test_no_transaction_after_the_term() -> None:
    clock = Clock()
    fence = TermFence(term(clock, 20))
    rows = {"u": {"external_ids": {}}}
    fence.begin(rows)
    fence.check(rows)
    clock.now = 20.0
    with pytest.raises(Deposed):
        fence.check(rows)

"""The clock of a term: once it cannot be proven that we lead, neither edge sends a write (`roles/term.py`)."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ovnbridge.kube.connection import ApiError, Connection
from ovnbridge.kube.lease import Leadership
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


def test_no_transaction_after_the_term() -> None:
    clock = Clock()
    fence = TermFence(term(clock, 20))
    rows = {"u": {"external_ids": {}}}
    fence.begin(rows)
    fence.check(rows)
    clock.now = 20.0
    with pytest.raises(Deposed):
        fence.check(rows)

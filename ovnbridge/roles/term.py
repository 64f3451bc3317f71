"""What writes during one term of leadership: nothing is sent once leadership cannot be proven any more (spec E.5).

The elector cancels the writers when a term ends. A process that slept through the end of its term (paused, or its
machine suspended) would run them for a moment more before it notices, so both edges look at the clock before each
write. For OVN the database has the last word (`ovsdb/fence.py`); Kubernetes has only this and the objects' versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovnbridge.kube.connection import JSON, ApiError, Connection, Params, before_sending
from ovnbridge.kube.lease import Leadership
from ovnbridge.ovsdb.errors import Deposed
from ovnbridge.ovsdb.fence import NORTHBOUND_TABLE, Fence


class TermFence(Fence):
    """The fence of a term, which also knows when the term is over."""

    def __init__(self, leadership: Leadership, table: str = NORTHBOUND_TABLE) -> None:
        super().__init__(leadership.epoch, table)
        self._leadership = leadership

    def check(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """See `Fence.check`; raises Deposed too when leadership cannot be proven at this moment."""
        if not self._leadership.valid():
            raise Deposed("the time until which we lead is over")
        super().check(rows)


class TermConnection(Connection):
    """The process's Kubernetes connection, for requests of one term; does not own it."""

    def __init__(self, connection: Connection, leadership: Leadership) -> None:
        self._shared = connection
        self._leadership = leadership

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        timeout: float | None = None,
    ) -> bytes:
        """See `Connection.request`; raises ApiError without sending anything after the term."""
        if method == "GET":
            return await self._shared.request(method, path, params=params, timeout=timeout)
        self._check()
        token = before_sending.set(self._check)
        try:
            return await self._shared.request(
                method, path, params=params, body=body, content_type=content_type, timeout=timeout
            )
        finally:
            before_sending.reset(token)

    def _check(self) -> None:
        if not self._leadership.valid():
            raise ApiError(0, "Deposed", "the time until which we lead is over")

"""Which server we talk to: the `_Server` database's row about ours, and whether that server will do.

Used by `client.py` between connecting and monitoring, and afterwards whenever the row changes: in a raft cluster only
the leader is written to, and a server that fell out of the cluster or lags behind what we have seen is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

COLUMNS = ("name", "model", "connected", "leader", "schema", "cid", "sid", "index")


class ServerRow(msgspec.Struct, frozen=True):
    """`_Server` Database row (ovsdb-server(5))."""

    name: str = ""
    model: str = "standalone"
    connected: bool = True
    leader: bool = True
    schema: str | None = None
    cid: str | None = None
    sid: str | None = None
    index: int = 0

    @property
    def clustered(self) -> bool:
        return self.model == "clustered"


def find(rows: Mapping[str, Mapping[str, Any]], database: str) -> ServerRow | None:
    """The row of `database` among the replicated `_Server` rows."""
    for row in rows.values():
        if row["name"] == database:
            known = {name: row[name] for name in COLUMNS if row.get(name) is not None}
            index = known.get("index")
            return ServerRow(**{**known, "index": index or 0})
    return None


def not_served(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a server without a row of the wanted database must not be used; names those that it has."""
    others = sorted(row["name"] for row in rows.values() if not row["name"].startswith("_"))
    return f"database not served here, but {', '.join(others) or 'none'}"


def refusal(row: ServerRow, *, leader_only: bool, least_index: int, cluster: str | None) -> str | None:
    """Why this server must not be used, or None."""
    if not row.connected:
        return "server is not connected to its cluster"
    if not row.clustered:
        return None
    if leader_only and not row.leader:
        return "server is not the leader"
    if cluster is not None and row.cid == cluster and row.index < least_index:
        return f"server is stale (index {row.index} < {least_index})"
    return None

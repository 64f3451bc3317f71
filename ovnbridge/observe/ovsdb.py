"""Connections and transactions of an OVSDB database as metrics, observed as they happen; for the rest see
`observe/figures.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ovnbridge.observe.metrics import Metrics

_CAUSES: Final = (
    ("not the leader", "not_leader"),
    ("not connected to its cluster", "no_quorum"),
    ("stale", "stale"),
    ("schema changed", "schema"),
    ("no answer to a probe", "probe"),
    ("no reply to a transaction", "deadline"),
    ("handshake", "handshake"),
    ("not served", "not_served"),
    ("cancelled our monitor", "cancelled"),
    ("CERTIFICATE", "tls"),
    ("TLS file", "tls"),
    ("SSL", "tls"),
    ("closed", "closed"),
    ("ConnectionReset", "closed"),
    ("BrokenPipe", "closed"),
)
"""Text in a reason → value of the label `cause`; anything else is `other`, or `unreachable` before a connection."""
_BATCHES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def cause(state: str, reason: str) -> str:
    """The label value for a lost or failed connection."""
    for text, name in _CAUSES:
        if text in reason:
            return name
    return "unreachable" if state == "failed" else "other"


def connection_observer(metrics: Metrics, database: str) -> Callable[[str, str, str], None]:
    """For `Database.on_state`: counts losses and failures by cause, synchronisations by kind, changes of the schema."""
    labels = {"database": database}

    def observe(state: str, remote: str, reason: str) -> None:
        if state in ("disconnected", "failed"):
            doc = "Connections lost, refused or failed, by cause"
            metrics.count("ovnbridge_ovsdb_disconnects_total", doc, {**labels, "cause": cause(state, reason)})
        elif state == "synced":
            doc = "Synchronisations: whole (loaded) or from the last transaction (resumed)"
            metrics.count("ovnbridge_ovsdb_syncs_total", doc, {**labels, "kind": reason})
        elif state == "schema changed":
            metrics.count("ovnbridge_ovsdb_schema_changes_total", "Changes of the server's schema", labels)

    return observe


def transaction_observer(metrics: Metrics, database: str) -> Callable[[int, float], None]:
    """For `Committer.on_transaction`: sizes and latencies of what was committed."""
    labels = {"database": database}

    def observe(rows: int, seconds: float) -> None:
        doc = "Rows in a transaction"
        metrics.observe("ovnbridge_committer_batch_rows", doc, rows, labels, _BATCHES)
        metrics.observe("ovnbridge_committer_commit_seconds", "From sending to the reply", seconds, labels)

    return observe

"""Metrics of a replicated OVSDB database and of its committer.

Used by the roles: `export_database` once per `ovsdb.client.Database`, `export_committer` once per
`ovsdb.committer.Committer`. Either returns a function for `HealthServer.before_scrape`, which brings what is only
sampled (queues, rows, counters) up to date; histograms are filled as things happen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from typing import Any, Final, Protocol

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
    ("SSL", "tls"),
    ("closed", "closed"),
    ("ConnectionReset", "closed"),
    ("BrokenPipe", "closed"),
)
"""Text in a reason → value of the label `cause`; anything else is `other`, or `unreachable` before a connection."""
_BATCHES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_COMMITTED: Final = (
    ("transactions", "transactions sent"),
    ("operations", "operations in transactions sent"),
    ("items", "rows in transactions sent"),
    ("conflicts", "rows that were compared again since somebody else had changed them meanwhile"),
    ("bisects", "refused transactions that were divided"),
    ("retries", "transactions repeated since their outcome was unknown or the server had trouble"),
    ("bad_rows", "refusals of single rows"),
)


class ObservedDatabase(Protocol):
    """What is looked at of a `Database`."""

    name: str
    rows: dict[str, dict[str, dict[str, Any]]]

    @property
    def connected(self) -> bool:
        """Whether the rows are complete and up to date."""

    def on_state(self, listener: Callable[[str, str, str], None], /) -> None:
        """Call `listener(state, remote, reason)` at every change of the connection's state."""


class ObservedSetbacks(Protocol):
    """What is looked at of a committer's setbacks."""

    @property
    def refused(self) -> Sized:
        """Rows that the database refuses."""

    @property
    def waiting(self) -> Sized:
        """Rows that wait for others."""


class ObservedCommitter(Protocol):
    """What is looked at of a `Committer`; `stats` has an integer attribute for each of the counters."""

    @property
    def stats(self) -> Any:
        """Counters since the start."""

    @property
    def queued(self) -> int:
        """Rows to be compared."""

    @property
    def setbacks(self) -> ObservedSetbacks:
        """Rows that cannot be committed at present."""

    def on_transaction(self, listener: Callable[[int, float], None], /) -> None:
        """Call `listener(rows, seconds)` after each transaction that was committed."""


def cause(state: str, reason: str) -> str:
    """The label value for a lost or failed connection."""
    for text, name in _CAUSES:
        if text in reason:
            return name
    return "unreachable" if state == "failed" else "other"


def export_database(metrics: Metrics, database: ObservedDatabase) -> Callable[[], None]:
    """Count reconnects by cause and synchronisations by kind; show whether there is a connection, and the rows."""
    labels = {"database": database.name}

    def changed(state: str, remote: str, reason: str) -> None:
        if state in ("disconnected", "failed"):
            doc = "Connections lost, refused or failed, by cause"
            metrics.count("ovnbridge_ovsdb_disconnects_total", doc, {**labels, "cause": cause(state, reason)})
        elif state == "synced":
            doc = "Synchronisations: whole (loaded) or from the last transaction (resumed)"
            metrics.count("ovnbridge_ovsdb_syncs_total", doc, {**labels, "kind": reason})
        elif state == "schema changed":
            metrics.count("ovnbridge_ovsdb_schema_changes_total", "Changes of the server's schema", labels)

    def refresh() -> None:
        doc = "Whether the replica is complete and up to date"
        metrics.gauge("ovnbridge_ovsdb_connected", doc, int(database.connected), labels)
        for table, rows in database.rows.items():
            metrics.gauge("ovnbridge_ovsdb_replica_rows", "Replicated rows", len(rows), {**labels, "table": table})

    database.on_state(changed)
    return refresh


def export_committer(metrics: Metrics, database: str, committer: ObservedCommitter) -> Callable[[], None]:
    """Show the queue and the rows that cannot be committed, count what was done, measure batches and their latency."""
    labels = {"database": database}
    counted: dict[str, int] = dict.fromkeys((name for name, _ in _COMMITTED), 0)

    def committed(rows: int, seconds: float) -> None:
        doc = "Rows in a transaction"
        metrics.observe("ovnbridge_committer_batch_rows", doc, rows, labels, _BATCHES)
        metrics.observe("ovnbridge_committer_commit_seconds", "From sending to the reply", seconds, labels)

    def refresh() -> None:
        gauges: Mapping[str, tuple[str, int]] = {
            "queue": ("Rows to be compared", committer.queued),
            "refused_rows": ("Rows that the database refuses at present", len(committer.setbacks.refused)),
            "waiting_rows": ("Rows that wait for rows that do not exist", len(committer.setbacks.waiting)),
        }
        for name, (doc, value) in gauges.items():
            metrics.gauge(f"ovnbridge_committer_{name}", doc, value, labels)
        for name, doc in _COMMITTED:
            value = getattr(committer.stats, name)
            metrics.count(f"ovnbridge_committer_{name}_total", doc.capitalize(), labels, value - counted[name])
            counted[name] = value

    committer.on_transaction(committed)
    return refresh

"""What the OVSDB edge tells about itself, read when a /metrics page is asked for (`observe/figures.py`)."""

from __future__ import annotations

from collections.abc import Iterator

from ovnbridge.observe.figures import Figure
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.committer import Committer

_PREFIX = "ovnbridge_committer"


def figures(database: Database, committer: Committer | None = None) -> Iterator[Figure]:
    """The replicated database's and, while there is one, its committer's figures."""
    labels = {"database": database.name}
    doc = "Whether the replica is complete and up to date"
    yield Figure("ovnbridge_ovsdb_connected", doc, int(database.connected), labels)
    for table, rows in database.rows.items():
        yield Figure("ovnbridge_ovsdb_replica_rows", "Replicated rows", len(rows), {**labels, "table": table})
    if committer is None:
        return
    for name, doc, value in (
        ("queue", "Rows to be compared", committer.queued),
        ("refused_rows", "Rows that the database refuses at present", len(committer.setbacks.refused)),
        ("waiting_rows", "Rows that wait for rows that do not exist", len(committer.setbacks.waiting)),
    ):
        yield Figure(f"{_PREFIX}_{name}", doc, value, labels)
    stats = committer.stats
    for name, doc, value in (
        ("transactions", "Transactions sent", stats.transactions),
        ("operations", "Operations in transactions sent", stats.operations),
        ("items", "Rows in transactions sent", stats.items),
        ("conflicts", "Rows compared again since somebody else had changed them meanwhile", stats.conflicts),
        ("bisects", "Refused transactions that were divided", stats.bisects),
        ("retries", "Transactions repeated: outcome unknown, or trouble of the server", stats.retries),
        ("bad_rows", "Refusals of single rows", stats.bad_rows),
    ):
        yield Figure(f"{_PREFIX}_{name}_total", doc, value, labels, total=True)

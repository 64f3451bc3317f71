"""A server whose schema is upgraded while the controller runs (`ovsdb-client convert`)."""

from __future__ import annotations

from ovnbridge.engine.diff import Update
from tests.support.cluster import Cluster, node
from tests.support.memory import MemoryDatabase, schema

COLUMN = "Load_Balancer.options"


def test_columns_that_a_new_schema_has_are_written() -> None:
    database = MemoryDatabase(schema([COLUMN]))
    cluster = Cluster(database=database)
    cluster.apply(node("n1")).run()
    assert all("options" not in row for row in database.content["Load_Balancer"].values())
    complete = Cluster()
    complete.apply(node("n1")).run()
    expected = {r["name"]: r["options"] for r in complete.database.content["Load_Balancer"].values()}
    assert any(expected.values())

    for row in database.rows["Load_Balancer"].values():
        row["options"] = {}
    database.schema = schema()
    for listener in database._listeners:
        listener({})  # the load after the change brought nothing else
    written = [change for change in cluster.run() if isinstance(change, Update) and change.table == "Load_Balancer"]
    assert {change.key: change.columns["options"] for change in written} == expected

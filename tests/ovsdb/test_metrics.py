"""The metrics of a database and its committer, read as Prometheus reads them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ovnbridge.observe.figures import expose
from ovnbridge.observe.metrics import Metrics
from ovnbridge.observe.ovsdb import cause, connection_observer, transaction_observer
from ovnbridge.ovsdb.figures import figures
from tests.ovsdb.world import World, port, switch
from tests.support.ovsdb import Server, eventually


def samples(metrics: Metrics) -> dict[str, float]:
    """name{labels except the database} → value."""
    found = {}
    for family in text_string_to_metric_families(metrics.page()[0].decode()):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()) if k != "database")
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


async def test_what_a_role_exposes(nb: Server) -> None:
    metrics = Metrics()
    with_metrics = World([nb.remote])
    with_metrics.database.on_state(connection_observer(metrics, "OVN_Northbound"))
    with_metrics.committer.on_transaction(transaction_observer(metrics, "OVN_Northbound"))
    refresh = expose(metrics, lambda: figures(with_metrics.database, with_metrics.committer))
    async with with_metrics.up() as world:
        world.want("ls", switch("ls1"))
        world.want("orphan", port("o", "no such switch"))
        for number in range(40):
            world.want(f"pod{number}", port(f"p{number}", "ls1", **({"tag": -5} if number == 7 else {})))
        await world.committer.settled()
        for _ in range(2):  # counters count once
            refresh()
        found = samples(metrics)
        assert found["ovnbridge_ovsdb_connected{}"] == 1
        assert found["ovnbridge_ovsdb_syncs_total{kind=loaded}"] == 1
        assert found["ovnbridge_ovsdb_replica_rows{table=Logical_Switch_Port}"] == 39
        assert found["ovnbridge_committer_queue{}"] == 0
        assert found["ovnbridge_committer_refused_rows{}"] == 1
        assert found["ovnbridge_committer_waiting_rows{}"] == 1
        assert found["ovnbridge_committer_bad_rows_total{}"] == 1
        assert found["ovnbridge_committer_bisects_total{}"] >= 1
        committed = found["ovnbridge_committer_batch_rows_count{}"]
        assert found["ovnbridge_committer_batch_rows_sum{}"] == 40
        assert found["ovnbridge_committer_commit_seconds_count{}"] == committed
        assert found["ovnbridge_committer_transactions_total{}"] > committed  # some were refused
        nb.stop()
        await eventually(lambda: not world.database.connected)
        refresh()
        found = samples(metrics)
        assert found["ovnbridge_ovsdb_connected{}"] == 0
        assert found["ovnbridge_ovsdb_disconnects_total{cause=closed}"] == 1
        nb.start()
        await eventually(lambda: world.database.connected)


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("failed", "ConnectionRefusedError: [Errno 111] Connect call failed", "unreachable"),
        ("failed", "SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]", "tls"),
        ("disconnected", "server is not the leader", "not_leader"),
        ("disconnected", "no answer to a probe for 5 s", "probe"),
        ("disconnected", "unheard of", "other"),
    ],
)
def test_causes(state: str, reason: str, expected: str) -> None:
    assert cause(state, reason) == expected

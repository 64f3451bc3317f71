"""The committer against the raw ceiling: ports inserted a second into a switch that has many already.

The raw client sends transactions of 100 ports that were written out beforehand, while nobody monitors the database
(`monitored_ratio`: while it is told of all ports itself, as whoever keeps a replica is); the committer starts from
desired rows and has its replica to keep. All add the same number of ports to the same database, in turns, and they are
taken away again in between.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from bench import floor
from bench.generate import SUBNET, Cluster, address, mac, owner
from bench.ovsdb import Ovsdb, connect
from bench.processes import Machine
from bench.report import Figure
from bench.settings import Settings
from ovnbridge.engine.desired import DesiredStore, UnitKey
from ovnbridge.engine.diff import Differ
from ovnbridge.engine.items import Row
from ovnbridge.model.ovn import NORTHBOUND, Ref
from ovnbridge.observe.loop import settle_garbage_collector
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.committer import Committer
from ovnbridge.ovsdb.replica import Replica

TARGETS = {10_000: 0.8, 50_000: 0.6}
BATCH, WINDOW = 100, 4
ROUNDS = 4
"""The best of each counts: what the least disturbed machine allows."""
Port = tuple[str, str, str]


async def run(settings: Settings, directory: Path) -> list[Figure]:
    """All sizes."""
    sizes = settings.sizes_wanted or ((1000,) if settings.small else (10_000, 50_000))
    figures: list[Figure] = []
    for existing in sizes:
        place = directory / str(existing)
        place.mkdir()
        figures += await _compare(place, existing, 2000 if settings.small else 10_000, settings.seed)
    return figures


async def _compare(directory: Path, existing: int, fresh: int, seed: int) -> list[Figure]:
    cluster = Cluster(pods=existing + fresh, seed=seed)
    ports = [(owner(cluster, index), mac(cluster, index), address(index)) for index in range(existing + fresh)]
    base, added = ports[:existing], ports[existing:]
    machine = Machine()
    async with Ovsdb(directory) as nb:
        async with connect(nb) as raw:
            await raw.transact({"op": "insert", "table": "Logical_Switch", "row": {"name": SUBNET}})
        for begin in range(0, existing, 2000):
            await floor.insert_rate(nb, SUBNET, base[begin : begin + 2000], 1000, 1)
        ceilings: list[float] = []
        monitored: list[float] = []
        rates: list[float] = []
        costs: list[float] = []
        for _ in range(ROUNDS):
            for found, monitor in ((ceilings, False), (monitored, True)):
                found.append(await floor.insert_rate(nb, SUBNET, added, BATCH, WINDOW, monitor=monitor))
                await _remove(nb, added)
            rate, cost = await _committed(nb, base, added)
            rates.append(rate)
            costs.append(cost)
            await _remove(nb, added)
    name = f"committer_{existing // 1000}k"
    ceiling, rate = max(ceilings), max(rates)
    return [
        Figure(name=f"{name}_ports_per_s", value=rate, unit="ports/s", floor=ceiling),
        Figure(
            name=f"committer_ratio_{existing // 1000}k",
            value=rate / ceiling,
            unit="of raw",
            least=TARGETS.get(existing),
        ),
        Figure(name=f"{name}_monitored_ratio", value=rate / max(monitored), unit="of raw with a monitor"),
        Figure(name=f"{name}_cpu_us_per_port", value=min(costs), unit="us"),
        Figure(name=f"{name}_foreign_cpu", value=machine.foreign(), unit="of machine"),
    ]


async def _remove(nb: Ovsdb, ports: list[Port]) -> None:
    """Take ports out of the switch, which makes them go."""
    async with connect(nb) as raw:
        for begin in range(0, len(ports), 1000):
            names = [name for name, _, _ in ports[begin : begin + 1000]]
            (found,) = await raw.transact(
                {"op": "select", "table": "Logical_Switch_Port", "where": [], "columns": ["_uuid", "name"]}
            )
            wanted = set(names)
            uuids = [row["_uuid"] for row in found["rows"] if row["name"] in wanted]
            await raw.transact(
                {
                    "op": "mutate",
                    "table": "Logical_Switch",
                    "where": [["name", "==", SUBNET]],
                    "mutations": [["ports", "delete", ["set", uuids]]],
                }
            )


def _row(port: Port) -> Row:
    name, hardware, text = port
    pod, _, namespace = name.rpartition(".")
    return Row(
        "Logical_Switch_Port",
        name,
        {
            "name": name,
            "addresses": frozenset({f"{hardware} {text}"}),
            "external_ids": {"vendor": "kube-ovn", "ls": SUBNET, "pod": f"{namespace}/{pod}"},
        },
        parent=Ref("Logical_Switch", SUBNET),
    )


async def _committed(nb: Ovsdb, base: list[Port], added: list[Port]) -> tuple[float, float]:
    """Ports a second by the committer, and its CPU microseconds a port."""
    columns = {t.name: [c for c in t.columns if c not in t.write_only] for t in NORTHBOUND.values()}
    database = Database(name="OVN_Northbound", remotes=[nb.remote], columns=columns)
    replica, desired = Replica(database, NORTHBOUND), DesiredStore()
    differ = Differ(desired=desired, actual=replica, facts=NORTHBOUND, owns=lambda table, row: False)

    committer = Committer(database, replica, differ.diff, facts=NORTHBOUND)
    tasks = [asyncio.create_task(database.run()), asyncio.create_task(committer.run())]
    try:
        await asyncio.wait_for(database.synced.wait(), 60)
        for port in (*base, *added):
            desired.set(UnitKey("pod", port[0]), (_row(port),))
        desired.take_touched()
        settle_garbage_collector()  # as a controller does after its load
        started, cpu = time.monotonic(), time.process_time()
        committer.touch([("Logical_Switch_Port", port[0]) for port in added])
        await asyncio.wait_for(committer.settled(), 120)
        seconds, spent = time.monotonic() - started, time.process_time() - cpu
        missing = [name for name, _, _ in added if replica.find("Logical_Switch_Port", name) is None]
        assert not missing, f"{len(missing)} ports were not committed"
        return len(added) / seconds, 1e6 * spent / len(added)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

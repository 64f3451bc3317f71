"""What the first load and a resynchronisation cost: `python -m bench.ovsdb_load --ports 50000`.

CPU, wall time, memory, and the longest times for which the event loop stood still, of a `Database` with a `Replica` on
every northbound column that the controller uses. (Writes: `python -m bench committer`.)
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.ovsdb import Ovsdb
from ovnbridge.model.ovn import NORTHBOUND
from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.replica import Replica, monitored_columns

_BATCH = 5000


def resident() -> float:
    """MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def batches(ports: int) -> Iterator[list[dict[str, Any]]]:
    """Transactions that fill one switch with ports like those of pods."""
    yield [{"op": "insert", "table": "Logical_Switch", "row": {"name": "ls"}}]
    for begin in range(0, ports, _BATCH):
        uuids = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(begin, min(begin + _BATCH, ports))]
        operations = [_insert(begin + n, uuid) for n, uuid in enumerate(uuids)]
        references = ["set", [["uuid", uuid] for uuid in uuids]]
        mutations = [["ports", "insert", references]]
        yield [*operations, {"op": "mutate", "table": "Logical_Switch", "where": [], "mutations": mutations}]


def _insert(number: int, uuid: str) -> dict[str, Any]:
    name = f"deploy-{number}-abcde.namespace-{number % 100}"
    low, middle, high = number & 255, number >> 8 & 255, number >> 16
    address = f"00:00:00:{high:02x}:{middle:02x}:{low:02x} 10.{high}.{middle}.{low}"
    ids = [["vendor", "kube-ovn"], ["ls", "ls"], ["pod", name], ["security_groups", ""], ["ip", address]]
    row = {
        "name": name,
        "addresses": address,
        "port_security": address,
        "external_ids": ["map", ids],
        "options": ["map", [["requested-chassis", "node"]]],
        "up": True,
    }
    return {"op": "insert", "table": "Logical_Switch_Port", "uuid": uuid, "row": row}


async def _lag(into: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        into.append(time.perf_counter() - before - 0.001)


def _print(what: str, started: tuple[float, float, float], lag: list[float]) -> None:
    cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
    stalls = " ".join(f"{1000 * late:.0f}" for late in sorted(lag)[-4:])
    print(f"{what}: cpu {cpu:.2f} s, wall {wall:.2f} s, +{resident() - started[2]:.0f} MiB, longest stalls {stalls} ms")
    lag.clear()


async def main(ports: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="bench-") as folder:
        async with Ovsdb(Path(folder)) as nb:
            database = Database(name=nb.name, remotes=[nb.remote], columns={})
            filling = asyncio.create_task(database.run())
            await database.synced.wait()
            for operations in batches(ports):
                await database.transact(operations, timeout=120)
            filling.cancel()
            lag: list[float] = []
            database = Database(name=nb.name, remotes=[nb.remote], columns=monitored_columns(NORTHBOUND))
            replica = Replica(database, NORTHBOUND)
            watching = asyncio.create_task(_lag(lag))
            started = time.process_time(), time.perf_counter(), resident()
            running = asyncio.create_task(database.run())
            await database.synced.wait()
            _print("first load", started, lag)
            assert len(list(replica.keys("Logical_Switch_Port"))) == ports
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            started = time.process_time(), time.perf_counter(), resident()
            running = asyncio.create_task(database.run())
            await database.synced.wait()
            _print("again, nothing changed", started, lag)
            for task in (running, watching):
                task.cancel()
            await asyncio.gather(running, watching, filling, return_exceptions=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", type=int, default=50_000)
    asyncio.run(main(parser.parse_args().ports))

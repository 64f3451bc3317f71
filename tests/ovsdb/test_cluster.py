"""A raft cluster of three: leaders are found, followed and lost."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.transport import TlsFiles
from tests.ovsdb.test_client import add, names, recorded, summary
from tests.ovsdb.test_committer import settled
from tests.ovsdb.world import World, group, member, port, switch
from tests.support.ovsdb import NB_SCHEMA, Cluster, Server, dump, eventually, free_port, make_certificates, running

COLUMNS = {"Logical_Switch": ("name", "ports", "external_ids")}


def database(cluster: Cluster, **options: bool) -> Database:
    return Database(name=cluster.name, remotes=cluster.remotes, columns=COLUMNS, **options)  # type: ignore[arg-type]


def of(cluster: Cluster, db: Database) -> Server:
    return next(server for server in cluster.servers if server.remote == db.remote)


async def test_the_leader_is_found_and_its_replies_come_after_its_updates(cluster: Cluster) -> None:
    db = database(cluster)
    async with running(db.run()):
        await db.synced.wait()
        assert cluster.role(of(cluster, db)) == "leader"
        for number in range(100):
            await db.transact(add(f"s{number}"), timeout=10)
            assert len(db.rows["Logical_Switch"]) == number + 1, "the update precedes the reply"
        replies = [asyncio.create_task(db.transact(add(f"t{number}"), timeout=10)) for number in range(50)]
        for number, reply in enumerate(replies):
            await reply
            assert f"t{number}" in names(db)


async def test_a_follower_will_do_when_asked(cluster: Cluster) -> None:
    follower = next(server for server in cluster.servers if server is not cluster.leader())
    db = Database(name=cluster.name, remotes=[follower.remote], columns=COLUMNS, leader_only=False)
    strict = Database(name=cluster.name, remotes=[follower.remote], columns=COLUMNS)
    reasons: list[str] = []
    strict.on_state(lambda state, remote, reason: reasons.append(reason))
    async with running(db.run(), strict.run()):
        await db.synced.wait()
        for number in range(20):
            await db.transact(add(f"s{number}"), timeout=10)
            assert len(db.rows["Logical_Switch"]) == number + 1
        await eventually(lambda: "server is not the leader" in reasons)
        assert not strict.synced.is_set()


async def test_leadership_is_followed_and_only_the_difference_comes(cluster: Cluster) -> None:
    db = database(cluster)
    states: list[tuple[str, str]] = []
    db.on_state(lambda state, remote, reason: states.append((state, reason)))
    async with running(db.run()):
        await db.synced.wait()
        for number in range(10):
            await db.transact(add(f"s{number}"), timeout=10)
        batches = recorded(db)
        late = database(cluster)
        late_states: list[str] = []
        late.on_state(lambda state, remote, reason: late_states.append(f"{state} {reason}"))
        following_late = asyncio.create_task(late.run())
        await late.synced.wait()
        old = of(cluster, db)
        old.appctl("cluster/failure-test", "transfer-leadership")
        await eventually(lambda: db.generation >= 2 and db.synced.is_set(), "connecting to the new leader", 30)
        assert ("disconnected", "server is not the leader") in states
        assert states[-1] == ("synced", "resumed")
        assert of(cluster, db) is not old
        assert [summary(batch) for batch in batches if batch] == []
        await eventually(lambda: late_states[-1] == "synced resumed", "resuming from the load's transaction id")
        following_late.cancel()
        await db.transact(add("after"), timeout=10)
        assert len(names(db)) == 11


async def test_a_schema_upgrade_of_a_cluster(cluster: Cluster, short_tmp: Path) -> None:
    db = Database(name=cluster.name, remotes=cluster.remotes, columns={"Logical_Switch": ("name", "brand_new")})
    async with running(db.run()):
        await db.synced.wait()
        await db.transact(add("a"), timeout=10)
        schema = json.loads(NB_SCHEMA.read_text())
        schema["version"] = "99.0.0"
        schema["tables"]["Logical_Switch"]["columns"]["brand_new"] = {"type": "integer"}
        (short_tmp / "newer").write_text(json.dumps(schema))
        subprocess.run(["ovsdb-client", "convert", cluster.leader().remote, str(short_tmp / "newer")], check=True)
        await eventually(lambda: db.schema is not None and db.schema.version == "99.0.0" and db.synced.is_set())
        (row,) = db.rows["Logical_Switch"].values()
        assert row == {"name": "a", "brand_new": 0}


async def test_a_cluster_by_tls_whose_certificates_are_exchanged(short_tmp: Path) -> None:
    """The new files change nothing for the connection that there is; the next one, to another member, uses them."""
    old, new = (make_certificates(short_tmp / name, name=name) for name in ("old", "new"))
    theirs, ours = short_tmp / "theirs", short_tmp / "ours"
    for used in (theirs, ours):
        shutil.copytree(short_tmp / "old", used)
    ports = [free_port() for _ in range(3)]
    files = {name: path.name for name, path in old.items()}
    options = [
        f"--private-key={theirs / files['private_key']}",
        f"--certificate={theirs / files['certificate']}",
        f"--ca-cert={theirs / files['ca_certificate']}",
    ]
    cluster = Cluster(short_tmp, extra=lambda number: [f"--remote=pssl:{ports[number]}:127.0.0.1", *options])
    remotes = [f"ssl:127.0.0.1:{port}" for port in ports]
    tls = TlsFiles(**{name: str(ours / file) for name, file in files.items()})
    db = Database(name=cluster.name, remotes=remotes, columns=COLUMNS, tls=tls)
    states: list[tuple[str, str]] = []
    db.on_state(lambda state, remote, reason: states.append((state, reason)))
    try:
        async with running(db.run()):
            async with asyncio.timeout(30):
                await db.synced.wait()
            await db.transact([row for number in range(50) for row in add(f"s{number}")], timeout=10)
            for used in (theirs, ours):
                for path in new.values():
                    shutil.copy(path, used / path.name)
            await db.transact(add("with the new files in place"), timeout=10)
            assert states[-1] == ("synced", "loaded")
            leader = cluster.servers[remotes.index(db.remote)]
            for server in sorted(cluster.servers, key=lambda server: server is leader):  # the leader last
                server.stop()
                server.start()
                await eventually(lambda s=server: cluster.role(s), "the member being back", 30)
            await eventually(lambda: db.generation >= 2 and db.synced.is_set(), "a connection with the new files", 30)
            assert states[-1] == ("synced", "resumed")
            await db.transact(add("by the new files"), timeout=10)
            assert len(names(db)) == 52
            # What the members accept now is the new CA's alone.
            stranger = Database(
                name=cluster.name,
                remotes=remotes,
                columns=COLUMNS,
                tls=TlsFiles(**{name: str(path) for name, path in old.items()}),
            )
            reasons: list[str] = []
            stranger.on_state(lambda state, remote, reason: reasons.append(reason))
            async with running(stranger.run()):
                await eventually(lambda: any("CERTIFICATE_VERIFY_FAILED" in reason for reason in reasons))
    finally:
        cluster.stop()


async def test_changes_while_away_are_resumed_from_the_last_transaction(cluster: Cluster) -> None:
    other = database(cluster, leader_only=False)
    db = database(cluster)
    states: list[tuple[str, str]] = []
    db.on_state(lambda state, remote, reason: states.append((state, reason)))
    running_db = asyncio.create_task(db.run())
    async with running(other.run()):
        await db.synced.wait()
        await other.synced.wait()
        # A server remembers changes only as long as they are smaller than the database.
        await other.transact([row for number in range(50) for row in add(f"x{number}")], timeout=10)
        await other.transact([*add("kept"), *add("gone"), *add("changed")], timeout=10)
        await eventually(lambda: len(names(db)) == 53)
        running_db.cancel()
        await asyncio.gather(running_db, return_exceptions=True)
        assert not db.synced.is_set()
        for operation in (
            {"op": "delete", "table": "Logical_Switch", "where": [["name", "==", "gone"]]},
            {
                "op": "update",
                "table": "Logical_Switch",
                "where": [["name", "==", "changed"]],
                "row": {"name": "renamed"},
            },
            *add("new"),
        ):
            await other.transact([operation], timeout=10)
        batches = recorded(db)
        async with running(db.run()):
            await db.synced.wait()
            assert states[-1] == ("synced", "resumed")
            assert [summary(batch) for batch in batches if batch] == [
                {"inserted": ["new"], "modified": ["renamed"], "deleted": ["gone"]}
            ]
            assert names(db)[:3] == ["kept", "new", "renamed"]


@pytest.mark.timeout(150)
async def test_writes_survive_the_death_of_leaders(cluster: Cluster) -> None:
    """kill -9 of the leader, again and again, while ports come and go: at the end exactly what is desired is there."""
    chance = random.Random(7)
    async with World(cluster.remotes, deadline=5.0).up() as world:
        world.want("ls", switch("ls1"), group("pg"))
        wanted: set[str] = set()

        async def churn(seconds: float) -> None:
            ends = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < ends:
                name = f"p{chance.randrange(300)}"
                if name in wanted:
                    wanted.discard(name)
                    world.want(name)
                else:
                    wanted.add(name)
                    world.want(name, port(name, "ls1"), member("pg", name))
                await asyncio.sleep(0.002)

        for _ in range(3):
            await churn(0.5)
            leader = cluster.leader()
            leader.kill()
            await churn(1.0)
            await eventually(lambda: world.database.synced.is_set(), "a new leader", 30)
            await churn(0.3)
            leader.start()
            await eventually(lambda s=leader: cluster.role(s), "the member being back", 30)
        await settled(world, 40)
        remote = cluster.leader().remote
        ports = dump(remote, cluster.name, "Logical_Switch_Port")
        assert sorted(row["name"] for row in ports) == sorted(wanted)
        (pg,) = dump(remote, cluster.name, "Port_Group")
        assert {ref[1] for ref in pg["ports"][1]} == {row["_uuid"][1] for row in ports}
        assert world.errors == []
        assert world.database.generation >= 4

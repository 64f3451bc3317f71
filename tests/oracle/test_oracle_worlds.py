"""Ours against the oracle, for random worlds: a fresh cluster, and the takeover of one that Kube-OVN served."""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ovnbridge.cli import main
from tests.oracle import database, edits, history, judge, ledger, left, others
from tests.oracle.generate import world
from tests.oracle.northbound import rows
from tests.oracle.rows import Row
from tests.oracle.world import OVN, Drawn, Json, World, labels
from tests.support.cluster import Cluster, key_of
from tests.support.memory import MemoryDatabase

FEW, MANY = range(12), range(12, 400)
seeds = pytest.mark.parametrize("seed", [*FEW, *(pytest.param(seed, marks=pytest.mark.slow) for seed in MANY)])


@seeds
def test_a_fresh_cluster(seed: int) -> None:
    """The users' objects alone, in any order; workloads come to networks that are there."""
    rng, users = random.Random(f"fresh {seed}"), world(seed)
    users.gone = []
    cluster = Cluster(options=judge.options(users.flags))
    cluster.memory.put("NB_Global")
    kinds = {kind: [o for o in users.all() if o["kind"] == kind] for kind in ("Node", "Namespace", "Pod")}
    rest = [o for o in users.all() if o["kind"] not in kinds]
    rng.shuffle(rest)
    rng.shuffle(kinds["Pod"])
    cluster.apply(*kinds["Node"], *kinds["Namespace"])
    for obj in rest:
        cluster.apply(obj)
        if seed % 2:
            cluster.run()
    cluster.run()
    cluster.apply(*kinds["Pod"]).run()
    assert judge.problems(cluster, left.complete(users), untouched=True) == []


def left_behind(seed: int, *, eips: bool = False) -> tuple[World, list[Row], Drawn]:
    """A cluster as Kube-OVN left it."""
    rng, users = random.Random(f"takeover {seed}"), left.complete(world(seed))
    if eips:
        others.eips(users, rng)
    history.shuffle_namespaces(users, rng)
    drawn = ledger.draw(users, rng)
    found = left.leave(users, drawn)
    made = history.group(history.weather(rows(found, drawn), found, rng), found, rng)
    history.age(found, rng)
    return found, made, drawn


def plan(objects: Json, nb: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    (nb.parent / "objects.json").write_text(json.dumps(objects))
    main(["plan", "--from-dir", str(nb.parent), "--nb", str(nb), "--output", "json", *flags])
    out, err = capsys.readouterr()
    assert out, err
    return json.loads(out)


def written(tables: database.Content, directory: Path, *, readable: bool) -> Path:
    """A database as a file: as ovsdb-server keeps it, or as `reference/parity/*/nb.json`."""
    nb = directory / "nb"
    if readable:
        nb.write_text(json.dumps(database.readable(tables)))
    else:
        database.write_file(tables, nb)
    return nb


@seeds
def test_a_takeover_needs_nothing(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, made, _ = left_behind(seed)
    nb = written(database.content(made), tmp_path, readable=seed % 4 == 0)
    report = plan(left.dumped(found), nb, found.flags.arguments(), capsys)
    assert report["operations"] == []
    assert report["summary"]["northbound"]["foreign"] == {}


@pytest.mark.parametrize("seed", FEW)
def test_the_oracles_databases_are_databases(seed: int, tmp_path: Path) -> None:
    """OVSDB's own tool checks types, references and unique names."""
    found, made, _ = left_behind(seed, eips=True)
    site = others.mixed_in(found, made, random.Random(f"others {seed}"))
    tables = database.content([*site.rows, *site.added])
    database.write_file(tables, tmp_path / "nb")
    ask = json.dumps(["OVN_Northbound", {"op": "select", "table": "Logical_Switch", "where": [], "columns": ["name"]}])
    answer = subprocess.run(["ovsdb-tool", "query", tmp_path / "nb", ask], capture_output=True, check=True, text=True)
    (reply,) = json.loads(answer.stdout)
    assert len(reply["rows"]) == len(tables["Logical_Switch"])


@seeds
def test_a_takeover_leaves_other_features_alone(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, made, _ = left_behind(seed, eips=True)
    site = others.mixed_in(found, made, random.Random(f"others {seed}"))
    nb = written(database.content([*site.rows, *site.added]), tmp_path, readable=seed % 4 == 1)
    report = plan(left.dumped(found), nb, found.flags.arguments(), capsys)
    assert report["operations"] == []
    assert Counter(row.table for row in site.added) == Counter(report["summary"]["northbound"]["foreign"])


def taken_over(found: World, made: list[Row]) -> Cluster:
    """A cluster of ours on what Kube-OVN left; it has nothing to write."""
    memory = MemoryDatabase()
    database.load(database.content(made), memory)
    cluster = Cluster(options=judge.options(found.flags), database=memory)
    for obj in found.all():
        cluster.api._store(*key_of(obj), obj)
    cluster.start()
    assert cluster.run() == []
    assert cluster.written == []
    return cluster


@pytest.mark.parametrize("edit", range(2))
@seeds
def test_an_edit_changes_what_depends_on_it(seed: int, edit: int) -> None:
    rng, users = random.Random(f"edit {seed} {edit}"), left.complete(world(seed))
    before = ledger.draw(users, rng)
    found = left.leave(users, before)
    found.objects = left.dumped(found)
    cluster = taken_over(found, rows(found, before))
    old = database.texts(cluster.database.content)
    told = ""
    while not told:
        after, chosen = found.copy(), rng.choice(edits.EDITS)
        told = chosen(after, rng)
    print(told)
    present = {key_of(obj): obj for obj in after.all()}
    for kind, key in cluster.api.objects.keys() - present.keys():
        cluster.delete(kind, key)
    for (kind, key), obj in present.items():
        if (kind, key) in cluster.api.objects:
            cluster.api._store(kind, key, obj)
        else:
            cluster.apply(obj)
    cluster.run()
    after.objects["ips"] = [ip for ip in after.of("ips") if labels(ip)[f"{OVN}/ip_reserved"] == "true"]
    assert judge.problems(cluster, left.complete(after), before=before) == []
    new = database.texts(cluster.database.content)
    kept = Counter(old.values()) & Counter(new.values())
    if chosen is not edits.underlay_mode:  # whose new router may have to wait for its address
        assert Counter(text for own, text in old.items() if new.get(own) == text) == kept, "a row was made anew"

"""Our replica must hold exactly what the stock IDL holds, whatever transactions a server executes.

A database with every kind of column; Hypothesis draws transactions (as raw operations, on a connection of their own).
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from ovnbridge.ovsdb.client import Database
from ovnbridge.ovsdb.errors import TransactionError
from ovnbridge.ovsdb.tables import Changes, SetDelta
from tests.ovsdb.oracle import Oracle
from tests.support.ovsdb import Server, directory, plain, running


def _type(key: Any, low: int = 1, high: Any = 1, value: Any = None) -> dict[str, Any]:
    return {"type": {"key": key, "min": low, "max": high, **({"value": value} if value else {})}}


def _ref(table: str, strength: str) -> dict[str, str]:
    return {"type": "uuid", "refTable": table, "refType": strength}


SCHEMA: dict[str, Any] = {
    "name": "Everything",
    "version": "1.0.0",
    "tables": {
        "Root": {
            "isRoot": True,
            "columns": {
                "text": {"type": "string"},
                "number": {"type": "integer"},
                "real": {"type": "real"},
                "flag": {"type": "boolean"},
                "id": {"type": "uuid"},
                "choice": _type({"type": "string", "enum": ["set", ["a", "b"]]}, 0),
                "maybe_number": _type("integer", 0),
                "maybe_real": _type("real", 0),
                "maybe_flag": _type("boolean", 0),
                "maybe_leaf": _type(_ref("Leaf", "strong"), 0),
                "maybe_root": _type(_ref("Root", "weak"), 0),
                "texts": _type("string", 0, "unlimited"),
                "numbers": _type("integer", 0, 5),
                "reals": _type("real", 0, "unlimited"),
                "leaves": _type(_ref("Leaf", "strong"), 0, "unlimited"),
                "friends": _type(_ref("Root", "weak"), 0, "unlimited"),
                "labels": _type("string", 0, "unlimited", "string"),
                "counts": _type("integer", 0, "unlimited", "integer"),
                "named": _type("string", 0, "unlimited", _ref("Leaf", "strong")),
                "by_root": _type(_ref("Root", "weak"), 0, "unlimited", "string"),
                "pair": _type("string", 0, 1, "string"),
                "temporary": {"type": "string", "ephemeral": True},
            },
        },
        "Leaf": {"columns": {"name": {"type": "string"}, "next": _type(_ref("Leaf", "strong"), 0)}},
        "Step": {"isRoot": True, "columns": {"number": {"type": "integer"}}},
    },
}

ROOTS = [str(uuid.uuid5(uuid.NAMESPACE_DNS, f"root{n}")) for n in range(5)]
LEAVES = [str(uuid.uuid5(uuid.NAMESPACE_DNS, f"leaf{n}")) for n in range(5)]

texts = st.sampled_from(["", "a", "b", "x y", 'q"\\', "é😀"]) | st.text(
    st.characters(exclude_categories=("Cs", "Cc")), max_size=5
)
words = st.sampled_from(["", "a", "b"])  # few, so that the same are met again
numbers = st.integers(-3, 3) | st.sampled_from([2**53, -(2**40)])
reals = st.sampled_from([0, 0.5, -1, 1e100, 3.25])
roots = st.sampled_from(ROOTS).map(lambda u: ["uuid", u])
leaves = st.sampled_from(LEAVES).map(lambda u: ["uuid", u])


def sets(of: Any, high: int = 6) -> Any:
    return st.lists(of, max_size=high, unique_by=repr).map(lambda v: ["set", v])


def maps(keys: Any, values: Any, high: int = 5) -> Any:
    pairs = st.lists(st.tuples(keys, values).map(list), max_size=high, unique_by=lambda p: repr(p[0]))
    return pairs.map(lambda v: ["map", v])


COLUMNS: dict[str, Any] = {
    "text": texts,
    "number": numbers,
    "real": reals,
    "flag": st.booleans(),
    "id": roots,
    "choice": sets(st.sampled_from(["a", "b"]), 1),
    "maybe_number": sets(numbers, 1),
    "maybe_real": sets(reals, 1),
    "maybe_flag": sets(st.booleans(), 1),
    "maybe_leaf": sets(leaves, 1),
    "maybe_root": sets(roots, 1),
    "texts": sets(texts),
    "numbers": sets(numbers, 5),
    "reals": sets(reals),
    "leaves": sets(leaves),
    "friends": sets(roots),
    "labels": maps(words, words),
    "counts": maps(st.integers(0, 2), st.integers(0, 2)),
    "named": maps(words, leaves),
    "by_root": maps(roots, words),
    "pair": maps(texts, texts, 1),
    "temporary": texts,
}
SETS = ("texts", "numbers", "reals", "leaves", "friends")
MAPS = ("labels", "counts", "named", "by_root")

root_rows = st.fixed_dictionaries({}, optional=COLUMNS)
where = st.just([]) | st.sampled_from(ROOTS).map(lambda u: [["_uuid", "==", ["uuid", u]]])
mutations = st.one_of(
    *(st.tuples(st.just(c), st.sampled_from(["insert", "delete"]), COLUMNS[c]).map(list) for c in (*SETS, *MAPS))
)
updates = st.tuples(where, root_rows).map(lambda p: {"op": "update", "table": "Root", "where": p[0], "row": p[1]})
operations = st.one_of(
    updates,
    updates,
    st.tuples(st.sampled_from(ROOTS), root_rows).map(
        lambda p: {"op": "insert", "table": "Root", "uuid": p[0], "row": p[1]}
    ),
    st.tuples(where, st.lists(mutations, min_size=1, max_size=3)).map(
        lambda p: {"op": "mutate", "table": "Root", "where": p[0], "mutations": p[1]}
    ),
    st.sampled_from(ROOTS).map(lambda u: {"op": "delete", "table": "Root", "where": [["_uuid", "==", ["uuid", u]]]}),
    st.tuples(st.sampled_from(LEAVES), texts).map(
        lambda p: {"op": "insert", "table": "Leaf", "uuid": p[0], "row": {"name": p[1]}}
    ),
    st.tuples(st.sampled_from(LEAVES), st.sampled_from(LEAVES)).map(
        lambda p: {
            "op": "mutate",
            "table": "Root",
            "where": [],
            "mutations": [["leaves", "insert", ["set", [["uuid", p[0]]]]]],
        }
    ),
)
scripts = st.lists(st.lists(operations, min_size=1, max_size=5) | st.just("restart"), min_size=1, max_size=12)


class Shadow:
    """What a listener knows that only adds up the changes it is told."""

    def __init__(self, database: Database) -> None:
        self.rows: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in database.rows}
        database.subscribe(self.apply)

    def apply(self, changes: Changes) -> None:
        for table, rows in changes.items():
            for row_uuid, change in rows.items():
                known = self.rows[table].get(row_uuid)
                if change.old is None:
                    assert known is None, "an insert of a row that was known"
                elif change.new is None:
                    assert known == plain(change.old), "a delete that shows other values than those known"
                else:
                    self._modified(known, change.old, change.new)
                if change.new is None:
                    del self.rows[table][row_uuid]
                else:
                    self.rows[table][row_uuid] = plain(change.new)

    @staticmethod
    def _modified(known: Any, old: Any, new: Any) -> None:
        assert known is not None
        assert old, "a change of nothing"
        for column, before in known.items():
            was = old.get(column, new[column])
            if isinstance(was, SetDelta):
                assert was.added or was.removed
                was = (frozenset(new[column]) - was.added) | was.removed
            assert (frozenset(was) if isinstance(was, set) else was) == before


@pytest.fixture(scope="module")
def everything() -> Iterator[Server]:
    with directory() as path, pytest.MonkeyPatch.context() as patched:
        patched.setattr("ovnbridge.ovsdb.client._LAST_DELAY", 0.1)  # a server that restarts every second is waited for
        schema = Path(path) / "schema"
        schema.write_text(json.dumps(SCHEMA))
        server = Server.standalone(path, schema)
        yield server
        server.kill()


def _step(number: int) -> list[dict[str, Any]]:
    return [
        {"op": "delete", "table": "Step", "where": []},
        {"op": "insert", "table": "Step", "row": {"number": number}},
    ]


def _everyone() -> list[dict[str, Any]]:
    """Something to modify."""
    leaves = [{"op": "insert", "table": "Leaf", "uuid": leaf, "row": {"name": leaf}} for leaf in LEAVES]
    held = {"leaves": ["set", [["uuid", leaf] for leaf in LEAVES]], "friends": ["set", [["uuid", r] for r in ROOTS]]}
    maps = {"labels": ["map", [["a", "b"], ["b", "a"]]], "counts": ["map", [[0, 1], [1, 1]]]}
    return [*leaves, *({"op": "insert", "table": "Root", "uuid": root, "row": {**held, **maps}} for root in ROOTS)]


def _steps(tables: Any) -> list[int]:
    return [row["number"] for row in tables["Step"].values()]


counter = iter(range(1, 10**9))


def _numbers(*values: int) -> dict[str, Any]:
    return {"op": "update", "table": "Root", "where": [], "row": {"numbers": ["set", list(values)]}}


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a server to restart per step: shrinking takes minutes
)
@given(script=scripts)
@example(script=[[_numbers(1)], [_numbers(2, 3, 4, 5, 6)], "restart"])  # a difference larger than the column's bound
def test_the_replica_equals_the_stock_idl(everything: Server, script: list[Any]) -> None:
    asyncio.run(_compare(everything, script))


async def _compare(server: Server, script: list[Any]) -> None:
    columns = {name: tuple(table["columns"]) for name, table in SCHEMA["tables"].items()}
    ours = Database(name="Everything", remotes=[server.remote], columns=columns)
    writer = Database(name="Everything", remotes=[server.remote], columns={"Step": ("number",)})
    oracle = Oracle(server.remote, SCHEMA)
    shadow = Shadow(ours)
    try:
        async with running(ours.run(), writer.run()):
            await asyncio.gather(ours.synced.wait(), writer.synced.wait())
            for transaction in [[{"op": "delete", "table": "Root", "where": []}], _everyone(), *script]:
                if transaction == "restart":
                    server.stop()
                    generations = ours.generation, writer.generation
                    server.start()
                    while (ours.generation, writer.generation) <= generations or not writer.synced.is_set():
                        await asyncio.sleep(0.005)
                    transaction = []
                number = next(counter)
                try:
                    await writer.transact([*transaction, *_step(number)], timeout=10)
                except TransactionError:
                    await writer.transact(_step(number), timeout=10)
                oracle.run_until(lambda tables, n=number: _steps(tables) == [n])
                async with asyncio.timeout(10):
                    while _steps(ours.rows) != [number]:
                        await asyncio.sleep(0.001)
                mine = {t: {u: plain(r) for u, r in rows.items()} for t, rows in ours.rows.items()}
                assert mine == oracle.tables()
                assert shadow.rows == mine
                for table, rows in ours.rows.items():
                    for row in rows.values():
                        for column, held in row.items():
                            _check_type(SCHEMA["tables"][table]["columns"][column]["type"], held)
    finally:
        oracle.close()


def _check_type(kind: Any, held: Any) -> None:
    """1 == 1.0 == True in Python: the classes must be right, too."""
    names = {"string": str, "integer": int, "real": float, "boolean": bool, "uuid": str}
    if isinstance(kind, str):
        assert type(held) is names[kind]
        return
    base = kind["key"] if isinstance(kind["key"], str) else kind["key"]["type"]
    if "value" in kind:
        assert type(held) is dict
        assert all(type(key) is names[base] for key in held)
    elif kind["max"] == 1:
        assert held is None or type(held) is names[base]
    else:
        assert isinstance(held, set | frozenset)
        assert all(type(item) is names[base] for item in held)

"""`engine.several` against plain dicts of dicts, whatever comes and goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ovnbridge.engine.desired import UnitKey
from ovnbridge.engine.several import Links, Owners

KEYS = st.sampled_from(["a", "b"])
UNITS = st.sampled_from([UnitKey("pod", "x"), UnitKey("pod", "y"), UnitKey("node", "x"), UnitKey("vip", "z")])
EDITS = st.lists(st.tuples(KEYS, UNITS, st.one_of(st.none(), st.integers(0, 3))), max_size=30)


@given(EDITS)
def test_owners(edits: list[tuple[str, UnitKey, int | None]]) -> None:
    owners: Owners[str, UnitKey, int] = Owners()
    model: dict[str, dict[UnitKey, int]] = {}
    for key, unit, value in edits:
        if value is None:
            owners.discard(key, unit)
            model.get(key, {}).pop(unit, None)
        else:
            owners.put(key, unit, value)
            model.setdefault(key, {})[unit] = value
        for name in ("a", "b"):
            wanted = model.get(name) or {}
            assert owners.all(name) == wanted
            assert owners.owner(name) == min(wanted, default=None)
            assert owners.first(name) == (wanted[min(wanted)] if wanted else None)
            assert (name in owners) is bool(wanted)
        assert set(owners) == owners.keys() == {name for name, wanted in model.items() if wanted}
        assert len(owners) == len(owners.keys())


@given(EDITS)
def test_links(edits: list[tuple[str, UnitKey, int | None]]) -> None:
    links: Links[str, UnitKey] = Links()
    model: dict[str, dict[UnitKey, None]] = {"a": {}, "b": {}}
    for source, reader, value in edits:
        known = model[source]
        if value is None:
            assert links.discard(source, reader) is (list(known) == [reader])
            known.pop(reader, None)
        else:
            assert links.add(source, reader) is (not known)
            known[reader] = None
        for name, readers in model.items():
            assert list(links.of(name)) == list(readers)
            assert links.count(name) == len(readers)
            assert (name in links) is bool(readers)
            assert links.has(name, reader) is (reader in readers)


class Counted(UnitKey):
    """A unit that counts how often it is compared by order."""

    compared = 0

    def __lt__(self, other: object) -> bool:
        Counted.compared += 1
        return tuple.__lt__(self, other)  # type: ignore[operator]


def test_what_everybody_wants_costs_each_the_same() -> None:
    """While a subnet cannot be compiled each of its pods holds it: who counts is not looked for each time."""
    owners: Owners[str, UnitKey, None] = Owners()
    for number in range(1000):
        owners.put("subnet", Counted("pod", str(number)), None)
    for number in range(999):
        owners.discard("subnet", Counted("pod", str(number)))
    assert Counted.compared == 0
    assert owners.owner("subnet") == ("pod", "999")

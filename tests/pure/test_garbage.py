"""`observe.loop`: what a full collection found alive is not looked at by the next one."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from ovnbridge.observe import loop


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)
    yield
    gc.callbacks[:] = callbacks
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_survivors_of_full_collections_are_set_aside_and_garbage_is_not() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.self = self

    loop.settle_garbage_collector()
    loop.settle_garbage_collector()
    before = gc.get_freeze_count()
    kept = [[number] for number in range(10_000)]
    garbage = weakref.ref(Cycle())
    gc.collect()
    assert garbage() is None
    assert gc.get_freeze_count() >= before + len(kept)
    assert len(gc.get_objects()) < len(kept)
    assert gc.isenabled()


@pytest.mark.usefixtures("collector")
def test_cycles_that_die_after_they_were_set_aside_go_once_as_much_again_has_come() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.self = self

    loop.settle_garbage_collector()
    settled = gc.get_freeze_count()
    cycle = Cycle()
    garbage = weakref.ref(cycle)
    gc.collect()
    del cycle
    gc.collect()
    assert garbage() is not None, "set aside: not looked at again so soon"
    kept = [[number] for number in range(settled + 200_000)]
    rounds = 0
    while garbage() is not None and rounds < 100:
        gc.collect()
        rounds += 1
    assert garbage() is None
    assert kept

"""How often lines of one kind are told."""

from __future__ import annotations

import logging
import subprocess
import sys

from ovnbridge.observe.log import BURST, REFILL, Bounded


def line(text: str, *values: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("ovnbridge.x", level, __file__, 1, text, values, None)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_flood_is_cut_and_says_so() -> None:
    clock = Clock()
    bounded = Bounded(clock)
    told = [bounded.filter(line("row refused key=%s", n)) for n in range(BURST + 40)]
    assert told == [True] * BURST + [False] * 40
    assert bounded.filter(line("another kind"))
    clock.now += REFILL
    first, second = line("row refused key=%s", 1), line("row refused key=%s", 2)
    assert (bounded.filter(first), bounded.filter(second)) == (True, False)
    assert first.left_out == 40  # type: ignore[attr-defined]
    clock.now += BURST * REFILL
    quiet = [line("row refused key=%s", n) for n in range(BURST + 1)]
    assert [bounded.filter(record) for record in quiet] == [True] * BURST + [False]
    assert quiet[0].left_out == 1  # type: ignore[attr-defined]
    assert not hasattr(quiet[1], "left_out")


def test_debugging_is_not_bounded() -> None:
    bounded = Bounded(Clock())
    assert all(bounded.filter(line("detail", level=logging.DEBUG)) for _ in range(BURST * 2))


def test_texts_without_end_do_not_fill_the_memory() -> None:
    bounded = Bounded(Clock())
    for number in range(5000):
        assert bounded.filter(line(f"text {number}"))
    assert len(bounded._kinds) < 2000


def test_the_number_left_out_is_rendered() -> None:
    """In a process of its own: `configure` is for a whole process."""
    program = (
        "import logging; from ovnbridge.observe import log; log.REFILL = 1e-9; log.BURST = 1; log.configure()\n"
        "bounded = logging.getLogger().handlers[0].filters[0]\n"
        "bounded._kinds['x', 'again %d'] = (1.0, 0.0, 7)\n"
        "logging.getLogger('x').warning('again %d', 8)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "again 8" in done.stderr
    assert "left_out=7" in done.stderr

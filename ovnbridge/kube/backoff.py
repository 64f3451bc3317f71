"""How long to wait after the n-th failure in a row: used by everything that retries."""

from __future__ import annotations

import random


class Backoff:
    """Doubling delays with jitter, so that many clients of a server that comes back do not come back together."""

    def __init__(self, *, first: float, longest: float, random_source: random.Random | None = None) -> None:
        self._first = first
        self._longest = longest
        self._uniform = random_source.uniform if random_source is not None else random.uniform
        self.failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure: between half of the step and the whole."""
        step = min(self._longest, self._first * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return step * self._uniform(0.5, 1.0)

    def reset(self) -> None:
        """Something worked."""
        self.failures = 0

"""Hypothesis profiles: `ci` for every run, `long` for `make test-full` (--hypothesis-profile=long).

`ci` draws the same examples in each run, so that what lands does not depend on luck; `long` draws others each time.
`ci` does not shrink: where an example is a whole cluster or restarts a server, shrinking takes minutes.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=40,
    stateful_step_count=30,
    suppress_health_check=_SLOW,
    phases=(Phase.explicit, Phase.generate),
)
settings.register_profile("long", deadline=None, max_examples=500, stateful_step_count=60, suppress_health_check=_SLOW)
settings.load_profile("ci")

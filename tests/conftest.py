"""Hypothesis profiles: `ci` for every run, `long` for `make test-full` (--hypothesis-profile=long).

`ci` does not shrink: where an example is a whole cluster or restarts a server, shrinking takes minutes. A failing
example is remembered in `.hypothesis`; the same test with --hypothesis-profile=long starts from it and shrinks it.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
_ONCE = (Phase.explicit, Phase.reuse, Phase.generate)
settings.register_profile(
    "ci", deadline=None, max_examples=40, stateful_step_count=30, suppress_health_check=_SLOW, phases=_ONCE
)
settings.register_profile("long", deadline=None, max_examples=500, stateful_step_count=60, suppress_health_check=_SLOW)
settings.load_profile("ci")

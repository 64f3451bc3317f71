"""Hypothesis profiles: `ci` for every run, `long` for `make test-full` (--hypothesis-profile=long)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", deadline=None, max_examples=40, stateful_step_count=30, suppress_health_check=_SLOW)
settings.register_profile("long", deadline=None, max_examples=500, stateful_step_count=60, suppress_health_check=_SLOW)
settings.load_profile("ci")

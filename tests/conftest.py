"""Hypothesis profiles: the same examples on every machine, more of them for a release."""

import os

from hypothesis import HealthCheck, settings

# A slow machine is not a failing test, and a derandomised run is the same run everywhere.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("release", parent=settings.get_profile("ci"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

"""Hypothesis profiles: the same examples on every machine, more of them for a release. And where
the real market data is."""

import os
from pathlib import Path

import pytest
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

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of real feed files. Tests that use it are skipped where there is none."""
    if not _DATA.is_dir():
        pytest.skip(f"the real market data is not there: no folder {_DATA}")
    return _DATA

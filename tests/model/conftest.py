"""The real market data beside the repository, for the tests that want more than generated files."""

from pathlib import Path

import pytest

_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of real feed files. Tests that use it are skipped where there is none."""
    if not _DATA.is_dir():
        pytest.skip(f"the real market data is not there: no folder {_DATA}")
    return _DATA

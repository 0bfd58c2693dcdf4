"""What an import loads: the package and the light commands bring neither torch nor numba."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "numba", "pandas", "scipy", "matplotlib", "gymnasium", "pyarrow")

LIGHT = {
    "the package": "import mtsim",
    "errors": "import mtsim.errors",
    "scenarios": "import mtsim.scenario",
    "streams": "import mtsim.streams",
    "engine vocabulary": "import mtsim.engine.messages, mtsim.engine.units, mtsim.engine.base",
    "--help": "from mtsim.cli.app import run; run(['--help'])",
    "--version": "from mtsim.cli.app import run; run(['--version'])",
    "validate": "from mtsim.cli.app import run; run(['validate', *FILES])",
    "show": "from mtsim.cli.app import run; run(['show', 'calm'])",
    "ls": "from mtsim.cli.app import run; run(['ls'])",
    "schema": "from mtsim.cli.app import run; run(['schema'])",
}


def loaded_by(code: str) -> set[str]:
    """The heavy packages that are loaded after running `code` in a fresh interpreter."""
    program = (
        "import sys, contextlib, io\n"
        "from pathlib import Path\n"
        "FILES = sorted(map(str, Path('scenarios').glob('*.yaml')))\n"
        f"with contextlib.redirect_stdout(io.StringIO()):\n    {code}\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


@pytest.mark.parametrize("code", LIGHT.values(), ids=list(LIGHT))
def test_light_code_loads_nothing_heavy(code):
    assert loaded_by(code) == set()


def test_a_heavy_import_is_noticed():
    """The test above can fail."""
    assert "scipy" in loaded_by("import scipy")
    assert "numba" in loaded_by("import mtsim.streams_numba")

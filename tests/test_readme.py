"""The README does what it says: its commands run, its Python runs, its output is what comes out."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtsim.cli.app import run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


COMMANDS = [
    [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    for block in blocks("console")
]
BAD = """\
session: {duration: 30parsec}
shocks:
  - type: mass_cancel
    fraction: 1.5
    durration: 60s
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like the checkout to a command, and may be written to."""
    for name in ("scenarios", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.parametrize("commands", COMMANDS, ids=lambda commands: commands[0])
def test_the_commands_of_a_block_run_one_after_the_other(commands, checkout):
    for command in commands:
        # The same commands with this environment's interpreter, wherever it lies.
        program = command.replace(".venv/bin/mtsim", f"{sys.executable} -m mtsim")
        result = subprocess.run(
            program, shell=True, cwd=checkout, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{command}: {result.stderr}"
        assert result.stdout or "valid" in result.stderr


@pytest.mark.parametrize("source", blocks("python"))
def test_each_snippet_runs(source, checkout):
    result = subprocess.run(
        [sys.executable, "-c", source], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for promised in re.findall(r"# (\S+:\d+)$", source, re.M):
        assert promised in result.stdout


def test_the_errors_it_shows_are_those_that_come_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(BAD)
    assert run(["validate", "bad.yaml"]) == 2
    assert capsys.readouterr().out in blocks("text")


def test_its_make_targets_exist():
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make here")
    for target in re.findall(r"^make (\w+)", README, re.M):
        result = subprocess.run([make, "-n", target], cwd=ROOT, capture_output=True, check=False)
        assert result.returncode == 0, target


def test_its_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert missing == []


def test_the_folders_it_names_exist():
    (tree,) = [block for block in blocks("text") if "scenarios/ " in block]
    folders = [line.split("/")[0] for line in tree.splitlines() if "/" in line.split()[0]]
    assert len(folders) == 7
    assert all((ROOT / folder).is_dir() for folder in folders)

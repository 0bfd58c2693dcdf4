"""The scenarios that come with the package, and how a name on the command line finds one."""

from __future__ import annotations

import difflib
from pathlib import Path

from mtsim.errors import MissingError

# The folder is a link inside the package in a checkout, and a real folder in an installation.
FOLDER = Path(__file__).parent.parent / "scenarios"


def shipped() -> list[Path]:
    """Every scenario file of the package, sorted by name."""
    return sorted(FOLDER.glob("*.yaml"))


def find(name: str) -> Path:
    """The file that `name` means: a path that exists, or a shipped scenario by its stem.

    Raises MissingError naming the nearest shipped scenario.
    """
    path = Path(name)
    if path.is_file():
        return path
    by_stem = {file.stem: file for file in shipped()}
    if name in by_stem:
        return by_stem[name]
    close = difflib.get_close_matches(path.stem[:64], by_stem, n=1)
    hint = (
        f"Did you mean {close[0]!r}?"
        if close
        else "`mtsim ls scenarios` names those that come along."
    )
    raise MissingError(f"there is no scenario {name!r}, neither a file nor a shipped one", hint)

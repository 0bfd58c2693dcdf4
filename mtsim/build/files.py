"""The files that a scenario names beside itself: where they lie, and what they hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mtsim.errors import MissingError
from mtsim.model.store import MANIFEST
from mtsim.scenario import Resolved
from mtsim.scenario.flows import ScriptedFlow, SessionOpening


def beside(resolved: Resolved, path: str, named: str) -> Path:
    """Where `named`, which stands at `path` of a scenario, lies: it counts from the file that says
    so, and from the working folder where `--set` does."""
    marks = {place: node.mark for place, node in resolved.tree.walk()}
    named_in = Path(marks[path].file)
    file = (named_in.parent if named_in.is_file() else Path()) / named
    if not file.exists():
        raise MissingError(f"{file}: not there", f"{marks[path]} names it.")
    return file


def digests_of(resolved: Resolved) -> dict[str, str]:
    """The SHA-256 of every file that a scenario is made from, by what the scenario calls it."""
    flow, opening = resolved.scenario.flow, resolved.scenario.opening
    key = "messages" if isinstance(flow, ScriptedFlow) else "fitted"
    found = {}
    if (named := getattr(flow, key, None)) is not None:
        found[named] = beside(resolved, f"flow.{key}", named)
    if isinstance(opening, SessionOpening):
        # A session's manifest holds the digests of all its parts.
        folder = beside(resolved, "opening.session", opening.session)
        found[opening.session] = folder / MANIFEST
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in found.items()}

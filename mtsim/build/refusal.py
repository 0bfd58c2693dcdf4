"""What a scenario may ask for and nothing runs yet: said at its place, with what runs today."""

from __future__ import annotations

from mtsim.errors import Problem, ScenarioError
from mtsim.scenario import Resolved


def not_yet(resolved: Resolved, path: str, what: str, runs: str) -> ScenarioError:
    """The error that `what`, which stands at `path`, does not run yet; `runs` says what does."""
    return refused(resolved, path, f"{what} does not run yet", f"what runs today: {runs}")


def refused(resolved: Resolved, path: str, message: str, hint: str = "") -> ScenarioError:
    """The error that the value at `path` cannot be built. A default's place is its file."""
    marks = {place: node.mark for place, node in resolved.tree.walk()}
    if path in marks:
        return ScenarioError([marks[path].problem(path, message, hint)])
    return ScenarioError([Problem(resolved.tree.mark.file, 0, 0, path, message, hint)])

"""Check scenario files: every problem of every file, with line, column and the way out.

The findings are the result, so they go to stdout; how many files were right goes to stderr.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mtsim.cli.console import print_json, say
from mtsim.errors import EXIT_OK, EXIT_USAGE, Problem, ScenarioError, UsageError
from mtsim.scenario import load
from mtsim.scenario.dump import dump


def command(
    files: Annotated[list[str], Parameter(help="Scenario files.")],
    /,
    *,
    overrides: Annotated[
        list[str] | None,
        Parameter(name="--set", help="A value laid over each: path=value.", negative=""),
    ] = None,
    dry_run: Annotated[
        bool, Parameter(help="Also print each resolved, with the origin of values.", negative="")
    ] = False,
    json: Annotated[bool, Parameter(help="Print the findings as JSON.", negative="")] = False,
) -> int:
    """Check scenario files."""
    if dry_run and json:
        raise UsageError("--dry-run prints YAML and --json prints JSON: give one of them")
    found = {file: _problems(file, overrides or [], dry_run) for file in files}
    bad = sum(map(bool, found.values()))
    if json:
        rows = [problem.as_dict() for problems in found.values() for problem in problems]
        print_json({"files": len(files), "invalid": bad, "problems": rows})
    else:
        for problem in (problem for problems in found.values() for problem in problems):
            print(problem.text())
    say(f"{len(files) - bad} of {len(files)} scenarios are valid")
    return EXIT_USAGE if bad else EXIT_OK


def _problems(file: str, overrides: list[str], show: bool) -> tuple[Problem, ...]:
    try:
        resolved = load(Path(file), overrides)
    except ScenarioError as error:
        return error.problems
    if show:
        print(f"---\n# {file}\n{dump(resolved)}", end="")
    return ()

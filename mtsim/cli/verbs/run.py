"""Run a scenario to its end, or go on with a run that was cut short.

The tape and all else go to a folder; the same command again goes on where the folder says it
stands, and says so where there is nothing left to do.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from mtsim.cli.console import print_json, print_table, progress, say
from mtsim.cli.runs import COLUMNS, cells, live_line, parse_ns, parse_seeds, remarks
from mtsim.errors import UsageError
from mtsim.scenario import Resolved, load
from mtsim.scenario.catalogue import find


def command(
    scenario: Annotated[str, Parameter(help="A scenario file, or the name of a shipped one.")],
    /,
    *,
    seed: Annotated[int | None, Parameter(help="Seed laid over the file's own.")] = None,
    seeds: Annotated[
        str | None, Parameter(help="Several, A to before B, as A:B; each in a folder of its own.")
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="The run's folder: runs/NAME/seed-N; of --seeds, around it.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        Parameter(name="--set", help="A value laid over the scenario: path=value.", negative=""),
    ] = None,
    checkpoint: Annotated[
        str, Parameter(help="Simulated time between two moments that survive a kill.")
    ] = "300s",
    paranoid: Annotated[
        bool, Parameter(help="Check conservation after every message; slow.", negative="")
    ] = False,
    figure: Annotated[
        Path | None, Parameter(help="Also draw the touch and the agent's trades as a PNG.")
    ] = None,
    json: Annotated[bool, Parameter(help="Print as JSON.", negative="")] = False,
) -> None:
    """Run a scenario."""
    if seed is not None and seeds is not None:
        raise UsageError("--seed is one run and --seeds are several: give one of them")
    if figure is not None and seeds is not None:
        raise UsageError("--figure is of one run: give --seed")
    checkpoint_ns = parse_ns("--checkpoint", checkpoint)
    file, chosen = find(scenario), [seed] if seeds is None else parse_seeds(seeds)
    rows = []
    for number in chosen:
        resolved = load(file, overrides or [], number)
        name = f"seed-{resolved.scenario.seed}"
        if out is None:
            folder = Path("runs", resolved.scenario.name or "run", name)
        else:
            folder = out if seeds is None else out / name
        rows.append(_run(resolved, folder, checkpoint_ns, paranoid))
    if json:
        print_json(rows[0] if seeds is None else {"runs": rows})
    else:
        print_table(COLUMNS, [cells(row) for row in rows])
    if figure is not None:
        _draw(rows[0], figure)


def _run(resolved: Resolved, folder: Path, checkpoint_ns: int, paranoid: bool) -> dict[str, Any]:
    from mtsim.build.execute import execute

    begun = time.perf_counter()
    scenario = resolved.scenario
    try:
        with progress(f"Running {scenario.name or 'the scenario'}, seed {scenario.seed}") as step:
            step("starting; what runs for the first time is compiled, for a minute or so")
            done = execute(
                resolved,
                folder,
                checkpoint_ns=checkpoint_ns,
                paranoid=paranoid,
                progress=live_line(step),
            )
    except KeyboardInterrupt:
        say(f"{folder}: the same command goes on where it was acknowledged last")
        raise
    seconds = time.perf_counter() - begun
    outcome = done.outcome
    for remark in remarks(outcome):
        say(f"{folder}: {remark}")
    if done.status == "present":
        say(f"{folder}: just this run was there already, finished")
        if done.by_other_code:
            say(f"{folder}: other code than today's ran it; remove it, or name another, to compare")
    else:
        simulated_s = outcome["simulated_ns"] / 1e9
        say(
            f"{folder}: {done.events_run:,} events in {seconds:.1f} s, "
            f"{simulated_s / seconds:,.0f} x real time; the tape is in {folder / 'tape'}"
        )
    return {"status": done.status, "out": str(folder), **outcome}


def _draw(row: dict[str, Any], figure: Path) -> None:
    from mtsim.build.run_store import open_run
    from mtsim.build.simulation import AGENT, WORLD
    from mtsim.evaluation.run_figure import draw_run

    title = f"{row['scenario']}, seed {row['seed']}"
    draw_run(open_run(row["out"]).tape.stream(WORLD), figure, title, AGENT)
    say(str(figure))

"""Show a scenario resolved, every value with where it came from, or what came of a run.

Of a scenario: what `extends`, `--set`, the seed and the defaults make of a file, as a scenario
again. Of the folder of a run: how it stands, every byte of it verified.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mtsim.cli.console import print_json, print_table, say
from mtsim.errors import UsageError
from mtsim.scenario import load
from mtsim.scenario.catalogue import find
from mtsim.scenario.dump import dump


def command(
    what: Annotated[
        str, Parameter(help="A scenario file, the name of a shipped one, or the folder of a run.")
    ],
    /,
    *,
    overrides: Annotated[
        list[str] | None,
        Parameter(name="--set", help="A value laid over it: path=value.", negative=""),
    ] = None,
    seed: Annotated[int | None, Parameter(help="Seed laid over the file's own.")] = None,
    json: Annotated[bool, Parameter(help="Print as JSON, without origins.", negative="")] = False,
) -> None:
    """Show a scenario resolved, or a run."""
    if Path(what).is_dir():
        if overrides or seed is not None:
            raise UsageError("--set and --seed are for scenarios: a run is what it is")
        _show_run(Path(what), json)
        return
    resolved = load(find(what), overrides or [], seed)
    if json:
        print_json(resolved.scenario.model_dump(mode="json", by_alias=True))
    else:
        sys.stdout.write(dump(resolved))


def _show_run(folder: Path, json: bool) -> None:
    from mtsim.build.run_store import MANIFEST, acknowledged, open_run
    from mtsim.cli.runs import COLUMNS, cells, remarks

    if not (folder / MANIFEST).exists():
        run, tape = acknowledged(folder)
        last_ns = int(tape.table("steps")["time_ns"][-1]) if len(tape) else 0
        if json:
            said = {"run": run, "messages": len(tape), "last_ns": last_ns}
            print_json({"status": "unfinished", **said})
        else:
            until = f"{len(tape):,} messages until {last_ns / 1e9:,.1f} s are acknowledged"
            print(f"{run['scenario']}, seed {run['seed']}: unfinished; {until}")
        return
    found = open_run(folder)
    if json:
        print_json({"status": "finished", "run": found.run, **found.outcome})
        return
    outcome = found.outcome
    print_table(COLUMNS, [cells(outcome)])
    columns = ("position_lots", "cash", "bought_lots", "sold_lots", "maker_lots", "open_orders")
    print_table(
        ("account", *columns, "fee"),
        [
            (
                account["name"],
                *(f"{account[column]:,}" for column in columns),
                f"{account['fee']:,.2f}",
            )
            for account in outcome["accounts"]
        ],
    )
    for remark in remarks(outcome):
        say(remark)

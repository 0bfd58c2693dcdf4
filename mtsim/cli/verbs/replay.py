"""Replay a run: execute its tape again, without flow and agents, and compare every row and hash."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mtsim.cli.console import print_json, print_table, progress


def command(
    run: Annotated[Path, Parameter(help="The folder of a finished run.")],
    /,
    *,
    json: Annotated[bool, Parameter(help="Print as JSON.", negative="")] = False,
) -> None:
    """Replay a run; exit 4 where anything differs."""
    from mtsim.build.replay import replay_run

    with progress(f"Replaying {run}"):
        found = replay_run(run)
    if json:
        print_json({"run": str(run), "equal": True, **found._asdict()})
        return
    print_table(
        ("messages", "fills", "tape hash", "book hash", "replay"),
        [
            (
                f"{found.messages:,}",
                f"{found.fills:,}",
                found.tape_hash[:16],
                found.book_hash[:16],
                "equal",
            )
        ],
    )

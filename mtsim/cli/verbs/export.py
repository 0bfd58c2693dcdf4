"""Export a run in a form that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mtsim.cli.console import print_json, progress


def command(
    run: Annotated[Path, Parameter(help="The folder of a finished run.")],
    /,
    *,
    format: Annotated[
        Literal["lobster"], Parameter(help="lobster: a message and an orderbook file.")
    ] = "lobster",
    out: Annotated[Path | None, Parameter(help="The folder for the files: RUN/FORMAT.")] = None,
    levels: Annotated[int | None, Parameter(help="Levels of the book: 10.")] = None,
    json: Annotated[bool, Parameter(help="Print as JSON.", negative="")] = False,
) -> None:
    """Export a run."""
    from mtsim.build.session import export_run
    from mtsim.errors import UsageError

    if levels is not None and levels < 1:
        raise UsageError(f"--levels: at least 1, got {levels}")
    with progress(f"Exporting {run}"):
        written = export_run(run, out or run / format, levels)
    if json:
        print_json(
            {
                "format": format,
                "messages": str(written.messages),
                "orderbook": str(written.orderbook),
                "rows": written.rows,
            }
        )
        return
    print(written.messages)
    print(written.orderbook)

"""Replay a workload whose right answer is public, and digest the engine's reports."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mtsim.cli.console import print_json, print_table, progress


def command(
    file: Annotated[
        Path, Parameter(help="A workload in parquet, as docs/benchmarks.md describes.")
    ],
    /,
    *,
    sha256: Annotated[
        str | None, Parameter(help="The digest its reports must have; another one is exit 4.")
    ] = None,
    repetitions: Annotated[int, Parameter(help="Timed replays; the median is reported.")] = 5,
    pin: Annotated[bool, Parameter(help="Keep to one core while timing.")] = True,
    json: Annotated[bool, Parameter(help="Print as JSON.", negative="")] = False,
) -> None:
    """Replay a workload and digest the engine's reports."""
    from mtsim.bench import oracle

    with progress("Replaying the workload") as say:
        result = oracle.replay(file, repetitions=repetitions, pin=pin, progress=say)
    if json:
        print_json(asdict(result))
    else:
        rows = [
            ("messages", f"{result.messages:,}"),
            ("fills", f"{result.fills:,}"),
            ("refused", f"{result.refused:,}"),
            ("reports", f"{result.reports:,}"),
            ("ns per message, median", f"{result.ns_per_message_median:.1f}"),
            ("ns per message, best", f"{result.ns_per_message_min:.1f}"),
            ("reports, SHA-256", result.sha256),
        ]
        print_table((file.name, ""), rows)
    if sha256 is not None:
        result.require(sha256)

"""Measure: how fast the parts are on this machine, checked while they are timed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from mtsim.cli.console import print_json, print_table, progress
from mtsim.cli.verbs import engine_oracle
from mtsim.errors import UsageError

command = App(name="bench", help="Measure how fast the parts are on this machine.")


@command.command
def engine(
    *,
    oracle: Annotated[
        Path | None, Parameter(help="Replay this workload instead, as `mtsim engine-oracle` does.")
    ] = None,
    sha256: Annotated[str | None, Parameter(help="The digest its reports must have.")] = None,
    repetitions: Annotated[int, Parameter(help="Timed runs; medians are reported.")] = 7,
    quick: Annotated[
        bool, Parameter(help="One book only, in two runs: a first look.", negative="")
    ] = False,
    pin: Annotated[bool, Parameter(help="Keep to one core while one is timed.")] = True,
    json: Annotated[bool, Parameter(help="Print as JSON.", negative="")] = False,
) -> None:
    """The matching engine on the stream zi1, beside a book in plain Python.

    Both digests of the stream, messages and fills, are checked; a wrong one is exit 4.
    """
    if oracle is not None:
        engine_oracle.command(oracle, sha256=sha256, repetitions=repetitions, pin=pin, json=json)
        return
    if sha256 is not None:
        raise UsageError("--sha256 is the digest of a workload: it needs --oracle FILE")
    from mtsim.bench import engine as bench

    with progress("Measuring the matching engine") as say:
        if quick:
            result = bench.run(repetitions=2, batches=False, starts=False, pin=pin, progress=say)
        else:
            result = bench.run(repetitions=repetitions, pin=pin, progress=say)
    if json:
        print_json(result)
        return
    machine = result["machine"]
    title = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}"
    print_table(("engine", "median", "best"), bench.table(result), title)


@command.command
def loop(
    *,
    repetitions: Annotated[int, Parameter(help="Timed runs; medians are reported.")] = 7,
    quick: Annotated[
        bool, Parameter(help="One world only, in two runs: a first look.", negative="")
    ] = False,
    pin: Annotated[bool, Parameter(help="Keep to one core while one is timed.")] = True,
    json: Annotated[bool, Parameter(help="Print as JSON.", negative="")] = False,
) -> None:
    """The whole closed loop, recorded, for each flow on 1, 64 and 1,024 books.

    Each run must end in the same books, and so must the engine alone; if not, that is exit 4.
    """
    from mtsim.bench import loop as bench

    with progress("Measuring the closed loop") as say:
        if quick:
            result = bench.run(repetitions=2, books=(1,), pin=pin, progress=say)
        else:
            result = bench.run(repetitions=repetitions, pin=pin, progress=say)
    if json:
        print_json(result)
        return
    machine = result["machine"]
    title = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}"
    print_table(("events a second", "median", "best", "engine"), bench.table(result), title)

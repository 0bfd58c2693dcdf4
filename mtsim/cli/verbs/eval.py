"""Evaluate: what tokenizers, models and agents are worth, beside the noise of real markets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from mtsim.cli.console import print_json, print_table, progress, say

command = App(name="eval", help="Evaluate: what tokenizers, models and agents are worth.")


@command.command
def tokenizer(
    data: Annotated[Path, Parameter(help="A data set of `mtsim data prepare --schema book`.")],
    /,
    *,
    store: Annotated[
        Path | None, Parameter(help="The store it was made of, where that has moved.")
    ] = None,
    stretch: Annotated[
        int | None, Parameter(help="Actions before the book is the real one again: 128.")
    ] = None,
    seed: Annotated[int, Parameter(help="Of the draws inside the bins.")] = 0,
    json: Annotated[bool, Parameter(help="Print as JSON.", negative="")] = False,
) -> None:
    """The tokenizer floor: real actions made tokens, drawn back into a book, and compared.

    A row a session, beside it the noise: one half of the real stretches against the other.
    """
    from mtsim.evaluation.tokenizer_floor import STRETCH_ACTIONS, measure_dataset
    from mtsim.model.dataset import Dataset

    with progress("Measuring the tokenizer floor") as step:
        floors = measure_dataset(
            Dataset.open(data),
            store,
            seed=seed,
            stretch_actions=STRETCH_ACTIONS if stretch is None else stretch,
            progress=step,
        )
        rows = [floor.as_json() for floor in floors]
    if json:
        print_json(rows)
        return
    print_table(
        (
            "session",
            "actions",
            "move rate",
            "ratio",
            "noise",
            "mean TV",
            "noise",
            "worst",
            "TV",
            "edited",
            "moved",
            "lost",
        ),
        [
            [
                row["session"],
                f"{row['actions']:,}",
                *(
                    "-" if row[name] is None else f"{row[name]:.4f}"
                    for name in (
                        "move_rate_real",
                        "move_rate_ratio",
                        "noise_move_rate_ratio",
                        "mean_tv",
                        "noise_mean_tv",
                    )
                ),
                row["worst"] or "-",
                *(
                    "-" if row[name] is None else f"{row[name]:.4f}"
                    for name in ("worst_tv", "edited", "moved", "lost")
                ),
            ]
            for row in rows
        ],
    )
    say("gates: ratio in [0.97, 1.03], mean TV at most 0.05")

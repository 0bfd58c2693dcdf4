"""Executes a finished run's tape again, without the flow and the agents that made it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mtsim.build.run_store import MANIFEST, open_run
from mtsim.engine.tape import replay
from mtsim.errors import IntegrityError


class Replayed(NamedTuple):
    """What a tape and its replay have in common: every result and fill, and the book's end."""

    messages: int
    fills: int
    tape_hash: str
    book_hash: str


def replay_run(folder: Path | str) -> Replayed:
    """Replay the run in a folder. IntegrityError names the first row, or the book, that differs."""
    run = open_run(folder)
    (book,) = replay(run.tape)
    found, expected = book.hash(), run.outcome["book_hash"]
    if found != expected:
        raise IntegrityError(
            f"{Path(folder) / MANIFEST}: the run ended in book {expected}, its replay in {found}"
        )
    return Replayed(len(run.tape), len(run.tape.table("fills")), run.tape.hash(), found)

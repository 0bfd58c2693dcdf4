"""A finished run as a session like those that feeds are made into: for the store and the exporters
of market data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np

from mtsim.build.run_store import MANIFEST, SCENARIO, open_run
from mtsim.engine.events import EventType, Origin
from mtsim.engine.tape import Tape
from mtsim.model.export import Exported, export_lobster
from mtsim.model.ingest import import_session
from mtsim.model.sources.base import BATCH_ROWS, FEED_DTYPE, Batch, Counts, Instrument, Session
from mtsim.model.store import Store
from mtsim.scenario import Scenario, load

VENUE = "mtsim"

DATE = date(2000, 1, 3)
"""Simulated sessions have no day of their own; this one was a Monday."""


class RunSource:
    """The messages of a run's tape as a source of market data (`mtsim.model.sources.base`)."""

    def __init__(self, tape: Tape, scenario: Scenario, file: Path):
        instrument = scenario.instrument
        self.counts = Counts()
        self.session = Session(
            instrument=Instrument(
                instrument.symbol,
                VENUE,
                instrument.tick_size,
                instrument.lot_size,
                instrument.currency,
            ),
            date=DATE,
            source="mtsim",
            files=(str(file),),
            start_ns=scenario.session.open_ns,
        )
        self._tape = tape

    def batches(self) -> Iterator[Batch]:
        stream = self._tape.stream()
        begins = stream.marks["before"][stream.marks["type"] == EventType.SESSION_START]
        feed = np.zeros(len(stream.messages), FEED_DTYPE)
        feed["time_ns"] = stream.time_ns
        feed["row"] = np.arange(1, len(feed) + 1)
        feed["message"] = stream.messages
        feed["origin"] = Origin.OBSERVED
        feed["origin"][: begins[0] if len(begins) else 0] = Origin.OPENING
        for start in range(0, len(feed), BATCH_ROWS):
            some = feed[start : start + BATCH_ROWS]
            self.counts.read += len(some)
            self.counts.used += len(some)
            yield Batch(some)


def export_run(folder: Path | str, out: Path, levels: int | None = None) -> Exported:
    """Write a finished run as LOBSTER's two files into `out`, with `levels` of the book: 10, if not
    said. UsageError for what the format cannot hold."""
    folder = Path(folder)
    run = open_run(folder)
    scenario = load(folder / SCENARIO).scenario
    with tempfile.TemporaryDirectory() as place:
        source = RunSource(run.tape, scenario, folder / MANIFEST)
        # What checks find in a simulated market is no reason not to write it down.
        stored = import_session(source, Store(place), keep=True)
        return export_lobster(stored, out, levels)

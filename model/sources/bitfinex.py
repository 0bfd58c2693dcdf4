"""Changes of Bitfinex price levels as CSV: `timestamp,price,volume,side`, without trades.

The rows of the first time are the book that the file starts with. Every decrease is a cancel, for
the file does not say what traded.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from mtsim.errors import UsageError
from mtsim.model.sources import grid, level_tables
from mtsim.model.sources.base import Instrument, Options, Session, Source
from mtsim.model.sources.day_source import sessions
from mtsim.model.sources.levels import ASSUMPTIONS, Ladder

# Seconds with decimals, kept to the nanosecond.
_COLUMNS = level_tables.Columns("price", "volume", "side", "bid", "ask", "timestamp", 9)
_ASSUMPTIONS = (
    "The feed has no trades: what traded is a cancel.",
    "Rows of one time are one state of the book, the first ones the book at the start.",
)


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[Source]:
    """A session for each UTC day of the files, read one after the other in the order given."""
    symbol = options.symbol or _symbol_of(files[0])
    tables = [(file, _COLUMNS) for file in files]
    on = level_tables.grid_of(tables, options)

    def session_of(day: date) -> Session:
        return Session(
            instrument=Instrument(
                symbol,
                options.venue or "bitfinex",
                grid.as_decimal(on.tick_step),
                grid.as_decimal(on.lot_step),
                currency=symbol[-3:],
            ),
            date=day,
            source="bitfinex",
            files=files,
            by_order=False,
            assumptions=(*on.assumptions, *ASSUMPTIONS, *_ASSUMPTIONS),
        )

    pieces = level_tables.pieces(tables, on, files)
    yield from sessions(pieces, files[0], options, session_of, Ladder)


def _symbol_of(file: str) -> str:
    name = Path(file).name.partition("_")[0].partition(".")[0]
    if not name.isalnum() or not name.isupper():
        raise UsageError(f"the name of {file} does not begin with a symbol: say it")
    return name

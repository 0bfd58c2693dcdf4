"""Coinbase price levels: snapshot and l2update CSV files, or a recording of the feed's messages.

`side,price,size` files are the book at the start, `side,price,size,time` files what levels show
from then on; give the snapshots with the updates. Recordings, which have a column `type`, are read
by `coinbase_feed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np

from mtsim.errors import DataError, UsageError
from mtsim.model.sources import coinbase_feed, grid, level_tables
from mtsim.model.sources.base import Instrument, Options, Session, Source, in_file
from mtsim.model.sources.day_source import sessions
from mtsim.model.sources.files import open_binary
from mtsim.model.sources.levels import ASSUMPTIONS, L2_DTYPE, Ladder

_SNAPSHOT = level_tables.Columns("price", "size", "side", "buy", "sell")
_UPDATES = level_tables.Columns("price", "size", "side", "buy", "sell", "time", is_float=True)
_ASSUMPTIONS = (
    "The files have no trades: what traded is a cancel.",
    "Sizes of updates are the decimals of eight digits that their floats came from.",
    "Rows of one time are one state of the book.",
)
_FIRST_LINE_BYTES = 1 << 16
_PRODUCT = re.compile(r"[A-Z0-9]+-([A-Z0-9]+)")


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[Source]:
    """A session for each UTC day of the files, updates read one after the other as given."""
    symbol = options.symbol or _symbol_of(files[0])
    headers = [_header_of(file) for file in files]
    if any("type" in header for header in headers):
        if not all("type" in header for header in headers):
            raise UsageError("recordings and files of levels are two books: give one of them")
        feed = coinbase_feed.Feed(files, options)
        on, pieces, assumptions = feed.grid, feed.pieces(), coinbase_feed.ASSUMPTIONS
    else:
        tables = list(zip(files, map(_columns_of, files, headers), strict=True))
        on = level_tables.grid_of(tables, options)
        snapshots = [file for file, columns in tables if columns.time is None]
        if not snapshots:
            raise DataError(files[0], None, "no snapshot is given, so no book", "Give it, too")
        opening = np.zeros(0, L2_DTYPE)
        for file in snapshots:
            for part in level_tables.levels_of(file, _SNAPSHOT, on):
                part["row"] = in_file(files.index(file), part["row"])
                opening = np.concatenate([opening, part])
        updates = [table for table in tables if table[1].time is not None]
        pieces = level_tables.pieces(updates, on, files, opening)
        assumptions = _ASSUMPTIONS

    def session_of(day: date) -> Session:
        match = _PRODUCT.fullmatch(symbol)
        return Session(
            instrument=Instrument(
                symbol,
                options.venue or "coinbase",
                grid.as_decimal(on.tick_step),
                grid.as_decimal(on.lot_step),
                currency=match[1] if match else symbol[-3:],
            ),
            date=day,
            source="coinbase",
            files=files,
            by_order=False,
            assumptions=(*on.assumptions, *ASSUMPTIONS, *assumptions),
        )

    yield from sessions(pieces, files[0], options, session_of, Ladder)


def _symbol_of(file: str) -> str:
    name = Path(file).name.partition("_")[0].partition(".")[0]
    if not _PRODUCT.fullmatch(name):
        raise UsageError(f"the name of {file} does not begin with a product (BTC-USD): say it")
    return name


def _header_of(file: str) -> list[str]:
    with open_binary(file) as stream:
        return stream.readline(_FIRST_LINE_BYTES).decode("utf-8", "replace").strip().split(",")


def _columns_of(file: str, header: list[str]) -> level_tables.Columns:
    if not {"side", "price", "size"} <= set(header):
        raise DataError(file, 1, "its columns are not side, price, size and perhaps time")
    return _UPDATES if "time" in header else _SNAPSHOT

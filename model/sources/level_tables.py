"""Tables of level changes: CSV rows that say how much a price shows from a time on.

Rows of one time are one state of the book. Knows how such a table becomes rows of a feed by level,
not what its columns are called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mtsim.engine.units import MAX_TICK
from mtsim.errors import DataError
from mtsim.model.sources import grid
from mtsim.model.sources.base import Options, in_file, place
from mtsim.model.sources.day_source import Piece, cut_by_day
from mtsim.model.sources.files import Kind, read_csv
from mtsim.model.sources.levels import L2_DTYPE, What, with_syncs

# 1973 to 2128, in nanoseconds: a time in another unit is none of these.
_FIRST_NS, _LAST_NS = 10**17, 5 * 10**18


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are called, and what its sides are."""

    price: str
    size: str
    side: str
    bid: str
    ask: str
    time: str | None = None
    """None: a table of one moment."""
    time_kind: Kind = "time"
    is_float: bool = False
    """Whether sizes have been through floating point (`grid.units_of_floats`)."""

    def kinds(self) -> dict[str, Kind]:
        """How each column is read."""
        kinds: dict[str, Kind] = {
            self.price: grid.DIGITS,
            self.size: "text" if self.is_float else grid.DIGITS,
            self.side: "text",
        }
        if self.time is not None:
            kinds[self.time] = self.time_kind
        return kinds

    def sizes(self, file: str, first_row: int, block: dict[str, np.ndarray]) -> np.ndarray:
        """The sizes of a block, in units."""
        sizes = block[self.size]
        return grid.units_of_floats(sizes, file, first_row) if self.is_float else sizes


def grid_of(tables: list[tuple[str, Columns]], options: Options) -> grid.Grid:
    """The grid of all prices and sizes in some tables, as far as the user does not say it."""
    price_divisor = size_divisor = 0
    if options.tick_size is None or options.lot_size is None:
        for file, columns in tables:
            for first_row, block in read_csv(file, columns.kinds()):
                price_divisor = grid.common_divisor(block[columns.price], price_divisor)
                size_divisor = grid.common_divisor(
                    columns.sizes(file, first_row, block), size_divisor
                )
    return grid.grid_of(options, price_divisor, size_divisor)


def levels_of(file: str, columns: Columns, on: grid.Grid) -> Iterator[np.ndarray]:
    """The LEVEL rows of a table, block by block, at time 0 where it has none."""
    for first_row, block in read_csv(file, columns.kinds()):
        numbers = first_row + np.arange(len(block[columns.side]))
        rows = np.zeros(len(numbers), L2_DTYPE)
        is_ask = block[columns.side] == columns.ask
        bad = ~is_ask & (block[columns.side] != columns.bid)
        if bad.any():
            said = block[columns.side][np.argmax(bad)]
            what = f"the side {said!r} is not {columns.bid} or {columns.ask}"
            raise DataError(file, int(numbers[np.argmax(bad)]), what)
        if columns.time is not None:
            time_ns = block[columns.time]
            bad = (time_ns < _FIRST_NS) | (time_ns > _LAST_NS)
            if bad.any():
                row = int(numbers[np.argmax(bad)])
                raise DataError(file, row, "the time is not one between 1973 and 2128")
            rows["time_ns"] = time_ns
        rows["what"], rows["side"], rows["row"] = What.LEVEL, is_ask, numbers
        tick = grid.whole_steps(
            block[columns.price], on.tick_step, grid.MOST, file, numbers, "price"
        )
        rows["tick"] = np.minimum(tick, MAX_TICK + 1)
        sizes = columns.sizes(file, first_row, block)
        rows["lots"] = grid.whole_steps(
            sizes, on.lot_step, grid.MAX_LOTS_IN_ALL, file, numbers, "size"
        )
        yield rows


def pieces(
    tables: list[tuple[str, Columns]],
    on: grid.Grid,
    files: tuple[str, ...],
    opening: np.ndarray | None = None,
) -> Iterator[Piece]:
    """The tables, read one after the other, as a feed that opens with these levels.

    Without, it opens with the rows of the first time. `files` are those of the session.
    DataError where time goes back.
    """
    held = np.zeros(0, L2_DTYPE)
    for file, columns in tables:
        for block in levels_of(file, columns, on):
            block["row"] = in_file(files.index(file), block["row"])
            rows = np.concatenate([held, block])
            if not len(rows):
                continue
            back = np.diff(rows["time_ns"]) < 0
            if back.any():
                where = place(files, rows["row"][1:][np.argmax(back)])
                raise DataError(*where, "the time is before that of the row before")
            if opening is not None and len(opening):
                yield _opened(opening, rows)
                opening = opening[:0]
            # The rows of the last time may go on in the next block.
            last = int(np.searchsorted(rows["time_ns"], rows["time_ns"][-1]))
            held = rows[last:]
            for part in cut_by_day(rows[:last]) if last else ():
                yield _synced(part, is_first=opening is None)
                opening = held[:0]
    if len(held):
        yield _synced(held, is_first=opening is None)


def _opened(opening: np.ndarray, rows: np.ndarray) -> Piece:
    """Levels put in place at the time of the first row that follows."""
    opening["time_ns"] = rows["time_ns"][0]
    return _synced(opening, is_first=True)


def _synced(rows: np.ndarray, is_first: bool) -> Piece:
    in_range = rows["tick"] <= MAX_TICK
    synced = with_syncs(rows[in_range])
    if is_first and len(synced):
        synced["what"][np.argmax(synced["what"] == What.SYNC)] = What.OPEN
    n_used = int(np.count_nonzero(in_range))
    dropped = +Counter({"level at a price that the engine does not have": len(rows) - n_used})
    return Piece(synced, used=n_used, dropped=dropped)

"""Tardis CSV files: `trades`, `quotes` and `book_snapshot_25` of one instrument.

Trades alone are aggressive orders without a book (`takers`). With snapshots, or else with quotes,
they meet a book of just the levels that these show (`levels`): 25 a side, or the touch. What a file
shows is what the book is held against, so it proves our part, not the vendor's.

Rows happen at the exchange's `timestamp`, which must not go back within files of one kind; where
kinds meet at one time, trades come first, for a trade is what changes the book. Numbers may be
missing where a side has fewer levels. A venue is called as Tardis calls it, but for Binance's
futures, which have the names that they have in recordings and archives of Binance's own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtsim.engine.units import MAX_TICK
from mtsim.errors import DataError, UsageError
from mtsim.model.sources import grid, levels, takers
from mtsim.model.sources.base import (
    FEED_DTYPE,
    Instrument,
    Options,
    Session,
    Source,
    Truth,
    in_file,
)
from mtsim.model.sources.binance_lines import VENUES, quote_currency
from mtsim.model.sources.day_source import DAY_NS, Piece, sessions
from mtsim.model.sources.files import Kind, open_binary, read_csv
from mtsim.model.sources.levels import L2_DTYPE, Ladder, What

_FIRST_LINE_BYTES = 1 << 16
_NEVER = 2**62
_LEVEL = re.compile(r"(bids|asks)\[(\d+)\]\.price")
_VENUES = {"binance-futures": VENUES["um"], "binance-delivery": VENUES["cm"]}
_ASSUMPTIONS = (
    "The book has the levels that the files show, and what leaves their window is cancelled.",
    "Of rows at one time, trades come first.",
)


class _File(NamedTuple):
    """A file, and the names of its price and amount columns: of trades, or of bids and asks."""

    path: str
    number: int
    """Its place among the files of the session."""
    levels: int
    """0: trades."""
    prices: tuple[tuple[str, ...], ...]
    amounts: tuple[tuple[str, ...], ...]


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[Source]:
    """A session for each UTC day of one instrument.

    Of quotes and snapshots, which are two views of one book, those with the most levels are read.
    """
    levels_of = [_kind_of(file, 0).levels for file in files]
    depth = max(levels_of)
    unread = [file for file, n in zip(files, levels_of, strict=True) if n not in (0, depth)]
    files = tuple(file for file in files if file not in unread)
    kinds = [_kind_of(file, number) for number, file in enumerate(files)]
    trades = [file for file in kinds if not file.levels]
    books = [file for file in kinds if file.levels]
    passed_over = tuple(
        f"{Path(file).name} is not read: other files show more of the book." for file in unread
    )
    symbol, venue = _names_of(files[0])
    symbol = options.symbol or symbol
    on = _grid_of(kinds, _Reader(symbol, options), options)

    def session_of(day: date) -> Session:
        assumed = (*levels.ASSUMPTIONS, *_ASSUMPTIONS) if books else takers.ASSUMPTIONS
        return Session(
            instrument=Instrument(
                symbol,
                options.venue or _VENUES.get(venue, venue),
                grid.as_decimal(on.tick_step),
                grid.as_decimal(on.lot_step),
                currency=quote_currency(symbol),
            ),
            date=day,
            source="tardis",
            files=files,
            by_order=False,
            truth_levels=depth,
            assumptions=(*passed_over, *on.assumptions, *assumed),
        )

    read = _Reader(symbol, options)
    found = _trades(trades, read, on)
    if books:
        pieces = _merged(_prints(found, depth), _books(books, read, on), read, depth)
        yield from sessions(pieces, files[0], options, session_of, Ladder)
    else:
        pieces = _orders(found, read)
        yield from sessions(pieces, files[0], options, session_of, takers.OrdersAlone)


def _kind_of(path: str, number: int) -> _File:
    with open_binary(path) as stream:
        line = stream.readline(_FIRST_LINE_BYTES).decode("utf-8", "replace").strip()
    names = line.split(",")
    if {"symbol", "timestamp", "side", "price", "amount"} <= set(names):
        return _File(path, number, 0, (("price",),), (("amount",),))
    if {"symbol", "timestamp", "bid_price", "bid_amount", "ask_price", "ask_amount"} <= set(names):
        prices, amounts = ((("bid_price",), ("ask_price",)), (("bid_amount",), ("ask_amount",)))
        return _File(path, number, 1, prices, amounts)
    found = {match[0] for name in names if (match := _LEVEL.fullmatch(name))}
    depth = len(found) // 2
    prices, amounts = (
        tuple(tuple(f"{side}[{n}].{what}" for n in range(depth)) for side in ("bids", "asks"))
        for what in ("price", "amount")
    )
    wanted = {"symbol", "timestamp"}.union(*prices, *amounts)
    if not depth or not wanted <= set(names):
        raise DataError(
            path, 1, "its header is none of Tardis trades, quotes or book_snapshot", line[:100]
        )
    return _File(path, number, depth, prices, amounts)


def _names_of(path: str) -> tuple[str, str]:
    """The symbol and the venue of the first row."""
    for _, block in read_csv(path, {"symbol": "text", "exchange": "text"}):
        if len(block["symbol"]):
            return str(block["symbol"][0]), str(block["exchange"][0])
    raise DataError(path, 2, "there is no row after the header")


class _Reader:
    """Rows of some files, with what they hold that is not used."""

    def __init__(self, symbol: str, options: Options):
        self.dropped: Counter[str] = Counter()
        self._symbol = symbol
        self._is_said = options.symbol is not None
        self._last_us: dict[int, int] = {}

    def take_dropped(self) -> Counter[str]:
        """What was dropped since the last time."""
        dropped, self.dropped = +self.dropped, Counter()
        return dropped

    def blocks(
        self, files: list[_File], others: dict[str, Kind]
    ) -> Iterator[tuple[_File, np.ndarray, dict[str, np.ndarray]]]:
        """The rows of the symbol: file, row numbers, columns with numbers in units."""
        for file in files:
            names = [name for group in (*file.prices, *file.amounts) for name in group]
            columns: dict[str, Kind] = {"symbol": "text", "timestamp": "int", **others}
            columns |= dict.fromkeys(names, grid.DIGITS)
            # A trade has all its numbers; a book may have fewer levels.
            empty = dict.fromkeys(names, 0) if file.levels else None
            for first_row, block in read_csv(file.path, columns, empty=empty):
                ours = block["symbol"] == self._symbol
                if not ours.all() and not self._is_said:
                    other = block["symbol"][int(np.argmin(ours))]
                    raise UsageError(f"{file.path} holds {self._symbol} and {other}: say which")
                if len(ours):
                    self._check_time(file, first_row, block["timestamp"])
                self.dropped["another symbol"] += int((~ours).sum())
                part = {name: column[ours] for name, column in block.items()}
                yield file, first_row + np.flatnonzero(ours), part

    def _check_time(self, file: _File, first_row: int, us: np.ndarray) -> None:
        bad = (us < 10**14) | (us >= 10**17)
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(file.path, first_row + row, f"{us[row]} is no time in microseconds")
        back = np.diff(us, prepend=self._last_us.get(file.levels, 0)) < 0
        if back.any():
            raise DataError(
                file.path,
                first_row + int(np.argmax(back)),
                "the timestamp is before that of the row before",
                "Give files in the order of time",
            )
        self._last_us[file.levels] = int(us[-1])


def _grid_of(files: list[_File], read: _Reader, options: Options) -> grid.Grid:
    divisors = [0, 0]
    if options.tick_size is None or options.lot_size is None:
        for file, _, block in read.blocks(files, {}):
            for n, groups in enumerate((file.prices, file.amounts)):
                for name in (name for group in groups for name in group):
                    divisors[n] = grid.common_divisor(block[name], divisors[n])
    return grid.grid_of(options, *divisors)


def _trades(files: list[_File], read: _Reader, on: grid.Grid) -> Iterator[takers.Trades]:
    """Trades in order, cut only between two orders."""
    held = takers.no_trades()
    n_read = 0
    for file, row, block in read.blocks(files, {"side": "text"}):
        side = block["side"]
        tick = _steps(file, row, block["price"], "price", on)
        lots = _steps(file, row, block["amount"], "amount", on)
        sells = side == "sell"
        is_trade = (sells | (side == "buy")) & (lots > 0) & (tick > 0)
        read.dropped["trade without side, price or amount"] += int((~is_trade).sum())
        n_new = int(is_trade.sum())
        new = takers.Trades(
            in_file(file.number, row[is_trade]),
            block["timestamp"][is_trade] * 1000,
            n_read + np.arange(n_new),
            sells[is_trade].astype(np.int64),
            tick[is_trade],
            lots[is_trade],
            np.ones(n_new, np.int64),
        )
        n_read += n_new
        trades = takers.joined(held, new)
        if not len(trades.row):
            continue
        last = int(np.flatnonzero(takers.starts(trades, aggregated=False))[-1])
        held = trades.part(slice(last, None))
        if last:
            yield trades.part(slice(0, last))
    if len(held.row):
        yield held


def _orders(trades: Iterator[takers.Trades], read: _Reader) -> Iterator[Piece]:
    for part in trades:
        pieces = takers.messages_by_day(takers.as_orders(part, aggregated=False))
        pieces[0].dropped = read.take_dropped()
        yield from pieces
    yield Piece(np.zeros(0, FEED_DTYPE), dropped=read.take_dropped())


class _Rows(NamedTuple):
    """Rows of a feed by level in order of time, and the books at their MARKs."""

    rows: np.ndarray
    truth: Truth

    def cut(self, place: int) -> tuple[_Rows, _Rows]:
        """The rows before a place, and those from it on."""
        n_marks = int(np.count_nonzero(self.rows["what"][:place] == What.MARK))
        before = Truth(*(column[:n_marks] for column in self.truth))
        after = Truth(*(column[n_marks:] for column in self.truth))
        return _Rows(self.rows[:place], before), _Rows(self.rows[place:], after)


def _joined(first: _Rows, second: _Rows) -> _Rows:
    truth = zip(first.truth, second.truth, strict=True)
    rows = np.concatenate([first.rows, second.rows])
    return _Rows(rows, Truth(*(np.concatenate(pair) for pair in truth)))


def _no_rows(depth: int) -> _Rows:
    return _Rows(
        np.zeros(0, L2_DTYPE),
        Truth(
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
            np.zeros((0, 2, depth), np.int32),
            np.zeros((0, 2, depth), np.int64),
        ),
    )


def _prints(trades: Iterator[takers.Trades], depth: int) -> Iterator[_Rows]:
    for part in trades:
        yield _no_rows(depth)._replace(rows=takers.prints(part, aggregated=False))


def _books(files: list[_File], read: _Reader, on: grid.Grid) -> Iterator[_Rows]:
    """Each row of quotes or snapshots as a whole book: what it does not show is gone."""
    is_first = True
    for file, row, block in read.blocks(files, {}):
        if not len(row):
            continue
        tick = np.zeros((len(row), 2, file.levels), np.int32)
        lots = np.zeros((len(row), 2, file.levels), np.int64)
        for side in range(2):
            for n, (price, amount) in enumerate(
                zip(file.prices[side], file.amounts[side], strict=True)
            ):
                tick[:, side, n] = _steps(file, row, block[price], price, on)
                lots[:, side, n] = _steps(file, row, block[amount], amount, on)
        rows = np.zeros((len(row), 2 * file.levels + 3), L2_DTYPE)
        row = in_file(file.number, row)
        rows["time_ns"], rows["row"] = block["timestamp"][:, None] * 1000, row[:, None]
        rows["what"][:, 0] = What.CLEAR
        rows["what"][:, 1:-2] = What.LEVEL
        rows["what"][:, -2:] = What.SYNC, What.MARK
        if is_first:
            rows["what"][0, -2] = What.OPEN
            is_first = False
        rows["side"][:, 1:-2] = np.repeat([0, 1], file.levels)
        rows["tick"][:, 1:-2] = tick.reshape(len(row), -1)
        rows["lots"][:, 1:-2] = lots.reshape(len(row), -1)
        yield _Rows(rows.reshape(-1), Truth(np.zeros(len(row), np.int64), row, tick, lots))


def _steps(file: _File, row: np.ndarray, values: np.ndarray, name: str, on: grid.Grid):
    is_price = name.endswith("price")
    step, most = (on.tick_step, MAX_TICK) if is_price else (on.lot_step, grid.MAX_LOTS_IN_ALL)
    return grid.whole_steps(values, step, most, file.path, row, name)


def _merged(
    trades: Iterator[_Rows], books: Iterator[_Rows], read: _Reader, depth: int
) -> Iterator[Piece]:
    """Both in order of time, trades first. Trades outside the time of the books are dropped."""
    feeds = (trades, books)
    held = [_no_rows(depth), _no_rows(depth)]
    ended = [False, False]
    first_ns, last_ns = _NEVER, 0
    while True:
        # What comes next of a feed is not before the last row that is held of it.
        until = [
            _NEVER if done else int(rows.rows["time_ns"][-1]) if len(rows.rows) else 0
            for done, rows in zip(ended, held, strict=True)
        ]
        now = []
        for n in range(2):
            place = int(np.searchsorted(held[n].rows["time_ns"], min(until)))
            part, held[n] = held[n].cut(place)
            now.append(part)
        if not any(len(part.rows) for part in now):
            if all(ended):
                break
            slow = int(np.argmin(until))
            more = next(feeds[slow], None)
            ended[slow] = more is None
            held[slow] = held[slow] if more is None else _joined(held[slow], more)
            continue
        if len(now[1].rows):
            first_ns = min(first_ns, int(now[1].rows["time_ns"][0]))
            last_ns = int(now[1].rows["time_ns"][-1])
        time = now[0].rows["time_ns"]
        known = (time > first_ns) & (
            time <= (last_ns if ended[1] and not len(held[1].rows) else _NEVER)
        )
        n_dropped = int(np.count_nonzero(now[0].rows["what"][~known] == What.PRINT))
        read.dropped["trade outside the time of the books"] += n_dropped
        rows = np.concatenate([now[0].rows[known], now[1].rows])
        rows = rows[np.argsort(rows["time_ns"], kind="stable")]
        yield from _by_day(_Rows(rows, now[1].truth), read)
    yield Piece(np.zeros(0, L2_DTYPE), dropped=read.take_dropped())


def _by_day(part: _Rows, read: _Reader) -> Iterator[Piece]:
    while len(part.rows):
        day = part.rows["time_ns"] // DAY_NS
        here, part = part.cut(int(np.searchsorted(day, day[0], side="right")))
        records = np.isin(here.rows["what"], (What.PRINT, What.MARK))
        used = int(np.count_nonzero(records))
        yield Piece(here.rows, here.truth, used, read.take_dropped())

"""LOBSTER: a day of one Nasdaq stock as a message file and, beside it, its order book file.

With the book file the messages made here give, after each row, all the levels that the row shows;
without it they give what the messages say, and no evidence. Knows the columns and the alignment of
the two files; rows are `lobster_rows`, what they do to the book is `lobster_window`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtsim.errors import DataError, MissingError, UsageError
from mtsim.model.sources import lobster_findings as findings
from mtsim.model.sources import lobster_names as names
from mtsim.model.sources import lobster_orders as orders
from mtsim.model.sources import lobster_rows as rows
from mtsim.model.sources import lobster_window as window
from mtsim.model.sources.base import (
    BATCH_ROWS,
    FEED_DTYPE,
    Batch,
    Counts,
    Instrument,
    Options,
    Session,
    Truth,
    in_file,
)
from mtsim.model.sources.digits import SKIP, read_digits

_SIDES = ("bid", "ask")
_OPEN_MS = 34_200_000  # 09:30, where a file name does not say it
_PRICE_UNITS = 10_000  # a dollar
_SWAPPED = "Are rows missing, or bids and asks exchanged?"

_WITH_BOOK = (
    "The opening book is the first book row before its message, one order a level.",
    "Lots of a level that enters the window, or changed outside of it, are single orders of ours.",
    "Orders that are cancelled or executed but were never announced are taken from such orders.",
)
_WITHOUT_BOOK = (
    "The book at the start is not known, nor what happens outside of the recorded levels.",
    "Orders whose price a later message passes are taken to be gone.",
    "An order that is executed but was never announced is put in place just before.",
)


class _Rows(NamedTuple):
    """Consecutive rows of both files, numbered from `first`. Without a book file: no levels."""

    first: int
    messages: rows.Messages
    tick: np.ndarray  # int32 [n, 2, L]
    lots: np.ndarray  # int64 [n, 2, L]


@dataclass(frozen=True)
class _Units:
    tick: int
    """In units of the files' prices, 1e-4 dollars."""
    lot: int


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[LobsterSource]:
    """One session for each message file, with the order book file beside it where there is one.

    That has the same name with `orderbook` for `message`, whatever its compression. It may be among
    `files` too. Symbol, date and the session's start come from the name,
    `SYMBOL_DATE_START_END_message_LEVELS.csv`; for any other name the options must say symbol and
    date, and the session starts at 09:30. `time_ns` counts from there, in New York.
    """
    units = _Units(
        _whole(options.tick_size, Decimal("0.01"), _PRICE_UNITS, "the tick size"),
        _whole(options.lot_size, Decimal(1), 1, "the lot size"),
    )
    paths = [Path(file) for file in files]
    books = {path for path in paths if "orderbook" in path.name}
    pairs = [(path, names.book_of(path)) for path in paths if path not in books]
    if lonely := books - {book for _, book in pairs}:
        raise UsageError(
            f"{sorted(map(str, lonely))[0]} is an order book file, and its message file is not "
            "given. Give the message file: the order book file beside it is found."
        )
    for messages, book in pairs:
        yield LobsterSource(messages, book, options, units)


class LobsterSource:
    """One message file and its order book file, if there is one: a `Source`.

    Consecutive executions of one time and direction, hidden ones between them aside, are one
    aggressive order; `truth` has every book row but those in the midst of such an order. An order
    that is not announced and is executed without a book file is put in place for it (INFERRED).
    A halt is an AUCTION message, the resumption of trading an UNCROSS.
    """

    def __init__(self, messages: Path, book: Path | None, options: Options, units: _Units):
        if not messages.is_file():
            raise MissingError(
                f"there is no file {messages}", "Look at the path; folders are not read."
            )
        name = names.NAME.fullmatch(messages.name)
        symbol = options.symbol or (name and name["symbol"])
        day = options.date or (name and names.day_of(messages, name["date"]))
        if not symbol or not day:
            raise UsageError(
                f"{messages} does not say its symbol and date: the name is not of the kind "
                "SYMBOL_DATE_START_END_message_LEVELS.csv. Give --symbol and --date."
            )
        self._messages, self._book, self._units = messages, book, units
        self._n_columns = names.n_columns(messages)
        if self._n_columns not in (6, 7):
            raise DataError(
                str(messages), 1, f"6 or 7 columns are expected, found {self._n_columns}"
            )
        self._levels = 0 if book is None else names.n_levels(book, name and int(name["levels"]))
        self._start_ns = 10**6 * (int(name["start"]) if name else _OPEN_MS)
        self.counts = Counts()
        self.session = Session(
            Instrument(
                symbol,
                options.venue or "NASDAQ",
                Decimal(units.tick) / _PRICE_UNITS,
                Decimal(units.lot),
            ),
            day,
            "lobster",
            tuple(str(path) for path in (messages, book) if path),
            start_ns=self._start_ns,
            timezone="America/New_York",
            truth_levels=self._levels,
            assumptions=_WITHOUT_BOOK if book is None else _WITH_BOOK,
        )

    def batches(self) -> Iterator[Batch]:
        """The session's messages in order. Raises DataError naming file and row."""
        w = orders.new_window(len(findings.REASONS))
        w = orders.with_room(w, 0, self._levels, BATCH_ROWS)
        pieces = self._pieces()
        piece = next(pieces)
        if self._book is not None:
            self._seed(w, piece)
        while piece is not None:
            coming = next(pieces, None)
            n = len(piece.messages.time_ns)
            start = 0
            while start < n:
                w = orders.with_room(w, n, self._levels, BATCH_ROWS)
                done = self._follow(w, piece, start, ended=coming is None)
                if done == start and w.head[orders.N_OUT] == 0:
                    # All that is left may be one aggressive order that goes on in the rows to come.
                    # They are waited for, but not for ever.
                    if coming is not None and n - start <= BATCH_ROWS:
                        break
                    done = self._follow(w, piece, start, ended=True)
                yield from _cut(_taken(w, piece))
                start = done
            self.counts.read += start
            piece = None if coming is None else _joined(piece, start, coming)
        for reason, count in zip(findings.REASONS, w.reasons.tolist(), strict=True):
            if count and reason in findings.DROPPED:
                self.counts.dropped[reason] = count
            elif count:
                self.counts.repaired[reason] = count
        self.counts.used = self.counts.read - self.counts.dropped.total()

    def _follow(self, w: orders.Window, piece: _Rows, start: int, *, ended: bool) -> int:
        done = window.follow(w, piece.messages, piece.tick, piece.lots, piece.first, start, ended)
        if w.head[orders.RULE]:
            raise self._broken(w, piece)
        return done

    def _seed(self, w: orders.Window, piece: _Rows) -> None:
        """Put the book before the first message in place.

        The first book row shows the book after it, so the message is undone: then it is executed
        as any other, and the order that it adds is known by its id.
        """
        before = [_levels_of(piece.tick[0, side], piece.lots[0, side]) for side in (0, 1)]
        kind, tick, lots, side = (
            int(column[0])
            for column in (
                piece.messages.type,
                piece.messages.tick,
                piece.messages.lots,
                piece.messages.side,
            )
        )
        levels = before[side]
        full = len(levels) == self._levels
        shown = not full or (tick >= min(levels) if side == 0 else tick <= max(levels))
        if kind in (rows.ADD, rows.REDUCE, rows.DELETE, rows.EXECUTE) and shown:
            levels[tick] = levels.get(tick, 0) + (-lots if kind == rows.ADD else lots)
            if levels[tick] < 0:
                raise DataError(
                    str(self._book), 1, f"the book row does not show the order of {lots} lots added"
                )
            if levels[tick] == 0:
                del levels[tick]
        if before[0] and before[1] and max(before[0]) >= min(before[1]):
            raise DataError(str(self._book), 1, findings.BROKEN[findings.CROSSED], _SWAPPED)
        ticks = np.zeros((2, self._levels + 1), np.int64)
        sizes = np.zeros((2, self._levels + 1), np.int64)
        for side, levels in enumerate(before):
            best_first = sorted(levels, reverse=side == 0)
            ticks[side, : len(levels)] = best_first
            sizes[side, : len(levels)] = [levels[tick] for tick in best_first]
        window.seed(w, ticks, sizes, piece.tick, piece.lots, piece.messages.time_ns[0], piece.first)

    def _broken(self, w: orders.Window, piece: _Rows) -> DataError:
        """The error of the rule that a row breaks, with what the row says and what was expected."""
        head = w.head
        rule, at = int(head[orders.RULE]), int(head[orders.BROKEN_ROW])
        columns = piece.messages
        side = int(columns.side[at])
        said = (
            f"message type {columns.type[at]} of order {columns.order_id[at]}, "
            f"{columns.lots[at]} lots at {self._dollars(columns.tick[at])}, {_SIDES[side]}"
        )
        text, row = findings.BROKEN[rule], piece.first + at
        if rule == findings.NOT_FOLLOWING:
            side, level = int(head[orders.BROKEN_SIDE]), int(head[orders.BROKEN_LEVEL])
            found = self._level(piece.tick[at, side, level], piece.lots[at, side, level])
            expected = self._level(abs(int(head[orders.HAS_KEY])), int(head[orders.HAS_LOTS]))
            text += f" ({said}): {_SIDES[side]} level {level + 1} is {found}, expected {expected}"
            return DataError(str(self._book), row, text, _SWAPPED)
        if rule == findings.CROSSED:
            return DataError(str(self._book), row, text, _SWAPPED)
        return DataError(str(self._messages), row, f"{text} ({said})", _SWAPPED)

    def _dollars(self, tick: int) -> Decimal:
        return tick * self.session.instrument.tick_size

    def _level(self, tick: int, lots: int) -> str:
        return f"{lots} lots at {self._dollars(int(tick))}" if lots else "nothing"

    # Rows of both files ---------------------------------------------------------------------------

    def _pieces(self) -> Iterator[_Rows]:
        """Rows of both files, side by side. DataError where one has more of them than the other."""
        done = 0
        books = self._book_blocks()
        for first, messages in self._message_blocks():
            n = len(messages.time_ns)
            if self._book is None:
                yield _Rows(first, messages, *_book_room(0, 0))
                continue
            # Blocks of both files have the same number of rows, but for the last.
            tick, lots = next(books, None) or _book_room(0, self._levels)
            if len(tick) != n:
                raise self._shorter(done + min(n, len(tick)), book=len(tick) < n)
            yield _Rows(first, messages, tick, lots)
            done += n
        if self._book is not None and next(books, None) is not None:
            raise self._shorter(done, book=False)

    def _shorter(self, n: int, *, book: bool) -> DataError:
        """The error where one file, the `book` or the other, has n rows, and the other has more."""
        assert self._book is not None
        short, long = (self._book, self._messages) if book else (self._messages, self._book)
        return DataError(str(short), n + 1, f"the file ends after {n} rows, {long.name} has more")

    def _message_blocks(self) -> Iterator[tuple[int, rows.Messages]]:
        digits = (rows.TIME_DIGITS, 0, 0, 0, 0, 0, SKIP)[: self._n_columns]
        last_ns = 0
        for first, raw in read_digits(self._messages, digits):
            messages = rows.Messages(*np.empty((len(rows.Messages._fields), len(raw)), np.int64))
            at, rule, rounded = rows.clean_messages(
                raw, self._start_ns, last_ns, self._units.tick, self._units.lot, messages
            )
            if at >= 0:
                time, *rest = raw[at, :6].tolist()
                row = ", ".join(map(str, (Decimal(time).scaleb(-rows.TIME_DIGITS), *rest)))
                raise DataError(str(self._messages), first + at, f"{rows.RULES[rule]}, found {row}")
            if rounded:
                self.counts.noticed["time_rounded"] += rounded
            last_ns = int(messages.time_ns[-1])
            yield first, messages

    def _book_blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        assert self._book is not None
        for first, cells in read_digits(
            self._book, (0,) * (names.LEVEL_CELLS * self._levels), alike=True
        ):
            tick, lots = _book_room(len(cells), self._levels)
            at, rule, level, side = rows.clean_books(
                cells, self._units.tick, self._units.lot, tick, lots
            )
            if at >= 0:
                price, size = cells[at, 4 * level + 2 * (1 - side) :][:2].tolist()
                text = f"{rows.RULES[rule]}, {_SIDES[side]} level {level + 1} is {size} at {price}"
                raise DataError(str(self._book), first + at, text, _SWAPPED)
            yield tick, lots


def _taken(w: orders.Window, piece: _Rows) -> Batch:
    """What the window has written, which it then forgets."""
    head = w.head
    # Words are copied faster than rows of fields.
    feed = w.out[: head[orders.N_OUT] * orders.OUT_WORDS].copy().view(FEED_DTYPE)
    after, at = w.truth[: head[orders.N_TRUTH]].T.copy()
    head[orders.N_OUT] = head[orders.N_TRUTH] = 0
    if not len(piece.tick):
        return Batch(feed)
    # The order book file is the second of the session.
    row = in_file(1, piece.first + at)
    return Batch(feed, Truth(after, row, piece.tick[at], piece.lots[at]))


def _cut(batch: Batch) -> Iterator[Batch]:
    """The batch in pieces of BATCH_ROWS messages; more are rare: one row moved a lot of orders."""
    feed, truth = batch
    for start in range(0, max(len(feed), 1), BATCH_ROWS):
        end = start + BATCH_ROWS
        part = None
        if truth is not None:
            low = 0 if start == 0 else int(np.searchsorted(truth.after, start, "right"))
            mine = slice(low, int(np.searchsorted(truth.after, end, "right")))
            part = Truth(*(column[mine] for column in truth))
            part = part._replace(after=part.after - start)
        yield Batch(feed[start:end], part)


def _joined(piece: _Rows, start: int, coming: _Rows) -> _Rows:
    """The rows of a piece that are left, and those to come."""
    if start == len(piece.messages.time_ns):
        return coming
    columns = [
        np.concatenate([left[start:], right])
        for left, right in zip(piece.messages, coming.messages, strict=True)
    ]
    return _Rows(
        piece.first + start,
        rows.Messages(*columns),
        np.concatenate([piece.tick[start:], coming.tick]),
        np.concatenate([piece.lots[start:], coming.lots]),
    )


def _book_room(n: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    return np.empty((n, 2, levels), np.int32), np.empty((n, 2, levels), np.int64)


def _levels_of(ticks: np.ndarray, lots: np.ndarray) -> dict[int, int]:
    return {int(tick): int(size) for tick, size in zip(ticks, lots, strict=True) if size}


def _whole(size: Decimal | None, default: Decimal, per: int, what: str) -> int:
    """A size in units of which there are `per` to one. UsageError where that is no whole number."""
    units = (default if size is None else size) * per
    if units != int(units) or units < 1:
        rule = f"must be a positive multiple of {Decimal(1) / per}, got {size}"
        raise UsageError(f"{what} of a LOBSTER file {rule}")
    return int(units)

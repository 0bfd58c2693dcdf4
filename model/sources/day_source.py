"""A feed without end as sessions of one UTC day each: pieces of rows in, batches of messages out.

A reader cuts what it read into `Piece`s that do not cross midnight; a `Maker` turns their rows into
messages. A day that begins in the middle of a feed begins with the book that the day before left.
Knows no vendor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Protocol

import numpy as np

from mtsim.errors import DataError, UsageError
from mtsim.model.sources.base import BATCH_ROWS, Batch, Counts, Options, Session, Truth

DAY_NS = 86_400 * 10**9
_EPOCH = date(1970, 1, 1)


class Maker(Protocol):
    """What makes messages of the rows of one day."""

    def convert(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The messages (FEED_DTYPE) of some rows, and after how many of them each snapshot is."""
        ...

    def opening(self) -> np.ndarray:
        """The rows that put the book of now in place on a new day; their time and row are open."""
        ...

    def repaired(self) -> dict[str, int]:
        """How many messages were sent that no record of the feed asks for, by reason."""
        ...


@dataclass
class Piece:
    """A stretch of a feed within one UTC day, and what became of its records."""

    rows: np.ndarray
    """What the maker takes. It has the fields `time_ns`, from the epoch, and `row`."""
    truth: Truth | None = None
    """The snapshots among the rows, in order; the maker knows where, not their `after`."""
    used: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    noticed: Counter[str] = field(default_factory=Counter)


class DaySource:
    """One day of a feed."""

    def __init__(
        self, session: Session, midnight_ns: int, opening: np.ndarray, days: _Days, maker: Maker
    ):
        self.session = session
        self.counts = Counts()
        self._is_over = False
        self._batches = self._read(midnight_ns, opening, days, maker)

    def batches(self) -> Iterator[Batch]:
        """The messages of the day, which are there once: a second call goes on with the first.

        They are gone when the next day has been asked for.
        """
        assert not self._is_over, "a session is read before the next one is asked for"
        return self._batches

    def finish(self) -> None:
        """Read what nobody has read, for the next day begins where this one ends."""
        for _ in self._batches:
            pass
        self._is_over = True

    def _read(
        self, midnight_ns: int, opening: np.ndarray, days: _Days, maker: Maker
    ) -> Iterator[Batch]:
        while (piece := days.next_of(midnight_ns)) is not None:
            if not len(piece.rows):
                self._count(piece)
                continue
            rows = np.concatenate([opening, piece.rows])
            opening = opening[:0]
            rows["time_ns"] -= midnight_ns
            feed, marks = maker.convert(rows)
            truth = None if piece.truth is None else piece.truth._replace(after=marks)
            self._count(piece)
            yield from in_batches(feed, truth)
        self.counts.repaired += Counter(maker.repaired())

    def _count(self, piece: Piece) -> None:
        self.counts.used += piece.used
        self.counts.read += piece.used + piece.dropped.total()
        self.counts.dropped += piece.dropped
        self.counts.noticed += piece.noticed


class _Days:
    """The pieces of a feed, taken day by day."""

    def __init__(self, pieces: Iterator[Piece]):
        self._pieces = _joined(pieces)
        self._waiting: Piece | None = next(self._pieces, None)

    def first(self) -> tuple[int, int] | None:
        """Time and row of the next thing to come, None at the end."""
        if self._waiting is None:
            return None
        first = self._waiting.rows[0]
        return int(first["time_ns"]), int(first["row"])

    def next_of(self, midnight_ns: int) -> Piece | None:
        """The next piece if it belongs to this day. One without rows belongs to the day before."""
        piece = self._waiting
        if piece is None:
            return None
        if len(piece.rows) and int(piece.rows["time_ns"][0]) // DAY_NS * DAY_NS != midnight_ns:
            return None
        self._waiting = next(self._pieces, None)
        return piece


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same pieces, those without rows counted with the one that follows, if one does."""
    counted = Piece(np.zeros(0))
    begun = False
    for piece in pieces:
        piece.used += counted.used
        piece.dropped += counted.dropped
        piece.noticed += counted.noticed
        counted = Piece(np.zeros(0))
        if len(piece.rows):
            begun = True
            yield piece
        else:
            counted = piece
    if begun:
        yield counted


def sessions(
    pieces: Iterator[Piece],
    file: str,
    options: Options,
    session_of: Callable[[date], Session],
    maker: Callable[[], Maker],
) -> Iterator[DaySource]:
    """The days of a feed, each to be read to its end before the next is asked for.

    A new maker is made for each day. DataError where no
    piece has rows, UsageError where the user says another day than the rows do.
    """
    days = _Days(pieces)
    if days.first() is None:
        raise DataError(file, None, "there is nothing in it that makes a session")
    opening: np.ndarray | None = None
    while (first := days.first()) is not None:
        time_ns, row = first
        day = _EPOCH + timedelta(days=time_ns // DAY_NS)
        if options.date not in (None, day):
            raise UsageError(
                f"{file} has rows of {day}, the date given is {options.date}: leave it out"
            )
        made_by = maker()
        if opening is None:
            opening = made_by.opening()
        opening["time_ns"], opening["row"] = time_ns, row
        source = DaySource(session_of(day), time_ns // DAY_NS * DAY_NS, opening, days, made_by)
        yield source
        source.finish()
        opening = made_by.opening()


def cut_by_day(rows: np.ndarray) -> list[np.ndarray]:
    """Rows in order of time, cut at every midnight (UTC)."""
    return np.split(rows, np.flatnonzero(np.diff(rows["time_ns"] // DAY_NS)) + 1)


def in_batches(feed: np.ndarray, truth: Truth | None = None) -> Iterator[Batch]:
    """The same messages and snapshots in batches of at most BATCH_ROWS."""
    if truth is not None and not len(truth.after):
        truth = None
    if not len(feed) and truth is not None:
        yield Batch(feed, truth)
    for start in range(0, len(feed), BATCH_ROWS):
        part = feed[start : start + BATCH_ROWS]
        if truth is None:
            yield Batch(part)
            continue
        # A snapshot at the seam is one after the last message of the batch before.
        here = (truth.after > start) & (truth.after <= start + BATCH_ROWS)
        if start == 0:
            here |= truth.after == 0
        after = truth.after[here] - start
        yield Batch(part, Truth(after, truth.row[here], truth.tick[here], truth.lots[here]))

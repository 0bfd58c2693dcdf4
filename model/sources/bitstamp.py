"""Bitstamp, order by order: its stream as a log, as a table of orders, as a table of events.

    ms kind {json}                     order_created, _changed, _deleted, trade, order_book
    id,timestamp,...,action,direction  the orders of such a log, without trades and books
    event.id,id,timestamp,...          with the fill of each event; _trades and _spread beside it

An order that takes liquidity is created first, as if it would rest, and shrinks with its fills,
each of them two rows: one of either order. The two are found by the trade, or the event, that names
them; the order that came to its price later is the taker, and all fills of one taker close to each
other are one aggressive order at the time of the first. Books and best quotes of the feed are held
against the book as `Truth`. Knows what rows mean together; the book they make is the ledger's.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

from mtsim.errors import DataError, UsageError
from mtsim.model.sources import bitstamp_rows as rows
from mtsim.model.sources.base import Batch, Counts, Instrument, Options, Session, Source
from mtsim.model.sources.bitstamp_fills import (
    NEAR_ROWS,
    TOGETHER_NS,
    Draft,
    Open,
    Pending,
    cut,
    paired_by_event,
    paired_by_trade,
    swept,
)
from mtsim.model.sources.bitstamp_rows import Change, Row, Trade
from mtsim.model.sources.ledger import Ledger, Rules, Snapshots
from mtsim.model.sources.ledger_records import DROPPED, NO_TICK, RECORD_DTYPE, Drop, Op

_SECOND_NS = 10**9
_DAY_NS = 86_400 * _SECOND_NS
_NAME = re.compile(r"([A-Za-z0-9]+)_\d{4}-\d\d-\d\d")
# A log has the fills of a sweep some 20 ms apart; a table of events gives them one time.
_SWEEP_NS = _SECOND_NS // 4
_CHUNK_ROWS = 1 << 15

_EARLY = "order whose deletion came before it"
_TIMES = "Times are those of local receipt."
_TAKER = "Of the two orders of a fill the one that came to its price later is the taker."
_SWEEP = "All fills of a taker happen at the time of its first."
_OPENED = "Orders placed before the file begins are anonymous lots of the first book that it shows."


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[Source]:
    """One session for each log, table of orders or table of events.

    Tables of trades and best quotes beside a table of events are found by their names and may be
    among `files` too.
    """
    for file in files:
        if not Path(file).name.startswith(".") and not _is_companion(file, files):
            yield BitstampSource(file, options)


def _is_companion(file: str, files: tuple[str, ...]) -> bool:
    name = Path(file).name
    return any(
        part in name and str(Path(file).with_name(name.replace(part, "_events"))) in files
        for part in ("_trades", "_spread")
    )


class BitstampSource:
    """One Bitstamp file: a `Source`."""

    def __init__(self, file: str, options: Options):
        self._file = file
        self._layout: rows.Layout = rows.layout_of(file)
        tick = options.tick_size or Decimal("0.01")
        lot = options.lot_size or Decimal("1e-8")
        self._scale = rows.Scale(tick, lot)
        named = _NAME.match(Path(file).name)
        symbol = options.symbol or (named[1] if named else None)
        if symbol is None:
            raise UsageError(f"{file} does not say its symbol. Give --symbol.")
        begin_ns, snapshots = rows.books_of(file, self._layout, self._scale)
        self._day = options.date or _day_of(begin_ns)
        self._midnight_ns = (self._day - date(1970, 1, 1)).days * _DAY_NS
        self._begin_ns = begin_ns - self._midnight_ns
        if not 0 <= self._begin_ns < _DAY_NS:
            raise UsageError(f"{file} does not begin on {self._day}. Leave --date out.")
        if snapshots is not None:
            snapshots = snapshots._replace(time_ns=snapshots.time_ns - self._midnight_ns)
        self._snapshots: Snapshots | None = snapshots
        self._takers = rows.takers_of(file, self._layout)
        self._open: dict[int, Open] = {}
        self._early: dict[int, Draft] = {}
        self._first_id = 2**63
        self._last_ns = -(2**62)
        self.counts = Counts()
        self.session = Session(
            instrument=Instrument(symbol, options.venue or "Bitstamp", tick, lot),
            date=self._day,
            source="bitstamp",
            files=(file, *rows.companions_of(file, self._layout)),
            truth_levels=0 if snapshots is None else snapshots.tick.shape[2],
            assumptions=(
                (_TIMES, _SWEEP)
                if self._layout == "events"
                else (_TIMES, _TAKER, _SWEEP, _OPENED)
                if self._layout == "log"
                else (_TIMES, _TAKER, _SWEEP)
            ),
        )

    def batches(self) -> Iterator[Batch]:
        """The session's messages in order. Raises DataError naming file and row."""
        # What comes before the first book or quote only builds the book.
        dark = self._snapshots is not None
        ledger = Ledger(Rules(), seed=self._layout == "log", dark=dark, snapshots=self._snapshots)
        pending = Pending()
        for row in rows.read(self._file, self._layout, self._scale):
            if isinstance(row, Trade):
                pending.trades.append(row._replace(time_ns=row.time_ns - self._midnight_ns))
                continue
            self.counts.read += 1
            self._draft(row, pending)
            if len(pending.drafts) % _CHUNK_ROWS == 0 and pending.drafts:
                ready, pending = cut(pending)
                dark = yield from self._send(ledger, ready, dark)
        dark = yield from self._send(ledger, pending, dark)
        yield from ledger.close()
        self.counts.repaired.update(ledger.repaired())

    def _is_after_the_first_book(self, draft: Draft) -> bool:
        assert self._snapshots is not None
        if self._layout == "log":
            return draft.row > self._snapshots.row[0]
        return draft.time_ns > self._begin_ns

    def _draft(self, row: Row, pending: Pending) -> None:
        """What a row says of its order, given what was known of it."""
        time_ns = row.time_ns - self._midnight_ns
        if time_ns < self._last_ns:
            raise DataError(self._file, row.row, "the time goes back")
        self._last_ns = time_ns
        if time_ns >= 7 * _DAY_NS:
            raise DataError(self._file, row.row, f"the time is not on {self._day}")
        draft = Draft(time_ns, row.row, Op.ADD, row.id, row.side, row.tick, row.lots)
        draft.event, draft.matching, draft.left = row.event, row.matching, row.lots
        known = self._open.get(row.id)
        if known is not None and known.lots is not None:
            draft.placed = known.placed
            draft.before = Open(known.side, known.tick, known.lots - row.fill)
        if row.change is Change.CREATED:
            self._first_id = min(self._first_id, row.id)
            if row.lots == 0:
                self.counts.dropped["order of 0 lots"] += 1
                return
            early = self._early.pop(row.id, None)
            if early is not None and time_ns - early.time_ns <= TOGETHER_NS:
                # The log has the two in the wrong order: the order is gone by now.
                self.counts.dropped[_EARLY] += 1
                early.void = early.op == Op.DELETE
                return
            self._open.setdefault(row.id, Open(row.side, row.tick, row.lots, row.row))
        elif row.change is Change.CHANGED:
            self._changed(row, known, draft)
        else:
            self._deleted(row, known, draft)
        if known is None and row.id >= self._first_id and draft.op != Op.ADD:
            # Said twice: it was placed after the file began, so no anonymous lots are its.
            draft.tick = NO_TICK
        if self._layout == "events" and draft.op != Op.ADD and row.fill:
            draft.op, draft.lots, draft.fill = Op.FILL, row.fill, True
        pending.drafts.append(draft)

    def _changed(self, row: Row, known: Open | None, draft: Draft) -> None:
        lots = known.lots if known is not None else None
        if known is not None and (
            row.tick != known.tick or (lots is not None and row.lots >= lots)
        ):
            draft.op = Op.SHOW
        else:
            draft.op, draft.fill = Op.FILL, True
            draft.lots = None if lots is None else lots - row.lots
        stays = known is not None and known.tick == row.tick
        placed = known.placed if known is not None and stays else row.row * (known is not None)
        self._open[row.id] = Open(row.side, row.tick, row.lots, placed)

    def _deleted(self, row: Row, known: Open | None, draft: Draft) -> None:
        lots = known.lots if known is not None else None
        if row.lots == 0:
            draft.op, draft.lots, draft.fill = Op.FILL, lots, True
        else:
            draft.op = Op.DELETE
        if self._open.pop(row.id, None) is None:
            if len(self._early) >= NEAR_ROWS:
                del self._early[next(iter(self._early))]
            self._early[row.id] = draft

    def _send(self, ledger: Ledger, ready: Pending, dark: bool) -> Generator[Batch, None, bool]:
        """The batches of what is ready; whether it is still dark after them."""
        void = sum(draft.void for draft in ready.drafts)
        if void:
            self.counts.dropped[_EARLY] += void
            ready.drafts = [draft for draft in ready.drafts if not draft.void]
        n_rows = len(ready.drafts)
        if self._layout == "events":
            drafts = paired_by_event(ready.drafts, self._takers)
        else:
            drafts = paired_by_trade(ready, trades_told=self._layout == "log")
        # The row of a taker is used up by that of its maker.
        self.counts.used += n_rows - sum(not draft.extra for draft in drafts)
        drafts = swept(drafts, 0 if self._layout == "events" else _SWEEP_NS)
        records = np.zeros(len(drafts) + 1, RECORD_DTYPE)
        counted = np.ones(len(drafts) + 1, bool)
        n = 0
        for draft in drafts:
            if dark and self._is_after_the_first_book(draft):
                records[n] = (self._begin_ns, draft.row, 0, 0, 0, 0, 0, 0, Op.LIGHT, 0, 0, 0)
                n += 1
                dark = False
            time_ns = (
                max(draft.time_ns, self._begin_ns) if self._layout == "events" else draft.time_ns
            )
            counted[n] = not draft.extra
            records[n] = (
                time_ns,
                draft.row,
                draft.id,
                draft.taker,
                draft.tick,
                draft.lots or 0,
                NO_TICK,
                0,
                draft.op,
                draft.side,
                0,
                0,
            )
            n += 1
        done = 0
        for batch, outcome in ledger.follow(records[:n]):
            mine = counted[done : done + len(outcome)]
            done += len(outcome)
            came_to = np.bincount(outcome[mine], minlength=len(Drop))
            self.counts.used += int(came_to[Drop.USED])
            for drop, reason in DROPPED.items():
                if came_to[drop]:
                    self.counts.dropped[reason] += int(came_to[drop])
            yield batch
        return dark


def _day_of(time_ns: int) -> date:
    return datetime.fromtimestamp(time_ns // _SECOND_NS, UTC).date()

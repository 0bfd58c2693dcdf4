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
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np

from mtsim.errors import DataError, UsageError
from mtsim.model.sources import bitstamp_rows as rows
from mtsim.model.sources.base import Batch, Counts, Instrument, Options, Session, Source
from mtsim.model.sources.bitstamp_rows import Change, Row, Trade
from mtsim.model.sources.ledger import (
    DROPPED,
    NO_TICK,
    RECORD_DTYPE,
    Drop,
    Ledger,
    Op,
    Rules,
    Snapshots,
)

_SECOND_NS = 10**9
_DAY_NS = 86_400 * _SECOND_NS
_NAME = re.compile(r"([A-Za-z0-9]+)_\d{4}-\d\d-\d\d")
# How far apart the rows of one fill are at most.
_TOGETHER_NS = 2 * _SECOND_NS
# A log has the fills of a sweep some 20 ms apart; a table of events gives them one time.
_SWEEP_NS = _SECOND_NS // 4
_NEAR_ROWS = 40
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


@dataclass
class _Open:
    """An order as the feed has shown it last; `lots` None: it was placed before the file began."""

    side: int
    tick: int
    lots: int | None
    placed: int = 0
    """The row in which it came to its price; 0: before the file began."""


@dataclass
class _Draft:
    """A record in the making. `lots` None: the trade will tell."""

    time_ns: int
    row: int
    op: Op
    id: int
    side: int
    tick: int
    lots: int | None
    taker: int = 0
    fill: bool = False
    event: str = ""
    matching: str = ""
    left: int = 0
    """What the order has after the row."""
    before: _Open | None = None
    """What it would be after a mere fill, if that is known."""
    placed: int = 0
    extra: bool = False
    """No row of the file says this, but the rows before and after one do."""
    void: bool = False
    """The row is about an order that had not yet been there."""


@dataclass
class _Pending:
    """What is read and not yet sent: the rows of a fill may lie on either side of a cut."""

    drafts: list[_Draft] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)


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
        self._open: dict[int, _Open] = {}
        self._early: dict[int, _Draft] = {}
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
        pending = _Pending()
        for row in rows.read(self._file, self._layout, self._scale):
            if isinstance(row, Trade):
                pending.trades.append(row._replace(time_ns=row.time_ns - self._midnight_ns))
                continue
            self.counts.read += 1
            self._draft(row, pending)
            if len(pending.drafts) % _CHUNK_ROWS == 0 and pending.drafts:
                ready, pending = _cut(pending)
                dark = yield from self._send(ledger, ready, dark)
        dark = yield from self._send(ledger, pending, dark)
        yield from ledger.close()
        self.counts.repaired.update(ledger.repaired())

    def _is_after_the_first_book(self, draft: _Draft) -> bool:
        assert self._snapshots is not None
        if self._layout == "log":
            return draft.row > self._snapshots.row[0]
        return draft.time_ns > self._begin_ns

    def _draft(self, row: Row, pending: _Pending) -> None:
        """What a row says of its order, given what was known of it."""
        time_ns = row.time_ns - self._midnight_ns
        if time_ns < self._last_ns:
            raise DataError(self._file, row.row, "the time goes back")
        self._last_ns = time_ns
        if time_ns >= 7 * _DAY_NS:
            raise DataError(self._file, row.row, f"the time is not on {self._day}")
        draft = _Draft(time_ns, row.row, Op.ADD, row.id, row.side, row.tick, row.lots)
        draft.event, draft.matching, draft.left = row.event, row.matching, row.lots
        known = self._open.get(row.id)
        if known is not None and known.lots is not None:
            draft.placed = known.placed
            draft.before = _Open(known.side, known.tick, known.lots - row.fill)
        if row.change is Change.CREATED:
            self._first_id = min(self._first_id, row.id)
            if row.lots == 0:
                self.counts.dropped["order of 0 lots"] += 1
                return
            early = self._early.pop(row.id, None)
            if early is not None and time_ns - early.time_ns <= _TOGETHER_NS:
                # The log has the two in the wrong order: the order is gone by now.
                self.counts.dropped[_EARLY] += 1
                early.void = early.op == Op.DELETE
                return
            self._open.setdefault(row.id, _Open(row.side, row.tick, row.lots, row.row))
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

    def _changed(self, row: Row, known: _Open | None, draft: _Draft) -> None:
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
        self._open[row.id] = _Open(row.side, row.tick, row.lots, placed)

    def _deleted(self, row: Row, known: _Open | None, draft: _Draft) -> None:
        lots = known.lots if known is not None else None
        if row.lots == 0:
            draft.op, draft.lots, draft.fill = Op.FILL, lots, True
        else:
            draft.op = Op.DELETE
        if self._open.pop(row.id, None) is None:
            if len(self._early) >= _NEAR_ROWS:
                del self._early[next(iter(self._early))]
            self._early[row.id] = draft

    def _send(self, ledger: Ledger, ready: _Pending, dark: bool) -> Generator[Batch, None, bool]:
        """The batches of what is ready; whether it is still dark after them."""
        void = sum(draft.void for draft in ready.drafts)
        if void:
            self.counts.dropped[_EARLY] += void
            ready.drafts = [draft for draft in ready.drafts if not draft.void]
        n_rows = len(ready.drafts)
        if self._layout == "events":
            drafts = _paired_by_event(ready.drafts, self._takers)
        else:
            drafts = _paired_by_trade(ready, trades_told=self._layout == "log")
        # The row of a taker is used up by that of its maker.
        self.counts.used += n_rows - sum(not draft.extra for draft in drafts)
        drafts = _swept(drafts, 0 if self._layout == "events" else _SWEEP_NS)
        records = np.zeros(len(drafts) + 1, RECORD_DTYPE)
        counted = np.ones(len(drafts) + 1, bool)
        n = 0
        for draft in drafts:
            if dark and self._is_after_the_first_book(draft):
                records[n] = (self._begin_ns, draft.row, 0, 0, 0, 0, 0, 0, Op.LIGHT, 0, 0)
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


def _cut(pending: _Pending) -> tuple[_Pending, _Pending]:
    """What no later row can belong to, and the rest: cut where the longest pause is."""
    drafts = pending.drafts
    times = np.array([draft.time_ns for draft in drafts])
    latest = int(np.searchsorted(times, times[-1] - 2 * _TOGETHER_NS))
    if latest < 2:
        return _Pending(), pending
    at = 1 + int(np.argmax(np.diff(times[:latest])))
    edge = (drafts[at - 1].time_ns + drafts[at].time_ns) // 2
    split = bisect_left(pending.trades, edge, key=lambda trade: trade.time_ns)
    return (
        _Pending(drafts[:at], pending.trades[:split]),
        _Pending(drafts[at:], pending.trades[split:]),
    )


def _join(maker: _Draft, taker: _Draft, gone: set[int]) -> None:
    """The fill's two rows become one, at the place of the first of them."""
    maker.taker = taker.id
    gone.add(id(taker))


def _paired_by_trade(ready: _Pending, trades_told: bool) -> list[_Draft]:
    """The drafts in which each fill is one, and what shrank without a trade has left.

    The rows of a fill lie close to the line of the trade, on either side of it, and lose its lots.
    Where the file tells no trades, two orders of either side that lose the same lots are a fill.
    """
    drafts, gone = ready.drafts, set[int]()
    fills = [(k, draft) for k, draft in enumerate(drafts) if draft.fill]
    numbers = [draft.row for _, draft in fills]
    free = {id(draft) for _, draft in fills}
    for trade in ready.trades:
        first = bisect_left(numbers, trade.row - _NEAR_ROWS)
        last = bisect_right(numbers, trade.row + _NEAR_ROWS)
        near = [
            draft
            for _, draft in fills[first:last]
            if id(draft) in free
            and (draft.lots == trade.lots or (draft.lots is None and draft.tick == trade.tick))
            and abs(draft.time_ns - trade.time_ns) <= _TOGETHER_NS
        ]
        # Trades that came before have used up the rows before them.
        near.sort(key=lambda draft: (draft.row > trade.row, abs(draft.row - trade.row)))
        bid = next((draft for draft in near if draft.side == 0), None)
        ask = next((draft for draft in near if draft.side == 1), None)
        for draft in (bid, ask):
            if draft is not None:
                free.discard(id(draft))
                draft.lots = trade.lots
        if bid is not None and ask is not None:
            # Trades are at the price of the order that rested.
            by_price = (bid.tick == trade.tick) != (ask.tick == trade.tick)
            rested = bid.tick == trade.tick if by_price else bid.placed < ask.placed
            _join(*((bid, ask) if rested else (ask, bid)), gone)
    left = [draft for _, draft in fills if id(draft) in free]
    for one, other in pairwise(left):
        if (
            not trades_told
            and not {id(one), id(other)} & gone
            and one.side != other.side
            and one.lots == other.lots
            and one.taker == 0
            and other.time_ns - one.time_ns <= _TOGETHER_NS
        ):
            _join(*((one, other) if one.placed <= other.placed else (other, one)), gone)
            free -= {id(one), id(other)}
    for draft in left:
        if id(draft) in free:
            draft.op, draft.lots = Op.CANCEL, draft.lots or 0
    return [draft for draft in drafts if id(draft) not in gone]


def _paired_by_event(drafts: list[_Draft], takers: frozenset[str]) -> list[_Draft]:
    """The drafts in which each fill is one, and those of one time in the order they happened in.

    An order is created before it trades, a taker's fills leave it less and less.
    """
    by_event = {draft.event: draft for draft in drafts if draft.fill and draft.event}
    gone = set[int]()
    for draft in by_event.values():
        other = by_event.get(draft.matching)
        if other is None or other.matching != draft.event:
            continue
        takes = draft.event in takers if takers else draft.id > other.id
        if not takes:
            _join(draft, other, gone)
            # Some orders follow the price as they trade, and some change their size with it.
            known = other.before
            if known is not None and (known.tick, known.lots) != (other.tick, other.left):
                drafts.append(
                    replace(other, op=Op.SHOW, lots=other.left, taker=0, fill=False, extra=True)
                )
    for draft in drafts:
        if draft.fill and draft.taker == 0 and id(draft) not in gone:
            draft.op = Op.CANCEL
    left = {id(draft): draft.left for draft in drafts}
    for draft in by_event.values():
        if draft.taker:
            left[id(draft)] = by_event[draft.matching].left

    def order(draft: _Draft) -> tuple[int, int, int, int]:
        if draft.op == Op.ADD:
            return draft.time_ns, 0, draft.id, 0
        if draft.op == Op.FILL or draft.extra:
            taker = draft.taker or draft.id
            return draft.time_ns, 1, taker, -2 * left[id(draft)] + draft.extra
        return draft.time_ns, 2, draft.row, 0

    return sorted((draft for draft in drafts if id(draft) not in gone), key=order)


@dataclass
class _Sweep:
    """The fills of one taker so far, in one place among the drafts."""

    place: int
    time_ns: int
    last_ns: int


def _swept(drafts: list[_Draft], apart_ns: int) -> list[_Draft]:
    """The drafts with all fills of a taker where its first one is, and at its time.

    Not so where another row about one of the two orders lies between: it would come too late.
    """
    places: list[list[_Draft]] = []
    sweeps: dict[int, _Sweep] = {}
    touched: dict[int, int] = {}
    for draft in drafts:
        if not draft.taker:
            touched[draft.id] = len(places)
            places.append([draft])
            continue
        sweep = sweeps.get(draft.taker)
        if (
            sweep is not None
            and draft.time_ns - sweep.last_ns <= apart_ns
            and max(touched.get(draft.id, -1), touched.get(draft.taker, -1)) < sweep.place
        ):
            sweep.last_ns, draft.time_ns = draft.time_ns, sweep.time_ns
            places[sweep.place].append(draft)
        else:
            sweeps[draft.taker] = _Sweep(len(places), draft.time_ns, draft.time_ns)
            places.append([draft])
    return [draft for place in places for draft in place]

"""Recorded Binance websocket lines, rebuilt into books: trades, depth updates and snapshots.

The local time of a line is not looked at: recorders' clocks run apart from the exchange's. What the
messages look like tells the market, and so the venue: `binance`, `binance-um` or `binance-cm`.

**The book.** Depth updates continue a snapshot by their ids: spot ones where the first id `U` is
the last id before plus one, futures ones where `pu` is it. A gap in them is counted, and nothing is
sent until a snapshot is found that later updates continue; the book is then put in place again.

**Trades among depth updates.** The two streams come apart: an update says what the levels are at
its time (futures: `T`, the time of its last change; spot: `E`, the end of its 100 ms), a trade when
it happened (`T`). A trade of a time up to an update's is part of what the update shows, wherever
its line stands, so it is sent before it (of the rules that were tried on recordings, by line or by
time with some shift, it is the one that needs the fewest corrections). An update is held back until
the next one has been read, for a trade's line may come after it; a trade that comes still later is
sent at the time of the message before it. The update then corrects the levels it names and all that
trades have touched (`levels`), so that the book is the rebuilt one after every update, whatever was
thought of trades.

**Evidence.** A best quote (bookTicker) carries the update id it stands at. The last one with an id
up to an update's is the touch that the book must show after that update; it counts once a quote of
a later id has been seen. Where the files hold more than one snapshot, their best 20 levels (with
the updates that were already made on top) are the evidence instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import date
from typing import Any

from mtsim.errors import DataError
from mtsim.model.sources import grid
from mtsim.model.sources.base import Instrument, Options, Session, Source, in_file
from mtsim.model.sources.binance_lines import (
    MALFORMED,
    VENUES,
    Quote,
    Reader,
    Snapshot,
    Survey,
    Trade,
    Update,
    event_of,
    lines,
    quote_currency,
    survey,
)
from mtsim.model.sources.day_source import Piece, sessions
from mtsim.model.sources.level_pieces import LevelPieces
from mtsim.model.sources.levels import ASSUMPTIONS, Ladder, What

_SNAPSHOT_LEVELS = 20
# What is kept of a stream while there is no book, or while one of two streams pauses.
_MOST_HELD = 1 << 16
_MOST_UPDATES = 1 << 12
_UPDATES_ON_TOP = 256


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[Source]:
    """A session for each UTC day of the recordings, read as one stream in the order given."""
    found = survey(files, options)
    levels = _SNAPSHOT_LEVELS if found.snapshots > 1 else 1

    def session_of(day: date) -> Session:
        return Session(
            instrument=Instrument(
                found.symbol,
                options.venue or VENUES[found.market],
                grid.as_decimal(found.grid.tick_step),
                grid.as_decimal(found.grid.lot_step),
                currency=quote_currency(found.symbol),
            ),
            date=day,
            source="binance-stream",
            files=files,
            by_order=False,
            truth_levels=levels,
            assumptions=(*found.grid.assumptions, *ASSUMPTIONS, *_ASSUMPTIONS),
        )

    pieces = _Recording(files, found).pieces()
    yield from sessions(pieces, files[0], options, session_of, Ladder)


_ASSUMPTIONS = (
    "A trade of a time up to a depth update's is part of it, and is sent before it.",
    "What a depth update changes happens at its time, the end of the interval it sums up.",
    "Consecutive trades of one time and side at prices that get no better are one order.",
    "The book is that of the snapshot's levels and of all that were named since: deeper ones are "
    "not known.",
)


class _Recording:
    """The lines of some files as the rows of one feed by level."""

    def __init__(self, files: tuple[str, ...], found: Survey):
        self._files = files
        self._found = found
        self._reader = Reader(found.grid)
        self._uses_snapshots = found.snapshots > 1
        # The book: the last update, whether it still waits to be sent, and the snapshot that it
        # opens on. None: no book.
        self._held: Update | None = None
        self._waits = False
        self._opens: Snapshot | None = None
        self._snapshot: Snapshot | None = None
        self._updates: deque[Update] = deque()
        self._last_update: Update | None = None
        self._on_top: deque[Update] = deque(maxlen=_UPDATES_ON_TOP)
        self._trades: deque[Trade] = deque()
        self._quotes: deque[Quote] = deque()
        self._last_trade: Trade | None = None
        self._out = LevelPieces(_SNAPSHOT_LEVELS if self._uses_snapshots else 1)

    def pieces(self) -> Iterator[Piece]:
        for number, file in enumerate(self._files):
            for row, message in lines(file):
                try:
                    self._take(in_file(number, row), message)
                except MALFORMED as error:
                    raise DataError(file, row, f"no message of this feed: {error!r}") from None
                yield from self._out.take()
        self._finish()
        yield from self._out.take(rest=True)

    def _take(self, row: int, message: dict[str, Any]) -> None:
        event = event_of(message)
        if message.get("s", message.get("symbol", self._found.symbol)) != self._found.symbol:
            self._out.dropped["another symbol"] += 1
        elif event == "bookTicker":
            self._take_quote(self._reader.quote(row, message))
        elif event == self._found.trade_event:
            self._take_trade(self._reader.trade(row, message), message.get("X", "MARKET"))
        elif event == "depthUpdate":
            self._take_update(self._reader.update(row, message))
        elif event == "snapshot":
            self._take_snapshot(self._reader.snapshot(row, message))
        else:
            self._out.dropped[f"message that is not read: {event}"[:80]] += 1

    def _take_quote(self, quote: Quote) -> None:
        if self._held is None or self._uses_snapshots:
            self._out.dropped["best quote with no book to hold it against"] += 1
            return
        if len(self._quotes) >= _MOST_HELD:
            self._quotes.popleft()
            self._out.dropped["best quote between two depth updates"] += 1
        self._quotes.append(quote)

    def _take_trade(self, trade: Trade, way: str) -> None:
        missing = 0 if self._last_trade is None else trade.trade_id - self._last_trade.trade_id - 1
        if missing < 0:
            self._out.dropped["trade that was read before"] += 1
            return
        if missing:
            self._out.noticed["trade id missing in the feed"] += missing
        if self._last_trade is not None and trade.time_ns < self._last_trade.time_ns:
            raise ValueError("a trade is earlier than the one before it")
        self._last_trade = trade
        if way != "MARKET":
            self._out.dropped[f"trade outside the book: {way}"[:80]] += 1
            return
        if trade.tick == 0 or trade.lots == 0:
            self._out.dropped["trade without price or size"] += 1
            return
        self._trades.append(trade)
        if len(self._trades) > _MOST_HELD:
            # Trades without end and no update: the book is known, or it is not.
            if self._held is not None:
                self._send_held()
                self._send_trades(trade.time_ns)
            else:
                self._trades.popleft()
                self._out.dropped["trade while the book is not known"] += 1

    def _take_update(self, update: Update) -> None:
        last = self._last_update
        if last is not None and update.last_id <= last.last_id:
            self._out.dropped["depth update that was read before"] += 1
            return
        if last is not None and update.time_ns < last.time_ns:
            raise ValueError("a depth update is earlier than the one before it")
        self._last_update = update
        self._follow(update)

    def _follow(self, update: Update) -> None:
        held = self._held
        if held is None:
            self._updates.append(update)
            if len(self._updates) > _MOST_UPDATES:
                self._updates.popleft()
                self._out.dropped["depth update while the book is not known"] += 1
            self._try_to_open()
        elif not update.follows(held):
            self._out.noticed["gap in the ids of depth updates"] += 1
            self._send_held()
            self._held = None
            self._out.dropped["best quote with no book to hold it against"] += len(self._quotes)
            self._quotes.clear()
            self._on_top.clear()
            self._updates.append(update)
            self._try_to_open()
        else:
            self._send_held()
            self._held, self._waits = update, True

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        if self._snapshot is not None:
            self._out.dropped["snapshot that a later one replaces"] += 1
        self._snapshot = snapshot
        if self._held is None:
            self._try_to_open()

    def _try_to_open(self) -> None:
        """Begin with the snapshot at hand, if the updates at hand continue it."""
        snapshot = self._snapshot
        if snapshot is None:
            return
        while self._updates and self._updates[0].last_id <= snapshot.last_id:
            self._updates.popleft()
            self._out.dropped["depth update before the snapshot"] += 1
        if not self._updates:
            return
        self._snapshot = None
        if not self._updates[0].continues(snapshot.last_id):
            self._out.dropped["snapshot that no depth update continues"] += 1
            return
        self._opens, self._held, self._waits = snapshot, self._updates.popleft(), True
        # Those that wait are in order, or else this comes here again.
        waiting, self._updates = self._updates, deque()
        for update in waiting:
            self._follow(update)

    def _send_held(self) -> None:
        """Send the update that waits, with the trades that belong to it before it."""
        update = self._held
        if update is None or not self._waits:
            return
        self._waits = False
        if self._opens is not None:
            self._send_opening(self._opens, update)
        else:
            self._send_trades(update.time_ns)
            self._out.begin(update.time_ns)
            self._out.add_levels(update.row, update.bids, update.asks)
            self._out.add(update.row, 0, 0, 0, What.SYNC)
            self._out.used += 1
        self._opens = None
        self._on_top.append(update)
        self._compare(update)

    def _send_opening(self, snapshot: Snapshot, update: Update) -> None:
        while self._trades and self._trades[0].time_ns <= update.time_ns:
            self._trades.popleft()
            self._out.dropped["trade while the book is not known"] += 1
        self._out.begin(update.time_ns)
        self._out.add(snapshot.row, 0, 0, 0, What.CLEAR)
        self._out.add_levels(snapshot.row, snapshot.bids, snapshot.asks)
        self._out.add_levels(update.row, update.bids, update.asks)
        self._out.add(update.row, 0, 0, 0, What.OPEN)
        self._out.used += 2

    def _send_trades(self, until_ns: int) -> None:
        """Send the orders behind all trades up to a time."""
        trades = self._trades
        last: Trade | None = None
        while trades and trades[0].time_ns <= until_ns:
            trade = trades.popleft()
            if last is not None and not _of_one_order(last, trade):
                self._out.add(last.row, 0, 0, last.side, What.TAKE)
                last = None
            if last is None:
                if trade.time_ns < self._out.now_ns:
                    self._out.noticed[
                        "trade later than the depth update that has it, moved there"
                    ] += 1
                self._out.begin(trade.time_ns)
            self._out.add(trade.row, trade.lots, trade.tick, trade.side, What.PRINT)
            self._out.used += 1
            last = trade
        if last is not None:
            self._out.add(last.row, 0, 0, last.side, What.TAKE)

    def _compare(self, update: Update) -> None:
        """Set the evidence there is for the book after an update beside it."""
        if self._uses_snapshots:
            self._compare_snapshot(update)
            return
        quote = None
        while self._quotes and self._quotes[0].update_id <= update.last_id:
            self._out.dropped["best quote between two depth updates"] += quote is not None
            quote = self._quotes.popleft()
        if quote is None:
            return
        if not self._quotes:
            # Another one of this update may yet come.
            self._quotes.append(quote)
            return
        bid, bid_size, ask, ask_size = quote.texts
        ticks, lots = self._reader.ticks, self._reader.lots
        best = [(ticks[bid], lots[bid_size])], [(ticks[ask], lots[ask_size])]
        self._out.add_truth(quote.row, best)
        self._out.used += 1

    def _compare_snapshot(self, update: Update) -> None:
        snapshot = self._snapshot
        if snapshot is None or snapshot.last_id >= update.last_id:
            return
        self._snapshot = None
        later = [each for each in self._on_top if each.last_id > snapshot.last_id]
        if not later[0].continues(snapshot.last_id):
            self._out.dropped["snapshot older than the updates that are kept"] += 1
            return
        sides = [dict(snapshot.bids), dict(snapshot.asks)]
        for each in later:
            sides[0].update(each.bids)
            sides[1].update(each.asks)
        bids, asks = (sorted(level for level in side.items() if level[1]) for side in sides)
        self._out.add_truth(snapshot.row, (bids[::-1], asks))
        self._out.used += 1

    def _finish(self) -> None:
        self._send_held()
        if self._held is not None and self._trades:
            self._send_trades(self._trades[-1].time_ns)
        self._out.dropped["trade while the book is not known"] += len(self._trades)
        self._out.dropped["depth update while the book is not known"] += len(self._updates)
        self._out.dropped["best quote between two depth updates"] += len(self._quotes)
        self._out.dropped["snapshot that no depth update continues"] += self._snapshot is not None
        if not self._out.now_ns:
            raise DataError(
                self._files[0],
                None,
                "no depth snapshot that a depth update continues, so no book",
                "Give the recording with the snapshot before it",
            )


def _of_one_order(trade: Trade, following: Trade) -> bool:
    """Whether two trades in a row may be fills of one aggressive order."""
    return (
        trade.time_ns == following.time_ns
        and trade.side == following.side
        and trade.trade_id + 1 == following.trade_id
        and trade.taker == following.taker
        and (following.tick <= trade.tick if trade.side else following.tick >= trade.tick)
    )

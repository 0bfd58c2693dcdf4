"""The orders of a feed, followed record by record, and the messages that give an engine that book.

A feed says what became of orders; an engine is told what to do. The ledger holds every order that
the feed has shown, in price-time priority, and writes the messages whose execution leaves the
engine's book equal to it. Knows no file and no column: `mapped` and `bitstamp` make its records.

- Fills of one time become one aggressive order (LIMIT, IOC, worst price) as long as they share its
  side and the taker, where the feed names one, and their prices get no better. Where price-time
  priority would not give the fills that the feed names, the orders in the way are taken out before
  it and put back after it (INFERRED).
- An order that crosses the book while the feed records fills is *held*: it enters when it no longer
  crosses, with what its fills left. Where none of that comes within `hold_ns`, the orders on one
  side are stale: those that are held, or those in their way (INFERRED), whichever are fewer.
- Lots that rest without an order of the feed are *anonymous*: cancels and fills of unknown orders
  take from them.
- While it is *dark* (an auction, the time before the session) nothing is written and the book may
  be crossed; the book that was shown is taken out before it and put in place after it (OPENING).
- An engine's order has at most MAX_LOTS lots: a larger one becomes several, one behind the other,
  of which only the first has the feed's id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mtsim.engine.units import MAX_LOTS
from mtsim.model.sources import ledger_book as book
from mtsim.model.sources.base import BATCH_ROWS, FEED_DTYPE, Batch, Truth
from mtsim.model.sources.ledger_records import RECORD_DTYPE, Drop, Op
from mtsim.model.sources.ledger_views import (
    N_TRUTH,
    NO_BOOK,
    PARTS,
    SEEDED,
    SPARE,
    VIEW,
    View,
    finish,
    follow,
    hash_orders,
)

__all__ = ["DROPPED", "MAX_ORDER_LOTS", "NO_BOOK", "NO_SIDE", "NO_TICK", "RECORD_DTYPE"]
__all__ += ["Drop", "Ledger", "Op", "Rules", "Snapshots"]

NO_SIDE, NO_TICK = book.NO_SIDE, book.NO_TICK

MAX_ORDER_LOTS = MAX_LOTS * PARTS

DROPPED = {
    Drop.DARK: "before the session or in an auction: its outcome is in the book after it",
    Drop.CANCEL: "cancel of an order that is not in the book",
    Drop.CHANGE: "change of an order that is not in the book",
    Drop.REPLACE: "replacement of an order that is not in the book, with no side said",
    Drop.FILL: "fill of an order that is not in the book",
    Drop.OVERFILL: "fill of an order whose lots have all traded",
    Drop.DUPLICATE: "new order with the id of one that is in the book",
}
"""Why a record made no message, by what `Ledger.follow` says it came to."""

_REPAIRED = {
    book.PASSED_OVER: "order that a trade passed over, taken out and put back",
    book.STALE: "order that stood where another one crossed it, taken out",
    book.TAKER_RESTED: "lots of a resting order that traded as the aggressor, taken out",
    book.REVEALED: "lots that came into the view of the feed's book, put in",
    book.OVERFILLED: "fill of more lots than its order had, cut to what it had",
    book.GIVEN_UP: "order that crosses many and never trades, left out",
    book.MOVED_ACROSS: "order that moved to a price where it crosses, taken out",
}

# A record may need thousands of rows where there is one, so buffers are larger than a step.
_STEP = 1 << 15


class Rules(NamedTuple):
    """How a feed speaks of orders."""

    by_side: bool = False
    """An id names one order on each side."""
    renumber: bool = False
    """The feed's ids do not fit the engine: orders are numbered as they come."""
    matched: bool = False
    """The feed records no fills: an order that crosses trades by price-time priority."""
    loses_place: bool = False
    """Every change of an order loses its place, whatever it changes."""
    hold_ns: int = 5 * 10**9


class Snapshots(NamedTuple):
    """Books that the feed shows at some time, which may lag its records, in order of time.

    A snapshot is taken to show the first moment in its window (from `lags_ns` before its time to
    `leads_ns` after it) whose book equals it; where none does, the moment when the window closes.
    """

    time_ns: np.ndarray  # int64 [k]
    row: np.ndarray  # int64 [k]
    tick: np.ndarray  # [k, 2, L]
    lots: np.ndarray  # [k, 2, L]
    lags_ns: int
    leads_ns: int


class Ledger:
    """The orders of one session. `levels` is the depth of the books that the feed shows.

    With `seed`, the first book that the feed shows is put in place as anonymous lots; and so is
    later what a book shows deeper than all before it, once it agrees as far as both are known.
    With `dark`, the session begins before it is shown.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        levels: int = 0,
        seed: bool = False,
        dark: bool = False,
        snapshots: Snapshots | None = None,
    ):
        depth = levels if snapshots is None else snapshots.tick.shape[2]
        n = 0 if snapshots is None else len(snapshots.time_ns)
        self._state = _empty_state(rules, dark)
        view_state = np.zeros(VIEW, np.int64)
        # A book that shows nothing new: as if all levels had been seen.
        view_state[SEEDED] = not seed
        view_state[SEEDED + 1 : SEEDED + 3] = NO_TICK
        room = _STEP + n + 4
        self._view = View(
            view_state,
            np.zeros((2, 2, depth), np.int64),
            np.zeros(n, np.int64) if snapshots is None else snapshots.time_ns,
            np.zeros(n, np.int64) if snapshots is None else snapshots.row,
            np.zeros((n, 2, 2, depth), np.int64)
            if snapshots is None
            else np.stack([snapshots.tick, snapshots.lots], 1).astype(np.int64),
            np.array([0, 0] if snapshots is None else [snapshots.lags_ns, snapshots.leads_ns]),
            np.zeros(n, np.uint8),
            np.zeros(room, np.int64),
            np.zeros(room, np.int64),
            np.zeros((room, 2, 2, depth), np.int64),
        )
        self._depth = depth
        self._sent = 0

    def follow(
        self, records: np.ndarray, books: np.ndarray | None = None
    ) -> Iterator[tuple[Batch, np.ndarray]]:
        """The batches of these records, each with the `Drop` of the records that it covers.

        `books` is int64 [n, 2 (ticks, lots), 2 sides, L], the book after each record, with NO_BOOK
        as the lots of the best bid where none is shown. Fills at the end stay open: the next
        records may continue them, and `close` writes them.
        """
        for first in range(0, len(records), _STEP):
            part = records[first : first + _STEP]
            beside = np.zeros((0, 2, 2, self._depth), np.int64)
            if books is not None:
                beside = books[first : first + _STEP]
            outcome = np.zeros(len(part), np.uint8)
            done = 0
            while done < len(part):
                self._make_room()
                before, done = done, follow(self._state, self._view, part, beside, done, outcome)
                yield from self._batches(outcome[before:done])

    def close(self) -> Iterator[Batch]:
        """What was still open at the end of the feed."""
        self._make_room()
        finish(self._state, self._view)
        for batch, _ in self._batches(np.zeros(0, np.uint8)):
            yield batch

    def repaired(self) -> Counter[str]:
        """The messages that the feed does not have so far, by reason."""
        done = self._state.repaired
        return Counter({reason: int(done[k]) for k, reason in _REPAIRED.items() if done[k]})

    def _batches(self, outcome: np.ndarray) -> Iterator[tuple[Batch, np.ndarray]]:
        state, view = self._state, self._view
        n, n_truth = int(state.now[book.N_OUT]), int(view.state[N_TRUTH])
        feed = _feed(state.out[:n])
        # Snapshots are found out of their order where their windows overlap.
        order = np.argsort(view.after[:n_truth], kind="stable")
        after = view.after[order] - self._sent
        shown = view.book[order]
        truth = Truth(after, view.row[order], shown[:, 0].astype(np.int32), shown[:, 1])
        self._sent += n
        state.now[book.N_OUT] = view.state[N_TRUTH] = 0
        first = 0
        while True:
            last = min(first + BATCH_ROWS, n)
            # A snapshot at a cut belongs to the batch that ends there.
            here = (after <= last) & ((after > first) | (first == 0))
            cut = Truth(*(column[here] for column in truth))._replace(after=after[here] - first)
            said = outcome if last == n else outcome[:0]
            yield Batch(feed[first:last], cut if len(cut.after) else None), said
            first = last
            if first >= n:
                return

    def _make_room(self) -> None:
        """Buffers that surely hold what one record needs, and likely what a step does."""
        s = self._state
        live = int(s.now[book.LIVE])
        orders = s.orders
        if live + 4 * self._depth + SPARE > len(orders) - _STEP:
            orders = _grown(orders, 2 * live + 4 * self._depth + SPARE + 2 * _STEP)
        size = len(orders)
        if size > len(s.orders):
            table = np.zeros(1 << (2 * size).bit_length(), np.int64)
            known = np.unique(s.table)
            s = s._replace(
                orders=orders,
                table=table,
                ladder=_grown(s.ladder, size, axis=1),
                rungs=_grown(s.rungs, size, axis=1),
                levels=_grown(s.levels, size),
                group=_grown(s.group, size),
                held=_grown(s.held, size),
            )
            hash_orders(s, known[known > 0])
        needed = 6 * live + SPARE + 4 * _STEP
        if needed > len(s.out):
            s = s._replace(out=np.zeros((2 * needed, book.OUT_COLUMNS), np.int64))
        self._state = s


def _empty_state(rules: Rules, dark: bool) -> book.State:
    now = np.zeros(book.NOW, np.int64)
    now[book.USED_ORDERS] = 1  # Slot 0 is nobody.
    now[book.FREE_LEVEL] = -1
    now[book.IS_DARK] = dark
    return book.State(
        orders=np.zeros((1, book.ORDER_COLUMNS), np.int64),
        table=np.zeros(1, np.int64),
        ladder=np.zeros((2, 0), np.int64),
        rungs=np.zeros((2, 0), np.int64),
        levels=np.zeros((0, 3), np.int64),
        group=np.zeros((0, 2), np.int64),
        held=np.zeros(0, np.int64),
        out=np.zeros((0, book.OUT_COLUMNS), np.int64),
        now=now,
        rules=np.array([int(rule) for rule in rules], np.int64),
        repaired=np.zeros(len(_REPAIRED), np.int64),
    )


def _grown(array: np.ndarray, size: int, axis: int = 0) -> np.ndarray:
    shape = list(array.shape)
    shape[axis] = size
    grown = np.zeros(shape, array.dtype)
    grown[tuple(slice(n) for n in array.shape)] = array
    return grown


def _feed(out: np.ndarray) -> np.ndarray:
    feed = np.zeros(len(out), FEED_DTYPE)
    feed["time_ns"], feed["row"] = out[:, book.O_TIME], out[:, book.O_ROW]
    feed["origin"] = out[:, book.O_ORIGIN]
    message = feed["message"]
    message["kind"], message["side"] = out[:, book.O_KIND], out[:, book.O_SIDE]
    message["tif"], message["flags"] = out[:, book.O_TIF], out[:, book.O_FLAGS]
    message["price_tick"], message["lots"] = out[:, book.O_TICK], out[:, book.O_LOTS]
    message["order_id"] = out[:, book.O_ID]
    return feed

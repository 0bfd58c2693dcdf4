"""The orders of a feed, followed record by record, and the messages that give an engine that book.

A feed says what became of orders; an engine is told what to do. The ledger holds every order that
the feed has shown, in price-time priority, and writes the messages whose execution leaves the
engine's book equal to it. Knows no file and no column: the sources make its records.

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

A feed that tells every order of a venue leaves less to guess. With `Rules.in_turn`:

- The records of one matching event are put into the order of the queue; a fill that is still out of
  turn takes its lots out of the order that is named (INFERRED), and no other loses its place.
- While the feed's book lies crossed, the engine collects orders as in an auction.
- A fill may be said again, as a cancel or change of the same time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mtsim.engine.units import MAX_LOTS
from mtsim.errors import DataError
from mtsim.model.sources import ledger_queues as queues
from mtsim.model.sources.base import BATCH_ROWS, FEED_DTYPE, Batch, Truth
from mtsim.model.sources.ledger_records import FAULTS, NO_TICK, REPAIRED, Fault, Op, Repair
from mtsim.model.sources.ledger_run import empty, finish, follow, follow_in_turn, hash_orders
from mtsim.model.sources.ledger_views import N_TRUTH, PARTS, SEEDED, SPARE, VIEW, View

MAX_ORDER_LOTS = MAX_LOTS * PARTS

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
    in_turn: bool = False
    """Every order is told, and those that trade are in turn. What is told is ADD, CANCEL, DELETE,
    SHOW (with its tick), REPLACE, CLEAR, and all kinds of fills. The rules above then say nothing:
    ids are unique, an order keeps its place if it only shrinks, and its number if it is replaced.
    """


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
    With `dark`, the session begins before it is shown. `file` is named in what is raised.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        levels: int = 0,
        seed: bool = False,
        dark: bool = False,
        snapshots: Snapshots | None = None,
        file: str = "",
    ):
        self._rules = rules
        self._file = file
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
        self,
        records: np.ndarray,
        books: np.ndarray | None = None,
        truth: Truth | None = None,
    ) -> Iterator[tuple[Batch, np.ndarray]]:
        """The batches of these records, each with the `Drop` of the records that it covers.

        `books` is int64 [n, 2 (ticks, lots), 2 sides, L], the book after each record, with NO_BOOK
        as the lots of the best bid where none is shown. Fills at the end stay open: the next
        records may continue them, and `close` writes them.

        With `in_turn` the records end with a matching event, and nothing stays open. `truth` are
        books among them: its `after` counts records here, and those inside an aggressive order are
        left out. DataError for records that contradict each other.
        """
        if self._rules.in_turn:
            assert books is None
            yield from self._in_turn(records, truth)
            return
        assert truth is None
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

    def _in_turn(
        self, records: np.ndarray, truth: Truth | None
    ) -> Iterator[tuple[Batch, np.ndarray]]:
        # They may change places, and those of the caller are not ours.
        records = records.copy()
        first = 0
        while first < len(records):
            part = records[first : first + _step(records[first:])]
            after, outcome = np.empty(len(part), np.int64), np.zeros(len(part), np.uint8)
            self._make_room()
            if part["op"][0] == Op.CLEAR:
                empty(self._state, part)
                after[0] = self._state.now[queues.N_OUT]
            else:
                at, fault = follow_in_turn(self._state, part, after, outcome)
                if fault:
                    raise DataError(self._file, int(part["row"][at]), FAULTS[Fault(fault)])
            feed = self._written()
            # A message that was moved ahead of others has happened by the time they did.
            feed["time_ns"] = np.minimum.accumulate(feed["time_ns"][::-1])[::-1]
            here = _placed(truth, first, after) if truth is not None else None
            yield from _sliced(feed, here, outcome)
            first += len(part)

    def close(self) -> Iterator[Batch]:
        """What was still open at the end of the feed."""
        self._make_room()
        finish(self._state, self._view)
        for batch, _ in self._batches(np.zeros(0, np.uint8)):
            yield batch

    def repaired(self) -> Counter[str]:
        """The messages that the feed does not have so far, by reason."""
        done = self._state.repaired
        return Counter({reason: int(done[k]) for k, reason in REPAIRED.items() if done[k]})

    def _written(self) -> np.ndarray:
        """The FEED_DTYPE messages written since the last time."""
        n = int(self._state.now[queues.N_OUT])
        self._state.now[queues.N_OUT] = 0
        self._sent += n
        return self._state.out[:n].view(FEED_DTYPE).copy()

    def _batches(self, outcome: np.ndarray) -> Iterator[tuple[Batch, np.ndarray]]:
        view, sent = self._view, self._sent
        n_truth = int(view.state[N_TRUTH])
        view.state[N_TRUTH] = 0
        # Snapshots are found out of their order where their windows overlap.
        order = np.argsort(view.after[:n_truth], kind="stable")
        shown = view.book[order]
        truth = Truth(
            view.after[order] - sent, view.row[order], shown[:, 0].astype(np.int32), shown[:, 1]
        )
        yield from _sliced(self._written(), truth, outcome)

    def _make_room(self) -> None:
        """Buffers that surely hold what one record needs, and likely what a step does."""
        s = self._state
        live = int(s.now[queues.LIVE])
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
            # NumPy would write every zero of records, where bytes cost nothing until they are used.
            blank = np.zeros(2 * needed * queues.OUT_DTYPE.itemsize, np.uint8)
            s = s._replace(out=blank.view(queues.OUT_DTYPE))
        needed = int(s.now[queues.N_AWAITED]) + _STEP
        if needed > len(s.awaited):
            s = s._replace(awaited=_grown(s.awaited, 2 * needed))
        self._state = s


def _empty_state(rules: Rules, dark: bool) -> queues.State:
    now = np.zeros(queues.NOW, np.int64)
    now[queues.USED_ORDERS] = 1  # Slot 0 is nobody.
    now[queues.FREE_LEVEL] = -1
    now[queues.IS_DARK] = dark
    return queues.State(
        orders=np.zeros((1, queues.ORDER_COLUMNS), np.int64),
        table=np.zeros(1, np.int64),
        ladder=np.zeros((2, 0), np.int64),
        rungs=np.zeros((2, 0), np.int64),
        levels=np.zeros((0, 3), np.int64),
        group=np.zeros((0, 2), np.int64),
        held=np.zeros(0, np.int64),
        awaited=np.zeros(0, np.int64),
        out=np.zeros(0, queues.OUT_DTYPE),
        now=now,
        rules=np.array([int(rule) for rule in rules], np.int64),
        repaired=np.zeros(len(Repair), np.int64),
    )


def _grown(array: np.ndarray, size: int, axis: int = 0) -> np.ndarray:
    shape = list(array.shape)
    shape[axis] = size
    grown = np.zeros(shape, array.dtype)
    grown[tuple(slice(n) for n in array.shape)] = array
    return grown


def _step(records: np.ndarray) -> int:
    """How many records to take at once: a CLEAR alone, and not into a matching event."""
    stop = min(len(records), _STEP)
    cleared = np.flatnonzero(records["op"][:stop] == Op.CLEAR)
    if len(cleared):
        return max(int(cleared[0]), 1)
    if stop < len(records):
        begin = int(np.searchsorted(records["time_ns"][:stop], records["time_ns"][stop]))
        return begin or stop
    return stop


def _placed(truth: Truth, first: int, after: np.ndarray) -> Truth:
    """The snapshots after records `first` and on, which `after` says the places of."""
    # One before the very first record shows the book before the first message.
    place = np.append(0 if first == 0 else -1, after)
    here = (truth.after >= first) & (truth.after <= first + len(after))
    here[here] = place[truth.after[here] - first] >= 0
    cut = Truth(*(column[here] for column in truth))
    return cut._replace(after=place[cut.after - first])


def _sliced(
    feed: np.ndarray, truth: Truth | None, outcome: np.ndarray
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Batches of at most BATCH_ROWS messages, the last of them with the outcome of its records."""
    n, first = len(feed), 0
    while True:
        last = min(first + BATCH_ROWS, n)
        cut = None
        if truth is not None and len(truth.after):
            # A snapshot at a cut belongs to the batch that ends there.
            here = (truth.after <= last) & ((truth.after > first) | (first == 0))
            cut = Truth(*(column[here] for column in truth))._replace(
                after=truth.after[here] - first
            )
        said = outcome if last == n else outcome[:0]
        yield Batch(feed[first:last], cut if cut is not None and len(cut.after) else None), said
        first = last
        if first >= n:
            return

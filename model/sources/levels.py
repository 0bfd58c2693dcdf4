"""Price levels to orders: what a feed says of its levels and trades, as messages for the engine.

A feed by level says how many lots a price shows now, and who traded; it tells no orders apart. The
`Ladder` keeps the orders that it has itself sent, so that an engine that executes its messages from
an empty book holds, after every SYNC, just the lots that the feed shows at every price. Stated as
`ASSUMPTIONS`, and meant so:

- A level that grows gained one new order, at the back of its queue. A level that shrinks by more
  than was traded lost its latest orders: whole ones are cancelled, the last one is reduced.
- A trade takes from the front of the queue at once. The next SYNC compares what is left with what
  the feed shows, so that a decrease which a trade explains is not sent as a cancel as well.
- A trade knows more than a book that was last told some time ago. Before it, what it contradicts is
  made right: levels that it passed by are gone, the levels that it emptied held just what it took,
  the last one at least that much, and no order of its own side stands where it found makers. Then
  its order, a LIMIT with IOC at the worst price, fills exactly as the feed says.
- A level that crosses a newer one waits outside the book until it does not cross any more.

Knows the engine's messages and matching, no vendor. Time and memory: a binary search in the levels
per row, and the orders that rest.
"""

from __future__ import annotations

import numpy as np

from mtsim.engine.units import MAX_LOTS
from mtsim.model.sources.base import FEED_DTYPE, OWN_IDS
from mtsim.model.sources.level_queues import (
    CROSSED,
    FREE_LEVEL,
    FREE_ORDER,
    KEY,
    LEVEL_WORDS,
    MISSING,
    N_ASK_LEVELS,
    N_LEVELS,
    N_ORDERS,
    N_OUT,
    N_PRINTS,
    NEXT,
    NEXT_FREE,
    NEXT_ID,
    ORDER_WORDS,
    OUT_ID,
    OUT_KIND,
    OUT_LOTS,
    OUT_ORIGIN,
    OUT_ROW,
    OUT_SIDE,
    OUT_TICK,
    OUT_TIF,
    OUT_TIME,
    OUT_WORDS,
    SCALARS,
    SIDE,
    STALE,
    WANTED,
    What,
    run,
)

ASSUMPTIONS = (
    "Orders are inferred from levels: an increase is one new order at the back of its level, a "
    "decrease that no trade explains takes out the latest orders.",
    "Before a trade, orders that it contradicts are cancelled and lots that it found are added.",
    f"More than {MAX_LOTS} lots at once are sent as several orders.",
)

L2_DTYPE = np.dtype(
    [
        ("time_ns", "<i8"),
        ("row", "<i8"),
        ("lots", "<i8"),
        ("tick", "<i4"),
        ("side", "u1"),
        ("what", "u1"),
        ("padding", "u1", (2,)),
    ]
)
"""One thing that a feed by level says, 32 bytes; `time_ns` and `row` as in FEED_DTYPE."""


class Ladder:
    """The levels of one book, and the orders sent to make them."""

    def __init__(self) -> None:
        self._levels = np.zeros((0, LEVEL_WORDS), np.int64)
        self._orders = np.zeros((0, ORDER_WORDS), np.int64)
        self._sorted = np.zeros((2, 0), np.int64)
        self._dirty = np.zeros(0, np.int64)
        self._prints = np.zeros((0, 2), np.int64)
        self._scalars = np.zeros(SCALARS, np.int64)
        self._scalars[[FREE_LEVEL, FREE_ORDER]] = -1
        self._scalars[NEXT_ID] = OWN_IDS
        self._out = np.zeros((1 << 14, OUT_WORDS), np.int64)

    def convert(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The messages (FEED_DTYPE) of L2_DTYPE rows, and for each MARK how many came before it.

        Rows may stop between a level and its SYNC, or a print and its TAKE: the next ones go on.
        """
        messages = []
        marks = np.zeros(int(np.count_nonzero(rows["what"] == What.MARK)), np.int64)
        done, n_marks, n_before = 0, 0, 0
        while done < len(rows):
            self._make_room(len(rows) - done)
            stopped, n_new_marks = run(
                rows[done:],
                self._levels,
                self._orders,
                self._sorted,
                self._dirty,
                self._prints,
                self._scalars,
                self._out,
                marks[n_marks:],
            )
            marks[n_marks : n_marks + n_new_marks] += n_before
            n_out = int(self._scalars[N_OUT])
            if n_out == 0 and stopped == 0:
                self._out = np.zeros((2 * len(self._out), OUT_WORDS), np.int64)
                continue
            messages.append(_as_feed(self._out[:n_out]))
            self._scalars[N_OUT] = 0
            done, n_marks, n_before = done + stopped, n_marks + n_new_marks, n_before + n_out
        return np.concatenate([np.zeros(0, FEED_DTYPE), *messages]), marks

    def levels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the feed shows now: side, tick and lots of every level, each side best first."""
        slots = np.concatenate(
            [self._sorted[side, : self._scalars[N_LEVELS + side]][::-1] for side in range(2)]
        )
        levels = self._levels[slots]
        levels = levels[levels[:, WANTED] > 0]
        side = levels[:, SIDE]
        return side, np.where(side == 0, levels[:, KEY], -levels[:, KEY]), levels[:, WANTED]

    def opening(self) -> np.ndarray:
        """The rows that put what the feed shows now in place, their time and row left open."""
        side, tick, lots = self.levels()
        rows = np.zeros(len(lots) + 1 if len(lots) else 0, L2_DTYPE)
        rows["side"][:-1], rows["tick"][:-1], rows["lots"][:-1] = side, tick, lots
        rows["what"][-1:] = What.OPEN
        return rows

    def repaired(self) -> dict[str, int]:
        """How many messages were sent that no record of the feed asks for, by reason."""
        counted = {
            "order cancelled before a trade that passed it by": self._scalars[STALE],
            "lots added before a trade that found more than the level showed": self._scalars[
                MISSING
            ],
            "order cancelled under a newer level that crosses it": self._scalars[CROSSED],
        }
        return {reason: int(count) for reason, count in counted.items() if count}

    def _make_room(self, n_rows: int) -> None:
        """A free level for every row to come, and a free order for every message to go out."""
        n_levels = int(self._scalars[[N_LEVELS, N_ASK_LEVELS, N_PRINTS]].sum()) + n_rows
        if n_levels > len(self._levels):
            grown = np.zeros((2 * n_levels, LEVEL_WORDS), np.int64)
            _chain(grown, len(self._levels), NEXT_FREE, self._scalars, FREE_LEVEL)
            grown[: len(self._levels)] = self._levels
            self._sorted = np.pad(self._sorted, ((0, 0), (0, len(grown) - len(self._levels))))
            self._dirty = np.pad(self._dirty, (0, len(grown) - len(self._levels)))
            self._levels = grown
        n_orders = int(self._scalars[N_ORDERS]) + len(self._out)
        if n_orders > len(self._orders):
            grown = np.zeros((2 * n_orders, ORDER_WORDS), np.int64)
            _chain(grown, len(self._orders), NEXT, self._scalars, FREE_ORDER)
            grown[: len(self._orders)] = self._orders
            self._orders = grown
        n_prints = int(self._scalars[N_PRINTS]) + n_rows
        if n_prints > len(self._prints):
            self._prints = np.pad(self._prints, ((0, 2 * n_prints - len(self._prints)), (0, 0)))


def with_syncs(rows: np.ndarray) -> np.ndarray:
    """LEVEL rows in order of time, with a SYNC after the last one of each time."""
    ends = np.append(np.diff(rows["time_ns"]) != 0, True)[: len(rows)]
    which = np.repeat(np.arange(len(rows)), 1 + ends)
    spread = rows[which]
    spread["what"][np.diff(which, prepend=-1) == 0] = What.SYNC
    return spread


def _chain(pool: np.ndarray, first: int, column: int, scalars: np.ndarray, head: int) -> None:
    """Put the rows of a pool from `first` on at the head of its free list."""
    pool[first:-1, column] = np.arange(first + 1, len(pool))
    pool[-1, column] = scalars[head]
    scalars[head] = first


def _as_feed(out: np.ndarray) -> np.ndarray:
    feed = np.zeros(len(out), FEED_DTYPE)
    feed["time_ns"], feed["row"] = out[:, OUT_TIME], out[:, OUT_ROW]
    feed["origin"] = out[:, OUT_ORIGIN]
    message = feed["message"]
    message["kind"], message["side"] = out[:, OUT_KIND], out[:, OUT_SIDE]
    message["tif"], message["price_tick"] = out[:, OUT_TIF], out[:, OUT_TICK]
    message["lots"], message["order_id"] = out[:, OUT_LOTS], out[:, OUT_ID]
    return feed

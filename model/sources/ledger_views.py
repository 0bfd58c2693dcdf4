"""The books that a feed shows, in compiled code: held against the ledger's, or taken in.

A book stands beside its record, or in a snapshot of its own that may lag the records.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mtsim.model.sources.ledger_fills import (
    flush,
)
from mtsim.model.sources.ledger_orders import (
    reveal,
)
from mtsim.model.sources.ledger_queues import (
    INFERRED,
    IS_DARK,
    N_BID,
    OPENING,
    SUM,
    TOTAL_OUT,
    compiled,
    key_of,
    level_at,
)
from mtsim.model.sources.ledger_records import (
    NO_TICK,
    Repair,
)

# The parts of one order: what a record can need beside twice the book.
PARTS = 4096
SPARE = 2 * PARTS

# In place of the lots of the best bid: no book stands beside this record.
NO_BOOK = -1


_REVEALED = int(Repair.REVEALED)

# Places in `view.state`.
SEEDED, _BOUND_BID, _BOUND_ASK, PENDING_ROW, N_TRUTH, FIRST = range(6)
VIEW = 6


class View(NamedTuple):
    """The books that the feed shows: beside its records, and in snapshots of their own."""

    state: np.ndarray  # int64 [VIEW]
    pending: np.ndarray  # int64 [2, 2, L], ticks and lots of a row whose fills are still open
    snapshot_ns: np.ndarray  # int64 [k]
    snapshot_row: np.ndarray  # int64 [k]
    snapshot: np.ndarray  # int64 [k, 2, 2, L]
    window: np.ndarray  # int64 [2]: ns before and after its time in which a snapshot may fit
    found: np.ndarray  # uint8 [k]: it has its place
    after: np.ndarray  # int64 [n]
    row: np.ndarray  # int64 [n]
    book: np.ndarray  # int64 [n, 2, 2, L]


@compiled
def copy(book, to):
    for field in range(2):
        for side in range(2):
            for level in range(book.shape[2]):
                to[field, side, level] = book[field, side, level]


@compiled
def _testify(s, view, row, book):
    n = view.state[N_TRUTH]
    view.after[n], view.row[n] = s.now[TOTAL_OUT], row
    copy(book, view.book[n])
    view.state[N_TRUTH] = n + 1


@compiled
def look(s, view, row, book):
    """Take in the book beside a row: what it shows deeper than any before it was there unseen."""
    state = view.state
    levels = book.shape[2]
    if s.now[IS_DARK] != 0:
        return
    seeding = state[SEEDED] == 0
    for side in range(2):
        bound = state[_BOUND_BID + side]
        for k in range(levels):
            tick, lots = book[0, side, k], book[1, side, k]
            if lots == 0:
                break
            if seeding or key_of(side, tick) < bound:
                level = level_at(s, side, tick)
                there = s.levels[level, SUM] if level >= 0 else 0
                if lots > there:
                    reveal(s, side, tick, lots - there, OPENING if seeding else INFERRED)
                    s.repaired[_REVEALED] += not seeding
        # A book with fewer levels than there is room for hides nothing.
        deepest = key_of(side, book[0, side, levels - 1]) if book[1, side, levels - 1] else NO_TICK
        state[_BOUND_BID + side] = deepest if seeding else min(bound, deepest)
    state[SEEDED] = 1
    _testify(s, view, row, book)


@compiled
def _equals(s, view, book):
    """Whether a snapshot shows the best levels of the book, as far as both are known."""
    for side in range(2):
        n = s.now[N_BID + side]
        bound = view.state[_BOUND_BID + side]
        for k in range(book.shape[2]):
            here = s.ladder[side, n - 1 - k] if k < n else NO_TICK
            if book[1, side, k] == 0:
                if here > bound:
                    return False
                break
            key = key_of(side, book[0, side, k])
            if key < bound and here < bound:
                break
            if key != here or book[1, side, k] != s.levels[s.rungs[side, n - 1 - k], SUM]:
                return False
    return True


@compiled
def recognise(s, view, time_ns):
    """Give snapshots their places: here, where one fits, or where its window has closed."""
    state = view.state
    k = state[FIRST]
    while k < view.snapshot_ns.size and view.snapshot_ns[k] - view.window[0] <= time_ns:
        if view.found[k] == 0:
            closed = view.snapshot_ns[k] + view.window[1] < time_ns
            if s.now[IS_DARK] != 0:
                view.found[k] = closed
            elif state[SEEDED] == 0:
                if view.snapshot_ns[k] <= time_ns:
                    view.found[k] = 1
                    look(s, view, view.snapshot_row[k], view.snapshot[k])
            elif _equals(s, view, view.snapshot[k]):
                view.found[k] = 1
                look(s, view, view.snapshot_row[k], view.snapshot[k])
            elif closed:
                view.found[k] = 1
                _testify(s, view, view.snapshot_row[k], view.snapshot[k])
        if view.found[k] != 0 and k == state[FIRST]:
            state[FIRST] = k + 1
        k += 1


@compiled
def settle(s, view):
    """Write the open fills, then the book that their last row shows."""
    flush(s)
    if view.state[PENDING_ROW] > 0:
        look(s, view, view.state[PENDING_ROW], view.pending)
        view.state[PENDING_ROW] = 0

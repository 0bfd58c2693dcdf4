"""The run of a ledger over records, and the books that a feed shows on the way, in compiled code.

A book stands beside its record, or in a snapshot of its own that may lag the records.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.model.sources import ledger_book, ledger_fills, ledger_follow
from mtsim.model.sources.ledger_book import (
    ID,
    INFERRED,
    IS_DARK,
    LIVE,
    N_BID,
    N_GROUP,
    N_OUT,
    NO_TICK,
    OPENING,
    REVEALED,
    ROW,
    SIDE,
    SUM,
    TIME,
    TOTAL_OUT,
    compiled,
    key_of,
    level_at,
    place_of,
    reveal,
)
from mtsim.model.sources.ledger_fills import (
    continues,
    flush,
)
from mtsim.model.sources.ledger_follow import (
    apply,
)

# The parts of one order: what a record can need beside twice the book.
PARTS = 4096
SPARE = 2 * PARTS

# In place of the lots of the best bid: no book stands beside this record.
NO_BOOK = -1


# Places in `view.state`.
SEEDED, _BOUND_BID, _BOUND_ASK, _PENDING_ROW, N_TRUTH, _FIRST = range(6)
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
def _copy(book, to):
    for field in range(2):
        for side in range(2):
            for level in range(book.shape[2]):
                to[field, side, level] = book[field, side, level]


@compiled
def _testify(s, view, row, book):
    n = view.state[N_TRUTH]
    view.after[n], view.row[n] = s.now[TOTAL_OUT], row
    _copy(book, view.book[n])
    view.state[N_TRUTH] = n + 1


@compiled
def _look(s, view, row, book):
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
                    s.repaired[REVEALED] += not seeding
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
def _recognise(s, view, time_ns):
    """Give snapshots their places: here, where one fits, or where its window has closed."""
    state = view.state
    k = state[_FIRST]
    while k < view.snapshot_ns.size and view.snapshot_ns[k] - view.window[0] <= time_ns:
        if view.found[k] == 0:
            closed = view.snapshot_ns[k] + view.window[1] < time_ns
            if s.now[IS_DARK] != 0:
                view.found[k] = closed
            elif state[SEEDED] == 0:
                if view.snapshot_ns[k] <= time_ns:
                    view.found[k] = 1
                    _look(s, view, view.snapshot_row[k], view.snapshot[k])
            elif _equals(s, view, view.snapshot[k]):
                view.found[k] = 1
                _look(s, view, view.snapshot_row[k], view.snapshot[k])
            elif closed:
                view.found[k] = 1
                _testify(s, view, view.snapshot_row[k], view.snapshot[k])
        if view.found[k] != 0 and k == state[_FIRST]:
            state[_FIRST] = k + 1
        k += 1


@compiled
def _settle(s, view):
    """Write the open fills, then the book that their last row shows."""
    flush(s)
    if view.state[_PENDING_ROW] > 0:
        _look(s, view, view.state[_PENDING_ROW], view.pending)
        view.state[_PENDING_ROW] = 0


@njit(nogil=True, error_model="numpy")
def _ahead(s, view, records, books, start, outcome):
    levels = 2 * view.pending.shape[2]
    for i in range(start, records.size):
        live = s.now[LIVE]
        if (
            s.now[N_OUT] + 6 * live + SPARE > s.out.shape[0]
            or live + levels + SPARE > s.orders.shape[0]
            or view.state[N_TRUTH] + view.snapshot_ns.size + 2 > view.after.size
        ):
            return i
        record = records[i]
        if s.now[N_GROUP] > 0 and not continues(s, record):
            _settle(s, view)
        if s.now[N_GROUP] == 0 and view.state[_FIRST] < view.snapshot_ns.size:
            _recognise(s, view, record.time_ns)
        s.now[TIME], s.now[ROW] = record.time_ns, record.row
        outcome[i] = apply(s, record)
        if books.shape[0] > 0 and books[i, 1, 0, 0] != NO_BOOK:
            if s.now[N_GROUP] > 0:
                view.state[_PENDING_ROW] = record.row
                _copy(books[i], view.pending)
            else:
                _look(s, view, record.row, books[i])
    return records.size


def _entry_points(sources: int):
    @njit(nogil=True, cache=True, error_model="numpy")
    def follow(s, view, records, books, start, outcome):
        """Take records, with the books beside them (none, or one a record), from `start` on.

        Returns how many are done: all, or less where a buffer might not hold what the next one
        needs; `outcome` says what they came to.
        """
        _ = sources
        return _ahead(s, view, records, books, start, outcome)

    @njit(nogil=True, cache=True, error_model="numpy")
    def finish(s, view):
        """No more records: write the open fills, and place the snapshots that fit here."""
        _ = sources
        _settle(s, view)
        _recognise(s, view, s.now[TIME])

    @njit(nogil=True, cache=True, error_model="numpy")
    def hash_orders(s, slots):
        """Fill an empty table with the ids of these slots."""
        _ = sources
        for k in range(slots.size):
            slot = slots[k]
            s.table[place_of(s, s.orders[slot, ID], s.orders[slot, SIDE])] = slot

    return follow, finish, hash_orders


def _fingerprint() -> int:
    # Numba's cache looks at the entry point's own file only.
    digest = hashlib.sha256()
    for file in (ledger_book.__file__, ledger_fills.__file__, ledger_follow.__file__, __file__):
        digest.update(Path(file).read_bytes())
    return int.from_bytes(digest.digest()[:8], "little") >> 1


follow, finish, hash_orders = _entry_points(_fingerprint())

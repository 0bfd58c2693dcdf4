"""The run of a ledger over records, in compiled code: where Python enters it.

With the books that a feed shows beside its records, or, of one that tells every order, in turn.
"""

from __future__ import annotations

from pathlib import Path

from numba import njit

from mtsim.engine.fingerprint import fingerprint
from mtsim.model.sources.ledger_fills import continues
from mtsim.model.sources.ledger_follow import apply
from mtsim.model.sources.ledger_queues import ID, LIVE, N_GROUP, N_OUT, ROW, SIDE, TIME, place_of
from mtsim.model.sources.ledger_told import clear
from mtsim.model.sources.ledger_turns import run
from mtsim.model.sources.ledger_views import (
    FIRST,
    N_TRUTH,
    NO_BOOK,
    PENDING_ROW,
    SPARE,
    copy,
    look,
    recognise,
    settle,
)


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
            settle(s, view)
        if s.now[N_GROUP] == 0 and view.state[FIRST] < view.snapshot_ns.size:
            recognise(s, view, record.time_ns)
        s.now[TIME], s.now[ROW] = record.time_ns, record.row
        outcome[i] = apply(s, record)
        if books.shape[0] > 0 and books[i, 1, 0, 0] != NO_BOOK:
            if s.now[N_GROUP] > 0:
                view.state[PENDING_ROW] = record.row
                copy(books[i], view.pending)
            else:
                look(s, view, record.row, books[i])
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
        settle(s, view)
        recognise(s, view, s.now[TIME])

    @njit(nogil=True, cache=True, error_model="numpy")
    def hash_orders(s, slots):
        """Fill an empty table with the ids of these slots."""
        _ = sources
        for k in range(slots.size):
            slot = slots[k]
            s.table[place_of(s, s.orders[slot, ID], s.orders[slot, SIDE])] = slot

    @njit(nogil=True, cache=True, error_model="numpy")
    def follow_in_turn(s, records, after, outcome):
        """Take records that end with a matching event, in the order that their turns want.

        Writes how many messages there are `after` each (-1: inside an aggressive order). Returns
        the record at fault and its `Fault`, or 0s.
        """
        _ = sources
        return run(s, records, after, outcome)

    @njit(nogil=True, cache=True, error_model="numpy")
    def empty(s, record):
        """Take everything out of the book, because of a record."""
        _ = sources
        clear(s, record[0])

    return follow, follow_in_turn, empty, finish, hash_orders


# What the compiled code is made of, the numbers of the enums among it.
_COMPILED = ("records", "queues", "orders", "fills", "follow", "told", "turns", "views", "run")
_FILES = (Path(__file__).with_name(f"ledger_{part}.py") for part in _COMPILED)
follow, follow_in_turn, empty, finish, hash_orders = _entry_points(fingerprint(*_FILES))

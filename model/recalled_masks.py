"""The masks of `masks`, read off a memo: the same bits without a look at the orders of the book.

Where the memo does not know its book as it is, the book is counted first. The tokens of a world are
the memo's own row, of which only what has changed is written; in between they are out of date.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

from pathlib import Path

from numba import njit

from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U, cold, hot, trailing_zeros
from mtsim.engine.layout import BEST, EMPTY_KEY, PHASE
from mtsim.engine.units import MAX_LOTS
from mtsim.model import mask_memo
from mtsim.model.actions import N_PLACES
from mtsim.model.book_codes import N_SWEPT
from mtsim.model.candidates import add_distances, swept_lots
from mtsim.model.mask_layout import (
    ADD_BOUNDS,
    ADDS,
    CELLS,
    CHANGED,
    COUNTS,
    HALF,
    IS_PART,
    LOTS_BOUNDS,
    N_ADD,
    N_CANCEL,
    N_LEVELS,
    N_LOTS,
    SEEN,
    STALE,
    SWEEPS,
    TOTALS,
    TOUCHED,
    UNWRITTEN,
)
from mtsim.model.mask_memo import count_book, is_current
from mtsim.model.masks import ADD, AUCTION, CANCEL, TRADE, allowed_levels, allowed_lots, meets

SOURCES = fingerprint(mask_memo.SOURCES, Path(__file__))
"""For the entry points of loops that call the kernels."""


# --- field by field -------------------------------------------------------------------------------


@cold
def recalled_types(a32, a64, o, past_i, plan, words, lowest_tick, out):
    """`allowed_types`. O(bins)."""
    if not is_current(a64, o, words):
        count_book(a32, a64, o, plan, words)
    is_open = a64[U(o + PHASE)] != AUCTION
    n_rows = plan[N_CANCEL] * N_PLACES
    for side in range(2):
        least, most = add_distances(a64, o, past_i, lowest_tick, side)
        out[ADD * 2 + side] = is_open and least <= most
        out[TRADE * 2 + side] = is_open and a64[U(o + BEST + 1 - side)] > EMPTY_KEY + 1 - side
        at = plan[TOTALS] + side * n_rows
        end = at + n_rows
        while at < end and words[U(at)] == 0:
            at += 1
        out[CANCEL * 2 + side] = is_open and at < end


@cold
def recalled_levels(a32, a64, o, past_i, tables, plan, words, lowest_tick, type_code, out):
    """`allowed_levels`. O(levels)."""
    if type_code >> 1 != CANCEL:
        allowed_levels(a32, a64, o, past_i, tables, lowest_tick, type_code, out)
        return
    if not is_current(a64, o, words):
        count_book(a32, a64, o, plan, words)
    level = plan[N_ADD] + N_SWEPT
    out[:level] = False
    n_rows = plan[N_CANCEL] * N_PLACES
    first = plan[TOTALS] + (type_code & 1) * n_rows
    for at in range(first, first + n_rows):
        out[U(level)] = words[U(at)] > HALF
        out[U(level + 1)] = words[U(at)] != 0
        level += 2


@cold
def recalled_lots(a32, a64, o, tables, plan, words, type_code, level, out):
    """`allowed_lots`. O(lots codes)."""
    if type_code >> 1 != CANCEL:
        allowed_lots(a32, a64, o, tables, type_code, level, out)
        return
    if not is_current(a64, o, words):
        count_book(a32, a64, o, plan, words)
    rest = level - plan[N_ADD] - N_SWEPT
    row = (type_code & 1) * plan[N_CANCEL] * N_PLACES + (rest >> 1)
    at = plan[COUNTS] + row * plan[N_LOTS]
    holds_larger = False
    for lots in range(plan[N_LOTS] - 1, -1, -1):
        count = words[U(at + lots)]
        # A part of an order is less than all of it: a larger order, or more than the bin's least.
        out[U(lots)] = count != 0 if rest & 1 != 0 else holds_larger or count > HALF
        holds_larger = holds_larger or count != 0


# --- by id ----------------------------------------------------------------------------------------


@cold
def recall_tokens(a32, a64, o, past_i, plan, words, tokens, lowest_tick):
    """Bring a memo's tokens up to date: `allowed_tokens`. O(what has changed)."""
    if a64[U(o + PHASE)] == AUCTION:
        tokens[:] = False
        words[SEEN] = STALE
        return
    if not is_current(a64, o, words):
        count_book(a32, a64, o, plan, words)
    if words[UNWRITTEN] != 0:
        _clear(words, tokens)
    for side in range(2):
        cell = side * plan[N_LEVELS] * plan[N_LOTS]
        least, most = add_distances(a64, o, past_i, lowest_tick, side)
        at = ADDS + 2 * side
        if least != words[U(at)] or most != words[U(at + 1)]:
            _write_adds(plan, words, tokens, cell, at, least, most)
        if words[U(TOUCHED + 1 - side)] != 0:
            words[U(TOUCHED + 1 - side)] = 0
            cell += plan[N_ADD] * plan[N_LOTS]
            _write_trades(a32, a64, o, plan, words, tokens, side, cell)
    for at in range(CHANGED, plan[TOTALS]):
        bits = words[U(at)]
        words[U(at)] = 0
        while bits != 0:
            _write_cancels(plan, words, tokens, ((at - CHANGED) << 6) + trailing_zeros(bits))
            bits &= bits - 1


@cold
def _clear(words, tokens):
    """Write the tokens of a book that allows nothing."""
    tokens[:] = False
    for side in range(2):
        words[U(TOUCHED + side)] = 1
    for at in range(ADDS, IS_PART, 2):
        words[U(at)] = 1
        words[U(at + 1)] = 0
    words[UNWRITTEN] = 0


@hot
def _write_cell(plan, tokens, cell, flag):
    token = plan[U(plan[CELLS] + 2 * cell)]
    end = plan[U(plan[CELLS] + 2 * cell + 1)]
    if token < end and tokens[U(token)] != flag:
        while token < end:
            tokens[U(token)] = flag
            token += 1


@hot
def _bin_meets(plan, bounds, code, least, most):
    at = plan[bounds] + 2 * code
    return meets(plan[U(at)], plan[U(at + 1)], least, most)


@cold
def _write_adds(plan, words, tokens, cell, at, least, most):
    for code in range(plan[N_ADD]):
        flag = _bin_meets(plan, ADD_BOUNDS, code, least, most)
        if flag != _bin_meets(plan, ADD_BOUNDS, code, words[U(at)], words[U(at + 1)]):
            for lots in range(plan[N_LOTS]):
                is_allowed = flag and _bin_meets(plan, LOTS_BOUNDS, lots, 1, MAX_LOTS)
                _write_cell(plan, tokens, cell + code * plan[N_LOTS] + lots, is_allowed)
    words[U(at)] = least
    words[U(at + 1)] = most


@cold
def _write_trades(a32, a64, o, plan, words, tokens, side, cell):
    enough = plan[U(plan[LOTS_BOUNDS] + 2 * (plan[N_LOTS] - 1))]
    at = SWEEPS + 2 * N_SWEPT * side
    for swept in range(N_SWEPT):
        least, most = swept_lots(a32, a64, o, side, swept, enough)
        if least != words[U(at)] or most != words[U(at + 1)]:
            for lots in range(plan[N_LOTS]):
                flag = _bin_meets(plan, LOTS_BOUNDS, lots, least, most)
                _write_cell(plan, tokens, cell + lots, flag)
            words[U(at)] = least
            words[U(at + 1)] = most
        cell += plan[N_LOTS]
        at += 2


@cold
def _write_cancels(plan, words, tokens, row):
    n_rows = plan[N_CANCEL] * N_PLACES
    side = 1 if row >= n_rows else 0
    level = side * plan[N_LEVELS] + plan[N_ADD] + N_SWEPT + (row - side * n_rows) * 2
    part = level * plan[N_LOTS]
    whole = part + plan[N_LOTS]
    at = plan[COUNTS] + row * plan[N_LOTS]
    holds_larger = False
    for lots in range(plan[N_LOTS] - 1, -1, -1):
        count = words[U(at + lots)]
        _write_cell(plan, tokens, part + lots, holds_larger or count > HALF)
        _write_cell(plan, tokens, whole + lots, count != 0)
        holds_larger = holds_larger or count != 0


# --- many books -----------------------------------------------------------------------------------


def _entry_points(sources: int):
    @njit(nogil=True, cache=True, error_model="numpy")
    def recall_types(a32, a64, bases, past_i, plan, words, lowest_tick, out):
        """`masks.allow_types`; `words` are the memo's, of these books in this order."""
        _ = sources
        for n in range(bases.size):
            recalled_types(a32, a64, bases[n], past_i[n], plan, words[n], lowest_tick, out[n])

    @njit(nogil=True, cache=True, error_model="numpy")
    def recall_levels(a32, a64, bases, past_i, tables, plan, words, lowest_tick, types, out):
        """`masks.allow_levels`."""
        _ = sources
        for n in range(bases.size):
            recalled_levels(
                a32,
                a64,
                bases[n],
                past_i[n],
                tables,
                plan,
                words[n],
                lowest_tick,
                types[n],
                out[n],
            )

    @njit(nogil=True, cache=True, error_model="numpy")
    def recall_lots(a32, a64, bases, tables, plan, words, types, levels, out):
        """`masks.allow_lots`."""
        _ = sources
        for n in range(bases.size):
            recalled_lots(a32, a64, bases[n], tables, plan, words[n], types[n], levels[n], out[n])

    @njit(nogil=True, cache=True, error_model="numpy")
    def recall_all_tokens(a32, a64, bases, past_i, plan, words, tokens, lowest_tick):
        """`masks.allow_tokens`, into the tokens of the memo."""
        _ = sources
        for n in range(bases.size):
            recall_tokens(a32, a64, bases[n], past_i[n], plan, words[n], tokens[n], lowest_tick)

    return recall_types, recall_levels, recall_lots, recall_all_tokens


recall_types, recall_levels, recall_lots, recall_all_tokens = _entry_points(SOURCES)

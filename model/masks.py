"""What a book allows next, as masks over the codes of the schema `book`, field by field or whole.

The law: a combination of type, level and lots is allowed where `realise` finds a message for it,
and that is where any message of the background flow would be described by it. So no choice within
the masks leads to a dead end: an allowed type has an allowed level, an allowed level allowed lots.
Any gap goes with any of them.

A mask belongs to the book just before the action. In an auction nothing is allowed. The kernels are
for one book; the entry points below them fill [n, ...] masks for n books, allocate nothing, and let
other threads run. Masks change no book. What they cost grows with the orders of the book:
`recalled_masks` has the same bits from a memo.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.engine import compiled
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U, cold, hot
from mtsim.engine.layout import BEST, EMPTY_KEY, NEXT, ORDER_WORDS, ORDERS, PHASE
from mtsim.engine.messages import Phase
from mtsim.engine.units import MAX_LOTS
from mtsim.model import laws
from mtsim.model.actions import ActionKind
from mtsim.model.book_codes import N_SHAPES, N_SWEPT, BookTables, n_levels
from mtsim.model.candidates import (
    FIRST,
    LAST,
    MIDDLE,
    ONLY,
    add_distances,
    has_background,
    is_background,
    level_at,
    level_below,
    level_from,
    queue_at,
    shapes_between,
    swept_lots,
)
from mtsim.model.describe import open_lots
from mtsim.model.laws import code_of

ADD, TRADE, CANCEL = (kind.value for kind in ActionKind)
AUCTION = Phase.AUCTION.value

_MODULES = ("actions", "book_codes", "past", "describe", "candidates", "masks")
SOURCES = fingerprint(
    compiled.SOURCES,
    laws.SOURCES,
    *(Path(__file__).with_name(f"{module}.py") for module in _MODULES),
)
"""For the entry points of loops that call the kernels."""


# Below this many lots a code is looked up and not searched for.
_USUAL_LOTS = 1024


class Runs(NamedTuple):
    """The ids of a tokenizer as runs of one type, level and lots: what `allow_tokens` goes by."""

    end: np.ndarray  # int64 [R]: the id after the last one of each run
    cell: np.ndarray  # int64 [R]: where `allowed_cells` says whether the run is allowed
    lots_code: np.ndarray  # int64: the code of each number of lots up to its length


def n_cells(tables: BookTables) -> int:
    """How many (side, level, lots) there are, and one more that is never allowed."""
    levels = n_levels(len(tables.add_lower), len(tables.cancel_lower))
    return 2 * levels * len(tables.lots_lower) + 1


def runs_of(tables: BookTables) -> Runs:
    """The runs of the ids of a tokenizer. PAD, BOS and EOS are never allowed."""
    levels = n_levels(len(tables.add_lower), len(tables.cancel_lower))
    cell = (tables.token_type % 2 * levels + tables.token_level) * len(tables.lots_lower)
    cell = np.where(tables.token_type < 0, n_cells(tables) - 1, cell + tables.token_lots)
    end = np.append(np.flatnonzero(np.diff(cell)) + 1, len(cell))
    lots = np.arange(_USUAL_LOTS)
    return Runs(end, cell[end - 1], np.searchsorted(tables.lots_upper, lots))


@hot
def meets(lower, upper, least, most):
    """Whether a bin has an integer of a range, which may be empty."""
    return max(lower, least) <= min(upper, most)


# --- one book -------------------------------------------------------------------------------------


@cold
def allowed_types(a32, a64, o, past_i, lowest_tick, out):
    """Which of the N_TYPES types the book allows. O(1), and the agents' orders before the first of
    the background flow."""
    r = (o + a64[U(o + ORDERS)]) * 2
    is_open = a64[U(o + PHASE)] != AUCTION
    for side in range(2):
        least, most = add_distances(a64, o, past_i, lowest_tick, side)
        out[ADD * 2 + side] = is_open and least <= most
        out[TRADE * 2 + side] = is_open and a64[U(o + BEST + 1 - side)] > EMPTY_KEY + 1 - side
        out[CANCEL * 2 + side] = is_open and has_background(a32, a64, o, r, side)


@cold
def allowed_levels(a32, a64, o, past_i, tables, lowest_tick, type_code, out):
    """Which level codes an allowed type allows; those of other kinds are not.

    Of a CANCEL: O(orders in a bin), but stops in each bin when it has found all shapes.
    """
    out[:] = False
    kind = type_code >> 1
    side = type_code & 1
    n_add = tables.add_lower.size
    if kind == ADD:
        least, most = add_distances(a64, o, past_i, lowest_tick, side)
        for code in range(n_add):
            out[code] = meets(tables.add_lower[code], tables.add_upper[code], least, most)
        return
    if kind == TRADE:
        for swept in range(N_SWEPT):
            least, most = swept_lots(a32, a64, o, side, swept, 0)
            out[n_add + swept] = least <= most
        return
    r = (o + a64[U(o + ORDERS)]) * 2
    level = n_add + N_SWEPT
    for code in range(tables.cancel_lower.size):
        nearest, furthest = tables.cancel_lower[code], tables.cancel_upper[code]
        shapes = shapes_between(a32, a64, o, r, side, nearest, furthest)
        for shape in range(N_SHAPES):
            out[level + shape] = (shapes >> shape) & 1 != 0
        level += N_SHAPES


@cold
def allowed_lots(a32, a64, o, tables, type_code, level, out):
    """Which lots codes an allowed level of an allowed type allows.

    Of a CANCEL: O(orders of the bin), but stops when it has found lots of every code.
    """
    kind = type_code >> 1
    side = type_code & 1
    n_lots = tables.lots_lower.size
    n_add = tables.add_lower.size
    if kind == ADD:
        for code in range(n_lots):
            out[code] = meets(tables.lots_lower[code], tables.lots_upper[code], 1, MAX_LOTS)
        return
    if kind == TRADE:
        enough = tables.lots_lower[n_lots - 1]
        least, most = swept_lots(a32, a64, o, side, level - n_add, enough)
        for code in range(n_lots):
            out[code] = meets(tables.lots_lower[code], tables.lots_upper[code], least, most)
        return
    out[:] = False
    rest = level - n_add - N_SWEPT
    code = rest // N_SHAPES
    place = (rest % N_SHAPES) >> 1
    r = (o + a64[U(o + ORDERS)]) * 2
    best = a64[U(o + BEST + side)]
    furthest = tables.cancel_upper[code]
    key = level_from(a64, o, side, tables.cancel_lower[code])
    if rest & 1 != 0:
        missing = n_lots
        while key > EMPTY_KEY + side and best - key <= furthest and missing > 0:
            slot, end = queue_at(a32, r, level_at(a64, o, side, key), place)
            while slot != end and missing > 0:
                order = r + slot * ORDER_WORDS
                if is_background(a32, order):
                    found = code_of(tables.lots_lower, tables.lots_upper, open_lots(a32, r, slot))
                    missing -= not out[found]
                    out[found] = True
                slot = np.int64(a32[U(order + NEXT)])
            key = level_below(a64, o, side, key)
        return
    most = 0
    while (
        key > EMPTY_KEY + side and best - key <= furthest and most < tables.lots_lower[n_lots - 1]
    ):
        slot, end = queue_at(a32, r, level_at(a64, o, side, key), place)
        while slot != end:
            order = r + slot * ORDER_WORDS
            if is_background(a32, order):
                most = max(most, open_lots(a32, r, slot) - 1)
            slot = np.int64(a32[U(order + NEXT)])
        key = level_below(a64, o, side, key)
    for found in range(n_lots):
        out[found] = tables.lots_lower[found] <= most


@cold
def allowed_cells(a32, a64, o, past_i, tables, runs, lowest_tick, out):
    """All allowed (side, level, lots) at once, as `runs_of` counts them; the last never is.

    O(orders of the book).
    """
    out[:] = False
    if a64[U(o + PHASE)] == AUCTION:
        return
    n_lots = tables.lots_lower.size
    n_add = tables.add_lower.size
    n_side = out.size >> 1
    for side in range(2):
        cell = side * n_side
        least, most = add_distances(a64, o, past_i, lowest_tick, side)
        for code in range(n_add):
            if meets(tables.add_lower[code], tables.add_upper[code], least, most):
                for lots in range(n_lots):
                    out[U(cell + lots)] = meets(
                        tables.lots_lower[lots], tables.lots_upper[lots], 1, MAX_LOTS
                    )
            cell += n_lots
        enough = tables.lots_lower[n_lots - 1]
        for swept in range(N_SWEPT):
            least, most = swept_lots(a32, a64, o, side, swept, enough)
            for lots in range(n_lots):
                out[U(cell + lots)] = meets(
                    tables.lots_lower[lots], tables.lots_upper[lots], least, most
                )
            cell += n_lots
        _cancel_cells(a32, a64, o, tables, runs, side, cell, out)


@cold
def _cancel_cells(a32, a64, o, tables, runs, side, cell, out):
    """The cells of one side's cancels, which begin at `cell`."""
    r = (o + a64[U(o + ORDERS)]) * 2
    n_lots = tables.lots_lower.size
    best = a64[U(o + BEST + side)]
    key = best
    for code in range(tables.cancel_lower.size):
        furthest = tables.cancel_upper[code]
        # The most lots that a partial cancel may take, of each place.
        most_only, most_first, most_middle, most_last = 0, 0, 0, 0
        while key > EMPTY_KEY + side and best - key <= furthest:
            level = level_at(a64, o, side, key)
            slot = np.int64(a32[U(level * 2)])
            tail = np.int64(a32[U(level * 2 + 1)])
            if slot == tail:
                most_only = max(most_only, _see_whole(a32, r, slot, tables, runs, cell, ONLY, out))
            else:
                most_first = max(
                    most_first, _see_whole(a32, r, slot, tables, runs, cell, FIRST, out)
                )
                most_last = max(most_last, _see_whole(a32, r, tail, tables, runs, cell, LAST, out))
                slot = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])
                while slot != tail:
                    most = _see_whole(a32, r, slot, tables, runs, cell, MIDDLE, out)
                    most_middle = max(most_middle, most)
                    slot = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])
            key = level_below(a64, o, side, key)
        for lots in range(n_lots):
            lower = tables.lots_lower[lots]
            out[U(cell + ONLY * 2 * n_lots + lots)] = lower <= most_only
            out[U(cell + FIRST * 2 * n_lots + lots)] = lower <= most_first
            out[U(cell + MIDDLE * 2 * n_lots + lots)] = lower <= most_middle
            out[U(cell + LAST * 2 * n_lots + lots)] = lower <= most_last
        cell += N_SHAPES * n_lots


@hot
def _see_whole(a32, r, slot, tables, runs, cell, place, out):
    """Allow the whole cancel of one order; returns the most lots of a partial one."""
    order = r + slot * ORDER_WORDS
    if not is_background(a32, order):
        return np.int64(0)
    lots = open_lots(a32, r, slot)
    if lots < runs.lots_code.size:
        code = runs.lots_code[U(lots)]
    else:
        code = code_of(tables.lots_lower, tables.lots_upper, lots)
    out[U(cell + (place * 2 + 1) * tables.lots_lower.size + code)] = True
    return lots - 1


@cold
def allowed_tokens(a32, a64, o, past_i, tables, runs, lowest_tick, cells, out):
    """Which ids the book allows. `cells` has room for `n_cells` booleans and is written over."""
    allowed_cells(a32, a64, o, past_i, tables, runs, lowest_tick, cells)
    start = 0
    flag = cells[U(runs.cell[0])]
    for run in range(1, runs.end.size):
        if cells[U(runs.cell[U(run)])] != flag:
            out[start : runs.end[U(run - 1)]] = flag
            start = runs.end[U(run - 1)]
            flag = not flag
    out[start:] = flag


# --- many books -----------------------------------------------------------------------------------


def _entry_points(sources: int):
    @njit(nogil=True, cache=True, error_model="numpy")
    def allow_types(a32, a64, bases, past_i, lowest_tick, out):
        """Fill [n, N_TYPES]: the types that each of the books at `bases` allows."""
        _ = sources
        for n in range(bases.size):
            allowed_types(a32, a64, bases[n], past_i[n], lowest_tick, out[n])

    @njit(nogil=True, cache=True, error_model="numpy")
    def allow_levels(a32, a64, bases, past_i, tables, lowest_tick, types, out):
        """Fill [n, levels], given an allowed type for each book."""
        _ = sources
        for n in range(bases.size):
            allowed_levels(a32, a64, bases[n], past_i[n], tables, lowest_tick, types[n], out[n])

    @njit(nogil=True, cache=True, error_model="numpy")
    def allow_lots(a32, a64, bases, tables, types, levels, out):
        """Fill [n, lots], given an allowed type and an allowed level of it for each book."""
        _ = sources
        for n in range(bases.size):
            allowed_lots(a32, a64, bases[n], tables, types[n], levels[n], out[n])

    @njit(nogil=True, cache=True, error_model="numpy")
    def allow_tokens(a32, a64, bases, past_i, tables, runs, lowest_tick, cells, out):
        """Fill [n, V], with `n_cells` booleans in `cells` to work in."""
        _ = sources
        for n in range(bases.size):
            allowed_tokens(a32, a64, bases[n], past_i[n], tables, runs, lowest_tick, cells, out[n])

    return allow_types, allow_levels, allow_lots, allow_tokens


allow_types, allow_levels, allow_lots, allow_tokens = _entry_points(SOURCES)

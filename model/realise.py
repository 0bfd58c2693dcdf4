"""From codes to a message: what the schema `book` allows on a book, drawn from the training law.

`realise` finds the message that executes as an action of this type, level and lots, if the book
allows one: exactly where `masks` say so. What a code leaves open is drawn from the law inside its
bin, cut to what the book has room for: never a midpoint, never off the grid.

Every draw is counter-based: it depends on the stream's key, the world, the index of the action and
the field below, and on no other draw. Changes no book; who executes the message is `engine.drive`.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit

from mtsim import streams, streams_numba
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U, cold
from mtsim.engine.layout import BEST, EMPTY_KEY, ID, ORDER_WORDS, ORDERS, PHASE
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS, MAX_TICK
from mtsim.model import masks
from mtsim.model.book_codes import LAWS, N_SHAPES, N_SWEPT
from mtsim.model.candidates import (
    add_distances,
    count_candidates,
    nearest_candidates,
    pick_candidate,
    swept_lots,
)
from mtsim.model.describe import open_lots, walk
from mtsim.model.laws import draw_from_law
from mtsim.model.masks import ADD, AUCTION, TRADE
from mtsim.model.past import reference_ticks
from mtsim.streams_numba import grid_at, unit_at

# The fields of an action's draws.
DISTANCE_DRAW, LOTS_DRAW, ORDER_DRAW, GAP_DRAW = range(4)

SOURCES = fingerprint(
    masks.SOURCES, Path(streams.__file__), Path(streams_numba.__file__), Path(__file__)
)
"""For the entry points of loops that call `realise`."""

_LIMIT, _CANCEL, _REDUCE = Kind.LIMIT.value, Kind.CANCEL.value, Kind.REDUCE.value
_IOC = TimeInForce.IOC.value
_ADD_DISTANCE = LAWS.index("add_distance")
_CANCEL_DISTANCE = LAWS.index("cancel_distance")
_ADD_LOTS = LAWS.index("add_lots")
_TRADE_LOTS = LAWS.index("trade_lots")
_CANCEL_LOTS = LAWS.index("cancel_lots")
_GAP = LAWS.index("gap")

# No bound.
_ANY = np.iinfo(np.int64).max


@cold
def _draw(tables, law, code, field, low, high, key, world, index):
    return draw_from_law(
        tables.law_first,
        tables.law_start,
        tables.law_value,
        tables.law_weight,
        law,
        code,
        unit_at(key, world, index, U(field)),
        low,
        high,
    )


@cold
def most_learnt(tables, low):
    """The most lots that training saw in any action, at least `low`.

    The book bounds what is taken or cancelled. Of the lots that come to rest, the last bin of a
    tokenizer whose orders were all smaller would otherwise reach to MAX_LOTS.
    """
    most = low
    for law in range(_ADD_LOTS, _CANCEL_LOTS + 1):
        first = tables.law_start[tables.law_first[law]]
        end = tables.law_start[tables.law_first[law + 1]]
        if end > first:
            most = max(most, tables.law_value[end - 1])
    return most


@cold
def _write(message, kind, side, tif, price_tick, lots, order_id):
    message[0] = kind | (side << 8) | (tif << 16)
    message[1] = price_tick << 32  # owner 0: the background flow
    message[2] = lots
    message[3] = order_id


@cold
def realise(
    a32,
    a64,
    o,
    past_i,
    tables,
    lowest_tick,
    type_code,
    level,
    lots_code,
    key,
    world,
    index,
    order_id,
    message,
):
    """Write the words of a MESSAGE_DTYPE row that executes as this action; whether there is one.

    Without one, `message` stays as it is. A new order gets `order_id`; `key`, `world` and `index`
    are uint64 and name the draws. O(1) for an ADD, O(levels taken) for a TRADE, O(orders between
    the drawn distance and the nearest candidate) for a CANCEL.
    """
    if a64[U(o + PHASE)] == AUCTION:
        return False
    kind = type_code >> 1
    side = type_code & 1
    n_add = tables.add_lower.size
    low = max(tables.lots_lower[lots_code], 1)
    high = min(tables.lots_upper[lots_code], MAX_LOTS)
    if kind == ADD:
        least, most = add_distances(a64, o, past_i, lowest_tick, side)
        least = max(least, tables.add_lower[level])
        most = min(most, tables.add_upper[level])
        if least > most or low > high:
            return False
        distance = _draw(
            tables, _ADD_DISTANCE, level, DISTANCE_DRAW, least, most, key, world, index
        )
        high = min(high, most_learnt(tables, low))
        lots = _draw(tables, _ADD_LOTS, lots_code, LOTS_DRAW, low, high, key, world, index)
        reference = reference_ticks(a64, o, past_i, side)
        tick = reference - distance if side == 0 else reference + distance
        _write(message, _LIMIT, side, 0, tick, lots, order_id)
        return True
    if kind == TRADE:
        least, most = swept_lots(a32, a64, o, side, level - n_add, high)
        low = max(low, least)
        high = min(high, most)
        if low > high:
            return False
        lots = _draw(tables, _TRADE_LOTS, lots_code, LOTS_DRAW, low, high, key, world, index)
        _, worst, _ = walk(a32, a64, o, 1 - side, MAX_TICK, lots)
        tick = -worst if side == 0 else worst
        _write(message, _LIMIT, side, _IOC, tick, lots, order_id)
        return True
    rest = level - n_add - N_SWEPT
    code = rest // N_SHAPES
    place = (rest % N_SHAPES) >> 1
    whole = rest & 1
    best = a64[U(o + BEST + side)]
    if best <= EMPTY_KEY + side:
        return False
    r = (o + a64[U(o + ORDERS)]) * 2
    least = max(tables.cancel_lower[code], 0)
    most = min(tables.cancel_upper[code], best + MAX_TICK)
    if least > most:
        return False
    distance = _draw(tables, _CANCEL_DISTANCE, code, DISTANCE_DRAW, least, most, key, world, index)
    level_word = nearest_candidates(
        a32, a64, o, r, side, least, most, place, whole, low, high, distance
    )
    if level_word == 0:
        return False
    count = count_candidates(a32, r, level_word, place, whole, low, high, _ANY)
    grid = np.int64(grid_at(key, world, index, U(ORDER_DRAW)))
    slot = pick_candidate(a32, r, level_word, place, whole, low, high, (grid * count) >> 32)
    order = r + slot * ORDER_WORDS
    named = a64[U((order + ID) >> 1)]
    if whole != 0:
        _write(message, _CANCEL, side, 0, 0, 0, named)
        return True
    high = min(high, open_lots(a32, r, slot) - 1)
    lots = _draw(tables, _CANCEL_LOTS, lots_code, LOTS_DRAW, low, high, key, world, index)
    _write(message, _REDUCE, side, 0, 0, lots, named)
    return True


@cold
def draw_gap(tables, gap_code, key, world, index):
    """The nanoseconds between the action before and the action at `index`, from the gap's bin."""
    lower, upper = tables.gap_lower[gap_code], tables.gap_upper[gap_code]
    return _draw(tables, _GAP, gap_code, GAP_DRAW, lower, upper, key, world, index)


def _entry_points(sources: int):
    @njit(nogil=True, cache=True, error_model="numpy")
    def realise_all(
        a32,
        a64,
        bases,
        past_i,
        tables,
        lowest_tick,
        codes,
        key,
        worlds,
        indices,
        order_ids,
        messages,
        found,
    ):
        """`realise` for the books at `bases`: `codes` are [n, 3] of type, level and lots.

        `messages` are the words of n MESSAGE_DTYPE rows, written where `found` becomes True.
        """
        _ = sources
        for n in range(bases.size):
            found[n] = realise(
                a32,
                a64,
                bases[n],
                past_i[n],
                tables,
                lowest_tick,
                codes[n, 0],
                codes[n, 1],
                codes[n, 2],
                key,
                worlds[n],
                indices[n],
                order_ids[n],
                messages[n * 4 : n * 4 + 4],
            )

    @njit(nogil=True, cache=True, error_model="numpy")
    def draw_gaps(tables, gap_codes, key, worlds, indices, out):
        """`draw_gap` for n worlds."""
        _ = sources
        for n in range(gap_codes.size):
            out[n] = draw_gap(tables, gap_codes[n], key, worlds[n], indices[n])

    return realise_all, draw_gaps


realise_all, draw_gaps = _entry_points(SOURCES)

"""Compiled questions about many books at once. Knows the ladder, changes nothing."""

import numpy as np

from mtsim.engine.ladder import (
    U,
    cold,
    find_id,
    level_of,
    next_level,
)
from mtsim.engine.layout import (
    BEST,
    EMPTY_KEY,
    HANDLES,
    HIDDEN_LOTS,
    ID,
    LOTS,
    NEXT,
    ORDER_WORDS,
    OWNER,
    PREVIOUS,
    SECOND_AND_SIDE,
    SLICE_LOTS,
    USED,
)


@cold
def depth_of(a64, o, ticks, lots):
    """Fill [2, levels] arrays with a book's best levels; past the last, an empty touch and 0."""
    levels = ticks.shape[1]
    for side in range(2):
        key = a64[U(o + BEST + side)]
        for n in range(levels):
            ticks[side, n] = key if side == 0 else -key
            lots[side, n] = 0
            if key > EMPTY_KEY + side:
                lots[side, n] = a64[U(level_of(a64, o, side, key) + 1)]
                key = next_level(a64, o, side, key)


@cold
def slot_of(a64, o, r, order_id):
    """The slot of a resting order, 0 if none has this id."""
    if order_id < 1:
        return 0
    if a64[U(o + HANDLES)] == 0:
        return find_id(a64, o, r, order_id)[1]
    slot = order_id & 0xFFFFFFFF
    if slot < a64[U(o + USED)] and a64[U((r + slot * ORDER_WORDS + ID) >> 1)] == order_id:
        return slot
    return 0


@cold
def lots_ahead(a32, a64, o, r, order_id):
    """Displayed lots ahead of an order in its level, -1 if it does not rest."""
    slot = slot_of(a64, o, r, order_id)
    if slot == 0:
        return -1
    lots = 0
    slot = np.int64(a32[U(r + slot * ORDER_WORDS + PREVIOUS)])
    while slot != 0:
        order = r + slot * ORDER_WORDS
        lots += np.int64(a32[U(order + LOTS)])
        slot = np.int64(a32[U(order + PREVIOUS)])
    return lots


@cold
def list_orders(a32, a64, o, r, side, key, rows, n_rows):
    """Write the orders of one level as RESTING_DTYPE rows; returns the rows in use after them.

    Counts on where there is no room: the caller compares, and asks again with more.
    """
    level = level_of(a64, o, side, key)
    if level == 0:
        return n_rows
    slot = np.int64(a32[U(level * 2)])
    tick = key if side == 0 else -key
    while slot != 0:
        order = r + slot * ORDER_WORDS
        word = n_rows * 4
        n_rows += 1
        if word + 4 <= rows.size:
            record = r + (np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1) * ORDER_WORDS
            hidden = 0
            slice_lots = 0
            if record != r:
                hidden = np.int64(a32[U(record + HIDDEN_LOTS)])
                slice_lots = np.int64(a32[U(record + SLICE_LOTS)])
            rows[U(word)] = a64[U((r + slot * ORDER_WORDS + ID) >> 1)]
            rows[U(word + 1)] = (tick & 0xFFFFFFFF) | (np.int64(a32[U(order + LOTS)]) << 32)
            rows[U(word + 2)] = hidden | (slice_lots << 32)
            rows[U(word + 3)] = np.int64(a32[U(order + OWNER)]) | (side << 32)
        slot = np.int64(a32[U(order + NEXT)])
    return n_rows


@cold
def list_side(a32, a64, o, r, side, rows, n_rows):
    """`list_orders` for every level of a side, best first."""
    key = a64[U(o + BEST + side)]
    while key > EMPTY_KEY + side:
        n_rows = list_orders(a32, a64, o, r, side, key, rows, n_rows)
        key = next_level(a64, o, side, key)
    return n_rows

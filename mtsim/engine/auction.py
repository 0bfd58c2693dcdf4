"""The compiled uncross: one price for all, then trades in priority.

The rules are those of `docs/engine-rules.md#call-auction`.
"""

import numpy as np

from mtsim.engine.ladder import (
    U,
    cold,
    dismiss,
    entry_of,
    leave_level,
    level_of,
    next_level,
    show_next_slice,
)
from mtsim.engine.layout import (
    BEST,
    FILL_WORDS,
    HANDLES,
    HIDDEN,
    HIDDEN_LOTS,
    ID,
    KEY,
    LOTS,
    MESSAGE_WORDS,
    MESSAGES,
    NEXT,
    ORDER_WORDS,
    ORDERS,
    OWNER,
    PHASE,
    PLACES,
    RESULT_WORDS,
    SECOND_AND_SIDE,
)
from mtsim.engine.matching import (
    ACCEPTED,
    TRADE,
    UNCROSS,
    close_message,
)
from mtsim.engine.messages import Phase

CONTINUOUS = Phase.CONTINUOUS.value


@cold
def open_lots_of_level(a32, a64, o, r, side, key):
    """All open lots of a level, hidden ones included. O(1) where the side hides none."""
    level = level_of(a64, o, side, key)
    lots = a64[U(level + 1)]
    if a64[U(o + HIDDEN + side)] != 0:
        slot = np.int64(a32[U(level * 2)])
        while slot != 0:
            order = r + slot * ORDER_WORDS
            second = np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1
            if second != 0:
                lots += np.int64(a32[U(r + second * ORDER_WORDS + HIDDEN_LOTS)])
            slot = np.int64(a32[U(order + NEXT)])
    return lots


@cold
def marginal_level(a32, a64, o, r, side, volume):
    """The key at which a side's lots, best first, reach `volume`, and the lots up to there."""
    key = a64[U(o + BEST + side)]
    reached = open_lots_of_level(a32, a64, o, r, side, key)
    while reached < volume:
        key = next_level(a64, o, side, key)
        reached += open_lots_of_level(a32, a64, o, r, side, key)
    return key, reached


@cold
def crossing_lots(a32, a64, o, r):
    """The largest volume that can trade at one price: best met by best while they cross."""
    bid = a64[U(o + BEST)]
    ask = a64[U(o + BEST + 1)]
    bid_lots = 0
    ask_lots = 0
    volume = 0
    while bid + ask >= 0:
        if bid_lots == 0:
            bid_lots = open_lots_of_level(a32, a64, o, r, 0, bid)
        if ask_lots == 0:
            ask_lots = open_lots_of_level(a32, a64, o, r, 1, ask)
        lots = min(bid_lots, ask_lots)
        volume += lots
        bid_lots -= lots
        ask_lots -= lots
        if bid_lots == 0:
            bid = next_level(a64, o, 0, bid)
        if ask_lots == 0:
            ask = next_level(a64, o, 1, ask)
    return volume


@cold
def uncross_price(a32, a64, o, r, volume, reference_tick):
    """The price at which `volume` > 0, the largest possible, trades.

    D(p) >= volume up to the marginal bid and S(p) >= volume from the marginal ask on, so that the
    ticks between them are those of rule 1. There the smaller of D and S is `volume`, and D - S
    never rises with the price.
    """
    bid, demand = marginal_level(a32, a64, o, r, 0, volume)
    ask, supply = marginal_level(a32, a64, o, r, 1, volume)
    high = bid
    low = -ask
    if demand > volume:
        # D > S on all of them, and nearest to it at the highest.
        return high
    if supply > volume:
        return low
    # D is `volume` above the next bid level, S is below the next ask level: between the two they
    # are equal.
    next_bid = next_level(a64, o, 0, bid)
    next_ask = -next_level(a64, o, 1, ask)
    if next_bid + 1 != next_ask:
        return min(max(reference_tick, low, next_bid + 1), high, next_ask - 1)
    # No tick lies between: D exceeds S by one level's lots below, S exceeds D by another's above.
    excess_demand = open_lots_of_level(a32, a64, o, r, 0, next_bid)
    excess_supply = open_lots_of_level(a32, a64, o, r, 1, -next_ask)
    if excess_demand < excess_supply:
        return next_bid
    if excess_demand > excess_supply:
        return next_ask
    low = max(low, next_level(a64, o, 0, next_bid) + 1)
    high = min(high, -next_level(a64, o, 1, -next_ask) - 1)
    return min(max(reference_tick, low), high)


@cold
def take_out(a32, a64, o, r, side, slot, lots):
    """Take displayed lots off the first order of a level; returns the open lots it has left."""
    order = r + slot * ORDER_WORDS
    shown = np.int64(a32[U(order + LOTS)])
    second = np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1
    hidden = 0
    if second != 0:
        hidden = np.int64(a32[U(r + second * ORDER_WORDS + HIDDEN_LOTS)])
    if lots < shown:
        a32[U(order + LOTS)] = shown - lots
        a64[U(level_of(a64, o, side, np.int64(a32[U(order + KEY)])) + 1)] -= lots
    elif hidden > 0:
        show_next_slice(a32, a64, o, r, side, slot)
    else:
        leave_level(a32, a64, o, r, side, slot)
        word = 0
        if a64[U(o + HANDLES)] == 0:
            word = entry_of(a64, o, a64[U((order + ID) >> 1)], slot)
        dismiss(a32, a64, o, r, side, slot, word)
    return shown + hidden - lots


@cold
def uncross(a32, a64, o, messages, row, results, fills, n_fills):
    """Execute an UNCROSS that has been checked. Returns the rows of `fills` in use after it.

    The caller has seen to it that `fills` has a row for every slice of the book.
    """
    r = (o + a64[U(o + ORDERS)]) * 2
    price = messages[U(row * MESSAGE_WORDS + 1)] >> 32
    volume = crossing_lots(a32, a64, o, r)
    if volume > 0:
        price = uncross_price(a32, a64, o, r, volume, price)
    n_fills_before = n_fills
    places = o + a64[U(o + PLACES)]
    left = volume
    while left > 0:
        bid = np.int64(a32[U(level_of(a64, o, 0, a64[U(o + BEST)]) * 2)])
        ask = np.int64(a32[U(level_of(a64, o, 1, a64[U(o + BEST + 1)]) * 2)])
        maker, taker, taker_side = bid, ask, 1
        if a64[U(places + ask)] < a64[U(places + bid)]:
            maker, taker, taker_side = ask, bid, 0
        maker_order = r + maker * ORDER_WORDS
        taker_order = r + taker * ORDER_WORDS
        lots = min(left, np.int64(a32[U(maker_order + LOTS)]), np.int64(a32[U(taker_order + LOTS)]))
        owners = np.int64(a32[U(maker_order + OWNER)]) | (
            np.int64(a32[U(taker_order + OWNER)]) << 32
        )
        word = n_fills * FILL_WORDS
        fills[U(word)] = a64[U(o + MESSAGES)]
        fills[U(word + 1)] = a64[U((maker_order + ID) >> 1)]
        fills[U(word + 2)] = a64[U((taker_order + ID) >> 1)]
        fills[U(word + 3)] = (price & 0xFFFFFFFF) | (lots << 32)
        fills[U(word + 4)] = owners
        # Where both show a next slice, the older order takes its new place first.
        maker_open = take_out(a32, a64, o, r, 1 - taker_side, maker, lots)
        take_out(a32, a64, o, r, taker_side, taker, lots)
        fills[U(word + 5)] = maker_open | (((taker_side << 8) | TRADE) << 32)
        n_fills += 1
        left -= lots
    a64[U(o + PHASE)] = CONTINUOUS
    results[U(row * RESULT_WORDS)] = 0
    results[U(row * RESULT_WORDS + 1)] = volume
    results[U(row * RESULT_WORDS + 2)] = n_fills - n_fills_before
    results[U(row * RESULT_WORDS + 3)] = 0
    close_message(a64, o, results, row, price, ACCEPTED, 0, UNCROSS)
    return n_fills

"""What an action may choose from on one book: prices to rest at, lots to take, orders to cancel.

Compiled, for `masks` and `realise`, which so agree about what there is. An order is a candidate
only if it is of the background flow (owner 0): an agent's orders are the agent's to cancel; they
count in the places of the others. Knows the ladder and no bins.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

import numpy as np

from mtsim.engine.ladder import U, cold, hot, leading_zeros, level_of, next_level
from mtsim.engine.layout import (
    BEST,
    BITMAP,
    EMPTY_KEY,
    FLOOR,
    HIDDEN,
    LADDER,
    MASK,
    NEXT,
    ORDER_WORDS,
    OWNER,
)
from mtsim.engine.units import MAX_LOTS, MAX_TICK
from mtsim.model.actions import MOST_SWEPT, Place
from mtsim.model.book_codes import N_SHAPES
from mtsim.model.describe import hidden_at, open_lots
from mtsim.model.past import NO_REFERENCE, reference_ticks

# As plain integers, for Numba.
ONLY, FIRST, MIDDLE, LAST = (place.value for place in Place)

ALL_SHAPES = (1 << N_SHAPES) - 1
ONLY_SHAPES, FIRST_SHAPES, MIDDLE_SHAPES, LAST_SHAPES = (3 << (2 * place) for place in Place)
"""Sets of shapes are bits: `1 << (place * 2 + whole)`."""

# --- prices to rest at ----------------------------------------------------------------------------


@cold
def add_distances(a64, o, past_i, lowest_tick, side):
    """(least, most) distance at which a limit order of `side` would rest; least > most for none.

    At least `lowest_tick`, at most MAX_TICK, and short of the opposite touch. Where no side was
    ever known there is nothing to count from: none.
    """
    tick = reference_ticks(a64, o, past_i, side)
    if tick == NO_REFERENCE:
        return 1, 0
    # As keys: a bid's tick, an ask's tick times -1.
    reference = tick if side == 0 else -tick
    highest = MAX_TICK if side == 0 else -lowest_tick
    lowest = lowest_tick if side == 0 else -MAX_TICK
    opposite = a64[U(o + BEST + 1 - side)]
    if opposite > EMPTY_KEY + 1 - side:
        highest = min(highest, -opposite - 1)
    return reference - highest, reference - lowest


# --- lots to take ---------------------------------------------------------------------------------


@cold
def swept_lots(a32, a64, o, side, swept, enough):
    """(least, most) lots that an order of `side` takes when it takes `swept` levels whole.

    A level counts as taken whole when as many lots are taken there as it shows; what it hides comes
    on top. Least > most where that cannot be. MOST_SWEPT means that or more: most is then all that
    the other side has, counted only until it reaches `enough`.
    """
    opposite = 1 - side
    hides = a64[U(o + HIDDEN + opposite)] != 0
    key = a64[U(o + BEST + opposite)]
    least = 1
    held = 0
    for _ in range(swept):
        if key <= EMPTY_KEY + opposite:
            return 1, 0
        least = held + a64[U(level_of(a64, o, opposite, key) + 1)]
        held = least
        if hides:
            held += hidden_at(a32, a64, o, opposite, key)
        key = next_level(a64, o, opposite, key)
    if swept < MOST_SWEPT and key > EMPTY_KEY + opposite:
        held += a64[U(level_of(a64, o, opposite, key) + 1)] - 1
    while swept == MOST_SWEPT and key > EMPTY_KEY + opposite and held < enough:
        held += a64[U(level_of(a64, o, opposite, key) + 1)]
        if hides:
            held += hidden_at(a32, a64, o, opposite, key)
        key = next_level(a64, o, opposite, key)
    return least, min(held, MAX_LOTS)


# --- orders to cancel -----------------------------------------------------------------------------


@hot
def is_background(a32, order):
    """Whether the order at this word of `a32` is of the background flow."""
    return a32[U(order + OWNER)] == 0


@hot
def level_below(a64, o, side, key):
    """`next_level`, inline where both lie in one word of the bitmap: for walks, mostly."""
    mask = a64[U(o + MASK)]
    floor = a64[U(o + FLOOR + side)]
    if U(key - 1 - floor) <= U(mask):
        place = (key - 1) & mask
        word = o + a64[U(o + BITMAP)] + side * ((mask + 1) >> 6) + (place >> 6)
        bits = a64[U(word)] << (63 - (place & 63))
        if bits != 0:
            below = key - 1 - leading_zeros(bits)
            if below >= floor:
                return below
    return next_level(a64, o, side, key)


@hot
def level_at(a64, o, side, key):
    """`level_of`, inline inside the window."""
    mask = a64[U(o + MASK)]
    if U(key - a64[U(o + FLOOR + side)]) <= U(mask):
        return o + a64[U(o + LADDER)] + (side * (mask + 1) + (key & mask)) * 2
    return level_of(a64, o, side, key)


@cold
def level_from(a64, o, side, distance):
    """The best key of a side that is `distance` or more from its best, EMPTY_KEY + side if none."""
    best = a64[U(o + BEST + side)]
    if distance <= 0 or best <= EMPTY_KEY + side:
        return best
    return next_level(a64, o, side, best - distance + 1)


@cold
def has_background(a32, a64, o, r, side):
    """Whether any order of a side may be cancelled. O(orders of agents before the first)."""
    key = a64[U(o + BEST + side)]
    while key > EMPTY_KEY + side:
        slot = np.int64(a32[U(level_of(a64, o, side, key) * 2)])
        while slot != 0:
            order = r + slot * ORDER_WORDS
            if is_background(a32, order):
                return True
            slot = np.int64(a32[U(order + NEXT)])
        key = next_level(a64, o, side, key)
    return False


@hot
def order_shapes(a32, r, slot, place):
    """The shapes that a cancel of this order may have, as bits."""
    if not is_background(a32, r + slot * ORDER_WORDS):
        return 0
    return (3 if open_lots(a32, r, slot) > 1 else 2) << (2 * place)


@hot
def level_shapes(a32, r, level, missing):
    """Those of the `missing` shapes that cancels in this level may have, as bits."""
    head = np.int64(a32[U(level * 2)])
    tail = np.int64(a32[U(level * 2 + 1)])
    found = 0
    if head == tail:
        if missing & ONLY_SHAPES != 0:
            found = order_shapes(a32, r, head, ONLY)
        return found & missing
    if missing & FIRST_SHAPES != 0:
        found |= order_shapes(a32, r, head, FIRST)
    if missing & LAST_SHAPES != 0:
        found |= order_shapes(a32, r, tail, LAST)
    wanted = missing & MIDDLE_SHAPES
    if wanted != 0:
        slot = np.int64(a32[U(r + head * ORDER_WORDS + NEXT)])
        while slot != tail and found & wanted != wanted:
            found |= order_shapes(a32, r, slot, MIDDLE)
            slot = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])
    return found & missing


@cold
def shapes_between(a32, a64, o, r, side, nearest, furthest):
    """The shapes of cancels between two distances, as bits. Stops when it has found all."""
    missing = ALL_SHAPES
    best = a64[U(o + BEST + side)]
    key = level_from(a64, o, side, nearest)
    while key > EMPTY_KEY + side and best - key <= furthest and missing != 0:
        missing ^= level_shapes(a32, r, level_at(a64, o, side, key), missing)
        key = level_below(a64, o, side, key)
    return ALL_SHAPES ^ missing


@hot
def queue_at(a32, r, level, place):
    """(slot, end): the orders of one place in a level, from `slot` by NEXT until `end`."""
    head = np.int64(a32[U(level * 2)])
    tail = np.int64(a32[U(level * 2 + 1)])
    if (place == ONLY) != (head == tail):
        return np.int64(0), np.int64(0)
    if place == MIDDLE:
        return np.int64(a32[U(r + head * ORDER_WORDS + NEXT)]), tail
    if place == LAST:
        return tail, np.int64(0)
    return head, np.int64(a32[U(r + head * ORDER_WORDS + NEXT)])


@hot
def fits(a32, r, slot, whole, low, high):
    """Whether a cancel of this order may be of `low` to `high` lots, whole or partial."""
    lots = open_lots(a32, r, slot)
    return (
        is_background(a32, r + slot * ORDER_WORDS)
        and lots >= low + 1 - whole
        and (whole == 0 or lots <= high)
    )


@cold
def count_candidates(a32, r, level, place, whole, low, high, enough):
    """How many orders of this place a cancel of `low` to `high` lots may name, up to `enough`."""
    slot, end = queue_at(a32, r, level, place)
    count = 0
    while slot != end and count < enough:
        count += fits(a32, r, slot, whole, low, high)
        slot = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])
    return count


@cold
def pick_candidate(a32, r, level, place, whole, low, high, rank):
    """The slot of the candidate with `rank` others before it in the queue; there is one."""
    slot, _ = queue_at(a32, r, level, place)
    while True:
        if fits(a32, r, slot, whole, low, high):
            if rank == 0:
                return slot
            rank -= 1
        slot = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])


@cold
def nearest_candidates(a32, a64, o, r, side, nearest, furthest, place, whole, low, high, distance):
    """The level with candidates that is nearest to `distance`, 0 if none between the two bounds.

    Of two equally near, the one further from the touch. `distance` lies between the bounds.
    """
    best = a64[U(o + BEST + side)]
    found = 0
    # Levels nearer to the touch need only be looked at where they are nearer to `distance`, too.
    first = nearest
    key = level_from(a64, o, side, distance)
    while key > EMPTY_KEY + side and best - key <= furthest:
        level = level_at(a64, o, side, key)
        if count_candidates(a32, r, level, place, whole, low, high, 1) > 0:
            found = level
            first = max(nearest, 2 * distance - (best - key) + 1)
            break
        key = level_below(a64, o, side, key)
    key = level_from(a64, o, side, first)
    while key > EMPTY_KEY + side and best - key < distance:
        level = level_at(a64, o, side, key)
        if count_candidates(a32, r, level, place, whole, low, high, 1) > 0:
            found = level
        key = level_below(a64, o, side, key)
    return found

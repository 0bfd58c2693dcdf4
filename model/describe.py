"""The action that a message is, told from the book before it.

A message of a live world, of a recorded session and of a sampled token is told by the same code. It
goes through three steps around its execution:

    take_apart   a message that is two actions becomes the first, and what is left of it
    describe     the action, or why there is none; it knows what the book will answer
    rest_of      after execution: what is left, as the next message

so that each action has a book of its own before it. Taken apart are a limit order that trades and
rests (an IOC, then its remainder) and a replacement that loses its place (a CANCEL, then a LIMIT).
The book comes out the same, the parts under the id of the whole. For books that take the ids of
their messages, matching continuously.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

from enum import IntEnum

import numpy as np

from mtsim.engine.ladder import U, cold, level_of, next_level
from mtsim.engine.layout import (
    BEST,
    FILL_WORDS,
    HANDLES,
    HIDDEN,
    HIDDEN_LOTS,
    KEY,
    LOTS,
    NEXT,
    ORDER_WORDS,
    ORDERS,
    OWNER,
    PHASE,
    PREVIOUS,
    SECOND_AND_SIDE,
    SLICE_LOTS,
)
from mtsim.engine.matching import is_fillable, refusal
from mtsim.engine.messages import MAX_TRANCHES, FillKind, Flag, Kind, Phase, SelfTrade, TimeInForce
from mtsim.engine.queries import slot_of
from mtsim.engine.units import MAX_TICK
from mtsim.model.actions import MOST_SWEPT, ActionKind, Place
from mtsim.model.past import BOOKLESS, NO_REFERENCE, reference_ticks

# A replacement may cancel, trade and add.
MOST_PARTS = 3


class Told(IntEnum):
    """What became of a row of activity: an action, or nothing to learn from, and why."""

    ACTION = 0
    OPENING = 1  # It puts a book in place.
    INFERRED = 2  # The feed did not show it.
    AUCTION = 3  # It came while orders were collected, or began or ended that.
    MARKER = 4
    REFUSED = 5
    NO_EFFECT = 6  # An order that met nobody and might not rest; a replacement by the same.
    NO_REFERENCE = 7  # An order for a book that never held one: there is nothing to tell it from.


ACTION, REFUSED, NO_EFFECT = Told.ACTION.value, Told.REFUSED.value, Told.NO_EFFECT.value
IN_AUCTION, UNPLACED = Told.AUCTION.value, Told.NO_REFERENCE.value

_LIMIT, _MARKET, _CANCEL, _REDUCE, _REPLACE = (kind.value for kind in list(Kind)[:5])
_GTC, _IOC, _FOK = (tif.value for tif in TimeInForce)
_POST_ONLY, _LOSE_PLACE = Flag.POST_ONLY.value, Flag.LOSE_PLACE.value
_NEWEST, _BOTH = SelfTrade.CANCEL_NEWEST.value, SelfTrade.CANCEL_BOTH.value
_COLLECTS = Phase.AUCTION.value
_ADD, _TRADE, _LEAVE = (kind.value for kind in ActionKind)
_ONLY, _FIRST, _MIDDLE, _LAST = (place.value for place in Place)
_TRADED, _MAKER_CANCELLED, _DECREMENTED = (kind.value for kind in FillKind)


@cold
def crosses(a64, o, side, key):
    """Whether an order of this key meets the other side. (The key of an empty side is too low.)"""
    return key + a64[U(o + BEST + 1 - side)] >= 0


@cold
def key_of(message, side):
    """The key that an order's limit is: one that crosses every key, for a MARKET."""
    if message[0] & 255 == _MARKET:
        return MAX_TICK
    tick = message[1] >> 32
    return tick if side == 0 else -tick


@cold
def is_refused(a32, a64, o, message):
    """Whether the book will refuse a message, whatever the reason."""
    what = message[0]
    kind = what & 255
    owner = np.int64(np.int32(message[1]))
    lots = np.int64(np.int32(message[2]))
    tick = message[1] >> 32
    display = message[2] >> 32
    order_id = message[3]
    phase = a64[U(o + PHASE)]
    r = (o + a64[U(o + ORDERS)]) * 2
    if kind == _CANCEL:
        if owner < 0:
            return True
    elif refusal(what, owner, tick, lots, display, order_id, phase, a64[U(o + HANDLES)]) != 0:
        return True
    if kind > _REPLACE:
        return False
    slot = slot_of(a64, o, r, order_id)
    flags = what >> 32
    if kind <= _MARKET:
        if slot != 0 and a64[U(o + HANDLES)] == 0:
            return True
        side = (what >> 8) & 255
        tif = (what >> 16) & 255
        key = key_of(message, side)
        meets = phase != _COLLECTS and crosses(a64, o, side, key)
        if tif != _FOK:
            return meets and flags & _POST_ONLY != 0
        stp = (what >> 24) & 255
        return not meets or not is_fillable(a32, a64, o, r, 1 - side, key, lots, stp, owner)
    order = r + slot * ORDER_WORDS
    if slot == 0 or np.int64(a32[U(order + OWNER)]) != owner:
        return True
    if kind != _REPLACE:
        return False
    side = np.int64(a32[U(order + SECOND_AND_SIDE)]) & 1
    slice_lots = slice_of(a32, r, slot)
    if slice_lots > 0 and lots > slice_lots * MAX_TRANCHES:
        return True
    if flags & _POST_ONLY == 0 or keeps_place(a32, a64, o, message, slot):
        return False
    return phase != _COLLECTS and crosses(a64, o, side, key_of(message, side))


@cold
def slice_of(a32, r, slot):
    """The size of an iceberg's slices, 0 for any other order."""
    second = np.int64(a32[U(r + slot * ORDER_WORDS + SECOND_AND_SIDE)]) >> 1
    return np.int64(a32[U(r + second * ORDER_WORDS + SLICE_LOTS)]) if second != 0 else 0


@cold
def open_lots(a32, r, slot):
    """What an order still has, hidden lots included."""
    order = r + slot * ORDER_WORDS
    second = np.int64(a32[U(order + SECOND_AND_SIDE)]) >> 1
    lots = np.int64(a32[U(order + LOTS)])
    if second != 0:
        lots += np.int64(a32[U(r + second * ORDER_WORDS + HIDDEN_LOTS)])
    return lots


@cold
def keeps_place(a32, a64, o, message, slot):
    """Whether a REPLACE only shrinks the order in `slot`: the engine's rule."""
    r = (o + a64[U(o + ORDERS)]) * 2
    order = r + slot * ORDER_WORDS
    side = np.int64(a32[U(order + SECOND_AND_SIDE)]) & 1
    lots = np.int64(np.int32(message[2]))
    may_stay = (message[0] >> 32) & _LOSE_PLACE == 0
    same_price = key_of(message, side) == np.int64(a32[U(order + KEY)])
    return may_stay and same_price and lots <= open_lots(a32, r, slot)


@cold
def take_apart(a32, a64, o, message, rest, is_rest):
    """Reduce `message` to its first action, and write what is left of it to `rest`, if anything is.

    Whether there may be a rest; `rest_of` knows its lots once the first part is executed. `is_rest`
    says that the message is such a rest itself, whose slice may be larger than it is.
    """
    what = message[0]
    kind = what & 255
    if (kind != _LIMIT and kind != _REPLACE) or a64[U(o + PHASE)] == _COLLECTS:
        return False
    if kind == _LIMIT:
        side = (what >> 8) & 255
        rests = (what >> 16) & 255 == _GTC
        if not rests or side > 1 or not crosses(a64, o, side, key_of(message, side)):
            return False
        display = message[2] >> 32
        if not is_rest:
            if is_refused(a32, a64, o, message):
                return False
            if display == np.int64(np.int32(message[2])):
                display = 0
        rest[0] = what
        rest[1] = message[1]
        rest[2] = display << 32
        rest[3] = message[3]
        message[0] = what | (_IOC << 16)
        message[2] &= 0xFFFFFFFF
        return True
    if is_refused(a32, a64, o, message):
        return False
    r = (o + a64[U(o + ORDERS)]) * 2
    slot = slot_of(a64, o, r, message[3])
    if keeps_place(a32, a64, o, message, slot):
        return False
    side = np.int64(a32[U(r + slot * ORDER_WORDS + SECOND_AND_SIDE)]) & 1
    stp = (what >> 24) & 255
    rest[0] = _LIMIT | (side << 8) | (_GTC << 16) | (stp << 24)
    rest[1] = message[1]
    rest[2] = (message[2] & 0xFFFFFFFF) | (slice_of(a32, r, slot) << 32)
    rest[3] = message[3]
    message[0] = _CANCEL
    message[1] &= 0xFFFFFFFF
    message[2] = 0
    return True


@cold
def rest_of(a64, o, message, result, fills, n_fills, rest):
    """Make `rest` the message that follows an executed first part; False where nothing is left."""
    if message[0] & 255 == _CANCEL:
        return True
    side = (message[0] >> 8) & 255
    stp = (message[0] >> 24) & 255
    left = np.int64(np.int32(message[2])) - result[1]
    if stp == _NEWEST and crosses(a64, o, side, key_of(message, side)):
        return False
    for n in range(n_fills):
        word = fills[U(n * FILL_WORDS + 5)] >> 32
        if word & 255 == _DECREMENTED:
            left -= fills[U(n * FILL_WORDS + 3)] >> 32
        elif word & 255 == _MAKER_CANCELLED and stp == _BOTH:
            return False
    rest[2] = (rest[2] & ~np.int64(0xFFFFFFFF)) | left
    return left > 0


@cold
def widen_slice(message):
    """Make a `rest` that shows more than it has one that the book takes; the lots to reduce it by.

    Such is an iceberg of which one slice or less is left: when it grows again, it must still show
    slices of its old size. A reduction takes hidden lots first, so that it comes out the same.
    """
    lots = np.int64(np.int32(message[2]))
    display = message[2] >> 32
    if display == 0 or display < lots:
        return 0
    message[2] = (display << 32) | (display + 1)
    return display + 1 - lots


@cold
def describe(a32, a64, o, past_i, settings, message, actions, row):
    """Write the action that a message in one part is to `actions[row]`: ACTION, or why it is none.

    Written are the fields that a book knows: not the time, the gap, the vwap, who acts, whether it
    opens a stretch. What an order takes is what the book will answer; where self-trade prevention
    steps in, `settle` has to correct it. O(levels taken), and with hidden lots O(orders there).
    """
    kind = message[0] & 255
    if is_refused(a32, a64, o, message):
        return REFUSED
    if a64[U(o + PHASE)] == _COLLECTS or kind > _REPLACE:
        return IN_AUCTION
    if kind <= _MARKET:
        return describe_order(a32, a64, o, past_i, settings, message, actions[row])
    return describe_cancel(a32, a64, o, message, actions[row])


@cold
def describe_order(a32, a64, o, past_i, settings, message, action):
    """`describe` for an order that comes in."""
    side = (message[0] >> 8) & 255
    lots = np.int64(np.int32(message[2]))
    key = key_of(message, side)
    sign = 1 if side == 0 else -1
    action.side = side
    action.place = 0
    action.whole = 0
    action.order_lots = lots
    if crosses(a64, o, side, key):
        taken, worst, swept = walk(a32, a64, o, 1 - side, key, lots)
        action.kind = _TRADE
        action.lots = taken
        action.price_tick = -sign * worst
        action.distance_ticks = a64[U(o + BEST + 1 - side)] - worst
        action.swept = min(swept, MOST_SWEPT)
        return ACTION
    action.swept = 0
    action.lots = lots
    if message[0] & 255 == _MARKET or (message[0] >> 16) & 255 != _GTC:
        if settings[BOOKLESS] == 0.0 or message[0] & 255 == _MARKET:
            return NO_EFFECT
        action.kind = _TRADE
        action.price_tick = sign * key
        action.distance_ticks = 0
        return ACTION
    reference = reference_ticks(a64, o, past_i, side)
    if reference == NO_REFERENCE:
        return UNPLACED
    action.kind = _ADD
    action.price_tick = sign * key
    action.distance_ticks = sign * reference - key
    return ACTION


@cold
def describe_cancel(a32, a64, o, message, action):
    """`describe` for a message that takes lots from a resting order, all accepted."""
    kind = message[0] & 255
    r = (o + a64[U(o + ORDERS)]) * 2
    slot = slot_of(a64, o, r, message[3])
    order = r + slot * ORDER_WORDS
    side = np.int64(a32[U(order + SECOND_AND_SIDE)]) & 1
    key = np.int64(a32[U(order + KEY)])
    before = open_lots(a32, r, slot)
    lots = before
    if kind == _REDUCE:
        lots = min(before, np.int64(np.int32(message[2])))
    elif kind == _REPLACE:
        lots = before - np.int64(np.int32(message[2]))
    if lots == 0:
        return NO_EFFECT
    is_first = a32[U(order + PREVIOUS)] == 0
    is_last = a32[U(order + NEXT)] == 0
    action.kind = _LEAVE
    action.side = side
    action.lots = lots
    action.order_lots = before
    action.price_tick = key if side == 0 else -key
    action.distance_ticks = a64[U(o + BEST + side)] - key
    action.swept = 0
    action.whole = lots == before
    if is_first:
        action.place = _ONLY if is_last else _FIRST
    else:
        action.place = _LAST if is_last else _MIDDLE
    return ACTION


@cold
def walk(a32, a64, o, resting_side, key, lots):
    """What an order of this key would take: (lots, the key of the worst level, levels whose
    displayed lots are all taken)."""
    taken = 0
    swept = 0
    best = a64[U(o + BEST + resting_side)]
    worst = best
    while taken < lots and key + best >= 0:
        worst = best
        shown = a64[U(level_of(a64, o, resting_side, best) + 1)]
        held = shown
        if a64[U(o + HIDDEN + resting_side)] != 0:
            held += hidden_at(a32, a64, o, resting_side, best)
        if lots - taken >= shown:
            swept += 1
        taken += min(lots - taken, held)
        if taken < lots:
            best = next_level(a64, o, resting_side, best)
    return taken, worst, swept


@cold
def hidden_at(a32, a64, o, side, key):
    """The hidden lots of a level. O(orders there)."""
    r = (o + a64[U(o + ORDERS)]) * 2
    hidden = 0
    slot = np.int64(a32[U(level_of(a64, o, side, key) * 2)])
    while slot != 0:
        hidden += open_lots(a32, r, slot) - np.int64(a32[U(r + slot * ORDER_WORDS + LOTS)])
        slot = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])
    return hidden


@cold
def settle(settings, result, fills, n_fills, actions, row):
    """Let the book's answer count for what a TRADE took: ACTION, or NO_EFFECT if that is nothing.

    It differs from what was described where self-trade prevention kept lots from trading; `swept`
    is then still what would have been swept without.
    """
    action = actions[row]
    if action.kind != _TRADE or settings[BOOKLESS] != 0.0 or result[1] == action.lots:
        return ACTION
    if result[1] == 0:
        return NO_EFFECT
    for n in range(n_fills - 1, -1, -1):
        if (fills[U(n * FILL_WORDS + 5)] >> 32) & 255 == _TRADED:
            sign = 1 if action.side == 0 else -1
            price = np.int64(np.int32(fills[U(n * FILL_WORDS + 3)]))
            action.distance_ticks += sign * (price - action.price_tick)
            action.price_tick = price
            break
    action.lots = result[1]
    return ACTION

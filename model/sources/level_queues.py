"""The orders behind price levels, compiled: rows of a feed by level in, messages out.

State is arrays of whole numbers that the caller owns and makes room in (`levels.Ladder`); the rules
are those of `levels`. A side's levels are sorted by a key that grows with how good their price is.
"""

from enum import IntEnum

import numpy as np
from numba import njit

from mtsim.engine.events import Origin
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS


class What(IntEnum):
    """What a row of a feed by level says."""

    LEVEL = 0
    """The level (`side`, `tick`) shows `lots` from now on; 0: it is gone."""
    CLEAR = 1
    """All levels are gone, but for those that follow: a snapshot begins."""
    SYNC = 2
    """What was said of levels up to here is one state of the book: send what makes it so."""
    OPEN = 3
    """SYNC for a book that is put in place."""
    PRINT = 4
    """An aggressor of `side` traded `lots` at `tick`; its prints run from its best price on."""
    TAKE = 5
    """The prints since the last TAKE are one aggressive order: send it."""
    MARK = 6
    """A snapshot of the feed stands here: say after how many messages."""


# Columns of a level. Its key grows with how good its price is: the tick of a bid, minus the tick of
# an ask. `WANTED` lots are what the feed shows, `RESTING` what the engine holds.
KEY, WANTED, RESTING, HEAD, TAIL, STAMP, DIRTY, SIDE, NEXT_FREE = range(9)
LEVEL_WORDS = 9

# Columns of an order in the queue of its level.
ID, LOTS, PREVIOUS, NEXT = range(4)
ORDER_WORDS = 4

# The scalars of a ladder. The first two count the levels of each side.
(
    N_LEVELS,
    N_ASK_LEVELS,
    FREE_LEVEL,
    FREE_ORDER,
    N_ORDERS,
    N_DIRTY,
    N_PRINTS,
    N_OUT,
    NEXT_ID,
    LAST_STAMP,
    TIME,
    ROW,
    STALE,
    MISSING,
    CROSSED,
) = range(15)
SCALARS = 15

# Columns of a message on its way out.
OUT_TIME, OUT_ROW, OUT_KIND, OUT_SIDE, OUT_TIF, OUT_TICK, OUT_LOTS, OUT_ID, OUT_ORIGIN = range(9)
OUT_WORDS = 9

# Compiled code sees plain integers.
_LEVEL, _CLEAR, _SYNC, _OPEN, _PRINT, _TAKE, _MARK = (int(what) for what in What)
_LIMIT, _CANCEL, _REDUCE = int(Kind.LIMIT), int(Kind.CANCEL), int(Kind.REDUCE)
_GTC, _IOC = int(TimeInForce.GTC), int(TimeInForce.IOC)
_OBSERVED, _OPENING, _INFERRED = int(Origin.OBSERVED), int(Origin.OPENING), int(Origin.INFERRED)


@njit(cache=True)
def _send(s, out, kind, side, tif, tick, lots, order_id, origin):
    n = s[N_OUT]
    out[n, OUT_TIME], out[n, OUT_ROW] = s[TIME], s[ROW]
    out[n, OUT_KIND], out[n, OUT_SIDE], out[n, OUT_TIF] = kind, side, tif
    out[n, OUT_TICK], out[n, OUT_LOTS], out[n, OUT_ID] = tick, lots, order_id
    out[n, OUT_ORIGIN] = origin
    s[N_OUT] = n + 1


@njit(cache=True)
def _place(levels, order, s, side, key):
    """How many levels of this side are worse than this key."""
    low, high = 0, s[N_LEVELS + side]
    while low < high:
        middle = (low + high) >> 1
        if levels[order[side, middle], KEY] < key:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def _level_at(levels, order, s, side, key):
    """The slot of a level, which is made where there is none."""
    n = s[N_LEVELS + side]
    place = _place(levels, order, s, side, key)
    if place < n and levels[order[side, place], KEY] == key:
        return order[side, place]
    slot = s[FREE_LEVEL]
    s[FREE_LEVEL] = levels[slot, NEXT_FREE]
    for k in range(n, place, -1):
        order[side, k] = order[side, k - 1]
    order[side, place] = slot
    s[N_LEVELS + side] = n + 1
    levels[slot, KEY], levels[slot, SIDE] = key, side
    levels[slot, WANTED] = levels[slot, RESTING] = levels[slot, DIRTY] = 0
    levels[slot, HEAD] = levels[slot, TAIL] = -1
    levels[slot, STAMP] = 0
    return slot


@njit(cache=True)
def _forget(levels, order, s, slot):
    side = levels[slot, SIDE]
    place = _place(levels, order, s, side, levels[slot, KEY])
    s[N_LEVELS + side] -= 1
    for k in range(place, s[N_LEVELS + side]):
        order[side, k] = order[side, k + 1]
    levels[slot, NEXT_FREE] = s[FREE_LEVEL]
    s[FREE_LEVEL] = slot


@njit(cache=True)
def _touch(levels, dirty, s, slot):
    """Have the next SYNC look at this level."""
    if levels[slot, DIRTY] == 0:
        levels[slot, DIRTY] = 1
        dirty[s[N_DIRTY]] = slot
        s[N_DIRTY] += 1


@njit(cache=True)
def _tick_of(levels, slot):
    return levels[slot, KEY] if levels[slot, SIDE] == 0 else -levels[slot, KEY]


@njit(cache=True)
def _add(levels, orders, s, out, slot, lots, origin):
    """Put lots at the back of a level, in orders as large as the engine takes."""
    levels[slot, RESTING] += lots
    while lots > 0:
        piece = min(lots, MAX_LOTS)
        lots -= piece
        order = s[FREE_ORDER]
        s[FREE_ORDER] = orders[order, NEXT]
        tail = levels[slot, TAIL]
        orders[order, ID], orders[order, LOTS] = s[NEXT_ID], piece
        orders[order, PREVIOUS], orders[order, NEXT] = tail, -1
        if tail < 0:
            levels[slot, HEAD] = order
        else:
            orders[tail, NEXT] = order
        levels[slot, TAIL] = order
        s[N_ORDERS] += 1
        s[NEXT_ID] += 1
        side = levels[slot, SIDE]
        _send(s, out, _LIMIT, side, _GTC, _tick_of(levels, slot), piece, orders[order, ID], origin)


@njit(cache=True)
def _free(orders, s, order):
    orders[order, NEXT] = s[FREE_ORDER]
    s[FREE_ORDER] = order
    s[N_ORDERS] -= 1


@njit(cache=True)
def _cut(levels, orders, s, out, slot, lots, origin):
    """Take lots from the back of a level: whole orders are cancelled, the last one is reduced."""
    levels[slot, RESTING] -= lots
    side, tick = levels[slot, SIDE], _tick_of(levels, slot)
    while lots > 0:
        order = levels[slot, TAIL]
        if orders[order, LOTS] > lots:
            orders[order, LOTS] -= lots
            _send(s, out, _REDUCE, side, _GTC, tick, lots, orders[order, ID], origin)
            return
        lots -= orders[order, LOTS]
        _send(s, out, _CANCEL, side, _GTC, tick, orders[order, LOTS], orders[order, ID], origin)
        previous = orders[order, PREVIOUS]
        levels[slot, TAIL] = previous
        if previous < 0:
            levels[slot, HEAD] = -1
        else:
            orders[previous, NEXT] = -1
        _free(orders, s, order)


@njit(cache=True)
def _fill(levels, orders, s, slot, lots):
    """Take lots from the front of a level, as the engine will when it executes the order."""
    levels[slot, RESTING] -= lots
    while lots > 0:
        order = levels[slot, HEAD]
        taken = min(lots, orders[order, LOTS])
        orders[order, LOTS] -= taken
        lots -= taken
        if orders[order, LOTS] == 0:
            following = orders[order, NEXT]
            levels[slot, HEAD] = following
            if following < 0:
                levels[slot, TAIL] = -1
            else:
                orders[following, PREVIOUS] = -1
            _free(orders, s, order)


@njit(cache=True)
def _crossing(levels, order, s, side, key):
    """The best level of the other side with resting lots that an order here would meet, or -1."""
    other = 1 - side
    k = s[N_LEVELS + other] - 1
    # Keys of the two sides have opposite signs, so prices cross where their sum is not negative.
    while k >= 0 and levels[order[other, k], KEY] + key >= 0:
        if levels[order[other, k], RESTING] > 0:
            return order[other, k]
        k -= 1
    return np.int64(-1)


@njit(cache=True)
def _settle(levels, orders, order, dirty, s, out, origin):
    """Make what rests what the feed shows, on every level that may differ.

    Lots leave before lots come: in between, the book is never crossed by two states of the feed.
    """
    for k in range(s[N_DIRTY]):
        slot = dirty[k]
        if levels[slot, RESTING] > levels[slot, WANTED]:
            excess = levels[slot, RESTING] - levels[slot, WANTED]
            _cut(levels, orders, s, out, slot, excess, origin)
    k = 0
    while k < s[N_DIRTY]:
        slot = dirty[k]
        k += 1
        if levels[slot, RESTING] >= levels[slot, WANTED]:
            continue
        met = _crossing(levels, order, s, levels[slot, SIDE], levels[slot, KEY])
        while met >= 0 and levels[met, STAMP] < levels[slot, STAMP]:
            n_before = s[N_OUT]
            _cut(levels, orders, s, out, met, levels[met, RESTING], _INFERRED)
            s[CROSSED] += s[N_OUT] - n_before
            _touch(levels, dirty, s, met)
            met = _crossing(levels, order, s, levels[slot, SIDE], levels[slot, KEY])
        if met < 0:
            _add(levels, orders, s, out, slot, levels[slot, WANTED] - levels[slot, RESTING], origin)
    n_dirty = s[N_DIRTY]
    s[N_DIRTY] = 0
    for k in range(n_dirty):
        slot = dirty[k]
        if levels[slot, RESTING] != levels[slot, WANTED]:
            dirty[s[N_DIRTY]] = slot
            s[N_DIRTY] += 1
            continue
        levels[slot, DIRTY] = 0
        if levels[slot, WANTED] == 0:
            _forget(levels, order, s, slot)


@njit(cache=True)
def _take(levels, orders, order, dirty, prints, s, out, side):
    """Send one aggressive order, and first whatever lets it fill as its prints say."""
    n_prints = s[N_PRINTS]
    s[N_PRINTS] = 0
    maker = 1 - side
    # Prints carry keys of the maker's side, the best first.
    n_before = s[N_OUT]
    met = _crossing(levels, order, s, maker, prints[0, 0])
    while met >= 0:
        _cut(levels, orders, s, out, met, levels[met, RESTING], _INFERRED)
        _touch(levels, dirty, s, met)
        met = _crossing(levels, order, s, maker, prints[0, 0])
    worst = prints[n_prints - 1, 0]
    at = 0
    for k in range(s[N_LEVELS + maker] - 1, -1, -1):
        slot = order[maker, k]
        key = levels[slot, KEY]
        if key <= worst:
            break
        while prints[at, 0] > key:
            at += 1
        left = prints[at, 1] if prints[at, 0] == key else 0
        if levels[slot, RESTING] > left:
            _cut(levels, orders, s, out, slot, levels[slot, RESTING] - left, _INFERRED)
            _touch(levels, dirty, s, slot)
    s[STALE] += s[N_OUT] - n_before
    n_before = s[N_OUT]
    total = 0
    for k in range(n_prints):
        slot = _level_at(levels, order, s, maker, prints[k, 0])
        total += prints[k, 1]
        _touch(levels, dirty, s, slot)
        if levels[slot, RESTING] < prints[k, 1]:
            _add(levels, orders, s, out, slot, prints[k, 1] - levels[slot, RESTING], _INFERRED)
        _fill(levels, orders, s, slot, prints[k, 1])
    s[MISSING] += s[N_OUT] - n_before
    tick = worst if maker == 0 else -worst
    while total > 0:
        piece = min(total, MAX_LOTS)
        _send(s, out, _LIMIT, side, _IOC, tick, piece, s[NEXT_ID], _OBSERVED)
        s[NEXT_ID] += 1
        total -= piece


@njit(cache=True)
def _most_messages(levels, dirty, prints, s):
    """No SYNC or TAKE sends more than this: an order leaves once, and may have come just before."""
    most = s[N_ORDERS] + 1
    for k in range(s[N_DIRTY]):
        most += 2 * (levels[dirty[k], WANTED] // MAX_LOTS + 1)
    for k in range(s[N_PRINTS]):
        most += 2 * (prints[k, 1] // MAX_LOTS + 1)
    return most


@njit(cache=True)
def run(rows, levels, orders, order, dirty, prints, s, out, marks):
    """Take rows until one might not find room in `out`; returns the rows taken and marks set."""
    n_marks = 0
    for n in range(len(rows)):
        row = rows[n]
        what = row.what
        side = np.int64(row.side)
        tick = np.int64(row.tick)
        s[TIME], s[ROW] = row.time_ns, row.row
        if what == _LEVEL:
            slot = _level_at(levels, order, s, side, tick if side == 0 else -tick)
            s[LAST_STAMP] += 1
            levels[slot, WANTED], levels[slot, STAMP] = row.lots, s[LAST_STAMP]
            _touch(levels, dirty, s, slot)
        elif what == _PRINT:
            key = tick if side == 1 else -tick
            last = s[N_PRINTS] - 1
            if last >= 0 and prints[last, 0] == key:
                prints[last, 1] += row.lots
            else:
                prints[last + 1, 0], prints[last + 1, 1] = key, row.lots
                s[N_PRINTS] += 1
        elif what == _MARK:
            marks[n_marks] = s[N_OUT]
            n_marks += 1
        elif what == _CLEAR:
            for each in range(2):
                for k in range(s[N_LEVELS + each]):
                    slot = order[each, k]
                    levels[slot, WANTED] = 0
                    _touch(levels, dirty, s, slot)
        else:
            if len(out) - s[N_OUT] < _most_messages(levels, dirty, prints, s):
                return n, n_marks
            if what == _TAKE:
                _take(levels, orders, order, dirty, prints, s, out, side)
            else:
                origin = _OPENING if what == _OPEN else _INFERRED
                _settle(levels, orders, order, dirty, s, out, origin)
    return len(rows), n_marks

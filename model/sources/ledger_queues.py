"""The queues of a ledger's orders in compiled code: who rests where, in which turn.

Every order is a row of `orders`; ids find rows through an open-addressed table; the levels of a
side lie sorted with the best last, since most of what happens happens there. Here too is how a
message is written. Knows no record, and not what makes an order come and go.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.engine.events import Origin
from mtsim.engine.messages import MESSAGE_DTYPE
from mtsim.model.sources.base import FEED_DTYPE, OWN_IDS
from mtsim.model.sources.ledger_records import NO_SIDE

# Columns of `orders`. ID is the feed's, OUT the engine's; MORE is the order that this one goes on
# in, where it is too large for one; a held order keeps the time it is held from as PREV; AWAITED
# are the lots of its fills that are to be said again.
ID, SIDE, TICK, LOTS, PREV, NEXT, LEVEL, WANT, STATE, OUT, PLACE, MORE, AWAITED = range(13)
ORDER_COLUMNS = 13
RESTING, HELD, ANONYMOUS = 1, 2, 4

# Columns of `levels`.
HEAD, TAIL, SUM = range(3)

# Places in `now`.
FREE_ORDER, USED_ORDERS, LIVE, FREE_LEVEL, USED_LEVELS, N_BID, N_ASK, N_HELD = range(8)
N_GROUP, N_OUT, TOTAL_OUT, OWN, SERIAL, NUMBER, IS_DARK, TIME, ROW = range(8, 17)
GROUP_SIDE, GROUP_TAKER, GROUP_TICK, GROUP_TIME, GROUP_LAST, GROUP_ROW = range(17, 23)
GROUP_LOTS, GROUP_MAKER, IN_AUCTION, N_AWAITED, AWAITED_TIME = range(23, 28)
NOW = 28

# Places in `rules`.
BY_SIDE, RENUMBER, MATCHED, LOSES_PLACE, HOLD_NS = range(5)

OBSERVED, OPENING, INFERRED = int(Origin.OBSERVED), int(Origin.OPENING), int(Origin.INFERRED)
_OWN_IDS = int(OWN_IDS)


def _flat() -> np.dtype:
    outer, inner = FEED_DTYPE.fields, MESSAGE_DTYPE.fields
    assert outer is not None
    assert inner is not None
    places = {name: outer[name][:2] for name in ("time_ns", "row", "origin")}
    places |= {name: (k[0], k[1] + outer["message"][1]) for name, k in inner.items()}
    return np.dtype(
        {
            "names": list(places),
            "formats": [kind for kind, _ in places.values()],
            "offsets": [offset for _, offset in places.values()],
            "itemsize": FEED_DTYPE.itemsize,
        }
    )


OUT_DTYPE = _flat()
"""FEED_DTYPE without the nesting, byte for byte."""

# None of these is called from Python: without the wrappers they compile in half the time.
compiled = njit(  # pyright: ignore[reportCallIssue]
    nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False
)


class State(NamedTuple):
    orders: np.ndarray  # int64 [n, ORDER_COLUMNS]; slot 0 is nobody
    table: np.ndarray  # int64 [2^k], slots by hash of their id, 0 where free
    ladder: np.ndarray  # int64 [2, m], the keys of a side's levels, ascending: the best comes last
    rungs: np.ndarray  # int64 [2, m], the level at each key
    levels: np.ndarray  # int64 [m, 3]
    group: np.ndarray  # int64 [n, 2], slots of the open fills; then slot and lots to put back
    held: np.ndarray  # int64 [n], slots in order of arrival
    awaited: np.ndarray  # int64 [q], slots of orders whose fill is to be said again
    out: np.ndarray  # OUT_DTYPE [p]
    now: np.ndarray  # int64 [NOW]
    rules: np.ndarray  # int64 [6], `Rules`
    repaired: np.ndarray  # int64 [len(Repair)]


@compiled
def key_of(side, tick):
    return tick if side == 0 else -tick


@compiled
def _home(s, order_id):
    mixed = np.uint64(order_id) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed >> np.uint64(20)) & (s.table.size - 1)


@compiled
def place_of(s, order_id, side):
    """Where the table has this id, or the free place where it would go."""
    place = _home(s, order_id)
    while True:
        slot = s.table[place]
        if slot == 0:
            return place
        if s.orders[slot, ID] == order_id and (
            s.rules[BY_SIDE] == 0 or s.orders[slot, SIDE] == side
        ):
            return place
        place = (place + 1) & (s.table.size - 1)


@compiled
def find(s, order_id, side):
    if order_id <= 0:
        return np.int64(0)
    slot = s.table[place_of(s, order_id, side)]
    if slot == 0 and s.rules[BY_SIDE] != 0 and side == NO_SIDE:
        slot = s.table[place_of(s, order_id, 0)]
        if slot == 0:
            slot = s.table[place_of(s, order_id, 1)]
    return slot


@compiled
def forget_place(s, place):
    """Free a place of the table; what follows it moves up, so that no search ends too early."""
    mask = s.table.size - 1
    hole = place
    place = (place + 1) & mask
    while s.table[place] != 0:
        home = _home(s, s.orders[s.table[place], ID])
        if ((place - home) & mask) >= ((place - hole) & mask):
            s.table[hole] = s.table[place]
            hole = place
        place = (place + 1) & mask
    s.table[hole] = 0


@compiled
def emit(s, kind, side, tif, flags, tick, lots, order_id, origin):
    """Write a message, at the time and row of `now`."""
    now = s.now
    if now[IS_DARK] != 0:
        return
    n = now[N_OUT]
    message = s.out[n]
    message.time_ns, message.row, message.origin = now[TIME], now[ROW], origin
    message.kind, message.side, message.tif, message.flags = kind, side, tif, flags
    message.price_tick, message.lots, message.order_id = tick, lots, order_id
    now[N_OUT] = n + 1
    now[TOTAL_OUT] += 1


@compiled
def own_id(s):
    s.now[OWN] += 1
    return _OWN_IDS + s.now[OWN] - 1


@compiled
def _rung(s, side, key):
    """How many levels of a side are worse than this key."""
    low, high = np.int64(0), s.now[N_BID + side]
    ladder = s.ladder[side]
    while low < high:
        middle = (low + high) >> 1
        if ladder[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def level_at(s, side, tick):
    """The level at a tick, -1 where nobody rests."""
    key = key_of(side, tick)
    rung = _rung(s, side, key)
    if rung < s.now[N_BID + side] and s.ladder[side, rung] == key:
        return s.rungs[side, rung]
    return np.int64(-1)


@compiled
def best(s, side):
    """The level of a side's touch, -1 where it is empty."""
    n = s.now[N_BID + side]
    return s.rungs[side, n - 1] if n > 0 else np.int64(-1)


@compiled
def crosses(s, side, tick):
    other = 1 - side
    n = s.now[N_BID + other]
    return n > 0 and s.ladder[other, n - 1] >= key_of(other, tick)


@compiled
def link(s, slot):
    """Last in line at its price."""
    now, order = s.now, s.orders[slot]
    side = order[SIDE]
    key = key_of(side, order[TICK])
    n = now[N_BID + side]
    rung = _rung(s, side, key)
    if rung == n or s.ladder[side, rung] != key:
        for k in range(n, rung, -1):
            s.ladder[side, k] = s.ladder[side, k - 1]
            s.rungs[side, k] = s.rungs[side, k - 1]
        level = now[FREE_LEVEL]
        if level >= 0:
            now[FREE_LEVEL] = s.levels[level, HEAD]
        else:
            level = now[USED_LEVELS]
            now[USED_LEVELS] += 1
        s.levels[level, HEAD] = s.levels[level, TAIL] = s.levels[level, SUM] = 0
        s.ladder[side, rung], s.rungs[side, rung] = key, level
        now[N_BID + side] = n + 1
    level = s.rungs[side, rung]
    tail = s.levels[level, TAIL]
    order[PREV], order[NEXT], order[LEVEL] = tail, 0, level
    if tail != 0:
        s.orders[tail, NEXT] = slot
    else:
        s.levels[level, HEAD] = slot
    s.levels[level, TAIL] = slot
    s.levels[level, SUM] += order[LOTS]
    now[SERIAL] += 1
    order[PLACE] = now[SERIAL]
    order[STATE] |= RESTING


@compiled
def unlink(s, slot):
    now, order = s.now, s.orders[slot]
    side, level = order[SIDE], order[LEVEL]
    before, behind = order[PREV], order[NEXT]
    if before != 0:
        s.orders[before, NEXT] = behind
    else:
        s.levels[level, HEAD] = behind
    if behind != 0:
        s.orders[behind, PREV] = before
    else:
        s.levels[level, TAIL] = before
    s.levels[level, SUM] -= order[LOTS]
    order[STATE] &= ~RESTING
    if s.levels[level, HEAD] == 0:
        rung = _rung(s, side, key_of(side, order[TICK]))
        n = now[N_BID + side] - 1
        for k in range(rung, n):
            s.ladder[side, k] = s.ladder[side, k + 1]
            s.rungs[side, k] = s.rungs[side, k + 1]
        now[N_BID + side] = n
        s.levels[level, HEAD] = now[FREE_LEVEL]
        now[FREE_LEVEL] = level


@compiled
def new_order(s, order_id, side, tick, lots, out, state):
    """The slot of an order that is in no queue yet."""
    now = s.now
    slot = now[FREE_ORDER]
    if slot != 0:
        now[FREE_ORDER] = s.orders[slot, NEXT]
    else:
        slot = now[USED_ORDERS]
        now[USED_ORDERS] += 1
    order = s.orders[slot]
    order[ID], order[SIDE], order[TICK], order[LOTS] = order_id, side, tick, lots
    order[OUT], order[STATE], order[WANT], order[MORE] = out, state, 0, 0
    order[AWAITED] = 0
    now[LIVE] += 1
    return slot

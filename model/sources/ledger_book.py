"""The orders of a ledger in compiled code: who rests where, in which turn, and who is held.

Every order is a row of `orders`; ids find rows through an open-addressed table; the levels of a
side lie sorted with the best last, since most of what happens happens there. What changes the book
writes the engine's message for it. Knows the book, not what a feed's records mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.engine.events import Origin
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS
from mtsim.model.sources.base import OWN_IDS

NO_TICK = -(2**62)
NO_SIDE = 2

# Columns of `orders`. ID is the feed's, OUT the engine's; MORE is the order that this one goes on
# in, where it is too large for one; a held order keeps the time it is held from as PREV.
ID, SIDE, TICK, LOTS, PREV, NEXT, LEVEL, WANT, STATE, OUT, PLACE, MORE = range(12)
ORDER_COLUMNS = 12
RESTING, HELD, ANONYMOUS = 1, 2, 4

# Columns of `levels`.
HEAD, TAIL, SUM = range(3)

# Places in `now`.
FREE_ORDER, USED_ORDERS, LIVE, FREE_LEVEL, USED_LEVELS, N_BID, N_ASK, N_HELD = range(8)
N_GROUP, N_OUT, TOTAL_OUT, OWN, SERIAL, NUMBER, IS_DARK, TIME, ROW = range(8, 17)
GROUP_SIDE, GROUP_TAKER, GROUP_TICK, GROUP_TIME, GROUP_LAST, GROUP_ROW = range(17, 23)
NOW = 23

# Places in `rules`.
BY_SIDE, RENUMBER, MATCHED, LOSES_PLACE, HOLD_NS = range(5)

# Places in `repaired`.
PASSED_OVER, STALE, TAKER_RESTED, REVEALED, OVERFILLED, MOVED_ACROSS, GIVEN_UP = range(7)

# Columns of `out`.
O_TIME, O_ROW, O_KIND, O_SIDE, O_TIF, O_FLAGS, O_TICK, O_LOTS, O_ID, O_ORIGIN = range(10)
OUT_COLUMNS = 10

OBSERVED, OPENING, INFERRED = int(Origin.OBSERVED), int(Origin.OPENING), int(Origin.INFERRED)
_LIMIT, _CANCEL, _REDUCE = int(Kind.LIMIT), int(Kind.CANCEL), int(Kind.REDUCE)
_GTC = int(TimeInForce.GTC)
_MAX = int(MAX_LOTS)
_OWN_IDS = int(OWN_IDS)

# None of these is called from Python: without the wrappers they compile in half the time.
compiled = njit(  # pyright: ignore[reportCallIssue]
    nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False
)


class State(NamedTuple):
    orders: np.ndarray  # int64 [n, _COLUMNS]; slot 0 is nobody
    table: np.ndarray  # int64 [2^k], slots by hash of their id, 0 where free
    ladder: np.ndarray  # int64 [2, m], the keys of a side's levels, ascending: the best comes last
    rungs: np.ndarray  # int64 [2, m], the level at each key
    levels: np.ndarray  # int64 [m, 3]
    group: np.ndarray  # int64 [n, 2], slots of the open fills; then slot and lots to put back
    held: np.ndarray  # int64 [n], slots in order of arrival
    out: np.ndarray  # int64 [p, 10]
    now: np.ndarray  # int64 [_NOW]
    rules: np.ndarray  # int64 [5], `Rules`
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
def _forget(s, place):
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
    now = s.now
    if now[IS_DARK] != 0:
        return
    n = now[N_OUT]
    row = s.out[n]
    row[O_TIME], row[O_ROW] = now[TIME], now[ROW]
    row[O_KIND], row[O_SIDE], row[O_TIF], row[O_FLAGS] = kind, side, tif, flags
    row[O_TICK], row[O_LOTS], row[O_ID], row[O_ORIGIN] = tick, lots, order_id, origin
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
def unhold(s, slot):
    n = s.now[N_HELD]
    at = 0
    while s.held[at] != slot:
        at += 1
    for k in range(at, n - 1):
        s.held[k] = s.held[k + 1]
    s.now[N_HELD] = n - 1
    s.orders[slot, STATE] &= ~HELD


@compiled
def _new(s, order_id, side, tick, lots, out, state):
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
    now[LIVE] += 1
    return slot


@compiled
def remove(s, slot):
    """The order is gone; its id now names what it continues in, if it was one of several."""
    order = s.orders[slot]
    if order[STATE] & RESTING:
        unlink(s, slot)
    if order[STATE] & HELD:
        unhold(s, slot)
    if not order[STATE] & ANONYMOUS:
        place = place_of(s, order[ID], order[SIDE])
        if s.table[place] == slot:
            if order[MORE] != 0:
                s.table[place] = order[MORE]
            else:
                _forget(s, place)
        else:
            before = s.table[place]
            while s.orders[before, MORE] != slot:
                before = s.orders[before, MORE]
            s.orders[before, MORE] = order[MORE]
    order[NEXT] = s.now[FREE_ORDER]
    s.now[FREE_ORDER] = slot
    s.now[LIVE] -= 1


@compiled
def take(s, slot, lots):
    """Lots of a resting order trade or leave."""
    order = s.orders[slot]
    if lots == order[LOTS]:
        remove(s, slot)
    else:
        order[LOTS] -= lots
        s.levels[order[LEVEL], SUM] -= lots


@compiled
def sweep(s, side, limit, lots):
    """Trade with a side by price-time priority down to the key `limit`; the lots left over."""
    while lots > 0:
        n = s.now[N_BID + side]
        if n == 0 or s.ladder[side, n - 1] < limit:
            break
        slot = s.levels[s.rungs[side, n - 1], HEAD]
        traded = min(lots, s.orders[slot, LOTS])
        take(s, slot, traded)
        lots -= traded
    return lots


@compiled
def enter(s, slot, origin):
    """An order that is not in the book enters it, trades, or is held."""
    order = s.orders[slot]
    side, tick, lots = order[SIDE], order[TICK], order[LOTS]
    trades = s.now[IS_DARK] == 0 and crosses(s, side, tick)
    if trades and s.rules[MATCHED] == 0:
        order[STATE] |= HELD
        order[PREV] = s.now[TIME]
        s.held[s.now[N_HELD]] = slot
        s.now[N_HELD] += 1
        return
    emit(s, _LIMIT, side, _GTC, 0, tick, lots, order[OUT], origin)
    if trades:
        left = sweep(s, 1 - side, key_of(1 - side, tick), lots)
        if left == 0:
            remove(s, slot)
            return
        order[LOTS] = left
    link(s, slot)


@compiled
def add(s, order_id, side, tick, lots):
    first = last = np.int64(0)
    while lots > 0:
        part = min(lots, _MAX)
        out = order_id
        if first != 0:
            out = own_id(s)
        elif s.rules[RENUMBER] != 0:
            s.now[NUMBER] += 1
            out = s.now[NUMBER]
        slot = _new(s, order_id, side, tick, part, out, 0)
        if first == 0:
            first = slot
            s.table[place_of(s, order_id, side)] = slot
        else:
            s.orders[last, MORE] = slot
        last = slot
        lots -= part
    while first != 0:
        more = s.orders[first, MORE]
        enter(s, first, OBSERVED)
        first = more


@compiled
def reveal(s, side, tick, lots, origin):
    """Anonymous lots enter, unless they would cross."""
    if s.now[IS_DARK] == 0 and crosses(s, side, tick):
        return
    while lots > 0:
        part = min(lots, _MAX)
        slot = _new(s, 0, side, tick, part, own_id(s), ANONYMOUS)
        enter(s, slot, origin)
        lots -= part


@compiled
def lots_of(s, slot):
    """All lots of an order, with those of the orders that it continues in."""
    lots = np.int64(0)
    while slot != 0:
        lots += s.orders[slot, LOTS]
        slot = s.orders[slot, MORE]
    return lots


@compiled
def reduce(s, slot, lots, origin):
    """Lots leave the order without a trade, the last in line first. At least as many as it has."""
    if lots >= lots_of(s, slot):
        while slot != 0:
            order = s.orders[slot]
            more = order[MORE]
            if order[STATE] & RESTING:
                emit(s, _CANCEL, order[SIDE], _GTC, 0, 0, 0, order[OUT], origin)
            remove(s, slot)
            slot = more
        return
    while lots > 0:
        last = slot
        while s.orders[last, MORE] != 0:
            last = s.orders[last, MORE]
        order = s.orders[last]
        part = min(lots, order[LOTS])
        lots -= part
        if order[STATE] & RESTING:
            kind = _CANCEL if part == order[LOTS] else _REDUCE
            emit(s, kind, order[SIDE], _GTC, 0, 0, part * (kind == _REDUCE), order[OUT], origin)
            take(s, last, part)
        elif part == order[LOTS]:
            remove(s, last)
        else:
            order[LOTS] -= part


@compiled
def take_anonymous(s, side, tick, lots, leaves):
    """Up to `lots` anonymous lots of a level are cancelled (`leaves`) or marked as filled."""
    if side == NO_SIDE or tick == NO_TICK:
        return np.int64(0)
    level = level_at(s, side, tick)
    if level < 0:
        return np.int64(0)
    taken = np.int64(0)
    slot = s.levels[level, HEAD]
    while slot != 0 and taken < lots:
        behind = s.orders[slot, NEXT]
        if s.orders[slot, STATE] & ANONYMOUS:
            if leaves:
                part = min(lots - taken, s.orders[slot, LOTS])
                reduce(s, slot, part, OBSERVED)
            else:
                part = want(s, slot, lots - taken)
            taken += part
        slot = behind
    return taken


@compiled
def want(s, slot, lots):
    """Put lots of a resting order among the open fills; how many it had."""
    order = s.orders[slot]
    part = min(lots, order[LOTS] - order[WANT])
    if part > 0:
        if order[WANT] == 0:
            s.group[s.now[N_GROUP], 0] = slot
            s.now[N_GROUP] += 1
        order[WANT] += part
    return part

"""The orders of a ledger in compiled code: how they enter the book, shrink, trade and leave it.

What changes the book writes the engine's message for it. Knows the book, not what a feed's records
mean.
"""

from __future__ import annotations

import numpy as np

from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS
from mtsim.model.sources.ledger_queues import (
    ANONYMOUS,
    FREE_ORDER,
    HEAD,
    HELD,
    ID,
    IS_DARK,
    LEVEL,
    LIVE,
    LOTS,
    MATCHED,
    MORE,
    N_BID,
    N_GROUP,
    N_HELD,
    NEXT,
    NUMBER,
    OBSERVED,
    OUT,
    PREV,
    RENUMBER,
    RESTING,
    SIDE,
    STATE,
    SUM,
    TICK,
    TIME,
    WANT,
    compiled,
    crosses,
    emit,
    forget_place,
    key_of,
    level_at,
    link,
    new_order,
    own_id,
    place_of,
    unlink,
)
from mtsim.model.sources.ledger_records import NO_SIDE, NO_TICK

_LIMIT, _CANCEL, _REDUCE = int(Kind.LIMIT), int(Kind.CANCEL), int(Kind.REDUCE)
_GTC = int(TimeInForce.GTC)
_MAX = int(MAX_LOTS)


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
                forget_place(s, place)
        else:
            before = s.table[place]
            while s.orders[before, MORE] != slot:
                before = s.orders[before, MORE]
            s.orders[before, MORE] = order[MORE]
    order[NEXT] = s.now[FREE_ORDER]
    s.now[FREE_ORDER] = slot
    s.now[LIVE] -= 1


@compiled
def shrink(s, slot, lots):
    """Lots of a resting order trade or leave. Without any left it rests no more, but is known."""
    order = s.orders[slot]
    if lots == order[LOTS]:
        unlink(s, slot)
    else:
        s.levels[order[LEVEL], SUM] -= lots
    order[LOTS] -= lots


@compiled
def take(s, slot, lots):
    """Lots of a resting order trade or leave, and it with the last of them."""
    shrink(s, slot, lots)
    if s.orders[slot, LOTS] == 0:
        remove(s, slot)


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
def add(s, order_id, side, tick, lots, origin):
    first = last = np.int64(0)
    while lots > 0:
        part = min(lots, _MAX)
        out = order_id
        if first != 0:
            out = own_id(s)
        elif s.rules[RENUMBER] != 0:
            s.now[NUMBER] += 1
            out = s.now[NUMBER]
        slot = new_order(s, order_id, side, tick, part, out, 0)
        if first == 0:
            first = slot
            s.table[place_of(s, order_id, side)] = slot
        else:
            s.orders[last, MORE] = slot
        last = slot
        lots -= part
    while first != 0:
        more = s.orders[first, MORE]
        enter(s, first, origin)
        first = more


@compiled
def reveal(s, side, tick, lots, origin):
    """Anonymous lots enter, unless they would cross."""
    if s.now[IS_DARK] == 0 and crosses(s, side, tick):
        return
    while lots > 0:
        part = min(lots, _MAX)
        slot = new_order(s, 0, side, tick, part, own_id(s), ANONYMOUS)
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

"""The fills of a feed in compiled code: collected, and written as one aggressive order each.

Knows which fills belong together, what stands in their way, and who waits for them to be over.
"""

from __future__ import annotations

import numpy as np

from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS
from mtsim.model.sources.ledger_orders import (
    enter,
    reduce,
    remove,
    take,
    take_anonymous,
    unhold,
    want,
)
from mtsim.model.sources.ledger_queues import (
    GROUP_LAST,
    GROUP_ROW,
    GROUP_SIDE,
    GROUP_TAKER,
    GROUP_TICK,
    GROUP_TIME,
    HEAD,
    HELD,
    HOLD_NS,
    INFERRED,
    LOTS,
    MORE,
    N_BID,
    N_GROUP,
    N_HELD,
    NEXT,
    OBSERVED,
    OUT,
    PREV,
    RESTING,
    ROW,
    SIDE,
    STATE,
    TICK,
    TIME,
    WANT,
    best,
    compiled,
    crosses,
    emit,
    find,
    key_of,
    link,
    own_id,
    unlink,
)
from mtsim.model.sources.ledger_records import (
    NO_SIDE,
    NO_TICK,
    Drop,
    Op,
    Repair,
)

_LIMIT, _CANCEL, _REDUCE = int(Kind.LIMIT), int(Kind.CANCEL), int(Kind.REDUCE)
_GTC, _IOC = int(TimeInForce.GTC), int(TimeInForce.IOC)
_MAX = int(MAX_LOTS)
_GIVEN_UP, _OVERFILLED = int(Repair.GIVEN_UP), int(Repair.OVERFILLED)
_PASSED_OVER, _STALE = int(Repair.PASSED_OVER), int(Repair.STALE)
_TAKER_RESTED = int(Repair.TAKER_RESTED)
_OP_FILL = int(Op.FILL)
_USED = int(Drop.USED)
_NO_FILL, _OVERFILL = int(Drop.FILL), int(Drop.OVERFILL)


@compiled
def _in_line(s):
    """Whether price-time priority gives exactly the open fills."""
    side = s.now[GROUP_SIDE]
    left = np.int64(0)
    for k in range(s.now[N_GROUP]):
        left += s.orders[s.group[k, 0], WANT]
    rung = s.now[N_BID + side] - 1
    while left > 0:
        slot = s.levels[s.rungs[side, rung], HEAD]
        while slot != 0 and left > 0:
            if s.orders[slot, WANT] != min(left, s.orders[slot, LOTS]):
                return False
            left -= s.orders[slot, WANT]
            slot = s.orders[slot, NEXT]
        rung -= 1
    return True


@compiled
def _clear_the_way(s):
    """Take out what stands before the last open fill and does not trade; how many to put back."""
    side = s.now[GROUP_SIDE]
    wanted = s.now[N_GROUP]
    aside = 0
    rung = s.now[N_BID + side] - 1
    while wanted > 0:
        slot = s.levels[s.rungs[side, rung], HEAD]
        while slot != 0 and wanted > 0:
            order = s.orders[slot]
            wanted -= order[WANT] > 0
            rest = order[LOTS] - order[WANT]
            if (rest > 0 and wanted > 0) or order[WANT] == 0:
                kind = _CANCEL if order[WANT] == 0 else _REDUCE
                lots = rest if kind == _REDUCE else 0
                emit(s, kind, side, _GTC, 0, 0, lots, order[OUT], INFERRED)
                s.group[aside, 1] = slot
                aside += 1
            slot = order[NEXT]
        rung -= 1
    return aside


@compiled
def flush(s):
    """Write the open fills as one aggressive order, and let held orders in."""
    now = s.now
    n = now[N_GROUP]
    if n == 0:
        return
    time, row = now[TIME], now[ROW]
    now[TIME], now[ROW] = now[GROUP_TIME], now[GROUP_ROW]
    side = now[GROUP_SIDE]
    aside = 0 if _in_line(s) else _clear_the_way(s)
    total, worst = np.int64(0), key_of(side, s.orders[s.group[0, 0], TICK])
    for k in range(n):
        order = s.orders[s.group[k, 0]]
        total += order[WANT]
        worst = min(worst, key_of(side, order[TICK]))
    while total > 0:
        part = min(total, _MAX)
        taker = own_id(s)
        emit(s, _LIMIT, 1 - side, _IOC, 0, key_of(side, worst), part, taker, OBSERVED)
        total -= part
    for k in range(n):
        slot = s.group[k, 0]
        filled = s.orders[slot, WANT]
        s.orders[slot, WANT] = 0
        take(s, slot, filled)
    now[N_GROUP] = now[GROUP_ROW] = 0
    for k in range(aside):
        slot = s.group[k, 1]
        order = s.orders[slot]
        emit(s, _LIMIT, side, _GTC, 0, order[TICK], order[LOTS], order[OUT], INFERRED)
        unlink(s, slot)
        link(s, slot)
    s.repaired[_PASSED_OVER] += 2 * aside
    now[TIME] = now[GROUP_LAST]
    release(s)
    now[TIME], now[ROW] = time, row


@compiled
def release(s):
    """Held orders that no longer cross enter, in order of arrival."""
    at = 0
    while at < s.now[N_HELD]:
        slot = s.held[at]
        order = s.orders[slot]
        if crosses(s, order[SIDE], order[TICK]):
            at += 1
        else:
            unhold(s, slot)
            enter(s, slot, OBSERVED)


@compiled
def _crossed(s, side, tick, most):
    """How many resting orders an order of a side would cross, counted up to `most`."""
    other = 1 - side
    limit = key_of(other, tick)
    n = np.int64(0)
    rung = s.now[N_BID + other] - 1
    while n < most and rung >= 0 and s.ladder[other, rung] >= limit:
        slot = s.levels[s.rungs[other, rung], HEAD]
        while n < most and slot != 0:
            n += 1
            slot = s.orders[slot, NEXT]
        rung -= 1
    return n


@compiled
def drop_stale(s):
    """Of orders that have crossed for too long without a trade the fewer are stale, and leave."""
    while s.now[N_HELD] > 0:
        slot = s.held[0]
        order = s.orders[slot]
        if s.now[TIME] - order[PREV] <= s.rules[HOLD_NS]:
            return
        side, tick = order[SIDE], order[TICK]
        waiting = np.int64(0)
        for k in range(s.now[N_HELD]):
            waiting += s.orders[s.held[k], SIDE] == side
        if _crossed(s, side, tick, waiting + 1) > waiting:
            s.repaired[_GIVEN_UP] += 1
            remove(s, slot)
            continue
        while crosses(s, side, tick):
            stale = s.levels[best(s, 1 - side), HEAD]
            emit(s, _CANCEL, 1 - side, _GTC, 0, 0, 0, s.orders[stale, OUT], INFERRED)
            s.repaired[_STALE] += 1
            remove(s, stale)
        release(s)


@compiled
def continues(s, record):
    """Whether a record belongs to the open fills, or leaves them open."""
    now = s.now
    if record.op != _OP_FILL:
        return False
    slot = find(s, record.id, record.side)
    side, tick = np.int64(record.side), record.tick
    if slot != 0:
        if s.orders[slot, STATE] & HELD:
            return True
        side, tick = s.orders[slot, SIDE], s.orders[slot, TICK]
    return (
        now[GROUP_SIDE] == side
        and now[GROUP_TAKER] == record.other
        and now[GROUP_LAST] == record.time_ns
        and key_of(side, tick) <= key_of(side, now[GROUP_TICK])
    )


@compiled
def fill(s, record):
    now = s.now
    slot = find(s, record.id, record.side)
    if slot != 0 and s.orders[slot, STATE] & HELD:
        # The feed names the aggressor in a row of its own: its lots shrink, nothing else trades.
        reduce(s, slot, record.lots, OBSERVED)
        return _USED
    side, tick = np.int64(record.side), record.tick
    if slot != 0:
        side, tick = s.orders[slot, SIDE], s.orders[slot, TICK]
    outcome = _NO_FILL
    if side != NO_SIDE and tick != NO_TICK:
        if now[N_GROUP] > 0 and not continues(s, record):
            flush(s)
            slot = find(s, record.id, record.side)
        taken = _mark(s, slot, side, tick, record.lots)
        if taken > 0:
            outcome = _USED
            s.repaired[_OVERFILLED] += taken < record.lots
            if now[GROUP_ROW] == 0:
                now[GROUP_SIDE], now[GROUP_TAKER] = side, record.other
                now[GROUP_TIME], now[GROUP_ROW] = now[TIME], now[ROW]
            now[GROUP_TICK], now[GROUP_LAST] = tick, now[TIME]
        elif slot != 0:
            outcome = _OVERFILL
    taking = find(s, record.other, 1 - side if side != NO_SIDE else side)
    if taking != 0 and s.orders[taking, SIDE] != side:
        # It has traded, whether or not the other order is known.
        rested = s.orders[taking, STATE] & RESTING
        s.repaired[_TAKER_RESTED] += rested
        reduce(s, taking, record.lots, INFERRED if rested else OBSERVED)
        outcome = _USED
    return outcome


@compiled
def _mark(s, slot, side, tick, lots):
    """Put up to `lots` lots of an order and its parts, or anonymous ones, among the open fills."""
    if slot == 0:
        return take_anonymous(s, side, tick, lots, False)
    taken = np.int64(0)
    while slot != 0 and taken < lots:
        if s.orders[slot, STATE] & RESTING:
            taken += want(s, slot, lots - taken)
        slot = s.orders[slot, MORE]
    return taken

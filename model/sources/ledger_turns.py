"""The fills of a feed that tells every order, in compiled code: who is named is who is in turn.

Fills of one time and taker that go by price-time priority become one aggressive order. What the
engine could not repeat (a fill out of turn, one of an auction, one while the book lies crossed)
takes its lots out of the order that is named (INFERRED), so that the book stays the feed's.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS
from mtsim.model.sources.ledger_orders import remove, shrink
from mtsim.model.sources.ledger_queues import (
    AWAITED,
    AWAITED_TIME,
    GROUP_LOTS,
    GROUP_MAKER,
    GROUP_ROW,
    GROUP_SIDE,
    GROUP_TAKER,
    GROUP_TICK,
    GROUP_TIME,
    HEAD,
    ID,
    IN_AUCTION,
    LOTS,
    N_AWAITED,
    N_OUT,
    OBSERVED,
    ROW,
    SIDE,
    TICK,
    TIME,
    best,
    compiled,
    crosses,
    emit,
    own_id,
    place_of,
)
from mtsim.model.sources.ledger_records import NO_SIDE, Drop, Fault, Op, Repair
from mtsim.model.sources.ledger_told import awaits, is_fill, release_book, say, stop_awaiting

# The compiled code sees enums as integers.
_LOOK_AHEAD = 256
_ADD = int(Op.ADD)
_CANCEL = int(Op.CANCEL)
_DELETE = int(Op.DELETE)
_REPLACE = int(Op.REPLACE)
_SHOW = int(Op.SHOW)
_FILL = int(Op.FILL)
_FILL_SAID_AGAIN = int(Op.FILL_SAID_AGAIN)
_WITHDRAW = int(Op.WITHDRAW)
_USED = int(Drop.USED)
_NO_CANCEL = int(Drop.CANCEL)
_NO_FILL = int(Drop.FILL)
_IMPLIED = int(Drop.IMPLIED)
_UNCHANGED = int(Drop.UNCHANGED)
_DUPLICATE = int(Fault.DUPLICATE)
_OTHER_SIDE = int(Fault.SIDE)
_TOO_MANY = int(Repair.TOO_MANY)
_EARLY = int(Repair.EARLY)
_SEND_LIMIT = int(Kind.LIMIT)
_IOC = int(TimeInForce.IOC)
_MAX = int(MAX_LOTS)
_SAYS_NOTHING = 0
_SAYS = 1
_TAKES = 2
_IS_WRONG = 3


@compiled
def _known_as(record):
    """The id under which the order that a record changes is known."""
    return record.other if record.op == _REPLACE else record.id


@compiled
def _blocker(s, record, slot):
    """The order that must be gone before the engine does what a record says, 0 if there is none:
    the first in line before another's fill, or the best one opposite of what would cross."""
    if s.now[IN_AUCTION] != 0:
        return np.int64(0)
    if is_fill(record.op):
        if slot == 0 or s.orders[slot, LOTS] == 0:
            return np.int64(0)
        head = s.levels[best(s, s.orders[slot, SIDE]), HEAD]
        return head if head != slot else np.int64(0)
    if record.op not in (_ADD, _REPLACE, _SHOW) or (slot == 0 and record.op == _REPLACE):
        return np.int64(0)
    side = np.int64(record.side) if slot == 0 else s.orders[slot, SIDE]
    if side == NO_SIDE or not crosses(s, side, record.tick):
        return np.int64(0)
    return s.levels[best(s, 1 - side), HEAD]


@compiled
def _turn_to_come(records, i, order_id):
    """The record behind record i that fills an order in the same trade, or that takes it off at
    the same time; 0 if there is none."""
    fills = is_fill(records[i].op)
    for j in range(i + 1, min(records.size, i + _LOOK_AHEAD)):
        if records[j].time_ns != records[i].time_ns:
            break
        if _known_as(records[j]) == order_id:
            if fills and is_fill(records[j].op):
                return j if records[j].other == records[i].other else 0
            return j if records[j].op in (_CANCEL, _DELETE) else 0
    return 0


@njit(nogil=True, error_model="numpy")
def _bring_forward(records, i, j):
    moved = records[j : j + 1].copy()
    for k in range(j, i, -1):
        records[k] = records[k - 1]
    records[i] = moved[0]


@compiled
def _weigh(s, record, slot):
    """What a record comes to, its lots as far as they are there, and its `Drop` or `Fault`."""
    op, lots = record.op, record.lots
    if op == _ADD:
        if slot != 0 and s.orders[slot, LOTS] > 0:
            return _IS_WRONG, lots, _DUPLICATE
        return _SAYS, lots, _USED
    if slot == 0:
        if op == _SHOW and lots > 0 and record.side != NO_SIDE:
            return _SAYS, lots, _USED
        return _SAYS_NOTHING, lots, _NO_FILL if op >= _FILL else _NO_CANCEL
    order = s.orders[slot]
    if op >= _FILL:
        if op >= _FILL_SAID_AGAIN:
            awaits(s, slot, lots, record.time_ns)
        if lots > order[LOTS]:
            s.repaired[_TOO_MANY] += 1
            lots = order[LOTS]
        if lots == 0:
            return _SAYS_NOTHING, lots, _USED
        in_turn = s.now[IN_AUCTION] == 0 and s.levels[best(s, order[SIDE]), HEAD] == slot
        return _TAKES if is_fill(op) and in_turn else _SAYS, lots, _USED
    if op == _SHOW:
        if record.side != NO_SIDE and order[SIDE] != record.side:
            return _IS_WRONG, lots, _OTHER_SIDE
        was_awaited = order[AWAITED] > 0
        order[AWAITED] = 0
        if lots == 0 and order[LOTS] == 0:
            remove(s, slot)
            return _SAYS_NOTHING, lots, _IMPLIED
        if lots == order[LOTS] and record.tick == order[TICK]:
            return _SAYS_NOTHING, lots, _IMPLIED if was_awaited else _UNCHANGED
    elif op in (_CANCEL, _DELETE):
        if op == _DELETE or lots == 0:
            lots = order[AWAITED] + order[LOTS]
        implied = min(lots, order[AWAITED])
        order[AWAITED] -= implied
        lots -= implied
        if order[LOTS] == 0 or (lots == 0 and implied > 0):
            if order[LOTS] == 0 and order[AWAITED] == 0:
                remove(s, slot)
            return _SAYS_NOTHING, lots, _IMPLIED
        if lots > order[LOTS]:
            s.repaired[_TOO_MANY] += 1
    return _SAYS, lots, _USED


@compiled
def _end_taker(s, after, last, i):
    """Write the open aggressive order, whose last fill is record `last`, and no part record i."""
    now = s.now
    time_ns, row = now[TIME], now[ROW]
    now[TIME], now[ROW] = now[GROUP_TIME], now[GROUP_ROW]
    side, tick, lots = 1 - now[GROUP_SIDE], now[GROUP_TICK], now[GROUP_LOTS]
    emit(s, _SEND_LIMIT, side, _IOC, 0, tick, lots, own_id(s), OBSERVED)
    now[GROUP_LOTS] = 0
    now[TIME], now[ROW] = time_ns, row
    after[last:i] = now[N_OUT]


@compiled
def _fill(s, record, slot, lots):
    """One more fill of the open aggressive order, or the first of a new one."""
    now, order = s.now, s.orders[slot]
    if now[GROUP_LOTS] == 0:
        now[GROUP_SIDE], now[GROUP_TAKER] = order[SIDE], record.other
        now[GROUP_TIME], now[GROUP_ROW] = record.time_ns, record.row
    now[GROUP_LOTS] += lots
    now[GROUP_TICK], now[GROUP_MAKER] = order[TICK], slot
    shrink(s, slot, lots)
    if order[LOTS] == 0 and order[AWAITED] == 0:
        remove(s, slot)


@njit(nogil=True, error_model="numpy")
def run(s, records, after, outcome):
    """Do what records say; the one at fault with its `Fault`, or 0s.

    Venues list the fills of one trade in an order of their own, and cancels behind the fills they
    made way for (self-match prevention): `records` are put into the order of the queue.
    """
    now = s.now
    i, last, early = 0, 0, False
    while i < records.size:
        record = records[i]
        now[TIME], now[ROW] = record.time_ns, record.row
        if now[N_AWAITED] > 0 and record.time_ns != now[AWAITED_TIME]:
            stop_awaiting(s)
        place = place_of(s, _known_as(record), np.int64(record.side))
        slot = s.table[place]
        if not early:
            blocker = _blocker(s, record, slot)
            if blocker != 0 and s.orders[blocker, AWAITED] == 0:
                j = _turn_to_come(records, i, s.orders[blocker, ID])
                if j > 0:
                    # What comes forward is worked off in this place, and this record after it.
                    _bring_forward(records, i, j)
                    early = records[i].op in (_CANCEL, _DELETE)
                    s.repaired[_EARLY] += early
                    continue
        verdict, lots, outcome[i] = _weigh(s, record, slot)
        if verdict == _IS_WRONG:
            return i, outcome[i]
        if verdict == _SAYS_NOTHING:
            after[i] = now[N_OUT]
            i += 1
            continue
        # An aggressive order ends before whatever is not its next fill. What only makes way for it
        # goes before it, but not a cancel of what it left of its last maker.
        its = record.time_ns == now[GROUP_TIME] and record.other == now[GROUP_TAKER]
        goes_on = (
            (early and slot != now[GROUP_MAKER])
            or (record.op == _WITHDRAW and its)
            or (
                verdict == _TAKES
                and its
                and s.orders[slot, SIDE] == now[GROUP_SIDE]
                and now[GROUP_LOTS] + lots <= _MAX
            )
        )
        early = False
        if now[GROUP_LOTS] > 0 and not goes_on:
            _end_taker(s, after, last, i)
        if verdict == _TAKES:
            if now[GROUP_LOTS] > 0:
                # There is no moment between the fills of one order.
                after[last:i] = -1
            last = i
            _fill(s, record, slot, lots)
        else:
            fault = say(s, record, place, slot, lots)
            if fault != 0:
                return i, fault
        if now[IN_AUCTION] != 0:
            release_book(s)
        after[i] = now[N_OUT]
        i += 1
    if now[GROUP_LOTS] > 0:
        _end_taker(s, after, last, i)
    return 0, 0

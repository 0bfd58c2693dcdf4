"""The orders of a feed that tells every order, in compiled code: how they enter, move and leave.

Where such a feed's book lies crossed, the engine collects orders as in an auction. Fills that the
feed says again, as cancels or changes, are awaited. Knows one record at a time.
"""

from __future__ import annotations

import numpy as np

from mtsim.engine.messages import Flag, Kind, TimeInForce
from mtsim.model.sources.base import OWN_IDS
from mtsim.model.sources.ledger_orders import remove, shrink
from mtsim.model.sources.ledger_queues import (
    AWAITED,
    AWAITED_TIME,
    ID,
    IN_AUCTION,
    INFERRED,
    LOTS,
    N_ASK,
    N_AWAITED,
    N_BID,
    OBSERVED,
    OUT,
    RESTING,
    ROW,
    SIDE,
    STATE,
    TICK,
    TIME,
    USED_ORDERS,
    compiled,
    crosses,
    emit,
    forget_place,
    link,
    new_order,
    own_id,
    place_of,
    unlink,
)
from mtsim.model.sources.ledger_records import Fault, Op, Repair

# The compiled code sees enums as integers.
_ADD = int(Op.ADD)
_REPLACE = int(Op.REPLACE)
_SHOW = int(Op.SHOW)
_FILL = int(Op.FILL)
_FILL_SAID_AGAIN = int(Op.FILL_SAID_AGAIN)
_WITHDRAW = int(Op.WITHDRAW)
_DUPLICATE = int(Fault.DUPLICATE)
_OUT_OF_TURN = int(Repair.OUT_OF_TURN)
_MATCHED = int(Repair.MATCHED)
_AUCTION = int(Repair.AUCTION)
_ADDED = int(Repair.ADDED)
_CLEARED = int(Repair.CLEARED)
_NOT_SAID_AGAIN = int(Repair.NOT_SAID_AGAIN)
_WITHDRAWN = int(Repair.WITHDRAWN)
_SEND_LIMIT = int(Kind.LIMIT)
_SEND_CANCEL = int(Kind.CANCEL)
_SEND_REDUCE = int(Kind.REDUCE)
_SEND_REPLACE = int(Kind.REPLACE)
_SEND_AUCTION = int(Kind.AUCTION)
_SEND_UNCROSS = int(Kind.UNCROSS)
_GTC = int(TimeInForce.GTC)
_LOSE_PLACE = int(Flag.LOSE_PLACE)
_OWN_IDS = int(OWN_IDS)


@compiled
def is_fill(op):
    return op in (_FILL, _FILL_SAID_AGAIN)


@compiled
def _forget(s, slot):
    s.orders[slot, AWAITED] = 0
    remove(s, slot)


@compiled
def _take_out(s, slot, lots, origin):
    """`lots` of a resting order leave, by a message; fewer than all keep the order."""
    order = s.orders[slot]
    if lots >= order[LOTS]:
        emit(s, _SEND_CANCEL, 0, _GTC, 0, 0, 0, order[OUT], origin)
        shrink(s, slot, order[LOTS])
    else:
        emit(s, _SEND_REDUCE, 0, _GTC, 0, 0, lots, order[OUT], origin)
        shrink(s, slot, lots)


@compiled
def _hold(s, side, tick):
    """Where the feed's book is about to lie crossed, the engine is not to match for a while."""
    if s.now[IN_AUCTION] == 0 and crosses(s, side, tick):
        s.now[IN_AUCTION] = 1
        s.repaired[_AUCTION] += 1
        emit(s, _SEND_AUCTION, 0, _GTC, 0, 0, 0, 0, INFERRED)


@compiled
def release_book(s):
    """The engine matches again as soon as the book does not lie crossed."""
    n_bid, n_ask = s.now[N_BID], s.now[N_ASK]
    if n_bid > 0 and n_ask > 0 and s.ladder[0, n_bid - 1] >= -s.ladder[1, n_ask - 1]:
        return
    s.now[IN_AUCTION] = 0
    emit(s, _SEND_UNCROSS, 0, _GTC, 0, 0, 0, 0, INFERRED)


@compiled
def _enter(s, slot, side, tick, lots, origin):
    _hold(s, side, tick)
    order = s.orders[slot]
    emit(s, _SEND_LIMIT, side, _GTC, 0, tick, lots, order[OUT], origin)
    order[SIDE], order[TICK], order[LOTS] = side, tick, lots
    link(s, slot)


@compiled
def _remembered(s, place, order_id, side):
    """The slot of an order that is now known, under this place of the table."""
    # Some feeds have ids that the engine refuses (0), or that could be taken for our own.
    out = order_id if 1 <= order_id < _OWN_IDS else own_id(s)
    slot = new_order(s, order_id, side, 0, 0, out, 0)
    s.table[place] = slot
    return slot


@compiled
def _move(s, slot, tick, lots):
    """A resting order goes to the back of a queue, with a new price or size."""
    order = s.orders[slot]
    unlink(s, slot)
    _hold(s, order[SIDE], tick)
    emit(s, _SEND_REPLACE, 0, _GTC, _LOSE_PLACE, tick, lots, order[OUT], OBSERVED)
    order[TICK], order[LOTS] = tick, lots
    link(s, slot)


@compiled
def _show(s, record, place, slot):
    if slot == 0:
        slot = _remembered(s, place, record.id, np.int64(record.side))
        s.repaired[_ADDED] += 1
        _enter(s, slot, np.int64(record.side), record.tick, record.lots, INFERRED)
        return
    order = s.orders[slot]
    if order[LOTS] == 0:
        # Filled as far as it showed, and shown anew: an iceberg's next slice.
        _enter(s, slot, order[SIDE], record.tick, record.lots, OBSERVED)
    elif record.lots == 0:
        _take_out(s, slot, order[LOTS], OBSERVED)
        _forget(s, slot)
    elif record.tick != order[TICK] or record.lots > order[LOTS]:
        _move(s, slot, record.tick, record.lots)
    else:
        emit(s, _SEND_REPLACE, 0, _GTC, 0, record.tick, record.lots, order[OUT], OBSERVED)
        shrink(s, slot, order[LOTS] - record.lots)


@compiled
def awaits(s, slot, lots, time_ns):
    """A fill that is to be said again, as a cancel or change of the same time."""
    if s.orders[slot, AWAITED] == 0:
        s.awaited[s.now[N_AWAITED]] = slot
        s.now[N_AWAITED] += 1
    s.now[AWAITED_TIME] = time_ns
    s.orders[slot, AWAITED] += lots


@compiled
def stop_awaiting(s):
    """Time went on: fills that were not said again never will be."""
    for k in range(s.now[N_AWAITED]):
        slot = s.awaited[k]
        if s.orders[slot, AWAITED] > 0:
            s.repaired[_NOT_SAID_AGAIN] += 1
            s.orders[slot, AWAITED] = 0
            if s.orders[slot, LOTS] == 0:
                remove(s, slot)
    s.now[N_AWAITED] = 0


@compiled
def say(s, record, place, slot, lots):
    """Write the messages of a record that is no fill in turn; its fault, if it has one."""
    op = record.op
    if op == _ADD:
        if slot == 0:
            slot = _remembered(s, place, record.id, np.int64(record.side))
        s.orders[slot, AWAITED] = 0
        side, origin = np.int64(record.side), np.int64(record.origin)
        _enter(s, slot, side, record.tick, record.lots, origin)
        return 0
    if op == _SHOW:
        _show(s, record, place, slot)
        return 0
    if op == _REPLACE:
        if s.orders[slot, LOTS] > 0:
            _move(s, slot, record.tick, record.lots)
        else:
            _enter(s, slot, s.orders[slot, SIDE], record.tick, record.lots, OBSERVED)
        forget_place(s, place)
        to = place_of(s, record.id, np.int64(record.side))
        if s.table[to] != 0:
            return _DUPLICATE
        s.orders[slot, ID] = record.id
        s.table[to] = slot
        return 0
    origin = OBSERVED
    if op == _WITHDRAW:
        s.repaired[_WITHDRAWN] += 1
    elif op >= _FILL:
        origin = INFERRED
        printed = is_fill(op) and s.now[IN_AUCTION] == 0
        s.repaired[_OUT_OF_TURN if printed else _MATCHED] += 1
    _take_out(s, slot, lots, origin)
    if s.orders[slot, LOTS] == 0 and s.orders[slot, AWAITED] == 0:
        remove(s, slot)
    return 0


@compiled
def clear(s, record):
    """Cancel everything that rests, because of a record."""
    now = s.now
    now[TIME], now[ROW] = record.time_ns, record.row
    for slot in range(1, now[USED_ORDERS]):
        if s.orders[slot, STATE] & RESTING:
            _take_out(s, slot, s.orders[slot, LOTS], INFERRED)
            s.repaired[_CLEARED] += 1
        elif s.orders[slot, AWAITED] == 0:
            continue
        _forget(s, slot)
    now[N_AWAITED] = 0
    if now[IN_AUCTION] != 0:
        release_book(s)

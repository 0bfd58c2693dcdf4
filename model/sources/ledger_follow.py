"""What each record of a feed does to the orders of a ledger, in compiled code."""

from __future__ import annotations

import numpy as np
from numba import njit

from mtsim.engine.messages import Flag, Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS
from mtsim.model.sources.ledger_fills import (
    drop_stale,
    fill,
    flush,
    release,
)
from mtsim.model.sources.ledger_orders import (
    add,
    enter,
    lots_of,
    reduce,
    remove,
    sweep,
    take_anonymous,
    unhold,
)
from mtsim.model.sources.ledger_queues import (
    HEAD,
    HELD,
    ID,
    INFERRED,
    IS_DARK,
    LIVE,
    LOSES_PLACE,
    LOTS,
    MATCHED,
    MORE,
    N_BID,
    N_HELD,
    NEXT,
    OBSERVED,
    OPENING,
    OUT,
    PLACE,
    SIDE,
    STATE,
    TICK,
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

_CANCEL = int(Kind.CANCEL)
_REPLACE, _MARKET = int(Kind.REPLACE), int(Kind.MARKET)
_GTC, _IOC = int(TimeInForce.GTC), int(TimeInForce.IOC)
_LOSE_PLACE = int(Flag.LOSE_PLACE)
_MAX = int(MAX_LOTS)
_MOVED_ACROSS = int(Repair.MOVED_ACROSS)
_OP_ADD, _OP_CANCEL, _OP_DELETE = int(Op.ADD), int(Op.CANCEL), int(Op.DELETE)
_OP_SHOW = int(Op.SHOW)
_OP_CHANGE, _OP_REPLACE, _OP_FILL = int(Op.CHANGE), int(Op.REPLACE), int(Op.FILL)
_OP_MARKET, _OP_MATCH = int(Op.MARKET), int(Op.MATCH)
_OP_DARK, _OP_LIGHT = int(Op.DARK), int(Op.LIGHT)
_USED, _MARK, _IN_THE_DARK = int(Drop.USED), int(Drop.MARK), int(Drop.DARK)
_NO_CANCEL, _NO_CHANGE, _NO_REPLACE = int(Drop.CANCEL), int(Drop.CHANGE), int(Drop.REPLACE)
_NO_FILL, _DUPLICATE = int(Drop.FILL), int(Drop.DUPLICATE)


@compiled
def _show(s, slot, tick, lots):
    """The order has `lots` lots at `tick` from now on."""
    order = s.orders[slot]
    if tick == NO_TICK:
        tick = order[TICK]
    had = lots_of(s, slot)
    if lots == 0:
        reduce(s, slot, had, OBSERVED)
        return
    if tick == order[TICK] and lots < had and s.rules[LOSES_PLACE] == 0:
        reduce(s, slot, had - lots, OBSERVED)
        return
    if lots > _MAX or (order[MORE] != 0 and (lots != had or tick != order[TICK])):
        order_id, side = order[ID], order[SIDE]
        reduce(s, slot, had, OBSERVED)
        add(s, order_id, side, tick, lots, OBSERVED)
        return
    side = order[SIDE]
    if order[STATE] & HELD:
        unhold(s, slot)
        order[TICK], order[LOTS] = tick, lots
        enter(s, slot, OBSERVED)
        return
    trades = s.now[IS_DARK] == 0 and crosses(s, side, tick)
    if trades and s.rules[MATCHED] == 0:
        emit(s, _CANCEL, side, _GTC, 0, 0, 0, order[OUT], INFERRED)
        s.repaired[_MOVED_ACROSS] += 1
        unlink(s, slot)
        order[TICK], order[LOTS] = tick, lots
        enter(s, slot, OBSERVED)
        return
    flags = _LOSE_PLACE if s.rules[LOSES_PLACE] != 0 else 0
    emit(s, _REPLACE, side, _GTC, flags, tick, lots, order[OUT], OBSERVED)
    if flags == 0 and tick == order[TICK] and lots == had:
        return
    unlink(s, slot)
    order[TICK] = tick
    if trades:
        lots = sweep(s, 1 - side, key_of(1 - side, tick), lots)
    order[LOTS] = lots
    if lots > 0:
        link(s, slot)
    else:
        remove(s, slot)


@njit(nogil=True, error_model="numpy")
def _everybody(s):
    """The slots of all resting orders, in the order in which they took their places."""
    slots = np.empty(s.now[LIVE], np.int64)
    places = np.empty(s.now[LIVE], np.int64)
    n = 0
    for side in range(2):
        for rung in range(s.now[N_BID + side]):
            slot = s.levels[s.rungs[side, rung], HEAD]
            while slot != 0:
                slots[n], places[n] = slot, s.orders[slot, PLACE]
                n += 1
                slot = s.orders[slot, NEXT]
    return slots[:n][np.argsort(places[:n])]


@njit(nogil=True, error_model="numpy")
def _go_dark(s):
    for slot in _everybody(s):
        order = s.orders[slot]
        emit(s, _CANCEL, order[SIDE], _GTC, 0, 0, 0, order[OUT], OPENING)
    s.now[IS_DARK] = 1
    while s.now[N_HELD] > 0:
        slot = s.held[0]
        unhold(s, slot)
        link(s, slot)


@njit(nogil=True, error_model="numpy")
def _go_light(s):
    slots = _everybody(s)
    for slot in slots:
        unlink(s, slot)
    s.now[IS_DARK] = 0
    for slot in slots:
        enter(s, slot, OPENING)


@compiled
def _match(s, record):
    """Both orders of an auction's fill lose its lots; how many of them are known."""
    known = 0
    for order_id in (record.id, record.other):
        slot = find(s, order_id, record.side if order_id == record.id else 1 - record.side)
        if slot != 0:
            known += 1
            reduce(s, slot, record.lots, OBSERVED)
    return known


@njit(nogil=True, error_model="numpy")
def apply(s, record):
    """Do what one record says; the `Drop` it comes to."""
    op, side = record.op, np.int64(record.side)
    if op == _OP_FILL and s.now[IS_DARK] == 0:
        return fill(s, record)
    flush(s)
    drop_stale(s)
    if op == _OP_ADD:
        if find(s, record.id, side) != 0:
            return _DUPLICATE
        add(s, record.id, side, record.tick, record.lots, np.int64(record.origin))
    elif op in (_OP_CANCEL, _OP_DELETE):
        slot = find(s, record.id, side)
        if slot == 0:
            if take_anonymous(s, side, record.tick, record.lots, True) == 0:
                return _NO_CANCEL
        else:
            whole = op == _OP_DELETE or record.lots == 0
            lots = lots_of(s, slot) if whole else record.lots
            reduce(s, slot, lots, OBSERVED)
    elif op in (_OP_SHOW, _OP_CHANGE):
        slot = find(s, record.id, side)
        if slot == 0:
            return _NO_CHANGE
        lots = record.lots
        if op == _OP_CHANGE:
            lots = max(0, lots + lots_of(s, slot))
        _show(s, slot, record.tick, lots)
    elif op == _OP_REPLACE:
        slot = find(s, record.other, side)
        if slot != 0:
            side = s.orders[slot, SIDE]
            reduce(s, slot, lots_of(s, slot), OBSERVED)
        else:
            take_anonymous(s, side, record.other_tick, record.other_lots, True)
        if side == NO_SIDE:
            return _NO_REPLACE
        if find(s, record.id, side) != 0:
            return _DUPLICATE
        add(s, record.id, side, record.tick, record.lots, np.int64(record.origin))
    elif op in (_OP_FILL, _OP_MATCH):
        if _match(s, record) == 0:
            return _NO_FILL
    elif op == _OP_MARKET:
        lots = record.lots
        while lots > 0:
            part = min(lots, _MAX)
            emit(s, _MARKET, side, _IOC, 0, 0, part, own_id(s), OBSERVED)
            sweep(s, 1 - side, NO_TICK, part)
            lots -= part
    elif op == _OP_DARK:
        _go_dark(s)
        return _MARK
    elif op == _OP_LIGHT:
        _go_light(s)
        release(s)
        return _MARK
    release(s)
    return _IN_THE_DARK if s.now[IS_DARK] != 0 else _USED

"""Order records into messages, in compiled code: what the engine must be told to hold that book.

Knows the queues and the rules of turning records into messages; knows no file and no batch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from numba import njit

from mtsim.engine.events import Origin
from mtsim.engine.messages import Flag, Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS
from mtsim.model.sources import order_queues
from mtsim.model.sources.order_queues import (
    Scalar,
    Taker,
    best,
    find_order,
    forget,
    forget_place,
    is_crossed,
    jit,
    join,
    leave,
    own_id,
    remember,
    would_cross,
)
from mtsim.model.sources.order_records import Fate, Fault, Op, Repair

# How far a cancel may stand behind the fill it made way for.
_LOOK_AHEAD = 256

# The compiled code sees enums as integers.
_ADD, _TAKE_OFF, _DELETE = int(Op.ADD), int(Op.TAKE_OFF), int(Op.DELETE)
_REPLACE, _MODIFY = int(Op.REPLACE), int(Op.MODIFY)
_EXECUTE, _FILL, _WITHDRAW = int(Op.EXECUTE), int(Op.FILL), int(Op.WITHDRAW)
_USED, _UNKNOWN = int(Fate.USED), int(Fate.UNKNOWN)
_UNKNOWN_EXECUTED, _IMPLIED = int(Fate.UNKNOWN_EXECUTED), int(Fate.IMPLIED)
_UNCHANGED = int(Fate.UNCHANGED)
_DUPLICATE, _OTHER_SIDE = int(Fault.DUPLICATE), int(Fault.SIDE)
_OUT_OF_TURN, _CROSSED, _AUCTIONS = (
    int(Repair.OUT_OF_TURN),
    int(Repair.CROSSED),
    int(Repair.AUCTION),
)
_ADDED, _CLEARED, _TOO_MANY = int(Repair.ADDED), int(Repair.CLEARED), int(Repair.TOO_MANY)
_NO_CANCEL, _WITHDRAWN, _EARLY = (
    int(Repair.NO_CANCEL),
    int(Repair.WITHDRAWN),
    int(Repair.EARLY),
)
_ROWS, _AUCTION = int(Scalar.ROWS), int(Scalar.AUCTION)
_AWAITED, _AWAITED_NS = int(Scalar.AWAITED), int(Scalar.AWAITED_NS)
_LOTS, _SIDE, _TICK, _NAME = int(Taker.LOTS), int(Taker.SIDE), int(Taker.TICK), int(Taker.NAME)
_TIME_NS, _FIRST, _LAST, _MAKER = (
    int(Taker.TIME_NS),
    int(Taker.FIRST),
    int(Taker.LAST),
    int(Taker.MAKER),
)
_OBSERVED, _INFERRED = int(Origin.OBSERVED), int(Origin.INFERRED)
_LIMIT, _CANCEL, _REDUCE = int(Kind.LIMIT), int(Kind.CANCEL), int(Kind.REDUCE)
_REPLACED, _TO_AUCTION = int(Kind.REPLACE), int(Kind.AUCTION)
_TO_UNCROSS, _IOC = int(Kind.UNCROSS), int(TimeInForce.IOC)
_LOSE_PLACE = int(Flag.LOSE_PLACE)

# What a record comes to, before anything is done about it.
_SAYS_NOTHING, _SAYS, _TAKES, _IS_WRONG = 0, 1, 2, 3


@jit
def _write(out, n, record, kind, order_id, origin):
    message = out[n]
    message.time_ns, message.row = record.time_ns, record.row
    message.kind, message.order_id, message.origin = kind, order_id, origin
    return n + 1


@jit
def _take(s, out, n, record, order, lots, origin):
    """`lots` of a resting order leave, by a message; fewer than all keep the order."""
    row = s.orders[order]
    if lots >= row.lots:
        n = _write(out, n, record, _CANCEL, row.engine_id, origin)
        leave(s, order)
        row.lots = 0
    else:
        n = _write(out, n, record, _REDUCE, row.engine_id, origin)
        out[n - 1].lots = lots
        row.lots -= lots
    return n


@jit
def _hold(s, out, n, record, side, tick):
    """Where the feed's book is about to lie crossed, the engine is not to match for a while."""
    if not s.scalars[_AUCTION] and would_cross(s, side, tick):
        s.scalars[_AUCTION] = 1
        s.repairs[_AUCTIONS] += 1
        n = _write(out, n, record, _TO_AUCTION, 0, _INFERRED)
    return n


@jit
def _add(s, out, n, record, order, side, origin):
    n = _hold(s, out, n, record, side, record.tick)
    n = _write(out, n, record, _LIMIT, s.orders[order].engine_id, origin)
    out[n - 1].side, out[n - 1].price_tick, out[n - 1].lots = side, record.tick, record.lots
    s.orders[order].lots = record.lots
    join(s, order, side, record.tick)
    return n


@jit
def _move(s, out, n, record, order):
    """A resting order goes to the back of a queue, with a new price or size."""
    side = s.levels[s.orders[order].level].side
    leave(s, order)
    n = _hold(s, out, n, record, side, record.tick)
    n = _write(out, n, record, _REPLACED, s.orders[order].engine_id, _OBSERVED)
    message = out[n - 1]
    message.price_tick, message.lots, message.flags = record.tick, record.lots, _LOSE_PLACE
    s.orders[order].lots = record.lots
    join(s, order, side, record.tick)
    return n


@jit
def _modify(s, out, n, record, k, order):
    row = s.orders[order]
    if order < 0:
        order = remember(s, k, record.id)
        s.repairs[_ADDED] += 1
        return _add(s, out, n, record, order, record.side, _INFERRED)
    if row.lots == 0:
        # Filled as far as it showed, and shown anew: an iceberg's next slice.
        return _add(s, out, n, record, order, s.levels[row.level].side, _OBSERVED)
    if record.lots == 0:
        n = _take(s, out, n, record, order, row.lots, _OBSERVED)
        forget(s, order)
        return n
    if record.tick != s.levels[row.level].tick or record.lots > row.lots:
        return _move(s, out, n, record, order)
    n = _write(out, n, record, _REPLACED, row.engine_id, _OBSERVED)
    out[n - 1].price_tick, out[n - 1].lots = record.tick, record.lots
    row.lots = record.lots
    return n


@jit
def _await(s, order, lots, time_ns):
    """A fill that is to be said again, as a cancel or change of the same time."""
    if s.orders[order].awaited == 0:
        s.awaited[s.scalars[_AWAITED]] = order
        s.scalars[_AWAITED] += 1
    s.scalars[_AWAITED_NS] = time_ns
    s.orders[order].awaited += lots


@jit
def _stop_awaiting(s):
    """Time went on: fills that were not said again never will be."""
    for k in range(s.scalars[_AWAITED]):
        order = s.awaited[k]
        if s.orders[order].live and s.orders[order].awaited > 0:
            s.repairs[_NO_CANCEL] += 1
            s.orders[order].awaited = 0
            if s.orders[order].lots == 0:
                forget(s, order)
    s.scalars[_AWAITED] = 0


@jit
def _blocker(s, record, order):
    """The order that must be gone before the engine does what a record says, -1 if there is none:
    the first in line before another's execution, or the best one opposite of what would cross."""
    if s.scalars[_AUCTION]:
        return -1
    if record.op in (_EXECUTE, _FILL):
        if order < 0 or s.orders[order].lots == 0:
            return -1
        head = s.levels[best(s, s.levels[s.orders[order].level].side)].head
        return head if head != order else -1
    if record.op not in (_ADD, _REPLACE, _MODIFY) or (order < 0 and record.op == _REPLACE):
        return -1
    side = record.side if order < 0 else s.levels[s.orders[order].level].side
    if side > 1 or not would_cross(s, side, record.tick):
        return -1
    return s.levels[best(s, 1 - side)].head


@jit
def _turn_to_come(records, i, order_id):
    """The record behind record i that fills an order in the same trade, or that takes it off at
    the same time; 0 if there is none."""
    executes = records[i].op in (_EXECUTE, _FILL)
    for j in range(i + 1, min(records.size, i + _LOOK_AHEAD)):
        if records[j].time_ns != records[i].time_ns:
            break
        if records[j].id == order_id:
            if executes and records[j].op in (_EXECUTE, _FILL):
                return j if records[j].other == records[i].other else 0
            return j if records[j].op in (_TAKE_OFF, _DELETE) else 0
    return 0


@jit
def _bring_forward(records, i, j):
    moved = records[j : j + 1].copy()
    for k in range(j, i, -1):
        records[k] = records[k - 1]
    records[i] = moved[0]


@jit
def _weigh(s, record, order):
    """What a record comes to, its lots as far as they are there, and its fate or fault."""
    op, lots = record.op, record.lots
    if op == _ADD:
        if order >= 0 and s.orders[order].lots > 0:
            return _IS_WRONG, lots, _DUPLICATE
        return _SAYS, lots, _USED
    if order < 0:
        if op == _MODIFY and lots > 0 and record.side <= 1:
            return _SAYS, lots, _USED
        return _SAYS_NOTHING, lots, _UNKNOWN_EXECUTED if op >= _EXECUTE else _UNKNOWN
    row = s.orders[order]
    if op >= _EXECUTE:
        if op >= _FILL:
            _await(s, order, lots, record.time_ns)
        if lots > row.lots:
            s.repairs[_TOO_MANY] += 1
            lots = row.lots
        if lots == 0:
            return _SAYS_NOTHING, lots, _USED
        side = s.levels[row.level].side
        in_turn = not s.scalars[_AUCTION] and s.levels[best(s, side)].head == order
        return _TAKES if op in (_EXECUTE, _FILL) and in_turn else _SAYS, lots, _USED
    if op == _MODIFY:
        if record.side <= 1 and s.levels[row.level].side != record.side:
            return _IS_WRONG, lots, _OTHER_SIDE
        was_awaited = row.awaited > 0
        row.awaited = 0
        if lots == 0 and row.lots == 0:
            forget(s, order)
            return _SAYS_NOTHING, lots, _IMPLIED
        if lots == row.lots and record.tick == s.levels[row.level].tick:
            return _SAYS_NOTHING, lots, _IMPLIED if was_awaited else _UNCHANGED
    elif op == _TAKE_OFF:
        implied = min(lots, row.awaited)
        row.awaited -= implied
        lots -= implied
        if row.lots == 0 or (lots == 0 and implied > 0):
            if row.lots == 0 and row.awaited == 0:
                forget(s, order)
            return _SAYS_NOTHING, lots, _IMPLIED
        if lots > row.lots:
            s.repairs[_TOO_MANY] += 1
    return _SAYS, row.lots if op == _DELETE else lots, _USED


@jit
def _end_taker(s, out, n, records, after, i):
    """The aggressive order that record i is no part of, as a message."""
    taker = s.taker
    n = _write(out, n, records[taker[_FIRST]], _LIMIT, own_id(s), _OBSERVED)
    message = out[n - 1]
    message.side, message.tif = taker[_SIDE], _IOC
    message.price_tick, message.lots = taker[_TICK], taker[_LOTS]
    after[taker[_LAST] : i] = n
    taker[_LOTS] = 0
    return n


@jit
def _execute(s, record, order, lots, after, i):
    """One more execution of the open aggressive order, or the first of a new one."""
    taker, row = s.taker, s.orders[order]
    if taker[_LOTS] == 0:
        taker[_FIRST] = i
        taker[_SIDE] = 1 - s.levels[row.level].side
        taker[_NAME], taker[_TIME_NS] = record.other, record.time_ns
    else:
        after[taker[_LAST] : i] = -1
    taker[_LAST], taker[_MAKER] = i, order
    taker[_LOTS] += lots
    taker[_TICK] = s.levels[row.level].tick
    row.lots -= lots
    if row.lots == 0:
        leave(s, order)
        if row.awaited == 0:
            forget(s, order)


@jit
def _say(s, out, n, record, k, order, lots):
    """The message of a record that is no execution in turn; minus its fault, if it has one."""
    op = record.op
    if op == _ADD:
        if order < 0:
            order = remember(s, k, record.id)
        s.orders[order].awaited = 0
        return _add(s, out, n, record, order, record.side, record.origin)
    if op == _MODIFY:
        return _modify(s, out, n, record, k, order)
    if op == _REPLACE:
        n = _move(s, out, n, record, order)
        forget_place(s.orders, s.id_table, k)
        to = find_order(s.orders, s.id_table, record.other)
        if s.id_table[to] >= 0:
            return -_DUPLICATE
        s.orders[order].id = record.other
        s.id_table[to] = order
        return n
    origin = _OBSERVED
    if op == _WITHDRAW:
        s.repairs[_WITHDRAWN] += 1
    elif op >= _EXECUTE:
        origin = _INFERRED
        printed = op in (_EXECUTE, _FILL) and not s.scalars[_AUCTION]
        s.repairs[_OUT_OF_TURN if printed else _CROSSED] += 1
    n = _take(s, out, n, record, order, lots, origin)
    if s.orders[order].lots == 0 and s.orders[order].awaited == 0:
        forget(s, order)
    return n


def _fingerprint() -> int:
    """63 bits that name the compiled sources: Numba's cache looks at one file only."""
    digest = hashlib.sha256()
    for file in (__file__, order_queues.__file__):
        digest.update(Path(file).read_bytes())
    return int.from_bytes(digest.digest()[:8], "little") >> 1


def _entry_points(sources: int):
    @njit(cache=True, nogil=True, error_model="numpy")
    def run(records, s, out, after, fate):
        """Execute records; returns how many rows of `out` it wrote, and the record at fault with
        its Fault (or 0). `with_room` has made room, `out` holds 4 rows a record and one more.

        Venues list the fills of one trade in an order of their own, and cancels behind the fills
        they made way for (self-match prevention): `records` are put into the order of the queue.
        """
        _ = sources
        taker = s.taker
        taker[_LOTS] = 0
        n, i, early = 0, 0, False
        while i < records.size:
            record = records[i]
            if s.scalars[_AWAITED] > 0 and record.time_ns != s.scalars[_AWAITED_NS]:
                _stop_awaiting(s)
            k = find_order(s.orders, s.id_table, record.id)
            order = s.id_table[k]
            if not early:
                blocker = _blocker(s, record, order)
                if blocker >= 0 and s.orders[blocker].awaited == 0:
                    j = _turn_to_come(records, i, s.orders[blocker].id)
                    if j > 0:
                        # What comes forward is worked off in this place, and this record after it.
                        _bring_forward(records, i, j)
                        early = records[i].op in (_TAKE_OFF, _DELETE)
                        s.repairs[_EARLY] += early
                        continue
            verdict, lots, fate[i] = _weigh(s, record, order)
            if verdict == _IS_WRONG:
                return n, i, fate[i]
            if verdict == _SAYS_NOTHING:
                after[i] = n
                i += 1
                continue
            # An aggressive order ends before whatever is not its next execution. What only makes
            # way for it goes before it, but not a cancel of what it left of its last maker.
            its = record.time_ns == taker[_TIME_NS] and record.other == taker[_NAME]
            goes_on = (
                (early and order != taker[_MAKER])
                or (record.op == _WITHDRAW and its)
                or (
                    verdict == _TAKES
                    and its
                    and s.levels[s.orders[order].level].side != taker[_SIDE]
                    and taker[_LOTS] + lots <= MAX_LOTS
                )
            )
            early = False
            if taker[_LOTS] > 0 and not goes_on:
                n = _end_taker(s, out, n, records, after, i)
            if verdict == _TAKES:
                _execute(s, record, order, lots, after, i)
            else:
                n = _say(s, out, n, record, k, order, lots)
                if n < 0:
                    return 0, i, -n
            if s.scalars[_AUCTION] and not is_crossed(s):
                s.scalars[_AUCTION] = 0
                n = _write(out, n, record, _TO_UNCROSS, 0, _INFERRED)
            after[i] = n
            i += 1
        if taker[_LOTS] > 0:
            n = _end_taker(s, out, n, records, after, i)
        return n, 0, 0

    @njit(cache=True, nogil=True, error_model="numpy")
    def clear(records, s, out):
        """Cancel everything that rests, because of the first record; returns how many rows of
        `out` that took."""
        _ = sources
        n = 0
        for order in range(s.scalars[_ROWS]):
            if not s.orders[order].live:
                continue
            if s.orders[order].lots > 0:
                n = _take(s, out, n, records[0], order, s.orders[order].lots, _INFERRED)
                s.repairs[_CLEARED] += 1
            forget(s, order)
        if s.scalars[_AUCTION]:
            s.scalars[_AUCTION] = 0
            n = _write(out, n, records[0], _TO_UNCROSS, 0, _INFERRED)
        return n

    return run, clear


run, clear = _entry_points(_fingerprint())

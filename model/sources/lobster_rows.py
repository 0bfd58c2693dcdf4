"""LOBSTER's numbers turned into nanoseconds, ticks and lots, each row held against its format.

Knows what one row may hold by itself; what may follow it is `lobster_window`'s business.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, MAX_LOTS, MAX_TICK
from mtsim.model.sources.base import OWN_IDS

ADD, REDUCE, DELETE, EXECUTE, EXECUTE_HIDDEN, CROSS, HALT = range(1, 8)

# The prices of a halt marker.
HALTED, QUOTING, TRADING = -1, 0, 1

# Rows are read with 12 digits of a second: LOBSTER gives 9, and now and then a float's last bits.
TIME_DIGITS = 12
_NS = 10 ** (TIME_DIGITS - 9)
_DAY_NS = 86_400 * 10**9

# A level that is not there: this price (bids: its negative) with size 0.
DUMMY_PRICE = 9_999_999_999

_MAX_TICK, _MAX_LOTS, _OWN_IDS = int(MAX_TICK), int(MAX_LOTS), OWN_IDS
_EMPTY_BID, _EMPTY_ASK = int(EMPTY_BID), int(EMPTY_ASK)

RULES = {
    1: "time is not within the day, at or after the session's start",
    2: "time goes back",
    3: "type must be from 1 to 7",
    4: "direction must be 1 or -1",
    5: "size must be positive",
    6: "size is not a whole number of lots, or more than an order can have",
    7: "order id must be positive",
    8: "price must be positive",
    9: "price is off the tick grid",
    10: "price is beyond the highest tick",
    11: "price of a halt marker must be -1, 0 or 1",
    20: "a level's size must be positive",
    21: "a level follows one that is not there",
    22: "prices of a side must get worse from level to level",
}
"""What `clean_messages` and `clean_books` hold against a row, by the code they give."""


class Messages(NamedTuple):
    """Columns of message rows, int64. Of types that no book executes, `tick` is the bare price."""

    time_ns: np.ndarray
    type: np.ndarray
    order_id: np.ndarray
    lots: np.ndarray
    tick: np.ndarray
    side: np.ndarray
    """Of the resting order: 0 a bid, 1 an ask."""


@njit(cache=True, nogil=True, error_model="numpy", no_rewrites=True, _nrt=False)
def clean_messages(raw, start_ns, last_ns, tick_units, lot_units, out):
    """Convert rows of (time, type, id, size, price, direction, ...) into the columns `out`.

    Returns (row, rule, rounded): the first row that breaks a rule, -1 if none does; and how many
    times were rounded to a nanosecond. `last_ns` is the time of the row before.
    """
    rounded = 0
    time_ns, type_, order_id, lots, tick, side = out
    for i in range(len(raw)):
        time, kind, id_ = raw[i, 0], raw[i, 1], raw[i, 2]
        size, price, direction = raw[i, 3], raw[i, 4], raw[i, 5]
        ns = (time + _NS // 2) // _NS
        rounded += ns * _NS != time
        ns -= start_ns
        if ns < 0 or ns + start_ns >= _DAY_NS:
            return i, 1, rounded
        if ns < last_ns:
            return i, 2, rounded
        last_ns = ns
        time_ns[i] = ns
        if kind < ADD or kind > HALT:
            return i, 3, rounded
        type_[i], order_id[i], tick[i], lots[i] = kind, id_, price, size
        if direction != 1 and direction != -1:
            return i, 4, rounded
        side[i] = direction < 0
        if kind == HALT:
            if price < HALTED or price > TRADING:
                return i, 11, rounded
            continue
        if size <= 0:
            return i, 5, rounded
        # Hidden executions may be at half a cent, crosses have no order: both are only counted.
        if kind >= EXECUTE_HIDDEN:
            continue
        if size % lot_units != 0 or size // lot_units > _MAX_LOTS:
            return i, 6, rounded
        if id_ <= 0 or id_ >= _OWN_IDS:
            return i, 7, rounded
        if price <= 0:
            return i, 8, rounded
        if price % tick_units != 0:
            return i, 9, rounded
        if price // tick_units > _MAX_TICK:
            return i, 10, rounded
        tick[i] = price // tick_units
        lots[i] = size // lot_units
    return -1, 0, rounded


@njit(cache=True, nogil=True, error_model="numpy", no_rewrites=True, _nrt=False)
def clean_books(cells, tick_units, lot_units, tick, lots):
    """Convert rows of (ask price, ask size, bid price, bid size) x L into `tick` and `lots`.

    Both are [n, 2, L], bids first, best first; an empty level has 0 lots at an empty side's touch.

    Returns (row, rule, level, side) of the first cell that breaks a rule; row -1 if none does.
    """
    n, _, levels = tick.shape
    for i in range(n):
        for side in range(2):
            empty = False
            before = np.int64(0)
            for level in range(levels):
                at = 4 * level + 2 * (1 - side)
                price, size = cells[i, at], cells[i, at + 1]
                if size == 0 and price == (DUMMY_PRICE if side else -DUMMY_PRICE):
                    empty = True
                    tick[i, side, level] = _EMPTY_ASK if side else _EMPTY_BID
                    lots[i, side, level] = 0
                    continue
                if size <= 0:
                    return i, 20, level, side
                if empty:
                    return i, 21, level, side
                if i > 0 and price == cells[i - 1, at] and size == cells[i - 1, at + 1]:
                    # As in most rows at most levels: this spares two divisions.
                    tick[i, side, level] = tick[i - 1, side, level]
                    lots[i, side, level] = lots[i - 1, side, level]
                else:
                    if size % lot_units != 0:
                        return i, 6, level, side
                    if price <= 0:
                        return i, 8, level, side
                    if price % tick_units != 0:
                        return i, 9, level, side
                    if price // tick_units > _MAX_TICK:
                        return i, 10, level, side
                    tick[i, side, level] = price // tick_units
                    lots[i, side, level] = size // lot_units
                if level > 0 and (price <= before if side else price >= before):
                    return i, 22, level, side
                before = price
    return -1, 0, 0, 0

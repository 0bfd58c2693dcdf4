"""ITCH 5.0 messages in compiled code: bytes in, order records out.

Knows the messages of the protocol and the frames they come in (length-prefixed, MoldUDP64); knows
no file and no symbol, only the stock's locate code.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit

from mtsim.model.sources.ledger_records import NO_SIDE, Op

LENGTHS = {
    "S": 12,
    "R": 39,
    "H": 25,
    "Y": 20,
    "L": 26,
    "V": 35,
    "W": 12,
    "K": 28,
    "J": 35,
    "h": 21,
    "O": 48,
    "A": 36,
    "F": 40,
    "E": 31,
    "C": 36,
    "X": 23,
    "D": 19,
    "U": 35,
    "P": 44,
    "Q": 40,
    "B": 19,
    "I": 50,
    "N": 20,
}
"""The bytes of a message by its type, its first byte."""

STOCK_AT = {"R": 11, "H": 11, "Y": 11, "L": 15, "K": 11, "J": 11, "h": 11, "O": 11} | {
    "A": 24,
    "F": 24,
    "P": 24,
    "Q": 19,
    "I": 28,
    "N": 11,
}
"""Where the eight letters of the stock stand in the types that name it."""


class Fault(IntEnum):
    """Why bytes are no messages."""

    NONE = 0
    TYPE = 1
    LENGTH = 2
    BLOCK = 3
    SIDE = 4
    LOTS = 5
    GRID = 6
    TIME = 7
    PRICE = 8


FAULTS = {
    Fault.TYPE: "no message of ITCH 5.0 has this type",
    Fault.LENGTH: "a message has not the length of its type",
    Fault.BLOCK: "a message runs past the end of its packet",
    Fault.SIDE: "an order is neither a buy (B) nor a sell (S)",
    Fault.LOTS: "the shares are no whole number of lots from 1 to 2^30",
    Fault.GRID: "the price is not on the grid of the tick size",
    Fault.TIME: "the time goes back, or past the end of the day",
    Fault.PRICE: "the price is out of range",
}

_LENGTH = np.zeros(256, np.int64)
_STOCK = np.full(256, -1, np.int64)
for _letter, _bytes in LENGTHS.items():
    _LENGTH[ord(_letter)] = _bytes
for _letter, _at in STOCK_AT.items():
    _STOCK[ord(_letter)] = _at

_A, _F, _E, _C, _X, _D, _U, _R = (ord(letter) for letter in "AFECXDUR")
_ADD, _CANCEL, _DELETE = int(Op.ADD), int(Op.CANCEL), int(Op.DELETE)
_REPLACE, _FILL, _MATCH = int(Op.REPLACE), int(Op.FILL), int(Op.MATCH)
_TYPE, _WRONG_LENGTH, _BLOCK, _SIDE, _LOTS, _GRID, _TIME, _PRICE = range(1, 9)
_BUY, _SELL, _NOT_PRINTED = ord("B"), ord("S"), ord("N")
_DAY_NS = 86_400 * 10**9
_CENT = 100  # in units of prices

_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _u16(data, at):
    return (np.int64(data[at]) << 8) | np.int64(data[at + 1])


@_jit
def _u32(data, at):
    return (_u16(data, at) << 16) | _u16(data, at + 2)


@_jit
def _u64(data, at):
    # Beyond 2^63 an id comes out negative; it is only a name.
    return (_u32(data, at) << 32) | _u32(data, at + 4)


@_jit
def frame_messages(data, at_end, starts):
    """Where the messages of a length-prefixed file start; how many, the bytes that are done with,
    a Fault. A message that `data` ends inside is left for the next time, unless it is the last.

    A length of 0 with a message behind it is as long as its type says (some files are written so);
    at the end of the file it says that the session is over.
    """
    at, n = 0, 0
    while at + 2 < data.size and n < starts.size:
        length = _u16(data, at)
        expected = _LENGTH[data[at + 2]]
        if expected == 0:
            return n, at, _TYPE
        if length not in (0, expected):
            return n, at, _WRONG_LENGTH
        if at + 2 + expected > data.size:
            break
        starts[n] = at + 2
        n += 1
        at += 2 + expected
    if at_end and n < starts.size and at + 2 == data.size and _u16(data, at) == 0:
        at += 2
    return n, at, 0


@_jit
def count_types(data, starts, counted):
    """Count the messages by their first byte."""
    for k in range(starts.size):
        counted[data[starts[k]]] += 1


@_jit
def find_stocks(data, starts, named, names, ordered):
    """Note which locates there are (`named` 1, or 2 with the stock's 8 letters in `names`), and
    which have orders (`ordered` 1, or 2 where an order's price is no whole cent); returns whether
    there was a stock directory message, and a message of an order."""
    directory, orders = False, False
    for k in range(starts.size):
        at = starts[k]
        letter = data[at]
        locate = _u16(data, at + 1)
        stock_at = _STOCK[letter]
        directory |= letter == _R
        orders |= letter in (_A, _F, _E, _C, _X, _D, _U)
        if locate == 0:
            continue
        if letter in (_A, _F, _E, _C, _X, _D, _U):
            price = np.int64(0)
            if letter in (_A, _F):
                price = _u32(data, at + 32)
            elif letter == _U:
                price = _u32(data, at + 31)
            if price % _CENT != 0:
                ordered[locate] = 2
            elif ordered[locate] == 0:
                ordered[locate] = 1
        if stock_at >= 0:
            named[locate] = 2
            for j in range(8):
                names[locate, j] = data[at + stock_at + j]
        elif named[locate] == 0:
            named[locate] = 1
    return directory, orders


@_jit
def decode(data, offset, starts, locate, units, lot, clock, records, others, prices):
    """The order records of one stock; how many, the message at fault and its Fault.

    `units` are the 1e-4 units of a tick, `lot` the shares of a lot; `clock[0]` is the time of the
    last message of the stock. Counted: in `others`, by type, messages of this stock and of the
    whole market that say nothing of a resting order; in `prices`, executions at another price than
    the order's (C), and those that are not printed because they are part of a cross.
    """
    n = 0
    for k in range(starts.size):
        at = starts[k]
        letter = data[at]
        mine = _u16(data, at + 1)
        if mine != locate:
            if mine == 0:
                others[letter] += 1
            continue
        time_ns = (_u16(data, at + 5) << 32) | _u32(data, at + 7)
        if time_ns < clock[0] or time_ns >= _DAY_NS:
            return n, k, _TIME
        clock[0] = time_ns
        record = records[n]
        record.time_ns, record.row, record.side = time_ns, offset + at, NO_SIDE
        record.other, record.origin, record.lots, record.tick = 0, 0, 0, 0
        shares, price, id_at = np.int64(lot), np.int64(-1), 11
        if letter in (_A, _F):
            if data[at + 19] not in (_BUY, _SELL):
                return n, k, _SIDE
            record.op, record.side = _ADD, 1 if data[at + 19] == _SELL else 0
            shares, price = _u32(data, at + 20), _u32(data, at + 32)
        elif letter in (_E, _C):
            record.op, shares = _FILL, _u32(data, at + 19)
            if letter == _C:
                if data[at + 31] == _NOT_PRINTED:
                    record.op = _MATCH
                    prices[1] += 1
                else:
                    prices[0] += 1
        elif letter == _X:
            record.op, shares = _CANCEL, _u32(data, at + 19)
        elif letter == _D:
            record.op = _DELETE
        elif letter == _U:
            record.op, record.other, id_at = _REPLACE, _u64(data, at + 11), 19
            shares, price = _u32(data, at + 27), _u32(data, at + 31)
        else:
            others[letter] += 1
            continue
        if shares < 1 or shares % lot != 0 or shares // lot > 2**30:
            return n, k, _LOTS
        if price >= 0:
            if price % units != 0:
                return n, k, _GRID
            if price // units > 2**30:
                return n, k, _PRICE
            record.tick = price // units
        record.id, record.lots = _u64(data, at + id_at), shares // lot
        n += 1
    return n, 0, 0

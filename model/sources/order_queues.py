"""The queues of a feed's orders, in compiled code: who rests where, and who is first in line.

Every order is a row of `orders`, linked to its neighbours in its level; ids and prices find rows
through open-addressed tables; a heap on each side finds the best level. Levels are never
forgotten, so memory grows with the orders that rest and with the prices ever seen. Knows no record
and no message.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.model.sources.base import OWN_IDS
from mtsim.model.sources.order_records import Repair


class Scalar(IntEnum):
    """Places in `State.scalars`."""

    ROWS = 0
    """Rows of `orders` ever used."""
    FREE = 1
    """The first free row among them, -1 for none; `next` leads on."""
    LIVE = 2
    """Orders known: resting, or filled and awaiting the cancel that says so."""
    LEVELS = 3
    HEAP_BID = 4
    HEAP_ASK = 5
    OWN = 6
    """Ids of our own given away."""
    AUCTION = 7
    AWAITED = 8
    AWAITED_NS = 9


class Taker(IntEnum):
    """Places in `State.taker`, the aggressive order whose executions are being read."""

    LOTS = 0
    """0: there is none."""
    SIDE = 1
    TICK = 2
    """The worst so far."""
    NAME = 3
    TIME_NS = 4
    FIRST = 5
    """The records of its first and its last execution."""
    LAST = 6
    MAKER = 7
    """The row of the order it hit last."""


_ORDER_DTYPE = np.dtype(
    [
        ("id", "<i8"),
        ("engine_id", "<i8"),
        ("level", "<i4"),
        ("lots", "<i4"),
        ("next", "<i4"),
        ("previous", "<i4"),
        ("awaited", "<i4"),
        ("live", "<i4"),
    ]
)
_LEVEL_DTYPE = np.dtype(
    [("tick", "<i4"), ("side", "<i4"), ("head", "<i4"), ("tail", "<i4"), ("in_heap", "<i4")]
)

_MIX = np.uint64(0x9E3779B97F4A7C15)


class State(NamedTuple):
    """Everything that rests. The tables hold rows, -1 where they hold none."""

    orders: np.ndarray
    levels: np.ndarray
    id_table: np.ndarray
    level_table: np.ndarray
    heaps: np.ndarray  # int32 [2, levels]
    awaited: np.ndarray  # int32, rows whose fill is to be said again
    scalars: np.ndarray  # int64 [len(Scalar)]
    taker: np.ndarray  # int64 [len(Taker)]
    repairs: np.ndarray  # int64 [len(Repair)]


def empty_state() -> State:
    scalars = np.zeros(len(Scalar), np.int64)
    scalars[Scalar.FREE] = -1
    return State(
        np.zeros(0, _ORDER_DTYPE),
        np.zeros(0, _LEVEL_DTYPE),
        np.full(16, -1, np.int32),
        np.full(16, -1, np.int32),
        np.zeros((2, 0), np.int32),
        np.zeros(0, np.int32),
        scalars,
        np.zeros(len(Taker), np.int64),
        np.zeros(len(Repair), np.int64),
    )


def with_room(state: State, n: int) -> State:
    """A state in which `n` records find room."""
    needed = int(state.scalars[Scalar.ROWS]) + n
    if needed > len(state.orders):
        rows = 1 << needed.bit_length()
        orders = _grown(state.orders, rows)
        id_table = np.full(4 * rows, -1, np.int32)
        _index_orders(orders, int(state.scalars[Scalar.ROWS]), id_table)
        state = state._replace(orders=orders, id_table=id_table)
    needed = int(state.scalars[Scalar.AWAITED]) + n
    if needed > len(state.awaited):
        state = state._replace(awaited=_grown(state.awaited, 1 << needed.bit_length()))
    needed = int(state.scalars[Scalar.LEVELS]) + n
    if needed > len(state.levels):
        rows = 1 << needed.bit_length()
        levels = _grown(state.levels, rows)
        level_table = np.full(4 * rows, -1, np.int32)
        _index_levels(levels, int(state.scalars[Scalar.LEVELS]), level_table)
        heaps = np.zeros((2, rows), np.int32)
        heaps[:, : state.heaps.shape[1]] = state.heaps
        state = state._replace(levels=levels, level_table=level_table, heaps=heaps)
    return state


def _grown(array: np.ndarray, rows: int) -> np.ndarray:
    grown = np.zeros(rows, array.dtype)
    grown[: len(array)] = array
    return grown


jit = njit(cache=True, nogil=True, error_model="numpy")

# The compiled code sees enums as integers.
_ROWS, _FREE, _LIVE, _LEVELS, _HEAP, _OWN = 0, 1, 2, 3, 4, 6


@jit
def _place(key, table):
    """Where an integer belongs in a table, if nothing else were there."""
    bits = np.uint64(key) * _MIX
    return np.int64((bits ^ (bits >> np.uint64(32))) & np.uint64(table.size - 1))


@jit
def find_order(orders, table, order_id):
    """The place of an order's row in the table, or of the free place where it would go."""
    k = _place(order_id, table)
    while table[k] >= 0 and orders[table[k]].id != order_id:
        k = (k + 1) & (table.size - 1)
    return k


@jit
def forget_place(orders, table, k):
    """Empty place k, and close the gap in the run of places behind it."""
    hole, j = k, k
    while True:
        j = (j + 1) & (table.size - 1)
        if table[j] < 0:
            break
        home = _place(orders[table[j]].id, table)
        if ((j - home) & (table.size - 1)) >= ((j - hole) & (table.size - 1)):
            table[hole] = table[j]
            hole = j
    table[hole] = -1


@jit
def _index_orders(orders, n_rows, table):
    for row in range(n_rows):
        if orders[row].live:
            table[find_order(orders, table, orders[row].id)] = row


@jit
def _find_level(levels, table, side, tick):
    k = _place(2 * np.int64(tick) + side, table)
    while table[k] >= 0 and (levels[table[k]].tick != tick or levels[table[k]].side != side):
        k = (k + 1) & (table.size - 1)
    return k


@jit
def _index_levels(levels, n_levels, table):
    for row in range(n_levels):
        table[_find_level(levels, table, levels[row].side, levels[row].tick)] = row


@jit
def _rank(levels, row):
    """Lower is better, on either side."""
    return -levels[row].tick if levels[row].side == 0 else levels[row].tick


@jit
def _push(s, row):
    levels, side = s.levels, s.levels[row].side
    heap, size = s.heaps[side], _HEAP + side
    k = s.scalars[size]
    s.scalars[size] += 1
    levels[row].in_heap = 1
    while k > 0:
        parent = (k - 1) >> 1
        if _rank(levels, heap[parent]) <= _rank(levels, row):
            break
        heap[k] = heap[parent]
        k = parent
    heap[k] = row


@jit
def _pop(s, side):
    heap, levels = s.heaps[side], s.levels
    levels[heap[0]].in_heap = 0
    s.scalars[_HEAP + side] -= 1
    size = s.scalars[_HEAP + side]
    if size == 0:
        return
    row, k = heap[size], 0
    while 2 * k + 1 < size:
        child = 2 * k + 1
        if child + 1 < size and _rank(levels, heap[child + 1]) < _rank(levels, heap[child]):
            child += 1
        if _rank(levels, row) <= _rank(levels, heap[child]):
            break
        heap[k] = heap[child]
        k = child
    heap[k] = row


@jit
def best(s, side):
    """The best level of a side that holds an order, -1 if none does."""
    while s.scalars[_HEAP + side] > 0:
        row = s.heaps[side, 0]
        if s.levels[row].head >= 0:
            return row
        # Levels that emptied stay in the heap until they come to its top.
        _pop(s, side)
    return -1


@jit
def is_crossed(s):
    bid, ask = best(s, 0), best(s, 1)
    return bid >= 0 and ask >= 0 and s.levels[bid].tick >= s.levels[ask].tick


@jit
def would_cross(s, side, tick):
    row = best(s, 1 - side)
    if row < 0:
        return False
    return tick >= s.levels[row].tick if side == 0 else tick <= s.levels[row].tick


@jit
def join(s, order, side, tick):
    """Put an order at the back of the queue at a price."""
    orders, levels = s.orders, s.levels
    k = _find_level(levels, s.level_table, side, tick)
    row = s.level_table[k]
    if row < 0:
        row = s.scalars[_LEVELS]
        s.scalars[_LEVELS] += 1
        s.level_table[k] = row
        levels[row].tick, levels[row].side = tick, side
        levels[row].head, levels[row].tail, levels[row].in_heap = -1, -1, 0
    orders[order].level = row
    orders[order].next, orders[order].previous = -1, levels[row].tail
    if levels[row].tail >= 0:
        orders[levels[row].tail].next = order
    else:
        levels[row].head = order
        if not levels[row].in_heap:
            _push(s, row)
    levels[row].tail = order


@jit
def leave(s, order):
    """Take an order out of its queue."""
    orders, levels = s.orders, s.levels
    row, before, behind = orders[order].level, orders[order].previous, orders[order].next
    if before >= 0:
        orders[before].next = behind
    else:
        levels[row].head = behind
    if behind >= 0:
        orders[behind].previous = before
    else:
        levels[row].tail = before


@jit
def forget(s, order):
    """Give an order's row back; it has left its queue."""
    forget_place(s.orders, s.id_table, find_order(s.orders, s.id_table, s.orders[order].id))
    s.orders[order].live = 0
    s.orders[order].awaited = 0
    s.orders[order].next = s.scalars[_FREE]
    s.scalars[_FREE] = order
    s.scalars[_LIVE] -= 1


@jit
def own_id(s):
    s.scalars[_OWN] += 1
    return OWN_IDS + s.scalars[_OWN] - 1


@jit
def remember(s, k, order_id):
    """A row for an order, under place k of the id table."""
    row = s.scalars[_FREE]
    if row >= 0:
        s.scalars[_FREE] = s.orders[row].next
    else:
        row = s.scalars[_ROWS]
        s.scalars[_ROWS] += 1
    s.scalars[_LIVE] += 1
    s.id_table[k] = row
    order = s.orders[row]
    order.id = order_id
    # Some feeds have ids that the engine refuses (0), or that could be taken for our own.
    order.engine_id = order_id if 1 <= order_id < OWN_IDS else own_id(s)
    order.awaited, order.live, order.lots = 0, 1, 0
    return row

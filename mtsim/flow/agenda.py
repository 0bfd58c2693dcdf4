"""What is due when, compiled: a heap of (time, order id) in one row of a flow's state.

The row is one of `state_i`: HEADER words, of which those from OWN on are the flow's own, then as
many pairs as fit. Ties go by the id, so that the order of leaving depends on what is in the heap
alone, not on how it came there.
"""

import numpy as np

from mtsim.engine.ladder import U, hot
from mtsim.flow.base import ROOM

COUNT = 1
OWN = 2
HEADER = 8

_FIRST_ROOM = 256


def new_rows(n_worlds: int) -> np.ndarray:
    """Empty agendas, one a row."""
    rows = np.zeros((n_worlds, HEADER + 2 * _FIRST_ROOM), np.int64)
    rows[:, ROOM] = _FIRST_ROOM
    return rows


def grown(rows: np.ndarray) -> np.ndarray:
    """The same agendas with twice the room."""
    room = (rows.shape[1] - HEADER) // 2
    wider = np.zeros((len(rows), HEADER + 4 * room), np.int64)
    wider[:, : rows.shape[1]] = rows
    wider[:, ROOM] += room
    return wider


@hot
def add_due(row, time_ns, order_id):
    """Put an entry in. The caller has seen to it that there is room."""
    hole = row[U(COUNT)]
    row[U(COUNT)] = hole + 1
    row[U(ROOM)] -= 1
    # Four children a parent: half the levels of a binary heap, and each in one or two cache lines.
    while hole > 0:
        parent = (hole - 1) >> 2
        word = HEADER + 2 * parent
        parent_ns = row[U(word)]
        if parent_ns < time_ns or (parent_ns == time_ns and row[U(word + 1)] <= order_id):
            break
        row[U(HEADER + 2 * hole)] = parent_ns
        row[U(HEADER + 2 * hole + 1)] = row[U(word + 1)]
        hole = parent
    row[U(HEADER + 2 * hole)] = time_ns
    row[U(HEADER + 2 * hole + 1)] = order_id


@hot
def take_due(row):
    """Take the earliest entry out; returns its order id. There must be one."""
    first = row[U(HEADER + 1)]
    count = row[U(COUNT)] - 1
    row[U(COUNT)] = count
    row[U(ROOM)] += 1
    last_ns = row[U(HEADER + 2 * count)]
    last_id = row[U(HEADER + 2 * count + 1)]
    hole = 0
    while True:
        child = 4 * hole + 1
        if child >= count:
            break
        least = child
        least_ns = row[U(HEADER + 2 * child)]
        least_id = row[U(HEADER + 2 * child + 1)]
        for other in range(child + 1, min(child + 4, count)):
            other_ns = row[U(HEADER + 2 * other)]
            other_id = row[U(HEADER + 2 * other + 1)]
            if other_ns < least_ns or (other_ns == least_ns and other_id < least_id):
                least = other
                least_ns = other_ns
                least_id = other_id
        if last_ns < least_ns or (last_ns == least_ns and last_id <= least_id):
            break
        row[U(HEADER + 2 * hole)] = least_ns
        row[U(HEADER + 2 * hole + 1)] = least_id
        hole = least
    if count > 0:
        row[U(HEADER + 2 * hole)] = last_ns
        row[U(HEADER + 2 * hole + 1)] = last_id
    return first

"""An agenda gives its entries back in the order of time, then of id."""

import heapq

from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from mtsim.flow import agenda
from mtsim.flow.agenda import COUNT, HEADER, add_due, take_due
from mtsim.flow.base import ROOM


@njit
def add(row, time_ns, order_id):
    add_due(row, time_ns, order_id)


@njit
def take(row):
    return take_due(row)


@given(st.lists(st.none() | st.tuples(st.integers(0, 20), st.integers(1, 2**40)), max_size=400))
def test_an_agenda_is_a_heap(steps):
    """None takes the earliest out; it grows whenever it is full."""
    rows, expected = agenda.new_rows(2)[:, : HEADER + 4].copy(), []
    rows[:, ROOM] = 2
    for step in steps:
        if step is not None:
            if rows[1, ROOM] == 0:
                rows = agenda.grown(rows)
            add(rows[1], *step)
            heapq.heappush(expected, step)
        elif expected:
            assert rows[1, HEADER] == expected[0][0]
            assert take(rows[1]) == heapq.heappop(expected)[1]
        assert rows[1, COUNT] == len(expected)
        assert HEADER + 2 * (rows[1, COUNT] + rows[1, ROOM]) == rows.shape[1]
    assert rows[0, COUNT] == 0

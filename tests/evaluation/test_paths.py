"""Where a tape's market was, on books of a handful of orders."""

import numpy as np
import pytest

from mtsim.engine.messages import MESSAGE_DTYPE
from mtsim.engine.units import Side
from mtsim.evaluation.paths import empty_side_ns, mid_x2_after, mid_x2_at
from tests.world.worlds import BUY, SELL, limit, make_world, rows, tape_of

NOTHING = np.zeros(0, MESSAGE_DTYPE)


def told(*timed: tuple[int, np.ndarray]):
    """The stream of a world in which only these messages happen, by an agent at these times."""
    world = make_world(opening=NOTHING, agents=1)
    for time_ns, message in timed:
        world.submit(0, 1, message, at_ns=time_ns)
    # The flow's first events come later than these nanoseconds.
    world.advance(100)
    return tape_of(world).stream()


STREAM = told(
    (10, limit(BUY, 99, lots=5)),
    (20, limit(SELL, 103, lots=5)),
    (30, rows({"side": BUY, "lots": 5})),
    (60, limit(SELL, 101, lots=5)),
)


def test_the_mid_is_that_after_all_that_happened_by_then():
    times = np.array([20, 29, 60, 99])
    assert mid_x2_at(STREAM, times).tolist() == [202, 202, 200, 200]


def test_while_a_side_is_empty_the_last_mid_is_kept():
    assert mid_x2_at(STREAM, np.array([30, 59])).tolist() == [202, 202]
    assert [mid_x2_after(STREAM, n) for n in range(5)] == [None, None, 202, 202, 200]


def test_before_there_was_a_mid_none_is_given():
    with pytest.raises(ValueError, match="no book with both sides"):
        mid_x2_at(STREAM, np.array([19]))


@pytest.mark.parametrize(
    ("side", "begin_ns", "end_ns", "expected"),
    [
        (Side.SELL, 0, 100, 20 + 30),
        (Side.BUY, 0, 100, 10),
        (Side.SELL, 35, 50, 15),
        (Side.SELL, 70, 100, 0),
        (Side.SELL, 50, 50, 0),
    ],
)
def test_how_long_a_side_is_empty(side, begin_ns, end_ns, expected):
    assert empty_side_ns(STREAM, side, begin_ns, end_ns) == expected

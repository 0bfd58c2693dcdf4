"""Fits of queue-reactive markets: rates that were there are found again."""

import numpy as np
import pytest

from mtsim.build.queue_events import levels_needed, queue_events
from mtsim.errors import UsageError
from mtsim.flow.fit_queue_reactive import QueueEvents, fit_queue_reactive
from mtsim.flow.queue_reactive import ADDED, CANCELLED, TAKEN, built_in
from tests.world.worlds import SECOND_NS, make_world, tape_of


@pytest.fixture(scope="module")
def events():
    """Three hours of the market that ships."""
    world = make_world(flow=built_in(100))
    world.advance(3 * 3600 * SECOND_NS)
    return queue_events([tape_of(world).events(0)], 5)


def test_rates_are_found_again_where_they_were_seen(events):
    """Events of Poisson processes: to within four and a half standard deviations, and 10 % where
    there were many."""
    truth = built_in()
    found = fit_queue_reactive(events, sizes=30)
    assert found.unit_lots == truth.unit_lots
    size = np.minimum(-(-events.queue_lots // truth.unit_lots), 30)
    seconds = events.seconds()
    many = 0
    for what in (ADDED, CANCELLED, TAKEN):
        for level in range(5):
            held = events.best_levels == level + 1 if what == TAKEN else np.ones_like(size[:, :, 0])
            for n in range(31):
                exposed = ((size[:, :, level] == n) * held * seconds[:, None]).sum()
                expected = truth.rates[what, level, n] * exposed
                if expected < 50:
                    continue
                off = found.rates[what, level, n] / truth.rates[what, level, n] - 1
                assert abs(off) < 4.5 / np.sqrt(expected)
                many += expected > 2_500
    assert many > 20


def test_nothing_leaves_an_empty_queue(events):
    assert not fit_queue_reactive(events).rates[CANCELLED:, :, 0].any()


def test_sizes_are_those_that_were_added(events):
    found = fit_queue_reactive(events)
    assert found.added.mean() == pytest.approx(built_in().added.mean(), rel=0.02)


def by_hand(**changes) -> QueueEvents:
    """On one level: added to an empty bid after 2 s, cancelled 4 s later, and an ask is taken."""
    columns = {
        "time_ns": np.array([0, 2, 6, 7]) * SECOND_NS,
        "what": np.array([ADDED, ADDED, CANCELLED, TAKEN]),
        "side": np.array([1, 0, 0, 1]),
        "level": np.ones(4, np.int64),
        "lots": np.array([2, 2, 2, 1]),
        "queue_lots": np.array([[[0], [0]], [[0], [2]], [[2], [2]], [[0], [3]]]),
        "best_levels": np.array([[0, 0], [0, 1], [1, 1], [0, 1]]),
        "opens": np.array([True, False, False, False]),
    }
    return QueueEvents(**{**columns, **changes})


def test_rates_are_events_over_seconds():
    found = fit_queue_reactive(by_hand(), sizes=2)
    assert found.unit_lots == 2
    # No bid for 3 s, and one of a unit for 4; an ask of one unit for 6, of two for one.
    assert found.rates[ADDED, 0, 0] == pytest.approx(1 / 3)
    assert found.rates[CANCELLED, 0, 1] == pytest.approx(1 / 10)
    assert found.rates[TAKEN, 0, 2] == pytest.approx(1)


def test_the_levels_that_hold_the_best_prices():
    assert levels_needed(np.array([1, 1]), np.ones(2)) == 4
    assert levels_needed(np.array([13, 1]), np.array([9.0, 1.0])) == 10
    assert levels_needed(np.array([500]), np.ones(1)) == 50


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(UsageError, match="additions and takers"):
        fit_queue_reactive(by_hand(what=np.full(4, CANCELLED)))
    with pytest.raises(UsageError, match="levels must be from 0 to 1"):
        by_hand(level=np.full(4, 2))
    with pytest.raises(UsageError, match="lots must have the shape"):
        by_hand(lots=np.ones(3))
    with pytest.raises(UsageError, match="nothing was done"):
        queue_events([], 5)
    with pytest.raises(UsageError, match="1 to 50 levels"):
        queue_events([], 51)

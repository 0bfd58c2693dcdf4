"""Fits of zero-intelligence markets: rates that were there are found again."""

from dataclasses import replace

import numpy as np
import pytest

from mtsim.errors import UsageError
from mtsim.flow.fit_zero_intelligence import as_json, fit_zero_intelligence, from_json
from mtsim.flow.placing import MARKET
from mtsim.flow.sizes import Sizes
from mtsim.flow.zero_intelligence import ZeroIntelligence
from tests.flow.hawkes_markets import events_of
from tests.world.worlds import SECOND_NS, make_world

TRUTH = ZeroIntelligence(1.5, 1.0, 0.2, 7, Sizes.constant(3), first_tick=100)


@pytest.fixture(scope="module")
def events():
    world = make_world(flow=TRUTH, opening=None)
    world.advance(1500 * SECOND_NS)
    return events_of(world)


def test_rates_are_found_again(events):
    found = fit_zero_intelligence(events)
    assert found.depth == TRUTH.depth
    assert found.add_rate == pytest.approx(TRUTH.add_rate, rel=0.05)
    assert found.market_rate == pytest.approx(TRUTH.market_rate, rel=0.1)
    assert found.cancel_rate == pytest.approx(TRUTH.cancel_rate, rel=0.05)
    # Takers of three lots that found fewer are in it.
    assert found.sizes.mean() == pytest.approx(3, rel=0.02)


def test_what_was_fitted_is_the_same_after_a_file(events):
    found = fit_zero_intelligence(events)
    again = from_json(as_json(found), first_tick=77)
    assert as_json(again) == as_json(found)
    assert again.first_tick == 77


def test_what_cannot_be_fitted_is_refused(events):
    with pytest.raises(UsageError, match="additions, cancels and market orders"):
        fit_zero_intelligence(replace(events, kind=np.full(len(events), MARKET)))
    with pytest.raises(UsageError, match="no lots rested"):
        fit_zero_intelligence(replace(events, resting_lots=np.zeros(len(events), np.int64)))

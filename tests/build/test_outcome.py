"""What is said of a run, held against the market itself."""

import pytest

from mtsim.build.outcome import outcome_of
from mtsim.build.plan import Plan
from mtsim.build.simulation import Simulation
from mtsim.engine.units import EMPTY_BID
from tests.build.small import BUYER, SECOND_NS, THIN_BIDS, resolved, simulated, stream


def market_at(time_ns: int) -> tuple[int, int]:
    """Bid and ask of the market left alone, after what happens at that time."""
    plan = Plan.of(resolved())
    alone = Simulation.begin(plan, plan.new_tape())
    alone.advance(time_ns)
    bid, ask = alone.world.touch()[0].tolist()
    return bid, ask


@pytest.mark.parametrize("latency", ["0s", "200us"])
@pytest.mark.parametrize("start_s", [10, 17])
def test_the_arrival_mid_is_that_before_the_parent_begins(start_s, latency):
    changes = (f"task.start={start_s}s", f"latency.median={latency}", "agent={policy: all_at_once}")
    parent = outcome_of(simulated(BUYER, overrides=changes))["parent"]
    assert parent["arrival_mid_x2"] == sum(market_at(start_s * SECOND_NS - 1))


def test_a_parent_from_the_very_start_arrives_in_the_opening():
    changes = ("task.start=0s", "session.warmup=0s", "latency.median=0s")
    parent = outcome_of(simulated(BUYER, overrides=changes))["parent"]
    assert parent["arrival_mid_x2"] == 10_000 + 10_002


def test_the_accounts_are_those_of_the_fills():
    simulation = simulated(BUYER)
    said = outcome_of(simulation)
    fills = stream(simulation).fills
    mine = fills[fills["taker_owner"] == 1]
    paid = int((mine["price_tick"].astype(int) * mine["lots"]).sum())
    agent = said["accounts"][1]
    assert (agent["cash"], agent["position_lots"]) == (-paid, 60)
    # 0.3 basis points of what was taken.
    assert agent["fee"] == pytest.approx(paid * 0.3 / 10_000)
    assert said["parent"]["mean_price_tick"] == pytest.approx(paid / 60)
    assert said["fills"] == len(fills)


def test_a_parent_that_the_session_ends_before_says_nothing():
    early = ("session.max_events=50",)
    assert outcome_of(simulated(BUYER, overrides=early))["parent"] is None
    assert outcome_of(simulated(BUYER, overrides=early))["ended_by"] == "max_events"


def test_the_time_without_a_side_is_counted():
    """From the shock until the next bid, and again while that is gone."""
    gone = {**THIN_BIDS["shocks"][0], "levels": 1000, "fraction": 1.0}
    simulation = simulated({"shocks": [gone]})
    found = stream(simulation)
    expected = 0
    for row in range(found.shocks[0].before, len(found.time_ns) - 1):
        if found.results["bid_tick"][row] == EMPTY_BID:
            expected += int(found.time_ns[row + 1] - found.time_ns[row])
    said = outcome_of(simulation)["empty_side_ns"]
    assert said == {"bid": expected, "ask": 0}
    assert expected > 10**8

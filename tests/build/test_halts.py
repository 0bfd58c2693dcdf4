"""A halt: nothing trades while it lasts, and one auction ends it."""

import numpy as np
import pytest

from mtsim.build.plan import Plan
from mtsim.engine.events import EventType
from mtsim.engine.messages import Kind, Phase, Reject
from mtsim.errors import ScenarioError
from tests.build.small import BUYER, SECOND_NS, resolved, simulated, stream

HALT = {"shocks": [{"name": "pause", "type": "halt", "at": "20s", "duration": "15s"}]}


def during(found) -> np.ndarray:
    return (found.time_ns >= 20 * SECOND_NS) & (found.time_ns < 35 * SECOND_NS)


@pytest.mark.parametrize("kind", ["halt", "auction"])
def test_nothing_trades_while_it_lasts_and_orders_go_on(kind):
    found = stream(simulated(HALT, overrides=(f"shocks[0].type={kind}",)))
    inside = during(found)
    assert inside.sum() > 300
    assert (found.results["phase"][inside] == Phase.AUCTION).all()
    assert found.results["filled_lots"][inside].sum() == 0
    assert found.results["filled_lots"][~inside].sum() > 0
    after = found.results[found.time_ns >= 35 * SECOND_NS]
    assert (after["phase"] == Phase.CONTINUOUS).all()


def test_the_tape_says_when_it_began_and_ended():
    found = stream(simulated(HALT))
    marks = {EventType(mark["type"]): int(mark["time_ns"]) for mark in found.marks}
    assert marks[EventType.HALT] == 20 * SECOND_NS
    assert marks[EventType.RESUME] == 35 * SECOND_NS
    assert found.messages["kind"][[shock.before for shock in found.shocks]].tolist() == [
        Kind.AUCTION,
        Kind.UNCROSS,
    ]


def test_an_agent_that_wants_to_trade_at_once_is_refused():
    """It gets the rest at its horizon, after the halt."""
    found = stream(simulated(BUYER, HALT))
    mine = found.messages["owner"] == 1
    refused = found.results["reject"][mine & during(found)]
    assert len(refused) == 5
    assert (refused == Reject.WRONG_PHASE).all()
    assert found.results["filled_lots"][mine].sum() == 60


def test_orders_that_crossed_in_it_trade_at_one_price(tmp_path):
    """A bid three ticks above the ask and an ask two below the bid: one price for both."""
    script = tmp_path / "script.csv"
    rows = (
        f"{25 * SECOND_NS},limit,buy,20,10005",
        f"{26 * SECOND_NS},limit,sell,20,9998",
    )
    script.write_text("\n".join(("time_ns,kind,side,lots,price_tick", *rows)))
    found = stream(simulated(HALT, {"flow": {"kind": "scripted", "messages": str(script)}}))
    fills = found.fills
    assert (found.time_ns[fills["message"]] == 35 * SECOND_NS).all()
    assert fills["lots"].sum() == 20
    assert len(set(fills["price_tick"].tolist())) == 1
    assert found.results[-1]["bid_tick"] < found.results[-1]["ask_tick"]


def test_without_a_duration_it_lasts_to_the_end():
    found = stream(simulated(HALT, overrides=("shocks[0].duration=null",)))
    assert found.results["phase"][-1] == Phase.AUCTION
    assert len(found.shocks) == 1


def test_a_second_halt_within_one_asks_for_nothing():
    inner = {"name": "inner", "type": "halt", "at": "25s", "duration": "2s"}
    both = stream(simulated({"shocks": [*HALT["shocks"], inner]}))
    kinds = both.messages["kind"][np.isin(both.messages["kind"], [Kind.AUCTION, Kind.UNCROSS])]
    assert kinds.tolist() == [Kind.AUCTION, Kind.UNCROSS]
    assert both.time_ns[both.messages["kind"] == Kind.UNCROSS].tolist() == [27 * SECOND_NS]


@pytest.mark.parametrize(
    ("override", "path"),
    [("shocks[0].at=500ev", "shocks[0].at"), ("shocks[0].reopen=continuous", "shocks[0].reopen")],
)
def test_what_no_halt_does_yet_is_said(override, path):
    with pytest.raises(ScenarioError) as refused:
        Plan.of(resolved(HALT, overrides=(override,)))
    assert refused.value.problems[0].path == path

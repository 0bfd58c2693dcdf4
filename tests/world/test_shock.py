"""Injected shocks do to the book what they say, and to nothing else."""

import numpy as np
import pytest

from mtsim.engine.messages import Kind, Reject
from mtsim.engine.units import EMPTY_ASK, Side
from mtsim.streams import Stream
from mtsim.world.shock import mass_cancel, sweep_levels, sweep_lots
from tests.world.worlds import BUY, SECOND_NS, SELL, cancel, limit, make_world, tape_of

STREAM = Stream(3, "shock/test")


def market_with_an_agent():
    """A book in the middle of its session, with orders of an agent at both touches."""
    world = make_world(agents=2)
    world.advance(10 * SECOND_NS)
    bid, ask = (int(tick) for tick in world.touch()[0])
    world.submit(0, 1, np.concatenate((limit(BUY, bid, lots=9), limit(SELL, ask, lots=9))))
    world.advance(10 * SECOND_NS)
    return world


def lots_near(world, side: Side, levels: int, owner: int) -> int:
    rows = world.books.resting(0)
    rows = rows[rows["side"] == side]
    ticks = list(dict.fromkeys(rows["price_tick"].tolist()))[:levels]
    mine = np.isin(rows["price_tick"], ticks) & (rows["owner"] == owner)
    return int(rows["lots"][mine].sum())


@pytest.mark.parametrize("fraction", [0.0, 0.31, 0.8, 1.0])
@pytest.mark.parametrize("sides", [(BUY,), (SELL,), (BUY, SELL)])
def test_a_mass_cancel_takes_its_share_of_the_backgrounds_lots(sides, fraction):
    world = market_with_an_agent()
    touched = {side: lots_near(world, side, 3, owner=0) for side in sides}
    totals = {side: world.books.total_lots(0, side) for side in Side}
    messages = mass_cancel(
        world.books, 0, sides, levels=3, fraction=fraction, stream=STREAM, world=0
    )
    world.deliver(0, messages)
    before = world.n_messages[0]
    world.advance(events=len(messages))

    assert world.n_messages[0] == before + len(messages)
    assert (tape_of(world).table("results")["reject"][-len(messages) :] == Reject.NONE).all()
    for side in Side:
        gone = totals[side] - world.books.total_lots(0, side)
        assert gone == (round(fraction * touched[side]) if side in sides else 0)
    agents = world.books.resting(0)["owner"] == 1
    assert world.books.resting(0)["lots"][agents].sum() == 18


def test_an_order_keeps_its_turn_whatever_else_rests():
    """Whom a mass cancel meets first is drawn by the order's id alone."""
    world = market_with_an_agent()
    options = {"levels": 4, "stream": STREAM, "world": 0}
    all_of_them = mass_cancel(world.books, 0, (BUY,), fraction=1.0, **options)["order_id"]
    best = world.books.resting(0)[:1]
    world.deliver(0, cancel(int(best["order_id"][0]), owner=int(best["owner"][0])))
    world.advance(events=1)
    rest = [order for order in all_of_them if order != best["order_id"][0]]
    some = mass_cancel(world.books, 0, (BUY,), fraction=0.5, **options)
    whole = some["order_id"][some["kind"] == Kind.CANCEL]
    assert 0 < len(whole) < len(rest)
    assert whole.tolist() == rest[: len(whole)]


@pytest.mark.parametrize("levels", [1, 4])
def test_a_sweep_takes_just_its_levels(levels):
    world = market_with_an_agent()
    rows = world.books.resting(0)
    asks = rows[rows["side"] == SELL]
    ticks = list(dict.fromkeys(asks["price_tick"].tolist()))
    order = sweep_levels(world.books, 0, BUY, levels=levels, owner=2, order_id=2**32 - 1)
    world.deliver(0, order)
    world.advance(events=1)

    result = tape_of(world).table("results")[-1]
    swept = asks["lots"][np.isin(asks["price_tick"], ticks[:levels])].sum()
    assert result["filled_lots"] == swept == order["lots"][0]
    assert result["cancelled_lots"] == 0
    assert world.touch()[0, SELL] == ticks[levels]


def test_a_sweep_of_more_levels_than_there_are_empties_the_side():
    world = market_with_an_agent()
    world.deliver(0, sweep_levels(world.books, 0, BUY, levels=1000, owner=2, order_id=2**32 - 1))
    world.advance(events=1)
    assert world.touch()[0, SELL] == EMPTY_ASK


def test_what_meets_nothing_sends_nothing():
    world = make_world(opening=None, agents=2)
    sweep = sweep_levels(world.books, 0, BUY, levels=2, owner=2, order_id=1)
    cancels = mass_cancel(world.books, 0, (BUY,), levels=2, fraction=1.0, stream=STREAM, world=0)
    assert len(sweep) == len(cancels) == len(sweep_lots(BUY, lots=0, owner=2, order_id=1)) == 0

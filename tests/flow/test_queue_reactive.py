"""The queue-reactive market has the rates of the queues in its book, whoever else is in it."""

from dataclasses import replace

import numpy as np
import pytest

from mtsim.engine.messages import Kind
from mtsim.errors import UsageError
from mtsim.flow.queue_reactive import ADDED, CANCELLED, TAKEN, QueueReactive, built_in
from mtsim.streams import Stream
from mtsim.world.opening import synthetic
from tests.world.worlds import (
    BUY,
    SECOND_NS,
    SELL,
    cancel,
    disturb,
    limit,
    make_world,
    rows,
    tape_of,
)


def reference_after(before_x2: int, bid: int, ask: int) -> int:
    """Section 2.2 of the paper: the mid, or the half-tick beside it that is nearer to the one
    before."""
    mid_x2 = bid + ask
    return mid_x2 if mid_x2 % 2 else min((mid_x2 - 1, mid_x2 + 1), key=lambda x: abs(x - before_x2))


def rates_of(flow: QueueReactive, book, reference_x2: int) -> dict:
    """(what, side, level): rate, by the book's own lots."""
    rates = {}
    for side in (BUY, SELL):
        tick, lots = (array[0, side] for array in book.depth(60))
        held = {int(t): int(n) for t, n in zip(tick, lots, strict=True) if n}
        for level in range(1, flow.rates.shape[1] + 1):
            at = (reference_x2 + (1 - 2 * level if side == BUY else 2 * level - 1)) // 2
            units = -(-held.get(at, 0) // flow.unit_lots)
            size = min(units, flow.rates.shape[2] - 1)
            rates[ADDED, side, level] = flow.rates[ADDED, level - 1, size]
            rates[CANCELLED, side, level] = flow.rates[CANCELLED, level - 1, size]
            if held and at == tick[0]:
                rates[TAKEN, side, level] = flow.rates[TAKEN, level - 1, size]
    return rates


def test_every_event_uses_up_its_own_hazard_whatever_agents_do():
    flow = built_in(100)
    world = make_world(flow=flow, agents=1, seed=3)
    draws = -np.log1p(-Stream(3, "flow").unit(np.arange(400)))
    reference_x2, used, last_ns, index = 201, 0.0, 0, 0
    while index < 300:
        bid, ask = (int(tick) for tick in world.touch()[0])
        reference_x2 = reference_after(reference_x2, bid, ask)
        rates = rates_of(flow, world.books, reference_x2)
        if index % 20 == 19 and world.messages_sent[0, 1] < index // 20 + 1:
            world.submit(0, 1, rows({"side": index // 20 % 2, "lots": 3}), at_ns=last_ns + 1000)
        before = len(tape_of(world))
        world.advance(events=1)
        stream = tape_of(world).stream(0)
        assert len(stream.messages) == before + 1
        used += sum(rates.values()) * (int(stream.time_ns[-1]) - last_ns) / SECOND_NS
        last_ns = int(stream.time_ns[-1])
        if stream.messages["owner"][-1] == 0:
            assert used == pytest.approx(draws[index], abs=1e-6)
            used, index = 0.0, index + 1
    assert world.messages_sent[0, 1] >= 14
    assert world.n_null_events[0] == 0


@pytest.fixture(scope="module")
def stream():
    world = make_world(flow=built_in(100))
    world.advance(1000 * SECOND_NS)
    return tape_of(world).stream(0)


def test_orders_arrive_near_the_reference_price_alone(stream):
    later = np.flatnonzero(stream.messages["kind"] == Kind.LIMIT)[100:]
    mid_x2 = stream.results["bid_tick"] + stream.results["ask_tick"]
    away_x2 = np.abs(2 * stream.messages["price_tick"][later] - mid_x2[later - 1])
    assert away_x2.max() <= 10
    assert len(np.unique(away_x2)) > 5


def test_the_flow_never_asks_for_what_the_book_refuses(stream):
    assert not stream.results["reject"].any()


def test_mirrored_draws_give_the_mirrored_book():
    opening = synthetic(mid_tick=0, spread=2, levels=8, orders_per_level=4, lots=3)
    mirrored_opening = opening.copy()
    mirrored_opening["side"] = 1 - opening["side"]
    mirrored_opening["price_tick"] = -opening["price_tick"]
    plain = make_world(flow=built_in(0), opening=opening)
    mirrored = make_world(flow=built_in(0, mirrored=True), opening=mirrored_opening)
    for world in (plain, mirrored):
        world.advance(200 * SECOND_NS)
    assert plain.n_messages[0] == mirrored.n_messages[0] > 3000
    ours, theirs = plain.books.resting(0), mirrored.books.resting(0)
    for side in (BUY, SELL):
        mine, other = ours[ours["side"] == side], theirs[theirs["side"] == 1 - side]
        assert mine["order_id"].tolist() == other["order_id"].tolist()
        assert mine["price_tick"].tolist() == (-other["price_tick"]).tolist()


def test_a_world_alone_is_the_same_world_among_others():
    together = make_world(5, flow=built_in(100), agents=1)
    disturb(together)
    assert len({together.tape.stream_hash(b) for b in range(5)}) == 5
    for b in (0, 3):
        alone = make_world(1, flow=built_in(100), agents=1, first_world=b)
        disturb(alone)
        assert alone.tape.stream_hash(0) == together.tape.stream_hash(b)
        assert alone.hash(0) == together.hash(b)


def test_orders_that_are_refused_leave_the_path_bit_identical():
    nothing, empty = (make_world(flow=built_in(100), agents=1) for _ in range(2))
    for second in range(1, 11):
        nothing.submit(0, 1, rows({"lots": 0}))
        nothing.advance(second * SECOND_NS)
    empty.advance(10 * SECOND_NS)
    assert nothing.books.hash(0) == empty.books.hash(0)


def test_orders_that_no_queue_sees_move_no_event():
    quoting, empty = (make_world(flow=built_in(100), agents=1) for _ in range(2))
    for second in range(1, 11):
        quoting.submit(0, 1, limit(BUY, 10 + second, lots=50))
        quoting.advance(second * SECOND_NS)
    empty.advance(10 * SECOND_NS)
    found, expected = (
        it.messages[it.messages["owner"] == 0]
        for it in (tape_of(quoting).stream(0), tape_of(empty).stream(0))
    )
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("sides", [[BUY], [SELL], [BUY, SELL]])
def test_the_market_comes_back_from_a_vacuum(sides):
    world = make_world(flow=built_in(100), agents=1)
    world.advance(5 * SECOND_NS)
    resting = world.books.resting(0)
    for order in resting[np.isin(resting["side"], sides)]["order_id"].tolist():
        world.deliver(0, cancel(order))
    world.advance(int(world.now_ns[0]))
    assert not np.isin(world.books.resting(0)["side"], sides).any()
    world.advance(60 * SECOND_NS)
    bid_tick, ask_tick = world.touch()[0]
    assert 0 < ask_tick - bid_tick < 10


def test_a_market_without_an_opening_begins_at_its_first_tick():
    world = make_world(flow=built_in(5000), opening=None)
    world.advance(60 * SECOND_NS)
    bid_tick, ask_tick = world.touch()[0]
    assert 4950 < bid_tick < ask_tick < 5050


def test_the_market_that_ships_is_sane_for_an_hour():
    world = make_world(4, flow=built_in(), opening=None, is_recorded=False)
    world.advance(60 * SECOND_NS)
    spreads, ticks = [], []
    for minute in range(2, 61):
        world.advance(minute * 60 * SECOND_NS)
        touch = world.touch()
        spreads.append(touch[:, 1] - touch[:, 0])
        ticks.append(touch[:, 0])
    assert 1 <= np.mean(spreads) < 2.5
    assert np.max(spreads) < 10
    assert (np.std(ticks, axis=0) > 0.5).all()
    assert world.n_messages / 3600 == pytest.approx(25, rel=0.2)


def test_fewer_levels_are_the_first_ones():
    flow = built_in()
    assert flow.with_levels(2).rates.tolist() == flow.rates[:, :2].tolist()
    with pytest.raises(UsageError, match="rates for 1 to 5 levels, got 6"):
        flow.with_levels(6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rates": np.ones((2, 5, 3))}, "rates must be"),
        ({"rates": np.ones((3, 5, 1))}, "2 to 1000 sizes"),
        ({"rates": -built_in().rates}, "not negative"),
        ({"rates": np.ones((3, 5, 3))}, "leaving an empty queue"),
        ({"rates": np.zeros((3, 5, 3))}, "some empty queue"),
        ({"unit_lots": 0}, "unit_lots"),
    ],
)
def test_parameters_that_cannot_be_are_refused(change, reason):
    with pytest.raises(UsageError, match=reason):
        replace(built_in(), **change)

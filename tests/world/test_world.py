"""Why a world stops, what it does with an empty side, and what it refuses."""

import numpy as np
import pytest

from mtsim.engine.batch import Books
from mtsim.engine.events import EventType
from mtsim.engine.messages import Kind
from mtsim.engine.tape import Tape, replay
from mtsim.engine.units import EMPTY_ASK
from mtsim.errors import EngineInputError, UsageError
from mtsim.flow.base import FAR, FIRST_AGENT_ID
from mtsim.world.loop import Stop
from mtsim.world.opening import synthetic
from mtsim.world.world import World
from tests.world.test_latency import scripted
from tests.world.worlds import (
    BUY,
    OPENING,
    SECOND_NS,
    SELL,
    cancel,
    limit,
    make_world,
    market,
    rows,
    tape_of,
)


def test_until_a_time_includes_what_happens_then_and_nothing_later():
    flow = scripted((10, limit(BUY, 1, order_id=1)), (11, limit(BUY, 1, order_id=2)))
    world = make_world(flow=flow, opening=None)
    assert world.advance(10).tolist() == [Stop.TIME]
    assert world.n_messages.tolist() == [1]
    assert world.now_ns.tolist() == [10]
    assert world.advance(500).tolist() == [Stop.TIME]
    assert (world.n_messages.tolist(), world.now_ns.tolist()) == ([2], [500])


def test_a_world_where_nothing_will_ever_happen_says_so():
    world = make_world(flow=scripted((10, limit(BUY, 1, order_id=1))), opening=None)
    assert world.advance(events=5).tolist() == [Stop.VACUUM]
    assert (world.n_messages.tolist(), world.now_ns.tolist()) == ([1], [10])
    assert world.advance(SECOND_NS).tolist() == [Stop.TIME]


def test_each_world_has_its_own_goal():
    world = make_world(3)
    stops = world.advance(
        np.array([SECOND_NS, 2 * SECOND_NS, FAR]), events=np.array([10**6, 10**6, 50])
    )
    assert stops.tolist() == [Stop.TIME, Stop.TIME, Stop.EVENTS]
    assert world.now_ns[:2].tolist() == [SECOND_NS, 2 * SECOND_NS]
    assert world.n_messages[2] == 50 + len(OPENING)


def test_only_the_worlds_asked_for_move():
    world = make_world(3)
    assert world.advance(SECOND_NS, worlds=np.array([2, 0])).tolist() == [Stop.TIME, Stop.TIME]
    assert world.now_ns.tolist() == [SECOND_NS, 0, SECOND_NS]


def test_an_own_fill_wakes_whoever_asked():
    world = make_world(2, agents=1)
    world.wakes[:, 1] = [True, False]
    world.submit(np.arange(2), 1, np.repeat(limit(BUY, 102), 2))
    stops = world.advance(60 * SECOND_NS)
    assert stops.tolist() == [Stop.FILL, Stop.TIME]
    assert world.now_ns[0] == 0
    assert world.accounts[0, 1, 0] == 1
    resting = world.submit(0, 1, limit(SELL, int(world.touch()[0, 1])))
    assert world.advance(600 * SECOND_NS).tolist() == [Stop.FILL, Stop.TIME]
    fills = world.tape.stream(0).fills
    last = fills[fills["message"] == fills["message"][-1]]
    assert resting.order_ids[0] in last["maker_id"]


def test_a_market_whose_whole_side_is_removed_runs_on():
    """Orders keep to the last touch, so the side comes back; nothing is reset and nothing fails."""
    world = make_world(paranoid=True)
    world.advance(10 * SECOND_NS)
    asks = world.books.resting(0)
    asks = asks[asks["side"] == SELL]
    # As the last background event found it: its own outcome is not in it.
    last_asks = world.tape.table("results")["ask_tick"][-2:]
    world.deliver(0, np.concatenate([cancel(int(order)) for order in asks["order_id"]]))
    world.advance(events=len(asks))
    assert world.touch()[0, SELL] == EMPTY_ASK
    messages_then = int(world.n_messages[0])

    while world.touch()[0, SELL] == EMPTY_ASK:
        world.advance(events=1)
        message = world.tape.table("steps")["message"][-1]
        if message["kind"] == Kind.LIMIT and message["side"] == BUY:
            assert last_asks.min() - 8 <= message["price_tick"] < last_asks.max()
        assert not (message["kind"] == Kind.MARKET and message["side"] == BUY)
    world.advance(60 * SECOND_NS)

    bid_tick, ask_tick = world.touch()[0]
    assert 0 < ask_tick - bid_tick < 10
    assert world.n_messages[0] > messages_then + 1000
    assert world.n_null_events[0] >= len(asks)
    replay(tape_of(world))


def test_an_empty_market_without_arrivals_for_long_runs_on():
    """Everything is cancelled long before the next order: every market order is a null event."""
    flow = market(add_rate=0.001, market_rate=1.0, cancel_rate=50.0, depth=2)
    world = make_world(flow=flow, paranoid=True)
    world.advance(200 * SECOND_NS)
    assert world.n_null_events[0] > 200


def test_the_opening_ends_where_the_session_starts():
    """Its orders live as long as the flow's own, and a replay has them, too."""
    world = make_world()
    mark = world.tape.table("marks")[0]
    assert (mark["before"], mark["type"]) == (len(OPENING), EventType.SESSION_START)
    assert world.touch().tolist() == [[100, 102]]
    world.advance(60 * SECOND_NS)
    left = world.books.resting(0)["order_id"] <= len(OPENING)
    assert left.sum() < 5


def test_a_synthetic_opening_is_symmetric_and_decays():
    messages = synthetic(mid_tick=50, spread=3, levels=4, orders_per_level=2, lots=10, decay=0.5)
    bids, asks = (messages[messages["side"] == side] for side in (BUY, SELL))
    assert bids["price_tick"].tolist() == [49, 49, 48, 48, 47, 47, 46, 46]
    assert asks["price_tick"].tolist() == [52, 52, 53, 53, 54, 54, 55, 55]
    assert bids["lots"].tolist() == asks["lots"].tolist() == [10, 10, 6, 6, 4, 4, 2, 2]
    assert sorted(messages["order_id"]) == list(range(1, 17))


def test_a_sweep_of_more_orders_than_any_buffer_holds_is_recorded_whole():
    world = make_world(opening=None, agents=2, flow=scripted((10**15, rows({}))), buffer_rows=7)
    world.submit(0, 1, np.repeat(limit(SELL, 100), 3000))
    world.submit(0, 2, np.concatenate((rows({"side": BUY, "lots": 2999}), limit(BUY, 100))))
    world.advance(SECOND_NS)
    tape_of(world).check()
    assert tape_of(world).table("results")["n_fills"][-2:].tolist() == [2999, 1]
    assert world.accounts[0, :, 0].tolist() == [0, -3000, 3000]
    replay(tape_of(world))


def test_an_auction_in_the_session_collects_the_flows_orders():
    """Market orders have no place in a call: they are null events while it lasts."""
    world = make_world(agents=1, paranoid=True)
    world.advance(SECOND_NS)
    world.deliver(0, rows({"kind": Kind.AUCTION, "lots": 0}))
    world.deliver(0, rows({"kind": Kind.UNCROSS, "price_tick": 101, "lots": 0}), 5 * SECOND_NS)
    world.submit(0, 1, limit(BUY, 110, lots=20))
    world.advance(10 * SECOND_NS)
    stream = world.tape.stream(0)
    assert (stream.results["reject"] == 0).all()
    in_call = (stream.time_ns > SECOND_NS) & (stream.time_ns < 5 * SECOND_NS)
    assert set(stream.messages["kind"][in_call]) == {Kind.LIMIT, Kind.CANCEL}
    assert world.accounts[0, 1, 0] == 20
    replay(tape_of(world))


def test_agents_get_ids_of_their_own():
    world = make_world(2, agents=2)
    first = world.submit(np.array([0, 1, 0]), 2, np.repeat(limit(BUY, 90), 3))
    second = world.submit(0, 2, cancel(int(first.order_ids[0])))
    third = world.submit(0, 2, limit(BUY, 90))
    base = 2 * FIRST_AGENT_ID
    assert first.order_ids.tolist() == [base, base, base + 1]
    assert second.order_ids.tolist() == [base]
    assert third.order_ids.tolist() == [base + 3]


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (lambda w: w.advance(), "say until_ns or events"),
        (lambda w: w.advance(5, threads=0), "threads must be at least 1, got 0"),
        (lambda w: w.advance(SECOND_NS - 1), "until_ns 999999999 has passed in world 0"),
        (lambda w: w.submit(0, 2, rows({})), "agents are 1 to 1, got 2"),
        (lambda w: w.submit(0, 0, rows({})), "agents are 1 to 1, got 0"),
        (lambda w: w.submit(3, 1, rows({})), "there are worlds 0 to 0, got"),
        (lambda w: w.deliver(0, rows({"owner": 2})), "owners are 0 to 1, got 2"),
        (lambda w: w.record(Tape(seeds={}, config={}, books=2)), "a tape of 2 books for 1 worlds"),
        (lambda w: World(w.books, market(), seed=1), "books that have been used"),
        (lambda w: World(Books(1, ids="handle"), market(), seed=1), "books that issue handles"),
        (lambda w: World(Books(1), market(), seed=1, buffer_rows=0), "buffer_rows must be at"),
        (
            lambda w: World(Books(1), scripted((1, rows({"owner": 3}))), seed=1),
            "make it with agents=3",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(use, reason):
    world = make_world(agents=1)
    world.advance(SECOND_NS)
    before = world.hash(0)
    with pytest.raises(UsageError, match=reason):
        use(world)
    assert world.hash(0) == before


def test_what_are_no_messages_is_refused():
    world = make_world(agents=1)
    with pytest.raises(EngineInputError, match=r"World.submit: messages must be a 1-dimensional"):
        world.submit(0, 1, np.zeros(3))


@pytest.mark.parametrize("change", [{"spread": 0}, {"levels": 0}, {"mid_tick": 2**30}])
def test_an_opening_that_cannot_be_is_refused(change):
    good = {"mid_tick": 100, "spread": 2, "levels": 3, "orders_per_level": 1, "lots": 1}
    with pytest.raises(UsageError, match="opening: "):
        synthetic(**{**good, **change})

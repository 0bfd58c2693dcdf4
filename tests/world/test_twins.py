"""What an agent does takes no randomness from the flow, and what it does not do changes nothing."""

import numpy as np

from mtsim.engine.messages import Kind
from mtsim.flow.base import FIRST_FLOW_ID
from mtsim.flow.sizes import Sizes
from mtsim.world.opening import synthetic
from tests.world.worlds import (
    BUY,
    OPENING,
    SECOND_NS,
    SELL,
    disturb,
    limit,
    make_world,
    market,
    rows,
    tape_of,
)


def background(world, b: int = 0):
    """(time, message words) of the background's events in a world."""
    stream = world.tape.stream(b)
    mine = stream.messages["owner"] == 0
    return stream.time_ns[mine], stream.messages[mine]


def test_a_muted_agent_leaves_no_trace():
    muted, empty = make_world(2, agents=1), make_world(2, agents=1)
    muted.muted[:, 1] = True
    disturb(muted)
    empty.advance(10 * SECOND_NS)
    assert muted.tape.hash() == empty.tape.hash()
    assert [muted.books.hash(b) for b in range(2)] == [empty.books.hash(b) for b in range(2)]


def test_orders_of_no_lots_leave_the_path_bit_identical():
    """They are refused, and are on the tape as that; all else is the same."""
    nothing, empty = make_world(agents=1), make_world(agents=1)
    for second in range(10):
        nothing.submit(0, 1, rows({"lots": 0}, {"kind": Kind.LIMIT, "price_tick": 99, "lots": 0}))
        nothing.advance((second + 1) * SECOND_NS)
    empty.advance(10 * SECOND_NS)

    for found, expected in zip(background(nothing), background(empty), strict=True):
        assert found.tobytes() == expected.tobytes()
    assert nothing.books.hash(0) == empty.books.hash(0)
    assert len(tape_of(nothing)) == len(tape_of(empty)) + 20


def test_orders_that_meet_nobody_move_no_event_of_the_flow():
    """Far from the market an agent's orders come and go; the flow's events are what they were."""
    flow = market(sizes=Sizes.constant(1))
    quoting, empty = make_world(flow=flow, agents=1), make_world(flow=flow, agents=1)
    for second in range(10):
        quoting.submit(0, 1, limit(BUY, 10 + second, lots=50))
        quoting.advance((second + 1) * SECOND_NS)
    empty.advance(10 * SECOND_NS)
    for found, expected in zip(background(quoting), background(empty), strict=True):
        assert found.tobytes() == expected.tobytes()


def test_a_trade_keeps_arrivals_and_lifetimes_where_they_were():
    """After a disturbance the flow's orders still arrive at the same times with the same ids and
    sizes, and those that rest in both worlds are cancelled at the same times."""
    traded, twin = make_world(agents=1), make_world(agents=1)
    for world in (traded, twin):
        world.muted[:, 1] = world is twin
        world.submit(0, 1, rows({"side": BUY, "lots": 200}), at_ns=SECOND_NS)
        world.advance(20 * SECOND_NS)
    arrivals, cancels = [], []
    for world in (traded, twin):
        time_ns, messages = background(world)
        enters = messages["kind"] == Kind.LIMIT
        arrivals.append(
            list(zip(time_ns[enters], messages[enters][["side", "lots", "order_id"]], strict=True))
        )
        leaves = messages["kind"] == Kind.CANCEL
        cancels.append(dict(zip(messages["order_id"][leaves], time_ns[leaves], strict=True)))
    paths = [background(world)[1]["price_tick"].tolist() for world in (traded, twin)]
    assert paths[0] != paths[1]
    assert str(arrivals[0]) == str(arrivals[1])
    both = cancels[0].keys() & cancels[1].keys()
    assert all(cancels[0][order] == cancels[1][order] for order in both)
    assert len(both) > 0.8 * len(cancels[1])


def test_mirrored_draws_give_the_mirrored_book():
    """Buys and sells exchanged and ticks negated: nothing prefers a side."""
    opening = synthetic(mid_tick=0, spread=2, levels=8, orders_per_level=2, lots=3)
    mirrored_opening = opening.copy()
    mirrored_opening["side"] = 1 - opening["side"]
    mirrored_opening["price_tick"] = -opening["price_tick"]
    plain = make_world(flow=market(first_tick=0), opening=opening)
    mirrored = make_world(flow=market(first_tick=0, mirrored=True), opening=mirrored_opening)
    for world in (plain, mirrored):
        world.advance(60 * SECOND_NS)

    ours, theirs = plain.books.resting(0), mirrored.books.resting(0)
    assert len(ours) > 50
    for side in (BUY, SELL):
        mine, other = ours[ours["side"] == side], theirs[theirs["side"] == 1 - side]
        assert mine["order_id"].tolist() == other["order_id"].tolist()
        assert mine["price_tick"].tolist() == (-other["price_tick"]).tolist()
        assert mine["lots"].tolist() == other["lots"].tolist()


def test_the_flow_names_its_orders_by_the_index_of_their_event():
    world = make_world()
    world.advance(5 * SECOND_NS)
    _, messages = background(world)
    entering = messages[len(OPENING) :]
    ids = entering["order_id"][entering["kind"] != Kind.CANCEL]
    assert (np.diff(ids) > 0).all()
    assert ids[0] == FIRST_FLOW_ID

"""The Hawkes market has the intensities that its formula says, whoever else is in it."""

import numpy as np
import pytest

from mtsim.engine.messages import Kind
from mtsim.errors import UsageError
from mtsim.flow.hawkes import Hawkes
from mtsim.flow.hawkes_built_in import RATES, built_in
from mtsim.flow.hawkes_likelihood import rescaling, residuals
from mtsim.flow.hawkes_rates import N_EVENTS, N_ORDERS
from mtsim.flow.placing import DEEP, INSIDE, MARKET, N_KINDS, N_TYPES
from mtsim.flow.sizes import Sizes
from mtsim.streams import Stream
from mtsim.world.opening import synthetic
from tests.flow.hawkes_markets import DEEP_BOOK, begin_at_rest, events_of, market, placing
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

DAY = {
    "piece_ends_ns": np.array([3 * SECOND_NS, 3 * SECOND_NS + 7, 20 * SECOND_NS]),
    "time_factors": np.array([1.5, 4.0, 0.0, 2.0]),
}


def rate_sum(flow: Hawkes, past: list, at_s: np.ndarray, spread: int) -> np.ndarray:
    """All intensities at some times by the formula, given (time, kind, side) of what was."""
    bucket = np.searchsorted(flow.spread_starts, spread, side="right") - 1
    piece = np.searchsorted(flow.piece_ends_ns, at_s * 1e9, side="right")
    then_s, source, source_side = (np.array(column) for column in zip(*past, strict=True))
    total = np.zeros(len(at_s))
    for kind in range(N_KINDS):
        for side in range(2):
            rate = flow.base[kind] * flow.time_factors[piece]
            for m, decay in enumerate(flow.decays):
                children = flow.branching[source, (side != source_side).astype(int), m, kind]
                rate += np.exp(-decay * (at_s[:, None] - then_s)) @ (children * decay)
            total += rate * flow.spread_factors[bucket, kind]
    return total


def integral(flow: Hawkes, past: list, from_s: float, to_s: float, spread: int) -> float:
    """Of `rate_sum`, by Gauss-Legendre on pieces that end where the factors of the day do."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    ends = [end / 1e9 for end in flow.piece_ends_ns if from_s < end / 1e9 < to_s]
    total = 0.0
    for low, high in zip([from_s, *ends], [*ends, to_s], strict=True):
        for cut in range(8):
            half = (high - low) / 16
            at_s = low + (2 * cut + 1 + nodes) * half
            total += half * float(weights @ rate_sum(flow, past, at_s, spread))
    return total


@pytest.mark.parametrize("day", [{}, DAY])
def test_every_event_uses_up_its_own_hazard_whatever_agents_do(day):
    """The intensities by the formula, agents' orders among what excites them, add up to the
    exponential draw of the event's index."""
    flow = market(**day)
    world = make_world(flow=flow, opening=None, agents=1, seed=5)
    begin_at_rest(world, DEEP_BOOK)
    for second in range(1, 7):
        world.advance(second * SECOND_NS)
        world.submit(0, 1, limit(BUY, int(world.touch()[0, BUY]) - 20 - second, lots=3))
        world.submit(0, 1, rows({"side": SELL, "lots": 2}))
    world.advance(7 * SECOND_NS)
    assert world.n_null_events[0] == 0

    stream = tape_of(world).stream(0)
    is_background = stream.messages["owner"][len(DEEP_BOOK) :] == 0
    events = events_of(world)
    assert len(events) == len(is_background) > 60
    draws = -np.log1p(-Stream(5, "flow").unit(np.arange(len(events))))
    # Long before, and of no consequence: sums over nothing have no shape.
    past: list = [(-1e6, 0, 0)]
    used, last_s, index = 0.0, 0.0, 0
    for i in range(len(events)):
        now_s = events.time_ns[i] / 1e9
        used += integral(flow, past, last_s, now_s, int(events.spread_ticks[i]))
        if is_background[i]:
            assert used == pytest.approx(draws[index], abs=1e-6)
            used, index = 0.0, index + 1
        past.append((now_s, int(events.kind[i]), int(events.side[i])))
        last_s = now_s
    assert index > 50


@pytest.fixture(scope="module")
def long():
    """40,000 events of an undisturbed market."""
    world = make_world(flow=market(), opening=DEEP_BOOK)
    world.advance(events=40_000)
    assert world.n_null_events[0] == 0
    return events_of(world)


def test_residuals_are_exponential(long):
    """The theorem of time-rescaling, for all types together and for each by itself."""
    of_all, of_own = residuals(market(), long)
    assert rescaling(of_all).p_value > 0.01
    assert rescaling(of_own).p_value > 0.01
    assert rescaling(of_all).mean == pytest.approx(1, abs=0.02)


def test_residuals_of_another_market_are_not(long):
    other = market(base=market().base * 1.2)
    assert rescaling(residuals(other, long)[0]).p_value < 1e-6
    poisson = market(branching=np.zeros_like(market().branching), base=market().mean_rates())
    assert rescaling(residuals(poisson, long)[0]).p_value < 1e-6


def test_mean_rates_are_those_of_the_events():
    """Where every factor is 1: here nothing is added inside the spread, whose factors matter."""
    branching, base = market().branching.copy(), market().base.copy()
    branching[..., INSIDE], base[INSIDE] = 0.0, 0.0
    flow = market(branching=branching, base=base)
    world = make_world(8, flow=flow, opening=DEEP_BOOK, is_recorded=False)
    world.advance(200 * SECOND_NS)
    counts = world.state_i[:, N_EVENTS : N_EVENTS + N_TYPES].reshape(8, N_KINDS, 2)
    expected = flow.mean_rates()
    assert expected[INSIDE] == 0
    assert counts.mean(axis=(0, 2)) / 200 == pytest.approx(expected, rel=0.1)


def test_sizes_and_distances_are_drawn_from_their_tables(long):
    away = np.array([1, 2, 3, 6])
    for kind, values in ((DEEP, away), (MARKET, np.array([1, 2, 5]))):
        mine = long.kind == kind
        found = long.distance_ticks[mine] if kind == DEEP else long.lots[mine]
        weights = np.array([4, 3, 2, 1]) if kind == DEEP else np.array([3, 2, 1])
        assert np.isin(found, values).all()
        shares = np.array([(found == value).mean() for value in values])
        assert shares == pytest.approx(weights / weights.sum(), abs=0.03)


def test_what_improves_stays_inside_the_spread():
    world = make_world(8, flow=market(), opening=DEEP_BOOK)
    world.advance(100 * SECOND_NS)
    found = []
    for b in range(8):
        events = events_of(world, b)
        improves = events.kind == INSIDE
        assert (events.distance_ticks[improves] < events.spread_ticks[improves]).all()
        found.append(events.distance_ticks[improves & (events.spread_ticks == 3)])
    found = np.concatenate(found)
    assert len(found) > 200
    # Of 1 and 2 ticks, four and three times in ten.
    assert (found == 1).mean() == pytest.approx(4 / 7, abs=0.1)


@pytest.mark.parametrize("whole", [0.0, 1.0])
def test_takers_may_take_what_they_meet(whole):
    world = make_world(flow=market(placing=placing(whole=whole)), opening=DEEP_BOOK)
    world.advance(events=3_000)
    events = events_of(world)
    takers = events.kind == MARKET
    clears = events.lots[takers] == events.best_lots[takers]
    assert clears.mean() == 1 if whole else clears.mean() < 0.5


def test_a_kind_that_has_no_factor_at_a_spread_does_not_occur():
    factors = market().spread_factors.copy()
    factors[:2, DEEP] = 0.0
    world = make_world(flow=market(spread_factors=factors), opening=DEEP_BOOK)
    world.advance(events=5_000)
    events = events_of(world)
    assert (events.spread_ticks[events.kind == DEEP] >= 3).all()
    assert (events.spread_ticks[events.kind == INSIDE] >= 2).all()


def test_mirrored_draws_give_the_mirrored_book():
    opening = synthetic(mid_tick=0, spread=2, levels=8, orders_per_level=4, lots=3)
    mirrored_opening = opening.copy()
    mirrored_opening["side"] = 1 - opening["side"]
    mirrored_opening["price_tick"] = -opening["price_tick"]
    plain = make_world(flow=built_in(0), opening=opening)
    mirrored = make_world(flow=built_in(0, mirrored=True), opening=mirrored_opening)
    for world in (plain, mirrored):
        world.advance(300 * SECOND_NS)
    assert plain.n_messages[0] == mirrored.n_messages[0] > 3000
    ours, theirs = plain.books.resting(0), mirrored.books.resting(0)
    for side in (BUY, SELL):
        mine, other = ours[ours["side"] == side], theirs[theirs["side"] == 1 - side]
        assert mine["order_id"].tolist() == other["order_id"].tolist()
        assert mine["price_tick"].tolist() == (-other["price_tick"]).tolist()
        assert mine["lots"].tolist() == other["lots"].tolist()


def test_a_world_alone_is_the_same_world_among_others():
    together = make_world(5, flow=built_in(100), agents=1)
    disturb(together)
    assert len({together.tape.stream_hash(b) for b in range(5)}) == 5
    for b in (0, 3):
        alone = make_world(1, flow=built_in(100), agents=1, first_world=b)
        disturb(alone)
        assert alone.tape.stream_hash(0) == together.tape.stream_hash(b)
        assert alone.hash(0) == together.hash(b)


@pytest.mark.parametrize("options", [{"slots": 1, "buffer_rows": 7}, {"is_recorded": False}, {}])
def test_memory_and_stops_change_nothing(options):
    whole, pieces = (make_world(flow=market(**DAY), agents=1, **more) for more in (options, {}))
    whole.submit(0, 1, rows({"side": BUY, "lots": 4}), at_ns=2 * SECOND_NS)
    pieces.submit(0, 1, rows({"side": BUY, "lots": 4}), at_ns=2 * SECOND_NS)
    whole.advance(25 * SECOND_NS)
    for end_ns in range(0, 25 * SECOND_NS, 330_000_001):
        pieces.advance(end_ns)
    pieces.advance(25 * SECOND_NS)
    assert whole.hash(0) == pieces.hash(0)


def test_orders_that_are_refused_leave_the_path_bit_identical():
    nothing, empty = (make_world(flow=built_in(100), agents=1) for _ in range(2))
    for second in range(1, 11):
        nothing.submit(0, 1, rows({"lots": 0}, {"kind": Kind.LIMIT, "price_tick": 99, "lots": 0}))
        nothing.advance(second * SECOND_NS)
    empty.advance(10 * SECOND_NS)
    assert nothing.books.hash(0) == empty.books.hash(0)
    assert len(tape_of(nothing)) == len(tape_of(empty)) + 20


def test_a_restored_world_goes_on_as_the_uninterrupted_one():
    world = make_world(flow=built_in(100), is_recorded=False)
    world.advance(5 * SECOND_NS)
    taken = world.snapshot(0)
    world.advance(20 * SECOND_NS)
    other = make_world(flow=built_in(100), is_recorded=False, opening=None)
    other.restore(0, taken)
    other.advance(20 * SECOND_NS)
    assert other.hash(0) == world.hash(0)


def test_orders_of_the_background_are_counted():
    """By fills, cancels, sweeps and shocks: the numbers are those of the book."""
    world = make_world(flow=built_in(100), agents=1)
    disturb(world)
    world.deliver(0, limit(BUY, 50, order_id=10**9))
    world.advance(12 * SECOND_NS)
    resting = world.books.resting(0)
    resting = resting[resting["owner"] == 0]
    assert world.state_i[0, N_ORDERS : N_ORDERS + 2].tolist() == [
        (resting["side"] == side).sum() for side in (BUY, SELL)
    ]


@pytest.mark.parametrize("sides", [[BUY], [SELL], [BUY, SELL]])
def test_the_market_comes_back_from_a_vacuum(sides):
    world = make_world(flow=built_in(100), agents=1)
    world.advance(5 * SECOND_NS)
    resting = world.books.resting(0)
    for order in resting[np.isin(resting["side"], sides)]["order_id"].tolist():
        world.deliver(0, cancel(order))
    world.advance(int(world.now_ns[0]))
    left = world.books.resting(0)
    assert not np.isin(left["side"], sides).any()
    world.advance(300 * SECOND_NS)
    bid_tick, ask_tick = world.touch()[0]
    assert 0 < ask_tick - bid_tick < 20
    results = tape_of(world).table("results")
    assert not results["reject"].any()


def test_the_market_that_ships_is_sane_for_an_hour():
    """Two sides, a spread of a few ticks, neither growing nor drying up, at the stated rates."""
    world = make_world(4, flow=built_in(), opening=None, is_recorded=False)
    world.open(synthetic(mid_tick=10_000, spread=2, levels=20, orders_per_level=4, lots=5))
    spreads, orders = [], []
    for minute in range(1, 61):
        world.advance(minute * 60 * SECOND_NS)
        touch = world.touch()
        spreads.append(touch[:, 1] - touch[:, 0])
        orders.append(world.state_i[:, N_ORDERS : N_ORDERS + 2])
    assert 1.5 < np.mean(spreads) < 4
    assert np.max(spreads) < 15
    assert 50 < np.min(orders) < np.max(orders) < 250
    assert world.n_messages / 3600 == pytest.approx(2 * RATES.sum(), rel=0.15)
    assert (world.n_null_events < 0.001 * world.n_messages).all()


def test_a_branching_ratio_is_the_spectral_radius_and_can_be_set():
    flow = market()
    same, other = flow.branching.sum(axis=2).transpose(1, 0, 2)
    whole = np.block([[same, other], [other, same]])
    assert flow.branching_ratio() == pytest.approx(np.abs(np.linalg.eigvals(whole)).max())
    scaled = flow.rescaled(intensity=2.0, branching=0.25)
    assert scaled.branching_ratio() == pytest.approx(0.25)
    assert scaled.base.tolist() == (2 * flow.base).tolist()
    assert flow.rescaled(branching=0.0).mean_rates() == pytest.approx(flow.base)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"base": np.ones(5)}, r"base must have the shape \(6,\), got \(5,\)"),
        ({"base": np.full(6, np.nan)}, "base must be finite"),
        ({"decays": np.array([1.0, 0.0])}, "decays above 0"),
        ({"branching": market().branching * 2.5}, "branching ratio must be below 1"),
        ({"spread_starts": np.array([2, 3, 6])}, "ascend from 1"),
        ({"spread_factors": np.ones((3, 6))}, "inside a spread of 1"),
        ({"piece_ends_ns": np.array([0]), "time_factors": np.ones(2)}, "ascend from above 0"),
        ({"time_factors": np.zeros(1)}, "last time factor"),
        ({"reference_orders": -1}, "reference_orders"),
    ],
)
def test_parameters_that_cannot_be_are_refused(change, reason):
    with pytest.raises(UsageError, match=reason):
        market(**change)


def test_sizes_are_needed_for_every_kind_that_enters():
    with pytest.raises(UsageError, match="4 kinds"):
        placing(sizes=(Sizes.constant(1),))
    with pytest.raises(UsageError, match="share from 0 to 1"):
        placing(whole=1.5)

"""The Santa Fe market has the rates it is given, and the laws that follow from them."""

import numpy as np
import pytest

from mtsim.engine.messages import Kind, TimeInForce
from mtsim.errors import UsageError
from mtsim.flow.sizes import Sizes
from mtsim.flow.zero_intelligence import ZeroIntelligence
from tests.world.worlds import BUY, SECOND_NS, limit, make_world

SECONDS = 3000
ONE_LOT = Sizes.constant(1)


def santa_fe(**changes) -> ZeroIntelligence:
    rates = {"add_rate": 1.0, "market_rate": 2.0, "cancel_rate": 0.2, "depth": 10}
    return ZeroIntelligence(**{**rates, "sizes": ONE_LOT, **changes})


@pytest.fixture(scope="module")
def stream():
    world = make_world(flow=santa_fe(), opening=None)
    world.advance(SECONDS * SECOND_NS)
    world.tape.check()
    return world.tape.stream(0)


def counts(found: np.ndarray, expected: float | np.ndarray, what: str) -> None:
    """Poisson counts within four and a half standard deviations."""
    assert (np.abs(found - expected) < 4.5 * np.sqrt(expected)).all(), (what, found, expected)


def test_orders_arrive_at_their_rates_on_both_sides(stream):
    for kind, rate in ((Kind.LIMIT, 10.0), (Kind.MARKET, 2.0)):
        sides = stream.messages["side"][stream.messages["kind"] == kind]
        counts(np.bincount(sides, minlength=2), rate * SECONDS, kind.name)


def test_gaps_between_arrivals_are_exponential(stream):
    times = stream.time_ns[stream.messages["kind"] != Kind.CANCEL] / SECOND_NS
    gaps = np.sort(np.diff(times)) * 24.0
    empirical = (np.arange(len(gaps)) + 0.5) / len(gaps)
    assert np.abs(empirical - (1 - np.exp(-gaps))).max() < 1.95 / np.sqrt(len(gaps))


def test_limit_orders_fall_evenly_on_the_ticks_from_the_opposite_touch(stream):
    enters = np.flatnonzero(stream.messages["kind"] == Kind.LIMIT)
    enters = enters[enters > 1000]
    before = stream.results[enters - 1]
    messages = stream.messages[enters]
    is_bid = messages["side"] == 0
    distance = np.where(
        is_bid,
        before["ask_tick"] - messages["price_tick"],
        messages["price_tick"] - before["bid_tick"],
    )
    found = np.bincount(distance, minlength=11)
    assert found[0] == 0
    assert len(found) == 11
    counts(found[1:], len(enters) / 10, "distances")


def test_orders_live_exponentially_until_they_are_cancelled(stream):
    """The hazard of a resting order, whatever its age, is the cancel rate."""
    entered, left = {}, []
    exposed_s = np.zeros(3)
    cancelled = np.zeros(3)
    gone = {int(fill["maker_id"]) for fill in stream.fills}
    for time_ns, message in zip(stream.time_ns.tolist(), stream.messages, strict=True):
        order = int(message["order_id"])
        if message["kind"] == Kind.LIMIT:
            entered[order] = time_ns
        elif message["kind"] == Kind.CANCEL:
            left.append((order, (time_ns - entered[order]) / SECOND_NS))
    filled_at = {}
    fill_times = np.repeat(stream.time_ns, stream.results["n_fills"])
    for time_ns, fill in zip(fill_times.tolist(), stream.fills, strict=True):
        filled_at[int(fill["maker_id"])] = (time_ns - entered[int(fill["maker_id"])]) / SECOND_NS
    end_s = stream.time_ns[-1] / SECOND_NS
    ages = {**{order: end_s - at / SECOND_NS for order, at in entered.items()}, **filled_at}
    ages.update(left)
    edges = np.array([0.0, 2.0, 6.0, np.inf])
    for age in ages.values():
        exposed_s += np.clip(age - edges[:-1], 0, np.diff(edges))
    for _, age in left:
        cancelled[np.searchsorted(edges, age) - 1] += 1
    assert not gone & {order for order, _ in left}
    counts(cancelled, 0.2 * exposed_s, "cancels by age")


def test_sizes_are_drawn_from_their_table():
    sizes = Sizes.empirical(np.array([1, 3, 10]), np.array([0.5, 0.3, 0.2]))
    world = make_world(flow=santa_fe(sizes=sizes), opening=None)
    world.advance(500 * SECOND_NS)
    messages = world.tape.table("steps")["message"]
    lots = messages["lots"][messages["kind"] != Kind.CANCEL]
    found = np.array([(lots == size).sum() for size in (1, 3, 10)])
    assert found.sum() == len(lots)
    counts(found, len(lots) * np.array([0.5, 0.3, 0.2]), "sizes")


def test_orders_are_plain(stream):
    """No flags, no icebergs, of the background; market orders do not rest."""
    messages = stream.messages
    assert not any(messages[name].any() for name in ("flags", "display_lots", "owner", "stp"))
    is_market = messages["kind"] == Kind.MARKET
    assert (messages["tif"] == np.where(is_market, TimeInForce.IOC, TimeInForce.GTC)).all()


def test_a_market_starts_at_its_first_tick():
    world = make_world(flow=santa_fe(first_tick=500), opening=None)
    world.advance(events=1)
    first = world.tape.table("steps")["message"][0]
    low, high = (491, 500) if first["side"] == 0 else (501, 510)
    assert low <= first["price_tick"] <= high


def test_background_orders_of_others_live_as_long_as_the_flows_own():
    """A shock's liquidity is cancelled at the same rate, and an agent's orders never."""
    world = make_world(flow=santa_fe(cancel_rate=2.0), opening=None, agents=1)
    far = np.concatenate([limit(BUY, 5_000, order_id=1 + k) for k in range(500)])
    world.deliver(0, far)
    world.submit(0, 1, np.concatenate([limit(BUY, 5_000) for _ in range(100)]))
    world.advance(SECOND_NS // 2)
    left = world.books.orders_at(0, BUY, 5_000)
    assert (left["owner"] == 1).sum() == 100
    counts(np.array((left["owner"] == 0).sum()), 500 * np.exp(-1), "left after a half-second")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"add_rate": 0.0}, "add_rate must be above 0, got 0.0"),
        ({"cancel_rate": float("inf")}, "cancel_rate must be above 0, got inf"),
        ({"market_rate": float("nan")}, "market_rate must be above 0, got nan"),
        ({"depth": 0}, "depth must be from 1 to"),
    ],
)
def test_rates_that_cannot_be_are_refused(change, reason):
    with pytest.raises(UsageError, match=reason):
        santa_fe(**change)

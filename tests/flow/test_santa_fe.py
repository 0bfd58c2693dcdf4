"""The zero-intelligence market scales as dimensional analysis says, and as a plain simulation does.

With a fine tick, the market has three dimensional parameters: mu, alpha and delta, the rates of
market orders, of limit orders at each tick and of cancels. Prices are in units of mu / alpha, times
of 1 / delta, and all that is left is the granularity delta / mu (Smith, Farmer, Gillemot and
Krishnamurthy 2003). Spread: mu / alpha x f(delta / mu). Diffusion: mu^2 delta / alpha^2 x
g(delta / mu).
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from mtsim.flow.sizes import Sizes
from mtsim.flow.zero_intelligence import ZeroIntelligence
from tests.world.worlds import SECOND_NS, make_world

WORLDS, LIVES, SAMPLES_A_LIFE = 12, 80, 20


class Measured(NamedTuple):
    """Mean spread in ticks; ticks squared per second of the mid over a twentieth of a lifetime
    and over five."""

    spread: float
    fast: float
    slow: float


@cache
def measured(add_rate: float, market_rate: float, cancel_rate: float, seed: int = 3) -> Measured:
    """Of 12 worlds over 80 mean lifetimes, after 10 to settle in."""
    depth = round(15 * market_rate / add_rate)
    flow = ZeroIntelligence(
        add_rate, market_rate, cancel_rate, depth, Sizes.constant(1), first_tick=10**6
    )
    world = make_world(WORLDS, flow, opening=None, is_recorded=False, seed=seed)
    life_ns = SECOND_NS / cancel_rate
    touches = []
    for sample in range(LIVES * SAMPLES_A_LIFE):
        world.advance(int((10 + (sample + 1) / SAMPLES_A_LIFE) * life_ns))
        touches.append(world.touch())
    bid_tick, ask_tick = np.moveaxis(np.array(touches), 2, 0)
    step_s = 1 / cancel_rate / SAMPLES_A_LIFE
    mid = (bid_tick + ask_tick) / 2

    def diffusion(lag: int) -> float:
        return float(np.mean((mid[lag:] - mid[:-lag]) ** 2) / (lag * step_s))

    return Measured(float((ask_tick - bid_tick).mean()), diffusion(1), diffusion(100))


def ratios(found: Measured, base: Measured) -> Measured:
    return Measured(*(a / b for a, b in zip(found, base, strict=True)))


def agree(found: Measured, expected: tuple[float, float, float]) -> None:
    """Within what a tick of one in 14 of the spread does to it, and sampling errors of the
    diffusions."""
    for a, b, tolerance in zip(found, expected, (0.05, 0.05, 0.25), strict=True):
        assert abs(a / b - 1) < tolerance, (found, expected)


BASE = (0.04, 1.0, 0.04)


def test_prices_scale_with_market_rate_over_add_rate():
    """Half the limit orders at each tick: twice the spread, four times the diffusion."""
    agree(ratios(measured(0.02, 1.0, 0.04, seed=4), measured(*BASE)), (2, 4, 4))


def test_more_market_orders_and_cancels_scale_prices_and_time():
    """At the same granularity, spread goes with mu / alpha and diffusion with its cube."""
    agree(ratios(measured(0.04, 3.0, 0.12, seed=5), measured(*BASE)), (3, 27, 27))


def test_time_is_in_units_of_the_rates():
    agree(ratios(measured(0.2, 5.0, 0.2, seed=6), measured(*BASE)), (1, 5, 5))


def test_granularity_widens_the_spread_and_persistence_falls_with_patience():
    """What the scales leave: the spread grows with delta / mu, and the price reverts the more, the
    longer orders wait."""
    found = [measured(0.04, 1.0, cancel_rate) for cancel_rate in (0.04, 0.08, 0.16)]
    spreads = [it.spread * 0.04 for it in found]
    persistence = [it.slow / it.fast for it in found]
    assert all(np.diff(spreads) > 0.01)
    assert all(np.diff(persistence) > 0.02)
    assert 0.4 < spreads[0] < spreads[-1] < 0.9


def test_the_spread_is_that_of_a_plain_simulation():
    """Gillespie's, where each resting order is cancelled at a rate instead of living a lifetime."""
    rates, depth = (1.0, 3.0, 0.2), 12
    flow = ZeroIntelligence(*rates, depth, Sizes.constant(1), first_tick=10**6)
    world = make_world(WORLDS, flow, opening=None, is_recorded=False)
    spreads, orders = [], []
    for sample in range(600):
        world.advance((40 + sample) * SECOND_NS)
        touch = world.touch()
        spreads.append(touch[:, 1] - touch[:, 0])
        orders.append(world.accounts[:, 0, -1].copy())
    plain_spread, plain_orders = gillespie(*rates, depth, seconds=1500)
    assert abs(np.mean(spreads) / plain_spread - 1) < 0.03
    assert abs(np.mean(orders) / plain_orders - 1) < 0.02


def gillespie(
    add_rate: float, market_rate: float, cancel_rate: float, depth: int, seconds: int
) -> tuple[float, float]:
    """Time averages of the spread and of the resting orders, after 40 seconds."""
    random = np.random.default_rng(11)
    # Each side's ticks with the orders that rest there; prices of the asks are negated.
    sides: list[dict[int, int]] = [{999_999: 20}, {-1_000_001: 20}]
    now_s, weight, spread_s, orders_s = 0.0, 0.0, 0.0, 0.0
    while now_s < seconds:
        counts = [sum(side.values()) for side in sides]
        arrivals = 2 * (add_rate * depth + market_rate)
        total = arrivals + cancel_rate * sum(counts)
        gap_s = random.exponential(1 / total)
        best = [max(side) for side in sides]
        if now_s > 40:
            weight += gap_s
            spread_s += gap_s * -(best[0] + best[1])
            orders_s += gap_s * sum(counts)
        now_s += gap_s
        place = random.uniform(0, total)
        if place < arrivals:
            side = int(place >= arrivals / 2)
            place -= side * arrivals / 2
            if place < market_rate:
                take(sides[1 - side], best[1 - side])
            else:
                key = -best[1 - side] - int(random.integers(1, depth + 1))
                sides[side][key] = sides[side].get(key, 0) + 1
        else:
            side = int(random.uniform(0, sum(counts)) >= counts[0])
            keys = list(sides[side])
            shares = np.array(list(sides[side].values())) / counts[side]
            take(sides[side], keys[int(random.choice(len(keys), p=shares))])
    return spread_s / weight, orders_s / weight


def take(side: dict[int, int], key: int) -> None:
    side[key] -= 1
    if not side[key]:
        del side[key]

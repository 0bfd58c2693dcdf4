"""Fits of Hawkes markets: known parameters are found again, and likelihoods are what they say."""

from dataclasses import replace

import numpy as np
import pytest

from mtsim.errors import UsageError
from mtsim.flow.fit_hawkes import fit_hawkes, fit_placing, spread_buckets
from mtsim.flow.hawkes import Hawkes, spectral_radius
from mtsim.flow.hawkes_likelihood import intervals, rescaling, residuals
from mtsim.flow.order_events import OrderEvents
from mtsim.flow.placing import CANCEL_TOUCH, DEEP, INSIDE, MARKET, N_KINDS, TOUCH
from tests.flow.hawkes_markets import DEEP_BOOK, events_of, market, placing
from tests.world.worlds import SECOND_NS, make_world


def recovered(n: int, **changes) -> tuple[Hawkes, Hawkes, OrderEvents]:
    """A market, what is found of it from n of its events, and these."""
    truth = market(**changes)
    world = make_world(flow=truth, opening=DEEP_BOOK, buffer_rows=1 << 17)
    world.advance(events=n)
    assert world.n_null_events[0] == 0
    events = events_of(world)
    found = fit_hawkes(
        events,
        decays=tuple(truth.decays),
        spread_starts=truth.spread_starts,
        piece_ends_ns=truth.piece_ends_ns,
    )
    return truth, found.flow, events


def at_wide_spreads(flow: Hawkes) -> tuple[np.ndarray, np.ndarray]:
    """Base rates and kernels at the second bucket: however factors are scaled, the same."""
    return flow.base * flow.spread_factors[1], flow.branching * flow.spread_factors[1]


def agree(truth: Hawkes, found: Hawkes, relative: float, absolute: float) -> None:
    base, branching = at_wide_spreads(truth)
    found_base, found_branching = at_wide_spreads(found)
    assert found_base == pytest.approx(base, rel=relative)
    large = branching >= 0.2
    assert large.sum() == 11
    assert found_branching[large] == pytest.approx(branching[large], rel=relative)
    assert np.abs(found_branching - branching)[~large].max() < absolute
    ratios = [spectral_radius(kernels) for kernels in (found_branching, branching)]
    assert ratios[0] == pytest.approx(ratios[1], rel=relative / 2)


def test_a_market_is_found_again_from_its_events():
    truth, found, events = recovered(60_000)
    base, branching = at_wide_spreads(truth)
    found_base, found_branching = at_wide_spreads(found)
    assert found_base == pytest.approx(base, rel=0.3)
    large = branching >= 0.2
    assert found_branching[large] == pytest.approx(branching[large], rel=0.3)
    assert np.abs(found_branching - branching)[~large].max() < 0.06
    assert rescaling(residuals(found, events)[0]).p_value > 0.01


@pytest.mark.slow
def test_a_million_events_give_every_parameter_to_within_ten_percent():
    truth, found, events = recovered(1_000_000)
    agree(truth, found, relative=0.1, absolute=0.02)
    of_all, of_own = residuals(found, events)
    assert rescaling(of_all).p_value > 0.01
    assert rescaling(of_own).p_value > 0.01


@pytest.mark.slow
def test_the_factors_of_the_day_and_of_spreads_are_found_again():
    ends_ns = np.array([3_000, 9_000]) * SECOND_NS
    truth, found, _ = recovered(
        300_000, piece_ends_ns=ends_ns, time_factors=np.array([1.5, 0.6, 1])
    )
    assert found.time_factors / found.time_factors[2] == pytest.approx(truth.time_factors, rel=0.1)
    inside = found.spread_factors[:, INSIDE] / found.spread_factors[1, INSIDE]
    assert inside == pytest.approx([0, 1, 2], rel=0.1)


@pytest.fixture(scope="module")
def some():
    world = make_world(flow=market(), opening=DEEP_BOOK)
    world.advance(events=5_000)
    return events_of(world)


def log_likelihood(flow: Hawkes, events: OrderEvents) -> float:
    """By the definition, event after event: of the intensity that each type has, less what all of
    them add up to."""
    total, past = 0.0, np.zeros((0, 3))
    of_all, _ = residuals(flow, events)
    total -= of_all.sum()
    for i in range(1, len(events)):
        past = np.vstack((past, [events.time_ns[i - 1], events.kind[i - 1], events.side[i - 1]]))
        ages = (events.time_ns[i] - past[:, 0]) / 1e9
        source, other = past[:, 1].astype(int), (past[:, 2] != events.side[i]).astype(int)
        children = flow.branching[source, other, :, events.kind[i]]
        rate = flow.base[events.kind[i]]
        rate += (children * flow.decays * np.exp(-ages[:, None] * flow.decays)).sum()
        bucket = np.searchsorted(flow.spread_starts, events.spread_ticks[i], side="right") - 1
        total += np.log(rate * flow.spread_factors[bucket, events.kind[i]])
    return total


def test_the_fit_is_a_maximum_of_the_likelihood(some):
    """Of its definition: no step away from it is better, and the truth is worse."""
    truth = market()
    few = OrderEvents(*(getattr(some, name)[:1200] for name in OrderEvents.__dataclass_fields__))
    found = fit_hawkes(few, decays=tuple(truth.decays), spread_starts=truth.spread_starts).flow
    best = log_likelihood(found, few)
    assert best > log_likelihood(truth, few)
    for kind in np.flatnonzero(found.base > 0.01):
        for factor in (0.9, 1.1):
            base = found.base * np.where(np.arange(N_KINDS) == kind, factor, 1.0)
            assert log_likelihood(replace(found, base=base), few) < best
    weaker = replace(found, branching=found.branching * 0.95)
    stronger = replace(found, branching=found.branching * 1.05)
    assert max(log_likelihood(other, few) for other in (weaker, stronger)) < best


def test_expected_events_are_as_many_as_there_were(some):
    found = fit_hawkes(some, decays=(20.0, 1.0))
    assert found.rescaling.mean == pytest.approx(1, abs=1e-3)
    assert found.flow.spread_factors[0, INSIDE] == 0


def test_buys_and_sells_exchanged_give_the_same_market(some):
    mirrored = replace(some, side=1 - some.side)
    flows = [fit_hawkes(it, decays=(20.0, 1.0)).flow for it in (some, mirrored)]
    assert flows[0].base == pytest.approx(flows[1].base, rel=1e-6)
    assert flows[0].branching == pytest.approx(flows[1].branching, abs=1e-6)


def test_time_that_was_not_observed_does_not_count(some):
    """A break of an hour before an event that opens a stretch changes nothing but the day."""
    opens = some.opens.copy()
    opens[2_000] = True
    whole = replace(some, opens=opens)
    later = np.where(np.arange(len(some)) >= 2_000, 3_600 * SECOND_NS, 0)
    apart = replace(whole, time_ns=some.time_ns + later)
    assert apart.seconds() == whole.seconds() < some.seconds()
    flows = [fit_hawkes(it, decays=(20.0, 1.0), most_evaluations=20).flow for it in (whole, apart)]
    assert flows[0].base.tolist() == flows[1].base.tolist()


def test_pieces_of_the_day_divide_the_time_between_events():
    n = 4
    events = OrderEvents(
        time_ns=np.array([0, 10, 30, 30]) * SECOND_NS,
        kind=np.zeros(n, np.int64),
        side=np.zeros(n, np.int64),
        spread_ticks=np.array([2, 1, 0, 9]),
        distance_ticks=np.zeros(n, np.int64),
        lots=np.ones(n, np.int64),
        best_lots=np.ones(n, np.int64),
        resting_lots=np.ones(n, np.int64),
        opens=np.arange(n) == 0,
    )
    ends_ns = np.array([4, 12, 30, 99]) * SECOND_NS
    found = intervals(events, np.array([1, 2, 9]), ends_ns)
    assert found.kind.tolist() == [0, -1, 0, -1, -1, 0, 0]
    assert found.seconds.tolist() == [0, 4, 6, 2, 18, 0, 0]
    assert found.piece.tolist() == [0, 0, 1, 1, 2, 3, 3]
    # No spread is the widest there is.
    assert found.bucket.tolist() == [1, 0, 0, 2, 2, 2, 2]


def test_buckets_of_spreads_hold_as_much_time_each(some):
    starts = spread_buckets(some)
    assert starts[:2].tolist() == [1, 2]
    assert (np.diff(starts) > 0).all()


def test_sizes_and_places_are_those_that_were_seen(some):
    found = fit_placing(some)
    truth = placing()
    assert found.sizes[TOUCH].mean() == pytest.approx(some.lots[some.kind == TOUCH].mean())
    assert found.add_deep.lots.tolist() == truth.add_deep.lots.tolist()
    assert found.add_deep.mean() == pytest.approx(
        some.distance_ticks[some.kind == DEEP].mean(), rel=1e-6
    )
    # Some of them happened to take what there was, about as many as would by chance.
    assert found.whole == pytest.approx(0, abs=0.06)


def test_takers_who_take_what_they_meet_are_found_again():
    world = make_world(8, flow=market(placing=placing(whole=0.4)), opening=DEEP_BOOK)
    world.advance(150 * SECOND_NS)
    takers = [fit_placing(events_of(world, b)).whole for b in range(8)]
    assert np.mean(takers) == pytest.approx(0.4, abs=0.06)


def test_residuals_are_tested_against_the_exponential_law():
    sample = np.random.default_rng(1).exponential(size=5_000)
    assert rescaling(sample).p_value > 0.01
    assert rescaling(sample * 1.1).p_value < 1e-4
    exact = -np.log1p(-(np.arange(100) + 0.5) / 100)
    assert rescaling(exact).distance == pytest.approx(0.005)


def test_what_cannot_be_fitted_is_refused(some):
    keep = some.kind != CANCEL_TOUCH
    fewer = OrderEvents(*(getattr(some, name)[keep] for name in OrderEvents.__dataclass_fields__))
    with pytest.raises(UsageError, match=f"kinds without one: \\[{CANCEL_TOUCH}\\]"):
        fit_hawkes(fewer)
    with pytest.raises(UsageError, match="decays above 0"):
        fit_hawkes(some, decays=(1.0, -1.0))
    with pytest.raises(UsageError, match="must not go back"):
        replace(some, time_ns=some.time_ns[::-1].copy())
    with pytest.raises(UsageError, match="kind must be from 0 to 5"):
        replace(some, kind=some.kind + MARKET + 1)
    with pytest.raises(UsageError, match="lots must have the shape"):
        replace(some, lots=some.lots[1:])

"""Impact against twins: figures that can be counted by hand, and a market where they are known."""

import numpy as np
import pytest

from mtsim.build.twins import overrides_for, study
from mtsim.errors import UsageError
from mtsim.evaluation.impact import Impact, Pair, first_divergence
from tests.build.small import BUYER, THIN_BIDS, resolved, simulated, stream

TIMES_NS = np.array([0, 10**9, 2 * 10**9])


def impact(world: list[list[int]], twin: list[list[int]], **options) -> Impact:
    pairs = tuple(
        Pair(seed, np.array(ours), np.array(theirs), None, ours == theirs)
        for seed, (ours, theirs) in enumerate(zip(world, twin, strict=True))
    )
    return Impact(TIMES_NS, pairs, **options)


def test_impact_is_half_the_difference_of_doubled_mids():
    found = impact([[200, 204, 206], [100, 106, 110]], [[200, 200, 200], [100, 100, 104]])
    assert found.mean().tolist() == [0, 2.5, 3]
    assert Impact(TIMES_NS, found.pairs, sign=-1).mean().tolist() == [0, -2.5, -3]


def test_the_interval_holds_the_mean_and_shrinks_where_seeds_agree():
    generator = np.random.default_rng(5)
    twin = generator.integers(100, 200, (40, 3))
    world = twin + np.array([2, 8, 8]) + generator.integers(-5, 6, (40, 3)) * [0, 1, 4]
    found = impact(world.tolist(), twin.tolist(), resamples=2_000)
    low, high = found.interval() or (np.zeros(0), np.zeros(0))
    mean = found.mean()
    assert (low <= mean).all()
    assert (mean <= high).all()
    widths = high - low
    assert widths[0] == 0
    # Of a normal mean: 2 x 1.96 standard errors.
    expected = 3.92 * found.by_seed().std(axis=0, ddof=1) / np.sqrt(40)
    assert widths[1:] == pytest.approx(expected[1:], rel=0.1)


def test_variance_reduction_is_of_the_difference_with_and_without_common_draws():
    world, twin = [[10, 20, 30], [14, 26, 30]], [[8, 18, 30], [12, 22, 30]]
    reduction = impact(world, twin).variance_reduction()
    # Differences 2, 2 do not vary; 2, 4 do; the last does in neither.
    assert np.isnan(reduction[0])
    assert reduction[1] == pytest.approx((18 + 8) / 2)
    assert np.isnan(reduction[2])


def test_one_seed_has_neither_interval_nor_reduction():
    found = impact([[10, 20, 30]], [[10, 18, 28]])
    assert found.interval() is None
    said = found.as_json()
    assert said["variance_reduction"] == [None] * 3
    assert said["variance_reduction_median"] is None
    assert said["impact_ticks"] == [0, 1, 1]


def test_equal_studies_draw_equal_pictures(tmp_path):
    found = impact([[200, 204, 206], [100, 106, 110]], [[200, 200, 200], [100, 100, 104]])
    for name in ("a.png", "b.png"):
        found.draw(tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_first_divergence_is_where_the_background_goes_another_way():
    both = simulated(BUYER, has_twin=True)
    world, twin = stream(both, 0), stream(both, 1)
    found = first_divergence(world, twin)
    assert found is not None
    assert found.time_ns > 10 * 10**9
    ours, theirs = (s.messages[s.messages["owner"] == 0] for s in (world, twin))
    assert ours[: found.event].tobytes() == theirs[: found.event].tobytes()
    assert (
        ours[found.event].tobytes() != theirs[found.event].tobytes()
        or world.time_ns[world.messages["owner"] == 0][found.event]
        != twin.time_ns[twin.messages["owner"] == 0][found.event]
    )
    assert first_divergence(twin, twin) is None


def test_a_buyer_moves_the_market_up_and_a_seller_down():
    for side in ("buy", "sell"):
        part = {**BUYER, "task": {**BUYER["task"], "side": side, "quantity": 300}}
        found, plan = study(lambda seed, part=part: resolved(part, seed=seed), range(8))
        low, _ = found.interval() or (np.zeros(1), np.zeros(1))
        assert plan.parent is not None
        # With the order's sign both are above 0, and clearly.
        assert low[-1] > 0
        assert found.time_ns[0] == plan.parent.start_ns
        assert (found.variance_reduction()[-20:] > 2).all()


def test_a_shock_is_held_against_the_market_without_it():
    found, plan = study(lambda seed: resolved(THIN_BIDS, seed=seed), [1, 2, 3])
    assert plan.parent is None
    assert found.time_ns[0] == 20 * 10**9
    firsts = [pair.divergence for pair in found.pairs]
    assert [first.time_ns for first in firsts if first is not None] == [20 * 10**9] * 3


def test_an_order_of_no_lots_leaves_every_path_bit_identical():
    found, _ = study(lambda seed: resolved(BUYER, seed=seed), range(4), parent_lots=0)
    assert found.as_json()["identical"] is True
    assert (found.by_seed() == 0).all()


class TestParticipation:
    @pytest.mark.parametrize("share", [0.05, 0.3])
    @pytest.mark.parametrize("parts", [(), (BUYER,)])
    def test_makes_a_parent_order_of_that_share(self, parts, share):
        own = resolved(*parts).scenario
        scenario = resolved(*parts, overrides=tuple(overrides_for(own, share))).scenario
        assert scenario.task.quantity_fraction == share
        assert scenario.task.quantity is None
        assert scenario.agent.policy == "twap"
        assert scenario.task.horizon_ns == (30 if parts else 900) * 10**9

    def test_replaces_a_task_of_another_kind(self):
        maker = {
            "agent": {"policy": "avellaneda_stoikov"},
            "task": {"kind": "market_making", "horizon": "40s"},
        }
        own = resolved(maker).scenario
        scenario = resolved(maker, overrides=tuple(overrides_for(own, 0.1))).scenario
        assert (scenario.agent.policy, scenario.task.kind) == ("twap", "execution")

    @pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
    def test_is_a_share(self, share):
        with pytest.raises(UsageError, match="from 0 to 1"):
            overrides_for(resolved().scenario, share)

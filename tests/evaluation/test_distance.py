"""Distances of samples: laws, cases by hand, and scipy's second opinion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsim.evaluation.distance import (
    MOST_BINS,
    edges_of,
    kolmogorov_smirnov,
    shares,
    total_variation,
    wasserstein,
)

samples = st.lists(st.integers(-1000, 1000), min_size=1, max_size=300).map(np.array)
DISTANCES = [total_variation, kolmogorov_smirnov]


@given(real=samples, other=samples)
@pytest.mark.parametrize("distance", DISTANCES)
def test_a_distance_lies_between_0_and_1_and_order_does_not_count(distance, real, other):
    found = distance(real, other)

    assert 0 <= found <= 1
    assert distance(real[::-1], np.random.default_rng(0).permutation(other)) == found


@given(real=samples)
@pytest.mark.parametrize("distance", DISTANCES)
def test_a_sample_is_no_distance_from_itself(distance, real):
    assert distance(real, real) == 0


@given(real=samples)
def test_every_value_of_the_real_sample_lies_in_some_bin(real):
    edges = edges_of(real)

    assert edges[0] == real.min()
    assert (np.diff(edges) > 0).all()
    assert np.isclose(shares(real, edges).sum(), 1)
    assert len(edges) <= 3 * MOST_BINS


def test_a_point_mass_has_its_bin_to_itself():
    rng = np.random.default_rng(1)
    real = np.concatenate([np.full(5000, 100), rng.integers(1, 2000, 5000)])

    edges = edges_of(real)
    at = int(np.searchsorted(edges, 100))

    assert edges[at] == 100
    assert edges[at + 1] == 101


def test_total_variation_by_hand():
    real, other = np.array([1, 1, 2, 3]), np.array([1, 2, 2, 9])

    # Shares (1/2, 1/4, 1/4) and (1/4, 1/2, 1/4): 9 falls into the last bin.
    assert total_variation(real, other) == 0.25


def test_disjoint_samples_are_1_apart():
    assert total_variation(np.arange(10), np.array([9, 9])) == 0.9
    assert kolmogorov_smirnov(np.arange(10), np.arange(10) + 100) == 1


def test_heavy_tails_of_the_other_sample_do_not_lengthen_the_yardstick():
    rng = np.random.default_rng(2)
    real = rng.normal(size=4000)
    near, far = rng.normal(size=4000) * 1.2, rng.standard_cauchy(4000)

    assert wasserstein(real, far) > 5 * wasserstein(real, near)


def test_a_shift_by_an_interquartile_range_is_1_wasserstein():
    real = np.arange(1001)

    assert wasserstein(real, real + 500) == pytest.approx(1, rel=1e-3)


def test_scipy_agrees():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    real, other = rng.normal(size=500), rng.normal(0.3, 2, size=700)
    iqr = np.subtract(*np.quantile(real, [0.75, 0.25]))

    assert kolmogorov_smirnov(real, other) == pytest.approx(stats.ks_2samp(real, other).statistic)
    assert wasserstein(real, other) * iqr == pytest.approx(stats.wasserstein_distance(real, other))


@pytest.mark.parametrize("distance", [*DISTANCES, wasserstein])
def test_an_empty_sample_has_no_distance(distance):
    assert np.isnan(distance(np.array([1.0]), np.array([])))
    assert np.isnan(distance(np.array([]), np.array([1.0])))

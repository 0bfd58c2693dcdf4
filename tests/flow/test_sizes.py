"""A table of sizes is the law it was made from, to one part in 2^32 or 65,536."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from mtsim.errors import UsageError
from mtsim.flow.sizes import Sizes, draw_lots


@njit
def drawn(table, bits):
    return draw_lots(table, 0, bits)


tables = st.dictionaries(st.integers(1, 10**6), st.floats(0.001, 1000), min_size=1, max_size=40)


@given(tables, st.lists(st.integers(0, 2**32 - 1), max_size=50))
def test_a_draw_inverts_the_cumulative_law(table, bits):
    sizes = Sizes.empirical(np.array(list(table)), np.array(list(table.values())))
    words = sizes.words()
    for it in [0, 2**32 - 1, *bits]:
        expected = sizes.lots[np.searchsorted(sizes.upper, it, side="right")]
        assert drawn(words, it) == expected


def test_probabilities_are_the_weights():
    sizes = Sizes.empirical(np.array([5, 1, 9]), np.array([1, 2, 5]))
    assert sizes.lots.tolist() == [1, 5, 9]
    assert sizes.upper.tolist() == [2**30, 3 * 2**29, 2**32]
    assert sizes.mean() == pytest.approx((2 * 1 + 5 + 5 * 9) / 8)


def test_sizes_of_no_weight_are_never_drawn():
    sizes = Sizes.empirical(np.array([1, 2, 3]), np.array([0.0, 1.0, 0.0]))
    assert [drawn(sizes.words(), bits) for bits in (0, 2**31, 2**32 - 1)] == [2, 2, 2]


def test_a_lognormal_law_keeps_its_median_and_mean():
    sizes = Sizes.of_quantiles(lambda u: 50 * math.exp(0.8 * NormalDist().inv_cdf(u)))
    assert drawn(sizes.words(), 2**31) == 50
    assert sizes.mean() == pytest.approx(50 * math.exp(0.32), rel=0.001)


@pytest.mark.parametrize(
    ("lots", "weights", "reason"),
    [
        ([], [], "at least one size"),
        ([1, 2], [1], "one weight for each"),
        ([0], [1], "from 1 to"),
        ([1.5], [1], "from 1 to"),
        ([1], [0], "not all 0"),
        ([1, 2], [1, -1], "not negative"),
    ],
)
def test_sizes_that_cannot_be_are_refused(lots, weights, reason):
    with pytest.raises(UsageError, match=reason):
        Sizes.empirical(np.array(lots), np.array(weights))

"""Bins, and the laws inside them: what is cut where, what fails, and what is drawn."""

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from scipy import stats

from mtsim.errors import UsageError
from mtsim.model.bins import Binning, Bins, Spacing, fit_bins
from mtsim.model.laws import POINTS, Law, code_of, draw_from_law, law_of
from mtsim.model.tally import MOST_DISTINCT, Tally, merged


def tally_of(values) -> Tally:
    tally = Tally()
    tally.add(np.asarray(values, np.int64))
    return tally.close()


def laws_of(bins: Bins, tally: Tally) -> Law:
    return law_of(tally.values, tally.counts, bins.encode(tally.values), len(bins))


def drawn(bins: Bins, law: Law, code: int, n: int, seed: int = 0) -> np.ndarray:
    units = np.random.default_rng(seed).random(n)
    codes = np.full(n, code)
    return law.draw(codes, units, bins.lower[codes], bins.upper[codes])


numbers = st.lists(st.integers(-300, 300), min_size=1, max_size=300)


# --- where the line is cut


@given(values=numbers, n=st.integers(2, 20), log=st.booleans())
def test_bins_cover_the_line_without_holes_and_none_is_empty(values, n, log):
    spacing = Spacing.LOG if log else Spacing.QUANTILE
    tally = tally_of(values)
    try:
        bins = fit_bins("x", Binning(n, spacing, low=-1000, high=1000, collapses=True), tally)
    except UsageError:
        # More atoms than bins can hold: an error of its own, tested below.
        reject()

    assert bins.lower[0] == -1000
    assert bins.upper[-1] == 1000
    np.testing.assert_array_equal(bins.lower[1:], bins.upper[:-1] + 1)
    assert (bins.lower <= bins.upper).all()
    assert len(bins) == min(n, len(set(values)))
    assert (laws_of(bins, tally).counts > 0).all()


@given(values=numbers, n=st.integers(2, 20))
def test_a_value_with_more_than_an_nth_of_the_mass_is_alone_in_its_bin(values, n):
    tally = tally_of(values)
    try:
        bins = fit_bins("x", Binning(n, collapses=True), tally)
    except UsageError:
        # More atoms than bins can hold: an error of its own, tested below.
        reject()
    codes = bins.encode(tally.values)

    for value, count in zip(tally.values, tally.counts, strict=True):
        if count * n > len(values):
            assert tally.values[codes == bins.encode(np.array([value]))].tolist() == [value]


def test_an_atom_does_not_take_in_its_neighbours_that_were_never_seen():
    values = [1] * 50 + [100] * 50 + list(range(40, 60)) + list(range(150, 170))

    bins = fit_bins("lots", Binning(6, low=1, high=10_000), tally_of(values))

    assert bins.encode(np.array([1, 2, 39, 99, 100, 101, 10_000])).tolist() == [0, 1, 1, 2, 3, 4, 5]


def test_quantile_bins_without_atoms_are_equally_heavy():
    tally = tally_of(np.random.default_rng(0).integers(0, 100_000, 50_000))

    counts = laws_of(fit := fit_bins("x", Binning(16), tally), tally).counts

    assert len(fit) == 16
    assert abs(counts / counts.mean() - 1).max() < 0.002


def test_log_bins_are_equally_wide_in_the_logarithm():
    tally = tally_of(np.arange(1, 100_001))

    bins = fit_bins("x", Binning(10, Spacing.LOG, low=1), tally)

    widths = np.diff(np.log1p(bins.upper[2:-1]))
    assert abs(widths / widths.mean() - 1).max() < 0.05


def test_log_bins_begin_where_the_values_do_and_not_at_an_atom_far_below():
    values = [0] * 100 + np.rint(np.exp(np.linspace(6, 16, 5000))).astype(np.int64).tolist()

    bins = fit_bins("gap", Binning(11, Spacing.LOG, low=0, exact=(0, 0)), tally_of(values))

    assert bins.upper[0] == 0
    assert np.log(bins.upper[1:-1]).tolist() == pytest.approx(list(range(7, 16)), abs=0.02)


def test_exact_values_have_bins_of_their_own_however_rare_they_are():
    values = [0] * 1000 + [-1, 2] + list(range(10, 500))

    bins = fit_bins("add", Binning(8, exact=(-2, 3)), tally_of(values))

    assert bins.encode(np.array([-9, -1, 0, 2, 3, 10])).tolist() == [0, 0, 1, 2, 3, 3]


def test_fewer_bins_than_asked_for_are_an_error_that_says_how_many_there_are():
    with pytest.raises(UsageError, match=r"bins of lots: 8 bins were asked for, 3 can be realised"):
        fit_bins("schema book: bins of lots", Binning(8), tally_of([1, 2, 3, 3]))


def test_more_atoms_than_the_bins_can_hold_are_an_error_and_not_a_merge():
    values = [1] * 30 + [2] + [5] * 30 + [7] + [9] * 30

    with pytest.raises(UsageError, match="Ask for at least 5"):
        fit_bins("lots", Binning(4), tally_of(values))
    assert len(fit_bins("lots", Binning(5), tally_of(values))) == 5


def test_bins_of_nothing_are_an_error():
    with pytest.raises(UsageError, match="training data has no value"):
        fit_bins("add", Binning(4), Tally())


def test_a_constant_has_one_bin_where_a_collapse_is_allowed():
    bins = fit_bins("x", Binning(8, collapses=True), tally_of([7] * 9))

    assert (bins.lower.tolist(), bins.upper.tolist()) == ([-(1 << 62)], [1 << 62])
    assert (bins.clip_low, bins.clip_high) == (7, 7)


def test_plain_quantiles_collapse_where_equal_edges_fall_together():
    values = [0] * 900 + [5] * 50 + [9] * 50

    bins = fit_bins("price", Binning(8, Spacing.PLAIN, collapses=True), tally_of(values))

    assert bins.upper[:-1].tolist() == [0]


def test_outlier_bins_hold_their_share_and_the_rest_is_equally_frequent():
    tally = tally_of(np.random.default_rng(1).normal(0, 1e6, 100_000))

    bins = fit_bins("price", Binning(16, outliers_ppm=10_000), tally)
    counts = laws_of(bins, tally).counts

    assert counts[[0, -1]].tolist() == pytest.approx([1000, 1000], abs=2)
    assert abs(counts[1:-1] / 7000 - 1).max() < 0.01
    assert (bins.clip_low, bins.clip_high) == (bins.lower[1], bins.upper[-2])


@given(low=st.integers(0, 50), spread=st.integers(0, 5000), n=st.integers(2, 20))
def test_even_log_bins_keep_all_their_codes_even_where_some_are_hollow(low, spread, n):
    tally = tally_of([low, low + spread // 3, low + spread])

    binning = Binning(n, Spacing.EVEN_LOG, low=0, outliers_ppm=10_000)
    bins = fit_bins("lots", binning, tally)

    assert len(bins) == n
    assert (bins.lower <= bins.upper).all()
    np.testing.assert_array_equal(bins.lower[1:], bins.upper[:-1] + 1)
    assert laws_of(bins, tally).counts.sum() == 3


@given(values=numbers, more=st.lists(st.integers(-2000, 2000), max_size=40))
def test_compiled_and_vectorised_encoding_agree(values, more):
    bins = fit_bins("x", Binning(6, low=-1000, high=1000, collapses=True), tally_of(values))
    inside = np.array([value for value in more + values if -1000 <= value <= 1000])

    expected = [code_of(bins.lower, bins.upper, value) for value in inside]

    assert bins.encode(inside).tolist() == expected
    assert code_of(bins.lower, bins.upper, 1001) == code_of(bins.lower, bins.upper, -1001) == -1


# --- what is drawn


@given(values=numbers, n=st.integers(2, 20), seed=st.integers(0, 99))
def test_what_is_drawn_from_a_bin_is_in_the_bin(values, n, seed):
    """The ends are open: a draw from them must not leave what training has seen."""
    tally = tally_of(values)
    bins = fit_bins("x", Binning(n, Spacing.PLAIN, collapses=True), tally)
    law = laws_of(bins, tally)

    for code in np.flatnonzero(law.counts):
        values_drawn = drawn(bins, law, int(code), 50, seed)
        assert (bins.encode(values_drawn) == code).all()
        assert set(values_drawn.tolist()) <= set(values)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_draws_follow_the_training_law_of_few_values(code):
    draw = np.random.default_rng(3)
    tally = tally_of(draw.geometric(0.1, 20_000))
    bins = fit_bins("lots", Binning(3, low=1), tally)
    law = laws_of(bins, tally)
    inside = bins.encode(tally.values) == code

    values, counts = np.unique(drawn(bins, law, code, 20_000), return_counts=True)
    observed = np.zeros(int(inside.sum()))
    observed[np.searchsorted(tally.values[inside], values)] = counts
    expected = tally.counts[inside] / tally.counts[inside].sum() * 20_000
    likely = expected >= 5

    assert stats.chisquare(
        np.append(observed[likely], observed[~likely].sum() + 1),
        np.append(expected[likely], expected[~likely].sum() + 1),
    ).pvalue > 0.01  # fmt: skip


def test_draws_follow_the_training_law_of_very_many_values_to_the_width_of_its_points():
    gaps = np.exp(np.random.default_rng(4).normal(14, 3, 300_000)).astype(np.int64)
    gaps[::3] = 1_000_000
    tally = tally_of(gaps)
    bins = fit_bins("gap", Binning(4, low=0), tally)
    law = laws_of(bins, tally)

    assert tally.heavy is not None
    assert tally.heavy.tolist() == [1_000_000]
    for code in range(len(bins)):
        inside = gaps[bins.encode(gaps) == code]
        distance = stats.ks_2samp(drawn(bins, law, code, 50_000), inside).statistic
        assert distance < 1 / POINTS + 2 * np.sqrt(1 / 50_000 + 1 / len(inside))
    assert (np.diff(law.start) <= POINTS).all()


def test_atoms_inside_a_bin_keep_their_exact_weight():
    values = np.concatenate([np.arange(1000), np.full(500, 700)])

    law = laws_of(bins := fit_bins("x", Binning(2), tally_of(values)), tally_of(values))
    at = np.searchsorted(law.value, 700)
    begin = law.start[bins.encode(np.array([700]))[0]]

    assert law.weight[at] - (law.weight[at - 1] if at > begin else 0) == 501


def test_a_draw_is_cut_to_the_feasible_range_by_the_law_not_by_clipping():
    """Of 2 and 4 alone in the range the law says one to two, whatever else the bin holds."""
    law = Law(np.array([0, 4]), np.array([1, 2, 4, 9]), np.array([100, 110, 130, 200]))
    units = (np.arange(3000) + 0.5) / 3000
    ends = np.full(3000, 2), np.full(3000, 5)

    values, counts = np.unique(law.draw(np.zeros(3000, int), units, *ends), return_counts=True)

    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {2: 1000, 4: 2000}


def test_where_nothing_seen_is_feasible_all_feasible_integers_are_alike():
    law = Law(np.array([0, 2]), np.array([1, 9]), np.array([5, 10]))
    units = (np.arange(900) + 0.5) / 900

    values, counts = np.unique(
        law.draw(np.zeros(900, int), units, np.full(900, 3), np.full(900, 5)), return_counts=True
    )

    assert (values.tolist(), counts.tolist()) == ([3, 4, 5], [300, 300, 300])


@given(
    unit=st.floats(0, 1, exclude_max=True), low=st.integers(0, 40), width=st.integers(0, 1 << 61)
)
def test_every_uniform_gives_a_value_in_the_range(unit, low, width):
    arrays = np.array([0, 1]), np.array([0, 2]), np.array([7, 20]), np.array([1, 1 << 60])

    assert low <= draw_from_law(*arrays, 0, 0, unit, low, low + width) <= low + width


# --- counting


@given(values=st.lists(st.integers(-(1 << 62), 1 << 62), min_size=1), at=st.integers(0, 100))
def test_a_tally_does_not_depend_on_how_values_came_in_batches(values, at):
    together, apart = tally_of(values), Tally()
    apart.add(np.array(values[:at], np.int64))
    apart.add(np.array(values[at:], np.int64))
    apart.close()

    assert together.values.tolist() == apart.values.tolist() == sorted(set(values))
    assert together.counts.tolist() == apart.counts.tolist()
    assert together.ends == (min(values), max(values))


def test_many_distinct_values_are_counted_in_fine_cells_whatever_the_batches():
    values = np.exp(np.random.default_rng(5).uniform(0, 40, 600_000)).astype(np.int64)
    values[::2] *= -1
    together, apart = tally_of(values), Tally()
    for batch in np.array_split(values, 7):
        apart.add(batch)
    apart.close()

    assert together.heavy is not None
    assert len(together.values) <= MOST_DISTINCT
    np.testing.assert_array_equal(together.values, apart.values)
    np.testing.assert_array_equal(together.counts, apart.counts)
    assert together.total() == len(values)
    nearest = np.sort(values)
    counted = np.repeat(together.values, together.counts)
    assert (np.abs(counted - nearest) <= np.abs(nearest) / 1024).all()
    small = np.abs(nearest) < 2048
    np.testing.assert_array_equal(counted[small], nearest[small])


def test_a_heavy_cell_is_no_atom_so_that_its_values_are_encoded_where_they_were_counted():
    draw = np.random.default_rng(6)
    values = np.exp(draw.normal(14, 3, 600_000)).astype(np.int64)
    values[::2] = (1 << 30) + draw.integers(0, 1 << 20, 300_000)
    tally = tally_of(values)

    bins = fit_bins("gap", Binning(4, low=0), tally)

    counted = laws_of(bins, tally).counts
    encoded = np.bincount(bins.encode(values), minlength=len(bins))
    assert tally.heavy is not None
    assert abs(encoded - counted).max() < len(values) / 1024


def test_tallies_merge_as_if_all_had_been_counted_at_once():
    first, second = np.arange(0, 6 * MOST_DISTINCT, 2), np.arange(-50, 50)

    both = merged(tally_of(first), tally_of(second))
    once = tally_of(np.concatenate([first, second]))

    assert both.ends == once.ends
    np.testing.assert_array_equal(both.values, once.values)
    np.testing.assert_array_equal(both.counts, once.counts)

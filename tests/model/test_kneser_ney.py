"""Kneser-Ney against its definition, as a distribution, and on chains whose entropy is known."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtsim.errors import UsageError
from mtsim.model.kneser_ney import KneserNey, draw, preceding, sequence_examples
from tests.model.plain_kneser_ney import PlainKneserNey

N_SYMBOLS = 4
FILLER = N_SYMBOLS


@st.composite
def stretches(draw) -> list[np.ndarray]:
    """Some with runs, so that there are counts of 1, 2, 3, 4 and more."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.integers(0, 60), min_size=1, max_size=4).filter(lambda s: max(s) > 1))
    weights = rng.dirichlet(np.full(N_SYMBOLS, 0.7))
    return [rng.choice(N_SYMBOLS, size, p=weights) for size in sizes]


def fitted(sequences, order: int, n_symbols: int = N_SYMBOLS, **more) -> KneserNey:
    symbols, contexts = sequence_examples(sequences, order, n_symbols)
    return KneserNey.fit(symbols, contexts, n_symbols, (n_symbols + 1,) * (order - 1), **more)


def all_contexts(places: int) -> np.ndarray:
    rows = list(itertools.product(range(N_SYMBOLS + 1), repeat=places))
    return np.array(rows, np.int64).reshape(len(rows), places)


def chain(transition: np.ndarray, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cumulative = np.cumsum(transition, axis=1)
    units = rng.random(n)
    states = [0]
    for unit in units:
        states.append(int(np.searchsorted(cumulative[states[-1]], unit)))
    return np.array(states)


def nats(model: KneserNey, sequences) -> float:
    symbols, contexts = sequence_examples(sequences, model.order, model.n_symbols)
    return -float(model.log_probabilities(symbols, contexts).mean())


class TestExamples:
    @given(stretches(), st.integers(1, 5))
    def test_a_context_is_what_came_before_inside_its_stretch(self, sequences, order):
        symbols, contexts = sequence_examples(sequences, order, FILLER)
        expected = [
            (int(stretch[i]), [int(stretch[i - k]) if i >= k else FILLER for k in range(1, order)])
            for stretch in sequences
            for i in range(1, len(stretch))
        ]
        assert list(zip(symbols.tolist(), contexts.tolist(), strict=True)) == expected

    @pytest.mark.parametrize("size", [0, 1])
    def test_a_stretch_of_its_beginning_alone_has_none(self, size):
        assert preceding(np.zeros(size), 3, FILLER).shape == (0, 3)


class TestProbabilities:
    @settings(max_examples=60)
    @given(stretches(), st.integers(1, 5), st.booleans(), st.data())
    def test_they_are_those_of_the_definition(self, sequences, order, continuation, data):
        model = fitted(sequences, order, continuation=continuation)
        symbols, contexts = sequence_examples(sequences, order, FILLER)
        plain = PlainKneserNey(
            list(zip(symbols.tolist(), contexts.tolist(), strict=True)),
            N_SYMBOLS,
            continuation=continuation,
        )
        seed = data.draw(st.integers(0, 2**32))
        rows = np.random.default_rng(seed).integers(0, N_SYMBOLS + 1, (8, order - 1))
        rows = np.concatenate([rows, contexts[:8]])
        expected = [[plain.probability(s, row) for s in range(N_SYMBOLS)] for row in rows.tolist()]
        assert np.allclose(model.distributions(rows), expected, rtol=1e-12)
        assert np.allclose(model.discounts, plain.discounts, rtol=1e-12)

    def test_the_definition_is_met_with_estimated_discounts_too(self):
        """Small examples mostly have none to estimate: this one does, at every order."""
        rng = np.random.default_rng(3)
        sequence = np.minimum(rng.geometric(0.06, 1500) - 1, 39)
        model = fitted([sequence], 3, 40)
        symbols, contexts = sequence_examples([sequence], 3, 40)
        plain = PlainKneserNey(list(zip(symbols.tolist(), contexts.tolist(), strict=True)), 40)
        assert not (model.discounts[1:] == [0, 0.5, 1, 1.5]).all(axis=1).any()
        expected = [
            plain.probability(s, c) for s, c in zip(symbols[:60], contexts[:60], strict=True)
        ]
        found = model.log_probabilities(symbols[:60], contexts[:60])
        assert np.allclose(found, np.log(expected), rtol=1e-12)

    @given(stretches(), st.integers(1, 4), st.booleans())
    def test_they_are_above_0_and_add_up_to_1_after_every_context(
        self, sequences, order, continuation
    ):
        model = fitted(sequences, order, continuation=continuation)
        found = model.distributions(all_contexts(order - 1))
        assert (found > 0).all()
        assert np.allclose(found.sum(axis=1), 1, rtol=0, atol=1e-12)

    @given(stretches(), st.integers(1, 4), st.integers(0, N_SYMBOLS), st.integers(0, N_SYMBOLS))
    def test_a_mass_is_the_sum_of_its_symbols(self, sequences, order, one, other):
        first, end = sorted((one, other))
        model, contexts = fitted(sequences, order), all_contexts(order - 1)
        n = len(contexts)
        found = model.masses(np.full(n, first), np.full(n, end), contexts)
        assert np.allclose(found, model.distributions(contexts)[:, first:end].sum(axis=1))

    @given(stretches(), st.integers(0, N_SYMBOLS - 1))
    def test_one_symbol_has_the_probability_of_its_distribution(self, sequences, symbol):
        model, contexts = fitted(sequences, 3), all_contexts(2)
        found = model.log_probabilities(np.full(len(contexts), symbol), contexts)
        assert np.allclose(np.exp(found), model.distributions(contexts)[:, symbol], rtol=1e-12)

    def test_contexts_never_seen_back_off_to_the_longest_that_was(self):
        model = fitted([np.array([0, 1, 2, 0, 1, 2, 0, 1, 1])], 3)
        never = model.distributions(np.array([[3, 0], [3, 3], [1, 3], [1, 2]]))
        assert np.array_equal(never[0], never[1])
        assert np.array_equal(never[2], never[3])
        assert not np.array_equal(never[0], never[2])
        assert not np.array_equal(never[2], model.distributions(np.array([[1, 0]]))[0])

    def test_order_1_is_the_unigram(self):
        sequence = np.repeat([0, 1, 1, 2, 2, 2, 2], 1000)
        model = fitted([sequence], 1)
        counts = np.bincount(sequence[1:], minlength=N_SYMBOLS)
        found = model.distributions(np.empty((1, 0), np.int64))[0]
        assert np.allclose(found, counts / counts.sum(), atol=1e-3)
        # Three discounts of 1.5, shared by all four alike.
        assert found[3] == pytest.approx(3 * 1.5 / counts.sum() / N_SYMBOLS)

    def test_a_short_context_counts_after_how_many_codes_a_symbol_came(self):
        """3 follows nothing but 2, however often: after a code never seen it is rare."""
        sequence = np.array([0, 1, 0, 0, 1, 1, 2, 0, 2, 1] + [2, 3] * 50)
        new = np.array([[FILLER]])
        by_codes = fitted([sequence], 2).distributions(new)[0]
        by_times = fitted([sequence], 2, continuation=False).distributions(new)[0]
        assert by_codes[3] < by_codes[[0, 1, 2]].min()
        assert by_times[3] > by_times[[0, 1]].max()

    def test_nothing_to_count_is_an_error(self):
        with pytest.raises(UsageError, match="no segment of the training part has two positions"):
            fitted([np.array([1]), np.array([], np.int64)], 3)


class TestSkill:
    def test_a_known_chain_is_learnt_to_its_entropy_rate(self):
        rng = np.random.default_rng(1)
        transition = rng.dirichlet(np.full(8, 0.5), 8)
        powers = np.linalg.matrix_power(transition, 200)[0]
        rate = -(powers[:, None] * transition * np.log(transition)).sum()
        training = [chain(transition, 100_000, 2)]
        test = [chain(transition, 100_000, 3)]
        # What the test sample itself has, under the true chain: no model of counts is below it.
        truth = -np.log(transition[test[0][:-1], test[0][1:]]).mean()
        assert truth == pytest.approx(rate, abs=0.01)
        # Frequencies alone cost half a nat for each free number and example.
        for order in (2, 4):
            cost = 7 * 8 ** (order - 1) / 2 / 100_000
            assert truth < nats(fitted(training, order, 8), test) < truth + 1.5 * cost
        assert nats(fitted(training, 1, 8), test) > rate + 0.3

    def test_longer_contexts_are_needed_where_the_chain_has_them(self):
        """Each symbol is the sum of the two before it modulo 5, but for a tenth at random."""
        rng = np.random.default_rng(4)
        symbols = [0, 1]
        for noise in rng.random(60_000):
            ahead = (symbols[-1] + symbols[-2]) % 5 if noise < 0.9 else int(rng.integers(5))
            symbols.append(ahead)
        half = [np.array(symbols[:30_000])], [np.array(symbols[30_000:])]
        rate = -(0.92 * np.log(0.92) + 4 * 0.02 * np.log(0.02))
        assert nats(fitted(half[0], 2, 5), half[1]) > np.log(5) - 0.01
        assert nats(fitted(half[0], 3, 5), half[1]) == pytest.approx(rate, abs=0.02)

    @pytest.mark.parametrize("order", [2, 3, 4, 5])
    def test_what_was_shuffled_shows_no_skill_over_the_unigram(self, order):
        rng = np.random.default_rng(order)
        transition = rng.dirichlet(np.full(30, 0.1), 30)
        training, test = (rng.permutation(chain(transition, 20_000, seed)) for seed in (8, 9))
        skill = 1 - nats(fitted([training], order, 30), [test]) / nats(
            fitted([training], 1, 30), [test]
        )
        assert -0.05 < skill < 0.001


class TestDraw:
    @given(st.integers(0, 2**32), st.integers(1, 6))
    def test_a_draw_inverts_the_cumulative_weights(self, seed, n_symbols):
        rng = np.random.default_rng(seed)
        weights = rng.random((20, n_symbols)) * (rng.random((20, n_symbols)) < 0.6)
        weights[:, rng.integers(n_symbols)] += 0.1
        units = rng.random(20)
        for row, unit, found in zip(weights, units, draw(weights, units), strict=True):
            below = row[:found].sum()
            assert below <= unit * row.sum() * (1 + 1e-12)
            assert below + row[found] > unit * row.sum() * (1 - 1e-12)
            assert row[found] > 0

    def test_even_units_give_every_symbol_its_share(self):
        weights = np.array([3.0, 0.0, 1.0, 4.0])
        units = (np.arange(800) + 0.5) / 800
        found = draw(np.tile(weights, (800, 1)), units)
        assert np.bincount(found).tolist() == [300, 0, 100, 400]

    @pytest.mark.parametrize("unit", [0.0, float(np.nextafter(1.0, 0.0))])
    def test_the_ends_of_the_unit_interval_draw_what_has_weight(self, unit):
        """The largest uniform times a small total may be the total itself."""
        weights = np.array([[0.0, 5e-324, 5e-324, 0.0], [0.0, 0.1, 0.7, 0.0]])
        found = draw(weights, np.full(2, unit))
        assert found.tolist() == ([1, 1] if unit == 0 else [2, 2])

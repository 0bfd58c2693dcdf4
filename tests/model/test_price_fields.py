"""The schema `tradefm`: 16,384 codes against the average price, and the context beside them."""

import numpy as np
import pytest

from mtsim.errors import UsageError
from mtsim.model.actions import ACTION_DTYPE, NO_VWAP, ActionKind
from mtsim.model.price_fields import CONTEXT, TRADEFM
from mtsim.model.schemas import schema_named
from mtsim.model.tokenizer import Tokenizer
from tests.model.generated_actions import batches_of, generated_actions


@pytest.fixture(scope="module")
def actions() -> np.ndarray:
    return generated_actions(40_000)


@pytest.fixture(scope="module")
def tokenizer(actions) -> Tokenizer:
    return Tokenizer.fit(schema_named("tradefm"), batches_of(actions, 9000), saw="generated")


def test_there_are_16384_codes_and_three_special_tokens(tokenizer):
    assert tokenizer.radices == (2, 2, 16, 16, 16)
    assert tokenizer.vocabulary == 3 + 16_384
    assert tokenizer.dtype == np.uint16


def test_actions_before_the_first_trade_are_dropped_and_counted_never_filled_in(tokenizer, actions):
    encoded = tokenizer.encode(actions)

    unknown = np.isnan(actions["vwap_tick"])
    assert encoded.dropped["no_trade_before"] == unknown.sum() > 0
    np.testing.assert_array_equal(encoded.kept, ~unknown)


def test_a_trade_is_an_add_with_an_aggressive_price(tokenizer, actions):
    encoded = tokenizer.encode(actions)
    kept = actions[encoded.kept]

    fields = tokenizer.fields_of(encoded.tokens)

    np.testing.assert_array_equal(fields[:, 0], kept["kind"] == ActionKind.CANCEL)
    np.testing.assert_array_equal(fields[:, 1], kept["side"])


def test_relative_prices_are_equally_frequent_but_for_one_percent_at_either_end(tokenizer):
    marginal = tokenizer.report().marginals["price"]

    shares = marginal / marginal.sum()
    assert shares[[0, -1]].tolist() == pytest.approx([0.01, 0.01], abs=0.002)
    assert shares[1:-1].tolist() == pytest.approx([0.07] * 14, abs=0.005)


def test_prices_off_the_training_range_fall_into_the_outlier_bins_and_are_counted(tokenizer):
    far = np.zeros(3, ACTION_DTYPE)
    far["price_tick"], far["vwap_tick"] = [1, 2**31 - 1, 20_000], 20_000.0
    far["lots"] = [1, 2**31 - 1, 1]

    encoded = tokenizer.encode(far)

    assert tokenizer.fields_of(encoded.tokens)[:2, 2].tolist() == [0, 15]
    assert encoded.clipped["price"] == 2
    assert encoded.clipped["lots"] == 1


def test_a_price_is_relative_to_the_average_in_whole_parts_per_billion():
    action = np.zeros(2, ACTION_DTYPE)
    action["price_tick"], action["vwap_tick"], action["lots"] = 101, [100.0, 0.0], 1

    measured = TRADEFM.measure(action, TRADEFM.new_past())

    # An average of 0 is divided by as one tick is.
    assert measured["price"].tolist() == [10_000_000, 101_000_000_000]


def test_the_context_is_causal_and_has_no_open_before_the_first_trade(tokenizer, actions):
    past = tokenizer.new_past()
    parts = [tokenizer.context(part, past, liquidity_tier=3) for part in np.array_split(actions, 9)]
    context = np.concatenate(parts)

    np.testing.assert_array_equal(
        context, tokenizer.context(actions, tokenizer.new_past(), liquidity_tier=3)
    )
    assert context.shape == (len(actions), len(CONTEXT))
    assert (context[:, 0] == 3).all()
    np.testing.assert_array_equal(context[:, 1], actions["agent"])
    unknown = np.isnan(actions["vwap_tick"])
    np.testing.assert_array_equal(context[:, 2] < 0, unknown)
    first = actions["vwap_tick"][~unknown][0]
    at_open = np.flatnonzero(actions["vwap_tick"] == first)[0]
    assert context[at_open, 2] == tokenizer.bins["open"].encode(np.array([0]))[0]


def test_encoding_and_asking_for_the_context_share_one_past(tokenizer, actions):
    past = tokenizer.new_past()
    apart = tokenizer.context(actions[:20_000], tokenizer.new_past(), 0)

    tokenizer.encode(actions[:20_000], past)

    np.testing.assert_array_equal(tokenizer.context(actions[:20_000], past, 0), apart)


def test_other_schemas_have_no_context(actions):
    tokenizer = Tokenizer.fit(schema_named("book"), batches_of(actions, 9000), saw="generated")

    with pytest.raises(UsageError, match="only tradefm"):
        tokenizer.context(actions, tokenizer.new_past(), 0)


def test_nothing_is_known_without_any_trade(actions):
    silent = actions[:5000].copy()
    silent["vwap_tick"] = NO_VWAP

    with pytest.raises(UsageError, match="schema tradefm: bins of price: 16 bins were asked for"):
        Tokenizer.fit(schema_named("tradefm"), batches_of(silent, 9000), saw="generated")

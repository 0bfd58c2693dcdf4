"""The schemas of takers: causal by construction, and the published baseline with its collapse."""

import numpy as np
import pytest

from mtsim.model.actions import ACTION_DTYPE, ActionKind
from mtsim.model.schemas import schema_named
from mtsim.model.tokenizer import Tokenizer
from mtsim.model.trade_fields import HALF_LIFE_TRADES, TRADES, TRADES_579, new_past
from tests.model.generated_actions import batches_of, generated_actions

# What `trades` measures a size in: 1024ths of the usual one.
USUAL = 1024


def trades_of(*, prices, lots=None, sides=None, times_ns=None) -> np.ndarray:
    trades = np.zeros(len(prices), ACTION_DTYPE)
    trades["kind"] = ActionKind.TRADE
    trades["price_tick"] = prices
    trades["lots"] = 1 if lots is None else lots
    trades["side"] = 0 if sides is None else sides
    trades["time_ns"] = 1000 * np.arange(len(prices)) if times_ns is None else times_ns
    trades["opens"][:1] = 1
    return trades


def tokenizer_of(name: str, trades: np.ndarray, bins=None) -> Tokenizer:
    return Tokenizer.fit(schema_named(name, bins), batches_of(trades, 7000), saw="generated")


def baseline_trades(n: int = 40_000) -> np.ndarray:
    """Four prices of five are that of the trade before, and more than half of the gaps are 0."""
    draw = np.random.default_rng(7)
    moves = draw.choice([0, 1, -1], n, p=[0.8, 0.1, 0.1])
    gaps = draw.choice([0, 1_000_000, 7_000_000], n, p=[0.55, 0.3, 0.15])
    return trades_of(
        prices=1_000_000 + np.cumsum(moves),
        lots=draw.integers(1, 10_000, n),
        sides=draw.integers(0, 2, n),
        times_ns=np.cumsum(gaps),
    )


def test_a_move_is_counted_towards_the_taker_s_side():
    measured = TRADES.measure(
        trades_of(prices=[100, 103, 101, 101], sides=[0, 0, 1, 1]), new_past()
    )

    assert measured["move"].tolist() == [3, 2, 0]


def test_gaps_are_between_trades_whatever_else_happens_between_them():
    actions = trades_of(prices=[100] * 5, times_ns=[0, 10, 30, 60, 100])
    actions["kind"][[1, 3]] = ActionKind.ADD, ActionKind.CANCEL

    assert TRADES.measure(actions, new_past())["gap"].tolist() == [30, 70]


def test_a_size_is_measured_by_the_sizes_before_it_and_not_by_its_own():
    lots = np.array([100, 100, 400, 100])

    measured = TRADES.measure(trades_of(prices=[9] * 4, lots=lots), new_past())

    decay = 2 ** (-1 / HALF_LIFE_TRADES)
    weights = [[1], [decay, 1], [decay**2, decay, 1]]
    usual = [np.exp(np.average(np.log(lots[: len(weight)]), weights=weight)) for weight in weights]
    expected = np.rint(lots[1:] / usual * USUAL)
    np.testing.assert_array_equal(measured["size"], expected)
    assert measured["size"][:2].tolist() == [USUAL, 4 * USUAL]


@pytest.mark.parametrize("spelling", [TRADES, TRADES_579])
def test_what_is_measured_never_depends_on_what_comes_later(spelling):
    actions = generated_actions(4000, session=1500)
    whole = spelling.measure(actions, new_past())

    for cut in (1, 700, 1501, 2222, 3999):
        past = new_past()
        first = spelling.measure(actions[:cut], past)
        second = spelling.measure(actions[cut:], past)
        for law, numbers in whole.items():
            n = len(first[law])
            np.testing.assert_array_equal(first[law], numbers[:n])
            np.testing.assert_array_equal(second[law], numbers[n:])


def test_the_first_trade_of_a_stretch_has_no_token_and_is_counted():
    actions = generated_actions(30_000, session=2500)
    tokenizer = tokenizer_of("trades", actions)

    encoded = tokenizer.encode(actions)

    trades = actions["kind"] == ActionKind.TRADE
    assert encoded.dropped["first_trade"] == 12
    assert encoded.dropped["no_trade"] == (~trades).sum()
    assert len(encoded.tokens) == trades.sum() - 12


def test_a_buy_and_its_mirror_image_differ_in_the_side_only():
    actions = generated_actions(30_000)
    mirrored = actions.copy()
    mirrored["side"] ^= 1
    mirrored["price_tick"] = 100_000 - actions["price_tick"]
    tokenizer = tokenizer_of("trades", actions)

    buys, sells = (tokenizer.fields_of(tokenizer.encode(of).tokens) for of in (actions, mirrored))

    np.testing.assert_array_equal(buys[:, 0], 1 - sells[:, 0])
    np.testing.assert_array_equal(buys[:, 1:], sells[:, 1:])


def test_a_trade_that_paid_several_prices_is_a_sweep():
    trades = baseline_trades()
    trades["distance_ticks"][5::7] = 3
    tokenizer = tokenizer_of("trades", trades, {"move": 3, "size": 8, "gap": 3})

    fields = tokenizer.fields_of(tokenizer.encode(trades).tokens)

    sweep = tokenizer.fields.index("sweep")
    np.testing.assert_array_equal(fields[:, sweep], trades["distance_ticks"][1:] > 0)


def test_the_published_baseline_has_579_tokens_where_quantiles_collapse_as_they_did():
    """Asked for 8, 8, 8 and 4 bins of price, depth, size and gap it had 2, 3, 8 and 3."""
    trades = baseline_trades()
    tokenizer = tokenizer_of("trades-579", trades)

    lines = tokenizer.report().lines
    assert [line.asked for line in lines.values()] == [8, 8, 8, 4]
    assert tokenizer.radices == (2, 2, 2, 3, 8, 3)
    assert tokenizer.vocabulary == 3 + np.prod(tokenizer.radices) == 579


def test_a_vocabulary_of_the_baseline_holds_codes_that_no_trade_can_have():
    """Its first field says add or delete: half of the published vocabulary was never reached."""
    trades = baseline_trades()
    tokenizer = tokenizer_of("trades-579", trades)

    report = tokenizer.report()

    assert report.marginals["action"].tolist() == [len(trades) - 1, 0]
    assert report.seen <= report.n_codes // 2
    assert tokenizer.encode(trades).edits == 0

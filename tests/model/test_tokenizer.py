"""Tokenizers: what is one token, what comes back from it, and what is counted on the way."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from mtsim.errors import IntegrityError, UsageError
from mtsim.model.actions import ACTION_DTYPE, ActionKind
from mtsim.model.book_codes import LAWS, cancel_parts
from mtsim.model.book_fields import Bounds, book_code
from mtsim.model.laws import draw_from_law
from mtsim.model.schemas import PRESETS, schema_named
from mtsim.model.tokenizer import NEVER_SEEN, Tokenizer, Training
from mtsim.model.vocabulary import SPECIAL, Vocabulary
from tests.model.generated_actions import batches_of, generated_actions

N = 60_000


def fitted(name: str, actions: np.ndarray, bins=None, batch: int = 17_000) -> Tokenizer:
    return Tokenizer.fit(schema_named(name, bins), batches_of(actions, batch), saw="generated")


@pytest.fixture(scope="module")
def actions() -> np.ndarray:
    return generated_actions(N)


@pytest.fixture(scope="module", params=sorted(PRESETS))
def tokenizer(request, actions) -> Tokenizer:
    return fitted(request.param, actions)


@pytest.fixture(scope="module")
def book(actions) -> Tokenizer:
    return fitted("book", actions)


@njit
def drawn_from(tables, law, code, unit, low, high):
    return draw_from_law(
        tables.law_first,
        tables.law_start,
        tables.law_value,
        tables.law_weight,
        law,
        code,
        unit,
        low,
        high,
    )


def drawn_actions(book: Tokenizer, tokens: np.ndarray, seed: int = 0) -> np.ndarray:
    """Actions that are what each token says, every number drawn from its bin."""
    draw, fields = np.random.default_rng(seed), book.fields_of(tokens)
    n_add, out = len(book.bins["add"]), np.zeros(len(tokens), ACTION_DTYPE)
    kind, level, codes = fields[:, 0] // 2, fields[:, 1], np.zeros(len(tokens), np.int64)
    out["kind"], out["side"] = kind, fields[:, 0] % 2
    distance, place, whole = cancel_parts(n_add, level)
    for which, prefix in enumerate(("add", "trade", "cancel")):
        of = kind == which
        out["lots"][of] = book.draw(f"{prefix}_lots", fields[of, 2], draw.random(of.sum()))
        if prefix != "trade":
            codes = level[of] if prefix == "add" else distance[of]
            drawn = book.draw(f"{prefix}_distance", codes, draw.random(of.sum()))
            out["distance_ticks"][of] = drawn
    trades, cancels = kind == ActionKind.TRADE, kind == ActionKind.CANCEL
    out["swept"][trades] = level[trades] - n_add
    out["place"][cancels], out["whole"][cancels] = place[cancels], whole[cancels]
    out["gap_ns"] = book.draw("gap", fields[:, 3], draw.random(len(tokens)))
    return out


# --- tokens, codes and fields


def test_tokens_and_fields_give_each_other_back(tokenizer):
    tokens = np.arange(SPECIAL, tokenizer.vocabulary)
    fields = tokenizer.fields_of(tokens)

    assert fields.dtype == np.int64
    assert (fields >= 0).all()
    assert (fields < np.array(tokenizer.radices)).all()
    np.testing.assert_array_equal(tokenizer.tokens_of(fields), tokens)
    assert (tokenizer.fields_of(np.arange(SPECIAL)) == -1).all()
    assert (np.diff(tokenizer.code_of_token[SPECIAL:]) > 0).all()


def test_every_action_of_the_training_data_has_a_token_of_its_own_or_a_reason(tokenizer, actions):
    encoded = tokenizer.encode(actions)

    assert encoded.edits == 0
    assert encoded.kept.sum() == len(encoded.tokens) == len(encoded.edited)
    assert encoded.kept.sum() + sum(encoded.dropped.values()) == len(actions)
    assert (encoded.tokens >= SPECIAL).all()
    np.testing.assert_array_equal(
        np.bincount(encoded.tokens, minlength=tokenizer.vocabulary), tokenizer.counts
    )
    assert tokenizer.content.dropped == {
        reason: count for reason, count in encoded.dropped.items() if reason != NEVER_SEEN
    }


@given(cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_tokens_do_not_depend_on_how_actions_come_in_batches(tokenizer, actions, cuts):
    """One at a time is a cut of its own: the batch and the step are one function."""
    some, past = actions[:3000], tokenizer.new_past()
    parts = [tokenizer.encode(part, past) for part in np.split(some, sorted(cuts))]
    whole = tokenizer.encode(some)

    np.testing.assert_array_equal(np.concatenate([part.tokens for part in parts]), whole.tokens)
    np.testing.assert_array_equal(np.concatenate([part.kept for part in parts]), whole.kept)


def test_encoding_one_action_at_a_time_is_encoding_them_together(tokenizer, actions):
    start, past = 9_500, tokenizer.new_past()
    some = actions[start : start + 1500]
    steps = [tokenizer.encode(some[at : at + 1], past).tokens for at in range(len(some))]

    np.testing.assert_array_equal(np.concatenate(steps), tokenizer.encode(some).tokens)


def test_a_fit_does_not_depend_on_the_batches(tokenizer, actions):
    again = fitted(tokenizer.schema, actions, batch=9_973)

    assert again.to_json() == tokenizer.to_json()


def test_a_read_only_map_of_actions_is_encoded_as_any_other(tokenizer, actions, tmp_path):
    actions[:5000].tofile(tmp_path / "actions")
    mapped = np.memmap(tmp_path / "actions", ACTION_DTYPE, "r")

    np.testing.assert_array_equal(
        tokenizer.encode(mapped).tokens, tokenizer.encode(actions[:5000]).tokens
    )
    assert len(tokenizer.encode(actions[:0]).tokens) == 0


# --- the schema `book`


def test_every_token_of_a_book_is_drawn_and_encoded_back_tails_included(book):
    """Mirror images that never occurred among them, and bins that are hollow for their kind."""
    tokens = np.arange(SPECIAL, book.vocabulary)

    for seed in range(3):
        encoded = book.encode(drawn_actions(book, tokens, seed))

        np.testing.assert_array_equal(encoded.tokens, tokens)
        assert encoded.edits == 0
        assert not any(encoded.clipped.values())


def test_the_vocabulary_of_a_book_is_closed_under_the_mirror(actions):
    one_sided = actions[:8000].copy()
    one_sided["side"] = 0
    tokenizer = fitted("book", one_sided)
    mirrored = one_sided.copy()
    mirrored["side"] = 1

    assert tokenizer.encode(mirrored).edits == 0
    fields = tokenizer.fields_of(tokenizer.encode(one_sided).tokens)
    fields[:, 0] ^= 1
    np.testing.assert_array_equal(tokenizer.fields_of(tokenizer.encode(mirrored).tokens), fields)
    assert (tokenizer.counts > 0).sum() * 2 + SPECIAL == tokenizer.vocabulary


def test_compiled_code_reads_a_book_s_tokens_and_laws_from_its_tables(book, actions):
    tables = book.tables()
    bounds = Bounds(*tables[:8])
    tokens = book.encode(actions[:500]).tokens

    codes = [book_code(action, bounds) for action in actions[:500]]

    assert book.token_of_code[codes].tolist() == tokens.tolist()
    fields = book.fields_of(np.arange(book.vocabulary))
    columns = (tables.token_type, tables.token_level, tables.token_lots, tables.token_gap)
    np.testing.assert_array_equal(np.stack(columns, 1), fields)
    assert all(array.dtype == np.int64 for array in tables)


@pytest.mark.parametrize("law", LAWS)
def test_a_law_in_the_tables_draws_what_the_tokenizer_draws(book, law):
    tables, bins = book.tables(), book.bins[book.spelling.laws[law]]
    codes = np.flatnonzero(book.laws[law].counts).repeat(5)
    units = np.random.default_rng(0).random(len(codes))

    expected = [
        drawn_from(tables, LAWS.index(law), code, unit, bins.lower[code], bins.upper[code])
        for code, unit in zip(codes, units, strict=True)
    ]

    assert book.draw(law, codes, units).tolist() == expected


def test_what_training_never_saw_is_encoded_at_the_ends_and_counted(book):
    action = np.zeros(4, ACTION_DTYPE)
    action["kind"] = ActionKind.ADD
    action["lots"] = [2**31 - 1, 100, 100, 100]
    action["distance_ticks"] = [0, -(2**31), 2**31 - 1, 0]
    action["gap_ns"] = [0, 0, 0, 1 << 61]

    encoded = book.encode(action)
    fields = book.fields_of(encoded.tokens)

    assert encoded.clipped == {"add": 2, "cancel": 0, "lots": 1, "gap": 1}
    wide = np.array(book.radices) - 1
    assert fields[0, 2] == wide[2]
    assert fields[1, 1] == 0
    assert fields[2, 1] == len(book.bins["add"]) - 1
    assert fields[3, 3] == wide[3]


def test_a_gap_of_zero_has_its_own_code_and_the_first_of_a_stretch_is_no_observation(book, actions):
    gaps = actions["gap_ns"][actions["opens"] == 0]

    assert (book.bins["gap"].lower[0], book.bins["gap"].upper[0]) == (0, 0)
    assert book.laws["gap"].counts[0] == (gaps == 0).sum()
    assert book.laws["gap"].counts.sum() == len(gaps)


def test_a_kind_that_training_never_saw_has_no_token(actions):
    adds = actions.copy()
    adds["kind"] = np.where(adds["kind"] == ActionKind.TRADE, ActionKind.ADD, adds["kind"])
    tokenizer = fitted("book", adds)

    encoded = tokenizer.encode(actions)

    assert encoded.dropped == {NEVER_SEEN: int((actions["kind"] == ActionKind.TRADE).sum())}
    np.testing.assert_array_equal(encoded.kept, actions["kind"] != ActionKind.TRADE)


def test_more_than_65536_tokens_are_held_in_32_bits(actions):
    tokenizer = fitted("book", generated_actions(150_000), {"lots": 40, "gap": 60})

    assert tokenizer.vocabulary > 1 << 16
    assert tokenizer.dtype == np.uint32
    tokens = tokenizer.encode(actions).tokens
    assert tokens.max() >= 1 << 16
    np.testing.assert_array_equal(tokenizer.tokens_of(tokenizer.fields_of(tokens)), tokens)


# --- combinations that training never saw


@given(
    radices=st.tuples(*[st.integers(1, 5)] * 4),
    fixed=st.integers(0, 2),
    data=st.data(),
)
def test_an_unseen_combination_goes_to_the_nearest_one(radices, fixed, data):
    n = int(np.prod(radices))
    codes = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    vocabulary = Vocabulary(radices, codes, fixed)
    known = vocabulary.fields_of_code(codes)

    for code, fields in enumerate(vocabulary.fields_of_code(np.arange(n))):
        best, chosen = known, []
        for field in range(4):
            # Nearest first; of two equally near the lower.
            nearest = min(best[:, field], key=lambda digit: (abs(digit - fields[field]), digit))
            chosen.append(nearest)
            best = best[best[:, field] == nearest]
        token = vocabulary.token_of_code[code]
        if chosen[:fixed] != list(fields[:fixed]):
            assert token == -1
        else:
            assert codes[token - SPECIAL] == vocabulary.codes_of_fields(np.array([chosen]))[0]


def test_edits_are_counted_and_never_change_the_type(book):
    other = generated_actions(N, seed=9)

    encoded = book.encode(other)
    fields = book.fields_of(encoded.tokens)

    assert 0 < encoded.edits < 0.2 * N
    np.testing.assert_array_equal(fields[:, 0], other["kind"] * 2 + other["side"])
    lots, gap = book.bins["lots"].encode(other["lots"]), book.bins["gap"].encode(other["gap_ns"])
    changed = (fields[:, 2] != lots) | (fields[:, 3] != gap)
    assert changed[encoded.edited].mean() > 0.9
    assert not changed[~encoded.edited].any()


# --- the file


def test_a_tokenizer_comes_back_from_its_text_bit_for_bit(tokenizer, actions):
    text = tokenizer.to_json()
    again = Tokenizer.from_json(text)

    assert again.to_json() == text
    assert again.sha256 == tokenizer.sha256
    other = generated_actions(5000, seed=3)
    np.testing.assert_array_equal(again.encode(other).tokens, tokenizer.encode(other).tokens)
    np.testing.assert_array_equal(again.counts, tokenizer.counts)
    for law in tokenizer.spelling.laws:
        codes = np.arange(len(tokenizer.bins[tokenizer.spelling.laws[law]]))
        units = np.linspace(0, 0.99, len(codes))
        drawn = [one.draw(law, codes, units).tolist() for one in (again, tokenizer)]
        assert drawn[0] == drawn[1]


def test_an_edited_text_is_refused_with_both_digests(book):
    said = json.loads(book.to_json())
    said["content"]["lines"][2][1]["upper"][0] += 1

    with pytest.raises(IntegrityError, match=r"day1/tokenizer.json: its content has SHA-256 \w+"):
        Tokenizer.from_json(json.dumps(said), "day1/tokenizer.json")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "no JSON"),
        (lambda text: "[]", "`content` and `sha256` are expected"),
        (lambda text: text.replace("mtsim tokenizer 2", "mtsim tokenizer 1"), "format 'mtsim tok"),
        (lambda text: text.replace('"saw":"generated"', '"saw":"another"'), "it says"),
        (lambda text: text.replace(",", ", ", 1), "not spelled as it was written"),
    ],
)
def test_a_damaged_text_is_refused_with_what_is_wrong(book, damage, message):
    with pytest.raises(IntegrityError) as caught:
        Tokenizer.from_json(damage(book.to_json()), "tokenizer.json")

    assert str(caught.value).startswith("tokenizer.json: ")
    assert message in str(caught.value)


# --- several markets


@pytest.fixture(scope="module")
def two_markets(actions) -> Tokenizer:
    """One trades in sizes below 100, the other in hundreds of what the first does."""
    large = actions.copy()
    for name in ("lots", "order_lots"):
        large[name] *= 100
    return Tokenizer.fit(
        schema_named("book"),
        lambda: [Training("X SMALL", [actions]), Training("X LARGE", [large])],
        saw="generated",
    )


def test_a_market_draws_what_it_traded_itself(two_markets, actions):
    codes = np.arange(len(two_markets.bins["lots"])).repeat(50)
    units = np.tile(np.linspace(0, 0.999, 50), len(codes) // 50)
    of_large = two_markets.of_market("X LARGE")
    seen = of_large.content.markets["X LARGE"]["add_lots"].counts > 0

    drawn = of_large.draw("add_lots", codes, units)

    assert (drawn[seen[codes]] % 100 == 0).all()
    assert (two_markets.bins["lots"].encode(drawn) == codes).all()
    # What it never did is what the others did.
    pooled = two_markets.draw("add_lots", codes, units)
    np.testing.assert_array_equal(drawn[~seen[codes]], pooled[~seen[codes]])
    assert (pooled[seen[codes]] % 100 != 0).any()


def test_a_market_changes_no_token_and_an_unknown_one_nothing(two_markets, actions):
    own = two_markets.of_market("X LARGE")

    assert own.sha256 == two_markets.sha256
    np.testing.assert_array_equal(own.encode(actions).tokens, two_markets.encode(actions).tokens)
    assert two_markets.of_market("X NEW") is two_markets
    tables, others = own.tables(), two_markets.tables()
    np.testing.assert_array_equal(tables.lots_upper, others.lots_upper)
    assert not np.array_equal(tables.law_value, others.law_value)


def test_markets_survive_the_file(two_markets):
    again = Tokenizer.from_json(two_markets.to_json())

    assert again.to_json() == two_markets.to_json()
    for law in ("add_distance", "trade_lots", "gap"):
        one, other = (of.of_market("X SMALL").laws[law] for of in (again, two_markets))
        np.testing.assert_array_equal(one.value, other.value)
        np.testing.assert_array_equal(one.weight, other.weight)


def test_one_market_alone_has_the_laws_of_all(book):
    assert book.content.markets == {}
    assert book.of_market("UP MADE") is book


# --- failing, and what is told of the fit


def test_bins_that_cannot_be_realised_fail_with_schema_and_line(actions):
    few = actions[:2000].copy()
    few["lots"] = few["lots"] % 5 + 1

    with pytest.raises(UsageError, match=r"schema book: bins of lots: 16 bins .* 5 can be"):
        fitted("book", few)


def test_too_many_combinations_are_refused_before_anything_is_read():
    with pytest.raises(UsageError, match=r"combinations of codes, at most 33,554,432"):
        Tokenizer.fit(
            schema_named("book", {"lots": 900, "gap": 900}), lambda: pytest.fail("read"), saw=""
        )


def test_only_a_book_s_tokens_can_be_executed(actions):
    with pytest.raises(UsageError, match="Use schema book"):
        fitted("trades", actions).tables()


def test_the_report_counts_the_training_data(tokenizer, actions):
    report = tokenizer.report()

    assert report.actions + sum(report.dropped.values()) == len(actions)
    assert report.seen == len(np.unique(tokenizer.encode(actions).tokens)) <= report.n_codes
    assert set(report.marginals) == set(tokenizer.fields)
    assert all(counts.sum() == report.actions for counts in report.marginals.values())
    for name, line in report.lines.items():
        assert len(line.counts) == len(tokenizer.bins[name])
        assert line.clip_rate == line.clipped / line.counts.sum()
        assert line.clipped == tokenizer.encode(actions).clipped[name]

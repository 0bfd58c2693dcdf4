"""What is said of the tokens of a data set, against counts made one by one; tokens in words."""

import math
from collections import Counter

import numpy as np
import pytest

from mtsim.model import token_report
from mtsim.model.bins import Bins
from mtsim.model.dataset import Dataset
from mtsim.model.prepare import Wishes, prepare
from mtsim.model.schemas import schema_named
from mtsim.model.split import Part, loads
from mtsim.model.token_report import TokenReport, entropy_nats, report
from mtsim.model.token_words import field_in_words, in_words, span_of
from mtsim.model.tokenizer import Tokenizer
from mtsim.model.vocabulary import BOS, EOS, PAD, SPECIAL
from tests.model.made_up_store import busy_store

BINS = {
    "book": {"add": 12, "cancel": 6, "lots": 4, "gap": 6},
    "tradefm": {"price": 6, "lots": 6, "gap": 6},
    "trades": {"move": 5, "size": 4, "gap": 4},
    "trades-579": {},
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> dict[str, Dataset]:
    folder = tmp_path_factory.mktemp("report")
    store = busy_store(folder / "store", {"A": 3, "B": 1}, rows=4000)
    split = loads("held_out: [B]")
    return {
        schema: prepare(store, folder / schema, Wishes(schema_named(schema, bins), split)).dataset
        for schema, bins in BINS.items()
    }


@pytest.fixture(scope="module")
def book(datasets) -> TokenReport:
    return report(datasets["book"])


def test_tokens_are_counted_part_by_part(datasets, book, monkeypatch):
    dataset = datasets["book"]
    counts: dict[Part, Counter[int]] = {}
    for row in dataset.segments:
        tokens = dataset.tokens[row["first"] : row["end"]].tolist()
        counts.setdefault(Part(row["part"]), Counter()).update(t for t in tokens if t >= SPECIAL)
    assert set(book.counts) == set(counts)
    for part, found in book.counts.items():
        assert {t: n for t, n in enumerate(found.tolist()) if n} == dict(counts[part])
    monkeypatch.setattr(token_report, "_CHUNK", 997)
    for part, found in report(dataset).counts.items():
        assert np.array_equal(found, book.counts[part])


def test_training_counts_are_those_of_the_tokenizer(book):
    assert np.array_equal(book.counts[Part.TRAIN], book.tokenizer.counts)


def test_entropy_is_in_nats():
    assert entropy_nats(np.array([5, 5, 0, 5, 5])) == pytest.approx(math.log(4))
    assert entropy_nats(np.array([9])) == 0
    assert entropy_nats(np.zeros(3, np.int64)) == 0


def test_the_effective_vocabulary_is_the_exponential_of_the_entropy(book):
    for part in book.as_json()["parts"].values():
        assert part["effective_vocabulary"] == pytest.approx(
            math.exp(part["entropy_nats"]), rel=1e-5
        )
        assert part["effective_vocabulary"] <= part["tokens_used"]


@pytest.mark.parametrize("schema", list(BINS))
def test_marginals_of_every_field_add_up(datasets, schema):
    found = report(datasets[schema])
    value = found.as_json()
    events = value["parts"]["train"]["events"]
    assert set(value["fields"]) == set(found.tokenizer.fields)
    for codes in value["fields"].values():
        assert sum(code["count"] for code in codes) == events
        assert sum(code["share"] for code in codes) == pytest.approx(1)
        words = [code["words"] for code in codes]
        assert len(set(words)) == len(words)


@pytest.mark.parametrize("schema", list(BINS))
def test_the_commonest_events_are_in_words(datasets, schema):
    value = report(datasets[schema]).as_json()
    counts = [event["count"] for event in value["commonest"]]
    assert len(counts) == 10
    assert counts == sorted(counts, reverse=True)
    for event in value["commonest"]:
        assert "buy" in event["words"] or "sell" in event["words"]


def test_vocabulary_and_what_is_out_of_reach_are_said(book):
    value = book.as_json()
    tokenizer = book.tokenizer
    assert value["realised"] == value["vocabulary"] - 3 == len(tokenizer.content.codes)
    assert value["combinations"] == math.prod(tokenizer.radices)
    assert value["unreachable"] == value["combinations"] - value["realised"]
    fields = tokenizer.fields_of(np.arange(SPECIAL, tokenizer.vocabulary))
    for column, name in enumerate(tokenizer.fields):
        gone = value["unreachable_codes"][name]
        assert not set(gone) & set(fields[:, column].tolist())
        assert len(gone) + len(set(fields[:, column].tolist())) == tokenizer.radices[column]
    assert value["unreachable_codes"]["level"]
    assert value["bins"]["lots"] == {"asked": 4, "realised": 4}


def test_edit_rates_are_those_of_the_manifest(datasets, book):
    said = datasets["book"].manifest["parts"]
    for part, value in book.as_json()["parts"].items():
        assert value["edit_rate"] == said[part]["edit_rate"]
    assert book.as_json()["parts"]["held_out"]["edit_rate"] > 0


def test_clip_rates_are_of_the_training_events(datasets):
    found = report(datasets["tradefm"])
    clipped = found.tokenizer.content.clipped
    events = found.as_json()["parts"]["train"]["events"]
    assert found.clip_rates()["price"] == pytest.approx(clipped["price"] / events)
    assert 0.01 < found.clip_rates()["price"] < 0.03


@pytest.mark.parametrize("schema", ["book", "trades-579"])
def test_the_picture_has_a_panel_a_law_and_equal_bytes(datasets, tmp_path, schema):
    found = report(datasets[schema])
    found.draw(tmp_path / "one.png")
    report(datasets[schema]).draw(tmp_path / "two.png")
    content = (tmp_path / "one.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000
    assert content == (tmp_path / "two.png").read_bytes()


# Words --------------------------------------------------------------------------------------------


def level_words(tokenizer: Tokenizer) -> list[str]:
    return [field_in_words(tokenizer, "level", code) for code in range(tokenizer.radices[1])]


def with_bins(tokenizer: Tokenizer, **upper: list[int]) -> Tokenizer:
    """The same tokenizer with bins that end where these say, clipped at the first and last."""
    bins = dict(tokenizer.bins)
    for line, ends in upper.items():
        low = int(bins[line].lower[0])
        lower = np.array([low, *(end + 1 for end in ends[:-1])], np.int64)
        bins[line] = Bins(lower, np.array(ends, np.int64), ends[0], ends[-2])
    changed = Tokenizer(tokenizer.content)
    changed.bins = bins
    return changed


HUGE = (1 << 31) - 1


def test_levels_of_adds_are_told_from_the_touch(book):
    tokenizer = with_bins(book.tokenizer, add=[-3, -2, -1, 0, 1, 4, HUGE])
    assert [field_in_words(tokenizer, "level", code) for code in range(7)] == [
        "improves the touch by 3 ticks or more",
        "improves the touch by 2 ticks",
        "improves the touch by 1 tick",
        "joins the touch",
        "1 tick from the touch",
        "2-4 ticks from the touch",
        "5 or more ticks from the touch",
    ]


def test_levels_of_trades_and_cancels_are_told_by_what_they_take(book):
    words = level_words(book.tokenizer)
    n_add = len(book.tokenizer.bins["add"])
    assert words[n_add : n_add + 4] == [
        "takes part of a level",
        "takes 1 level",
        "takes 2 levels",
        "takes 3 or more levels",
    ]
    assert words[n_add + 4] == "at the touch, only in its queue, part of it"
    assert words[n_add + 5] == "at the touch, only in its queue, all of it"
    assert words[n_add + 11] == "at the touch, last in its queue, all of it"


def test_times_have_a_unit(book):
    ends = [0, 1, 999, 1_999_999, 60 * 10**9, 1 << 62]
    tokenizer = with_bins(book.tokenizer, gap=ends)
    assert [field_in_words(tokenizer, "gap", code) for code in range(6)] == [
        "at once",
        "after 1 ns",
        "after 2-999 ns",
        "after 0.001-2 ms",
        "after 0.002-60 s",
        "after 60 s or more",
    ]


def test_sizes_are_lots(book):
    tokenizer = with_bins(book.tokenizer, lots=[1, 99, 100, HUGE])
    assert [span_of(tokenizer, "lots", code) for code in range(4)] == [
        "1 lot",
        "2-99 lots",
        "100 lots",
        "101 or more lots",
    ]


def test_a_token_is_its_fields_in_a_row(book):
    tokenizer = book.tokenizer
    for token in range(SPECIAL, tokenizer.vocabulary, 37):
        codes = tokenizer.fields_of(np.array([token]))[0].tolist()
        parts = [
            field_in_words(tokenizer, field, code)
            for field, code in zip(tokenizer.fields, codes, strict=True)
        ]
        assert in_words(tokenizer, token) == ", ".join(parts)
    assert ["PAD" in in_words(tokenizer, PAD), "BOS" in in_words(tokenizer, BOS)] == [True] * 2
    assert "EOS" in in_words(tokenizer, EOS)

"""The nats of models that count, against sums taken one by one and what shuffling leaves."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mtsim.errors import UsageError
from mtsim.model.dataset import Dataset
from mtsim.model.dataset_files import TOKENIZER
from mtsim.model.ingest import import_files
from mtsim.model.kneser_ney import sequence_examples
from mtsim.model.ngram_scores import MODELS, agreeing, fit_tokens, nats, stretches_of
from mtsim.model.prepare import Wishes, prepare
from mtsim.model.schemas import schema_named
from mtsim.model.sources.base import Options
from mtsim.model.sources.lobster import open_sessions as open_lobster
from mtsim.model.split import Part, loads
from mtsim.model.store import Store
from mtsim.model.tokenizer import Tokenizer
from mtsim.model.vocabulary import PAD, SPECIAL
from tests.model.made_up_store import busy_store

BINS = {"add": 12, "cancel": 6, "lots": 4, "gap": 6}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("scores")
    store = busy_store(folder / "store", {"A": 3}, rows=4000)
    split = loads("fractions: {train: 0.4, validation: 0.3, test: 0.3}")
    return prepare(store, folder / "data", Wishes(schema_named("book", BINS), split)).dataset


@pytest.fixture(scope="module")
def tokenizer(dataset) -> Tokenizer:
    return Tokenizer.from_json((dataset.folder / TOKENIZER).read_text())


@pytest.fixture(scope="module")
def found(dataset):
    return nats(dataset, Part.TEST)


def test_every_model_is_scored_in_total_and_by_field(found, tokenizer):
    assert tuple(found) == MODELS
    for of_model in found.values():
        assert tuple(of_model.fields) == tokenizer.fields
        assert of_model.total == pytest.approx(sum(of_model.fields.values()), abs=1e-12)
        assert all(math.isfinite(value) for value in of_model.fields.values())


def test_a_total_is_the_mean_over_every_target(dataset, tokenizer, found):
    training, test = stretches_of(dataset, Part.TRAIN), stretches_of(dataset, Part.TEST)
    n_targets = sum(len(stretch) - 1 for stretch in test)
    assert n_targets == dataset.windows(Part.TEST, 64).scored()
    assert found["uniform"].total == pytest.approx(math.log(tokenizer.vocabulary), abs=1e-12)
    for name, order in (("unigram", 1), ("kn-2", 2), ("kn-5", 5)):
        model = fit_tokens(training, tokenizer.vocabulary, order)
        symbols, contexts = sequence_examples(test, order, PAD)
        assert len(symbols) == n_targets
        expected = -model.log_probabilities(symbols, contexts).mean()
        assert found[name].total == pytest.approx(expected, abs=1e-9)


def test_nats_of_a_field_are_those_of_the_conditional_of_tokens(dataset, tokenizer, found):
    """Of a token model a field's probability is a sum over all tokens that agree with it so far."""
    model = fit_tokens(stretches_of(dataset, Part.TRAIN), tokenizer.vocabulary, 2)
    symbols, contexts = sequence_examples(stretches_of(dataset, Part.TEST), 2, PAD)
    distributions = model.distributions(contexts)
    fields = tokenizer.fields_of(np.arange(tokenizer.vocabulary))
    fields[:SPECIAL] = -1 - np.arange(SPECIAL)[:, None]
    before = np.ones(len(symbols))
    for number, name in enumerate(tokenizer.fields):
        beginning = np.unique(fields[:, : number + 1], axis=0, return_inverse=True)[1]
        alike = beginning[symbols][:, None] == beginning[None]
        masses = (distributions * alike).sum(axis=1)
        expected = -np.log(masses / before).mean()
        assert found["kn-2"].fields[name] == pytest.approx(expected, abs=1e-9)
        before = masses


def test_tokens_that_agree_in_their_first_fields_are_neighbours(tokenizer):
    fields = tokenizer.fields_of(np.arange(tokenizer.vocabulary))
    alike = agreeing(tokenizer)
    for token in [*range(SPECIAL), 100, 101, tokenizer.vocabulary - 1]:
        for number in range(4):
            same = (fields[:, : number + 1] == fields[token, : number + 1]).all(axis=1)
            expected = np.flatnonzero(same).tolist() if token >= SPECIAL else [token]
            span = range(alike.first[number, token], alike.end[number, token])
            assert list(span) == expected


def test_only_the_training_part_is_counted(dataset):
    """Whatever the other parts hold, what is fitted stays the same."""
    tokens = np.array(dataset.tokens)
    for row in dataset.segments[dataset.segments["part"] == Part.VALIDATION]:
        tokens[row["first"] : row["end"]] = SPECIAL
    other = replace(dataset, tokens=tokens)
    assert nats(other, Part.TEST) == nats(dataset, Part.TEST)
    assert nats(other, Part.VALIDATION) != nats(dataset, Part.VALIDATION)


def test_shuffled_tokens_show_no_skill_over_the_unigram(dataset):
    tokens = np.array(dataset.tokens)
    rng = np.random.default_rng(0)
    for row in dataset.segments:
        tokens[row["first"] : row["end"]] = rng.permutation(tokens[row["first"] : row["end"]])
    found = nats(replace(dataset, tokens=tokens), Part.TEST)
    for name in ("markov-1", "kn-2", "kn-3", "kn-4", "kn-5"):
        assert found[name].total > found["unigram"].total * 0.999


def test_a_part_without_targets_is_an_error(dataset):
    with pytest.raises(UsageError, match="no segment of the part held_out has two positions"):
        nats(dataset, Part.HELD_OUT)


def test_nothing_to_train_on_is_an_error(dataset):
    segments = dataset.segments[dataset.segments["part"] != Part.TRAIN]
    with pytest.raises(UsageError, match="no segment of the training part"):
        nats(replace(dataset, segments=segments), Part.TEST)


def test_of_a_real_day_each_kind_of_model_is_better_than_a_simpler_one(market_data, tmp_path):
    file = market_data / "lobster/AMZN_2012-06-21_34200000_57600000_message_5.csv.zst"
    store = Store(tmp_path / "store")
    list(import_files(open_lobster, (str(file),), Options(), store, keep=True))
    split = loads("fractions: {train: 0.7, validation: 0.1, test: 0.2}")
    found = nats(
        prepare(store, tmp_path / "data", Wishes(schema_named("book"), split)).dataset, Part.TEST
    )
    order = ("fields", "kn-5", "kn-2", "markov-1", "unigram", "uniform")
    totals = [found[name].total for name in order]
    assert totals == sorted(totals)
    assert found["fields"].total < 8.6 < 8.9 < found["kn-5"].total

"""How well models that only count predict a data set: what any decoder has to beat.

    uniform     every token alike
    unigram     how often each token came
    markov-1    the token before, discounted, backing off to the unigram
    kn-2..kn-5  interpolated modified Kneser-Ney on tokens
    fields      a Kneser-Ney for each field: see `field_ngram`

All are fitted on the training part alone, and scored on every position of a part that follows
another of its segment, EOS included. What is counted of tokens ends at the segment's first one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mtsim.engine.sealed import read_whole
from mtsim.errors import UsageError
from mtsim.model.dataset import Dataset
from mtsim.model.dataset_files import TOKENIZER
from mtsim.model.field_ngram import FieldNgram
from mtsim.model.kneser_ney import KneserNey, sequence_examples
from mtsim.model.split import Part
from mtsim.model.tokenizer import Tokenizer
from mtsim.model.vocabulary import PAD, SPECIAL

MOST_ORDER = 5

MODELS = (
    "uniform",
    "unigram",
    "markov-1",
    *(f"kn-{n}" for n in range(2, MOST_ORDER + 1)),
    "fields",
)


class Nats(NamedTuple):
    """Mean -ln p of a part's targets. The fields add up to the total."""

    total: float
    fields: dict[str, float]


class Agreeing(NamedTuple):
    """The bounds of the tokens that agree with each token in its first fields: [first, end)."""

    first: np.ndarray  # int64 [fields, vocabulary]
    end: np.ndarray


def stretches_of(dataset: Dataset, part: Part) -> list[np.ndarray]:
    """The tokens of each segment of a part: the n-grams of one do not reach into another."""
    mine = dataset.segments[dataset.segments["part"] == part]
    return [
        np.asarray(dataset.tokens[first:end])
        for first, end in zip(mine["first"].tolist(), mine["end"].tolist(), strict=True)
    ]


def fit_tokens(
    stretches: list[np.ndarray], vocabulary: int, order: int, *, continuation: bool = True
) -> KneserNey:
    """A Kneser-Ney model of tokens given the `order` - 1 before them; PAD is before a stretch."""
    symbols, contexts = sequence_examples(stretches, order, PAD)
    radices = (vocabulary,) * (order - 1)
    return KneserNey.fit(symbols, contexts, vocabulary, radices, continuation=continuation)


def nats(dataset: Dataset, part: Part) -> dict[str, Nats]:
    """The nats of every one of `MODELS`, fitted on the training part, on a part.

    UsageError where either has no position that follows another.
    """
    where = dataset.folder / TOKENIZER
    tokenizer = Tokenizer.from_json(read_whole(where).decode(), str(where))
    training, scored = stretches_of(dataset, Part.TRAIN), stretches_of(dataset, part)
    if not any(len(stretch) > 1 for stretch in scored):
        raise UsageError(
            f"{dataset.folder}: no segment of the part {part.name.lower()} has two positions: "
            "there is nothing to score. Name another part, or prepare with another split."
        )
    alike = agreeing(tokenizer)
    found = {"uniform": _uniform_nats(tokenizer, alike, scored)}
    for name in MODELS[1:-1]:
        order = {"unigram": 1, "markov-1": 2}.get(name) or int(name.removeprefix("kn-"))
        model = fit_tokens(
            training, tokenizer.vocabulary, order, continuation=name.startswith("kn-")
        )
        found[name] = _token_nats(model, tokenizer, alike, scored)
    found["fields"] = _field_nats(FieldNgram.fit(tokenizer, training), tokenizer, scored)
    return found


def agreeing(tokenizer: Tokenizer) -> Agreeing:
    """Which tokens agree with each in its first, its first two, ... fields.

    Tokens are in the order of their fields, so these are neighbours. PAD, BOS and EOS agree with
    themselves alone.
    """
    n_fields = len(tokenizer.radices)
    first = np.tile(np.arange(tokenizer.vocabulary), (n_fields, 1))
    end = first + 1
    codes = tokenizer.code_of_token[SPECIAL:]
    for field in range(n_fields):
        prefix = codes // int(np.prod(tokenizer.radices[field + 1 :], dtype=np.int64))
        first[field, SPECIAL:] = SPECIAL + np.searchsorted(prefix, prefix, "left")
        end[field, SPECIAL:] = SPECIAL + np.searchsorted(prefix, prefix, "right")
    return Agreeing(first, end)


def _uniform_nats(tokenizer: Tokenizer, alike: Agreeing, scored: list[np.ndarray]) -> Nats:
    symbols, _ = sequence_examples(scored, 1, PAD)
    widths = (alike.end - alike.first)[:, symbols]
    return _nats_of_masses(tokenizer, widths / tokenizer.vocabulary)


def _token_nats(
    model: KneserNey, tokenizer: Tokenizer, alike: Agreeing, scored: list[np.ndarray]
) -> Nats:
    symbols, contexts = sequence_examples(scored, model.order, PAD)
    masses = [
        model.masses(first[symbols], end[symbols], contexts)
        for first, end in zip(alike.first, alike.end, strict=True)
    ]
    return _nats_of_masses(tokenizer, np.stack(masses))


def _field_nats(model: FieldNgram, tokenizer: Tokenizer, scored: list[np.ndarray]) -> Nats:
    logs = np.concatenate([model.log_probabilities(tokenizer, stretch) for stretch in scored])
    return _nats(tokenizer, -logs.mean(axis=0))


def _nats_of_masses(tokenizer: Tokenizer, masses: np.ndarray) -> Nats:
    """From the probability that a token agrees with the target in its first fields, [fields, n]."""
    together = -np.log(masses).mean(axis=1)
    return _nats(tokenizer, np.diff(together, prepend=0.0))


def _nats(tokenizer: Tokenizer, by_field: np.ndarray) -> Nats:
    return Nats(float(by_field.sum()), dict(zip(tokenizer.fields, by_field.tolist(), strict=True)))

"""Actions field by field: each field's code given codes of this action and of those before it.

By the chain rule the probabilities of an action's fields multiply to that of its token. Each field
is a Kneser-Ney model over its own choice of codes (`History`), the most telling one first.
Combinations that no token stands for have their share, too, so those of all tokens add up to less
than 1. Knows a tokenizer's fields, no book: what a book allows comes in as masks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtsim.model.kneser_ney import KneserNey, draw
from mtsim.model.ngram_file import Saved, read_ngram, write_ngram
from mtsim.model.tokenizer import Tokenizer
from mtsim.model.vocabulary import BOS, PAD, SPECIAL


class Place(NamedTuple):
    """One code of a context: field number `field` of the action `lag` before this one.

    Lag 0 is this action itself, of which only fields before the one in question are known.
    """

    lag: int
    field: int


History = tuple[Place, ...]
"""The context of one field, the code that is given up first last."""


def _history(*places: tuple[int, int]) -> History:
    return tuple(Place(*place) for place in places)


_TYPE, _LEVEL, _LOTS, _GAP = range(4)

BOOK_HISTORIES = (
    _history((1, _TYPE), (1, _LOTS), (2, _TYPE)),
    _history((0, _TYPE), (1, _LEVEL), (1, _TYPE)),
    _history((1, _LOTS), (0, _LEVEL), (1, _LEVEL)),
    _history((1, _LEVEL), (0, _LEVEL), (0, _LOTS), (1, _GAP), (1, _LOTS), (2, _LEVEL)),
)
"""Of the schema `book`: type, level, lots, gap.

Each was grown code by code, taking the one of this action and the three before it that brought the
validation nats of a LOBSTER day (AMZN 2012-06-21, the default bins) down the most, until none
brought them down by 0.001. A level says its kind, so it stands for the type as well.
"""


def plain_histories(n_fields: int) -> tuple[History, ...]:
    """For a schema without histories of its own: this action's fields, the nearest one first, then
    those of the action before it, beginning with the field itself."""
    return tuple(
        _history(
            *((0, k) for k in range(field - 1, -1, -1)),
            *((1, (field + k) % n_fields) for k in range(n_fields)),
        )
        for field in range(n_fields)
    )


@dataclass(frozen=True)
class FieldNgram:
    """Fitted models, one a field. `recent` arguments are int64 [n, lags, fields], the action just
    before first; `fields` are int64 [n, fields], of which those not chosen yet may be anything."""

    tokenizer_sha256: str
    radices: tuple[int, ...]  # how many codes each field has
    histories: tuple[History, ...]
    models: tuple[KneserNey, ...]

    @classmethod
    def fit(
        cls,
        tokenizer: Tokenizer,
        stretches: Iterable[np.ndarray],
        histories: tuple[History, ...] | None = None,
    ) -> FieldNgram:
        """From the tokens of stretches, each first one as context only.

        EOS is a type that may come; nothing before a stretch is known. UsageError where there is
        nothing to count.
        """
        if histories is None:
            n_fields = len(tokenizer.radices)
            histories = BOOK_HISTORIES if tokenizer.schema == "book" else plain_histories(n_fields)
        radices = tokenizer.radices
        _check_histories(histories, len(radices))
        tables = [coded(tokenizer, np.asarray(stretch)) for stretch in stretches]
        models = []
        for field, history in enumerate(histories):
            symbols, contexts = _examples(tables, field, history, radices)
            real = symbols < _n_symbols(radices, field)  # All but what EOS has in place of a code.
            context_radices = tuple(radices[place.field] + _extra(place.field) for place in history)
            models.append(
                KneserNey.fit(
                    symbols[real], contexts[real], _n_symbols(radices, field), context_radices
                )
            )
        return cls(tokenizer.sha256, radices, histories, tuple(models))

    @property
    def lags(self) -> int:
        """How many actions before it the next one depends on, at least 1."""
        return max([1, *(place.lag for history in self.histories for place in history)])

    def log_probabilities(self, tokenizer: Tokenizer, stretch: np.ndarray) -> np.ndarray:
        """ln p of each field of all tokens of a stretch but its first, float64 [n - 1, fields].

        A row adds up to ln p of its token. EOS is its type alone: its other fields have 0.
        """
        assert tokenizer.sha256 == self.tokenizer_sha256
        table = coded(tokenizer, np.asarray(stretch))
        out = np.zeros((max(len(table) - 1, 0), len(self.radices)))
        for field, (history, model) in enumerate(zip(self.histories, self.models, strict=True)):
            symbols, contexts = _examples([table], field, history, self.radices)
            real = symbols < _n_symbols(self.radices, field)
            out[real, field] = model.log_probabilities(symbols[real], contexts[real])
        return out

    def opening(self, n: int) -> np.ndarray:
        """The `recent` of `n` stretches that have just begun."""
        recent = np.empty((n, self.lags, len(self.radices)), np.int64)
        recent[:] = _special_row(self.radices, PAD)
        recent[:, 0] = _special_row(self.radices, BOS)
        return recent

    def follow(self, recent: np.ndarray, fields: np.ndarray) -> np.ndarray:
        """The `recent` after these actions came."""
        return np.concatenate([fields[:, None], recent[:, :-1]], axis=1)

    def weights(
        self, field: int, recent: np.ndarray, fields: np.ndarray, allowed: np.ndarray
    ) -> np.ndarray:
        """The distribution of a field over the codes that are `allowed`, float64 [n, radix].

        `allowed` is bool [n, radix] with a code in each row. Rows add up to 1.
        """
        history = self.histories[field]
        contexts = np.empty((len(recent), len(history)), np.int64)
        for k, place in enumerate(history):
            source = fields if place.lag == 0 else recent[:, place.lag - 1]
            contexts[:, k] = source[:, place.field]
        assert allowed.any(axis=1).all(), "no code is allowed"
        found = self.models[field].distributions(contexts)[:, : self.radices[field]] * allowed
        return found / found.sum(axis=1, keepdims=True)

    def draw(
        self,
        field: int,
        recent: np.ndarray,
        fields: np.ndarray,
        allowed: np.ndarray,
        units: np.ndarray,
    ) -> np.ndarray:
        """The code at which the `weights` of each row reach its uniform in [0, 1); int64 [n]."""
        return draw(self.weights(field, recent, fields, allowed), units)

    def save(self, folder: Path | str) -> None:
        """See `ngram_file`."""
        about = {
            "radices": list(self.radices),
            "histories": [[list(place) for place in history] for history in self.histories],
        }
        models = {str(field): model for field, model in enumerate(self.models)}
        write_ngram(folder, Saved(self.tokenizer_sha256, about, models))

    @classmethod
    def load(cls, folder: Path | str, tokenizer: Tokenizer) -> FieldNgram:
        """What `save` wrote, fitted on tokens of this tokenizer: see `read_ngram`."""
        saved = read_ngram(folder, tokenizer.sha256)
        return cls(
            saved.tokenizer_sha256,
            tuple(saved.about["radices"]),
            tuple(_history(*history) for history in saved.about["histories"]),
            tuple(saved.models[str(field)] for field in range(len(saved.models))),
        )


def coded(tokenizer: Tokenizer, tokens: np.ndarray) -> np.ndarray:
    """The code of each field, int64 [n, fields], PAD, BOS and EOS among them.

    Those are three more codes of the first field, in this order; every other field has one more,
    for none.
    """
    fields = tokenizer.fields_of(tokens)
    for special in range(SPECIAL):
        fields[tokens == special] = _special_row(tokenizer.radices, special)
    return fields


def _special_row(radices: tuple[int, ...], token: int) -> np.ndarray:
    return np.array([radices[0] + token, *radices[1:]], np.int64)


def _extra(field: int) -> int:
    return SPECIAL if field == 0 else 1


def _n_symbols(radices: tuple[int, ...], field: int) -> int:
    """How many codes may come: EOS may, as a type; a field of an action has a code."""
    return radices[field] + (SPECIAL if field == 0 else 0)


def _examples(
    tables: list[np.ndarray], field: int, history: History, radices: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The field of all rows but the first of each table, and their contexts."""
    lags = max((place.lag for place in history), default=0)
    filler = np.tile(_special_row(radices, PAD), (lags, 1))
    symbols, contexts = [np.empty(0, np.int64)], [np.empty((0, len(history)), np.int64)]
    for table in tables:
        whole = np.concatenate([filler, table])
        first, end = lags + 1, max(len(whole), lags + 1)
        symbols.append(whole[first:end, field])
        rows = np.empty((end - first, len(history)), np.int64)
        for k, place in enumerate(history):
            rows[:, k] = whole[first - place.lag : end - place.lag, place.field]
        contexts.append(rows)
    return np.concatenate(symbols), np.concatenate(contexts)


def _check_histories(histories: tuple[History, ...], n_fields: int) -> None:
    assert len(histories) == n_fields
    for field, history in enumerate(histories):
        assert len(set(history)) == len(history)
        for place in history:
            assert place.lag > 0 or (place.lag == 0 and place.field < field), place
            assert 0 <= place.field < n_fields

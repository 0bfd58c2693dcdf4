"""A tokenizer as text: JSON in one spelling, with its own digest, so that a changed one is found.

Knows what a tokenizer is made of, not what it does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mtsim.engine.sealed import canonical_json
from mtsim.errors import IntegrityError
from mtsim.model.bins import Binning, Bins, Spacing
from mtsim.model.laws import Law
from mtsim.model.schemas import Schema

FORMAT = "mtsim tokenizer 2"


@dataclass(frozen=True)
class Content:
    """All that a tokenizer is made of."""

    schema: Schema
    bins: dict[str, Bins]  # by line
    laws: dict[str, Law]  # by law
    markets: dict[str, dict[str, Law]]  # the same of each market alone, where there are several
    codes: np.ndarray  # int64 [k], ascending: realised in training, or the mirror image of one
    counts: np.ndarray  # int64 [k]: how often; 0 for mirror images that did not occur themselves
    dropped: dict[str, int]  # actions of the training data that have no code, by reason
    clipped: dict[str, int]  # numbers of the training data beyond their line's clip bounds
    saw: str  # what it was fitted on


def text_of(content: Content) -> str:
    value = _value_of(content)
    return canonical_json({"content": value, "sha256": _digest(value)}).decode() + "\n"


def content_sha256(content: Content) -> str:
    return _digest(_value_of(content))


def read_text(text: str, where: str) -> Content:
    """What `text_of` wrote. IntegrityError, calling it `where`, where it is something else."""
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise IntegrityError(f"{where}: not a tokenizer: no JSON ({error})") from error
    if not isinstance(whole, dict) or set(whole) != {"content", "sha256"}:
        raise IntegrityError(f"{where}: not a tokenizer: `content` and `sha256` are expected")
    value = whole["content"]
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else value
        raise IntegrityError(
            f"{where}: format {str(found)[:40]!r} cannot be read, only {FORMAT!r}. "
            f"Prepare the dataset again with this version."
        )
    digest = _digest(value)
    if digest != whole["sha256"]:
        raise IntegrityError(
            f"{where}: its content has SHA-256 {digest}, but it says {whole['sha256']}: it was "
            f"changed or damaged. Prepare the dataset again."
        )
    content = _content_of(value)
    if text_of(content) != text:
        raise IntegrityError(
            f"{where}: not spelled as it was written: it was changed or damaged. Prepare the "
            f"dataset again."
        )
    return content


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _value_of(content: Content) -> dict[str, Any]:
    schema = content.schema
    return {
        "format": FORMAT,
        "schema": schema.name,
        "whole": schema.whole,
        # As lists: a mapping would be sorted, but lines and laws have an order.
        "asked": [[line, asdict(binning)] for line, binning in schema.lines.items()],
        "lines": [
            [
                line,
                {
                    "low": int(bins.lower[0]),
                    "upper": bins.upper.tolist(),
                    "clip": [bins.clip_low, bins.clip_high],
                },
            ]
            for line, bins in content.bins.items()
        ],
        "laws": _laws_value(content.laws),
        "markets": [[market, _laws_value(laws)] for market, laws in content.markets.items()],
        "codes": content.codes.tolist(),
        "counts": content.counts.tolist(),
        "dropped": content.dropped,
        "clipped": content.clipped,
        "saw": content.saw,
    }


def _content_of(value: dict[str, Any]) -> Content:
    return Content(
        Schema(
            value["schema"],
            {line: _binning_of(asked) for line, asked in value["asked"]},
            value["whole"],
        ),
        {line: _bins_of(said) for line, said in value["lines"]},
        _laws_of(value["laws"]),
        {market: _laws_of(laws) for market, laws in value["markets"]},
        np.array(value["codes"], np.int64),
        np.array(value["counts"], np.int64),
        value["dropped"],
        value["clipped"],
        value["saw"],
    )


def _laws_value(laws: Mapping[str, Law]) -> list[Any]:
    return [
        [
            name,
            {
                "start": law.start.tolist(),
                "value": law.value.tolist(),
                "weight": law.weight.tolist(),
            },
        ]
        for name, law in laws.items()
    ]


def _laws_of(said: list[Any]) -> dict[str, Law]:
    return {
        name: Law(*(np.array(law[part], np.int64) for part in ("start", "value", "weight")))
        for name, law in said
    }


def _binning_of(asked: Mapping[str, Any]) -> Binning:
    exact = None if asked["exact"] is None else tuple(asked["exact"])
    return Binning(**{**asked, "exact": exact, "spacing": Spacing(asked["spacing"])})


def _bins_of(said: Mapping[str, Any]) -> Bins:
    upper = np.array(said["upper"], np.int64)
    return Bins(np.append(said["low"], upper[:-1] + 1).astype(np.int64), upper, *said["clip"])

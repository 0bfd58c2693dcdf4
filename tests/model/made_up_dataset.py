"""Data sets made up for tests: tokens that say their own position, in segments of given lengths."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtsim.model.dataset import Dataset
from mtsim.model.dataset_files import (
    FEATURES,
    SEGMENT_DTYPE,
    SEGMENT_SCHEMA,
    SEGMENTS,
    TOKENIZER,
    TOKENS,
    DatasetWriter,
)
from mtsim.model.split import Part

N_FEATURES = 3


def made_up_dataset(folder: Path, lengths: Sequence[tuple[int, int, Part]]) -> Dataset:
    """A data set of segments (length, session, part). Token and first feature of position k are
    k + 1."""
    total = sum(length for length, _, _ in lengths)
    segments = np.zeros(len(lengths), SEGMENT_DTYPE)
    ends = list(itertools.accumulate(length for length, _, _ in lengths))
    for segment, end, (length, session, part) in zip(segments, ends, lengths, strict=True):
        segment["first"], segment["end"] = end - length, end
        segment["session"], segment["part"] = session, part
    with DatasetWriter(folder) as writer:
        tokens, features = writer.grow(TOKENS), writer.grow(FEATURES)
        tokens.append(np.arange(1, total + 1, dtype=np.uint32))
        rows = np.zeros((total, N_FEATURES), np.float32)
        rows[:, 0] = np.arange(1, total + 1)
        features.append(rows)
        writer.keep(tokens)
        writer.keep(features)
        writer.write(SEGMENTS, SEGMENT_SCHEMA.to_parquet(segments))
        writer.write(TOKENIZER, b"{}\n")
        writer.commit(
            {
                "positions": total,
                "token_dtype": "uint32",
                "features": [f"f{k}" for k in range(N_FEATURES)],
            },
            folder.parent / "store",
        )
    return Dataset.open(folder)

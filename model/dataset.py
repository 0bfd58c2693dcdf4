"""A prepared data set: tokens and features on disk, cut into windows, dealt out by step.

A window lies inside one segment, and so inside one session, stretch and part; windows of a part
together have every position after a segment's first as a target exactly once. Which windows step k
deals is computed from (seed, k) alone. Reads nothing before it is asked for; knows no meaning of a
token but PAD's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtsim.engine.sealed import read_whole, unsealed
from mtsim.errors import IntegrityError, MissingError, UsageError
from mtsim.model.dataset_files import (
    FEATURES,
    FORMAT,
    MANIFEST,
    SEGMENT_SCHEMA,
    SEGMENTS,
    STORE_NOTE,
    TOKENIZER,
    TOKENS,
    VERSION,
)
from mtsim.model.permutation import permuted
from mtsim.model.split import Part
from mtsim.model.vocabulary import PAD
from mtsim.streams import Stream

_CHUNK = 1 << 24


class Batch(NamedTuple):
    """B windows of T positions. Where a window ends early, and where a target is not to be scored,
    stands PAD; features of such positions are 0."""

    tokens: np.ndarray  # int64 [B, T]: the decoder's input
    features: np.ndarray  # float32 [B, T, F]: what is observed after each token
    targets: np.ndarray  # int64 [B, T]: the token that follows each


@dataclass(frozen=True)
class Dataset:
    """The files of one data set, mapped into memory."""

    folder: Path
    manifest: dict[str, Any]
    tokens: np.ndarray  # uint16 or uint32 [N]
    features: np.ndarray  # float32 [N, F]
    segments: np.ndarray  # SEGMENT_DTYPE

    @classmethod
    def open(cls, folder: Path | str) -> Dataset:
        """The data set in a folder: sizes and small files verified, `verify` reads the rest.

        MissingError where there is none, IntegrityError for one that is not what its manifest says.
        """
        folder = Path(folder)
        if not (folder / MANIFEST).exists():
            raise MissingError(
                f"{folder}: no data set, {MANIFEST} is not there",
                "`mtsim data prepare STORE --out DIR` makes one.",
            )
        manifest = unsealed(folder / MANIFEST, "the manifest of a data set")
        found = (manifest.get("format"), manifest.get("version"))
        if found != (FORMAT, VERSION):
            raise IntegrityError(
                f"{folder / MANIFEST}: (format, version) are {found}; this mtsim reads "
                f"{(FORMAT, VERSION)}. Prepare the data set again."
            )
        for name in (SEGMENTS, TOKENIZER):
            _verify(folder, name, manifest)
        content = read_whole(folder / SEGMENTS)
        segments = SEGMENT_SCHEMA.from_parquet(content, str(folder / SEGMENTS))
        n, width = manifest["positions"], len(manifest["features"])
        tokens = _mapped(folder, TOKENS, manifest, np.dtype(manifest["token_dtype"]), (n,))
        features = _mapped(folder, FEATURES, manifest, np.dtype("<f4"), (n, width))
        return cls(folder, manifest, tokens, features, segments)

    @property
    def store(self) -> Path:
        """Where the store was when this was made of it; MissingError where that is not noted."""
        note = self.folder / STORE_NOTE
        if not note.exists():
            raise MissingError(
                f"{note} is not there: this data set does not say where its store was",
                "Say --store.",
            )
        return Path(note.read_text().strip())

    def verify(self) -> None:
        """Read every byte. IntegrityError names the file that is not what the manifest says."""
        for name in self.manifest["files"]:
            _verify(self.folder, name, self.manifest)

    def windows(self, part: Part, context: int, scored: int | None = None) -> Windows:
        """All windows of `context` positions of a part, in the order of the files.

        Each begins `scored` positions after the one before (`context`, where not said, so that they
        meet without overlap), and only what the one before did not score is scored: the first
        window of a segment whole, of the others the last `scored` targets. A segment's last window
        may end early.
        """
        scored = context if scored is None else scored
        if not 1 <= scored <= context:
            raise UsageError(f"a window of {context} positions cannot score {scored} of them")
        mine = self.segments[self.segments["part"] == part]
        targets = mine["end"] - mine["first"] - 1
        mine, targets = mine[targets > 0], targets[targets > 0]
        counts = 1 + -(-np.maximum(targets - context, 0) // scored)
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        first = np.repeat(mine["first"], counts) + nth * scored
        n_inputs = np.minimum(context, np.repeat(mine["end"], counts) - 1 - first)
        skipped = np.where(nth > 0, context - scored, 0)
        return Windows(self, context, first, n_inputs, skipped, np.repeat(mine["session"], counts))

    def evaluation(
        self, part: Part, context: int, scored: int | None = None, most: int | None = None
    ) -> Windows:
        """The windows to score a part by: no target twice, the last `scored` of each (half of them,
        where not said) but for a segment's first.

        With `most` so many at most: of each session as many as of any other until it has no more,
        and within a session evenly over its events.
        """
        whole = self.windows(part, context, max(1, context // 2) if scored is None else scored)
        if most is None or most >= len(whole):
            return whole
        if most < 1:
            raise UsageError(f"at least one window is needed to score, got {most}")
        return whole.take(_stratified(whole.session, most))


@dataclass(frozen=True)
class Windows:
    """Some windows of a data set, by number."""

    dataset: Dataset = field(repr=False)
    context: int
    first: NDArray[np.int64]  # [n] the first position of each
    n_inputs: NDArray[np.int64]  # [n] how many positions it has, at most `context`
    skipped: NDArray[np.int64]  # [n] how many of its targets are not scored
    session: NDArray[np.int32]  # [n]

    def __len__(self) -> int:
        return len(self.first)

    def take(self, numbers: ArrayLike) -> Windows:
        """Only these, in this order."""
        chosen = np.asarray(numbers, np.int64)
        return Windows(
            self.dataset,
            self.context,
            self.first[chosen],
            self.n_inputs[chosen],
            self.skipped[chosen],
            self.session[chosen],
        )

    def scored(self) -> int:
        """How many targets all windows score together."""
        return int((self.n_inputs - np.minimum(self.skipped, self.n_inputs)).sum())

    def batch(self, numbers: ArrayLike) -> Batch:
        """These windows, copied out of the files."""
        chosen = np.asarray(numbers, np.int64)
        source = self.dataset
        tokens = np.full((len(chosen), self.context), PAD, np.int64)
        targets = np.full_like(tokens, PAD)
        features = np.zeros((*tokens.shape, source.features.shape[1]), np.float32)
        for row, number in enumerate(chosen.tolist()):
            first, n = int(self.first[number]), int(self.n_inputs[number])
            tokens[row, :n] = source.tokens[first : first + n]
            features[row, :n] = source.features[first : first + n]
            skip = int(self.skipped[number])
            targets[row, skip:n] = source.tokens[first + skip + 1 : first + n + 1]
        return Batch(tokens, features, targets)


@dataclass(frozen=True)
class Order:
    """In which order windows are trained on: anew for each epoch, each window once in each.

    Stateless: step k deals places k * batch to (k + 1) * batch - 1 of the epochs' shuffles one
    after the other, so a run resumes with its step alone.
    """

    n_windows: int
    batch: int
    seed: int

    def __post_init__(self) -> None:
        if self.n_windows < 1:
            raise UsageError(
                "there is no window to train on: no segment of the part has two positions. Prepare "
                "more sessions, or another split."
            )
        if self.batch < 1:
            raise UsageError(f"a batch has at least one window, got {self.batch}")

    def numbers(self, step: int, rank: int = 0, world_size: int = 1) -> NDArray[np.int64]:
        """The windows of a step; of `world_size` processes that share it, those of process `rank`.

        The shares of all, one after the other, are the step's, however many there are.
        """
        if self.batch % world_size:
            raise UsageError(
                f"a batch of {self.batch} windows cannot be shared by {world_size} processes; it "
                "must be a multiple of their number"
            )
        assert 0 <= rank < world_size
        share = self.batch // world_size
        places = step * self.batch + rank * share + np.arange(share, dtype=np.int64)
        key = Stream(self.seed, "training windows").key
        return permuted(places % self.n_windows, self.n_windows, key, places // self.n_windows)

    def epoch(self, step: int) -> float:
        """How many epochs are done when `step` begins."""
        return step * self.batch / self.n_windows


def _stratified(session: np.ndarray, most: int) -> NDArray[np.int64]:
    """`most` numbers, as many of each session as of any other until it has no more, in order."""
    found, begins, counts = np.unique(session, return_index=True, return_counts=True)
    shares = np.zeros(len(found), np.int64)
    while (left := most - int(shares.sum())) > 0:
        open_ = np.flatnonzero(shares < counts)
        if left < len(open_):
            # Fewer than one each: spread over the sessions, too.
            open_ = open_[np.arange(left) * len(open_) // left]
        more = np.minimum(max(1, left // len(open_)), counts[open_] - shares[open_])
        shares[open_] += more
    chosen = [
        begin + (2 * np.arange(share) + 1) * count // (2 * share)
        for begin, count, share in zip(begins, counts, shares, strict=True)
        if share
    ]
    return np.concatenate(chosen)


def _mapped(
    folder: Path, name: str, manifest: dict[str, Any], dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
    path = folder / name
    try:
        size = path.stat().st_size
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read: {error.strerror}") from error
    expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not size == expected == manifest["files"][name]["bytes"]:
        raise IntegrityError(
            f"{path}: {size} bytes, its manifest says {expected}. Prepare the data set again."
        )
    # The plain array over the map: slices of a memmap cost several times as much.
    return np.asarray(np.memmap(path, dtype, "r", shape=shape))


def _verify(folder: Path, name: str, manifest: dict[str, Any]) -> None:
    path, digest = folder / name, hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read: {error.strerror}") from error
    said = manifest["files"][name]["sha256"]
    if digest.hexdigest() != said:
        raise IntegrityError(
            f"{path}: SHA-256 is {digest.hexdigest()}, {folder / MANIFEST} says {said}"
        )

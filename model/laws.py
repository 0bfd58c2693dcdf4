"""The law inside a bin: what its values were in training, to draw one of them again.

A bin that stood for many values must not come back as one of them, nor as a value that never was.
Knows integers only: what they count, and which bin is which, is `bins`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numba import njit

from mtsim.engine.fingerprint import fingerprint

SOURCES = fingerprint(Path(__file__))
"""For the entry points of loops that call `code_of` or `draw_from_law`."""

POINTS = 256
"""The most values that a bin's law keeps."""


@dataclass(frozen=True)
class Law:
    """The values of each bin with their weights. Bin b has those from `start[b]` to `start[b + 1]`.

    `weight` is cumulative within a bin. A bin without values is *hollow*: nothing in training fell
    into it.
    """

    start: np.ndarray  # int64 [bins + 1]
    value: np.ndarray  # int64, ascending within a bin
    weight: np.ndarray  # int64

    @property
    def counts(self) -> np.ndarray:
        """How many values of the training data each bin stands for, int64 [bins]."""
        last = np.maximum(self.start[1:] - 1, 0)
        ends = self.weight[last] if len(self.weight) else np.zeros(len(last), np.int64)
        return np.where(self.start[1:] > self.start[:-1], ends, 0)

    def filled_from(self, other: Law) -> Law:
        """This law, its hollow bins those of `other`, which has as many."""
        sizes = np.diff(self.start)
        hollow = sizes == 0
        sizes = np.where(hollow, np.diff(other.start), sizes)
        from_other = np.repeat(hollow, sizes)
        start = np.concatenate([[0], np.cumsum(sizes)])
        merged = []
        for mine, theirs in ((self.value, other.value), (self.weight, other.weight)):
            column = np.empty(start[-1], np.int64)
            column[~from_other] = mine
            column[from_other] = theirs[np.repeat(hollow, np.diff(other.start))]
            merged.append(column)
        return Law(start, *merged)

    def draw(
        self, codes: np.ndarray, units: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> np.ndarray:
        """One integer of each code's bin within [low, high], by the uniform of it; int64.

        `low` and `high` lie inside the bin: see `draw_from_law`.
        """
        laws = (np.array([0, len(self.start) - 1]), self.start, self.value, self.weight)
        out = np.empty(len(codes), np.int64)
        _draw_many(*laws, codes.astype(np.int64), units, low, high, out)
        return out


def law_of(
    values: np.ndarray, counts: np.ndarray, codes: np.ndarray, n_bins: int, most: int = POINTS
) -> Law:
    """The laws of `n_bins` bins from distinct, ascending values, their counts, and their codes.

    A bin of at most `most` values is kept exactly. Of a larger one, each value that makes up more
    than a `most`/2-th of it is kept exactly, the others by `most`/2 equally heavy quantiles.
    """
    starts = np.searchsorted(codes, np.arange(n_bins + 1))
    start, kept_values, kept_weights = [0], [], []
    for first, last in pairwise(starts):
        points, weights = _points(values[first:last], counts[first:last], most)
        kept_values.append(points)
        kept_weights.append(np.cumsum(weights))
        start.append(start[-1] + len(points))
    return Law(
        np.array(start, np.int64),
        np.concatenate(kept_values).astype(np.int64),
        np.concatenate(kept_weights).astype(np.int64),
    )


def _points(values: np.ndarray, counts: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    if len(values) <= most:
        return values, counts
    half = most // 2
    heavy = counts * half > counts.sum()
    light_values, light_counts = values[~heavy], counts[~heavy]
    total = int(light_counts.sum())
    # The middle of each of `half` equal parts, and the integers that share the total among them.
    ends = [(part * total) // half for part in range(half + 1)]
    middles = (np.array(ends[:-1]) + np.array(ends[1:])) // 2
    at = np.searchsorted(np.cumsum(light_counts), middles, side="right")
    points = np.concatenate([values[heavy], light_values[at]])
    weights = np.concatenate([counts[heavy], np.diff(ends)])
    distinct, where = np.unique(points, return_inverse=True)
    merged = np.zeros(len(distinct), np.int64)
    np.add.at(merged, where, weights)
    return distinct[merged > 0], merged[merged > 0]


@njit(cache=True)
def code_of(lower, upper, value):
    """The code of the bin that `value` lies in, -1 where none does. O(log bins)."""
    n = len(upper)
    if value < lower[0] or value > upper[n - 1]:
        return -1
    first, last = 0, n - 1
    while first < last:
        middle = (first + last) >> 1
        if upper[middle] < value:
            first = middle + 1
        else:
            last = middle
    return first


@njit(cache=True)
def draw_from_law(law_first, law_start, law_value, law_weight, law, code, unit, low, high):
    """The integer of [low, high] at which the law of this bin, cut to that range, reaches `unit`.

    `low <= high`, both inside the bin `code` of the law number `law`; `unit` in [0, 1). Where no
    value of the law lies in the range, all integers in it are alike. O(log POINTS).
    """
    begin = law_start[law_first[law] + code]
    end = law_start[law_first[law] + code + 1]
    first = _first_at_least(law_value, begin, end, low)
    last = _first_at_least(law_value, first, end, high + 1)
    if first == last:
        width = high - low + 1
        return low + min(np.int64(unit * width), width - 1)
    below = law_weight[first - 1] if first > begin else 0
    total = law_weight[last - 1] - below
    wanted = below + min(np.int64(unit * total), total - 1)
    return law_value[_first_at_least(law_weight, first, last, wanted + 1)]


@njit(cache=True)
def _first_at_least(values, first, last, wanted):
    while first < last:
        middle = (first + last) >> 1
        if values[middle] < wanted:
            first = middle + 1
        else:
            last = middle
    return first


@njit(cache=True)
def _draw_many(law_first, law_start, law_value, law_weight, codes, units, low, high, out):
    for i in range(len(codes)):
        out[i] = draw_from_law(
            law_first, law_start, law_value, law_weight, 0, codes[i], units[i], low[i], high[i]
        )

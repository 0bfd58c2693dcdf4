"""How far two samples of one number are apart. Bins and scales come from the real sample alone.

A generated sample with heavy tails must not make the yardstick longer for itself: bins are fixed on
the real sample, and what lies outside of it falls into the two outer bins.
"""

from __future__ import annotations

import numpy as np

MOST_BINS = 60
_FEW_VALUES = 40


def edges_of(real: np.ndarray) -> np.ndarray:
    """Lower edges of the bins in which samples are compared with this one, ascending.

    Where few values occur each has its own bin; otherwise the bins hold about as many of the sample
    each, and a value that fills one by itself has it to itself. At least one value is needed.
    """
    values, counts = np.unique(real, return_counts=True)
    assert len(values), "an empty sample has no bins"
    if len(values) <= _FEW_VALUES:
        return values
    before = np.cumsum(counts) - counts
    quantiles = np.searchsorted(before, np.arange(MOST_BINS) * (len(real) / MOST_BINS))
    alone = np.flatnonzero(counts >= len(real) / MOST_BINS)
    starts = np.unique(np.concatenate([[0], quantiles, alone, alone + 1]))
    return values[starts[starts < len(values)]]


def shares(sample: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The share of a sample in each bin; what lies below the first edge counts to the first bin."""
    codes = np.maximum(np.searchsorted(edges, sample, side="right") - 1, 0)
    return np.bincount(codes, minlength=len(edges)) / len(sample)


def total_variation(real: np.ndarray, other: np.ndarray, edges: np.ndarray | None = None) -> float:
    """Half the sum of the differences of the shares, from 0 to 1; NaN where a sample is empty.

    `edges` are those of the real sample unless others are given.
    """
    if not len(real) or not len(other):
        return float("nan")
    if edges is None:
        edges = edges_of(real)
    return float(np.abs(shares(real, edges) - shares(other, edges)).sum() / 2)


def kolmogorov_smirnov(real: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of the two distribution functions; NaN where a sample is empty."""
    if not len(real) or not len(other):
        return float("nan")
    real, other = np.sort(real), np.sort(other)
    at = np.concatenate([real, other])
    below_real = np.searchsorted(real, at, side="right") / len(real)
    below_other = np.searchsorted(other, at, side="right") / len(other)
    return float(np.abs(below_real - below_other).max())


def wasserstein(real: np.ndarray, other: np.ndarray) -> float:
    """The area between the distribution functions, in interquartile ranges of the real sample.

    In its standard deviations where the quartiles coincide; NaN where a sample is empty or the real
    one is a constant.
    """
    if not len(real) or not len(other):
        return float("nan")
    low, high = np.quantile(real, [0.25, 0.75])
    scale = float(high - low) or float(np.std(real))
    if scale == 0:
        return float("nan")
    real, other = np.sort(real), np.sort(other)
    at = np.sort(np.concatenate([real, other]))
    below_real = np.searchsorted(real, at[:-1], side="right") / len(real)
    below_other = np.searchsorted(other, at[:-1], side="right") / len(other)
    return float((np.abs(below_real - below_other) * np.diff(at)).sum() / scale)

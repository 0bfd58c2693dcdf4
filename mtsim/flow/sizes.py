"""Order sizes as a table of integer lots to draw from with 32 random bits. Knows no order."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtsim.engine.ladder import U, hot
from mtsim.engine.units import MAX_LOTS
from mtsim.errors import UsageError

# Equally likely quantiles that stand for a continuous law, and steps of the guide.
_QUANTILES = 2**16
_GUIDE_BITS = 10


@dataclass(frozen=True, eq=False)
class Sizes:
    """`lots[k]` has probability (upper[k] - upper[k - 1]) / 2^32."""

    lots: np.ndarray
    upper: np.ndarray

    @classmethod
    def constant(cls, lots: int) -> "Sizes":
        return cls.empirical(np.array([lots]), np.ones(1))

    @classmethod
    def empirical(cls, lots: np.ndarray, weights: np.ndarray) -> "Sizes":
        """Different sizes and how often each was seen; probabilities are exact to 2^-32."""
        lots, weights = np.asarray(lots), np.asarray(weights, np.float64)
        if lots.ndim != 1 or lots.shape != weights.shape or not len(lots):
            raise UsageError(
                f"Sizes: one weight for each of at least one size is needed, got {lots.shape} "
                f"sizes and {weights.shape} weights"
            )
        if lots.dtype.kind not in "iu" or lots.min() < 1 or lots.max() > MAX_LOTS:
            raise UsageError(f"Sizes: lots must be integers from 1 to {MAX_LOTS}, got {lots}")
        if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.sum() > 0):
            raise UsageError("Sizes: weights must be finite, not negative, and not all 0")
        lots, weights = lots[weights > 0], weights[weights > 0]
        order = np.argsort(lots, kind="stable")
        upper = np.round(np.cumsum(weights[order]) / weights.sum() * 2.0**32).astype(np.int64)
        upper[-1] = 2**32
        return cls(lots[order].astype(np.int64), upper)

    @classmethod
    def of_quantiles(cls, quantile: Callable[[float], float]) -> "Sizes":
        """The law whose value at `u` in (0, 1) is `quantile(u)`: 65,536 equally likely values,
        each rounded to the nearest size there is."""
        units = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        values = np.array([quantile(unit) for unit in units.tolist()])
        lots, counts = np.unique(np.clip(np.rint(values), 1, MAX_LOTS), return_counts=True)
        return cls.empirical(lots.astype(np.int64), counts)

    def mean(self) -> float:
        return float(np.diff(self.upper, prepend=0) @ self.lots / 2**32)

    def words(self) -> np.ndarray:
        """int64 words for `draw_lots`: a guide into the table, then pairs of upper end and lots."""
        steps = np.arange(2**_GUIDE_BITS, dtype=np.int64) << (32 - _GUIDE_BITS)
        first = np.searchsorted(self.upper, steps, side="right")
        guide = len(steps) + 2 * first
        return np.concatenate((guide, np.column_stack((self.upper, self.lots)).ravel()))


@hot
def draw_lots(table, first, bits):
    """The lots that 32 `bits`, an int64, stand for in the table whose words begin at `first`."""
    entry = first + table[U(first + (bits >> (32 - _GUIDE_BITS)))]
    while table[U(entry)] <= bits:
        entry += 2
    return table[U(entry + 1)]

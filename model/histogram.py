"""How often each size of a whole number occurred, in memory that does not grow with their number.

Values below 64 are counted one by one, larger ones in 32 bins an octave: 3 % wide at most.
"""

from __future__ import annotations

import numpy as np

_EXACT = 64
_BINS_AN_OCTAVE = 32
_BINS = _EXACT + (63 - 6) * _BINS_AN_OCTAVE


class Histogram:
    """Counts of values from 0 to 2^63 - 1."""

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Count non-negative integers. O(values)."""
        self.counts += np.bincount(_bins(values), minlength=_BINS)

    def total(self) -> int:
        return int(self.counts.sum())

    def quantile(self, share: float) -> int | None:
        """The smallest value, to the width of its bin, that `share` of the values do not exceed.

        None where there are no values.
        """
        total = self.total()
        if total == 0:
            return None
        wanted = max(1, int(np.ceil(share * total)))
        return int(lower_edges()[np.searchsorted(np.cumsum(self.counts), wanted)])


def lower_edges() -> np.ndarray:
    """The smallest value of each bin, int64."""
    octave = np.arange(_BINS - _EXACT) // _BINS_AN_OCTAVE
    step = np.arange(_BINS - _EXACT) % _BINS_AN_OCTAVE + _BINS_AN_OCTAVE
    return np.concatenate([np.arange(_EXACT), step.astype(np.int64) << (octave + 1)])


def _bins(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.int64)
    # The exponent of the float is the position of the highest bit, but for values next to a power
    # of two that a float cannot tell from it: those are one bin too high, which is put right below.
    highest = np.frexp(values.astype(np.float64))[1] - 1
    highest -= (values >> np.clip(highest, 0, 62)) == 0
    octave = np.maximum(highest - 6, 0)
    inside = (values >> (octave + 1)) - _BINS_AN_OCTAVE
    return np.where(values < _EXACT, values, _EXACT + octave * _BINS_AN_OCTAVE + inside)

"""How often each whole number occurred: exactly while they are few, in fine cells once many.

A cell is a 1/1024 octave wide, and is kept as the value in its middle; below 2048 a cell is one
value. Values that were heavy by the time when there were too many stay exact: they are the round
numbers that traders like. What comes out depends on the values and their order, not on how they
came in batches. Knows no market.
"""

from __future__ import annotations

import numpy as np

MOST_DISTINCT = 1 << 17
"""Up to so many distinct values are counted one by one."""

_BLOCK = 1 << 18
"""Values are taken in, and counted as too many, in blocks of this size."""

_HEAVY = 1 << 12
"""A heavy value is more than one in so many."""

_CELL_BITS = 10


class Tally:
    """Counts of int64 values of either sign, in bounded memory. `close` it before it is read."""

    def __init__(self) -> None:
        self.values = np.zeros(0, np.int64)  # distinct, ascending
        self.counts = np.zeros(0, np.int64)
        self.ends: tuple[int, int] | None = None  # the least and the most of them, never in cells
        self.heavy: np.ndarray | None = None  # the values that stay exact, once others do not
        self._waiting: list[np.ndarray] = []

    def add(self, values: np.ndarray) -> None:
        """Count these. O(n log n)."""
        values = np.asarray(values, np.int64)
        while len(values):
            room = _BLOCK - sum(map(len, self._waiting))
            self._waiting.append(values[:room])
            if len(values) < room:
                break
            values = values[room:]
            self.close()

    def close(self) -> Tally:
        """Count what still waits for its block to be full; the tally itself."""
        block = np.concatenate([np.zeros(0, np.int64), *self._waiting])
        self._waiting = []
        if len(block):
            self._reach((int(block.min()), int(block.max())))
            self._merge(*np.unique(block, return_counts=True))
            if self.heavy is None and len(self.values) > MOST_DISTINCT:
                self._use_cells(self.values[self.counts * _HEAVY > self.total()])
        return self

    def total(self) -> int:
        return int(self.counts.sum())

    def is_exact(self) -> np.ndarray:
        """Which of `values` are values that occurred, and no middles of a cell; bool."""
        if self.heavy is None:
            return np.ones(len(self.values), np.bool_)
        return np.isin(self.values, self.heavy) | (np.abs(self.values) < 2 << _CELL_BITS)

    def _use_cells(self, heavy: np.ndarray) -> None:
        self.heavy = heavy
        values, counts = self.values, self.counts
        self.values, self.counts = values[:0], counts[:0]
        self._merge(values, counts)

    def _reach(self, ends: tuple[int, int] | None) -> None:
        if ends is not None:
            least, most = self.ends or ends
            self.ends = (min(least, ends[0]), max(most, ends[1]))

    def _merge(self, values: np.ndarray, counts: np.ndarray) -> None:
        if self.heavy is not None:
            values = np.where(np.isin(values, self.heavy), values, _middle_of_cell(values))
        together = np.concatenate([self.values, values])
        self.values, where = np.unique(together, return_inverse=True)
        merged = np.zeros(len(self.values), np.int64)
        np.add.at(merged, where, np.concatenate([self.counts, counts]))
        self.counts = merged


def merged(*tallies: Tally) -> Tally:
    """The counts of all of these, closed ones, together."""
    together = Tally()
    heavy = [tally.heavy for tally in tallies if tally.heavy is not None]
    if heavy:
        # What one of them could still tell apart and another could not, cannot be told apart now.
        together.heavy = np.unique(np.concatenate(heavy))
    for tally in tallies:
        together._merge(tally.values, tally.counts)
        together._reach(tally.ends)
    return together


def _middle_of_cell(values: np.ndarray) -> np.ndarray:
    size = np.abs(values)
    # The float's exponent is the position of the highest bit, but one too high for the few values
    # that a float rounds up to a power of two.
    highest = np.frexp(size.astype(np.float64))[1].astype(np.int64) - 1
    highest -= (size >> np.clip(highest, 0, 62)) == 0
    shift = np.maximum(highest - _CELL_BITS, 0)
    middle = ((size >> shift) << shift) + ((1 << shift) >> 1)
    return np.where(values < 0, -middle, middle)

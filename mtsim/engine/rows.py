"""Arrays of fixed-width rows in memory: growing them, copying them, comparing them bit by bit.

Knows no field but the padding, whose name is the same in every row of the engine.
"""

from __future__ import annotations

from functools import cache

import numpy as np

PADDING = "padding"


class Rows:
    """Rows of one dtype that only grow: amortised O(1) a row, and a view of all of them at no
    cost."""

    def __init__(self, dtype: np.dtype):
        self._room = np.zeros(256, dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, count: int) -> np.ndarray:
        """Add `count` zero rows and return them, to be filled at once: the next call may move
        them."""
        end = self._count + count
        if end > len(self._room):
            room = np.zeros(max(end, 2 * len(self._room)), self._room.dtype)
            room[: self._count] = self._room[: self._count]
            self._room = room
        added = self._room[self._count : end]
        self._count = end
        return added

    def all(self) -> np.ndarray:
        """Every row so far, read-only. A view: rows added later are not in it."""
        rows = self._room[: self._count]
        rows.flags.writeable = False
        return rows


def copy_rows(rows: np.ndarray, target: np.ndarray) -> None:
    """Write rows over as many others of the same dtype.

    As bytes: numpy copies rows field by field, which takes three times as long.
    """
    opaque = _opaque(rows.dtype.itemsize)
    target.view(opaque)[...] = rows.view(opaque)


def without_padding(rows: np.ndarray) -> np.ndarray:
    """A contiguous copy whose padding is zero, so that equal rows have equal bytes."""
    clean = np.ascontiguousarray(rows).copy()
    if clean.dtype.names and PADDING in clean.dtype.names:
        clean[PADDING] = 0
    return clean


@cache
def _opaque(itemsize: int) -> np.dtype:
    return np.dtype((np.void, itemsize))

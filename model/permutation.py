"""A keyed shuffle of the numbers below n that holds nothing: any place of it is computed alone.

A Feistel network over a grid of a x b >= n cells, whose rounds add Philox bits modulo a and b in
turn (Black and Rogaway 2002), and walks on where it leaves the n numbers. So a run that stops at
step k goes on at step k + 1 with nothing kept but k. Knows no window and no epoch's meaning.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from mtsim import streams, streams_numba
from mtsim.engine.fingerprint import fingerprint

MAX_NUMBERS = 1 << 62

_ROUNDS = 8
"""Four make a shuffle that no order can be told from (Luby and Rackoff 1988) where a and b are
large; eight do for the few numbers of a small data set, too."""

_SOURCES = fingerprint(Path(__file__), Path(streams.__file__), Path(streams_numba.__file__))


def permuted(places: ArrayLike, n: int, key: np.uint64, epoch: ArrayLike = 0) -> NDArray[np.int64]:
    """Which of the numbers 0..n-1 stands at each place (0..n-1) of the order of `key` and `epoch`.

    `epoch` broadcasts against `places`, and is below 2^32. O(places), whatever n is.
    """
    assert 1 <= n <= MAX_NUMBERS
    places, epochs = np.broadcast_arrays(np.asarray(places, np.int64), np.asarray(epoch, np.int64))
    assert not places.size or (places.min() >= 0 and places.max() < n)
    assert not epochs.size or (epochs.min() >= 0 and epochs.max() < 1 << 32)
    found = np.empty(places.size, np.uint64)
    _permute(
        places.ravel().astype(np.uint64),
        epochs.ravel().astype(np.uint64),
        np.uint64(n),
        np.uint64(_width(n)),
        key,
        found,
    )
    return found.astype(np.int64).reshape(places.shape)


def _width(n: int) -> int:
    """The smallest a with a * a >= n: with b = ceil(n / a) the grid has fewer than n + a cells."""
    return math.isqrt(n - 1) + 1


def _permuting(sources: int):
    bits_at, rounds = streams_numba.bits_at, _ROUNDS

    @njit(nogil=True, cache=True)
    def permute(places, epochs, n, a, key, found):
        _ = sources
        one = np.uint64(1)
        b = (n + a - one) // a
        for k in range(places.size):
            cell = places[k]
            while True:
                row, column = cell // b, cell % b
                for r in range(0, rounds, 2):
                    bits = bits_at(key, epochs[k], column, np.uint64(r))
                    row = (row + bits % a) % a
                    bits = bits_at(key, epochs[k], row, np.uint64(r + 1))
                    column = (column + bits % b) % b
                cell = row * b + column
                if cell < n:
                    break
            found[k] = cell

    return permute


_permute = _permuting(_SOURCES)

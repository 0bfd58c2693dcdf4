"""Randomness as arguments: named streams of one seed, draws that depend on their key alone.

A draw is Philox4x32-10 (Salmon et al. 2011) of the key (seed, stream name) and the counter
(index, world, field). It does not depend on how many draws came before, so an agent's orders
consume none of the flow's, and a world draws the same alone as among others. The same source serves
NumPy arrays here and compiled loops in `mtsim.streams_numba`; Triton's `tl.rand` is the same
generator.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_SEED = 2**63 - 1

# Every constant is uint64: in compiled code int64 mixed with uint64 would become float64.
_MULTIPLY_0 = np.uint64(0xD2511F53)
_MULTIPLY_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_11 = np.uint64(11)
_TO_UNIT = 2.0**-53


def philox(key_0: Any, key_1: Any, c_0: Any, c_1: Any, c_2: Any, c_3: Any) -> tuple:
    """Four 32-bit words, held in uint64, of Philox4x32-10; arguments are uint64 words below 2^32.

    Works on arrays, which broadcast, and on scalars inside Numba.
    """
    for _ in range(10):
        product_0 = _MULTIPLY_0 * c_0
        product_1 = _MULTIPLY_1 * c_2
        c_0, c_1, c_2, c_3 = (
            (product_1 >> _32) ^ c_1 ^ key_0,
            product_1 & _LOW,
            (product_0 >> _32) ^ c_3 ^ key_1,
            product_0 & _LOW,
        )
        key_0 = (key_0 + _WEYL_0) & _LOW
        key_1 = (key_1 + _WEYL_1) & _LOW
    return c_0, c_1, c_2, c_3


def bits_at(key: Any, world: Any, index: Any, field: Any) -> Any:
    """64 random bits of the draw (index, world, field) under a stream's `key`; all are uint64.

    `world` and `field` are below 2^32.
    """
    word_0, word_1, _, _ = philox(
        key & _LOW, key >> _32, index & _LOW, index >> _32, world & _LOW, field & _LOW
    )
    return (word_1 << _32) | word_0


def unit_at(key: Any, world: Any, index: Any, field: Any) -> Any:
    """A float64 in [0, 1), a multiple of 2^-53, from the same draw as `bits_at`."""
    return (bits_at(key, world, index, field) >> _11) * _TO_UNIT


def grid_at(key: Any, world: Any, index: Any, field: Any) -> Any:
    """An integer in [0, 2^32): the high half of `bits_at`, for inverting integer distributions."""
    return bits_at(key, world, index, field) >> _32


@dataclass(frozen=True, slots=True)
class Stream:
    """The draws of one purpose, independent of every other name and seed.

    >>> flow = Stream(7, "flow")
    >>> float(flow.unit(index=0)) == float(flow.unit(index=[0, 1, 2])[0])
    True
    """

    seed: int
    name: str

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"a seed is an integer from 0 to 2^63 - 1, got {self.seed}")

    @property
    def key(self) -> np.uint64:
        """The Philox key: the first 64 bits of SHA-256 over the seed and the name."""
        digest = hashlib.sha256(self.seed.to_bytes(8, "little") + self.name.encode()).digest()
        return np.uint64(int.from_bytes(digest[:8], "little"))

    def bits(self, index: ArrayLike, *, world: ArrayLike = 0, field: ArrayLike = 0) -> NDArray:
        """uint64 bits of each draw; the arguments broadcast."""
        return bits_at(*self._words(world, index, field))

    def unit(self, index: ArrayLike, *, world: ArrayLike = 0, field: ArrayLike = 0) -> NDArray:
        """float64 in [0, 1) of each draw; the arguments broadcast."""
        return unit_at(*self._words(world, index, field))

    def generator(self, *, world: int = 0) -> np.random.Generator:
        """A sequential NumPy generator, for bulk work where the order of draws is fixed."""
        words = np.array([self.key, world], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=words))

    def _words(self, world: ArrayLike, index: ArrayLike, field: ArrayLike) -> tuple:
        return self.key, *(np.asarray(word, dtype=np.uint64) for word in (world, index, field))

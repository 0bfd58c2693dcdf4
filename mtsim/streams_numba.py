"""The draws of `mtsim.streams` for compiled loops: importing this lets Numba code call them.

Same source, same bits; only the compiler differs.
"""

from numba import njit
from numba.extending import register_jitable

from mtsim import streams

for _draw in (streams.philox, streams.bits_at, streams.unit_at, streams.grid_at):
    register_jitable(_draw)

philox = njit(streams.philox)
bits_at = njit(streams.bits_at)
unit_at = njit(streams.unit_at)
grid_at = njit(streams.grid_at)

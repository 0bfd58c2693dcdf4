"""Where the market was: the touch of a tape's book at any time. Reads streams only."""

from __future__ import annotations

import numpy as np

from mtsim.engine.tape import Stream
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, Side


def mid_x2_at(stream: Stream, time_ns: np.ndarray) -> np.ndarray:
    """int64: twice the mid after all that happened until each time, that included.

    While a side is empty the last mid is kept. ValueError where there has been none.
    """
    bid, ask = _touch(stream)
    known = np.flatnonzero((bid != EMPTY_BID) & (ask != EMPTY_ASK))
    at = np.searchsorted(stream.time_ns[known], time_ns, side="right") - 1
    if (at < 0).any():
        raise ValueError("no book with both sides had been there by then")
    return (bid + ask)[known][at]


def mid_x2_after(stream: Stream, n_messages: int) -> int | None:
    """Twice the mid after the first `n_messages`, or the last there was; None before the first."""
    bid, ask = _touch(stream)
    known = np.flatnonzero((bid != EMPTY_BID) & (ask != EMPTY_ASK))
    at = int(np.searchsorted(known, n_messages)) - 1
    return int((bid + ask)[known[at]]) if at >= 0 else None


def empty_side_ns(stream: Stream, side: Side, begin_ns: int, end_ns: int) -> int:
    """For how long, from `begin_ns` to `end_ns`, nothing rested on a side."""
    bid, ask = _touch(stream)
    is_empty = (bid == EMPTY_BID) if side == Side.BUY else (ask == EMPTY_ASK)
    bounds = np.clip(np.append(stream.time_ns, end_ns), begin_ns, end_ns)
    before_anything = int(np.clip(bounds[0] - begin_ns, 0, None))
    return before_anything + int(np.diff(bounds)[is_empty].sum())


def _touch(stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """The best bid and ask after each message, as int64."""
    results = stream.results
    return results["bid_tick"].astype(np.int64), results["ask_tick"].astype(np.int64)

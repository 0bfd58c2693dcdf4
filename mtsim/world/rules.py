"""Halts: trading stops, orders are collected, and one auction begins it again.

What a halt asks of a book, as messages to be delivered with `Rank.SHOCK`. While it lasts limit
orders and cancels work, and what would have to trade at once is refused (docs/engine-rules.md).
Knows no clock.
"""

import numpy as np

from mtsim.engine.messages import MESSAGE_DTYPE, Kind, Phase
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID
from mtsim.flow.base import BACKGROUND


def halt(phase: int) -> np.ndarray:
    """Begin to collect orders; no row where the book does so already."""
    rows = np.zeros(int(phase == Phase.CONTINUOUS), MESSAGE_DTYPE)
    rows["kind"] = Kind.AUCTION
    rows["owner"] = BACKGROUND
    return rows


def reopen(phase: int, results: np.ndarray) -> np.ndarray:
    """Trade what has been collected at one price, and go on; no row where nothing is halted.

    Of prices that trade as much with as little left over, the auction takes the one nearest to the
    last mid before the halt, which `results`, the book's RESULT_DTYPE rows so far, say.
    """
    rows = np.zeros(int(phase == Phase.AUCTION), MESSAGE_DTYPE)
    rows["kind"] = Kind.UNCROSS
    rows["owner"] = BACKGROUND
    rows["price_tick"] = _last_mid_tick(results)
    return rows


def _last_mid_tick(results: np.ndarray) -> int:
    """The tick at or below the last mid of continuous trading; 0 where there was none."""
    bid, ask = results["bid_tick"].astype(np.int64), results["ask_tick"].astype(np.int64)
    has_mid = (bid != EMPTY_BID) & (ask != EMPTY_ASK) & (results["phase"] == Phase.CONTINUOUS)
    known = np.flatnonzero(has_mid)
    return int(bid[known[-1]] + ask[known[-1]]) // 2 if len(known) else 0

"""Openings made of messages: what puts a book in place at time 0. Knows no clock.

They are executed like any others and are on the tape, so that a replay needs nothing else. On the
tape they come before the mark SESSION_START.
"""

import numpy as np

from mtsim.engine.messages import MESSAGE_DTYPE, Kind
from mtsim.engine.units import MAX_TICK, Side
from mtsim.errors import UsageError
from mtsim.flow.base import BACKGROUND, FIRST_FLOW_ID


def synthetic(
    *, mid_tick: int, spread: int, levels: int, orders_per_level: int, lots: int, decay: float = 0.0
) -> np.ndarray:
    """A symmetric book as MESSAGE_DTYPE rows: best levels first, bid before ask.

    `mid_tick` is the tick just below the middle: the best bid is half the spread below the middle,
    rounded down, and the ask `spread` ticks above the bid. An order at level k has
    lots x exp(-decay k), rounded, and at least one.
    """
    if min(spread, levels, orders_per_level, lots) < 1:
        raise UsageError(
            "opening: spread, levels, orders_per_level and lots must be at least 1, got "
            f"{spread}, {levels}, {orders_per_level}, {lots}"
        )
    bid_tick = mid_tick - (spread - 1) // 2
    ask_tick = bid_tick + spread
    if max(abs(bid_tick - levels), abs(ask_tick + levels)) > MAX_TICK:
        raise UsageError(f"opening: ticks beyond {MAX_TICK} at mid_tick {mid_tick}")
    rows = np.zeros((levels, len(Side), orders_per_level), MESSAGE_DTYPE)
    level = np.arange(levels)
    rows["kind"] = Kind.LIMIT
    rows["owner"] = BACKGROUND
    rows["side"] = np.array(Side)[:, None]
    rows["price_tick"][:, Side.BUY] = (bid_tick - level)[:, None]
    rows["price_tick"][:, Side.SELL] = (ask_tick + level)[:, None]
    sizes = np.maximum(1, np.rint(lots * np.exp(-decay * level)))
    rows["lots"] = sizes.astype(np.int64)[:, None, None]
    return numbered(rows.ravel())


def numbered(messages: np.ndarray) -> np.ndarray:
    """The same messages with the ids of an opening, from 1 on; only orders that enter have one."""
    if len(messages) >= FIRST_FLOW_ID:
        raise UsageError(f"opening: {len(messages)} messages, fewer than {FIRST_FLOW_ID} can be")
    messages = messages.copy()
    messages["order_id"] = np.arange(1, len(messages) + 1)
    return messages

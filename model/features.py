"""What is observed of a world before each of its actions: one function of its book and its past.

History, simulation and evaluation all call `observe`: there is no other way to a feature. Causal by
construction, since it sees a book and a `past.Past`, and no time but that of the last action. All
values are finite for every uncrossed book, and are scaled to lie within about -10 to 10. Knows no
action and no token.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

import numpy as np

from mtsim.engine.ladder import U, cold, leading_zeros, level_of, next_level
from mtsim.engine.layout import BEST, EMPTY_KEY, FLOOR, LADDER, MASK
from mtsim.model.past import (
    BY_AGENT,
    DAY_NS,
    DAY_START,
    FLOW,
    FLOW_SIZE,
    GAP_NS,
    HAS_MID,
    LAST_MOVE,
    LAST_NS,
    MID_X2,
    NO_REFERENCE,
    SECOND_NS,
    SINCE_OPEN,
    TIER,
    TRADED,
    VARIANCE,
    VWAP,
    Past,
    Settings,
    new_past,
    rebase,
    reference_ticks,
    remember,
    reset_past,
)

__all__ = [
    "FEATURES",
    "MIRROR",
    "MIRROR_SIGN",
    "NO_REFERENCE",
    "Past",
    "Settings",
    "new_past",
    "observe",
    "rebase",
    "reference_ticks",
    "remember",
    "reset_past",
]

LEVELS = 10
NEAR_LEVELS = 5

FEATURES: tuple[str, ...] = (
    "spread",  # log of ticks; 0 where a side is empty
    *(f"bid_lots_{n}" for n in range(1, LEVELS + 1)),  # log of lots; 0: no such level
    *(f"ask_lots_{n}" for n in range(1, LEVELS + 1)),
    "touch_imbalance",  # (bid - ask) / (bid + ask) of displayed lots; 0 for an empty book
    "near_imbalance",  # the same of the best NEAR_LEVELS levels
    "bid_gap",  # log of ticks from the best level to the second; 0: no such level
    "ask_gap",
    "last_move",  # signed log of half-ticks, of the last action that moved the mid
    "volatility",  # log of the root of the decayed squared moves of the mid in ticks
    "flow_imbalance",  # order flow at the touch over its absolute value, both decayed
    "day_sin",  # the local time of day on a circle
    "day_cos",
    "since_start",  # log of seconds since the session's start
    "since_open",  # signed log of the mid's move since the open in bp
    "tier",  # of liquidity; 0: not known
    "by_agent",  # whether the last action was an agent's
    "vwap_deviation",  # signed log of mid - vwap in ticks; 0 before the first trade
    "gap",  # log of ns between the last two actions
)
"""The features in order. A log is LOG_SCALE x log(1 + x) of an integer or of the volatility, and
LOG_SCALE x asinh(x) where it is signed and no integer."""

_AT = {name: n for n, name in enumerate(FEATURES)}
SPREAD, BID_LOTS, ASK_LOTS = _AT["spread"], _AT["bid_lots_1"], _AT["ask_lots_1"]
TOUCH_IMBALANCE, NEAR_IMBALANCE = _AT["touch_imbalance"], _AT["near_imbalance"]
BID_GAP, ASK_GAP = _AT["bid_gap"], _AT["ask_gap"]
MOVE, VOLATILITY, FLOW_IMBALANCE = _AT["last_move"], _AT["volatility"], _AT["flow_imbalance"]
DAY_SIN, DAY_COS, SINCE_START = _AT["day_sin"], _AT["day_cos"], _AT["since_start"]
MOVE_SINCE_OPEN, LIQUIDITY, AGENT = _AT["since_open"], _AT["tier"], _AT["by_agent"]
VWAP_DEVIATION, GAP = _AT["vwap_deviation"], _AT["gap"]

_SIGNED = (
    "touch_imbalance",
    "near_imbalance",
    "last_move",
    "flow_imbalance",
    "since_open",
    "vwap_deviation",
)


def _other(name: str) -> str:
    """The feature that shows, in the mirrored world, what this one shows."""
    if name.startswith("bid_"):
        return "ask_" + name[4:]
    return "bid_" + name[4:] if name.startswith("ask_") else name


MIRROR = np.array([_AT[_other(name)] for name in FEATURES])
MIRROR_SIGN = np.array([-1.0 if name in _SIGNED else 1.0 for name in FEATURES], np.float32)
"""A world whose bids and asks are exchanged shows `features[..., MIRROR] * MIRROR_SIGN`: exactly,
but for `since_open`, a ratio of prices, and the rounding of `vwap_deviation`."""

LOG_SCALE = 1 / 3
"""Of lots, ticks and ns as they come, it makes numbers below 10."""

_TURN = 2 * np.pi / DAY_NS

_BITS = 12
_LOGS = np.log(np.maximum(np.arange(1 << _BITS), 1.0))
_LN2 = float(np.log(2.0))


@cold
def log1p_integer(n):
    """log(1 + n) of an integer n >= 0, to within 2e-7: the top bits by table, the rest linearly.

    A logarithm takes ten times as long, and there are two dozen in an observation.
    """
    n += 1
    shift = (64 - _BITS) - leading_zeros(n)
    if shift <= 0:
        return _LOGS[n]
    top = n >> shift
    return _LOGS[top] + shift * _LN2 + (n - (top << shift)) / np.float64(n)


@cold
def observe(a64, o, past_f, past_i, settings, out):
    """Write the FEATURES of the book at `o` and its past into `out`, float32. O(levels)."""
    near_bid, bid_gap = observe_side(a64, o, 0, out, BID_LOTS)
    near_ask, ask_gap = observe_side(a64, o, 1, out, ASK_LOTS)
    bid = a64[U(o + BEST)]
    ask = a64[U(o + BEST + 1)]
    touch_bid = 0
    touch_ask = 0
    if bid > EMPTY_KEY:
        touch_bid = a64[U(level_of(a64, o, 0, bid) + 1)]
    if ask > EMPTY_KEY + 1:
        touch_ask = a64[U(level_of(a64, o, 1, ask) + 1)]
    two_sided = bid > EMPTY_KEY and ask > EMPTY_KEY + 1
    out[SPREAD] = LOG_SCALE * log1p_integer(-bid - ask) if two_sided else 0.0
    out[TOUCH_IMBALANCE] = imbalance(touch_bid, touch_ask)
    out[NEAR_IMBALANCE] = imbalance(near_bid, near_ask)
    out[BID_GAP] = LOG_SCALE * log1p_integer(bid_gap)
    out[ASK_GAP] = LOG_SCALE * log1p_integer(ask_gap)

    move = past_i[LAST_MOVE]
    size = LOG_SCALE * log1p_integer(abs(move))
    out[MOVE] = size if move >= 0 else -size
    out[VOLATILITY] = LOG_SCALE * np.log1p(np.sqrt(past_f[VARIANCE]))
    # Decayed to where quotients of what is left mean nothing.
    flows = past_f[FLOW_SIZE] > 1e-9
    out[FLOW_IMBALANCE] = past_f[FLOW] / past_f[FLOW_SIZE] if flows else 0.0
    out[MOVE_SINCE_OPEN] = LOG_SCALE * past_f[SINCE_OPEN]
    out[VWAP_DEVIATION] = 0.0
    if past_i[TRADED] != 0 and past_i[HAS_MID] != 0:
        deviation = 0.5 * past_i[MID_X2] - past_f[VWAP]
        out[VWAP_DEVIATION] = LOG_SCALE * np.arcsinh(deviation)

    time_ns = past_i[LAST_NS]
    turn = _TURN * ((time_ns + np.int64(settings[DAY_START])) % DAY_NS)
    out[DAY_SIN] = np.sin(turn)
    out[DAY_COS] = np.cos(turn)
    out[SINCE_START] = LOG_SCALE * log1p_integer(max(time_ns, 0) // SECOND_NS)
    out[LIQUIDITY] = settings[TIER]
    out[AGENT] = past_i[BY_AGENT]
    out[GAP] = LOG_SCALE * log1p_integer(max(past_i[GAP_NS], 0))


@cold
def observe_side(a64, o, side, out, first):
    """Write the lots of a side's best levels; the lots near its touch, the ticks behind it."""
    mask = a64[U(o + MASK)]
    floor = a64[U(o + FLOOR + side)]
    ladder = o + a64[U(o + LADDER)] + side * (mask + 1) * 2
    key = a64[U(o + BEST + side)]
    near = 0
    gap = 0
    n = 0
    while n < LEVELS and key > EMPTY_KEY + side:
        if U(key - floor) <= U(mask):
            lots = a64[U(ladder + (key & mask) * 2 + 1)]
        else:
            lots = a64[U(level_of(a64, o, side, key) + 1)]
        if n < NEAR_LEVELS:
            near += lots
        out[U(first + n)] = LOG_SCALE * log1p_integer(lots)
        if n < LEVELS - 1:
            after = next_level(a64, o, side, key)
            if n == 0 and after > EMPTY_KEY + side:
                gap = key - after
            key = after
        n += 1
    while n < LEVELS:
        out[U(first + n)] = 0.0
        n += 1
    return near, gap


@cold
def imbalance(bid_lots, ask_lots):
    both = bid_lots + ask_lots
    return (bid_lots - ask_lots) / np.float64(both) if both > 0 else 0.0

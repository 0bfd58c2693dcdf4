"""What a world remembers of its own past: all of the state behind the features, and how it moves.

One row of floats and one of integers for each world. All zeros is a world that remembers nothing:
the start of a session. What happens afterwards comes in by three doors: `remember` after an action,
`rebase` after a change of the book that nobody is to learn from, `reset_past` where a stretch
begins. Reads books, changes none; compiled code calls it, one book at a time.
"""

# Numba's stubs know fewer options than its decorators.
# pyright: reportCallIssue=false

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mtsim.engine.ladder import U, cold, level_of
from mtsim.engine.layout import BEST, EMPTY_KEY, FILL_WORDS
from mtsim.engine.messages import FillKind
from mtsim.errors import UsageError
from mtsim.model.actions import NO_VWAP

SECOND_NS = 10**9
DAY_NS = 24 * 3600 * SECOND_NS

# Columns of the floats.
VWAP_VALUE = 0  # sum of price x lots, and of lots, each decayed to the last trade
VWAP_LOTS = 1
VWAP = 2
VARIANCE = 3  # squared moves of the mid, in ticks, decayed
FLOW = 4  # order flow at the touch, decayed, and its absolute value
FLOW_SIZE = 5
SINCE_OPEN = 6  # asinh of the mid's move since the open in bp
FLOATS = 7
# Columns of the integers.
BEST_KEY = 0  # 2 words: the best key of each side now, or the last one it had
BEST_LOTS = 2  # 2 words: the lots there; 0: the side is empty now
KNOWN = 4  # 2 words: whether the side ever held an order
MID_X2 = 6  # the last mid there was, doubled
HAS_MID = 7
OPEN_X2 = 8
HAS_OPEN = 9
LAST_MOVE = 10  # half-ticks, of the last action of the stretch that moved the mid
LAST_NS = 11  # of the last action, or of the start of the stretch
GAP_NS = 12  # between the last two actions
BY_AGENT = 13
TRADE_NS = 14
TRADED = 15
INTEGERS = 16
# Columns of the settings.
VOLATILITY_HALF_LIFE, FLOW_HALF_LIFE, VWAP_HALF_LIFE, DAY_START, TIER, BOOKLESS = range(6)

# What `reference_ticks` answers where nobody ever rested: no price is as low.
NO_REFERENCE = -(2**31)

_TRADE = FillKind.TRADE.value
_BP = 10_000.0


class Past(NamedTuple):
    """The pasts of B worlds."""

    floats: np.ndarray  # float64 [B, FLOATS]
    integers: np.ndarray  # int64 [B, INTEGERS]


@dataclass(frozen=True)
class Settings:
    """What the features of a world depend on besides its book and its past."""

    volatility_half_life_ns: int = 60 * SECOND_NS
    flow_half_life_ns: int = 10 * SECOND_NS
    vwap_half_life_ns: int = 60 * SECOND_NS
    day_start_ns: int = 0
    """The local time of day that `time_ns` counts from."""
    tier: int = 0
    """Of liquidity: the bin of the traded lots of previous days, 0 where it is not known."""
    bookless: bool = False
    """The feed shows trades and no book: a trade's price stands for the mid."""

    def __post_init__(self) -> None:
        for name in ("volatility_half_life_ns", "flow_half_life_ns", "vwap_half_life_ns"):
            if getattr(self, name) < 1:
                raise UsageError(f"Settings: {name} must be at least 1, got {getattr(self, name)}.")
        if self.tier < 0:
            raise UsageError(f"Settings: tier must not be negative, got {self.tier}.")

    def row(self) -> np.ndarray:
        """The settings as float64, for compiled code."""
        return np.array(
            [
                self.volatility_half_life_ns,
                self.flow_half_life_ns,
                self.vwap_half_life_ns,
                self.day_start_ns % DAY_NS,
                self.tier,
                self.bookless,
            ],
            np.float64,
        )


def new_past(n_worlds: int) -> Past:
    """Worlds that remember nothing. A row set back to zeros is such a world again."""
    return Past(np.zeros((n_worlds, FLOATS)), np.zeros((n_worlds, INTEGERS), np.int64))


@cold
def reset_past(a64, o, past_f, past_i, time_ns):
    """Begin a stretch at `time_ns`, on the book as it is.

    What measures activity begins at nothing. What a session keeps is kept: its open (the first mid
    at the start of a stretch or after an action), its trades, the last known touch.
    """
    see_touch(a64, o, past_i)
    see_mid(a64, o, past_f, past_i)
    see_open(past_f, past_i)
    past_f[VARIANCE] = 0.0
    past_f[FLOW] = 0.0
    past_f[FLOW_SIZE] = 0.0
    past_i[LAST_MOVE] = 0
    past_i[LAST_NS] = time_ns
    past_i[GAP_NS] = 0
    past_i[BY_AGENT] = 0


@cold
def rebase(a64, o, past_f, past_i):
    """Take note of a book that changed without an action: the touch moves, nothing flows."""
    see_touch(a64, o, past_i)
    see_mid(a64, o, past_f, past_i)


@cold
def remember(a64, o, past_f, past_i, settings, time_ns, fills, n_fills, is_agent):
    """Take note of one action, after it was executed on the book and gave these fills."""
    gap_ns = time_ns - past_i[LAST_NS]
    past_i[LAST_NS] = time_ns
    past_i[GAP_NS] = gap_ns
    past_i[BY_AGENT] = is_agent

    flow = see_touch(a64, o, past_i)
    kept = decay(gap_ns, settings[FLOW_HALF_LIFE])
    past_f[FLOW] = kept * past_f[FLOW] + flow
    past_f[FLOW_SIZE] = kept * past_f[FLOW_SIZE] + abs(flow)

    see_trade(past_f, past_i, settings, time_ns, fills, n_fills)
    if settings[BOOKLESS] != 0.0 and n_fills > 0:
        last = fills[(n_fills - 1) * FILL_WORDS + 3]
        move = put_mid(past_f, past_i, 2 * np.int64(np.int32(last)))
    else:
        move = see_mid(a64, o, past_f, past_i)
    see_open(past_f, past_i)
    kept = decay(gap_ns, settings[VOLATILITY_HALF_LIFE])
    past_f[VARIANCE] = kept * past_f[VARIANCE] + 0.25 * move * move
    if move != 0:
        past_i[LAST_MOVE] = move


@cold
def reference_ticks(a64, o, past_i, side):
    """The tick from which an order's distance is counted on this side of the book.

    The best price of the side. Where the side is empty: the last one it had, or the opposite best
    where it never had one, at least a tick off the opposite best as it is (or last was).
    NO_REFERENCE where neither side ever held an order. O(1).
    """
    best = a64[U(o + BEST + side)]
    opposite = 1 - side
    if best <= EMPTY_KEY + side:
        other = a64[U(o + BEST + opposite)]
        there = other > EMPTY_KEY + opposite
        if past_i[KNOWN + side] != 0:
            best = past_i[BEST_KEY + side]
            if there:
                best = min(best, -other - 1)
        elif there:
            best = -other - 1
        elif past_i[KNOWN + opposite] != 0:
            best = -past_i[BEST_KEY + opposite] - 1
        else:
            return NO_REFERENCE
    return best if side == 0 else -best


@cold
def vwap_tick(past_f, past_i):
    """The exponentially weighted price of the trades so far, NO_VWAP before the first."""
    return past_f[VWAP] if past_i[TRADED] != 0 else NO_VWAP


@cold
def decay(gap_ns, half_life_ns):
    return 1.0 if gap_ns == 0 else np.exp2(-gap_ns / half_life_ns)


@cold
def see_touch(a64, o, past_i):
    """Note the touch. The order flow by which it changed: Cont, Kukanov and Stoikov (2014), (2)."""
    flow = 0
    for side in range(2):
        key = a64[U(o + BEST + side)]
        before = past_i[BEST_LOTS + side]
        lots = 0
        change = -before
        if key > EMPTY_KEY + side:
            lots = a64[U(level_of(a64, o, side, key) + 1)]
            worse = past_i[KNOWN + side] != 0 and key < past_i[BEST_KEY + side]
            if before == 0 or (past_i[KNOWN + side] != 0 and key > past_i[BEST_KEY + side]):
                change = lots
            elif not worse:
                change = lots - before
            past_i[BEST_KEY + side] = key
            past_i[KNOWN + side] = 1
        past_i[BEST_LOTS + side] = lots
        flow += change if side == 0 else -change
    return flow


@cold
def see_mid(a64, o, past_f, past_i):
    """Note the mid, if there is one. Its move in half-ticks."""
    bid = a64[U(o + BEST)]
    ask = a64[U(o + BEST + 1)]
    if bid <= EMPTY_KEY or ask <= EMPTY_KEY + 1:
        return 0
    return put_mid(past_f, past_i, bid - ask)


@cold
def put_mid(past_f, past_i, mid_x2):
    move = 0
    if past_i[HAS_MID] != 0:
        move = mid_x2 - past_i[MID_X2]
    if move != 0 or past_i[HAS_MID] == 0:
        past_i[MID_X2] = mid_x2
        past_i[HAS_MID] = 1
        if past_i[HAS_OPEN] != 0:
            past_f[SINCE_OPEN] = since_open(mid_x2, past_i[OPEN_X2])
    return move


@cold
def see_open(past_f, past_i):
    if past_i[HAS_OPEN] == 0 and past_i[HAS_MID] != 0:
        past_i[OPEN_X2] = past_i[MID_X2]
        past_i[HAS_OPEN] = 1
        past_f[SINCE_OPEN] = 0.0


@cold
def since_open(mid_x2, open_x2):
    """asinh of the move in bp; 0 where a price of zero or less has no ratio."""
    if mid_x2 <= 0 or open_x2 <= 0:
        return 0.0
    return np.arcsinh(_BP * np.log(mid_x2 / open_x2))


@cold
def see_trade(past_f, past_i, settings, time_ns, fills, n_fills):
    """Weigh in each fill that is a trade, in the additive form: fills of one instant count by their
    lots alone, which a moving average with a gain of the time between would not do."""
    for n in range(n_fills):
        fill = n * FILL_WORDS
        if (fills[U(fill + 5)] >> 32) & 255 != _TRADE:
            continue
        price = fills[U(fill + 3)]
        lots = price >> 32
        kept = decay(time_ns - past_i[TRADE_NS], settings[VWAP_HALF_LIFE])
        past_f[VWAP_VALUE] = kept * past_f[VWAP_VALUE] + np.int64(np.int32(price)) * lots
        past_f[VWAP_LOTS] = kept * past_f[VWAP_LOTS] + lots
        past_i[TRADE_NS] = time_ns
        past_i[TRADED] = 1
    if n_fills > 0 and past_i[TRADED] != 0:
        past_f[VWAP] = past_f[VWAP_VALUE] / past_f[VWAP_LOTS]

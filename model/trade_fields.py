"""The schemas `trades` and `trades-579`: takers only, each told from the trades before it.

Nothing of the future is used: a size is measured against what was usual so far, a price against the
trade before. The first trade of a stretch has none before it, and therefore no token. Knows bins;
no book.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numba import njit

from mtsim.engine.fingerprint import fingerprint
from mtsim.model import actions as actions_module
from mtsim.model.actions import ActionKind
from mtsim.model.bins import Bins
from mtsim.model.spelling import PARTS_A_UNIT, Past, Read, Spelling, spelled

# Words of the past.
_WEIGHT = 0  # float64: of the logarithms of lots so far, and their weighted sum
_LOG_LOTS = 1
_KNOWN = 0  # int64: whether this stretch has had a trade
_TICK = 1  # its worst price
_TIME_NS = 2

HALF_LIFE_TRADES = 256
"""After so many trades a size counts half in what is usual."""

USUAL = 1024
"""A size in `size` when it is the usual one: sizes are measured in 1024ths of it."""

_REASONS = ("no_trade", "first_trade")

# Columns of what is told of a trade.
_SIDE, _MOVE, _RELATIVE, _SWEEP, _SIZE, _LOTS, _GAP = range(7)

_SOURCES = fingerprint(Path(str(actions_module.__file__)), Path(__file__))
_IS_TRADE = int(ActionKind.TRADE)
_DECAY = math.exp2(-1 / HALF_LIFE_TRADES)


def new_past() -> Past:
    """The past of a session without trades so far."""
    return Past(np.zeros(2), np.zeros(3, np.int64))


def _told(actions: np.ndarray, past: Past) -> tuple[np.ndarray, np.ndarray]:
    """(the columns of each action that has a token, the reason of each that has none, else -1)."""
    told = np.zeros((len(actions), 7), np.int64)
    reasons = np.empty(len(actions), np.int64)
    _tell_trades(np.ascontiguousarray(actions), past.f, past.i, told, reasons)
    return told[reasons < 0], reasons


def _measure_trades(actions: np.ndarray, past: Past) -> dict[str, np.ndarray]:
    told, _ = _told(actions, past)
    return {"move": told[:, _MOVE], "size": told[:, _SIZE], "gap": told[:, _GAP]}


def _radices_trades(bins: Mapping[str, int]) -> tuple[int, ...]:
    return (2, bins["move"], 2, bins["size"], bins["gap"])


def _read_trades(actions: np.ndarray, past: Past, bins: Mapping[str, Bins]) -> Read:
    told, reasons = _told(actions, past)
    numbers = {"move": told[:, _MOVE], "size": told[:, _SIZE], "gap": told[:, _GAP]}
    columns = [
        (2, told[:, _SIDE]),
        _coded(bins["move"], numbers["move"]),
        (2, told[:, _SWEEP]),
        _coded(bins["size"], numbers["size"]),
        _coded(bins["gap"], numbers["gap"]),
    ]
    return spelled(reasons, columns, numbers, bins)


def _numbers_579(told: np.ndarray) -> dict[str, np.ndarray]:
    # The published size is divided by the median of all sizes, which is of the future, and which
    # no quantile bin can see: lots have the same bins.
    return {
        "price": told[:, _RELATIVE],
        "depth": np.abs(told[:, _RELATIVE]),
        "size": told[:, _LOTS],
        "gap": told[:, _GAP],
    }


def _measure_579(actions: np.ndarray, past: Past) -> dict[str, np.ndarray]:
    return _numbers_579(_told(actions, past)[0])


def _radices_579(bins: Mapping[str, int]) -> tuple[int, ...]:
    # The first field says add or delete; a stream of trades only ever adds.
    return (2, 2, bins["price"], bins["depth"], bins["size"], bins["gap"])


def _read_579(actions: np.ndarray, past: Past, bins: Mapping[str, Bins]) -> Read:
    told, reasons = _told(actions, past)
    numbers = _numbers_579(told)
    columns = [(2, np.zeros(len(told), np.int64)), (2, told[:, _SIDE])]
    columns += [_coded(bins[line], of) for line, of in numbers.items()]
    return spelled(reasons, columns, numbers, bins)


def _coded(bins: Bins, numbers: np.ndarray) -> tuple[int, np.ndarray]:
    return len(bins), bins.encode(numbers)


TRADES = Spelling(
    fields=("side", "move", "sweep", "size", "gap"),
    laws={"move": "move", "size": "size", "gap": "gap"},
    fixed=1,
    mirror_field=0,
    reasons=_REASONS,
    radices=_radices_trades,
    new_past=new_past,
    measure=_measure_trades,
    read=_read_trades,
)

TRADES_579 = Spelling(
    fields=("action", "side", "price", "depth", "size", "gap"),
    laws={"price": "price", "depth": "depth", "size": "size", "gap": "gap"},
    fixed=2,
    mirror_field=1,
    reasons=_REASONS,
    radices=_radices_579,
    new_past=new_past,
    measure=_measure_579,
    read=_read_579,
)


def _compile(sources):
    @njit(cache=True)
    def tell_trade(action, past_f, past_i, told):
        """Tell one action from the past, and remember it. -1, or the reason why it has no token.

        `told`: side; ticks from the trade before, up for a buy and down for a sell being above 0;
        the same in parts per billion of that price, up being above 0; whether it paid more than one
        price; lots in 1024ths of what is usual; lots; ns since the trade before.
        """
        _ = sources
        if action.opens:
            past_i[_KNOWN] = 0
        if action.kind != _IS_TRADE:
            return 0
        reason = 1
        lots = np.int64(action.lots)
        if past_i[_KNOWN]:
            reason = -1
            tick = past_i[_TICK]
            move = np.int64(action.price_tick) - tick
            told[_SIDE] = action.side
            told[_MOVE] = -move if action.side else move
            told[_RELATIVE] = round(move / max(abs(tick), 1) * PARTS_A_UNIT)
            told[_SWEEP] = action.distance_ticks > 0
            usual = math.exp(past_f[_LOG_LOTS] / past_f[_WEIGHT])
            told[_SIZE] = round(lots / usual * USUAL)
            told[_LOTS] = lots
            told[_GAP] = action.time_ns - past_i[_TIME_NS]
        past_f[_WEIGHT] = past_f[_WEIGHT] * _DECAY + 1
        past_f[_LOG_LOTS] = past_f[_LOG_LOTS] * _DECAY + math.log(lots)
        past_i[_KNOWN] = 1
        past_i[_TICK] = action.price_tick
        past_i[_TIME_NS] = action.time_ns
        return reason

    @njit(cache=True)
    def tell_trades(actions, past_f, past_i, told, reasons):
        _ = sources
        for i in range(len(actions)):
            reasons[i] = tell_trade(actions[i], past_f, past_i, told[i])

    return tell_trade, tell_trades


tell_trade, _tell_trades = _compile(_SOURCES)

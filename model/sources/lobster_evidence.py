"""A LOBSTER book row held against the window: what must follow from the row before, what is new.

Compiled. Knows no messages.
"""

from __future__ import annotations

import numpy as np

from mtsim.model.sources.lobster_findings import (
    CROSSED,
    ENTERED,
    GONE,
    GREW,
    NOT_FOLLOWING,
    SHRANK,
)
from mtsim.model.sources.lobster_orders import (
    BOUND,
    BROKEN_LEVEL,
    BROKEN_SIDE,
    HAS_KEY,
    HAS_LOTS,
    IN_AUCTION,
    INFERRED,
    LEVEL_KEY,
    LEVEL_LOTS,
    LOTS,
    N_LEVELS,
    NO_BOUND,
    RULE,
    U,
    add_own,
    cancel,
    compiled,
    key_of,
    likeliest,
    remove_level,
)


@compiled
def hold_against(w, ticks, lots, i):
    """Hold both sides against a book row, and take what lies beyond the last one's levels from it.

    Level for level the window must be the row up to the key that the row before ended with, where
    everything was known; behind it the row is right.
    """
    head = w.head
    if (
        head[IN_AUCTION] == 0
        and lots[U(i), 0, 0] > 0
        and lots[U(i), 1, 0] > 0
        and ticks[U(i), 0, 0] >= ticks[U(i), 1, 0]
    ):
        head[RULE] = CROSSED
        return
    for side in range(2):
        bound = head[U(BOUND + side)]
        p = head[U(N_LEVELS + side)] - 1
        for level in range(ticks.shape[2]):
            there = lots[U(i), U(side), U(level)]
            key = key_of(side, ticks[U(i), U(side), U(level)]) if there > 0 else np.int64(NO_BOUND)
            while p >= 0 and w.levels[U(side), U(p), LEVEL_KEY] > key:
                if w.levels[U(side), U(p), LEVEL_KEY] >= bound:
                    _break_at(w, side, level, p)
                    return
                remove_level(w, side, p, GONE)
                p -= 1
            if there == 0:
                break
            if p >= 0 and w.levels[U(side), U(p), LEVEL_KEY] == key:
                more = there - w.levels[U(side), U(p), LEVEL_LOTS]
                if more != 0:
                    if key >= bound:
                        _break_at(w, side, level, p)
                        return
                    if more > 0:
                        w.reasons[GREW] += 1
                        add_own(w, INFERRED, side, key, more)
                    else:
                        _shrink(w, side, p, -more)
                p -= 1
            elif key >= bound:
                _break_at(w, side, level, p)
                return
            else:
                w.reasons[ENTERED] += 1
                add_own(w, INFERRED, side, key, there)
    set_bounds(w, ticks, lots, i)


@compiled
def _shrink(w, side, p, lots):
    """Lots of a level have left it unseen. The youngest orders go first: they are the likeliest."""
    while lots > 0:
        w.reasons[SHRANK] += 1
        slot = likeliest(w, side, p, lots)
        part = min(lots, w.orders[U(slot), LOTS])
        cancel(w, INFERRED, slot, part)
        lots -= part


@compiled
def _break_at(w, side, level, p):
    w.head[RULE] = NOT_FOLLOWING
    w.head[BROKEN_SIDE], w.head[BROKEN_LEVEL] = side, level
    w.head[HAS_KEY] = w.levels[U(side), U(p), LEVEL_KEY] if p >= 0 else 0
    w.head[HAS_LOTS] = w.levels[U(side), U(p), LEVEL_LOTS] if p >= 0 else 0


@compiled
def set_bounds(w, ticks, lots, i):
    """Take it from book row i how deep the book is shown."""
    last = ticks.shape[2] - 1
    for side in range(2):
        full = lots[U(i), U(side), U(last)] > 0
        w.head[U(BOUND + side)] = key_of(side, ticks[U(i), U(side), U(last)]) if full else NO_BOUND

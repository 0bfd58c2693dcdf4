"""Where everything lies in the memo of a mask, and in the plan by which kernels fill it.

Both are int64 words: a *plan* is what they need of a tokenizer, a *memo* what is known of a world.
"""

from __future__ import annotations

import numpy as np

from mtsim.engine.ladder import U, hot
from mtsim.model.actions import N_PLACES
from mtsim.model.book_codes import N_SWEPT, BookTables, n_levels

# Words of a world's memo.
SEEN = 0  # messages of the book when it was last counted, STALE if it has to be counted anew
EXPECTS = 1  # 1 between `expect` and `learn`
SIDE = 2  # of the order that is expected or named
LEVELS = 3  # 2 words: keys of its side that were taken out, or NO_KEY
WORST = 5  # of the other side, all levels of this key or a better one were taken out
TOUCH = 6  # 2 words: the best keys, from which distances are counted
TOUCHED = 8  # 2 words: 1 where a side has changed since the tokens of trades were written
UNWRITTEN = 10  # 1 where the tokens are of another book
ADDS = 11  # (least, most) of each side: the distances that the tokens allow
SWEEPS = 15  # (least, most) of each side and number of levels swept: the lots that they allow
IS_PART = SWEEPS + 4 * N_SWEPT  # 1: of the level of LEVELS only these orders were taken out
NEIGHBOURS = IS_PART + 1  # 2 words: the slots of those next to the named one, or of the last, or 0
NAMED = IS_PART + 3  # the slot of the named one, or 0
NAMED_ID = IS_PART + 4
CHANGED = IS_PART + 5  # rows, as bits, whose tokens may be out of date

STALE = -1
NO_KEY = -(2**40)
NO_WORST = 2**40

# Words of a plan: how many there are of what, and where it begins.
N_ADD, N_CANCEL, N_LOTS, N_LEVELS = range(4)
TOTALS = 4  # in a memo: a count for each row
COUNTS = 5  # in a memo: a count for each row and lots code
ADD_BOUNDS = 6  # in the plan, like all below: (lower, upper) of each bin
LOTS_BOUNDS = 7
CANCEL_UPPER = 8
LOTS_CODE = 9  # of each number of lots below USUAL_LOTS
DISTANCE_CODE = 10  # of each distance of a cancel below USUAL_DISTANCE
CELLS = 11  # (first id, id after the last) of each cell; the same where it has none
PLAN_WORDS = 12

# A count has the orders in its lower half. In its upper half are, of a total, those of more than
# one lot; of a count by lots code, those of more lots than the least of the bin.
ONE_MORE = 1 << 32
HALF = ONE_MORE - 1

# Below these a code is looked up and not searched for.
USUAL_LOTS = 1024
USUAL_DISTANCE = 4096


def plan_of(tables: BookTables) -> np.ndarray:
    """What kernels go by of a tokenizer, int64 words. Its ids ascend by type, level and lots.

    A *row* is `(side * bins + bin) * N_PLACES + place`, a *cell* `(side * levels + level) * lots
    codes + lots code`.
    """
    n_add, n_cancel, n_lots = (
        len(bounds) for bounds in (tables.add_lower, tables.cancel_lower, tables.lots_lower)
    )
    levels = n_levels(n_add, n_cancel)
    kind = np.digitize(np.arange(levels), [n_add, n_add + N_SWEPT])
    types = kind * 2 + np.arange(2)[:, None]
    cells = (types * levels + np.arange(levels))[:, :, None] * n_lots + np.arange(n_lots)
    held = (tables.token_type * levels + tables.token_level) * n_lots + tables.token_lots
    assert (np.diff(held) >= 0).all(), "ids ascend"
    n_rows = 2 * n_cancel * N_PLACES
    totals = CHANGED + (n_rows + 63) // 64
    parts = (
        np.column_stack([tables.add_lower, tables.add_upper]).reshape(-1),
        np.column_stack([tables.lots_lower, tables.lots_upper]).reshape(-1),
        tables.cancel_upper,
        np.searchsorted(tables.lots_upper, np.arange(USUAL_LOTS)),
        np.searchsorted(tables.cancel_upper, np.arange(USUAL_DISTANCE)),
        np.column_stack(
            [np.searchsorted(held, cells.reshape(-1), side) for side in ("left", "right")]
        ).reshape(-1),
    )
    begins = PLAN_WORDS + np.cumsum([0, *map(len, parts[:-1])])
    header = [n_add, n_cancel, n_lots, levels, totals, totals + n_rows, *begins]
    return np.concatenate([header, *parts]).astype(np.int64)


@hot
def lots_code_of(plan, lots):
    """The code of a number of lots."""
    if lots < USUAL_LOTS:
        return plan[U(plan[LOTS_CODE] + lots)]
    low, high = 0, plan[N_LOTS] - 1
    while low < high:
        middle = (low + high) >> 1
        if plan[U(plan[LOTS_BOUNDS] + 2 * middle + 1)] < lots:
            low = middle + 1
        else:
            high = middle
    return low


@hot
def first_row(plan, side, distance):
    """The first row of what lies at a distance from the touch."""
    if distance < USUAL_DISTANCE:
        code = plan[U(plan[DISTANCE_CODE] + distance)]
    else:
        code, high = 0, plan[N_CANCEL] - 1
        while code < high:
            middle = (code + high) >> 1
            if plan[U(plan[CANCEL_UPPER] + middle)] < distance:
                code = middle + 1
            else:
                high = middle
    return (side * plan[N_CANCEL] + code) * N_PLACES

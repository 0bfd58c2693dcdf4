"""Injected interventions: the messages that hit one book as it stands at their moment.

They are delivered with `Rank.SHOCK`, and so act before anything else of the same nanosecond. Knows
no scenario and no time.
"""

import numpy as np

from mtsim.engine.batch import Books
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS, Side
from mtsim.flow.base import BACKGROUND
from mtsim.streams import Stream


def mass_cancel(
    books: Books,
    book: int,
    sides: tuple[Side, ...],
    *,
    levels: int,
    fraction: float,
    stream: Stream,
    world: int,
) -> np.ndarray:
    """Cancel `fraction` of the background's lots on the best `levels` levels of each side.

    Orders leave in an order that `stream` draws by their ids, so an order's turn does not depend
    on which others rest; the last one may only shrink. What others own stays. O(orders).
    """
    resting = books.resting(book)
    rows = []
    for side in sides:
        near = _on_best_levels(resting, side, levels)
        near = near[near["owner"] == BACKGROUND]
        turn = stream.unit(near["order_id"].astype(np.uint64), world=world)
        near = near[np.lexsort((near["order_id"], turn))]
        open_lots = _open_lots(near)
        goal = round(fraction * int(open_lots.sum()))
        gone = np.cumsum(open_lots)
        whole = gone <= goal
        leaving = np.zeros(int(whole.sum()), MESSAGE_DTYPE)
        leaving["kind"] = Kind.CANCEL
        leaving["order_id"] = near["order_id"][whole]
        rows.append(leaving)
        rest = goal - int(open_lots[whole].sum())
        if rest:
            shrinking = np.zeros(1, MESSAGE_DTYPE)
            shrinking["kind"] = Kind.REDUCE
            shrinking["order_id"] = near["order_id"][len(leaving)]
            shrinking["lots"] = rest
            rows.append(shrinking)
    cancels = np.concatenate(rows)
    cancels["owner"] = BACKGROUND
    return cancels


def sweep_levels(
    books: Books, book: int, side: Side, *, levels: int, owner: int, order_id: int
) -> np.ndarray:
    """One order of `side` that takes the best `levels` levels against it in full.

    It goes no further, and what it does not find leaves. No row where nothing rests. O(orders).
    """
    against = _on_best_levels(books.resting(book), side.opposite, levels)
    if not len(against):
        return np.zeros(0, MESSAGE_DTYPE)
    order = _taking(side, int(_open_lots(against).sum()), owner, order_id)
    order["kind"] = Kind.LIMIT
    order["price_tick"] = against["price_tick"][-1]
    return order


def sweep_lots(side: Side, *, lots: int, owner: int, order_id: int) -> np.ndarray:
    """One market order of `side`; no row for no lots."""
    order = _taking(side, lots, owner, order_id)
    return order if lots else order[:0]


def _taking(side: Side, lots: int, owner: int, order_id: int) -> np.ndarray:
    order = np.zeros(1, MESSAGE_DTYPE)
    order["kind"] = Kind.MARKET
    order["side"] = side
    order["tif"] = TimeInForce.IOC
    order["owner"] = owner
    order["lots"] = min(lots, MAX_LOTS)
    order["order_id"] = order_id
    return order


def _on_best_levels(resting: np.ndarray, side: Side, levels: int) -> np.ndarray:
    """The rows of the best levels of a side, best first."""
    mine = resting[resting["side"] == side]
    level = np.cumsum(np.diff(mine["price_tick"], prepend=mine["price_tick"][:1]) != 0)
    return mine[level < levels]


def _open_lots(rows: np.ndarray) -> np.ndarray:
    return rows["lots"].astype(np.int64) + rows["hidden_lots"]

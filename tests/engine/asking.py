"""Short questions to books and their outcomes, so that a test reads as the rule that it checks."""

from typing import Any

import numpy as np

from mtsim.engine.base import OrderBook, Outcome
from mtsim.engine.messages import FillKind, Reject
from mtsim.engine.units import Side
from tests.engine.streams import Row, batch


def send(book: OrderBook, *rows: Row) -> Outcome:
    """Process the messages; the book's invariants hold afterwards."""
    outcome = book.process(batch(*rows))
    book.check()
    return outcome


def accept(book: OrderBook, *rows: Row) -> Outcome:
    """Process messages none of which is refused."""
    outcome = send(book, *rows)
    refused = [Reject(reject).name for reject in outcome.results["reject"].tolist() if reject]
    assert not refused, f"{refused} in\n{outcome.results}"
    return outcome


def answer(book: OrderBook, row: Row) -> dict[str, Any]:
    """The result row of one message, by field."""
    return named(send(book, row).results[0])


def reason(book: OrderBook, row: Row) -> Reject:
    """Why the message is refused; NONE when it is not."""
    return Reject(answer(book, row)["reject"])


def named(row: np.void) -> dict[str, Any]:
    return dict(zip(row.dtype.names or (), row.item(), strict=True))


def trades(outcome: Outcome) -> list[tuple[int, int, int, int]]:
    """(maker id, taker id, price tick, lots) of every trade, in order."""
    traded = outcome.fills[outcome.fills["kind"] == FillKind.TRADE]
    return traded[["maker_id", "taker_id", "price_tick", "lots"]].tolist()


def fills(outcome: Outcome) -> list[tuple[FillKind, int, int, int]]:
    """(kind, maker id, lots, the maker's open lots after it) of every row, in order."""
    rows = outcome.fills[["kind", "maker_id", "lots", "maker_open_lots"]].tolist()
    return [(FillKind(kind), maker_id, lots, left) for kind, maker_id, lots, left in rows]


def line(book: OrderBook, side: Side) -> list[tuple[int, int, int, int]]:
    """(order id, price tick, displayed lots, hidden lots) of a side, first in line first."""
    resting = book.resting()
    one_side = resting[resting["side"] == side]
    return one_side[["order_id", "price_tick", "lots", "hidden_lots"]].tolist()


def ids(book: OrderBook, side: Side) -> list[int]:
    """The orders of a side, first in line first."""
    return [order_id for order_id, *_ in line(book, side)]

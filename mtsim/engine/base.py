"""The seam of the engine: what every order book answers, whichever way it is built. No state."""

import hashlib
from typing import NamedTuple, Protocol

import numpy as np

from mtsim.engine.messages import Phase
from mtsim.engine.units import Side


class Outcome(NamedTuple):
    """The answers to some messages: a RESULT_DTYPE row each, and all FILL_DTYPE rows in order."""

    results: np.ndarray
    fills: np.ndarray


class OrderBook(Protocol):
    """A price-time-priority book: `book.Book` (Numba) and `reference.ReferenceBook`."""

    def process(self, messages: np.ndarray) -> Outcome:
        """Execute MESSAGE_DTYPE rows in order. The outcome's arrays belong to the caller."""
        ...

    @property
    def phase(self) -> Phase: ...

    def touch(self) -> tuple[int, int]:
        """The best bid and ask ticks; an empty side is EMPTY_BID or EMPTY_ASK."""
        ...

    def depth(self, side: Side, levels: int) -> list[tuple[int, int]]:
        """(tick, displayed lots) of the best `levels` levels of a side, best first.

        Fewer where the side has fewer.
        """
        ...

    def lots_at(self, side: Side, price_tick: int) -> int:
        """Displayed lots of one level, 0 where nobody rests."""
        ...

    def orders_at(self, side: Side, price_tick: int) -> list[int]:
        """Order ids of one level, first in line first."""
        ...

    def queue_ahead(self, order_id: int) -> int:
        """The displayed lots that must trade before this order does.

        Counts only its own level. 0 means first in line; an order that is not resting raises
        KeyError.
        """
        ...

    def total_lots(self, side: Side) -> int:
        """All open lots of a side, hidden ones included."""
        ...

    def resting(self) -> np.ndarray:
        """Every resting order as RESTING_DTYPE rows: bids best first, then asks best first.

        A level is in queue order.
        """
        ...

    def hash(self) -> str:
        """`book_hash` of this book: equal for equal books, however they came about."""
        ...

    def check(self) -> None:
        """Raise AssertionError, with the whole book printed, when an invariant does not hold."""
        ...


def book_hash(phase: Phase, resting: np.ndarray) -> str:
    """SHA-256 over the phase and the resting orders in priority order.

    That is all that decides what happens later, but for one thing: within an auction the age of
    bids against asks decides who is called the maker of an uncross fill.
    """
    digest = hashlib.sha256(bytes([phase]))
    digest.update(np.ascontiguousarray(resting).tobytes())
    return digest.hexdigest()

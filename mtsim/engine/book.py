"""One order book for people: ask it for things in words, or hand it arrays of messages.

>>> from mtsim.engine import Book, Side
>>> book = Book()
>>> book.limit(Side.BUY, price_tick=99, lots=10).resting_lots
10
>>> book.limit(Side.SELL, price_tick=101, lots=4).order_id
2
>>> book.limit(Side.SELL, price_tick=102, lots=20, display_lots=5).resting_lots
20
>>> book
Book: CONTINUOUS
    102 |     5 ask
    101 |     4 ask
     99 |    10 bid
>>> for fill in book.market(Side.BUY, lots=6).fills:
...     print(fill.lots, "lots of order", fill.maker_id, "at", fill.price_tick)
4 lots of order 2 at 101
2 lots of order 3 at 102
>>> book.limit(Side.BUY, price_tick=102, lots=1, post_only=True).reject
<Reject.WOULD_TAKE: 13>
>>> book.queue_ahead(3), book.total_lots(Side.SELL)
(0, 18)
"""

from collections.abc import Iterable
from operator import index
from typing import NamedTuple

import numpy as np

from mtsim.engine.base import Outcome
from mtsim.engine.batch import Books
from mtsim.engine.messages import (
    MESSAGE_DTYPE,
    FillKind,
    Flag,
    Kind,
    Phase,
    Reject,
    SelfTrade,
    TimeInForce,
)
from mtsim.engine.snapshot import Snapshot
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, Side
from mtsim.errors import EngineInputError

# Levels of each side that a printed book shows.
_SHOWN_LEVELS = 5


class Fill(NamedTuple):
    """One row of a message's fills, without the owners."""

    maker_id: int
    taker_id: int
    price_tick: int
    lots: int
    kind: FillKind


class Answer(NamedTuple):
    """What one message came to; the fields are those of `docs/engine-rules.md#results`."""

    order_id: int
    reject: Reject
    filled_lots: int
    resting_lots: int
    cancelled_lots: int
    price_tick: int
    fills: tuple[Fill, ...]


class Book:
    """A price-time-priority book: `base.OrderBook`, and a method for each kind of message.

    The methods raise EngineInputError for what is no integer or does not fit the message's field.
    Everything else that is wrong with a message is the `reject` of its answer. `ids`, `window` and
    `slots` are those of `batch.Books`.
    """

    def __init__(self, *, ids: str = "external", window: int | None = None, slots: int = 255):
        self._books = Books(1, ids=ids, window=window, slots=slots)
        self._last_id = 0

    def __repr__(self) -> str:
        asks = [(tick, lots, "ask") for tick, lots in self.depth(Side.SELL, _SHOWN_LEVELS)]
        bids = [(tick, lots, "bid") for tick, lots in self.depth(Side.BUY, _SHOWN_LEVELS)]
        # In an auction bids may stand above asks: a level says its side.
        levels = [*reversed(asks), *bids] or [("no", "orders", "")]
        lines = [f"{tick:>7} | {lots:>5} {side}".rstrip() for tick, lots, side in levels]
        return "\n".join([f"Book: {self.phase.name}", *lines])

    def process(self, messages: np.ndarray) -> Outcome:
        """Execute MESSAGE_DTYPE rows in order. The outcome's arrays belong to the caller.

        Anything but a one-dimensional MESSAGE_DTYPE array raises EngineInputError and changes
        nothing. Amortised O(1) a message and a fill; a fill-or-kill order with hidden lots or
        self-trade prevention also walks what it may take.
        """
        return self._books.process(messages)

    # One message at a time ------------------------------------------------------------------------

    def limit(
        self,
        side: Side,
        price_tick: int,
        lots: int,
        order_id: int | None = None,
        *,
        tif: TimeInForce = TimeInForce.GTC,
        post_only: bool = False,
        display_lots: int = 0,
        owner: int = 0,
        stp: SelfTrade = SelfTrade.ALLOW,
    ) -> Answer:
        """Buy or sell up to `lots` at `price_tick` or better. Without an id the book picks one that
        is free."""
        return self._send(
            Kind.LIMIT,
            side=side,
            price_tick=price_tick,
            lots=lots,
            order_id=self._free_id() if order_id is None else order_id,
            tif=tif,
            flags=Flag.POST_ONLY if post_only else Flag.NONE,
            display_lots=display_lots,
            owner=owner,
            stp=stp,
        )

    def market(
        self,
        side: Side,
        lots: int,
        order_id: int | None = None,
        *,
        tif: TimeInForce = TimeInForce.IOC,
        owner: int = 0,
        stp: SelfTrade = SelfTrade.ALLOW,
    ) -> Answer:
        """Buy or sell up to `lots` at any price. Without an id the book picks one that is free."""
        return self._send(
            Kind.MARKET,
            side=side,
            lots=lots,
            order_id=self._free_id() if order_id is None else order_id,
            tif=tif,
            owner=owner,
            stp=stp,
        )

    def cancel(self, order_id: int, *, owner: int = 0) -> Answer:
        return self._send(Kind.CANCEL, order_id=order_id, owner=owner)

    def reduce(self, order_id: int, lots: int, *, owner: int = 0) -> Answer:
        """Take `lots` off an order, in its place."""
        return self._send(Kind.REDUCE, order_id=order_id, lots=lots, owner=owner)

    def replace(
        self,
        order_id: int,
        price_tick: int,
        lots: int,
        *,
        post_only: bool = False,
        lose_place: bool = False,
        owner: int = 0,
        stp: SelfTrade = SelfTrade.ALLOW,
    ) -> Answer:
        """Give an order a new price and new open lots; shrinking in place keeps its place."""
        flags = (Flag.POST_ONLY if post_only else 0) | (Flag.LOSE_PLACE if lose_place else 0)
        return self._send(
            Kind.REPLACE,
            order_id=order_id,
            price_tick=price_tick,
            lots=lots,
            flags=flags,
            owner=owner,
            stp=stp,
        )

    def start_auction(self) -> Answer:
        """Collect orders without matching them, until `uncross`."""
        return self._send(Kind.AUCTION)

    def uncross(self, reference_tick: int) -> Answer:
        """Trade what was collected at one price, and match continuously again."""
        return self._send(Kind.UNCROSS, price_tick=reference_tick)

    # Questions ------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        return Phase(int(self._books.phases()[0]))

    def touch(self) -> tuple[int, int]:
        """The best bid and ask ticks; an empty side is EMPTY_BID or EMPTY_ASK. O(1)."""
        bid_tick, ask_tick = self._books.touch()[0].tolist()
        return bid_tick, ask_tick

    def depth(self, side: Side, levels: int) -> list[tuple[int, int]]:
        """(tick, displayed lots) of the best `levels` levels of a side, best first; fewer where the
        side has fewer.

        O(levels).
        """
        ticks, lots = self._books.depth(levels)
        pairs = zip(ticks[0, side].tolist(), lots[0, side].tolist(), strict=True)
        return [(tick, held) for tick, held in pairs if tick not in (EMPTY_BID, EMPTY_ASK)]

    def lots_at(self, side: Side, price_tick: int) -> int:
        """Displayed lots of one level, 0 where nobody rests. O(orders of the level)."""
        return int(self._orders_at(side, price_tick)["lots"].sum(dtype=np.int64))

    def orders_at(self, side: Side, price_tick: int) -> list[int]:
        """Order ids of one level, first in line first. O(orders of the level)."""
        return self._orders_at(side, price_tick)["order_id"].tolist()

    def queue_ahead(self, order_id: int) -> int:
        """The displayed lots that must trade before this order does.

        Counts only its own level. 0 means first in line; an order that is not resting raises
        KeyError. O(orders ahead).
        """
        if not 1 <= order_id < 2**63:
            raise KeyError(order_id)
        lots = self._books.queue_ahead(_BOOK_0, np.array([order_id], np.int64)).item()
        if lots < 0:
            raise KeyError(order_id)
        return lots

    def total_lots(self, side: Side) -> int:
        """All open lots of a side, hidden ones included. O(window)."""
        return self._books.total_lots(0, side)

    def resting(self) -> np.ndarray:
        """Every resting order as RESTING_DTYPE rows: bids best first, then asks best first, a level
        in queue order.

        O(orders).
        """
        return self._books.resting(0)

    def hash(self) -> str:
        """`base.book_hash` of this book: equal for equal books. O(orders)."""
        return self._books.hash(0)

    def check(self) -> None:
        """Raise AssertionError, with the whole book printed, when an invariant of the book does not
        hold. Slow."""
        self._books.check(0)

    # Copies ---------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """This book at this moment, set aside: one copy of its memory."""
        return self._books.snapshot(0)

    def restore(self, snapshot: Snapshot) -> None:
        """Become what some book was when the snapshot was taken. One copy."""
        self._books.restore(0, snapshot)

    def fork(self) -> "Book":
        """Another book like this one, independent of it from here on. One copy."""
        other = Book()
        other.restore(self.snapshot())
        other._last_id = self._last_id
        return other

    # Private --------------------------------------------------------------------------------------

    def _send(self, kind: Kind, **fields: int) -> Answer:
        message = np.zeros(1, MESSAGE_DTYPE)
        message["kind"] = kind
        for name, number in fields.items():
            message[name] = _fitting(name, number)
        results, fills = self.process(message)
        result = results[0]
        return Answer(
            order_id=int(result["order_id"]),
            reject=Reject(int(result["reject"])),
            filled_lots=int(result["filled_lots"]),
            resting_lots=int(result["resting_lots"]),
            cancelled_lots=int(result["cancelled_lots"]),
            price_tick=int(result["price_tick"]),
            fills=tuple(_fills(fills)),
        )

    def _free_id(self) -> int:
        """The next id that no resting order has. A book with handles ignores it."""
        self._last_id += 1
        while self._books.queue_ahead(_BOOK_0, np.array([self._last_id])).item() >= 0:
            self._last_id += 1
        return self._last_id

    def _orders_at(self, side: Side, price_tick: int) -> np.ndarray:
        return self._books.orders_at(0, side, price_tick)


_BOOK_0 = np.zeros(1, np.int64)


def _fitting(name: str, number: int) -> int:
    """`number` as an integer that fits the field `name` of a message."""
    limits = np.iinfo(MESSAGE_DTYPE[name])
    try:
        fits = limits.min <= index(number) <= limits.max
    except TypeError:
        fits = False
    if not fits:
        raise EngineInputError(
            f"Book: {name} must be an integer from {limits.min} to {limits.max}, got {number!r}."
        )
    return index(number)


def _fills(rows: np.ndarray) -> Iterable[Fill]:
    columns = (
        rows[name].tolist() for name in ("maker_id", "taker_id", "price_tick", "lots", "kind")
    )
    for maker_id, taker_id, price_tick, lots, kind in zip(*columns, strict=True):
        yield Fill(maker_id, taker_id, price_tick, lots, FillKind(kind))

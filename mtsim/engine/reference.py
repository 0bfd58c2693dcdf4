"""The reference book: `docs/engine-rules.md` written out in plain Python.

It is the definition of right for the Numba book, and takes no short cut: a side is one dictionary
sorted by (price, place), and levels, depth and queues are read off it. It is slow (about ten
microseconds a message), issues no handles, and shares no code with `book.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise, takewhile
from typing import NamedTuple

import numpy as np
from sortedcontainers import SortedDict

from mtsim.engine.base import Outcome, book_hash
from mtsim.engine.messages import (
    FILL_DTYPE,
    MAX_TRANCHES,
    MESSAGE_DTYPE,
    RESTING_DTYPE,
    RESULT_DTYPE,
    FillKind,
    Flag,
    Kind,
    Phase,
    Reject,
    SelfTrade,
    TimeInForce,
)
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, MAX_LOTS, MAX_TICK, MIN_TICK, Side
from mtsim.errors import EngineInputError

# As plain integers: one bit operation with an IntFlag costs more than the matching of a message.
_POST_ONLY = Flag.POST_ONLY.value
_LOSE_PLACE = Flag.LOSE_PLACE.value


class ReferenceBook:
    """A price-time-priority book: `base.OrderBook` with external ids.

    In the complexities below n is the number of resting orders.
    """

    def __init__(self) -> None:
        self._phase = Phase.CONTINUOUS
        self._lines = {Side.BUY: _Line(Side.BUY), Side.SELL: _Line(Side.SELL)}
        self._by_id: dict[int, _Order] = {}
        self._next_place = 0
        self._n_messages = 0
        self._fills: list[tuple[int, ...]] = []

    def __repr__(self) -> str:
        bid_tick, ask_tick = self.touch()
        return (
            f"ReferenceBook({self._phase.name}, bid_tick={bid_tick}, ask_tick={ask_tick}, "
            f"orders={len(self._by_id)}, messages={self._n_messages})"
        )

    def process(self, messages: np.ndarray) -> Outcome:
        """Execute MESSAGE_DTYPE rows in order. The outcome's arrays belong to the caller.

        O(log n) a message and a row of fills; a fill-or-kill order also reads the orders it could
        take, an uncross the whole book.
        """
        if not isinstance(messages, np.ndarray):
            raise _not_messages(type(messages).__name__)
        if messages.dtype != MESSAGE_DTYPE or messages.ndim != 1:
            raise _not_messages(f"{messages.ndim} dimensions of {messages.dtype}")
        self._fills = []
        results = [self._execute(_Message(*row)) for row in messages.tolist()]
        return Outcome(np.array(results, RESULT_DTYPE), np.array(self._fills, FILL_DTYPE))

    @property
    def phase(self) -> Phase:
        return self._phase

    def touch(self) -> tuple[int, int]:
        """The best bid and ask ticks; an empty side is EMPTY_BID or EMPTY_ASK. O(log n)."""
        bid, ask = self._lines[Side.BUY].first(), self._lines[Side.SELL].first()
        return (
            EMPTY_BID if bid is None else bid.price_tick,
            EMPTY_ASK if ask is None else ask.price_tick,
        )

    def depth(self, side: Side, levels: int) -> list[tuple[int, int]]:
        """(tick, displayed lots) of the best `levels` levels of a side, best first. O(n).

        Fewer where the side has fewer.
        """
        by_level = groupby(self._lines[side], key=lambda order: order.price_tick)
        whole_side = [(tick, sum(order.shown_lots for order in level)) for tick, level in by_level]
        return whole_side[:levels]

    def lots_at(self, side: Side, price_tick: int) -> int:
        """Displayed lots of one level, 0 where nobody rests. O(log n + orders of the level)."""
        return sum(order.shown_lots for order in self._lines[side].level(price_tick))

    def orders_at(self, side: Side, price_tick: int) -> list[int]:
        """Order ids of one level, first in line first. O(log n + orders of the level)."""
        return [order.order_id for order in self._lines[side].level(price_tick)]

    def queue_ahead(self, order_id: int) -> int:
        """The displayed lots that must trade before this order does.

        Counts only its own level. 0 means first in line; an order that is not resting raises
        KeyError. O(log n + orders of the level).
        """
        order = self._by_id[order_id]
        level = self._lines[order.side].level(order.price_tick)
        return sum(other.shown_lots for other in takewhile(lambda other: other is not order, level))

    def total_lots(self, side: Side) -> int:
        """All open lots of a side, hidden ones included. O(n)."""
        return sum(order.open_lots for order in self._lines[side])

    def resting(self) -> np.ndarray:
        """Every resting order as RESTING_DTYPE rows: bids best first, then asks best first. O(n).

        A level is in queue order.
        """
        rows = [
            (
                order.order_id,
                order.price_tick,
                order.shown_lots,
                order.hidden_lots,
                order.slice_lots,
                order.owner,
                order.side,
            )
            for side in Side
            for order in self._lines[side]
        ]
        return np.array(rows, RESTING_DTYPE)

    def hash(self) -> str:
        """`book_hash` of this book: equal for equal books, however they came about. O(n)."""
        return book_hash(self._phase, self.resting())

    def check(self) -> None:
        """Raise AssertionError, with the whole book printed, when an invariant is broken. O(n)."""
        try:
            self._check()
        except AssertionError as broken:
            raise AssertionError(f"{broken}\n{self._printed()}") from None

    # One message ---------------------------------------------------------------------------------

    def _execute(self, message: _Message) -> tuple[int, ...]:
        """The result row of one message."""
        rows_before = len(self._fills)
        reject = self._refusal(message)
        if reject is Reject.NONE:
            answer = _EXECUTE[message.kind](self, message)
        else:
            answer = _Answer(message.order_id, message.side, message.price_tick)
        self._n_messages += 1
        bid_tick, ask_tick = self.touch()
        return (
            answer.order_id,
            answer.filled_lots,
            len(self._fills) - rows_before,
            answer.resting_lots,
            answer.cancelled_lots,
            answer.previous_lots,
            answer.price_tick,
            bid_tick,
            ask_tick,
            reject,
            answer.side,
            self._phase,
            message.kind,
        )

    def _refusal(self, message: _Message) -> Reject:
        """The first rule that the message breaks, or NONE."""
        if message.kind not in _CHECKS:
            return Reject.BAD_KIND
        for reject in _CHECKS[message.kind]:
            if _BREAKS[reject](self, message):
                return reject
        return Reject.NONE

    def _limit(self, message: _Message) -> _Answer:
        order = self._incoming(message, message.price_tick)
        filled_lots, cancelled_lots, _ = self._enter(order, message.stp)
        if message.tif == TimeInForce.GTC:
            self._rest(order)
        else:
            cancelled_lots += order.leave()
        return _Answer.about(order, filled_lots, cancelled_lots)

    def _market(self, message: _Message) -> _Answer:
        # Every resting order is within the limits of a tick, so this limit is none.
        order = self._incoming(message, _no_limit(message.side))
        filled_lots, cancelled_lots, last_tick = self._enter(order, message.stp)
        cancelled_lots += order.leave()
        return _Answer.about(order, filled_lots, cancelled_lots)._replace(price_tick=last_tick)

    def _cancel(self, message: _Message) -> _Answer:
        order = self._by_id[message.order_id]
        self._remove(order)
        previous_lots = order.leave()
        return _Answer.about(order, 0, previous_lots, previous_lots)

    def _reduce(self, message: _Message) -> _Answer:
        order = self._by_id[message.order_id]
        if message.lots >= order.open_lots:
            return self._cancel(message)
        return self._shrink(order, order.open_lots - message.lots)

    def _replace(self, message: _Message) -> _Answer:
        order = self._by_id[message.order_id]
        if _stays_in_place(order, message):
            return self._shrink(order, message.lots)
        self._remove(order)
        previous_lots = order.leave()
        order.price_tick = message.price_tick
        order.open_lots = message.lots
        filled_lots, cancelled_lots, _ = self._enter(order, message.stp)
        self._rest(order)
        return _Answer.about(order, filled_lots, cancelled_lots, previous_lots)

    def _auction(self, message: _Message) -> _Answer:
        self._phase = Phase.AUCTION
        return _Answer(order_id=0, side=0, price_tick=0)

    def _uncross(self, message: _Message) -> _Answer:
        self._phase = Phase.CONTINUOUS
        bids, asks = self._lines[Side.BUY], self._lines[Side.SELL]
        price_tick, volume_lots = uncross_price(
            [(order.price_tick, order.open_lots) for order in bids],
            [(order.price_tick, order.open_lots) for order in asks],
            message.price_tick,
        )
        left = volume_lots
        while left > 0:
            bid, ask = bids.first(), asks.first()
            assert bid, "the uncross counted bids that do not rest"
            assert ask, "the uncross counted asks that do not rest"
            lots = min(left, bid.shown_lots, ask.shown_lots)
            maker, taker = (bid, ask) if bid.place < ask.place else (ask, bid)
            # The older order goes first in taking the place of its next slice, too.
            self._take_out(maker, lots)
            self._take_out(taker, lots)
            self._write(FillKind.TRADE, maker, taker, price_tick, lots)
            left -= lots
        return _Answer(order_id=0, side=0, price_tick=price_tick, filled_lots=volume_lots)

    # Matching ------------------------------------------------------------------------------------

    def _incoming(self, message: _Message, price_tick: int) -> _Order:
        """The order that a LIMIT or MARKET message brings, not yet in the book."""
        is_iceberg = 0 < message.display_lots < message.lots
        return _Order(
            order_id=message.order_id,
            owner=message.owner,
            side=Side(message.side),
            price_tick=price_tick,
            open_lots=message.lots,
            slice_lots=message.display_lots if is_iceberg else 0,
        )

    def _enter(self, taker: _Order, stp: int) -> tuple[int, int, int]:
        """Trade an incoming order while it crosses; what it has left then is its `open_lots`.

        Returns its filled lots, those that self-trade prevention took, and the last price traded
        (0 if none). In an auction it meets nobody.
        """
        filled_lots = cancelled_lots = last_tick = 0
        if self._phase is Phase.AUCTION:
            return filled_lots, cancelled_lots, last_tick
        others = self._lines[taker.side.opposite]
        while taker.open_lots > 0:
            maker = others.first()
            if maker is None or not _crosses(taker.side, taker.price_tick, maker.price_tick):
                break
            lots = min(taker.open_lots, maker.shown_lots)
            if stp == SelfTrade.ALLOW or maker.owner != taker.owner:
                taker.open_lots -= lots
                filled_lots += lots
                last_tick = maker.price_tick
                self._take_out(maker, lots)
                self._write(FillKind.TRADE, maker, taker, maker.price_tick, lots)
                continue
            if stp == SelfTrade.DECREMENT:
                taker.open_lots -= lots
                cancelled_lots += lots
                self._take_out(maker, lots)
                self._write(FillKind.BOTH_DECREMENTED, maker, taker, maker.price_tick, lots)
            if stp in (SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH):
                self._remove(maker)
                maker_lots = maker.leave()
                self._write(FillKind.MAKER_CANCELLED, maker, taker, maker.price_tick, maker_lots)
            if stp in (SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH):
                cancelled_lots += taker.leave()
        return filled_lots, cancelled_lots, last_tick

    def _takeable_lots(self, message: _Message, limit_tick: int) -> int:
        """The lots that an order would trade at once; exact where they are fewer than it wants."""
        better_lots = 0
        others = self._lines[Side(message.side).opposite]
        for price_tick, level in groupby(others, key=lambda order: order.price_tick):
            enough = better_lots >= message.lots
            if enough or not _crosses(message.side, limit_tick, price_tick):
                break
            shown_lots = open_lots = 0
            for maker in level:
                if message.stp == SelfTrade.ALLOW or maker.owner != message.owner:
                    shown_lots += maker.shown_lots
                    open_lots += maker.open_lots
                elif message.stp != SelfTrade.CANCEL_OLDEST:
                    # Its own order stops it, before a second slice of the icebergs ahead of that.
                    return better_lots + shown_lots
            better_lots += open_lots
        return better_lots

    def _take_out(self, order: _Order, lots: int) -> None:
        """Take displayed lots off an order; once a slice is used up, the next goes to the back."""
        order.open_lots -= lots
        order.shown_lots -= lots
        if order.shown_lots == 0:
            self._remove(order)
            self._rest(order)

    def _rest(self, order: _Order) -> None:
        """Put what an order has left, if anything, at the back of its level."""
        if order.open_lots == 0:
            return
        order.shown_lots = min(order.slice_lots or order.open_lots, order.open_lots)
        order.place = self._next_place
        self._next_place += 1
        self._lines[order.side].add(order)
        self._by_id[order.order_id] = order

    def _remove(self, order: _Order) -> None:
        self._lines[order.side].remove(order)
        del self._by_id[order.order_id]

    def _shrink(self, order: _Order, to_lots: int) -> _Answer:
        """Leave `to_lots` of an order open, in its place: hidden lots go before displayed ones."""
        previous_lots = order.open_lots
        order.open_lots = to_lots
        order.shown_lots = min(order.shown_lots, to_lots)
        return _Answer.about(order, 0, previous_lots - to_lots, previous_lots)

    def _write(
        self, kind: FillKind, maker: _Order, taker: _Order, price_tick: int, lots: int
    ) -> None:
        """Record what two orders did, after they did it."""
        self._fills.append(
            (
                self._n_messages,
                maker.order_id,
                taker.order_id,
                price_tick,
                lots,
                maker.owner,
                taker.owner,
                maker.open_lots,
                kind,
                taker.side,
                0,
            )
        )

    # Invariants ----------------------------------------------------------------------------------

    def _check(self) -> None:
        orders = [order for side in Side for order in self._lines[side]]

        # An order rests once, under its own id, and every id names a resting order.
        assert len(orders) == len(self._by_id), "as many orders rest as have an id"
        for order in orders:
            assert self._by_id.get(order.order_id) is order, f"the id of {order} is another's"

        # A place belongs to one order and has been given out.
        places = {order.place for order in orders}
        assert len(places) == len(orders), "two orders have one place"
        assert all(0 <= place < self._next_place for place in places), "a place not given out"

        # Price-time priority: a line goes away from the touch, and places increase within a level.
        for side in Side:
            line = list(self._lines[side])
            assert all(order.side is side for order in line), f"a stranger on side {side.name}"
            for ahead, behind in pairwise(line):
                rise = behind.price_tick - ahead.price_tick
                further = rise if side is Side.SELL else -rise
                later = behind.place - ahead.place
                assert (further, later) > (0, 0), f"{behind} is behind {ahead}"

        for order in orders:
            # No order rests with nothing to show, and nobody shows what it has not got.
            assert 0 < order.shown_lots <= order.open_lots <= MAX_LOTS, f"lots of {order}"
            # Hidden lots exist only in icebergs, which show no more than a slice.
            if order.slice_lots:
                assert order.shown_lots <= order.slice_lots, f"more than a slice shown by {order}"
                slices = -(-order.open_lots // order.slice_lots)
                assert slices <= MAX_TRANCHES, f"{slices} slices in {order}"
            else:
                assert order.hidden_lots == 0, f"hidden lots in {order}"
            # What rests came in through the checks of a message.
            assert order.order_id >= 1, f"id of {order}"
            assert order.owner >= 0, f"owner of {order}"
            assert MIN_TICK <= order.price_tick <= MAX_TICK, f"price of {order}"

        # Outside an auction the book is never crossed.
        bid_tick, ask_tick = self.touch()
        if self._phase is Phase.CONTINUOUS:
            assert bid_tick < ask_tick, f"crossed: bid {bid_tick}, ask {ask_tick}"

    def _printed(self) -> str:
        lines = [repr(self)]
        for side in Side:
            lines.append(side.name)
            lines.extend(f"  {order}" for order in self._lines[side])
        return "\n".join(lines)


def uncross_price(
    bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], reference_tick: int
) -> tuple[int, int]:
    """The price of an auction and the lots that trade at it, from (tick, open lots) of both sides.

    Where nothing crosses: the reference price and 0. O(n log n).
    """
    demand_drops: dict[int, int] = {}  # D(p) is lower from this tick on, by these lots
    supply_rises: dict[int, int] = {}  # S(p) is higher from this tick on, by these lots
    for price_tick, lots in bids:
        demand_drops[price_tick + 1] = demand_drops.get(price_tick + 1, 0) + lots
    for price_tick, lots in asks:
        supply_rises[price_tick] = supply_rises.get(price_tick, 0) + lots
    if not demand_drops or not supply_rises:
        return reference_tick, 0

    # Between two neighbouring edges D and S are constant: one span stands for all of its ticks.
    lowest = min(min(demand_drops) - 1, min(supply_rises))
    highest = max(max(demand_drops) - 1, max(supply_rises))
    edges = sorted({lowest} | {tick for tick in demand_drops | supply_rises if tick <= highest})
    lasts = [tick - 1 for tick in edges[1:]] + [highest]
    drops = accumulate(demand_drops.get(tick, 0) for tick in edges)
    supplies = accumulate(supply_rises.get(tick, 0) for tick in edges)
    all_bids = sum(demand_drops.values())
    spans = [
        _Span(first, last, all_bids - dropped, supply)
        for first, last, dropped, supply in zip(edges, lasts, drops, supplies, strict=True)
    ]

    volume_lots = max(min(span.demand, span.supply) for span in spans)
    if volume_lots == 0:
        return reference_tick, 0
    spans = [span for span in spans if min(span.demand, span.supply) == volume_lots]
    imbalance = min(abs(span.demand - span.supply) for span in spans)
    spans = [span for span in spans if abs(span.demand - span.supply) == imbalance]
    low, high = spans[0].first_tick, spans[-1].last_tick
    if all(span.demand > span.supply for span in spans):
        return high, volume_lots
    if all(span.demand < span.supply for span in spans):
        return low, volume_lots
    return min(max(reference_tick, low), high), volume_lots


class _Span(NamedTuple):
    """Neighbouring ticks at which an auction would find the same demand and the same supply."""

    first_tick: int
    last_tick: int
    demand: int
    supply: int


class _Message(NamedTuple):
    """One MESSAGE_DTYPE row as plain integers."""

    kind: int
    side: int
    tif: int
    stp: int
    flags: int
    owner: int
    price_tick: int
    lots: int
    display_lots: int
    order_id: int


class _Answer(NamedTuple):
    """What executing a message says about it; the rest of a result row is one for every kind."""

    order_id: int
    side: int
    price_tick: int
    filled_lots: int = 0
    resting_lots: int = 0
    cancelled_lots: int = 0
    previous_lots: int = 0

    @classmethod
    def about(
        cls, order: _Order, filled_lots: int, cancelled_lots: int, previous_lots: int = 0
    ) -> _Answer:
        """The answer that describes an order as the message left it."""
        return cls(
            order.order_id,
            order.side,
            order.price_tick,
            filled_lots,
            order.open_lots,
            cancelled_lots,
            previous_lots,
        )


@dataclass(slots=True, eq=False)
class _Order:
    """An order: resting in a line, or coming in (then it shows nothing and has no place)."""

    order_id: int
    owner: int
    side: Side
    price_tick: int
    open_lots: int
    slice_lots: int  # 0: not an iceberg
    shown_lots: int = 0
    place: int = -1

    @property
    def hidden_lots(self) -> int:
        return self.open_lots - self.shown_lots

    def leave(self) -> int:
        """Give up all open lots; returns how many they were."""
        lots = self.open_lots
        self.open_lots = self.shown_lots = 0
        return lots


class _Line:
    """One side: its resting orders, sorted by (price, best first; place). That is priority."""

    def __init__(self, side: Side):
        self._sign = -1 if side is Side.BUY else 1
        self._orders = SortedDict()

    def __iter__(self) -> Iterator[_Order]:
        """All orders, first in line first."""
        return iter(self._orders.values())

    def first(self) -> _Order | None:
        """The order first in line on the best level. O(log n)."""
        return self._orders.peekitem(0)[1] if self._orders else None

    def level(self, price_tick: int) -> Iterator[_Order]:
        """The orders of one tick, first in line first. O(log n) and O(1) an order."""
        rank = self._sign * price_tick
        return (self._orders[key] for key in self._orders.irange((rank,), (rank + 1,)))

    def add(self, order: _Order) -> None:
        """O(log n)."""
        self._orders[self._sign * order.price_tick, order.place] = order

    def remove(self, order: _Order) -> None:
        """O(log n)."""
        del self._orders[self._sign * order.price_tick, order.place]


def _not_messages(found: str) -> EngineInputError:
    return EngineInputError(
        f"ReferenceBook.process: messages must be a one-dimensional array of MESSAGE_DTYPE, "
        f"got {found}. Build it with np.array(rows, MESSAGE_DTYPE)."
    )


def _crosses(side: int, limit_tick: int, other_tick: int) -> bool:
    """Whether an order of this side and limit trades at the other side's tick."""
    return other_tick <= limit_tick if side == Side.BUY else other_tick >= limit_tick


def _no_limit(side: int) -> int:
    return MAX_TICK if side == Side.BUY else MIN_TICK


def _stays_in_place(order: _Order, replace: _Message) -> bool:
    return (
        replace.price_tick == order.price_tick
        and replace.lots <= order.open_lots
        and not replace.flags & _LOSE_PLACE
    )


# The checks of a message: for each reject, whether its rule is broken -----------------------------


def _wrong_phase(book: ReferenceBook, message: _Message) -> bool:
    in_auction = book.phase is Phase.AUCTION
    match message.kind:
        case Kind.LIMIT:
            plain = message.tif == TimeInForce.GTC and not message.flags & _POST_ONLY
            return in_auction and not plain
        case Kind.MARKET | Kind.AUCTION:
            return in_auction
        case Kind.REPLACE:
            return in_auction and bool(message.flags & _POST_ONLY)
        case _:
            return not in_auction


def _bad_side(_: ReferenceBook, message: _Message) -> bool:
    return message.side not in (Side.BUY, Side.SELL)


def _bad_instruction(_: ReferenceBook, message: _Message) -> bool:
    flags, tif = message.flags, message.tif
    match message.kind:
        case Kind.LIMIT:
            plain = flags == 0 and tif in (TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)
            fits = plain or (flags == _POST_ONLY and tif == TimeInForce.GTC)
        case Kind.MARKET:
            fits = flags == 0 and tif in (TimeInForce.IOC, TimeInForce.FOK)
        case _:
            fits = tif == TimeInForce.GTC and flags & ~(_POST_ONLY | _LOSE_PLACE) == 0
    return not fits or message.stp > SelfTrade.DECREMENT


def _bad_lots(_: ReferenceBook, message: _Message) -> bool:
    return not 1 <= message.lots <= MAX_LOTS


def _bad_tick(_: ReferenceBook, message: _Message) -> bool:
    return not MIN_TICK <= message.price_tick <= MAX_TICK


def _bad_display(book: ReferenceBook, message: _Message) -> bool:
    if message.kind == Kind.REPLACE:
        return _too_many_slices(message.lots, book._by_id[message.order_id].slice_lots)
    if not 0 <= message.display_lots <= message.lots:
        return True
    rests_never = message.kind == Kind.MARKET or message.tif != TimeInForce.GTC
    if rests_never and message.display_lots > 0:
        return True
    return _too_many_slices(message.lots, message.display_lots)


def _too_many_slices(lots: int, slice_lots: int) -> bool:
    return slice_lots > 0 and lots > slice_lots * MAX_TRANCHES


def _bad_owner(_: ReferenceBook, message: _Message) -> bool:
    return message.owner < 0


def _bad_id(_: ReferenceBook, message: _Message) -> bool:
    return message.order_id < 1


def _duplicate_id(book: ReferenceBook, message: _Message) -> bool:
    return message.order_id in book._by_id


def _unknown_order(book: ReferenceBook, message: _Message) -> bool:
    return message.order_id not in book._by_id


def _not_owner(book: ReferenceBook, message: _Message) -> bool:
    return book._by_id[message.order_id].owner != message.owner


def _would_take(book: ReferenceBook, message: _Message) -> bool:
    if not message.flags & _POST_ONLY:
        return False
    # A REPLACE has the side of its order. One that stays in place cannot cross: the book does not.
    is_new = message.kind == Kind.LIMIT
    side = Side(message.side) if is_new else book._by_id[message.order_id].side
    best = book._lines[side.opposite].first()
    return best is not None and _crosses(side, message.price_tick, best.price_tick)


def _unfillable(book: ReferenceBook, message: _Message) -> bool:
    if message.tif != TimeInForce.FOK:
        return False
    limit_tick = message.price_tick if message.kind == Kind.LIMIT else _no_limit(message.side)
    return book._takeable_lots(message, limit_tick) < message.lots


_BREAKS: dict[Reject, Callable[[ReferenceBook, _Message], bool]] = {
    Reject.WRONG_PHASE: _wrong_phase,
    Reject.BAD_SIDE: _bad_side,
    Reject.BAD_INSTRUCTION: _bad_instruction,
    Reject.BAD_LOTS: _bad_lots,
    Reject.BAD_TICK: _bad_tick,
    Reject.BAD_DISPLAY: _bad_display,
    Reject.BAD_OWNER: _bad_owner,
    Reject.BAD_ID: _bad_id,
    Reject.DUPLICATE_ID: _duplicate_id,
    Reject.UNKNOWN_ORDER: _unknown_order,
    Reject.NOT_OWNER: _not_owner,
    Reject.WOULD_TAKE: _would_take,
    Reject.UNFILLABLE: _unfillable,
}

_NEW = (
    Reject.WRONG_PHASE,
    Reject.BAD_SIDE,
    Reject.BAD_INSTRUCTION,
    Reject.BAD_LOTS,
    Reject.BAD_TICK,
    Reject.BAD_DISPLAY,
    Reject.BAD_OWNER,
    Reject.BAD_ID,
    Reject.DUPLICATE_ID,
    Reject.WOULD_TAKE,
    Reject.UNFILLABLE,
)

# The table of the rules page, one row a kind, in the order in which the rules are looked at. One is
# late: how many slices a REPLACE would need is known only once its order is.
_CHECKS: dict[int, tuple[Reject, ...]] = {
    Kind.LIMIT: _NEW,
    Kind.MARKET: tuple(rule for rule in _NEW if rule not in (Reject.BAD_TICK, Reject.WOULD_TAKE)),
    Kind.CANCEL: (Reject.BAD_OWNER, Reject.UNKNOWN_ORDER, Reject.NOT_OWNER),
    Kind.REDUCE: (Reject.BAD_LOTS, Reject.BAD_OWNER, Reject.UNKNOWN_ORDER, Reject.NOT_OWNER),
    Kind.REPLACE: (
        Reject.WRONG_PHASE,
        Reject.BAD_INSTRUCTION,
        Reject.BAD_LOTS,
        Reject.BAD_TICK,
        Reject.BAD_OWNER,
        Reject.UNKNOWN_ORDER,
        Reject.NOT_OWNER,
        Reject.BAD_DISPLAY,
        Reject.WOULD_TAKE,
    ),
    Kind.AUCTION: (Reject.WRONG_PHASE,),
    Kind.UNCROSS: (Reject.WRONG_PHASE, Reject.BAD_TICK),
}

_EXECUTE: dict[int, Callable[[ReferenceBook, _Message], _Answer]] = {
    Kind.LIMIT: ReferenceBook._limit,
    Kind.MARKET: ReferenceBook._market,
    Kind.CANCEL: ReferenceBook._cancel,
    Kind.REDUCE: ReferenceBook._reduce,
    Kind.REPLACE: ReferenceBook._replace,
    Kind.AUCTION: ReferenceBook._auction,
    Kind.UNCROSS: ReferenceBook._uncross,
}

"""Both books under hypothesis: any sequence of messages, the invariants after each of them.

Unlike the differential, this knows laws that hold whatever the two books say. What it finds is
shrunk to a few lines.
"""

from collections import Counter
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from mtsim.engine.base import OrderBook
from mtsim.engine.book import Book
from mtsim.engine.messages import FillKind, Flag, Kind, Phase, Reject, SelfTrade, TimeInForce
from mtsim.engine.reference import ReferenceBook
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, MAX_LOTS, MAX_TICK, MIN_TICK, Side
from tests.engine.asking import named
from tests.engine.streams import (
    INT32_MAX,
    INT32_MIN,
    Row,
    auction,
    batch,
    cancel,
    limit,
    market,
    message,
    reduce,
    replace,
    uncross,
)

NEAR_TICKS = st.integers(97, 103)
FAR_TICKS = st.sampled_from([MIN_TICK, -70_000, 0, 30, 170, 5_000, 2**20, MAX_TICK])
TICKS = NEAR_TICKS | NEAR_TICKS | NEAR_TICKS | FAR_TICKS
LOTS = st.integers(1, 12) | st.integers(1, 12) | st.sampled_from([50, 3_000, MAX_LOTS])
OWNERS = st.integers(0, 2)
SIDES = st.sampled_from(Side)
MODES = st.sampled_from(SelfTrade)
NEW_IDS = st.integers(1, 30)
ODD_INTEGERS = st.sampled_from([0, -1, INT32_MIN, INT32_MAX, MAX_LOTS + 1, 5])


class Books(RuleBasedStateMachine):
    """A Numba book that has to make room and move its window all the time, and the reference."""

    order_ids = Bundle("order_ids")

    def __init__(self) -> None:
        super().__init__()
        self.book = Book(window=64, slots=1)
        self.reference = ReferenceBook()
        self.owners: dict[int, int] = {}  # of every id that ever rested
        self.arrivals: dict[int, int] = {}  # the message with which an order took its place
        self.restless: set[int] = set()  # ids of icebergs, whose slices take places of their own
        self.n_messages = 0
        self.entered_lots = 0
        self.left_lots = 0

    # Messages -------------------------------------------------------------------------------------

    @rule(
        target=order_ids,
        side=SIDES,
        price_tick=TICKS,
        lots=LOTS,
        order_id=NEW_IDS,
        owner=OWNERS,
        stp=MODES,
        slices=st.integers(1, 5),
    )
    def limit(self, side, price_tick, lots, order_id, owner, stp, slices):
        """Rests, unless it trades in full, is a duplicate, or self-trade prevention stops it."""
        display_lots = -(-lots // slices)
        row = limit(
            side, price_tick, lots, order_id, owner=owner, stp=stp, display_lots=display_lots
        )
        return self.submit(row, iceberg=display_lots < lots)

    @rule(
        side=SIDES,
        price_tick=TICKS,
        lots=LOTS,
        order_id=NEW_IDS,
        owner=OWNERS,
        stp=MODES,
        tif=st.sampled_from([TimeInForce.IOC, TimeInForce.FOK]),
    )
    def limit_now(self, side, price_tick, lots, order_id, owner, stp, tif):
        self.submit(limit(side, price_tick, lots, order_id, owner=owner, stp=stp, tif=tif))

    @rule(target=order_ids, side=SIDES, price_tick=TICKS, lots=LOTS, order_id=NEW_IDS, owner=OWNERS)
    def limit_post_only(self, side, price_tick, lots, order_id, owner):
        flags = Flag.POST_ONLY
        return self.submit(limit(side, price_tick, lots, order_id, owner=owner, flags=flags))

    @rule(
        side=SIDES,
        lots=LOTS,
        order_id=NEW_IDS,
        owner=OWNERS,
        stp=MODES,
        tif=st.sampled_from([TimeInForce.IOC, TimeInForce.FOK]),
    )
    def market(self, side, lots, order_id, owner, stp, tif):
        self.submit(market(side, lots, order_id, owner=owner, stp=stp, tif=tif))

    @rule(order_id=order_ids)
    def cancel(self, order_id):
        self.send(cancel(order_id, owner=self.owners[order_id]))

    @rule(order_id=order_ids, lots=LOTS)
    def reduce(self, order_id, lots):
        self.send(reduce(order_id, lots, owner=self.owners[order_id]))

    @rule(
        order_id=order_ids,
        price_tick=TICKS,
        lots=LOTS,
        stp=MODES,
        flags=st.sampled_from([Flag.NONE, Flag.POST_ONLY, Flag.LOSE_PLACE]),
    )
    def replace(self, order_id, price_tick, lots, stp, flags):
        owner = self.owners[order_id]
        row = replace(order_id, price_tick, lots, owner=owner, stp=stp, flags=flags)
        same_price = order_id in self.reference.orders_at(Side.BUY, price_tick)
        same_price |= order_id in self.reference.orders_at(Side.SELL, price_tick)

        result = self.send(row)

        stays = same_price and lots <= result["previous_lots"] and not flags & Flag.LOSE_PLACE
        if result["reject"] == Reject.NONE and not stays:
            self.arrivals[order_id] = self.n_messages

    @rule(reference_tick=TICKS)
    def auction(self, reference_tick):
        """Begins an auction, or ends the one that is on."""
        in_auction = self.reference.phase is Phase.AUCTION
        self.send(uncross(reference_tick) if in_auction else auction())

    @rule(
        kind=st.integers(0, 8),
        field=st.sampled_from(["side", "tif", "stp", "flags"]),
        small=st.integers(0, 9),
        lots=ODD_INTEGERS,
        price_tick=ODD_INTEGERS,
        display_lots=ODD_INTEGERS,
        owner=st.integers(-1, 3),
        order_id=st.integers(-1, 31),
    )
    def nonsense(self, kind, field, small, lots, price_tick, display_lots, owner, order_id):
        """Mostly refused; whatever is not obeys the same laws."""
        row = message(
            kind,
            lots=lots,
            price_tick=price_tick,
            display_lots=display_lots,
            owner=owner,
            order_id=order_id,
            **{field: small},
        )
        if kind in (Kind.LIMIT, Kind.MARKET):
            self.submit(row, iceberg=0 < display_lots < lots)
        else:
            self.send(row)
            # It may have been a REPLACE that moved the order, or not.
            self.restless.add(order_id)

    # What they are sent through -------------------------------------------------------------------

    def submit(self, row: Row, iceberg: bool = False):
        """Send a LIMIT or MARKET; what the bundle gets is its id, if it rests."""
        result = self.send(row)
        order_id = result["order_id"]
        if result["reject"] != Reject.NONE or result["resting_lots"] == 0:
            return multiple()
        self.owners[order_id] = batch(row)["owner"].item()
        self.arrivals[order_id] = self.n_messages
        self.restless.discard(order_id)
        if iceberg:
            self.restless.add(order_id)
        return order_id

    def send(self, row: Row) -> dict[str, int]:
        """One message to both books: equal answers, which conserve lots."""
        messages = batch(row)
        ours, right = self.book.process(messages), self.reference.process(messages)
        assert ours.results.tobytes() == right.results.tobytes(), (ours.results, right.results)
        assert ours.fills.tobytes() == right.fills.tobytes(), (ours.fills, right.fills)
        result = named(right.results[0])
        self.n_messages += 1
        if result["reject"] == Reject.NONE:
            self.account(result, messages["lots"].item(), right.fills)
        else:
            assert len(right.fills) == 0
        return result

    def account(self, result: dict[str, int], lots: int, fills: np.ndarray) -> None:
        """What was submitted rests, was filled or was cancelled; a fill's sides lose the same."""
        kind = Kind(result["kind"])
        gone = result["filled_lots"] + result["cancelled_lots"]
        if kind in (Kind.LIMIT, Kind.MARKET):
            assert lots == result["resting_lots"] + gone
        elif kind in (Kind.CANCEL, Kind.REDUCE):
            assert result["previous_lots"] == result["resting_lots"] + gone
        elif kind is Kind.REPLACE:
            stayed = result["previous_lots"] == result["resting_lots"] + gone
            assert stayed or lots == result["resting_lots"] + gone
        if kind <= Kind.REPLACE:
            self.entered_lots += result["resting_lots"] + gone - result["previous_lots"]

        by_kind: Counter[FillKind] = Counter()
        for fill in fills:
            by_kind[FillKind(fill["kind"])] += int(fill["lots"])
        assert by_kind[FillKind.TRADE] == result["filled_lots"]
        assert by_kind[FillKind.BOTH_DECREMENTED] <= result["cancelled_lots"]
        assert len(fills) == result["n_fills"]
        self.left_lots += gone + sum(by_kind.values())

    # Invariants -----------------------------------------------------------------------------------

    @invariant()
    def books_are_equal(self):
        assert self.book.phase is self.reference.phase
        assert self.book.resting().tobytes() == self.reference.resting().tobytes()
        for side in Side:
            assert self.book.depth(side, 40) == self.reference.depth(side, 40)
            assert self.book.total_lots(side) == self.reference.total_lots(side)

    @invariant()
    def books_are_sound(self):
        self.book.check()
        self.reference.check()

    @invariant()
    def lots_are_conserved(self):
        """What entered the book is what rests in it and what left it."""
        for book in (self.book, self.reference):
            assert sum(map(book.total_lots, Side)) == self.entered_lots - self.left_lots

    @invariant()
    def touch_is_the_extreme_and_uncrossed(self):
        assert self.book.touch() == self.reference.touch()
        bid_tick, ask_tick = self.book.touch()
        resting = self.book.resting()
        bids = resting["price_tick"][resting["side"] == Side.BUY].tolist()
        asks = resting["price_tick"][resting["side"] == Side.SELL].tolist()
        assert bid_tick == max(bids, default=EMPTY_BID)
        assert ask_tick == min(asks, default=EMPTY_ASK)
        if self.book.phase is Phase.CONTINUOUS:
            assert bid_tick < ask_tick

    @invariant()
    def levels_are_the_sums_of_their_orders(self):
        for book in (self.book, self.reference):
            assert_levels_add_up(book)

    @invariant()
    def queues_are_first_in_first_out(self):
        """In every level, orders that show all they have stand in the order of their arrival."""
        for side in Side:
            for price_tick, _ in self.book.depth(side, 5):
                queue = self.book.orders_at(side, price_tick)
                plain = [self.arrivals[i] for i in queue if i not in self.restless]
                assert all(ahead < behind for ahead, behind in pairwise(plain))


def assert_levels_add_up(book: OrderBook) -> None:
    resting = book.resting()
    rows = resting[["side", "price_tick", "lots", "hidden_lots"]].tolist()
    for (side, price_tick), level in groupby(rows, key=lambda row: row[:2]):
        lots = [shown for _, _, shown, _ in level]
        assert min(lots) > 0
        assert book.lots_at(Side(side), price_tick) == sum(lots)
    assert resting["hidden_lots"].min(initial=0) >= 0


class ManyBooks(Books):
    """The same machine, run for longer."""


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=300, stateful_step_count=50)

# As many as a nightly run needs; HYPOTHESIS_PROFILE=release may ask for more.
TestManyBooks = pytest.mark.slow(ManyBooks.TestCase)
TestManyBooks.settings = settings(
    max_examples=max(2_000, settings().max_examples), stateful_step_count=50
)

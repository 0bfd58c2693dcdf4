"""What a message is called: by hand, and against a plain telling from the outcome."""

from typing import NamedTuple

import numpy as np
import pytest

from mtsim.engine.batch import Books
from mtsim.engine.messages import Flag, Kind, Reject, SelfTrade, TimeInForce
from mtsim.engine.units import Side
from mtsim.model.actions import MOST_SWEPT, ActionKind, Place
from mtsim.model.describe import Told
from mtsim.model.observer import Observer, Performed
from tests.engine.streams import (
    RandomStream,
    auction,
    batch,
    cancel,
    limit,
    market,
    reduce,
    replace,
)
from tests.model.lived import passed, recorded

BUY, SELL = Side.BUY, Side.SELL
ADD, TRADE, CANCEL = ActionKind
IOC, FOK = TimeInForce.IOC, TimeInForce.FOK


class Action(NamedTuple):
    """The fields of an action that a book knows."""

    kind: int
    side: int
    lots: int
    price_tick: int
    distance_ticks: int
    order_lots: int
    swept: int = 0
    place: int = 0
    whole: int = 0


def known_fields(actions: np.ndarray) -> list[Action]:
    return [Action(*row) for row in actions[list(Action._fields)].tolist()]


# Asks: 10 lots at 102 (orders 1 and 2), 5 at 103 (3), an iceberg at 105 (4): 3 shown of 9.
# Bids: 8 lots at 100 (11, 12 and 13), 7 at 97 (14).
BOOK = (
    limit(SELL, 102, 6, 1, owner=0),
    limit(SELL, 102, 4, 2, owner=0),
    limit(SELL, 103, 5, 3, owner=0),
    limit(SELL, 105, 9, 4, owner=0, display_lots=3),
    limit(BUY, 100, 3, 11, owner=0),
    limit(BUY, 100, 3, 12, owner=0),
    limit(BUY, 100, 2, 13, owner=0),
    limit(BUY, 97, 7, 14, owner=0),
)

ADDED = {
    "joins the touch": (limit(BUY, 100, 4, 99), Action(ADD, BUY, 4, 100, 0, 4)),
    "improves the touch": (limit(BUY, 101, 4, 99), Action(ADD, BUY, 4, 101, -1, 4)),
    "behind the touch": (limit(SELL, 107, 4, 99), Action(ADD, SELL, 4, 107, 5, 4)),
    "post only": (
        limit(SELL, 101, 4, 99, flags=Flag.POST_ONLY),
        Action(ADD, SELL, 4, 101, -1, 4),
    ),
    "an iceberg, with all its lots": (
        limit(SELL, 102, 40, 99, display_lots=4),
        Action(ADD, SELL, 40, 102, 0, 40),
    ),
}
TAKEN = {
    "part of a level": (limit(BUY, 102, 7, 99, tif=IOC), Action(TRADE, BUY, 7, 102, 0, 7)),
    "a level": (limit(BUY, 102, 10, 99, tif=IOC), Action(TRADE, BUY, 10, 102, 0, 10, 1)),
    "less than asked": (limit(BUY, 102, 12, 99, tif=IOC), Action(TRADE, BUY, 10, 102, 0, 12, 1)),
    "into the second": (limit(BUY, 104, 12, 99, tif=IOC), Action(TRADE, BUY, 12, 103, 1, 12, 1)),
    "two levels": (limit(BUY, 104, 15, 99, tif=IOC), Action(TRADE, BUY, 15, 103, 1, 15, 2)),
    "hidden lots": (market(BUY, 20, 99), Action(TRADE, BUY, 20, 105, 3, 20, MOST_SWEPT)),
    "everything": (market(BUY, 99, 99), Action(TRADE, BUY, 24, 105, 3, 99, MOST_SWEPT)),
    "fill or kill": (market(SELL, 9, 99, tif=FOK), Action(TRADE, SELL, 9, 97, 3, 9, 1)),
}
LEFT = {
    "first": (cancel(11), Action(CANCEL, BUY, 3, 100, 0, 3, 0, Place.FIRST, 1)),
    "middle": (cancel(12), Action(CANCEL, BUY, 3, 100, 0, 3, 0, Place.MIDDLE, 1)),
    "last": (cancel(13), Action(CANCEL, BUY, 2, 100, 0, 2, 0, Place.LAST, 1)),
    "only": (cancel(14), Action(CANCEL, BUY, 7, 97, 3, 7, 0, Place.ONLY, 1)),
    "hidden lots, too": (cancel(4), Action(CANCEL, SELL, 9, 105, 3, 9, 0, Place.ONLY, 1)),
    "a part": (reduce(1, 2), Action(CANCEL, SELL, 2, 102, 0, 6, 0, Place.FIRST, 0)),
    "a part that is all": (reduce(2, 9), Action(CANCEL, SELL, 4, 102, 0, 4, 0, Place.LAST, 1)),
    "replaced by fewer": (replace(3, 103, 1), Action(CANCEL, SELL, 4, 103, 1, 5, 0, 0, 0)),
}
IN_PARTS = {
    "trades and rests": (
        limit(BUY, 102, 13, 99),
        Action(TRADE, BUY, 10, 102, 0, 13, 1),
        Action(ADD, BUY, 3, 102, -2, 3),
    ),
    "trades and is gone": (limit(BUY, 103, 13, 99), Action(TRADE, BUY, 13, 103, 1, 13, 1)),
    "an iceberg that trades first": (
        limit(BUY, 102, 19, 99, display_lots=5),
        Action(TRADE, BUY, 10, 102, 0, 19, 1),
        Action(ADD, BUY, 9, 102, -2, 9),
    ),
    "an iceberg of which less than a slice rests": (
        limit(BUY, 102, 12, 99, display_lots=5),
        Action(TRADE, BUY, 10, 102, 0, 12, 1),
        Action(ADD, BUY, 2, 102, -2, 2),
    ),
    "moves": (
        replace(13, 99, 2),
        Action(CANCEL, BUY, 2, 100, 0, 2, 0, Place.LAST, 1),
        Action(ADD, BUY, 2, 99, 1, 2),
    ),
    "grows": (
        replace(11, 100, 5),
        Action(CANCEL, BUY, 3, 100, 0, 3, 0, Place.FIRST, 1),
        Action(ADD, BUY, 5, 100, 0, 5),
    ),
    "gives up its place": (
        replace(11, 100, 3, flags=Flag.LOSE_PLACE),
        Action(CANCEL, BUY, 3, 100, 0, 3, 0, Place.FIRST, 1),
        Action(ADD, BUY, 3, 100, 0, 3),
    ),
    "moves into the other side": (
        replace(14, 102, 13),
        Action(CANCEL, BUY, 7, 97, 3, 7, 0, Place.ONLY, 1),
        Action(TRADE, BUY, 10, 102, 0, 13, 1),
        Action(ADD, BUY, 3, 102, -2, 3),
    ),
    "an iceberg moves as less than a slice": (
        replace(4, 104, 2),
        Action(CANCEL, SELL, 9, 105, 3, 9, 0, Place.ONLY, 1),
        Action(ADD, SELL, 2, 104, 2, 2),
    ),
    "an iceberg moves as a slice": (
        replace(4, 104, 3),
        Action(CANCEL, SELL, 9, 105, 3, 9, 0, Place.ONLY, 1),
        Action(ADD, SELL, 3, 104, 2, 3),
    ),
    "an iceberg trades down to less than a slice": (
        replace(4, 100, 9),
        Action(CANCEL, SELL, 9, 105, 3, 9, 0, Place.ONLY, 1),
        Action(TRADE, SELL, 8, 100, 0, 9, 1),
        Action(ADD, SELL, 1, 100, -2, 1),
    ),
}
SILENT = {
    "meets nobody": (limit(BUY, 101, 4, 99, tif=IOC), Told.NO_EFFECT),
    "replaced by the same": (replace(3, 103, 5), Told.NO_EFFECT),
    "cannot be filled": (limit(BUY, 102, 11, 99, tif=FOK), Told.REFUSED),
    "would take": (limit(BUY, 102, 1, 99, flags=Flag.POST_ONLY), Told.REFUSED),
    "would take after a move": (replace(14, 103, 1, flags=Flag.POST_ONLY), Told.REFUSED),
    "of somebody else": (cancel(11, owner=3), Told.REFUSED),
    "of nobody": (cancel(77), Told.REFUSED),
    "twice the same id": (limit(BUY, 102, 20, 11), Told.REFUSED),
    "a kind that is none": ((9, *cancel(1)[1:]), Told.REFUSED),
    "too many slices": (replace(4, 104, 2**20), Told.REFUSED),
}


def perform_all(observer: Observer, rows: np.ndarray) -> Performed:
    """Perform the messages one after the other; what the last one was."""
    return [observer.perform(0, rows[n : n + 1], 10**9 * n) for n in range(len(rows))][-1]


def perform(*messages):
    """The parts of the last message on BOOK, and the reason of its last part. The book stays whole:
    that of the messages as they are."""
    rows = batch(*BOOK, *messages)
    # The orders under test are the background's as well, if not said.
    rows["owner"] = np.where(rows["owner"] == 1, 0, rows["owner"])
    books, as_is = Books(1), Books(1)
    observer = Observer(books)
    done = perform_all(observer, rows)
    as_is.process(rows)
    assert books.hash(0) == as_is.hash(0)
    books.check(0)
    return known_fields(done.actions), done.told


@pytest.mark.parametrize("name", [*ADDED, *TAKEN, *LEFT, *IN_PARTS])
def test_a_message_is_its_actions(name):
    message, *expected = {**ADDED, **TAKEN, **LEFT, **IN_PARTS}[name]

    assert perform(message) == (expected, Told.ACTION)


@pytest.mark.parametrize("name", SILENT)
def test_what_does_nothing_is_no_action(name):
    message, reason = SILENT[name]

    assert perform(message) == ([], reason)


def test_orders_in_an_auction_are_no_actions():
    assert perform(auction(), limit(BUY, 105, 3, 99)) == ([], Told.AUCTION)
    assert perform(auction(), limit(BUY, 105, 3, 99, tif=IOC)) == ([], Told.REFUSED)


@pytest.mark.parametrize("stp", list(SelfTrade)[1:])
def test_self_trade_prevention_counts_for_what_it_lets_through(stp):
    """6 lots of another owner, then 5 of the taker's own at the same price, then 4 beyond."""
    rows = batch(
        limit(SELL, 102, 6, 1, owner=0),
        limit(SELL, 102, 5, 2, owner=1),
        limit(SELL, 103, 4, 3, owner=0),
        limit(BUY, 103, 20, 9, owner=1, stp=stp),
    )
    books, observer = Books(1), Observer(parted := Books(1))
    outcome = books.process(rows)
    done = perform_all(observer, rows)

    assert parted.hash(0) == books.hash(0)
    result = outcome.results[-1]
    actions = known_fields(done.actions)
    assert actions[0].kind == TRADE
    assert actions[0].lots == result["filled_lots"]
    stops = stp in (SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH)
    assert (actions[0].price_tick, actions[0].distance_ticks) == ((102, 0) if stops else (103, 1))
    rests = [action.lots for action in actions if action.kind == ADD]
    assert rests == ([result["resting_lots"]] if result["resting_lots"] else [])


def test_an_agent_is_whoever_owns_its_orders():
    books = Books(1)
    observer = Observer(books)
    done = [
        observer.perform(0, batch(limit(BUY, 100, 1, 1 + owner, owner=owner)), 5)
        for owner in (0, 1, 0, 2)
    ]
    agents = [one.actions["agent"].tolist() for one in done]
    # The first order of all has nothing to be told from; the third has the id of the first.
    assert agents == [[], [1], [], [1]]


def test_where_a_side_is_empty_its_last_best_price_is_the_reference():
    def tell(*rows):
        return perform_all(Observer(Books(1)), batch(*rows))

    # Nobody ever rested.
    first = tell(limit(BUY, 100, 1, 1))
    assert (len(first.actions), first.told) == (0, Told.NO_REFERENCE)
    # Only the other side ever had orders: one tick off it, as it is or as it last was.
    assert tell(limit(SELL, 110, 1, 1), limit(BUY, 100, 1, 2)).actions["distance_ticks"] == [9]
    gone = (limit(SELL, 110, 1, 1), cancel(1))
    assert tell(*gone, limit(BUY, 100, 1, 2)).actions["distance_ticks"] == [9]
    # The side had orders: its last best price, unless the other side has come to it.
    had = (limit(SELL, 110, 1, 1), limit(BUY, 105, 1, 2), cancel(2))
    assert tell(*had, limit(BUY, 100, 1, 3)).actions["distance_ticks"] == [5]
    met = (*had, limit(SELL, 104, 1, 4))
    assert tell(*met, limit(BUY, 100, 1, 5)).actions["distance_ticks"] == [3]


# Against a plain telling from the outcome --------------------------------------------------------


class Teller:
    """Tells actions from what a book held and what it answered, without looking ahead."""

    def __init__(self):
        self.books = Books(1)
        self.known: list[int | None] = [None, None]
        self.actions: list[Action] = []

    def see(self, row: np.ndarray) -> None:
        before = self.books.resting(0)
        outcome = self.books.process(row)
        message, result = row[0], outcome.results[0]
        after = self.books.resting(0)
        if result["reject"] == Reject.NONE:
            self._tell(message, result, outcome.fills, before, after)
        self._note(after)

    def _tell(self, message, result, fills, before, after):
        kind, lots = message["kind"], int(message["lots"])
        side = int(result["side"])
        named = before[before["order_id"] == message["order_id"]]
        if kind >= Kind.CANCEL:
            leaves = int(result["cancelled_lots"])
            was = int(result["previous_lots"])
            kept = kind == Kind.REPLACE and self._kept_place(message, named[0])
            if kind == Kind.REPLACE and not kept:
                leaves = was
            if leaves:
                self._left(named[0], before, leaves, was)
            if kind != Kind.REPLACE or kept:
                return
            before = before[before["order_id"] != message["order_id"]]
            self._note(before)
        if len(fills):
            self._took(side, before, fills, lots)
            mine, others = before[before["side"] == side], after[after["side"] != side]
            self._note(np.concatenate([mine, others]))
        if result["resting_lots"]:
            self._added(side, int(result["price_tick"]), int(result["resting_lots"]), before, after)

    def _kept_place(self, message, named) -> bool:
        return bool(
            message["price_tick"] == named["price_tick"]
            and message["lots"] <= named["lots"] + named["hidden_lots"]
            and not message["flags"] & Flag.LOSE_PLACE
        )

    def _left(self, order, before, leaves, was):
        mine = before[before["side"] == order["side"]]
        level = mine[mine["price_tick"] == order["price_tick"]]["order_id"].tolist()
        at = level.index(order["order_id"])
        place = Place.ONLY
        if len(level) > 1:
            place = {0: Place.FIRST, len(level) - 1: Place.LAST}.get(at, Place.MIDDLE)
        price = int(order["price_tick"])
        distance = abs(price - int(mine["price_tick"][0]))
        side = int(order["side"])
        whole = int(leaves == was)
        self.actions.append(Action(CANCEL, side, leaves, price, distance, was, 0, place, whole))

    def _took(self, side, before, fills, asked):
        other = before[before["side"] != side]
        worst = int(fills["price_tick"][-1])
        swept = 0
        for price in np.unique(fills["price_tick"]):
            shown = other["lots"][other["price_tick"] == price].sum()
            swept += fills["lots"][fills["price_tick"] == price].sum() >= shown
        distance = abs(worst - int(other["price_tick"][0]))
        taken = int(fills["lots"].sum())
        self.actions.append(
            Action(TRADE, side, taken, worst, distance, asked, min(int(swept), MOST_SWEPT))
        )

    def _added(self, side, price, lots, before, after):
        sign = 1 if side == BUY else -1
        mine = before[before["side"] == side]["price_tick"]
        other = after[after["side"] != side]["price_tick"]
        if len(mine):
            reference = int(mine[0])
        elif (last := self.known[side]) is not None:
            reference = last
            if len(other):
                reference = sign * min(sign * reference, sign * int(other[0]) - 1)
        elif len(other):
            reference = int(other[0]) - sign
        elif (last := self.known[1 - side]) is not None:
            reference = last - sign
        else:
            return
        self.actions.append(Action(ADD, side, lots, price, sign * (reference - price), lots))

    def _note(self, resting):
        for side in (BUY, SELL):
            mine = resting[resting["side"] == side]
            if len(mine):
                self.known[side] = int(mine["price_tick"][0])


@pytest.mark.parametrize("seed", range(12))
def test_actions_are_what_the_outcome_shows(seed):
    messages = RandomStream(100 + seed).block(1_500)
    messages["stp"] = SelfTrade.ALLOW
    messages = messages[~np.isin(messages["kind"], (Kind.AUCTION, Kind.UNCROSS))]
    teller = Teller()
    for n in range(len(messages)):
        teller.see(messages[n : n + 1])

    actions = passed(recorded(messages)).actions

    assert known_fields(actions) == teller.actions
    assert len(actions) > 100

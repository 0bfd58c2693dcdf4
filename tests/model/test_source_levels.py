"""Price levels to orders: the engine's book is the feed's book, and trades fill as they printed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtsim.engine.batch import Books
from mtsim.engine.events import Origin
from mtsim.engine.messages import Kind, Reject, TimeInForce
from mtsim.engine.units import MAX_LOTS, Side
from mtsim.model.sources.base import BATCH_ROWS, FEED_DTYPE, OWN_IDS, Truth
from mtsim.model.sources.day_source import in_batches
from mtsim.model.sources.levels import L2_DTYPE, Ladder, What, with_syncs


def rows_of(*rows):
    """L2 rows from (what, side, tick, lots), a microsecond apart."""
    made = np.zeros(len(rows), L2_DTYPE)
    for n, (what, side, tick, lots) in enumerate(rows):
        made[n] = (1000 * n, n + 1, lots, tick, side, what, 0)
    return made


def level(side, tick, lots):
    return (What.LEVEL, side, tick, lots)


def printed(side, tick, lots):
    return (What.PRINT, side, tick, lots)


SYNC = (What.SYNC, 0, 0, 0)
OPEN = (What.OPEN, 0, 0, 0)
CLEAR = (What.CLEAR, 0, 0, 0)
MARK = (What.MARK, 0, 0, 0)


def take(side):
    return (What.TAKE, side, 0, 0)


def sent(feed):
    """Messages as (kind, side, tick, lots, number of the order)."""
    return [
        (
            Kind(m["kind"]).name if m["tif"] == TimeInForce.GTC else "TAKE",
            int(m["side"]),
            int(m["price_tick"]),
            int(m["lots"]),
            int(m["order_id"]) - OWN_IDS,
        )
        for m in feed["message"]
    ]


class Market:
    """A feed by level, and the engine that executes what the ladder makes of it."""

    def __init__(self):
        self.ladder = Ladder()
        self.books = Books(1)

    def say(self, *rows):
        feed, _ = self.ladder.convert(rows_of(*rows))
        outcome = self.books.process(np.ascontiguousarray(feed["message"]))
        assert (outcome.results["reject"] == Reject.NONE).all()
        takes = feed["message"]["tif"] == TimeInForce.IOC
        assert outcome.results["filled_lots"][~takes].sum() == 0
        return feed, outcome

    def book(self):
        ticks, lots = self.books.depth(200)
        return tuple(
            {int(t): int(n) for t, n in zip(ticks[0, s], lots[0, s], strict=True) if n}
            for s in range(2)
        )


TOUCH = (level(0, 99, 10), level(1, 101, 10), OPEN)


@st.composite
def histories(draw):
    """Steps of a market around a moving mid: states of the book, and orders that trade."""
    mid = 1000
    steps = []
    for _ in range(draw(st.integers(1, 25))):
        if draw(st.booleans()):
            side = draw(st.integers(0, 1))
            tick = mid + draw(st.integers(-2, 2))
            prints = []
            for _ in range(draw(st.integers(1, 4))):
                prints.append((tick, draw(st.integers(1, 30))))
                tick += draw(st.integers(0, 2)) * (-1 if side else 1)
            steps.append(("trade", side, prints))
        else:
            mid += draw(st.integers(-3, 3))
            offsets = st.tuples(st.integers(0, 1), st.integers(1, 6), st.integers(0, 40))
            changes = draw(st.lists(offsets, max_size=8))
            levels = [(s, mid + (d if s else -d), lots) for s, d, lots in changes]
            steps.append(("book", mid, levels))
    return steps


@settings(max_examples=150, deadline=None)
@given(history=histories())
def test_after_every_sync_the_book_shows_what_the_feed_shows(history):
    """And every trade fills at the prices and with the lots that it printed."""
    market = Market()
    shown = {}
    for kind, *said in history:
        if kind == "trade":
            side, prints = said
            _, outcome = market.say(*(printed(side, *each) for each in prints), take(side))
            filled, wanted = Counter(), Counter()
            for fill in outcome.fills:
                filled[int(fill["price_tick"])] += int(fill["lots"])
            for tick, lots in prints:
                wanted[tick] += lots
            assert filled == wanted
        else:
            mid, levels = said
            gone = [(s, t) for s, t in shown if (t >= mid if s == 0 else t <= mid)]
            for each in gone:
                del shown[each]
            shown.update({(s, t): lots for s, t, lots in levels})
            market.say(*(level(s, t, 0) for s, t in gone), *(level(*each) for each in levels), SYNC)
            for side in range(2):
                there = {t: lots for (s, t), lots in shown.items() if s == side and lots}
                assert market.book()[side] == there


@settings(max_examples=50, deadline=None)
@given(history=histories(), cuts=st.sets(st.integers(1, 200)))
def test_where_rows_are_cut_makes_no_difference(history, cuts):
    """Between a level and its SYNC, or a print and its TAKE, a reader may stop."""
    rows = []
    for kind, *said in history:
        if kind == "trade":
            side, prints = said
            rows += [printed(side, *each) for each in prints] + [take(side), MARK]
        else:
            rows += [level(*each) for each in said[1]] + [SYNC, MARK]
    rows = rows_of(*rows)
    whole, marks = Ladder().convert(rows)

    ladder = Ladder()
    parts = [
        ladder.convert(part) for part in np.split(rows, sorted(c for c in cuts if c < len(rows)))
    ]

    assert np.concatenate([feed for feed, _ in parts]).tobytes() == whole.tobytes()
    starts = np.cumsum([0] + [len(feed) for feed, _ in parts])
    assert (
        np.concatenate(
            [start + marks for start, (_, marks) in zip(starts, parts, strict=False)]
        ).tolist()
        == marks.tolist()
    )


def test_a_level_that_grows_gets_a_new_order_at_its_back():
    market = Market()
    market.say(*TOUCH)

    feed, _ = market.say(level(0, 99, 25), SYNC)

    assert sent(feed) == [("LIMIT", 0, 99, 15, 2)]
    assert market.books.orders_at(0, Side.BUY, 99)["lots"].tolist() == [10, 15]


def test_a_level_that_shrinks_loses_its_latest_orders():
    """Whole ones are cancelled, the last one is reduced and keeps its place."""
    market = Market()
    market.say(*TOUCH)
    market.say(level(0, 99, 15), SYNC)
    market.say(level(0, 99, 22), SYNC)

    feed, _ = market.say(level(0, 99, 8), SYNC)

    assert sent(feed) == [("CANCEL", 0, 99, 7, 3), ("CANCEL", 0, 99, 5, 2), ("REDUCE", 0, 99, 2, 0)]


def test_a_decrease_that_a_trade_explains_is_no_cancel():
    market = Market()
    market.say(*TOUCH)
    feed, _ = market.say(printed(0, 101, 4), take(0))
    assert sent(feed) == [("TAKE", 0, 101, 4, 2)]
    assert feed["origin"].tolist() == [Origin.OBSERVED]

    feed, _ = market.say(level(1, 101, 6), SYNC)

    assert len(feed) == 0


def test_a_trade_that_the_feed_does_not_confirm_is_made_good():
    """A level that no later state names still shows what it showed."""
    market = Market()
    market.say(*TOUCH)
    market.say(printed(0, 101, 4), take(0))

    market.say(level(0, 98, 1), SYNC)

    assert market.book()[1] == {101: 10}


def test_a_trade_passes_no_level_by():
    """What stood at a better price is cancelled before it: the trade is newer than the book."""
    market = Market()
    market.say(*TOUCH, level(1, 103, 5), SYNC)

    feed, _ = market.say(printed(0, 103, 5), take(0))

    assert sent(feed) == [("CANCEL", 1, 101, 10, 1), ("TAKE", 0, 103, 5, 3)]
    assert market.ladder.repaired() == {"order cancelled before a trade that passed it by": 1}


def test_a_trade_finds_what_it_traded():
    """Lots that the level did not show are added, and bids that stood there are gone."""
    market = Market()
    market.say(*TOUCH)

    feed, outcome = market.say(printed(0, 99, 3), printed(0, 101, 12), take(0))

    assert sent(feed) == [
        ("CANCEL", 0, 99, 10, 0),
        ("LIMIT", 1, 99, 3, 2),
        ("LIMIT", 1, 101, 2, 3),
        ("TAKE", 0, 101, 15, 4),
    ]
    assert outcome.results["filled_lots"].tolist() == [0, 0, 0, 15]
    assert feed["origin"].tolist() == [Origin.INFERRED] * 3 + [Origin.OBSERVED]


def test_levels_leave_before_levels_come():
    """A book that moved by more than its spread is not crossed on the way."""
    market = Market()
    market.say(*TOUCH)

    market.say(level(0, 105, 3), level(0, 99, 0), level(1, 101, 0), level(1, 106, 4), SYNC)

    assert market.book() == ({105: 3}, {106: 4})


def test_a_level_that_crosses_a_newer_one_waits_outside_the_book():
    market = Market()
    market.say(*TOUCH)

    market.say(level(0, 102, 5), SYNC)
    assert market.book() == ({102: 5, 99: 10}, {})
    assert market.ladder.repaired() == {"order cancelled under a newer level that crosses it": 1}

    market.say(level(0, 102, 0), SYNC)
    assert market.book() == ({99: 10}, {101: 10})


def test_a_snapshot_replaces_the_book():
    market = Market()
    market.say(*TOUCH)

    feed, _ = market.say(CLEAR, level(0, 99, 4), level(1, 100, 1), OPEN)

    assert market.book() == ({99: 4}, {100: 1})
    assert set(feed["origin"]) == {Origin.OPENING}


def test_the_book_of_one_day_opens_the_next():
    market = Market()
    market.say(*TOUCH, level(0, 98, 7), level(1, 105, 2), SYNC)
    tomorrow = Market()

    feed, _ = tomorrow.ladder.convert(market.ladder.opening())
    tomorrow.books.process(np.ascontiguousarray(feed["message"]))

    assert tomorrow.book() == market.book() == ({99: 10, 98: 7}, {101: 10, 105: 2})
    assert set(feed["origin"]) == {Origin.OPENING}
    assert len(Ladder().opening()) == 0


def test_more_lots_than_one_order_holds_are_several_orders():
    market = Market()
    lots = 2 * MAX_LOTS + 5

    feed, _ = market.say(level(1, 101, lots), OPEN, printed(0, 101, lots - 1), take(0))

    assert feed["message"]["lots"].tolist() == [MAX_LOTS, MAX_LOTS, 5, MAX_LOTS, MAX_LOTS, 4]
    assert market.book()[1] == {101: 1}
    assert len(set(feed["message"]["order_id"])) == 6


def test_a_state_of_very_many_levels_goes_out_in_one_sync():
    """More messages than the ladder first has room for, and all of them again on the way out."""
    market = Market()
    levels = [level(s, 50_000 + (t if s else -t), 1) for s in range(2) for t in range(1, 15_001)]

    feed, _ = market.say(*levels, OPEN)
    gone, _ = market.say(CLEAR, SYNC)

    assert len(feed) == len(gone) == 30_000
    assert market.book() == ({}, {})


def test_marks_say_after_how_many_messages_they_stand():
    feed, marks = Ladder().convert(
        rows_of(MARK, *TOUCH, MARK, level(0, 99, 3), level(0, 98, 3), SYNC, MARK)
    )

    assert (len(feed), marks.tolist()) == (4, [0, 2, 4])


def test_rows_of_one_time_are_one_state():
    rows = rows_of(level(0, 99, 1), level(0, 98, 1), level(1, 101, 1))
    rows["time_ns"] = 5, 5, 7

    assert with_syncs(rows)["what"].tolist() == [
        What.LEVEL,
        What.LEVEL,
        What.SYNC,
        What.LEVEL,
        What.SYNC,
    ]
    assert len(with_syncs(rows[:0])) == 0


@pytest.mark.parametrize("n_messages", [0, 1, BATCH_ROWS, BATCH_ROWS + 1, 2 * BATCH_ROWS + 7])
def test_batches_are_bounded_and_keep_every_snapshot_in_its_place(n_messages):
    feed = np.zeros(n_messages, FEED_DTYPE)
    feed["row"] = np.arange(n_messages)
    after = np.unique(np.clip([0, 1, BATCH_ROWS, BATCH_ROWS + 1, n_messages], 0, n_messages))
    truth = Truth(
        after, after, np.zeros((len(after), 2, 1), np.int32), np.zeros((len(after), 2, 1))
    )

    found, start = [], 0
    for batch in in_batches(feed, truth):
        assert len(batch.feed) <= BATCH_ROWS
        assert batch.feed["row"].tolist() == list(range(start, start + len(batch.feed)))
        found += [] if batch.truth is None else (start + batch.truth.after).tolist()
        start += len(batch.feed)

    assert found == after.tolist()
    assert start == n_messages

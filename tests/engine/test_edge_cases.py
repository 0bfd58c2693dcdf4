"""Bugs that published matching engines have had, one test each, named after the bug."""

import numpy as np
import pytest

from mtsim.engine.book import Book
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, Reject, TimeInForce
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, MAX_TICK, MIN_TICK
from tests.engine.asking import accept, answer, ids, line, reason, send, trades
from tests.engine.streams import (
    BUY,
    SELL,
    batch,
    cancel,
    limit,
    market,
    reduce,
    replace,
)


def test_fill_at_the_takers_price(make_book):
    """A trade is at the price of the order that was there first, not of the one that came."""
    book = make_book()
    accept(book, limit(SELL, 100, 5, 1), limit(BUY, 90, 5, 2))

    assert trades(accept(book, limit(BUY, 107, 3, 3))) == [(1, 3, 100, 3)]
    assert trades(accept(book, limit(SELL, 80, 3, 4))) == [(2, 4, 90, 3)]


def test_remainder_walking_through_its_own_limit(make_book):
    """Once its limit is reached an order rests, with more lots waiting just beyond."""
    book = make_book()
    accept(book, limit(SELL, 100, 1, 1), limit(SELL, 101, 1, 2), limit(SELL, 102, 9, 3))

    outcome = accept(book, limit(BUY, 101, 5, 4))

    assert trades(outcome) == [(1, 4, 100, 1), (2, 4, 101, 1)]
    assert (line(book, BUY), line(book, SELL)) == ([(4, 101, 3, 0)], [(3, 102, 9, 0)])


def test_modify_that_crosses_but_rests(make_book):
    """A replace whose new price crosses trades at once; the book never stays crossed."""
    book = make_book()
    accept(book, limit(BUY, 99, 5, 1), limit(SELL, 101, 3, 2), limit(SELL, 103, 3, 3))

    outcome = accept(book, replace(1, 102, 5))

    assert trades(outcome) == [(2, 1, 101, 3)]
    assert book.touch() == (102, 103)


def test_swap_and_pop_cancel_breaking_fifo(make_book):
    """A cancel closes the gap; it does not move the last of the line into it."""
    book = make_book()
    accept(book, *(limit(BUY, 100, 1, order_id) for order_id in range(1, 7)))

    accept(book, cancel(2), cancel(4), cancel(1))

    assert book.orders_at(BUY, 100) == [3, 5, 6]
    outcome = accept(book, market(SELL, 3, 9))
    assert [maker_id for maker_id, *_ in trades(outcome)] == [3, 5, 6]


@pytest.mark.parametrize("gone", [1, 2, 3, 4])
def test_cancel_of_a_non_tail_order_losing_those_behind(make_book, gone):
    """Whoever leaves, all others stay in line, and newcomers still queue behind them."""
    book = make_book()
    accept(book, *(limit(SELL, 100, order_id, order_id) for order_id in range(1, 5)))

    accept(book, cancel(gone), limit(SELL, 100, 9, 9))

    left = [order_id for order_id in (1, 2, 3, 4, 9) if order_id != gone]
    assert book.orders_at(SELL, 100) == left
    assert book.lots_at(SELL, 100) == sum(left)


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize("leave", ["cancel", "reduce", "replace", "trade"])
def test_phantom_best_after_the_top_level_is_cancelled(make_book, side, leave):
    """When the best level empties, the touch moves to the next one that has orders, near or far."""
    book = make_book()
    away = -1 if side == BUY else 1
    distances = [0, 1, 64, 65, 4_000, 70_000]
    ticks = [100 + away * distance for distance in distances]
    accept(book, *(limit(side, tick, 5, i + 1) for i, tick in enumerate(ticks)))

    for order_id, expected in enumerate(ticks[1:], start=1):
        if leave == "cancel":
            accept(book, cancel(order_id))
        elif leave == "reduce":
            accept(book, reduce(order_id, 5))
        elif leave == "replace":
            accept(book, replace(order_id, 100 + away * 90_000, 5))
        else:
            accept(book, market(side.opposite, 5, 99))
        assert book.touch()[side] == expected
        assert answer(book, market(side.opposite, 1, 98))["price_tick"] == expected
        assert book.depth(side, 1) == [(expected, 4)]
        accept(book, replace(order_id + 1, expected, 5))


def test_phantom_best_after_the_last_order_is_cancelled(make_book):
    """An empty side has no best, and nothing to trade with."""
    book = make_book()
    accept(book, limit(BUY, 100, 5, 1), limit(SELL, 101, 5, 2), cancel(1), cancel(2))

    assert book.touch() == (EMPTY_BID, EMPTY_ASK)
    assert trades(accept(book, market(BUY, 5, 3), market(SELL, 5, 3))) == []


def test_unknown_or_repeated_cancel_acknowledged(make_book):
    """Each is refused, whether the order never was, was cancelled, or traded."""
    book = make_book()
    accept(book, limit(BUY, 100, 5, 1), limit(BUY, 100, 5, 2), cancel(1), market(SELL, 5, 3))

    for order_id in (1, 2, 3, 4):
        for row in (cancel(order_id), reduce(order_id, 1), replace(order_id, 100, 1)):
            assert reason(book, row) is Reject.UNKNOWN_ORDER


def test_duplicate_live_id(make_book):
    """A second order with the id of a resting one is refused, and the first is untouched."""
    book = make_book()
    accept(book, limit(BUY, 100, 5, 7), limit(SELL, 105, 5, 8))

    for row in (
        limit(BUY, 101, 6, 7),
        limit(SELL, 100, 6, 7),
        limit(SELL, 100, 6, 7, tif=TimeInForce.IOC),
        market(SELL, 6, 7),
        market(BUY, 6, 8),
    ):
        assert reason(book, row) is Reject.DUPLICATE_ID
    assert (line(book, BUY), line(book, SELL)) == ([(7, 100, 5, 0)], [(8, 105, 5, 0)])


def test_id_reuse_after_fill(make_book):
    """An id whose order has traded names the new order, not the old one's place."""
    book = make_book()
    accept(book, limit(BUY, 100, 5, 7), limit(BUY, 100, 5, 8), market(SELL, 5, 9))

    accept(book, limit(SELL, 103, 2, 7), limit(BUY, 100, 1, 9))

    assert (ids(book, BUY), ids(book, SELL)) == ([8, 9], [7])
    assert answer(book, cancel(7))["cancelled_lots"] == 2
    assert book.lots_at(BUY, 100) == 6


def test_ioc_remainder_resting(make_book):
    """What an IOC order cannot trade leaves: no order, no level, and the id is free."""
    book = make_book()
    accept(book, limit(SELL, 100, 2, 1))

    told = answer(book, limit(BUY, 100, 5, 2, tif=TimeInForce.IOC))

    assert (told["filled_lots"], told["cancelled_lots"], told["resting_lots"]) == (2, 3, 0)
    assert len(book.resting()) == 0
    assert reason(book, cancel(2)) is Reject.UNKNOWN_ORDER


def test_partial_fill_losing_its_place(make_book):
    """Whoever is partly filled is still first in line for the next one."""
    book = make_book()
    accept(book, limit(SELL, 100, 5, 1), limit(SELL, 100, 5, 2))

    outcome = accept(book, market(BUY, 2, 9), market(BUY, 2, 9), market(BUY, 2, 9))

    assert trades(outcome) == [(1, 9, 100, 2), (1, 9, 100, 2), (1, 9, 100, 1), (2, 9, 100, 1)]


@pytest.mark.parametrize("distance", [64, 1_024, 4_096, 65_536, 2**20, 2**28])
def test_price_index_collision_between_sides(make_book, distance):
    """Bids and asks whose ticks share their low bits, or their size, are different levels."""
    book = make_book()
    accept(
        book,
        limit(BUY, 100, 1, 1),
        limit(SELL, 100 + distance, 2, 2),
        limit(BUY, 100 - distance, 3, 3),
        limit(SELL, 100 + 2 * distance, 4, 4),
        limit(BUY, -100, 5, 5),
    )

    assert book.depth(SELL, 5) == [(100 + distance, 2), (100 + 2 * distance, 4)]
    assert sorted(book.depth(BUY, 5)) == sorted([(100, 1), (-100, 5), (100 - distance, 3)])
    accept(book, cancel(1), cancel(2))
    assert book.touch() == (max(-100, 100 - distance), 100 + 2 * distance)
    assert book.lots_at(SELL, 100) == book.lots_at(BUY, 100 + distance) == 0


def test_a_fixed_price_band_dropping_far_orders(make_book):
    """Orders at every distance rest, can be asked for, and trade when the market gets there."""
    book = make_book()
    asks = [2**k for k in range(31)]
    accept(book, *(limit(SELL, tick, 3, k + 1) for k, tick in enumerate(asks)))
    accept(book, *(limit(BUY, -tick, 3, k + 101) for k, tick in enumerate(asks)))

    assert book.depth(SELL, 99) == [(tick, 3) for tick in asks]
    assert book.depth(BUY, 99) == [(-tick, 3) for tick in asks]
    assert (book.lots_at(SELL, MAX_TICK), book.lots_at(BUY, MIN_TICK)) == (3, 3)
    accept(book, limit(SELL, MAX_TICK, 1, 50), reduce(31, 1))
    assert book.orders_at(SELL, MAX_TICK) == [31, 50]

    outcome = accept(book, market(BUY, 3 * 31, 99), market(SELL, 3 * 30, 99))

    assert [tick for *_, tick, _ in trades(outcome)][:31] == asks
    assert line(book, BUY) == [(131, MIN_TICK, 3, 0)]
    assert line(book, SELL) == []


def test_a_market_that_moves_away_and_comes_back(make_book):
    """Orders left far behind keep their places, and are best again when the market returns."""
    book = make_book()
    accept(book, limit(BUY, 0, 1, 1), limit(BUY, 0, 2, 2), limit(SELL, 3, 1, 3))
    for step in range(1, 60):
        tick = step * 1_000
        accept(book, replace(3, tick + 3, 1), limit(BUY, tick, 1, 10 + step))
    assert book.touch() == (59_000, 59_003)

    for step in range(59, 0, -1):
        assert trades(accept(book, market(SELL, 1, 9)))[0][2] == step * 1_000
    accept(book, limit(BUY, 0, 4, 4), replace(3, 3, 1))

    assert book.orders_at(BUY, 0) == [1, 2, 4]
    assert book.touch() == (0, 3)


def churn(n: int) -> np.ndarray:
    """`n` times an order and its end: cancelled, reduced away, traded, or never resting."""
    messages = np.zeros((n, 2), MESSAGE_DTYPE)
    messages["order_id"] = np.arange(1, n + 1)[:, None]
    messages["price_tick"] = 100 - np.arange(n)[:, None] % 7
    messages["lots"] = 9
    messages["kind"][:, 1] = np.resize([Kind.CANCEL, Kind.REDUCE, Kind.LIMIT, Kind.LIMIT], n)
    messages["display_lots"][::3, 0] = 2
    traded = messages["kind"][:, 1] == Kind.LIMIT
    messages["side"][traded, 1] = SELL
    messages["order_id"][traded, 1] += n
    return messages.reshape(-1)


def test_slot_leak_on_cancel(make_book):
    """Orders that come and go leave nothing behind, however many they were."""
    book = make_book()
    accept(book, limit(BUY, 1, 5, 10**9))
    empty = book.hash()

    outcome = book.process(churn(5_000))

    book.check()
    assert not outcome.results["reject"].any()
    assert book.hash() == empty
    assert book.total_lots(BUY) == 5


def test_slot_leak_on_cancel_is_none_of_memory():
    """The Numba book needs no more room after 200,000 orders than after 100."""
    book = Book(slots=1)
    book.process(churn(100))
    room = len(book.snapshot().to_bytes())

    book.process(churn(200_000))

    assert len(book.snapshot().to_bytes()) == room


ID_PATTERNS = {
    "dense": lambda n: np.arange(1, n + 1),
    "low bits alike": lambda n: np.arange(1, n + 1) << 40,
    "high bits alike": lambda n: 2**62 + np.arange(n),
    "strided": lambda n: 1 + np.arange(n) * 65_536,
    "golden": lambda n: np.unique(
        (np.arange(1, n + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(1)
    ).astype(np.int64),
}


@pytest.mark.parametrize("pattern", ID_PATTERNS.values(), ids=ID_PATTERNS.keys())
def test_id_table_overflow(make_book, pattern):
    """Thousands of live ids of any pattern are all found, and still are when half have gone."""
    n = 6_000
    book = make_book()
    order_ids = pattern(n)
    adds = np.zeros(n, MESSAGE_DTYPE)
    adds["order_id"] = order_ids
    adds["lots"] = 1 + np.arange(n) % 50
    adds["price_tick"] = np.arange(n) % 300
    removals = np.zeros(n, MESSAGE_DTYPE)
    removals["kind"] = Kind.CANCEL
    removals["order_id"] = order_ids

    assert not book.process(adds).results["reject"].any()
    assert (book.process(adds).results["reject"] == Reject.DUPLICATE_ID).all()
    assert not book.process(removals[::2]).results["reject"].any()
    assert (book.process(removals[::2]).results["reject"] == Reject.UNKNOWN_ORDER).all()
    book.check()
    found = book.process(removals[1::2]).results
    assert not found["reject"].any()
    assert np.array_equal(found["cancelled_lots"], adds["lots"][1::2])
    assert len(book.resting()) == 0


def test_full_rings(make_book):
    """One sweep through more orders than any first buffer holds reports each of them."""
    n = 20_000
    book = make_book()
    makers = np.zeros(n, MESSAGE_DTYPE)
    makers["side"] = SELL
    makers["order_id"] = np.arange(1, n + 1)
    makers["lots"] = 1
    makers["price_tick"] = np.arange(n) % 97
    book.process(makers)

    outcome = send(book, market(BUY, n + 5, n + 1))

    assert (outcome.results["filled_lots"][0], outcome.results["n_fills"][0]) == (n, n)
    expected = np.argsort(makers["price_tick"], kind="stable") + 1
    assert np.array_equal(outcome.fills["maker_id"], expected)


def test_stale_messages_after_an_id_came_back(make_book):
    """A late cancel of an old order names the new one of the same id; its owner protects it."""
    book = make_book()
    outcome = book.process(
        batch(
            limit(BUY, 100, 5, 1, owner=1),
            cancel(1, owner=1),
            limit(BUY, 101, 6, 1, owner=2),
            cancel(1, owner=1),
            cancel(1, owner=2),
        )
    )

    refused = [Reject.NONE, Reject.NONE, Reject.NONE, Reject.NOT_OWNER, Reject.NONE]
    assert outcome.results["reject"].tolist() == refused
    assert outcome.results["cancelled_lots"].tolist() == [0, 5, 0, 0, 6]

"""The contract of an order book, continued: the call auction and its uncross."""

import pytest

from mtsim.engine.messages import Flag, Phase, Reject, SelfTrade, TimeInForce
from mtsim.engine.units import EMPTY_BID, MAX_LOTS, MAX_TICK, MIN_TICK
from tests.engine.asking import accept, answer, fills, ids, line, reason, send, trades
from tests.engine.streams import (
    BUY,
    SELL,
    Row,
    auction,
    cancel,
    limit,
    market,
    reduce,
    replace,
    uncross,
)


def collected(make_book, *rows: Row):
    """A book in an auction that has collected these messages."""
    book = make_book()
    accept(book, auction(), *rows)
    return book


# The phase ----------------------------------------------------------------------------------------


def test_auctions_begin_and_end(make_book):
    """AUCTION only outside one, UNCROSS only inside; the phase is in every result."""
    book = make_book()

    results = send(book, uncross(0), auction(), auction(), uncross(0), uncross(0)).results

    wrong, fine = Reject.WRONG_PHASE, Reject.NONE
    assert results["reject"].tolist() == [wrong, fine, wrong, fine, wrong]
    assert results["phase"].tolist() == [0, 1, 1, 0, 0]
    assert book.phase is Phase.CONTINUOUS


@pytest.mark.parametrize(
    "row",
    [
        limit(BUY, 100, 5, 9, tif=TimeInForce.IOC),
        limit(BUY, 100, 5, 9, tif=TimeInForce.FOK),
        limit(BUY, 100, 5, 9, tif=200),
        limit(BUY, 100, 5, 9, flags=Flag.POST_ONLY),
        limit(BUY, 100, 5, 9, flags=Flag.POST_ONLY | 64),
        limit(9, MAX_TICK + 1, 0, 0, flags=Flag.POST_ONLY, stp=9),
        market(BUY, 5, 9),
        market(BUY, 5, 9, tif=TimeInForce.FOK),
        market(7, 0, 0, tif=9),
        replace(1, 100, 5, flags=Flag.POST_ONLY),
        replace(1, 90, 5, flags=Flag.POST_ONLY),
        replace(77, 90, 0, flags=Flag.POST_ONLY | 64, stp=9),
    ],
)
def test_only_plain_orders_enter_an_auction(make_book, row):
    """The rest is WRONG_PHASE, however wrong it is besides."""
    book = collected(make_book, limit(BUY, 100, 5, 1))

    assert reason(book, row) is Reject.WRONG_PHASE


def test_other_mistakes_in_an_auction_keep_their_reasons(make_book):
    """LOSE_PLACE on a LIMIT and a replace that is not GTC fit no phase."""
    book = collected(make_book, limit(BUY, 100, 5, 1))

    assert reason(book, limit(BUY, 100, 5, 9, flags=Flag.LOSE_PLACE)) is Reject.BAD_INSTRUCTION
    assert reason(book, replace(1, 100, 5, tif=TimeInForce.IOC)) is Reject.BAD_INSTRUCTION
    assert reason(book, limit(BUY, 100, 5, 1)) is Reject.DUPLICATE_ID


def test_nothing_trades_in_an_auction(make_book):
    """Orders that cross rest; the book is crossed, and the touch says so."""
    book = make_book()
    accept(book, limit(BUY, 100, 5, 1), limit(SELL, 102, 5, 2), auction())

    outcome = accept(
        book,
        limit(SELL, 99, 5, 3),
        limit(BUY, 104, 30, 4, display_lots=10, stp=SelfTrade.CANCEL_BOTH),
        replace(1, 103, 6, stp=SelfTrade.CANCEL_NEWEST),
    )

    assert len(outcome.fills) == 0
    assert outcome.results["resting_lots"].tolist() == [5, 30, 6]
    assert book.touch() == (104, 99)
    assert line(book, BUY) == [(4, 104, 10, 20), (1, 103, 6, 0)]
    assert line(book, SELL) == [(3, 99, 5, 0), (2, 102, 5, 0)]
    assert book.depth(BUY, 5) == [(104, 10), (103, 6)]


def test_both_sides_may_rest_at_one_tick(make_book):
    """A level belongs to a side, even when the other side has one at the same tick."""
    book = collected(
        make_book,
        limit(BUY, 100, 5, 1),
        limit(SELL, 100, 7, 2),
        limit(BUY, 100, 3, 3),
        limit(SELL, 100, 1, 4),
    )

    assert (book.lots_at(BUY, 100), book.lots_at(SELL, 100)) == (8, 8)
    assert (book.orders_at(BUY, 100), book.orders_at(SELL, 100)) == ([1, 3], [2, 4])
    assert (book.queue_ahead(3), book.queue_ahead(4)) == (5, 7)
    accept(book, cancel(1))
    assert (book.orders_at(BUY, 100), book.orders_at(SELL, 100)) == ([3], [2, 4])
    accept(book, cancel(3))
    assert book.touch() == (EMPTY_BID, 100)


def test_cancel_reduce_and_replace_work_in_an_auction(make_book):
    """As ever, but that nothing trades: shrinking keeps the place, anything else loses it."""
    book = collected(
        make_book,
        limit(BUY, 100, 5, 1),
        limit(SELL, 90, 5, 2),
        limit(BUY, 100, 5, 3),
        limit(BUY, 100, 5, 4),
    )

    accept(book, reduce(1, 2), replace(3, 100, 4), cancel(2))
    assert line(book, BUY) == [(1, 100, 3, 0), (3, 100, 4, 0), (4, 100, 5, 0)]
    accept(book, replace(1, 100, 4), replace(3, 100, 4, flags=Flag.LOSE_PLACE))
    assert ids(book, BUY) == [4, 1, 3]


# The price of the uncross -------------------------------------------------------------------------

PRICES = [
    pytest.param([(BUY, 105, 10), (SELL, 100, 4), (SELL, 103, 6)], 0, 103, 10, id="most lots"),
    pytest.param([(BUY, 105, 10), (SELL, 100, 4)], 0, 105, 4, id="more bids: highest"),
    pytest.param([(BUY, 105, 4), (SELL, 100, 10)], 999, 100, 4, id="more asks: lowest"),
    pytest.param([(BUY, 105, 4), (SELL, 100, 4)], 103, 103, 4, id="balanced: the reference"),
    pytest.param([(BUY, 105, 4), (SELL, 100, 4)], 100, 100, 4, id="the reference at the low end"),
    pytest.param([(BUY, 105, 4), (SELL, 100, 4)], 99, 100, 4, id="nearest to a lower reference"),
    pytest.param([(BUY, 105, 4), (SELL, 100, 4)], 106, 105, 4, id="nearest to a higher one"),
    pytest.param([(BUY, 105, 4), (SELL, 100, 4)], MIN_TICK, 100, 4, id="a reference far below"),
    pytest.param([(BUY, 105, 4), (SELL, 100, 4)], MAX_TICK, 105, 4, id="a reference far above"),
    pytest.param([(BUY, 100, 4), (SELL, 100, 9)], 50, 100, 4, id="one tick"),
    # 10 trade at 101 to 104, where 15 are bid up to 103 and 12 at 104.
    pytest.param(
        [(BUY, 104, 12), (BUY, 103, 3), (SELL, 101, 10), (SELL, 105, 7)],
        0,
        104,
        10,
        id="smallest imbalance",
    ),
    # 4 trade at 100 to 105: up to 102 two more are bid than asked, from 103 on two more are asked.
    pytest.param(
        [(BUY, 105, 4), (BUY, 102, 2), (SELL, 100, 4), (SELL, 103, 2)], 0, 100, 4, id="tie: low"
    ),
    pytest.param(
        [(BUY, 105, 4), (BUY, 102, 2), (SELL, 100, 4), (SELL, 103, 2)], 102, 102, 4, id="tie: bids"
    ),
    pytest.param(
        [(BUY, 105, 4), (BUY, 102, 2), (SELL, 100, 4), (SELL, 103, 2)], 103, 103, 4, id="tie: asks"
    ),
    pytest.param(
        [(BUY, 105, 4), (BUY, 102, 2), (SELL, 100, 4), (SELL, 103, 2)], 900, 105, 4, id="tie: high"
    ),
    pytest.param([(BUY, 100, 4), (SELL, 101, 9)], 50, 50, 0, id="nothing crosses"),
    pytest.param([(BUY, 100, 4)], -7, -7, 0, id="no asks"),
    pytest.param([(SELL, 100, 4)], 7, 7, 0, id="no bids"),
    pytest.param([], MAX_TICK, MAX_TICK, 0, id="nobody"),
    pytest.param([(BUY, MAX_TICK, 4), (SELL, MIN_TICK, 4)], 3, 3, 4, id="all ticks there are"),
    pytest.param([(BUY, MAX_TICK, 5), (SELL, MIN_TICK, 4)], 3, MAX_TICK, 4, id="to the top"),
    pytest.param([(BUY, MAX_TICK, 4), (SELL, MIN_TICK, 5)], 3, MIN_TICK, 4, id="to the bottom"),
]


@pytest.mark.parametrize(("orders", "reference_tick", "price_tick", "lots"), PRICES)
def test_the_uncross_price(make_book, orders, reference_tick, price_tick, lots):
    """Rules 1 to 4, each with its ties."""
    rows = [limit(side, tick, size, i + 1) for i, (side, tick, size) in enumerate(orders)]
    book = collected(make_book, *rows)

    outcome = accept(book, uncross(reference_tick))

    result = outcome.results[0]
    assert (result["price_tick"], result["filled_lots"]) == (price_tick, lots)
    assert set(outcome.fills["price_tick"].tolist()) == ({price_tick} if lots else set())
    assert book.touch()[0] < book.touch()[1]


def test_hidden_lots_make_the_price(make_book):
    """All open lots count, not only those that are displayed."""
    book = collected(make_book, limit(BUY, 105, 30, 1, display_lots=1), limit(SELL, 100, 20, 2))

    told = answer(book, uncross(0))

    assert (told["price_tick"], told["filled_lots"]) == (105, 20)


def test_volumes_beyond_32_bits_make_the_price(make_book):
    """Demand and supply are summed without overflow."""
    book = collected(
        make_book,
        *(limit(BUY, 105, MAX_LOTS, i) for i in range(1, 6)),
        *(limit(SELL, 100, MAX_LOTS, i) for i in range(11, 15)),
    )

    told = answer(book, uncross(0))

    assert (told["price_tick"], told["filled_lots"], told["n_fills"]) == (105, 4 * MAX_LOTS, 4)


# The trades of the uncross ------------------------------------------------------------------------


def test_both_sides_trade_in_priority_at_one_price(make_book):
    """Better-priced orders first, then older ones; the older of the two in a fill is the maker."""
    book = collected(
        make_book,
        limit(BUY, 102, 4, 1),
        limit(SELL, 101, 3, 2),
        limit(BUY, 103, 5, 3),
        limit(SELL, 100, 4, 4),
        limit(BUY, 102, 9, 5),
        limit(SELL, 102, 5, 6),
    )

    outcome = accept(book, uncross(0))

    # 4 before 2 before 6 sell, 3 before 1 before 5 buy.
    assert trades(outcome) == [
        (3, 4, 102, 4),
        (2, 3, 102, 1),
        (1, 2, 102, 2),
        (1, 6, 102, 2),
        (5, 6, 102, 3),
    ]
    assert outcome.fills["taker_side"].tolist() == [SELL, BUY, SELL, SELL, SELL]
    assert outcome.fills["maker_open_lots"].tolist() == [1, 2, 2, 0, 6]
    assert line(book, BUY) == [(5, 102, 6, 0)]
    assert line(book, SELL) == []


def test_orders_from_before_the_auction_are_older(make_book):
    """Places count over both sides of a book and its whole life."""
    book = make_book()
    accept(book, limit(SELL, 100, 5, 1), auction(), limit(BUY, 100, 5, 2))
    assert trades(accept(book, uncross(0))) == [(1, 2, 100, 5)]

    accept(book, limit(BUY, 100, 5, 1), auction(), limit(SELL, 100, 5, 2))
    assert trades(accept(book, uncross(0))) == [(1, 2, 100, 5)]


def test_a_replace_in_the_auction_makes_an_order_young(make_book):
    """Unless it shrinks in place."""
    book = collected(make_book, limit(BUY, 100, 5, 1), limit(SELL, 100, 9, 2))
    accept(book, replace(1, 100, 4))
    assert trades(accept(book, uncross(0))) == [(1, 2, 100, 4)]

    accept(book, auction(), limit(BUY, 100, 5, 3), replace(2, 100, 4, flags=Flag.LOSE_PLACE))
    assert trades(accept(book, uncross(0))) == [(3, 2, 100, 4)]


def test_icebergs_uncross_slice_by_slice(make_book):
    """Each slice takes a new place: behind its level, and younger than the order it meets."""
    book = collected(
        make_book,
        limit(BUY, 100, 9, 1, display_lots=3),
        limit(BUY, 100, 4, 2),
        limit(SELL, 100, 20, 3),
    )

    outcome = accept(book, uncross(0))

    assert trades(outcome) == [
        (1, 3, 100, 3),
        (2, 3, 100, 4),
        (3, 1, 100, 3),
        (3, 1, 100, 3),
    ]
    assert line(book, SELL) == [(3, 100, 7, 0)]


def test_of_two_slices_used_up_at_once_the_older_is_replaced_first(make_book):
    """So the maker of one fill is the maker of the next, whichever side it is on."""
    for first, second in ((BUY, SELL), (SELL, BUY)):
        book = collected(
            make_book,
            limit(first, 100, 6, 1, display_lots=3),
            limit(second, 100, 6, 2, display_lots=3),
        )
        assert trades(accept(book, uncross(0))) == [(1, 2, 100, 3), (1, 2, 100, 3)]


def test_self_trade_prevention_does_not_apply_to_the_uncross(make_book):
    """Two orders of one owner trade in it, whatever they came with."""
    book = collected(
        make_book,
        limit(BUY, 100, 5, 1, stp=SelfTrade.CANCEL_BOTH),
        limit(SELL, 100, 5, 2, stp=SelfTrade.DECREMENT),
    )

    assert fills(accept(book, uncross(0))) == [(0, 1, 5, 0)]


def test_what_the_uncross_leaves_goes_on_as_before(make_book):
    """The remainder rests in its place, and continuous matching is back."""
    book = collected(
        make_book,
        limit(BUY, 100, 5, 1),
        limit(BUY, 100, 5, 2),
        limit(SELL, 99, 7, 3),
        limit(SELL, 101, 2, 4),
    )
    accept(book, uncross(100))
    assert (line(book, BUY), line(book, SELL)) == ([(2, 100, 3, 0)], [(4, 101, 2, 0)])

    assert trades(accept(book, limit(SELL, 100, 1, 5))) == [(2, 5, 100, 1)]
    assert trades(accept(book, market(BUY, 1, 6))) == [(4, 6, 101, 1)]

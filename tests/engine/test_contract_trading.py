"""The contract of an order book, continued: who trades with whom, how many lots, at which price."""

import pytest

from mtsim.engine.messages import MAX_TRANCHES, FillKind, Flag, Reject, SelfTrade, TimeInForce
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, MAX_LOTS, MAX_TICK, MIN_TICK
from tests.engine.asking import accept, answer, fills, ids, line, reason, send, trades
from tests.engine.streams import (
    BUY,
    SELL,
    auction,
    cancel,
    limit,
    market,
    reduce,
    replace,
    uncross,
)

IOC, FOK = TimeInForce.IOC, TimeInForce.FOK
POST_ONLY, LOSE_PLACE = Flag.POST_ONLY, Flag.LOSE_PLACE
ALLOW, CANCEL_NEWEST, CANCEL_OLDEST, CANCEL_BOTH, DECREMENT = SelfTrade
TRADE, MAKER_CANCELLED, BOTH_DECREMENTED = FillKind
TAKERS = [limit(BUY, 103, 12, 9), limit(BUY, 103, 12, 9, tif=IOC), market(BUY, 12, 9)]

# Matching -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("taker", TAKERS)
def test_trades_in_price_time_priority_at_the_makers_price(make_book, taker):
    """Best price first, then the order of arrival; each trade at the price of the resting order."""
    book = make_book()
    accept(
        book,
        limit(SELL, 102, 3, 1),
        limit(SELL, 101, 4, 2),
        limit(SELL, 103, 5, 3),
        limit(SELL, 101, 2, 4),
        limit(SELL, 102, 2, 5),
    )

    outcome = accept(book, taker)

    assert trades(outcome) == [
        (2, 9, 101, 4),
        (4, 9, 101, 2),
        (1, 9, 102, 3),
        (5, 9, 102, 2),
        (3, 9, 103, 1),
    ]
    assert line(book, SELL) == [(3, 103, 4, 0)]
    assert (outcome.results["filled_lots"][0], outcome.results["n_fills"][0]) == (12, 5)


@pytest.mark.parametrize(
    ("side", "own_tick", "beyond_tick"), [(BUY, 102, 103), (SELL, 102, 101)], ids=["BUY", "SELL"]
)
def test_a_limit_is_never_passed(make_book, side, own_tick, beyond_tick):
    """An order trades up to its own limit, and rests there."""
    book = make_book()
    other = side.opposite
    accept(book, limit(other, own_tick, 3, 1), limit(other, beyond_tick, 9, 2))

    outcome = accept(book, limit(side, own_tick, 10, 3))

    assert trades(outcome) == [(1, 3, own_tick, 3)]
    assert line(book, side) == [(3, own_tick, 7, 0)]
    assert line(book, other) == [(2, beyond_tick, 9, 0)]


def test_what_is_left_rests_at_the_back_of_its_level(make_book):
    """The remainder of a GTC order is the last of its level."""
    book = make_book()
    accept(book, limit(BUY, 100, 1, 1), limit(BUY, 100, 2, 2), limit(SELL, 105, 1, 3))

    accept(book, limit(BUY, 100, 3, 4))

    assert book.orders_at(BUY, 100) == [1, 2, 4]


def test_a_maker_keeps_its_place_when_it_is_partly_filled(make_book):
    """Only its lots go down."""
    book = make_book()
    accept(book, limit(BUY, 100, 10, 1), limit(BUY, 100, 10, 2), market(SELL, 4, 3))

    assert line(book, BUY) == [(1, 100, 6, 0), (2, 100, 10, 0)]


@pytest.mark.parametrize("taker", [limit(SELL, 99, 20, 9, tif=IOC), market(SELL, 20, 9)])
def test_what_is_left_of_ioc_and_market_orders_leaves(make_book, taker):
    """Their remainder is cancelled, and does not rest."""
    book = make_book()
    accept(book, limit(BUY, 100, 5, 1))

    told = answer(book, taker)

    assert (told["filled_lots"], told["cancelled_lots"], told["resting_lots"]) == (5, 15, 0)
    assert book.touch() == (EMPTY_BID, EMPTY_ASK)


@pytest.mark.parametrize("taker", [limit(SELL, 101, 20, 9, tif=IOC), market(SELL, 20, 9)])
def test_meeting_nobody_is_no_mistake(make_book, taker):
    """Accepted, and gone whole."""
    told = answer(make_book(), taker)

    assert told["reject"] == Reject.NONE
    assert (told["filled_lots"], told["cancelled_lots"], told["n_fills"]) == (0, 20, 0)


def test_a_market_order_has_no_limit(make_book):
    """It trades at the last ticks there are."""
    book = make_book()
    accept(book, limit(SELL, MAX_TICK, 5, 1), limit(BUY, MIN_TICK, 5, 2))

    assert trades(accept(book, market(BUY, 9, 3))) == [(1, 3, MAX_TICK, 5)]
    assert trades(accept(book, market(SELL, 9, 3))) == [(2, 3, MIN_TICK, 5)]


def test_lots_add_up_beyond_32_bits(make_book):
    """Levels, totals and filled lots of many of the largest orders."""
    book = make_book()
    accept(book, *(limit(SELL, 100, MAX_LOTS, i) for i in range(1, 9)))
    assert book.lots_at(SELL, 100) == book.total_lots(SELL) == 8 * MAX_LOTS
    assert book.queue_ahead(8) == 7 * MAX_LOTS

    accept(book, auction(), *(limit(BUY, 100, MAX_LOTS, i) for i in range(11, 18)))
    told = answer(book, uncross(0))

    assert told["filled_lots"] == 7 * MAX_LOTS
    assert line(book, SELL) == [(8, 100, MAX_LOTS, 0)]


# Fill or kill -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lots", "limit_tick", "fillable"),
    [
        (5, 101, True),
        (6, 101, False),
        (35, 102, True),
        (36, 102, False),
        (42, 103, True),
        (43, 103, False),
        (1, 100, False),
    ],
)
def test_fok_trades_in_full_or_is_refused(make_book, lots, limit_tick, fillable):
    """Hidden lots count, lots beyond the limit do not; nothing trades when it is refused."""
    book = make_book()
    accept(
        book,
        limit(SELL, 101, 5, 1),
        limit(SELL, 102, 30, 2, display_lots=4),
        limit(SELL, 103, 7, 3),
    )

    before = book.hash()

    told = answer(book, limit(BUY, limit_tick, lots, 9, tif=FOK))

    if fillable:
        assert (told["filled_lots"], told["cancelled_lots"]) == (lots, 0)
        assert book.total_lots(SELL) == 42 - lots
    else:
        assert told["reject"] == Reject.UNFILLABLE
        assert book.hash() == before


@pytest.mark.parametrize(("lots", "expected"), [(42, Reject.NONE), (43, Reject.UNFILLABLE)])
def test_fok_market_orders_count_a_whole_side(make_book, lots, expected):
    """Whatever the price."""
    book = make_book()
    accept(book, limit(BUY, 101, 5, 1), limit(BUY, MIN_TICK, 37, 2, display_lots=4))

    assert reason(book, market(SELL, lots, 9, tif=FOK)) is expected


# What a FOK of owner 1 can trade against: 5 at 101; then at 102 an iceberg of 30 showing 4, its own
# order of 6, and 8 of another owner.
@pytest.mark.parametrize(
    ("stp", "fillable_lots"),
    [
        (ALLOW, 5 + 30 + 6 + 8),
        (CANCEL_OLDEST, 5 + 30 + 8),
        (CANCEL_NEWEST, 5 + 4),
        (CANCEL_BOTH, 5 + 4),
        (DECREMENT, 5 + 4),
    ],
)
@pytest.mark.parametrize("is_market", [False, True])
def test_fok_counts_what_self_trade_prevention_leaves(make_book, stp, fillable_lots, is_market):
    """Exactly so many lots trade in full, and one more is refused."""

    def send_fok(lots: int):
        book = make_book()
        accept(
            book,
            limit(SELL, 101, 5, 1, owner=2),
            limit(SELL, 102, 30, 2, owner=3, display_lots=4),
            limit(SELL, 102, 6, 3, owner=1),
            limit(SELL, 102, 8, 4, owner=2),
        )
        if is_market:
            return send(book, market(BUY, lots, 9, tif=FOK, stp=stp))
        return send(book, limit(BUY, 102, lots, 9, tif=FOK, stp=stp))

    filled = send_fok(fillable_lots)
    assert filled.results["reject"].tolist() == [Reject.NONE]
    assert filled.results["filled_lots"].tolist() == [fillable_lots]
    assert filled.results["cancelled_lots"].tolist() == [0]

    refused = send_fok(fillable_lots + 1)
    assert refused.results["reject"].tolist() == [Reject.UNFILLABLE]
    assert len(refused.fills) == 0


def test_fok_counts_a_whole_level_that_is_better_than_the_own_order(make_book):
    """Hidden lots of a better level trade before the own order is met."""
    book = make_book()
    accept(
        book,
        limit(SELL, 101, 30, 1, owner=2, display_lots=3),
        limit(SELL, 102, 5, 2, owner=1),
    )

    assert reason(book, limit(BUY, 102, 31, 9, tif=FOK, stp=CANCEL_NEWEST)) is Reject.UNFILLABLE
    assert reason(book, limit(BUY, 102, 30, 9, tif=FOK, stp=CANCEL_NEWEST)) is Reject.NONE
    assert ids(book, SELL) == [2]


# Post only ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "price_tick", "expected"),
    [
        (BUY, 101, Reject.NONE),
        (BUY, 102, Reject.WOULD_TAKE),
        (BUY, MAX_TICK, Reject.WOULD_TAKE),
        (SELL, 101, Reject.NONE),
        (SELL, 100, Reject.WOULD_TAKE),
        (SELL, MIN_TICK, Reject.WOULD_TAKE),
    ],
)
@pytest.mark.parametrize("stp", SelfTrade)
def test_post_only_rests_at_its_own_price_or_is_refused(make_book, side, price_tick, expected, stp):
    """Whoever owns the other order, and whatever self-trade prevention would have done."""
    book = make_book()
    accept(book, limit(BUY, 100, 5, 1), limit(SELL, 102, 5, 2))

    told = answer(book, limit(side, price_tick, 5, 9, flags=POST_ONLY, stp=stp))

    assert told["reject"] == expected
    if expected is Reject.NONE:
        assert line(book, side)[0] == (9, price_tick, 5, 0)


# Icebergs -----------------------------------------------------------------------------------------


def test_an_iceberg_shows_its_next_slice_at_the_back(make_book):
    """A slice that has traded out is followed by the next one, behind those who came meanwhile."""
    book = make_book()
    accept(book, limit(SELL, 100, 25, 1, display_lots=10), limit(SELL, 100, 5, 2))
    assert line(book, SELL) == [(1, 100, 10, 15), (2, 100, 5, 0)]

    outcome = accept(book, limit(BUY, 100, 9, 3), limit(BUY, 100, 1, 3))
    assert fills(outcome) == [(TRADE, 1, 9, 16), (TRADE, 1, 1, 15)]
    assert line(book, SELL) == [(2, 100, 5, 0), (1, 100, 10, 5)]

    accept(book, limit(SELL, 100, 7, 4), market(BUY, 15, 3))
    assert line(book, SELL) == [(4, 100, 7, 0), (1, 100, 5, 0)]


def test_one_sweep_meets_an_iceberg_again_and_again(make_book):
    """Slice by slice, in turn with the others of the level; every slice is a row of the fills."""
    book = make_book()
    accept(
        book,
        limit(BUY, 100, 7, 1, display_lots=3),
        limit(BUY, 100, 5, 2, display_lots=2),
        limit(BUY, 100, 4, 3),
    )

    outcome = accept(book, limit(SELL, 100, 20, 9))

    assert trades(outcome) == [
        (1, 9, 100, 3),
        (2, 9, 100, 2),
        (3, 9, 100, 4),
        (1, 9, 100, 3),
        (2, 9, 100, 2),
        (1, 9, 100, 1),
        (2, 9, 100, 1),
    ]
    assert line(book, SELL) == [(9, 100, 4, 0)]


def test_an_iceberg_trades_as_a_taker_with_all_its_lots(make_book):
    """What rests of it shows a slice at most, and hides the rest."""
    book = make_book()
    accept(book, limit(SELL, 100, 12, 1), limit(BUY, 100, 20, 2, display_lots=5))
    assert line(book, BUY) == [(2, 100, 5, 3)]

    accept(book, limit(SELL, 100, 16, 3), limit(BUY, 100, 20, 4, display_lots=15))
    assert line(book, BUY) == [(4, 100, 12, 0)]
    assert book.resting()["display_lots"].tolist() == [15]


def test_the_widest_iceberg_trades_slice_by_slice(make_book):
    """All 1,024 slices in one sweep."""
    book = make_book()
    accept(book, limit(SELL, 100, MAX_TRANCHES, 1, display_lots=1))

    outcome = accept(book, market(BUY, MAX_LOTS, 2))

    assert outcome.fills["lots"].tolist() == [1] * MAX_TRANCHES
    assert outcome.fills["maker_open_lots"].tolist() == list(range(MAX_TRANCHES))[::-1]


@pytest.mark.parametrize(("display_lots", "stored"), [(0, 0), (10, 0), (9, 9)])
def test_showing_everything_is_no_iceberg(make_book, display_lots, stored):
    """`display_lots == lots` is an ordinary order: a slice size is stored only below."""
    book = make_book()
    accept(book, limit(SELL, 100, 10, 1, display_lots=display_lots))

    assert book.resting()["display_lots"].tolist() == [stored]
    # Only an iceberg would go on showing slices of its old size.
    accept(book, replace(1, 100, 30))
    assert book.lots_at(SELL, 100) == (stored or 30)


# Replace ------------------------------------------------------------------------------------------


def queue_of_three(make_book):
    book = make_book()
    accept(
        book,
        limit(BUY, 100, 10, 1),
        limit(BUY, 100, 20, 2, display_lots=6),
        limit(BUY, 100, 10, 3),
    )
    return book


@pytest.mark.parametrize(
    ("order_id", "lots", "left"),
    [(1, 9, (9, 0)), (1, 10, (10, 0)), (1, 1, (1, 0)), (2, 19, (6, 13)), (2, 6, (6, 0))],
)
def test_a_replace_that_shrinks_keeps_the_place(make_book, order_id, lots, left):
    """Same price, no more lots: in place, hidden lots first. Equal lots change nothing."""
    book = queue_of_three(make_book)
    open_lots = 20 if order_id == 2 else 10

    told = answer(book, replace(order_id, 100, lots))

    assert told["previous_lots"] == open_lots
    assert (told["resting_lots"], told["cancelled_lots"]) == (lots, open_lots - lots)
    assert book.orders_at(BUY, 100) == [1, 2, 3]
    assert (order_id, 100, *left) in line(book, BUY)


@pytest.mark.parametrize(
    ("price_tick", "lots", "flags"),
    [(100, 11, 0), (100, 10, LOSE_PLACE), (100, 3, LOSE_PLACE), (100, 11, POST_ONLY)],
)
def test_a_replace_that_does_not_shrink_loses_the_place(make_book, price_tick, lots, flags):
    """Growing, or LOSE_PLACE: to the back of the level. Nothing counts as cancelled."""
    book = queue_of_three(make_book)

    told = answer(book, replace(1, price_tick, lots, flags=flags))

    assert (told["previous_lots"], told["resting_lots"], told["cancelled_lots"]) == (10, lots, 0)
    assert book.orders_at(BUY, 100) == [2, 3, 1]


def test_a_replace_to_another_price_goes_to_the_back_there(make_book):
    """Even with fewer lots, and back again."""
    book = queue_of_three(make_book)
    accept(book, limit(BUY, 99, 1, 4))

    accept(book, replace(1, 99, 5))
    assert (book.orders_at(BUY, 100), book.orders_at(BUY, 99)) == ([2, 3], [4, 1])
    accept(book, replace(1, 100, 5))
    assert (book.orders_at(BUY, 100), book.orders_at(BUY, 99)) == ([2, 3, 1], [4])


def test_a_replaced_iceberg_keeps_its_slice_size(make_book):
    """Shows a slice again where more is left, everything where less is."""
    book = queue_of_three(make_book)

    accept(book, replace(2, 101, 5))
    assert line(book, BUY)[0] == (2, 101, 5, 0)
    accept(book, replace(2, 101, 8))
    assert line(book, BUY)[0] == (2, 101, 6, 2)
    assert book.resting()["display_lots"].tolist() == [6, 0, 0]


def test_a_replaced_iceberg_may_not_need_too_many_slices(make_book):
    """BAD_DISPLAY, with the order untouched; an ordinary order may have any lots."""
    book = queue_of_three(make_book)
    before = book.hash()

    assert reason(book, replace(2, 100, 6 * MAX_TRANCHES + 1)) is Reject.BAD_DISPLAY
    assert book.hash() == before
    accept(book, replace(2, 100, 6 * MAX_TRANCHES), replace(1, 100, MAX_LOTS))


def test_a_replace_may_trade(make_book):
    """It comes in as a new order: at the makers' prices, and what is left rests at its own."""
    book = queue_of_three(make_book)
    accept(book, limit(SELL, 102, 4, 4), limit(SELL, 103, 4, 5), limit(SELL, 105, 4, 6))

    outcome = accept(book, replace(2, 104, 30))

    assert trades(outcome) == [(4, 2, 102, 4), (5, 2, 103, 4)]
    told = outcome.results[0]
    assert (told["previous_lots"], told["filled_lots"], told["resting_lots"]) == (20, 8, 22)
    assert (told["cancelled_lots"], told["price_tick"], told["side"]) == (0, 104, BUY)
    assert line(book, BUY)[0] == (2, 104, 6, 16)


def test_a_replace_may_trade_in_full(make_book):
    """Then it is gone, and its id is free."""
    book = queue_of_three(make_book)
    accept(book, limit(SELL, 102, 9, 4))

    told = answer(book, replace(1, 102, 9))

    assert (told["filled_lots"], told["resting_lots"]) == (9, 0)
    accept(book, limit(SELL, 102, 1, 1))


@pytest.mark.parametrize(("price_tick", "expected"), [(102, Reject.WOULD_TAKE), (101, Reject.NONE)])
def test_a_post_only_replace_does_not_take(make_book, price_tick, expected):
    """WOULD_TAKE leaves the original where it was."""
    book = queue_of_three(make_book)
    accept(book, limit(SELL, 102, 4, 4))
    before = book.hash()

    assert reason(book, replace(1, price_tick, 5, flags=POST_ONLY)) is expected
    assert (book.hash() == before) == (expected is Reject.WOULD_TAKE)


def test_a_replace_takes_the_self_trade_prevention_of_its_message(make_book):
    """The order's own setting, from when it was sent, is forgotten."""
    book = make_book()
    accept(book, limit(BUY, 100, 5, 1, stp=CANCEL_NEWEST), limit(SELL, 102, 3, 2))

    outcome = accept(book, replace(1, 102, 5, stp=CANCEL_OLDEST))

    assert fills(outcome) == [(MAKER_CANCELLED, 2, 3, 0)]
    assert line(book, BUY) == [(1, 102, 5, 0)]


def test_a_replace_can_be_stopped_by_self_trade_prevention(make_book):
    """Then the replaced order is gone: `lots = filled + resting + cancelled`."""
    book = make_book()
    accept(book, limit(BUY, 100, 5, 1), limit(SELL, 101, 2, 2, owner=2), limit(SELL, 102, 3, 3))

    told = answer(book, replace(1, 102, 6, stp=CANCEL_NEWEST))

    assert (told["filled_lots"], told["cancelled_lots"], told["resting_lots"]) == (2, 4, 0)
    assert (ids(book, BUY), ids(book, SELL)) == ([], [3])


# Self-trade prevention ----------------------------------------------------------------------------


def crossing_with_oneself(make_book):
    """Asks: 4 of owner 2 at 101; at 102 an iceberg of 9 of owner 1 showing 3, and 5 of owner 2."""
    book = make_book()
    accept(
        book,
        limit(SELL, 101, 4, 1, owner=2),
        limit(SELL, 102, 9, 2, owner=1, display_lots=3),
        limit(SELL, 102, 5, 3, owner=2),
    )
    return book


SELF_TRADES = [
    (
        ALLOW,
        [(TRADE, 1, 4, 0), (TRADE, 2, 3, 6), (TRADE, 3, 5, 0), (TRADE, 2, 3, 3), (TRADE, 2, 3, 0)],
        {"filled_lots": 18, "left": 2, "cancelled_lots": 0},
        [],
    ),
    (
        CANCEL_NEWEST,
        [(TRADE, 1, 4, 0)],
        {"filled_lots": 4, "left": 0, "cancelled_lots": 16},
        [(2, 102, 3, 6), (3, 102, 5, 0)],
    ),
    (
        CANCEL_OLDEST,
        [(TRADE, 1, 4, 0), (MAKER_CANCELLED, 2, 9, 0), (TRADE, 3, 5, 0)],
        {"filled_lots": 9, "left": 11, "cancelled_lots": 0},
        [],
    ),
    (
        CANCEL_BOTH,
        [(TRADE, 1, 4, 0), (MAKER_CANCELLED, 2, 9, 0)],
        {"filled_lots": 4, "left": 0, "cancelled_lots": 16},
        [(3, 102, 5, 0)],
    ),
    (
        DECREMENT,
        [
            (TRADE, 1, 4, 0),
            (BOTH_DECREMENTED, 2, 3, 6),
            (TRADE, 3, 5, 0),
            (BOTH_DECREMENTED, 2, 3, 3),
            (BOTH_DECREMENTED, 2, 3, 0),
        ],
        {"filled_lots": 9, "left": 2, "cancelled_lots": 9},
        [],
    ),
]


@pytest.mark.parametrize("incoming", ["GTC", "IOC", "MARKET", "REPLACE"])
@pytest.mark.parametrize(
    ("stp", "rows", "told", "asks"), SELF_TRADES, ids=lambda value: str(value)[:9]
)
def test_self_trade_prevention(make_book, incoming, stp, rows, told, asks):
    """What each mode does to an incoming order of 20 lots and to those that it meets."""
    book = crossing_with_oneself(make_book)
    if incoming == "GTC":
        outcome = accept(book, limit(BUY, 103, 20, 9, stp=stp))
    elif incoming == "IOC":
        outcome = accept(book, limit(BUY, 103, 20, 9, stp=stp, tif=IOC))
    elif incoming == "MARKET":
        outcome = accept(book, market(BUY, 20, 9, stp=stp))
    else:
        accept(book, limit(BUY, 90, 1, 9))
        outcome = accept(book, replace(9, 103, 20, stp=stp))

    assert fills(outcome) == rows
    result = outcome.results[0]
    left = told["left"]
    rests = incoming in ("GTC", "REPLACE")
    assert result["filled_lots"] == told["filled_lots"]
    assert result["resting_lots"] == (left if rests else 0)
    assert result["cancelled_lots"] == told["cancelled_lots"] + (0 if rests else left)
    assert result["n_fills"] == len(rows)
    assert line(book, SELL) == asks
    assert line(book, BUY) == ([(9, 103, left, 0)] if rests and left else [])


@pytest.mark.parametrize("stp", SelfTrade)
def test_self_trade_prevention_leaves_other_owners_alone(make_book, stp):
    """Between two owners every mode trades; the resting order's own setting does not matter."""
    book = make_book()
    accept(book, limit(SELL, 100, 5, 1, owner=2, stp=CANCEL_BOTH))
    assert fills(accept(book, limit(BUY, 100, 2, 2, owner=0, stp=stp))) == [(TRADE, 1, 2, 3)]
    assert fills(accept(book, limit(BUY, 100, 2, 2, owner=2, stp=ALLOW))) == [(TRADE, 1, 2, 1)]


def test_self_trade_prevention_stops_only_who_would_meet_oneself(make_book):
    """An incoming order that is filled before, or does not cross, trades and rests as ever."""
    book = crossing_with_oneself(make_book)

    filled = answer(book, limit(BUY, 102, 4, 8, stp=CANCEL_NEWEST))
    assert (filled["filled_lots"], filled["cancelled_lots"]) == (4, 0)
    accept(book, limit(BUY, 101, 6, 9, stp=CANCEL_NEWEST))
    assert line(book, BUY) == [(9, 101, 6, 0)]


def test_a_decremented_order_keeps_its_place_while_its_slice_lasts(make_book):
    """DECREMENT takes lots as a trade would, only that nothing is traded."""
    book = crossing_with_oneself(make_book)
    accept(book, cancel(1, owner=2))

    told = answer(book, market(BUY, 2, 9, stp=DECREMENT))
    assert (told["filled_lots"], told["cancelled_lots"], told["price_tick"]) == (0, 2, 0)
    assert line(book, SELL) == [(2, 102, 1, 6), (3, 102, 5, 0)]

    accept(book, market(BUY, 1, 9, stp=DECREMENT))
    assert line(book, SELL) == [(3, 102, 5, 0), (2, 102, 3, 3)]


def test_market_orders_report_the_last_price_traded(make_book):
    """Not that of a later level where self-trade prevention only took lots out."""
    book = make_book()
    accept(book, limit(SELL, 101, 4, 1, owner=2), limit(SELL, 102, 5, 2, owner=1))

    told = answer(book, market(BUY, 20, 9, stp=CANCEL_OLDEST))

    assert (told["price_tick"], told["filled_lots"], told["cancelled_lots"]) == (101, 4, 16)


def test_orders_that_trade_show_the_makers_remaining_lots(make_book):
    """`maker_open_lots` counts hidden lots and follows reductions."""
    book = make_book()
    accept(book, limit(SELL, 101, 40, 1, display_lots=10), reduce(1, 25))

    assert fills(accept(book, market(BUY, 12, 9))) == [(TRADE, 1, 10, 5), (TRADE, 1, 2, 3)]

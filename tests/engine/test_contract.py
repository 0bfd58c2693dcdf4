"""The contract of an order book, one suite for every implementation: the border, results, rejects.

What trades with whom is `test_contract_trading.py`, the call auction `test_contract_auction.py`.
"""

from itertools import combinations

import numpy as np
import pytest

from mtsim.engine.base import book_hash
from mtsim.engine.messages import (
    FILL_DTYPE,
    MAX_TRANCHES,
    MESSAGE_DTYPE,
    RESTING_DTYPE,
    RESULT_DTYPE,
    Flag,
    Kind,
    Phase,
    Reject,
    TimeInForce,
)
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, MAX_LOTS, MAX_TICK, MIN_TICK
from mtsim.errors import EngineInputError
from tests.engine.asking import accept, answer, ids, line, reason, send
from tests.engine.streams import (
    BUY,
    INT32_MAX,
    INT32_MIN,
    INT64_MAX,
    INT64_MIN,
    SELL,
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

# The border ---------------------------------------------------------------------------------------

NOT_MESSAGES = {
    "a list": [limit(BUY, 100, 5, 1)],
    "one row": limit(BUY, 100, 5, 1),
    "nothing": None,
    "floats": np.full((3, 10), np.nan),
    "plain integers": np.zeros(3, np.int64),
    "objects": np.array([limit(BUY, 100, 5, 1)], dtype=object),
    "bytes of the right size": np.zeros(3, "V32"),
    "another byte order": np.zeros(3, MESSAGE_DTYPE.newbyteorder(">")),
    "another field": np.zeros(3, [*MESSAGE_DTYPE.descr[:-1], ("handle", "<i8")]),
    "results": np.zeros(3, RESULT_DTYPE),
    "a table of messages": np.zeros((2, 2), MESSAGE_DTYPE),
    "a message without an array": np.zeros((), MESSAGE_DTYPE),
    "a record": np.zeros(1, MESSAGE_DTYPE)[0],
}


@pytest.mark.parametrize("wrong", NOT_MESSAGES.values(), ids=NOT_MESSAGES.keys())
def test_what_are_not_messages_is_an_error_and_changes_nothing(make_book, wrong):
    """A user's mistake at the border: an error that says what was wanted, and the same book."""
    book = make_book()
    accept(book, limit(BUY, 100, 5, 1))
    before = book.hash()

    with pytest.raises(EngineInputError, match="messages must"):
        book.process(wrong)

    book.check()
    assert book.hash() == before
    assert accept(book, market(SELL, 1, 2)).fills["message"].tolist() == [1]


def test_no_messages_have_no_answers(make_book):
    """An empty array is not a mistake."""
    outcome = make_book().process(batch())

    assert (len(outcome.results), len(outcome.fills)) == (0, 0)
    assert outcome.results.dtype == RESULT_DTYPE
    assert outcome.fills.dtype == FILL_DTYPE


def test_messages_may_lie_anyhow_in_memory(make_book):
    """Strided, reversed and read-only arrays are read as what they say, and are not written to."""
    rows = batch(*(limit(BUY, 100 + i, 5, i + 1) for i in range(6)))
    read_only = rows.copy()
    read_only.setflags(write=False)
    unaligned = np.zeros(32 * 6 + 1, np.uint8)[1:].view(MESSAGE_DTYPE)
    unaligned[:] = rows

    for as_given, plain in (
        (rows[::2], rows[[0, 2, 4]]),
        (rows[::-1], rows[[5, 4, 3, 2, 1, 0]]),
        (read_only, rows),
        (unaligned, rows),
    ):
        given, copied = make_book(), make_book()
        assert np.array_equal(given.process(as_given).results, copied.process(plain).results)
        assert given.hash() == copied.hash()
    assert np.array_equal(rows, batch(*(limit(BUY, 100 + i, 5, i + 1) for i in range(6))))


def test_outcomes_belong_to_the_caller(make_book):
    """Neither do later messages change an outcome, nor does writing to one change the book."""
    book, untouched = make_book(), make_book()
    rows = [limit(BUY, 100, 5, 1), limit(SELL, 100, 2, 2), market(SELL, 1, 3)]
    first = accept(book, *rows)
    results, fills = first.results.copy(), first.fills.copy()

    accept(book, *(limit(SELL, 101, 9, 10 + i) for i in range(50)), market(BUY, 200, 99))
    assert np.array_equal(first.results, results)
    assert np.array_equal(first.fills, fills)

    first.results[:] = 0
    first.fills[:] = 0
    book.resting()["lots"] = 77
    accept(untouched, *rows, *(limit(SELL, 101, 9, 10 + i) for i in range(50)))
    accept(untouched, market(BUY, 200, 99))
    assert book.hash() == untouched.hash()


# Questions ----------------------------------------------------------------------------------------


def test_an_empty_book_answers_every_question(make_book):
    """Empty is a state like any other."""
    book = make_book()

    book.check()
    assert book.phase is Phase.CONTINUOUS
    assert book.touch() == (EMPTY_BID, EMPTY_ASK)
    for side in (BUY, SELL):
        assert book.depth(side, 5) == []
        assert book.lots_at(side, 100) == 0
        assert book.orders_at(side, 100) == []
        assert book.total_lots(side) == 0
    assert book.resting().dtype == RESTING_DTYPE
    assert len(book.resting()) == 0
    assert book.hash() == book_hash(Phase.CONTINUOUS, np.zeros(0, RESTING_DTYPE))
    with pytest.raises(KeyError):
        book.queue_ahead(1)


def test_questions_count_what_is_displayed_and_totals_count_all(make_book):
    """Depth, level lots and queue-ahead leave hidden lots out; total_lots does not."""
    book = make_book()
    accept(
        book,
        limit(BUY, 100, 5, 1),
        limit(BUY, 100, 90, 2, display_lots=10),
        limit(BUY, 100, 7, 3),
        limit(BUY, 98, 4, 4),
        limit(SELL, 103, 6, 5),
        limit(BUY, 99, 1, 6),
    )

    assert book.touch() == (100, 103)
    assert book.depth(BUY, 2) == [(100, 22), (99, 1)]
    assert book.depth(BUY, 9) == [(100, 22), (99, 1), (98, 4)]
    assert book.depth(BUY, 0) == []
    assert book.depth(SELL, 1) == [(103, 6)]
    assert book.lots_at(BUY, 100) == 22
    assert (book.lots_at(SELL, 100), book.lots_at(BUY, 103), book.lots_at(BUY, 97)) == (0, 0, 0)
    assert book.orders_at(BUY, 100) == [1, 2, 3]
    assert (book.orders_at(SELL, 100), book.orders_at(BUY, 101)) == ([], [])
    assert [book.queue_ahead(order_id) for order_id in (1, 2, 3, 4, 5, 6)] == [0, 5, 15, 0, 0, 0]
    assert (book.total_lots(BUY), book.total_lots(SELL)) == (107, 6)


def test_resting_orders_are_listed_in_priority(make_book):
    """Bids best first, then asks best first, a level in queue order, every field filled."""
    book = make_book()
    accept(
        book,
        limit(SELL, 105, 9, 1, owner=4),
        limit(BUY, 99, 5, 2, owner=0),
        limit(SELL, 103, 30, 3, owner=5, display_lots=8),
        limit(BUY, 100, 6, 4),
        limit(BUY, 99, 7, 5),
    )

    expected = np.array(
        [
            (4, 100, 6, 0, 0, 1, 0),
            (2, 99, 5, 0, 0, 0, 0),
            (5, 99, 7, 0, 0, 1, 0),
            (3, 103, 8, 22, 8, 5, 1),
            (1, 105, 9, 0, 0, 4, 1),
        ],
        RESTING_DTYPE,
    )
    assert np.array_equal(book.resting(), expected)
    assert book.hash() == book_hash(Phase.CONTINUOUS, expected)


def test_the_hash_forgets_how_a_book_came_about(make_book):
    """Equal books have equal hashes; owner, place and phase make a difference."""
    rows = [limit(BUY, 100, 5, 1), limit(BUY, 100, 5, 2)]
    plain, roundabout, other_place, other_owner = (make_book() for _ in range(4))
    accept(plain, *rows)
    accept(roundabout, limit(BUY, 100, 9, 1), limit(SELL, 200, 1, 3), *rows[1:])
    accept(roundabout, reduce(1, 4), cancel(3))
    accept(other_place, *reversed(rows))
    accept(other_owner, rows[0], limit(BUY, 100, 5, 2, owner=2))

    assert plain.hash() == roundabout.hash()
    assert len({plain.hash(), other_place.hash(), other_owner.hash()}) == 3
    before = plain.hash()
    accept(plain, auction())
    assert plain.hash() != before
    accept(plain, uncross(0))
    assert plain.hash() == before


# Results ------------------------------------------------------------------------------------------


def test_results_describe_every_kind(make_book):
    """One message of each kind, every field of its answer."""
    book = make_book()

    def told(row: Row) -> tuple[int, ...]:
        return tuple(answer(book, row).values())

    accept(book, auction(), uncross(0))
    # order_id, filled, n_fills, resting, cancelled, previous, price, bid, ask, then reject, side,
    # phase, kind
    assert told(limit(BUY, 100, 9, 1)) == (1, 0, 0, 9, 0, 0, 100, 100, EMPTY_ASK, 0, 0, 0, 0)
    assert told(limit(SELL, 102, 8, 2)) == (2, 0, 0, 8, 0, 0, 102, 100, 102, 0, 1, 0, 0)
    assert told(limit(BUY, 103, 3, 3, tif=1)) == (3, 3, 1, 0, 0, 0, 103, 100, 102, 0, 0, 0, 0)
    assert told(limit(SELL, 99, 11, 4)) == (4, 9, 1, 2, 0, 0, 99, EMPTY_BID, 99, 0, 1, 0, 0)
    assert told(limit(SELL, 101, 1, 5)) == (5, 0, 0, 1, 0, 0, 101, EMPTY_BID, 99, 0, 1, 0, 0)
    assert told(market(BUY, 4, 6)) == (6, 4, 3, 0, 0, 0, 102, EMPTY_BID, 102, 0, 0, 0, 1)
    assert told(reduce(2, 1)) == (2, 0, 0, 3, 1, 4, 102, EMPTY_BID, 102, 0, 1, 0, 3)
    assert told(replace(2, 102, 2)) == (2, 0, 0, 2, 1, 3, 102, EMPTY_BID, 102, 0, 1, 0, 4)
    assert told(replace(2, 104, 5)) == (2, 0, 0, 5, 0, 2, 104, EMPTY_BID, 104, 0, 1, 0, 4)
    assert told(cancel(2)) == (2, 0, 0, 0, 5, 5, 104, EMPTY_BID, EMPTY_ASK, 0, 1, 0, 2)
    assert told(market(SELL, 4, 6)) == (6, 0, 0, 0, 4, 0, 0, EMPTY_BID, EMPTY_ASK, 0, 1, 0, 1)
    assert told(auction()) == (0, 0, 0, 0, 0, 0, 0, EMPTY_BID, EMPTY_ASK, 0, 0, 1, 5)
    assert told(limit(BUY, 9, 5, 7)) == (7, 0, 0, 5, 0, 0, 9, 9, EMPTY_ASK, 0, 0, 1, 0)
    assert told(limit(SELL, 7, 3, 8)) == (8, 0, 0, 3, 0, 0, 7, 9, 7, 0, 1, 1, 0)
    assert told(uncross(50)) == (0, 3, 1, 0, 0, 0, 9, 9, EMPTY_ASK, 0, 0, 0, 6)


def test_results_count_messages_of_the_whole_life_of_the_book(make_book):
    """A fill's `message` counts from the first message ever, refused ones included."""
    book = make_book()
    send(book, limit(BUY, 100, 5, 1), cancel(99), cancel(98))

    first = send(book, market(SELL, 1, 2))
    second = send(book, limit(BUY, 0, 0, 0), market(SELL, 1, 2), market(SELL, 1, 2))

    assert first.fills["message"].tolist() == [3]
    assert second.fills["message"].tolist() == [5, 6]


def test_fills_describe_both_orders(make_book):
    """Every field of a row of the fills, its padding included."""
    book = make_book()
    outcome = accept(
        book,
        limit(SELL, 101, 50, 7, owner=3, display_lots=10),
        limit(BUY, 104, 4, 9, owner=8),
    )

    assert outcome.fills.tolist() == [(1, 7, 9, 101, 4, 3, 8, 46, 0, 0, 0)]


def test_cancel_gives_up_all_open_lots(make_book):
    """CANCEL takes hidden lots, too, and says how many there were."""
    book = make_book()
    accept(book, limit(BUY, 100, 90, 1, display_lots=10), limit(BUY, 100, 5, 2))

    told = answer(book, cancel(1))

    assert (told["previous_lots"], told["cancelled_lots"], told["resting_lots"]) == (90, 90, 0)
    assert line(book, BUY) == [(2, 100, 5, 0)]


@pytest.mark.parametrize(
    ("taken", "left"),
    [(1, (10, 79)), (79, (10, 1)), (80, (10, 0)), (81, (9, 0)), (89, (1, 0))],
)
def test_reduce_takes_hidden_lots_first_and_keeps_the_place(make_book, taken, left):
    """REDUCE on an iceberg of 90 that shows 10, first in line."""
    book = make_book()
    accept(book, limit(BUY, 100, 90, 1, display_lots=10), limit(BUY, 100, 5, 2))

    told = answer(book, reduce(1, taken))

    assert (told["previous_lots"], told["cancelled_lots"]) == (90, taken)
    assert told["resting_lots"] == 90 - taken
    assert line(book, BUY) == [(1, 100, *left), (2, 100, 5, 0)]


@pytest.mark.parametrize("taken", [90, 91, MAX_LOTS])
def test_reduce_by_all_lots_or_more_removes(make_book, taken):
    """What is cancelled is what was there, not what was asked for."""
    book = make_book()
    accept(book, limit(BUY, 100, 90, 1, display_lots=10))

    told = answer(book, reduce(1, taken))

    assert (told["previous_lots"], told["cancelled_lots"], told["resting_lots"]) == (90, 90, 0)
    assert book.touch() == (EMPTY_BID, EMPTY_ASK)
    assert reason(book, cancel(1)) is Reject.UNKNOWN_ORDER


# Rejects ------------------------------------------------------------------------------------------

# For each kind a message that is accepted, and every rule it could break in order of precedence,
# with the fields that break it. They go to a `book_to_refuse`; WRONG_PHASE needs its other phase.
FINE: dict[Kind, Row] = {
    Kind.LIMIT: limit(BUY, 105, 5, 9),
    Kind.MARKET: market(BUY, 5, 9),
    Kind.CANCEL: cancel(1),
    Kind.REDUCE: reduce(1, 2),
    Kind.REPLACE: replace(3, 112, 9, owner=2),
    Kind.AUCTION: auction(),
    Kind.UNCROSS: uncross(100),
}
BREAKS: dict[Kind, list[tuple[Reject, dict[str, int]]]] = {
    Kind.LIMIT: [
        (Reject.WRONG_PHASE, {"tif": TimeInForce.IOC}),
        (Reject.BAD_SIDE, {"side": 2}),
        (Reject.BAD_INSTRUCTION, {"stp": 5}),
        (Reject.BAD_LOTS, {"lots": 0}),
        (Reject.BAD_TICK, {"price_tick": MAX_TICK + 1}),
        (Reject.BAD_DISPLAY, {"display_lots": -1}),
        (Reject.BAD_OWNER, {"owner": -1}),
        (Reject.BAD_ID, {"order_id": 0}),
        (Reject.DUPLICATE_ID, {"order_id": 1}),
        (Reject.WOULD_TAKE, {"flags": Flag.POST_ONLY, "price_tick": 110}),
        (Reject.UNFILLABLE, {"tif": TimeInForce.FOK, "price_tick": 110, "lots": 11}),
    ],
    Kind.MARKET: [
        (Reject.WRONG_PHASE, {}),
        (Reject.BAD_SIDE, {"side": 2}),
        (Reject.BAD_INSTRUCTION, {"stp": 5}),
        (Reject.BAD_LOTS, {"lots": 0}),
        (Reject.BAD_DISPLAY, {"display_lots": 2}),
        (Reject.BAD_OWNER, {"owner": -1}),
        (Reject.BAD_ID, {"order_id": 0}),
        (Reject.DUPLICATE_ID, {"order_id": 1}),
        (Reject.UNFILLABLE, {"tif": TimeInForce.FOK, "lots": 31}),
    ],
    Kind.CANCEL: [
        (Reject.BAD_OWNER, {"owner": -1}),
        (Reject.UNKNOWN_ORDER, {"order_id": 77}),
        (Reject.NOT_OWNER, {"owner": 2}),
    ],
    Kind.REDUCE: [
        (Reject.BAD_LOTS, {"lots": 0}),
        (Reject.BAD_OWNER, {"owner": -1}),
        (Reject.UNKNOWN_ORDER, {"order_id": 77}),
        (Reject.NOT_OWNER, {"owner": 2}),
    ],
    Kind.REPLACE: [
        (Reject.WRONG_PHASE, {"flags": Flag.POST_ONLY}),
        (Reject.BAD_INSTRUCTION, {"stp": 5}),
        (Reject.BAD_LOTS, {"lots": 0}),
        (Reject.BAD_TICK, {"price_tick": MIN_TICK - 1}),
        (Reject.BAD_OWNER, {"owner": -1}),
        (Reject.UNKNOWN_ORDER, {"order_id": 77}),
        (Reject.NOT_OWNER, {"owner": 1}),
        (Reject.BAD_DISPLAY, {"lots": MAX_TRANCHES + 1}),
        (Reject.WOULD_TAKE, {"flags": Flag.POST_ONLY, "price_tick": 100}),
    ],
    Kind.AUCTION: [(Reject.WRONG_PHASE, {})],
    Kind.UNCROSS: [
        (Reject.WRONG_PHASE, {}),
        (Reject.BAD_TICK, {"price_tick": MAX_TICK + 1}),
    ],
}
FIELDS = MESSAGE_DTYPE.names or ()


def changed(row: Row, fields: dict[str, int]) -> Row:
    return tuple(fields.get(name, value) for name, value in zip(FIELDS, row, strict=True))


def book_to_refuse(make_book, kind: Kind, wrong_phase: bool = False):
    """A bid of 10 at 100, an ask of 10 at 110, an iceberg of 20 at 111 showing 1 at a time.

    In the phase in which messages of this kind are fine, or in the other one.
    """
    book = make_book()
    accept(
        book,
        limit(BUY, 100, 10, 1),
        limit(SELL, 110, 10, 2, owner=2),
        limit(SELL, 111, 20, 3, owner=2, display_lots=1),
    )
    if wrong_phase != (kind is Kind.UNCROSS):
        accept(book, auction())
    return book


def assert_refused(book, row: Row, expected: Reject) -> None:
    """Refused for this reason, with the message repeated in the answer and the book untouched."""
    before, touch = book.hash(), book.touch()
    fields = dict(zip(FIELDS, row, strict=True))

    told = answer(book, row)

    assert Reject(told["reject"]) is expected
    assert told == {
        "order_id": fields["order_id"],
        "filled_lots": 0,
        "n_fills": 0,
        "resting_lots": 0,
        "cancelled_lots": 0,
        "previous_lots": 0,
        "price_tick": fields["price_tick"],
        "bid_tick": touch[0],
        "ask_tick": touch[1],
        "reject": expected,
        "side": fields["side"],
        "phase": book.phase,
        "kind": fields["kind"],
    }
    assert book.hash() == before


@pytest.mark.parametrize("kind", Kind)
def test_the_messages_that_rejects_are_made_from_are_fine(make_book, kind):
    """Otherwise the tests below would prove nothing."""
    accept(book_to_refuse(make_book, kind), FINE[kind])


@pytest.mark.parametrize(
    ("kind", "expected", "fields"),
    [(kind, *broken) for kind, rules in BREAKS.items() for broken in rules],
    ids=lambda value: getattr(value, "name", ""),
)
def test_each_broken_rule_is_the_reason(make_book, kind, expected, fields):
    """One rule broken: that is the reason, and the book does not change."""
    book = book_to_refuse(make_book, kind, wrong_phase=expected is Reject.WRONG_PHASE)

    assert_refused(book, changed(FINE[kind], fields), expected)


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        pytest.param(kind, first, second, id=f"{kind.name}-{first[0].name}-{second[0].name}")
        for kind, rules in BREAKS.items()
        for first, second in combinations(rules, 2)
        if not first[1].keys() & second[1].keys()
    ],
)
def test_of_two_broken_rules_the_earlier_is_the_reason(make_book, kind, first, second):
    """The precedence of the rules page, pair by pair (where a message can break both)."""
    book = book_to_refuse(make_book, kind, wrong_phase=first[0] is Reject.WRONG_PHASE)

    assert_refused(book, changed(FINE[kind], first[1] | second[1]), first[0])


@pytest.mark.parametrize("kind", [7, 8, 128, 255])
def test_an_unknown_kind_is_refused_before_all_else(make_book, kind):
    """BAD_KIND, whatever else the message says."""
    book = book_to_refuse(make_book, Kind.LIMIT)
    garbage = (kind, 9, 9, 9, 2**32 - 1, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, INT64_MIN)

    assert_refused(book, message(kind), Reject.BAD_KIND)
    assert_refused(book, garbage, Reject.BAD_KIND)


INSTRUCTIONS = [
    *((Kind.LIMIT, {"tif": 2 + i}) for i in (1, 2, 253)),
    *((kind, {"stp": stp}) for kind in (Kind.LIMIT, Kind.MARKET, Kind.REPLACE) for stp in (5, 255)),
    *((Kind.LIMIT, {"flags": flags}) for flags in (2, 3, 4, 5, 256, 2**31, 2**32 - 1)),
    *((Kind.LIMIT, {"flags": Flag.POST_ONLY, "tif": tif}) for tif in (1, 2, 3)),
    *((Kind.MARKET, {"tif": tif}) for tif in (0, 3, 255)),
    *((Kind.MARKET, {"flags": flags}) for flags in (1, 2, 4, 2**31)),
    *((Kind.REPLACE, {"tif": tif}) for tif in (1, 2, 3, 255)),
    *((Kind.REPLACE, {"flags": flags}) for flags in (4, 7, 2**16, 2**31)),
]


@pytest.mark.parametrize(("kind", "fields"), INSTRUCTIONS)
def test_instructions_that_do_not_fit_the_kind_are_refused(make_book, kind, fields):
    """BAD_INSTRUCTION for every `tif`, `stp` and flag that the rules page does not allow a kind."""
    book = book_to_refuse(make_book, kind)

    assert_refused(book, changed(FINE[kind], fields), Reject.BAD_INSTRUCTION)


EDGES = [
    *((kind, Reject.BAD_SIDE, {"side": 255}) for kind in (Kind.LIMIT, Kind.MARKET)),
    *(
        (kind, Reject.BAD_LOTS, {"lots": lots})
        for kind in (Kind.LIMIT, Kind.MARKET, Kind.REDUCE, Kind.REPLACE)
        for lots in (-1, MAX_LOTS + 1, INT32_MIN, INT32_MAX)
    ),
    *(
        (kind, Reject.BAD_TICK, {"price_tick": price_tick})
        for kind in (Kind.LIMIT, Kind.REPLACE, Kind.UNCROSS)
        for price_tick in (MIN_TICK - 1, MAX_TICK + 1, INT32_MIN, INT32_MAX)
    ),
    *(
        (kind, Reject.BAD_OWNER, {"owner": INT32_MIN})
        for kind in (Kind.LIMIT, Kind.MARKET, Kind.CANCEL, Kind.REDUCE, Kind.REPLACE)
    ),
    *(
        (kind, Reject.BAD_ID, {"order_id": order_id})
        for kind in (Kind.LIMIT, Kind.MARKET)
        for order_id in (-1, INT64_MIN, -(2**32))
    ),
    *(
        (kind, Reject.UNKNOWN_ORDER, {"order_id": order_id})
        for kind in (Kind.CANCEL, Kind.REDUCE, Kind.REPLACE)
        for order_id in (0, -1, INT64_MIN, INT64_MAX, 2**32 + 1, 2**32 + 3)
    ),
    *((Kind.LIMIT, Reject.BAD_DISPLAY, {"display_lots": lots}) for lots in (6, -2, INT32_MAX)),
    *((Kind.LIMIT, Reject.BAD_DISPLAY, {"display_lots": 5, "tif": tif}) for tif in (1, 2)),
    (Kind.LIMIT, Reject.BAD_DISPLAY, {"lots": MAX_TRANCHES + 1, "display_lots": 1}),
    (Kind.LIMIT, Reject.BAD_DISPLAY, {"lots": 7 * MAX_TRANCHES + 1, "display_lots": 7}),
    (Kind.LIMIT, Reject.BAD_DISPLAY, {"lots": MAX_LOTS, "display_lots": 2**20 - 1}),
    *((Kind.MARKET, Reject.BAD_DISPLAY, {"display_lots": lots}) for lots in (5, 6, -1)),
]


@pytest.mark.parametrize(("kind", "expected", "fields"), EDGES)
def test_values_just_out_of_range_are_refused(make_book, kind, expected, fields):
    """One beyond each limit, and as far beyond as the field can hold."""
    assert_refused(book_to_refuse(make_book, kind), changed(FINE[kind], fields), expected)


IN_RANGE = [
    (Kind.LIMIT, {"lots": MAX_LOTS}),
    (Kind.LIMIT, {"lots": 1}),
    (Kind.LIMIT, {"price_tick": MAX_TICK}),
    (Kind.LIMIT, {"price_tick": MIN_TICK}),
    (Kind.LIMIT, {"owner": 0}),
    (Kind.LIMIT, {"owner": INT32_MAX}),
    (Kind.LIMIT, {"order_id": INT64_MAX}),
    (Kind.LIMIT, {"order_id": 2**32 + 1}),
    (Kind.LIMIT, {"display_lots": 5}),
    (Kind.LIMIT, {"display_lots": 1}),
    (Kind.LIMIT, {"lots": MAX_TRANCHES, "display_lots": 1}),
    (Kind.LIMIT, {"lots": MAX_LOTS, "display_lots": 2**20}),
    (Kind.LIMIT, {"flags": Flag.POST_ONLY, "price_tick": 109}),
    (Kind.LIMIT, {"tif": TimeInForce.FOK, "price_tick": 110, "lots": 10}),
    *((Kind.LIMIT, {"stp": stp}) for stp in range(5)),
    (Kind.MARKET, {"lots": MAX_LOTS}),
    (Kind.MARKET, {"tif": TimeInForce.FOK, "lots": 30}),
    (Kind.REDUCE, {"lots": MAX_LOTS}),
    (Kind.REPLACE, {"lots": MAX_TRANCHES}),
    (Kind.REPLACE, {"price_tick": MAX_TICK}),
    (Kind.REPLACE, {"price_tick": MIN_TICK}),
    *((Kind.REPLACE, {"flags": flags}) for flags in range(4)),
    (Kind.UNCROSS, {"price_tick": MAX_TICK}),
    (Kind.UNCROSS, {"price_tick": MIN_TICK}),
]


@pytest.mark.parametrize(("kind", "fields"), IN_RANGE)
def test_values_just_in_range_are_accepted(make_book, kind, fields):
    """The last value on the right side of each limit."""
    accept(book_to_refuse(make_book, kind), changed(FINE[kind], fields))


GARBAGE = {
    "side": 77,
    "tif": 77,
    "stp": 77,
    "flags": 2**32 - 1,
    "owner": INT32_MIN,
    "price_tick": INT32_MIN,
    "lots": INT32_MIN,
    "display_lots": INT32_MIN,
    "order_id": INT64_MIN,
}
READ = {
    Kind.LIMIT: set(GARBAGE),
    Kind.MARKET: set(GARBAGE) - {"price_tick"},
    Kind.CANCEL: {"owner", "order_id"},
    Kind.REDUCE: {"owner", "order_id", "lots"},
    Kind.REPLACE: set(GARBAGE) - {"side", "display_lots"},
    Kind.AUCTION: set(),
    Kind.UNCROSS: {"price_tick"},
}


@pytest.mark.parametrize("kind", Kind)
def test_fields_that_a_kind_does_not_have_are_ignored(make_book, kind):
    """Garbage in them changes neither the answer nor the book."""
    ignored = {name: value for name, value in GARBAGE.items() if name not in READ[kind]}
    plain, garbled = (book_to_refuse(make_book, kind) for _ in range(2))

    assert answer(garbled, changed(FINE[kind], ignored)) == answer(plain, FINE[kind])
    assert garbled.hash() == plain.hash()


def test_an_id_is_unique_among_resting_orders_only(make_book):
    """Taken while its order rests; free once that is filled, cancelled or reduced away."""
    book = make_book()
    accept(book, limit(BUY, 100, 5, 1))
    assert reason(book, limit(SELL, 200, 5, 1)) is Reject.DUPLICATE_ID
    assert reason(book, market(SELL, 5, 1)) is Reject.DUPLICATE_ID

    accept(book, market(SELL, 5, 2), limit(BUY, 100, 5, 1))
    accept(book, cancel(1), limit(BUY, 100, 5, 1))
    accept(book, reduce(1, 5), limit(BUY, 100, 5, 1))
    accept(book, limit(SELL, 101, 5, 3, tif=1), limit(SELL, 101, 5, 3))
    accept(book, market(BUY, 3, 4), market(BUY, 1, 4), limit(BUY, 99, 1, 4))

    assert (ids(book, BUY), ids(book, SELL)) == ([1, 4], [3])
    assert reason(book, replace(2, 100, 5)) is Reject.UNKNOWN_ORDER


def test_ids_may_be_any_positive_integer(make_book):
    """Ids that agree in their low or high 32 bits, or nearly everywhere, are different ids."""
    book = make_book()
    every = [1, 2**31, 2**32, 2**32 + 1, 2**33 + 1, 2**48, 2**62, 2**63 - 2, 2**63 - 1]
    accept(book, *(limit(BUY, 100, i + 1, order_id) for i, order_id in enumerate(every)))

    assert ids(book, BUY) == every
    accept(book, *(reduce(order_id, 1) for order_id in every[1:]))
    accept(book, *(cancel(order_id) for order_id in every[::-2]))
    assert line(book, BUY) == [(every[i], 100, i, 0) for i in (1, 3, 5, 7)]
